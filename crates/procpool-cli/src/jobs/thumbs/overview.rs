//! What is made of all thumbnails together, once they are there: contact sheets and a gallery.
//!
//! The thumbnails are read again, each by a worker, which also makes it small enough for a sheet; so those that an earlier run
//! made take part too, and this process decodes no file.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use procpool::{Future, Kind, Pool, SharedFile};
use serde::{Deserialize, Serialize};

use super::gallery::{self, Entry, Shown};
use super::sheet::{self, Grid, Page, Tile};
use super::text::Text;
use super::{MAX_INPUT, job_error};
use crate::frame::failure::JobError;
use crate::frame::inputs::{self, FileId, Found, file_id};
use crate::frame::names;
use crate::frame::outputs::{self, Output, Root};
use crate::frame::record::Record;
use procpool_cli::picture::{self, Bounds, Format, Options};

/// The quality of contact sheets in JPEG and WebP: text needs more than pictures.
const QUALITY: u8 = 90;

/// How many thumbnails are looked at ahead.
const AHEAD: usize = 64;

const STOPPED: &str = "stopped";

/// A thumbnail that a worker looks at, or why none does.
type Looking = Result<Future<Result<Look, JobError>>, String>;

/// The width and height of each thumbnail, or why there is none.
type Sizes = Vec<Result<(u32, u32), String>>;

/// What to make of all thumbnails together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OverviewPlan {
    /// A picture of all of them, with their names; further pages are called after it.
    pub sheet: Option<PathBuf>,
    /// A page for browsers.
    pub gallery: Option<PathBuf>,
}

impl OverviewPlan {
    /// Where it goes, but for further pages, which lie beside the first.
    pub(super) fn outputs(&self) -> Vec<Output> {
        self.sheet.iter().chain(&self.gallery).map(|path| output_at(path)).collect()
    }

    /// Why this cannot be made beside these outputs, if it cannot.
    pub(super) fn clash<'a>(&self, mut outputs: impl Iterator<Item = &'a Path>) -> Option<String> {
        let files: Vec<&Path> = self.sheet.iter().chain(&self.gallery).map(PathBuf::as_path).collect();
        let replaced = outputs.find(|output| files.iter().any(|file| same_place(file, output)))?;
        Some(format!("the overview {} would replace a thumbnail; give it another name", names::show(replaced)))
    }
}

fn same_place(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole(a) == whole(b)
}

/// The format in which a contact sheet of this name is written.
pub(crate) fn sheet_format(path: &Path) -> Option<Format> {
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("jpg" | "jpeg") => Some(Format::Jpeg),
        Some("png") => Some(Format::Png),
        Some("webp") => Some(Format::WebP),
        _ => None,
    }
}

/// The inputs without the contact sheets that an earlier run has left among them, and how many these were. One that was named is
/// not to be replaced, and neither is one for the gallery.
pub(super) fn without_sheets(mut found: Vec<Found>, plan: &OverviewPlan) -> Result<(Vec<Found>, usize), String> {
    let id = |path: &Path| std::fs::metadata(path).map(|there| file_id(&there)).ok();
    let most = found.len().div_ceil(sheet::PER_PAGE);
    let sheets = plan.sheet.iter().flat_map(|first| (0..most).map(|page| sheet::page_path(first, page)));
    let files: Vec<(PathBuf, FileId)> =
        sheets.chain(plan.gallery.clone()).filter_map(|path| Some((path.clone(), id(&path)?))).collect();
    let before = found.len();
    for (path, id) in &files {
        let is_it = |input: &Found| input.as_ref().is_ok_and(|input| input.ids.contains(id));
        if found.iter().any(|input| is_it(input) && input.as_ref().is_ok_and(|input| input.named)) {
            return Err(format!("{} would be replaced, and is an input; give it another name", names::show(path)));
        }
        found.retain(|input| !is_it(input));
    }
    let left_out = before - found.len();
    Ok((found, left_out))
}

/// What has come of the inputs, in their order, and then what is made of it.
pub(super) struct Overview {
    plan: OverviewPlan,
    cell: (u32, u32),
    entries: Vec<(PathBuf, Result<Thumb, String>)>,
    sheets: Vec<PathBuf>,
    gallery: Option<PathBuf>,
}

/// A thumbnail that is there.
struct Thumb {
    path: PathBuf,
    size: Option<(u32, u32)>,
    /// Those of other sizes, if these are known.
    others: Vec<(PathBuf, (u32, u32))>,
}

/// A thumbnail to look at.
#[derive(Debug, Serialize, Deserialize)]
struct LookTask {
    file: SharedFile,
    cell: (u32, u32),
}

/// What a thumbnail looks like.
#[derive(Debug, Serialize, Deserialize)]
struct Look {
    size: (u32, u32),
    tile: Tile,
}

/// What a worker does with a thumbnail.
fn look(task: LookTask) -> Result<Look, JobError> {
    let bytes = inputs::read_open(task.file.into_file(), MAX_INPUT)?;
    let options = Options { bounds: Bounds::both(task.cell.0, task.cell.1), ..Options::default() };
    let (pixels, size) = picture::preview(&bytes, &options).map_err(|error| job_error(&error))?;
    Ok(Look { size, tile: Tile::of(&pixels) })
}

impl Overview {
    /// `size` is that of the thumbnails which are shown.
    pub(super) fn new(plan: OverviewPlan, size: Bounds) -> Self {
        Overview { plan, cell: sheet::cell(size), entries: Vec::new(), sheets: Vec::new(), gallery: None }
    }

    fn is_wanted(&self) -> bool {
        self.plan != OverviewPlan::default()
    }

    /// The next input has thumbnails, of these sizes if they are known. The first one is shown.
    pub(super) fn made(&mut self, input: &Path, thumbnails: &[Output], sizes: &[(u32, u32)]) {
        let [first, others @ ..] = thumbnails else { return };
        if self.is_wanted() {
            let path = |output: &Output| output.path().to_owned();
            let others = others.iter().map(path).zip(sizes.iter().skip(1).copied()).collect();
            let thumb = Thumb { path: path(first), size: sizes.first().copied(), others };
            self.entries.push((input.to_owned(), Ok(thumb)));
        }
    }

    /// The next input has none.
    pub(super) fn failed(&mut self, input: &Path, error: &JobError) {
        if self.is_wanted() {
            self.entries.push((input.to_owned(), Err(error.message.clone())));
        }
    }

    /// Makes what is to be made. What fails is returned.
    pub(super) fn conclude(&mut self, pool: &Pool) -> Vec<String> {
        let mut failures = Vec::new();
        let entries = std::mem::take(&mut self.entries);
        if let Some(first) = self.plan.sheet.clone() {
            match self.sheets(pool, &first, &entries) {
                Ok(sizes) => return self.with_gallery(&entries, &sizes, failures),
                Err(failure) => failures.push(failure),
            }
        }
        let mut sizes = Vec::new();
        if self.plan.gallery.is_some() {
            let unknown = entries.iter().any(|(_, thumb)| thumb.as_ref().is_ok_and(|thumb| thumb.size.is_none()));
            if unknown {
                self.each_look(pool, &entries, |_, looked| {
                    sizes.push(looked.map(|look| look.size).map_err(str::to_owned));
                    Ok(())
                })
                .unwrap_or_else(|failure| failures.push(failure));
            }
        }
        self.with_gallery(&entries, &sizes, failures)
    }

    /// Writes the gallery too, if it is wanted. `sizes` are those that were seen, if all were looked at.
    fn with_gallery(
        &mut self,
        entries: &[(PathBuf, Result<Thumb, String>)],
        sizes: &[Result<(u32, u32), String>],
        mut failures: Vec<String>,
    ) -> Vec<String> {
        let Some(path) = self.plan.gallery.clone() else { return failures };
        let shown = entries.iter().enumerate().map(|(at, (input, thumb))| {
            let made = thumb.as_ref().map_err(String::clone).and_then(|thumb| {
                let size =
                    sizes.get(at).cloned().unwrap_or_else(|| thumb.size.ok_or_else(|| "was not looked at".into()))?;
                Ok(Shown { path: thumb.path.clone(), size, others: thumb.others.clone() })
            });
            Entry { input: input.clone(), made }
        });
        let shown: Vec<Entry> = shown.collect();
        let widest = shown.iter().filter_map(|entry| Some(entry.made.as_ref().ok()?.size.0)).max().unwrap_or(0);
        let page = gallery::page(path.parent().unwrap_or(Path::new("")), widest, &shown);
        match write(&path, page.as_bytes()) {
            Ok(()) => self.gallery = Some(path),
            Err(failure) => failures.push(failure),
        }
        failures
    }

    /// Looks at all thumbnails and takes them in the order of the inputs; of those without one, the message is taken.
    fn each_look(
        &self,
        pool: &Pool,
        entries: &[(PathBuf, Result<Thumb, String>)],
        mut take: impl FnMut(&Path, Result<&Look, &str>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut ahead: VecDeque<(&Path, Looking)> = VecDeque::new();
        let mut next = |(input, looking): (&Path, Looking)| {
            let looked = looking.and_then(|future| match future.wait() {
                Ok(Ok(look)) => Ok(look),
                Ok(Err(error)) => Err(format!("its thumbnail {}", error.message)),
                // The run is to stop.
                Err(error) if error.kind() == Kind::Cancelled => Err(STOPPED.to_owned()),
                Err(error) => Err(JobError::from(&error).message),
            });
            if looked.as_ref().is_err_and(|message| message == STOPPED) {
                return Err("the overview of all thumbnails was not made, since the run was stopped".into());
            }
            take(input, looked.as_ref().map_err(String::as_str))
        };
        for (input, thumb) in entries {
            let looking = match thumb {
                Ok(thumb) => inputs::open(&thumb.path).map_err(|error| format!("its thumbnail {}", error.message)),
                Err(message) => Err(message.clone()),
            };
            let looking = looking.and_then(|file| {
                let task = LookTask { file: file.into(), cell: self.cell };
                pool.submit(look, task).map_err(|error| error.to_string())
            });
            ahead.push_back((input, looking));
            if ahead.len() >= AHEAD
                && let Some(first) = ahead.pop_front()
            {
                next(first)?;
            }
        }
        ahead.into_iter().try_for_each(next)
    }

    /// Writes the contact sheets; returns the sizes of the thumbnails.
    fn sheets(
        &mut self,
        pool: &Pool,
        first: &Path,
        entries: &[(PathBuf, Result<Thumb, String>)],
    ) -> Result<Sizes, String> {
        let format = sheet_format(first).ok_or("the contact sheet has no name that ends in .jpg, .png or .webp")?;
        let text = Text::new(15.0).map_err(|error| format!("the font of contact sheets cannot be read: {error}"))?;
        let grid = Grid::new(self.cell, entries.len());
        let on_page = |number: usize| (entries.len() - number * sheet::PER_PAGE).min(sheet::PER_PAGE);
        let mut page: Option<Page<'_>> = None;
        let (mut sizes, mut written) = (Vec::with_capacity(entries.len()), Vec::new());
        self.each_look(pool, entries, |input, looked| {
            let number = written.len();
            let open = page.get_or_insert_with(|| Page::new(grid, &text, on_page(number)));
            open.add(input, looked.map(|look| &look.tile));
            sizes.push(looked.map(|look| look.size).map_err(str::to_owned));
            if sizes.len() == number * sheet::PER_PAGE + on_page(number) {
                let path = sheet::page_path(first, number);
                let bytes = picture::encode_pixels(open.pixels(), format, QUALITY)
                    .map_err(|error| format!("the contact sheet {}: {error}", names::show(&path)))?;
                write(&path, &bytes)?;
                written.push(path);
                page = None;
            }
            Ok(())
        })?;
        self.sheets = written;
        Ok(sizes)
    }

    /// What was made, for people and for programs.
    pub(super) fn total(&self) -> Option<(String, Record)> {
        let mut lines = Vec::new();
        let mut record = Record::default();
        let list = |paths: &[PathBuf]| -> Vec<serde_json::Value> {
            paths.iter().map(|path| serde_json::json!(Record::default().with_path("path", path))).collect()
        };
        match self.sheets.as_slice() {
            [] => {}
            [one] => lines.push(format!("A contact sheet was saved as {}", names::show(one))),
            [first, .., last] => {
                let (first, last) = (names::show(first), names::show(last));
                lines.push(format!("{} contact sheets were saved as {first} to {last}", self.sheets.len()));
            }
        }
        if !self.sheets.is_empty() {
            record = record.with("contact_sheets", list(&self.sheets));
        }
        if let Some(gallery) = &self.gallery {
            lines.push(format!("A gallery was saved as {}", names::show(gallery)));
            record = record.with_path("gallery", gallery);
        }
        (!lines.is_empty()).then(|| (lines.join("\n"), record))
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    outputs::write(&output_at(path), bytes).map_err(|error| error.message)
}

fn output_at(path: &Path) -> Output {
    let folder = path.parent().unwrap_or(Path::new(""));
    Output::new(&Root::new(folder), Path::new(path.file_name().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_sheet_says_how_it_is_written() {
        let format = |name: &str| sheet_format(Path::new(name));
        assert_eq!([format("a.jpg"), format("b.JPEG")], [Some(Format::Jpeg); 2]);
        assert_eq!([format("a.png"), format("a.webp")], [Some(Format::Png), Some(Format::WebP)]);
        assert_eq!([format("a.gif"), format("jpg"), format(".jpg")], [None; 3]);
    }

    #[test]
    fn an_overview_takes_no_thumbnails_place() {
        let plan = OverviewPlan { sheet: Some("thumbs/./a.jpg".into()), gallery: Some("index.html".into()) };
        let message = "the overview thumbs/a.jpg would replace a thumbnail; give it another name";
        assert_eq!(plan.clash([Path::new("thumbs/a.jpg")].into_iter()), Some(message.into()));
        assert_eq!(plan.clash([Path::new("thumbs/b.jpg")].into_iter()), None);
    }
}
