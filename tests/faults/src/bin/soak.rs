//! The long version of the fault tests: 100 000 tasks of 1 to 50 ms while a random worker is killed every 100 ms.
//!
//! `soak [tasks] [workers]`

use std::time::Duration;

use procpool_faults::guarded;
use procpool_faults::storm::{Target, kill_workers};

fn main() {
    procpool::init();
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let tasks = numbers.next().unwrap_or(100_000);
    let workers = numbers.next().unwrap_or(32) as usize;
    // In slices, so that the books stay small and every slice proves that it left nothing.
    let mut left = tasks;
    while left > 0 {
        let slice = left.min(5_000);
        guarded(|| kill_workers(workers, slice, 50_000, (Duration::from_millis(100), Target::Any), 0).report());
        left -= slice;
    }
    println!("{tasks} tasks: none lost, none begun twice");
}
