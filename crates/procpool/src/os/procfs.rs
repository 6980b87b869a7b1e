//! What `/proc` tells of a process.

use std::fs;

/// Resident memory of a process in bytes, or `None` once it is gone. Of the part that it shares with others or with files up
/// to `disregarded` bytes do not count.
pub(crate) fn resident_bytes(pid: u32, disregarded: u64) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let mut bytes = || Some(pages.next()?.ok()? * rustix::param::page_size() as u64);
    let (resident, shared) = (bytes()?, bytes()?);
    Some(resident.saturating_sub(shared.min(disregarded)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_an_ended_one_has_none() {
        let all = super::resident_bytes(std::process::id(), 0).unwrap();
        let own = super::resident_bytes(std::process::id(), u64::MAX).unwrap();
        assert!(all > own && own > 0, "{all} {own}");
        assert!(super::resident_bytes(u32::MAX, 0).is_none());
    }
}
