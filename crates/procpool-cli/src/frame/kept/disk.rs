//! What was kept on its way to the disk.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often what was kept is written to the disk.
const PACE: Duration = Duration::from_secs(1);

/// The thread that has the files written to the disk.
#[derive(Debug)]
pub(super) struct ToDisk(Arc<(Mutex<Wanted>, Condvar)>);

#[derive(Debug, Default)]
struct Wanted {
    more: bool,
    over: bool,
}

impl ToDisk {
    /// Starts it; the folders are written once, so that the files are found again.
    pub(super) fn start(folders: [OwnedFd; 2], data: &Arc<File>, journal: File) -> io::Result<ToDisk> {
        let shared = Arc::new((Mutex::new(Wanted::default()), Condvar::new()));
        let (theirs, data) = (Arc::clone(&shared), Arc::clone(data));
        let work = move || {
            let (wanted, changed) = &*theirs;
            let mut folders = Some(folders);
            loop {
                let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = changed.wait_timeout_while(wanted, PACE, |wanted| !wanted.over);
                (wanted, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if wanted.over {
                    return;
                }
                if !std::mem::take(&mut wanted.more) {
                    continue;
                }
                drop(wanted);
                // If the disk fails, whatever reads or writes next says so.
                let _ = data.sync_data();
                let _ = journal.sync_data();
                for folder in folders.take().into_iter().flatten() {
                    let _ = rustix::fs::fsync(folder.as_fd());
                }
            }
        };
        std::thread::Builder::new().name("keep".into()).spawn(work)?;
        Ok(ToDisk(shared))
    }

    /// Says that something was kept.
    pub(super) fn there_is_more(&self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).more = true;
    }
}

impl Drop for ToDisk {
    /// Nobody waits for the thread: it may be waiting for the disk.
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.1.notify_all();
    }
}
