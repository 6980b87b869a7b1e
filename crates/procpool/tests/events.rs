//! The event log tells the same as the outcomes.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use procpool::{Event, Kind, Pool, Record};
use support::alone;

procpool::init_in_tests!();

/// Runs `work` on a pool of two and returns its log in order.
fn log_of(work: impl FnOnce(&Pool)) -> Vec<Record> {
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let listener = move |record: &Record| kept.lock().unwrap().push(record.clone());
    let pool = Pool::builder().workers(2).retries(1).events(listener).build().unwrap();
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
fn every_task_is_queued_sent_and_ended_in_this_order() {
    alone(|| {
        let log = log_of(|pool| {
            let outcomes: Vec<_> = pool.map(fragile, 0..100).chunk_size(7).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 2);
        });
        assert!(log.iter().enumerate().all(|(k, record)| record.number == k as u64));
        let mut queued = BTreeMap::new();
        let mut sent: BTreeMap<u64, u32> = BTreeMap::new();
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
                Event::TasksEnded { first, count, failure, attempt, .. } => {
                    for n in *first..first + u64::from(*count) {
                        assert!(sent.contains_key(&n), "{n}");
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
            pool.map(fragile, 0..100).chunk_size(7).for_each(drop);
            pool.resize(1);
        });
        let mut phases: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        let mut busy_ends = 0;
        for record in &log {
            match &record.event {
                Event::WorkerStarted { worker, .. } => phases.entry(*worker).or_default().push("started"),
                Event::WorkerReady { worker } => phases.entry(*worker).or_default().push("ready"),
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
        assert!(kinds.contains(&&Event::Resized { workers: 1 }) && kinds.contains(&&Event::Closed { at_once: false }));
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
            pid: Some(9),
            run_ns: None,
        },
    };
    let json = serde_json::to_string(&record).unwrap();
    let expected = r#"{"number":3,"at_ns":12,"event":"tasks_ended","function":"f","first":5,"count":2,"failure":"TimedOut","attempt":1,"pid":9,"run_ns":null}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
}
