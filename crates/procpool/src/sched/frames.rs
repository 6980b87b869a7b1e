//! The frames that have not ended, each under a number that is never used twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Nanos, WorkerId};

/// Names a frame. A worker may hand us any number, so a stale one finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FrameId(pub(crate) u64);

/// What the scheduler knows of a frame's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// How many tasks the frame holds, at least one.
    pub(crate) items: u32,
    /// Which function they call; run times are learnt per function.
    pub(crate) function: u64,
    /// The longest one task may run.
    pub(crate) timeout: Option<Nanos>,
    /// How often a task whose worker died may be begun again.
    pub(crate) retries: u32,
    /// After which ends of its worker.
    pub(crate) retry_on: RetryOn,
    /// The highest goes first.
    pub(crate) priority: u8,
}

/// Which ends of a worker let its task be begun again, as long as it has retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryOn {
    pub(crate) died: bool,
    pub(crate) timed_out: bool,
    pub(crate) out_of_memory: bool,
}

impl RetryOn {
    pub(crate) const ALL: Self = Self { died: true, timed_out: true, out_of_memory: true };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Queued,
    Sent(WorkerId),
}

#[derive(Debug, Clone)]
pub(super) struct Entry<P> {
    pub(super) payload: P,
    pub(super) spec: Spec,
    /// The tasks that have not ended.
    pub(super) range: (u32, u32),
    /// How often the first of them is being begun, counted from 1.
    pub(super) attempt: u32,
    /// How many workers died with the first of them in hand and had, by their own account, not begun it.
    pub(super) denials: u32,
    pub(super) place: Place,
    /// Whether none of its tasks that have not begun is to begin.
    pub(super) cancelled: bool,
    /// Tasks that are not to begin. While the frame is queued they have ended already.
    pub(super) skipped: BTreeSet<u32>,
    /// The frame that these tasks were accepted in, if it is another one.
    pub(super) origin: Option<FrameId>,
    /// Whether others like it may join it while it waits.
    pub(super) grows: bool,
}

impl<P> Entry<P> {
    pub(super) fn new(payload: P, spec: Spec) -> Self {
        let range = (0, spec.items);
        Self {
            payload,
            spec,
            range,
            attempt: 1,
            denials: 0,
            place: Place::Queued,
            cancelled: false,
            skipped: BTreeSet::new(),
            origin: None,
            grows: false,
        }
    }

    /// Whether it is as it was accepted, and may still grow.
    pub(super) fn is_fresh(&self) -> bool {
        self.place == Place::Queued
            && self.range == (0, self.spec.items)
            && (self.attempt, self.denials, self.cancelled) == (1, 0, false)
            && self.skipped.is_empty()
            && self.origin.is_none()
    }

    /// Splits off the tasks from number `at` on, as an entry of its own. `own` is the number of this one.
    pub(super) fn split(&mut self, own: FrameId, at: u32) -> Self
    where
        P: Clone,
    {
        let rest = Self {
            payload: self.payload.clone(),
            spec: self.spec.clone(),
            range: (at, self.range.1),
            attempt: 1,
            denials: 0,
            place: Place::Queued,
            cancelled: self.cancelled,
            skipped: self.skipped.split_off(&at),
            origin: Some(self.origin.unwrap_or(own)),
            grows: false,
        };
        self.range.1 = at;
        rest
    }

    /// How many of its tasks have not ended.
    pub(super) fn tasks(&self) -> u32 {
        self.range.1 - self.range.0
    }
}

/// A slab with generations: the number of an ended frame is not given again.
#[derive(Debug)]
pub(super) struct Frames<P> {
    slots: Vec<(u32, Option<Entry<P>>)>,
    free: Vec<u32>,
    /// What became of frames that were taken apart: where the tasks of each are now, besides under its own number.
    parts: BTreeMap<FrameId, Vec<FrameId>>,
}

impl<P> Default for Frames<P> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), parts: BTreeMap::new() }
    }
}

impl<P> Frames<P> {
    pub(super) fn insert(&mut self, entry: Entry<P>) -> FrameId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((1, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        let id = FrameId(u64::from(slot.0) << 32 | u64::from(index));
        if let Some(origin) = entry.origin {
            self.parts.entry(origin).or_default().push(id);
        }
        slot.1 = Some(entry);
        id
    }

    /// Where the tasks are that were accepted as `origin` and have not ended.
    pub(super) fn parts(&self, origin: FrameId) -> Vec<FrameId> {
        let whole = self.get(origin).map(|_| origin);
        whole.into_iter().chain(self.parts.get(&origin).into_iter().flatten().copied()).collect()
    }

    /// Where this task of the frame that was accepted as `origin` is, if it has not ended.
    pub(super) fn find(&self, origin: FrameId, task: u32) -> Option<FrameId> {
        let holds = |id: &FrameId| self.get(*id).is_some_and(|entry| (entry.range.0..entry.range.1).contains(&task));
        Some(origin).filter(holds).or_else(|| self.parts.get(&origin)?.iter().copied().find(holds))
    }

    pub(super) fn get(&self, id: FrameId) -> Option<&Entry<P>> {
        let (generation, entry) = self.slots.get(id.0 as u32 as usize)?;
        entry.as_ref().filter(|_| u64::from(*generation) == id.0 >> 32)
    }

    pub(super) fn get_mut(&mut self, id: FrameId) -> Option<&mut Entry<P>> {
        let (generation, entry) = self.slots.get_mut(id.0 as u32 as usize)?;
        entry.as_mut().filter(|_| u64::from(*generation) == id.0 >> 32)
    }

    pub(super) fn remove(&mut self, id: FrameId) -> Option<Entry<P>> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.0 as u32 as usize)?;
        slot.0 = slot.0.wrapping_add(1).max(1);
        self.free.push(id.0 as u32);
        let entry = slot.1.take();
        if let Some(origin) = entry.as_ref().and_then(|entry| entry.origin)
            && let Some(parts) = self.parts.get_mut(&origin)
        {
            parts.retain(|part| *part != id);
            if parts.is_empty() {
                self.parts.remove(&origin);
            }
        }
        entry
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }
}
