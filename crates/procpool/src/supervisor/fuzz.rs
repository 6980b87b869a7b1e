//! The parent's whole acceptance, against a worker that does anything: takes tasks and answers as an honest one, writes
//! anywhere in its region, sends any message, dies. Whatever it does, each task ends exactly once.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::link::{Body, Link};
use super::*;
use crate::call::Function;
use crate::os::memory::create_frozen;
use crate::os::poller::Poller;
use crate::os::socket::Socket;
use crate::ring::fuzz::{Hostile, Input};
use crate::ring::{ResultProducer, TaskConsumer};
use crate::wire::control::{self, ToParent};
use crate::wire::items::{Status, put_result, put_task};

/// Notes which tasks have ended.
#[derive(Debug, Default)]
struct Ends(Mutex<Vec<u64>>);

impl Sink for Ends {
    fn deliver(&self, first: u64, delivery: Delivery) -> Option<Waker> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match delivery {
            Delivery::Results(mut results) => {
                for k in 0..results.len() {
                    let _ = results.take::<(u8, String)>(first + u64::from(k));
                    ends.push(first + u64::from(k));
                }
            }
            Delivery::Outcome(_) => ends.push(first),
            Delivery::Failed(error) => {
                assert!(!error.to_string().is_empty());
                ends.push(first);
            }
        }
        None
    }
}

/// A worker in the hand of the input.
struct Puppet {
    id: WorkerId,
    hostile: Hostile,
    socket: Option<Socket>,
    tasks: TaskConsumer,
    results: ResultProducer,
    /// The frame that it is at, the next item and where they end, as it was shown.
    present: Option<(u64, u32, u32)>,
    /// The items that it has begun and has no result of.
    begun: u32,
    /// Nothing was written over that it believes itself.
    honest: bool,
}

struct Stage {
    engine: Engine,
    poller: Poller,
    puppets: Vec<Puppet>,
    ends: Arc<Ends>,
    frames: Vec<FrameId>,
    accepted: u64,
    started: u32,
}

const SPEC: Spec =
    Spec { items: 1, function: 0, timeout: None, retries: 0, retry_on: crate::sched::RetryOn::ALL, priority: 0 };
/// So many workers are let start, and then no more.
const STARTS: u32 = 4;
const MOST_TASKS: u64 = 200;

/// Runs the input as a list of what the worker and its pool do.
pub fn acceptance(data: &[u8]) {
    let Some(mut stage) = Stage::new() else { return };
    let mut input = Input(data);
    stage.submit(3, 1);
    stage.submit(1, 0);
    while !input.is_over() {
        stage.step(&mut input);
    }
    stage.end();
}

impl Stage {
    fn new() -> Option<Self> {
        let launch =
            Launch::Threads { name: "fuzz".into(), initializer: None, start_timeout: Duration::from_secs(3600) };
        let engine = Engine::new(1, launch, 0, Wear::default(), &Output::Inherit, None, Duration::ZERO).ok()?;
        let poller = Poller::new().ok()?;
        let ends = Arc::default();
        Some(Self { engine, poller, puppets: Vec::new(), ends, frames: Vec::new(), accepted: 0, started: 0 })
    }

    fn submit(&mut self, items: u32, retries: u32) {
        if self.accepted >= MOST_TASKS {
            return;
        }
        let mut payload = Vec::new();
        (0..items).for_each(|k| put_task(&[k as u8], &mut payload));
        let frame = Frame {
            function: Function { offset: 0, name: "fuzz" },
            payload,
            memfd: None,
            extent: None,
            items,
            attachments: Vec::new(),
            state: None,
            sinks: Sinks::One(Arc::clone(&self.ends) as Arc<dyn Sink>),
            first_index: self.accepted,
            timeout: None,
            cpu_time: None,
            memory_limit: None,
        };
        let options = Spec { items, retries, ..SPEC };
        if let Ok(id) = self.engine.submit(Arc::new(frame), options) {
            self.accepted += u64::from(items);
            self.frames.push(id);
        }
        self.start();
    }

    /// Starts the workers that the scheduler wants.
    fn start(&mut self) {
        let starts = std::mem::take(&mut self.engine.lock().starts);
        for id in starts {
            self.started += 1;
            let made = if self.started <= STARTS { Hostile::new().zip(Socket::pair().ok()) } else { None };
            let Some((hostile, (ours, theirs))) = made else {
                self.engine.with(|core, now| core.sched.died(id, false, now));
                continue;
            };
            let region = hostile.region.clone();
            let link = Link::new(Body::Thread, ours, region.clone(), Vec::new(), false, 1 << 20);
            self.engine.with(|core, _| core.links.insert(id, link));
            let (tasks, results) = (TaskConsumer::new(&region), ResultProducer::new(&region));
            self.puppets.push(Puppet {
                id,
                hostile,
                socket: Some(theirs),
                tasks,
                results,
                present: None,
                begun: 0,
                honest: true,
            });
        }
    }

    fn attend(&mut self) {
        for puppet in &self.puppets {
            thread::attend(&self.engine, &self.poller, puppet.id, false);
        }
        self.start();
    }

    fn drain(&mut self, later: Duration) {
        self.engine.with_outbox(|core, now, out| core.drain(now + nanos(later), out));
        self.start();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 => self.submit(u32::from(input.byte() % 5) + 1, u32::from(input.byte() % 2)),
            1 => {
                let at = usize::from(input.byte());
                let Some(&frame) = self.frames.get(at % self.frames.len().max(1)) else { return };
                let task = u32::from(input.byte() % 8);
                self.engine.with(|core, now| match task {
                    0..5 => drop(core.sched.cancel_task(frame, task, now)),
                    _ => core.sched.cancel(frame, now),
                });
            }
            2 | 3 => self.attend(),
            4 => self.drain(Duration::ZERO),
            // So late that it looks at open frames too.
            5 => self.drain(Duration::from_secs(1)),
            6 => self.engine.with(|core, now| {
                let Core { sched, links, .. } = core;
                sched.tick(now, |worker| links.get(&worker).map_or(0, Link::progress));
            }),
            act => {
                if let Some(puppet) = self.puppets.last_mut() {
                    puppet.act(act, input);
                }
            }
        }
    }

    fn end(mut self) {
        self.engine.shut(true);
        while let Some(mut puppet) = self.puppets.pop() {
            // Its death, which the parent sees by the socket.
            puppet.socket = None;
            // A message that is none hides those behind it, but not for ever: the socket stays readable.
            while self.engine.lock().links.contains_key(&puppet.id) {
                thread::attend(&self.engine, &self.poller, puppet.id, false);
            }
            self.start();
        }
        let mut ends = self.ends.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ends.sort_unstable();
        assert!(ends.iter().copied().eq(0..self.accepted), "{} tasks ended like this: {ends:?}", self.accepted);
        let core = self.engine.lock();
        assert!(core.pending() == 0 && core.links.is_empty() && core.sched.is_over());
    }
}

impl Puppet {
    fn act(&mut self, act: u8, input: &mut Input<'_>) {
        let say = |socket: &Option<Socket>, bytes: &[u8], fds: &[std::os::fd::BorrowedFd<'_>]| {
            if let Some(socket) = socket {
                let _ = socket.send(bytes, fds, false);
            }
        };
        match act {
            10..=13 if !self.honest => {}
            7 => say(&self.socket, &control::encode(&ToParent::Ready { sandbox: None }), &[]),
            8 => {
                let len = usize::from(input.byte() % 16);
                say(&self.socket, &input.bytes(len), &[]);
            }
            9 => {
                let (number, how) = (u64::from(input.byte() % 4), input.byte());
                let (memory, holds) = (how % 5 == 2, how & 0x20 != 0);
                let message = control::encode(&match how % 5 {
                    0 => ToParent::Segment { number },
                    1 => ToParent::DropSegment { number },
                    4 => ToParent::Release { number },
                    _ => ToParent::Attach { number, memory, memories: vec![(u32::from(how >> 6), number)], holds },
                });
                let fds: Vec<OwnedFd> = (0..input.byte() % 3).filter_map(|_| any_memory(input)).collect();
                say(&self.socket, &message, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            }
            10 => {
                if self.present.is_none()
                    && let Some(header) = self.tasks.next(&mut Vec::new())
                    && self.results.open(header.frame, header.first)
                {
                    self.present = Some((header.frame, header.first, header.end));
                }
            }
            11 => {
                let Some((.., next, end)) = self.present else { return };
                let most = u32::from(input.byte() % 4).min(end - next - self.begun);
                for _ in 0..most {
                    self.begun += u32::from(self.tasks.begin());
                }
            }
            12 => {
                let Some((frame, next, end)) = self.present else { return };
                let how = input.byte();
                // Sometimes one that it has not begun.
                let count = u32::from(how % 4).min(self.begun + u32::from(how >= 240)).min(end - next);
                for _ in 0..count {
                    let mut item = Vec::new();
                    match input.byte() % 4 {
                        0 => item = input.bytes(6),
                        1 => {
                            // A number, how it is attached, and perhaps a place.
                            let mut body = u64::from(input.byte() % 4).to_le_bytes().to_vec();
                            body.push(input.byte() % 5);
                            let len = usize::from(input.byte() % 32);
                            body.extend(input.bytes(len));
                            put_result(Status::Attached, &body, &mut item);
                        }
                        how => put_result(if how == 2 { Status::Panicked } else { Status::Ok }, &[1, 1, 65], &mut item),
                    }
                    self.results.add(&item);
                }
                self.begun = self.begun.saturating_sub(count);
                self.present = Some((frame, next + count, end));
            }
            13 => {
                let Some((frame, next, end)) = self.present else { return };
                self.results.commit(u64::from(input.word()));
                let ended = self.begun == 0 && (next == end || !self.tasks.begin());
                if ended {
                    self.tasks.finish();
                    self.present = None;
                } else {
                    // Of those, one was begun just now.
                    self.begun = self.begun.max(1);
                    self.present = self.results.open(frame, next).then_some((frame, next, end));
                    self.honest = self.present.is_some();
                }
            }
            14 => self.socket = None,
            _ => self.honest &= self.hostile.spoil(input),
        }
    }
}

/// Memory as a worker may send it: sealed or not, with a result in it or not.
fn any_memory(input: &mut Input<'_>) -> Option<OwnedFd> {
    let how = input.byte();
    let mut item = Vec::new();
    match how % 3 {
        0 => item = input.bytes(8),
        _ => put_result(Status::Ok, &[1, 1, 65], &mut item),
    }
    if how.is_multiple_of(5) {
        let fd = crate::os::memory::create_growing("procpool-fuzz").ok()?;
        File::from(fd.try_clone().ok()?).write_all_at(&item, 0).ok()?;
        return Some(fd);
    }
    create_frozen("procpool-fuzz", &item).ok()
}
