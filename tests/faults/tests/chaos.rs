//! Everything at once, at random: many threads, cancelled and dropped futures and maps, crashes, a pool whose size changes
//! all the time, and an end in the middle of it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use procpool::{Error, Kind, Pool};
use procpool_faults::random::Random;
use procpool_faults::{assert_alive, double, end, guarded, pool, sys};
use rustix::process::Signal;

procpool::init_in_tests!();

fn nap(micros: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(micros));
    micros
}

fn sometimes_crash(n: u64) -> u64 {
    if n.is_multiple_of(97) {
        std::process::abort();
    }
    n
}

fn assert_kind(error: &Error, allowed: &[Kind]) {
    assert!(allowed.contains(&error.kind()), "{error:?}");
}

/// One random deed; `closing` says that the pool may be shut down at any moment.
fn act(pool: &Pool, random: &mut Random, closing: &[Kind]) {
    let also = |kinds: &[Kind]| [kinds, closing].concat();
    let n = random.below(5_000);
    match random.below(9) {
        0 => match pool.submit(double, n).map(|future| future.wait()) {
            Ok(Ok(output)) => assert_eq!(output, 2 * n),
            Ok(Err(error)) | Err(error) => assert_kind(&error, &also(&[Kind::Cancelled])),
        },
        1 => {
            let futures: Vec<_> = (0..50).filter_map(|k| pool.submit(nap, k).ok()).collect();
            for (k, future) in futures.into_iter().enumerate() {
                match random.below(3) {
                    0 => drop(future),
                    1 => drop(future.cancel()),
                    _ => {
                        if let Err(error) = future.wait() {
                            assert_kind(&error, &also(&[Kind::Cancelled]));
                        } else {
                            assert!(k < 50);
                        }
                    }
                }
            }
        }
        2 => {
            let Ok(mut future) = pool.submit(nap, n) else { return };
            while future.wait_timeout(Duration::from_micros(random.below(2_000))).is_none() {
                if random.below(4) == 0 {
                    future.cancel();
                }
            }
        }
        3 => {
            let take = random.below(200) as usize;
            for (k, output) in pool.map(double, 0..).take(take).enumerate() {
                match output {
                    Ok(output) => assert_eq!(output, 2 * k as u64),
                    Err(error) => return assert_kind(&error, &also(&[Kind::Cancelled])),
                }
            }
        }
        4 => {
            let mut seen = vec![false; 300];
            for (k, output) in pool.map_unordered(sometimes_crash, n..n + 300).chunk_size(1 + random.below(50) as u32) {
                match output {
                    Ok(output) => assert_eq!(output, n + k as u64),
                    Err(error) if error.kind() == Kind::Died => assert_eq!((n + k as u64) % 97, 0, "{error}"),
                    Err(error) => assert_kind(&error, &also(&[Kind::Cancelled])),
                }
                if k < seen.len() {
                    assert!(!std::mem::replace(&mut seen[k], true), "input {k} was answered twice");
                }
            }
            if closing.is_empty() {
                assert!(seen.into_iter().all(|s| s), "an input was not answered");
            }
        }
        5 => pool.resize(1 + random.below(6) as usize),
        6 => {
            let Ok(future) = pool.submit(sometimes_crash, 97) else { return };
            if random.below(2) == 0 {
                assert_kind(&future.wait().unwrap_err(), &also(&[Kind::Died, Kind::Cancelled]));
            }
        }
        7 if random.below(20) == 0 => pool.cancel_pending(),
        _ => {
            let large = vec![n as u8; 100_000];
            match pool.submit(|v: Vec<u8>| v, large.clone()).map(|future| future.wait()) {
                Ok(Ok(output)) => assert_eq!(output, large),
                Ok(Err(error)) | Err(error) => assert_kind(&error, &also(&[Kind::Cancelled])),
            }
        }
    }
}

#[test]
fn sixteen_threads_do_everything_at_random() {
    guarded(|| {
        let pool = Pool::builder().workers(3).build().unwrap();
        let deeds = AtomicU64::new(0);
        let start = Instant::now();
        let random = Random::new();
        std::thread::scope(|scope| {
            for thread in 0..16u64 {
                let mut random = Random::seeded(random.clone().next_u64() ^ thread);
                let (pool, deeds) = (&pool, &deeds);
                scope.spawn(move || {
                    while start.elapsed() < Duration::from_secs(6) {
                        act(pool, &mut random, &[]);
                        deeds.fetch_add(1, Relaxed);
                    }
                });
            }
        });
        println!("{} deeds, {:?}", deeds.load(Relaxed), pool.stats());
        pool.resize(2);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn an_end_in_the_middle_of_everything() {
    guarded(|| {
        let mut random = Random::new();
        for round in 0..25 {
            let pool = Arc::new(pool(1 + random.below(4) as usize));
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for thread in 0..6 {
                    let mut random = Random::seeded(random.next_u64() ^ thread);
                    let (pool, over) = (&pool, &over);
                    scope.spawn(move || {
                        while !over.load(Relaxed) {
                            act(pool, &mut random, &[Kind::Closed]);
                        }
                    });
                }
                std::thread::sleep(Duration::from_micros(random.below(40_000)));
                match round % 3 {
                    0 => pool.shutdown(),
                    1 => pool.shutdown_now(),
                    _ => std::thread::scope(|scope| {
                        scope.spawn(|| pool.shutdown());
                        scope.spawn(|| pool.shutdown_now());
                        scope.spawn(|| pool.shutdown());
                    }),
                }
                assert_eq!(procpool_faults::children().len(), 0, "round {round}");
                over.store(true, Relaxed);
            });
            assert_eq!(pool.submit(double, 1).unwrap_err().kind(), Kind::Closed);
            end(Arc::into_inner(pool).unwrap());
        }
    });
}

#[test]
fn a_pool_that_is_resized_all_the_time() {
    guarded(|| {
        let pool = pool(1);
        let over = AtomicBool::new(false);
        let mut random = Random::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    pool.resize(1 + random.below(8) as usize);
                    std::thread::sleep(Duration::from_micros(random.below(3_000)));
                }
            });
            for (k, output) in pool.map(nap, (0..4_000).map(|k| k % 700)).enumerate() {
                assert_eq!(output.unwrap(), k as u64 % 700);
            }
            over.store(true, Relaxed);
        });
        let stats = pool.stats();
        assert_eq!((stats.tasks_ok, stats.tasks_failed, stats.workers_died), (4_000, 0, 0), "{stats:?}");
        pool.resize(1);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn crashes_in_a_pool_that_is_resized_all_the_time() {
    guarded(|| {
        let pool = pool(1);
        let over = AtomicBool::new(false);
        let mut random = Random::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    pool.resize(1 + random.below(8) as usize);
                    std::thread::sleep(Duration::from_micros(random.below(500)));
                }
            });
            for (k, output) in pool.map(sometimes_crash, 1..20_000).chunk_size(20).enumerate() {
                let n = k as u64 + 1;
                match output {
                    Ok(output) => assert_eq!((output, n.is_multiple_of(97)), (n, false)),
                    Err(error) => {
                        assert_eq!(
                            (error.kind(), error.signal()),
                            (Kind::Died, Some(Signal::ABORT.as_raw())),
                            "{error}"
                        );
                        assert!(n.is_multiple_of(97));
                    }
                }
            }
            over.store(true, Relaxed);
        });
        let stats = pool.stats();
        let crashes = 19_999 / 97;
        assert_eq!(
            (stats.tasks_failed, stats.workers_died, stats.workers_died_busy),
            (crashes, crashes, crashes),
            "{stats:?}"
        );
        end(pool);
    });
}

#[test]
fn maps_dropped_at_any_moment_while_workers_are_killed() {
    guarded(|| {
        let pool = pool(3);
        let over = AtomicBool::new(false);
        let mut random = Random::new();
        let mut kills = random.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                    let pids = pool.worker_pids();
                    if let Some(&pid) = pids.get(kills.below(pids.len() as u64) as usize) {
                        sys::kill(pid, Signal::KILL);
                    }
                }
            });
            for _ in 0..150 {
                let chunk = 1 + random.below(64) as u32;
                let takes = random.below(400) as usize;
                for (k, output) in
                    pool.map_with(3u64, |add, x: u64| x + *add, 0..).chunk_size(chunk).take(takes).enumerate()
                {
                    match output {
                        Ok(output) => assert_eq!(output, k as u64 + 3),
                        Err(error) => assert_eq!(error.signal(), Some(Signal::KILL.as_raw()), "{error}"),
                    }
                }
                std::thread::sleep(Duration::from_millis(random.below(20)));
            }
            over.store(true, Relaxed);
        });
        assert_alive(&pool);
        end(pool);
    });
}
