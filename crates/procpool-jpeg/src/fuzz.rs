//! What fuzzing runs: the body of the target, and in `cargo test` the same on random damage.

use crate::bits::MCU_BYTES;
use crate::{Decoder, Limits, Scale, Ways, rounds};

/// Decodes whatever the bytes are, within small limits, and checks what must hold of every result.
pub fn decode(input: &[u8]) {
    let limits = Limits { max_pixels: 1 << 20, max_scans: 50 };
    let mut decoder = plain();
    let header = decoder.header(input, &limits);
    let others = [Decoder::new(), lanes(1), lanes(3)];
    let mut others = others.map(|other| Decoder { cache: decoder.cache.clone(), ..other });
    for scale in Scale::ALL {
        let expected = decoder.decode(input, scale, &limits);
        // Neither what the decoder remembers nor the way it takes makes a difference.
        assert_eq!(decoder.decode(input, scale, &limits), expected);
        for other in &mut others {
            assert!(other.decode(input, scale, &limits) == expected, "{scale:?}, {:?}", other.ways);
        }
        let Ok(picture) = expected else { continue };
        let ((width, height), part) = (picture.full_size, scale.denominator());
        assert_eq!((picture.width, picture.height), (width.div_ceil(part), height.div_ceil(part)));
        assert_eq!(picture.pixels.len(), picture.width as usize * picture.height as usize * picture.colours.channels());
        let told = header.as_ref().map(|header| (header.full_size, header.colours));
        assert_eq!(told, Ok((picture.full_size, picture.colours)));
    }
}

/// A decoder that reads sequential data symbol by symbol, in one place.
#[must_use]
pub fn plain() -> Decoder {
    Decoder { ways: Ways { least: usize::MAX, ..Ways::default() }, ..Decoder::new() }
}

/// A decoder that uses threads for small pictures, too.
#[must_use]
pub fn threads(threads: usize) -> Decoder {
    Decoder { ways: Ways { threads, threads_least: 0, ..Ways::default() }, ..Decoder::new() }
}

/// A decoder whose lanes are short and begin with the smallest pictures, at every scale, in so many threads.
#[must_use]
pub fn lanes(threads: usize) -> Decoder {
    let chunk = if threads > 1 { rounds::OVERLAP + 500 } else { MCU_BYTES + 300 };
    Decoder { ways: Ways { threads, threads_least: 0, least: 0, part: 300, chunk, all_scales: true }, ..Decoder::new() }
}
