//! From the planes of a decoded AV1 picture to pixels of 8 bits: ITU-T H.273, sections 8.2 and 8.3. Colour at half the
//! resolution is spread by bilinear interpolation with its samples in the middle between those of luma, as libavif does.

use super::container::Flaw;

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
    /// What the samples mean, as the coded picture says.
    pub(super) meaning: Meaning,
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

    /// Colours of 8 bits, three bytes a pixel.
    pub(super) fn colours(&self, meaning: Meaning) -> Result<Vec<u8>, Flaw> {
        let Some(chroma) = &self.chroma else {
            return Ok(self.grey(meaning.full).into_iter().flat_map(|grey| [grey; 3]).collect());
        };
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
            1 => Self::Shares(0.2126, 0.0722),
            4 => Self::Shares(0.30, 0.11),
            // Who does not say means what JPEG does.
            2 | 5 | 6 => Self::Shares(0.299, 0.114),
            7 => Self::Shares(0.212, 0.087),
            8 => Self::Sums,
            9 => Self::Shares(0.2627, 0.0593),
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
        let coded = Coded { luma, chroma: Some([blue, red]), bits, meaning };
        coded.colours(meaning).expect("a known matrix")
    }

    #[test]
    fn colours_of_known_samples() {
        assert_eq!(one(8, [76, 85, 255], 6, true), [254, 0, 0]);
        assert_eq!(one(8, [235, 128, 128], 1, false), [255, 255, 255]);
        assert_eq!(one(8, [16, 128, 128], 1, false), [0, 0, 0]);
        assert_eq!(one(10, [1023, 512, 512], 9, true), [255, 255, 255]);
        assert_eq!(one(12, [0, 2048, 2048], 2, true), [0, 0, 0]);
        // Green, blue, red.
        assert_eq!(one(8, [10, 20, 30], 0, true), [30, 10, 20]);
        assert_eq!(Mix::of(14).map(|_| ()), Err(Flaw::Unsupported("colours of a rare kind")));
    }

    #[test]
    fn colour_at_half_the_resolution_is_interpolated() {
        let mut row = [0.0; 5];
        spread(&plane(3, &[0, 8, 16]), (5, 1), 0, &mut row);
        assert_eq!(row, [0.0, 2.0, 6.0, 10.0, 14.0]);
        let mut row = [0.0; 2];
        spread(&plane(1, &[4, 8]), (2, 4), 1, &mut row);
        assert_eq!(row, [5.0, 5.0]);
    }
}
