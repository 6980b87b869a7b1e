//! A worker that is killed anywhere leaves the truth: what it has finished, what it was running, what it has not begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use loom::thread;

use crate::os::mortal::die_after;
use crate::results::result;
use crate::ring::{Region, ResultConsumer, ResultProducer, Shown, TaskConsumer, TaskProducer};
use crate::tasks::{items, push};

const FRAME: u64 = 1;

/// What a worker does with a frame of three items, of which the third does not fit behind the others: `Worker::run_items`,
/// step by step. `ran` counts the items whose effects are in the world.
fn work(tasks: &mut TaskConsumer, results: &mut ResultProducer, ran: &AtomicU32) {
    let mut bytes = Vec::new();
    while let Some(header) = tasks.next(&mut bytes) {
        assert!(results.open(header.frame, header.first));
        for number in header.first..header.end {
            if !tasks.begin() {
                break;
            }
            ran.store(ran.load(Relaxed) + 1, Relaxed);
            if !results.add(&[result(header.frame, number)]) {
                results.commit(0).unwrap();
                assert!(results.open(header.frame, number) && results.add(&[result(header.frame, number)]));
            }
        }
        results.commit(0);
        tasks.finish();
    }
}

/// Changes of memory that such a life makes: words and bytes. Fewer, if items are taken back.
const CHANGES: u32 = 26;

/// The parent's side of it.
struct Parent {
    tasks: TaskProducer,
    results: ResultConsumer,
    slot: u32,
    left: (u32, u32),
    finished: Vec<u8>,
}

impl Parent {
    fn accept(&mut self, shown: &Shown) {
        assert_eq!((shown.frame, shown.first), (FRAME, self.left.0 + self.finished.len() as u32));
        assert_eq!(shown.bytes.len(), shown.items as usize, "it says that it has finished what it has not written");
        self.finished.extend(&shown.bytes);
    }

    /// `Link::drain`, then `Link::peek`.
    fn look(&mut self) {
        while let Some(shown) = self.results.pop().unwrap() {
            self.accept(&shown);
        }
        if let Some(shown) = self.results.peek().unwrap() {
            self.accept(&shown);
            self.results.take_peeked(shown.items, shown.bytes.len());
        }
    }

    fn take_back(&mut self, keep: impl Fn(u32) -> u32) {
        self.left.1 = self.tasks.take_back(self.slot, self.left, keep).unwrap();
    }
}

/// The worker dies before its change number `changes`, while the parent does `meanwhile`.
fn die(changes: u32, meanwhile: impl Fn(&mut Parent) + Sync + Send + 'static) {
    crate::model(3, move || {
        let region = Region::in_heap();
        let mut parent = Parent {
            tasks: TaskProducer::new(&region),
            results: ResultConsumer::new(&region),
            slot: 0,
            left: items(FRAME, 3),
            finished: Vec::new(),
        };
        let (mut tasks, mut results) = (TaskConsumer::new(&region), ResultProducer::new(&region));
        // Earlier frames, so that every slot is used a second time.
        for frame in 7..9 {
            push(&mut parent.tasks, frame, 1);
            work(&mut tasks, &mut results, &AtomicU32::new(0));
            assert_eq!(parent.results.pop().unwrap().unwrap().frame, frame);
        }
        parent.slot = push(&mut parent.tasks, FRAME, 3);
        let ran = Arc::new(AtomicU32::new(0));
        let in_worker = Arc::clone(&ran);
        let works = thread::spawn(move || die_after(changes, || work(&mut tasks, &mut results, &in_worker)));
        meanwhile(&mut parent);
        // The parent hears of the death,
        let survived = works.join().unwrap();
        // and takes what is left: `Link::last_words`.
        parent.look();
        let (first, end) = parent.left;
        let begun = parent.tasks.begun(parent.slot, parent.left).unwrap() - first;
        let (finished, ran) = (parent.finished.len() as u32, ran.load(Relaxed));
        let expected: Vec<u8> = (first..first + finished).map(|item| result(FRAME, item)).collect();
        assert_eq!(parent.finished, expected, "in order, each once");
        assert!(finished <= ran, "{finished} are finished, {ran} have run");
        assert!(ran <= begun, "{ran} have run, {begun} have begun: one would be run again");
        assert!(begun <= finished + 1, "{begun} have begun, {finished} are finished: one would be lost");
        assert!(begun <= end - first, "one was begun that was taken back");
        assert!(changes < CHANGES || survived, "there are more places to die in");
        assert!(changes >= CHANGES || !survived || end < items(FRAME, 3).1, "there are fewer places to die in");
        if survived {
            assert_eq!((finished, begun), (end - first, end - first), "nothing was left to do");
        }
    });
}

#[test]
fn a_worker_that_dies_anywhere_leaves_the_truth() {
    for changes in 0..=CHANGES {
        die(changes, |parent| parent.look());
    }
}

#[test]
fn a_worker_that_dies_while_items_are_taken_back_leaves_the_truth() {
    for changes in 0..=CHANGES {
        die(changes, |parent| {
            let (first, end) = parent.left;
            parent.take_back(|begun| begun + (end - begun) / 2);
            parent.take_back(|begun| begun.max(first));
        });
    }
}
