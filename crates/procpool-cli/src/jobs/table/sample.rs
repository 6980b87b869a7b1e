//! Looks at the beginning of every file to find out which records and columns there are.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};

use procpool::SharedFile;
use serde::{Deserialize, Serialize};

use super::csv::{self, Dialect};
use super::json::{self, Scanner};
use super::plan::{MAX_SAMPLE, Pack, Syntax};
use super::records::{MAX_COLUMNS, Path, Survey};
use super::value::{Type, Value};
use super::window::refuse_utf16;
use super::xml;
use crate::frame::failure::{Cause, JobError};
use crate::frame::reader::{Contents, promised_len, read_failure};

/// What a file is to be looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Look {
    /// Where its records lie.
    Records,
    /// Their columns.
    Columns,
}

/// A file to look at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Glance {
    /// The file.
    pub file: SharedFile,
    /// How it is packed.
    pub packing: Option<Pack>,
    /// How it is written; by its content if that is not known.
    pub syntax: Option<Syntax>,
}

/// Files to look at, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LookTask {
    /// The files.
    pub files: Vec<Glance>,
    /// What for.
    pub look: Look,
    /// How much of each, in bytes.
    pub len: u64,
    /// What separates values, if it is given.
    pub separator: Option<u8>,
    /// The first line of separated values is a record.
    pub no_header: bool,
    /// Where the records of JSON documents lie.
    pub json_path: Path,
    /// Which elements of XML are records.
    pub xml_pattern: String,
}

/// What was seen of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// How it is written.
    pub syntax: Syntax,
    /// Where records could lie, and how many there are of them.
    pub places: Vec<(Path, u64)>,
    /// The columns, in order, and their types. Of separated values all fields.
    pub columns: Vec<(Path, Type)>,
    /// How long it says that it is when it is unpacked, if it is packed.
    pub promised: Option<u64>,
}

/// Looks at files, each for itself.
pub(crate) fn look(task: LookTask) -> Vec<Result<Seen, JobError>> {
    let LookTask { files, look, len, separator, no_header, json_path, xml_pattern } = task;
    let one = |glance: Glance| {
        let promised = glance.packing.and_then(|packing| promised_len(glance.file.file(), packing.into()));
        let (bytes, whole) = beginning(glance.file, glance.packing, len)?;
        let mut syntax = glance.syntax.unwrap_or_else(|| syntax_of(&bytes));
        refuse_utf16(&bytes, 0)?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        // What is no text is told when it is read.
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        };
        if let Syntax::Csv { separator: found } = &mut syntax {
            let sniffed = if *found == 0 { csv::sniff(bytes).separator } else { *found };
            *found = separator.unwrap_or(sniffed);
        }
        let (mut places, mut columns) = (Vec::new(), Vec::new());
        let mut survey = Survey::new();
        match (syntax, look) {
            (Syntax::Csv { .. } | Syntax::Lines, Look::Records) => {}
            (Syntax::Csv { separator }, Look::Columns) => {
                columns = fields(Dialect { separator }, bytes, whole, no_header)?;
            }
            (Syntax::Lines, Look::Columns) => {
                let mut scanner = Scanner::new(valid, 0);
                while !scanner.is_at_end() && json::record(&mut scanner, &mut survey, 0).is_ok() {}
                columns = survey.columns();
            }
            (Syntax::Json, Look::Records) => places = json::lists(valid),
            (Syntax::Json, Look::Columns) => {
                // Here and below: what is wrong is told when the file is read, and what is cut off is not wrong.
                let _ = json::records(valid, &json_path, &mut survey);
                columns = survey.columns();
            }
            (Syntax::Xml, Look::Records) => places = xml::repeated(valid),
            (Syntax::Xml, Look::Columns) => {
                let _ = xml::records(valid, &xml::Pattern::new(&xml_pattern), &mut survey);
                columns = survey.columns();
            }
        }
        if columns.len() > MAX_COLUMNS {
            return Err(JobError::new(Cause::TooLarge, format!("has more than {MAX_COLUMNS} columns")));
        }
        Ok(Seen { syntax, places, columns, promised })
    };
    files.into_iter().map(one).collect()
}

/// The first bytes of a file, and whether they are all of it.
fn beginning(file: SharedFile, packing: Option<Pack>, len: u64) -> Result<(Vec<u8>, bool), JobError> {
    let mut contents = Contents::of(file.into_file(), packing.map(Into::into))?;
    let len = len.min(MAX_SAMPLE);
    let mut bytes = Vec::new();
    let mut taken = (&mut contents).take(len);
    loop {
        match taken.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_failure(&error)),
            Ok(_) => break,
        }
    }
    let whole = (bytes.len() as u64) < len;
    Ok((bytes, whole))
}

/// How a file is written, by its content.
fn syntax_of(bytes: &[u8]) -> Syntax {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match bytes.trim_ascii_start() {
        [b'<', ..] => Syntax::Xml,
        [b'{' | b'[', ..] => Syntax::Json,
        _ => Syntax::Csv { separator: 0 },
    }
}

/// The fields of separated values: their names, made different where they are not, and the types of what is below.
fn fields(dialect: Dialect, bytes: &[u8], whole: bool, no_header: bool) -> Result<Vec<(Path, Type)>, JobError> {
    let mut record = csv::Record::default();
    let mut names: Vec<String> = Vec::new();
    let mut types: Vec<Type> = Vec::new();
    let mut at = 0;
    if !no_header {
        let Some(next) = record.read(dialect, bytes, at, whole) else {
            let message = match whole {
                true => "has a quote in its first line that is not closed".to_owned(),
                false => format!("has no end of its first line in its first {} bytes", bytes.len()),
            };
            return Err(JobError::new(Cause::Damaged, message));
        };
        at = next;
        let mut used = HashMap::new();
        for index in 0..record.len() {
            let (text, _) = record.field(bytes, index);
            let name = String::from_utf8_lossy(text).into_owned();
            names.push(unused(if name.is_empty() { nth(index) } else { name }, &mut used));
        }
        types.resize(names.len(), Type::Empty);
    }
    while let Some(next) = record.read(dialect, bytes, at, whole) {
        if record.len() == 0 {
            break;
        }
        at = next;
        if no_header && names.len() < record.len() && record.len() <= MAX_COLUMNS {
            names.extend((names.len()..record.len()).map(nth));
            types.resize(names.len(), Type::Empty);
        }
        for (index, kind) in types.iter_mut().enumerate().take(record.len()) {
            let (text, quoted) = record.field(bytes, index);
            let read = Value::read(text).kind();
            *kind = kind.join(if quoted && read == Type::Empty { Type::Text } else { read });
        }
    }
    Ok(names.into_iter().zip(types).map(|(name, kind)| (vec![name], kind)).collect())
}

fn nth(index: usize) -> String {
    format!("column_{}", index + 1)
}

/// The name, with a number behind it if it is used.
fn unused(name: String, used: &mut HashMap<String, u32>) -> String {
    let mut candidate = name.clone();
    while used.contains_key(&candidate) {
        let count = used.entry(name.clone()).or_insert(1);
        *count += 1;
        candidate = format!("{name}_{count}");
    }
    used.insert(candidate.clone(), 1);
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_names_and_types() {
        let fields = |text: &str, no_header| {
            let found = fields(Dialect { separator: b',' }, text.as_bytes(), false, no_header)?;
            Ok::<_, JobError>(
                found.into_iter().map(|(path, kind)| format!("{}:{}", path[0], kind.name())).collect::<Vec<_>>(),
            )
        };
        let text = "a,,a,a_2,b,a\n1,2.5,true,2026-01-01,\"\",\n2,3,false,2026-01-01 10:00:00,,\n3,no,x,cut off";
        let expected = ["a:int", "column_2:float", "a_2:bool", "a_2_2:time", "b:text", "a_3:empty"];
        assert_eq!(fields(text, false).expect("fields"), expected);
        assert_eq!(fields("1,2\n3\n4,5,x\n", true).expect("fields"), ["column_1:int", "column_2:int", "column_3:text"]);
        assert_eq!(fields("", false).map_err(|error| error.cause), Err(Cause::Damaged));
    }

    #[test]
    fn the_way_of_writing_is_seen() {
        assert_eq!(syntax_of(b"\xef\xbb\xbf <a/>"), Syntax::Xml);
        assert_eq!(syntax_of(b"\n[1]"), Syntax::Json);
        assert_eq!(syntax_of(b"a,b"), Syntax::Csv { separator: 0 });
    }
}
