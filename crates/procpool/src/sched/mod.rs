//! The scheduler: a state machine without I/O, clock or threads. Events go in as method calls with the time in
//! nanoseconds, actions come out through [`Sched::take_actions`].
//!
//! Its unit is the frame: one or several tasks of one function that travel together. A frame's tasks end one by one, in
//! order; `first` is the number of the next one to end.

mod dispatch;
mod frames;
mod lookahead;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod waiting;
mod workers;

use std::collections::BTreeMap;

use frames::{Entry, Frames, Place};
pub(crate) use frames::{FrameId, RetryOn, Spec};
use lookahead::LookAhead;
pub(crate) use waiting::PRIORITIES;
use waiting::Waiting;
pub(crate) use workers::WorkerId;
use workers::{Phase, Worker};

/// Nanoseconds on a clock that only the caller reads.
pub(crate) type Nanos = u64;

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
    /// Try to take the frame back and report `revoked`.
    Revoke { worker: WorkerId, frame: FrameId },
    /// End the worker; its death is reported by `died`. Gently: its task may clean up first, for as long as the caller
    /// grants.
    Kill { worker: WorkerId, gently: bool },
    /// Let the worker end by itself: it has nothing to do and will get nothing more.
    Retire(WorkerId),
    /// The tasks `range` have ended without a result.
    Fail { payload: P, range: (u32, u32), failure: Failure, worker: Option<WorkerId>, attempt: u32 },
}

/// What a result frame meant.
#[derive(Debug)]
pub(crate) struct Delivered<P> {
    /// The caller's data of the frame.
    pub(crate) payload: P,
    /// How often the tasks had been begun before, counted from 1.
    pub(crate) attempt: u32,
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

    /// Whether nothing is left of a pool that was closed.
    pub(crate) fn is_over(&self) -> bool {
        self.closing != Closing::No && self.frames.is_empty() && self.workers.is_empty()
    }

    /// Accepts a frame, or gives it back if the pool is closed or cannot start workers.
    pub(crate) fn submit(&mut self, payload: P, spec: Spec, now: Nanos) -> Result<FrameId, Failure> {
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
        let range = (0, spec.items);
        let priority = spec.priority;
        let frame = self.frames.insert(Entry {
            payload,
            spec,
            range,
            attempt: 1,
            denials: 0,
            place: Place::Queued,
            cancel: None,
        });
        self.queue.push_back(priority, frame);
        self.dispatch(now);
        Ok(frame)
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

    /// The worker says that it has finished `items` tasks of `frame`, from number `first` on.
    ///
    /// # Errors
    /// If that is not what it was running.
    pub(crate) fn finished(
        &mut self,
        worker: WorkerId,
        frame: FrameId,
        first: u32,
        items: u32,
        run_ns: u64,
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
        self.look_ahead.learn(entry.spec.function, run_ns, items);
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
        let tasks = self.frames.get(frame).map_or(0, Entry::tasks);
        if let Some(w) = self.workers.get_mut(&worker) {
            w.relieve(frame, tasks);
            w.blocked = true;
        }
        self.requeue(frame);
    }

    /// Whether the frame could be taken back.
    pub(crate) fn revoked(&mut self, worker: WorkerId, frame: FrameId, taken: bool, now: Nanos) {
        let cancel = self.frames.get_mut(frame).and_then(|entry| entry.cancel);
        if taken {
            let tasks = self.frames.get(frame).map_or(0, Entry::tasks);
            if let Some(w) = self.workers.get_mut(&worker) {
                w.relieve(frame, tasks);
                w.stubborn = None;
            }
            match cancel {
                Some(_) => self.fail_whole(frame, Failure::Cancelled),
                None => self.requeue(frame),
            }
            self.dispatch(now);
        } else if cancel == Some(Cancel::Running) {
            self.doom_for(worker, frame, 0, Doom::Cancel);
        } else if let Some(w) = self.workers.get_mut(&worker) {
            w.stubborn = Some(frame);
        }
    }

    /// Ends a worker, for a reason that becomes the reason of its task's failure.
    pub(crate) fn doom(&mut self, worker: WorkerId, doom: Doom) {
        if let Some(w) = self.workers.get_mut(&worker)
            && w.doom.is_none()
        {
            w.doom = Some(doom);
            self.actions.push(Action::Kill { worker, gently: false });
        }
    }

    /// A worker that has died had this coming: that is the reason of its task's failure, if there is no other.
    pub(crate) fn convict(&mut self, worker: WorkerId, doom: Doom) {
        if let Some(w) = self.workers.get_mut(&worker) {
            w.doom.get_or_insert(doom);
        }
    }

    /// The clock was put back to `now`: nothing has happened later than that.
    pub(crate) fn forget_the_future(&mut self, now: Nanos) {
        self.broken_since = self.broken_since.min(now);
        for w in self.workers.values_mut() {
            w.front_since = w.front_since.min(now);
        }
    }

    /// Ends a worker because of the task of `frame` that it is at, and of no other: what it has not begun is taken from it
    /// first, and if it turns out to have finished that frame meanwhile, it is pardoned. `progress` tells how many tasks of
    /// the frame it has finished but not shown.
    pub(crate) fn doom_for(&mut self, worker: WorkerId, frame: FrameId, progress: u32, doom: Doom) {
        let Some((next, end)) = self.frames.get(frame).map(|entry| entry.range) else { return };
        // The worker's word, or that of an earlier frame in the same place: no more than there can be.
        let task = next + progress.min(end - next - 1);
        if let Some(w) = self.workers.get_mut(&worker)
            && w.doom.is_none()
        {
            w.doom = Some(doom);
            w.guilty = Some((frame, task));
            let behind = w.sent.iter().skip_while(|f| **f != frame).skip(1);
            self.actions.extend(behind.map(|&frame| Action::Revoke { worker, frame }));
            self.actions.push(Action::Kill { worker, gently: !matches!(doom, Doom::Memory(_)) });
        }
    }

    /// Whether the worker is still at the frame for which it is to be ended, or is to be ended for none in particular. To be
    /// asked after its results were taken, before it is ended.
    pub(crate) fn is_guilty(&self, worker: WorkerId) -> bool {
        let guilty = |w: &Worker| w.guilty.is_none_or(|(frame, _)| w.sent.front() == Some(&frame));
        self.workers.get(&worker).is_some_and(guilty)
    }

    /// Lets a worker go on that has finished the task for which it was to be ended.
    pub(crate) fn pardon(&mut self, worker: WorkerId, now: Nanos) {
        if let Some(w) = self.workers.get_mut(&worker) {
            w.doom = None;
            w.guilty = None;
        }
        self.dispatch(now);
    }

    /// The next task to end, of the frame that the worker is at.
    fn present_task(&self, w: &Worker) -> Option<(FrameId, u32)> {
        let frame = *w.sent.front()?;
        Some((frame, self.frames.get(frame)?.range.0))
    }

    /// Whether the worker takes tasks and nothing speaks against it.
    pub(crate) fn is_fit(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|w| w.phase == Phase::Ready && w.doom.is_none())
    }

    /// Whether the worker is being ended, or unknown.
    pub(crate) fn is_doomed(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_none_or(|w| w.doom.is_some())
    }

    /// Whether it is being ended because nothing that it says can be believed.
    pub(crate) fn is_in_breach(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|w| matches!(w.doom, Some(Doom::Breach(_))))
    }

    /// The worker is gone. All results that it left have been reported before; `running` says whether it had begun the
    /// next task of the frame it was at.
    pub(crate) fn died(&mut self, worker: WorkerId, running: bool, now: Nanos) {
        let Some(w) = self.workers.remove(&worker) else { return };
        let busy = w.sent.front().is_some_and(|&front| running || self.is_denied_too_often(front, w.doom));
        if w.phase == Phase::Starting && w.doom != Some(Doom::Shutdown) {
            self.failed_starts += 1;
        } else if w.phase == Phase::Ready {
            // It leaves room, whatever kept others from starting beside it.
            self.failed_starts = 0;
        }
        if w.doom != Some(Doom::Shutdown) && (busy || w.phase != Phase::Retiring) {
            self.counts.workers_died += 1;
            self.counts.workers_died_busy += u64::from(busy);
        }
        for &frame in w.sent.iter().skip(1).rev() {
            self.requeue(frame);
        }
        if let Some(&front) = w.sent.front() {
            // Inside a chunk the next task may have begun before the one was ended that it was ended for.
            let innocent = w.guilty.is_some_and(|task| self.present_task(&w) != Some(task));
            let doom = w.doom.filter(|_| !innocent);
            if busy { self.blame(front, worker, doom) } else { self.requeue(front) }
        }
        if self.is_broken() {
            self.broken_since = now;
            self.fail_queued(Failure::NoWorker);
        }
        self.dispatch(now);
    }

    /// Whether the frame has not ended.
    pub(crate) fn knows(&self, frame: FrameId) -> bool {
        self.frames.get(frame).is_some()
    }

    /// Cancels a frame. With `running`, a worker that has begun it is ended; else it may finish.
    ///
    /// Returns `false` if the frame has ended already.
    pub(crate) fn cancel(&mut self, frame: FrameId, running: bool, now: Nanos) -> bool {
        let Some(entry) = self.frames.get_mut(frame) else { return false };
        match entry.place {
            Place::Queued => {
                self.queue.remove(entry.spec.priority, frame);
                self.fail_whole(frame, Failure::Cancelled);
                self.dispatch(now);
            }
            Place::Sent(worker) => {
                entry.cancel = Some(if running { Cancel::Running } else { Cancel::Unbegun });
                self.actions.push(Action::Revoke { worker, frame });
            }
        }
        true
    }

    /// Cancels every frame that has not begun.
    pub(crate) fn cancel_pending(&mut self, now: Nanos) {
        let waiting: Vec<FrameId> = self.workers.values().flat_map(|w| w.sent.iter().copied()).collect();
        self.fail_queued(Failure::Cancelled);
        for frame in waiting {
            self.cancel(frame, false, now);
        }
        self.dispatch(now);
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
        deadlines.chain(blocked).min()
    }

    /// The frame that the worker is at, and the number of its next task.
    pub(crate) fn front(&self, worker: WorkerId) -> Option<(FrameId, u32, &P)> {
        let frame = *self.workers.get(&worker)?.sent.front()?;
        let entry = self.frames.get(frame)?;
        Some((frame, entry.range.0, &entry.payload))
    }

    /// Whether no worker is there or on its way, and none can be started.
    fn is_broken(&self) -> bool {
        let hope = |w: &Worker| w.phase == Phase::Ready || w.phase == Phase::Starting && w.doom.is_none();
        self.failed_starts >= START_TRIES && !self.workers.values().any(hope)
    }

    /// The task at the head of `frame` ends with its worker, or is tried again; the tasks behind it are not to blame.
    fn blame(&mut self, frame: FrameId, worker: WorkerId, doom: Option<Doom>) {
        let Some(mut entry) = self.frames.remove(frame) else { return };
        let (at, end) = entry.range;
        if at + 1 < end {
            let rest = Entry { range: (at + 1, end), denials: 0, ..entry.clone() };
            self.requeue_entry(rest);
        }
        entry.range = (at, at + 1);
        let retries_this = match doom {
            None | Some(Doom::Breach(_)) => entry.spec.retry_on.died,
            Some(Doom::Timeout | Doom::CpuTime) => entry.spec.retry_on.timed_out,
            Some(Doom::Memory(_)) => entry.spec.retry_on.out_of_memory,
            Some(Doom::Cancel | Doom::Shutdown) => false,
        };
        let may_retry = retries_this && entry.cancel.is_none();
        if may_retry && entry.attempt <= entry.spec.retries && self.closing != Closing::Now {
            entry.attempt += 1;
            entry.denials = 0;
            self.counts.retries += 1;
            self.requeue_entry(entry);
            return;
        }
        self.actions.push(Action::Fail {
            payload: entry.payload,
            range: entry.range,
            failure: Failure::Died(doom),
            worker: Some(worker),
            attempt: entry.attempt,
        });
    }

    fn is_denied_too_often(&mut self, frame: FrameId, doom: Option<Doom>) -> bool {
        if matches!(doom, Some(Doom::Cancel | Doom::Shutdown)) {
            return false;
        }
        let Some(entry) = self.frames.get_mut(frame) else { return false };
        entry.denials += 1;
        entry.denials > DENIALS
    }

    fn requeue(&mut self, frame: FrameId) {
        let Some(entry) = self.frames.get_mut(frame) else { return };
        entry.place = Place::Queued;
        if entry.cancel.is_some() {
            self.fail_whole(frame, Failure::Cancelled);
        } else if self.closing == Closing::Now {
            self.fail_whole(frame, Failure::Closed);
        } else {
            let priority = entry.spec.priority;
            self.queue.push_front(priority, frame);
        }
    }

    /// Queues an entry whose tasks were never begun (or are to be tried again) at the front, under a number of its own.
    fn requeue_entry(&mut self, entry: Entry<P>) {
        let frame = self.frames.insert(entry);
        self.requeue(frame);
    }

    fn fail_queued(&mut self, failure: Failure) {
        for frame in self.queue.take_all() {
            self.fail_whole(frame, failure);
        }
    }

    fn fail_whole(&mut self, frame: FrameId, failure: Failure) {
        if let Some(Entry { payload, range, attempt, .. }) = self.frames.remove(frame) {
            self.actions.push(Action::Fail { payload, range, failure, worker: None, attempt });
        }
    }
}

/// How far a cancellation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    Unbegun,
    Running,
}
