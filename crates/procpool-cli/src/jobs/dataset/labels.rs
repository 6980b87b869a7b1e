//! The labels of a CSV file: which picture is of which class.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Input};
use crate::frame::names;
use crate::jobs::table::csv::{Record, sniff};

/// The largest file of labels, in bytes.
const MAX_LEN: u64 = 1 << 30;
/// What the column of the pictures may be called.
const PATHS: &[&str] = &["path", "file", "filename", "file_name", "image"];
/// What the column of the classes may be called.
const CLASSES: &[&str] = &["label", "class"];

/// One picture's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The picture.
    pub path: PathBuf,
    /// Its class.
    pub label: Vec<u8>,
    /// Another line gives it another class.
    conflict: Option<Vec<u8>>,
}

impl Row {
    /// The class, or what is wrong with it.
    pub(crate) fn label(&self) -> Result<&[u8], JobError> {
        match &self.conflict {
            None => Ok(&self.label),
            Some(other) => {
                let show = |label: &[u8]| names::show(Path::new(OsStr::from_bytes(label)));
                let message = format!("the labels say both {} and {}", show(&self.label), show(other));
                Err(JobError::new(Cause::NoClass, message))
            }
        }
    }
}

/// All labels, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    rows: Vec<Row>,
    by_path: HashMap<PathBuf, usize>,
}

/// What the labels say of the inputs.
pub(crate) struct Labelled<'a> {
    /// The line of each input, or why none can be told.
    pub of_inputs: Vec<Result<Option<&'a Row>, JobError>>,
    /// The lines of pictures that are not among the inputs.
    pub unknown: Vec<&'a Row>,
}

impl Labels {
    /// Reads the file. The error is a message for the user.
    pub(crate) fn read(path: &Path) -> Result<Labels, String> {
        let shown = names::show(path);
        match inputs::read(path, MAX_LEN) {
            Ok(bytes) => Labels::parse(&bytes).map_err(|message| format!("the labels {shown}: {message}")),
            Err(error) => Err(format!("the labels {shown}: {}", error.message)),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Labels, String> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let dialect = sniff(text);
        let (mut record, mut at) = (Record::default(), 0);
        let mut columns = None;
        let mut labels = Labels::default();
        while at < text.len() {
            let place = at;
            at = record
                .read(dialect, text, at, true)
                .ok_or_else(|| format!("a quote is not closed, in the record at byte {place}"))?;
            if record.len() == 0 {
                continue;
            }
            let field = |index: usize| if index < record.len() { record.field(text, index).0 } else { b"" };
            let Some((path, label)) = columns else {
                let names: Vec<String> =
                    (0..record.len()).map(|index| String::from_utf8_lossy(field(index)).to_ascii_lowercase()).collect();
                let column = |known: &[&str]| names.iter().position(|name| known.contains(&name.trim()));
                let both = column(PATHS).zip(column(CLASSES));
                columns = Some(both.ok_or("the first line has to name the columns, path and label")?);
                continue;
            };
            labels.add(tidy(Path::new(OsStr::from_bytes(field(path)))), field(label));
        }
        if columns.is_none() { Err("there is no line in it".into()) } else { Ok(labels) }
    }

    fn add(&mut self, path: PathBuf, label: &[u8]) {
        match self.by_path.get(&path) {
            Some(&first) if self.rows[first].label == label => {}
            Some(&first) => self.rows[first].conflict = Some(label.to_owned()),
            None => {
                self.by_path.insert(path.clone(), self.rows.len());
                self.rows.push(Row { path, label: label.to_owned(), conflict: None });
            }
        }
    }

    /// Finds each input's line: by its path as it was found or, failing that, below the folder that was given.
    pub(crate) fn of<'a>(&'a self, inputs: &[&Input]) -> Labelled<'a> {
        let line = |path: &Path| self.by_path.get(&tidy(path)).copied();
        let by_path: Vec<Option<usize>> = inputs.iter().map(|input| line(&input.path)).collect();
        let mut used = vec![0u32; self.rows.len()];
        by_path.iter().flatten().for_each(|&row| used[row] = 1);
        let below = |(input, found): (&&Input, &Option<usize>)| match found {
            Some(_) => None,
            None => line(&input.below).filter(|&row| used[row] == 0),
        };
        let by_below: Vec<Option<usize>> = inputs.iter().zip(&by_path).map(below).collect();
        by_below.iter().flatten().for_each(|&row| used[row] += 1);
        let of = |(path, below): (Option<usize>, Option<usize>)| match (path, below) {
            (None, Some(row)) if used[row] > 1 => {
                let message = format!(
                    "the labels name {}, which may be this picture or one in another folder",
                    names::show(&self.rows[row].path)
                );
                Err(JobError::new(Cause::NoClass, message))
            }
            (found, other) => Ok(found.or(other).map(|row| &self.rows[row])),
        };
        let of_inputs = by_path.into_iter().zip(by_below).map(of).collect();
        let unknown = self.rows.iter().zip(&used).filter(|(_, used)| **used == 0).map(|(row, _)| row).collect();
        Labelled { of_inputs, unknown }
    }
}

/// The path without what says nothing: `./`, doubled slashes.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, below: &str) -> Input {
        Input { path: path.into(), below: below.into(), named: false, len: 1, ids: [(1, 1); 2] }
    }

    fn parse(text: &[u8]) -> Result<Vec<(String, String)>, String> {
        let show = |row: &Row| (row.path.display().to_string(), String::from_utf8_lossy(&row.label).into_owned());
        Labels::parse(text).map(|labels| labels.rows.iter().map(show).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(path, label)| ((*path).into(), (*label).into())).collect())
    }

    #[test]
    fn columns_are_found_by_their_names() {
        assert_eq!(parse(b"path,label\na.jpg,cat\n./b//c.jpg,dog\n"), pairs(&[("a.jpg", "cat"), ("b/c.jpg", "dog")]));
        let text = b"\xef\xbb\xbfid;Class;File_Name\r\n1;\"a \"\"cat\"\"\";\"x\ny.jpg\"\r\n\r\n2;dog;z.jpg";
        assert_eq!(parse(text), pairs(&[("x\ny.jpg", "a \"cat\""), ("z.jpg", "dog")]));
        assert_eq!(parse(b"path,label\na.jpg\n"), pairs(&[("a.jpg", "")]));
        let message = "the first line has to name the columns, path and label";
        assert_eq!(parse(b"a.jpg,cat\n"), Err(message.into()));
        assert_eq!(parse(b"\n\n"), Err("there is no line in it".into()));
        assert_eq!(parse(b"path,label\na,\"b\n"), Err("a quote is not closed, in the record at byte 11".into()));
    }

    #[test]
    fn pictures_are_found_by_their_path_or_below_the_folder() {
        let text = b"path,label\nin/a.jpg,1\nb.jpg,2\nsub/c.jpg,3\ngone.jpg,4\nd.jpg,5\nd.jpg,5\ne.jpg,6\ne.jpg,7\n";
        let labels = Labels::parse(text).expect("labels");
        let files = [
            input("in/a.jpg", "a.jpg"),
            input("in/b.jpg", "b.jpg"),
            input("in/sub/c.jpg", "sub/c.jpg"),
            input("in/d.jpg", "d.jpg"),
            input("in/e.jpg", "e.jpg"),
            input("in/f.jpg", "f.jpg"),
        ];
        let found = labels.of(&files.iter().collect::<Vec<_>>());
        let show = |found: Result<Option<&Row>, JobError>| match found.and_then(|row| row.map(Row::label).transpose()) {
            Ok(label) => label.map(|label| String::from_utf8_lossy(label).into_owned()).unwrap_or_default(),
            Err(error) => error.message,
        };
        let shown: Vec<String> = found.of_inputs.into_iter().map(show).collect();
        assert_eq!(shown, ["1", "2", "3", "5", "the labels say both 6 and 7", ""]);
        assert_eq!(found.unknown.iter().map(|row| row.path.as_path()).collect::<Vec<_>>(), [Path::new("gone.jpg")]);
    }

    #[test]
    fn a_line_that_may_be_two_pictures_is_none() {
        let labels = Labels::parse(b"path,label\na.jpg,1\nx/b.jpg,2\nb.jpg,3\n").expect("labels");
        let files = [input("x/a.jpg", "a.jpg"), input("y/a.jpg", "a.jpg"), input("x/b.jpg", "b.jpg")];
        let found = labels.of(&files.iter().collect::<Vec<_>>());
        let errors: Vec<bool> = found.of_inputs.iter().map(Result::is_err).collect();
        assert_eq!(errors, [true, true, false]);
        assert_eq!(found.unknown.len(), 1);
    }
}
