//! The pool through its public face.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procpool::{Blame, Kind, Output, Pool, Stream};
use support::{alone, double, pool, wait_until};

procpool::init_in_tests!();

#[test]
fn submit_and_wait() {
    alone(|| {
        let pool = pool(2);
        assert_eq!(pool.submit(double, 21).unwrap().wait().unwrap(), 42);
        let futures: Vec<_> = (0..1000).map(|x| pool.submit(double, x).unwrap()).collect();
        for (x, future) in futures.into_iter().enumerate() {
            assert_eq!(future.wait().unwrap(), 2 * x as u64);
        }
        assert_eq!(pool.stats().tasks_ok, 1001);
        pool.shutdown();
    });
}

#[test]
fn tasks_run_in_other_processes_and_a_dropped_pool_leaves_none() {
    alone(|| {
        let pool = pool(2);
        let pids: HashSet<u32> = pool.map(|_: u32| std::process::id(), 0..100).map(Result::unwrap).collect();
        assert!(!pids.contains(&std::process::id()));
        assert!(pids.len() <= 2);
    });
}

#[test]
fn a_worker_bears_the_name_of_its_pool() {
    alone(|| {
        let pool = Pool::builder().workers(1).name("resizer").build().unwrap();
        let name = |()| std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(pool.submit(name, ()).unwrap().wait().unwrap(), "resizer-0\n");
    });
}

#[test]
fn closures_without_captures_are_task_functions() {
    alone(|| {
        let pool = pool(1);
        let future = pool.submit(|(a, b): (String, u8)| format!("{a}{b}"), ("x".to_string(), 7)).unwrap();
        assert_eq!(future.wait().unwrap(), "x7");
    });
}

#[test]
fn map_yields_in_input_order_and_lazily() {
    alone(|| {
        let pool = pool(2);
        let mut drawn = 0u64;
        {
            let inputs = (0u64..).inspect(|_| drawn += 1);
            let outputs: Vec<u64> = pool.map(double, inputs).take(10_000).map(Result::unwrap).collect();
            assert_eq!(outputs, (0..10_000).map(|x| 2 * x).collect::<Vec<_>>());
        }
        assert!(drawn < 10_000 + 400_000, "{drawn} inputs drawn for 10000 outputs");
        for chunk in [1, 3, 1000, 100_000] {
            let sum: u64 = pool.map(double, 0..5000).chunk_size(chunk).map(Result::unwrap).sum();
            assert_eq!(sum, 4999 * 5000, "chunks of {chunk}");
        }
    });
}

#[test]
fn map_unordered_yields_every_input_once() {
    alone(|| {
        let pool = pool(2);
        let mut seen = vec![0; 5000];
        for (index, output) in pool.map_unordered(double, 0..5000) {
            assert_eq!(output.unwrap(), 2 * index as u64);
            seen[index] += 1;
        }
        assert!(seen.iter().all(|n| *n == 1));
    });
}

#[test]
fn map_with_gives_each_worker_the_state_once() {
    alone(|| {
        let pool = pool(2);
        let table: Vec<u32> = (0..100_000).map(|x| x * 3).collect();
        let outputs: Vec<u32> = pool.map_with(table, |t, i: usize| t[i], 0..2000).map(Result::unwrap).collect();
        assert_eq!(outputs, (0..2000).map(|x| x * 3).collect::<Vec<_>>());
        let counts: Vec<(u32, u32)> = pool
            .map_with(
                0,
                |seen: &mut u32, _: u8| {
                    *seen += 1;
                    (std::process::id(), *seen)
                },
                [0; 100],
            )
            .chunk_size(1)
            .map(Result::unwrap)
            .collect();
        let workers: HashSet<u32> = counts.iter().map(|(pid, _)| *pid).collect();
        let last: u32 =
            workers.iter().map(|w| counts.iter().filter(|(pid, _)| pid == w).map(|(_, n)| *n).max().unwrap()).sum();
        assert_eq!(last, 100, "each worker counts in a state of its own");
    });
}

#[test]
fn large_inputs_and_outputs_travel_whole() {
    alone(|| {
        let pool = pool(2);
        for size in [0, 1, 60_000, 65_536, 70_000, 300_000, 5_000_000] {
            let input: Vec<u8> = (0..size).map(|k| k as u8).collect();
            let reversed = pool
                .submit(
                    |mut v: Vec<u8>| {
                        v.reverse();
                        v
                    },
                    input.clone(),
                )
                .unwrap()
                .wait()
                .unwrap();
            assert!(reversed.iter().rev().eq(input.iter()), "{size} bytes");
        }
        let sizes = (0..200u32).map(|k| k * 1000);
        for (k, output) in pool.map(|n: u32| vec![1u8; n as usize], sizes).chunk_size(7).enumerate() {
            assert_eq!(output.unwrap().len(), k * 1000);
        }
    });
}

#[test]
fn a_functions_own_result_is_a_value() {
    alone(|| {
        let pool = pool(1);
        let parse = |s: String| s.parse::<u8>().map_err(|e| e.to_string());
        assert_eq!(pool.submit(parse, "200".into()).unwrap().wait().unwrap(), Ok(200));
        assert_eq!(
            pool.submit(parse, "x".into()).unwrap().wait().unwrap(),
            Err("invalid digit found in string".into())
        );
        assert_eq!(pool.stats().tasks_ok, 2);
    });
}

#[test]
fn a_panic_is_an_error_with_message_location_and_backtrace() {
    alone(|| {
        let pool = pool(1);
        let line = line!() + 1;
        let error = pool.submit(|n: u32| -> u32 { panic!("not {n}") }, 5).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.blame(), error.message()), (Kind::Panicked, Blame::Task, "not 5"));
        assert!(
            error.location().unwrap().starts_with(&format!("crates/procpool/tests/pool.rs:{line}:"))
                || error.location().unwrap().starts_with(&format!("tests/pool.rs:{line}:")),
            "{:?}",
            error.location()
        );
        assert!(error.backtrace().unwrap().contains("pool::a_panic_is_an_error"));
        assert_eq!(error.index(), Some(0));
        assert!(error.to_string().starts_with("task 0 (pool::a_panic_is_an_error"), "{error}");
        assert_eq!(pool.submit(double, 1).unwrap().wait().unwrap(), 2, "the worker goes on");
        assert_eq!(pool.stats().workers_started, 1);
    });
}

#[test]
fn a_payload_that_panics_when_dropped_is_a_panic_like_any_other() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    alone(|| {
        let pool = pool(1);
        let error = pool.submit(|()| -> u8 { std::panic::panic_any(Bomb) }, ()).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Panicked, "(the panic carries no text)"));
        assert_eq!(pool.submit(double, 1).unwrap().wait().unwrap(), 2);
    });
}

fn not_utf8() -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(vec![0xff]).into()
}

#[test]
fn what_cannot_be_encoded_fails_that_task_only() {
    alone(|| {
        let pool = pool(2);
        let error = pool.submit(|p: PathBuf| p.exists(), not_utf8()).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Encode);
        assert!(error.to_string().contains("input cannot be encoded"), "{error}");
        let error = pool.submit(|()| not_utf8(), ()).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.blame()), (Kind::Encode, Blame::Task));
        let paths = [PathBuf::from("a"), not_utf8(), PathBuf::from("b")];
        let outcomes: Vec<_> = pool.map(|p: PathBuf| p.exists(), paths).chunk_size(3).collect();
        assert_eq!(outcomes[0].as_ref().unwrap(), &false);
        assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), Kind::Encode);
        assert_eq!(outcomes[1].as_ref().unwrap_err().index(), Some(1));
        assert_eq!(outcomes[2].as_ref().unwrap(), &false);
    });
}

#[derive(serde::Serialize)]
struct OneWay(u8);

impl<'de> serde::Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("one way only"))
    }
}

#[test]
fn what_cannot_be_decoded_fails_that_task_only() {
    alone(|| {
        let pool = pool(1);
        let error = pool.submit(|x: OneWay| x.0, OneWay(1)).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Decode);
        assert!(error.to_string().contains("its input cannot be decoded"), "{error}");
        let error = pool.submit(OneWay, 1).unwrap().wait().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Decode);
        assert!(error.to_string().contains("its output cannot be decoded"), "{error}");
        assert_eq!(pool.submit(double, 1).unwrap().wait().unwrap(), 2);
    });
}

#[test]
fn an_error_carries_the_workers_last_words() {
    alone(|| {
        let pool = pool(1);
        let last_words = |n: u32| -> u32 {
            eprintln!("{}", "x".repeat(5000));
            eprint!("reading picture {n}");
            std::process::abort()
        };
        let error = pool.submit(last_words, 7).unwrap().wait().unwrap_err();
        let stderr = error.stderr().unwrap();
        assert!(stderr.len() <= 4096 && stderr.ends_with("x\nreading picture 7"), "{stderr}");
        let error = pool.submit(|()| -> u32 { std::process::abort() }, ()).unwrap().wait().unwrap_err();
        assert_eq!(error.stderr(), None, "another worker, which said nothing");
    });
}

#[test]
fn what_workers_print_can_be_captured() {
    alone(|| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let keep = Output::Capture(Arc::new(move |line| kept.lock().unwrap().push(line)));
        let pool = Pool::builder().workers(1).output(keep).build().unwrap();
        let speak = |n: u32| {
            println!("out {n}");
            eprintln!("err {n}");
            std::process::id()
        };
        let pid = pool.submit(speak, 1).unwrap().wait().unwrap();
        pool.map(speak, 2..100).for_each(|outcome| assert_eq!(outcome.unwrap(), pid));
        pool.shutdown();
        let lines = lines.lock().unwrap();
        for (stream, word) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
            let texts = lines.iter().filter(|line| line.stream == stream && line.pid == pid);
            let texts: Vec<_> = texts.map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect();
            assert_eq!(texts, (1..100).map(|n| format!("{word} {n}")).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_pool_may_be_dropped_by_who_captures_its_output() {
    alone(|| {
        let slot = Arc::new(Mutex::new(None::<Pool>));
        let inner = Arc::clone(&slot);
        let drop_it = Output::Capture(Arc::new(move |_| drop(inner.lock().unwrap().take())));
        let pool = Pool::builder().workers(1).output(drop_it).build().unwrap();
        *slot.lock().unwrap() = Some(pool);
        let future = slot.lock().unwrap().as_ref().unwrap().submit(|()| println!("x"), ()).unwrap();
        wait_until(|| slot.lock().unwrap().is_none());
        let _ = future.wait();
        wait_until(|| support::threads_named("procpool") == 0);
    });
}

#[test]
fn many_threads_submit_and_wait_at_once() {
    alone(|| {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for k in 0..300 {
                        let x = thread * 1000 + k;
                        assert_eq!(pool.submit(double, x).unwrap().wait().unwrap(), 2 * x);
                    }
                });
            }
        });
        assert_eq!(pool.stats().tasks_ok, 2400);
    });
}

#[test]
fn threads_run_the_same_calls() {
    alone(|| {
        let pool = Pool::builder().workers(3).threads().build().unwrap();
        assert_eq!(pool.submit(|()| std::process::id(), ()).unwrap().wait().unwrap(), std::process::id());
        let outputs: Vec<u64> = pool.map(double, 0..5000).map(Result::unwrap).collect();
        assert_eq!(outputs, (0..5000).map(|x| 2 * x).collect::<Vec<_>>());
        let error = pool.submit(|()| panic!("thread"), ()).unwrap().wait().map(|(): ()| ()).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Panicked, "thread"));
        let big = pool.submit(|v: Vec<u8>| v, vec![3; 1 << 20]).unwrap().wait().unwrap();
        assert_eq!(big.len(), 1 << 20);
        pool.shutdown();
        let refused = Pool::builder().threads().timeout(Duration::from_secs(1)).build().unwrap_err();
        assert_eq!(refused.kind(), Kind::Usage);
        drop(pool);
        wait_until(|| support::threads_named("procpool") == 0);
    });
}

#[test]
fn pools_nest() {
    alone(|| {
        let pool = pool(1);
        let inner =
            |n: u64| Pool::builder().workers(1).build().unwrap().map(double, 0..n).map(Result::unwrap).sum::<u64>();
        assert_eq!(pool.submit(inner, 10).unwrap().wait().unwrap(), 90);
    });
}

#[test]
fn a_pool_without_workers_is_refused() {
    alone(|| assert_eq!(Pool::builder().workers(0).build().unwrap_err().kind(), Kind::Usage));
}

#[test]
fn a_worker_never_waits_for_a_state_that_was_dropped() {
    alone(|| {
        let pool = pool(2);
        for round in 0..3000u64 {
            let sums = pool.map_with(3u64, |add, x: u64| x + *add, 0..).chunk_size(1 + round as u32 % 40);
            for (k, sum) in sums.take(round as usize % 120).enumerate() {
                assert_eq!(sum.unwrap(), k as u64 + 3);
            }
            // Each worker has one, and neither can take the other's.
            let futures: Vec<_> = (0..2).map(|x| pool.submit(double, x).unwrap()).collect();
            for (x, future) in (0..).zip(futures) {
                assert_eq!(future.wait().unwrap(), 2 * x);
            }
        }
    });
}
