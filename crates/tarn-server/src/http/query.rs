//! `/api/v1/query`: SQL.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tarn_core::{FaultReport, RequestContext};
use tarn_query::encode::{self, ByteStream};
use tarn_query::{Changes, Completion, QueryError, QueryOptions, QueryRecord, QueryStream};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath};
use super::identity::Viewer;
use crate::api::{
    CompletionList, ErrorBody, Items, QueryEntry, QueryRequest, QueryResult, ResultFormat, TextPosition,
};
use crate::sql::Protocol;

const ROWS_DEFAULT: u64 = 10_000;
/// A JSON result is held in memory until it is complete, so that an error can still be told as one.
const JSON_BYTES_MAX: usize = 256 << 20;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(run, list)).routes(routes!(cancel)).routes(routes!(completion))
}

/// An error of a query with its place in the text.
pub(super) fn query_error(error: &QueryError) -> ApiError {
    let mut told = ApiError::of(FaultReport::of(error));
    told.detail.position = error.position().map(|at| TextPosition { line: at.line, column: at.column });
    // Overload is for the client to wait out; a limit of the query itself is for its author to mend.
    if matches!(error, QueryError::TimedOut { .. } | QueryError::MemoryExhausted { .. }) {
        told.status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    told
}

/// Runs a query.
#[utoipa::path(post, path = "/query", tag = "query", request_body = QueryRequest,
    responses((status = 200, body = QueryResult, description = "JSON; with `format` csv or arrow that format"),
        (status = "default", body = ErrorBody)))]
async fn run(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiJson(request): ApiJson<QueryRequest>,
) -> Result<Response, ApiError> {
    let rows_max = match request.format {
        ResultFormat::Json => Some(request.limit.unwrap_or(ROWS_DEFAULT)),
        ResultFormat::Csv | ResultFormat::Arrow => request.limit,
    };
    let options = QueryOptions {
        rows_max,
        timeout: Some(request.timeout.map_or(app.config.http.query_timeout.0, |timeout| timeout.0)),
        query_id: request.query_id,
        params: Vec::new(),
        explain: request.explain,
        changes: if request.read_only { Changes::ReadOnly } else { Changes::Allowed },
    };
    match request.format {
        ResultFormat::Json => run_json(&app, &ctx, &request.sql, options).await,
        ResultFormat::Csv => {
            let stream = start(&app, &ctx, &request.sql, options).await?;
            streamed(encode::csv(stream.0), stream.1, "text/csv; charset=utf-8").await
        }
        ResultFormat::Arrow => {
            let stream = start(&app, &ctx, &request.sql, options).await?;
            let bytes = encode::arrow(stream.0).map_err(|error| query_error(&error))?;
            streamed(bytes, stream.1, "application/vnd.apache.arrow.stream").await
        }
    }
}

/// Starts a query. Its token outlives the handler: a result is still being sent then.
async fn start(
    app: &App,
    ctx: &RequestContext,
    sql: &str,
    options: QueryOptions,
) -> Result<(QueryStream, CancellationToken), ApiError> {
    let token = ctx.cancel.child_token();
    let query_id = options.query_id.or_else(|| Some(Protocol::Http.query_id(&app.env)));
    let options = QueryOptions { query_id, ..options };
    let ctx = RequestContext { cancel: token.clone(), ..ctx.clone() };
    let stream =
        app.state.engine.session(&ctx).execute(sql, options).await.map_err(|error| query_error(&error))?;
    Ok((stream, token))
}

/// Runs a query and answers with one JSON object.
pub(super) async fn run_json(
    app: &App,
    ctx: &RequestContext,
    sql: &str,
    options: QueryOptions,
) -> Result<Response, ApiError> {
    let (stream, _token) = start(app, ctx, sql, options).await?;
    let mut pieces = encode::json(stream);
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| query_error(&error))?;
        if body.len() + piece.len() > JSON_BYTES_MAX {
            return Err(ApiError::exhausted("the result is larger than 256MB")
                .hint("read fewer rows, or ask for `format` csv or arrow, which are streamed"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// Sends a result as it comes. What fails before the first piece is an error with a status; what fails later breaks the
/// connection off, so that half a result is never taken for a whole one.
async fn streamed(
    mut pieces: ByteStream,
    token: CancellationToken,
    content_type: &'static str,
) -> Result<Response, ApiError> {
    let first = match pieces.next().await {
        Some(Err(error)) => return Err(query_error(&error)),
        other => other,
    };
    let guard = token.drop_guard();
    let rest = stream::iter(first).chain(pieces).map(move |piece| {
        let _held = &guard;
        piece.inspect_err(|error| {
            tracing::warn!(%error, "a result broke off");
        })
    });
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], Body::from_stream(rest))
        .into_response())
}

/// Lists running queries and the last that ended.
#[utoipa::path(get, path = "/query", tag = "query",
    responses((status = 200, body = Items<QueryEntry>), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Json<Items<QueryRecord>> {
    Json(Items { items: app.state.engine.queries(&ctx) })
}

/// Stops a query.
#[utoipa::path(delete, path = "/query/{query_id}", tag = "query", params(("query_id" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn cancel(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(query_id): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    app.state.engine.cancel(&ctx, &query_id).map_err(|error| query_error(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says what an editor can offer.
#[utoipa::path(get, path = "/query/completion", tag = "query",
    responses((status = 200, body = CompletionList), (status = "default", body = ErrorBody)))]
async fn completion(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<Completion>, ApiError> {
    Ok(Json(app.state.engine.completion(&ctx).await.map_err(|error| query_error(&error))?))
}
