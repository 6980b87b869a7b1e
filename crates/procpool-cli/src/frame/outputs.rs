//! Writes output files so that nobody ever sees half of one.
//!
//! The bytes go into a file without a name (`O_TMPFILE`), which vanishes with its process, however that ends. Once
//! complete it gets its name in one step. Where something has that name already, it first gets a hidden temporary name
//! and is then renamed over the target. Where the file system knows no files without names, the hidden name is there
//! from the start.
//!
//! A hidden file that a killed process left behind is recognised by its lock: whoever writes one holds `flock` on it,
//! and the kernel gives that up with the process. So [`clean`] never takes a file from a run that is still going on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::failure::{Cause, JobError, reason};
use super::names;

const TEMPORARY_PREFIX: &str = ".procpool-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Writes `bytes` to `target`, in place of what may be there, and makes the folder if it is missing.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<(), JobError> {
    write_with(target, bytes, true)
}

fn write_with(target: &Path, bytes: &[u8], anonymous: bool) -> Result<(), JobError> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let failed = |error: io::Error| {
        let message = format!("cannot write {}: {}", names::show(target), reason(&error));
        JobError::new(Cause::Unwritable, message)
    };
    match write_in(folder, target, bytes, anonymous) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(failed)?;
            write_in(folder, target, bytes, anonymous).map_err(failed)
        }
        written => written.map_err(failed),
    }
}

fn write_in(folder: &Path, target: &Path, bytes: &[u8], anonymous: bool) -> io::Result<()> {
    if anonymous {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => return write_anonymous(File::from(file), folder, target, bytes),
            // What kernels and file systems without O_TMPFILE answer.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    write_named(folder, target, bytes)
}

fn write_anonymous(mut file: File, folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    lock(&file)?;
    file.write_all(bytes)?;
    match link(&file, target) {
        Err(Errno::EXIST) => {}
        linked => return Ok(linked?),
    }
    let temporary = loop {
        let temporary = Temporary(folder.join(temporary_name()?));
        match link(&file, &temporary.0) {
            Err(Errno::EXIST) => std::mem::forget(temporary),
            linked => {
                linked?;
                break temporary;
            }
        }
    };
    temporary.rename(target)
}

/// Gives a file without a name its name. (Linking the descriptor itself needs a privilege; its name under /proc not.)
fn link(file: &File, name: &Path) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, descriptor.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW)
}

fn write_named(folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    loop {
        let path = folder.join(temporary_name()?);
        let mut file = match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        let temporary = Temporary(path);
        lock(&file)?;
        // Before the lock was there, another run may have taken the file for a stale one.
        if file.metadata()?.nlink() == 0 {
            std::mem::forget(temporary);
            continue;
        }
        file.write_all(bytes)?;
        return temporary.rename(target);
    }
}

/// A hidden file that goes when this goes, unless it got its real name.
struct Temporary(PathBuf);

impl Temporary {
    fn rename(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.0, target)?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&self.0);
    }
}

fn temporary_name() -> io::Result<String> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{TEMPORARY_PREFIX}{:016x}{TEMPORARY_SUFFIX}", u64::from_ne_bytes(random)))
}

/// Marks a file as being written. File systems without locks never have their stale files cleaned, which is harmless.
fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::LockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what killed runs left behind in `folder`.
pub(crate) fn clean(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // A folder that cannot be read or written is reported when an output goes there, not here.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_bytes();
        if !(name.starts_with(TEMPORARY_PREFIX.as_bytes()) && name.ends_with(TEMPORARY_SUFFIX.as_bytes())) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(entry.path(), flags, Mode::empty()) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
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
            let target = root.path().join("new/sub/x.jpg");
            write_with(&target, b"one", anonymous).expect("new file");
            assert_eq!(fs::read(&target).expect("output"), b"one");
            write_with(&target, b"two!", anonymous).expect("replaced file");
            assert_eq!(fs::read(&target).expect("output"), b"two!");
            assert_eq!(listing(&root.path().join("new/sub")), ["x.jpg"]);
        }
    }

    #[test]
    fn a_failure_names_the_output_and_leaves_nothing() {
        for anonymous in [true, false] {
            let root = tempfile::tempdir().expect("temporary folder");
            fs::create_dir(root.path().join("x.jpg")).expect("folder");
            let target = root.path().join("x.jpg");
            let error = write_with(&target, b"one", anonymous).expect_err("a folder is in the way");
            assert_eq!(error.message, format!("cannot write {}: Is a directory", target.display()));
            assert_eq!(listing(root.path()), ["x.jpg"]);
            fs::write(root.path().join("file"), "").expect("file");
            let target = root.path().join("file/x.jpg");
            let error = write_with(&target, b"one", anonymous).expect_err("a file is in the way");
            assert_eq!(error.message, format!("cannot write {}: Not a directory", target.display()));
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
        clean(root.path());
        assert_eq!(listing(root.path()), [".procpool-0000000000000001.tmp", "picture.jpg"]);
        drop(held);
        clean(root.path());
        assert_eq!(listing(root.path()), ["picture.jpg"]);
    }

    #[test]
    fn temporary_names_differ() {
        assert_ne!(temporary_name().expect("random"), temporary_name().expect("random"));
    }
}
