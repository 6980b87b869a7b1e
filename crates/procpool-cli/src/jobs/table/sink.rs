//! Puts the groups of rows that workers have made one behind the other, and what makes a file of them around it.
//!
//! What workers say of their bytes is checked before it is written down; the bytes themselves are theirs.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::writer::StreamEncoder;
use arrow_ipc::{Block, FooterBuilder, MetadataVersion};
use arrow_schema::SchemaRef;
use flatbuffers::FlatBufferBuilder;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use rustix::io::Errno;

use super::encode::{BOUND, schema, write_field};
use super::plan::{Chunk, Held, OutFormat, RowsMade, Spec};

/// The first and last bytes of a Parquet file.
const PARQUET_MAGIC: &[u8; 4] = b"PAR1";
/// The first and last bytes of a file of Arrow's.
const ARROW_MAGIC: &[u8; 6] = b"ARROW1";

/// No group has more rows, and no column of it more bytes: so sums of them are numbers.
const MOST: u64 = 1 << 40;

/// Why a group of rows was not appended.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// What a worker has made is no part of the output. Nothing was written of it.
    Refused,
    /// The output cannot be written.
    Failed(io::Error),
}

/// What is known of the groups so far.
enum Kind {
    Parquet { schema: Arc<SchemaDescriptor>, groups: Vec<RowGroupMetaData> },
    Arrow { schema: SchemaRef, blocks: Vec<Block> },
    Text,
}

/// A file that is being written.
pub(crate) struct Sink<'a> {
    file: &'a File,
    at: u64,
    rows: u64,
    kind: Kind,
}

/// A place in the output to which it can be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: u64,
    rows: u64,
    groups: usize,
}

fn refused(what: &str) -> io::Error {
    io::Error::other(format!("a worker has made what is no part of the output: {what}"))
}

fn library(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl<'a> Sink<'a> {
    /// Begins the output in an empty file.
    pub(crate) fn begin(file: &'a File, spec: &Spec) -> io::Result<Sink<'a>> {
        let schema = schema(spec);
        let mut sink = Sink { file, at: 0, rows: 0, kind: Kind::Text };
        match spec.format {
            OutFormat::Parquet => {
                let schema = ArrowSchemaConverter::new().convert(&schema).map_err(library)?;
                sink.put(PARQUET_MAGIC)?;
                sink.kind = Kind::Parquet { schema: Arc::new(schema), groups: Vec::new() };
            }
            OutFormat::Arrow => {
                // Padded to eight bytes, as everything that follows is.
                sink.put(ARROW_MAGIC)?;
                sink.put(&[0; 2])?;
                let encoder = StreamEncoder::try_new(&schema).map_err(library)?;
                let buffers = encoder.finish().map_err(library)?;
                let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
                // The schema, without the end of the stream.
                bytes.truncate(bytes.len().saturating_sub(ARROW_END.len()));
                sink.put(&bytes)?;
                sink.kind = Kind::Arrow { schema, blocks: Vec::new() };
            }
            OutFormat::Csv => {
                let mut header = Vec::new();
                for (number, column) in spec.columns.iter().enumerate() {
                    if number > 0 {
                        header.push(b',');
                    }
                    write_field(&mut header, column.name.as_bytes());
                }
                header.push(b'\n');
                sink.put(&header)?;
            }
            OutFormat::Lines => {}
        }
        Ok(sink)
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Appends a group of rows, parts of which may lie in the file that its worker was given.
    pub(crate) fn push(&mut self, made: &RowsMade, scratch: Option<&File>) -> Result<(), NotTaken> {
        if made.rows == 0 {
            return Ok(());
        }
        let bytes = Bytes::of(&made.bytes, scratch).map_err(|_| NotTaken::Refused)?;
        self.note(made, &bytes).map_err(|_| NotTaken::Refused)?;
        self.rows = self.rows.saturating_add(made.rows);
        let put = match bytes {
            Bytes::Here(bytes) => self.put(bytes),
            Bytes::File { file, at, len } => self.copy(file, at, len),
        };
        put.map_err(NotTaken::Failed)
    }

    /// Notes where a group of rows lies that is about to be appended.
    fn note(&mut self, made: &RowsMade, bytes: &Bytes<'_>) -> io::Result<()> {
        if made.rows > MOST {
            return Err(refused("too many rows"));
        }
        let at = self.at;
        match &mut self.kind {
            Kind::Parquet { schema, groups } => {
                let group = row_group(schema, groups.len(), at, made, bytes.len())?;
                groups.push(group);
            }
            Kind::Arrow { blocks, .. } => blocks.push(block(at, &bytes.head()?, bytes.len())?),
            Kind::Text => {}
        }
        Ok(())
    }

    /// Appends what lies in another file, if the file system can without reading it.
    fn copy(&mut self, from: &File, at: u64, len: u64) -> io::Result<()> {
        let (mut here, end) = (at, at + len);
        while here < end {
            let most = usize::try_from(end - here).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut here), self.file, None, most) {
                Ok(0) => return Err(io::Error::other("what a worker has kept for a while is gone")),
                Ok(copied) => self.at += copied as u64,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut piece = vec![0; usize::try_from(end - here).unwrap_or(usize::MAX).min(1 << 20)];
        while here < end {
            let most = usize::try_from(end - here).unwrap_or(usize::MAX).min(piece.len());
            from.read_exact_at(&mut piece[..most], here)?;
            self.put(&piece[..most])?;
            here += most as u64;
        }
        Ok(())
    }

    /// The present place.
    pub(crate) fn mark(&self) -> Mark {
        let groups = match &self.kind {
            Kind::Parquet { groups, .. } => groups.len(),
            Kind::Arrow { blocks, .. } => blocks.len(),
            Kind::Text => 0,
        };
        Mark { at: self.at, rows: self.rows, groups }
    }

    /// Takes back what was appended after `mark`.
    pub(crate) fn back_to(&mut self, mark: Mark) -> io::Result<()> {
        self.file.set_len(mark.at)?;
        self.file.seek(SeekFrom::Start(mark.at))?;
        (self.at, self.rows) = (mark.at, mark.rows);
        match &mut self.kind {
            Kind::Parquet { groups, .. } => groups.truncate(mark.groups),
            Kind::Arrow { blocks, .. } => blocks.truncate(mark.groups),
            Kind::Text => {}
        }
        Ok(())
    }

    /// Makes the output whole.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let rows = self.rows;
        match &mut self.kind {
            Kind::Parquet { schema, groups } => {
                let created_by = concat!("procpool ", env!("CARGO_PKG_VERSION")).to_owned();
                let file = FileMetaData::new(1, rows as i64, Some(created_by), None, Arc::clone(schema), None);
                let metadata = ParquetMetaData::new(file, std::mem::take(groups));
                let mut footer = Vec::new();
                ParquetMetaDataWriter::new(&mut footer, &metadata).finish().map_err(library)?;
                self.put(&footer)
            }
            Kind::Arrow { schema, blocks } => {
                let mut builder = FlatBufferBuilder::new();
                let dictionaries = builder.create_vector::<Block>(&[]);
                let batches = builder.create_vector(blocks);
                let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, schema);
                let mut footer = FooterBuilder::new(&mut builder);
                footer.add_version(MetadataVersion::V5);
                footer.add_schema(schema);
                footer.add_dictionaries(dictionaries);
                footer.add_recordBatches(batches);
                let root = footer.finish();
                builder.finish(root, None);
                let footer = builder.finished_data().to_vec();
                self.put(&ARROW_END)?;
                self.put(&footer)?;
                self.put(&(footer.len() as i32).to_le_bytes())?;
                self.put(ARROW_MAGIC)
            }
            Kind::Text => Ok(()),
        }
    }
}

/// The end of a stream of messages: the mark of a message, and no length.
const ARROW_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// The bytes of a group of rows.
enum Bytes<'a> {
    Here(&'a [u8]),
    File { file: &'a File, at: u64, len: u64 },
}

impl<'a> Bytes<'a> {
    /// Bytes that are there, or lie in a file that has so many.
    fn of(held: &'a Held<Vec<u8>>, scratch: Option<&'a File>) -> io::Result<Bytes<'a>> {
        match (held, scratch) {
            (Held::Here(bytes), _) => Ok(Bytes::Here(bytes)),
            (&Held::Scratch { at, len }, Some(file)) => {
                let there = file.metadata()?.len();
                let fits = at.checked_add(len).is_some_and(|end| end <= there) && len <= MOST;
                if fits { Ok(Bytes::File { file, at, len }) } else { Err(refused("a place where nothing is")) }
            }
            (Held::Scratch { .. }, None) => Err(refused("a place in no file")),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Bytes::Here(bytes) => bytes.len() as u64,
            Bytes::File { len, .. } => *len,
        }
    }

    fn head(&self) -> io::Result<[u8; 8]> {
        let mut head = [0; 8];
        match self {
            Bytes::Here(bytes) => head = *bytes.first_chunk().ok_or_else(|| refused("no message"))?,
            Bytes::File { file, at, len } if *len >= 8 => file.read_exact_at(&mut head, *at)?,
            Bytes::File { .. } => return Err(refused("no message")),
        }
        Ok(head)
    }
}

/// Where a message of `len` bytes lies: how long its head is, is in the four bytes behind the mark.
fn block(at: u64, head: &[u8; 8], len: u64) -> io::Result<Block> {
    let &[0xff, 0xff, 0xff, 0xff, a, b, c, d] = head else {
        return Err(refused("no message"));
    };
    let metadata = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    let body = len.checked_sub(metadata).filter(|_| metadata % 8 == 0 && len.is_multiple_of(8));
    let body = body.ok_or_else(|| refused("a message of another length"))?;
    Ok(Block::new(at as i64, metadata as i32, body as i64))
}

fn row_group(
    schema: &Arc<SchemaDescriptor>,
    number: usize,
    at: u64,
    group: &RowsMade,
    len: u64,
) -> io::Result<RowGroupMetaData> {
    if group.chunks.len() != schema.num_columns() {
        return Err(refused("another number of columns"));
    }
    let columns = group.chunks.iter().zip(schema.columns()).map(|(chunk, column)| {
        let fits = chunk.start.checked_add(chunk.len).is_some_and(|end| end <= len)
            && (chunk.start..chunk.start + chunk.len).contains(&chunk.data)
            && chunk.nulls <= group.rows
            && chunk.plain_len <= MOST;
        if fits { column_chunk(column, at, chunk, group.rows) } else { Err(refused("a column of another length")) }
    });
    let columns: Vec<ColumnChunkMetaData> = columns.collect::<io::Result<_>>()?;
    RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(group.rows as i64)
        .set_total_byte_size(columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
        .set_ordinal(i32::try_from(number).map_err(|_| refused("too many groups"))?)
        .set_file_offset(at as i64)
        .set_column_metadata(columns)
        .build()
        .map_err(library)
}

fn column_chunk(column: &ColumnDescPtr, at: u64, chunk: &Chunk, rows: u64) -> io::Result<ColumnChunkMetaData> {
    let encoding = |&number: &i32| match number {
        0 => Ok(Encoding::PLAIN),
        3 => Ok(Encoding::RLE),
        5 => Ok(Encoding::DELTA_BINARY_PACKED),
        8 => Ok(Encoding::RLE_DICTIONARY),
        _ => Err(refused("an encoding that is not used")),
    };
    let encodings = chunk.encodings.iter().map(encoding).collect::<io::Result<Vec<_>>>()?;
    let dictionary = (chunk.start < chunk.data).then_some((at + chunk.start) as i64);
    let builder = ColumnChunkMetaData::builder(Arc::clone(column))
        .set_encodings(encodings)
        .set_num_values(rows as i64)
        .set_compression(match column.physical_type() {
            Physical::INT32 | Physical::INT64 => Compression::UNCOMPRESSED,
            _ => Compression::SNAPPY,
        })
        .set_total_compressed_size(chunk.len as i64)
        .set_total_uncompressed_size(chunk.plain_len as i64)
        .set_dictionary_page_offset(dictionary)
        .set_data_page_offset((at + chunk.data) as i64)
        .set_statistics(statistics(column.physical_type(), chunk)?);
    builder.build().map_err(library)
}

fn statistics(physical: Physical, chunk: &Chunk) -> io::Result<Statistics> {
    let (min, max) = chunk.range.as_ref().map(|(min, max)| (min.as_slice(), max.as_slice())).unzip();
    let nulls = Some(chunk.nulls);
    fn read<T, const N: usize>(bytes: Option<&[u8]>, read: fn([u8; N]) -> T) -> io::Result<Option<T>> {
        let value = bytes.map(|bytes| bytes.try_into().map(read)).transpose();
        value.map_err(|_| refused("a bound of another length"))
    }
    Ok(match physical {
        Physical::BOOLEAN => {
            let bool = |[byte]: [u8; 1]| byte != 0;
            Statistics::boolean(read(min, bool)?, read(max, bool)?, None, nulls, false)
        }
        Physical::INT32 => {
            Statistics::int32(read(min, i32::from_le_bytes)?, read(max, i32::from_le_bytes)?, None, nulls, false)
        }
        Physical::INT64 => {
            Statistics::int64(read(min, i64::from_le_bytes)?, read(max, i64::from_le_bytes)?, None, nulls, false)
        }
        Physical::DOUBLE => {
            Statistics::double(read(min, f64::from_le_bytes)?, read(max, f64::from_le_bytes)?, None, nulls, false)
        }
        Physical::BYTE_ARRAY => {
            if min.into_iter().chain(max).any(|bound| bound.len() > BOUND) {
                return Err(refused("a bound of another length"));
            }
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| ByteArray::from(bytes.to_vec()));
            let values = ValueStatistics::new(text(min), text(max), None, nulls, false);
            values.with_min_is_exact(chunk.exact.0).with_max_is_exact(chunk.exact.1).into()
        }
        _ => return Err(refused("a type that is not used")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::table::columns::Columns;
    use crate::jobs::table::encode::encode;
    use crate::jobs::table::plan::Column;
    use crate::jobs::table::value::Type;

    fn group(spec: &Spec) -> RowsMade {
        let mut columns = Columns::new([Type::Int, Type::Text]);
        for text in ["7", "8"] {
            columns.text(0, text.as_bytes(), false).expect("fits");
            columns.text(1, text.as_bytes(), false).expect("fits");
            columns.end_row();
        }
        let (bytes, chunks) = encode(columns, spec).expect("encoded");
        RowsMade { rows: 2, bytes: Held::Here(bytes), chunks, misfits: Held::Here(vec![]) }
    }

    fn spec(format: OutFormat) -> Spec {
        let column = |name: &str, kind| Column { name: name.into(), kind, paths: vec![] };
        Spec {
            columns: vec![column("a", Type::Int), column("b", Type::Text)],
            source: None,
            json_path: vec![],
            xml_pattern: String::new(),
            picked: false,
            no_header: false,
            format,
            row_group: 1 << 20,
        }
    }

    #[test]
    fn what_a_worker_says_wrongly_of_its_bytes_is_refused() {
        let spec = spec(OutFormat::Parquet);
        let push = |spoil: &dyn Fn(&mut RowsMade)| {
            let file = tempfile::tempfile().expect("file");
            let mut sink = Sink::begin(&file, &spec).expect("begun");
            let mut group = group(&spec);
            spoil(&mut group);
            sink.push(&group, None).map(|()| sink.rows())
        };
        assert_eq!(push(&|_| {}).ok(), Some(2));
        let spoils: [&dyn Fn(&mut RowsMade); 10] = [
            &|group| group.rows = u64::MAX,
            &|group| drop(group.chunks.pop()),
            &|group| group.chunks[1].len += 1,
            &|group| group.chunks[1].start = u64::MAX,
            &|group| group.chunks[0].data = group.chunks[0].len,
            &|group| group.chunks[0].plain_len = u64::MAX,
            &|group| group.chunks[0].nulls = 3,
            &|group| group.chunks[0].encodings.push(4),
            &|group| group.chunks[0].range = Some((vec![1], vec![2])),
            &|group| group.chunks[1].range = Some((vec![b'x'; 65], vec![b'x'])),
        ];
        for (number, spoil) in spoils.iter().enumerate() {
            assert!(push(spoil).is_err(), "{number}");
        }
        let spec = self::spec(OutFormat::Arrow);
        let Held::Here(bytes) = group(&spec).bytes else { panic!("in a file") };
        let len = bytes.len() as u64;
        let head = *bytes.first_chunk().expect("head");
        assert!(block(8, &head, len).is_ok());
        assert!(block(8, &head, len - 1).is_err());
        assert!(block(8, bytes[8..].first_chunk().expect("bytes"), len).is_err());
        assert!(block(8, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], len).is_err());
    }

    #[test]
    fn what_lies_in_a_file_is_copied_if_it_is_there() {
        for format in [OutFormat::Parquet, OutFormat::Arrow, OutFormat::Csv] {
            let spec = spec(format);
            let made = |held: Held<Vec<u8>>| RowsMade { bytes: held, ..group(&spec) };
            let Held::Here(bytes) = group(&spec).bytes else { panic!("in a file") };
            let scratch = tempfile::tempfile().expect("file");
            scratch.write_all_at(b"before", 0).expect("write");
            scratch.write_all_at(&bytes, 6).expect("write");
            let output = |held: Held<Vec<u8>>, scratch: Option<&File>| {
                let mut file = tempfile::tempfile().expect("file");
                let mut sink = Sink::begin(&file, &spec).expect("begun");
                sink.push(&made(held), scratch)?;
                sink.finish().expect("finished");
                file.rewind().expect("rewind");
                let mut all = Vec::new();
                io::Read::read_to_end(&mut file, &mut all).expect("read");
                Ok::<_, NotTaken>(all)
            };
            let len = bytes.len() as u64;
            let expected = output(Held::Here(bytes), None).expect("taken");
            assert!(output(Held::Scratch { at: 6, len }, Some(&scratch)).expect("taken") == expected);
            let wrong = [(7, len), (u64::MAX, len), (6, u64::MAX), (6, len + 1)];
            for (at, len) in wrong {
                assert!(matches!(output(Held::Scratch { at, len }, Some(&scratch)), Err(NotTaken::Refused)));
            }
            assert!(matches!(output(Held::Scratch { at: 6, len }, None), Err(NotTaken::Refused)));
        }
    }
}
