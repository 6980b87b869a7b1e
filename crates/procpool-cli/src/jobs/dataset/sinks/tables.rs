//! Tables as the package `datasets` of Hugging Face reads them: a column `image` of bytes and name, a column `label` with the
//! number of the class, and a note in the file that says so and names the classes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::shards::{Shard, Shards};
use super::{Picture, Setting, Sink};
use crate::frame::failure::JobError;
use crate::frame::outputs::Pending;
use crate::frame::record::Record;

/// A group of rows is written when it has so many pictures, or bytes of them.
const GROUP: (usize, usize) = (1000, 16 << 20);
/// Where `datasets` looks for what the columns are.
const NOTE: &str = "huggingface";

/// The tables of all splits.
pub(crate) struct Tables<'a> {
    setting: Setting<'a>,
    shards: Vec<Shards<Table>>,
}

struct Table {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    bytes: BinaryBuilder,
    paths: StringBuilder,
    labels: Vec<i64>,
}

fn parts() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

/// What the columns are, in the words of `datasets`.
fn note(classes: &[String]) -> String {
    let features = serde_json::json!({
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
    });
    serde_json::json!({"info": {"features": features}}).to_string()
}

impl Shard for Table {
    fn begin(pending: &Pending, setting: &Setting<'_>) -> io::Result<Table> {
        let note = note(setting.classes);
        let fields =
            vec![Field::new("image", DataType::Struct(parts()), true), Field::new("label", DataType::Int64, true)];
        let schema = Arc::new(Schema::new_with_metadata(fields, HashMap::from([(NOTE.to_owned(), note.clone())])));
        // Pictures are packed already and differ all, so neither packing nor a dictionary helps, and nobody asks for the
        // smallest of them.
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(None)
            .set_created_by(concat!("procpool ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(NOTE.to_owned(), note)]))
            .build();
        let writer = ArrowWriter::try_new(pending.file().try_clone()?, Arc::clone(&schema), Some(properties))?;
        let (bytes, paths) = (BinaryBuilder::new(), StringBuilder::new());
        Ok(Table { writer, schema, bytes, paths, labels: Vec::new() })
    }

    fn end(mut self) -> io::Result<()> {
        self.write_group()?;
        self.writer.close()?;
        Ok(())
    }
}

impl Table {
    fn append(&mut self, bytes: &[u8], path: &str, class: usize) -> io::Result<()> {
        let held = self.bytes.values_slice().len();
        if self.labels.len() >= GROUP.0 || held > 0 && held + bytes.len() > GROUP.1 {
            self.write_group()?;
        }
        self.bytes.append_value(bytes);
        self.paths.append_value(path);
        self.labels.push(class as i64);
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.labels.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(self.bytes.finish()), Arc::new(self.paths.finish())];
        let library = |error: arrow_schema::ArrowError| io::Error::other(error.to_string());
        let image = StructArray::try_new(parts(), columns, None).map_err(library)?;
        let labels = Int64Array::from(std::mem::take(&mut self.labels));
        let columns: Vec<ArrayRef> = vec![Arc::new(image), Arc::new(labels)];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(library)?;
        self.writer.write(&batch)?;
        Ok(self.writer.flush()?)
    }
}

impl<'a> Tables<'a> {
    /// No tables yet.
    pub(crate) fn new(setting: Setting<'a>) -> Self {
        Tables { shards: Shards::of(&setting), setting }
    }
}

impl Sink for Tables<'_> {
    fn put(&mut self, picture: &Picture<'_>) -> Result<(PathBuf, Record), JobError> {
        let bytes = &picture.sample.bytes;
        let name = |split: &str, number: usize| format!("{split}-{number:05}.parquet");
        let slot = self.shards[picture.split].slot(&self.setting, bytes.len() as u64, name)?;
        // The column is text; what is not gets the usual sign in its place.
        let path = picture.source.file_name().unwrap_or_default().to_string_lossy();
        slot.shard.append(bytes, &path, picture.class).map_err(|error| slot.pending.failure(&error))?;
        Ok((slot.name.clone(), Record::default().with_path("output", slot.name).with("row", slot.before)))
    }

    fn finish(&mut self) -> Result<(), JobError> {
        self.shards.iter_mut().try_for_each(Shards::finish)
    }
}
