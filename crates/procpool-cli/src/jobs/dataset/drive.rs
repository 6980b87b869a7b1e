//! The run of a set: from the inputs to the folder in its place.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::DatasetPlan;
use super::feed::{Feed, Outcome, Stopped};
use super::keep::Keep;
use super::labels::Labels;
use super::merge::{Merge, Told};
use super::sinks::Setting;
use super::sources::{self, Source};
use super::why::Out;
use crate::frame::exit;
use crate::frame::failure::JobError;
use crate::frame::inputs::{self, Search};
use crate::frame::interrupt::Interrupts;
use crate::frame::kept;
use crate::frame::log::LogFile;
use crate::frame::names;
use crate::frame::outputs::{self, Output, Pending};
use crate::frame::record::Record;
use crate::frame::report::{OutputError, Reporter, Words, note};
use crate::frame::run::{Context, raise_descriptor_limit};
use crate::frame::running::{Running, conclude};
use crate::frame::stream::{Event, Stream};
use crate::frame::tree::{Place, Tree};
use crate::jobs::thumbs::is_picture_name;

/// The name of the file that tells of the whole set.
const ABOUT: &str = "dataset.json";
/// The name of the file that tells of each picture.
const MANIFEST: &str = "manifest.jsonl";
/// How a set of ours is known.
const MADE_BY: &str = "procpool dataset";

/// Runs the job and returns the exit code.
pub(crate) fn drive(context: &Context, plan: &DatasetPlan) -> u8 {
    raise_descriptor_limit();
    let refuse = |message: &str, code| {
        note(None, &format!("procpool: {message}"));
        code
    };
    let labels = match plan.labels.as_deref().map(Labels::read).transpose() {
        Ok(labels) => labels,
        Err(message) => return refuse(&message, exit::USAGE),
    };
    let search =
        Search { inputs: &plan.inputs, recursive: true, take: &is_picture_name, skip: Some(plan.output.as_path()) };
    let found = inputs::find(&search);
    if super::super::nothing_found(&found, &plan.inputs, "pictures", true) {
        return exit::USAGE;
    }
    let place = match Place::new(&plan.output).and_then(|place| check(place, plan)) {
        Ok(place) => place,
        Err(message) => return refuse(&message, exit::USAGE),
    };
    let (sources, classes) = sources::classify(found, labels.as_ref());
    let options = json!(options(plan));
    let log = match context.log.as_ref().map(|log| LogFile::open(log, "dataset", &options)) {
        None => None,
        Some(Ok((log, _))) => Some(log),
        Some(Err(message)) => return refuse(&message, exit::USAGE),
    };
    let (keep, note_of_kept) = match plan.resume.then(|| Keep::open(place.path(), &plan.recipe)).transpose() {
        Ok(opened) => opened.unzip(),
        Err(message) => return refuse(&message, exit::USAGE),
    };
    let stream = Arc::new(Stream::new(log));
    let inputs = sources.len();
    stream.tell(&Event::RunStarted { job: "dataset", options: &options, inputs, skipped: 0, unchanged: 0 });
    let pool = match context.pool.build(inputs, stream.is_logged().then(|| Arc::clone(&stream))) {
        Ok(pool) => Arc::new(pool),
        Err(error) => return refuse(&error.to_string(), exit::FAILED),
    };
    place.clean(None);
    let tree = match Tree::begin(place.clone()) {
        Ok(tree) => tree,
        Err(error) => return refuse(&error.message, exit::FAILED),
    };
    let words = Words {
        job: "dataset",
        one: "picture",
        many: "pictures",
        done: "read",
        unchanged: "taken over from an earlier run",
        lines_are_results: false,
        // Not so of a run that is stopped.
        place: None,
    };
    let report = Reporter::new(context.style, words, Arc::clone(&stream));
    let interrupts = &context.interrupts;
    let temporary = tree.temporary().to_owned();
    let clean = Arc::new(move || place.clean(Some(&temporary)));
    let stopping = match keep {
        Some(_) => kept::STAYS,
        None => "no set will be made",
    };
    let running = Running::new(&pool, (&report, context.style), stopping, clean);
    let writing = running.writing();
    interrupts.set(Box::new(running));
    let mut run = Run { plan, sources: &sources, classes: &classes, stream: &stream, report, writing: &writing };
    if let Some(note) = note_of_kept.flatten().filter(|_| !context.style.quiet && !context.style.json) {
        run.report.note(&format!("procpool: {note}"));
    }
    let mut feed = Feed::new(&pool, interrupts, &stream, &sources, &plan.recipe, keep);
    let mut ended = run.all(tree, &mut feed);
    if let (Err(Ended::Refused(message)), Some(keep)) = (&mut ended, &feed.keep)
        && !keep.is_empty()
    {
        message.push_str(&format!("; {}", kept::STAYS));
    }
    drop(feed);
    interrupts.exit_if_aborting();
    let sandbox = pool.sandbox_report().map(|report| report.to_string());
    let ended = run.close(ended, sandbox, interrupts, context);
    conclude(ended, &run.report, &pool, &stream, interrupts)
}

/// Whether the set may go there: where nothing is or, if that was asked for, in place of another set.
fn check(place: Place, plan: &DatasetPlan) -> Result<Place, String> {
    if !place.is_taken() {
        return Ok(place);
    }
    let shown = names::show(&plan.output);
    if !plan.replace {
        return Err(format!("{shown} is not empty; name another folder with -o, or say --replace to make it anew"));
    }
    let about = fs::read(place.path().join(ABOUT)).ok();
    let about = about.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    if about.is_some_and(|about| about["made_by"] == MADE_BY) {
        return Ok(place);
    }
    Err(format!("{shown} is no set that procpool has made, and so is not replaced; name another folder with -o"))
}

/// What the set depends on besides the inputs.
fn options(plan: &DatasetPlan) -> Record {
    Record::default()
        .with("format", plan.format.name())
        .with("recipe", json!(plan.recipe))
        .with("dedup", json!(plan.alike))
        .with("split", plan.splits.to_string())
        .with("shard_size", plan.shard_size)
}

/// How a run has ended before its end.
#[derive(Debug)]
enum Ended {
    /// It was stopped.
    Stopped,
    /// Nothing can be written, or there is nothing to write.
    Refused(String),
    /// Standard output takes no more.
    Report(OutputError),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Ended::Stopped
    }
}

impl From<JobError> for Ended {
    fn from(error: JobError) -> Self {
        Ended::Refused(format!("{}; no set was made", error.message))
    }
}

impl From<OutputError> for Ended {
    fn from(error: OutputError) -> Self {
        Ended::Report(error)
    }
}

/// What there is to tell of a set.
struct Set {
    lines: Vec<String>,
    record: Record,
}

struct Run<'a> {
    plan: &'a DatasetPlan,
    sources: &'a [Source],
    classes: &'a [String],
    stream: &'a Stream,
    report: Reporter,
    writing: &'a Mutex<()>,
}

impl Run<'_> {
    fn all(&mut self, tree: Tree, feed: &mut Feed<'_>) -> Result<Set, Ended> {
        let root = tree.root().clone();
        let setting = Setting {
            root: &root,
            splits: &self.plan.splits,
            classes: self.classes,
            encoding: self.plan.recipe.encoding,
            shard_size: self.plan.shard_size,
        };
        let (plan, sources, classes, writing) = (self.plan, self.sources, self.classes, self.writing);
        let mut merge = Merge::new(plan, sources, classes, plan.format.sink(setting));
        let pending = Pending::begin(&Output::new(&root, Path::new(MANIFEST)))?;
        let mut manifest = BufWriter::new(pending.file());
        while let Some(Outcome { number, made, is_kept, task }) = feed.next()? {
            if let Some(note) = feed.note.take() {
                self.report.note(&format!("procpool: {note}"));
            }
            let told = {
                let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
                let told = merge.put(number, made)?;
                let line = Record::default().with_path("source", &sources[number].path).and(told.record.clone()).line();
                writeln!(manifest, "{line}").map_err(|error| pending.failure(&error))?;
                told
            };
            self.tell(number, told, is_kept, task)?;
        }
        let held = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if feed.interrupts.aborting() {
            drop(held);
            feed.interrupts.exit_if_aborting();
        }
        if merge.len() == 0 {
            if let Some(keep) = feed.keep.take() {
                keep.remove();
            }
            return Err(Ended::Refused("no picture is left, so no set was made".into()));
        }
        merge.finish()?;
        manifest.flush().map_err(|error| pending.failure(&error))?;
        drop(manifest);
        pending.keep()?;
        let about =
            Record::default().with("made_by", MADE_BY).and(merge.summary()).with("options", json!(options(plan)));
        let text = serde_json::to_string_pretty(&about).unwrap_or_default() + "\n";
        outputs::write(&Output::new(&root, Path::new(ABOUT)), text.as_bytes())?;
        let set = Set { lines: lines(&merge, classes, &plan.output), record: merge.summary() };
        drop(merge);
        match feed.keep.take() {
            Some(keep) => {
                // What was kept goes only when the set cannot get lost any more.
                let place = tree.place().clone();
                place.sync()?;
                tree.keep(plan.replace)?;
                place.sync()?;
                keep.remove();
            }
            None => {
                let path = tree.place().path().to_owned();
                tree.keep(plan.replace)?;
                kept::forget(&path);
            }
        }
        Ok(set)
    }

    /// Reports what became of a picture.
    fn tell(
        &mut self,
        number: usize,
        told: Told,
        is_kept: bool,
        task: crate::frame::stream::Task,
    ) -> Result<(), OutputError> {
        let path = &self.sources[number].path;
        let output = told.outcome.as_ref().ok().map(|below| self.plan.output.join(below));
        let result = self.stream.is_logged().then(|| json!(told.record));
        let outcome = match &told.outcome {
            Err(Out::Failed(error)) => Err(error),
            Ok(_) | Err(Out::Dropped(..)) => Ok(result),
        };
        let outputs: Vec<&Path> = output.iter().map(|output| output.as_path()).collect();
        if is_kept && outcome.is_ok() {
            self.stream.tell(&Event::Unchanged);
            return self.report.unchanged(path, "", told.record);
        }
        self.stream.tell(&Event::InputEnded { input: path, outputs: &outputs, outcome, task: &task });
        let shown = names::show(path);
        match (&told.outcome, output) {
            (Err(Out::Failed(error)), _) => self.report.failed(path, error, None),
            (Err(Out::Dropped(_, why)), _) => {
                self.report.done(path, &format!("{shown} was left out: it {why}"), told.record)
            }
            (Ok(_), output) => {
                let place = output.as_deref().map(names::show).unwrap_or_default();
                self.report.done(path, &format!("{shown} is in {place}"), told.record)
            }
        }
    }

    /// Tells how it has ended, and returns the exit code.
    fn close(
        &mut self,
        ended: Result<Set, Ended>,
        sandbox: Option<String>,
        interrupts: &Interrupts,
        context: &Context,
    ) -> Result<u8, OutputError> {
        let record = Record::default().with("sandbox", sandbox);
        match ended {
            Ok(set) => {
                for line in &set.lines {
                    self.report.total(Some(line))?;
                }
                let output = Record::default().with_path("output", &self.plan.output);
                self.report.finish(false, output.and(set.record).and(record))?;
                Ok(if self.stream.state().failed() > 0 { exit::FAILED } else { exit::DONE })
            }
            Err(Ended::Stopped) if interrupts.stopping() => {
                let (done, total) = self.stream.state().progress();
                (done..total).for_each(|_| self.stream.tell(&Event::NotBegun));
                self.report.finish(true, record)?;
                if !context.style.quiet && !context.style.json {
                    self.report.note("no set was made");
                }
                Ok(exit::INTERRUPTED)
            }
            Err(Ended::Stopped) => {
                self.report.note("procpool: the pool has taken its work back; no set was made");
                Ok(exit::FAILED)
            }
            Err(Ended::Refused(message)) => {
                if let Some(bar) = self.report.bar() {
                    bar.finish();
                }
                self.report.note(&format!("procpool: {message}"));
                Ok(exit::FAILED)
            }
            Err(Ended::Report(error)) => Err(error),
        }
    }
}

/// What people are told of a set.
fn lines(merge: &Merge<'_>, classes: &[String], output: &Path) -> Vec<String> {
    let of_splits: Vec<String> =
        merge.of_splits().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    let classes = if classes.len() == 1 { "1 class".to_owned() } else { format!("{} classes", classes.len()) };
    let pictures = if merge.len() == 1 { "1 picture".to_owned() } else { format!("{} pictures", merge.len()) };
    let place = names::show(output);
    let mut lines = vec![format!("{pictures} of {classes} saved in {place}: {}", of_splits.join(", "))];
    if !merge.dropped().is_empty() {
        let dropped: Vec<String> =
            merge.dropped().iter().map(|(reason, count)| format!("{count} {}", reason.phrase())).collect();
        lines.push(format!("left out: {}", dropped.join(", ")));
    }
    if let Some((mean, deviation)) = merge.training() {
        let show = |figures: [f64; 3]| figures.map(|figure| format!("{figure:.4}")).join(" ");
        lines.push(format!("mean {}, standard deviation {}", show(mean), show(deviation)));
    }
    lines
}
