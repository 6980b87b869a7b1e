//! What a pool costs that has nothing to do, and what a task costs that waits: CPU time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

use procpool::{Future, Pool};

use crate::{Result, tasks};

/// Leaves a pool alone for so long and prints what it and its program used meanwhile; then what queued tasks take.
pub(crate) fn report(time: Duration) -> Result<()> {
    let pool = Pool::builder().workers(2).build()?;
    pool.map(tasks::nothing, 0..100_000u64).reduce(u64::max)?;
    // Past the second after which workers give memory back.
    std::thread::sleep(Duration::from_secs(2));
    let mut pids = pool.worker_pids();
    pids.push(std::process::id());
    let before: Vec<u64> = pids.iter().map(|pid| cpu_ns(*pid)).collect::<Result<_>>()?;
    std::thread::sleep(time);
    // Before anything else: looking at memory costs this program time.
    let after: Vec<u64> = pids.iter().map(|pid| cpu_ns(*pid)).collect::<Result<_>>()?;
    println!("idle for {} s, 2 workers", time.as_secs());
    for (pid, (before, after)) in pids.iter().zip(before.into_iter().zip(after)) {
        let used = after - before;
        let who = if *pid == std::process::id() { "the program" } else { "a worker" };
        let share = 100.0 * used as f64 / time.as_nanos() as f64;
        let private = private_bytes(*pid)? as f64 / f64::from(1 << 20);
        println!("{who:12} {:8.1} us of CPU time ({share:.4} %), {private:.2} MiB private", used as f64 / 1e3);
    }

    const QUEUED: u64 = 1_000_000;
    let before = private_bytes(std::process::id())?;
    pool.pause()?;
    let mut futures: Vec<Future<u64>> = Vec::with_capacity(QUEUED as usize);
    for n in 0..QUEUED {
        futures.push(pool.submit(tasks::nothing, n)?);
    }
    let handles = size_of::<Future<u64>>() as f64;
    let grown = (private_bytes(std::process::id())? - before) as f64 / QUEUED as f64;
    println!("{QUEUED} short tasks queued: {grown:.0} bytes each, of which {handles} are the caller's futures");
    pool.resume();
    for future in futures {
        future.wait()?;
    }
    Ok(())
}

/// CPU time of a process in nanoseconds, all its threads together.
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().ok_or("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// Resident memory of a process in bytes that it shares with nobody.
fn private_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kibibytes = |line: &str| line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    Ok(text.lines().filter(|line| line.starts_with("Private_")).filter_map(kibibytes).sum::<u64>() * 1024)
}
