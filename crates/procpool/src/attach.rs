//! Descriptors inside values: what a `Queue` or a `SharedFile` is, besides bytes.
//!
//! A value that stands for open descriptors hands them to the thread's current shipment while it is serialised, writes
//! only their numbers, and takes them out again while it is deserialised on the other side.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::os::fail::{Call, point};
use crate::os::memory::{self, Frozen};

/// A descriptor that travels with a value.
#[derive(Debug)]
pub(crate) struct Attachment(Kind);

#[derive(Debug)]
enum Kind {
    /// Both sides share one open file description.
    Shared(OwnedFd),
    /// Every receiver gets one of its own, so that its locks end with it.
    Reopened(OwnedFd),
    Memory(Arc<Sealed>),
}

impl Attachment {
    /// Both sides share one open file description.
    pub(crate) fn shared(fd: OwnedFd) -> Self {
        Self(Kind::Shared(fd))
    }

    /// Every receiver gets an open file description of its own, so that its locks end with it.
    pub(crate) fn reopened(fd: OwnedFd) -> Self {
        Self(Kind::Reopened(fd))
    }

    /// A descriptor to send.
    pub(crate) fn to_send(&self) -> std::io::Result<OwnedFd> {
        let shared = match &self.0 {
            Kind::Reopened(fd) => return memory::reopen(fd.as_fd()),
            Kind::Shared(fd) => fd,
            Kind::Memory(sealed) => &sealed.fd,
        };
        point(Call::Duplicate)?;
        shared.try_clone()
    }

    /// The memory, if it is that.
    pub(crate) fn memory(&self) -> Option<&Arc<Sealed>> {
        match &self.0 {
            Kind::Memory(sealed) => Some(sealed),
            _ => None,
        }
    }
}

/// Memory that can never change again, and by which number this process knows it.
#[derive(Debug)]
pub(crate) struct Sealed {
    memory: Frozen,
    fd: OwnedFd,
    id: u64,
}

impl Sealed {
    /// Maps what `fd` refers to, if it is sealed against every change.
    pub(crate) fn map(fd: OwnedFd) -> std::io::Result<Arc<Self>> {
        static ID: AtomicU64 = AtomicU64::new(1);
        let memory = Frozen::map(&fd)?;
        Ok(Arc::new(Self { memory, fd, id: ID.fetch_add(1, Relaxed) }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

/// Which of a message's attachments are memory: place among them, and number.
pub(crate) type MemoryIds = Vec<(u32, u64)>;

/// As a message says it.
pub(crate) fn memory_ids(attachments: &[Attachment]) -> MemoryIds {
    let memories = attachments.iter().enumerate().filter_map(|(k, a)| Some((k as u32, a.memory()?.id)));
    memories.collect()
}

/// Maps what a message brought. What cannot be mapped is left out, and missed by whoever reads the value.
pub(crate) fn map_memories(fds: &[OwnedFd], ids: &MemoryIds) -> Vec<(u64, Arc<Sealed>)> {
    let map = |&(k, id): &(u32, u64)| Some((id, Sealed::map(fds.get(k as usize)?.try_clone().ok()?).ok()?));
    ids.iter().filter_map(map).collect()
}

/// The memories that the other side has sent and still has, by its numbers: they need not be sent or mapped again.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<u64, Arc<Sealed>>>);

impl Cache {
    /// Adds what a message brought.
    pub(crate) fn add(&self, fds: &[OwnedFd], ids: &MemoryIds) {
        let fresh: MemoryIds = ids.iter().copied().filter(|(_, id)| self.get(*id).is_none()).collect();
        let fresh = map_memories(fds, &fresh);
        self.lock().extend(fresh);
    }

    /// Forgets one.
    pub(crate) fn remove(&self, id: u64) {
        let removed = self.lock().remove(&id);
        drop(removed);
    }

    fn get(&self, id: u64) -> Option<Arc<Sealed>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Sealed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose number it is: of the side that writes the value, or of the one that reads it and has sent this memory before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Owner {
    Writer,
    Reader,
}

#[derive(Default)]
struct Shipment {
    outgoing: Vec<Attachment>,
    incoming: Vec<Option<OwnedFd>>,
    /// Memory that came with what is being read, or is known from before.
    memories: Memories,
    complaint: Option<String>,
}

/// What a value may name that is being read.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    /// By the numbers of who names it.
    present: Vec<(Owner, u64, Arc<Sealed>)>,
    cache: Option<Arc<Cache>>,
}

impl Memories {
    /// What came with the value, by the sender's numbers.
    pub(crate) fn came(memories: Vec<(u64, Arc<Sealed>)>) -> Self {
        let present = memories.into_iter().map(|(id, memory)| (Owner::Writer, id, memory));
        Self { present: present.collect(), cache: None }
    }

    /// What the sender's messages have brought so far.
    pub(crate) fn cached(cache: &Arc<Cache>) -> Self {
        Self { present: Vec::new(), cache: Some(Arc::clone(cache)) }
    }

    /// Also what went to the sender before.
    pub(crate) fn and_lent<'a>(mut self, lent: impl Iterator<Item = &'a Arc<Sealed>>) -> Self {
        self.present.extend(lent.map(|memory| (Owner::Reader, memory.id, Arc::clone(memory))));
        self
    }
}

/// How far the thread is with shipping a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shipping {
    /// Nothing is being shipped.
    No,
    /// Nothing is attached yet.
    Empty,
    /// Something is in `outgoing`.
    Loaded,
}

thread_local! {
    static SHIPMENT: RefCell<Shipment> = RefCell::default();
    /// Beside it, since most values attach nothing, and this costs next to nothing to look at.
    static SHIPPING: Cell<Shipping> = const { Cell::new(Shipping::No) };
}

/// Runs `encode` and returns what it attached beside its own result.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<Attachment>) {
    let mut attached = Vec::new();
    (collect_onto(&mut attached, encode), attached)
}

/// Runs `encode` and appends what it attaches to `attached`, whose length is the first number it uses.
#[inline]
pub(crate) fn collect_onto<R>(attached: &mut Vec<Attachment>, encode: impl FnOnce() -> R) -> R {
    /// Puts things back even if the user's code panics.
    struct Restore<'a> {
        shipping: Shipping,
        outgoing: Vec<Attachment>,
        attached: &'a mut Vec<Attachment>,
    }
    impl Drop for Restore<'_> {
        #[inline]
        fn drop(&mut self) {
            if SHIPPING.replace(self.shipping) == Shipping::Loaded || self.shipping == Shipping::Loaded {
                let outgoing = std::mem::take(&mut self.outgoing);
                *self.attached = SHIPMENT.with_borrow_mut(|s| std::mem::replace(&mut s.outgoing, outgoing));
            }
        }
    }
    let shipping = SHIPPING.get();
    let mut outgoing = Vec::new();
    if shipping == Shipping::Loaded || !attached.is_empty() {
        outgoing = SHIPMENT.with_borrow_mut(|s| std::mem::replace(&mut s.outgoing, std::mem::take(attached)));
        SHIPPING.set(Shipping::Loaded);
    } else {
        SHIPPING.set(Shipping::Empty);
    }
    let _restore = Restore { shipping, outgoing, attached };
    encode()
}

/// Runs `decode` with these descriptors and memories at hand; what it does not take is closed.
pub(crate) fn supply<R>(fds: Vec<OwnedFd>, memories: Memories, decode: impl FnOnce() -> R) -> R {
    /// Puts things back even if the user's code panics.
    struct Restore(Vec<Option<OwnedFd>>, Memories);
    impl Drop for Restore {
        fn drop(&mut self) {
            let left = SHIPMENT.with_borrow_mut(|s| {
                std::mem::swap(&mut s.incoming, &mut self.0);
                std::mem::swap(&mut s.memories, &mut self.1);
                (std::mem::take(&mut self.0), std::mem::take(&mut self.1))
            });
            drop(left);
        }
    }
    let incoming = fds.into_iter().map(Some).collect();
    let _restore = SHIPMENT.with_borrow_mut(|s| {
        Restore(std::mem::replace(&mut s.incoming, incoming), std::mem::replace(&mut s.memories, memories))
    });
    decode()
}

/// Whether a value is being shipped.
pub(crate) fn is_shipping() -> bool {
    SHIPPING.get() != Shipping::No
}

/// Adds memory to the current shipment, unless the receiver has it; returns how to name it, or `None` if nothing is being
/// shipped.
pub(crate) fn put_memory(memory: &Arc<Sealed>) -> Option<(Owner, u64)> {
    if SHIPPING.get() == Shipping::No {
        return None;
    }
    SHIPMENT.with_borrow_mut(|s| {
        let same = |other: &Arc<Sealed>| Arc::ptr_eq(other, memory);
        let theirs = s.memories.present.iter().find(|(owner, _, other)| *owner == Owner::Writer && same(other));
        if let Some((_, id, _)) = theirs {
            return Some((Owner::Reader, *id));
        }
        if !s.outgoing.iter().filter_map(Attachment::memory).any(same) {
            s.outgoing.push(Attachment(Kind::Memory(Arc::clone(memory))));
            SHIPPING.set(Shipping::Loaded);
        }
        Some((Owner::Writer, memory.id))
    })
}

/// The memory that the current shipment names so.
pub(crate) fn find_memory(owner: Owner, id: u64) -> Option<Arc<Sealed>> {
    SHIPMENT.with_borrow_mut(|s| {
        let Memories { present, cache } = &mut s.memories;
        if let Some((.., memory)) = present.iter().find(|(o, i, _)| (*o, *i) == (owner, id)) {
            return Some(Arc::clone(memory));
        }
        let memory = cache.as_ref().filter(|_| owner == Owner::Writer)?.get(id)?;
        present.push((owner, id, Arc::clone(&memory)));
        Some(memory)
    })
}

/// Adds descriptors to the current shipment; returns the number of the first, or `None` if nothing is being shipped.
pub(crate) fn put(attachments: impl IntoIterator<Item = Attachment>) -> Option<u32> {
    if SHIPPING.get() == Shipping::No {
        return None;
    }
    SHIPMENT.with_borrow_mut(|s| {
        let first = s.outgoing.len() as u32;
        s.outgoing.extend(attachments);
        SHIPPING.set(Shipping::Loaded);
        Some(first)
    })
}

/// Takes the descriptor with this number out of the current shipment.
pub(crate) fn take(number: u32) -> Option<OwnedFd> {
    SHIPMENT.with_borrow_mut(|s| s.incoming.get_mut(number as usize)?.take())
}

/// Notes why a value of ours refuses to be encoded or decoded.
pub(crate) fn complain(sentence: &str) {
    SHIPMENT.with_borrow_mut(|s| s.complaint = Some(sentence.to_string()));
}

/// What was noted last.
pub(crate) fn take_complaint() -> Option<String> {
    SHIPMENT.with_borrow_mut(|s| s.complaint.take())
}
