//! States of resources in SQL.

use async_trait::async_trait;
use tarn_core::RequestContext;

use super::{Row, SqlStore};
use crate::error::MetaError;
use crate::resource::{ResourceState, ResourceStatus, StatusReport, StatusStore};

fn status_of(row: &Row) -> Result<ResourceStatus, MetaError> {
    let (kind, name) = (row.text(0)?, row.text(1)?);
    let number =
        |column| Ok::<_, MetaError>(row.opt_int(column)?.and_then(|value| u64::try_from(value).ok()));
    Ok(ResourceStatus {
        good_spec: row.opt_json(8, &format!("{kind} `{name}`"))?,
        kind,
        name,
        state: ResourceState::parse(&row.text(2)?),
        message: row.opt_text(3)?,
        revision: row.count(4)?,
        running_revision: number(5)?,
        good_revision: number(6)?,
        updated_ms: row.int(7)?,
    })
}

#[async_trait]
impl StatusStore for SqlStore {
    async fn set_status(&self, ctx: &RequestContext, report: &StatusReport) -> Result<(), MetaError> {
        let active = (report.state == ResourceState::Active).then_some(report.revision);
        let mut tx = self.write(ctx).await?;
        let now_ms = tx.now_ms();
        tx.execute(
            "INSERT INTO resource_status \
                 (tenant, kind, name, state, message, revision, running_revision, good_revision, updated_ms) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $7, $8 \
             FROM resources WHERE tenant = $1 AND kind = $2 AND name = $3 \
             ON CONFLICT (tenant, kind, name) DO UPDATE SET state = excluded.state, message = excluded.message, \
                 revision = excluded.revision, updated_ms = excluded.updated_ms, \
                 good_revision = COALESCE(excluded.good_revision, resource_status.good_revision), \
                 running_revision = CASE excluded.state \
                     WHEN 'active' THEN excluded.good_revision \
                     WHEN 'failed' THEN resource_status.good_revision \
                     ELSE resource_status.running_revision END",
            &[
                ctx.tenant.as_str().into(),
                report.kind.as_str().into(),
                report.name.as_str().into(),
                report.state.as_str().into(),
                report.message.clone().into(),
                report.revision.into(),
                active.into(),
                now_ms.into(),
            ],
        )
        .await?;
        tx.commit().await
    }

    async fn statuses(&self, ctx: &RequestContext) -> Result<Vec<ResourceStatus>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT s.kind, s.name, s.state, s.message, s.revision, s.running_revision, s.good_revision, \
                        s.updated_ms, \
                        (SELECT c.spec FROM resource_changes c WHERE c.tenant = s.tenant AND c.kind = s.kind \
                         AND c.name = s.name AND c.revision <= s.good_revision ORDER BY c.revision DESC LIMIT 1) \
                 FROM resource_status s WHERE s.tenant = $1",
                &[ctx.tenant.as_str().into()],
            )
            .await?;
        let mut statuses = rows.iter().map(status_of).collect::<Result<Vec<_>, _>>()?;
        statuses.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        Ok(statuses)
    }
}
