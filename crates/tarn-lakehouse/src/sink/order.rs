//! The order of rows within the files of a commit: that of the table's sort order, else that of its key, so that a reader
//! that looks for a key or a range of them reads few pages.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use iceberg::spec::TableMetadata;

use super::rows::HotSlot;
use crate::error::LakehouseError;
use crate::sort::{RowOrder, declared};
use crate::types::key_of;

/// Larger commits keep the order in which their rows came: sorting them would take as much memory again.
pub const SORTED_BYTES_MAX: usize = 96 << 20;
/// Rows handed to a writer at a time.
pub const CHUNK_ROWS: usize = 32 * 1024;

/// Rows for a file, and for each its number among all rows that are flushed.
pub struct Part {
    /// The rows.
    pub batch: RecordBatch,
    /// Their numbers.
    pub rows: Vec<usize>,
}

/// The rows that are left of some batches, in the order in which they came. Errors: those of Arrow.
pub fn live_parts(table: &str, slots: &[HotSlot]) -> Result<Vec<Part>, LakehouseError> {
    let (mut parts, mut first) = (Vec::with_capacity(slots.len()), 0);
    for slot in slots {
        let columns: Vec<usize> = (0..slot.rows.num_columns()).collect();
        let batch = slot.batch().live(&columns);
        let batch = batch.map_err(|source| LakehouseError::Arrow { table: table.into(), source })?;
        let rows = (0..slot.rows.num_rows()).filter(|at| !slot.dead.contains(*at)).map(|at| first + at);
        if batch.num_rows() > 0 {
            parts.push(Part { batch, rows: rows.collect() });
        }
        first += slot.rows.num_rows();
    }
    Ok(parts)
}

/// Rows in the order in which they go into a file. Errors: those of Arrow.
pub fn ordered(table: &str, metadata: &TableMetadata, parts: Vec<Part>) -> Result<Vec<Part>, LakehouseError> {
    let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
    let bytes: usize = parts.iter().map(|part| part.batch.get_array_memory_size()).sum();
    let order = order_of(metadata);
    let Some(schema) = parts.first().map(|part| part.batch.schema()) else { return Ok(parts) };
    if order.is_empty() || bytes > SORTED_BYTES_MAX {
        return Ok(parts);
    }
    let all = concat_batches(&schema, parts.iter().map(|part| &part.batch)).map_err(arrow)?;
    let sort: Option<Vec<SortColumn>> = order
        .into_iter()
        .map(|(name, options)| {
            Some(SortColumn { values: all.column_by_name(&name)?.clone(), options: Some(options) })
        })
        .collect();
    let Some(sort) = sort else { return Ok(parts) };
    let sorted = lexsort_to_indices(&sort, None).map_err(arrow)?;
    if sorted.values().is_sorted() {
        return Ok(parts);
    }
    let rows: Vec<usize> = parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
    drop(parts);
    let chunks = sorted.values().chunks(CHUNK_ROWS).map(|indices| {
        let batch = take_record_batch(&all, &UInt32Array::from(indices.to_vec())).map_err(arrow)?;
        Ok(Part { batch, rows: indices.iter().map(|at| rows[*at as usize]).collect() })
    });
    chunks.collect()
}

/// Columns to sort by.
fn order_of(metadata: &TableMetadata) -> Vec<(String, SortOptions)> {
    if let Some(RowOrder::Columns(columns)) = declared(metadata) {
        let options = |descending, nulls_first| SortOptions { descending, nulls_first };
        return columns.into_iter().map(|c| (c.name, options(c.descending, c.nulls_first))).collect();
    }
    key_of(metadata).into_iter().map(|name| (name, SortOptions::default())).collect()
}
