//! One channel of a sequential scan: each block becomes samples as soon as it has been read.

use std::ops::Range;

use crate::bits::{Bits, Buffer};
use crate::block::{BadCode, RestTables, difference, each_rest, long_difference, skip_rest};
use crate::huffman::{DC_BITS, Huffman, LONG, SKIP_BITS, Table, WHOLE_BITS};
use crate::layout::Blocks;
use crate::marker::Quant;
use crate::transform::{Weights, mean, means, two_by_two};
use crate::wide::{Steps, eight_by_eight, four_by_four};

/// What is the same for all blocks of a channel.
pub(crate) struct Kind<'t> {
    dc_code: &'t Huffman,
    dc: &'t Table<{ 1 << DC_BITS }>,
    rest_code: &'t Huffman,
    rest: Rest<'t>,
    /// The quantization step of the first coefficient.
    step: i32,
    /// Blocks of an MCU across and down.
    in_mcu: (usize, usize),
    blocks: Blocks,
}

/// What is to be done with the coefficients after the first: by the samples that a block becomes.
enum Rest<'t> {
    One(&'t Table<{ 1 << SKIP_BITS }>),
    Two(RestTables<'t>, Box<Weights>),
    Four(RestTables<'t>, Box<Steps>),
    Eight(RestTables<'t>, Box<Steps>),
}

impl<'t> Kind<'t> {
    pub(crate) fn new(dc: &'t Huffman, ac: &'t Huffman, quant: &Quant, in_mcu: (usize, usize), blocks: Blocks) -> Self {
        let rest = match blocks.samples {
            1 => Rest::One(ac.skip()),
            2 => Rest::Two(RestTables::of(ac), Box::new(Weights::new(quant))),
            4 => Rest::Four(RestTables::of(ac), Box::new(Steps::new(quant))),
            _ => Rest::Eight(RestTables::of(ac), Box::new(Steps::new(quant))),
        };
        Self { dc_code: dc, dc: dc.dc(), rest_code: ac, rest, step: i32::from(quant[0]), in_mcu, blocks }
    }

    /// Blocks of an MCU.
    pub(crate) fn in_mcu(&self) -> usize {
        self.in_mcu.0 * self.in_mcu.1
    }

    /// Samples of a row of MCUs.
    pub(crate) fn row(&self) -> usize {
        self.in_mcu.1 * self.blocks.samples * self.blocks.stride()
    }

    /// Samples of the whole channel.
    pub(crate) fn samples(&self) -> usize {
        self.blocks.count() * self.blocks.samples * self.blocks.samples
    }

    /// What all differences of blocks that begin there come to.
    pub(crate) fn differences(&self, buffer: &Buffer, starts: Starts) -> Result<i16, BadCode> {
        let differences = Differences::of(self.dc_code);
        let mut sum = 0i16;
        for start in starts {
            sum = sum.wrapping_add(differences.at(buffer, start)?);
        }
        Ok(sum)
    }
}

/// Reads differences of first coefficients, of blocks that are known to begin somewhere.
struct Differences<'t> {
    table: &'t [i16; 1 << WHOLE_BITS],
    code: &'t Huffman,
}

impl<'t> Differences<'t> {
    fn of(code: &'t Huffman) -> Self {
        Self { table: code.whole(), code }
    }

    #[inline(always)]
    fn at(&self, buffer: &Buffer, start: u32) -> Result<i16, BadCode> {
        let bits = Bits::at(start as usize, buffer);
        match self.table[bits.peek::<WHOLE_BITS>()] {
            LONG => long_difference(bits.window, self.code).map(|(_, difference)| difference as i16),
            difference => Ok(difference),
        }
    }
}

/// Where the blocks of a channel begin, of whole MCUs.
#[derive(Clone)]
pub(crate) struct Starts<'s> {
    /// Those of all channels.
    all: &'s [u32],
    in_mcu: usize,
    /// Blocks of an MCU that belong to the channel.
    blocks: Range<usize>,
    /// The next of those.
    next: usize,
}

impl<'s> Starts<'s> {
    /// Of MCUs of `in_mcu` blocks each, whose starts are given, those blocks.
    pub(crate) fn new(all: &'s [u32], in_mcu: usize, blocks: Range<usize>) -> Self {
        Self { all, in_mcu, next: blocks.start, blocks }
    }

    fn mcus(&self) -> usize {
        self.all.len() / self.in_mcu
    }
}

impl Iterator for Starts<'_> {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        let start = *self.all.get(self.next)?;
        self.next += 1;
        if self.next == self.blocks.end {
            self.all = &self.all[self.in_mcu..];
            self.next = self.blocks.start;
        }
        Some(start)
    }
}

/// Goes from MCU to MCU.
#[derive(Clone, Copy)]
pub(crate) struct Mcu {
    pub(crate) x: usize,
    pub(crate) y: usize,
    /// MCUs in a row.
    pub(crate) across: usize,
}

impl Mcu {
    pub(crate) fn step(&mut self) {
        self.x += 1;
        if self.x == self.across {
            (self.x, self.y) = (0, self.y + 1);
        }
    }
}

/// A channel, or some rows of MCUs of it.
pub(crate) struct Part<'k, 't> {
    pub(crate) kind: &'k Kind<'t>,
    /// The first coefficient of the block before.
    pub(crate) last: i16,
    pub(crate) plane: &'k mut [u8],
}

impl Part<'_, '_> {
    /// The blocks of this channel in an MCU, one after the other.
    #[inline(always)]
    pub(crate) fn mcu(&mut self, bits: Bits, buffer: &Buffer, mcu: Mcu) -> Result<Bits, BadCode> {
        self.blocks::<false>(bits, buffer, || Bits::NONE, mcu)
    }

    /// The blocks of this channel from an MCU on, of which it is known where they begin.
    pub(crate) fn known(&mut self, buffer: &Buffer, mut starts: Starts, mut mcu: Mcu) -> Result<(), BadCode> {
        if let Rest::One(_) = self.kind.rest {
            return self.known_means(buffer, &starts, mcu);
        }
        let mcus = starts.mcus();
        let mut load = || starts.next().map_or(Bits::NONE, |start| Bits::at(start as usize, buffer));
        // A block ends with a branch that cannot be foretold. What the next block begins with is loaded before that.
        let mut ahead = load();
        for _ in 0..mcus {
            self.blocks::<true>(Bits::NONE, buffer, || std::mem::replace(&mut ahead, load()), mcu)?;
            mcu.step();
        }
        Ok(())
    }

    fn known_means(&mut self, buffer: &Buffer, starts: &Starts, mcu: Mcu) -> Result<(), BadCode> {
        match self.kind.in_mcu {
            // The compiler makes a copy for each.
            (1, 1) => self.means(buffer, starts, mcu, (1, 1)),
            (2, 1) => self.means(buffer, starts, mcu, (2, 1)),
            (2, 2) => self.means(buffer, starts, mcu, (2, 2)),
            in_mcu => self.means(buffer, starts, mcu, in_mcu),
        }
    }

    /// The first coefficients of several blocks one after the other, and then their means.
    #[inline(always)]
    fn means(
        &mut self,
        buffer: &Buffer,
        starts: &Starts,
        mut mcu: Mcu,
        (across, down): (usize, usize),
    ) -> Result<(), BadCode> {
        const AT_ONCE: usize = 1024;
        let Kind { dc_code, step, blocks, .. } = *self.kind;
        let differences = Differences::of(dc_code);
        let stride = blocks.stride();
        let mut dcs = [0; AT_ONCE];
        let width = AT_ONCE / (across * down) * across;
        let mut last = self.last;
        let mut mcus = starts.all.chunks_exact(starts.in_mcu);
        while mcus.len() > 0 {
            let count = mcus.len().min(mcu.across - mcu.x).min(width / across);
            for (index, starts_of) in mcus.by_ref().take(count).enumerate() {
                for (block, &start) in starts_of[starts.blocks.start..][..across * down].iter().enumerate() {
                    last = last.wrapping_add(differences.at(buffer, start)?);
                    dcs[block / across * width + index * across + block % across] = last;
                }
            }
            for (row, dcs) in dcs.chunks_exact(width).take(down).enumerate() {
                let place = (mcu.y * down + row) * stride + mcu.x * across;
                means(&mut self.plane[place..][..count * across], dcs, step);
            }
            mcu.x += count;
            if mcu.x == mcu.across {
                (mcu.x, mcu.y) = (0, mcu.y + 1);
            }
        }
        self.last = last;
        Ok(())
    }

    #[inline(always)]
    fn blocks<const KNOWN: bool>(
        &mut self,
        mut bits: Bits,
        buffer: &Buffer,
        mut next: impl FnMut() -> Bits,
        Mcu { x, y, .. }: Mcu,
    ) -> Result<Bits, BadCode> {
        let kind = self.kind;
        let (across, down) = kind.in_mcu;
        let stride = kind.blocks.stride();
        for row in y * down..(y + 1) * down {
            for column in x * across..(x + 1) * across {
                if KNOWN {
                    bits = next();
                }
                let difference;
                (bits, difference) = self::difference(bits, buffer, kind.dc, kind.dc_code)?;
                self.last = self.last.wrapping_add(difference as i16);
                let mean = mean(i32::from(self.last) * kind.step);
                let code = kind.rest_code;
                let end;
                match &kind.rest {
                    Rest::One(table) => {
                        if !KNOWN {
                            bits = skip_rest(bits, buffer, table, code)?;
                        }
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
                        put(self.plane, stride, row, column, &samples);
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
                        put(self.plane, stride, row, column, &samples);
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
                        put(self.plane, stride, row, column, &samples);
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
