//! A frame as the parent keeps it, and what comes back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use serde::de::DeserializeOwned;

use crate::attach::{self, Attachment};
use crate::call::{self, Function};
use crate::error::{Blame, Error, Kind, Result};
use crate::os::memory::Frozen;
use crate::sched::{FrameId, Nanos};
use crate::wire::control::PanicReport;
use crate::wire::items::{Status, split_result};

/// One or several tasks of one function, kept until they have ended: should their worker die, others need it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) function: Function,
    /// The encoded inputs; empty if they are in the memfd.
    pub(crate) payload: Vec<u8>,
    pub(crate) memfd: Option<OwnedFd>,
    /// What the inputs refer to.
    pub(crate) attachments: Vec<Attachment>,
    /// What `map_with` shares.
    pub(crate) state: Option<Arc<SharedBlob>>,
    pub(crate) sinks: Sinks,
    /// The number of the first task among those of its sink, or of its pool if each has a sink of its own.
    pub(crate) first_index: u64,
    pub(crate) timeout: Option<Nanos>,
    pub(crate) cpu_time: Option<Nanos>,
    /// Bytes of resident memory.
    pub(crate) memory_limit: Option<u64>,
}

impl Frame {
    /// Whether its worker's memory or CPU time must be looked at while it runs.
    pub(super) fn is_watched(&self) -> bool {
        self.memory_limit.is_some() || self.cpu_time.is_some()
    }

    /// The number of its task `item` for people.
    pub(super) fn index_of(&self, item: u32) -> u64 {
        self.first_index + u64::from(item)
    }

    /// Puts one more task behind the others, each of which has a sink of its own; `false` if it does not fit.
    pub(crate) fn add(&mut self, payload: &[u8], sink: &Arc<dyn Sink>, index: u64) -> bool {
        let plain = self.memfd.is_none() && self.attachments.is_empty() && self.state.is_none() && !self.is_watched();
        let Sinks::Each(_, others) = &mut self.sinks else { return false };
        let next = self.first_index + 1 + others.len() as u64;
        if !plain || next != index || self.payload.len() + payload.len() > GROUP_MAX {
            return false;
        }
        self.payload.extend_from_slice(payload);
        others.push(Arc::clone(sink));
        true
    }

    /// Tells the sinks what became of the tasks from number `first` of the frame on; adds whom to wake.
    pub(super) fn deliver(&self, first: u32, delivery: Delivery, wakers: &mut Vec<Waker>) {
        let index = self.index_of(first);
        match (&self.sinks, delivery) {
            (Sinks::One(sink), delivery) => wakers.extend(sink.deliver(index, delivery)),
            (Sinks::Each(one, others), Delivery::Results(mut results)) => {
                let sinks = std::iter::once(one).chain(others).skip(first as usize);
                for (sink, index) in sinks.zip(index..) {
                    let Some(outcome) = results.next() else { return };
                    wakers.extend(sink.deliver(index, Delivery::Outcome(outcome)));
                }
            }
            (Sinks::Each(one, others), delivery) => {
                let sink = first.checked_sub(1).map_or(Some(one), |k| others.get(k as usize));
                wakers.extend(sink.and_then(|sink| sink.deliver(index, delivery)));
            }
        }
    }
}

/// Where the results of a frame go.
#[derive(Debug)]
pub(crate) enum Sinks {
    /// All of them to one.
    One(Arc<dyn Sink>),
    /// Those of every task to another: of the first, and of the others.
    Each(Arc<dyn Sink>, Vec<Arc<dyn Sink>>),
}

/// The most bytes of inputs that travel together because they were submitted one after the other.
const GROUP_MAX: usize = 16 * 1024;

/// The encoded state of a `map_with`.
#[derive(Debug)]
pub(crate) struct SharedBlob {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Where results go. Called without any lock of the engine.
pub(crate) trait Sink: Debug + Send + Sync {
    /// The tasks from number `first` on have ended like this.
    /// Returns whom to wake: foreign code, which must run after everything that arrived together was delivered, since it
    /// may wait for any of it.
    fn deliver(&self, first: u64, delivery: Delivery) -> Option<Waker>;
}

/// A task that was submitted.
pub(crate) struct Submitted {
    /// Its frame and its place in there, or why it cannot travel.
    pub(crate) place: Result<(FrameId, u32)>,
    /// Its number in the pool.
    pub(crate) index: u64,
}

/// How tasks ended.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Consecutive tasks whose worker sent something.
    Results(Box<Results>),
    /// One task whose worker sent something.
    Outcome(Outcome),
    /// One task without a result.
    Failed(Error),
}

/// A result frame, checked but not decoded.
#[derive(Debug)]
pub(crate) struct Results {
    pub(super) bytes: Vec<u8>,
    /// Where the next item begins.
    pub(super) at: usize,
    /// How many there are from there on.
    pub(super) left: u32,
    pub(super) attached: BTreeMap<u64, Large>,
    pub(super) origin: Origin,
    /// How long each task ran on average, as the worker says.
    pub(crate) task_ns: Option<Nanos>,
}

/// The result item of one task, checked but not decoded.
#[derive(Debug)]
pub(crate) struct Outcome {
    status: Status,
    origin: Origin,
    body: Body,
}

/// The bytes of a result item.
#[derive(Debug)]
enum Body {
    /// So few that they need no memory of their own.
    Small(u8, [u8; SMALL]),
    Plain(Box<[u8]>),
    Large(Box<Large>),
}

const SMALL: usize = 22;

/// A result item that came beside the ring. Its memory is mapped as soon as it is there, so that a result nobody takes yet
/// holds no descriptor.
#[derive(Debug)]
pub(crate) struct Large {
    memory: io::Result<Frozen>,
    /// What the output refers to.
    fds: Vec<OwnedFd>,
}

impl Large {
    /// From the descriptors of its message, the first of which is its memory.
    pub(crate) fn new(mut fds: Vec<OwnedFd>) -> Self {
        let memory = match fds.is_empty() {
            true => Err(io::Error::other("no memory came with it")),
            false => Frozen::map(fds.remove(0)),
        };
        Self { memory, fds }
    }
}

/// Whose results they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) name: &'static str,
    pub(crate) pid: Option<u32>,
    pub(crate) attempt: u32,
    /// As far as it was looked at.
    pub(crate) peak_memory: Option<u64>,
}

impl Results {
    /// How many tasks.
    pub(crate) fn len(&self) -> u32 {
        self.left
    }

    /// Splits the next task's item off.
    fn split(&mut self) -> Option<(Status, Range<usize>)> {
        self.left = self.left.checked_sub(1)?;
        let (status, item, rest) = split_result(self.bytes.get(self.at..)?)?;
        let end = self.bytes.len() - rest.len();
        self.at = end;
        Some((status, end - item.len()..end))
    }

    /// Takes the next task's outcome out, as it is.
    fn next(&mut self) -> Option<Outcome> {
        let (status, range) = self.split()?;
        let bytes = &self.bytes[range];
        let body = if status == Status::Attached {
            Body::Large(Box::new(take_attached(&mut self.attached, bytes)))
        } else if bytes.len() <= SMALL {
            let mut small = [0; SMALL];
            small[..bytes.len()].copy_from_slice(bytes);
            Body::Small(bytes.len() as u8, small)
        } else {
            Body::Plain(bytes.into())
        };
        Some(Outcome { status, origin: self.origin, body })
    }

    /// Decodes the outcome of the next task, which is number `index` of its sink.
    pub(crate) fn take<O: DeserializeOwned>(&mut self, index: u64) -> Result<O> {
        let Some((status, range)) = self.split() else {
            return Err(Error::new(Kind::Decode, Blame::Worker, "its result is missing"));
        };
        let bytes = &self.bytes[range];
        if status != Status::Attached {
            return self.origin.outcome(status, bytes, index);
        }
        self.origin.large_outcome(take_attached(&mut self.attached, bytes), index)
    }
}

impl Outcome {
    /// Decodes it; it is that of task number `index` of its sink.
    pub(crate) fn take<O: DeserializeOwned>(self, index: u64) -> Result<O> {
        match self.body {
            Body::Small(len, bytes) => self.origin.outcome(self.status, &bytes[..usize::from(len)], index),
            Body::Plain(bytes) => self.origin.outcome(self.status, &bytes, index),
            Body::Large(large) => self.origin.large_outcome(*large, index),
        }
    }
}

fn take_attached(attached: &mut BTreeMap<u64, Large>, number: &[u8]) -> Large {
    number_of(number).and_then(|number| attached.remove(&number)).unwrap_or_else(|| Large::new(Vec::new()))
}

/// The number under which an attached item travels.
pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

impl Origin {
    /// The outcome of a task whose result item came beside the ring.
    pub(crate) fn large_outcome<O: DeserializeOwned>(self, large: Large, index: u64) -> Result<O> {
        let broken =
            |why: &str| self.error(Kind::Decode, Blame::Worker, format!("its output did not arrive: {why}"), index);
        let Large { memory, fds } = large;
        let frozen = memory.map_err(|e| broken(&e.to_string()))?;
        match split_result(frozen.bytes()) {
            Some((status, item, [])) if status != Status::Attached => {
                attach::supply(fds, || self.outcome(status, item, index))
            }
            _ => Err(broken("it is not a result")),
        }
    }

    fn outcome<O: DeserializeOwned>(self, status: Status, bytes: &[u8], index: u64) -> Result<O> {
        let text = || String::from_utf8_lossy(bytes);
        Err(match status {
            Status::Ok => match call::decode::<O>(bytes) {
                Ok(value) => return Ok(value),
                Err(why) => {
                    self.error(Kind::Decode, Blame::Task, format!("its output cannot be decoded: {why}"), index)
                }
            },
            Status::Panicked => {
                let report: PanicReport = crate::wire::control::decode(bytes).unwrap_or_default();
                self.error(Kind::Panicked, Blame::Task, report.message, index)
                    .with_panic(report.location, report.backtrace)
            }
            Status::EncodeFailed => {
                self.error(Kind::Encode, Blame::Task, format!("its output cannot be encoded: {}", text()), index)
            }
            Status::DecodeFailed => {
                self.error(Kind::Decode, Blame::Task, format!("its input cannot be decoded: {}", text()), index)
            }
            Status::Attached => self.error(Kind::Decode, Blame::Worker, "its output did not arrive".into(), index),
        })
    }

    fn error(self, kind: Kind, blame: Blame, message: String, index: u64) -> Error {
        Error::new(kind, blame, message)
            .with_task(self.name, index)
            .with_worker(self.pid, self.attempt)
            .with_peak_memory(self.peak_memory)
    }
}
