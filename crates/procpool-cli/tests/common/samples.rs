//! Small pictures of every format, made by the crates that the formats are read with.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::io::Cursor;

use procpool_cli::picture::Format;

/// A colour profile as far as this program looks at one: it says which colours it is for.
pub(crate) fn profile(colours: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 321];
    profile[16..20].copy_from_slice(colours);
    profile
}

/// A colour profile for CMYK with a table of two steps a side.
pub(crate) fn ink_profile() -> Vec<u8> {
    let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for value in [1u32, 0, 0, 0, 1, 0, 0, 0, 1] {
        table.extend((value << 16).to_be_bytes());
    }
    (0..4).for_each(|_| table.extend(0..=255u8));
    (0..16).for_each(|corner| table.extend([255 - 17 * corner, 128, 120 + corner]));
    (0..3).for_each(|_| table.extend(0..=255u8));
    let mut profile = vec![0; 128];
    profile[8] = 2;
    profile[12..24].copy_from_slice(b"prtrCMYKLab ");
    profile[36..40].copy_from_slice(b"acsp");
    for (at, value) in [(68, 0x0000_F6D6u32), (72, 0x0001_0000), (76, 0x0000_D32D)] {
        profile[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    profile.extend([1u32, u32::from_be_bytes(*b"A2B0"), 144, table.len() as u32].map(u32::to_be_bytes).concat());
    profile.extend(table);
    let length = profile.len() as u32;
    profile[..4].copy_from_slice(&length.to_be_bytes());
    profile
}

pub(crate) fn gradient(width: usize, height: usize, channels: usize) -> Vec<u8> {
    (0..width * height * channels).map(|index| (index / channels % width * 255 / width) as u8).collect()
}

pub(crate) fn jpeg(width: usize, height: usize) -> Vec<u8> {
    let pixels = gradient(width, height, 3);
    libjpeg_turbo_rs::Encoder::new(&pixels, width, height, libjpeg_turbo_rs::PixelFormat::Rgb)
        .icc_profile(&profile(b"RGB "))
        .encode()
        .expect("the encoder takes a gradient")
}

pub(crate) fn png(width: u32, height: u32, colour: png::ColorType, data: &[u8]) -> Vec<u8> {
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

/// A PNG of colours that states its size, has a few bytes of data and ends there.
pub(crate) fn png_header(side: u32) -> Vec<u8> {
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

pub(crate) fn webp(width: usize, height: usize) -> Vec<u8> {
    let pixels = gradient(width, height, 4);
    webp::Encoder::from_rgba(&pixels, width as u32, height as u32).encode(80.0).to_vec()
}

pub(crate) fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
    let pixels = gradient(width.into(), height.into(), 1);
    let frame = gif::Frame::from_indexed_pixels(width, height, pixels, None);
    let mut encoder = gif::Encoder::new(&mut out, width, height, &palette).expect("memory takes all");
    encoder.write_frame(&frame).expect("the frame fits");
    drop(encoder);
    out
}

pub(crate) fn tiff(width: u32, height: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let pixels = gradient(width as usize, height as usize, 3);
    tiff::encoder::TiffEncoder::new(&mut out)
        .expect("memory takes all")
        .write_image::<tiff::encoder::colortype::RGB8>(width, height, &pixels)
        .expect("the data fits");
    out.into_inner()
}

/// Rows of 24 bits from the lowest up.
pub(crate) fn bmp(width: u32, height: u32) -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    out.extend(width.to_le_bytes());
    out.extend(height.to_le_bytes());
    out.extend([1, 0, 24, 0]);
    out.resize(54, 0);
    for row in gradient(width as usize, height as usize, 3).chunks(width as usize * 3) {
        out.extend(row);
        out.extend(&[0; 3][..row.len().wrapping_neg() % 4]);
    }
    out
}

pub(crate) fn avif(width: usize, height: usize) -> Vec<u8> {
    let pixels: Vec<_> = gradient(width, height, 3).chunks(3).map(|p| ravif::RGB8::new(p[0], p[1], p[2])).collect();
    let encoder = ravif::Encoder::new().with_speed(10).with_num_threads(Some(1));
    encoder.encode_rgb(ravif::Img::new(&pixels, width, height)).expect("the encoder takes a gradient").avif_file
}

pub(crate) fn pictures() -> [(Format, Vec<u8>); 7] {
    sized(300, 200)
}

/// As small as fuzzers like them.
pub(crate) fn small_pictures() -> [(Format, Vec<u8>); 7] {
    sized(40, 30)
}

fn sized(width: u16, height: u16) -> [(Format, Vec<u8>); 7] {
    let (long_width, long_height) = (u32::from(width), u32::from(height));
    let (size_width, size_height) = (usize::from(width), usize::from(height));
    [
        (Format::Jpeg, jpeg(size_width, size_height)),
        (Format::Png, png(long_width, long_height, png::ColorType::Rgb, &gradient(size_width, size_height, 3))),
        (Format::WebP, webp(size_width, size_height)),
        (Format::Gif, gif(width, height)),
        (Format::Tiff, tiff(long_width, long_height)),
        (Format::Bmp, bmp(long_width, long_height)),
        (Format::Avif, avif(size_width, size_height)),
    ]
}

/// A GIF of three frames: red everywhere; a green square, taken away afterwards; a blue one.
pub(crate) fn moving() -> Vec<u8> {
    let mut out = Vec::new();
    let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9];
    let mut encoder = gif::Encoder::new(&mut out, 40, 30, &palette).expect("memory takes all");
    encoder.set_repeat(gif::Repeat::Finite(2)).expect("memory takes all");
    let mut frame = |index: u8, (width, height): (u16, u16), at: (u16, u16), dispose, delay| {
        let pixels = vec![index; usize::from(width) * usize::from(height)];
        let mut frame = gif::Frame::from_indexed_pixels(width, height, pixels, None);
        (frame.left, frame.top, frame.dispose, frame.delay) = (at.0, at.1, dispose, delay);
        encoder.write_frame(&frame).expect("the frame fits");
    };
    frame(0, (40, 30), (0, 0), gif::DisposalMethod::Keep, 7);
    frame(1, (10, 10), (0, 0), gif::DisposalMethod::Previous, 8);
    frame(2, (10, 10), (30, 20), gif::DisposalMethod::Background, 9);
    drop(encoder);
    out
}
