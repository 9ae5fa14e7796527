//! Tables that come, and the places where they may lie.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{
    FormatVersion, Schema, SortOrder, TableMetadata, TableMetadataBuilder, UnboundPartitionSpec,
};
use iceberg::{MetadataLocation, TableCreation};
use tarn_core::{RequestContext, TableName};
use tarn_meta::RelationKind;

use super::{Catalog, LoadedTable};
use crate::error::LakehouseError;

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

impl Catalog {
    /// Makes a table. Errors: `AlreadyExists`, `NamespaceNotFound`, `BadLocation`, a schema that is not valid.
    pub async fn create_table(
        &self,
        ctx: &RequestContext,
        create: CreateTable,
    ) -> Result<LoadedTable, LakehouseError> {
        self.namespace(ctx, create.name.namespace()).await?;
        let name = create.name.clone();
        self.check_name_is_free(ctx, &name).await?;
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
        self.insert(ctx, RelationKind::Table, &name, &location.to_string()).await?;
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
}
