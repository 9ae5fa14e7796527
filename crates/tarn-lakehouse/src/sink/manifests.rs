//! Manifests are rewritten by partition, so that planning leaves whole ones out: commits put files into manifests as they
//! come, and engines that only append leave one per commit.

use std::sync::Arc;

use iceberg::spec::{ManifestContentType, ManifestFile, TableMetadata};
use tarn_core::RequestContext;

use super::flush::{Base, Committer, JobFault};
use crate::error::LakehouseError;
use crate::service::policy::{number, switch};
use crate::service::{Need, Outcome, RunFigures, Service};
use crate::snapshot::RowDelta;

/// Manifests end at this many bytes; table property `commit.manifest.target-size-bytes`.
const TARGET_BYTES: u64 = 8 << 20;
/// So many small manifests are worth rewriting; table property `commit.manifest.min-count-to-merge`.
const COUNT_MIN: usize = 100;

fn target_bytes(metadata: &TableMetadata) -> u64 {
    number(metadata, "commit.manifest.target-size-bytes").unwrap_or(TARGET_BYTES).max(1_024)
}

/// The manifests that are rewritten together: those of data files.
fn chosen(all: &[ManifestFile]) -> impl Iterator<Item = &ManifestFile> {
    all.iter().filter(|file| file.content == ManifestContentType::Data)
}

impl Committer {
    /// Whether a table has many manifests for what they hold.
    pub(crate) async fn manifests_need(
        &self,
        table: &str,
        metadata: &TableMetadata,
    ) -> Result<Option<Need>, LakehouseError> {
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(None) };
        if !switch(metadata, "commit.manifest-merge.enabled").unwrap_or(true) {
            return Ok(None);
        }
        let list =
            self.loader.manifests().list(table, snapshot.manifest_list(), metadata.format_version()).await?;
        let count = chosen(list.entries()).count();
        let bytes: u64 =
            chosen(list.entries()).map(|file| u64::try_from(file.manifest_length).unwrap_or(0)).sum();
        let limit = number(metadata, "commit.manifest.min-count-to-merge").unwrap_or(COUNT_MIN).max(2);
        let ideal = usize::try_from(bytes / target_bytes(metadata)).unwrap_or(usize::MAX).saturating_add(1);
        Ok((count >= limit && count / 2 >= ideal).then(|| Need {
            service: Service::Manifests,
            reason: format!("{count} manifests where {ideal} would do (limit {limit})"),
            benefit: count as f64 / limit as f64,
            bytes,
        }))
    }

    /// Writes the manifests of data files anew, files of one partition together. `None` if there is no more than one.
    pub(crate) async fn rewrite_manifests(
        &self,
        ctx: &RequestContext,
        base: &Base,
    ) -> Result<Outcome, JobFault> {
        let (metadata, table) = (base.metadata(), base.name.to_string());
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(None) };
        let manifests = self.loader.manifests();
        let list = manifests.list(&table, snapshot.manifest_list(), metadata.format_version()).await?;
        let before = list.entries().len();
        if chosen(list.entries()).count() < 2 {
            return Ok(None);
        }
        let bytes_read =
            chosen(list.entries()).map(|file| u64::try_from(file.manifest_length).unwrap_or(0)).sum();
        let files = base.view.files.len() as u64;
        let delta = RowDelta {
            is_rewrite: true,
            manifest_bytes: Some(target_bytes(metadata)),
            ..RowDelta::default()
        };
        let view = self.commit(ctx, base, delta, Vec::new()).await?;
        let after = Arc::clone(&view.metadata);
        let Some(snapshot) = after.current_snapshot() else { return Ok(None) };
        let list = manifests.list(&table, snapshot.manifest_list(), after.format_version()).await?;
        let written = list.entries().iter().filter(|file| file.added_snapshot_id == snapshot.snapshot_id());
        let figures = RunFigures {
            bytes_read,
            bytes_written: written.map(|file| u64::try_from(file.manifest_length).unwrap_or(0)).sum(),
            files_before: files,
            files_after: view.files.len() as u64,
            manifests_before: before as u64,
            manifests_after: list.entries().len() as u64,
            ..RunFigures::default()
        };
        Ok(Some((figures, Some(snapshot.snapshot_id()))))
    }
}
