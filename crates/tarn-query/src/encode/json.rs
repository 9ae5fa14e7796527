//! JSON.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema as ArrowSchema;
use serde_json::{Value, json};

use super::value::Column;
use super::{Encoder, PIECE_BYTES, Schema, type_name, unwritable};
use crate::{QueryError, QueryStream, StatsHandle};

/// The columns of a result as `[{"name", "type"}]`.
pub fn columns_json(schema: &ArrowSchema) -> Value {
    let column = |field: &arrow::datatypes::FieldRef| json!({"name": field.name(), "type": type_name(field.data_type())});
    schema.fields().iter().map(column).collect()
}

/// Rows of a batch as JSON values, each an array in column order. Memory: all of them. Errors: a type without JSON form.
pub fn rows_json(batch: &RecordBatch) -> Result<Vec<Value>, QueryError> {
    let mut out = vec![b'['];
    let mut first = true;
    let end = write_rows(batch, 0, usize::MAX, &mut first, &mut out)?;
    debug_assert_eq!(end, batch.num_rows(), "nothing bounds the piece");
    out.push(b']');
    serde_json::from_slice(&out)
        .map_err(|error| QueryError::Internal { message: format!("own JSON is broken: {error}") })
}

pub(super) struct JsonEncoder {
    query_id: String,
    plan: Option<String>,
    command: Option<&'static str>,
    schema: Schema,
    first: bool,
}

impl JsonEncoder {
    pub(super) fn new(stream: &QueryStream) -> Self {
        Self {
            query_id: stream.query_id().to_string(),
            plan: stream.plan_text().map(str::to_string),
            command: stream.command().map(|command| command.tag),
            schema: stream.schema(),
            first: true,
        }
    }
}

impl Encoder for JsonEncoder {
    fn head(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let head = format!(
            "{{\"query_id\":{},\"columns\":{},\"rows\":[",
            Value::from(self.query_id.as_str()),
            columns_json(&self.schema)
        );
        out.extend_from_slice(head.as_bytes());
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, QueryError> {
        write_rows(batch, from, PIECE_BYTES, &mut self.first, out)
    }

    fn tail(&mut self, stats: &StatsHandle, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let stats = stats.get();
        let mut tail = format!(
            "],\"row_count\":{},\"truncated\":{},\"elapsed_ms\":{:.3},\"stats\":{}",
            stats.rows,
            stats.truncated,
            stats.elapsed_ms,
            json!(stats.scan)
        );
        if let Some(plan) = &self.plan {
            tail.push_str(&format!(",\"plan\":{}", Value::from(plan.as_str())));
        }
        if let Some(command) = self.command {
            tail.push_str(&format!(",\"command\":{}", Value::from(command)));
        }
        tail.push('}');
        out.extend_from_slice(tail.as_bytes());
        Ok(())
    }
}

fn write_rows(
    batch: &RecordBatch,
    from: usize,
    bytes_max: usize,
    first: &mut bool,
    out: &mut Vec<u8>,
) -> Result<usize, QueryError> {
    let columns: Result<Vec<Column<'_>>, _> =
        batch.columns().iter().map(|array| Column::new(array.as_ref())).collect();
    let columns = columns.map_err(|error| unwritable(&error))?;
    let mut row = from;
    while row < batch.num_rows() && out.len() < bytes_max {
        if !std::mem::replace(first, false) {
            out.push(b',');
        }
        out.push(b'[');
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            column.json(row, out).map_err(|error| unwritable(&error))?;
        }
        out.push(b']');
        row += 1;
    }
    Ok(row)
}
