//! Mean and standard deviation of each channel, from sums of whole numbers: the order of the pictures makes no difference.

use serde::{Deserialize, Serialize};

/// What is summed up over pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// How many.
    pub pixels: u64,
    /// The samples of each channel.
    pub of: [u64; 3],
    /// Their squares.
    pub of_squares: [u64; 3],
}

impl Sums {
    /// The sums over interleaved pixels of three channels.
    pub(crate) fn over(rgb: &[u8]) -> Sums {
        let (pixels, _) = rgb.as_chunks::<3>();
        let mut sums = Sums { pixels: pixels.len() as u64, ..Sums::default() };
        // So many squares of 255 fit in 32 bits.
        for some in pixels.chunks(1 << 16) {
            let (mut of, mut of_squares) = ([0u32; 3], [0u32; 3]);
            for pixel in some {
                for channel in 0..3 {
                    let sample = u32::from(pixel[channel]);
                    of[channel] += sample;
                    of_squares[channel] += sample * sample;
                }
            }
            for channel in 0..3 {
                sums.of[channel] += u64::from(of[channel]);
                sums.of_squares[channel] += u64::from(of_squares[channel]);
            }
        }
        sums
    }

    /// Whether there are pixels with such sums.
    pub(crate) fn are_possible(&self) -> bool {
        let most = |of: u64| u128::from(of) <= 255 * u128::from(self.pixels);
        self.of
            .iter()
            .zip(&self.of_squares)
            .all(|(&of, &squares)| most(of) && u128::from(squares) <= 255 * u128::from(of) && squares >= of)
    }
}

/// The sums over many pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pixels: u128,
    of: [u128; 3],
    of_squares: [u128; 3],
}

impl Total {
    /// Adds a picture.
    pub(crate) fn add(&mut self, sums: &Sums) {
        self.pixels += u128::from(sums.pixels);
        for channel in 0..3 {
            self.of[channel] += u128::from(sums.of[channel]);
            self.of_squares[channel] += u128::from(sums.of_squares[channel]);
        }
    }

    /// The mean of each channel, where 1 is white; `None` if there are no pixels.
    pub(crate) fn mean(&self) -> Option<[f64; 3]> {
        let pixels = self.pixels as f64;
        (self.pixels > 0).then(|| self.of.map(|of| of as f64 / pixels / 255.0))
    }

    /// The standard deviation of each channel over all pixels, where 1 is white; `None` if there are no pixels.
    pub(crate) fn deviation(&self) -> Option<[f64; 3]> {
        let pixels = self.pixels as f64;
        // Exact before the root: the difference of two large numbers that are nearly equal. Half of the bits would have to
        // hold more than 2^56 pixels for it to overflow.
        let variance = |channel: usize| {
            let (of, squares) = (self.of[channel], self.of_squares[channel]);
            self.pixels.saturating_mul(squares).saturating_sub(of.saturating_mul(of)) as f64
        };
        (self.pixels > 0).then(|| [0, 1, 2].map(|channel| variance(channel).sqrt() / pixels / 255.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_definition() {
        let pixels: Vec<u8> = (0..300_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut total = Total::default();
        pixels.chunks(30_000).for_each(|some| total.add(&Sums::over(some)));
        let mut whole = Total::default();
        whole.add(&Sums::over(&pixels));
        assert_eq!(total, whole);
        let (mean, deviation) = (total.mean().expect("pixels"), total.deviation().expect("pixels"));
        for channel in 0..3 {
            let samples = || pixels.iter().skip(channel).step_by(3).map(|&sample| f64::from(sample) / 255.0);
            let expected = samples().sum::<f64>() / 100_000.0;
            let squares = samples().map(|sample| (sample - expected).powi(2)).sum::<f64>() / 100_000.0;
            assert!((mean[channel] - expected).abs() < 1e-12);
            assert!((deviation[channel] - squares.sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn one_colour_deviates_by_nothing() {
        let mut total = Total::default();
        assert_eq!((total.mean(), total.deviation()), (None, None));
        (0..1000).for_each(|_| total.add(&Sums::over(&[[255, 0, 51]; 100].concat())));
        assert_eq!((total.mean(), total.deviation()), (Some([1.0, 0.0, 0.2]), Some([0.0; 3])));
    }

    #[test]
    fn sums_that_no_pixels_have_are_told() {
        let sums = Sums::over(&[0, 1, 2, 255, 254, 3]);
        assert!(sums.are_possible() && Sums::default().are_possible());
        assert!(!Sums { pixels: 1, ..sums }.are_possible());
        assert!(!Sums { of_squares: [u64::MAX; 3], ..sums }.are_possible());
        assert!(!Sums { of_squares: [0; 3], ..sums }.are_possible());
    }
}
