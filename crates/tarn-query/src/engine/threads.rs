//! Threads of their own for queries: work that keeps every core busy for minutes leaves those alone that answer.

use std::fmt;
use std::sync::Arc;

use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

/// Batches that wait for the reader.
const WAITING_MAX: usize = 2;

/// Where plans run, as long as the engine or a reader of rows is there.
#[derive(Clone)]
pub(super) struct QueryThreads(Arc<Threads>);

struct Threads(Option<Runtime>);

impl fmt::Debug for QueryThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryThreads").finish_non_exhaustive()
    }
}

/// Plans are as deep as queries and views are nested. Memory that is not touched costs nothing.
const STACK_BYTES: usize = 32 << 20;

impl QueryThreads {
    /// Starts `threads` threads. Errors: the system has none left.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads.max(1)).thread_name("tarn-query").enable_all();
        builder.thread_stack_size(STACK_BYTES);
        Ok(Self(Arc::new(Threads(Some(builder.build()?)))))
    }

    /// The rows of a plan. Dropping them stops it; whoever reads them holds the threads. Errors come with the rows.
    pub(super) fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> SendableRecordBatchStream {
        let schema = plan.schema();
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), WAITING_MAX);
        let to = stream.tx();
        let work = async move {
            // Some plans start tasks at once, so they are started here.
            let mut rows = execute_stream(plan, context)?;
            while let Some(batch) = rows.next().await {
                if to.send(batch).await.is_err() {
                    break;
                }
            }
            DfResult::Ok(())
        };
        if let Some(runtime) = &self.0.0 {
            stream.spawn_on(work, runtime.handle());
        }
        let threads = self.clone();
        let rows = stream.build().inspect(move |_| {
            let _held = &threads;
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // It may go on a thread that must not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
