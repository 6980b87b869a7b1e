//! A frame as the parent keeps it, and what comes back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use serde::de::DeserializeOwned;

use crate::arena::{Arrived, Extent};
use crate::attach::{self, Attachment, Memories, MemoryIds, Sealed};
use crate::call::{self, Function};
use crate::error::{Blame, Error, Kind, Result};
use crate::os::memory::Frozen;
use crate::sched::{FrameId, Nanos};
use crate::wire::control::PanicReport;
use crate::wire::items::{Attached, Status, split_result};
use crate::wire::value::Source;

/// One or several tasks of one function, kept until they have ended: should their worker die, others need it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) function: Function,
    /// The encoded inputs; empty if they are in the memfd.
    pub(crate) payload: Vec<u8>,
    pub(crate) memfd: Option<OwnedFd>,
    /// Where the last input is, if that is large; then `payload` begins with its place.
    pub(crate) extent: Option<Extent>,
    /// How many inputs there were at first.
    pub(crate) items: u32,
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
        // Of the same function is of the same state: each state that is shared by tasks with sinks of their own is a function.
        let plain = self.memfd.is_none() && self.attachments.is_empty() && !self.is_watched();
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
    /// The memories that the inputs refer to.
    pub(super) lent: Vec<Arc<Sealed>>,
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
    /// It needs more than its bytes: a frame of its own, with nothing else in it.
    Whole(Box<Results>),
}

const SMALL: usize = 22;

/// A result that is not simply in its item.
#[derive(Debug)]
pub(crate) struct Large {
    memory: Memory,
    refers_to: Beside,
}

/// What an output refers to.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    fds: Vec<OwnedFd>,
    memories: Vec<(u64, Arc<Sealed>)>,
    /// Whether the worker still looks at the task's input.
    holds: bool,
}

impl Beside {
    /// Says whether the worker still looks at the task's input, and whether it did before.
    pub(super) fn set_holds(&mut self, holds: bool) -> bool {
        std::mem::replace(&mut self.holds, holds)
    }

    /// From the descriptors of a message, and which of them are memory.
    pub(super) fn new(fds: Vec<OwnedFd>, ids: &MemoryIds) -> Self {
        Self { memories: attach::map_memories(&fds, ids), fds, holds: false }
    }
}

#[derive(Debug)]
enum Memory {
    /// The whole item came in a memfd. It is mapped as soon as it is there, so that a result nobody takes yet holds no
    /// descriptor.
    Memfd(io::Result<Frozen>),
    /// The output is in a segment of its worker.
    Placed(Arrived),
    /// The output is in the item, in this range of the frame.
    Inline(Range<usize>),
}

impl Large {
    /// As it is when the bytes before `at` of its frame are gone.
    fn moved(mut self, at: usize) -> Self {
        if let Memory::Inline(range) = &mut self.memory {
            *range = range.start.saturating_sub(at)..range.end.saturating_sub(at);
        }
        self
    }

    /// From the descriptors of its message, the first of which is its memory.
    pub(crate) fn new(mut fds: Vec<OwnedFd>, ids: &MemoryIds) -> Self {
        let memory = match fds.is_empty() {
            true => Err(io::Error::other("no memory came with it")),
            false => Frozen::map(fds.remove(0)),
        };
        Self { memory: Memory::Memfd(memory), refers_to: Beside::new(fds, ids) }
    }

    /// What it refers to.
    pub(super) fn beside(&mut self) -> &mut Beside {
        &mut self.refers_to
    }

    /// An output in a segment.
    pub(super) fn placed(arrived: Arrived, refers_to: Beside) -> Self {
        Self { memory: Memory::Placed(arrived), refers_to }
    }

    /// An output in its item.
    pub(super) fn inline(range: Range<usize>, refers_to: Beside) -> Self {
        Self { memory: Memory::Inline(range), refers_to }
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
        let (at, (status, range)) = (self.at, self.split()?);
        let bytes = &self.bytes[range.clone()];
        let body = if status == Status::Attached || !self.lent.is_empty() {
            let number =
                (status == Status::Attached).then(|| Attached::parse(bytes)).flatten().map(|(number, _)| number);
            let attached = number.and_then(|number| Some((number, self.attached.remove(&number)?.moved(at))));
            Body::Whole(Box::new(Self {
                bytes: self.bytes[at..range.end].to_vec(),
                at: 0,
                left: 1,
                attached: attached.into_iter().collect(),
                lent: self.lent.clone(),
                origin: self.origin,
                task_ns: self.task_ns,
            }))
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
            if self.lent.is_empty() {
                return self.origin.outcome(status, bytes, index);
            }
            let memories = Memories::default().and_lent(self.lent.iter());
            return attach::supply(Vec::new(), memories, || self.origin.outcome(status, bytes, index));
        }
        let large = Attached::parse(bytes).and_then(|(number, _)| self.attached.remove(&number));
        match large.unwrap_or_else(|| Large::new(Vec::new(), &Vec::new())) {
            Large { memory: Memory::Inline(range), refers_to: Beside { fds, memories, .. } } => {
                let bytes = self.bytes.get(range).unwrap_or_default();
                let memories = Memories::came(memories).and_lent(self.lent.iter());
                attach::supply(fds, memories, || self.origin.outcome(Status::Ok, bytes, index))
            }
            large => self.origin.large_outcome(large, &self.lent, index),
        }
    }
}

impl Outcome {
    /// Decodes it; it is that of task number `index` of its sink.
    pub(crate) fn take<O: DeserializeOwned>(self, index: u64) -> Result<O> {
        match self.body {
            Body::Small(len, bytes) => self.origin.outcome(self.status, &bytes[..usize::from(len)], index),
            Body::Plain(bytes) => self.origin.outcome(self.status, &bytes, index),
            Body::Whole(mut results) => results.take(index),
        }
    }
}

impl Origin {
    /// The outcome of a task whose result item came beside the ring.
    pub(crate) fn large_outcome<O: DeserializeOwned>(
        self,
        large: Large,
        lent: &[Arc<Sealed>],
        index: u64,
    ) -> Result<O> {
        let broken =
            |why: &str| self.error(Kind::Decode, Blame::Worker, format!("its output did not arrive: {why}"), index);
        let Large { memory, refers_to: Beside { fds, memories, .. } } = large;
        let memories = Memories::came(memories).and_lent(lent.iter());
        let frozen = match memory {
            Memory::Memfd(memory) => memory.map_err(|e| broken(&e.to_string()))?,
            Memory::Placed(arrived) => {
                return attach::supply(fds, memories, || self.value(&mut Source::region(arrived.part()), index));
            }
            Memory::Inline(_) => return Err(broken("it is not where it should be")),
        };
        match split_result(frozen.bytes()) {
            Some((status, item, [])) if status != Status::Attached => {
                attach::supply(fds, memories, || self.outcome(status, item, index))
            }
            _ => Err(broken("it is not a result")),
        }
    }

    fn value<O: DeserializeOwned>(self, source: &mut Source<'_>, index: u64) -> Result<O> {
        call::decode_from::<O>(source)
            .map_err(|why| self.error(Kind::Decode, Blame::Task, format!("its output cannot be decoded: {why}"), index))
    }

    fn outcome<O: DeserializeOwned>(self, status: Status, bytes: &[u8], index: u64) -> Result<O> {
        let text = || String::from_utf8_lossy(bytes);
        Err(match status {
            Status::Ok => return self.value(&mut Source::slice(bytes), index),
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
