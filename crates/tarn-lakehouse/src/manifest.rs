//! Manifests are immutable, so each is read once and kept while it is used.

use std::sync::Arc;
use std::time::Duration;

use iceberg::spec::{DataFile, FormatVersion, Manifest, ManifestFile, ManifestList};
use moka::future::Cache;

use crate::error::LakehouseError;
use crate::io::Warehouse;

/// Bytes of manifests kept in memory.
const MANIFEST_BYTES_MAX: u64 = 128 << 20;
/// Bytes of manifest lists kept in memory.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// What nobody asked for in this time goes: a table that changes each second leaves thousands behind in an hour.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Bytes of paths kept for expiry, which looks at the manifests of all snapshots again and again.
const PATH_BYTES_MAX: u64 = 16 << 20;
const PATHS_IDLE_MAX: Duration = Duration::from_secs(1_200);
/// Memory of an entry of a manifest list.
const LIST_ENTRY_BYTES: usize = 512;
/// Memory of a data file without its figures by column.
const FILE_BYTES: usize = 768;
/// Memory of a count of a column in its map, and of a bound, which owns its type.
const COUNT_BYTES: usize = 24;
const BOUND_BYTES: usize = 128;

/// Reads manifests of a warehouse through a cache keyed by their location.
#[derive(Clone, Debug)]
pub struct ManifestCache {
    warehouse: Warehouse,
    manifests: Cache<String, Arc<Manifest>>,
    lists: Cache<String, Arc<ManifestList>>,
    paths: Cache<String, Arc<ManifestPaths>>,
}

/// The files that a manifest speaks of, without their figures.
#[derive(Debug)]
pub struct ManifestPaths {
    /// Files that a snapshot with this manifest holds, and their bytes.
    pub alive: Vec<(String, u64)>,
    /// Files that it says were removed, and their bytes.
    pub removed: Vec<(String, u64)>,
}

impl ManifestCache {
    /// An empty cache.
    pub fn new(warehouse: Warehouse) -> Self {
        let bytes = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let manifests = Cache::builder()
            .max_capacity(MANIFEST_BYTES_MAX)
            .time_to_idle(IDLE_MAX)
            .weigher(move |location: &String, manifest: &Arc<Manifest>| {
                let files: usize = manifest.entries().iter().map(|entry| file_bytes(entry.data_file())).sum();
                bytes(location.len() + files)
            })
            .build();
        let lists = Cache::builder()
            .max_capacity(LIST_BYTES_MAX)
            .time_to_idle(IDLE_MAX)
            .weigher(move |location: &String, list: &Arc<ManifestList>| {
                bytes(location.len() + list.entries().len() * LIST_ENTRY_BYTES)
            })
            .build();
        let paths = Cache::builder()
            .max_capacity(PATH_BYTES_MAX)
            .time_to_idle(PATHS_IDLE_MAX)
            .weigher(move |location: &String, paths: &Arc<ManifestPaths>| {
                let all = paths.alive.iter().chain(&paths.removed);
                bytes(
                    location.len()
                        + all.map(|(path, _)| path.len() + size_of::<(String, u64)>()).sum::<usize>(),
                )
            })
            .build();
        Self { warehouse, manifests, lists, paths }
    }

    /// The warehouse that is read.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// The manifests of a snapshot.
    pub async fn list(
        &self,
        table: &str,
        location: &str,
        version: FormatVersion,
    ) -> Result<Arc<ManifestList>, LakehouseError> {
        if let Some(list) = self.lists.get(location).await {
            return Ok(list);
        }
        let bytes = self.warehouse.read(location).await?;
        let list = ManifestList::parse_with_version(&bytes, version).map_err(|source| {
            LakehouseError::Format { action: "read a manifest list", table: table.into(), source }
        })?;
        let list = Arc::new(list);
        self.lists.insert(location.to_string(), Arc::clone(&list)).await;
        Ok(list)
    }

    /// The entries of a manifest, sequence numbers inherited.
    pub async fn manifest(&self, table: &str, file: &ManifestFile) -> Result<Arc<Manifest>, LakehouseError> {
        if let Some(manifest) = self.manifests.get(&file.manifest_path).await {
            return Ok(manifest);
        }
        let manifest = Arc::new(self.load(table, file).await?);
        self.manifests.insert(file.manifest_path.clone(), Arc::clone(&manifest)).await;
        Ok(manifest)
    }

    /// The paths in a manifest. Unlike [`ManifestCache::manifest`] it keeps nothing else of it in memory.
    pub async fn paths(
        &self,
        table: &str,
        file: &ManifestFile,
    ) -> Result<Arc<ManifestPaths>, LakehouseError> {
        if let Some(paths) = self.paths.get(&file.manifest_path).await {
            return Ok(paths);
        }
        let manifest = match self.manifests.get(&file.manifest_path).await {
            Some(known) => known,
            None => Arc::new(self.load(table, file).await?),
        };
        let of = |is_alive: bool| {
            let entries = manifest.entries().iter().filter(|entry| entry.is_alive() == is_alive);
            entries
                .map(|entry| (entry.file_path().to_string(), entry.data_file().file_size_in_bytes()))
                .collect()
        };
        let paths = Arc::new(ManifestPaths { alive: of(true), removed: of(false) });
        self.paths.insert(file.manifest_path.clone(), Arc::clone(&paths)).await;
        Ok(paths)
    }

    async fn load(&self, table: &str, file: &ManifestFile) -> Result<Manifest, LakehouseError> {
        let loaded = file.load_manifest(&self.warehouse.file_io()).await;
        loaded.map_err(|source| LakehouseError::Format {
            action: "read a manifest",
            table: table.into(),
            source,
        })
    }
}

/// About what a data file takes in memory.
pub(crate) fn file_bytes(file: &DataFile) -> usize {
    let counts = file.column_sizes().len()
        + file.value_counts().len()
        + file.null_value_counts().len()
        + file.nan_value_counts().len();
    let bounds = file.lower_bounds().len() + file.upper_bounds().len();
    FILE_BYTES + file.file_path().len() + counts * COUNT_BYTES + bounds * BOUND_BYTES
}
