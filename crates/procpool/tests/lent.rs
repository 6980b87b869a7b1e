//! Buffers made of vectors: copied once, looked at where they lie, and left alone as long as anybody does.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs;
use std::sync::Mutex;

use procpool::{Buffer, Kind, Pool};
use support::{alone, wait_until};

procpool::init_in_tests!();

const LEN: usize = 1 << 20;

fn bytes(number: usize) -> Vec<u8> {
    (0..LEN).map(|k| (k / 251 + k * 7 + number) as u8).collect()
}

/// In which file of memory an address of this process lies.
fn place(address: *const u8) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split_once(' ').unwrap().0;
        let hex = |number| usize::from_str_radix(number, 16).unwrap();
        (hex(start)..hex(end)).contains(&(address as usize))
    });
    line.unwrap().split_whitespace().nth(5).unwrap_or_default().to_string()
}

fn look(buffer: Buffer) -> (String, usize, Buffer) {
    (place(buffer.as_ptr()), buffer.as_ptr() as usize % 64, buffer.slice(10..20))
}

#[test]
fn a_worker_reads_what_was_a_vector_in_its_place() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        for n in 0..3 {
            let (place, odd, part) = pool.submit(look, bytes(n).into()).unwrap().wait().unwrap();
            assert_eq!((place.as_str(), odd), ("/memfd:procpool-inputs", 0));
            assert_eq!(&*part, &bytes(n)[10..20]);
        }
        let all = |(word, buffer, more): (String, Buffer, Vec<u8>)| (more, buffer, word);
        let back = pool.submit(all, ("word".into(), bytes(7).into(), bytes(8))).unwrap().wait().unwrap();
        assert!(back == (bytes(8), bytes(7).into(), "word".into()));
        let numbers: Vec<f64> = (0..LEN / 8).map(|n| n as f64).collect();
        let sum = |(buffer, _): (Buffer, u8)| buffer.cast::<f64>().unwrap().iter().sum::<f64>();
        let sent = Buffer::from(bytemuck::cast_slice::<_, u8>(&numbers).to_vec());
        assert_eq!(pool.submit(sum, (sent, 1)).unwrap().wait().unwrap(), numbers.iter().sum::<f64>());
    });
}

#[test]
fn what_is_small_or_cannot_be_lent_is_copied() {
    alone(|| {
        let pools = [
            Pool::builder().workers(1).threads().build().unwrap(),
            Pool::builder().workers(1).shared_memory(0).build().unwrap(),
            Pool::builder().workers(1).build().unwrap(),
        ];
        for (pool, len) in pools.into_iter().zip([LEN, LEN, 1000]) {
            let sent = bytes(1)[..len].to_vec();
            let (place, _, part) = pool.submit(look, sent.clone().into()).unwrap().wait().unwrap();
            assert!(!place.contains("procpool-inputs"), "{place}");
            assert_eq!(&*part, &sent[10..20]);
            let (_, _, part) = pool.submit(look, sent.clone().into()).unwrap().wait().unwrap();
            assert_eq!(&*part, &sent[10..20]);
            assert!(pool.submit(|b: Buffer| b, Vec::new().into()).unwrap().wait().unwrap().is_empty());
            pool.shutdown();
        }
    });
}

static KEPT: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// Keeps its input when its task has ended, in one of the ways that a task can end.
fn keep((how, buffer): (u8, Buffer)) -> Vec<u8> {
    KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(buffer.slice(1..));
    match how {
        0 => Vec::new(),
        1 => bytes(0),
        _ => panic!("as told"),
    }
}

fn kept(_: ()) -> Vec<Vec<u8>> {
    KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().map(|buffer| buffer.to_vec()).collect()
}

fn abort(_: ()) {
    std::process::abort()
}

fn inputs_mapped() -> usize {
    fs::read_to_string("/proc/self/maps").unwrap().matches("procpool-inputs").count()
}

#[test]
fn what_a_task_keeps_stays_as_it_is_until_it_lets_go() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        for how in 0..3 {
            let outcome = pool.submit(keep, (how, bytes(100 + usize::from(how)).into())).unwrap().wait();
            match how {
                2 => assert_eq!(outcome.unwrap_err().kind(), Kind::Panicked),
                _ => assert!(outcome.unwrap().len() == usize::from(how) * LEN),
            }
        }
        // Others come and go in the same memory.
        for n in 0..30 {
            assert!(pool.submit(|b: Buffer| b.to_vec(), bytes(n).into()).unwrap().wait().unwrap() == bytes(n));
        }
        let all = pool.submit(kept, ()).unwrap().wait().unwrap();
        assert!(all == (100..103).map(|n| bytes(n)[1..].to_vec()).collect::<Vec<_>>());
        assert!(inputs_mapped() > 0);
        pool.submit(|()| KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear(), ())
            .unwrap()
            .wait()
            .unwrap();
        // Unused memory goes after a while, and this is unused now.
        wait_until(|| inputs_mapped() == 0);
    });
}

#[test]
fn what_a_worker_keeps_is_free_again_when_it_dies() {
    alone(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        pool.submit(keep, (0, bytes(5).into())).unwrap().wait().unwrap();
        assert_eq!(pool.submit(abort, ()).unwrap().wait().unwrap_err().kind(), Kind::Died);
        wait_until(|| inputs_mapped() == 0);
    });
}

#[test]
fn a_task_that_is_tried_again_looks_at_the_same_place() {
    alone(|| {
        let pool = Pool::builder().workers(1).retries(1).build().unwrap();
        let folder = support::folder();
        let die_once = |(path, buffer): (std::path::PathBuf, Buffer)| {
            if fs::File::create_new(path).is_ok() {
                std::process::abort();
            }
            (place(buffer.as_ptr()), buffer.to_vec())
        };
        let again = pool.submit(die_once, (folder.path().join("died"), bytes(3).into())).unwrap().wait().unwrap();
        assert!(again == ("/memfd:procpool-inputs".to_string(), bytes(3)));
    });
}
