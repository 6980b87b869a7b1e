//! Gives up, for good and for everything this process will start, what computing does not need: files, programs, the
//! network, other processes.
//!
//! Three parts of the kernel do it. `no_new_privs` makes the others available to anybody and set-user-id programs harmless.
//! Landlock denies files by where they lie, whatever name leads there. A seccomp filter refuses system calls that landlock
//! does not cover. Each is used as far as the kernel offers it, and [`apply`] says what that was.
//!
//! No library is used for it. All there is are four system calls and a filter of some lines; the crate `landlock` brings
//! nine more crates and hides which of its parts are in force, which is just what we report, and `seccompiler` is made for
//! lists of what is allowed.

mod landlock;
mod seccomp;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

pub(crate) use landlock::newest_abi;

/// What holds from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Version of landlock's interface; 0 if it is not in force.
    pub(crate) landlock_abi: u32,
    pub(crate) seccomp: bool,
    pub(crate) no_new_privs: bool,
    /// Threads of this process that landlock does not hold, since they began before it.
    pub(crate) threads_outside: u32,
}

/// Confines this process: what is below `read` can be read, as can the program itself, so that a backtrace finds its
/// names; no other file can be opened. No newer interface of landlock than `abi` is used.
///
/// # Errors
/// If something in `read` cannot be opened; then nothing has changed. What the kernel does not offer is no error.
pub(crate) fn apply(read: &[PathBuf], abi: u32) -> io::Result<InForce> {
    let mut readable = Vec::with_capacity(read.len() + 1);
    for path in read {
        readable.push(open_path(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?);
    }
    readable.extend(open_path(Path::new("/proc/self/exe")));
    let others = other_threads();
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let landlock_abi = if landlock::restrict(&readable, abi).is_ok() { abi } else { 0 };
    let seccomp = seccomp::install(landlock::scopes_signals(landlock_abi)).is_ok();
    let threads_outside = if landlock_abi > 0 && !landlock::holds_all_threads(landlock_abi) { others } else { 0 };
    Ok(InForce { landlock_abi, seccomp, no_new_privs, threads_outside })
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// How many threads this process has beside the calling one. A thread that was joined may still be on its way out of the
/// kernel's list, so the list is read again a number of times.
fn other_threads() -> u32 {
    let count = || std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count().saturating_sub(1));
    let mut others = count();
    for _ in 0..1000 {
        if others == 0 {
            break;
        }
        rustix::thread::sched_yield();
        others = count();
    }
    u32::try_from(others).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
