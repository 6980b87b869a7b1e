//! How a pool is built.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::{Pool, available_cpus};
use crate::attach;
use crate::call::{self, Setup};
use crate::client::{Client, NO_LIMITS_ON_THREADS, require_init};
use crate::error::{Blame, Error, Kind, Result};
use crate::events::{Event, Limit, Limited, Listener, Means, Record};
use crate::options::{TaskOptions, nanos};
use crate::sandbox::Sandbox;
use crate::supervisor::{Engine, Initializer, Launch, Output, Wear};

/// What a pool may keep for large inputs and outputs. Address space for the most part: only what is used is there.
const SHARED_MEMORY: usize = 2 << 30;

/// How a [`Pool`] is to be. Made by [`Pool::builder`].
///
/// ```
/// # use std::time::Duration;
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// let pool = procpool::Pool::builder()
///     .workers(2)
///     .name("resize")
///     .timeout(Duration::from_secs(30))
///     .memory_limit(1 << 30)
///     .retries(1)
///     .build()?;
/// assert_eq!(pool.workers(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    workers: usize,
    threads: bool,
    name: String,
    initializer: Option<Result<Initializer>>,
    options: TaskOptions,
    max_pending: Option<u64>,
    wear: Wear,
    output: Output,
    events: Option<Listener>,
    grace: Duration,
    start_timeout: Duration,
    sandbox: Option<Sandbox>,
    shared_memory: usize,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: available_cpus(),
            threads: false,
            name: "procpool".into(),
            initializer: None,
            options: TaskOptions::default(),
            max_pending: None,
            wear: Wear::default(),
            output: Output::default(),
            events: None,
            grace: Duration::from_millis(100),
            start_timeout: Duration::from_secs(60),
            sandbox: None,
            shared_memory: SHARED_MEMORY,
        }
    }

    /// How many workers. Default: [`available_cpus`]. They are started when there is something for them to do.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Threads of this process instead of processes: for tasks that wait rather than compute, for debugging, for honest
    /// comparison. Everything else stays the same, but that a crash takes the program with it and a running task cannot
    /// be ended: timeouts and memory limits are refused, and a cancelled or abandoned task runs on unheard.
    pub fn threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// What `ps` and `top` show as the workers' name, followed by their number. Default: `procpool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// A function that each worker runs before its first task: to load a model, open a connection, set the locale.
    ///
    /// If it fails or panics in three workers in a row, all tasks end with [`Kind::Start`] and its reason; a second later the
    /// pool tries again.
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// fn check(folder: String) -> std::io::Result<()> {
    ///     std::fs::read_dir(folder).map(drop)
    /// }
    /// let pool = procpool::Pool::builder().workers(1).initializer(check, "/nowhere".to_string()).build()?;
    /// let error = pool.submit(|x: u8| x, 1)?.wait().unwrap_err();
    /// assert_eq!(error.kind(), procpool::Kind::Start);
    /// # Ok(())
    /// # }
    /// ```
    pub fn initializer<F, X, O>(mut self, f: F, input: X) -> Self
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Setup + 'static,
    {
        self.initializer = Some(prepare_initializer(f, input));
        self
    }

    /// The longest that one task may run, by the clock on the wall. Then its worker is ended and replaced, and the task
    /// fails with [`Kind::TimedOut`]. Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options = self.options.timeout(timeout);
        self
    }

    /// The most memory in bytes that a worker may use while it runs a task. One that uses more is ended and replaced, and the task
    /// fails with [`Kind::OutOfMemory`], which says by which means: the kernel keeps the limit, for the worker and all that it
    /// has started, where this program may make control groups; elsewhere the worker's resident memory is looked at every
    /// 20 ms, and twice the limit and 512 MiB of private memory is the most that it is given in between. Default: no limit.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options = self.options.memory_limit(bytes);
        self
    }

    /// How often a task is begun again when its worker died, was too slow or used too much memory. Default: 0, so that a
    /// task is begun at most once.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options = self.options.retries(retries);
        self
    }

    /// Limits, retries and priority of all tasks that are given none of their own.
    pub fn task_options(mut self, options: &TaskOptions) -> Self {
        self.options = *options;
        self
    }

    /// The most tasks that may be pending, that is accepted and not ended. Then [`Pool::submit`] waits, and
    /// [`Pool::try_submit`] refuses. A map needs no such limit, since it draws its inputs as they are needed. Default: none.
    pub fn max_pending(mut self, tasks: usize) -> Self {
        self.max_pending = Some(tasks.max(1) as u64);
        self
    }

    /// Replaces a worker once it has been given this many tasks; a chunk is given as a whole. Its replacement is started
    /// while it finishes. For functions that leak. Default: never.
    pub fn tasks_per_worker(mut self, tasks: u64) -> Self {
        self.wear.tasks = Some(tasks.max(1));
        self
    }

    /// Replaces a worker that has more resident memory than this, as soon as it has finished what it was given. For
    /// functions that leak; [`PoolBuilder::memory_limit`] is what ends a task that takes too much. Default: never.
    pub fn worker_memory(mut self, bytes: u64) -> Self {
        self.wear.memory = Some(bytes);
        self
    }

    /// Replaces a worker that is older than this, as soon as it has finished what it was given. Default: never.
    pub fn worker_age(mut self, age: Duration) -> Self {
        self.wear.age = Some(age);
        self
    }

    /// Calls `listener` with everything that happens to tasks and workers; see [`Event`]. It is called by
    /// whichever thread finds out, several at once maybe, and the sooner it returns the better: outcomes are handed out after
    /// their ends were told, so it must not wait for one. Nothing is noted while nobody listens.
    pub fn events(mut self, listener: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.events = Some(Listener(Arc::new(listener)));
        self
    }

    /// What happens to what workers print. Default: [`Output::PassThrough`].
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// use procpool::{Output, Pool};
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let kept = Arc::clone(&lines);
    /// let keep = Output::Capture(Arc::new(move |line| kept.lock().unwrap().push(line.bytes)));
    /// let pool = Pool::builder().workers(1).output(keep).build()?;
    /// pool.submit(|name: String| println!("hello {name}"), "you".to_string())?.wait()?;
    /// pool.shutdown();
    /// assert_eq!(*lines.lock().unwrap(), [b"hello you"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// How long a worker whose task is cancelled or takes too long may clean up: it gets SIGTERM, which ends it unless its
    /// task has set up something else, and SIGKILL this much later. Default: 100 ms. Zero: SIGKILL at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a worker may take to start, its initializer included. Default: 60 s.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// The most bytes of shared memory that the pool keeps for inputs and outputs of more than 32 KiB, half of it for each.
    /// What finds no room there travels in memory of its own, at a fraction of the speed. Memory that was not used for a
    /// second is given back. Default: 2 GiB.
    ///
    /// Inputs that wait lie there too, and workers can read them all; in a pool with a [`Sandbox`], or of threads, inputs
    /// travel in memory of their own.
    pub fn shared_memory(mut self, bytes: usize) -> Self {
        self.shared_memory = bytes;
        self
    }

    /// Makes workers give up, after the initializer and before their first task, all that the sandbox does not leave them:
    /// see [`Sandbox`]. Default: they may do what this program may do.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// [`Kind::Usage`] if [`init`](crate::init) was not called, if there are to be no workers, or if threads are to have limits or a sandbox;
    /// [`Kind::Encode`] if the initializer's input cannot be encoded; [`Kind::Os`] if the system is out of something.
    pub fn build(mut self) -> Result<Pool> {
        if self.workers == 0 {
            return Err(Error::usage("a pool needs at least one worker"));
        }
        let initializer = self.initializer.take().transpose()?;
        let (name, start_timeout) = (self.name.clone(), self.start_timeout);
        let launch = if self.threads {
            if self.options.has_limits() {
                return Err(Error::usage(NO_LIMITS_ON_THREADS));
            }
            if self.sandbox.is_some() {
                return Err(Error::usage("a thread cannot be confined by itself: a sandbox needs worker processes"));
            }
            Launch::Threads { name, initializer, start_timeout }
        } else {
            require_init()?;
            let sandbox = self.sandbox.as_ref().map(|sandbox| sandbox.clone().rules());
            Launch::Processes { name, initializer, sandbox, start_timeout }
        };
        self.finish(launch)
    }

    /// Makes a pool whose workers come about as `launch` says, which is given their name and the time to start.
    pub(crate) fn build_foreign(self, launch: impl FnOnce(String, Duration) -> Launch) -> Result<Pool> {
        if self.workers == 0 {
            return Err(Error::usage("a pool needs at least one worker"));
        }
        let launch = launch(self.name.clone(), self.start_timeout);
        self.finish(launch)
    }

    fn finish(self, launch: Launch) -> Result<Pool> {
        let sandbox = self.sandbox.is_some();
        // What a thread prints is this program's own output.
        let output = if self.threads { Output::Inherit } else { self.output };
        let engine =
            Engine::start(self.workers, launch, self.shared_memory, self.wear, &output, self.events, self.grace)?;
        engine.note(|| Event::PoolStarted {
            workers: self.workers,
            threads: self.threads,
            limits: limits(&self.options, &self.wear),
            retries: self.options.most_retries(),
            grace_ns: nanos(self.grace),
            sandbox,
        });
        let client = Client::new(engine, self.options, self.max_pending);
        Ok(Pool { client })
    }
}

fn prepare_initializer<F, X, O>(f: F, input: X) -> Result<Initializer>
where
    F: Fn(X) -> O + Copy + Send + 'static,
    X: Serialize + DeserializeOwned,
    O: Setup + 'static,
{
    let function = call::setup(f)?;
    let mut bytes = Vec::new();
    let (encoded, attachments) = attach::collect(|| call::encode(&input, &mut bytes));
    encoded.map_err(|why| {
        Error::new(Kind::Encode, Blame::Caller, format!("the initializer's input cannot be encoded: {why}"))
    })?;
    Ok(Initializer { function, input: bytes, attachments })
}

/// What is in force, for the event log.
fn limits(options: &TaskOptions, wear: &Wear) -> Vec<Limit> {
    let limit = |what, value: Option<u64>, means| value.map(|value| Limit { what, value, means });
    let all = [
        limit(Limited::Timeout, options.timeout.map(nanos), Means::Clock),
        limit(Limited::CpuTime, options.cpu_time.map(nanos), Means::Watch),
        limit(Limited::Memory, options.memory, Means::Watch),
        limit(Limited::TasksPerWorker, wear.tasks, Means::Count),
        limit(Limited::WorkerMemory, wear.memory, Means::Watch),
        limit(Limited::WorkerAge, wear.age.map(nanos), Means::Clock),
    ];
    all.into_iter().flatten().collect()
}
