//! The promise of one task's outcome.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::sched::FrameId;
use crate::supervisor::{Delivery, Engine, Sink, Submitted, Waiting};

/// A task that was submitted. Waiting for it gives its output, or the [`Error`] that says why there is none.
///
/// Dropping it does not cancel the task. `.await` works under any async runtime:
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// # let pool = procpool::Pool::builder().workers(1).build()?;
/// async fn double(pool: &procpool::Pool) -> procpool::Result<u32> {
///     pool.submit(|x: u32| 2 * x, 21)?.await
/// }
/// # fn block_on<F: std::future::Future>(f: F) -> F::Output {
/// #     struct Unpark(std::thread::Thread);
/// #     impl std::task::Wake for Unpark { fn wake(self: std::sync::Arc<Self>) { self.0.unpark() } }
/// #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
/// #     let mut f = std::pin::pin!(f);
/// #     loop {
/// #         match f.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
/// #             std::task::Poll::Ready(value) => return value,
/// #             std::task::Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// assert_eq!(block_on(double(&pool))?, 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "the output comes with `wait` or `.await`"]
pub struct Future<O> {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    /// Its frame and its place in there, unless it never got that far.
    place: Option<(FrameId, u32)>,
    index: u64,
    output: PhantomData<fn() -> O>,
}

#[derive(Debug, Default)]
struct Shared {
    done: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    /// The outcome has not come, and nobody waits for it.
    #[default]
    Pending,
    /// This thread waits for it.
    Waited(Thread),
    /// A task of an async runtime waits for it.
    Awaited(Waker),
    /// It has come.
    Done(Delivery),
    /// It was given away.
    Taken,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Shared {
    fn deliver(&self, _first: u64, delivery: Delivery) -> Option<Waker> {
        let before = {
            let mut state = self.lock();
            let before = std::mem::replace(&mut *state, State::Done(delivery));
            self.done.store(true, SeqCst);
            before
        };
        match before {
            State::Waited(waiter) => {
                waiter.unpark();
                None
            }
            State::Awaited(waker) => Some(waker),
            State::Pending | State::Done(_) | State::Taken => None,
        }
    }
}

impl Waiting for Shared {
    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        let mut state = self.lock();
        if !matches!(*state, State::Done(_) | State::Taken) {
            *state = waiter.map_or(State::Pending, State::Waited);
        }
    }
}

impl<O> Future<O> {
    /// The future of the task that `submit` hands to the engine.
    pub(crate) fn submitted(
        engine: Arc<Engine>,
        submit: impl FnOnce(&Arc<dyn Sink>) -> Result<Submitted>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let sink: Arc<dyn Sink> = Arc::clone(&shared) as Arc<dyn Sink>;
        let Submitted { place, index } = submit(&sink)?;
        let place = place.map_err(|error| sink.deliver(index, Delivery::Failed(error))).ok();
        Ok(Self { shared, engine, place, index, output: PhantomData })
    }

    /// Whether the task has ended, in whatever way.
    pub fn is_done(&self) -> bool {
        self.shared.is_done()
    }

    /// Cancels the task. One that has not begun never will; of one that runs, the worker is ended (and replaced).
    ///
    /// Returns `false` if the task had ended before. With `true` its outcome will be [`Kind::Cancelled`], unless it
    /// finished at that very moment.
    ///
    /// [`Kind::Cancelled`]: crate::Kind::Cancelled
    pub fn cancel(&self) -> bool {
        let Some((frame, task)) = self.place else { return false };
        !self.is_done() && self.engine.with(|core, now| core.sched.cancel_task(frame, task, now))
    }
}

impl<O: DeserializeOwned> Future<O> {
    /// Waits for the task to end.
    ///
    /// # Errors
    /// Whatever became of the task instead of an output; see [`Kind`](crate::Kind). [`Kind::Usage`](crate::Kind::Usage) in
    /// a waker that the pool's own thread calls: that thread must not wait for what only it does.
    pub fn wait(self) -> Result<O> {
        self.engine.wait(&*self.shared, None)?;
        self.take()
    }

    /// Waits for the task to end, but no longer than `timeout`: then `None`, and the task goes on. An outcome is given
    /// once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(1).build()?;
    /// let mut future = pool.submit(|ms| std::thread::sleep(Duration::from_millis(ms)), 60_000)?;
    /// assert!(future.wait_timeout(Duration::from_millis(5)).is_none());
    /// assert!(future.cancel());
    /// assert_eq!(future.wait().unwrap_err().kind(), procpool::Kind::Cancelled);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<O>> {
        let deadline = Instant::now().checked_add(timeout);
        match self.engine.wait(&*self.shared, deadline) {
            Ok(done) => done.then(|| self.take()),
            Err(error) => Some(Err(error)),
        }
    }

    fn take(&self) -> Result<O> {
        let state = std::mem::replace(&mut *self.shared.lock(), State::Taken);
        match state {
            State::Done(Delivery::Outcome(outcome)) => outcome.take(self.index),
            State::Done(Delivery::Results(mut results)) => results.take(self.index),
            State::Done(Delivery::Failed(error)) => Err(error),
            _ => Err(Error::usage("the outcome of this future was taken before")),
        }
    }
}

impl<O> fmt::Debug for Future<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("index", &self.index).field("done", &self.is_done()).finish()
    }
}

impl<O: DeserializeOwned> IntoFuture for Future<O> {
    type Output = Result<O>;
    type IntoFuture = Outcome<O>;

    fn into_future(self) -> Outcome<O> {
        Outcome(self)
    }
}

/// A [`Future`] as `.await` sees it.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Outcome<O>(Future<O>);

impl<O: DeserializeOwned> std::future::Future for Outcome<O> {
    type Output = Result<O>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<O>> {
        {
            let mut state = self.0.shared.lock();
            if !matches!(*state, State::Done(_) | State::Taken) {
                *state = State::Awaited(context.waker().clone());
                return Poll::Pending;
            }
        }
        Poll::Ready(self.0.take())
    }
}
