//! A statement's change of the rows of one table: rows that go, rows that come, one commit or none.
//!
//! It works on the newest committed state. Rows that only a sink has in memory are committed first; what the sink applies
//! later comes after the statement, as if it had been sent after it.

mod begin;
mod mark;
mod unmade;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use iceberg::arrow::RecordBatchPartitionSplitter;
use iceberg::spec::{DataFile, Struct};
use roaring::RoaringTreemap;
use tarn_core::RequestContext;
use tokio::sync::OwnedMutexGuard;

use crate::data_file::{DataFileWriter, FileFactory};
use crate::error::LakehouseError;
use crate::key_bounds::KeyBounds;
use crate::key_runs::KeysOf;
use crate::layout::Layout;
use crate::sink::{Base, Committer, JobFault, KeyHash, delete_old_metadata};
use crate::snapshot::RowDelta;
use crate::tidy::{ALL, Upkeep};
use crate::types::{arrow_schema, key_of};
use crate::view::{DataFileView, TableView};
pub(crate) use begin::base_of;
use mark::Mark;
use unmade::{Cleanup, Uncommitted};

/// How long a statement waits for a sink to commit what it has in memory.
pub(crate) const FLUSH_WAIT: Duration = Duration::from_secs(30);
/// Rows after which the next data file starts.
const FILE_ROWS_MAX: u64 = 4_000_000;
/// Files that may be open at a time, each of another partition; the fullest is closed for the next.
const OPEN_MAX: usize = 64;
/// Commits after which a table that no topic feeds is looked after.
const UPKEEP_EVERY: i64 = 8;
/// How often rows that only come are committed again on the newest state when others were faster.
const APPEND_ATTEMPTS_MAX: u32 = 8;

/// A change of a table that is being made. Dropped before [`TableWriter::commit`], it leaves nothing.
pub struct TableWriter {
    ctx: RequestContext,
    base: Base,
    committer: Committer,
    factory: FileFactory,
    schema: SchemaRef,
    splitter: Option<RecordBatchPartitionSplitter>,
    open: HashMap<Struct, DataFileWriter>,
    added: Vec<DataFile>,
    /// Keys of the rows that come.
    keys: Vec<KeyHash>,
    /// Keys of which one row came, where others are left out.
    first: Option<HashSet<KeyHash>>,
    /// Rows that go, by place of their file in the view.
    deleted: HashMap<usize, RoaringTreemap>,
    replaces_all: bool,
    mark: Option<Mark>,
    cleanup: Cleanup,
    /// `None` where a sink looks after the table.
    upkeep: Option<Upkeep>,
    /// It follows what others did meanwhile: its rows only come.
    follows: bool,
    /// Statements on one table come one after the other, so that they do not undo each other's work.
    turn: Option<OwnedMutexGuard<()>>,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that came.
    pub added: u64,
    /// Rows that went.
    pub deleted: u64,
    /// The new snapshot; `None` where nothing changed.
    pub snapshot_id: Option<i64>,
}

/// What became of rows that came.
#[derive(Clone, Debug, Default)]
pub struct Appended {
    /// How many of them stay.
    pub rows: u64,
    /// Which of them; `None`: all.
    pub kept: Option<BooleanArray>,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter").field("table", &self.base.name).finish_non_exhaustive()
    }
}

impl TableWriter {
    pub(crate) fn new(
        ctx: &RequestContext,
        committer: Committer,
        base: Base,
        turn: Option<OwnedMutexGuard<()>>,
        upkeep: Option<Upkeep>,
    ) -> Result<Self, LakehouseError> {
        let table = base.name.to_string();
        let metadata = Arc::clone(base.metadata());
        let schema = arrow_schema(&table, metadata.current_schema())?;
        let spec = metadata.default_partition_spec();
        let failed =
            |source| LakehouseError::Format { action: "partition rows", table: table.clone(), source };
        let splitter = match spec.is_unpartitioned() {
            true => None,
            false => Some(
                RecordBatchPartitionSplitter::try_new_with_computed_values(
                    Arc::clone(metadata.current_schema()),
                    Arc::clone(spec),
                )
                .map_err(failed)?,
            ),
        };
        let factory = committer.factory(&base);
        let (catalog, env) = (committer.catalog.clone(), committer.env.clone());
        Ok(Self {
            ctx: ctx.clone(),
            factory,
            schema,
            splitter,
            open: HashMap::new(),
            added: Vec::new(),
            keys: Vec::new(),
            first: None,
            deleted: HashMap::new(),
            replaces_all: false,
            mark: None,
            cleanup: Cleanup { catalog, env, files: Vec::new() },
            base,
            committer,
            upkeep,
            follows: false,
            turn,
        })
    }

    /// The committed state that is changed.
    pub fn view(&self) -> &Arc<TableView> {
        &self.base.view
    }

    /// What rows that come must look like: the table's columns, with their field ids.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All rows go but those that come.
    pub fn replace_all(&mut self) {
        self.replaces_all = true;
    }

    /// A property of the table changes in the same commit, so that both or none come about. Errors at the commit:
    /// `CommitFailed` where it is not `before` by then. `summary`: an entry of the snapshot's summary.
    pub fn mark(
        &mut self,
        property: String,
        before: Option<String>,
        after: String,
        summary: (String, String),
    ) {
        self.mark = Some(Mark { property, before, after, summary });
    }

    /// A row goes. `file`: its place in [`TableView::files`]. Returns whether it was there until now.
    pub fn delete(&mut self, file: usize, row: u64) -> bool {
        self.deleted.entry(file).or_default().insert(row)
    }

    /// Rows come that are in a file already, which lies beside the warehouse and stays there. Its columns and its partition
    /// are those of the table now; the table has no key, or nobody would see that it comes twice.
    pub(crate) fn register(&mut self, file: DataFile) {
        self.added.push(file);
    }

    /// Of rows with one key that come the first one stays, instead of an error at the commit.
    pub fn keep_first(&mut self) {
        self.first = Some(HashSet::new());
    }

    /// Rows come. Returns which of them stay. Errors: those of writing.
    pub async fn append(&mut self, mut batch: RecordBatch) -> Result<Appended, LakehouseError> {
        let mut kept = None;
        if let Some(hasher) = &self.base.hasher {
            let mut keys = hasher.hash(self.factory.table(), batch.columns())?;
            if let Some(first) = &mut self.first {
                let stays: BooleanArray = keys.iter().map(|key| Some(first.insert(*key))).collect();
                let mut stay = stays.values().iter();
                keys.retain(|_| stay.next().unwrap_or(false));
                batch = filter_record_batch(&batch, &stays)
                    .map_err(|source| LakehouseError::Arrow { table: self.factory.table().into(), source })?;
                kept = Some(stays);
            }
            self.keys.extend(keys);
        }
        let rows = batch.num_rows() as u64;
        if rows == 0 {
            return Ok(Appended { rows, kept });
        }
        let parts = match &self.splitter {
            None => {
                self.append_to(None, batch).await?;
                return Ok(Appended { rows, kept });
            }
            Some(splitter) => splitter.split(&batch).map_err(|source| LakehouseError::Format {
                action: "partition rows",
                table: self.factory.table().into(),
                source,
            })?,
        };
        for (partition, part) in parts {
            self.append_to(Some(partition), part).await?;
        }
        Ok(Appended { rows, kept })
    }

    async fn append_to(
        &mut self,
        partition: Option<iceberg::spec::PartitionKey>,
        rows: RecordBatch,
    ) -> Result<(), LakehouseError> {
        let place = partition.as_ref().map_or_else(Struct::empty, |partition| partition.data().clone());
        let mut file = match self.open.remove(&place) {
            Some(file) => file,
            None => {
                if self.open.len() >= OPEN_MAX {
                    let fullest = self.open.iter().max_by_key(|(_, file)| file.rows());
                    let fullest = fullest.map(|(place, _)| place.clone());
                    if let Some(file) = fullest.and_then(|place| self.open.remove(&place)) {
                        self.added.push(file.close().await?);
                    }
                }
                let metadata = self.base.metadata();
                let file = match &partition {
                    None => self.factory.data(metadata).await?,
                    Some(partition) => self.factory.data_in(metadata, partition).await?,
                };
                self.cleanup.files.push(file.location().to_string());
                file
            }
        };
        file.write(&rows).await?;
        if file.rows() >= FILE_ROWS_MAX {
            self.added.push(file.close().await?);
        } else {
            self.open.insert(place, file);
        }
        Ok(())
    }

    /// Makes the change visible, whole. Errors: `DuplicateKey` where a key would occur twice; `CommitFailed` where
    /// another writer changed the table meanwhile: the statement can be run again.
    pub async fn commit(mut self) -> Result<Written, LakehouseError> {
        for (_, file) in self.open.drain() {
            self.added.push(file.close().await?);
        }
        let view = Arc::clone(&self.base.view);
        if self.replaces_all {
            let rows = |at: usize, file: &DataFileView| (at, (0..file.file.record_count()).collect());
            self.deleted = view.files.iter().enumerate().map(|(at, file)| rows(at, file)).collect();
        }
        self.check_own_keys()?;
        // One that follows others looks at them right before it commits.
        if !self.follows {
            let added = std::mem::take(&mut self.added);
            self.check_keys(&added).await?;
            self.added = added;
        }
        let mut delta = RowDelta { add_data: std::mem::take(&mut self.added), ..RowDelta::default() };
        let added = delta.add_data.iter().map(DataFile::record_count).sum();
        let mut deleted = 0;
        let mut touched: BTreeMap<String, Arc<RoaringTreemap>> = BTreeMap::new();
        for (at, mut rows) in std::mem::take(&mut self.deleted) {
            let Some(file) = view.files.get(at) else { continue };
            let path = file.file.file_path().to_string();
            let before = file.deletes.as_ref().map_or(0, |deletes| deletes.len());
            if let Some(deletes) = &file.deletes {
                rows |= deletes.as_ref();
            }
            deleted += rows.len() - before;
            if rows.len() >= file.file.record_count() {
                delta.remove_data.insert(path);
            } else if rows.len() > before {
                touched.insert(path, Arc::new(rows));
            }
        }
        if self.replaces_all {
            let equality = view.equality_deletes.iter().map(|delete| delete.file.file_path().to_string());
            delta.remove_deletes.extend(equality);
        }
        if !touched.is_empty() || !delta.remove_data.is_empty() {
            let gone: HashSet<String> = delta.remove_data.clone();
            let files = self.base.delete_files.clone();
            let change = self.committer.rewrite_deletes(&self.base, files, touched, &[], &gone).await?;
            change.put_into(&mut delta);
        }
        if delta.is_empty() {
            return Ok(Written::default());
        }
        delta.summary.extend(self.mark.iter().map(|mark| mark.summary.clone()));
        // From here on the commit may come about at any moment, also when nobody waits for its end any more: what it names
        // is only taken away again where it certainly did not.
        let mut files = std::mem::take(&mut self.cleanup.files);
        let snapshot_id = match self.commit_delta(delta, &mut files).await {
            Ok(snapshot_id) => snapshot_id,
            Err(Uncommitted { error, is_certain }) => {
                if is_certain {
                    self.cleanup.files = files;
                }
                return Err(error);
            }
        };
        if let Some(upkeep) = self.upkeep.take()
            && view.metadata.last_sequence_number() % UPKEEP_EVERY == 0
        {
            upkeep.start(ALL);
        }
        Ok(Written { added, deleted, snapshot_id })
    }

    /// `files`: those that go where nothing is committed; attempts that were lost add theirs.
    async fn commit_delta(
        &mut self,
        delta: RowDelta,
        files: &mut Vec<String>,
    ) -> Result<Option<i64>, Uncommitted> {
        let only_appends =
            delta.add_deletes.is_empty() && delta.remove_data.is_empty() && delta.remove_deletes.is_empty();
        if !only_appends || (self.base.hasher.is_some() && !self.follows) {
            let name = self.base.name.to_string();
            let updates = mark::updates(self.mark.as_ref(), &name, self.base.metadata())?;
            let committed = self.committer.commit(&self.ctx, &self.base, delta, updates).await;
            return match committed {
                Ok(view) => Ok(view.snapshot_id),
                Err(JobFault::Before(error)) => Err(error.into()),
                Err(JobFault::Commit(error)) => Err(Uncommitted::of_commit(error)),
            };
        }
        // Rows without a key collide with nothing: they can follow whatever others did. Those with one are compared anew.
        let (table, before) = (self.base.name.to_string(), Arc::clone(self.base.metadata()));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (add_data, summary) = (delta.add_data.clone(), delta.summary.clone());
            let delta = RowDelta { add_data, summary, ..RowDelta::default() };
            let is_keyed = self.base.hasher.is_some();
            let metadata = match is_keyed {
                false => {
                    let table = self.committer.catalog.load_table(&self.ctx, &self.base.name).await?;
                    self.committer.metadata_of(&self.base.name, table.metadata)?
                }
                true => {
                    self.base = base_of(&self.committer, &self.ctx, &self.base.name).await?;
                    Arc::clone(self.base.metadata())
                }
            };
            let is_same = metadata.uuid() == before.uuid()
                && metadata.current_schema_id() == before.current_schema_id()
                && metadata.default_partition_spec_id() == before.default_partition_spec_id();
            if !is_same {
                let what = "its columns or partitioning were changed meanwhile".into();
                return Err(LakehouseError::CommitFailed { table, what }.into());
            }
            let marked = mark::updates(self.mark.as_ref(), &table, &metadata)?;
            if is_keyed {
                self.check_keys(&delta.add_data).await?;
            }
            let (catalog, loader) = (&self.committer.catalog, &self.committer.loader);
            let produced = delta.produce(&table, &metadata, loader.manifests(), &self.committer.env).await?;
            let produced = self.committer.placed(produced, &metadata);
            let (requirements, mut updates) = (produced.requirements, produced.updates);
            updates.extend(marked);
            match catalog.commit_table(&self.ctx, &self.base.name, requirements, updates).await {
                Ok(table) => {
                    delete_old_metadata(catalog.warehouse(), &metadata, &table.metadata).await;
                    return Ok(Some(produced.snapshot_id));
                }
                Err(error) => {
                    let lost = Uncommitted::of_commit(error);
                    files.extend(produced.written);
                    if !lost.is_certain || attempt == APPEND_ATTEMPTS_MAX {
                        return Err(lost);
                    }
                }
            }
        }
    }

    fn duplicate(&self) -> LakehouseError {
        let key = key_of(self.base.metadata()).join(", ");
        LakehouseError::DuplicateKey { table: self.factory.table().to_string(), key }
    }

    /// Each key of the rows that come occurs once among them. Errors: `DuplicateKey`.
    fn check_own_keys(&mut self) -> Result<(), LakehouseError> {
        self.keys.sort_unstable();
        match self.keys.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(self.duplicate()),
            false => Ok(()),
        }
    }

    /// No key of the rows that come, which are in `added`, is in the table. Errors: `DuplicateKey`.
    async fn check_keys(&mut self, added: &[DataFile]) -> Result<(), LakehouseError> {
        let Some(hasher) = self.base.hasher.clone() else { return Ok(()) };
        let table = self.factory.table().to_string();
        let keys = &self.keys;
        // Where all rows go, none is left to collide with.
        if keys.is_empty() || self.replaces_all {
            return Ok(());
        }
        let bounds = KeyBounds::of(added, self.base.metadata().current_schema(), &hasher, &self.schema);
        let (warehouse, key_runs) = (self.committer.catalog.warehouse(), self.committer.loader.key_runs());
        let layout = Layout::of(&self.base.view);
        for (at, file) in self.base.view.files.iter().enumerate().filter(|(_, file)| bounds.meets(file)) {
            let (table, schema, file_of) = (table.as_str(), &self.schema, file.file.as_ref());
            let of = KeysOf { table, file: file_of, schema, hasher: &hasher, warehouse, layout: &layout };
            let (before, now) = (file.deletes.as_deref(), self.deleted.get(&at));
            let is_gone = |row: u64| [before, now].into_iter().flatten().any(|rows| rows.contains(row));
            if key_runs.holds_any(&of, keys, is_gone).await? {
                return Err(self.duplicate());
            }
        }
        Ok(())
    }
}
