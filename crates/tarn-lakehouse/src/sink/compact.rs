//! Compaction by the sink itself: small files and files with many deleted rows are rewritten, delete files folded.
//!
//! The sink is the table's only writer of ours and holds the key index, so no delete of ours can fall between the
//! read and the commit; a commit of another engine makes ours fail, and nothing is lost.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch};
use futures::TryStreamExt;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;
use serde::Serialize;
use tarn_core::{Env, RequestContext};

use super::flush::Committer;
use super::index::{FileRow, KeyHash};
use super::state::{FileState, TableState, conform, read_rows};
use crate::data_file::{DataFileWriter, FileFactory};
use crate::error::LakehouseError;
use crate::snapshot::RowDelta;

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

/// A file that goes, and what of it was rewritten: key, old row, new file (by number in the list), new row.
struct Rewritten {
    old: Vec<u32>,
    files: Vec<DataFile>,
    moved: Vec<(KeyHash, FileRow, usize, u32)>,
    bytes: u64,
}

fn is_small(file: &FileState) -> bool {
    file.file.file_size_in_bytes() < SMALL_BYTES
}

/// Whether its deleted rows alone make it worth rewriting.
fn is_worn(file: &FileState) -> bool {
    file.deleted.len() * DELETED_ONE_IN > file.file.record_count()
        && file.file.file_size_in_bytes() >= TINY_BYTES
}

/// Small files, by number, that go well into one.
fn mergeable(state: &TableState) -> Vec<u32> {
    let live = state.files.iter().enumerate().filter_map(|(number, file)| Some((number, file.as_ref()?)));
    let small = live.filter(|(_, file)| is_small(file));
    together(
        small
            .filter_map(|(number, file)| Some((file.file.file_size_in_bytes(), u32::try_from(number).ok()?))),
    )
}

/// Of files given by size and number, the smallest ones, none of which outweighs all that are smaller: then a row is
/// rewritten as often as its table doubles, not as often as a dozen commits were made (size-tiered compaction).
fn together(files: impl Iterator<Item = (u64, u32)>) -> Vec<u32> {
    let mut files: Vec<(u64, u32)> = files.collect();
    files.sort_unstable();
    let mut smaller = 0;
    let fits = |(bytes, number): (u64, u32)| {
        let fits = bytes <= TINY_BYTES || smaller == 0 || bytes <= smaller;
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
        || state.delete_files.len() > DELETE_FILES_MAX
        || state.files.iter().flatten().any(is_worn)
}

/// The files to rewrite, by number. `everything`: all small files and all with a deleted row.
fn chosen(state: &TableState, everything: bool) -> Vec<u32> {
    let live = state.files.iter().enumerate().filter_map(|(number, file)| Some((number, file.as_ref()?)));
    if everything {
        let wanted = live.filter(|(_, file)| is_small(file) || !file.deleted.is_empty());
        return wanted.filter_map(|(number, _)| u32::try_from(number).ok()).collect();
    }
    let mut chosen: Vec<u32> =
        live.filter(|(_, file)| is_worn(file)).filter_map(|(number, _)| u32::try_from(number).ok()).collect();
    let merged = mergeable(state);
    if merged.len() >= MERGED_MIN {
        let more: Vec<u32> = merged.into_iter().filter(|number| !chosen.contains(number)).collect();
        chosen.extend(more);
    }
    let mut bytes = 0;
    chosen.retain(|number| {
        let wanted = bytes < REWRITE_BYTES_MAX;
        let file = state.files.get(*number as usize).and_then(Option::as_ref);
        bytes += file.map_or(0, |file| file.file.file_size_in_bytes());
        wanted
    });
    chosen
}

impl Committer {
    /// Rewrites small and worn files and folds delete files, in one commit. Nothing changes for readers but speed.
    /// `everything`: also files with a single deleted row, without a bound on bytes.
    pub async fn compact(
        &self,
        ctx: &RequestContext,
        state: &mut TableState,
        env: &Env,
        everything: bool,
    ) -> Result<Compaction, LakehouseError> {
        let mut report = Compaction {
            files_before: state.files.iter().flatten().count(),
            delete_files_before: state.delete_files.len(),
            ..Compaction::default()
        };
        let files = chosen(state, everything);
        let factory =
            FileFactory::new(self.catalog.warehouse().clone(), &state.name.to_string(), env.clone());
        let rewritten = self.rewrite(state, &factory, files).await?;
        let mut delta =
            RowDelta { add_data: rewritten.files.clone(), is_rewrite: true, ..RowDelta::default() };
        for number in &rewritten.old {
            if let Some(Some(file)) = state.files.get(*number as usize) {
                delta.remove_data.insert(file.file.file_path().to_string());
            }
        }
        let remaining = remaining_deletes(state, &rewritten.old);
        let fold = !state.delete_files.is_empty()
            && (everything || state.delete_files.len() > DELETE_FILES_MAX || remaining.is_empty());
        if fold {
            delta.remove_deletes =
                state.delete_files.iter().map(|file| file.file_path().to_string()).collect();
            if !remaining.is_empty() {
                delta.add_deletes.push(factory.position_deletes(&state.metadata, &remaining).await?);
            }
        }
        if delta.is_empty() {
            report.files_after = report.files_before;
            report.delete_files_after = report.delete_files_before;
            return Ok(report);
        }
        let new_deletes: Vec<DataFile> = delta.add_deletes.clone();
        self.commit(ctx, state, delta, Vec::new()).await?;
        report.rows_rewritten = rewritten.moved.len() as u64;
        report.bytes_rewritten = rewritten.bytes;
        if fold {
            state.delete_files = new_deletes.into_iter().map(std::sync::Arc::new).collect();
        }
        adopt(state, rewritten)?;
        report.files_after = state.files.iter().flatten().count();
        report.delete_files_after = state.delete_files.len();
        Ok(report)
    }

    async fn rewrite(
        &self,
        state: &TableState,
        factory: &FileFactory,
        files: Vec<u32>,
    ) -> Result<Rewritten, LakehouseError> {
        let mut out = Rewritten { old: files, files: Vec::new(), moved: Vec::new(), bytes: 0 };
        // One small file alone gains nothing.
        let alone = out.old.len() == 1
            && out
                .old
                .iter()
                .all(|n| state.files[*n as usize].as_ref().is_some_and(|f| f.deleted.is_empty()));
        if alone {
            out.old.clear();
        }
        let mut writer: Option<(DataFileWriter, usize)> = None;
        for number in out.old.clone() {
            let Some(file) = state.files[number as usize].as_ref() else { continue };
            out.bytes += file.file.file_size_in_bytes();
            self.rewrite_file(state, factory, number, file, &mut writer, &mut out).await?;
        }
        if let Some((file, _)) = writer {
            out.files.push(file.close().await?);
        }
        Ok(out)
    }

    async fn rewrite_file(
        &self,
        state: &TableState,
        factory: &FileFactory,
        number: u32,
        file: &FileState,
        writer: &mut Option<(DataFileWriter, usize)>,
        out: &mut Rewritten,
    ) -> Result<(), LakehouseError> {
        let table = state.name.to_string();
        let arrow = |source| LakehouseError::Arrow { table: table.clone(), source };
        let columns: Vec<usize> = (0..state.schema.fields().len()).collect();
        let mut first = 0u32;
        let mut batches =
            read_rows(self.catalog.warehouse(), &state.schema, &columns, &file.file, None).await?;
        loop {
            let next = batches.try_next().await;
            let next = next
                .map_err(|source| LakehouseError::Parquet { path: file.file.file_path().into(), source })?;
            let Some(batch) = next else { return Ok(()) };
            let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
            let live: BooleanArray =
                (first..first + rows).map(|row| Some(!file.deleted.contains(u64::from(row)))).collect();
            let batch = conform(&table, &state.schema, &columns, &batch)?;
            let kept = arrow::compute::filter_record_batch(&batch, &live).map_err(arrow)?;
            let old_rows = (first..first + rows).filter(|row| !file.deleted.contains(u64::from(*row)));
            first += rows;
            if kept.num_rows() == 0 {
                continue;
            }
            let kept = RecordBatch::try_new(std::sync::Arc::clone(&state.schema), kept.columns().to_vec())
                .map_err(arrow)?;
            let (mut to, bytes) = match writer.take() {
                Some(open) => open,
                None => (factory.data(&state.metadata).await?, 0),
            };
            let at = u32::try_from(to.rows()).unwrap_or(u32::MAX);
            to.write(&kept).await?;
            let keys = match &state.hasher {
                Some(hasher) => hasher.hash(&table, kept.columns())?,
                None => vec![0; kept.num_rows()],
            };
            for ((n, key), old) in keys.into_iter().enumerate().zip(old_rows) {
                let new = at + u32::try_from(n).unwrap_or(u32::MAX);
                out.moved.push((key, FileRow { file: number, row: old }, out.files.len(), new));
            }
            let bytes = bytes + kept.get_array_memory_size() / 4;
            if bytes >= TARGET_BYTES {
                out.files.push(to.close().await?);
            } else {
                *writer = Some((to, bytes));
            }
        }
    }
}

fn remaining_deletes(state: &TableState, gone: &[u32]) -> BTreeMap<String, RoaringTreemap> {
    let files = state.files.iter().enumerate();
    files
        .filter_map(|(number, file)| {
            let file = file.as_ref()?;
            let stays = !gone.iter().any(|g| *g as usize == number) && !file.deleted.is_empty();
            stays.then(|| (file.file.file_path().to_string(), file.deleted.clone()))
        })
        .collect()
}

fn adopt(state: &mut TableState, rewritten: Rewritten) -> Result<(), LakehouseError> {
    for number in &rewritten.old {
        state.files[*number as usize] = None;
    }
    let mut numbers = Vec::with_capacity(rewritten.files.len());
    for file in rewritten.files {
        numbers.push(state.add_file(file)?);
    }
    if state.hasher.is_none() {
        return Ok(());
    }
    for (key, old, file, row) in rewritten.moved {
        debug_assert_eq!(state.index.get(key), Some(old), "a live row is the row of its key");
        state.index.put(key, FileRow { file: numbers[file], row });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
