//! The long versions of the fault tests.
//!
//! - `soak`: all of them, minutes.
//! - `soak storm [tasks] [workers]`: tasks of 1 to 50 ms while a random worker is killed every 100 ms.
//! - `soak flat [tasks] [replacements]`: nothing may grow.
//! - `soak sizes`: values around 2 GiB and over 4 GiB, both ways.
//! - `soak for <seconds>`: storms and replacements, as many as fit into the time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use procpool_faults::flat::stay_flat;
use procpool_faults::huge::{Zeros, memory};
use procpool_faults::storm::{Target, kill_workers};
use procpool_faults::{assert_alive, end, guarded, pool, skip};

fn main() {
    procpool::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| arguments.get(at).map_or(otherwise, |text| text.parse().unwrap());
    match arguments.first().map(String::as_str) {
        None => {
            storm(100_000, 32);
            flat(1_000_000, 1_000);
            sizes();
        }
        Some("storm") => storm(number(1, 100_000), number(2, 32) as usize),
        Some("flat") => flat(number(1, 1_000_000), number(2, 1_000)),
        Some("sizes") => sizes(),
        Some("for") => for_seconds(number(1, 60)),
        Some(other) => panic!("there is no soak {other:?}"),
    }
}

const STORM: (Duration, Target) = (Duration::from_millis(100), Target::Any);

/// In slices, so that the books stay small and every slice proves that it left nothing.
fn storm(tasks: u64, workers: usize) {
    let start = Instant::now();
    let (mut left, mut kills, mut died) = (tasks, 0, 0);
    while left > 0 {
        let slice = left.min(5_000);
        guarded(|| {
            let weather = kill_workers(workers, slice, 50_000, STORM, 0);
            weather.report();
            kills += weather.kills;
            died += weather.failed;
        });
        left -= slice;
    }
    println!(
        "storm: {tasks} tasks, {workers} workers, {kills} kills, {died} tasks died with their worker; none lost, none begun twice; {:?}",
        start.elapsed()
    );
}

fn flat(tasks: u64, replacements: u64) {
    let start = Instant::now();
    guarded(|| println!("flat: {}; {:?}", stay_flat(replacements, tasks / replacements.max(1)), start.elapsed()));
}

/// Up to two copies of the largest are in memory at once, the encoded one and the one in shared memory.
fn sizes() {
    for len in [(2 << 30) - 1, 2 << 30, (4 << 30) + 1] {
        if memory() < 3 * len {
            skip(&format!("{len} bytes twice are too much for this machine"));
            continue;
        }
        let start = Instant::now();
        guarded(|| {
            let pool = pool(1);
            assert_eq!(pool.submit(Zeros::count, Zeros::new(len)).unwrap().wait().unwrap(), len);
            let there = start.elapsed();
            assert_eq!(pool.submit(Zeros::new, len).unwrap().wait().unwrap().count(), len);
            println!("sizes: {len} bytes to a worker in {there:?} and back in {:?}", start.elapsed() - there);
            assert_alive(&pool);
            assert_eq!(pool.stats().workers_died, 0);
            end(pool);
        });
    }
}

fn for_seconds(seconds: u64) {
    let start = Instant::now();
    let (mut rounds, mut tasks, mut kills, mut died) = (0, 0, 0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        guarded(|| {
            let weather = kill_workers(4 + rounds % 13, 200, 20_000, STORM, rounds as u32 % 3);
            (tasks, kills, died) = (tasks + weather.tasks, kills + weather.kills, died + weather.failed);
        });
        guarded(|| {
            stay_flat(20, 500);
        });
        rounds += 1;
    }
    println!(
        "soak of {} s: {rounds} rounds; {tasks} tasks in storms with {kills} kills, {died} died with their worker; {} tasks and {} \
         replacements beside them; nothing lost, nothing begun twice, nothing left",
        start.elapsed().as_secs(),
        rounds * 20 * 500,
        rounds * 20
    );
}
