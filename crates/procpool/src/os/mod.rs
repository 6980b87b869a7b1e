//! The only system calls of the crate: memory, sockets, bells, processes, `/proc`, control groups, sandbox.
//!
//! Nothing here knows what a task is. Every function returns an `io::Result` or a value; none panics on a failed call.

pub(crate) mod bell;
pub(crate) mod cgroup;
pub(crate) mod copy;
pub(crate) mod elf;
pub(crate) mod fail;
pub(crate) mod family;
pub(crate) mod fork;
pub(crate) mod heap;
pub(crate) mod lent;
pub(crate) mod memory;
pub(crate) mod poller;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod sandbox;
pub(crate) mod signals;
pub(crate) mod socket;

use std::os::fd::{AsFd, OwnedFd};

/// Makes a freshly started worker hold nothing but its standard streams and its control socket, which it was given as
/// standard input. `None` if standard input is no such socket: then this program was not started as a worker.
pub(crate) fn worker_socket() -> Option<socket::Socket> {
    let stdin = std::io::stdin();
    if !socket::is_control_socket(stdin.as_fd()) {
        return None;
    }
    close_from(3);
    let fd: OwnedFd = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3).ok()?;
    let null = std::fs::File::open("/dev/null").ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    socket::Socket::from_fd(fd)
}

/// Closes every descriptor from `first` on, which the program that started this one may have leaked into it.
fn close_from(first: u32) {
    // SAFETY: called before anything of this process has opened a descriptor beyond the standard streams, so none is
    // closed under an owner's feet.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}
