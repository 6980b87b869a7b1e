//! The launch seam: how a worker comes to be. The rest of the engine does not care which of these it was.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::limiter::Limiter;
use super::link::{Body, Link};
use super::output::{Pipe, Printer, Streams};
use crate::call::Function;
use crate::error::{Blame, Error, Kind, Result};
use crate::os::bell::Bell;
use crate::os::cgroup::Home;
use crate::os::fail::{Call, point};
use crate::os::memory::{Mapping, create_fixed};
use crate::os::process::Child;
use crate::os::socket::Socket;
use crate::ring::Region;
use crate::wire::control::{self, BLOB_MAX, Blob, CallMessage, PROTOCOL, SandboxRules, ToWorker};
use crate::worker;

/// What every worker runs before it takes tasks.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) function: Function,
    pub(crate) input: Vec<u8>,
    pub(crate) attachments: Vec<crate::attach::Attachment>,
}

/// How workers are started.
#[derive(Debug)]
pub(crate) enum Launch {
    /// This program again, as a process of its own.
    Processes { name: String, initializer: Option<Initializer>, sandbox: Option<SandboxRules>, start_timeout: Duration },
    /// A thread of this process.
    Threads { name: String, initializer: Option<Initializer>, start_timeout: Duration },
}

impl Launch {
    pub(super) fn start_timeout(&self) -> Duration {
        match self {
            Self::Processes { start_timeout, .. } | Self::Threads { start_timeout, .. } => *start_timeout,
        }
    }

    /// Whether all workers may see all large inputs.
    pub(super) fn may_share_inputs(&self) -> bool {
        matches!(self, Self::Processes { sandbox: None, .. })
    }

    fn sandbox(&self) -> Option<&SandboxRules> {
        match self {
            Self::Processes { sandbox, .. } => sandbox.as_ref(),
            Self::Threads { .. } => None,
        }
    }

    /// Starts a worker and sends it its first message.
    pub(super) fn start(
        &self,
        number: u32,
        leader: &Bell,
        supervisor: &Bell,
        printer: Option<&Printer>,
        home: Option<&Home>,
        results: u64,
    ) -> Result<Link> {
        let refused = |what: &'static str| {
            move |e: std::io::Error| {
                Error::new(Kind::Start, Blame::Host, format!("a worker could not be started: {what}: {e}"))
            }
        };
        let memory = create_fixed("procpool-ring", Region::SIZE).map_err(refused("shared memory"))?;
        let mapping = Mapping::writable(&memory, Region::SIZE).map_err(refused("mapping shared memory"))?;
        let region = Region::new(mapping).ok_or_else(|| Error::usage("the shared memory is too small"))?;
        let (ours, theirs) = Socket::pair().map_err(refused("a socket"))?;
        let mut pipes = Vec::new();
        let (body, initializer) = match self {
            Self::Processes { name, initializer, .. } => {
                let Streams { ours, stdout, stderr } = Streams::new(printer).map_err(refused("a pipe"))?;
                let child =
                    start_process(&format!("{name}-{number}"), theirs, stdout, stderr).map_err(refused("a process"))?;
                for (stream, reader) in ours {
                    let pipe = Pipe::new(child.pid(), stream, reader).map(Arc::new);
                    let watched = pipe.and_then(|pipe| {
                        printer.map_or(Ok(()), |printer| printer.add(&pipe))?;
                        Ok(pipe)
                    });
                    pipes.push(watched.map_err(refused("a pipe"))?);
                }
                let limiter = Limiter::new(&child, number, home);
                (Body::Process(child, limiter), initializer)
            }
            Self::Threads { name, initializer, .. } => {
                let work = move || {
                    let _ = crate::os::signals::block_all();
                    worker::run(theirs, worker::Place::Thread);
                };
                point(Call::Thread).map_err(|e| refused("a thread")(e.into()))?;
                std::thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(work)
                    .map_err(refused("a thread"))?;
                (Body::Thread, initializer)
            }
        };
        let mut fds: Vec<OwnedFd> = Vec::new();
        let initializer = match initializer {
            None => None,
            Some(initializer) => Some(
                call_message(initializer.function, &initializer.input, &initializer.attachments, &mut fds)
                    .map_err(refused("the initializer's input"))?,
            ),
        };
        let (identity, sandbox) = (crate::call::identity()?, self.sandbox().cloned());
        let confined = sandbox.is_some();
        let message = ToWorker::Serve { protocol: PROTOCOL, identity, initializer, sandbox, results };
        let mut all = vec![memory.as_fd(), leader.as_fd(), supervisor.as_fd()];
        all.extend(fds.iter().map(AsFd::as_fd));
        ours.send(&control::encode(&message), &all, true).map_err(refused("its first message"))?;
        Ok(Link::new(body, ours, region, pipes, confined, results))
    }
}

/// This program again, with the control socket as its standard input.
pub(crate) fn start_process(
    name: &str,
    socket: Socket,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> std::io::Result<Child> {
    Child::start(OsStr::new(name), OsStr::new(worker::ARGUMENT), socket.into_fd(), stdout, stderr)
}

/// A call as it goes over the socket; large inputs and attachments become descriptors.
pub(crate) fn call_message(
    function: Function,
    input: &[u8],
    attachments: &[crate::attach::Attachment],
    fds: &mut Vec<OwnedFd>,
) -> std::io::Result<CallMessage> {
    let input = if input.len() <= BLOB_MAX {
        Blob::Inline(input.to_vec())
    } else {
        fds.push(crate::os::memory::create_frozen("procpool-input", input)?);
        Blob::Memfd
    };
    for attachment in attachments {
        fds.push(attachment.to_send()?);
    }
    Ok(CallMessage { function: function.offset, input, memories: crate::attach::memory_ids(attachments) })
}
