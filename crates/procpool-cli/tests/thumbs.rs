//! `procpool thumbs` on good inputs: which files, where the thumbnails go, what is printed.

mod common;

use std::fs;

use common::Place;
use serde_json::json;

/// Width and height of a JPEG, from its frame header.
fn jpeg_size(bytes: &[u8]) -> (u16, u16) {
    let mut at = 2;
    loop {
        let (marker, length) = (bytes[at + 1], u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        if matches!(marker, 0xc0..=0xc2) {
            let side = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            return (side(at + 7), side(at + 5));
        }
        at += 2 + usize::from(length);
    }
}

#[test]
fn a_folder_of_pictures_gives_a_folder_of_thumbnails() {
    let place = Place::new();
    place.picture("images/otters.jpg", "otters.jpg");
    place.picture("images/wren.jpg", "wren.jpg");
    place.write("images/notes.txt", "no picture");
    place.picture("images/.hidden.jpg", "wren.jpg");
    place.picture("images/sub/lake.jpg", "lake.jpg");
    let ran = place.run(&["thumbs", "images"]);
    let expected = "\
A thumbnail for images/otters.jpg was saved as thumbs/otters.jpg
A thumbnail for images/wren.jpg was saved as thumbs/wren.jpg
";
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.summary(), ["2 thumbnails made"]);
    assert_eq!(ran.failures(), [""; 0]);
    assert_eq!(ran.code, 0);
    assert_eq!(place.listing("thumbs"), ["otters.jpg", "wren.jpg"]);
    let thumbnail = fs::read(place.path("thumbs/otters.jpg")).expect("thumbnail");
    assert_eq!(jpeg_size(&thumbnail), (128, 72));
    assert!(thumbnail.ends_with(&[0xff, 0xd9]));
}

#[test]
fn without_inputs_the_pictures_here_are_taken_again_and_again() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    for _ in 0..2 {
        let ran = place.run(&["thumbs"]);
        assert_eq!(ran.stdout, "A thumbnail for wren.jpg was saved as thumbs/wren.jpg\n");
        assert_eq!(ran.code, 0);
    }
    // Now thumbs/ is here too, and is not descended into.
    let ran = place.run(&["thumbs", "-r"]);
    assert_eq!(ran.stdout, "A thumbnail for wren.jpg was saved as thumbs/wren.jpg\n");
    assert_eq!(place.listing("."), ["thumbs/wren.jpg", "wren.jpg"]);
}

#[test]
fn sub_folders_are_kept_below_the_output_folder() {
    let place = Place::new();
    place.picture("in/a.jpg", "wren.jpg");
    place.picture("in/x/a.jpg", "wren.jpg");
    place.picture("in/x/y/b.jpg", "wren.jpg");
    let ran = place.run(&["thumbs", "in/", "-r", "-o", "out/deep"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(place.listing("out"), ["deep/a.jpg", "deep/x/a.jpg", "deep/x/y/b.jpg"]);
}

#[test]
fn thumbnails_beside_their_pictures_are_not_taken_for_pictures() {
    let place = Place::new();
    place.picture("a.jpg", "wren.jpg");
    place.picture("b.jpg", "wren.jpg");
    let ran = place.run(&["thumbs", "--suffix", "_thumbnail"]);
    let expected = "\
A thumbnail for a.jpg was saved as a_thumbnail.jpg
A thumbnail for b.jpg was saved as b_thumbnail.jpg
";
    assert_eq!((ran.stdout.as_str(), ran.summary()), (expected, vec!["2 thumbnails made".to_owned()]));
    let again = place.run(&["thumbs", "--suffix", "_thumbnail"]);
    let summary = ["2 thumbnails made", "2 skipped: made by an earlier run"];
    assert_eq!((again.stdout.as_str(), again.summary().as_slice()), (expected, summary.map(str::to_owned).as_slice()));
    let named = place.run(&["thumbs", "--suffix", "_thumbnail", "a.jpg", "a_thumbnail.jpg"]);
    assert_eq!(named.stdout, "A thumbnail for a.jpg was saved as a_thumbnail.jpg\n");
    assert_eq!(named.code, 0);
    assert_eq!(place.listing("."), ["a.jpg", "a_thumbnail.jpg", "b.jpg", "b_thumbnail.jpg"]);
}

#[test]
fn patterns_that_the_shell_did_not_expand_work() {
    let place = Place::new();
    place.picture("in/a.jpg", "wren.jpg");
    place.picture("in/x/b.jpg", "wren.jpg");
    place.picture("in/[c].jpg", "wren.jpg");
    let ran = place.run(&["thumbs", "in/**/[ab].jpg", "in/[c].jpg", "--format", "webp"]);
    let expected = "\
A thumbnail for in/a.jpg was saved as thumbs/a.webp
A thumbnail for in/x/b.jpg was saved as thumbs/b.webp
A thumbnail for in/[c].jpg was saved as thumbs/[c].webp
";
    assert_eq!(ran.stdout, expected);
    let webp = fs::read(place.path("thumbs/a.webp")).expect("thumbnail");
    assert_eq!((&webp[..4], &webp[8..12]), (&b"RIFF"[..], &b"WEBP"[..]));
}

#[test]
fn json_has_one_object_per_file_and_a_summary() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    place.write("text.jpg", "plain text");
    let ran = place.run(&["thumbs", "--json", "--size", "400x90", "wren.jpg", "text.jpg", "none.jpg"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    assert!(ran.stdout.starts_with(r#"{"input":"wren.jpg","ok":true,"#));
    let records = ran.records();
    let done = json!({"input": "wren.jpg", "ok": true, "output": "thumbs/wren.jpg", "width": 160, "height": 90});
    assert_eq!(records[0], done);
    let message = r#"not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with "plain te""#;
    let failed = json!({"input": "text.jpg", "ok": false, "error": {"kind": "not-a-picture", "message": message}});
    assert_eq!(records[1], failed);
    let missing = json!({"kind": "not-found", "message": "there is no such file"});
    assert_eq!(records[2], json!({"input": "none.jpg", "ok": false, "error": missing}));
    let mut summary = records[3].clone();
    let figures = summary.as_object_mut().expect("object");
    assert!(figures.remove("seconds").is_some_and(|value| value.is_f64()));
    assert!(figures.remove("per_second").is_some_and(|value| value.is_f64()));
    assert!(figures.remove("sandbox").is_some_and(|value| value.is_string()));
    let expected = json!({
        "summary": true, "job": "thumbs", "done": 1, "failed": 2, "causes": {"not-a-picture": 1, "not-found": 1},
        "unchanged": 0, "skipped": 0, "not_begun": 0, "interrupted": false,
    });
    assert_eq!((summary, records.len()), (expected, 4));
}

#[test]
fn quiet_prints_failures_and_nothing_else() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    let ran = place.run(&["thumbs", "--quiet", "wren.jpg"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    let ran = place.run(&["thumbs", "-q", "wren.jpg", "none.jpg"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (1, "", "none.jpg: there is no such file\n"));
}

#[test]
fn many_workers_print_in_the_order_of_the_inputs() {
    let place = Place::new();
    let names: Vec<String> = (0..24).map(|n| format!("{n:02}.jpg")).collect();
    // Big and small in turn, so that they finish out of order.
    for (n, name) in names.iter().enumerate() {
        place.picture(name, if n % 2 == 0 { "seeding.jpg" } else { "wren.jpg" });
    }
    let expected: String =
        names.iter().map(|name| format!("A thumbnail for {name} was saved as thumbs/{name}\n")).collect();
    for mode in [&["thumbs", "-j", "4"][..], &["thumbs", "--threads", "-j", "3"]] {
        let ran = place.run(mode);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, expected.as_str()));
    }
}

#[test]
fn one_large_picture_is_the_same_with_all_workers_threads() {
    let place = Place::new();
    place.picture("lake.jpg", "lake.jpg");
    let lake = fs::read(place.path("lake.jpg")).expect("the picture is there");
    let lake = libjpeg_turbo_rs::Decoder::new(&lake).and_then(|decoder| decoder.decode_image()).expect("a picture");
    let encoder = libjpeg_turbo_rs::Encoder::new(&lake.data, lake.width, lake.height, lake.pixel_format);
    let large = encoder.quality(99).encode().expect("the encoder takes any pixels");
    assert!(large.len() > 2 << 20, "large enough for threads, not {} bytes", large.len());
    fs::write(place.path("large.jpg"), large).expect("the picture can be written");
    for size in ["128", "400"] {
        let made = ["1", "2", "5"].map(|jobs| {
            let ran = place.run(&["thumbs", "large.jpg", "-j", jobs, "--size", size]);
            assert_eq!((ran.code, ran.failures()), (0, vec![]), "-j {jobs}");
            fs::read(place.path("thumbs/large.jpg")).expect("thumbnail")
        });
        assert!(made.iter().all(|other| *other == made[0]), "--size {size}");
    }
}

#[test]
fn nothing_to_work_on_is_a_usage_error() {
    let place = Place::new();
    place.write("sub/notes.txt", "no picture");
    let ran = place.run(&["thumbs"]);
    let message = "procpool: there are no pictures in . (-r looks into sub-folders too)\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", message));
    let ran = place.run(&["thumbs", "-r", "sub", "*.gif"]);
    let message = "procpool: there are no pictures in sub, *.gif\n";
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", message));
    assert_eq!(place.listing("thumbs"), [""; 0]);
}

#[test]
fn wrong_usage_is_refused_before_anything_is_done() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    let lines: [&[&str]; 9] = [
        &["thumbs", "--size", "0"],
        &["thumbs", "--timeout", "soon"],
        &["thumbs", "--memory", "lots"],
        &["thumbs", "--quality", "101"],
        &["thumbs", "--blur", "-1"],
        &["thumbs", "--suffix", "a/b"],
        &["thumbs", "--threads", "--memory", "1G"],
        &["thumbs", "-j", "0"],
        &["thumb"],
    ];
    for line in lines {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{line:?}");
        assert!(!ran.stderr.is_empty());
    }
    assert_eq!(place.listing("."), ["wren.jpg"]);
}

#[test]
fn the_version_is_told() {
    let ran = Place::new().run(&["--version"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("procpool {}\n", env!("CARGO_PKG_VERSION"))));
}
