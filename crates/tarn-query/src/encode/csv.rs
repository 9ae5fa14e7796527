//! CSV.

use arrow::array::RecordBatch;

use super::value::Column;
use super::{Encoder, PIECE_BYTES, Schema, unwritable};
use crate::{QueryError, StatsHandle};

pub(super) struct CsvEncoder {
    schema: Schema,
}

impl CsvEncoder {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { schema: Schema::clone(schema) }
    }
}

impl Encoder for CsvEncoder {
    fn head(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError> {
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_field(field.name().as_bytes(), out);
        }
        if !self.schema.fields().is_empty() {
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, QueryError> {
        let columns: Result<Vec<Column<'_>>, _> =
            batch.columns().iter().map(|array| Column::new(array.as_ref())).collect();
        let columns = columns.map_err(|error| unwritable(&error))?;
        let mut field = Vec::new();
        let mut row = from;
        while row < batch.num_rows() && out.len() < PIECE_BYTES {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if column.is_null(row) {
                    continue;
                }
                field.clear();
                column.text(row, &mut field).map_err(|error| unwritable(&error))?;
                write_field(&field, out);
            }
            out.extend_from_slice(b"\r\n");
            row += 1;
        }
        Ok(row)
    }

    fn tail(&mut self, _stats: &StatsHandle, _out: &mut Vec<u8>) -> Result<(), QueryError> {
        Ok(())
    }
}

/// Quotes what needs it; an empty text is quoted to differ from null.
fn write_field(field: &[u8], out: &mut Vec<u8>) {
    let plain = !field.is_empty()
        && !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'))
        && field.first() != Some(&b' ')
        && field.last() != Some(&b' ');
    if plain {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
