//! The host program is killed, grandchildren, forks, and workers that end in every way there is.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use procpool::{Blame, Kind, Pool, TaskOptions};
use procpool_faults::host::Host;
use procpool_faults::notes::{Notes, note};
use procpool_faults::{assert_alive, double, end, guarded, is_gone, pool, process, sys, wait_until};
use rustix::process::Signal;

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");

#[test]
fn row_08_the_host_is_killed_and_nothing_of_it_is_left() {
    for state in ["busy", "idle", "starting", "stopped", "grandchildren", "sessions", "sleeping"] {
        guarded(|| {
            let mut host = Host::start(HOST, &["to-be-killed", state]);
            let pids = host.numbers();
            assert!(pids.len() >= 2, "{state}: {pids:?}");
            assert!(pids.iter().all(|pid| process(*pid).is_some()), "{state}: some ended before the host did");
            host.child.kill().unwrap();
            host.child.wait().unwrap();
            let killed = std::time::Instant::now();
            wait_until(|| pids.iter().all(|pid| is_gone(*pid)));
            println!("{state}: everything is gone {:?} after the host", killed.elapsed());
        });
    }
}

/// Starts a program that outlives the task and holds everything the worker lets it have, its control socket included.
fn leave_a_child((path, then): (String, String)) -> u32 {
    let socket = sys::control_socket().try_clone_to_owned().unwrap();
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(socket);
    // The child is left to the worker's end on purpose.
    #[allow(clippy::zombie_processes)]
    let child = command.spawn().unwrap();
    note(&path, "child", u64::from(child.id()));
    match then.as_str() {
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        "stay" => loop {
            std::thread::park();
        },
        _ => child.id(),
    }
}

#[test]
fn row_09_a_grandchild_that_holds_the_workers_pipes() {
    for (then, kind) in [("exit", Kind::Died), ("abort", Kind::Died), ("stay", Kind::TimedOut)] {
        guarded(|| {
            let notes = Notes::new();
            let pool = Pool::builder().workers(1).timeout(Duration::from_secs(1)).build().unwrap();
            let error = pool.submit(leave_a_child, (notes.path(), then.into())).unwrap().wait().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            let grandchild = notes.all()[0].task as u32;
            wait_until(|| is_gone(grandchild));
            assert_alive(&pool);
            end(pool);
        });
    }
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(1);
        let grandchild = pool.submit(leave_a_child, (notes.path(), "return".into())).unwrap().wait().unwrap();
        assert_alive(&pool);
        assert!(!is_gone(grandchild), "a task may leave a process to the tasks after it");
        pool.shutdown();
        wait_until(|| is_gone(grandchild));
        end(pool);
    });
}

/// Starts a program in a session of its own, below this worker, or below a program of its own that stays.
fn leave_a_session((path, then): (String, String)) -> u32 {
    let script = "setsid sleep 1000 & echo $!; wait";
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(std::process::Stdio::piped());
    // The children are left to the worker's end on purpose.
    #[allow(clippy::zombie_processes)]
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let sleeper: u32 = line.trim().parse().unwrap();
    // Until it has left.
    let session = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(3).unwrap().parse::<u32>().unwrap()
    };
    wait_until(|| session(sleeper) == sleeper);
    note(&path, "child", u64::from(sleeper));
    match then.as_str() {
        "stay" => loop {
            std::thread::park();
        },
        _ => sleeper,
    }
}

#[test]
fn row_09_a_grandchild_in_a_session_of_its_own() {
    for how in ["timeout", "cancel", "drop", "memory"] {
        guarded(|| {
            let notes = Notes::new();
            let options = match how {
                "timeout" => TaskOptions::new().timeout(Duration::from_secs(3)),
                // Any worker has more.
                "memory" => TaskOptions::new().memory_limit(64 << 10),
                _ => TaskOptions::new(),
            };
            let pool = pool(1);
            let future = pool.submit_with(&options, leave_a_session, (notes.path(), "stay".into())).unwrap();
            // On a machine that is busy enough a limit may end it before it has got so far.
            wait_until(|| notes.all().len() == 1 || future.is_done());
            match how {
                "cancel" => assert!(future.cancel()),
                "drop" => return end_and_expect_gone(pool, &notes),
                _ => {}
            }
            let error = future.wait().unwrap_err();
            let kind = match how {
                "timeout" => Kind::TimedOut,
                "memory" => Kind::OutOfMemory,
                _ => Kind::Cancelled,
            };
            assert_eq!(error.kind(), kind, "{error}");
            wait_until(|| notes.all().iter().all(|note| is_gone(note.task as u32)));
            assert_alive(&pool);
            end_and_expect_gone(pool, &notes);
        });
    }
    // And at the orderly end of its worker; until then it may stay.
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(1);
        let sleeper = pool.submit(leave_a_session, (notes.path(), "return".into())).unwrap().wait().unwrap();
        assert_alive(&pool);
        assert!(!is_gone(sleeper));
        pool.shutdown();
        wait_until(|| is_gone(sleeper));
        end(pool);
    });
}

fn end_and_expect_gone(pool: Pool, notes: &Notes) {
    end(pool);
    wait_until(|| notes.all().iter().all(|note| is_gone(note.task as u32)));
}

/// Returns twice, in two processes.
fn split((path, n): (String, u64)) -> u64 {
    let child = sys::fork();
    note(&path, if child == 0 { "copy" } else { "original" }, n);
    n
}

#[test]
fn row_10_a_task_that_forks_and_returns_twice() {
    for workers in [1, 2] {
        guarded(|| {
            let notes = Notes::new();
            let pool = pool(workers);
            for n in 0..30 {
                assert_eq!(pool.submit(split, (notes.path(), n)).unwrap().wait().unwrap(), n);
                assert_eq!(pool.submit(double, n).unwrap().wait().unwrap(), 2 * n);
            }
            let futures: Vec<_> = (100..130).map(|n| pool.submit(split, (notes.path(), n)).unwrap()).collect();
            for (n, future) in (100..).zip(futures) {
                assert_eq!(future.wait().unwrap(), n);
            }
            let outputs: Vec<u64> =
                pool.map(split, (200..230).map(|n| (notes.path(), n))).map(|o| o.unwrap()).collect();
            assert_eq!(outputs, (200..230).collect::<Vec<_>>());
            assert_alive(&pool);
            let stats = pool.stats();
            assert_eq!((stats.tasks_ok, stats.tasks_failed), (30 + 30 + 30 + 30 + 100, 0));
            assert_eq!((stats.workers_started, stats.workers_died), (workers as u64, 0), "a copy harms nobody");
            end(pool);
            assert!(notes.count("original").values().all(|times| *times == 1));
            assert_eq!(notes.count("original").len(), 90);
        });
    }
}

#[test]
fn row_10_a_copy_of_a_worker_ends_with_it() {
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(1);
        let stay = |path: String| {
            let child = sys::fork();
            if child == 0 {
                loop {
                    std::thread::park();
                }
            }
            note(&path, "copy", u64::from(child));
            child
        };
        let copy = pool.submit(stay, notes.path()).unwrap().wait().unwrap();
        assert_alive(&pool);
        end(pool);
        wait_until(|| is_gone(copy));
    });
}

fn recurse(depth: u64) -> u64 {
    let page = [depth; 512];
    std::hint::black_box(&page);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + page[7] }
}

fn leave(how: String) -> u64 {
    match how.as_str() {
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        "_exit 0" => sys::exit_now(0),
        "abort" => std::process::abort(),
        "stack overflow" => recurse(0),
        "segfault" => sys::segfault(),
        "bus error" => sys::bus_error(),
        "SIGTERM" => {
            sys::raise(Signal::TERM);
            0
        }
        "panic in a panic" => {
            struct Bomb;
            impl std::fmt::Display for Bomb {
                fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    panic!("second")
                }
            }
            panic!("{Bomb}")
        }
        _ => 1,
    }
}

#[test]
fn row_11_every_way_to_end() {
    let ways = [
        ("exit 0", None, Some(0), "exited with code 0 in the middle of it"),
        ("exit 3", None, Some(3), "exited with code 3 in the middle of it"),
        ("_exit 0", None, Some(0), "exited with code 0 in the middle of it"),
        ("abort", Some(Signal::ABORT), None, "was killed by SIGABRT"),
        // Here workers begin before `main`, and so before the runtime could install the handler that turns this into SIGABRT.
        ("stack overflow", Some(Signal::SEGV), None, "was killed by SIGSEGV"),
        ("segfault", Some(Signal::SEGV), None, "was killed by SIGSEGV"),
        ("bus error", Some(Signal::BUS), None, "was killed by SIGBUS"),
        ("SIGTERM", Some(Signal::TERM), None, "was killed by SIGTERM"),
        ("panic in a panic", Some(Signal::ABORT), None, "was killed by SIGABRT"),
    ];
    guarded(|| {
        let pool = pool(2);
        for (how, signal, code, said) in ways {
            let outcomes: Vec<_> = ["", how, "", ""].map(|how| pool.submit(leave, how.into()).unwrap()).into();
            for (k, outcome) in outcomes.into_iter().map(|future| future.wait()).enumerate() {
                if k != 1 {
                    assert_eq!(outcome.unwrap(), 1, "{how}");
                    continue;
                }
                let error = outcome.unwrap_err();
                assert_eq!((error.kind(), error.blame()), (Kind::Died, Blame::Worker), "{how}: {error}");
                assert_eq!((error.signal(), error.exit_code()), (signal.map(Signal::as_raw), code), "{how}: {error}");
                let pid = error.pid().unwrap();
                assert_eq!(error.message(), format!("its worker (pid {pid}) {said}"), "{how}");
            }
        }
        assert_eq!(pool.stats().workers_died_busy, ways.len() as u64);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_11_a_worker_that_closes_every_descriptor() {
    for workers in [1, 2] {
        guarded(|| {
            let pool = pool(workers);
            let close = |n: u64| {
                sys::close_everything();
                n
            };
            for n in 0..10 {
                // It has an output, so it may have it; what it must not do is hang, or harm the tasks after it.
                match pool.submit(close, n).unwrap().wait() {
                    Ok(m) => assert_eq!(m, n),
                    Err(error) => assert_eq!(error.kind(), Kind::Died, "{error}"),
                }
                assert_alive(&pool);
                std::thread::sleep(Duration::from_millis(1));
                assert_eq!(pool.submit(double, n).unwrap().wait().unwrap(), 2 * n);
            }
            end(pool);
        });
    }
}
