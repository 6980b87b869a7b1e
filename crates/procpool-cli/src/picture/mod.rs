//! Thumbnails: from the bytes of a picture file to the bytes of a smaller one.
//!
//! The pixels are those that Pillow 13 computes for
//! `Image.open(f)`, optionally `.filter(GaussianBlur(r))`, then `.thumbnail(box)`: the same scaled
//! JPEG decoding, the same box reduction, the same bicubic resampling, the same rounding.
//!
//! Where a picture leaves Pillow's user with more work, that work is done here:
//! - Palette and black-and-white pictures become RGB(A) or grey first, as after Pillow's
//!   `convert`; Pillow alone would take the nearest pixel, and refuse to blur.
//! - A colour declared transparent (PNG `tRNS`, GIF) becomes an alpha channel.
//! - Samples of 16 bits keep their upper 8.
//! - CMYK is made small as CMYK and then converted to RGB: by its colour profile or, without one, as by `convert("RGB")`.
//! - The orientation noted in EXIF, XMP or TIFF is applied, and the box is meant for the upright
//!   picture: a portrait stored lying on its side still fits.
//! - Colours are converted to sRGB by the picture's ICC profile, so that they are right everywhere; or the profile is kept.
//!   All other metadata (place, camera, comments) is dropped.
//! - Transparency is laid on white, or another colour, where the output is JPEG.
//!
//! A damaged or cut-off picture is an error, never half a thumbnail, unless [`Options::lenient`] asks for what can be read.

mod alpha;
mod animation;
mod bicubic;
mod blur;
mod decode;
mod encode;
mod error;
mod exif;
mod format;
mod fused;
mod orient;
mod pixels;
mod profile;
mod reduce;
mod resize;
mod size;

pub use error::PictureError;
pub use format::{Format, OutFormat};
pub use pixels::{Layout, Pixels};
pub use profile::to_srgb;

use orient::Orientation;

/// The largest blur radius accepted, in pixels.
const MAX_BLUR: f32 = 1000.0;

/// What to make of a picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// Width and height, in pixels, that the thumbnail must fit in. A picture that fits already
    /// keeps its size.
    pub box_size: (u32, u32),
    /// Standard deviation, in pixels of the original, of a Gaussian blur before the picture is
    /// made small: 0 to 1000.
    pub blur: Option<f32>,
    /// Quality of JPEG and WebP output, 1 (smallest) to 100 (best).
    pub quality: u8,
    /// Format of the output.
    pub format: OutFormat,
    /// Whether to apply the orientation noted in the file.
    pub rotate: bool,
    /// Pictures of more pixels than this are refused, before memory is set aside for them.
    pub max_pixels: u64,
    /// Whether to decode what a small thumbnail does not need: the scans of a progressive JPEG that refine details. Damage
    /// there is noticed only then.
    pub verify: bool,
    /// Whether colours stay as they are and the thumbnail gets the picture's colour profile, where it has one for its own
    /// colours, instead of being converted to sRGB.
    pub keep_profile: bool,
    /// Whether JPEG output is progressive: coarse at first, then finer, and a little smaller.
    pub progressive: bool,
    /// Whether WebP output keeps every pixel. PNG does so anyhow; JPEG and AVIF cannot, which is an error.
    pub lossless: bool,
    /// What transparent pictures are laid on where the output is JPEG: red, green, blue.
    pub background: [u8; 3],
    /// Whether of an animated GIF or WebP all frames are made small, into an animated WebP, and not only the first.
    pub animated: bool,
    /// Whether of a damaged or cut-off picture what can be read is kept, with [`Thumbnail::warning`] saying so.
    pub lenient: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            box_size: (128, 128),
            blur: None,
            quality: 75,
            format: OutFormat::Same,
            rotate: true,
            max_pixels: 500_000_000,
            verify: false,
            keep_profile: false,
            progressive: false,
            lossless: false,
            background: [255; 3],
            animated: false,
            lenient: false,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), PictureError> {
        let (width, height) = self.box_size;
        if width == 0 || height == 0 {
            return Err(PictureError::Options(format!(
                "a thumbnail of {width} x {height} pixels has no pixels; both must be 1 or more"
            )));
        }
        if !(1..=100).contains(&self.quality) {
            return Err(PictureError::Options(format!("the quality {} is not between 1 and 100", self.quality)));
        }
        match self.blur {
            Some(radius) if !(0.0..=MAX_BLUR).contains(&radius) => {
                Err(PictureError::Options(format!("the blur radius {radius} is not between 0 and {MAX_BLUR}")))
            }
            _ => Ok(()),
        }
    }
}

/// A thumbnail, ready to be written to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// The format of `bytes`.
    pub format: Format,
    /// Width of the thumbnail in pixels.
    pub width: u32,
    /// Height of the thumbnail in pixels.
    pub height: u32,
    /// Width and height of the original in pixels, upright if it was turned.
    pub source_size: (u32, u32),
    /// The format of the original.
    pub source_format: Format,
    /// What was wrong with a picture of which something could be read all the same. Only if asked for.
    pub warning: Option<String>,
}

/// Makes a thumbnail of the picture file whose content is `input`.
///
/// # Errors
/// See [`PictureError`]; the message leaves out the file's name, which is not known here.
pub fn thumbnail(input: &[u8], options: &Options) -> Result<Thumbnail, PictureError> {
    options.check()?;
    if let Some(animation) = animation::thumbnail(input, options)? {
        return Ok(animation);
    }
    let made = make(input, options)?;
    let format = options.format.resolve(made.source_format);
    let bytes = encode::encode(&made.pixels, format, options, made.icc.as_deref())?;
    Ok(Thumbnail {
        bytes,
        format,
        width: made.pixels.width,
        height: made.pixels.height,
        source_size: made.source_size,
        source_format: made.source_format,
        warning: made.warning,
    })
}

/// The pixels of the thumbnail, before it is encoded.
///
/// # Errors
/// As [`thumbnail`].
pub fn thumbnail_pixels(input: &[u8], options: &Options) -> Result<Pixels, PictureError> {
    options.check()?;
    make(input, options).map(|made| made.pixels)
}

/// The usual file name extension of a format, without the dot.
pub fn extension(format: Format) -> &'static str {
    format.extension()
}

struct Made {
    pixels: Pixels,
    icc: Option<Vec<u8>>,
    source_size: (u32, u32),
    source_format: Format,
    warning: Option<String>,
}

fn make(input: &[u8], options: &Options) -> Result<Made, PictureError> {
    let source_format = Format::of(input)?;
    let request = decode::Request {
        max_pixels: options.max_pixels,
        rotate: options.rotate,
        // A blur works on the picture at full size, so it rules out scaled decoding.
        shrink_to: options.blur.is_none().then_some(options.box_size),
        verify: options.verify,
        lenient: options.lenient,
        keep_going: false,
    };
    let decoded = decode::decode(input, source_format, &request)?;

    let (source_size, warning) = (decoded.full_size, decoded.warning.clone());
    let (pixels, icc, orientation) = shrunk(decoded, options);
    Ok(Made { pixels, icc, source_size: orientation.turn_size(source_size), source_format, warning })
}

/// A decoded picture made small, in its final colours and upright; the profile that its colours have, if one is to be kept; and
/// how it was turned.
fn shrunk(decoded: decode::Decoded, options: &Options) -> (Pixels, Option<Vec<u8>>, Orientation) {
    let orientation = if options.rotate { decoded.orientation } else { Orientation::UPRIGHT };
    let target = size::fit(decoded.full_size, orientation.turn_size(options.box_size));
    let pixels = resize::resample(decoded.pixels, options.blur, target, decoded.extent);
    let (pixels, icc) = if options.keep_profile {
        // One for ink is of no use to RGB.
        let icc = decoded.icc.filter(|_| pixels.layout != Layout::Cmyk);
        (alpha::cmyk_to_rgb(pixels), icc)
    } else {
        (profile::to_srgb(pixels, decoded.icc.as_deref()), None)
    };
    (orient::apply(pixels, orientation), icc, orientation)
}
