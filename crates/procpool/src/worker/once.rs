//! A process of its own: one call, one result.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::{Place, input_of, mailbox::receive, parent_is_gone, run_in_original, send, unable};
use crate::attach::{self, Memories};
use crate::call::{self, Invocation};
use crate::os::fork::Original;
use crate::os::memory::create_frozen;
use crate::os::socket::Socket;
use crate::wire::control::{CallMessage, ToParent, ToWorker};
use crate::wire::items::{Status, begin_result, end_result, put_result};

/// Runs `call` and sends its result item in a memfd.
pub(super) fn run_once(socket: Socket, mut fds: Vec<OwnedFd>, call: &CallMessage) {
    let socket = Arc::new(socket);
    let watched = Arc::clone(&socket);
    let watcher = std::thread::Builder::new().name("procpool-mailbox".into()).stack_size(256 * 1024).spawn(move || {
        let _ = crate::os::signals::block_all();
        while receive::<ToWorker>(&watched).is_some() {}
        parent_is_gone(Place::Process);
    });
    if let Err(e) = watcher {
        return unable(&socket, format!("cannot start a thread: {e}"));
    }
    let input = input_of(call, &mut fds);
    let (Ok(input), Some(trampoline)) = (input, call::find(call.function)) else {
        return unable(&socket, "the call did not arrive whole".into());
    };
    let original = match Original::new() {
        Ok(original) => original,
        Err(e) => return unable(&socket, format!("cannot map memory: {e}")),
    };
    let memories = Memories::came(attach::map_memories(&fds, &call.memories));
    let mut output = Vec::new();
    begin_result(&mut output);
    let (status, attached) = run_in_original(&original, || {
        attach::collect(|| attach::supply(fds, memories, || trampoline(&mut Invocation::new(&input, &mut output))))
    });
    end_result(status, &mut output);
    let sent = ship(&socket, 0, &output, &attached, false).or_else(|e| {
        output.clear();
        put_result(Status::EncodeFailed, format!("cannot send the output: {e}").as_bytes(), &mut output);
        ship(&socket, 0, &output, &[], false)
    });
    if let Err(e) = sent {
        unable(&socket, format!("cannot send the output: {e}"));
    }
}

/// Sends a result item in a memfd, with what it refers to.
pub(super) fn ship(
    socket: &Socket,
    number: u64,
    item: &[u8],
    attached: &[attach::Attachment],
    holds: bool,
) -> std::io::Result<()> {
    send_with(socket, number, Some(create_frozen("procpool-result", item)?), attached, holds)
}

/// Sends what a result needs besides its item in the ring.
pub(super) fn send_with(
    socket: &Socket,
    number: u64,
    memory: Option<OwnedFd>,
    attached: &[attach::Attachment],
    holds: bool,
) -> std::io::Result<()> {
    let memories = attach::memory_ids(attached);
    let message = ToParent::Attach { number, memory: memory.is_some(), memories, holds };
    let mut fds: Vec<OwnedFd> = memory.into_iter().collect();
    for attachment in attached {
        fds.push(attachment.to_send()?);
    }
    if fds.len() > crate::os::socket::MAX_FDS {
        return Err(std::io::Error::other("the output refers to too many queues and open files"));
    }
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    send(socket, &message, &fds);
    Ok(())
}
