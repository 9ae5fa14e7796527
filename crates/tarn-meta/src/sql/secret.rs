//! Sealed secrets in SQL.

use async_trait::async_trait;
use tarn_core::RequestContext;

use super::SqlStore;
use crate::error::MetaError;
use crate::secret::{SealedName, SecretStore};

#[async_trait]
impl SecretStore for SqlStore {
    async fn put_sealed(&self, ctx: &RequestContext, name: &str, sealed: &str) -> Result<(), MetaError> {
        let mut tx = self.write(ctx).await?;
        let now_ms = tx.now_ms();
        tx.execute(
            "INSERT INTO secrets (tenant, name, sealed, updated_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed, updated_ms = excluded.updated_ms",
            &[ctx.tenant.as_str().into(), name.into(), sealed.into(), now_ms.into()],
        )
        .await?;
        tx.commit().await
    }

    async fn sealed(&self, ctx: &RequestContext, name: &str) -> Result<Option<String>, MetaError> {
        let row = self
            .row(
                ctx,
                "SELECT sealed FROM secrets WHERE tenant = $1 AND name = $2",
                &[ctx.tenant.as_str().into(), name.into()],
            )
            .await?;
        row.map(|row| row.text(0)).transpose()
    }

    async fn sealed_names(&self, ctx: &RequestContext) -> Result<Vec<SealedName>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT name, updated_ms FROM secrets WHERE tenant = $1",
                &[ctx.tenant.as_str().into()],
            )
            .await?;
        let mut names = Vec::with_capacity(rows.len());
        for row in &rows {
            names.push(SealedName { name: row.text(0)?, updated_ms: row.int(1)? });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    async fn delete_sealed(&self, ctx: &RequestContext, name: &str) -> Result<bool, MetaError> {
        let mut tx = self.write(ctx).await?;
        let removed = tx
            .execute(
                "DELETE FROM secrets WHERE tenant = $1 AND name = $2",
                &[ctx.tenant.as_str().into(), name.into()],
            )
            .await?;
        tx.commit().await?;
        Ok(removed > 0)
    }
}
