//! What accepting a worker's results writes to.

use std::sync::Arc;

use super::{Frame, Origin, Outbox, TaskCounts};
use crate::error::Kind;
use crate::events::{Event, Log};
use crate::sched::{Nanos, Sched};
use crate::wire::items::{Status, split_result};

/// The scheduler, the counters, the event log, and what is to be done once the lock is released.
pub(super) struct Books<'a> {
    pub(super) sched: &'a mut Sched<Arc<Frame>>,
    pub(super) tasks: &'a mut TaskCounts,
    pub(super) log: &'a mut Log,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Nanos,
}

impl Books<'_> {
    /// Notes the ends of the `count` tasks from number `first` on whose result items these are, those that ended alike in one
    /// event.
    pub(super) fn note_ends(&mut self, items: &[u8], count: u32, first: u64, origin: Origin, task_ns: Option<Nanos>) {
        if !self.log.is_listening() {
            return;
        }
        let run_ns = task_ns.map(|one| one * u64::from(count));
        let mut rest = items;
        let statuses: Vec<Status> = std::iter::from_fn(|| {
            let (status, _, after) = split_result(rest)?;
            rest = after;
            Some(status)
        })
        .collect();
        let mut at = first;
        for alike in statuses.chunk_by(|a, b| failure(*a) == failure(*b)) {
            self.log.note(self.now, &mut self.out.records, || Event::TasksEnded {
                function: origin.name.into(),
                first: at,
                count: alike.len() as u32,
                failure: failure(alike[0]),
                attempt: origin.attempt,
                pid: origin.pid,
                run_ns,
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
