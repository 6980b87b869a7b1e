//! `procpool count`: the number of characters of every file.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use procpool::SharedFile;
use serde::{Deserialize, Serialize};

use crate::frame::exit;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Input, Search};
use crate::frame::names;
use crate::frame::record::Record;
use crate::frame::report::Words;
use crate::frame::run::{Context, Item, Job, run};

/// What to count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CountPlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// Look into sub-folders too.
    pub recursive: bool,
    /// Show which worker counted each file.
    pub pids: bool,
}

/// One file counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CountDone {
    characters: u64,
    pid: u32,
}

/// Runs the job and returns the exit code.
pub(crate) fn count(context: &Context, plan: &CountPlan) -> u8 {
    let search = Search { inputs: &plan.inputs, recursive: plan.recursive, take: &|_| true, skip: None };
    let found = inputs::find(&search);
    if super::nothing_found(&found, &plan.inputs, "files", plan.recursive) {
        return exit::USAGE;
    }
    let bytes: u64 = found.iter().flatten().map(|input| input.len).sum();
    let item = |found: inputs::Found| match found {
        Ok(Input { path, .. }) => Item { path, plan: Ok(()) },
        Err((path, error)) => Item { path, plan: Err(error) },
    };
    // No file has more characters than bytes, so no count is wider than the sum of the lengths.
    let width = bytes.to_string().len();
    let job = Count { pids: plan.pids, width, total: 0, files: 0 };
    run(context, job, count_file, found.into_iter().map(item).collect(), 0)
}

/// What a worker does with one file.
fn count_file(file: SharedFile) -> Result<CountDone, JobError> {
    let mut file = file.into_file();
    inputs::rewind(&mut file)?;
    Ok(CountDone { characters: characters(file)?, pid: std::process::id() })
}

/// Counts the code points of UTF-8 text as Python's `open(file, encoding="utf-8").read()` gives them: a line end of
/// carriage return and line feed is one character.
fn characters(mut text: impl Read) -> Result<u64, JobError> {
    let mut buffer = vec![0; 1 << 18];
    // Bytes at the start of the buffer that are the beginning of a character, at most three.
    let mut kept = 0;
    let mut ends_in_return = false;
    let (mut characters, mut checked) = (0, 0);
    loop {
        let read = match text.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(|error| JobError::unreadable(&error))?,
        };
        let filled = &buffer[..kept + read];
        let whole = match std::str::from_utf8(filled) {
            Ok(_) => filled,
            Err(error) if error.error_len().is_none() && read > 0 => &filled[..error.valid_up_to()],
            Err(error) => {
                let at = checked + error.valid_up_to() as u64;
                return Err(JobError::new(Cause::NotUtf8, format!("is not UTF-8 text (first at byte {at})")));
            }
        };
        if read == 0 {
            return Ok(characters);
        }
        let continuations = whole.iter().filter(|&&byte| byte & 0xc0 == 0x80).count();
        let split_line_end = ends_in_return && whole.first() == Some(&b'\n');
        let line_ends = whole.iter().zip(whole.iter().skip(1)).filter(|&(&a, &b)| a == b'\r' && b == b'\n').count();
        characters += (whole.len() - continuations - line_ends) as u64 - u64::from(split_line_end);
        if let Some(&last) = whole.last() {
            ends_in_return = last == b'\r';
        }
        checked += whole.len() as u64;
        let end = whole.len()..filled.len();
        kept = end.len();
        buffer.copy_within(end, 0);
    }
}

struct Count {
    pids: bool,
    width: usize,
    total: u64,
    files: u64,
}

impl Count {
    fn line(&self, characters: u64, pid: &str, name: &str) -> String {
        let width = self.width;
        if self.pids {
            format!("{characters:>width$}  {pid:>7}  {name}")
        } else {
            format!("{characters:>width$}  {name}")
        }
    }
}

impl Job for Count {
    type Plan = ();
    type Task = SharedFile;
    type Made = CountDone;
    type Done = CountDone;

    fn task(input: SharedFile, (): &()) -> SharedFile {
        input
    }

    fn keep((): &(), made: CountDone) -> Result<CountDone, JobError> {
        Ok(made)
    }

    fn words(&self) -> Words {
        Words { job: "count", one: "file", many: "files", done: "counted", lines_are_results: true, place: None }
    }

    fn options(&self) -> Record {
        Record::default()
    }

    fn done(&mut self, input: &Path, (): &(), done: &CountDone) -> (String, Record) {
        self.total += done.characters;
        self.files += 1;
        let mut record = Record::default().with("characters", done.characters);
        if self.pids {
            record = record.with("pid", done.pid);
        }
        (self.line(done.characters, &done.pid.to_string(), &names::show(input)), record)
    }

    fn failed(&mut self, input: &Path) -> Option<String> {
        self.files += 1;
        Some(self.line(0, "-", &names::show(input)))
    }

    fn total(&self) -> Option<(String, Record)> {
        let files = if self.files == 1 { "file" } else { "files" };
        let line = self.line(self.total, "", &format!("total of {} {files}", self.files));
        Some((line, Record::default().with("characters", self.total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time, so that every boundary is met.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    fn count(text: &[u8]) -> Result<u64, String> {
        let all = characters(text).map_err(|error| error.message);
        for step in 1..5 {
            assert_eq!(characters(Drip(text, step)).map_err(|error| error.message), all, "{step} bytes at a time");
        }
        all
    }

    #[test]
    fn characters_are_counted_as_python_counts_them() {
        // Each figure is what Python 3's len(open(f, encoding="utf-8").read()) says.
        assert_eq!(count(b""), Ok(0));
        assert_eq!(count(b"abc\n"), Ok(4));
        assert_eq!(count("Käse 日本 🦦".as_bytes()), Ok(9));
        assert_eq!(count(b"\xef\xbb\xbfx"), Ok(2));
        assert_eq!(count(b"a\r\nb\rc\n\r\r\n"), Ok(8));
        assert_eq!(count(b"\r"), Ok(1));
        assert_eq!(count(b"\0\0"), Ok(2));
    }

    #[test]
    fn what_is_not_utf8_is_refused_with_its_place() {
        let refused = |at: u64| Err(format!("is not UTF-8 text (first at byte {at})"));
        assert_eq!(count(b"caf\xe9 au lait"), refused(3));
        assert_eq!(count(b"ab\xe2\x82"), refused(2));
        assert_eq!(count(b"\xed\xa0\x80"), refused(0));
        assert_eq!(count(b"\xc0\xaf"), refused(0));
        assert_eq!(count(b"abcdefgh\xff"), refused(8));
    }

    #[test]
    fn long_text_is_counted_across_buffers() {
        let text = "€\r\n".repeat(200_000);
        assert_eq!(characters(text.as_bytes()).ok(), Some(400_000));
    }
}
