//! Random events against a model that keeps its own books: whatever the order, every accepted task ends exactly once, none
//! is begun more often than it may be, and the pool comes to its end.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::*;

/// Xorshift; the seed is in the message of every failure.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A worker as it really is, which the scheduler only hears of.
#[derive(Default)]
struct Real {
    ready: bool,
    ring: VecDeque<(FrameId, u32, u32, u64)>,
    running: bool,
    retired: bool,
    killed: bool,
}

struct World {
    sched: Sched<u64>,
    real: BTreeMap<WorkerId, Real>,
    /// (frame's number, task) -> times begun, times ended.
    books: HashMap<(u64, u32), (u32, u32)>,
    retries: u32,
    random: Random,
    now: Nanos,
}

impl World {
    fn act(&mut self) {
        loop {
            let actions = self.sched.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Start(w) => drop(self.real.insert(w, Real::default())),
                    Action::Send { worker, frame, range, payload } => match self.real.get_mut(&worker) {
                        Some(_) if self.random.below(10) == 0 => self.sched.refused(worker, frame),
                        Some(real) => {
                            assert!(real.ready && !real.killed && !real.retired);
                            real.ring.push_back((frame, range.0, range.1, payload));
                        }
                        None => {}
                    },
                    Action::Revoke { worker, frame, keep } => {
                        let Some(real) = self.real.get_mut(&worker) else { continue };
                        let Some(at) = real.ring.iter().position(|f| f.0 == frame) else { continue };
                        let (_, next, end, _) = real.ring[at];
                        let begun = next + u32::from(at == 0 && real.running);
                        let kept = keep.end(begun, end);
                        real.ring[at].2 = kept;
                        if kept == next {
                            real.ring.remove(at);
                        }
                        self.sched.revoked(worker, frame, kept, 0, self.now);
                    }
                    Action::Kill { worker, .. } if !self.sched.is_guilty(worker) => self.sched.pardon(worker, self.now),
                    Action::Kill { worker, .. } => {
                        if let Some(real) = self.real.get_mut(&worker) {
                            real.killed = true;
                        }
                    }
                    Action::Retire(w) => {
                        if let Some(real) = self.real.get_mut(&w) {
                            real.retired = true;
                        }
                    }
                    Action::Fail { payload, range, .. } => {
                        for task in range.0..range.1 {
                            self.books.get_mut(&(payload, task)).unwrap().1 += 1;
                        }
                    }
                }
            }
        }
    }

    fn pick(&mut self) -> Option<WorkerId> {
        let n = self.real.len() as u64;
        if n == 0 { None } else { self.real.keys().nth(self.random.below(n) as usize).copied() }
    }

    /// Something happens to a worker.
    fn step_worker(&mut self) {
        let Some(w) = self.pick() else { return };
        let Some(real) = self.real.get_mut(&w) else { return };
        let dies = real.killed || self.random.below(12) == 0;
        if dies || (real.retired && real.ring.is_empty()) {
            let running = real.running;
            self.real.remove(&w);
            self.sched.died(w, running, self.now);
        } else if !real.ready {
            real.ready = true;
            self.sched.ready(w, self.now);
        } else if let Some(front) = real.ring.front_mut() {
            if !real.running {
                real.running = true;
                self.books.get_mut(&(front.3, front.1)).unwrap().0 += 1;
            } else {
                let (frame, task, end, payload) = *front;
                real.running = false;
                front.1 += 1;
                if front.1 == end {
                    real.ring.pop_front();
                }
                self.books.get_mut(&(payload, task)).unwrap().1 += 1;
                let delivered = self.sched.finished(w, frame, task, 1, Some(1000), self.now).unwrap();
                assert_eq!(delivered.payload, payload);
            }
        }
        self.act();
    }
}

fn run(seed: u64) {
    let mut random = Random(seed | 1);
    let retries = random.below(3) as u32;
    let workers = 1 + random.below(4) as usize;
    let mut world =
        World { sched: Sched::new(workers), real: BTreeMap::new(), books: HashMap::new(), retries, random, now: 0 };
    let mut frames = Vec::new();
    for step in 0..400u64 {
        world.now += 100;
        match world.random.below(20) {
            0..5 => {
                let items = 1 + world.random.below(4) as u32;
                let timeout = (world.random.below(4) == 0).then_some(2000);
                let spec = Spec {
                    items,
                    function: world.random.below(3),
                    timeout,
                    retries,
                    retry_on: RetryOn::ALL,
                    priority: world.random.below(10) as u8,
                };
                let one = Spec { items: 1, ..spec };
                let mut group = 0;
                let grows = world.random.below(2) == 0;
                let submit = if grows { Sched::submit_growing } else { Sched::submit };
                let add = |payload: &mut u64| {
                    group = *payload;
                    true
                };
                if let Some((frame, task)) = world.sched.join(&one, add) {
                    world.books.insert((group, task), (0, 0));
                    frames.push((frame, task + 1));
                } else if let Ok(frame) = submit(&mut world.sched, step, spec, world.now) {
                    world.books.extend((0..items).map(|task| ((step, task), (0, 0))));
                    frames.push((frame, items));
                }
            }
            5 if !frames.is_empty() => {
                let (frame, items) = frames[world.random.below(frames.len() as u64) as usize];
                if world.random.below(4) == 0 {
                    world.sched.cancel(frame, world.now);
                } else {
                    let task = world.random.below(u64::from(items)) as u32;
                    world.sched.cancel_task(frame, task, world.now);
                }
            }
            6 => world.sched.tick(world.now, |_| 0),
            7 if world.random.below(4) == 0 => {
                let target = 1 + world.random.below(5) as usize;
                world.sched.resize(target, world.now);
            }
            8 if world.random.below(10) == 0 => world.sched.cancel_pending(world.now),
            9 => {
                let defers = world.random.below(2) == 0;
                world.sched.set_defers(defers);
            }
            _ => world.step_worker(),
        }
        world.act();
    }
    let at_once = world.random.below(2) == 0;
    world.sched.close(at_once, world.now);
    world.act();
    let mut steps = 0;
    while !world.sched.is_over() {
        world.now += 100;
        world.sched.tick(world.now, |_| 0);
        world.act();
        world.step_worker();
        steps += 1;
        assert!(steps < 100_000, "seed {seed}: never over: {:?}", world.sched);
    }
    assert!(world.real.is_empty(), "seed {seed}: a worker is left");
    for ((frame, task), (begun, ended)) in world.books {
        assert_eq!(ended, 1, "seed {seed}: task {task} of frame {frame}");
        assert!(begun <= 1 + world.retries, "seed {seed}: task {task} of frame {frame} was begun {begun} times");
    }
}

#[test]
fn invariant_1_every_accepted_task_ends_exactly_once_whatever_happens() {
    for seed in 1..3000u64 {
        run(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
    }
}
