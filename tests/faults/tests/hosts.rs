//! Host programs with habits of their own: other children, careless waiting, ignored signals, storms of signals.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use procpool::Kind;
use procpool_faults::notes::Notes;
use procpool_faults::{assert_alive, double, end, guarded, host, kind_of, pool, sys, wait_until};
use rustix::process::Signal;

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");

fn crash(_: u64) -> u64 {
    std::process::abort()
}

#[test]
fn row_19_the_hosts_own_children_are_left_to_it() {
    guarded(|| {
        let mut before: Vec<_> =
            (0..3).map(|code| Command::new("sh").arg("-c").arg(format!("exit {code}")).spawn().unwrap()).collect();
        let pool = pool(2);
        let mut during: Vec<_> =
            (3..6).map(|code| Command::new("sh").arg("-c").arg(format!("exit {code}")).spawn().unwrap()).collect();
        for n in 0..20 {
            assert_alive(&pool);
            assert_eq!(kind_of(pool.submit(crash, n).unwrap().wait()), Kind::Died);
        }
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        end_but_for(pool, sleeper.id());
        for (code, child) in (0..).zip(before.iter_mut().chain(&mut during)) {
            assert_eq!(child.wait().unwrap().code(), Some(code), "the pool has reaped a child that is not its own");
        }
        assert!(sleeper.try_wait().unwrap().is_none(), "the pool has ended a child that is not its own");
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    });
}

#[test]
fn row_05_stopped_and_continued_a_hundred_times() {
    guarded(|| {
        let mut host = host::Host::start(HOST, &["stopped-and-continued"]);
        assert_eq!(host.numbers(), [1]);
        let pid = host.child.id();
        for _ in 0..100 {
            assert!(sys::kill(pid, Signal::STOP));
            wait_until(|| procpool_faults::process(pid).is_some_and(|p| p.state == 'T'));
            assert!(sys::kill(pid, Signal::CONT));
            wait_until(|| procpool_faults::process(pid).is_none_or(|p| p.state != 'T'));
        }
        host.assert_success();
    });
}

#[test]
fn row_05_what_was_in_time_is_not_late_because_the_host_was_stopped() {
    guarded(|| {
        let notes = Notes::new();
        let host = host::Host::start(HOST, &["stopped-past-a-deadline", &notes.path()]);
        let pid = host.child.id();
        wait_until(|| notes.count("begun").len() == 1);
        assert!(sys::kill(pid, Signal::STOP));
        wait_until(|| notes.count("ended").len() == 1);
        // The deadline passes while nobody looks.
        std::thread::sleep(Duration::from_secs(1));
        assert!(sys::kill(pid, Signal::CONT));
        host.assert_success();
    });
}

/// Ends the pool; of its processes nothing may be left.
fn end_but_for(pool: procpool::Pool, own: u32) {
    let workers = pool.worker_pids();
    drop(pool);
    assert!(!workers.contains(&own));
    assert!(workers.iter().all(|pid| procpool_faults::process(*pid).is_none()), "workers are left");
}

#[test]
fn row_19_a_host_that_waits_for_any_child() {
    guarded(|| host::run(HOST, &["waits-for-any"]));
}

#[test]
fn row_19_a_host_that_ignores_sigchld() {
    guarded(|| host::run(HOST, &["ignores-sigchld"]));
}

#[test]
fn a_storm_of_signals_at_1_khz() {
    guarded(|| {
        sys::handle(Signal::USR1.as_raw());
        let pool = pool(2);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    sys::raise(Signal::USR1);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_secs(2) {
                assert_alive(&pool);
                let nap = |ms| std::thread::sleep(Duration::from_millis(ms));
                pool.submit(nap, 3).unwrap().wait().unwrap();
                assert!(pool.submit(nap, 100).unwrap().wait_timeout(Duration::from_millis(2)).is_none());
                pool.cancel_pending();
                let large = pool.submit(|v: Vec<u8>| v, vec![1; 1 << 20]).unwrap().wait().unwrap();
                assert_eq!(large.len(), 1 << 20);
                assert_eq!(kind_of(pool.submit(crash, 0).unwrap().wait()), Kind::Died);
                let process = procpool::Process::spawn(double, 8).unwrap().join().unwrap();
                assert_eq!(process, 16);
            }
            over.store(true, Relaxed);
        });
        end(pool);
    });
}

#[test]
fn signals_to_the_group_of_the_host_do_not_reach_its_workers() {
    guarded(|| host::run(HOST, &["signals-its-group"]));
}
