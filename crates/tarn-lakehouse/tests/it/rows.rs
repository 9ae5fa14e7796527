//! Change rows as a source would send them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Position};
use tarn_lakehouse::types::COLUMN_ID;

/// A field with the number that a source knows it by.
pub fn numbered(name: &str, data_type: DataType, number: u32) -> Field {
    let metadata = HashMap::from([(COLUMN_ID.to_string(), number.to_string())]);
    Field::new(name, data_type, true).with_metadata(metadata)
}

/// Change rows of one kind. `first`: position of the first row, which must grow from batch to batch.
pub fn changes(kind: ChangeKind, fields: Vec<Field>, columns: Vec<ArrayRef>, first: u64) -> RecordBatch {
    let rows = columns[0].len();
    let meta = ChangeColumns::uniform(kind, rows, Position::new(1, first), Some(0));
    meta.attach(&Schema::new(fields), columns).unwrap()
}

/// Inserts of `id` and `note`.
pub fn notes(ids: impl IntoIterator<Item = i64>, note: &str, first: u64) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let notes = StringArray::from(vec![note; ids.len()]);
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("note", DataType::Utf8, true)];
    changes(ChangeKind::Insert, fields, vec![Arc::new(Int64Array::from(ids)), Arc::new(notes)], first)
}

/// Deletes of `id`.
pub fn deletes(ids: impl IntoIterator<Item = i64>, first: u64) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let notes = StringArray::new_null(ids.len());
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("note", DataType::Utf8, true)];
    changes(ChangeKind::Delete, fields, vec![Arc::new(Int64Array::from(ids)), Arc::new(notes)], first)
}
