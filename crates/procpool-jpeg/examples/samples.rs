//! Writes JPEG files of kinds that few programs write, for comparison with other decoders: every sampling, baseline and
//! progressive, with and without restart markers, YCCK.
//!
//! Usage: `samples FOLDER [LARGEST]`
//!
//! Files of more than `LARGEST` bytes are left out.

use std::error::Error;
use std::path::PathBuf;

use libjpeg_turbo_rs::{ColorSpace, Encoder, PixelFormat, Subsampling};

#[path = "../tests/support/mod.rs"]
mod support;

use support::{SAMPLINGS, pattern};

const SIZES: [(usize, usize); 4] = [(48, 48), (127, 131), (257, 101), (640, 481)];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: samples FOLDER [LARGEST]")?);
    let largest = arguments.next().map_or(Ok(usize::MAX), |largest| largest.parse())?;
    let write = |name: String, file: &[u8]| {
        if file.len() <= largest { std::fs::write(folder.join(name), file) } else { Ok(()) }
    };
    for (width, height) in SIZES {
        let colours = pattern(width, height, 3);
        for sampling in SAMPLINGS {
            for (kind, progressive) in [("baseline", false), ("progressive", true)] {
                for restart in [0, 7] {
                    let file = Encoder::new(&colours, width, height, PixelFormat::Rgb)
                        .quality(88)
                        .subsampling(sampling)
                        .progressive(progressive)
                        .restart_blocks(restart)
                        .encode()?;
                    write(format!("{kind}-{sampling:?}-{width}x{height}-{restart}.jpg"), &file)?;
                }
            }
        }
        let inks = pattern(width, height, 4);
        for sampling in [Subsampling::S444, Subsampling::S422, Subsampling::S420, Subsampling::S440] {
            let file = Encoder::new(&inks, width, height, PixelFormat::Cmyk)
                .colorspace(ColorSpace::Ycck)
                .subsampling(sampling)
                .encode()?;
            write(format!("ycck-{sampling:?}-{width}x{height}.jpg"), &file)?;
        }
    }
    Ok(())
}
