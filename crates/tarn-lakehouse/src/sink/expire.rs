//! Old snapshots and metadata files go, with the files that only they need.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};
use tarn_core::RequestContext;

use super::flush::{Base, Committed, Committer, JobFault};
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::refs::refs;
use crate::snapshot::RowDelta;

/// Newest snapshots that always stay; table property `history.expire.min-snapshots-to-keep`.
const KEEP_MIN: usize = 100;
/// Snapshots younger than this stay; table property `history.expire.max-snapshot-age-ms`.
const KEEP_AGE_MS: i64 = 600_000;
/// Expired at a time, so that the sink is soon back at its rows.
const EXPIRE_MAX: usize = 200;
/// So many make a commit worth it, however many stay.
const WORTH_MAX: usize = 50;

fn number(metadata: &TableMetadata, key: &str) -> Option<i64> {
    metadata.properties().get(key).and_then(|text| text.parse().ok())
}

fn keep_min(metadata: &TableMetadata) -> usize {
    let keep = number(metadata, "history.expire.min-snapshots-to-keep").and_then(|n| usize::try_from(n).ok());
    keep.unwrap_or(KEEP_MIN).max(1)
}

/// Snapshots that may go: beyond the newest ones, old enough, and named by no branch or tag.
fn expired(metadata: &TableMetadata, now_ms: i64) -> Vec<i64> {
    let age = number(metadata, "history.expire.max-snapshot-age-ms").unwrap_or(KEEP_AGE_MS);
    let mut snapshots: Vec<&SnapshotRef> = metadata.snapshots().collect();
    snapshots.sort_by_key(|s| std::cmp::Reverse(s.sequence_number()));
    let named = refs(metadata).into_iter().map(|named| Some(named.snapshot_id));
    let named: HashSet<Option<i64>> = named.chain([metadata.current_snapshot_id()]).collect();
    let old = snapshots.iter().skip(keep_min(metadata)).rev();
    old.filter(|s| s.timestamp_ms() < now_ms - age && !named.contains(&Some(s.snapshot_id())))
        .map(|s| s.snapshot_id())
        .take(EXPIRE_MAX)
        .collect()
}

/// Whether enough snapshots may go to be worth a commit: half as many as stay.
pub fn is_due(metadata: &TableMetadata, now_ms: i64) -> bool {
    let keep = keep_min(metadata);
    let worth = (keep / 2).clamp(1, WORTH_MAX);
    // The count alone says no most of the time.
    metadata.snapshots().len() >= keep + worth && expired(metadata, now_ms).len() >= worth
}

impl Committer {
    /// Removes old snapshots in one commit, then deletes files that no other snapshot needs. `None` if none may go.
    pub async fn expire(&self, ctx: &RequestContext, base: Base) -> Result<Option<Committed>, JobFault> {
        let before = Arc::clone(base.metadata());
        let gone = expired(&before, self.env.clock.now_ms());
        if gone.is_empty() {
            return Ok(None);
        }
        let update = TableUpdate::RemoveSnapshots { snapshot_ids: gone.clone() };
        let view = self.commit(ctx, &base, RowDelta::default(), vec![update]).await?;
        let gone: HashSet<i64> = gone.into_iter().collect();
        if let Err(error) = self.delete_unreachable(&base.name.to_string(), &before, &gone).await {
            tracing::warn!(table = %base.name, %error, "files of old snapshots stay behind");
        }
        Ok(Some(Committed { view, delete_files: base.delete_files }))
    }

    async fn delete_unreachable(
        &self,
        table: &str,
        before: &TableMetadata,
        gone: &HashSet<i64>,
    ) -> Result<(), LakehouseError> {
        let mut kept_manifests = HashSet::new();
        let mut kept: Vec<ManifestFile> = Vec::new();
        for snapshot in before.snapshots().filter(|s| !gone.contains(&s.snapshot_id())) {
            let list = self
                .loader
                .manifests()
                .list(table, snapshot.manifest_list(), before.format_version())
                .await?;
            for manifest in list.entries() {
                if kept_manifests.insert(manifest.manifest_path.clone()) {
                    kept.push(manifest.clone());
                }
            }
        }
        let mut dead_manifests: Vec<ManifestFile> = Vec::new();
        let mut dead_files: HashSet<String> = HashSet::new();
        for snapshot in before.snapshots().filter(|s| gone.contains(&s.snapshot_id())) {
            let location = snapshot.manifest_list();
            let list = self.loader.manifests().list(table, location, before.format_version()).await?;
            dead_files.insert(location.to_string());
            for manifest in list.entries() {
                if !kept_manifests.contains(&manifest.manifest_path)
                    && dead_files.insert(manifest.manifest_path.clone())
                {
                    dead_manifests.push(manifest.clone());
                }
            }
        }
        let mut candidates = HashSet::new();
        for manifest in &dead_manifests {
            let paths = self.loader.manifests().paths(table, manifest).await?;
            candidates.extend(paths.alive.iter().chain(&paths.removed).cloned());
        }
        for manifest in &kept {
            if candidates.is_empty() {
                break;
            }
            for alive in &self.loader.manifests().paths(table, manifest).await?.alive {
                candidates.remove(alive);
            }
        }
        for file in dead_files.into_iter().chain(candidates) {
            self.catalog.warehouse().delete(&file).await?;
        }
        Ok(())
    }
}

/// Deletes metadata files that fell out of the metadata log with a commit.
pub async fn delete_old_metadata(warehouse: &Warehouse, before: &TableMetadata, after: &TableMetadata) {
    let kept: HashSet<&str> = after.metadata_log().iter().map(|log| log.metadata_file.as_str()).collect();
    for log in before.metadata_log().iter().filter(|log| !kept.contains(log.metadata_file.as_str())) {
        if let Err(error) = warehouse.delete(&log.metadata_file).await {
            tracing::debug!(file = log.metadata_file, %error, "an old metadata file stays behind");
        }
    }
}
