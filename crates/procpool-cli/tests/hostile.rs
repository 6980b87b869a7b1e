//! Inputs and folders that are broken, strange or malicious: each costs one clear line, and the rest is unharmed.

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::{BINARY, Place, sample_picture};
use rustix::fs::{CWD, FileType, FlockOperation, flock, mknodat};

/// A JPEG that claims to have this many pixels and ends there.
fn header_only(width: u16, height: u16) -> Vec<u8> {
    let ([h1, h2], [w1, w2]) = (height.to_be_bytes(), width.to_be_bytes());
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16];
    bytes.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    bytes.extend([0xff, 0xc0, 0, 17, 8, h1, h2, w1, w2, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    bytes.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0xff, 0xd9]);
    bytes
}

#[test]
fn each_broken_input_costs_one_line() {
    let place = Place::new();
    place.write("empty.jpg", "");
    place.write("huge.jpg", header_only(65535, 65535));
    place.write("text.jpg", "plain text");
    let whole = sample_picture("otters.jpg");
    place.write("truncated.jpg", &whole[..whole.len() / 2]);
    place.picture("wren.jpg", "wren.jpg");
    mknodat(CWD, place.path("pipe.jpg"), FileType::Fifo, 0o600.into(), 0).expect("pipe");
    symlink("nowhere", place.path("dangling.jpg")).expect("link");
    symlink("wren.jpg", place.path("zlink.jpg")).expect("link");
    fs::create_dir(place.path("folder.jpg")).expect("folder");
    let ran = place.run(&["thumbs", ".", "/dev/zero", "folder.jpg/none.jpg"]);
    assert_eq!(
        ran.failures(),
        [
            "dangling.jpg: is a link to a file that does not exist",
            "empty.jpg: is empty",
            "huge.jpg: the picture has 65535 x 65535 = 4294836225 pixels, more than the limit of 500000000",
            "pipe.jpg: is a pipe, not a file",
            "text.jpg: not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with \"plain te\"",
            "truncated.jpg: the JPEG picture is cut off: the file ends too early",
            "/dev/zero: is a device, not a file",
            "folder.jpg/none.jpg: there is no such file",
        ]
    );
    let expected = "\
A thumbnail for wren.jpg was saved as thumbs/wren.jpg
A thumbnail for zlink.jpg was saved as thumbs/zlink.jpg
";
    assert_eq!(ran.stdout, expected);
    let causes = "8 failed: 2 not found, 2 not a file, 1 empty, 1 too large, 1 not a picture, 1 damaged";
    assert_eq!(ran.summary(), ["2 thumbnails made", causes]);
    assert_eq!(ran.code, 1);
    assert_eq!(place.listing("thumbs"), ["wren.jpg", "zlink.jpg"]);
}

/// A progressive JPEG of noise and slopes.
fn progressive(width: usize, height: usize) -> Vec<u8> {
    let mut state = 1u32;
    let pixels: Vec<u8> = (0..width * height * 3)
        .map(|index| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8 + (index * 200 / (width * height * 3)) as u8
        })
        .collect();
    libjpeg_turbo_rs::Encoder::new(&pixels, width, height, libjpeg_turbo_rs::PixelFormat::Rgb)
        .progressive(true)
        .encode()
        .expect("the encoder takes noise")
}

/// Where the scans of a JPEG begin.
fn scans(jpeg: &[u8]) -> Vec<usize> {
    (0..jpeg.len() - 1).filter(|&at| jpeg[at..at + 2] == [0xff, 0xda]).collect()
}

#[test]
fn damage_in_what_a_small_thumbnail_leaves_out_is_noticed_if_asked_for() {
    let place = Place::new();
    let mut jpeg = progressive(640, 480);
    // The last scan makes the luma more exact, which is nothing to a thumbnail from an eighth of the size.
    let last = scans(&jpeg)[9];
    jpeg.drain(last + 20..jpeg.len() - 2);
    place.write("a.jpg", jpeg);
    let ran = place.run(&["thumbs", "a.jpg", "--size", "20x20"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "A thumbnail for a.jpg was saved as thumbs/a.jpg\n"));
    for more in [&["--size", "20x20", "--verify"][..], &["--size", "200x200"]] {
        let ran = place.run(&[&["thumbs", "a.jpg"], more].concat());
        assert_eq!(ran.failures(), ["a.jpg: the JPEG picture is cut off: the file ends too early"]);
        assert_eq!(ran.code, 1);
    }
}

#[test]
fn hostile_jpegs_cost_a_line_each() {
    let place = Place::new();
    let jpeg = progressive(640, 480);
    for part in 1..20 {
        place.write(format!("cut-{part:02}.jpg"), &jpeg[..(jpeg.len() - 2) * part / 20]);
    }
    let mut state = 7usize;
    for number in 0..20 {
        let mut flipped = jpeg.clone();
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let at = 2 + (state >> 33) % (jpeg.len() - 2);
        flipped[at] ^= 1 << (number % 8);
        place.write(format!("flipped-{number:02}.jpg"), flipped);
    }
    place.write("huge.jpg", header_only(65500, 7000));
    let all = scans(&jpeg);
    let mut many = jpeg[..all[1]].to_vec();
    many.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, 0x10].repeat(8000));
    many.extend([0xff, 0xd9]);
    place.write("scans.jpg", many);
    place.picture("wren.jpg", "wren.jpg");
    for size in ["20x20", "300x300"] {
        let ran = place.run(&["thumbs", "--size", size, "--timeout", "20s"]);
        let failures = ran.failures();
        let failed = |name: &str| failures.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(failed("cut-"), 19, "{failures:?}");
        assert_eq!((failed("huge.jpg"), failed("scans.jpg"), failed("wren.jpg")), (1, 1, 0), "{failures:?}");
        assert_eq!(failures.len() + ran.stdout.lines().count(), 19 + 20 + 3);
        let judged = |line: &&str| line.contains(": the JPEG picture is") || line.contains(": JPEG with");
        let odd: Vec<_> = failures.iter().filter(|line| !judged(line)).collect();
        assert!(odd.is_empty(), "no worker died, none took too long: {odd:?}");
    }
}

#[test]
fn names_may_be_any_bytes() {
    let place = Place::new();
    let latin1 = OsStr::from_bytes(b"caf\xe9.jpg");
    for name in [OsStr::new("-x.jpg"), OsStr::new("a\n\x1b[31m.jpg"), latin1] {
        place.picture(name, "wren.jpg");
    }
    let expected = "\
A thumbnail for -x.jpg was saved as thumbs/-x.jpg
A thumbnail for a\\n\\x1b[31m.jpg was saved as thumbs/a\\n\\x1b[31m.jpg
A thumbnail for caf\\xe9.jpg was saved as thumbs/caf\\xe9.jpg
";
    let ran = place.run(&["thumbs"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected));
    assert!(place.path("thumbs").join(latin1).is_file());
    let ran = place.run(&[OsStr::new("thumbs"), OsStr::new("--json"), latin1, OsStr::new("--"), OsStr::new("-x.jpg")]);
    let records = ran.records();
    assert_eq!(records[0]["input"], "caf\u{fffd}.jpg");
    assert_eq!(records[0]["input_bytes"], serde_json::json!(b"caf\xe9.jpg".as_slice()));
    assert_eq!(records[1]["input"], "-x.jpg");
    assert_eq!(ran.code, 0);
}

#[test]
fn an_input_is_never_replaced() {
    let place = Place::new();
    let picture = place.picture("in/a.jpg", "wren.jpg");
    symlink("in", place.path("alias")).expect("link");
    let ran = place.run(&["thumbs", "in/a.jpg", "-o", "alias"]);
    let message = "in/a.jpg: was left out: its thumbnail alias/a.jpg would replace an input";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    let ran = place.run(&["thumbs", "in", "-o", "in"]);
    let message = "in: is the output folder; name another one with -o, or other inputs";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    // The picture behind a link is an input as well.
    symlink("in/a.jpg", place.path("link.jpg")).expect("link");
    fs::rename(place.path("link.jpg"), place.path("a.jpg")).expect("rename");
    let ran = place.run(&["thumbs", "a.jpg", "-o", "in"]);
    let message = "a.jpg: was left out: its thumbnail in/a.jpg would replace an input";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    assert_eq!(fs::read(picture).expect("picture"), sample_picture("wren.jpg"));
}

#[test]
fn of_two_inputs_with_one_output_name_the_second_fails() {
    let place = Place::new();
    place.picture("x/a.jpg", "wren.jpg");
    place.picture("y/a.jpg", "otters.jpg");
    let ran = place.run(&["thumbs", "x", "x/a.jpg", "y"]);
    assert_eq!(ran.stdout, "A thumbnail for x/a.jpg was saved as thumbs/a.jpg\n");
    let message = "y/a.jpg: was left out: its thumbnail thumbs/a.jpg would replace that of x/a.jpg";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    assert_eq!(ran.summary(), ["1 thumbnail made", "1 failed: 1 output name already taken"]);
}

#[test]
fn outputs_that_cannot_be_written_are_named() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    place.write("file", "");
    fs::create_dir_all(place.path("out/wren.jpg")).expect("folder");
    let failures = |output: &str| {
        let ran = place.run(&["thumbs", "wren.jpg", "-o", output]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        ran.failures().join("\n")
    };
    assert_eq!(failures("file"), "wren.jpg: cannot write file/wren.jpg: Not a directory");
    assert_eq!(failures("out"), "wren.jpg: cannot write out/wren.jpg: Is a directory");
    assert_eq!(failures("/proc/none"), "wren.jpg: cannot write /proc/none/wren.jpg: No such file or directory");
    assert_eq!(place.listing("."), ["file", "wren.jpg"]);
}

#[test]
fn devices_and_pipes_are_not_replaced() {
    let place = Place::new();
    place.picture("a.jpg", "wren.jpg");
    fs::create_dir(place.path("out")).expect("folder");
    mknodat(CWD, place.path("out/a.jpg"), FileType::Fifo, 0o600.into(), 0).expect("pipe");
    symlink("/dev/null", place.path("page.html")).expect("link");
    let ran = place.run(&["thumbs", "a.jpg", "-o", "out", "--gallery", "page.html", "--contact-sheet", "out/a.jpg"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let ran = place.run(&["thumbs", "a.jpg", "-o", "out", "--gallery", "page.html"]);
    let why = "it is no file but a device, a pipe or a socket";
    assert_eq!(
        ran.failures(),
        [format!("a.jpg: cannot write out/a.jpg: {why}"), format!("procpool: cannot write page.html: {why}")]
    );
    assert_eq!(ran.code, 1);
    place.write("access.log", "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.0\" 200 2326\n");
    let ran = place.run(&["logs", "access.log", "--report", "page.html"]);
    assert!(ran.code == 1 && ran.stderr.contains(why), "{ran:?}");
    assert_eq!(fs::read_link(place.path("page.html")).expect("still a link"), std::path::Path::new("/dev/null"));
    assert_eq!(place.listing("."), ["a.jpg", "access.log", "out/a.jpg", "page.html"]);
}

#[test]
fn full_and_read_only_file_systems_cost_one_line_per_file() {
    let place = Place::new();
    place.picture("otters.jpg", "otters.jpg");
    place.picture("wren.jpg", "wren.jpg");
    fs::create_dir(place.path("out")).expect("folder");
    let in_mount = |options: &str| {
        let script = format!("mount -t tmpfs -o {options} none out && {{ \"$@\"; code=$?; ls -A out; exit $code; }}");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
        command.args([BINARY, "thumbs", "-o", "out", "--size", "1200"]);
        place.start_command(command).finish()
    };
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("not checked: this system does not allow mounts in a name space of one's own");
        return;
    }
    for (options, reason) in [("size=16k", "No space left on device"), ("ro", "Read-only file system")] {
        let ran = in_mount(options);
        assert_eq!(
            ran.failures(),
            [
                format!("otters.jpg: cannot write out/otters.jpg: {reason}"),
                format!("wren.jpg: cannot write out/wren.jpg: {reason}"),
            ]
        );
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "nothing is left in the folder");
        assert_eq!(ran.summary(), ["0 thumbnails made", "2 failed: 2 could not be written"]);
    }
}

#[test]
fn what_killed_runs_left_behind_is_removed() {
    let place = Place::new();
    place.picture("wren.jpg", "wren.jpg");
    place.write("thumbs/.procpool-00000000000000aa.tmp", "half");
    let live = place.write("thumbs/.procpool-00000000000000bb.tmp", "being written");
    let lock = File::open(live).expect("file");
    flock(&lock, FlockOperation::LockExclusive).expect("lock");
    place.write("thumbs/.other.tmp", "not ours");
    assert_eq!(place.run(&["thumbs", "wren.jpg"]).code, 0);
    assert_eq!(place.listing("thumbs"), [".other.tmp", ".procpool-00000000000000bb.tmp", "wren.jpg"]);
}

#[test]
fn a_worker_that_meets_a_limit_fails_one_picture() {
    let place = Place::new();
    place.picture("otters.jpg", "otters.jpg");
    let ran = place.run(&["thumbs", "otters.jpg", "--blur", "500", "--timeout", "1ms", "--retries", "1"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.failures().len()), (1, "", 1));
    assert_eq!(ran.summary(), ["0 thumbnails made", "1 failed: 1 took too long"]);
    assert_eq!(place.listing("."), ["otters.jpg"]);
}
