//! The frames that have not ended, each under a number that is never used twice.

use super::{Cancel, Nanos, WorkerId};

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
    pub(super) cancel: Option<Cancel>,
}

impl<P> Entry<P> {
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
}

impl<P> Default for Frames<P> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<P> Frames<P> {
    pub(super) fn insert(&mut self, entry: Entry<P>) -> FrameId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((1, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(entry);
        FrameId(u64::from(slot.0) << 32 | u64::from(index))
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
        slot.1.take()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }
}
