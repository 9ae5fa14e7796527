//! `/api/v1/imports`: files of others become tables.

use std::path::{Path as FilePath, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tarn_core::files::FileProblem;
use tarn_ingest::{UPLOAD_SCHEME, upload_folder};
use tarn_lakehouse::import::Import;
use tokio::io::AsyncWriteExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::identity::{Editor, Viewer};
use crate::api::{
    CutoverRequest, ErrorBody, ImportEntry, ImportPreview, ImportProblem, ImportReport, ImportRequest,
    ImportUpload, Items,
};

const PROBLEMS_DEFAULT: usize = 100;
const PROBLEMS_MAX: usize = 100_000;
/// Uploads that nobody imported go after this time.
const UPLOAD_AGE_MAX_MS: i64 = 3 * 24 * 3_600_000;

#[derive(Debug, Deserialize)]
struct LimitQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct UploadQuery {
    name: String,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(start))
        .routes(routes!(upload))
        .routes(routes!(compare))
        .routes(routes!(cut_over))
        .routes(routes!(detail))
        .routes(routes!(problems))
        .routes(routes!(cancel))
        .routes(routes!(resume))
}

/// Lists the imports, newest first.
#[utoipa::path(get, path = "/imports", tag = "imports",
    responses((status = 200, body = Items<ImportEntry>), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<Items<Import>>, ApiError> {
    Ok(Json(Items { items: app.state.imports.list(&ctx).await? }))
}

/// Says what an import would do (`dry_run`), or begins it.
#[utoipa::path(post, path = "/imports", tag = "imports", request_body = ImportRequest,
    responses((status = 200, body = ImportPreview), (status = 202, body = ImportEntry),
        (status = "default", body = ErrorBody)))]
async fn start(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(mut request): ApiJson<Value>,
) -> Result<Response, ApiError> {
    let dry_run = request.as_object_mut().and_then(|request| request.shift_remove("dry_run"));
    let dry_run = match dry_run {
        None => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(ApiError::invalid("`dry_run` is neither true nor false")),
    };
    // What is left out and what is null mean the same.
    if let Some(request) = request.as_object_mut() {
        request.retain(|_, value| !value.is_null());
    }
    if dry_run {
        let plan = app.state.imports.plan(&ctx, &request).await?;
        return Ok(Json(json!({ "plan": plan })).into_response());
    }
    let import = app.state.imports.start(&ctx, &request).await?;
    app.audit(&ctx, "import.start", &format!("table/{}", import.into)).await;
    Ok((StatusCode::ACCEPTED, Json(import)).into_response())
}

/// Compares all rows of files with all rows of a table, by counts and by hashes of each column. Nothing is changed.
#[utoipa::path(post, path = "/imports/compare", tag = "imports", request_body = ImportRequest,
    responses((status = 200, body = ImportReport), (status = "default", body = ErrorBody)))]
async fn compare(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(mut request): ApiJson<Value>,
) -> Result<Json<tarn_lakehouse::import::ImportReport>, ApiError> {
    if let Some(request) = request.as_object_mut() {
        request.shift_remove("dry_run");
        request.retain(|_, value| !value.is_null());
    }
    Ok(Json(app.state.imports.compare(&ctx, &request).await?))
}

/// Begins the cut-over of a table: the last files of the places that were imported or registered come to it, both sides are
/// compared as wholes, and where they are equal, registered files are copied into the warehouse. Listed as an import.
#[utoipa::path(post, path = "/imports/cutover", tag = "imports", request_body = CutoverRequest,
    responses((status = 202, body = ImportEntry), (status = "default", body = ErrorBody)))]
async fn cut_over(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(request): ApiJson<Value>,
) -> Result<Response, ApiError> {
    let import = app.state.imports.cut_over(&ctx, &request).await?;
    app.audit(&ctx, "import.cutover", &format!("table/{}", import.into)).await;
    Ok((StatusCode::ACCEPTED, Json(import)).into_response())
}

/// Shows one import.
#[utoipa::path(get, path = "/imports/{id}", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = ImportEntry), (status = "default", body = ErrorBody)))]
async fn detail(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Import>, ApiError> {
    Ok(Json(app.state.imports.get(&ctx, &id).await?))
}

/// Shows the records that became no rows.
#[utoipa::path(get, path = "/imports/{id}/problems", tag = "imports",
    params(("id" = String, Path), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<ImportProblem>), (status = "default", body = ErrorBody)))]
async fn problems(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<LimitQuery>,
) -> Result<Json<Items<FileProblem>>, ApiError> {
    let limit = query.limit.unwrap_or(PROBLEMS_DEFAULT).min(PROBLEMS_MAX);
    Ok(Json(Items { items: app.state.imports.problems(&ctx, &id, limit).await? }))
}

/// Stops an import; what was committed stays.
#[utoipa::path(post, path = "/imports/{id}/cancel", tag = "imports", params(("id" = String, Path)),
    responses((status = 200, body = ImportEntry), (status = "default", body = ErrorBody)))]
async fn cancel(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Import>, ApiError> {
    let import = app.state.imports.cancel(&ctx, &id).await?;
    app.audit(&ctx, "import.cancel", &format!("table/{}", import.into)).await;
    Ok(Json(import))
}

/// Goes on with an import that failed or was cancelled, behind what is committed.
#[utoipa::path(post, path = "/imports/{id}/resume", tag = "imports", params(("id" = String, Path)),
    responses((status = 202, body = ImportEntry), (status = "default", body = ErrorBody)))]
async fn resume(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(id): ApiPath<String>,
) -> Result<(StatusCode, Json<Import>), ApiError> {
    let import = app.state.imports.resume(&ctx, &id).await?;
    app.audit(&ctx, "import.resume", &format!("table/{}", import.into)).await;
    Ok((StatusCode::ACCEPTED, Json(import)))
}

/// Takes a file to be imported, of at most `server.http.push_bytes_max`; the answer's `path` is what an import names.
/// Uploads that nobody imports go after three days.
#[utoipa::path(post, path = "/imports/uploads", tag = "imports", params(("name" = String, Query)),
    request_body(content_type = "application/octet-stream", description = "The file as it is"),
    responses((status = 200, body = ImportUpload), (status = "default", body = ErrorBody)))]
async fn upload(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiQuery(query): ApiQuery<UploadQuery>,
    body: Body,
) -> Result<Json<ImportUpload>, ApiError> {
    let name = file_name(&query.name)?;
    let home = upload_folder(&app.state.data, &ctx.tenant);
    remove_old(&home, app.env.clock.now_ms());
    let id = app.env.entropy.uuid().simple().to_string();
    let folder = home.join(&id);
    let written = store(&app, &folder, &name, body).await;
    match written {
        Ok(bytes) => Ok(Json(ImportUpload { path: format!("{UPLOAD_SCHEME}{id}/{name}"), bytes })),
        Err(error) => {
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                tracing::debug!(%error, "part of an upload stays until it is old");
            }
            Err(error)
        }
    }
}

/// A name without folders, whose ending says what the file is. Errors: it has none.
fn file_name(name: &str) -> Result<String, ApiError> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ') { c } else { '_' };
    let plain: String = last.chars().map(plain).take(200).collect();
    let plain = plain.trim_start_matches('.').to_string();
    match plain.is_empty() {
        true => Err(ApiError::invalid("`name` is no name of a file").hint("send `?name=sales.csv`")),
        false => Ok(plain),
    }
}

async fn store(app: &App, folder: &FilePath, name: &str, body: Body) -> Result<u64, ApiError> {
    let limit = app.config.http.push_bytes_max.0;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ApiError::exhausted("no room is left for the upload").hint("free disk space on the server")
        }
        _ => ApiError::unavailable(format!("could not keep the upload: {error}")),
    };
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let mut file = tokio::fs::File::create(folder.join(name)).await.map_err(failed)?;
    let mut stream = body.into_data_stream();
    let mut bytes = 0_u64;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| ApiError::invalid(format!("could not read the body: {error}")))?;
        bytes += chunk.len() as u64;
        if bytes > limit {
            return Err(ApiError::too_large(limit, "server.http.push_bytes_max")
                .hint("put the file where the server can read it, or raise `server.http.push_bytes_max`"));
        }
        file.write_all(&chunk).await.map_err(failed)?;
    }
    // An import may go on after a power cut.
    file.sync_all().await.map_err(failed)?;
    match bytes {
        0 => Err(ApiError::invalid("the file is empty")),
        bytes => Ok(bytes),
    }
}

/// Removes uploads that nobody imported in time.
fn remove_old(home: &FilePath, now_ms: i64) {
    let Ok(entries) = std::fs::read_dir(home) else { return };
    let is_old = |path: &PathBuf| {
        let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .is_some_and(|ms| ms < now_ms - UPLOAD_AGE_MAX_MS)
    };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_old) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::debug!(%error, "an old upload stays behind");
        }
    }
}
