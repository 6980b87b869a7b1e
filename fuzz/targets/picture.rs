#![no_main]

mod own_panics;

use procpool_cli::picture::{Bounds, Crop, Exactness, Fit, Options, OutFormat, thumbnails};

// The decoders and the code around them. The last two bytes say what is to be made of the picture, so that both can be come upon
// one by one. It is written as what is quick to write: an encoder gets but pixels.
libfuzzer_sys::fuzz_target!(init: own_panics::keep(), |data: &[u8]| {
    let Some((picture, &[how, more])) = data.split_last_chunk::<2>() else { return };
    let set = |flags: u8, bit: u8| flags >> bit & 1 == 1;
    let of = |flags: u8, bit: u8| usize::from(flags >> bit & 3);
    let options = Options {
        max_pixels: 1 << 17,
        exactness: [Exactness::Exact, Exactness::Close, Exactness::Draft, Exactness::Exact][of(how, 0)],
        blur: set(how, 2).then_some(1.5),
        fit: [Fit::Inside, Fit::Cover, Fit::Contain, Fit::Shorter][of(how, 3)],
        crop: [Crop::Centre, Crop::Entropy, Crop::Attention, Crop::Centre][of(how, 5)],
        rotate: !set(how, 7),
        lenient: set(more, 0),
        animated: set(more, 1),
        format: [OutFormat::WebP, OutFormat::Png, OutFormat::Jpeg, OutFormat::WebP][of(more, 2)],
        keep_profile: set(more, 4),
        verify: set(more, 5),
        threads: if set(more, 6) { 3 } else { 1 },
        ..Options::default()
    };
    let bounds = [Bounds::square(7), Bounds::both(20, 12)];
    own_panics::end_on(|| {
        if let Ok(made) = thumbnails(picture, &options, &bounds[..1 + usize::from(set(more, 7))]) {
            assert!(made.iter().all(|made| made.width > 0 && made.height > 0 && !made.bytes.is_empty()));
        }
    });
});
