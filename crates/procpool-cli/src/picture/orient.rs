//! The eight orientations a camera can note.

use super::pixels::with_channels;
use super::{Bounds, Pixels};

/// How a stored picture must be turned to be upright: the value of the EXIF and TIFF tag
/// `Orientation` (274), 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    /// Stored upright.
    pub(super) const UPRIGHT: Self = Self(1);

    /// The orientation of a tag's value; values that mean nothing count as upright.
    pub(super) fn from_tag(value: u32) -> Self {
        match value {
            2..=8 => Self(value as u8),
            _ => Self::UPRIGHT,
        }
    }

    /// The size of the upright picture for a stored size, and the other way round.
    pub(super) fn turn_size<T>(self, (width, height): (T, T)) -> (T, T) {
        if self.0 >= 5 { (height, width) } else { (width, height) }
    }

    /// What is wanted of the upright picture, for the stored one.
    pub(super) fn turned(self, Bounds { width, height }: Bounds) -> Bounds {
        let (width, height) = self.turn_size((width, height));
        Bounds { width, height }
    }
}

/// Turns a picture upright.
pub(super) fn apply(pixels: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::UPRIGHT {
        return pixels;
    }
    let mut data = vec![0; pixels.data.len()];
    with_channels!(pixels.layout.channels(), turn(&pixels, orientation, &mut data));
    let (width, height) = orientation.turn_size((pixels.width, pixels.height));
    Pixels { width, height, layout: pixels.layout, data }
}

fn turn<const C: usize>(source: &Pixels, orientation: Orientation, out: &mut [u8]) {
    let (width, height) = (source.width as usize, source.height as usize);
    let (out_width, _) = orientation.turn_size((source.width, source.height));
    let (source, _) = source.data.as_chunks::<C>();
    let (out, _) = out.as_chunks_mut::<C>();
    for (y, row) in out.chunks_exact_mut(out_width as usize).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let (from_x, from_y) = match orientation.0 {
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                8 => (width - 1 - y, x),
                _ => (x, y),
            };
            *pixel = source[from_y * width + from_x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Layout;

    #[test]
    fn each_orientation_moves_the_corners() {
        // a b c
        // d e f
        let source = Pixels { width: 3, height: 2, layout: Layout::Gray, data: b"abcdef".to_vec() };
        let expected: [(u32, &[u8]); 8] = [
            (3, b"abcdef"),
            (3, b"cbafed"),
            (3, b"fedcba"),
            (3, b"defabc"),
            (2, b"adbecf"),
            (2, b"daebfc"),
            (2, b"fcebda"),
            (2, b"cfbead"),
        ];
        for (tag, (width, data)) in (1..).zip(expected) {
            let turned = apply(source.clone(), Orientation::from_tag(tag));
            assert_eq!((turned.width, turned.data.as_slice()), (width, data), "{tag}");
        }
    }

    #[test]
    fn a_meaningless_tag_is_upright() {
        for tag in [0, 1, 9, 256 + 6, u32::MAX] {
            assert_eq!(Orientation::from_tag(tag), Orientation::UPRIGHT);
        }
    }
}
