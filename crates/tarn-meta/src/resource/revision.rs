//! Revisions as the store keeps them: numbered sets of changes, and the state that they add up to.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// What a change does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAction {
    /// It is new.
    Create,
    /// Its spec changes.
    Update,
    /// It goes away.
    Delete,
    /// It stays as it is.
    None,
}

impl ChangeAction {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::None => "none",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::Create, Self::Update, Self::Delete]
            .into_iter()
            .find(|a| a.as_str() == text)
            .unwrap_or(Self::None)
    }
}

/// A resource as it stands in a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResource {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What was declared; secrets are references.
    pub spec: Value,
    /// The file of the project folder that it came from, relative to the folder.
    pub origin: Option<String>,
    /// The revision that last changed it.
    pub revision: u64,
    /// Time of that revision, milliseconds since 1970 UTC.
    pub updated_ms: i64,
    /// Author of that revision.
    pub author: String,
}

/// One change of a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceChange {
    /// Never `None`.
    pub action: ChangeAction,
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The new spec; `None` for a delete.
    pub spec: Option<Value>,
    /// See [`StoredResource::origin`].
    pub origin: Option<String>,
}

/// A revision to add.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// The revision that the changes were made for.
    pub base: u64,
    /// Who applies.
    pub author: String,
    /// Why; may be empty.
    pub message: String,
    /// At least one, each resource once.
    pub changes: Vec<ResourceChange>,
}

/// What a revision did to one resource, without the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionChange {
    /// What happened.
    pub action: ChangeAction,
    /// Kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A stored revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// From 1 without gaps, per tenant.
    pub revision: u64,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who applied it.
    pub author: String,
    /// Why; may be empty.
    pub message: String,
    /// By kind and name.
    pub changes: Vec<RevisionChange>,
}

/// Revisions.
#[async_trait]
pub trait RevisionStore: Send + Sync + std::fmt::Debug {
    /// Number of the newest revision, 0 if there is none.
    async fn current_revision(&self, ctx: &RequestContext) -> Result<u64, MetaError>;

    /// The newest revision and the resources in it, by kind and name.
    async fn resources(&self, ctx: &RequestContext) -> Result<(u64, Vec<StoredResource>), MetaError>;

    /// The resources as they were in a revision, by kind and name; none in revision 0. Errors: `RevisionNotFound`.
    async fn resources_at(
        &self,
        ctx: &RequestContext,
        revision: u64,
    ) -> Result<Vec<StoredResource>, MetaError>;

    /// Adds a revision and returns its number. Errors: `RevisionConflict` unless `base` is the newest.
    async fn append_revision(&self, ctx: &RequestContext, new: &NewRevision) -> Result<u64, MetaError>;

    /// The newest revisions, newest first.
    async fn revisions(&self, ctx: &RequestContext, limit: u32) -> Result<Vec<Revision>, MetaError>;

    /// One revision. Errors: `RevisionNotFound`.
    async fn revision(&self, ctx: &RequestContext, revision: u64) -> Result<Revision, MetaError>;

    /// All specs that a resource ever had, oldest first; `None` where it was deleted.
    async fn resource_history(
        &self,
        ctx: &RequestContext,
        kind: &str,
        name: &str,
    ) -> Result<Vec<Option<Value>>, MetaError>;
}
