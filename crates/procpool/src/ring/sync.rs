//! The atomics and payload bytes of the rings: the standard library's, or loom's where `tests/ring` tries every order in
//! which two threads can meet here.

#[cfg(loom)]
pub(crate) use crate::os::mortal::{AtomicU32, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

/// A byte that the other side may change at any moment. Loom finds two accesses that no Release and Acquire order.
#[cfg(loom)]
pub(super) type Byte = loom::cell::UnsafeCell<u8>;
#[cfg(not(loom))]
pub(super) type Byte = u8;

/// Copies `bytes` to `to`.
///
/// # Safety
/// As many bytes from `to` on must be valid memory that no Rust reference points to.
#[cfg(not(loom))]
// SAFETY: called by `Data` alone, which checks the range.
pub(super) unsafe fn copy_in(to: *mut Byte, bytes: &[u8]) {
    // SAFETY: the caller's promise; a slice of ours does not overlap with such memory.
    unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// Copies `len` bytes from `from` to `to`.
///
/// # Safety
/// As many bytes from `from` on must be valid memory, as many from `to` on the caller's own.
#[cfg(not(loom))]
// SAFETY: called by `Data` alone, which checks the range.
pub(super) unsafe fn copy_out(from: *const Byte, len: usize, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(from, len) };
}

/// As above.
///
/// # Safety
/// As above, and the bytes were made by `Byte::new`.
#[cfg(loom)]
// SAFETY: called by `Data` alone, which checks the range.
pub(super) unsafe fn copy_in(to: *mut Byte, bytes: &[u8]) {
    for (k, byte) in bytes.iter().enumerate() {
        crate::os::mortal::live();
        // SAFETY: the caller's promise; loom checks that nobody else is at this byte.
        unsafe { (*to.add(k)).with_mut(|cell| *cell = *byte) };
    }
}

/// As above.
///
/// # Safety
/// As above, and the bytes were made by `Byte::new`.
#[cfg(loom)]
// SAFETY: called by `Data` alone, which checks the range.
pub(super) unsafe fn copy_out(from: *const Byte, len: usize, to: *mut u8) {
    for k in 0..len {
        // SAFETY: the caller's promise; loom checks that nobody writes this byte meanwhile.
        unsafe { to.add(k).write((*from.add(k)).with(|cell| *cell)) };
    }
}
