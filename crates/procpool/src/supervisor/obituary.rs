//! What the end of a worker means for the task that it was running, in words.

use std::time::Duration;

use super::limiter::{Means, MemoryAtEnd};
use super::{Core, Frame, WATCH};
use crate::error::{Blame, Error, Kind};
use crate::os::process::{Exit, signal_name};
use crate::sched::{Doom, Failure, Nanos, WorkerId};

/// How a worker ended.
#[derive(Debug, Clone)]
pub(super) struct Obituary {
    pub(super) pid: Option<u32>,
    pub(super) exit: Option<Exit>,
    /// The end of its standard error.
    pub(super) stderr: Option<String>,
    pub(super) memory: MemoryAtEnd,
    /// The most resident memory in bytes that it has had, as far as it is known.
    pub(super) peak_memory: Option<u64>,
    /// Since when it can have been running its last task.
    pub(super) begun: Option<Nanos>,
}

impl Core {
    /// What a scheduler's failure means to people.
    pub(super) fn error_of(&self, failure: Failure, worker: Option<(WorkerId, &Frame)>, attempt: u32) -> Error {
        let obituary = self.obituary.as_ref().and_then(|(id, obituary)| (worker?.0 == *id).then_some(obituary));
        let (pid, exit) = obituary.map_or((None, None), |o| (o.pid, o.exit));
        let stderr = obituary.and_then(|o| o.stderr.clone());
        let memory = obituary.map(|o| o.memory).unwrap_or_default();
        let who = pid.map_or("its worker".to_string(), |pid| format!("its worker (pid {pid})"));
        let error = match failure {
            Failure::Cancelled | Failure::Died(Some(Doom::Cancel)) => {
                Error::new(Kind::Cancelled, Blame::Caller, "it was cancelled")
            }
            Failure::Closed => Error::new(Kind::Closed, Blame::Caller, "the pool is shut down"),
            Failure::Died(Some(Doom::Shutdown)) => {
                Error::new(Kind::Closed, Blame::Caller, "the pool was shut down while it ran")
            }
            Failure::NoWorker => self
                .start_error
                .clone()
                .unwrap_or_else(|| Error::new(Kind::Start, Blame::Host, "no worker could be started")),
            Failure::Died(Some(Doom::Timeout)) => {
                let limit = worker.and_then(|(_, frame)| frame.timeout).map(Duration::from_nanos).unwrap_or_default();
                Error::new(
                    Kind::TimedOut,
                    Blame::Task,
                    format!("it took longer than its timeout of {limit:?}; {who} was ended"),
                )
            }
            Failure::Died(Some(Doom::CpuTime)) => {
                let limit = worker.and_then(|(_, frame)| frame.cpu_time).map(Duration::from_nanos).unwrap_or_default();
                let text = format!("it used more CPU time than its limit of {limit:?}; {who} was ended");
                Error::new(Kind::TimedOut, Blame::Task, text)
            }
            Failure::Died(Some(Doom::Memory(seen))) => {
                let limit = worker.and_then(|(_, frame)| frame.memory_limit).unwrap_or_default();
                let most = seen.max(memory.most);
                let text = over_memory(&who, memory.by, limit, seen, most);
                Error::new(Kind::OutOfMemory, Blame::Task, text).with_peak_memory(Some(most).filter(|most| *most > 0))
            }
            Failure::Died(Some(Doom::Breach(what))) => {
                Error::new(Kind::Died, Blame::Worker, format!("{who} broke the protocol ({what}) and was ended"))
            }
            Failure::Died(None) => {
                let text = how_it_died(&who, exit) + &perhaps_for_memory(exit, memory.ended_elsewhere);
                Error::new(Kind::Died, Blame::Worker, text)
            }
        };
        let (signal, code) = told(exit);
        let peak_memory = obituary.and_then(|o| o.peak_memory).max(error.peak_memory());
        error.with_worker(pid, attempt).with_exit(signal, code).with_stderr(stderr).with_peak_memory(peak_memory)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn how_it_died(who: &str, exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Signal(signal)) => format!("{who} was killed by {}", signal_name(signal)),
        Some(Exit::Code(code)) => format!("{who} exited with code {code} in the middle of it"),
        Some(Exit::Untold) | None => format!("{who} ended in the middle of it"),
    }
}

/// A worker was ended because of its task's limit of memory.
fn over_memory(who: &str, by: Option<Means>, limit: u64, seen: u64, most: u64) -> String {
    let limit = mebibytes(limit);
    let most = if most > 0 { format!("{} at most", mebibytes(most)) } else { "an unknown amount".to_string() };
    match by {
        None => format!(
            "{who} used {}, more than the limit of {limit}, and was ended; {most}, by a look every {WATCH:?}",
            mebibytes(seen)
        ),
        Some(Means::Group) => format!(
            "{who} and what it had started used more than the limit of {limit}, and the kernel ended them; {most}, by their \
             control group"
        ),
        Some(Means::Floor(allowed)) => format!(
            "{who} asked for more memory than the limit of {limit} has room for, was refused, and gave up; it had {most}, and \
             the kernel's limit on its private memory (RLIMIT_DATA) was {}",
            mebibytes(allowed)
        ),
    }
}

/// What the kernel's own killer has to do with a death by SIGKILL that was not ours.
fn perhaps_for_memory(exit: Option<Exit>, ended: Option<u64>) -> String {
    match (exit, ended) {
        (Some(Exit::Signal(libc::SIGKILL)), Some(1..)) => format!(
            ", perhaps by the kernel for lack of memory: it has ended {} that way on this machine since the worker was started",
            ended.map_or_else(String::new, |n| if n == 1 { "one process".into() } else { format!("{n} processes") })
        ),
        (Some(Exit::Signal(libc::SIGKILL)), None) => ", perhaps by the kernel for lack of memory".into(),
        _ => String::new(),
    }
}

pub(super) fn ended_before_ready(exit: Option<Exit>) -> String {
    let how = match exit {
        Some(Exit::Signal(signal)) => format!("was killed by {}", signal_name(signal)),
        Some(Exit::Code(code)) => format!("exited with code {code}"),
        Some(Exit::Untold) | None => "ended".to_string(),
    };
    format!(
        "a worker {how} before it was ready; does main() begin with procpool::init(), \
         and a test binary have procpool::init_in_tests!()?"
    )
}

/// The signal and the exit code of an end, as far as they are known.
pub(super) fn told(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Signal(signal)) => (Some(signal), None),
        Some(Exit::Code(code)) => (None, Some(code)),
        Some(Exit::Untold) | None => (None, None),
    }
}
