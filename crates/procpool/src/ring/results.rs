//! The ring of results: the worker produces, in place and item by item; the parent consumes.
//!
//! A result frame is open while its task frame runs. Its slot already says how many items are finished, so the parent can
//! read them before the frame is published: when the worker has died, or when one of the items takes long.

use std::sync::atomic::Ordering::*;

use super::layout::{DATA, Data, Progress, Region, ResultSlot, SLOTS};
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
    room: Room,
    done: Progress,
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

    /// Opens a result frame for the items of `frame` from number `first` on, instead of an open one that holds nothing. `false`
    /// if there is no room until the parent has taken older results.
    pub(crate) fn open(&mut self, frame: u64, first: u32) -> bool {
        self.reclaim();
        if self.tail.wrapping_sub(self.head) as usize >= SLOTS {
            return false;
        }
        let Some(room) = self.space.fit(ROOM) else { return false };
        let slot = &self.region.control().results[self.tail as usize % SLOTS];
        // A reader looks for the serial of the frame that it expects here, and then for progress. So it never mixes these
        // fields with those of an older frame, nor of one that was opened here in vain: that one had none.
        slot.progress.store(0, Relaxed);
        slot.first.store(first, Relaxed);
        slot.offset.store(room.offset, Relaxed);
        slot.run_ns.store(0, Relaxed);
        slot.frame.store(frame, Relaxed);
        slot.serial.store(self.tail.wrapping_add(1), Release);
        self.open = Some(Open { frame, next: first, room, done: Progress::default() });
        true
    }

    /// Adds the finished item's result. `false` if it does not fit any more: commit, open again, add again.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> bool {
        let Some(open) = &mut self.open else { return false };
        if bytes.len() > ROOM - open.done.bytes as usize {
            return false;
        }
        self.data.write(open.room.offset + open.done.bytes, bytes);
        open.done.bytes += bytes.len() as u32;
        open.done.items += 1;
        open.next += 1;
        let done = open.done.word();
        self.slot().progress.store(done, Release);
        true
    }

    /// Publishes what the open frame holds, if it holds anything; returns its frame number and the next item's.
    pub(crate) fn commit(&mut self, run_ns: u64) -> Option<(u64, u32)> {
        let open = self.open.take().filter(|open| open.done.items > 0)?;
        let control = self.region.control();
        self.slot().run_ns.store(run_ns, Relaxed);
        self.space.take(open.room, open.done.bytes as usize);
        self.tail = self.tail.wrapping_add(1);
        control.result_tail.0.store(self.tail, Release);
        Some((open.frame, open.next))
    }

    /// Whether the parent has taken all that was published before the last frame.
    pub(crate) fn is_only_one(&self) -> bool {
        self.region.control().result_head.0.load(Relaxed).wrapping_add(1) == self.tail
    }

    /// Whether the parent has taken all that was published.
    pub(crate) fn are_taken(&self) -> bool {
        self.region.control().result_head.0.load(Relaxed) == self.tail
    }

    /// Whether the parent has taken nothing since [`ResultProducer::open`] last failed.
    pub(crate) fn is_stuck(&self) -> bool {
        self.region.control().result_head.0.load(SeqCst) == self.head
    }

    fn slot(&self) -> &ResultSlot {
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

/// What is new in a result frame, copied but not yet believed.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The task frame it answers, as the worker says.
    pub(crate) frame: u64,
    /// The number of its first new item, as the worker says.
    pub(crate) first: u32,
    /// How many new items it says it holds.
    pub(crate) items: u32,
    /// How long all its items ran on average, as the worker says. `None` if the frame is still open.
    pub(crate) task_ns: Option<u64>,
    /// The encoded results.
    pub(crate) bytes: Vec<u8>,
    /// Whether there were more items, which were taken while the frame was open.
    pub(crate) was_peeked: bool,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ResultConsumer {
    region: Region,
    data: Data,
    head: u32,
    /// What was taken of the frame at the head while it was open.
    taken: Progress,
}

impl ResultConsumer {
    pub(crate) fn new(region: &Region) -> Self {
        Self { data: region.result_data(), region: region.clone(), head: 0, taken: Progress::default() }
    }

    /// The next published result frame, without what was taken of it before.
    pub(crate) fn pop(&mut self) -> Result<Option<Shown>, Breach> {
        let control = self.region.control();
        let waiting = control.result_tail.0.load(Acquire).wrapping_sub(self.head);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting as usize > SLOTS {
            return Err(Breach("it claims more results than its ring can hold"));
        }
        let Some(mut shown) = self.read()? else { return Err(Breach("it published a result that it has not written")) };
        let run_ns = self.slot().run_ns.load(Relaxed);
        shown.task_ns = Some(run_ns / u64::from(shown.items.saturating_add(self.taken.items).max(1)));
        self.head = self.head.wrapping_add(1);
        self.taken = Progress::default();
        control.result_head.0.store(self.head, Release);
        Ok(Some(shown))
    }

    /// Whether nothing is published. To be asked once more after saying that one sleeps.
    pub(crate) fn is_empty(&self) -> bool {
        self.region.control().result_tail.0.load(SeqCst) == self.head
    }

    /// What is new in the frame that the worker has open, if anything. All published frames must have been taken before.
    pub(crate) fn peek(&self) -> Result<Option<Shown>, Breach> {
        if !self.is_empty() {
            return Ok(None);
        }
        Ok(self.read()?.filter(|shown| shown.items > 0))
    }

    /// Notes that `items` of what was shown last were taken, which are `bytes` bytes.
    pub(crate) fn take_peeked(&mut self, items: u32, bytes: usize) {
        self.taken.items += items;
        self.taken.bytes += bytes as u32;
    }

    /// How many items of its open frame the worker says it has finished and we have not taken.
    pub(crate) fn progress(&self) -> u32 {
        let slot = self.slot();
        if slot.serial.load(Acquire) != self.head.wrapping_add(1) {
            return 0;
        }
        Progress::of(slot.progress.load(Acquire)).items.saturating_sub(self.taken.items)
    }

    fn slot(&self) -> &ResultSlot {
        &self.region.control().results[self.head as usize % SLOTS]
    }

    /// The frame at the head; `None` if the worker has not opened it yet.
    fn read(&self) -> Result<Option<Shown>, Breach> {
        let slot = self.slot();
        if slot.serial.load(Acquire) != self.head.wrapping_add(1) {
            return Ok(None);
        }
        let done = Progress::of(slot.progress.load(Acquire));
        let taken = self.taken;
        let less =
            |all: u32, taken: u32| all.checked_sub(taken).ok_or(Breach("it takes back results that it has shown"));
        let len = less(done.bytes, taken.bytes)?;
        let offset = slot.offset.load(Relaxed).checked_add(taken.bytes);
        let mut copy = Vec::new();
        if !offset.is_some_and(|offset| self.data.read(offset, len, &mut copy)) {
            return Err(Breach("it names a result outside its memory"));
        }
        Ok(Some(Shown {
            frame: slot.frame.load(Relaxed),
            first: slot.first.load(Relaxed).wrapping_add(taken.items),
            items: less(done.items, taken.items)?,
            task_ns: None,
            bytes: copy,
            was_peeked: taken.items > 0,
        }))
    }
}
