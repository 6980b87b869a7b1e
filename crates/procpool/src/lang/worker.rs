//! The worker's side of another language.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use super::{Message, Payload};
use crate::call::{self, Encode, Foreign, Invocation, SharedState};
use crate::error::{Error, Result};
use crate::os::{process, socket::Socket};
use crate::wire::items::Status;
use crate::worker;

/// What runs tasks in a worker: it knows what the bytes mean.
pub trait Interpreter: Send + Sync {
    /// Gets ready with what the pool was given for it. Called once, before any task.
    ///
    /// # Errors
    /// Why this worker cannot work; the pool says so for the tasks.
    fn set_up(&self, message: Message) -> std::result::Result<(), String>;

    /// Runs one task, and calls [`Task::reply`] with what came of it, also if that is a failure.
    fn run(&self, task: &mut Task<'_>);

    /// The worker was told to end: the last chance to flush and to clean up. A worker that is ended by force has none.
    fn finish(&self) {}
}

/// A task to be run.
pub struct Task<'t> {
    state: &'t mut SharedState,
    input: Message,
    reply: &'t mut dyn FnMut(Encode<'_>),
}

impl Task<'_> {
    /// The function's description, and what this worker has made of it: nothing, at the first task of it.
    pub fn function(&mut self) -> (&[u8], &mut Option<Box<dyn Any>>) {
        (&self.state.bytes, &mut self.state.value)
    }

    /// The input, once.
    pub fn take_input(&mut self) -> Message {
        std::mem::take(&mut self.input)
    }

    /// Gives the output, once.
    pub fn reply(&mut self, payload: &Payload<'_>) {
        (self.reply)(&|output| call::encode_to(payload, output));
    }
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("input", &self.input).finish_non_exhaustive()
    }
}

static INTERPRETER: OnceLock<Box<dyn Interpreter>> = OnceLock::new();

/// Makes this process a worker of the pool at the other end of `socket`, which a [`Launcher`](super::Launcher) was given, and
/// returns when it is to end at once, with nothing left of what it has started. `identity` must be the pool's.
///
/// The process should hold no descriptors of the pool's program, and have one thread.
///
/// # Errors
/// If `socket` is no control socket, or this process serves already.
pub fn serve(socket: OwnedFd, identity: Vec<u8>, interpreter: Box<dyn Interpreter>) -> Result<()> {
    let socket = Socket::from_fd(socket).ok_or_else(|| Error::usage("this is no socket of a pool"))?;
    if INTERPRETER.set(interpreter).is_err() {
        return Err(Error::usage("this process is a worker already"));
    }
    call::become_foreign(Foreign { trampoline, identity, finish });
    worker::run(socket, worker::Place::Process);
    process::end_own_descendants();
    Ok(())
}

fn finish() {
    if let Some(interpreter) = INTERPRETER.get() {
        interpreter.finish();
    }
}

fn trampoline(invocation: &mut Invocation<'_>) -> Status {
    let interpreter = || INTERPRETER.get().ok_or("there is no interpreter");
    if invocation.state.is_none() {
        return call::run(invocation, |input, _| Ok(interpreter()?.set_up(call::decode_from(input)?)));
    }
    call::run_replying(invocation, |input, state, reply| {
        let state = state.as_deref_mut().ok_or("its function did not arrive")?;
        let input = call::decode_from(input)?;
        interpreter()?.run(&mut Task { state, input, reply });
        Ok(())
    })
}
