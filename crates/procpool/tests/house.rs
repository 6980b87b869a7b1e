//! The plan of the house, as ARCHITECTURE.md draws it, held against the code: who may use whom, and where `unsafe` may be.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms of the crate each room may use: only such as stand above it in this list. `error` and `attach` are furniture: values that travel through many rooms.
const ARROWS: &[(&str, &[&str])] = &[
    ("os", &[]),
    ("bulk", &["os"]),
    ("wire", &["bulk"]),
    ("sched", &[]),
    ("error", &[]),
    ("sandbox", &["wire"]),
    ("events", &["error", "sandbox"]),
    ("ring", &["os"]),
    ("attach", &["os"]),
    ("arena", &["bulk", "os", "wire"]),
    ("call", &["attach", "error", "os", "wire"]),
    ("worker", &["arena", "attach", "call", "os", "ring", "wire"]),
    ("supervisor", &["arena", "attach", "call", "error", "events", "os", "ring", "sandbox", "sched", "wire", "worker"]),
    ("options", &["error", "sched"]),
    ("client", &["arena", "attach", "call", "error", "options", "os", "ring", "sched", "supervisor", "wire"]),
    ("future", &["error", "sched", "supervisor"]),
    ("map", &["call", "client", "error", "options", "sched", "supervisor"]),
    ("process", &["attach", "call", "client", "error", "os", "supervisor", "wire"]),
    ("queue", &["attach", "call", "error", "os"]),
    ("shared_file", &["attach"]),
    ("buffer", &["attach", "bulk", "call", "error", "os"]),
    (
        "pool",
        &["attach", "call", "client", "error", "events", "future", "map", "options", "sandbox", "supervisor", "worker"],
    ),
    ("global", &["error", "pool"]),
    ("lang", &["bulk", "call", "client", "error", "options", "os", "pool", "sched", "supervisor", "wire", "worker"]),
    // Not part of the house: compiled for tests and for cargo-fuzz.
    ("fuzz", &["ring", "supervisor", "wire"]),
];

const UNSAFE_ROOMS: &[&str] = &["bulk", "os", "ring", "call"];

/// A file longer than this is asking to be two.
const LONGEST_FILE: usize = 620;

fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found)
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path)
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.sort();
    let room = |path: &Path| {
        let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
    };
    files.into_iter().map(|path| (room(&path), path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The code without comments, strings left alone: enough for the words we look for.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(k, line)| (k + 1, line.split("//").next().unwrap_or_default()))
}

/// The rooms named after `crate::` in a line.
fn rooms_used(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for after in line.split("crate::").skip(1) {
        let names = match after.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
            None => vec![after],
        };
        for name in names {
            rooms.push(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

#[test]
fn arrows_point_only_where_the_plan_says() {
    let plan: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        if room == "lib" {
            continue;
        }
        let allowed = plan.get(room.as_str()).unwrap_or_else(|| panic!("{room} is not on the plan"));
        for (number, line) in code_lines(&text) {
            for used in rooms_used(line) {
                if plan.contains_key(used.as_str()) && used != room && !allowed.contains(&used.as_str()) {
                    wrong.push(format!("{}:{number}: {room} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_plan_has_no_circle() {
    for (k, (room, allowed)) in ARROWS.iter().enumerate() {
        for other in *allowed {
            assert!(
                ARROWS[..k].iter().any(|(above, _)| above == other),
                "{room} may use {other}, which is not above it"
            );
        }
    }
}

#[test]
fn every_arrow_of_the_plan_is_used() {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (room, _, text) in sources() {
        let rooms = code_lines(&text).flat_map(|(_, line)| rooms_used(line));
        used.entry(room).or_default().extend(rooms);
    }
    for (room, allowed) in ARROWS {
        for other in *allowed {
            assert!(used[*room].iter().any(|u| u == other), "{room} does not use {other}: take it off the plan");
        }
    }
}

#[test]
fn unsafe_is_only_where_the_plan_says_and_always_argued() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code_lines(&text) {
            let unsafe_code = line.contains("unsafe {")
                || line.contains("unsafe impl")
                || line.contains("unsafe fn")
                || line.contains("unsafe extern");
            if !unsafe_code {
                continue;
            }
            if !UNSAFE_ROOMS.contains(&room.as_str()) {
                wrong.push(format!("{}:{number}: unsafe in {room}", path.display()));
            }
            // A function says in its documentation what its callers owe, or argues like everybody else.
            let argument =
                |l: &&str| l.contains("// SAFETY:") || line.contains("unsafe fn") && l.contains("/// # Safety");
            let argued = lines[number.saturating_sub(7)..number].iter().any(argument);
            if !argued {
                wrong.push(format!("{}:{number}: unsafe without its argument", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What reads the clock on the wall, which can be set at any moment. Whatever waits or has a deadline here goes by the monotonic
/// clock, so that a step of the other one cannot be noticed: there is nothing that could.
#[test]
fn nothing_reads_the_clock_on_the_wall() {
    const READERS: &[&str] =
        &["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME", "Realtime", "gettimeofday", "libc::time(", "CLOCK_TAI"];
    let mut wrong = Vec::new();
    for (_, path, text) in sources() {
        for (number, line) in code_lines(&text) {
            if READERS.iter().any(|reader| line.contains(reader)) {
                wrong.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_fit_in_the_head() {
    for (_, path, text) in sources() {
        assert!(text.lines().count() <= LONGEST_FILE, "{} has {} lines", path.display(), text.lines().count());
    }
}

#[test]
fn nothing_that_runs_in_production_unwraps() {
    let mut wrong = Vec::new();
    for (_, path, text) in sources() {
        if ["tests.rs", "model.rs", "simulation.rs", "stress.rs", "fuzz.rs"].iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code_lines(before_tests) {
            if line.contains(".unwrap()")
                || line.contains(".expect(")
                || line.contains("todo!(")
                || line.contains("dbg!(")
            {
                wrong.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
