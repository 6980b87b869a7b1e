//! Does one fault to a pool of this crate and tells in one line of JSON what became of it. The script `peers/subject.py`
//! does the same to the pools of Python; names, numbers and lengths are the same in both.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use procpool::{Error, Future, Pool};
use procpool_faults::notes::{Notes, note};
use procpool_faults::random::Random;
use procpool_faults::{children, double, is_gone, pool, resident, sys, wait_until};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// What has not ended this long after the last that did never will.
const PATIENCE: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(1);

fn main() {
    procpool::init();
    let fault = std::env::args().nth(1).unwrap_or_default();
    let facts = match fault.as_str() {
        "storm" => storm(),
        "initializer" => initializer(),
        "killed" | "exits" | "two-arguments" | "unpicklable" => one_of_eight(&fault, pool(2)),
        "stopped" | "endless" | "ignores-sigterm" => {
            one_of_eight(&fault, Pool::builder().workers(2).timeout(TIMEOUT).build().unwrap())
        }
        "parent-busy" | "parent-idle" | "parent-grandchildren" => to_be_killed(&fault),
        "grandchild" => grandchild(),
        "descriptors" => descriptors(),
        "cancel" => cancel(),
        "memory" => memory(),
        other => panic!("there is no fault {other:?}"),
    };
    println!("{facts}");
    // Whatever hangs does not hang this program.
    std::process::exit(0);
}

/// Takes so many milliseconds.
fn nap((ms, n): (u64, u64)) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    n
}

/// Waits until all have ended, or none has for a long time.
fn settle<O>(futures: &[Future<O>], mut meanwhile: impl FnMut(usize)) {
    let mut ended = 0;
    let mut last = Instant::now();
    while ended < futures.len() && last.elapsed() < PATIENCE {
        std::thread::sleep(TICK);
        meanwhile(ended);
        let now = futures.iter().filter(|future| future.is_done()).count();
        if now > ended {
            (ended, last) = (now, Instant::now());
        }
    }
}

/// Runs tasks to their end and tells how many ended how, and whether the pool is good for more.
fn run<O>(pool: Pool, accepted: Vec<procpool::Result<Future<O>>>, mut meanwhile: impl FnMut(&Pool, usize)) -> Value
where
    O: for<'de> Deserialize<'de>,
{
    let (mut ok, mut lost) = (0, 0);
    let mut errors: Vec<Error> = Vec::new();
    let tasks = accepted.len();
    let mut futures = Vec::new();
    for future in accepted {
        match future {
            Ok(future) => futures.push(future),
            Err(error) => errors.push(error),
        }
    }
    settle(&futures, |ended| meanwhile(&pool, ended));
    for mut future in futures {
        match future.wait_timeout(Duration::ZERO) {
            Some(Ok(_)) => ok += 1,
            Some(Err(error)) => errors.push(error),
            None => lost += 1,
        }
    }
    let state = probe(&pool);
    json!({
        "tasks": tasks, "ok": ok, "failed": errors.len(), "lost": lost,
        "error": errors.first().map(|error| format!("{:?}", error.kind())),
        "message": errors.first().map(Error::to_string),
        "pool": state, "ends": ends(pool),
    })
}

/// Whether the pool runs one more task.
fn probe(pool: &Pool) -> &'static str {
    match pool.submit(double, 21).map(|mut future| future.wait_timeout(PATIENCE)) {
        Ok(Some(Ok(42))) => "alive",
        Ok(None) => "hangs",
        _ => "dead",
    }
}

/// Whether the pool can be ended.
fn ends(pool: Pool) -> bool {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(pool);
        let _ = sender.send(());
    });
    ended.recv_timeout(PATIENCE).is_ok()
}

/// Adds what only some faults have to tell.
fn with(mut facts: Value, name: &str, value: impl Into<Value>) -> Value {
    facts[name] = value.into();
    facts
}

fn storm() -> Value {
    let pool = pool(2);
    assert_eq!(probe(&pool), "alive");
    let futures = (0..200).map(|n| pool.submit(nap, (1 + 37 * n % 50, n))).collect();
    let mut random = Random::new();
    let mut killed = std::collections::BTreeSet::new();
    let mut last = (0, Instant::now());
    let facts = run(pool, futures, |pool, ended| {
        // Kills as long as tasks end: whoever only waits for what is lost is spared.
        if last.1.elapsed() < Duration::from_millis(100) || ended == last.0 {
            return;
        }
        last = (ended, Instant::now());
        let pids = pool.worker_pids();
        if let Some(&pid) = pids.get(random.below(pids.len() as u64) as usize)
            && sys::kill(pid, Signal::KILL)
        {
            killed.insert(pid);
        }
    });
    with(facts, "kills", killed.len())
}

/// An output that may refuse to be written or to be read.
struct Odd(u8);

const UNREADABLE: u8 = 1;
const UNWRITABLE: u8 = 2;

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == UNWRITABLE {
            return Err(S::Error::custom("it is stuck here"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            UNREADABLE => Err(D::Error::custom("it needs a second argument")),
            n => Ok(Self(n)),
        }
    }
}

/// The fourth task meets its fate.
fn meet((fate, n): (String, u64)) -> Odd {
    std::thread::sleep(Duration::from_millis(50));
    if n != 3 {
        return Odd(0);
    }
    match fate.as_str() {
        "killed" => sys::raise(Signal::KILL),
        "exits" => sys::exit_now(0),
        "stopped" => sys::raise(Signal::STOP),
        "two-arguments" => return Odd(UNREADABLE),
        "unpicklable" => return Odd(UNWRITABLE),
        "ignores-sigterm" => sys::ignore(libc::SIGTERM, true),
        _ => {}
    }
    loop {
        std::hint::spin_loop();
    }
}

fn one_of_eight(fate: &str, pool: Pool) -> Value {
    let futures = (0..8).map(|n| pool.submit(meet, (fate.to_string(), n))).collect();
    run(pool, futures, |_, _| {})
}

fn refuse(path: String) -> Result<(), String> {
    note(&path, "start", 0);
    Err("no licence".into())
}

fn initializer() -> Value {
    let notes = Notes::new();
    let pool = Pool::builder().workers(2).initializer(refuse, notes.path()).build().unwrap();
    let futures = (0..8).map(|n| pool.submit(double, n)).collect();
    let facts = run(pool, futures, |_, _| {});
    with(facts, "starts", notes.all().len())
}

/// Notes the process, and that of a program it starts if it is to have one; never returns.
fn stay((path, fault): (String, String)) {
    if fault == "parent-grandchildren" {
        start_a_program(&path);
    }
    note(&path, "worker", 0);
    loop {
        std::hint::spin_loop();
    }
}

fn start_a_program(path: &str) {
    // Left alone on purpose.
    #[allow(clippy::zombie_processes)]
    let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    note(path, "grandchild", u64::from(child.id()));
}

/// Prints which processes there are and waits for the end.
fn to_be_killed(fault: &str) -> Value {
    let notes = Notes::new();
    let pool = pool(2);
    if fault == "parent-idle" {
        let futures: Vec<_> = (0..8).map(|n| pool.submit(nap, (50, n)).unwrap()).collect();
        futures.into_iter().for_each(|future| assert!(future.wait().is_ok()));
    } else {
        let futures = [0; 2].map(|_| pool.submit(stay, (notes.path(), fault.to_string())).unwrap());
        wait_until(|| notes.count("worker").values().sum::<u32>() == 2);
        std::mem::forget(futures);
    }
    let grandchildren: Vec<u64> = notes.count("grandchild").into_keys().collect();
    drop(notes);
    println!("{}", json!({ "workers": pool.worker_pids(), "grandchildren": grandchildren }));
    loop {
        std::thread::park();
    }
}

fn grandchild() -> Value {
    let notes = Notes::new();
    let pool = pool(2);
    pool.submit(|path: String| start_a_program(&path), notes.path()).unwrap().wait().unwrap();
    let pid = notes.all()[0].task as u32;
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        pool.shutdown();
        let _ = sender.send(());
    });
    let ends = ended.recv_timeout(PATIENCE).is_ok();
    std::thread::sleep(Duration::from_secs(1));
    json!({ "grandchildren": [pid], "left": usize::from(!is_gone(pid)), "ends": ends })
}

fn descriptors() -> Value {
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let pool = pool(40);
    let futures = (0..200).map(|n| pool.submit(nap, (5, n))).collect();
    let facts = run(pool, futures, |_, _| {});
    std::thread::sleep(Duration::from_secs(1));
    with(facts, "children_left", children().len())
}

fn take_three_seconds(path: String) {
    note(&path, "begin", 0);
    std::thread::sleep(Duration::from_secs(3));
    note(&path, "end", 0);
}

fn cancel() -> Value {
    let notes = Notes::new();
    let pool = pool(2);
    let future = pool.submit(take_three_seconds, notes.path()).unwrap();
    wait_until(|| !notes.all().is_empty());
    let cancelled = future.cancel();
    std::thread::sleep(Duration::from_secs(5));
    let state = probe(&pool);
    json!({ "cancelled": cancelled, "ran_on": notes.count("end").len() == 1, "pool": state, "ends": ends(pool) })
}

fn memory() -> Value {
    let pool = pool(2);
    assert_eq!(probe(&pool), "alive");
    let before = resident();
    let mut most = before;
    let mut map = pool.map(|n: u64| vec![n as u8; 128], 0..1_000_000);
    let mut read = map.by_ref().take(1000).filter(|output| output.is_ok()).count();
    // Until nothing has grown for two seconds.
    let mut grew = Instant::now();
    while grew.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(TICK);
        if resident() > most + (1 << 20) {
            (most, grew) = (resident(), Instant::now());
        }
    }
    for output in map {
        read += usize::from(output.is_ok());
        if read.is_multiple_of(10_000) {
            most = most.max(resident());
        }
    }
    json!({ "read": read, "grown": most - before })
}
