//! What every test that makes a pool needs: a watchdog, and the proof that nothing is left afterwards.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that gets here hangs.
pub const WATCHDOG: Duration = Duration::from_secs(120);

/// A task.
pub fn double(x: u64) -> u64 {
    2 * x
}

/// A pool of so many processes.
pub fn pool(workers: usize) -> procpool::Pool {
    procpool::Pool::builder().workers(workers).build().unwrap()
}

/// Runs `test` alone among the tests of this binary, under a watchdog, and then asserts that it left no child process and
/// no descriptor.
pub fn alone(test: impl FnOnce()) {
    alone_for(WATCHDOG, test);
}

/// [`alone`], for a test that takes longer, and looks itself after what it waits for.
pub fn alone_for(limit: Duration, test: impl FnOnce()) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, is_done) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("?").to_string();
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            // What `eprintln` writes is not shown of a test that has not ended.
            let _ = writeln!(std::io::stderr(), "{name} hangs");
            std::process::abort();
        }
    });
    let descriptors = open_descriptors();
    test();
    assert_eq!(children(), BTreeSet::new(), "children are left");
    assert_eq!(open_descriptors(), descriptors, "descriptors are left");
    drop(done);
    watchdog.join().unwrap();
}

/// What the descriptors of this process point to.
pub fn open_descriptors() -> Vec<String> {
    let mut targets: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.to_string_lossy().split(':').next().unwrap_or_default().to_string())
        .collect();
    targets.sort();
    targets
}

/// The child processes of this process, ended ones included.
pub fn children() -> BTreeSet<u32> {
    processes().into_iter().filter(|p| p.parent == std::process::id()).map(|p| p.pid).collect()
}

pub struct ProcessInfo {
    pub pid: u32,
    pub parent: u32,
    pub group: u32,
    pub state: char,
}

/// Every process of the machine.
pub fn processes() -> Vec<ProcessInfo> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    entries.filter_map(process).collect()
}

pub fn process(pid: u32) -> Option<ProcessInfo> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    Some(ProcessInfo {
        pid,
        state: fields[0].chars().next()?,
        parent: fields[1].parse().ok()?,
        group: fields[2].parse().ok()?,
    })
}

/// Waits until `condition` holds; the watchdog bounds it.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WATCHDOG);
        std::thread::yield_now();
    }
}

/// How many threads of this process have names that begin like this.
pub fn threads_named(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|thread| thread.starts_with(name)).count()
}

/// A folder that goes with its owner.
pub struct Folder(std::path::PathBuf);

impl Folder {
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new empty folder.
pub fn folder() -> Folder {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("procpool-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    Folder(path)
}
