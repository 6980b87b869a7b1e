//! The run of a table: from the inputs to the output in its place.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use procpool::Pool;

use super::feed::{Input, Stopped, look_at};
use super::keep::Keep;
use super::layout::{self, Sized};
use super::misfits::{self, Misfits};
use super::plan::{Column, Spec, Syntax};
use super::results::{Origin, Results, count};
use super::sample::{Look, Seen};
use super::stitch::{Ended, Stitch};
use super::unseen::{Unseen, unseen};
use super::value::Type;
use super::{TablePlan, merge, syntax_by_name};
use crate::frame::exit;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, FileId, Search, file_id};
use crate::frame::interrupt::Interrupts;
use crate::frame::kept;
use crate::frame::log::LogFile;
use crate::frame::names;
use crate::frame::outputs::{self, Output, Pending, Root};
use crate::frame::record::Record;
use crate::frame::report::{OutputError, Reporter, Words, note};
use crate::frame::run::{Context, raise_descriptor_limit};
use crate::frame::running::{Running, conclude};
use crate::frame::stream::{Event, Stream};

/// Runs the job and returns the exit code.
pub(crate) fn drive(context: &Context, plan: &TablePlan) -> u8 {
    raise_descriptor_limit();
    let refuse = |message: &str, code| {
        note(None, &format!("procpool: {message}"));
        code
    };
    if let Err(message) = check(plan) {
        return refuse(&message, exit::USAGE);
    }
    let output = output_at(&plan.output);
    let misfits_path = plan.misfits.clone().unwrap_or_else(|| beside(&plan.output));
    let (inputs, nothing) = find(plan, &misfits_path, context);
    if nothing {
        return exit::USAGE;
    }
    let options = options(plan);
    let log = match context.log.as_ref().map(|log| LogFile::open(log, "table", &serde_json::json!(options))) {
        None => None,
        Some(Ok((log, _))) => Some(log),
        Some(Err(message)) => return refuse(&message, exit::USAGE),
    };
    let (keep, kept_note) = match plan.resume.then(|| Keep::open(plan)).transpose() {
        Ok(opened) => opened.unzip(),
        Err(message) => return refuse(&message, exit::USAGE),
    };
    let stream = Arc::new(Stream::new(log));
    let told = serde_json::json!(options);
    stream.tell(&Event::RunStarted { job: "table", options: &told, inputs: inputs.len(), skipped: 0, unchanged: 0 });
    // Large files are read by several workers.
    let pieces: u64 = inputs.iter().map(|input| 1 + input.len / plan.row_group).sum();
    let tasks = usize::try_from(pieces).unwrap_or(usize::MAX);
    let pool = match context.pool.build(tasks, stream.is_logged().then(|| Arc::clone(&stream))) {
        Ok(pool) => Arc::new(pool),
        Err(error) => return refuse(&error.to_string(), exit::FAILED),
    };
    outputs::clean(output.folder());
    let words = Words {
        job: "table",
        one: "file",
        many: "files",
        done: "read",
        unchanged: "taken over from an earlier run",
        lines_are_results: false,
        place: Some(names::show(&plan.output)),
    };
    let report = Reporter::new(context.style, words, Arc::clone(&stream));
    let interrupts = &context.interrupts;
    let stopping = match keep {
        Some(_) => kept::STAYS,
        None => "nothing will be written",
    };
    let folder = output.folder().clone();
    let clean = Arc::new(move || outputs::clean(&folder));
    let running = Running::new(&pool, (&report, context.style), stopping, clean);
    let writing = running.writing();
    interrupts.set(Box::new(running));
    let results = Results::new(report, Arc::clone(&stream), inputs.len());
    let json_or_quiet = context.style.json || context.style.quiet;
    let mut run = Run { plan, pool: &pool, interrupts, inputs, results, json_or_quiet, unseen: Vec::new(), keep };
    if let Some(note) = kept_note.flatten() {
        run.say(&note);
    }
    let mut ended = run.all(&output, &misfits_path, &writing);
    interrupts.exit_if_aborting();
    if let Err(Ended::Refused(message, _)) = &mut ended
        && let Some(keep) = run.keep.take()
    {
        if keep.has_no_groups() {
            keep.remove();
        } else {
            message.push_str(&format!("; {}", kept::STAYS));
        }
    }
    let sandbox = pool.sandbox_report().map(|report| report.to_string());
    let ended = run.close(ended, sandbox);
    conclude(ended, &run.results.report, &pool, &stream, interrupts)
}

/// What is there already in the place of the output must be a file: a device must not be replaced.
fn check(plan: &TablePlan) -> Result<(), String> {
    match fs::metadata(&plan.output).map(|found| inputs::check_regular(&found)) {
        Ok(Err(error)) => Err(format!("{} {}; name another output with -o", names::show(&plan.output), error.message)),
        _ => Ok(()),
    }
}

/// The output, in the folder that is there.
fn output_at(path: &Path) -> Output {
    Output::new(&Root::new(path.parent().unwrap_or(Path::new(""))), Path::new(path.file_name().unwrap_or_default()))
}

/// Where misfits are recorded if nobody says where.
fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".misfits.jsonl");
    name.into()
}

/// What the output depends on besides the inputs.
fn options(plan: &TablePlan) -> Record {
    let picks: Option<Vec<String>> =
        plan.picks.as_ref().map(|picks| picks.iter().map(|(name, path)| format!("{name}={path}")).collect());
    Record::default()
        .with_path("output", &plan.output)
        .with("format", format!("{:?}", plan.format))
        .with("record", plan.record.clone())
        .with("columns", picks)
        .with("file_column", plan.source.clone())
        .with("no_header", plan.no_header)
        .with("sample", plan.sample)
        .with("row_group", plan.row_group)
}

/// The inputs, and whether there are none at all. What this run writes is none.
fn find(plan: &TablePlan, misfits: &Path, context: &Context) -> (Vec<Input>, bool) {
    let take = |path: &Path| syntax_by_name(path).is_some();
    let search = Search { inputs: &plan.inputs, recursive: plan.recursive, take: &take, skip: None };
    let mut found = inputs::find(&search);
    let log = context.log.as_ref().map(|log| log.path.as_path());
    let written = [Some(plan.output.as_path()), Some(misfits), log];
    let written: Vec<FileId> =
        written.iter().flatten().filter_map(|path| fs::metadata(path).ok()).map(|found| file_id(&found)).collect();
    let is_written = |ids: &[FileId]| ids.iter().any(|id| written.contains(id));
    found.retain(|found| !matches!(found, Ok(input) if !input.named && is_written(&input.ids)));
    if super::super::nothing_found(&found, &plan.inputs, "files of CSV, JSON or XML", plan.recursive) {
        return (Vec::new(), true);
    }
    let unseen =
        || Seen { syntax: Syntax::Csv { separator: 0 }, places: Vec::new(), columns: Vec::new(), promised: None };
    let file = |found: inputs::Found| {
        let (path, len, seen) = match found {
            Ok(input) if is_written(&input.ids) => {
                let message = "was left out: it would be replaced by the output";
                (input.path, input.len, Err(JobError::new(Cause::WouldReplaceInput, message)))
            }
            Ok(input) => (input.path, input.len, Ok(unseen())),
            Err((path, error)) => (path, 0, Err(error)),
        };
        Input { path, len, seen, fields: Vec::new(), stamp: Cell::default() }
    };
    (found.into_iter().map(file).collect(), false)
}

/// What a run has made.
struct Table {
    rows: u64,
    columns: Vec<Column>,
    misfits: u64,
    misfit_counts: misfits::Counts,
    misfits_path: PathBuf,
}

struct Run<'a> {
    plan: &'a TablePlan,
    pool: &'a Pool,
    interrupts: &'a Interrupts,
    inputs: Vec<Input>,
    results: Results,
    json_or_quiet: bool,
    unseen: Vec<Unseen>,
    keep: Option<Keep>,
}

impl Run<'_> {
    /// Tells people something that programs need not know.
    fn say(&self, text: &str) {
        if !self.json_or_quiet {
            self.results.report.note(&format!("procpool: {text}"));
        }
    }

    fn all(&mut self, output: &Output, misfits: &Path, writing: &Mutex<()>) -> Result<Table, Ended> {
        let spec = self.spec()?;
        for (number, input) in self.inputs.iter().enumerate() {
            if let Err(error) = &input.seen {
                self.results.end(number, &input.path, output.path(), (Err(error.clone()), Origin::Reading));
            }
        }
        if spec.columns.len() == usize::from(spec.source.is_some()) {
            self.results.tell(&self.inputs)?;
            if let Some(keep) = self.keep.take() {
                keep.remove();
            }
            return Err(Ended::Refused("there are no records, so nothing was written".into(), exit::FAILED));
        }
        let sized = |(number, input): (usize, &Input)| {
            input.seen.is_ok().then(|| Sized {
                file: number,
                len: input.unpacked_len(),
                divisible: input.divisible(),
                open: input.travels_open(),
            })
        };
        let groups = layout::groups(self.inputs.iter().enumerate().filter_map(sized), self.plan.row_group);
        let misfits = Misfits::new(output_at(misfits), self.plan.misfits.is_some(), &spec.columns);
        let pending = Pending::begin(output)?;
        let (pool, results) = ((self.pool, self.interrupts), &mut self.results);
        let mut stitch = Stitch::begin(pool, (&spec, &self.inputs), results, (&pending, output), misfits)?;
        stitch.keep = self.keep.as_mut();
        let quiet = self.json_or_quiet;
        stitch.read(&groups, self.plan.chunk, quiet)?;
        let Stitch { mut sink, mut misfits, .. } = stitch;
        sink.finish().map_err(|error| pending.failure(&error))?;
        let (rows, count, misfits_path) = (sink.rows(), misfits.count(), misfits.path().to_owned());
        let misfit_counts = misfits.counts().clone();
        if self.keep.is_some() {
            // What was kept goes only when the output cannot get lost any more.
            pending.sync()?;
            misfits.sync()?;
        }
        let held = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.interrupts.aborting() {
            drop(held);
            self.interrupts.exit_if_aborting();
        }
        misfits.keep()?;
        pending.keep()?;
        match self.keep.take() {
            Some(keep) => {
                outputs::sync_names(output.folder())?;
                keep.remove();
            }
            None => kept::forget(&self.plan.output),
        }
        Ok(Table { rows, columns: spec.columns, misfits: count, misfit_counts, misfits_path })
    }

    /// Finds out what there is to read, and what the table looks like.
    fn spec(&mut self) -> Result<Spec, Ended> {
        let plan = self.plan;
        let mut spec = Spec {
            columns: Vec::new(),
            source: None,
            json_path: Vec::new(),
            xml_pattern: String::new(),
            picked: plan.picks.is_some(),
            no_header: plan.no_header,
            format: plan.format,
            row_group: plan.row_group,
        };
        match &plan.record {
            Some(record) => {
                spec.json_path = record.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect();
                spec.xml_pattern.clone_from(record);
            }
            None if self.has_documents() => {
                self.look(Look::Records, &spec)?;
                let seen = || self.inputs.iter().filter_map(|input| input.seen.as_ref().ok());
                spec.json_path = merge::place(seen(), |syntax| syntax == Syntax::Json).unwrap_or_default();
                if let Some(path) = merge::place(seen(), |syntax| syntax == Syntax::Xml) {
                    spec.xml_pattern = format!("/{}", path.join("/"));
                }
            }
            None => {}
        }
        self.look(Look::Columns, &spec)?;
        let seen = self.inputs.iter().filter_map(|input| input.seen.as_ref().ok());
        let usage = |message: String| Ended::Refused(message, exit::USAGE);
        spec.columns = merge::columns(seen, plan.picks.as_deref()).map_err(usage)?;
        let seen = self.inputs.iter().filter_map(|input| input.seen.as_ref().ok());
        self.unseen = unseen(seen, plan.picks.as_deref().unwrap_or_default());
        for unseen in &self.unseen {
            self.say(&names::show_message(&unseen.line()));
        }
        let by_path = merge::by_path(&spec.columns);
        for input in &mut self.inputs {
            input.find_fields(&by_path);
        }
        if let Some(name) = &plan.source {
            if spec.columns.iter().any(|column| column.name == *name) {
                let message = format!("the files have a column {name} already; give --file-column another name");
                return Err(usage(names::show_message(&message)));
            }
            spec.source = Some(spec.columns.len());
            spec.columns.push(Column { name: name.clone(), kind: Type::Text, paths: Vec::new() });
        }
        Ok(spec)
    }

    /// Whether there may be files whose records must be looked for.
    fn has_documents(&self) -> bool {
        let lines = |input: &Input| {
            let syntax = self.plan.syntax.or_else(|| syntax_by_name(&input.path));
            matches!(syntax, Some(Syntax::Csv { .. } | Syntax::Lines))
        };
        !self.inputs.iter().all(lines)
    }

    fn look(&mut self, what: Look, spec: &Spec) -> Result<(), Stopped> {
        let keep = (self.keep.as_mut(), &self.results.report);
        look_at((self.pool, self.interrupts), &mut self.inputs, self.plan, (what, spec), keep)
    }

    /// Tells how it has ended, and returns the exit code.
    fn close(&mut self, ended: Result<Table, Ended>, sandbox: Option<String>) -> Result<u8, OutputError> {
        let record = Record::default().with("sandbox", sandbox);
        let results = &mut self.results;
        match ended {
            Ok(table) => {
                let columns: Vec<serde_json::Value> = table
                    .columns
                    .iter()
                    .map(|column| serde_json::json!({"name": column.name, "type": column.kind.name()}))
                    .collect();
                let unseen: Vec<serde_json::Value> = self
                    .unseen
                    .iter()
                    .map(|unseen| {
                        serde_json::json!({"column": unseen.column, "path": unseen.path, "nearest": unseen.nearest})
                    })
                    .collect();
                let record = Record::default()
                    .with_path("output", &self.plan.output)
                    .with("records", table.rows)
                    .with("columns", columns)
                    .with("misfits", table.misfits)
                    .with("misfits_by_column", misfits::record(&table.misfit_counts))
                    .with("unseen_columns", unseen)
                    .and(record);
                let width = table.columns.len() as u64;
                results.report.total(Some(&format!(
                    "{} in {}",
                    count(table.rows, "record"),
                    count(width, "column")
                )))?;
                results.report.finish(false, record)?;
                if table.misfits > 0 && !self.json_or_quiet {
                    let place = names::show(&table.misfits_path);
                    let what = count(table.misfits, "value");
                    results.report.note(&format!("{what} left out, which did not fit: see {place}"));
                    for line in misfits::lines(&table.misfit_counts, table.misfits) {
                        results.report.note(&line);
                    }
                }
                Ok(if results.any_failed() { exit::FAILED } else { exit::DONE })
            }
            Err(Ended::Stopped) => {
                results.stop();
                results.report.finish(true, record)?;
                Ok(exit::INTERRUPTED)
            }
            Err(Ended::Refused(message, code)) => {
                results.report.note(&format!("procpool: {message}"));
                Ok(code)
            }
            Err(Ended::Report(error)) => Err(error),
        }
    }
}
