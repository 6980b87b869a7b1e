//! Huffman codes, and tables that decode or skip several of them at once.

use std::sync::{Arc, OnceLock};

use crate::bits::signed;

/// A DC table is looked up by so many bits: 1 KiB.
pub(crate) const DC_BITS: u32 = 9;
/// A table for whole DC differences is looked up by so many bits: 8 KiB.
pub(crate) const WHOLE_BITS: u32 = 12;
/// A table for AC values is looked up by so many bits: 4 KiB.
pub(crate) const AC_BITS: u32 = 11;
/// A table for two AC values at once is looked up by so many bits: 16 KiB.
pub(crate) const PAIR_BITS: u32 = 11;
/// A table for skipping AC symbols is looked up by so many bits: 16 KiB, half of a small first-level cache.
pub(crate) const SKIP_BITS: u32 = 13;

/// Added to the advance of an entry that ends with the end of the block.
pub(crate) const END: usize = 128;

/// The advance of an entry that says nothing, because the first code is longer than the table is wide, or is none: it leads
/// out of any block, and does not end it.
const UNKNOWN: u16 = LATER as u16;

/// Where an advance leads with this bit set, the entry is not to be used: it does not say what is next, or too much.
pub(crate) const LATER: u32 = 64;

/// The tables' entries have the number of bits to skip in their lowest six bits. In a table of [`DC_BITS`] the size of the
/// value follows in four bits; in one of [`AC_BITS`] the size in four bits and the run in four; 0 is an unknown code. In a
/// table of [`SKIP_BITS`] the highest byte is the advance along the zig-zag, of as many symbols as begin within the bits.
pub(crate) type Table<const ENTRIES: usize> = [u16; ENTRIES];

/// In a table of DC differences: it does not lie wholly within the bits.
pub(crate) const LONG: i16 = i16::MIN;

/// Up to two AC values at once, if codes and extra bits lie within [`PAIR_BITS`], and the end of the block if that still does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Bits to skip.
    pub(crate) length: u8,
    /// How far both values advance along the zig-zag, and [`END`]; [`Pair::UNKNOWN`] if the entry says nothing.
    pub(crate) advance: u8,
    /// How far the first value does.
    pub(crate) first: u8,
    /// The values; 0 for one that is not there.
    pub(crate) values: [i16; 2],
}

impl Pair {
    pub(crate) const UNKNOWN: u8 = 255;
}

/// A Huffman code as a file defines it, and what has been derived from it so far.
pub(crate) struct Huffman {
    counts: [u8; 16],
    symbols: Vec<u8>,
    /// For each length, the first code that is longer, filled up to 16 bits; never decreasing.
    beyond: [u32; 16],
    /// For each length, what to add to a code to get the index of its symbol.
    offset: [i32; 16],
    dc: OnceLock<Box<Table<{ 1 << DC_BITS }>>>,
    whole: OnceLock<Box<[i16; 1 << WHOLE_BITS]>>,
    ac: OnceLock<Box<Table<{ 1 << AC_BITS }>>>,
    pair: OnceLock<Box<[Pair; 1 << PAIR_BITS]>>,
    skip: OnceLock<Box<Table<{ 1 << SKIP_BITS }>>>,
}

impl Huffman {
    /// The code with `counts[i]` codes of `i + 1` bits for these symbols in order; nothing if there is no such code. As in
    /// libjpeg, no code may consist of ones only.
    fn new(counts: [u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut beyond = [0; 16];
        let mut offset = [0; 16];
        let (mut code, mut index) = (0u32, 0);
        for (at, &count) in counts.iter().enumerate() {
            let length = at as u32 + 1;
            offset[at] = index - code as i32;
            code += u32::from(count);
            index += i32::from(count);
            if count > 0 && code >= 1 << length {
                return None;
            }
            beyond[at] = code << (16 - length);
            code <<= 1;
        }
        if index as usize != symbols.len() || symbols.len() > 256 {
            return None;
        }
        Some(Self {
            counts,
            symbols: symbols.to_vec(),
            beyond,
            offset,
            dc: OnceLock::new(),
            whole: OnceLock::new(),
            ac: OnceLock::new(),
            pair: OnceLock::new(),
            skip: OnceLock::new(),
        })
    }

    /// The symbol that `window` begins with, and the length of its code; nothing if it begins with none.
    pub(crate) fn symbol(&self, window: u64) -> Option<(u8, u32)> {
        let code = (window >> 48) as u32;
        let at = self.beyond.iter().position(|&beyond| code < beyond)?;
        let index = (code >> (15 - at)) as i32 + self.offset[at];
        Some((*self.symbols.get(index as usize)?, at as u32 + 1))
    }

    /// Whether all symbols are sizes of DC differences.
    pub(crate) fn is_for_dc(&self) -> bool {
        self.symbols.iter().all(|&symbol| symbol < 16)
    }

    /// Calls `enter` for each code of at most `bits` bits: with the entries that begin with it, its symbol, its length.
    fn each_code(&self, bits: u32, mut enter: impl FnMut(std::ops::Range<usize>, u8, u32)) {
        let mut symbols = self.symbols.iter();
        let mut first = 0;
        for (at, &count) in self.counts.iter().enumerate().take(bits as usize) {
            let length = at as u32 + 1;
            let width = 1 << (bits - length);
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                enter(first..first + width, symbol, length);
                first += width;
            }
        }
    }

    pub(crate) fn dc(&self) -> &Table<{ 1 << DC_BITS }> {
        self.dc.get_or_init(|| {
            let mut table = Box::new([0; 1 << DC_BITS]);
            self.each_code(DC_BITS, |entries, symbol, length| {
                let size = u16::from(symbol & 15);
                table[entries].fill((length as u16 + size) | (size << 6));
            });
            table
        })
    }

    /// For DC differences whose length does not matter.
    pub(crate) fn whole(&self) -> &[i16; 1 << WHOLE_BITS] {
        self.whole.get_or_init(|| {
            let mut table = Box::new([LONG; 1 << WHOLE_BITS]);
            self.each_code(WHOLE_BITS, |entries, symbol, length| {
                let size = u32::from(symbol & 15);
                if length + size <= WHOLE_BITS {
                    for index in entries {
                        table[index] = signed((index as u64) << (64 - WHOLE_BITS) << length, size) as i16;
                    }
                }
            });
            table
        })
    }

    pub(crate) fn ac(&self) -> &Table<{ 1 << AC_BITS }> {
        self.ac.get_or_init(|| {
            let mut table = Box::new([0; 1 << AC_BITS]);
            self.each_code(AC_BITS, |entries, symbol, length| {
                let (run, size) = (u16::from(symbol >> 4), u16::from(symbol & 15));
                table[entries].fill((length as u16 + size) | (size << 6) | (run << 10));
            });
            table
        })
    }

    pub(crate) fn pair(&self) -> &[Pair; 1 << PAIR_BITS] {
        self.pair.get_or_init(|| {
            let single = self.ac();
            let mut table = Box::new([Pair::default(); 1 << PAIR_BITS]);
            for (index, pair) in table.iter_mut().enumerate() {
                let mut count = 0;
                loop {
                    // The next symbol, if it lies wholly within the bits.
                    let entry = u32::from(single[index << pair.length & ((1 << AC_BITS) - 1)]);
                    let (length, size, run) = (entry & 63, entry >> 6 & 15, (entry >> 10) as u8);
                    if entry == 0 || u32::from(pair.length) + length > PAIR_BITS {
                        break;
                    }
                    if size == 0 {
                        if run < 15 {
                            pair.advance += END as u8;
                            pair.length += length as u8;
                        }
                        break;
                    }
                    if count == 2 || pair.advance + run + 1 > 63 {
                        break;
                    }
                    let window = (index as u64) << (64 - PAIR_BITS) << pair.length;
                    pair.values[count] = signed(window << (length - size), size) as i16;
                    pair.advance += run + 1;
                    if count == 0 {
                        pair.first = pair.advance;
                    }
                    pair.length += length as u8;
                    count += 1;
                }
                if pair.length == 0 {
                    pair.advance = Pair::UNKNOWN;
                }
            }
            table
        })
    }

    /// Of each entry of a table of [`SKIP_BITS`], the symbol that it begins with and the length of its code, or 0.
    fn single(&self) -> Box<[(u8, u8); 1 << SKIP_BITS]> {
        let mut single = Box::new([(0, 0); 1 << SKIP_BITS]);
        self.each_code(SKIP_BITS, |entries, symbol, length| single[entries].fill((length as u8, symbol)));
        single
    }

    /// For skipping coefficients after the first.
    pub(crate) fn skip(&self) -> &Table<{ 1 << SKIP_BITS }> {
        self.skip.get_or_init(|| {
            let single = self.single();
            let mut table = Box::new([0; 1 << SKIP_BITS]);
            for (index, entry) in table.iter_mut().enumerate() {
                *entry = skip_from(&single, index, 0, 0);
            }
            table
        })
    }

    /// For skipping the first coefficient, and those after it that have this code.
    pub(crate) fn skip_all(&self, rest: &Self) -> Box<Table<{ 1 << SKIP_BITS }>> {
        let single = rest.single();
        let mut table = Box::new([UNKNOWN << 8; 1 << SKIP_BITS]);
        self.each_code(SKIP_BITS, |entries, symbol, length| {
            for index in entries {
                table[index] = skip_from(&single, index, length + u32::from(symbol & 15), 1);
            }
        });
        table
    }
}

/// An entry of a table for skipping: so many bits and coefficients, and what follows them.
fn skip_from(single: &[(u8, u8); 1 << SKIP_BITS], index: usize, mut used: u32, mut advance: u32) -> u16 {
    while used < SKIP_BITS {
        let (length, symbol) = single[index << used & ((1 << SKIP_BITS) - 1)];
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if length == 0 || used + u32::from(length) > SKIP_BITS {
            break;
        }
        let step = match (run, size) {
            (15, 0) => 16,
            (_, 0) => {
                used += u32::from(length);
                advance += END as u32;
                break;
            }
            (run, _) => run + 1,
        };
        if advance + step > 63 {
            break;
        }
        advance += step;
        // The extra bits may lie beyond those looked at.
        used += u32::from(length) + size;
    }
    if used > 0 { (used | advance << 8) as u16 } else { UNKNOWN << 8 }
}

/// The codes met last, so that the tables of pictures from the same camera or program are made once.
#[derive(Clone, Default)]
pub(crate) struct Cache {
    /// The one used last comes last.
    known: Vec<Arc<Huffman>>,
}

impl Cache {
    /// At 40 KiB each with all tables that one is used with, 1 MiB in all.
    const SIZE: usize = 24;

    /// The code with these definitions, or nothing if they define none.
    pub(crate) fn get(&mut self, counts: [u8; 16], symbols: &[u8]) -> Option<Arc<Huffman>> {
        let found = self.known.iter().position(|known| known.counts == counts && known.symbols == symbols);
        let huffman = match found {
            Some(index) => self.known.remove(index),
            None => {
                let new = Arc::new(Huffman::new(counts, symbols)?);
                if self.known.len() == Self::SIZE {
                    self.known.remove(0);
                }
                new
            }
        };
        self.known.push(Arc::clone(&huffman));
        Some(huffman)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    /// Codes 0, 10, 110, 1110.
    fn four() -> Huffman {
        let mut counts = [0; 16];
        counts[..4].fill(1);
        Huffman::new(counts, &[0x01, 0x00, 0x12, 0xF0]).expect("the code is valid")
    }

    #[test]
    fn symbols_are_found_by_their_code() {
        let four = four();
        for (byte, expected) in [
            (0b0111_1111, Some((0x01, 1))),
            (0b1011_1111, Some((0x00, 2))),
            (0b1101_1111, Some((0x12, 3))),
            (0b1110_1111, Some((0xF0, 4))),
            (0b1111_0000, None),
        ] {
            assert_eq!(four.symbol(byte << 56), expected);
        }
    }

    #[test]
    fn entries_skip_all_that_begins_within_them() {
        let four = four();
        // 0+x, 0+x, 110+xx, 10: four symbols in eleven bits, of which the last ends the block.
        assert_eq!(four.skip()[0b0_1011_1011_1000], 11 | (4 + 128) << 8);
        // Six pairs of 0+x; the seventh code is the thirteenth bit, and its extra bit the fourteenth.
        assert_eq!(four.skip()[0], 14 | 7 << 8);
        // 1110 is sixteen zeros; a fourth of them would be too many for the block.
        assert_eq!(four.skip()[0b1_1101_1101_1101], 12 | 48 << 8);
        // No code.
        assert_eq!(four.skip()[0b1_1110_0000_0000], UNKNOWN << 8);
        assert_eq!(four.dc()[0b0_0000_0000], 2 | 1 << 6);
        // 0+1, 110+01; 1111 is no code.
        assert_eq!(four.whole()[0b0100_0000_0000], 1);
        assert_eq!(four.whole()[0b1100_1000_0000], -2);
        assert_eq!(four.whole()[0b1111_0000_0000], LONG);
        assert_eq!(four.ac()[0b110_0000_0000], 5 | 2 << 6 | 1 << 10);
        assert_eq!(four.ac()[0b111_1000_0000], 0);
        // 0+x is a difference, followed by 0+x, 110+xx, 10; 1110 is one, followed by five of 0+x; no code.
        assert_eq!(four.skip_all(&four)[0b0_1011_1011_1000], 11 | (1 + 1 + 2 + 128) << 8);
        assert_eq!(four.skip_all(&four)[0b1_1100_0000_0000], 14 | (1 + 5) << 8);
        assert_eq!(four.skip_all(&four)[0b1_1110_0000_0000], UNKNOWN << 8);
        let pair = |length, advance, first, values| Pair { length, advance, first, values };
        // 0+1, 110+01, 10: two values and the end.
        assert_eq!(four.pair()[0b011_1001_1000], pair(9, 1 + 2 + 128, 1, [1, -2]));
        // 0+0, 0+1, and the third is too many.
        assert_eq!(four.pair()[0b000_1000_0000], pair(4, 2, 1, [-1, 1]));
        // 10; 0+1 and sixteen zeros; sixteen zeros.
        assert_eq!(four.pair()[0b100_0000_0000], pair(2, 128, 0, [0, 0]));
        assert_eq!(four.pair()[0b011_1100_0000], pair(2, 1, 1, [1, 0]));
        assert_eq!(four.pair()[0b111_0000_0000], pair(0, Pair::UNKNOWN, 0, [0, 0]));
    }

    #[test]
    fn impossible_codes_are_refused() {
        let counts = |pairs: &[(usize, u8)]| {
            let mut counts = [0; 16];
            for &(length, count) in pairs {
                counts[length - 1] = count;
            }
            counts
        };
        assert!(Huffman::new(counts(&[(1, 1)]), &[1]).is_some());
        assert!(Huffman::new(counts(&[(1, 2)]), &[1, 2]).is_none(), "1 is all ones");
        assert!(Huffman::new(counts(&[(1, 1), (2, 2)]), &[1, 2, 3]).is_none(), "11 is all ones");
        assert!(Huffman::new(counts(&[(2, 5)]), &[1, 2, 3, 4, 5]).is_none());
        assert!(Huffman::new(counts(&[(8, 255)]), &[1, 2]).is_none(), "symbols are missing");
        assert!(Huffman::new([0; 16], &[]).is_some_and(|empty| empty.symbol(0).is_none()));
    }

    #[test]
    fn the_same_definition_is_derived_once() {
        let mut cache = Cache::default();
        let define = |cache: &mut Cache, symbol| {
            let mut counts = [0; 16];
            counts[3] = 1;
            cache.get(counts, &[symbol]).expect("the code is valid")
        };
        let first = define(&mut cache, 0);
        for symbol in 1..Cache::SIZE as u8 {
            define(&mut cache, symbol);
        }
        assert!(Arc::ptr_eq(&first, &define(&mut cache, 0)));
        for symbol in 1..=Cache::SIZE as u8 {
            define(&mut cache, symbol);
        }
        assert!(!Arc::ptr_eq(&first, &define(&mut cache, 0)), "forgotten");
        assert_eq!(cache.known.len(), Cache::SIZE);
    }
}
