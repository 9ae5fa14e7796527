//! Namespaces and table pointers of the Iceberg catalog.
//!
//! The tables `iceberg_tables` and `iceberg_namespace_properties` have the columns of the JDBC and SQL catalogs of
//! other Iceberg libraries; the tenant is the catalog's name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Serialize;
use tarn_core::RequestContext;

use crate::error::MetaError;

/// Properties of a namespace.
pub type Properties = BTreeMap<String, String>;

/// What a pointer leads to. Tables and views of a namespace share one set of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RelationKind {
    /// A table.
    #[default]
    Table,
    /// A view.
    View,
}

impl RelationKind {
    /// As messages write it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
        }
    }
}

/// Where the current metadata of a table or view is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TablePointer {
    /// Table or view.
    pub kind: RelationKind,
    /// The namespace.
    pub namespace: String,
    /// The table's name in it.
    pub name: String,
    /// The current metadata file.
    pub metadata_location: String,
    /// The metadata file before that.
    pub previous_location: Option<String>,
}

/// Moves a pointer from one metadata file to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerSwap {
    /// The namespace.
    pub namespace: String,
    /// The table's name in it.
    pub name: String,
    /// Where the pointer must stand.
    pub expected_location: String,
    /// Where it shall stand.
    pub new_location: String,
}

/// A pointer to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerInsert {
    /// Table or view.
    pub kind: RelationKind,
    /// The namespace; it must exist.
    pub namespace: String,
    /// The table's name in it.
    pub name: String,
    /// Its first metadata file.
    pub metadata_location: String,
}

/// What a change of namespace properties did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PropertiesUpdate {
    /// Keys that were set.
    pub updated: Vec<String>,
    /// Keys that were removed.
    pub removed: Vec<String>,
    /// Keys to remove that were not there.
    pub missing: Vec<String>,
}

/// The Iceberg catalog's state.
#[async_trait]
pub trait CatalogStore: Send + Sync + std::fmt::Debug {
    /// Makes a namespace. Errors: `NamespaceExists`.
    async fn create_namespace(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        properties: &Properties,
    ) -> Result<(), MetaError>;

    /// Properties of a namespace, `None` if there is no such namespace.
    async fn namespace(&self, ctx: &RequestContext, namespace: &str)
    -> Result<Option<Properties>, MetaError>;

    /// Names of all namespaces, sorted.
    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, MetaError>;

    /// Sets and removes properties. Errors: `NamespaceNotFound`.
    async fn update_namespace(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        updates: &Properties,
        removals: &[String],
    ) -> Result<PropertiesUpdate, MetaError>;

    /// Removes an empty namespace. Errors: `NamespaceNotFound`, `NamespaceNotEmpty`.
    async fn drop_namespace(&self, ctx: &RequestContext, namespace: &str) -> Result<(), MetaError>;

    /// Tables of a namespace, by name; empty if there is no such namespace.
    async fn table_pointers(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TablePointer>, MetaError>;

    /// Views of a namespace, by name; empty if there is no such namespace.
    async fn view_pointers(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TablePointer>, MetaError>;

    /// Tables of all namespaces, by namespace and name.
    async fn all_table_pointers(&self, ctx: &RequestContext) -> Result<Vec<TablePointer>, MetaError>;

    /// The table or view of a name.
    async fn relation_pointer(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
    ) -> Result<Option<TablePointer>, MetaError>;

    /// One table.
    async fn table_pointer(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
    ) -> Result<Option<TablePointer>, MetaError>;

    /// Moves and adds pointers, all or none. Errors: `PointerConflict` when one does not stand where expected,
    /// `TableNotFound`, `TableExists`, `NamespaceNotFound`.
    async fn swap_pointers(
        &self,
        ctx: &RequestContext,
        swaps: &[PointerSwap],
        inserts: &[PointerInsert],
    ) -> Result<(), MetaError>;

    /// Removes a table or view and returns its last pointer. Errors: `TableNotFound`, `ViewNotFound`.
    async fn delete_pointer(
        &self,
        ctx: &RequestContext,
        kind: RelationKind,
        namespace: &str,
        name: &str,
    ) -> Result<TablePointer, MetaError>;

    /// Removes a table whose pointer stands at `location`; returns whether it stood there. Errors: those of the
    /// database.
    async fn delete_pointer_at(
        &self,
        ctx: &RequestContext,
        namespace: &str,
        name: &str,
        location: &str,
    ) -> Result<bool, MetaError>;

    /// Gives a table or view, (namespace, name), another name or namespace. Errors: `TableNotFound`, `ViewNotFound`,
    /// `TableExists`, `NamespaceNotFound`.
    async fn rename_pointer(
        &self,
        ctx: &RequestContext,
        kind: RelationKind,
        from: (&str, &str),
        to: (&str, &str),
    ) -> Result<(), MetaError>;
}
