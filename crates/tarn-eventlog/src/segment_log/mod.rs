//! The embedded log: segment files on a local disk.
//!
//! Way of an append: `codec` makes a frame in the caller's task, `committer` gathers frames of all partitions, the
//! partition's `writer` writes and flushes them, and `partition` shows them to `reader`; `recent` keeps the newest in
//! memory for those at the tail. `recovery` opens what a crash left, `retention` drops old segments, `topics` and
//! `topic` know what there is.

mod codec;
mod committer;
mod config;
mod fault;
mod folder;
mod frame;
mod output;
mod partition;
mod reader;
mod recent;
mod recovery;
mod retention;
mod segment;
mod stats;
mod topic;
mod topics;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use tarn_core::{ByteSize, Env, Fault, RequestContext, TopicName, chain_text};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub use config::{Compression, EventLogConfig};
pub use stats::{LogStats, TopicStats};

use self::codec::{encode_rows, stored_form};
use self::committer::{Arrival, Committer};
use self::fault::io_error;
use self::frame::{Frame, FrameKind, NAME_LEN_MAX, NOTE_LEN_MAX, notes};
use self::partition::{Entry, Partition, Pending};
use self::recent::RecentRows;
use self::stats::Counters;
use self::topic::{Surroundings, Topic};
use self::topics::Topics;
use crate::error::EventLogError;
use crate::port::{
    Append, Appended, ConsumerPosition, EventLog, Offset, ProducerState, ReadBatches, ReadLimits, TopicInfo,
    TopicSpec,
};

/// Batches up to this size are encoded where they are; longer ones would hold up other tasks.
const INLINE_BYTES_MAX: usize = 192 << 10;
const RETENTION_CHECK_MIN: Duration = Duration::from_millis(100);

/// The embedded event log in a folder of a local disk; one process at a time.
#[derive(Debug)]
pub struct SegmentLog {
    env: Env,
    compression: Compression,
    topics: Arc<Topics>,
    recent: Arc<RecentRows>,
    committer: Arc<Committer>,
    is_closed: AtomicBool,
}

impl SegmentLog {
    /// Opens the log in `folder`, made where there is none, and cuts off what a crash left unfinished.
    ///
    /// Must be called within a Tokio runtime. Errors: `Locked` when another process has it open, `Io`, `DiskFull`,
    /// `CorruptSegment` when a topic's description is damaged. Damaged rows are reported when they are used.
    pub async fn open(
        folder: impl Into<PathBuf>,
        config: EventLogConfig,
        env: Env,
    ) -> Result<Arc<Self>, EventLogError> {
        let folder = folder.into();
        let recent_bytes = usize::try_from(config.recent_bytes.0).unwrap_or(usize::MAX);
        let recent = Arc::new(RecentRows::new(recent_bytes));
        let around = Surroundings {
            env: env.clone(),
            counters: Arc::new(Counters::default()),
            recent: recent.clone(),
            segment_bytes: config.segment_bytes.0,
        };
        let shown = folder.display().to_string();
        let topics = on_disk(&env, move || Topics::open(folder, around)).await?;
        info!(folder = shown, topics = topics.all().len(), "event log opened");
        let ByteSize(flush_bytes) = config.flush_bytes;
        let topics = Arc::new(topics);
        let committer = Committer::new(env.clone(), topics.clone(), config.flush_interval.0, flush_bytes);
        let log = Arc::new(Self {
            committer: Arc::new(committer),
            compression: config.compression,
            topics,
            recent,
            is_closed: AtomicBool::new(false),
            env: env.clone(),
        });
        let interval = config.retention_check_interval.0.max(RETENTION_CHECK_MIN);
        env.spawner.spawn(apply_retention_on_time(Arc::downgrade(&log), env.clone(), interval));
        Ok(log)
    }

    /// Makes durable what is queued, refuses everything afterwards, and lets other processes open the folder.
    pub async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.committer.close().await;
        let topics = self.topics.clone();
        if let Err(error) = self.env.spawner.spawn_blocking(move || topics.close()).await {
            warn!(%error, "event log not closed");
        }
    }

    /// What was written since the log was opened.
    pub fn stats(&self) -> LogStats {
        self.topics.stats()
    }

    fn open_topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<Arc<Topic>, EventLogError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(EventLogError::Closed);
        }
        self.topics.get(&ctx.tenant, name)
    }

    fn open_partition(
        &self,
        ctx: &RequestContext,
        name: &TopicName,
        partition: u32,
    ) -> Result<Arc<Partition>, EventLogError> {
        let topic = self.open_topic(ctx, name)?;
        let partitions = topic.partitions.len() as u32; // At most `PARTITIONS_MAX`.
        let missing = || EventLogError::PartitionNotFound { topic: name.clone(), partition, partitions };
        topic.partitions.get(partition as usize).cloned().ok_or_else(missing)
    }

    /// Encodes rows, off the async threads where it takes long.
    async fn encode(
        &self,
        topic: &TopicName,
        batch: RecordBatch,
        extra: Vec<u8>,
    ) -> Result<Frame, EventLogError> {
        let compression = self.compression;
        let size = batch.get_array_memory_size();
        let encoded = if size <= INLINE_BYTES_MAX {
            encode_rows(&batch, &extra, compression)
        } else {
            let work = move || encode_rows(&batch, &extra, compression);
            let done = self.env.spawner.spawn_blocking(work).await;
            done.unwrap_or_else(|error| Err(ArrowError::ExternalError(Box::new(error))))
        };
        encoded.map_err(|source| match source {
            ArrowError::InvalidArgumentError(what) | ArrowError::NotYetImplemented(what) => {
                EventLogError::InvalidAppend {
                    what: format!("a batch of topic `{topic}` cannot be stored: {what}"),
                }
            }
            source => EventLogError::Codec { action: "encode", topic: topic.clone(), source },
        })
    }

    /// Queues a frame and waits until it is durable.
    async fn commit(
        &self,
        partition: &Arc<Partition>,
        frame: Frame,
        entry: Entry,
        arrival: Arrival,
    ) -> Result<Appended, EventLogError> {
        let kept = match &entry {
            Entry::Rows { batch: Some(batch), .. } => batch.get_array_memory_size() as u64,
            _ => 0,
        };
        let bytes = frame.len() + kept;
        let (share, arrival) = match self.committer.share_now(bytes) {
            Some(share) => (share, Some(arrival)),
            None => {
                // Room comes from a round, which must not wait for this append.
                drop(arrival);
                (self.committer.share(bytes).await?, None)
            }
        };
        let (reply, answer) = oneshot::channel();
        self.committer.enqueue(partition, Pending { frame, entry, reply, _share: share })?;
        drop(arrival);
        answer.await.unwrap_or_else(|_| {
            let source = std::io::Error::other("the write was interrupted; open the log again to go on");
            Err(io_error("write", &partition.place.folder, source))
        })
    }
}

#[async_trait]
impl EventLog for SegmentLog {
    async fn create_topic(&self, ctx: &RequestContext, spec: TopicSpec) -> Result<TopicInfo, EventLogError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(EventLogError::Closed);
        }
        let (topics, tenant) = (self.topics.clone(), ctx.tenant.clone());
        on_disk(&self.env, move || topics.create(&tenant, spec)).await
    }

    async fn drop_topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<(), EventLogError> {
        self.open_topic(ctx, name)?;
        let (topics, tenant, name) = (self.topics.clone(), ctx.tenant.clone(), name.clone());
        on_disk(&self.env, move || topics.drop_topic(&tenant, &name)).await
    }

    async fn topics(&self, ctx: &RequestContext) -> Result<Vec<TopicInfo>, EventLogError> {
        Ok(self.topics.of_tenant(&ctx.tenant).iter().map(|topic| topic.info()).collect())
    }

    async fn topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<TopicInfo, EventLogError> {
        Ok(self.open_topic(ctx, name)?.info())
    }

    async fn append(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        append: Append,
    ) -> Result<Appended, EventLogError> {
        let partition = self.open_partition(ctx, topic, partition)?;
        partition.check_damage()?;
        let Append { batch, state } = append;
        let mut extra = Vec::new();
        if let Some(state) = &state {
            check_state(state)?;
            notes::put_state(&mut extra, state);
        }
        if batch.num_rows() == 0 && state.is_none() {
            let high = partition.info().high_offset;
            return Ok(Appended { first_offset: high, next_offset: high });
        }
        let arrival = self.committer.arrive();
        if batch.num_rows() == 0 {
            let frame = Frame::with_body(FrameKind::Rows, &extra, &[]);
            return self
                .commit(&partition, frame, Entry::Rows { schema: None, state, batch: None }, arrival)
                .await;
        }
        check_batch(topic, &batch)?;
        let batch = stored_form(&batch).map_err(|source| EventLogError::Codec {
            action: "encode",
            topic: topic.clone(),
            source,
        })?;
        let schema = Some(batch.schema());
        let kept = self.recent.is_worth(&batch).then(|| batch.clone());
        let frame = self.encode(topic, batch, extra).await?;
        self.commit(&partition, frame, Entry::Rows { schema, state, batch: kept }, arrival).await
    }

    async fn read(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        offset: Offset,
        limits: ReadLimits,
    ) -> Result<ReadBatches, EventLogError> {
        let partition = self.open_partition(ctx, topic, partition)?;
        if partition.check_offset(offset)? == offset {
            partition.check_damage()?;
            if !limits.wait.is_zero() {
                partition.wait_for(ctx, offset, limits.wait).await;
            }
            let high_offset = partition.check_offset(offset)?;
            if high_offset == offset {
                let settled_offset = partition.view.read().settled;
                let batches = Vec::new();
                return Ok(ReadBatches { batches, next_offset: offset, high_offset, settled_offset });
            }
        }
        if let Some(found) = partition.read_recent(offset, limits) {
            return Ok(found);
        }
        on_disk(&self.env, move || partition.read(offset, limits)).await
    }

    async fn offset_at(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        time_ms: i64,
    ) -> Result<Offset, EventLogError> {
        let partition = self.open_partition(ctx, topic, partition)?;
        on_disk(&self.env, move || partition.offset_at(time_ms)).await
    }

    async fn producer_state(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        producer: &str,
    ) -> Result<Option<ProducerState>, EventLogError> {
        let partition = self.open_partition(ctx, topic, partition)?;
        partition.check_damage()?;
        Ok(partition.view.read().producers.get(producer).cloned())
    }

    async fn commit_position(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        consumer: &str,
        offset: Offset,
    ) -> Result<(), EventLogError> {
        let partition = self.open_partition(ctx, topic, partition)?;
        partition.check_damage()?;
        check_name("consumer", consumer)?;
        let high = partition.info().high_offset;
        if offset > high {
            let what = format!("consumer `{consumer}` cannot be at {offset}: topic `{topic}` ends at {high}");
            return Err(EventLogError::InvalidAppend { what });
        }
        let arrival = self.committer.arrive();
        let frame = Frame::with_body(FrameKind::Position, &[], &[]);
        let entry = Entry::Position { consumer: consumer.to_string(), offset };
        self.commit(&partition, frame, entry, arrival).await.map(|_| ())
    }

    async fn positions(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
    ) -> Result<Vec<ConsumerPosition>, EventLogError> {
        let topic = self.open_topic(ctx, topic)?;
        let mut found = Vec::new();
        for partition in &topic.partitions {
            partition.check_damage()?;
            let view = partition.view.read();
            found.extend(view.positions.iter().map(|(consumer, position)| ConsumerPosition {
                consumer: consumer.clone(),
                partition: partition.place.partition,
                offset: position.offset,
                committed_ms: position.committed_ms,
            }));
        }
        found.sort_by(|a, b| (&a.consumer, a.partition).cmp(&(&b.consumer, b.partition)));
        Ok(found)
    }

    async fn apply_retention(&self, ctx: &RequestContext, topic: &TopicName) -> Result<u64, EventLogError> {
        let topic = self.open_topic(ctx, topic)?;
        // Keeps the folder locked until this is done.
        let topics = self.topics.clone();
        let work = move || {
            let freed = topic.apply_retention();
            drop(topics);
            freed
        };
        on_disk(&self.env, work).await
    }
}

fn check_name(kind: &str, name: &str) -> Result<(), EventLogError> {
    if (1..=NAME_LEN_MAX).contains(&name.len()) {
        return Ok(());
    }
    let what = format!("a {kind} name has {} bytes; use 1 to {NAME_LEN_MAX}", name.len());
    Err(EventLogError::InvalidAppend { what })
}

fn check_state(state: &ProducerState) -> Result<(), EventLogError> {
    check_name("producer", &state.producer)?;
    if state.note.len() <= NOTE_LEN_MAX {
        return Ok(());
    }
    let (producer, len) = (&state.producer, state.note.len());
    let what = format!("the note of producer `{producer}` has {len} bytes; at most {NOTE_LEN_MAX} are kept");
    Err(EventLogError::InvalidAppend { what })
}

fn check_batch(topic: &TopicName, batch: &RecordBatch) -> Result<(), EventLogError> {
    if batch.num_columns() > 0 {
        return Ok(());
    }
    let what = format!("a batch of topic `{topic}` has rows but no columns");
    Err(EventLogError::InvalidAppend { what })
}

/// Runs work that blocks on the disk off the async threads.
async fn on_disk<T: Send + 'static>(
    env: &Env,
    work: impl FnOnce() -> Result<T, EventLogError> + Send + 'static,
) -> Result<T, EventLogError> {
    let done: JoinHandle<Result<T, EventLogError>> = env.spawner.spawn_blocking(work);
    match done.await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(EventLogError::Closed),
    }
}

async fn apply_retention_on_time(log: Weak<SegmentLog>, env: Env, interval: Duration) {
    let stopping = env.spawner.stopping();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = env.clock.sleep(interval) => {}
        }
        let Some(log) = log.upgrade().filter(|log| !log.is_closed.load(Ordering::Acquire)) else { return };
        let topics = log.topics.clone();
        drop(log);
        let applied = on_disk(&env, move || {
            for topic in topics.all() {
                match topic.apply_retention() {
                    Ok(0) => {}
                    Ok(bytes) => info!(topic = %topic.name(), bytes, "old segments dropped"),
                    Err(error) => warn!(
                        topic = %topic.name(), kind = error.kind().as_str(), error = chain_text(&error),
                        "retention not applied"
                    ),
                }
            }
            Ok(())
        });
        if applied.await.is_err() {
            return;
        }
    }
}
