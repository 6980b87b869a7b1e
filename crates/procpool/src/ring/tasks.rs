//! The ring of tasks: the parent produces, the worker consumes, either may win an unclaimed slot.

use std::sync::atomic::Ordering::*;

use super::layout::{CLAIMED, DATA, DONE, Data, READY, REVOKED, Region, SLOTS, TaskSlot};
use super::space::Space;
use super::{Breach, INLINE_MAX};

/// What a task slot says besides its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskHeader {
    /// The frame's number; the result names it again.
    pub(crate) frame: u64,
    /// Which function, as `call` names it.
    pub(crate) function: u64,
    /// How many tasks the frame holds.
    pub(crate) items: u32,
    /// How many of them to skip, because they have ended already.
    pub(crate) first: u32,
    /// Number of the state that `map_with` shares, or 0.
    pub(crate) shared_state: u64,
    /// Number of the message on the control socket that belongs to this frame, or 0.
    pub(crate) attachment: u64,
    /// Whether the payload begins with the place of the last task's input, which is not among the others.
    pub(crate) last_in_arena: bool,
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
        slot.items.store(header.items, Relaxed);
        slot.frame.store(header.frame, Relaxed);
        slot.function.store(header.function, Relaxed);
        slot.shared_state.store(header.shared_state, Relaxed);
        slot.attachment.store(header.attachment, Relaxed);
        slot.last_in_arena.store(header.last_in_arena.into(), Relaxed);
        slot.offset.store(room.offset, Relaxed);
        slot.len.store(payload.len() as u32, Relaxed);
        slot.first.store(header.first, Relaxed);
        slot.state.store(READY, Release);
        let at = self.tail;
        self.tail = self.tail.wrapping_add(1);
        control.task_tail.0.store(self.tail, Release);
        Ok(Some(at))
    }

    /// Takes an unclaimed frame back. `false` if the worker was first.
    pub(crate) fn revoke(&self, slot: u32) -> bool {
        let state = &self.region.control().tasks[slot as usize % SLOTS].state;
        state.compare_exchange(READY, REVOKED, AcqRel, Acquire).is_ok()
    }

    /// Whether the worker has claimed this frame.
    pub(crate) fn is_claimed(&self, slot: u32) -> bool {
        self.region.control().tasks[slot as usize % SLOTS].state.load(Acquire) != READY
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

/// What the worker finds at the head of its ring.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nothing.
    Empty,
    /// A frame, now the worker's; its payload has been appended to the buffer.
    Task(TaskHeader),
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

    /// Claims the next frame that the parent has not taken back, and copies its payload into `payload`.
    pub(crate) fn claim(&mut self, payload: &mut Vec<u8>) -> Claim {
        while self.region.control().task_tail.0.load(Acquire) != self.head {
            let slot = self.slot();
            if slot.state.compare_exchange(READY, CLAIMED, AcqRel, Acquire).is_err() {
                self.pass();
                continue;
            }
            let header = TaskHeader {
                frame: slot.frame.load(Relaxed),
                function: slot.function.load(Relaxed),
                items: slot.items.load(Relaxed),
                first: slot.first.load(Relaxed),
                shared_state: slot.shared_state.load(Relaxed),
                attachment: slot.attachment.load(Relaxed),
                last_in_arena: slot.last_in_arena.load(Relaxed) != 0,
            };
            payload.clear();
            let inside = self.data.read(slot.offset.load(Relaxed), slot.len.load(Relaxed), payload);
            assert!(inside, "the parent writes its slots itself");
            return Claim::Task(header);
        }
        Claim::Empty
    }

    /// Whether there is nothing to claim. To be asked once more after saying that one sleeps.
    pub(crate) fn is_empty(&self) -> bool {
        self.region.control().task_tail.0.load(SeqCst) == self.head
    }

    /// Passes the frame that was claimed; its slot and payload space belong to the parent again.
    pub(crate) fn finish(&mut self) {
        self.slot().state.store(DONE, Release);
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
