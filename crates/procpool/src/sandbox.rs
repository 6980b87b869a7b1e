//! What workers give up before their first task, and what came of it.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::wire::control::{SandboxRules, SandboxState};

/// What the workers of a pool may still do. For [`PoolBuilder::sandbox`](crate::PoolBuilder::sandbox).
///
/// For functions that work on bytes from strangers: should a decoder be taken over, it finds itself in a process that
/// cannot open files, reach the network, start programs or touch other processes. It can compute, use what it was handed
/// (its input, a [`Queue`](crate::Queue), a [`SharedFile`](crate::SharedFile)), start threads, and return a result.
///
/// ```
/// # fn main() -> procpool::Result<()> {
/// # procpool::init();
/// use procpool::{Pool, Sandbox};
///
/// let pool = Pool::builder().workers(1).sandbox(Sandbox::strict()).build()?;
/// let peek = |()| std::fs::read_to_string("/etc/passwd").is_ok();
/// let could_peek = pool.submit(peek, ())?.wait()?;
/// // Empty on a kernel that has none of what a sandbox is made of.
/// let report = pool.sandbox_report().unwrap_or_default();
/// assert_eq!(could_peek, report.landlock_abi.is_none(), "{report}");
/// # Ok(())
/// # }
/// ```
///
/// # What is refused
/// - Opening any file or folder, but for reading below the paths that were [named](Sandbox::read), and the program itself
///   (so that backtraces keep their names); making, removing, renaming files; changing modes, owners, times, attributes.
/// - Starting programs. (A copy made by forking lives in the same sandbox.)
/// - Sockets, but for connected pairs within the worker.
/// - Signals to other processes, tracing them, reading their memory, changing their limits; System V and POSIX queues.
/// - Mounts, name spaces, keys, BPF, io_uring, performance counters, kernel modules, the clock.
///
/// A refused call fails with "permission denied" or "operation not permitted"; the worker goes on. What needs a file in the
/// middle of the work (a plug-in, a table of time zones) belongs into the initializer, which runs before, unconfined.
///
/// # What it is made of
/// `no_new_privs`, landlock and a seccomp filter, each as far as the kernel offers it;
/// [`Pool::sandbox_report`](crate::Pool::sandbox_report) says what is in force. It narrows what a worker can do, and is no
/// proof against errors of the kernel itself. Processor time and memory are limited by other options. Processes that the
/// initializer starts are not confined, and should the program be killed, nobody ends them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a sandbox does nothing until it is given to a pool"]
pub struct Sandbox {
    readable: Vec<PathBuf>,
    required: bool,
}

impl Sandbox {
    /// Nothing but computing.
    pub fn strict() -> Self {
        Self::default()
    }

    /// Lets workers read the file `path`, or the folder and everything below it. A relative path begins at the present
    /// working directory; one that leads through links stands for the place where they lead when a worker starts. If it is
    /// not there then, the worker cannot start.
    pub fn read(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.readable.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        self
    }

    /// Makes it an error if the sandbox is not [complete](SandboxReport::is_complete): tasks then end with
    /// [`Kind::Start`](crate::Kind::Start). Default: workers do without what the kernel does not offer.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn rules(&self) -> SandboxRules {
        let readable = self.readable.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
        SandboxRules { readable, required: self.required }
    }
}

/// What is in force of a pool's sandbox, in each of its workers. From [`Pool::sandbox_report`](crate::Pool::sandbox_report).
///
/// Reads like `landlock ABI 7, seccomp, no-new-privs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SandboxReport {
    /// Which version of landlock's interface denies files; `None` if it is not in force.
    pub landlock_abi: Option<u32>,
    /// Whether a filter refuses system calls.
    pub seccomp: bool,
    /// Whether the worker has given up gaining privileges.
    pub no_new_privs: bool,
    /// Threads that landlock does not hold, since the initializer (or something before [`init`](crate::init)) left them
    /// running and the kernel can only hold those that begin later. The other two hold them.
    pub threads_outside: u32,
}

impl SandboxReport {
    /// Whether everything that [`Sandbox`] promises holds.
    pub fn is_complete(&self) -> bool {
        self.landlock_abi.is_some() && self.seccomp && self.no_new_privs && self.threads_outside == 0
    }
}

impl From<SandboxState> for SandboxReport {
    fn from(state: SandboxState) -> Self {
        let SandboxState { landlock_abi, seccomp, no_new_privs, threads_outside } = state;
        Self { landlock_abi: (landlock_abi > 0).then_some(landlock_abi), seccomp, no_new_privs, threads_outside }
    }
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.landlock_abi, self.threads_outside) {
            (None, _) => {}
            (Some(abi), 0) => parts.push(format!("landlock ABI {abi}")),
            (Some(abi), threads) => parts.push(format!("landlock ABI {abi} (but for {threads} threads)")),
        }
        if self.seccomp {
            parts.push("seccomp".into());
        }
        if self.no_new_privs {
            parts.push("no-new-privs".into());
        }
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_is_in_force() {
        let state = SandboxState { landlock_abi: 7, seccomp: true, no_new_privs: true, threads_outside: 0 };
        let told = |state: SandboxState| {
            let report = SandboxReport::from(state);
            assert_eq!(report.is_complete(), state.is_complete());
            report.to_string()
        };
        assert_eq!(told(state), "landlock ABI 7, seccomp, no-new-privs");
        assert_eq!(
            told(SandboxState { threads_outside: 2, ..state }),
            "landlock ABI 7 (but for 2 threads), seccomp, no-new-privs"
        );
        assert_eq!(told(SandboxState { landlock_abi: 0, ..state }), "seccomp, no-new-privs");
        assert_eq!(SandboxReport::default().to_string(), "nothing");
    }

    #[test]
    fn relative_paths_begin_here() {
        let here = std::env::current_dir().unwrap().join("fonts");
        assert_eq!(Sandbox::strict().read("fonts").rules().readable, [here.as_os_str().as_bytes()]);
    }
}
