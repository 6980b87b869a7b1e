//! Large values: where they travel, what is left of them, and buffers that do not travel at all.
#![allow(unsafe_code, missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use procpool::{Buffer, BufferBuilder, Kind, Pool, Process, Queue};
use support::{alone, open_descriptors, wait_until};

procpool::init_in_tests!();

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

/// Bytes that differ from place to place and from number to number.
fn bytes(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|k| (k / 251 + k * 7 + number) as u8).collect()
}

/// How many mappings of such a name a process has.
fn mappings(pid: u32, name: &str) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains(name)).count()
}

fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[test]
fn large_values_of_all_sizes_travel_both_ways_at_once() {
    alone(|| {
        for pool in [pool(2), Pool::builder().workers(2).threads().build().unwrap()] {
            let sizes = [0, 1, 30_000, 32_700, 32_768, 33_000, 65_536, 100_000, 1 << 20, (5 << 20) + 3];
            let inputs: Vec<_> = (0..60).map(|n| bytes(n, sizes[n % sizes.len()])).collect();
            let futures: Vec<_> = inputs.iter().map(|i| pool.submit(reverse, i.clone()).unwrap()).collect();
            for (input, future) in inputs.iter().zip(futures) {
                assert!(future.wait().unwrap() == reverse(input.clone()));
            }
            for chunk in [1, 4] {
                let outputs = pool.map(reverse, inputs.clone()).chunk_size(chunk);
                for (input, output) in inputs.iter().zip(outputs) {
                    assert!(output.unwrap() == reverse(input.clone()));
                }
            }
            let many: Vec<(String, Vec<u32>)> = (0..50_000u32).map(|n| (n.to_string(), vec![n; 3])).collect();
            assert!(pool.submit(|many: Vec<(String, Vec<u32>)>| many, many.clone()).unwrap().wait().unwrap() == many);
            let two = (bytes(1, 3 << 20), vec![1.5f64; 300_000], bytes(2, 1 << 20));
            type Two = (Vec<u8>, Vec<f64>, Vec<u8>);
            for _ in 0..3 {
                assert!(pool.submit(|two: Two| two, two.clone()).unwrap().wait().unwrap() == two);
            }
            pool.shutdown();
        }
    });
}

#[test]
fn many_large_inputs_that_wait_hold_few_descriptors() {
    alone(|| {
        let pool = pool(1);
        let gate = Queue::<()>::new().unwrap();
        let blocked = pool.submit(|gate: Queue<()>| gate.get().unwrap(), gate.clone()).unwrap();
        let before = open_descriptors().len();
        let futures: Vec<_> =
            (0..1000).map(|n| pool.submit(|b: Vec<u8>| b.len(), vec![n as u8; 70_000 + n]).unwrap()).collect();
        let more = open_descriptors().len() - before;
        // Segments, and a worker that may have started meanwhile.
        assert!(more < 40, "{more} descriptors");
        gate.put(&()).unwrap();
        blocked.wait().unwrap();
        for (n, future) in futures.into_iter().enumerate() {
            assert_eq!(future.wait().unwrap(), 70_000 + n);
        }
    });
}

#[test]
fn what_finds_no_room_travels_all_the_same() {
    alone(|| {
        for limit in [0, 4 << 20, 9 << 20] {
            let pool = Pool::builder().workers(2).shared_memory(limit).build().unwrap();
            let inputs: Vec<_> = (0..40).map(|n| bytes(n, 700_000 + n)).collect();
            let futures: Vec<_> = inputs.iter().map(|i| pool.submit(reverse, i.clone()).unwrap()).collect();
            for (input, future) in inputs.iter().zip(futures) {
                assert!(future.wait().unwrap() == reverse(input.clone()));
            }
            pool.shutdown();
        }
    });
}

#[test]
fn memory_is_given_back_when_nothing_is_to_do() {
    alone(|| {
        let pool = pool(1);
        for n in 0..3 {
            pool.submit(reverse, bytes(n, 8 << 20)).unwrap().wait().unwrap();
        }
        let (own, worker) = (std::process::id(), pool.worker_pids()[0]);
        for name in ["procpool-inputs", "procpool-results"] {
            wait_until(|| mappings(own, name) == 0 && mappings(worker, name) == 0);
        }
        let private = || -> u64 {
            let text = fs::read_to_string(format!("/proc/{worker}/smaps_rollup")).unwrap();
            let line = text.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        wait_until(|| private() < 3 << 10);
        assert!(pool.submit(reverse, bytes(9, 8 << 20)).unwrap().wait().unwrap() == reverse(bytes(9, 8 << 20)));
    });
}

fn die_with(_: Buffer) {
    std::process::abort()
}

/// Dies the first time, when it has read its input.
fn die_once((path, input): (PathBuf, Vec<u64>)) -> (u64, Vec<u64>) {
    let sum = input.iter().fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(*n));
    if fs::File::create_new(path).is_ok() {
        std::process::abort();
    }
    (sum, input)
}

#[test]
fn a_task_that_is_tried_again_reads_the_same_input() {
    alone(|| {
        let pool = Pool::builder().workers(2).retries(1).build().unwrap();
        let input: Vec<u64> = (0..2_000_000).collect();
        let sum = input.iter().fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(*n));
        let path = std::env::temp_dir().join(format!("procpool-bulk-{}", std::process::id()));
        let dying = pool.submit(die_once, (path.clone(), input.clone())).unwrap();
        let others: Vec<_> = (0..10).map(|n| pool.submit(reverse, bytes(n, 1 << 20)).unwrap()).collect();
        assert!(dying.wait().unwrap() == (sum, input));
        for (n, other) in others.into_iter().enumerate() {
            assert!(other.wait().unwrap() == reverse(bytes(n, 1 << 20)));
        }
        fs::remove_file(path).unwrap();
        assert_eq!(pool.stats().workers_died, 1);
    });
}

#[test]
fn results_that_were_taken_late_are_whole() {
    alone(|| {
        let pool = pool(1);
        let mut futures: Vec<_> = (0..20).map(|n| pool.submit(reverse, bytes(n, 2 << 20)).unwrap()).collect();
        wait_until(|| futures.iter().all(procpool::Future::is_done));
        let worker = pool.worker_pids()[0];
        // What was not read yet stays, whatever becomes of its worker.
        let last = futures.pop().unwrap();
        assert!(pool.submit(die_with, Buffer::default()).unwrap().wait().is_err());
        wait_until(|| !pool.worker_pids().contains(&worker));
        for (n, future) in futures.into_iter().enumerate() {
            assert!(future.wait().unwrap() == reverse(bytes(n, 2 << 20)));
        }
        assert!(last.wait().unwrap() == reverse(bytes(19, 2 << 20)));
    });
}

#[test]
fn a_buffer_is_the_same_memory_on_both_sides() {
    alone(|| {
        for pool in [pool(2), Pool::builder().workers(2).threads().build().unwrap()] {
            let buffer = Buffer::copy_from(&bytes(1, 8 << 20)).unwrap();
            let part = pool.submit(|b: Buffer| b.slice(1000..2000), buffer.slice(500..)).unwrap().wait().unwrap();
            assert_eq!(part, buffer.slice(1500..2500));
            assert_eq!(part.as_ptr(), buffer[1500..].as_ptr(), "the view that came back is one of ours");
            let two = |(a, b): (Buffer, Buffer)| (b, a, Buffer::default());
            let (b, a, none) = pool.submit(two, (buffer.slice(..10), buffer.slice(20..))).unwrap().wait().unwrap();
            assert_eq!((&*a, &*b, &*none), (&buffer[..10], &buffer[20..], &[][..]));
            let made = |seed: usize| {
                let mut builder = BufferBuilder::new().unwrap();
                std::io::Write::write_all(&mut builder, &bytes(seed, 3 << 20)).unwrap();
                (builder.finish().unwrap(), "made".to_string(), bytes(seed, 100_000))
            };
            for seed in 0..5 {
                let (made, word, copied) = pool.submit(made, seed).unwrap().wait().unwrap();
                assert!(*made == *bytes(seed, 3 << 20) && word == "made" && copied == bytes(seed, 100_000));
                let again = pool.submit(|(b, n): (Buffer, usize)| b[n], (made.clone(), 77)).unwrap();
                assert_eq!(again.wait().unwrap(), made[77]);
            }
            let sums = pool.map(|(b, n): (Buffer, usize)| b[n], (0..500).map(|n| (buffer.clone(), n)));
            assert!(sums.enumerate().all(|(n, byte)| byte.unwrap() == buffer[n]));
            pool.shutdown();
        }
    });
}

#[test]
fn a_worker_keeps_a_buffer_as_long_as_anybody_here_has_it() {
    alone(|| {
        let pool = pool(1);
        let buffer = Buffer::build(1 << 20, |bytes| bytes.fill(3)).unwrap();
        let read = |b: Buffer| b.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        for _ in 0..50 {
            assert_eq!(pool.submit(read, buffer.clone()).unwrap().wait().unwrap(), 3 << 20);
        }
        let worker = pool.worker_pids()[0];
        assert_eq!(mappings(worker, "procpool-buffer"), 1);
        drop(buffer);
        wait_until(|| mappings(worker, "procpool-buffer") == 0);
        // Kept by a task in the worker itself: it is there, and goes back as memory of the worker's.
        let keep = |buffer: Option<Buffer>| {
            static KEPT: std::sync::Mutex<Option<Buffer>> = std::sync::Mutex::new(None);
            let mut kept = KEPT.lock().unwrap();
            if let Some(buffer) = buffer {
                *kept = Some(buffer);
            }
            kept.clone().unwrap().slice(1..3)
        };
        let sent = Buffer::copy_from(b"abcd").unwrap();
        assert_eq!(&*pool.submit(keep, Some(sent.clone())).unwrap().wait().unwrap(), b"bc");
        assert_eq!(&*pool.submit(keep, None).unwrap().wait().unwrap(), b"bc");
        drop(sent);
        wait_until(|| mappings(worker, "procpool-buffer") == 1);
        assert_eq!(&*pool.submit(keep, None).unwrap().wait().unwrap(), b"bc");
    });
}

#[test]
fn a_buffer_survives_a_worker_and_reaches_a_process() {
    alone(|| {
        let buffer = Buffer::copy_from(&bytes(5, 1 << 20)).unwrap();
        let pool = pool(1);
        let error = pool.submit(die_with, buffer.clone()).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Died);
        let halves = pool.submit(|b: Buffer| (b.slice(..9), b.slice(9..)), buffer.clone()).unwrap().wait().unwrap();
        assert_eq!(halves, (buffer.slice(..9), buffer.slice(9..)));
        let both = |b: Buffer| (b.slice(7..70), Buffer::copy_from(b"new").unwrap());
        let (view, new) = Process::spawn(both, buffer.clone()).unwrap().join().unwrap();
        assert_eq!((view.as_ptr(), &*view, &*new), (buffer[7..].as_ptr(), &buffer[7..70], &b"new"[..]));
        let queue = Queue::<Buffer>::new().unwrap();
        assert_eq!(queue.put(&buffer).unwrap_err().kind(), Kind::Encode);
    });
}
