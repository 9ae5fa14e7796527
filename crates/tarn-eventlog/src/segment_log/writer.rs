//! The writer of a partition: groups of appends become frames, frames become durable, and only then are they seen.
//!
//! A group is written behind the durable end of the newest segment and flushed once. When the disk is full the file
//! is cut back to the durable end and the writer goes on with the next group. When a flush fails otherwise, what the
//! disk holds is unknown, so nothing more is written until the log is opened again.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tracing::{error, warn};

use super::codec::encode_schema;
use super::fault::{copy_of, io_error, is_full};
use super::frame::{FLAG_OPEN, Frame, FrameHeader, FrameKind, StoredPosition, notes};
use super::output::Output;
use super::partition::{Entry, Partition, Pending, View};
use super::recent::RecentBatch;
use super::segment::{FileHeader, Segment};
use crate::error::EventLogError;
use crate::port::{Appended, Offset, ProducerState};

/// A group longer than this is flushed in parts, so that a segment does not grow far beyond its size.
const GROUP_BYTES_MAX: u64 = 8 << 20;
/// Schemas remembered per segment; one that was forgotten is written again.
const SCHEMAS_KEPT: usize = 16;

/// The state of the newest segment.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) segment: Arc<Segment>,
    /// Open while in use.
    pub(super) file: Option<File>,
    /// Durable length.
    pub(super) len: u64,
    pub(super) next_offset: Offset,
    pub(super) last_ms: i64,
    /// Schemas in the newest segment and the places of their frames.
    pub(super) schemas: Vec<(SchemaRef, u64)>,
    /// Why nothing can be written until the log is opened again.
    pub(super) failure: Option<EventLogError>,
    /// Something was written since the last look for idle files.
    pub(super) is_used: bool,
}

/// What a group changes once it is durable.
#[derive(Debug, Default)]
struct Staged {
    len: u64,
    next_offset: Offset,
    last_ms: i64,
    schemas: Vec<(SchemaRef, u64)>,
    frames: Vec<(FrameHeader, u64)>,
    recent: Vec<Option<RecentBatch>>,
    producers: HashMap<String, ProducerState>,
    positions: HashMap<String, StoredPosition>,
    results: Vec<Result<Appended, EventLogError>>,
    schema: Option<SchemaRef>,
    rows: u64,
    /// Producers with an unfinished source transaction.
    open: HashSet<String>,
    /// The last offset at which there was none.
    settled: Offset,
}

impl Writer {
    /// Nothing is written from now on.
    pub(super) fn fail(&mut self, failure: EventLogError) {
        self.failure = Some(failure);
        self.file = None;
    }

    /// Makes appends durable in order and answers each.
    pub(super) fn commit(&mut self, partition: &Partition, pending: Vec<Pending>) {
        let mut group = Vec::new();
        let mut group_bytes = 0;
        for one in pending {
            group_bytes += one.frame.len();
            group.push(one);
            if group_bytes >= GROUP_BYTES_MAX {
                self.commit_group(partition, std::mem::take(&mut group));
                group_bytes = 0;
            }
        }
        if !group.is_empty() {
            self.commit_group(partition, group);
        }
    }

    fn commit_group(&mut self, partition: &Partition, mut group: Vec<Pending>) {
        let outcome = match &self.failure {
            Some(failure) => Err(copy_of(failure)),
            None => {
                // Should the code below panic, the length of the file is unknown and the writer stays shut.
                let interrupted = std::io::Error::other("an earlier write was interrupted");
                self.failure = Some(io_error("write", &self.segment.path, interrupted));
                self.write_group(partition, &mut group).map(|staged| {
                    self.failure = None;
                    self.publish(partition, staged)
                })
            }
        };
        partition.counters.flushed();
        match outcome {
            Ok(results) => {
                for (one, result) in group.into_iter().zip(results) {
                    // Who went away does not need the answer.
                    let _ = one.reply.send(result);
                }
            }
            Err(failure) => {
                for one in group {
                    let _ = one.reply.send(Err(copy_of(&failure)));
                }
            }
        }
    }

    /// Writes and flushes a group. On an error nothing of it is kept, and the failure says whether to go on.
    fn write_group(&mut self, partition: &Partition, group: &mut [Pending]) -> Result<Staged, EventLogError> {
        if self.len >= partition.segment_bytes.load(Ordering::Relaxed) {
            self.roll(partition)?;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::options().read(true).write(true).open(&self.segment.path) {
                Ok(file) => file,
                Err(source) => {
                    self.failure = None;
                    return Err(io_error("open", &self.segment.path, source));
                }
            },
        };
        let mut output = Output::new(&file, self.segment.header.nonce, self.len);
        let staged = self.stage_group(partition, group, &mut output).and_then(|staged| {
            output.finish()?;
            Ok(staged)
        });
        let (action, outcome) = match staged {
            // A group of refused appends alone leaves the file as it is.
            Ok(staged) if staged.len == self.len => ("write", Ok(staged)),
            Ok(staged) => ("flush", file.sync_data().map(|()| staged)),
            Err(error) => ("write", Err(error)),
        };
        match outcome {
            Ok(staged) => {
                self.file = Some(file);
                self.is_used = true;
                Ok(staged)
            }
            Err(error) => {
                self.cut_back(file, action, &error);
                Err(io_error(action, &self.segment.path, error))
            }
        }
    }

    /// Removes what a failed group left behind the durable end.
    fn cut_back(&mut self, file: File, action: &'static str, error: &std::io::Error) {
        let path = &self.segment.path;
        let is_usable = is_full(error) || action == "write";
        match file.set_len(self.len) {
            Ok(()) if is_usable => {
                // Best effort: should a crash bring the bytes back, they are whole frames of refused appends, which
                // their writers find by the producer state.
                let _ = file.sync_data();
                warn!(path = %path.display(), %error, "append refused, segment cut back");
                self.failure = None;
                self.file = Some(file);
            }
            Ok(()) => {
                error!(path = %path.display(), %error, "flush failed, partition closed for writing");
                self.failure = Some(flush_failed(path, error));
            }
            Err(cut) => {
                error!(path = %path.display(), %error, %cut, "segment not cut back, partition closed for writing");
                self.failure = Some(flush_failed(path, &cut));
            }
        }
    }

    fn stage_group(
        &self,
        partition: &Partition,
        group: &mut [Pending],
        output: &mut Output<'_>,
    ) -> std::io::Result<Staged> {
        let now_ms = partition.env.clock.now_ms();
        let (open, settled) = {
            let view = partition.view.read();
            let open = view.producers.values().filter(|state| state.transaction_open);
            (open.map(|state| state.producer.clone()).collect(), view.settled)
        };
        let mut staged = Staged {
            open,
            settled,
            next_offset: self.next_offset,
            last_ms: self.last_ms.max(now_ms),
            schemas: self.schemas.clone(),
            ..Staged::default()
        };
        for one in group {
            let result = match &mut one.entry {
                Entry::Rows { schema, state, batch } => {
                    let rows = batch.take();
                    self.stage_rows(partition, &mut one.frame, (schema, state, rows), &mut staged, output)?
                }
                Entry::Position { consumer, offset } => {
                    let position = StoredPosition { offset: *offset, committed_ms: now_ms };
                    self.stage_position(&mut one.frame, consumer, position, output)?;
                    staged.positions.insert(consumer.clone(), position);
                    Ok(Appended { first_offset: *offset, next_offset: *offset })
                }
            };
            staged.results.push(result);
        }
        staged.len = output.at;
        Ok(staged)
    }

    fn stage_position(
        &self,
        frame: &mut Frame,
        consumer: &str,
        position: StoredPosition,
        output: &mut Output<'_>,
    ) -> std::io::Result<()> {
        let mut extra = Vec::new();
        notes::put_position(&mut extra, consumer, position);
        *frame = Frame::with_body(FrameKind::Position, &extra, &[]);
        let header = frame.header_mut();
        header.first_offset = self.next_offset;
        header.appended_ms = self.last_ms;
        header.synced = self.len;
        output.put(frame)
    }

    fn stage_rows(
        &self,
        partition: &Partition,
        frame: &mut Frame,
        (schema, state, batch): (&Option<SchemaRef>, &Option<ProducerState>, Option<RecordBatch>),
        staged: &mut Staged,
        output: &mut Output<'_>,
    ) -> std::io::Result<Result<Appended, EventLogError>> {
        if let Some(stale) = state.as_ref().and_then(|state| stale(partition, staged, state)) {
            return Ok(Err(stale));
        }
        let schema_at = match schema {
            None => 0,
            Some(schema) => match self.place_schema(partition, schema, staged, output)? {
                Ok(at) => at,
                Err(error) => return Ok(Err(error)),
            },
        };
        match state {
            Some(state) if state.transaction_open => drop(staged.open.insert(state.producer.clone())),
            Some(state) => drop(staged.open.remove(&state.producer)),
            None => {}
        }
        let header = frame.header_mut();
        if !staged.open.is_empty() {
            header.flags |= FLAG_OPEN;
        }
        header.first_offset = staged.next_offset;
        header.appended_ms = staged.last_ms;
        header.schema_at = schema_at;
        header.synced = self.len;
        let header = *header;
        staged.frames.push((header, output.at));
        if header.rows > 0 {
            staged.recent.push(batch.map(|batch| RecentBatch::new(&header, batch)));
        }
        output.put(frame)?;
        staged.next_offset = header.next_offset();
        if staged.open.is_empty() {
            staged.settled = staged.next_offset;
        }
        staged.rows += u64::from(header.rows);
        if let Some(schema) = schema {
            staged.schema = Some(schema.clone());
        }
        if let Some(state) = state {
            staged.producers.insert(state.producer.clone(), state.clone());
        }
        Ok(Ok(Appended { first_offset: header.first_offset, next_offset: header.next_offset() }))
    }

    /// The place of a schema's frame in the newest segment, writing it where it is new.
    fn place_schema(
        &self,
        partition: &Partition,
        schema: &SchemaRef,
        staged: &mut Staged,
        output: &mut Output<'_>,
    ) -> std::io::Result<Result<u64, EventLogError>> {
        let known = staged.schemas.iter().find(|(known, _)| Arc::ptr_eq(known, schema) || known == schema);
        if let Some((_, at)) = known {
            return Ok(Ok(*at));
        }
        let mut frame = match schema_frame(partition, schema) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let at = output.at;
        let header = frame.header_mut();
        header.first_offset = staged.next_offset;
        header.appended_ms = self.last_ms;
        header.synced = self.len;
        output.put(&mut frame)?;
        if staged.schemas.len() >= SCHEMAS_KEPT {
            staged.schemas.remove(0);
        }
        staged.schemas.push((schema.clone(), at));
        Ok(Ok(at))
    }

    /// Shows readers what became durable.
    fn publish(&mut self, partition: &Partition, staged: Staged) -> Vec<Result<Appended, EventLogError>> {
        let bytes = staged.len - self.len;
        for (header, at) in &staged.frames {
            self.segment.note_frame(header, *at);
        }
        self.segment.set_len(staged.len);
        self.len = staged.len;
        self.next_offset = staged.next_offset;
        self.schemas = staged.schemas;
        if staged.rows > 0 {
            self.last_ms = staged.last_ms;
        }
        // Before those who wait are told, so that they find them.
        partition.recent.add(staged.recent);
        let mut view = partition.view.write();
        view.high = self.next_offset;
        view.settled = staged.settled;
        view.appended_ms = self.last_ms;
        view.producers.extend(staged.producers);
        view.positions.extend(staged.positions);
        if let Some(schema) = staged.schema {
            view.schema = Some(schema);
        }
        drop(view);
        partition.counters.appended(staged.rows, bytes);
        partition.tail.send_if_modified(|tail| {
            let changed = tail.high != self.next_offset || tail.settled != staged.settled;
            (tail.high, tail.settled) = (self.next_offset, staged.settled);
            changed
        });
        staged.results
    }

    /// Seals the newest segment and begins another, which carries all states. Errors: `DiskFull`, `Io`; the newest
    /// segment stays the newest then, and can be written unless the successor has its name already.
    pub(super) fn roll(&mut self, partition: &Partition) -> Result<(), EventLogError> {
        let schema = partition.view.read().schema.clone();
        let mut frames = vec![carry_frame(&partition.view.read())];
        if let Some(schema) = &schema {
            frames.push(schema_frame(partition, schema).inspect_err(|_| self.failure = None)?);
        }
        for frame in &mut frames {
            let header = frame.header_mut();
            header.first_offset = self.next_offset;
            header.appended_ms = self.last_ms;
        }
        let header = FileHeader {
            nonce: partition.env.entropy.next_u64(),
            first_offset: self.next_offset,
            started_ms: self.last_ms,
        };
        let created = Segment::create(&partition.place.folder, header, &mut frames);
        let (segment, file) = created.map_err(|fault| {
            self.failure = fault.is_named.then(|| copy_of(&fault.error));
            fault.error
        })?;
        let segment = Arc::new(segment);
        let schema_at = segment.len() - frames.last().map_or(0, Frame::len);
        self.schemas = schema.map(|schema| (schema, schema_at)).into_iter().collect();
        self.len = segment.len();
        self.file = Some(file);
        let mut view = partition.view.write();
        // A segment without rows has the name of its successor and was replaced by it.
        view.segments.retain(|old| old.header.first_offset != header.first_offset);
        view.segments.push(segment.clone());
        self.segment = segment;
        Ok(())
    }
}

fn flush_failed(path: &std::path::Path, error: &std::io::Error) -> EventLogError {
    EventLogError::Io {
        action: "flush",
        path: path.display().to_string(),
        source: std::io::Error::other(format!("{error}; open the log again to go on")),
    }
}

fn stale(partition: &Partition, staged: &Staged, state: &ProducerState) -> Option<EventLogError> {
    let view = partition.view.read();
    let stored = staged.producers.get(&state.producer).or_else(|| view.producers.get(&state.producer))?;
    (state.position <= stored.position).then(|| EventLogError::StaleProducer {
        producer: state.producer.clone(),
        offered: state.position,
        stored: stored.position,
    })
}

fn schema_frame(partition: &Partition, schema: &SchemaRef) -> Result<Frame, EventLogError> {
    encode_schema(schema).map_err(|source| EventLogError::Codec {
        action: "encode the schema of",
        topic: partition.place.topic.clone(),
        source,
    })
}

fn carry_frame(view: &View) -> Frame {
    let mut body = Vec::new();
    notes::put_count(&mut body, view.producers.len());
    for state in view.producers.values() {
        notes::put_state(&mut body, state);
    }
    notes::put_count(&mut body, view.positions.len());
    for (consumer, position) in &view.positions {
        notes::put_position(&mut body, consumer, *position);
    }
    Frame::with_body(FrameKind::Carry, &[], &body)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::array::{Int64Array, RecordBatch};
    use tarn_core::{Env, RequestContext, TenantId, TopicName, TraceId};

    use super::*;
    use crate::port::{Append, EventLog, ReadLimits, Retention, TopicSpec};
    use crate::segment_log::{EventLogConfig, SegmentLog};

    #[tokio::test]
    async fn after_a_failed_flush_nothing_is_taken_until_the_log_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let ctx = RequestContext::system(TenantId::default(), TraceId(0));
        let name = TopicName::parse("t").unwrap();
        let open = || SegmentLog::open(folder.path(), EventLogConfig::default(), Env::system());
        let log = open().await.unwrap();
        let spec =
            TopicSpec { name: name.clone(), partitions: 1, retention: Retention::default(), key: vec![] };
        log.create_topic(&ctx, spec).await.unwrap();
        let append = |log: Arc<SegmentLog>, value: i64| {
            let column = Arc::new(Int64Array::from(vec![value])) as arrow::array::ArrayRef;
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let (ctx, name) = (ctx.clone(), name.clone());
            async move { log.append(&ctx, &name, 0, Append { batch, state: None }).await }
        };
        append(log.clone(), 1).await.unwrap();

        // This file takes writes and refuses to be flushed.
        let refusing = File::options().write(true).open("/dev/null").unwrap();
        let partition = log.open_partition(&ctx, &name, 0).unwrap();
        let own = partition.writer.lock().file.replace(refusing);
        assert!(own.is_some(), "the writer had its file open");
        for value in 2..5 {
            let error = append(log.clone(), value).await.unwrap_err();
            assert!(matches!(error, EventLogError::Io { action: "flush", .. }), "{error:?}");
        }
        let position = log.commit_position(&ctx, &name, 0, "table", 1).await;
        assert!(position.is_err());
        let read = log.read(&ctx, &name, 0, 0, ReadLimits::default()).await.unwrap();
        assert_eq!((read.batches.len(), read.high_offset), (1, 1), "what was durable can be read");
        log.close().await;

        let log = open().await.unwrap();
        assert_eq!(append(log.clone(), 2).await.unwrap().first_offset, 1);
        log.close().await;
    }
}
