//! Every system call of the parent fails, each time it is made, with each of its errors: the pool goes on or says so in an
//! error, and leaves nothing. `make test` tries a part of it, `make soak` all.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use procpool::failpoints::{Call, arm, disarm};
use procpool::{Error, Kind, Pool, Queue};
use procpool_faults::{children, double, guarded_for, open_descriptors, pool_threads, wait_until};

procpool::init_in_tests!();

/// One round; far more than it needs on a loaded machine.
const WATCHDOG: Duration = Duration::from_secs(60);
/// All of them; each is watched by itself.
const ALL_ROUNDS: Duration = Duration::from_secs(3600);
const LARGE: usize = 200 * 1024;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// An error that a failed system call may end in. Whatever it is, it is not the task's doing; only in a worker thread, where
/// the task's own system calls fail too, it may look so.
fn allow(error: &Error) {
    let kinds = [Kind::Start, Kind::Os, Kind::Died, Kind::Encode, Kind::Decode];
    let in_thread = error.pid().is_none() && (kinds.contains(&error.kind()) || error.kind() == Kind::Panicked);
    let in_process = kinds.contains(&error.kind()) && error.blame() != procpool::Blame::Task;
    assert!(in_process || in_thread, "{:?}, {:?}: {error}", error.kind(), error.blame());
}

/// The value, or nothing if an error says why not.
fn allowed<T>(result: procpool::Result<T>) -> Option<T> {
    result.inspect_err(allow).ok()
}

fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn put((queue, value): (Queue<u64>, u64)) {
    queue.put(&value).unwrap();
}

/// Says that it has begun, and goes on until it is ended.
fn stay(queue: Queue<u64>) {
    queue.put(&7).unwrap();
    loop {
        std::thread::park();
    }
}

/// A pool of two workers and twenty tasks: small ones, a large one, one with a queue, one that is cancelled, some with a
/// shared state; and its end. Returns how many had their output. Of a pool of threads none is cancelled while it runs.
fn round(threads: bool) -> u32 {
    let mut done = 0;
    let builder = Pool::builder().workers(2);
    let Some(pool) = allowed(if threads { builder.threads() } else { builder }.build()) else { return 0 };
    let small: Vec<_> = (0..13).map(|x| (x, pool.submit(double, x))).collect();
    let input: Vec<u8> = (0..LARGE).map(|k| k as u8).collect();
    let large = pool.submit(reverse, input.clone());
    let queue = allowed(Queue::<u64>::new());
    if let Some(queue) = &queue {
        let with_queue = pool.submit(put, (queue.clone(), 3));
        if allowed(with_queue.and_then(|future| future.wait())).is_some() {
            done += 1;
            while allowed(queue.try_get()) != Some(Some(3)) {
                std::thread::yield_now();
            }
        }
        if !threads && let Some(stays) = allowed(pool.submit(stay, queue.clone())) {
            while !stays.is_done() && allowed(queue.try_get()) != Some(Some(7)) {
                std::thread::yield_now();
            }
            stays.cancel();
            let error = stays.wait().unwrap_err();
            if error.kind() != Kind::Cancelled {
                allow(&error);
            }
        }
    }
    for (x, future) in small {
        if let Some(output) = allowed(future.and_then(|future| future.wait())) {
            assert_eq!(output, 2 * x);
            done += 1;
        }
    }
    if let Some(output) = allowed(large.and_then(|future| future.wait())) {
        assert!(output.iter().rev().eq(input.iter()));
        done += 1;
    }
    let add = |state: &mut Vec<u8>, x: usize| state.len() + x;
    for (x, outcome) in pool.map_with(input, add, 0..4).chunk_size(2).enumerate() {
        if let Some(output) = allowed(outcome) {
            assert_eq!(output, LARGE + x);
            done += 1;
        }
    }
    // What failed has passed, at the latest after a second's rest from starting workers.
    while allowed(pool.submit(double, 21).and_then(|future| future.wait())) != Some(42) {
        std::thread::yield_now();
    }
    pool.shutdown();
    done
}

/// Mappings of the pool's shared memory in this process.
fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("memfd:procpool")).count()
}

/// One round under a watchdog, with the proof that nothing is left. Returns how many tasks had their output, and how often
/// something failed.
fn round_with(what: &str, threads: bool, call: Call, passes: u64, failures: u64, error: i32) -> (u32, u64) {
    let (ended, is_ended) = channel::<()>();
    let name = what.to_string();
    let watchdog = std::thread::spawn(move || {
        if is_ended.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
            let _ = writeln!(std::io::stderr(), "hangs: {name}");
            std::process::abort();
        }
    });
    let (descriptors, maps, running) = (open_descriptors(), mappings(), pool_threads());
    arm(call, passes, failures, error);
    let done = std::panic::catch_unwind(|| round(threads));
    let hits = disarm();
    let done = done.unwrap_or_else(|_| panic!("{what}"));
    assert_eq!(PANICS.load(SeqCst), 0, "{what}: a thread panicked");
    assert!(children().is_empty(), "{what}: children are left");
    // A thread that was joined is still listed for a moment.
    let start = Instant::now();
    while pool_threads() > running {
        assert!(start.elapsed() < WATCHDOG / 2, "{what}: a thread of the pool is left");
        std::thread::yield_now();
    }
    assert_eq!(open_descriptors(), descriptors, "{what}: descriptors are left");
    assert_eq!(mappings(), maps, "{what}: mappings are left");
    drop(ended);
    watchdog.join().unwrap();
    (done, hits)
}

/// Fails each call `failures` times from each time on that it is made; every `stride`-th time, that is.
fn exhaust(threads: bool, failures: u64, stride: u64) {
    std::panic::set_hook(Box::new(|panic| {
        // A task's own panic in a worker thread is an outcome like others.
        if std::thread::current().name().is_some_and(|name| name.starts_with("procpool-") && name != "procpool-output")
        {
            return;
        }
        PANICS.fetch_add(1, SeqCst);
        let _ = writeln!(std::io::stderr(), "{panic}");
    }));
    guarded_for(ALL_ROUNDS, || {
        // Once without, so that what is made once for the whole process is there.
        assert_eq!(round_with("nothing fails", threads, Call::Memfd, u64::MAX, 0, 0), (19, 0));
        let (start, mut rounds, mut whole, mut counts) = (Instant::now(), 0, 0, BTreeMap::new());
        for call in Call::ALL {
            for &error in call.errors() {
                for nth in (0..).step_by(stride as usize) {
                    let what = format!("{call:?} fails {failures} times after {nth}, with errno {error}");
                    let (done, hits) = round_with(&what, threads, call, nth, failures, error);
                    if hits == 0 {
                        break;
                    }
                    rounds += 1;
                    whole += u32::from(done == 19);
                    *counts.entry(format!("{call:?}")).or_insert(0) += 1;
                }
            }
        }
        let took = start.elapsed();
        let _ = writeln!(
            std::io::stderr(),
            "{rounds} rounds in {took:?}; in {whole} of them every task had its output; {counts:?}"
        );
        wait_until(|| children().is_empty());
    });
}

/// Of what takes long, `make test` tries each third; `make soak` sets this to 1.
fn stride() -> u64 {
    std::env::var("EXHAUSTION_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(3)
}

#[test]
fn each_system_call_fails_once() {
    exhaust(false, 1, 1);
}

#[test]
fn each_system_call_fails_five_times() {
    exhaust(false, 5, stride());
}

#[test]
fn each_system_call_of_a_pool_of_threads_fails_once() {
    exhaust(true, 1, 1);
}
