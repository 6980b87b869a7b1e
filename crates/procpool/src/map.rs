//! One function over many inputs: lazily, in chunks, with a bounded window.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use serde::{Serialize, de::DeserializeOwned};

use crate::call::Function;
use crate::client::{Batch, Client};
use crate::error::{Error, Result};
use crate::options::TaskOptions;
use crate::sched::FrameId;
use crate::supervisor::{Delivery, SharedBlob, Sink, Waiting};

/// A chunk should keep a worker busy about this long: a thousand times the hand-over, and still no convoy.
const CHUNK_NS: f64 = 200_000.0;
const CHUNK_MAX: u32 = 4096;
/// Tasks drawn from the input and not yet yielded, at least: in all, and for each worker. Enough that one task a thousand times
/// longer than the others does not leave the other workers idle while the outputs behind it wait for their turn.
const WINDOW: u64 = 4096;
const WINDOW_PER_WORKER: f64 = 1024.0;
/// And at most.
const WIDEST: u64 = 128 * 1024;
/// The worker that has the next output may be without a CPU for so long, where they are shared; the others go on meanwhile.
const STALL_NS: f64 = 50_000_000.0;
/// Chunks in flight per worker: for chunks as long as they should be, and for shorter ones.
const IN_FLIGHT: (f64, f64) = (8.0, 32.0);

/// How many tasks of `task_ns` each may be drawn and not yet yielded.
fn window(workers: f64, task_ns: Option<f64>) -> u64 {
    let meanwhile = task_ns.map_or(0.0, |one| STALL_NS / one.max(1.0));
    ((workers * meanwhile.max(WINDOW_PER_WORKER)) as u64).clamp(WINDOW, WIDEST)
}

/// What the engine delivers, until the iterator takes it.
#[derive(Debug, Default)]
struct Inbox {
    state: Mutex<InboxState>,
}

#[derive(Debug, Default)]
struct InboxState {
    /// By the number of their first task.
    ready: BTreeMap<u64, Delivery>,
    /// Those numbers in the order of arrival; kept only for `map_unordered`.
    arrivals: Option<VecDeque<u64>>,
    /// Tasks that have ended, whether yielded or not.
    ended: u64,
    /// The number that an ordered iterator waits for.
    wanted: u64,
    /// When so many have ended, more are to be sent, whatever the iterator waits for.
    refill_at: u64,
    waiter: Option<Thread>,
    /// Smoothed run time of one task in nanoseconds.
    task_ns: Option<f64>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InboxState {
    /// Whether there is something to do for the thread that waits.
    fn is_due(&self) -> bool {
        self.has_next() || self.ended >= self.refill_at
    }

    fn has_next(&self) -> bool {
        match &self.arrivals {
            Some(arrivals) => !arrivals.is_empty(),
            None => self.ready.contains_key(&self.wanted),
        }
    }
}

impl Sink for Inbox {
    fn deliver(&self, first: u64, delivery: Delivery) -> Option<Waker> {
        let waiter = {
            let mut state = self.lock();
            match &delivery {
                Delivery::Failed(_) | Delivery::Outcome(_) => state.ended += 1,
                Delivery::Results(results) => {
                    state.ended += u64::from(results.len());
                    if let Some(one) = results.task_ns {
                        let average = state.task_ns.get_or_insert(one as f64);
                        *average += (one as f64 - *average) / 4.0;
                    }
                }
            }
            state.ready.insert(first, delivery);
            if let Some(arrivals) = &mut state.arrivals {
                arrivals.push_back(first);
            }
            if state.is_due() { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            waiter.unpark();
        }
        None
    }
}

impl Waiting for Inbox {
    fn is_done(&self) -> bool {
        self.lock().is_due()
    }

    fn set_waiter(&self, waiter: Option<Thread>) {
        self.lock().waiter = waiter;
    }
}

/// What `map` and `map_unordered` have in common: draws inputs, sends chunks, takes outcomes.
struct Pipeline<'p, I, O> {
    client: &'p Client,
    inputs: Option<I>,
    function: Option<Function>,
    /// Why nothing can be sent; yielded once.
    refused: Option<Error>,
    state: Option<Arc<SharedBlob>>,
    inbox: Arc<Inbox>,
    chunk_size: Option<u32>,
    options: TaskOptions,
    /// The size the next chunk has when nobody has set one.
    learnt: u32,
    drawn: u64,
    yielded: u64,
    /// The chunks that were sent, with the number of their first task, until they are taken.
    frames: BTreeMap<u64, FrameId>,
    /// What is being yielded: outcomes, and the number of the next one.
    current: Option<(Delivery, u64)>,
    output: PhantomData<fn() -> O>,
}

impl<'p, I, O> Pipeline<'p, I, O>
where
    I: Iterator<Item: Serialize>,
    O: DeserializeOwned,
{
    fn new(
        client: &'p Client,
        function: Result<Function>,
        state: Option<Arc<SharedBlob>>,
        inputs: I,
        ordered: bool,
    ) -> Self {
        let inbox = Arc::new(Inbox::default());
        inbox.lock().arrivals = (!ordered).then(VecDeque::new);
        let (function, refused) = match function {
            Ok(function) => (Some(function), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            client,
            inputs: refused.is_none().then_some(inputs),
            function,
            refused,
            state,
            inbox,
            chunk_size: None,
            options: *client.options(),
            learnt: 1,
            drawn: 0,
            yielded: 0,
            frames: BTreeMap::new(),
            current: None,
            output: PhantomData,
        }
    }

    fn next(&mut self) -> Option<(u64, Result<O>)> {
        if let Some(error) = self.refused.take() {
            return Some((self.yielded, Err(error)));
        }
        loop {
            if let Some(outcome) = self.next_of_current() {
                return Some(outcome);
            }
            self.fill();
            if let Some(error) = self.refused.take() {
                return Some((self.drawn, Err(error)));
            }
            if self.yielded == self.drawn {
                return None;
            }
            self.inbox.lock().wanted = self.yielded;
            if let Err(error) = self.client.engine().wait(&*self.inbox, None) {
                self.inputs = None;
                self.yielded = self.drawn;
                return Some((self.drawn, Err(error)));
            }
            self.take_delivery();
        }
    }

    fn next_of_current(&mut self) -> Option<(u64, Result<O>)> {
        if let Some((Delivery::Results(results), next)) = &mut self.current
            && results.len() > 1
        {
            let index = *next;
            *next += 1;
            self.yielded += 1;
            return Some((index, results.take(index)));
        }
        let (delivery, index) = self.current.take()?;
        self.yielded += 1;
        let outcome = match delivery {
            Delivery::Failed(error) => Err(error),
            Delivery::Outcome(outcome) => outcome.take(index),
            Delivery::Results(mut results) => results.take(index),
        };
        Some((index, outcome))
    }

    fn take_delivery(&mut self) {
        let mut state = self.inbox.lock();
        let first = match &mut state.arrivals {
            Some(arrivals) => arrivals.pop_front(),
            None => Some(state.wanted),
        };
        let Some(first) = first else { return };
        if let Some(delivery) = state.ready.remove(&first) {
            drop(state);
            self.current = Some((delivery, first));
        }
    }

    /// Sends chunks until the workers have enough, the window is full, or the inputs are at an end.
    fn fill(&mut self) {
        loop {
            let (ended, task_ns) = {
                let state = self.inbox.lock();
                (state.ended, state.task_ns)
            };
            let chunk = self.chunk_size.unwrap_or_else(|| self.learn(task_ns));
            let chunk_ns = task_ns.unwrap_or(CHUNK_NS) * f64::from(chunk);
            let per_worker = (CHUNK_NS / chunk_ns.max(1.0) * IN_FLIGHT.0).clamp(IN_FLIGHT.0, IN_FLIGHT.1);
            let workers = self.client.engine().lock().sched.target() as f64;
            let in_flight = (per_worker * workers) as u64 * u64::from(chunk);
            let window = window(workers, task_ns).max(in_flight);
            let enough = self.drawn - ended >= in_flight;
            if enough || self.drawn - self.yielded >= window || !self.send_chunk(chunk) {
                // Else the other workers would run dry while the next output is that of a long task.
                let refill_at = if enough { self.drawn - in_flight / 2 } else { u64::MAX };
                self.inbox.lock().refill_at = refill_at;
                return;
            }
        }
    }

    /// The chunk size that fits the measured run time. With limits each task travels alone, so that its clock and its
    /// memory are its own.
    fn learn(&mut self, task_ns: Option<f64>) -> u32 {
        let Some(task_ns) = task_ns else { return 1 };
        if self.options.has_limits() {
            return 1;
        }
        let wanted = (CHUNK_NS / task_ns.max(1.0)) as u32;
        self.learnt = wanted.clamp(1, CHUNK_MAX).min(self.learnt.saturating_mul(4));
        self.learnt
    }

    /// Draws and sends one chunk; `false` at the end of the inputs.
    fn send_chunk(&mut self, chunk: u32) -> bool {
        let (Some(inputs), Some(function)) = (&mut self.inputs, self.function) else { return false };
        let mut batch = Batch::new(function);
        let mut failed = None;
        let mut at_end = false;
        while !batch.is_full(chunk) {
            let Some(input) = inputs.next() else {
                at_end = true;
                break;
            };
            if let Err(error) = batch.add(self.client.engine().arena(), &input) {
                failed = Some(error);
                break;
            }
        }
        let first = self.drawn;
        self.drawn += u64::from(batch.items());
        if batch.items() > 0 {
            let sink = Arc::clone(&self.inbox) as Arc<dyn Sink>;
            let state = self.state.clone();
            match self.client.make_room(true).and_then(|()| self.client.send(batch, sink, first, state, &self.options))
            {
                Ok(frame) => drop(self.frames.insert(first, frame)),
                Err(error) => {
                    // The pool takes nothing more: say so once, and end.
                    self.drawn = first;
                    self.refused = Some(error);
                    self.inputs = None;
                    return false;
                }
            }
        }
        if let Some(error) = failed {
            let index = self.drawn;
            self.drawn += 1;
            self.inbox.deliver(index, Delivery::Failed(error.with_task(function.name, index)));
        }
        self.forget_ended_frames();
        if at_end {
            self.inputs = None;
        }
        !at_end
    }

    /// Keeps the list of frames as short as the window.
    fn forget_ended_frames(&mut self) {
        let in_order = self.inbox.lock().arrivals.is_none();
        if in_order {
            // The next output is of the last one that begins before it.
            let present = self.frames.range(..=self.yielded).next_back().map(|(first, _)| *first);
            if let Some(present) = present {
                self.frames = self.frames.split_off(&present);
            }
        } else if self.frames.len() as u64 > 2 * WINDOW {
            let engine = self.client.engine();
            let core = engine.lock();
            self.frames.retain(|_, frame| core.sched.knows(*frame));
        }
    }
}

impl<I, O> Drop for Pipeline<'_, I, O> {
    fn drop(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        let engine = self.client.engine();
        engine.with(|core, now| {
            for frame in frames.into_values() {
                core.sched.cancel(frame, now);
            }
        });
        // Once what has not begun was taken back, and not before: a worker that began with it then would wait for the state.
        if let Some(state) = self.state.take() {
            engine.with(|core, _| core.drop_state(state.number));
        }
    }
}

/// The outputs of [`Pool::map`](crate::Pool::map), in the order of the inputs. Dropping it cancels what has not begun.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Map<'p, I, O>(Pipeline<'p, I, O>);

/// The outputs of [`Pool::map_unordered`](crate::Pool::map_unordered), as they come. Dropping it cancels what has not begun.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct MapUnordered<'p, I, O>(Pipeline<'p, I, O>);

impl<'p, I: Iterator<Item: Serialize>, O: DeserializeOwned> Map<'p, I, O> {
    pub(crate) fn new(
        client: &'p Client,
        function: Result<Function>,
        state: Option<Arc<SharedBlob>>,
        inputs: I,
    ) -> Self {
        Self(Pipeline::new(client, function, state, inputs, true))
    }

    /// Limits, retries and priority of these tasks, instead of the pool's.
    pub fn options(mut self, options: &TaskOptions) -> Self {
        self.0.options = *options;
        self
    }

    /// How many tasks travel together, at least 1. Default: learnt from their run time, so that the hand-over costs little
    /// and no worker waits for another; 1 if the pool has a timeout or a memory limit.
    pub fn chunk_size(mut self, tasks: u32) -> Self {
        self.0.chunk_size = Some(tasks.max(1));
        self
    }

    /// Puts the outputs together with `op`, in their order; `None` if there are none. The first error ends it, and cancels what
    /// has not begun.
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(2).build()?;
    /// assert_eq!(pool.map(|x: u64| x * x, 1..=10).reduce(u64::max)?, Some(100));
    /// // A sum, or a collection, is the standard library's own, and ends at the first error too:
    /// assert_eq!(pool.map(|x: u64| x * x, 1..=10).sum::<procpool::Result<u64>>()?, 385);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first task's that has one.
    pub fn reduce(mut self, mut op: impl FnMut(O, O) -> O) -> Result<Option<O>> {
        let Some(first) = self.next() else { return Ok(None) };
        let mut whole = first?;
        for outcome in self {
            whole = op(whole, outcome?);
        }
        Ok(Some(whole))
    }
}

impl<'p, I: Iterator<Item: Serialize>, O: DeserializeOwned> MapUnordered<'p, I, O> {
    pub(crate) fn new(
        client: &'p Client,
        function: Result<Function>,
        state: Option<Arc<SharedBlob>>,
        inputs: I,
    ) -> Self {
        Self(Pipeline::new(client, function, state, inputs, false))
    }

    /// As [`Map::options`].
    pub fn options(mut self, options: &TaskOptions) -> Self {
        self.0.options = *options;
        self
    }

    /// As [`Map::chunk_size`].
    pub fn chunk_size(mut self, tasks: u32) -> Self {
        self.0.chunk_size = Some(tasks.max(1));
        self
    }
}

impl<I: Iterator<Item: Serialize>, O: DeserializeOwned> Iterator for Map<'_, I, O> {
    type Item = Result<O>;

    fn next(&mut self) -> Option<Result<O>> {
        self.0.next().map(|(_, outcome)| outcome)
    }
}

impl<I: Iterator<Item: Serialize>, O: DeserializeOwned> Iterator for MapUnordered<'_, I, O> {
    type Item = (usize, Result<O>);

    fn next(&mut self) -> Option<(usize, Result<O>)> {
        self.0.next().map(|(index, outcome)| (index as usize, outcome))
    }
}

impl<I, O> fmt::Debug for Map<'_, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("drawn", &self.0.drawn).field("yielded", &self.0.yielded).finish()
    }
}

impl<I, O> fmt::Debug for MapUnordered<'_, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("drawn", &self.0.drawn).field("yielded", &self.0.yielded).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_wide_where_many_end_while_one_stalls() {
        assert_eq!(window(2.0, None), WINDOW);
        assert_eq!(window(2.0, Some(1e6)), WINDOW, "100 of them end meanwhile");
        assert_eq!(
            window(16.0, Some(1e6)),
            16 * 1024,
            "15 workers go on while the other is at one a thousand times longer"
        );
        assert_eq!(window(2.0, Some(5_000.0)), 20_000);
        assert_eq!(window(16.0, Some(5_000.0)), WIDEST);
        assert_eq!(window(2.0, Some(0.0)), WIDEST);
    }
}
