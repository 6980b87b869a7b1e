//! Starting, signalling and reaping child processes through pidfds.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process_group, pidfd_open,
    pidfd_send_signal, prlimit, test_kill_process, waitid,
};

use super::fail::{Call, point};
use super::family::{Family, end_descendants, signal_descendants};

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
    /// Its pid may be somebody else's now.
    reaped: AtomicBool,
    /// What it had started when it was asked to end.
    family: OnceLock<Family>,
}

/// How often at most to look, at first at once and then every millisecond, whether a process is gone that somebody else reaps.
const REAPING: u32 = 200;

impl Child {
    /// Runs this very program again, with `argv0` and `argument` as its command line and `stdin` as descriptor 0. Streams
    /// that are not given are inherited.
    ///
    /// The executable is opened through `/proc/self/exe`, which is the file that is running now even if its path holds
    /// another one. No code of ours runs between fork and exec.
    pub(crate) fn start(
        argv0: &OsStr,
        argument: &OsStr,
        stdin: OwnedFd,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<Self> {
        point(Call::Spawn)?;
        let child = Command::new("/proc/self/exe")
            .arg0(argv0)
            .arg(argument)
            .stdin(Stdio::from(stdin))
            .stdout(stdout.map_or_else(Stdio::inherit, Stdio::from))
            .stderr(stderr.map_or_else(Stdio::inherit, Stdio::from))
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        // The child is not reaped before this, so its pid still names it.
        match point(Call::PidfdOpen).and_then(|()| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(pidfd) => Ok(Self { pid, pidfd, reaped: AtomicBool::new(false), family: OnceLock::new() }),
            Err(e) => {
                let mut child = child;
                let _ = child.kill();
                let _ = child.wait();
                Err(e.into())
            }
        }
    }

    /// A child that another process has made in our name, and its pidfd.
    ///
    /// # Errors
    /// If it is no child of ours, or cannot have a process group of its own.
    pub(crate) fn adopt(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let child = Self { pid, pidfd, reaped: AtomicBool::new(false), family: OnceLock::new() };
        // It does so itself too, and whoever comes first, it is done before it is asked to run anything. Of a program that was
        // executed since it can no longer be done by us.
        if rustix::process::getpgid(Some(child.pid)) == Ok(child.pid) {
            return Ok(child);
        }
        match rustix::process::setpgid(Some(pid), Some(pid)) {
            // It has ended: its death will be heard of.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => {
                child.kill();
                return Err(e.into());
            }
        }
        Ok(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends the process, whatever it does.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Asks the process to end. What it has started is remembered, since it cannot be found after that end.
    pub(crate) fn terminate(&self) {
        self.family.get_or_init(|| Family::hold(self.pid()));
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
    }

    /// Ends the process, its group, and whatever else it has started that is still below it.
    pub(crate) fn kill_family(&self) {
        if !self.reaped.load(Relaxed) {
            // Stopped, it can start nothing more while we look.
            let _ = pidfd_send_signal(&self.pidfd, Signal::STOP);
            end_descendants(self.pid());
        }
        self.kill();
        self.kill_group();
    }

    /// Stops the process with its group and what else it has started, or lets all of them go on.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        if !self.reaped.load(Relaxed) {
            let signal = if stopped { Signal::STOP } else { Signal::CONT };
            let _ = kill_process_group(self.pid, signal);
            signal_descendants(self.pid(), signal);
        }
    }

    /// Refuses the process more than so many bytes of private memory, touched or not, or lets it have what it may by itself.
    pub(crate) fn set_most_data(&self, bytes: Option<u64>) -> io::Result<()> {
        if self.reaped.load(Relaxed) {
            return Ok(());
        }
        let limit = getrlimit(Resource::Data);
        let current = match (bytes, limit.maximum) {
            (None, _) => limit.current,
            (Some(bytes), most) => Some(most.map_or(bytes, |most| most.min(bytes))),
        };
        prlimit(Some(self.pid), Resource::Data, Rlimit { current, maximum: limit.maximum })?;
        Ok(())
    }

    /// Ends every process of its group that is left, and what it had started when it was asked to end. Does nothing to the
    /// group after [`Child::reap`]: until then the pid, and so the group, cannot be anybody else's.
    pub(crate) fn kill_group(&self) {
        if let Some(family) = self.family.get() {
            family.end();
        }
        if !self.reaped.load(Relaxed) {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
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

    /// The most resident memory in bytes that it has had, if it has ended and that can be told. To be asked before
    /// [`Child::reap`].
    ///
    /// The kernel counts what this process had when it started the child as the child's, so only a greater figure than this
    /// process's own says something.
    pub(crate) fn peak_at_end(&self) -> Option<u64> {
        if self.reaped.load(Relaxed) {
            return None;
        }
        let (child, own) = (resources_of_ended(self.pidfd.as_fd())?, own_resources()?);
        let bytes = |usage: libc::rusage| u64::try_from(usage.ru_maxrss).ok()?.checked_mul(1024);
        bytes(child).filter(|peak| Some(*peak) > bytes(own))
    }

    fn wait_id(&self, options: WaitIdOptions) -> Option<Exit> {
        let status = loop {
            match point(Call::Wait).and_then(|()| waitid(WaitId::PidFd(self.pidfd.as_fd()), options)) {
                // A handler of the host's has run; the child is still to be reaped.
                Err(Errno::INTR) => {}
                status => break status,
            }
        };
        match status {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.reaped.store(true, Relaxed);
                Some(status.exit_status().map_or(Exit::Signal(status.terminating_signal().unwrap_or(0)), Exit::Code))
            }
            // Somebody else reaped it (a host that waits for any child): it has ended, and nobody will say how.
            Err(_) => {
                self.reaped.store(true, Relaxed);
                self.see_it_off();
                Some(Exit::Untold)
            }
        }
    }
}

impl Child {
    /// Waits until a process that has ended and that the kernel or the host program is about to reap is gone: it is told to
    /// have ended a moment before.
    fn see_it_off(&self) {
        for look in 0..REAPING {
            // It is gone, or somebody else has its number.
            if test_kill_process(self.pid).is_err() {
                return;
            }
            if look < REAPING / 2 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Child {
    /// Leaves nothing of a child that nobody has waited for: one whose start went wrong half way.
    fn drop(&mut self) {
        if !self.reaped.load(Relaxed) {
            self.kill_family();
            self.wait_id(WaitIdOptions::EXITED);
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What an ended child has used. It stays to be reaped.
fn resources_of_ended(pidfd: BorrowedFd<'_>) -> Option<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let none = std::ptr::null_mut::<libc::siginfo_t>();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel takes a null pointer for the status, and writes at most a `rusage` to the last one, which is one.
    // `rusage` consists of integers, for which all zeroes are valid.
    unsafe {
        let done =
            libc::syscall(libc::SYS_waitid, libc::P_PIDFD, pidfd.as_raw_fd(), none, options, usage.as_mut_ptr()) == 0;
        done.then(|| usage.assume_init())
    }
}

fn own_resources() -> Option<libc::rusage> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a `rusage`, for which all zeroes are valid.
    unsafe { (libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) == 0).then(|| usage.assume_init()) }
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

/// Ends what the calling process has started and left running, for a worker that is about to end.
pub(crate) fn end_own_descendants() {
    end_descendants(std::process::id());
}

/// Ends the calling process and every process of its group and below it at once; for a worker whose parent is gone.
pub(crate) fn end_own_group() -> ! {
    end_own_descendants();
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

/// The name that `top` and `ps -o comm` show for this process, cut off after 15 bytes by the kernel.
pub(crate) fn set_own_name(name: &OsStr) {
    if let Ok(name) = std::ffi::CString::new(name.as_encoded_bytes()) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// The CPU time in nanoseconds that all threads of a process have used, or `None` once it is gone.
pub(crate) fn cpu_time(pid: u32) -> Option<u64> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the variables they are given a pointer to, and nothing else.
    let failed = unsafe {
        libc::clock_getcpuclockid(libc::pid_t::try_from(pid).ok()?, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        return None;
    }
    u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_nobody_waited_for_leaves_nothing() {
        let (ours, theirs) = crate::os::socket::Socket::pair().unwrap();
        // The test binary knows no such argument's test, lists none and ends, or is still starting: both are ended here.
        let child = Child::start(
            OsStr::new("child"),
            OsStr::new("--list"),
            theirs.into_fd(),
            Some(std::fs::File::options().write(true).open("/dev/null").unwrap().into()),
            None,
        );
        let pid = child.as_ref().unwrap().pid();
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        drop(ours);
    }
}
