//! Sequential pictures: the means of all blocks, and 2 x 2 samples where a channel's blocks become so many.

use crate::bits::{Bits, Feed, Short};
use crate::block::{BadCode, add_rest, difference, skip_rest};
use crate::huffman::{AC_BITS, DC_BITS, Huffman, SKIP_BITS, Table};
use crate::layout::{Blocks, Layout};
use crate::marker::{Frame, Parser, Scan};
use crate::restart::Restarts;
use crate::transform::{Weights, mean, two_by_two};
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

/// What is to be done with the coefficients after the first.
enum Rest<'t> {
    Skip(&'t Table<{ 1 << SKIP_BITS }>),
    Add(&'t Table<{ 1 << AC_BITS }>, Box<Weights>),
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
            1 => Rest::Skip(ac.skip()),
            _ => Rest::Add(ac.ac(), Box::new(Weights::new(&quant))),
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
                match &self.rest {
                    Rest::Skip(table) => {
                        bits = skip_rest(bits, buffer, table, self.rest_code)?;
                        self.plane[row * stride + column] = mean(i32::from(self.last) * self.step);
                    }
                    Rest::Add(table, weights) => {
                        let mut sums = [0; 16];
                        let any;
                        (bits, any) = add_rest(bits, buffer, table, self.rest_code, weights, &mut sums)?;
                        let samples = if any {
                            weights.add(&mut sums, 0, i32::from(self.last));
                            two_by_two(&sums)
                        } else {
                            [[mean(i32::from(self.last) * self.step); 2]; 2]
                        };
                        for (line, samples) in samples.into_iter().enumerate() {
                            let at = (2 * row + line) * stride + 2 * column;
                            self.plane[at..at + 2].copy_from_slice(&samples);
                        }
                    }
                }
            }
        }
        Ok(bits)
    }
}
