//! Doorbells: a futex word towards a worker, an eventfd towards the parent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::thread::futex;

use super::fail::{Call, point};

/// Sleeps until `word` is no longer `expected`, somebody wakes it, or `timeout` is over. May wake for no reason.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
    // Every way to return means the same to the caller: look again.
    let _ = point(Call::Futex).and_then(|()| futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref()));
}

/// Wakes the one process that sleeps on `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

/// An eventfd that many may ring and one waits for.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    /// A new bell, silent.
    pub(crate) fn new() -> io::Result<Self> {
        point(Call::Eventfd)?;
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// The bell behind a descriptor that came from another process.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Rings; ringing twice before anybody listens is ringing once. `false` if the bell is not there any more.
    pub(crate) fn ring(&self) -> bool {
        // EAGAIN means the counter is full, so the bell is ringing already.
        matches!(rustix::io::write(&self.0, &1u64.to_ne_bytes()), Ok(_) | Err(Errno::AGAIN))
    }

    /// Silences the bell.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }

    /// Sleeps until the bell rings or `timeout` is over, then silences it.
    pub(crate) fn wait(&self, timeout: Option<Duration>) {
        let _ = wait_readable(self.0.as_fd(), timeout);
        self.clear();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` can be read (or its peer is gone). Returns whether it can; `false` after `timeout`.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let timeout = timeout.and_then(|d| Timespec::try_from(d).ok());
    match point(Call::Poll).and_then(|()| poll(&mut fds, timeout.as_ref())) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Waits until the peer of `socket` is gone or `enough` can be read. Returns whether it is the former.
pub(crate) fn wait_for_end(socket: BorrowedFd<'_>, enough: BorrowedFd<'_>) -> bool {
    let mut fds =
        [PollFd::from_borrowed_fd(socket, PollFlags::empty()), PollFd::from_borrowed_fd(enough, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => return fds[0].revents().contains(PollFlags::HUP),
            Err(Errno::INTR) => {}
            // Neither can be waited for: as if the initializer were short.
            Err(_) => return false,
        }
    }
}
