//! Manifests are immutable, so each is read once and kept.

use std::sync::Arc;

use iceberg::spec::{FormatVersion, Manifest, ManifestFile, ManifestList};
use moka::future::Cache;

use crate::error::LakehouseError;
use crate::io::Warehouse;

/// Entries of manifests and manifest lists kept in memory.
const ENTRIES_MAX: u64 = 2_000_000;

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
        let weigh = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let manifests = Cache::builder()
            .max_capacity(ENTRIES_MAX)
            .weigher(move |_: &String, manifest: &Arc<Manifest>| weigh(manifest.entries().len()))
            .build();
        let lists = Cache::builder()
            .max_capacity(ENTRIES_MAX / 4)
            .weigher(move |_: &String, list: &Arc<ManifestList>| weigh(list.entries().len()))
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
