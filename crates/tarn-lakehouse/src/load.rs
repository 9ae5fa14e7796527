//! From metadata to the state that a query sees: live files, deletes by file.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, ManifestContentType, ManifestFile, Snapshot, TableMetadata,
};
use moka::future::Cache;
use parking_lot::Mutex;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::ParquetObjectReader;
use roaring::RoaringTreemap;
use tarn_core::TableName;

use crate::error::LakehouseError;
use crate::key_runs::KeyRuns;
use crate::manifest::{ManifestCache, file_bytes};
use crate::types::shown_schema;
use crate::view::{DataFileView, EqualityDeleteView, TableView};

/// Positions of one delete file, by location of the data file.
pub(crate) type DeletesByFile = HashMap<String, Arc<RoaringTreemap>>;

/// Bytes of decoded delete files kept.
const DELETE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the files of manifests kept, which the newest views share, and how long without being asked for.
const LIVE_BYTES_MAX: u64 = 256 << 20;
const LIVE_IDLE_MAX: Duration = Duration::from_secs(300);
/// Delete files that no view asked for in this time were compacted away, most likely.
const DELETE_IDLE_MAX: Duration = Duration::from_secs(600);
/// Memory of a data file's entry in a decoded delete file, beside its path and positions.
const DELETES_ENTRY_BYTES: usize = 128;
/// Files remembered before those that no view holds are looked for the first time.
const FILES_SWEPT_AT: usize = 1_024;

/// Live files of a manifest, with their sequence numbers.
type LiveFiles = Arc<Vec<(Arc<DataFile>, i64)>>;

/// Loads views of tables.
#[derive(Debug)]
pub struct ViewLoader {
    manifests: ManifestCache,
    deletes: Cache<String, Arc<DeletesByFile>>,
    live: Cache<String, LiveFiles>,
    files: Mutex<SharedFiles>,
    key_runs: KeyRuns,
    versions: AtomicU64,
}

/// The data files that some view holds, by location, so that the views of a table that changes each second share the
/// files that stay.
#[derive(Debug)]
struct SharedFiles {
    known: HashMap<String, Weak<DataFile>>,
    sweep_at: usize,
}

impl SharedFiles {
    fn share(&mut self, file: &DataFile) -> Arc<DataFile> {
        if let Some(known) = self.known.get(file.file_path()).and_then(Weak::upgrade)
            && *known == *file
        {
            return known;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, file| file.strong_count() > 0);
            self.sweep_at = (self.known.len() * 2).max(FILES_SWEPT_AT);
        }
        let shared = Arc::new(file.clone());
        self.known.insert(file.file_path().to_string(), Arc::downgrade(&shared));
        shared
    }
}

/// A live position-delete file of a table.
#[derive(Clone, Debug)]
pub(crate) struct DeleteFileState {
    /// What the manifest says.
    pub file: Arc<DataFile>,
    /// Locations of the data files from which it deletes.
    pub covers: Arc<HashSet<String>>,
}

struct Live {
    data: Vec<(Arc<DataFile>, i64, i32)>,
    position: Vec<(String, Arc<DeletesByFile>, i64)>,
    equality: Vec<EqualityDeleteView>,
}

impl ViewLoader {
    /// With empty caches. `runs`: a local folder for keys of data files.
    pub fn new(manifests: ManifestCache, runs: Option<&Path>) -> Self {
        let deletes = Cache::builder()
            .max_capacity(DELETE_BYTES_MAX)
            .time_to_idle(DELETE_IDLE_MAX)
            .weigher(|location: &String, deletes: &Arc<DeletesByFile>| {
                let of = |(path, positions): (&String, &Arc<RoaringTreemap>)| {
                    path.len() + positions.serialized_size() + DELETES_ENTRY_BYTES
                };
                let bytes: usize = deletes.iter().map(of).sum();
                u32::try_from(location.len() + bytes).unwrap_or(u32::MAX)
            })
            .build();
        let files = Mutex::new(SharedFiles { known: HashMap::new(), sweep_at: FILES_SWEPT_AT });
        let live = Cache::builder()
            .max_capacity(LIVE_BYTES_MAX)
            .time_to_idle(LIVE_IDLE_MAX)
            .weigher(|location: &String, live: &LiveFiles| {
                let bytes: usize = live.iter().map(|(file, _)| file_bytes(file)).sum();
                u32::try_from(location.len() + bytes).unwrap_or(u32::MAX)
            })
            .build();
        let key_runs = KeyRuns::new(runs);
        Self { manifests, deletes, live, files, key_runs, versions: AtomicU64::new(1) }
    }

    /// The manifest cache behind it.
    pub fn manifests(&self) -> &ManifestCache {
        &self.manifests
    }

    /// The keys of data files, kept for statements.
    pub(crate) fn key_runs(&self) -> &KeyRuns {
        &self.key_runs
    }

    /// The state of a table at its current snapshot, or at `snapshot_id`. Errors: `SnapshotNotFound`, damaged files.
    pub async fn load(
        &self,
        name: &TableName,
        metadata: Arc<TableMetadata>,
        metadata_location: &str,
        snapshot_id: Option<i64>,
    ) -> Result<TableView, LakehouseError> {
        let table = name.to_string();
        let snapshot = match snapshot_id {
            None => metadata.current_snapshot().cloned(),
            Some(id) => Some(metadata.snapshot_by_id(id).cloned().ok_or_else(|| {
                LakehouseError::SnapshotNotFound { table: table.clone(), wanted: id.to_string() }
            })?),
        };
        let schema = match (snapshot_id, &snapshot) {
            (Some(_), Some(snapshot)) => snapshot.schema(&metadata).map_err(|source| {
                LakehouseError::Format { action: "read the schema", table: table.clone(), source }
            })?,
            _ => metadata.current_schema().clone(),
        };
        let live = match &snapshot {
            Some(snapshot) => self.live(&table, &metadata, snapshot).await?,
            None => Live { data: Vec::new(), position: Vec::new(), equality: Vec::new() },
        };
        let files = self.with_deletes(&live)?;
        Ok(TableView {
            name: name.clone(),
            schema: shown_schema(&table, &schema)?,
            metadata_location: metadata_location.into(),
            snapshot_id: snapshot.map(|s| s.snapshot_id()),
            metadata,
            files: Arc::new(files),
            equality_deletes: Arc::new(live.equality),
            hot: Arc::default(),
            unflushed: Arc::default(),
            store: Arc::clone(self.manifests.warehouse().objects()),
            version: self.next_version(),
        })
    }

    /// A number for a state of rows that no other one has.
    pub(crate) fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed)
    }

    /// Live position-delete files of the current snapshot.
    pub(crate) async fn position_delete_files(
        &self,
        table: &str,
        metadata: &TableMetadata,
    ) -> Result<Vec<DeleteFileState>, LakehouseError> {
        let mut files = Vec::new();
        for file in self.delete_files(table, metadata).await? {
            if file.content_type() == DataContentType::PositionDeletes {
                let covers = self.delete_file(table, &file).await?.keys().cloned().collect();
                files.push(DeleteFileState { file, covers: Arc::new(covers) });
            }
        }
        Ok(files)
    }

    /// Live delete files of the current snapshot, of both kinds.
    pub(crate) async fn delete_files(
        &self,
        table: &str,
        metadata: &TableMetadata,
    ) -> Result<Vec<Arc<DataFile>>, LakehouseError> {
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(Vec::new()) };
        let list = self.manifests.list(table, snapshot.manifest_list(), metadata.format_version()).await?;
        let mut files = Vec::new();
        for manifest in list.entries().iter().filter(|m| m.content == ManifestContentType::Deletes) {
            let manifest = self.manifests.manifest(table, manifest).await?;
            let live = manifest.entries().iter().filter(|entry| entry.is_alive());
            files.extend(live.map(|entry| Arc::new(entry.data_file().clone())));
        }
        Ok(files)
    }

    /// What a delete file that was just written holds: it need not be read back.
    pub(crate) async fn wrote_deletes(&self, file: &DataFile, deletes: DeletesByFile) {
        self.deletes.insert(file.file_path().to_string(), Arc::new(deletes)).await;
    }

    async fn live(
        &self,
        table: &str,
        metadata: &TableMetadata,
        snapshot: &Snapshot,
    ) -> Result<Live, LakehouseError> {
        let list = self.manifests.list(table, snapshot.manifest_list(), metadata.format_version()).await?;
        let mut live = Live { data: Vec::new(), position: Vec::new(), equality: Vec::new() };
        for file in list.entries() {
            for (data_file, sequence) in self.live_files(table, file).await?.iter() {
                let (data_file, sequence) = (Arc::clone(data_file), *sequence);
                match (file.content, data_file.content_type()) {
                    (ManifestContentType::Data, _) => {
                        live.data.push((data_file, sequence, file.partition_spec_id))
                    }
                    (_, DataContentType::EqualityDeletes) => {
                        let location = self.manifests.warehouse().path(data_file.file_path())?;
                        live.equality.push(EqualityDeleteView {
                            file: data_file,
                            location,
                            sequence_number: sequence,
                        });
                    }
                    _ => {
                        let deletes = self.delete_file(table, &data_file).await?;
                        live.position.push((data_file.file_path().to_string(), deletes, sequence));
                    }
                }
            }
        }
        Ok(live)
    }

    /// The live files of a manifest with their sequence numbers: of a table of many files, a commit makes only the manifests
    /// that it wrote be looked at.
    async fn live_files(&self, table: &str, manifest: &ManifestFile) -> Result<LiveFiles, LakehouseError> {
        if let Some(known) = self.live.get(&manifest.manifest_path).await {
            return Ok(known);
        }
        let loaded = self.manifests.manifest(table, manifest).await?;
        let entries = loaded.entries().iter().filter(|entry| entry.is_alive());
        let live: LiveFiles = {
            let mut files = self.files.lock();
            let share =
                entries.map(|entry| (files.share(entry.data_file()), entry.sequence_number().unwrap_or(0)));
            Arc::new(share.collect())
        };
        self.live.insert(manifest.manifest_path.clone(), Arc::clone(&live)).await;
        Ok(live)
    }

    /// A position delete applies to data files that are not newer than it (specification, "Scan Planning").
    fn with_deletes(&self, live: &Live) -> Result<Vec<DataFileView>, LakehouseError> {
        let mut by_file: HashMap<&str, Vec<(&Arc<RoaringTreemap>, i64)>> = HashMap::new();
        for (_, deletes, sequence) in &live.position {
            for (file, positions) in deletes.iter() {
                by_file.entry(file).or_default().push((positions, *sequence));
            }
        }
        let view = |(file, sequence, spec): &(Arc<DataFile>, i64, i32)| {
            let applying = by_file.get(file.file_path()).into_iter().flatten().filter(|(_, s)| s >= sequence);
            let mut applying: Vec<&Arc<RoaringTreemap>> = applying.map(|(positions, _)| *positions).collect();
            let deletes = match (applying.pop(), applying.is_empty()) {
                (None, _) => None,
                (Some(one), true) => Some(Arc::clone(one)),
                (Some(one), false) => {
                    let union =
                        applying.into_iter().fold(one.as_ref().clone(), |all, more| all | more.as_ref());
                    Some(Arc::new(union))
                }
            };
            Ok(DataFileView {
                location: self.manifests.warehouse().path(file.file_path())?,
                file: Arc::clone(file),
                deletes,
                sequence_number: *sequence,
                partition_spec_id: *spec,
            })
        };
        live.data.iter().map(view).collect()
    }

    /// What a position-delete file holds. Errors: it is damaged, or no Parquet.
    pub(crate) async fn delete_file(
        &self,
        table: &str,
        file: &DataFile,
    ) -> Result<Arc<DeletesByFile>, LakehouseError> {
        if let Some(known) = self.deletes.get(file.file_path()).await {
            return Ok(known);
        }
        if file.file_format() != DataFileFormat::Parquet {
            return Err(LakehouseError::Invalid {
                what: format!(
                    "table `{table}` has {} deletes, which are not read yet; rewrite its data files, or create it \
                     with format version 2",
                    file.file_format()
                ),
            });
        }
        let loaded = Arc::new(self.read_positions(file).await?);
        self.deletes.insert(file.file_path().to_string(), Arc::clone(&loaded)).await;
        Ok(loaded)
    }

    async fn read_positions(&self, file: &DataFile) -> Result<DeletesByFile, LakehouseError> {
        let warehouse = self.manifests.warehouse();
        let failed = |source| LakehouseError::Parquet { path: file.file_path().into(), source };
        let path = warehouse.path(file.file_path())?;
        let reader = ParquetObjectReader::new(Arc::clone(warehouse.objects()), path)
            .with_file_size(file.file_size_in_bytes());
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let mut stream = builder.build().map_err(failed)?;
        let mut by_file: HashMap<String, RoaringTreemap> = HashMap::new();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let damaged =
                || failed(parquet::errors::ParquetError::General("not a position-delete file".into()));
            let paths = batch.column_by_name("file_path").ok_or_else(damaged)?;
            let paths =
                arrow::compute::cast(paths, &arrow::datatypes::DataType::Utf8).map_err(|_| damaged())?;
            let paths = paths.as_string::<i32>();
            let positions = batch.column_by_name("pos").and_then(|c| c.as_primitive_opt::<Int64Type>());
            let positions = positions.ok_or_else(damaged)?;
            let mut current: Option<(&str, &mut RoaringTreemap)> = None;
            for row in 0..batch.num_rows() {
                let path = paths.value(row);
                if current.as_ref().is_none_or(|(known, _)| *known != path) {
                    if !by_file.contains_key(path) {
                        by_file.insert(path.to_string(), RoaringTreemap::new());
                    }
                    current = by_file.get_mut(path).map(|set| (path, set));
                }
                if let (Some((_, set)), Ok(position)) =
                    (current.as_mut(), u64::try_from(positions.value(row)))
                {
                    set.insert(position);
                }
            }
        }
        Ok(by_file.into_iter().map(|(file, set)| (file, Arc::new(set))).collect())
    }
}
