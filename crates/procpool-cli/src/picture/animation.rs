//! Animations: every frame of a GIF or WebP made small, as an animated WebP.

use super::encode::{self, Frame};
use super::{Bounds, Format, Options, OutFormat, PictureError, Thumbnail, decode};

/// More frames than this are refused: each costs time and memory, however small it is.
const MAX_FRAMES: usize = 10_000;

/// What is made of an animation for one of the bounds.
struct Animation {
    frames: Vec<Frame>,
    source_size: (u32, u32),
    /// The colour profile, which the file has once for all its frames.
    icc: Option<Vec<u8>>,
}

/// The thumbnails of an animation, one for each of the bounds, or `None` where none are asked for or the picture has but one frame.
pub(super) fn thumbnails(
    input: &[u8],
    options: &Options,
    bounds: &[Bounds],
) -> Result<Option<Vec<Thumbnail>>, PictureError> {
    let source_format = Format::of(input)?;
    let wanted =
        options.format == OutFormat::WebP || (options.format, source_format) == (OutFormat::Same, Format::WebP);
    if !options.animated || !wanted {
        return Ok(None);
    }
    options.check(bounds)?;
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
    let empty = || Animation { frames: Vec::new(), source_size: (0, 0), icc: None };
    let mut animations: Vec<Animation> = bounds.iter().map(|_| empty()).collect();
    let (mut count, mut pixels) = (0, 0u64);
    let result = decode::frames(input, source_format, &request, &mut |decoded, duration| {
        if count == MAX_FRAMES {
            return Err(unsupported(format!("more than {MAX_FRAMES} frames")));
        }
        let (width, height) = decoded.full_size;
        pixels += u64::from(width) * u64::from(height);
        if pixels > options.max_pixels {
            return Err(unsupported(format!("more than {} pixels in all its frames together", options.max_pixels)));
        }
        let all = super::shrunk(decoded, source_format, options, bounds)?;
        for (animation, made) in animations.iter_mut().zip(all) {
            animation.source_size = made.source_size;
            animation.icc = made.icc;
            animation.frames.push(Frame { pixels: made.pixels, duration });
        }
        count += 1;
        Ok(())
    });
    let (loops, warning) = match result {
        Ok(loops) => (loops, None),
        Err(error @ (PictureError::Truncated { .. } | PictureError::Damaged { .. })) if options.lenient => {
            (Some(0), Some(format!("{error}; {count} frames were kept")))
        }
        Err(error) => return Err(error),
    };
    let Some(loops) = loops.filter(|_| count > 1) else { return Ok(None) };
    let encoded = animations.into_iter().map(|Animation { frames, source_size, icc }| {
        let (width, height) = frames.first().map_or((0, 0), |first| (first.pixels.width, first.pixels.height));
        let bytes = encode::animated_webp(&frames, loops, options, icc.as_deref())?;
        let warning = warning.clone();
        Ok(Thumbnail { bytes, format: Format::WebP, width, height, source_size, source_format, warning })
    });
    encoded.collect::<Result<_, _>>().map(Some)
}
