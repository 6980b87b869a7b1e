//! The event log: what happened to every task and worker, for whoever listens.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Kind;
use crate::sandbox::SandboxReport;

/// One line of the event log.
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{Event, Pool};
///
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let kept = Arc::clone(&log);
/// let pool = Pool::builder().workers(1).events(move |record| kept.lock().unwrap().push(record.clone())).build()?;
/// pool.submit(|x: u32| x + 1, 1)?.wait()?;
/// pool.shutdown();
/// let mut log = log.lock().unwrap().clone();
/// log.sort_by_key(|record| record.number);
/// assert!(matches!(log[0].event, Event::PoolStarted { .. }));
/// assert!(matches!(log[1].event, Event::TasksQueued { first: 0, count: 1, .. }));
/// assert!(log.iter().any(|record| matches!(record.event, Event::TasksEnded { failure: None, .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up from 0. Records that several threads report at once may arrive out of order.
    pub number: u64,
    /// Nanoseconds since the pool was built.
    pub at_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen. Tasks that travel together are named together: `count` of them from number `first` on, in the numbering
/// of their map, or of the pool for submitted ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The pool was built. Always the first.
    PoolStarted {
        /// How many workers it is to have.
        workers: usize,
        /// Whether they are threads.
        threads: bool,
        /// What is in force for tasks that are given nothing else, and for workers.
        limits: Vec<Limit>,
        /// How often a task may be begun again.
        retries: u32,
        /// How long a worker that is to end may clean up, in nanoseconds.
        grace_ns: u64,
        /// Whether workers are to be confined; [`Event::WorkerReady`] says what came of it.
        sandbox: bool,
    },
    /// Tasks were accepted.
    TasksQueued {
        /// The type name of their function.
        function: Cow<'static, str>,
        /// The number of the first.
        first: u64,
        /// How many.
        count: u32,
    },
    /// Tasks were put into a worker's ring. They may still be taken back and sent to another.
    TasksSent {
        /// The type name of their function.
        function: Cow<'static, str>,
        /// The number of the first.
        first: u64,
        /// How many.
        count: u32,
        /// The worker's number.
        worker: u32,
        /// Its process; none for a thread.
        pid: Option<u32>,
    },
    /// A worker runs the first of these tasks and has claimed the others, which follow. Told when it is noticed: within 20 ms,
    /// and before their ends.
    TasksBegun {
        /// The type name of their function.
        function: Cow<'static, str>,
        /// The number of the first.
        first: u64,
        /// How many.
        count: u32,
        /// How often the first is begun now, counted from 1.
        attempt: u32,
        /// The worker's number.
        worker: u32,
        /// Its process; none for a thread.
        pid: Option<u32>,
    },
    /// Tasks ended, one after the other, in the same way. Told before their outcomes can be taken.
    TasksEnded {
        /// The type name of their function.
        function: Cow<'static, str>,
        /// The number of the first.
        first: u64,
        /// How many.
        count: u32,
        /// `None` if their function returned, whatever it returned.
        failure: Option<Kind>,
        /// How often they had been begun, counted from 1.
        attempt: u32,
        /// The number of the worker that ran them, if one did.
        worker: Option<u32>,
        /// Its process; none for a thread.
        pid: Option<u32>,
        /// From their acceptance to the beginning of this attempt, in nanoseconds; to their end if they were never begun. What
        /// passed between the end and its being noticed is counted here.
        queued_ns: u64,
        /// How long they ran together with those that were shown with them, in nanoseconds, as their worker says; of a task
        /// whose worker died, at most.
        run_ns: Option<u64>,
        /// The most resident memory in bytes that their worker has had in its life, as far as it is known.
        peak_memory: Option<u64>,
    },
    /// A worker was started.
    WorkerStarted {
        /// Its number.
        worker: u32,
        /// Its process; none for a thread.
        pid: Option<u32>,
    },
    /// A worker takes tasks now.
    WorkerReady {
        /// Its number.
        worker: u32,
        /// What holds of its sandbox; none if it is to have none.
        sandbox: Option<SandboxReport>,
    },
    /// A worker could not be started, or says that it cannot start.
    WorkerUnable {
        /// Its number.
        worker: u32,
        /// Why.
        reason: String,
    },
    /// A worker gets nothing more and ends when it has finished what it was given.
    WorkerRetired {
        /// Its number.
        worker: u32,
        /// Whether for its age, its size or the number of its tasks, so that another one takes its place.
        recycled: bool,
    },
    /// A worker has ended: told to, or by accident.
    WorkerEnded {
        /// Its number.
        worker: u32,
        /// Its process; none for a thread.
        pid: Option<u32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The code with which it exited.
        exit_code: Option<i32>,
        /// Whether it was running a task.
        busy: bool,
        /// The most resident memory in bytes that it has had, as far as it is known.
        peak_memory: Option<u64>,
    },
    /// The pool is to have another number of workers.
    Resized {
        /// That number.
        workers: usize,
    },
    /// The pool takes no more tasks.
    Closed {
        /// Whether running tasks are ended too.
        at_once: bool,
    },
}

/// A limit that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is limited.
    pub what: Limited,
    /// To how much: nanoseconds, bytes or tasks.
    pub value: u64,
    /// By which means.
    pub means: Means,
}

/// What a [`Limit`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limited {
    /// How long a task may run, in nanoseconds.
    Timeout,
    /// The CPU time of a task, in nanoseconds.
    CpuTime,
    /// The resident memory of a worker while it runs a task, in bytes.
    Memory,
    /// The tasks that a worker is given in its life.
    TasksPerWorker,
    /// The resident memory with which a worker is kept, in bytes.
    WorkerMemory,
    /// How old a worker becomes, in nanoseconds.
    WorkerAge,
}

/// How a [`Limit`] is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Means {
    /// The supervisor's clock.
    Clock,
    /// The supervisor looks at what the kernel says of the process, every 20 ms while it works. What comes and goes in between
    /// is not seen.
    Watch,
    /// The supervisor counts.
    Count,
}

/// Who is told of events.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Fn(&Record) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
