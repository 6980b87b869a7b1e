//! Workers that are killed, crash, cannot start, stop or never end.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use procpool::{Blame, Kind, Pool, TaskOptions};
use procpool_faults::notes::{Notes, note};
use procpool_faults::storm::{Target, kill_workers};
use procpool_faults::{assert_alive, double, end, guarded, host, sys, wait_until};
use rustix::process::Signal;

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");

#[test]
fn row_01_a_worker_killed_every_100_ms() {
    guarded(|| kill_workers(4, 400, 50_000, (Duration::from_millis(100), Target::Any), 0).report());
}

#[test]
fn row_01_workers_killed_as_fast_as_they_start() {
    guarded(|| kill_workers(4, 2_000, 2_000, (Duration::from_millis(5), Target::Begun), 0).report());
    guarded(|| kill_workers(2, 300, 5_000, (Duration::from_millis(10), Target::Begun), 100).report());
}

const CRASHING: u64 = 6_543;

fn crash_at((path, n): (String, u64)) -> u64 {
    note(&path, "begin", n);
    if n == CRASHING {
        std::process::abort();
    }
    n
}

#[test]
fn row_02_one_input_that_always_crashes() {
    for (chunk, retries) in
        [(None, 0), (Some(1), 2), (Some(7), 1), (Some(100), 2), (Some(10_000), 0), (Some(10_000), 3)]
    {
        guarded(|| {
            let notes = Notes::new();
            let pool = Pool::builder().workers(3).retries(retries).build().unwrap();
            let map = pool.map(crash_at, (0..10_000).map(|n| (notes.path(), n)));
            let map = if let Some(chunk) = chunk { map.chunk_size(chunk) } else { map };
            for (n, outcome) in map.enumerate() {
                match outcome {
                    Ok(m) => assert_eq!(m, n as u64),
                    Err(error) => {
                        assert_eq!(n as u64, CRASHING, "{error}");
                        assert_eq!(
                            (error.kind(), error.blame(), error.index()),
                            (Kind::Died, Blame::Worker, Some(CRASHING))
                        );
                        assert_eq!((error.signal(), error.attempt()), (Some(Signal::ABORT.as_raw()), retries + 1));
                    }
                }
            }
            let stats = pool.stats();
            assert_eq!((stats.tasks_ok, stats.tasks_failed, stats.retries), (9_999, 1, u64::from(retries)));
            assert_eq!((stats.workers_died, stats.workers_died_busy), (u64::from(retries) + 1, u64::from(retries) + 1));
            end(pool);
            let begun = notes.count("begin");
            assert_eq!(begun.len(), 10_000);
            for (n, times) in begun {
                assert_eq!(times, if n == CRASHING { retries + 1 } else { 1 }, "task {n}, chunks of {chunk:?}");
            }
        });
    }
}

fn refuse(how: String) -> Result<(), String> {
    match how.as_str() {
        "fails" => return Err("no licence".into()),
        "panics" => panic!("no luck"),
        "exits" => std::process::exit(7),
        "leaves" => sys::exit_now(0),
        "is killed" => sys::raise(Signal::KILL),
        "aborts" => std::process::abort(),
        _ => {}
    }
    Ok(())
}

#[test]
fn row_03_an_initializer_that_never_lets_a_worker_start() {
    let ways = [
        ("fails", "the initializer failed: no licence"),
        ("panics", "no luck"),
        ("exits", "exited with code 7 before it was ready"),
        ("leaves", "exited with code 0 before it was ready"),
        ("is killed", "was killed by SIGKILL before it was ready"),
        ("aborts", "was killed by SIGABRT before it was ready"),
    ];
    for (how, said) in ways {
        guarded(|| {
            let workers = 3;
            let pool = Pool::builder().workers(workers).initializer(refuse, how.to_string()).build().unwrap();
            // The pool may have given up before the last is submitted.
            let futures: Vec<_> = (0..50).filter_map(|x| pool.submit(double, x).ok()).collect();
            assert!(!futures.is_empty());
            for future in futures {
                let error = future.wait().unwrap_err();
                assert_eq!(error.kind(), Kind::Start, "{how}: {error}");
                assert!(error.message().contains(said), "{how}: {error}");
            }
            let error = pool.submit(double, 1).unwrap_err();
            assert_eq!(error.kind(), Kind::Start, "{how}: {error}");
            let started = pool.stats().workers_started;
            assert!(started <= workers as u64 + 2, "{how}: {started} workers were started");
            end(pool);
        });
    }
}

#[test]
fn row_03_a_program_that_cannot_be_executed() {
    guarded(|| host::run(HOST, &["cannot-exec"]));
}

/// Never returns, in one of several ways.
fn stay((path, n): (String, u64)) -> u64 {
    match n {
        10 => {
            note(&path, "stuck", n);
            sys::raise(Signal::STOP);
        }
        20 => {
            note(&path, "stuck", n);
            loop {
                std::hint::spin_loop();
            }
        }
        30 => {
            for signal in 1..32 {
                sys::ignore(signal, true);
            }
            note(&path, "stuck", n);
            loop {
                std::thread::park();
            }
        }
        _ => {}
    }
    n
}

#[test]
fn row_04_a_stopped_worker_an_endless_loop_and_one_that_ignores_signals() {
    guarded(|| {
        let notes = Notes::new();
        let pool = Pool::builder().workers(2).timeout(Duration::from_secs(1)).build().unwrap();
        let mut late = Vec::new();
        for (n, outcome) in pool.map(stay, (0..40).map(|n| (notes.path(), n))).enumerate() {
            match outcome {
                Ok(m) => assert_eq!(m, n as u64),
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.blame(), error.attempt()),
                        (Kind::TimedOut, Blame::Task, 1),
                        "{error}"
                    );
                    assert!(error.message().contains("its timeout of 1s"), "{error}");
                    late.push(n);
                }
            }
        }
        assert_eq!(late, [10, 20, 30]);
        assert_eq!(notes.count("stuck").len(), 3);
        assert_eq!(pool.stats().workers_died_busy, 3);
        assert_alive(&pool);
        end(pool);
    });
}

/// Waits for the request to end, notes it, and goes on for ever.
fn clean_up((path, n): (String, u64)) -> u64 {
    sys::handle(Signal::TERM.as_raw());
    note(&path, "begun", n);
    while sys::handled() == 0 {
        std::hint::spin_loop();
    }
    note(&path, "cleaned", n);
    loop {
        std::thread::park();
    }
}

#[test]
fn row_04_a_task_may_clean_up_before_it_is_killed() {
    guarded(|| {
        let notes = Notes::new();
        let pool = Pool::builder().workers(2).grace(Duration::from_secs(2)).build().unwrap();
        let cancelled = pool.submit(clean_up, (notes.path(), 1)).unwrap();
        let behind: Vec<_> = (0..10).map(|n| pool.submit(double, n).unwrap()).collect();
        wait_until(|| notes.count("begun").len() == 1);
        assert!(cancelled.cancel());
        let error = cancelled.wait().unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Cancelled, Some(9)));
        assert_eq!(notes.count("cleaned").len(), 1);
        for (n, future) in (0..).zip(behind) {
            assert_eq!(future.wait().unwrap(), 2 * n);
        }
        let hasty = TaskOptions::new().timeout(Duration::from_millis(100));
        let late = pool.submit_with(&hasty, clean_up, (notes.path(), 2)).unwrap();
        assert_eq!(late.wait().unwrap_err().kind(), Kind::TimedOut);
        assert_eq!(notes.count("cleaned").len(), 2);
        let stuck = pool.submit(clean_up, (notes.path(), 3)).unwrap();
        wait_until(|| notes.count("begun").len() == 3);
        end(pool);
        assert_eq!(stuck.wait().unwrap_err().kind(), Kind::Closed);
        assert_eq!(notes.count("cleaned").len(), 2, "a pool that is dropped does not wait for that");
    });
}

#[test]
fn row_04_cancel_and_shutdown_reach_a_stopped_worker() {
    guarded(|| {
        let notes = Notes::new();
        let pool = Pool::builder().workers(2).build().unwrap();
        let stuck = pool.submit(stay, (notes.path(), 10)).unwrap();
        wait_until(|| !notes.all().is_empty());
        assert!(stuck.cancel());
        assert_eq!(stuck.wait().unwrap_err().kind(), Kind::Cancelled);
        assert_alive(&pool);
        let stuck: Vec<_> = [10, 30].map(|n| pool.submit(stay, (notes.path(), n)).unwrap()).into();
        wait_until(|| notes.all().len() == 3);
        end(pool);
        for future in stuck {
            assert_eq!(future.wait().unwrap_err().kind(), Kind::Closed);
        }
    });
}
