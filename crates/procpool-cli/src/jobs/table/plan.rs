//! What a worker is told: the columns, the way of writing, and which parts of which files to read.

use procpool::SharedFile;
use serde::{Deserialize, Serialize};

use super::records::{Misfit, Path};
use super::value::Type;
use crate::frame::failure::JobError;
use crate::frame::inputs::Stamp;
use crate::frame::reader::Packing;

/// The longest record, in bytes. What is longer is taken for a quote or a line that does not end.
pub(crate) const MAX_RECORD: usize = 16 << 20;
/// So many bytes show all marks that a text can begin with.
pub(crate) const HEAD: u64 = 4;
/// The most that is looked at of a file for its columns, in bytes: a sample is read as a whole.
pub(crate) const MAX_SAMPLE: u64 = 256 << 20;

/// What the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutFormat {
    /// Apache Parquet: whole numbers as packed differences, the rest compressed with Snappy.
    Parquet,
    /// The file format of Arrow's interprocess communication, also known as Feather 2.
    Arrow,
    /// Separated values, with a line of names.
    Csv,
    /// An object per line.
    Lines,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Syntax {
    /// Separated values.
    Csv {
        /// What separates them.
        separator: u8,
    },
    /// A JSON value per line.
    Lines,
    /// One or several JSON values.
    Json,
    /// XML.
    Xml,
}

/// One column of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Its name.
    pub name: String,
    /// Its type; text where nothing is known.
    pub kind: Type,
    /// Where its values are found.
    pub paths: Vec<Path>,
}

/// Files up to this length in bytes are sent as what they hold, since only so many open files can travel with a task.
pub(crate) const SMALL: u64 = 128 << 10;
/// How many open files may travel with a task. (The pool takes 32 descriptors, and may need one itself.)
pub(crate) const MAX_OPEN: usize = 28;

/// A file on its way to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    /// The open file.
    File(SharedFile),
    /// What it holds.
    Bytes(Vec<u8>),
}

/// What is the same for all groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The columns, that of the file names among them.
    pub columns: Vec<Column>,
    /// The column with the names of the files.
    pub source: Option<usize>,
    /// Where the records of JSON documents lie.
    pub json_path: Path,
    /// Which elements of XML are records.
    pub xml_pattern: String,
    /// Columns were picked, so what is in none of them is not wanted.
    pub picked: bool,
    /// The first line of separated values is a record.
    pub no_header: bool,
    /// The output.
    pub format: OutFormat,
    /// How much of a file, in bytes and unpacked, makes a group of rows.
    pub row_group: u64,
}

impl Spec {
    /// Up to this length in bytes a document of JSON or XML is read as a whole. No record of it can be too long, and it is no
    /// more than one group of rows, unless these are a few bytes.
    pub(crate) fn whole(&self) -> u64 {
        self.row_group.clamp(HEAD, MAX_RECORD as u64)
    }
}

/// A file, or what lies between two places of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The file.
    pub content: Content,
    /// What the column of file names says.
    pub name: String,
    /// How it is written.
    pub syntax: Syntax,
    /// How it is packed.
    pub packing: Option<Pack>,
    /// The column of each field of separated values.
    pub fields: Vec<Option<u32>>,
    /// The records that begin here or behind this byte are read ...
    pub from: u64,
    /// ... and before this one.
    pub to: u64,
    /// A record begins at `from`. Otherwise a place where one seems to begin is looked for.
    pub exact: bool,
    /// What the file was when it was looked at. If it is something else once it is read, it gives no records.
    pub stamp: Option<Stamp>,
}

/// [`Packing`], to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pack {
    /// See there.
    Gzip,
    /// See there.
    Zstd,
}

impl From<Packing> for Pack {
    fn from(packing: Packing) -> Pack {
        match packing {
            Packing::Gzip => Pack::Gzip,
            Packing::Zstd => Pack::Zstd,
        }
    }
}

impl From<Pack> for Packing {
    fn from(pack: Pack) -> Packing {
        match pack {
            Pack::Gzip => Packing::Gzip,
            Pack::Zstd => Packing::Zstd,
        }
    }
}

/// Several groups of parts; each group becomes a group of rows. Within a task the parts of one file follow each other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// What is the same for all.
    pub spec: Spec,
    /// The groups.
    pub groups: Vec<Vec<Part>>,
    /// An empty file for what cannot be returned at once, if there may be so much.
    pub scratch: Option<SharedFile>,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartMade {
    /// Where its first record begins; none if no place was found.
    pub began: Option<u64>,
    /// Where the first record behind it begins.
    pub next: u64,
    /// How many records it has.
    pub records: u64,
    /// Why it has given none.
    pub failed: Option<JobError>,
}

/// What became of a group of parts: mostly one group of rows, and several where a file has more than could be known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupMade {
    /// Its parts.
    pub parts: Vec<PartMade>,
    /// The groups of rows, in order.
    pub rows: Vec<RowsMade>,
}

/// A group of rows, ready to be written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RowsMade {
    /// How many rows it has.
    pub rows: u64,
    /// The bytes to be written.
    pub bytes: Held<Vec<u8>>,
    /// Where the columns lie in them, for Parquet.
    pub chunks: Vec<Chunk>,
    /// What is not in it. In the scratch file there is a line of JSON for each.
    pub misfits: Held<Vec<Misfit>>,
}

/// Something that was made, or where it lies.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Held<T> {
    /// This.
    Here(T),
    /// So many bytes of the scratch file.
    Scratch {
        /// From here on.
        at: u64,
        /// So many.
        len: u64,
    },
}

/// A column of a group of rows in Parquet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Where its first page lies in the bytes of the group.
    pub start: u64,
    /// Where its first page of data lies.
    pub data: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// How long it would be without compression.
    pub plain_len: u64,
    /// Which encodings it has, as Parquet numbers them.
    pub encodings: Vec<i32>,
    /// The smallest and the largest value, as Parquet writes them.
    pub range: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether these are values of the column, and not bounds cut off.
    pub exact: (bool, bool),
    /// How many values are missing.
    pub nulls: u64,
}
