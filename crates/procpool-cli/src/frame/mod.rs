//! What all jobs share: finding inputs, writing outputs, reporting, signals. A job adds what it does with one file.

pub(crate) mod ahead;
pub(crate) mod bar;
pub(crate) mod blocks;
pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod failure;
pub(crate) mod feed;
pub(crate) mod inputs;
pub(crate) mod interrupt;
pub(crate) mod kept;
pub(crate) mod lists;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod outputs;
pub(crate) mod past;
pub(crate) mod pieces;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod stream;
pub(crate) mod tree;
pub(crate) mod units;
