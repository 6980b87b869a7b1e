//! The one stream of what happens in a run. It is folded into a state, which the bar, the summary and the exit code read, and
//! written to the log if there is one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::clock::Clock;
use super::failure::{Cause, JobError};
use super::inputs::Stamp;
use super::log::LogFile;
use super::record::Record;

/// What happens in a run.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// It begins. The first.
    RunStarted {
        /// The name of the job.
        job: &'a str,
        /// What its results depend on besides the inputs.
        options: &'a Value,
        /// How many inputs there are.
        inputs: usize,
        /// How many others were passed over because an earlier run made them, or what would be made of them.
        skipped: usize,
        /// How many of the inputs need not be done, since the log says that they are.
        unchanged: usize,
    },
    /// The pool says something of itself.
    Pool(&'a procpool::Event),
    /// A worker has begun an input.
    InputBegun {
        /// Its path.
        input: &'a Path,
        /// How often it is begun now.
        attempt: u32,
        /// The number of the worker.
        worker: u32,
        /// Its process; none for a thread.
        pid: Option<u32>,
    },
    /// An input is done, output and all, or has failed.
    InputEnded {
        /// Its path.
        input: &'a Path,
        /// Where its outputs went or were to go.
        outputs: &'a [&'a Path],
        /// What there is to tell of it; only if [`Stream::is_logged`].
        outcome: Result<Option<Value>, &'a JobError>,
        /// How it was worked on; all empty if it was not.
        task: &'a Task,
    },
    /// An input need not be done, since it is in what an earlier run has kept.
    Unchanged,
    /// An input was not begun, because the run was stopped.
    NotBegun,
    /// It ends. The last, unless the process is ended.
    RunEnded {
        /// Whether it was stopped.
        interrupted: bool,
    },
}

/// What is known of the work on one input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Task {
    /// The input.
    pub input: PathBuf,
    /// It is a piece of the input, not the first.
    pub is_later: bool,
    /// What the input was when it was opened.
    pub stamp: Option<Stamp>,
    /// How often it had been begun.
    pub attempt: Option<u32>,
    /// The number of the worker.
    pub worker: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// From its being handed to the pool to its last beginning.
    pub queued_ns: Option<u64>,
    /// How long it ran.
    pub run_ns: Option<u64>,
    /// The most memory its worker has had, in bytes.
    pub peak_memory: Option<u64>,
}

/// How a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Inputs.
    pub inputs: u64,
    /// Others that were passed over because an earlier run made them.
    pub skipped: u64,
    /// Inputs that need not be done, since an earlier run has done them.
    pub unchanged: u64,
    /// Inputs that were done in this run.
    pub done: u64,
    /// Inputs that failed, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Inputs that were not begun, because the run was stopped.
    pub not_begun: u64,
}

impl State {
    /// Changes as `event` says.
    pub(crate) fn fold(&mut self, event: &Event<'_>) {
        match event {
            Event::RunStarted { inputs, skipped, unchanged, .. } => {
                self.inputs = *inputs as u64;
                self.skipped = *skipped as u64;
                self.unchanged = *unchanged as u64;
            }
            Event::InputEnded { outcome: Ok(_), .. } => self.done += 1,
            Event::InputEnded { outcome: Err(error), .. } => *self.causes.entry(error.cause).or_default() += 1,
            Event::Unchanged => self.unchanged += 1,
            Event::NotBegun => self.not_begun += 1,
            Event::Pool(_) | Event::InputBegun { .. } | Event::RunEnded { .. } => {}
        }
    }

    /// How many inputs failed.
    pub(crate) fn failed(&self) -> u64 {
        self.causes.values().sum()
    }

    /// How many inputs have ended, of how many that there are to do.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.done + self.failed(), self.inputs - self.unchanged)
    }

    /// The figures, for programs.
    pub(crate) fn record(&self) -> Record {
        let causes = self.causes.iter().map(|(cause, &count)| (cause.name().to_owned(), count.into()));
        Record::default()
            .with("done", self.done)
            .with("failed", self.failed())
            .with("causes", causes.collect::<serde_json::Map<_, _>>())
            .with("unchanged", self.unchanged)
            .with("skipped", self.skipped)
            .with("not_begun", self.not_begun)
    }
}

/// The stream of one run.
#[derive(Debug)]
pub(crate) struct Stream {
    clock: Clock,
    logged: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    log: Option<LogFile>,
    /// What made the log end too early, until somebody has asked.
    lost: Option<io::Error>,
    /// When the pool was built.
    pool_began: u64,
    /// How many tasks were handed to the pool.
    fed: u64,
    /// Those that have not ended, by their number in the pool. Only for the log.
    tasks: BTreeMap<u64, Task>,
    /// Which part of an input in pieces has been worked on, by the number of the input, until it ends.
    parts: BTreeMap<usize, f64>,
}

impl Stream {
    /// A stream that nothing has gone through.
    pub(crate) fn new(log: Option<LogFile>) -> Stream {
        let logged = log.is_some();
        let (state, tasks) = (State::default(), BTreeMap::new());
        let parts = BTreeMap::new();
        let inner = Mutex::new(Inner { state, log, lost: None, pool_began: 0, fed: 0, tasks, parts });
        Stream { clock: Clock::start(), logged, inner }
    }

    /// Whether there is a log.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged
    }

    /// Says what happens now.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        self.lock().tell(&self.clock, self.clock.now(), event);
    }

    /// The state that all events so far have led to.
    pub(crate) fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Notes which part of an input, from 0 to 1, has been worked on; nothing, once it has ended.
    pub(crate) fn worked_on(&self, input: usize, part: Option<f64>) {
        let parts = &mut self.lock().parts;
        match part {
            Some(part) => drop(parts.insert(input, part)),
            None => drop(parts.remove(&input)),
        }
    }

    /// How many inputs were worked on besides those that have ended, parts of them added up.
    pub(crate) fn parts(&self) -> f64 {
        self.lock().parts.values().sum()
    }

    /// Notes that an input, or a further piece of it, is handed to the pool as its next task.
    pub(crate) fn fed(&self, input: &Path, stamp: Option<Stamp>, is_first: bool) {
        if self.logged {
            let mut inner = self.lock();
            let number = inner.fed;
            inner.fed += 1;
            inner.tasks.insert(number, Task { input: input.to_owned(), stamp, is_later: !is_first, ..Task::default() });
        }
    }

    /// What is known of a task of the pool that has ended.
    pub(crate) fn take_task(&self, number: usize) -> Task {
        self.lock().tasks.remove(&(number as u64)).unwrap_or_default()
    }

    /// What the pool says. A task's end comes here before its outcome can be taken.
    pub(crate) fn hear(&self, record: &procpool::Record) {
        let mut inner = self.lock();
        if let procpool::Event::PoolStarted { .. } = record.event {
            inner.pool_began = self.clock.now().saturating_sub(record.at_ns);
        }
        inner.hear(&self.clock, record);
    }

    /// What made the log end too early. Told once.
    pub(crate) fn lost_log(&self) -> Option<io::Error> {
        self.lock().lost.take()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, clock: &Clock, at_ns: u64, event: &Event<'_>) {
        self.state.fold(event);
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(clock, at_ns, event, &self.state)
        {
            // A line that is only half there must stay the last.
            self.log = None;
            self.lost = Some(error);
        }
    }

    fn hear(&mut self, clock: &Clock, record: &procpool::Record) {
        use procpool::Event as Pool;
        let at_ns = self.pool_began.saturating_add(record.at_ns);
        let numbers = |first: u64, count: u32| first..first + u64::from(count);
        match &record.event {
            // A task's way through the pool is told by its beginning and its end.
            Pool::TasksQueued { .. } | Pool::TasksSent { .. } => {}
            &Pool::TasksBegun { first, count, attempt, worker, pid, .. } => {
                for number in numbers(first, count) {
                    let Some(task) = self.tasks.get(&number).filter(|task| !task.is_later) else { continue };
                    let input = task.input.clone();
                    self.tell(clock, at_ns, &Event::InputBegun { input: &input, attempt, worker, pid });
                }
            }
            &Pool::TasksEnded { first, count, attempt, worker, pid, queued_ns, run_ns, peak_memory, .. } => {
                for number in numbers(first, count) {
                    let Some(task) = self.tasks.get_mut(&number) else { continue };
                    let (input, is_later, stamp) = (std::mem::take(&mut task.input), task.is_later, task.stamp);
                    let (attempt, queued_ns) = (Some(attempt), Some(queued_ns));
                    *task = Task { input, is_later, stamp, attempt, worker, pid, queued_ns, run_ns, peak_memory };
                }
            }
            event => self.tell(clock, at_ns, &Event::Pool(event)),
        }
    }
}
