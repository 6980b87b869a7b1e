//! What tasks write down themselves, so that the pool's word can be checked against it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A file that every process appends whole lines to.
#[derive(Debug)]
pub struct Notes(PathBuf);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub what: String,
    pub task: u64,
    pub pid: u32,
    /// Nanoseconds on the clock that all processes share.
    pub at: u64,
}

impl Notes {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("procpool-faults-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    /// To be part of a task's input.
    pub fn path(&self) -> String {
        self.0.to_str().unwrap().to_string()
    }

    pub fn all(&self) -> Vec<Note> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let note = |line: &str| {
            let mut fields = line.split(' ');
            let mut field = || fields.next().unwrap();
            Note {
                what: field().to_string(),
                task: field().parse().unwrap(),
                pid: field().parse().unwrap(),
                at: field().parse().unwrap(),
            }
        };
        text.lines().map(note).collect()
    }

    /// Who wrote the last whole line.
    pub fn last_pid(&self) -> Option<u32> {
        let mut file = fs::File::open(&self.0).ok()?;
        let back = file.metadata().ok()?.len().min(200);
        file.seek(SeekFrom::End(-(back as i64))).ok()?;
        let mut tail = String::new();
        file.read_to_string(&mut tail).ok()?;
        let (whole, _) = tail.rsplit_once('\n')?;
        whole.rsplit('\n').next()?.split(' ').nth(2)?.parse().ok()
    }

    /// How often each task noted `what`.
    pub fn count(&self, what: &str) -> BTreeMap<u64, u32> {
        let mut counts = BTreeMap::new();
        for note in self.all().iter().filter(|note| note.what == what) {
            *counts.entry(note.task).or_default() += 1;
        }
        counts
    }
}

impl Default for Notes {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Appends a line, in one write.
pub fn note(path: &str, what: &str, task: u64) {
    let line = format!("{what} {task} {} {}\n", std::process::id(), crate::sys::now());
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
}
