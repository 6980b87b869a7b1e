//! TIFF: the first page.

use std::borrow::Cow;
use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{Decoded, Request, damaged, io_error};
use crate::picture::orient::{self, Orientation};
use crate::picture::{Format, Layout, PictureError, Pixels, alpha, exif};

const FORMAT: Format = Format::Tiff;
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u32 = 1;
const PALETTE: u32 = 3;
/// The most values of one tag; a colour profile has one for each of its bytes. The decoder takes 32 bytes for each.
const MAX_TAG: usize = 4 << 20;
/// Value of the tag `ExtraSamples` for alpha that the colours are already multiplied by.
const ASSOCIATED_ALPHA: u16 = 1;
const UNASSOCIATED_ALPHA: u16 = 2;

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let (input, is_palette) = palette_as_grey(input);
    let mut decoder = Decoder::new(Cursor::new(&*input)).map_err(explain)?;
    let (width, height) = decoder.dimensions().map_err(explain)?;
    let count = request.check_size(width, height, FORMAT)?;
    let mut limits = Limits::default();
    // Eight channels of 16 bits, more than any supported picture has. The tags' values, such as
    // the palette, count too.
    limits.decoding_buffer_size = count.saturating_mul(16).max(32 * MAX_TAG);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    decoder = decoder.with_limits(limits);

    let colour = decoder.colortype().map_err(explain)?;
    let extra = decoder
        .find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)
        .map_err(explain)?
        .and_then(|extra| extra.first().copied());
    let layout = layout(colour, extra)?;
    let mut samples = DecodingResult::U8(Vec::new());
    let read = decoder.read_image_to_buffer(&mut samples).map_err(explain);
    if read.as_ref().is_ok_and(|layout| layout.planes > 1) {
        return Err(unsupported("separate colour planes"));
    }
    request.complain(read.map(|_| ()))?;
    let samples = match samples {
        DecodingResult::U8(samples) => samples,
        // As libpng and Pillow do with deep colours: the upper 8 bits.
        DecodingResult::U16(samples) => samples.iter().map(|&s| (s >> 8) as u8).collect(),
        _ => return Err(unsupported("signed, 32-bit or floating-point samples")),
    };
    let depth = colour.bit_depth().min(8);
    let row_samples = width as usize * layout.channels();
    let samples = unpack(samples, depth, row_samples, !is_palette);
    if samples.len() != count * layout.channels() {
        return Err(damaged(FORMAT, "its pixels do not fill its size"));
    }

    let mut pixels = Pixels { width, height, layout, data: samples };
    if is_palette {
        let map = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(explain)?;
        pixels = with_palette(&pixels, &map);
    }
    if extra == Some(ASSOCIATED_ALPHA) {
        alpha::unpremultiply(layout, &mut pixels.data);
    }
    let icc = decoder.get_tag_u8_vec(Tag::IccProfile).ok();
    // In TIFF the orientation is part of the picture, not a note about it: Pillow turns it before
    // it does anything else.
    let orientation = exif::tiff_orientation(&input);
    if request.rotate {
        pixels = orient::apply(pixels, orientation);
    }
    Ok(Decoded::whole(pixels, Orientation::UPRIGHT, icc))
}

/// The decoder refuses palettes but would read the indices, were they grey levels: so that is
/// what the file is made to say.
fn palette_as_grey(input: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let Some(entry) = exif::find_tag(input, PHOTOMETRIC).filter(|entry| entry.value == PALETTE) else {
        return (Cow::Borrowed(input), false);
    };
    let mut changed = input.to_vec();
    for byte in changed.iter_mut().skip(entry.value_at).take(2) {
        if u32::from(*byte) == PALETTE {
            *byte = BLACK_IS_ZERO as u8;
        }
    }
    (Cow::Owned(changed), true)
}

fn layout(colour: ColorType, extra: Option<u16>) -> Result<Layout, PictureError> {
    match colour {
        ColorType::Gray(1 | 2 | 4 | 8 | 16) => Ok(Layout::Gray),
        ColorType::GrayA(8 | 16) => Ok(Layout::GrayAlpha),
        ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 }
            if matches!(extra, Some(ASSOCIATED_ALPHA | UNASSOCIATED_ALPHA)) =>
        {
            Ok(Layout::GrayAlpha)
        }
        // The decoder has already turned YCbCr in JPEG strips into RGB when it says RGB.
        ColorType::RGB(8 | 16) => Ok(Layout::Rgb),
        ColorType::RGBA(8 | 16) => Ok(Layout::Rgba),
        ColorType::CMYK(8 | 16) => Ok(Layout::Cmyk),
        other => Err(unsupported(format!("pixels of type {other:?}"))),
    }
}

/// Spreads samples of fewer than 8 bits over bytes. Rows begin at whole bytes. Grey levels are
/// scaled so that the highest is white; indices (`scale` false) are not.
fn unpack(packed: Vec<u8>, depth: u8, row_samples: usize, scale: bool) -> Vec<u8> {
    if depth >= 8 {
        return packed;
    }
    let per_byte = usize::from(8 / depth);
    let highest = u8::MAX >> (8 - depth);
    let factor = if scale { 255 / highest } else { 1 };
    packed
        .chunks_exact(row_samples.div_ceil(per_byte))
        .flat_map(|row| {
            (0..row_samples).map(move |index| {
                let shift = 8 - depth * (index % per_byte + 1) as u8;
                (row[index / per_byte] >> shift & highest) * factor
            })
        })
        .collect()
}

/// Replaces indices by colours. The map lists all reds, then all greens, then all blues.
fn with_palette(indices: &Pixels, map: &[u16]) -> Pixels {
    let entries = map.len() / 3;
    let colour = |index: u8| {
        let index = usize::from(index);
        [0, 1, 2].map(|channel| match map.get(channel * entries + index) {
            Some(level) if index < entries => (level >> 8) as u8,
            _ => 0,
        })
    };
    Pixels { layout: Layout::Rgb, data: indices.data.iter().flat_map(|&index| colour(index)).collect(), ..*indices }
}

fn unsupported(what: impl Into<String>) -> PictureError {
    PictureError::Unsupported { format: FORMAT, what: what.into() }
}

fn explain(error: TiffError) -> PictureError {
    match error {
        TiffError::IoError(error) => io_error(FORMAT, &error),
        TiffError::UnsupportedError(what) => unsupported(what.to_string()),
        other => damaged(FORMAT, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_bits_begin_at_bytes() {
        let rows = vec![0b1010_0000, 0b0110_0000];
        assert_eq!(unpack(rows, 1, 3, true), [255, 0, 255, 0, 255, 255]);
    }

    #[test]
    fn indices_are_not_scaled() {
        assert_eq!(unpack(vec![0x1F], 4, 2, false), [1, 15]);
        assert_eq!(unpack(vec![0x1F], 4, 2, true), [17, 255]);
    }
}
