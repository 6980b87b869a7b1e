//! How the memory limit of a worker's tasks is kept, and what is known about a worker that did not keep it.
//!
//! Up to three means at once: the kernel's own limit on a control group, where one can be made; the watchdog, which looks at the
//! resident size (`thread.rs`); and under the watchdog a floor that no burst between two looks falls through, the kernel's
//! limit on private memory, which is generous since untouched memory counts there too.

use std::io;

use crate::os::cgroup::{Group, Home};
use crate::os::process::{Child, Exit};
use crate::os::procfs;

/// How much private memory a worker may ask for whose task may have `limit` bytes resident.
fn floor(limit: u64) -> u64 {
    limit.saturating_mul(2).saturating_add(512 << 20)
}

/// The limits of one worker process.
#[derive(Debug)]
pub(super) struct Limiter {
    group: Option<Group>,
    /// The largest limit among the tasks that the worker was given since it last had none.
    in_force: Option<u64>,
    floored: bool,
    /// The most resident memory that was seen.
    most_seen: u64,
    /// How many processes the kernel had ended for lack of memory when the worker was started.
    ended_before: Option<u64>,
}

/// What is known of memory at a worker's end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemoryAtEnd {
    /// Which of the kernel's limits ended it, if one did.
    pub(super) by: Option<Means>,
    /// The most that it is known to have had.
    pub(super) most: u64,
    /// How many processes the kernel has ended for lack of memory while it lived; `None` if nobody can know.
    pub(super) ended_elsewhere: Option<u64>,
}

/// What kept a memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Group,
    /// With the private memory that was allowed.
    Floor(u64),
}

impl Limiter {
    /// For a process that has not begun anything; `home` is where its control group is made, if it is to have one.
    pub(super) fn new(child: &Child, number: u32, home: Option<&Home>) -> Self {
        let group = home.and_then(|home| {
            let group = home.make(number).ok()?;
            group.enter(child.pid()).is_ok().then_some(group)
        });
        Self { group, in_force: None, floored: false, most_seen: 0, ended_before: procfs::ended_for_memory() }
    }

    /// Before the worker gets a task with this limit; `idle` says that it has no other task.
    pub(super) fn allow(&mut self, child: &Child, limit: Option<u64>, idle: bool) {
        // What is loosest holds for all that it has at the time; the watchdog tells them apart.
        let wanted = match (limit, self.in_force) {
            (Some(limit), Some(in_force)) if !idle => Some(limit.max(in_force)),
            (Some(_), None) if !idle => None,
            (limit, _) => limit,
        };
        if wanted == self.in_force {
            return;
        }
        self.in_force = wanted;
        let set: io::Result<()> = self.group.as_ref().map_or(Ok(()), |group| group.set_most_memory(wanted));
        if set.is_err() {
            self.group = None;
        }
        self.floored = child.set_most_data(wanted.map(floor)).is_ok() && wanted.is_some();
    }

    /// Whether the kernel keeps this very limit, and nobody else need look.
    pub(super) fn is_kept(&self, limit: u64) -> bool {
        self.group.is_some() && self.in_force == Some(limit)
    }

    /// How much memory the process has now, noted, without the `shared` bytes that it has for the pool.
    pub(super) fn look(&mut self, pid: u32, shared: u64) -> Option<u64> {
        let seen = procfs::resident_bytes(pid, shared)?;
        self.most_seen = self.most_seen.max(seen);
        Some(seen)
    }

    /// Notes the most memory that the process ever had; before it is ended.
    pub(super) fn look_back(&mut self, pid: u32) {
        self.most_seen = self.most_seen.max(procfs::peak_bytes(pid).unwrap_or(0));
    }

    /// After the worker's end; `lacked` says that its last words were those of an allocator.
    pub(super) fn at_end(&self, exit: Option<Exit>, lacked: bool) -> MemoryAtEnd {
        let by = match (exit, &self.group, self.in_force) {
            (Some(Exit::Signal(libc::SIGKILL)), Some(group), _) if group.ended_for_memory() > 0 => Some(Means::Group),
            (Some(Exit::Signal(libc::SIGABRT)), _, Some(limit)) if self.floored && lacked => {
                Some(Means::Floor(floor(limit)))
            }
            _ => None,
        };
        let of_group = self.group.as_ref().and_then(Group::most_memory_used).filter(|_| by == Some(Means::Group));
        let ended_elsewhere = match (self.ended_before, procfs::ended_for_memory()) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before)),
            _ => None,
        };
        MemoryAtEnd { by, most: of_group.unwrap_or(0).max(self.most_seen), ended_elsewhere }
    }

    /// Ends what is in the worker's control group.
    pub(super) fn kill(&self) {
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// The control group, to be dropped where it does no harm to wait for the kernel.
    pub(super) fn take_group(&mut self) -> Option<Group> {
        self.group.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_generous_and_does_not_overflow() {
        assert_eq!(floor(64 << 20), 640 << 20);
        assert_eq!(floor(u64::MAX), u64::MAX);
    }
}
