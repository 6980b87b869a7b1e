//! From pixels to a file's content.

use std::borrow::Cow;

use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use super::{Format, Layout, Options, PictureError, Pixels, alpha};

/// The longest side a WebP picture can have.
const MAX_WEBP_SIDE: u32 = 16_383;

/// How fast AVIF is encoded, from 1 (small files) to 10. Thumbnails of the benchmark's photographs took half of the time that they
/// take with 7, have 2 to 3 % more bytes and are 0.2 to 0.3 dB farther from the picture; with 10, they have 10 to 17 % more.
const AVIF_SPEED: u8 = 9;

/// Encodes pixels in a format. `icc` is the colour profile to embed; it must fit the pixels.
pub(super) fn encode(
    pixels: &Pixels,
    format: Format,
    options: &Options,
    icc: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    let quality = options.quality;
    let failed = |detail: String| PictureError::Encode { format, detail };
    match format {
        Format::Jpeg | Format::Avif if options.lossless => {
            Err(failed("it always loses some detail; --format webp or png keeps every pixel".to_owned()))
        }
        Format::Jpeg => jpeg(pixels, options, icc).map_err(failed),
        Format::Png => png(pixels, icc).map_err(|error| failed(error.to_string())),
        Format::WebP => webp(pixels, options, icc).map_err(failed),
        Format::Avif => avif(pixels, quality, icc).map_err(failed),
        Format::Gif | Format::Tiff | Format::Bmp => Err(failed("thumbnails are not written as such".to_owned())),
    }
}

/// Baseline, if not asked otherwise, colour at half resolution, standard Huffman tables: Pillow's defaults.
fn jpeg(pixels: &Pixels, options: &Options, icc: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let flat = if pixels.layout.has_alpha() {
        Cow::Owned(alpha::flatten(pixels, options.background.unwrap_or([255; 3])))
    } else {
        Cow::Borrowed(pixels)
    };
    let (width, height) = (flat.width as usize, flat.height as usize);
    let mut encoder = match flat.layout {
        Layout::Gray => Encoder::new(&flat.data, width, height, PixelFormat::Grayscale),
        _ => Encoder::new(&flat.data, width, height, PixelFormat::Rgb).subsampling(Subsampling::S420),
    }
    .quality(options.quality)
    .progressive(options.progressive);
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

/// By rav1e. One thread: other workers use the other CPUs.
fn avif(pixels: &Pixels, quality: u8, icc: Option<&[u8]>) -> Result<Vec<u8>, String> {
    if icc.is_some() {
        return Err(
            "AVIF is written without colour profile; leave out --keep-profile, or take another format".to_owned()
        );
    }
    let coloured = with_colours(pixels);
    let (width, height) = (coloured.width as usize, coloured.height as usize);
    let encoder = ravif::Encoder::new()
        .with_quality(f32::from(quality))
        .with_alpha_quality(f32::from(quality))
        .with_speed(AVIF_SPEED)
        .with_num_threads(Some(1));
    let encoded = if coloured.layout.has_alpha() {
        let pixels: Vec<_> =
            coloured.data.as_chunks::<4>().0.iter().map(|&[r, g, b, a]| ravif::RGBA8::new(r, g, b, a)).collect();
        encoder.encode_rgba(ravif::Img::new(&pixels, width, height))
    } else {
        let pixels: Vec<_> =
            coloured.data.as_chunks::<3>().0.iter().map(|&[r, g, b]| ravif::RGB8::new(r, g, b)).collect();
        encoder.encode_rgb(ravif::Img::new(&pixels, width, height))
    };
    encoded.map(|encoded| encoded.avif_file).map_err(|error| error.to_string())
}

fn webp(pixels: &Pixels, options: &Options, icc: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let coloured = with_colours(pixels);
    let encoded = webp_bare(&coloured, options)?;
    // The profile of a grey picture does not fit its RGB form.
    match icc.filter(|_| pixels.layout == coloured.layout) {
        Some(icc) => Ok(webp_with_profile(&encoded, icc, &coloured)),
        None => Ok(encoded),
    }
}

/// An encoded WebP file of RGB or RGBA pixels.
fn webp_bare(coloured: &Pixels, options: &Options) -> Result<Vec<u8>, String> {
    let (width, height) = (coloured.width, coloured.height);
    if width > MAX_WEBP_SIDE || height > MAX_WEBP_SIDE {
        return Err(format!("{width} x {height} pixels are too many, WebP ends at {MAX_WEBP_SIDE} a side"));
    }
    let encoder = if coloured.layout.has_alpha() {
        webp::Encoder::from_rgba(&coloured.data, width, height)
    } else {
        webp::Encoder::from_rgb(&coloured.data, width, height)
    };
    let encoded = encoder.encode_simple(options.lossless, f32::from(options.quality));
    encoded.map(|encoded| encoded.to_vec()).map_err(|error| format!("{error:?}"))
}

/// WebP and AVIF know only RGB and RGBA.
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
    chunk(&mut body, b"ICCP", icc);
    body.extend(rest);

    let mut out = b"RIFF".to_vec();
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(body);
    out
}

/// Adds a chunk to the body of a WebP file.
fn chunk(body: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    body.extend(name);
    body.extend((content.len() as u32).to_le_bytes());
    body.extend(content);
    if content.len() % 2 == 1 {
        body.push(0);
    }
}

/// One picture of an animation.
pub(super) struct Frame {
    /// What is to be seen, all of it.
    pub(super) pixels: Pixels,
    /// For how long, in milliseconds.
    pub(super) duration: u32,
}

/// Encodes frames of one size as an animated WebP file: RFC 9649, section 2.7. Each frame is a whole picture that replaces the
/// one before. `loops` is how often they are shown, 0 for ever. `icc` is the colour profile of all.
pub(super) fn animated_webp(
    frames: &[Frame],
    loops: u16,
    options: &Options,
    icc: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    const IS_ANIMATION: u8 = 0x02;
    const HAS_PROFILE: u8 = 0x20;
    const HAS_ALPHA: u8 = 0x10;
    const REPLACES: u8 = 0x02;
    const FILE_HEADER: usize = 12;
    const EXTENDED_HEADER: usize = 18;

    let failed = |detail: String| PictureError::Encode { format: Format::WebP, detail };
    let short = |number: u32| [number as u8, (number >> 8) as u8, (number >> 16) as u8];
    let mut body = b"WEBP".to_vec();
    let mut flags = IS_ANIMATION;
    let mut chunks = Vec::new();
    let mut size = (0, 0);
    for frame in frames {
        let coloured = with_colours(&frame.pixels);
        size = (coloured.width, coloured.height);
        if coloured.layout.has_alpha() {
            flags |= HAS_ALPHA;
        }
        let encoded = webp_bare(&coloured, options).map_err(failed)?;
        let parts = encoded.get(FILE_HEADER..).unwrap_or(&[]);
        let parts = if parts.starts_with(b"VP8X") { parts.get(EXTENDED_HEADER..).unwrap_or(&[]) } else { parts };
        let mut content = [0; 6].to_vec();
        content.extend(short(size.0 - 1));
        content.extend(short(size.1 - 1));
        content.extend(short(frame.duration.min(0xFF_FFFF)));
        content.push(REPLACES);
        content.extend_from_slice(parts);
        chunks.extend(b"ANMF");
        chunks.extend((content.len() as u32).to_le_bytes());
        chunks.extend(content);
    }
    // The profile of grey pictures does not fit their RGB form.
    let icc = icc.filter(|_| frames.iter().all(|frame| frame.pixels.layout == with_colours(&frame.pixels).layout));
    if icc.is_some() {
        flags |= HAS_PROFILE;
    }
    body.extend(b"VP8X\x0a\0\0\0");
    body.extend([flags, 0, 0, 0]);
    body.extend(short(size.0.saturating_sub(1)));
    body.extend(short(size.1.saturating_sub(1)));
    if let Some(icc) = icc {
        chunk(&mut body, b"ICCP", icc);
    }
    body.extend(b"ANIM\x06\0\0\0\0\0\0\0");
    body.extend(loops.to_le_bytes());
    body.extend(chunks);
    Ok([b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat())
}
