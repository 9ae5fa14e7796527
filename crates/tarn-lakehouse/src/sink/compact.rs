//! Compaction by the sink itself: small files and files with many deleted rows are rewritten, delete files folded.
//!
//! Changes go on being applied meanwhile. A row that goes while its file is rewritten is deleted from the new file when
//! the compaction is taken over, so no row comes back; a commit of another engine makes ours fail, and nothing is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;
use serde::Serialize;
use tarn_core::RequestContext;

use super::flush::{Base, Committed, Committer, JobFault, NewFile};
use super::index::KeyHash;
use super::read::{conform, read_rows};
use super::state::{FileState, TableState, damaged, row_number};
use crate::data_file::DataFileWriter;
use crate::error::LakehouseError;
use crate::snapshot::RowDelta;
use crate::view::DataFileView;

/// Files below this many bytes are small.
const SMALL_BYTES: u64 = 16 << 20;
/// Small files that may stand before they are rewritten together.
const SMALL_FILES_MAX: usize = 12;
/// Delete files that may stand before they are folded into one per data file.
const DELETE_FILES_MAX: usize = 24;
/// Rewritten files end at this many bytes.
const TARGET_BYTES: usize = 128 << 20;
/// A file is rewritten when more than one in this many of its rows is deleted.
const DELETED_ONE_IN: u64 = 5;
/// Files up to this many bytes always go together, and their deleted rows are not worth a rewriting of their own.
const TINY_BYTES: u64 = 256 << 10;
/// Fewer small files are not rewritten together.
const MERGED_MIN: usize = 4;
/// Bytes rewritten at a time, so that freshness does not suffer.
const REWRITE_BYTES_MAX: u64 = 512 << 20;

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

/// What a compaction works on: files by number, with their deletes of the last commit. Deletes that come later are
/// found when the compaction is taken over, and follow their rows.
#[derive(Debug)]
pub struct Compact {
    base: Base,
    files: Vec<(u32, Arc<DataFile>, Arc<RoaringTreemap>)>,
    schema: SchemaRef,
    fold: bool,
    report: Compaction,
}

/// A compaction that was committed, or had nothing to do.
#[derive(Debug)]
pub struct Compacted {
    committed: Option<Committed>,
    files: Vec<NewFile>,
    moved: Vec<Moved>,
    /// What it did.
    pub report: Compaction,
}

/// Files of a compaction.
#[derive(Default)]
struct Rewritten {
    files: Vec<NewFile>,
    moved: Vec<Moved>,
    writer: Option<(DataFileWriter, usize)>,
    keys: Vec<KeyHash>,
}

fn is_small(file: &FileState) -> bool {
    file.file.file_size_in_bytes() < SMALL_BYTES
}

/// Whether its deleted rows alone make it worth rewriting.
fn is_worn(file: &FileState) -> bool {
    file.committed.len() * DELETED_ONE_IN > file.file.record_count()
        && file.file.file_size_in_bytes() >= TINY_BYTES
}

/// Small files, by number, that go well into one.
fn mergeable(state: &TableState) -> Vec<u32> {
    let small = state.committed_files().filter(|(_, file)| is_small(file));
    together(small.map(|(number, file)| (file.file.file_size_in_bytes(), number)))
}

/// Of files given by size and number, the smallest ones, none of which clearly outweighs all that are smaller: then a row is
/// rewritten as often as its table doubles, not as often as a dozen commits were made (size-tiered compaction).
fn together(files: impl Iterator<Item = (u64, u32)>) -> Vec<u32> {
    let mut files: Vec<(u64, u32)> = files.collect();
    files.sort_unstable();
    let mut smaller = 0;
    let fits = |(bytes, number): (u64, u32)| {
        // Files of one size differ a little.
        let fits = bytes <= TINY_BYTES || smaller == 0 || bytes <= smaller + smaller / 2;
        smaller += bytes;
        fits.then_some(number)
    };
    files.into_iter().map_while(fits).collect()
}

/// Whether the table has come to a shape that costs its readers.
pub fn is_due(state: &TableState) -> bool {
    if state.has_equality_deletes || !state.metadata.default_partition_spec().is_unpartitioned() {
        return false;
    }
    mergeable(state).len() > SMALL_FILES_MAX
        || has_many_deletes(state)
        || state.committed_files().any(|(_, file)| is_worn(file))
}

/// Whether there are more delete files than one per data file, and many.
fn has_many_deletes(state: &TableState) -> bool {
    state.delete_files.len() > DELETE_FILES_MAX.max(state.live.len())
}

/// The files to rewrite, by number. `everything`: all small files and all with a deleted row.
fn chosen(state: &TableState, everything: bool) -> Vec<u32> {
    let live = state.committed_files();
    let mut chosen: Vec<u32> = if everything {
        live.filter(|(_, file)| is_small(file) || !file.committed.is_empty())
            .map(|(number, _)| number)
            .collect()
    } else {
        live.filter(|(_, file)| is_worn(file)).map(|(number, _)| number).collect()
    };
    if !everything {
        let merged = mergeable(state);
        if merged.len() >= MERGED_MIN {
            let more: Vec<u32> = merged.into_iter().filter(|number| !chosen.contains(number)).collect();
            chosen.extend(more);
        }
        let mut bytes = 0;
        chosen.retain(|number| {
            let wanted = bytes < REWRITE_BYTES_MAX;
            bytes += state.file(*number).map_or(0, |file| file.file.file_size_in_bytes());
            wanted
        });
    }
    // One small file alone gains nothing.
    if let [only] = chosen[..]
        && state.file(only).is_some_and(|file| file.committed.is_empty())
    {
        chosen.clear();
    }
    chosen
}

impl Compact {
    /// Of the small and worn files of a table. `everything`: also files with a single deleted row, without a bound on
    /// bytes.
    pub fn begin(state: &TableState, everything: bool) -> Self {
        let files = chosen(state, everything).into_iter().filter_map(|number| {
            let file = state.file(number)?;
            Some((number, Arc::clone(&file.file), Arc::clone(&file.committed)))
        });
        let report = Compaction {
            files_before: state.live.len(),
            files_after: state.live.len(),
            delete_files_before: state.delete_files.len(),
            delete_files_after: state.delete_files.len(),
            ..Compaction::default()
        };
        Self {
            base: Base::of(state),
            files: files.collect(),
            schema: Arc::clone(&state.schema),
            fold: everything || has_many_deletes(state),
            report,
        }
    }

    /// Rewrites the files and folds delete files, in one commit. Nothing changes for readers but speed.
    pub async fn run(mut self, committer: &Committer, ctx: &RequestContext) -> Result<Compacted, JobFault> {
        let mut rewritten = Rewritten::default();
        for (number, file, deleted) in &self.files {
            self.report.bytes_rewritten += file.file_size_in_bytes();
            rewritten.moved.push(Moved { old: *number, deleted: Arc::clone(deleted), pieces: Vec::new() });
            self.rewrite(committer, file, deleted, &mut rewritten).await?;
        }
        if let Some((file, _)) = rewritten.writer.take() {
            self.finish_file(committer, file, &mut rewritten).await?;
        }
        let mut delta = RowDelta {
            add_data: rewritten.files.iter().map(|new| new.file.as_ref().clone()).collect(),
            remove_data: self.files.iter().map(|(_, file, _)| file.file_path().to_string()).collect(),
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
        let change = committer.rewrite_deletes(&self.base, before, touched, &delta.remove_data).await?;
        let delete_files = change.put_into(&mut delta);
        let Rewritten { files, moved, .. } = rewritten;
        if delta.is_empty() {
            return Ok(Compacted { committed: None, files, moved, report: self.report });
        }
        let view = committer.commit(ctx, &self.base, delta, Vec::new()).await?;
        self.report.rows_rewritten = files.iter().map(|new| new.file.record_count()).sum();
        self.report.files_after = view.files.len();
        self.report.delete_files_after = delete_files.len();
        let committed = Some(Committed { view, delete_files });
        Ok(Compacted { committed, files, moved, report: self.report })
    }

    /// By how many delete files each data file is covered.
    fn covering(&self) -> HashMap<&str, usize> {
        let mut covering = HashMap::new();
        for path in self.base.delete_files.iter().flat_map(|file| file.covers.iter()) {
            *covering.entry(path.as_str()).or_default() += 1;
        }
        covering
    }

    async fn finish_file(
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
        let mut batches = read_rows(warehouse, &self.schema, &columns, file, None).await?;
        let mut first = 0_u32;
        while let Some(batch) = batches.try_next().await.map_err(|error| damaged(file, error))? {
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
                None => (committer.factory(&self.base).data(self.base.metadata()).await?, 0),
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
            if bytes >= TARGET_BYTES {
                self.finish_file(committer, to, out).await?;
            } else {
                out.writer = Some((to, bytes));
            }
        }
        Ok(())
    }
}

impl Compacted {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.committed.is_none()
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

    #[test]
    fn rows_are_rewritten_as_often_as_their_table_doubles() {
        const COMMITS: u32 = 3_000;
        const COMMIT_BYTES: u64 = 4 * TINY_BYTES;
        let mut files: Vec<(u64, u32)> = Vec::new();
        let (mut rewritten, mut most) = (0, 0);
        for number in 0..COMMITS {
            files.push((COMMIT_BYTES, number));
            most = most.max(files.len());
            let small = files.iter().copied().filter(|(bytes, _)| *bytes < SMALL_BYTES);
            let merged = together(small);
            if merged.len() > SMALL_FILES_MAX {
                let bytes: u64 =
                    files.iter().filter(|(_, number)| merged.contains(number)).map(|(bytes, _)| bytes).sum();
                files.retain(|(_, number)| !merged.contains(number));
                files.push((bytes, number));
                rewritten += bytes;
            }
        }
        let written = u64::from(COMMITS) * COMMIT_BYTES;
        assert_eq!(files.iter().map(|(bytes, _)| bytes).sum::<u64>(), written);
        assert!(rewritten <= 3 * written, "{}", rewritten as f64 / written as f64);
        let large = written.div_ceil(SMALL_BYTES) as usize;
        assert!(most <= large + 3 * SMALL_FILES_MAX, "{most} files");
    }

    #[test]
    fn files_of_about_one_size_go_together() {
        let sizes = (0..20_u64).map(|n| TINY_BYTES * 2 + n * 3_001 % 20_000);
        assert_eq!(together(sizes.zip(0..)).len(), 20);
    }

    #[test]
    fn a_file_that_outweighs_all_smaller_ones_stays() {
        let mib = |sizes: &[u64]| together(sizes.iter().map(|size| size << 20).zip(0..));
        assert_eq!(mib(&[15, 1, 1, 1]), [1, 2, 3]);
        let mut tiny = vec![10 << 20];
        tiny.extend([1_000; 8]);
        assert_eq!(together(tiny.into_iter().zip(0..)), [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut commits = vec![TINY_BYTES + 1];
        commits.extend([10_000; 12]);
        assert_eq!(
            together(commits.into_iter().zip(0..)).len(),
            12,
            "the merged one waits for as many bytes again"
        );
        assert_eq!(mib(&[1, 2, 4, 8]), [0], "no two of them");
        assert_eq!(together([(1, 7), (2, 8)].into_iter()), [7, 8]);
    }
}
