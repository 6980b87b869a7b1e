//! `procpool count`, and what all jobs do with their standard output.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

use common::{BINARY, Place};

#[test]
fn every_file_gets_a_line_and_the_total_comes_last() {
    let place = Place::new();
    place.write("a.txt", "Käse 日本 🦦");
    place.write("b.txt", "one\r\ntwo\rthree\n".repeat(100));
    place.write("latin1.txt", b"caf\xe9");
    place.write("empty.txt", "");
    let names = ["a.txt", "b.txt", "latin1.txt", "none.txt", "empty.txt"];
    let ran = place.run(&[&["count", "-m", "--strict", "--universal-newlines"], &names[..]].concat());
    let expected = concat!(
        "   9  a.txt\n",
        "1400  b.txt\n",
        "   0  latin1.txt\n",
        "   0  none.txt\n",
        "   0  empty.txt\n",
        "1409  total of 5 files\n",
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!(ran.failures(), ["latin1.txt: is not UTF-8 text (first at byte 3)", "none.txt: there is no such file",]);
    assert_eq!(ran.summary(), ["3 files counted", "2 failed: 1 not found, 1 not UTF-8"]);
    assert_eq!(ran.code, 1);
}

#[test]
fn the_pids_are_those_of_worker_processes() {
    let place = Place::new();
    for n in 0..50 {
        place.write(format!("{n:02}"), "x".repeat(n));
    }
    let running = place.start(&["count", "--pids", "--json", "-j", "2"]);
    let parent = running.id();
    let ran = running.finish();
    let records = ran.records();
    let pids: BTreeSet<u64> = records.iter().filter_map(|record| record["pid"].as_u64()).collect();
    assert!(!pids.contains(&u64::from(parent)) && (1..=2).contains(&pids.len()), "{pids:?}");
    assert_eq!(records.len(), 51);
    assert_eq!(records[50]["characters"], 49 * 50 / 2);
    let ran = place.run(&["count", "-m", "--pids", "07"]);
    let line: Vec<&str> = ran.stdout.lines().next().expect("a line").split_whitespace().collect();
    assert_eq!((line[0], line[1].parse::<u32>().is_ok(), line[2]), ("7", true, "07"));
}

#[test]
fn folders_are_counted_with_their_sub_folders_if_asked() {
    let place = Place::new();
    place.write("in/a", "1");
    place.write("in/sub/b", "22");
    place.write("in/.git/c", "333");
    assert_eq!(place.run(&["count", "-m", "in"]).stdout, "1  in/a\n1  total of 1 file\n");
    let ran = place.run(&["count", "-m", "-r", "in"]);
    assert_eq!(ran.stdout, "1  in/a\n2  in/sub/b\n3  total of 2 files\n");
    assert_eq!(ran.code, 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let place = Place::new();
    for n in 0..5000 {
        place.write(format!("{n:04}"), "x");
    }
    let mut running = place.start(&["count", "-m"]);
    assert_eq!(running.stdout_line(), "   1  0000\n");
    running.close_stdout();
    let ran = running.finish();
    assert_eq!((ran.code, ran.stderr.as_str()), (141, ""));
}

#[test]
fn a_full_standard_output_is_an_error() {
    let place = Place::new();
    place.write("a", "1");
    let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(BINARY)
        .args(["count", "a"])
        .current_dir(place.path("."))
        .stdout(Stdio::from(full))
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(1));
    let message = "procpool: cannot write to standard output: No space left on device\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), message);
}

#[test]
fn bench_prints_a_table() {
    let place = Place::new();
    let ran = place.run(&["bench", "--tasks", "2", "--count-to", "1000000", "-j", "2"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let first = |line: &str| line.split("   ").next().map(str::trim).unwrap_or_default().to_owned();
    let rows: Vec<String> = ran.stdout.lines().map(first).collect();
    assert_eq!(rows, ["2 tasks", "count to 1000000", "make a thumbnail", "start the pool"]);
    let ends: BTreeSet<usize> = ran.stdout.lines().take(3).map(|line| line.chars().count()).collect();
    assert_eq!(ends.len(), 1, "the columns line up: {}", ran.stdout);
    let ran = place.run(&["bench", "--tasks", "1", "--count-to", "1", "--json"]);
    let records = ran.records();
    assert_eq!((records.len(), &records[0]["bench"], &records[1]["bench"]), (3, &"count".into(), &"thumbnails".into()));
    let picture = place.write("text.jpg", "plain text");
    let ran = place.run(&["bench", "--tasks", "1", "--count-to", "1", "text.jpg"]);
    let message =
        "procpool: text.jpg: not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with \"plain te\"\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, message));
    assert!(fs::exists(picture).expect("look"));
}
