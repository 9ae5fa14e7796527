//! `/api/v1/lakehouse`: tables with their files, snapshots and freshness.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::service::Trigger;
use tarn_query::QueryOptions;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiPath, ApiQuery};
use super::identity::{Editor, Viewer};
use super::query::run_json;
use crate::api::{CompactionReport, ErrorBody, Items, QueryResult, TableDetail, TableFile, TableSummary};

const FILES_DEFAULT: usize = 1_000;
const FILES_MAX: usize = 100_000;
const PREVIEW_DEFAULT: u64 = 100;
const PREVIEW_MAX: u64 = 10_000;
/// How long a request waits for a commit; it goes on after that.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(30);

/// What the lakehouse says about a table, and the source that feeds it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WithSource<T> {
    #[serde(flatten)]
    pub table: T,
    source: Option<String>,
}

impl<T> WithSource<T> {
    fn new(app: &App, ctx: &RequestContext, name: &str, topic: Option<&str>, table: T) -> Self {
        let routes = app.state.ingest.routes(ctx);
        let of_table = routes.iter().find(|route| route.lakehouse_table.to_string() == name);
        let source = of_table.map(|route| route.source.to_string());
        // Topics are named `<source>.…`, also those of a source that does not run now.
        let source = source.or_else(|| topic?.split('.').next().map(str::to_string));
        Self { table, source }
    }
}

/// Names a table.
#[derive(Debug, Deserialize)]
struct TablePath {
    namespace: String,
    table: String,
}

impl TablePath {
    fn name(&self) -> Result<TableName, ApiError> {
        Ok(TableName::new(&self.namespace, &self.table)?)
    }
}

#[derive(Debug, Deserialize)]
struct FilesQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct PreviewQuery {
    limit: Option<u64>,
    snapshot: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(files))
        .routes(routes!(preview))
        .routes(routes!(compact))
        .routes(routes!(flush))
}

/// All tables, by name.
pub(super) async fn summaries(
    app: &App,
    ctx: &RequestContext,
) -> Result<Vec<WithSource<tarn_lakehouse::TableSummary>>, ApiError> {
    let tables = app.state.lakehouse.tables(ctx).await?;
    Ok(tables
        .into_iter()
        .map(|table| {
            let (name, topic) = (table.name.clone(), table.topic.clone());
            WithSource::new(app, ctx, &name, topic.as_deref(), table)
        })
        .collect())
}

/// Lists the tables.
#[utoipa::path(get, path = "/lakehouse", tag = "lakehouse",
    responses((status = 200, body = Items<TableSummary>), (status = "default", body = ErrorBody)))]
async fn list(
    State(app): State<App>,
    Viewer(ctx): Viewer,
) -> Result<Json<Items<WithSource<tarn_lakehouse::TableSummary>>>, ApiError> {
    Ok(Json(Items { items: summaries(&app, &ctx).await? }))
}

/// Shows one table.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = TableDetail), (status = "default", body = ErrorBody)))]
async fn detail(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<WithSource<tarn_lakehouse::TableDetail>>, ApiError> {
    Ok(Json(described(&app, &ctx, &path.name()?).await?))
}

async fn described(
    app: &App,
    ctx: &RequestContext,
    name: &TableName,
) -> Result<WithSource<tarn_lakehouse::TableDetail>, ApiError> {
    let table = app.state.lakehouse.table(ctx, name).await?;
    let topic = table.summary.topic.clone();
    Ok(WithSource::new(app, ctx, &name.to_string(), topic.as_deref(), table))
}

/// Lists the files of a table, largest first.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}/files", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<TableFile>), (status = "default", body = ErrorBody)))]
async fn files(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
    ApiQuery(query): ApiQuery<FilesQuery>,
) -> Result<Json<Items<tarn_lakehouse::FileEntry>>, ApiError> {
    let limit = query.limit.unwrap_or(FILES_DEFAULT).min(FILES_MAX);
    Ok(Json(Items { items: app.state.lakehouse.files(&ctx, &path.name()?, limit).await? }))
}

/// Shows some rows of a table, now or at a snapshot.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}/preview", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path), ("limit" = Option<u64>, Query),
        ("snapshot" = Option<String>, Query)),
    responses((status = 200, body = QueryResult), (status = "default", body = ErrorBody)))]
async fn preview(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
    ApiQuery(query): ApiQuery<PreviewQuery>,
) -> Result<Response, ApiError> {
    let name = path.name()?;
    let version = match query.snapshot.as_deref() {
        None => String::new(),
        Some(text) => {
            let id: i64 =
                text.parse().map_err(|_| ApiError::invalid(format!("`{text}` is not a snapshot id")))?;
            format!(" FOR VERSION AS OF {id}")
        }
    };
    // A name that does not exist is told as such, not as an error of SQL.
    if app.catalog().pointer(&ctx, &name).await?.is_none() {
        app.state.lakehouse.view(&ctx, &name).await?;
    }
    let sql = format!("SELECT * FROM {}.{}{version}", quoted(name.namespace()), quoted(name.name()));
    let limit = query.limit.unwrap_or(PREVIEW_DEFAULT).min(PREVIEW_MAX);
    let options = QueryOptions { rows_max: Some(limit), ..QueryOptions::default() };
    run_json(&app, &ctx, &sql, options).await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Commits the rows of a table that are only in memory now, so that other engines see them.
#[utoipa::path(post, path = "/lakehouse/{namespace}/{table}/flush", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = TableDetail), (status = "default", body = ErrorBody)))]
async fn flush(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<WithSource<tarn_lakehouse::TableDetail>>, ApiError> {
    let name = path.name()?;
    app.state.lakehouse.table(&ctx, &name).await?;
    app.state.lakehouse.flush(&ctx, &name, FLUSH_WAIT_MAX).await;
    app.audit(&ctx, "table.flush", &format!("table/{name}")).await;
    Ok(Json(described(&app, &ctx, &name).await?))
}

/// Rewrites small and worn files of a table now.
#[utoipa::path(post, path = "/lakehouse/{namespace}/{table}/compact", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = CompactionReport), (status = "default", body = ErrorBody)))]
async fn compact(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<tarn_lakehouse::Compaction>, ApiError> {
    let name = path.name()?;
    let done = app.state.lakehouse.compact(&ctx, &name, Trigger::Api).await?;
    app.audit(&ctx, "table.compact", &format!("table/{name}")).await;
    Ok(Json(done))
}
