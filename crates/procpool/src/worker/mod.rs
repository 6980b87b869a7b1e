//! The child's side: get ready, then run what comes through the ring until told to end.

mod confine;
mod mailbox;
mod once;
mod serve;
mod telling;

use std::os::fd::OwnedFd;

use crate::call;
use crate::os::{fork::Original, process, signals, socket::Socket};
use crate::wire::control::{CallMessage, PROTOCOL, ToParent, ToWorker};

use mailbox::receive;

/// The argument that turns this program into a worker.
pub(crate) const ARGUMENT: &str = "--procpool-worker";

/// Exit codes of a worker that cannot go on; a task's own exit codes are its own.
const EXIT_UNABLE: i32 = 70;

/// Whether the worker is a process or a thread of the host program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Process,
    Thread,
}

/// If this process was started as a worker, becomes one and never returns.
pub(crate) fn become_worker_if_asked() {
    let mut arguments = std::env::args_os();
    if arguments.len() != 2 || arguments.nth(1).is_none_or(|a| a != ARGUMENT) {
        return;
    }
    if let Some(socket) = crate::os::worker_socket() {
        if let Some(name) = std::env::args_os().next() {
            // Else `top` would show what was executed: "exe", the last part of /proc/self/exe.
            process::set_own_name(&name);
        }
        run(socket, Place::Process);
        // What leaves the group of this process can only be found while this process is there.
        process::end_own_descendants();
        std::process::exit(0);
    }
}

/// Serves the parent at the other end of `socket`; returns when told to end.
pub(crate) fn run(socket: Socket, place: Place) {
    if place == Place::Process {
        // What cannot be reset is inherited: no reason to refuse to work.
        let _ = signals::reset();
        let _ = signals::ignore_interrupt();
        crate::os::heap::keep();
    }
    call::record_panics();
    let Some((message, fds)) = receive::<ToWorker>(&socket) else { return };
    match message {
        ToWorker::Serve { protocol, identity, initializer, sandbox, results } => {
            if let Err(reason) = check(protocol, &identity) {
                return unable(&socket, reason);
            }
            serve::serve(socket, fds, initializer, sandbox, results, place);
        }
        ToWorker::RunOnce { protocol, identity, call } => {
            if let Err(reason) = check(protocol, &identity) {
                return unable(&socket, reason);
            }
            once::run_once(socket, fds, &call);
        }
        _ => {}
    }
}

fn check(protocol: u32, identity: &[u8]) -> Result<(), String> {
    if protocol != PROTOCOL {
        return Err(format!("the worker speaks protocol {PROTOCOL}, the program that started it {protocol}"));
    }
    if call::identity().is_ok_and(|own| own == identity) {
        return Ok(());
    }
    Err("the worker is not the same build of the program as the one that started it".into())
}

/// Runs a call, in the original process only: a copy that it has made by forking ends where the call returns, since it has
/// no ring, no socket and no result of its own.
fn run_in_original<R>(original: &Original, call: impl FnOnce() -> R) -> R {
    let result = call();
    if original.is_copy() {
        process::end_copy();
    }
    result
}

/// Says why this worker cannot start. The parent hears of its end by the socket.
fn unable(socket: &Socket, reason: String) {
    send(socket, &ToParent::Unable { reason }, &[]);
}

fn send(socket: &Socket, message: &ToParent, fds: &[std::os::fd::BorrowedFd<'_>]) {
    if socket.send(&crate::wire::control::encode(message), fds, true).is_err() {
        // The parent is gone; the mailbox thread, or the caller's next receive, ends this worker.
    }
}

/// The encoded input of a call: inside the message, or in the first descriptor.
fn input_of(call: &CallMessage, fds: &mut Vec<OwnedFd>) -> Result<Vec<u8>, String> {
    match &call.input {
        crate::wire::control::Blob::Inline(bytes) => Ok(bytes.clone()),
        crate::wire::control::Blob::Memfd => first_memfd(fds).map(|frozen| frozen.bytes().to_vec()),
    }
}

/// Maps the first of the descriptors and takes it out of the list.
fn first_memfd(fds: &mut Vec<OwnedFd>) -> Result<crate::os::memory::Frozen, String> {
    if fds.is_empty() {
        return Err("a descriptor did not arrive".into());
    }
    crate::os::memory::Frozen::map(fds.remove(0)).map_err(|e| format!("cannot map the input: {e}"))
}

/// Ends a worker process whose parent is gone, with everything it has started.
fn parent_is_gone(place: Place) {
    if place == Place::Process {
        process::end_own_group();
    }
}
