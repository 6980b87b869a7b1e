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
            "text.jpg: not a JPEG, PNG, WebP, GIF or TIFF picture: it begins with \"plain te\"",
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
