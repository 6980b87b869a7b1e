//! The pool and how it is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::attach;
use crate::call::{self, Setup};
use crate::client::{Client, NO_LIMITS_ON_THREADS, require_init};
use crate::error::{Blame, Error, Kind, Result};
use crate::events::{Listener, Record};
use crate::future::Future;
use crate::map::{Map, MapUnordered};
use crate::options::TaskOptions;
use crate::sandbox::{Sandbox, SandboxReport};
use crate::supervisor::{Engine, Initializer, Launch, Output, SharedBlob, Wear};

/// Turns a process that was started as a worker into one, and then never returns; else does nothing.
///
/// Call it first in `main`: everything before it also runs in every worker. In a test binary, whose `main` is not yours,
/// write [`init_in_tests!`](crate::init_in_tests) once instead.
pub fn init() {
    crate::client::note_init();
    crate::worker::become_worker_if_asked();
}

/// Does for a test binary what [`init`] does at the top of `main`: write it once, outside of any function.
///
/// It runs before `main`, through the linker's list of initialisers.
#[macro_export]
macro_rules! init_in_tests {
    () => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static PROCPOOL_INIT: extern "C" fn() = {
            extern "C" fn init() {
                $crate::init();
            }
            init
        };
    };
}

/// How many CPUs this process may use: its affinity mask and its cgroup's quota counted. At least 1.
///
/// ```
/// assert!(procpool::available_cpus() >= 1);
/// ```
pub fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

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

    /// The most resident memory in bytes that a worker may use while it runs a task. It is looked at every 20 ms; a worker
    /// that has more is ended and replaced, and the task fails with [`Kind::OutOfMemory`]. Default: no limit.
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

    /// Calls `listener` with everything that happens to tasks and workers; see [`Event`](crate::Event). It is called by
    /// whichever thread finds out, several at once maybe, and the sooner it returns the better. Nothing is noted while
    /// nobody listens.
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
    /// [`Kind::Usage`] if [`init`] was not called, if there are to be no workers, or if threads are to have limits or a sandbox;
    /// [`Kind::Encode`] if the initializer's input cannot be encoded; [`Kind::Os`] if the system is out of something.
    pub fn build(self) -> Result<Pool> {
        if self.workers == 0 {
            return Err(Error::usage("a pool needs at least one worker"));
        }
        let initializer = self.initializer.transpose()?;
        let (name, start_timeout) = (self.name, self.start_timeout);
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
            let sandbox = self.sandbox.map(|sandbox| sandbox.rules());
            Launch::Processes { name, initializer, sandbox, start_timeout }
        };
        // What a thread prints is this program's own output.
        let output = if self.threads { Output::Inherit } else { self.output };
        let client = Client::new(
            Engine::start(self.workers, launch, self.shared_memory, self.wear, &output, self.events, self.grace)?,
            self.options,
            self.max_pending,
        );
        Ok(Pool { client, submitted: AtomicU64::new(0) })
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

/// What a pool has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks whose function returned.
    pub tasks_ok: u64,
    /// Tasks that ended in any other way.
    pub tasks_failed: u64,
    /// How often a task was begun again after its worker's end.
    pub retries: u64,
    /// Worker processes or threads started.
    pub workers_started: u64,
    /// Workers that were replaced for their age, their size or the number of their tasks.
    pub workers_recycled: u64,
    /// Workers that died or were ended before the pool was done with them.
    pub workers_died: u64,
    /// Those among them that were running a task.
    pub workers_died_busy: u64,
}

/// Runs functions in worker processes. See the [crate documentation](crate).
///
/// A pool can be used from many threads at once, also behind an `Arc`. Dropping it ends it as [`Pool::shutdown_now`] does.
#[derive(Debug)]
pub struct Pool {
    client: Client,
    submitted: AtomicU64,
}

impl Pool {
    /// A pool with a worker for each CPU this process may use.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A pool to your wishes.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
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

    /// Runs `f(input)` in a worker and returns at once.
    ///
    /// `f` is a `fn` or a closure that captures nothing; what it needs is its input:
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(1).build()?;
    /// let factor = 3;
    /// let future = pool.submit(|(x, factor): (u32, u32)| x * factor, (14, factor))?;
    /// assert_eq!(future.wait()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// An input that cannot be encoded fails this task only, when it is waited for.
    ///
    /// # Errors
    /// [`Kind::Closed`] if the pool is shut down, [`Kind::Start`] if its workers cannot start.
    pub fn submit<F, X, O>(&self, f: F, input: X) -> Result<Future<O>>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
    {
        self.client.make_room(true)?;
        self.submit_now(self.client.options(), f, input)
    }

    /// As [`Pool::submit`], with limits, retries and priority of its own.
    ///
    /// # Errors
    /// As [`Pool::submit`]; [`Kind::Usage`] for limits on a pool of threads.
    pub fn submit_with<F, X, O>(&self, options: &TaskOptions, f: F, input: X) -> Result<Future<O>>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
    {
        self.client.make_room(true)?;
        self.submit_now(options, f, input)
    }

    /// As [`Pool::submit`], but never waits.
    ///
    /// # Errors
    /// As [`Pool::submit`]; [`Kind::WouldBlock`] if as many tasks are pending as [`PoolBuilder::max_pending`] allows.
    pub fn try_submit<F, X, O>(&self, f: F, input: X) -> Result<Future<O>>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
    {
        self.client.make_room(false)?;
        self.submit_now(self.client.options(), f, input)
    }

    fn submit_now<F, X, O>(&self, options: &TaskOptions, f: F, input: X) -> Result<Future<O>>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
    {
        let function = call::task(f)?;
        let index = self.submitted.fetch_add(1, Relaxed);
        let future = Future::new(Arc::clone(self.client.engine()), index);
        let mut batch = self.client.batch(function);
        match batch.add(&input) {
            Ok(()) => {
                let frame = self.client.send(batch, future.sink(), index, None, options)?;
                Ok(future.of_frame(frame))
            }
            Err(error) => Ok(future.failed(error.with_task(function.name, index))),
        }
    }

    /// Runs `f` over `inputs` and yields the outputs in the order of the inputs.
    ///
    /// The inputs are drawn as they are needed, so they may be endless; memory is bounded by a window, not by their number.
    /// Short tasks travel in chunks whose size is learnt ([`Map::chunk_size`] sets it).
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(2).build()?;
    /// let squares = pool.map(|x: u64| x * x, 1..).take(4).collect::<procpool::Result<Vec<_>>>()?;
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<F, X, O, I>(&self, f: F, inputs: I) -> Map<'_, I::IntoIter, O>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
        I: IntoIterator<Item = X>,
    {
        Map::new(&self.client, call::task(f), None, inputs.into_iter())
    }

    /// As [`Pool::map`], but yields each output as soon as it is there, with the number of its input.
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(2).build()?;
    /// let mut lengths = vec![0; 2];
    /// for (index, length) in pool.map_unordered(|s: String| s.len(), ["a".to_string(), "bcd".to_string()]) {
    ///     lengths[index] = length?;
    /// }
    /// assert_eq!(lengths, [1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_unordered<F, X, O, I>(&self, f: F, inputs: I) -> MapUnordered<'_, I::IntoIter, O>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
        I: IntoIterator<Item = X>,
    {
        MapUnordered::new(&self.client, call::task(f), None, inputs.into_iter())
    }

    /// As [`Pool::map`], with a `state` that is sent to each worker once, not once per task. Each worker has a copy of its
    /// own, which `f` may change; a replaced worker begins with a fresh one.
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(2).build()?;
    /// let words: Vec<String> = vec!["zero".into(), "one".into(), "two".into()];
    /// let named: procpool::Result<Vec<String>> = pool.map_with(words, |words, n: usize| words[n].clone(), [2, 0]).collect();
    /// assert_eq!(named?, ["two", "zero"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_with<S, F, X, O, I>(&self, state: S, f: F, inputs: I) -> Map<'_, I::IntoIter, O>
    where
        S: Serialize + DeserializeOwned + 'static,
        F: Fn(&mut S, X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
        O: Serialize + DeserializeOwned,
        I: IntoIterator<Item = X>,
    {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let mut bytes = Vec::new();
        let (encoded, attached) = attach::collect(|| call::encode(&state, &mut bytes));
        let function = match encoded {
            Err(why) => Err(Error::new(Kind::Encode, Blame::Caller, format!("the state cannot be encoded: {why}"))),
            Ok(()) if !attached.is_empty() => Err(Error::usage(
                "a queue, a buffer or an open file cannot be part of the state of map_with; pass it with the inputs",
            )),
            Ok(()) => call::task_with(f),
        };
        let blob = SharedBlob { number: NUMBER.fetch_add(1, Relaxed), bytes };
        Map::new(&self.client, function, Some(Arc::new(blob)), inputs.into_iter())
    }

    /// How many workers the pool is to have. Fewer run while there is less to do.
    pub fn workers(&self) -> usize {
        self.client.engine().lock().sched.target()
    }

    /// Changes the number of workers, at least 1, also while tasks run: more start as tasks need them, superfluous ones
    /// finish their task and end.
    pub fn resize(&self, workers: usize) {
        self.client.engine().resize(workers.max(1));
    }

    /// The process ids of the workers that are there now, in ascending order. Empty for threads.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.client.engine().lock().pids()
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        let (counts, tasks) = self.client.engine().lock().counts();
        Stats {
            tasks_ok: tasks.ok,
            tasks_failed: tasks.failed,
            retries: counts.retries,
            workers_started: counts.workers_started,
            workers_recycled: counts.workers_recycled,
            workers_died: counts.workers_died,
            workers_died_busy: counts.workers_died_busy,
        }
    }

    /// What is in force of the sandbox in every worker that was ready so far, replaced ones included. `None` before the first
    /// one is ready (once a task has ended, one was), and for a pool without a [`Sandbox`].
    pub fn sandbox_report(&self) -> Option<SandboxReport> {
        self.client.engine().lock().sandbox().map(SandboxReport::from)
    }

    /// Cancels every task that has not begun; it ends with [`Kind::Cancelled`]. Tasks that run are left alone.
    pub fn cancel_pending(&self) {
        self.client.engine().with(|core, now| core.sched.cancel_pending(now));
    }

    /// Takes no more tasks, waits until all accepted ones have ended, and ends the workers.
    pub fn shutdown(&self) {
        self.client.engine().close(false);
    }

    /// Takes no more tasks, cancels those that wait, ends the workers at once, running tasks and all. Nothing is left when
    /// it returns; only threads, which cannot be ended, finish the task they run.
    pub fn shutdown_now(&self) {
        self.client.engine().close(true);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.client.engine().is_threads() {
            self.client.engine().abandon()
        } else {
            self.client.engine().close(true)
        }
    }
}
