//! Branches and tags: names for snapshots, which then stay; and the way back to one.

use std::collections::HashSet;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::{RequestContext, TableName};

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::transaction::{TRANSACTION_PREFIX, retention_of_new};
use crate::write::{TableWriter, base_of};

/// What a name of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefKind {
    /// It moves: what is written to it becomes its next snapshot.
    Branch,
    /// It stays where it is.
    Tag,
}

/// A name of a snapshot.
#[derive(Clone, Debug)]
pub struct TableRef {
    /// The name; the table itself is the branch `main`.
    pub name: String,
    /// Branch or tag.
    pub kind: RefKind,
    /// Where it points.
    pub snapshot_id: i64,
    /// Milliseconds after which it may go.
    pub max_ref_age_ms: Option<i64>,
    /// Snapshots that a branch keeps at least.
    pub min_snapshots_to_keep: Option<i64>,
    /// Age up to which snapshots of a branch stay, milliseconds.
    pub max_snapshot_age_ms: Option<i64>,
}

/// Names of a table's snapshots, by name. The metadata shows them one by one only, so they are read from its JSON form.
pub fn refs(metadata: &TableMetadata) -> Vec<TableRef> {
    let json = serde_json::to_value(metadata).unwrap_or_default();
    let named = json.get("refs").and_then(|refs| refs.as_object());
    let mut all: Vec<TableRef> = named
        .into_iter()
        .flatten()
        .filter_map(|(name, reference)| {
            let number = |key: &str| reference.get(key).and_then(serde_json::Value::as_i64);
            let is_tag = reference.get("type").and_then(serde_json::Value::as_str) == Some("tag");
            Some(TableRef {
                name: name.clone(),
                kind: if is_tag { RefKind::Tag } else { RefKind::Branch },
                snapshot_id: number("snapshot-id")?,
                max_ref_age_ms: number("max-ref-age-ms"),
                min_snapshots_to_keep: number("min-snapshots-to-keep"),
                max_snapshot_age_ms: number("max-snapshot-age-ms"),
            })
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The snapshot of a branch or tag; `None` where there is none of the name.
pub(crate) fn head_of(metadata: &TableMetadata, name: &str) -> Option<i64> {
    refs(metadata).into_iter().find(|known| known.name == name).map(|known| known.snapshot_id)
}

/// The snapshot of a name. Errors: `SnapshotNotFound`.
pub(crate) fn snapshot_of(
    table: &TableName,
    metadata: &TableMetadata,
    name: &str,
) -> Result<i64, LakehouseError> {
    head_of(metadata, name).ok_or_else(|| LakehouseError::SnapshotNotFound {
        table: table.to_string(),
        wanted: format!("named `{name}`"),
    })
}

/// How long the snapshots of a branch stay, as it was set; for a branch that is new, as all of its kind.
pub(crate) fn retention_of(metadata: &TableMetadata, branch: &str) -> SnapshotRetention {
    let known = refs(metadata).into_iter().find(|known| known.name == branch);
    let known = known.filter(|known| known.kind == RefKind::Branch);
    known.map_or(retention_of_new(branch), |known| SnapshotRetention::Branch {
        min_snapshots_to_keep: known.min_snapshots_to_keep.and_then(|number| i32::try_from(number).ok()),
        max_snapshot_age_ms: known.max_snapshot_age_ms,
        max_ref_age_ms: known.max_ref_age_ms,
    })
}

/// The metadata as it were if a branch were the table itself: what works on the newest state of a table works on the
/// branch's. Errors: `SnapshotNotFound`; `Invalid` for a tag.
pub(crate) fn on_branch(
    table: &TableName,
    metadata: &TableMetadata,
    branch: &str,
) -> Result<TableMetadata, LakehouseError> {
    let head = snapshot_of(table, metadata, branch)?;
    if refs(metadata).iter().any(|known| known.name == branch && known.kind == RefKind::Tag) {
        let what = format!("`{branch}` of table `{table}` is a tag, which stays as it is; write to a branch");
        return Err(LakehouseError::Invalid { what });
    }
    let failed =
        |source| LakehouseError::Format { action: "read a branch of", table: table.to_string(), source };
    let reference = SnapshotReference::new(head, SnapshotRetention::branch(None, None, None));
    let builder = metadata.clone().into_builder(None).set_ref(MAIN_BRANCH, reference).map_err(failed)?;
    Ok(builder.build().map_err(failed)?.metadata)
}

/// Snapshots from which the current one came, itself included.
pub(crate) fn ancestors(metadata: &TableMetadata) -> HashSet<i64> {
    ancestors_of(metadata, metadata.current_snapshot_id())
}

/// Snapshots from which a snapshot came, itself included.
pub(crate) fn ancestors_of(metadata: &TableMetadata, snapshot: Option<i64>) -> HashSet<i64> {
    let mut next = snapshot;
    let mut found = HashSet::new();
    while let Some(id) = next.filter(|id| found.insert(*id)) {
        next = metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    }
    found
}

impl Lakehouse {
    /// Begins a change of the rows of a branch; the table itself stays as it is. `creates`: the branch is made from the
    /// table's newest state where it is not there. Errors: as [`Lakehouse::write`], `SnapshotNotFound`, `Invalid` for a tag.
    pub async fn write_branch(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        branch: &str,
        creates: bool,
    ) -> Result<TableWriter, LakehouseError> {
        if branch == MAIN_BRANCH {
            return self.write(ctx, name).await;
        }
        if creates {
            let metadata = self.catalog().load_table(ctx, name).await?.metadata;
            if head_of(&metadata, branch).is_none() {
                match self.create_ref(ctx, name, (RefKind::Branch, branch), None).await {
                    // Somebody else was faster.
                    Ok(())
                    | Err(LakehouseError::AlreadyExists { .. } | LakehouseError::CommitFailed { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.branch_writer(ctx, name, branch, false).await
    }

    /// `makes_branch`: its first commit does, from the table as it is then.
    pub(crate) async fn branch_writer(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        branch: &str,
        makes_branch: bool,
    ) -> Result<TableWriter, LakehouseError> {
        let mut committer = self.upkeep(ctx, name).committer;
        (committer.branch, committer.makes_branch) = (Some(branch.into()), makes_branch);
        let turn = self.turn(ctx, name).lock_owned().await;
        let base = base_of(&committer, ctx, name).await?;
        TableWriter::new(ctx, committer, base, Some(turn), None)
    }

    /// Gives a snapshot a name; the newest without one named. Errors: `AlreadyExists`, `SnapshotNotFound`; `Invalid` for
    /// a name as those of transactions.
    pub async fn create_ref(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        (kind, name): (RefKind, &str),
        snapshot_id: Option<i64>,
    ) -> Result<(), LakehouseError> {
        if name.starts_with(TRANSACTION_PREFIX) {
            let what = format!(
                "names that begin with `{TRANSACTION_PREFIX}` are those of transactions; choose another one"
            );
            return Err(LakehouseError::Invalid { what });
        }
        self.flush(ctx, table, crate::write::FLUSH_WAIT).await;
        let loaded = self.catalog().load_table(ctx, table).await?;
        let metadata = &loaded.metadata;
        if refs(metadata).iter().any(|known| known.name == name) {
            let kind = if kind == RefKind::Tag { "tag" } else { "branch" };
            return Err(LakehouseError::AlreadyExists { kind, name: name.to_string() });
        }
        let missing = |wanted: String| LakehouseError::SnapshotNotFound { table: table.to_string(), wanted };
        let id = snapshot_id.or(metadata.current_snapshot_id());
        let id = id.ok_or_else(|| missing("yet: nothing was written to it".into()))?;
        if metadata.snapshot_by_id(id).is_none() {
            return Err(missing(id.to_string()));
        }
        let retention = match kind {
            RefKind::Branch => SnapshotRetention::branch(None, None, None),
            RefKind::Tag => SnapshotRetention::Tag { max_ref_age_ms: None },
        };
        let reference = SnapshotReference::new(id, retention);
        let update = TableUpdate::SetSnapshotRef { ref_name: name.to_string(), reference };
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: name.to_string(), snapshot_id: None },
        ];
        self.catalog().commit_table(ctx, table, requirements, vec![update]).await.map(drop)
    }

    /// Takes a name away; its snapshot stays as long as others do. Errors: `SnapshotNotFound`, `Invalid` for `main`.
    pub async fn drop_ref(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        name: &str,
    ) -> Result<(), LakehouseError> {
        if name == MAIN_BRANCH {
            let what = format!(
                "`{MAIN_BRANCH}` is table `{table}` itself; drop the table, or go back to a snapshot"
            );
            return Err(LakehouseError::Invalid { what });
        }
        let loaded = self.catalog().load_table(ctx, table).await?;
        snapshot_of(table, &loaded.metadata, name)?;
        let requirements = vec![TableRequirement::UuidMatch { uuid: loaded.metadata.uuid() }];
        let update = TableUpdate::RemoveSnapshotRef { ref_name: name.to_string() };
        self.catalog().commit_table(ctx, table, requirements, vec![update]).await.map(drop)
    }

    /// Goes back to a snapshot from which the table came; later ones stay until they expire. Errors: `SnapshotNotFound`;
    /// `Invalid` where a topic feeds the table, whose rows since then would be missing, or where the snapshot is not one of
    /// its past.
    pub async fn roll_back(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        snapshot_id: i64,
    ) -> Result<(), LakehouseError> {
        if let Some((topic, _)) = self.sink(ctx, table) {
            let what = format!(
                "table `{table}` cannot go back: topic `{topic}` feeds it, and what it brought since then would be \
                 missing; copy the old state by `CREATE TABLE ... AS SELECT ... FOR VERSION AS OF {snapshot_id}`"
            );
            return Err(LakehouseError::Invalid { what });
        }
        let turn = self.turn(ctx, table);
        let _turn = turn.lock().await;
        let loaded = self.catalog().load_table(ctx, table).await?;
        let metadata = &loaded.metadata;
        if metadata.snapshot_by_id(snapshot_id).is_none() {
            let (table, wanted) = (table.to_string(), snapshot_id.to_string());
            return Err(LakehouseError::SnapshotNotFound { table, wanted });
        }
        if !ancestors(metadata).contains(&snapshot_id) {
            let what = format!("snapshot {snapshot_id} is not one from which table `{table}` came");
            return Err(LakehouseError::Invalid { what });
        }
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.into(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ];
        let reference = SnapshotReference::new(snapshot_id, retention_of(metadata, MAIN_BRANCH));
        let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference };
        self.catalog().commit_table(ctx, table, requirements, vec![update]).await.map(drop)
    }

    /// Moves a branch on to where another name points, which came from it: nothing that the branch has is lost. This is how
    /// what was written to a branch and looked at is published. Errors: `SnapshotNotFound`; `Invalid` where the branch went
    /// on by itself meanwhile.
    pub async fn fast_forward(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        branch: &str,
        to: &str,
    ) -> Result<(), LakehouseError> {
        if branch == MAIN_BRANCH {
            self.flush(ctx, table, crate::write::FLUSH_WAIT).await;
        }
        let turn = self.turn(ctx, table);
        let _turn = turn.lock().await;
        let metadata = self.catalog().load_table(ctx, table).await?.metadata;
        let target = snapshot_of(table, &metadata, to)?;
        let known = refs(&metadata).into_iter().find(|known| known.name == branch);
        if known.as_ref().is_some_and(|known| known.kind == RefKind::Tag) {
            let what = format!("`{branch}` of table `{table}` is a tag, which does not move; name a branch");
            return Err(LakehouseError::Invalid { what });
        }
        let now = known.map(|known| known.snapshot_id);
        if now == Some(target) {
            return Ok(());
        }
        if now.is_some_and(|now| !ancestors_of(&metadata, Some(target)).contains(&now)) {
            let what = format!(
                "branch `{branch}` of table `{table}` cannot go on to `{to}`: it was changed after `{to}` was made from it; \
                 make a new branch from its newest state and bring the change there again"
            );
            return Err(LakehouseError::Invalid { what });
        }
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: branch.to_string(), snapshot_id: now },
        ];
        let reference = SnapshotReference::new(target, retention_of(&metadata, branch));
        let update = TableUpdate::SetSnapshotRef { ref_name: branch.to_string(), reference };
        self.catalog().commit_table(ctx, table, requirements, vec![update]).await.map(drop)
    }
}
