//! A folder of hostile pictures: each costs one line, none a worker.

mod common;
#[path = "common/samples.rs"]
mod samples;

use std::io::Write;

use common::{Dice, Place, Ran};

/// Every kind of picture whose decoding differs: an ending and the content.
fn kinds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let colours = samples::gradient(300, 200, 3);
    let progressive = libjpeg_turbo_rs::Encoder::new(&colours, 300, 200, libjpeg_turbo_rs::PixelFormat::Rgb)
        .progressive(true)
        .encode()
        .expect("the encoder takes a gradient");
    let lossless = webp::Encoder::from_rgb(&colours, 300, 200).encode_lossless().to_vec();
    vec![
        ("baseline", "jpg", samples::jpeg(300, 200)),
        ("progressive", "jpg", progressive),
        ("rows", "png", samples::png(300, 200, png::ColorType::Rgb, &colours)),
        ("lossy", "webp", samples::webp(300, 200)),
        ("lossless", "webp", lossless),
        ("indices", "gif", samples::gif(300, 200)),
        ("moving", "gif", samples::moving()),
        ("strips", "tif", samples::tiff(300, 200)),
        ("bottom-up", "bmp", samples::bmp(300, 200)),
        ("coded", "avif", samples::avif(300, 200)),
    ]
}

/// A chunk of a PNG file.
fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(content);
    [&(content.len() as u32).to_be_bytes()[..], name, content, &crc.sum().to_be_bytes()].concat()
}

/// So many zeros, packed.
fn packed_zeros(count: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..count >> 20 {
        encoder.write_all(&block).expect("memory takes all");
    }
    encoder.write_all(&block[..count & ((1 << 20) - 1)]).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// A PNG of grey pixels with some chunks before them.
fn png_of_zeros(width: u32, height: u32, before: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    out.extend(chunk(b"IHDR", &header));
    before.iter().for_each(|chunk| out.extend(chunk));
    out.extend(chunk(b"IDAT", &packed_zeros((width as usize + 1) * height as usize)));
    out.extend(chunk(b"IEND", b""));
    out
}

/// A GIF of so many frames of one pixel.
fn endless_gif(frames: usize) -> Vec<u8> {
    let mut out = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..frames {
        out.extend(b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0");
    }
    out
}

/// No worker died, was ended or panicked: what is said of a picture is the picture's.
fn judged(ran: &Ran) {
    let of_the_picture = |line: &&str| {
        [" picture is damaged: ", " picture is cut off: ", " is not supported", ": not a ", " more than the limit of "]
            .iter()
            .any(|words| line.contains(words))
    };
    let odd: Vec<_> = ran.failures().into_iter().filter(|line| !of_the_picture(line)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn cut_and_flipped_pictures_of_every_kind_cost_a_line_each() {
    let place = Place::new();
    let mut dice = Dice(11);
    let mut files = 0;
    for (kind, ending, content) in kinds() {
        for part in 1..20 {
            place.write(format!("in/{kind}-cut-{part:02}.{ending}"), &content[..content.len() * part / 20]);
        }
        for number in 0..20 {
            let mut flipped = content.clone();
            let at = dice.roll(flipped.len());
            flipped[at] ^= 1 << dice.roll(8);
            place.write(format!("in/{kind}-flipped-{number:02}.{ending}"), flipped);
        }
        place.write(format!("in/{kind}-whole.{ending}"), content);
        files += 40;
    }
    let strict = place.run(&["thumbs", "in", "--timeout", "50s", "--size", "30x30"]);
    judged(&strict);
    let failed = |ran: &Ran, words: &str| ran.failures().iter().filter(|line| line.contains(words)).count();
    assert_eq!(strict.stdout.lines().count() + strict.failures().len(), files);
    // All but the first frame of the animation are behind it, and nobody looks at them.
    let moving = strict.failures().iter().filter(|line| line.starts_with("in/moving-cut")).count();
    assert_eq!(failed(&strict, "-cut-"), 9 * 19 + moving, "{:#?}", strict.failures());
    assert!((1..19).contains(&moving));
    assert_eq!(failed(&strict, "-whole"), 0);

    // The same with everything looked at, and everything kept.
    for more in [&["--verify"][..], &["--lenient"], &["--animated"], &["--animated", "--lenient"]] {
        let ran = place.run(&[&["thumbs", "in", "--timeout", "50s", "--size", "200x200", "--json"], more].concat());
        let records = ran.records();
        assert_eq!(records.len(), files + 1, "{more:?}");
        let dead = |record: &&serde_json::Value| {
            let kind = record["error"]["kind"].as_str();
            kind.is_some_and(|kind| !["damaged", "unsupported", "not-a-picture", "too-large"].contains(&kind))
        };
        let dead: Vec<_> = records.iter().filter(dead).collect();
        assert!(dead.is_empty(), "{more:?}: {dead:#?}");
        let lenient = more.contains(&"--lenient");
        let warned = |record: &&serde_json::Value| record["warning"].is_string();
        assert_eq!(records.iter().any(|record| warned(&record)), lenient, "{more:?}");
    }
}

#[test]
fn a_kept_rest_is_told_of() {
    let place = Place::new();
    let content = samples::bmp(300, 200);
    place.write("a.bmp", &content[..content.len() / 2]);
    place.write("b.bmp", &content);
    let ran = place.run(&["thumbs", "--lenient", "a.bmp", "b.bmp"]);
    let warning = "a.bmp: the BMP picture is cut off: the file ends too early; the rest was kept";
    assert_eq!((ran.code, ran.failures()), (0, vec![warning]));
    let expected = "\
A thumbnail for a.bmp was saved as thumbs/a.png
A thumbnail for b.bmp was saved as thumbs/b.png
";
    assert_eq!(ran.stdout, expected);
    let records = place.run(&["thumbs", "--lenient", "--json", "a.bmp", "b.bmp"]).records();
    assert_eq!(records[0]["warning"], "the BMP picture is cut off: the file ends too early; the rest was kept");
    assert_eq!((&records[0]["ok"], records[1].get("warning")), (&serde_json::json!(true), None));
}

#[test]
fn bombs_are_refused_or_harmless() {
    let place = Place::new();
    let profile = [b"zeros\0\0".as_slice(), &packed_zeros(1 << 29)].concat();
    place.write("profile.png", png_of_zeros(64, 64, &[chunk(b"iCCP", &profile)]));
    let text = [b"XML:com.adobe.xmp\0\x01\0\0\0".as_slice(), &packed_zeros(1 << 29)].concat();
    place.write("text.png", png_of_zeros(64, 64, &[chunk(b"iTXt", &text)]));
    place.write("wide.png", png_of_zeros(40_000, 5_000, &[]));
    place.write("endless.gif", endless_gif(20_000));
    let ran = place.run(&["thumbs", "--timeout", "50s", "--memory", "256MiB", "--max-pixels", "150M"]);
    let limit = "wide.png: the picture has 40000 x 5000 = 200000000 pixels, more than the limit of 150000000";
    assert_eq!(ran.failures(), [limit]);
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
    let ran = place.run(&["thumbs", "endless.gif", "--animated", "--timeout", "50s"]);
    assert_eq!(ran.failures(), ["endless.gif: GIF with more than 10000 frames is not supported"]);
}

#[test]
fn a_large_photograph_takes_little_memory() {
    let place = Place::new();
    let mut dice = Dice(5);
    let (width, height) = (4000, 3000);
    let slopes = (0..width * height * 3).map(|index| (index / 60 % 200) as u8 + dice.roll(16) as u8);
    let pixels: Vec<u8> = slopes.collect();
    let photograph = libjpeg_turbo_rs::Encoder::new(&pixels, width, height, libjpeg_turbo_rs::PixelFormat::Rgb)
        .quality(85)
        .encode()
        .expect("the encoder takes noise");
    place.write("1-small.jpg", samples::jpeg(16, 16));
    place.write("2-large.jpg", photograph);
    let ran = place.run(&["thumbs", "1-small.jpg", "2-large.jpg", "-j", "1", "--log", "log"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = std::fs::read_to_string(place.path("log")).expect("the log");
    let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let ended = events.filter(|event| event["event"] == "input_ended");
    let peaks: Vec<u64> = ended.map(|event| event["peak_memory"].as_u64().expect("bytes")).collect();
    assert_eq!(peaks.len(), 2);
    let above = peaks[1].saturating_sub(peaks[0]);
    assert!(above < 30 << 20, "{above} bytes above a worker that has had a small picture");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let place = Place::new();
    for line in [
        &["thumbs", "--lossless", "--format", "jpeg"][..],
        &["thumbs", "--animated", "--format", "png"],
        &["thumbs", "--background", "mauve"],
        &["thumbs", "--max-pixels", "0"],
    ] {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line:?}");
        assert!(!ran.stderr.is_empty());
    }
}
