//! Counts lines, words and characters exactly as GNU `wc -lwm` does in the locale C.UTF-8.
//!
//! A character is what glibc decodes from UTF-8: shortest forms only, no surrogates, and up to six bytes,
//! of which Unicode knows four. A byte that begins none is passed over and is no character. A word is a run of characters that ends at white space; what cannot be
//! printed neither begins a word nor ends it.

use std::sync::LazyLock;

use procpool_cli::simd::vectorised;
use serde::{Deserialize, Serialize};

use super::classes::{IGNORED, SPACES};

/// Bytes that are looked at together: few enough for their sums to fit a byte per lane after [`LANE_RUN`] of them.
const STRETCH: usize = 4096;
/// The length of the longest character.
const LONGEST: usize = 6;
/// How many values a byte can sum up.
const LANE_RUN: usize = 255;
/// Lanes that are summed up side by side; a multiple of every vector's.
const LANES: usize = 64;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Bytes.
    pub bytes: u64,
    /// Line feeds.
    pub lines: u64,
    /// Words.
    pub words: u64,
    /// Characters.
    pub characters: u64,
}

impl Counts {
    /// Adds the figures of another text.
    pub(crate) fn add(&mut self, other: Counts) {
        // What a worker says it counted may be anything.
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.lines = self.lines.saturating_add(other.lines);
        self.words = self.words.saturating_add(other.words);
        self.characters = self.characters.saturating_add(other.characters);
    }
}

/// Counts a text that comes in pieces, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: Counts,
    in_word: bool,
    /// The beginning of a character whose rest is to come.
    pending: Vec<u8>,
    /// Where the first byte is that is part of no character.
    first_invalid: Option<u64>,
    /// Pairs of carriage return and line feed.
    line_end_pairs: u64,
    ends_in_return: bool,
}

impl Tally {
    /// Counts what comes next.
    pub(crate) fn take(&mut self, text: &[u8]) {
        let mut rest = text;
        if !self.pending.is_empty() {
            let kept = self.pending.len();
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(&text[..text.len().min(LONGEST)]);
            // What was kept counts already as bytes; a character needs no more than this.
            let mut at = 0;
            while at < kept {
                match self.character(&joined[at..], kept as u64 - at as u64) {
                    Some(len) => at += len,
                    None if text.len() <= LONGEST => {
                        self.counts.bytes += text.len() as u64;
                        self.pending = joined.split_off(at);
                        return;
                    }
                    None => at += 1,
                }
            }
            let used = at - kept;
            self.counts.bytes += used as u64;
            rest = &text[used..];
        }
        while !rest.is_empty() {
            let stretch = &rest[..rest.len().min(STRETCH)];
            if let Some((lines, words)) = vectorised(|| plain(stretch, self.in_word)) {
                self.counts.lines += u64::from(lines);
                self.counts.words += u64::from(words);
                self.counts.characters += stretch.len() as u64;
                self.counts.bytes += stretch.len() as u64;
                self.in_word = stretch.last().is_some_and(|last| !is_space(*last));
                rest = &rest[stretch.len()..];
                continue;
            }
            if vectorised(|| is_unprintable(stretch)) {
                self.counts.characters += stretch.len() as u64;
                self.counts.bytes += stretch.len() as u64;
                rest = &rest[stretch.len()..];
                continue;
            }
            let mut at = 0;
            while at < stretch.len() {
                match self.character(&rest[at..], 0) {
                    Some(len) => {
                        at += len;
                        self.counts.bytes += len as u64;
                    }
                    None => {
                        self.pending = rest[at..].to_vec();
                        self.counts.bytes += self.pending.len() as u64;
                        return;
                    }
                }
            }
            rest = &rest[at..];
        }
    }

    /// Counts the pairs of carriage return and line feed of what comes next.
    pub(crate) fn take_line_end_pairs(&mut self, text: &[u8]) {
        let Some(last) = text.last() else { return };
        let split = self.ends_in_return && text[0] == b'\n';
        let pairs = text.iter().zip(&text[1..]).filter(|&(&a, &b)| a == b'\r' && b == b'\n').count();
        self.line_end_pairs += pairs as u64 + u64::from(split);
        self.ends_in_return = *last == b'\r';
    }

    /// Counts the character at the start of `text`, or the byte that is none, and says how long it is. `None` if its rest is
    /// yet to come. `behind` bytes of it are counted already.
    fn character(&mut self, text: &[u8], behind: u64) -> Option<usize> {
        let (len, class) = match decode(text) {
            Decoded::Character(code, len) => (len, class(code)),
            Decoded::Nothing => {
                self.first_invalid.get_or_insert(self.counts.bytes - behind);
                return Some(1);
            }
            Decoded::Unfinished => return None,
        };
        self.counts.characters += 1;
        match class {
            Class::Word => {
                self.counts.words += u64::from(!self.in_word);
                self.in_word = true;
            }
            Class::Space => {
                self.counts.lines += u64::from(text[0] == b'\n');
                self.in_word = false;
            }
            Class::Ignored => {}
        }
        Some(len)
    }

    /// The figures, and where the first byte is that is part of no character, if there is one.
    pub(crate) fn finish(mut self) -> (Counts, Option<u64>) {
        if !self.pending.is_empty() {
            self.first_invalid.get_or_insert(self.counts.bytes - self.pending.len() as u64);
        }
        self.counts.characters -= self.line_end_pairs;
        (self.counts, self.first_invalid)
    }
}

/// Lines and the words that begin in a stretch of printable ASCII and white space; `None` if there is anything else in it.
#[inline(always)]
fn plain(text: &[u8], in_word: bool) -> Option<(u32, u32)> {
    let (mut lines, mut words) = (0, 0);
    let first = *text.first()?;
    let mut strange = u8::from(is_strange(first));
    lines += u32::from(first == b'\n');
    words += u32::from(!is_space(first) && !in_word);
    let (before, now) = (&text[..text.len() - 1], &text[1..]);
    for (before, now) in before.chunks(LANES * LANE_RUN).zip(now.chunks(LANES * LANE_RUN)) {
        let (mut line_sums, mut word_sums, mut stranges) = ([0_u8; LANES], [0_u8; LANES], [0_u8; LANES]);
        let (befores, nows) = (before.chunks_exact(LANES), now.chunks_exact(LANES));
        for (&before, &now) in befores.remainder().iter().zip(nows.remainder()) {
            strange |= u8::from(is_strange(now));
            lines += u32::from(now == b'\n');
            words += u32::from(is_space(before) & !is_space(now));
        }
        for (before, now) in befores.zip(nows) {
            for lane in 0..LANES {
                let (before, now) = (before[lane], now[lane]);
                line_sums[lane] += u8::from(now == b'\n');
                word_sums[lane] += u8::from(is_space(before) & !is_space(now));
                stranges[lane] |= u8::from(is_strange(now));
            }
        }
        lines += line_sums.iter().map(|sum| u32::from(*sum)).sum::<u32>();
        words += word_sums.iter().map(|sum| u32::from(*sum)).sum::<u32>();
        strange |= stranges.iter().fold(0, |all, lane| all | lane);
    }
    (strange == 0).then_some((lines, words))
}

/// Whether a stretch is ASCII that cannot be printed and nothing else: holes of files are.
#[inline(always)]
fn is_unprintable(text: &[u8]) -> bool {
    text.iter().fold(true, |all, &byte| all & (byte < 0x80) & is_strange(byte))
}

#[inline(always)]
fn is_space(byte: u8) -> bool {
    (byte == b' ') | (byte.wrapping_sub(b'\t') < 5)
}

/// Neither printable ASCII nor white space.
#[inline(always)]
fn is_strange(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') >= 0x5f) & (byte.wrapping_sub(b'\t') >= 5)
}

enum Decoded {
    /// A character and its length.
    Character(u32, usize),
    /// The first byte begins no character.
    Nothing,
    /// What is there begins one.
    Unfinished,
}

/// The character at the start of a text that is not empty.
#[inline]
fn decode(text: &[u8]) -> Decoded {
    let first = text[0];
    let (len, bits, least) = match first {
        0..=0x7f => return Decoded::Character(u32::from(first), 1),
        0xc2..=0xdf => (2, first & 0x1f, 0x80),
        0xe0..=0xef => (3, first & 0x0f, 0x800),
        0xf0..=0xf7 => (4, first & 0x07, 0x1_0000),
        0xf8..=0xfb => (5, first & 0x03, 0x20_0000),
        0xfc..=0xfd => (6, first & 0x01, 0x400_0000),
        _ => return Decoded::Nothing,
    };
    let mut code = u32::from(bits);
    for at in 1..len {
        match text.get(at) {
            None => return Decoded::Unfinished,
            Some(&byte) if byte & 0xc0 == 0x80 => code = code << 6 | u32::from(byte & 0x3f),
            Some(_) => return Decoded::Nothing,
        }
    }
    if code < least || (0xd800..0xe000).contains(&code) { Decoded::Nothing } else { Decoded::Character(code, len) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Word,
    Space,
    Ignored,
}

#[inline]
fn class(code: u32) -> Class {
    if let Ok(byte) = u8::try_from(code)
        && byte < 0x80
    {
        return if is_space(byte) {
            Class::Space
        } else if is_strange(byte) {
            Class::Ignored
        } else {
            Class::Word
        };
    }
    // Two bits for each character.
    let bits = CLASSES.get(code as usize / 4).map_or(2, |four| four >> (code % 4 * 2) & 3);
    match bits {
        0 => Class::Word,
        1 => Class::Space,
        _ => Class::Ignored,
    }
}

static CLASSES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut classes = vec![0; 0x11_0000 / 4];
    for (ranges, bits) in [(&SPACES[..], 1), (&IGNORED[..], 2)] {
        for code in ranges.iter().flat_map(|&(first, last)| first..=last) {
            classes[code as usize / 4] |= bits << (code % 4 * 2);
        }
    }
    classes
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines, words, characters and bytes, the same however the text is cut.
    fn count(text: &[u8]) -> [u64; 4] {
        let figures = |step: usize| {
            let mut tally = Tally::default();
            text.chunks(step).for_each(|part| tally.take(part));
            let (counts, invalid) = tally.finish();
            ([counts.lines, counts.words, counts.characters, counts.bytes], invalid)
        };
        let whole = figures(text.len().max(1));
        for step in [1, 2, 3, 5, 64, 1000] {
            assert_eq!(figures(step), whole, "{step} bytes at a time");
        }
        whole.0
    }

    #[test]
    fn small_texts_are_counted_as_wc_counts_them() {
        // Each row is what GNU wc 9.1 says with -lwmc in C.UTF-8.
        assert_eq!(count(b""), [0, 0, 0, 0]);
        assert_eq!(count(b"one two\n"), [1, 2, 8, 8]);
        assert_eq!(count(b"\x01"), [0, 0, 1, 1]);
        assert_eq!(count(b"a\x01b \x01 c"), [0, 2, 7, 7]);
        assert_eq!(count(b"\xff"), [0, 0, 0, 1]);
        assert_eq!(count(b"\xc2\xa0"), [0, 0, 1, 2]);
        assert_eq!(count(b"\xe2\x80\xa8"), [0, 0, 1, 3]);
        assert_eq!(count(b"\xed\xa0\x80"), [0, 0, 0, 3]);
        assert_eq!(count(b"\xf5\x80\x80\x80"), [0, 0, 1, 4]);
        assert_eq!(count(b"\xf8\x88\x80\x80\x80"), [0, 0, 1, 5]);
        assert_eq!(count(b"\xc0\x80"), [0, 0, 0, 2]);
        assert_eq!(count(b"\xe2\x82"), [0, 0, 0, 2]);
        assert_eq!(count("Käse 日本\u{3000}🦦\r\n".as_bytes()), [1, 3, 11, 21]);
    }

    #[test]
    fn long_texts_are_the_sum_of_their_parts() {
        let plain = b"GET /index.html  HTTP/1.1\t200\r\n".repeat(10_000);
        assert_eq!(count(&plain), [10_000, 40_000, 310_000, 310_000]);
        let mixed = "aé\u{1}日 🦦x\n".repeat(10_000);
        assert_eq!(count(mixed.as_bytes()), [10_000, 20_000, 80_000, 140_000]);
        let holes = [&b"a "[..], &[0; 50_000], b"b", &[0; 50_000], b"c"].concat();
        assert_eq!(count(&holes), [0, 2, 100_004, 100_004]);
        let long_word = vec![b'x'; 100_000];
        assert_eq!(count(&long_word), [0, 1, 100_000, 100_000]);
    }

    #[test]
    fn the_first_invalid_byte_has_its_place() {
        let first = |text: &[u8]| {
            let mut tally = Tally::default();
            text.chunks(2).for_each(|part| tally.take(part));
            tally.finish().1
        };
        assert_eq!(first("gut 日本".as_bytes()), None);
        assert_eq!(first(b"caf\xe9 au lait"), Some(3));
        assert_eq!(first(b"ab\xe2\x82"), Some(2));
        assert_eq!(first(b"\xe2\x82\xacx\xc0\xaf"), Some(4));
    }

    #[test]
    fn line_end_pairs_count_as_one() {
        for step in [1, 2, 3, 100] {
            let mut tally = Tally::default();
            for part in b"a\r\nb\rc\n\r\r\n".chunks(step) {
                tally.take(part);
                tally.take_line_end_pairs(part);
            }
            assert_eq!(tally.finish().0.characters, 8);
        }
    }
}
