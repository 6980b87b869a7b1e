//! Turns a group of rows into the bytes that stand for it in the output, in the worker.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::{RecordBatch, StringArray};
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::{Columns, arrow_schema};
use super::json;
use super::plan::{Chunk, OutFormat, Spec};
use super::value::Type;

/// How long the bounds of a text column's values may be in the metadata.
pub(crate) const BOUND: usize = 64;

/// Encodes `columns`, which may not be empty.
pub(crate) fn encode(columns: Columns, spec: &Spec) -> Result<(Vec<u8>, Vec<Chunk>), String> {
    match spec.format {
        OutFormat::Parquet => parquet(&columns.into_batch(&schema(spec))?),
        OutFormat::Arrow => Ok((arrow(&columns.into_batch(&schema(spec))?)?, Vec::new())),
        OutFormat::Csv => Ok((csv(&columns, spec), Vec::new())),
        OutFormat::Lines => Ok((lines(&columns, spec), Vec::new())),
    }
}

/// The schema of the output.
pub(crate) fn schema(spec: &Spec) -> SchemaRef {
    arrow_schema(spec.columns.iter().map(|column| (column.name.as_str(), column.kind)))
}

/// How many values of a text column are looked at to see whether they repeat.
const LOOKED_AT: usize = 1024;

fn properties(batch: &RecordBatch) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(None)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(BOUND))
        .set_offset_index_disabled(true);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        match column.as_string_opt::<i32>() {
            Some(texts) => properties = properties.set_column_dictionary_enabled(path, repeats(texts)),
            // Packed differences are smaller than what Snappy makes of the plain numbers, and sooner made.
            None if is_whole(field.data_type()) => {
                properties = properties
                    .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                    .set_column_compression(path, Compression::UNCOMPRESSED);
            }
            None => {}
        }
    }
    properties.build()
}

/// Whether these are whole numbers, days and times among them. Their pages are not compressed.
fn is_whole(kind: &DataType) -> bool {
    matches!(kind, DataType::Int64 | DataType::Date32 | DataType::Timestamp(..))
}

/// Whether a dictionary is worth its while: if most of the first values are different, looking up each is lost time.
fn repeats(texts: &StringArray) -> bool {
    let mut different = HashSet::new();
    let looked_at = texts.iter().take(LOOKED_AT).flatten().filter(|text| !text.is_empty());
    let looked_at = looked_at.map(|text| different.insert(text)).count();
    different.len() <= looked_at / 2
}

/// A Parquet file of one row group; what is kept of it is the pages, and where they lie.
fn parquet(batch: &RecordBatch) -> Result<(Vec<u8>, Vec<Chunk>), String> {
    let mut file = Vec::new();
    let options = ArrowWriterOptions::new().with_properties(properties(batch)).with_skip_arrow_metadata(true);
    let written = ArrowWriter::try_new_with_options(&mut file, batch.schema(), options).and_then(|mut writer| {
        writer.write(batch)?;
        writer.close()
    });
    let metadata = written.map_err(|error| error.to_string())?;
    let [group] = metadata.row_groups() else { return Err("not one row group".into()) };
    let end = group.columns().iter().map(|column| column.byte_range()).map(|(start, len)| start + len).max();
    // The four bytes that begin every Parquet file.
    let magic = 4;
    file.truncate(end.unwrap_or(magic) as usize);
    file.drain(..magic as usize);
    Ok((file, group.columns().iter().map(|column| chunk(column, magic)).collect()))
}

fn chunk(column: &ColumnChunkMetaData, before: u64) -> Chunk {
    let (start, len) = column.byte_range();
    let statistics = column.statistics();
    let range = statistics.and_then(|found| Some((found.min_bytes_opt()?.to_vec(), found.max_bytes_opt()?.to_vec())));
    Chunk {
        start: start - before,
        data: column.data_page_offset() as u64 - before,
        len,
        plain_len: column.uncompressed_size() as u64,
        encodings: column.encodings().map(|encoding| encoding as i32).collect(),
        range,
        exact: statistics.map_or((false, false), |found| (found.min_is_exact(), found.max_is_exact())),
        nulls: statistics.and_then(|found| found.null_count_opt()).unwrap_or(0),
    }
}

/// A message of Arrow's streaming format that holds the batch.
fn arrow(batch: &RecordBatch) -> Result<Vec<u8>, String> {
    let encode = || {
        let mut encoder = StreamEncoder::try_new(&batch.schema())?;
        // The schema comes with the first batch; what it is for all of them is written elsewhere.
        encoder.encode(&batch.slice(0, 0))?;
        encoder.encode(batch)
    };
    let buffers = encode().map_err(|error: arrow_schema::ArrowError| error.to_string())?;
    let mut bytes = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
    buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
    Ok(bytes)
}

/// Lines of separated values. A text is quoted where it must be, and where it is empty and yet there.
fn csv(columns: &Columns, spec: &Spec) -> Vec<u8> {
    let (mut out, mut text) = (Vec::new(), Vec::new());
    for row in 0..columns.rows() {
        let begun = out.len();
        for column in 0..spec.columns.len() {
            if column > 0 {
                out.push(b',');
            }
            text.clear();
            match columns.show(column, row, &mut text) {
                Some(Type::Text) => write_field(&mut out, &text),
                Some(_) => out.extend_from_slice(&text),
                None => {}
            }
        }
        if out.len() == begun {
            // A blank line would be no record.
            out.extend_from_slice(b"\"\"");
        }
        out.push(b'\n');
    }
    out
}

/// Appends a text as a field of separated values.
pub(crate) fn write_field(out: &mut Vec<u8>, text: &[u8]) {
    let must = |&byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.iter().any(must) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for piece in text.split_inclusive(|&byte| byte == b'"') {
        out.extend_from_slice(piece);
        if piece.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

/// An object per line. What is missing is left out of it; numbers that JSON does not have are `null`.
fn lines(columns: &Columns, spec: &Spec) -> Vec<u8> {
    let (mut out, mut text) = (Vec::new(), Vec::new());
    let mut keys = Vec::new();
    for column in &spec.columns {
        let mut key = Vec::new();
        json::write_string(&mut key, column.name.as_bytes());
        key.push(b':');
        keys.push(key);
    }
    for row in 0..columns.rows() {
        out.push(b'{');
        let begun = out.len();
        for (column, key) in keys.iter().enumerate() {
            text.clear();
            let Some(kind) = columns.show(column, row, &mut text) else { continue };
            if out.len() > begun {
                out.push(b',');
            }
            out.extend_from_slice(key);
            match kind {
                Type::Float if matches!(text.as_slice(), b"NaN" | b"inf" | b"-inf") => out.extend_from_slice(b"null"),
                Type::Int | Type::Long | Type::Float | Type::Bool => out.extend_from_slice(&text),
                _ => json::write_string(&mut out, &text),
            }
        }
        out.extend_from_slice(b"}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let field = |text: &str| {
            let mut out = Vec::new();
            write_field(&mut out, text.as_bytes());
            String::from_utf8(out).expect("text")
        };
        assert_eq!(field("plain text"), "plain text");
        assert_eq!(field(""), "\"\"");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("\"a\" \"b"), "\"\"\"a\"\" \"\"b\"");
        assert_eq!(field("a\r\nb"), "\"a\r\nb\"");
    }
}
