//! The ring of results: what is published is whole, and so is what the parent sees of a frame that is still open.

use loom::thread;

use crate::ring::{Region, ResultConsumer, ResultProducer, Shown};

/// The result of an item, which tells it from all others here.
pub(crate) fn result(frame: u64, item: u32) -> u8 {
    (frame * 16) as u8 + item as u8
}

/// The items that are shown, after a look at whether they are whole and the right ones.
fn numbers(shown: &Shown) -> Vec<(u64, u32)> {
    let items = shown.first..shown.first + shown.items;
    let bytes: Vec<u8> = items.clone().map(|item| result(shown.frame, item)).collect();
    assert_eq!(shown.bytes, bytes, "frame {} from item {} on", shown.frame, shown.first);
    items.map(|item| (shown.frame, item)).collect()
}

#[test]
fn published_results_are_whole_around_the_ring() {
    crate::model(3, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        let works = thread::spawn(move || {
            for frame in 0..FRAMES {
                let first = frame as u32 + 7;
                while !worker.open(frame, first) {
                    thread::yield_now();
                }
                for item in first..=first + frame as u32 % 2 {
                    assert!(worker.add(&[result(frame, item)]));
                }
                worker.commit(2 * frame + 70).unwrap();
            }
        });
        let mut frame = 0;
        while frame < FRAMES {
            let Some(got) = parent.pop().unwrap() else {
                thread::yield_now();
                continue;
            };
            let items = 1 + frame as u32 % 2;
            assert_eq!((got.frame, got.first, got.items), (frame, frame as u32 + 7, items));
            assert_eq!(got.task_ns, Some((2 * frame + 70) / u64::from(items)));
            assert_eq!(numbers(&got).len(), items as usize);
            frame += 1;
        }
        works.join().unwrap();
        assert!(parent.is_empty());
    });
}

/// Two frames that were taken long ago, so that both slots have been used.
fn after_a_lap(worker: &mut ResultProducer, parent: &mut ResultConsumer) {
    for frame in 1..3 {
        assert!(worker.open(frame, 0) && worker.add(&[result(frame, 0)]) && worker.add(&[result(frame, 1)]));
        worker.commit(0).unwrap();
        assert_eq!(parent.pop().unwrap().unwrap().items, 2);
    }
}

/// Looks at the open frame and takes what is new in it.
fn peek(parent: &mut ResultConsumer, got: &mut Vec<(u64, u32)>) {
    let before = parent.progress();
    if let Some(shown) = parent.peek().unwrap() {
        assert!(shown.items > 0 && shown.task_ns.is_none());
        let seen = numbers(&shown);
        parent.take_peeked(shown.items, shown.bytes.len());
        got.extend(seen);
    } else if before > 0 {
        assert!(!parent.is_empty(), "what has been seen once is there");
    }
}

#[test]
fn an_open_frame_shows_whole_items_of_the_right_frame() {
    crate::model(2, || {
        let region = Region::in_heap();
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        after_a_lap(&mut worker, &mut parent);
        let works = thread::spawn(move || {
            assert!(worker.open(3, 5) && worker.add(&[result(3, 5)]) && worker.add(&[result(3, 6)]));
            assert_eq!(worker.commit(0), Some((3, 7)));
            assert!(worker.open(4, 8) && worker.add(&[result(4, 8)]));
            assert_eq!(worker.commit(0), Some((4, 9)));
        });
        let mut got = Vec::new();
        peek(&mut parent, &mut got);
        peek(&mut parent, &mut got);
        while let Some(shown) = parent.pop().unwrap() {
            got.extend(numbers(&shown));
        }
        peek(&mut parent, &mut got);
        works.join().unwrap();
        while let Some(shown) = parent.pop().unwrap() {
            got.extend(numbers(&shown));
        }
        assert_eq!(got, [(3, 5), (3, 6), (4, 8)], "each once, in order");
        assert_eq!(parent.progress(), 0);
    });
}

/// The worker opens a frame, of which everything is taken back, and then does `work`; the parent looks meanwhile.
fn after_one_in_vain(work: impl Fn(&mut ResultProducer) + Copy + Sync + Send + 'static, all: &'static [(u64, u32)]) {
    crate::model(3, move || {
        let region = Region::in_heap();
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        after_a_lap(&mut worker, &mut parent);
        let works = thread::spawn(move || {
            assert!(worker.open(3, 5));
            assert_eq!(worker.commit(0), None);
            work(&mut worker);
        });
        let mut got = Vec::new();
        peek(&mut parent, &mut got);
        works.join().unwrap();
        while let Some(shown) = parent.pop().unwrap() {
            got.extend(numbers(&shown));
        }
        peek(&mut parent, &mut got);
        assert_eq!(got, all, "each once, in order");
    });
}

#[test]
fn a_frame_that_was_opened_in_vain_does_not_show_in_the_next_one() {
    after_one_in_vain(|worker| assert!(worker.open(4, 8) && worker.add(&[result(4, 8)])), &[(4, 8)]);
}

#[test]
fn a_frame_that_was_opened_in_vain_does_not_show_in_a_published_one() {
    let work = |worker: &mut ResultProducer| {
        assert!(worker.open(4, 8) && worker.add(&[result(4, 8)]));
        // As when a result went by the socket: published at once, and opened anew although nothing follows.
        assert_eq!(worker.commit(0), Some((4, 9)));
        assert!(worker.open(4, 9));
        assert_eq!(worker.commit(0), None);
        assert!(worker.open(5, 2) && worker.add(&[result(5, 2)]));
    };
    after_one_in_vain(work, &[(4, 8), (5, 2)]);
}
