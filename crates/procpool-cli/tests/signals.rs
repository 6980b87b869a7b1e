//! Ctrl-C, SIGTERM, and workers that are killed.
//!
//! A file of 1 TiB that is all hole keeps a worker counting for minutes, so what a signal meets is known; made short,
//! it lets the worker finish.

mod common;

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;

use common::{BINARY, Place, Running, descendants, pid_of, wait_until};
use rustix::process::{Signal, kill_process, test_kill_process};

const STOPPING: &str = "stopping: what runs is finished first; Ctrl-C again ends at once\n";

/// `count small big later` with one worker that is known to be in the middle of `big`.
fn in_the_middle(place: &Place) -> Running {
    place.write("small", "12345");
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    place.write("later", "123");
    let mut running = place.start(&["count", "-m", "-j", "1", "small", "big", "later"]);
    assert_eq!(running.stdout_line().trim(), "5  small");
    running.worker_reading(&place.path("big"));
    running
}

fn let_finish(big: &Path) {
    OpenOptions::new().write(true).open(big).and_then(|file| file.set_len(0)).expect("shorten");
}

fn assert_gone(pids: &[u32]) {
    for &pid in pids {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let alive = test_kill_process(pid_of(pid)).is_ok() && !state.contains(") Z ");
        assert!(!alive, "worker {pid} is still there: {state}");
    }
}

#[test]
fn the_first_ctrl_c_finishes_what_runs_and_begins_nothing_more() {
    let place = Place::new();
    let mut running = in_the_middle(&place);
    running.signal_group(Signal::INT);
    assert_eq!(running.stderr_line(), STOPPING);
    let_finish(&place.path("big"));
    let ran = running.finish();
    let names: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_once("  ").map(|(_, name)| name)).collect();
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
    assert!(names[1].ends_with("big") && ran.stdout.ends_with("total of 2 files\n"), "{ran:?}");
    assert_eq!(ran.summary(), ["2 files counted", "stopped: 1 not begun"]);
    assert_eq!(ran.code, 130);
}

#[test]
fn the_second_ctrl_c_ends_at_once() {
    let place = Place::new();
    let mut running = in_the_middle(&place);
    let workers = descendants(running.id());
    running.signal_group(Signal::INT);
    assert_eq!(running.stderr_line(), STOPPING);
    running.signal_group(Signal::INT);
    let ran = running.finish();
    assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.as_str()), (130, 1, STOPPING));
    assert_gone(&workers);
}

#[test]
fn sigterm_ends_at_once() {
    let place = Place::new();
    let running = in_the_middle(&place);
    let workers = descendants(running.id());
    running.signal(Signal::TERM);
    let ran = running.finish();
    assert_eq!((ran.code, ran.stdout.lines().count(), ran.stderr.as_str()), (143, 1, ""));
    assert_gone(&workers);
}

#[test]
fn a_killed_worker_fails_the_file_it_was_working_on_and_no_other() {
    let place = Place::new();
    let running = in_the_middle(&place);
    let worker = running.worker_reading(&place.path("big"));
    kill_process(pid_of(worker), Signal::KILL).expect("kill");
    let ran = running.finish();
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, ["5  small", "0  big", "3  later", "8  total of 3 files"]);
    assert_eq!(ran.failures().len(), 1);
    assert!(ran.stderr.starts_with("big: ") && ran.stderr.contains("SIGKILL"), "{}", ran.stderr);
    assert_eq!(ran.summary(), ["2 files counted", "1 failed: 1 worker died"]);
    assert_eq!(ran.code, 1);
}

#[test]
fn a_file_that_takes_too_long_fails_alone() {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    place.write("small", "123");
    let ran = place.run(&["count", "-m", "-j", "1", "--timeout", "300ms", "big", "small"]);
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, ["0  big", "3  small", "3  total of 2 files"]);
    assert_eq!(ran.failures().len(), 1);
    assert_eq!(ran.summary(), ["1 file counted", "1 failed: 1 took too long"]);
    assert_eq!(ran.code, 1);
}

#[test]
fn no_half_written_thumbnail_is_seen_when_the_run_is_ended() {
    let place = Place::new();
    for n in 0..200 {
        place.picture(format!("{n:03}.jpg"), "wren.jpg");
    }
    let mut running = place.start(&["thumbs", "-j", "2", "--blur", "20"]);
    assert_eq!(running.stdout_line(), "A thumbnail for 000.jpg was saved as thumbs/000.jpg\n");
    running.signal(Signal::TERM);
    let ran = running.finish();
    assert_eq!((ran.code, ran.stderr.as_str()), (143, ""));
    let made = place.listing("thumbs");
    assert!(!made.is_empty() && made.len() < 200);
    for name in made {
        assert!(!name.starts_with('.'), "{name}");
        let bytes = fs::read(place.path("thumbs").join(name)).expect("thumbnail");
        assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]));
    }
}

fn are_stopped(pids: &[u32], stopped: bool) -> bool {
    pids.iter().all(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") T ") == stopped
    })
}

/// As a terminal does on Ctrl-Z, and as the shell does on `fg`.
fn press_ctrl_z_and_fg(running: &Running, pause: std::time::Duration) {
    let workers = descendants(running.id());
    assert!(!workers.is_empty());
    let all = [&[running.id()], workers.as_slice()].concat();
    running.signal_group(Signal::TSTP);
    wait_until(|| are_stopped(&all, true));
    std::thread::sleep(pause);
    running.signal_group(Signal::CONT);
    wait_until(|| are_stopped(&all, false));
}

#[test]
fn ctrl_z_stops_the_workers_too_and_fg_lets_all_go_on() {
    let place = Place::new();
    let running = in_the_middle(&place);
    for _ in 0..100 {
        press_ctrl_z_and_fg(&running, std::time::Duration::ZERO);
    }
    let_finish(&place.path("big"));
    let ran = running.finish();
    assert_eq!((ran.code, ran.summary()), (0, vec!["3 files counted".to_owned()]), "{ran:?}");
}

#[test]
fn the_time_between_ctrl_z_and_fg_does_not_count() {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    let running = place.start(&["count", "-j", "1", "--timeout", "5s", "big"]);
    running.worker_reading(&place.path("big"));
    press_ctrl_z_and_fg(&running, std::time::Duration::from_secs(6));
    let_finish(&place.path("big"));
    let ran = running.finish();
    assert_eq!((ran.code, ran.summary()), (0, vec!["1 file counted".to_owned()]), "{ran:?}");
}

#[test]
fn a_command_that_is_killed_while_it_is_stopped_leaves_no_worker() {
    let place = Place::new();
    let running = in_the_middle(&place);
    let workers = descendants(running.id());
    running.signal_group(Signal::TSTP);
    wait_until(|| are_stopped(&workers, true));
    running.signal(Signal::KILL);
    let ran = running.finish();
    assert_eq!(ran.code, -Signal::KILL.as_raw());
    wait_until(|| workers.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let place = Place::new();
    File::create(place.path("big")).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh", BINARY, "count", "-j", "1", "big"]);
    let running = place.start_command(command);
    running.worker_reading(&place.path("big"));
    running.signal(Signal::HUP);
    running.signal(Signal::INT);
    let_finish(&place.path("big"));
    let ran = running.finish();
    assert_eq!((ran.code, ran.summary()), (0, vec!["1 file counted".to_owned()]));
}
