//! Many tasks and many replaced workers, and what the host program has of memory, descriptors and threads meanwhile.

use std::fmt;

use procpool::Kind;

use crate::{assert_alive, double, end, kind_of, open_descriptors, pool, pool_threads, resident, sys, wait_until};

/// What a program may grow by in all its life with a pool: what the allocator keeps.
const ALLOWED: usize = 8 << 20;

/// How it went.
#[derive(Debug)]
pub struct Flat {
    tasks: u64,
    replacements: u64,
    first: usize,
    most: usize,
    descriptors: usize,
}

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tasks, {} replaced workers; resident size {} KiB at first, {} KiB at most; {} descriptors at the end as at first",
            self.tasks,
            self.replacements,
            self.first >> 10,
            self.most >> 10,
            self.descriptors
        )
    }
}

/// In each round so many tasks, and a worker that has to be replaced. Asserts that nothing grows.
pub fn stay_flat(rounds: u64, tasks: u64) -> Flat {
    let pool = pool(2);
    let crash = |()| sys::exit_now(1);
    let mut before = None;
    let mut most = 0;
    for round in 0..rounds {
        let outputs = pool.map(double, 0..tasks).map(|o| o.unwrap()).sum::<u64>();
        assert_eq!(outputs, tasks * (tasks - 1));
        assert_eq!(kind_of(pool.submit(crash, ()).unwrap().wait().map(|(): ()| ())), Kind::Died);
        assert_alive(&pool);
        // A worker that is being replaced has its descriptors twice or not at all for a moment.
        wait_until(|| pool.worker_pids().len() == 2 || round < 5);
        if round == 5 {
            before = Some((open_descriptors().len(), pool_threads(), resident()));
        }
        most = most.max(resident());
    }
    let (descriptors, threads, first) = before.unwrap();
    wait_until(|| open_descriptors().len() <= descriptors);
    assert_eq!(pool_threads(), threads);
    assert!(most < first + ALLOWED, "memory grew from {first} to {most} bytes in {rounds} rounds");
    let stats = pool.stats();
    assert_eq!((stats.workers_died, stats.workers_died_busy), (rounds, rounds));
    assert_eq!(stats.tasks_ok, rounds * (tasks + 100));
    end(pool);
    Flat { tasks: rounds * tasks, replacements: rounds, first, most, descriptors }
}
