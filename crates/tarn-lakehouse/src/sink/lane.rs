//! Lanes: the rows of a large commit are encoded by several tasks at once, each with files of its own.

use std::sync::Arc;

use arrow::array::RecordBatch;
use iceberg::spec::{DataFile, PartitionKey, TableMetadata};
use tarn_core::Env;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::data_file::{DataFileWriter, FileFactory};
use crate::error::LakehouseError;

/// Rows that are worth a lane.
const LANE_ROWS_MIN: usize = 128 * 1024;
/// Lanes at most, so that a commit does not take a large machine from everyone else.
const LANES_MAX: usize = 8;
/// Batches that wait for a lane.
const WAITING_MAX: usize = 2;
/// Rows after which the next data file starts.
const FILE_ROWS_MAX: u64 = 4_000_000;

/// How many lanes `rows` rows are spread over.
pub fn lanes(rows: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (rows / LANE_ROWS_MIN).clamp(1, cores.min(LANES_MAX))
}

/// A task that writes the batches it is given, in order. Dropped unfinished, it stops.
pub struct Lane {
    to: mpsc::Sender<RecordBatch>,
    task: AbortOnDropHandle<Result<Vec<DataFile>, LakehouseError>>,
    table: String,
}

impl Lane {
    /// Starts the task. `partition`: of all rows that come, in a table with partitions.
    pub fn open(
        factory: &FileFactory,
        metadata: &Arc<TableMetadata>,
        partition: Option<PartitionKey>,
        env: &Env,
    ) -> Self {
        let (to, batches) = mpsc::channel(WAITING_MAX);
        let task = env.spawner.spawn(write(factory.clone(), Arc::clone(metadata), partition, batches));
        Self { to, task: AbortOnDropHandle::new(task), table: factory.table().into() }
    }

    /// Hands over a batch of the table's schema. `false` if the task has failed: [`Lane::close`] says why.
    pub async fn write(&self, batch: RecordBatch) -> bool {
        self.to.send(batch).await.is_ok()
    }

    /// The files, durable, in the order of their rows. Errors: those of writing.
    pub async fn close(self) -> Result<Vec<DataFile>, LakehouseError> {
        drop(self.to);
        self.task.await.unwrap_or_else(|error| {
            Err(LakehouseError::Invalid {
                what: format!("writing files of table `{}` ended: {error}", self.table),
            })
        })
    }
}

async fn write(
    factory: FileFactory,
    metadata: Arc<TableMetadata>,
    partition: Option<PartitionKey>,
    mut batches: mpsc::Receiver<RecordBatch>,
) -> Result<Vec<DataFile>, LakehouseError> {
    let mut files = Vec::new();
    let mut writer: Option<DataFileWriter> = None;
    while let Some(batch) = batches.recv().await {
        let mut file = match writer.take() {
            Some(file) => file,
            None => match &partition {
                None => factory.data(&metadata).await?,
                Some(partition) => factory.data_in(&metadata, partition).await?,
            },
        };
        file.write(&batch).await?;
        if file.rows() >= FILE_ROWS_MAX {
            files.push(file.close().await?);
        } else {
            writer = Some(file);
        }
    }
    if let Some(file) = writer {
        files.push(file.close().await?);
    }
    Ok(files)
}
