//! What the Iceberg REST protocol asks of the catalog.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{Schema, SortOrder, TableMetadata, UnboundPartitionSpec};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::{FaultReport, RequestContext, TableName};

/// Why the catalog refused, in the nouns of the protocol.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such namespace.
    #[error("namespace `{0}` does not exist")]
    NamespaceNotFound(String),
    /// A namespace of that name exists.
    #[error("namespace `{0}` already exists")]
    NamespaceExists(String),
    /// It still holds tables.
    #[error("namespace `{0}` is not empty")]
    NamespaceNotEmpty(String),
    /// No such table.
    #[error("table `{0}` does not exist")]
    TableNotFound(String),
    /// A table of that name exists.
    #[error("table `{0}` already exists")]
    TableExists(String),
    /// A requirement does not hold, or another writer won the race for good.
    #[error("commit failed: {0}")]
    CommitFailed(String),
    /// Nobody knows whether the commit took place; the client must look.
    #[error("the outcome of the commit is unknown: {0}")]
    CommitUnknown(String),
    /// Anything else, by its kind.
    #[error("{}", .0.message)]
    Other(FaultReport),
}

/// A table to make.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Its name.
    pub name: TableName,
    /// Its schema; field ids are assigned anew.
    pub schema: Schema,
    /// How it is partitioned; not at all by default.
    pub partition_spec: Option<UnboundPartitionSpec>,
    /// How files are sorted; not at all by default.
    pub write_order: Option<SortOrder>,
    /// Where it lies; the catalog chooses by default.
    pub location: Option<String>,
    /// Its properties.
    pub properties: HashMap<String, String>,
    /// Only answer with the metadata; a later commit with `assert-create` makes the table.
    pub stage: bool,
}

/// A change of one table.
#[derive(Clone, Debug)]
pub struct TableCommit {
    /// Which table.
    pub name: TableName,
    /// What must hold.
    pub requirements: Vec<TableRequirement>,
    /// What to do then.
    pub updates: Vec<TableUpdate>,
}

/// A table as the catalog holds it.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    /// Its metadata.
    pub metadata: Arc<TableMetadata>,
    /// The file with the metadata; `None` for a staged table.
    pub metadata_location: Option<String>,
}

/// What an update of namespace properties did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertiesChanged {
    /// Set.
    pub updated: Vec<String>,
    /// Removed.
    pub removed: Vec<String>,
    /// Asked to be removed, but not there.
    pub missing: Vec<String>,
}

/// The catalog of tables. Everything is seen within the tenant of the context.
#[async_trait]
pub trait CatalogPort: Send + Sync + fmt::Debug {
    /// Namespaces below `parent`, or the top ones. Errors: `NamespaceNotFound` for an unknown parent.
    async fn list_namespaces(&self, ctx: &RequestContext, parent: Option<&str>) -> Result<Vec<String>, CatalogError>;
    /// Makes a namespace. Errors: `NamespaceExists`.
    async fn create_namespace(
        &self,
        ctx: &RequestContext,
        name: &str,
        properties: HashMap<String, String>,
    ) -> Result<(), CatalogError>;
    /// Properties of a namespace. Errors: `NamespaceNotFound`.
    async fn namespace(&self, ctx: &RequestContext, name: &str) -> Result<HashMap<String, String>, CatalogError>;
    /// Changes properties of a namespace. Errors: `NamespaceNotFound`.
    async fn update_namespace(
        &self,
        ctx: &RequestContext,
        name: &str,
        removals: Vec<String>,
        updates: HashMap<String, String>,
    ) -> Result<PropertiesChanged, CatalogError>;
    /// Removes an empty namespace. Errors: `NamespaceNotFound`, `NamespaceNotEmpty`.
    async fn drop_namespace(&self, ctx: &RequestContext, name: &str) -> Result<(), CatalogError>;
    /// Tables of a namespace, by name. Errors: `NamespaceNotFound`.
    async fn list_tables(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, CatalogError>;
    /// Makes a table. Errors: `NamespaceNotFound`, `TableExists`.
    async fn create_table(&self, ctx: &RequestContext, table: CreateTable) -> Result<LoadedTable, CatalogError>;
    /// One table. Errors: `TableNotFound`.
    async fn load_table(&self, ctx: &RequestContext, name: &TableName) -> Result<LoadedTable, CatalogError>;
    /// Whether a table exists.
    async fn table_exists(&self, ctx: &RequestContext, name: &TableName) -> Result<bool, CatalogError>;
    /// Removes a table, and its files when `purge`. Errors: `TableNotFound`.
    async fn drop_table(&self, ctx: &RequestContext, name: &TableName, purge: bool) -> Result<(), CatalogError>;
    /// Renames a table. Errors: `TableNotFound`, `NamespaceNotFound`, `TableExists`.
    async fn rename_table(&self, ctx: &RequestContext, from: &TableName, to: &TableName) -> Result<(), CatalogError>;
    /// Takes over a table by its metadata file. Errors: `TableExists` without `overwrite`, `NamespaceNotFound`.
    async fn register_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        metadata_location: &str,
        overwrite: bool,
    ) -> Result<LoadedTable, CatalogError>;
    /// Changes tables, all or none; results in the order of `commits`. Errors: `TableNotFound`, `CommitFailed`,
    /// `CommitUnknown`.
    async fn commit(&self, ctx: &RequestContext, commits: Vec<TableCommit>) -> Result<Vec<LoadedTable>, CatalogError>;
}
