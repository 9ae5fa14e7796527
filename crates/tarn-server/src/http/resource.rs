//! `/api/v1/resource`: what is declared, planned, applied and rolled back.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tarn_core::RequestContext;
use tarn_meta::{
    Applied, ChangeAction, MetaError, ParsedDocuments, Plan, PlanOptions, ResourceId, ResourceView,
    RevisionDetail, RevisionView, WriteBack,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::identity::{Editor, Viewer};
use crate::api::{
    ErrorBody, Items, ProblemView, ResourceApplied, ResourceChangeRequest, ResourceEntry, ResourcePlan,
    RevisionEntry, RollbackRequest, WriteBackReport,
};

/// How often and how long an apply looks whether the running server has followed.
const SETTLE_LOOKS: usize = 50;
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
const REVISIONS_DEFAULT: u32 = 100;
const REVISIONS_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
struct LimitQuery {
    limit: Option<u32>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(plan))
        .routes(routes!(apply))
        .routes(routes!(rollback))
        .routes(routes!(revisions))
        .routes(routes!(revision))
        .routes(routes!(export))
        .routes(routes!(write_back))
        .routes(routes!(schema))
}

/// An error of resources with all problems beside it.
fn resource_error(error: MetaError) -> ApiError {
    let problems = match &error {
        MetaError::InvalidResources { problems } => problems.iter().map(problem).collect(),
        _ => Vec::new(),
    };
    let mut told = ApiError::from(error);
    told.detail.problems = problems;
    told
}

fn problem(problem: &tarn_meta::Problem) -> ProblemView {
    ProblemView {
        severity: if problem.is_error() { "error" } else { "warning" }.to_string(),
        message: problem.message.clone(),
        file: problem.file.clone(),
        line: problem.line,
        column: problem.column,
        hint: problem.hint.clone(),
    }
}

fn inputs(app: &App, request: &ResourceChangeRequest) -> (ParsedDocuments, PlanOptions) {
    let delete = request.delete.iter().map(|one| ResourceId::new(&one.kind, &one.name)).collect();
    let options = PlanOptions { prune: request.prune, delete, ..PlanOptions::default() };
    (app.state.resources.parse(&request.documents, None), options)
}

fn check_writable(app: &App) -> Result<(), ApiError> {
    if app.installation.read_only {
        return Err(ApiError::denied("resources of this server may only be read")
            .hint("change the files of the project and deploy them"));
    }
    Ok(())
}

/// Lists the resources.
#[utoipa::path(get, path = "/resource", tag = "resource",
    responses((status = 200, body = Items<ResourceEntry>), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<Items<ResourceView>>, ApiError> {
    Ok(Json(Items { items: app.state.resources.list(&ctx).await? }))
}

/// Says what an apply would do.
#[utoipa::path(post, path = "/resource/plan", tag = "resource", request_body = ResourceChangeRequest,
    responses((status = 200, body = ResourcePlan), (status = "default", body = ErrorBody)))]
async fn plan(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiJson(request): ApiJson<ResourceChangeRequest>,
) -> Result<Json<Plan>, ApiError> {
    let (parsed, options) = inputs(&app, &request);
    Ok(Json(app.state.resources.plan(&ctx, &parsed, &options).await.map_err(resource_error)?))
}

/// Makes documents the declared state, all or none.
#[utoipa::path(post, path = "/resource/apply", tag = "resource", request_body = ResourceChangeRequest,
    responses((status = 200, body = ResourceApplied), (status = "default", body = ErrorBody)))]
async fn apply(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(request): ApiJson<ResourceChangeRequest>,
) -> Result<Json<Applied>, ApiError> {
    check_writable(&app)?;
    let (parsed, options) = inputs(&app, &request);
    let message = request.message.as_deref().unwrap_or_default();
    let applied = app
        .state
        .resources
        .apply(&ctx, &parsed, &options, request.base_revision, message)
        .await
        .map_err(resource_error)?;
    audit(&app, &ctx, "resource.apply", applied.revision).await;
    settled(&app, &ctx, &applied).await;
    Ok(Json(applied))
}

/// Adds a revision with the state of an earlier one.
#[utoipa::path(post, path = "/resource/rollback", tag = "resource", request_body = RollbackRequest,
    responses((status = 200, body = ResourceApplied), (status = "default", body = ErrorBody)))]
async fn rollback(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(request): ApiJson<RollbackRequest>,
) -> Result<Json<Applied>, ApiError> {
    check_writable(&app)?;
    let applied = app.state.resources.rollback(&ctx, request.revision).await.map_err(resource_error)?;
    audit(&app, &ctx, "resource.rollback", applied.revision).await;
    settled(&app, &ctx, &applied).await;
    Ok(Json(applied))
}

/// Waits a moment for the running server to follow, so that who applied a source finds it. That it follows later is
/// no error.
async fn settled(app: &App, ctx: &RequestContext, applied: &Applied) {
    let changed: Vec<(&str, &str)> = applied
        .changes
        .iter()
        .filter(|change| matches!(change.action, ChangeAction::Create | ChangeAction::Update))
        .map(|change| (change.kind.as_str(), change.name.as_str()))
        .collect();
    for _ in 0..SETTLE_LOOKS {
        let Ok(statuses) = app.state.resources.statuses(ctx).await else { return };
        let is_settled = |(kind, name): &(&str, &str)| {
            statuses.iter().any(|status| {
                (status.kind.as_str(), status.name.as_str()) == (*kind, *name)
                    && status.revision >= applied.revision
            })
        };
        if changed.iter().all(is_settled) {
            return;
        }
        app.env.clock.sleep(SETTLE_PAUSE).await;
    }
}

async fn audit(app: &App, ctx: &RequestContext, action: &str, revision: u64) {
    app.audit(ctx, action, &format!("revision {revision}")).await;
}

/// Lists the revisions, newest first.
#[utoipa::path(get, path = "/resource/revisions", tag = "resource", params(("limit" = Option<u32>, Query)),
    responses((status = 200, body = Items<RevisionEntry>), (status = "default", body = ErrorBody)))]
async fn revisions(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiQuery(query): ApiQuery<LimitQuery>,
) -> Result<Json<Items<RevisionView>>, ApiError> {
    let limit = query.limit.unwrap_or(REVISIONS_DEFAULT).min(REVISIONS_MAX);
    Ok(Json(Items { items: app.state.resources.revisions(&ctx, limit).await? }))
}

/// Shows one revision with its diffs.
#[utoipa::path(get, path = "/resource/revisions/{revision}", tag = "resource", params(("revision" = u64, Path)),
    responses((status = 200, body = RevisionEntry), (status = "default", body = ErrorBody)))]
async fn revision(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(revision): ApiPath<u64>,
) -> Result<Json<RevisionDetail>, ApiError> {
    Ok(Json(app.state.resources.revision(&ctx, revision).await?))
}

/// Gives all documents as one YAML text.
#[utoipa::path(get, path = "/resource/export", tag = "resource",
    responses((status = 200, body = String, content_type = "application/yaml"), (status = "default", body = ErrorBody)))]
async fn export(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Response, ApiError> {
    let text = app.state.resources.export(&ctx).await?;
    Ok(([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], text).into_response())
}

/// Writes the declared state into the project folder.
#[utoipa::path(post, path = "/resource/write-back", tag = "resource",
    responses((status = 200, body = WriteBackReport), (status = "default", body = ErrorBody)))]
async fn write_back(State(app): State<App>, Editor(ctx): Editor) -> Result<Json<WriteBack>, ApiError> {
    check_writable(&app)?;
    let done = app.state.resources.write_back(&ctx, &app.state.project).await?;
    app.audit(&ctx, "resource.write_back", "project").await;
    Ok(Json(done))
}

/// Gives the JSON Schema of a kind's spec.
#[utoipa::path(get, path = "/resource/schema/{kind}", tag = "resource", params(("kind" = String, Path)),
    responses((status = 200, body = Object), (status = "default", body = ErrorBody)))]
async fn schema(
    State(app): State<App>,
    _caller: Viewer,
    ApiPath(kind): ApiPath<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.state.resources.kinds().get(&kind)?.full_schema()))
}
