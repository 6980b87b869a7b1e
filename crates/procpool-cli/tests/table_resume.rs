//! `procpool table --resume`: what a run that was killed has finished is not read again, and the output is that of one run.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use common::{Place, Ran, Running, pid_of, wait_until};
use rustix::process::{Signal, kill_process};
use xxhash_rust::xxh3::xxh3_64;

/// So many files that what is told of them, with their long names, fills the pipe it is told through: a run of which only some
/// lines are read stands still in the middle, and is killed there.
const FILES: usize = 500;

const NAME: &str = "a-name-that-is-long-so-that-the-pipe-is-full-before-all-files-have-been-told-of-and-the-run-waits-until-it-is-killed-by-its-test-which-does-not-read-any-more";

const FORMATS: [&str; 4] = ["parquet", "arrow", "csv", "jsonl"];

fn name(number: usize, extension: &str) -> String {
    format!("in/{number:03}-{NAME}.{extension}")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("pack")
}

/// Files of every kind: small ones, of which several share a group of rows; large ones in several groups, packed and not; values
/// that do not fit; files that are damaged at their start and at their end.
fn fill(place: &Place) {
    for number in 0..FILES {
        let lines = |rows: usize, odd: &str| {
            let row = |row| format!("{row},\"text, {number}\nof two lines\",{}.5\n", row * number);
            format!("id,note,price\n{}{odd}", (0..rows).map(row).collect::<String>())
        };
        match number % 50 {
            7 => place.write(name(number, "csv"), lines(400, "")),
            11 => place.write(name(number, "csv"), lines(300, "9,\"no end")),
            17 => place.write(name(number, "csv.gz"), gzip(&lines(500, ""))),
            23 => place.write(name(number, "csv"), "id,note\n1,\"no end"),
            29 => {
                place.write(name(number, "jsonl"), format!("{{\"id\":{number},\"deep\":{{\"er\":[1]}}}}\n").repeat(90))
            }
            31 => place.write(name(number, "xml"), format!("<all>{}</all>", "<r id='7'><note>n</note></r>".repeat(40))),
            _ => place.write(name(number, "csv"), lines(12, "oops,odd,n/a\n")),
        };
    }
}

const OPTIONS: [&str; 6] = ["--sample", "128", "--row-group", "2KiB", "--chunk", "4KiB"];

fn arguments<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["table", "in", "-o", output], &OPTIONS[..], more].concat()
}

/// Starts a run, waits until it has told of so many files, and kills it.
fn kill_after(place: &Place, output: &str, more: &[&str], files: usize) {
    let mut running = place.start(&arguments(output, &[&["--resume"], more].concat()));
    for _ in 0..files {
        running.stdout_line();
    }
    kill(running);
}

fn kill(running: Running) {
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, -(Signal::KILL.as_raw()));
}

/// Runs to the end and says how many files were taken over.
fn resume(place: &Place, output: &str, more: &[&str]) -> (Ran, usize) {
    let ran = place.run(&arguments(output, &[&["--resume", "--json"], more].concat()));
    assert_eq!(ran.code, 1, "some files are damaged: {}", ran.stderr);
    let last = ran.records().pop().expect("a summary");
    let count = |name: &str| last[name].as_u64().expect("a number") as usize;
    assert_eq!(count("done") + count("unchanged") + count("failed"), FILES, "{last}");
    let unchanged = count("unchanged");
    let told = ran.records().iter().filter(|record| record["unchanged"] == true).count();
    assert_eq!(told, unchanged);
    (ran, unchanged)
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).expect("a file")
}

/// The output and the misfits of a run that nobody disturbs.
fn undisturbed(place: &Place, format: &str, more: &[&str]) -> [Vec<u8>; 2] {
    let output = format!("undisturbed.{format}");
    assert_eq!(place.run(&arguments(&output, more)).code, 1);
    let made = [read(place, &output), read(place, &format!("{output}.misfits.jsonl"))];
    for name in [output.clone(), format!("{output}.misfits.jsonl")] {
        fs::remove_file(place.path(name)).expect("remove");
    }
    made
}

/// The output is what it should be, and nothing else is left.
fn assert_made(place: &Place, output: &str, expected: &[Vec<u8>; 2], what: &str) {
    let misfits = format!("{output}.misfits.jsonl");
    assert!(read(place, output) == expected[0], "{what}: the output differs");
    assert!(read(place, &misfits) == expected[1], "{what}: the misfits differ");
    let rest: Vec<String> = place.listing(".").into_iter().filter(|name| !name.starts_with("in/")).collect();
    assert_eq!(rest, [output.to_owned(), misfits.clone()], "{what}");
    for name in [output, &misfits] {
        fs::remove_file(place.path(name)).expect("remove");
    }
}

/// The files in which a run keeps what it has finished.
fn store(place: &Place, output: &str) -> [PathBuf; 2] {
    ["journal", "data"].map(|name| place.path(format!(".{output}.unfinished")).join(name))
}

fn save(place: &Place, output: &str) -> [Vec<u8>; 2] {
    store(place, output).map(|path| fs::read(path).expect("store"))
}

fn put_back(place: &Place, output: &str, saved: &[Vec<u8>; 2]) {
    for (path, bytes) in store(place, output).iter().zip(saved) {
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, bytes).expect("store");
    }
}

#[test]
fn whenever_it_is_killed_the_output_is_that_of_one_run() {
    let place = Place::new();
    fill(&place);
    for format in FORMATS {
        let expected = undisturbed(&place, format, &["-j", "2"]);
        let output = format!("out.{format}");
        for (files, jobs, then) in [(1, "1", "7"), (40, "7", "1"), (120, "2", "2")] {
            kill_after(&place, &output, &["-j", jobs], files);
            assert!(!place.path(&output).exists());
            let (_, unchanged) = resume(&place, &output, &["-j", then]);
            assert!((files..FILES).contains(&unchanged), "{unchanged} of {files}");
            assert_made(&place, &output, &expected, &format!("{format} killed after {files}"));
        }
    }
}

#[test]
fn a_run_can_be_killed_again_and_again() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "parquet", &[]);
    // The second run tells only of what it has read itself.
    kill_after(&place, "out.parquet", &[], 30);
    kill_after(&place, "out.parquet", &[], 30);
    kill_after(&place, "out.parquet", &[], 1);
    let (ran, unchanged) = resume(&place, "out.parquet", &[]);
    assert!((61..FILES).contains(&unchanged), "{unchanged}");
    assert!(!ran.stderr.contains("kept"), "{}", ran.stderr);
    assert_made(&place, "out.parquet", &expected, "killed three times");
    // Nothing is left to go on from.
    assert_eq!(resume(&place, "out.parquet", &[]).1, 0);
    assert_made(&place, "out.parquet", &expected, "once more");
}

#[test]
fn a_journal_that_ends_anywhere_is_good_up_to_there() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "jsonl", &[]);
    kill_after(&place, "out.jsonl", &[], 120);
    let [journal, data] = save(&place, "out.jsonl");
    let ends: Vec<usize> = (0..journal.len()).filter(|&at| journal[at] == b'\n').map(|at| at + 1).collect();
    let mut before = 0;
    for number in (0..ends.len()).step_by(ends.len() / 12) {
        // Killed between two lines, and in the middle of one.
        let cut = ends[number] + if number % 2 == 1 { 20 } else { 0 };
        put_back(&place, "out.jsonl", &[journal[..cut.min(journal.len())].to_vec(), data.clone()]);
        let (_, unchanged) = resume(&place, "out.jsonl", &[]);
        assert!(unchanged >= before, "{unchanged} after {number} lines, {before} after fewer");
        before = unchanged;
        assert_made(&place, "out.jsonl", &expected, &format!("{number} lines"));
    }
    // Also one that was killed when the output was in its place and the store not yet gone.
    put_back(&place, "out.jsonl", &[journal, data]);
    assert!(resume(&place, "out.jsonl", &[]).1 >= 120);
    assert_made(&place, "out.jsonl", &expected, "the whole journal");
}

#[test]
fn what_is_spoilt_is_read_again() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "arrow", &[]);
    kill_after(&place, "out.arrow", &[], 120);
    let saved = save(&place, "out.arrow");
    let all = resume(&place, "out.arrow", &[]).1;
    assert_made(&place, "out.arrow", &expected, "nothing spoilt");
    for (which, step) in [(0, 4000), (1, 30_000)] {
        put_back(&place, "out.arrow", &saved);
        let path = &store(&place, "out.arrow")[which];
        let file = fs::OpenOptions::new().write(true).open(path).expect("store");
        // The first line of the journal says who wrote it.
        for at in (2000..saved[which].len()).step_by(step) {
            file.write_all_at(&[saved[which][at] ^ 0x10], at as u64).expect("spoil");
        }
        let (_, unchanged) = resume(&place, "out.arrow", &["-j", "2"]);
        assert!((1..all).contains(&unchanged), "{unchanged} of {all}");
        assert_made(&place, "out.arrow", &expected, "spoilt");
    }
    put_back(&place, "out.arrow", &[saved[0].clone(), Vec::new()]);
    assert_eq!(resume(&place, "out.arrow", &[]).1, 0);
    assert_made(&place, "out.arrow", &expected, "without data");
}

#[test]
fn with_other_options_or_another_program_everything_is_read_again() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "csv", &["--file-column", "file"]);
    kill_after(&place, "out.csv", &[], 60);
    let ran = place.run(&arguments("out.csv", &["--resume", "--file-column", "file"]));
    let note = |why: &str| format!("procpool: what was kept cannot be used, since {why}; everything is done again");
    assert_eq!(ran.stderr.lines().next(), Some(note("the options of the result are others").as_str()));
    assert!(!ran.stderr.contains("taken over"), "{}", ran.stderr);
    assert_made(&place, "out.csv", &expected, "another option");

    let expected = undisturbed(&place, "csv", &[]);
    kill_after(&place, "out.csv", &[], 60);
    let [journal, data] = save(&place, "out.csv");
    let text = String::from_utf8(journal).expect("text");
    let (head, rest) = text.split_once('\n').expect("a line");
    let head = head[17..].replace(&format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION")), "\"version\":\"0.0.0\"");
    let journal = format!("{:016x} {head}\n{rest}", xxh3_64(head.as_bytes()));
    put_back(&place, "out.csv", &[journal.into_bytes(), data]);
    let ran = place.run(&arguments("out.csv", &["--resume"]));
    assert_eq!(ran.stderr.lines().next(), Some(note("another version of procpool has made it").as_str()));
    assert_made(&place, "out.csv", &expected, "another version");
}

#[test]
fn files_that_have_changed_are_read_again_and_the_others_are_not() {
    let place = Place::new();
    fill(&place);
    kill_after(&place, "out.parquet", &[], 120);
    let saved = save(&place, "out.parquet");
    let before = resume(&place, "out.parquet", &[]).1;
    let changed = [name(20, "csv"), name(40, "csv")];
    for name in &changed {
        place.write(name, "id,note,price\n1,changed,2.5\n");
    }
    let expected = undisturbed(&place, "parquet", &[]);
    put_back(&place, "out.parquet", &saved);
    let ran = place.run(&arguments("out.parquet", &["--resume"]));
    let first = ran.stderr.lines().next().expect("a line");
    assert!(first.starts_with("procpool: of ") && first.contains(" groups of rows that were kept "), "{first}");
    assert!(first.ends_with(&format!(", since {} and 1 more have changed since", changed[0])), "{first}");
    let over =
        ran.stderr.lines().find_map(|line| line.strip_suffix(" taken over from an earlier run")).expect("a line");
    let over: usize = over.parse().expect("a number");
    assert!((before - 20..before).contains(&over), "{over} of {before}");
    assert_made(&place, "out.parquet", &expected, "two files changed");

    // Another column makes other groups of all.
    place.write(&changed[0], "id,note,price,more\n1,changed,2.5,x\n");
    let expected = undisturbed(&place, "parquet", &[]);
    put_back(&place, "out.parquet", &saved);
    let ran = place.run(&arguments("out.parquet", &["--resume"]));
    let first = ran.stderr.lines().next().expect("a line");
    assert!(first.starts_with("procpool: what was kept cannot be used, since "), "{first}");
    assert_made(&place, "out.parquet", &expected, "another column");

    // A file that is gone changes the group it was in, and no other.
    fs::remove_file(place.path(&changed[1])).expect("remove");
    fs::remove_file(place.path(&changed[0])).expect("remove");
    place.write(&changed[0], "id,note,price\n1,changed,2.5\n");
    let expected = undisturbed(&place, "parquet", &[]);
    put_back(&place, "out.parquet", &saved);
    let ran = place.run(&arguments("out.parquet", &["--resume"]));
    assert!(ran.stderr.contains(" taken over from an earlier run"), "{}", ran.stderr);
    assert_made(&place, "out.parquet", &expected, "a file is gone");
}

#[test]
fn what_a_killed_worker_has_cost_is_read_by_the_next_run() {
    let place = Place::new();
    fill(&place);
    let long = format!("id,note,price\n{}", "7,long,0.5\n".repeat(5_000_000));
    let path = place.write(name(0, "csv.gz"), gzip(&long));
    fs::remove_file(place.path(name(0, "csv"))).expect("remove");
    let options = ["--row-group", "1MiB", "--chunk", "1MiB", "--sample", "128", "-j", "1"];
    let args = |output| [&["table", "in", "-o", output], &options[..]].concat();
    assert_eq!(place.run(&args("undisturbed.csv")).code, 1);
    let mut running = place.start(&[&args("out.csv")[..], &["--resume"]].concat());
    // Not while it is only looked at.
    let [journal, _] = store(&place, "out.csv");
    wait_until(|| fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"kind\":\"seen\"")));
    let worker = running.worker_reading(&path);
    kill_process(pid_of(worker), Signal::KILL).expect("kill");
    assert!(running.stderr_line().contains("was killed by SIGKILL"));
    for _ in 0..100 {
        running.stdout_line();
    }
    kill(running);
    let ran = place.run(&[&args("out.csv")[..], &["--resume"]].concat());
    assert!(ran.stderr.contains(" taken over from an earlier run"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("SIGKILL"), "{}", ran.stderr);
    assert!(read(&place, "out.csv") == read(&place, "undisturbed.csv"));
}

#[test]
fn ctrl_c_keeps_what_is_finished_and_a_run_without_the_flag_clears_it_away() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "csv", &[]);
    let stop = || {
        place.start(&arguments("out.csv", &["--resume"])).stop_resumable_after(50);
        assert!(!place.path("out.csv").exists() && store(&place, "out.csv")[0].exists());
    };
    stop();
    assert!(resume(&place, "out.csv", &[]).1 >= 50);
    assert_made(&place, "out.csv", &expected, "stopped");
    stop();
    assert_eq!(place.run(&arguments("out.csv", &[])).code, 1);
    assert_made(&place, "out.csv", &expected, "without the flag");
}

#[test]
fn a_run_that_is_ended_by_a_signal_leaves_what_it_had_finished_and_no_output() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "csv", &[]);
    for files in [1, 20, 40] {
        let mut running = place.start(&arguments("out.csv", &["--resume"]));
        for _ in 0..files {
            running.stdout_line();
        }
        running.signal_group(Signal::TERM);
        assert_eq!(running.finish().code, 143);
        assert!(!place.path("out.csv").exists());
    }
    assert!(resume(&place, "out.csv", &[]).1 >= 61);
    assert_made(&place, "out.csv", &expected, "ended three times");
}

#[test]
fn two_runs_do_not_make_the_same_output_and_a_device_is_none() {
    let place = Place::new();
    fill(&place);
    let expected = undisturbed(&place, "csv", &[]);
    let mut running = place.start(&arguments("out.csv", &["--resume"]));
    running.stdout_line();
    let refused = |args: &[&str]| {
        let ran = place.run(args);
        (ran.code, ran.stderr.trim().to_owned())
    };
    let message = "procpool: another run is making out.csv";
    assert_eq!(refused(&arguments("out.csv", &["--resume"])), (2, message.into()));
    // Its store is not for others to clear away.
    assert_eq!(place.run(&arguments("out.csv", &[])).code, 1);
    assert!(store(&place, "out.csv")[0].exists());
    assert_eq!(running.finish().code, 1);
    assert_made(&place, "out.csv", &expected, "two runs");
    let message = "procpool: the files have a column id already; give --file-column another name";
    assert_eq!(refused(&arguments("out.csv", &["--resume", "--file-column", "id"])), (2, message.into()));
    assert!(!store(&place, "out.csv")[0].exists());
    let message = "procpool: /dev/null is a device, not a file; name another output with -o";
    assert_eq!(refused(&["table", "in", "-o", "/dev/null", "--format", "csv"]), (2, message.into()));
}
