//! Changes of several statements and tables that become visible together, or not at all.
//!
//! Until its end a transaction writes to a branch of its own in each table. The end moves all tables on to their branches
//! in one commit of the catalog, so the first of two transactions that change one table wins (snapshot isolation by table;
//! Berenson et al., "A Critique of ANSI SQL Isolation Levels", 1995). What a process that dies leaves behind is a branch
//! that nobody reads, and which expires.

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::{RequestContext, TableName};

use crate::catalog::TableCommit;
use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::refs::{ancestors_of, head_of, refs, retention_of};
use crate::write::TableWriter;

/// With what the names of branches of transactions begin.
pub const TRANSACTION_PREFIX: &str = "transaction-";
/// How long the branch of a transaction stays whose process died, milliseconds.
const LEFT_BEHIND_MS: i64 = 24 * 60 * 60 * 1_000;

/// How long the snapshots of a branch stay that is new.
pub(crate) fn retention_of_new(branch: &str) -> SnapshotRetention {
    let age = branch.starts_with(TRANSACTION_PREFIX).then_some(LEFT_BEHIND_MS);
    SnapshotRetention::branch(None, None, age)
}

/// Whether a transaction is changing a table, or died at it.
pub(crate) fn is_changed_by_a_transaction(metadata: &TableMetadata) -> bool {
    refs(metadata).iter().any(|known| known.name.starts_with(TRANSACTION_PREFIX))
}

fn is(branch: &str, snapshot_id: Option<i64>) -> TableRequirement {
    TableRequirement::RefSnapshotIdMatch { r#ref: branch.to_string(), snapshot_id }
}

impl Lakehouse {
    /// Begins a change of a table within a transaction, whose branch comes with the first commit. Errors: as
    /// [`Lakehouse::write`]; `Invalid` where a topic feeds the table: its rows come meanwhile, and no end would be the first.
    pub async fn write_in_transaction(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        branch: &str,
    ) -> Result<TableWriter, LakehouseError> {
        if let Some((topic, _)) = self.sink(ctx, name) {
            let what = format!(
                "table `{name}` is not changed within a transaction: topic `{topic}` feeds it all the time; \
                 COMMIT first, and change it by a statement of its own"
            );
            return Err(LakehouseError::Invalid { what });
        }
        self.branch_writer(ctx, name, branch, true).await
    }

    /// Ends a transaction: all tables go on to its branch, or none does. Errors: `CommitFailed` where another writer changed
    /// one of them since the transaction did, or where one is gone; then the branches stay.
    pub async fn commit_transaction(
        &self,
        ctx: &RequestContext,
        branch: &str,
        tables: &[TableName],
    ) -> Result<(), LakehouseError> {
        let mut tables: Vec<&TableName> = tables.iter().collect();
        // In one order, so that two ends do not wait for each other.
        tables.sort();
        tables.dedup();
        let turns: Vec<_> = tables.iter().map(|table| self.turn(ctx, table)).collect();
        let mut held = Vec::with_capacity(turns.len());
        for turn in &turns {
            held.push(turn.lock().await);
        }
        let mut commits = Vec::new();
        for table in tables {
            let metadata = self.catalog().load_table(ctx, table).await?.metadata;
            let Some(target) = head_of(&metadata, branch) else { continue };
            let now = metadata.current_snapshot_id();
            if now.is_some_and(|now| !ancestors_of(&metadata, Some(target)).contains(&now)) {
                let what = "it is as it was when this transaction changed it first".to_string();
                return Err(LakehouseError::CommitFailed { table: table.to_string(), what });
            }
            let reference = SnapshotReference::new(target, retention_of(&metadata, MAIN_BRANCH));
            commits.push(TableCommit {
                name: table.clone(),
                requirements: vec![
                    TableRequirement::UuidMatch { uuid: metadata.uuid() },
                    is(MAIN_BRANCH, now),
                    is(branch, Some(target)),
                ],
                updates: vec![
                    TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference },
                    TableUpdate::RemoveSnapshotRef { ref_name: branch.to_string() },
                ],
            });
        }
        match commits.is_empty() {
            true => Ok(()),
            false => self.catalog().commit(ctx, commits).await.map(drop),
        }
    }

    /// How far a transaction is with a table; `None` where it changed nothing yet. Errors: `TableNotFound`.
    pub async fn transaction_head(
        &self,
        ctx: &RequestContext,
        branch: &str,
        table: &TableName,
    ) -> Result<Option<i64>, LakehouseError> {
        let metadata = self.catalog().load_table(ctx, table).await?.metadata;
        Ok(head_of(&metadata, branch))
    }

    /// Takes a transaction back to where it was with a table; `None`: it changed nothing. A table that is gone stays so.
    /// Errors: the store's.
    pub async fn take_back(
        &self,
        ctx: &RequestContext,
        branch: &str,
        table: &TableName,
        head: Option<i64>,
    ) -> Result<(), LakehouseError> {
        let turn = self.turn(ctx, table);
        let _turn = turn.lock().await;
        let metadata = match self.catalog().load_table(ctx, table).await {
            Err(LakehouseError::TableNotFound { .. }) => return Ok(()),
            loaded => loaded?.metadata,
        };
        let now = head_of(&metadata, branch);
        if now == head {
            return Ok(());
        }
        let update = match head {
            None => TableUpdate::RemoveSnapshotRef { ref_name: branch.to_string() },
            Some(head) => TableUpdate::SetSnapshotRef {
                ref_name: branch.to_string(),
                reference: SnapshotReference::new(head, retention_of(&metadata, branch)),
            },
        };
        let requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }, is(branch, now)];
        self.catalog().commit_table(ctx, table, requirements, vec![update]).await.map(drop)
    }
}
