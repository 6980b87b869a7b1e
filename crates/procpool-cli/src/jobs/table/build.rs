//! The rows that a worker collects of a group of parts, and the groups of rows that it makes of them.
//!
//! How much a packed file or a document has is known only when it has been read. So the worker itself ends a group of rows at
//! the first record that begins at or behind each multiple of the size of a group, counted in the file; that depends on
//! nothing but what is in the files. What was ended and is not the last of its group goes to the scratch file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::columns::Columns;
use super::encode::encode;
use super::plan::{Held, RowsMade, Spec};
use super::records::Misfit;
use crate::frame::failure::{Cause, JobError, reason};

/// The file for what cannot be returned at once.
#[derive(Debug)]
pub(crate) struct Scratch {
    file: File,
    at: u64,
}

impl Scratch {
    /// A file, to be written from its start: an attempt before this one may have written to it.
    pub(crate) fn new(file: File) -> Scratch {
        Scratch { file, at: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        let (at, len) = (self.at, bytes.len() as u64);
        self.file.write_all_at(bytes, at)?;
        self.at += len;
        Ok((at, len))
    }
}

/// A place to go back to.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    rows: usize,
    misfits: usize,
    made: usize,
    scratch: u64,
}

/// What is being built of a group of parts.
#[derive(Debug)]
pub(crate) struct Build {
    /// The rows of the group of rows that is not ended.
    pub columns: Columns,
    /// What did not fit in them.
    pub misfits: Vec<Misfit>,
    spec: Rc<Spec>,
    scratch: Option<Scratch>,
    made: Vec<RowsMade>,
    /// How many bytes of files the rows stand for.
    filled: u64,
    /// Where the part began.
    part: Mark,
    /// Where in it the next group of rows begins.
    next: u64,
    /// A group of rows has ended in it.
    cut: bool,
}

impl Build {
    /// Nothing yet.
    pub(crate) fn new(spec: &Rc<Spec>, scratch: Option<Scratch>) -> Build {
        Build {
            columns: empty(spec),
            misfits: Vec::new(),
            spec: Rc::clone(spec),
            scratch,
            made: Vec::new(),
            filled: 0,
            part: Mark::default(),
            next: 0,
            cut: false,
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            rows: self.columns.rows(),
            misfits: self.misfits.len(),
            made: self.made.len(),
            scratch: self.scratch.as_ref().map_or(0, |scratch| scratch.at),
        }
    }

    /// Begins a part.
    pub(crate) fn begin_part(&mut self) {
        self.part = self.mark();
        self.next = self.spec.row_group;
        self.cut = false;
    }

    /// Says where in the part, in bytes, the next record begins.
    #[inline]
    pub(crate) fn before_record(&mut self, at: u64) -> Result<(), JobError> {
        if at < self.next { Ok(()) } else { self.cut_at(at) }
    }

    #[cold]
    fn cut_at(&mut self, at: u64) -> Result<(), JobError> {
        if !self.cut {
            // The parts before are no part of this one's groups, so that it can be taken back as a whole.
            let rows = self.columns.split_off(self.part.rows);
            let misfits = self.misfits.split_off(self.part.misfits);
            self.end_rows(true)?;
            (self.columns, self.misfits) = (rows, misfits);
            self.filled = 0;
            self.part = Mark { rows: 0, misfits: 0, ..self.mark() };
            self.cut = true;
        }
        self.next = (at / self.spec.row_group + 1).saturating_mul(self.spec.row_group);
        self.end_rows(true)
    }

    /// Ends a part of `len` bytes, or takes it back if it has failed.
    pub(crate) fn end_part(&mut self, len: Option<u64>) -> Result<(), JobError> {
        let Some(len) = len else {
            let Mark { rows, misfits, made, scratch } = self.part;
            self.columns.truncate(rows);
            self.misfits.truncate(misfits);
            self.made.truncate(made);
            if let Some(open) = &mut self.scratch {
                open.at = scratch;
            }
            return Ok(());
        };
        self.filled = self.filled.saturating_add(len);
        if self.cut || self.filled > self.spec.row_group {
            self.filled = 0;
            self.end_rows(true)?;
        }
        Ok(())
    }

    /// Ends the group of rows. If `more` are to come it goes to the scratch file.
    fn end_rows(&mut self, more: bool) -> Result<(), JobError> {
        let rows = self.columns.rows();
        if rows == 0 {
            return Ok(());
        }
        let columns = std::mem::replace(&mut self.columns, empty(&self.spec));
        let misfits = std::mem::take(&mut self.misfits);
        let (bytes, chunks) = encode(columns, &self.spec).map_err(|message| {
            JobError::new(Cause::Panicked, format!("its records could not be encoded: {message}"))
        })?;
        let (bytes, misfits) = match &mut self.scratch {
            Some(scratch) if more => spill(scratch, &bytes, &misfits).map_err(|error| {
                JobError::new(Cause::Unwritable, format!("cannot keep its records for a while: {}", reason(&error)))
            })?,
            _ => (Held::Here(bytes), Held::Here(misfits)),
        };
        self.made.push(RowsMade { rows: rows as u64, bytes, chunks, misfits });
        Ok(())
    }

    /// Ends the group of parts. Returns its groups of rows, and the scratch file for the next.
    pub(crate) fn finish(mut self) -> Result<(Vec<RowsMade>, Option<Scratch>), JobError> {
        self.end_rows(false)?;
        Ok((self.made, self.scratch))
    }
}

fn empty(spec: &Spec) -> Columns {
    Columns::new(spec.columns.iter().map(|column| column.kind))
}

/// Where the bytes of a group of rows are, and what did not fit in it.
type Spilled = (Held<Vec<u8>>, Held<Vec<Misfit>>);

fn spill(scratch: &mut Scratch, bytes: &[u8], misfits: &[Misfit]) -> io::Result<Spilled> {
    let (at, len) = scratch.put(bytes)?;
    let bytes = Held::Scratch { at, len };
    if misfits.is_empty() {
        return Ok((bytes, Held::Here(Vec::new())));
    }
    let (at, len) = scratch.put(&lines_of(misfits)?)?;
    Ok((bytes, Held::Scratch { at, len }))
}

/// Misfits as they lie in a file: a line of JSON for each.
pub(crate) fn lines_of(misfits: &[Misfit]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for misfit in misfits {
        serde_json::to_writer(&mut lines, misfit)?;
        lines.push(b'\n');
    }
    Ok(lines)
}
