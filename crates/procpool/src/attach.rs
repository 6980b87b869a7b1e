//! Descriptors inside values: what a `Queue` or a `SharedFile` is, besides bytes.
//!
//! A value that stands for open descriptors hands them to the thread's current shipment while it is serialised, writes
//! only their numbers, and takes them out again while it is deserialised on the other side.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use crate::os::fail::{Call, point};
use crate::os::memory;

/// A descriptor that travels with a value.
#[derive(Debug)]
pub(crate) struct Attachment {
    fd: OwnedFd,
    reopen: bool,
}

impl Attachment {
    /// Both sides share one open file description.
    pub(crate) fn shared(fd: OwnedFd) -> Self {
        Self { fd, reopen: false }
    }

    /// Every receiver gets an open file description of its own, so that its locks end with it.
    pub(crate) fn reopened(fd: OwnedFd) -> Self {
        Self { fd, reopen: true }
    }

    /// A descriptor to send.
    pub(crate) fn to_send(&self) -> std::io::Result<OwnedFd> {
        if self.reopen {
            return memory::reopen(self.fd.as_fd());
        }
        point(Call::Duplicate)?;
        self.fd.try_clone()
    }
}

#[derive(Default)]
struct Shipment {
    outgoing: Option<Vec<Attachment>>,
    incoming: Vec<Option<OwnedFd>>,
    complaint: Option<String>,
}

thread_local! {
    static SHIPMENT: RefCell<Shipment> = RefCell::default();
}

/// Runs `encode` and returns what it attached beside its own result.
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<Attachment>) {
    let mut attached = Vec::new();
    (collect_onto(&mut attached, encode), attached)
}

/// Runs `encode` and appends what it attaches to `attached`, whose length is the first number it uses.
pub(crate) fn collect_onto<R>(attached: &mut Vec<Attachment>, encode: impl FnOnce() -> R) -> R {
    /// Puts things back even if the user's code panics.
    struct Restore<'a>(Option<Vec<Attachment>>, &'a mut Vec<Attachment>);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let collected = SHIPMENT.with_borrow_mut(|s| std::mem::replace(&mut s.outgoing, self.0.take()));
            *self.1 = collected.unwrap_or_default();
        }
    }
    let before = SHIPMENT.with_borrow_mut(|s| s.outgoing.replace(std::mem::take(attached)));
    let _restore = Restore(before, attached);
    encode()
}

/// Runs `decode` with these descriptors at hand; those it does not take are closed.
pub(crate) fn supply<R>(fds: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
    /// Puts things back even if the user's code panics.
    struct Restore(Vec<Option<OwnedFd>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let left = SHIPMENT.with_borrow_mut(|s| std::mem::replace(&mut s.incoming, std::mem::take(&mut self.0)));
            drop(left);
        }
    }
    let incoming = fds.into_iter().map(Some).collect();
    let _restore = Restore(SHIPMENT.with_borrow_mut(|s| std::mem::replace(&mut s.incoming, incoming)));
    decode()
}

/// Adds descriptors to the current shipment; returns the number of the first, or `None` if nothing is being shipped.
pub(crate) fn put(attachments: impl IntoIterator<Item = Attachment>) -> Option<u32> {
    SHIPMENT.with_borrow_mut(|s| {
        let outgoing = s.outgoing.as_mut()?;
        let first = outgoing.len() as u32;
        outgoing.extend(attachments);
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
