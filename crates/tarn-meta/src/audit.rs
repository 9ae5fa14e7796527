//! The stored side of the audit log: numbered rows that can be added but not changed.

use async_trait::async_trait;
use serde::Serialize;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// A row of the audit log. What `body` and `hash` mean is up to `tarn-access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// From 1 without gaps, per tenant.
    pub sequence: u64,
    /// The record as text.
    pub body: String,
    /// Chain hash over the record and the hash before it.
    pub hash: String,
}

/// The end of the audit log, kept apart from its rows so that a cut tail is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditHead {
    /// Number of the last row.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

/// Makes the body and the hash of the row that follows an end: its number and, unless it is the first, the hash
/// before it.
pub type SealAudit<'a> = &'a (dyn Fn(u64, Option<&str>) -> (String, String) + Send + Sync);

/// Append-only rows; the database itself refuses to change or remove them.
#[async_trait]
pub trait AuditStore: Send + Sync + std::fmt::Debug {
    /// The end of the log, `None` while it is empty.
    async fn audit_head(&self, ctx: &RequestContext) -> Result<Option<AuditHead>, MetaError>;

    /// Adds the row that `seal` makes; it is called once the end of the log is fixed, alone within the tenant.
    async fn append_audit(&self, ctx: &RequestContext, seal: SealAudit<'_>) -> Result<AuditRow, MetaError>;

    /// At most `limit` rows after a sequence number, oldest first.
    async fn audit_rows(
        &self,
        ctx: &RequestContext,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, MetaError>;

    /// The newest rows, newest first.
    async fn newest_audit_rows(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<AuditRow>, MetaError>;
}
