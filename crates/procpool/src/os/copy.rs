//! Copies into fresh memory and out of memory that somebody else may change meanwhile.

use std::mem::MaybeUninit;

use rustix::mm::{Advice, madvise};

use super::lent::Lent;

/// Memory that is filled from its start.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    filled: usize,
}

impl<'a> Room<'a> {
    /// Nothing of it is filled.
    pub(crate) fn new(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        expect_much(bytes);
        Self { bytes, filled: 0 }
    }

    /// How many bytes are missing.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// Adds bytes; those that find no room are left out.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        // SAFETY: a slice is readable for its length.
        unsafe { self.put_raw(bytes.as_ptr(), bytes.len()) }
    }

    /// Adds `len` bytes from `start`; those that find no room are left out.
    ///
    /// # Safety
    /// They must be readable and not lie in this room. Another process may write to them at the same time.
    // SAFETY: of an unsafe function its callers argue.
    pub(crate) unsafe fn put_raw(&mut self, start: *const u8, len: usize) {
        let len = len.min(self.left());
        // SAFETY: the source is readable (the caller's promise), the target lies inside the room, and what arrives are
        // bytes, for which every value is valid, also one that another process writes at this moment.
        unsafe { copy(start, self.bytes.as_mut_ptr().add(self.filled).cast(), len) };
        self.filled += len;
    }
}

/// Memory that somebody else may change at any moment. Bytes come out by copy only.
pub(crate) trait Region {
    /// How many bytes.
    fn len(&self) -> usize;
    /// Fills `room` with bytes from `at` on, as many as both have.
    fn copy(&self, at: usize, room: &mut Room<'_>);
    /// The `len` bytes from `at` on in their place, if nobody changes them as long as they are looked at.
    fn view(&self, _at: usize, _len: usize) -> Option<Lent> {
        None
    }
}

/// From this size on a copy goes past the caches, which it would only empty: a third faster where it was measured.
const PAST_CACHES: usize = 4 << 20;

/// Copies `len` bytes.
///
/// # Safety
/// They must be readable and writable, and not overlap. Another process may change either at the same time, as long as no
/// Rust reference points to what it changes.
// SAFETY: of an unsafe function its callers argue.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    if len >= PAST_CACHES {
        // SAFETY: as the caller promised.
        return unsafe { copy_past_caches(from, to, len) };
    }
    // SAFETY: as the caller promised; these are bytes, for which every value is valid.
    unsafe { from.copy_to_nonoverlapping(to, len) }
}

/// As [`copy`], with stores that leave the caches alone.
#[cfg(target_arch = "x86_64")]
// SAFETY: the caller promises what `copy` asks for. SSE2 is part of every x86-64.
unsafe fn copy_past_caches(from: *const u8, to: *mut u8, len: usize) {
    use std::arch::x86_64::*;
    const LINE: usize = 64;
    /// How far ahead to fetch; a prefetch may name any address.
    const AHEAD: usize = 512;
    let head = to.align_offset(LINE).min(len);
    let lines = (len - head) / LINE;
    // SAFETY: head, lines and tail together are the `len` bytes of the caller. Loads need no alignment; every stored line
    // begins at an address that is a multiple of 64. The fence makes these stores as ordered as others are, before anything
    // that the caller publishes.
    unsafe {
        from.copy_to_nonoverlapping(to, head);
        for line in 0..lines {
            let (from, to) = (from.add(head + line * LINE), to.add(head + line * LINE));
            _mm_prefetch::<_MM_HINT_NTA>(from.wrapping_add(AHEAD).cast());
            let parts: [__m128i; 4] = std::array::from_fn(|k| _mm_loadu_si128(from.cast::<__m128i>().add(k)));
            for (k, part) in parts.into_iter().enumerate() {
                _mm_stream_si128(to.cast::<__m128i>().add(k), part);
            }
        }
        let done = head + lines * LINE;
        from.add(done).copy_to_nonoverlapping(to.add(done), len - done);
        _mm_sfence();
    }
}

/// Has `fill` write `len` bytes behind `bytes`; as many as it wrote are there afterwards.
pub(crate) fn append<R>(bytes: &mut Vec<u8>, len: usize, fill: impl FnOnce(&mut Room<'_>) -> R) -> R {
    bytes.reserve(len);
    let start = bytes.len();
    let mut room = Room::new(&mut bytes.spare_capacity_mut()[..len]);
    let result = fill(&mut room);
    let filled = room.filled;
    // SAFETY: `Room` counts only what was written, and that lies inside the spare capacity.
    unsafe { bytes.set_len(start + filled) };
    result
}

/// Asks for huge pages where many bytes are about to be written for the first time: a fault for each small page takes longer
/// than the copy. Where the system has none to give, nothing changes.
fn expect_much(bytes: &mut [MaybeUninit<u8>]) {
    const HUGE: usize = 2 << 20;
    if bytes.len() < 2 * HUGE {
        return;
    }
    let skip = bytes.as_ptr().align_offset(HUGE).min(bytes.len());
    let len = (bytes.len() - skip) / HUGE * HUGE;
    // SAFETY: the range is inside memory that we hold alone, and the advice changes no byte of it.
    let _ = unsafe { madvise(bytes.as_mut_ptr().add(skip).cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_copies_are_exact_whatever_the_alignment() {
        let from: Vec<u8> = (0..PAST_CACHES + 300).map(|n| (n * 7 + n / 251) as u8).collect();
        let mut to = vec![0; from.len() + 100];
        for (source, target) in [(0, 0), (1, 0), (0, 1), (13, 64), (64, 15), (99, 99)] {
            for len in [PAST_CACHES, PAST_CACHES + 1, PAST_CACHES + 63, PAST_CACHES + 200] {
                to.fill(0);
                // SAFETY: both ranges lie inside their vectors.
                unsafe { copy(from.as_ptr().add(source), to.as_mut_ptr().add(target), len) };
                assert!(to[target..target + len] == from[source..source + len]);
                assert!(to[..target].iter().chain(&to[target + len..]).all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn a_room_takes_no_more_than_it_has() {
        let mut bytes = vec![9];
        append(&mut bytes, 3, |room| {
            room.put(&[1, 2]);
            assert_eq!(room.left(), 1);
            room.put(&[3, 4, 5]);
        });
        assert_eq!(bytes, [9, 1, 2, 3]);
        append(&mut bytes, 3, |room| room.put(&[7]));
        assert_eq!(bytes, [9, 1, 2, 3, 7], "what was not written is not there");
    }
}
