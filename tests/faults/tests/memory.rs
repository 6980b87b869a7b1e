//! Too much memory: limits by every means there is, the kernel's own killer, and values that are too large.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use procpool::{Blame, Error, Kind, Pool, TaskOptions};
use procpool_faults::host::Host;
use procpool_faults::huge::Zeros;
use procpool_faults::{assert_alive, end, guarded, host, is_gone, memory_group, pool, resident, skip, sys, wait_until};
use rustix::process::Signal;

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");
const MIB: usize = 1 << 20;

/// Takes `mib` MiB in steps of one, and then no more for as long as it is let.
fn take(mib: usize) -> usize {
    let mut taken = Vec::new();
    for _ in 0..mib {
        taken.push(vec![1u8; MIB]);
        std::thread::sleep(Duration::from_micros(200));
    }
    loop {
        black_box(&taken);
        std::thread::park();
    }
}

fn reserve(mib: usize) -> usize {
    black_box(Vec::<u8>::with_capacity(mib * MIB)).capacity()
}

fn is_over_memory(error: &Error) -> bool {
    (error.kind(), error.blame()) == (Kind::OutOfMemory, Blame::Task)
}

#[test]
fn row_17_what_grows_past_its_limit_is_ended_alone_and_says_by_which_means() {
    guarded(|| {
        let pool = Pool::builder().workers(2).memory_limit(100 << 20).build().unwrap();
        let innocent = pool.submit(|ms| std::thread::sleep(Duration::from_millis(ms)), 300).unwrap();
        let error = pool.submit(take, 400).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&error), "{error}");
        assert!(error.peak_memory().unwrap() > 100 << 20, "{error}");
        let said = error.message();
        assert!(said.contains("more than the limit of 100.0 MiB") && said.contains(" MiB at most, by "), "{said}");
        assert!(said.contains("by a look every 20ms") || said.contains("by their control group"), "{said}");
        println!("{error}");
        innocent.wait().unwrap();
        assert_alive(&pool);
        assert_eq!(pool.stats().workers_died, 1);
        end(pool);
    });
}

#[test]
fn row_17_what_is_asked_for_at_once_is_refused_by_the_floor() {
    guarded(|| {
        let pool = Pool::builder().workers(1).memory_limit(64 << 20).build().unwrap();
        // Untouched memory is not resident: as far as it is generous, it is let.
        assert_eq!(pool.submit(reserve, 256).unwrap().wait().unwrap(), 256 * MIB);
        let error = pool.submit(reserve, 2048).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&error), "{error}");
        assert_eq!(error.signal(), Some(Signal::ABORT.as_raw()));
        let said = error.message();
        assert!(said.contains("the limit of 64.0 MiB") && said.contains("(RLIMIT_DATA) was 640.0 MiB"), "{said}");
        // The limit is the task's, not the worker's.
        let free = TaskOptions::new();
        assert_eq!(pool.submit_with(&free, reserve, 2048).unwrap().wait().unwrap(), 2048 * MIB);
        let again = pool.submit(reserve, 2048).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&again), "{again}");
        // It counts as what it is for the retries.
        let twice = TaskOptions::new().memory_limit(64 << 20).retries(1).retry_on(&[Kind::OutOfMemory]);
        let error = pool.submit_with(&twice, reserve, 2048).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.attempt()), (Kind::OutOfMemory, 2));
        assert_alive(&pool);
        end(pool);
    });
}

#[test]
fn row_17_an_abort_that_has_nothing_to_do_with_memory_stays_one() {
    guarded(|| {
        let pool = Pool::builder().workers(1).memory_limit(64 << 20).build().unwrap();
        let error = pool.submit(|()| std::process::abort(), ()).unwrap().wait().map(|(): ()| ()).unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::ABORT.as_raw())), "{error}");
        end(pool);
    });
}

#[test]
fn row_17_a_burst_between_two_looks_gets_no_further_than_the_floor() {
    guarded(|| {
        let pool = Pool::builder().workers(1).memory_limit(64 << 20).build().unwrap();
        for _ in 0..3 {
            let burst = |mib| {
                let mut taken = Vec::new();
                for _ in 0..mib {
                    taken.push(vec![1u8; MIB]);
                }
                black_box(&taken).len()
            };
            let error = pool.submit(burst, 4096).unwrap().wait().unwrap_err();
            assert!(is_over_memory(&error), "{error}");
            assert!(error.peak_memory().unwrap_or(0) <= 641 << 20, "{error}");
        }
        assert_alive(&pool);
        end(pool);
    });
}

/// Where this worker's control group is, if the pool has made one for it.
fn own_group() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    own.rsplit('/').next()?.starts_with("procpool-").then(|| own.to_string())
}

/// A program that its worker cannot find any more: its parent has ended, and its session is its own.
fn leave_a_daemon(_: u64) -> u32 {
    let script = "(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &)";
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn row_17_a_control_group_keeps_the_limit() {
    guarded(|| {
        let pool = Pool::builder().workers(1).memory_limit(100 << 20).build().unwrap();
        if pool.submit(|()| own_group(), ()).unwrap().wait().unwrap().is_none() {
            return skip("no delegated tree of control groups of version 2 with the memory controller");
        }
        let burst = |mib: usize| black_box(vec![1u8; mib * MIB]).len();
        let error = pool.submit(burst, 400).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&error), "{error}");
        assert_eq!(error.signal(), Some(Signal::KILL.as_raw()));
        assert!(error.message().contains("at most, by their control group"), "{error}");
        let peak = error.peak_memory().unwrap();
        assert!((90 << 20..110 << 20).contains(&peak), "{error}");
        println!("{error}");
        // What a task has started counts too, wherever it is.
        let start = |mib: usize| {
            let script = format!("head -c {} /dev/zero | tail -c {}", mib * MIB, mib * MIB);
            Command::new("sh").args(["-c", &format!("setsid sh -c '{script}' | wc -c")]).output().unwrap().stdout.len()
        };
        let error = pool.submit(start, 400).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&error) && error.message().contains("control group"), "{error}");
        // A task of its own, with a limit of its own.
        let free = TaskOptions::new().memory_limit(600 << 20);
        assert_eq!(pool.submit_with(&free, burst, 400).unwrap().wait().unwrap(), 400 * MIB);
        let error = pool.submit(burst, 400).unwrap().wait().unwrap_err();
        assert!(is_over_memory(&error) && error.message().contains("control group"), "{error}");
        // Nothing leaves it, not even at a crash.
        let daemon = pool.submit(leave_a_daemon, 0).unwrap().wait().unwrap();
        assert!(!is_gone(daemon));
        let crash = |()| -> () { std::process::abort() };
        assert_eq!(pool.submit(crash, ()).unwrap().wait().unwrap_err().kind(), Kind::Died);
        wait_until(|| is_gone(daemon));
        let own = pool.submit(|()| own_group(), ()).unwrap().wait().unwrap().unwrap();
        end(pool);
        let group = format!("/sys/fs/cgroup{own}");
        assert!(!Path::new(&group).exists(), "{group} is left");
        let left = fs::read_dir(Path::new(&group).parent().unwrap()).unwrap();
        let ours = format!("procpool-{}-", std::process::id());
        assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with(&ours)));
    });
}

#[test]
fn row_17_an_unexplained_kill_names_the_kernel_only_if_it_has_killed() {
    guarded(|| {
        let pool = pool(1);
        let error = pool.submit(|()| sys::raise(Signal::KILL), ()).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())));
        let plain = format!("its worker (pid {}) was killed by SIGKILL", error.pid().unwrap());
        // Somebody else on this machine may have run out of memory just now.
        let rest = error.message().strip_prefix(&plain).unwrap();
        assert!(rest.is_empty() || rest.starts_with(", perhaps by the kernel for lack of memory"), "{error}");
        end(pool);
    });
}

#[test]
fn row_17_the_kernels_own_killer_ends_a_worker() {
    guarded(|| match memory_group(300 << 20) {
        Some(group) => host::run(HOST, &["worker-out-of-memory", group.path()]),
        None => skip("no control group with a memory limit can be made"),
    });
}

#[test]
fn row_17_the_kernels_own_killer_ends_the_host_and_nothing_of_it_is_left() {
    guarded(|| {
        let Some(group) = memory_group(300 << 20) else {
            return skip("no control group with a memory limit can be made");
        };
        let mut host = Host::start(HOST, &["host-out-of-memory", group.path()]);
        let workers = host.numbers();
        assert_eq!(workers.len(), 2);
        let status = host.child.wait().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
        wait_until(|| workers.iter().all(|pid| is_gone(*pid)));
    });
}

#[test]
fn row_16_values_larger_than_memory_are_refused_before_they_are_written() {
    guarded(|| {
        let pool = pool(2);
        assert_alive(&pool);
        let before = resident();
        // A tebibyte that nobody has touched.
        let zeros = Zeros::in_one_piece(1 << 40);
        if zeros.fits_in_memory() {
            return skip("this machine has more memory than the test has bytes");
        }
        let error = pool.submit(Zeros::count, zeros).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.blame()), (Kind::Encode, Blame::Caller), "{error}");
        assert!(error.message().contains("the most for a value is"), "{error}");
        assert!(resident() < before + (64 << 20), "memory grew from {before} to {}", resident());
        let error = pool.submit(Zeros::in_one_piece, 1 << 40).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.blame()), (Kind::Encode, Blame::Task), "{error}");
        assert!(error.message().contains("the most for a value is"), "{error}");
        assert_alive(&pool);
        assert_eq!(pool.stats().workers_died, 0);
        end(pool);
    });
}

/// `make soak` does this with values around 2 GiB and over 4 GiB.
#[test]
fn row_16_a_large_value_goes_both_ways_whole() {
    guarded(|| {
        let pool = pool(2);
        for len in [(1 << 26) - 1, 1 << 26, (1 << 26) + 1] {
            assert_eq!(pool.submit(Zeros::count, Zeros::new(len)).unwrap().wait().unwrap(), len);
            assert_eq!(pool.submit(Zeros::new, len).unwrap().wait().unwrap().count(), len);
        }
        assert_alive(&pool);
        end(pool);
    });
}
