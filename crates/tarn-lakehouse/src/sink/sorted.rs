//! Compaction that sorts: the rows of the chosen files of each partition come out by the table's order, by columns that
//! somebody names, or along a Z-curve. Memory is bounded whatever their number.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use futures::TryStreamExt;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::compact::{Compact, Rewritten};
use super::flush::{Committer, NewFile};
use super::read::{conform, read_rows};
use super::state::{TableState, damaged, row_number};
use crate::data_file::DataFileWriter;
use crate::error::LakehouseError;
use crate::sort::{KeyMaker, MovedRows, RowOrder, Sampler, SortedRows, Sorter, order_id};

/// What became of the rows of sorted files.
#[derive(Debug)]
pub(super) struct SortedMoves {
    /// Numbers of the old files, with the rows that were deleted when the compaction began.
    old: Vec<(u32, Arc<RoaringTreemap>)>,
    /// `None` where nobody can delete rows meanwhile.
    rows: Option<MovedRows>,
}

impl SortedMoves {
    pub(super) fn new(table: &str, scratch: &Path, unique: &str, tracks: bool) -> Self {
        let path = scratch.join(format!("moves-{unique}"));
        Self { old: Vec::new(), rows: tracks.then(|| MovedRows::new(table, path)) }
    }

    /// The old files go. Rows of them that went meanwhile are marked in the new ones, of which `deleted` has one set each.
    pub(super) fn adopt(
        &self,
        state: &mut TableState,
        deleted: &mut [RoaringTreemap],
    ) -> Result<(), LakehouseError> {
        let mut gone = HashSet::new();
        for (number, before) in &self.old {
            let Some(file) = state.file(*number) else { continue };
            for row in (file.deleted.as_ref() - before.as_ref()).iter() {
                if let Ok(row) = u32::try_from(row) {
                    gone.insert(MovedRows::origin(*number, row));
                }
            }
        }
        let Some(rows) = &self.rows else { return Ok(()) };
        for (file, row) in rows.find(&gone)?.into_values() {
            deleted[file].insert(u64::from(row));
        }
        for (number, _) in &self.old {
            state.remove(*number);
        }
        Ok(())
    }
}

/// Does work that takes a processor for long, without holding up other tasks where there are threads for them.
fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

type OldFile = (u32, Arc<DataFile>, Arc<RoaringTreemap>);

impl Compact {
    /// Rewrites the files partition by partition.
    pub(super) async fn sort_all(
        &mut self,
        committer: &Committer,
        order: &RowOrder,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        let files = std::mem::take(&mut self.files);
        // Files come partition by partition.
        for group in files.chunk_by(|a, b| a.1.partition() == b.1.partition()) {
            for (number, file, deleted) in group {
                self.report.bytes_rewritten += file.file_size_in_bytes();
                self.report.deletes_removed += deleted.len();
                out.gone.insert(file.file_path().to_string());
                if let Some(sorted) = &mut out.sorted {
                    sorted.old.push((*number, Arc::clone(deleted)));
                }
            }
            let rows = self.sorted_rows(committer, order, group).await?;
            if let Some((_, first, _)) = group.first() {
                self.write_sorted(committer, order, first, rows, out).await?;
            }
        }
        Ok(())
    }

    async fn sorted_rows(
        &self,
        committer: &Committer,
        order: &RowOrder,
        files: &[OldFile],
    ) -> Result<SortedRows, LakehouseError> {
        let table = self.base.name.to_string();
        let keys = match order {
            RowOrder::Columns(_) => KeyMaker::columns(&table, &self.schema, order)?,
            RowOrder::Zorder(names) => self.curve(committer, &table, names, files).await?,
        };
        let unique = committer.env.entropy.uuid().to_string();
        let mut sorter = Sorter::new(&table, &self.schema, committer.scratch.clone(), unique);
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        for (number, file, deleted) in files {
            let warehouse = committer.catalog.warehouse();
            let mut batches =
                read_rows(warehouse, &self.schema, &columns, (file, &self.layout), None).await?;
            let mut first = 0_u32;
            while let Some(batch) = batches.try_next().await.map_err(|error| damaged(file, error))? {
                self.check_way()?;
                let end = first + row_number(batch.num_rows())?;
                let batch = conform(&table, &self.schema, &columns, &batch)?;
                let (rows, origins) = self.live(&table, &batch, *number, first..end, deleted)?;
                first = end;
                if rows.num_rows() > 0 {
                    heavy(|| sorter.push(&rows, keys.keys(&table, &rows)?, origins))?;
                }
            }
        }
        heavy(|| sorter.finish())
    }

    /// The rows that are left of some, and where they come from.
    fn live(
        &self,
        table: &str,
        batch: &RecordBatch,
        number: u32,
        rows: std::ops::Range<u32>,
        deleted: &RoaringTreemap,
    ) -> Result<(RecordBatch, UInt64Array), LakehouseError> {
        let arrow = |source| LakehouseError::Arrow { table: table.into(), source };
        let live: BooleanArray = rows.clone().map(|row| Some(!deleted.contains(u64::from(row)))).collect();
        let kept = arrow::compute::filter_record_batch(batch, &live).map_err(arrow)?;
        let kept = RecordBatch::try_new(Arc::clone(&self.schema), kept.columns().to_vec()).map_err(arrow)?;
        let left = rows.zip(live.values().iter()).filter(|(_, is_live)| *is_live);
        let origins = UInt64Array::from_iter_values(left.map(|(row, _)| MovedRows::origin(number, row)));
        Ok((kept, origins))
    }

    /// The curve over some columns of some files.
    async fn curve(
        &self,
        committer: &Committer,
        table: &str,
        names: &[String],
        files: &[OldFile],
    ) -> Result<KeyMaker, LakehouseError> {
        let mut sampler = Sampler::new(table, &self.schema, names)?;
        let columns = sampler.columns().to_vec();
        for (_, file, _) in files {
            let warehouse = committer.catalog.warehouse();
            let mut batches =
                read_rows(warehouse, &self.schema, &columns, (file, &self.layout), None).await?;
            while let Some(batch) = batches.try_next().await.map_err(|error| damaged(file, error))? {
                self.check_way()?;
                let batch = conform(table, &self.schema, &columns, &batch)?;
                heavy(|| sampler.take(&batch))?;
            }
        }
        Ok(KeyMaker::Zorder(heavy(|| sampler.curve())))
    }

    async fn write_sorted(
        &self,
        committer: &Committer,
        order: &RowOrder,
        like: &DataFile,
        mut rows: SortedRows,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        let table = self.base.name.to_string();
        let target = self.target_bytes();
        while let Some((batch, origins)) = heavy(|| rows.next(&self.schema))? {
            self.check_way()?;
            let (mut to, mut bytes) = match out.writer.take() {
                Some(open) => open,
                None => {
                    let mut file = self.open_file(committer, like).await?;
                    file.sorted_by(order_id(self.base.metadata(), order));
                    (file, 0)
                }
            };
            to.write(&batch).await?;
            if let Some(hasher) = &self.base.hasher {
                out.keys.extend(hasher.hash(&table, batch.columns())?);
            }
            if let Some(moves) = out.sorted.as_mut().and_then(|sorted| sorted.rows.as_mut()) {
                moves.push(origins.values())?;
            }
            bytes += batch.get_array_memory_size() / 4;
            if bytes as u64 >= target {
                self.finish_sorted(committer, to, out).await?;
            } else {
                out.writer = Some((to, bytes));
            }
        }
        match out.writer.take() {
            Some((file, _)) => self.finish_sorted(committer, file, out).await,
            None => Ok(()),
        }
    }

    async fn finish_sorted(
        &self,
        committer: &Committer,
        file: DataFileWriter,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        self.finish_file(committer, file, out).await?;
        if let (Some(sorted), Some(NewFile { file, .. })) = (&mut out.sorted, out.files.last())
            && let Some(rows) = &mut sorted.rows
        {
            rows.end_file(row_number(usize::try_from(file.record_count()).unwrap_or(usize::MAX))?);
        }
        Ok(())
    }
}

/// Where runs of a sort are kept meanwhile: below `folder`, or where the system keeps such files.
pub(crate) fn scratch(folder: Option<&Path>) -> PathBuf {
    folder.map_or_else(|| std::env::temp_dir().join("tarn-sort"), |folder| folder.join("sort"))
}
