//! Too few descriptors, processes, files; many replacements; far more workers asked for than there is work.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use procpool_faults::flat::stay_flat;
use procpool_faults::host;
use procpool_faults::{double, end, guarded, pool, skip, wait_until};

procpool::init_in_tests!();

const HOST: &str = env!("CARGO_BIN_EXE_host");

/// Tasks by the ten thousand and a replaced worker for each round: nothing may grow. `make soak` does it with a thousand
/// replacements.
#[test]
fn row_18_descriptors_threads_and_memory_stay_flat() {
    guarded(|| println!("{}", stay_flat(60, 10_000)));
}

#[test]
fn row_20_few_descriptors_and_many_workers_asked_for() {
    guarded(|| host::run(HOST, &["few-descriptors"]));
}

#[test]
fn row_20_no_descriptor_at_all() {
    guarded(|| host::run(HOST, &["no-descriptor"]));
}

#[test]
fn row_21_ten_thousand_workers_asked_for_and_three_needed() {
    guarded(|| {
        let pool = pool(10_000);
        let futures: Vec<_> = (0..3).map(|n| pool.submit(double, n).unwrap()).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.wait().unwrap(), 2 * n);
        }
        for n in 0..1000 {
            assert_eq!(pool.submit(double, n).unwrap().wait().unwrap(), 2 * n);
        }
        assert!(pool.stats().workers_started <= 3, "{:?}", pool.stats());
        end(pool);
    });
}

#[test]
fn row_21_a_hundred_workers() {
    guarded(|| {
        let pool = pool(100);
        let begin = |ms| {
            std::thread::sleep(Duration::from_millis(ms));
            std::process::id()
        };
        let pids: std::collections::BTreeSet<u32> =
            pool.map(begin, (0..100).map(|_| 300)).chunk_size(1).map(|o| o.unwrap()).collect();
        assert!(pids.len() > 2, "{pids:?}");
        assert!(pool.stats().workers_started <= 100);
        end(pool);
    });
}

#[test]
fn row_21_few_processes_allowed() {
    let groups = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
    let Some(parent) = groups.into_iter().find(|group| group.join("cgroup.procs").exists()) else {
        return skip("there is no control group hierarchy");
    };
    let group = parent.join(format!("procpool-faults-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        return skip("control groups cannot be made");
    }
    let limited = fs::write(group.join("pids.max"), "20").is_ok();
    if limited {
        guarded(|| host::run(HOST, &["few-processes", group.to_str().unwrap()]));
    } else {
        skip("there is no controller that limits processes");
    }
    wait_until(|| fs::remove_dir(&group).is_ok());
}

#[test]
fn row_22_no_shared_memory_folder_and_no_place_to_write() {
    for how in ["absent", "full"] {
        guarded(|| host::run(HOST, &["no-files", how]));
    }
}
