#![no_main]

mod own_panics;

use procpool_cli::picture::{Layout, Pixels, to_srgb};

// A colour profile for whatever colours it says that it is for.
libfuzzer_sys::fuzz_target!(init: own_panics::keep(), |data: &[u8]| {
    own_panics::end_on(|| {
        for layout in [Layout::Gray, Layout::Rgb, Layout::Rgba, Layout::Cmyk] {
            let pixels = Pixels { width: 4, height: 1, layout, data: vec![90; 4 * layout.channels()] };
            let converted = to_srgb(pixels, Some(data));
            assert_eq!(converted.data.len(), 4 * converted.layout.channels());
        }
    });
});
