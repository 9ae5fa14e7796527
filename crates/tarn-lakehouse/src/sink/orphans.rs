//! Files that a crash, or a commit that was given up, left in a table's folder go after some days.

use std::collections::HashSet;

use futures::TryStreamExt;
use iceberg::spec::TableMetadata;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tarn_core::{RequestContext, TableName};

use super::flush::Committer;
use crate::error::LakehouseError;
use crate::service::policy::may_delete_files;
use crate::service::{Ownership, RunFigures};

/// Younger files may belong to a commit under way, of another engine too; table property [`AGE_PROPERTY`].
const AGE_MS: i64 = 3 * 24 * 3_600_000;
/// Table property: age in milliseconds after which a file that nothing needs is removed.
const AGE_PROPERTY: &str = "tarn.orphan-age-ms";

/// Whether a file has a name as we, or Iceberg's writers of metadata, give them. Others are left alone: somebody may have
/// put them there to be added to the table.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.filename() else { return false };
    let is_data = name.starts_with("data-") || name.starts_with("deletes-");
    let is_metadata = [".avro", ".metadata.json", ".stats"].iter().any(|ending| name.ends_with(ending));
    (is_data && name.ends_with(".parquet")) || is_metadata
}

impl Committer {
    /// Removes files from a table's folder that no kept snapshot needs and the table owns. What is needed is read from
    /// the catalog, since other engines may have committed what the sink does not know of. `staged`: locations of files
    /// that wait for their commit. `None` if there was none to remove.
    pub async fn remove_orphans(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        staged: HashSet<String>,
    ) -> Result<Option<RunFigures>, LakehouseError> {
        let table = self.catalog.load_table(ctx, name).await?;
        let metadata = &table.metadata;
        if !may_delete_files(metadata) {
            return Ok(None);
        }
        let mut needed = self.needed(name, metadata).await?;
        needed.extend(staged);
        needed.extend(table.metadata_location.clone());
        let warehouse = self.catalog.warehouse();
        // Files of other places than the warehouse cannot be in the folder.
        let needed: HashSet<Path> =
            needed.iter().filter_map(|location| warehouse.path(location).ok()).collect();
        let age_ms = metadata.properties().get(AGE_PROPERTY).and_then(|text| text.parse().ok());
        let until_ms = self.env.clock.now_ms() - age_ms.unwrap_or(AGE_MS);
        let folder = warehouse.path(metadata.location())?;
        let own = Ownership::of(metadata);
        let (location, root) = (metadata.location().trim_end_matches('/'), folder.as_ref());
        let is_own = |file: &Path| {
            let below = file.as_ref().strip_prefix(root).unwrap_or_default();
            own.may_delete(&format!("{location}{below}"))
        };
        let is_orphan = |file: &ObjectMeta| {
            let is_old = file.last_modified.timestamp_millis() < until_ms;
            let is_needed = || needed.contains(&file.location);
            is_old && is_ours(&file.location) && is_own(&file.location) && !is_needed()
        };
        let failed = |source: object_store::Error| LakehouseError::Invalid {
            what: format!("the folder of table `{name}` cannot be looked through: {source}"),
        };
        let listed = warehouse.objects().list(Some(&folder));
        let listed = listed.try_filter(|file| std::future::ready(is_orphan(file)));
        let orphans: Vec<ObjectMeta> = listed.try_collect().await.map_err(failed)?;
        if self.catalog.pointer(ctx, name).await? != table.metadata_location {
            // Somebody committed meanwhile, perhaps one of them. The next look will tell.
            return Ok(None);
        }
        let mut figures = RunFigures::default();
        for orphan in &orphans {
            warehouse.objects().delete(&orphan.location).await.map_err(failed)?;
            figures.files_removed += 1;
            figures.bytes_freed += orphan.size;
        }
        Ok((!orphans.is_empty()).then_some(figures))
    }

    /// Locations of everything that a table's metadata leads to.
    async fn needed(
        &self,
        name: &TableName,
        metadata: &TableMetadata,
    ) -> Result<HashSet<String>, LakehouseError> {
        let table = name.to_string();
        let mut locations: HashSet<String> =
            metadata.metadata_log().iter().map(|log| log.metadata_file.clone()).collect();
        locations.extend(metadata.statistics_iter().map(|file| file.statistics_path.clone()));
        locations.extend(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone()));
        let manifests = self.loader.manifests();
        for snapshot in metadata.snapshots() {
            locations.insert(snapshot.manifest_list().to_string());
            let list = manifests.list(&table, snapshot.manifest_list(), metadata.format_version()).await?;
            for manifest in list.entries() {
                if locations.insert(manifest.manifest_path.clone()) {
                    locations.extend(
                        manifests.paths(&table, manifest).await?.alive.iter().map(|(path, _)| path.clone()),
                    );
                }
            }
        }
        Ok(locations)
    }
}
