//! Views of the Iceberg REST catalog.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use iceberg::ViewUpdate;
use iceberg::spec::{Schema, ViewMetadata, ViewVersion};
use serde::{Deserialize, Serialize};
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::{CreateView, LoadedView, ViewRequirement};

use super::NamespacePath;
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, IcebergQuery, Reader, Writer};
use super::names::{TableIdentifier, namespace_to_read, table_to_make, view_to_read};
use super::paging::{PageRequest, page};
use super::tables::{RenameRequest, TableList};
use crate::http::App;

#[derive(Debug, Deserialize)]
pub(super) struct ViewPath {
    namespace: String,
    view: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateRequest {
    name: String,
    location: Option<String>,
    schema: Schema,
    view_version: ViewVersion,
    #[serde(default)]
    properties: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct CommitRequest {
    identifier: Option<TableIdentifier>,
    #[serde(default)]
    requirements: Vec<ViewRequirement>,
    updates: Vec<ViewUpdate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RegisterRequest {
    name: String,
    metadata_location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadViewResult {
    metadata_location: String,
    metadata: ViewMetadata,
}

impl From<LoadedView> for LoadViewResult {
    fn from(view: LoadedView) -> Self {
        Self { metadata_location: view.metadata_location, metadata: view.metadata.as_ref().clone() }
    }
}

async fn audit(app: &App, ctx: &RequestContext, action: &str, name: &TableName) {
    app.audit(ctx, action, &format!("view/{name}")).await;
}

pub(super) async fn list(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<NamespacePath>,
    IcebergQuery(request): IcebergQuery<PageRequest>,
) -> Result<Json<TableList>, IcebergError> {
    let namespace = namespace_to_read(&path.namespace)?;
    let views = app.catalog().list_views(&ctx, namespace).await?;
    let (names, next) = page(views.iter().map(|view| view.name().to_string()).collect(), &request)?;
    Ok(Json(TableList::of(namespace, names, next)))
}

pub(super) async fn create(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
    IcebergJson(body): IcebergJson<CreateRequest>,
) -> Result<Json<LoadViewResult>, IcebergError> {
    let view = CreateView {
        name: table_to_make(&path.namespace, &body.name)?,
        schema: body.schema,
        version: body.view_version,
        location: body.location,
        properties: body.properties.unwrap_or_default(),
    };
    let name = view.name.clone();
    let made = app.catalog().create_view(&ctx, view).await?;
    audit(&app, &ctx, "view.create", &name).await;
    Ok(Json(made.into()))
}

pub(super) async fn load(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<ViewPath>,
) -> Result<Json<LoadViewResult>, IcebergError> {
    let name = view_to_read(&path.namespace, &path.view)?;
    Ok(Json(app.catalog().load_view(&ctx, &name).await?.into()))
}

pub(super) async fn exists(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<ViewPath>,
) -> Result<StatusCode, IcebergError> {
    let name = view_to_read(&path.namespace, &path.view)?;
    app.catalog().load_view(&ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a view: `CREATE OR REPLACE VIEW`, properties, another version.
pub(super) async fn commit(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<ViewPath>,
    IcebergJson(body): IcebergJson<CommitRequest>,
) -> Result<Json<LoadViewResult>, IcebergError> {
    let name = view_to_read(&path.namespace, &path.view)?;
    if let Some(identifier) = &body.identifier {
        let other = identifier.to_make()?;
        if other != name {
            return Err(IcebergError::bad_request(format!(
                "the path names `{name}`, but the body names `{other}`"
            )));
        }
    }
    let changed = app.catalog().commit_view(&ctx, &name, &body.requirements, &body.updates).await;
    let changed = changed.map_err(IcebergError::of_commit)?;
    audit(&app, &ctx, "view.commit", &name).await;
    Ok(Json(changed.into()))
}

pub(super) async fn delete(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<ViewPath>,
) -> Result<StatusCode, IcebergError> {
    let name = view_to_read(&path.namespace, &path.view)?;
    app.catalog().drop_view(&ctx, &name).await?;
    audit(&app, &ctx, "view.delete", &name).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergJson(body): IcebergJson<RenameRequest>,
) -> Result<StatusCode, IcebergError> {
    let from = body.source.to_read_view()?;
    let to = body.destination.to_make()?;
    app.catalog().rename_view(&ctx, &from, &to).await?;
    app.audit(&ctx, "view.rename", &format!("view/{from} to view/{to}")).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn register(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
    IcebergJson(body): IcebergJson<RegisterRequest>,
) -> Result<Json<LoadViewResult>, IcebergError> {
    let name = table_to_make(&path.namespace, &body.name)?;
    let view = app.catalog().register_view(&ctx, &name, &body.metadata_location).await?;
    audit(&app, &ctx, "view.register", &name).await;
    Ok(Json(view.into()))
}
