//! WebP.

use std::io::Cursor;

use image_webp::{DecodingError, LoopCount, WebPDecoder};

use super::{Decoded, EachFrame, Request, damaged, io_error};
use crate::picture::{Format, Layout, PictureError, Pixels, exif};

const FORMAT: Format = Format::WebP;

/// Bytes of the largest colour profile, EXIF or XMP that is read.
const MAX_SIDE_DATA: usize = 64 << 20;

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let mut decoder = WebPDecoder::new(Cursor::new(input)).map_err(explain)?;
    decoder.set_memory_limit(MAX_SIDE_DATA);
    let (width, height) = decoder.dimensions();
    let count = request.check_size(width, height, FORMAT)?;
    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let mut data = vec![0; count * layout.channels()];
    decoder.read_image(&mut data).map_err(explain)?;
    let pixels = Pixels { width, height, layout, data };

    // Unreadable metadata is no reason to refuse the picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = exif::orientation(exif.as_deref(), xmp.as_deref());
    let icc = decoder.icc_profile().ok().flatten();
    Ok(Decoded::whole(pixels, orientation, icc))
}

/// Decodes all frames of an animation; `None`, and nothing decoded, if there is but one.
pub(super) fn frames(input: &[u8], request: &Request, each: EachFrame<'_>) -> Result<Option<u16>, PictureError> {
    let mut decoder = WebPDecoder::new(Cursor::new(input)).map_err(explain)?;
    decoder.set_memory_limit(MAX_SIDE_DATA);
    let (width, height) = decoder.dimensions();
    let count = request.check_size(width, height, FORMAT)?;
    if !decoder.is_animated() || decoder.num_frames() == 1 {
        return Ok(None);
    }
    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = exif::orientation(exif.as_deref(), xmp.as_deref());
    let icc = decoder.icc_profile().ok().flatten();
    let mut data = vec![0; count * layout.channels()];
    for _ in 0..decoder.num_frames() {
        let duration = decoder.read_frame(&mut data).map_err(explain)?;
        let pixels = Pixels { width, height, layout, data: data.clone() };
        each(Decoded::whole(pixels, orientation, icc.clone()), duration)?;
    }
    Ok(Some(match decoder.loop_count() {
        LoopCount::Forever => 0,
        LoopCount::Times(times) => times.get(),
    }))
}

fn explain(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) => io_error(FORMAT, &error),
        // The decoder says so when a chunk ends in the middle of its bits.
        DecodingError::BitStreamError => PictureError::Truncated { format: FORMAT },
        other => damaged(FORMAT, other),
    }
}
