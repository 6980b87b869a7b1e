//! The control group of one worker.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A group of our own. Dropping it ends what is in it and removes it.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

/// How long the kernel may take to empty a group whose processes were killed, looked at every millisecond.
const EMPTYING: u32 = 200;

impl Group {
    pub(super) fn make(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Puts a process into the group; what it starts from now on is in it too.
    pub(crate) fn enter(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }

    /// Lets the group have so many bytes of memory together, or any number. The kernel ends all of it when it needs more.
    pub(crate) fn set_most_memory(&self, bytes: Option<u64>) -> io::Result<()> {
        let text = bytes.map_or("max".to_string(), |bytes| bytes.to_string());
        // Half a group is of no use to anybody. Older kernels do not know this file.
        let _ = fs::write(self.0.join("memory.oom.group"), "1");
        // What would be swapped out is too much as well. Without swap there is no such file.
        let _ = fs::write(self.0.join("memory.swap.max"), if bytes.is_some() { "0" } else { "max" });
        fs::write(self.0.join("memory.max"), text)
    }

    /// How many of its processes the kernel has ended for lack of memory.
    pub(crate) fn ended_for_memory(&self) -> u64 {
        fs::read_to_string(self.0.join("memory.events"))
            .map_or(0, |events| number_after("oom_kill ", &events).unwrap_or(0))
    }

    /// The most memory that it had at once, in bytes.
    pub(crate) fn most_memory_used(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// Ends everything in it, whatever session it is in.
    pub(crate) fn kill(&self) {
        if fs::write(self.0.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Before Linux 5.14: one by one.
        let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn remove(path: &Path) -> bool {
        match fs::remove_dir(path) {
            Ok(()) => true,
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..EMPTYING {
            if Self::remove(&self.0) {
                return;
            }
            self.kill();
            std::thread::sleep(Duration::from_millis(1));
        }
        // The next program that makes groups here clears it away.
    }
}

/// The number behind `key` at the beginning of a line.
pub(crate) fn number_after(key: &str, text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}
