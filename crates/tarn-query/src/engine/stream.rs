//! The rows of a running query, with its limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tarn_core::Clock;

use crate::QueryError;
use crate::engine::output::OutputTypes;
use crate::engine::registry::QueryTicket;
use crate::scan::{ScanCounters, ScanStats};
use crate::sql::Diagnosis;

/// What a query read and gave; grows while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryStats {
    /// Rows delivered.
    pub rows: u64,
    /// More rows existed than `rows_max` let through.
    pub truncated: bool,
    /// Time since the query came, queue and planning included.
    pub elapsed_ms: f64,
    /// Of it, time until the plan was ready.
    pub planning_ms: f64,
    /// Files and bytes read.
    pub scan: ScanStats,
}

/// Shows the figures of a query while its stream is being read and afterwards. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StatsHandle(Arc<Mutex<QueryStats>>);

impl StatsHandle {
    /// The figures now.
    pub fn get(&self) -> QueryStats {
        *self.0.lock()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut QueryStats)) {
        change(&mut self.0.lock());
    }
}

/// What a statement did that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// As PostgreSQL names it, such as `INSERT` or `CREATE TABLE`.
    pub tag: &'static str,
    /// Rows that were inserted, updated or deleted, for a statement about rows.
    pub rows: Option<u64>,
    /// The stream gives the rows of `RETURNING`, or of `EXPLAIN ANALYZE`, and not their number.
    pub returns: bool,
}

/// Everything a stream needs to run to its end.
pub(crate) struct Execution {
    pub(crate) ticket: QueryTicket,
    pub(crate) stats: StatsHandle,
    pub(crate) counters: Arc<ScanCounters>,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) rows: SendableRecordBatchStream,
    pub(crate) output: OutputTypes,
    pub(crate) rows_max: Option<u64>,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<(Instant, Duration)>,
    pub(crate) plan_text: Option<String>,
    pub(crate) permit: Option<tokio::sync::OwnedSemaphorePermit>,
    pub(crate) command: Option<Command>,
}

/// The result of a query, batch by batch. Dropping it stops the query.
pub struct QueryStream {
    query_id: String,
    schema: SchemaRef,
    stats: StatsHandle,
    plan_text: Option<String>,
    command: Option<Command>,
    running: Option<Running>,
}

struct Running {
    execution: Execution,
    cancelled: BoxFuture<'static, ()>,
    expired: Option<(BoxFuture<'static, ()>, Duration)>,
    /// A row was seen after the limit was reached.
    rows: u64,
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream").field("query_id", &self.query_id).finish_non_exhaustive()
    }
}

impl QueryStream {
    pub(crate) fn new(mut execution: Execution) -> Self {
        let cancelled = execution.ticket.cancelled().cancelled_owned().boxed();
        let now = execution.clock.instant();
        let expired = execution
            .deadline
            .map(|(at, limit)| (execution.clock.sleep(at.saturating_duration_since(now)), limit));
        Self {
            query_id: execution.ticket.query_id().to_string(),
            schema: execution.output.schema(),
            stats: execution.stats.clone(),
            plan_text: execution.plan_text.take(),
            command: execution.command,
            running: Some(Running { execution, cancelled, expired, rows: 0 }),
        }
    }

    /// The id under which the query can be cancelled.
    pub fn query_id(&self) -> &str {
        &self.query_id
    }

    /// Columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The figures of the query; complete once the stream has ended.
    pub fn stats(&self) -> StatsHandle {
        self.stats.clone()
    }

    /// The physical plan as text, where `QueryOptions::explain` asked for it.
    pub fn plan_text(&self) -> Option<&str> {
        self.plan_text.as_deref()
    }

    /// What the statement did, for one that changes something; it is done when the stream is there.
    pub fn command(&self) -> Option<Command> {
        self.command
    }

    /// Reads the stream to its end. Memory: the whole result. Errors: those of the stream.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(running) = self.running.as_mut() else { return Poll::Ready(None) };
        match running.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(batch))) => Poll::Ready(Some(Ok(batch))),
            Poll::Ready(end) => {
                self.running = None;
                Poll::Ready(end)
            }
        }
    }
}

impl Running {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch, QueryError>>> {
        let query_id = || self.execution.ticket.query_id().to_string();
        if self.cancelled.poll_unpin(cx).is_ready() {
            let error = QueryError::Cancelled { query_id: query_id() };
            return self.end(Err(error));
        }
        if let Some((expired, limit)) = &mut self.expired
            && expired.poll_unpin(cx).is_ready()
        {
            let error = QueryError::TimedOut { query_id: query_id(), limit: *limit };
            return self.end(Err(error));
        }
        loop {
            return match self.execution.rows.poll_next_unpin(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => self.end(Ok(())),
                Poll::Ready(Some(Err(error))) => self.fail(error),
                Poll::Ready(Some(Ok(batch))) if batch.num_rows() == 0 => continue,
                Poll::Ready(Some(Ok(batch))) => self.deliver(batch),
            };
        }
    }

    fn deliver(&mut self, batch: RecordBatch) -> Poll<Option<Result<RecordBatch, QueryError>>> {
        let left = self.execution.rows_max.map_or(u64::MAX, |max| max.saturating_sub(self.rows));
        if left == 0 {
            self.execution.stats.update(|stats| stats.truncated = true);
            return self.end(Ok(()));
        }
        let fits = usize::try_from(left).unwrap_or(usize::MAX);
        let batch = if batch.num_rows() > fits {
            self.execution.stats.update(|stats| stats.truncated = true);
            batch.slice(0, fits)
        } else {
            batch
        };
        self.rows += batch.num_rows() as u64;
        self.execution.stats.update(|stats| stats.rows = self.rows);
        match self.execution.output.apply(batch) {
            Ok(batch) => Poll::Ready(Some(Ok(batch))),
            Err(error) => self.fail(error.into()),
        }
    }

    fn fail(&mut self, error: DataFusionError) -> Poll<Option<Result<RecordBatch, QueryError>>> {
        let error = self.execution.diagnosis.explain(error);
        self.end(Err(error))
    }

    fn end(&mut self, result: Result<(), QueryError>) -> Poll<Option<Result<RecordBatch, QueryError>>> {
        let execution = &mut self.execution;
        let scan = execution.counters.read(execution.plan.as_ref());
        let elapsed = execution.clock.instant().saturating_duration_since(execution.started);
        execution.stats.update(|stats| {
            stats.scan = scan;
            stats.elapsed_ms = elapsed.as_secs_f64() * 1_000.0;
        });
        execution.permit = None;
        execution.ticket.end(match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(error),
        });
        Poll::Ready(result.err().map(Err))
    }
}
