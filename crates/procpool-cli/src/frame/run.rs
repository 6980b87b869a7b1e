//! Runs a job: every input through the pool, every outcome into the report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use procpool::{Kind, Pool};
use serde::{Serialize, de::DeserializeOwned};

use super::bar::Bar;
use super::exit;
use super::failure::JobError;
use super::interrupt::{Interruptible, Interrupts};
use super::record::Record;
use super::report::{OutputError, Reporter, Style, Words, note, output_failure};

/// The pool to run in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PoolPlan {
    /// Number of workers.
    pub workers: usize,
    /// Threads of this process in place of processes.
    pub threads: bool,
    /// Longest time for one task.
    pub timeout: Option<Duration>,
    /// Largest resident size of a worker, in bytes.
    pub memory: Option<u64>,
    /// Further attempts for a task whose worker died.
    pub retries: u32,
}

impl PoolPlan {
    /// A pool with no more workers than there are tasks.
    pub(crate) fn build(&self, tasks: usize) -> procpool::Result<Pool> {
        let mut builder = Pool::builder().workers(self.workers.min(tasks).max(1)).name("procpool");
        if self.threads {
            builder = builder.threads();
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(bytes) = self.memory {
            builder = builder.memory_limit(bytes);
        }
        builder.retries(self.retries).build()
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

/// One input of a run: its task, or why there is none.
pub(crate) struct Item<T> {
    /// The input, for the report.
    pub path: PathBuf,
    /// What the worker gets.
    pub task: Result<T, JobError>,
}

/// A kind of work over files, apart from the worker function itself.
pub(crate) trait Job {
    /// What the worker function returns.
    type Done: Serialize + DeserializeOwned + Send + 'static;

    /// How its things are called.
    fn words(&self) -> Words;

    /// The line for people about an input that is done, and the same for programs.
    fn done(&mut self, input: &std::path::Path, done: &Self::Done) -> (String, Record);

    /// The line that a failed input gets among the results, if it gets one.
    fn failed(&mut self, _input: &std::path::Path) -> Option<String> {
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

/// Runs `work` over `items` in a pool and reports in the order of the items. Returns the exit code.
pub(crate) fn run<J, T, F>(context: &Context, mut job: J, work: F, items: Vec<Item<T>>, skipped: usize) -> u8
where
    J: Job,
    T: Serialize + DeserializeOwned + Send + 'static,
    F: Fn(T) -> Result<J::Done, JobError> + Copy + Send + 'static,
{
    let mut inputs = Vec::with_capacity(items.len());
    let mut tasks = Vec::with_capacity(items.len());
    for item in items {
        match item.task {
            Ok(task) => {
                tasks.push(task);
                inputs.push((item.path, None));
            }
            Err(error) => inputs.push((item.path, Some(error))),
        }
    }
    let pool = match context.pool.build(tasks.len()) {
        Ok(pool) => Arc::new(pool),
        Err(error) => {
            note(None, &format!("procpool: {error}"));
            return exit::FAILED;
        }
    };
    let cleanup = job.cleanup();
    cleanup();
    let mut report = Reporter::new(context.style, job.words(), inputs.len(), skipped);
    let interrupts = &context.interrupts;
    interrupts.set(Box::new(Running {
        pool: Arc::clone(&pool),
        bar: report.bar(),
        cleanup: Arc::clone(&cleanup),
        silent: context.style.quiet,
    }));
    let feed = {
        let interrupts = Arc::clone(interrupts);
        tasks.into_iter().take_while(move |_| !interrupts.stopping())
    };
    let mut outcomes = pool.map(work, feed).chunk_size(1);
    let mut reported = Ok(());
    for (path, refused) in &inputs {
        let outcome = match refused {
            Some(error) => Err(error.clone()),
            None => match outcomes.next() {
                Some(Ok(outcome)) => outcome,
                Some(Err(error)) if error.kind() == Kind::Cancelled => {
                    report.not_begun();
                    continue;
                }
                Some(Err(error)) => Err(JobError::from(&error)),
                None => {
                    report.not_begun();
                    continue;
                }
            },
        };
        if interrupts.aborting() {
            interrupts.wait_for_exit();
        }
        reported = match outcome {
            Ok(done) => {
                let (line, record) = job.done(path, &done);
                report.done(path, &line, record)
            }
            Err(error) => report.failed(path, &error, job.failed(path).as_deref()),
        };
        if reported.is_err() {
            break;
        }
    }
    drop(outcomes);
    let code = match reported.and_then(|()| finish(&job, &mut report, interrupts.stopping())) {
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

fn finish<J: Job>(job: &J, report: &mut Reporter, interrupted: bool) -> Result<(), OutputError> {
    let (line, extra) = job.total().unzip();
    report.total(line.as_deref())?;
    report.finish(interrupted, extra.unwrap_or_default())
}

struct Running {
    pool: Arc<Pool>,
    bar: Option<Bar>,
    cleanup: Arc<dyn Fn() + Send + Sync>,
    silent: bool,
}

impl Interruptible for Running {
    fn stop(&self) {
        if !self.silent {
            note(self.bar.as_ref(), "stopping: what runs is finished first; Ctrl-C again ends at once");
        }
        self.pool.cancel_pending();
    }

    fn abort(&self) {
        self.pool.shutdown_now();
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        (self.cleanup)();
    }
}
