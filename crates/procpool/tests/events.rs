//! The event log tells the same as the outcomes.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procpool::{Event, Kind, Limit, Limited, Means, Pool, PoolBuilder, Queue, Record, Sandbox};
use support::alone;

procpool::init_in_tests!();

/// Runs `work` on a pool of two and returns its log in order.
fn log_of(work: impl FnOnce(&Pool)) -> Vec<Record> {
    log_with(Pool::builder().workers(2).retries(1), work)
}

/// Runs `work` on such a pool and returns its log in order.
fn log_with(builder: PoolBuilder, work: impl FnOnce(&Pool)) -> Vec<Record> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let listener = move |record: &Record| kept.lock().unwrap().push(record.clone());
    let pool = builder.events(listener).build().unwrap();
    work(&pool);
    pool.shutdown();
    drop(pool);
    let mut log = log.lock().unwrap().clone();
    log.sort_by_key(|record| record.number);
    log
}

fn fragile(n: u32) -> u32 {
    match n {
        30 => panic!("thirty"),
        40 => std::process::abort(),
        n => n,
    }
}

#[test]
fn every_task_is_queued_sent_begun_and_ended_in_this_order() {
    alone(|| {
        let log = log_of(|pool| {
            let outcomes: Vec<_> = pool.map(fragile, 0..100).chunk_size(7).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 2);
        });
        assert!(log.iter().enumerate().all(|(k, record)| record.number == k as u64));
        let mut queued = BTreeMap::new();
        let mut sent: BTreeMap<u64, u32> = BTreeMap::new();
        let mut begun: BTreeMap<u64, u32> = BTreeMap::new();
        let mut ended = BTreeMap::new();
        for record in &log {
            match &record.event {
                Event::TasksQueued { first, count, function } => {
                    assert!(function.ends_with("fragile"));
                    (*first..first + u64::from(*count)).for_each(|n| assert!(queued.insert(n, ()).is_none()));
                }
                Event::TasksSent { first, count, .. } => {
                    for n in *first..first + u64::from(*count) {
                        assert!(queued.contains_key(&n) && !ended.contains_key(&n), "{n}");
                        *sent.entry(n).or_default() += 1;
                    }
                }
                Event::TasksBegun { first, count, pid, .. } => {
                    assert!(pid.is_some());
                    for n in *first..first + u64::from(*count) {
                        assert!(sent.contains_key(&n) && !ended.contains_key(&n), "{n}");
                        *begun.entry(n).or_default() += 1;
                    }
                }
                Event::TasksEnded { first, count, failure, attempt, worker, run_ns, queued_ns, .. } => {
                    assert!(worker.is_some() && run_ns.is_some());
                    assert!(run_ns.unwrap_or(0) <= record.at_ns && *queued_ns <= record.at_ns);
                    for n in *first..first + u64::from(*count) {
                        assert!(begun.contains_key(&n), "{n}");
                        assert!(ended.insert(n, (*failure, *attempt)).is_none(), "{n} ended twice");
                    }
                }
                _ => {}
            }
        }
        assert_eq!((queued.len(), ended.len()), (100, 100));
        for (n, end) in ended {
            let expected = match n {
                30 => (Some(Kind::Panicked), 1),
                40 => (Some(Kind::Died), 2),
                _ => (None, end.1),
            };
            assert_eq!(end, expected, "{n}");
        }
    });
}

#[test]
fn every_worker_is_started_ready_and_ended_once() {
    alone(|| {
        let log = log_of(|pool| {
            pool.map(fragile, 0..100).chunk_size(7).count();
            pool.resize(1);
        });
        let mut phases: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        let mut busy_ends = 0;
        for record in &log {
            match &record.event {
                Event::WorkerStarted { worker, .. } => phases.entry(*worker).or_default().push("started"),
                Event::WorkerReady { worker, sandbox: None } => phases.entry(*worker).or_default().push("ready"),
                Event::WorkerEnded { worker, signal, busy, .. } => {
                    phases.entry(*worker).or_default().push("ended");
                    if *busy {
                        assert_eq!(*signal, Some(6));
                        busy_ends += 1;
                    }
                }
                _ => {}
            }
        }
        assert_eq!(busy_ends, 2);
        for (worker, phases) in phases {
            let whole = phases == ["started", "ready", "ended"] || phases == ["started", "ended"];
            assert!(whole, "worker {worker}: {phases:?}");
        }
        let last = log.iter().rev().map(|record| &record.event);
        let kinds: Vec<_> = last.filter(|e| matches!(e, Event::Resized { .. } | Event::Closed { .. })).collect();
        assert_eq!(kinds, [&Event::Closed { at_once: false }, &Event::Resized { workers: 1 }]);
    });
}

#[test]
fn a_record_is_one_json_object() {
    let record = Record {
        number: 3,
        at_ns: 12,
        event: Event::TasksEnded {
            function: "f".into(),
            first: 5,
            count: 2,
            failure: Some(Kind::TimedOut),
            attempt: 1,
            worker: Some(4),
            pid: Some(9),
            queued_ns: 8,
            run_ns: None,
            peak_memory: Some(4096),
        },
    };
    let json = serde_json::to_string(&record).unwrap();
    let expected = r#"{"number":3,"at_ns":12,"event":"tasks_ended","function":"f","first":5,"count":2,"failure":"TimedOut","attempt":1,"worker":4,"pid":9,"queued_ns":8,"run_ns":null,"peak_memory":4096}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
}

#[test]
fn the_pool_says_first_which_limits_are_in_force() {
    alone(|| {
        let builder = Pool::builder().workers(3).timeout(Duration::from_secs(5)).memory_limit(1 << 30).retries(2);
        let builder = builder.tasks_per_worker(7).worker_age(Duration::from_secs(60)).grace(Duration::from_millis(50));
        let log = log_with(builder.sandbox(Sandbox::strict()), |pool| {
            pool.submit(|n: u32| n, 1).unwrap().wait().unwrap();
        });
        let limit = |what, value, means| Limit { what, value, means };
        let expected = Event::PoolStarted {
            workers: 3,
            threads: false,
            limits: vec![
                limit(Limited::Timeout, 5_000_000_000, Means::Clock),
                limit(Limited::Memory, 1 << 30, Means::Watch),
                limit(Limited::TasksPerWorker, 7, Means::Count),
                limit(Limited::WorkerAge, 60_000_000_000, Means::Clock),
            ],
            retries: 2,
            grace_ns: 50_000_000,
            sandbox: true,
        };
        assert_eq!(log[0].event, expected);
        let ready = log.iter().find_map(|record| match &record.event {
            Event::WorkerReady { sandbox, .. } => Some(*sandbox),
            _ => None,
        });
        assert!(ready.unwrap().is_some());
        let text = serde_json::to_string(&log[0]).unwrap();
        assert!(text.contains(r#"{"what":"memory","value":1073741824,"means":"watch"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), log[0]);
    });
}

#[test]
fn a_running_task_is_known_to_have_begun() {
    alone(|| {
        let (told, is_told) = channel();
        let listener = move |record: &Record| match record.event {
            Event::TasksBegun { first, attempt, .. } => told.send((first, attempt)).unwrap(),
            Event::TasksEnded { first, .. } => told.send((first, 0)).unwrap(),
            _ => {}
        };
        let pool = Pool::builder().workers(1).events(listener).build().unwrap();
        let gate = Queue::new().unwrap();
        let wait = |gate: Queue<u8>| gate.get().unwrap();
        let futures = [0, 1].map(|_| pool.submit(wait, gate.clone()).unwrap());
        // Both are sent; the worker has begun one.
        assert_eq!(is_told.recv().unwrap(), (0, 1));
        gate.put(&1).unwrap();
        assert_eq!(is_told.recv().unwrap(), (0, 0));
        assert_eq!(is_told.recv().unwrap(), (1, 1));
        gate.put(&1).unwrap();
        futures.into_iter().for_each(|future| assert_eq!(future.wait().unwrap(), 1));
    });
}

#[test]
fn an_end_is_told_before_its_outcome_can_be_taken() {
    alone(|| {
        let ended = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = Arc::clone(&ended);
        let listener = move |record: &Record| {
            if let Event::TasksEnded { first, .. } = record.event {
                kept.lock().unwrap().insert(first);
            }
        };
        let pool = Pool::builder().workers(2).events(listener).build().unwrap();
        for (n, _) in pool.map_unordered(fragile, 0..500).chunk_size(1) {
            assert!(ended.lock().unwrap().contains(&(n as u64)), "{n}");
        }
    });
}

#[test]
fn workers_that_wear_out_and_workers_that_cannot_start_say_so() {
    alone(|| {
        let log = log_with(Pool::builder().workers(1).tasks_per_worker(2), |pool| {
            pool.map(|n: u32| n, 0..6).chunk_size(1).count();
        });
        let recycled: Vec<u32> = log
            .iter()
            .filter_map(|record| match record.event {
                Event::WorkerRetired { worker, recycled: true } => Some(worker),
                _ => None,
            })
            .collect();
        assert_eq!(recycled, [0, 1, 2]);

        let refuse = |(): ()| -> Result<(), String> { Err("no model".into()) };
        let log = log_with(Pool::builder().workers(1).initializer(refuse, ()), |pool| {
            pool.submit(|n: u32| n, 1).unwrap().wait().unwrap_err();
        });
        let reasons: Vec<&str> = log
            .iter()
            .filter_map(|record| match &record.event {
                Event::WorkerUnable { reason, .. } => Some(reason.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, ["the initializer failed: no model"; 3]);
        let failure = log.iter().find_map(|record| match record.event {
            Event::TasksEnded { failure, worker, run_ns, .. } => Some((failure, worker, run_ns)),
            _ => None,
        });
        assert_eq!(failure.unwrap(), (Some(Kind::Start), None, None));
    });
}

/// Takes memory, then ends in some way.
fn greedy(how: String) -> usize {
    let memory = vec![1u8; HUGE as usize];
    match how.as_str() {
        "panic" => panic!("enough"),
        "abort" => std::process::abort(),
        "kill" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap(),
        "sleep" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        _ => {}
    }
    memory.iter().filter(|byte| **byte == 1).count()
}

const HUGE: u64 = 200 << 20;

#[test]
fn failures_tell_how_much_memory_their_worker_has_had() {
    alone(|| {
        let pool = Pool::builder().workers(1).timeout(Duration::from_secs(3)).build().unwrap();
        for how in ["panic", "abort", "kill", "sleep"] {
            let error = pool.submit(greedy, how.to_string()).unwrap().wait().unwrap_err();
            let peak = error.peak_memory().unwrap_or_default();
            assert!((HUGE..HUGE + (100 << 20)).contains(&peak), "{how}: {peak}: {error}");
        }
        let error = pool.submit(|n: u32| -> u32 { panic!("{n}") }, 1).unwrap().wait().unwrap_err();
        assert!((1..HUGE).contains(&error.peak_memory().unwrap()), "of this worker, not of those before it");
    });
}

#[test]
fn ends_tell_how_much_memory_their_worker_has_had() {
    alone(|| {
        let log = log_with(Pool::builder().workers(1), |pool| {
            pool.submit(greedy, String::new()).unwrap().wait().unwrap();
        });
        let peak = |event: &Event| match event {
            Event::TasksEnded { peak_memory, failure: None, .. } => *peak_memory,
            Event::WorkerEnded { peak_memory, .. } => *peak_memory,
            _ => None,
        };
        let peaks: Vec<u64> = log.iter().filter_map(|record| peak(&record.event)).collect();
        assert!(peaks.len() == 2 && peaks.iter().all(|peak| *peak >= HUGE), "{peaks:?}");
    });
}
