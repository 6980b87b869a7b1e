//! What became of the inputs, told in their order.

use std::path::Path;
use std::sync::Arc;

use super::feed::Input;
use crate::frame::failure::JobError;
use crate::frame::names;
use crate::frame::record::Record;
use crate::frame::report::{OutputError, Reporter};
use crate::frame::stream::{Event, Stream, Task};

/// Where an input's records are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was read.
    Reading,
    /// An earlier run has read it.
    Before,
}

/// The results of a run.
pub(crate) struct Results {
    /// The report of the run.
    pub report: Reporter,
    stream: Arc<Stream>,
    ended: Vec<Option<(Result<u64, JobError>, Origin)>>,
    told: usize,
}

impl Results {
    /// Of so many inputs none has ended yet.
    pub(crate) fn new(report: Reporter, stream: Arc<Stream>, inputs: usize) -> Results {
        Results { report, stream, ended: (0..inputs).map(|_| None).collect(), told: 0 }
    }

    /// Whether an input has ended.
    pub(crate) fn has_ended(&self, number: usize) -> bool {
        self.ended[number].is_some()
    }

    /// An input has given so many records, or has failed. The first time counts.
    pub(crate) fn end(
        &mut self,
        number: usize,
        path: &Path,
        output: &Path,
        (result, from): (Result<u64, JobError>, Origin),
    ) {
        if self.has_ended(number) {
            return;
        }
        let outcome = match &result {
            Ok(records) => Ok(self.stream.is_logged().then(|| serde_json::json!({ "records": records }))),
            Err(error) => Err(error),
        };
        let task = Task::default();
        match (&outcome, from) {
            (Ok(_), Origin::Before) => self.stream.tell(&Event::Unchanged),
            _ => self.stream.tell(&Event::InputEnded { input: path, outputs: &[output], outcome, task: &task }),
        }
        self.ended[number] = Some((result, from));
    }

    /// Reports what has ended and follows what was reported.
    pub(crate) fn tell(&mut self, inputs: &[Input]) -> Result<(), OutputError> {
        while let Some(Some((result, from))) = self.ended.get(self.told) {
            let path = &inputs[self.told].path;
            match (result, from) {
                (Ok(records), from) => {
                    let line = format!("{}: {}", names::show(path), count(*records, "record"));
                    let record = Record::default().with("records", *records);
                    match from {
                        Origin::Reading => self.report.done(path, &line, record)?,
                        Origin::Before => self.report.unchanged(path, &line, record)?,
                    }
                }
                (Err(error), _) => self.report.failed(path, error, None)?,
            }
            self.told += 1;
        }
        Ok(())
    }

    /// The run was stopped: what has not ended was not begun.
    pub(crate) fn stop(&mut self) {
        for ended in &self.ended {
            if ended.is_none() {
                self.stream.tell(&Event::NotBegun);
            }
        }
    }

    /// Whether an input has failed.
    pub(crate) fn any_failed(&self) -> bool {
        self.ended.iter().flatten().any(|(result, _)| result.is_err())
    }
}

/// `1 record`, `2 records`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
