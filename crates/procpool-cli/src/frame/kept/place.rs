//! The folder of a store.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Where a store is: a folder that is named after the output and lies beside it. No link is followed to it.
#[derive(Debug)]
pub(super) struct Place {
    pub parent: OwnedFd,
    name: OsString,
    pub folder: OwnedFd,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Place {
    /// Opens it, or makes it.
    pub(super) fn make(output: &Path) -> io::Result<Place> {
        fs::create_dir_all(folder_of(output))?;
        let parent = rustix::fs::open(folder_of(output), FOLDER, Mode::empty())?;
        match rustix::fs::mkdirat(&parent, name_of(output), Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Self::find(output)
    }

    /// Opens it.
    pub(super) fn find(output: &Path) -> io::Result<Place> {
        let parent = rustix::fs::open(folder_of(output), FOLDER, Mode::empty())?;
        let name = name_of(output);
        let folder = rustix::fs::openat(&parent, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Place { parent, name, folder })
    }

    /// Opens a file in it, or makes it.
    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens a file in it.
    pub(super) fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.folder, name, flags, Mode::from_raw_mode(0o666))?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("what lies there is no file of ours")) }
    }

    /// Removes these files and the folder; what else somebody has put there stays.
    pub(super) fn remove(&self, names: [&str; 2]) {
        for name in names {
            let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

fn folder_of(output: &Path) -> &Path {
    match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Hidden, so that no search for inputs finds it.
fn name_of(output: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(".unfinished");
    name
}
