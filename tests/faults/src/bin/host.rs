//! A host program for the tests to hurt. The first argument names the scenario.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

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
        "few-descriptors" => few_descriptors(),
        "no-descriptor" => no_descriptor(),
        "few-processes" => few_processes(&arguments[1]),
        "no-files" => no_files(&arguments[1]),
        "waits-for-any" => waits_for_any(),
        "ignores-sigchld" => ignores_sigchld(),
        "signals-its-group" => signals_its_group(),
        "stopped-and-continued" => stopped_and_continued(),
        "stopped-past-a-deadline" => stopped_past_a_deadline(&arguments[1]),
        "stopped-and-not-late" => stopped_and_not_late(&arguments[1]),
        "worker-out-of-memory" => worker_out_of_memory(&arguments[1]),
        "host-out-of-memory" => host_out_of_memory(&arguments[1]),
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

/// Works while it is stopped and continued again and again; says when it begins.
fn stopped_and_continued() {
    let pool = Pool::builder().workers(2).timeout(Duration::from_secs(20)).build().unwrap();
    println!("1");
    let work = |n: u64| {
        let start = sys::now();
        while sys::now() - start < 1_000_000 {
            std::hint::spin_loop();
        }
        2 * n
    };
    let outputs: Vec<u64> = pool.map(work, 0..2000).map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outputs, (0..2000).map(double).collect::<Vec<_>>());
    assert_eq!(pool.stats().workers_died, 0);
    end(pool);
}

/// Is stopped while its task runs, and continued long after the task's deadline; but the task was in time.
fn stopped_past_a_deadline(path: &str) {
    let pool = Pool::builder().workers(1).timeout(Duration::from_millis(800)).build().unwrap();
    let worker = || pool.submit(|()| std::process::id(), ()).unwrap().wait().unwrap();
    let before = worker();
    let brief = |path: String| {
        note(&path, "begun", 0);
        std::thread::sleep(Duration::from_millis(50));
        note(&path, "ended", 0);
        7
    };
    let future = pool.submit(brief, path.to_string()).unwrap();
    // Nobody waits, so the supervisor is the one to look, at the result and at the clock.
    wait_until(|| future.is_done());
    assert_eq!(future.wait().unwrap(), 7);
    assert_eq!(worker(), before, "its worker was ended for a task that was in time");
    end(pool);
}

/// Is stopped for longer than the timeout of its tasks, which run meanwhile: one ends in time after that, the other never.
fn stopped_and_not_late(path: &str) {
    let timeout = Duration::from_secs(4);
    let pool = Pool::builder().workers(2).timeout(timeout).build().unwrap();
    let until_told = |path: String| {
        note(&path, "begun", 0);
        while !std::path::Path::new(&format!("{path}-go")).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        7
    };
    let endless = |path: String| {
        note(&path, "begun", 1);
        loop {
            std::thread::park();
        }
    };
    let patient = pool.submit(until_told, path.to_string()).unwrap();
    let late = pool.submit(endless, path.to_string()).unwrap();
    assert_eq!(patient.wait().unwrap(), 7);
    let error = late.wait().map(|(): ()| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    end(pool);
}

fn join_group(group: &str) {
    std::fs::write(format!("{group}/cgroup.procs"), std::process::id().to_string()).unwrap();
}

/// Takes so much memory that the kernel must do something about it.
fn take_a_gibibyte(_: u64) -> u64 {
    let taken: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; 1 << 20]).collect();
    std::hint::black_box(taken).len() as u64
}

/// All processes together may have less memory than one task takes: the kernel ends the largest.
fn worker_out_of_memory(group: &str) {
    join_group(group);
    let pool = pool(2);
    assert_alive(&pool);
    for round in 0..3 {
        let innocent = pool.submit(nap, round).unwrap();
        let error = pool.submit(take_a_gibibyte, 0).unwrap().wait().unwrap_err();
        assert_eq!((error.kind(), error.signal()), (Kind::Died, Some(Signal::KILL.as_raw())), "{error}");
        assert!(
            error.message().contains("was killed by SIGKILL, perhaps by the kernel for lack of memory: it has ended"),
            "{error}"
        );
        assert_eq!(innocent.wait().unwrap(), round);
        assert_alive(&pool);
    }
    assert_eq!(pool.stats().workers_died_busy, 3);
    end(pool);
}

/// The largest is the host itself.
fn host_out_of_memory(group: &str) {
    join_group(group);
    let pool = pool(2);
    let begun = procpool::Queue::new().unwrap();
    let stay = |begun: procpool::Queue<u32>| {
        begun.put(&std::process::id()).unwrap();
        loop {
            std::thread::park();
        }
    };
    let _futures: Vec<procpool::Future<()>> = (0..2).map(|_| pool.submit(stay, begun.clone()).unwrap()).collect();
    println!("{} {}", begun.get().unwrap(), begun.get().unwrap());
    take_a_gibibyte(0);
    unreachable!("there is not so much memory");
}

/// Brings a pool into a state, prints the processes that there are, and waits to be killed.
fn to_be_killed(state: &str) {
    let notes = Notes::new();
    let path = notes.path();
    let (pool, noted) = match state {
        "starting" => (Pool::builder().workers(2).initializer(hang, path.clone()).build().unwrap(), 2),
        "grandchildren" | "sessions" => (pool(2), 4),
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
        "grandchildren" | "sessions" => {
            let mut command = std::process::Command::new("sleep");
            command.arg("1000");
            if state == "sessions" {
                use std::os::unix::process::CommandExt;
                // SAFETY: only a system call between fork and exec.
                #[allow(unsafe_code)]
                unsafe {
                    command.pre_exec(sys::leave_session)
                };
            }
            // Left to the worker's end on purpose.
            #[allow(clippy::zombie_processes)]
            let child = command.spawn().unwrap();
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

/// Forty workers of two descriptors each do not fit into sixty-four.
fn few_descriptors() {
    limit_descriptors(64);
    let pool = pool(40);
    for _ in 0..3 {
        let futures: Vec<_> = (0..200).map(|n| pool.submit(nap, n).unwrap()).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.wait().unwrap(), n);
        }
    }
    let workers = pool.worker_pids().len();
    assert!((10..32).contains(&workers), "{workers} workers");
    // Whoever dies is replaced, although others could not be started before.
    for _ in 0..50 {
        assert_eq!(pool.submit(crash, 1).unwrap().wait().unwrap_err().kind(), Kind::Died);
    }
    assert_eq!(pool.submit(nap, 7).unwrap().wait().unwrap(), 7);
    assert_alive(&pool);
    end(pool);
}

fn nap(n: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(5));
    n
}

fn crash(_: u64) {
    std::process::abort()
}

/// All descriptors are in use: a clear error, now or when the first worker is to start; and work as soon as there are some.
fn no_descriptor() {
    limit_descriptors(40);
    let fill = || {
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        files
    };
    let files = fill();
    let error = Pool::builder().workers(2).build().unwrap_err();
    assert_eq!(error.kind(), Kind::Os, "{error}");
    drop(files);
    let pool = pool(2);
    let mut files = fill();
    let error = match pool.submit(double, 1) {
        Ok(future) => future.wait().unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), Kind::Start, "{error}");
    assert!(error.message().contains("Too many open files"), "{error}");
    files.clear();
    end(pool);
    assert_alive(&procpool_faults::pool(2));
}

/// This process and its workers may be twenty together, threads counted.
fn few_processes(group: &str) {
    std::fs::write(format!("{group}/cgroup.procs"), std::process::id().to_string()).unwrap();
    let pool = pool(40);
    for _ in 0..3 {
        let futures: Vec<_> = (0..200).map(|n| pool.submit(nap, n).unwrap()).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.wait().unwrap(), n);
        }
    }
    assert!(pool.worker_pids().len() < 20);
    for _ in 0..20 {
        assert_eq!(pool.submit(crash, 1).unwrap().wait().unwrap_err().kind(), Kind::Died);
    }
    assert_alive(&pool);
    end(pool);
    std::fs::write(format!("{group}/../cgroup.procs"), std::process::id().to_string()).unwrap();
}

/// In a view of the file system of its own: `/dev/shm` is hidden or full, and nothing else can be written.
fn no_files(how: &str) {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: a mount namespace of its own concerns no memory and no descriptor.
    #[allow(unsafe_code)]
    let alone = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    if alone.is_err() {
        return println!("SKIPPED no-files: mount namespaces need privileges");
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    match how {
        "absent" => mount("none", "/dev", "tmpfs", MountFlags::empty(), Some(c"size=64k")).unwrap(),
        _ => {
            mount("none", "/dev/shm", "tmpfs", MountFlags::empty(), Some(c"size=4k")).unwrap();
            while std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open("/dev/shm/full")
                .and_then(|mut file| std::io::Write::write(&mut file, &[0; 4096]))
                .is_ok_and(|written| written > 0)
            {}
        }
    }
    if how == "absent" {
        // A program needs this one whatever it does.
        rustix::fs::mknodat(
            rustix::fs::CWD,
            "/dev/null",
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::from_raw_mode(0o666),
            rustix::fs::makedev(1, 3),
        )
        .unwrap();
    }
    mount_remount("/", MountFlags::RDONLY | MountFlags::BIND, c"").unwrap();
    let pool = pool(2);
    assert_alive(&pool);
    let input = vec![5u8; 4 << 20];
    assert_eq!(pool.submit(|v: Vec<u8>| v, input.clone()).unwrap().wait().unwrap(), input);
    let queue = procpool::Queue::new().unwrap();
    pool.submit(|q: procpool::Queue<u8>| q.put(&9).unwrap(), queue.clone()).unwrap().wait().unwrap();
    assert_eq!(queue.get().unwrap(), 9);
    drop(queue);
    end(pool);
}

/// Workers crash, and the host may have taken what the kernel says about it.
fn assert_deaths_are_told(pool: &Pool) {
    for _ in 0..30 {
        let error = pool.submit(crash, 1).unwrap().wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Died, "{error}");
        // The truth, or nothing: not a made-up exit code.
        assert_eq!(error.exit_code(), None, "{error}");
        assert!([None, Some(Signal::ABORT.as_raw())].contains(&error.signal()), "{error}");
        assert_alive(pool);
    }
}

/// A loop that reaps whatever there is, as init programs and careless hosts have.
fn waits_for_any() {
    std::thread::spawn(|| {
        loop {
            while sys::wait_any().is_some() {}
            std::thread::yield_now();
        }
    });
    let pool = pool(2);
    assert_deaths_are_told(&pool);
    end(pool);
}

/// The kernel then reaps every child by itself, and says nothing.
fn ignores_sigchld() {
    sys::ignore(libc::SIGCHLD, true);
    let pool = pool(2);
    assert_deaths_are_told(&pool);
    let default = |()| std::process::Command::new("true").status().unwrap().success();
    assert!(pool.submit(default, ()).unwrap().wait().unwrap(), "a worker has the default back");
    let mut process = procpool::Process::spawn(double, 4).unwrap();
    assert_eq!(process.join().unwrap(), 8);
    let mut process = procpool::Process::spawn(crash, 4).unwrap();
    assert_eq!(process.join().unwrap_err().kind(), Kind::Died);
    end(pool);
}

/// As a terminal does at Ctrl-C and its like.
fn signals_its_group() {
    rustix::process::setsid().unwrap();
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1] {
        sys::handle(signal);
    }
    let pool = pool(2);
    assert_alive(&pool);
    let futures: Vec<_> = (0..50).map(|n| pool.submit(nap, n).unwrap()).collect();
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP, Signal::TERM, Signal::USR1] {
        rustix::process::kill_current_process_group(signal).unwrap();
    }
    for (n, future) in (0..).zip(futures) {
        assert_eq!(future.wait().unwrap(), n);
    }
    assert_eq!(pool.stats().workers_died, 0);
    end(pool);
}
