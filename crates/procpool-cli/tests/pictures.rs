//! The picture pipeline from outside: hostile files, and what the outputs carry.

#[path = "common/samples.rs"]
mod samples;

use std::io::Cursor;

use procpool_cli::picture::{
    Bounds, Exactness, Fit, Format, Layout, Options, OutFormat, PictureError, Pixels, thumbnail, thumbnail_pixels,
    thumbnails,
};
use samples::{bmp, gif, gradient, jpeg, moving, pictures, png, profile};

fn refusal(input: &[u8]) -> PictureError {
    thumbnail(input, &Options::default()).expect_err("the input is not a picture")
}

#[test]
fn every_format_is_read_and_every_output_written() {
    for (format, content) in pictures() {
        for (wanted, written) in [
            (OutFormat::Jpeg, Format::Jpeg),
            (OutFormat::Png, Format::Png),
            (OutFormat::WebP, Format::WebP),
            (OutFormat::Avif, Format::Avif),
        ] {
            let options = Options { format: wanted, ..Options::default() };
            let made = thumbnail(&content, &options).expect("the picture is whole");
            assert_eq!(made.source_format, format);
            assert_eq!(made.source_size, (300, 200));
            assert_eq!(made.format, written);
            assert_eq!((made.width, made.height), (128, 85));
            let again = thumbnail_pixels(&made.bytes, &options).expect("the output is a picture");
            assert_eq!((again.width, again.height), (128, 85));
        }
    }
}

#[test]
fn the_same_format_is_kept_where_it_makes_sense() {
    let expected = [Format::Jpeg, Format::Png, Format::WebP, Format::Png, Format::Png, Format::Png, Format::Avif];
    for ((_, content), expected) in pictures().into_iter().zip(expected) {
        let made = thumbnail(&content, &Options::default()).expect("the picture is whole");
        assert_eq!(made.format, expected);
        assert_eq!(Format::of(&made.bytes), Ok(expected));
    }
}

#[test]
fn the_colour_profile_is_kept_if_asked_for() {
    for (_, content) in &pictures()[..2] {
        for wanted in [OutFormat::Jpeg, OutFormat::Png, OutFormat::WebP] {
            let options = Options { format: wanted, keep_profile: true, ..Options::default() };
            let made = thumbnail(content, &options).expect("the picture is whole");
            let found = match made.format {
                Format::Png => png::Decoder::new(Cursor::new(&made.bytes))
                    .read_info()
                    .expect("the output is valid")
                    .info()
                    .icc_profile
                    .as_deref()
                    .map(<[u8]>::to_vec),
                Format::WebP => image_webp::WebPDecoder::new(Cursor::new(&made.bytes))
                    .expect("the output is valid")
                    .icc_profile()
                    .expect("the profile is whole"),
                _ => libjpeg_turbo_rs::Decoder::new(&made.bytes)
                    .expect("the output is valid")
                    .icc_profile()
                    .expect("the profile is whole"),
            };
            assert_eq!(found, Some(profile(b"RGB ")), "{wanted:?}");
        }
    }
}

#[test]
fn clear_pixels_become_white_in_jpeg() {
    let content = png(40, 40, png::ColorType::Rgba, &[10, 20, 30, 0].repeat(1600));
    let options = Options { format: OutFormat::Jpeg, ..Options::default() };
    let made = thumbnail(&content, &options).expect("the picture is whole");
    let pixels = thumbnail_pixels(&made.bytes, &options).expect("the output is a picture");
    assert_eq!(pixels, Pixels { width: 40, height: 40, layout: Layout::Rgb, data: vec![255; 4800] });
}

#[test]
fn what_is_not_a_picture_is_said_to_be_none() {
    assert_eq!(refusal(b"").to_string(), "the file is empty");
    assert_eq!(
        refusal(b"Dear diary,\n").to_string(),
        "not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with \"Dear dia\""
    );
}

#[test]
fn a_cut_off_picture_is_refused_wherever_it_is_cut() {
    for (format, content) in pictures() {
        // The last bytes are markers and padding that hold no pixels.
        let end = content.len() - 16;
        for length in (12..end).step_by(1 + end / 97) {
            let result = thumbnail(&content[..length], &Options::default());
            assert!(result.is_err(), "{format} cut off at {length} of {end}");
        }
        let half = refusal(&content[..content.len() / 2]);
        // TIFF keeps its directory at the end, so that of half a file nothing is to be found.
        assert_eq!(half, PictureError::Truncated { format });
    }
}

#[test]
fn the_limit_is_inclusive() {
    let content = jpeg(300, 200);
    let with_limit = |max_pixels| {
        let options = Options { max_pixels, ..Options::default() };
        thumbnail(&content, &options)
    };
    assert!(with_limit(60_000).is_ok());
    assert_eq!(
        with_limit(59_999).map(|made| made.bytes),
        Err(PictureError::TooLarge { width: 300, height: 200, limit: 59_999 })
    );
}

#[test]
fn cmyk_in_resolutions_the_decoder_panics_at_is_refused() {
    let pixels = gradient(64, 64, 4);
    let mut content = libjpeg_turbo_rs::Encoder::new(&pixels, 64, 64, libjpeg_turbo_rs::PixelFormat::Cmyk)
        .encode()
        .expect("the encoder takes a gradient");
    let frame = content.windows(2).position(|window| window == [0xFF, 0xC0]).expect("the file has a frame header");
    // Four channels of three bytes each: only the last has a resolution of its own.
    for (channel, sampling) in [0x11, 0x11, 0x11, 0x43].into_iter().enumerate() {
        content[frame + 11 + 3 * channel] = sampling;
    }
    assert_eq!(refusal(&content).to_string(), "JPEG with CMYK in unusual resolutions is not supported");
}

#[test]
fn of_damaged_pictures_what_can_be_read_is_kept_if_asked_for() {
    let lenient = Options { lenient: true, format: OutFormat::Png, ..Options::default() };
    for (format, content) in pictures() {
        let whole = thumbnail(&content, &lenient).expect("the picture is whole");
        assert_eq!(whole.warning, None, "{format}");
        let cut = &content[..content.len() * 3 / 4];
        let strict = refusal(cut);
        let kept = thumbnail(cut, &lenient);
        match format {
            // Nothing of these is a picture before all of it is there; the directory of TIFF is at its end.
            Format::WebP | Format::Avif | Format::Tiff => assert_eq!(kept.map(|_| ()), Err(strict), "{format}"),
            _ => {
                let kept = kept.expect("much of it is there");
                assert_eq!((kept.width, kept.height), (128, 85), "{format}");
                assert_eq!(kept.warning, Some(format!("{strict}; the rest was kept")));
            }
        }
    }
    assert!(thumbnail(&jpeg(300, 200)[..700], &lenient).is_err(), "of a header nothing can be kept");
}

#[test]
fn of_half_a_picture_the_half_that_is_there_is_right() {
    let content = bmp(64, 64);
    let options = Options { lenient: true, bounds: Bounds::square(64), ..Options::default() };
    let whole = thumbnail_pixels(&content, &options).expect("the picture is whole");
    // The rows are stored from the lowest up.
    let half = thumbnail_pixels(&content[..54 + 64 * 3 * 32], &options).expect("half of it is there");
    let (upper, lower) = half.data.split_at(64 * 3 * 32);
    assert!(upper.iter().all(|&sample| sample == 0));
    assert_eq!(lower, &whole.data[64 * 3 * 32..]);
}

#[test]
fn animations_keep_moving_if_asked_for() {
    let options = Options { format: OutFormat::WebP, lossless: true, animated: true, ..Options::default() };
    let made = thumbnail(&moving(), &options).expect("the picture is whole");
    assert_eq!((made.width, made.height, made.format), (40, 30, Format::WebP));
    // The outcome is an animation as well.
    for content in [made.bytes.clone(), thumbnail(&made.bytes, &options).expect("an animation").bytes] {
        let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&content)).expect("the output is valid");
        assert_eq!((decoder.num_frames(), decoder.dimensions(), decoder.has_alpha()), (3, (40, 30), true));
        let thrice = std::num::NonZeroU16::new(3).map(image_webp::LoopCount::Times);
        assert_eq!(Some(decoder.loop_count()), thrice);
        let mut canvas = vec![0; 40 * 30 * 4];
        for (duration, top_left, bottom_right) in
            [(70, [255, 0, 0], [255, 0, 0]), (80, [0, 255, 0], [255, 0, 0]), (90, [255, 0, 0], [0, 0, 255])]
        {
            assert_eq!(decoder.read_frame(&mut canvas).expect("a frame"), duration);
            assert_eq!((&canvas[..3], &canvas[40 * 30 * 4 - 4..40 * 30 * 4 - 1]), (&top_left[..], &bottom_right[..]));
        }
    }
    let small = Options { bounds: Bounds::square(20), ..options.clone() };
    let made = thumbnail(&moving(), &small).expect("the picture is whole");
    assert_eq!((made.width, made.height), (20, 15));
    // The limit holds for all frames together.
    let limited = Options { max_pixels: 40 * 30 * 2, ..options.clone() };
    let message = "GIF with more than 2400 pixels in all its frames together is not supported";
    assert_eq!(thumbnail(&moving(), &limited).map(|_| ()).map_err(|error| error.to_string()), Err(message.into()));
    // One frame is no animation.
    let still = thumbnail(&gif(300, 200), &options).expect("the picture is whole");
    let decoder = image_webp::WebPDecoder::new(Cursor::new(&still.bytes)).expect("the output is valid");
    assert!(!decoder.is_animated());
}

/// The file with a colour profile, which GIF has in an extension of its own.
fn gif_with_profile(content: &[u8], icc: &[u8]) -> Vec<u8> {
    let palette = 3 << ((content[10] & 7) + 1);
    let (head, rest) = content.split_at(13 + palette);
    let mut made = head.to_vec();
    made.extend(b"\x21\xff\x0bICCRGBG1012");
    for part in icc.chunks(255) {
        made.push(part.len() as u8);
        made.extend(part);
    }
    made.push(0);
    made.extend(rest);
    made
}

#[test]
fn animations_in_several_sizes_are_those_of_one_each_and_keep_their_profile() {
    let sizes = [Bounds::square(40), Bounds::square(20), Bounds { width: Some(7), height: None }];
    let icc = profile(b"RGB ");
    let options = Options { format: OutFormat::WebP, lossless: true, animated: true, ..Options::default() };
    let content = gif_with_profile(&moving(), &icc);
    for keep_profile in [false, true] {
        let options = Options { keep_profile, ..options.clone() };
        let all = thumbnails(&content, &options, &sizes).expect("the picture is whole");
        assert_eq!(all.iter().map(|made| made.width).collect::<Vec<_>>(), [40, 20, 7]);
        for (made, &bounds) in all.iter().zip(&sizes) {
            assert_eq!(thumbnail(&content, &Options { bounds, ..options.clone() }).as_ref(), Ok(made));
            let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&made.bytes)).expect("the output is valid");
            assert_eq!(decoder.num_frames(), 3);
            assert_eq!(decoder.icc_profile().expect("the profile is whole"), keep_profile.then(|| icc.clone()));
            let mut canvas = vec![0; decoder.output_buffer_size().expect("it is small")];
            for duration in [70, 80, 90] {
                assert_eq!(decoder.read_frame(&mut canvas).expect("a frame"), duration);
            }
        }
    }
    // One frame is no animation in any size.
    let still = thumbnails(&gif(300, 200), &options, &sizes).expect("the picture is whole");
    assert_eq!(still.iter().map(|made| made.width).collect::<Vec<_>>(), [40, 20, 7]);
}

#[test]
fn outputs_are_as_asked_for() {
    let content = png(300, 200, png::ColorType::Rgb, &gradient(300, 200, 3));
    let wanted = thumbnail_pixels(&content, &Options::default()).expect("the picture is whole");
    let exact = Options { format: OutFormat::WebP, lossless: true, ..Options::default() };
    let made = thumbnail(&content, &exact).expect("the picture is whole");
    assert_eq!(thumbnail_pixels(&made.bytes, &exact), Ok(wanted), "lossless");
    for format in [OutFormat::Jpeg, OutFormat::Avif] {
        let refused = thumbnail(&content, &Options { format, lossless: true, ..Options::default() });
        assert!(matches!(refused, Err(PictureError::Encode { .. })), "{format:?}");
    }
    let has_frame = |jpeg: &[u8], marker: u8| jpeg.windows(2).any(|window| window == [0xFF, marker]);
    for (progressive, marker) in [(false, 0xC0), (true, 0xC2)] {
        let options = Options { format: OutFormat::Jpeg, progressive, ..Options::default() };
        let made = thumbnail(&content, &options).expect("the picture is whole");
        assert!(has_frame(&made.bytes, marker));
    }
    let clear = png(40, 40, png::ColorType::Rgba, &[10, 20, 30, 0].repeat(1600));
    let options = Options { format: OutFormat::Jpeg, background: Some([0, 0, 0]), ..Options::default() };
    let made = thumbnail(&clear, &options).expect("the picture is whole");
    let pixels = thumbnail_pixels(&made.bytes, &options).expect("the output is a picture");
    assert_eq!(pixels.data, [0; 4800]);
}

#[test]
fn avif_has_alpha_and_tiny_pictures_are_pictures() {
    for (width, height) in [(1, 1), (3, 2), (1, 70), (17, 33)] {
        let content = png(width, height, png::ColorType::Rgba, &[200, 100, 50, 128].repeat((width * height) as usize));
        let options = Options { format: OutFormat::Avif, quality: 90, ..Options::default() };
        let made = thumbnail(&content, &options).expect("the picture is whole");
        let pixels = thumbnail_pixels(&made.bytes, &options).expect("the output is a picture");
        assert_eq!((pixels.width, pixels.height, pixels.layout), (width, height, Layout::Rgba));
        let close = |(found, wanted): (&u8, &u8)| found.abs_diff(*wanted) <= 6;
        assert!(pixels.data.iter().zip([200, 100, 50, 128].iter().cycle()).all(close), "{:?}", &pixels.data[..4]);
    }
}

#[test]
fn damage_never_panics() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let options = Options { max_pixels: 1_000_000, ..Options::default() };
    let lenient = Options { lenient: true, animated: true, format: OutFormat::WebP, ..options.clone() };
    let cases = std::env::var("FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(5);
    let moving = [(Format::Gif, moving())];
    for (_, content) in pictures().into_iter().chain(moving) {
        for _ in 0..60 * cases {
            let mut damaged = content.clone();
            for _ in 0..=random(4) {
                // Headers are small, and damage to them tells most.
                let reach = [300, usize::MAX][random(2)];
                let at = random(damaged.len().min(reach));
                damaged[at] = random(256) as u8;
            }
            // Some damage cannot be told from a picture; all that counts is to get here.
            let _ = thumbnail(&damaged, &options);
            let _ = thumbnail(&damaged, &lenient);
        }
    }
}

#[test]
fn impossible_options_are_refused() {
    let content = jpeg(16, 16);
    for options in [
        Options { bounds: Bounds::both(0, 5), ..Options::default() },
        Options { bounds: Bounds { width: None, height: None }, ..Options::default() },
        Options { quality: 0, ..Options::default() },
        Options { quality: 101, ..Options::default() },
        Options { blur: Some(f32::NAN), ..Options::default() },
        Options { blur: Some(-1.0), ..Options::default() },
        Options { blur: Some(1e9), ..Options::default() },
    ] {
        assert!(matches!(thumbnail(&content, &options), Err(PictureError::Options(_))), "{options:?}");
    }
}

/// A grey JPEG file of hardly any loss.
fn drawing(width: u32, height: u32, level: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height).map(|at| level(at % width, at / width)).collect();
    libjpeg_turbo_rs::Encoder::new(&pixels, width as usize, height as usize, libjpeg_turbo_rs::PixelFormat::Grayscale)
        .quality(98)
        .encode()
        .expect("the encoder takes a drawing")
}

/// The largest difference that decoding at a part of the size makes.
fn worst(content: &[u8], options: &Options) -> Option<u8> {
    let made = |exactness| thumbnail_pixels(content, &Options { exactness, ..options.clone() }).expect("a picture");
    let (exact, close) = (made(Exactness::Exact), made(Exactness::Close));
    assert_eq!((exact.width, exact.height), (close.width, close.height));
    exact.data.iter().zip(&close.data).map(|(exact, close)| exact.abs_diff(*close)).max()
}

#[test]
fn close_pixels_are_within_six_levels_with_frames_of_any_thickness() {
    for (scale, extra) in [(6, 3), (12, 6), (16, 0), (24, 0), (24, 6), (48, 1)] {
        let side = scale * 6 + extra;
        for thick in [1, 2, 3, 4, 7, 9] {
            for (frame, inside) in [(0, 255), (255, 0), (240, 100), (200, 100), (170, 100), (130, 100)] {
                // On all sides, and on one.
                for sides in [0b1111, 0b0001, 0b1000] {
                    let content = drawing(side, side, |x, y| {
                        let at = [x < thick, y < thick, x + thick >= side, y + thick >= side];
                        let framed = at.iter().enumerate().any(|(bit, &at)| at && sides >> bit & 1 == 1);
                        if framed { frame } else { inside }
                    });
                    for (fit, blur) in [
                        (Fit::Inside, Some(0.25)),
                        (Fit::Inside, Some(0.08)),
                        (Fit::Fill, None),
                        (Fit::Cover, Some(0.15)),
                    ] {
                        let blur = blur.map(|part| part * side as f32 / 6.0);
                        let options = Options { bounds: Bounds::square(6), fit, blur, ..Options::default() };
                        let worst = worst(&content, &options);
                        assert!(
                            worst <= Some(6),
                            "{worst:?}: {side} {thick} {frame} {inside} {sides:b} {fit:?} {blur:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn close_pixels_are_within_six_levels_with_hard_edges() {
    for scale in [6, 8, 12, 16, 20, 24] {
        let side = scale * 6;
        for (period, thick) in [(1000, 1), (1000, 4), (1000, 12), (1000, 40), (16, 4), (29, 11)] {
            for black in [0, 40] {
                let content = drawing(side, side, |x, y| {
                    let dark = (x + y / 9 + 13) % period < thick || (y + 5) % (period + 7) < thick / 2;
                    if dark { black } else { 255 }
                });
                for (fit, blur) in [(Fit::Fill, None), (Fit::Inside, Some(0.06)), (Fit::Cover, Some(0.2))] {
                    let blur = blur.map(|part| part * scale as f32);
                    let options = Options { bounds: Bounds::square(6), fit, blur, ..Options::default() };
                    let worst = worst(&content, &options);
                    assert!(worst <= Some(6), "{worst:?}: {side} {period} {thick} {black} {fit:?} {blur:?}");
                }
            }
        }
    }
}
