//! What the fault tests share: the watchdog and the proof that nothing is left, notes that tasks take independently of the
//! pool, and the system calls that make things go wrong.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../../../crates/procpool/tests/support/mod.rs"]
mod support;

pub mod flat;
pub mod host;
pub mod huge;
pub mod notes;
pub mod random;
pub mod storm;
#[allow(unsafe_code)]
pub mod sys;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procpool::{Kind, Pool};
pub use support::{WATCHDOG, alone, alone_for, children, open_descriptors, process, processes, wait_until};

/// Far more than an end needs on a loaded machine, far less than a hang.
const END: Duration = Duration::from_secs(20);

/// [`alone`], and nothing new in `/dev/shm` or among the pool's threads either.
pub fn guarded(test: impl FnOnce()) {
    guarded_for(WATCHDOG, test);
}

/// [`guarded`], for a test that takes longer, and looks itself after what it waits for.
pub fn guarded_for(limit: Duration, test: impl FnOnce()) {
    alone_for(limit, || {
        let files = shared_files();
        let threads = pool_threads();
        test();
        assert_eq!(shared_files(), files, "shared memory files are left");
        // A thread that was joined is still listed for a moment.
        wait_until(|| pool_threads() <= threads);
    });
}

/// A pool of so many workers, nothing else set.
pub fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

/// The simplest task.
pub fn double(x: u64) -> u64 {
    2 * x
}

/// Asserts that the pool still runs tasks, as many as keep every worker busy.
pub fn assert_alive(pool: &Pool) {
    let outputs: Vec<u64> = pool.map(double, 0..100).chunk_size(1).map(|o| o.unwrap()).collect();
    assert_eq!(outputs, (0..100).map(double).collect::<Vec<_>>());
}

/// Ends the pool in the middle of whatever it does, and asserts that this takes no time worth speaking of and leaves no
/// process.
pub fn end(pool: Pool) {
    let start = Instant::now();
    drop(pool);
    assert!(start.elapsed() < END, "the end of the pool took {:?}", start.elapsed());
    assert_eq!(children(), BTreeSet::new(), "children are left");
}

/// The kind of an outcome that must be an error.
pub fn kind_of<O: std::fmt::Debug>(outcome: procpool::Result<O>) -> Kind {
    outcome.unwrap_err().kind()
}

/// Files of ours in `/dev/shm`.
fn shared_files() -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir("/dev/shm") else { return BTreeSet::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.contains("procpool")).collect()
}

/// How many threads of pools this process has; the test harness has threads of its own that come and go.
pub fn pool_threads() -> usize {
    let names =
        fs::read_dir("/proc/self/task").unwrap().filter_map(|t| fs::read_to_string(t.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("procpool")).count()
}

/// Resident memory of this process in bytes.
pub fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

/// Whether a process that is not our child runs no more.
pub fn is_gone(pid: u32) -> bool {
    process(pid).is_none_or(|p| p.state == 'Z')
}

/// A control group with so many bytes of memory, below that of this process; `None` where none can be made.
pub fn memory_group(bytes: u64) -> Option<MemoryGroup> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = |prefix: &str, mount: &str| {
        let path = own.lines().find_map(|line| line.split_once(':').and_then(|(_, rest)| rest.strip_prefix(prefix)))?;
        Some(PathBuf::from(format!("{mount}{}", path.trim_end_matches('/'))))
    };
    let kinds = [
        (path(":", "/sys/fs/cgroup"), "memory.max"),
        (path("memory:", "/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ];
    kinds.into_iter().find_map(|(parent, limit)| {
        let group = MemoryGroup(parent?.join(format!("procpool-faults-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        // A group of version 2 whose parent does not pass the controller on has no such file.
        fs::OpenOptions::new()
            .write(true)
            .open(group.0.join(limit))
            .ok()?
            .write_all(bytes.to_string().as_bytes())
            .ok()?;
        Some(group)
    })
}

/// Removed when dropped, once its processes are gone.
#[derive(Debug)]
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        if self.0.exists() {
            wait_until(|| fs::remove_dir(&self.0).is_ok());
        }
    }
}

/// Says aloud that a test could not be done here.
pub fn skip(why: &str) {
    eprintln!("SKIPPED {}: {why}", std::thread::current().name().unwrap_or("?"));
}
