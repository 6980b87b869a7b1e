//! The template's side: makes copies of this process that are children of its parent.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::launcher::{receive, send};

/// What `clone` gave, as seen by one of the two.
enum Copied {
    Here(i32, OwnedFd),
    There,
}

/// Copies this process, as `fork` does, but the copy is a sibling.
///
/// The C library's `fork` cannot do that. What it does besides for a process with one thread is to give the copy's thread its
/// own number, for which the kernel is told the place that it was told when this process began.
#[allow(unsafe_code)]
fn copy() -> std::io::Result<Copied> {
    let mut pidfd: libc::c_int = -1;
    let mut place: *mut libc::c_int = std::ptr::null_mut();
    // SAFETY: writes one pointer to `place`; a kernel that does not know this call says so, and `place` stays null.
    unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut place) };
    let mut flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    if !place.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    // SAFETY: without CLONE_VM this is a fork: the copy goes on with memory of its own, on a copy of this stack. The process has
    // one thread, so nothing is half done in it. Before and after, Python is told as `os.fork` tells it; the pointers are to a
    // local and to the C library's word for this thread's number.
    unsafe {
        ffi::PyOS_BeforeFork();
        #[cfg(target_arch = "x86_64")]
        let pid = libc::syscall(libc::SYS_clone, flags as libc::c_long, 0, &raw mut pidfd, place, 0);
        #[cfg(not(target_arch = "x86_64"))]
        let pid = libc::syscall(libc::SYS_clone, flags as libc::c_long, 0, &raw mut pidfd, 0, place);
        let error = std::io::Error::last_os_error();
        if pid == 0 {
            ffi::PyOS_AfterFork_Child();
            return Ok(Copied::There);
        }
        ffi::PyOS_AfterFork_Parent();
        if pid < 0 {
            return Err(error);
        }
        Ok(Copied::Here(pid as i32, OwnedFd::from_raw_fd(pidfd)))
    }
}

/// Makes a worker of this process: its streams are `out` and `err`, its standard input is empty, and it leads a process group.
fn dress(name: &str, out: BorrowedFd<'_>, err: BorrowedFd<'_>) -> std::io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(out)?;
    rustix::stdio::dup2_stderr(err)?;
    rustix::process::setpgid(None, None)?;
    let name = std::ffi::CString::new(name).unwrap_or_default();
    rustix::thread::set_name(&name)?;
    Ok(())
}

/// Whether there is something to be received within so many seconds, fewer than one, or the other end is gone.
fn is_readable(socket: BorrowedFd<'_>, pause: f64) -> std::io::Result<bool> {
    let pause = Timespec { tv_sec: 0, tv_nsec: (pause * 1e9) as i64 };
    match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&pause)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// From now on interrupts of the terminal are nothing to this process and its copies.
#[pyfunction]
#[allow(unsafe_code)]
pub(crate) fn ignore_interrupts() {
    // SAFETY: no handler is installed that could run.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Makes a copy of this process for each request that comes by the socket `fd`. In each copy returns the worker's own socket and
/// its name, and that descriptor is gone; in this process, when there was no request for `pause` seconds, or for ever until the
/// other end is gone, None and whether it is still there.
#[pyfunction]
#[allow(unsafe_code)]
pub(crate) fn make_copies(fd: i32, pause: Option<f64>) -> PyResult<(Option<(i32, String)>, bool)> {
    // SAFETY: the caller has this descriptor and nobody closes it meanwhile.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let failed = |e: std::io::Error| PyOSError::new_err(e.to_string());
    loop {
        if let Some(pause) = pause
            && !is_readable(socket, pause).map_err(failed)?
        {
            return Ok((None, true));
        }
        let (name, fds) = receive(socket).map_err(failed)?;
        let [worker, out, err] = match <[OwnedFd; 3]>::try_from(fds) {
            Ok(fds) => fds,
            Err(_) => return Ok((None, false)),
        };
        match copy() {
            Ok(Copied::There) => {
                // SAFETY: nothing here uses it any more.
                unsafe { libc::close(fd) };
                let name = String::from_utf8_lossy(&name).into_owned();
                dress(&name, out.as_fd(), err.as_fd()).map_err(failed)?;
                return Ok((Some((worker.into_raw_fd(), name)), true));
            }
            Ok(Copied::Here(pid, pidfd)) => send(socket, &pid.to_le_bytes(), &[pidfd.as_fd()]).map_err(failed)?,
            Err(e) => {
                let number = e.raw_os_error().unwrap_or(libc::EIO);
                send(socket, &(-number).to_le_bytes(), &[]).map_err(failed)?;
            }
        }
    }
}

/// Closes the sockets of pools that this process, a fork, has from the one it was forked from: as long as they are open here,
/// the workers there do not notice that their own parent is gone. `keep` is not closed.
#[pyfunction]
#[allow(unsafe_code)]
pub(crate) fn close_inherited(keep: i32) -> PyResult<()> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let failed = |e: std::io::Error| PyOSError::new_err(e.to_string());
    let mut theirs = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(failed)? {
        let number = entry.ok().and_then(|entry| entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
        let Some(number) = number.filter(|number| *number > 2 && *number != keep) else { continue };
        // SAFETY: it is looked at only, and the one of the folder itself is gone by now or no socket.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let ours = sockopt::socket_type(fd).is_ok_and(|kind| kind == SocketType::SEQPACKET)
            && sockopt::socket_domain(fd).is_ok_and(|family| family == AddressFamily::UNIX);
        if ours {
            theirs.push(fd.as_raw_fd());
        }
    }
    for number in theirs {
        // SAFETY: whoever owns it in this copy is an object of a pool of the other process, which is never used or dropped here.
        unsafe { libc::close(number) };
    }
    Ok(())
}
