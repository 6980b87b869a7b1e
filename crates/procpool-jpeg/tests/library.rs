//! The pixels are those of a complete decoder, for files of every kind.

mod support;

use libjpeg_turbo_rs::{ColorSpace, Encoder, ScanScript, Subsampling};
use procpool_jpeg::{Colours, Decoder, Error, Limits, Scale, fuzz};
use support::{SAMPLINGS, differences, encoded, library};

const SIZES: [(usize, usize); 10] =
    [(1, 1), (7, 3), (8, 8), (16, 16), (17, 33), (65, 64), (127, 131), (251, 101), (1, 5000), (5000, 1)];

/// Fails unless both decoders give the same.
fn compare(decoder: &mut Decoder, file: &[u8], name: &str) {
    Scale::ALL.into_iter().for_each(|scale| compare_at(scale, decoder, file, name));
}

fn compare_at(scale: Scale, decoder: &mut Decoder, file: &[u8], name: &str) {
    let name = format!("{name}, {scale:?}");
    let theirs = library(file, scale);
    let (width, height, theirs) = theirs.unwrap_or_else(|error| panic!("{name}: the library says {error}"));
    match decoder.decode(file, scale, &Limits::default()) {
        Err(error) => panic!("{name}: {error}"),
        Ok(picture) => {
            assert_eq!((picture.width as usize, picture.height as usize), (width, height), "{name}");
            if let Some(difference) = differences(&picture.pixels, &theirs) {
                panic!("{name}: {difference}");
            }
            // Small pictures are decoded symbol by symbol. Lanes, if these are made to look for the blocks first, find the same.
            let with_lanes = fuzz::lanes(1 + file.len() % 2).decode(file, scale, &Limits::default());
            assert!(with_lanes.as_ref() == Ok(&picture), "{name}: lanes make a difference");
        }
    }
}

#[test]
fn every_sampling_size_and_quality() {
    let mut decoder = Decoder::new();
    for size in SIZES {
        for sampling in SAMPLINGS {
            for quality in if size.0 * size.1 < 300 { vec![40, 100] } else { vec![1, 92] } {
                for (kind, optimised, progressive) in
                    [("baseline", false, false), ("optimised", true, false), ("progressive", false, true)]
                {
                    let file = encoded(size, 3, |encoder| {
                        encoder
                            .quality(quality)
                            .subsampling(sampling)
                            .optimize_huffman(optimised)
                            .progressive(progressive)
                    });
                    compare(&mut decoder, &file, &format!("{size:?} {sampling:?} quality {quality} {kind}"));
                }
            }
        }
    }
}

#[test]
fn restart_intervals() {
    let mut decoder = Decoder::new();
    for size in [(7, 3), (65, 64), (251, 101)] {
        for sampling in SAMPLINGS {
            for progressive in [false, true] {
                let name = format!("{size:?} {sampling:?} {progressive}");
                for blocks in [1, 3, 8, 1000] {
                    let file = encoded(size, 3, |encoder| {
                        encoder.subsampling(sampling).progressive(progressive).restart_blocks(blocks)
                    });
                    compare(&mut decoder, &file, &format!("{name}, {blocks} blocks"));
                }
                let file =
                    encoded(size, 3, |encoder| encoder.subsampling(sampling).progressive(progressive).restart_rows(1));
                compare(&mut decoder, &file, &format!("{name}, one row"));
            }
        }
    }
}

#[test]
fn grey_and_four_channels() {
    let mut decoder = Decoder::new();
    for size in SIZES {
        for progressive in [false, true] {
            let file = encoded(size, 1, |encoder| encoder.quality(90).progressive(progressive));
            compare(&mut decoder, &file, &format!("{size:?}, grey, {progressive}"));
        }
        // The encoder writes no progressive files of four channels; those that Pillow writes are tried in
        // crates/procpool-cli/tests/pillow.
        let file = encoded(size, 4, |encoder| encoder.quality(90));
        compare(&mut decoder, &file, &format!("{size:?}, CMYK"));
        for sampling in [Subsampling::S444, Subsampling::S420, Subsampling::S411] {
            let file = encoded(size, 4, |encoder| encoder.colorspace(ColorSpace::Ycck).subsampling(sampling));
            compare(&mut decoder, &file, &format!("{size:?} YCCK {sampling:?}"));
        }
        // Of YCCK, the library smooths 4:2:2 at an eighth and does not smooth 4:4:0 at other scales; libjpeg does the
        // opposite, which crates/procpool-cli/tests/pillow tries.
        let tall = encoded(size, 4, |encoder| encoder.colorspace(ColorSpace::Ycck).subsampling(Subsampling::S440));
        compare_at(Scale::Eighth, &mut decoder, &tall, &format!("{size:?} YCCK 4:4:0"));
    }
}

#[test]
fn rgb_is_not_converted() {
    let mut decoder = Decoder::new();
    for progressive in [false, true] {
        let file = encoded((90, 70), 3, |encoder| {
            encoder.colorspace(ColorSpace::Rgb).subsampling(Subsampling::S444).progressive(progressive)
        });
        compare(&mut decoder, &file, "RGB");
    }
}

#[test]
fn unusual_sampling_factors() {
    let mut decoder = Decoder::new();
    for factors in [
        [(2, 2), (2, 1), (1, 2)],
        [(2, 2), (2, 2), (1, 1)],
        [(1, 1), (2, 2), (1, 1)],
        [(2, 1), (1, 1), (2, 1)],
        [(4, 1), (2, 1), (1, 1)],
        [(4, 2), (1, 1), (1, 1)],
        [(2, 4), (1, 1), (1, 1)],
        [(3, 1), (1, 1), (1, 1)],
        [(1, 3), (1, 1), (1, 1)],
        [(1, 2), (1, 2), (1, 2)],
    ] {
        for progressive in [false, true] {
            let file =
                encoded((103, 59), 3, |encoder| encoder.sampling_factors(factors.to_vec()).progressive(progressive));
            compare(&mut decoder, &file, &format!("{factors:?} {progressive}"));
        }
    }
    let grey = encoded((103, 59), 1, |encoder| encoder.sampling_factors(vec![(2, 2)]));
    compare(&mut decoder, &grey, "grey with factors");
}

#[test]
fn scans_in_many_pieces() {
    let scan = |components: &[u8], ss, se, ah, al| ScanScript { components: components.to_vec(), ss, se, ah, al };
    // Each channel by itself, the bits one by one, the bands in pieces.
    let mut script = vec![scan(&[1], 0, 0, 0, 2), scan(&[0], 0, 0, 0, 0), scan(&[2], 0, 0, 0, 1)];
    script.extend([scan(&[1], 0, 0, 2, 1), scan(&[2], 0, 0, 1, 0), scan(&[1], 0, 0, 1, 0)]);
    for channel in 0..3 {
        for (first, last) in [(1, 1), (2, 9), (10, 40), (41, 63)] {
            script.push(scan(&[channel], first, last, 0, 3));
            script.extend((0..3).rev().map(|low| scan(&[channel], first, last, low + 1, low)));
        }
    }
    let mut decoder = Decoder::new();
    for size in [(7, 3), (127, 131), (251, 101)] {
        for sampling in [Subsampling::S420, Subsampling::S444] {
            for quality in [30, 95] {
                let file = encoded(size, 3, |encoder| {
                    encoder.quality(quality).subsampling(sampling).progressive(true).scan_script(script.clone())
                });
                compare(&mut decoder, &file, &format!("{size:?} {sampling:?} quality {quality}"));
            }
        }
    }
}

#[test]
fn the_photographs() {
    let mut decoder = Decoder::new();
    for (number, name) in ["casa-mila", "lake", "otters", "seeding", "wren"].into_iter().enumerate() {
        let path = format!("{}/../../images/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).expect("the photograph is there");
        compare(&mut decoder, &file, name);

        let whole =
            libjpeg_turbo_rs::Decoder::new(&file).and_then(|decoder| decoder.decode_image()).expect("a picture");
        for (index, sampling) in
            [Subsampling::S444, Subsampling::S422, Subsampling::S420, Subsampling::S440].into_iter().enumerate()
        {
            for progressive in [false, true] {
                let again = Encoder::new(&whole.data, whole.width, whole.height, whole.pixel_format)
                    .quality(92)
                    .subsampling(sampling)
                    .progressive(progressive)
                    .encode()
                    .expect("the encoder takes a photograph");
                // Each photograph at another scale, which saves time.
                let scale = Scale::ALL[(index + number) % 3];
                compare_at(scale, &mut decoder, &again, &format!("{name} {sampling:?} {progressive}"));
            }
        }
    }
}

#[test]
fn what_is_left_to_a_complete_decoder() {
    let left = |file: &[u8]| match Decoder::new().decode(file, Scale::Eighth, &Limits::default()) {
        Err(Error::Unsupported(what)) => what,
        other => panic!("not left to another decoder: {other:?}"),
    };
    let size = (40, 30);
    assert_eq!(left(&encoded(size, 3, |encoder| encoder.arithmetic(true))), "arithmetic coding");
    assert_eq!(left(&encoded(size, 3, |encoder| encoder.lossless(true))), "lossless or hierarchical coding");
    let mut deep = encoded(size, 3, |encoder| encoder);
    let frame = deep.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("a frame header");
    deep[frame + 4] = 12;
    assert_eq!(left(&deep), "more than 8 bits per sample");
    // Without its last scans, libjpeg guesses at what is missing.
    let whole = encoded(size, 3, |encoder| encoder.progressive(true));
    let scans: Vec<usize> = (0..whole.len() - 1).filter(|&at| whole[at..at + 2] == [0xFF, 0xDA]).collect();
    let tables = |at: usize| (0..at).rev().find(|&at| whole[at..at + 2] == [0xFF, 0xC4]).expect("tables");
    let partial = [&whole[..tables(scans[4])], &[0xFF, 0xD9]].concat();
    assert_eq!(left(&partial), "scans that are missing");
}

#[test]
fn headers_tell_what_comes() {
    let file = encoded((41, 30), 3, |encoder| encoder.progressive(true));
    let header = Decoder::new().header(&file, &Limits::default()).expect("the file is whole");
    assert_eq!((header.full_size, header.colours, header.progressive), ((41, 30), Colours::Rgb, true));
    let scan = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan");
    let length = usize::from(file[scan + 3]);
    assert_eq!(header.length, scan + 2 + length);
}
