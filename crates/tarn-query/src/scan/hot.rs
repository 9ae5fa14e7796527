//! Rows that are visible but not in a file yet.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// Rows per partition below which splitting costs more than it gives.
const ROWS_PER_PARTITION_MIN: usize = 65_536;

/// Scans `batches`. `table`: the table's schema as queries see it, same columns as the batches; `projection`: columns of
/// it to give.
pub(super) fn scan(
    batches: &[RecordBatch],
    table: &SchemaRef,
    projection: &[usize],
    partitions_max: usize,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let partitions = (rows / ROWS_PER_PARTITION_MIN).clamp(1, partitions_max.max(1));
    let stored = stored_schema(batches, table);
    let mut split: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions];
    let mut loads = vec![0_usize; partitions];
    for batch in batches {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&stored), batch.columns().to_vec(), &options)?;
        let lightest = loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(index, _)| index);
        loads[lightest] += batch.num_rows();
        split[lightest].push(batch);
    }
    let source = MemorySourceConfig::try_new_exec(&split, Arc::clone(&stored), Some(projection.to_vec()))?;
    let mut casts = false;
    let expressions: Vec<ProjectionExpr> = projection
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let (from, to) = (stored.field(*column), table.field(*column));
            let value: Arc<dyn PhysicalExpr> = Arc::new(Column::new(from.name(), at));
            if from.data_type() == to.data_type() {
                return ProjectionExpr { expr: value, alias: to.name().clone() };
            }
            casts = true;
            ProjectionExpr {
                expr: Arc::new(CastExpr::new(value, to.data_type().clone(), None)),
                alias: to.name().clone(),
            }
        })
        .collect();
    // Only the columns that are read are cast to the engine's types, and only when they are read.
    if casts { Ok(Arc::new(ProjectionExec::try_new(expressions, source)?)) } else { Ok(source) }
}

/// The table's fields with the types in which the batches hold them.
fn stored_schema(batches: &[RecordBatch], table: &Schema) -> SchemaRef {
    let Some(first) = batches.first() else { return Arc::new(table.clone()) };
    let fields = table.fields().iter().zip(first.schema_ref().fields()).map(|(field, stored)| {
        Arc::new(field.as_ref().clone().with_data_type(stored.data_type().clone())) as FieldRef
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
