//! What a worker can send, made up: the bodies that cargo-fuzz runs (`fuzz/`), and the same bodies as tests, on random and on
//! damaged honest input. A body returns for whatever bytes; to find something is to panic.

use crate::ring::fuzz::{Hostile, Input};
use crate::ring::{INLINE_MAX, Listener, Region, ResultConsumer, SLOTS, TaskHeader, TaskProducer};
use crate::wire::control::{self, PanicReport, ToParent, ToWorker};
use crate::wire::items::{put_result, split_result, split_task, survey};

pub use crate::supervisor::fuzz::acceptance;

/// The parent's ends of both rings over a region that somebody writes into.
pub fn ring(data: &[u8]) {
    let Some(hostile) = Hostile::new() else { return };
    let (mut tasks, mut results) = (TaskProducer::new(&hostile.region), ResultConsumer::new(&hostile.region));
    let mut input = Input(data);
    let mut slots = Vec::new();
    while !input.is_over() {
        match input.byte() % 9 {
            0..3 => {
                hostile.spoil(&mut input);
            }
            3 => {
                let header =
                    TaskHeader { frame: 1, function: 2, first: 1, end: 6, shared_state: 0, attachment: 0, in_arena: 0 };
                let len = match input.byte() {
                    0 => INLINE_MAX,
                    short => usize::from(short),
                };
                if let Ok(Some(slot)) = tasks.push(&header, &vec![7; len]) {
                    slots.push((slot, (1, 6)));
                }
            }
            4 => {
                let keep = u32::from(input.byte() % 4);
                if let Some((slot, items)) = slots.pop() {
                    let begun = tasks.begun(slot, items);
                    assert!(begun.is_err() || begun.is_ok_and(|begun| begun >= items.0 && begun <= items.1));
                    let end = tasks.take_back(slot, items, |begun| begun + keep);
                    assert_eq!(begun.is_ok(), end.is_ok());
                    if let (Ok(begun), Ok(end)) = (begun, end) {
                        assert!(end >= begun && end <= items.1, "what had begun was taken back, or what was not there");
                        slots.push((slot, (items.0, end)));
                    }
                    if slots.len() > 2 * SLOTS {
                        slots.remove(0);
                    }
                }
            }
            5 => {
                if let Ok(Some(got)) = results.pop() {
                    assert!(got.bytes.len() < Region::SIZE && got.task_ns.is_some());
                    let _ = survey(&got.bytes, got.items);
                }
            }
            6 => {
                if let Ok(Some(shown)) = results.peek() {
                    assert!(shown.items > 0 && shown.bytes.len() < Region::SIZE && shown.task_ns.is_none());
                    if survey(&shown.bytes, shown.items).is_some() {
                        results.take_peeked(shown.items, shown.bytes.len());
                    }
                }
            }
            7 => {
                let _ = (results.progress(), results.is_empty());
                hostile.region.set_listener(Listener::Supervisor);
            }
            _ => {
                let _ = hostile.region.take_worker_sleep(u32::from(input.byte() % 3));
            }
        }
    }
}

/// The items of a result frame and of a task frame.
pub fn items(data: &[u8]) {
    let mut input = Input(data);
    let count = match input.byte() {
        255 => input.word(),
        few => u32::from(few),
    };
    let bytes = input.0;
    if let Some((len, failed)) = survey(bytes, count) {
        let (mut rest, mut again, mut seen) = (bytes, Vec::new(), 0);
        for _ in 0..count {
            let (status, item, after) = split_result(rest).expect("it was split before");
            put_result(status, item, &mut again);
            seen += u32::from(status.is_failure());
            rest = after;
        }
        assert_eq!((bytes.len() - rest.len(), seen), (len, failed));
        // The same items; of each length, the shortest form.
        assert!(again.len() <= len);
        assert_eq!(survey(&again, count), Some((again.len(), failed)));
    }
    let mut rest = bytes;
    while let Some((item, after)) = split_task(rest) {
        assert!(item.len() + after.len() < rest.len());
        rest = after;
    }
}

/// The messages of the control socket, and what a panic sends.
pub fn messages(data: &[u8]) {
    if let Some(message) = control::decode::<ToParent>(data) {
        assert_eq!(control::decode(&control::encode(&message)), Some(message));
    }
    if let Some(message) = control::decode::<ToWorker>(data) {
        assert_eq!(control::decode(&control::encode(&message)), Some(message));
    }
    if let Some(report) = control::decode::<PanicReport>(data) {
        assert_eq!(control::decode(&control::encode(&report)), Some(report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::{PROTOCOL, SandboxState};
    use crate::wire::items::Status;

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

        fn below(&mut self, n: usize) -> usize {
            (self.next() % n.max(1) as u64) as usize
        }

        fn bytes(&mut self, most: usize) -> Vec<u8> {
            (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
        }

        /// `bytes`, damaged in a few places.
        fn damage(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
            for _ in 0..self.below(4) {
                let at = self.below(bytes.len());
                match self.below(6) {
                    0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                    1 if !bytes.is_empty() => bytes[at] = [0, 1, 127, 128, 255][self.below(5)],
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, self.next() as u8),
                    4 if !bytes.is_empty() => drop(bytes.remove(at)),
                    _ => bytes.extend(self.bytes(8)),
                }
            }
            bytes
        }
    }

    /// Runs `body` on so many inputs times `FUZZ_CASES` (1 if it is not set): half of them of random bytes, the others damaged
    /// from those of `honest`.
    fn drive(cases: u64, longest: usize, honest: &[Vec<u8>], body: fn(&[u8])) {
        let times: u64 = std::env::var("FUZZ_CASES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
        for case in 0..cases * times {
            let mut random = Random(case);
            let input = match honest.get(random.below(2 * honest.len())) {
                Some(honest) => random.damage(honest.clone()),
                None => random.bytes(longest),
            };
            if std::panic::catch_unwind(|| body(&input)).is_err() {
                panic!("case {case}: {input:?}");
            }
        }
    }

    #[test]
    fn a_ring_that_somebody_writes_into() {
        drive(20_000, 400, &[], ring);
    }

    #[test]
    fn items_of_any_bytes() {
        let frame = |items: &[(Status, usize)]| {
            let mut bytes = vec![items.len() as u8];
            items.iter().for_each(|(status, len)| put_result(*status, &vec![3; *len], &mut bytes));
            bytes
        };
        let honest = [
            frame(&[(Status::Ok, 0)]),
            frame(&[(Status::Ok, 5), (Status::Panicked, 130), (Status::Attached, 8)]),
            frame(&[(Status::EncodeFailed, 1), (Status::DecodeFailed, 127), (Status::Ok, 128), (Status::Ok, 300)]),
        ];
        drive(200_000, 60, &honest, items);
    }

    #[test]
    fn messages_of_any_bytes() {
        let sandbox = SandboxState { landlock_abi: 7, seccomp: true, no_new_privs: true, threads_outside: 0 };
        let honest = [
            control::encode(&ToParent::Ready { sandbox: Some(sandbox) }),
            control::encode(&ToParent::Ready { sandbox: None }),
            control::encode(&ToParent::Unable { reason: "a reason".into() }),
            control::encode(&ToParent::Attach { number: u64::MAX, memory: true, memories: vec![(1, 2)], holds: true }),
            control::encode(&ToWorker::Serve {
                protocol: PROTOCOL,
                identity: vec![1; 20],
                initializer: None,
                sandbox: None,
                results: 1 << 20,
            }),
            control::encode(&ToParent::Segment { number: 3 }),
            control::encode(&PanicReport { message: "no".into(), location: Some("here".into()), backtrace: None }),
        ];
        drive(200_000, 60, &honest, messages);
    }

    #[test]
    fn a_worker_that_does_anything_ends_each_task_once() {
        drive(3_000, 300, &[], acceptance);
    }
}
