//! The ring between two real processes: hundreds of thousands of frames of random sizes, some of them taken back, every byte
//! and every count checked. Loom tries all orders of a few steps; this tries some orders of very many, on real caches.

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

const FRAMES: u64 = 300_000;
/// Ends the other process; its one result is how many frames it has claimed.
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

/// The bytes of a frame, which both sides know: mostly few, sometimes as many as the ring takes.
fn bytes_of(frame: u64, salt: u64) -> Vec<u8> {
    let mut random = Random(frame ^ salt << 40);
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

fn header_of(frame: u64) -> TaskHeader {
    let word = Random(frame).next();
    TaskHeader {
        frame,
        function: word,
        items: word as u32 ^ 1,
        first: word as u32 ^ 2,
        shared_state: word ^ 3,
        attachment: word ^ 4,
    }
}

/// The other process: claims, checks, answers.
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
    let (mut claimed, mut before, mut payload) = (0u64, None, Vec::new());
    let ring = || match region.take_listener() {
        Listener::Awake => {}
        Listener::Leader => assert!(bell.ring()),
        Listener::Supervisor => panic!("nobody of this name listens"),
    };
    loop {
        let Claim::Task(got) = tasks.claim(&mut payload) else {
            region.sleep(SLEEPING, || tasks.is_empty(), |word, how| futex_wait(word, how, None));
            continue;
        };
        assert_eq!(got, header_of(got.frame));
        assert!(payload == bytes_of(got.frame, 1), "the payload of frame {} is another one", got.frame);
        assert!(before < Some(got.frame), "frame {} came after {before:?}", got.frame);
        before = Some(got.frame);
        while !results.open(got.frame, got.first) {
            ring();
            region.sleep(FULL, || results.is_stuck(), |word, how| futex_wait(word, how, None));
        }
        results.begin();
        let answer = if got.frame == LAST { claimed.to_le_bytes().to_vec() } else { bytes_of(got.frame, 2) };
        assert!(results.add(&answer));
        results.commit(got.frame).unwrap();
        tasks.finish();
        ring();
        if got.frame == LAST {
            return;
        }
        claimed += 1;
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

/// This process: pushes, takes back, checks the answers.
struct Parent {
    region: Region,
    bell: Bell,
    tasks: TaskProducer,
    results: ResultConsumer,
    /// Frames whose answer is to come, with their slots.
    sent: VecDeque<(u64, u32)>,
    revoked: u64,
    answered: u64,
    claimed: Option<u64>,
}

impl Parent {
    fn push(&mut self, frame: u64) {
        let payload = bytes_of(frame, 1);
        let slot = loop {
            if let Some(slot) = self.tasks.push(&header_of(frame), &payload).unwrap() {
                break slot;
            }
            self.take_or_wait();
        };
        self.sent.push_back((frame, slot));
        if self.region.take_worker_sleep(SLEEPING) {
            futex_wake(self.region.worker_word());
        }
    }

    fn revoke(&mut self, at: usize) {
        if self.tasks.revoke(self.sent[at].1) {
            self.sent.remove(at);
            self.revoked += 1;
        }
    }

    /// Takes the answers that are there. Returns whether there were any.
    fn take(&mut self) -> bool {
        let mut taken = false;
        while let Some(got) = self.results.pop().unwrap() {
            taken = true;
            let (frame, _) = self.sent.pop_front().unwrap();
            assert_eq!((got.frame, got.first, got.items), (frame, header_of(frame).first, 1));
            assert_eq!(got.run_ns, frame);
            if frame == LAST {
                self.claimed = Some(u64::from_le_bytes(got.bytes.try_into().unwrap()));
            } else {
                assert!(got.bytes == bytes_of(frame, 2), "the answer to frame {frame} is another one");
                self.answered += 1;
            }
        }
        if taken && self.region.take_worker_sleep(FULL) {
            futex_wake(self.region.worker_word());
        }
        taken
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
    let mut parent =
        Parent { region, bell, tasks, results, sent: VecDeque::new(), revoked: 0, answered: 0, claimed: None };
    let mut random = Random(7);
    for frame in 0..FRAMES {
        parent.push(frame);
        // Sometimes one of those that wait, the newest first of all; sometimes all of them.
        match random.next() % 64 {
            0 => (0..parent.sent.len()).rev().for_each(|at| parent.revoke(at)),
            1..16 => parent.revoke(parent.sent.len() - 1),
            16..24 => parent.revoke(random.next() as usize % parent.sent.len()),
            24..28 => {
                parent.take();
            }
            28 => {
                while !parent.sent.is_empty() {
                    parent.take_or_wait();
                }
            }
            _ => {}
        }
    }
    parent.push(LAST);
    while parent.claimed.is_none() {
        parent.take_or_wait();
    }
    assert!(other.0.wait().unwrap().success(), "the other process has found something wrong");
    drop(done);
    watchdog.join().unwrap();
    assert!(parent.sent.is_empty());
    assert_eq!(parent.claimed, Some(parent.answered), "each claimed frame has one answer");
    assert_eq!(parent.answered + parent.revoked, FRAMES, "each frame is claimed or taken back, once");
    eprintln!("{} claimed, {} taken back", parent.answered, parent.revoked);
    assert!(parent.revoked > FRAMES / 100 && parent.answered > FRAMES / 100, "both must have happened often");
}
