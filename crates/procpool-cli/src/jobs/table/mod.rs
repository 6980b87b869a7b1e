//! `procpool table`: the records of many files as one table.
//!
//! First every file is looked at ([`sample`]): how it is written, where its records lie, which columns they have. What was seen
//! makes the columns ([`merge`]). Then the files are cut into groups of rows by their sizes alone ([`layout`]), each group is
//! read and encoded by a worker ([`work`]), and this process puts the groups one behind the other ([`drive`], [`sink`]).
//!
//! A large file of lines is cut where its pieces end, without knowing what stands before: a worker begins at the first place
//! where a record seems to begin, and says where that was and where the first record behind its piece begins. If the piece
//! before has not ended there, the guess was wrong and the piece is read again from where it really begins. So the records are
//! those of reading the file from its start to its end, whatever is in it.

use std::path::{Path, PathBuf};

use crate::frame::reader::{Packing, without_packing};
use crate::frame::run::Context;

mod build;
mod columns;
pub(crate) mod csv;
mod document;
mod drive;
mod encode;
mod feed;
mod json;
mod keep;
mod layout;
mod merge;
mod misfits;
mod plan;
mod read;
mod records;
mod results;
mod sample;
mod sink;
mod stitch;
#[cfg(test)]
mod streams;
mod unseen;
mod value;
mod window;
mod work;
mod xml;

pub(crate) use merge::Pick;
pub(crate) use plan::{OutFormat, Syntax};

/// What to make of what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TablePlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// Look into sub-folders too.
    pub recursive: bool,
    /// The file to write.
    pub output: PathBuf,
    /// What it is.
    pub format: OutFormat,
    /// How the inputs are written; by name and content if that is not given.
    pub syntax: Option<Syntax>,
    /// What separates values; by the first line of each file if that is not given.
    pub separator: Option<u8>,
    /// The first line of separated values is a record.
    pub no_header: bool,
    /// Where records lie; the place that looks most like it if that is not given.
    pub record: Option<String>,
    /// The columns; all that are seen if that is not given.
    pub picks: Option<Vec<Pick>>,
    /// The name of a column with the names of the files.
    pub source: Option<String>,
    /// Where misfits are recorded; beside the output if that is not given.
    pub misfits: Option<PathBuf>,
    /// How much of each file is looked at for its columns, in bytes.
    pub sample: u64,
    /// How much of the inputs makes a group of rows, in bytes.
    pub row_group: u64,
    /// How much of the inputs a worker takes at once, in bytes.
    pub chunk: u64,
    /// Keep what is finished until the output is there, and take over what an earlier run has kept.
    pub resume: bool,
}

/// Runs the job and returns the exit code.
pub(crate) fn table(context: &Context, plan: &TablePlan) -> u8 {
    drive::drive(context, plan)
}

/// How a file is written, by its name.
pub(crate) fn syntax_by_name(path: &Path) -> Option<Syntax> {
    let extension = without_packing(path).extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "csv" => Some(Syntax::Csv { separator: 0 }),
        "tsv" | "tab" => Some(Syntax::Csv { separator: b'\t' }),
        "jsonl" | "ndjson" => Some(Syntax::Lines),
        "json" => Some(Syntax::Json),
        "xml" => Some(Syntax::Xml),
        _ => None,
    }
}

/// What an output is, by its name. One that is to be packed is none.
pub(crate) fn format_by_name(path: &Path) -> Option<OutFormat> {
    if Packing::by_name(path).is_some() {
        return None;
    }
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "parquet" => Some(OutFormat::Parquet),
        "arrow" | "feather" | "ipc" => Some(OutFormat::Arrow),
        "csv" => Some(OutFormat::Csv),
        "jsonl" | "ndjson" => Some(OutFormat::Lines),
        _ => None,
    }
}
