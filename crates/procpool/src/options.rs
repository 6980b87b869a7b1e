//! What one task may use, and what happens when it fails.

use std::time::Duration;

use crate::error::Kind;
pub(crate) use crate::sched::nanos;
use crate::sched::{Nanos, PRIORITIES, RetryOn, Spec};

/// Limits, retries and priority of tasks: of all tasks of a pool ([`PoolBuilder::task_options`]), of one
/// ([`Pool::submit_with`]) or of a map ([`Map::options`]).
///
/// ```
/// # use std::time::Duration;
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{Kind, Pool, TaskOptions};
///
/// let pool = Pool::builder().workers(1).build()?;
/// let hasty = TaskOptions::new().timeout(Duration::from_millis(20));
/// let error = pool.submit_with(&hasty, |s| std::thread::sleep(Duration::from_secs(s)), 60)?.wait().unwrap_err();
/// assert_eq!(error.kind(), Kind::TimedOut);
/// # Ok(())
/// # }
/// ```
///
/// [`PoolBuilder::task_options`]: crate::PoolBuilder::task_options
/// [`Pool::submit_with`]: crate::Pool::submit_with
/// [`Map::options`]: crate::Map::options
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) memory: Option<u64>,
    retries: u32,
    retry_on: RetryOn,
    priority: u8,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self { timeout: None, cpu_time: None, memory: None, retries: 0, retry_on: RetryOn::ALL, priority: 5 }
    }
}

impl TaskOptions {
    /// No limits, no retries, priority 5.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest that one task may run, by the clock on the wall. Then its worker is ended and replaced, and the task
    /// fails with [`Kind::TimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The most CPU time, of all its threads together, that one task may use; looked at every 20 ms. Then its worker is
    /// ended and replaced, and the task fails with [`Kind::TimedOut`].
    pub fn cpu_time(mut self, limit: Duration) -> Self {
        self.cpu_time = Some(limit);
        self
    }

    /// The most memory in bytes that a worker may use while it runs the task. One that uses more is ended and replaced, and the
    /// task fails with [`Kind::OutOfMemory`]. How that is kept: see [`PoolBuilder::memory_limit`].
    ///
    /// [`PoolBuilder::memory_limit`]: crate::PoolBuilder::memory_limit
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// How often a task is begun again when its worker died, was too slow or used too much memory. A panic or an error
    /// that the function returns is an outcome, and is not tried again.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Which failures count for the retries: any of [`Kind::Died`], [`Kind::TimedOut`] and [`Kind::OutOfMemory`].
    /// Default: all three.
    pub fn retry_on(mut self, kinds: &[Kind]) -> Self {
        self.retry_on = RetryOn {
            died: kinds.contains(&Kind::Died),
            timed_out: kinds.contains(&Kind::TimedOut),
            out_of_memory: kinds.contains(&Kind::OutOfMemory),
        };
        self
    }

    /// From 0 to 9 (more is 9): tasks of a higher priority go first, within one the oldest. It decides what begins next;
    /// nothing that runs is stopped for it.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority.min(PRIORITIES as u8 - 1);
        self
    }

    /// Whether a limit ends the worker of a task that passes it.
    pub(crate) fn has_limits(&self) -> bool {
        self.timeout.is_some() || self.cpu_time.is_some() || self.memory.is_some()
    }

    /// How often a task may be begun again.
    pub(crate) fn most_retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn timeout_ns(&self) -> Option<Nanos> {
        self.timeout.map(nanos)
    }

    pub(crate) fn cpu_time_ns(&self) -> Option<Nanos> {
        self.cpu_time.map(nanos)
    }

    pub(crate) fn spec(&self, items: u32, function: u64) -> Spec {
        let &Self { retries, retry_on, priority, .. } = self;
        Spec { items, function, timeout: self.timeout_ns(), retries, retry_on, priority }
    }
}
