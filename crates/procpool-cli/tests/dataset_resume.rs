//! `procpool dataset --resume`: pictures that a killed run has made are not made again, and the set is that of one run.

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Dice, Place, Ran};
use rustix::process::Signal;

/// So many pictures that what is told of them, with their long names, fills the pipe it is told through: a run of which only some
/// lines are read stands still in the middle, and is killed there.
const PICTURES: usize = 500;

const NAME: &str = "a-name-that-is-long-so-that-the-pipe-is-full-before-all-pictures-have-been-told-of-and-the-run-waits-until-it-is-killed-by-its-test-which-does-not-read-any-more";

fn name(number: usize) -> String {
    format!("in/{}/{number:03}-{NAME}.png", ["cat", "dog", "emu"][number % 3])
}

fn png(seed: usize) -> Vec<u8> {
    let mut dice = Dice(seed as u64);
    let data: Vec<u8> = (0..20 * 20 * 3).map(|_| dice.roll(256) as u8).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 20, 20);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&data)).expect("encoded");
    bytes
}

/// Pictures, some of them twice, and some that are damaged.
fn fill(place: &Place) {
    for number in 0..PICTURES {
        let picture = match number % 50 {
            7 => png(number - 3),
            23 => png(number)[..100].to_vec(),
            _ => png(number),
        };
        place.write(name(number), picture);
    }
}

fn arguments<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["dataset", "in", "-o", output, "--size", "16", "--split", "train=0.7,val=0.3"], more].concat()
}

fn kill_after(place: &Place, more: &[&str], pictures: usize) {
    let mut running = place.start(&arguments("set", &[&["--resume"], more].concat()));
    for _ in 0..pictures {
        running.stdout_line();
    }
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, -(Signal::KILL.as_raw()));
}

fn resume(place: &Place, more: &[&str]) -> (Ran, usize) {
    let ran = place.run(&arguments("set", &[&["--resume", "--json"], more].concat()));
    assert_eq!(ran.code, 1, "some pictures are damaged: {}", ran.stderr);
    let last = ran.records().pop().expect("a summary");
    let unchanged = last["unchanged"].as_u64().expect("a number") as usize;
    let done = last["done"].as_u64().expect("a number") as usize;
    assert_eq!(done + unchanged + last["failed"].as_u64().expect("a number") as usize, PICTURES, "{last}");
    (ran, unchanged)
}

/// Every file of a set and what it holds; then the set is removed.
fn take(place: &Place, set: &str) -> BTreeMap<String, Vec<u8>> {
    let files = place.listing(set).into_iter();
    let files = files.map(|name| (name.clone(), fs::read(place.path(set).join(name)).expect("a file"))).collect();
    fs::remove_dir_all(place.path(set)).expect("remove");
    files
}

fn undisturbed(place: &Place, more: &[&str]) -> BTreeMap<String, Vec<u8>> {
    assert_eq!(place.run(&arguments("undisturbed", more)).code, 1);
    // The manifest names no output folder, so sets of other names are the same.
    take(place, "undisturbed")
}

fn assert_made(place: &Place, expected: &BTreeMap<String, Vec<u8>>, what: &str) {
    let rest: Vec<String> = fs::read_dir(place.path(""))
        .expect("folder")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "in" && name != "set")
        .collect();
    assert_eq!(rest, [""; 0], "{what}");
    assert!(take(place, "set") == *expected, "{what}: the set differs");
}

#[test]
fn whenever_it_is_killed_the_set_is_that_of_one_run() {
    let place = Place::new();
    fill(&place);
    for format in ["folder", "webdataset", "parquet"] {
        let more = ["--format", format];
        let expected = undisturbed(&place, &more);
        for (pictures, jobs, then) in [(1, "1", "7"), (50, "2", "2")] {
            kill_after(&place, &[&more[..], &["-j", jobs]].concat(), pictures);
            assert!(!place.path("set").exists());
            let (_, unchanged) = resume(&place, &[&more[..], &["-j", then]].concat());
            assert!((pictures..PICTURES).contains(&unchanged), "{unchanged} of {pictures}");
            assert_made(&place, &expected, &format!("{format} killed after {pictures}"));
        }
    }
}

#[test]
fn what_changes_all_pictures_makes_them_anew_and_what_does_not_does_not() {
    let place = Place::new();
    fill(&place);
    // Killed twice; then another way to tell duplicates, a picture that is another, and a damaged one that is whole.
    kill_after(&place, &[], 30);
    kill_after(&place, &[], 1);
    place.write(name(4), png(1000));
    place.write(name(23), png(23));
    let expected = undisturbed(&place, &["--dedup=none"]);
    let (ran, unchanged) = resume(&place, &["--dedup=none"]);
    assert!((29..PICTURES).contains(&unchanged), "{unchanged}");
    assert!(!ran.stderr.contains("kept"), "{}", ran.stderr);
    assert_made(&place, &expected, "other pictures");

    kill_after(&place, &[], 30);
    let expected = undisturbed(&place, &["--quality", "50"]);
    let ran = place.run(&arguments("set", &["--resume", "--quality", "50"]));
    let note =
        "procpool: what was kept cannot be used, since the options of the result are others; everything is done again";
    assert_eq!(ran.stderr.lines().next(), Some(note));
    assert!(!ran.stderr.contains("taken over"), "{}", ran.stderr);
    assert_made(&place, &expected, "another quality");
}

#[test]
fn ctrl_c_keeps_what_is_finished_and_a_run_without_the_flag_clears_it_away() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, &[]);
    let stop = || {
        place.start(&arguments("set", &["--resume"])).stop_resumable_after(50);
        assert!(place.path(".set.unfinished/journal").exists());
    };
    stop();
    assert!(resume(&place, &[]).1 >= 50);
    assert_made(&place, &expected, "stopped");
    stop();
    assert_eq!(place.run(&arguments("set", &[])).code, 1);
    assert_made(&place, &expected, "without the flag");
}
