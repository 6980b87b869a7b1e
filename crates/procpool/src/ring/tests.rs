use super::layout::SLOTS;
use super::*;
use crate::os::memory::{Mapping, create_fixed};

fn region() -> Region {
    let fd = create_fixed("test", Region::SIZE).unwrap();
    Region::new(Mapping::writable(&fd, Region::SIZE).unwrap()).unwrap()
}

fn header(frame: u64) -> TaskHeader {
    TaskHeader { frame, function: 7, items: 2, first: 0, shared_state: 0, attachment: 0, last_in_arena: false }
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
            let Claim::Task(got) = worker.claim(&mut payload) else { panic!("nothing to claim") };
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
    assert!(matches!(worker.claim(&mut payload), Claim::Task(h) if h.frame == 0));
    assert_eq!(parent.push(&header(99), b"x").unwrap(), None, "a claimed slot is not free yet");
    worker.finish();
    assert_eq!(parent.push(&header(99), b"x").unwrap(), Some(SLOTS as u32));
}

#[test]
fn a_slot_is_either_claimed_or_revoked() {
    let region = region();
    let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
    let slots: Vec<u32> = (0..3).map(|f| parent.push(&header(f), b"").unwrap().unwrap()).collect();
    let mut payload = Vec::new();
    assert!(matches!(worker.claim(&mut payload), Claim::Task(h) if h.frame == 0));
    assert!(!parent.revoke(slots[0]));
    assert!(parent.is_claimed(slots[0]) && !parent.is_claimed(slots[1]));
    assert!(parent.revoke(slots[1]));
    worker.finish();
    assert!(matches!(worker.claim(&mut payload), Claim::Task(h) if h.frame == 2), "the revoked one is skipped");
    worker.finish();
    assert!(matches!(worker.claim(&mut payload), Claim::Empty));
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
    assert!(worker.open(5, 0));
    worker.begin();
    assert!(worker.add(b"ab"));
    let seen = parent.open_result().unwrap();
    assert_eq!((seen.done.items, seen.running, seen.done.bytes.as_slice()), (1, false, &b"ab"[..]));
    worker.begin();
    assert!(parent.open_result().unwrap().running);
    assert!(parent.pop().unwrap().is_none(), "not published yet");
    assert!(worker.add(b"c"));
    assert_eq!(worker.commit(42), Some((5, 2)));
    let got = parent.pop().unwrap().unwrap();
    assert_eq!((got.frame, got.first, got.items, got.run_ns), (5, 0, 2, 42));
    assert_eq!(got.bytes, b"abc");
    assert!(parent.is_empty());
}

#[test]
fn a_full_result_ring_waits_for_the_parent() {
    let region = region();
    let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
    let big = vec![1u8; INLINE_MAX];
    let mut open = 0;
    while worker.open(open, 0) {
        worker.begin();
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
    worker.begin();
    assert!(worker.add(&vec![1; INLINE_MAX - 1]));
    worker.begin();
    assert!(!worker.add(b"xy"));
    worker.set_carrying(true);
    assert_eq!(worker.commit(0), Some((5, 1)));
    assert!(parent.was_carrying());
    assert_eq!(parent.pop().unwrap().unwrap().items, 1);
    assert!(worker.open(5, 1));
    worker.begin();
    worker.set_carrying(false);
    assert!(parent.open_result().unwrap().running && !parent.was_carrying());
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
    region.control().results[0].len.store(u32::MAX, SeqCst);
    assert!(parent.pop().is_err());
    region.control().results[0].len.store(0, SeqCst);
    region.control().results[0].progress.store(3, SeqCst);
    assert!(parent.pop().is_err());
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
