//! Secrets: stored sealed, named in specs, opened only for the connector that needs them.

mod key;
mod service;
mod value;

use async_trait::async_trait;
use tarn_core::RequestContext;

pub use key::{KEY_VARIABLE, SecretKey};
pub use service::{SecretView, Secrets};
pub use value::{ResolvedSpec, SecretValue};

use crate::error::MetaError;

/// A stored secret without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedName {
    /// Its name.
    pub name: String,
    /// When it was set, milliseconds since 1970 UTC.
    pub updated_ms: i64,
}

/// Sealed secrets. What they hold is not known to the store.
#[async_trait]
pub trait SecretStore: Send + Sync + std::fmt::Debug {
    /// Stores or replaces a sealed secret.
    async fn put_sealed(&self, ctx: &RequestContext, name: &str, sealed: &str) -> Result<(), MetaError>;

    /// A sealed secret.
    async fn sealed(&self, ctx: &RequestContext, name: &str) -> Result<Option<String>, MetaError>;

    /// All names, sorted.
    async fn sealed_names(&self, ctx: &RequestContext) -> Result<Vec<SealedName>, MetaError>;

    /// Removes a sealed secret; returns whether there was one.
    async fn delete_sealed(&self, ctx: &RequestContext, name: &str) -> Result<bool, MetaError>;
}
