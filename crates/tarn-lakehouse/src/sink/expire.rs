//! Old snapshots and metadata files go, with the files that only they need.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{MAIN_BRANCH, ManifestFile, SnapshotRef, TableMetadata};
use tarn_core::RequestContext;

use super::flush::{Base, Committed, Committer, JobFault};
use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::refs::{RefKind, refs};
use crate::service::policy::{is_foreign, may_delete_files, number};
use crate::service::{Need, Ownership, RunFigures, Service};
use crate::snapshot::RowDelta;

/// Newest snapshots that always stay; table property `history.expire.min-snapshots-to-keep`.
const KEEP_MIN: usize = 100;
/// Snapshots younger than this stay; table property `history.expire.max-snapshot-age-ms`.
const KEEP_AGE_MS: i64 = 600_000;
/// The same of tables that only other engines write, whose users count on Iceberg's defaults.
const FOREIGN_KEEP: (usize, i64) = (1, 5 * 24 * 3_600_000);
/// Expired at a time, so that the sink is soon back at its rows.
const EXPIRE_MAX: usize = 200;
/// So many make a commit worth it, however many stay.
const WORTH_MAX: usize = 50;

/// How many of the newest snapshots stay, and up to which age all do.
fn kept_by_default(metadata: &TableMetadata) -> (usize, i64) {
    let (keep, age) = if is_foreign(metadata) { FOREIGN_KEEP } else { (KEEP_MIN, KEEP_AGE_MS) };
    let keep = number::<usize>(metadata, "history.expire.min-snapshots-to-keep").unwrap_or(keep);
    (keep.max(1), number(metadata, "history.expire.max-snapshot-age-ms").unwrap_or(age))
}

/// Branches and tags whose time is over; never `main`.
fn expired_refs(metadata: &TableMetadata, now_ms: i64) -> Vec<String> {
    let age: Option<i64> = number(metadata, "history.expire.max-ref-age-ms");
    let old = refs(metadata).into_iter().filter(|named| {
        let at = metadata.snapshot_by_id(named.snapshot_id).map(|snapshot| snapshot.timestamp_ms());
        let age = named.max_ref_age_ms.or(age);
        named.name != MAIN_BRANCH && at.zip(age).is_some_and(|(at, age)| now_ms.saturating_sub(age) > at)
    });
    old.map(|named| named.name).collect()
}

/// Snapshots that stay because of branches and tags (Iceberg specification, "Snapshot Retention Policy").
fn named(metadata: &TableMetadata, gone: &[String], now_ms: i64) -> HashSet<i64> {
    let (keep, age) = kept_by_default(metadata);
    let mut kept: HashSet<i64> = metadata.current_snapshot_id().into_iter().collect();
    for named in refs(metadata).into_iter().filter(|named| !gone.contains(&named.name)) {
        kept.insert(named.snapshot_id);
        if named.kind == RefKind::Tag {
            continue;
        }
        let keep = named.min_snapshots_to_keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(keep);
        let until_ms = now_ms.saturating_sub(named.max_snapshot_age_ms.unwrap_or(age));
        let (mut next, mut count) = (Some(named.snapshot_id), 0);
        while let Some(snapshot) = next.and_then(|id| metadata.snapshot_by_id(id)) {
            if count >= keep && snapshot.timestamp_ms() < until_ms {
                break;
            }
            count += 1;
            kept.insert(snapshot.snapshot_id());
            next = snapshot.parent_snapshot_id().filter(|_| count < metadata.snapshots().len());
        }
    }
    kept
}

/// Snapshots that may go: beyond the newest ones, old enough, and needed by no branch or tag but those of `gone`.
fn expired(metadata: &TableMetadata, gone: &[String], now_ms: i64) -> Vec<i64> {
    let (keep, age) = kept_by_default(metadata);
    let mut snapshots: Vec<&SnapshotRef> = metadata.snapshots().collect();
    snapshots.sort_by_key(|s| std::cmp::Reverse(s.sequence_number()));
    let named = named(metadata, gone, now_ms);
    let old = snapshots.iter().skip(keep).rev();
    old.filter(|s| s.timestamp_ms() < now_ms.saturating_sub(age) && !named.contains(&s.snapshot_id()))
        .map(|s| s.snapshot_id())
        .take(EXPIRE_MAX)
        .collect()
}

/// Whether enough snapshots may go to be worth a commit: half as many as stay.
pub fn need(metadata: &TableMetadata, now_ms: i64) -> Option<Need> {
    let (keep, _) = kept_by_default(metadata);
    let worth = (keep / 2).clamp(1, WORTH_MAX);
    // The count alone says no most of the time.
    if metadata.snapshots().len() < keep + worth || !may_delete_files(metadata) {
        return None;
    }
    let old = expired(metadata, &expired_refs(metadata, now_ms), now_ms).len();
    (old >= worth).then(|| Need {
        service: Service::Expire,
        reason: format!("{old} old snapshots (limit {worth})"),
        benefit: old as f64 / worth as f64,
        bytes: 0,
    })
}

/// An expiry that was committed.
#[derive(Debug)]
pub struct Expired {
    /// The table after it.
    pub committed: Committed,
    /// What went.
    pub figures: RunFigures,
}

impl Committer {
    /// Removes old snapshots in one commit, then deletes files that no other snapshot needs and the table owns. `None` if none
    /// may go.
    pub async fn expire(&self, ctx: &RequestContext, base: Base) -> Result<Option<Expired>, JobFault> {
        let before = Arc::clone(base.metadata());
        let now_ms = self.env.clock.now_ms();
        if !may_delete_files(&before) {
            return Ok(None);
        }
        let refs = expired_refs(&before, now_ms);
        let gone = expired(&before, &refs, now_ms);
        if gone.is_empty() {
            return Ok(None);
        }
        let mut updates: Vec<TableUpdate> =
            refs.into_iter().map(|ref_name| TableUpdate::RemoveSnapshotRef { ref_name }).collect();
        let statistics = gone.iter().filter(|id| before.statistics_for_snapshot(**id).is_some());
        updates.extend(statistics.map(|id| TableUpdate::RemoveStatistics { snapshot_id: *id }));
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: gone.clone() });
        let view = self.commit(ctx, &base, RowDelta::default(), updates).await?;
        let mut figures = RunFigures { snapshots_removed: gone.len() as u64, ..RunFigures::default() };
        let gone: HashSet<i64> = gone.into_iter().collect();
        let table = base.name.to_string();
        if let Err(error) =
            self.delete_unreachable(&table, (&before, &view.metadata), &gone, &mut figures).await
        {
            tracing::warn!(%table, %error, "files of old snapshots stay behind");
        }
        Ok(Some(Expired { committed: Committed { view, delete_files: base.delete_files }, figures }))
    }

    async fn delete_unreachable(
        &self,
        table: &str,
        (before, after): (&TableMetadata, &TableMetadata),
        gone: &HashSet<i64>,
        figures: &mut RunFigures,
    ) -> Result<(), LakehouseError> {
        let own = Ownership::of(after);
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
        let mut dead_files: HashMap<String, u64> = HashMap::new();
        for snapshot in before.snapshots().filter(|s| gone.contains(&s.snapshot_id())) {
            let location = snapshot.manifest_list();
            let list = self.loader.manifests().list(table, location, before.format_version()).await?;
            dead_files.insert(location.to_string(), 0);
            for manifest in list.entries() {
                if !kept_manifests.contains(&manifest.manifest_path)
                    && !dead_files.contains_key(&manifest.manifest_path)
                {
                    let bytes = u64::try_from(manifest.manifest_length).unwrap_or(0);
                    dead_files.insert(manifest.manifest_path.clone(), bytes);
                    dead_manifests.push(manifest.clone());
                }
            }
        }
        let mut candidates: HashMap<String, u64> = HashMap::new();
        for manifest in &dead_manifests {
            let paths = self.loader.manifests().paths(table, manifest).await?;
            candidates.extend(paths.alive.iter().chain(&paths.removed).cloned());
        }
        for manifest in &kept {
            if candidates.is_empty() {
                break;
            }
            for (alive, _) in &self.loader.manifests().paths(table, manifest).await?.alive {
                candidates.remove(alive);
            }
        }
        let statistics = gone.iter().filter_map(|id| before.statistics_for_snapshot(*id));
        let statistics = statistics
            .map(|file| (file.statistics_path.clone(), u64::try_from(file.file_size_in_bytes).unwrap_or(0)));
        for (file, bytes) in dead_files.into_iter().chain(candidates).chain(statistics) {
            // Files that were registered where they lay are somebody else's.
            if own.may_delete(&file) {
                self.catalog.warehouse().delete(&file).await?;
                figures.files_removed += 1;
                figures.bytes_freed += bytes;
            }
        }
        Ok(())
    }
}

/// Deletes metadata files that fell out of the metadata log with a commit.
pub async fn delete_old_metadata(warehouse: &Warehouse, before: &TableMetadata, after: &TableMetadata) {
    let kept: HashSet<&str> = after.metadata_log().iter().map(|log| log.metadata_file.as_str()).collect();
    let own = Ownership::of(after);
    let is_gone = |file: &str| !kept.contains(file) && own.may_delete(file);
    for log in before.metadata_log().iter().filter(|log| is_gone(&log.metadata_file)) {
        if let Err(error) = warehouse.delete(&log.metadata_file).await {
            tracing::debug!(file = log.metadata_file, %error, "an old metadata file stays behind");
        }
    }
}
