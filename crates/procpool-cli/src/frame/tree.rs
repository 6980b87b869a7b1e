//! A folder of outputs that is there whole or not at all.
//!
//! It is filled under a hidden name beside the place where it is to be, and gets its name in one step. What a killed run has
//! left is recognised by its lock, as hidden files are (`outputs`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::failure::{Cause, JobError, reason};
use super::names;
use super::outputs::{Root, is_temporary, temporary_name};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder in which the tree is and will be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: Arc<OwnedFd>,
    parent: PathBuf,
    path: PathBuf,
    /// The name of the tree.
    name: OsString,
}

/// A folder that is being filled.
#[derive(Debug)]
pub(crate) struct Tree {
    place: Place,
    temporary: String,
    root: Root,
    /// Marks it as in use, for as long as it is open.
    _lock: OwnedFd,
    is_kept: bool,
}

impl Place {
    /// The place of the tree `path`, whose folder is made if it is missing. The error is a message for the user.
    pub(crate) fn new(path: &Path) -> Result<Place, String> {
        let failed = |error: io::Error| format!("cannot write {}: {}", names::show(path), reason(&error));
        // A link that was named is meant as the folder it leads to.
        let path = match fs::canonicalize(path) {
            Ok(found) => found,
            Err(_) => path.to_owned(),
        };
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(format!("the output {} has no name of its own; name a folder below it", names::show(&path)));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(failed)?;
        let folder = rustix::fs::open(parent, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty());
        let folder = folder.map_err(|error| failed(error.into()))?;
        if let Ok(there) = fs::metadata(&path) {
            if !there.is_dir() {
                return Err(format!("{} is there and is no folder; name another one with -o", names::show(&path)));
            }
            if fs::metadata(parent).is_ok_and(|parent| parent.dev() != there.dev()) {
                let shown = names::show(&path);
                return Err(format!("{shown} is a file system of its own; name a folder below it with -o"));
            }
        }
        Ok(Place { folder: Arc::new(folder), parent: parent.to_owned(), path, name })
    }

    /// Whether there is anything in the tree's place.
    pub(crate) fn is_taken(&self) -> bool {
        fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Where the tree will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Has everything in the file system of the folder written to the disk.
    pub(crate) fn sync(&self) -> Result<(), JobError> {
        rustix::fs::syncfs(&*self.folder).map_err(|error| unwritable(&self.path, &error.into()))
    }

    /// Removes what killed runs have left, and what this one has.
    pub(crate) fn clean(&self, own: Option<&str>) {
        let Ok(entries) = Dir::read_from(&*self.folder) else { return };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !is_temporary(name.as_bytes()) {
                continue;
            }
            let Ok(found) = rustix::fs::openat(&*self.folder, name, FOLDER, Mode::empty()) else { continue };
            if own == Some(name) || rustix::fs::flock(&found, FlockOperation::NonBlockingLockExclusive).is_ok() {
                self.remove(name);
            }
        }
    }

    fn remove(&self, name: &str) {
        // What cannot be removed is a hidden folder that the next run tries again.
        let _ = fs::remove_dir_all(below(&self.folder, name));
    }
}

/// The path of something in an open folder.
fn below(folder: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)
}

impl Tree {
    /// Begins an empty folder beside its place.
    pub(crate) fn begin(place: Place) -> Result<Tree, JobError> {
        let failed = |error: io::Error| unwritable(&place.path, &error);
        loop {
            let temporary = temporary_name().map_err(failed)?;
            match rustix::fs::mkdirat(&*place.folder, temporary.as_str(), Mode::from_raw_mode(0o777)) {
                Err(Errno::EXIST) => continue,
                made => made.map_err(|error| failed(error.into()))?,
            }
            let opened = rustix::fs::openat(&*place.folder, temporary.as_str(), FOLDER, Mode::empty());
            let lock = opened.map_err(|error| failed(error.into()))?;
            // Another run is about to take it for a stale one. Where there are no locks nothing is taken for stale.
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                continue;
            }
            // Or has done so before the lock was there.
            if rustix::fs::fstat(&lock).map_err(|error| failed(error.into()))?.st_nlink == 0 {
                continue;
            }
            let root = Root::new(&place.parent.join(&temporary));
            return Ok(Tree { root, temporary, _lock: lock, place, is_kept: false });
        }
    }

    /// Where it will be.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Where its outputs go.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Its name until it is kept.
    pub(crate) fn temporary(&self) -> &str {
        &self.temporary
    }

    /// Gives it its name, in place of an empty folder or, if `replace` is set, of what is there.
    pub(crate) fn keep(mut self, replace: bool) -> Result<(), JobError> {
        let (folder, from, to) = (&*self.place.folder, self.temporary.as_str(), self.place.name.as_os_str());
        let named = if replace { rename(folder, from, to, RenameFlags::EXCHANGE) } else { Err(Errno::NOENT) };
        let exchanged = named.is_ok();
        // Nothing is there to be replaced.
        let named = if named == Err(Errno::NOENT) { rename(folder, from, to, RenameFlags::empty()) } else { named };
        named.map_err(|error| match error {
            Errno::NOTEMPTY | Errno::EXIST => {
                JobError::new(Cause::Unwritable, format!("{} is no longer empty", names::show(&self.place.path)))
            }
            error => unwritable(&self.place.path, &error.into()),
        })?;
        self.is_kept = true;
        if exchanged {
            self.place.remove(&self.temporary);
        }
        Ok(())
    }
}

fn rename(folder: &OwnedFd, from: &str, to: &OsStr, flags: RenameFlags) -> Result<(), Errno> {
    rustix::fs::renameat_with(folder, from, folder, to, flags)
}

fn unwritable(path: &Path, error: &io::Error) -> JobError {
    JobError::new(Cause::Unwritable, format!("cannot write {}: {}", names::show(path), reason(error)))
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.is_kept {
            self.place.remove(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::outputs::{self, Output};
    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("entry").file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = fs::read_dir(folder).expect("folder").map(name).collect();
        names.sort();
        names
    }

    fn begun(place: &Place) -> Tree {
        let tree = Tree::begin(place.clone()).expect("tree");
        outputs::write(&Output::new(tree.root(), Path::new("sub/x")), b"one").expect("written");
        tree
    }

    #[test]
    fn it_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().expect("temporary folder");
        let place = Place::new(&root.path().join("new/set")).expect("place");
        drop(begun(&place));
        assert_eq!(listing(&root.path().join("new")), [""; 0]);
        assert!(!place.is_taken());
        let tree = begun(&place);
        assert!(!place.path().exists());
        tree.keep(false).expect("kept");
        assert_eq!(listing(&root.path().join("new")), ["set"]);
        assert_eq!(fs::read(place.path().join("sub/x")).expect("output"), b"one");
        assert!(place.is_taken());
    }

    #[test]
    fn what_is_there_is_replaced_only_if_asked() {
        let root = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(root.path().join("set")).expect("folder");
        let place = Place::new(&root.path().join("set")).expect("place");
        begun(&place).keep(false).expect("in place of an empty folder");
        fs::write(place.path().join("old"), "").expect("file");
        let error = begun(&place).keep(false).expect_err("not empty");
        assert_eq!(error.message, format!("{} is no longer empty", place.path().display()));
        assert_eq!(listing(place.path()), ["old", "sub"]);
        begun(&place).keep(true).expect("replaced");
        assert_eq!((listing(place.path()), listing(root.path())), (vec!["sub".to_owned()], vec!["set".to_owned()]));
        // Nor must there be anything to replace.
        let place = Place::new(&root.path().join("other")).expect("place");
        begun(&place).keep(true).expect("kept");
        assert_eq!(listing(root.path()), ["other", "set"]);
    }

    #[test]
    fn what_killed_runs_left_goes_and_what_others_fill_stays() {
        let root = tempfile::tempdir().expect("temporary folder");
        let place = Place::new(&root.path().join("set")).expect("place");
        let live = begun(&place);
        fs::create_dir_all(root.path().join(".procpool-0000000000000002.tmp/train")).expect("folder");
        fs::write(root.path().join(".procpool-0000000000000002.tmp/train/x"), "half").expect("file");
        fs::create_dir(root.path().join("photos")).expect("folder");
        place.clean(None);
        assert_eq!(listing(root.path()), [live.temporary(), "photos"]);
        place.clean(Some(live.temporary()));
        assert_eq!(listing(root.path()), ["photos"]);
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let root = tempfile::tempdir().expect("temporary folder");
        let file = root.path().join("set");
        fs::write(&file, "").expect("file");
        let told = Place::new(&file).expect_err("a file");
        assert_eq!(told, format!("{} is there and is no folder; name another one with -o", file.display()));
        assert!(Place::new(Path::new("/")).is_err());
    }
}
