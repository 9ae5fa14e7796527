//! Leases: at most one holder of a name at a time, for a while.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// A held lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// What is leased, such as `source/shop`.
    pub name: String,
    /// Who holds it, such as a node's identifier.
    pub holder: String,
    /// Grows with every new holding of this name, so that a late write of an earlier holder can be refused.
    pub token: u64,
    /// Milliseconds since 1970 UTC by the store's clock (the server's, for PostgreSQL).
    pub expires_ms: i64,
}

/// Leases.
#[async_trait]
pub trait LeaseStore: Send + Sync + std::fmt::Debug {
    /// Takes a lease that is free, expired or held by the same holder; the token grows each time.
    /// Errors: `LeaseHeld` names the other holder.
    async fn acquire_lease(
        &self,
        ctx: &RequestContext,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Lease, MetaError>;

    /// Prolongs a lease by `ttl` from now. Errors: `LeaseLost` once it expired or someone else took it.
    async fn renew_lease(
        &self,
        ctx: &RequestContext,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<Lease, MetaError>;

    /// Gives a lease back; a lost one is left alone.
    async fn release_lease(&self, ctx: &RequestContext, lease: &Lease) -> Result<(), MetaError>;

    /// Leases that have not expired, by name.
    async fn leases(&self, ctx: &RequestContext) -> Result<Vec<Lease>, MetaError>;
}
