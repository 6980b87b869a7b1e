//! What fuzzing runs: the body of the target, and in `cargo test` the same on random damage.

use crate::{Decoder, Limits, Scale};

/// Decodes whatever the bytes are, within small limits, and checks what must hold of every result.
pub fn decode(input: &[u8]) {
    let limits = Limits { max_pixels: 1 << 20, max_scans: 50 };
    let mut decoder = Decoder::new();
    let header = decoder.header(input, &limits);
    for scale in Scale::ALL {
        let Ok(picture) = decoder.decode(input, scale, &limits) else { continue };
        let ((width, height), part) = (picture.full_size, scale.denominator());
        assert_eq!((picture.width, picture.height), (width.div_ceil(part), height.div_ceil(part)));
        assert_eq!(picture.pixels.len(), picture.width as usize * picture.height as usize * picture.colours.channels());
        let told = header.as_ref().map(|header| (header.full_size, header.colours));
        assert_eq!(told, Ok((picture.full_size, picture.colours)));
        // What the decoder remembers makes no difference.
        assert!(decoder.decode(input, scale, &limits).as_ref() == Ok(&picture));
    }
}
