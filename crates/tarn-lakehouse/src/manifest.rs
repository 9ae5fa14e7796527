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
        Self { warehouse, manifests, lists }
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
        let loaded = file.load_manifest(&self.warehouse.file_io()).await;
        let manifest = Arc::new(loaded.map_err(|source| LakehouseError::Format {
            action: "read a manifest",
            table: table.into(),
            source,
        })?);
        self.manifests.insert(file.manifest_path.clone(), Arc::clone(&manifest)).await;
        Ok(manifest)
    }
}

/// About what a data file takes in memory.
fn file_bytes(file: &DataFile) -> usize {
    let counts = file.column_sizes().len()
        + file.value_counts().len()
        + file.null_value_counts().len()
        + file.nan_value_counts().len();
    let bounds = file.lower_bounds().len() + file.upper_bounds().len();
    FILE_BYTES + file.file_path().len() + counts * COUNT_BYTES + bounds * BOUND_BYTES
}
