//! The pool.

mod builder;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Serialize, de::DeserializeOwned};

pub use builder::PoolBuilder;

use crate::attach;
use crate::call;
use crate::client::Client;
use crate::error::{Blame, Error, Kind, Result};
use crate::future::Future;
use crate::map::{Map, MapUnordered};
use crate::options::TaskOptions;
use crate::sandbox::SandboxReport;
use crate::supervisor::SharedBlob;

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
}

impl Pool {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A pool with a worker for each CPU this process may use.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A pool to your wishes.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
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
        Future::submitted(Arc::clone(self.client.engine()), |sink| self.client.submit(function, &input, sink, options))
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
    /// one is ready (once a task has ended, one was), and for a pool without a [`Sandbox`](crate::Sandbox).
    pub fn sandbox_report(&self) -> Option<SandboxReport> {
        self.client.engine().lock().sandbox().map(SandboxReport::from)
    }

    /// Stops the workers, with what they have started, until [`Pool::resume`]: no task makes progress, no worker is started, and
    /// no deadline comes nearer. Tasks may be submitted meanwhile, and are cancelled only when it goes on. Pausing twice is
    /// pausing once. Ending the pool in any way lets it go on first.
    ///
    /// For a program that is being stopped itself, as Ctrl-Z does: workers are in process groups of their own, so that the
    /// terminal stops the program alone. If it has not paused its pool (SIGSTOP cannot be caught), its workers finish what they
    /// were sent, and what the program stood still does not count for its deadlines, but for a tenth of a second of it.
    ///
    /// ```
    /// # fn main() -> procpool::Result<()> {
    /// # procpool::init();
    /// # let pool = procpool::Pool::builder().workers(1).build()?;
    /// let future = pool.submit(|x: u64| x + 1, 1)?;
    /// pool.pause()?;
    /// pool.resume();
    /// assert_eq!(future.wait()?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Usage`] on a pool of threads, which cannot be stopped.
    pub fn pause(&self) -> Result<()> {
        if self.client.engine().is_threads() {
            return Err(Error::usage("threads cannot be stopped: pausing needs worker processes"));
        }
        self.client.engine().pause();
        Ok(())
    }

    /// Lets a pool go on that was paused.
    pub fn resume(&self) {
        self.client.engine().resume();
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
