//! What a run has finished, kept beside its output so that a later run need not do it again.
//!
//! A hidden folder has two files. `data` is bytes, one thing behind the other. `journal` is lines: one for who wrote it and with
//! which options, then one for each thing, written when its bytes are with the system. So whenever the process is killed, all
//! that the journal tells of is there. A machine that stops may have written them to its disk in another order; so lines and
//! bytes have checksums, and what does not add up was not kept. A thread has both written to the disk every second, the
//! data first, and nobody waits for it.
//!
//! Nothing is ever changed: a later line of the same key counts in place of an earlier one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use self::disk::ToDisk;
use self::place::Place;
use super::failure::reason;
use super::inputs::Stamp;
use super::names;

mod disk;
mod place;

const JOURNAL: &str = "journal";
const DATA: &str = "data";
/// What a later version cannot be asked to read is a higher one.
const VERSION: u32 = 1;
/// How much is copied or looked through at once, in bytes.
const PIECE: u64 = 1 << 20;

/// What a thing is found by: a hash of all that it depends on.
pub(crate) type Key = u128;

/// The key of something, told by what is written of it as JSON; none if that cannot be written.
pub(crate) fn key_of(what: &impl Serialize) -> Option<Key> {
    struct Hash(Xxh3);
    impl io::Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = io::BufWriter::new(Hash(Xxh3::new()));
    serde_json::to_writer(&mut hash, what).ok()?;
    hash.into_inner().ok().map(|hash| hash.0.digest128())
}

/// Bytes that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob {
    /// Where they begin in the data.
    pub at: u64,
    /// How many there are.
    pub len: u64,
    /// Their checksum.
    sum: u64,
}

/// What there was when a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// Nothing.
    Nothing,
    /// What a run of the same kind has kept.
    Same,
    /// What was kept by a run with which this one has nothing in common, for this reason. It is gone.
    Other(&'static str),
}

impl Earlier {
    /// What the user should know of it.
    pub(crate) fn note(self) -> Option<String> {
        match self {
            Earlier::Other(why) => Some(format!("what was kept cannot be used, since {why}; everything is done again")),
            Earlier::Nothing | Earlier::Same => None,
        }
    }
}

/// What the user should know when a run ends before its output is there.
pub(crate) const STAYS: &str = "what is finished is kept for another run with --resume";

/// What the user should know when nothing can be kept any more.
pub(crate) fn lost(error: &io::Error) -> String {
    format!("what is finished cannot be kept any more: {}; the run goes on without", reason(error))
}

/// The store of a run.
#[derive(Debug)]
pub(crate) struct Kept {
    place: Place,
    journal: File,
    /// How long the journal is, in bytes.
    len: u64,
    data: Arc<File>,
    /// How long the data are, in bytes.
    end: u64,
    /// Where the line of each thing begins and how long it is.
    lines: HashMap<Key, (u64, usize)>,
    /// How many things there are of each kind.
    counts: HashMap<String, usize>,
    sync: ToDisk,
    is_removed: bool,
}

/// The beginning of a journal: what must be the same for a run to go on from it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Head {
    procpool_unfinished: u32,
    version: String,
    /// Which build of the program: another one may write another output.
    program: String,
    folder: String,
    job: String,
    options: Value,
}

#[derive(Deserialize)]
struct Entry<V> {
    kind: String,
    key: String,
    end: u64,
    value: V,
}

impl Kept {
    /// Opens what an earlier run for the same output has kept, or begins anew. The error is a message for the user.
    pub(crate) fn open(output: &Path, job: &str, options: Value) -> Result<(Kept, Earlier), String> {
        let failed = |error: io::Error| {
            let shown = names::show(output);
            format!("cannot keep what is finished of {shown} beside it: {}", reason(&error))
        };
        let head = Head {
            procpool_unfinished: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: program().map_err(failed)?,
            folder: std::env::current_dir().map_err(failed)?.to_string_lossy().into_owned(),
            job: job.to_owned(),
            options,
        };
        loop {
            let place = Place::make(output).map_err(failed)?;
            let journal = place.open_file(JOURNAL).map_err(failed)?;
            if let Err(Errno::WOULDBLOCK) = rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive) {
                return Err(format!("another run is making {}", names::show(output)));
            }
            if rustix::fs::fstat(&journal).map_err(|error| failed(error.into()))?.st_nlink == 0 {
                // The run that had it has ended well meanwhile.
                continue;
            }
            let data = place.open_file(DATA).map_err(failed)?;
            return Self::begin(place, journal, data, &head).map_err(failed);
        }
    }

    fn begin(place: Place, journal: File, data: File, head: &Head) -> io::Result<(Kept, Earlier)> {
        let (mut lines, mut counts) = (HashMap::new(), HashMap::new());
        let (mut len, mut end, mut earlier) = (0, 0, Earlier::Nothing);
        let mut reader = BufReader::new(&journal);
        let mut line = Vec::new();
        let mut at = 0;
        for number in 0.. {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            if number == 0 {
                earlier = match checked::<Head>(&line) {
                    Some(found) if found == *head => Earlier::Same,
                    found => Earlier::Other(found.as_ref().map_or("it cannot be read", |found| found.differs(head))),
                };
                if earlier != Earlier::Same {
                    break;
                }
            } else if let Some(entry) = checked::<Entry<serde::de::IgnoredAny>>(&line)
                && let Ok(key) = Key::from_str_radix(&entry.key, 16)
            {
                if lines.insert(key, (at, line.len())).is_none() {
                    *counts.entry(entry.kind).or_default() += 1;
                }
                end = entry.end.max(end);
            }
            at += line.len() as u64;
            len = at;
        }
        if earlier != Earlier::Same {
            (len, end) = (0, 0);
        }
        // What comes behind belongs to nothing.
        journal.set_len(len)?;
        data.set_len(end)?;
        let data = Arc::new(data);
        // Opened again, so that the lock goes with this store and not with that thread.
        let folders = [place.parent.try_clone()?, place.folder.try_clone()?];
        let sync = ToDisk::start(folders, &data, place.open_file(JOURNAL)?)?;
        let mut kept = Kept { place, journal, len, data, end, lines, counts, sync, is_removed: false };
        if earlier != Earlier::Same {
            kept.write(&line_of(head)?)?;
        }
        Ok((kept, earlier))
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.journal.write_all_at(lines, self.len) {
            // What comes next, if anything does, must not be part of a line that was torn.
            let _ = self.journal.set_len(self.len);
            return Err(error);
        }
        self.len += lines.len() as u64;
        self.sync.there_is_more();
        Ok(())
    }

    /// Notes things of a kind, whose bytes were kept before.
    pub(crate) fn put(&mut self, kind: &str, things: impl IntoIterator<Item = (Key, Value)>) -> io::Result<()> {
        let (mut text, mut places) = (Vec::new(), Vec::new());
        for (key, value) in things {
            let line = line_of(&json!({"kind": kind, "key": format!("{key:032x}"), "end": self.end, "value": value}))?;
            places.push((key, (self.len + text.len() as u64, line.len())));
            text.extend_from_slice(&line);
        }
        self.write(&text)?;
        for (key, place) in places {
            if self.lines.insert(key, place).is_none() {
                *self.counts.entry(kind.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Keeps bytes, of which nobody knows until a thing is noted that has them.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<Blob> {
        self.data.write_all_at(bytes, self.end)?;
        let blob = Blob { at: self.end, len: bytes.len() as u64, sum: xxh3_64(bytes) };
        self.end += blob.len;
        Ok(blob)
    }

    /// The same with what lies in a file.
    pub(crate) fn bytes_of(&mut self, file: &File, at: u64, len: u64) -> io::Result<Blob> {
        let (mut hash, mut to) = (Xxh3::new(), self.end);
        pieces(file, at, len, |piece| {
            hash.update(piece);
            self.data.write_all_at(piece, to)?;
            to += piece.len() as u64;
            Ok(())
        })?;
        let blob = Blob { at: self.end, len, sum: hash.digest() };
        self.end = to;
        Ok(blob)
    }

    /// How many things of a kind are kept.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// Whether something is kept under a key.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.lines.contains_key(&key)
    }

    /// What is kept under a key; nothing if it cannot be read any more.
    pub(crate) fn find<V: DeserializeOwned>(&self, key: Key) -> Option<V> {
        let &(at, len) = self.lines.get(&key)?;
        let mut line = vec![0; len];
        self.journal.read_exact_at(&mut line, at).ok()?;
        checked::<Entry<V>>(&line).map(|entry| entry.value)
    }

    /// Whether bytes are still what they were.
    pub(crate) fn is_whole(&self, blob: &Blob) -> bool {
        if blob.at.checked_add(blob.len).is_none_or(|end| end > self.end) {
            return false;
        }
        let mut hash = Xxh3::new();
        let read = pieces(&self.data, blob.at, blob.len, |piece| {
            hash.update(piece);
            Ok(())
        });
        read.is_ok() && hash.digest() == blob.sum
    }

    /// Bytes that were kept, if they are still what they were.
    pub(crate) fn read(&self, blob: &Blob) -> Option<Vec<u8>> {
        if blob.at.checked_add(blob.len).is_none_or(|end| end > self.end) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(blob.len).ok()?];
        self.data.read_exact_at(&mut bytes, blob.at).ok()?;
        (xxh3_64(&bytes) == blob.sum).then_some(bytes)
    }

    /// The file in which bytes are kept.
    pub(crate) fn data(&self) -> Arc<File> {
        Arc::clone(&self.data)
    }

    /// Removes it all: the output is there.
    pub(crate) fn remove(mut self) {
        self.place.remove([DATA, JOURNAL]);
        self.is_removed = true;
    }
}

impl Drop for Kept {
    /// A store in which nothing is kept goes with its run.
    fn drop(&mut self) {
        if self.lines.is_empty() && !self.is_removed {
            self.place.remove([DATA, JOURNAL]);
        }
    }
}

/// Removes what a run that was killed has kept for the output, now that it is there. What a run at work has stays.
pub(crate) fn forget(output: &Path) {
    let Ok(place) = Place::find(output) else { return };
    let lock = |journal: File| rustix::fs::flock(&journal, FlockOperation::NonBlockingLockExclusive).map(|()| journal);
    let held = place.open_with(JOURNAL, OFlags::RDWR).ok().map(lock);
    if !matches!(held, Some(Err(_))) {
        place.remove([DATA, JOURNAL]);
    }
}

impl Head {
    /// What is not the same.
    fn differs(&self, now: &Head) -> &'static str {
        if self.procpool_unfinished != now.procpool_unfinished || self.version != now.version {
            "another version of procpool has made it"
        } else if self.program != now.program {
            "another build of procpool has made it"
        } else if self.options != now.options || self.job != now.job {
            "the options of the result are others"
        } else {
            "it was made in another folder"
        }
    }
}

/// A checksum of what tells this build from others: its size and time of change, and its beginning, where the linker has put its
/// build id. All of it would take longer to read than a small table.
fn program() -> io::Result<String> {
    let file = File::open("/proc/self/exe")?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut hash = Xxh3::new();
    hash.update(&stamp.size.to_le_bytes());
    hash.update(&stamp.mtime_ns.to_le_bytes());
    pieces(&file, 0, stamp.size.min(64 << 10), |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok(format!("{:032x}", hash.digest128()))
}

/// A line of the journal: a checksum and JSON.
fn line_of(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string(what)?;
    Ok(format!("{:016x} {text}\n", xxh3_64(text.as_bytes())).into_bytes())
}

/// What such a line says; nothing if it is not what was written.
fn checked<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let text = line.strip_suffix(b"\n")?;
    let (sum, text) = text.split_at_checked(16)?;
    let text = text.strip_prefix(b" ")?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    if sum == xxh3_64(text) { serde_json::from_slice(text).ok() } else { None }
}

/// Hands on what lies in a file, piece by piece.
fn pieces(file: &File, at: u64, len: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; len.min(PIECE) as usize];
    let mut done = 0;
    while done < len {
        let piece = &mut piece[..(len - done).min(PIECE) as usize];
        file.read_exact_at(piece, at.saturating_add(done))?;
        each(piece)?;
        done += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(root: &Path, options: Value) -> (Kept, Earlier) {
        Kept::open(&root.join("out"), "test", options).expect("opened")
    }

    fn file(root: &Path, name: &str) -> std::path::PathBuf {
        root.join(".out.unfinished").join(name)
    }

    fn write(root: &Path, name: &str, bytes: &[u8]) {
        let path = file(root, name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, bytes).expect("file");
    }

    /// Keeps the texts, each under its length.
    fn keep(kept: &mut Kept, texts: &[&str]) {
        for text in texts {
            let blob = kept.bytes(text.as_bytes()).expect("kept");
            kept.put("text", [(text.len() as Key, json!(blob))]).expect("noted");
        }
    }

    fn texts(kept: &Kept) -> Vec<String> {
        let found = (0..9).filter_map(|key| kept.find::<Blob>(key)).filter(|blob| kept.is_whole(blob));
        let read = |blob: Blob| {
            let mut text = vec![0; blob.len as usize];
            kept.data().read_exact_at(&mut text, blob.at).expect("read");
            String::from_utf8(text).expect("text")
        };
        found.map(read).collect()
    }

    #[test]
    fn what_was_kept_is_found_by_the_next_run_with_the_same_options() {
        let root = tempfile::tempdir().expect("folder");
        let (mut kept, earlier) = open(root.path(), json!(1));
        assert_eq!(earlier, Earlier::Nothing);
        keep(&mut kept, &["a", "bb"]);
        assert!(
            Kept::open(&root.path().join("out"), "test", json!(1)).is_err_and(|error| error.contains("another run"))
        );
        drop(kept);
        let (mut kept, earlier) = open(root.path(), json!(1));
        assert_eq!((earlier, texts(&kept)), (Earlier::Same, vec!["a".to_owned(), "bb".to_owned()]));
        keep(&mut kept, &["ccc", "B2"]);
        drop(kept);
        let (kept, _) = open(root.path(), json!(1));
        assert_eq!(texts(&kept), ["a", "B2", "ccc"]);
        assert_eq!((kept.has(3), kept.has(4), kept.count("text"), kept.count("other")), (true, false, 3, 0));
        drop(kept);
        let (kept, earlier) = open(root.path(), json!(2));
        assert_eq!((earlier, texts(&kept).len()), (Earlier::Other("the options of the result are others"), 0));
        kept.remove();
        assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 0);
    }

    #[test]
    fn of_a_torn_or_spoilt_journal_the_whole_lines_count() {
        let root = tempfile::tempdir().expect("folder");
        let (mut kept, _) = open(root.path(), json!(1));
        keep(&mut kept, &["a", "bb", "ccc"]);
        drop(kept);
        let journal = fs::read(file(root.path(), JOURNAL)).expect("journal");
        let ends: Vec<usize> = (0..journal.len()).filter(|&at| journal[at] == b'\n').map(|at| at + 1).collect();
        let after = |bytes: &[u8]| {
            write(root.path(), JOURNAL, bytes);
            write(root.path(), DATA, b"abbccc");
            texts(&open(root.path(), json!(1)).0)
        };
        for cut in 0..=journal.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            let expected = &["a", "bb", "ccc"][..whole.saturating_sub(1)];
            assert_eq!(after(&journal[..cut]), expected, "cut at {cut}");
        }
        let mut spoilt = journal.clone();
        spoilt[ends[1] + 40] ^= 1;
        assert_eq!(after(&spoilt), ["a", "ccc"]);
        spoilt.clone_from(&journal);
        spoilt.extend([0; 5000]);
        assert_eq!(after(&spoilt), ["a", "bb", "ccc"]);
    }

    #[test]
    fn spoilt_or_missing_data_are_not_what_was_kept() {
        let root = tempfile::tempdir().expect("folder");
        let (mut kept, _) = open(root.path(), json!(1));
        keep(&mut kept, &["a", "bb", "ccc"]);
        drop(kept);
        for (data, expected) in [("abBccc", vec!["a", "ccc"]), ("abb", vec!["a", "bb"]), ("", vec![])] {
            write(root.path(), DATA, data.as_bytes());
            assert_eq!(texts(&open(root.path(), json!(1)).0), expected, "{data}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_not_kept() {
        let root = tempfile::tempdir().expect("folder");
        let (mut kept, _) = open(root.path(), json!(1));
        keep(&mut kept, &["a"]);
        let full = || fs::OpenOptions::new().read(true).write(true).open("/dev/full").expect("a full device");
        let data = std::mem::replace(&mut kept.data, Arc::new(full()));
        assert_eq!(kept.bytes(b"bb").map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
        kept.data = data;
        let blob = kept.bytes(b"bb").expect("kept");
        let journal = std::mem::replace(&mut kept.journal, full());
        let noted = kept.put("text", [(2, json!(blob))]);
        assert_eq!(noted.map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
        kept.journal = journal;
        keep(&mut kept, &["ccc"]);
        assert_eq!(texts(&kept), ["a", "ccc"]);
        drop(kept);
        assert_eq!(texts(&open(root.path(), json!(1)).0), ["a", "ccc"]);
    }

    #[test]
    fn another_version_or_build_is_told_from_other_options() {
        let head = |version: &str, program: &str, folder: &str| Head {
            procpool_unfinished: VERSION,
            version: version.into(),
            program: program.into(),
            folder: folder.into(),
            job: "test".into(),
            options: json!(1),
        };
        let now = head("1", "a", "/");
        assert_eq!(head("2", "a", "/").differs(&now), "another version of procpool has made it");
        assert_eq!(head("1", "b", "/").differs(&now), "another build of procpool has made it");
        assert_eq!(head("1", "a", "/x").differs(&now), "it was made in another folder");
    }

    #[test]
    fn what_is_forgotten_is_gone_unless_a_run_has_it() {
        let root = tempfile::tempdir().expect("folder");
        let output = root.path().join("out");
        forget(&output);
        let (kept, _) = open(root.path(), json!(1));
        drop(kept);
        assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 0, "nothing was kept");
        let (mut kept, _) = open(root.path(), json!(1));
        keep(&mut kept, &["a"]);
        forget(&output);
        assert!(file(root.path(), JOURNAL).exists());
        drop(kept);
        forget(&output);
        assert_eq!(fs::read_dir(root.path()).expect("folder").count(), 0);
    }

    #[test]
    fn no_link_is_followed() {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir(root.path().join("elsewhere")).expect("folder");
        std::os::unix::fs::symlink("elsewhere", root.path().join(".out.unfinished")).expect("link");
        assert!(Kept::open(&root.path().join("out"), "test", json!(1)).is_err());
        assert_eq!(fs::read_dir(root.path().join("elsewhere")).expect("folder").count(), 0);
    }
}
