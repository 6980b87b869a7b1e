//! From the planes of a decoded AV1 picture to pixels of 8 bits: ITU-T H.273, sections 8.2 and 8.3. Colour at half the
//! resolution is spread by bilinear interpolation with its samples in the middle between those of luma.
//!
//! The arithmetic is that of libavif with libyuv, which Pillow uses: whole numbers with 6 bits behind the point for the usual
//! matrices, floating point for the rare ones. Which of them, and how samples of more than 8 bits lose the rest, depends in
//! libyuv on whether there is alpha.

use super::container::Flaw;
use crate::picture::Layout;

/// Samples of up to 16 bits, rows from top to bottom.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u16>,
}

impl Plane {
    fn at(&self, x: usize, y: usize) -> f32 {
        f32::from(self.samples[y * self.width + x])
    }
}

/// A decoded picture.
pub(super) struct Coded {
    pub(super) luma: Plane,
    /// The two planes of colour; none for grey.
    pub(super) chroma: Option<[Plane; 2]>,
    /// Bits per sample.
    pub(super) bits: u8,
    /// What the samples mean, as the coded picture says, if it is anything known.
    pub(super) meaning: Option<Meaning>,
}

/// What samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The number of the matrix in H.273.
    pub(super) matrix: u16,
    /// Whether all levels are used, not only the middle ones of video.
    pub(super) full: bool,
}

impl Coded {
    /// The scale and the zero of luma, and the scale of colour, whose zero is the middle.
    fn ranges(&self, full: bool) -> (f32, f32, f32) {
        let highest = ((1u32 << self.bits) - 1) as f32;
        if full {
            (1.0 / highest, 0.0, 1.0 / highest)
        } else {
            let unit = (1u32 << (self.bits - 8)) as f32;
            (1.0 / (219.0 * unit), 16.0 * unit, 1.0 / (224.0 * unit))
        }
    }

    /// Grey levels of 8 bits: the luma.
    pub(super) fn grey(&self, full: bool) -> Vec<u8> {
        let (scale, zero, _) = self.ranges(full);
        self.luma.samples.iter().map(|&sample| level((f32::from(sample) - zero) * scale)).collect()
    }

    /// Grey levels of 8 bits of a picture that also has alpha.
    pub(super) fn grey_beside_alpha(&self, meaning: Meaning) -> Vec<u8> {
        match Fixed::of(meaning) {
            Some(fixed) => self.luma.samples.iter().map(|&sample| fixed.grey(sample >> (self.bits - 8))).collect(),
            None => self.grey(meaning.full),
        }
    }

    /// Alpha of 8 bits.
    pub(super) fn alpha(&self, full: bool) -> Vec<u8> {
        match (full, self.bits) {
            (true, 10) => self.luma.samples.iter().map(|&sample| (sample >> 2).min(255) as u8).collect(),
            _ => self.grey(full),
        }
    }

    /// Colours of 8 bits, three bytes a pixel. `alpha` says whether the picture has alpha, too.
    pub(super) fn colours(&self, meaning: Meaning, alpha: bool) -> Result<Vec<u8>, Flaw> {
        let Some(chroma) = &self.chroma else {
            return Ok(self.grey(meaning.full).into_iter().flat_map(|grey| [grey; 3]).collect());
        };
        match Fixed::of(meaning) {
            Some(fixed) => Ok(self.fixed_colours(chroma, fixed, alpha)),
            None => self.rare_colours(chroma, meaning),
        }
    }

    fn fixed_colours(&self, chroma: &[Plane; 2], fixed: Fixed, alpha: bool) -> Vec<u8> {
        let size = (self.luma.width, self.luma.height);
        // Bits that are cut off before colour is spread, and after.
        let (before, after) = match (self.bits, alpha) {
            (10, true) => (0, 2),
            (12, true) if chroma[0].width < size.0 && chroma[0].height < size.1 => (0, 4),
            (bits, _) => (bits - 8, 0),
        };
        // There is nothing in libyuv that spreads 12 bits.
        let nearest = after == 4;
        let mut data = vec![0; self.luma.samples.len() * 3];
        let [mut first, mut second] = [vec![0; size.0], vec![0; size.0]];
        let mut spreads = [Spread::new(&chroma[0], before, nearest), Spread::new(&chroma[1], before, nearest)];
        let rows = self.luma.samples.chunks_exact(size.0).zip(data.chunks_exact_mut(3 * size.0));
        for (y, (luma, row)) in rows.enumerate() {
            spreads[0].row(size, y, &mut first);
            spreads[1].row(size, y, &mut second);
            let wide = |luma: u16| match after {
                0 => u32::from(luma >> before) * 0x0101,
                after => u32::from(luma) << (8 - after) | u32::from(luma) >> (2 * after),
            };
            let narrow = |sample: u16| i32::from((sample >> after).min(255)) - 128;
            let samples = luma.iter().zip(&first).zip(&second);
            for (pixel, ((&luma, &blue), &red)) in row.as_chunks_mut().0.iter_mut().zip(samples) {
                *pixel = fixed.colour(wide(luma), narrow(blue), narrow(red));
            }
        }
        data
    }

    /// Colours by a matrix that libyuv does not have.
    fn rare_colours(&self, chroma: &[Plane; 2], meaning: Meaning) -> Result<Vec<u8>, Flaw> {
        let mix = Mix::of(meaning.matrix)?;
        if matches!(mix, Mix::None) && chroma[0].width != self.luma.width {
            return Err(Flaw::Damaged("its colours are coded one by one and not all there"));
        }
        let (scale, zero, colour_scale) = self.ranges(meaning.full);
        let middle = (1u32 << (self.bits - 1)) as f32;
        let mut data = Vec::with_capacity(self.luma.samples.len() * 3);
        let [mut first, mut second] = [vec![0.0; self.luma.width], vec![0.0; self.luma.width]];
        for y in 0..self.luma.height {
            let size = (self.luma.width, self.luma.height);
            spread(&chroma[0], size, y, &mut first);
            spread(&chroma[1], size, y, &mut second);
            for (x, (&first, &second)) in first.iter().zip(&second).enumerate() {
                let luma = (self.luma.at(x, y) - zero) * scale;
                let colour = match mix {
                    // Green, blue, red.
                    Mix::None => [(second - zero) * scale, luma, (first - zero) * scale],
                    _ => mix.apply(luma, (first - middle) * colour_scale, (second - middle) * colour_scale),
                };
                data.extend(colour.map(level));
            }
        }
        Ok(data)
    }
}

/// Colours from luma and two differences, in whole numbers with 6 bits behind the point.
#[derive(Clone, Copy, Debug)]
struct Fixed {
    /// What luma counts, as a fraction of 2^16 / 257 of the result.
    luma: u32,
    /// What is added for rounding, and for a zero of luma that is not 0.
    add: i32,
    /// What the difference of blue counts in blue and, taken away, in green; then that of red in green and red.
    blue: i32,
    blue_in_green: i32,
    red_in_green: i32,
    red: i32,
}

impl Fixed {
    /// For the usual matrices.
    fn of(meaning: Meaning) -> Option<Self> {
        // The share of red and blue in luma, and by how much luma of a part of the range is spread.
        let (red, blue, spread) = match meaning.matrix {
            1 => (0.2126, 0.0722, 1.164),
            // Who does not say means what JPEG does.
            2 | 5 | 6 => (0.299, 0.114, 1.164),
            9 => (0.2627, 0.0593, 255.0 / 219.0),
            _ => return None,
        };
        let green = 1.0 - red - blue;
        let spread = if meaning.full { 1.0 } else { spread };
        let colour = |factor: f64| (factor * 64.0 * if meaning.full { 1.0 } else { 255.0 / 224.0 }).round() as i32;
        let (more_blue, more_red) = (2.0 * (1.0 - blue), 2.0 * (1.0 - red));
        Some(Self {
            luma: (spread * 64.0 * 65536.0 / 257.0_f64).round() as u32,
            add: if meaning.full { 32 } else { (spread * 64.0 * -16.0 + 32.0).round() as i32 },
            // No more fits into libyuv's signed bytes.
            blue: colour(more_blue).min(128),
            blue_in_green: colour(blue * more_blue / green),
            red_in_green: colour(red * more_red / green),
            red: colour(more_red),
        })
    }

    /// `luma` has 16 bits, the differences 8.
    #[inline(always)]
    fn colour(self, luma: u32, blue: i32, red: i32) -> [u8; 3] {
        let luma = ((luma * self.luma) >> 16) as i32 + self.add;
        let level = |sum: i32| (sum >> 6).clamp(0, 255) as u8;
        [
            level(luma + red * self.red),
            level(luma - blue * self.blue_in_green - red * self.red_in_green),
            level(luma + blue * self.blue),
        ]
    }

    fn grey(self, luma: u16) -> u8 {
        self.colour(u32::from(luma) * 0x0101, 0, 0)[0]
    }
}

/// Divides colours by alpha, by libyuv's table of reciprocals.
pub(super) fn unpremultiply(layout: Layout, data: &mut [u8]) {
    let channels = layout.channels();
    for pixel in data.chunks_exact_mut(channels) {
        let Some((alpha, colours)) = pixel.split_last_mut() else { continue };
        let reciprocal = match u32::from(*alpha) {
            0 => 0,
            1 => 0xFFFF,
            255 => 0x0100,
            alpha => 0x1_0000 / alpha,
        };
        for colour in colours {
            *colour = ((u32::from(*colour) * 0x0101 * reciprocal) >> 16).min(255) as u8;
        }
    }
}

/// Spreads a plane of colour to the resolution of luma, row by row.
struct Spread<'p> {
    plane: &'p Plane,
    /// Bits to cut off first.
    cut: u8,
    /// Whether each sample is just repeated.
    nearest: bool,
    /// The row before it is spread sideways: 3 of the nearer row and 1 of the farther.
    mixed: Vec<u32>,
}

impl<'p> Spread<'p> {
    fn new(plane: &'p Plane, cut: u8, nearest: bool) -> Self {
        Self { plane, cut, nearest, mixed: vec![0; plane.width] }
    }

    /// Row `y` of a picture of this size.
    fn row(&mut self, (width, height): (usize, usize), y: usize, row: &mut [u16]) {
        let (plane, cut) = (self.plane, self.cut);
        let samples = |y: usize| &plane.samples[y * plane.width..][..plane.width];
        let halved = (plane.width != width, plane.height != height);
        if self.nearest || halved == (false, false) {
            let from = samples(if halved.1 { y / 2 } else { y });
            let at = |x: usize| from[if halved.0 { x / 2 } else { x }] >> cut;
            row.iter_mut().enumerate().for_each(|(x, out)| *out = at(x));
            return;
        }
        let (near, far) = if halved.1 { neighbours(y, plane.height) } else { (y, y) };
        for ((mixed, &near), &far) in self.mixed.iter_mut().zip(samples(near)).zip(samples(far)) {
            *mixed = 3 * u32::from(near >> cut) + u32::from(far >> cut);
        }
        let between = |near: u32, far: u32| ((3 * near + far + 8) >> 4) as u16;
        if !halved.0 {
            row.iter_mut().zip(&self.mixed).for_each(|(out, &mixed)| *out = between(mixed, mixed));
            return;
        }
        let pairs = row.get_mut(1..).unwrap_or_default().as_chunks_mut().0.iter_mut();
        for (pair, sides) in pairs.zip(self.mixed.windows(2)) {
            *pair = [between(sides[0], sides[1]), between(sides[1], sides[0])];
        }
        // There is nothing beside the first column. Beside the last one libyuv does not look, even if there is something to its left.
        if let (Some(out), Some(&mixed)) = (row.first_mut(), self.mixed.first()) {
            *out = between(mixed, mixed);
        }
        if let (Some(out), Some(&mixed)) = (row.last_mut(), self.mixed.last()) {
            *out = between(mixed, mixed);
        }
    }
}

/// A level from 0 to 1 in 8 bits.
fn level(value: f32) -> u8 {
    (value * 255.0 + 0.5) as u8
}

/// Row `y` of a plane of colour, at the resolution of luma.
fn spread(plane: &Plane, (width, height): (usize, usize), y: usize, row: &mut [f32]) {
    let (near_y, far_y) = if plane.height == height { (y, y) } else { neighbours(y, plane.height) };
    let column = |x: usize| plane.at(x, near_y) * 0.75 + plane.at(x, far_y) * 0.25;
    for (x, value) in row.iter_mut().enumerate() {
        *value = if plane.width == width {
            column(x)
        } else {
            let (near, far) = neighbours(x, plane.width);
            column(near) * 0.75 + column(far) * 0.25
        };
    }
}

/// The two samples at half the resolution that position `at` lies between: the nearer and the farther.
fn neighbours(at: usize, length: usize) -> (usize, usize) {
    let near = (at / 2).min(length - 1);
    let far = if at.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(length - 1) };
    (near, far)
}

/// How red, green and blue come from luma and two differences.
#[derive(Clone, Copy, Debug)]
enum Mix {
    /// They are coded as they are.
    None,
    /// By the share of red and of blue in luma.
    Shares(f32, f32),
    /// By additions: YCgCo.
    Sums,
}

impl Mix {
    fn of(matrix: u16) -> Result<Self, Flaw> {
        Ok(match matrix {
            0 => Self::None,
            4 => Self::Shares(0.30, 0.11),
            7 => Self::Shares(0.212, 0.087),
            8 => Self::Sums,
            _ => return Err(Flaw::Unsupported("colours of a rare kind")),
        })
    }

    fn apply(self, luma: f32, first: f32, second: f32) -> [f32; 3] {
        match self {
            Self::None => [second, luma, first],
            Self::Sums => {
                let rest = luma - first;
                [rest + second, luma + first, rest - second]
            }
            Self::Shares(red, blue) => {
                let green = 1.0 - red - blue;
                let [more_blue, more_red] = [2.0 * (1.0 - blue) * first, 2.0 * (1.0 - red) * second];
                [luma + more_red, luma - (red * more_red + blue * more_blue) / green, luma + more_blue]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(width: usize, samples: &[u16]) -> Plane {
        Plane { width, height: samples.len() / width, samples: samples.to_vec() }
    }

    fn one(bits: u8, samples: [u16; 3], matrix: u16, full: bool) -> Vec<u8> {
        let [luma, blue, red] = samples.map(|sample| plane(1, &[sample]));
        let meaning = Meaning { matrix, full };
        let coded = Coded { luma, chroma: Some([blue, red]), bits, meaning: Some(meaning) };
        let plain = coded.colours(meaning, false).expect("a known matrix");
        let beside_alpha = coded.colours(meaning, true).expect("a known matrix");
        assert!(plain.iter().zip(&beside_alpha).all(|(a, b)| a.abs_diff(*b) <= 1), "{plain:?} {beside_alpha:?}");
        plain
    }

    #[test]
    fn colours_of_known_samples() {
        assert_eq!(one(8, [76, 85, 255], 6, true), [255, 0, 0]);
        assert_eq!(one(8, [235, 128, 128], 1, false), [255, 255, 255]);
        assert_eq!(one(8, [16, 128, 128], 1, false), [0, 0, 0]);
        assert_eq!(one(10, [1023, 512, 512], 9, true), [255, 255, 255]);
        assert_eq!(one(12, [0, 2048, 2048], 2, true), [0, 0, 0]);
        // Green, blue, red.
        assert_eq!(one(8, [10, 20, 30], 0, true), [30, 10, 20]);
        assert_eq!(one(8, [76, 85, 255], 4, true), [254, 0, 0]);
        assert_eq!(Mix::of(14).map(|_| ()), Err(Flaw::Unsupported("colours of a rare kind")));
    }

    #[test]
    fn the_whole_numbers_are_libyuvs() {
        let numbers = |matrix, full| {
            let made = Fixed::of(Meaning { matrix, full }).expect("a usual matrix");
            let Fixed { luma, add, blue, blue_in_green, red_in_green, red } = made;
            (luma, add, [blue, blue_in_green, red_in_green, red])
        };
        assert_eq!(numbers(6, true), (16320, 32, [113, 22, 46, 90]));
        assert_eq!(numbers(6, false), (18997, -1160, [128, 25, 52, 102]));
        assert_eq!(numbers(1, true), (16320, 32, [119, 12, 30, 101]));
        assert_eq!(numbers(1, false), (18997, -1160, [128, 14, 34, 115]));
        assert_eq!(numbers(9, true), (16320, 32, [120, 11, 37, 94]));
        assert_eq!(numbers(9, false), (19003, -1160, [128, 12, 42, 107]));
    }

    #[test]
    fn colours_are_divided_by_alpha() {
        let mut data = vec![200, 0, 255, 255, 50, 10, 0, 100, 200, 100, 1, 100, 9, 9, 9, 0, 1, 0, 2, 1];
        unpremultiply(Layout::Rgba, &mut data);
        assert_eq!(data, [200, 0, 255, 255, 128, 25, 0, 100, 255, 255, 2, 100, 0, 0, 0, 0, 255, 0, 255, 1]);
        let mut data = vec![50, 100];
        unpremultiply(Layout::GrayAlpha, &mut data);
        assert_eq!(data, [128, 100]);
    }

    #[test]
    fn colour_at_half_the_resolution_is_interpolated() {
        let mut row = [0.0; 5];
        spread(&plane(3, &[0, 8, 16]), (5, 1), 0, &mut row);
        assert_eq!(row, [0.0, 2.0, 6.0, 10.0, 14.0]);
        let mut row = [0.0; 2];
        spread(&plane(1, &[4, 8]), (2, 4), 1, &mut row);
        assert_eq!(row, [5.0, 5.0]);
        let mut row = [0; 5];
        Spread::new(&plane(3, &[0, 8, 17]), 0, false).row((5, 1), 0, &mut row);
        assert_eq!(row, [0, 2, 6, 10, 17]);
        let mut row = [0; 2];
        Spread::new(&plane(1, &[16, 35]), 2, false).row((2, 4), 1, &mut row);
        assert_eq!(row, [5, 5]);
        Spread::new(&plane(1, &[16, 35]), 0, true).row((2, 4), 1, &mut row);
        assert_eq!(row, [16, 16]);
        for width in 1..10_usize {
            let samples: Vec<u16> = (0..width.div_ceil(2)).map(|x| [7, 90, 31, 200, 64][x]).collect();
            let expected = (0..width).map(|x| {
                let (near, far) =
                    if x + 1 < width { neighbours(x, samples.len()) } else { (samples.len() - 1, samples.len() - 1) };
                (12 * samples[near] + 4 * samples[far] + 8) >> 4
            });
            let mut row = vec![0; width];
            Spread::new(&plane(samples.len(), &samples), 0, false).row((width, 1), 0, &mut row);
            assert_eq!(row, expected.collect::<Vec<_>>(), "{width} pixels wide");
        }
    }
}
