//! Lengths in whole pixels.

use super::shape::Bounds;

/// The size of a picture of `size` made to fit `bounds` with its proportions kept, or `None` if it
/// fits already. A free side is no bound.
pub(super) fn inside(size: (u32, u32), bounds: Bounds) -> Option<(u32, u32)> {
    fit(size, (bounds.width.unwrap_or(u32::MAX), bounds.height.unwrap_or(u32::MAX)))
}

/// Pillow's rule for thumbnails: of the two whole numbers next to the exact length, the one whose
/// proportions are closer.
fn fit(size: (u32, u32), bounds: (u32, u32)) -> Option<(u32, u32)> {
    if bounds.0 >= size.0 && bounds.1 >= size.1 {
        return None;
    }
    let (x, y) = (f64::from(bounds.0), f64::from(bounds.1));
    let aspect = f64::from(size.0) / f64::from(size.1);
    Some(if x / y >= aspect {
        let width = round_aspect(y * aspect, |n| (aspect - n / y).abs());
        (width, bounds.1)
    } else {
        let height = round_aspect(x / aspect, |n| if n == 0.0 { 0.0 } else { (aspect - x / n).abs() });
        (bounds.0, height)
    })
}

fn round_aspect(length: f64, error: impl Fn(f64) -> f64) -> u32 {
    let (low, high) = (length.floor(), length.ceil());
    let best = if error(high) < error(low) { high } else { low };
    best.max(1.0) as u32
}

/// The largest size within `bounds` in the proportions of a picture of `size`, by the rule of
/// Pillow's `ImageOps.contain`: rounded to the nearest whole number, ties to even. Pillow makes
/// nothing at all of a picture that would have a side of 0; here it is 1.
pub(super) fn contained(size: (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    let have = f64::from(size.0) / f64::from(size.1);
    let want = f64::from(bounds.0) / f64::from(bounds.1);
    if have > want {
        following(size, (Some(bounds.0), None))
    } else if have < want {
        following(size, (None, Some(bounds.1)))
    } else {
        bounds
    }
}

/// The size with one length given and the other in proportion, rounded to nearest, ties to even.
pub(super) fn following(size: (u32, u32), lengths: (Option<u32>, Option<u32>)) -> (u32, u32) {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let whole = |length: f64| length.round_ties_even().max(1.0) as u32;
    match lengths {
        (Some(across), Some(down)) => (across, down),
        (Some(across), None) => (across, whole(height / width * f64::from(across))),
        (None, Some(down)) => (whole(width / height * f64::from(down)), down),
        (None, None) => size,
    }
}

/// The size with the shorter side `length` pixels long and the longer one in proportion, rounded
/// down.
pub(super) fn shorter(size: (u32, u32), length: u32) -> (u32, u32) {
    let longer = |this: u32, other: u32| {
        let exact = u64::from(length) * u64::from(this) / u64::from(other);
        u32::try_from(exact).unwrap_or(u32::MAX)
    };
    if size.0 <= size.1 { (length, longer(size.1, size.0)) } else { (longer(size.0, size.1), length) }
}

/// By how much (1, 2, 4 or 8) a JPEG picture is shrunk while it is decoded, when a part of it of
/// `size` is to fit `bounds`: as far as at least `left` times the bounds remain, so that the resampling
/// that follows hides it.
pub(super) fn decode_shrink(size: (u32, u32), bounds: (u32, u32), left: u32) -> u32 {
    let wanted = |length: u32| (u64::from(length) * u64::from(left)).min(u64::from(u32::MAX)) as u32;
    let factor = (size.0 / wanted(bounds.0)).min(size.1 / wanted(bounds.1));
    [8, 4, 2].into_iter().find(|&shrink| factor >= shrink).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_fits_keeps_its_size() {
        assert_eq!(fit((128, 128), (128, 128)), None);
        assert_eq!(fit((1, 1), (128, 128)), None);
        assert_eq!(fit((128, 129), (128, 128)), Some((127, 128)));
    }

    #[test]
    fn proportions_are_kept() {
        assert_eq!(fit((4000, 3000), (128, 128)), Some((128, 96)));
        assert_eq!(fit((3000, 4000), (128, 128)), Some((96, 128)));
        assert_eq!(fit((3840, 2160), (256, 256)), Some((256, 144)));
        assert_eq!(fit((5312, 2988), (300, 200)), Some((300, 169)));
    }

    #[test]
    fn a_side_is_never_zero() {
        assert_eq!(fit((1, 500), (128, 128)), Some((1, 128)));
        assert_eq!(fit((500, 1), (128, 128)), Some((128, 1)));
        assert_eq!(fit((100_000, 1), (2, 2)), Some((2, 1)));
    }

    #[test]
    fn the_lower_length_wins_a_tie_of_proportions() {
        // 3 x 2 into height 1: widths 1 and 2 are both 0.5 off.
        assert_eq!(fit((3, 2), (9, 1)), Some((1, 1)));
    }

    #[test]
    fn decoding_leaves_as_many_times_the_bounds() {
        assert_eq!(decode_shrink((4000, 3000), (128, 128), 2), 8);
        assert_eq!(decode_shrink((4000, 3000), (256, 256), 2), 4);
        assert_eq!(decode_shrink((4000, 3000), (700, 700), 2), 2);
        assert_eq!(decode_shrink((4000, 3000), (800, 800), 2), 1);
        assert_eq!(decode_shrink((4000, 3000), (u32::MAX, 1), 2), 1);
        assert_eq!(decode_shrink((64, 64), (2, 2), 2), 8);
        assert_eq!(decode_shrink((4000, 3000), (128, 128), 3), 4);
        assert_eq!(decode_shrink((4000, 3000), (125, 125), 3), 8);
    }

    #[test]
    fn the_other_side_follows() {
        assert_eq!(contained((400, 200), (100, 100)), (100, 50));
        assert_eq!(contained((200, 400), (100, 100)), (50, 100));
        assert_eq!(contained((2, 2), (100, 100)), (100, 100));
        // 2.5 and 3.5: to even.
        assert_eq!(following((100, 50), (Some(5), None)), (5, 2));
        assert_eq!(following((100, 50), (Some(7), None)), (7, 4));
        assert_eq!(shorter((640, 481), 256), (340, 256));
        assert_eq!(shorter((481, 640), 256), (256, 340));
        assert_eq!(shorter((1, 5000), 3), (3, 15_000));
    }
}
