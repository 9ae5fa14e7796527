//! Reading a partition: durable rows from an offset on, and the offset of a time.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use tarn_core::RequestContext;

use super::codec::decode_rows;
use super::fault::corrupt;
use super::frame::{FLAG_OPEN, FrameHeader, FrameKind};
use super::partition::{Partition, View};
use super::segment::{FrameReader, HOP_WINDOW_BYTES, ROWS_WINDOW_BYTES, Segment};
use crate::error::EventLogError;
use crate::port::{LogBatch, Offset, ReadBatches, ReadLimits};

/// Segments that one read goes through at most; the caller reads on.
const SEGMENTS_MAX: usize = 8;
/// Retention may take a segment away between planning a read and opening the file; this often is not chance.
const RETRIES_MAX: usize = 16;

/// A durable part of a segment.
struct Part {
    segment: Arc<Segment>,
    len: u64,
    /// First offset of the next segment, the high offset for the newest.
    end: Offset,
}

fn parts(view: &View, first: usize) -> Vec<Part> {
    let segments = view.segments.iter().enumerate().skip(first).take(SEGMENTS_MAX);
    let end = |i: usize| view.segments.get(i + 1).map_or(view.high, |next| next.header.first_offset);
    segments.map(|(i, segment)| Part { segment: segment.clone(), len: segment.len(), end: end(i) }).collect()
}

impl Partition {
    /// Waits until there is a row at `offset` or the transaction of the rows before it ends, at most `wait`, and no longer than the caller does.
    pub(super) async fn wait_for(&self, ctx: &RequestContext, offset: Offset, wait: Duration) {
        let mut tail = self.tail.subscribe();
        let settled = tail.borrow().settled;
        let clock = &self.env.clock;
        let wait = ctx.remaining(clock.instant()).map_or(wait, |left| left.min(wait));
        tokio::select! {
            biased;
            // The sender lives in `self`, so this ends with a value.
            _ = tail.wait_for(|tail| tail.high > offset || tail.settled != settled || tail.is_gone) => {}
            () = ctx.cancel.cancelled() => {}
            () = clock.sleep(wait) => {}
        }
    }

    /// Checks that reading can start at an offset. Errors: `TopicNotFound` after a drop, `OffsetOutOfRange`.
    pub(super) fn check_offset(&self, offset: Offset) -> Result<Offset, EventLogError> {
        if self.tail.borrow().is_gone {
            return Err(EventLogError::TopicNotFound { topic: self.place.topic.clone(), similar: None });
        }
        let view = self.view.read();
        if (view.low()..=view.high).contains(&offset) {
            return Ok(view.high);
        }
        Err(self.out_of_range(offset, view.low(), view.high))
    }

    fn out_of_range(&self, offset: Offset, low: Offset, high: Offset) -> EventLogError {
        let (topic, partition) = (self.place.topic.clone(), self.place.partition);
        EventLogError::OffsetOutOfRange { topic, partition, offset, low, high }
    }

    /// Reads from `offset` on what is still in memory; `None` where it is not.
    pub(super) fn read_recent(&self, offset: Offset, limits: ReadLimits) -> Option<ReadBatches> {
        let batches = self.recent.read(offset, limits);
        let next_offset = batches.last()?.next_offset();
        let view = self.view.read();
        let (high_offset, settled_offset) = (view.high.max(next_offset), view.settled);
        Some(ReadBatches { batches, next_offset, high_offset, settled_offset })
    }

    /// Reads what is durable from `offset` on. Blocks on the disk.
    /// Errors: `OffsetOutOfRange`, `CorruptSegment`, `Codec`, `Io`.
    pub(super) fn read(&self, offset: Offset, limits: ReadLimits) -> Result<ReadBatches, EventLogError> {
        for _ in 0..RETRIES_MAX {
            let high = self.check_offset(offset)?;
            let settled_offset = self.view.read().settled;
            let mut found =
                ReadBatches { batches: Vec::new(), next_offset: offset, high_offset: high, settled_offset };
            if offset == high {
                self.check_damage()?;
                return Ok(found);
            }
            let parts = {
                let view = self.view.read();
                let after = view.segments.partition_point(|segment| segment.header.first_offset <= offset);
                parts(&view, after.saturating_sub(1))
            };
            let mut budget = Budget { rows: limits.rows_max.max(1), bytes: limits.bytes_max.max(1) };
            match self.read_parts(&parts, &mut budget, &mut found) {
                Ok(()) if found.batches.is_empty() => {}
                Ok(()) => {
                    let view = self.view.read();
                    found.high_offset = view.high.max(found.next_offset);
                    found.settled_offset = view.settled;
                    drop(view);
                    return Ok(found);
                }
                // What was read before the fault is whole; the next read meets the fault again.
                Err(_) if !found.batches.is_empty() => return Ok(found),
                Err(error) => {
                    // Retention may have dropped the rows between the check and the plan.
                    self.check_offset(offset)?;
                    return Err(error);
                }
            }
        }
        let view = self.view.read();
        Err(self.out_of_range(offset, view.low(), view.high))
    }

    fn read_parts(
        &self,
        parts: &[Part],
        budget: &mut Budget,
        found: &mut ReadBatches,
    ) -> Result<(), EventLogError> {
        for part in parts {
            if budget.is_spent() || found.next_offset >= part.end {
                break;
            }
            // Retention took it, or its place: plan again.
            let Some(file) = part.segment.open()? else { break };
            self.read_part(part, &file, budget, found)?;
            if found.next_offset < part.end && !budget.is_spent() {
                return Err(self.out_of_range(found.next_offset, part.end, self.view.read().high));
            }
        }
        Ok(())
    }

    fn read_part(
        &self,
        part: &Part,
        file: &File,
        budget: &mut Budget,
        found: &mut ReadBatches,
    ) -> Result<(), EventLogError> {
        let segment = &part.segment;
        let mut at = segment.place_of(file, found.next_offset);
        let window_len = ROWS_WINDOW_BYTES.min(budget.bytes.max(HOP_WINDOW_BYTES));
        let mut frames = FrameReader::new(segment, file, part.len, window_len);
        while !budget.is_spent()
            && let Some(header) = frames.header(at)?
        {
            if header.kind == FrameKind::Rows && header.next_offset() > found.next_offset {
                if header.first_offset > found.next_offset {
                    return Err(corrupt(&segment.path, at, "rows are missing before this frame"));
                }
                let batch = self.read_frame(segment, &mut frames, &header, at, found.next_offset)?;
                budget.rows = budget.rows.saturating_sub(batch.batch.num_rows());
                // A frame is shorter than 2 GiB.
                budget.bytes = budget.bytes.saturating_sub(header.frame_len() as usize);
                found.next_offset = header.next_offset();
                found.batches.push(batch);
            }
            at += header.frame_len();
        }
        Ok(())
    }

    /// The rows of a frame from `offset` on.
    fn read_frame(
        &self,
        segment: &Segment,
        frames: &mut FrameReader<'_>,
        header: &FrameHeader,
        at: u64,
        offset: Offset,
    ) -> Result<LogBatch, EventLogError> {
        let topic = &self.place.topic;
        // Body first: the schema's frame stands elsewhere and would move the window away.
        let body = frames.body(header, at)?;
        let schema = segment.schema(frames, header.schema_at, topic)?;
        let batch = decode_rows(header, &body, schema).map_err(|source| EventLogError::Codec {
            action: "decode",
            topic: topic.clone(),
            source,
        })?;
        if batch.num_rows() != header.rows as usize {
            return Err(corrupt(&segment.path, at, "a frame holds another number of rows than it says"));
        }
        let transaction_open = header.flags & FLAG_OPEN != 0;
        let (first_offset, appended_ms) = (header.first_offset, header.appended_ms);
        Ok(LogBatch { first_offset, appended_ms, batch, transaction_open }.from(offset))
    }

    /// The first offset appended at or after a time. Blocks on the disk. Errors: `CorruptSegment`, `Io`.
    pub(super) fn offset_at(&self, time_ms: i64) -> Result<Offset, EventLogError> {
        for _ in 0..RETRIES_MAX {
            let (parts, low, high) = {
                let view = self.view.read();
                // All rows of a segment were appended at or after its start.
                let after = view.segments.partition_point(|segment| segment.header.started_ms < time_ms);
                (parts(&view, after.saturating_sub(1)), view.low(), view.high)
            };
            let Some(part) = parts.first() else { return Ok(high) };
            if low == high {
                return Ok(high);
            }
            let Some(file) = part.segment.open()? else { continue };
            let mut at = part.segment.place_of_time(&file, time_ms);
            let mut frames = FrameReader::new(&part.segment, &file, part.len, HOP_WINDOW_BYTES);
            while let Some(header) = frames.header(at)? {
                if header.rows > 0 && header.appended_ms >= time_ms {
                    return Ok(header.first_offset);
                }
                at += header.frame_len();
            }
            return Ok(part.end);
        }
        Ok(self.view.read().high)
    }
}

/// What a read may still take.
struct Budget {
    rows: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}
