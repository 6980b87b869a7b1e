//! What lies where in a worker's shared memory.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*, fence};

use crate::os::memory::Mapping;

/// Slots in each ring: the most task frames a worker can hold.
pub(crate) const SLOTS: usize = 64;
/// Bytes of payload space in each direction.
pub(super) const DATA: usize = 256 * 1024;

/// A cache line of its own, so that the two sides do not slow each other down.
#[repr(C, align(64))]
pub(super) struct Line<T>(pub(super) T);

/// States of a task slot.
pub(super) const READY: u32 = 1;
pub(super) const CLAIMED: u32 = 2;
pub(super) const REVOKED: u32 = 3;
pub(super) const DONE: u32 = 4;

/// The worker looks at its ring by itself.
pub(crate) const AWAKE: u32 = 0;
/// The worker sleeps until there is a task.
pub(crate) const SLEEPING: u32 = 1;
/// The worker sleeps until the parent has taken results.
pub(crate) const FULL: u32 = 2;

/// Who in the parent wants to be rung when a result is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Listener {
    /// Nobody: somebody looks at the ring by himself.
    Awake = 0,
    /// The thread that waits for a result.
    Leader = 1,
    /// The supervisor thread.
    Supervisor = 2,
}

/// A task frame on its way to the worker. Written by the parent, but for `state`.
#[repr(C, align(64))]
pub(super) struct TaskSlot {
    pub(super) state: AtomicU32,
    pub(super) items: AtomicU32,
    pub(super) frame: AtomicU64,
    pub(super) function: AtomicU64,
    pub(super) shared_state: AtomicU64,
    pub(super) attachment: AtomicU64,
    pub(super) offset: AtomicU32,
    pub(super) len: AtomicU32,
    pub(super) first: AtomicU32,
    pub(super) last_in_arena: AtomicU32,
}

/// A result frame on its way to the parent. Written by the worker.
#[repr(C, align(64))]
pub(super) struct ResultSlot {
    /// Twice the number of finished items, plus one while an item runs.
    pub(super) progress: AtomicU32,
    pub(super) first: AtomicU32,
    pub(super) frame: AtomicU64,
    pub(super) offset: AtomicU32,
    pub(super) len: AtomicU32,
    pub(super) run_ns: AtomicU64,
}

/// The control words and slots at the start of the region; the two payload spaces follow.
#[repr(C)]
pub(super) struct Control {
    /// Written by the parent.
    pub(super) task_tail: Line<AtomicU32>,
    pub(super) result_head: Line<AtomicU32>,
    /// Written by both: the parent says who listens, the worker takes that back when it rings.
    pub(super) listener: Line<AtomicU32>,
    /// Written by the worker.
    pub(super) task_head: Line<AtomicU32>,
    pub(super) result_tail: Line<AtomicU32>,
    /// 1 while the worker holds a finished item that no result frame holds yet.
    pub(super) carrying: Line<AtomicU32>,
    /// Written by both: the worker's futex word.
    pub(super) worker: Line<AtomicU32>,
    pub(super) tasks: [TaskSlot; SLOTS],
    pub(super) results: [ResultSlot; SLOTS],
}

/// One worker's shared memory, as one side sees it.
#[derive(Debug, Clone)]
pub(crate) struct Region(Arc<Mapping>);

impl Region {
    /// The size of a region in bytes.
    pub(crate) const SIZE: usize = size_of::<Control>() + 2 * DATA;

    /// Takes a mapping of at least [`Region::SIZE`] bytes; `None` if it is smaller.
    pub(crate) fn new(mapping: Mapping) -> Option<Self> {
        (mapping.len() >= Self::SIZE).then(|| Self(Arc::new(mapping)))
    }

    pub(super) fn control(&self) -> &Control {
        // SAFETY: the mapping is page-aligned, at least as long as `Control` (checked in `new`), and lives as long as
        // `self`. `Control` consists of atomics only, for which every bit pattern is valid and concurrent change by
        // another process is defined.
        unsafe { self.0.as_ptr().cast::<Control>().as_ref() }
    }

    pub(super) fn task_data(&self) -> Data {
        self.data(size_of::<Control>())
    }

    pub(super) fn result_data(&self) -> Data {
        self.data(size_of::<Control>() + DATA)
    }

    fn data(&self, at: usize) -> Data {
        // SAFETY: `at + DATA` is within the mapping, whose length was checked in `new`.
        Data { start: unsafe { self.0.as_ptr().add(at) }, _region: self.clone() }
    }

    /// Whether the worker sleeps as `how` says; if so, says that it no longer does, and the caller must wake it.
    ///
    /// To be called after what it waits for was published.
    pub(crate) fn take_worker_sleep(&self, how: u32) -> bool {
        fence(SeqCst);
        let word = self.worker_word();
        word.load(Relaxed) == how && word.compare_exchange(how, AWAKE, SeqCst, SeqCst).is_ok()
    }

    /// The word on which the worker sleeps.
    pub(crate) fn worker_word(&self) -> &AtomicU32 {
        &self.control().worker.0
    }

    /// Says who is to be rung. After this, the caller looks at the ring once more before it sleeps.
    pub(crate) fn set_listener(&self, listener: Listener) {
        self.control().listener.0.store(listener as u32, SeqCst);
        fence(SeqCst);
    }

    /// The worker's side: who must be rung now that a result is published. Takes the wish back, so that one sleep costs
    /// one ring.
    pub(crate) fn take_listener(&self) -> Listener {
        fence(SeqCst);
        let word = &self.control().listener.0;
        match word.load(Relaxed) {
            0 => Listener::Awake,
            seen => match word.swap(AWAKE, SeqCst).max(seen) {
                1 => Listener::Leader,
                _ => Listener::Supervisor,
            },
        }
    }
}

/// A payload space. Bytes go in and out by copy only, since the other side may change them at any moment.
#[derive(Debug)]
pub(super) struct Data {
    start: NonNull<u8>,
    _region: Region,
}

// SAFETY: `Data` is a pointer into a mapping that it keeps alive; the copies below are the only access.
unsafe impl Send for Data {}

impl Data {
    /// Copies `bytes` into the space at `offset`.
    pub(super) fn write(&self, offset: u32, bytes: &[u8]) {
        let offset = offset as usize;
        assert!(offset <= DATA && bytes.len() <= DATA - offset, "a reservation lies inside the space");
        // SAFETY: the range is inside the mapping (asserted), which no Rust reference points to. The reader copies it only
        // after the Release store that publishes it; a hostile peer that does not wait spoils its own copy only.
        unsafe { self.start.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Appends a copy of `len` bytes at `offset` to `out`; `false` if they do not lie inside the space.
    pub(super) fn read(&self, offset: u32, len: u32, out: &mut Vec<u8>) -> bool {
        let (offset, len) = (offset as usize, len as usize);
        if offset > DATA || len > DATA - offset {
            return false;
        }
        out.reserve(len);
        // SAFETY: the source is inside the mapping (checked), the destination was reserved, and both are plain bytes: a
        // peer that writes at the same time can change which bytes arrive, and they are only validated after this copy.
        unsafe {
            out.as_mut_ptr().add(out.len()).copy_from_nonoverlapping(self.start.as_ptr().add(offset), len);
            out.set_len(out.len() + len);
        }
        true
    }
}
