//! Reading data files for the sink: some rows, or some columns, in the table's schema of today.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Schema as ArrowSchema, SchemaRef};
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::spec::DataFile;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;

use super::state::damaged;
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::layout::Layout;
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

/// Rows of a file, each column with its field id.
pub type FileRows = BoxStream<'static, Result<RecordBatch, ParquetError>>;

/// Reads columns (by position in `schema`) of a file, matched by field id. `layout`: what the file may not say.
pub async fn read_rows(
    warehouse: &Warehouse,
    schema: &SchemaRef,
    columns: &[usize],
    (file, layout): (&DataFile, &Layout),
    selection: Option<RowSelection>,
) -> Result<FileRows, LakehouseError> {
    let path = warehouse.path(file.file_path())?;
    let reader = ParquetObjectReader::new(Arc::clone(warehouse.objects()), path)
        .with_file_size(file.file_size_in_bytes());
    // With the places of pages, those without a wanted row are not read.
    let pages = if selection.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let options = ArrowReaderOptions::new().with_offset_index_policy(pages);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
    let builder = builder.map_err(|e| damaged(file, e))?;
    let found = Found::of(builder.schema(), schema, columns, layout);
    let constants = columns.iter().filter_map(|at| {
        let field = schema.field(*at);
        let id = field_id(field).filter(|id| !found.holds(id, field.name()))?;
        let value = layout.constant(file, id.parse().ok()?, field.data_type())?;
        Some((Arc::new(field.clone().with_nullable(true)), value))
    });
    let constants: Vec<(FieldRef, ArrayRef)> = constants.collect();
    let mask =
        ProjectionMask::roots(builder.parquet_schema(), found.columns.iter().map(|column| column.root));
    let builder = builder.with_projection(mask).with_batch_size(16 * 1024);
    let builder = match selection {
        Some(selection) => builder.with_row_selection(selection),
        None => builder,
    };
    let rows = builder.build().map_err(|e| damaged(file, e))?;
    if found.has_ids && constants.is_empty() {
        return Ok(rows.boxed());
    }
    Ok(rows.map(move |batch| Ok(found.told(&batch?, &constants)?)).boxed())
}

/// A column of a file that is wanted.
struct FoundColumn {
    root: usize,
    /// By the name mapping, where the file says none.
    id: Option<i32>,
    name: String,
    own_id: Option<String>,
}

/// The wanted columns of a file, in its order.
struct Found {
    columns: Vec<FoundColumn>,
    has_ids: bool,
}

impl Found {
    fn of(file: &ArrowSchema, schema: &SchemaRef, columns: &[usize], layout: &Layout) -> Self {
        let wanted: Vec<Option<String>> = columns.iter().map(|at| field_id(schema.field(*at))).collect();
        let has_ids = file.fields().iter().any(|field| field_id(field).is_some());
        let named = |name: &str| columns.iter().any(|at| schema.field(*at).name() == name);
        let columns = file.fields().iter().enumerate().filter_map(|(root, field)| {
            let own_id = field_id(field);
            let id = match (&own_id, layout.names().filter(|_| !has_ids)) {
                (Some(_), _) => wanted.contains(&own_id).then_some(None)?,
                (None, Some(names)) => {
                    let id = names.get(field.name())?;
                    wanted.contains(&Some(id.to_string())).then_some(Some(*id))?
                }
                (None, None) => named(field.name()).then_some(None)?,
            };
            Some(FoundColumn { root, id, name: field.name().clone(), own_id })
        });
        Self { columns: columns.collect(), has_ids }
    }

    /// Whether a column of the table is in the file.
    fn holds(&self, id: &str, name: &str) -> bool {
        self.columns.iter().any(|column| match (&column.own_id, column.id) {
            (Some(own), _) => own == id,
            (None, Some(mapped)) => mapped.to_string() == id,
            (None, None) => column.name == name,
        })
    }

    /// Rows with what the file does not say of them.
    fn told(
        &self,
        batch: &RecordBatch,
        constants: &[(FieldRef, ArrayRef)],
    ) -> Result<RecordBatch, arrow::error::ArrowError> {
        let rows = batch.num_rows();
        let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
        for (field, column) in fields.iter_mut().zip(&self.columns) {
            if let Some(id) = column.id {
                let mut told = field.metadata().clone();
                told.insert(PARQUET_FIELD_ID_META_KEY.to_string(), id.to_string());
                *field = Arc::new(field.as_ref().clone().with_metadata(told));
            }
        }
        let mut columns = batch.columns().to_vec();
        for (field, value) in constants {
            fields.push(Arc::clone(field));
            columns.push(take(value, &UInt32Array::from(vec![0; rows]), None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
    }
}

fn field_id(field: &arrow::datatypes::Field) -> Option<String> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).cloned()
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
    let schema = Arc::new(ArrowSchema::new(fields));
    RecordBatch::try_new_with_options(
        schema,
        arrays,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .map_err(arrow)
}
