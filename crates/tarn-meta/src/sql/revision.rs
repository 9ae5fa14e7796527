//! Revisions in SQL: every change is kept, and the newest state beside them.

use async_trait::async_trait;
use serde_json::Value;
use tarn_core::RequestContext;

use super::{Row, SqlStore, Tx};
use crate::error::MetaError;
use crate::resource::{
    ChangeAction, NewRevision, ResourceChange, Revision, RevisionChange, RevisionStore, StoredResource,
};

const CURRENT: &str = "SELECT COALESCE(MAX(revision), 0) FROM resource_revisions WHERE tenant = $1";

fn number(row: Option<Row>) -> Result<u64, MetaError> {
    row.map_or(Ok(0), |row| row.count(0))
}

// Columns: kind, name, spec, origin, revision, time, author.
fn resources_of(rows: &[Row]) -> Result<Vec<StoredResource>, MetaError> {
    let mut resources = Vec::with_capacity(rows.len());
    for row in rows {
        let (kind, name) = (row.text(0)?, row.text(1)?);
        resources.push(StoredResource {
            spec: row.json(2, &format!("{kind} `{name}`"))?,
            kind,
            name,
            origin: row.opt_text(3)?,
            revision: row.count(4)?,
            updated_ms: row.int(5)?,
            author: row.text(6)?,
        });
    }
    resources.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    Ok(resources)
}

async fn changes_of(
    tx: &mut Tx,
    tenant: &str,
    low: u64,
    high: u64,
) -> Result<Vec<(u64, RevisionChange)>, MetaError> {
    let rows = tx
        .rows(
            "SELECT revision, action, kind, name FROM resource_changes \
             WHERE tenant = $1 AND revision >= $2 AND revision <= $3",
            &[tenant.into(), low.into(), high.into()],
        )
        .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let action = ChangeAction::parse(&row.text(1)?);
        changes.push((row.count(0)?, RevisionChange { action, kind: row.text(2)?, name: row.text(3)? }));
    }
    changes.sort_by(|(a_revision, a), (b_revision, b)| {
        (b_revision, &a.kind, &a.name).cmp(&(a_revision, &b.kind, &b.name))
    });
    Ok(changes)
}

fn revision_of(row: &Row, changes: &[(u64, RevisionChange)]) -> Result<Revision, MetaError> {
    let revision = row.count(0)?;
    let own =
        changes.iter().filter(|(number, _)| *number == revision).map(|(_, change)| change.clone()).collect();
    Ok(Revision { revision, at_ms: row.int(1)?, author: row.text(2)?, message: row.text(3)?, changes: own })
}

async fn apply_change(
    tx: &mut Tx,
    tenant: &str,
    new: &NewRevision,
    change: &ResourceChange,
) -> Result<(), MetaError> {
    let revision = new.base + 1;
    let spec = change.spec.as_ref().map(Value::to_string);
    let now_ms = tx.now_ms();
    tx.execute(
        "INSERT INTO resource_changes (tenant, revision, kind, name, action, spec, origin) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            tenant.into(),
            revision.into(),
            change.kind.as_str().into(),
            change.name.as_str().into(),
            change.action.as_str().into(),
            spec.clone().into(),
            change.origin.clone().into(),
        ],
    )
    .await?;
    let key = [tenant.into(), change.kind.as_str().into(), change.name.as_str().into()];
    let Some(spec) = spec else {
        tx.execute("DELETE FROM resources WHERE tenant = $1 AND kind = $2 AND name = $3", &key).await?;
        tx.execute("DELETE FROM resource_status WHERE tenant = $1 AND kind = $2 AND name = $3", &key).await?;
        return Ok(());
    };
    let [tenant, kind, name] = key;
    tx.execute(
        "INSERT INTO resources (tenant, kind, name, spec, origin, revision, updated_ms, author) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, kind, name) DO UPDATE \
         SET spec = excluded.spec, origin = excluded.origin, revision = excluded.revision, \
             updated_ms = excluded.updated_ms, author = excluded.author",
        &[
            tenant,
            kind,
            name,
            spec.into(),
            change.origin.clone().into(),
            revision.into(),
            now_ms.into(),
            new.author.as_str().into(),
        ],
    )
    .await?;
    Ok(())
}

#[async_trait]
impl RevisionStore for SqlStore {
    async fn current_revision(&self, ctx: &RequestContext) -> Result<u64, MetaError> {
        number(self.row(ctx, CURRENT, &[ctx.tenant.as_str().into()]).await?)
    }

    async fn resources(&self, ctx: &RequestContext) -> Result<(u64, Vec<StoredResource>), MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.read(ctx).await?;
        let current = number(tx.row(CURRENT, &[tenant.into()]).await?)?;
        let rows = tx
            .rows(
                "SELECT kind, name, spec, origin, revision, updated_ms, author FROM resources WHERE tenant = $1",
                &[tenant.into()],
            )
            .await?;
        Ok((current, resources_of(&rows)?))
    }

    async fn resources_at(
        &self,
        ctx: &RequestContext,
        revision: u64,
    ) -> Result<Vec<StoredResource>, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.read(ctx).await?;
        let current = number(tx.row(CURRENT, &[tenant.into()]).await?)?;
        if revision > current {
            return Err(MetaError::RevisionNotFound { revision, current });
        }
        let rows = tx
            .rows(
                "SELECT c.kind, c.name, c.spec, c.origin, c.revision, r.at_ms, r.author \
                 FROM resource_changes c \
                 JOIN (SELECT kind, name, MAX(revision) AS revision FROM resource_changes \
                       WHERE tenant = $1 AND revision <= $2 GROUP BY kind, name) newest \
                   ON newest.kind = c.kind AND newest.name = c.name AND newest.revision = c.revision \
                 JOIN resource_revisions r ON r.tenant = c.tenant AND r.revision = c.revision \
                 WHERE c.tenant = $1 AND c.spec IS NOT NULL",
                &[tenant.into(), revision.into()],
            )
            .await?;
        resources_of(&rows)
    }

    async fn append_revision(&self, ctx: &RequestContext, new: &NewRevision) -> Result<u64, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.write(ctx).await?;
        let current = number(tx.row(CURRENT, &[tenant.into()]).await?)?;
        if current != new.base {
            return Err(MetaError::RevisionConflict { base: new.base, current });
        }
        let now_ms = tx.now_ms();
        tx.execute(
            "INSERT INTO resource_revisions (tenant, revision, at_ms, author, message) VALUES ($1, $2, $3, $4, $5)",
            &[
                tenant.into(),
                (current + 1).into(),
                now_ms.into(),
                new.author.as_str().into(),
                new.message.as_str().into(),
            ],
        )
        .await?;
        for change in &new.changes {
            apply_change(&mut tx, tenant, new, change).await?;
        }
        tx.commit().await?;
        Ok(current + 1)
    }

    async fn revisions(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<Revision>, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.read(ctx).await?;
        let rows = tx
            .rows(
                "SELECT revision, at_ms, author, message FROM resource_revisions WHERE tenant = $1 \
                 ORDER BY revision DESC LIMIT $2",
                &[tenant.into(), i64::from(limit).into()],
            )
            .await?;
        let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
        let changes = changes_of(&mut tx, tenant, oldest.count(0)?, newest.count(0)?).await?;
        rows.iter().map(|row| revision_of(row, &changes)).collect()
    }

    async fn revision(&self, ctx: &RequestContext, revision: u64) -> Result<Revision, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.read(ctx).await?;
        let row = tx
            .row(
                "SELECT revision, at_ms, author, message FROM resource_revisions WHERE tenant = $1 AND revision = $2",
                &[tenant.into(), revision.into()],
            )
            .await?;
        let Some(row) = row else {
            let current = number(tx.row(CURRENT, &[tenant.into()]).await?)?;
            return Err(MetaError::RevisionNotFound { revision, current });
        };
        let changes = changes_of(&mut tx, tenant, revision, revision).await?;
        revision_of(&row, &changes)
    }

    async fn resource_history(
        &self,
        ctx: &RequestContext,
        kind: &str,
        name: &str,
    ) -> Result<Vec<Option<Value>>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT spec FROM resource_changes WHERE tenant = $1 AND kind = $2 AND name = $3 ORDER BY revision",
                &[ctx.tenant.as_str().into(), kind.into(), name.into()],
            )
            .await?;
        rows.iter().map(|row| row.opt_json(0, &format!("{kind} `{name}`"))).collect()
    }
}
