//! Signal dispositions and masks of a worker, which it must not inherit.

use std::io;

/// Puts every signal back to its default action and unblocks all of them, as a freshly started program expects.
///
/// SIGINT and SIGTSTP are left to the parent: a worker is in a process group of its own, so the terminal sends it none.
/// SIGPIPE stays as the Rust runtime has set it (ignored), so that a write to a closed pipe is an error, not a death.
pub(crate) fn reset() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if [libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
            continue;
        }
        // SAFETY: SIG_DFL is a valid disposition for any signal; the numbers between the last standard signal and
        // SIGRTMIN that libc keeps for itself are refused with EINVAL, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_mask(false)
}

/// Blocks every signal in the calling thread, so that the host program's handlers never run on it.
pub(crate) fn block_all() -> io::Result<()> {
    set_mask(true)
}

fn set_mask(block: bool) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` and `sigemptyset` initialise the set they are given; `pthread_sigmask` only reads it.
    let failed = unsafe {
        if block {
            libc::sigfillset(set.as_mut_ptr())
        } else {
            libc::sigemptyset(set.as_mut_ptr())
        };
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed)) }
}

/// Ignores the terminal's interrupt: the parent decides what Ctrl-C means.
pub(crate) fn ignore_interrupt() -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition for SIGINT.
    let previous = unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    if previous == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}
