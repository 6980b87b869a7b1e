//! Control groups (version 2) for workers: the kernel's own limit of memory, and an end that nothing in the group escapes.
//!
//! A group is made only where this program was given a tree of its own to make groups in, with the memory controller:
//!
//! - in its own group, if that is the root of the machine: only there may a group have both processes and limited children;
//! - else in the group above, if that was delegated to it: it carries systemd's mark of delegation, or is the root of a
//!   control-group namespace. Making them above any other group would take the workers out of limits that are meant for them.

mod group;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use group::Group;

/// Where groups for workers are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

/// What the names of our groups begin with; the pid and the start time of the program follow.
const PREFIX: &str = "procpool-";

impl Home {
    /// Finds the place and clears what programs that were killed have left there, or says why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let home = Self::among(Path::new("/"), &read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)?;
        home.clear(is_running);
        Ok(home)
    }

    /// As `find`, for a file system that begins at `root`.
    fn among(root: &Path, mountinfo: &str, cgroup: &str) -> Result<Self, String> {
        let own = own_path(cgroup).ok_or("this program is in no control group of version 2")?;
        let (mount, shown) = mount_of(mountinfo).ok_or("no control groups of version 2 are mounted")?;
        let below = Path::new(own).strip_prefix(shown).map_err(|_| "its control group is not mounted")?;
        let top = root.join(mount.strip_prefix("/").unwrap_or(mount));
        let own = top.join(below);
        let refused = match may_have_children(&own, is_machine_root(&own)) {
            Ok(()) => return Ok(Self(own)),
            Err(why) => why,
        };
        let Some(above) = own.parent().filter(|_| own != top) else {
            return Err(refused);
        };
        let delegated = is_marked(above) || above == top && !is_machine_root(above);
        may_have_children(above, delegated).map(|()| Self(above.to_path_buf()))
    }

    /// The group of worker `number` of this program. It holds nobody yet.
    pub(crate) fn make(&self, number: u32) -> io::Result<Group> {
        static MADE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let pid = std::process::id();
        let unique = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let start = start_time(pid).unwrap_or(0);
        Group::make(self.0.join(format!("{PREFIX}{pid}-{start}-{unique}-{number}")))
    }

    /// Removes the empty groups of programs that are not there any more. Whose processes still run, the kernel keeps.
    fn clear(&self, is_running: impl Fn(u32, u64) -> bool) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let owner = entry.file_name().to_str().and_then(owner_of);
            if owner.is_some_and(|(pid, start)| !is_running(pid, start)) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// Whether groups below `group` can have limits of memory, `allowed` being whether we may make any there.
fn may_have_children(group: &Path, allowed: bool) -> Result<(), String> {
    let name = group.display();
    if !allowed {
        return Err(format!("{name} was not delegated to this program"));
    }
    let list = |file: &str| fs::read_to_string(group.join(file)).map_err(|e| format!("{name}/{file}: {e}"));
    let has_memory = |list: &str| list.split_ascii_whitespace().any(|controller| controller == "memory");
    if !has_memory(&list("cgroup.controllers")?) {
        return Err(format!("{name} has no memory controller"));
    }
    if !has_memory(&list("cgroup.subtree_control")?) {
        fs::write(group.join("cgroup.subtree_control"), "+memory")
            .map_err(|e| format!("the memory controller of {name} cannot be passed on: {e}"))?;
    }
    rustix::fs::access(group, rustix::fs::Access::WRITE_OK).map_err(|e| format!("{name} cannot be written: {e}"))
}

/// Whether it is the one group of the machine that is above all others: the only one without events.
fn is_machine_root(group: &Path) -> bool {
    !group.join("cgroup.events").exists()
}

/// Whether systemd says that the group belongs to the program in it.
fn is_marked(group: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].into_iter().any(|mark| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(group, mark, &mut value).is_ok_and(|len| value.get(..len) == Some(b"1"))
    })
}

/// The path of the group of version 2 in the text of `/proc/self/cgroup`.
fn own_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where the groups of version 2 are mounted, and which group is shown there, from the text of `/proc/self/mountinfo`.
fn mount_of(mountinfo: &str) -> Option<(&Path, &Path)> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (shown, at) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some((Path::new(at), Path::new(shown)))
    })
}

/// The pid and the start time of the program that made a group of this name.
fn owner_of(name: &str) -> Option<(u32, u64)> {
    let mut numbers = name.strip_prefix(PREFIX)?.split('-');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn is_running(pid: u32, start: u64) -> bool {
    start_time(pid) == Some(start)
}

/// When a process was started, in the kernel's ticks.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;
