//! The rows that a statement changed, held for its `RETURNING`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::catalog::MemTable;

use super::apply::HEAD;
use super::rewrite::{DELETE, INSERT, MERGE_ACTION, UPDATE};
use crate::QueryError;

/// They are held until the commit, so that an error in `RETURNING` leaves the table as it was.
const BYTES_MAX: usize = 256 << 20;

/// Rows as the table has them, then what other tables of the statement have for them, then what became of them.
#[derive(Debug)]
pub(crate) struct Returned {
    schema: SchemaRef,
    columns: usize,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Returned {
    /// `table`: its columns as queries see them. `rows`: those of the statement's query.
    pub(crate) fn new(table: &Schema, rows: &Schema) -> Self {
        let columns = table.fields().len();
        let open = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        let mut fields: Vec<FieldRef> = table.fields().iter().map(open).collect();
        fields.extend(rows.fields().iter().skip(HEAD + columns).map(open));
        fields.push(Arc::new(Field::new(MERGE_ACTION, DataType::Utf8, true)));
        Self { schema: Arc::new(Schema::new(fields)), columns, batches: Vec::new(), bytes: 0 }
    }

    /// Rows that were changed. `batch`: of the statement's query; `values`: of the table's columns; `kept`: which of them.
    /// Errors: they are too many to be held.
    pub(crate) fn add(
        &mut self,
        batch: &RecordBatch,
        values: &[ArrayRef],
        actions: &Int64Array,
        kept: Option<&BooleanArray>,
    ) -> Result<(), QueryError> {
        let names: StringArray = actions
            .iter()
            .map(|action| match action {
                Some(INSERT) => Some("INSERT"),
                Some(UPDATE) => Some("UPDATE"),
                Some(DELETE) => Some("DELETE"),
                _ => None,
            })
            .collect();
        let others = batch.columns().iter().skip(HEAD + self.columns);
        let arrays = values.iter().take(self.columns).chain(others).cloned();
        let arrays = arrays.chain([Arc::new(names) as ArrayRef]).zip(self.schema.fields());
        let arrays: Result<Vec<ArrayRef>, ArrowError> = arrays
            .map(|(array, field)| match array.data_type() == field.data_type() {
                true => Ok(array),
                false => cast(&array, field.data_type()),
            })
            .collect();
        let odd =
            |error: ArrowError| QueryError::Internal { message: format!("rows cannot be returned: {error}") };
        let mut rows = RecordBatch::try_new(Arc::clone(&self.schema), arrays.map_err(odd)?).map_err(odd)?;
        if let Some(kept) = kept {
            rows = filter_record_batch(&rows, kept).map_err(odd)?;
        }
        self.bytes += rows.get_array_memory_size();
        if self.bytes > BYTES_MAX {
            let message = format!("RETURNING would give more than {} MB", BYTES_MAX >> 20);
            let hint = "leave it out and read the rows afterwards, or change fewer rows at a time";
            return Err(QueryError::coded("54000", message).with_hint(hint));
        }
        self.batches.push(rows);
        Ok(())
    }

    /// The rows as a table of a query.
    pub(crate) fn table(&self) -> Result<Arc<MemTable>, QueryError> {
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![self.batches.clone()]);
        table.map(Arc::new).map_err(|error| QueryError::Internal { message: error.to_string() })
    }
}
