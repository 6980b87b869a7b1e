//! Names that lead elsewhere, and folders and links that change while a run goes on: nothing is written outside of the output
//! folder, and every other file is done.

mod common;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use common::{BINARY, Place, Ran, pid_of, sample_picture};
use rustix::process::{Signal, kill_process};

/// A file that takes a moment to read, and small pictures.
fn pictures(place: &Place, names: &[&str]) {
    place.picture("small/small.jpg", "wren.jpg");
    assert_eq!(place.run(&["thumbs", "small"]).code, 0);
    let small = fs::read(place.path("thumbs/small.jpg")).expect("a small picture");
    fs::remove_dir_all(place.path("thumbs")).expect("remove");
    fs::remove_dir_all(place.path("small")).expect("remove");
    for name in names {
        place.write(format!("in/{name}"), &small);
    }
    File::create(place.path("in/0.jpg")).and_then(|file| file.set_len(1 << 30)).expect("a file of holes");
}

/// Makes thumbnails of `in`; while the first file is being read, and the worker can begin no other, does `change`.
/// Returns what the run left, and the failures but for the first file, which is no picture.
fn run_with(place: &Place, change: impl FnOnce()) -> (Ran, Vec<String>) {
    let running = place.start(&["thumbs", "-r", "in", "-j", "1"]);
    let worker = pid_of(running.worker_reading(&place.path("in/0.jpg")));
    kill_process(worker, Signal::STOP).expect("stop");
    change();
    // There is less to read now.
    File::options().write(true).open(place.path("in/0.jpg")).and_then(|file| file.set_len(1)).expect("shorten");
    kill_process(worker, Signal::CONT).expect("continue");
    let ran = running.finish();
    let mut failures: Vec<String> = ran.failures().into_iter().map(str::to_owned).collect();
    let first = failures.remove(0);
    assert!(first.starts_with("in/0.jpg: not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture"), "{first}");
    (ran, failures)
}

/// Many more than a worker is sent ahead of time.
fn many() -> Vec<String> {
    (0..300).map(|n| format!("sub/{n:03}.jpg")).collect()
}

#[test]
fn names_that_lead_elsewhere_stay_in_the_output_folder() {
    let place = Place::new();
    let inputs: [&[u8]; 6] = [b"up.jpg", b"-dash.jpg", b"new\nline.jpg", b"caf\xe9.jpg", b"..jpg", b" .jpg"];
    for name in inputs {
        place.picture(OsStr::from_bytes(name), "wren.jpg");
    }
    fs::create_dir_all(place.path("a/b")).expect("folder");
    let before = place.listing(".");
    let mut command = std::process::Command::new(BINARY);
    command.args(["thumbs", "-o", "out", "--"]);
    command.args(inputs.map(|name| [b"../../", name].concat()).map(|name| OsString::from(OsStr::from_bytes(&name))));
    command.args(["../../../../../../../../../../../../../../nowhere/x.jpg", "../b/../b/../../up.jpg"]);
    let shell = "cd a/b && exec \"$@\"";
    let mut here = std::process::Command::new("sh");
    here.args(["-c", shell, "sh"]).arg(command.get_program()).args(command.get_args());
    let ran = place.start_command(here).finish();
    assert_eq!((ran.code, ran.summary()), (1, vec!["6 thumbnails made".into(), "1 failed: 1 not found".into()]));
    assert_eq!(ran.stdout.lines().count(), 6, "{}", ran.stdout);
    let mut names: Vec<String> = inputs.map(|name| String::from_utf8_lossy(name).into_owned()).into();
    names.sort();
    assert_eq!(place.listing("a/b/out"), names);
    let outside: Vec<String> = place.listing(".").into_iter().filter(|name| !name.starts_with("a/b/out/")).collect();
    assert_eq!(outside, before);
    for name in inputs {
        assert!(fs::read(place.path(OsStr::from_bytes(name))).expect("input") == sample_picture("wren.jpg"));
    }
}

#[test]
fn an_output_folder_may_be_a_link_but_no_folder_below_it() {
    let place = Place::new();
    pictures(&place, &["a.jpg", "sub/b.jpg"]);
    fs::create_dir(place.path("real")).expect("folder");
    fs::create_dir(place.path("outside")).expect("folder");
    symlink("real", place.path("thumbs")).expect("link");
    fs::remove_file(place.path("in/0.jpg")).expect("remove");
    let ran = place.run(&["thumbs", "-r", "in"]);
    assert_eq!((ran.code, place.listing("real")), (0, vec!["a.jpg".into(), "sub/b.jpg".into()]));
    fs::remove_dir_all(place.path("real/sub")).expect("remove");
    symlink("../outside", place.path("real/sub")).expect("link");
    let ran = place.run(&["thumbs", "-r", "in"]);
    let message = "in/sub/b.jpg: cannot write thumbs/sub/b.jpg: thumbs/sub is a link, which is not followed here";
    assert_eq!((ran.code, ran.failures()), (1, vec![message]));
    assert_eq!(ran.summary(), ["1 thumbnail made", "1 failed: 1 could not be written"]);
    assert_eq!(place.listing("outside"), [""; 0]);
}

#[test]
fn an_input_that_is_replaced_by_a_link_during_the_run_is_an_input_like_others() {
    let place = Place::new();
    let names = many();
    pictures(&place, &names.iter().map(String::as_str).collect::<Vec<_>>());
    place.picture("elsewhere/other.jpg", "wren.jpg");
    let secret = place.write("elsewhere/secret.txt", "no picture");
    let targets = [("297", "other.jpg"), ("298", "secret.txt"), ("299", ".")];
    for (name, _) in targets {
        fs::remove_file(place.path(format!("in/sub/{name}.jpg"))).expect("remove");
        symlink("000.jpg", place.path(format!("in/sub/{name}.jpg"))).expect("link");
    }
    let (ran, failures) = run_with(&place, || {
        for (name, target) in targets {
            let link = place.path(format!("in/sub/{name}.jpg"));
            fs::remove_file(&link).expect("remove");
            symlink(format!("../../elsewhere/{target}"), &link).expect("link");
        }
    });
    let expected = [
        "in/sub/298.jpg: not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with \"no pictu\"",
        "in/sub/299.jpg: is a folder, not a file",
    ];
    assert_eq!(failures, expected);
    assert_eq!(ran.summary(), ["298 thumbnails made", "3 failed: 1 not a file, 2 not a picture"]);
    assert_eq!(place.listing("thumbs").len(), 298);
    assert_eq!(place.listing("elsewhere"), ["other.jpg", "secret.txt"]);
    assert_eq!(fs::read(secret).expect("file"), b"no picture");
}

#[test]
fn a_folder_of_outputs_that_is_replaced_by_a_link_gets_no_more_outputs() {
    let place = Place::new();
    let mut names = many();
    names.push("z.jpg".into());
    pictures(&place, &names.iter().map(String::as_str).collect::<Vec<_>>());
    fs::create_dir_all(place.path("thumbs/sub")).expect("folder");
    fs::create_dir(place.path("outside")).expect("folder");
    place.write("outside/000.jpg", "precious");
    place.write("outside/.procpool-00000000000000aa.tmp", "precious too");
    let (ran, failures) = run_with(&place, || {
        fs::rename(place.path("thumbs/sub"), place.path("moved")).expect("rename");
        symlink("../outside", place.path("thumbs/sub")).expect("link");
    });
    assert_eq!(ran.summary(), ["1 thumbnail made", "301 failed: 1 not a picture, 300 could not be written"]);
    let message = "in/sub/007.jpg: cannot write thumbs/sub/007.jpg: thumbs/sub is a link, which is not followed here";
    assert_eq!((ran.code, failures[7].as_str()), (1, message));
    assert_eq!(place.listing("outside"), [".procpool-00000000000000aa.tmp", "000.jpg"]);
    assert_eq!(fs::read(place.path("outside/000.jpg")).expect("file"), b"precious");
    assert_eq!((place.listing("thumbs"), place.listing("moved")), (vec!["sub".into(), "z.jpg".into()], vec![]));
}

#[test]
fn an_output_folder_that_is_replaced_by_a_link_gets_no_more_outputs() {
    let place = Place::new();
    pictures(&place, &["a.jpg", "b.jpg"]);
    fs::create_dir(place.path("thumbs")).expect("folder");
    fs::create_dir(place.path("outside")).expect("folder");
    let (ran, failures) = run_with(&place, || {
        fs::rename(place.path("thumbs"), place.path("moved")).expect("rename");
        symlink("outside", place.path("thumbs")).expect("link");
    });
    assert_eq!(ran.summary(), ["0 thumbnails made", "3 failed: 1 not a picture, 2 could not be written"]);
    let message = "in/a.jpg: cannot write thumbs/a.jpg: thumbs is another folder than when the run began";
    assert_eq!((ran.code, failures[0].as_str()), (1, message));
    assert_eq!((place.listing("outside"), place.listing("moved")), (vec![], vec![]));
}
