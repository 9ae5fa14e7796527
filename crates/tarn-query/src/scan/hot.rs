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
use tarn_lakehouse::HotBatch;

/// Rows per partition below which splitting costs more than it gives.
const ROWS_PER_PARTITION_MIN: usize = 65_536;

/// Scans `batches`. `table`: the table's schema as queries see it, same columns as the batches; `projection`: columns of
/// it to give.
pub(super) fn scan(
    batches: &[HotBatch],
    table: &SchemaRef,
    projection: &[usize],
    partitions_max: usize,
) -> DfResult<Arc<dyn ExecutionPlan>> {
    let rows: usize = batches.iter().map(HotBatch::live_rows).sum();
    let partitions = (rows / ROWS_PER_PARTITION_MIN).clamp(1, partitions_max.max(1));
    let stored = stored_schema(batches, table, projection);
    let mut split: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions];
    let mut loads = vec![0_usize; partitions];
    for batch in batches.iter().filter(|batch| batch.live_rows() > 0) {
        // Only the columns that are read are copied, and only where rows are gone.
        let live = batch.live(projection)?;
        let options = RecordBatchOptions::new().with_row_count(Some(live.num_rows()));
        let live = RecordBatch::try_new_with_options(Arc::clone(&stored), live.columns().to_vec(), &options)?;
        let lightest = loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(index, _)| index);
        loads[lightest] += live.num_rows();
        split[lightest].push(live);
    }
    let source = MemorySourceConfig::try_new_exec(&split, Arc::clone(&stored), None)?;
    let mut casts = false;
    let expressions: Vec<ProjectionExpr> = projection
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let (from, to) = (stored.field(at), table.field(*column));
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

/// The projected fields of the table with the types in which the batches hold them.
fn stored_schema(batches: &[HotBatch], table: &Schema, projection: &[usize]) -> SchemaRef {
    let stored = batches.first().map(|batch| batch.rows.schema());
    let fields = projection.iter().map(|column| {
        let field = table.field(*column).clone();
        Arc::new(match &stored {
            Some(stored) => field.with_data_type(stored.field(*column).data_type().clone()),
            None => field,
        }) as FieldRef
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
