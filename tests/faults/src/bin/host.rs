//! A host program for the tests to hurt. The first argument names the scenario.
#![allow(missing_docs, clippy::unwrap_used)]

use procpool::{Kind, Pool};
use procpool_faults::notes::{Notes, note};
use procpool_faults::{assert_alive, double, end, pool, sys, wait_until};
use rustix::process::Signal;

fn main() {
    procpool::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments[0].as_str() {
        "cannot-exec" => cannot_exec(),
        "large-outputs" => large_outputs(arguments[1].parse().unwrap()),
        "to-be-killed" => to_be_killed(&arguments[1]),
        other => panic!("there is no scenario {other:?}"),
    }
}

/// An environment that the kernel refuses to hand to a new program.
fn cannot_exec() {
    // SAFETY: this process has no other thread yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var("TOO_LONG", "x".repeat(1 << 20));
    }
    let pool = pool(3);
    let futures: Vec<_> = (0..20).filter_map(|x| pool.submit(double, x).ok()).collect();
    assert!(!futures.is_empty());
    for future in futures {
        let error = future.wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Start);
        assert!(error.message().contains("a worker could not be started"), "{error}");
    }
    assert_eq!(pool.submit(double, 1).unwrap_err().kind(), Kind::Start);
    assert!(pool.stats().workers_started <= 5, "{:?}", pool.stats());
    end(pool);
}

/// Brings a pool into a state, prints the processes that there are, and waits to be killed.
fn to_be_killed(state: &str) {
    let notes = Notes::new();
    let path = notes.path();
    let (pool, noted) = match state {
        "starting" => (Pool::builder().workers(2).initializer(hang, path.clone()).build().unwrap(), 2),
        "grandchildren" => (pool(2), 4),
        "idle" => (pool(2), 0),
        _ => (pool(2), 2),
    };
    let _futures: Vec<_> = match state {
        "idle" => {
            assert_alive(&pool);
            Vec::new()
        }
        _ => (0..2).map(|_| pool.submit(stay, (path.clone(), state.to_string())).unwrap()).collect(),
    };
    wait_until(|| notes.all().len() >= noted && pool.worker_pids().len() == 2);
    let mut pids: Vec<u32> = notes.all().iter().filter(|n| n.what == "child").map(|n| n.task as u32).collect();
    pids.extend(pool.worker_pids());
    drop(notes);
    println!("{}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    loop {
        std::thread::park();
    }
}

fn hang(path: String) {
    note(&path, "worker", u64::from(std::process::id()));
    loop {
        std::hint::spin_loop();
    }
}

fn stay((path, state): (String, String)) {
    note(&path, "worker", u64::from(std::process::id()));
    match state.as_str() {
        "stopped" => sys::raise(Signal::STOP),
        "grandchildren" => {
            // Left to the worker's end on purpose.
            #[allow(clippy::zombie_processes)]
            let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
            note(&path, "child", u64::from(child.id()));
        }
        "sleeping" => loop {
            std::thread::park();
        },
        _ => {}
    }
    loop {
        std::hint::spin_loop();
    }
}

/// Many large outputs wait to be taken, and few descriptors are allowed.
fn large_outputs(descriptors: u64) {
    limit_descriptors(descriptors);
    let pool = pool(2);
    let grow = |n: usize| vec![n as u8; 100_000];
    let mut map = pool.map(grow, 0..1000).chunk_size(1);
    assert_eq!(map.next().unwrap().unwrap().len(), 100_000);
    let futures: Vec<_> = (0..300).map(|n| pool.submit(grow, n).unwrap()).collect();
    wait_until(|| futures.iter().all(procpool::Future::is_done));
    for (n, output) in (1..).zip(map) {
        assert_eq!(output.unwrap()[0], n as u8);
    }
    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(future.wait().unwrap()[99_999], n as u8);
    }
    assert_eq!(pool.stats().workers_died, 0);
    end(pool);
}

fn limit_descriptors(most: u64) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
}
