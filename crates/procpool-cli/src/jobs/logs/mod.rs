//! `procpool logs`: statistics of web servers' access logs.

mod bots;
mod entry;
pub(crate) mod filter;
mod formats;
mod hll;
mod html;
mod index;
mod show;
mod stats;
mod table;
pub(crate) mod time;
mod times;

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use memchr::memchr;
use procpool::SharedFile;
use serde::{Deserialize, Serialize, Serializer};

use crate::frame::blocks::Blocks;
use crate::frame::exit;
use crate::frame::failure::{Cause, JobError, reason};
use crate::frame::inputs::{self, Input, Search};
use crate::frame::names;
use crate::frame::outputs;
use crate::frame::pieces::Piece;
use crate::frame::reader::{Contents, Packing, TextPlan, read_failure};
use crate::frame::record::Record;
use crate::frame::report::{SAYS_THE_LOG, Words, note};
use crate::frame::run::{Context, Item, Job, run};

use filter::{Filter, Ready};
pub(crate) use formats::Wanted;
use formats::{Line, without_return};
use stats::{Stats, Traffic};
use table::Packed;

/// Bytes that a worker reads at a time; no line may be longer.
const BLOCK: usize = 1 << 18;
/// How much of the start of a file is looked at to tell its format.
const HEAD: usize = 1 << 16;

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Tables for people.
    Tables,
    /// One table for programs.
    Csv,
}

/// What to find out.
#[derive(Clone, Debug)]
pub(crate) struct LogsPlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// Look into sub-folders too.
    pub recursive: bool,
    /// How files are read.
    pub text: TextPlan,
    /// What is counted, and as what.
    pub settings: Settings,
    /// How many rows of each table are shown.
    pub top: usize,
    /// What is printed.
    pub shape: Shape,
    /// Where the report for browsers goes.
    pub report: Option<PathBuf>,
}

/// What is counted, and as what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The format.
    pub format: Wanted,
    /// Which requests count.
    pub filter: Filter,
    /// Paths with different queries are different.
    pub with_query: bool,
}

/// What is to be done with one file.
#[derive(Clone, Debug)]
pub(crate) struct FilePlan {
    packing: Option<Packing>,
    piece_len: Option<u64>,
    settings: Rc<Settings>,
}

/// A piece of a file to read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogTask {
    file: SharedFile,
    piece: Piece,
    packing: Option<Packing>,
    settings: Settings,
}

/// What a file, or a piece of one, says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogDone {
    /// What is found out, until it is added to that of the other files.
    stats: Option<Found>,
    format: String,
    traffic: Traffic,
    malformed: u64,
    left_out: u64,
}

impl LogDone {
    fn new(stats: Found, format: String) -> LogDone {
        let (traffic, malformed, left_out) = match &stats {
            Found::Part(part) => (part.total, part.malformed, part.left_out),
            Found::Sum(sum) => (sum.total, sum.malformed, sum.left_out),
        };
        LogDone { stats: Some(stats), format, traffic, malformed, left_out }
    }
}

/// Statistics, which travel packed.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Box<Stats<Packed>>")]
enum Found {
    /// As a worker has packed them.
    Part(Box<Stats<Packed>>),
    /// Of several parts.
    Sum(Box<Stats>),
}

impl From<Box<Stats<Packed>>> for Found {
    fn from(part: Box<Stats<Packed>>) -> Found {
        Found::Part(part)
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Found::Part(part) => part.serialize(to),
            Found::Sum(sum) => sum.pack().serialize(to),
        }
    }
}

impl Found {
    fn add_to(&self, sum: &mut Stats) {
        match self {
            Found::Part(part) => sum.add(part),
            Found::Sum(other) => sum.add(other),
        }
    }

    fn into_sum(self) -> Box<Stats> {
        if let Found::Sum(sum) = self {
            return sum;
        }
        let mut sum = Box::default();
        self.add_to(&mut sum);
        sum
    }
}

/// Runs the job and returns the exit code.
pub(crate) fn logs(context: &Context, plan: &LogsPlan) -> u8 {
    let search = Search { inputs: &plan.inputs, recursive: plan.recursive, take: &|_| true, skip: None };
    let mut found = inputs::find(&search);
    if super::nothing_found(&found, &plan.inputs, "files", plan.recursive) {
        return exit::USAGE;
    }
    if let Some(report) = &plan.report {
        // A report of an earlier run that lies among the logs is no log. One that was named is not to be replaced.
        let is_report = std::fs::metadata(report).map(|there| inputs::file_id(&there)).ok();
        let is_it = |input: &inputs::Found| {
            input.as_ref().is_ok_and(|input| is_report.is_some_and(|id| input.ids.contains(&id)))
        };
        if found.iter().any(|input| is_it(input) && input.as_ref().is_ok_and(|input| input.named)) {
            note(None, &format!("procpool: the report {} would replace an input", names::show(report)));
            return exit::USAGE;
        }
        found.retain(|input| !is_it(input));
    }
    let settings = Rc::new(plan.settings.clone());
    let file_plan = |path: &Path| {
        let packing = plan.text.packing(path);
        let piece_len = plan.text.piece_len(packing).filter(|_| !has_directives(path, &settings.format));
        FilePlan { packing, piece_len, settings: Rc::clone(&settings) }
    };
    let item = |found: inputs::Found| match found {
        Ok(Input { path, .. }) => Item { plan: Ok(file_plan(&path)), path },
        Err((path, error)) => Item { path, plan: Err(error) },
    };
    let items = found.into_iter().map(item).collect();
    let all = Rc::new(RefCell::new(show::Summary::new(plan.top)));
    let job = Logs { settings: plan.settings.clone(), shape: plan.shape, all: Rc::clone(&all) };
    let code = run(context, job, read_piece, items, 0);
    match &plan.report {
        Some(report) if code <= exit::FAILED => match write_report(report, &html::page(&all.borrow())) {
            Ok(()) => code,
            Err(error) => {
                let message = format!("cannot write the report {}: {}", names::show(report), reason(&error));
                note(None, &format!("procpool: {message}"));
                exit::FAILED
            }
        },
        _ => code,
    }
}

/// Whether a file has to be read from its start. What cannot be read here will be told when it is opened for a worker.
fn has_directives(path: &Path, wanted: &Wanted) -> bool {
    let mut head = [0; 1];
    let read = inputs::open(path).ok().and_then(|file| file.read_at(&mut head, 0).ok());
    wanted.has_directives(&head[..read.unwrap_or(0)])
}

/// Whole or not at all.
fn write_report(path: &Path, page: &str) -> std::io::Result<()> {
    outputs::refuse_special(rustix::fs::CWD, path.as_os_str())?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = std::fs::write(&part, page).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// What a worker does with a piece of a file.
fn read_piece(task: LogTask) -> Result<LogDone, JobError> {
    let LogTask { file, piece, packing, settings } = task;
    let file = file.into_file();
    let head = head(&file, packing)?;
    if head.is_empty() {
        return Ok(LogDone::new(Found::Sum(Box::default()), "empty".into()));
    }
    let Some(mut format) = settings.format.reader(&head) else {
        let message = "is no access log of a known format; --format names another";
        return Err(JobError::new(Cause::Unsupported, message));
    };
    let mut stats = Stats::default();
    let filter = Ready::new(settings.filter);
    let mut blocks = Blocks::new(file, packing, piece, BLOCK)?;
    while let Some(place) = blocks.advance()? {
        let block = blocks.block();
        let mut rest = block.bytes;
        if block.goes_on {
            // The end of a line that was too long.
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            rest = &rest[end..];
        } else if block.is_cut {
            stats.note_malformed(place, rest);
            continue;
        }
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = without_return(&rest[..end]);
            let read = format.read(line, |entry| {
                if filter.takes(entry) {
                    stats.note(entry, settings.with_query);
                } else {
                    stats.left_out += 1;
                }
            });
            if read == Line::Malformed {
                let at = place + (block.bytes.len() - rest.len()) as u64;
                stats.note_malformed(at, line);
            }
            rest = &rest[(end + 1).min(rest.len())..];
        }
    }
    stats.settle();
    Ok(LogDone::new(Found::Sum(Box::new(stats)), format.name().into()))
}

/// The first bytes of a file, unpacked.
fn head(file: &File, packing: Option<Packing>) -> Result<Vec<u8>, JobError> {
    let file = file.try_clone().map_err(|error| JobError::unreadable(&error))?;
    let mut head = Vec::with_capacity(HEAD);
    let contents = Contents::of(file, packing)?;
    contents.take(HEAD as u64).read_to_end(&mut head).map_err(|error| read_failure(&error))?;
    Ok(head)
}

struct Logs {
    settings: Settings,
    shape: Shape,
    all: Rc<RefCell<show::Summary>>,
}

impl Job for Logs {
    type Plan = FilePlan;
    type Task = LogTask;
    type Made = LogDone;
    type Done = LogDone;

    fn task(file: SharedFile, plan: &FilePlan) -> LogTask {
        Self::piece(file, plan, Piece::WHOLE)
    }

    fn piece_len(plan: &FilePlan) -> Option<u64> {
        plan.piece_len
    }

    fn piece(file: SharedFile, plan: &FilePlan, piece: Piece) -> LogTask {
        LogTask { file, piece, packing: plan.packing, settings: (*plan.settings).clone() }
    }

    fn join(made: &mut LogDone, other: LogDone) {
        let (Some(stats), Some(other)) = (made.stats.take(), other.stats) else { return };
        let mut sum = stats.into_sum();
        other.add_to(&mut sum);
        *made = LogDone::new(Found::Sum(sum), std::mem::take(&mut made.format));
    }

    fn keep(_: &FilePlan, made: LogDone) -> Result<LogDone, JobError> {
        Ok(made)
    }

    fn words(&self) -> Words {
        Words {
            job: "logs",
            one: "file",
            many: "files",
            done: "read",
            unchanged: SAYS_THE_LOG,
            lines_are_results: false,
            place: None,
        }
    }

    fn options(&self) -> Record {
        Record::default().with("logs", serde_json::to_value(&self.settings).unwrap_or_default())
    }

    fn arrived(&mut self, index: usize, input: &Path, done: &mut LogDone) {
        if let Some(stats) = done.stats.take() {
            let all = &mut self.all.borrow_mut();
            match stats {
                Found::Part(part) => all.add(index, input, &part),
                Found::Sum(sum) => all.add(index, input, &sum),
            }
        }
    }

    fn done(&mut self, _: &Path, _: &FilePlan, done: &LogDone) -> (String, Record) {
        let record = Record::default()
            .with("format", done.format.as_str())
            .with("requests", done.traffic.requests)
            .with("bytes", done.traffic.bytes)
            .with("malformed", done.malformed)
            .with("left_out", done.left_out);
        // The result is the sum at the end.
        (String::new(), record)
    }

    fn total(&self) -> Option<(String, Record)> {
        let all = self.all.borrow();
        let text = match self.shape {
            Shape::Tables => show::tables(&all),
            Shape::Csv => show::csv(&all),
        };
        Some((text, show::record(&all)))
    }
}
