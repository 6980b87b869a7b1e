//! What `/proc` tells of a process.

use std::fs;

/// Resident memory of a process in bytes, or `None` once it is gone.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    super::fail::point(super::fail::Call::Open).ok()?;
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_an_ended_one_has_none() {
        assert!(super::resident_bytes(std::process::id()).unwrap() > 0);
        assert!(super::resident_bytes(u32::MAX).is_none());
    }
}
