//! `/api/v1/ingest`: sources.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::{RequestContext, ResourceName};
use tarn_ingest::{HistoryEntry, Push, PushReceipt, SOURCES, SourceSummary, StoredDeadLetter, TableStatus};
use tarn_meta::{ParsedDocuments, PlanOptions, ResourceDocument, ResourceId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath, ApiQuery, BodyError, read_body};
use super::identity::{Editor, Viewer};
use crate::api::{
    DeadLetterEntry, ErrorBody, Items, PushReport, SourceCheckReport, SourceCheckRequest, SourceCheckStep,
    SourceDetail, SourceEntry, SourceRateEntry, SourceTypeEntry, SourceTypeExample,
};

const DEAD_LETTERS_DEFAULT: usize = 100;
const DEAD_LETTERS_MAX: usize = 1_000;
/// Lines of a pushed stream are handed on in pieces of about this size, each durable before the next is read.
const PIECE_BYTES: usize = 4 << 20;

/// A source as it stands, with what is declared.
#[derive(Debug, Serialize)]
struct Detail {
    #[serde(flatten)]
    summary: SourceSummary,
    spec: Value,
    rates: Vec<SourceRateEntry>,
    per_table: Vec<TableStatus>,
    history: Vec<HistoryEntry>,
}

#[derive(Debug, Deserialize)]
struct LimitQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct PushQuery {
    table: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(types))
        .routes(routes!(check))
        .routes(routes!(detail))
        .routes(routes!(restart))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(dead_letters))
        .routes(routes!(push))
}

/// Lists the sources.
#[utoipa::path(get, path = "/ingest", tag = "ingest",
    responses((status = 200, body = Items<SourceEntry>), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Json<Items<SourceSummary>> {
    Json(Items { items: app.state.ingest.statuses(&ctx) })
}

/// Lists the source types with their forms and documentation.
#[utoipa::path(get, path = "/ingest/types", tag = "ingest",
    responses((status = 200, body = Items<SourceTypeEntry>), (status = "default", body = ErrorBody)))]
async fn types(_caller: Viewer) -> Result<Json<Items<SourceTypeEntry>>, ApiError> {
    let items = SOURCES.iter().map(|source| {
        let spec = &source.component;
        let stability =
            serde_json::to_value(spec.stability).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(SourceTypeEntry {
            name: spec.name.to_string(),
            title: spec.title.to_string(),
            title_zh: spec.title_zh.to_string(),
            summary: spec.summary.to_string(),
            summary_zh: spec.summary_zh.to_string(),
            category: spec.category.to_string(),
            stability: stability.as_str().unwrap_or_default().to_string(),
            schema: (spec.config)().to_value(),
            examples: spec
                .examples
                .iter()
                .map(|one| SourceTypeExample { title: one.title.to_string(), config: one.config.to_string() })
                .collect(),
            docs: spec.docs.to_string(),
        })
    });
    Ok(Json(Items { items: items.collect::<Result<_, ApiError>>()? }))
}

/// Tries a configuration without keeping it.
#[utoipa::path(post, path = "/ingest/check", tag = "ingest", request_body = SourceCheckRequest,
    responses((status = 200, body = SourceCheckReport), (status = "default", body = ErrorBody)))]
async fn check(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(request): ApiJson<SourceCheckRequest>,
) -> Result<Json<SourceCheckReport>, ApiError> {
    let config = app.state.secrets.resolve(&ctx, &request.config).await?;
    let name =
        request.name.as_deref().filter(|name| !name.is_empty()).map(ResourceName::parse).transpose()?;
    let report = app.state.ingest.check(&ctx, name.as_ref(), &request.r#type, config.into_exposed()).await;
    Ok(Json(SourceCheckReport {
        ok: report.is_ok(),
        tables: report.tables.iter().map(ToString::to_string).collect(),
        steps: report
            .steps
            .into_iter()
            .map(|step| SourceCheckStep { name: step.name, ok: step.ok, detail: step.detail })
            .collect(),
    }))
}

/// Shows one source.
#[utoipa::path(get, path = "/ingest/{name}", tag = "ingest", params(("name" = String, Path)),
    responses((status = 200, body = SourceDetail), (status = "default", body = ErrorBody)))]
async fn detail(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Detail>, ApiError> {
    let name = ResourceName::parse(&name)?;
    let ingest = &app.state.ingest;
    let summary = ingest.status(&ctx, &name)?;
    let declared = app.state.resources.get(&ctx, &ResourceId::new("source", name.as_str())).await;
    let rates = app.state.rates.rows_of(&ctx.tenant, name.as_str());
    Ok(Json(Detail {
        // A source that is being removed runs a little longer than it is declared.
        spec: declared.map_or(Value::Null, |declared| declared.spec),
        rates: rates.into_iter().map(|(at_ms, rows_per_s)| SourceRateEntry { at_ms, rows_per_s }).collect(),
        per_table: ingest.tables(&ctx, &name)?,
        history: ingest.history(&ctx, &name)?,
        summary,
    }))
}

/// Starts a source anew.
#[utoipa::path(post, path = "/ingest/{name}/restart", tag = "ingest", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn restart(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    app.state.ingest.restart(&ctx, &ResourceName::parse(&name)?)?;
    audit(&app, &ctx, "ingest.restart", &name).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops a source until it is resumed.
#[utoipa::path(post, path = "/ingest/{name}/pause", tag = "ingest", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn pause(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    let name = ResourceName::parse(&name)?;
    app.state.ingest.pause(&ctx, &name)?;
    declare_paused(&app, &ctx, &name, true).await?;
    audit(&app, &ctx, "ingest.pause", name.as_str()).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a paused source go on.
#[utoipa::path(post, path = "/ingest/{name}/resume", tag = "ingest", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ErrorBody)))]
async fn resume(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    let name = ResourceName::parse(&name)?;
    app.state.ingest.resume(&ctx, &name)?;
    declare_paused(&app, &ctx, &name, false).await?;
    audit(&app, &ctx, "ingest.resume", name.as_str()).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes a pause into the source's resource, as a revision, so that it holds over a restart and shows in a plan.
async fn declare_paused(
    app: &App,
    ctx: &RequestContext,
    name: &ResourceName,
    paused: bool,
) -> Result<(), ApiError> {
    let resources = &app.state.resources;
    // A source that nobody declared is paused until the process ends.
    let Ok(declared) = resources.get(ctx, &ResourceId::new("source", name.as_str())).await else {
        return Ok(());
    };
    let mut spec = declared.spec;
    if let Some(spec) = spec.as_object_mut() {
        match paused {
            true => spec.insert("paused".into(), Value::Bool(true)),
            false => spec.shift_remove("paused"),
        };
    }
    let document = ResourceDocument::new("source", name.as_str(), spec);
    let documents = ParsedDocuments::of(vec![document]);
    // What is wrong with the resource otherwise must not keep a person from pausing it.
    let options = PlanOptions { secrets_may_follow: true, ..PlanOptions::default() };
    let message = if paused { "paused" } else { "resumed" };
    resources.apply(ctx, &documents, &options, None, message).await?;
    Ok(())
}

async fn audit(app: &App, ctx: &RequestContext, action: &str, name: &str) {
    app.audit(ctx, action, &format!("source/{name}")).await;
}

/// Shows records that a source could not use, newest first.
#[utoipa::path(get, path = "/ingest/{name}/dead-letters", tag = "ingest",
    params(("name" = String, Path), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<DeadLetterEntry>), (status = "default", body = ErrorBody)))]
async fn dead_letters(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<LimitQuery>,
) -> Result<Json<Items<StoredDeadLetter>>, ApiError> {
    let limit = query.limit.unwrap_or(DEAD_LETTERS_DEFAULT).min(DEAD_LETTERS_MAX);
    Ok(Json(Items { items: app.state.ingest.dead_letters(&ctx, &ResourceName::parse(&name)?, limit).await? }))
}

/// Hands records to a source of type `http_push`; answers once they are durable. A body of one JSON object per line may
/// be of any size up to `server.http.push_bytes_max`: it is stored in pieces while it is read, so when the answer is
/// an error, what came before it is stored; send the same `Idempotency-Key` again to go on.
#[utoipa::path(post, path = "/ingest/{name}/push", tag = "ingest",
    params(("name" = String, Path), ("table" = Option<String>, Query), ("Idempotency-Key" = Option<String>, Header)),
    request_body(content_type = "application/json", description = "An object, an array, or one object per line"),
    responses((status = 200, body = PushReport), (status = "default", body = ErrorBody)))]
async fn push(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<PushQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PushReceipt>, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    let pusher = Pusher {
        app: &app,
        ctx: &ctx,
        name: ResourceName::parse(&name)?,
        template: Push {
            table: query.table,
            body: Bytes::new(),
            content_type: text(header::CONTENT_TYPE.as_str()),
            idempotency_key: text("idempotency-key"),
        },
    };
    let by_line = pusher.template.content_type.as_deref().is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.contains("ndjson") || kind.contains("jsonl") || kind.contains("json-seq")
    });
    match by_line {
        true => pusher.lines(body).await.map(Json),
        false => pusher.whole(body).await.map(Json),
    }
}

struct Pusher<'a> {
    app: &'a App,
    ctx: &'a RequestContext,
    name: ResourceName,
    template: Push,
}

impl Pusher<'_> {
    async fn whole(&self, body: Body) -> Result<PushReceipt, ApiError> {
        let limit = self.app.config.http.body_bytes_max.0;
        let bytes = read_body(body, limit).await.map_err(|error| match error {
            BodyError::TooLarge => ApiError::too_large(limit, "server.http.body_bytes_max")
                .hint("send one object per line with `Content-Type: application/x-ndjson`, which is read as a stream"),
            BodyError::Broken(what) => ApiError::invalid(format!("could not read the body: {what}")),
        })?;
        let push = Push { body: bytes, ..self.template.clone() };
        Ok(self.app.state.ingest.push(self.ctx, &self.name, push).await?)
    }

    async fn lines(&self, body: Body) -> Result<PushReceipt, ApiError> {
        let limit = self.app.config.http.push_bytes_max.0;
        let mut stream = body.into_data_stream();
        // A piece is a body of its own for the source.
        let piece_bytes =
            PIECE_BYTES.min(usize::try_from(self.app.config.http.body_bytes_max.0).unwrap_or(PIECE_BYTES));
        let mut waiting = BytesMut::new();
        let mut sum = Sum::default();
        let mut read = 0_u64;
        while let Some(chunk) = stream.next().await {
            let chunk =
                chunk.map_err(|error| ApiError::invalid(format!("could not read the body: {error}")))?;
            read += chunk.len() as u64;
            if read > limit {
                return Err(ApiError::too_large(limit, "server.http.push_bytes_max"));
            }
            waiting.extend_from_slice(&chunk);
            while let Some(end) = piece_end(&waiting, piece_bytes) {
                self.piece(waiting.split_to(end).freeze(), &mut sum).await?;
            }
            if waiting.len() as u64 > self.app.config.http.body_bytes_max.0 {
                return Err(ApiError::too_large(
                    self.app.config.http.body_bytes_max.0,
                    "server.http.body_bytes_max",
                )
                .hint("a single line is that long; write one object per line"));
            }
        }
        if !waiting.is_empty() || sum.pieces == 0 {
            self.piece(waiting.freeze(), &mut sum).await?;
        }
        Ok(sum.receipt.unwrap_or(EMPTY))
    }

    async fn piece(&self, body: Bytes, sum: &mut Sum) -> Result<(), ApiError> {
        // The same body is cut at the same places when it is sent again.
        let key = self.template.idempotency_key.as_ref().map(|key| format!("{key}/{}", sum.pieces));
        let push = Push { body, idempotency_key: key, ..self.template.clone() };
        let receipt = self.app.state.ingest.push(self.ctx, &self.name, push).await?;
        sum.add(receipt);
        Ok(())
    }
}

/// Where to cut lines that wait: after the last line that ends within the piece size, or after the first line if it is
/// longer. Depends on the bytes alone, not on how they arrived.
fn piece_end(waiting: &[u8], piece_bytes: usize) -> Option<usize> {
    let head = waiting.get(..piece_bytes)?;
    let is_end = |byte: &u8| *byte == b'\n';
    head.iter().rposition(is_end).or_else(|| waiting.iter().position(is_end)).map(|end| end + 1)
}

const EMPTY: PushReceipt = PushReceipt {
    rows: 0,
    first_offset: 0,
    next_offset: 0,
    dead_letters: 0,
    reasons: Vec::new(),
    repeated: false,
};

#[derive(Default)]
struct Sum {
    pieces: u64,
    records: u64,
    receipt: Option<PushReceipt>,
}

impl Sum {
    fn add(&mut self, mut next: PushReceipt) {
        for reason in &mut next.reasons {
            reason.record += self.records;
        }
        self.records += next.rows + next.dead_letters;
        self.pieces += 1;
        match &mut self.receipt {
            None => self.receipt = Some(next),
            Some(sum) => {
                sum.rows += next.rows;
                sum.next_offset = next.next_offset;
                sum.dead_letters += next.dead_letters;
                sum.reasons.append(&mut next.reasons);
                sum.repeated &= next.repeated;
            }
        }
    }
}
