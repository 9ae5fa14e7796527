//! Who asks, for which tenant, and until when. Every call that touches data takes a `RequestContext`.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// The tenant whose data a call may touch.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The only tenant of an installation that did not declare others.
    pub const DEFAULT: &'static str = "main";

    /// Makes an identifier from a name that was already checked.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a principal may do. Each role includes the ones before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read tables, topics and states.
    Viewer,
    /// Also write data and edit resources.
    Editor,
    /// Also manage users, keys and secrets.
    Admin,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// User or key name; `local` for an installation on loopback without users, `system` for our own tasks.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
}

/// Joins the log lines and spans of one request, 16 bytes as in W3C Trace Context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceId(pub u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A document that the metadata store writes in the transaction in which it changes the catalog for a call: where the
/// document is, the change has come about, whatever happened to the process since.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Space of the document.
    pub space: &'static str,
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: serde_json::Value,
}

/// Identity, trace and deadline of one call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Whose data.
    pub tenant: TenantId,
    /// Who asks.
    pub principal: Principal,
    /// Joins the log lines of this call.
    pub trace: TraceId,
    /// When the caller stops waiting; `None` waits for ever.
    pub deadline: Option<Instant>,
    /// Fires when the caller went away or asked to stop.
    pub cancel: CancellationToken,
    /// Written down with the change of the catalog that the call makes.
    pub receipt: Option<Arc<Receipt>>,
}

impl RequestContext {
    /// A context for the platform's own tasks in a tenant.
    pub fn system(tenant: TenantId, trace: TraceId) -> Self {
        let principal = Principal { name: "system".into(), role: Role::Admin };
        Self { tenant, principal, trace, deadline: None, cancel: CancellationToken::new(), receipt: None }
    }

    /// The same caller with a deadline; an earlier deadline stays.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// Time left at `now`, `None` without a deadline.
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Whether the caller holds at least `role`.
    pub fn allows(&self, role: Role) -> bool {
        self.principal.role >= role
    }
}
