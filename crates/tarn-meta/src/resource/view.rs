//! Resources and revisions as people see them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::revision::{ChangeAction, Revision, RevisionChange, StoredResource};
use super::status::{ResourceState, ResourceStatus};
use crate::yaml;

/// The canonical YAML of a resource: `kind`, `name`, `spec`, always the same text for the same value.
pub fn document_yaml(kind: &str, name: &str, spec: &Value) -> String {
    yaml::emit(&json!({ "kind": kind, "name": name, "spec": spec }))
}

/// Milliseconds since 1970 UTC as ISO 8601.
pub(crate) fn iso_time(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A resource with how it fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceView {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The revision that last changed it.
    pub revision: u64,
    /// Time of that revision, ISO 8601.
    pub updated_at: String,
    /// Author of that revision.
    pub author: String,
    /// How it fares; pending until a server has looked at the newest revision.
    pub state: ResourceState,
    /// Why it failed and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revision that runs.
    pub running_revision: Option<u64>,
    /// Canonical YAML; secrets are references.
    pub yaml: String,
}

impl ResourceView {
    pub(super) fn new(stored: StoredResource, status: Option<&ResourceStatus>) -> Self {
        let known = status.filter(|status| status.revision >= stored.revision);
        Self {
            state: known.map_or(ResourceState::Pending, |status| status.state),
            message: known.and_then(|status| status.message.clone()),
            running_revision: status.and_then(|status| status.running_revision),
            yaml: document_yaml(&stored.kind, &stored.name, &stored.spec),
            kind: stored.kind,
            name: stored.name,
            revision: stored.revision,
            updated_at: iso_time(stored.updated_ms),
            author: stored.author,
        }
    }
}

/// A revision in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: u64,
    /// When it was applied, ISO 8601.
    pub at: String,
    /// By whom.
    pub author: String,
    /// Why; may be empty.
    pub message: String,
    /// What it did.
    pub changes: Vec<RevisionChange>,
}

impl From<Revision> for RevisionView {
    fn from(own: Revision) -> Self {
        let Revision { revision, at_ms, author, message, changes } = own;
        Self { revision, at: iso_time(at_ms), author, message, changes }
    }
}

/// What a revision did to one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeView {
    /// What happened.
    pub action: ChangeAction,
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Unified diff of its YAML.
    pub diff: String,
}

/// A revision with its diffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionDetail {
    /// Its number.
    pub revision: u64,
    /// When it was applied, ISO 8601.
    pub at: String,
    /// By whom.
    pub author: String,
    /// Why; may be empty.
    pub message: String,
    /// What it did.
    pub changes: Vec<ChangeView>,
}
