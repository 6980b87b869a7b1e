//! System calls of this process that fail on demand. Only with the feature `failpoints`, which is for the tests in
//! `tests/faults`; without it [`point`] is nothing.

use rustix::io::Errno;

/// A system call that can be made to fail.
#[cfg_attr(not(feature = "failpoints"), allow(unreachable_pub))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `memfd_create`
    Memfd,
    /// `ftruncate`
    Truncate,
    /// `fcntl` that seals a memfd or asks for its seals
    Seal,
    /// `fstat`
    Stat,
    /// `write` into a memfd
    Write,
    /// `mmap`
    Map,
    /// `open` in `/proc`
    Open,
    /// `dup`
    Duplicate,
    /// `eventfd`
    Eventfd,
    /// `poll`
    Poll,
    /// `epoll_create`
    EpollCreate,
    /// `epoll_ctl` that adds
    EpollAdd,
    /// `epoll_wait`
    EpollWait,
    /// `socketpair`
    Socketpair,
    /// `sendmsg`
    Send,
    /// `recvmsg`
    Receive,
    /// `fork` and `exec`
    Spawn,
    /// `pidfd_open`
    PidfdOpen,
    /// `waitid`
    Wait,
    /// `pipe`
    Pipe,
    /// `read` from a pipe
    Read,
    /// `ioctl` that keeps a pipe from blocking
    Nonblocking,
    /// `flock`
    Lock,
    /// `futex` that waits
    Futex,
    /// `clone` of a thread
    Thread,
}

/// Passes, or fails as the kernel would.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn point(_: Call) -> Result<(), Errno> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub(crate) use armed::point;
#[cfg(feature = "failpoints")]
pub use armed::{arm, disarm};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{Call, Errno};

    impl Call {
        /// All of them.
        pub const ALL: [Self; 25] = [
            Self::Memfd,
            Self::Truncate,
            Self::Seal,
            Self::Stat,
            Self::Write,
            Self::Map,
            Self::Open,
            Self::Duplicate,
            Self::Eventfd,
            Self::Poll,
            Self::EpollCreate,
            Self::EpollAdd,
            Self::EpollWait,
            Self::Socketpair,
            Self::Send,
            Self::Receive,
            Self::Spawn,
            Self::PidfdOpen,
            Self::Wait,
            Self::Pipe,
            Self::Read,
            Self::Nonblocking,
            Self::Lock,
            Self::Futex,
            Self::Thread,
        ];

        /// The errors that the kernel has for this call.
        pub fn errors(self) -> &'static [i32] {
            match self {
                Self::Memfd | Self::Eventfd | Self::PidfdOpen => &[libc::EMFILE, libc::ENFILE, libc::ENOMEM],
                Self::EpollCreate | Self::Socketpair | Self::Pipe => &[libc::EMFILE, libc::ENFILE, libc::ENOMEM],
                Self::Truncate => &[libc::ENOMEM, libc::EINTR],
                Self::Seal => &[libc::EBUSY, libc::ENOMEM],
                Self::Stat | Self::Nonblocking => &[libc::ENOMEM],
                Self::Write => &[libc::ENOSPC, libc::ENOMEM, libc::EINTR],
                Self::Map => &[libc::ENOMEM, libc::EAGAIN],
                Self::Open => &[libc::EMFILE, libc::ENOMEM, libc::ENOENT],
                Self::Duplicate => &[libc::EMFILE],
                Self::Poll => &[libc::EINTR, libc::ENOMEM],
                Self::EpollAdd => &[libc::ENOMEM, libc::ENOSPC],
                Self::EpollWait | Self::Wait | Self::Read | Self::Futex => &[libc::EINTR],
                Self::Send => &[libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::ENOMEM, libc::ETOOMANYREFS],
                Self::Receive => &[libc::EAGAIN, libc::EINTR, libc::ENOMEM],
                Self::Spawn => &[libc::EAGAIN, libc::ENOMEM, libc::EMFILE],
                Self::Lock => &[libc::EINTR, libc::ENOLCK],
                Self::Thread => &[libc::EAGAIN],
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Armed {
        call: Call,
        passes: u64,
        failures: u64,
        error: i32,
        hits: u64,
    }

    static ARMED: Mutex<Option<Armed>> = Mutex::new(None);

    fn lock() -> MutexGuard<'static, Option<Armed>> {
        ARMED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `call` passes `passes` times, then fails `failures` times with `error`, then passes again.
    pub fn arm(call: Call, passes: u64, failures: u64, error: i32) {
        *lock() = Some(Armed { call, passes, failures, error, hits: 0 });
    }

    /// Nothing fails any more. Returns how often something did.
    pub fn disarm() -> u64 {
        lock().take().map_or(0, |armed| armed.hits)
    }

    /// Passes, or fails as the kernel would.
    pub(crate) fn point(call: Call) -> Result<(), Errno> {
        let mut armed = lock();
        let Some(armed) = armed.as_mut().filter(|armed| armed.call == call) else { return Ok(()) };
        if armed.passes > 0 {
            armed.passes -= 1;
            return Ok(());
        }
        if armed.failures == 0 {
            return Ok(());
        }
        armed.failures -= 1;
        armed.hits += 1;
        Err(Errno::from_raw_os_error(armed.error))
    }
}
