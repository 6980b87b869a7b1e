//! The inverse transforms to one sample and to 2 x 2, as in libjpeg's `jidctred.c`.

use crate::marker::Quant;
use crate::simd::vectorised;

/// The natural order of the coefficients: row * 8 + column for each place in the zig-zag.
pub(crate) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

pub(crate) const CONST_BITS: u32 = 13;
pub(crate) const PASS1_BITS: u32 = 2;

/// What rows and columns 1, 3, 5 and 7 weigh, as fractions of 2^13.
const ODD: [i32; 4] = [29692, -10426, 6967, -5906];

#[inline(always)]
fn descale(number: i32, bits: u32) -> i32 {
    number.wrapping_add(1 << (bits - 1)) >> bits
}

#[inline(always)]
pub(crate) fn sample(number: i32) -> u8 {
    number.saturating_add(128).clamp(0, 255) as u8
}

/// The one sample of a block: its mean. `dc` is the first coefficient, multiplied by its quantization step.
#[inline(always)]
pub(crate) fn mean(dc: i32) -> u8 {
    // This is far from the limits of a number.
    (descale(dc, 3) + 128).clamp(0, 255) as u8
}

/// The means of several blocks.
pub(crate) fn means(out: &mut [u8], dcs: &[i16], step: i32) {
    vectorised(
        #[inline(always)]
        || out.iter_mut().zip(dcs).for_each(|(out, &dc)| *out = mean(i32::from(dc) * step)),
    );
}

/// Of the 64 coefficients, those in rows and columns 0, 1, 3, 5 and 7 make up the four samples. What they contribute is
/// summed up for each of those columns, the row 0 and the other rows apart, since rounding comes only after that.
pub(crate) type Sums = [i32; 16];

/// Where, in [`Sums`], what makes no difference goes.
const NOWHERE: u8 = 15;

/// For the coefficients of a block in zig-zag order, where and how much they contribute to [`Sums`].
pub(crate) struct Weights {
    /// The place and the factor, the quantization step included.
    pub(crate) places: [(u8, i32); 64],
}

/// Where rows or columns that contribute come among those that do.
const RANK: [Option<u8>; 8] = [Some(0), Some(1), None, Some(2), None, Some(3), None, Some(4)];

/// How many ranks there are.
const RANKS: usize = 5;

/// What is kept of a block whose coefficients come in several scans: those that make a difference, by the ranks of row and column,
/// the first one's place not being used. The last takes all others.
pub(crate) const KEPT: usize = 32;

/// Where among those that are [`KEPT`] the coefficient at a place of the zig-zag is.
pub(crate) const PLACE_OF: [u8; 64] = {
    let mut places = [KEPT as u8 - 1; 64];
    let mut place = 1;
    while place < 64 {
        let (row, column) = (ZIGZAG[place] / 8, ZIGZAG[place] % 8);
        if let (Some(row), Some(column)) = (RANK[row as usize], RANK[column as usize]) {
            places[place] = row * RANKS as u8 + column;
        }
        place += 1;
    }
    places
};

/// A bit for each place in the zig-zag of the coefficients after the first that make a difference to the samples.
pub(crate) const NEEDED: u64 = {
    let mut bits = 0;
    let mut place = 1;
    while place < 64 {
        if PLACE_OF[place] != KEPT as u8 - 1 {
            bits |= 1 << place;
        }
        place += 1;
    }
    bits
};

/// [`Weights`] for those that are [`KEPT`].
pub(crate) struct KeptWeights([i32; KEPT]);

impl KeptWeights {
    pub(crate) fn new(weights: &Weights) -> Self {
        let mut kept = [0; KEPT];
        (1..64).for_each(|place| kept[usize::from(PLACE_OF[place])] = weights.places[place].1);
        kept[KEPT - 1] = 0;
        Self(kept)
    }

    /// What the coefficients contribute. `first` is the first one, multiplied by its quantization step.
    #[inline(always)]
    pub(crate) fn sums(&self, first: i32, values: &[i16; KEPT]) -> Sums {
        let products: [i32; KEPT] = std::array::from_fn(|index| i32::from(values[index]).wrapping_mul(self.0[index]));
        let mut sums = [0; 16];
        for column in 0..RANKS {
            sums[column] = products[column];
            sums[5 + column] = (1..RANKS).fold(0, |sum: i32, row| sum.wrapping_add(products[row * RANKS + column]));
        }
        sums[0] = first;
        sums
    }
}

impl Weights {
    pub(crate) fn new(quant: &Quant) -> Self {
        let place = |index: usize| {
            let (row, column) = (ZIGZAG[index] / 8, ZIGZAG[index] % 8);
            let step = i32::from(quant[index]);
            match (RANK[usize::from(row)], RANK[usize::from(column)]) {
                (Some(0), Some(column)) => (column, step),
                (Some(row), Some(column)) => (5 + column, step.wrapping_mul(ODD[usize::from(row) - 1])),
                _ => (NOWHERE, 0),
            }
        };
        Self { places: std::array::from_fn(place) }
    }

    /// Adds the coefficient at a place of the zig-zag, 0 to 63.
    #[inline(always)]
    pub(crate) fn add(&self, sums: &mut Sums, index: usize, coefficient: i32) {
        let (place, factor) = self.places[index];
        let sum = &mut sums[usize::from(place & 15)];
        *sum = sum.wrapping_add(coefficient.wrapping_mul(factor));
    }
}

/// The 2 x 2 samples of a block: the upper two, then the lower two.
#[inline]
pub(crate) fn two_by_two(sums: &Sums) -> [[u8; 2]; 2] {
    let mut rows = [[0; 5]; 2];
    for column in 0..5 {
        let even = sums[column] << (CONST_BITS + 2);
        let odd = sums[5 + column];
        rows[0][column] = descale(even.wrapping_add(odd), CONST_BITS - PASS1_BITS + 2);
        rows[1][column] = descale(even.wrapping_sub(odd), CONST_BITS - PASS1_BITS + 2);
    }
    rows.map(|row| {
        let even = row[0] << (CONST_BITS + 2);
        let odd = (0..4).fold(0i32, |sum, column| sum.wrapping_add(row[1 + column].wrapping_mul(ODD[column])));
        let bits = CONST_BITS + PASS1_BITS + 3 + 2;
        [sample(descale(even.wrapping_add(odd), bits)), sample(descale(even.wrapping_sub(odd), bits))]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zigzag_visits_every_place() {
        let mut seen = [false; 64];
        ZIGZAG.iter().for_each(|&place| seen[usize::from(place)] = true);
        assert_eq!(seen, [true; 64]);
    }

    #[test]
    fn a_flat_block_is_flat() {
        let weights = Weights::new(&[3; 64]);
        for dc in [-2000, -400, -1, 0, 1, 77, 400, 2000] {
            let mut sums = [0; 16];
            weights.add(&mut sums, 0, dc);
            assert_eq!(two_by_two(&sums), [[mean(3 * dc); 2]; 2]);
        }
    }

    #[test]
    fn low_frequencies_tell_the_sides_apart() {
        let weights = Weights::new(&[1; 64]);
        let block = |index: usize| {
            let mut sums = [0; 16];
            weights.add(&mut sums, index, 400);
            two_by_two(&sums)
        };
        let [[bright, dark], below] = block(1);
        assert!(bright > 150 && dark < 106 && below == [bright, dark]);
        assert_eq!(block(2), [[bright; 2], [dark; 2]]);
        // Column 2 makes no difference.
        assert_eq!(block(5), [[128; 2]; 2]);
    }

    #[test]
    fn nothing_overflows() {
        let weights = Weights::new(&[u16::MAX; 64]);
        for value in [i32::from(i16::MIN), i32::from(i16::MAX)] {
            let mut sums = [0; 16];
            (0..64).for_each(|index| weights.add(&mut sums, index, value));
            two_by_two(&sums);
            mean(value * 65535);
        }
    }
}
