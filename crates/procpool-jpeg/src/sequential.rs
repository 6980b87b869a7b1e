//! Sequential pictures: each block becomes samples as soon as it has been read.

use crate::bits::{Bits, Feed, Short};
use crate::block::{BadCode, RestTables, difference, each_rest, skip_rest};
use crate::huffman::{DC_BITS, Huffman, SKIP_BITS, Table};
use crate::layout::{Blocks, Layout};
use crate::marker::{Frame, Parser, Scan};
use crate::restart::Restarts;
use crate::transform::{Weights, mean, two_by_two};
use crate::wide::{Steps, eight_by_eight, four_by_four};
use crate::{Error, Limits};

/// One channel of a scan, with all that its blocks need.
struct Part<'t> {
    dc_code: &'t Huffman,
    dc: &'t Table<{ 1 << DC_BITS }>,
    rest_code: &'t Huffman,
    rest: Rest<'t>,
    /// The quantization step of the first coefficient.
    step: i32,
    /// The first coefficient of the block before.
    last: i16,
    /// Blocks of an MCU across and down.
    in_mcu: (usize, usize),
    blocks: Blocks,
    plane: Vec<u8>,
}

/// What is to be done with the coefficients after the first: by the samples that a block becomes.
enum Rest<'t> {
    One(&'t Table<{ 1 << SKIP_BITS }>),
    Two(RestTables<'t>, Box<Weights>),
    Four(RestTables<'t>, Box<Steps>),
    Eight(RestTables<'t>, Box<Steps>),
}

/// Decodes the scans, of which `scan` is the first, into a plane of samples per channel.
pub(crate) fn decode(
    feed: &mut Feed,
    parser: &mut Parser,
    frame: &Frame,
    layout: &Layout,
    scan: Scan,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut planes = vec![Vec::new(); frame.channels.len()];
    let mut scan = scan;
    for _ in 0..limits.max_scans {
        decode_scan(feed, parser, frame, layout, &scan, &mut planes)?;
        if planes.iter().all(|plane| !plane.is_empty()) {
            return Ok(planes);
        }
        parser.jump(feed.marker());
        scan = parser.next_scan()?.ok_or(Error::Unsupported("no data for a channel"))?;
    }
    Err(Error::TooManyScans)
}

fn decode_scan(
    feed: &mut Feed,
    parser: &Parser,
    frame: &Frame,
    layout: &Layout,
    scan: &Scan,
    planes: &mut [Vec<u8>],
) -> Result<(), Error> {
    let missing = Error::Damaged { what: "a Huffman table is missing", at: scan.data };
    let grid = layout.grid(scan)?;
    let mut parts = Vec::with_capacity(scan.parts.len());
    for (part, &in_mcu) in scan.parts.iter().zip(&grid.in_mcu) {
        let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else { return Err(missing) };
        if !dc.is_for_dc() {
            return Err(Error::Damaged { what: "a Huffman table has sizes that are too large", at: scan.data });
        }
        if !planes[part.channel].is_empty() {
            return Err(Error::Unsupported("a channel that comes twice"));
        }
        let quant = parser.quant(frame.channels[part.channel])?;
        let blocks = layout.blocks[part.channel];
        let rest = match blocks.samples {
            1 => Rest::One(ac.skip()),
            2 => Rest::Two(RestTables::of(ac), Box::new(Weights::new(&quant))),
            4 => Rest::Four(RestTables::of(ac), Box::new(Steps::new(&quant))),
            _ => Rest::Eight(RestTables::of(ac), Box::new(Steps::new(&quant))),
        };
        let plane = vec![0; blocks.count() * blocks.samples * blocks.samples];
        let step = i32::from(quant[0]);
        parts.push(Part { dc_code: dc, dc: dc.dc(), rest_code: ac, rest, step, last: 0, in_mcu, blocks, plane });
    }

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
            let buffer = feed.buffer();
            for part in &mut parts {
                bits = part
                    .mcu(bits, buffer, x, y)
                    .map_err(|BadCode| Error::Damaged { what: "the data contains an invalid code", at: feed.near() })?;
            }
        }
    }
    feed.ready(bits).map_err(|Short| Error::Truncated)?;
    for (part, scanned) in parts.into_iter().zip(&scan.parts) {
        planes[scanned.channel] = part.plane;
    }
    Ok(())
}

impl Part<'_> {
    /// The blocks of this channel in the MCU at (`x`, `y`).
    #[inline(always)]
    fn mcu(&mut self, mut bits: Bits, buffer: &[u8], x: usize, y: usize) -> Result<Bits, BadCode> {
        let (across, down) = self.in_mcu;
        let stride = self.blocks.stride();
        for row in y * down..(y + 1) * down {
            for column in x * across..(x + 1) * across {
                let difference;
                (bits, difference) = self::difference(bits, buffer, self.dc, self.dc_code)?;
                self.last = self.last.wrapping_add(difference as i16);
                let mean = mean(i32::from(self.last) * self.step);
                let code = self.rest_code;
                let end;
                match &self.rest {
                    Rest::One(table) => {
                        bits = skip_rest(bits, buffer, table, code)?;
                        self.plane[row * stride + column] = mean;
                    }
                    Rest::Two(table, weights) => {
                        let mut sums = [0; 16];
                        (bits, end) = each_rest(bits, buffer, table, code, |place, number| {
                            weights.add(&mut sums, place, number);
                        })?;
                        let samples = if end == 1 {
                            [[mean; 2]; 2]
                        } else {
                            weights.add(&mut sums, 0, i32::from(self.last));
                            two_by_two(&sums)
                        };
                        put(&mut self.plane, stride, row, column, &samples);
                    }
                    Rest::Four(table, steps) => {
                        let mut block = [0; 64];
                        (bits, end) = each_rest(bits, buffer, table, code, |place, number| {
                            steps.add(&mut block, place, number);
                        })?;
                        let samples = if end == 1 {
                            [[mean; 4]; 4]
                        } else {
                            steps.add(&mut block, 0, i32::from(self.last));
                            four_by_four(&block, end)
                        };
                        put(&mut self.plane, stride, row, column, &samples);
                    }
                    Rest::Eight(table, steps) => {
                        let mut block = [0; 64];
                        (bits, end) = each_rest(bits, buffer, table, code, |place, number| {
                            steps.add(&mut block, place, number);
                        })?;
                        let samples = if end == 1 {
                            [[mean; 8]; 8]
                        } else {
                            steps.add(&mut block, 0, i32::from(self.last));
                            eight_by_eight(&block, end)
                        };
                        put(&mut self.plane, stride, row, column, &samples);
                    }
                }
            }
        }
        Ok(bits)
    }
}

/// Writes the samples of a block into the plane.
#[inline(always)]
pub(crate) fn put<const N: usize>(plane: &mut [u8], stride: usize, row: usize, column: usize, samples: &[[u8; N]; N]) {
    let first = N * (row * stride + column);
    for (line, samples) in samples.iter().enumerate() {
        plane[first + line * stride..][..N].copy_from_slice(samples);
    }
}
