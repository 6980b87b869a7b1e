//! The parent's side: turns what the workers and the operating system do into events of the scheduler, and its actions
//! into calls of the operating system.
//!
//! Everything shared is in [`Core`], behind one lock. What may call foreign code or the kernel (completing a future,
//! waking a worker) is collected in an [`Outbox`] and done after the lock is released.

mod act;
mod books;
mod clock;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod launch;
mod limiter;
mod link;
mod log;
mod obituary;
mod output;
mod pace;
mod pause;
mod receive;
mod thread;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use books::Books;
use clock::Clock;
use frame::Beside;
pub(crate) use frame::{Delivery, Frame, Large, Origin, Results, SharedBlob, Sink, Sinks, Submitted};
pub(crate) use launch::{Initializer, Launch, call_message, start_process};
pub use launch::{Launched, Launcher};
use link::Link;
use log::Log;
use obituary::{Obituary, ended_before_ready, told};
use output::Printer;
pub use output::{Output, OutputLine, Stream};
pub use receive::Waiting;

use crate::arena::Arena;
use crate::error::{Blame, Error, Kind, Result};
use crate::events::{self, Event, Record};
use crate::os::bell::{Bell, futex_wake};
use crate::os::cgroup::{Group, Home};
use crate::ring::{Breach, Listener, Region};
use crate::sched::{Action, Counts, Doom, Failure, FrameId, Nanos, Sched, Spec, WorkerId, nanos};
use crate::wire::control::SandboxState;

/// The running part of a pool; lives as long as the pool, its futures or its supervisor thread.
#[derive(Debug)]
pub(crate) struct Engine {
    core: Mutex<Core>,
    /// Rung for the thread that waits for a result.
    leader_bell: Bell,
    /// Whether that thread sleeps on its bell.
    leader_sleeps: AtomicBool,
    /// Rung for the supervisor thread.
    supervisor_bell: Bell,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    supervisor_id: std::sync::OnceLock<ThreadId>,
    /// Threads that wait for something other than a result: room for tasks, the end of the pool.
    bystanders: Mutex<Vec<std::thread::Thread>>,
    launch: Launch,
    /// Where large inputs lie.
    arena: Arc<Arena>,
    /// The most bytes that each worker's segments for large results may have.
    results: u64,
    printer: Option<Arc<Printer>>,
    events: Option<events::Listener>,
    wear: Wear,
    clock: Clock,
    /// How many CPUs this process may use.
    cpus: usize,
    /// Where control groups for workers can be made, looked up when the first limit of memory is seen.
    home: std::sync::OnceLock<Option<Home>>,
}

/// When a worker is replaced although nothing happened to it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wear {
    /// After it was given this many tasks.
    pub(crate) tasks: Option<u64>,
    /// When it has more resident memory than this many bytes.
    pub(crate) memory: Option<u64>,
    /// When it is this old.
    pub(crate) age: Option<Duration>,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) sched: Sched<Arc<Frame>>,
    links: BTreeMap<WorkerId, Link>,
    /// Workers to be started by the supervisor thread.
    starts: Vec<WorkerId>,
    /// Tasks that were accepted.
    accepted: u64,
    /// The number of the next task that is submitted alone.
    next_index: u64,
    /// Who drains the result rings when a worker has something.
    listener: Listener,
    /// The thread that waits for a result and does the receiving.
    leader: Option<ThreadId>,
    /// Threads that wait for a result while another one leads.
    followers: Vec<std::thread::Thread>,
    /// Until when the supervisor thread sleeps, if not for ever.
    planned_wake: Option<Nanos>,
    /// How long the supervisor thread waits before it looks for results again and hands out tasks; `None` if it is to be rung
    /// for results, and who submits tasks hands them out.
    interval: Option<Duration>,
    /// When a task was accepted last. While there is no interval, those that joined others do not count.
    submitted_at: Nanos,
    /// Why the last worker could not start.
    start_error: Option<Error>,
    /// The worker whose death is being reported.
    obituary: Option<(WorkerId, Obituary)>,
    over: bool,
    /// The workers are stopped and the clock stands.
    paused: bool,
    /// Workers that are to be ended gently once all goes on.
    postponed: Vec<WorkerId>,
    /// Some task had a limit of memory.
    limits_memory: bool,
    /// Control groups of workers that are gone, to be removed without the lock.
    litter: Vec<Group>,
    /// How long a worker that is to end may clean up.
    grace: Duration,
    log: Log,
    tasks: TaskCounts,
    /// What holds of the sandbox in every worker that was ready so far.
    sandbox: Option<SandboxState>,
}

/// Tasks by outcome.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TaskCounts {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

impl TaskCounts {
    fn ended(self) -> u64 {
        self.ok + self.failed
    }
}

/// What is to be done once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    deliveries: Vec<(Arc<Frame>, u32, Delivery)>,
    wakes: Vec<Region>,
    ring_supervisor: bool,
    records: Vec<Record>,
}

/// How the scheduler accepts a frame.
type Submit = fn(&mut Sched<Arc<Frame>>, Arc<Frame>, Spec, Nanos) -> std::result::Result<FrameId, Failure>;

/// How often memory and CPU time are looked at.
const WATCH: Duration = Duration::from_millis(20);

impl Engine {
    /// All but the supervisor thread.
    fn new(
        workers: usize,
        launch: Launch,
        shared_memory: usize,
        wear: Wear,
        output: &Output,
        events: Option<events::Listener>,
        grace: Duration,
    ) -> Result<Self> {
        let bell = || Bell::new().map_err(|e| Error::os("cannot make an eventfd", &e));
        let mut sched = Sched::new(workers);
        sched.set_tasks_per_worker(wear.tasks);
        Ok(Self {
            core: Mutex::new(Core {
                sched,
                links: BTreeMap::new(),
                starts: Vec::new(),
                accepted: 0,
                next_index: 0,
                listener: Listener::Supervisor,
                leader: None,
                followers: Vec::new(),
                planned_wake: None,
                interval: None,
                submitted_at: 0,
                start_error: None,
                obituary: None,
                over: false,
                paused: false,
                postponed: Vec::new(),
                limits_memory: false,
                litter: Vec::new(),
                grace,
                log: Log::new(events.is_some()),
                tasks: TaskCounts::default(),
                sandbox: None,
            }),
            leader_bell: bell()?,
            leader_sleeps: AtomicBool::new(false),
            supervisor_bell: bell()?,
            supervisor: Mutex::new(None),
            supervisor_id: std::sync::OnceLock::new(),
            bystanders: Mutex::default(),
            // A thread that was abandoned may still read an input whose task has ended, and what is confined is to see no
            // input but its own.
            arena: Arena::new(if launch.may_share_inputs() { shared_memory / 2 } else { 0 }),
            results: (shared_memory / 2 / workers.max(1)) as u64,
            launch,
            printer: Printer::start(output).map_err(|e| Error::os("cannot pass on what workers print", &e))?,
            events,
            wear,
            clock: Clock::new(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            home: std::sync::OnceLock::new(),
        })
    }

    /// Starts the supervisor thread of a pool. No worker is started before there is a task.
    pub(crate) fn start(
        workers: usize,
        launch: Launch,
        shared_memory: usize,
        wear: Wear,
        output: &Output,
        events: Option<events::Listener>,
        grace: Duration,
    ) -> Result<Arc<Self>> {
        let engine = Arc::new(Self::new(workers, launch, shared_memory, wear, output, events, grace)?);
        let handle = thread::spawn(Arc::clone(&engine)).inspect_err(|_| {
            if let Some(printer) = &engine.printer {
                printer.close();
            }
        })?;
        let _ = engine.supervisor_id.set(handle.thread().id());
        *engine.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(engine)
    }

    /// Nanoseconds since the pool began, without those in which it was stopped.
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `change` under the lock, then everything that follows from it.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut Core, Nanos) -> R) -> R {
        self.with_outbox(|core, now, _| change(core, now))
    }

    fn with_outbox<R>(&self, change: impl FnOnce(&mut Core, Nanos, &mut Outbox) -> R) -> R {
        let mut out = Outbox::default();
        let result = {
            let mut core = self.lock();
            let now = self.now();
            let result = change(&mut core, now, &mut out);
            core.pump(now, &mut out);
            result
        };
        self.flush(out);
        result
    }

    /// Accepts one task that is to go to `sink`: with others that wait, if it can, else as a frame of its own, which `alone`
    /// makes. Returns its frame, its place in there, and its number in the pool.
    pub(crate) fn submit_one(
        &self,
        payload: &[u8],
        sink: &Arc<dyn Sink>,
        spec: &Spec,
        alone: impl FnOnce(u64) -> Frame,
    ) -> Result<(FrameId, u32, u64)> {
        let mut core = self.lock();
        let index = core.next_index;
        let mut joined_frame = None;
        let is_listening = core.log.is_listening();
        let add = |frame: &mut Arc<Frame>| {
            let added = Arc::get_mut(frame).is_some_and(|frame| frame.add(payload, sink, index));
            joined_frame = (added && is_listening).then(|| Arc::clone(frame));
            added
        };
        let joined = core.sched.join(spec, add);
        core.next_index += 1;
        if let Some((frame, task)) = joined {
            core.accepted += 1;
            if core.interval.is_some() {
                core.submitted_at = self.now();
            }
            if let Some(frame) = joined_frame {
                let (now, mut out) = (self.now(), Outbox::default());
                core.note_queued(&frame, index, 1, now, &mut out);
                drop(core);
                self.flush(out);
            }
            return Ok((frame, task, index));
        }
        drop(core);
        let frame = self.accept(Arc::new(alone(index)), spec.clone(), Sched::submit_growing)?;
        Ok((frame, 0, index))
    }

    /// Takes the next number of a submitted task, for one that does not get as far as a worker.
    pub(crate) fn take_index(&self) -> u64 {
        let mut core = self.lock();
        core.next_index += 1;
        core.next_index - 1
    }

    /// Accepts a frame.
    pub(crate) fn submit(&self, frame: Arc<Frame>, spec: Spec) -> Result<FrameId> {
        self.accept(frame, spec, Sched::submit)
    }

    fn accept(&self, frame: Arc<Frame>, spec: Spec, submit: Submit) -> Result<FrameId> {
        self.with_outbox(|core, now, out| {
            let (count, first) = (spec.items, frame.first_index);
            let kept = core.log.is_listening().then(|| Arc::clone(&frame));
            core.limits_memory |= frame.memory_limit.is_some();
            let id = submit(&mut core.sched, frame, spec, now).map_err(|failure| core.error_of(failure, None, 1))?;
            core.accepted += u64::from(count);
            core.submitted_at = now;
            if let Some(frame) = kept {
                core.note_queued(&frame, first, count, now, out);
            }
            // So that somebody looks when its memory is not used any more.
            out.ring_supervisor |= self.arena.has_news();
            Ok(id)
        })
    }

    /// Where large inputs lie.
    pub(crate) fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Does what was put off until the lock was released.
    fn flush(&self, mut out: Outbox) {
        for region in out.wakes.drain(..) {
            futex_wake(region.worker_word());
        }
        if out.ring_supervisor {
            self.supervisor_bell.ring();
        }
        // Before the outcomes, so that whoever has one knows how it came to be.
        if let Some(listener) = &self.events {
            for record in &out.records {
                let _ = catch_unwind(AssertUnwindSafe(|| (listener.0)(record)));
            }
        }
        let delivered = !out.deliveries.is_empty();
        let mut wakers: Vec<Waker> = Vec::new();
        for (frame, first, delivery) in out.deliveries.drain(..) {
            frame.deliver(first, delivery, &mut wakers);
        }
        if delivered {
            self.tell_bystanders();
        }
        // The leader may be waiting for just this, and only its bell wakes it.
        if delivered && self.leader_sleeps.load(SeqCst) {
            self.leader_bell.ring();
        }
        for waker in wakers {
            // Foreign code, on the thread that received the result: its panic, of which the hook has told, must take neither
            // that thread nor the results of others with it.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    /// Notes what the pool says of itself.
    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        self.with_outbox(|core, now, out| core.log.note(now, out, event));
    }

    /// Closes the pool and waits until nothing of it is left. On a thread of its own (a callback dropped the pool)
    /// there is no waiting: the thread ends right after.
    pub(crate) fn close(&self, at_once: bool) {
        self.shut(at_once);
        if self.is_own_thread() {
            return;
        }
        self.wait_for_end();
        let handle = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let _ = handle.join();
        }
    }

    /// Closes the pool at once without waiting; its threads end when their tasks do.
    pub(crate) fn abandon(&self) {
        self.shut(true);
    }

    fn shut(&self, at_once: bool) {
        self.with_outbox(|core, now, out| {
            if !core.over {
                core.log.note(now, out, || Event::Closed { at_once });
            }
            core.sched.close(at_once, now);
            // What is accepted is to end, and a stopped worker ends nothing but by SIGKILL.
            self.unfreeze(core, !at_once);
        });
        self.supervisor_bell.ring();
    }

    /// Changes the number of workers.
    pub(crate) fn resize(&self, workers: usize) {
        self.with_outbox(|core, now, out| {
            core.log.note(now, out, || Event::Resized { workers });
            core.sched.resize(workers, now);
        });
    }

    /// Whether this is the supervisor thread.
    fn is_supervisor_thread(&self) -> bool {
        self.supervisor_id.get() == Some(&std::thread::current().id())
    }

    /// Whether this is a thread of the pool itself, which must not wait for what it does itself.
    pub(crate) fn is_own_thread(&self) -> bool {
        let me = std::thread::current().id();
        self.supervisor_id.get() == Some(&me) || self.printer.as_ref().is_some_and(|printer| printer.is_thread(me))
    }

    /// Whether the workers are threads.
    pub(crate) fn is_threads(&self) -> bool {
        matches!(self.launch, Launch::Threads { .. })
    }
}

impl Core {
    fn note_queued(&mut self, frame: &Arc<Frame>, first: u64, count: u32, now: Nanos, out: &mut Outbox) {
        self.log.accept(frame, count, now);
        let function = frame.function.name;
        self.log.note(now, out, || Event::TasksQueued { function: function.into(), first, count });
    }

    /// Takes all results that the workers have published, and those that wait behind a long task, and does what follows.
    fn drain(&mut self, now: Nanos, out: &mut Outbox) {
        let mut breaches = Vec::new();
        let Self { links, sched, tasks, log, .. } = self;
        let mut books = Books { sched, tasks, log, out, now };
        for (&worker, link) in links {
            let taken = match link.peek_at() {
                Some(at) if at <= now => link.peek(worker, &mut books),
                _ => link.drain(worker, &mut books),
            };
            if let Err(Breach(what)) = taken {
                breaches.push((worker, what));
            }
        }
        for (worker, what) in breaches {
            self.sched.doom(worker, Doom::Breach(what));
        }
        self.pump(now, out);
        self.notice_begun(now, out);
    }

    /// Whether this task, which has not ended, has begun.
    pub(crate) fn has_begun(&self, frame: FrameId, task: u32) -> bool {
        let Some(part) = self.sched.part_of(frame, task) else { return false };
        self.links.iter().any(|(worker, link)| {
            let at = self.sched.front(*worker).is_some_and(|(front, _, _)| front == part);
            at && link.begun().is_some_and(|begun| task < begun)
        })
    }

    /// Whether some task has begun, or ended.
    pub(crate) fn has_run(&self) -> bool {
        self.tasks.ended() > 0
            || self.links.iter().any(|(worker, link)| {
                let next = self.sched.front(*worker).map(|(_, next, _)| next);
                next.is_some_and(|next| link.begun().is_some_and(|begun| next < begun))
            })
    }

    /// From now on `listener` is to be rung for results.
    fn listen(&mut self, listener: Listener) {
        if self.listener == listener {
            // A worker takes the wish back when it rings.
            if listener == Listener::Awake {
                return;
            }
        }
        self.listener = listener;
        for link in self.links.values().filter(|link| link.is_busy()) {
            link.region().set_listener(listener);
        }
    }

    /// Nobody waits for results: from now on the supervisor thread takes them.
    fn leave_to_supervisor(&mut self) {
        self.listen(if self.interval.is_some() { Listener::Awake } else { Listener::Supervisor });
    }

    fn set_interval(&mut self, interval: Option<Duration>) {
        self.interval = interval.filter(|_| !self.paused);
        self.sched.set_defers(self.interval.is_some());
    }

    /// Whether some worker has published a result that nobody has taken.
    fn has_results(&self) -> bool {
        self.links.values().any(|link| link.is_busy() && link.has_results())
    }

    /// How many workers have something to do.
    fn busy_links(&self) -> usize {
        self.links.values().filter(|link| link.is_busy()).count()
    }

    /// Tells the workers that these segments are gone.
    fn drop_segments(&mut self, numbers: &[u64]) {
        for link in self.links.values_mut().filter(|_| !numbers.is_empty()) {
            numbers.iter().for_each(|number| link.drop_segment(*number));
        }
    }

    /// Tells the workers which memories of buffers are gone. Returns whether they have others.
    fn drop_memories(&mut self) -> bool {
        self.links.values_mut().filter_map(|link| link.drop_memories().then_some(())).count() > 0
    }

    /// Tells the workers that a state of `map_with` is not needed any more.
    pub(crate) fn drop_state(&mut self, number: u64) {
        for link in self.links.values_mut() {
            link.drop_state(number);
        }
    }

    /// Tasks that were accepted and have not ended.
    pub(crate) fn pending(&self) -> u64 {
        self.accepted - self.tasks.ended()
    }

    pub(crate) fn counts(&self) -> (Counts, TaskCounts) {
        (self.sched.counts(), self.tasks)
    }

    fn note_sandbox(&mut self, state: Option<SandboxState>) {
        self.sandbox = match (self.sandbox, state) {
            (Some(before), Some(now)) => Some(before.and(now)),
            (before, now) => before.or(now),
        };
    }

    /// What holds of the sandbox in every worker that was ready so far; `None` if there was none, or is to be none.
    pub(crate) fn sandbox(&self) -> Option<SandboxState> {
        self.sandbox
    }

    /// The processes of the workers that are there.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.links.values().filter_map(Link::pid).collect();
        pids.sort_unstable();
        pids
    }
}
