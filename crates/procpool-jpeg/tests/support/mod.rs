//! Pictures to decode, and a complete decoder to compare with.

// Each test file uses some of this, and none of it is seen from outside.
#![allow(dead_code, unreachable_pub)]

use libjpeg_turbo_rs::{Decoder, Encoder, JpegError, PixelFormat, ScalingFactor, Subsampling};
use procpool_jpeg::Scale;

/// A generator of numbers that is the same every time: xorshift.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Pixels with smooth parts, edges and noise.
pub fn pattern(width: usize, height: usize, channels: usize) -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (width * 7919 + height * 31 + channels) as u64);
    let mut pixels = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..channels {
                let ramp = (x * (channel + 2) + y * (5 - channel)) / 3;
                let edge = if (x / 23 + y / 17) % 2 == 0 { 0 } else { 90 };
                let noise = (random.next() >> 58) as usize;
                pixels.push((ramp + edge + noise) as u8);
            }
        }
    }
    pixels
}

pub const SAMPLINGS: [Subsampling; 8] = [
    Subsampling::S444,
    Subsampling::S422,
    Subsampling::S420,
    Subsampling::S440,
    Subsampling::S411,
    Subsampling::S441,
    Subsampling::S410,
    Subsampling::S24,
];

pub fn format(channels: usize) -> PixelFormat {
    match channels {
        1 => PixelFormat::Grayscale,
        3 => PixelFormat::Rgb,
        _ => PixelFormat::Cmyk,
    }
}

/// A picture of [`pattern`], encoded as `options` say.
pub fn encoded(
    (width, height): (usize, usize),
    channels: usize,
    options: impl for<'a> FnOnce(Encoder<'a>) -> Encoder<'a>,
) -> Vec<u8> {
    let pixels = pattern(width, height, channels);
    options(Encoder::new(&pixels, width, height, format(channels))).encode().expect("the encoder takes a pattern")
}

/// A file that the tests of damage start from: 4:2:0, with restart markers if asked for.
pub fn sample(progressive: bool, restart: u16) -> Vec<u8> {
    encoded((181, 133), 3, |encoder| {
        encoder.quality(85).subsampling(Subsampling::S420).progressive(progressive).restart_blocks(restart)
    })
}

/// Width, height and pixels at a scale, by the complete decoder.
pub fn library(file: &[u8], scale: Scale) -> Result<(usize, usize, Vec<u8>), JpegError> {
    let mut decoder = Decoder::new(file)?;
    let channels = decoder.header().components.len();
    decoder.set_output_format(format(channels));
    decoder.set_scale(ScalingFactor::try_new(1, scale.denominator())?);
    let image = decoder.decode_image()?;
    Ok((image.width, image.height, image.data))
}

/// Where the pixels differ, if they do: the first place and both values, and the largest difference.
pub fn differences(ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} bytes, not {}", ours.len(), theirs.len()));
    }
    let differs = |(_, (a, b)): &(usize, (&u8, &u8))| a != b;
    let (at, (a, b)) = ours.iter().zip(theirs).enumerate().find(differs)?;
    let most = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max();
    Some(format!("byte {at} is {a}, not {b}; largest difference {most:?}"))
}
