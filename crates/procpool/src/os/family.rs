//! The processes that a process has started, whatever group or session they have put themselves in.
//!
//! They are found from parent to child, so one whose parent has ended before (a daemon) is not among them.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// More rounds than any family needs that is stopped as it is found.
const ROUNDS: usize = 100;

/// Sends a signal to every descendant of `pid`.
pub(crate) fn signal_descendants(pid: u32, signal: Signal) {
    let mut known = BTreeSet::from([pid]);
    // Each parent before its children, as they were found.
    for (child, _) in find(pid) {
        send(child, signal, &mut known);
    }
}

/// Ends every descendant of `pid`. First all of them are stopped, so that none can start another one meanwhile.
pub(crate) fn end_descendants(pid: u32) {
    let mut stopped = BTreeSet::from([pid]);
    for _ in 0..ROUNDS {
        let before = stopped.len();
        for (child, _) in find(pid) {
            if !stopped.contains(&child) {
                send(child, Signal::STOP, &mut stopped);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    stopped.remove(&pid);
    if stopped.is_empty() {
        return;
    }
    let mut known = BTreeSet::from([pid]);
    let mut found = find(pid);
    for (child, _) in &found {
        known.insert(*child);
    }
    // The youngest first: whoever ends leaves its children to somebody else, and they would not be known by their parent.
    found.reverse();
    for (child, _) in found {
        send(child, Signal::KILL, &mut known);
    }
}

/// Descendants of a process that may end before they do, and could not be found then.
#[derive(Debug)]
pub(crate) struct Family(Vec<(u32, OwnedFd)>);

impl Family {
    /// Those that `pid` has now. Those that no descriptor is left for are not held.
    pub(crate) fn hold(pid: u32) -> Self {
        let mut known = BTreeSet::from([pid]);
        let mut held = Vec::new();
        for (child, _) in find(pid) {
            let pidfd = as_pid(child).and_then(|target| pidfd_open(target, PidfdFlags::empty()).ok());
            if parent(child).is_some_and(|parent| known.contains(&parent)) {
                known.insert(child);
                held.extend(pidfd.map(|pidfd| (child, pidfd)));
            }
        }
        Self(held)
    }

    /// Ends those that are left, and what they have started since.
    pub(crate) fn end(&self) {
        let left: Vec<_> = self.0.iter().filter(|(_, pidfd)| pidfd_send_signal(pidfd, Signal::STOP).is_ok()).collect();
        for (pid, pidfd) in left {
            // It is stopped or ended, and not waited for by anybody who is stopped: its number is still its own.
            end_descendants(*pid);
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Sends a signal to a process that was just listed as the child of one of `known`, if it still is, and makes it known. Its
/// number cannot become somebody else's between the look and the signal.
fn send(pid: u32, signal: Signal, known: &mut BTreeSet<u32>) {
    let Some(target) = as_pid(pid) else { return };
    let pidfd = pidfd_open(target, PidfdFlags::empty());
    if !parent(pid).is_some_and(|parent| known.contains(&parent)) {
        return;
    }
    let sent = match pidfd {
        Ok(pidfd) => pidfd_send_signal(pidfd, signal),
        // No descriptor is left: the number alone must do.
        Err(_) => kill_process(target, signal),
    };
    if sent.is_ok() {
        known.insert(pid);
    }
}

/// All descendants of a process with their parents, each after its parent.
fn find(pid: u32) -> Vec<(u32, u32)> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let children = match children(parent) {
            Some(children) => children,
            None => children_by_search(parent),
        };
        for child in children {
            if found.iter().all(|(known, _)| *known != child) {
                found.push((child, parent));
                next.push(child);
            }
        }
    }
    found
}

/// The children that the kernel lists for each thread; `None` if this kernel does not.
fn children(pid: u32) -> Option<Vec<u32>> {
    let mut children = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(children) };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            // The thread has ended, or the kernel has no such file.
            Err(_) if thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The same for kernels without lists: asks every process who its parent is.
fn children_by_search(pid: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|child| parent(*child) == Some(pid)).collect()
}

/// The parent of a process that runs.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z" && state != "X")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// A shell that has started another one, in a group of its own, and that one a third.
    fn family() -> std::process::Child {
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sh -c 'sleep 1000; :' & wait"]).process_group(0);
        let child = command.spawn().unwrap();
        while find(child.id()).len() < 2 {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn both_ways_find_the_same() {
        let mut child = family();
        let pid = child.id();
        assert_eq!(children(pid).unwrap(), children_by_search(pid));
        let found = find(pid);
        assert_eq!((found.len(), found[0].1, found[1].1), (2, pid, found[0].0));
        end_descendants(pid);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn descendants_end_whatever_session_they_are_in() {
        let mut child = family();
        let found = find(child.id());
        end_descendants(child.id());
        child.wait().unwrap();
        // They may be listed until whoever inherited them looks.
        for (pid, _) in found {
            while parent(pid).is_some() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn who_is_held_ends_although_its_parent_has_ended_before() {
        let mut child = family();
        let found = find(child.id());
        let held = Family::hold(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(find(child.id()).is_empty() && parent(found[0].0).is_some());
        held.end();
        for (pid, _) in found {
            while parent(pid).is_some() {
                std::thread::yield_now();
            }
        }
        held.end();
    }

    #[test]
    fn an_ended_process_has_no_descendants() {
        assert!(find(u32::MAX).is_empty());
        end_descendants(u32::MAX);
    }
}
