//! Reading data files for the sink: some rows, or some columns, in the table's schema of today.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

use super::state::damaged;
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::reshape::reshape;

/// Rows to read, as the reader wants them; `rows` ascending.
pub fn selection_of(rows: &[u32], total: u64) -> RowSelection {
    let mut selectors = Vec::with_capacity(rows.len() * 2 + 1);
    let mut next = 0usize;
    for row in rows {
        let row = *row as usize;
        if row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    if total > next {
        selectors.push(RowSelector::skip(total - next));
    }
    RowSelection::from(selectors)
}

/// Reads columns (by position in `schema`) of a file, matched by field id.
pub async fn read_rows(
    warehouse: &Warehouse,
    schema: &SchemaRef,
    columns: &[usize],
    file: &DataFile,
    selection: Option<RowSelection>,
) -> Result<parquet::arrow::async_reader::ParquetRecordBatchStream<ParquetObjectReader>, LakehouseError> {
    let path = warehouse.path(file.file_path())?;
    let reader = ParquetObjectReader::new(Arc::clone(warehouse.objects()), path)
        .with_file_size(file.file_size_in_bytes());
    // With the places of pages, those without a wanted row are not read.
    let pages = if selection.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let options = ArrowReaderOptions::new().with_offset_index_policy(pages);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
    let builder = builder.map_err(|e| damaged(file, e))?;
    let wanted: Vec<Option<String>> = columns.iter().map(|at| field_id(schema.field(*at))).collect();
    let roots = builder.schema().fields().iter().enumerate().filter(|(_, field)| {
        let id = field_id(field);
        match id {
            Some(_) => wanted.contains(&id),
            None => columns.iter().any(|at| schema.field(*at).name() == field.name()),
        }
    });
    let roots: Vec<usize> = roots.map(|(at, _)| at).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let builder = builder.with_projection(mask).with_batch_size(16 * 1024);
    let builder = match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    };
    builder.build().map_err(|e| damaged(file, e))
}

fn field_id(field: &arrow::datatypes::Field) -> Option<String> {
    field.metadata().get(parquet::arrow::PARQUET_FIELD_ID_META_KEY).cloned()
}

/// Brings rows read from a file of an older schema into columns (by position) of `schema`.
pub fn conform(
    table: &str,
    schema: &SchemaRef,
    columns: &[usize],
    batch: &RecordBatch,
) -> Result<RecordBatch, LakehouseError> {
    let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
    let by_id: HashMap<Option<String>, usize> =
        batch.schema().fields().iter().enumerate().map(|(at, field)| (field_id(field), at)).collect();
    let mut arrays = Vec::with_capacity(columns.len());
    let mut fields = Vec::with_capacity(columns.len());
    for at in columns {
        let field = schema.field(*at);
        let id = field_id(field);
        let from = by_id.get(&id).copied().or_else(|| batch.schema().index_of(field.name()).ok());
        arrays.push(match from {
            None => arrow::array::new_null_array(field.data_type(), batch.num_rows()),
            Some(from) => {
                let old = batch.schema();
                reshape(batch.column(from), old.field(from), field).map_err(arrow)?
            }
        });
        fields.push(field.clone().with_nullable(true));
    }
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new_with_options(
        schema,
        arrays,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .map_err(arrow)
}
