//! Workers killed at random while tasks run, and the books checked against what the tasks wrote down themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use procpool::{Kind, Pool};
use rustix::process::Signal;

use crate::notes::{Notes, note};
use crate::random::Random;
use crate::{assert_alive, end, sys};

/// Who is killed.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A random worker, whatever it does.
    Any,
    /// The worker that was the last to begin a task. A pool gives up when three workers in a row cannot start, so whoever
    /// kills faster than workers start must spare those that do.
    Begun,
}

/// How a storm went.
#[derive(Debug, Default)]
pub struct Weather {
    pub tasks: u64,
    pub kills: u64,
    pub failed: u64,
    /// From a kill to the first task of the replacement, in nanoseconds, ascending.
    pub replaced: Vec<u64>,
}

impl Weather {
    pub fn report(&self) {
        let at = |part: f64| {
            self.replaced.get(((self.replaced.len() as f64 - 1.0) * part) as usize).map_or(0, |ns| ns / 1000)
        };
        println!(
            "{} tasks, {} kills, {} tasks died; from a kill to the replacement's first task: p50 {} us, p99 {} us",
            self.tasks,
            self.kills,
            self.failed,
            at(0.5),
            at(0.99)
        );
    }
}

/// A task that notes its begin and end, and takes `micros` in between.
fn task((path, number, micros): (String, u64, u64)) -> u64 {
    note(&path, "begin", number);
    let until = sys::now() + micros * 1000;
    while sys::now() < until {
        // Half of the tasks compute, half of them wait.
        if number.is_multiple_of(2) {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    note(&path, "end", number);
    number
}

/// Runs `tasks` tasks of 1 to 50 ms, or `longest_us` at most, while a random worker is killed every `pause`. Asserts that
/// each task ends once, that it failed only if its own worker was killed under it, and that none was begun more than
/// `retries + 1` times.
pub fn kill_workers(
    workers: usize,
    tasks: u64,
    longest_us: u64,
    (pause, target): (Duration, Target),
    retries: u32,
) -> Weather {
    let notes = Notes::new();
    let path = notes.path();
    let pool = Pool::builder().workers(workers).retries(retries).build().unwrap();
    let over = AtomicBool::new(false);
    let mut random = Random::new();
    let mut lengths = random.clone();
    let mut outcomes = BTreeMap::new();
    let kills = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut kills = Vec::new();
            while !over.load(Relaxed) {
                std::thread::sleep(pause);
                let pids = match target {
                    Target::Any => pool.worker_pids(),
                    Target::Begun => notes.last_pid().into_iter().collect(),
                };
                if let Some(&pid) = pids.get(random.below(pids.len() as u64) as usize)
                    && sys::kill(pid, Signal::KILL)
                {
                    kills.push((pid, sys::now()));
                }
            }
            kills
        });
        let inputs = (0..tasks).map(|n| (path.clone(), n, 1000 + lengths.below(longest_us - 1000)));
        for (index, outcome) in pool.map_unordered(task, inputs).chunk_size(1) {
            assert!(outcomes.insert(index as u64, outcome).is_none(), "task {index} ended twice");
        }
        over.store(true, Relaxed);
        killer.join().unwrap()
    });
    let stats = pool.stats();
    assert_alive(&pool);
    end(pool);

    assert_eq!(outcomes.len() as u64, tasks, "tasks are lost");
    let (begun, ended) = (notes.count("begin"), notes.count("end"));
    let mut failed = BTreeSet::new();
    let killed: BTreeSet<u32> = kills.iter().map(|(pid, _)| *pid).collect();
    for (&number, outcome) in &outcomes {
        let begins = begun.get(&number).copied().unwrap_or(0);
        match outcome {
            Ok(value) => {
                assert_eq!(*value, number);
                assert!(ended.contains_key(&number), "task {number} has an output without having run to its end");
                assert!((1..=retries + 1).contains(&begins), "task {number} was begun {begins} times");
            }
            Err(error) => {
                assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())), "{error}");
                assert_eq!(error.attempt(), retries + 1);
                assert!(killed.contains(&error.pid().unwrap()), "{error}: that worker was not killed");
                assert!(begins <= retries + 1, "task {number} was begun {begins} times");
                failed.insert(number);
            }
        }
    }
    let begins: u32 = begun.values().sum();
    let reruns = u64::from(begins).saturating_sub(begun.len() as u64);
    assert!(reruns <= stats.retries, "{reruns} tasks were begun again, {} by the pool's own account", stats.retries);
    assert_eq!(stats.workers_died_busy, failed.len() as u64 + stats.retries, "{stats:?}");
    assert_eq!((stats.tasks_ok, stats.tasks_failed), (tasks - failed.len() as u64, failed.len() as u64));
    Weather { tasks, kills: killed.len() as u64, failed: failed.len() as u64, replaced: replacements(&notes, &kills) }
}

/// The times from a kill to the first task of the next worker that had none before.
fn replacements(notes: &Notes, kills: &[(u32, u64)]) -> Vec<u64> {
    let mut first = BTreeMap::new();
    for note in notes.all().into_iter().filter(|note| note.what == "begin") {
        first.entry(note.pid).or_insert(note.at);
    }
    let mut starts: Vec<u64> = first.into_values().collect();
    starts.sort_unstable();
    let mut times = Vec::new();
    let mut next = starts.into_iter().peekable();
    for &(_, at) in kills {
        while next.next_if(|start| *start < at).is_some() {}
        times.extend(next.next().map(|start| start - at));
    }
    times.sort_unstable();
    times
}
