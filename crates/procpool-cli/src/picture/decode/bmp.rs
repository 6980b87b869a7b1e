//! BMP, by the `image` crate, which reads every depth of Windows', run lengths and masks, but not the longer header of OS/2.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::error::{ImageError, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder};

use super::{Decoded, Request, damaged, io_error};
use crate::picture::orient::Orientation;
use crate::picture::{Format, Layout, PictureError, Pixels};

const FORMAT: Format = Format::Bmp;

/// Bytes before the header that says what the picture is.
const FILE_HEADER: usize = 14;
const OLD_HEADER: u32 = 12;
const USUAL_HEADER: usize = 40;
/// OS/2's header of its second version, which may be cut to 16 bytes.
const OS2_HEADERS: [u32; 2] = [64, 16];
const NEWEST_HEADER: u32 = 124;

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let (width, height) = size(input).ok_or(PictureError::Truncated { format: FORMAT })?;
    let count = request.check_size(width, height, FORMAT)?;
    let input = usual_header(input);
    let decoder = BmpDecoder::new(Cursor::new(&*input)).map_err(explain)?;
    if decoder.dimensions() != (width, height) {
        return Err(damaged(FORMAT, "it states two sizes"));
    }
    let layout = match decoder.color_type() {
        ColorType::L8 => Layout::Gray,
        ColorType::Rgb8 => Layout::Rgb,
        ColorType::Rgba8 => Layout::Rgba,
        other => return Err(PictureError::Unsupported { format: FORMAT, what: format!("pixels of type {other:?}") }),
    };
    let mut data = vec![0; count * layout.channels()];
    request.complain(decoder.read_image(&mut data).map_err(explain))?;
    if let Some(bits) = short_samples(&input) {
        cut_as_pillow(&mut data, layout.channels(), bits);
    }
    let icc = profile(&input);
    Ok(Decoded::whole(Pixels { width, height, layout, data }, Orientation::UPRIGHT, icc))
}

fn long(input: &[u8], at: usize) -> Option<u32> {
    input.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Width and height as the file states them. Rows that go from top to bottom have a negative height.
fn size(input: &[u8]) -> Option<(u32, u32)> {
    if long(input, FILE_HEADER)? == OLD_HEADER {
        let side = |at: usize| input.get(at..)?.first_chunk().map(|bytes| u32::from(u16::from_le_bytes(*bytes)));
        return Some((side(18)?, side(20)?));
    }
    Some((long(input, 18)?, long(input, 22)?.cast_signed().unsigned_abs()))
}

/// The file with the usual header in place of OS/2's: the latter begins alike, what is missing of it is zero, and the rest
/// says nothing of the pixels.
fn usual_header(input: &[u8]) -> Cow<'_, [u8]> {
    let Some(length) = long(input, FILE_HEADER).filter(|length| OS2_HEADERS.contains(length)) else {
        return Cow::Borrowed(input);
    };
    let length = length as usize;
    let (Some(header), Some(rest), Some(offset)) =
        (input.get(FILE_HEADER + 4..FILE_HEADER + length), input.get(FILE_HEADER + length..), long(input, 10))
    else {
        return Cow::Borrowed(input);
    };
    let mut changed = input[..10].to_vec();
    changed.extend((offset.wrapping_add(USUAL_HEADER as u32).wrapping_sub(length as u32)).to_le_bytes());
    changed.extend((USUAL_HEADER as u32).to_le_bytes());
    let kept = header.len().min(USUAL_HEADER - 4);
    changed.extend_from_slice(&header[..kept]);
    changed.resize(FILE_HEADER + USUAL_HEADER, 0);
    changed.extend_from_slice(rest);
    Cow::Owned(changed)
}

/// The bits of red, green and blue, where a pixel has 16 bits together, in the two ways that Pillow reads.
fn short_samples(input: &[u8]) -> Option<[u32; 3]> {
    const PLAIN: u32 = 0;
    const MASKS: u32 = 3;
    let at = |field: usize| long(input, FILE_HEADER + field);
    if at(0)? == OLD_HEADER || at(12)? >> 16 != 16 {
        return None;
    }
    let masks = || Some([at(40)?, at(44)?, at(48)?]);
    match at(16)? {
        PLAIN => Some([5; 3]),
        MASKS if masks()? == [0x7C00, 0x03E0, 0x001F] => Some([5; 3]),
        MASKS if masks()? == [0xF800, 0x07E0, 0x001F] => Some([5, 6, 5]),
        _ => None,
    }
}

/// Samples of 5 and 6 bits become 8 bits by rounding in the decoder, and by cutting off the rest in Pillow.
fn cut_as_pillow(data: &mut [u8], channels: usize, bits: [u32; 3]) {
    let tables = bits.map(|bits| {
        let highest = (1u32 << bits) - 1;
        let cut = |rounded: u32| (rounded * highest + 127) / 255 * 255 / highest;
        std::array::from_fn::<u8, 256, _>(|rounded| cut(rounded as u32) as u8)
    });
    for pixel in data.chunks_exact_mut(channels) {
        for (sample, table) in pixel.iter_mut().zip(&tables) {
            *sample = table[usize::from(*sample)];
        }
    }
}

/// The colour profile in the file, if there is one.
fn profile(input: &[u8]) -> Option<Vec<u8>> {
    let at = |field: usize| long(input, FILE_HEADER + field);
    if at(0)? != NEWEST_HEADER || at(56)? != u32::from_be_bytes(*b"MBED") {
        return None;
    }
    let begin = FILE_HEADER.checked_add(at(112)? as usize)?;
    input.get(begin..begin.checked_add(at(116)? as usize)?).map(<[u8]>::to_vec)
}

fn explain(error: ImageError) -> PictureError {
    match error {
        ImageError::IoError(error) => io_error(FORMAT, &error),
        ImageError::Unsupported(error) => {
            let what = match error.kind() {
                UnsupportedErrorKind::GenericFeature(what) => what,
                other => format!("{other:?}"),
            };
            PictureError::Unsupported { format: FORMAT, what }
        }
        other => damaged(FORMAT, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'static> = Request::up_to(100);

    /// Two rows of two pixels of 24 bits under a header of this length; the lower row comes first.
    fn file(header: u32) -> Vec<u8> {
        let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
        file.extend((14 + header).to_le_bytes());
        file.extend(header.to_le_bytes());
        file.extend([2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24, 0]);
        file.resize(14 + header as usize, 0);
        file.extend([1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0]);
        file
    }

    #[test]
    fn headers_of_os2_are_read() {
        for header in [16, 40, 64] {
            let decoded = decode(&file(header), &REQUEST).expect("a valid file");
            assert_eq!(decoded.pixels.data, [9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4], "{header}");
        }
    }

    #[test]
    fn samples_of_five_and_six_bits_are_cut() {
        let of = |bits: &[u8], masks: &[u32], pixels: &[u16]| {
            let mut content = file(40);
            content.truncate(54);
            content[18] = pixels.len() as u8;
            content[22] = 1;
            content[28..32].copy_from_slice(bits);
            masks.iter().for_each(|mask| content.extend(mask.to_le_bytes()));
            content[10] = content.len() as u8;
            pixels.iter().for_each(|pixel| content.extend(pixel.to_le_bytes()));
            decode(&content, &REQUEST).expect("a valid file").pixels.data
        };
        let all: Vec<u16> = (0..32).map(|level| (level << 10) | (level << 5) | level).collect();
        let wanted: Vec<u8> = (0..32u32).flat_map(|level| [(level * 255 / 31) as u8; 3]).collect();
        assert_eq!(of(&[16, 0, 0, 0], &[], &all), wanted);
        assert_eq!(of(&[16, 0, 3, 0], &[0x7C00, 0x03E0, 0x001F], &all), wanted);
        let all: Vec<u16> = (0..64).map(|level| ((level / 2) << 11) | (level << 5) | (level / 2)).collect();
        let wanted =
            |level: u32| [level / 2 * 255 / 31, level * 255 / 63, level / 2 * 255 / 31].map(|level| level as u8);
        let wanted: Vec<u8> = (0..64).flat_map(wanted).collect();
        assert_eq!(of(&[16, 0, 3, 0], &[0xF800, 0x07E0, 0x001F], &all), wanted);
    }

    #[test]
    fn rows_may_go_down() {
        let mut upside_down = file(40);
        upside_down[22..26].copy_from_slice(&(-2i32).to_le_bytes());
        let decoded = decode(&upside_down, &REQUEST).expect("a valid file");
        assert_eq!(decoded.pixels.data, [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
    }

    #[test]
    fn sizes_are_checked_first() {
        let mut bomb = file(40);
        bomb[18..26].fill(0x7F);
        let side = 0x7F7F_7F7F;
        let refusal = decode(&bomb, &REQUEST).map(|_| ());
        assert_eq!(refusal, Err(PictureError::TooLarge { width: side, height: side, limit: 100 }));
    }
}
