//! `procpool dataset`: a training set of many pictures.
//!
//! The pictures and their classes are known before the first one is opened ([`sources`]). Workers read, decode, resize and
//! encode them, each by itself ([`work`]). This process takes what they made in the order of the inputs, and so the decisions
//! for which a picture must be compared with others are the same whatever `-j`: what is left out as a duplicate ([`merge`],
//! [`similar`]), and what lies where ([`sinks`]). The set is built out of sight and gets its name when it is whole.

use std::path::PathBuf;

use crate::frame::run::Context;

mod drive;
mod feed;
mod keep;
mod labels;
mod merge;
mod similar;
mod sinks;
mod sources;
mod splits;
mod stats;
mod why;
mod work;

pub(crate) use merge::Alike;
pub(crate) use similar::MAX_DISTANCE;
pub(crate) use sinks::Format;
pub(crate) use splits::Splits;
pub(crate) use work::{Encoding, Recipe};

/// What to make of what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DatasetPlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// A file that says which picture is of which class; by their folders if that is not given.
    pub labels: Option<PathBuf>,
    /// The folder to make.
    pub output: PathBuf,
    /// Replace a set that is there.
    pub replace: bool,
    /// What it is written as.
    pub format: Format,
    /// How each picture is made.
    pub recipe: Recipe,
    /// Which pictures are taken for the same.
    pub alike: Alike,
    /// The splits and their shares.
    pub splits: Splits,
    /// How large an archive or a table may become, in bytes of pictures.
    pub shard_size: u64,
    /// Keep what is finished until the set is there, and take over what an earlier run has kept.
    pub resume: bool,
}

/// Runs the job and returns the exit code.
pub(crate) fn dataset(context: &Context, plan: &DatasetPlan) -> u8 {
    drive::drive(context, plan)
}
