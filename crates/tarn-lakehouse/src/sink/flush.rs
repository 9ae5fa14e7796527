//! A stretch of change rows becomes one commit: new data files, position deletes for the rows they replace, and the
//! topic's offset in the table's properties.

use std::collections::{BTreeMap, HashMap};
use std::slice::Chunks;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, interleave};
use iceberg::TableUpdate;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;
use tarn_core::{Env, RequestContext, TopicName};

use super::collapse::{Origin, PendingRow, Stretch};
use super::index::{FileRow, KeyHash};
use super::lane::{Lane, lanes};
use super::state::TableState;
use crate::catalog::Catalog;
use crate::data_file::FileFactory;
use crate::error::LakehouseError;
use crate::load::ViewLoader;
use crate::snapshot::RowDelta;

/// Rows interleaved at a time.
const CHUNK_ROWS: usize = 32 * 1024;
/// Runs of neighbouring rows at least this long on average are copied whole, others row by row.
const RUN_ROWS_MIN: usize = 64;

/// Table property: the next offset of a topic partition that the table has not applied.
pub fn offset_property(topic: &TopicName) -> String {
    format!("tarn.sink.{topic}.0.offset")
}

/// What a commit needs around it.
#[derive(Clone, Debug)]
pub struct Committer {
    /// The catalog.
    pub catalog: Catalog,
    /// Views and manifests.
    pub loader: Arc<ViewLoader>,
    /// Time and randomness.
    pub env: Env,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flushed {
    /// Rows written.
    pub written: u64,
    /// Rows of files that were deleted.
    pub deleted: u64,
}

/// Rows of a commit in their files, not committed yet.
struct Written {
    files: Vec<DataFile>,
    /// Key and place, by number of the file in `files`.
    places: Vec<(KeyHash, usize, u32)>,
}

impl Committer {
    fn factory(&self, state: &TableState) -> FileFactory {
        FileFactory::new(self.catalog.warehouse().clone(), &state.name.to_string(), self.env.clone())
    }

    /// Commits a stretch and the offset after it. On an error nothing of it is visible, and the state is as before.
    /// Errors: `CommitFailed` when another writer changed the table; the caller opens the state anew.
    pub async fn flush(
        &self,
        ctx: &RequestContext,
        state: &mut TableState,
        stretch: &Stretch,
        topic: &TopicName,
        next_offset: u64,
    ) -> Result<Flushed, LakehouseError> {
        let outcome = stretch.outcome();
        let written = self.write_rows(state, stretch, &outcome.write).await?;
        let mut new_deletes: BTreeMap<u32, RoaringTreemap> = BTreeMap::new();
        if !stretch.truncated() {
            for at in outcome.delete.iter().filter_map(|key| state.index.get(*key)) {
                new_deletes.entry(at.file).or_default().insert(u64::from(at.row));
            }
        }
        let deleted = new_deletes.values().map(RoaringTreemap::len).sum();
        let delta = self.delta(state, stretch, &written, &new_deletes).await?;
        let added_deletes: Vec<Arc<DataFile>> = delta.add_deletes.iter().cloned().map(Arc::new).collect();
        let properties = HashMap::from([(offset_property(topic), next_offset.to_string())]);
        self.commit(ctx, state, delta, vec![TableUpdate::SetProperties { updates: properties }]).await?;
        // Committed: the state follows.
        if stretch.truncated() {
            state.files.iter_mut().for_each(|file| *file = None);
            state.delete_files.clear();
            state.index.clear();
        }
        for (file, rows) in new_deletes {
            if let Some(Some(file)) = state.files.get_mut(file as usize) {
                file.deleted |= rows;
            }
        }
        outcome.delete.iter().for_each(|key| state.index.remove(*key));
        state.delete_files.extend(added_deletes);
        self.adopt(state, written)?;
        Ok(Flushed { written: outcome.write.len() as u64, deleted })
    }

    fn adopt(&self, state: &mut TableState, written: Written) -> Result<(), LakehouseError> {
        let mut numbers = Vec::with_capacity(written.files.len());
        for file in written.files {
            numbers.push(state.add_file(file)?);
        }
        if state.hasher.is_some() {
            state.index.reserve(written.places.len());
            for (key, file, row) in written.places {
                state.index.put(key, FileRow { file: numbers[file], row });
            }
        }
        Ok(())
    }

    async fn delta(
        &self,
        state: &TableState,
        stretch: &Stretch,
        written: &Written,
        new_deletes: &BTreeMap<u32, RoaringTreemap>,
    ) -> Result<RowDelta, LakehouseError> {
        let mut delta = RowDelta { add_data: written.files.clone(), ..RowDelta::default() };
        if stretch.truncated() {
            let files = state.files.iter().flatten();
            delta.remove_data = files.map(|file| file.file.file_path().to_string()).collect();
            delta.remove_deletes =
                state.delete_files.iter().map(|file| file.file_path().to_string()).collect();
        } else if !new_deletes.is_empty() {
            let by_location: BTreeMap<String, RoaringTreemap> = new_deletes
                .iter()
                .filter_map(|(number, rows)| {
                    let file = state.files.get(*number as usize)?.as_ref()?;
                    Some((file.file.file_path().to_string(), rows.clone()))
                })
                .collect();
            delta
                .add_deletes
                .push(self.factory(state).position_deletes(&state.metadata, &by_location).await?);
        }
        Ok(delta)
    }

    /// Produces a snapshot (unless nothing changes) and commits it with `more` updates; the state's metadata follows.
    pub async fn commit(
        &self,
        ctx: &RequestContext,
        state: &mut TableState,
        delta: RowDelta,
        more: Vec<TableUpdate>,
    ) -> Result<(), LakehouseError> {
        let files: Vec<String> = delta
            .add_data
            .iter()
            .chain(&delta.add_deletes)
            .map(|file| file.file_path().to_string())
            .collect();
        let table = state.name.to_string();
        let (requirements, mut updates, attempt_files) = if delta.is_empty() {
            (
                vec![iceberg::TableRequirement::UuidMatch { uuid: state.metadata.uuid() }],
                Vec::new(),
                Vec::new(),
            )
        } else {
            let manifests = self.loader.manifests();
            let produced = delta.produce(&table, &state.metadata, manifests, &self.env).await?;
            (produced.requirements, produced.updates, produced.written)
        };
        updates.extend(more);
        match self.catalog.commit_table(ctx, &state.name, requirements, updates).await {
            Ok(loaded) => {
                super::expire::delete_old_metadata(
                    self.catalog.warehouse(),
                    &state.metadata,
                    &loaded.metadata,
                )
                .await;
                state.metadata = loaded.metadata;
                Ok(())
            }
            Err(error) => {
                if matches!(error, LakehouseError::CommitFailed { .. }) {
                    self.discard(files.into_iter().chain(attempt_files)).await;
                }
                Err(error)
            }
        }
    }

    /// Deletes files of a commit that was refused.
    async fn discard(&self, files: impl Iterator<Item = String>) {
        for file in files {
            if let Err(error) = self.catalog.warehouse().delete(&file).await {
                tracing::debug!(file, %error, "a file of a lost commit stays behind");
            }
        }
    }

    async fn write_rows(
        &self,
        state: &TableState,
        stretch: &Stretch,
        rows: &[(PendingRow, KeyHash)],
    ) -> Result<Written, LakehouseError> {
        let mut written = Written { files: Vec::new(), places: Vec::with_capacity(rows.len()) };
        if rows.is_empty() {
            return Ok(written);
        }
        let borrowed = self.borrowed_rows(state, stretch, rows).await?;
        let (factory, metadata) = (self.factory(state), &state.metadata);
        let slice = rows.len().div_ceil(lanes(rows.len()));
        let mut open: Vec<(Chunks<'_, (PendingRow, KeyHash)>, Lane)> = rows
            .chunks(slice)
            .map(|rows| (rows.chunks(CHUNK_ROWS), Lane::open(&factory, metadata, &self.env)))
            .collect();
        loop {
            let mut more = false;
            let mut failed = None;
            for (n, (chunks, lane)) in open.iter_mut().enumerate() {
                let Some(chunk) = chunks.next() else { continue };
                more = true;
                if !lane.write(gather(state, stretch, chunk, &borrowed)?).await {
                    failed = Some(n);
                    break;
                }
            }
            if let Some(failed) = failed {
                open.swap_remove(failed).1.close().await?;
                let table = &state.name;
                return Err(LakehouseError::Invalid {
                    what: format!("files of table `{table}` ended early"),
                });
            }
            if !more {
                break;
            }
        }
        let mut rows = rows.iter();
        for (_, lane) in open {
            for file in lane.close().await? {
                let places = rows.by_ref().take(usize::try_from(file.record_count()).unwrap_or(usize::MAX));
                let number = written.files.len();
                written.places.extend(places.zip(0..).map(|((_, key), row)| (*key, number, row)));
                written.files.push(file);
            }
        }
        Ok(written)
    }

    /// Reads the rows of files that unsent values come from.
    async fn borrowed_rows(
        &self,
        state: &TableState,
        stretch: &Stretch,
        rows: &[(PendingRow, KeyHash)],
    ) -> Result<BorrowedRows, LakehouseError> {
        let mut borrowed = BorrowedRows::default();
        if !stretch.borrows() {
            return Ok(borrowed);
        }
        let mut by_file: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (row, _) in rows {
            for (_, origin) in stretch.borrowed(*row) {
                if let Origin::File(at) = origin {
                    by_file.entry(at.file).or_default().push(at.row);
                }
            }
        }
        for (file, mut wanted) in by_file {
            wanted.sort_unstable();
            wanted.dedup();
            let mut wanted = wanted.as_slice();
            for batch in state.rows_of_file(self.catalog.warehouse(), file, wanted).await? {
                let (here, rest) = wanted.split_at(batch.num_rows().min(wanted.len()));
                for (n, row) in here.iter().enumerate() {
                    borrowed.places.insert(FileRow { file, row: *row }, (borrowed.batches.len(), n));
                }
                wanted = rest;
                borrowed.batches.push(batch);
            }
        }
        Ok(borrowed)
    }
}

/// Rows of files that a stretch takes values from.
#[derive(Default)]
struct BorrowedRows {
    batches: Vec<RecordBatch>,
    places: HashMap<FileRow, (usize, usize)>,
}

/// The rows of a chunk as one batch of the table's schema.
fn gather(
    state: &TableState,
    stretch: &Stretch,
    chunk: &[(PendingRow, KeyHash)],
    borrowed: &BorrowedRows,
) -> Result<RecordBatch, LakehouseError> {
    let arrow = |source| LakehouseError::Arrow { table: state.name.to_string(), source };
    let sent: Vec<(usize, usize)> = chunk.iter().map(|(row, _)| (row.batch, row.row)).collect();
    let runs = if stretch.borrows() { Vec::new() } else { runs(&sent) };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(state.schema.fields().len());
    for column in 0..state.schema.fields().len() {
        let mut arrays: Vec<&dyn Array> = stretch.column(column);
        if !stretch.borrows() {
            columns.push(match runs.len() * RUN_ROWS_MIN <= chunk.len() {
                true => {
                    let slices: Vec<ArrayRef> = runs
                        .iter()
                        .map(|(batch, first, count)| arrays[*batch].slice(*first, *count))
                        .collect();
                    let slices: Vec<&dyn Array> = slices.iter().map(AsRef::as_ref).collect();
                    concat(&slices).map_err(arrow)?
                }
                false => interleave(&arrays, &sent).map_err(arrow)?,
            });
            continue;
        }
        let own = arrays.len();
        arrays.extend(borrowed.batches.iter().map(|batch| batch.column(column).as_ref()));
        let place = |row: &PendingRow| -> (usize, usize) {
            let origin = stretch.borrowed(*row).iter().find(|(c, _)| *c == column);
            match origin.map(|(_, origin)| origin) {
                None => (row.batch, row.row),
                Some(Origin::Pending(from)) => (from.batch, from.row),
                Some(Origin::File(at)) => {
                    borrowed.places.get(at).map_or((row.batch, row.row), |(batch, n)| (own + batch, *n))
                }
            }
        };
        let places: Vec<(usize, usize)> = chunk.iter().map(|(row, _)| place(row)).collect();
        columns.push(interleave(&arrays, &places).map_err(arrow)?);
    }
    RecordBatch::try_new(Arc::clone(&state.schema), columns).map_err(arrow)
}

/// Neighbouring rows as `(batch, first row, count)`. Copies of tables arrive as few long runs.
fn runs(rows: &[(usize, usize)]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (batch, row) in rows {
        match runs.last_mut() {
            Some((last, first, count)) if last == batch && *first + *count == *row => *count += 1,
            _ => runs.push((*batch, *row, 1)),
        }
    }
    runs
}
