//! Views: metadata files of the Iceberg view specification, pointed to beside the tables of their namespace.
//!
//! What a view says in SQL is the business of whoever plans it; here it is text with the name of its dialect.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::ViewUpdate;
use iceberg::spec::{Schema, ViewFormatVersion, ViewMetadata, ViewMetadataBuilder, ViewVersion};
use serde::{Deserialize, Serialize};
use tarn_core::{Fault, FaultKind, RequestContext, TableName, nearest};
use tarn_meta::{DocumentStore, MetaError, PointerSwap, RelationKind};
use uuid::Uuid;

use super::{ATTEMPTS_MAX, Catalog, LoadedTable, wrong_kind};
use crate::error::LakehouseError;

/// A view's metadata and where it lies.
#[derive(Clone, Debug)]
pub struct LoadedView {
    /// Iceberg metadata of the view.
    pub metadata: Arc<ViewMetadata>,
    /// Where the metadata lies.
    pub metadata_location: String,
}

/// What a view is made with.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// Its name.
    pub name: TableName,
    /// Its columns.
    pub schema: Schema,
    /// What it says, with the namespace that names without one mean.
    pub version: ViewVersion,
    /// Where its metadata lies; below the warehouse, with a name of its own by default.
    pub location: Option<String>,
    /// View properties, such as `comment`.
    pub properties: HashMap<String, String>,
}

/// What must hold for a change of a view (REST catalog specification, `ViewRequirement`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ViewRequirement {
    /// It is still the view that the change was made for.
    AssertViewUuid {
        /// The view's id.
        uuid: Uuid,
    },
}

fn invalid(error: &iceberg::Error) -> LakehouseError {
    LakehouseError::Invalid { what: error.message().replace('\n', " ") }
}

fn apply(builder: ViewMetadataBuilder, update: ViewUpdate) -> Result<ViewMetadataBuilder, LakehouseError> {
    let applied = match update {
        ViewUpdate::AssignUuid { uuid } => Ok(builder.assign_uuid(uuid)),
        ViewUpdate::UpgradeFormatVersion { format_version } => builder.upgrade_format_version(format_version),
        ViewUpdate::AddSchema { schema, .. } => Ok(builder.add_schema(schema)),
        ViewUpdate::SetLocation { location } => Ok(builder.set_location(location)),
        ViewUpdate::SetProperties { updates } => builder.set_properties(updates),
        ViewUpdate::RemoveProperties { removals } => Ok(builder.remove_properties(&removals)),
        ViewUpdate::AddViewVersion { view_version } => builder.add_version(view_version),
        ViewUpdate::SetCurrentViewVersion { view_version_id } => {
            builder.set_current_version_id(view_version_id)
        }
    };
    applied.map_err(|error| invalid(&error))
}

impl Catalog {
    /// Small documents about tables, in the metadata store that the pointers are in.
    pub fn documents(&self) -> &dyn DocumentStore {
        self.meta.as_ref()
    }

    /// Lets go of a table and gives its last state; its files stay. A commit meanwhile is waited out. Errors:
    /// `TableNotFound`, `CommitConflict`.
    pub async fn unregister_table(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<LoadedTable, LakehouseError> {
        for _ in 0..ATTEMPTS_MAX {
            let last = self.load_table(ctx, name).await?;
            let expected = last.metadata_location.clone().unwrap_or_default();
            if self.meta.delete_pointer_at(ctx, name.namespace(), name.name(), &expected).await? {
                self.touched();
                return Ok(last);
            }
        }
        Err(LakehouseError::CommitConflict { table: name.to_string(), attempts: ATTEMPTS_MAX })
    }

    /// What a name of a namespace stands for. Errors: those of the metadata store.
    pub async fn relation(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<RelationKind>, LakehouseError> {
        let found = self.meta.relation_pointer(ctx, name.namespace(), name.name()).await?;
        Ok(found.map(|pointer| pointer.kind))
    }

    /// Errors: `AlreadyExists`, whether a table or a view has the name.
    pub(super) async fn check_name_is_free(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<(), LakehouseError> {
        match self.relation(ctx, name).await? {
            None => Ok(()),
            Some(kind) => Err(LakehouseError::AlreadyExists { kind: kind.noun(), name: name.to_string() }),
        }
    }

    /// Views of a namespace, by name. Errors: `NamespaceNotFound`.
    pub async fn list_views(
        &self,
        ctx: &RequestContext,
        namespace: &str,
    ) -> Result<Vec<TableName>, LakehouseError> {
        self.namespace(ctx, namespace).await?;
        let names = self.meta.view_pointers(ctx, namespace).await?;
        Ok(names.iter().filter_map(|pointer| TableName::new(namespace, &pointer.name).ok()).collect())
    }

    /// The newest metadata of a view. Errors: `ViewNotFound` with the nearest name, `WrongKind`.
    pub async fn load_view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<LoadedView, LakehouseError> {
        match self.meta.relation_pointer(ctx, name.namespace(), name.name()).await? {
            Some(pointer) if pointer.kind == RelationKind::View => {
                self.loaded_view(name, pointer.metadata_location).await
            }
            Some(pointer) => Err(wrong_kind(name, pointer.kind, RelationKind::View)),
            None => {
                let known = self.meta.view_pointers(ctx, name.namespace()).await?;
                let similar = nearest(name.name(), known.iter().map(|view| view.name.as_str()));
                let similar = similar.map(|near| format!("{}.{near}", name.namespace()));
                Err(LakehouseError::ViewNotFound { view: name.to_string(), similar })
            }
        }
    }

    async fn loaded_view(
        &self,
        name: &TableName,
        metadata_location: String,
    ) -> Result<LoadedView, LakehouseError> {
        if let Some(metadata) = self.views.get(&metadata_location).await {
            return Ok(LoadedView { metadata, metadata_location });
        }
        let bytes = self.warehouse.read(&metadata_location).await?;
        let parsed: ViewMetadata =
            serde_json::from_slice(&bytes).map_err(|error| LakehouseError::Format {
                action: "read the metadata",
                table: name.to_string(),
                source: iceberg::Error::new(iceberg::ErrorKind::DataInvalid, error.to_string()),
            })?;
        let metadata = Arc::new(parsed);
        self.views.insert(metadata_location.clone(), Arc::clone(&metadata)).await;
        Ok(LoadedView { metadata, metadata_location })
    }

    /// Makes a view. Errors: `AlreadyExists`, `NamespaceNotFound`, `BadLocation`, a version that is not valid.
    pub async fn create_view(
        &self,
        ctx: &RequestContext,
        create: CreateView,
    ) -> Result<LoadedView, LakehouseError> {
        let name = create.name;
        self.namespace(ctx, name.namespace()).await?;
        self.check_name_is_free(ctx, &name).await?;
        let location = match create.location {
            Some(location) => {
                self.check_home(ctx, &location)?;
                location.trim_end_matches('/').to_string()
            }
            None => {
                let unique = &self.env.entropy.uuid().simple().to_string()[..12];
                let (namespace, own) = (name.namespace(), name.name());
                format!("{}/{}/{namespace}/{own}-{unique}", self.warehouse.url(), ctx.tenant)
            }
        };
        if create.version.representations().is_empty() {
            let what = format!("view `{name}` has no representation; give its SQL with a dialect");
            return Err(LakehouseError::Invalid { what });
        }
        let version = create.version.with_version_id(1);
        let (schema, properties) = (create.schema, create.properties);
        let built = ViewMetadataBuilder::new(location, schema, version, ViewFormatVersion::V1, properties)
            .and_then(ViewMetadataBuilder::build)
            .map_err(|error| invalid(&error))?;
        let view = self.write_view(built.metadata, None).await?;
        if let Err(error) = self.insert(ctx, RelationKind::View, &name, &view.metadata_location).await {
            self.discard_view(&view).await;
            return Err(error);
        }
        Ok(view)
    }

    async fn write_view(
        &self,
        metadata: ViewMetadata,
        before: Option<&str>,
    ) -> Result<LoadedView, LakehouseError> {
        let number = before.map_or(0, |location| version_of(location) + 1);
        let unique = self.env.entropy.uuid();
        let metadata_location =
            format!("{}/metadata/{number:05}-{unique}.metadata.json", metadata.location());
        let bytes = serde_json::to_vec(&metadata)
            .map_err(|error| LakehouseError::Invalid { what: format!("metadata of a view: {error}") })?;
        self.warehouse.create(&metadata_location, Bytes::from(bytes)).await?;
        let metadata = Arc::new(metadata);
        self.views.insert(metadata_location.clone(), Arc::clone(&metadata)).await;
        Ok(LoadedView { metadata, metadata_location })
    }

    async fn discard_view(&self, view: &LoadedView) {
        self.views.invalidate(&view.metadata_location).await;
        if let Err(error) = self.warehouse.delete(&view.metadata_location).await {
            tracing::debug!(location = view.metadata_location, %error, "metadata of a lost change stays behind");
        }
    }

    /// Changes a view. A lost race is tried again while the requirements hold on the newest state. Errors:
    /// `ViewNotFound`, `CommitFailed` when a requirement does not hold, `CommitConflict`, updates that do not fit.
    pub async fn commit_view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        requirements: &[ViewRequirement],
        updates: &[ViewUpdate],
    ) -> Result<LoadedView, LakehouseError> {
        for _ in 0..ATTEMPTS_MAX {
            let base = self.load_view(ctx, name).await?;
            for ViewRequirement::AssertViewUuid { uuid } in requirements {
                if *uuid != base.metadata.uuid() {
                    let what = format!("the view's id is {}, not {uuid}", base.metadata.uuid());
                    return Err(LakehouseError::CommitFailed { table: name.to_string(), what });
                }
            }
            let mut builder = base.metadata.as_ref().clone().into_builder();
            for update in updates {
                if let ViewUpdate::SetLocation { location } = update {
                    self.check_home(ctx, location)?;
                }
                builder = apply(builder, update.clone())?;
            }
            let built = builder.build().map_err(|error| invalid(&error))?;
            let next = self.write_view(built.metadata, Some(&base.metadata_location)).await?;
            let swap = PointerSwap {
                namespace: name.namespace().into(),
                name: name.name().into(),
                expected_location: base.metadata_location.clone(),
                new_location: next.metadata_location.clone(),
            };
            match self.meta.swap_pointers(ctx, &[swap], &[]).await {
                Ok(()) => {
                    self.views.invalidate(&base.metadata_location).await;
                    self.touched();
                    return Ok(next);
                }
                Err(error) => {
                    let now = self.meta.relation_pointer(ctx, name.namespace(), name.name()).await?;
                    if now.is_some_and(|now| now.metadata_location == next.metadata_location) {
                        // The store failed after it had committed.
                        self.touched();
                        return Ok(next);
                    }
                    self.discard_view(&next).await;
                    match error {
                        error if error.kind() == FaultKind::Conflict => {}
                        // It was dropped meanwhile.
                        MetaError::TableNotFound { .. } => {}
                        error => return Err(error.into()),
                    }
                }
            }
        }
        Err(LakehouseError::CommitConflict { table: name.to_string(), attempts: ATTEMPTS_MAX })
    }

    /// Removes a view. Its metadata files stay, so that it can be registered again. Errors: `ViewNotFound`, `WrongKind`.
    pub async fn drop_view(&self, ctx: &RequestContext, name: &TableName) -> Result<(), LakehouseError> {
        self.check_is_view(ctx, name).await?;
        self.meta.delete_pointer(ctx, RelationKind::View, name.namespace(), name.name()).await?;
        self.touched();
        Ok(())
    }

    /// Errors: `ViewNotFound`, `WrongKind`. A view whose metadata cannot be read is one, too.
    async fn check_is_view(&self, ctx: &RequestContext, name: &TableName) -> Result<(), LakehouseError> {
        match self.relation(ctx, name).await? {
            Some(RelationKind::View) => Ok(()),
            _ => self.load_view(ctx, name).await.map(drop),
        }
    }

    /// Renames a view, also into another namespace. Errors: `ViewNotFound`, `WrongKind`, `AlreadyExists`,
    /// `NamespaceNotFound`.
    pub async fn rename_view(
        &self,
        ctx: &RequestContext,
        from: &TableName,
        to: &TableName,
    ) -> Result<(), LakehouseError> {
        self.check_is_view(ctx, from).await?;
        self.namespace(ctx, to.namespace()).await?;
        self.check_name_is_free(ctx, to).await?;
        let (old, new) = ((from.namespace(), from.name()), (to.namespace(), to.name()));
        self.meta.rename_pointer(ctx, RelationKind::View, old, new).await?;
        self.touched();
        Ok(())
    }

    /// Takes over a view by its metadata file. Errors: `AlreadyExists`, `NamespaceNotFound`, `BadLocation`.
    pub async fn register_view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        metadata_location: &str,
    ) -> Result<LoadedView, LakehouseError> {
        self.namespace(ctx, name.namespace()).await?;
        self.check_home(ctx, metadata_location)?;
        self.check_name_is_free(ctx, name).await?;
        let view = match self.loaded_view(name, metadata_location.to_string()).await {
            Ok(view) => view,
            Err(error) if matches!(error.kind(), FaultKind::Corrupt | FaultKind::Invalid) => {
                let what = format!("`{metadata_location}` is not the metadata file of a view");
                return Err(LakehouseError::Invalid { what });
            }
            Err(error) => return Err(error),
        };
        self.check_home(ctx, view.metadata.location())?;
        self.insert(ctx, RelationKind::View, name, metadata_location).await?;
        Ok(view)
    }
}

/// The number at the beginning of a metadata file's name.
fn version_of(location: &str) -> u64 {
    let name = location.rsplit('/').next().unwrap_or_default();
    name.split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
