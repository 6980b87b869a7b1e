//! Writes output files so that nobody ever sees half of one.
//!
//! The bytes go into a file without a name (`O_TMPFILE`), which vanishes with its process, however that ends. Once
//! complete it gets its name in one step. Where something has that name already, it first gets a hidden temporary name
//! and is then renamed over the target. Where the file system knows no files without names, the hidden name is there
//! from the start.
//!
//! A hidden file that a killed process left behind is recognised by its lock: whoever writes one holds `flock` on it,
//! and the kernel gives that up with the process. So [`clean`] never takes a file from a run that is still going on.
//!
//! Outputs go below a [`Root`] and nowhere else, whatever happens to folders and links while the run goes on.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::failure::{Cause, JobError, reason};
use super::inputs::{FileId, file_id};
use super::names;

const TEMPORARY_PREFIX: &str = ".procpool-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A folder that was there before the run and below which outputs go: what the user named, links and all.
///
/// Below it no link is followed, and it is the folder itself that counts, not what has its name later. So nothing that
/// happens to its folders during the run makes an output land somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Root {
    path: PathBuf,
    /// Nothing if it cannot be looked at; then writing says why.
    id: Option<FileId>,
    /// What of the folder is still missing.
    rest: PathBuf,
}

impl Root {
    /// The folder that is to hold outputs. It is made with the first one if it is not there.
    pub(crate) fn new(folder: &Path) -> Root {
        let (mut path, mut rest) = (folder.to_owned(), PathBuf::new());
        loop {
            let shown = or_here(&path);
            match fs::metadata(shown) {
                Ok(found) => return Root { id: Some(file_id(&found)), path, rest },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let Some(name) = path.components().next_back() else { break };
                    let name = PathBuf::from(name.as_os_str());
                    rest = if rest.as_os_str().is_empty() { name } else { name.join(rest) };
                    if !path.pop() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        Root { path, id: None, rest }
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let folder = rustix::fs::open(or_here(&self.path), FOLDER, Mode::empty())?;
        let found = rustix::fs::fstat(&folder)?;
        if self.id.is_some_and(|id| id != (found.st_dev, found.st_ino)) {
            let text = format!("{} is another folder than when the run began", names::show(or_here(&self.path)));
            return Err(io::Error::other(text));
        }
        Ok(folder)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// A folder at or below a root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Folder {
    root: Root,
    below: PathBuf,
}

impl Folder {
    /// Opens it, and makes what is missing if asked.
    fn open(&self, create: bool) -> io::Result<OwnedFd> {
        let mut folder = self.root.open()?;
        let mut path = self.root.path.clone();
        for component in self.root.rest.components().chain(self.below.components()) {
            match component {
                Component::CurDir => continue,
                Component::Normal(name) => {
                    path.push(name);
                    folder = step(&folder, name, create).map_err(|error| explain(&folder, name, &path, error))?;
                }
                // Only the user's own words, where nothing was before the run.
                _ => return Err(io::Error::other("its folder has a .. behind a name that does not exist")),
            }
        }
        Ok(folder)
    }
}

fn step(folder: &OwnedFd, name: &OsStr, create: bool) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
    match open() {
        Err(Errno::NOENT) if create => match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        opened => opened,
    }
}

/// A link in place of a folder is told as what it is.
fn explain(folder: &OwnedFd, name: &OsStr, path: &Path, error: Errno) -> io::Error {
    let found = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_link = found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink);
    match error {
        Errno::LOOP | Errno::NOTDIR if is_link => {
            io::Error::other(format!("{} is a link, which is not followed here", names::show(path)))
        }
        error => error.into(),
    }
}

/// Where one output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    folder: Folder,
    name: OsString,
    path: PathBuf,
}

impl Output {
    /// The output `below` (a relative path that goes nowhere but down) the root.
    pub(crate) fn new(root: &Root, below: &Path) -> Output {
        Output {
            folder: Folder { root: root.clone(), below: below.parent().unwrap_or(Path::new("")).to_owned() },
            name: below.file_name().unwrap_or_default().to_owned(),
            path: root.path.join(&root.rest).join(below),
        }
    }

    /// Its path, for people, and to look at it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Writes `bytes` to `target`, in place of what may be there, and makes the folder if it is missing.
pub(crate) fn write(target: &Output, bytes: &[u8]) -> Result<(), JobError> {
    write_with(target, bytes, true)
}

fn write_with(target: &Output, bytes: &[u8], anonymous: bool) -> Result<(), JobError> {
    let written = target.folder.open(true).and_then(|folder| write_in(folder.as_fd(), &target.name, bytes, anonymous));
    written.map_err(|error| unwritable(target, &error))
}

/// Writes several outputs. None of them is there under its name before all are written, so that only a failure to rename leaves some
/// without the others.
pub(crate) fn write_together<'a>(outputs: impl Iterator<Item = (&'a Output, &'a [u8])>) -> Result<(), JobError> {
    let pending = outputs.map(|(target, bytes)| {
        let pending = Pending::begin(target)?;
        pending.file().write_all(bytes).map_err(|error| pending.failure(&error))?;
        Ok(pending)
    });
    let pending: Vec<Pending> = pending.collect::<Result<_, JobError>>()?;
    pending.into_iter().try_for_each(Pending::keep)
}

fn unwritable(target: &Output, error: &io::Error) -> JobError {
    JobError::new(Cause::Unwritable, format!("cannot write {}: {}", names::show(&target.path), reason(error)))
}

/// An output that is written piece by piece. Nothing of it is to be seen under its name until it is [kept](Self::keep), and
/// nothing stays of one that is not.
#[derive(Debug)]
pub(crate) struct Pending {
    target: Output,
    folder: OwnedFd,
    file: File,
    /// Its name until then, where files without a name are not to be had.
    temporary: Option<String>,
}

impl Pending {
    /// Begins an output, and makes its folder if it is missing.
    pub(crate) fn begin(target: &Output) -> Result<Pending, JobError> {
        Self::begin_with(target, true).map_err(|error| unwritable(target, &error))
    }

    fn begin_with(target: &Output, anonymous: bool) -> io::Result<Pending> {
        let folder = target.folder.open(true)?;
        let (target, mode) = (target.clone(), Mode::from_raw_mode(0o666));
        if anonymous {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match rustix::fs::openat(&folder, c".", flags, mode) {
                Ok(file) => {
                    let file = File::from(file);
                    lock(&file)?;
                    return Ok(Pending { target, folder, file, temporary: None });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            let name = temporary_name()?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(&folder, name.as_str(), flags, mode) {
                Err(Errno::EXIST) => continue,
                created => File::from(created?),
            };
            lock(&file)?;
            // Before the lock was there, another run may have taken the file for a stale one.
            if rustix::fs::fstat(&file)?.st_nlink > 0 {
                return Ok(Pending { target, folder, file, temporary: Some(name) });
            }
        }
    }

    /// The file to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The failure to write it.
    pub(crate) fn failure(&self, error: &io::Error) -> JobError {
        unwritable(&self.target, error)
    }

    /// Has it written to the disk.
    pub(crate) fn sync(&self) -> Result<(), JobError> {
        self.file.sync_all().map_err(|error| self.failure(&error))
    }

    /// Gives it its name, in place of what may have it.
    pub(crate) fn keep(mut self) -> Result<(), JobError> {
        let kept = match self.temporary.take() {
            None => name_anonymous(&self.file, self.folder.as_fd(), &self.target.name),
            Some(name) => Temporary { folder: self.folder.as_fd(), name }.rename(&self.target.name),
        };
        kept.map_err(|error| unwritable(&self.target, &error))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(name) = self.temporary.take() {
            drop(Temporary { folder: self.folder.as_fd(), name });
        }
    }
}

/// A file for a while, beside `target`: it never has a name that lasts, and is gone when nobody holds it open any more.
pub(crate) fn scratch(target: &Output) -> Result<File, JobError> {
    scratch_with(target, true).map_err(|error| unwritable(target, &error))
}

fn scratch_with(target: &Output, anonymous: bool) -> io::Result<File> {
    let folder = target.folder.open(true)?;
    if anonymous {
        // With EXCL it cannot get a name later either.
        let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&folder, c".", flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok(File::from(file)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    loop {
        let name = temporary_name()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&folder, name.as_str(), flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => {}
            file => {
                let file = File::from(file?);
                rustix::fs::unlinkat(&folder, name.as_str(), AtFlags::empty())?;
                return Ok(file);
            }
        }
    }
}

fn write_in(folder: BorrowedFd<'_>, name: &OsStr, bytes: &[u8], anonymous: bool) -> io::Result<()> {
    if anonymous {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, c".", flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => return write_anonymous(File::from(file), folder, name, bytes),
            // What kernels and file systems without O_TMPFILE answer.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    write_named(folder, name, bytes)
}

fn write_anonymous(mut file: File, folder: BorrowedFd<'_>, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    lock(&file)?;
    file.write_all(bytes)?;
    name_anonymous(&file, folder, name)
}

fn name_anonymous(file: &File, folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match link(file, folder, name) {
        Err(Errno::EXIST) => {}
        linked => return Ok(linked?),
    }
    let temporary = loop {
        let temporary = Temporary { folder, name: temporary_name()? };
        match link(file, folder, temporary.name.as_ref()) {
            Err(Errno::EXIST) => std::mem::forget(temporary),
            linked => {
                linked?;
                break temporary;
            }
        }
    };
    temporary.rename(name)
}

/// Gives a file without a name its name. (Linking the descriptor itself needs a privilege; its name under /proc not.)
fn link(file: &File, folder: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, descriptor.as_str(), folder, name, AtFlags::SYMLINK_FOLLOW)
}

fn write_named(folder: BorrowedFd<'_>, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    loop {
        let temporary = temporary_name()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(folder, temporary.as_str(), flags, Mode::from_raw_mode(0o666)) {
            Err(Errno::EXIST) => continue,
            created => created?,
        };
        let (mut file, temporary) = (File::from(file), Temporary { folder, name: temporary });
        lock(&file)?;
        // Before the lock was there, another run may have taken the file for a stale one.
        if rustix::fs::fstat(&file)?.st_nlink == 0 {
            std::mem::forget(temporary);
            continue;
        }
        file.write_all(bytes)?;
        return temporary.rename(name);
    }
}

/// Why an output does not take the place of a device or a pipe: `/dev/null` would be a file from then on, for everybody.
const IS_SPECIAL: &str = "it is no file but a device, a pipe or a socket";

/// An error if the name in the folder leads to something that no output may replace.
pub(crate) fn refuse_special(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    use FileType::{BlockDevice, CharacterDevice, Fifo, Socket};
    match rustix::fs::statat(folder, name, AtFlags::empty()).map(|there| FileType::from_raw_mode(there.st_mode)) {
        Ok(CharacterDevice | BlockDevice | Fifo | Socket) => Err(io::Error::other(IS_SPECIAL)),
        _ => Ok(()),
    }
}

/// A hidden file that goes when this goes, unless it got its real name.
struct Temporary<'a> {
    folder: BorrowedFd<'a>,
    name: String,
}

impl Temporary<'_> {
    fn rename(self, name: &OsStr) -> io::Result<()> {
        refuse_special(self.folder, name)?;
        rustix::fs::renameat(self.folder, self.name.as_str(), self.folder, name)?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        let _ = rustix::fs::unlinkat(self.folder, self.name.as_str(), AtFlags::empty());
    }
}

/// A hidden name that nothing has yet.
pub(crate) fn temporary_name() -> io::Result<String> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{TEMPORARY_PREFIX}{:016x}{TEMPORARY_SUFFIX}", u64::from_ne_bytes(random)))
}

/// Whether it is such a name.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(TEMPORARY_PREFIX.as_bytes()) && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
}

/// Marks a file as being written. File systems without locks never have their stale files cleaned, which is harmless.
fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::LockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has the names in `folder` written to the disk.
pub(crate) fn sync_names(folder: &Folder) -> Result<(), JobError> {
    let synced = folder.open(false).and_then(|folder| Ok(rustix::fs::fsync(&folder)?));
    synced.map_err(|error| {
        let shown = names::show(or_here(&folder.root.path.join(&folder.root.rest).join(&folder.below))).to_string();
        JobError::new(Cause::Unwritable, format!("cannot write {shown}: {}", reason(&error)))
    })
}

/// Removes what killed runs left behind in `folder`.
pub(crate) fn clean(folder: &Folder) {
    // A folder that cannot be read or written is reported when an output goes there, not here.
    let Ok(folder) = folder.open(false) else { return };
    let Ok(entries) = Dir::read_from(&folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !is_temporary(name.to_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&folder, name, flags, Mode::empty()) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn outputs_are_written_with_and_without_anonymous_files() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            let target = Output::new(&Root::new(&root.path().join("new")), Path::new("sub/x.jpg"));
            assert_eq!(target.path(), root.path().join("new/sub/x.jpg"));
            write_with(&target, b"one", anonymous).expect("new file");
            assert_eq!(fs::read(target.path()).expect("output"), b"one");
            write_with(&target, b"two!", anonymous).expect("replaced file");
            assert_eq!(fs::read(target.path()).expect("output"), b"two!");
            assert_eq!(listing(&root.path().join("new/sub")), ["x.jpg"]);
        }
    }

    #[test]
    fn an_output_that_is_written_piece_by_piece_is_there_whole_or_not_at_all() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            let target = Output::new(&Root::new(root.path()), Path::new("x"));
            let begin = || Pending::begin_with(&target, anonymous).expect("begun");
            let pending = begin();
            pending.file().write_all(b"half").expect("write");
            drop(pending);
            assert_eq!(listing(root.path()), [""; 0]);
            for whole in ["one", "two"] {
                let pending = begin();
                pending.file().write_all(whole.as_bytes()).expect("write");
                pending.keep().expect("kept");
                assert_eq!(fs::read_to_string(target.path()).expect("output"), whole);
                assert_eq!(listing(root.path()), ["x"]);
            }
        }
    }

    #[test]
    fn a_scratch_file_has_no_name() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            let target = Output::new(&Root::new(root.path()), Path::new("x"));
            let mut file = scratch_with(&target, anonymous).expect("scratch file");
            file.write_all(b"for a while").expect("write");
            assert_eq!(listing(root.path()), [""; 0]);
            assert_eq!(file.metadata().expect("metadata").len(), 11);
        }
    }

    #[test]
    fn of_several_outputs_none_is_there_before_all_are_written() {
        let root = tempfile::tempdir().expect("temporary folder");
        fs::write(root.path().join("file"), "").expect("file");
        let folder = Root::new(root.path());
        let [a, b, blocked] = ["a", "b", "file/c"].map(|name| Output::new(&folder, Path::new(name)));
        let write = |outputs: &[&Output]| write_together(outputs.iter().map(|output| (*output, &b"one"[..])));
        assert!(write(&[&a, &b, &blocked]).is_err());
        assert_eq!(listing(root.path()), ["file"]);
        write(&[&a, &b]).expect("written");
        assert_eq!(listing(root.path()), ["a", "b", "file"]);
    }

    #[test]
    fn a_failure_names_the_output_and_leaves_nothing() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            fs::create_dir(root.path().join("x.jpg")).expect("folder");
            let target = Output::new(&Root::new(root.path()), Path::new("x.jpg"));
            let error = write_with(&target, b"one", anonymous).expect_err("a folder is in the way");
            assert_eq!(error.message, format!("cannot write {}: Is a directory", target.path().display()));
            assert_eq!(listing(root.path()), ["x.jpg"]);
            fs::write(root.path().join("file"), "").expect("file");
            for target in [
                Output::new(&Root::new(&root.path().join("file")), Path::new("x.jpg")),
                Output::new(&Root::new(root.path()), Path::new("file/x.jpg")),
            ] {
                let error = write_with(&target, b"one", anonymous).expect_err("a file is in the way");
                assert_eq!(error.message, format!("cannot write {}: Not a directory", target.path().display()));
            }
        }
    }

    #[test]
    fn pipes_and_links_to_devices_stay_what_they_are() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            let pipe = root.path().join("pipe");
            rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).expect("pipe");
            symlink("/dev/null", root.path().join("link")).expect("link");
            for name in ["pipe", "link"] {
                let target = Output::new(&Root::new(root.path()), Path::new(name));
                let expected = format!("cannot write {}: {IS_SPECIAL}", target.path().display());
                let error = write_with(&target, b"one", anonymous).expect_err("it is in the way");
                assert_eq!(error.message, expected);
                let pending = Pending::begin_with(&target, anonymous).expect("begun");
                assert_eq!(pending.keep().expect_err("it is in the way").message, expected);
            }
            assert_eq!(listing(root.path()), ["link", "pipe"]);
            assert!(fs::read_link(root.path().join("link")).is_ok());
        }
    }

    #[test]
    fn stale_files_go_and_files_being_written_stay() {
        let root = tempfile::tempdir().expect("temporary folder");
        let live = root.path().join(".procpool-0000000000000001.tmp");
        let held = File::create(&live).expect("file");
        lock(&held).expect("lock");
        fs::write(root.path().join(".procpool-0000000000000002.tmp"), "half").expect("file");
        fs::write(root.path().join("picture.jpg"), "whole").expect("file");
        clean(Output::new(&Root::new(root.path()), Path::new("x")).folder());
        assert_eq!(listing(root.path()), [".procpool-0000000000000001.tmp", "picture.jpg"]);
        drop(held);
        clean(Output::new(&Root::new(root.path()), Path::new("x")).folder());
        assert_eq!(listing(root.path()), ["picture.jpg"]);
    }

    #[test]
    fn temporary_names_differ() {
        assert_ne!(temporary_name().expect("random"), temporary_name().expect("random"));
    }

    #[test]
    fn the_folder_may_be_a_link_but_nothing_below_it() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            fs::create_dir_all(root.path().join("real/sub")).expect("folder");
            fs::create_dir(root.path().join("outside")).expect("folder");
            symlink("real", root.path().join("out")).expect("link");
            let out = Root::new(&root.path().join("out"));
            let write = |below: &str| write_with(&Output::new(&out, Path::new(below)), b"one", anonymous);
            write("sub/x").expect("through the link that was named");
            fs::remove_dir_all(root.path().join("real/sub")).expect("remove");
            symlink("../outside", root.path().join("real/sub")).expect("link");
            let error = write("sub/x").expect_err("a link in the way");
            let out = root.path().join("out");
            let expected = "cannot write OUT/sub/x: OUT/sub is a link, which is not followed here";
            assert_eq!(error.message, expected.replace("OUT", &out.display().to_string()));
            // A link in the place of the output itself is replaced.
            symlink("../outside/victim", root.path().join("real/y")).expect("link");
            write("y").expect("in place of the link");
            assert_eq!(fs::read(out.join("y")).expect("output"), b"one");
            assert!(!out.join("y").is_symlink());
            assert_eq!(listing(&root.path().join("outside")), [""; 0]);
        }
    }

    #[test]
    fn a_folder_that_takes_the_place_of_the_output_folder_is_another_one() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("out")).expect("folder");
        fs::create_dir(path("outside")).expect("folder");
        let (old, missing) = (Root::new(&path("out")), Root::new(&path("new/deep")));
        fs::rename(path("out"), path("moved")).expect("rename");
        symlink("outside", path("out")).expect("link");
        symlink("outside", path("new")).expect("link");
        let error = write(&Output::new(&old, Path::new("x")), b"one").expect_err("another folder");
        assert!(error.message.ends_with("/out is another folder than when the run began"), "{}", error.message);
        let error = write(&Output::new(&missing, Path::new("x")), b"one").expect_err("a link");
        assert!(error.message.ends_with("/new is a link, which is not followed here"), "{}", error.message);
        assert_eq!(listing(&path("outside")), [""; 0]);
    }
}
