//! Compaction by the sink itself: small files and files with many deleted rows are rewritten, delete files folded.
//!
//! Changes go on being applied meanwhile. A row that goes while its file is rewritten is deleted from the new file when
//! the compaction is taken over, so no row comes back; a commit of another engine makes ours fail, and nothing is lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::{DataFile, PartitionKey, Struct};
use roaring::RoaringTreemap;
use serde::Serialize;
use tarn_core::RequestContext;
use tokio_util::sync::CancellationToken;

use super::flush::{Base, Committed, Committer, JobFault, NewFile};
use super::index::KeyHash;
use super::read::{conform, read_rows};
use super::scatter::{Scattered, bounded};
use super::shape::{Shape, ShapeFile};
use super::sorted::SortedMoves;
use super::state::{TableState, damaged, row_number};
use crate::data_file::DataFileWriter;
use crate::error::LakehouseError;
use crate::layout::Layout;
use crate::service::policy::target_bytes;
use crate::service::{Outcome, RunFigures, Strategy};
use crate::snapshot::RowDelta;
use crate::sort::{RowOrder, declared, order_id};
use crate::view::DataFileView;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compaction {
    /// Live data files before.
    pub files_before: usize,
    /// Live data files after.
    pub files_after: usize,
    /// Delete files before.
    pub delete_files_before: usize,
    /// Delete files after.
    pub delete_files_after: usize,
    /// Rows rewritten.
    pub rows_rewritten: u64,
    /// Bytes of the files that were replaced.
    pub bytes_rewritten: u64,
    /// Bytes of the files that were written.
    pub bytes_written: u64,
    /// Deleted rows that are in no file any more.
    pub deletes_removed: u64,
}

impl Compaction {
    /// Of a table that stays as it is.
    pub(crate) fn none(base: &Base) -> Self {
        let (files, delete_files) = (base.view.files.len(), base.delete_files.len());
        Self {
            files_before: files,
            files_after: files,
            delete_files_before: delete_files,
            delete_files_after: delete_files,
            ..Self::default()
        }
    }

    /// For the list of runs.
    pub(crate) fn figures(&self) -> RunFigures {
        RunFigures {
            bytes_read: self.bytes_rewritten,
            bytes_written: self.bytes_written,
            rows_written: self.rows_rewritten,
            files_before: self.files_before as u64,
            files_after: self.files_after as u64,
            delete_files_before: self.delete_files_before as u64,
            delete_files_after: self.delete_files_after as u64,
            deletes_removed: self.deletes_removed,
            ..RunFigures::default()
        }
    }
}

/// Neighbouring rows of an old file that became neighbouring rows of a new one, but for the deleted ones among them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    old_row: u32,
    /// Number in the list of new files.
    file: usize,
    new_row: u32,
}

/// What became of an old file.
#[derive(Debug)]
struct Moved {
    /// Its number.
    old: u32,
    /// Rows that were deleted when the compaction began.
    deleted: Arc<RoaringTreemap>,
    /// By old row.
    pieces: Vec<Piece>,
}

impl Moved {
    /// Where a row is now that was not deleted when the compaction began: number in the list of new files, and row.
    fn place(&self, row: u32) -> Option<(usize, u32)> {
        let piece = self.pieces[..self.pieces.partition_point(|piece| piece.old_row <= row)].last()?;
        // Rank counts up to and with the row; it is not deleted itself.
        let until = |row: u32| row.checked_sub(1).map_or(0, |last| self.deleted.rank(u64::from(last)));
        let deleted = u32::try_from(until(row) - until(piece.old_row)).ok()?;
        Some((piece.file, piece.new_row + (row - piece.old_row) - deleted))
    }
}

/// What somebody wants of a compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Optimize {
    /// All rows are put into this order; without one, small and worn files are rewritten.
    pub order: Option<RowOrder>,
    /// Files other than these, by location, stay as they are.
    pub only: Option<Arc<HashSet<String>>>,
    /// Files beside the warehouse are copied into it; all others stay as they are.
    pub adopts: bool,
}

impl Optimize {
    /// What it is called.
    pub fn strategy(&self) -> Strategy {
        match &self.order {
            None => Strategy::Major,
            Some(RowOrder::Columns(_)) => Strategy::Sort,
            Some(RowOrder::Zorder(_)) => Strategy::Zorder,
        }
    }
}

/// What a compaction works on: files by number, with their deletes of the last commit. Deletes that come later are
/// found when the compaction is taken over, and follow their rows.
#[derive(Debug)]
pub struct Compact {
    pub(super) base: Base,
    pub(super) files: Vec<(u32, Arc<DataFile>, Arc<RoaringTreemap>)>,
    /// Files of older partitionings.
    older: Vec<ShapeFile>,
    is_partial: bool,
    pub(super) schema: SchemaRef,
    pub(super) layout: Layout,
    fold: bool,
    pub(super) report: Compaction,
    give_way: Option<CancellationToken>,
    order: Option<RowOrder>,
    /// Rows may be deleted meanwhile.
    tracks: bool,
}

/// A compaction that was committed, or had nothing to do.
#[derive(Debug)]
pub struct Compacted {
    committed: Option<Committed>,
    files: Vec<NewFile>,
    moved: Vec<Moved>,
    sorted: Option<SortedMoves>,
    scattered: Vec<Scattered>,
    /// More than one compaction takes is to be done.
    pub is_partial: bool,
    /// What it did.
    pub report: Compaction,
}

/// Files of a compaction.
#[derive(Default)]
pub(super) struct Rewritten {
    pub(super) files: Vec<NewFile>,
    moved: Vec<Moved>,
    /// Where rows went that are sorted.
    pub(super) sorted: Option<SortedMoves>,
    pub(super) writer: Option<(DataFileWriter, usize)>,
    /// Of the rows that are written now; files come partition by partition.
    partition: Option<Struct>,
    pub(super) keys: Vec<KeyHash>,
    /// Locations of the old files.
    pub(super) gone: HashSet<String>,
}

impl Compact {
    /// Of the small and worn files of a table. `asked`: of what somebody wants, where files with a single deleted row count
    /// too and there is no bound on bytes. `schema`: the table's columns. Files come in the table's order, if it declares one.
    pub fn begin(base: Base, schema: SchemaRef, shape: &Shape, asked: Option<&Optimize>) -> Self {
        let report = Compaction::none(&base);
        let mut files = match asked {
            None => shape.chosen(false),
            Some(Optimize { adopts: true, .. }) => shape.outside(),
            Some(Optimize { order: None, .. }) => worth(&base, shape),
            Some(Optimize { order: Some(_), .. }) => shape.all(),
        };
        if let Some(only) = asked.and_then(|asked| asked.only.as_ref()) {
            files.retain(|file| only.contains(file.file.file_path()));
        }
        let (files, mut older): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.is_current);
        let mut is_partial = bounded(&mut older);
        let mut files: Vec<_> =
            files.into_iter().map(|file| (file.number, file.file, file.deleted)).collect();
        if !older.is_empty() && asked.is_some_and(|asked| asked.order.is_some()) {
            // First all rows come into partitions of today, then they are sorted.
            files.clear();
            is_partial = true;
        }
        let order = asked.and_then(|asked| asked.order.clone()).or_else(|| declared(base.metadata()));
        let fold = asked.is_some() || shape.has_many_deletes();
        let layout = Layout::of(&base.view);
        Self {
            base,
            files,
            older,
            is_partial,
            schema,
            layout,
            fold,
            report,
            give_way: None,
            order,
            tracks: true,
        }
    }

    /// Rows cannot be deleted meanwhile, so nobody will ask where they went.
    pub fn forget_moves(&mut self) {
        self.tracks = false;
    }

    /// Bytes at which files end.
    pub(super) fn target_bytes(&self) -> u64 {
        target_bytes(self.base.metadata())
    }

    /// Makes it end early once this is cancelled: changes wait for what it holds up.
    pub fn give_way(&mut self, token: Option<CancellationToken>) {
        self.give_way = token;
    }

    pub(super) fn check_way(&self) -> Result<(), LakehouseError> {
        if self.give_way.as_ref().is_none_or(|token| !token.is_cancelled()) {
            return Ok(());
        }
        let what =
            format!("the compaction of table `{}` gave way to changes that wait for memory", self.base.name);
        Err(LakehouseError::Invalid { what })
    }

    /// Rewrites the files and folds delete files, in one commit. Nothing changes for readers but speed.
    pub async fn run(mut self, committer: &Committer, ctx: &RequestContext) -> Result<Compacted, JobFault> {
        let mut rewritten = Rewritten::default();
        let done = match self.order.take() {
            None => self.rewrite_all(committer, &mut rewritten).await,
            Some(order) => {
                let (table, unique) = (self.base.name.to_string(), committer.env.entropy.uuid().to_string());
                rewritten.sorted = Some(SortedMoves::new(&table, &committer.scratch, &unique, self.tracks));
                self.sort_all(committer, &order, &mut rewritten).await
            }
        };
        if let Err(error) = done {
            let written = rewritten.files.iter().map(|new| new.file.file_path().to_string());
            let open = rewritten.writer.iter().map(|(file, _)| file.location().to_string());
            let written: Vec<String> = written.chain(open).collect();
            drop(rewritten);
            committer.discard(written.into_iter()).await;
            return Err(JobFault::Before(error));
        }
        let (base, first) = (&self.base, rewritten.files.len());
        let (files, scattered) = Box::pin(committer.scatter(base, &self.schema, &self.older, first)).await?;
        rewritten.files.extend(files);
        let removed = self.older.iter().map(|old| &old.file);
        self.report.bytes_rewritten += removed.clone().map(|file| file.file_size_in_bytes()).sum::<u64>();
        self.report.deletes_removed += self.older.iter().map(|old| old.deleted.len()).sum::<u64>();
        let removed = removed.chain(self.files.iter().map(|(_, file, _)| file));
        let mut delta = RowDelta {
            add_data: rewritten.files.iter().map(|new| new.file.as_ref().clone()).collect(),
            remove_data: {
                let mut gone = std::mem::take(&mut rewritten.gone);
                gone.extend(removed.map(|file| file.file_path().to_string()));
                gone
            },
            is_rewrite: true,
            ..RowDelta::default()
        };
        let mut touched = BTreeMap::new();
        if self.fold {
            let stays = |file: &&DataFileView| !delta.remove_data.contains(file.file.file_path());
            let files = self.base.view.files.iter().filter(stays);
            let deleted = files.filter_map(|file| {
                Some((file.file.file_path().to_string(), Arc::clone(file.deletes.as_ref()?)))
            });
            let shared: HashMap<&str, usize> = self.covering();
            touched.extend(deleted.filter(|(path, _)| shared.get(path.as_str()).is_some_and(|n| *n > 1)));
        }
        let before = self.base.delete_files.clone();
        let change = committer.rewrite_deletes(&self.base, before, touched, &[], &delta.remove_data).await?;
        let delete_files = change.put_into(&mut delta);
        let Rewritten { files, moved, sorted, .. } = rewritten;
        let is_partial = self.is_partial;
        if delta.is_empty() {
            let report = self.report;
            return Ok(Compacted { committed: None, files, moved, sorted, scattered, is_partial, report });
        }
        let view = committer.commit(ctx, &self.base, delta, Vec::new()).await?;
        self.report.rows_rewritten = files.iter().map(|new| new.file.record_count()).sum();
        self.report.bytes_written = files.iter().map(|new| new.file.file_size_in_bytes()).sum();
        self.report.files_after = view.files.len();
        self.report.delete_files_after = delete_files.len();
        let committed = Some(Committed { view, delete_files });
        Ok(Compacted { committed, files, moved, sorted, scattered, is_partial, report: self.report })
    }

    async fn rewrite_all(
        &mut self,
        committer: &Committer,
        rewritten: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        for (number, file, deleted) in std::mem::take(&mut self.files) {
            self.check_way()?;
            self.report.bytes_rewritten += file.file_size_in_bytes();
            self.report.deletes_removed += deleted.len();
            if rewritten.partition.as_ref().is_some_and(|partition| partition != file.partition())
                && let Some((open, _)) = rewritten.writer.take()
            {
                self.finish_file(committer, open, rewritten).await?;
            }
            rewritten.partition = Some(file.partition().clone());
            rewritten.moved.push(Moved { old: number, deleted: Arc::clone(&deleted), pieces: Vec::new() });
            self.rewrite(committer, &file, &deleted, rewritten).await?;
            rewritten.gone.insert(file.file_path().to_string());
        }
        match rewritten.writer.take() {
            Some((file, _)) => self.finish_file(committer, file, rewritten).await,
            None => Ok(()),
        }
    }

    /// By how many delete files each data file is covered.
    fn covering(&self) -> HashMap<&str, usize> {
        let mut covering = HashMap::new();
        for path in self.base.delete_files.iter().flat_map(|file| file.covers.iter()) {
            *covering.entry(path.as_str()).or_default() += 1;
        }
        covering
    }

    /// A new file of the partition of an old one.
    pub(super) async fn open_file(
        &self,
        committer: &Committer,
        old: &DataFile,
    ) -> Result<DataFileWriter, LakehouseError> {
        let (factory, metadata) = (committer.factory(&self.base), self.base.metadata());
        let spec = metadata.default_partition_spec();
        if spec.is_unpartitioned() {
            return factory.data(metadata).await;
        }
        let schema = Arc::clone(metadata.current_schema());
        let partition = PartitionKey::new(spec.as_ref().clone(), schema, old.partition().clone());
        factory.data_in(metadata, &partition).await
    }

    pub(super) async fn finish_file(
        &self,
        committer: &Committer,
        file: DataFileWriter,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        let file = file.close().await?;
        let run =
            committer.run_of(&self.base, &file, std::mem::take(&mut out.keys).into_iter().zip(0..).collect());
        out.files.push(NewFile { file: Arc::new(file), run });
        Ok(())
    }

    async fn rewrite(
        &self,
        committer: &Committer,
        file: &DataFile,
        deleted: &RoaringTreemap,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        let table = self.base.name.to_string();
        let arrow = |source| LakehouseError::Arrow { table: table.clone(), source };
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let warehouse = committer.catalog.warehouse();
        let mut batches = read_rows(warehouse, &self.schema, &columns, (file, &self.layout), None).await?;
        let mut first = 0_u32;
        while let Some(batch) = batches.try_next().await.map_err(|error| damaged(file, error))? {
            self.check_way()?;
            let rows = row_number(batch.num_rows())?;
            let live: BooleanArray =
                (first..first + rows).map(|row| Some(!deleted.contains(u64::from(row)))).collect();
            let batch = conform(&table, &self.schema, &columns, &batch)?;
            let kept = arrow::compute::filter_record_batch(&batch, &live).map_err(arrow)?;
            let kept =
                RecordBatch::try_new(Arc::clone(&self.schema), kept.columns().to_vec()).map_err(arrow)?;
            let old_row = first;
            first += rows;
            if kept.num_rows() == 0 {
                continue;
            }
            let (mut to, bytes) = match out.writer.take() {
                Some(open) => open,
                None => (self.open_file(committer, file).await?, 0),
            };
            let piece = Piece { old_row, file: out.files.len(), new_row: row_number(to.rows() as usize)? };
            if let Some(moved) = out.moved.last_mut()
                && moved.pieces.last().is_none_or(|last| last.file != piece.file)
            {
                moved.pieces.push(piece);
            }
            to.write(&kept).await?;
            if let Some(hasher) = &self.base.hasher {
                out.keys.extend(hasher.hash(&table, kept.columns())?);
            }
            let bytes = bytes + kept.get_array_memory_size() / 4;
            if bytes as u64 >= self.target_bytes() {
                self.finish_file(committer, to, out).await?;
            } else {
                out.writer = Some((to, bytes));
            }
        }
        Ok(())
    }
}

/// What is rewritten of a table because somebody asks for it: small and worn files, and those whose rows are not in the
/// order that the table declares.
fn worth(base: &Base, shape: &Shape) -> Vec<ShapeFile> {
    let chosen = shape.chosen(true);
    let order = declared(base.metadata()).and_then(|order| order_id(base.metadata(), &order));
    let Some(order) = order else { return chosen };
    let numbers: HashSet<u32> = chosen.iter().map(|file| file.number).collect();
    let is_unsorted = |file: &ShapeFile| !file.is_outside && file.file.sort_order_id() != Some(order);
    let is_worth = |file: &ShapeFile| numbers.contains(&file.number) || is_unsorted(file);
    shape.all().into_iter().filter(is_worth).collect()
}

impl Compacted {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.committed.is_none()
    }

    /// For the list of runs.
    pub(crate) fn outcome(&self) -> Outcome {
        let committed = self.committed.as_ref()?;
        Some((self.report.figures(), committed.view.snapshot_id))
    }

    /// Takes the commit over: rows that went meanwhile are deleted where they are now.
    pub fn adopt(self, state: &mut TableState) -> Result<Compaction, LakehouseError> {
        let Some(committed) = self.committed else { return Ok(self.report) };
        let mut deleted: Vec<RoaringTreemap> = self.files.iter().map(|_| RoaringTreemap::new()).collect();
        for moved in &self.moved {
            let Some(file) = state.file(moved.old) else { continue };
            for row in (file.deleted.as_ref() - moved.deleted.as_ref()).iter() {
                if let Some((file, row)) = u32::try_from(row).ok().and_then(|row| moved.place(row)) {
                    deleted[file].insert(u64::from(row));
                }
            }
            state.remove(moved.old);
        }
        if let Some(sorted) = &self.sorted {
            sorted.adopt(state, &mut deleted)?;
        }
        for scattered in &self.scattered {
            let Some(file) = state.file(scattered.old) else { continue };
            for row in (file.deleted.as_ref() - scattered.deleted.as_ref()).iter() {
                if let Some((file, row)) = u32::try_from(row).ok().and_then(|row| scattered.place(row)) {
                    deleted[file].insert(u64::from(row));
                }
            }
            state.remove(scattered.old);
        }
        for (new, deleted) in self.files.into_iter().zip(deleted) {
            state.stage(new.file, new.run, deleted)?;
        }
        state.adopt(committed.view, committed.delete_files)?;
        Ok(self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_where_it_was_moved() {
        let deleted: RoaringTreemap = [0_u64, 3, 4, 9].into_iter().collect();
        let piece = |old_row, file, new_row| Piece { old_row, file, new_row };
        let moved =
            Moved { old: 0, deleted: Arc::new(deleted), pieces: vec![piece(0, 0, 100), piece(5, 1, 0)] };
        let places: Vec<_> = [1, 2, 5, 8, 10].into_iter().map(|row| moved.place(row).unwrap()).collect();
        assert_eq!(places, [(0, 100), (0, 101), (1, 0), (1, 3), (1, 4)]);
    }
}
