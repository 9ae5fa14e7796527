//! Files of an older partitioning, rewritten into the partitions of today: a row of one may go anywhere.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use roaring::RoaringTreemap;

use super::flush::{Base, Committer, NewFile};
use super::order::Part;
use super::read::{conform, read_rows};
use super::shape::ShapeFile;
use super::spread::NOWHERE;
use super::state::{damaged, row_number};
use crate::error::LakehouseError;
use crate::layout::Layout;

/// Rows in memory at a time; each such lot makes a file in every partition that it has rows of.
const LOT_BYTES: usize = 96 << 20;
/// Rows that one compaction scatters: for each, its new place is kept until the commit is taken over.
const ROWS_MAX: u64 = 32 << 20;

/// What became of a scattered file.
#[derive(Debug)]
pub struct Scattered {
    /// Its number.
    pub old: u32,
    /// Rows that were deleted when the compaction began.
    pub deleted: Arc<RoaringTreemap>,
    /// Of the other rows, in order: number in the list of new files, and row.
    places: Vec<(u32, u32)>,
}

impl Scattered {
    /// Where a row is now that was not deleted when the compaction began.
    pub fn place(&self, row: u32) -> Option<(usize, u32)> {
        // Rank counts up to and with the row; it is not deleted itself.
        let before = u64::from(row) - self.deleted.rank(u64::from(row));
        let place = self.places.get(usize::try_from(before).ok()?).filter(|place| **place != NOWHERE)?;
        Some((place.0 as usize, place.1))
    }
}

/// As many of some files as one compaction takes. Returns whether some are left for the next one.
pub fn bounded(files: &mut Vec<ShapeFile>) -> bool {
    let mut rows = 0;
    let end = files.iter().position(|file| {
        let is_full = rows >= ROWS_MAX;
        rows += file.file.record_count();
        is_full
    });
    files.truncate(end.unwrap_or(files.len()));
    end.is_some()
}

/// Rows that wait to be written.
#[derive(Default)]
struct Lot {
    parts: Vec<Part>,
    rows: usize,
    bytes: usize,
    /// Of which file they are, by place in the list, and how many.
    owners: Vec<(usize, usize)>,
}

impl Committer {
    /// Writes the rows of some files anew. `first`: how many new files there are before. `schema`: the table's columns.
    pub(super) async fn scatter(
        &self,
        base: &Base,
        schema: &SchemaRef,
        old: &[ShapeFile],
        first: usize,
    ) -> Result<(Vec<NewFile>, Vec<Scattered>), LakehouseError> {
        let table = base.name.to_string();
        let arrow = |source| LakehouseError::Arrow { table: table.clone(), source };
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let (mut files, mut lot) = (Vec::new(), Lot::default());
        let layout = Layout::of(&base.view);
        let mut scattered: Vec<Scattered> = Vec::with_capacity(old.len());
        for (at, ShapeFile { number, file, deleted, .. }) in old.iter().enumerate() {
            scattered.push(Scattered { old: *number, deleted: Arc::clone(deleted), places: Vec::new() });
            let mut batches =
                read_rows(self.catalog.warehouse(), schema, &columns, (file, &layout), None).await?;
            let mut row = 0_u64;
            while let Some(batch) = batches.try_next().await.map_err(|error| damaged(file, error))? {
                let end = row + batch.num_rows() as u64;
                let live: BooleanArray = (row..end).map(|row| Some(!deleted.contains(row))).collect();
                row = end;
                let batch = conform(&table, schema, &columns, &batch)?;
                let kept = arrow::compute::filter_record_batch(&batch, &live).map_err(arrow)?;
                let kept =
                    RecordBatch::try_new(Arc::clone(schema), kept.columns().to_vec()).map_err(arrow)?;
                lot.add(at, kept);
                if lot.bytes >= LOT_BYTES {
                    self.write_lot(base, &mut lot, first, &mut files, &mut scattered).await?;
                }
            }
        }
        self.write_lot(base, &mut lot, first, &mut files, &mut scattered).await?;
        Ok((files, scattered))
    }

    async fn write_lot(
        &self,
        base: &Base,
        lot: &mut Lot,
        first: usize,
        files: &mut Vec<NewFile>,
        scattered: &mut [Scattered],
    ) -> Result<(), LakehouseError> {
        let Lot { parts, rows, owners, .. } = std::mem::take(lot);
        let (new, places) = Box::pin(self.spread(base, parts, rows)).await?;
        let first = row_number(first + files.len())?;
        let mut places = places.into_iter().map(|(file, row)| match (file, row) {
            NOWHERE => NOWHERE,
            _ => (first + file, row),
        });
        for (owner, count) in owners {
            scattered[owner].places.extend(places.by_ref().take(count));
        }
        files.extend(new);
        Ok(())
    }
}

impl Lot {
    fn add(&mut self, owner: usize, batch: RecordBatch) {
        let count = batch.num_rows();
        if count == 0 {
            return;
        }
        self.bytes += batch.get_array_memory_size();
        self.parts.push(Part { batch, rows: (self.rows..self.rows + count).collect() });
        self.rows += count;
        match self.owners.last_mut() {
            Some((last, rows)) if *last == owner => *rows += count,
            _ => self.owners.push((owner, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_where_it_was_scattered() {
        let deleted: RoaringTreemap = [0_u64, 3, 4].into_iter().collect();
        let places = vec![(2, 7), (0, 1), (2, 8), NOWHERE];
        let scattered = Scattered { old: 5, deleted: Arc::new(deleted), places };
        let found: Vec<_> = [1, 2, 5, 6, 7].into_iter().map(|row| scattered.place(row)).collect();
        assert_eq!(found, [Some((2, 7)), Some((0, 1)), Some((2, 8)), None, None]);
    }
}
