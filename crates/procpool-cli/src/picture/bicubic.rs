//! Antialiased bicubic resampling with Pillow's fixed-point arithmetic.

use super::Pixels;
use super::pixels::with_channels;
use crate::simd::vectorised;

/// Half the width of the kernel, in pixels of the smaller picture.
const SUPPORT: f64 = 2.0;
/// Fraction bits of the coefficients.
const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// The kernel: Keys' cubic convolution with a = -0.5.
fn kernel(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The samples of a line that make up one sample of the resampled line.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// The taps of all `out_length` samples made from `extent` (start and end) of a line of `length`.
fn taps(length: usize, extent: (f32, f32), out_length: usize) -> Vec<Taps> {
    let scale = f64::from(extent.1 - extent.0) / out_length as f64;
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    let step = 1.0 / filter_scale;
    (0..out_length)
        .map(|index| {
            let centre = f64::from(extent.0) + (index as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            let weights: Vec<f64> = (first..end).map(|at| kernel((at as f64 - centre + 0.5) * step)).collect();
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

#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Resamples the part of a picture from (0, 0) to `extent`, in pixels, to `size`.
pub(super) fn resize(source: &Pixels, extent: (f64, f64), size: (u32, u32)) -> Pixels {
    let across = |picture: &Pixels| {
        let extent = (0.0, extent.0 as f32);
        with_channels!(picture.layout.channels(), horizontal(picture, extent, size.0))
    };
    let down = |picture: &Pixels| vertical(picture, (0.0, extent.1 as f32), size.1);
    if vertical_first((source.width, source.height), size) { across(&down(source)) } else { down(&across(source)) }
}

/// Pillow 13 begins with the direction in which much more is lost; both round to 8 bits, so the
/// order shows.
fn vertical_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (width, height) = (lost(from.0, to.0), lost(from.1, to.1));
    height > 0 && height > 2 * width
}

fn horizontal<const C: usize>(source: &Pixels, extent: (f32, f32), width: u32) -> Pixels {
    let taps = taps(source.width as usize, extent, width as usize);
    let mut data = Vec::with_capacity(width as usize * source.height as usize * C);
    for row in source.rows() {
        let (row, _) = row.as_chunks::<C>();
        for taps in &taps {
            let mut sums = [HALF; C];
            for (&weight, pixel) in taps.weights.iter().zip(&row[taps.first..]) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(sample);
                }
            }
            data.extend(sums.map(clip));
        }
    }
    Pixels { width, data, ..*source }
}

fn vertical(source: &Pixels, extent: (f32, f32), height: u32) -> Pixels {
    let taps = taps(source.height as usize, extent, height as usize);
    let stride = source.stride();
    let mut data = vec![0; stride * height as usize];
    let mut sums = vec![0; stride];
    for (taps, out) in taps.iter().zip(data.chunks_exact_mut(stride)) {
        let rows = &source.data[taps.first * stride..];
        let sums = &mut sums[..];
        vectorised(
            #[inline(always)]
            || weigh_rows(&taps.weights, rows, sums, out),
        );
    }
    Pixels { height, data, ..*source }
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
    use super::*;
    use crate::picture::Layout;

    #[test]
    fn the_kernel_interpolates() {
        assert_eq!([0.0, 1.0, 2.0, -1.0, 2.5].map(kernel), [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(kernel(0.5), 0.5625);
        assert_eq!(kernel(-1.5), -0.0625);
    }

    #[test]
    fn halving_uses_eight_taps() {
        let taps = taps(100, (0.0, 100.0), 50);
        let middle = &taps[25];
        assert_eq!(middle.first, 47);
        let quarter = f64::from(1 << PRECISION) / 2.0;
        let expected = [1.75, 1.25, 0.75, 0.25, 0.25, 0.75, 1.25, 1.75].map(|x| (kernel(x) * quarter).round() as i32);
        assert_eq!(middle.weights, expected);
    }

    #[test]
    fn weights_sum_to_one_at_the_edges_too() {
        for taps in taps(37, (0.0, 36.5), 9) {
            let sum: i32 = taps.weights.iter().sum();
            assert!((sum - (1 << PRECISION)).abs() <= taps.weights.len() as i32);
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let picture =
            Pixels { width: 3, height: 2, layout: Layout::Rgb, data: (0..18).map(|sample| sample * 14).collect() };
        assert_eq!(resize(&picture, (3.0, 2.0), (3, 2)), picture);
    }

    #[test]
    fn tall_pictures_go_vertical_first() {
        assert!(vertical_first((10, 500), (10, 100)));
        assert!(!vertical_first((400, 400), (100, 100)));
        assert!(!vertical_first((100, 300), (50, 200)));
        assert!(!vertical_first((5, 5), (5, 5)));
    }
}
