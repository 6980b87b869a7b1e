//! Gaussian blur as Pillow does it: in each direction three passes of a box whose two ends have
//! a smaller weight, each pass rounded to 8 bits.
//!
//! The box constants follow Gwosdek, Grewenig, Bruhn, Weickert: "Theoretical foundations of
//! Gaussian convolution by extended box filtering" (SSVM 2011), equations 7, 11 and 14.
//!
//! Rows flow through all six passes one after the other, so that the working set is a few rows,
//! not the picture, and whoever takes the blurred rows can use them while they are in the cache.

use super::Pixels;
use super::pixels::with_channels;
use crate::simd::vectorised;

pub(super) const PASSES: usize = 3;
const HALF: u32 = 1 << 23;

/// Boxes of up to this inner radius are summed tap by tap, which the compiler turns into vector
/// instructions; wider ones by a running sum.
const MAX_DIRECT_RADIUS: usize = 3;

/// One pass's box: `2 * radius + 1` samples of weight `near` and one on either side of weight
/// `far`, as fractions of 2^24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtendedBox {
    radius: usize,
    near: u32,
    far: u32,
}

impl ExtendedBox {
    /// The box that, applied three times, blurs with standard deviation `sigma`. The arithmetic is
    /// single precision except for the square root, because Pillow's is.
    pub(super) fn of_gaussian(sigma: f32) -> Self {
        let variance = sigma * sigma / PASSES as f32;
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let whole = ((f64::from(length) - 1.0) / 2.0).floor() as f32;
        let mut fraction = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance);
        fraction /= 6.0 * (variance - (whole + 1.0) * (whole + 1.0));
        Self::of_radius(whole + fraction)
    }

    fn of_radius(radius: f32) -> Self {
        let whole = radius as u32;
        let near = (16_777_216.0 / (radius * 2.0 + 1.0)) as u32;
        Self { radius: whole as usize, near, far: ((1 << 24) - (2 * whole + 1) * near) / 2 }
    }

    /// The weighted mean, from the sum of the inner samples and the sum of the two outer ones.
    #[inline(always)]
    fn weigh(self, inner: u32, outer: u32) -> u8 {
        ((inner * self.near + outer * self.far + HALF) >> 24) as u8
    }

    /// The weights of one pass from one outer sample to the other, as fractions of 2^24.
    pub(super) fn taps(self) -> Vec<f64> {
        let mut taps = vec![f64::from(self.near); 2 * self.radius + 3];
        taps[0] = f64::from(self.far);
        taps[2 * self.radius + 2] = f64::from(self.far);
        taps
    }

    /// Samples from the centre to an outer one.
    fn reach(self) -> usize {
        self.radius + 1
    }
}

/// Blurs a picture with a Gaussian of standard deviation `sigma` pixels.
pub(super) fn blur(picture: &Pixels, sigma: f32) -> Pixels {
    let mut data = Vec::with_capacity(picture.data.len());
    for_each_blurred_row(picture, sigma, |row| data.extend_from_slice(row));
    Pixels { data, ..*picture }
}

/// Calls `take` with each row of the blurred picture, from top to bottom.
pub(super) fn for_each_blurred_row(picture: &Pixels, sigma: f32, mut take: impl FnMut(&[u8])) {
    if sigma <= 0.0 {
        picture.rows().for_each(take);
        return;
    }
    let extended = ExtendedBox::of_gaussian(sigma);
    let stride = picture.stride();
    let mut horizontal = Horizontal::new(extended, stride, picture.layout.channels());
    let [mut first, mut second, mut third] =
        [(); PASSES].map(|()| Vertical::new(extended, stride, picture.height as usize));
    for row in picture.rows() {
        let row = horizontal.blur(row);
        first.push(row, |row| {
            second.push(row, |row| third.push(row, &mut take));
        });
    }
}

/// The three horizontal passes over one row at a time.
struct Horizontal {
    extended: ExtendedBox,
    channels: usize,
    /// The row with `reach` pixels of padding at both ends, and its successor.
    buffers: [Vec<u8>; 2],
}

impl Horizontal {
    fn new(extended: ExtendedBox, stride: usize, channels: usize) -> Self {
        let length = stride + 2 * extended.reach() * channels;
        Self { extended, channels, buffers: [vec![0; length], vec![0; length]] }
    }

    fn blur(&mut self, row: &[u8]) -> &[u8] {
        let padding = self.extended.reach() * self.channels;
        let inside = padding..padding + row.len();
        let [from, to] = &mut self.buffers;
        from[inside.clone()].copy_from_slice(row);
        for _ in 0..PASSES {
            repeat_edges(from, padding, self.channels);
            let out = &mut to[inside.clone()];
            match self.extended.radius {
                0 => direct_row::<3>(self.extended, from, out, self.channels),
                1 => direct_row::<5>(self.extended, from, out, self.channels),
                2 => direct_row::<7>(self.extended, from, out, self.channels),
                MAX_DIRECT_RADIUS => direct_row::<9>(self.extended, from, out, self.channels),
                _ => with_channels!(self.channels, running_row(self.extended, from, out)),
            }
            std::mem::swap(from, to);
        }
        &self.buffers[0][inside]
    }
}

/// Fills the padding of a row with its first and its last pixel.
fn repeat_edges(row: &mut [u8], padding: usize, channels: usize) {
    let end = row.len() - padding;
    let (left, rest) = row.split_at_mut(padding);
    for pixel in left.chunks_exact_mut(channels) {
        pixel.copy_from_slice(&rest[..channels]);
    }
    let (inside, right) = row.split_at_mut(end);
    for pixel in right.chunks_exact_mut(channels) {
        pixel.copy_from_slice(&inside[end - channels..]);
    }
}

/// One pass over a padded row with `TAPS = 2 * radius + 3` taps.
fn direct_row<const TAPS: usize>(extended: ExtendedBox, padded: &[u8], out: &mut [u8], channels: usize) {
    let taps = std::array::from_fn(|tap| &padded[tap * channels..]);
    direct::<TAPS>(extended, taps, out);
}

/// The weighted mean of `TAPS` samples, one from each slice, for every sample of `out`.
fn direct<const TAPS: usize>(extended: ExtendedBox, taps: [&[u8]; TAPS], out: &mut [u8]) {
    let taps = taps.map(|tap| &tap[..out.len()]);
    vectorised(
        #[inline(always)]
        || direct_loop(extended, taps, out),
    );
}

#[inline(always)]
fn direct_loop<const TAPS: usize>(extended: ExtendedBox, taps: [&[u8]; TAPS], out: &mut [u8]) {
    let taps = taps.map(|tap| &tap[..out.len()]);
    for (index, out) in out.iter_mut().enumerate() {
        let outer = u32::from(taps[0][index]) + u32::from(taps[TAPS - 1][index]);
        let mut inner = 0;
        for tap in &taps[1..TAPS - 1] {
            inner += u32::from(tap[index]);
        }
        *out = extended.weigh(inner, outer);
    }
}

/// One pass over a padded row, whatever the radius.
fn running_row<const C: usize>(extended: ExtendedBox, padded: &[u8], out: &mut [u8]) {
    let (padded, _) = padded.as_chunks::<C>();
    let (out, _) = out.as_chunks_mut::<C>();
    let diameter = 2 * extended.radius + 1;
    let mut sums = [0; C];
    for pixel in &padded[1..=diameter] {
        for (sum, &sample) in sums.iter_mut().zip(pixel) {
            *sum += u32::from(sample);
        }
    }
    // The window for `out[x]` is `padded[x..=x + diameter + 1]`, its ends being the outer samples.
    let next = padded[diameter + 1..].iter();
    for (((out, before), leaving), after) in out.iter_mut().zip(padded).zip(&padded[1..]).zip(next) {
        for channel in 0..C {
            let after = u32::from(after[channel]);
            out[channel] = extended.weigh(sums[channel], u32::from(before[channel]) + after);
            sums[channel] = sums[channel] + after - u32::from(leaving[channel]);
        }
    }
}

/// One vertical pass over rows as they come.
struct Vertical {
    extended: ExtendedBox,
    /// Number of rows of the picture.
    height: usize,
    /// Number of rows taken in and given out so far.
    taken: usize,
    given: usize,
    /// The latest rows: row `y` lies at `y % capacity`.
    window: Vec<u8>,
    capacity: usize,
    stride: usize,
    /// Of each column, the sum of the inner samples for the next row; empty when summing directly.
    sums: Vec<u32>,
    out: Vec<u8>,
}

impl Vertical {
    fn new(extended: ExtendedBox, stride: usize, height: usize) -> Self {
        let capacity = height.min(2 * extended.reach() + 1);
        Self {
            extended,
            height,
            taken: 0,
            given: 0,
            window: vec![0; stride * capacity],
            capacity,
            stride,
            sums: Vec::new(),
            out: vec![0; stride],
        }
    }

    /// Takes the next row in and gives out those rows that are now complete.
    fn push(&mut self, row: &[u8], mut give: impl FnMut(&[u8])) {
        let at = self.taken % self.capacity * self.stride;
        self.window[at..at + self.stride].copy_from_slice(row);
        self.taken += 1;
        while self.given < self.taken && (self.taken == self.height || self.given + self.extended.reach() < self.taken)
        {
            match self.extended.radius {
                0 => self.direct::<3>(),
                1 => self.direct::<5>(),
                2 => self.direct::<7>(),
                MAX_DIRECT_RADIUS => self.direct::<9>(),
                _ => self.running(),
            }
            self.given += 1;
            give(&self.out);
        }
    }

    fn direct<const TAPS: usize>(&mut self) {
        let reach = self.extended.reach() as isize;
        let taps = std::array::from_fn(|tap| {
            row_near(&self.window, self.stride, self.height, self.given, tap as isize - reach)
        });
        direct::<TAPS>(self.extended, taps, &mut self.out);
    }

    fn running(&mut self) {
        let reach = self.extended.reach() as isize;
        let row = |offset| row_near(&self.window, self.stride, self.height, self.given, offset);
        if self.sums.is_empty() {
            self.sums = vec![0; self.stride];
            for offset in 1 - reach..reach {
                for (sum, &sample) in self.sums.iter_mut().zip(row(offset)) {
                    *sum += u32::from(sample);
                }
            }
        }
        let rows = [row(-reach), row(1 - reach), row(reach)];
        let (extended, sums, out) = (self.extended, &mut self.sums[..], &mut self.out[..]);
        vectorised(
            #[inline(always)]
            || running_loop(extended, rows, sums, out),
        );
    }
}

/// The weighted means of one row from the columns' sums, which then move on to the next row.
/// `rows` are the outer row above, the inner row that leaves the sums, and the outer row below,
/// which enters them.
#[inline(always)]
fn running_loop(extended: ExtendedBox, rows: [&[u8]; 3], sums: &mut [u32], out: &mut [u8]) {
    let [above, leaving, below] = rows.map(|row| &row[..out.len()]);
    let sums = &mut sums[..out.len()];
    for (index, out) in out.iter_mut().enumerate() {
        let below = u32::from(below[index]);
        *out = extended.weigh(sums[index], u32::from(above[index]) + below);
        sums[index] = sums[index] + below - u32::from(leaving[index]);
    }
}

/// The row `offset` rows below row `y` of a picture of `height` rows; beyond the edges, the row at
/// the edge. `window` holds the latest rows in turn.
fn row_near(window: &[u8], stride: usize, height: usize, y: usize, offset: isize) -> &[u8] {
    let capacity = window.len() / stride;
    let row = y.saturating_add_signed(offset).min(height - 1);
    &window[row % capacity * stride..][..stride]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    #[test]
    fn constants_are_those_of_pillow() {
        assert_eq!(ExtendedBox::of_gaussian(2.0), ExtendedBox { radius: 1, near: 4_473_924, far: 1_677_722 });
        assert_eq!(ExtendedBox::of_gaussian(1.0).radius, 0);
        assert_eq!(ExtendedBox::of_gaussian(5.0).radius, 4);
    }

    #[test]
    fn weights_sum_to_one() {
        for step in 1..4000 {
            let extended = ExtendedBox::of_gaussian(step as f32 * 0.25);
            let sum = (2 * extended.radius as u32 + 1) * extended.near + 2 * extended.far;
            assert!([(1 << 24) - 1, 1 << 24].contains(&sum), "{extended:?}");
            let white = 255 * (2 * extended.radius as u32 + 1);
            assert_eq!(extended.weigh(white, 510), 255);
        }
    }

    /// The definition: every pass reads its whole input, edges repeated.
    fn plain(picture: &Pixels, sigma: f32) -> Pixels {
        let extended = ExtendedBox::of_gaussian(sigma);
        let (width, height) = (picture.width as isize, picture.height as isize);
        let channels = picture.layout.channels();
        let mut data = picture.data.clone();
        for (step_x, step_y) in [(1, 0), (1, 0), (1, 0), (0, 1), (0, 1), (0, 1)] {
            let before = data.clone();
            let sample = |x: isize, y: isize, channel| {
                let at = y.clamp(0, height - 1) * width + x.clamp(0, width - 1);
                u32::from(before[at as usize * channels + channel])
            };
            for (index, out) in data.iter_mut().enumerate() {
                let (pixel, channel) = ((index / channels) as isize, index % channels);
                let (x, y) = (pixel % width, pixel / width);
                let tap = |offset: isize| sample(x + offset * step_x, y + offset * step_y, channel);
                let reach = extended.reach() as isize;
                let inner = (1 - reach..reach).map(tap).sum();
                *out = extended.weigh(inner, tap(-reach) + tap(reach));
            }
        }
        Pixels { data, ..*picture }
    }

    #[test]
    fn every_size_and_radius_matches_the_definition() {
        let mut state = 1u32;
        for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
            for (width, height) in [(1, 1), (1, 9), (9, 1), (7, 3), (23, 17)] {
                let length = (width * height) as usize * layout.channels();
                let data = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                });
                let picture = Pixels { width, height, layout, data: data.take(length).collect() };
                for sigma in [0.1, 1.0, 2.0, 3.3, 4.0, 5.0, 12.5, 40.0] {
                    assert!(blur(&picture, sigma) == plain(&picture, sigma), "{layout:?} {width} x {height}, {sigma}");
                }
            }
        }
    }

    #[test]
    fn a_radius_of_zero_changes_nothing() {
        let picture = Pixels { width: 2, height: 1, layout: Layout::Gray, data: vec![3, 200] };
        assert_eq!(blur(&picture, 0.0), picture);
    }
}
