//! Processes of their own, and queues.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use procpool::{ExitStatus, Kind, Pool, Process, Queue};
use support::alone;

procpool::init_in_tests!();

#[test]
fn a_process_returns_what_its_function_returns() {
    alone(|| {
        let mut process = Process::new(|n: u64| (n, std::process::id()), 7).unwrap();
        assert_eq!((process.pid(), process.exit_status()), (None, None));
        assert_eq!(process.join().unwrap_err().kind(), Kind::Usage);
        process.start().unwrap();
        let pid = process.pid().unwrap();
        assert_eq!(process.join().unwrap(), (7, pid));
        assert_eq!(process.exit_status(), Some(ExitStatus::Code(0)));
        assert_eq!(process.join().unwrap_err().kind(), Kind::Usage, "an outcome is given once");
        assert_eq!(process.start().unwrap_err().kind(), Kind::Usage);
    });
}

#[test]
fn large_values_travel_both_ways() {
    alone(|| {
        let input = vec![5u8; 3_000_000];
        let mut process = Process::spawn(|v: Vec<u8>| v.iter().map(|b| b + 1).collect::<Vec<u8>>(), input).unwrap();
        assert_eq!(process.join().unwrap(), vec![6; 3_000_000]);
    });
}

#[test]
fn panics_exits_and_signals_are_told_apart() {
    alone(|| {
        let mut panics = Process::spawn(|()| -> () { panic!("oh") }, ()).unwrap();
        let error = panics.join().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Panicked, "oh"));
        let mut exits = Process::spawn(|code| -> () { std::process::exit(code) }, 3).unwrap();
        let error = exits.join().unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (Kind::Died, Some(3)));
        assert_eq!(exits.exit_status(), Some(ExitStatus::Code(3)));
        let mut killed = Process::spawn(|s| std::thread::sleep(Duration::from_secs(s)), 1000).unwrap();
        assert!(killed.is_alive());
        assert!(killed.join_timeout(Duration::from_millis(10)).is_none());
        killed.kill();
        let error = killed.join().unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(9)));
        assert!(error.to_string().ends_with("was killed by SIGKILL"), "{error}");
    });
}

#[test]
#[expect(clippy::zombie_processes, reason = "what is left of a process is what this test is about")]
fn a_dropped_process_is_ended_with_what_it_started() {
    alone(|| {
        let started = Queue::<u32>::new().unwrap();
        let busy = |started: Queue<u32>| {
            let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            started.put(&child.id()).unwrap();
            std::thread::sleep(Duration::from_secs(1000));
        };
        let process = Process::spawn(busy, started.clone()).unwrap();
        let grandchild = started.get().unwrap();
        assert!(support::process(grandchild).is_some());
        drop(process);
        support::wait_until(|| support::process(grandchild).is_none_or(|p| p.state == 'Z'));
    });
}

#[test]
fn a_queue_is_first_in_first_out_and_without_bounds() {
    alone(|| {
        let queue = Queue::new().unwrap();
        assert!(queue.is_empty().unwrap());
        assert_eq!(queue.try_get().unwrap(), None::<(u32, Vec<u8>)>);
        assert_eq!(queue.get_timeout(Duration::from_millis(1)).unwrap(), None);
        for k in 0..3000 {
            queue.put(&(k, vec![k as u8; k as usize])).unwrap();
        }
        assert!(!queue.is_empty().unwrap());
        for k in 0..3000 {
            assert_eq!(queue.get().unwrap(), (k, vec![k as u8; k as usize]));
        }
        assert!(queue.is_empty().unwrap());
    });
}

#[test]
fn many_processes_put_and_get() {
    alone(|| {
        const EACH: u32 = 500;
        let numbers = Queue::<u32>::new().unwrap();
        let squares = Queue::<(u32, u64)>::new().unwrap();
        let square = |(numbers, squares): (Queue<u32>, Queue<(u32, u64)>)| {
            loop {
                match numbers.get().unwrap() {
                    u32::MAX => return,
                    n => squares.put(&(std::process::id(), u64::from(n) * u64::from(n))).unwrap(),
                }
            }
        };
        let feed = |(from, numbers): (u32, Queue<u32>)| (from..from + EACH).for_each(|n| numbers.put(&n).unwrap());
        let mut workers: Vec<_> =
            (0..3).map(|_| Process::spawn(square, (numbers.clone(), squares.clone())).unwrap()).collect();
        let mut feeders: Vec<_> = (0..2).map(|k| Process::spawn(feed, (k * EACH, numbers.clone())).unwrap()).collect();
        let got: Vec<(u32, u64)> = (0..2 * EACH).map(|_| squares.get().unwrap()).collect();
        let values: HashSet<u64> = got.iter().map(|(_, square)| *square).collect();
        assert_eq!(values, (0..u64::from(2 * EACH)).map(|n| n * n).collect());
        feeders.iter_mut().for_each(|feeder| feeder.join().unwrap());
        workers.iter().for_each(|_| numbers.put(&u32::MAX).unwrap());
        workers.iter_mut().for_each(|worker| worker.join().unwrap());
        assert!(squares.is_empty().unwrap() && numbers.is_empty().unwrap());
    });
}

#[test]
fn killing_holders_never_locks_or_breaks_a_queue() {
    alone(|| {
        let queue = Queue::<Vec<u8>>::new().unwrap();
        let begun = Queue::<()>::new().unwrap();
        let put_for_ever = |(queue, begun): (Queue<Vec<u8>>, Queue<()>)| {
            for n in 0u32.. {
                queue.put(&vec![7; (n % 5000) as usize]).unwrap();
                if n == 0 {
                    begun.put(&()).unwrap();
                }
            }
        };
        for _ in 0..20 {
            let process = Process::spawn(put_for_ever, (queue.clone(), begun.clone())).unwrap();
            begun.get().unwrap();
            let first = queue.get().unwrap();
            assert!(first.iter().all(|b| *b == 7));
            process.kill();
            drop(process);
            while let Some(value) = queue.try_get().unwrap() {
                assert!(value.len() < 5000 && value.iter().all(|b| *b == 7));
            }
        }
        queue.put(&vec![1]).unwrap();
        assert_eq!(queue.get().unwrap(), [1]);
    });
}

#[test]
fn a_queue_travels_in_tasks_and_back() {
    alone(|| {
        let pool = Pool::builder().workers(2).build().unwrap();
        let queue = Queue::<u32>::new().unwrap();
        let inputs = (0..100).map(|n| (queue.clone(), n));
        let back: Vec<Queue<u32>> = pool
            .map(
                |(queue, n): (Queue<u32>, u32)| {
                    queue.put(&n).unwrap();
                    queue
                },
                inputs,
            )
            .map(Result::unwrap)
            .collect();
        assert_eq!(back.len(), 100);
        let got: HashSet<u32> = (0..100).map(|k| back[k].get().unwrap()).collect();
        assert_eq!(got, (0..100).collect());
        assert!(queue.is_empty().unwrap());
        let many = vec![queue.clone(); 40];
        let error = pool.submit(|queues: Vec<Queue<u32>>| queues.len(), many).unwrap().wait().unwrap_err();
        assert!(error.to_string().contains("refers to too many queues"), "{error}");
    });
}

#[test]
fn a_queue_cannot_travel_in_a_queue() {
    alone(|| {
        let outer = Queue::<Queue<u8>>::new().unwrap();
        let error = outer.put(&Queue::new().unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Encode);
        assert!(error.to_string().contains("only travel inside the input or output"), "{error}");
        assert!(outer.is_empty().unwrap());
    });
}
