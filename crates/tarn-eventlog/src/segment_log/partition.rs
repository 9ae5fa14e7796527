//! A partition: what is durable in it, who waits for more, and who writes.
//!
//! The writer is the only one that touches the newest segment; it publishes to the view what became durable, and
//! readers see nothing else. Locks are taken in the order writer, view.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parking_lot::{Mutex, RwLock};
use tarn_core::{Env, TopicName};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::fault::{copy_of, corrupt};
use super::frame::{Frame, StoredPosition};
use super::recent::Recent;
use super::recovery::recover;
use super::segment::Segment;
use super::stats::Counters;
use super::writer::Writer;
use crate::error::EventLogError;
use crate::port::{Appended, Offset, PartitionInfo, ProducerState};

/// Where a partition is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) topic: TopicName,
    pub(super) partition: u32,
    pub(super) folder: PathBuf,
}

/// What stands in a segment that cannot be read, and where.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) path: PathBuf,
    pub(super) at: u64,
    pub(super) what: String,
}

impl Damage {
    pub(super) fn error(&self) -> EventLogError {
        corrupt(&self.path, self.at, self.what.clone())
    }
}

/// What is durable.
#[derive(Debug)]
pub(super) struct View {
    /// Oldest first, never empty.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) high: Offset,
    /// Rows before it belong to whole source transactions.
    pub(super) settled: Offset,
    /// Time of the last append of rows; 0 before the first.
    pub(super) appended_ms: i64,
    pub(super) schema: Option<SchemaRef>,
    pub(super) producers: HashMap<String, ProducerState>,
    pub(super) positions: HashMap<String, StoredPosition>,
    /// The newest segment is damaged before its tail: rows before the damage can be read, nothing can be written.
    pub(super) damage: Option<Damage>,
}

impl View {
    pub(super) fn low(&self) -> Offset {
        self.segments.first().map_or(self.high, |segment| segment.header.first_offset)
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len()).sum()
    }
}

/// What an append changes besides the file.
#[derive(Debug)]
pub(super) enum Entry {
    /// Rows, or none; a schema where there are rows, and the rows themselves where they are worth keeping.
    Rows { schema: Option<SchemaRef>, state: Option<ProducerState>, batch: Option<RecordBatch> },
    /// A consumer's place.
    Position { consumer: String, offset: Offset },
}

/// An append that waits to become durable.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) frame: Frame,
    pub(super) entry: Entry,
    pub(super) reply: oneshot::Sender<Result<Appended, EventLogError>>,
    /// Its share of the queue, given back when the append is over.
    pub(super) _share: OwnedSemaphorePermit,
}

/// What waiting readers look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) high: Offset,
    pub(super) settled: Offset,
    pub(super) is_gone: bool,
}

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) place: Place,
    pub(super) env: Env,
    pub(super) counters: Arc<Counters>,
    pub(super) recent: Recent,
    /// Size at which a segment is sealed.
    pub(super) segment_bytes: AtomicU64,
    pub(super) queue: Mutex<Vec<Pending>>,
    pub(super) writer: Mutex<Writer>,
    pub(super) view: RwLock<View>,
    pub(super) tail: watch::Sender<Tail>,
}

impl Partition {
    /// Opens a partition from its folder; makes its first segment where there is none.
    /// Errors: `Io`, `DiskFull`. Damaged rows are no error here, but where they are used.
    pub(super) fn open(
        place: Place,
        env: Env,
        counters: Arc<Counters>,
        recent: Recent,
        segment_bytes: u64,
    ) -> Result<Self, EventLogError> {
        let (view, writer) = recover(&place, &env)?;
        let (tail, _) = watch::channel(Tail { high: view.high, settled: view.settled, is_gone: false });
        Ok(Self {
            place,
            env,
            counters,
            recent,
            segment_bytes: AtomicU64::new(segment_bytes),
            queue: Mutex::default(),
            writer: Mutex::new(writer),
            view: RwLock::new(view),
            tail,
        })
    }

    /// How it stands.
    pub(super) fn info(&self) -> PartitionInfo {
        let view = self.view.read();
        PartitionInfo {
            low_offset: view.low(),
            high_offset: view.high,
            bytes: view.bytes(),
            // A partition with 2^32 segments would have as many files.
            segments: view.segments.len() as u32,
            appended_ms: (view.appended_ms > 0).then_some(view.appended_ms),
        }
    }

    /// The schema of the newest batch and when that was appended.
    pub(super) fn schema(&self) -> Option<(i64, SchemaRef)> {
        let view = self.view.read();
        view.schema.clone().map(|schema| (view.appended_ms, schema))
    }

    /// The damage that keeps the newest states from being known. Errors: `CorruptSegment`.
    pub(super) fn check_damage(&self) -> Result<(), EventLogError> {
        self.view.read().damage.as_ref().map_or(Ok(()), |damage| Err(damage.error()))
    }

    /// Seals segments at this size from now on.
    pub(super) fn set_segment_bytes(&self, bytes: u64) {
        self.segment_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes all that is queued durable and answers those who wait. Blocks on the disk.
    pub(super) fn commit(&self) {
        let mut writer = self.writer.lock();
        let pending = std::mem::take(&mut *self.queue.lock());
        writer.commit(self, pending);
    }

    /// The topic was dropped: writers and waiting readers are told.
    pub(super) fn close(&self) {
        let gone = EventLogError::TopicNotFound { topic: self.place.topic.clone(), similar: None };
        self.writer.lock().fail(copy_of(&gone));
        self.tail.send_modify(|tail| tail.is_gone = true);
    }
}
