//! The log of a run: a file of JSON lines, one for each event, written as soon as it happens.
//!
//! Each line is written in one piece and goes to the system at once, so whenever the command is killed, what is there are whole
//! lines, and what the last one tells has happened. Runs are appended to what is there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::{Value, json};

use super::clock::Clock;
use super::failure::reason;
use super::inputs::{FileId, file_id};
use super::names;
use super::past::Past;
use super::record::Record;
use super::stream::{Event, State, Task};

/// How each run begins in the log, and so the file.
const HEAD: &str = r#"{"procpool_log":"#;
/// What a later version cannot be asked to read is a higher one.
const VERSION: u32 = 1;

/// What to log, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogPlan {
    /// The file.
    pub path: PathBuf,
    /// Whether to pass over what it says is done.
    pub resume: bool,
}

/// An open log.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    id: FileId,
}

impl LogFile {
    /// Opens the log, or makes it, and reads what it says of earlier runs if that is wanted. The error is a message for the
    /// user; then nothing was changed.
    pub(crate) fn open(plan: &LogPlan, job: &str, options: &Value) -> Result<(LogFile, Past), String> {
        let shown = names::show(&plan.path);
        let failed = |error: io::Error| format!("cannot use the log {shown}: {}", reason(&error));
        let regular = fs::metadata(&plan.path).map_or(true, |found| found.is_file());
        if !regular && plan.resume {
            return Err(format!("--resume needs a log that can be read again, and {shown} is not a file"));
        }
        let access = if regular { OFlags::RDWR } else { OFlags::WRONLY };
        let flags = access | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&plan.path, flags, Mode::from_raw_mode(0o666)).map_err(|e| failed(e.into()))?;
        let mut file = File::from(file);
        let id = file_id(&file.metadata().map_err(failed)?);
        let mut past = Past::default();
        if regular {
            if let Err(Errno::WOULDBLOCK) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                return Err(format!("another run is writing to the log {shown}"));
            }
            if !is_log(&mut file).map_err(failed)? {
                return Err(format!("{shown} is there and is not a log of procpool; name another file"));
            }
            if plan.resume {
                past =
                    Past::read(&mut file, job, options).map_err(|why| format!("cannot use the log {shown}: {why}"))?;
            }
            drop_torn_line(&mut file).map_err(failed)?;
        }
        Ok((LogFile { file, path: plan.path.clone(), id }, past))
    }

    /// Its path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Appends the line of `event`, after which the run stands as `state` says.
    pub(crate) fn write(&mut self, clock: &Clock, at_ns: u64, event: &Event<'_>, state: &State) -> io::Result<()> {
        let at = clock.at(at_ns);
        let line = match event {
            Event::Pool(event) => serde_json::to_string(&PoolLine { at, at_ns, event })?,
            // The figures at the end tell how many there were.
            Event::NotBegun | Event::Unchanged => return Ok(()),
            event => line(at, at_ns, event, state).line(),
        };
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

/// Whether the file is empty or begins like a log.
fn is_log(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD.len() as u64).read_to_end(&mut head)?;
    Ok(HEAD.as_bytes().starts_with(&head))
}

/// Takes away what a run that was killed (or a full disk) has left of its last line.
fn drop_torn_line(file: &mut File) -> io::Result<()> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut end = len;
    let mut piece = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        let piece = &mut piece[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len { file.set_len(end) } else { Ok(()) }
}

#[derive(Serialize)]
struct PoolLine<'a> {
    at: String,
    at_ns: u64,
    #[serde(flatten)]
    event: &'a procpool::Event,
}

fn line(at: String, at_ns: u64, event: &Event<'_>, state: &State) -> Record {
    let begin = |name: &str| Record::default().with("at", at.as_str()).with("at_ns", at_ns).with("event", name);
    match event {
        Event::RunStarted { job, options, inputs, unchanged, .. } => {
            let here = std::env::current_dir().unwrap_or_default();
            Record::default()
                .with("procpool_log", VERSION)
                .and(begin("run_started"))
                .with("job", *job)
                .with("options", (*options).clone())
                .with_path("folder", &here)
                .with("inputs", *inputs)
                .with("unchanged", *unchanged)
                .with("version", env!("CARGO_PKG_VERSION"))
                .with("pid", std::process::id())
        }
        Event::InputBegun { input, attempt, worker, pid } => begin("input_begun")
            .with_path("input", input)
            .with("attempt", *attempt)
            .with("worker", *worker)
            .with_known("pid", *pid),
        Event::InputEnded { input, outputs, outcome, task } => {
            let record = begin("input_ended").with_path("input", input);
            let record = record.with("outcome", if outcome.is_ok() { "done" } else { "failed" });
            let record = match outcome {
                Ok(result) => {
                    let outputs: Vec<Value> =
                        outputs.iter().map(|path| json!(Record::default().with_path("path", path))).collect();
                    record.with("outputs", outputs).with("result", result.clone())
                }
                Err(error) => {
                    let (kind, blame) = (error.cause.name(), error.blame_name());
                    record.with("error", json!({"kind": kind, "blame": blame, "message": error.message}))
                }
            };
            record.and(of_task(task))
        }
        Event::RunEnded { interrupted } => begin("run_ended").and(state.record()).with("interrupted", *interrupted),
        Event::NotBegun | Event::Unchanged | Event::Pool(_) => begin("other"),
    }
}

fn of_task(task: &Task) -> Record {
    let Task { stamp, attempt, worker, pid, queued_ns, run_ns, peak_memory, .. } = task;
    Record::default()
        .with_known("size", stamp.map(|stamp| stamp.size))
        .with_known("mtime_ns", stamp.map(|stamp| stamp.mtime_ns))
        .with_known("attempt", *attempt)
        .with_known("worker", *worker)
        .with_known("pid", *pid)
        .with_known("queued_ns", *queued_ns)
        .with_known("run_ns", *run_ns)
        .with_known("peak_memory", *peak_memory)
}
