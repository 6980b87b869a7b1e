//! The scheduler: a state machine without I/O, clock or threads. Events go in as method calls with the time in
//! nanoseconds, actions come out through [`Sched::take_actions`].
//!
//! Its unit is the frame: one or several tasks of one function that travel together. A frame's tasks end one by one, in
//! order; `first` is the number of the next one to end.

mod dispatch;
mod ending;
mod frames;
mod lookahead;
#[cfg(test)]
mod model;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod waiting;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use frames::{Entry, Frames, Place};
pub(crate) use frames::{FrameId, RetryOn, Spec};
use lookahead::LookAhead;
pub(crate) use waiting::PRIORITIES;
use waiting::Waiting;
pub(crate) use workers::WorkerId;
use workers::{Phase, Worker};

/// Nanoseconds on a clock that only the caller reads.
pub(crate) type Nanos = u64;

/// A duration in nanoseconds; those of more than 584 years are the longest there is.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const MILLISECOND: Nanos = 1_000_000;
/// How many workers may die with a task in hand that they say they had not begun, until we believe it of the task. An honest
/// worker needs a few microseconds from one to the other; a hostile one could go on for ever.
const DENIALS: u32 = 8;
/// How many workers in a row may fail to start before the pool gives up.
const START_TRIES: u32 = 3;
/// How long it then refuses tasks before it tries again.
const PAUSE: Nanos = 1000 * MILLISECOND;

/// Why a worker was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    /// Its task ran longer than it may.
    Timeout,
    /// Its task used more CPU time than it may.
    CpuTime,
    /// It used more memory than its task may; the bytes that were seen.
    Memory(u64),
    /// Its task was cancelled.
    Cancel,
    /// It broke the protocol.
    Breach(&'static str),
    /// The pool is being shut down, or is smaller now.
    Shutdown,
}

/// Why a task ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its worker died while running it: by itself, or as `Doom` says.
    Died(Option<Doom>),
    /// It was cancelled before it began.
    Cancelled,
    /// The pool was shut down before it began.
    Closed,
    /// No worker can be started.
    NoWorker,
}

/// What the caller must do. `P` is the caller's own data of a frame.
#[derive(Debug)]
pub(crate) enum Action<P> {
    /// Start a process for this worker; report `ready` or `died`.
    Start(WorkerId),
    /// Hand the tasks `range` of the frame to the worker; report `refused` if there is no room.
    Send { worker: WorkerId, frame: FrameId, range: (u32, u32), payload: P },
    /// Try to take back what has not begun of the frame, but for what `keep` leaves, and report `revoked`.
    Revoke { worker: WorkerId, frame: FrameId, keep: Keep },
    /// End the worker; its death is reported by `died`. Gently: its task may clean up first, for as long as the caller
    /// grants.
    Kill { worker: WorkerId, gently: bool },
    /// Let the worker end by itself: it has nothing to do and will get nothing more.
    Retire(WorkerId),
    /// The tasks `range` have ended without a result.
    Fail { payload: P, range: (u32, u32), failure: Failure, worker: Option<WorkerId>, attempt: u32 },
}

/// What is not to be taken back of a frame, besides what has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The tasks before this one.
    Before(u32),
    /// The first half.
    Half,
}

impl Keep {
    /// Where a frame is to end whose tasks from `next` on have not begun, and that ends at `end` now.
    pub(crate) fn end(self, next: u32, end: u32) -> u32 {
        match self {
            Self::Before(task) => next.max(task).min(end),
            Self::Half => next + (end - next) / 2,
        }
    }
}

/// What a result frame meant.
#[derive(Debug)]
pub(crate) struct Delivered<P> {
    /// The caller's data of the frame.
    pub(crate) payload: P,
    /// How often the tasks had been begun before, counted from 1.
    pub(crate) attempt: u32,
}

/// What a worker is at.
#[derive(Debug)]
pub(crate) struct Present<'a, P> {
    pub(crate) frame: FrameId,
    pub(crate) payload: &'a P,
    pub(crate) range: (u32, u32),
    pub(crate) attempt: u32,
    pub(crate) since: Nanos,
}

/// How the pool is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Closing {
    No,
    /// Finish what was accepted.
    WhenDone,
    /// End everything.
    Now,
}

/// Counts for `Pool::stats`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) workers_started: u64,
    pub(crate) workers_died: u64,
    pub(crate) workers_died_busy: u64,
    pub(crate) workers_recycled: u64,
    pub(crate) retries: u64,
}

/// The scheduler of one pool.
#[derive(Debug)]
pub(crate) struct Sched<P> {
    frames: Frames<P>,
    queue: Waiting,
    workers: BTreeMap<WorkerId, Worker>,
    next_worker: u32,
    target: usize,
    closing: Closing,
    failed_starts: u32,
    /// When the pool last gave up starting workers.
    broken_since: Nanos,
    /// How many tasks a worker may be given in its life.
    tasks_per_worker: Option<u64>,
    look_ahead: LookAhead,
    /// When to look again whether a worker is late with what others could do.
    look_again: Option<Nanos>,
    /// What is accepted is not handed out by that.
    defers: bool,
    counts: Counts,
    actions: Vec<Action<P>>,
}

impl<P: Clone> Sched<P> {
    /// A scheduler for at most `target` workers; none is started before there is something to do.
    pub(crate) fn new(target: usize) -> Self {
        Self {
            frames: Frames::default(),
            queue: Waiting::default(),
            workers: BTreeMap::new(),
            next_worker: 0,
            target,
            closing: Closing::No,
            failed_starts: 0,
            broken_since: 0,
            tasks_per_worker: None,
            look_ahead: LookAhead::default(),
            look_again: None,
            defers: false,
            counts: Counts::default(),
            actions: Vec::new(),
        }
    }

    /// From now on a worker that has been given `tasks` tasks is replaced when it has finished them.
    pub(crate) fn set_tasks_per_worker(&mut self, tasks: Option<u64>) {
        self.tasks_per_worker = tasks;
    }

    /// What there is to do since the last call, in order.
    pub(crate) fn take_actions(&mut self) -> Vec<Action<P>> {
        std::mem::take(&mut self.actions)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of workers the pool is to have.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// From now on, what is accepted is handed out at once, or with `defers` by whatever happens next: a result, or a
    /// [`Sched::tick`].
    pub(crate) fn set_defers(&mut self, defers: bool) {
        self.defers = defers;
    }

    /// Hands out what was deferred.
    pub(crate) fn hand_out_deferred(&mut self, now: Nanos) {
        self.dispatch(now);
    }

    /// Whether nothing is left of a pool that was closed.
    pub(crate) fn is_over(&self) -> bool {
        self.closing != Closing::No && self.frames.is_empty() && self.workers.is_empty()
    }

    /// Accepts a frame, or gives it back if the pool is closed or cannot start workers.
    pub(crate) fn submit(&mut self, payload: P, spec: Spec, now: Nanos) -> Result<FrameId, Failure> {
        self.accept(Entry::new(payload, spec), now)
    }

    /// The same for a frame that others are likely to [`Sched::join`].
    pub(crate) fn submit_growing(&mut self, payload: P, spec: Spec, now: Nanos) -> Result<FrameId, Failure> {
        self.accept(Entry { grows: true, ..Entry::new(payload, spec) }, now)
    }

    fn accept(&mut self, entry: Entry<P>, now: Nanos) -> Result<FrameId, Failure> {
        if self.closing != Closing::No {
            return Err(Failure::Closed);
        }
        if self.is_broken() {
            if now < self.broken_since.saturating_add(PAUSE) {
                return Err(Failure::NoWorker);
            }
            // What was in the way may have passed: one more try.
            self.failed_starts = START_TRIES - 1;
        }
        let priority = entry.spec.priority;
        let frame = self.frames.insert(entry);
        self.queue.push_back(priority, frame);
        if !self.defers {
            self.dispatch(now);
        }
        Ok(frame)
    }

    /// Lets one more task travel with those that wait at the end of the queue, if they are of the same kind and short, and
    /// `add` can put it behind them. Returns where it is: the frame, and its number in there.
    ///
    /// What waits is not handed out any sooner by this, so nothing follows from it.
    pub(crate) fn join(&mut self, spec: &Spec, add: impl FnOnce(&mut P) -> bool) -> Option<(FrameId, u32)> {
        if self.closing != Closing::No {
            return None;
        }
        let frame = self.queue.back(spec.priority)?;
        let entry = self.frames.get_mut(frame).filter(|entry| entry.is_fresh())?;
        let task = entry.spec.items;
        let alike = Spec { items: task, ..*spec } == entry.spec;
        if !alike || task >= self.look_ahead.group(spec.function) || !add(&mut entry.payload) {
            return None;
        }
        entry.spec.items += 1;
        entry.range.1 += 1;
        Some((frame, task))
    }

    /// The worker has said that it is ready.
    pub(crate) fn ready(&mut self, worker: WorkerId, now: Nanos) {
        let Some(w) = self.workers.get_mut(&worker) else { return };
        if w.phase == Phase::Starting {
            w.phase = Phase::Ready;
            self.failed_starts = 0;
        }
        self.dispatch(now);
    }

    /// The worker says that it has finished `items` tasks of `frame`, from number `first` on, which took `task_ns` each on
    /// average if that is known.
    ///
    /// # Errors
    /// If that is not what it was running.
    pub(crate) fn finished(
        &mut self,
        worker: WorkerId,
        frame: FrameId,
        first: u32,
        items: u32,
        task_ns: Option<Nanos>,
        now: Nanos,
    ) -> Result<Delivered<P>, &'static str> {
        let w = self.workers.get_mut(&worker).ok_or("it speaks after its end")?;
        if w.sent.front() != Some(&frame) {
            return Err("it answers a task that it was not running");
        }
        let entry = self.frames.get_mut(frame).ok_or("it answers a task that has ended")?;
        if entry.range.0 != first || items == 0 || items > entry.range.1 - first {
            return Err("it answers tasks that were not its next ones");
        }
        entry.range.0 += items;
        entry.denials = 0;
        w.start_clock(now);
        w.blocked = false;
        if let Some(task_ns) = task_ns {
            self.look_ahead.learn(entry.spec.function, task_ns);
        }
        let delivered = Delivered { payload: entry.payload.clone(), attempt: entry.attempt };
        if entry.range.0 == entry.range.1 {
            w.sent.pop_front();
            self.frames.remove(frame);
            self.dispatch(now);
        }
        Ok(delivered)
    }

    /// There was no room to send the frame: it goes back to where it was.
    pub(crate) fn refused(&mut self, worker: WorkerId, frame: FrameId) {
        self.relieve(worker, frame);
        if let Some(w) = self.workers.get_mut(&worker) {
            w.blocked = true;
        }
        self.requeue(frame);
    }

    /// Whether the worker takes tasks and nothing speaks against it.
    pub(crate) fn is_fit(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|w| w.phase == Phase::Ready && w.doom.is_none())
    }

    /// Changes the number of workers. Superfluous ones finish their task first.
    pub(crate) fn resize(&mut self, target: usize, now: Nanos) {
        self.target = target;
        self.dispatch(now);
    }

    /// Accepts nothing more. With `at_once`, cancels what waits and ends what runs; else finishes everything first.
    pub(crate) fn close(&mut self, at_once: bool, now: Nanos) {
        let closing = if at_once { Closing::Now } else { Closing::WhenDone };
        if closing > self.closing {
            self.closing = closing;
        }
        if at_once {
            self.fail_queued(Failure::Closed);
            let all: Vec<WorkerId> = self.workers.keys().copied().collect();
            for worker in all {
                self.doom(worker, Doom::Shutdown);
                // Also those that were given time to clean up.
                self.actions.push(Action::Kill { worker, gently: false });
            }
        }
        self.dispatch(now);
    }

    /// Looks at the clock. `progress` tells how many tasks of its present frame a worker has finished.
    pub(crate) fn tick(&mut self, now: Nanos, progress: impl Fn(WorkerId) -> u32) {
        let mut overdue = Vec::new();
        for (&id, w) in &mut self.workers {
            w.blocked = false;
            let Some(&front) = w.sent.front() else { continue };
            let Some(entry) = self.frames.get(front) else { continue };
            let Some(timeout) = entry.spec.timeout else { continue };
            w.see_progress(progress(id), entry.range.1 - entry.range.0, now);
            if now >= w.front_since.saturating_add(timeout) {
                overdue.push((id, front));
            }
        }
        for (worker, frame) in overdue {
            self.doom_for(worker, frame, progress(worker), Doom::Timeout);
        }
        self.dispatch(now);
    }

    /// When [`Sched::tick`] is next needed, if at all.
    pub(crate) fn next_tick(&self, now: Nanos) -> Option<Nanos> {
        let blocked = self.workers.values().any(|w| w.blocked).then_some(now + MILLISECOND);
        let deadlines = self.workers.values().filter(|w| w.doom.is_none()).filter_map(|w| {
            let entry = self.frames.get(*w.sent.front()?)?;
            let timeout = entry.spec.timeout?;
            let last_task = entry.range.1 - entry.range.0 == 1;
            // Inside a frame of several tasks the clock starts anew with each; look often enough to see that.
            Some(if last_task { w.front_since.saturating_add(timeout) } else { now + timeout / 8 + 1 })
        });
        deadlines.chain(blocked).chain(self.look_again).min()
    }

    /// When [`Sched::tick`] is needed because a worker may be late by then, besides the deadlines of tasks that were sent.
    pub(crate) fn look_again(&self) -> Option<Nanos> {
        self.look_again
    }

    /// The frame that the worker is at, and the number of its next task.
    pub(crate) fn front(&self, worker: WorkerId) -> Option<(FrameId, u32, &P)> {
        let frame = *self.workers.get(&worker)?.sent.front()?;
        let entry = self.frames.get(frame)?;
        Some((frame, entry.range.0, &entry.payload))
    }

    /// What the worker is at: the frame, its tasks that have not ended, how often the first of them is being begun, and since
    /// when it can have been running.
    pub(crate) fn present(&self, worker: WorkerId) -> Option<Present<'_, P>> {
        let w = self.workers.get(&worker)?;
        let frame = *w.sent.front()?;
        let Entry { payload, range, attempt, .. } = self.frames.get(frame)?;
        Some(Present { frame, payload, range: *range, attempt: *attempt, since: w.front_since })
    }

    /// Whether the worker finishes and ends because it is worn.
    pub(crate) fn is_worn(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|w| w.worn)
    }

    /// Whether no worker is there or on its way, and none can be started.
    fn is_broken(&self) -> bool {
        let hope = |w: &Worker| w.phase == Phase::Ready || w.phase == Phase::Starting && w.doom.is_none();
        self.failed_starts >= START_TRIES && !self.workers.values().any(hope)
    }
}
