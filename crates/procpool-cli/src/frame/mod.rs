//! What all jobs share: finding inputs, writing outputs, reporting, signals. A job adds what it does with one file.

pub(crate) mod bar;
pub(crate) mod clock;
pub(crate) mod exit;
pub(crate) mod failure;
pub(crate) mod inputs;
pub(crate) mod interrupt;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod outputs;
pub(crate) mod past;
#[allow(dead_code, reason = "jobs over text files are to use it")]
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod stream;
pub(crate) mod units;
