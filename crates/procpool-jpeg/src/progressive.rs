//! Progressive pictures: of their scans only those are decoded that the reduced picture needs. The others are not looked
//! at, except for where they end.

use std::hint::select_unpredictable;

use crate::bits::{Bits, Feed, Short, signed, skip_scan};
use crate::block::{BadCode, difference};
use crate::huffman::{AC_BITS, DC_BITS, Huffman, Table};
use crate::layout::{Blocks, Grid, Layout};
use crate::marker::{Frame, Parser, Quant, Scan};
use crate::part::put;
use crate::restart::Restarts;
use crate::simd::vectorised;
use crate::transform::{KEPT, KeptWeights, NEEDED, PLACE_OF, Weights, ZIGZAG, mean, means, two_by_two};
use crate::wide::{Steps, eight_by_eight, four_by_four};
use crate::{Error, Limits};

/// What is known of a channel so far.
struct Channel {
    blocks: Blocks,
    /// The quantization table in force when the channel's first scan came.
    quant: Option<Quant>,
    /// For each coefficient, the bit position to which it is known; nothing if it is not.
    known_to: [Option<u8>; 64],
    /// The first coefficient of each block.
    dc: Vec<i16>,
    /// The others, if they are needed.
    rest: Option<Rest>,
}

/// Coefficients after the first. Those that make no difference to the samples are kept track of only as far as decoding
/// the others takes.
struct Rest {
    /// For each block, which coefficients are not zero, one bit each.
    nonzero: Vec<u64>,
    /// For each block, the coefficients that are kept.
    values: Vec<i16>,
    kept: Kept,
}

/// Which coefficients of a block are kept.
#[derive(Clone, Copy)]
enum Kept {
    /// For 2 x 2 samples those that make a difference.
    Some,
    All,
}

impl Kept {
    /// How many.
    fn count(self) -> usize {
        match self {
            Self::Some => KEPT,
            Self::All => 64,
        }
    }
}

/// Decodes the scans, of which `scan` is the first, into a plane of samples per channel.
pub(crate) fn decode(
    feed: &mut Feed,
    input: &[u8],
    parser: &mut Parser,
    frame: &Frame,
    layout: &Layout,
    scan: Scan,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut channels: Vec<Channel> = layout.blocks.iter().map(|&blocks| Channel::new(blocks)).collect();
    let mut next = Some(scan);
    let mut scans = 0;
    while let Some(scan) = next {
        scans += 1;
        if scans > limits.max_scans {
            return Err(Error::TooManyScans);
        }
        for part in &scan.parts {
            let channel = &mut channels[part.channel];
            if channel.quant.is_none() {
                channel.quant = Some(parser.quant(frame.channels[part.channel])?);
            }
            channel.note(&scan)?;
        }
        let end = match (&scan.parts[..], scan.band) {
            (_, (0, 0)) => {
                let grid = layout.grid(&scan)?;
                decode_means(feed, &scan, &grid, &mut channels)?;
                feed.marker()
            }
            ([part], (1.., _)) => match &mut channels[part.channel] {
                Channel { blocks, rest: Some(rest), .. } => {
                    let huffman = part.ac.as_deref().ok_or(missing_table(&scan))?;
                    decode_rest(feed, &scan, huffman, blocks, rest)?;
                    feed.marker()
                }
                _ => skip_scan(input, scan.data),
            },
            _ => return Err(Error::Damaged { what: "a scan has an impossible band", at: scan.data }),
        };
        parser.jump(end);
        next = parser.next_scan()?;
    }
    // With less, libjpeg guesses what is missing.
    let complete = |channel: &Channel| channel.known_to[0].is_some() && channel.known_to[1..10] == [Some(0); 9];
    if !channels.iter().all(complete) {
        return Err(Error::Unsupported("scans that are missing"));
    }
    channels.into_iter().map(Channel::samples).collect()
}

fn missing_table(scan: &Scan) -> Error {
    Error::Damaged { what: "a Huffman table is missing", at: scan.data }
}

impl Channel {
    fn new(blocks: Blocks) -> Self {
        let count = blocks.count();
        let kept = if blocks.samples == 2 { Kept::Some } else { Kept::All };
        let rest = || Rest { nonzero: vec![0; count], values: vec![0; kept.count() * count], kept };
        Self { blocks, quant: None, known_to: [None; 64], dc: vec![0; count], rest: (blocks.samples > 1).then(rest) }
    }

    /// Notes what a scan makes known. Scans that do not follow from those before are left to a complete decoder.
    fn note(&mut self, scan: &Scan) -> Result<(), Error> {
        let (first, last) = (usize::from(scan.band.0), usize::from(scan.band.1));
        let in_band = first <= last && last < 64 && (first > 0) == (last > 0) && (first == 0 || scan.parts.len() == 1);
        if !in_band || scan.low > 13 || scan.high > 0 && scan.low + 1 != scan.high {
            return Err(Error::Damaged { what: "a scan has impossible parameters", at: scan.data });
        }
        let expected = (scan.high > 0).then_some(scan.high);
        let (dc, band) = (self.known_to[0], &mut self.known_to[first..=last]);
        if first > 0 && dc.is_none() || band.iter().any(|&known| known != expected) {
            return Err(Error::Unsupported("scans in an unusual order"));
        }
        band.fill(Some(scan.low));
        Ok(())
    }

    /// The samples of all blocks.
    fn samples(self) -> Result<Vec<u8>, Error> {
        let quant = self.quant.ok_or(Error::Unsupported("scans that are missing"))?;
        let step = i32::from(quant[0]);
        let Some(rest) = self.rest else {
            let mut plane = vec![0; self.dc.len()];
            means(&mut plane, &self.dc, step);
            return Ok(plane);
        };
        let samples = self.blocks.samples;
        let mut plane = vec![0; samples * samples * self.blocks.count()];
        let (plane_of, dcs, nonzero) = (&mut plane[..], &self.dc[..], &rest.nonzero[..]);
        let (across, stride) = (self.blocks.all.0, self.blocks.stride());
        match rest.kept {
            Kept::Some => {
                let weights = KeptWeights::new(&Weights::new(&quant));
                let blocks = dcs.iter().zip(nonzero).zip(rest.values.as_chunks().0).enumerate();
                vectorised(
                    #[inline(always)]
                    || {
                        for (index, ((&dc, &nonzero), values)) in blocks {
                            let dc = i32::from(dc) * step;
                            let samples = match nonzero & NEEDED {
                                0 => [[mean(dc); 2]; 2],
                                _ => two_by_two(&weights.sums(dc, values)),
                            };
                            put(plane_of, stride, index / across, index % across, &samples);
                        }
                    },
                );
            }
            Kept::All => {
                let steps = Steps::new(&quant);
                let blocks = dcs.iter().zip(nonzero).zip(rest.values.as_chunks::<64>().0).enumerate();
                for (index, ((&dc, &nonzero), values)) in blocks {
                    let (row, column) = (index / across, index % across);
                    // The place after the last coefficient that is not zero.
                    let end = 64 - (nonzero | 1).leading_zeros() as usize;
                    let mean = || mean(i32::from(dc) * step);
                    let block = || {
                        let mut block = [0; 64];
                        let places = nonzero & !1;
                        each_bit(places, |place| {
                            steps.add(&mut block, place, i32::from(values[usize::from(ZIGZAG[place])]));
                        });
                        steps.add(&mut block, 0, i32::from(dc));
                        block
                    };
                    match samples {
                        4 if end == 1 => put(plane_of, stride, row, column, &[[mean(); 4]; 4]),
                        4 => put(plane_of, stride, row, column, &four_by_four(&block(), end)),
                        _ if end == 1 => put(plane_of, stride, row, column, &[[mean(); 8]; 8]),
                        _ => put(plane_of, stride, row, column, &eight_by_eight(&block(), end)),
                    }
                }
            }
        }
        Ok(plane)
    }
}

/// Calls `each` with the place of every bit that is set.
#[inline(always)]
fn each_bit(mut bits: u64, mut each: impl FnMut(usize)) {
    while bits != 0 {
        each(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// What a channel has to do with a scan of first coefficients.
struct Means<'t> {
    code: Option<(&'t Huffman, &'t Table<{ 1 << DC_BITS }>)>,
    /// Blocks of an MCU across and down.
    in_mcu: (usize, usize),
    /// Blocks in a row.
    stride: usize,
    dc: Vec<i16>,
    last: i16,
}

/// A scan of first coefficients.
fn decode_means(feed: &mut Feed, scan: &Scan, grid: &Grid, channels: &mut [Channel]) -> Result<(), Error> {
    let mut parts = Vec::with_capacity(scan.parts.len());
    for (part, &in_mcu) in scan.parts.iter().zip(&grid.in_mcu) {
        let code = if scan.high > 0 {
            None
        } else {
            let huffman = part.dc.as_deref().ok_or(missing_table(scan))?;
            if !huffman.is_for_dc() {
                return Err(Error::Damaged { what: "a Huffman table has sizes that are too large", at: scan.data });
            }
            Some((huffman, huffman.dc()))
        };
        let channel = &mut channels[part.channel];
        let dc = std::mem::take(&mut channel.dc);
        parts.push(Means { code, in_mcu, stride: channel.blocks.all.0, dc, last: 0 });
    }
    let parts_of = &mut parts[..];
    vectorised(
        #[inline(always)]
        || match scan.high {
            0 => decode_mcus::<false>(feed, scan, grid, parts_of),
            _ => decode_mcus::<true>(feed, scan, grid, parts_of),
        },
    )?;
    for (part, means) in scan.parts.iter().zip(parts) {
        channels[part.channel].dc = means.dc;
    }
    Ok(())
}

#[inline(always)]
fn decode_mcus<const REFINES: bool>(
    feed: &mut Feed,
    scan: &Scan,
    grid: &Grid,
    parts: &mut [Means],
) -> Result<(), Error> {
    let mut restarts = Restarts::new(scan.restart);
    feed.start(scan.data);
    let mut bits = Bits::NONE;
    for y in 0..grid.mcus.1 {
        for x in 0..grid.mcus.0 {
            bits = feed.ready(bits).map_err(|Short| Error::Truncated)?;
            if restarts.due() {
                restarts.next(feed)?;
                bits = Bits::NONE;
                parts.iter_mut().for_each(|part| part.last = 0);
            }
            if REFINES {
                // A bit for each block, of which there are ten at most.
                bits = bits.refill(feed.buffer());
            }
            for part in &mut *parts {
                let (across, down) = part.in_mcu;
                for row in y * down..(y + 1) * down {
                    for dc in &mut part.dc[row * part.stride..][x * across..][..across] {
                        if let (false, Some((huffman, table))) = (REFINES, part.code) {
                            let difference;
                            (bits, difference) = self::difference(bits, feed.buffer(), table, huffman)
                                .map_err(|BadCode| feed.invalid())?;
                            part.last = part.last.wrapping_add(difference as i16);
                            *dc = part.last << scan.low;
                        } else {
                            *dc |= (bits.number(1) as i16) << scan.low;
                            bits = bits.skip(1);
                        }
                    }
                }
            }
        }
    }
    feed.ready(bits).map(|_| ()).map_err(|Short| Error::Truncated)
}

/// A scan of coefficients after the first.
fn decode_rest(feed: &mut Feed, scan: &Scan, huffman: &Huffman, blocks: &Blocks, rest: &mut Rest) -> Result<(), Error> {
    let (first, last) = (usize::from(scan.band.0), usize::from(scan.band.1));
    let (place_of, kept) = match rest.kept {
        Kept::Some => (&PLACE_OF, NEEDED),
        Kept::All => (&ZIGZAG, u64::MAX),
    };
    let band = Band { huffman, table: huffman.ac(), place_of, kept, first, last, low: scan.low, ended: 0 };
    let nonzero = &mut rest.nonzero[..];
    match rest.kept {
        Kept::Some => {
            let values = rest.values.as_chunks_mut::<KEPT>().0;
            vectorised(
                #[inline(always)]
                || decode_band(feed, scan, band, blocks, nonzero, values),
            )
        }
        Kept::All => {
            let values = rest.values.as_chunks_mut::<64>().0;
            vectorised(
                #[inline(always)]
                || decode_band(feed, scan, band, blocks, nonzero, values),
            )
        }
    }
}

#[inline(always)]
fn decode_band<const KEPT: usize>(
    feed: &mut Feed,
    scan: &Scan,
    mut band: Band,
    blocks: &Blocks,
    nonzero: &mut [u64],
    values: &mut [[i16; KEPT]],
) -> Result<(), Error> {
    let mut restarts = Restarts::new(scan.restart);
    feed.start(scan.data);
    let mut bits = Bits::NONE;
    let rows = nonzero.chunks_exact_mut(blocks.all.0).zip(values.chunks_exact_mut(blocks.all.0));
    for (nonzero, values) in rows.take(blocks.used.1) {
        for (nonzero, values) in nonzero.iter_mut().zip(values).take(blocks.used.0) {
            bits = feed.ready(bits).map_err(|Short| Error::Truncated)?;
            if restarts.due() {
                restarts.next(feed)?;
                bits = Bits::NONE;
                band.ended = 0;
            }
            let decoded = match scan.high {
                0 => band.begin(bits, feed.buffer(), nonzero, values),
                _ => band.refine(bits, feed.buffer(), nonzero, values),
            };
            bits = decoded.map_err(|BadCode| feed.invalid())?;
        }
    }
    feed.ready(bits).map(|_| ()).map_err(|Short| Error::Truncated)
}

/// Coefficients of a block in a scan.
struct Band<'t> {
    huffman: &'t Huffman,
    table: &'t Table<{ 1 << AC_BITS }>,
    /// Where among those that are kept each coefficient of the zig-zag is.
    place_of: &'static [u8; 64],
    /// A bit for each place whose coefficient is kept.
    kept: u64,
    first: usize,
    last: usize,
    low: u8,
    /// So many blocks, beginning with the next, contain nothing new.
    ended: u32,
}

/// A symbol of a scan: zeros to pass and then a value of so many bits, or the end of this block and more.
enum Symbol {
    Value { run: usize, size: u32 },
    Zeros,
    End { size: u32 },
}

impl Band<'_> {
    /// The next symbol. At least 40 bits are left.
    #[inline(always)]
    fn symbol(&self, bits: Bits, buffer: &[u8]) -> Result<(Bits, Symbol), BadCode> {
        let bits = bits.refill(buffer);
        let entry = u32::from(self.table[bits.peek::<AC_BITS>()]);
        let (length, run, size) = match entry {
            0 => {
                let (symbol, length) = self.huffman.symbol(bits.window).ok_or(BadCode)?;
                (length, u32::from(symbol >> 4), u32::from(symbol & 15))
            }
            _ => ((entry & 63) - (entry >> 6 & 15), entry >> 10, entry >> 6 & 15),
        };
        let symbol = match (run, size) {
            (15, 0) => Symbol::Zeros,
            (size, 0) => Symbol::End { size },
            (run, size) => Symbol::Value { run: run as usize, size },
        };
        Ok((bits.skip(length), symbol))
    }

    /// The first scan of the band: values that are zero so far.
    #[inline(always)]
    fn begin<const KEPT: usize>(
        &mut self,
        mut bits: Bits,
        buffer: &[u8],
        nonzero: &mut u64,
        values: &mut [i16; KEPT],
    ) -> Result<Bits, BadCode> {
        if self.ended > 0 {
            self.ended -= 1;
            return Ok(bits);
        }
        let mut place = self.first;
        while place <= self.last {
            let symbol;
            (bits, symbol) = self.symbol(bits, buffer)?;
            match symbol {
                Symbol::Zeros => place += 16,
                Symbol::Value { run, size } => {
                    place += run;
                    self.set(nonzero, values, place, (signed(bits.window, size) as i16) << self.low);
                    bits = bits.skip(size);
                    place += 1;
                }
                Symbol::End { size } => {
                    self.ended = (1 << size) + bits.number(size) - 1;
                    return Ok(bits.skip(size));
                }
            }
        }
        Ok(bits)
    }

    /// A later scan of the band: one more bit of what is not zero, and values that become nonzero with it.
    #[inline(always)]
    fn refine<const KEPT: usize>(
        &mut self,
        mut bits: Bits,
        buffer: &[u8],
        nonzero: &mut u64,
        values: &mut [i16; KEPT],
    ) -> Result<Bits, BadCode> {
        let band = u64::MAX >> (63 - self.last);
        let mut place = self.first;
        // Each of these has a bit somewhere in the block. They are gathered, and added in the end.
        let known = *nonzero & band & u64::MAX << place;
        let mut gathered = 0;
        let mut beyond = 0;
        while self.ended == 0 && place <= self.last {
            let symbol;
            (bits, symbol) = self.symbol(bits, buffer)?;
            let (zeros, value) = match symbol {
                Symbol::Zeros => (15, 0),
                Symbol::Value { run, size: 1 } => {
                    let value = if bits.number(1) == 1 { 1 } else { -1 };
                    bits = bits.skip(1);
                    (run, value << self.low)
                }
                Symbol::Value { .. } => return Err(BadCode),
                Symbol::End { size } => {
                    self.ended = (1 << size) + bits.number(size);
                    bits = bits.skip(size);
                    break;
                }
            };
            let zero = nth_bit(band & u64::MAX << place & !*nonzero, zeros);
            // Before that one, or all if there is none.
            let passed = known & u64::MAX << place & zero.wrapping_sub(1);
            bits = gather(bits, buffer, passed.count_ones(), &mut gathered);
            if zero == 0 {
                (place, beyond) = (self.last + 1, value);
                break;
            }
            place = zero.trailing_zeros() as usize;
            if value != 0 {
                self.set(nonzero, values, place, value);
            }
            place += 1;
        }
        if self.ended > 0 {
            self.ended -= 1;
            if place <= self.last {
                // If this block had ended before it began, nothing has been read of it.
                bits = bits.refill(buffer);
                bits = gather(bits, buffer, (known & u64::MAX << place).count_ones(), &mut gathered);
            }
        }
        self.correct(known, gathered, values);
        if beyond != 0 {
            self.set(nonzero, values, place, beyond);
        }
        Ok(bits)
    }

    /// Adds the next bit of the values at these places. The last one's is the lowest.
    #[inline(always)]
    fn correct<const KEPT: usize>(&self, places: u64, gathered: u64, values: &mut [i16; KEPT]) {
        let gathered = gathered.wrapping_shl(64 - places.count_ones());
        each_bit(places & self.kept, |place| {
            let index = (places & ((1 << place) - 1)).count_ones();
            let value = &mut values[usize::from(self.place_of[place & 63]) % KEPT];
            // It is there already in damaged files alone.
            let one = ((gathered << index >> 63) as i16) << self.low & !*value;
            *value = value.wrapping_add(select_unpredictable(*value < 0, -one, one));
        });
    }

    /// Sets a coefficient. Beyond the block, its last one is meant, as in libjpeg.
    #[inline(always)]
    fn set<const KEPT: usize>(&self, nonzero: &mut u64, values: &mut [i16; KEPT], place: usize, value: i16) {
        let place = place.min(63);
        *nonzero = *nonzero & !(1 << place) | u64::from(value != 0) << place;
        values[usize::from(self.place_of[place]) % KEPT] = value;
    }
}

/// The bit that is set after so many that are, from the lowest on; 0 if there is none.
#[inline(always)]
fn nth_bit(mut bits: u64, count: usize) -> u64 {
    // Mostly there are few, and how many cannot be foretold.
    const FEW: usize = 4;
    for index in 0..FEW {
        bits = select_unpredictable(index < count, bits & bits.wrapping_sub(1), bits);
    }
    for _ in FEW..count {
        bits &= bits.wrapping_sub(1);
    }
    bits & bits.wrapping_neg()
}

/// Appends the next `count` bits, up to 63. There are 24 already.
#[inline(always)]
fn gather(mut bits: Bits, buffer: &[u8], mut count: u32, gathered: &mut u64) -> Bits {
    while count > 24 {
        bits = bits.refill(buffer);
        *gathered = *gathered << 24 | u64::from(bits.number(24));
        bits = bits.skip(24).refill(buffer);
        count -= 24;
    }
    *gathered = *gathered << count | u64::from(bits.number(count));
    bits.skip(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_by_their_number() {
        let bits = 0b1011_0100;
        for (count, expected) in [(0, 1 << 2), (1, 1 << 4), (2, 1 << 5), (3, 1 << 7), (4, 0), (15, 0)] {
            assert_eq!(nth_bit(bits, count), expected);
        }
        assert_eq!(nth_bit(u64::MAX, 15), 1 << 15);
        assert_eq!(nth_bit(0, 0), 0);
    }

    #[test]
    fn bits_are_gathered_across_refills() {
        let buffer: Vec<u8> = (0..100u8).map(|byte| byte.wrapping_mul(37)).collect();
        let bit = |at: usize| u64::from(buffer[at / 8] >> (7 - at % 8) & 1);
        let (mut bits, mut at) = (Bits::NONE, 0);
        for count in [0, 1, 24, 25, 63, 0, 48, 49, 7] {
            let mut gathered = 1;
            bits = gather(bits.refill(&buffer), &buffer, count as u32, &mut gathered);
            assert_eq!(gathered, (at..at + count).fold(1, |sum, at| sum << 1 | bit(at)));
            at += count;
        }
    }
}
