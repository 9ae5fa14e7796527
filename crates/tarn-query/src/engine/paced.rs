//! Lets a join of all rows with all be stopped.
//!
//! Such a join asks for the next rows of its right side after it has compared the last ones with every row of its left
//! side, and lets nobody else run in between. It is therefore given few rows at a time, with a pause before each in
//! which the task can be stopped.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, Statistics};
use futures::{Stream, StreamExt};

/// Rows passed on at a time: with a million rows on the other side, about a second of work.
const ROWS_MAX: usize = 256;

/// Passes rows on, few at a time.
#[derive(Debug)]
pub(super) struct Paced {
    input: Arc<dyn ExecutionPlan>,
}

impl Paced {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for Paced {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacedExec")
    }
}

impl ExecutionPlan for Paced {
    fn name(&self) -> &str {
        "PacedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| {
            DataFusionError::Internal("a plan that passes rows on has exactly one input".to_string())
        })?;
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        Ok(Box::pin(PacedRows { schema: self.input.schema(), rows, left: None, has_paused: false }))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        self.input.partition_statistics(partition)
    }
}

struct PacedRows {
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
    /// What is left of the batch that came last.
    left: Option<RecordBatch>,
    has_paused: bool,
}

impl Stream for PacedRows {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.has_paused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let batch = match self.left.take() {
            Some(batch) => batch,
            None => match std::task::ready!(self.rows.poll_next_unpin(cx)) {
                Some(Ok(batch)) => batch,
                end => return Poll::Ready(end),
            },
        };
        self.has_paused = false;
        if batch.num_rows() <= ROWS_MAX {
            return Poll::Ready(Some(Ok(batch)));
        }
        self.left = Some(batch.slice(ROWS_MAX, batch.num_rows() - ROWS_MAX));
        Poll::Ready(Some(Ok(batch.slice(0, ROWS_MAX))))
    }
}

impl RecordBatchStream for PacedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
