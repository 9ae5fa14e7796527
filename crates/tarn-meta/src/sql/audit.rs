//! The audit log in SQL.

use async_trait::async_trait;
use tarn_core::RequestContext;

use super::{Row, SqlStore};
use crate::audit::{AuditHead, AuditRow, AuditStore, SealAudit};
use crate::error::MetaError;

const HEAD: &str = "SELECT sequence, hash FROM audit_head WHERE tenant = $1";

fn head_of(row: &Row) -> Result<AuditHead, MetaError> {
    Ok(AuditHead { sequence: row.count(0)?, hash: row.text(1)? })
}

fn row_of(row: &Row) -> Result<AuditRow, MetaError> {
    Ok(AuditRow { sequence: row.count(0)?, body: row.text(1)?, hash: row.text(2)? })
}

#[async_trait]
impl AuditStore for SqlStore {
    async fn audit_head(&self, ctx: &RequestContext) -> Result<Option<AuditHead>, MetaError> {
        let row = self.row(ctx, HEAD, &[ctx.tenant.as_str().into()]).await?;
        row.as_ref().map(head_of).transpose()
    }

    async fn append_audit(&self, ctx: &RequestContext, seal: SealAudit<'_>) -> Result<AuditRow, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.write(ctx).await?;
        let head = tx.row(HEAD, &[tenant.into()]).await?;
        let head = head.as_ref().map(head_of).transpose()?;
        let sequence = head.as_ref().map_or(0, |head| head.sequence) + 1;
        let (body, hash) = seal(sequence, head.as_ref().map(|head| head.hash.as_str()));
        let row = AuditRow { sequence, body, hash };
        tx.execute(
            "INSERT INTO audit_log (tenant, sequence, body, hash) VALUES ($1, $2, $3, $4)",
            &[tenant.into(), row.sequence.into(), row.body.as_str().into(), row.hash.as_str().into()],
        )
        .await?;
        tx.execute(
            "INSERT INTO audit_head (tenant, sequence, hash) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
            &[tenant.into(), row.sequence.into(), row.hash.as_str().into()],
        )
        .await?;
        tx.commit().await?;
        Ok(row)
    }

    async fn audit_rows(
        &self,
        ctx: &RequestContext,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT sequence, body, hash FROM audit_log WHERE tenant = $1 AND sequence > $2 \
                 ORDER BY sequence LIMIT $3",
                &[ctx.tenant.as_str().into(), after.into(), i64::from(limit).into()],
            )
            .await?;
        rows.iter().map(row_of).collect()
    }

    async fn newest_audit_rows(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<AuditRow>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT sequence, body, hash FROM audit_log WHERE tenant = $1 ORDER BY sequence DESC LIMIT $2",
                &[ctx.tenant.as_str().into(), i64::from(limit).into()],
            )
            .await?;
        rows.iter().map(row_of).collect()
    }
}
