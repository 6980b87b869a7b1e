//! The ring of tasks: who gets an item, and when a slot and its bytes may be used again.

use loom::thread;

use crate::ring::{Region, TaskConsumer, TaskHeader, TaskProducer};

/// What was begun or taken back: a frame and the number of the item.
pub(crate) type Item = (u64, u32);

/// The items of a frame, from where to before where. They differ from frame to frame.
pub(crate) fn items(frame: u64, count: u32) -> (u32, u32) {
    let first = 10 * frame as u32;
    (first, first + count)
}

pub(crate) fn header(frame: u64, (first, end): (u32, u32)) -> TaskHeader {
    // Every word differs from frame to frame, so that a word of the frame before is noticed.
    TaskHeader {
        frame,
        function: frame + 10,
        first,
        end,
        shared_state: frame + 40,
        attachment: frame + 50,
        in_arena: frame as u32 + 60,
    }
}

/// Payloads of different length and content.
pub(crate) fn payload(frame: u64) -> Vec<u8> {
    vec![frame as u8 + 1; 1 + frame as usize % 2]
}

/// Pushes a frame of `count` items, again and again while there is no room.
pub(crate) fn push(parent: &mut TaskProducer, frame: u64, count: u32) -> u32 {
    loop {
        match parent.push(&header(frame, items(frame, count)), &payload(frame)).unwrap() {
            Some(slot) => return slot,
            None => thread::yield_now(),
        }
    }
}

/// Begins all items of all frames that are there; returns whether there was a frame. A frame that is shown is checked.
pub(crate) fn begin_all(worker: &mut TaskConsumer, begun: &mut Vec<Item>) -> bool {
    let (mut some, mut bytes) = (false, Vec::new());
    while let Some(got) = worker.next(&mut bytes) {
        some = true;
        let expected = header(got.frame, (got.first, got.end));
        assert_eq!((got, &bytes), (expected, &payload(got.frame)));
        assert_eq!(got.first, items(got.frame, 0).0, "nobody has begun any of it");
        let mut next = got.first;
        while worker.begin() {
            begun.push((got.frame, next));
            next += 1;
        }
        worker.finish();
    }
    some
}

/// Takes back what `keep` says of a frame that reaches to `items.1`, and notes what that was.
fn take_back(
    parent: &TaskProducer,
    (frame, slot): (u64, u32),
    items: &mut (u32, u32),
    taken: &mut Vec<Item>,
    keep: impl Fn(u32) -> u32,
) {
    let end = parent.take_back(slot, *items, keep).unwrap();
    taken.extend((end..items.1).map(|item| (frame, item)));
    items.1 = end;
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_unstable();
    items
}

#[test]
fn an_item_is_either_begun_or_taken_back() {
    crate::model(3, || {
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let slot = push(&mut parent, 1, 3);
        let works = thread::spawn(move || {
            let mut begun = Vec::new();
            begin_all(&mut worker, &mut begun);
            begun
        });
        let (mut all, mut taken) = (items(1, 3), Vec::new());
        // What the scheduler does when a task is long, then when one is cancelled, then when all are.
        let end = all.1;
        take_back(&parent, (1, slot), &mut all, &mut taken, |begun| begun + (end - begun) / 2);
        let seen = parent.begun(slot, all).unwrap();
        take_back(&parent, (1, slot), &mut all, &mut taken, |begun| begun.max(11));
        take_back(&parent, (1, slot), &mut all, &mut taken, |_| 0);
        let begun = works.join().unwrap();
        assert!(seen <= 10 + begun.len() as u32, "more was begun when it was looked at than in the end");
        assert_eq!(parent.begun(slot, all).unwrap(), 10 + begun.len() as u32);
        assert_eq!(all.1, 10 + begun.len() as u32, "nothing is left that has no owner");
        assert!(begun.iter().copied().eq((10..all.1).map(|item| (1, item))), "in order, each once");
        taken.extend(begun);
        assert_eq!(sorted(taken), [(1, 10), (1, 11), (1, 12)], "each item has one owner");
    });
}

#[test]
fn what_is_kept_is_begun() {
    crate::model(3, || {
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let slots = [push(&mut parent, 0, 2), push(&mut parent, 1, 2)];
        let works = thread::spawn(move || {
            let mut begun = Vec::new();
            begin_all(&mut worker, &mut begun);
            begun
        });
        let (mut taken, mut left) = (Vec::new(), [items(0, 2), items(1, 2)]);
        // The second of the frame behind, then the second of the one in front.
        for frame in [1, 0] {
            let at = (frame as u64, slots[frame]);
            let first = left[frame].0;
            take_back(&parent, at, &mut left[frame], &mut taken, |begun| begun.max(first + 1));
        }
        let mut begun = works.join().unwrap();
        assert!(begun.contains(&(0, 0)) && begun.contains(&(1, 10)), "nobody took these back");
        begun.extend(taken);
        assert_eq!(sorted(begun), [(0, 0), (0, 1), (1, 10), (1, 11)], "each item has one owner");
    });
}

#[test]
fn slots_and_bytes_are_used_again_only_when_passed() {
    crate::model(3, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let works = thread::spawn(move || {
            let mut begun = Vec::new();
            while begun.len() < FRAMES as usize {
                if !begin_all(&mut worker, &mut begun) {
                    thread::yield_now();
                }
            }
            begun
        });
        for frame in 0..FRAMES {
            push(&mut parent, frame, 1);
        }
        assert_eq!(works.join().unwrap(), [(0, 0), (1, 10), (2, 20), (3, 30)], "each once, in order");
    });
}

#[test]
fn around_the_ring_with_items_taken_back() {
    crate::model(2, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let works = thread::spawn(move || {
            let mut begun = Vec::new();
            // Of the last frame nothing is taken back, so it says that there are no more.
            while begun.last().is_none_or(|(frame, _)| *frame < FRAMES - 1) {
                if !begin_all(&mut worker, &mut begun) {
                    thread::yield_now();
                }
            }
            begun
        });
        let (mut taken, mut first) = (Vec::new(), (0, (0, 0)));
        for frame in 0..FRAMES {
            let count = if frame == FRAMES - 1 { 1 } else { 2 };
            let slot = push(&mut parent, frame, count);
            let mut left = items(frame, count);
            // At once, so while the worker may be anywhere in it.
            match frame {
                0 => {
                    take_back(&parent, (frame, slot), &mut left, &mut taken, |begun| begun.max(1));
                    first = (slot, left);
                }
                // Its slot is the first one's.
                2 => {
                    assert_eq!(parent.begun(first.0, first.1), Ok(first.1.1), "the slot is another's by now");
                    take_back(&parent, (0, first.0), &mut first.1, &mut taken, |_| 0);
                    take_back(&parent, (frame, slot), &mut left, &mut taken, |_| 0);
                    assert_eq!(parent.begun(slot, left), Ok(left.1), "what was taken back is not waiting");
                }
                _ => {}
            }
        }
        taken.extend(works.join().unwrap());
        let all: Vec<Item> = [(0, 0), (0, 1), (1, 10), (1, 11), (2, 20), (2, 21), (3, 30)].into();
        assert_eq!(sorted(taken), all, "each item has one owner");
    });
}
