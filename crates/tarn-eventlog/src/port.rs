//! The port `EventLog`: named, partitioned, ordered, durable topics of Arrow batches of change rows.

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, HumanDuration, Position, RequestContext, TopicName};

use crate::error::EventLogError;

/// The number of a row within a topic partition, from 0 without gaps.
pub type Offset = u64;

/// How long and how much a topic keeps. Whole segments are dropped, oldest first; without limits all is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Rows older than this may be dropped, such as `"7d"`.
    pub age: Option<HumanDuration>,
    /// The oldest rows of a partition are dropped above this size, such as `"10GB"`.
    pub size: Option<ByteSize>,
}

/// What a topic is made with.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// At least 1.
    pub partitions: u32,
    /// What it keeps.
    pub retention: Retention,
    /// Names of the key columns of the source table, in key order; empty without a key.
    pub key: Vec<String>,
}

/// A topic as it stands.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// What it was made with.
    pub spec: TopicSpec,
    /// Schema of the newest batch over all partitions; `None` before the first append.
    pub schema: Option<SchemaRef>,
    /// One entry per partition, in order.
    pub partitions: Vec<PartitionInfo>,
    /// When it was made, milliseconds since 1970 UTC.
    pub created_ms: i64,
}

/// A partition of a topic as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The oldest row still held.
    pub low_offset: Offset,
    /// One past the newest durable row.
    pub high_offset: Offset,
    /// Bytes on disk.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u32,
    /// Time of the last append, milliseconds since 1970 UTC.
    pub appended_ms: Option<i64>,
}

/// What the writer of a batch wants back after a crash, stored with the batch and replaced by the next one of the
/// same producer in the same partition. Lives until the topic is dropped, also when retention drops the batch.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerState {
    /// Who wrote: the source's name, or the source's name and a part of it.
    pub producer: String,
    /// The position of the last row that this state covers. An append whose state does not grow is refused as
    /// [`EventLogError::StaleProducer`], so that two writers cannot interleave and a repeated append does not double.
    pub position: Position,
    /// The producer's own note, opaque to the log; at most 1 MiB.
    pub note: Vec<u8>,
    /// The source transaction of the last row goes on in the producer's next append.
    pub transaction_open: bool,
}

impl fmt::Debug for ProducerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.producer, self.position, self.note.len())
    }
}

/// Rows to append to one partition. `batch` may be empty, to store a state alone.
#[derive(Clone, Debug)]
pub struct Append {
    /// The rows.
    pub batch: RecordBatch,
    /// What the writer wants back after a crash.
    pub state: Option<ProducerState>,
}

/// A range of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first row written.
    pub first_offset: Offset,
    /// One past the last row written.
    pub next_offset: Offset,
}

/// Bounds of one read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Stop after the batch that reaches this many rows.
    pub rows_max: usize,
    /// Stop after the batch that reaches this many bytes on disk.
    pub bytes_max: usize,
    /// How long to wait for a first row at the tail; zero returns at once.
    pub wait: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { rows_max: 65_536, bytes_max: 16 << 20, wait: Duration::ZERO }
    }
}

/// A batch of a topic with its place.
#[derive(Clone, Debug)]
pub struct LogBatch {
    /// Offset of the first row. A read that starts inside a stored batch gets the rest of it.
    pub first_offset: Offset,
    /// When it was appended, milliseconds since 1970 UTC.
    pub appended_ms: i64,
    /// The rows, never empty.
    pub batch: RecordBatch,
    /// With the last row, some producer's source transaction is still unfinished.
    pub transaction_open: bool,
}

impl LogBatch {
    /// One past the last row.
    pub(crate) fn next_offset(&self) -> Offset {
        self.first_offset + self.batch.num_rows() as Offset
    }

    /// The rows from `offset` on, which is at most [`LogBatch::next_offset`].
    pub(crate) fn from(&self, offset: Offset) -> Self {
        // Within the batch, whose rows fit in memory.
        let skipped = offset.saturating_sub(self.first_offset) as usize;
        if skipped == 0 {
            return self.clone();
        }
        let batch = self.batch.slice(skipped, self.batch.num_rows() - skipped);
        Self { first_offset: offset, batch, ..*self }
    }
}

/// What a read gives.
#[derive(Clone, Debug, Default)]
pub struct ReadBatches {
    /// In offset order; empty at the tail after the wait.
    pub batches: Vec<LogBatch>,
    /// Where to read on.
    pub next_offset: Offset,
    /// One past the newest durable row when the read ended.
    pub high_offset: Offset,
    /// Rows before it belong to source transactions that are durable as a whole. A transaction may also end with an
    /// append without rows: then this grows and no batch says so.
    pub settled_offset: Offset,
}

/// How far a consumer is in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerPosition {
    /// The consumer.
    pub consumer: String,
    /// The partition.
    pub partition: u32,
    /// The next row it will read.
    pub offset: Offset,
    /// When it was stored, milliseconds since 1970 UTC.
    pub committed_ms: i64,
}

/// Topics. Everything is seen within the tenant of the context.
#[async_trait]
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Makes a topic, or returns the one of that name. Errors: `TopicConflict` when its partitions or key differ
    /// (a changed retention is taken over), `InvalidAppend` for a number of partitions that cannot be.
    async fn create_topic(&self, ctx: &RequestContext, spec: TopicSpec) -> Result<TopicInfo, EventLogError>;

    /// Removes a topic with its rows, states and positions. Errors: `TopicNotFound`.
    async fn drop_topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<(), EventLogError>;

    /// All topics of the tenant, by name.
    async fn topics(&self, ctx: &RequestContext) -> Result<Vec<TopicInfo>, EventLogError>;

    /// One topic. Errors: `TopicNotFound` with the nearest name.
    async fn topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<TopicInfo, EventLogError>;

    /// Appends and returns once the rows and the state are durable. Concurrent appends share one disk flush.
    /// Appends that are awaited one after the other keep their order; those under way together are ordered as they
    /// come. Dropping the future leaves open whether the append happens, but it never happens by half. Columns with
    /// dictionaries are stored as their values.
    /// Errors: `StaleProducer`, `DiskFull` (nothing was written), `TopicNotFound`, `PartitionNotFound`,
    /// `InvalidAppend`, `CorruptSegment` when the end of the partition is damaged.
    async fn append(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        append: Append,
    ) -> Result<Appended, EventLogError>;

    /// Reads durable rows from `offset` on. Dropping the future loses nothing.
    /// Errors: `OffsetOutOfRange` names the oldest held offset; `CorruptSegment`.
    async fn read(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        offset: Offset,
        limits: ReadLimits,
    ) -> Result<ReadBatches, EventLogError>;

    /// The first offset appended at or after a time (milliseconds since 1970 UTC); the high offset if none.
    async fn offset_at(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        time_ms: i64,
    ) -> Result<Offset, EventLogError>;

    /// The last durable state of a producer in a partition.
    async fn producer_state(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        producer: &str,
    ) -> Result<Option<ProducerState>, EventLogError>;

    /// Stores how far a consumer is; durable when it returns. Errors: `InvalidAppend` for an offset beyond the end.
    async fn commit_position(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        consumer: &str,
        offset: Offset,
    ) -> Result<(), EventLogError>;

    /// Stored positions of all consumers of a topic.
    async fn positions(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
    ) -> Result<Vec<ConsumerPosition>, EventLogError>;

    /// Drops whole segments beyond retention now, returns the bytes freed. Also runs by itself.
    async fn apply_retention(&self, ctx: &RequestContext, topic: &TopicName) -> Result<u64, EventLogError>;
}
