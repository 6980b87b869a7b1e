//! What a task may use, how often it is tried, and in which order tasks go.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use procpool::{Blame, Kind, Pool, Queue, TaskOptions};
use support::{alone, double, pool};

procpool::init_in_tests!();

#[test]
fn retries_begin_a_task_again_and_no_more_often_than_said() {
    alone(|| {
        let marks = tempfile();
        let pool = Pool::builder().workers(2).retries(2).build().unwrap();
        let crash_twice = |marks: PathBuf| {
            let tries = std::fs::read_to_string(&marks).unwrap_or_default().len();
            std::fs::write(&marks, "x".repeat(tries + 1)).unwrap();
            if tries < 2 {
                std::process::abort()
            }
            tries
        };
        assert_eq!(pool.submit(crash_twice, marks.clone()).unwrap().wait().unwrap(), 2);
        assert_eq!(pool.stats().retries, 2);
        let error = pool.submit(|()| std::process::abort(), ()).unwrap().wait().map(|(): ()| ()).unwrap_err();
        assert_eq!((error.kind(), error.attempt()), (Kind::Died, 3));
        assert_eq!(pool.stats().workers_died_busy, 5);
        std::fs::remove_file(marks).unwrap();
    });
}

fn tempfile() -> PathBuf {
    let name = format!("procpool-test-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_timeout_ends_that_task_alone() {
    alone(|| {
        let pool = Pool::builder().workers(2).timeout(Duration::from_millis(200)).build().unwrap();
        let spin = |n: u32| {
            if n == 3 {
                loop {
                    std::hint::spin_loop();
                }
            }
            n
        };
        for chunk in [None, Some(4)] {
            let map = pool.map(spin, 0..12);
            let map = if let Some(chunk) = chunk { map.chunk_size(chunk) } else { map };
            for (n, outcome) in map.enumerate() {
                match outcome {
                    Ok(m) => assert_eq!(m, n as u32),
                    Err(error) => {
                        assert_eq!((n, error.kind(), error.blame()), (3, Kind::TimedOut, Blame::Task));
                        assert!(error.to_string().contains("its timeout of 200ms"), "{error}");
                    }
                }
            }
        }
        assert_eq!(pool.stats().tasks_failed, 2);
    });
}

#[test]
fn a_memory_limit_ends_that_task_alone() {
    alone(|| {
        let pool = Pool::builder().workers(1).memory_limit(100 << 20).build().unwrap();
        let fill = |mib: usize| {
            let block = vec![1u8; mib << 20];
            if mib > 100 {
                loop {
                    std::hint::black_box(&block);
                }
            }
            block.len()
        };
        assert_eq!(pool.submit(fill, 1).unwrap().wait().unwrap(), 1 << 20);
        let error = pool.submit(fill, 300).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        assert!(error.peak_memory().unwrap() > 100 << 20);
        assert!(error.to_string().contains("more than the limit of 100.0 MiB"), "{error}");
        assert_eq!(pool.submit(fill, 2).unwrap().wait().unwrap(), 2 << 20);
    });
}

#[test]
fn a_cpu_time_limit_ends_who_computes_and_not_who_waits() {
    alone(|| {
        let pool = Pool::builder().workers(2).build().unwrap();
        let little = TaskOptions::new().cpu_time(Duration::from_millis(50));
        let spin = pool
            .submit_with(
                &little,
                |()| -> u8 {
                    loop {
                        std::hint::spin_loop()
                    }
                },
                (),
            )
            .unwrap();
        let error = spin.wait().unwrap_err();
        assert_eq!((error.kind(), error.blame()), (Kind::TimedOut, Blame::Task));
        assert!(error.to_string().contains("more CPU time than its limit of 50ms"), "{error}");
        let sleep = pool.submit_with(&little, |ms| std::thread::sleep(Duration::from_millis(ms)), 200).unwrap();
        sleep.wait().unwrap();
    });
}

#[test]
fn only_the_kinds_named_are_tried_again() {
    alone(|| {
        let pool = pool(1);
        let options = TaskOptions::new().retries(1).retry_on(&[Kind::TimedOut]).timeout(Duration::from_millis(100));
        let error = pool.submit_with(&options, |()| -> u8 { std::process::abort() }, ()).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.attempt()), (Kind::Died, 1));
        let error = pool
            .submit_with(
                &options,
                |()| -> u8 {
                    loop {
                        std::hint::spin_loop()
                    }
                },
                (),
            )
            .unwrap()
            .wait()
            .unwrap_err();
        assert_eq!((error.kind(), error.attempt()), (Kind::TimedOut, 2));
    });
}

#[test]
fn higher_priorities_go_first() {
    alone(|| {
        let pool = pool(1);
        let (begun, gate, order) =
            (Queue::<()>::new().unwrap(), Queue::<()>::new().unwrap(), Queue::<u8>::new().unwrap());
        let hold = |(begun, gate): (Queue<()>, Queue<()>)| {
            begun.put(&()).unwrap();
            gate.get().unwrap();
        };
        let held = pool.submit(hold, (begun.clone(), gate.clone())).unwrap();
        begun.get().unwrap();
        let note = |(order, n): (Queue<u8>, u8)| order.put(&n).unwrap();
        let futures: Vec<_> = [5, 0, 9, 5, 7]
            .map(|p| pool.submit_with(&TaskOptions::new().priority(p), note, (order.clone(), p)).unwrap())
            .into_iter()
            .collect();
        gate.put(&()).unwrap();
        held.wait().unwrap();
        futures.into_iter().for_each(|future| future.wait().unwrap());
        let seen: Vec<u8> = (0..5).map(|_| order.get().unwrap()).collect();
        assert_eq!(seen, [9, 7, 5, 5, 0]);
    });
}

#[test]
fn a_full_pool_waits_or_refuses() {
    alone(|| {
        let pool = Pool::builder().workers(1).max_pending(3).build().unwrap();
        let (begun, gate) = (Queue::<()>::new().unwrap(), Queue::<()>::new().unwrap());
        let hold = |(begun, gate): (Queue<()>, Queue<()>)| {
            begun.put(&()).unwrap();
            gate.get().unwrap();
        };
        let held = pool.submit(hold, (begun.clone(), gate.clone())).unwrap();
        begun.get().unwrap();
        let others = [pool.submit(double, 1).unwrap(), pool.try_submit(double, 2).unwrap()];
        assert_eq!(pool.try_submit(double, 3).unwrap_err().kind(), Kind::WouldBlock);
        std::thread::scope(|scope| {
            let fourth = scope.spawn(|| pool.submit(double, 4).unwrap().wait().unwrap());
            gate.put(&()).unwrap();
            assert_eq!(fourth.join().unwrap(), 8);
        });
        held.wait().unwrap();
        others.into_iter().for_each(|future| assert!(future.wait().is_ok()));
        let futures: Vec<_> = (0..1000).map(|x| pool.submit(double, x).unwrap()).collect();
        futures.into_iter().enumerate().for_each(|(x, future)| assert_eq!(future.wait().unwrap(), 2 * x as u64));
        let sum: u64 = pool.map(double, 0..1000).map(Result::unwrap).sum();
        assert_eq!(sum, 999_000);
    });
}
