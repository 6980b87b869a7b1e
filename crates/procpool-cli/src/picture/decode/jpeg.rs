//! JPEG, with libjpeg-turbo's scaled decoding. Our own decoder does it; full size, and whatever that one does not take, is left
//! to a library. README.md beside this module's parent says why these decoders were chosen.

use std::cell::RefCell;

use libjpeg_turbo_rs::{ComponentInfo, DecodeLimits, DecodeWarning, Decoder, JpegError, PixelFormat, ScalingFactor};
use procpool_jpeg::Scale;

use super::{Decoded, Request, damaged, fits};
use crate::picture::orient::Orientation;
use crate::picture::{Format, Layout, PictureError, Pixels, exif};

const FORMAT: Format = Format::Jpeg;

/// More scans than any camera or encoder writes: each one costs a walk over the whole picture.
const MAX_SCANS: usize = 500;

thread_local! {
    /// A worker's decoder, which remembers the tables of the latest pictures.
    static SCALED: RefCell<procpool_jpeg::Decoder> = RefCell::default();
}

pub(super) fn decode(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
    match scaled(input, request) {
        Some(decoded) => Ok(decoded),
        None => complete(input, request),
    }
}

/// The picture at a part of its size, if that is wanted and our own decoder takes it. What it refuses, the library is to
/// judge, so that the verdict on a damaged picture does not depend on the size of the thumbnail.
fn scaled(input: &[u8], request: &Request) -> Option<Decoded> {
    if request.verify || request.keep_going || request.shrink.is_none() {
        return None;
    }
    let limits = procpool_jpeg::Limits { max_pixels: request.max_pixels, max_scans: MAX_SCANS };
    let header = SCALED.with_borrow_mut(|decoder| decoder.header(input, &limits)).ok()?;
    // The library reads the metadata, from the header alone: it would walk through all scans of a progressive file.
    let head = [input.get(..header.length)?, &[0xFF, 0xD9]].concat();
    let metadata = Decoder::new(&head).ok()?;
    let orientation = exif::orientation(metadata.exif_data(), metadata.xmp_data());
    let shrink = shrink(request, header.full_size, orientation);
    let scale = Scale::ALL.into_iter().find(|scale| scale.denominator() == shrink)?;
    let picture = SCALED.with_borrow_mut(|decoder| {
        decoder.set_threads(request.threads);
        decoder.decode(input, scale, &limits)
    });
    let picture = picture.ok()?;
    let layout = match picture.colours {
        procpool_jpeg::Colours::Gray => Layout::Gray,
        procpool_jpeg::Colours::Rgb => Layout::Rgb,
        procpool_jpeg::Colours::Cmyk => Layout::Cmyk,
    };
    let pixels = Pixels { width: picture.width, height: picture.height, layout, data: picture.pixels };
    Some(finish(pixels, header.full_size, shrink, orientation, metadata.icc_profile().ok().flatten()))
}

/// The picture as the library decodes it.
fn complete(input: &[u8], request: &Request) -> Result<Decoded, PictureError> {
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
    decoder.set_lenient(request.keep_going);
    decoder.set_scale(ScalingFactor::try_new(1, shrink).map_err(explain)?);
    let image = decoder.decode_image().map_err(explain)?;
    let nothing = |warning: &DecodeWarning| matches!(warning, DecodeWarning::TruncatedData { decoded_mcus: 0, .. });
    if image.warnings.first().is_some_and(nothing) {
        return Err(PictureError::Truncated { format: FORMAT });
    }

    let pixels = Pixels { width: image.width as u32, height: image.height as u32, layout, data: image.data };
    Ok(finish(pixels, full_size, shrink, orientation, icc))
}

/// A picture decoded at `1 / shrink` of its size.
fn finish(
    mut pixels: Pixels,
    full_size: (u32, u32),
    shrink: u32,
    orientation: Orientation,
    icc: Option<Vec<u8>>,
) -> Decoded {
    let layout = pixels.layout;
    if layout == Layout::Cmyk {
        // Like everyone, Adobe's convention is taken for granted: 255 is no ink.
        for ink in &mut pixels.data {
            *ink = !*ink;
        }
    }
    Decoded { pixels, full_size, shrink, orientation, icc: icc.filter(|profile| fits(profile, layout)), warning: None }
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
    let orientation = if request.rotate { orientation } else { Orientation::UPRIGHT };
    request.shrink.map_or(1, |shrink| shrink(full_size, orientation))
}

fn explain(error: JpegError) -> PictureError {
    match error {
        JpegError::UnexpectedEof => PictureError::Truncated { format: FORMAT },
        JpegError::Unsupported(what) => PictureError::Unsupported { format: FORMAT, what },
        JpegError::CorruptData(detail) => damaged(FORMAT, detail),
        other => damaged(FORMAT, other),
    }
}
