//! Broken and hostile files: no panic, little time, little memory, and damage that can be noticed is refused.

mod support;

use std::sync::mpsc;
use std::time::Duration;

use procpool_jpeg::{Decoder, Error, Limits, Scale, fuzz};
use support::{Random, differences, encoded, library, sample};

/// Runs `body`, which must not take long: a minute is many times what the slowest machine needs for the usual number of cases.
fn watched(body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    if finished.recv_timeout(Duration::from_secs(60) * cases(1) as u32) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("still running after a minute");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn decode(file: &[u8]) -> Result<procpool_jpeg::Picture, Error> {
    Decoder::new().decode(file, Scale::Eighth, &Limits::default())
}

/// How many cases a test tries that makes them up; FUZZ_CASES times as many if that is set.
fn cases(count: usize) -> usize {
    count * std::env::var("FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The files that damage is done to.
fn samples() -> Vec<Vec<u8>> {
    let mut files = vec![sample(false, 0), sample(true, 0), sample(false, 5), sample(true, 5)];
    files.push(encoded((181, 133), 1, |encoder| encoder));
    files.push(encoded((181, 133), 4, |encoder| encoder));
    files
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    watched(|| {
        for file in samples() {
            let end = file.len() - 2;
            for part in 0..20 {
                let cut = &file[..end * part / 20];
                let error = decode(cut).expect_err("the file is cut off");
                let expected = if cut.len() < 2 { Error::NotJpeg } else { Error::Truncated };
                assert_eq!(error, expected, "cut off at {} of {end}", cut.len());
            }
        }
    });
}

#[test]
fn a_missing_end_marker_is_no_damage_to_a_sequential_picture() {
    let file = sample(false, 0);
    assert_eq!(decode(&file[..file.len() - 2]), decode(&file));
    // A progressive one might go on.
    let file = sample(true, 0);
    assert_eq!(decode(&file[..file.len() - 2]), Err(Error::Truncated));
}

#[test]
fn what_is_accepted_is_what_the_library_makes_of_it() {
    watched(|| {
        let mut random = Random(4);
        let [mut accepted, mut refused, mut exceeding] = [0, 0, 0];
        for file in samples() {
            let begin = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan");
            let progressive = file.windows(2).any(|marker| marker == [0xFF, 0xC2]);
            for _ in 0..cases(150) {
                let mut damaged = file.clone();
                let at = begin + 14 + random.below(file.len() - begin - 16);
                damaged[at] ^= 1 << random.below(8);
                let scale = Scale::ALL[random.below(Scale::ALL.len())];
                let ours = Decoder::new().decode(&damaged, scale, &Limits::default());
                match (ours, library(&damaged, scale)) {
                    (Ok(picture), Ok((_, _, theirs))) => {
                        accepted += 1;
                        match differences(&picture.pixels, &theirs) {
                            None => {}
                            // Colour at half the resolution is transformed in full for a picture of half the size. The library
                            // does that with 16 bits, which damaged coefficients exceed now and then.
                            Some(_) if scale == Scale::Half && halves_colour(&file) => exceeding += 1,
                            Some(difference) => panic!("bit flipped in byte {at}, {scale:?}: {difference}"),
                        }
                    }
                    // What is wrong may lie in a scan that need not be looked at.
                    (Ok(_), Err(error)) => assert!(progressive, "bit flipped in byte {at}: the library says {error}"),
                    (Err(error), theirs) => {
                        refused += 1;
                        // Of several scans, or with restart markers, the library accepts more.
                        let plain = !progressive && !file.windows(2).any(|marker| marker == [0xFF, 0xDD]);
                        assert!(theirs.is_err() || !plain, "bit flipped in byte {at}: {error}");
                    }
                }
            }
        }
        assert!(accepted > 100 && refused > 20, "{accepted} accepted, {refused} refused");
        assert!(exceeding * 50 < accepted, "{exceeding} of {accepted} differ");
    });
}

#[test]
fn scan_headers_of_a_wrong_length_are_refused() {
    for file in [sample(false, 0), sample(true, 0)] {
        let scans = (0..file.len() - 3).filter(|&at| file[at..].starts_with(&[0xFF, 0xDA]));
        let mut seen = 0;
        for at in scans {
            for change in [1, 255] {
                let mut damaged = file.clone();
                damaged[at + 3] = damaged[at + 3].wrapping_add(change);
                let why = decode(&damaged).expect_err("a wrong length").to_string();
                assert!(why.contains("a scan header has a wrong length"), "{why}");
            }
            seen += 1;
        }
        assert!(seen > 0);
    }
}

/// Whether a file has colour at half the width and height.
fn halves_colour(file: &[u8]) -> bool {
    let frame = file.windows(2).position(|marker| marker[0] == 0xFF && matches!(marker[1], 0xC0 | 0xC2));
    let channels = frame.map(|at| &file[at + 9..]);
    channels.is_some_and(|channels| channels[0] >= 3 && [channels[2], channels[5], channels[8]] == [0x22, 0x11, 0x11])
}

#[test]
fn random_damage_never_panics() {
    watched(|| {
        let mut random = Random(5);
        for file in samples() {
            fuzz::decode(&file);
            for _ in 0..cases(400) {
                let mut damaged = file.clone();
                for _ in 0..=random.below(6) {
                    // Headers are small, and damage to them tells most.
                    let reach = [700, usize::MAX][random.below(2)];
                    let at = random.below(damaged.len().min(reach));
                    match random.below(4) {
                        0 => drop(damaged.drain(at..damaged.len().min(at + random.below(40)))),
                        1 => damaged.insert(at, 0xFF),
                        _ => damaged[at] = random.next() as u8,
                    }
                    if damaged.is_empty() {
                        break;
                    }
                }
                fuzz::decode(&damaged);
            }
        }
        for _ in 0..cases(300) {
            let noise: Vec<u8> = (0..random.below(600)).map(|_| random.next() as u8).collect();
            fuzz::decode(&[&[0xFF, 0xD8], &noise[..]].concat());
            fuzz::decode(&noise);
        }
    });
}

/// A header that states a size, as sequential or progressive, and a scan without data.
fn header(width: u16, height: u16, frame: u8) -> Vec<u8> {
    let ([h1, h2], [w1, w2]) = (height.to_be_bytes(), width.to_be_bytes());
    let file = sample(frame == 0xC2, 0);
    let place = file.windows(2).position(|marker| marker == [0xFF, frame]).expect("a frame header");
    let scan = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan");
    let mut bytes = file[..scan + 14].to_vec();
    bytes[place + 5..place + 9].copy_from_slice(&[h1, h2, w1, w2]);
    bytes.extend([0xFF, 0xD9]);
    bytes
}

#[test]
fn header_bombs_are_refused() {
    watched(|| {
        for frame in [0xC0, 0xC2] {
            let too_large = Error::TooLarge { width: 65_535, height: 65_535 };
            assert_eq!(decode(&header(65_535, 65_535, frame)), Err(too_large));
            // Within the limit, the memory set aside is not used before there is data for it.
            assert_eq!(decode(&header(22_000, 22_000, frame)), Err(Error::Truncated));
            assert_eq!(
                decode(&header(65_535, 10, frame)),
                Err(Error::Unsupported("more than 65500 pixels in a row or column"))
            );
            assert_eq!(decode(&header(0, 10, frame)), Err(Error::Unsupported("a width or height of 0")));
            assert_eq!(decode(&header(10, 0, frame)), Err(Error::Unsupported("a width or height of 0")));
        }
    });
}

#[test]
fn limits_are_inclusive() {
    let file = sample(true, 0);
    let scans = file.windows(2).filter(|marker| *marker == [0xFF, 0xDA]).count();
    let limited =
        |max_pixels, max_scans| Decoder::new().decode(&file, Scale::Eighth, &Limits { max_pixels, max_scans });
    assert!(limited(181 * 133, scans).is_ok());
    assert_eq!(limited(181 * 133 - 1, scans), Err(Error::TooLarge { width: 181, height: 133 }));
    assert_eq!(limited(181 * 133, scans - 1), Err(Error::TooManyScans));
}

#[test]
fn thousands_of_scans_are_refused_soon() {
    watched(|| {
        // Of a large picture, one scan is repeated: each would be a walk over all blocks.
        for kind in 0..2 {
            let mut file = encoded((2048, 2048), 3, |encoder| encoder.progressive(true));
            let scans: Vec<usize> = (0..file.len() - 1).filter(|&at| file[at..at + 2] == [0xFF, 0xDA]).collect();
            let repeated = match kind {
                // A scan of luma, which is skipped.
                0 => vec![0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0x00],
                // Bits that are known already.
                _ => vec![0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, 0x10],
            };
            file.truncate(scans[1]);
            file.extend(repeated.repeat(8000));
            file.extend([0xFF, 0xD9]);
            let error = decode(&file).expect_err("such a file is not right");
            assert!(matches!(error, Error::Unsupported("scans in an unusual order") | Error::Truncated), "{error:?}");
        }
        // And scans that follow from one another as they should: as many as there can be.
        let mut file = encoded((512, 512), 3, |encoder| encoder.progressive(true));
        let scan = file.windows(2).position(|marker| marker == [0xFF, 0xDA]).expect("a scan");
        let data = file[scan + 14..].windows(2).position(|marker| marker == [0xFF, 0xC4]).expect("tables");
        file.truncate(scan + 14 + data);
        file.extend([0xFF, 0xC4, 0, 20, 0x10, 1]);
        file.extend([0; 15]);
        file.push(0xE0);
        for channel in [2, 3] {
            for place in 1..=63 {
                for low in (0..14).rev() {
                    let high = if low == 13 { 0 } else { low + 1 };
                    file.extend([0xFF, 0xDA, 0, 8, 1, channel, 0, place, place, high << 4 | low, 0]);
                    file.extend([0; 4]);
                }
            }
        }
        file.extend([0xFF, 0xD9]);
        assert_eq!(decode(&file), Err(Error::TooManyScans));
    });
}

#[test]
fn restart_markers_must_be_there_and_in_order() {
    let file = sample(false, 5);
    let markers: Vec<usize> =
        (0..file.len() - 1).filter(|&at| file[at] == 0xFF && (0xD0..=0xD7).contains(&file[at + 1])).collect();
    assert!(markers.len() > 10);
    let mut swapped = file.clone();
    swapped[markers[2] + 1] = 0xD5;
    assert_eq!(decode(&swapped), Err(Error::Damaged { what: "a restart marker is missing", at: markers[2] }));
    let mut without = file.clone();
    without.drain(markers[3]..markers[3] + 2);
    assert!(decode(&without).is_err());
    // Bytes before a marker are skipped, as libjpeg does.
    let mut more = file.clone();
    more.splice(markers[4]..markers[4], [1, 2, 3]);
    assert_eq!(decode(&more), decode(&file));
    // So is any number of FF before it.
    let mut filled = file.clone();
    filled.splice(markers[4]..markers[4], [0xFF; 9]);
    assert_eq!(decode(&filled), decode(&file));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let file = sample(false, 0);
    let find = |marker: [u8; 2]| file.windows(2).position(|found| found == marker).expect("the marker");
    let with = |at: usize, value: u8| {
        let mut changed = file.clone();
        changed[at] = value;
        match decode(&changed) {
            Err(Error::Damaged { what, .. }) => what,
            other => panic!("not refused as damaged: {other:?}"),
        }
    };
    let (frame, scan, quant, huffman) =
        (find([0xFF, 0xC0]), find([0xFF, 0xDA]), find([0xFF, 0xDB]), find([0xFF, 0xC4]));
    assert_eq!(with(frame + 11, 0x50), "the frame header has impossible sampling factors or tables");
    assert_eq!(with(frame + 12, 7), "the frame header has impossible sampling factors or tables");
    assert_eq!(with(frame + 9, 4), "the frame header has a wrong length");
    assert_eq!(with(scan + 4, 0), "a scan header has a wrong length");
    assert_eq!(with(scan + 4, 4), "a scan header has a wrong length");
    assert_eq!(with(scan + 5, 77), "a scan has channels that are not in the frame");
    assert_eq!(with(scan + 6, 0x33), "a Huffman table is missing");
    assert_eq!(with(quant + 4, 9), "a quantization table has an impossible number");
    assert_eq!(with(quant + 4, 3), "a quantization table is missing");
    assert_eq!(with(huffman + 4, 0x25), "a Huffman table is impossible");
    assert_eq!(with(huffman + 5, 200), "a Huffman table is cut off");
    assert_eq!(with(frame + 1, 0xD8), "a picture begins within the picture");
    let mut none = file.clone();
    none.splice(scan + 2..scan + 11, [0, 6, 0]);
    let what = "a scan has an impossible number of channels";
    assert_eq!(decode(&none), Err(Error::Damaged { what, at: scan + 8 }));
    let mut twelve = file.clone();
    (twelve[frame + 14], twelve[frame + 17]) = (0x22, 0x22);
    assert_eq!(decode(&twelve), Err(Error::Damaged { what: "an MCU has more than ten blocks", at: scan + 14 }));
}
