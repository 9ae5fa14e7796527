//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`: for machines that watch over this one.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tarn_core::{RequestContext, TenantId};
use tarn_observe::{Metric, memory_bytes};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::envelope::new_trace;
use super::identity::Viewer;
use crate::api::{ErrorBody, HealthCheck, HealthReport};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(metrics))
}

/// Says that the process answers. Answered to everybody.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = HealthReport)))]
async fn alive() -> Json<HealthReport> {
    Json(HealthReport { status: "ok".to_string(), checks: Vec::new() })
}

/// Says whether the parts behind the server answer. Answered to everybody, so it names no reasons.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = HealthReport), (status = 503, body = HealthReport)))]
async fn ready(State(app): State<App>) -> Response {
    let ctx = RequestContext::system(TenantId::default(), new_trace(&app));
    let resources = app.state.resources.current(&ctx).await.map(|_| ()).map_err(|error| error.to_string());
    let eventlog = app.state.eventlog.topics(&ctx).await.map(|_| ()).map_err(|error| error.to_string());
    let lakehouse = app.catalog().list_namespaces(&ctx).await.map(|_| ()).map_err(|error| error.to_string());
    let mut checks = Vec::new();
    for (name, outcome) in [("metadata", resources), ("eventlog", eventlog), ("catalog", lakehouse)] {
        if let Err(error) = &outcome {
            tracing::warn!(name, error, "not ready");
        }
        checks.push(HealthCheck { name: name.to_string(), ok: outcome.is_ok(), detail: None });
    }
    let is_ready = checks.iter().all(|check| check.ok);
    let status = if is_ready { "ok" } else { "starting" }.to_string();
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(HealthReport { status, checks })).into_response()
}

/// Gives the figures of the caller's tenant and those of the process in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = ErrorBody)))]
async fn metrics(State(app): State<App>, Viewer(ctx): Viewer) -> impl IntoResponse {
    measure(&app, &ctx).await;
    let text = app.state.metrics.of(&ctx.tenant).render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Sets the figures that nothing counts as it happens.
async fn measure(app: &App, ctx: &RequestContext) {
    let metrics = &app.state.metrics;
    let running = app.state.engine.latency(ctx).running;
    metrics.of(&ctx.tenant).gauge(Metric::QueriesRunning, "").set(running as f64);
    let disk = app.hub.disk(app).await;
    let figures = [
        (Metric::ProcessMemoryBytes, memory_bytes().unwrap_or(0)),
        (Metric::DiskBytes, disk.used_bytes),
        (Metric::DiskFreeBytes, disk.free_bytes),
    ];
    for (metric, value) in figures {
        metrics.gauge(metric, "").set(value as f64);
    }
}

/// The document of the HTTP API.
pub(super) async fn document(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.clone()).into_response()
}
