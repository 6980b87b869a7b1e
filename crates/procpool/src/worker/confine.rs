//! How a worker gives up what its pool's sandbox forbids, between its initializer and its first task.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::{Place, parent_is_gone};
use crate::os::bell::{Bell, wait_for_end};
use crate::os::sandbox::{InForce, apply, newest_abi};
use crate::os::socket::Socket;
use crate::wire::control::{SandboxRules, SandboxState};

/// Gives it all up.
pub(super) fn confine(rules: &SandboxRules) -> Result<SandboxState, String> {
    let readable: Vec<PathBuf> = rules.readable.iter().map(|path| OsString::from_vec(path.clone()).into()).collect();
    let InForce { landlock_abi, seccomp, no_new_privs, threads_outside } =
        apply(&readable, newest_abi()).map_err(|e| format!("what its sandbox lets it read cannot be opened: {e}"))?;
    let state = SandboxState { landlock_abi, seccomp, no_new_privs, threads_outside };
    if rules.required && !state.is_complete() {
        return Err(format!("its sandbox is required to be complete, but {}", missing(&state)));
    }
    Ok(state)
}

fn missing(state: &SandboxState) -> String {
    let mut missing = Vec::new();
    if state.landlock_abi == 0 {
        missing.push("this kernel has no landlock".to_string());
    }
    if !state.seccomp {
        missing.push("this kernel takes no seccomp filter".to_string());
    }
    if !state.no_new_privs {
        missing.push("this kernel does not know no_new_privs".to_string());
    }
    if state.threads_outside > 0 {
        missing.push(format!("{} threads began before it and are not held by landlock", state.threads_outside));
    }
    missing.join(", ")
}

/// Runs `initialize`. If it may take its time (`long`), a thread watches meanwhile whether the parent is still there; it is
/// gone when this returns.
pub(super) fn watching(
    socket: &Socket,
    place: Place,
    long: bool,
    initialize: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    if !long {
        return initialize();
    }
    let failed = |e: std::io::Error| format!("cannot watch the pool: {e}");
    let enough = Bell::new().map_err(failed)?;
    std::thread::scope(|scope| {
        let watch = || {
            let _ = crate::os::signals::block_all();
            if wait_for_end(socket.as_fd(), enough.as_fd()) {
                parent_is_gone(place);
            }
        };
        let thread = std::thread::Builder::new().name("procpool-watch".into()).stack_size(128 * 1024);
        let watching = thread.spawn_scoped(scope, watch).map_err(failed)?;
        let result = initialize();
        enough.ring();
        // The scope alone would not wait until the thread is gone, only until its work is done.
        let _ = watching.join();
        result
    })
}
