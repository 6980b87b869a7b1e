//! Five hundred files while a worker is killed every tenth of a second.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use common::{Place, Ran, descendants, pid_of, sample_picture};
use rustix::process::{Signal, kill_process};

const FILES: usize = 500;
const PACE: Duration = Duration::from_millis(100);

/// Runs over 500 pictures; returns what it left and whom it killed.
fn run_under_fire(place: &Place, retries: &str) -> (Ran, BTreeSet<u32>) {
    let sample = place.write("photos/000.jpg", sample_picture("wren.jpg"));
    for n in 1..FILES {
        fs::hard_link(&sample, place.path(format!("photos/{n:03}.jpg"))).expect("link");
    }
    let running = place.start(&["thumbs", "photos", "-j", "3", "--retries", retries, "--json"]);
    let command = running.id();
    let (over, is_over) = channel::<()>();
    let killer = std::thread::spawn(move || {
        let mut killed = BTreeSet::new();
        // Not to wait for something: this is the pace of the kills.
        while is_over.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let workers = descendants(command);
            if let Some(&worker) = workers.get(killed.len() % workers.len().max(1))
                && kill_process(pid_of(worker), Signal::KILL).is_ok()
            {
                killed.insert(worker);
            }
        }
        killed
    });
    let ran = running.finish();
    drop(over);
    (ran, killer.join().expect("killer"))
}

fn whole_thumbnails(place: &Place) -> usize {
    let names = place.listing("thumbs");
    for name in &names {
        let bytes = fs::read(place.path("thumbs").join(name)).expect("thumbnail");
        assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]), "{name}");
        assert!(!name.starts_with('.'), "{name} is left");
    }
    names.len()
}

#[test]
fn with_retries_every_thumbnail_is_made() {
    let place = Place::new();
    let (ran, killed) = run_under_fire(&place, "20");
    assert_eq!((ran.code, whole_thumbnails(&place)), (0, FILES), "{}", ran.stderr);
    assert!(!killed.is_empty());
}

#[test]
fn without_retries_each_kill_costs_at_most_the_file_at_hand() {
    let place = Place::new();
    let (ran, killed) = run_under_fire(&place, "0");
    let failures: Vec<String> = ran.records().iter().filter(|r| r["ok"] == false).map(|r| r.to_string()).collect();
    assert!(!failures.is_empty());
    let mut blamed = BTreeSet::new();
    for failure in &failures {
        let worker = killed.iter().find(|pid| failure.contains(&format!("(pid {pid}) was killed by SIGKILL")));
        let worker = worker.unwrap_or_else(|| panic!("nobody was killed for {failure}"));
        assert!(blamed.insert(*worker), "two files failed for one kill: {failure}");
    }
    // A worker may be killed between putting its thumbnail in place and saying so; then the thumbnail is there, and whole.
    let made = whole_thumbnails(&place);
    assert!((FILES - failures.len()..=FILES).contains(&made), "{made} thumbnails, {} failures", failures.len());
    for done in ran.records().iter().filter(|r| r["ok"] == true) {
        assert!(place.path(done["output"].as_str().expect("output")).exists(), "{done}");
    }
    assert_eq!(ran.code, 1);
}
