//! What `/proc` tells of a process.

use std::fs;

/// Resident memory of a process in bytes, or `None` once it is gone. Of the part that it shares with others or with files up
/// to `disregarded` bytes do not count.
pub(crate) fn resident_bytes(pid: u32, disregarded: u64) -> Option<u64> {
    super::fail::point(super::fail::Call::Open).ok()?;
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let mut bytes = || Some(pages.next()?.ok()? * rustix::param::page_size() as u64);
    let (resident, shared) = (bytes()?, bytes()?);
    Some(resident.saturating_sub(shared.min(disregarded)))
}

/// The most resident memory in bytes that a process has had since it began its program, or `None` once it has ended.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// How many processes of this machine the kernel has ended for lack of memory since it was started, its control groups'
/// lack counted; `None` if it does not say.
pub(crate) fn ended_for_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_an_ended_one_has_none() {
        let all = super::resident_bytes(std::process::id(), 0).unwrap();
        let own = super::resident_bytes(std::process::id(), u64::MAX).unwrap();
        assert!(all > own && own > 0, "{all} {own}");
        assert!(super::resident_bytes(u32::MAX, 0).is_none());
        let most = super::peak_bytes(std::process::id()).unwrap();
        assert!(most >= all / 2 && most.is_multiple_of(1024));
        assert!(super::peak_bytes(u32::MAX).is_none());
    }
}
