//! The inverse transforms from 64 coefficients to 4 x 4 and 8 x 8 samples, as in libjpeg's `jidctred.c` and `jidctint.c`.

use std::num::Wrapping;

use crate::marker::Quant;
use crate::transform::{CONST_BITS, PASS1_BITS, ZIGZAG, sample};

type Number = Wrapping<i32>;

/// The coefficients of a block by row and column, multiplied by their quantization steps.
pub(crate) type Block = [i32; 64];

/// Where in a [`Block`] each coefficient of the zig-zag lies, and its quantization step.
pub(crate) struct Steps([(u8, i32); 64]);

impl Steps {
    pub(crate) fn new(quant: &Quant) -> Self {
        Self(std::array::from_fn(|place| (ZIGZAG[place], i32::from(quant[place]))))
    }

    /// Adds to the coefficient at a place of the zig-zag, 0 to 63.
    #[inline(always)]
    pub(crate) fn add(&self, block: &mut Block, place: usize, coefficient: i32) {
        let (natural, step) = self.0[place];
        let number = &mut block[usize::from(natural & 63)];
        *number = number.wrapping_add(coefficient.wrapping_mul(step));
    }
}

/// A block up to this place of the zig-zag has nothing beyond row and column 3.
const SMALL: usize = 10;

fn descale(number: Number, bits: u32) -> Number {
    (number + Wrapping(1 << (bits - 1))) >> bits as usize
}

/// Four samples of rows or columns 0, 1, 2, 3, 5, 6 and 7; 4 makes no difference.
#[inline(always)]
fn four([c0, c1, c2, c3, c5, c6, c7]: [Number; 7], bits: u32) -> [Number; 4] {
    let [even, turn] = [c0 << (CONST_BITS as usize + 1), c2 * Wrapping(15137) - c6 * Wrapping(6270)];
    let inner = c1 * Wrapping(8697) - c3 * Wrapping(17799) + c5 * Wrapping(11893) - c7 * Wrapping(1730);
    let outer = c1 * Wrapping(20995) + c3 * Wrapping(7373) - c5 * Wrapping(4926) - c7 * Wrapping(4176);
    [even + turn + outer, even - turn + inner, even - turn - inner, even + turn - outer].map(|sum| descale(sum, bits))
}

/// The 4 x 4 samples of a block. Of the zig-zag, only places before `end` are not zero.
pub(crate) fn four_by_four(block: &Block, end: usize) -> [[u8; 4]; 4] {
    let zero = Wrapping(0);
    let at = |row: usize, column: usize| Wrapping(block[8 * row + column]);
    let bits = CONST_BITS - PASS1_BITS + 1;
    let mut columns = [[zero; 4]; 7];
    if end <= SMALL {
        for (index, column) in columns[..4].iter_mut().enumerate() {
            *column = four([at(0, index), at(1, index), at(2, index), at(3, index), zero, zero, zero], bits);
        }
    } else {
        for (column, index) in columns.iter_mut().zip([0, 1, 2, 3, 5, 6, 7]) {
            *column = four([0, 1, 2, 3, 5, 6, 7].map(|row| at(row, index)), bits);
        }
    }
    let bits = CONST_BITS + PASS1_BITS + 3 + 1;
    std::array::from_fn(|row| four(columns.map(|column| column[row]), bits).map(|Wrapping(number)| sample(number)))
}

/// Eight samples of eight rows or columns.
#[inline(always)]
fn eight([c0, c1, c2, c3, c4, c5, c6, c7]: [Number; 8], bits: u32) -> [Number; 8] {
    let turn = (c2 + c6) * Wrapping(4433);
    let [wide, narrow] = [turn + c2 * Wrapping(6270), turn - c6 * Wrapping(15137)];
    let [sum, difference] = [(c0 + c4) << CONST_BITS as usize, (c0 - c4) << CONST_BITS as usize];
    let even = [sum + wide, difference + narrow, difference - narrow, sum - wide];

    let turn = (c7 + c3 + c5 + c1) * Wrapping(9633);
    let [a, b] = [(c7 + c1) * Wrapping(-7373), (c5 + c3) * Wrapping(-20995)];
    let [c, d] = [turn + (c7 + c3) * Wrapping(-16069), turn + (c5 + c1) * Wrapping(-3196)];
    let odd = [
        c1 * Wrapping(12299) + a + d,
        c3 * Wrapping(25172) + b + c,
        c5 * Wrapping(16819) + b + d,
        c7 * Wrapping(2446) + a + c,
    ];
    std::array::from_fn(|index| match index {
        0..4 => descale(even[index] + odd[index], bits),
        _ => descale(even[7 - index] - odd[7 - index], bits),
    })
}

/// The 8 x 8 samples of a block. Of the zig-zag, only places before `end` are not zero.
pub(crate) fn eight_by_eight(block: &Block, end: usize) -> [[u8; 8]; 8] {
    let zero = Wrapping(0);
    let at = |row: usize, column: usize| Wrapping(block[8 * row + column]);
    let bits = CONST_BITS - PASS1_BITS;
    let mut columns = [[zero; 8]; 8];
    if end <= SMALL {
        for (index, column) in columns[..4].iter_mut().enumerate() {
            *column = eight([at(0, index), at(1, index), at(2, index), at(3, index), zero, zero, zero, zero], bits);
        }
    } else {
        for (index, column) in columns.iter_mut().enumerate() {
            *column = eight(std::array::from_fn(|row| at(row, index)), bits);
        }
    }
    let bits = CONST_BITS + PASS1_BITS + 3;
    std::array::from_fn(|row| eight(columns.map(|column| column[row]), bits).map(|Wrapping(number)| sample(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::mean;

    #[test]
    fn a_flat_block_is_flat() {
        for dc in [-6000, -1200, -3, 0, 3, 231, 1200, 6000] {
            let mut block = [0; 64];
            block[0] = dc;
            for end in [1, 64] {
                assert_eq!(four_by_four(&block, end), [[mean(dc); 4]; 4]);
                assert_eq!(eight_by_eight(&block, end), [[mean(dc); 8]; 8]);
            }
        }
    }

    #[test]
    fn few_coefficients_are_no_special_case() {
        let steps = Steps::new(&[7; 64]);
        let mut block = [0; 64];
        for place in 0..10 {
            steps.add(&mut block, place, 29 - 11 * place as i32);
            assert_eq!(four_by_four(&block, place + 1), four_by_four(&block, 64));
            assert_eq!(eight_by_eight(&block, place + 1), eight_by_eight(&block, 64));
        }
    }

    #[test]
    fn nothing_overflows() {
        let steps = Steps::new(&[u16::MAX; 64]);
        for value in [i32::from(i16::MIN), i32::from(i16::MAX)] {
            let mut block = [0; 64];
            (0..64).for_each(|place| steps.add(&mut block, place, value));
            four_by_four(&block, 64);
            eight_by_eight(&block, 64);
        }
    }

    /// The mean over the sums of cosines that the transforms stand for.
    #[test]
    fn eight_by_eight_is_the_inverse_transform() {
        let mut state = 3u32;
        for _ in 0..50 {
            let mut block = [0; 64];
            for number in &mut block[..40] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *number = (state >> 25) as i32 - 64;
            }
            let samples = eight_by_eight(&block, 64);
            for (y, row) in samples.iter().enumerate() {
                for (x, &found) in row.iter().enumerate() {
                    let mut sum = 0.0;
                    for (index, &number) in block.iter().enumerate() {
                        let weight = |frequency: usize, at: usize| {
                            let norm = if frequency == 0 { 0.5f64.sqrt() } else { 1.0 };
                            norm * ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0).cos()
                        };
                        sum += f64::from(number) * weight(index / 8, y) * weight(index % 8, x) / 4.0;
                    }
                    let expected = (sum + 128.0).clamp(0.0, 255.0);
                    assert!((f64::from(found) - expected).abs() < 1.0, "{found}, not {expected}");
                }
            }
        }
    }
}
