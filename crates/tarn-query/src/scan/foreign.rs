//! Files that others wrote, read as they are: `read_csv('…')` and its like.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use serde_json::Value;
use tarn_core::RequestContext;
use tarn_core::files::{FileChunk, Files, FilesFault, FilesPlan, ListedFile};

use crate::QueryError;

/// Files as a table.
#[derive(Debug)]
pub(crate) struct ForeignTable {
    shared: Arc<Shared>,
    files: Vec<ListedFile>,
}

#[derive(Debug)]
struct Shared {
    reader: Arc<dyn Files>,
    ctx: RequestContext,
    settled: Value,
    schema: SchemaRef,
    ignores_errors: bool,
}

impl ForeignTable {
    /// Of a plan. `ignores_errors`: records that are no rows are left out.
    pub(crate) fn new(
        reader: Arc<dyn Files>,
        ctx: RequestContext,
        plan: FilesPlan,
        ignores_errors: bool,
    ) -> Self {
        let FilesPlan { settled, schema, files, .. } = plan;
        Self { shared: Arc::new(Shared { reader, ctx, settled, schema, ignores_errors }), files }
    }
}

#[async_trait]
impl TableProvider for ForeignTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns = self.shared.schema.fields().len();
        let projection = projection.cloned().unwrap_or_else(|| (0..columns).collect());
        let schema = Arc::new(self.shared.schema.project(&projection)?);
        let lanes = state.config().target_partitions().clamp(1, self.files.len().max(1));
        let lane = |lane: usize| {
            let files = self.files.iter().skip(lane).step_by(lanes).cloned().collect();
            let (shared, projection) = (Arc::clone(&self.shared), projection.clone());
            Arc::new(Lane { shared, files, projection, schema: Arc::clone(&schema) })
                as Arc<dyn PartitionStream>
        };
        let lanes = (0..lanes).map(lane).collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, lanes, None, None, false, limit)?))
    }
}

/// Some of the files, one after the other.
#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    files: Vec<ListedFile>,
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for Lane {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let rows = builder.tx();
        let (shared, files) = (Arc::clone(&self.shared), self.files.clone());
        let (projection, schema) = (self.projection.clone(), Arc::clone(&self.schema));
        builder.spawn(async move {
            for file in &files {
                let opened = shared.reader.read(&shared.ctx, &shared.settled, file, 0).await;
                let mut reader = opened.map_err(|fault| failed(&fault))?;
                while let Some(chunk) = reader.next().await.map_err(|fault| failed(&fault))? {
                    shared.check(&chunk)?;
                    let batch = shared.shaped(&chunk.rows, &projection, &schema)?;
                    if rows.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        builder.build()
    }
}

fn failed(fault: &FilesFault) -> DataFusionError {
    QueryError::from_fault(fault).into()
}

impl Shared {
    fn check(&self, chunk: &FileChunk) -> DfResult<()> {
        let Some(first) = chunk.problems.first().filter(|_| !self.ignores_errors) else { return Ok(()) };
        let what = format!("{}:{}: {}", first.file, first.line, first.reason);
        let hint = "mend the file, look at more rows for types (`sample_size => -1`), or leave such records out \
                    (`ignore_errors => true`)";
        Err(failed(&FilesFault::invalid(what, hint)))
    }

    /// Some columns of rows of one file, as the table has them.
    fn shaped(&self, rows: &RecordBatch, projection: &[usize], schema: &SchemaRef) -> DfResult<RecordBatch> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let column = |at: &usize| -> DfResult<_> {
            let field = self.schema.field(*at);
            Ok(match rows.column_by_name(field.name()) {
                None => new_null_array(field.data_type(), rows.num_rows()),
                Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
                Some(column) => cast_with_options(column, field.data_type(), &strict)?,
            })
        };
        let columns = projection.iter().map(column).collect::<DfResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}
