//! The real log with faults put in between.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tarn_core::{RequestContext, TopicName};
use tarn_eventlog::{
    Append, Appended, ConsumerPosition, EventLog, EventLogError, Offset, ProducerState, ReadBatches,
    ReadLimits, SegmentLog, TopicInfo, TopicSpec,
};

/// What happens to the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    DiskFull,
    /// The append fails and nothing is kept.
    Lost,
    /// The append seems to fail, but it is durable.
    Uncertain,
}

#[derive(Debug)]
pub struct FaultyLog {
    pub inner: Arc<SegmentLog>,
    faults: Mutex<VecDeque<AppendFault>>,
}

impl FaultyLog {
    pub fn new(inner: Arc<SegmentLog>) -> Arc<Self> {
        Arc::new(Self { inner, faults: Mutex::default() })
    }

    pub fn inject(&self, faults: impl IntoIterator<Item = AppendFault>) {
        self.faults.lock().expect("not poisoned").extend(faults);
    }

    pub fn faults_left(&self) -> usize {
        self.faults.lock().expect("not poisoned").len()
    }
}

fn io_error() -> EventLogError {
    EventLogError::Io {
        action: "write",
        path: "segment".to_string(),
        source: io::Error::other("the disk hiccups"),
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    async fn append(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        append: Append,
    ) -> Result<Appended, EventLogError> {
        let fault = self.faults.lock().expect("not poisoned").pop_front();
        match fault {
            None => self.inner.append(ctx, topic, partition, append).await,
            Some(AppendFault::DiskFull) => Err(EventLogError::DiskFull { source: io::Error::other("full") }),
            Some(AppendFault::Lost) => Err(io_error()),
            Some(AppendFault::Uncertain) => {
                self.inner.append(ctx, topic, partition, append).await?;
                Err(io_error())
            }
        }
    }

    async fn create_topic(&self, ctx: &RequestContext, spec: TopicSpec) -> Result<TopicInfo, EventLogError> {
        self.inner.create_topic(ctx, spec).await
    }

    async fn drop_topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<(), EventLogError> {
        self.inner.drop_topic(ctx, name).await
    }

    async fn topics(&self, ctx: &RequestContext) -> Result<Vec<TopicInfo>, EventLogError> {
        self.inner.topics(ctx).await
    }

    async fn topic(&self, ctx: &RequestContext, name: &TopicName) -> Result<TopicInfo, EventLogError> {
        self.inner.topic(ctx, name).await
    }

    async fn read(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        offset: Offset,
        limits: ReadLimits,
    ) -> Result<ReadBatches, EventLogError> {
        self.inner.read(ctx, topic, partition, offset, limits).await
    }

    async fn offset_at(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        time_ms: i64,
    ) -> Result<Offset, EventLogError> {
        self.inner.offset_at(ctx, topic, partition, time_ms).await
    }

    async fn producer_state(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        producer: &str,
    ) -> Result<Option<ProducerState>, EventLogError> {
        self.inner.producer_state(ctx, topic, partition, producer).await
    }

    async fn commit_position(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
        partition: u32,
        consumer: &str,
        offset: Offset,
    ) -> Result<(), EventLogError> {
        self.inner.commit_position(ctx, topic, partition, consumer, offset).await
    }

    async fn positions(
        &self,
        ctx: &RequestContext,
        topic: &TopicName,
    ) -> Result<Vec<ConsumerPosition>, EventLogError> {
        self.inner.positions(ctx, topic).await
    }

    async fn apply_retention(&self, ctx: &RequestContext, topic: &TopicName) -> Result<u64, EventLogError> {
        self.inner.apply_retention(ctx, topic).await
    }
}
