//! Errors as values: what happened, whose doing it was, and the facts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What procpool's own calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// The task panicked.
    Panicked,
    /// The worker died while it ran the task: a signal, an exit, the kernel's out-of-memory killer.
    Died,
    /// The task ran longer than its timeout; its worker was ended.
    TimedOut,
    /// The worker used, or asked for, more memory than the task's limit; it was ended, or gave up.
    OutOfMemory,
    /// The task was cancelled.
    Cancelled,
    /// The input or the output could not be encoded.
    Encode,
    /// The input or the output could not be decoded.
    Decode,
    /// The pool is shut down and takes no more tasks, or was shut down before this one began.
    Closed,
    /// No worker could be started.
    Start,
    /// As many tasks are pending as the pool takes.
    WouldBlock,
    /// The operating system refused something.
    Os,
    /// The library was used in a way that cannot work.
    Usage,
}

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Blame {
    /// The task: the same input will probably fail again.
    Task,
    /// The worker: the task was its victim, or nobody knows.
    Worker,
    /// The machine or its operating system.
    Host,
    /// The program that uses the pool.
    Caller,
}

/// Why a task has no output, or why a call of this library failed.
///
/// ```
/// # use procpool::{Kind, Pool};
/// fn main() -> procpool::Result<()> {
///     procpool::init();
///     let pool = Pool::builder().workers(1).build()?;
///     let error = pool.submit(|n: u32| -> u32 { panic!("no {n}") }, 7)?.wait().unwrap_err();
///     assert_eq!(error.kind(), Kind::Panicked);
///     assert_eq!(error.message(), "no 7");
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error(Box<Facts>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    kind: Kind,
    blame: Blame,
    message: String,
    task: Option<String>,
    index: Option<u64>,
    pid: Option<u32>,
    attempt: u32,
    signal: Option<i32>,
    exit_code: Option<i32>,
    peak_memory: Option<u64>,
    stderr: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, blame: Blame, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            kind,
            blame,
            message: message.into(),
            task: None,
            index: None,
            pid: None,
            attempt: 1,
            signal: None,
            exit_code: None,
            peak_memory: None,
            stderr: None,
            location: None,
            backtrace: None,
        }))
    }

    pub(crate) fn os(what: &str, error: &std::io::Error) -> Self {
        Self::new(Kind::Os, Blame::Host, format!("{what}: {error}"))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, Blame::Caller, message)
    }

    pub(crate) fn with_task(mut self, name: &str, index: u64) -> Self {
        self.0.task = Some(name.to_string());
        self.0.index = Some(index);
        self
    }

    pub(crate) fn with_worker(mut self, pid: Option<u32>, attempt: u32) -> Self {
        self.0.pid = pid;
        self.0.attempt = attempt;
        self
    }

    pub(crate) fn with_exit(mut self, signal: Option<i32>, exit_code: Option<i32>) -> Self {
        self.0.signal = signal;
        self.0.exit_code = exit_code;
        self
    }

    pub(crate) fn with_peak_memory(mut self, bytes: Option<u64>) -> Self {
        self.0.peak_memory = bytes;
        self
    }

    pub(crate) fn with_stderr(mut self, stderr: Option<String>) -> Self {
        self.0.stderr = stderr;
        self
    }

    pub(crate) fn with_panic(mut self, location: Option<String>, backtrace: Option<String>) -> Self {
        self.0.location = location;
        self.0.backtrace = backtrace;
        self
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whose doing it was.
    pub fn blame(&self) -> Blame {
        self.0.blame
    }

    /// The sentence that says what happened, without the task's name. Of a panic, its own message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The task function's type name, if a task is concerned.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The number of the task: its place among the inputs of a `map`, or among all submitted tasks of the pool.
    pub fn index(&self) -> Option<u64> {
        self.0.index
    }

    /// The process that ran the task.
    pub fn pid(&self) -> Option<u32> {
        self.0.pid
    }

    /// How often the task had been begun, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The signal that ended the worker.
    pub fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    /// The code with which the worker exited.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// The most resident memory in bytes that the worker had had in its life, as far as that is known: of one that lives on
    /// or was ended by the pool it is, of one that died by itself if it was more than this program had.
    pub fn peak_memory(&self) -> Option<u64> {
        self.0.peak_memory
    }

    /// The end of what the worker had printed on standard error before it died, at most 4 KiB.
    pub fn stderr(&self) -> Option<&str> {
        self.0.stderr.as_deref()
    }

    /// Where a panic happened, as `file:line:column`.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The backtrace of a panic.
    pub fn backtrace(&self) -> Option<&str> {
        self.0.backtrace.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &*self.0;
        if let (Some(task), Some(index)) = (&facts.task, facts.index) {
            write!(f, "task {index} ({task}): ")?;
        }
        match (facts.kind, &facts.location) {
            (Kind::Panicked, Some(location)) => write!(f, "panicked at {location}: {}", facts.message),
            (Kind::Panicked, None) => write!(f, "panicked: {}", facts.message),
            _ => f.write_str(&facts.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {}
