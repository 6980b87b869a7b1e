//! What fuzzing runs: the body of the target, and in `cargo test` the same on random damage.

use crate::{Decoder, Limits};

/// Decodes whatever the bytes are, within small limits, and checks what must hold of every result.
pub fn decode(input: &[u8]) {
    let limits = Limits { max_pixels: 1 << 20, max_scans: 50 };
    let mut decoder = Decoder::new();
    let header = decoder.header(input, &limits);
    if let Ok(picture) = decoder.decode_eighth(input, &limits) {
        let (width, height) = picture.full_size;
        assert_eq!((picture.width, picture.height), (width.div_ceil(8), height.div_ceil(8)));
        assert_eq!(picture.pixels.len(), picture.width as usize * picture.height as usize * picture.colours.channels());
        assert_eq!(header.map(|header| (header.full_size, header.colours)), Ok((picture.full_size, picture.colours)));
        // What the decoder remembers makes no difference.
        assert!(decoder.decode_eighth(input, &limits).as_ref() == Ok(&picture));
    }
}
