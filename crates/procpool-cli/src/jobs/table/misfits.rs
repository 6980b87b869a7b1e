//! The record of every value that is not in the table: a JSON object per line, in a file of its own.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use super::plan::{Column, Held, MAX_RECORD};
use super::records::{Misfit, Why};
use super::value::Type;
use crate::frame::failure::JobError;
use crate::frame::names;
use crate::frame::outputs::{Output, Pending};
use crate::frame::record::Record;

/// How many pairs of a column and a reason are counted each for itself. Members that no column has can be any number.
const MOST_COUNTED: usize = 1000;
/// Longer names are not told apart.
const LONGEST_COUNTED: usize = 1000;
/// No line in a worker's file is longer: a value is no longer than a record, and each byte of it has six at most.
const MOST_LINE: u64 = 7 * MAX_RECORD as u64;

/// How many columns are told in the summary.
const LINES: usize = 10;

/// How many values did not fit, by column and reason.
pub(crate) type Counts = BTreeMap<(String, &'static str), u64>;

/// The record, which is begun when there is something to record.
pub(crate) struct Misfits {
    output: Output,
    /// It was asked for by name: then it is there also if it is empty, and what has its place otherwise is not ours to remove.
    named: bool,
    types: HashMap<String, Type>,
    pending: Option<Pending>,
    at: u64,
    count: u64,
    counts: Rc<Counts>,
}

/// A place to which the record can be taken back.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    at: u64,
    count: u64,
    counts: Rc<Counts>,
}

/// Why misfits were not recorded.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// What a worker has made is none.
    Refused,
    /// The record cannot be written.
    Failed(JobError),
}

impl Misfits {
    /// A record that is to be at `output`, of what is not in `columns`.
    pub(crate) fn new(output: Output, named: bool, columns: &[Column]) -> Misfits {
        let types = columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        Misfits { output, named, types, pending: None, at: 0, count: 0, counts: Rc::default() }
    }

    /// How many values are recorded.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where the record is.
    pub(crate) fn path(&self) -> &Path {
        self.output.path()
    }

    /// The same by column and reason; what is beyond a thousand such pairs is not told apart.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Records the misfits of a group of rows, which may lie in the file that its worker was given. `input` says of a part which
    /// file it is and how many records of it came before.
    pub(crate) fn push<'a>(
        &mut self,
        misfits: &Held<Vec<Misfit>>,
        scratch: Option<&File>,
        input: impl Fn(u32) -> Option<(&'a Path, u64)>,
    ) -> Result<(), NotTaken> {
        match (misfits, scratch) {
            (Held::Here(misfits), _) => self.record(misfits, &input).map_err(NotTaken::Failed),
            (Held::Scratch { .. }, None) => Err(NotTaken::Refused),
            (&Held::Scratch { at, len }, Some(file)) => {
                let mut lines = BufReader::new(Piece { file, at, left: len });
                let mut line = Vec::new();
                loop {
                    line.clear();
                    let read = (&mut lines).take(MOST_LINE).read_until(b'\n', &mut line);
                    match read {
                        Ok(0) => return Ok(()),
                        Ok(_) if line.last() == Some(&b'\n') => {}
                        _ => return Err(NotTaken::Refused),
                    }
                    let misfit = serde_json::from_slice(&line).map_err(|_| NotTaken::Refused)?;
                    self.record(&[misfit], &input).map_err(NotTaken::Failed)?;
                }
            }
        }
    }

    fn record<'a>(
        &mut self,
        misfits: &[Misfit],
        input: &impl Fn(u32) -> Option<(&'a Path, u64)>,
    ) -> Result<(), JobError> {
        if misfits.is_empty() {
            return Ok(());
        }
        let pending = match &mut self.pending {
            Some(pending) => pending,
            None => self.pending.insert(Pending::begin(&self.output)?),
        };
        let counts = Rc::make_mut(&mut self.counts);
        let mut text = Vec::new();
        for misfit in misfits {
            let Some((path, before)) = input(misfit.part) else { continue };
            let kind = self.types.get(&misfit.column).filter(|_| misfit.why == Why::Type).map(|kind| kind.name());
            let line = Record::default()
                .with_path("input", path)
                .with("record", before.saturating_add(misfit.record).saturating_add(1))
                .with("column", misfit.column.as_str())
                .with("why", misfit.why.name())
                .with_known("type", kind)
                .with("value", misfit.value.as_str())
                .line();
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            self.count += 1;
            let pair = (misfit.column.clone(), misfit.why.name());
            let few = counts.len() < MOST_COUNTED && pair.0.len() <= LONGEST_COUNTED;
            if few || counts.contains_key(&pair) {
                *counts.entry(pair).or_default() += 1;
            }
        }
        let mut file: &File = pending.file();
        file.write_all(&text).map_err(|error| pending.failure(&error))?;
        self.at += text.len() as u64;
        Ok(())
    }

    /// The present place.
    pub(crate) fn mark(&self) -> Mark {
        Mark { at: self.at, count: self.count, counts: Rc::clone(&self.counts) }
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
        (self.at, self.count, self.counts) = (mark.at, mark.count, mark.counts);
        Ok(())
    }

    /// Has it written to the disk.
    pub(crate) fn sync(&self) -> Result<(), JobError> {
        self.pending.as_ref().map_or(Ok(()), Pending::sync)
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

/// The counts for programs, in the order of the columns' names.
pub(crate) fn record(counts: &Counts) -> Vec<serde_json::Value> {
    let one = |((column, why), count): (&(String, &str), &u64)| serde_json::json!({"column": column, "why": why, "values": count});
    counts.iter().map(one).collect()
}

/// The counts for people: the columns with the most values that did not fit, and how many there are besides of `all`.
pub(crate) fn lines(counts: &Counts, all: u64) -> Vec<String> {
    let mut columns: Vec<(&str, u64, String)> = Vec::new();
    for ((column, why), count) in counts {
        let what = match *why {
            "type" => "of another type",
            "repeated" => "repeated",
            _ => "without a column",
        };
        match columns.last_mut() {
            Some((last, sum, text)) if last == column => {
                *sum += count;
                *text += &format!(", {count} {what}");
            }
            _ => columns.push((column, *count, format!("  {}: {count} {what}", names::show_message(column)))),
        }
    }
    columns.sort_by_key(|(_, sum, _)| std::cmp::Reverse(*sum));
    columns.truncate(LINES);
    let told: u64 = columns.iter().map(|(_, sum, _)| sum).sum();
    let rest = (told < all).then(|| format!("  others: {}", all - told));
    columns.into_iter().map(|(.., line)| line).chain(rest).collect()
}

/// A part of a file, read without its position.
struct Piece<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Piece<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = room.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut room[..most], self.at)?;
        self.at = self.at.saturating_add(read as u64);
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_with_the_most_misfits_are_told() {
        let counts = |all: &[(&str, &'static str, u64)]| {
            all.iter().map(|&(column, why, count)| ((column.to_owned(), why), count)).collect::<Counts>()
        };
        let few = counts(&[("b", "type", 7), ("a", "repeated", 1), ("a", "type", 2), ("c", "no-column", 7)]);
        let expected = ["  b: 7 of another type", "  c: 7 without a column", "  a: 1 repeated, 2 of another type"];
        assert_eq!(lines(&few, 17), expected);
        assert_eq!(lines(&few, 20).last().map(String::as_str), Some("  others: 3"));
        let names: Vec<String> = (0..12).map(|n| format!("c{n:02}")).collect();
        let many = counts(&names.iter().map(|name| (name.as_str(), "type", 1)).collect::<Vec<_>>());
        assert_eq!((lines(&many, 12).len(), lines(&many, 12).last().map(String::as_str)), (11, Some("  others: 2")));
        assert_eq!(record(&few)[0], serde_json::json!({"column": "a", "why": "repeated", "values": 1}));
    }
}
