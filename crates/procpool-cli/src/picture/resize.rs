//! From the decoded picture to the thumbnail's pixels: blur, reduction by whole factors, resampling.

use std::borrow::Cow;
use std::ops::Range;

use super::reduce::Reducer;
use super::shape::Region;
use super::{Filter, Pixels, alpha, blur, convolve, fused};

/// How a picture is to be resampled: what Pillow's `Image.resize` is told.
#[derive(Clone, Copy, Debug)]
pub struct Resampling {
    /// The width and height to make, each 1 or more.
    pub size: (u32, u32),
    /// The part of the picture to make them of, within the picture.
    pub region: Region,
    /// How pixels are weighed.
    pub filter: Filter,
    /// If given, the picture is first made smaller by whole factors as long as so many times the size remain: Pillow's
    /// `reducing_gap`. Faster, and within a few levels of the same without.
    pub gap: Option<f64>,
}

/// Makes a picture of another size, as Pillow's `Image.resize` does, to the last bit.
///
/// Colours are resampled premultiplied by alpha, so that clear pixels do not show.
pub fn resize(source: Pixels, resampling: &Resampling) -> Pixels {
    resample(Cow::Owned(source), None, resampling)
}

/// Blurs a picture with standard deviation `sigma` and makes it another size.
///
/// The blur is not premultiplied, as in Pillow.
pub(super) fn resample(source: Cow<'_, Pixels>, sigma: Option<f32>, resampling: &Resampling) -> Pixels {
    let own = (source.width, source.height);
    if resampling.size == own && resampling.region == Region::whole(own) {
        return blurred(source, sigma);
    }
    let Steps { factors, part, region } = Steps::of(resampling, own);
    let reduced = reduced(source, sigma, factors, &part);
    let mut resized = convolve::resize(&reduced, &region, resampling.size, resampling.filter);
    alpha::unpremultiply(resized.layout, &mut resized.data);
    resized
}

/// The picture in its own size.
pub(super) fn blurred(source: Cow<'_, Pixels>, sigma: Option<f32>) -> Pixels {
    match sigma {
        Some(sigma) => blur::blur(&source, sigma),
        None => source.into_owned(),
    }
}

/// By how much a side of length `extent` is reduced when `target` is wanted.
fn factor(extent: f64, target: u32, gap: f64) -> u32 {
    ((extent / f64::from(target) / gap) as u32).max(1)
}

/// What is done one after the other.
pub(super) struct Steps {
    /// By how much width and height are reduced.
    pub(super) factors: (u32, u32),
    /// What is reduced.
    pub(super) part: Part,
    /// What is resampled of the reduced part.
    pub(super) region: Region,
}

impl Steps {
    pub(super) fn of(resampling: &Resampling, own: (u32, u32)) -> Self {
        let Resampling { size, region, gap, .. } = *resampling;
        let factors =
            gap.map_or((1, 1), |gap| (factor(region.width(), size.0, gap), factor(region.height(), size.1, gap)));
        let part = if factors == (1, 1) { Part::whole(own) } else { Part::around(resampling, own) };
        let region = Region {
            left: (region.left - part.across.start as f64) / f64::from(factors.0),
            top: (region.top - part.down.start as f64) / f64::from(factors.1),
            right: (region.right - part.across.start as f64) / f64::from(factors.0),
            bottom: (region.bottom - part.down.start as f64) / f64::from(factors.1),
        };
        Self { factors, part, region }
    }
}

/// The columns and rows that are reduced.
pub(super) struct Part {
    pub(super) across: Range<usize>,
    pub(super) down: Range<usize>,
}

impl Part {
    fn whole((width, height): (u32, u32)) -> Self {
        Self { across: 0..width as usize, down: 0..height as usize }
    }

    /// The region with what the kernel reaches around it.
    fn around(resampling: &Resampling, (width, height): (u32, u32)) -> Self {
        let Resampling { size, region, filter, .. } = resampling;
        let side = |start: f64, end: f64, target: u32, length: u32| {
            let reach = (filter.support() - 0.5) * ((end - start) / f64::from(target));
            (start - reach).max(0.0) as usize..((end + reach).ceil() as usize).min(length as usize)
        };
        Self {
            across: side(region.left, region.right, size.0, width),
            down: side(region.top, region.bottom, size.1, height),
        }
    }
}

/// A part of the picture blurred, premultiplied and reduced, row by row.
fn reduced<'a>(mut source: Cow<'a, Pixels>, sigma: Option<f32>, factors: (u32, u32), part: &Part) -> Cow<'a, Pixels> {
    let layout = source.layout;
    if sigma.is_none() {
        if layout.has_alpha() {
            alpha::premultiply(layout, &mut source.to_mut().data);
        }
        if factors == (1, 1) {
            return source;
        }
    }
    let is_whole = (part.across.len(), part.down.len()) == (source.width as usize, source.height as usize);
    // Colours are premultiplied after the blur, so that the two cannot be one there.
    if let Some(sigma) = sigma.filter(|_| is_whole && !layout.has_alpha())
        && let Some(reduced) = fused::reduced(&source, sigma, factors)
    {
        return Cow::Owned(reduced);
    }
    let mut reducer = Reducer::new(layout, (part.across.len() as u32, part.down.len() as u32), factors);
    let columns = part.across.start * layout.channels()..part.across.end * layout.channels();
    match sigma {
        None => {
            source.rows().take(part.down.end).skip(part.down.start).for_each(|row| reducer.push(&row[columns.clone()]))
        }
        Some(sigma) => {
            let (mut y, mut premultiplied) = (0, Vec::new());
            blur::for_each_blurred_row(&source, sigma, |row| {
                if part.down.contains(&y) {
                    premultiplied.clear();
                    premultiplied.extend_from_slice(&row[columns.clone()]);
                    alpha::premultiply(layout, &mut premultiplied);
                    reducer.push(&premultiplied);
                }
                y += 1;
            });
        }
    }
    Cow::Owned(reducer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    #[test]
    fn reduction_leaves_twice_the_size() {
        assert_eq!(factor(4000.0, 128, 2.0), 15);
        assert_eq!(factor(511.0, 128, 2.0), 1);
        assert_eq!(factor(512.0, 128, 2.0), 2);
        assert_eq!(factor(1.0, 1, 2.0), 1);
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
        for gap in [None, Some(2.0)] {
            let resampling = Resampling { size: (1, 1), region: Region::whole((8, 8)), filter: Filter::Bicubic, gap };
            let made = resize(source.clone(), &resampling).data;
            assert_eq!(made[..3], [255, 0, 0]);
            assert!((127..=128).contains(&made[3]), "{made:?}");
        }
    }

    #[test]
    fn what_lies_beyond_the_part_does_not_count() {
        let row = |x: u8| if (40..60).contains(&x) { 200 } else { 0 };
        let source = Pixels {
            width: 100,
            height: 100,
            layout: Layout::Gray,
            data: (0..100u32).flat_map(|_| (0..100).map(row)).collect(),
        };
        for gap in [None, Some(2.0)] {
            let region = Region { left: 40.0, top: 30.5, right: 60.0, bottom: 50.5 };
            let resampling = Resampling { size: (2, 2), region, filter: Filter::Box, gap };
            assert_eq!(resize(source.clone(), &resampling).data, [200; 4], "{gap:?}");
        }
    }
}
