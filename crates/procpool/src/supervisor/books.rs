//! What accepting a worker's results writes to.

use std::sync::Arc;

use super::log::Log;
use super::{Frame, Origin, Outbox, TaskCounts};
use crate::error::Kind;
use crate::events::Event;
use crate::sched::{FrameId, Nanos, Sched, WorkerId};
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
    /// Notes the ends of the tasks `range` of a frame whose result items these are, those that ended alike in one event, and
    /// before that their beginning if nobody has noticed it.
    #[allow(clippy::too_many_arguments, reason = "all that is known of a result")]
    pub(super) fn note_ends(
        &mut self,
        worker: WorkerId,
        id: FrameId,
        frame: &Arc<Frame>,
        range: (u32, u32),
        items: &[u8],
        origin: Origin,
        task_ns: Nanos,
    ) {
        if !self.log.is_listening() {
            return;
        }
        let Origin { name, pid, attempt, peak_memory, .. } = origin;
        let count = range.1 - range.0;
        let run_ns = task_ns.saturating_mul(u64::from(count));
        if let Some((from, to)) = self.log.untold(worker, id, range) {
            self.log.note(self.now, self.out, || Event::TasksBegun {
                function: name.into(),
                first: frame.index_of(from),
                count: to - from,
                attempt,
                worker: worker.0,
                pid,
            });
        }
        let queued_ns = self.log.end(frame, count, self.now.saturating_sub(run_ns));
        let mut rest = items;
        let statuses: Vec<Status> = std::iter::from_fn(|| {
            let (status, _, after) = split_result(rest)?;
            rest = after;
            Some(status)
        })
        .collect();
        let mut at = frame.index_of(range.0);
        for alike in statuses.chunk_by(|a, b| failure(*a) == failure(*b)) {
            self.log.note(self.now, self.out, || Event::TasksEnded {
                function: name.into(),
                first: at,
                count: alike.len() as u32,
                failure: failure(alike[0]),
                attempt,
                worker: Some(worker.0),
                pid,
                queued_ns,
                run_ns: Some(run_ns),
                peak_memory,
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
