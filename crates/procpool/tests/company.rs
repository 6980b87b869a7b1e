//! Short tasks travel together, and nobody can tell: order, errors, cancelling and blame stay with each.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use procpool::{Future, Kind, Pool, Queue};
use support::{alone, wait_until};

procpool::init_in_tests!();

/// What a task does, all of them in one function so that they may travel together.
#[derive(serde::Serialize, serde::Deserialize, Clone)]
enum Deed {
    Give(u64),
    Panic,
    Abort,
    /// Makes the file, then waits until the other one is there.
    Meet(PathBuf, PathBuf),
}

fn act(deed: Deed) -> u64 {
    match deed {
        Deed::Give(n) => n,
        Deed::Panic => panic!("as told"),
        Deed::Abort => std::process::abort(),
        Deed::Meet(mine, other) => {
            std::fs::write(mine, "").unwrap();
            while !other.exists() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            0
        }
    }
}

/// A pool that knows `act` as a short task, and whose workers are busy until `release` is made.
fn busy_pool(workers: usize, folder: &Path) -> (Pool, Vec<Future<u64>>) {
    let pool = Pool::builder().workers(workers).build().unwrap();
    for _ in 0..100 {
        assert_eq!(pool.submit(act, Deed::Give(1)).unwrap().wait().unwrap(), 1);
    }
    let hold = |k: usize| Deed::Meet(folder.join(format!("busy-{k}")), folder.join("release"));
    let held: Vec<_> = (0..workers).map(|k| pool.submit(act, hold(k)).unwrap()).collect();
    wait_until(|| (0..workers).all(|k| folder.join(format!("busy-{k}")).exists()));
    (pool, held)
}

fn all_end(futures: impl IntoIterator<Item = Future<u64>>) {
    for future in futures {
        assert_eq!(future.wait().unwrap(), 0);
    }
}

fn release(folder: &Path) {
    std::fs::write(folder.join("release"), "").unwrap();
}

#[test]
fn each_task_keeps_its_own_outcome() {
    alone(|| {
        let folder = support::folder();
        let (pool, held) = busy_pool(1, folder.path());
        let deed = |n: u64| match n {
            500 => Deed::Panic,
            700 => Deed::Abort,
            _ => Deed::Give(n),
        };
        let futures: Vec<_> = (0..3000).map(|n| pool.submit(act, deed(n)).unwrap()).collect();
        release(folder.path());
        all_end(held);
        let first = pool.stats().tasks_ok;
        for (n, future) in (0..).zip(futures) {
            match (n, future.wait()) {
                (500, outcome) => {
                    let error = outcome.unwrap_err();
                    assert_eq!((error.kind(), error.message()), (Kind::Panicked, "as told"));
                }
                (700, outcome) => assert_eq!(outcome.unwrap_err().kind(), Kind::Died),
                (n, outcome) => assert_eq!(outcome.unwrap(), n),
            }
        }
        assert!(first >= 101);
        let stats = pool.stats();
        assert_eq!((stats.tasks_ok, stats.tasks_failed, stats.workers_died_busy), (101 + 2998, 2, 1));
    });
}

#[test]
fn what_is_finished_is_not_kept_back_by_a_long_task_behind_it() {
    alone(|| {
        let folder = support::folder();
        let (pool, held) = busy_pool(1, folder.path());
        let mut short: Vec<_> = (0..100).map(|n| pool.submit(act, Deed::Give(n)).unwrap()).collect();
        let long = pool.submit(act, Deed::Meet(folder.path().join("long"), folder.path().join("end"))).unwrap();
        short.extend((0..100).map(|n| pool.submit(act, Deed::Give(n)).unwrap()));
        release(folder.path());
        let behind = short.split_off(100);
        for (n, future) in (0..).zip(short) {
            assert_eq!(future.wait().unwrap(), n);
        }
        wait_until(|| folder.path().join("long").exists());
        assert!(!long.is_done() && behind.iter().all(|future| !future.is_done()));
        std::fs::write(folder.path().join("end"), "").unwrap();
        all_end(held.into_iter().chain([long]));
        for (n, future) in (0..).zip(behind) {
            assert_eq!(future.wait().unwrap(), n);
        }
    });
}

#[test]
fn what_nobody_was_woken_for_is_not_kept_back_by_a_long_task_behind_it() {
    alone(|| {
        let folder = support::folder();
        let pool = Pool::builder().workers(1).build().unwrap();
        for _ in 0..100 {
            assert_eq!(pool.submit(act, Deed::Give(1)).unwrap().wait().unwrap(), 1);
        }
        let path = |name: &str| folder.path().join(name);
        let deed = |n| match n {
            0 => Deed::Meet(path("first"), path("go")),
            1 => Deed::Meet(path("long"), path("end")),
            n => Deed::Give(n),
        };
        // Each in a frame of its own, so that the worker has enough frames to let the parent sleep.
        let mut outputs = pool.map(act, (0..20).map(deed)).chunk_size(1);
        let me = format!("/proc/self/task/{}/stat", rustix::thread::gettid().as_raw_nonzero());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_until(|| path("first").exists());
                // The thread below has found nothing and sleeps, for longer than what was planned before.
                let mut asleep = 0;
                wait_until(|| {
                    asleep += u32::from(std::fs::read_to_string(&me).unwrap().contains(") S "));
                    asleep > 20
                });
                std::fs::write(path("go"), "").unwrap();
            });
            assert_eq!(outputs.next().unwrap().unwrap(), 0);
        });
        std::fs::write(path("end"), "").unwrap();
        let rest: Vec<u64> = outputs.collect::<procpool::Result<_>>().unwrap();
        assert_eq!(rest, [0].into_iter().chain(2..20).collect::<Vec<_>>());
    });
}

#[test]
fn an_idle_worker_takes_what_waits_behind_a_long_task_in_the_same_frame() {
    alone(|| {
        let folder = support::folder();
        let (pool, held) = busy_pool(2, folder.path());
        let long = pool.submit(act, Deed::Meet(folder.path().join("long"), folder.path().join("end"))).unwrap();
        let behind: Vec<_> = (0..500).map(|n| pool.submit(act, Deed::Give(n)).unwrap()).collect();
        release(folder.path());
        for (n, future) in (0..).zip(behind) {
            assert_eq!(future.wait().unwrap(), n);
        }
        assert!(!long.is_done());
        std::fs::write(folder.path().join("end"), "").unwrap();
        all_end(held.into_iter().chain([long]));
    });
}

#[test]
fn a_chunk_of_a_map_is_shared_too() {
    alone(|| {
        let folder = support::folder();
        let pool = Pool::builder().workers(2).build().unwrap();
        let met = |k: u64| folder.path().join(format!("met-{k}"));
        // Two tasks of one chunk that wait for each other: only two workers can end them.
        let deeds = [Deed::Meet(met(0), met(1)), Deed::Meet(met(1), met(0))];
        let outcomes: Vec<u64> = pool.map(act, deeds).chunk_size(2).collect::<procpool::Result<_>>().unwrap();
        assert_eq!(outcomes, [0, 0]);
    });
}

#[test]
fn cancelling_ends_one_task_and_no_other() {
    alone(|| {
        let folder = support::folder();
        let (pool, held) = busy_pool(1, folder.path());
        let mut futures: Vec<_> = (0..200).map(|n| pool.submit(act, Deed::Give(n)).unwrap()).collect();
        let long = pool.submit(act, Deed::Meet(folder.path().join("long"), folder.path().join("never"))).unwrap();
        futures.extend((200..400).map(|n| pool.submit(act, Deed::Give(n)).unwrap()));
        for n in [0, 50, 51, 199, 399] {
            assert!(futures[n].cancel());
            assert!(futures[n].is_done() && !futures[n].cancel());
        }
        release(folder.path());
        wait_until(|| folder.path().join("long").exists());
        assert!(futures[300].cancel(), "it waits behind a task that runs");
        assert!(long.cancel());
        assert_eq!(long.wait().unwrap_err().kind(), Kind::Cancelled);
        for (n, future) in (0..).zip(futures) {
            match (n, future.wait()) {
                (0 | 50 | 51 | 199 | 300 | 399, outcome) => assert_eq!(outcome.unwrap_err().kind(), Kind::Cancelled),
                (n, outcome) => assert_eq!(outcome.unwrap(), n),
            }
        }
        all_end(held);
        assert_eq!(pool.stats().tasks_ok, 101 + 394);
    });
}

#[test]
fn values_that_carry_descriptors_travel_alone() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        let queue = Queue::<u64>::new().unwrap();
        let futures: Vec<_> = (0..100)
            .map(|n| pool.submit(|(queue, n): (Queue<u64>, u64)| queue.put(&n).unwrap(), (queue.clone(), n)).unwrap())
            .collect();
        futures.into_iter().for_each(|future| future.wait().unwrap());
        let mut got: Vec<u64> = (0..100).map(|_| queue.get().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    });
}

fn until_13(n: u64) -> u64 {
    assert!(n != 13, "thirteen");
    n
}

#[test]
fn the_first_error_of_a_map_ends_it_and_cancels_what_has_not_begun() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        assert_eq!(pool.map(until_13, 0..10).reduce(|a, b| a + b).unwrap(), Some(45));
        assert_eq!(pool.map(until_13, 0..0).reduce(|a, b| a + b).unwrap(), None);
        let mut seen = Vec::new();
        pool.map(until_13, 0..5).try_for_each(|n| n.map(|n| seen.push(n))).unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 4]);

        let ended = pool.stats().tasks_ok + pool.stats().tasks_failed;
        assert_eq!((seen.len(), ended), (5, 15));
        seen.clear();
        // Endless inputs: only a window of them is ever drawn.
        let errors = [
            pool.map(until_13, 0..).reduce(|a, b| a + b).unwrap_err(),
            pool.map(until_13, 0..).try_for_each(|n| n.map(|n| seen.push(n))).unwrap_err(),
            pool.map(until_13, 0..).collect::<procpool::Result<Vec<u64>>>().unwrap_err(),
            pool.map(until_13, 0..).sum::<procpool::Result<u64>>().unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.index()), (Kind::Panicked, Some(13)));
        }
        assert_eq!(seen, (0..13).collect::<Vec<_>>());
        pool.shutdown();
    });
}

#[test]
fn a_map_sends_more_while_the_next_output_is_that_of_a_long_task() {
    alone(|| {
        let folder = support::folder();
        let pool = Pool::builder().workers(2).build().unwrap();
        let deed = |n| match n {
            0 => Deed::Meet(folder.path().join("long"), folder.path().join("end")),
            n => Deed::Give(n),
        };
        let outputs = pool.map(act, (0..3000).map(deed)).chunk_size(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_until(|| pool.stats().tasks_ok == 2999);
                std::fs::write(folder.path().join("end"), "").unwrap();
            });
            assert!((0..).zip(outputs).all(|(n, output)| output.unwrap() == n));
        });
    });
}
