//! Arithmetic on alpha and ink. Rounding follows Pillow's `MULDIV255` and its conversions between
//! `RGBA`, `RGBa`, `LA`, `La`, `CMYK` and `RGB`.

use super::{Layout, Pixels};

/// `value / 255`, rounded, for a value of at most 65 025.
fn div255(value: u32) -> u32 {
    let value = value + 128;
    ((value >> 8) + value) >> 8
}

/// Multiplies the colours of the pixels by their alpha.
pub(super) fn premultiply(layout: Layout, data: &mut [u8]) {
    match layout {
        Layout::GrayAlpha => {
            for [grey, alpha] in data.as_chunks_mut::<2>().0 {
                *grey = div255(u32::from(*grey) * u32::from(*alpha)) as u8;
            }
        }
        Layout::Rgba => {
            for [red, green, blue, alpha] in data.as_chunks_mut::<4>().0 {
                for colour in [red, green, blue] {
                    *colour = div255(u32::from(*colour) * u32::from(*alpha)) as u8;
                }
            }
        }
        Layout::Gray | Layout::Rgb | Layout::Cmyk => {}
    }
}

/// Undoes [`premultiply`], as far as 8 bits allow.
pub(super) fn unpremultiply(layout: Layout, data: &mut [u8]) {
    match layout {
        Layout::GrayAlpha => {
            for [grey, alpha] in data.as_chunks_mut::<2>().0 {
                divide(grey, *alpha);
            }
        }
        Layout::Rgba => {
            for [red, green, blue, alpha] in data.as_chunks_mut::<4>().0 {
                for colour in [red, green, blue] {
                    divide(colour, *alpha);
                }
            }
        }
        Layout::Gray | Layout::Rgb | Layout::Cmyk => {}
    }
}

fn divide(colour: &mut u8, alpha: u8) {
    if alpha != 0 && alpha != 255 {
        *colour = (255 * u32::from(*colour) / u32::from(alpha)).min(255) as u8;
    }
}

/// Lays the picture on a colour: RGBA becomes RGB; grey and alpha become grey, or RGB where the colour is none of grey.
pub(super) fn flatten(pixels: &Pixels, background: [u8; 3]) -> Pixels {
    let blend = |colour: u8, alpha: u8, below: u8| {
        div255(u32::from(colour) * u32::from(alpha) + u32::from(below) * (255 - u32::from(alpha))) as u8
    };
    let over = |colour: [u8; 3], alpha: u8| [0, 1, 2].map(|channel| blend(colour[channel], alpha, background[channel]));
    let (layout, data) = match pixels.layout {
        Layout::GrayAlpha => {
            let (pixels, _) = pixels.data.as_chunks::<2>();
            if background == [background[0]; 3] {
                (Layout::Gray, pixels.iter().map(|&[grey, alpha]| blend(grey, alpha, background[0])).collect())
            } else {
                (Layout::Rgb, pixels.iter().flat_map(|&[grey, alpha]| over([grey; 3], alpha)).collect())
            }
        }
        Layout::Rgba => {
            let (pixels, _) = pixels.data.as_chunks::<4>();
            (
                Layout::Rgb,
                pixels.iter().flat_map(|&[red, green, blue, alpha]| over([red, green, blue], alpha)).collect(),
            )
        }
        layout => (layout, pixels.data.clone()),
    };
    Pixels { layout, data, ..*pixels }
}

/// Converts CMYK to RGB without a colour profile; other layouts stay as they are.
pub(super) fn cmyk_to_rgb(pixels: Pixels) -> Pixels {
    if pixels.layout != Layout::Cmyk {
        return pixels;
    }
    let (inks, _) = pixels.data.as_chunks::<4>();
    let data = inks.iter().flat_map(|&[cyan, magenta, yellow, black]| {
        let light = 255 - u32::from(black);
        [cyan, magenta, yellow].map(|ink| light.saturating_sub(div255(u32::from(ink) * light)) as u8)
    });
    Pixels { layout: Layout::Rgb, data: data.collect(), ..pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_by_255_rounds_to_nearest() {
        for value in 0..=255 * 255u32 {
            assert_eq!(div255(value), (value + 127) / 255, "{value}");
        }
    }

    #[test]
    fn opaque_and_clear_pixels_survive_the_round_trip() {
        let mut data = vec![10, 20, 30, 255, 0, 0, 0, 0];
        let before = data.clone();
        premultiply(Layout::Rgba, &mut data);
        unpremultiply(Layout::Rgba, &mut data);
        assert_eq!(data, before);
    }

    #[test]
    fn clear_pixels_become_what_is_below() {
        let picture = Pixels { width: 3, height: 1, layout: Layout::GrayAlpha, data: vec![0, 0, 0, 255, 0, 128] };
        let flat = flatten(&picture, [255; 3]);
        assert_eq!((flat.layout, flat.data), (Layout::Gray, vec![255, 0, 127]));
        let flat = flatten(&picture, [255, 100, 0]);
        assert_eq!((flat.layout, flat.data), (Layout::Rgb, vec![255, 100, 0, 0, 0, 0, 127, 50, 0]));
    }

    #[test]
    fn ink_darkens() {
        let picture =
            Pixels { width: 3, height: 1, layout: Layout::Cmyk, data: vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255] };
        let rgb = cmyk_to_rgb(picture);
        assert_eq!(rgb.data, [255, 255, 255, 0, 255, 255, 0, 0, 0]);
    }
}
