//! The ring of results: the worker produces, in place and item by item; the parent consumes.
//!
//! A result frame is open while its task frame runs. Its slot already says how many items are finished and whether one
//! runs, so when the worker dies the parent finds every finished item and knows which one to blame.

use std::sync::atomic::Ordering::*;

use super::layout::{DATA, Data, Region, SLOTS};
use super::space::{Room, Space};
use super::{Breach, INLINE_MAX};

/// The worker's end.
#[derive(Debug)]
pub(crate) struct ResultProducer {
    region: Region,
    data: Data,
    space: Space,
    tail: u32,
    head: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    frame: u64,
    next: u32,
    done: u32,
    room: Room,
    len: usize,
}

/// What a result frame may hold. It is kept free while the frame is open; what was not used is free again at the end.
const ROOM: usize = INLINE_MAX;

impl ResultProducer {
    pub(crate) fn new(region: &Region) -> Self {
        Self {
            data: region.result_data(),
            region: region.clone(),
            space: Space::new(DATA),
            tail: 0,
            head: 0,
            open: None,
        }
    }

    /// Opens a result frame for the items of `frame` from number `first` on. `false` if there is no room until the parent
    /// has taken older results.
    pub(crate) fn open(&mut self, frame: u64, first: u32) -> bool {
        self.reclaim();
        if self.tail.wrapping_sub(self.head) as usize >= SLOTS {
            return false;
        }
        let Some(room) = self.space.fit(ROOM) else { return false };
        let slot = &self.region.control().results[self.tail as usize % SLOTS];
        slot.progress.store(0, Relaxed);
        slot.first.store(first, Relaxed);
        slot.offset.store(room.offset, Relaxed);
        slot.len.store(0, Relaxed);
        slot.run_ns.store(0, Relaxed);
        slot.frame.store(frame, Release);
        self.open = Some(Open { frame, next: first, done: 0, room, len: 0 });
        true
    }

    /// Notes that the next item begins.
    pub(crate) fn begin(&mut self) {
        if let Some(open) = &self.open {
            self.slot().progress.store(2 * open.done + 1, Release);
        }
    }

    /// Adds the finished item's result. `false` if it does not fit any more: commit, open again, add again.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> bool {
        let Some(open) = &mut self.open else { return false };
        if bytes.len() > ROOM - open.len {
            return false;
        }
        self.data.write(open.room.offset + open.len as u32, bytes);
        open.len += bytes.len();
        open.done += 1;
        open.next += 1;
        let (len, done) = (open.len as u32, open.done);
        let slot = self.slot();
        slot.len.store(len, Relaxed);
        slot.progress.store(2 * done, Release);
        true
    }

    /// Publishes what the open frame holds; returns its frame number and the next item's.
    pub(crate) fn commit(&mut self, run_ns: u64) -> Option<(u64, u32)> {
        let open = self.open.take()?;
        let control = self.region.control();
        // An item that has run but did not fit is not part of this frame.
        self.slot().progress.store(2 * open.done, Relaxed);
        self.slot().run_ns.store(run_ns, Relaxed);
        self.space.take(open.room, open.len);
        self.tail = self.tail.wrapping_add(1);
        control.result_tail.0.store(self.tail, Release);
        Some((open.frame, open.next))
    }

    /// Says whether a finished item is held that no frame holds yet: its task must not be run again.
    pub(crate) fn set_carrying(&self, carrying: bool) {
        self.region.control().carrying.0.store(u32::from(carrying), Release);
    }

    /// Whether the parent has taken nothing since [`ResultProducer::open`] last failed.
    pub(crate) fn is_stuck(&self) -> bool {
        self.region.control().result_head.0.load(SeqCst) == self.head
    }

    fn slot(&self) -> &super::layout::ResultSlot {
        &self.region.control().results[self.tail as usize % SLOTS]
    }

    fn reclaim(&mut self) {
        let head = self.region.control().result_head.0.load(Acquire);
        while self.head != head {
            self.space.release();
            self.head = self.head.wrapping_add(1);
        }
    }
}

/// A result frame that the worker has published, copied but not yet believed.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The task frame it answers, as the worker says.
    pub(crate) frame: u64,
    /// The number of its first item, as the worker says.
    pub(crate) first: u32,
    /// How many items it says it holds.
    pub(crate) items: u32,
    /// How long they ran, as the worker says.
    pub(crate) run_ns: u64,
    /// The encoded results.
    pub(crate) bytes: Vec<u8>,
}

/// What a dead worker left in the frame it had not published.
#[derive(Debug)]
pub(crate) struct OpenResult {
    /// The finished items.
    pub(crate) done: Committed,
    /// Whether it was running the item after them.
    pub(crate) running: bool,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ResultConsumer {
    region: Region,
    data: Data,
    head: u32,
}

impl ResultConsumer {
    pub(crate) fn new(region: &Region) -> Self {
        Self { data: region.result_data(), region: region.clone(), head: 0 }
    }

    /// The next published result frame.
    pub(crate) fn pop(&mut self) -> Result<Option<Committed>, Breach> {
        let control = self.region.control();
        let waiting = control.result_tail.0.load(Acquire).wrapping_sub(self.head);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting as usize > SLOTS {
            return Err(Breach("it claims more results than its ring can hold"));
        }
        let open = self.read(self.head)?;
        self.head = self.head.wrapping_add(1);
        control.result_head.0.store(self.head, Release);
        if open.running {
            return Err(Breach("it published a result that it says is not finished"));
        }
        Ok(Some(open.done))
    }

    /// Whether nothing is published. To be asked once more after saying that one sleeps.
    pub(crate) fn is_empty(&self) -> bool {
        self.region.control().result_tail.0.load(SeqCst) == self.head
    }

    /// What a dead worker had begun to write, to be believed only as far as it matches what it was sent. All published
    /// frames must have been taken before.
    pub(crate) fn open_result(&self) -> Result<OpenResult, Breach> {
        self.read(self.head)
    }

    /// How many items of its unpublished frame the worker says it has finished.
    pub(crate) fn progress(&self) -> u32 {
        self.region.control().results[self.head as usize % SLOTS].progress.load(Relaxed) / 2
    }

    /// Whether a dead worker held a finished item that no frame holds.
    pub(crate) fn was_carrying(&self) -> bool {
        self.region.control().carrying.0.load(Acquire) == 1
    }

    fn read(&self, at: u32) -> Result<OpenResult, Breach> {
        let slot = &self.region.control().results[at as usize % SLOTS];
        let progress = slot.progress.load(Acquire);
        let mut bytes = Vec::new();
        if !self.data.read(slot.offset.load(Relaxed), slot.len.load(Relaxed), &mut bytes) {
            return Err(Breach("it names a result outside its memory"));
        }
        let done = Committed {
            frame: slot.frame.load(Acquire),
            first: slot.first.load(Relaxed),
            items: progress / 2,
            run_ns: slot.run_ns.load(Relaxed),
            bytes,
        };
        Ok(OpenResult { done, running: progress % 2 == 1 })
    }
}
