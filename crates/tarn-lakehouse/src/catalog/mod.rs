//! The embedded Iceberg catalog: namespaces and table pointers in the metadata store, metadata files in the warehouse.
//!
//! A commit checks requirements on the newest state, writes the next metadata file under a name of its own, and swaps
//! the pointers of all tables of the commit in one database transaction. The semantics are those of the Iceberg REST
//! catalog specification.

mod change;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{
    FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec,
};
use iceberg::{MetadataLocation, TableCreation, TableRequirement, TableUpdate};
use moka::future::Cache;
use tarn_core::{Env, RequestContext, TableName, nearest};
use tarn_meta::{MetaStore, PointerInsert, PointerSwap, PropertiesUpdate};

use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::service::policy::may_delete_files;

pub use change::TableCommit;

/// How often a commit is tried again when others commit first.
const ATTEMPTS_MAX: u32 = 8;
/// Bytes of parsed metadata files kept.
const METADATA_BYTES_MAX: u64 = 128 << 20;
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

/// What a table is made with.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Its name.
    pub name: TableName,
    /// Its columns; field ids are given anew.
    pub schema: Schema,
    /// Its partitioning, none by default.
    pub partition_spec: Option<UnboundPartitionSpec>,
    /// Its sort order, none by default.
    pub write_order: Option<SortOrder>,
    /// Where it lies; below the warehouse, with a name of its own by default.
    pub location: Option<String>,
    /// Table properties.
    pub properties: HashMap<String, String>,
    /// Only prepares the metadata; the table exists once its first commit succeeds.
    pub stage: bool,
}

/// Namespaces and tables of all tenants.
#[derive(Clone, Debug)]
pub struct Catalog {
    meta: Arc<dyn MetaStore>,
    warehouse: Warehouse,
    env: Env,
    parsed: Cache<String, Arc<TableMetadata>>,
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
        Self { meta, warehouse, env, parsed, changed }
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
        if !self.meta.table_pointers(ctx, name).await?.is_empty() {
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

    /// Makes a table. Errors: `AlreadyExists`, `NamespaceNotFound`, `BadLocation`, a schema that is not valid.
    pub async fn create_table(
        &self,
        ctx: &RequestContext,
        create: CreateTable,
    ) -> Result<LoadedTable, LakehouseError> {
        self.namespace(ctx, create.name.namespace()).await?;
        let name = create.name.clone();
        if self.pointer(ctx, &name).await?.is_some() {
            return Err(LakehouseError::AlreadyExists { kind: "table", name: name.to_string() });
        }
        let stage = create.stage;
        if let Some(location) = &create.location {
            self.check_free(ctx, location).await?;
        }
        let metadata = self.new_metadata(ctx, create)?;
        if stage {
            return Ok(LoadedTable { metadata: Arc::new(metadata), metadata_location: None });
        }
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        self.write_metadata(&name, &metadata, &location).await?;
        self.insert(ctx, &name, &location.to_string()).await?;
        self.loaded(&name, location.to_string()).await
    }

    /// Whether a location lies among the tables of the caller's tenant. Errors: `BadLocation`.
    pub(crate) fn check_home(&self, ctx: &RequestContext, location: &str) -> Result<(), LakehouseError> {
        let home = format!("{}/{}/", self.warehouse.url().trim_end_matches('/'), ctx.tenant);
        let within = location.strip_prefix(&home).is_some_and(|rest| !rest.trim_matches('/').is_empty());
        match within && self.warehouse.contains(location) {
            true => Ok(()),
            false => Err(LakehouseError::BadLocation { location: location.into(), warehouse: home }),
        }
    }

    /// Whether a location can be a new table's: at home, and neither around nor within the place of another table,
    /// whose files it would share. Errors: `BadLocation`.
    pub(crate) async fn check_free(
        &self,
        ctx: &RequestContext,
        location: &str,
    ) -> Result<(), LakehouseError> {
        self.check_home(ctx, location)?;
        let wanted = format!("{}/", location.trim_end_matches('/'));
        let taken = |pointer: &str| {
            let place = pointer.rsplit_once("/metadata/").map_or(pointer, |(place, _)| place);
            let place = format!("{place}/");
            place.starts_with(&wanted) || wanted.starts_with(&place)
        };
        match self.all_tables(ctx).await?.into_iter().find(|(_, pointer)| taken(pointer)) {
            None => Ok(()),
            Some((table, _)) => Err(LakehouseError::Invalid {
                what: format!(
                    "location `{location}` shares files with table `{table}`; choose another, or none"
                ),
            }),
        }
    }

    async fn insert(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        location: &str,
    ) -> Result<(), LakehouseError> {
        let pointer = PointerInsert {
            namespace: name.namespace().into(),
            name: name.name().into(),
            metadata_location: location.into(),
        };
        let outcome = self.meta.swap_pointers(ctx, &[], &[pointer]).await;
        if outcome.is_err() && self.pointer(ctx, name).await?.is_some_and(|now| now != location) {
            return Err(LakehouseError::AlreadyExists { kind: "table", name: name.to_string() });
        }
        outcome?;
        self.touched();
        Ok(())
    }

    fn new_metadata(
        &self,
        ctx: &RequestContext,
        create: CreateTable,
    ) -> Result<TableMetadata, LakehouseError> {
        let name = create.name;
        let invalid = |error: iceberg::Error| LakehouseError::Invalid { what: error.message().to_string() };
        let location = match create.location {
            Some(location) if self.warehouse.contains(&location) => {
                location.trim_end_matches('/').to_string()
            }
            Some(location) => {
                return Err(LakehouseError::BadLocation { location, warehouse: self.warehouse.url().into() });
            }
            // A name of its own: a table that is dropped and made again does not meet the files of the first one.
            None => {
                let unique = &self.env.entropy.uuid().simple().to_string()[..12];
                format!(
                    "{}/{}/{}/{}-{unique}",
                    self.warehouse.url(),
                    ctx.tenant,
                    name.namespace(),
                    name.name()
                )
            }
        };
        let format_version = match create.properties.get("format-version").map(String::as_str) {
            None | Some("2") => FormatVersion::V2,
            Some("1") => FormatVersion::V1,
            Some("3") => FormatVersion::V3,
            Some(other) => {
                let what = format!("format version `{other}` is not known; use 2");
                return Err(LakehouseError::Invalid { what });
            }
        };
        let mut properties = create.properties;
        properties.remove("format-version");
        for (key, value) in
            [("write.parquet.compression-codec", "zstd"), ("write.delete.mode", "merge-on-read")]
        {
            properties.entry(key.into()).or_insert_with(|| value.into());
        }
        let creation = TableCreation {
            name: name.name().to_string(),
            location: Some(location),
            schema: create.schema,
            partition_spec: create.partition_spec,
            sort_order: create.write_order,
            properties,
            format_version,
        };
        let built = TableMetadataBuilder::from_table_creation(creation).map_err(invalid)?.build();
        Ok(built.map_err(invalid)?.metadata)
    }

    async fn write_metadata(
        &self,
        name: &TableName,
        metadata: &TableMetadata,
        location: &MetadataLocation,
    ) -> Result<(), LakehouseError> {
        let written = metadata.write_to(&self.warehouse.file_io(), location).await;
        written.map_err(|source| LakehouseError::Format {
            action: "write the metadata",
            table: name.to_string(),
            source,
        })?;
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
        self.meta.delete_pointer(ctx, name.namespace(), name.name()).await?;
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
        if self.pointer(ctx, to).await?.is_some() {
            return Err(LakehouseError::AlreadyExists { kind: "table", name: to.to_string() });
        }
        self.meta.rename_pointer(ctx, (from.namespace(), from.name()), (to.namespace(), to.name())).await?;
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
            None => self.insert(ctx, name, metadata_location).await?,
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
