//! Where an encoding goes.

use super::ser::LENGTH_MAX;
use crate::bulk::ALIGNMENT;

/// Takes an encoding that has become large.
pub(crate) trait Spill {
    /// Appends both to what it holds. `false` if it cannot: then it holds what it held before.
    fn append(&mut self, staged: &[u8], run: &[u8]) -> bool;
    /// Gives everything back, behind what is in `bytes`, and holds nothing any more.
    fn give_back(&mut self, bytes: &mut Vec<u8>);
}

/// A run of at least this many bytes goes to the spill at once, if there is one.
pub(super) const LARGE: usize = 32 * 1024;

/// Bytes that are being written: to a `Vec`, and once a large run has come, to a [`Spill`], so that nobody copies it again.
pub(crate) struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where the present value, or what of it has not spilled, begins in `bytes`.
    start: usize,
    spill: Option<&'a mut dyn Spill>,
    spilled: bool,
    /// How many bytes did.
    spilled_bytes: usize,
    /// The next run of bytes is one of those that may be looked at where they lie.
    aligned: bool,
    /// Lengths that are not known yet; until they are, nothing spills.
    gaps: u32,
    /// The most bytes that the value may take.
    most: usize,
    /// It took more, or there was no memory for it: what came was thrown away.
    too_large: bool,
}

impl<'a> Output<'a> {
    /// Appends to `bytes`, whatever comes.
    #[inline]
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self::with_spill(bytes, None)
    }

    /// Appends to `bytes` what is small, and gives a value that is large to `spill`.
    #[inline]
    pub(crate) fn with_spill(bytes: &'a mut Vec<u8>, spill: Option<&'a mut dyn Spill>) -> Self {
        Self {
            start: bytes.len(),
            bytes,
            spill,
            spilled: false,
            spilled_bytes: 0,
            aligned: false,
            gaps: 0,
            most: usize::MAX,
            too_large: false,
        }
    }

    /// Lets the value take no more than `most` bytes.
    #[inline]
    pub(crate) fn limit(&mut self, most: usize) {
        self.most = most;
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        if self.bytes.len() < self.bytes.capacity() || self.grow(1) {
            self.bytes.push(byte);
        }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.bytes.capacity() - self.bytes.len() || self.grow(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Makes room for `more` bytes. If the value may not have them, or there is no memory, nothing is allocated, what came of
    /// it is thrown away, and so is what comes.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        let most = self.most.saturating_add(self.start);
        if let Some(needed) = len.checked_add(more).filter(|needed| *needed <= most && !self.too_large) {
            // By doubling, as ever, but not past what can be used.
            let wanted = capacity.saturating_mul(2).clamp(needed, most).max(64.min(most));
            if self.bytes.try_reserve_exact(wanted - len).is_ok() {
                return true;
            }
        }
        self.too_large = true;
        self.spill = None;
        self.bytes.truncate(self.start);
        // It may be gigabytes.
        self.bytes.shrink_to(self.start);
        false
    }

    /// Appends bytes that may be many.
    #[inline]
    pub(super) fn run(&mut self, run: &[u8]) {
        if run.len() >= LARGE && self.gaps == 0 && self.spill(run) {
            return;
        }
        self.put(run);
    }

    /// Whether what comes next is to be aligned, if it is a run of bytes.
    #[inline]
    pub(super) fn align_next(&mut self, aligned: bool) {
        self.aligned = aligned;
    }

    /// Puts what comes next at a multiple of [`ALIGNMENT`], if it is to be: behind a byte that says how many others are between.
    #[inline]
    pub(super) fn pad(&mut self) {
        if std::mem::take(&mut self.aligned) {
            let at = self.spilled_bytes + self.bytes.len() - self.start;
            let padding = (at + 1).wrapping_neg() % ALIGNMENT;
            self.byte(padding as u8);
            self.put(&[0; ALIGNMENT][..padding]);
        }
    }

    /// Gives what is staged, and `run` behind it, to the spill, if there is one that takes it.
    #[cold]
    fn spill(&mut self, run: &[u8]) -> bool {
        let Some(spill) = &mut self.spill else { return false };
        if spill.append(&self.bytes[self.start..], run) {
            self.spilled_bytes += self.bytes.len() - self.start + run.len();
            self.bytes.truncate(self.start);
            self.spilled = true;
            return true;
        }
        if std::mem::take(&mut self.spilled) {
            let staged = self.bytes.split_off(self.start);
            spill.give_back(self.bytes);
            self.bytes.extend_from_slice(&staged);
        }
        self.spill = None;
        false
    }

    /// Keeps room for a length that is not known yet.
    pub(super) fn gap(&mut self) -> usize {
        self.gaps += 1;
        let at = self.bytes.len();
        self.put(&[0; LENGTH_MAX]);
        at
    }

    /// Writes the length for which `at` was kept free.
    pub(super) fn fill_gap(&mut self, at: usize, length: u64) {
        self.gaps -= 1;
        if let Some(gap) = self.bytes.get_mut(at..at + LENGTH_MAX) {
            for (k, byte) in gap.iter_mut().enumerate() {
                let more = if k + 1 < LENGTH_MAX { 0x80 } else { 0 };
                *byte = (length >> (7 * k)) as u8 & 0x7f | more;
            }
        }
    }

    /// Ends the value. Returns whether it is in the spill, all of it, and nothing of it in the `Vec`; `None` if it was too
    /// large, and then nothing of it is anywhere.
    #[inline]
    pub(crate) fn finish(&mut self) -> Option<bool> {
        if self.spilled && self.bytes.len() > self.start {
            self.spill(&[]);
        }
        if self.too_large {
            self.undo();
            return None;
        }
        Some(self.spilled)
    }

    /// Ends the value, of which nothing is to remain.
    pub(crate) fn undo(&mut self) {
        self.bytes.truncate(self.start);
    }
}
