//! Thumbnails: from the bytes of a picture file to the bytes of a smaller one.
//!
//! The pixels are those that Pillow 13 computes for
//! `Image.open(f)`, optionally `.filter(GaussianBlur(r))`, then `.thumbnail(box)`: the same scaled
//! JPEG decoding, the same box reduction, the same bicubic resampling, the same rounding. The other ways to
//! [fit](Fit) are those of `ImageOps.fit`, `ImageOps.pad` and `Image.resize`, on the picture decoded at full size.
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
mod blur;
mod coarse;
mod convolve;
mod decode;
mod encode;
mod enough;
mod error;
mod exif;
mod filter;
mod format;
mod fused;
mod look;
mod orient;
mod pad;
mod pixels;
mod profile;
mod reduce;
mod resize;
mod sample;
mod shape;
mod size;
mod smartcrop;

use std::borrow::Cow;

pub use error::PictureError;
pub use filter::Filter;
pub use format::{Format, OutFormat};
pub use look::difference_hash;
pub use pixels::{Layout, Pixels};
pub use profile::to_srgb;
pub use resize::{Resampling, resize};
pub use sample::{Sample, SampleOptions, sample};
pub use shape::{Bounds, Fit, Region};
pub use smartcrop::Crop;

use orient::Orientation;
use shape::Shape;

/// The largest blur radius accepted, in pixels.
const MAX_BLUR: f32 = 1000.0;

/// The reduction leaves at least this many times the wanted size (Pillow's `reducing_gap` for thumbnails).
const GAP: f64 = 2.0;

/// A decoder that shrinks leaves at least so many times the wanted size, as for Pillow's thumbnails.
const DRAFT_GAP: u32 = 2;

/// The same for [`Exactness::Close`]: with 2, what the decoder leaves out made differences of up to 8 levels.
const CLOSE_GAP: u32 = 3;

/// A blur of more than one part in so many of what becomes a pixel of the thumbnail is made of the picture at full size: it
/// counts the pixels at the edges for all beyond, and these are not known well enough from a part of the size.
const WIDE_BLUR: f64 = 4.0;

/// From this blur radius on, no picture differed more when it was decoded a little smaller. With radius 1 it did.
const HIDING_BLUR: f32 = 1.5;

/// How exact pixels are where JPEG files could be decoded at a half, a quarter or an eighth of their size, but Pillow decodes
/// them in full: where a picture is to be blurred, and in the ways to fit other than [`Fit::Inside`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Exactness {
    /// They are decoded in full.
    #[default]
    Exact,
    /// They are decoded at a part of their size where that leaves three times the wanted size, and the weights of all that
    /// follows are made for that; blur and resampling are one step. Up to 6 levels off. Pictures with thin frames or hard edges,
    /// which would be more, are decoded in full.
    Close,
    /// They are decoded at a part of their size and [reduced](Resampling::gap), as after Pillow's `draft` and with
    /// `reducing_gap=2`; blurs become as much smaller. About 10 levels off.
    Draft,
}

/// What to make of a picture.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// The width and height wanted, for the upright picture.
    pub bounds: Bounds,
    /// How the picture is made to fit them.
    pub fit: Fit,
    /// What stays of a picture that must lose something to [cover](Fit::Cover) its bounds.
    pub crop: Crop,
    /// How pixels are weighed when the size changes.
    pub filter: Filter,
    /// Red, green and blue of the bars beside a picture that is [contained](Fit::Contain). Without it they are clear where the
    /// picture has an alpha channel, and else white.
    pub background: Option<[u8; 3]>,
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
    /// Whether pixels may be a few levels off where that saves time.
    pub exactness: Exactness,
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
    /// Whether of an animated GIF or WebP all frames are made small, into an animated WebP, and not only the first.
    pub animated: bool,
    /// Whether of a damaged or cut-off picture what can be read is kept, with [`Thumbnail::warning`] saying so.
    pub lenient: bool,
    /// In so many threads a JPEG file may be decoded, if it is large and not progressive. It makes no difference to the pixels.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bounds: Bounds::square(128),
            fit: Fit::Inside,
            crop: Crop::Centre,
            filter: Filter::Bicubic,
            background: None,
            blur: None,
            quality: 75,
            format: OutFormat::Same,
            rotate: true,
            max_pixels: 500_000_000,
            exactness: Exactness::Exact,
            verify: false,
            keep_profile: false,
            progressive: false,
            lossless: false,
            animated: false,
            lenient: false,
            threads: 1,
        }
    }
}

impl Options {
    /// By how much a picture may be shrunk while it is decoded for these bounds, which are for the picture as it is stored.
    fn decode_shrink(&self, full_size: (u32, u32), bounds: Bounds) -> u32 {
        let shape = Shape::new(self.fit, bounds, full_size, 0.5);
        let Some(made) = shape.size else { return 1 };
        let shown = (shape.region.width() as u32, shape.region.height() as u32);
        let close = self.exactness == Exactness::Close && !self.drafts();
        let scale = (f64::from(shown.0) / f64::from(made.0)).min(f64::from(shown.1) / f64::from(made.1));
        if close && self.blur.is_some_and(|blur| f64::from(blur) * WIDE_BLUR > scale) {
            return 1;
        }
        let bounds = match self.fit {
            // A blur hides what the decoder leaves out.
            _ if close && self.blur >= Some(HIDING_BLUR) => made,
            // The picture itself may be a little smaller than the bounds that it is fitted inside.
            Fit::Inside => (bounds.width.unwrap_or(made.0), bounds.height.unwrap_or(made.1)),
            _ => made,
        };
        size::decode_shrink(shown, bounds, if close { CLOSE_GAP } else { DRAFT_GAP })
    }

    /// How many samples of a decoded picture become a pixel, across and down, of the largest thumbnail.
    fn cell(&self, decoded: &decode::Decoded, bounds: &[Bounds]) -> (f64, f64) {
        let orientation = if self.rotate { decoded.orientation } else { Orientation::UPRIGHT };
        let whole = (f64::from(decoded.pixels.width), f64::from(decoded.pixels.height));
        bounds.iter().fold(whole, |cell, &bounds| {
            let shape = Shape::new(self.fit, orientation.turned(bounds), decoded.full_size, 0.5);
            let made = shape.size.unwrap_or(decoded.full_size);
            let one = |shown: f64, made: u32| (shown / f64::from(made) / f64::from(decoded.shrink)).max(1.0);
            (cell.0.min(one(shape.region.width(), made.0)), cell.1.min(one(shape.region.height(), made.1)))
        })
    }

    /// Whether Pillow itself decodes JPEG files at a part of their size.
    fn drafts(&self) -> bool {
        self.blur.is_none() && self.fit == Fit::Inside
    }

    /// Pictures can be enlarged, but not without end.
    fn check_outer(&self, (width, height): (u32, u32)) -> Result<(), PictureError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(PictureError::ThumbnailTooLarge { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    fn check(&self, bounds: &[Bounds]) -> Result<(), PictureError> {
        if bounds.iter().any(|Bounds { width, height }| *width == Some(0) || *height == Some(0)) {
            return Err(PictureError::Options("a thumbnail with a side of 0 has no pixels; write 1 or more".into()));
        }
        if bounds.iter().any(|Bounds { width, height }| width.or(*height).is_none()) {
            return Err(PictureError::Options("a thumbnail needs a width or a height".into()));
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
    if let Some(animation) = animation::thumbnails(input, options, &[options.bounds])?.and_then(|mut all| all.pop()) {
        return Ok(animation);
    }
    let made = make(input, options)?;
    encoded(made, options)
}

/// Makes thumbnails for several bounds, in place of those of `options`, of a picture file that is decoded once.
///
/// A JPEG file is decoded as the largest needs it, so that the smaller ones may differ by a few levels from those that are made
/// alone.
///
/// # Errors
/// As [`thumbnail`]; there are all of them or none.
pub fn thumbnails(input: &[u8], options: &Options, bounds: &[Bounds]) -> Result<Vec<Thumbnail>, PictureError> {
    if let Some(animations) = animation::thumbnails(input, options, bounds)? {
        return Ok(animations);
    }
    make_all(input, options, bounds)?.into_iter().map(|made| encoded(made, options)).collect()
}

/// The pixels of the thumbnail, before it is encoded.
///
/// # Errors
/// As [`thumbnail`].
pub fn thumbnail_pixels(input: &[u8], options: &Options) -> Result<Pixels, PictureError> {
    make(input, options).map(|made| made.pixels)
}

/// The pixels of the thumbnail, and the width and height of the original, upright if it was turned.
///
/// # Errors
/// As [`thumbnail`].
pub fn preview(input: &[u8], options: &Options) -> Result<(Pixels, (u32, u32)), PictureError> {
    make(input, options).map(|made| (made.pixels, made.source_size))
}

/// Pixels of our own as the content of a file.
///
/// # Errors
/// [`PictureError::Encode`].
pub fn encode_pixels(pixels: &Pixels, format: Format, quality: u8) -> Result<Vec<u8>, PictureError> {
    encode::encode(pixels, format, &Options { quality, ..Options::default() }, None)
}

fn encoded(made: Made, options: &Options) -> Result<Thumbnail, PictureError> {
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
    let mut made = make_all(input, options, &[options.bounds])?;
    // There is one for each of the bounds.
    made.pop().ok_or_else(|| PictureError::Options("a thumbnail needs a width or a height".into()))
}

fn make_all(input: &[u8], options: &Options, bounds: &[Bounds]) -> Result<Vec<Made>, PictureError> {
    options.check(bounds)?;
    let source_format = Format::of(input)?;
    let shrink = |full_size: (u32, u32), orientation: Orientation| {
        let each = bounds.iter().map(|&bounds| options.decode_shrink(full_size, orientation.turned(bounds)));
        each.min().unwrap_or(1)
    };
    let request = decode::Request {
        max_pixels: options.max_pixels,
        rotate: options.rotate,
        // A blur works on the picture at full size, so it rules out scaled decoding; so does Pillow in the other ways to fit.
        shrink: (options.exactness != Exactness::Exact || options.drafts()).then_some(&shrink),
        verify: options.verify,
        lenient: options.lenient,
        threads: options.threads,
        keep_going: false,
    };
    let mut decoded = decode::decode(input, source_format, &request)?;
    if decoded.shrink > 1 && options.exactness == Exactness::Close && !options.drafts() {
        let cell = options.cell(&decoded, bounds);
        if !enough::is_enough(&decoded.pixels, decoded.shrink, cell, f64::from(options.blur.unwrap_or(0.0))) {
            decoded = decode::decode(input, source_format, &decode::Request { shrink: None, ..request })?;
        }
    }
    shrunk(decoded, source_format, options, bounds)
}

/// A decoded picture made small for each of the bounds, in its final colours and upright.
fn shrunk(
    decoded: decode::Decoded,
    source_format: Format,
    options: &Options,
    bounds: &[Bounds],
) -> Result<Vec<Made>, PictureError> {
    let orientation = if options.rotate { decoded.orientation } else { Orientation::UPRIGHT };
    let full_size = decoded.full_size;
    let (width, height) = (f64::from(full_size.0), f64::from(full_size.1));
    let scale = 1.0 / f64::from(decoded.shrink);
    let blur = options.blur.map(|radius| radius * scale as f32);
    let gap = (options.exactness == Exactness::Draft || options.fit == Fit::Inside).then_some(GAP);
    let close = options.exactness == Exactness::Close
        // Colours are premultiplied after the blur, so that the two cannot be one step.
        && !decoded.pixels.layout.has_alpha()
        && (options.blur.is_some() || decoded.shrink > 1 && !options.drafts());
    let shape_and_pixels = |source: Cow<'_, Pixels>, bounds: Bounds| {
        let bounds = orientation.turned(bounds);
        let mut shape = Shape::new(options.fit, bounds, full_size, 0.5);
        options.check_outer(shape.outer_size(full_size))?;
        let kept = (shape.region.width() / width, shape.region.height() / height);
        if options.crop != Crop::Centre {
            shape = Shape::new(options.fit, bounds, full_size, smartcrop::place(&source, options.crop, kept));
        }
        let Some(size) = shape.size else {
            return Ok((shape, resize::blurred(source, blur)));
        };
        if close {
            let resampling = Resampling { size, region: shape.region, filter: options.filter, gap };
            return Ok((shape, coarse::resample(&source, decoded.shrink, full_size, options.blur, &resampling)));
        }
        let region = shape.region.scaled((scale, scale));
        let resampling = Resampling { size, region, filter: options.filter, gap };
        Ok((shape, resize::resample(source, blur, &resampling)))
    };
    let finished = |(shape, pixels): (Shape, Pixels), icc: Option<Vec<u8>>| {
        let (pixels, icc) = if options.keep_profile {
            // One for ink is of no use to RGB.
            let icc = icc.filter(|_| pixels.layout != Layout::Cmyk);
            (alpha::cmyk_to_rgb(pixels), icc)
        } else {
            (profile::to_srgb(pixels, icc.as_deref()), None)
        };
        let mut pixels = orient::apply(pixels, orientation);
        let before = pixels.layout;
        if let Some(frame) = shape.frame {
            pixels = pad::pad(pixels, orientation.turn_size(frame), options.background);
        }
        // The profile of a grey picture does not fit its coloured form.
        let icc = icc.filter(|_| pixels.layout == before);
        let source_size = orientation.turn_size(full_size);
        Made { pixels, icc, source_size, source_format, warning: decoded.warning.clone() }
    };
    let Some((&last, others)) = bounds.split_last() else { return Ok(Vec::new()) };
    let mut all = Vec::with_capacity(bounds.len());
    for &bounds in others {
        all.push(finished(shape_and_pixels(Cow::Borrowed(&decoded.pixels), bounds)?, decoded.icc.clone()));
    }
    all.push(finished(shape_and_pixels(Cow::Owned(decoded.pixels), last)?, decoded.icc));
    Ok(all)
}
