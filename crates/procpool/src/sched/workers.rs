//! The workers as the scheduler sees them.

use std::collections::VecDeque;

use super::{Doom, FrameId, Nanos};

/// Names a worker; a replacement gets a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process is being started.
    Starting,
    /// It takes tasks.
    Ready,
    /// It finishes what it has begun and ends.
    Retiring,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) phase: Phase,
    /// What was sent and has not ended, oldest first. It runs the first one, if any.
    pub(super) sent: VecDeque<FrameId>,
    /// Since when the next task of the first frame can have been running, at the earliest.
    pub(super) front_since: Nanos,
    /// The progress inside the first frame that was last seen.
    pub(super) seen_progress: u32,
    /// Tasks that it was given and not relieved of, finished ones included.
    pub(super) given: u64,
    /// How often that has changed since the frame began.
    progressed: u32,
    /// There was no room to send; try again after a result or a tick.
    pub(super) blocked: bool,
    /// A frame that we are taking or could not take back; do not try it again.
    pub(super) stubborn: Option<FrameId>,
    /// It finishes because of its age, its size or the number of its tasks.
    pub(super) worn: bool,
    /// Why it is being ended.
    pub(super) doom: Option<Doom>,
    /// The task for which it is being ended, if for one.
    pub(super) guilty: Option<(FrameId, u32)>,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Starting,
            sent: VecDeque::new(),
            front_since: 0,
            seen_progress: 0,
            given: 0,
            progressed: 0,
            blocked: false,
            stubborn: None,
            worn: false,
            doom: None,
            guilty: None,
        }
    }

    /// Its next task may begin now.
    pub(super) fn start_clock(&mut self, now: Nanos) {
        self.front_since = now;
        self.seen_progress = 0;
        self.progressed = 0;
    }

    /// It says that it has finished `seen` tasks of the `tasks` that are left in its frame. Each begins with a clock of its
    /// own; but no more clocks than there are tasks, and two for what an earlier frame left to be read there.
    pub(super) fn see_progress(&mut self, seen: u32, tasks: u32, now: Nanos) {
        if seen != self.seen_progress && self.progressed < tasks.saturating_add(2) {
            self.seen_progress = seen;
            self.progressed += 1;
            self.front_since = now;
        }
    }

    /// Whether it may get another frame, if it may hold `depth`.
    pub(super) fn takes(&self, depth: usize) -> bool {
        self.phase == Phase::Ready && self.doom.is_none() && !self.blocked && self.sent.len() < depth
    }

    /// Takes a frame with `tasks` open tasks out of what was sent.
    pub(super) fn relieve(&mut self, frame: FrameId, tasks: u32) {
        let before = self.sent.len();
        self.sent.retain(|f| *f != frame);
        if self.sent.len() < before {
            self.given -= u64::from(tasks);
        }
    }

    /// Whether it counts towards the size of the pool.
    pub(super) fn counts(&self) -> bool {
        self.phase != Phase::Retiring && self.doom.is_none()
    }
}
