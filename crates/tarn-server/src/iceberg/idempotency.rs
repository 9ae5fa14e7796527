//! `Idempotency-Key`: a change that is sent twice under one key takes place once, and both get the same answer, also after
//! a restart (REST catalog specification, `idempotency-key`).
//!
//! Final answers are kept in the metadata store: success, and errors that another try cannot mend. What failed by our
//! fault or for want of a right is not kept, so it may be tried again under its key. A receipt is written in the transaction
//! of the change itself: a process that dies between the change and its answer leaves it, and the change is not made again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tarn_core::{FaultReport, Receipt, RequestContext};
use tarn_meta::Expected;
use uuid::Uuid;

use super::error::IcebergError;
use crate::http::App;
use crate::http::extract::read_body;
use crate::http::identity::Identity;

/// How long an answer is kept, as the configuration tells clients (ISO 8601).
pub(super) const LIFETIME_TEXT: &str = "PT30M";
const LIFETIME: Duration = Duration::from_secs(30 * 60);
const SPACE: &str = "iceberg_idempotency";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A longer answer is not kept whole: a repeated request is then told that its change took place.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Answers kept at once per tenant.
const ANSWERS_MAX: usize = 10_000;

/// In the place of a status: the change took place, but the process died before its answer was kept.
const LOST: u16 = 0;

type Turns = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// Requests under one key wait for each other.
static TURNS: LazyLock<Turns> = LazyLock::new(Turns::default);

#[derive(Serialize, Deserialize)]
struct Answer {
    /// Of method, path, body and caller.
    request: String,
    status: u16,
    etag: Option<String>,
    body: Option<String>,
    at_ms: i64,
}

fn is_final(status: StatusCode) -> bool {
    status.is_success()
        || matches!(
            status,
            StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::CONFLICT
                | StatusCode::UNPROCESSABLE_ENTITY
        )
}

/// Paths of changes whose answer has no body.
fn gives_nothing(path: &str) -> bool {
    ["/tables/rename", "/views/rename", "/transactions/commit"].iter().any(|end| path.ends_with(end))
}

/// Paths that change nothing of the catalog.
fn changes_nothing(path: &str) -> bool {
    ["/metrics", "/oauth/tokens", "/sign", "/plan", "/tasks"].iter().any(|end| path.ends_with(end))
}

/// Middleware.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_change = matches!(*request.method(), Method::POST | Method::DELETE | Method::PUT);
    let Some(key) = request.headers().get(KEY).cloned() else { return next.run(request).await };
    let Some(Identity::Known(ctx)) = request.extensions().get::<Identity>().cloned() else {
        return next.run(request).await;
    };
    if !is_change || changes_nothing(request.uri().path()) {
        return next.run(request).await;
    }
    let Some(key) = key.to_str().ok().and_then(|text| Uuid::try_parse(text).ok()) else {
        let message = "the header Idempotency-Key is not a UUID; send one of version 7, anew for each change";
        return IcebergError::bad_request(message).into_response();
    };
    let turn_name = format!("{}/{key}", ctx.tenant);
    let turn = Arc::clone(TURNS.lock().entry(turn_name.clone()).or_default());
    let response = {
        let _turn = turn.lock().await;
        Box::pin(answer(&app, &ctx, &key.to_string(), request, next)).await
    };
    drop(turn);
    let mut turns = TURNS.lock();
    if turns.get(&turn_name).is_some_and(|turn| Arc::strong_count(turn) == 1) {
        turns.remove(&turn_name);
    }
    drop(turns);
    response.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    app: &App,
    ctx: &RequestContext,
    key: &str,
    request: Request,
    next: Next,
) -> Result<Response, IcebergError> {
    let (mut parts, body) = request.into_parts();
    let limit = app.config.http.body_bytes_max.0;
    let bytes = read_body(body, limit)
        .await
        .map_err(|_| IcebergError::too_large("the body is too large; raise server.http.body_bytes_max"))?;
    let mut hash = Sha256::new();
    for part in [parts.method.as_str(), parts.uri.path(), parts.uri.query().unwrap_or_default()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(ctx.principal.name.as_bytes());
    hash.update([0]);
    hash.update(&bytes);
    let request: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let store = app.catalog().documents();
    let unavailable = |error: &tarn_meta::MetaError| IcebergError::of(&FaultReport::of(error));
    let now_ms = app.env.clock.now_ms();
    let known = store.document(ctx, SPACE, key).await.map_err(|error| unavailable(&error))?;
    if let Some(known) = known.and_then(|found| serde_json::from_value::<Answer>(found.value).ok())
        && !is_old(known.at_ms, now_ms)
    {
        return match known.request == request {
            true => Ok(replay(known)),
            false => Err(IcebergError {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                kind: "UnprocessableEntityException",
                message: format!("Idempotency-Key `{key}` was used for another request; send a new one"),
            }),
        };
    }
    let gives_nothing = parts.method == Method::DELETE || gives_nothing(parts.uri.path());
    let lost = Answer {
        request: request.clone(),
        status: if gives_nothing { StatusCode::NO_CONTENT.as_u16() } else { LOST },
        etag: None,
        body: gives_nothing.then(String::new),
        at_ms: now_ms,
    };
    let receipt = serde_json::to_value(&lost).ok();
    let receipt = receipt.map(|value| Arc::new(Receipt { space: SPACE, key: key.to_string(), value }));
    parts.extensions.insert(Identity::Known(RequestContext { receipt, ..ctx.clone() }));
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if !is_final(response.status()) {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let bytes = read_body(body, u64::MAX)
        .await
        .map_err(|_| IcebergError::bad_request("the answer could not be read"))?;
    let kept = (bytes.len() <= BODY_BYTES_MAX).then(|| String::from_utf8_lossy(&bytes).into_owned());
    let etag = head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_string);
    let answer = Answer { request, status: head.status.as_u16(), etag, body: kept, at_ms: now_ms };
    if let Ok(value) = serde_json::to_value(&answer)
        && let Err(error) = store.put_document(ctx, SPACE, key, &value, Expected::Any).await
    {
        tracing::warn!(%error, "an answer was not kept; the same request under its key would be tried again");
    }
    forget_old(app, ctx, key, now_ms).await;
    Ok(Response::from_parts(head, Body::from(bytes)))
}

fn is_old(at_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(at_ms) > i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX)
}

fn replay(answer: Answer) -> Response {
    if answer.status == LOST {
        // Clients then look at the table before they do anything else.
        return IcebergError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "CommitStateUnknownException",
            message: "this change took place, but its answer was lost when the server ended; load the table to see it".to_string(),
        }
        .into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(body) = answer.body else {
        return IcebergError {
            status: StatusCode::CONFLICT,
            kind: "AlreadyExistsException",
            message: "this change took place before; load the table to see it".to_string(),
        }
        .into_response();
    };
    let mut response = (status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    if status != StatusCode::NO_CONTENT {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    if let Some(etag) = answer.etag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Keys of this process's answers in the order of their time, per tenant.
static KEPT: LazyLock<Mutex<HashMap<String, Vec<(i64, String)>>>> = LazyLock::new(Mutex::default);

/// Removes answers whose time is over. Those of an earlier process are found once.
async fn forget_old(app: &App, ctx: &RequestContext, key: &str, now_ms: i64) {
    let tenant = ctx.tenant.to_string();
    let store = app.catalog().documents();
    let is_first = !KEPT.lock().contains_key(&tenant);
    let mut before = Vec::new();
    if is_first && let Ok(documents) = store.documents(ctx, SPACE, "").await {
        before.extend(documents.into_iter().map(|document| (document.updated_ms, document.key)));
        before.sort();
    }
    let old: HashSet<String> = {
        let mut all = KEPT.lock();
        let kept = all.entry(tenant).or_insert(before);
        if kept.last().is_none_or(|(_, last)| last != key) {
            kept.push((now_ms, key.to_string()));
        }
        let surplus = kept.len().saturating_sub(ANSWERS_MAX);
        let over = kept.iter().take_while(|(at_ms, _)| is_old(*at_ms, now_ms)).count().max(surplus);
        kept.drain(..over).map(|(_, key)| key).filter(|old| old != key).collect()
    };
    for old in old {
        if let Err(error) = store.delete_document(ctx, SPACE, &old, Expected::Any).await {
            tracing::debug!(%error, "an old answer stays behind");
        }
    }
}
