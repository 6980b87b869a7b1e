//! From the decoded picture to the thumbnail's pixels: blur, reduction by whole factors, bicubic
//! resampling.

use super::reduce::Reducer;
use super::{Pixels, alpha, bicubic, blur, fused};

/// The reduction leaves at least this many times the wanted size (Pillow's `reducing_gap`).
const GAP: f64 = 2.0;

/// Blurs a picture with standard deviation `sigma` and makes it `target` pixels large.
///
/// `extent` is the part of the picture that counts, from (0, 0): a picture that was shrunk while
/// it was decoded ends within its last column and row. Colours are resampled premultiplied by
/// alpha, so that clear pixels do not show; the blur is not premultiplied, as in Pillow.
pub(super) fn resample(source: Pixels, sigma: Option<f32>, target: Option<(u32, u32)>, extent: (f64, f64)) -> Pixels {
    let Some(target) = target else {
        return match sigma {
            Some(sigma) => blur::blur(&source, sigma),
            None => source,
        };
    };
    let factors = (factor(extent.0, target.0), factor(extent.1, target.1));
    let reduced = reduced(source, sigma, factors);
    let extent = (extent.0 / f64::from(factors.0), extent.1 / f64::from(factors.1));
    let mut resized = bicubic::resize(&reduced, extent, target);
    alpha::unpremultiply(resized.layout, &mut resized.data);
    resized
}

/// By how much a side of length `extent` is reduced when `target` is wanted.
fn factor(extent: f64, target: u32) -> u32 {
    ((extent / f64::from(target) / GAP) as u32).max(1)
}

/// The picture blurred, premultiplied and reduced, row by row.
fn reduced(mut source: Pixels, sigma: Option<f32>, factors: (u32, u32)) -> Pixels {
    let layout = source.layout;
    if sigma.is_none() {
        alpha::premultiply(layout, &mut source.data);
        if factors == (1, 1) {
            return source;
        }
    }
    // Colours are premultiplied after the blur, so that the two cannot be one there.
    if let Some(sigma) = sigma.filter(|_| !layout.has_alpha())
        && let Some(reduced) = fused::reduced(&source, sigma, factors)
    {
        return reduced;
    }
    let mut reducer = Reducer::new(layout, (source.width, source.height), factors);
    match sigma {
        None => source.rows().for_each(|row| reducer.push(row)),
        Some(sigma) if layout.has_alpha() => {
            let mut premultiplied = Vec::new();
            blur::for_each_blurred_row(&source, sigma, |row| {
                premultiplied.clear();
                premultiplied.extend_from_slice(row);
                alpha::premultiply(layout, &mut premultiplied);
                reducer.push(&premultiplied);
            });
        }
        Some(sigma) => blur::for_each_blurred_row(&source, sigma, |row| reducer.push(row)),
    }
    reducer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    #[test]
    fn reduction_leaves_twice_the_size() {
        assert_eq!(factor(4000.0, 128), 15);
        assert_eq!(factor(511.0, 128), 1);
        assert_eq!(factor(512.0, 128), 2);
        assert_eq!(factor(1.0, 1), 1);
    }

    #[test]
    fn clear_pixels_do_not_bleed() {
        // Opaque red beside clear green: the mean is half-clear red.
        let source = Pixels {
            width: 8,
            height: 8,
            layout: Layout::Rgba,
            data: [[255, 0, 0, 255], [0, 255, 0, 0]].concat().repeat(32),
        };
        let made = resample(source, None, Some((1, 1)), (8.0, 8.0));
        assert_eq!(made.data, [255, 0, 0, 128]);
    }
}
