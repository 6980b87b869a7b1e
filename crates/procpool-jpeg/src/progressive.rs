//! Progressive pictures: of their scans only those are decoded that the reduced picture needs. The others are not looked
//! at, except for where they end.

use crate::bits::{Bits, Feed, Short, signed, skip_scan};
use crate::block::{BadCode, difference};
use crate::huffman::{AC_BITS, Huffman};
use crate::layout::{Blocks, Grid, Layout};
use crate::marker::{Frame, Parser, Quant, Scan};
use crate::part::put;
use crate::restart::Restarts;
use crate::transform::{NEEDED, NEEDED_BITS, PLACE_OF, Weights, ZIGZAG, mean, two_by_two};
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
    /// How many are kept of a block.
    kept: usize,
    /// Where among them each coefficient of the zig-zag is; a number beyond the end if it is not.
    place_of: &'static [u8; 64],
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
        // For 2 x 2 samples those that make a difference, otherwise all of them.
        let (kept, place_of) = if blocks.samples == 2 { (NEEDED.len(), &PLACE_OF) } else { (64, &ZIGZAG) };
        let rest = || Rest { nonzero: vec![0; count], values: vec![0; kept * count], kept, place_of };
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
        let mean_of = |&dc: &i16| mean(i32::from(dc) * step);
        let Some(rest) = self.rest else { return Ok(self.dc.iter().map(mean_of).collect()) };

        let stride = self.blocks.stride();
        let samples = self.blocks.samples;
        let mut plane = vec![0; samples * samples * self.blocks.count()];
        let weights = Weights::new(&quant);
        let steps = Steps::new(&quant);
        let blocks = self.dc.iter().zip(&rest.nonzero).zip(rest.values.chunks_exact(rest.kept));
        for (index, ((dc, &nonzero), values)) in blocks.enumerate() {
            let (row, column) = (index / self.blocks.all.0, index % self.blocks.all.0);
            // The place after the last coefficient that is not zero.
            let end = 64 - (nonzero | 1).leading_zeros() as usize;
            let block = || {
                let mut block = [0; 64];
                let places = nonzero & !1;
                each_bit(places, |place| {
                    steps.add(&mut block, place, i32::from(values[usize::from(ZIGZAG[place])]));
                });
                steps.add(&mut block, 0, i32::from(*dc));
                block
            };
            match samples {
                2 if nonzero & NEEDED_BITS == 0 => put(&mut plane, stride, row, column, &[[mean_of(dc); 2]; 2]),
                2 => {
                    let mut sums = [0; 16];
                    weights.add(&mut sums, 0, i32::from(*dc));
                    for (&place, &value) in NEEDED.iter().zip(values) {
                        weights.add(&mut sums, usize::from(place), i32::from(value));
                    }
                    put(&mut plane, stride, row, column, &two_by_two(&sums));
                }
                4 if end == 1 => put(&mut plane, stride, row, column, &[[mean_of(dc); 4]; 4]),
                4 => put(&mut plane, stride, row, column, &four_by_four(&block(), end)),
                _ if end == 1 => put(&mut plane, stride, row, column, &[[mean_of(dc); 8]; 8]),
                _ => put(&mut plane, stride, row, column, &eight_by_eight(&block(), end)),
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

/// A scan of first coefficients.
fn decode_means(feed: &mut Feed, scan: &Scan, grid: &Grid, channels: &mut [Channel]) -> Result<(), Error> {
    let refines = scan.high > 0;
    let mut tables = Vec::with_capacity(scan.parts.len());
    if !refines {
        for part in &scan.parts {
            let huffman = part.dc.as_deref().ok_or(missing_table(scan))?;
            if !huffman.is_for_dc() {
                return Err(Error::Damaged { what: "a Huffman table has sizes that are too large", at: scan.data });
            }
            tables.push((huffman, huffman.dc()));
        }
    }
    let mut last = [0i16; 4];
    let mut restarts = Restarts::new(scan.restart);
    feed.start(scan.data);
    let mut bits = Bits::NONE;
    for y in 0..grid.mcus.1 {
        for x in 0..grid.mcus.0 {
            bits = feed.ready(bits).map_err(|Short| Error::Truncated)?;
            if restarts.due() {
                restarts.next(feed)?;
                bits = Bits::NONE;
                last = [0; 4];
            }
            for (index, (part, &(across, down))) in scan.parts.iter().zip(&grid.in_mcu).enumerate() {
                let channel = &mut channels[part.channel];
                for row in y * down..(y + 1) * down {
                    for column in x * across..(x + 1) * across {
                        let dc = &mut channel.dc[row * channel.blocks.all.0 + column];
                        if refines {
                            bits = bits.refill(feed.buffer());
                            *dc |= (bits.number(1) as i16) << scan.low;
                            bits = bits.skip(1);
                        } else {
                            let (huffman, table) = tables[index];
                            let difference;
                            (bits, difference) = self::difference(bits, feed.buffer(), table, huffman)
                                .map_err(|BadCode| feed.invalid())?;
                            last[index] = last[index].wrapping_add(difference as i16);
                            *dc = last[index] << scan.low;
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
    let mut band = Band { huffman, place_of: rest.place_of, first, last, low: scan.low, ended: 0 };
    let mut restarts = Restarts::new(scan.restart);
    feed.start(scan.data);
    let mut bits = Bits::NONE;
    for row in 0..blocks.used.1 {
        for column in 0..blocks.used.0 {
            bits = feed.ready(bits).map_err(|Short| Error::Truncated)?;
            if restarts.due() {
                restarts.next(feed)?;
                bits = Bits::NONE;
                band.ended = 0;
            }
            let block = row * blocks.all.0 + column;
            let (nonzero, values) = (&mut rest.nonzero[block], &mut rest.values[rest.kept * block..][..rest.kept]);
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
    place_of: &'static [u8; 64],
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
        let entry = u32::from(self.huffman.ac()[bits.peek::<AC_BITS>()]);
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
    fn begin(&mut self, mut bits: Bits, buffer: &[u8], nonzero: &mut u64, values: &mut [i16]) -> Result<Bits, BadCode> {
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
    fn refine(
        &mut self,
        mut bits: Bits,
        buffer: &[u8],
        nonzero: &mut u64,
        values: &mut [i16],
    ) -> Result<Bits, BadCode> {
        let mut place = self.first;
        while self.ended == 0 && place <= self.last {
            let symbol;
            (bits, symbol) = self.symbol(bits, buffer)?;
            let (mut zeros, value) = match symbol {
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
            while place <= self.last {
                if *nonzero >> place & 1 == 1 {
                    bits = self.correct(bits, buffer, values, place);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                place += 1;
            }
            if value != 0 {
                self.set(nonzero, values, place, value);
            }
            place += 1;
        }
        if self.ended > 0 {
            self.ended -= 1;
            // What lies from `place` on, within the band, and is not zero.
            let mut left =
                if place > self.last { 0 } else { *nonzero >> place << place & u64::MAX >> (63 - self.last) };
            while left != 0 {
                bits = self.correct(bits, buffer, values, left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
        Ok(bits)
    }

    /// Reads one more bit of a value.
    #[inline(always)]
    fn correct(&self, bits: Bits, buffer: &[u8], values: &mut [i16], place: usize) -> Bits {
        let bits = bits.refill(buffer);
        let one = 1 << self.low;
        if bits.number(1) == 1
            && let Some(value) = values.get_mut(usize::from(self.place_of[place & 63]))
            && *value & one == 0
        {
            *value = if *value >= 0 { value.wrapping_add(one) } else { value.wrapping_sub(one) };
        }
        bits.skip(1)
    }

    /// Sets a coefficient. Beyond the block, its last one is meant, as in libjpeg.
    #[inline(always)]
    fn set(&self, nonzero: &mut u64, values: &mut [i16], place: usize, value: i16) {
        let place = place.min(63);
        *nonzero = *nonzero & !(1 << place) | u64::from(value != 0) << place;
        if let Some(kept) = values.get_mut(usize::from(self.place_of[place])) {
            *kept = value;
        }
    }
}
