//! `procpool thumbs`: a thumbnail of every picture, or several.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use procpool::{Pool, SharedFile};
use serde::{Deserialize, Serialize};

use crate::frame::exit;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Search, Stamp};
use crate::frame::names;
use crate::frame::outputs::{self, Folder, Output};
use crate::frame::record::Record;
use crate::frame::report::{SAYS_THE_LOG, Words, note};
use crate::frame::run::{Context, Item, Job, run};
use procpool_cli::picture::{self, Bounds, Options, PictureError};

mod gallery;
mod naming;
mod overview;
mod sheet;
mod text;

use naming::Pair;
use overview::Overview;

pub(crate) use naming::{Place, is_picture_name, label};
pub(crate) use overview::{OverviewPlan, sheet_format};

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
    /// How large they are: one of each size. At least one.
    pub sizes: Vec<Bounds>,
    /// How they are made.
    pub options: Options,
    /// Pass over the pictures whose thumbnails are there and newer.
    pub skip_existing: bool,
    /// What to make of all thumbnails together.
    pub overview: OverviewPlan,
}

/// What is to become of one picture.
pub(crate) struct ThumbPlan {
    outputs: Vec<Output>,
    sizes: Rc<[Bounds]>,
    options: Options,
}

/// One picture to make thumbnails of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbTask {
    input: SharedFile,
    sizes: Vec<Bounds>,
    options: Options,
}

/// Thumbnails made: the contents of their files. The worker writes no files, so that one that a picture has taken over has
/// none to spoil.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbMade(Vec<Made>);

#[derive(Debug, Serialize, Deserialize)]
struct Made {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    warning: Option<String>,
}

/// Thumbnails saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ThumbDone {
    sizes: Vec<(u32, u32)>,
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
    let (found, sheets) = match overview::without_sheets(found, &plan.overview) {
        Ok(found) => found,
        Err(message) => {
            note(None, &format!("procpool: {message}"));
            return exit::USAGE;
        }
    };
    if super::nothing_found(&found, &plan.inputs, "pictures", plan.recursive) {
        return exit::USAGE;
    }
    let (named, skipped) = naming::name_all(found, &plan.place, plan.options.format, &plan.sizes);
    let outputs = || named.iter().flatten().flat_map(|pair| &pair.outputs);
    if let Some(message) = plan.overview.clash(outputs().map(Output::path)) {
        note(None, &format!("procpool: {message}"));
        return exit::USAGE;
    }
    let overview = plan.overview.outputs();
    let folders: BTreeSet<Folder> = outputs().chain(&overview).map(|output| output.folder().clone()).collect();
    let sizes: Rc<[Bounds]> = plan.sizes.as_slice().into();
    let threads = threads_each(context.pool.workers, named.iter().flatten().count());
    let item = |named: naming::Named| match named {
        Ok(Pair { path, outputs, format }) => {
            let options = Options { format, threads, ..plan.options.clone() };
            Item { path, plan: Ok(ThumbPlan { outputs, sizes: Rc::clone(&sizes), options }) }
        }
        Err((path, error)) => Item { path, plan: Err(error) },
    };
    let job = Thumbs {
        place: skip.map(names::show),
        folders: Arc::new(folders),
        sizes: Rc::clone(&sizes),
        options: plan.options.clone(),
        skip_existing: plan.skip_existing,
        overview: Overview::new(plan.overview.clone(), plan.sizes[0]),
    };
    run(context, job, thumb, named.into_iter().map(item).collect(), skipped + sheets)
}

/// How many threads each picture gets, so that with fewer pictures than workers no core has nothing to do.
fn threads_each(workers: usize, pictures: usize) -> usize {
    (workers / pictures.max(1)).max(1)
}

/// What a worker does with one picture.
fn thumb(task: ThumbTask) -> Result<ThumbMade, JobError> {
    let bytes = inputs::read_open(task.input.into_file(), MAX_INPUT)?;
    let made = picture::thumbnails(&bytes, &task.options, &task.sizes).map_err(|error| job_error(&error))?;
    let made = made.into_iter().map(|made| Made {
        bytes: made.bytes,
        width: made.width,
        height: made.height,
        warning: made.warning,
    });
    Ok(ThumbMade(made.collect()))
}

/// The one place that knows how the picture code names its errors.
pub(crate) fn job_error(error: &PictureError) -> JobError {
    let cause = match error {
        PictureError::NotAPicture { .. } => Cause::NotAPicture,
        PictureError::Truncated { .. } | PictureError::Damaged { .. } => Cause::Damaged,
        PictureError::TooLarge { .. } | PictureError::ThumbnailTooLarge { .. } => Cause::TooLarge,
        _ => Cause::Unsupported,
    };
    JobError::new(cause, names::show_message(&error.to_string()))
}

struct Thumbs {
    place: Option<String>,
    folders: Arc<BTreeSet<Folder>>,
    sizes: Rc<[Bounds]>,
    options: Options,
    skip_existing: bool,
    overview: Overview,
}

impl Job for Thumbs {
    type Plan = ThumbPlan;
    type Task = ThumbTask;
    type Made = ThumbMade;
    type Done = ThumbDone;

    fn task(input: SharedFile, plan: &ThumbPlan) -> ThumbTask {
        ThumbTask { input, sizes: plan.sizes.to_vec(), options: plan.options.clone() }
    }

    fn outputs(plan: &ThumbPlan) -> Vec<&Path> {
        plan.outputs.iter().map(Output::path).collect()
    }

    fn keep(plan: &ThumbPlan, ThumbMade(made): ThumbMade) -> Result<ThumbDone, JobError> {
        if made.len() != plan.outputs.len() {
            return Err(JobError::new(Cause::Pool, "the worker made another number of thumbnails than it should"));
        }
        outputs::write_together(plan.outputs.iter().zip(made.iter().map(|made| made.bytes.as_slice())))?;
        // It comes from a worker that a picture may have taken over.
        let warning = made.iter().find_map(|made| made.warning.as_deref()).map(names::show_message);
        Ok(ThumbDone { sizes: made.iter().map(|made| (made.width, made.height)).collect(), warning })
    }

    fn words(&self) -> Words {
        Words {
            job: "thumbs",
            one: "thumbnail",
            many: "thumbnails",
            done: "made",
            unchanged: SAYS_THE_LOG,
            lines_are_results: false,
            place: self.place.clone(),
        }
    }

    fn options(&self) -> Record {
        let sizes: Vec<String> = self.sizes.iter().map(|size| label(*size)).collect();
        let mut picture = serde_json::to_value(&self.options).unwrap_or_default();
        if let Some(options) = picture.as_object_mut() {
            // What is made does not depend on it.
            options.remove("threads");
        }
        Record::default().with("sizes", sizes).with("picture", picture)
    }

    fn done(&mut self, input: &Path, plan: &ThumbPlan, done: &ThumbDone) -> (String, Record) {
        self.overview.made(input, &plan.outputs, &done.sizes);
        let output = |number: usize| {
            let (width, height) = done.sizes.get(number).copied().unwrap_or_default();
            Record::default().with("width", width).with("height", height)
        };
        let warning = done.warning.clone();
        match plan.outputs.as_slice() {
            [one] => {
                let path = one.path();
                let line = format!("A thumbnail for {} was saved as {}", names::show(input), names::show(path));
                (line, Record::default().with_path("output", path).and(output(0)).with_known("warning", warning))
            }
            several => {
                let shown: Vec<String> = several.iter().map(|output| names::show(output.path())).collect();
                let line = format!("Thumbnails for {} were saved as {}", names::show(input), shown.join(", "));
                let list = several.iter().enumerate();
                let list =
                    list.map(|(number, one)| Record::default().with_path("path", one.path()).and(output(number)));
                (
                    line,
                    Record::default()
                        .with("outputs", list.map(|record| serde_json::json!(record)).collect::<Vec<_>>())
                        .with_known("warning", warning),
                )
            }
        }
    }

    fn failed(&mut self, input: &Path, error: &JobError) -> Option<String> {
        self.overview.failed(input, error);
        None
    }

    fn is_there(&self, input: &Path, plan: &ThumbPlan) -> bool {
        self.skip_existing && is_newer(input, &plan.outputs)
    }

    fn there(&mut self, input: &Path, plan: &ThumbPlan) -> Record {
        self.overview.made(input, &plan.outputs, &[]);
        match plan.outputs.as_slice() {
            [one] => Record::default().with_path("output", one.path()),
            several => {
                let list = several.iter().map(|one| serde_json::json!(Record::default().with_path("path", one.path())));
                Record::default().with("outputs", list.collect::<Vec<_>>())
            }
        }
    }

    fn conclude(&mut self, pool: &Pool) -> Vec<String> {
        self.overview.conclude(pool)
    }

    fn total(&self) -> Option<(String, Record)> {
        self.overview.total()
    }

    fn warning(&self, done: &ThumbDone) -> Option<String> {
        done.warning.clone()
    }

    fn cleanup(&self) -> Arc<dyn Fn() + Send + Sync> {
        let folders = Arc::clone(&self.folders);
        Arc::new(move || folders.iter().for_each(outputs::clean))
    }
}

/// Whether all outputs are files that were written after the input. One of the same moment may be older than the input's last
/// change.
fn is_newer(input: &Path, outputs: &[Output]) -> bool {
    let Ok(input) = fs::metadata(input) else { return false };
    let written = Stamp::of(&input).mtime_ns;
    let is_newer = |output: &Output| {
        fs::symlink_metadata(output.path())
            .is_ok_and(|found| found.is_file() && found.len() > 0 && Stamp::of(&found).mtime_ns > written)
    };
    outputs.iter().all(is_newer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_are_left_over_decode_too() {
        let given = [(8, 1), (8, 3), (8, 8), (8, 100), (2, 1), (1, 1), (4, 0)];
        assert_eq!(given.map(|(workers, pictures)| threads_each(workers, pictures)), [8, 2, 1, 1, 2, 1, 4]);
    }
}
