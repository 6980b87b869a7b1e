//! The life of workers and of their pool: beginning, end, replacement, cancelling.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use procpool::{Blame, Kind, Pool, Queue};
use support::{alone, double, pool, wait_until};

procpool::init_in_tests!();

#[test]
fn a_dead_worker_fails_its_task_and_is_replaced() {
    alone(|| {
        let pool = pool(2);
        let crash = |n: u32| if n == 17 { std::process::abort() } else { n };
        for chunk in [1, 5, 64] {
            let outcomes: Vec<_> = pool.map(crash, 0..100).chunk_size(chunk).collect();
            for (n, outcome) in outcomes.iter().enumerate() {
                if n == 17 {
                    let error = outcome.as_ref().unwrap_err();
                    assert_eq!((error.kind(), error.signal(), error.index()), (Kind::Died, Some(6), Some(17)));
                    assert!(error.pid().is_some());
                    assert!(error.to_string().contains("was killed by SIGABRT"), "{error}");
                } else {
                    assert_eq!(*outcome.as_ref().unwrap(), n as u32, "chunks of {chunk}");
                }
            }
        }
        assert_eq!((pool.stats().workers_died, pool.stats().workers_died_busy), (3, 3));
    });
}

#[test]
fn a_worker_that_exits_in_a_task_fails_it() {
    alone(|| {
        let pool = pool(1);
        let error = pool.submit(|()| std::process::exit(0), ()).unwrap().wait().map(|(): ()| ()).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (Kind::Died, Some(0)));
        assert_eq!(pool.submit(double, 4).unwrap().wait().unwrap(), 8);
    });
}

#[test]
fn worn_workers_are_replaced() {
    alone(|| {
        let pool = Pool::builder().workers(2).tasks_per_worker(3).build().unwrap();
        let pids: Vec<u32> = pool.map(|_: u8| std::process::id(), [0; 60]).chunk_size(1).map(Result::unwrap).collect();
        let distinct: HashSet<u32> = pids.iter().copied().collect();
        assert!(distinct.iter().all(|pid| pids.iter().filter(|p| p == &pid).count() <= 3), "{pids:?}");
        assert_eq!(pool.stats().workers_died, 0);
        assert!(pool.stats().workers_recycled >= 19, "{:?}", pool.stats());
    });
    alone(|| {
        let pool = Pool::builder().workers(1).worker_age(Duration::from_millis(30)).build().unwrap();
        let first = pool.submit(|()| std::process::id(), ()).unwrap().wait().unwrap();
        wait_until(|| pool.worker_pids().is_empty());
        assert_ne!(pool.submit(|()| std::process::id(), ()).unwrap().wait().unwrap(), first);
    });
    alone(|| {
        let pool = Pool::builder().workers(1).worker_memory(150 << 20).build().unwrap();
        let leak = |mib: usize| {
            std::mem::forget(vec![1u8; mib << 20]);
            std::thread::sleep(Duration::from_millis(50));
            std::process::id()
        };
        let first = pool.submit(leak, 1).unwrap().wait().unwrap();
        assert_eq!(pool.submit(leak, 200).unwrap().wait().unwrap(), first, "it finishes its task");
        wait_until(|| pool.worker_pids() != [first]);
        assert_ne!(pool.submit(leak, 1).unwrap().wait().unwrap(), first);
        assert_eq!(pool.stats().workers_recycled, 1);
    });
}

#[test]
fn cancel_ends_a_task_that_waits_and_one_that_runs() {
    alone(|| {
        let pool = pool(1);
        let sleep = |ms| std::thread::sleep(Duration::from_millis(ms));
        let running = pool.submit(sleep, 100_000).unwrap();
        let waiting: Vec<_> = (0..5).map(|_| pool.submit(sleep, 100_000).unwrap()).collect();
        wait_until(|| !pool.worker_pids().is_empty());
        for future in waiting {
            assert!(future.cancel());
            assert_eq!(future.wait().unwrap_err().kind(), Kind::Cancelled);
        }
        assert!(running.cancel());
        let error = running.wait().unwrap_err();
        assert_eq!((error.kind(), error.blame()), (Kind::Cancelled, Blame::Caller));
        let done = pool.submit(double, 1).unwrap();
        wait_until(|| done.is_done());
        assert!(!done.cancel());
        assert_eq!(done.wait().unwrap(), 2);
    });
}

#[test]
fn cancel_pending_leaves_what_runs() {
    alone(|| {
        let pool = pool(1);
        let gate = Queue::<()>::new().unwrap();
        let begun = Queue::<()>::new().unwrap();
        let hold = |(begun, gate): (Queue<()>, Queue<()>)| {
            begun.put(&()).unwrap();
            gate.get().unwrap();
        };
        let first = pool.submit(hold, (begun.clone(), gate.clone())).unwrap();
        let others: Vec<_> = (0..20).map(|x| pool.submit(double, x).unwrap()).collect();
        begun.get().unwrap();
        pool.cancel_pending();
        for future in others {
            assert_eq!(future.wait().unwrap_err().kind(), Kind::Cancelled);
        }
        gate.put(&()).unwrap();
        first.wait().unwrap();
    });
}

#[test]
fn shutdown_finishes_and_shutdown_now_does_not() {
    alone(|| {
        let pool = pool(2);
        let futures: Vec<_> = (0..100).map(|x| pool.submit(double, x).unwrap()).collect();
        pool.shutdown();
        for (x, future) in futures.into_iter().enumerate() {
            assert!(future.is_done());
            assert_eq!(future.wait().unwrap(), 2 * x as u64);
        }
        assert_eq!(pool.submit(double, 1).unwrap_err().kind(), Kind::Closed);
        assert_eq!(pool.map(double, 0..3).map(|o| o.unwrap_err().kind()).collect::<Vec<_>>(), [Kind::Closed]);
        pool.shutdown();
        pool.shutdown_now();
    });
    alone(|| {
        let pool = pool(2);
        let sleep = |ms| std::thread::sleep(Duration::from_millis(ms));
        let futures: Vec<_> = (0..10).map(|_| pool.submit(sleep, 100_000).unwrap()).collect();
        wait_until(|| pool.worker_pids().len() == 2);
        pool.shutdown_now();
        for future in futures {
            assert_eq!(future.wait().unwrap_err().kind(), Kind::Closed);
        }
    });
}

#[test]
fn a_dropped_map_cancels_what_has_not_begun() {
    alone(|| {
        let pool = pool(2);
        let first = pool.map(double, 0..).next().unwrap().unwrap();
        assert_eq!(first, 0);
        pool.shutdown();
    });
}

#[test]
fn resize_while_work_is_in_flight() {
    alone(|| {
        let pool = pool(1);
        let spin = |n: u64| (0..n * 1000).fold(0u64, |a, b| a.wrapping_add(b * b)).max(n) - n;
        let mut count = 0;
        for (k, output) in pool.map(spin, (0..400).map(|_| 100)).chunk_size(1).enumerate() {
            output.unwrap();
            count += 1;
            match k {
                50 => pool.resize(4),
                150 => pool.resize(1),
                250 => pool.resize(3),
                _ => {}
            }
        }
        assert_eq!(count, 400);
        assert_eq!(pool.workers(), 3);
        assert_eq!(pool.stats().workers_died, 0);
    });
}

#[test]
fn an_initializer_runs_first_and_its_failure_is_told() {
    static SECRET: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    alone(|| {
        let pool = Pool::builder()
            .workers(2)
            .initializer(|s: String| drop(SECRET.set(s)), "open".to_string())
            .build()
            .unwrap();
        let outputs: Vec<String> =
            pool.map(|_: u8| SECRET.get().cloned().unwrap(), 0..10).map(Result::unwrap).collect();
        assert_eq!(outputs, vec!["open"; 10]);
        assert!(SECRET.get().is_none());
    });
    alone(|| {
        let fail = |n: u8| if n == 1 { Err("no licence") } else { panic!("broken {n}") };
        for (n, said) in [(1, "the initializer failed: no licence"), (2, "the initializer panicked at ")] {
            let pool = Pool::builder().workers(2).initializer(fail, n).build().unwrap();
            let futures: Vec<_> = (0..5).filter_map(|x| pool.submit(double, x).ok()).collect();
            assert!(!futures.is_empty());
            for future in futures {
                let error = future.wait().unwrap_err();
                assert_eq!(error.kind(), Kind::Start);
                assert!(error.to_string().contains(said), "{error}");
            }
            assert!(pool.stats().workers_started <= 5, "{:?}", pool.stats());
        }
    });
}

#[test]
fn a_worker_that_hangs_at_the_start_is_given_up() {
    alone(|| {
        let hang = |()| std::thread::sleep(Duration::from_secs(1000));
        let pool =
            Pool::builder().workers(1).initializer(hang, ()).start_timeout(Duration::from_millis(100)).build().unwrap();
        let error = pool.submit(double, 1).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Start);
    });
}
