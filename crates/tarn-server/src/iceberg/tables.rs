//! Tables of the Iceberg REST catalog.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use iceberg::spec::{Schema, SortOrder, UnboundPartitionSpec};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::{CreateTable, LoadedTable};

use super::delegation::{Credential, Delegated, delegated};
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, IcebergQuery, Reader, Writer};
use super::names::{TableIdentifier, namespace_to_read, table_to_make, table_to_read};
use super::paging::{PageRequest, page};
use super::{NamespacePath, TablePath};
use crate::http::App;

/// How long the load of a table waits for rows in memory to be committed.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(3);

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TableList {
    identifiers: Vec<TableIdentifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

impl TableList {
    /// A page of names of one namespace.
    pub(super) fn of(namespace: &str, names: Vec<String>, next_page_token: Option<String>) -> Self {
        let identifier = |name| TableIdentifier { namespace: vec![namespace.to_string()], name };
        Self { identifiers: names.into_iter().map(identifier).collect(), next_page_token }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateRequest {
    name: String,
    location: Option<String>,
    schema: Schema,
    partition_spec: Option<UnboundPartitionSpec>,
    write_order: Option<SortOrder>,
    #[serde(default)]
    stage_create: bool,
    #[serde(default)]
    properties: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RegisterRequest {
    name: String,
    metadata_location: String,
    #[serde(default)]
    overwrite: bool,
}

#[derive(Deserialize)]
pub(super) struct RenameRequest {
    pub(super) source: TableIdentifier,
    pub(super) destination: TableIdentifier,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct LoadQuery {
    snapshots: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DropQuery {
    #[serde(default, deserialize_with = "bool_of_any_case")]
    purge_requested: bool,
}

/// PyIceberg writes `True` and `False`.
fn bool_of_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(D::Error::custom(format!("`{text}` is neither `true` nor `false`"))),
    }
}

/// What a client needs to read and write a table.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadTableResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_location: Option<String>,
    metadata: Value,
    // None without keys or signatures: where the bucket is stands in `/v1/config`, and DuckDB takes a table's own
    // settings, which hold no keys, instead of the keys that its user gave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    storage_credentials: Vec<Credential>,
}

impl LoadTableResult {
    fn of(table: &LoadedTable, refs_only: bool, delegated: Delegated) -> Result<Self, IcebergError> {
        Ok(Self {
            metadata_location: table.metadata_location.clone(),
            metadata: metadata_json(table, refs_only)?,
            config: delegated.config,
            storage_credentials: delegated.credentials,
        })
    }
}

/// The metadata as JSON; with `refs_only` only the snapshots that a branch or tag names.
pub(super) fn metadata_json(table: &LoadedTable, refs_only: bool) -> Result<Value, IcebergError> {
    let mut json = serde_json::to_value(table.metadata.as_ref()).map_err(|error| IcebergError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "InternalServerError",
        message: format!("could not write the table's metadata: {error}"),
    })?;
    if refs_only {
        let named: HashSet<i64> = snapshot_ids_of_refs(&json);
        if let Some(Value::Array(snapshots)) = json.get_mut("snapshots") {
            snapshots.retain(|one| {
                one.get("snapshot-id").and_then(Value::as_i64).is_some_and(|id| named.contains(&id))
            });
        }
    }
    Ok(json)
}

fn snapshot_ids_of_refs(metadata: &Value) -> HashSet<i64> {
    let refs = metadata.get("refs").and_then(Value::as_object);
    let of_refs =
        refs.into_iter().flat_map(|refs| refs.values()).filter_map(|one| one.get("snapshot-id")?.as_i64());
    of_refs.chain(metadata.get("current-snapshot-id").and_then(Value::as_i64)).collect()
}

async fn audit(app: &App, ctx: &RequestContext, action: &str, name: &TableName) {
    app.audit(ctx, action, &format!("table/{name}")).await;
}

pub(super) async fn list(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<NamespacePath>,
    IcebergQuery(request): IcebergQuery<PageRequest>,
) -> Result<Json<TableList>, IcebergError> {
    let namespace = namespace_to_read(&path.namespace)?;
    let tables = app.catalog().list_tables(&ctx, namespace).await?;
    let (names, next) = page(tables.iter().map(|table| table.name().to_string()).collect(), &request)?;
    Ok(Json(TableList::of(namespace, names, next)))
}

pub(super) async fn create(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
    headers: HeaderMap,
    IcebergJson(body): IcebergJson<CreateRequest>,
) -> Result<Response, IcebergError> {
    let table = CreateTable {
        name: table_to_make(&path.namespace, &body.name)?,
        schema: body.schema,
        partition_spec: body.partition_spec,
        write_order: body.write_order,
        location: body.location,
        properties: body.properties.unwrap_or_default(),
        stage: body.stage_create,
    };
    // A staged table is made by its first commit.
    let name = table.name.clone();
    let is_made = !table.stage;
    let loaded = app.catalog().create_table(&ctx, table).await?;
    if is_made {
        audit(&app, &ctx, "table.create", &name).await;
    }
    let delegated = delegated(&app, &ctx, &headers, &name, &loaded).await?;
    let body = Json(LoadTableResult::of(&loaded, false, delegated)?);
    // A staged table has no state yet that a client could know.
    Ok(match loaded.metadata_location {
        Some(_) => ([(header::ETAG, entity_tag(&loaded, false))], body).into_response(),
        None => body.into_response(),
    })
}

pub(super) async fn load(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
    IcebergQuery(query): IcebergQuery<LoadQuery>,
    headers: HeaderMap,
) -> Result<Response, IcebergError> {
    let refs_only = match query.snapshots.as_deref() {
        None | Some("all") => false,
        Some("refs") => true,
        Some(other) => {
            return Err(IcebergError::bad_request(format!(
                "snapshots=`{other}` is unknown; use all or refs"
            )));
        }
    };
    let name = table_to_read(&path.namespace, &path.table)?;
    // Whoever loads a table sees what our SQL sees.
    app.state.lakehouse.flush(&ctx, &name, LOAD_WAIT_MAX).await;
    let loaded = app.catalog().load_table(&ctx, &name).await?;
    let delegated = delegated(&app, &ctx, &headers, &name, &loaded).await?;
    let tag = entity_tag(&loaded, refs_only);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = |one: &str| one == "*" || one.trim_start_matches("W/") == tag;
    // Keys end, so whoever asks for them gets them.
    if delegated.credentials.is_empty()
        && known.is_some_and(|known| known.split(',').any(|one| is_known(one.trim())))
    {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let body = LoadTableResult::of(&loaded, refs_only, delegated)?;
    Ok(([(header::ETAG, tag)], Json(body)).into_response())
}

/// Equal for equal answers: a metadata file is never written twice.
pub(super) fn entity_tag(table: &LoadedTable, refs_only: bool) -> String {
    let mut hasher = DefaultHasher::new();
    (&table.metadata_location, table.metadata.last_updated_ms(), refs_only).hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

pub(super) async fn exists(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
) -> Result<StatusCode, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    match app.catalog().pointer(&ctx, &name).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(IcebergError::no_table(&name.to_string())),
    }
}

pub(super) async fn delete(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<TablePath>,
    IcebergQuery(query): IcebergQuery<DropQuery>,
) -> Result<StatusCode, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    app.catalog().drop_table(&ctx, &name, query.purge_requested).await?;
    audit(&app, &ctx, "table.delete", &name).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rename(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergJson(body): IcebergJson<RenameRequest>,
) -> Result<StatusCode, IcebergError> {
    let from = body.source.to_read()?;
    let to = body.destination.to_make()?;
    app.catalog().rename_table(&ctx, &from, &to).await?;
    app.audit(&ctx, "table.rename", &format!("table/{from} to table/{to}")).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn register(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<NamespacePath>,
    headers: HeaderMap,
    IcebergJson(body): IcebergJson<RegisterRequest>,
) -> Result<Response, IcebergError> {
    let name = table_to_make(&path.namespace, &body.name)?;
    let loaded = app.catalog().register_table(&ctx, &name, &body.metadata_location, body.overwrite).await?;
    audit(&app, &ctx, "table.register", &name).await;
    let delegated = delegated(&app, &ctx, &headers, &name, &loaded).await?;
    let body = Json(LoadTableResult::of(&loaded, false, delegated)?);
    Ok(([(header::ETAG, entity_tag(&loaded, false))], body).into_response())
}

/// Lets go of a table, whose files stay for the catalog that takes it over. The answer is its last state: a commit
/// that came after it was read would make this one fail.
pub(super) async fn unregister(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<TablePath>,
) -> Result<Json<LoadTableResult>, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    if let Some((topic, _)) = app.state.lakehouse.sink(&ctx, &name) {
        return Err(IcebergError {
            status: StatusCode::CONFLICT,
            kind: "CommitFailedException",
            message: format!("topic `{topic}` feeds table `{name}`; remove its source first (`tarn apply`)"),
        });
    }
    let last = app.catalog().unregister_table(&ctx, &name).await.map_err(IcebergError::of_commit)?;
    audit(&app, &ctx, "table.unregister", &name).await;
    LoadTableResult::of(&last, false, Delegated::default()).map(Json)
}
