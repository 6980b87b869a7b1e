//! `procpool dataset`: which pictures are in, under which names, and that the set depends on nothing else.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use common::{Dice, Place, Ran, pid_of, wait_until};
use rustix::process::{Signal, kill_process_group};
use serde_json::Value;

fn dataset(place: &Place, args: &[&str]) -> Ran {
    place.run(&[&["dataset"], args].concat())
}

/// A picture of `size` that looks like no other: some patches of colour.
fn png(seed: u64, size: (u32, u32)) -> Vec<u8> {
    let mut dice = Dice(seed);
    let patches: Vec<[u8; 3]> = (0..64).map(|_| [0; 3].map(|_| dice.roll(256) as u8)).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    let pixel = |x, y| patches[(y * 8 / size.1 * 8 + x * 8 / size.0) as usize];
    let data: Vec<u8> = (0..size.1).flat_map(|y| (0..size.0).flat_map(move |x| pixel(x, y))).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&data)).expect("encoded");
    bytes
}

/// Every file below a folder, with what it holds.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("file");
                files.push((path.strip_prefix(folder).expect("below").to_owned(), bytes));
            }
        }
    }
    files.sort();
    files
}

fn manifest(place: &Place, set: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(set).join("manifest.jsonl")).expect("manifest");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn about(place: &Place, set: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(set).join("dataset.json")).expect("file")).expect("JSON")
}

/// Of each line of the manifest the source, and where it went or why it went nowhere.
fn fates(manifest: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    manifest
        .iter()
        .map(|line| {
            let fate = if line["output"].is_null() { &line["dropped"] } else { &line["output"] };
            (text(&line["source"]), text(fate))
        })
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(source, fate)| ((*source).to_owned(), (*fate).to_owned())).collect()
}

/// Pictures of every kind of fate.
fn mixed(place: &Place) {
    for number in 0..40 {
        let class = ["cat", "dog", "emu"][number as usize % 3];
        place.write(format!("in/{class}/{number:02}.png"), png(number, (40 + number as u32, 50)));
    }
    place.picture("in/emu/wren.jpg", "wren.jpg");
    place.write("in/cat/deep/00.png", png(100, (30, 30)));
    place.write("in/dog/copy.png", png(0, (40, 50)));
    place.write("in/dog/alike.png", png(0, (80, 100)));
    place.write("in/dog/small.png", png(101, (5, 50)));
    place.write("in/dog/long.png", png(102, (200, 20)));
    place.write("in/dog/torn.png", &png(103, (40, 50))[..80]);
    place.write("in/dog/text.jpg", "no picture");
    place.write("in/dog/empty.jpg", "");
    place.write("in/top.png", png(104, (40, 50)));
}

#[test]
fn the_set_has_the_same_bytes_whatever_the_number_of_workers() {
    let place = Place::new();
    mixed(&place);
    for format in ["folder", "webdataset", "parquet"] {
        let make = |jobs: &str| {
            let set = format!("{format}{jobs}");
            let args =
                "--size 32 --min-size 10 --max-aspect 5 --dedup similar --split train=0.7,val=0.3 --shard-size 8KiB";
            let args: Vec<&str> = args.split(' ').collect();
            let ran = dataset(&place, &[&["in", "-o", &set, "-j", jobs, "--format", format], &args[..]].concat());
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            tree(&place.path(set))
        };
        let one = make("1");
        assert!(one.len() > 4, "{format} has {} files", one.len());
        for jobs in ["2", "7"] {
            assert!(make(jobs) == one, "{format} differs with {jobs} workers");
        }
    }
}

#[test]
fn each_picture_has_its_line_and_its_place() {
    let place = Place::new();
    mixed(&place);
    let ran = dataset(
        &place,
        &["in", "-o", "set", "--size", "32", "--min-size", "10", "--max-aspect", "5", "--dedup", "similar"],
    );
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let lines = manifest(&place, "set");
    let fates = fates(&lines);
    let expected: Vec<(String, String)> = fates
        .iter()
        .map(|(source, _)| {
            let name = source.trim_start_matches("in/").trim_end_matches(".png").trim_end_matches(".jpg");
            let fate = match name {
                "cat/deep/00" => "train/cat/00-2.jpg".to_owned(),
                "dog/copy" => "duplicate".into(),
                "dog/alike" => "similar".into(),
                "dog/small" => "too-small".into(),
                "dog/long" => "too-long".into(),
                "dog/torn" => "damaged".into(),
                "dog/text" => "not-a-picture".into(),
                "dog/empty" => "empty".into(),
                "top" => "no-class".into(),
                name => format!("train/{name}.jpg"),
            };
            (source.clone(), fate)
        })
        .collect();
    assert_eq!(fates, expected);
    assert_eq!(lines.len(), 50);
    let line = |name: &str| lines.iter().find(|line| line["source"] == name).expect("a line");
    assert_eq!(line("in/dog/copy.png")["why"], "is the same as in/cat/00.png");
    assert_eq!(line("in/dog/alike.png")["why"], "looks the same as in/cat/00.png");
    assert_eq!(line("in/dog/small.png")["why"], "is only 5 x 50 pixels large");
    assert_eq!(
        (&line("in/emu/wren.jpg")["class"], &line("in/emu/wren.jpg")["split"]),
        (&"emu".into(), &"train".into())
    );
    let files: Vec<String> = place.listing("set");
    let mut outputs: Vec<String> = lines.iter().filter_map(|line| line["output"].as_str()).map(str::to_owned).collect();
    outputs.extend(["dataset.json".into(), "manifest.jsonl".into()]);
    outputs.sort();
    assert_eq!(files, outputs);
    let about = about(&place, "set");
    assert_eq!(about["classes"], serde_json::json!(["cat", "dog", "emu"]));
    assert_eq!(about["splits"]["train"]["classes"], serde_json::json!({"cat": 15, "dog": 13, "emu": 14}));
    let counts = serde_json::json!({"no-class": 1, "too-small": 1, "too-long": 1, "duplicate": 1, "similar": 1});
    assert_eq!(about["dropped"], counts);
    assert_eq!(ran.summary(), ["47 pictures read", "3 failed: 1 empty, 1 not a picture, 1 damaged"]);
    assert_eq!(ran.failures().len(), 3, "{}", ran.stderr);
}

#[test]
fn a_picture_stays_in_its_split_when_others_come_and_go() {
    let place = Place::new();
    let split = |set: &str, args: &[&str]| {
        let ran = dataset(&place, &[&["in", "-o", set, "--size", "16", "--split", "a=0.5,b=0.5"], args].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        manifest(&place, set).into_iter().map(|line| (line["sha256"].to_string(), line["split"].to_string())).collect()
    };
    for number in 0..20 {
        place.write(format!("in/x/{number}.png"), png(number, (20, 20)));
    }
    let before: std::collections::BTreeMap<String, String> = split("one", &[]);
    for number in 20..40 {
        place.write(format!("in/w/{number}.png"), png(number, (20, 20)));
        fs::rename(place.path(format!("in/x/{}.png", number - 20)), place.path(format!("in/w/n{number}.png")))
            .expect("renamed");
    }
    let after: std::collections::BTreeMap<String, String> = split("two", &["--format", "webdataset"]);
    assert_eq!((before.len(), after.len()), (20, 40));
    assert!(before.iter().all(|(hash, split)| after[hash] == *split));
    let in_a = before.values().filter(|split| *split == "\"a\"").count();
    assert!((1..20).contains(&in_a), "{in_a} in a");
}

#[test]
fn labels_say_the_classes() {
    let place = Place::new();
    for name in ["a", "b", "sub/c", "d", "e"] {
        place.write(format!("in/{name}.png"), png(name.len() as u64 + u64::from(name.as_bytes()[0]), (20, 20)));
    }
    place.write(
        "labels.csv",
        "path,label\na.png,\"tabby, cat\"\nin/b.png,..\nsub/c.png,dog\nd.png,1\nd.png,2\ngone.png,dog\n../in/a.png,x\n",
    );
    let ran = dataset(&place, &["in", "--labels", "labels.csv", "-o", "set"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expected = [
        ("in/a.png", "train/tabby, cat/a.jpg"),
        ("in/b.png", "no-class"),
        ("in/d.png", "no-class"),
        ("in/e.png", "no-class"),
        ("in/sub/c.png", "train/dog/c.jpg"),
        ("gone.png", "not-found"),
        ("../in/a.png", "not-found"),
    ];
    assert_eq!(fates(&manifest(&place, "set")), pairs(&expected));
    let expected = [
        "in/b.png: its class \"..\" begins with a dot",
        "in/d.png: the labels say both 1 and 2",
        "gone.png: the labels name it, and it is not among the pictures",
        "../in/a.png: the labels name it, and it is not among the pictures",
    ];
    assert_eq!(ran.failures(), expected);
    assert_eq!(about(&place, "set")["classes"], serde_json::json!(["dog", "tabby, cat"]));
    place.write("labels.csv", "a.png,cat\n");
    let ran = dataset(&place, &["in", "--labels", "labels.csv", "-o", "other"]);
    let message = "procpool: the labels labels.csv: the first line has to name the columns, path and label\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
    assert!(!place.path("other").exists());
}

#[test]
fn names_of_any_bytes_are_kept() {
    let place = Place::new();
    let names: [&[u8]; 5] = [b"a\tb\nc.png", b"caf\xe9.png", b"-x.png", b"d.e.f.png", "日本.png".as_bytes()];
    for (number, name) in names.iter().enumerate() {
        place.write(Path::new("in/x").join(OsStr::from_bytes(name)), png(number as u64, (20, 20)));
    }
    place.write(Path::new("in").join(OsStr::from_bytes(b"bad\xff/y.png")), png(9, (20, 20)));
    for format in ["folder", "webdataset", "parquet"] {
        let ran = dataset(&place, &["in", "-o", format, "--format", format]);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert_eq!(ran.failures(), ["in/bad\\xff/y.png: its class \"bad\\xff\" is not UTF-8"]);
        assert_eq!(manifest(&place, format).len(), 6);
    }
    for name in names {
        let stem = &name[..name.len() - 4];
        let path = place.path("folder/train/x").join(OsStr::from_bytes(&[stem, b".jpg"].concat()));
        assert!(path.exists(), "{}", path.display());
    }
    assert_eq!(place.listing("webdataset"), ["dataset.json", "manifest.jsonl", "train-000000.tar"]);
    assert_eq!(place.listing("parquet"), ["dataset.json", "manifest.jsonl", "train-00000.parquet"]);
}

#[test]
fn what_is_there_is_not_touched_unless_it_is_a_set_and_that_is_said() {
    let place = Place::new();
    place.write("in/x/1.png", png(1, (20, 20)));
    place.write("own/notes.txt", "mine");
    let ran = dataset(&place, &["in", "-o", "own"]);
    let message = "procpool: own is not empty; name another folder with -o, or say --replace to make it anew\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
    let ran = dataset(&place, &["in", "-o", "own", "--replace"]);
    let message =
        "procpool: own is no set that procpool has made, and so is not replaced; name another folder with -o\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, message));
    assert_eq!(place.listing("own"), ["notes.txt"]);
    assert_eq!(dataset(&place, &["in", "-o", "set"]).code, 0);
    place.write("in/x/2.png", png(2, (20, 20)));
    assert_eq!(dataset(&place, &["in", "-o", "set"]).code, 2);
    assert_eq!(dataset(&place, &["in", "-o", "set", "--replace", "--format", "webdataset"]).code, 0);
    assert_eq!(place.listing("set"), ["dataset.json", "manifest.jsonl", "train-000000.tar"]);
    assert_eq!(
        place.listing("."),
        ["in/x/1.png", "in/x/2.png", "own/notes.txt", "set/dataset.json", "set/manifest.jsonl", "set/train-000000.tar"]
    );
}

#[test]
fn a_set_of_nothing_is_not_made() {
    let place = Place::new();
    place.write("in/x/1.png", "no picture");
    place.write("in/2.png", png(2, (20, 20)));
    let ran = dataset(&place, &["in", "-o", "set"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr.lines().last(), Some("procpool: no picture is left, so no set was made"));
    assert_eq!(place.listing("."), ["in/2.png", "in/x/1.png"]);
    let ran = dataset(&place, &["in/x", "-o", "set", "--split", "a=0.5"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("the shares are to add up to 1, and these make 0.5"), "{}", ran.stderr);
}

/// A run in the middle of its work: one picture is done, many are not. It stands still there, since nobody reads on what it tells:
/// with names of this length that fills the pipe.
fn stuck(place: &Place) -> common::Running {
    let name = |number| format!("in/x/{number:03}-{}.jpg", "long".repeat(45));
    let first = place.picture(name(0), "lake.jpg");
    for number in 1..400 {
        fs::hard_link(&first, place.path(name(number))).expect("link");
    }
    let mut running = place.start(&["dataset", "in", "-o", "set", "-j", "1", "--dedup", "none"]);
    running.stdout_line();
    running
}

#[test]
fn a_run_that_is_stopped_or_ended_leaves_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let running = stuck(&place);
        running.signal_group(signal);
        let ran = running.finish();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(!place.path("set").exists());
        assert!(place.listing(".").iter().all(|name| name.starts_with("in/")), "{:?}", place.listing("."));
    }
}

#[test]
fn what_a_killed_run_leaves_is_removed_by_the_next() {
    let place = Place::new();
    let running = stuck(&place);
    kill_process_group(pid_of(running.id()), Signal::KILL).expect("killed");
    assert_eq!(running.finish().code, -9);
    assert!(!place.path("set").exists());
    let hidden = || place.listing(".").iter().filter(|name| name.starts_with(".procpool-")).count();
    wait_until(|| hidden() > 0);
    fs::remove_dir_all(place.path("in")).expect("removed");
    place.write("in/x/1.png", png(1, (20, 20)));
    assert_eq!(dataset(&place, &["in", "-o", "set"]).code, 0);
    assert_eq!(hidden(), 0);
    assert_eq!(place.listing("set/train"), ["x/1.jpg"]);
}

#[test]
fn a_log_and_objects_tell_the_same() {
    let place = Place::new();
    place.write("in/x/1.png", png(1, (20, 20)));
    place.write("in/x/2.png", png(1, (20, 20)));
    place.write("in/x/3.png", "no picture");
    let ran = dataset(&place, &["in", "-o", "set", "--json", "--log", "run.log"]);
    assert_eq!(ran.code, 1);
    let records = ran.records();
    assert_eq!(records.len(), 4);
    assert_eq!((&records[0]["ok"], &records[0]["output"]), (&true.into(), &"train/x/1.jpg".into()));
    assert_eq!((&records[1]["ok"], &records[1]["dropped"]), (&true.into(), &"duplicate".into()));
    assert_eq!((&records[2]["ok"], &records[2]["error"]["kind"]), (&false.into(), &"not-a-picture".into()));
    assert_eq!((&records[3]["done"], &records[3]["splits"]["train"]["pictures"]), (&2.into(), &1.into()));
    let log = fs::read_to_string(place.path("run.log")).expect("log");
    let ended: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["event"] == "input_ended")
        .collect();
    assert_eq!(ended.len(), 3);
    assert_eq!(ended[1]["result"]["why"], "is the same as in/x/1.png");
}
