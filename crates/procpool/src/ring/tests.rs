use super::layout::{Progress, SLOTS};
use super::*;
use crate::os::memory::{Mapping, create_fixed};

fn region() -> Region {
    let fd = create_fixed("test", Region::SIZE).unwrap();
    Region::new(Mapping::writable(&fd, Region::SIZE).unwrap()).unwrap()
}

fn header(frame: u64) -> TaskHeader {
    TaskHeader { frame, function: 7, first: 0, end: 2, shared_state: 0, attachment: 0, in_arena: 0 }
}

#[test]
fn tasks_arrive_in_order_with_their_payload() {
    let region = region();
    let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
    let mut payload = Vec::new();
    for lap in 0..500u64 {
        for k in 0..3 {
            assert!(parent.push(&header(lap * 3 + k), &vec![k as u8; 20_000]).unwrap().is_some());
        }
        for k in 0..3 {
            let got = worker.next(&mut payload).unwrap();
            assert!(worker.begin() && worker.begin() && !worker.begin());
            assert_eq!((got, payload.as_slice()), (header(lap * 3 + k), vec![k as u8; 20_000].as_slice()));
            worker.finish();
        }
        assert!(worker.is_empty());
    }
}

#[test]
fn a_full_ring_refuses_and_takes_again_once_passed() {
    let region = region();
    let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
    for frame in 0..SLOTS as u64 {
        assert_eq!(parent.push(&header(frame), b"x").unwrap(), Some(frame as u32));
    }
    assert_eq!(parent.push(&header(99), b"x").unwrap(), None);
    let mut payload = Vec::new();
    assert_eq!(worker.next(&mut payload).unwrap().frame, 0);
    assert_eq!(parent.push(&header(99), b"x").unwrap(), None, "its slot is not free yet");
    worker.finish();
    assert_eq!(parent.push(&header(99), b"x").unwrap(), Some(SLOTS as u32));
}

#[test]
fn every_item_is_either_begun_or_taken_back() {
    let region = region();
    let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
    let items = (3, 10);
    let slots: Vec<u32> = (0..3)
        .map(|frame| parent.push(&TaskHeader { first: 3, end: 10, ..header(frame) }, b"").unwrap().unwrap())
        .collect();
    let mut payload = Vec::new();
    assert_eq!(worker.next(&mut payload).map(|h| (h.frame, h.first, h.end)), Some((0, 3, 10)));
    assert!(worker.begin() && worker.begin());
    assert_eq!(parent.begun(slots[0], items), Ok(5));
    assert_eq!(parent.take_back(slots[0], items, |begun| begun + 2), Ok(7));
    assert_eq!(parent.take_back(slots[0], (3, 7), |_| 0), Ok(5), "what has begun is not to be had");
    assert!(!worker.begin());
    worker.finish();
    assert_eq!(parent.take_back(slots[1], items, |_| 0), Ok(3));
    assert_eq!(worker.next(&mut payload).unwrap().frame, 2, "the one that was taken back is skipped");
    assert_eq!(parent.take_back(slots[2], items, |_| 99), Ok(10), "nothing to take");
    for _ in items.0..items.1 {
        assert!(worker.begin());
    }
    assert!(!worker.begin());
    worker.finish();
    assert!(worker.next(&mut payload).is_none());
}

#[test]
fn a_worker_that_begins_what_it_has_not_is_found_out() {
    let region = region();
    let mut parent = TaskProducer::new(&region);
    let slot = parent.push(&header(0), b"").unwrap().unwrap();
    for word in [u64::MAX, 0, 3 << 32, 2 << 32 | 3] {
        region.control().tasks[0].open.store(word, std::sync::atomic::Ordering::SeqCst);
        assert!(parent.begun(slot, (0, 2)).is_err() && parent.take_back(slot, (0, 2), |_| 0).is_err(), "{word:x}");
    }
}

#[test]
fn a_frame_that_was_passed_does_not_speak_for_the_next_one_in_its_slot() {
    let region = region();
    let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
    let mut payload = Vec::new();
    let old = parent.push(&header(0), b"").unwrap().unwrap();
    assert!(worker.next(&mut payload).is_some() && worker.begin() && worker.begin());
    worker.finish();
    // Its result is not looked at yet, while others come and are taken back until the ring has gone around.
    for frame in 1..SLOTS as u64 {
        let slot = parent.push(&header(frame), b"").unwrap().unwrap();
        assert_eq!(parent.take_back(slot, (0, 2), |_| 0), Ok(0));
        assert!(worker.next(&mut payload).is_none());
    }
    let new = parent.push(&header(99), b"").unwrap().unwrap();
    assert_eq!(parent.begun(old, (0, 2)), Ok(2));
    assert_eq!(parent.take_back(old, (0, 2), |_| 0), Ok(2), "that would take the other one back");
    assert_eq!(parent.begun(new, (0, 2)), Ok(0));
    assert_eq!(worker.next(&mut payload).unwrap().frame, 99);
}

#[test]
fn a_worker_that_claims_too_much_is_found_out() {
    let region = region();
    let mut parent = TaskProducer::new(&region);
    parent.push(&header(0), b"").unwrap();
    region.control().task_head.0.store(9, std::sync::atomic::Ordering::SeqCst);
    assert!(parent.push(&header(1), b"").is_err());
}

#[test]
fn results_arrive_item_by_item() {
    let region = region();
    let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
    assert!(parent.peek().unwrap().is_none(), "nothing was ever opened");
    assert!(worker.open(5, 0));
    assert!(parent.peek().unwrap().is_none());
    assert!(worker.add(b"ab") && worker.add(b"c"));
    assert_eq!(parent.progress(), 2);
    let seen = parent.peek().unwrap().unwrap();
    assert_eq!((seen.frame, seen.first, seen.items, seen.task_ns, seen.bytes.as_slice()), (5, 0, 2, None, &b"abc"[..]));
    parent.take_peeked(2, 3);
    assert!(parent.peek().unwrap().is_none() && parent.progress() == 0);
    assert!(parent.pop().unwrap().is_none(), "not published yet");
    assert!(worker.add(b"de"));
    assert_eq!(worker.commit(60), Some((5, 3)));
    assert!(parent.peek().unwrap().is_none(), "it is not open any more");
    let got = parent.pop().unwrap().unwrap();
    assert_eq!((got.frame, got.first, got.items, got.task_ns, got.was_peeked), (5, 2, 1, Some(20), true));
    assert_eq!(got.bytes, b"de");
    assert!(parent.is_empty());
    assert!(worker.open(6, 4) && worker.add(b"f"));
    assert!(parent.pop().unwrap().is_none());
    worker.commit(1);
    let got = parent.pop().unwrap().unwrap();
    assert_eq!((got.frame, got.first, got.items, got.was_peeked), (6, 4, 1, false));
}

#[test]
fn a_frame_that_holds_nothing_is_not_published() {
    let region = region();
    let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
    assert!(worker.open(5, 0));
    assert_eq!(worker.commit(0), None);
    assert!(parent.is_empty());
    assert!(worker.open(6, 3) && worker.add(b"x"));
    assert_eq!(parent.peek().unwrap().map(|seen| (seen.frame, seen.first)), Some((6, 3)));
    assert_eq!(worker.commit(0), Some((6, 4)));
    assert_eq!(parent.pop().unwrap().unwrap().frame, 6);
}

#[test]
fn a_full_result_ring_waits_for_the_parent() {
    let region = region();
    let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
    let big = vec![1u8; INLINE_MAX];
    let mut open = 0;
    while worker.open(open, 0) {
        assert!(worker.add(&big));
        assert!(!worker.add(b"x"), "the room is used up");
        worker.commit(0);
        open += 1;
    }
    assert_eq!(open, 4);
    assert!(worker.is_stuck());
    assert_eq!(parent.pop().unwrap().unwrap().bytes, big);
    assert!(!worker.is_stuck());
    assert!(worker.open(open, 0));
}

#[test]
fn an_item_that_does_not_fit_is_not_part_of_the_frame() {
    let region = region();
    let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
    assert!(worker.open(5, 0));
    assert!(worker.add(&vec![1; INLINE_MAX - 1]));
    assert!(!worker.add(b"xy"));
    assert_eq!(worker.commit(0), Some((5, 1)));
    assert_eq!(parent.pop().unwrap().unwrap().items, 1);
    assert!(worker.open(5, 1));
    assert!(worker.add(b"xy"));
    assert_eq!(worker.commit(0), Some((5, 2)));
    assert_eq!(parent.pop().unwrap().unwrap().bytes, b"xy");
}

#[test]
fn hostile_words_are_breaches() {
    use std::sync::atomic::Ordering::SeqCst;
    let region = region();
    let mut parent = ResultConsumer::new(&region);
    region.control().result_tail.0.store(u32::MAX, SeqCst);
    assert!(parent.pop().is_err());
    region.control().result_tail.0.store(1, SeqCst);
    assert!(parent.pop().is_err(), "published, but never opened");
    let slot = &region.control().results[0];
    slot.serial.store(1, SeqCst);
    for (offset, len) in [(0, u32::MAX), (u32::MAX, 1), (u32::MAX, u32::MAX)] {
        slot.offset.store(offset, SeqCst);
        slot.progress.store(Progress { items: 1, bytes: len }.word(), SeqCst);
        assert!(parent.pop().is_err() && parent.peek().is_ok());
    }
    slot.offset.store(0, SeqCst);
    slot.progress.store(Progress { items: 1, bytes: 1 }.word(), SeqCst);
    parent.take_peeked(2, 1);
    assert!(parent.pop().is_err(), "fewer than were shown before");
}

#[test]
fn one_sleep_costs_one_ring() {
    let region = region();
    assert_eq!(region.take_listener(), Listener::Awake);
    region.set_listener(Listener::Supervisor);
    assert_eq!(region.take_listener(), Listener::Supervisor);
    assert_eq!(region.take_listener(), Listener::Awake);
    region.worker_word().store(SLEEPING, std::sync::atomic::Ordering::SeqCst);
    assert!(region.take_worker_sleep(SLEEPING));
    assert!(!region.take_worker_sleep(SLEEPING));
}
