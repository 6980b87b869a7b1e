//! How tasks end without a result, and what becomes of the others then: cancelling, taking back, ending workers, deaths.

use super::*;

impl<P: Clone> Sched<P> {
    /// What was taken back of the frame: the tasks from number `end` on. `progress` tells how many of its tasks the worker has
    /// finished but not shown.
    pub(crate) fn revoked(&mut self, worker: WorkerId, frame: FrameId, end: u32, progress: u32, now: Nanos) {
        let Some(entry) = self.frames.get_mut(frame) else { return };
        let (next, old_end) = entry.range;
        let end = end.clamp(next, old_end);
        // Those before this one were pardoned already: to convict them again would go on for ever, with a worker that says that
        // it has begun many and finished none.
        let mut from = next.saturating_add(progress);
        if let Some(w) = self.workers.get_mut(&worker) {
            if let Some((_, task)) = w.guilty.filter(|&(guilty, task)| guilty == frame && end > task + 1) {
                // It has begun a later one, so it has finished that one.
                w.doom = None;
                w.guilty = None;
                from = from.max(task + 1);
            }
            if end < old_end {
                w.stubborn = None;
            }
        }
        let begun = entry.skipped.iter().copied().filter(|task| (from..end).contains(task)).min();
        if end == next {
            self.relieve(worker, frame);
            self.requeue(frame);
        } else if end < old_end {
            let rest = entry.split(frame, end);
            if let Some(w) = self.workers.get_mut(&worker) {
                w.given -= u64::from(rest.tasks());
            }
            self.requeue_entry(rest);
        }
        if let Some(task) = begun {
            self.doom_for(worker, frame, task - next, Doom::Cancel);
        }
        if end < old_end {
            self.dispatch(now);
        }
    }

    /// Takes a frame out of what was sent to the worker.
    pub(super) fn relieve(&mut self, worker: WorkerId, frame: FrameId) {
        let tasks = self.frames.get(frame).map_or(0, Entry::tasks);
        if let Some(w) = self.workers.get_mut(&worker) {
            w.relieve(frame, tasks);
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

    /// Says again that a worker is to be ended so that its task may clean up.
    pub(crate) fn end_gently(&mut self, worker: WorkerId) {
        self.actions.push(Action::Kill { worker, gently: true });
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
        self.look_again = self.look_again.map(|at| at.min(now));
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
            if task + 1 < end {
                self.actions.push(Action::Revoke { worker, frame, keep: Keep::Before(task + 1) });
            }
            let behind = w.sent.iter().skip_while(|f| **f != frame).skip(1);
            self.actions.extend(behind.map(|&frame| Action::Revoke { worker, frame, keep: Keep::Before(0) }));
            self.actions.push(Action::Kill { worker, gently: !matches!(doom, Doom::Memory(_)) });
        }
    }

    /// Whether the worker is still at the task for which it is to be ended, or is to be ended for none in particular. To be
    /// asked after its results were taken, before it is ended.
    pub(crate) fn is_guilty(&self, worker: WorkerId) -> bool {
        let at_it = |w: &Worker, (frame, task): (FrameId, u32)| {
            w.sent.front() == Some(&frame) && self.frames.get(frame).is_some_and(|entry| entry.range.0 <= task)
        };
        let guilty = |w: &Worker| w.doom.is_some() && w.guilty.is_none_or(|task| at_it(w, task));
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
        !self.frames.parts(frame).is_empty()
    }

    /// In which part of its frame this task is now, if it has not ended.
    pub(crate) fn part_of(&self, frame: FrameId, task: u32) -> Option<FrameId> {
        self.frames.find(frame, task)
    }

    /// Cancels what has not begun of a frame.
    pub(crate) fn cancel(&mut self, frame: FrameId, now: Nanos) {
        for part in self.frames.parts(frame) {
            let Some(entry) = self.frames.get_mut(part) else { continue };
            match entry.place {
                Place::Queued => {
                    self.queue.forget();
                    self.fail_whole(part, Failure::Cancelled);
                }
                Place::Sent(worker) => {
                    entry.cancelled = true;
                    self.actions.push(Action::Revoke { worker, frame: part, keep: Keep::Before(0) });
                }
            }
        }
        self.dispatch(now);
    }

    /// Cancels a task of the frame that was accepted under this number. If it runs, its worker is ended.
    ///
    /// Returns `false` if the task has ended already.
    pub(crate) fn cancel_task(&mut self, frame: FrameId, task: u32, now: Nanos) -> bool {
        let Some(frame) = self.frames.find(frame, task) else { return false };
        let Some(entry) = self.frames.get_mut(frame) else { return false };
        match entry.place {
            Place::Queued => {
                if !entry.skipped.insert(task) {
                    return false;
                }
                if entry.skipped.len() == entry.tasks() as usize {
                    entry.skipped.clear();
                    entry.range = (task, task + 1);
                    self.queue.forget();
                    self.fail_whole(frame, Failure::Cancelled);
                    self.dispatch(now);
                } else {
                    let (payload, attempt) = (entry.payload.clone(), entry.attempt);
                    self.fail(payload, (task, task + 1), Failure::Cancelled, attempt);
                }
            }
            Place::Sent(worker) => {
                entry.skipped.insert(task);
                self.actions.push(Action::Revoke { worker, frame, keep: Keep::Before(task) });
            }
        }
        true
    }

    /// Cancels every task that has not begun.
    pub(crate) fn cancel_pending(&mut self, now: Nanos) {
        let waiting: Vec<FrameId> = self.workers.values().flat_map(|w| w.sent.iter().copied()).collect();
        self.fail_queued(Failure::Cancelled);
        for frame in waiting {
            if let Some(entry) = self.frames.get_mut(frame)
                && let Place::Sent(worker) = entry.place
            {
                entry.cancelled = true;
                self.actions.push(Action::Revoke { worker, frame, keep: Keep::Before(0) });
            }
        }
        self.dispatch(now);
    }

    /// The task at the head of `frame` ends with its worker, or is tried again; the tasks behind it are not to blame.
    fn blame(&mut self, frame: FrameId, worker: WorkerId, doom: Option<Doom>) {
        let Some(mut entry) = self.frames.remove(frame) else { return };
        let (at, end) = entry.range;
        entry.origin.get_or_insert(frame);
        if at + 1 < end {
            let rest = entry.split(frame, at + 1);
            self.requeue_entry(rest);
        }
        let retries_this = match doom {
            None | Some(Doom::Breach(_)) => entry.spec.retry_on.died,
            Some(Doom::Timeout | Doom::CpuTime) => entry.spec.retry_on.timed_out,
            Some(Doom::Memory(_)) => entry.spec.retry_on.out_of_memory,
            Some(Doom::Cancel | Doom::Shutdown) => false,
        };
        let may_retry = retries_this && !entry.cancelled && !entry.skipped.contains(&at);
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

    pub(super) fn requeue(&mut self, frame: FrameId) {
        let Some(entry) = self.frames.get_mut(frame) else { return };
        entry.place = Place::Queued;
        // Those that were cancelled meanwhile end here; the others go on without them.
        entry.skipped = entry.skipped.split_off(&entry.range.0);
        let cancelled: Vec<u32> = match entry.cancelled {
            true => (entry.range.0..entry.range.1).collect(),
            false => entry.skipped.range(..entry.range.1).copied().collect(),
        };
        let (payload, priority, attempt) = (entry.payload.clone(), entry.spec.priority, entry.attempt);
        let all = cancelled.len() == entry.tasks() as usize;
        for &task in &cancelled {
            self.fail(payload.clone(), (task, task + 1), Failure::Cancelled, attempt);
        }
        if all {
            self.frames.remove(frame);
        } else if self.closing == Closing::Now {
            self.fail_whole(frame, Failure::Closed);
        } else {
            self.queue.push_front(priority, frame);
        }
    }

    /// Queues an entry whose tasks were never begun (or are to be tried again) at the front, under a number of its own.
    fn requeue_entry(&mut self, entry: Entry<P>) {
        let frame = self.frames.insert(entry);
        self.requeue(frame);
    }

    pub(super) fn fail_queued(&mut self, failure: Failure) {
        for frame in self.queue.take_all() {
            self.fail_whole(frame, failure);
        }
    }

    /// Ends all that is left of a frame. Those of its tasks that are to be skipped have ended before.
    fn fail_whole(&mut self, frame: FrameId, failure: Failure) {
        let Some(entry) = self.frames.remove(frame) else { return };
        let (mut at, end) = entry.range;
        for skipped in entry.skipped.into_iter().chain([end]) {
            if at < skipped {
                self.fail(entry.payload.clone(), (at, skipped), failure, entry.attempt);
            }
            at = skipped + 1;
        }
    }

    fn fail(&mut self, payload: P, range: (u32, u32), failure: Failure, attempt: u32) {
        self.actions.push(Action::Fail { payload, range, failure, worker: None, attempt });
    }
}
