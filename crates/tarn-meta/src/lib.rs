//! What Tarn remembers apart from rows: the metadata store with its two databases, declared resources with their
//! revisions, leases, secrets, and the pointers of the Iceberg catalog.

mod audit;
mod catalog;
mod document;
mod error;
mod lease;
mod resource;
mod secret;
mod sql;
mod store;
mod yaml;

pub use audit::{AuditHead, AuditRow, AuditStore, SealAudit};
pub use catalog::{
    CatalogStore, PointerInsert, PointerSwap, Properties, PropertiesUpdate, RelationKind, TablePointer,
};
pub use document::{Document, DocumentStore, Expected};
pub use error::MetaError;
pub use lease::{Lease, LeaseStore};
pub use resource::*;
pub use secret::{
    KEY_VARIABLE, ResolvedSpec, SealedName, SecretKey, SecretStore, SecretValue, SecretView, Secrets,
};
pub use store::{MetaStore, open};
