//! Times the decoding of files at an eighth, a quarter or half, on one core, beside the complete decoder: the best of eleven
//! runs each, in turn.
//!
//! Usage: `speed 8|4|2 PICTURE...`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use libjpeg_turbo_rs::ScalingFactor;
use procpool_jpeg::{Decoder, Limits, Scale};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: speed 8|4|2 PICTURE...";
    let [denominator, pictures @ ..] = arguments.as_slice() else { return Err(usage.into()) };
    let named = Scale::ALL.into_iter().find(|scale| scale.denominator().to_string() == *denominator);
    let scale = named.ok_or(usage)?;
    let mut decoder = Decoder::new();
    let mut sums = [Duration::ZERO; 2];
    for path in pictures {
        let file = std::fs::read(path)?;
        let mut best = [Duration::MAX; 2];
        for _ in 0..11 {
            let start = Instant::now();
            black_box(decoder.decode(black_box(&file), scale, &Limits::default())?);
            best[0] = best[0].min(start.elapsed());
            let start = Instant::now();
            let mut library = libjpeg_turbo_rs::Decoder::new(black_box(&file))?;
            library.set_scale(ScalingFactor::try_new(1, scale.denominator())?);
            black_box(library.decode_image()?);
            best[1] = best[1].min(start.elapsed());
        }
        let [ours, theirs] = best.map(|best| best.as_secs_f64() * 1000.0);
        println!("{ours:8.2} ms, library {theirs:8.2} ms, {:6} kB  {path}", file.len() / 1000);
        sums = [sums[0] + best[0], sums[1] + best[1]];
    }
    let [ours, theirs] = sums.map(|sum| sum.as_secs_f64() * 1000.0 / pictures.len() as f64);
    println!("{ours:8.2} ms, library {theirs:8.2} ms, mean");
    Ok(())
}
