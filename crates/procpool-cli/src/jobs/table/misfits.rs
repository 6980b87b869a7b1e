//! The record of every value that is not in the table: a JSON object per line, in a file of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::plan::Column;
use super::records::{Misfit, Why};
use super::value::Type;
use crate::frame::failure::JobError;
use crate::frame::outputs::{Output, Pending};
use crate::frame::record::Record;

/// The record, which is begun when there is something to record.
pub(crate) struct Misfits {
    output: Output,
    /// It was asked for by name: then it is there also if it is empty, and what has its place otherwise is not ours to remove.
    named: bool,
    types: HashMap<String, Type>,
    pending: Option<Pending>,
    at: u64,
    count: u64,
}

/// A place to which the record can be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: u64,
    count: u64,
}

impl Misfits {
    /// A record that is to be at `output`, of what is not in `columns`.
    pub(crate) fn new(output: Output, named: bool, columns: &[Column]) -> Misfits {
        let types = columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        Misfits { output, named, types, pending: None, at: 0, count: 0 }
    }

    /// How many values are recorded.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where the record is.
    pub(crate) fn path(&self) -> &Path {
        self.output.path()
    }

    /// Records the misfits of a group. `input` says of a part which file it is and how many records of it came before.
    pub(crate) fn push<'a>(
        &mut self,
        misfits: &[Misfit],
        input: impl Fn(u32) -> Option<(&'a Path, u64)>,
    ) -> Result<(), JobError> {
        if misfits.is_empty() {
            return Ok(());
        }
        let pending = match &mut self.pending {
            Some(pending) => pending,
            None => self.pending.insert(Pending::begin(&self.output)?),
        };
        let mut text = Vec::new();
        for misfit in misfits {
            let Some((path, before)) = input(misfit.part) else { continue };
            let kind = self.types.get(&misfit.column).filter(|_| misfit.why == Why::Type).map(|kind| kind.name());
            let line = Record::default()
                .with_path("input", path)
                .with("record", before + misfit.record + 1)
                .with("column", misfit.column.as_str())
                .with("why", misfit.why.name())
                .with_known("type", kind)
                .with("value", misfit.value.as_str())
                .line();
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            self.count += 1;
        }
        let mut file: &File = pending.file();
        file.write_all(&text).map_err(|error| pending.failure(&error))?;
        self.at += text.len() as u64;
        Ok(())
    }

    /// The present place.
    pub(crate) fn mark(&self) -> Mark {
        Mark { at: self.at, count: self.count }
    }

    /// Takes back what was recorded after `mark`.
    pub(crate) fn back_to(&mut self, mark: Mark) -> Result<(), JobError> {
        if let Some(pending) = &self.pending {
            let back = |mut file: &File| -> io::Result<()> {
                file.set_len(mark.at)?;
                file.seek(SeekFrom::Start(mark.at)).map(drop)
            };
            back(pending.file()).map_err(|error| pending.failure(&error))?;
        }
        (self.at, self.count) = (mark.at, mark.count);
        Ok(())
    }

    /// Puts the record in its place. One of an earlier run goes if there is nothing to record now.
    pub(crate) fn keep(&mut self) -> Result<(), JobError> {
        match self.pending.take() {
            Some(pending) if self.count > 0 || self.named => pending.keep(),
            None if self.named => Pending::begin(&self.output)?.keep(),
            _ => {
                // Mostly there is none.
                let _ = std::fs::remove_file(self.output.path());
                Ok(())
            }
        }
    }
}
