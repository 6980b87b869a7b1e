//! Puts the groups of rows that workers have made one behind the other, and what makes a file of them around it.
//!
//! What workers say of their bytes is checked before it is written down; the bytes themselves are theirs.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
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

use super::encode::{BOUND, schema, write_field};
use super::plan::{Chunk, GroupMade, OutFormat, Spec};

/// The first and last bytes of a Parquet file.
const PARQUET_MAGIC: &[u8; 4] = b"PAR1";
/// The first and last bytes of a file of Arrow's.
const ARROW_MAGIC: &[u8; 6] = b"ARROW1";

/// No group has more rows, and no column of it more bytes: so sums of them are numbers.
const MOST: u64 = 1 << 40;

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

    /// Appends a group.
    pub(crate) fn push(&mut self, group: &GroupMade) -> io::Result<()> {
        if group.rows == 0 {
            return Ok(());
        }
        if group.rows > MOST {
            return Err(refused("too many rows"));
        }
        let at = self.at;
        match &mut self.kind {
            Kind::Parquet { schema, groups } => groups.push(row_group(schema, groups.len(), at, group)?),
            Kind::Arrow { blocks, .. } => blocks.push(block(at, &group.bytes)?),
            Kind::Text => {}
        }
        self.rows = self.rows.saturating_add(group.rows);
        self.put(&group.bytes)
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

/// Where a message lies: its own length is in the four bytes behind the mark.
fn block(at: u64, bytes: &[u8]) -> io::Result<Block> {
    let Some((&[0xff, 0xff, 0xff, 0xff, a, b, c, d], _)) = bytes.split_first_chunk() else {
        return Err(refused("no message"));
    };
    let metadata = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    let body =
        (bytes.len() as u64).checked_sub(metadata).filter(|_| metadata % 8 == 0 && bytes.len().is_multiple_of(8));
    let body = body.ok_or_else(|| refused("a message of another length"))?;
    Ok(Block::new(at as i64, metadata as i32, body as i64))
}

fn row_group(
    schema: &Arc<SchemaDescriptor>,
    number: usize,
    at: u64,
    group: &GroupMade,
) -> io::Result<RowGroupMetaData> {
    if group.chunks.len() != schema.num_columns() {
        return Err(refused("another number of columns"));
    }
    let len = group.bytes.len() as u64;
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

    fn group(spec: &Spec) -> GroupMade {
        let mut columns = Columns::new([Type::Int, Type::Text]);
        for text in ["7", "8"] {
            columns.text(0, text.as_bytes(), false).expect("fits");
            columns.text(1, text.as_bytes(), false).expect("fits");
            columns.end_row();
        }
        let (bytes, chunks) = encode(columns, spec).expect("encoded");
        GroupMade { parts: vec![], rows: 2, bytes, chunks, misfits: vec![] }
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
        }
    }

    #[test]
    fn what_a_worker_says_wrongly_of_its_bytes_is_refused() {
        let spec = spec(OutFormat::Parquet);
        let push = |spoil: &dyn Fn(&mut GroupMade)| {
            let file = tempfile::tempfile().expect("file");
            let mut sink = Sink::begin(&file, &spec).expect("begun");
            let mut group = group(&spec);
            spoil(&mut group);
            sink.push(&group).map(|()| sink.rows())
        };
        assert_eq!(push(&|_| {}).ok(), Some(2));
        let spoils: [&dyn Fn(&mut GroupMade); 10] = [
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
        let bytes = group(&spec).bytes;
        assert!(block(8, &bytes).is_ok());
        assert!(block(8, &bytes[..bytes.len() - 1]).is_err());
        assert!(block(8, &bytes[8..]).is_err());
        assert!(block(8, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
