//! The log, and runs that go on from it.

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use common::{Place, Ran};
use rustix::process::Signal;
use serde_json::{Value, json};

fn records(place: &Place, log: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(log)).expect("log");
    assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn of_kind<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

/// The inputs that ended so, in the order of the log.
fn ended(records: &[Value], outcome: &str) -> Vec<String> {
    let ends = of_kind(records, "input_ended").into_iter().filter(|record| record["outcome"] == outcome);
    ends.map(|record| record["input"].as_str().expect("text").to_owned()).collect()
}

/// The lines of the summary after the first.
fn rest(ran: &Ran) -> Vec<String> {
    ran.summary()[1..].to_vec()
}

fn skipped(count: usize) -> String {
    format!("{count} skipped: done before, says the log, and unchanged")
}

/// Makes the file look changed a second ago, whatever the clock's grain is.
fn touch(place: &Place, name: &str) {
    let time = SystemTime::now() - Duration::from_secs(1);
    let file = OpenOptions::new().write(true).open(place.path(name)).expect("file");
    file.set_times(FileTimes::new().set_modified(time)).expect("times");
}

#[test]
fn the_log_tells_everything_of_every_input() {
    let place = Place::new();
    let latin1 = OsStr::from_bytes(b"caf\xe9.jpg");
    place.picture(latin1, "wren.jpg");
    place.write("text.jpg", "plain text");
    let inputs = [OsStr::new("thumbs"), latin1, OsStr::new("text.jpg"), OsStr::new("none.jpg")];
    let flags = ["--log", "run.log", "--cpu-time", "50s", "--retries", "1", "-j", "1"].map(OsStr::new);
    let ran = place.run(&[&inputs[..], &flags[..]].concat());
    assert_eq!((ran.code, ran.summary()[0].as_str()), (1, "1 thumbnail made"), "{ran:?}");
    let records = records(&place, "run.log");
    for record in &records {
        let at = record["at"].as_str().expect("text");
        let shape: String = at.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99T99:99:99.999999999Z");
        assert!(record["at_ns"].is_u64());
    }
    let first = &records[0];
    assert_eq!(
        (&first["procpool_log"], &first["event"], &first["job"]),
        (&json!(1), &json!("run_started"), &json!("thumbs"))
    );
    assert_eq!(first["options"]["picture"]["bounds"], json!({"width": 128, "height": 128}));
    assert_eq!((&first["inputs"], &first["unchanged"]), (&json!(3), &json!(0)));
    let started = of_kind(&records, "pool_started");
    let expected = json!([
        {"what": "timeout", "value": 60_000_000_000_u64, "means": "clock"},
        {"what": "cpu_time", "value": 50_000_000_000_u64, "means": "watch"},
        {"what": "memory", "value": 2_147_483_648_u64, "means": "watch"},
    ]);
    assert_eq!((started.len(), &started[0]["limits"], &started[0]["retries"]), (1, &expected, &json!(1)));
    let ready = of_kind(&records, "worker_ready");
    assert!(ready.len() == 1 && ready[0]["sandbox"]["no_new_privs"].is_boolean(), "{ready:?}");
    assert_eq!(of_kind(&records, "worker_started").len(), 1);
    assert_eq!(of_kind(&records, "worker_ended").len(), 1);
    let begun: Vec<&Value> = of_kind(&records, "input_begun").iter().map(|record| &record["input"]).collect();
    assert_eq!(begun, ["caf\u{fffd}.jpg", "text.jpg"]);

    let ends = of_kind(&records, "input_ended");
    let end = |input: &str| *ends.iter().find(|record| record["input"] == input).expect("an end");
    let picture = end("caf\u{fffd}.jpg");
    assert_eq!(picture["input_bytes"], json!(b"caf\xe9.jpg".as_slice()));
    let outputs = json!([{"path": "thumbs/caf\u{fffd}.jpg", "path_bytes": b"thumbs/caf\xe9.jpg".as_slice()}]);
    assert_eq!((&picture["outcome"], &picture["outputs"]), (&json!("done"), &outputs));
    assert_eq!(picture["result"], json!({"sizes": [[128, 72]]}));
    let found = fs::metadata(place.path(latin1)).expect("input");
    assert_eq!(picture["size"], found.size());
    assert_eq!(picture["mtime_ns"], found.mtime() * 1_000_000_000 + found.mtime_nsec());
    assert_eq!((&picture["attempt"], &picture["worker"]), (&json!(1), &json!(0)));
    assert_eq!(picture["pid"], of_kind(&records, "worker_started")[0]["pid"]);
    for figure in ["queued_ns", "run_ns", "peak_memory"] {
        assert!(picture[figure].as_u64().is_some_and(|value| value > 0), "{figure}: {picture}");
    }
    let text = end("text.jpg");
    let message = r#"not a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF picture: it begins with "plain te""#;
    assert_eq!(text["error"], json!({"kind": "not-a-picture", "blame": "task", "message": message}));
    assert!(text["run_ns"].is_u64() && text.get("outputs").is_none());
    let none = end("none.jpg");
    assert_eq!(none["error"], json!({"kind": "not-found", "blame": "caller", "message": "there is no such file"}));
    assert!(none.get("attempt").is_none() && none.get("size").is_none());
    let last = records.last().expect("a record");
    assert_eq!((&last["event"], &last["done"], &last["failed"]), (&json!("run_ended"), &json!(1), &json!(2)));
}

#[test]
fn a_worker_that_dies_is_in_the_log_and_so_is_the_next_attempt() {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    let flags = [
        "count",
        "big",
        "--chunk-size",
        "none",
        "--log",
        "l",
        "--timeout",
        "50ms",
        "--retries",
        "1",
        "--retry-on",
        "timed-out",
    ];
    assert_eq!(place.run(&flags).code, 1);
    let records = records(&place, "l");
    let attempts: Vec<&Value> = of_kind(&records, "input_begun").iter().map(|record| &record["attempt"]).collect();
    assert_eq!(attempts, [1, 2]);
    let ended = of_kind(&records, "worker_ended");
    assert!(ended.iter().filter(|record| record["busy"] == true).count() == 2, "{ended:?}");
    let end = of_kind(&records, "input_ended")[0];
    assert_eq!(
        (&end["attempt"], &end["error"]["kind"], &end["error"]["blame"]),
        (&json!(2), &json!("timed-out"), &json!("task"))
    );
    assert!(end["run_ns"].as_u64().is_some_and(|ns| ns >= 50_000_000) && end["peak_memory"].is_u64(), "{end}");
    // Of deaths only such as were asked for are tried again.
    let flags = [
        "count",
        "big",
        "--chunk-size",
        "none",
        "--log",
        "m",
        "--timeout",
        "50ms",
        "--retries",
        "1",
        "--retry-on",
        "died",
    ];
    assert_eq!(place.run(&flags).code, 1);
    assert_eq!(of_kind(&self::records(&place, "m"), "input_ended")[0]["attempt"], 1);
}

#[test]
fn a_killed_run_and_the_one_that_goes_on_make_a_whole() {
    for lines in [1, 7, 20] {
        let place = Place::new();
        let names: BTreeSet<String> = (0..60).map(|n| format!("{n:02}.jpg")).collect();
        for name in &names {
            place.picture(name, "wren.jpg");
        }
        let args = ["thumbs", "-j", "2", "--log", "run.log", "--resume"];
        let mut running = place.start(&args);
        for _ in 0..lines {
            assert!(running.stdout_line().starts_with("A thumbnail for "));
        }
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, -9);
        let before = ended(&records(&place, "run.log"), "done");
        assert!((lines..60).contains(&before.len()), "{}", before.len());
        for name in &before {
            let bytes = fs::read(place.path("thumbs").join(name)).expect("what the log says is done is there");
            assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]));
        }
        let ran = place.run(&args);
        assert_eq!((ran.code, rest(&ran)), (0, vec![skipped(before.len())]));
        assert_eq!(ran.stdout.lines().count(), 60 - before.len());
        // Each input is done in exactly one of the runs.
        let all = ended(&records(&place, "run.log"), "done");
        assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>()), (60, names.clone()));
        assert_eq!(place.listing("thumbs"), names.into_iter().collect::<Vec<_>>());
        let ran = place.run(&args);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.summary()),
            (0, "", vec!["0 thumbnails made".into(), skipped(60)])
        );
    }
}

#[test]
fn a_torn_last_line_is_passed_over() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(name, name);
    }
    let args = ["count", "-m", "a", "b", "c", "-j", "1", "--log", "l", "--resume"];
    assert_eq!(place.run(&args).code, 0);
    let whole = fs::read(place.path("l")).expect("log");
    let text = String::from_utf8(whole.clone()).expect("text");
    let end_of_c = text.find(r#""event":"input_ended","input":"c""#).expect("the end of c");
    for cut in [end_of_c, end_of_c + 30, 10, 1, 0] {
        fs::write(place.path("l"), &whole[..cut]).expect("cut");
        let ran = place.run(&args);
        let expected = if cut >= end_of_c { 2 } else { 0 };
        let skips = if expected > 0 { vec![skipped(expected)] } else { vec![] };
        assert_eq!((ran.code, rest(&ran)), (0, skips), "{cut}");
        assert_eq!(ran.stdout, "1  a\n1  b\n1  c\n3  total of 3 files\n");
        assert_eq!(ended(&records(&place, "l"), "done").len(), 3, "{cut}");
    }
}

#[test]
fn what_has_changed_is_done_again_and_what_has_failed_too() {
    let place = Place::new();
    for name in ["bigger.jpg", "gone.jpg", "same.jpg", "touched.jpg"] {
        place.picture(name, "wren.jpg");
    }
    place.write("text.jpg", "plain text");
    let args = ["thumbs", "--log", "run.log", "--resume"];
    let failed = "1 failed: 1 not a picture".to_owned();
    let ran = place.run(&args);
    assert_eq!((ran.code, ran.summary()), (1, vec!["4 thumbnails made".into(), failed.clone()]));
    let ran = place.run(&args);
    assert_eq!((ran.code, ran.summary()), (1, vec!["0 thumbnails made".into(), failed, skipped(4)]));

    touch(&place, "touched.jpg");
    place.picture("bigger.jpg", "otters.jpg");
    fs::remove_file(place.path("thumbs/gone.jpg")).expect("remove");
    place.picture("text.jpg", "lake.jpg");
    let ran = place.run(&args);
    let expected = "\
A thumbnail for bigger.jpg was saved as thumbs/bigger.jpg
A thumbnail for gone.jpg was saved as thumbs/gone.jpg
A thumbnail for text.jpg was saved as thumbs/text.jpg
A thumbnail for touched.jpg was saved as thumbs/touched.jpg
";
    assert_eq!((ran.code, ran.stdout.as_str(), rest(&ran)), (0, expected, vec![skipped(1)]));
    let ran = place.run(&["thumbs", "--log", "run.log", "--resume", "--json", "same.jpg"]);
    let same = json!({"input": "same.jpg", "ok": true, "unchanged": true, "output": "thumbs/same.jpg", "width": 128, "height": 72});
    assert_eq!((ran.code, &ran.records()[0]), (0, &same));
    assert_eq!((&ran.records()[1]["done"], &ran.records()[1]["unchanged"]), (&json!(0), &json!(1)));
    // Without --resume everything is done, and the log goes on.
    let ran = place.run(&["thumbs", "--log", "run.log"]);
    assert_eq!((ran.code, ran.summary()), (0, vec!["5 thumbnails made".to_owned()]));
    assert_eq!(of_kind(&records(&place, "run.log"), "run_started").len(), 5);
}

#[test]
fn other_options_make_everything_anew() {
    let place = Place::new();
    place.picture("a.jpg", "wren.jpg");
    place.picture("b.jpg", "wren.jpg");
    let run = |flags: &[&str]| {
        let ran = place.run(&[&["thumbs", "a.jpg", "b.jpg", "--log", "l", "--resume"], flags].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        rest(&ran)
    };
    let none: [String; 0] = [];
    assert_eq!(run(&[]), none);
    assert_eq!(run(&["--size", "64"]), none);
    assert_eq!(run(&["--size", "64", "-j", "1", "--retries", "3"]), [skipped(2)], "not an option of the thumbnails");
    assert_eq!(run(&[]), none, "the thumbnails that are there are small");
    assert_eq!(run(&["--blur", "0.1"]), none);
    assert_eq!(run(&["--blur", "0.1"]), [skipped(2)]);
    assert_eq!(run(&["--blur", "0.1", "-o", "other"]), none);
    let ran = place.run(&["count", "--strict", "a.jpg", "--log", "l", "--resume"]);
    assert_eq!((ran.code, ran.summary().len()), (1, 2), "another job: {ran:?}");
}

#[test]
fn counts_that_are_skipped_are_part_of_the_total() {
    let place = Place::new();
    place.write("in/a", "12345");
    place.write("in/b", "123");
    place.write("in/latin1", b"caf\xe9");
    let full = place.run(&["count", "-m", "--strict", "in"]);
    let args = ["count", "-m", "--strict", "in", "--log", "in/run.log", "--resume"];
    let first = place.run(&args);
    assert_eq!((first.code, &first.stdout), (1, &full.stdout));
    place.write("in/c", "1");
    let full = place.run(&["count", "-m", "--strict", "in/a", "in/b", "in/c", "in/latin1"]);
    // The log is in the folder now, and is not counted.
    let second = place.run(&args);
    let squeezed = |text: &str| text.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>();
    assert_eq!((second.code, squeezed(&second.stdout)), (1, squeezed(&full.stdout)));
    assert_eq!(second.summary(), ["1 file counted", "1 failed: 1 not UTF-8", &skipped(2)]);
    let third = place.run(&["count", "-m", "--strict", "in", "--log", "in/run.log", "--resume", "--json", "--pids"]);
    let records = third.records();
    assert_eq!((&records[0]["characters"], records[0]["pid"].is_u64()), (&json!(5), true));
    assert_eq!((&records[4]["characters"], &records[4]["unchanged"]), (&json!(9), &json!(3)));
}

#[test]
fn a_file_that_is_no_log_is_left_alone() {
    let place = Place::new();
    let picture = place.picture("a.jpg", "wren.jpg");
    let before = fs::read(&picture).expect("picture");
    for flags in [&["--log", "a.jpg"][..], &["--log", "a.jpg", "--resume"]] {
        let ran = place.run(&[&["thumbs", "a.jpg"], flags].concat());
        let message = "procpool: a.jpg is there and is not a log of procpool; name another file\n";
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (2, "", message));
    }
    assert_eq!(fs::read(&picture).expect("picture"), before);
    let ran = place.run(&["thumbs", "a.jpg", "--resume"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let ran = place.run(&["thumbs", "a.jpg", "--log", "no/such/folder/l"]);
    let message = "procpool: cannot use the log no/such/folder/l: No such file or directory\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
    let ran = place.run(&["thumbs", "a.jpg", "--log", "/dev/null", "--resume"]);
    let message = "procpool: --resume needs a log that can be read again, and /dev/null is not a file\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
    // A line in the middle that is no record: this file cannot be trusted.
    assert_eq!(place.run(&["count", "--strict", "a.jpg", "--log", "l"]).code, 1);
    let log = place.path("l");
    OpenOptions::new().append(true).open(&log).and_then(|mut file| file.write_all(b"junk\n")).expect("append");
    let before = fs::read(&log).expect("log");
    let ran = place.run(&["count", "--strict", "a.jpg", "--log", "l", "--resume"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.starts_with("procpool: cannot use the log l: line ")
            && ran.stderr.ends_with(" is no record of it\n")
    );
    assert_eq!(fs::read(&log).expect("log"), before);
    assert_eq!(place.listing("."), ["a.jpg", "l"]);
    // The output of a picture may not take the place of the log.
    let ran = place.run(&["thumbs", "a.jpg", "-o", "out", "--log", "out.log"]);
    assert_eq!(ran.code, 0);
    fs::rename(place.path("out.log"), place.path("out/a.jpg")).expect("rename");
    let ran = place.run(&["thumbs", "a.jpg", "-o", "out", "--log", "out/a.jpg"]);
    assert_eq!(
        (ran.code, ran.failures()),
        (1, vec!["a.jpg: was left out: its output out/a.jpg would replace the log"])
    );
}

#[test]
fn a_log_belongs_to_one_run_at_a_time() {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    place.write("small", "1");
    let running = place.start(&["count", "big", "--log", "l"]);
    running.worker_reading(&place.path("big"));
    let ran = place.run(&["count", "small", "--log", "l", "--resume"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "procpool: another run is writing to the log l\n"));
    OpenOptions::new().write(true).open(place.path("big")).and_then(|file| file.set_len(0)).expect("shorten");
    assert_eq!(running.finish().code, 0);
    assert_eq!(place.run(&["count", "small", "--log", "l", "--resume"]).code, 0);
}

#[test]
fn a_log_that_cannot_be_written_ends_but_not_the_run() {
    let place = Place::new();
    place.write("a", "1");
    place.write("b", "22");
    let ran = place.run(&["count", "-m", "a", "b", "--log", "/dev/full"]);
    assert_eq!(ran.stdout, "1  a\n2  b\n3  total of 2 files\n");
    assert_eq!(ran.failures(), ["procpool: cannot write to the log /dev/full: No space left on device; it ends here"]);
    assert_eq!((ran.code, ran.summary()), (1, vec!["2 files counted".to_owned()]));
}

#[test]
fn a_run_that_was_stopped_can_be_gone_on_with() {
    let place = Place::new();
    place.write("a", "1");
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    place.write("c", "333");
    let args = ["count", "a", "big", "c", "-j", "1", "--log", "l", "--resume"];
    let mut running = place.start(&args);
    running.stdout_line();
    running.worker_reading(&place.path("big"));
    running.signal(Signal::INT);
    running.stderr_line();
    OpenOptions::new().write(true).open(place.path("big")).and_then(|file| file.set_len(0)).expect("shorten");
    assert_eq!(running.finish().code, 130);
    let last = records(&place, "l").pop().expect("a record");
    assert_eq!(
        (&last["event"], &last["interrupted"], &last["not_begun"]),
        (&json!("run_ended"), &json!(true), &json!(1))
    );
    let ran = place.run(&args);
    // The file was another one when its counting began.
    assert_eq!((ran.code, ran.summary()), (0, vec!["2 files counted".into(), skipped(1)]));
}

#[test]
fn limits_do_what_they_say() {
    let place = Place::new();
    for name in ["a", "b", "c", "d"] {
        place.write(name, "1");
    }
    let recycled = |log: &str| {
        let records = records(&place, log);
        of_kind(&records, "worker_retired").iter().filter(|record| record["recycled"] == true).count()
    };
    let ran = place.run(&["count", "a", "b", "c", "d", "-j", "1", "--tasks-per-worker", "1", "--log", "tasks"]);
    assert_eq!((ran.code, recycled("tasks")), (0, 4));
    let ran = place.run(&["count", "a", "b", "c", "d", "-j", "1", "--log", "none", "--threads"]);
    assert_eq!((ran.code, recycled("none")), (0, 0));
    assert!(of_kind(&records(&place, "none"), "input_ended").iter().all(|record| record.get("pid").is_none()));

    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    let ran = place.run(&["count", "big", "a", "-j", "1", "--cpu-time", "100ms", "--no-sandbox"]);
    assert_eq!(ran.summary(), ["1 file counted", "1 failed: 1 took too long"]);
    assert!(ran.failures()[0].starts_with("big: it used more CPU time than its limit of 100ms"), "{}", ran.stderr);
}
