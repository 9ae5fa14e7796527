//! Hot rows: rows of a table that are in memory, in the order in which they came.
//!
//! A row has a number that it keeps while batches are merged around it. The rows of a flush are frozen until it is
//! over: they may go, but their batches stay as they are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use crate::view::{DeadRows, HotBatch};

/// The number of a hot row, from 0 without gaps.
pub type HotRow = u64;

/// Batches up to this many rows are merged with their neighbours.
const MERGED_ROWS_MAX: usize = 32 * 1024;

/// Neighbouring hot rows.
#[derive(Clone, Debug)]
pub struct HotSlot {
    /// Number of the first row.
    pub first: HotRow,
    /// The rows, in the table's schema.
    pub rows: RecordBatch,
    /// Those that are gone.
    pub dead: Arc<DeadRows>,
    bytes: usize,
}

impl HotSlot {
    /// Rows that are left.
    pub fn live_rows(&self) -> usize {
        self.rows.num_rows() - self.dead.len()
    }

    /// As a query sees it.
    pub fn batch(&self) -> HotBatch {
        let dead = (!self.dead.is_empty()).then(|| Arc::clone(&self.dead));
        HotBatch { rows: self.rows.clone(), dead }
    }
}

/// The hot rows of a table.
#[derive(Debug, Default)]
pub struct HotRows {
    slots: Vec<HotSlot>,
    next: HotRow,
    /// Rows before it are frozen.
    frozen: HotRow,
    bytes: usize,
    live: usize,
}

impl HotRows {
    /// The number that the next row gets.
    pub fn next(&self) -> HotRow {
        self.next
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows held that are not gone.
    pub fn live_rows(&self) -> usize {
        self.live
    }

    /// Adds rows.
    pub fn push(&mut self, rows: RecordBatch) {
        if rows.num_rows() == 0 {
            return;
        }
        let bytes = rows.get_array_memory_size();
        self.bytes += bytes;
        self.live += rows.num_rows();
        let first = self.next;
        self.next += rows.num_rows() as u64;
        self.slots.push(HotSlot { first, rows, dead: Arc::default(), bytes });
    }

    /// Puts other values in the place of the rows that came last, as many of them.
    pub fn replace_last(&mut self, rows: RecordBatch) {
        if let Some(last) = self.slots.last_mut() {
            debug_assert_eq!(last.rows.num_rows(), rows.num_rows());
            self.bytes -= last.bytes;
            last.bytes = rows.get_array_memory_size();
            self.bytes += last.bytes;
            last.rows = rows;
        }
    }

    /// Merges the newest batches where they are small, so that many small changes do not make many small batches: a row
    /// is copied as often as its batch doubles. Errors: those of Arrow.
    pub fn merge(&mut self) -> Result<(), ArrowError> {
        while let [.., before, last] = self.slots.as_slice()
            && before.first >= self.frozen
            && before.rows.num_rows() <= 2 * last.rows.num_rows()
            && before.rows.num_rows() + last.rows.num_rows() <= MERGED_ROWS_MAX
        {
            let rows = concat_batches(before.rows.schema_ref(), [&before.rows, &last.rows])?;
            let mut dead = before.dead.as_ref().clone();
            let behind = before.rows.num_rows();
            (0..last.rows.num_rows()).filter(|row| last.dead.contains(*row)).for_each(|row| {
                dead.insert(behind + row);
            });
            let (first, bytes) = (before.first, rows.get_array_memory_size());
            self.bytes = self.bytes + bytes - before.bytes - last.bytes;
            self.slots.truncate(self.slots.len() - 2);
            self.slots.push(HotSlot { first, rows, dead: Arc::new(dead), bytes });
        }
        Ok(())
    }

    /// The batch that holds a row, by place in the list, and the row within it.
    pub fn place(&self, row: HotRow) -> Option<(usize, usize)> {
        let slot = self.slots.partition_point(|slot| slot.first <= row).checked_sub(1)?;
        let at = usize::try_from(row - self.slots[slot].first).ok()?;
        (at < self.slots[slot].rows.num_rows()).then_some((slot, at))
    }

    /// A batch by its place in the list.
    pub fn slot(&self, at: usize) -> &HotSlot {
        &self.slots[at]
    }

    /// All batches.
    pub fn slots(&self) -> &[HotSlot] {
        &self.slots
    }

    /// Whether a row is held and not gone.
    pub fn is_live(&self, row: HotRow) -> bool {
        self.place(row).is_some_and(|(slot, at)| !self.slots[slot].dead.contains(at))
    }

    /// Takes a row away.
    pub fn kill(&mut self, row: HotRow) {
        if let Some((slot, at)) = self.place(row)
            && !self.slots[slot].dead.contains(at)
        {
            Arc::make_mut(&mut self.slots[slot].dead).insert(at);
            self.live -= 1;
        }
    }

    /// Takes all rows before `end` away.
    pub fn kill_before(&mut self, end: HotRow) {
        for row in self.slots.first().map_or(end, |slot| slot.first)..end {
            self.kill(row);
        }
    }

    /// Freezes all rows and gives them as they stand.
    pub fn freeze(&mut self) -> Vec<HotSlot> {
        self.frozen = self.next;
        self.slots.clone()
    }

    /// Frozen rows are as others again: their flush did not come about.
    pub fn thaw(&mut self) {
        self.frozen = 0;
    }

    /// Lets go of the frozen rows and gives them as they stand now.
    pub fn drop_frozen(&mut self) -> Vec<HotSlot> {
        let end = self.slots.partition_point(|slot| slot.first < self.frozen);
        let gone: Vec<HotSlot> = self.slots.drain(..end).collect();
        for slot in &gone {
            self.bytes -= slot.bytes;
            self.live -= slot.live_rows();
        }
        gone
    }

    /// All batches with a row that is left, as a query sees them.
    pub fn batches(&self) -> Vec<HotBatch> {
        self.slots.iter().filter(|slot| slot.live_rows() > 0).map(HotSlot::batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn rows(values: std::ops::Range<i64>) -> RecordBatch {
        let values = Int64Array::from_iter_values(values);
        RecordBatch::try_from_iter([("id", Arc::new(values) as _)]).unwrap()
    }

    fn live(rows: &HotRows) -> Vec<i64> {
        let batches = rows.batches().into_iter().map(|batch| batch.live(&[0]).unwrap());
        batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn a_row_keeps_its_number_while_batches_are_merged_frozen_and_dropped() {
        let mut rng = StdRng::seed_from_u64(5);
        let (mut hot, mut model) = (HotRows::default(), Vec::<bool>::new());
        let (mut dropped, mut frozen) = (0, None::<usize>);
        for _ in 0..3_000 {
            match rng.random_range(0..10) {
                0..=5 => {
                    let count = rng.random_range(0..40);
                    let first = model.len() as i64;
                    hot.push(rows(first..first + count));
                    hot.merge().unwrap();
                    model.extend((0..count).map(|_| true));
                }
                6..=8 if !model.is_empty() => {
                    let row = rng.random_range(0..model.len());
                    assert_eq!(hot.is_live(row as u64), row >= dropped && model[row]);
                    hot.kill(row as u64);
                    model[row] = false;
                }
                _ => match frozen.take() {
                    None => {
                        hot.freeze();
                        frozen = Some(model.len());
                    }
                    Some(_) if rng.random_bool(0.3) => hot.thaw(),
                    Some(end) => {
                        hot.drop_frozen();
                        dropped = end;
                    }
                },
            }
            let expected: Vec<i64> =
                (dropped..model.len()).filter(|row| model[*row]).map(|row| row as i64).collect();
            assert_eq!(hot.live_rows(), expected.len());
            assert_eq!(live(&hot), expected);
        }
        assert!(hot.slots.len() < 60, "{} batches", hot.slots.len());
        hot.kill_before(hot.next());
        assert_eq!((hot.live_rows(), live(&hot)), (0, vec![]));
    }

    #[test]
    fn rows_that_are_gone_later_do_not_change_what_was_given_before() {
        let mut hot = HotRows::default();
        hot.push(rows(0..3));
        let before = hot.batches();
        hot.kill(1);
        assert_eq!((before[0].live_rows(), hot.batches()[0].live_rows()), (3, 2));
    }
}
