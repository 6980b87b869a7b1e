//! The picture pipeline from outside: hostile files, and what the outputs carry.

use std::io::Cursor;

use procpool_cli::picture::{
    Bounds, Format, Layout, Options, OutFormat, PictureError, Pixels, thumbnail, thumbnail_pixels,
};

/// A colour profile as far as this program looks at one: it says which colours it is for.
fn profile(colours: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 321];
    profile[16..20].copy_from_slice(colours);
    profile
}

fn gradient(width: usize, height: usize, channels: usize) -> Vec<u8> {
    (0..width * height * channels).map(|index| (index / channels % width * 255 / width) as u8).collect()
}

fn jpeg(width: usize, height: usize) -> Vec<u8> {
    let pixels = gradient(width, height, 3);
    libjpeg_turbo_rs::Encoder::new(&pixels, width, height, libjpeg_turbo_rs::PixelFormat::Rgb)
        .icc_profile(&profile(b"RGB "))
        .encode()
        .expect("the encoder takes a gradient")
}

fn png(width: u32, height: u32, colour: png::ColorType, data: &[u8]) -> Vec<u8> {
    let mut info = png::Info::with_size(width, height);
    info.icc_profile = Some(profile(b"RGB ").into());
    let mut out = Vec::new();
    let mut encoder = png::Encoder::with_info(&mut out, info).expect("the header is valid");
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory takes all");
    writer.write_image_data(data).expect("the data fits");
    writer.finish().expect("memory takes all");
    out
}

fn webp(width: usize, height: usize) -> Vec<u8> {
    let pixels = gradient(width, height, 4);
    webp::Encoder::from_rgba(&pixels, width as u32, height as u32).encode(80.0).to_vec()
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
    let pixels = gradient(width.into(), height.into(), 1);
    let frame = gif::Frame::from_indexed_pixels(width, height, pixels, None);
    let mut encoder = gif::Encoder::new(&mut out, width, height, &palette).expect("memory takes all");
    encoder.write_frame(&frame).expect("the frame fits");
    drop(encoder);
    out
}

fn tiff(width: u32, height: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let pixels = gradient(width as usize, height as usize, 3);
    tiff::encoder::TiffEncoder::new(&mut out)
        .expect("memory takes all")
        .write_image::<tiff::encoder::colortype::RGB8>(width, height, &pixels)
        .expect("the data fits");
    out.into_inner()
}

fn pictures() -> [(Format, Vec<u8>); 5] {
    [
        (Format::Jpeg, jpeg(300, 200)),
        (Format::Png, png(300, 200, png::ColorType::Rgb, &gradient(300, 200, 3))),
        (Format::WebP, webp(300, 200)),
        (Format::Gif, gif(300, 200)),
        (Format::Tiff, tiff(300, 200)),
    ]
}

fn refusal(input: &[u8]) -> PictureError {
    thumbnail(input, &Options::default()).expect_err("the input is not a picture")
}

#[test]
fn every_format_is_read_and_every_output_written() {
    for (format, content) in pictures() {
        for (wanted, written) in
            [(OutFormat::Jpeg, Format::Jpeg), (OutFormat::Png, Format::Png), (OutFormat::WebP, Format::WebP)]
        {
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
    let expected = [Format::Jpeg, Format::Png, Format::WebP, Format::Png, Format::Png];
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
        "not a JPEG, PNG, WebP, GIF or TIFF picture: it begins with \"Dear dia\""
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

/// A JPEG header that states a size, followed by too little data.
fn jpeg_bomb(width: u16, height: u16) -> Vec<u8> {
    let mut bomb = jpeg(16, 16);
    let frame = bomb.windows(2).position(|window| window == [0xFF, 0xC0]).expect("the file has a frame header");
    bomb[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bomb[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bomb
}

fn png_bomb(side: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(side.to_be_bytes());
    header.extend(side.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = u32::MAX;
    for byte in &header {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bomb.extend(header);
    bomb.extend((!crc).to_be_bytes());
    bomb.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    bomb
}

#[test]
fn header_bombs_are_refused_by_their_stated_size() {
    let too_large = |side| PictureError::TooLarge { width: side, height: side, limit: 500_000_000 };
    assert_eq!(refusal(&jpeg_bomb(65_535, 65_535)), too_large(65_535));
    assert_eq!(refusal(&png_bomb(1 << 30)), too_large(1 << 30));

    // The frame of 1 x 1 pixel juts out of the canvas to the far corner.
    let mut bomb = gif(1, 1);
    bomb[6..10].fill(0xFF);
    assert_eq!(refusal(&bomb), too_large(65_535));

    let mut bomb = tiff(1, 1);
    let directory = u32::from_le_bytes([bomb[4], bomb[5], bomb[6], bomb[7]]) as usize;
    for entry in bomb[directory + 2..].chunks_exact_mut(12).take(2) {
        assert!(matches!(entry[..2], [0 | 1, 1]), "width, then height");
        entry[8..12].copy_from_slice(&100_000u32.to_le_bytes());
    }
    assert_eq!(refusal(&bomb), too_large(100_000));
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
fn damage_never_panics() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let options = Options { max_pixels: 1_000_000, ..Options::default() };
    for (_, content) in pictures() {
        for _ in 0..400 {
            let mut damaged = content.clone();
            for _ in 0..=random(4) {
                // Headers are small, and damage to them tells most.
                let reach = [300, usize::MAX][random(2)];
                let at = random(damaged.len().min(reach));
                damaged[at] = random(256) as u8;
            }
            // Some damage cannot be told from a picture; all that counts is to get here.
            let _ = thumbnail(&damaged, &options);
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
