//! Small JSON documents under a space and a key, changed by compare-and-swap.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// A stored document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// Unique within tenant and space.
    pub key: String,
    /// What was stored.
    pub value: Value,
    /// Changes with every write and is never used twice within a space, also after a delete.
    pub version: u64,
    /// Milliseconds since 1970 UTC.
    pub updated_ms: i64,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Any,
    /// There is no such document.
    Absent,
    /// The document has this version.
    Version(u64),
}

/// Documents of other crates: users, keys, sessions, checkpoints of small things.
#[async_trait]
pub trait DocumentStore: Send + Sync + std::fmt::Debug {
    /// One document.
    async fn document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
    ) -> Result<Option<Document>, MetaError>;

    /// The documents whose key starts with `prefix`, by key.
    async fn documents(
        &self,
        ctx: &RequestContext,
        space: &str,
        prefix: &str,
    ) -> Result<Vec<Document>, MetaError>;

    /// How many documents a space holds.
    async fn count_documents(&self, ctx: &RequestContext, space: &str) -> Result<u64, MetaError>;

    /// Writes a document and returns its new version. Errors: `DocumentConflict`.
    async fn put_document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
        value: &Value,
        expected: Expected,
    ) -> Result<u64, MetaError>;

    /// Removes a document; returns whether there was one. Errors: `DocumentConflict`.
    async fn delete_document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
        expected: Expected,
    ) -> Result<bool, MetaError>;
}
