//! Leases in SQL.

use std::time::Duration;

use async_trait::async_trait;
use tarn_core::RequestContext;

use super::{Row, SqlStore};
use crate::error::MetaError;
use crate::lease::{Lease, LeaseStore};

fn lease_of(row: &Row) -> Result<Lease, MetaError> {
    Ok(Lease { name: row.text(0)?, holder: row.text(1)?, token: row.count(2)?, expires_ms: row.int(3)? })
}

fn expiry(now_ms: i64, ttl: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait]
impl LeaseStore for SqlStore {
    async fn acquire_lease(
        &self,
        ctx: &RequestContext,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Lease, MetaError> {
        let tenant = ctx.tenant.as_str();
        let mut tx = self.write(ctx).await?;
        let now_ms = tx.shared_now_ms().await?;
        let found = tx
            .row(
                "SELECT name, holder, token, expires_ms FROM leases WHERE tenant = $1 AND name = $2",
                &[tenant.into(), name.into()],
            )
            .await?;
        let found = found.as_ref().map(lease_of).transpose()?;
        if let Some(lease) =
            found.as_ref().filter(|lease| lease.expires_ms > now_ms && lease.holder != holder)
        {
            return Err(MetaError::LeaseHeld {
                name: name.into(),
                holder: lease.holder.clone(),
                expires_ms: lease.expires_ms,
            });
        }
        let lease = Lease {
            name: name.into(),
            holder: holder.into(),
            token: found.map_or(1, |lease| lease.token + 1),
            expires_ms: expiry(now_ms, ttl),
        };
        tx.execute(
            "INSERT INTO leases (tenant, name, holder, token, expires_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, name) DO UPDATE \
             SET holder = excluded.holder, token = excluded.token, expires_ms = excluded.expires_ms",
            &[tenant.into(), name.into(), holder.into(), lease.token.into(), lease.expires_ms.into()],
        )
        .await?;
        tx.commit().await?;
        Ok(lease)
    }

    async fn renew_lease(
        &self,
        ctx: &RequestContext,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<Lease, MetaError> {
        let mut tx = self.write(ctx).await?;
        let now_ms = tx.shared_now_ms().await?;
        let expires_ms = expiry(now_ms, ttl);
        let touched = tx
            .execute(
                "UPDATE leases SET expires_ms = $1 \
                 WHERE tenant = $2 AND name = $3 AND holder = $4 AND token = $5 AND expires_ms > $6",
                &[
                    expires_ms.into(),
                    ctx.tenant.as_str().into(),
                    lease.name.as_str().into(),
                    lease.holder.as_str().into(),
                    lease.token.into(),
                    now_ms.into(),
                ],
            )
            .await?;
        if touched == 0 {
            return Err(MetaError::LeaseLost { name: lease.name.clone() });
        }
        tx.commit().await?;
        Ok(Lease { expires_ms, ..lease.clone() })
    }

    async fn release_lease(&self, ctx: &RequestContext, lease: &Lease) -> Result<(), MetaError> {
        let mut tx = self.write(ctx).await?;
        // The row stays, so that the token goes on growing.
        tx.execute(
            "UPDATE leases SET expires_ms = 0 WHERE tenant = $1 AND name = $2 AND holder = $3 AND token = $4",
            &[
                ctx.tenant.as_str().into(),
                lease.name.as_str().into(),
                lease.holder.as_str().into(),
                lease.token.into(),
            ],
        )
        .await?;
        tx.commit().await
    }

    async fn leases(&self, ctx: &RequestContext) -> Result<Vec<Lease>, MetaError> {
        let mut tx = self.read(ctx).await?;
        let now_ms = tx.shared_now_ms().await?;
        let rows = tx
            .rows(
                "SELECT name, holder, token, expires_ms FROM leases WHERE tenant = $1 AND expires_ms > $2",
                &[ctx.tenant.as_str().into(), now_ms.into()],
            )
            .await?;
        let mut leases = rows.iter().map(lease_of).collect::<Result<Vec<_>, _>>()?;
        leases.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(leases)
    }
}
