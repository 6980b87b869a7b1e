//! Reads a part of a file into the columns of a group.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use super::columns::Columns;
use super::csv::{self, Dialect};
use super::json::{self, Scanner};
use super::plan::{Content, MAX_DOCUMENT, MAX_RECORD, Part, PartMade, Spec, Syntax};
use super::records::{Fill, Misfit, Tree};
use super::xml;
use crate::frame::failure::{Cause, JobError};
use crate::frame::names;
use crate::frame::reader::{Contents, read_failure};

/// How much is read beyond the end of a part at first, to find the end of its last record.
const BEYOND: u64 = 1 << 16;

/// A buffer that is larger than this is not kept for the next part.
const KEPT: usize = 64 << 20;

/// What the parts of a group share.
pub(crate) struct Reader<'a> {
    /// What to read.
    pub spec: &'a Spec,
    /// The names of the columns.
    pub names: Vec<String>,
    /// Where paths lead.
    pub tree: Tree,
    /// The bytes that are being read; kept for their memory.
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// A reader of records as `spec` says.
    pub(crate) fn new(spec: &'a Spec) -> Reader<'a> {
        let names = spec.columns.iter().map(|column| column.name.clone()).collect();
        let mut tree = Tree::new();
        for (number, column) in spec.columns.iter().enumerate() {
            for path in &column.paths {
                tree.lead(path, number);
            }
        }
        Reader { spec, names, tree, buffer: Vec::new() }
    }

    /// Reads a part. If that fails, the columns and misfits are as before.
    pub(crate) fn part(
        &mut self,
        number: u32,
        part: Part,
        columns: &mut Columns,
        misfits: &mut Vec<Misfit>,
    ) -> PartMade {
        let (rows, before) = (columns.rows(), misfits.len());
        let Part { name, syntax, fields, from, to, exact, packing, content } = part;
        let mut window =
            Window { buffer: std::mem::take(&mut self.buffer), filled: 0, base: from, ended: false, began: None };
        let mut fill = Fill::new(columns, misfits, &mut self.tree, &self.names, !self.spec.picked)
            .with_source(self.spec.source.map(|column| (column, name.as_str())));
        fill.part = number;
        let source = match (content, packing) {
            (Content::Bytes(bytes), _) => Ok(Source::Bytes(bytes)),
            (Content::File(file), None) => Ok(Source::Plain(file.into_file())),
            (Content::File(file), Some(packing)) => {
                Contents::of(file.into_file(), Some(packing.into())).map(Source::Packed)
            }
        };
        let read = source.and_then(|mut source| match syntax {
            Syntax::Csv { separator } => {
                let shape = Shape { dialect: Dialect { separator }, fields: &fields, from, to, exact };
                let header = from == 0 && !self.spec.no_header;
                window.csv(&mut source, &shape, header, &mut fill)
            }
            Syntax::Lines => window.lines(&mut source, from, to, exact, &mut fill),
            Syntax::Json => {
                window.whole(&mut source)?;
                let (text, base) = document(window.bytes())?;
                json::records(text, &self.spec.json_path, &mut fill).map_err(|wrong| not_json(&wrong, base))?;
                Ok(window.filled as u64)
            }
            Syntax::Xml => {
                fill.joint = "/";
                window.whole(&mut source)?;
                let (text, base) = document(window.bytes())?;
                let pattern = xml::Pattern::new(&self.spec.xml_pattern);
                xml::records(text, &pattern, &mut fill).map_err(|wrong| {
                    let message = format!("{} (at byte {})", names::show_message(&wrong.what), base + wrong.at as u64);
                    JobError::new(Cause::Damaged, message)
                })?;
                Ok(window.filled as u64)
            }
        });
        let records = fill.record;
        let began = window.began.or((from == 0).then_some(0));
        self.buffer = window.buffer;
        if self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
        match read {
            Ok(next) => PartMade { began, next, records, failed: None },
            Err(error) => {
                columns.truncate(rows);
                misfits.truncate(before);
                PartMade { began, next: from, records: 0, failed: Some(error) }
            }
        }
    }
}

/// Where the bytes come from.
enum Source {
    Bytes(Vec<u8>),
    Plain(File),
    Packed(Contents),
}

struct Shape<'a> {
    dialect: Dialect,
    fields: &'a [Option<u32>],
    from: u64,
    to: u64,
    exact: bool,
}

/// The bytes of a file from `base` on, as far as they have been read.
struct Window {
    /// Longer than what is filled of it: clearing it for every part costs as much as reading the part.
    buffer: Vec<u8>,
    filled: usize,
    base: u64,
    ended: bool,
    began: Option<u64>,
}

impl Window {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Reads on up to `len` bytes in all.
    fn read_to(&mut self, source: &mut Source, len: usize) -> Result<(), JobError> {
        while !self.ended && self.filled < len {
            if self.buffer.len() == self.filled {
                let more = self.filled.clamp(1 << 20, 16 << 20);
                self.buffer.resize(self.filled + more, 0);
            }
            let end = self.buffer.len().min(len);
            let room = &mut self.buffer[self.filled..end];
            let read = match source {
                Source::Bytes(bytes) => {
                    let from = usize::try_from(self.base).unwrap_or(usize::MAX).saturating_add(self.filled);
                    let piece = bytes.get(from..).unwrap_or_default();
                    let len = piece.len().min(room.len());
                    room[..len].copy_from_slice(&piece[..len]);
                    Ok(len)
                }
                Source::Plain(file) => file.read_at(room, self.base + self.filled as u64),
                Source::Packed(contents) => contents.read(room),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failure(&error)),
                Ok(read) => {
                    self.ended = read == 0;
                    self.filled += read;
                }
            }
        }
        Ok(())
    }

    /// Reads all of it.
    fn whole(&mut self, source: &mut Source) -> Result<(), JobError> {
        self.read_to(source, MAX_DOCUMENT as usize + 1)?;
        if self.filled as u64 > MAX_DOCUMENT {
            let message = format!("has more than {} MiB, which are read as a whole", MAX_DOCUMENT >> 20);
            return Err(JobError::new(Cause::TooLarge, message));
        }
        self.began = Some(self.base);
        Ok(())
    }

    /// Reads what is needed of a part that ends at `to`, and some more.
    fn begin(&mut self, source: &mut Source, from: u64, to: u64, exact: bool) -> Result<(), JobError> {
        if let Source::Packed(_) = source {
            return self.whole(source);
        }
        if !exact && from > 0 {
            // The line end that may stand right before the part.
            self.base = from - 1;
        }
        let len = to.saturating_sub(self.base).saturating_add(BEYOND);
        self.read_to(source, usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn more(&mut self, source: &mut Source, begun: usize) -> Result<(), JobError> {
        if self.filled - begun > MAX_RECORD {
            return Err(too_long(self.base + begun as u64));
        }
        self.read_to(source, self.filled + (self.filled - begun).max(1 << 20))
    }

    /// Reads separated values. Returns where the first record behind the part begins.
    fn csv(
        &mut self,
        source: &mut Source,
        shape: &Shape<'_>,
        header: bool,
        fill: &mut Fill<'_>,
    ) -> Result<u64, JobError> {
        self.begin(source, shape.from, shape.to, shape.exact)?;
        let mut at = match shape.exact || shape.from == 0 {
            true if shape.from == 0 && self.bytes().starts_with(b"\xef\xbb\xbf") => 3,
            true => 0,
            false => match csv::guess(shape.dialect, self.bytes(), shape.fields.len(), self.ended) {
                Some(begin) => begin,
                None => return Ok(shape.from),
            },
        };
        let begin = at;
        self.began = Some(if shape.from == 0 { 0 } else { self.base + begin as u64 });
        refuse_utf16(&self.bytes()[..self.filled.min(4)], shape.from)?;
        let mut record = csv::Record::default();
        let mut header = header;
        while header || self.base + (at as u64) < shape.to {
            let Some(next) = record.read(shape.dialect, self.bytes(), at, self.ended) else {
                if self.ended {
                    check(&self.bytes()[begin..], self.base + begin as u64)?;
                    let place = self.base + at as u64;
                    let message = format!("has a quote that is not closed, in the record at byte {place}");
                    return Err(JobError::new(Cause::Damaged, message));
                }
                self.more(source, at)?;
                continue;
            };
            if next - at > MAX_RECORD {
                return Err(too_long(self.base + at as u64));
            }
            at = next;
            if record.len() == 0 {
                break;
            }
            if header {
                header = false;
                continue;
            }
            take(&record, self.bytes(), shape.fields, fill);
            fill.end_record();
        }
        check(&self.bytes()[begin..at], self.base + begin as u64)?;
        Ok(self.base + at as u64)
    }

    /// Reads a JSON value per line. Returns where the first line behind the part begins.
    fn lines(
        &mut self,
        source: &mut Source,
        from: u64,
        to: u64,
        exact: bool,
        fill: &mut Fill<'_>,
    ) -> Result<u64, JobError> {
        self.begin(source, from, to, exact)?;
        let mut begin = 0;
        if from > 0 && !exact {
            // The line that began before the part may be a long one.
            begin = loop {
                match memchr::memchr(b'\n', self.bytes()) {
                    Some(end) => break end + 1,
                    None if self.ended => return Ok(from),
                    None => self.more(source, 0)?,
                }
            };
        }
        let begun = self.base + begin as u64;
        self.began = Some(begun);
        if from == 0 {
            refuse_utf16(&self.bytes()[..self.filled.min(4)], 0)?;
        }
        if begun >= to {
            return Ok(begun);
        }
        // The last line is the one that has the byte before the end of the part.
        let last = usize::try_from(to - 1 - self.base).unwrap_or(usize::MAX);
        let end = loop {
            let known = last.min(self.filled);
            match memchr::memchr(b'\n', &self.bytes()[known..]) {
                Some(end) => break known + end + 1,
                None if self.ended => break self.filled,
                None => {
                    let line = memchr::memrchr(b'\n', self.bytes()).map_or(begin, |end| end + 1);
                    self.more(source, line)?;
                }
            }
        };
        let text = check(&self.bytes()[begin..end], begun)?;
        let mut scanner = Scanner::new(text, if from == 0 && text.starts_with('\u{feff}') { 3 } else { 0 });
        while !scanner.is_at_end() {
            let line = scanner.at();
            json::record(&mut scanner, fill, 0).map_err(|wrong| not_json(&wrong, begun))?;
            if scanner.at() - line > MAX_RECORD {
                return Err(too_long(begun + line as u64));
            }
            if memchr::memchr(b'\n', &text.as_bytes()[line..scanner.at()]).is_some() || !scanner.ends_line() {
                let what = "has something else than one JSON value on a line";
                return Err(not_json(&json::Wrong { at: line, what }, begun));
            }
        }
        Ok(self.base + end as u64)
    }
}

/// Puts the fields of a record where they belong.
#[inline]
fn take(record: &csv::Record, bytes: &[u8], fields: &[Option<u32>], fill: &mut Fill<'_>) {
    for (index, column) in fields.iter().enumerate().take(record.len()) {
        let Some(column) = *column else { continue };
        let (text, quoted) = record.field(bytes, index);
        if fill.columns.text(column as usize, text, quoted).is_err() {
            fill.misfit(Some(column as usize), super::records::Why::Type, &String::from_utf8_lossy(text));
        }
    }
    if record.len() > fields.len() && fill.tell_unknown {
        for index in fields.len()..record.len() {
            let (text, _) = record.field(bytes, index);
            if !text.is_empty() {
                fill.misplaced(&format!("field {}", index + 1), &String::from_utf8_lossy(text));
            }
        }
    }
}

fn not_json(wrong: &json::Wrong, base: u64) -> JobError {
    JobError::new(Cause::Damaged, format!("{} (at byte {})", wrong.what, base + wrong.at as u64))
}

fn too_long(at: u64) -> JobError {
    let limit = MAX_RECORD >> 20;
    JobError::new(
        Cause::TooLarge,
        format!("has a record of more than {limit} MiB at byte {at}, or one that does not end"),
    )
}

/// The text of a whole file, and at which byte it begins.
fn document(bytes: &[u8]) -> Result<(&str, u64), JobError> {
    refuse_utf16(bytes, 0)?;
    let text = check(bytes, 0)?;
    Ok(text.strip_prefix('\u{feff}').map_or((text, 0), |text| (text, 3)))
}

/// The bytes as text, which they must be.
fn check(bytes: &[u8], base: u64) -> Result<&str, JobError> {
    if let Some(at) = memchr::memchr(0, bytes) {
        let message = format!("is not text: there is a NUL byte at byte {}", base + at as u64);
        return Err(JobError::new(Cause::NotUtf8, message));
    }
    if let Ok(text) = simdutf8::basic::from_utf8(bytes) {
        return Ok(text);
    }
    // The slower check says where.
    std::str::from_utf8(bytes).map_err(|error| {
        let at = base + error.valid_up_to() as u64;
        JobError::new(Cause::NotUtf8, format!("is not UTF-8 text (first at byte {at})"))
    })
}

/// Refuses what begins with the mark of UTF-16 or UTF-32.
pub(crate) fn refuse_utf16(bytes: &[u8], base: u64) -> Result<(), JobError> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if base == 0 => {
            Err(JobError::new(Cause::NotUtf8, "is written in UTF-16, which is not read; convert it to UTF-8"))
        }
        _ => Ok(()),
    }
}
