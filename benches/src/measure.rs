//! What is measured, and how: the same for every peer that is written in Rust.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::{Result, tasks};

/// Samples by the name of their measure.
pub(crate) type Figures = BTreeMap<String, Vec<f64>>;

/// A pool as the measurements use it.
pub(crate) trait Peer: Sized {
    /// Builds a pool.
    fn start(workers: usize) -> Result<Self>;
    /// Submits one task that does nothing, waits for it.
    fn round_trip(&self) -> Result<()>;
    /// Submits `tasks` tasks that do nothing, one by one, then waits for all.
    fn gather(&self, tasks: u64) -> Result<()>;
    /// Maps a function that does nothing over `tasks` inputs. `None` if the pool has no such call.
    fn map(&self, tasks: u64) -> Option<Result<()>>;
    /// Submits `tasks` tasks of [`tasks::compute`], one by one, then waits for all.
    fn gather_work(&self, tasks: u64, steps: u64) -> Result<()>;
    /// Maps [`tasks::compute`] over `tasks` inputs. `None` if the pool has no such call.
    fn map_work(&self, tasks: u64, steps: u64) -> Option<Result<()>>;
    /// Maps [`tasks::compute`] over different numbers of steps. `None` if the pool has no such call.
    fn map_skewed(&self, _steps: &[u64]) -> Option<Result<()>> {
        None
    }
    /// Hands bytes to a worker. `None` if it takes them without a copy.
    fn send(&self, bytes: Vec<u8>) -> Option<Result<u64>>;
    /// Hands bytes to a worker that looks at them where they arrive. `None` if the pool cannot.
    fn hand(&self, _bytes: Vec<u8>, _times: u32) -> Option<Result<Vec<Duration>>> {
        None
    }
    /// Hands bytes to a worker that gives them back. `None` if it does so without a copy.
    fn echo(&self, bytes: Vec<u8>) -> Option<Result<Vec<u8>>>;
    /// As `echo`, with numbers. `None` if it does so without a copy, or takes only bytes.
    fn echo_numbers(&self, _numbers: Vec<f64>) -> Option<Result<Vec<f64>>> {
        None
    }
    /// Hands a worker the same bytes again and again, without a copy; it reads some of them. `None` if the pool cannot.
    fn lend(&self, _bytes: &[u8], _times: u32) -> Option<Result<Vec<Duration>>> {
        None
    }
    /// Ends the pool when nothing is left to do, and waits for that.
    fn shut_down(self);
}

/// The names of the measures, in the order of the report, with what a reader calls them and their unit. The Python script
/// uses the same names.
pub(crate) const MEASURES: [(&str, &str, &str); 18] = [
    ("start_ms", "pool built and first result", "ms"),
    ("round_trip_p50_us", "submit, wait: median", "us"),
    ("round_trip_p99_us", "submit, wait: 99th percentile", "us"),
    ("gather_per_s", "submit many, then wait", "tasks/s"),
    ("map_per_s", "map", "tasks/s"),
    ("send_gb_s", "64 MiB to a worker", "GB/s"),
    ("hand_gb_s", "64 MiB to a worker, read in place", "GB/s"),
    ("echo_gb_s", "64 MiB to a worker and back", "GB/s"),
    ("numbers_gb_s", "8 Mi f64 to a worker and back", "GB/s"),
    ("lend_us", "64 MiB shared with a worker, not copied", "us"),
    ("gather_5us_share", "5 us tasks, submitted: cores used", "%"),
    ("gather_20us_share", "20 us tasks, submitted: cores used", "%"),
    ("gather_100us_share", "100 us tasks, submitted: cores used", "%"),
    ("map_5us_share", "5 us tasks, map: cores used", "%"),
    ("map_20us_share", "20 us tasks, map: cores used", "%"),
    ("map_100us_share", "100 us tasks, map: cores used", "%"),
    ("skewed_share", "one task 1000 times longer, map: cores used", "%"),
    ("shutdown_ms", "shutdown", "ms"),
];

/// Measures `P` once.
pub(crate) fn round<P: Peer>(plan: &Plan) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut add = |name: &str, value: f64| figures.entry(name.to_string()).or_default().push(value);

    for _ in 0..plan.starts {
        let start = Instant::now();
        let pool = P::start(plan.workers)?;
        pool.round_trip()?;
        add("start_ms", start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        pool.shut_down();
        add("shutdown_ms", start.elapsed().as_secs_f64() * 1e3);
    }

    let pool = P::start(plan.workers)?;
    for _ in 0..plan.warm_up {
        pool.round_trip()?;
    }
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < plan.round_trips_s {
        let start = Instant::now();
        pool.round_trip()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    add("round_trip_p50_us", percentile(&times, 50) * 1e6);
    add("round_trip_p99_us", percentile(&times, 99) * 1e6);

    let (tasks, seconds) = enough(plan, 256, |tasks| pool.gather(tasks))?;
    add("gather_per_s", tasks as f64 / seconds);
    if let Some(first) = pool.map(1) {
        first?;
        let (tasks, seconds) = enough(plan, 16_384, |tasks| pool.map(tasks).unwrap_or(Ok(())))?;
        add("map_per_s", tasks as f64 / seconds);
    }

    // Once before it counts: the first time, memory is made.
    if let Some(sent) = pool.send(vec![7; plan.bytes]) {
        sent?;
    }
    if let Some(back) = pool.echo(vec![7; plan.bytes]) {
        back?;
    }
    for _ in 0..plan.transfers {
        let bytes = vec![7; plan.bytes];
        let start = Instant::now();
        if let Some(sent) = pool.send(bytes) {
            sent?;
            add("send_gb_s", plan.bytes as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
        let bytes = vec![7; plan.bytes];
        let start = Instant::now();
        if let Some(back) = pool.echo(bytes) {
            let both_ways = plan.bytes + back?.len();
            add("echo_gb_s", both_ways as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
        let numbers = vec![0.5; plan.bytes / 8];
        let start = Instant::now();
        if let Some(back) = pool.echo_numbers(numbers) {
            let both_ways = plan.bytes + 8 * back?.len();
            add("numbers_gb_s", both_ways as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
    }
    if let Some(times) = pool.hand(vec![7; plan.bytes], plan.transfers + 1) {
        // The first time, memory is made.
        for time in times?.into_iter().skip(1) {
            add("hand_gb_s", plan.bytes as f64 / time.as_secs_f64() / 1e9);
        }
    }
    if let Some(times) = pool.lend(&vec![7; plan.bytes], plan.warm_up) {
        let mut times = times?;
        times.sort_unstable();
        add("lend_us", percentile(&times, 50) * 1e6);
    }

    shares(&pool, plan, &mut add)?;
    pool.shut_down();
    Ok(figures)
}

/// Measures what workers cost together: only the measures that say something about any number of them.
pub(crate) fn scaling<P: Peer>(plan: &Plan) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut add = |name: &str, value: f64| figures.entry(name.to_string()).or_default().push(value);
    let pool = P::start(plan.workers)?;
    for _ in 0..plan.warm_up {
        pool.round_trip()?;
    }
    shares(&pool, plan, &mut add)?;
    pool.shut_down();
    Ok(figures)
}

/// Measures which share of its workers' time `pool` spends in tasks.
fn shares<P: Peer>(pool: &P, plan: &Plan, add: &mut impl FnMut(&str, f64)) -> Result<()> {
    let steps_per_us = tasks::steps_per_us();
    for us in plan.task_us {
        let steps = (steps_per_us * us as f64) as u64;
        let share = |(tasks, seconds)| 100.0 * tasks as f64 * us as f64 / 1e6 / (seconds * plan.workers as f64);
        add(&format!("gather_{us}us_share"), share(enough(plan, 256, |tasks| pool.gather_work(tasks, steps))?));
        if let Some(first) = pool.map_work(1, steps) {
            first?;
            let run = |tasks| pool.map_work(tasks, steps).unwrap_or(Ok(()));
            add(&format!("map_{us}us_share"), share(enough(plan, 256, run)?));
        }
    }
    // A worker that takes the long one alone leaves more work to each of the others than it has: at best all work to the end.
    let tasks = 1000 * plan.workers;
    let skewed: Vec<u64> = (0..tasks).map(|n| steps_per_us as u64 * if n == 700 { 100_000 } else { 100 }).collect();
    let best_s = (100.0 * (tasks - 1) as f64 + 100_000.0) / 1e6 / plan.workers as f64;
    for _ in 0..3 {
        let start = Instant::now();
        if let Some(done) = pool.map_skewed(&skewed) {
            done?;
            add("skewed_share", 100.0 * best_s / start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Runs `run` with four times as many tasks each time, beginning with `tasks`, until it takes long enough, and then twice more:
/// a run that took long only because something else was going on must not be the one that counts. Returns the last number of
/// tasks and the median of the seconds they took; the runs before were its warm-up.
fn enough(plan: &Plan, mut tasks: u64, mut run: impl FnMut(u64) -> Result<()>) -> Result<(u64, f64)> {
    let mut timed = |tasks| {
        let start = Instant::now();
        run(tasks).map(|()| start.elapsed().as_secs_f64())
    };
    loop {
        let first = timed(tasks)?;
        if first >= plan.throughput_s {
            let mut seconds = [first, timed(tasks)?, timed(tasks)?];
            seconds.sort_by(f64::total_cmp);
            return Ok((tasks, seconds[1]));
        }
        tasks *= 4;
    }
}

/// In seconds, of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, Duration::as_secs_f64)
}
