//! What the sink of a table knows: its files with their deleted rows, its hot rows, and where each key lies.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::{DataFile, TableMetadata};
use roaring::RoaringTreemap;
use tarn_core::TableName;

use super::index::{FileRow, HotKeys, KeyHash, KeyHasher, Location};
use super::read::{conform, read_rows, selection_of};
use super::rows::{HotRow, HotRows};
use super::run::Run;
use crate::catalog::LoadedTable;
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::layout::Layout;
use crate::load::{DeleteFileState, ViewLoader};
use crate::types::{arrow_schema, dropped_columns, key_of};
use crate::view::TableView;

/// A live data file.
#[derive(Clone, Debug)]
pub struct FileState {
    /// What the manifest says.
    pub file: Arc<DataFile>,
    /// Its place among the files of the committed view; `None` for a file that is written but in no commit.
    pub position: Option<usize>,
    /// Deleted rows, committed.
    pub committed: Arc<RoaringTreemap>,
    /// Deleted rows, those included that are in no delete file yet.
    pub deleted: Arc<RoaringTreemap>,
    /// Its keys; `None` in tables without a key.
    pub run: Option<Arc<Run>>,
}

/// Where the key runs of a table's files are kept.
#[derive(Clone, Debug, Default)]
pub struct RunFolder(pub Option<PathBuf>);

impl RunFolder {
    fn path(&self, file: &DataFile) -> Option<PathBuf> {
        let name = file.file_path().rsplit('/').next()?;
        Some(self.0.as_ref()?.join(format!("{name}.keys")))
    }

    /// A run that is kept, if it is.
    fn open(&self, file: &DataFile, fingerprint: u64) -> Option<Run> {
        let run = Run::open(&self.path(file)?, fingerprint)?;
        (run.keys() as u64 == file.record_count()).then_some(run)
    }

    /// Keeps a run; one that cannot be kept stays in memory.
    pub fn keep(&self, file: &DataFile, keys: Vec<(KeyHash, u32)>, fingerprint: u64) -> Run {
        let run = Run::build(keys, fingerprint);
        let Some(path) = self.path(file) else { return run };
        run.stored(&path).unwrap_or_else(|(run, error)| {
            tracing::warn!(path = %path.display(), %error, "the keys of a data file stay in memory");
            run
        })
    }

    /// Removes the run of a file that is gone.
    pub fn remove(&self, file: &DataFile) {
        if let Some(path) = self.path(file) {
            // It is a cache: what stays behind is removed when the table is opened.
            drop(std::fs::remove_file(path));
        }
    }

    /// Removes runs of files that the table has no more.
    fn sweep(&self, live: &HashSet<PathBuf>) {
        let Some(entries) = self.0.as_ref().and_then(|folder| std::fs::read_dir(folder).ok()) else { return };
        for entry in entries.flatten().filter(|entry| !live.contains(&entry.path())) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// The state of a table: a commit, and what came after it.
#[derive(Debug)]
pub struct TableState {
    /// The table.
    pub name: TableName,
    /// Metadata of the commit.
    pub metadata: Arc<TableMetadata>,
    /// The commit as queries see it.
    pub base: Arc<TableView>,
    /// Live files; a number is never given twice, so a file that went is `None`.
    pub files: Vec<Option<FileState>>,
    /// Numbers of the live files, oldest first.
    pub live: Vec<u32>,
    /// Numbers of files with deleted rows that are in no delete file yet.
    pub dirty: BTreeSet<u32>,
    /// Numbers of files that are written but in no commit.
    staged: BTreeSet<u32>,
    /// Live position-delete files.
    pub delete_files: Vec<DeleteFileState>,
    /// All files of the commit are to go.
    pub truncated: bool,
    /// Rows in memory.
    pub rows: HotRows,
    /// Their keys.
    pub keys: HotKeys,
    /// Hashes keys, or whole rows; `None` for a table without a key whose rows only come.
    pub hasher: Option<Arc<KeyHasher>>,
    /// Columns that came later than the table, by their places, for each of its earlier schemas; where whole rows are hashed.
    later_columns: Vec<Vec<usize>>,
    /// Arrow schema of the table.
    pub schema: SchemaRef,
    /// Whether other engines left equality deletes, which the key runs do not know.
    pub has_equality_deletes: bool,
    /// Where key runs are kept.
    pub runs: RunFolder,
}

impl TableState {
    /// Reads the state of a table; key runs that are not kept are made of the key columns of their files.
    pub async fn open(
        name: &TableName,
        table: &LoadedTable,
        loader: &ViewLoader,
        runs: RunFolder,
    ) -> Result<Self, LakehouseError> {
        let metadata = Arc::clone(&table.metadata);
        let location = table.metadata_location.as_deref().unwrap_or_default();
        let base = Arc::new(loader.load(name, Arc::clone(&metadata), location, None).await?);
        let text = name.to_string();
        let schema = arrow_schema(&text, metadata.current_schema())?;
        let key = key_of(&metadata);
        let hasher = match key.is_empty() {
            true => None,
            false => Some(Arc::new(KeyHasher::new(&text, &schema, &key)?)),
        };
        let mut state = Self {
            name: name.clone(),
            files: Vec::new(),
            live: Vec::new(),
            dirty: BTreeSet::new(),
            staged: BTreeSet::new(),
            delete_files: loader.position_delete_files(&text, &metadata).await?,
            truncated: false,
            rows: HotRows::default(),
            keys: HotKeys::default(),
            hasher,
            later_columns: Vec::new(),
            schema,
            has_equality_deletes: !base.equality_deletes.is_empty(),
            metadata,
            base: Arc::clone(&base),
            runs,
        };
        state.runs.sweep(&base.files.iter().filter_map(|file| state.runs.path(&file.file)).collect());
        let layout = Layout::of(&base);
        for (position, file) in base.files.iter().enumerate() {
            let run = state.run_of((&file.file, &layout), loader.manifests().warehouse()).await?;
            let committed = file.deletes.clone().unwrap_or_default();
            state.add(FileState {
                file: Arc::clone(&file.file),
                position: Some(position),
                deleted: Arc::clone(&committed),
                committed,
                run,
            })?;
        }
        Ok(state)
    }

    async fn run_of(
        &self,
        (file, layout): (&DataFile, &Layout),
        warehouse: &Warehouse,
    ) -> Result<Option<Arc<Run>>, LakehouseError> {
        let Some(hasher) = &self.hasher else { return Ok(None) };
        if let Some(run) = self.runs.open(file, hasher.fingerprint()) {
            return Ok(Some(Arc::new(run)));
        }
        let (table, columns) = (self.name.to_string(), hasher.columns());
        let mut keys = Vec::with_capacity(usize::try_from(file.record_count()).unwrap_or_default());
        let mut batches = read_rows(warehouse, &self.schema, columns, (file, layout), None).await?;
        while let Some(batch) = batches.try_next().await.map_err(|e| damaged(file, e))? {
            let batch = conform(&table, &self.schema, columns, &batch)?;
            let first = row_number(keys.len())?;
            keys.extend(hasher.hash_keys(&table, batch.columns())?.into_iter().zip(first..));
        }
        Ok(Some(Arc::new(self.runs.keep(file, keys, hasher.fingerprint()))))
    }

    /// From now on rows of a table without a key are found by all their values. Nothing may be under way beside the sink.
    /// Errors: a column has a type without an order; those of reading files.
    pub async fn identify_rows(&mut self, warehouse: &Warehouse) -> Result<(), LakehouseError> {
        let (table, dropped) = (self.name.to_string(), dropped_columns(&self.metadata));
        let ids: Vec<i32> =
            self.metadata.current_schema().as_struct().fields().iter().map(|field| field.id).collect();
        // Old rows of the source have no values there any more.
        let left_out: Vec<usize> = (0..ids.len()).filter(|at| dropped.contains(&ids[*at])).collect();
        let hasher = Arc::new(KeyHasher::of_rows(&table, &self.schema, &left_out)?);
        self.hasher = Some(Arc::clone(&hasher));
        let layout = Layout::of(&self.base);
        for number in self.live.clone() {
            let Some(file) = self.file(number).map(|file| Arc::clone(&file.file)) else { continue };
            let run = self.run_of((&file, &layout), warehouse).await?;
            if let Some(Some(file)) = self.files.get_mut(number as usize) {
                file.run = run;
            }
        }
        self.keys.clear();
        for slot in self.rows.slots() {
            let hashes = hasher.hash(&table, slot.rows.columns())?;
            for (hash, row) in hashes.into_iter().zip(slot.first..) {
                self.keys.put_another(hash, row);
            }
        }
        let known = self.metadata.schemas_iter().map(|schema| {
            (0..ids.len()).filter(|at| schema.field_by_id(ids[*at]).is_none()).collect::<Vec<usize>>()
        });
        self.later_columns = known.filter(|later| !later.is_empty()).collect();
        self.later_columns.sort_by_key(Vec::len);
        self.later_columns.dedup();
        Ok(())
    }

    /// Where a row lies that was written before some columns came, which have values at the source (a default) but not here.
    /// `image`: rows as all columns of the table.
    pub fn locate_older(&self, image: &[ArrayRef], row: usize) -> Result<Option<Location>, LakehouseError> {
        let Some(hasher) = &self.hasher else { return Ok(None) };
        for later in &self.later_columns {
            let columns: Vec<ArrayRef> = image
                .iter()
                .enumerate()
                .map(|(at, column)| match later.contains(&at) {
                    true => new_null_array(column.data_type(), 1),
                    false => column.slice(row, 1),
                })
                .collect();
            let hash = hasher.hash(&self.name.to_string(), &columns)?;
            if let Some(found) = hash.first().and_then(|hash| self.locate(*hash)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where a live row of a key lies.
    pub fn locate(&self, key: KeyHash) -> Option<Location> {
        if let Some(row) = self.keys.get(key, |row| self.rows.is_live(row)) {
            return Some(Location::Hot(row));
        }
        for number in self.live.iter().rev() {
            let Some(file) = self.file(*number) else { continue };
            let Some(run) = &file.run else { continue };
            if let Some(row) = run.find(key, |row| !file.deleted.contains(u64::from(row))) {
                return Some(Location::File(FileRow { file: *number, row }));
            }
        }
        None
    }

    /// Takes a row away.
    pub fn kill(&mut self, at: Location) {
        match at {
            Location::Hot(row) => self.rows.kill(row),
            Location::File(at) => {
                if let Some(Some(file)) = self.files.get_mut(at.file as usize)
                    && Arc::make_mut(&mut file.deleted).insert(u64::from(at.row))
                {
                    self.dirty.insert(at.file);
                }
            }
        }
    }

    /// Takes all rows away but the hot ones from `end` on. No flush may be under way.
    pub fn truncate(&mut self, end: HotRow) {
        self.truncated |= !self.base.files.is_empty();
        self.rows.kill_before(end);
        self.keys.clear();
        self.files.iter_mut().for_each(|file| *file = None);
        self.live.clear();
        self.dirty.clear();
        self.staged.clear();
    }

    /// A live file by its number.
    pub fn file(&self, number: u32) -> Option<&FileState> {
        self.files.get(number as usize)?.as_ref()
    }

    /// Live files of the commit with their numbers, oldest first.
    pub fn committed_files(&self) -> impl Iterator<Item = (u32, &FileState)> {
        let live = self.live.iter().filter_map(|number| Some((*number, self.file(*number)?)));
        live.filter(|(_, file)| file.position.is_some())
    }

    /// Files that are written but in no commit.
    pub fn staged_files(&self) -> impl Iterator<Item = &FileState> {
        self.staged.iter().filter_map(|number| self.file(*number))
    }

    /// Whether a file is written but in no commit.
    pub fn is_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Adds a file that is written but in no commit. `deleted`: its rows that went since.
    pub fn stage(
        &mut self,
        file: Arc<DataFile>,
        run: Option<Arc<Run>>,
        deleted: RoaringTreemap,
    ) -> Result<(), LakehouseError> {
        let is_dirty = !deleted.is_empty();
        let (committed, deleted) = (Arc::default(), Arc::new(deleted));
        let number = self.add(FileState { file, position: None, committed, deleted, run })?;
        self.staged.insert(number);
        if is_dirty {
            self.dirty.insert(number);
        }
        Ok(())
    }

    /// Adds a file and returns its number.
    fn add(&mut self, file: FileState) -> Result<u32, LakehouseError> {
        let number = row_number(self.files.len())?;
        self.files.push(Some(file));
        self.live.push(number);
        Ok(number)
    }

    /// Forgets a file that is gone.
    pub fn remove(&mut self, number: u32) {
        if let Some(file) = self.files.get_mut(number as usize).and_then(Option::take) {
            self.runs.remove(&file.file);
        }
        self.live.retain(|live| *live != number);
        self.dirty.remove(&number);
        self.staged.remove(&number);
    }

    /// Whether something is in memory that is not committed.
    pub fn is_ahead(&self) -> bool {
        self.truncated || self.is_staged() || !self.dirty.is_empty() || self.rows.live_rows() > 0
    }

    /// Takes over a new commit of ours. Errors: `CommitFailed` if the table is another one in it: its schema or partitioning
    /// was changed by another writer, or a file is missing.
    pub fn adopt(
        &mut self,
        base: Arc<TableView>,
        delete_files: Vec<DeleteFileState>,
    ) -> Result<(), LakehouseError> {
        let changed = |what: String| LakehouseError::CommitFailed { table: self.name.to_string(), what };
        if base.metadata.current_schema_id() != self.metadata.current_schema_id() {
            return Err(changed("another writer changed the schema".into()));
        }
        if base.metadata.default_partition_spec_id() != self.metadata.default_partition_spec_id() {
            return Err(changed("another writer changed the partitioning".into()));
        }
        let places: HashMap<&str, usize> =
            base.files.iter().enumerate().map(|(at, file)| (file.file.file_path(), at)).collect();
        for number in &self.live {
            let Some(Some(file)) = self.files.get_mut(*number as usize) else { continue };
            let Some(at) = places.get(file.file.file_path()) else {
                return Err(changed(format!("file {} is not in the commit", file.file.file_path())));
            };
            file.position = Some(*at);
            file.file = Arc::clone(&base.files[*at].file);
            file.committed = base.files[*at].deletes.clone().unwrap_or_default();
            if file.deleted.len() == file.committed.len() {
                file.deleted = Arc::clone(&file.committed);
                self.dirty.remove(number);
            }
        }
        self.staged.clear();
        self.metadata = Arc::clone(&base.metadata);
        self.has_equality_deletes = !base.equality_deletes.is_empty();
        self.delete_files = delete_files;
        self.base = base;
        Ok(())
    }

    /// What queries see: the commit and what came after it. Files in no commit are not seen.
    pub fn view(&self, version: u64) -> TableView {
        let unflushed = self.dirty.iter().filter_map(|number| {
            let file = self.file(*number)?;
            Some((file.position?, Arc::clone(&file.deleted)))
        });
        let mut view = TableView {
            hot: Arc::new(self.rows.batches()),
            unflushed: Arc::new(unflushed.collect()),
            version,
            ..self.base.as_ref().clone()
        };
        if self.truncated {
            view.files = Arc::default();
            view.equality_deletes = Arc::default();
        }
        view
    }

    /// Values of some rows (ascending) of one file, in the table's columns. Errors: the file is gone or damaged.
    pub async fn rows_of_file(
        &self,
        (warehouse, layout): (&Warehouse, &Layout),
        number: u32,
        rows: &[u32],
        columns: &[usize],
    ) -> Result<Vec<RecordBatch>, LakehouseError> {
        let state = self.file(number).ok_or_else(|| LakehouseError::Invalid {
            what: format!("a row of table `{}` lies in a file that is gone", self.name),
        })?;
        let selection = selection_of(rows, state.file.record_count());
        let of = (state.file.as_ref(), layout);
        let mut stream = read_rows(warehouse, &self.schema, columns, of, Some(selection)).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(|e| damaged(&state.file, e))? {
            batches.push(conform(&self.name.to_string(), &self.schema, columns, &batch)?);
        }
        Ok(batches)
    }
}

/// A row or file number. Errors: more than 4 billion.
pub fn row_number(number: usize) -> Result<u32, LakehouseError> {
    u32::try_from(number).map_err(|_| LakehouseError::Invalid {
        what: "a table has a file of more than 4 billion rows".into(),
    })
}

/// A file that cannot be read.
pub fn damaged(file: &DataFile, source: parquet::errors::ParquetError) -> LakehouseError {
    LakehouseError::Parquet { path: file.file_path().into(), source }
}
