//! Who calls, and errors as gRPC has them.

use axum::http::StatusCode;
use tarn_access::{Credentials, Peer};
use tarn_core::{Fault, FaultReport, RequestContext, TraceId};
use tarn_query::QueryError;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

use super::FlightSql;
use crate::auth::{Refusal, SESSION_PREFIX, credentials_of_header};
use crate::fault::grpc_code;
use crate::http::envelope::new_trace;
use crate::serve;

/// Where a call comes from.
pub(super) fn peer_of<T>(request: &Request<T>) -> Peer {
    match request.extensions().get::<serve::Peer>() {
        Some(serve::Peer(address)) => Peer::direct(address.ip()),
        None => Peer::forwarded(std::net::Ipv4Addr::UNSPECIFIED.into()),
    }
}

/// What a call says about its sender.
pub(super) fn credentials_of(metadata: &MetadataMap) -> Credentials {
    match metadata.get("authorization") {
        Some(value) => credentials_of_header(value.to_str().unwrap_or_default()),
        None => Credentials::None,
    }
}

/// A refusal as gRPC has it.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        _ => grpc_code(refusal.report.kind),
    };
    Status::new(code, refusal.text())
}

/// An error of a query as gRPC has it, with its place and advice in the text.
pub(super) fn of_query(error: &QueryError) -> Status {
    let report = FaultReport::of(error);
    let code = match error {
        QueryError::Cancelled { .. } => Code::Cancelled,
        QueryError::TimedOut { .. } => Code::DeadlineExceeded,
        other => grpc_code(other.kind()),
    };
    let place = error.position().map(|at| format!(" ({at})")).unwrap_or_default();
    let hint = report.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Status::new(code, format!("{}{place}{hint}", report.message))
}

/// An error of Arrow, which is ours.
pub(super) fn of_arrow(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

impl FlightSql {
    /// The caller, known by its header. Errors: `Unauthenticated`.
    pub(super) async fn caller<T>(&self, request: &Request<T>) -> Result<RequestContext, Status> {
        let identity = self
            .app
            .state
            .access
            .authenticate(&credentials_of(request.metadata()), &peer_of(request))
            .await
            .map_err(|error| refused(&Refusal::of(&error)))?;
        Ok(identity.context(trace_of(request).unwrap_or_else(|| new_trace(&self.app))))
    }

    /// Logs in and gives the token that later calls send. Errors: `Unauthenticated`.
    pub(super) async fn log_in<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let (peer, access) = (peer_of(request), &self.app.state.access);
        let credentials = credentials_of(request.metadata());
        let told = |error| refused(&Refusal::of(&error));
        let identity = access.authenticate(&credentials, &peer).await.map_err(told)?;
        match credentials {
            Credentials::Password { user, password } if identity.method == tarn_access::Method::Password => {
                let session = access.log_in(&user, &password, &peer).await.map_err(told)?;
                Ok(format!("{SESSION_PREFIX}{}", session.token.expose()))
            }
            Credentials::Password { password, .. } | Credentials::Key(password) => {
                Ok(password.expose().to_string())
            }
            Credentials::Session(token) => Ok(format!("{SESSION_PREFIX}{}", token.expose())),
            Credentials::None => Ok("open".to_string()),
        }
    }
}

fn trace_of<T>(request: &Request<T>) -> Option<TraceId> {
    let text = request.metadata().get("traceparent")?.to_str().ok()?;
    crate::http::envelope::parse_traceparent(text)
}
