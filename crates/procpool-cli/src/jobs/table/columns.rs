//! The rows of a group, column by column, as a worker collects them.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::value::{EXACT, Type, Value};

/// The values of one column. Where a value is missing there is a zero or an empty text.
#[derive(Debug)]
enum Data {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Instant(Vec<i64>),
    /// The texts one after the other, and where each ends. Begins with a zero.
    Text(Vec<i32>, Vec<u8>),
}

/// One column.
#[derive(Debug)]
struct Column {
    data: Data,
    /// Which values are there.
    valid: Vec<bool>,
}

/// A value did not fit its column, which got none instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoesNotFit;

impl Column {
    fn new(kind: Type) -> Column {
        let data = match kind {
            Type::Bool => Data::Bool(Vec::new()),
            Type::Int | Type::Long => Data::Int(Vec::new()),
            Type::Float => Data::Float(Vec::new()),
            Type::Date => Data::Date(Vec::new()),
            Type::Time => Data::Time(Vec::new()),
            Type::Instant => Data::Instant(Vec::new()),
            Type::Text | Type::Empty => Data::Text(vec![0], Vec::new()),
        };
        Column { data, valid: Vec::new() }
    }

    /// Adds a text as what the column takes it for. An empty one is no value, except in a text column if it was `quoted`.
    #[inline]
    fn push_text(&mut self, text: &[u8], quoted: bool) -> Result<(), DoesNotFit> {
        if let Data::Text(ends, bytes) = &mut self.data {
            bytes.extend_from_slice(text);
            ends.push(bytes.len() as i32);
            self.valid.push(quoted || !text.is_empty());
            return Ok(());
        }
        let value = Value::read(text);
        let fits = self.push_value(value);
        if fits || value == Value::Empty { Ok(()) } else { Err(DoesNotFit) }
    }

    /// Adds a value that was read, or nothing if it does not fit. A text column takes none: it wants the text.
    #[inline]
    fn push_value(&mut self, value: Value) -> bool {
        let there = match (&mut self.data, value) {
            (Data::Int(values), Value::Int(value)) => {
                values.push(value);
                true
            }
            (Data::Float(values), Value::Float(value)) => {
                values.push(value);
                true
            }
            (Data::Float(values), Value::Int(value)) if value.unsigned_abs() <= EXACT => {
                values.push(value as f64);
                true
            }
            (Data::Bool(values), Value::Bool(value)) => {
                values.push(value);
                true
            }
            (Data::Date(values), Value::Date(days)) => {
                values.push(days);
                true
            }
            (Data::Time(values), Value::Time(micros)) | (Data::Instant(values), Value::Instant(micros)) => {
                values.push(micros);
                true
            }
            (Data::Time(values), Value::Date(days)) => {
                values.push(i64::from(days) * 86_400_000_000);
                true
            }
            _ => {
                self.push_zero();
                false
            }
        };
        self.valid.push(there);
        there
    }

    fn push_zero(&mut self) {
        match &mut self.data {
            Data::Bool(values) => values.push(false),
            Data::Int(values) | Data::Time(values) | Data::Instant(values) => values.push(0),
            Data::Float(values) => values.push(0.0),
            Data::Date(values) => values.push(0),
            Data::Text(ends, bytes) => ends.push(bytes.len() as i32),
        }
    }

    fn push_nothing(&mut self) {
        self.push_zero();
        self.valid.push(false);
    }

    fn truncate(&mut self, rows: usize) {
        if rows >= self.valid.len() {
            return;
        }
        self.valid.truncate(rows);
        match &mut self.data {
            Data::Bool(values) => values.truncate(rows),
            Data::Int(values) | Data::Time(values) | Data::Instant(values) => values.truncate(rows),
            Data::Float(values) => values.truncate(rows),
            Data::Date(values) => values.truncate(rows),
            Data::Text(ends, bytes) => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |&end| end as usize));
            }
        }
    }

    /// Takes away the values from `rows` on.
    fn split_off(&mut self, rows: usize) -> Column {
        let rows = rows.min(self.valid.len());
        let valid = self.valid.split_off(rows);
        let data = match &mut self.data {
            Data::Bool(values) => Data::Bool(values.split_off(rows)),
            Data::Int(values) => Data::Int(values.split_off(rows)),
            Data::Float(values) => Data::Float(values.split_off(rows)),
            Data::Date(values) => Data::Date(values.split_off(rows)),
            Data::Time(values) => Data::Time(values.split_off(rows)),
            Data::Instant(values) => Data::Instant(values.split_off(rows)),
            Data::Text(ends, bytes) => {
                let begin = ends[rows];
                let mut taken = ends.split_off(rows + 1);
                taken.iter_mut().for_each(|end| *end -= begin);
                taken.insert(0, 0);
                Data::Text(taken, bytes.split_off(begin as usize))
            }
        };
        Column { data, valid }
    }

    fn into_array(self) -> Result<ArrayRef, String> {
        let nulls = if self.valid.iter().all(|&valid| valid) { None } else { Some(NullBuffer::from(self.valid)) };
        Ok(match self.data {
            Data::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls)),
            Data::Int(values) => Arc::new(Int64Array::new(values.into(), nulls)),
            Data::Float(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Data::Date(values) => Arc::new(Date32Array::new(values.into(), nulls)),
            Data::Time(values) => Arc::new(TimestampMicrosecondArray::new(values.into(), nulls)),
            Data::Instant(values) => {
                Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone("UTC"))
            }
            Data::Text(ends, bytes) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                let array = StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls);
                Arc::new(array.map_err(|error| error.to_string())?)
            }
        })
    }
}

/// A table with columns of given types, filled row by row.
#[derive(Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    rows: usize,
}

impl Columns {
    /// An empty table.
    pub(crate) fn new(types: impl IntoIterator<Item = Type>) -> Columns {
        Columns { columns: types.into_iter().map(Column::new).collect(), rows: 0 }
    }

    /// How many rows are complete.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Gives the row that is being filled the text of a column. A later one counts.
    #[inline]
    pub(crate) fn text(&mut self, column: usize, text: &[u8], quoted: bool) -> Result<(), DoesNotFit> {
        let rows = self.rows;
        let column = &mut self.columns[column];
        column.truncate(rows);
        column.push_text(text, quoted)
    }

    /// The same for a value whose type is known from how it is written, and its text for a text column.
    #[inline]
    pub(crate) fn value(&mut self, column: usize, value: Value, text: &[u8]) -> Result<(), DoesNotFit> {
        let rows = self.rows;
        let column = &mut self.columns[column];
        column.truncate(rows);
        if let Data::Text(..) = column.data {
            return column.push_text(text, true);
        }
        if column.push_value(value) { Ok(()) } else { Err(DoesNotFit) }
    }

    /// Whether the row that is being filled has a value in this column already.
    pub(crate) fn is_set(&self, column: usize) -> bool {
        self.columns[column].valid.get(self.rows).copied().unwrap_or(false)
    }

    /// Makes the row that is being filled have no value in this column.
    pub(crate) fn nothing(&mut self, column: usize) {
        let rows = self.rows;
        let column = &mut self.columns[column];
        column.truncate(rows);
        column.push_nothing();
    }

    /// Ends the row: what has no value yet gets none.
    #[inline]
    pub(crate) fn end_row(&mut self) {
        let rows = self.rows;
        for column in &mut self.columns {
            if column.valid.len() == rows {
                column.push_nothing();
            }
        }
        self.rows += 1;
    }

    /// Forgets all rows from `rows` on, an unfinished one among them.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows);
        }
        self.rows = self.rows.min(rows);
    }

    /// Takes away the rows from `rows` on.
    pub(crate) fn split_off(&mut self, rows: usize) -> Columns {
        let taken = Columns {
            columns: self.columns.iter_mut().map(|column| column.split_off(rows)).collect(),
            rows: self.rows.saturating_sub(rows),
        };
        self.rows = self.rows.min(rows);
        taken
    }

    /// The rows as a batch.
    pub(crate) fn into_batch(mut self, schema: &SchemaRef) -> Result<RecordBatch, String> {
        self.truncate(self.rows);
        let rows = self.rows;
        let arrays = self.columns.into_iter().map(Column::into_array).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(|error| error.to_string())
    }

    /// Writes the value of a row as text: `text` gets it, and the answer is whether there is one, and its type.
    pub(crate) fn show(&self, column: usize, row: usize, text: &mut Vec<u8>) -> Option<Type> {
        let column = &self.columns[column];
        if !column.valid[row] {
            return None;
        }
        match &column.data {
            Data::Bool(values) => {
                text.extend_from_slice(if values[row] { b"true" } else { b"false" });
                Some(Type::Bool)
            }
            Data::Int(values) => {
                push_display(text, values[row]);
                Some(Type::Int)
            }
            Data::Float(values) => {
                // Debug is the shortest text that reads as the same double, and never without a point or an exponent.
                push_display(text, format_args!("{:?}", values[row]));
                Some(Type::Float)
            }
            Data::Date(values) => {
                super::value::write_date(text, values[row]);
                Some(Type::Date)
            }
            Data::Time(values) => {
                super::value::write_time(text, values[row]);
                Some(Type::Time)
            }
            Data::Instant(values) => {
                super::value::write_time(text, values[row]);
                text.push(b'Z');
                Some(Type::Instant)
            }
            Data::Text(ends, bytes) => {
                text.extend_from_slice(&bytes[ends[row] as usize..ends[row + 1] as usize]);
                Some(Type::Text)
            }
        }
    }
}

fn push_display(text: &mut Vec<u8>, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{value}");
}

/// The schema of the output.
pub(crate) fn arrow_schema<'a>(columns: impl IntoIterator<Item = (&'a str, Type)>) -> SchemaRef {
    let field = |(name, kind): (&str, Type)| {
        let kind = match kind {
            Type::Bool => DataType::Boolean,
            Type::Int | Type::Long => DataType::Int64,
            Type::Float => DataType::Float64,
            Type::Date => DataType::Date32,
            Type::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            Type::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Text | Type::Empty => DataType::Utf8,
        };
        Field::new(name, kind, true)
    };
    Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_filled_in_any_order_and_the_last_value_counts() {
        let mut columns = Columns::new([Type::Int, Type::Text, Type::Float]);
        assert_eq!(columns.text(2, b"1", false), Ok(()));
        assert_eq!(columns.text(0, b"x", false), Err(DoesNotFit));
        assert_eq!(columns.text(0, b"7", false), Ok(()));
        columns.end_row();
        assert_eq!(columns.text(1, b"", true), Ok(()));
        assert_eq!(columns.text(0, b"", false), Ok(()));
        columns.end_row();
        assert_eq!(columns.text(1, b"gone", false), Ok(()));
        columns.truncate(2);
        assert_eq!(columns.rows(), 2);
        let show = |column, row| {
            let mut text = Vec::new();
            columns.show(column, row, &mut text).map(|kind| (kind, String::from_utf8(text).expect("text")))
        };
        assert_eq!(show(0, 0), Some((Type::Int, "7".into())));
        assert_eq!(show(1, 0), None);
        assert_eq!(show(2, 0), Some((Type::Float, "1.0".into())));
        assert_eq!((show(0, 1), show(1, 1), show(2, 1)), (None, Some((Type::Text, String::new())), None));
        let mut behind = columns.split_off(1);
        let mut text = Vec::new();
        assert_eq!((columns.rows(), behind.rows()), (1, 1));
        assert_eq!((behind.show(0, 0, &mut text), behind.show(1, 0, &mut text)), (None, Some(Type::Text)));
        let fill = |columns: &mut Columns, word: &[u8]| {
            assert_eq!(columns.text(1, word, false), Ok(()));
            columns.end_row();
        };
        fill(&mut behind, b"more");
        assert_eq!((behind.show(1, 1, &mut text), text.as_slice()), (Some(Type::Text), &b"more"[..]));
        fill(&mut columns, b"other");
        let schema = arrow_schema([("a", Type::Int), ("b", Type::Text), ("c", Type::Float)]);
        let batch = columns.into_batch(&schema).expect("batch");
        assert_eq!((batch.num_rows(), batch.num_columns(), batch.column(0).null_count()), (2, 3, 1));
    }
}
