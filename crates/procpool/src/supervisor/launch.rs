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

/// Starts workers in a way of its own, in the place of executing this program again.
///
/// Called on the pool's own thread, which hears of nothing meanwhile, so it should take milliseconds.
pub trait Launcher: std::fmt::Debug + Send + Sync {
    /// Starts a process that is a child of this one, has `socket`, and will serve it (see `lang::serve`). Its standard output
    /// and standard error are those given, or this process's own. `name` is for people.
    ///
    /// # Errors
    /// Whatever is in the way; the pool tries again, and gives up after a few times.
    fn launch(
        &self,
        name: &str,
        socket: OwnedFd,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> std::io::Result<Launched>;
}

/// A process that a [`Launcher`] has started.
#[derive(Debug)]
pub struct Launched {
    /// Its process id.
    pub pid: u32,
    /// What refers to it whatever becomes of that number.
    pub pidfd: OwnedFd,
}

/// How workers are started.
#[derive(Debug)]
pub(crate) enum Launch {
    /// A process of another language.
    Foreign { name: String, launcher: Arc<dyn Launcher>, identity: Vec<u8>, set_up: Vec<u8>, start_timeout: Duration },
    /// This program again, as a process of its own.
    Processes { name: String, initializer: Option<Initializer>, sandbox: Option<SandboxRules>, start_timeout: Duration },
    /// A thread of this process.
    Threads { name: String, initializer: Option<Initializer>, start_timeout: Duration },
}

impl Launch {
    pub(super) fn start_timeout(&self) -> Duration {
        match self {
            Self::Processes { start_timeout, .. }
            | Self::Threads { start_timeout, .. }
            | Self::Foreign { start_timeout, .. } => *start_timeout,
        }
    }

    /// Whether all workers may see all large inputs.
    pub(super) fn may_share_inputs(&self) -> bool {
        matches!(self, Self::Processes { sandbox: None, .. } | Self::Foreign { .. })
    }

    fn sandbox(&self) -> Option<&SandboxRules> {
        match self {
            Self::Processes { sandbox, .. } => sandbox.as_ref(),
            Self::Threads { .. } | Self::Foreign { .. } => None,
        }
    }

    /// Which program the workers must be.
    fn identity(&self) -> Result<Vec<u8>> {
        match self {
            Self::Foreign { identity, .. } => Ok(identity.clone()),
            _ => crate::call::identity(),
        }
    }

    /// The function and the input of what each worker does first.
    fn initializer(&self) -> Option<(Function, &[u8], &[crate::attach::Attachment])> {
        match self {
            Self::Processes { initializer, .. } | Self::Threads { initializer, .. } => {
                initializer.as_ref().map(|i| (i.function, &*i.input, &*i.attachments))
            }
            Self::Foreign { set_up, .. } => Some((Function { offset: 0, name: "" }, set_up, &[])),
        }
    }

    /// The process of a worker, if it is one.
    fn start_body(
        &self,
        number: u32,
        theirs: Socket,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> std::io::Result<Option<Child>> {
        match self {
            Self::Processes { name, .. } => {
                start_process(&format!("{name}-{number}"), theirs, stdout, stderr).map(Some)
            }
            Self::Foreign { name, launcher, .. } => {
                let name = format!("{name}-{number}");
                point(Call::Spawn)?;
                let launched = launcher.launch(&name, theirs.into_fd(), stdout, stderr)?;
                Child::adopt(launched.pid, launched.pidfd).map(Some)
            }
            Self::Threads { name, .. } => {
                let work = move || {
                    let _ = crate::os::signals::block_all();
                    worker::run(theirs, worker::Place::Thread);
                };
                point(Call::Thread)?;
                std::thread::Builder::new().name(format!("{name}-{number}")).spawn(work).map(|_| None)
            }
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
        let printer = printer.filter(|_| !matches!(self, Self::Threads { .. }));
        let Streams { ours: readers, stdout, stderr } = Streams::new(printer).map_err(refused("a pipe"))?;
        let body = match self.start_body(number, theirs, stdout, stderr).map_err(refused("its process"))? {
            Some(child) => {
                for (stream, reader) in readers {
                    let pipe = Pipe::new(child.pid(), stream, reader).map(Arc::new);
                    let watched = pipe.and_then(|pipe| {
                        printer.map_or(Ok(()), |printer| printer.add(&pipe))?;
                        Ok(pipe)
                    });
                    pipes.push(watched.map_err(refused("a pipe"))?);
                }
                let limiter = Limiter::new(&child, number, home);
                Body::Process(child, limiter)
            }
            None => Body::Thread,
        };
        let mut fds: Vec<OwnedFd> = Vec::new();
        let initializer = match self.initializer() {
            None => None,
            Some((function, input, attachments)) => {
                Some(call_message(function, input, attachments, &mut fds).map_err(refused("the initializer's input"))?)
            }
        };
        let (identity, sandbox) = (self.identity()?, self.sandbox().cloned());
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
