//! Many workers, each on a CPU of its own, simulated: what a hand-over costs is fixed here, so the outcome is the same every time, and
//! the policy can be judged for machines that are not at hand.
//!
//! A program feeds a pool as `map` or as `submit` in a loop does. All its work is done one after another, since it is done under
//! one lock: handing out, waking, taking results. Workers look for a while before they sleep, and hold results back while they
//! have enough to do, as the real ones do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::*;

/// What things cost, in nanoseconds: about what was measured on a virtual machine whose idle CPUs halt.
const JOIN: Nanos = 120;
const SUBMIT: Nanos = 400;
const SEND: Nanos = 150;
const WAKE: Nanos = 5_000;
const WAKE_LATENCY: Nanos = 20_000;
const RING: Nanos = 4_000;
const LOOK: Nanos = 50_000;
const HOLD: Nanos = 500_000;
/// With so many frames behind, a result may wait for others.
const ENOUGH: usize = 2;
const TAKE: Nanos = 300;
const REVOKE: Nanos = 200;
const ITEM: Nanos = 100;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Running,
    Looking,
    Asleep,
}

struct Simulated {
    state: State,
    /// Frame, next task, end.
    ring: VecDeque<(FrameId, u32, u32)>,
    /// The first task of its first frame that was not shown.
    shown: u32,
    results: VecDeque<(FrameId, u32, u32)>,
    held: Option<Nanos>,
    /// Counts its steps, so that an outdated event is recognised.
    step: u64,
}

/// What happened in a run.
#[derive(Debug, Default)]
struct Outcome {
    /// Run time of all tasks by the time of all workers, in percent.
    share: u64,
    sent: u64,
    revoked: u64,
    wakes: u64,
}

struct Simulation {
    sched: Sched<()>,
    workers: BTreeMap<WorkerId, Simulated>,
    events: BinaryHeap<Reverse<(Nanos, u32, u64)>>,
    /// Until when the program is busy: its own clock.
    program: Nanos,
    program_sleeps: bool,
    /// Run time of the next tasks, in the order in which they begin.
    task_ns: fn(u64) -> Nanos,
    begun: u64,
    ended: u64,
    outcome: Outcome,
}

/// The number in `events` that stands for the program.
const PROGRAM: u32 = u32::MAX;

impl Simulation {
    fn new(workers: usize, task_ns: fn(u64) -> Nanos) -> Self {
        let mut this = Self {
            sched: Sched::new(workers),
            workers: BTreeMap::new(),
            events: BinaryHeap::new(),
            program: 0,
            program_sleeps: false,
            task_ns,
            begun: 0,
            ended: 0,
            outcome: Outcome::default(),
        };
        // All workers are there, and the run time is known.
        let frames: Vec<FrameId> = (0..workers).map(|_| this.sched.submit((), spec(1), 0).unwrap()).collect();
        this.act();
        for worker in 0..workers as u32 {
            this.workers.insert(
                WorkerId(worker),
                Simulated {
                    state: State::Asleep,
                    ring: VecDeque::new(),
                    shown: 0,
                    results: VecDeque::new(),
                    held: None,
                    step: 0,
                },
            );
            this.sched.ready(WorkerId(worker), 0);
        }
        drop(this.sched.take_actions());
        for _ in 0..frames.len() {
            let all: Vec<WorkerId> = this.workers.keys().copied().collect();
            for worker in all {
                if let Some((frame, next, ())) = this.sched.front(worker) {
                    this.sched.finished(worker, frame, next, 1, Some((this.task_ns)(0) + ITEM), 0).unwrap();
                }
            }
            drop(this.sched.take_actions());
        }
        assert!(this.sched.frames.is_empty());
        this
    }

    fn act(&mut self) {
        loop {
            let actions = self.sched.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Send { worker, frame, range, .. } => {
                        self.program += SEND;
                        self.outcome.sent += u64::from(range.1 - range.0);
                        let Some(w) = self.workers.get_mut(&worker) else { continue };
                        if w.ring.is_empty() {
                            w.shown = range.0;
                        }
                        w.ring.push_back((frame, range.0, range.1));
                        match w.state {
                            State::Running => {}
                            State::Looking => self.wake(worker, 200),
                            State::Asleep => {
                                self.outcome.wakes += 1;
                                self.program += WAKE;
                                self.wake(worker, WAKE_LATENCY);
                            }
                        }
                    }
                    Action::Revoke { worker, frame, keep } => {
                        self.program += REVOKE;
                        let Some(w) = self.workers.get_mut(&worker) else { continue };
                        let running = w.state == State::Running;
                        let Some(at) = w.ring.iter().position(|f| f.0 == frame) else { continue };
                        let (_, next, end) = w.ring[at];
                        let begun = next + u32::from(at == 0 && running);
                        let kept = keep.end(begun.min(end), end);
                        self.outcome.revoked += u64::from(end - kept);
                        let gone = kept == next && (at > 0 || w.shown == next);
                        w.ring[at].2 = kept;
                        if gone {
                            w.ring.remove(at);
                            if at == 0 {
                                w.shown = w.ring.front().map_or(0, |front| front.1);
                            }
                        }
                        self.sched.revoked(worker, frame, kept, 0, self.program);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The worker sees what it was sent after `latency`.
    fn wake(&mut self, worker: WorkerId, latency: Nanos) {
        if let Some(w) = self.workers.get_mut(&worker) {
            w.state = State::Running;
            w.step += 1;
            self.begun += 1;
            let ns = (self.task_ns)(self.begun) + ITEM;
            self.events.push(Reverse((self.program + latency + ns, worker.0, w.step)));
        }
    }

    /// A worker has finished a task, or looked long enough.
    fn step(&mut self, worker: WorkerId, now: Nanos) {
        let Some(w) = self.workers.get_mut(&worker) else { return };
        if w.state == State::Looking {
            w.state = State::Asleep;
            return;
        }
        let (mut now, mut rings) = (now, false);
        if let Some(front) = w.ring.front_mut() {
            front.1 += 1;
            if front.1 >= front.2 {
                let (frame, next, _) = *front;
                w.ring.pop_front();
                w.results.push_back((frame, w.shown, next));
                w.shown = w.ring.front().map_or(0, |front| front.1);
                let held = *w.held.get_or_insert(now);
                rings = w.ring.len() < ENOUGH || now - held >= HOLD;
            }
        }
        if rings && self.program_sleeps {
            self.program_sleeps = false;
            self.events.push(Reverse((now + WAKE_LATENCY, PROGRAM, 0)));
            now += RING;
        }
        w.step += 1;
        if w.ring.is_empty() {
            w.state = State::Looking;
            self.events.push(Reverse((now + LOOK, worker.0, w.step)));
        } else {
            self.begun += 1;
            let ns = (self.task_ns)(self.begun) + ITEM;
            self.events.push(Reverse((now + ns, worker.0, w.step)));
        }
    }

    /// Everything that happens to workers before the program's clock.
    fn catch_up(&mut self) {
        while let Some(&Reverse((at, worker, step))) = self.events.peek() {
            if worker == PROGRAM || at > self.program {
                return;
            }
            self.events.pop();
            if self.workers.get(&WorkerId(worker)).is_some_and(|w| w.step == step) {
                self.step(WorkerId(worker), at);
            }
        }
    }

    /// Sleeps until a worker rings. `false` if nobody will.
    fn sleep(&mut self) -> bool {
        self.program_sleeps = true;
        while let Some(Reverse((at, worker, step))) = self.events.pop() {
            if worker == PROGRAM {
                self.program = self.program.max(at);
                return true;
            }
            if self.sched.next_tick(self.program).is_some_and(|tick| tick <= at) {
                self.events.push(Reverse((at, worker, step)));
                self.program = self.program.max(at);
                self.program_sleeps = false;
                self.sched.tick(self.program, |_| 0);
                self.act();
                return true;
            }
            if self.workers.get(&WorkerId(worker)).is_some_and(|w| w.step == step) {
                self.step(WorkerId(worker), at);
            }
        }
        false
    }

    /// Takes all results.
    fn drain(&mut self) {
        self.catch_up();
        self.program += 20 * self.workers.len() as Nanos;
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            while let Some((frame, first, end)) = self.workers.get_mut(&worker).and_then(|w| {
                w.held = None;
                w.results.pop_front()
            }) {
                self.program += TAKE;
                let one = (self.task_ns)(1) + ITEM;
                self.sched.finished(worker, frame, first, end - first, Some(one), self.program).unwrap();
                self.ended += u64::from(end - first);
                self.act();
            }
        }
    }

    fn end(mut self, tasks: u64) -> Outcome {
        assert_eq!(self.ended, tasks);
        let run: Nanos = (1..=tasks).map(|n| (self.task_ns)(n)).sum();
        self.outcome.share = 100 * run / (self.program * self.workers.len() as u64);
        self.outcome
    }

    /// As `map` does: chunks of 200 us, a bounded number of them in flight.
    fn map(mut self, tasks: u64) -> Outcome {
        let chunk = (200_000 / (self.task_ns)(1)).clamp(1, 4096);
        let in_flight = 8 * self.workers.len() as u64 * chunk;
        let mut sent = 0;
        while self.ended < tasks {
            self.drain();
            while sent < tasks && sent - self.ended < in_flight {
                let items = chunk.min(tasks - sent);
                self.program += SUBMIT + 15 * items;
                self.catch_up();
                self.sched.submit((), spec(items as u32), self.program).unwrap();
                self.act();
                sent += items;
            }
            let goal = (self.ended + in_flight / 2).min(tasks);
            while self.ended < goal && self.sleep() {
                self.drain();
            }
        }
        self.end(tasks)
    }

    /// As `submit` in a loop does, while another thread takes the results that it is rung for.
    fn gather(mut self, tasks: u64) -> Outcome {
        self.program_sleeps = true;
        for _ in 0..tasks {
            self.catch_up();
            if let Some(&Reverse((at, PROGRAM, _))) = self.events.peek()
                && at <= self.program
            {
                self.events.pop();
                self.drain();
                self.program_sleeps = true;
            }
            self.program += JOIN;
            if self.sched.join(&spec(1), |()| true).is_none() {
                self.program += SUBMIT;
                self.sched.submit_growing((), spec(1), self.program).unwrap();
                self.act();
            }
        }
        self.drain();
        while self.ended < tasks && self.sleep() {
            self.drain();
        }
        self.end(tasks)
    }
}

fn spec(items: u32) -> Spec {
    Spec { items, function: 1, timeout: None, retries: 0, retry_on: RetryOn::ALL, priority: 5 }
}

/// A kind of work, the least share of its workers' time that it must get, in percent, and the most times a sleeping one is woken.
struct Case {
    workers: usize,
    task_ns: fn(u64) -> Nanos,
    share: u64,
    wakes: u64,
}

const CASES: [Case; 6] = [
    Case { workers: 2, task_ns: |_| 5_000, share: 97, wakes: 2 },
    Case { workers: 8, task_ns: |_| 5_000, share: 97, wakes: 8 },
    Case { workers: 16, task_ns: |_| 5_000, share: 97, wakes: 16 },
    Case { workers: 16, task_ns: |_| 20_000, share: 99, wakes: 16 },
    Case { workers: 16, task_ns: |_| 100_000, share: 99, wakes: 16 },
    Case { workers: 64, task_ns: |_| 100_000, share: 99, wakes: 400 },
];

#[test]
fn workers_are_kept_busy_and_not_woken_again_and_again() {
    for (number, Case { workers, task_ns, share, wakes }) in CASES.iter().enumerate() {
        for outcome in
            [Simulation::new(*workers, *task_ns).map(100_000), Simulation::new(*workers, *task_ns).gather(100_000)]
        {
            let fine = outcome.share >= *share && outcome.wakes <= *wakes && outcome.sent < 102_000;
            assert!(fine, "case {number}: {outcome:?}");
        }
    }
}

#[test]
fn tasks_shorter_than_their_hand_over_do_not_wake_a_worker_each() {
    // A program that submits one every 120 ns keeps a single worker busy.
    for workers in [2, 4, 16, 64] {
        let outcome = Simulation::new(workers, |_| 100).gather(100_000);
        let fine = outcome.share >= 64 / workers as u64 && outcome.wakes <= 300;
        assert!(fine, "{workers} workers: {outcome:?}");
    }
}
