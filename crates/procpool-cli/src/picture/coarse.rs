//! Blur, reduction and resampling of a picture that a JPEG decoder has shrunk on the way, as close as can be to those of the
//! picture at full size.
//!
//! Each sample of the thumbnail is a weighted mean of the pixels of the whole picture, and all steps together are one set of
//! weights in each direction. A decoder that shrinks by 2, 4 or 8 leaves out the finer parts of the cosine transform of each
//! block of 8 pixels. From what it keeps, the pixels are guessed, and the weights for the shrunk picture are those that give
//! what the guessed pixels would give: no step is made at another scale than Pillow makes it.

use std::f64::consts::PI;
use std::ops::Range;

use super::Pixels;
use super::blur::{self, ExtendedBox};
use super::convolve::{self, Taps};
use super::resize::{Resampling, Steps};

/// Pixels of a block of JPEG, in each direction.
const BLOCK: usize = 8;

/// So many blocks on either side help to guess the pixels of a block. The next ones count for less than a hundredth.
const AROUND: usize = 3;

/// The correlation of neighbouring pixels in photographs, as it is taken for granted where transforms for pictures are designed.
/// Differences of thumbnails were the same with 0.97 and with 0.999.
const NEIGHBOURS: f64 = 0.97;

/// Blurs a picture of `full` size and makes it another size, given what a decoder made of it at `1 / shrink`.
pub(super) fn resample(
    shrunk: &Pixels,
    shrink: u32,
    full: (u32, u32),
    sigma: Option<f32>,
    resampling: &Resampling,
) -> Pixels {
    let steps = Steps::of(resampling, full);
    let block = Block::of(shrink);
    let axis = |length: u32, have: u32, extent: (f64, f64), factor: u32, part: Range<usize>, target: u32| {
        let reduced = part.len().div_ceil(factor as usize);
        let taps = convolve::taps(reduced, (extent.0 as f32, extent.1 as f32), target as usize, resampling.filter);
        let weights = taps.iter().map(|taps| {
            let mut line = Line::of(taps).before_reduction(factor as usize, &part);
            if let Some(sigma) = sigma.filter(|&sigma| sigma > 0.0) {
                let taps = ExtendedBox::of_gaussian(sigma).taps();
                (0..blur::PASSES).for_each(|_| line.blur(&taps, length as usize));
            }
            line.shrunk(&block, have as usize).taps()
        });
        weights.collect::<Vec<_>>()
    };
    let Steps { factors, part, region } = steps;
    let across = (region.left, region.right);
    let columns = axis(full.0, shrunk.width, across, factors.0, part.across, resampling.size.0);
    let down = (region.top, region.bottom);
    let rows = axis(full.1, shrunk.height, down, factors.1, part.down, resampling.size.1);
    convolve::weigh(shrunk, &columns, &rows)
}

/// What the pixels of a line count, from one of them on.
struct Line {
    first: usize,
    weights: Vec<f64>,
}

impl Line {
    fn of(taps: &Taps) -> Self {
        let weights = taps.weights.iter().map(|&weight| f64::from(weight) / f64::from(1 << convolve::PRECISION));
        Self { first: taps.first, weights: weights.collect() }
    }

    /// The weights of the pixels of which the present ones are means.
    fn before_reduction(self, factor: usize, part: &Range<usize>) -> Self {
        let first = part.start + self.first * factor;
        let mut weights = Vec::with_capacity(self.weights.len() * factor);
        for weight in self.weights {
            let count = factor.min(part.end - first - weights.len());
            weights.extend(std::iter::repeat_n(weight / count as f64, count));
        }
        Self { first, weights }
    }

    /// The weights of the pixels of a line of `length` that a pass with these taps blurs. What the pass reads beyond an end is
    /// the last pixel.
    fn blur(&mut self, taps: &[f64], length: usize) {
        let reach = taps.len() / 2;
        let sum: f64 = taps.iter().sum();
        let (inner, outer) = (taps[reach] / sum, taps[0] / sum);
        let count = self.weights.len();
        // A running sum, since a wide blur has many taps of the same weight.
        let at = |index: usize| index.checked_sub(2 * reach).and_then(|index| self.weights.get(index));
        let ahead = |index: usize| self.weights.get(index).copied().unwrap_or(0.0);
        let behind = |index: usize| at(index).copied().unwrap_or(0.0);
        let mut running = 0.0;
        let mut wide = Vec::with_capacity(count + 2 * reach);
        for index in 0..count + 2 * reach {
            wide.push(inner * running + outer * (ahead(index) + behind(index)));
            running += ahead(index);
            running -= (index + 1).checked_sub(2 * reach).map_or(0.0, ahead);
        }
        let before = reach.saturating_sub(self.first);
        let beyond = (self.first + count + reach).saturating_sub(length);
        let end = wide.len() - beyond;
        let folded: f64 = wide[end..].iter().sum();
        wide.truncate(end);
        if let Some(last) = wide.last_mut() {
            *last += folded;
        }
        let folded: f64 = wide.drain(..before).sum();
        if let Some(first) = wide.first_mut() {
            *first += folded;
        }
        self.first = (self.first + before) - reach;
        self.weights = wide;
    }

    /// The weights of the samples of the shrunk line, of which there are `have`. What would lie beyond an end is the sample there.
    fn shrunk(self, block: &Block, have: usize) -> Self {
        let samples = block.samples;
        let first = (self.first / BLOCK * samples).saturating_sub(AROUND * samples);
        let end = ((self.first + self.weights.len()).div_ceil(BLOCK) + AROUND) * samples;
        let mut weights = vec![0.0; end.min(have) - first];
        let last = weights.len() - 1;
        for (at, weight) in (self.first..).zip(self.weights) {
            let begin = at / BLOCK * samples;
            for (sample, share) in block.shares[at % BLOCK].iter().enumerate() {
                let sample = (begin + sample).saturating_sub(AROUND * samples);
                weights[sample.saturating_sub(first).min(last)] += weight * share;
            }
        }
        Self { first, weights }
    }

    fn taps(self) -> Taps {
        let sum: f64 = self.weights.iter().sum();
        let fixed = |weight: f64| (weight / sum * f64::from(1 << convolve::PRECISION)).round() as i32;
        Taps { first: self.first, weights: self.weights.into_iter().map(fixed).collect() }
    }
}

/// How the samples that a decoder makes of blocks stand for their pixels.
struct Block {
    /// Samples of a block.
    samples: usize,
    /// For each pixel of a block, the share of each sample of that and the blocks around.
    shares: [Vec<f64>; BLOCK],
}

impl Block {
    /// The best linear guess of the pixels: that with the smallest mean square of its error over pictures in which pixels are
    /// related as [`NEIGHBOURS`] says (Kolmogorov's and Wiener's estimate, of a finite number of samples).
    fn of(shrink: u32) -> Self {
        let samples = BLOCK / shrink as usize;
        let count = (2 * AROUND + 1) * samples;
        let makes: Vec<[f64; BLOCK]> = (0..samples).map(|sample| made_of(sample, samples)).collect();
        let related = |a: usize, b: usize| NEIGHBOURS.powi(a.abs_diff(b) as i32);
        let pixel_with_sample = |pixel: usize, sample: usize| -> f64 {
            let begin = sample / samples * BLOCK;
            makes[sample % samples].iter().enumerate().map(|(at, part)| part * related(pixel, begin + at)).sum()
        };
        let sample_with_sample = |a: usize, b: usize| -> f64 {
            let begin = a / samples * BLOCK;
            makes[a % samples].iter().enumerate().map(|(at, part)| part * pixel_with_sample(begin + at, b)).sum()
        };
        let every = || 0..count;
        let matrix: Vec<Vec<f64>> = every().map(|a| every().map(|b| sample_with_sample(a, b)).collect()).collect();
        let shares = std::array::from_fn(|pixel| {
            let right = every().map(|sample| pixel_with_sample(AROUND * BLOCK + pixel, sample)).collect();
            solved(matrix.clone(), right)
        });
        Self { samples, shares }
    }
}

/// What the pixels of a block count in one of the `samples` that a decoder makes of it: the inverse cosine transform of that
/// length, of the coarsest parts of the transform of the block.
fn made_of(sample: usize, samples: usize) -> [f64; BLOCK] {
    let wave =
        |at: usize, part: usize, length: usize| ((2 * at + 1) as f64 * part as f64 * PI / (2 * length) as f64).cos();
    std::array::from_fn(|pixel| {
        let finer: f64 = (1..samples).map(|part| 2.0 * wave(pixel, part, BLOCK) * wave(sample, part, samples)).sum();
        (1.0 + finer) / BLOCK as f64
    })
}

/// The solution of linear equations whose matrix is that of a scalar product, by elimination.
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    for step in 0..right.len() {
        let (done, rest) = matrix.split_at_mut(step + 1);
        let pivot = &done[step];
        for (below, row) in rest.iter_mut().enumerate() {
            let factor = row[step] / pivot[step];
            row.iter_mut().zip(pivot).skip(step).for_each(|(value, pivot)| *value -= factor * pivot);
            right[step + 1 + below] -= factor * right[step];
        }
    }
    for step in (0..right.len()).rev() {
        let known: f64 = matrix[step].iter().zip(&right).skip(step + 1).map(|(factor, value)| factor * value).sum();
        right[step] = (right[step] - known) / matrix[step][step];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::shape::Region;
    use crate::picture::{Filter, Layout, resize};
    use std::borrow::Cow;

    /// Waves of at least 40 pixels: what a decoder keeps of them is nearly all.
    fn waves(width: u32, height: u32) -> Pixels {
        let level = |x: u32, y: u32, channel: u32| {
            let wave = |at: u32, length: f64| (f64::from(at) / length * 2.0 * PI).sin();
            127.5 + 60.0 * wave(x + 9 * channel, 40.0) + 60.0 * wave(y + 5 * channel, 53.0)
        };
        let samples = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |channel| level(x, y, channel).round() as u8)));
        Pixels { width, height, layout: Layout::Rgb, data: samples.collect() }
    }

    /// What a decoder that shrinks makes of a picture; the last block is filled up with the last pixel.
    fn decoded(picture: &Pixels, shrink: u32) -> Pixels {
        let samples = BLOCK / shrink as usize;
        let makes: Vec<_> = (0..samples).map(|sample| made_of(sample, samples)).collect();
        let (width, height) = (picture.width.div_ceil(shrink), picture.height.div_ceil(shrink));
        let mut data = Vec::new();
        for y in 0..height as usize {
            for x in 0..width as usize {
                for channel in 0..3 {
                    let mut sum = 0.0;
                    for (row, down) in makes[y % samples].iter().enumerate() {
                        for (column, across) in makes[x % samples].iter().enumerate() {
                            let at_x = (x / samples * BLOCK + column).min(picture.width as usize - 1);
                            let at_y = (y / samples * BLOCK + row).min(picture.height as usize - 1);
                            let sample = picture.data[at_y * picture.stride() + at_x * 3 + channel];
                            sum += down * across * f64::from(sample);
                        }
                    }
                    data.push(sum.round().clamp(0.0, 255.0) as u8);
                }
            }
        }
        Pixels { width, height, layout: Layout::Rgb, data }
    }

    #[test]
    fn a_shrunk_picture_gives_what_the_whole_one_gives() {
        for (full, size) in [((640, 480), (20, 15)), ((603, 401), (17, 12))] {
            let picture = waves(full.0, full.1);
            let part = Region { left: 10.5, top: 30.0, right: f64::from(full.0), bottom: f64::from(full.1) - 3.25 };
            for shrink in [1, 2, 4, 8] {
                let shrunk = decoded(&picture, shrink);
                // A wide blur is for pictures that were not shrunk: it counts the last pixel for all beyond.
                let wide = (shrink == 1).then_some(Some(90.0));
                for sigma in [None, Some(0.7), Some(2.0), Some(6.0)].into_iter().chain(wide) {
                    for (region, gap) in [(Region::whole(full), Some(2.0)), (part, None)] {
                        let resampling = Resampling { size, region, filter: Filter::Bicubic, gap };
                        let wanted = resize::resample(Cow::Borrowed(&picture), sigma, &resampling);
                        let found = resample(&shrunk, shrink, full, sigma, &resampling);
                        assert_eq!((found.width, found.height), size);
                        let worst = found.data.iter().zip(&wanted.data).map(|(a, b)| a.abs_diff(*b)).max();
                        assert!(worst <= Some(3), "{full:?} {shrink} {sigma:?} {gap:?}: {worst:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn white_stays_white_however_small_and_blurred() {
        for (full, size) in [((1u32, 1u32), (1, 1)), ((3, 900), (1, 7)), ((17, 16), (2, 2)), ((64, 9), (1, 1))] {
            for shrink in [1, 2, 4, 8u32] {
                let (width, height) = (full.0.div_ceil(shrink), full.1.div_ceil(shrink));
                let data = vec![255; width as usize * height as usize];
                let shrunk = Pixels { width, height, layout: Layout::Gray, data };
                for sigma in [None, Some(0.3), Some(2.0), Some(1000.0)] {
                    let resampling =
                        Resampling { size, region: Region::whole(full), filter: Filter::Lanczos, gap: Some(2.0) };
                    let made = resample(&shrunk, shrink, full, sigma, &resampling);
                    assert!(made.data.iter().all(|&sample| sample == 255), "{full:?} {shrink} {sigma:?}");
                }
            }
        }
    }

    #[test]
    fn of_a_picture_that_was_not_shrunk_each_sample_is_its_pixel() {
        let block = Block::of(1);
        for (pixel, shares) in block.shares.iter().enumerate() {
            for (sample, share) in shares.iter().enumerate() {
                let wanted = if sample == AROUND * BLOCK + pixel { 1.0 } else { 0.0 };
                assert!((share - wanted).abs() < 1e-9);
            }
        }
    }
}
