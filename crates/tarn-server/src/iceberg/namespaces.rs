//! Namespaces of the Iceberg REST catalog.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use tarn_core::RequestContext;

use super::NamespacePath;
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, IcebergQuery, Reader, Writer};
use super::names::{namespace_to_read, one_level};
use super::paging::{PageRequest, page};
use crate::http::App;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NamespaceList {
    namespaces: Vec<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Namespace {
    namespace: Vec<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct UpdateProperties {
    #[serde(default)]
    removals: Vec<String>,
    #[serde(default)]
    updates: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(super) struct UpdatedProperties {
    updated: Vec<String>,
    removed: Vec<String>,
    missing: Vec<String>,
}

async fn audit(app: &App, ctx: &RequestContext, action: &str, name: &str) {
    app.audit(ctx, action, &format!("namespace/{name}")).await;
}

pub(super) async fn list(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergQuery(request): IcebergQuery<PageRequest>,
) -> Result<Json<NamespaceList>, IcebergError> {
    let names = match request.parent.as_deref().filter(|parent| !parent.is_empty()) {
        Some(parent) => {
            app.catalog().namespace(&ctx, namespace_to_read(parent)?).await?;
            Vec::new()
        }
        None => app.catalog().list_namespaces(&ctx).await?,
    };
    let (names, next_page_token) = page(names, &request)?;
    Ok(Json(NamespaceList { namespaces: names.into_iter().map(|name| [name]).collect(), next_page_token }))
}

pub(super) async fn create(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergJson(body): IcebergJson<Namespace>,
) -> Result<Json<Namespace>, IcebergError> {
    let name = one_level(&body.namespace)?;
    app.catalog().create_namespace(&ctx, name, body.properties.clone()).await?;
    audit(&app, &ctx, "namespace.create", name).await;
    Ok(Json(body))
}

pub(super) async fn get(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<NamespacePath>,
) -> Result<Json<Namespace>, IcebergError> {
    let name = namespace_to_read(&path.namespace)?;
    let properties = app.catalog().namespace(&ctx, name).await?;
    Ok(Json(Namespace { namespace: vec![name.to_string()], properties }))
}

pub(super) async fn exists(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<NamespacePath>,
) -> Result<StatusCode, IcebergError> {
    app.catalog().namespace(&ctx, namespace_to_read(&path.namespace)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
) -> Result<StatusCode, IcebergError> {
    let name = namespace_to_read(&path.namespace)?;
    app.catalog().drop_namespace(&ctx, name).await?;
    audit(&app, &ctx, "namespace.delete", name).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn update_properties(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
    IcebergJson(body): IcebergJson<UpdateProperties>,
) -> Result<Json<UpdatedProperties>, IcebergError> {
    if let Some(key) = body.removals.iter().find(|key| body.updates.contains_key(*key)) {
        let message = format!("property `{key}` cannot be set and removed in one request");
        return Err(IcebergError {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            kind: "UnprocessableEntityException",
            message,
        });
    }
    let name = namespace_to_read(&path.namespace)?;
    let changed = app.catalog().update_namespace(&ctx, name, &body.updates, &body.removals).await?;
    audit(&app, &ctx, "namespace.update", name).await;
    Ok(Json(UpdatedProperties {
        updated: changed.updated,
        removed: changed.removed,
        missing: changed.missing,
    }))
}
