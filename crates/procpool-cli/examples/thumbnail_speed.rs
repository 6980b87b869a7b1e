//! Times thumbnails on one core: for each picture the best of seven runs.
//!
//! Usage: `thumbnail_speed BOX BLUR PICTURE...`, where BOX is a length in pixels for both sides
//! and BLUR a radius or `-`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use procpool_cli::picture::{Bounds, Options, thumbnail};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, blur, pictures @ ..] = arguments.as_slice() else {
        return Err("usage: thumbnail_speed BOX BLUR PICTURE...".into());
    };
    let side = side.parse()?;
    let options = Options {
        bounds: Bounds::square(side),
        blur: match blur.as_str() {
            "-" => None,
            radius => Some(radius.parse()?),
        },
        ..Options::default()
    };
    let mut sum = Duration::ZERO;
    for path in pictures {
        let content = std::fs::read(path)?;
        let mut best = Duration::MAX;
        for _ in 0..7 {
            let start = Instant::now();
            black_box(thumbnail(black_box(&content), &options)?);
            best = best.min(start.elapsed());
        }
        println!("{:8.2} ms  {path}", best.as_secs_f64() * 1000.0);
        sum += best;
    }
    println!("{:8.2} ms  mean", sum.as_secs_f64() * 1000.0 / pictures.len() as f64);
    Ok(())
}
