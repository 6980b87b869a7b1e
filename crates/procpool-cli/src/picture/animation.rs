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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Layout, Pixels};

    const REQUEST: decode::Request<'static> = decode::Request::up_to(1000);

    /// How often it is shown, and how many frames are decoded on the way.
    fn decoded(input: &[u8], format: Format) -> (Result<Option<u16>, PictureError>, usize) {
        let mut count = 0;
        let loops = decode::frames(input, format, &REQUEST, &mut |_, _| {
            count += 1;
            Ok(())
        });
        (loops, count)
    }

    fn gif(frames: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = gif::Encoder::new(&mut out, 4, 3, &[9, 9, 9, 200, 0, 0]).expect("memory takes all");
        for _ in 0..frames {
            encoder.write_frame(&gif::Frame::from_indexed_pixels(4, 3, vec![1; 12], None)).expect("the frame fits");
        }
        drop(encoder);
        out
    }

    fn webp(frames: usize) -> Vec<u8> {
        let pixels = Pixels { width: 4, height: 3, layout: Layout::Rgb, data: vec![70; 36] };
        let frames: Vec<_> = (0..frames).map(|_| Frame { pixels: pixels.clone(), duration: 50 }).collect();
        encode::animated_webp(&frames, 1, &Options::default(), None).expect("the frames are alike")
    }

    #[test]
    fn a_still_picture_is_not_decoded_to_find_that_it_is_one() {
        for count in [1, 2, 3] {
            let wanted = if count > 1 { (Some(1), count) } else { (None, 0) };
            assert_eq!(decoded(&gif(count), Format::Gif), (Ok(wanted.0), wanted.1));
            assert_eq!(decoded(&webp(count), Format::WebP), (Ok(wanted.0), wanted.1));
        }
        // Whether there would have been more is not known of one that is cut off.
        let cut = gif(1);
        let end = cut.len() - 1;
        assert_eq!(decoded(&cut[..end], Format::Gif), (Err(PictureError::Truncated { format: Format::Gif }), 1));
    }
}
