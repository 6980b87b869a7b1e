//! `procpool count`: bytes, lines, words and characters of every file, as `wc` counts them.

mod classes;
mod tally;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use encoding_rs::{DecoderResult, Encoding};
use procpool::SharedFile;
use serde::{Deserialize, Serialize};

use crate::frame::blocks::Blocks;
use crate::frame::exit;
use crate::frame::failure::{Cause, JobError};
use crate::frame::inputs::{self, Input, Search};
use crate::frame::names;
use crate::frame::pieces::Piece;
use crate::frame::reader::{Packing, TextPlan, without_packing};
use crate::frame::record::Record;
use crate::frame::report::{SAYS_THE_LOG, Words};
use crate::frame::run::{Context, Item, Job, run};

use tally::{Counts, Tally};

/// Bytes that a worker reads at a time: they stay in its cache between reading and counting.
const BLOCK: usize = 1 << 18;

/// One of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Line feeds.
    Lines,
    /// Words.
    Words,
    /// Characters.
    Characters,
    /// Bytes.
    Bytes,
}

impl Figure {
    /// All of them, in the order of `wc`.
    pub(crate) const ALL: [Figure; 4] = [Figure::Lines, Figure::Words, Figure::Characters, Figure::Bytes];

    fn name(self) -> &'static str {
        match self {
            Figure::Lines => "lines",
            Figure::Words => "words",
            Figure::Characters => "characters",
            Figure::Bytes => "bytes",
        }
    }

    fn of(self, counts: Counts) -> u64 {
        match self {
            Figure::Lines => counts.lines,
            Figure::Words => counts.words,
            Figure::Characters => counts.characters,
            Figure::Bytes => counts.bytes,
        }
    }
}

/// What to count, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CountPlan {
    /// Files, folders and patterns.
    pub inputs: Vec<PathBuf>,
    /// Look into sub-folders too.
    pub recursive: bool,
    /// How files are read.
    pub text: TextPlan,
    /// The figures to show.
    pub figures: Vec<Figure>,
    /// Show which workers counted each file.
    pub pids: bool,
    /// Sum up by extension too.
    pub by_extension: bool,
    /// What characters are.
    pub settings: Settings,
}

/// What characters are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The encoding of the files, if it is not UTF-8.
    #[serde(with = "encoding_name")]
    pub encoding: Option<&'static Encoding>,
    /// Files that are not in that encoding fail.
    pub strict: bool,
    /// A carriage return and a line feed are one character.
    pub universal_newlines: bool,
}

impl Settings {
    /// Whether a line feed is one byte that is part of nothing else, so that a file can be cut there.
    fn can_be_cut(&self) -> bool {
        self.encoding.is_none_or(Encoding::is_ascii_compatible)
    }
}

/// Encodings travel by name.
mod encoding_name {
    use encoding_rs::Encoding;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(encoding: &Option<&'static Encoding>, to: S) -> Result<S::Ok, S::Error> {
        encoding.map(Encoding::name).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'static Encoding>, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        Ok(name.and_then(|name| Encoding::for_label(name.as_bytes())))
    }
}

/// What is to be done with one file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilePlan {
    packing: Option<Packing>,
    piece_len: Option<u64>,
    settings: Settings,
}

/// A piece of a file to count.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CountTask {
    file: SharedFile,
    piece: Piece,
    packing: Option<Packing>,
    settings: Settings,
}

/// A file counted, or a piece of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CountDone {
    counts: Counts,
    /// The byte that is the first of those that are no part of a character.
    first_invalid: Option<u64>,
    /// Who counted, sorted.
    pids: Vec<u32>,
}

/// Runs the job and returns the exit code.
pub(crate) fn count(context: &Context, plan: &CountPlan) -> u8 {
    let search = Search { inputs: &plan.inputs, recursive: plan.recursive, take: &|_| true, skip: None };
    let found = inputs::find(&search);
    if super::nothing_found(&found, &plan.inputs, "files", plan.recursive) {
        return exit::USAGE;
    }
    let text = &plan.text;
    let file_plan = |path: &Path| {
        let packing = text.packing(path);
        let piece_len = text.piece_len(packing).filter(|_| plan.settings.can_be_cut());
        FilePlan { packing, piece_len, settings: plan.settings }
    };
    // No figure of a file is larger than its length, unless it is packed: then there is room for some more digits.
    let most = |input: &Input| if text.packing(&input.path).is_some() { input.len * 10 } else { input.len };
    let bytes: u64 = found.iter().flatten().map(most).sum();
    let item = |found: inputs::Found| match found {
        Ok(Input { path, .. }) => Item { plan: Ok(file_plan(&path)), path },
        Err((path, error)) => Item { path, plan: Err(error) },
    };
    let job = Count {
        figures: plan.figures.clone(),
        pids: plan.pids,
        extensions: plan.by_extension.then(BTreeMap::new),
        settings: plan.settings,
        digits: bytes.to_string().len(),
        has_head: plan.figures.len() < 2,
        total: Counts::default(),
        files: 0,
    };
    run(context, job, count_piece, found.into_iter().map(item).collect(), 0)
}

/// What a worker does with a piece of a file.
fn count_piece(task: CountTask) -> Result<CountDone, JobError> {
    let settings = task.settings;
    let mut blocks = Blocks::new(task.file.into_file(), task.packing, task.piece, BLOCK)?;
    let mut tally = Tally::default();
    let mut begin = None;
    let mut take = |text: &[u8]| {
        tally.take(text);
        if settings.universal_newlines {
            tally.take_line_end_pairs(text);
        }
    };
    let mut decoded = settings.encoding.map(Decoded::new);
    while let Some(place) = blocks.advance()? {
        begin.get_or_insert(place);
        let block = blocks.block();
        match &mut decoded {
            None => take(block.bytes),
            Some(decoded) => decoded.decode(block.bytes, false, &mut take),
        }
    }
    if let Some(decoded) = &mut decoded {
        decoded.decode(&[], true, &mut take);
    }
    let (mut counts, mut first_invalid) = tally.finish();
    if let Some(decoded) = decoded {
        counts.bytes = decoded.read;
        first_invalid = decoded.first_invalid;
    }
    let first_invalid = first_invalid.map(|at| begin.unwrap_or_default() + at);
    Ok(CountDone { counts, first_invalid, pids: vec![std::process::id()] })
}

/// A text in another encoding on its way to UTF-8. What cannot be decoded is left out.
struct Decoded {
    decoder: encoding_rs::Decoder,
    text: Vec<u8>,
    /// Bytes of the text so far.
    read: u64,
    first_invalid: Option<u64>,
}

impl Decoded {
    fn new(encoding: &'static Encoding) -> Decoded {
        // A byte order mark says which UTF-16 it is; in the middle of other texts, where a piece may begin, it says nothing.
        let decoder = match encoding.is_ascii_compatible() {
            true => encoding.new_decoder_without_bom_handling(),
            false => encoding.new_decoder(),
        };
        Decoded { decoder, text: vec![0; BLOCK], read: 0, first_invalid: None }
    }

    fn decode(&mut self, mut bytes: &[u8], is_last: bool, mut take: impl FnMut(&[u8])) {
        loop {
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.text, is_last);
            take(&self.text[..written]);
            self.read += read as u64;
            bytes = &bytes[read..];
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(bad, after) => {
                    self.first_invalid.get_or_insert(self.read.saturating_sub(u64::from(bad) + u64::from(after)));
                }
            }
        }
    }
}

struct Count {
    figures: Vec<Figure>,
    pids: bool,
    extensions: Option<BTreeMap<String, (u64, Counts)>>,
    settings: Settings,
    /// How many digits the largest figure may have.
    digits: usize,
    /// The line with the names of the figures is printed, or not needed.
    has_head: bool,
    total: Counts,
    files: u64,
}

impl Count {
    fn width(&self, figure: Figure) -> usize {
        if self.figures.len() < 2 { self.digits } else { self.digits.max(figure.name().len()) }
    }

    fn columns(&self, cell: impl Fn(Figure) -> String, pids: &str, name: &str) -> String {
        let mut line = String::new();
        for &figure in &self.figures {
            let width = self.width(figure);
            line += &format!("{:>width$}  ", cell(figure));
        }
        if self.pids {
            line += &format!("{pids:>7}  ");
        }
        line + name
    }

    fn line(&mut self, counts: Counts, pids: &str, name: &str) -> String {
        let line = self.columns(|figure| figure.of(counts).to_string(), pids, name);
        if self.has_head {
            return line;
        }
        self.has_head = true;
        format!("{}\n{line}", self.columns(|figure| figure.name().into(), if self.pids { "pid" } else { "" }, "file"))
    }

    fn note_extension(&mut self, input: &Path, counts: Counts) {
        if let Some(extensions) = &mut self.extensions {
            let extension = without_packing(input).extension();
            let name = extension.map(|extension| format!(".{}", names::show(Path::new(extension))));
            let (files, all) = extensions.entry(name.unwrap_or_default()).or_default();
            *files += 1;
            all.add(counts);
        }
    }
}

fn record_of(counts: Counts) -> Record {
    Figure::ALL.into_iter().fold(Record::default(), |record, figure| record.with(figure.name(), figure.of(counts)))
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

impl Job for Count {
    type Plan = FilePlan;
    type Task = CountTask;
    type Made = CountDone;
    type Done = CountDone;

    fn task(file: SharedFile, plan: &FilePlan) -> CountTask {
        Self::piece(file, plan, Piece::WHOLE)
    }

    fn piece_len(plan: &FilePlan) -> Option<u64> {
        plan.piece_len
    }

    fn piece(file: SharedFile, plan: &FilePlan, piece: Piece) -> CountTask {
        CountTask { file, piece, packing: plan.packing, settings: plan.settings }
    }

    fn join(made: &mut CountDone, other: CountDone) {
        made.counts.add(other.counts);
        made.first_invalid = made.first_invalid.into_iter().chain(other.first_invalid).min();
        made.pids.extend(other.pids);
        made.pids.sort_unstable();
        made.pids.dedup();
    }

    fn keep(plan: &FilePlan, made: CountDone) -> Result<CountDone, JobError> {
        match made.first_invalid {
            Some(at) if plan.settings.strict => {
                let encoding = plan.settings.encoding.map_or("UTF-8", Encoding::name);
                Err(JobError::new(Cause::NotUtf8, format!("is not {encoding} text (first at byte {at})")))
            }
            _ => Ok(made),
        }
    }

    fn words(&self) -> Words {
        Words {
            job: "count",
            one: "file",
            many: "files",
            done: "counted",
            unchanged: SAYS_THE_LOG,
            lines_are_results: true,
            place: None,
        }
    }

    fn options(&self) -> Record {
        Record::default().with("text", serde_json::to_value(self.settings).unwrap_or_default())
    }

    fn done(&mut self, input: &Path, _: &FilePlan, done: &CountDone) -> (String, Record) {
        self.total.add(done.counts);
        self.files += 1;
        self.note_extension(input, done.counts);
        let mut record = record_of(done.counts).with_known("first_invalid", done.first_invalid);
        if self.pids {
            // One for nearly all files.
            record = match done.pids[..] {
                [pid] => record.with("pid", pid),
                _ => record.with("pids", done.pids.clone()),
            };
        }
        let pids: Vec<String> = done.pids.iter().map(u32::to_string).collect();
        (self.line(done.counts, &pids.join(","), &names::show(input)), record)
    }

    fn failed(&mut self, input: &Path, _: &JobError) -> Option<String> {
        self.files += 1;
        self.note_extension(input, Counts::default());
        Some(self.line(Counts::default(), "-", &names::show(input)))
    }

    fn total(&self) -> Option<(String, Record)> {
        let show = |counts: Counts, name: &str| self.columns(|figure| figure.of(counts).to_string(), "", name);
        let mut lines = Vec::new();
        let mut record = record_of(self.total);
        if let Some(extensions) = &self.extensions {
            let name =
                |extension: &str| if extension.is_empty() { "(no extension)".into() } else { extension.to_owned() };
            lines.extend(extensions.iter().map(|(extension, &(count, counts))| {
                show(counts, &format!("{} in {}", name(extension), files(count)))
            }));
            let objects = extensions.iter().map(|(extension, &(count, counts))| {
                Record::default().with("extension", extension.as_str()).with("files", count).and(record_of(counts))
            });
            record = record.with("by_extension", serde_json::json!(objects.collect::<Vec<_>>()));
        }
        lines.push(show(self.total, &format!("total of {}", files(self.files))));
        Some((lines.join("\n"), record))
    }
}
