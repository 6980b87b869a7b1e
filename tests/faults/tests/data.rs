//! Values that are large, many, or cannot be encoded or decoded.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use procpool::{Blame, Kind, Pool};
use procpool_faults::notes::{Notes, note};
use procpool_faults::{assert_alive, end, guarded, host, kind_of, pool, resident, sys, wait_until};
use rustix::process::Signal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LARGE: usize = 64 << 20;

/// Many bytes; whoever reads them dies half way, or notes that he is there and stays.
#[derive(Debug)]
struct Heavy {
    bytes: Vec<u8>,
    how: Fate,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Fate {
    Arrive,
    DieWhenRead,
    DieWhenWritten,
    /// With the path of the notes.
    StayWhenRead(String),
    StayWhenWritten(String),
}

fn stay(path: &str) -> ! {
    note(path, "halfway", u64::from(std::process::id()));
    loop {
        std::thread::park();
    }
}

/// Whether this is a worker, and not the process of the tests.
fn in_worker() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == "--procpool-worker")
}

impl Serialize for Heavy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.bytes)?;
        match &self.how {
            Fate::DieWhenWritten if in_worker() => sys::raise(Signal::KILL),
            Fate::StayWhenWritten(path) if in_worker() => stay(path),
            _ => {}
        }
        tuple.serialize_element(&self.how)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Heavy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, how) = <(Vec<u8>, Fate)>::deserialize(deserializer)?;
        match &how {
            Fate::DieWhenRead if in_worker() => sys::raise(Signal::KILL),
            Fate::StayWhenRead(path) if in_worker() => stay(path),
            _ => {}
        }
        Ok(Self { bytes, how })
    }
}

#[test]
fn row_13_death_in_the_middle_of_a_large_input_and_output() {
    guarded(|| {
        let notes = Notes::new();
        let pool = pool(2);
        let same = |heavy: Heavy| heavy;
        for how in [Fate::DieWhenRead, Fate::DieWhenWritten] {
            let heavy = |how| Heavy { bytes: vec![7; LARGE], how };
            let outcomes =
                [heavy(Fate::Arrive), heavy(how), heavy(Fate::Arrive)].map(|h| pool.submit(same, h).unwrap().wait());
            let [Ok(before), Err(error), Ok(after)] = outcomes else { panic!("{outcomes:?}") };
            assert_eq!((before.bytes.len(), after.bytes.len()), (LARGE, LARGE));
            assert!(after.bytes.iter().all(|byte| *byte == 7));
            assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())), "{error}");
        }
        for (k, how) in [Fate::StayWhenRead(notes.path()), Fate::StayWhenWritten(notes.path())].into_iter().enumerate()
        {
            let future = pool.submit(same, Heavy { bytes: vec![7; LARGE], how }).unwrap();
            wait_until(|| notes.all().len() == k + 1);
            sys::kill(notes.all()[k].pid, Signal::KILL);
            let error = future.wait().unwrap_err();
            assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())), "{error}");
        }
        assert_eq!(pool.stats().workers_died_busy, 4);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_13_a_worker_killed_at_any_moment_of_a_large_transfer() {
    guarded(|| {
        let pool = Pool::builder().workers(1).retries(1).build().unwrap();
        let reverse = |mut bytes: Vec<u8>| {
            bytes.reverse();
            bytes
        };
        let input: Vec<u8> = (0..8 << 20).map(|k: u32| (k / 3) as u8).collect();
        for k in 0..25 {
            assert_alive(&pool);
            let future = pool.submit(reverse, input.clone()).unwrap();
            std::thread::sleep(Duration::from_micros(500 * k));
            for pid in pool.worker_pids() {
                sys::kill(pid, Signal::KILL);
            }
            assert!(future.wait().unwrap().iter().rev().eq(input.iter()));
        }
        assert!(pool.stats().workers_died_busy > 0, "no kill hit");
        end(pool);
    });
}

#[test]
fn row_13_a_chunk_of_many_large_inputs_and_outputs() {
    guarded(|| {
        let pool = pool(2);
        let grow = |n: usize| vec![n as u8; 70_000];
        for chunk in [1, 100, 1000] {
            for (n, output) in pool.map(grow, 0..1000).chunk_size(chunk).enumerate() {
                let output = output.unwrap();
                assert_eq!((output.len(), output[0]), (70_000, n as u8), "chunks of {chunk}");
            }
        }
        for chunk in [1, 100] {
            let inputs = (0..500).map(|n| vec![n as u8; 70_000]);
            for (n, output) in pool.map(|v: Vec<u8>| (v.len(), v[0]), inputs).chunk_size(chunk).enumerate() {
                assert_eq!(output.unwrap(), (70_000, n as u8), "chunks of {chunk}");
            }
        }
        assert_eq!(pool.stats().workers_died, 0);
        end(pool);
    });
}

#[test]
fn row_13_large_outputs_that_nobody_takes_hold_no_descriptors() {
    guarded(|| host::run(HOST, &["large-outputs", "120"]));
}

#[test]
fn row_14_a_million_tasks_and_a_reader_that_pauses() {
    guarded(|| {
        let pool = pool(2);
        assert_alive(&pool);
        let before = resident();
        let mut most = before;
        let mut map = pool.map(|n: u64| [n; 16], 0..1_000_000);
        for n in 0..1_000_000 {
            if n % 100_000 == 50_000 {
                // Long enough for the workers to fill whatever is not bounded.
                std::thread::sleep(Duration::from_millis(100));
                most = most.max(resident());
            }
            assert_eq!(map.next().unwrap().unwrap(), [n; 16]);
        }
        assert!(map.next().is_none());
        let grown = (most - before) >> 20;
        println!("resident size grew by {grown} MiB over a million tasks");
        assert!(grown < 64, "resident size grew by {grown} MiB: the outputs are not bounded by the window");
        drop(map);
        end(pool);
    });
}

/// Refuses to be written or read in the worker or in the parent.
#[derive(Debug, PartialEq)]
struct Stubborn(u8);

const WRITE_IN_PARENT: u8 = 1;
const WRITE_IN_WORKER: u8 = 2;
const READ_IN_PARENT: u8 = 3;
const READ_IN_WORKER: u8 = 4;
const PANIC_WRITING_IN_WORKER: u8 = 5;
const PANIC_READING_IN_WORKER: u8 = 6;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0, in_worker()) {
            (WRITE_IN_PARENT, false) | (WRITE_IN_WORKER, true) => Err(S::Error::custom("no")),
            (PANIC_WRITING_IN_WORKER, true) => panic!("while it was written"),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u8::deserialize(deserializer)?;
        match (n, in_worker()) {
            (READ_IN_PARENT, false) | (READ_IN_WORKER, true) => Err(D::Error::custom("no")),
            (PANIC_READING_IN_WORKER, true) => panic!("while it was read"),
            _ => Ok(Self(n)),
        }
    }
}

#[test]
fn row_15_values_that_cannot_be_encoded_or_decoded() {
    let expected = [
        (0, None),
        (WRITE_IN_PARENT, Some((Kind::Encode, Blame::Caller, "its input cannot be encoded"))),
        (WRITE_IN_WORKER, Some((Kind::Encode, Blame::Task, "its output cannot be encoded"))),
        (READ_IN_PARENT, Some((Kind::Decode, Blame::Task, "its output cannot be decoded"))),
        (READ_IN_WORKER, Some((Kind::Decode, Blame::Task, "its input cannot be decoded"))),
        (PANIC_WRITING_IN_WORKER, Some((Kind::Panicked, Blame::Task, "while it was written"))),
        (PANIC_READING_IN_WORKER, Some((Kind::Panicked, Blame::Task, "while it was read"))),
        (7, None),
    ];
    let check = |n: u8, outcome: procpool::Result<Stubborn>, wanted: Option<(Kind, Blame, &str)>| match wanted {
        None => assert_eq!(outcome.unwrap(), Stubborn(n)),
        Some((kind, blame, said)) => {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.blame()), (kind, blame), "{n}: {error}");
            assert!(error.message().contains(said), "{n}: {error}");
        }
    };
    guarded(|| {
        let pool = pool(1);
        let same = |s: Stubborn| s;
        for (n, wanted) in expected {
            check(n, pool.submit(same, Stubborn(n)).unwrap().wait(), wanted);
        }
        for chunk in [1, 3, 100] {
            let outcomes: Vec<_> = pool.map(same, expected.map(|(n, _)| Stubborn(n))).chunk_size(chunk).collect();
            assert_eq!(outcomes.len(), expected.len());
            for ((n, wanted), outcome) in expected.into_iter().zip(outcomes) {
                check(n, outcome, wanted);
            }
        }
        assert_eq!(pool.stats().workers_started, 1, "no worker is the worse for it");
        end(pool);
    });
}

#[test]
fn row_15_code_of_the_value_that_panics_in_the_host() {
    struct Bomb;
    impl Serialize for Bomb {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(in_worker(), "bomb");
            serializer.serialize_unit()
        }
    }
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            assert!(in_worker(), "bomb");
            <()>::deserialize(deserializer)?;
            Ok(Self)
        }
    }
    guarded(|| {
        use std::panic::{AssertUnwindSafe, catch_unwind};
        let pool = pool(2);
        // The host's own panic stays the host's own, and the pool is none the worse for it.
        for _ in 0..3 {
            assert!(catch_unwind(AssertUnwindSafe(|| pool.submit(|_: Bomb| (), Bomb))).is_err());
            let future = pool.submit(|()| Bomb, ()).unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| future.wait())).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| pool.map(|_: u8| Bomb, 0..10).count())).is_err());
            // The descriptors that came with a value are closed even if it is never whole.
            let future = pool.submit(|()| (Bomb, procpool::Queue::<u8>::new().unwrap()), ()).unwrap();
            assert!(catch_unwind(AssertUnwindSafe(|| future.wait())).is_err());
            let inputs = (0..10u64).inspect(|n| assert!(*n < 7, "the inputs end badly"));
            let mut map = pool.map(procpool_faults::double, inputs);
            assert!(catch_unwind(AssertUnwindSafe(|| map.by_ref().count())).is_err());
            drop(map);
            assert_alive(&pool);
        }
        end(pool);
    });
}

#[test]
fn row_15_panics_with_unusual_payloads() {
    struct DropsBadly;
    impl Drop for DropsBadly {
        fn drop(&mut self) {
            panic!("and again");
        }
    }
    fn throw(n: u8) {
        match n {
            0 => std::panic::panic_any(17),
            1 => std::panic::panic_any(DropsBadly),
            2 => std::panic::panic_any(String::new()),
            3 => std::panic::resume_unwind(Box::new("quietly")),
            4 => panic!("{}", "x".repeat(3 << 20)),
            _ => {}
        }
    }
    guarded(|| {
        let pool = pool(1);
        let outcomes: Vec<_> = pool.map(throw, 0..6).chunk_size(6).collect();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            if n == 5 {
                outcome.unwrap();
                continue;
            }
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.blame(), error.index()), (Kind::Panicked, Blame::Task, Some(n as u64)));
            if n == 4 {
                assert_eq!(error.message().len(), 3 << 20);
            }
        }
        assert_eq!(kind_of(pool.submit(throw, 1).unwrap().wait()), Kind::Panicked);
        assert_eq!(pool.stats().workers_started, 1);
        end(pool);
    });
}
