//! Hot rows become one commit: new data files, position deletes for the rows that went, and the topic's offset in the
//! table's properties. Meanwhile changes go on being applied; what they do to rows on their way is found when the
//! commit is taken over.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{DataFile, Struct, TableMetadata};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use tarn_core::{Env, RequestContext, TableName, TopicName};

use super::config::SinkStatus;
use super::index::{KeyHash, KeyHasher};
use super::order::live_parts;
use super::rows::HotSlot;
use super::run::Run;
use super::spread::NOWHERE;
use super::state::{RunFolder, TableState};
use crate::catalog::{Catalog, LoadedTable};
use crate::data_file::FileFactory;
use crate::error::LakehouseError;
use crate::load::{DeleteFileState, ViewLoader};
use crate::refs::{head_of, on_branch};
use crate::snapshot::{Produced, RowDelta};
use crate::view::{DataFileView, TableView};

/// Data files with deletes of a commit that get a delete file each; of more, all deletes go into one file.
const OWN_DELETE_FILES_MAX: usize = 64;

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
    /// Where the sink says which commit is its own.
    pub status: Arc<Mutex<SinkStatus>>,
    /// A local folder for rows that are sorted.
    pub scratch: PathBuf,
    /// The branch that is written; `None` for the table itself. The metadata of a [`Base`] has it in the place of the table
    /// itself.
    pub branch: Option<Arc<str>>,
    /// The branch is made by the first commit, from the table as it is then.
    pub makes_branch: bool,
}

/// A table at a commit of ours, and its name: what a commit goes on from.
#[derive(Clone, Debug)]
pub struct Base {
    /// The table.
    pub name: TableName,
    /// The commit as queries see it, without hot rows.
    pub view: Arc<TableView>,
    /// Live position-delete files.
    pub delete_files: Vec<DeleteFileState>,
    /// Hashes keys; `None` for a table without a key.
    pub hasher: Option<Arc<KeyHasher>>,
    /// Where key runs are kept.
    pub runs: RunFolder,
}

impl Base {
    /// Of a state.
    pub fn of(state: &TableState) -> Self {
        Self {
            name: state.name.clone(),
            view: Arc::clone(&state.base),
            delete_files: state.delete_files.clone(),
            hasher: state.hasher.clone(),
            runs: state.runs.clone(),
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &Arc<TableMetadata> {
        &self.view.metadata
    }
}

/// What a flush works on.
#[derive(Debug)]
pub struct Flush {
    base: Base,
    slots: Vec<HotSlot>,
    /// All deleted rows of files with new ones, by number.
    dirty: BTreeMap<u32, (String, Arc<RoaringTreemap>)>,
    truncated: bool,
    /// Files that were written before and are in no commit.
    staged: Vec<Arc<DataFile>>,
    /// Offset to commit; without one files are written only.
    offset: Option<u64>,
    /// When the last change was applied, milliseconds since 1970 UTC. The snapshot is of that time: engines that read a
    /// table as it was when their transaction began (DuckDB) find what our SQL showed then.
    as_of_ms: Option<i64>,
}

/// A data file that was written, with the keys of its rows.
#[derive(Debug)]
pub struct NewFile {
    /// What its manifest entry says.
    pub file: Arc<DataFile>,
    /// Its keys; `None` in tables without a key.
    pub run: Option<Arc<Run>>,
}

/// Why work beside the sink did not come about.
#[derive(Debug)]
pub enum JobFault {
    /// Nothing was committed; it can be tried again.
    Before(LakehouseError),
    /// Another writer changed the table, or whether the commit came about is not known: the state has to be opened
    /// again.
    Commit(LakehouseError),
}

impl std::borrow::Borrow<LakehouseError> for JobFault {
    fn borrow(&self) -> &LakehouseError {
        match self {
            Self::Before(error) | Self::Commit(error) => error,
        }
    }
}

impl From<LakehouseError> for JobFault {
    fn from(error: LakehouseError) -> Self {
        Self::Before(error)
    }
}

/// A commit that was made.
#[derive(Debug)]
pub struct Committed {
    /// As queries see it.
    pub view: Arc<TableView>,
    /// Live position-delete files.
    pub delete_files: Vec<DeleteFileState>,
}

/// What a flush did.
#[derive(Debug)]
pub struct Flushed {
    committed: Option<Committed>,
    files: Vec<NewFile>,
    /// For each frozen row: number in `files` and row there.
    places: Vec<(u32, u32)>,
    truncated: bool,
    /// Next offset that is not in the table; `None` where nothing was committed.
    pub offset: Option<u64>,
    /// Rows written.
    pub written: u64,
}

/// What deletes of a commit come to.
#[derive(Debug, Default)]
pub struct DeleteChange {
    add: Vec<DataFile>,
    /// Live position-delete files after the commit.
    after: Vec<DeleteFileState>,
    remove: HashSet<String>,
    /// See [`RowDelta::older_specs`].
    older_specs: HashMap<String, i32>,
}

impl DeleteChange {
    /// Adds it to what a commit does. Returns the position-delete files after it.
    pub fn put_into(self, delta: &mut RowDelta) -> Vec<DeleteFileState> {
        delta.add_deletes.extend(self.add);
        delta.older_specs.extend(self.older_specs);
        delta.remove_deletes.extend(self.remove);
        self.after
    }
}

impl Flush {
    /// Of everything in memory, which is frozen until [`Flushed::adopt`] or [`thaw`]. `offset`: what to commit; without one
    /// the rows go into files that wait for the end of their source transaction.
    pub fn begin(state: &mut TableState, offset: Option<u64>, as_of_ms: Option<i64>) -> Self {
        let dirty = state.dirty.iter().filter_map(|number| {
            let file = state.file(*number)?;
            Some((*number, (file.file.file_path().to_string(), Arc::clone(&file.deleted))))
        });
        let dirty = dirty.collect();
        state.keys.freeze();
        let slots = state.rows.freeze();
        let staged = state.staged_files().map(|file| Arc::clone(&file.file)).collect();
        Self { base: Base::of(state), slots, dirty, truncated: state.truncated, staged, offset, as_of_ms }
    }

    /// Writes files and commits.
    pub async fn run(
        self,
        committer: &Committer,
        ctx: &RequestContext,
        topic: &TopicName,
    ) -> Result<Flushed, JobFault> {
        let parts = live_parts(&self.base.name.to_string(), &self.slots)?;
        let rows = self.slots.iter().map(|slot| slot.rows.num_rows()).sum();
        let (files, places) = Box::pin(committer.spread(&self.base, parts, rows)).await?;
        let written = files.iter().map(|new| new.file.record_count()).sum();
        let truncated = self.truncated;
        let Some(offset) = self.offset else {
            return Ok(Flushed { committed: None, files, places, truncated, offset: None, written });
        };
        let added = self.staged.iter().chain(files.iter().map(|new| &new.file));
        let mut delta = RowDelta {
            add_data: added.map(|file| file.as_ref().clone()).collect(),
            as_of_ms: self.as_of_ms,
            ..RowDelta::default()
        };
        let mut delete_files = self.base.delete_files.clone();
        if self.truncated {
            let view = &self.base.view;
            delta.remove_data = view.files.iter().map(|file| file.file.file_path().to_string()).collect();
            let equality = view.equality_deletes.iter().map(|delete| delete.file.file_path().to_string());
            let position = delete_files.iter().map(|delete| delete.file.file_path().to_string());
            delta.remove_deletes = position.chain(equality).collect();
            delete_files.clear();
        }
        if !self.dirty.is_empty() {
            let touched = self.dirty.values().map(|(path, rows)| (path.clone(), Arc::clone(rows))).collect();
            let change = committer
                .rewrite_deletes(&self.base, delete_files, touched, &self.staged, &HashSet::new())
                .await?;
            delete_files = change.put_into(&mut delta);
        }
        let properties = HashMap::from([(offset_property(topic), offset.to_string())]);
        let updates = vec![TableUpdate::SetProperties { updates: properties }];
        let view = committer.commit(ctx, &self.base, delta, updates).await?;
        let committed = Some(Committed { view, delete_files });
        Ok(Flushed { committed, files, places, truncated, offset: self.offset, written })
    }
}

/// The flush did not come about: its rows are as others again.
pub fn thaw(state: &mut TableState) {
    state.rows.thaw();
    state.keys.thaw();
}

impl Flushed {
    /// Takes the commit over: rows that went while they were on their way are deleted from their new files.
    pub fn adopt(self, state: &mut TableState) -> Result<(), LakehouseError> {
        let mut deleted: Vec<RoaringTreemap> = self.files.iter().map(|_| RoaringTreemap::new()).collect();
        let mut places = self.places.into_iter();
        for slot in state.rows.drop_frozen() {
            for (row, place) in places.by_ref().take(slot.rows.num_rows()).enumerate() {
                if place != NOWHERE && slot.dead.contains(row) {
                    deleted[place.0 as usize].insert(u64::from(place.1));
                }
            }
        }
        state.keys.drop_frozen();
        for (new, deleted) in self.files.into_iter().zip(deleted) {
            state.stage(new.file, new.run, deleted)?;
        }
        let Some(committed) = self.committed else { return Ok(()) };
        state.truncated &= !self.truncated;
        state.adopt(committed.view, committed.delete_files)
    }
}

impl Committer {
    /// Makes files of a table.
    pub fn factory(&self, base: &Base) -> FileFactory {
        FileFactory::new(self.catalog.warehouse().clone(), &base.name.to_string(), self.env.clone())
    }

    /// The keys of a file that was written, kept.
    pub fn run_of(&self, base: &Base, file: &DataFile, keys: Vec<(KeyHash, u32)>) -> Option<Arc<Run>> {
        let hasher = base.hasher.as_ref()?;
        Some(Arc::new(base.runs.keep(file, keys, hasher.fingerprint())))
    }

    /// Position deletes of a commit to a table with `delete_files`: each data file of `touched` (by location, with all its
    /// deleted rows) is afterwards covered by one delete file. Delete files that cover it now go, and what else they cover
    /// is written again, unless its data file goes too (`gone`). `staged`: data files that come with the commit. Delete files that cover nothing, as other engines leave
    /// them when they rewrite data files, go as well.
    pub async fn rewrite_deletes(
        &self,
        base: &Base,
        delete_files: Vec<DeleteFileState>,
        mut touched: BTreeMap<String, Arc<RoaringTreemap>>,
        staged: &[Arc<DataFile>],
        gone: &HashSet<String>,
    ) -> Result<DeleteChange, LakehouseError> {
        let files: HashMap<&str, &DataFileView> =
            base.view.files.iter().map(|file| (file.file.file_path(), file)).collect();
        let mut change = DeleteChange { after: delete_files, ..DeleteChange::default() };
        loop {
            let is_hit = |file: &DeleteFileState| {
                file.covers.iter().any(|path| touched.contains_key(path) || gone.contains(path))
                    || !file.covers.iter().any(|path| files.contains_key(path.as_str()))
            };
            let (hit, rest): (Vec<_>, Vec<_>) = change.after.into_iter().partition(is_hit);
            change.after = rest;
            if hit.is_empty() {
                break;
            }
            for file in hit {
                change.remove.insert(file.file.file_path().to_string());
                for path in file.covers.iter().filter(|path| !gone.contains(*path)) {
                    if let Some(deletes) = files.get(path.as_str()).and_then(|file| file.deletes.as_ref()) {
                        touched.entry(path.clone()).or_insert_with(|| Arc::clone(deletes));
                    }
                }
            }
        }
        let touched: Vec<_> = touched.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
        let are_many = touched.len() > OWN_DELETE_FILES_MAX;
        // A file that is in no commit yet is of the current specification.
        let staged: HashMap<&str, &Struct> =
            staged.iter().map(|file| (file.file_path(), file.partition())).collect();
        let (no_partition, current) = (Struct::empty(), base.metadata().default_partition_spec_id());
        let mut partitions: HashMap<(&Struct, i32), Vec<(String, Arc<RoaringTreemap>)>> = HashMap::new();
        for (path, rows) in touched {
            let file = files.get(path.as_str());
            let new = || (staged.get(path.as_str()).copied().unwrap_or(&no_partition), current);
            let of = file.map_or_else(new, |file| (file.partition(), file.partition_spec_id));
            partitions.entry(of).or_default().push((path, rows));
        }
        let factory = self.factory(base);
        for (of, touched) in partitions {
            for group in touched.chunks(if are_many { touched.len() } else { 1 }) {
                let rows: BTreeMap<String, RoaringTreemap> =
                    group.iter().map(|(path, rows)| (path.clone(), rows.as_ref().clone())).collect();
                let file = factory.position_deletes(base.metadata(), &rows, of).await?;
                self.loader.wrote_deletes(&file, group.iter().cloned().collect()).await;
                let covers: HashSet<String> = rows.into_keys().collect();
                if of.1 != current {
                    change.older_specs.insert(file.file_path().to_string(), of.1);
                }
                change.after.push(DeleteFileState { file: Arc::new(file.clone()), covers: Arc::new(covers) });
                change.add.push(file);
            }
        }
        Ok(change)
    }

    /// Produces a snapshot (unless no row changes) and commits it with `more` updates. Returns the table as it is then.
    /// Of a commit that another writer was faster than no file stays.
    pub async fn commit(
        &self,
        ctx: &RequestContext,
        base: &Base,
        delta: RowDelta,
        more: Vec<TableUpdate>,
    ) -> Result<Arc<TableView>, JobFault> {
        let files: BTreeSet<String> = delta
            .add_data
            .iter()
            .chain(&delta.add_deletes)
            .map(|file| file.file_path().to_string())
            .collect();
        let (table, metadata) = (base.name.to_string(), base.metadata());
        let (requirements, mut updates, attempt_files) = if delta.is_empty() {
            (vec![iceberg::TableRequirement::UuidMatch { uuid: metadata.uuid() }], Vec::new(), Vec::new())
        } else {
            let produced = delta.produce(&table, metadata, self.loader.manifests(), &self.env).await?;
            let produced = self.placed(produced, metadata);
            (produced.requirements, produced.updates, produced.written)
        };
        updates.extend(more);
        match self.catalog.commit_table(ctx, &base.name, requirements, updates).await {
            Ok(loaded) => {
                self.status.lock().own_commit = loaded.metadata_location.as_deref().map(Arc::from);
                let view = self.view_of(base, loaded).await.map_err(JobFault::Commit)?;
                super::expire::delete_old_metadata(self.catalog.warehouse(), metadata, &view.metadata).await;
                Ok(view)
            }
            Err(error) => {
                if matches!(error, LakehouseError::CommitFailed { .. }) {
                    self.discard(files.into_iter().chain(attempt_files)).await;
                }
                Err(JobFault::Commit(error))
            }
        }
    }

    /// What was produced, for the branch that is written.
    pub fn placed(&self, produced: Produced, metadata: &TableMetadata) -> Produced {
        match &self.branch {
            None => produced,
            Some(branch) => produced.on_branch(branch, metadata),
        }
    }

    /// The metadata in which the branch that is written stands for the table itself. Errors: `SnapshotNotFound`.
    pub fn metadata_of(
        &self,
        name: &TableName,
        metadata: Arc<TableMetadata>,
    ) -> Result<Arc<TableMetadata>, LakehouseError> {
        match &self.branch {
            None => Ok(metadata),
            Some(branch) if self.makes_branch && head_of(&metadata, branch).is_none() => Ok(metadata),
            Some(branch) => on_branch(name, &metadata, branch).map(Arc::new),
        }
    }

    async fn view_of(&self, base: &Base, table: LoadedTable) -> Result<Arc<TableView>, LakehouseError> {
        let location = table.metadata_location.unwrap_or_default();
        let metadata = self.metadata_of(&base.name, table.metadata)?;
        Ok(Arc::new(self.loader.load(&base.name, metadata, &location, None).await?))
    }

    /// Deletes files of a commit that was refused.
    pub async fn discard(&self, files: impl Iterator<Item = String>) {
        for file in files {
            if let Err(error) = self.catalog.warehouse().delete(&file).await {
                tracing::debug!(file, %error, "a file of a lost commit stays behind");
            }
        }
    }
}
