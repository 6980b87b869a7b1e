//! From pixels to a file's content.

use std::borrow::Cow;

use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use super::{Format, Layout, PictureError, Pixels, alpha};

/// The longest side a WebP picture can have.
const MAX_WEBP_SIDE: u32 = 16_383;

/// Encodes pixels in a format. `icc` is the colour profile to embed; it must fit the pixels.
pub(super) fn encode(
    pixels: &Pixels,
    format: Format,
    quality: u8,
    icc: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    let failed = |detail: String| PictureError::Encode { format, detail };
    match format {
        Format::Jpeg => jpeg(pixels, quality, icc).map_err(failed),
        Format::Png => png(pixels, icc).map_err(|error| failed(error.to_string())),
        Format::WebP => webp(pixels, quality, icc).map_err(failed),
        Format::Gif | Format::Tiff => Err(failed("thumbnails are not written as such".to_owned())),
    }
}

/// Baseline, colour at half resolution, standard Huffman tables: Pillow's defaults.
fn jpeg(pixels: &Pixels, quality: u8, icc: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let flat =
        if pixels.layout.has_alpha() { Cow::Owned(alpha::flatten_on_white(pixels)) } else { Cow::Borrowed(pixels) };
    let (width, height) = (flat.width as usize, flat.height as usize);
    let mut encoder = match flat.layout {
        Layout::Gray => Encoder::new(&flat.data, width, height, PixelFormat::Grayscale),
        _ => Encoder::new(&flat.data, width, height, PixelFormat::Rgb).subsampling(Subsampling::S420),
    }
    .quality(quality);
    if let Some(icc) = icc {
        encoder = encoder.icc_profile(icc);
    }
    encoder.encode().map_err(|error| error.to_string())
}

fn png(pixels: &Pixels, icc: Option<&[u8]>) -> Result<Vec<u8>, png::EncodingError> {
    let mut info = png::Info::with_size(pixels.width, pixels.height);
    info.icc_profile = icc.map(Cow::Borrowed);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::with_info(&mut bytes, info)?;
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(match pixels.layout {
        Layout::Gray => png::ColorType::Grayscale,
        Layout::GrayAlpha => png::ColorType::GrayscaleAlpha,
        Layout::Rgb => png::ColorType::Rgb,
        Layout::Rgba | Layout::Cmyk => png::ColorType::Rgba,
    });
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels.data)?;
    writer.finish()?;
    Ok(bytes)
}

fn webp(pixels: &Pixels, quality: u8, icc: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let (width, height) = (pixels.width, pixels.height);
    if width > MAX_WEBP_SIDE || height > MAX_WEBP_SIDE {
        return Err(format!("{width} x {height} pixels are too many, WebP ends at {MAX_WEBP_SIDE} a side"));
    }
    let coloured = with_colours(pixels);
    let encoder = if coloured.layout.has_alpha() {
        webp::Encoder::from_rgba(&coloured.data, width, height)
    } else {
        webp::Encoder::from_rgb(&coloured.data, width, height)
    };
    let encoded = encoder.encode_simple(false, f32::from(quality)).map_err(|error| format!("{error:?}"))?;
    // The profile of a grey picture does not fit its RGB form.
    match icc.filter(|_| pixels.layout == coloured.layout) {
        Some(icc) => Ok(webp_with_profile(&encoded, icc, &coloured)),
        None => Ok(encoded.to_vec()),
    }
}

/// WebP knows only RGB and RGBA.
fn with_colours(pixels: &Pixels) -> Cow<'_, Pixels> {
    let (layout, data) = match pixels.layout {
        Layout::Gray => (Layout::Rgb, pixels.data.iter().flat_map(|&grey| [grey; 3]).collect()),
        Layout::GrayAlpha => (
            Layout::Rgba,
            pixels.data.as_chunks::<2>().0.iter().flat_map(|&[grey, alpha]| [grey, grey, grey, alpha]).collect(),
        ),
        Layout::Rgb | Layout::Rgba | Layout::Cmyk => return Cow::Borrowed(pixels),
    };
    Cow::Owned(Pixels { layout, data, ..*pixels })
}

/// Adds a colour profile to an encoded WebP file: RFC 9649, section 2.7. The encoder writes
/// either a bare picture or, with alpha, an extended header that the profile must follow.
fn webp_with_profile(file: &[u8], icc: &[u8], pixels: &Pixels) -> Vec<u8> {
    const FILE_HEADER: usize = 12;
    const EXTENDED_HEADER: usize = 18;
    const HAS_PROFILE: u8 = 0x20;
    const HAS_ALPHA: u8 = 0x10;

    let chunks = file.get(FILE_HEADER..).unwrap_or(&[]);
    let (flags, rest) = match chunks.split_at_checked(EXTENDED_HEADER) {
        Some((header, rest)) if header.starts_with(b"VP8X") => (header[8], rest),
        _ if pixels.layout.has_alpha() => (HAS_ALPHA, chunks),
        _ => (0, chunks),
    };
    let mut body = b"WEBPVP8X\x0a\0\0\0".to_vec();
    body.extend([flags | HAS_PROFILE, 0, 0, 0]);
    for side in [pixels.width, pixels.height] {
        body.extend(&(side - 1).to_le_bytes()[..3]);
    }
    body.extend(b"ICCP");
    body.extend((icc.len() as u32).to_le_bytes());
    body.extend(icc);
    if icc.len() % 2 == 1 {
        body.push(0);
    }
    body.extend(rest);

    let mut out = b"RIFF".to_vec();
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
    out
}
