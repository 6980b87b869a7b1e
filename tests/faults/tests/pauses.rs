//! Ctrl-Z and `fg`: pools that are paused and resumed, programs that are stopped and continued.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use procpool::{Kind, Pool};
use procpool_faults::host::Host;
use procpool_faults::notes::{Notes, note};
use procpool_faults::{assert_alive, double, end, guarded, is_gone, pool, process, sys, wait_until};
use rustix::process::Signal;

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");

fn is_stopped(pid: u32) -> bool {
    process(pid).is_some_and(|p| p.state == 'T')
}

/// Computes for so many milliseconds of CPU time, which do not pass while it is stopped.
fn compute(ms: u64) -> u64 {
    let start = sys::cpu_time();
    while sys::cpu_time() - start < ms * 1_000_000 {
        std::hint::spin_loop();
    }
    ms
}

fn stay((path, number): (String, u64)) -> u64 {
    note(&path, "begun", number);
    loop {
        std::thread::park();
    }
}

#[test]
fn row_05_paused_and_resumed_a_hundred_times_under_load() {
    guarded(|| {
        let pool = Pool::builder().workers(2).timeout(Duration::from_secs(20)).build().unwrap();
        assert_alive(&pool);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut done = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let outputs: Vec<u64> = pool.map(compute, (0..40).map(|n| n % 3)).map(|o| o.unwrap()).collect();
                    assert_eq!(outputs, (0..40).map(|n| n % 3).collect::<Vec<_>>());
                    done += outputs.len() as u64;
                }
                done
            });
            for _ in 0..100 {
                pool.pause().unwrap();
                let pids = pool.worker_pids();
                wait_until(|| pids.iter().all(|pid| is_stopped(*pid)));
                pool.resume();
                wait_until(|| !pids.iter().any(|pid| is_stopped(*pid)));
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            let done = load.join().unwrap();
            let stats = pool.stats();
            assert_eq!((stats.tasks_ok, stats.tasks_failed), (done + 100, 0), "{stats:?}");
            assert_eq!((stats.workers_started, stats.workers_died), (2, 0), "{stats:?}");
        });
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_05_a_pause_does_not_count() {
    guarded(|| {
        let notes = Notes::new();
        let timeout = Duration::from_secs(3);
        let pool = Pool::builder().workers(2).timeout(timeout).start_timeout(Duration::from_secs(5)).build().unwrap();
        assert_alive(&pool);
        // One that ends in time, if the pause is not counted, and one that does not.
        let brief = pool.submit(compute, 100).unwrap();
        let endless = pool.submit(stay, (notes.path(), 0)).unwrap();
        wait_until(|| notes.all().len() == 1);
        pool.pause().unwrap();
        // Twice is once.
        pool.pause().unwrap();
        std::thread::sleep(timeout + Duration::from_secs(1));
        assert!(!endless.is_done(), "a deadline came nearer during a pause");
        pool.resume();
        assert_eq!(brief.wait().unwrap(), 100);
        let error = endless.wait().unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut, "{error}");
        assert_alive(&pool);
        assert_eq!(pool.stats().workers_died, 1);
        pool.resume();
        end(pool);
    });
}

#[test]
fn row_05_what_comes_during_a_pause_waits_for_its_end() {
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(2);
        // Before there is any worker.
        pool.pause().unwrap();
        let futures: Vec<_> = (0..10).map(|n| pool.submit(double, n).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(pool.worker_pids(), [], "a worker was started during a pause");
        pool.resume();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.wait().unwrap(), 2 * n);
        }
        // A worker that is killed meanwhile, and a task that is cancelled.
        let killed = pool.submit(stay, (notes.path(), 0)).unwrap();
        let cancelled = pool.submit(stay, (notes.path(), 1)).unwrap();
        wait_until(|| notes.all().len() == 2);
        pool.pause().unwrap();
        assert!(cancelled.cancel());
        let victim = notes.all().into_iter().find(|note| note.task == 0).unwrap().pid;
        sys::kill(victim, Signal::KILL);
        let error = killed.wait().unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())), "{error}");
        assert!(!cancelled.is_done(), "a task was ended without the time to clean up");
        pool.resume();
        assert_eq!(cancelled.wait().unwrap_err().kind(), Kind::Cancelled);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_05_a_paused_pool_can_be_ended_in_every_way() {
    guarded(|| {
        for how in ["shutdown", "shutdown_now", "drop"] {
            let notes = Notes::new();
            let pool = pool(2);
            assert_alive(&pool);
            let futures: Vec<_> = (0..20).map(|n| pool.submit(compute, n).unwrap()).collect();
            let endless = (how != "shutdown").then(|| pool.submit(stay, (notes.path(), 0)).unwrap());
            pool.pause().unwrap();
            match how {
                "shutdown" => {
                    pool.shutdown();
                    assert!(futures.into_iter().all(|future| future.wait().is_ok()));
                }
                "shutdown_now" => pool.shutdown_now(),
                _ => {}
            }
            end(pool);
            assert!(endless.is_none_or(|future| future.wait().is_err()));
        }
    });
}

#[test]
fn row_05_what_a_task_has_started_is_paused_with_it() {
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(1);
        let start = |path: String| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            // SAFETY: only a system call between fork and exec.
            #[allow(unsafe_code)]
            unsafe {
                command.pre_exec(sys::leave_session)
            };
            // Left to the worker's end on purpose.
            #[allow(clippy::zombie_processes)]
            let child = command.spawn().unwrap();
            note(&path, "child", u64::from(child.id()));
            child.id()
        };
        let child = pool.submit(start, notes.path()).unwrap().wait().unwrap();
        pool.pause().unwrap();
        wait_until(|| is_stopped(child));
        pool.resume();
        wait_until(|| !is_stopped(child));
        assert_alive(&pool);
        end(pool);
        wait_until(|| is_gone(child));
    });
}

#[test]
fn row_05_a_program_that_stood_still_does_not_count_it() {
    guarded(|| {
        let notes = Notes::new();
        let host = Host::start(HOST, &["stopped-and-not-late", &notes.path()]);
        let pid = host.child.id();
        wait_until(|| notes.count("begun").len() == 2);
        assert!(sys::kill(pid, Signal::STOP));
        // Longer than the timeout.
        std::thread::sleep(Duration::from_secs(5));
        assert!(sys::kill(pid, Signal::CONT));
        let go = format!("{}-go", notes.path());
        fs::write(&go, "").unwrap();
        host.assert_success();
        fs::remove_file(go).unwrap();
    });
}

#[test]
fn row_05_threads_cannot_be_paused() {
    guarded(|| {
        let pool = Pool::builder().workers(1).threads().build().unwrap();
        assert_eq!(pool.pause().unwrap_err().kind(), Kind::Usage);
        pool.resume();
        assert_eq!(pool.submit(double, 4).unwrap().wait().unwrap(), 8);
        pool.shutdown();
    });
}
