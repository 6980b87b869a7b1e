//! Bars around a picture.

use super::{Layout, Pixels};

/// Puts a picture into the middle of one of `size`, whose other pixels have the colour `background` (red, green, blue). Without
/// one they are clear where the picture has an alpha channel, and else white.
pub(super) fn pad(pixels: Pixels, size: (u32, u32), background: Option<[u8; 3]>) -> Pixels {
    let colour = background.unwrap_or([255; 3]);
    let pixels = if colour[0] == colour[1] && colour[1] == colour[2] { pixels } else { with_colours(pixels) };
    let [red, green, blue] = colour;
    let alpha = if background.is_some() { 255 } else { 0 };
    let fill: &[u8] = match pixels.layout {
        Layout::Gray => &[red],
        Layout::GrayAlpha => &[red & alpha, alpha],
        Layout::Rgb => &[red, green, blue],
        Layout::Rgba | Layout::Cmyk => &[red & alpha, green & alpha, blue & alpha, alpha],
    };
    let channels = fill.len();
    let stride = size.0 as usize * channels;
    let mut data = fill.repeat(size.0 as usize * size.1 as usize);
    let (left, top) = (middle(size.0, pixels.width), middle(size.1, pixels.height));
    for (row, out) in pixels.rows().zip(data.chunks_exact_mut(stride).skip(top)) {
        out[left * channels..][..row.len()].copy_from_slice(row);
    }
    Pixels { width: size.0, height: size.1, layout: pixels.layout, data }
}

/// Where what is `inner` long begins, in the middle of what is `outer` long. Half pixels go to the even side, as in Pillow.
fn middle(outer: u32, inner: u32) -> usize {
    (f64::from(outer.saturating_sub(inner)) * 0.5).round_ties_even() as usize
}

/// A grey picture as a coloured one.
fn with_colours(pixels: Pixels) -> Pixels {
    let (layout, data) = match pixels.layout {
        Layout::Gray => (Layout::Rgb, pixels.data.iter().flat_map(|&grey| [grey; 3]).collect()),
        Layout::GrayAlpha => {
            let (greys, _) = pixels.data.as_chunks::<2>();
            (Layout::Rgba, greys.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]).collect())
        }
        Layout::Rgb | Layout::Rgba | Layout::Cmyk => return pixels,
    };
    Pixels { layout, data, ..pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(layout: Layout, data: &[u8]) -> Pixels {
        let width = (data.len() / layout.channels()) as u32;
        Pixels { width, height: 1, layout, data: data.to_vec() }
    }

    #[test]
    fn the_picture_is_in_the_middle() {
        let padded = pad(picture(Layout::Gray, &[7, 8]), (5, 3), Some([0; 3]));
        assert_eq!(padded.data, [0, 0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!([middle(5, 2), middle(7, 2), middle(4, 2), middle(2, 2)], [2, 2, 1, 0]);
    }

    #[test]
    fn bars_are_clear_where_they_can_be() {
        let fill = |layout: Layout, background| {
            let one = picture(layout, &[1, 2, 3, 4][..layout.channels()]);
            let padded = pad(one, (3, 1), background);
            (padded.layout, padded.data[..padded.layout.channels()].to_vec())
        };
        assert_eq!(fill(Layout::Gray, None), (Layout::Gray, vec![255]));
        assert_eq!(fill(Layout::GrayAlpha, None), (Layout::GrayAlpha, vec![0, 0]));
        assert_eq!(fill(Layout::Rgba, None), (Layout::Rgba, vec![0; 4]));
        assert_eq!(fill(Layout::Rgba, Some([1, 2, 3])), (Layout::Rgba, vec![1, 2, 3, 255]));
        assert_eq!(fill(Layout::Gray, Some([1, 2, 3])), (Layout::Rgb, vec![1, 2, 3]));
        assert_eq!(fill(Layout::GrayAlpha, Some([9, 9, 9])), (Layout::GrayAlpha, vec![9, 255]));
    }
}
