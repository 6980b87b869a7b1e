#![no_main]

use procpool_cli::picture::{Bounds, Options, OutFormat, thumbnail, thumbnail_pixels};

// The decoders and the code around them: once as by default, once keeping all that can be read, animations and all.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let options = Options { max_pixels: 1 << 18, bounds: Bounds::square(20), ..Options::default() };
    let _ = thumbnail_pixels(data, &options);
    let _ = thumbnail(data, &Options { lenient: true, animated: true, format: OutFormat::WebP, ..options });
});
