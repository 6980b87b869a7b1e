//! The event log: what happened to every task and worker, for whoever listens.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Kind;

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
/// assert!(matches!(log[0].event, Event::TasksQueued { first: 0, count: 1, .. }));
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
    /// Tasks ended, one after the other, in the same way.
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
        /// The process that ran them, if one did.
        pid: Option<u32>,
        /// How long they ran together with those that were shown with them, in nanoseconds, as their worker says.
        run_ns: Option<u64>,
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

/// Who is told of events.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Fn(&Record) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// Events on their way out of the lock; without a listener, nothing.
#[derive(Debug, Default)]
pub(crate) struct Log {
    listening: bool,
    next: u64,
    /// How long the pool's clock has not run: these nanoseconds are over all the same.
    stood: u64,
}

impl Log {
    pub(crate) fn new(listening: bool) -> Self {
        Self { listening, next: 0, stood: 0 }
    }

    /// From now on the pool's clock is behind the real one by so many nanoseconds.
    pub(crate) fn set_stood(&mut self, stood: u64) {
        self.stood = stood;
    }

    /// Notes what `event` says, if somebody listens.
    pub(crate) fn note(&mut self, at_ns: u64, records: &mut Vec<Record>, event: impl FnOnce() -> Event) {
        if self.listening {
            records.push(Record { number: self.next, at_ns: at_ns + self.stood, event: event() });
            self.next += 1;
        }
    }
}
