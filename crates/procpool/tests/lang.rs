//! The seam for another language, with a small one: a function is a word, an input is text, and each worker counts what it ran.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use procpool::lang::{Completion, Interpreter, Launched, Launcher, Message, Outcomes, Payload, Port, Run, Task};
use procpool::{Kind, Pool, TaskOptions};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

mod support;

const ARGUMENT: &str = "--worker-of-another-language";
const IDENTITY: &[u8] = b"words 1";

/// Starts this test program again, with an argument of our own.
#[derive(Debug)]
struct Again;

impl Launcher for Again {
    fn launch(&self, name: &str, socket: OwnedFd, out: Option<OwnedFd>, err: Option<OwnedFd>) -> io::Result<Launched> {
        let child = Command::new("/proc/self/exe")
            .arg0(name)
            .arg(ARGUMENT)
            .process_group(0)
            .stdin(Stdio::from(socket))
            .stdout(out.map_or_else(Stdio::inherit, Stdio::from))
            .stderr(err.map_or_else(Stdio::inherit, Stdio::from))
            .spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Launched { pid: child.id(), pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }
}

struct Words {
    greeting: Mutex<String>,
    ran: AtomicU32,
}

impl Interpreter for Words {
    fn set_up(&self, message: Message) -> Result<(), String> {
        let greeting = String::from_utf8(message.head).map_err(|e| e.to_string())?;
        if greeting == "refuse" {
            return Err("it refuses to be greeted".into());
        }
        *self.greeting.lock().unwrap() = greeting;
        Ok(())
    }

    fn run(&self, task: &mut Task<'_>) {
        let ran = self.ran.fetch_add(1, SeqCst) + 1;
        let (code, kept) = task.function();
        let word = String::from_utf8(code.to_vec()).unwrap();
        let times = kept.get_or_insert_with(|| Box::new(0u32)).downcast_mut::<u32>().unwrap();
        *times += 1;
        let times = *times;
        let Message { head, runs } = task.take_input();
        match word.as_str() {
            "die" => std::process::exit(9),
            "nothing" => {}
            "back" => task.reply(&Payload { head: &head, runs: &runs.iter().map(Run::bytes).collect::<Vec<_>>() }),
            "where" => {
                let lent: Vec<bool> = runs.iter().map(Run::is_lent).collect();
                task.reply(&Payload { head: format!("{lent:?}").as_bytes(), runs: &[] });
            }
            _ => {
                let greeting = self.greeting.lock().unwrap();
                let said = format!("{greeting} {word} {} {times} {ran}", String::from_utf8_lossy(&head));
                task.reply(&Payload { head: said.as_bytes(), runs: &[] });
            }
        }
    }
}

/// Runs before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
#[allow(unsafe_code)]
static BECOME_WORKER: extern "C" fn() = {
    extern "C" fn become_worker() {
        if std::env::args().nth(1).as_deref() != Some(ARGUMENT) {
            return;
        }
        let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let words = Words { greeting: Mutex::default(), ran: AtomicU32::new(0) };
        procpool::lang::serve(socket, IDENTITY.to_vec(), Box::new(words)).unwrap();
        std::process::exit(0);
    }
    become_worker
};

#[derive(Debug, Default)]
struct Inbox {
    came: Mutex<Vec<(u64, procpool::Result<Message>)>>,
    arrived: Condvar,
}

impl Completion for Inbox {
    fn complete(&self, first: u64, outcomes: Outcomes) {
        self.came.lock().unwrap().extend((first..).zip(outcomes));
        self.arrived.notify_all();
    }
}

impl Inbox {
    /// All of them, in the order of their numbers.
    fn wait_for(&self, count: usize) -> Vec<procpool::Result<Message>> {
        let mut came = self.arrived.wait_while(self.came.lock().unwrap(), |came| came.len() < count).unwrap();
        came.sort_by_key(|(number, _)| *number);
        came.drain(..).map(|(_, outcome)| outcome).collect()
    }
}

fn head(text: &str) -> Payload<'_> {
    Payload { head: text.as_bytes(), runs: &[] }
}

fn text(outcome: procpool::Result<Message>) -> String {
    String::from_utf8(outcome.unwrap().head).unwrap()
}

fn port(greeting: &str, identity: &[u8]) -> Port {
    let builder = Pool::builder().workers(1);
    Port::open(builder, Arc::new(Again), identity.to_vec(), &head(greeting)).unwrap()
}

#[test]
fn functions_are_described_once_and_inputs_come_back() {
    support::alone(|| {
        let port = port("hello", IDENTITY);
        let inbox = Arc::new(Inbox::default());
        let (one, two) = (port.function("one", b"one".to_vec()), port.function("two", b"two".to_vec()));
        for (function, expected) in
            [(&one, "hello one x 1 1"), (&two, "hello two x 1 2"), (&one, "hello one x 2 3"), (&two, "hello two x 2 4")]
        {
            port.submit(None, function, &head("x"), Arc::clone(&inbox)).unwrap();
            assert_eq!(text(inbox.wait_for(1).remove(0)), expected);
        }
        port.forget(&one);
        port.submit(None, &one, &head("x"), Arc::clone(&inbox)).unwrap();
        // Whether the worker has heard that it may forget is left open.
        assert!(text(inbox.wait_for(1).remove(0)).starts_with("hello one x "));
        let back = port.function("back", b"back".to_vec());
        let large: Vec<u8> = (0..1_000_000u32).map(|k| k as u8).collect();
        let payload = Payload { head: b"head", runs: &[&large, b"", b"small"] };
        port.submit(None, &back, &payload, Arc::clone(&inbox)).unwrap();
        let message = inbox.wait_for(1).remove(0).unwrap();
        assert_eq!(message.head, b"head");
        let runs: Vec<Vec<u8>> = message.runs.into_iter().map(Run::into_vec).collect();
        assert_eq!(runs, [large.clone(), Vec::new(), b"small".to_vec()]);
        let place = port.function("where", b"where".to_vec());
        let payload = Payload { head: b"", runs: &[&large, b"", b"small"] };
        port.submit(None, &place, &payload, Arc::clone(&inbox)).unwrap();
        assert_eq!(text(inbox.wait_for(1).remove(0)), "[true, false, false]");
        port.pool().shutdown();
    });
}

#[test]
fn batches_keep_their_order_and_a_death_costs_one_task() {
    support::alone(|| {
        let port = port("hi", IDENTITY);
        let inbox = Arc::new(Inbox::default());
        let word = port.function("word", b"word".to_vec());
        let mut batch = port.batch(&word);
        for n in 0..50 {
            port.add(&mut batch, &head(&n.to_string())).unwrap();
        }
        assert_eq!(batch.len(), 50);
        port.send(None, batch, Arc::clone(&inbox), 0).unwrap();
        let said: Vec<String> = inbox.wait_for(50).into_iter().map(text).collect();
        let expected: Vec<String> = (0..50).map(|n| format!("hi word {n} {0} {0}", n + 1)).collect();
        assert_eq!(said, expected);
        let die = port.function("die", b"die".to_vec());
        port.submit(None, &die, &head(""), Arc::clone(&inbox)).unwrap();
        let error = inbox.wait_for(1).remove(0).unwrap_err();
        assert_eq!((error.kind(), error.exit_code(), error.task()), (Kind::Died, Some(9), Some("die")));
        let nothing = port.function("nothing", b"nothing".to_vec());
        port.submit(Some(&TaskOptions::new()), &nothing, &head(""), Arc::clone(&inbox)).unwrap();
        assert_eq!(inbox.wait_for(1).remove(0).unwrap_err().kind(), Kind::Encode);
        port.submit(None, &word, &head("again"), Arc::clone(&inbox)).unwrap();
        assert_eq!(text(inbox.wait_for(1).remove(0)), "hi word again 1 2");
        port.pool().shutdown();
    });
}

#[test]
fn a_worker_that_refuses_or_is_another_build_says_so() {
    support::alone(|| {
        for (greeting, identity, why) in
            [("refuse", IDENTITY, "it refuses to be greeted"), ("hello", b"words 2".as_slice(), "not the same build")]
        {
            let port = port(greeting, identity);
            let inbox = Arc::new(Inbox::default());
            let word = port.function("word", b"word".to_vec());
            port.submit(None, &word, &head("x"), Arc::clone(&inbox)).unwrap();
            let error = inbox.wait_for(1).remove(0).unwrap_err();
            assert_eq!(error.kind(), Kind::Start);
            assert!(error.message().contains(why), "{}", error.message());
            port.pool().shutdown_now();
        }
    });
}
