//! Arrow Flight SQL, for ADBC and JDBC drivers and for Arrow clients.

mod caller;
mod handle;
mod metadata;
mod service;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::sql::metadata::SqlInfoData;
use axum::Router;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::http::App;
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
        let service = FlightServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Routes::new(service).prepare().into_axum_router()
    }
}
