//! Starting, signalling and reaping child processes through pidfds.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It called exit with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The host program reaped it, or ignores SIGCHLD: nobody can say.
    Untold,
}

/// A child process of ours, in a process group of its own. It is reaped through its pidfd only, so that no other child of
/// the host program is ever touched.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Runs this very program again, with `argv0` and `argument` as its command line and `stdin` as descriptor 0.
    ///
    /// The executable is opened through `/proc/self/exe`, which is the file that is running now even if its path holds
    /// another one. No code of ours runs between fork and exec.
    pub(crate) fn start(argv0: &OsStr, argument: &OsStr, stdin: OwnedFd) -> io::Result<Self> {
        let child = Command::new("/proc/self/exe")
            .arg0(argv0)
            .arg(argument)
            .stdin(Stdio::from(stdin))
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        // The child is not reaped before this, so its pid still names it.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(e) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(e.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends the process, whatever it does.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends every process of its group that is left. Must come before [`Child::reap`]: until then the pid, and so the
    /// group, cannot be anybody else's.
    pub(crate) fn kill_group(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// How it ended, or `None` while it runs. Gives the answer once.
    pub(crate) fn reap(&self) -> Option<Exit> {
        self.wait_id(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Waits until it has ended, at most `timeout`; then ends the rest of its group and reaps it.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<Exit> {
        if !super::bell::wait_readable(self.pidfd.as_fd(), timeout).unwrap_or(false) {
            return None;
        }
        self.kill_group();
        self.reap()
    }

    fn wait_id(&self, options: WaitIdOptions) -> Option<Exit> {
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => None,
            Ok(Some(status)) => {
                Some(status.exit_status().map_or(Exit::Signal(status.terminating_signal().unwrap_or(0)), Exit::Code))
            }
            // Somebody else reaped it (a host that waits for any child): it has ended, and nobody will say how.
            Err(_) => Some(Exit::Untold),
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The name of a signal, as `kill -l` prints it.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_string()
}

/// Ends the calling process and every process of its group at once; for a worker whose parent is gone.
pub(crate) fn end_own_group() -> ! {
    if rustix::process::getpgrp() == rustix::process::getpid() {
        let _ = kill_process_group(rustix::process::getpid(), Signal::KILL);
    }
    // SAFETY: `_exit` ends the process at once; nothing of ours needs to run after it.
    unsafe { libc::_exit(1) }
}

/// Ends the calling process at once and alone: no destructor and no exit handler of what it is a copy of runs twice.
pub(crate) fn end_copy() -> ! {
    // SAFETY: `_exit` ends the process at once; that nothing runs after it is the purpose.
    unsafe { libc::_exit(0) }
}

/// Asks the kernel to let this process go on, should it be stopped, when the thread that started it ends. It then sees
/// that its control socket is closed, and ends with its whole group. A deadly signal would take this process alone.
pub(crate) fn continue_when_parent_ends() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?)
}
