//! How a declared resource fares in the running server.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// Whether a resource does what was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    /// The newest declaration runs.
    Active,
    /// The newest declaration could not be started; the last good one runs, if there is one.
    Failed,
    /// No server has looked at it yet.
    Pending,
}

impl ResourceState {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::Active, Self::Failed].into_iter().find(|s| s.as_str() == text).unwrap_or(Self::Pending)
    }
}

/// What the server says about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusReport {
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The resource's revision that was tried.
    pub revision: u64,
    /// What came of it.
    pub state: ResourceState,
    /// Why it failed and what to do; `None` when it is active.
    pub message: Option<String>,
}

/// How a resource fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The revision that the state is about.
    pub revision: u64,
    /// What came of it.
    pub state: ResourceState,
    /// Why it failed and what to do.
    pub message: Option<String>,
    /// The revision that runs, `None` if none does.
    pub running_revision: Option<u64>,
    /// The newest revision that was active.
    pub good_revision: Option<u64>,
    /// The spec of that revision; secrets are references.
    #[serde(skip)]
    pub good_spec: Option<Value>,
    /// Milliseconds since 1970 UTC.
    pub updated_ms: i64,
}

/// States of resources. A resource without a report is pending and has none here.
#[async_trait]
pub trait StatusStore: Send + Sync + std::fmt::Debug {
    /// Stores a report. `Active` makes its revision the running and the good one; `Failed` leaves the good one
    /// running; `Pending` changes neither. A report on a resource that was deleted is dropped.
    async fn set_status(&self, ctx: &RequestContext, report: &StatusReport) -> Result<(), MetaError>;

    /// All stored states, by kind and name.
    async fn statuses(&self, ctx: &RequestContext) -> Result<Vec<ResourceStatus>, MetaError>;
}
