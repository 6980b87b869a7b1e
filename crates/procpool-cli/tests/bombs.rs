//! Files that state a huge size are refused before memory is set aside for it. The one test here is alone in its process, whose
//! memory it watches.

#[path = "common/samples.rs"]
mod samples;

use std::fs;

use procpool_cli::picture::{Options, OutFormat, PictureError, thumbnail};
use samples::{avif, bmp, gif, jpeg, moving, pictures, png_header, tiff, webp};

/// What a picture in its own small size may take at most, in bytes; the bombs would take a gigabyte and more.
const LITTLE: u64 = 48 << 20;

/// The most memory that this process ever reserved, used or not.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("the kernel counts");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

/// The file with other bytes behind the first place where `mark` stands.
fn patched(mut file: Vec<u8>, mark: &[u8], skip: usize, bytes: &[u8]) -> Vec<u8> {
    let at = file.windows(mark.len()).position(|window| window == mark).expect("the mark is there") + mark.len() + skip;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// A JPEG whose frame header, of this kind, states a size; followed by too little data.
fn jpeg_bomb(progressive: bool) -> Vec<u8> {
    let encoder = |pixels| libjpeg_turbo_rs::Encoder::new(pixels, 16, 16, libjpeg_turbo_rs::PixelFormat::Rgb);
    let file = if progressive {
        encoder(&[99; 768]).progressive(true).encode().expect("the encoder takes grey")
    } else {
        jpeg(16, 16)
    };
    patched(file, &[0xFF, if progressive { 0xC2 } else { 0xC0 }], 3, &[0xFF; 4])
}

/// A TIFF of one strip whose directory states a size.
fn tiff_bomb(side: u32) -> Vec<u8> {
    let mut file = tiff(1, 1);
    let directory = u32::from_le_bytes([file[4], file[5], file[6], file[7]]) as usize;
    for entry in file[directory + 2..].chunks_exact_mut(12).take(2) {
        assert!(matches!(entry[..2], [0 | 1, 1]), "width, then height");
        entry[8..12].copy_from_slice(&side.to_le_bytes());
    }
    file
}

/// A WebP without loss, whose header has 14 bits for each side.
fn lossless_webp_bomb() -> Vec<u8> {
    let file = ::webp::Encoder::from_rgb(&[99; 768], 16, 16).encode_lossless().to_vec();
    patched(file, b"VP8L", 5, &[0xFE, 0xBF, 0xFF, 0x0F])
}

#[test]
fn huge_headers_are_refused_before_memory_is_set_aside() {
    let limit = Options::default().max_pixels;
    let long = |side: u32| side.to_le_bytes().repeat(2);
    let of_webp = 59_999u32.to_le_bytes();
    let bombs = [
        ("JPEG", jpeg_bomb(false), 65_535, limit),
        ("progressive JPEG", jpeg_bomb(true), 65_535, limit),
        ("PNG", png_header(1 << 30), 1 << 30, limit),
        ("WebP", patched(webp(16, 16), b"VP8X", 8, &[&of_webp[..3], &of_webp[..3]].concat()), 60_000, limit),
        // What the format allows is less than the usual limit.
        ("lossless WebP", lossless_webp_bomb(), 16_383, 100_000_000),
        // The frame of 1 x 1 pixel juts out of the canvas to the far corner.
        ("GIF", patched(gif(1, 1), b"GIF89a", 0, &[0xFF; 4]), 65_535, limit),
        ("moving GIF", patched(moving(), b"GIF89a", 0, &[0xFF; 4]), 65_535, limit),
        ("TIFF", tiff_bomb(100_000), 100_000, limit),
        ("BMP", patched(bmp(1, 1), &[0x28, 0, 0, 0], 0, &long(100_000)), 100_000, limit),
        ("BMP of OS/2", patched(bmp(1, 1), &[0x28, 0, 0, 0], 0, &long(i32::MAX as u32)), i32::MAX as u32, limit),
        ("AVIF", patched(avif(16, 16), b"ispe", 4, &[0x7F; 8]), 0x7F7F_7F7F, limit),
    ];
    // What a thread and the tables of decoders need is reserved by these.
    for (_, content) in pictures() {
        assert!(thumbnail(&content, &Options::default()).is_ok());
    }
    let before = peak();
    for (name, content, side, max_pixels) in &bombs {
        let options = Options { max_pixels: *max_pixels, ..Options::default() };
        for options in [
            options.clone(),
            Options { lenient: true, verify: true, ..options.clone() },
            Options { animated: true, format: OutFormat::WebP, ..options.clone() },
            Options { blur: Some(2.0), rotate: false, ..options },
        ] {
            let refusal = thumbnail(content, &options).map(|_| ());
            let wanted = PictureError::TooLarge { width: *side, height: *side, limit: *max_pixels };
            assert_eq!(refusal, Err(wanted), "{name}");
            let more = peak() - before;
            assert!(more < LITTLE, "{name} took {} MiB", more >> 20);
        }
    }
}
