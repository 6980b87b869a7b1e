//! The parent's side: turns what the workers and the operating system do into events of the scheduler, and its actions
//! into calls of the operating system.
//!
//! Everything shared is in [`Core`], behind one lock. What may call foreign code or the kernel (completing a future,
//! waking a worker) is collected in an [`Outbox`] and done after the lock is released.

mod books;
mod frame;
mod launch;
mod link;
mod output;
mod receive;
mod thread;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use books::Books;
use frame::Beside;
pub(crate) use frame::{Delivery, Frame, Large, Origin, Results, SharedBlob, Sink};
pub(crate) use launch::{Initializer, Launch, call_message, start_process};
use link::Link;
use output::Printer;
pub use output::{Output, OutputLine, Stream};
pub(crate) use receive::Waiting;

use crate::arena::Arena;
use crate::error::{Blame, Error, Kind, Result};
use crate::events::{self, Event, Log, Record};
use crate::os::bell::{Bell, futex_wake};
use crate::os::process::{Exit, signal_name};
use crate::ring::{Breach, Listener, Region};
use crate::sched::{Action, Counts, Doom, Failure, FrameId, Nanos, Sched, Spec, WorkerId};
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
    epoch: Instant,
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
    /// Who drains the result rings when a worker has something.
    listener: Listener,
    /// The thread that waits for a result and does the receiving.
    leader: Option<ThreadId>,
    /// Threads that wait for a result while another one leads.
    followers: Vec<std::thread::Thread>,
    /// Until when the supervisor thread sleeps, if not for ever.
    planned_wake: Option<Nanos>,
    /// Why the last worker could not start.
    start_error: Option<Error>,
    /// The worker whose death is being reported.
    obituary: Option<(WorkerId, Obituary)>,
    over: bool,
    /// How long a worker that is to end may clean up.
    grace: Duration,
    log: Log,
    tasks: TaskCounts,
    /// What holds of the sandbox in every worker that was ready so far.
    sandbox: Option<SandboxState>,
}

/// How a worker ended.
#[derive(Debug, Clone)]
struct Obituary {
    pid: Option<u32>,
    exit: Option<Exit>,
    /// The end of its standard error.
    stderr: Option<String>,
}

/// Tasks by outcome.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TaskCounts {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

/// What is to be done once the lock is released.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    deliveries: Vec<(Arc<dyn Sink>, u64, Delivery)>,
    wakes: Vec<Region>,
    ring_supervisor: bool,
    records: Vec<Record>,
}

/// How often memory and CPU time are looked at.
const WATCH: Duration = Duration::from_millis(20);

impl Engine {
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
        let bell = || Bell::new().map_err(|e| Error::os("cannot make an eventfd", &e));
        let mut sched = Sched::new(workers);
        sched.set_tasks_per_worker(wear.tasks);
        let engine = Arc::new(Self {
            core: Mutex::new(Core {
                sched,
                links: BTreeMap::new(),
                starts: Vec::new(),
                accepted: 0,
                listener: Listener::Supervisor,
                leader: None,
                followers: Vec::new(),
                planned_wake: None,
                start_error: None,
                obituary: None,
                over: false,
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
            epoch: Instant::now(),
        });
        let handle = thread::spawn(Arc::clone(&engine))?;
        let _ = engine.supervisor_id.set(handle.thread().id());
        *engine.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(engine)
    }

    /// Nanoseconds since the pool began.
    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
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

    /// Accepts a frame.
    pub(crate) fn submit(&self, frame: Arc<Frame>, spec: Spec) -> Result<FrameId> {
        self.with_outbox(|core, now, out| {
            let (count, first, function) = (spec.items, frame.first_index, frame.function.name);
            let id = core.sched.submit(frame, spec, now).map_err(|failure| core.error_of(failure, None, 1))?;
            core.accepted += u64::from(count);
            core.log.note(now, &mut out.records, || Event::TasksQueued { function: function.into(), first, count });
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
        let delivered = !out.deliveries.is_empty();
        let deliveries = out.deliveries.drain(..);
        let wakers: Vec<Waker> = deliveries.filter_map(|(sink, first, it)| sink.deliver(first, it)).collect();
        if delivered {
            self.tell_bystanders();
        }
        // The leader may be waiting for just this, and only its bell wakes it.
        if delivered && self.leader_sleeps.load(SeqCst) {
            self.leader_bell.ring();
        }
        if let Some(listener) = &self.events {
            for record in &out.records {
                let _ = catch_unwind(AssertUnwindSafe(|| (listener.0)(record)));
            }
        }
        for waker in wakers {
            // Foreign code, on the thread that received the result: its panic, of which the hook has told, must take neither
            // that thread nor the results of others with it.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
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
            core.log.note(now, &mut out.records, || Event::Closed { at_once });
            core.sched.close(at_once, now);
        });
        self.supervisor_bell.ring();
    }

    /// Changes the number of workers.
    pub(crate) fn resize(&self, workers: usize) {
        self.with_outbox(|core, now, out| {
            core.log.note(now, &mut out.records, || Event::Resized { workers });
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
    /// Carries out the scheduler's actions until there are none.
    fn pump(&mut self, now: Nanos, out: &mut Outbox) {
        loop {
            let actions = self.sched.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                self.act(action, now, out);
            }
        }
    }

    fn act(&mut self, action: Action<Arc<Frame>>, now: Nanos, out: &mut Outbox) {
        match action {
            Action::Start(worker) => {
                self.starts.push(worker);
                out.ring_supervisor = true;
            }
            Action::Send { worker, frame, range, payload } => self.send(worker, frame, range, &payload, now, out),
            Action::Revoke { worker, frame } => {
                let Some(link) = self.links.get_mut(&worker) else { return };
                if let Some(taken) = link.revoke(frame) {
                    self.sched.revoked(worker, frame, taken, now);
                }
            }
            Action::Kill { worker, gently } => {
                let grace = self.grace;
                let Self { links, sched, tasks, log, .. } = self;
                if let Some(link) = links.get_mut(&worker) {
                    let honest = link.drain(worker, &mut Books { sched, tasks, log, out, now }).is_ok();
                    if honest && !sched.is_guilty(worker) {
                        return sched.pardon(worker, now);
                    }
                    if gently && !grace.is_zero() {
                        link.ask_to_end(now.saturating_add(u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX)));
                        out.ring_supervisor = true;
                    } else {
                        link.kill();
                    }
                } else if let Some(at) = self.starts.iter().position(|w| *w == worker) {
                    self.starts.remove(at);
                    self.sched.died(worker, false, now);
                }
            }
            Action::Retire(worker) => {
                if let Some(link) = self.links.get_mut(&worker)
                    && !link.retire()
                {
                    self.sched.doom(worker, Doom::Breach("it does not read its messages"));
                }
            }
            Action::Fail { payload, range, failure, worker, attempt } => {
                for item in range.0..range.1 {
                    let index = payload.first_index + u64::from(item);
                    let error = self
                        .error_of(failure, worker.map(|w| (w, &*payload)), attempt)
                        .with_task(payload.function.name, index);
                    self.log.note(now, &mut out.records, || Event::TasksEnded {
                        function: payload.function.name.into(),
                        first: index,
                        count: 1,
                        failure: Some(error.kind()),
                        attempt,
                        pid: error.pid(),
                        run_ns: None,
                    });
                    out.deliveries.push((Arc::clone(&payload.sink), index, Delivery::Failed(error)));
                    self.tasks.failed += 1;
                }
            }
        }
    }

    fn send(
        &mut self,
        worker: WorkerId,
        frame: FrameId,
        range: (u32, u32),
        payload: &Arc<Frame>,
        now: Nanos,
        out: &mut Outbox,
    ) {
        let Some(link) = self.links.get_mut(&worker) else { return };
        match link.send(frame, range, payload, self.listener) {
            Ok(true) => {}
            Ok(false) => return self.sched.refused(worker, frame),
            Err(Breach(what)) => return self.sched.doom(worker, Doom::Breach(what)),
        }
        out.ring_supervisor |= link.take_news();
        let pid = link.pid();
        self.log.note(now, &mut out.records, || Event::TasksSent {
            function: payload.function.name.into(),
            first: payload.first_index + u64::from(range.0),
            count: range.1 - range.0,
            worker: worker.0,
            pid,
        });
        if link.region().take_worker_sleep(crate::ring::SLEEPING) {
            out.wakes.push(link.region().clone());
        }
        let watch = payload.is_watched().then_some(WATCH.as_nanos() as u64);
        if let Some(within) = [payload.timeout, watch].into_iter().flatten().min() {
            let wake = now.saturating_add(within);
            if self.planned_wake.is_none_or(|planned| planned > wake) {
                self.planned_wake = Some(wake);
                out.ring_supervisor = true;
            }
        }
    }

    /// Takes all results that the workers have published, and does what follows.
    fn drain(&mut self, now: Nanos, out: &mut Outbox) {
        let mut breaches = Vec::new();
        let Self { links, sched, tasks, log, .. } = self;
        let mut books = Books { sched, tasks, log, out, now };
        for (&worker, link) in links {
            if let Err(Breach(what)) = link.drain(worker, &mut books) {
                breaches.push((worker, what));
            }
        }
        for (worker, what) in breaches {
            self.sched.doom(worker, Doom::Breach(what));
        }
        self.pump(now, out);
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

    /// Whether some worker has published a result that nobody has taken.
    fn has_results(&self) -> bool {
        self.links.values().any(|link| link.is_busy() && link.has_results())
    }

    /// The worker is gone: takes what it left, then tells the scheduler.
    fn bury(&mut self, worker: WorkerId, now: Nanos, out: &mut Outbox) {
        let Some(mut link) = self.links.remove(&worker) else { return };
        let Self { sched, tasks, log, .. } = self;
        let running = link.last_words(worker, &mut Books { sched, tasks, log, out, now });
        let exit = link.reap();
        let (signal, exit_code) = told(exit);
        let pid = link.pid();
        self.log.note(now, &mut out.records, || Event::WorkerEnded {
            worker: worker.0,
            pid,
            signal,
            exit_code,
            busy: running,
        });
        let stderr = link.last_printed();
        if link.is_starting() && !link.is_unable() {
            self.start_error = Some(Error::new(Kind::Start, Blame::Worker, ended_before_ready(exit)));
        }
        self.obituary = Some((worker, Obituary { pid: link.pid(), exit, stderr }));
        self.sched.died(worker, running, now);
        self.pump(now, out);
        self.obituary = None;
    }

    /// What a scheduler's failure means to people.
    fn error_of(&self, failure: Failure, worker: Option<(WorkerId, &Frame)>, attempt: u32) -> Error {
        let obituary = self.obituary.as_ref().and_then(|(id, obituary)| (worker?.0 == *id).then_some(obituary));
        let (pid, exit) = obituary.map_or((None, None), |o| (o.pid, o.exit));
        let stderr = obituary.and_then(|o| o.stderr.clone());
        let who = pid.map_or("its worker".to_string(), |pid| format!("its worker (pid {pid})"));
        let error = match failure {
            Failure::Cancelled | Failure::Died(Some(Doom::Cancel)) => {
                Error::new(Kind::Cancelled, Blame::Caller, "it was cancelled")
            }
            Failure::Closed => Error::new(Kind::Closed, Blame::Caller, "the pool is shut down"),
            Failure::Died(Some(Doom::Shutdown)) => {
                Error::new(Kind::Closed, Blame::Caller, "the pool was shut down while it ran")
            }
            Failure::NoWorker => self
                .start_error
                .clone()
                .unwrap_or_else(|| Error::new(Kind::Start, Blame::Host, "no worker could be started")),
            Failure::Died(Some(Doom::Timeout)) => {
                let limit = worker.and_then(|(_, frame)| frame.timeout).map(Duration::from_nanos).unwrap_or_default();
                Error::new(
                    Kind::TimedOut,
                    Blame::Task,
                    format!("it took longer than its timeout of {limit:?}; {who} was ended"),
                )
            }
            Failure::Died(Some(Doom::CpuTime)) => {
                let limit = worker.and_then(|(_, frame)| frame.cpu_time).map(Duration::from_nanos).unwrap_or_default();
                let text = format!("it used more CPU time than its limit of {limit:?}; {who} was ended");
                Error::new(Kind::TimedOut, Blame::Task, text)
            }
            Failure::Died(Some(Doom::Memory(seen))) => {
                let limit = worker.and_then(|(_, frame)| frame.memory_limit).unwrap_or_default();
                let text = format!(
                    "{who} used {}, more than the limit of {}, and was ended",
                    mebibytes(seen),
                    mebibytes(limit)
                );
                Error::new(Kind::OutOfMemory, Blame::Task, text).with_peak_memory(Some(seen))
            }
            Failure::Died(Some(Doom::Breach(what))) => {
                Error::new(Kind::Died, Blame::Worker, format!("{who} broke the protocol ({what}) and was ended"))
            }
            Failure::Died(None) => Error::new(Kind::Died, Blame::Worker, how_it_died(&who, exit)),
        };
        let (signal, code) = told(exit);
        error.with_worker(pid, attempt).with_exit(signal, code).with_stderr(stderr)
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
        self.accepted - self.tasks.ok - self.tasks.failed
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

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn how_it_died(who: &str, exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Signal(signal)) => format!("{who} was killed by {}", signal_name(signal)),
        Some(Exit::Code(code)) => format!("{who} exited with code {code} in the middle of it"),
        Some(Exit::Untold) | None => format!("{who} ended in the middle of it"),
    }
}

fn ended_before_ready(exit: Option<Exit>) -> String {
    let how = match exit {
        Some(Exit::Signal(signal)) => format!("was killed by {}", signal_name(signal)),
        Some(Exit::Code(code)) => format!("exited with code {code}"),
        Some(Exit::Untold) | None => "ended".to_string(),
    };
    format!(
        "a worker {how} before it was ready; does main() begin with procpool::init(), \
         and a test binary have procpool::init_in_tests!()?"
    )
}

/// The signal and the exit code of an end, as far as they are known.
fn told(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Signal(signal)) => (Some(signal), None),
        Some(Exit::Code(code)) => (None, Some(code)),
        Some(Exit::Untold) | None => (None, None),
    }
}
