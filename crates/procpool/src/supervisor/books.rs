//! What accepting a worker's results writes to.

use std::ops::Range;
use std::sync::Arc;

use super::{Frame, Origin, Outbox, TaskCounts};
use crate::error::Kind;
use crate::events::{Event, Log};
use crate::sched::{Nanos, Sched};
use crate::wire::items::Status;

/// The scheduler, the counters, the event log, and what is to be done once the lock is released.
pub(super) struct Books<'a> {
    pub(super) sched: &'a mut Sched<Arc<Frame>>,
    pub(super) tasks: &'a mut TaskCounts,
    pub(super) log: &'a mut Log,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Nanos,
}

impl Books<'_> {
    /// Notes the ends of the tasks from number `first` on, those that ended alike in one event.
    pub(super) fn note_ends(&mut self, items: &[(Status, Range<usize>)], first: u64, origin: Origin, run_ns: u64) {
        let mut at = first;
        for alike in items.chunk_by(|a, b| failure(a.0) == failure(b.0)) {
            self.log.note(self.now, &mut self.out.records, || Event::TasksEnded {
                function: origin.name.into(),
                first: at,
                count: alike.len() as u32,
                failure: failure(alike[0].0),
                attempt: origin.attempt,
                pid: origin.pid,
                run_ns: Some(run_ns),
            });
            at += alike.len() as u64;
        }
    }
}

fn failure(status: Status) -> Option<Kind> {
    match status {
        // What is attached says for itself how it ended, and is not read here.
        Status::Ok | Status::Attached => None,
        Status::Panicked => Some(Kind::Panicked),
        Status::EncodeFailed => Some(Kind::Encode),
        Status::DecodeFailed => Some(Kind::Decode),
    }
}
