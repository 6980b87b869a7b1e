//! The ring between two real processes: hundreds of thousands of frames of one to eight items and of random sizes, some items
//! taken back, open frames looked into, every byte and every count checked. Loom tries all orders of a few steps; this tries
//! some orders of very many, on real caches.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;
use crate::os::bell::{Bell, futex_wait, futex_wake};
use crate::os::memory::{Mapping, create_fixed};
use crate::os::socket::{Received, Socket};

const FRAMES: u64 = 200_000;
/// Ends the other process; its one result is how many items it has begun.
const LAST: u64 = u64::MAX;
/// Set for the other process.
const OTHER: &str = "PROCPOOL_RING_STRESS";
/// Far more than a loaded machine needs.
const WATCHDOG: Duration = Duration::from_secs(120);

/// A splitmix64 generator (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The bytes of a frame or of an item's result, which both sides know: mostly few, sometimes as many as the ring takes.
fn bytes_of(number: u64, salt: u64) -> Vec<u8> {
    let mut random = Random(number ^ salt << 40);
    let most = match random.next() % 256 {
        0 => INLINE_MAX as u64,
        1..16 => 4096,
        _ => 100,
    };
    let len = random.next() % (most + 1);
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while bytes.len() < len as usize {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

/// What comes back from item `item` of `frame`.
fn result_of(frame: u64, item: u32) -> Vec<u8> {
    bytes_of(frame * 16 + u64::from(item), 2)
}

fn header_of(frame: u64) -> TaskHeader {
    let word = Random(frame).next();
    let first = (word % 3) as u32;
    let count = if frame == LAST { 1 } else { 1 + (word >> 8) as u32 % 8 };
    TaskHeader {
        frame,
        function: word,
        first,
        end: first + count,
        shared_state: word ^ 3,
        attachment: word ^ 4,
        in_arena: word as u32 ^ 5,
    }
}

/// The other process: begins, checks, answers.
#[test]
fn the_other_process() {
    if std::env::var_os(OTHER).is_none() {
        return;
    }
    let socket = Socket::from_fd(std::io::stdin().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let mut buf = [0; 8];
    let Received::Message(_, fds) = socket.receive(&mut buf, true).unwrap() else { panic!("no region") };
    let [memory, bell] = <[OwnedFd; 2]>::try_from(fds).unwrap();
    let region = Region::new(Mapping::writable(&memory, Region::SIZE).unwrap()).unwrap();
    let bell = Bell::from_fd(bell);
    let (mut tasks, mut results) = (TaskConsumer::new(&region), ResultProducer::new(&region));
    let (mut begun, mut before, mut payload) = (0u64, None, Vec::new());
    let ring = || match region.take_listener() {
        Listener::Awake => {}
        Listener::Leader => assert!(bell.ring()),
        Listener::Supervisor => panic!("nobody of this name listens"),
    };
    let open = |results: &mut ResultProducer, frame, first| {
        while !results.open(frame, first) {
            ring();
            region.sleep(FULL, || results.is_stuck(), |word, how| futex_wait(word, how, None));
        }
    };
    loop {
        let Some(got) = tasks.next(&mut payload) else {
            region.sleep(SLEEPING, || tasks.is_empty(), |word, how| futex_wait(word, how, None));
            continue;
        };
        let sent = header_of(got.frame);
        assert!(got.end <= sent.end, "frame {} is longer than it was", got.frame);
        assert_eq!(TaskHeader { end: sent.end, ..got }, sent);
        assert!(payload == bytes_of(got.frame, 1), "the payload of frame {} is another one", got.frame);
        assert!(before < Some(got.frame), "frame {} came after {before:?}", got.frame);
        before = Some(got.frame);
        open(&mut results, got.frame, got.first);
        for item in got.first..got.end {
            if !tasks.begin() {
                break;
            }
            let answer = if got.frame == LAST { begun.to_le_bytes().to_vec() } else { result_of(got.frame, item) };
            begun += 1;
            if !results.add(&answer) {
                results.commit(0).unwrap();
                ring();
                open(&mut results, got.frame, item);
                assert!(results.add(&answer));
            }
        }
        if results.commit(0).is_some() {
            ring();
        }
        tasks.finish();
        if got.frame == LAST {
            return;
        }
    }
}

/// Ended when this process finds something wrong: it would wait for ever.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A frame of which something is to come.
struct Sent {
    frame: u64,
    slot: u32,
    /// What has not been taken back.
    items: (u32, u32),
    /// The first of which nothing has come yet.
    next: u32,
}

/// This process: pushes, takes back, looks, checks the answers.
struct Parent {
    region: Region,
    bell: Bell,
    tasks: TaskProducer,
    results: ResultConsumer,
    sent: VecDeque<Sent>,
    pushed: u64,
    taken_back: u64,
    answered: u64,
    peeked: u64,
    /// How many items the other process says it has begun.
    begun: Option<u64>,
}

impl Parent {
    fn push(&mut self, frame: u64) {
        let (header, payload) = (header_of(frame), bytes_of(frame, 1));
        let slot = loop {
            if let Some(slot) = self.tasks.push(&header, &payload).unwrap() {
                break slot;
            }
            self.take_or_wait();
        };
        self.sent.push_back(Sent { frame, slot, items: (header.first, header.end), next: header.first });
        self.pushed += u64::from(header.end - header.first);
        if self.region.take_worker_sleep(SLEEPING) {
            futex_wake(self.region.worker_word());
        }
    }

    /// Takes back all that has not begun but the first `keep` of it.
    fn take_back(&mut self, at: usize, keep: u32) {
        let sent = &mut self.sent[at];
        let end = self.tasks.take_back(sent.slot, sent.items, |begun| begun + keep).unwrap();
        assert!(end >= sent.next && end <= sent.items.1);
        self.taken_back += u64::from(sent.items.1 - end);
        sent.items.1 = end;
        assert_eq!(self.tasks.take_back(sent.slot, sent.items, |_| u32::MAX), Ok(end), "nobody else shortens it");
        if sent.next == end {
            self.sent.remove(at);
        }
    }

    fn accept(&mut self, shown: &Shown) {
        let sent = self.sent.front_mut().expect("a result of nothing");
        assert_eq!((shown.frame, shown.first), (sent.frame, sent.next));
        sent.next += shown.items;
        assert!(sent.next <= sent.items.1, "frame {} has a result of what was taken back", sent.frame);
        assert!(self.tasks.begun(sent.slot, sent.items).unwrap() >= sent.next, "finished before it was begun");
        if sent.frame == LAST {
            self.begun = Some(u64::from_le_bytes(shown.bytes.as_slice().try_into().unwrap()));
        } else {
            let expected: Vec<u8> = (shown.first..sent.next).flat_map(|item| result_of(shown.frame, item)).collect();
            assert!(shown.bytes == expected, "frame {} gives something else from {} on", shown.frame, shown.first);
            self.answered += u64::from(shown.items);
        }
        if sent.next == sent.items.1 {
            self.sent.pop_front();
        }
    }

    /// Takes the answers that are there. Returns whether there were any.
    fn take(&mut self) -> bool {
        let mut taken = false;
        while let Some(shown) = self.results.pop().unwrap() {
            taken = true;
            if shown.items > 0 || !shown.was_peeked {
                self.accept(&shown);
            }
        }
        if taken && self.region.take_worker_sleep(FULL) {
            futex_wake(self.region.worker_word());
        }
        taken
    }

    /// Takes what is finished of the frame that the other process is at.
    fn peek(&mut self) {
        self.take();
        if let Some(shown) = self.results.peek().unwrap() {
            self.peeked += u64::from(shown.items);
            self.accept(&shown);
            self.results.take_peeked(shown.items, shown.bytes.len());
        }
    }

    fn take_or_wait(&mut self) {
        if self.take() {
            return;
        }
        if self.sent.is_empty() {
            // The worker passes what was taken back, and says nothing about it.
            std::thread::yield_now();
            return;
        }
        self.region.set_listener(Listener::Leader);
        if self.results.is_empty() {
            self.bell.wait(None);
        }
        self.region.set_listener(Listener::Awake);
    }
}

#[test]
fn two_processes_lose_and_double_nothing() {
    let memory = create_fixed("test", Region::SIZE).unwrap();
    let region = Region::new(Mapping::writable(&memory, Region::SIZE).unwrap()).unwrap();
    let bell = Bell::new().unwrap();
    let (ours, theirs) = Socket::pair().unwrap();
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["ring::stress::the_other_process", "--exact"])
        .env(OTHER, "1")
        .stdin(Stdio::from(theirs.into_fd()))
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut other = Other(other);
    ours.send(b"region", &[memory.as_fd(), bell.as_fd()], true).unwrap();

    let (done, is_done) = channel::<()>();
    let pid = rustix::process::Pid::from_child(&other.0);
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
            eprintln!("two processes wait for each other");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            std::process::abort();
        }
    });
    let (tasks, results) = (TaskProducer::new(&region), ResultConsumer::new(&region));
    let mut parent = Parent {
        region,
        bell,
        tasks,
        results,
        sent: VecDeque::new(),
        pushed: 0,
        taken_back: 0,
        answered: 0,
        peeked: 0,
        begun: None,
    };
    let mut random = Random(7);
    for frame in 0..FRAMES {
        parent.push(frame);
        // Sometimes of those that wait, the newest first of all; sometimes of all of them.
        let keep = random.next() as u32 % 4;
        match random.next() % 64 {
            0 => (0..parent.sent.len()).rev().for_each(|at| parent.take_back(at, 0)),
            1..16 => parent.take_back(parent.sent.len() - 1, keep),
            16..24 => parent.take_back(random.next() as usize % parent.sent.len(), keep),
            24..28 => {
                parent.take();
            }
            28..40 => parent.peek(),
            40 => {
                while !parent.sent.is_empty() {
                    parent.take_or_wait();
                }
            }
            41 => {
                while !parent.sent.is_empty() {
                    parent.peek();
                }
            }
            _ => {}
        }
    }
    parent.push(LAST);
    while parent.begun.is_none() {
        parent.take_or_wait();
    }
    assert!(other.0.wait().unwrap().success(), "the other process has found something wrong");
    drop(done);
    watchdog.join().unwrap();
    assert!(parent.sent.is_empty());
    let Parent { pushed, taken_back, answered, peeked, begun, .. } = parent;
    eprintln!("{answered} items begun, {peeked} of them seen early, {taken_back} taken back");
    assert_eq!(begun, Some(answered), "each item that was begun has one result");
    assert_eq!(answered + taken_back + 1, pushed, "each item is begun or taken back, once");
    let often = FRAMES / 100;
    assert!(taken_back > often && answered > often && peeked > 0, "all of these must have happened");
}
