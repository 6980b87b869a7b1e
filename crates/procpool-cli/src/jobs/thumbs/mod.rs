//! `procpool thumbs`: a thumbnail of every picture.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procpool::SharedFile;
use serde::{Deserialize, Serialize};

use crate::frame::exit;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Search};
use crate::frame::names;
use crate::frame::outputs::{self, Folder, Output};
use crate::frame::record::Record;
use crate::frame::report::Words;
use crate::frame::run::{Context, Item, Job, run};
use procpool_cli::picture::{self, Options, PictureError, Thumbnail};

mod naming;

use naming::Pair;

pub(crate) use naming::{Place, is_picture_name};

/// The largest file that is taken for a picture, in bytes.
pub(crate) const MAX_INPUT: u64 = 1 << 30;

/// What to make.
#[derive(Clone, Debug)]
pub(crate) struct ThumbsPlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// Look into sub-folders too.
    pub recursive: bool,
    /// Where the thumbnails go.
    pub place: Place,
    /// How they are made.
    pub options: Options,
}

/// What is to become of one picture.
pub(crate) struct ThumbPlan {
    output: Output,
    options: Options,
}

/// One picture to make a thumbnail of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbTask {
    input: SharedFile,
    options: Options,
}

/// One thumbnail made: the content of its file. The worker writes no files, so that one that a picture has taken over has
/// none to spoil.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbMade {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    warning: Option<String>,
}

/// One thumbnail saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbDone {
    width: u32,
    height: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// Runs the job and returns the exit code.
pub(crate) fn thumbs(context: &Context, plan: &ThumbsPlan) -> u8 {
    let skip = match &plan.place {
        Place::Folder(folder) => Some(folder.as_path()),
        Place::Suffix(_) => None,
    };
    let search = Search { inputs: &plan.inputs, recursive: plan.recursive, take: &is_picture_name, skip };
    let found = inputs::find(&search);
    if super::nothing_found(&found, &plan.inputs, "pictures", plan.recursive) {
        return exit::USAGE;
    }
    let (named, skipped) = naming::name_all(found, &plan.place, plan.options.format);
    let folders: BTreeSet<Folder> = named.iter().flatten().map(|pair| pair.output.folder().clone()).collect();
    let item = |named: naming::Named| match named {
        Ok(Pair { path, output, format }) => {
            let plan = ThumbPlan { output, options: Options { format, ..plan.options.clone() } };
            Item { path, plan: Ok(plan) }
        }
        Err((path, error)) => Item { path, plan: Err(error) },
    };
    let place = skip.map(names::show);
    let job = Thumbs { place, folders: Arc::new(folders), options: plan.options.clone() };
    run(context, job, thumb, named.into_iter().map(item).collect(), skipped)
}

/// What a worker does with one picture.
fn thumb(task: ThumbTask) -> Result<ThumbMade, JobError> {
    let bytes = inputs::read_open(task.input.into_file(), MAX_INPUT)?;
    let thumbnail = picture::thumbnail(&bytes, &task.options).map_err(|error| job_error(&error))?;
    let Thumbnail { bytes, width, height, warning, .. } = thumbnail;
    Ok(ThumbMade { bytes, width, height, warning })
}

/// The one place that knows how the picture code names its errors.
pub(crate) fn job_error(error: &PictureError) -> JobError {
    let cause = match error {
        PictureError::NotAPicture { .. } => Cause::NotAPicture,
        PictureError::Truncated { .. } | PictureError::Damaged { .. } => Cause::Damaged,
        PictureError::TooLarge { .. } => Cause::TooLarge,
        _ => Cause::Unsupported,
    };
    JobError::new(cause, names::show_message(&error.to_string()))
}

struct Thumbs {
    place: Option<String>,
    folders: Arc<BTreeSet<Folder>>,
    options: Options,
}

impl Job for Thumbs {
    type Plan = ThumbPlan;
    type Task = ThumbTask;
    type Made = ThumbMade;
    type Done = ThumbDone;

    fn task(input: SharedFile, plan: &ThumbPlan) -> ThumbTask {
        ThumbTask { input, options: plan.options.clone() }
    }

    fn output(plan: &ThumbPlan) -> Option<&Path> {
        Some(plan.output.path())
    }

    fn keep(plan: &ThumbPlan, made: ThumbMade) -> Result<ThumbDone, JobError> {
        outputs::write(&plan.output, &made.bytes)?;
        // It comes from a worker that a picture may have taken over.
        let warning = made.warning.map(|warning| names::show_message(&warning));
        Ok(ThumbDone { width: made.width, height: made.height, warning })
    }

    fn words(&self) -> Words {
        Words {
            job: "thumbs",
            one: "thumbnail",
            many: "thumbnails",
            done: "made",
            lines_are_results: false,
            place: self.place.clone(),
        }
    }

    fn options(&self) -> Record {
        Record::default().with("picture", serde_json::to_value(&self.options).unwrap_or_default())
    }

    fn done(&mut self, input: &Path, plan: &ThumbPlan, done: &ThumbDone) -> (String, Record) {
        let output = plan.output.path();
        let line = format!("A thumbnail for {} was saved as {}", names::show(input), names::show(output));
        let record =
            Record::default().with_path("output", output).with("width", done.width).with("height", done.height);
        let record = record.with_known("warning", done.warning.clone());
        (line, record)
    }

    fn warning(&self, done: &ThumbDone) -> Option<String> {
        done.warning.clone()
    }

    fn cleanup(&self) -> Arc<dyn Fn() + Send + Sync> {
        let folders = Arc::clone(&self.folders);
        Arc::new(move || folders.iter().for_each(outputs::clean))
    }
}
