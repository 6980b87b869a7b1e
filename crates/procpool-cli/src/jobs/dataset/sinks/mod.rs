//! What a set is written as.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::splits::Splits;
use super::work::{Encoding, Sample};
use crate::frame::failure::JobError;
use crate::frame::outputs::Root;
use crate::frame::record::Record;

mod archives;
mod folders;
mod shards;
mod tables;

/// What a set is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// A folder for each split with a folder for each class.
    Folder,
    /// Archives as the package `webdataset` reads them.
    WebDataset,
    /// Tables as the package `datasets` of Hugging Face reads them.
    Parquet,
}

impl Format {
    /// The name, as on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Folder => "folder",
            Format::WebDataset => "webdataset",
            Format::Parquet => "parquet",
        }
    }
}

/// What a sink needs to know.
pub(crate) struct Setting<'a> {
    /// The folder of the set.
    pub root: &'a Root,
    /// The splits.
    pub splits: &'a Splits,
    /// The names of the classes.
    pub classes: &'a [String],
    /// What the pictures are written as.
    pub encoding: Encoding,
    /// How large an archive or a table may become, in bytes of pictures.
    pub shard_size: u64,
}

/// A picture to be written.
pub(crate) struct Picture<'a> {
    /// The number of its split.
    pub split: usize,
    /// The number of its class.
    pub class: usize,
    /// Where it comes from.
    pub source: &'a Path,
    /// The picture.
    pub sample: &'a Sample,
}

/// Writes pictures, in the order in which they come.
pub(crate) trait Sink {
    /// Writes one, and says in which file it is and, with the name of that, where in it.
    fn put(&mut self, picture: &Picture<'_>) -> Result<(PathBuf, Record), JobError>;

    /// Ends what is not ended.
    fn finish(&mut self) -> Result<(), JobError>;
}

impl Format {
    /// The sink of this format.
    pub(crate) fn sink<'a>(self, setting: Setting<'a>) -> Box<dyn Sink + 'a> {
        match self {
            Format::Folder => Box::new(folders::Folders::new(setting)),
            Format::WebDataset => Box::new(archives::Archives::new(setting)),
            Format::Parquet => Box::new(tables::Tables::new(setting)),
        }
    }
}
