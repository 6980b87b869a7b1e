//! Events on their way out of the lock, and what must be kept to tell of durations. Without a listener, nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Core, Frame, Outbox, WATCH, nanos};
use crate::events::{Event, Record};
use crate::sched::{FrameId, Nanos, Present, WorkerId};

#[derive(Debug, Default)]
pub(super) struct Log {
    listening: bool,
    next: u64,
    /// How long the pool's clock has not run: these nanoseconds are over all the same.
    stood: Nanos,
    /// When the tasks of each frame were accepted, and how many of them have not ended. A frame that is tried again in parts
    /// gets other numbers, so it goes by where it is kept.
    accepted: BTreeMap<usize, (Nanos, u32)>,
    /// Of which frame each worker is known to have begun the tasks, and up to which one.
    begun: BTreeMap<WorkerId, (FrameId, u32)>,
}

/// A frame's place in memory, which is its own until all its tasks have ended.
fn place(frame: &Arc<Frame>) -> usize {
    Arc::as_ptr(frame).addr()
}

impl Log {
    pub(super) fn new(listening: bool) -> Self {
        Self { listening, ..Self::default() }
    }

    /// From now on the pool's clock is behind the real one by so many nanoseconds.
    pub(super) fn set_stood(&mut self, stood: Nanos) {
        self.stood = stood;
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening
    }

    /// Notes what `event` says, if somebody listens.
    pub(super) fn note(&mut self, at_ns: Nanos, out: &mut Outbox, event: impl FnOnce() -> Event) {
        if self.listening {
            out.records.push(Record { number: self.next, at_ns: at_ns + self.stood, event: event() });
            self.next += 1;
        }
    }

    /// Tasks of a frame were accepted: all of them, or more.
    pub(super) fn accept(&mut self, frame: &Arc<Frame>, tasks: u32, now: Nanos) {
        if self.listening {
            self.accepted.entry(place(frame)).or_insert((now, 0)).1 += tasks;
        }
    }

    /// As many tasks of a frame have ended. Returns how long they had waited until `begun`.
    pub(super) fn end(&mut self, frame: &Arc<Frame>, tasks: u32, begun: Nanos) -> Nanos {
        let Some((accepted, left)) = self.accepted.get_mut(&place(frame)) else { return 0 };
        let waited = begun.saturating_sub(*accepted);
        *left = left.saturating_sub(tasks);
        if *left == 0 {
            self.accepted.remove(&place(frame));
        }
        waited
    }

    /// Those among the tasks `range` of a frame whose beginning on this worker was not told yet. From now on it is.
    pub(super) fn untold(&mut self, worker: WorkerId, frame: FrameId, range: (u32, u32)) -> Option<(u32, u32)> {
        let from = match self.begun.get(&worker) {
            Some(&(of, up_to)) if of == frame => range.0.max(up_to),
            _ => range.0,
        };
        if !self.listening || from >= range.1 {
            return None;
        }
        self.begun.insert(worker, (frame, range.1));
        Some((from, range.1))
    }

    /// Notes that a worker has begun what it is at, up to before task number `begun`, unless that was told.
    pub(super) fn begin(
        &mut self,
        worker: WorkerId,
        pid: Option<u32>,
        present: &Present<'_, Arc<Frame>>,
        begun: u32,
        now: Nanos,
        out: &mut Outbox,
    ) {
        let &Present { frame, payload, range, attempt, .. } = present;
        let Some((from, to)) = self.untold(worker, frame, (range.0, begun)) else { return };
        self.note(now, out, || Event::TasksBegun {
            function: payload.function.name.into(),
            first: payload.index_of(from),
            count: to - from,
            attempt,
            worker: worker.0,
            pid,
        });
    }

    /// Whether the beginning of this task on this worker was told.
    pub(super) fn has_told(&self, worker: WorkerId, frame: FrameId, task: u32) -> bool {
        self.begun.get(&worker).is_some_and(|&(of, up_to)| of == frame && task < up_to)
    }

    /// The worker is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.begun.remove(&worker);
    }
}

impl Core {
    /// Tells of tasks that workers have begun, if somebody listens.
    pub(super) fn notice_begun(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.log.is_listening() {
            return;
        }
        let Self { links, sched, log, .. } = self;
        for (&worker, link) in links {
            if let (Some(begun), Some(present)) = (link.begun(), sched.present(worker)) {
                log.begin(worker, link.pid(), &present, begun, now, out);
            }
        }
        if self.has_unnoticed() {
            self.wake_supervisor_at(Some(now.saturating_add(nanos(WATCH))), out);
        }
    }

    /// Whether somebody listens and some worker may begin a task any moment.
    pub(super) fn has_unnoticed(&self) -> bool {
        let unnoticed = |worker: &WorkerId| {
            let present = self.sched.present(*worker);
            present.is_some_and(|present| !self.log.has_told(*worker, present.frame, present.range.0))
        };
        self.log.is_listening() && self.links.keys().any(unnoticed)
    }
}
