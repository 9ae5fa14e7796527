//! `/api/v1/lakehouse/…/runs` and `/api/v1/lakehouse/services`: what looks after tables.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::service::{Service, ServiceRun as Run, Trigger};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiJson, ApiPath, ApiQuery};
use super::identity::{Editor, Viewer};
use super::time::iso;
use crate::api::{
    ErrorBody, Items, PauseServices, RunningService, ServiceRun, TableService, TableServices, WaitingService,
};

const RUNS_DEFAULT: usize = 100;
const RUNS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
struct TablePath {
    namespace: String,
    table: String,
}

#[derive(Debug, Deserialize)]
struct RunsQuery {
    limit: Option<usize>,
}

impl RunsQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(RUNS_DEFAULT).min(RUNS_MAX)
    }
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(runs))
        .routes(routes!(all_runs))
        .routes(routes!(state, pause))
        .routes(routes!(analyze))
}

/// Lists the runs of services on a table: those under way first, then the last ones.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}/runs", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<ServiceRun>), (status = "default", body = ErrorBody)))]
async fn runs(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
    ApiQuery(query): ApiQuery<RunsQuery>,
) -> Result<Json<Items<Run>>, ApiError> {
    let name = TableName::new(&path.namespace, &path.table)?;
    Ok(Json(Items { items: app.state.lakehouse.service_runs(&ctx, &name, query.limit()).await? }))
}

/// Lists the runs of services on all tables: those under way first, then the last ones.
#[utoipa::path(get, path = "/lakehouse/runs", tag = "lakehouse", params(("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<ServiceRun>), (status = "default", body = ErrorBody)))]
async fn all_runs(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiQuery(query): ApiQuery<RunsQuery>,
) -> Result<Json<Items<Run>>, ApiError> {
    Ok(Json(Items { items: app.state.lakehouse.all_service_runs(&ctx, query.limit()).await? }))
}

/// Counts the different values of each column of a table now, for the planner and for other engines.
#[utoipa::path(post, path = "/lakehouse/{namespace}/{table}/analyze", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = ServiceRun), (status = "default", body = ErrorBody)))]
async fn analyze(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<Run>, ApiError> {
    let name = TableName::new(&path.namespace, &path.table)?;
    app.state.lakehouse.analyze(&ctx, &name, Trigger::Api).await?;
    app.audit(&ctx, "table.analyze", &format!("table/{name}")).await;
    let runs = app.state.lakehouse.service_runs(&ctx, &name, RUNS_MAX).await?;
    let run = runs.into_iter().find(|run| run.service == Service::Statistics);
    run.map(Json).ok_or_else(|| ApiError::invalid("the run is not in the list any more"))
}

/// Shows what table services run, what waits and why.
#[utoipa::path(get, path = "/lakehouse/services", tag = "lakehouse",
    responses((status = 200, body = TableServices), (status = "default", body = ErrorBody)))]
async fn state(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<TableServices>, ApiError> {
    Ok(Json(described(&app, &ctx)))
}

/// Holds table services, or lets them go on; what runs goes on to its end.
#[utoipa::path(post, path = "/lakehouse/services", tag = "lakehouse", request_body = PauseServices,
    responses((status = 200, body = TableServices), (status = "default", body = ErrorBody)))]
async fn pause(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiJson(asked): ApiJson<PauseServices>,
) -> Result<Json<TableServices>, ApiError> {
    app.state.lakehouse.pause_services(&ctx, asked.paused).await?;
    let action = if asked.paused { "services.pause" } else { "services.resume" };
    app.audit(&ctx, action, "lakehouse").await;
    Ok(Json(described(&app, &ctx)))
}

fn described(app: &App, ctx: &RequestContext) -> TableServices {
    let state = app.state.lakehouse.service_state(ctx);
    let running = state.running.into_iter().map(|run| RunningService {
        table: run.table,
        service: service(run.service),
        reason: run.reason,
        since: iso(run.since_ms),
    });
    let waiting = state.waiting.into_iter().map(|run| WaitingService {
        table: run.table,
        service: service(run.service),
        reason: run.reason,
        since: iso(run.since_ms),
        benefit: run.benefit,
        blocked_by: run.blocked_by,
    });
    TableServices {
        paused: state.paused,
        concurrent_max: state.concurrent_max,
        bytes_per_minute: state.bytes_per_minute,
        bytes_left: state.bytes_left,
        cpu_share: state.cpu_share,
        running: running.collect(),
        waiting: waiting.collect(),
    }
}

fn service(service: Service) -> TableService {
    match service {
        Service::Compact => TableService::Compact,
        Service::Expire => TableService::Expire,
        Service::Orphans => TableService::Orphans,
        Service::Manifests => TableService::Manifests,
        Service::Statistics => TableService::Statistics,
    }
}
