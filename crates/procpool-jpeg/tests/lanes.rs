//! Blocks found from several places on, and pictures decoded in several threads, are the same as symbol by symbol; whatever is
//! wrong with a file is found to be the same, too.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use libjpeg_turbo_rs::{ColorSpace, Encoder, PixelFormat, Subsampling};
use procpool_jpeg::{Decoder, Limits, Scale, fuzz};
use support::{Random, SAMPLINGS, encoded, pattern};

/// Runs `body`, which must not take long: two minutes are many times what the slowest machine needs.
fn watched(body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    if finished.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("still running after two minutes");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The plain decoder first, and those that must do the same.
struct Decoders {
    plain: Decoder,
    others: Vec<(&'static str, Decoder)>,
}

impl Decoders {
    fn new() -> Self {
        let others = vec![
            ("as it is", Decoder::new()),
            ("two threads", fuzz::threads(2)),
            ("short lanes", fuzz::lanes(1)),
            ("short lanes in three threads", fuzz::lanes(3)),
        ];
        Self { plain: fuzz::plain(), others }
    }

    /// Whether the file is decoded; all must agree about what comes out, or why nothing does.
    fn agree(&mut self, file: &[u8], what: &str) -> bool {
        let limits = Limits::default();
        let mut decoded = false;
        for scale in Scale::ALL {
            let expected = self.plain.decode(file, scale, &limits);
            decoded |= expected.is_ok();
            for (name, decoder) in &mut self.others {
                match (decoder.decode(file, scale, &limits), &expected) {
                    (Ok(found), Ok(expected)) => assert!(found == *expected, "{what}, {scale:?}, {name}: other pixels"),
                    (found, expected) => {
                        let [found, expected] = [found.as_ref().err(), expected.as_ref().err()];
                        assert_eq!(found, expected, "{what}, {scale:?}, {name}");
                    }
                }
            }
        }
        decoded
    }
}

#[test]
fn every_sampling_and_restart_interval() {
    watched(|| {
        let mut decoders = Decoders::new();
        for (index, sampling) in SAMPLINGS.into_iter().enumerate() {
            for restart in [0, 1, 7, 150] {
                let size = [(401, 307), (640, 481), (333, 200)][(index + usize::from(restart)) % 3];
                let file = encoded(size, 3, |encoder| {
                    encoder.quality(92).subsampling(sampling).restart_blocks(restart).optimize_huffman(index % 2 == 0)
                });
                assert!(decoders.agree(&file, &format!("{size:?} {sampling:?}, restart interval {restart}")));
            }
        }
    });
}

#[test]
fn grey_four_channels_and_small_pictures() {
    watched(|| {
        let mut decoders = Decoders::new();
        for size in [(1, 1), (8, 8), (17, 5), (1, 3000), (3000, 1), (500, 400)] {
            assert!(decoders.agree(&encoded(size, 1, |encoder| encoder.quality(95)), &format!("{size:?} grey")));
            assert!(decoders.agree(&encoded(size, 3, |encoder| encoder.quality(95)), &format!("{size:?}")));
            assert!(decoders.agree(&encoded(size, 4, |encoder| encoder.quality(95)), &format!("{size:?} CMYK")));
            let file = encoded(size, 4, |encoder| encoder.colorspace(ColorSpace::Ycck).subsampling(Subsampling::S420));
            assert!(decoders.agree(&file, &format!("{size:?} YCCK")));
            // All channels have the same codes, so that a lane may be right about these and wrong about the channel.
            let file = encoded(size, 3, |encoder| {
                encoder.colorspace(ColorSpace::Rgb).subsampling(Subsampling::S444).quality(90)
            });
            assert!(decoders.agree(&file, &format!("{size:?} RGB")));
        }
    });
}

/// In data that repeats itself, a lane that is wrong may stay wrong for ever.
#[test]
fn flat_pictures() {
    watched(|| {
        let mut decoders = Decoders::new();
        let (width, height) = (1024, 1536);
        for sampling in [Subsampling::S444, Subsampling::S420, Subsampling::S422] {
            for kind in 0..3 {
                let mut pixels = vec![77; width * height * 3];
                if kind == 1 {
                    // Half of it is not.
                    let noise = pattern(width, height / 2, 3);
                    pixels[..noise.len()].copy_from_slice(&noise);
                }
                if kind == 2 {
                    // The same block again and again.
                    for (index, pixel) in pixels.iter_mut().enumerate() {
                        *pixel = ((index / 3 % 16) * 11 + index % 3 * 20 + index / 3 / width % 8 * 5) as u8;
                    }
                }
                let encoder = Encoder::new(&pixels, width, height, PixelFormat::Rgb).subsampling(sampling);
                let file = encoder.quality(90).encode().expect("the encoder takes any pixels");
                assert!(decoders.agree(&file, &format!("{sampling:?} {kind}")));
            }
        }
    });
}

/// More blocks than a lane has room for.
#[test]
fn very_many_small_blocks() {
    watched(|| {
        let (width, height) = (7200, 6400);
        let encoder = Encoder::new(&[200; 7200 * 6400], width, height, PixelFormat::Grayscale);
        let file = encoder.encode().expect("the encoder takes any pixels");
        assert!(file.len() > 500_000, "blocks of 6 bits");
        assert!(Decoders::new().agree(&file, "flat"));
    });
}

/// The files that damage is done to: long enough for lanes as they are.
fn samples() -> Vec<Vec<u8>> {
    let sample = |sampling, restart| {
        encoded((320, 241), 3, |encoder| encoder.quality(88).subsampling(sampling).restart_blocks(restart))
    };
    vec![sample(Subsampling::S420, 0), sample(Subsampling::S444, 0), sample(Subsampling::S422, 150)]
}

#[test]
fn damage_at_every_twentieth() {
    watched(|| {
        let mut decoders = Decoders::new();
        let [mut decoded, mut refused] = [0, 0];
        for file in samples() {
            let begin = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan") + 14;
            for part in 0..20 {
                let at = begin + (file.len() - 2 - begin) * part / 20;
                let mut cases = vec![file[..at].to_vec()];
                for bit in [0, 7] {
                    cases.push(file.clone());
                    cases[1 + bit / 7][at] ^= 1 << bit;
                }
                // Ones are no code; a part is missing; markers come too early.
                let with = |new: &[u8], skip: usize| [&file[..at], new, &file[(at + skip).min(file.len())..]].concat();
                cases.push(with(&[0xFF, 0].repeat(8), 16));
                cases.push(with(&[], 700));
                cases.push(with(&[0xFF, 0xD9], 2));
                cases.push(with(&[0xFF, 0xD3], 2));
                for (index, case) in cases.iter().enumerate() {
                    let ok = decoders.agree(case, &format!("case {index} at {part} twentieths"));
                    *(if ok { &mut decoded } else { &mut refused }) += 1;
                }
            }
        }
        assert!(decoded > 50 && refused > 100, "{decoded} decoded, {refused} refused");
    });
}

#[test]
fn random_flips() {
    watched(|| {
        let mut decoders = Decoders::new();
        let mut random = Random(11);
        let [mut decoded, mut refused] = [0, 0];
        for file in samples() {
            let begin = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan") + 14;
            for case in 0..40 {
                let mut damaged = file.clone();
                let at = begin + random.below(file.len() - begin - 2);
                damaged[at] ^= 1 << random.below(8);
                let ok = decoders.agree(&damaged, &format!("case {case}: a bit flipped in byte {at}"));
                *(if ok { &mut decoded } else { &mut refused }) += 1;
            }
        }
        assert!(decoded > 50 && refused > 0, "{decoded} decoded, {refused} refused");
    });
}

#[test]
fn photographs_in_threads() {
    watched(|| {
        let mut decoders = Decoders::new();
        for threads in [4, 7] {
            decoders.others.push(("more threads", fuzz::threads(threads)));
        }
        for name in ["casa-mila", "wren"] {
            let path = format!("{}/../../images/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
            let file = std::fs::read(path).expect("the photograph is there");
            let whole = libjpeg_turbo_rs::Decoder::new(&file).and_then(|decoder| decoder.decode_image());
            let whole = whole.expect("a picture");
            for sampling in [Subsampling::S420, Subsampling::S444] {
                let encoder = Encoder::new(&whole.data, whole.width, whole.height, whole.pixel_format);
                let again = encoder.quality(97).subsampling(sampling).encode().expect("the encoder takes a photograph");
                assert!(decoders.agree(&again, &format!("{name} {sampling:?}")));
            }
        }
    });
}
