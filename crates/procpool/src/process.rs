//! One function in one process of its own.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::attach::{self, Attachment, Sealed};
use crate::call::{self, Function};
use crate::client::require_init;
use crate::error::{Blame, Error, Kind, Result};
use crate::os::process::{Child, Exit, signal_name};
use crate::os::socket::{MAX_MESSAGE, Received, Socket};
use crate::supervisor::{Large, Origin, call_message, start_process};
use crate::wire::control::{self, PROTOCOL, ToParent, ToWorker};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// It exited with this code; 0 after its function returned or panicked.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Nobody can say: this program ignores SIGCHLD, or waited for any child and reaped it.
    Untold,
}

impl From<Exit> for ExitStatus {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
            Exit::Untold => Self::Untold,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by {}", signal_name(*signal)),
            Self::Untold => f.write_str("ended"),
        }
    }
}

/// A function that runs in a process of its own, for the few that are better apart than in a pool.
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{ExitStatus, Process};
///
/// let mut process = Process::spawn(|n: u64| (0..n).sum::<u64>(), 10)?;
/// assert_ne!(process.pid(), Some(std::process::id()));
/// assert_eq!(process.join()?, 45);
/// assert_eq!(process.exit_status(), Some(ExitStatus::Code(0)));
/// # Ok(())
/// # }
/// ```
///
/// Dropping it ends the process. With it ends whatever it has started itself.
#[must_use = "dropping a process ends it; `join` waits for it"]
pub struct Process<O> {
    function: Function,
    input: Vec<u8>,
    attachments: Vec<Attachment>,
    running: Option<(Child, Socket)>,
    pid: Option<u32>,
    exit: Option<Exit>,
    /// What it sent: its result, or why it could not start.
    result: Option<Large>,
    /// Memories that the input refers to.
    lent: Vec<Arc<Sealed>>,
    unable: Option<String>,
    output: PhantomData<fn() -> O>,
}

impl<O: Serialize + DeserializeOwned> Process<O> {
    /// Prepares `f(input)`; [`Process::start`] starts it.
    ///
    /// # Errors
    /// [`Kind::Encode`] if the input cannot be encoded, [`Kind::Usage`] if [`init`](crate::init) was not called.
    pub fn new<F, X>(f: F, input: X) -> Result<Self>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
    {
        require_init()?;
        let function = call::task(f)?;
        let mut bytes = Vec::new();
        let (encoded, attachments) = attach::collect(|| call::encode(&input, &mut bytes));
        encoded.map_err(|why| {
            Error::new(Kind::Encode, Blame::Caller, format!("its input cannot be encoded: {why}"))
                .with_task(function.name, 0)
        })?;
        Ok(Self {
            function,
            input: bytes,
            attachments,
            running: None,
            pid: None,
            exit: None,
            result: None,
            lent: Vec::new(),
            unable: None,
            output: PhantomData,
        })
    }

    /// Prepares `f(input)` and starts it.
    ///
    /// # Errors
    /// As [`Process::new`] and [`Process::start`].
    pub fn spawn<F, X>(f: F, input: X) -> Result<Self>
    where
        F: Fn(X) -> O + Copy + Send + 'static,
        X: Serialize + DeserializeOwned,
    {
        let mut process = Self::new(f, input)?;
        process.start()?;
        Ok(process)
    }

    /// Starts the process. It can be started once.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it was started before, [`Kind::Start`] if the system cannot start it.
    pub fn start(&mut self) -> Result<()> {
        if self.pid.is_some() {
            return Err(Error::usage("this process was started before; make a new one"));
        }
        let refused =
            |e: std::io::Error| Error::new(Kind::Start, Blame::Host, format!("the process could not be started: {e}"));
        let (ours, theirs) = Socket::pair().map_err(refused)?;
        let mut fds = Vec::new();
        let call = call_message(self.function, &self.input, &self.attachments, &mut fds).map_err(refused)?;
        let message = ToWorker::RunOnce { protocol: PROTOCOL, identity: call::identity()?, call };
        let child = start_process("procpool-process", theirs, None, None).map_err(refused)?;
        self.pid = Some(child.pid());
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = ours.send(&control::encode(&message), &fds, true);
        self.running = Some((child, ours));
        self.lent = self.attachments.drain(..).filter_map(|a| a.memory().cloned()).collect();
        sent.map_err(|e| {
            self.kill();
            refused(e)
        })
    }

    /// Waits for the process to end, and returns what its function returned.
    ///
    /// # Errors
    /// [`Kind::Panicked`] or [`Kind::Died`] as of a pool's task; [`Kind::Usage`] if it was not started, or joined before.
    pub fn join(&mut self) -> Result<O> {
        self.wait(None);
        self.outcome()
    }

    /// Waits for the process to end, but no longer than `timeout`: then `None`, and it runs on.
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Result<O>> {
        if self.running.is_some() && !self.wait(Some(timeout)) {
            return None;
        }
        Some(self.outcome())
    }

    fn outcome(&mut self) -> Result<O> {
        let origin = Origin { name: self.function.name, pid: self.pid, attempt: 1, peak_memory: None };
        if let Some(large) = self.result.take() {
            return origin.large_outcome(large, &self.lent, 0);
        }
        if let Some(reason) = self.unable.take() {
            return Err(Error::new(Kind::Start, Blame::Worker, reason).with_task(self.function.name, 0));
        }
        let Some(exit) = self.exit else {
            return Err(Error::usage("this process was not started"));
        };
        let (signal, code) = match exit {
            Exit::Signal(signal) => (Some(signal), None),
            Exit::Code(0) => {
                return Err(Error::usage(
                    "the process has ended, and its outcome was taken before or it exited by itself",
                ));
            }
            Exit::Code(code) => (None, Some(code)),
            Exit::Untold => (None, None),
        };
        let pid = self.pid.unwrap_or_default();
        Err(Error::new(Kind::Died, Blame::Worker, format!("the process (pid {pid}) {}", ExitStatus::from(exit)))
            .with_task(self.function.name, 0)
            .with_worker(self.pid, 1)
            .with_exit(signal, code))
    }
}

impl<O> Process<O> {
    /// Its process id, once it was started.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether it was started and has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.running.is_some() && !self.wait(Some(Duration::ZERO))
    }

    /// How it ended; `None` before it is started and while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.is_alive();
        self.exit.map(ExitStatus::from)
    }

    /// Ends the process at once, and everything it has started.
    pub fn kill(&self) {
        if let Some((child, _)) = &self.running {
            child.kill_family();
        }
    }

    /// Waits for its end; takes what it sent, ends what it left, reaps it. Returns whether it has ended.
    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let Some((child, socket)) = &self.running else { return true };
        let exit = loop {
            match (child.wait(timeout), timeout) {
                (Some(exit), _) => break exit,
                // Interrupted by a signal.
                (None, None) => {}
                (None, Some(_)) => return false,
            }
        };
        let mut buf = vec![0; MAX_MESSAGE];
        while let Ok(Received::Message(len, fds)) = socket.receive(&mut buf, false) {
            match control::decode(&buf[..len]) {
                Some(ToParent::Attach { memories, .. }) => self.result = Some(Large::new(fds, &memories)),
                Some(ToParent::Unable { reason }) => self.unable = Some(reason),
                _ => {}
            }
        }
        self.exit = Some(exit);
        self.running = None;
        true
    }
}

impl<O> Drop for Process<O> {
    fn drop(&mut self) {
        self.kill();
        self.wait(None);
    }
}

impl<O> fmt::Debug for Process<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("function", &self.function.name)
            .field("pid", &self.pid)
            .field("exit", &self.exit)
            .finish()
    }
}
