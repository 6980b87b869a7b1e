//! One block of a sequential scan. This is where the time goes.
//!
//! What is on the path from one symbol to the next: a look-up, a shift. Everything rare is done in functions of their own
//! that take and give single numbers, so that the reading position stays in registers: one call that wants it in memory
//! has it written and read for every symbol, which takes half as long again.

use crate::bits::{Bits, signed};
use crate::huffman::{AC_BITS, DC_BITS, END, Huffman, PAIR_BITS, Pair, SKIP_BITS, Table};

/// A place in the zig-zag beyond all coefficients.
pub(crate) const DONE: usize = 64;
/// A place in the zig-zag that says that the data contains no valid code.
pub(crate) const BAD: usize = usize::MAX;

/// The data contains a code that the table does not.
pub(crate) struct BadCode;

/// Reads the difference of the first coefficient to that of the block before. At least 32 bits are left.
#[inline(always)]
pub(crate) fn difference(
    bits: Bits,
    buffer: &[u8],
    table: &Table<{ 1 << DC_BITS }>,
    code: &Huffman,
) -> Result<(Bits, i32), BadCode> {
    let bits = bits.refill(buffer);
    let entry = u32::from(table[bits.peek::<DC_BITS>()]);
    if entry == 0 {
        let (count, difference) = long_difference(bits.window, code)?;
        // Only a long one leaves too few bits.
        return Ok((bits.skip(count).refill(buffer), difference));
    }
    let size = entry >> 6;
    let length = (entry & 63) - size;
    Ok((bits.skip(entry), signed(bits.window << length, size)))
}

/// The difference that `window` begins with, whatever its length, which comes first.
#[cold]
#[inline(never)]
pub(crate) fn long_difference(window: u64, code: &Huffman) -> Result<(u32, i32), BadCode> {
    let (size, length) = code.symbol(window).ok_or(BadCode)?;
    let size = u32::from(size & 15);
    Ok((length + size, signed(window << length, size)))
}

/// Skips the coefficients after the first. Needs 28 bits.
#[inline(always)]
pub(crate) fn skip_rest(
    mut bits: Bits,
    buffer: &[u8],
    table: &Table<{ 1 << SKIP_BITS }>,
    code: &Huffman,
) -> Result<Bits, BadCode> {
    let mut place = 1;
    // An entry takes at most 28 bits: codes within 13 bits, and up to 15 extra bits.
    macro_rules! look_up {
        () => {
            let entry = table[bits.peek::<SKIP_BITS>()];
            let next = place + usize::from(entry >> 8);
            if next < DONE {
                place = next;
                bits = bits.skip(u32::from(entry));
            } else if next.wrapping_sub(END) < DONE {
                return Ok(bits.skip(u32::from(entry)));
            } else {
                bits = bits.refill(buffer);
                let count;
                (count, place) = skip_one(bits.window, code, place);
                bits = bits.skip(count).refill(buffer);
                if place >= DONE {
                    return if place == BAD { Err(BadCode) } else { Ok(bits) };
                }
            }
        };
    }
    loop {
        look_up!();
        bits = bits.refill(buffer);
        look_up!();
    }
}

/// The length of the symbol that `window` begins with, and the place after it. It is one that the table does not know, or it
/// knows too many at once.
#[cold]
#[inline(never)]
pub(crate) fn skip_one(window: u64, code: &Huffman, place: usize) -> (u32, usize) {
    match code.symbol(window) {
        None => (0, BAD),
        Some((symbol, length)) => {
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            let place = match (run, size) {
                (15, 0) => place + 16,
                (_, 0) => DONE,
                (run, _) => place + run + 1,
            };
            (length + size, place)
        }
    }
}

/// Calls `add` with the places in the zig-zag of the coefficients after the first and what to add to them, which is 0 for some
/// that do not come. Returns the place after the last of them. Needs 28 bits.
#[inline(always)]
pub(crate) fn each_rest(
    mut bits: Bits,
    buffer: &[u8],
    tables: &RestTables,
    code: &Huffman,
    mut add: impl FnMut(usize, i32),
) -> Result<(Bits, usize), BadCode> {
    let mut place = 1;
    macro_rules! look_up {
        () => {
            let pair = &tables.pair[bits.peek::<PAIR_BITS>()];
            let next = place + usize::from(pair.advance);
            if next < DONE {
                add(place + usize::from(pair.first) - 1, i32::from(pair.values[0]));
                add(next - 1, i32::from(pair.values[1]));
                place = next;
                bits = bits.skip(u32::from(pair.length));
            } else if next.wrapping_sub(END) < DONE {
                add(place + usize::from(pair.first) - 1, i32::from(pair.values[0]));
                add(next - END - 1, i32::from(pair.values[1]));
                return Ok((bits.skip(u32::from(pair.length)), next - END));
            } else {
                // One symbol. It takes at most 26 bits: a code within 11 bits, and up to 15 extra bits.
                bits = bits.refill(buffer);
                let entry = u32::from(tables.single[bits.peek::<AC_BITS>()]);
                let (run, size) = ((entry >> 10) as usize, entry >> 6 & 15);
                if size > 0 {
                    place += run + 1;
                    let length = (entry & 63) - size;
                    // Beyond the block, its last coefficient is meant, as in libjpeg.
                    add((place - 1).min(63), signed(bits.window << length, size));
                    bits = bits.skip(entry).refill(buffer);
                } else if entry > 0 && run < 15 {
                    return Ok((bits.skip(entry), place));
                } else {
                    let (count, next, value) = one(bits.window, code, place);
                    bits = bits.skip(count).refill(buffer);
                    if next == BAD {
                        return Err(BadCode);
                    }
                    if next == END {
                        return Ok((bits, place));
                    }
                    place = next;
                    add((place - 1).min(63), value);
                }
                if place >= DONE {
                    return Ok((bits, DONE));
                }
            }
        };
    }
    // A pair takes at most 11 bits.
    look_up!();
    look_up!();
    loop {
        bits = bits.refill(buffer);
        look_up!();
        look_up!();
        look_up!();
        look_up!();
    }
}

/// What [`each_rest`] looks symbols up in.
#[derive(Clone, Copy)]
pub(crate) struct RestTables<'t> {
    pair: &'t [Pair; 1 << PAIR_BITS],
    single: &'t Table<{ 1 << AC_BITS }>,
}

impl<'t> RestTables<'t> {
    pub(crate) fn of(code: &'t Huffman) -> Self {
        Self { pair: code.pair(), single: code.ac() }
    }
}

/// The length of the symbol that `window` begins with, whatever that is, the place after it or [`END`], and the coefficient
/// at the place before that, if it has one.
#[cold]
#[inline(never)]
fn one(window: u64, code: &Huffman, place: usize) -> (u32, usize, i32) {
    let Some((symbol, length)) = code.symbol(window) else { return (0, BAD, 0) };
    let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
    match (run, size) {
        (15, 0) => (length, place + 16, 0),
        (_, 0) => (length, END, 0),
        (run, size) => (length + size, place + run + 1, signed(window << length, size)),
    }
}
