//! The HTTP server: API, console, Iceberg REST catalog.

mod access;
mod console;
pub(crate) mod envelope;
pub(crate) mod error;
mod eventlog;
pub(crate) mod extract;
mod gate;
mod health;
pub(crate) mod identity;
mod imports;
mod ingest;
mod lakehouse;
mod overview;
mod query;
mod resource;
mod service;
mod session;
mod time;

use std::ops::Deref;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use bytes::Bytes;
use tarn_access::{AuditEvent, Outcome};
use tarn_core::{Env, RequestContext, Sealed};
use tarn_lakehouse::Catalog;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::MapRequestLayer;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::config::{Installation, ServerConfig};
use crate::iceberg;
use crate::meter::RequestMeter;
use crate::sql::Protocol;
use crate::state::ServerState;
use overview::EventHub;

/// What every handler works with. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Sealed<AppInner>);

/// See [`App`].
#[derive(Debug)]
pub(crate) struct AppInner {
    pub config: ServerConfig,
    pub installation: Installation,
    pub state: ServerState,
    pub env: Env,
    /// Whether only this machine can reach the server.
    pub loopback: bool,
    /// Fires when the server stops.
    pub stop: CancellationToken,
    hub: EventHub,
    meter: RequestMeter,
    document: Bytes,
}

impl Deref for App {
    type Target = AppInner;

    fn deref(&self) -> &AppInner {
        &self.0
    }
}

impl App {
    /// For a server with these services. `loopback`: whether only this machine can reach it.
    pub(crate) fn new(
        config: ServerConfig,
        installation: Installation,
        state: ServerState,
        env: Env,
        loopback: bool,
        stop: CancellationToken,
    ) -> Self {
        let hub = EventHub::new(config.http.event_streams_max);
        let meter = RequestMeter::new(&state.metrics, Protocol::Http);
        let document = Bytes::from(openapi_json());
        Self(Sealed::new(AppInner { config, installation, state, env, loopback, stop, hub, meter, document }))
    }

    /// Namespaces and tables.
    pub(crate) fn catalog(&self) -> &Catalog {
        self.state.lakehouse.catalog()
    }

    /// Whether clients reach us by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.config.tls.is_some()
    }

    /// Writes down what somebody did. What was done stays done when that fails.
    pub(crate) async fn audit(&self, ctx: &RequestContext, action: &str, target: &str) {
        if let Err(error) = self.state.access.audit(ctx, &AuditEvent::new(action, target, Outcome::Ok)).await
        {
            tracing::error!(%error, action, target, "could not write to the audit log");
        }
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Tarn",
    description = "HTTP API of Tarn. Errors have the body `ErrorBody`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

fn api() -> OpenApiRouter<App> {
    let v1 = OpenApiRouter::new()
        .merge(session::routes())
        .merge(access::routes())
        .merge(overview::routes())
        .merge(ingest::routes())
        .merge(eventlog::routes())
        .merge(imports::routes())
        .merge(lakehouse::routes())
        .merge(service::routes())
        .merge(query::routes())
        .merge(resource::routes());
    OpenApiRouter::with_openapi(Document::openapi()).nest("/api/v1", v1).merge(health::routes())
}

/// The OpenAPI document of the HTTP API, as pretty JSON that ends with a line break.
pub fn openapi_json() -> String {
    let mut text = api().into_openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that the HTTP port answers.
pub(crate) fn router(app: App) -> Router {
    let (api, _) = api().split_for_parts();
    let iceberg = ServiceBuilder::new()
        .layer(MapRequestLayer::new(iceberg::drop_prefix))
        .service(iceberg::router(app.clone()));
    let routes = Router::new()
        .merge(api)
        .route("/openapi.json", get(health::document))
        .with_state(app.clone())
        .nest_service(iceberg::ROOT, iceberg)
        .fallback(console::serve)
        // The last layer is the outermost one.
        .layer(from_fn_with_state(app.clone(), gate::limit_time))
        .layer(from_fn(gate::check_origin))
        .layer(from_fn_with_state(app.clone(), identity::identify))
        .layer(RequestDecompressionLayer::new());
    // A router tells the methods of a path only after its own layers, so those that answer for it are around it.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn(gate::explain))
        .layer(from_fn_with_state(app.clone(), gate::check_length))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(app.clone(), gate::check_host))
        .layer(from_fn_with_state(app, envelope::envelope))
}
