//! PNG.

use std::io::Cursor;

use png::{ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{Decoded, Request, damaged, io_error};
use crate::picture::{Format, Layout, PictureError, Pixels, exif};

const FORMAT: Format = Format::Png;

/// Bytes the decoder may hold beside the picture: rows, palette, text, colour profile.
const MAX_SIDE_DATA: usize = 64 << 20;

/// Bytes of the longest XMP that is looked into.
const MAX_XMP: usize = 2 << 20;

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let limits = Limits { bytes: MAX_SIDE_DATA };
    let mut decoder = Decoder::new_with_limits(Cursor::new(input), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.ignore_checksums(request.keep_going);
    let header = decoder.read_header_info().map_err(explain)?;
    let (width, height) = (header.width, header.height);
    request.check_size(width, height, FORMAT)?;

    let mut reader = decoder.read_info().map_err(explain)?;
    let length = reader.output_buffer_size().ok_or_else(|| damaged(FORMAT, "its size in bytes overflows"))?;
    let mut data = vec![0; length];
    request.complain(reader.next_frame(&mut data).map(|_| ()).map_err(explain))?;
    let layout = match reader.output_color_type().0 {
        ColorType::Grayscale => Layout::Gray,
        ColorType::GrayscaleAlpha => Layout::GrayAlpha,
        ColorType::Rgb => Layout::Rgb,
        ColorType::Rgba => Layout::Rgba,
        ColorType::Indexed => return Err(damaged(FORMAT, "it has no palette")),
    };
    let pixels = Pixels { width, height, layout, data };

    // EXIF and XMP may come after the pixels. All pixels are there, so a missing end is no loss.
    let _ = reader.finish();
    let info = reader.info();
    let xmp = info.utf8_text.iter().find(|text| text.keyword == "XML:com.adobe.xmp").and_then(|text| {
        // The library bounds what it unpacks only when told to.
        let mut text = text.clone();
        text.decompress_text_with_limit(MAX_XMP).ok()?;
        text.get_text().ok()
    });
    let orientation = exif::orientation(info.exif_metadata.as_deref(), xmp.as_ref().map(|xmp| xmp.as_bytes()));
    let icc = info.icc_profile.as_ref().map(|profile| profile.to_vec());
    Ok(Decoded::whole(pixels, orientation, icc))
}

fn explain(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) => io_error(FORMAT, &error),
        DecodingError::LimitsExceeded => {
            damaged(FORMAT, format!("it needs more than {MAX_SIDE_DATA} bytes beside its pixels"))
        }
        other => damaged(FORMAT, other),
    }
}
