//! Row 12: a worker that has been taken over. It writes what it likes into its ring and its control socket; the host program
//! must neither hang nor panic nor lose another worker's task.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procpool::{Kind, Pool};
use procpool_faults::notes::{Notes, note};
use procpool_faults::random::Random;
use procpool_faults::{assert_alive, double, end, guarded, open_descriptors, sys, wait_until};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::{Deserialize, Serialize};

procpool::init_in_tests!();

/// Where things lie in a ring, in bytes from its start. A mistake here shows as an evil task that does no evil, and fails
/// the test.
mod at {
    pub(crate) const RESULT_TAIL: usize = 256;
    pub(crate) const TASK_HEAD: usize = 192;
    pub(crate) const WORKER: usize = 320;
    pub(crate) const TASKS: usize = 384;
    pub(crate) const RESULTS: usize = TASKS + SLOTS * SLOT;
    pub(crate) const TASK_DATA: usize = RESULTS + SLOTS * SLOT;
    pub(crate) const RESULT_DATA: usize = TASK_DATA + 256 * 1024;
    pub(crate) const SLOTS: usize = 64;
    pub(crate) const SLOT: usize = 64;
    /// In a result slot.
    pub(crate) const SERIAL: usize = 0;
    pub(crate) const FIRST: usize = 4;
    pub(crate) const PROGRESS: usize = 8;
    pub(crate) const LEN: usize = 12;
    pub(crate) const FRAME: usize = 16;
    pub(crate) const OFFSET: usize = 32;
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Evil {
    TailFarAhead,
    TailBehind,
    PublishNothing,
    PublishUnwritten,
    MoreThanItsItems,
    OutsideMemory,
    NotWellFormed,
    AnothersTask,
    NotItsNextTask,
    ForgedTwice,
    NoSuchLargeResult,
    NoNumberOfLargeResult,
    NoSuchSegment,
    PlaceOutsideSegment,
    NoSuchFlag,
    SegmentThatIsNone,
    SegmentTooLarge,
    MessageOfNoise,
    ReadyAgain,
    UnableLate,
    TooLongAMessage,
    TooManyDescriptors,
    TooManyLargeResults,
    HoldsWhatItWasNotLent,
}

fn forever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A result item that says: it went well, and the output is 5.
const FIVE: [u8; 10] = [0, 8, 5, 0, 0, 0, 0, 0, 0, 0];

/// A result item that names a place of a segment.
fn placed(segment: u64, offset: u64, len: u64, flag: u32) -> Vec<u8> {
    let mut item = vec![4, 37, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    [segment, offset, len].iter().for_each(|word| item.extend(word.to_le_bytes()));
    item.extend(flag.to_le_bytes());
    item
}

/// Tells of a segment for results, which is number 1.
fn send_memory(len: u64) {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let memory = memfd_create("evil", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, len).unwrap();
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    send_fds(&[3, 1], &[memory.as_fd()]);
}

fn send(bytes: &[u8], descriptors: usize) {
    send_fds(bytes, &vec![sys::control_socket(); descriptors]);
}

fn send_fds(bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let socket = sys::control_socket();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    // The parent may have had enough and hung up.
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
}

/// Announces a large result, which is allowed at any time and makes the parent look at the ring.
fn make_the_parent_look() {
    send(&[2, 9, 1, 0, 0], 1);
}

/// The worker's open result slot.
fn open_slot() -> usize {
    at::RESULTS + sys::peek(at::RESULT_TAIL) as usize % at::SLOTS * at::SLOT
}

/// Publishes a result for the frame that the worker is at, which says that it holds one finished item with these bytes.
fn forge(item: &[u8], times: u32) {
    let first = open_slot();
    let tail = sys::peek(at::RESULT_TAIL);
    let mut words = item.to_vec();
    words.resize(item.len().next_multiple_of(4), 0);
    for (k, word) in words.chunks(4).enumerate() {
        sys::scribble(at::RESULT_DATA + 4 * k, u32::from_le_bytes(word.try_into().unwrap()));
    }
    for time in 0..times {
        let slot = at::RESULTS + tail.wrapping_add(time) as usize % at::SLOTS * at::SLOT;
        for word in [at::FIRST, at::FRAME, at::FRAME + 4] {
            sys::scribble(slot + word, sys::peek(first + word));
        }
        sys::scribble(slot + at::OFFSET, 0);
        sys::scribble(slot + at::LEN, item.len() as u32);
        sys::scribble(slot + at::PROGRESS, 1);
        sys::scribble(slot + at::SERIAL, tail.wrapping_add(time).wrapping_add(1));
    }
    sys::scribble(at::RESULT_TAIL, tail.wrapping_add(times));
}

fn do_evil(evil: Evil) -> u64 {
    let publish = || sys::scribble(at::RESULT_TAIL, sys::peek(at::RESULT_TAIL).wrapping_add(1));
    let slot = open_slot();
    match evil {
        Evil::TailFarAhead => sys::scribble(at::RESULT_TAIL, sys::peek(at::RESULT_TAIL).wrapping_add(65)),
        Evil::TailBehind => sys::scribble(at::RESULT_TAIL, sys::peek(at::RESULT_TAIL).wrapping_sub(1)),
        Evil::PublishNothing => publish(),
        Evil::PublishUnwritten => {
            sys::scribble(slot + at::SERIAL, 0);
            publish();
        }
        Evil::MoreThanItsItems => forge(&[0, 1, 5, 0, 1, 6], 1),
        Evil::OutsideMemory => {
            sys::scribble(slot + at::OFFSET, u32::MAX);
            sys::scribble(slot + at::LEN, 8);
            publish();
        }
        Evil::NotWellFormed => forge(&[77; 9], 1),
        Evil::AnothersTask => {
            sys::scribble(slot + at::FRAME, sys::peek(slot + at::FRAME).wrapping_add(1));
            forge(&FIVE, 1);
        }
        Evil::NotItsNextTask => {
            sys::scribble(slot + at::FIRST, 1);
            forge(&FIVE, 1);
        }
        Evil::ForgedTwice => forge(&FIVE, 2),
        Evil::NoSuchLargeResult => forge(&[4, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0], 1),
        Evil::NoNumberOfLargeResult => forge(&[4, 1, 9], 1),
        Evil::NoSuchSegment => forge(&placed(77, 4096, 8, 0), 1),
        Evil::PlaceOutsideSegment => {
            send_memory(8192);
            forge(&placed(1, 4096, 1 << 40, 0), 1);
        }
        Evil::NoSuchFlag => {
            send_memory(8192);
            forge(&placed(1, 4096, 8, 1024), 1);
        }
        Evil::SegmentThatIsNone => send(&[3, 1], 1),
        Evil::SegmentTooLarge => send_memory(1 << 40),
        Evil::MessageOfNoise => send(b"noise, and more noise", 0),
        Evil::ReadyAgain => send(&[0, 0], 0),
        Evil::UnableLate => send(&[1, 2, b'n', b'o'], 0),
        Evil::TooLongAMessage => send(&[7; 80_000], 0),
        Evil::TooManyDescriptors => send(&[2, 9, 1, 0, 0], 200),
        Evil::TooManyLargeResults => (0..100).for_each(|number| send(&[2, number, 1, 0, 0], 30)),
        Evil::HoldsWhatItWasNotLent => {
            send(&[2, 8, 0, 0, 1], 0);
            forge(&[4, 17, 8, 0, 0, 0, 0, 0, 0, 0, 3, 5, 0, 0, 0, 0, 0, 0, 0], 1);
        }
    }
    make_the_parent_look();
    forever()
}

#[test]
fn row_12_every_breach_is_noticed_and_named() {
    let breaches = [
        (Evil::TailFarAhead, "it claims more results than its ring can hold"),
        (Evil::TailBehind, "it claims more results than its ring can hold"),
        (Evil::PublishNothing, "it answers tasks that were not its next ones"),
        (Evil::PublishUnwritten, "it published a result that it has not written"),
        (Evil::MoreThanItsItems, "it wrote more than its results"),
        (Evil::OutsideMemory, "it names a result outside its memory"),
        (Evil::NotWellFormed, "it wrote a result that is not well-formed"),
        (Evil::AnothersTask, "it answers a task that it was not running"),
        (Evil::NotItsNextTask, "it answers tasks that were not its next ones"),
        (Evil::NoSuchLargeResult, "it names a large result that it never sent"),
        (Evil::NoNumberOfLargeResult, "it names a large result wrongly"),
        (Evil::NoSuchSegment, "it names a large result outside its memory"),
        (Evil::PlaceOutsideSegment, "it names a large result outside its memory"),
        (Evil::NoSuchFlag, "it names a large result outside its memory"),
        (Evil::SegmentThatIsNone, "it has more memory for results than it may have"),
        (Evil::SegmentTooLarge, "it has more memory for results than it may have"),
        (Evil::MessageOfNoise, "it sent a message that is none"),
        (Evil::ReadyAgain, "it sent a message out of turn"),
        (Evil::UnableLate, "it sent a message out of turn"),
        (Evil::TooLongAMessage, "it sent a message that is too large"),
        (Evil::TooManyDescriptors, "it sent a message that is too large"),
        (Evil::TooManyLargeResults, "it sent a message out of turn"),
        (Evil::HoldsWhatItWasNotLent, "it looks at an input that it was not lent"),
    ];
    guarded(|| {
        let pool = Pool::builder().workers(2).build().unwrap();
        for (evil, said) in breaches {
            assert_alive(&pool);
            let error = pool.submit(do_evil, evil).unwrap().wait().unwrap_err();
            assert_eq!(error.kind(), Kind::Died, "{evil:?}: {error}");
            let pid = error.pid().unwrap();
            assert_eq!(error.message(), format!("its worker (pid {pid}) broke the protocol ({said}) and was ended"));
        }
        assert_eq!(pool.stats().workers_died_busy, breaches.len() as u64);
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_12_a_result_given_twice_counts_once() {
    guarded(|| {
        let pool = Pool::builder().workers(1).build().unwrap();
        for _ in 0..5 {
            // A worker's word on its own task is its own, even when it is a lie.
            assert_eq!(pool.submit(do_evil, Evil::ForgedTwice).unwrap().wait().unwrap(), 5);
            assert_alive(&pool);
        }
        // The last one's replacement may have been quicker than its end.
        wait_until(|| pool.stats().workers_died == 5);
        let stats = pool.stats();
        assert_eq!((stats.tasks_ok, stats.tasks_failed, stats.workers_died_busy), (505, 0, 0));
        end(pool);
    });
}

#[test]
fn row_12_a_worker_that_claims_tasks_it_was_never_sent() {
    guarded(|| {
        let notes = Notes::new();
        let pool = Pool::builder().workers(1).build().unwrap();
        let claim = |path: String| -> u64 {
            sys::scribble(at::TASK_HEAD, sys::peek(at::TASK_HEAD).wrapping_add(1_000));
            note(&path, "claimed", 0);
            forever()
        };
        let evil = pool.submit(claim, notes.path()).unwrap();
        wait_until(|| !notes.all().is_empty());
        // It is noticed when the next task goes into that ring.
        let others: Vec<_> = (0..10).map(|n| pool.submit(double, n).unwrap()).collect();
        let error = evil.wait().unwrap_err();
        assert!(error.message().contains("it claims to have passed tasks that were never sent"), "{error}");
        for (n, other) in (0..).zip(others) {
            assert_eq!(other.wait().unwrap(), 2 * n);
        }
        end(pool);
    });
}

/// Overwrites parts of the ring with noise, then stays, returns or dies.
fn make_noise(seed: u64) -> u64 {
    let mut random = Random::seeded(seed);
    let (_, size) = sys::ring();
    let spans = [(0, at::TASKS), (at::TASKS, at::RESULTS), (at::RESULTS, at::TASK_DATA), (0, at::TASK_DATA), (0, size)];
    let (from, to) = spans[random.below(5) as usize];
    for _ in 0..random.below(2_000) {
        let word = match random.below(4) {
            0 => random.below(5) as u32,
            1 => u32::MAX - random.below(3) as u32,
            2 => 1 << random.below(32),
            _ => random.next_u64() as u32,
        };
        sys::scribble(from + random.below((to - from) as u64 / 4) as usize * 4, word);
    }
    if random.below(2) == 0 {
        make_the_parent_look();
    }
    for _ in 0..random.below(3) {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.next_u64() as u8).collect();
        send(&noise, random.below(40) as usize);
    }
    match random.below(4) {
        0 => forever(),
        1 => std::process::abort(),
        _ => seed,
    }
}

#[test]
fn row_12_noise_in_the_ring_and_on_the_socket() {
    guarded(|| {
        let mut random = Random::new();
        let pool = Pool::builder().workers(2).timeout(Duration::from_secs(1)).build().unwrap();
        assert_alive(&pool);
        let descriptors = open_descriptors().len();
        let start = std::time::Instant::now();
        let mut ended = [0; 2];
        while start.elapsed() < Duration::from_secs(5) {
            let noise: Vec<_> = (0..8).map(|_| pool.submit(make_noise, random.next_u64()).unwrap()).collect();
            let others: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
            for future in noise {
                // Whatever it says of itself, it ends.
                ended[usize::from(future.wait().is_ok())] += 1;
            }
            for other in others {
                // A neighbour in the same worker's ring may be its victim, but nothing else.
                if let Err(error) = other.wait() {
                    assert!(matches!(error.kind(), Kind::Died | Kind::TimedOut | Kind::Decode), "{error:?}");
                }
            }
        }
        println!("{} evil tasks with an output, {} without; {:?}", ended[1], ended[0], pool.stats());
        // Those that survived their noise are still there, and may be broken; new workers are not.
        let survivors = pool.worker_pids();
        for pid in &survivors {
            sys::kill(*pid, rustix::process::Signal::KILL);
        }
        wait_until(|| pool.worker_pids().iter().all(|pid| !survivors.contains(pid)));
        assert_alive(&pool);
        // A worker costs two; the second may not have been there at first.
        wait_until(|| open_descriptors().len() <= descriptors + 2);
        end(pool);
    });
}

/// Says with every word it has that it never began, and dies.
fn deny((how, _): (u8, u64)) -> u64 {
    if how > 0 {
        sys::scribble(open_slot() + at::PROGRESS, 0);
    }
    if how > 1 {
        (0..at::SLOTS).for_each(|slot| sys::scribble(at::TASKS + slot * at::SLOT, 0));
    }
    std::process::abort()
}

#[test]
fn row_12_a_task_that_kills_its_worker_and_denies_it() {
    guarded(|| {
        let pool = Pool::builder().workers(2).build().unwrap();
        for how in 0..3 {
            let futures: Vec<_> = (0..10).map(|n| pool.submit(double, n).unwrap()).collect();
            let error = pool.submit(deny, (how, 0)).unwrap().wait().unwrap_err();
            assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(rustix::process::Signal::ABORT.as_raw())));
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.wait().unwrap(), 2 * n);
            }
        }
        assert!(pool.stats().workers_died < 40, "{:?}", pool.stats());
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_12_a_worker_that_feigns_progress_is_timed_out() {
    guarded(|| {
        let pool = Pool::builder().workers(1).timeout(Duration::from_millis(200)).build().unwrap();
        let feign = |n: u64| -> u64 {
            let slot = open_slot();
            for k in 0.. {
                sys::scribble(slot + at::PROGRESS, k % 1000);
                std::thread::sleep(Duration::from_millis(1));
            }
            n
        };
        let error = pool.submit(feign, 1).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut, "{error}");
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_12_an_initializer_that_never_stops_talking() {
    guarded(|| {
        let talk = |()| -> Result<(), String> {
            loop {
                send(&[1, 2, b'n', b'o'], 0);
            }
        };
        let pool = Pool::builder().workers(1).initializer(talk, ()).build().unwrap();
        let error = pool.submit(double, 1).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Start, "{error}");
        end(pool);
    });
}

#[test]
fn row_12_a_worker_that_says_it_sleeps_or_is_awake() {
    guarded(|| {
        // Its own futex word: lies cost it its own speed at most.
        let pool = Pool::builder().workers(1).build().unwrap();
        for word in [0, 1, 2, 3, u32::MAX] {
            let lie = |word: u32| {
                sys::scribble(at::WORKER, word);
                word
            };
            assert_eq!(pool.submit(lie, word).unwrap().wait().unwrap(), word);
            assert_alive(&pool);
        }
        end(pool);
    });
}
