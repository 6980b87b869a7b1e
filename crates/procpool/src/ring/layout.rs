//! What lies where in a worker's shared memory.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

use super::sync::{AtomicU32, AtomicU64, Byte, copy_in, copy_out, fence};
use crate::os::memory::Mapping;

/// Slots in each ring: the most task frames a worker can hold. A model goes around after two.
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 64 };
/// Bytes of payload space in each direction.
pub(super) const DATA: usize = if cfg!(loom) { 8 } else { 256 * 1024 };

/// With so many frames behind the one that it has ended, a worker need not wake the parent at once.
pub(crate) const ENOUGH: usize = 2;

/// A cache line of its own, so that the two sides do not slow each other down.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(super) struct Line<T>(pub(super) T);

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

/// A task frame on its way to the worker. Written by the parent, but for `open`.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(super) struct TaskSlot {
    /// The items that nobody has taken, as [`Items`].
    pub(super) open: AtomicU64,
    pub(super) frame: AtomicU64,
    pub(super) function: AtomicU64,
    pub(super) shared_state: AtomicU64,
    pub(super) attachment: AtomicU64,
    pub(super) offset: AtomicU32,
    pub(super) len: AtomicU32,
    pub(super) in_arena: AtomicU32,
}

/// The items of a frame from `next` to before `end`, in one word: the worker takes them from the front, one by one, and the
/// parent takes them back from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Items {
    pub(super) next: u32,
    pub(super) end: u32,
}

impl Items {
    pub(super) fn word(self) -> u64 {
        u64::from(self.end) << 32 | u64::from(self.next)
    }

    pub(super) fn of(word: u64) -> Self {
        Self { next: word as u32, end: (word >> 32) as u32 }
    }
}

/// A result frame on its way to the parent. Written by the worker.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(super) struct ResultSlot {
    /// One more than the position of the result frame that the other fields belong to.
    pub(super) serial: AtomicU32,
    pub(super) first: AtomicU32,
    /// What is finished, as [`Progress`].
    pub(super) progress: AtomicU64,
    pub(super) frame: AtomicU64,
    pub(super) run_ns: AtomicU64,
    pub(super) offset: AtomicU32,
}

/// How many items of a result frame are finished and how many bytes they are, in one word: a length of its own could be that
/// of more items than the reader counts, whose bytes are still being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) items: u32,
    pub(super) bytes: u32,
}

impl Progress {
    pub(super) fn word(self) -> u64 {
        u64::from(self.bytes) << 32 | u64::from(self.items)
    }

    pub(super) fn of(word: u64) -> Self {
        Self { items: word as u32, bytes: (word >> 32) as u32 }
    }
}

/// The control words and slots at the start of the region; the two payload spaces follow.
#[cfg_attr(loom, derive(Default))]
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
    pub(crate) const SIZE: usize = size_of::<Control>() + 2 * DATA * size_of::<Byte>();

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
        self.data(size_of::<Control>() + DATA * size_of::<Byte>())
    }

    fn data(&self, at: usize) -> Data {
        // SAFETY: `DATA` bytes from `at` on are within the mapping, whose length was checked in `new`.
        Data { start: unsafe { self.0.as_ptr().add(at) }.cast(), _region: self.clone() }
    }

    /// Whether the worker sleeps as `how` says; if so, says that it no longer does, and the caller must wake it.
    ///
    /// To be called after what it waits for was published.
    pub(crate) fn take_worker_sleep(&self, how: u32) -> bool {
        fence(SeqCst);
        let word = self.worker_word();
        word.load(Relaxed) == how && word.compare_exchange(how, AWAKE, SeqCst, SeqCst).is_ok()
    }

    /// The worker's side: sleeps by `wait` while `needed`, until woken. Says first that it sleeps, then looks once more:
    /// whoever publishes something looks at the word in the other order, so one of the two sees the other.
    pub(crate) fn sleep(&self, how: u32, needed: impl FnOnce() -> bool, wait: impl FnOnce(&AtomicU32, u32)) {
        let word = self.worker_word();
        word.store(how, SeqCst);
        fence(SeqCst);
        if needed() {
            wait(word, how);
        }
        word.store(AWAKE, SeqCst);
    }

    /// The word on which the worker sleeps.
    pub(crate) fn worker_word(&self) -> &AtomicU32 {
        &self.control().worker.0
    }

    /// Says who is to be rung. After this, the caller looks at the ring once more before it sleeps.
    pub(crate) fn set_listener(&self, listener: Listener) {
        // A swap, which costs what such a store costs: so all changes of this word follow one another for loom too, which
        // does not see by itself that a store after a read of something is a store after the swap that replaced it.
        self.control().listener.0.swap(listener as u32, SeqCst);
        fence(SeqCst);
    }

    /// The worker's side: whether just this one wants to be rung.
    pub(crate) fn is_listener(&self, listener: Listener) -> bool {
        self.control().listener.0.load(Relaxed) == listener as u32
    }

    /// The worker's side: who must be rung now that a result is published. Takes the wish back, so that one sleep costs
    /// one ring.
    pub(crate) fn take_listener(&self) -> Listener {
        fence(SeqCst);
        let word = &self.control().listener.0;
        if word.load(Relaxed) == AWAKE {
            return Listener::Awake;
        }
        // Whose wish was taken is who is rung. Between the look and this it may have become another one's, who would wait for
        // ever; or nobody's, and then whoever changed it looks at the ring after that.
        match word.swap(AWAKE, SeqCst) {
            AWAKE => Listener::Awake,
            1 => Listener::Leader,
            _ => Listener::Supervisor,
        }
    }
}

#[cfg(loom)]
impl Region {
    /// A fresh region in the heap. Loom's atomics must be made one by one; zeroed memory does not hold any.
    pub(crate) fn in_heap() -> Self {
        let region = Self(Arc::new(Mapping::in_heap(Self::SIZE)));
        let start = region.0.as_ptr();
        // SAFETY: the memory is ours, aligned to a page, and as long as all of this together.
        unsafe {
            start.cast::<Control>().write(Control::default());
            let bytes = start.add(size_of::<Control>()).cast::<Byte>();
            for k in 0..2 * DATA {
                bytes.add(k).write(Byte::new(0));
            }
        }
        region
    }
}

/// A payload space. Bytes go in and out by copy only, since the other side may change them at any moment.
#[derive(Debug)]
pub(super) struct Data {
    start: NonNull<Byte>,
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
        unsafe { copy_in(self.start.as_ptr().add(offset), bytes) };
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
            copy_out(self.start.as_ptr().add(offset), len, out.as_mut_ptr().add(out.len()));
            out.set_len(out.len() + len);
        }
        true
    }
}
