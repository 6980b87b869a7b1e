//! Reads a part of a file into the columns of a group.

use super::build::Build;
use super::csv::{self, Dialect};
use super::json::{self, Scanner};
use super::plan::{Content, MAX_RECORD, Part, PartMade, Spec, Syntax};
use super::records::{Fill, Tree, Why};
use super::window::{STEP, Source, Window, check, refuse_utf16, text, too_long};
use super::{document, feed};
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::Stamp;
use crate::frame::reader::Contents;

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
    /// How much is read at once of what is read piece by piece.
    pub step: usize,
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
        Reader { spec, names, tree, buffer: Vec::new(), step: STEP }
    }

    /// Reads a part. If what is in it cannot be read, what was built is as before. The error is of the whole task.
    pub(crate) fn part(&mut self, number: u32, part: Part, build: &mut Build) -> Result<PartMade, JobError> {
        let Part { name, syntax, fields, from, to, exact, packing, content, stamp } = part;
        build.begin_part();
        let mut window = Window::new(std::mem::take(&mut self.buffer), from, self.step);
        window.in_order = packing.is_some();
        let mut fill = Fill::new(build, &mut self.tree, &self.names, !self.spec.picked)
            .with_source(self.spec.source.map(|column| (column, name.as_str())));
        fill.part = number;
        let mut witness = None;
        let source = match content {
            Content::Bytes(bytes) => Ok(Source::Bytes(bytes)),
            Content::File(file) => {
                witness = file.try_clone().ok();
                match packing {
                    None => Ok(Source::Plain(file.into_file())),
                    Some(packing) => Contents::of(file.into_file(), Some(packing.into())).map(Source::Packed),
                }
            }
        };
        let read = source.and_then(|mut source| match syntax {
            Syntax::Csv { separator } => {
                let shape = Shape { dialect: Dialect { separator }, fields: &fields, from, to, exact };
                let header = from == 0 && !self.spec.no_header;
                window.csv(&mut source, &shape, header, &mut fill)
            }
            Syntax::Lines if packing.is_some() => window.all_lines(&mut source, &mut fill),
            Syntax::Lines => window.lines(&mut source, from, to, exact, &mut fill),
            Syntax::Json => document::json(&mut window, &mut source, self.spec, &mut fill),
            Syntax::Xml => {
                fill.joint = "/";
                document::xml(&mut window, &mut source, self.spec, &mut fill)
            }
        });
        let is_now = witness.and_then(|file| file.file().metadata().ok()).map(|found| Stamp::of(&found));
        let read = match (stamp, is_now) {
            (Some(then), Some(now)) if then != now => Err(feed::changed()),
            _ => read,
        };
        let records = fill.record;
        let began = window.began.or((from == 0).then_some(0));
        self.buffer = window.into_buffer();
        if self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
        let read = read.and_then(|next| build.end_part(Some(next)).map(|()| next));
        match read {
            Ok(next) => Ok(PartMade { began, next, records, failed: None }),
            Err(error) => {
                build.end_part(None)?;
                Ok(PartMade { began, next: from, records: 0, failed: Some(error) })
            }
        }
    }
}

struct Shape<'a> {
    dialect: Dialect,
    fields: &'a [Option<u32>],
    from: u64,
    to: u64,
    exact: bool,
}

/// Lines and separated values.
impl Window {
    /// Reads what is needed of a part that ends at `to`, and some more.
    fn begin(&mut self, source: &mut Source, from: u64, to: u64, exact: bool) -> Result<(), JobError> {
        if self.in_order {
            return self.head(source);
        }
        if !exact && from > 0 {
            // The line end that may stand right before the part.
            self.base = from - 1;
        }
        let len = to.saturating_sub(self.base).saturating_add(BEYOND);
        self.read_to(source, usize::try_from(len).unwrap_or(usize::MAX))
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
        let mut begin = at;
        self.began = Some(if shape.from == 0 { 0 } else { self.base + begin as u64 });
        refuse_utf16(self.bytes(), shape.from)?;
        let mut record = csv::Record::default();
        let mut header = header;
        while header || self.base + (at as u64) < shape.to {
            if self.in_order && !header {
                fill.build.before_record(self.base + at as u64)?;
            }
            let Some(next) = record.read(shape.dialect, self.bytes(), at, self.ended) else {
                if self.ended {
                    check(&self.bytes()[begin..], self.base + begin as u64)?;
                    let place = self.base + at as u64;
                    let message = format!("has a quote that is not closed, in the record at byte {place}");
                    return Err(JobError::new(Cause::Damaged, message));
                }
                if self.in_order {
                    check(&self.bytes()[begin..at], self.base + begin as u64)?;
                    self.drop_before(at);
                    (begin, at) = (0, 0);
                }
                self.more(source, at)?;
                continue;
            };
            if next - at > MAX_RECORD {
                check(&self.bytes()[begin..at], self.base + begin as u64)?;
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
            refuse_utf16(self.bytes(), 0)?;
        }
        if begun >= to {
            return Ok(begun);
        }
        // The last line is the one that has the byte before the end of the part.
        let last = usize::try_from(to - 1 - self.base).unwrap_or(usize::MAX);
        let end = loop {
            let known = last.min(self.bytes().len());
            match memchr::memchr(b'\n', &self.bytes()[known..]) {
                Some(end) => break known + end + 1,
                None if self.ended => break self.bytes().len(),
                None => {
                    let line = memchr::memrchr(b'\n', self.bytes()).map_or(begin, |end| end + 1);
                    self.more(source, line)?;
                }
            }
        };
        let text = check(&self.bytes()[begin..end], begun)?;
        let start = if from == 0 && text.starts_with('\u{feff}') { 3 } else { 0 };
        json_lines(text, start, begun, false, fill)?;
        Ok(self.base + end as u64)
    }

    /// Reads a JSON value per line from the start of what can be read in order only, and returns its length.
    fn all_lines(&mut self, source: &mut Source, fill: &mut Fill<'_>) -> Result<u64, JobError> {
        self.began = Some(0);
        self.head(source)?;
        refuse_utf16(self.bytes(), 0)?;
        let mut start = if self.bytes().starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        loop {
            let end = match memchr::memrchr(b'\n', self.bytes()) {
                _ if self.ended => self.bytes().len(),
                Some(end) => end + 1,
                None => {
                    self.more(source, 0)?;
                    continue;
                }
            };
            let (good, wrong) = text(&self.bytes()[..end], self.base);
            // The first thing that is wrong is told, wherever the pieces end: the lines before it are read.
            let lines = if wrong.is_none() { good } else { &good[..good.rfind('\n').map_or(0, |end| end + 1)] };
            json_lines(lines, start.min(lines.len()), self.base, true, fill)?;
            if let Some(wrong) = wrong {
                return Err(wrong);
            }
            self.drop_before(end);
            start = 0;
            if self.ended {
                return Ok(self.base);
            }
            self.more(source, 0)?;
        }
    }
}

/// Reads a JSON value per line, from `start` on. The text begins at byte `base` of the file.
fn json_lines(text: &str, start: usize, base: u64, packed: bool, fill: &mut Fill<'_>) -> Result<(), JobError> {
    let mut scanner = Scanner::new(text, start);
    while !scanner.is_at_end() {
        let line = scanner.at();
        if packed {
            fill.build.before_record(base + line as u64)?;
        }
        json::record(&mut scanner, fill, 0).map_err(|wrong| not_json(&wrong, base))?;
        if scanner.at() - line > MAX_RECORD {
            return Err(too_long(base + line as u64));
        }
        if memchr::memchr(b'\n', &text.as_bytes()[line..scanner.at()]).is_some() || !scanner.ends_line() {
            let what = "has something else than one JSON value on a line";
            return Err(not_json(&json::Wrong { at: line, what }, base));
        }
    }
    Ok(())
}

/// Puts the fields of a record where they belong.
#[inline]
fn take(record: &csv::Record, bytes: &[u8], fields: &[Option<u32>], fill: &mut Fill<'_>) {
    for (index, column) in fields.iter().enumerate().take(record.len()) {
        let Some(column) = *column else { continue };
        let (text, quoted) = record.field(bytes, index);
        if fill.build.columns.text(column as usize, text, quoted).is_err() {
            fill.misfit(Some(column as usize), Why::Type, &String::from_utf8_lossy(text));
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

/// The failure of a file that is not JSON, whose text begins at byte `base`.
pub(crate) fn not_json(wrong: &json::Wrong, base: u64) -> JobError {
    JobError::new(Cause::Damaged, format!("{} (at byte {})", wrong.what, base + wrong.at as u64))
}
