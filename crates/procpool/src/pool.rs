//! The pool and how it is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::call::{self, Function};
use crate::error::{Blame, Error, Kind, Result};
use crate::future::Future;
use crate::map::{Map, MapUnordered};
use crate::ring::INLINE_MAX;
use crate::sched::{Nanos, Spec};
use crate::supervisor::{Engine, Frame, Initializer, Launch, SharedBlob, Sink};
use crate::{attach, worker};

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Turns a process that was started as a worker into one, and then never returns; else does nothing.
///
/// Call it first in `main`: everything before it also runs in every worker. In a test binary, whose `main` is not yours,
/// write [`init_in_tests!`](crate::init_in_tests) once instead.
pub fn init() {
    INITIALISED.store(true, Relaxed);
    worker::become_worker_if_asked();
}

/// Does for a test binary what [`init`](crate::init) does at the top of `main`: write it once, outside of any function.
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

pub(crate) fn require_init() -> Result<()> {
    if INITIALISED.load(Relaxed) {
        return Ok(());
    }
    Err(Error::usage("call procpool::init() first in main (in a test binary: procpool::init_in_tests!())"))
}

/// How many CPUs this process may use: its affinity mask and its cgroup's quota counted. At least 1.
///
/// ```
/// assert!(procpool::available_cpus() >= 1);
/// ```
pub fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What an initializer may return: nothing, or a `Result` whose error says why the worker cannot start.
pub trait Setup {
    /// The error as text.
    fn into_result(self) -> std::result::Result<(), String>;
}

impl Setup for () {
    fn into_result(self) -> std::result::Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Display> Setup for std::result::Result<(), E> {
    fn into_result(self) -> std::result::Result<(), String> {
        self.map_err(|e| e.to_string())
    }
}

/// The limits that every task of a pool has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) memory: Option<u64>,
    pub(crate) retries: u32,
}

impl Limits {
    fn timeout_ns(&self) -> Option<Nanos> {
        self.timeout.map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX))
    }
}

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
    limits: Limits,
    start_timeout: Duration,
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
    /// If it fails or panics in three workers in a row, all tasks end with [`Kind::Start`] and its reason.
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
        self.limits.timeout = Some(timeout);
        self
    }

    /// The most resident memory in bytes that a worker may use while it runs a task. It is looked at every 20 ms; a worker
    /// that has more is ended and replaced, and the task fails with [`Kind::OutOfMemory`]. Default: no limit.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// How often a task is begun again when its worker died, was too slow or used too much memory. Default: 0, so that a
    /// task is begun at most once.
    pub fn retries(mut self, retries: u32) -> Self {
        self.limits.retries = retries;
        self
    }

    /// How long a worker may take to start, its initializer included. Default: 60 s.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// [`Kind::Usage`] if [`init`] was not called, if there are to be no workers, or if threads are to have limits;
    /// [`Kind::Encode`] if the initializer's input cannot be encoded; [`Kind::Os`] if the system is out of something.
    pub fn build(self) -> Result<Pool> {
        if self.workers == 0 {
            return Err(Error::usage("a pool needs at least one worker"));
        }
        let initializer = self.initializer.transpose()?;
        let (name, start_timeout) = (self.name, self.start_timeout);
        let launch = if self.threads {
            if self.limits.timeout.is_some() || self.limits.memory.is_some() {
                return Err(Error::usage("a thread cannot be ended: timeouts and memory limits need worker processes"));
            }
            Launch::Threads { name, initializer, start_timeout }
        } else {
            require_init()?;
            Launch::Processes { name, initializer, start_timeout }
        };
        Ok(Pool { engine: Engine::start(self.workers, launch)?, limits: self.limits, submitted: AtomicU64::new(0) })
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
    engine: Arc<Engine>,
    limits: Limits,
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
            limits: Limits::default(),
            start_timeout: Duration::from_secs(60),
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
        let function = call::task(f)?;
        let index = self.submitted.fetch_add(1, Relaxed);
        let future = Future::new(Arc::clone(&self.engine), index);
        let mut batch = Batch::new(function);
        match batch.add(&input) {
            Ok(()) => {
                let frame = self.send(batch, future.sink(), index, None)?;
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
        Map::new(self, call::task(f), None, inputs.into_iter())
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
        MapUnordered::new(self, call::task(f), None, inputs.into_iter())
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
            Ok(()) if !attached.is_empty() => {
                Err(Error::usage("a queue cannot be part of the state of map_with; pass it with the inputs"))
            }
            Ok(()) => call::task_with(f),
        };
        let blob = SharedBlob { number: NUMBER.fetch_add(1, Relaxed), bytes };
        Map::new(self, function, Some(Arc::new(blob)), inputs.into_iter())
    }

    /// How many workers the pool is to have. Fewer run while there is less to do.
    pub fn workers(&self) -> usize {
        self.engine.lock().sched.target()
    }

    /// Changes the number of workers, at least 1, also while tasks run: more start as tasks need them, superfluous ones
    /// finish their task and end.
    pub fn resize(&self, workers: usize) {
        self.engine.with(|core, now| core.sched.resize(workers.max(1), now));
    }

    /// The process ids of the workers that are there now, in ascending order. Empty for threads.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.engine.lock().pids()
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        let (counts, tasks) = self.engine.lock().counts();
        Stats {
            tasks_ok: tasks.ok,
            tasks_failed: tasks.failed,
            retries: counts.retries,
            workers_started: counts.workers_started,
            workers_died: counts.workers_died,
            workers_died_busy: counts.workers_died_busy,
        }
    }

    /// Cancels every task that has not begun; it ends with [`Kind::Cancelled`]. Tasks that run are left alone.
    pub fn cancel_pending(&self) {
        self.engine.with(|core, now| core.sched.cancel_pending(now));
    }

    /// Takes no more tasks, waits until all accepted ones have ended, and ends the workers.
    pub fn shutdown(&self) {
        self.engine.close(false);
    }

    /// Takes no more tasks, cancels those that wait, ends the workers at once, running tasks and all. Nothing is left when
    /// it returns; only threads, which cannot be ended, finish the task they run.
    pub fn shutdown_now(&self) {
        self.engine.close(true);
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Hands a batch to the engine.
    pub(crate) fn send(
        &self,
        batch: Batch,
        sink: Arc<dyn Sink>,
        first_index: u64,
        state: Option<Arc<SharedBlob>>,
    ) -> Result<crate::sched::FrameId> {
        let spec = Spec {
            items: batch.items,
            function: batch.function.offset,
            timeout: self.limits.timeout_ns(),
            retries: self.limits.retries,
        };
        let (payload, memfd) = if batch.payload.len() <= INLINE_MAX {
            (batch.payload, None)
        } else {
            let memfd = crate::os::memory::create_frozen("procpool-input", &batch.payload)
                .map_err(|e| Error::os("cannot make shared memory for a large input", &e))?;
            (Vec::new(), Some(memfd))
        };
        let frame = Frame {
            function: batch.function,
            payload,
            memfd,
            attachments: batch.attachments,
            state,
            sink,
            first_index,
            timeout: self.limits.timeout_ns(),
            memory_limit: self.limits.memory,
        };
        self.engine.submit(Arc::new(frame), spec)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.engine.is_threads() { self.engine.abandon() } else { self.engine.close(true) }
    }
}

/// Inputs of one function on their way into a frame.
#[derive(Debug)]
pub(crate) struct Batch {
    function: Function,
    payload: Vec<u8>,
    items: u32,
    attachments: Vec<attach::Attachment>,
}

/// One message carries 32 descriptors; one of them may be the payload's.
const MAX_ATTACHMENTS: usize = crate::os::socket::MAX_FDS - 1;

impl Batch {
    pub(crate) fn new(function: Function) -> Self {
        Self { function, payload: Vec::new(), items: 0, attachments: Vec::new() }
    }

    /// Adds an input, or says why it cannot be encoded; then the batch is as before.
    pub(crate) fn add<X: Serialize>(&mut self, input: &X) -> Result<()> {
        let before = self.attachments.len();
        let start = self.payload.len();
        let payload = &mut self.payload;
        let encoded = attach::collect_onto(&mut self.attachments, || call::encode(input, payload));
        let refused = match encoded {
            Err(why) => why,
            Ok(()) if self.attachments.len() > MAX_ATTACHMENTS => "it refers to too many queues".to_string(),
            Ok(()) => {
                crate::wire::items::wrap_task(start, &mut self.payload);
                self.items += 1;
                return Ok(());
            }
        };
        self.attachments.truncate(before);
        self.payload.truncate(start);
        Err(Error::new(Kind::Encode, Blame::Caller, format!("its input cannot be encoded: {refused}")))
    }

    pub(crate) fn items(&self) -> u32 {
        self.items
    }

    /// Whether another input should go into another batch.
    pub(crate) fn is_full(&self, chunk: u32) -> bool {
        self.items >= chunk || self.payload.len() >= INLINE_MAX / 2 || self.attachments.len() >= MAX_ATTACHMENTS / 2
    }
}
