//! Writes the pixels of thumbnails, before they are encoded, for comparison with other programs.
//!
//! Usage: `thumbnail_pixels JOBS`, where each line of the file JOBS is
//! `input<TAB>output<TAB>width<TAB>height<TAB>blur`, with `-` for no blur or a free side, and optionally `<TAB>fit<TAB>filter`
//! behind it, and `<TAB>fast` behind that. An output file is one line `width height channels`, then the raw pixels; or one line `error: ...`.
//! An output whose name ends with `.avif` is that instead, of quality 90.

use std::error::Error;
use std::fs;

use procpool_cli::picture::{Bounds, Exactness, Filter, Fit, Options, OutFormat, thumbnail, thumbnail_pixels};

fn main() -> Result<(), Box<dyn Error>> {
    let jobs = std::env::args().nth(1).ok_or("usage: thumbnail_pixels JOBS")?;
    for line in fs::read_to_string(jobs)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [input, output, width, height, blur, rest @ ..] = &fields[..] else {
            return Err(format!("too few fields: {line}").into());
        };
        let (fit, filter, fast) = match rest {
            [] => ("inside", "bicubic", false),
            [fit, filter] => (*fit, *filter, false),
            [fit, filter, "fast"] => (*fit, *filter, true),
            _ => return Err(format!("neither five nor seven fields: {line}").into()),
        };
        let options = Options {
            bounds: Bounds { width: number(width)?, height: number(height)? },
            blur: number(blur)?,
            fit: match fit {
                "inside" => Fit::Inside,
                "cover" => Fit::Cover,
                "contain" => Fit::Contain,
                "fill" => Fit::Fill,
                "shorter" => Fit::Shorter,
                _ => return Err(format!("no way to fit: {fit}").into()),
            },
            filter: match filter {
                "bicubic" => Filter::Bicubic,
                "bilinear" => Filter::Bilinear,
                "lanczos" => Filter::Lanczos,
                "box" => Filter::Box,
                _ => return Err(format!("no filter: {filter}").into()),
            },
            exactness: if fast { Exactness::Close } else { Exactness::Exact },
            format: OutFormat::Png,
            ..Options::default()
        };
        if output.ends_with(".avif") {
            let options = Options { format: OutFormat::Avif, quality: 90, ..options };
            fs::write(output, thumbnail(&fs::read(input)?, &options)?.bytes)?;
            continue;
        }
        let content = match thumbnail_pixels(&fs::read(input)?, &options) {
            Ok(pixels) => {
                let (width, height) = (pixels.width, pixels.height);
                let header = format!("{width} {height} {}\n", pixels.layout.channels());
                [header.into_bytes(), pixels.data].concat()
            }
            Err(error) => format!("error: {error}\n").into_bytes(),
        };
        fs::write(output, content)?;
    }
    Ok(())
}

/// The number, or none for `-`.
fn number<T: std::str::FromStr>(text: &str) -> Result<Option<T>, T::Err> {
    if text == "-" { Ok(None) } else { text.parse().map(Some) }
}
