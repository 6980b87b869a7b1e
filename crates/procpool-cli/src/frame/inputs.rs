//! Finds the input files and opens them.
//!
//! An input is a file, a folder, or a pattern that the shell did not expand. A name that exists is never taken as a
//! pattern. In folders and behind patterns, names that begin with a dot are passed over, links to files are followed
//! and links to folders are not.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::failure::{Cause, JobError, reason};
use super::names::is_hidden;

/// What to look for.
pub(crate) struct Search<'a> {
    /// Files, folders and patterns, in the order given.
    pub inputs: &'a [PathBuf],
    /// Look into sub-folders too.
    pub recursive: bool,
    /// Which files of a folder to take. Files that are named are always taken.
    pub take: &'a dyn Fn(&Path) -> bool,
    /// A folder that is not looked into: where the outputs go.
    pub skip: Option<&'a Path>,
}

/// A file to work on.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The path to open, relative to the working directory if the argument was.
    pub path: PathBuf,
    /// Where it was found below the folder that was given; the bare name for a file that was named.
    pub below: PathBuf,
    /// The file was named, by itself or by a pattern, not met in a folder.
    pub named: bool,
    /// Length in bytes.
    pub len: u64,
    /// Device and inode of the file itself and of the link that leads to it (the same where there is none).
    pub ids: [FileId; 2],
}

/// What a file is recognised by as the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Length in bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl Stamp {
    /// That of what `metadata` describes.
    pub(crate) fn of(metadata: &Metadata) -> Stamp {
        let mtime_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Stamp { size: metadata.len(), mtime_ns }
    }
}

/// Device and inode.
pub(crate) type FileId = (u64, u64);

/// The identity of what `metadata` describes.
pub(crate) fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// A file to work on, or a name that cannot be worked on and why.
pub(crate) type Found = Result<Input, (PathBuf, JobError)>;

/// All inputs, in the order of the arguments, those of a folder sorted by name.
pub(crate) fn find(search: &Search) -> Vec<Found> {
    let finder =
        Finder { search, skip: search.skip.and_then(|folder| fs::metadata(folder).ok()).map(|found| file_id(&found)) };
    let mut found = Vec::new();
    for argument in search.inputs {
        finder.argument(argument, &mut found);
    }
    found
}

struct Finder<'a> {
    search: &'a Search<'a>,
    skip: Option<FileId>,
}

impl Finder<'_> {
    fn argument(&self, argument: &Path, found: &mut Vec<Found>) {
        let missing = fs::symlink_metadata(argument)
            .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory));
        match Pattern::new(argument) {
            Some(Ok(pattern)) if missing => self.pattern(argument, &pattern, found),
            Some(Err(message)) if missing => {
                found.push(Err((argument.into(), JobError::new(Cause::NoMatch, message))));
            }
            _ => self.named(argument, found),
        }
    }

    fn named(&self, path: &Path, found: &mut Vec<Found>) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, &metadata, found),
            _ => found.push(file(path.into(), path.file_name().unwrap_or_default().into(), true)),
        }
    }

    fn folder(&self, folder: &Path, metadata: &Metadata, found: &mut Vec<Found>) {
        if self.is_skipped(metadata) {
            let message = "is the output folder; name another one with -o, or other inputs";
            found.push(Err((folder.into(), JobError::new(Cause::WouldReplaceInput, message))));
            return;
        }
        let depth = if self.search.recursive { usize::MAX } else { 1 };
        let walk = walk(folder, depth).into_iter().filter_entry(|entry| {
            entry.depth() == 0 || !(is_hidden(entry.file_name()) || self.is_skipped_entry(entry))
        });
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if !(self.search.take)(entry.path()) => {}
                Ok(entry) => {
                    // A link to a folder is neither an input nor walked.
                    if entry.file_type().is_symlink() && entry.path().is_dir() {
                        continue;
                    }
                    let below = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned();
                    found.push(file(tidy(entry.path()), below, false));
                }
                Err(error) => found.push(Err(walk_failure(folder, &error))),
            }
        }
    }

    fn pattern(&self, argument: &Path, pattern: &Pattern, found: &mut Vec<Found>) {
        let before = found.len();
        let walk = walk(&pattern.base, pattern.depth).into_iter().filter_entry(|entry| {
            entry.depth() == 0 || !(is_hidden(entry.file_name()) && !pattern.hidden || self.is_skipped_entry(entry))
        });
        for entry in walk {
            match entry {
                Ok(entry) if entry.depth() > 0 && pattern.matcher.is_match(tidy(entry.path())) => {
                    if !(pattern.deep && entry.file_type().is_dir()) {
                        self.named(&tidy(entry.path()), found);
                    }
                }
                Ok(_) => {}
                Err(error) if error.depth() == 0 => {}
                Err(error) => found.push(Err(walk_failure(argument, &error))),
            }
        }
        if found.len() == before {
            let error = JobError::new(Cause::NoMatch, "matches no file");
            found.push(Err((argument.into(), error)));
        }
    }

    fn is_skipped(&self, metadata: &Metadata) -> bool {
        self.skip == Some(file_id(metadata))
    }

    fn is_skipped_entry(&self, entry: &walkdir::DirEntry) -> bool {
        self.skip.is_some()
            && entry.file_type().is_dir()
            && entry.metadata().is_ok_and(|metadata| self.is_skipped(&metadata))
    }
}

/// A pattern and the folder from which it can match.
struct Pattern {
    matcher: GlobMatcher,
    base: PathBuf,
    depth: usize,
    /// `**` crosses folders by itself, so folders that match are not walked once more.
    deep: bool,
    /// Names that begin with a dot are asked for.
    hidden: bool,
}

impl Pattern {
    /// `None` if the argument has none of the characters of a pattern.
    fn new(argument: &Path) -> Option<Result<Pattern, String>> {
        let text = argument.to_str()?;
        let is_special = |text: &str| text.contains(['*', '?', '[', '{']);
        if !is_special(text) {
            return None;
        }
        let text = text.trim_start_matches("./");
        let glob = match GlobBuilder::new(text).literal_separator(true).build() {
            Ok(glob) => glob,
            Err(error) => return Some(Err(format!("is not a pattern: {}", error.kind()))),
        };
        let mut base = PathBuf::new();
        let mut depth = 0;
        let mut hidden = false;
        for component in Path::new(text).components() {
            let special = component.as_os_str().to_str().is_some_and(is_special);
            if special || depth > 0 {
                depth += 1;
                hidden |= is_hidden(component.as_os_str());
            } else {
                base.push(component);
            }
        }
        if base.as_os_str().is_empty() {
            base.push(".");
        }
        let deep = text.contains("**");
        // Braces may hold slashes, so their depth is not known.
        let unknown = deep || text.contains('{');
        let depth = if unknown { usize::MAX } else { depth };
        Some(Ok(Pattern { matcher: glob.compile_matcher(), base, depth, deep, hidden }))
    }
}

fn walk(folder: &Path, depth: usize) -> WalkDir {
    WalkDir::new(folder).max_depth(depth).sort_by_file_name()
}

/// Without the `./` that walking the working directory puts in front.
fn tidy(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

fn walk_failure(argument: &Path, error: &walkdir::Error) -> (PathBuf, JobError) {
    let path = error.path().unwrap_or(argument);
    let message = match error.io_error() {
        Some(error) => format!("cannot be listed: {}", reason(error)),
        None => "cannot be listed: its links go in a circle".to_owned(),
    };
    (path.to_owned(), JobError::new(Cause::Unreadable, message))
}

fn file(path: PathBuf, below: PathBuf, named: bool) -> Found {
    let check = || -> Result<Input, JobError> {
        let metadata = fs::metadata(&path).map_err(|error| missing(&path, &error))?;
        check_regular(&metadata)?;
        let link = fs::symlink_metadata(&path).map_err(|error| JobError::unreadable(&error))?;
        let ids = [file_id(&metadata), file_id(&link)];
        Ok(Input { path: path.clone(), below, named, len: metadata.len(), ids })
    };
    check().map_err(|error| (path.clone(), error))
}

fn missing(path: &Path, error: &io::Error) -> JobError {
    if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok() {
        JobError::new(Cause::NotFound, "is a link to a file that does not exist")
    } else {
        JobError::unreadable(error)
    }
}

/// The failure of what is no regular file.
pub(crate) fn check_regular(metadata: &Metadata) -> Result<(), JobError> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(JobError::new(Cause::NotAFile, format!("is {what}, not a file")))
}

/// Opens a regular file for reading; anything else is refused without waiting for it.
///
/// Opening a device can do things by itself, so the name is looked at first. What was opened is looked at again, since
/// it may be another thing by then; `O_NONBLOCK` keeps a pipe in that place from blocking.
pub(crate) fn open(path: &Path) -> Result<File, JobError> {
    check_regular(&fs::metadata(path).map_err(|error| missing(path, &error))?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| JobError::unreadable(&error.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| JobError::unreadable(&error))?;
    check_regular(&metadata)?;
    Ok(file)
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, JobError> {
    read_open(open(path)?, limit)
}

/// Back to the start of an open file: an attempt before this one may have read from it.
pub(crate) fn rewind(file: &mut File) -> Result<(), JobError> {
    file.rewind().map_err(|error| JobError::unreadable(&error))
}

/// Reads the whole of an open file of at most `limit` bytes.
pub(crate) fn read_open(mut file: File, limit: u64) -> Result<Vec<u8>, JobError> {
    rewind(&mut file)?;
    let metadata = file.metadata().map_err(|error| JobError::unreadable(&error))?;
    let too_large = || JobError::new(Cause::TooLarge, format!("is larger than {} MiB", limit >> 20));
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| JobError::unreadable(&error))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    if bytes.is_empty() {
        return Err(JobError::new(Cause::Empty, "is empty"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[Found]) -> Vec<String> {
        let show = |found: &Found| match found {
            Ok(input) => input.path.display().to_string(),
            Err((path, error)) => format!("{} {}", path.display(), error.message),
        };
        found.iter().map(show).collect()
    }

    fn find_in(root: &Path, names: &[&str], recursive: bool, skip: Option<&str>) -> Vec<String> {
        let inputs: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
        let skip = skip.map(|name| root.join(name));
        let take = |path: &Path| path.extension().is_some_and(|extension| extension == "jpg");
        let search = Search { inputs: &inputs, recursive, take: &take, skip: skip.as_deref() };
        let prefix = format!("{}/", root.display());
        paths(&find(&search)).iter().map(|path| path.replace(&prefix, "")).collect()
    }

    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temporary folder");
        for folder in ["in/sub/deep", "in/.git", "in/out", "in/folder.jpg"] {
            fs::create_dir_all(root.path().join(folder)).expect("folder");
        }
        let files = [
            "in/b.jpg",
            "in/a.jpg",
            "in/note.txt",
            "in/.hidden.jpg",
            "in/[x].jpg",
            "in/sub/c.jpg",
            "in/sub/deep/d.jpg",
            "in/.git/e.jpg",
            "in/out/f.jpg",
        ];
        for file in files {
            fs::write(root.path().join(file), "x").expect("file");
        }
        root
    }

    #[test]
    fn folders_are_listed_by_name_and_descended_into_only_if_asked() {
        let root = tree();
        let flat = find_in(root.path(), &["in"], false, Some("in/out"));
        assert_eq!(flat, ["in/[x].jpg", "in/a.jpg", "in/b.jpg"]);
        let deep = find_in(root.path(), &["in"], true, Some("in/out"));
        assert_eq!(deep, ["in/[x].jpg", "in/a.jpg", "in/b.jpg", "in/sub/c.jpg", "in/sub/deep/d.jpg"]);
    }

    #[test]
    fn what_is_named_is_taken_whatever_it_is_called() {
        let root = tree();
        let found = find_in(root.path(), &["in/note.txt", "in/.hidden.jpg", "in/[x].jpg", "in/none.jpg"], false, None);
        let missing = "in/none.jpg there is no such file";
        assert_eq!(found, ["in/note.txt", "in/.hidden.jpg", "in/[x].jpg", missing]);
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let root = tree();
        assert_eq!(find_in(root.path(), &["in/[ab].*"], false, None), ["in/a.jpg", "in/b.jpg"]);
        assert_eq!(find_in(root.path(), &["in/*/*.jpg"], false, None), ["in/out/f.jpg", "in/sub/c.jpg"]);
        assert_eq!(find_in(root.path(), &["in/.h*"], false, None), ["in/.hidden.jpg"]);
        let deep = ["in/sub/c.jpg", "in/sub/deep/d.jpg"];
        assert_eq!(find_in(root.path(), &["in/sub/**/*.jpg"], false, None), deep);
        assert_eq!(find_in(root.path(), &["in/s*"], true, None), deep);
        assert_eq!(
            find_in(root.path(), &["in/{a,b,sub/c}.jpg"], false, None),
            ["in/a.jpg", "in/b.jpg", "in/sub/c.jpg"]
        );
        assert_eq!(find_in(root.path(), &["in/*.gif"], false, None), ["in/*.gif matches no file"]);
        assert_eq!(find_in(root.path(), &["no/*.gif"], false, None), ["no/*.gif matches no file"]);
    }

    #[test]
    fn the_output_folder_is_no_input() {
        let root = tree();
        let message = "in/out is the output folder; name another one with -o, or other inputs";
        assert_eq!(find_in(root.path(), &["in/out"], false, Some("in/out")), [message]);
    }

    #[test]
    fn pipes_and_devices_are_refused_without_waiting() {
        let root = tempfile::tempdir().expect("temporary folder");
        let pipe = root.path().join("pipe.jpg");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("fifo");
        let refused = |path: &Path| open(path).map(|_| ()).map_err(|error| error.message);
        assert_eq!(refused(&pipe), Err("is a pipe, not a file".into()));
        assert_eq!(refused(Path::new("/dev/zero")), Err("is a device, not a file".into()));
        assert_eq!(refused(root.path()), Err("is a folder, not a file".into()));
        std::os::unix::fs::symlink("nowhere", root.path().join("link")).expect("link");
        assert_eq!(refused(&root.path().join("link")), Err("is a link to a file that does not exist".into()));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = root.path().join("file");
        fs::write(&path, vec![7; 2 << 20]).expect("file");
        assert_eq!(read(&path, 2 << 20), Ok(vec![7; 2 << 20]));
        assert_eq!(read(&path, 1 << 20).map_err(|e| e.message), Err("is larger than 1 MiB".into()));
        fs::write(&path, "").expect("file");
        assert_eq!(read(&path, 1 << 20).map_err(|e| e.message), Err("is empty".into()));
    }
}
