//! What accepting a worker's results writes to.

use std::ops::Range;
use std::sync::Arc;

use super::log::Log;
use super::{Frame, Origin, Outbox, TaskCounts};
use crate::error::Kind;
use crate::events::Event;
use crate::sched::{FrameId, Nanos, Sched, WorkerId};
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
    /// Notes the ends of the tasks from number `first` of a frame on, those that ended alike in one event, and before that
    /// their beginning if nobody has noticed it.
    #[allow(clippy::too_many_arguments, reason = "all that is known of a result")]
    pub(super) fn note_ends(
        &mut self,
        worker: WorkerId,
        id: FrameId,
        frame: &Arc<Frame>,
        first: u32,
        items: &[(Status, Range<usize>)],
        origin: Origin,
        run_ns: u64,
    ) {
        if !self.log.is_listening() {
            return;
        }
        let Origin { name, pid, attempt, peak_memory, .. } = origin;
        if let Some((from, to)) = self.log.untold(worker, id, (first, first + items.len() as u32)) {
            self.log.note(self.now, self.out, || Event::TasksBegun {
                function: name.into(),
                first: frame.first_index + u64::from(from),
                count: to - from,
                attempt,
                worker: worker.0,
                pid,
            });
        }
        let queued_ns = self.log.end(frame, items.len() as u32, self.now.saturating_sub(run_ns));
        let mut at = frame.first_index + u64::from(first);
        for alike in items.chunk_by(|a, b| failure(a.0) == failure(b.0)) {
            self.log.note(self.now, self.out, || Event::TasksEnded {
                function: name.into(),
                first: at,
                count: alike.len() as u32,
                failure: failure(alike[0].0),
                attempt,
                worker: origin.worker,
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
