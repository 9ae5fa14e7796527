//! Arrow Flight SQL, for ADBC and JDBC drivers and for Arrow clients.

mod caller;
mod handle;
mod metadata;
mod service;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::sql::metadata::SqlInfoData;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use moka::sync::Cache;
use tarn_core::Env;
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::http::App;
use crate::meter::RequestMeter;
use crate::sql::Protocol;
use handle::PreparedQuery;

/// Largest message of a client: parameters and SQL text.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Prepared statements kept; beyond it those that were not used for longest go.
const PREPARED_MAX: u64 = 10_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FlightSql {
    app: App,
    prepared: Cache<String, Arc<PreparedQuery>>,
    calls: Arc<Semaphore>,
    info: Arc<SqlInfoData>,
}

impl FlightSql {
    /// Over the engine of `app`. Errors: a text that says why not.
    pub(crate) fn new(app: App) -> Result<Self, String> {
        let config = &app.config.flight;
        let prepared =
            Cache::builder().max_capacity(PREPARED_MAX).time_to_idle(config.handle_duration.0).build();
        let calls = Arc::new(Semaphore::new(config.calls_max.max(1) as usize));
        let info = metadata::sql_info(&app.installation.version).map_err(|error| error.to_string())?;
        Ok(Self { app, prepared, calls, info: Arc::new(info) })
    }

    /// What the port answers.
    pub(crate) fn router(self) -> Router {
        let meter = RequestMeter::new(&self.app.state.metrics, Protocol::Flight);
        let measured = (meter, self.app.env.clone());
        let service = FlightServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Routes::new(service).prepare().into_axum_router().layer(from_fn_with_state(measured, measure))
    }
}

/// Middleware. A call that fails before its first message says so in the head of the answer.
async fn measure(State((meter, env)): State<(RequestMeter, Env)>, request: Request, next: Next) -> Response {
    let started = env.clock.instant();
    let response = next.run(request).await;
    let is_fault = Status::from_header_map(response.headers()).is_some_and(|status| is_ours(status.code()));
    meter.answered(env.clock.instant() - started, is_fault);
    response
}

fn is_ours(code: Code) -> bool {
    matches!(code, Code::Internal | Code::DataLoss | Code::Unavailable | Code::Unknown)
}
