//! Who gets what: handing out, taking back, starting and retiring workers.

use super::workers::{Phase, Worker};
use super::{Action, Closing, Doom, FrameId, Keep, MILLISECOND, Nanos, Place, START_TRIES, Sched, WorkerId};

/// About what it takes a worker to wake up, with what it costs to wake it.
const WAKING: Nanos = 20_000;
/// With more frames than this nobody is near.
const FEW: usize = 4;
/// To take work from one worker for another costs some microseconds, and that one is woken for it.
const WORTH_TAKING: Nanos = 50_000;
/// Who is so much later than expected must be at a task that takes unusually long.
const LATE: Nanos = 2 * MILLISECOND;

/// Whether some worker will soon be done with what it has.
enum Near {
    /// This one, and it takes another frame.
    At(WorkerId),
    /// One that takes no more at present; what waits may grow meanwhile. Until when to believe that.
    Soon(Nanos),
    None,
}

impl<P: Clone> Sched<P> {
    /// Hands out what waits, starts workers that are missing, ends those that are too many, evens out what was sent.
    pub(super) fn dispatch(&mut self, now: Nanos) {
        self.look_again = None;
        self.retire_superfluous();
        self.hand_out(now);
        if self.closing != Closing::No && self.frames.is_empty() {
            self.retire_all();
            return;
        }
        self.start_missing();
        if self.queue.len() == 0 {
            self.rebalance(now);
        }
    }

    /// How many workers have something to do.
    fn busy(&self) -> usize {
        self.workers.values().filter(|w| !w.sent.is_empty()).count()
    }

    fn look_again_at(&mut self, at: Nanos) {
        self.look_again = Some(self.look_again.map_or(at, |other| other.min(at)));
    }

    fn hand_out(&mut self, now: Nanos) {
        while let Some(frame) = self.queue.front() {
            // Those that were retired or are being ended still use a CPU until they are done.
            let may_begin = self.busy() < self.target;
            if self.frames.get(frame).is_none() {
                self.queue.pop_forgotten();
                continue;
            }
            self.leave_out_skipped(frame);
            let Some(entry) = self.frames.get_mut(frame) else { continue };
            let (function, items) = (entry.spec.function, entry.tasks());
            let grows = entry.grows && entry.is_fresh() && items < self.look_ahead.group(function);
            let depth = self.look_ahead.depth(function, items, grows);
            let takes = |w: &Worker| w.takes(depth) && (may_begin || !w.sent.is_empty());
            let priority = entry.spec.priority;
            let least = || self.workers.iter().filter(|(_, w)| takes(w)).min_by_key(|(_, w)| w.sent.len());
            let worker = match self.near(frame, takes, now) {
                Near::At(worker) => Some(worker),
                Near::Soon(until) => return self.look_again_at(until),
                Near::None => least().map(|(worker, _)| *worker),
            };
            let Some(worker) = worker else { return self.make_way(priority) };
            let (Some(entry), Some(w)) = (self.frames.get_mut(frame), self.workers.get_mut(&worker)) else { return };
            self.queue.pop_front();
            if w.sent.is_empty() {
                w.start_clock(now);
            }
            w.sent.push_back(frame);
            w.given += u64::from(entry.tasks());
            entry.place = Place::Sent(worker);
            let (range, payload) = (entry.range, entry.payload.clone());
            let worn = self.tasks_per_worker.is_some_and(|most| w.given >= most);
            self.actions.push(Action::Send { worker, frame, range, payload });
            if worn {
                // Its replacement is started now, not when it has ended.
                self.recycle(worker);
            }
        }
    }

    /// Where a short frame would be done before another worker has even woken up.
    fn near(&self, frame: FrameId, takes: impl Fn(&Worker) -> bool, now: Nanos) -> Near {
        let Some(own) = self.work(frame).filter(|own| *own < WAKING) else { return Near::None };
        let (mut best, mut soon) = (None, None);
        for (&worker, w) in &self.workers {
            let late_at = self.late_at(w);
            if w.phase != Phase::Ready || w.doom.is_some() || !(1..=FEW).contains(&w.sent.len()) || late_at <= now {
                continue;
            }
            let ahead: Option<Nanos> = w.sent.iter().map(|frame| self.work(*frame)).sum();
            let Some(done) = ahead.map(|ahead| ahead + own).filter(|done| *done <= WAKING) else { continue };
            if takes(w) {
                best = Some(best.map_or((done, worker), |best| (done, worker).min(best)));
            } else {
                soon = Some(soon.map_or(late_at, |soon: Nanos| late_at.min(soon)));
            }
        }
        match (best, soon) {
            (Some((_, worker)), _) => Near::At(worker),
            (None, Some(until)) if self.frames.get(frame).is_some_and(|entry| entry.grows) => Near::Soon(until),
            _ => Near::None,
        }
    }

    /// How long the tasks of a frame that have not ended will take together, if that can be told.
    fn work(&self, frame: FrameId) -> Option<Nanos> {
        let entry = self.frames.get(frame)?;
        self.look_ahead.expected(entry.spec.function, entry.tasks())
    }

    /// Ends the frame at the front of the queue before the first task that is not to begin; what follows that one becomes the
    /// next frame.
    fn leave_out_skipped(&mut self, frame: FrameId) {
        let Some(entry) = self.frames.get_mut(frame) else { return };
        let Some(&skipped) = entry.skipped.first() else { return };
        let mut rest = entry.split(frame, skipped);
        rest.skipped.remove(&skipped);
        rest.range.0 += 1;
        let (priority, is_empty) = (entry.spec.priority, entry.tasks() == 0);
        self.queue.pop_front();
        if rest.tasks() > 0 {
            let rest = self.frames.insert(rest);
            self.queue.push_front(priority, rest);
        }
        if is_empty {
            self.frames.remove(frame);
        } else {
            self.queue.push_front(priority, frame);
        }
    }

    /// What this worker holds and has perhaps not begun, and how to ask for it: its last frame if it has several, else a half
    /// of its only one.
    fn spare(&self, w: &Worker) -> Option<(FrameId, Keep)> {
        let frame = *w.sent.back()?;
        let entry = self.frames.get(frame)?;
        if w.stubborn == Some(frame) || entry.cancelled || !entry.skipped.is_empty() {
            return None;
        }
        match w.sent.len() {
            1 if entry.tasks() == 1 => None,
            1 => Some((frame, Keep::Half)),
            _ => Some((frame, Keep::Before(0))),
        }
    }

    /// Takes back tasks of lower priority that some worker holds but has probably not begun.
    fn make_way(&mut self, priority: u8) {
        let lower = |frame| self.frames.get(frame).is_some_and(|entry| entry.spec.priority < priority);
        let spare = self.workers.iter().find_map(|(&worker, w)| {
            let (frame, _) = self.spare(w).filter(|(frame, _)| lower(*frame))?;
            Some((worker, frame))
        });
        if let Some((worker, frame)) = spare {
            self.ask_back(worker, frame, Keep::Before(0));
        }
    }

    fn ask_back(&mut self, worker: WorkerId, frame: FrameId, keep: Keep) {
        if let Some(w) = self.workers.get_mut(&worker) {
            w.stubborn = Some(frame);
        }
        self.actions.push(Action::Revoke { worker, frame, keep });
    }

    fn start_missing(&mut self) {
        let missing = self.target.saturating_sub(self.workers.values().filter(|w| w.counts()).count());
        if missing == 0 || self.failed_starts >= START_TRIES || self.closing == Closing::Now {
            return;
        }
        let tasks = |frame: &FrameId| self.frames.get(*frame).map_or(0, |entry| entry.tasks() as usize);
        let behind: usize =
            self.workers.values().map(|w| w.sent.iter().map(tasks).sum::<usize>().saturating_sub(1)).sum();
        let idle = self.workers.values().filter(|w| w.phase == Phase::Ready && w.sent.is_empty()).count();
        let starting = self.workers.values().filter(|w| w.phase == Phase::Starting).count();
        let wanted = (self.queue.len() + behind).saturating_sub(idle + starting);
        for _ in 0..wanted.min(missing) {
            let worker = WorkerId(self.next_worker);
            self.next_worker += 1;
            self.workers.insert(worker, Worker::new());
            self.counts.workers_started += 1;
            self.actions.push(Action::Start(worker));
        }
    }

    /// Takes tasks that wait from the worker with the most of them for each idle one, if that is worth it or they wait behind a
    /// task that takes unusually long.
    fn rebalance(&mut self, now: Nanos) {
        let idle = self.workers.values().filter(|w| w.takes(1)).count();
        for _ in 0..idle.min(self.target.saturating_sub(self.busy())) {
            let mut best: Option<((bool, Nanos), WorkerId, FrameId, Keep)> = None;
            let mut next_late = Nanos::MAX;
            for (&worker, w) in &self.workers {
                let Some((frame, keep)) = self.spare(w) else { continue };
                let late_at = self.late_at(w);
                let rank = (late_at <= now, self.gain(frame, keep));
                next_late = next_late.min(late_at);
                if best.is_none_or(|(most, ..)| rank > most) {
                    best = Some((rank, worker, frame, keep));
                }
            }
            let Some(((late, gain), worker, frame, keep)) = best else { return };
            if !late && gain < WORTH_TAKING {
                return self.look_again_at(next_late);
            }
            self.ask_back(worker, frame, keep);
        }
    }

    /// How much work is taken back with this.
    fn gain(&self, frame: FrameId, keep: Keep) -> Nanos {
        let Some(entry) = self.frames.get(frame) else { return 0 };
        let tasks = match keep {
            Keep::Before(_) => entry.tasks(),
            Keep::Half => entry.tasks() / 2,
        };
        self.look_ahead.expected(entry.spec.function, tasks).unwrap_or(Nanos::MAX)
    }

    /// From when on a worker is so late with its present frame that it must be at an unusually long task.
    fn late_at(&self, w: &Worker) -> Nanos {
        let expected = w.sent.front().and_then(|frame| self.work(*frame)).unwrap_or(0);
        w.front_since.saturating_add(expected).saturating_add(LATE)
    }

    fn retire_superfluous(&mut self) {
        let mut left = self.workers.values().filter(|w| w.counts()).count().saturating_sub(self.target);
        if left == 0 {
            return;
        }
        // Idle and starting workers first, then the youngest.
        let counted = self.workers.iter().filter(|(_, w)| w.counts());
        let mut order: Vec<_> = counted.map(|(&id, w)| (w.sent.len(), id)).collect();
        order.sort_by_key(|&(sent, id)| (sent, std::cmp::Reverse(id)));
        for (_, worker) in order {
            if left == 0 {
                break;
            }
            left -= 1;
            self.retire(worker);
        }
    }

    fn retire_all(&mut self) {
        let all: Vec<WorkerId> = self.workers.iter().filter(|(_, w)| w.counts()).map(|(&id, _)| id).collect();
        for worker in all {
            self.retire(worker);
        }
    }

    /// Lets a worker finish what it was given and end; another takes its place.
    pub(crate) fn recycle(&mut self, worker: WorkerId) {
        if let Some(w) = self.workers.get_mut(&worker)
            && w.phase == Phase::Ready
            && w.doom.is_none()
        {
            w.phase = Phase::Retiring;
            w.worn = true;
            self.counts.workers_recycled += 1;
            self.actions.push(Action::Retire(worker));
        }
    }

    pub(super) fn retire(&mut self, worker: WorkerId) {
        let Some(w) = self.workers.get_mut(&worker) else { return };
        if w.phase == Phase::Starting {
            // It may never get as far as reading that it is not needed.
            self.doom(worker, Doom::Shutdown);
            return;
        }
        w.phase = Phase::Retiring;
        let ahead: Vec<FrameId> = w.sent.iter().skip(1).copied().collect();
        for frame in ahead {
            self.actions.push(Action::Revoke { worker, frame, keep: Keep::Before(0) });
        }
        self.actions.push(Action::Retire(worker));
    }
}
