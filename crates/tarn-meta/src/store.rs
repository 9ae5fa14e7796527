//! The port `MetaStore`: one small trait per noun, and how a store is opened.

use std::sync::Arc;

use async_trait::async_trait;
use tarn_core::Env;

use crate::audit::AuditStore;
use crate::catalog::CatalogStore;
use crate::document::DocumentStore;
use crate::error::MetaError;
use crate::lease::LeaseStore;
use crate::resource::{RevisionStore, StatusStore};
use crate::secret::SecretStore;
use crate::sql::SqlStore;

/// Everything that Tarn must remember apart from rows. Each call sees only the tenant of its context; each call is
/// one transaction, durable when it returns.
#[async_trait]
pub trait MetaStore:
    DocumentStore + LeaseStore + CatalogStore + RevisionStore + StatusStore + SecretStore + AuditStore
{
    /// Where the store is, for people: a file path, or a URL without its password.
    fn place(&self) -> &str;

    /// Waits for running calls and gives back all connections; later calls fail as unreachable.
    async fn close(&self);
}

impl dyn MetaStore {
    /// See [`open`].
    pub async fn open(address: &str, env: Env) -> Result<Arc<dyn MetaStore>, MetaError> {
        open(address, env).await
    }
}

/// Opens the store at `sqlite:///path/meta.db`, at a plain file path (SQLite, made if absent), or at
/// `postgres://user:password@host:port/database`, and brings its tables up to date.
///
/// Errors: `InvalidAddress`, `Unreachable`, `LoginRefused`, `DatabaseNotFound`, `Locked`, `Damaged`, `DiskFull`,
/// `NewerSchema`.
pub async fn open(address: &str, env: Env) -> Result<Arc<dyn MetaStore>, MetaError> {
    Ok(Arc::new(SqlStore::open(address, env).await?))
}
