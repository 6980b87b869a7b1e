//! Runs a job: every input through the pool, every outcome into the report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procpool::{Kind, Pool, Sandbox, TaskOptions};
use rustix::process::{Resource, Rlimit};
use serde::{Serialize, de::DeserializeOwned};

use super::bar::Bar;
use super::exit;
use super::failure::JobError;
use super::interrupt::{Interruptible, Interrupts};
use super::record::Record;
use super::report::{OutputError, Reporter, Style, Words, note, output_failure};

/// The pool to run in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolPlan {
    /// Number of workers.
    pub workers: usize,
    /// Threads of this process in place of processes.
    pub threads: bool,
    /// Longest time for one task.
    pub timeout: Option<Duration>,
    /// Most CPU time for one task.
    pub cpu_time: Option<Duration>,
    /// Largest resident size of a worker, in bytes.
    pub memory: Option<u64>,
    /// Further attempts for a task whose worker died.
    pub retries: u32,
    /// After which failures; after all that can be if empty.
    pub retry_on: Vec<Kind>,
    /// How many tasks a worker is given in its life.
    pub tasks_per_worker: Option<u64>,
    /// The resident size with which a worker is kept, in bytes.
    pub worker_memory: Option<u64>,
    /// How old a worker becomes.
    pub worker_age: Option<Duration>,
    /// Workers that can do nothing but compute, as far as this kernel offers it.
    pub sandbox: bool,
}

impl PoolPlan {
    /// A pool with no more workers than there are tasks.
    pub(crate) fn build(&self, tasks: usize) -> procpool::Result<Pool> {
        let mut builder = Pool::builder().workers(self.workers.min(tasks).max(1)).name("procpool");
        if self.threads {
            builder = builder.threads();
        }
        if let Some(tasks) = self.tasks_per_worker {
            builder = builder.tasks_per_worker(tasks);
        }
        if let Some(bytes) = self.worker_memory {
            builder = builder.worker_memory(bytes);
        }
        if let Some(age) = self.worker_age {
            builder = builder.worker_age(age);
        }
        if self.sandbox {
            builder = builder.sandbox(Sandbox::strict());
        }
        builder.task_options(&self.task_options()).build()
    }

    fn task_options(&self) -> TaskOptions {
        let mut options = TaskOptions::new().retries(self.retries);
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if let Some(limit) = self.cpu_time {
            options = options.cpu_time(limit);
        }
        if let Some(bytes) = self.memory {
            options = options.memory_limit(bytes);
        }
        if !self.retry_on.is_empty() {
            options = options.retry_on(&self.retry_on);
        }
        options
    }
}

/// What every job needs to know.
pub(crate) struct Context {
    /// The pool to run in.
    pub pool: PoolPlan,
    /// How to report.
    pub style: Style,
    /// The signals of this process.
    pub interrupts: Arc<Interrupts>,
}

/// One input of a run: what is to be done with it, or why nothing can be.
pub(crate) struct Item<P> {
    /// The input, to be opened, and for the report.
    pub path: PathBuf,
    /// What is to be done with it.
    pub plan: Result<P, JobError>,
}

/// A kind of work over files, apart from the worker function itself.
///
/// Workers touch no file system: this process opens the inputs and hands them over, and writes what comes back.
pub(crate) trait Job {
    /// What is to be done with one input.
    type Plan;
    /// What the worker function gets.
    type Task: Serialize + DeserializeOwned + Send + 'static;
    /// What it returns.
    type Made: Serialize + DeserializeOwned + Send + 'static;
    /// What there is to tell of it.
    type Done;

    /// Opens an input for a worker.
    fn open(input: &Path, plan: &Self::Plan) -> Result<Self::Task, JobError>;

    /// Writes what a worker made to where it belongs.
    fn keep(plan: &Self::Plan, made: Self::Made) -> Result<Self::Done, JobError>;

    /// How its things are called.
    fn words(&self) -> Words;

    /// The line for people about an input that is done, and the same for programs.
    fn done(&mut self, input: &Path, done: &Self::Done) -> (String, Record);

    /// The line that a failed input gets among the results, if it gets one.
    fn failed(&mut self, _input: &Path) -> Option<String> {
        None
    }

    /// The last line of the results and its counterpart in the summary object.
    fn total(&self) -> Option<(String, Record)> {
        None
    }

    /// Removes what killed workers may have left behind.
    fn cleanup(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::new(|| {})
    }
}

/// What the feed of a pool has done so far.
#[derive(Default)]
struct Fed {
    /// The number of the input of each task.
    inputs: Vec<usize>,
    /// The inputs that could not be opened.
    refused: Vec<(usize, JobError)>,
}

/// Runs `work` over `items` in a pool and reports in the order of the items. Returns the exit code.
pub(crate) fn run<J, F>(context: &Context, mut job: J, work: F, items: Vec<Item<J::Plan>>, skipped: usize) -> u8
where
    J: Job,
    F: Fn(J::Task) -> Result<J::Made, JobError> + Copy + Send + 'static,
{
    raise_descriptor_limit();
    let pool = match context.pool.build(items.iter().filter(|item| item.plan.is_ok()).count()) {
        Ok(pool) => Arc::new(pool),
        Err(error) => {
            note(None, &format!("procpool: {error}"));
            return exit::FAILED;
        }
    };
    let cleanup = job.cleanup();
    cleanup();
    let mut report = Reporter::new(context.style, job.words(), items.len(), skipped);
    let interrupts = &context.interrupts;
    let writing = Arc::new(Mutex::new(()));
    interrupts.set(Box::new(Running {
        pool: Arc::clone(&pool),
        bar: report.bar(),
        cleanup: Arc::clone(&cleanup),
        writing: Arc::clone(&writing),
        silent: context.style.quiet,
    }));
    let fed = RefCell::new(Fed::default());
    let mut unopened = items.iter().enumerate();
    let feed = std::iter::from_fn(|| {
        loop {
            if interrupts.stopping() {
                return None;
            }
            let (index, item) = unopened.next()?;
            let Ok(plan) = &item.plan else { continue };
            let opened = J::open(&item.path, plan);
            let mut fed = fed.borrow_mut();
            match opened {
                Ok(task) => {
                    fed.inputs.push(index);
                    return Some(task);
                }
                Err(error) => fed.refused.push((index, error)),
            }
        }
    });
    let keep = |index: usize, made: J::Made| match &items[index].plan {
        Ok(plan) => {
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            J::keep(plan, made)
        }
        Err(error) => Err(error.clone()),
    };
    let mut outcomes = pool.map_unordered(work, feed).chunk_size(1);
    // What has ended and waits for those before it. Without an outcome: it was cancelled.
    let refused = |(index, item): (usize, &Item<J::Plan>)| Some((index, Some(Err(item.plan.as_ref().err()?.clone()))));
    let mut ended: BTreeMap<usize, Option<Result<J::Done, JobError>>> =
        items.iter().enumerate().filter_map(refused).collect();
    let (mut told, mut over) = (0, false);
    let reported = loop {
        let mut reported = Ok(());
        while reported.is_ok() && told < items.len() && (over || ended.contains_key(&told)) {
            let path = &items[told].path;
            reported = match ended.remove(&told).flatten() {
                Some(Ok(done)) => {
                    let (line, record) = job.done(path, &done);
                    report.done(path, &line, record)
                }
                Some(Err(error)) => report.failed(path, &error, job.failed(path).as_deref()),
                None => {
                    report.not_begun();
                    Ok(())
                }
            };
            told += 1;
        }
        if reported.is_err() || told == items.len() {
            break reported;
        }
        let outcome = outcomes.next();
        if interrupts.aborting() {
            interrupts.wait_for_exit();
        }
        over = outcome.is_none();
        ended.extend(fed.borrow_mut().refused.drain(..).map(|(index, error)| (index, Some(Err(error)))));
        if let Some((task, outcome)) = outcome {
            // An error of the pool as a whole may come before any task.
            let index = fed.borrow().inputs.get(task).copied().unwrap_or(told);
            let outcome = match outcome {
                Ok(made) => Some(made.and_then(|made| keep(index, made))),
                Err(error) if error.kind() == Kind::Cancelled => None,
                Err(error) => Some(Err(JobError::from(&error))),
            };
            ended.insert(index, outcome);
        }
    };
    drop(outcomes);
    let sandbox = pool.sandbox_report().map(|report| report.to_string());
    let code = match reported.and_then(|()| finish(&job, &mut report, interrupts.stopping(), sandbox)) {
        Ok(()) if interrupts.stopping() => exit::INTERRUPTED,
        Ok(()) if report.failures() > 0 => exit::FAILED,
        Ok(()) => exit::DONE,
        Err(error) => {
            if let Some(bar) = report.bar() {
                bar.finish();
            }
            pool.cancel_pending();
            match error {
                OutputError::Closed => exit::PIPE_CLOSED,
                OutputError::Failed(error) => {
                    note(None, &output_failure(&error));
                    exit::FAILED
                }
            }
        }
    };
    pool.shutdown();
    interrupts.clear();
    cleanup();
    code
}

/// Every file that a worker is to get soon is open here: with many workers more of them than most systems begin with.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // As far as it may be raised; if that is not enough, opening a file says so.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn finish<J: Job>(
    job: &J,
    report: &mut Reporter,
    interrupted: bool,
    sandbox: Option<String>,
) -> Result<(), OutputError> {
    let (line, extra) = job.total().unzip();
    report.total(line.as_deref())?;
    report.finish(interrupted, extra.unwrap_or_default().with("sandbox", sandbox))
}

struct Running {
    pool: Arc<Pool>,
    bar: Option<Bar>,
    cleanup: Arc<dyn Fn() + Send + Sync>,
    /// Held while an output is written.
    writing: Arc<Mutex<()>>,
    silent: bool,
}

impl Interruptible for Running {
    fn stop(&self) {
        if !self.silent {
            note(self.bar.as_ref(), "stopping: what runs is finished first; Ctrl-C again ends at once");
        }
        self.pool.cancel_pending();
    }

    fn pause(&self) {
        // Threads are stopped with this process.
        let _ = self.pool.pause();
    }

    fn resume(&self) {
        self.pool.resume();
    }

    fn abort(&self) {
        self.pool.shutdown_now();
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        // Lets the write in progress come to its end, and no other begin before the exit: what is cleaned stays clean.
        std::mem::forget(self.writing.lock());
        (self.cleanup)();
    }
}
