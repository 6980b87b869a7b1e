//! Tables: event by event, the actions that follow.

use super::*;

type Actions = Vec<String>;

/// A scheduler whose payloads are letters, and whose actions are compared as short text.
struct Table {
    sched: Sched<char>,
    now: Nanos,
}

impl Table {
    fn new(workers: usize) -> Self {
        Self { sched: Sched::new(workers), now: 0 }
    }

    fn submit(&mut self, name: char, items: u32) -> FrameId {
        self.submit_with(name, spec_of(items))
    }

    fn submit_with(&mut self, name: char, spec: Spec) -> FrameId {
        self.sched.submit(name, spec, self.now).unwrap()
    }

    /// `n` workers that are ready and idle.
    fn with_ready(n: usize) -> Self {
        let mut table = Self::new(n);
        let frames: Vec<FrameId> = (0..n).map(|_| table.submit('-', 1)).collect();
        for worker in 0..n as u32 {
            table.sched.ready(WorkerId(worker), 0);
        }
        table.settle();
        for frame in frames {
            let worker = (0..n as u32).find(|&w| table.sched.front(WorkerId(w)).is_some_and(|f| f.0 == frame)).unwrap();
            table.sched.finished(WorkerId(worker), frame, 0, 1, Some(5_000_000), 0).unwrap();
            table.settle();
        }
        table
    }

    /// Answers every revocation as a worker does that has begun the first task of its first frame, until nothing is left to do.
    fn settle(&mut self) -> Actions {
        let mut all = Vec::new();
        loop {
            let actions = self.sched.take_actions();
            if actions.is_empty() {
                return all;
            }
            for action in actions {
                if let Action::Revoke { worker, frame, keep } = action {
                    let is_front = self.sched.front(worker).is_some_and(|front| front.0 == frame);
                    if self.sched.frames.get(frame).is_none() {
                        continue;
                    }
                    self.answer(worker, frame, u32::from(is_front), keep);
                }
                all.push(show(&action));
            }
        }
    }

    /// The worker has begun `begun` of the tasks that are left of the frame, and keeps what it is to keep.
    fn answer(&mut self, worker: WorkerId, frame: FrameId, begun: u32, keep: Keep) {
        let (first, end) = self.sched.frames.get(frame).unwrap().range;
        let begun = first + begun;
        self.sched.revoked(worker, frame, keep.end(begun, end), 0, self.now);
    }

    fn actions(&mut self) -> Actions {
        self.sched.take_actions().iter().map(show).collect()
    }
}

fn show(action: &Action<char>) -> String {
    match action {
        Action::Start(w) => format!("start {}", w.0),
        Action::Send { worker, range, payload, .. } => {
            format!("send {payload}[{}..{}] to {}", range.0, range.1, worker.0)
        }
        Action::Revoke { worker, keep: Keep::Before(0), .. } => format!("revoke from {}", worker.0),
        Action::Revoke { worker, keep: Keep::Before(task), .. } => format!("revoke [{task}..] from {}", worker.0),
        Action::Revoke { worker, keep: Keep::Half, .. } => format!("revoke half from {}", worker.0),
        Action::Kill { worker, gently: false } => format!("kill {}", worker.0),
        Action::Kill { worker, gently: true } => format!("kill {} gently", worker.0),
        Action::Retire(w) => format!("retire {}", w.0),
        Action::Fail { payload, range, failure, attempt, .. } => {
            format!("fail {payload}[{}..{}] {failure:?} at attempt {attempt}", range.0, range.1)
        }
    }
}

#[test]
fn workers_are_started_as_tasks_need_them() {
    let mut t = Table::new(3);
    assert!(t.actions().is_empty(), "nothing to do, nobody is started");
    t.submit('a', 1);
    assert_eq!(t.actions(), ["start 0"]);
    t.submit('b', 1);
    assert_eq!(t.actions(), ["start 1"]);
    t.submit('c', 1);
    t.submit('d', 1);
    assert_eq!(t.actions(), ["start 2"], "no more than three");
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["send a[0..1] to 1", "send b[0..1] to 1"], "one to run, one to begin right after");
    t.sched.ready(WorkerId(0), 0);
    assert_eq!(t.actions(), ["send c[0..1] to 0", "send d[0..1] to 0"]);
}

#[test]
fn an_idle_worker_takes_what_waits_behind_a_long_task() {
    let mut t = Table::new(2);
    t.submit('a', 1);
    let b = t.submit('b', 1);
    t.actions();
    t.sched.ready(WorkerId(0), 0);
    assert_eq!(t.actions(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["revoke from 0"]);
    t.answer(WorkerId(0), b, 0, Keep::Before(0));
    assert_eq!(t.actions(), ["send b[0..1] to 1"]);
}

#[test]
fn a_frame_that_cannot_be_taken_back_is_not_asked_for_again() {
    let mut t = Table::new(2);
    t.submit('a', 1);
    let b = t.submit('b', 1);
    t.sched.ready(WorkerId(0), 0);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["start 0", "start 1", "send a[0..1] to 0", "send b[0..1] to 0", "revoke from 0"]);
    t.answer(WorkerId(0), b, 1, Keep::Before(0));
    t.sched.tick(1, |_| 0);
    assert!(t.actions().is_empty());
}

#[test]
fn a_death_fails_the_running_task_and_moves_the_others() {
    let mut t = Table::with_ready(1);
    for name in ['a', 'b', 'c'] {
        t.submit(name, 1);
    }
    assert_eq!(t.settle(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    t.sched.died(WorkerId(0), true, 0);
    assert_eq!(t.actions(), ["fail a[0..1] Died(None) at attempt 1", "start 1"]);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["send b[0..1] to 1", "send c[0..1] to 1"], "in their order");
    assert_eq!((t.sched.counts().workers_died, t.sched.counts().workers_died_busy), (1, 1));
}

#[test]
fn a_death_between_tasks_fails_nobody() {
    let mut t = Table::with_ready(1);
    t.submit('a', 1);
    t.settle();
    t.sched.died(WorkerId(0), false, 0);
    assert_eq!(t.actions(), ["start 1"]);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["send a[0..1] to 1"]);
    assert_eq!((t.sched.counts().workers_died, t.sched.counts().workers_died_busy), (1, 0));
}

#[test]
fn neighbours_in_a_chunk_are_not_blamed() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 10);
    t.settle();
    t.sched.finished(WorkerId(0), a, 0, 4, Some(100), 0).unwrap();
    t.sched.died(WorkerId(0), true, 0);
    assert_eq!(t.actions(), ["fail a[4..5] Died(None) at attempt 1", "start 1"]);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["send a[5..10] to 1"]);
}

#[test]
fn a_retry_goes_first_and_alone() {
    let mut t = Table::with_ready(1);
    let a = t.submit_with(
        'a',
        Spec { items: 3, function: 1, timeout: None, retries: 1, retry_on: RetryOn::ALL, priority: 5 },
    );
    t.settle();
    t.sched.finished(WorkerId(0), a, 0, 1, Some(100), 0).unwrap();
    t.sched.died(WorkerId(0), true, 0);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.actions(), ["start 1", "send a[1..2] to 1", "send a[2..3] to 1"]);
    t.sched.died(WorkerId(1), true, 0);
    assert_eq!(t.actions(), ["fail a[1..2] Died(None) at attempt 2", "start 2"]);
    assert_eq!(t.sched.counts().retries, 1);
}

#[test]
fn what_a_worker_says_must_be_what_it_was_sent() {
    let mut t = Table::with_ready(1);
    let (a, b) = (t.submit('a', 3), t.submit('b', 1));
    t.settle();
    let w = WorkerId(0);
    assert!(t.sched.finished(w, b, 0, 1, Some(0), 0).is_err(), "not at its front");
    assert!(t.sched.finished(w, FrameId(a.0 + (1 << 32)), 0, 1, None, 0).is_err(), "a number from the future");
    assert!(t.sched.finished(w, a, 1, 1, Some(0), 0).is_err(), "a task skipped");
    assert!(t.sched.finished(w, a, 0, 4, Some(0), 0).is_err(), "more than there are");
    assert!(t.sched.finished(w, a, 0, 0, Some(0), 0).is_err(), "nothing");
    assert!(t.sched.finished(WorkerId(9), a, 0, 1, Some(0), 0).is_err(), "nobody");
    assert!(t.sched.finished(w, a, 0, 3, Some(0), 0).is_ok());
    assert!(t.sched.finished(w, a, 0, 3, Some(0), 0).is_err(), "twice");
}

#[test]
fn the_clock_of_a_timeout_starts_when_the_task_can() {
    let mut t = Table::with_ready(1);
    let spec = Spec { items: 1, function: 1, timeout: Some(100), retries: 0, retry_on: RetryOn::ALL, priority: 5 };
    let a = t.submit_with('a', spec.clone());
    t.submit_with('b', spec);
    t.settle();
    assert_eq!(t.sched.next_tick(0), Some(100));
    t.sched.finished(WorkerId(0), a, 0, 1, Some(90), 90).unwrap();
    t.sched.tick(150, |_| 0);
    assert!(t.actions().is_empty(), "b has run for 60");
    assert_eq!(t.sched.next_tick(150), Some(190));
    t.sched.tick(190, |_| 0);
    assert_eq!(t.actions(), ["kill 0 gently"]);
    t.sched.died(WorkerId(0), true, 191);
    assert_eq!(t.actions(), ["fail b[0..1] Died(Some(Timeout)) at attempt 1"]);
}

#[test]
fn inside_a_chunk_each_task_has_its_own_clock() {
    let mut t = Table::with_ready(1);
    t.submit_with(
        'a',
        Spec { items: 3, function: 1, timeout: Some(80), retries: 0, retry_on: RetryOn::ALL, priority: 5 },
    );
    t.settle();
    assert_eq!(t.sched.next_tick(0), Some(11));
    t.sched.tick(70, |_| 1);
    t.sched.tick(140, |_| 1);
    assert!(t.actions().is_empty());
    t.sched.tick(150, |_| 1);
    assert_eq!(t.actions(), ["revoke [2..] from 0", "kill 0 gently", "start 1"]);
}

#[test]
fn cancelling_depends_on_how_far_a_frame_is() {
    let mut t = Table::with_ready(1);
    let (a, b, c) = (t.submit('a', 1), t.submit('b', 1), t.submit('c', 1));
    assert_eq!(t.actions(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    assert!(t.sched.cancel_task(c, 0, 0));
    assert_eq!(t.actions(), ["fail c[0..1] Cancelled at attempt 1"]);
    assert!(t.sched.cancel_task(b, 0, 0));
    assert_eq!(t.settle(), ["revoke from 0", "fail b[0..1] Cancelled at attempt 1"]);
    assert!(t.sched.cancel_task(a, 0, 0));
    assert_eq!(t.actions(), ["revoke from 0"]);
    t.answer(WorkerId(0), a, 1, Keep::Before(0));
    assert_eq!(t.actions(), ["kill 0 gently"]);
    t.sched.died(WorkerId(0), true, 0);
    assert_eq!(t.actions(), ["fail a[0..1] Died(Some(Cancel)) at attempt 1"]);
    assert!(!t.sched.cancel_task(a, 0, 0));
}

#[test]
fn a_higher_priority_overtakes_what_was_sent_but_not_begun() {
    let mut t = Table::with_ready(1);
    let urgent = Spec { items: 1, function: 1, timeout: None, retries: 0, retry_on: RetryOn::ALL, priority: 9 };
    t.submit('a', 1);
    t.submit('b', 1);
    t.submit('c', 1);
    assert_eq!(t.settle(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    t.submit_with('!', urgent);
    assert_eq!(t.settle(), ["revoke from 0", "send ![0..1] to 0"]);
    let front = t.sched.front(WorkerId(0)).unwrap().0;
    t.sched.finished(WorkerId(0), front, 0, 1, Some(5_000_000), 0).unwrap();
    assert_eq!(t.settle(), ["send b[0..1] to 0"], "and then in the old order");
}

#[test]
fn only_the_ends_that_count_are_tried_again() {
    let mut t = Table::with_ready(1);
    let retry_on = RetryOn { died: true, timed_out: false, out_of_memory: false };
    let spec = Spec { items: 1, function: 1, timeout: None, retries: 5, retry_on, priority: 5 };
    t.submit_with('a', spec);
    t.settle();
    t.sched.died(WorkerId(0), true, 0);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.settle(), ["start 1", "send a[0..1] to 1"]);
    let a = t.sched.front(WorkerId(1)).unwrap().0;
    t.sched.doom_for(WorkerId(1), a, 0, Doom::Timeout);
    t.sched.died(WorkerId(1), true, 0);
    assert_eq!(t.settle(), ["kill 1 gently", "fail a[0..1] Died(Some(Timeout)) at attempt 2"]);
}

#[test]
fn a_worn_worker_is_replaced_without_running_more_tasks_at_once() {
    let mut t = Table::new(1);
    t.sched.set_tasks_per_worker(Some(2));
    let frames: Vec<FrameId> = ['a', 'b', 'c', 'd'].map(|name| t.submit(name, 1)).to_vec();
    t.sched.ready(WorkerId(0), 0);
    assert_eq!(t.settle(), ["start 0", "send a[0..1] to 0", "send b[0..1] to 0", "retire 0", "start 1"]);
    t.sched.ready(WorkerId(1), 0);
    assert!(t.settle().is_empty(), "one worker is busy, and one is all there may be");
    t.sched.finished(WorkerId(0), frames[0], 0, 1, Some(5_000_000), 0).unwrap();
    assert!(t.settle().is_empty());
    t.sched.finished(WorkerId(0), frames[1], 0, 1, Some(5_000_000), 0).unwrap();
    assert_eq!(t.settle(), ["send c[0..1] to 1", "send d[0..1] to 1", "retire 1", "start 2"]);
    t.sched.died(WorkerId(0), false, 0);
    assert_eq!((t.sched.counts().workers_recycled, t.sched.counts().workers_died), (2, 0));
}

#[test]
fn a_worker_that_cleans_up_begins_nothing_more() {
    let mut t = Table::with_ready(2);
    let spec = Spec { items: 1, function: 1, timeout: Some(100), retries: 0, retry_on: RetryOn::ALL, priority: 5 };
    for name in ['a', 'b', 'c', 'd'] {
        t.submit_with(name, spec.clone());
    }
    assert_eq!(t.settle(), ["send a[0..1] to 0", "send b[0..1] to 1", "send c[0..1] to 0", "send d[0..1] to 1"]);
    t.now = 60;
    let b = t.sched.front(WorkerId(1)).unwrap().0;
    t.sched.finished(WorkerId(1), b, 0, 1, Some(60), 60).unwrap();
    t.sched.tick(100, |_| 0);
    let actions = t.settle();
    assert_eq!(actions[..2], ["revoke from 0", "kill 0 gently"]);
    assert!(actions.contains(&"send c[0..1] to 1".to_string()), "{actions:?}");
}

#[test]
fn a_worker_is_ended_only_for_the_task_it_is_at() {
    let mut t = Table::with_ready(1);
    let (a, b) = (t.submit('a', 1), t.submit('b', 1));
    t.settle();
    t.sched.doom_for(WorkerId(0), a, 0, Doom::Timeout);
    assert_eq!(t.actions(), ["revoke from 0", "kill 0 gently"]);
    // It was quicker: it has finished a and begun b.
    t.answer(WorkerId(0), b, 1, Keep::Before(0));
    t.sched.finished(WorkerId(0), a, 0, 1, Some(5_000_000), 0).unwrap();
    assert!(!t.sched.is_guilty(WorkerId(0)));
    t.sched.pardon(WorkerId(0), 0);
    t.sched.finished(WorkerId(0), b, 0, 1, Some(5_000_000), 0).unwrap();
    assert!(t.settle().is_empty());
    let c = t.submit('c', 1);
    assert_eq!(t.settle(), ["send c[0..1] to 0"], "and it goes on");
    t.sched.doom_for(WorkerId(0), c, 0, Doom::Timeout);
    assert!(t.sched.is_guilty(WorkerId(0)));
}

#[test]
fn in_a_chunk_only_the_guilty_task_ends_with_its_worker() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 3);
    t.settle();
    t.sched.doom_for(WorkerId(0), a, 0, Doom::Timeout);
    assert_eq!(t.settle(), ["revoke [1..] from 0", "kill 0 gently", "start 1"]);
    assert!(t.sched.is_guilty(WorkerId(0)));
    t.sched.died(WorkerId(0), true, 0);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.settle(), ["fail a[0..1] Died(Some(Timeout)) at attempt 1", "send a[1..3] to 1"]);

    // It was quicker, and has begun the next one: there is nothing to end it for.
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 3);
    t.settle();
    t.sched.doom_for(WorkerId(0), a, 0, Doom::Timeout);
    t.answer(WorkerId(0), a, 2, Keep::Before(1));
    assert!(!t.sched.is_guilty(WorkerId(0)));
    t.sched.finished(WorkerId(0), a, 0, 2, None, 0).unwrap();
    assert_eq!(t.settle().last().unwrap(), "send a[2..3] to 0");

    // What was finished and not shown yet does not clear the one after it.
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 3);
    t.settle();
    t.sched.doom_for(WorkerId(0), a, 2, Doom::Timeout);
    t.sched.finished(WorkerId(0), a, 0, 2, Some(100), 0).unwrap();
    assert!(t.sched.is_guilty(WorkerId(0)));
    t.sched.died(WorkerId(0), true, 0);
    assert!(t.settle().contains(&"fail a[2..3] Died(Some(Timeout)) at attempt 1".to_string()));
}

#[test]
fn short_tasks_of_a_kind_travel_together() {
    let mut t = Table::with_ready(1);
    let spec = Spec { items: 1, function: 1, timeout: None, retries: 0, retry_on: RetryOn::ALL, priority: 5 };
    let a = t.submit('a', 1);
    t.submit('b', 1);
    assert!(t.sched.join(&spec, |_| true).is_none(), "nothing waits");
    let c = t.submit('c', 1);
    assert!(t.sched.join(&spec, |_| true).is_none(), "such tasks were long");
    for _ in 0..200 {
        t.sched.look_ahead.learn(1, 1_000);
    }
    assert!(t.sched.join(&Spec { priority: 4, ..spec.clone() }, |_| true).is_none(), "of another priority");
    assert!(t.sched.join(&Spec { retries: 1, ..spec.clone() }, |_| true).is_none(), "of another kind");
    assert!(t.sched.join(&spec, |_| false).is_none(), "it does not fit");
    for task in 1..4 {
        assert_eq!(t.sched.join(&spec, |payload| *payload == 'c'), Some((c, task)));
    }
    assert_eq!(t.settle(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    assert!(t.sched.cancel_task(c, 1, 0) && !t.sched.cancel_task(c, 1, 0));
    assert_eq!(t.settle(), ["fail c[1..2] Cancelled at attempt 1"]);
    assert!(t.sched.join(&spec, |_| true).is_none(), "it was taken apart");
    t.sched.finished(WorkerId(0), a, 0, 1, None, 0).unwrap();
    assert_eq!(t.settle(), ["send c[0..1] to 0", "send c[2..4] to 0"], "around the one that was cancelled");
    assert!(t.sched.cancel_task(c, 3, 0));
    assert_eq!(t.settle(), ["revoke [3..] from 0", "fail c[3..4] Cancelled at attempt 1"]);
    assert!(t.sched.knows(c));
}

#[test]
fn a_cancelled_task_that_runs_takes_only_itself_along() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 4);
    t.settle();
    t.sched.finished(WorkerId(0), a, 0, 1, None, 0).unwrap();
    assert!(!t.sched.cancel_task(a, 0, 0), "it has ended");
    assert!(t.sched.cancel_task(a, 1, 0));
    assert_eq!(t.settle(), ["revoke [1..] from 0", "kill 0 gently", "start 1"]);
    t.sched.died(WorkerId(0), true, 0);
    t.sched.ready(WorkerId(1), 0);
    assert_eq!(t.settle(), ["fail a[1..2] Died(Some(Cancel)) at attempt 1", "send a[2..4] to 1"]);
    assert!(t.sched.cancel_task(a, 3, 0), "also where the rest has gone");
    assert_eq!(t.settle(), ["revoke [3..] from 1", "fail a[3..4] Cancelled at attempt 1"]);
}

#[test]
fn a_worker_that_has_begun_all_and_finished_none_is_convicted_once() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 4);
    t.settle();
    assert!(t.sched.cancel_task(a, 1, 0));
    assert_eq!(t.actions(), ["revoke [1..] from 0"]);
    t.answer(WorkerId(0), a, 4, Keep::Before(1));
    assert_eq!(t.actions(), ["revoke [2..] from 0", "kill 0 gently"]);
    t.answer(WorkerId(0), a, 4, Keep::Before(2));
    assert!(!t.sched.is_guilty(WorkerId(0)), "it has begun a later one");
    assert_eq!(t.actions(), Actions::new(), "the same again would go on for ever");
}

#[test]
fn an_idle_worker_takes_half_of_what_waits_in_a_frame() {
    let mut t = Table::with_ready(2);
    let a = t.submit('a', 9);
    assert_eq!(t.settle(), ["send a[0..9] to 0", "revoke half from 0", "send a[5..9] to 1"]);
    t.sched.finished(WorkerId(0), a, 0, 5, None, 0).unwrap();
    assert_eq!(t.settle(), ["revoke half from 1", "send a[7..9] to 0"]);
}

/// Two idle workers, and tasks that take a microsecond.
fn with_short_tasks() -> Table {
    let mut t = Table::with_ready(2);
    (0..200).for_each(|_| t.sched.look_ahead.learn(1, 1_000));
    t
}

#[test]
fn a_short_task_waits_where_it_is_done_before_another_worker_is_awake() {
    let mut t = with_short_tasks();
    let a = t.submit('a', 1);
    t.submit('b', 1);
    assert_eq!(t.settle(), ["send a[0..1] to 0", "send b[0..1] to 0"]);
    t.submit('c', 100);
    assert_eq!(t.settle(), ["send c[0..100] to 1"], "that is worth waking it");
    t.sched.finished(WorkerId(0), a, 0, 1, Some(1_000), 0).unwrap();
    t.submit_with('d', Spec { function: 2, ..spec_of(1) });
    assert_eq!(t.settle(), ["send d[0..1] to 0"], "nothing is known of it, so it goes where least waits");
}

#[test]
fn who_waits_for_a_worker_that_is_late_goes_elsewhere() {
    let mut t = with_short_tasks();
    t.submit('a', 1);
    t.submit('b', 1);
    t.settle();
    t.sched.submit_growing('c', spec_of(1), t.now).unwrap();
    assert_eq!(t.settle(), Actions::new(), "it may grow until worker 0 is done");
    let late = t.sched.next_tick(t.now).unwrap();
    t.sched.tick(late - 1, |_| 0);
    assert_eq!((t.settle(), t.sched.next_tick(late - 1)), (Actions::new(), Some(late)));
    t.sched.tick(late, |_| 0);
    assert_eq!(t.settle(), ["send c[0..1] to 1"]);
}

#[test]
fn little_work_is_taken_only_from_a_worker_that_is_late() {
    let mut t = with_short_tasks();
    t.submit('a', 10);
    t.submit('b', 10);
    assert_eq!(t.settle(), ["send a[0..10] to 0", "send b[0..10] to 0"]);
    let late = t.sched.next_tick(t.now).unwrap();
    t.sched.tick(late - 1, |_| 0);
    assert_eq!((t.settle(), t.sched.next_tick(late - 1)), (Actions::new(), Some(late)));
    t.now = late;
    t.sched.tick(late, |_| 0);
    assert_eq!(t.settle(), ["revoke from 0", "send b[0..10] to 1"]);
}

#[test]
fn what_is_deferred_gathers_until_something_happens() {
    let mut t = with_short_tasks();
    let a = t.submit('a', 1);
    t.settle();
    t.sched.set_defers(true);
    t.sched.submit_growing('b', spec_of(1), t.now).unwrap();
    assert!(t.sched.join(&spec_of(1), |_| true).is_some());
    assert_eq!(t.settle(), Actions::new());
    t.sched.tick(t.now, |_| 0);
    assert_eq!(t.settle(), ["send b[0..2] to 0"]);
    t.submit('c', 300);
    assert_eq!(t.settle(), Actions::new());
    t.sched.finished(WorkerId(0), a, 0, 1, Some(1_000), 0).unwrap();
    assert_eq!(t.settle(), ["send c[0..300] to 1"]);
    t.submit('d', 300);
    t.sched.hand_out_deferred(t.now);
    assert_eq!(t.settle(), ["send d[0..300] to 0"]);
}

fn spec_of(items: u32) -> Spec {
    Spec { items, function: 1, timeout: None, retries: 0, retry_on: RetryOn::ALL, priority: 5 }
}

#[test]
fn three_failed_starts_end_the_waiting() {
    let mut t = Table::new(2);
    t.submit('a', 1);
    t.submit('b', 1);
    assert_eq!(t.actions(), ["start 0", "start 1"]);
    t.sched.died(WorkerId(0), false, 0);
    assert_eq!(t.actions(), ["start 2"]);
    t.sched.died(WorkerId(1), false, 0);
    assert_eq!(t.actions(), ["start 3"]);
    t.sched.died(WorkerId(2), false, 0);
    assert!(t.actions().is_empty(), "one is still on its way");
    t.sched.died(WorkerId(3), false, 0);
    assert_eq!(t.actions(), ["fail a[0..1] NoWorker at attempt 1", "fail b[0..1] NoWorker at attempt 1"]);
    let spec = Spec { items: 1, function: 1, timeout: None, retries: 0, retry_on: RetryOn::ALL, priority: 5 };
    assert_eq!(t.sched.submit('c', spec.clone(), PAUSE - 1), Err(Failure::NoWorker));
    assert!(t.sched.submit('d', spec.clone(), PAUSE).is_ok());
    assert_eq!(t.actions(), ["start 4"], "one more try after a pause");
    t.sched.died(WorkerId(4), false, PAUSE);
    assert_eq!(t.actions(), ["fail d[0..1] NoWorker at attempt 1"]);
    assert_eq!(t.sched.submit('e', spec.clone(), PAUSE + 1), Err(Failure::NoWorker));
    assert!(t.sched.submit('f', spec, 2 * PAUSE).is_ok());
    t.sched.ready(WorkerId(5), 2 * PAUSE);
    assert_eq!(t.actions(), ["start 5", "send f[0..1] to 5"], "what was in the way has passed");
}

#[test]
fn a_smaller_pool_lets_workers_finish() {
    let mut t = Table::with_ready(2);
    t.submit('a', 1);
    t.submit('b', 1);
    t.submit('c', 1);
    t.settle();
    t.sched.resize(1, 0);
    assert_eq!(t.settle(), ["retire 1"]);
    let last = t.sched.front(WorkerId(1)).unwrap().0;
    t.sched.finished(WorkerId(1), last, 0, 1, Some(5_000_000), 0).unwrap();
    t.sched.died(WorkerId(1), false, 0);
    assert_eq!(t.sched.counts().workers_died, 0, "that was no accident");
}

#[test]
fn closing_waits_or_does_not() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 1);
    t.settle();
    t.sched.close(false, 0);
    assert!(t.actions().is_empty() && !t.sched.is_over());
    t.sched.finished(WorkerId(0), a, 0, 1, Some(0), 0).unwrap();
    assert_eq!(t.actions(), ["retire 0"]);
    t.sched.died(WorkerId(0), false, 0);
    assert!(t.sched.is_over());

    let mut t = Table::with_ready(1);
    for name in ['a', 'b', 'c'] {
        t.submit(name, 1);
    }
    t.settle();
    t.sched.close(true, 0);
    assert_eq!(t.settle(), ["fail c[0..1] Closed at attempt 1", "kill 0", "kill 0"]);
    t.sched.died(WorkerId(0), true, 0);
    assert_eq!(t.actions(), ["fail b[0..1] Closed at attempt 1", "fail a[0..1] Died(Some(Shutdown)) at attempt 1"]);
    assert!(t.sched.is_over());
}

#[test]
fn a_full_ring_is_tried_again() {
    let mut t = Table::with_ready(1);
    let a = t.submit('a', 1);
    t.actions();
    t.sched.refused(WorkerId(0), a);
    t.sched.tick(0, |_| 0);
    assert_eq!(t.actions(), ["send a[0..1] to 0"]);
    t.sched.refused(WorkerId(0), a);
    assert_eq!(t.sched.next_tick(7), Some(7 + MILLISECOND));
}
