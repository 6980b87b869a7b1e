//! The ring of results: what is published is whole, and what a worker leaves when it dies is never less than what it has run.

use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::ring::{Region, ResultConsumer, ResultProducer};

#[test]
fn published_results_are_whole_around_the_ring() {
    crate::model(3, || {
        const FRAMES: u64 = 4;
        let region = Region::in_heap();
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        let works = thread::spawn(move || {
            for frame in 0..FRAMES {
                while !worker.open(frame, frame as u32 + 7) {
                    thread::yield_now();
                }
                worker.begin();
                assert!(worker.add(&[frame as u8 + 1]));
                if frame % 2 == 1 {
                    worker.begin();
                    assert!(worker.add(&[frame as u8 + 1]));
                }
                worker.commit(frame + 70).unwrap();
            }
        });
        let mut frame = 0;
        while frame < FRAMES {
            let Some(got) = parent.pop().unwrap() else {
                thread::yield_now();
                continue;
            };
            let items = 1 + frame % 2;
            assert_eq!((got.frame, got.first, got.run_ns), (frame, frame as u32 + 7, frame + 70));
            assert_eq!((u64::from(got.items), got.bytes), (items, vec![frame as u8 + 1; items as usize]));
            frame += 1;
        }
        works.join().unwrap();
        assert!(parent.is_empty());
    });
}

/// The steps of a worker with a frame of three items, of which the third does not fit behind the others. It dies after
/// `steps` of them. `ran` counts the items that have run to their end, and one is begun when `begun` is larger.
fn work(worker: &mut ResultProducer, steps: u32, ran: &AtomicU32, begun: &AtomicU32) {
    let mut left = steps;
    let mut step = |act: &mut dyn FnMut(&mut ResultProducer)| {
        if left > 0 {
            left -= 1;
            act(worker);
        }
    };
    let begins = || begun.store(begun.load(Relaxed) + 1, Relaxed);
    let ends = || ran.store(ran.load(Relaxed) + 1, Relaxed);
    step(&mut |w| assert!(w.open(5, 0)));
    for item in 0..2 {
        step(&mut |w| w.begin());
        step(&mut |_| begins());
        step(&mut |w| {
            // To have run and to be in the frame are one step: between the two, the item is still the one that runs.
            ends();
            assert!(w.add(&[item + 1]));
        });
    }
    step(&mut |w| w.begin());
    step(&mut |_| begins());
    step(&mut |w| {
        ends();
        assert!(!w.add(&[3]));
    });
    step(&mut |w| w.set_carrying(true));
    step(&mut |w| assert_eq!(w.commit(0), Some((5, 2))));
    step(&mut |w| assert!(w.open(5, 2)));
    step(&mut |w| w.begin());
    step(&mut |w| w.set_carrying(false));
    step(&mut |w| assert!(w.add(&[3])));
    step(&mut |w| assert_eq!(w.commit(0), Some((5, 3))));
}

/// What the parent makes of it, as the table in the ring's README has it: how many items are finished, and whether one more
/// was running.
fn last_words(parent: &mut ResultConsumer, finished: &mut Vec<u8>) -> bool {
    while let Some(got) = parent.pop().unwrap() {
        finished.extend(got.bytes);
    }
    let next = finished.len() as u32;
    if next == 3 {
        return false;
    }
    let open = parent.open_result().unwrap();
    if open.done.frame != 5 || open.done.first != next {
        return parent.was_carrying();
    }
    assert_eq!(open.done.items as usize, open.done.bytes.len(), "it says that it has finished what it has not written");
    finished.extend(open.done.bytes);
    (open.running || parent.was_carrying()) && finished.len() < 3
}

#[test]
fn a_worker_that_dies_after_any_step_leaves_the_truth() {
    const STEPS: u32 = 17;
    for steps in 0..=STEPS {
        crate::model(3, move || {
            let region = Region::in_heap();
            let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
            // An earlier frame, so that a slot is used a second time.
            assert!(worker.open(4, 0));
            worker.begin();
            assert!(worker.add(&[9]));
            worker.commit(0).unwrap();
            assert_eq!(parent.pop().unwrap().unwrap().frame, 4);
            let counts = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
            let in_worker = Arc::clone(&counts);
            let works = thread::spawn(move || work(&mut worker, steps, &in_worker.0, &in_worker.1));
            // The parent takes what is published while the worker lives,
            let mut finished = Vec::new();
            if let Some(got) = parent.pop().unwrap() {
                finished.extend(got.bytes);
            }
            assert!(parent.progress() <= 3);
            // hears of its death,
            works.join().unwrap();
            // and takes the rest.
            let running = last_words(&mut parent, &mut finished);
            let (ran, begun) = (counts.0.load(Relaxed), counts.1.load(Relaxed));
            assert_eq!(finished, [1, 2, 3][..finished.len()], "in order, each once");
            let accounted = finished.len() as u32 + u32::from(running);
            assert!(finished.len() as u32 <= ran, "step {steps}: more is finished than has run");
            assert!(accounted >= begun, "step {steps}: {begun} were begun, {accounted} are accounted for");
            // One that is said to run may not have been begun: it dies between saying so and doing so.
            assert!(accounted <= begun + 1, "step {steps}: {begun} were begun, {accounted} are accounted for");
            if steps == STEPS {
                assert_eq!((finished.len(), running), (3, false));
            }
        });
    }
}
