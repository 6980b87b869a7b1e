//! The ring of tasks: who gets a slot, and when it and its bytes may be used again.

use loom::thread;

use crate::ring::{Claim, Region, TaskConsumer, TaskHeader, TaskProducer};

pub(crate) fn header(frame: u64) -> TaskHeader {
    // Every word differs from frame to frame, so that a word of the frame before is noticed.
    TaskHeader {
        frame,
        function: frame + 10,
        items: frame as u32 + 20,
        first: frame as u32 + 30,
        shared_state: frame + 40,
        attachment: frame + 50,
    }
}

/// Payloads of different length and content.
pub(crate) fn payload(frame: u64) -> Vec<u8> {
    vec![frame as u8 + 1; 1 + frame as usize % 2]
}

/// Pushes, again and again while there is no room.
pub(crate) fn push(parent: &mut TaskProducer, frame: u64) -> u32 {
    loop {
        match parent.push(&header(frame), &payload(frame)).unwrap() {
            Some(slot) => return slot,
            None => thread::yield_now(),
        }
    }
}

/// Claims what is there and passes it; the frames in order.
fn claim_all(worker: &mut TaskConsumer) -> Vec<u64> {
    let (mut claimed, mut bytes) = (Vec::new(), Vec::new());
    while let Claim::Task(got) = worker.claim(&mut bytes) {
        assert_eq!((got, &bytes), (header(got.frame), &payload(got.frame)));
        claimed.push(got.frame);
        worker.finish();
    }
    claimed
}

#[test]
fn a_frame_is_either_claimed_or_revoked() {
    crate::model(3, || {
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let slots = [push(&mut parent, 0), push(&mut parent, 1)];
        let works = thread::spawn(move || {
            let claimed = claim_all(&mut worker);
            (worker, claimed)
        });
        let revoked: Vec<u64> = (0..2).filter(|frame| parent.revoke(slots[*frame as usize])).collect();
        let (_, mut all) = works.join().unwrap();
        all.extend(revoked);
        all.sort_unstable();
        assert_eq!(all, [0, 1], "each frame has one owner");
    });
}

#[test]
fn slots_and_bytes_are_used_again_only_when_passed() {
    crate::model(3, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let works = thread::spawn(move || {
            let mut claimed = Vec::new();
            while claimed.len() < FRAMES as usize {
                let some = claim_all(&mut worker);
                if some.is_empty() {
                    thread::yield_now();
                }
                claimed.extend(some);
            }
            claimed
        });
        for frame in 0..FRAMES {
            push(&mut parent, frame);
        }
        assert_eq!(works.join().unwrap(), [0, 1, 2, 3], "each once, in order");
    });
}

#[test]
fn around_the_ring_with_frames_taken_back() {
    crate::model(3, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let works = thread::spawn(move || {
            let mut claimed = Vec::new();
            // The last frame is never taken back, so it says that there are no more.
            while claimed.last() != Some(&(FRAMES - 1)) {
                let some = claim_all(&mut worker);
                if some.is_empty() {
                    thread::yield_now();
                }
                claimed.extend(some);
            }
            claimed
        });
        let mut all = Vec::new();
        for frame in 0..FRAMES {
            let slot = push(&mut parent, frame);
            // At once, so while the worker may be anywhere in it.
            if frame % 2 == 0 && parent.revoke(slot) {
                all.push(frame);
                assert!(parent.is_claimed(slot), "a frame that was taken back is not waiting");
            }
        }
        all.extend(works.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3], "each frame has one owner");
    });
}
