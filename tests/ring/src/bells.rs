//! Sleeping and waking, towards the worker and towards the parent: no wake-up is lost. One that is, is a deadlock to loom.

use std::sync::atomic::Ordering::SeqCst;

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use crate::os::{Bell, Futex};
use crate::ring::{FULL, Listener, Region, ResultConsumer, ResultProducer, SLEEPING, TaskConsumer, TaskProducer};
use crate::tasks::{header, items, payload, push};

/// Begins the one item of a frame, sleeping while there is none.
fn next_task(worker: &mut TaskConsumer, region: &Region, futex: &Futex) -> u64 {
    let mut bytes = Vec::new();
    loop {
        if let Some(got) = worker.next(&mut bytes) {
            assert_eq!((got, &bytes), (header(got.frame, items(got.frame, 1)), &payload(got.frame)));
            assert!(worker.begin());
            worker.finish();
            return got.frame;
        }
        futex.sleep(region, SLEEPING, || worker.is_empty());
    }
}

#[test]
fn a_task_wakes_the_worker() {
    crate::model(3, || {
        let (region, futex) = (Region::in_heap(), Arc::new(Futex::new()));
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let (there, sleeps) = (region.clone(), Arc::clone(&futex));
        let works = thread::spawn(move || [(); 2].map(|()| next_task(&mut worker, &there, &sleeps)));
        for frame in 0..2 {
            push(&mut parent, frame, 1);
            if region.take_worker_sleep(SLEEPING) {
                futex.wake();
            }
        }
        assert_eq!(works.join().unwrap(), [0, 1]);
    });
}

#[test]
fn the_socket_wakes_the_worker_too() {
    crate::model(3, || {
        let (region, futex) = (Region::in_heap(), Arc::new(Futex::new()));
        let told_to_end = Arc::new(AtomicBool::new(false));
        let (mut parent, mut worker) = (TaskProducer::new(&region), TaskConsumer::new(&region));
        let mailbox = {
            let (region, futex, told) = (region.clone(), Arc::clone(&futex), Arc::clone(&told_to_end));
            thread::spawn(move || {
                told.store(true, SeqCst);
                if region.take_worker_sleep(SLEEPING) || region.take_worker_sleep(FULL) {
                    futex.wake();
                }
            })
        };
        let works = {
            let (region, futex) = (region.clone(), Arc::clone(&futex));
            thread::spawn(move || {
                let (mut begun, mut bytes) = (0, Vec::new());
                loop {
                    match worker.next(&mut bytes) {
                        Some(_) => {
                            assert!(worker.begin());
                            worker.finish();
                            begun += 1;
                        }
                        None if told_to_end.load(SeqCst) && begun == 1 => return,
                        None => {
                            let needed = || worker.is_empty() && !(told_to_end.load(SeqCst) && begun == 1);
                            futex.sleep(&region, SLEEPING, needed);
                        }
                    }
                }
            })
        };
        push(&mut parent, 0, 1);
        if region.take_worker_sleep(SLEEPING) {
            futex.wake();
        }
        mailbox.join().unwrap();
        works.join().unwrap();
    });
}

#[test]
fn a_worker_that_waits_for_room_is_woken() {
    crate::model(3, || {
        const FRAMES: u64 = 3;
        let (region, futex) = (Region::in_heap(), Arc::new(Futex::new()));
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        let works = {
            let (region, futex) = (region.clone(), Arc::clone(&futex));
            thread::spawn(move || {
                for frame in 0..FRAMES {
                    while !worker.open(frame, 0) {
                        futex.sleep(&region, FULL, || worker.is_stuck());
                    }
                    assert!(worker.add(b"x"));
                    worker.commit(0).unwrap();
                }
            })
        };
        for frame in 0..FRAMES {
            let got = loop {
                match parent.pop().unwrap() {
                    Some(got) => break got,
                    None => thread::yield_now(),
                }
            };
            assert_eq!((got.frame, got.bytes), (frame, b"x".to_vec()));
            if region.take_worker_sleep(FULL) {
                futex.wake();
            }
        }
        works.join().unwrap();
    });
}

/// Publishes one result and rings whoever wants to be rung.
pub(crate) fn publish(worker: &mut ResultProducer, region: &Region, frame: u64, leader: &Bell, supervisor: &Bell) {
    assert!(worker.open(frame, 0));
    assert!(worker.add(b"x"));
    worker.commit(0).unwrap();
    match region.take_listener() {
        Listener::Awake => {}
        Listener::Leader => leader.ring(),
        Listener::Supervisor => supervisor.ring(),
    }
}

#[test]
fn a_result_wakes_who_listens() {
    crate::model(3, || {
        let region = Region::in_heap();
        let bells = Arc::new((Bell::new(), Bell::new()));
        let (mut worker, mut parent) = (ResultProducer::new(&region), ResultConsumer::new(&region));
        let works = {
            let (region, bells) = (region.clone(), Arc::clone(&bells));
            thread::spawn(move || (0..2).for_each(|frame| publish(&mut worker, &region, frame, &bells.0, &bells.1)))
        };
        let mut got = Vec::new();
        while got.len() < 2 {
            if let Some(result) = parent.pop().unwrap() {
                got.push(result.frame);
                continue;
            }
            region.set_listener(Listener::Leader);
            if parent.is_empty() {
                bells.0.wait();
            }
            region.set_listener(Listener::Awake);
        }
        assert_eq!(got, [0, 1]);
        works.join().unwrap();
    });
}
