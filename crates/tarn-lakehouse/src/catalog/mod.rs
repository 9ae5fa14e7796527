//! The embedded Iceberg catalog: namespaces and table pointers in the metadata store, metadata files in the warehouse.
//!
//! A commit checks requirements on the newest state, writes the next metadata file under a name of its own, and swaps
//! the pointers of all tables of the commit in one database transaction. The semantics are those of the Iceberg REST
//! catalog specification.

mod change;
mod create;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{TableMetadata, ViewMetadata};
use iceberg::{MetadataLocation, TableRequirement, TableUpdate};
use moka::future::Cache;
use tarn_core::{Env, RequestContext, TableName, nearest};
use tarn_meta::{MetaStore, PointerInsert, PointerSwap, PropertiesUpdate, RelationKind};

use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::service::policy::may_delete_files;

pub use change::TableCommit;
pub use create::CreateTable;
pub use view::{CreateView, LoadedView, ViewRequirement};

/// How often a commit is tried again when others commit first.
const ATTEMPTS_MAX: u32 = 8;
/// Bytes of parsed metadata files kept.
const METADATA_BYTES_MAX: u64 = 128 << 20;
/// Parsed metadata files of views kept.
const VIEWS_MAX: u64 = 2_000;
/// Memory of a table's metadata, and of each snapshot in it with its summary.
const METADATA_BYTES: usize = 16 << 10;
const SNAPSHOT_BYTES: usize = 3 << 10;

/// A table's metadata and where it lies; a staged table has no location yet.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    /// Iceberg metadata.
    pub metadata: Arc<TableMetadata>,
    /// Where the metadata lies.
    pub metadata_location: Option<String>,
}

/// Whether metadata files of a table are JSON as it is.
fn metadata_is_plain(metadata: &TableMetadata) -> bool {
    let codec = metadata.properties().get("write.metadata.compression-codec");
    codec.is_none_or(|codec| codec.is_empty() || codec.eq_ignore_ascii_case("none"))
}

fn wrong_kind(name: &TableName, found: RelationKind, wanted: RelationKind) -> LakehouseError {
    let (found, wanted) = (found.noun(), wanted.noun());
    LakehouseError::WrongKind { name: name.to_string(), found, wanted }
}

/// Namespaces and tables of all tenants.
#[derive(Clone, Debug)]
pub struct Catalog {
    meta: Arc<dyn MetaStore>,
    warehouse: Warehouse,
    env: Env,
    parsed: Cache<String, Arc<TableMetadata>>,
    views: Cache<String, Arc<ViewMetadata>>,
    changed: Arc<tokio::sync::watch::Sender<u64>>,
}

impl Catalog {
    /// A catalog over a metadata store and a warehouse.
    pub fn new(meta: Arc<dyn MetaStore>, warehouse: Warehouse, env: Env) -> Self {
        let parsed = Cache::builder()
            .max_capacity(METADATA_BYTES_MAX)
            .weigher(|_: &String, metadata: &Arc<TableMetadata>| {
                let bytes = METADATA_BYTES + metadata.snapshots().len() * SNAPSHOT_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build();
        let changed = Arc::new(tokio::sync::watch::Sender::new(0));
        let views = Cache::builder().max_capacity(VIEWS_MAX).build();
        Self { meta, warehouse, env, parsed, views, changed }
    }

    /// Where tables lie.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Counts the commits of this process; wakes those who wait for one.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn touched(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// All namespaces, by name.
    pub async fn list_namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, LakehouseError> {
        Ok(self.meta.namespaces(ctx).await?)
    }

    /// Makes a namespace. Errors: `AlreadyExists`; a name that is not one.
    pub async fn create_namespace(
        &self,
        ctx: &RequestContext,
        name: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<(), LakehouseError> {
        TableName::new(name, "t").map_err(|error| LakehouseError::Invalid { what: error.to_string() })?;
        if self.meta.namespace(ctx, name).await?.is_some() {
            return Err(LakehouseError::AlreadyExists { kind: "namespace", name: name.into() });
        }
        self.meta.create_namespace(ctx, name, &properties).await?;
        self.touched();
        Ok(())
    }

    /// Makes a namespace unless it exists.
    pub async fn ensure_namespace(&self, ctx: &RequestContext, name: &str) -> Result<(), LakehouseError> {
        match self.create_namespace(ctx, name, BTreeMap::new()).await {
            Ok(()) | Err(LakehouseError::AlreadyExists { .. }) => Ok(()),
            // Another process made it between the look and the insert.
            Err(error) => match self.meta.namespace(ctx, name).await? {
                Some(_) => Ok(()),
                None => Err(error),
            },
        }
    }

    /// Properties of a namespace. Errors: `NamespaceNotFound`.
    pub async fn namespace(
        &self,
        ctx: &RequestContext,
        name: &str,
    ) -> Result<BTreeMap<String, String>, LakehouseError> {
        let found = self.meta.namespace(ctx, name).await?;
        found.ok_or_else(|| LakehouseError::NamespaceNotFound { namespace: name.into() })
    }

    /// Sets and removes properties of a namespace. Errors: `NamespaceNotFound`.
    pub async fn update_namespace(
        &self,
        ctx: &RequestContext,
        name: &str,
        updates: &BTreeMap<String, String>,
        removals: &[String],
    ) -> Result<PropertiesUpdate, LakehouseError> {
        self.namespace(ctx, name).await?;
        Ok(self.meta.update_namespace(ctx, name, updates, removals).await?)
    }

    /// Removes an empty namespace. Errors: `NamespaceNotFound`, `NamespaceNotEmpty`.
    pub async fn drop_namespace(&self, ctx: &RequestContext, name: &str) -> Result<(), LakehouseError> {
        self.namespace(ctx, name).await?;
        let tables = self.meta.table_pointers(ctx, name).await?.len();
        if tables + self.meta.view_pointers(ctx, name).await?.len() > 0 {
            return Err(LakehouseError::NamespaceNotEmpty { namespace: name.into() });
        }
        self.meta.drop_namespace(ctx, name).await?;
        self.touched();
        Ok(())
    }

    /// Tables of a namespace, by name. Errors: `NamespaceNotFound`.
    pub async fn list_tables(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TableName>, LakehouseError> {
        self.namespace(ctx, namespace).await?;
        let names = self.meta.table_pointers(ctx, namespace).await?;
        Ok(names.iter().filter_map(|pointer| TableName::new(namespace, &pointer.name).ok()).collect())
    }

    /// Tables of all namespaces with where their metadata lies, by name.
    pub async fn all_tables(&self, ctx: &RequestContext) -> Result<Vec<(TableName, String)>, LakehouseError> {
        let pointers = self.meta.all_table_pointers(ctx).await?.into_iter();
        Ok(pointers
            .filter_map(|p| Some((TableName::new(&p.namespace, &p.name).ok()?, p.metadata_location)))
            .collect())
    }

    /// The newest metadata of a table. Errors: `TableNotFound` with the nearest name.
    pub async fn load_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<LoadedTable, LakehouseError> {
        match self.meta.table_pointer(ctx, name.namespace(), name.name()).await? {
            Some(pointer) => self.loaded(name, pointer.metadata_location).await,
            None => Err(self.not_found(ctx, name).await),
        }
    }

    /// Where the newest metadata of a table lies; `None` without such a table.
    pub async fn pointer(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<String>, LakehouseError> {
        Ok(self
            .meta
            .table_pointer(ctx, name.namespace(), name.name())
            .await?
            .map(|pointer| pointer.metadata_location))
    }

    async fn not_found(&self, ctx: &RequestContext, name: &TableName) -> LakehouseError {
        if let Ok(Some(found)) = self.relation(ctx, name).await {
            return wrong_kind(name, found, RelationKind::Table);
        }
        let tables = self.meta.table_pointers(ctx, name.namespace()).await.unwrap_or_default();
        let similar = nearest(name.name(), tables.iter().map(|t| t.name.as_str()));
        let similar = similar.map(|near| format!("{}.{near}", name.namespace()));
        LakehouseError::TableNotFound { table: name.to_string(), similar }
    }

    async fn loaded(&self, name: &TableName, location: String) -> Result<LoadedTable, LakehouseError> {
        if let Some(metadata) = self.parsed.get(&location).await {
            return Ok(LoadedTable { metadata, metadata_location: Some(location) });
        }
        self.warehouse.path(&location)?;
        let read = TableMetadata::read_from(&self.warehouse.file_io(), &location).await;
        let metadata = Arc::new(read.map_err(|source| LakehouseError::Format {
            action: "read the metadata",
            table: name.to_string(),
            source,
        })?);
        self.parsed.insert(location.clone(), Arc::clone(&metadata)).await;
        Ok(LoadedTable { metadata, metadata_location: Some(location) })
    }

    async fn insert(
        &self,
        ctx: &RequestContext,
        kind: RelationKind,
        name: &TableName,
        location: &str,
    ) -> Result<(), LakehouseError> {
        let pointer = PointerInsert {
            kind,
            namespace: name.namespace().into(),
            name: name.name().into(),
            metadata_location: location.into(),
        };
        let outcome = self.meta.swap_pointers(ctx, &[], &[pointer]).await;
        if outcome.is_err() {
            let now = self.meta.relation_pointer(ctx, name.namespace(), name.name()).await?;
            if let Some(now) = now.filter(|now| now.metadata_location != location) {
                let kind = now.kind.noun();
                return Err(LakehouseError::AlreadyExists { kind, name: name.to_string() });
            }
        }
        outcome?;
        self.touched();
        Ok(())
    }

    async fn write_metadata(
        &self,
        name: &TableName,
        metadata: &TableMetadata,
        location: &MetadataLocation,
    ) -> Result<(), LakehouseError> {
        if metadata_is_plain(metadata) {
            let bytes = serde_json::to_vec(metadata).map_err(|error| LakehouseError::Invalid {
                what: format!("metadata of `{name}`: {error}"),
            })?;
            // No writer ever replaces what another may point to.
            self.warehouse.create(&location.to_string(), bytes.into()).await?;
        } else {
            let written = metadata.write_to(&self.warehouse.file_io(), location).await;
            written.map_err(|source| LakehouseError::Format {
                action: "write the metadata",
                table: name.to_string(),
                source,
            })?;
        }
        self.parsed.insert(location.to_string(), Arc::new(metadata.clone())).await;
        Ok(())
    }

    /// Removes a table; `purge` also deletes its files. Errors: `TableNotFound`.
    pub async fn drop_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        purge: bool,
    ) -> Result<(), LakehouseError> {
        let table = self.load_table(ctx, name).await?;
        self.meta.delete_pointer(ctx, RelationKind::Table, name.namespace(), name.name()).await?;
        self.touched();
        let place = format!("{}/", table.metadata.location().trim_end_matches('/'));
        let shared = self.all_tables(ctx).await?.iter().any(|(_, pointer)| pointer.starts_with(&place));
        if shared {
            tracing::warn!(table = %name, "another table has files in its place, so no file is deleted");
        }
        if let Some(pointer) = &table.metadata_location {
            // A file that may be gone is not answered from memory.
            self.parsed.invalidate(pointer).await;
        }
        let may_delete = may_delete_files(&table.metadata);
        if purge && !may_delete {
            tracing::warn!(table = %name, "its property `gc.enabled` is false, so no file is deleted");
        }
        if purge && may_delete && !shared && self.check_home(ctx, table.metadata.location()).is_ok() {
            let deleted = self.warehouse.file_io().delete_prefix(table.metadata.location()).await;
            deleted.map_err(|source| LakehouseError::Format {
                action: "delete the files",
                table: name.to_string(),
                source,
            })?;
        }
        Ok(())
    }

    /// Renames a table, also into another namespace. Errors: `TableNotFound`, `AlreadyExists`, `NamespaceNotFound`.
    pub async fn rename_table(
        &self,
        ctx: &RequestContext,
        from: &TableName,
        to: &TableName,
    ) -> Result<(), LakehouseError> {
        self.load_table(ctx, from).await?;
        self.namespace(ctx, to.namespace()).await?;
        self.check_name_is_free(ctx, to).await?;
        let kind = RelationKind::Table;
        self.meta
            .rename_pointer(ctx, kind, (from.namespace(), from.name()), (to.namespace(), to.name()))
            .await?;
        self.touched();
        Ok(())
    }

    /// Takes over a table by its metadata file. Errors: `AlreadyExists` unless `overwrite`, `BadLocation`.
    pub async fn register_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        metadata_location: &str,
        overwrite: bool,
    ) -> Result<LoadedTable, LakehouseError> {
        self.namespace(ctx, name.namespace()).await?;
        self.check_home(ctx, metadata_location)?;
        let loaded = self.loaded(name, metadata_location.to_string()).await?;
        self.check_home(ctx, loaded.metadata.location())?;
        match self.pointer(ctx, name).await? {
            None => self.insert(ctx, RelationKind::Table, name, metadata_location).await?,
            Some(_) if !overwrite => {
                return Err(LakehouseError::AlreadyExists { kind: "table", name: name.to_string() });
            }
            Some(expected) => {
                let swap = PointerSwap {
                    namespace: name.namespace().into(),
                    name: name.name().into(),
                    expected_location: expected,
                    new_location: metadata_location.into(),
                };
                self.meta.swap_pointers(ctx, &[swap], &[]).await?;
                self.touched();
            }
        }
        Ok(loaded)
    }

    /// Commits changes of one or more tables, all or none. A lost race is tried again while the requirements hold on
    /// the newest state. Errors: `CommitFailed` when a requirement does not hold, `CommitConflict`, `TableNotFound`.
    pub async fn commit(
        &self,
        ctx: &RequestContext,
        commits: Vec<TableCommit>,
    ) -> Result<Vec<LoadedTable>, LakehouseError> {
        change::commit(self, ctx, commits).await
    }

    /// Requirements and updates of one table.
    pub async fn commit_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<LoadedTable, LakehouseError> {
        let mut tables =
            self.commit(ctx, vec![TableCommit { name: name.clone(), requirements, updates }]).await?;
        tables.pop().ok_or_else(|| LakehouseError::Invalid { what: "a commit without tables".into() })
    }
}
