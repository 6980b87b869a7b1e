//! Antialiased resampling with Pillow's fixed-point arithmetic: each sample of the new picture is a weighted mean of the old
//! one's, first in one direction, then in the other.

use std::ops::Range;

use fearless_simd::prelude::*;
use fearless_simd::{Simd, dispatch, i32x8};

use super::pixels::with_channels;
use super::shape::Region;
use super::{Filter, Pixels};
use crate::simd::{level, vectorised};

/// Fraction bits of the coefficients.
pub(super) const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// The samples of a line that make up one sample of the resampled line.
pub(super) struct Taps {
    /// The first sample.
    pub(super) first: usize,
    /// Fractions of 2^[`PRECISION`].
    pub(super) weights: Vec<i32>,
}

/// The taps of all `out_length` samples made from `extent` (start and end) of a line of `length`.
pub(super) fn taps(length: usize, extent: (f32, f32), out_length: usize, filter: Filter) -> Vec<Taps> {
    let scale = f64::from(extent.1 - extent.0) / out_length as f64;
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    let step = 1.0 / filter_scale;
    (0..out_length)
        .map(|index| {
            let centre = f64::from(extent.0) + (index as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            let weights: Vec<f64> = (first..end).map(|at| filter.weight((at as f64 - centre + 0.5) * step)).collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                // `round` is half away from zero, as wanted.
                (weight * f64::from(1 << PRECISION)).round() as i32
            };
            Taps { first, weights: weights.iter().map(fixed).collect() }
        })
        .collect()
}

/// The samples that any of the taps need.
fn reach(taps: &[Taps]) -> Range<usize> {
    let end = taps.last().map_or(0, |last| last.first + last.weights.len());
    taps.first().map_or(0, |first| first.first)..end
}

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resamples a part of a picture to `size`.
pub(super) fn resize(source: &Pixels, region: &Region, size: (u32, u32), filter: Filter) -> Pixels {
    let columns = taps(source.width as usize, (region.left as f32, region.right as f32), size.0 as usize, filter);
    let rows = taps(source.height as usize, (region.top as f32, region.bottom as f32), size.1 as usize, filter);
    weigh(source, &columns, &rows)
}

/// The weighted means of a picture.
pub(super) fn weigh(source: &Pixels, columns: &[Taps], rows: &[Taps]) -> Pixels {
    if vertical_first((source.width, source.height), (columns.len() as u32, rows.len() as u32)) {
        let narrow = vertical(source, 0, rows);
        horizontal(&narrow, 0..rows.len(), columns)
    } else {
        let needed = reach(rows);
        let first = needed.start;
        vertical(&horizontal(source, needed, columns), first, rows)
    }
}

/// Pillow 13 begins with the direction in which much more is lost; both round to 8 bits, so the
/// order shows.
fn vertical_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (width, height) = (lost(from.0, to.0), lost(from.1, to.1));
    height > 0 && height > 2 * width
}

/// Some rows of the picture, resampled across.
fn horizontal(source: &Pixels, rows: Range<usize>, taps: &[Taps]) -> Pixels {
    let (stride, width) = (source.stride(), taps.len());
    let mut data = vec![0; width * source.layout.channels() * rows.len()];
    let height = rows.len() as u32;
    let rows = source.data[rows.start * stride..rows.end * stride].chunks_exact(stride);
    let rows = rows.zip(data.chunks_exact_mut(width * source.layout.channels()));
    let taps: Vec<PairTaps> = taps.iter().map(PairTaps::of).collect();
    let taps = &taps[..];
    // One more, for the last pair.
    let mut wide = vec![[0; 4]; source.width as usize + 1];
    for (row, out) in rows {
        let wide = &mut wide[..];
        dispatch!(level(), simd => with_channels!(source.layout.channels(), weigh_pixels(simd, taps, row, wide, out)));
    }
    Pixels { width: width as u32, height, data, layout: source.layout }
}

/// [`Taps`] for pixels of four channels, two at a time.
struct PairTaps {
    first: usize,
    weights: Vec<[i32; 8]>,
}

impl PairTaps {
    fn of(taps: &Taps) -> Self {
        let pair = |pair: &[i32]| {
            let [left, right] = [pair[0], pair.get(1).copied().unwrap_or(0)];
            [left, left, left, left, right, right, right, right]
        };
        Self { first: taps.first, weights: taps.weights.chunks(2).map(pair).collect() }
    }
}

/// `wide` has room for one pixel more than the row.
#[inline(always)]
fn weigh_pixels<const C: usize>(simd: impl Simd, taps: &[PairTaps], row: &[u8], wide: &mut [[i32; 4]], out: &mut [u8]) {
    for (wide, pixel) in wide.iter_mut().zip(row.as_chunks::<C>().0) {
        wide.iter_mut().zip(pixel).for_each(|(wide, &sample)| *wide = i32::from(sample));
    }
    for (taps, out) in taps.iter().zip(out.as_chunks_mut::<C>().0) {
        // The compiler alone would rather take the taps several at a time.
        let mut sums = i32x8::splat(simd, 0);
        for (&weights, &pixels) in taps.weights.iter().zip(wide[taps.first..].as_flattened().as_chunks().0) {
            sums += i32x8::simd_from(simd, weights) * i32x8::simd_from(simd, pixels);
        }
        let (left, right) = simd.split_i32x8(sums);
        let sums: [i32; 4] = (left + right).into();
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = clip(HALF + sum));
    }
}

/// The picture resampled down; its first row is row `first` of those that the taps are about.
fn vertical(source: &Pixels, first: usize, taps: &[Taps]) -> Pixels {
    let stride = source.stride();
    let mut data = vec![0; stride * taps.len()];
    let mut sums = vec![0; stride];
    for (taps, out) in taps.iter().zip(data.chunks_exact_mut(stride)) {
        let rows = &source.data[(taps.first - first) * stride..];
        let sums = &mut sums[..];
        vectorised(
            #[inline(always)]
            || weigh_rows(&taps.weights, rows, sums, out),
        );
    }
    Pixels { height: taps.len() as u32, data, ..*source }
}

/// One row from as many rows as there are weights.
#[inline(always)]
fn weigh_rows(weights: &[i32], rows: &[u8], sums: &mut [i32], out: &mut [u8]) {
    sums.fill(HALF);
    for (&weight, row) in weights.iter().zip(rows.chunks_exact(out.len())) {
        for (sum, &sample) in sums.iter_mut().zip(row) {
            *sum += weight * i32::from(sample);
        }
    }
    for (out, &sum) in out.iter_mut().zip(&*sums) {
        *out = clip(sum);
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::Level;

    use super::super::Layout;
    use super::*;

    #[test]
    fn halving_uses_eight_taps() {
        let taps = taps(100, (0.0, 100.0), 50, Filter::Bicubic);
        let middle = &taps[25];
        assert_eq!(middle.first, 47);
        let quarter = f64::from(1 << PRECISION) / 2.0;
        let expected = [1.75, 1.25, 0.75, 0.25, 0.25, 0.75, 1.25, 1.75]
            .map(|x| (Filter::Bicubic.weight(x) * quarter).round() as i32);
        assert_eq!(middle.weights, expected);
    }

    #[test]
    fn weights_sum_to_one_at_the_edges_too() {
        for filter in [Filter::Bicubic, Filter::Bilinear, Filter::Lanczos, Filter::Box] {
            for taps in taps(37, (0.25, 36.5), 9, filter) {
                let sum: i32 = taps.weights.iter().sum();
                assert!((sum - (1 << PRECISION)).abs() <= taps.weights.len() as i32);
            }
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let picture =
            Pixels { width: 3, height: 2, layout: Layout::Rgb, data: (0..18).map(|sample| sample * 14).collect() };
        for filter in [Filter::Bicubic, Filter::Bilinear, Filter::Lanczos, Filter::Box] {
            assert_eq!(resize(&picture, &Region::whole((3, 2)), (3, 2), filter), picture);
        }
    }

    #[test]
    fn a_whole_part_in_its_own_size_is_cut_out() {
        let picture = Pixels { width: 4, height: 4, layout: Layout::Gray, data: (0..16).collect() };
        let region = Region { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 };
        assert_eq!(resize(&picture, &region, (2, 2), Filter::Bicubic).data, [9, 10, 13, 14]);
    }

    /// One sum after the other.
    fn plainly(taps: &[Taps], row: &[u8], channels: usize) -> Vec<u8> {
        let sum = |taps: &Taps, channel: usize| {
            let samples = row[taps.first * channels..].iter().skip(channel).step_by(channels);
            taps.weights.iter().zip(samples).map(|(&weight, &sample)| weight * i32::from(sample)).sum::<i32>()
        };
        taps.iter().flat_map(|taps| (0..channels).map(move |channel| clip(HALF + sum(taps, channel)))).collect()
    }

    #[test]
    fn pixels_are_weighed_two_at_a_time() {
        for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Cmyk] {
            let channels = layout.channels();
            let row: Vec<u8> = (0..200 * channels as u32).map(|at| ((at * at * 37) >> 3) as u8).collect();
            // From one tap to 164.
            for (extent, count) in [((3.5, 190.25), 7), ((0.0, 200.0), 100), ((0.5, 200.0), 33), ((0.0, 200.0), 350)] {
                let taps = taps(200, extent, count, Filter::Lanczos);
                let expected = plainly(&taps, &row, channels);
                let mut out = expected.clone();
                let pairs: Vec<PairTaps> = taps.iter().map(PairTaps::of).collect();
                let mut wide = vec![[0; 4]; 201];
                for level in [level(), Level::baseline()] {
                    out.fill(0);
                    dispatch!(level, simd => with_channels!(channels, weigh_pixels(simd, &pairs, &row, &mut wide, &mut out)));
                    assert_eq!(out, expected);
                }
            }
        }
    }

    #[test]
    fn tall_pictures_go_vertical_first() {
        assert!(vertical_first((10, 500), (10, 100)));
        assert!(!vertical_first((400, 400), (100, 100)));
        assert!(!vertical_first((100, 300), (50, 200)));
        assert!(!vertical_first((5, 5), (5, 5)));
    }
}
