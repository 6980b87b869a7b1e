//! Runs a job: every input through the pool, every outcome into the report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use procpool::{Kind, Pool, Sandbox, SharedFile, TaskOptions};
use rustix::process::{Resource, Rlimit};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::exit;
use super::failure::{Cause, JobError, reason};
use super::feed::{Fed, Feed};
use super::inputs::file_id;
use super::interrupt::Interrupts;
use super::log::{LogFile, LogPlan};
use super::names;
use super::past::Past;
use super::pieces::{Allowance, Assembly, Part, Piece};
use super::record::Record;
use super::report::{OutputError, Reporter, Style, Words, note};
use super::running::{Running, conclude};
use super::stream::{Event, Stream, Task};

/// The pool to run in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolPlan {
    /// Number of workers.
    pub workers: usize,
    /// Threads of this process in place of processes.
    pub threads: bool,
    /// Longest time for one task.
    pub timeout: Option<Duration>,
    /// Most CPU time for one task.
    pub cpu_time: Option<Duration>,
    /// Largest resident size of a worker, in bytes.
    pub memory: Option<u64>,
    /// Further attempts for a task whose worker died.
    pub retries: u32,
    /// After which failures; after all that can be if empty.
    pub retry_on: Vec<Kind>,
    /// How many tasks a worker is given in its life.
    pub tasks_per_worker: Option<u64>,
    /// The resident size with which a worker is kept, in bytes.
    pub worker_memory: Option<u64>,
    /// How old a worker becomes.
    pub worker_age: Option<Duration>,
    /// Workers that can do nothing but compute, as far as this kernel offers it.
    pub sandbox: bool,
}

impl PoolPlan {
    /// A pool with no more workers than there are tasks, which tells `stream` what happens in it.
    pub(crate) fn build(&self, tasks: usize, stream: Option<Arc<Stream>>) -> procpool::Result<Pool> {
        let mut builder = Pool::builder().workers(self.workers.min(tasks).max(1)).name("procpool");
        if self.threads {
            builder = builder.threads();
        }
        if let Some(stream) = stream {
            builder = builder.events(move |record| stream.hear(record));
        }
        if let Some(tasks) = self.tasks_per_worker {
            builder = builder.tasks_per_worker(tasks);
        }
        if let Some(bytes) = self.worker_memory {
            builder = builder.worker_memory(bytes);
        }
        if let Some(age) = self.worker_age {
            builder = builder.worker_age(age);
        }
        if self.sandbox {
            builder = builder.sandbox(Sandbox::strict());
        }
        builder.task_options(&self.task_options()).build()
    }

    fn task_options(&self) -> TaskOptions {
        let mut options = TaskOptions::new().retries(self.retries);
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if let Some(limit) = self.cpu_time {
            options = options.cpu_time(limit);
        }
        if let Some(bytes) = self.memory {
            options = options.memory_limit(bytes);
        }
        if !self.retry_on.is_empty() {
            options = options.retry_on(&self.retry_on);
        }
        options
    }
}

/// What every job needs to know.
pub(crate) struct Context {
    /// The pool to run in.
    pub pool: PoolPlan,
    /// How to report.
    pub style: Style,
    /// What to log, if anything.
    pub log: Option<LogPlan>,
    /// The signals of this process.
    pub interrupts: Arc<Interrupts>,
}

/// One input of a run: what is to be done with it, or why nothing can be.
pub(crate) struct Item<P> {
    /// The input, to be opened, and for the report.
    pub path: PathBuf,
    /// What is to be done with it.
    pub plan: Result<P, JobError>,
}

/// A kind of work over files, apart from the worker function itself.
///
/// Workers touch no file system: this process opens the inputs and hands them over, and writes what comes back.
pub(crate) trait Job {
    /// What is to be done with one input.
    type Plan;
    /// What the worker function gets.
    type Task: Serialize + DeserializeOwned + Send + 'static;
    /// What it returns.
    type Made: Serialize + DeserializeOwned + Send + 'static;
    /// What there is to tell of it, now and in a later run.
    type Done: Serialize + DeserializeOwned;

    /// What a worker gets for an open input.
    fn task(input: SharedFile, plan: &Self::Plan) -> Self::Task;

    /// How many bytes the pieces have that the input may be cut into; `None` if it may not.
    fn piece_len(_plan: &Self::Plan) -> Option<u64> {
        None
    }

    /// What a worker gets for a piece of an input, whose file is open for it alone.
    fn piece(input: SharedFile, plan: &Self::Plan, _piece: Piece) -> Self::Task {
        Self::task(input, plan)
    }

    /// Adds what was made of another piece of the same input. They come in any order, and what comes of all must be the same in
    /// each.
    fn join(_made: &mut Self::Made, _other: Self::Made) {}

    /// Where the outputs go, if there are any.
    fn outputs(_plan: &Self::Plan) -> Vec<&Path> {
        Vec::new()
    }

    /// Writes what a worker made to where it belongs.
    fn keep(plan: &Self::Plan, made: Self::Made) -> Result<Self::Done, JobError>;

    /// How its things are called.
    fn words(&self) -> Words;

    /// What the results depend on besides the inputs.
    fn options(&self) -> Record;

    /// An input is done, not necessarily the next one. What need not wait for those before it can be taken out of `done`, so
    /// that it takes up no memory until they are done.
    fn arrived(&mut self, _index: usize, _input: &Path, _done: &mut Self::Done) {}

    /// The line for people about an input that is done, and the same for programs.
    fn done(&mut self, input: &Path, plan: &Self::Plan, done: &Self::Done) -> (String, Record);

    /// What people should know about an input that is done all the same. (For programs it is in the record.)
    fn warning(&self, _done: &Self::Done) -> Option<String> {
        None
    }

    /// The line that a failed input gets among the results, if it gets one.
    fn failed(&mut self, _input: &Path, _error: &JobError) -> Option<String> {
        None
    }

    /// Whether an input is not to be worked on, since what would be made of it is there.
    fn is_there(&self, _input: &Path, _plan: &Self::Plan) -> bool {
        false
    }

    /// What programs are told of an input that is [there](Self::is_there).
    fn there(&mut self, _input: &Path, _plan: &Self::Plan) -> Record {
        Record::default()
    }

    /// Makes what is made of all inputs together, once all of them have ended. What fails is returned, to be told. It is not
    /// called for a run that was stopped.
    fn conclude(&mut self, _pool: &Pool) -> Vec<String> {
        Vec::new()
    }

    /// The last line of the results and its counterpart in the summary object.
    fn total(&self) -> Option<(String, Record)> {
        None
    }

    /// Removes what killed workers may have left behind.
    fn cleanup(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::new(|| {})
    }
}

/// How an input has ended.
enum Ended<D> {
    Done(D),
    /// It was done by an earlier run and is as it was.
    Unchanged(D),
    /// What would be made of it is there.
    There,
    Failed(JobError),
}

/// Runs `work` over `items` in a pool and reports in the order of the items. Returns the exit code.
pub(crate) fn run<J, F>(context: &Context, mut job: J, work: F, mut items: Vec<Item<J::Plan>>, skipped: usize) -> u8
where
    J: Job,
    F: Fn(J::Task) -> Result<J::Made, JobError> + Copy + Send + 'static,
{
    raise_descriptor_limit();
    let refuse = |message: &str, code| {
        note(None, &format!("procpool: {message}"));
        code
    };
    let options = as_read(&job.options());
    let (log, past) = match context.log.as_ref().map(|plan| LogFile::open(plan, job.words().job, &options)) {
        None => (None, Past::default()),
        Some(Ok((log, past))) => (Some(log), past),
        Some(Err(message)) => return refuse(&message, exit::USAGE),
    };
    let log_name = log.as_ref().map(|log| names::show(log.path())).unwrap_or_default();
    if let Some(log) = &log {
        keep_log::<J>(log, &mut items);
    }
    // What has ended and waits for those before it.
    let mut ended: BTreeMap<usize, Ended<J::Done>> = BTreeMap::new();
    recall::<J>(&past, &items, |index, how| arrive(&mut job, &mut ended, &items, index, how));
    drop(past);
    let unchanged = ended.len();
    for (index, Item { path, plan }) in items.iter().enumerate() {
        if let Ok(plan) = plan
            && !ended.contains_key(&index)
            && job.is_there(path, plan)
        {
            ended.insert(index, Ended::There);
        }
    }
    let there = ended.len() - unchanged;
    let (inputs, skipped) = (items.len() - there, skipped + there);
    let to_do = items.iter().enumerate().filter(|(n, _)| !ended.contains_key(n)).map(|(_, item)| item);
    let to_do = tasks_at_most::<J>(to_do, context.pool.workers);
    let stream = Arc::new(Stream::new(log));
    let words = job.words();
    stream.tell(&Event::RunStarted { job: words.job, options: &options, inputs, skipped, unchanged });
    let pool = match context.pool.build(to_do, stream.is_logged().then(|| Arc::clone(&stream))) {
        Ok(pool) => Arc::new(pool),
        Err(error) => return refuse(&error.to_string(), exit::FAILED),
    };
    let cleanup = job.cleanup();
    cleanup();
    let mut report = Reporter::new(context.style, words, Arc::clone(&stream));
    let interrupts = &context.interrupts;
    let stopping = "what runs is finished first";
    let running = Running::new(&pool, (&report, context.style), stopping, Arc::clone(&cleanup));
    let (writing, pause_length) = (running.writing(), running.pause_length());
    interrupts.set(Box::new(running));
    let done_before: Vec<usize> = ended.keys().copied().collect();
    let fed = RefCell::new(Fed::default());
    let stopping = || interrupts.stopping();
    let mut feed = Feed::<J>::new(&items, &done_before, &stopping, &stream, &fed);
    let allowance =
        || Allowance { timeout: context.pool.timeout, cpu_time: context.pool.cpu_time, pause: pause_length() };
    let keep = |index: usize, made: J::Made| match &items[index].plan {
        Ok(plan) => {
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            J::keep(plan, made)
        }
        Err(error) => Err(error.clone()),
    };
    // Everything that ends in this run ends here.
    let end = |index: usize, outcome: Result<J::Done, JobError>, task: Task| {
        let Item { path, plan } = &items[index];
        let result = |done| stream.is_logged().then(|| serde_json::to_value(done).ok()).flatten();
        let told = outcome.as_ref().map(result);
        let outputs = plan.as_ref().map(J::outputs).unwrap_or_default();
        stream.tell(&Event::InputEnded { input: path, outputs: &outputs, outcome: told, task: &task });
        stream.worked_on(index, None);
        outcome.map_or_else(Ended::Failed, Ended::Done)
    };
    for (index, item) in items.iter().enumerate() {
        if let Err(error) = &item.plan {
            ended.insert(index, end(index, Err(error.clone()), Task::default()));
        }
    }
    // The pieces of the inputs that have begun, and how many pieces those have that are fed to the end.
    let mut begun: BTreeMap<usize, Assembly<J::Made>> = BTreeMap::new();
    let mut whole: BTreeMap<usize, u64> = BTreeMap::new();
    // What was taken back because the run is to stop.
    let mut taken_back: Vec<(usize, Piece)> = Vec::new();
    // Tasks of the feed's earlier rounds.
    let mut before = 0;
    let timed = move |task: J::Task| timed(work, task);
    let mut outcomes = pool.map_unordered(timed, feed.by_ref()).chunk_size(1);
    let (mut told, mut over, mut log_is_whole) = (0, false, true);
    let reported = loop {
        if let Some(error) = stream.lost_log() {
            log_is_whole = false;
            report.note(&format!("procpool: cannot write to the log {log_name}: {}; it ends here", reason(&error)));
        }
        let mut reported = Ok(());
        while reported.is_ok() && told < items.len() && (over || ended.contains_key(&told)) {
            let Item { path, plan } = &items[told];
            reported = match (ended.remove(&told), plan) {
                (Some(Ended::Done(done)), Ok(plan)) => {
                    if let Some(warning) = job.warning(&done) {
                        report.warned(path, &warning);
                    }
                    let (line, record) = job.done(path, plan, &done);
                    report.done(path, &line, record)
                }
                (Some(Ended::Unchanged(done)), Ok(plan)) => {
                    let (line, record) = job.done(path, plan, &done);
                    report.unchanged(path, &line, record)
                }
                (Some(Ended::There), Ok(plan)) => {
                    let record = job.there(path, plan);
                    report.there(path, record)
                }
                (Some(Ended::Failed(error)), _) => report.failed(path, &error, job.failed(path, &error).as_deref()),
                (None, _) | (_, Err(_)) => {
                    stream.tell(&Event::NotBegun);
                    Ok(())
                }
            };
            told += 1;
        }
        if reported.is_err() || told == items.len() {
            break reported;
        }
        let outcome = outcomes.next();
        interrupts.exit_if_aborting();
        let of_input = |index: usize, begun: &mut BTreeMap<usize, Assembly<J::Made>>| {
            let assembly = begun.remove(&index).unwrap_or_default();
            let task = assembly.task.clone();
            end(index, assembly.outcome().and_then(|made| keep(index, made)), task)
        };
        match outcome {
            Some((number, outcome)) => {
                let number = before + number;
                // An error of the pool as a whole may come before any task.
                let at = fed.borrow().tasks.get(number).copied();
                let (index, piece) = at.unwrap_or((told, Piece::WHOLE));
                let task = stream.take_task(number);
                let outcome = match outcome {
                    Err(error) if error.kind() == Kind::Cancelled => None,
                    Err(error) => Some(Err(JobError::from(&error))),
                    Ok(made) => Some(made),
                };
                if let Some(outcome) = outcome {
                    let assembly = begun.entry(index).or_default();
                    if !assembly.add(piece.number, outcome, task, allowance(), J::join) {
                        fed.borrow_mut().lost.insert(index);
                    }
                    if let Some(&pieces) = fed.borrow().likely.get(&index) {
                        stream.worked_on(index, Some((assembly.ended() as f64 / pieces as f64).min(1.0)));
                    }
                    if at.is_none() || whole.get(&index) == Some(&assembly.ended()) {
                        arrive(&mut job, &mut ended, &items, index, of_input(index, &mut begun));
                    }
                } else {
                    taken_back.push((index, piece));
                }
            }
            None => {
                drop(outcomes);
                before = fed.borrow().tasks.len();
                taken_back.sort_unstable_by_key(|(index, piece)| (*index, piece.number));
                let to_finish = |index| begun.get(&index).is_some_and(|assembly| !assembly.is_lost());
                let more = interrupts.stopping() && feed.finish(std::mem::take(&mut taken_back), to_finish);
                outcomes = pool.map_unordered(timed, feed.by_ref()).chunk_size(1);
                over = !more;
            }
        }
        let Fed { refused, broken, whole: at_end, .. } = &mut *fed.borrow_mut();
        for (index, error) in refused.drain(..) {
            ended.insert(index, end(index, Err(error), Task::default()));
        }
        for (index, piece, error) in broken.drain(..) {
            begun.entry(index).or_default().add(piece.number, Err(error), Task::default(), allowance(), J::join);
        }
        for (index, pieces) in at_end.drain(..) {
            whole.insert(index, pieces);
            if begun.get(&index).is_some_and(|assembly| assembly.ended() == pieces) {
                arrive(&mut job, &mut ended, &items, index, of_input(index, &mut begun));
            }
        }
        if over {
            // What is left was stopped, or has lost a piece.
            let lost: Vec<usize> = begun.iter().filter(|(_, found)| found.is_lost()).map(|(index, _)| *index).collect();
            for index in lost {
                arrive(&mut job, &mut ended, &items, index, of_input(index, &mut begun));
            }
        }
    };
    drop(outcomes);
    let mut is_whole = log_is_whole;
    if reported.is_ok() && !interrupts.stopping() {
        for failure in job.conclude(&pool) {
            is_whole = false;
            report.note(&format!("procpool: {failure}"));
        }
    }
    let sandbox = pool.sandbox_report().map(|report| report.to_string());
    let ended = reported.and_then(|()| finish(&job, &mut report, interrupts.stopping(), sandbox));
    let code = ended.map(|()| match () {
        () if interrupts.stopping() => exit::INTERRUPTED,
        () if stream.state().failed() > 0 || !is_whole => exit::FAILED,
        () => exit::DONE,
    });
    let code = conclude(code, &report, &pool, &stream, interrupts);
    cleanup();
    code
}

/// The options as they are once they were written and read again, to be compared with such.
fn as_read(options: &Record) -> Value {
    serde_json::from_str(&options.line()).unwrap_or_default()
}

/// Sees to it that the log is neither worked on nor replaced.
fn keep_log<J: Job>(log: &LogFile, items: &mut Vec<Item<J::Plan>>) {
    items.retain(|item| !fs::metadata(&item.path).is_ok_and(|found| file_id(&found) == log.id()));
    let is_log = |output: &Path| fs::symlink_metadata(output).is_ok_and(|found| file_id(&found) == log.id());
    for item in items {
        let outputs = item.plan.as_ref().map(J::outputs).unwrap_or_default();
        if let Some(output) = outputs.into_iter().find(|output| is_log(output)) {
            let message = format!("was left out: its output {} would replace the log", names::show(output));
            item.plan = Err(JobError::new(Cause::WouldReplaceInput, message));
        }
    }
}

/// Says of each input that the log says is done, and that is as it was then, what came of it.
fn recall<J: Job>(past: &Past, items: &[Item<J::Plan>], mut found: impl FnMut(usize, Ended<J::Done>)) {
    let here = std::env::current_dir().unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let result = item.plan.as_ref().ok().and_then(|plan| past.result(&here, &item.path, &J::outputs(plan)));
        if let Some(done) = result.and_then(|result| serde_json::from_value(result).ok()) {
            found(index, Ended::Unchanged(done));
        }
    }
}

/// Notes how an input has ended.
fn arrive<J: Job>(
    job: &mut J,
    ended: &mut BTreeMap<usize, Ended<J::Done>>,
    items: &[Item<J::Plan>],
    index: usize,
    mut how: Ended<J::Done>,
) {
    if let Ended::Done(done) | Ended::Unchanged(done) = &mut how {
        job.arrived(index, &items[index].path, done);
    }
    ended.insert(index, how);
}

/// How many tasks there are, but no more than `most` are counted.
fn tasks_at_most<'a, J: Job>(items: impl Iterator<Item = &'a Item<J::Plan>>, most: usize) -> usize
where
    J::Plan: 'a,
{
    let mut tasks: u64 = 0;
    for item in items {
        let Ok(plan) = &item.plan else { continue };
        tasks = tasks.saturating_add(match J::piece_len(plan) {
            Some(len) => fs::metadata(&item.path).map_or(1, |found| found.len().div_ceil(len.max(1)).max(1)),
            None => 1,
        });
        if tasks >= most as u64 {
            return most;
        }
    }
    tasks as usize
}

/// Does a task and says how long it took.
fn timed<T, M>(work: impl Fn(T) -> Result<M, JobError>, task: T) -> Result<Part<M>, JobError> {
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let (begun, cpu_begun) = (Instant::now(), cpu());
    let made = work(task)?;
    Ok(Part { made, wall: begun.elapsed(), cpu: cpu().saturating_sub(cpu_begun) })
}

/// Every file that a worker is to get soon is open here: with many workers more of them than most systems begin with.
pub(crate) fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // As far as it may be raised; if that is not enough, opening a file says so.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn finish<J: Job>(
    job: &J,
    report: &mut Reporter,
    interrupted: bool,
    sandbox: Option<String>,
) -> Result<(), OutputError> {
    let (line, extra) = job.total().unzip();
    report.total(line.as_deref())?;
    report.finish(interrupted, extra.unwrap_or_default().with("sandbox", sandbox))
}
