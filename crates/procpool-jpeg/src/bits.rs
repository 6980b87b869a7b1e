//! Entropy-coded data: taken out of the file in chunks without byte stuffing, and read bit by bit.

use memchr::memchr;

use crate::Error;

/// Bytes taken out of the file at a time: small enough to stay in the second-level cache.
pub(crate) const CHUNK: usize = 64 << 10;

/// Bytes of the file without stuffing that a buffer has room for, and eight more, so that as many can be read anywhere.
pub(crate) const BUFFER: usize = 256 << 10;
pub(crate) type Buffer = [u8; BUFFER + 8];

/// A buffer of zeros.
pub(crate) fn buffer() -> Box<Buffer> {
    let zeros = vec![0; BUFFER + 8].into_boxed_slice();
    zeros.try_into().unwrap_or_else(|_| Box::new([0; BUFFER + 8]))
}

/// The most blocks that an MCU may have, as in libjpeg.
pub(crate) const MAX_BLOCKS: usize = 10;

/// More bytes than one MCU can take: for each coefficient of each block, a code and extra bits of 31 bits in all. There
/// are always as many in the buffer when an MCU begins, so that nothing need be checked within one.
pub(crate) const MCU_BYTES: usize = MAX_BLOCKS * 64 * 31 / 8 + 32;

/// The next bits of a segment. It is passed by value, so that it stays in registers.
///
/// The method of reading is variant 4 of Fabian Giesen, "Reading bits in far too many ways" (2018): a refill reads eight
/// bytes whatever is left, and the bits already there are simply read again.
#[derive(Clone, Copy)]
pub(crate) struct Bits {
    /// The next bits, from the highest one down.
    pub(crate) window: u64,
    /// How many of them count; 56 or more after a refill.
    have: u32,
    /// Where the bits after those lie in the buffer.
    at: usize,
}

impl Bits {
    /// Before anything has been read.
    pub(crate) const NONE: Self = Self { window: 0, have: 0, at: 0 };

    /// Where that many bits of the buffer have been read: at least 49 bits are there.
    #[inline(always)]
    pub(crate) fn at(position: usize, buffer: &Buffer) -> Self {
        let at = position / 8 % BUFFER;
        let bytes = buffer[at..at + 8].first_chunk().copied().unwrap_or_default();
        let read = position as u32 % 8;
        Self { window: u64::from_be_bytes(bytes) << read, have: 56 - read, at: at + 7 }
    }

    /// Makes sure that 56 bits or more are there.
    #[inline(always)]
    #[must_use]
    pub(crate) fn refill(self, buffer: &[u8]) -> Self {
        // The buffer is always long enough (see `MCU_BYTES`).
        let bytes = buffer.get(self.at..).and_then(<[u8]>::first_chunk::<8>).copied().unwrap_or_default();
        Self {
            window: self.window | u64::from_be_bytes(bytes) >> self.have,
            have: self.have | 56,
            at: self.at + ((63 - self.have) >> 3) as usize,
        }
    }

    /// Takes `count` bits away: at most as many as there are, and fewer than 64. Only the lowest six bits of `count` matter.
    #[inline(always)]
    #[must_use]
    pub(crate) fn skip(self, count: u32) -> Self {
        Self { window: self.window.wrapping_shl(count), have: self.have - (count & 63), ..self }
    }

    /// The next `BITS` bits as a number.
    #[inline(always)]
    pub(crate) fn peek<const BITS: u32>(self) -> usize {
        (self.window >> (64 - BITS)) as usize
    }

    /// The next `count` bits as a number, `count` being 0 to 32.
    #[inline(always)]
    pub(crate) fn number(self, count: u32) -> u32 {
        (self.window >> 32 >> (32 - count)) as u32
    }
}

/// The next `size` bits of `window` (0 to 16) as a signed number in JPEG's way: those that begin with 0 are negative.
#[inline(always)]
pub(crate) fn signed(window: u64, size: u32) -> i32 {
    let number = (window >> 1 >> (63 - size)) as i32;
    // Whether it is cannot be foretold, so that a branch would cost more than all the rest.
    number + std::hint::select_unpredictable(window >> 63 == 0, (-1 << size) + 1, 0)
}

/// Gives out the segments of entropy-coded data, from marker to marker.
pub(crate) struct Feed<'a, 'b> {
    input: &'a [u8],
    /// The next byte of `input` to be taken; once `whole`, the marker that ends the segment, or the end of the input.
    next: usize,
    buffer: &'b mut Buffer,
    /// The buffer is filled up to there.
    chunk: usize,
    /// So many bytes of `buffer` are data.
    end: usize,
    /// The rest of the segment is in the buffer, followed by zeros.
    whole: bool,
    /// When the reading position gets here, `more` has to be asked.
    low: usize,
}

/// The segment is over and its data was not enough.
pub(crate) struct Short;

impl<'a, 'b> Feed<'a, 'b> {
    pub(crate) fn new(input: &'a [u8], buffer: &'b mut Buffer) -> Self {
        Self { input, next: 0, buffer, chunk: CHUNK, end: 0, whole: true, low: 0 }
    }

    /// From the next start on, takes so many bytes at a time: with the most that an MCU can take, fewer than the buffer has.
    pub(crate) fn set_chunk(&mut self, chunk: usize) {
        self.chunk = chunk;
    }

    /// What [`Bits`] are refilled from.
    #[inline(always)]
    pub(crate) fn buffer(&self) -> &Buffer {
        self.buffer
    }

    /// So many bytes of the buffer are data, and whether these are all that is left of the segment.
    pub(crate) fn extent(&self) -> (usize, bool) {
        (self.end, self.whole)
    }

    /// Blocks that begin before this bit are in the buffer, MCUs too.
    pub(crate) fn stop(&self) -> usize {
        8 * if self.whole { self.end } else { self.low }
    }

    /// Gets more data, of which so many bits have been read. Returns how many of those are still there.
    pub(crate) fn advance(&mut self, position: usize) -> usize {
        if self.whole {
            return position;
        }
        self.drop(position / 8);
        position % 8
    }

    /// Begins the segment at this byte of the input, where nothing of it has been read: [`Bits::NONE`].
    pub(crate) fn start(&mut self, at: usize) {
        self.next = at;
        self.end = 0;
        self.whole = false;
        self.fill();
    }

    /// To be called before each MCU, and after the last one: makes sure that its data is there.
    #[inline(always)]
    pub(crate) fn ready(&mut self, bits: Bits) -> Result<Bits, Short> {
        if bits.at < self.low {
            return Ok(bits);
        }
        let at = self.more(bits.at, bits.have);
        if at == usize::MAX { Err(Short) } else { Ok(Bits { at, ..bits }) }
    }

    /// Where the reading position lies after more data has been got; `usize::MAX` if there is none and it was needed.
    #[cold]
    #[inline(never)]
    fn more(&mut self, at: usize, have: u32) -> usize {
        if self.whole {
            return if 8 * at <= 8 * self.end + have as usize { at } else { usize::MAX };
        }
        self.drop(at);
        0
    }

    /// Replaces so many bytes by new ones.
    fn drop(&mut self, read: usize) {
        self.buffer.copy_within(read..self.end, 0);
        self.end -= read;
        self.fill();
    }

    fn fill(&mut self) {
        while self.end < self.chunk {
            let ahead = &self.input[self.next..];
            let room = &mut self.buffer[self.end..self.chunk];
            let look = &ahead[..ahead.len().min(room.len())];
            let plain = memchr(0xFF, look).unwrap_or(look.len());
            room[..plain].copy_from_slice(&look[..plain]);
            self.end += plain;
            self.next += plain;
            if plain < look.len() {
                match after_ff(self.input, self.next) {
                    After::Data(next) => {
                        self.buffer[self.end] = 0xFF;
                        self.end += 1;
                        self.next = next;
                    }
                    After::Marker(at) => {
                        self.next = at;
                        self.finish();
                        return;
                    }
                }
            } else if self.next == self.input.len() {
                self.finish();
                return;
            }
        }
        self.low = self.end - MCU_BYTES;
    }

    fn finish(&mut self) {
        self.whole = true;
        self.low = self.end;
        self.buffer[self.end..][..MCU_BYTES].fill(0);
    }

    /// Where the marker lies that ends the segment, or the end of the input. What is left of the segment is skipped, as
    /// libjpeg does.
    pub(crate) fn marker(&mut self) -> usize {
        while !self.whole {
            self.end = 0;
            self.fill();
        }
        self.next
    }

    /// A byte of the input, if it is there.
    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    /// What is wrong where a code does not exist, with a byte of the input near which the reading is.
    pub(crate) fn invalid(&self) -> Error {
        Error::Damaged { what: "the data contains an invalid code", at: self.next }
    }

    /// How many bytes of the input there are from there on.
    pub(crate) fn left_from(&self, at: usize) -> usize {
        self.input.len().saturating_sub(at)
    }
}

/// What an FF in entropy-coded data begins.
enum After {
    /// It is data; what follows lies there.
    Data(usize),
    /// It is, or leads to, a marker there; or the input ends there.
    Marker(usize),
}

/// What the FF at `at` begins. Any number of FF may come before the byte that decides.
fn after_ff(input: &[u8], at: usize) -> After {
    let run = input[at..].iter().position(|&byte| byte != 0xFF);
    match run.map(|run| (at + run, input[at + run])) {
        Some((byte, 0)) => After::Data(byte + 1),
        Some((byte, _)) => After::Marker(byte - 1),
        None => After::Marker(input.len()),
    }
}

/// The first marker at or after byte `at` that is not a restart marker, or the end of the input.
pub(crate) fn skip_scan(input: &[u8], mut at: usize) -> usize {
    while let Some(plain) = input.get(at..).and_then(|rest| memchr(0xFF, rest)) {
        match after_ff(input, at + plain) {
            After::Data(next) => at = next,
            After::Marker(marker) => match input.get(marker + 1) {
                Some(0xD0..=0xD7) => at = marker + 2,
                _ => return marker,
            },
        }
    }
    input.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_sign() {
        let top = |bits: u64, size: u32| bits << (64 - size);
        assert_eq!(signed(top(0b1, 1), 1), 1);
        assert_eq!(signed(top(0b0, 1), 1), -1);
        assert_eq!(signed(top(0b000, 3), 3), -7);
        assert_eq!(signed(top(0b011, 3), 3), -4);
        assert_eq!(signed(top(0b100, 3), 3), 4);
        assert_eq!(signed(u64::MAX, 15), 32767);
        assert_eq!(signed(0, 15), -32767);
        assert_eq!(signed(u64::MAX, 0), 0);
        assert_eq!(signed(0, 0), 0);
    }

    /// All bits of the segment, read in steps of `step`.
    fn read(input: &[u8], step: u32) -> (Vec<u8>, usize) {
        let mut buffer = [0; BUFFER + 8];
        let mut feed = Feed::new(input, &mut buffer);
        feed.start(0);
        let mut bits = Bits::NONE;
        let mut out = Vec::new();
        let (mut number, mut count) = (0, 0);
        loop {
            bits = match feed.ready(bits) {
                Ok(bits) => bits.refill(feed.buffer()),
                Err(Short) => break,
            };
            number = number << step | u64::from(bits.number(step));
            count += step;
            bits = bits.skip(step);
            while count >= 8 {
                out.push((number >> (count - 8)) as u8);
                count -= 8;
            }
        }
        (out, feed.marker())
    }

    #[test]
    fn stuffing_is_removed_across_chunks() {
        let mut state = 1u32;
        for length in [0, 1, 7, 8, 9, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77] {
            let data: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 29 == 0 { 0xFF } else { (state >> 20) as u8 }
            })
            .take(length)
            .collect();
            let mut input = Vec::new();
            for &byte in &data {
                match byte {
                    0xFF if input.len() % 3 == 0 => input.extend([0xFF, 0xFF, 0xFF, 0]),
                    0xFF => input.extend([0xFF, 0]),
                    byte => input.push(byte),
                }
            }
            let end = input.len();
            for tail in [&[0xFF, 0xD9][..], &[]] {
                let whole = [&input, tail].concat();
                for step in [1, 7, 13, 31] {
                    let (found, marker) = read(&whole, step);
                    // Whatever is read past the end comes from zeros.
                    assert!(found.len() >= length && found.len() <= length + 8, "{length} {step}");
                    assert!(found[..length] == data && found[length..].iter().all(|&byte| byte == 0));
                    assert_eq!(marker, end);
                }
            }
        }
    }

    #[test]
    fn scans_are_skipped_to_the_next_marker() {
        assert_eq!(skip_scan(&[1, 0xFF, 0, 2, 0xFF, 0xD3, 3, 0xFF, 0xFF, 0xC4], 0), 8);
        assert_eq!(skip_scan(&[1, 2, 3], 0), 3);
        assert_eq!(skip_scan(&[1, 0xFF, 0xFF], 0), 3);
        assert_eq!(skip_scan(&[1], 9), 1);
    }
}
