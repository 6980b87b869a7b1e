//! `procpool thumbs`: ways to fit, several sizes, what is skipped, contact sheets and the gallery.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::Place;
use procpool_cli::picture::{Bounds, Crop, Fit, Options, OutFormat, thumbnail, thumbnail_pixels, thumbnails};
use serde_json::json;

/// A PNG file of one colour, but for what is painted.
fn png(width: u32, height: u32, paint: impl Fn(u32, u32) -> Option<[u8; 3]>) -> Vec<u8> {
    let pixel = |at: u32| paint(at % width, at / width).unwrap_or([120; 3]);
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("end");
    file
}

fn size_of(file: impl AsRef<Path>) -> (u32, u32) {
    let content = fs::read(file).expect("a file");
    thumbnail(&content, &Options::default()).expect("a picture").source_size
}

#[test]
fn every_way_to_fit_gives_its_size() {
    let place = Place::new();
    place.write("wide.png", png(200, 100, |_, _| None));
    for (size, fit, expected) in [
        ("64", "inside", (64, 32)),
        ("400", "inside", (200, 100)),
        ("64x48", "cover", (64, 48)),
        ("64x48", "contain", (64, 48)),
        ("300x20", "fill", (300, 20)),
        ("400x", "cover", (400, 200)),
        ("x10", "inside", (20, 10)),
    ] {
        let ran = place.run(&["thumbs", "wide.png", "--size", size, "--fit", fit, "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let record = &ran.records()[0];
        assert_eq!((&record["width"], &record["height"]), (&json!(expected.0), &json!(expected.1)), "{fit}");
        assert_eq!(size_of(place.path("thumbs/wide.png")), expected);
    }
}

#[test]
fn bars_have_the_colour_that_is_asked_for() {
    let content = png(20, 10, |_, _| Some([1, 2, 3]));
    let options = Options {
        bounds: Bounds::square(20),
        fit: Fit::Contain,
        background: Some([200, 100, 50]),
        format: OutFormat::Png,
        ..Options::default()
    };
    let made = thumbnail_pixels(&content, &options).expect("a picture");
    assert_eq!((&made.data[..3], &made.data[5 * 60..5 * 60 + 3]), (&[200, 100, 50][..], &[1, 2, 3][..]));
}

#[test]
fn a_smart_crop_keeps_what_there_is_to_see() {
    let speckled = |x: u32, y: u32| {
        let mixed = ((x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 24) as u8;
        ((250..290).contains(&x) && (30..70).contains(&y)).then_some([mixed; 3])
    };
    let content = png(300, 100, speckled);
    let varied = |crop: Crop| {
        let options = Options { bounds: Bounds::square(50), fit: Fit::Cover, crop, ..Options::default() };
        thumbnail_pixels(&content, &options).expect("a picture").data.iter().filter(|sample| **sample != 120).count()
    };
    assert_eq!(varied(Crop::Centre), 0);
    assert!(varied(Crop::Entropy) > 1000 && varied(Crop::Attention) > 1000);
}

#[test]
fn several_sizes_are_made_of_one_picture() {
    let place = Place::new();
    place.write("a.png", png(200, 100, |x, _| (x < 9).then_some([9, 99, 199])));
    let ran = place.run(&["thumbs", "a.png", "--size", "64", "--size", "x20"]);
    assert_eq!(ran.stdout, "Thumbnails for a.png were saved as thumbs/a_64.png, thumbs/a_x20.png\n");
    let ran = place.run(&["thumbs", "a.png", "--size", "64", "--size", "x20", "--json"]);
    let outputs = json!([
        {"path": "thumbs/a_64.png", "width": 64, "height": 32},
        {"path": "thumbs/a_x20.png", "width": 40, "height": 20},
    ]);
    assert_eq!(ran.records()[0], json!({"input": "a.png", "ok": true, "outputs": outputs}));
    assert_eq!(place.listing("thumbs"), ["a_64.png", "a_x20.png"]);
    // Each is as if it had been made alone.
    let content = fs::read(place.path("a.png")).expect("the picture");
    let sizes = [Bounds::square(64), Bounds { width: None, height: Some(20) }];
    let together = thumbnails(&content, &Options::default(), &sizes).expect("a picture");
    for (bounds, made) in sizes.into_iter().zip(together) {
        let alone = thumbnail(&content, &Options { bounds, ..Options::default() }).expect("a picture");
        assert_eq!(made, alone);
    }
}

#[test]
fn a_run_is_resumed_where_one_of_several_outputs_is_missing() {
    let place = Place::new();
    for name in ["a.png", "b.png"] {
        place.write(name, png(20, 10, |_, _| None));
    }
    let line = ["thumbs", "a.png", "b.png", "--size", "8", "--size", "4", "--log", "log", "--resume"];
    assert_eq!(place.run(&line).summary(), ["2 thumbnails made"]);
    let again = place.run(&line).summary();
    assert_eq!(again, ["0 thumbnails made", "2 skipped: done before, says the log, and unchanged"]);
    fs::remove_file(place.path("thumbs/b_4.png")).expect("there");
    let ran = place.run(&line);
    assert_eq!(ran.stdout, "Thumbnails for b.png were saved as thumbs/b_8.png, thumbs/b_4.png\n");
    assert_eq!(place.listing("thumbs"), ["a_4.png", "a_8.png", "b_4.png", "b_8.png"]);
}

#[test]
fn thumbnails_that_are_newer_than_their_pictures_are_skipped() {
    let place = Place::new();
    let long_ago = SystemTime::now() - Duration::from_secs(100);
    let set = |name: &str, time| {
        let file = File::options().write(true).open(place.path(name)).expect("there");
        file.set_modified(time).expect("time");
    };
    for name in ["a.png", "b.png"] {
        place.write(name, png(20, 10, |_, _| None));
        set(name, long_ago);
    }
    let line = ["thumbs", "a.png", "b.png", "--skip-existing"];
    assert_eq!(place.run(&line).summary(), ["2 thumbnails made"]);
    let again = place.run(&line);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""));
    assert_eq!(again.summary(), ["0 thumbnails made", "2 skipped: made by an earlier run"]);
    // One that was written at the same moment may be of an older picture.
    set("thumbs/a.png", long_ago);
    set("b.png", long_ago + Duration::from_secs(1));
    let ran = place.run(&["thumbs", "a.png", "b.png", "--skip-existing", "--json"]);
    let records = ran.records();
    assert_eq!(records[0]["width"], 20);
    assert_eq!(records[1], json!({"input": "b.png", "ok": true, "skipped": true, "output": "thumbs/b.png"}));
    assert_eq!((&records[2]["done"], &records[2]["skipped"], &records[2]["failed"]), (&json!(1), &json!(1), &json!(0)));
}

#[test]
fn all_thumbnails_are_shown_on_a_sheet_and_a_page() {
    let place = Place::new();
    place.write("in/a.png", png(300, 100, |_, _| Some([200, 30, 30])));
    place.write("in/<b>&\"'.png", png(20, 10, |_, _| None));
    place.write("in/c.jpg", "no picture");
    let line = ["thumbs", "in", "--contact-sheet", "out/sheet.png", "--gallery", "out/index.html"];
    let ran = place.run(&line);
    assert_eq!(ran.code, 1);
    let end = "A contact sheet was saved as out/sheet.png\nA gallery was saved as out/index.html\n";
    assert!(ran.stdout.ends_with(end), "{ran:?}");
    let page = fs::read_to_string(place.path("out/index.html")).expect("the page");
    let image = "<a href=\"../in/a.png\" title=\"in/a.png\"><img src=\"../thumbs/a.png\" width=\"128\" height=\"43\"";
    assert!(page.contains(image), "{page}");
    assert!(page.contains("../thumbs/%3Cb%3E%26%22%27.png") && !page.contains("<b>"));
    assert!(page.contains("<code>in/c.jpg</code>: <em>not a JPEG"));
    // Again, with nothing to do but these.
    let sheet = fs::read(place.path("out/sheet.png")).expect("the sheet");
    let again = place.run(&[&line[..], &["--skip-existing", "--json"]].concat());
    assert!(fs::read(place.path("out/sheet.png")).expect("the sheet") == sheet);
    assert_eq!(fs::read_to_string(place.path("out/index.html")).expect("the page"), page);
    let records = again.records();
    let summary = records.last().expect("a summary");
    assert_eq!(summary["contact_sheets"], json!([{"path": "out/sheet.png"}]));
    assert_eq!((&summary["gallery"], &summary["skipped"]), (&json!("out/index.html"), &json!(2)));
}

#[test]
fn many_thumbnails_are_shown_on_several_sheets_that_are_no_inputs_later() {
    let place = Place::new();
    let small = png(4, 4, |_, _| None);
    for number in 0..101 {
        place.write(format!("{number:03}.png"), &small);
    }
    let line = ["thumbs", "--size", "4", "--contact-sheet", "sheet.jpg", "-q"];
    for _ in 0..2 {
        let ran = place.run(&line);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert_eq!(place.listing("thumbs").len(), 101);
    }
    let sheets: Vec<String> = place.listing(".").into_iter().filter(|name| name.starts_with("sheet")).collect();
    assert_eq!(sheets, ["sheet-page-2.jpg", "sheet.jpg"]);
    let ran = place.run(&["thumbs", "000.png", "sheet.jpg", "--contact-sheet", "sheet.jpg"]);
    let message = "procpool: sheet.jpg would be replaced, and is an input; give it another name\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
}

#[test]
fn a_sheet_that_cannot_be_written_is_a_failure_and_the_thumbnails_are_there() {
    let place = Place::new();
    place.write("a.png", png(20, 10, |_, _| None));
    place.write("file", "");
    let ran = place.run(&["thumbs", "a.png", "--contact-sheet", "file/sheet.jpg", "--gallery", "file/index.html"]);
    let failures = [
        "procpool: cannot write file/sheet.jpg: Not a directory",
        "procpool: cannot write file/index.html: Not a directory",
    ];
    assert_eq!((ran.code, ran.failures()), (1, failures.to_vec()));
    assert_eq!(place.listing("thumbs"), ["a.png"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    place.write("a.png", png(20, 10, |_, _| None));
    let lines: [&[&str]; 7] = [
        &["--size", "64", "--size", "64x64"],
        &["--crop", "entropy"],
        &["--fit", "round"],
        &["--background", "mauve"],
        &["--contact-sheet", "sheet.gif"],
        &["--contact-sheet", "thumbs/a.png"],
        &["--gallery", "a.png"],
    ];
    for line in lines {
        let ran = place.run(&[&["thumbs", "a.png"], line].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line:?}");
        assert!(!ran.stderr.is_empty());
    }
    assert_eq!(place.listing("."), ["a.png"]);
}
