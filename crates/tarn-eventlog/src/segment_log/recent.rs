//! Rows appended last, as they came: readers at the tail get them without reading, checking and decoding files.
//!
//! Each partition keeps a run of its newest batches without a gap. All partitions of a log share one budget; whatever
//! was appended first goes first, whichever partition it is of, and nothing stays longer than [`AGE_MAX_MS`] while
//! there are appends. Only durable rows come here.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use parking_lot::Mutex;

use super::frame::{FLAG_OPEN, FrameHeader};
use crate::port::{LogBatch, Offset, ReadLimits};

/// Readers further behind than this read files, which they then do in large pieces.
const AGE_MAX_MS: i64 = 2_000;
/// A batch larger than this part of the budget is not kept: it would push out all others.
const BATCH_PART: usize = 4;

/// A durable batch on its way to those who follow the tail.
#[derive(Debug)]
pub(super) struct RecentBatch {
    pub(super) rows: LogBatch,
    /// Bytes of its frame, which limits of reads count.
    pub(super) frame_len: usize,
}

impl RecentBatch {
    /// The rows of a frame.
    pub(super) fn new(header: &FrameHeader, batch: RecordBatch) -> Self {
        let transaction_open = header.flags & FLAG_OPEN != 0;
        let (first_offset, appended_ms) = (header.first_offset, header.appended_ms);
        let rows = LogBatch { first_offset, appended_ms, batch, transaction_open };
        // A frame is shorter than 2 GiB.
        Self { rows, frame_len: header.frame_len() as usize }
    }
}

#[derive(Debug, Default)]
struct Run {
    batches: VecDeque<RecentBatch>,
    /// Counts the clearings, so that entries of the queue of before mean nothing any more.
    epoch: u64,
}

impl Run {
    fn next_offset(&self) -> Option<Offset> {
        self.batches.back().map(|last| last.rows.next_offset())
    }

    fn clear(&mut self) {
        self.batches.clear();
        self.epoch += 1;
    }
}

#[derive(Debug)]
struct Kept {
    run: Weak<Mutex<Run>>,
    epoch: u64,
    bytes: usize,
    appended_ms: i64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Oldest first, one for each batch that was kept.
    kept: VecDeque<Kept>,
    bytes: usize,
}

/// The budget that the partitions of a log share.
#[derive(Debug)]
pub(super) struct RecentRows {
    bytes_max: usize,
    queue: Mutex<Queue>,
}

impl RecentRows {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, queue: Mutex::default() }
    }

    /// Whether a batch is small enough to be kept.
    pub(super) fn is_worth(&self, batch: &RecordBatch) -> bool {
        batch.get_array_memory_size() <= self.bytes_max / BATCH_PART
    }

    /// Locks are taken in the order queue, run.
    fn keep(&self, run: &Arc<Mutex<Run>>, batch: RecentBatch) {
        let bytes = batch.rows.batch.get_array_memory_size();
        let appended_ms = batch.rows.appended_ms;
        let mut queue = self.queue.lock();
        let epoch = {
            let mut run = run.lock();
            if run.next_offset().is_some_and(|next| next != batch.rows.first_offset) {
                run.clear();
            }
            run.batches.push_back(batch);
            run.epoch
        };
        queue.kept.push_back(Kept { run: Arc::downgrade(run), epoch, bytes, appended_ms });
        queue.bytes += bytes;
        while queue.bytes > self.bytes_max
            || queue.kept.front().is_some_and(|oldest| appended_ms - oldest.appended_ms > AGE_MAX_MS)
        {
            let Some(oldest) = queue.kept.pop_front() else { break };
            queue.bytes -= oldest.bytes;
            if let Some(run) = oldest.run.upgrade() {
                let mut run = run.lock();
                if run.epoch == oldest.epoch {
                    run.batches.pop_front();
                }
            }
        }
    }
}

/// The newest batches of one partition.
#[derive(Debug)]
pub(super) struct Recent {
    rows: Arc<RecentRows>,
    run: Arc<Mutex<Run>>,
}

impl Recent {
    pub(super) fn new(rows: Arc<RecentRows>) -> Self {
        Self { rows, run: Arc::default() }
    }

    /// Adds durable batches in their order; `None` stands for one that is not kept.
    pub(super) fn add(&self, batches: Vec<Option<RecentBatch>>) {
        for batch in batches {
            match batch {
                Some(batch) => self.rows.keep(&self.run, batch),
                None => self.run.lock().clear(),
            }
        }
    }

    /// The rows from `offset` on within `limits`; empty where they are not here.
    pub(super) fn read(&self, offset: Offset, limits: ReadLimits) -> Vec<LogBatch> {
        let run = self.run.lock();
        let first = run.batches.partition_point(|batch| batch.rows.next_offset() <= offset);
        let mut found = Vec::new();
        let (mut rows, mut bytes) = (limits.rows_max.max(1), limits.bytes_max.max(1));
        for RecentBatch { rows: batch, frame_len } in run.batches.range(first..) {
            if rows == 0 || bytes == 0 || batch.first_offset > offset && found.is_empty() {
                break;
            }
            let batch = batch.from(offset);
            rows = rows.saturating_sub(batch.batch.num_rows());
            bytes = bytes.saturating_sub(*frame_len);
            found.push(batch);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    const LIMITS: ReadLimits =
        ReadLimits { rows_max: usize::MAX, bytes_max: usize::MAX, wait: std::time::Duration::ZERO };

    fn batch(first_offset: Offset, rows: i64, appended_ms: i64) -> Option<RecentBatch> {
        let numbers = Int64Array::from_iter_values(first_offset as i64..first_offset as i64 + rows);
        let batch = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap();
        let rows = LogBatch { first_offset, appended_ms, batch, transaction_open: false };
        Some(RecentBatch { rows, frame_len: 100 })
    }

    fn offsets(recent: &Recent, offset: Offset) -> Vec<(Offset, usize)> {
        let found = recent.read(offset, LIMITS);
        found.iter().map(|batch| (batch.first_offset, batch.batch.num_rows())).collect()
    }

    #[test]
    fn rows_are_found_from_any_offset_of_a_run_and_not_before_or_behind_it() {
        let recent = Recent::new(Arc::new(RecentRows::new(1 << 20)));
        recent.add(vec![batch(10, 5, 0), batch(15, 5, 0)]);
        assert_eq!(offsets(&recent, 10), [(10, 5), (15, 5)]);
        assert_eq!(offsets(&recent, 12), [(12, 3), (15, 5)]);
        assert_eq!(offsets(&recent, 19), [(19, 1)]);
        assert_eq!(offsets(&recent, 9), []);
        assert_eq!(offsets(&recent, 20), []);
        let one = recent.read(10, ReadLimits { rows_max: 1, ..LIMITS });
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn a_batch_that_is_not_kept_ends_the_run() {
        let recent = Recent::new(Arc::new(RecentRows::new(1 << 20)));
        recent.add(vec![batch(0, 5, 0), None, batch(10, 5, 0)]);
        assert_eq!(offsets(&recent, 0), []);
        assert_eq!(offsets(&recent, 10), [(10, 5)]);
        recent.add(vec![batch(20, 5, 0)]);
        assert_eq!(offsets(&recent, 10), []);
        assert_eq!(offsets(&recent, 20), [(20, 5)]);
    }

    #[test]
    fn the_oldest_of_all_partitions_goes_first() {
        let bytes = batch(0, 100, 0).unwrap().rows.batch.get_array_memory_size();
        let shared = Arc::new(RecentRows::new(2 * bytes));
        let (one, two) = (Recent::new(shared.clone()), Recent::new(shared.clone()));
        one.add(vec![batch(0, 100, 0)]);
        two.add(vec![batch(0, 100, 0), batch(100, 100, 0)]);
        assert_eq!(offsets(&one, 0), []);
        assert_eq!(offsets(&two, 0), [(0, 100), (100, 100)]);
        // What was cleared is not taken from the run that came after it.
        two.add(vec![None, batch(300, 100, 0)]);
        one.add(vec![batch(100, 100, 0)]);
        assert_eq!(offsets(&two, 300), [(300, 100)]);
        assert_eq!(offsets(&one, 100), [(100, 100)]);
        one.add(vec![batch(200, 100, AGE_MAX_MS + 1)]);
        assert_eq!(offsets(&two, 300), []);
        assert_eq!(offsets(&one, 200), [(200, 100)]);
        assert_eq!(shared.queue.lock().bytes, bytes);
    }
}
