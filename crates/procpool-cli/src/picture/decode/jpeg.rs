//! JPEG, with libjpeg-turbo's scaled decoding. README.md beside this module's parent says why this
//! decoder was chosen.

use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, Decoder, JpegError, PixelFormat, ScalingFactor};

use super::{Decoded, Request, damaged, fits};
use crate::picture::orient::Orientation;
use crate::picture::{Format, Layout, PictureError, Pixels, exif, size};

const FORMAT: Format = Format::Jpeg;

/// More scans than any camera or encoder writes: each one costs a walk over the whole picture.
const MAX_SCANS: usize = 500;

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    let limits = DecodeLimits { max_scans: MAX_SCANS, max_pixels: request.max_pixels, ..DecodeLimits::default() };
    let mut decoder = Decoder::new_with_limits(input, limits).map_err(explain)?;

    let header = decoder.header();
    let full_size = (u32::from(header.width), u32::from(header.height));
    request.check_size(full_size.0, full_size.1, FORMAT)?;
    let unsupported = |what: String| PictureError::Unsupported { format: FORMAT, what };
    if header.is_lossless {
        return Err(unsupported("lossless coding".to_owned()));
    }
    if header.precision != 8 {
        return Err(unsupported(format!("{} bits per sample", header.precision)));
    }
    let (layout, output) = match header.components.len() {
        1 => (Layout::Gray, PixelFormat::Grayscale),
        3 => (Layout::Rgb, PixelFormat::Rgb),
        4 if has_usual_sampling(&header.components) => (Layout::Cmyk, PixelFormat::Cmyk),
        4 => return Err(unsupported("CMYK in unusual resolutions".to_owned())),
        count => return Err(unsupported(format!("{count} colour channels"))),
    };

    let orientation = exif::orientation(decoder.exif_data(), decoder.xmp_data());
    let shrink = shrink(request, full_size, orientation);
    // A profile with a missing part is worth less than none, but no reason to refuse the picture.
    let icc = decoder.icc_profile().ok().flatten();
    decoder.set_output_format(output);
    decoder.set_scale(ScalingFactor::try_new(1, shrink).map_err(explain)?);
    let image = decoder.decode_image().map_err(explain)?;

    let mut pixels = Pixels { width: image.width as u32, height: image.height as u32, layout, data: image.data };
    if layout == Layout::Cmyk {
        // Like everyone, Adobe's convention is taken for granted: 255 is no ink.
        for ink in &mut pixels.data {
            *ink = !*ink;
        }
    }
    Ok(Decoded {
        pixels,
        full_size,
        extent: (f64::from(full_size.0) / f64::from(shrink), f64::from(full_size.1) / f64::from(shrink)),
        orientation,
        icc: icc.filter(|profile| fits(profile, layout)),
    })
}

/// Whether the four channels have resolutions the decoder can handle (it panics at others): all
/// the same, or the two in the middle, which are colour in YCCK, both lower.
fn has_usual_sampling(components: &[ComponentInfo]) -> bool {
    let sampling = |index: usize| {
        let component = &components[index];
        (component.horizontal_sampling, component.vertical_sampling)
    };
    let [(x, y), colour] = [sampling(0), sampling(1)];
    sampling(3) == (x, y)
        && sampling(2) == colour
        && colour.0 > 0
        && colour.1 > 0
        && x.is_multiple_of(colour.0)
        && y.is_multiple_of(colour.1)
}

fn shrink(request: &Request, full_size: (u32, u32), orientation: Orientation) -> u32 {
    let Some(bounds) = request.shrink_to else {
        return 1;
    };
    let bounds = if request.rotate { orientation.turn_size(bounds) } else { bounds };
    match size::fit(full_size, bounds) {
        Some(_) => size::decode_shrink(full_size, bounds),
        None => 1,
    }
}

fn explain(error: JpegError) -> PictureError {
    match error {
        JpegError::UnexpectedEof => PictureError::Truncated { format: FORMAT },
        JpegError::Unsupported(what) => PictureError::Unsupported { format: FORMAT, what },
        JpegError::CorruptData(detail) => damaged(FORMAT, detail),
        other => damaged(FORMAT, other),
    }
}
