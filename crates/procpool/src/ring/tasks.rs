//! The ring of tasks: the parent produces, the worker consumes, either may win an item that has not begun.

use std::sync::atomic::Ordering::*;

use super::layout::{DATA, Data, Items, Region, SLOTS, TaskSlot};
use super::space::Space;
use super::{Breach, INLINE_MAX};

/// What a task slot says besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskHeader {
    /// The frame's number; the result names it again.
    pub(crate) frame: u64,
    /// Which function, as `call` names it.
    pub(crate) function: u64,
    /// One past its last task.
    pub(crate) end: u32,
    /// Its first task; those before it in the payload have ended already.
    pub(crate) first: u32,
    /// Number of the state that `map_with` shares, or 0.
    pub(crate) shared_state: u64,
    /// Number of the message on the control socket that belongs to this frame, or 0.
    pub(crate) attachment: u64,
    /// One more than the number of the task whose input is in shared memory, at the place that the payload begins with; or 0.
    pub(crate) in_arena: u32,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct TaskProducer {
    region: Region,
    data: Data,
    space: Space,
    tail: u32,
    /// What the worker is known to have passed.
    head: u32,
}

impl TaskProducer {
    pub(crate) fn new(region: &Region) -> Self {
        Self { data: region.task_data(), region: region.clone(), space: Space::new(DATA), tail: 0, head: 0 }
    }

    /// Publishes a frame. Returns its slot, or `None` if there is no room now.
    pub(crate) fn push(&mut self, header: &TaskHeader, payload: &[u8]) -> Result<Option<u32>, Breach> {
        debug_assert!(payload.len() <= INLINE_MAX);
        self.reclaim()?;
        if self.tail.wrapping_sub(self.head) as usize >= SLOTS {
            return Ok(None);
        }
        let Some(room) = self.space.fit(payload.len()) else { return Ok(None) };
        self.space.take(room, payload.len());
        self.data.write(room.offset, payload);
        let control = self.region.control();
        let slot = &control.tasks[self.tail as usize % SLOTS];
        slot.frame.store(header.frame, Relaxed);
        slot.function.store(header.function, Relaxed);
        slot.shared_state.store(header.shared_state, Relaxed);
        slot.attachment.store(header.attachment, Relaxed);
        slot.in_arena.store(header.in_arena, Relaxed);
        slot.offset.store(room.offset, Relaxed);
        slot.len.store(payload.len() as u32, Relaxed);
        slot.open.store(Items { next: header.first, end: header.end }.word(), Release);
        let at = self.tail;
        self.tail = self.tail.wrapping_add(1);
        control.task_tail.0.store(self.tail, Release);
        Ok(Some(at))
    }

    /// Takes back the end of a frame whose items reach from `items.0` to before `items.1`: `keep` says where it is to end, given
    /// where the items begin that the worker has not begun. Returns where it ends now.
    pub(crate) fn take_back(&self, slot: u32, items: (u32, u32), keep: impl Fn(u32) -> u32) -> Result<u32, Breach> {
        if self.was_passed(slot) {
            return Ok(items.1);
        }
        let open = &self.region.control().tasks[slot as usize % SLOTS].open;
        loop {
            let word = open.load(Acquire);
            let Items { next, .. } = self.believe(word, items)?;
            let end = keep(next).max(next);
            if end >= items.1 {
                return Ok(items.1);
            }
            if open.compare_exchange(word, Items { next, end }.word(), AcqRel, Acquire).is_ok() {
                return Ok(end);
            }
        }
    }

    /// One past the last item that the worker has begun, of a frame whose items reach from `items.0` to before `items.1`.
    pub(crate) fn begun(&self, slot: u32, items: (u32, u32)) -> Result<u32, Breach> {
        if self.was_passed(slot) {
            return Ok(items.1);
        }
        let word = self.region.control().tasks[slot as usize % SLOTS].open.load(Acquire);
        Ok(self.believe(word, items)?.next)
    }

    fn believe(&self, word: u64, (first, end): (u32, u32)) -> Result<Items, Breach> {
        let items = Items::of(word);
        if items.end != end || items.next < first || items.next > end {
            return Err(Breach("it claims tasks that it was not sent"));
        }
        Ok(items)
    }

    /// Whether another frame is in this one's slot by now, so that its word is not this one's any more. Of a frame whose
    /// result nobody has taken yet, that is possible: the frames behind it may all have been taken back.
    fn was_passed(&self, slot: u32) -> bool {
        self.tail.wrapping_sub(slot) as usize > SLOTS
    }

    /// Learns how far the worker has come.
    fn reclaim(&mut self) -> Result<(), Breach> {
        let head = self.region.control().task_head.0.load(Acquire);
        if self.tail.wrapping_sub(head) > self.tail.wrapping_sub(self.head) {
            return Err(Breach("it claims to have passed tasks that were never sent"));
        }
        while self.head != head {
            self.space.release();
            self.head = self.head.wrapping_add(1);
        }
        Ok(())
    }
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct TaskConsumer {
    region: Region,
    data: Data,
    head: u32,
}

impl TaskConsumer {
    pub(crate) fn new(region: &Region) -> Self {
        Self { data: region.task_data(), region: region.clone(), head: 0 }
    }

    /// The next frame that has items to begin; its payload has replaced what was in `payload`.
    pub(crate) fn next(&mut self, payload: &mut Vec<u8>) -> Option<TaskHeader> {
        while self.region.control().task_tail.0.load(Acquire) != self.head {
            let slot = self.slot();
            let open = Items::of(slot.open.load(Acquire));
            if open.next >= open.end {
                self.pass();
                continue;
            }
            let header = TaskHeader {
                frame: slot.frame.load(Relaxed),
                function: slot.function.load(Relaxed),
                first: open.next,
                end: open.end,
                shared_state: slot.shared_state.load(Relaxed),
                attachment: slot.attachment.load(Relaxed),
                in_arena: slot.in_arena.load(Relaxed),
            };
            payload.clear();
            let inside = self.data.read(slot.offset.load(Relaxed), slot.len.load(Relaxed), payload);
            assert!(inside, "the parent writes its slots itself");
            return Some(header);
        }
        None
    }

    /// Begins the next item of the frame that [`TaskConsumer::next`] has shown. `false` if there is none left: the parent has
    /// taken the rest back.
    pub(crate) fn begin(&self) -> bool {
        let open = &self.slot().open;
        let mut word = open.load(Relaxed);
        loop {
            let Items { next, end } = Items::of(word);
            if next >= end {
                return false;
            }
            match open.compare_exchange_weak(word, Items { next: next + 1, end }.word(), AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
    }

    /// Whether there is no frame. To be asked once more after saying that one sleeps.
    pub(crate) fn is_empty(&self) -> bool {
        self.region.control().task_tail.0.load(SeqCst) == self.head
    }

    /// How many frames there are behind the one that [`TaskConsumer::next`] has shown.
    pub(crate) fn behind(&self) -> usize {
        self.region.control().task_tail.0.load(Relaxed).wrapping_sub(self.head).saturating_sub(1) as usize
    }

    /// Passes the frame, of which nothing is left to begin; its slot and payload space belong to the parent again.
    pub(crate) fn finish(&mut self) {
        self.pass();
    }

    fn slot(&self) -> &TaskSlot {
        &self.region.control().tasks[self.head as usize % SLOTS]
    }

    fn pass(&mut self) {
        self.head = self.head.wrapping_add(1);
        self.region.control().task_head.0.store(self.head, Release);
    }
}
