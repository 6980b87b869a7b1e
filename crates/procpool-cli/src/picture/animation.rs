//! Animations: every frame of a GIF or WebP made small, as an animated WebP.

use super::encode::{self, Frame};
use super::{Format, Options, OutFormat, PictureError, Thumbnail, decode};

/// More frames than this are refused: each costs time and memory, however small it is.
const MAX_FRAMES: usize = 10_000;

/// The thumbnail of an animation, or `None` where none is asked for or the picture has but one frame.
pub(super) fn thumbnail(input: &[u8], options: &Options) -> Result<Option<Thumbnail>, PictureError> {
    let source_format = Format::of(input)?;
    let wanted =
        options.format == OutFormat::WebP || (options.format, source_format) == (OutFormat::Same, Format::WebP);
    if !options.animated || !wanted {
        return Ok(None);
    }
    // An animated file has one profile for all its frames, or, as here, none.
    options.check(&[options.bounds])?;
    let options = Options { keep_profile: false, ..options.clone() };
    let request = decode::Request {
        max_pixels: options.max_pixels,
        rotate: options.rotate,
        shrink: None,
        verify: options.verify,
        lenient: options.lenient,
        threads: options.threads,
        keep_going: false,
    };
    let unsupported = |what: String| PictureError::Unsupported { format: source_format, what };
    let mut frames = Vec::new();
    let mut source_size = (0, 0);
    let mut pixels = 0u64;
    let result = decode::frames(input, source_format, &request, &mut |decoded, duration| {
        if frames.len() == MAX_FRAMES {
            return Err(unsupported(format!("more than {MAX_FRAMES} frames")));
        }
        let (width, height) = decoded.full_size;
        pixels += u64::from(width) * u64::from(height);
        if pixels > options.max_pixels {
            return Err(unsupported(format!("more than {} pixels in all its frames together", options.max_pixels)));
        }
        for made in super::shrunk(decoded, source_format, &options, &[options.bounds])? {
            source_size = made.source_size;
            frames.push(Frame { pixels: made.pixels, duration });
        }
        Ok(())
    });
    let (loops, warning) = match result {
        Ok(loops) => (loops, None),
        Err(error @ (PictureError::Truncated { .. } | PictureError::Damaged { .. })) if options.lenient => {
            (Some(0), Some(format!("{error}; {} frames were kept", frames.len())))
        }
        Err(error) => return Err(error),
    };
    let (Some(loops), [first, _, ..]) = (loops, &*frames) else {
        return Ok(None);
    };
    let (width, height) = (first.pixels.width, first.pixels.height);
    let bytes = encode::animated_webp(&frames, loops, &options)?;
    Ok(Some(Thumbnail { bytes, format: Format::WebP, width, height, source_size, source_format, warning }))
}
