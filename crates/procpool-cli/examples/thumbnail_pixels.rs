//! Writes the pixels of thumbnails, before they are encoded, for comparison with other programs.
//!
//! Usage: `thumbnail_pixels JOBS`, where each line of the file JOBS is
//! `input<TAB>output<TAB>width<TAB>height<TAB>blur`, with `-` for no blur. An output file is one
//! line `width height channels`, then the raw pixels; or one line `error: ...`.

use std::error::Error;
use std::fs;

use procpool_cli::picture::{Options, OutFormat, thumbnail_pixels};

fn main() -> Result<(), Box<dyn Error>> {
    let jobs = std::env::args().nth(1).ok_or("usage: thumbnail_pixels JOBS")?;
    for line in fs::read_to_string(jobs)?.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [input, output, width, height, blur] = fields[..] else {
            return Err(format!("not five fields: {line}").into());
        };
        let options = Options {
            box_size: (width.parse()?, height.parse()?),
            blur: match blur {
                "-" => None,
                radius => Some(radius.parse()?),
            },
            format: OutFormat::Png,
            ..Options::default()
        };
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
