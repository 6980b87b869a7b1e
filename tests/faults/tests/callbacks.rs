//! Foreign code that runs in the middle of the pool's own: wakers, drops, iterators, pools inside of tasks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::future::{Future as _, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use procpool::{Kind, Pool};
use procpool_faults::notes::{Notes, note};
use procpool_faults::{assert_alive, double, end, guarded, kind_of, pool, wait_until};

procpool::init_in_tests!();

/// A waker that does something.
struct Then<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Then<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(then: impl Fn() + Send + Sync + 'static) -> Waker {
    Arc::new(Then(then)).into()
}

/// Polls once, so that `then` is called when the outcome is there; `None` if it is not there yet.
fn poll_once<O: serde::de::DeserializeOwned>(
    outcome: &mut procpool::Outcome<O>,
    then: &Waker,
) -> Option<procpool::Result<O>> {
    match Pin::new(outcome).poll(&mut Context::from_waker(then)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn sleep(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

#[test]
fn row_24_submit_from_a_waker() {
    // With a thread that waits (its own thread calls the waker) and without one (the supervisor's thread does).
    for waits in [false, true] {
        guarded(|| {
            let pool = Arc::new(pool(2));
            let (sender, received) = std::sync::mpsc::channel();
            let sender = Mutex::new(sender);
            let inner = Arc::clone(&pool);
            let then = waker(move || {
                let future = inner.submit(double, 7).unwrap();
                inner.cancel_pending();
                inner.resize(3);
                sender.lock().unwrap().send(future).unwrap();
            });
            let mut first = pool.submit(sleep, 30).unwrap().into_future();
            assert!(poll_once(&mut first, &then).is_none());
            if waits {
                pool.submit(sleep, 60).unwrap().wait().unwrap();
            }
            // It was cancelled or it was not, but it ends.
            match received.recv().unwrap().wait() {
                Ok(output) => assert_eq!(output, 14),
                Err(error) => assert_eq!(error.kind(), Kind::Cancelled),
            }
            assert_eq!(poll_once(&mut first, Waker::noop()).unwrap().unwrap(), 30);
            drop((first, then));
            assert_alive(&pool);
            wait_until(|| Arc::strong_count(&pool) == 1);
            end(Arc::into_inner(pool).unwrap());
        });
    }
}

#[test]
fn row_24_a_pool_dropped_in_a_waker() {
    for waits in [false, true] {
        guarded(|| {
            let pool = pool(2);
            let mut first = pool.submit(sleep, 30).unwrap().into_future();
            let long: Vec<_> = (0..5).map(|_| pool.submit(sleep, 100_000).unwrap()).collect();
            let slot = Arc::new(Mutex::new(Some(pool)));
            let inner = Arc::clone(&slot);
            let then = waker(move || drop(inner.lock().unwrap().take()));
            assert!(poll_once(&mut first, &then).is_none());
            if !waits {
                wait_until(|| slot.lock().unwrap().is_none());
            }
            for future in long {
                assert_eq!(kind_of(future.wait()), Kind::Closed);
            }
            assert!(slot.lock().unwrap().is_none());
            assert_eq!(poll_once(&mut first, Waker::noop()).unwrap().unwrap(), 30);
            // Dropped on its own supervisor's thread it cannot wait for itself, but it ends all the same.
            wait_until(|| procpool_faults::children().is_empty() && procpool_faults::pool_threads() == 0);
        });
    }
}

#[test]
fn row_24_a_waker_that_panics() {
    for waits in [false, true] {
        guarded(|| {
            let pool = pool(2);
            for _ in 0..3 {
                let mut first = pool.submit(sleep, 20).unwrap().into_future();
                let others: Vec<_> = (0..4).map(|n| pool.submit(double, n).unwrap()).collect();
                let then = waker(|| panic!("a waker panics"));
                assert!(poll_once(&mut first, &then).is_none());
                if waits {
                    assert_eq!(pool.submit(sleep, 40).unwrap().wait().unwrap(), 40);
                }
                wait_until(|| poll_once(&mut first, Waker::noop()).is_some_and(|o| o.unwrap() == 20));
                for (n, future) in (0..).zip(others) {
                    assert_eq!(future.wait().unwrap(), 2 * n);
                }
            }
            assert_alive(&pool);
            end(pool);
        });
    }
}

#[test]
fn row_24_submit_from_a_drop_and_from_the_inputs_of_a_map() {
    struct AtTheEnd<'p>(&'p Pool, &'p AtomicUsize);
    impl Drop for AtTheEnd<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(self.0.submit(double, 4).unwrap().wait().unwrap() as usize, SeqCst);
        }
    }
    guarded(|| {
        let pool = pool(2);
        let sum = AtomicUsize::new(0);
        let inputs = (0..200u64).map(|n| {
            let _end = AtTheEnd(&pool, &sum);
            pool.map(double, [n]).next().unwrap().unwrap()
        });
        let outputs: Vec<u64> = pool.map(double, inputs).map(|o| o.unwrap()).collect();
        assert_eq!(outputs, (0..200).map(|n| 4 * n).collect::<Vec<_>>());
        assert_eq!(sum.load(SeqCst), 200 * 8);
        // During a panic as well.
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _end = AtTheEnd(&pool, &sum);
            panic!("unwinding");
        }));
        assert!(caught.is_err());
        assert_eq!(sum.load(SeqCst), 201 * 8);
        end(pool);
    });
}

#[test]
fn row_24_nested_pools_end_with_the_outer_one() {
    guarded(|| {
        let notes = Notes::new();
        let outer = pool(2);
        let nest = |path: String| {
            let inner = pool(2);
            let futures: Vec<_> = (0..2)
                .map(|_| {
                    inner
                        .submit(
                            |path: String| {
                                note(&path, "inner", 0);
                                sleep(100_000)
                            },
                            path.clone(),
                        )
                        .unwrap()
                })
                .collect();
            note(&path, "outer", 0);
            futures.into_iter().map(|future| future.wait().unwrap()).sum::<u64>()
        };
        let sums: Vec<u64> = outer
            .map(|n: u64| pool(2).map(double, 0..n).map(|o| o.unwrap()).sum(), [10, 20, 30])
            .map(|o| o.unwrap())
            .collect();
        assert_eq!(sums, [90, 380, 870]);
        let futures: Vec<_> = (0..2).map(|_| outer.submit(nest, notes.path()).unwrap()).collect();
        wait_until(|| notes.all().len() == 6);
        let pids: Vec<u32> = notes.all().iter().map(|note| note.pid).collect();
        end(outer);
        for future in futures {
            assert_eq!(kind_of(future.wait()), Kind::Closed);
        }
        wait_until(|| pids.iter().all(|pid| procpool_faults::is_gone(*pid)));
    });
}

#[test]
fn row_24_futures_that_outlive_their_pool() {
    guarded(|| {
        let pool = pool(1);
        let done = pool.submit(double, 1).unwrap();
        wait_until(|| done.is_done());
        let running = pool.submit(sleep, 100_000).unwrap();
        let waiting = pool.submit(double, 3).unwrap();
        let mut awaited = pool.submit(double, 4).unwrap().into_future();
        assert!(poll_once(&mut awaited, Waker::noop()).is_none());
        end(pool);
        assert_eq!(done.wait().unwrap(), 2);
        assert!(!running.cancel());
        assert_eq!(kind_of(running.wait()), Kind::Closed);
        assert_eq!(kind_of(waiting.wait()), Kind::Closed);
        assert_eq!(kind_of(poll_once(&mut awaited, Waker::noop()).unwrap()), Kind::Closed);
    });
}

#[test]
fn row_24_waiting_in_a_waker_works_or_is_named() {
    for waits in [false, true] {
        guarded(|| {
            let pool = Arc::new(pool(2));
            let (sender, received) = std::sync::mpsc::channel();
            let sender = Mutex::new(sender);
            let inner = Arc::clone(&pool);
            let then = waker(move || {
                let outcome = inner.submit(double, 7).unwrap().wait();
                let sum = inner.map(double, 0..10).try_fold(0, |sum, output| Ok(sum + output?));
                sender.lock().unwrap().send((outcome, sum)).unwrap();
            });
            let mut first = pool.submit(sleep, 30).unwrap().into_future();
            assert!(poll_once(&mut first, &then).is_none());
            drop(then);
            if waits {
                // This thread receives the result, calls the waker, and goes on receiving inside of it.
                assert_eq!(pool.submit(sleep, 60).unwrap().wait().unwrap(), 60);
            }
            let (outcome, sum): (procpool::Result<u64>, procpool::Result<u64>) = received.recv().unwrap();
            // On a loaded machine the result may come before this thread waits; then the pool's own thread calls the waker.
            match (outcome, sum) {
                (Ok(outcome), Ok(sum)) => assert!(waits && (outcome, sum) == (14, 90)),
                (Err(one), Err(other)) => {
                    for error in [one, other] {
                        assert_eq!(error.kind(), Kind::Usage);
                        assert!(error.to_string().contains("the pool's own thread"), "{error}");
                    }
                }
                mixed => panic!("{mixed:?}"),
            }
            assert_alive(&pool);
            drop(first);
            wait_until(|| Arc::strong_count(&pool) == 1);
            end(Arc::into_inner(pool).unwrap());
        });
    }
}

#[test]
fn row_24_a_shutdown_in_a_waker_of_the_thread_that_receives() {
    guarded(|| {
        let pool = Arc::new(pool(2));
        let inner = Arc::clone(&pool);
        let then = waker(move || inner.shutdown());
        let mut first = pool.submit(sleep, 20).unwrap().into_future();
        assert!(poll_once(&mut first, &then).is_none());
        drop(then);
        let last = pool.submit(sleep, 60).unwrap();
        assert_eq!(last.wait().unwrap(), 60);
        assert_eq!(kind_of(pool.submit(double, 1).and_then(|future| future.wait())), Kind::Closed);
        drop(first);
    });
}
