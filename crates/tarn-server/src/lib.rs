//! All wire protocols: HTTP (API, console, Iceberg REST catalog), PostgreSQL, Arrow Flight SQL.

pub mod api;
mod auth;
mod bind;
mod config;
mod error;
mod fault;
mod flight;
mod http;
mod iceberg;
mod meter;
mod pgwire;
mod serve;
mod server;
mod sql;
mod state;
mod tls;

pub use config::{FlightConfig, HttpConfig, Installation, Listen, PgwireConfig, ServerConfig, TlsConfig};
pub use error::ServerError;
pub use http::openapi_json;
pub use server::{RunningServer, Server};
pub use state::ServerState;
