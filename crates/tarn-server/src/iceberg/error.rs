//! Errors as the Iceberg REST protocol writes them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tarn_core::FaultReport;

use super::port::CatalogError;
use crate::fault::iceberg_error;

/// An error with the status and type that clients act on.
#[derive(Debug)]
pub(crate) struct IcebergError {
    pub status: StatusCode,
    /// Name of the exception that Java clients throw.
    pub kind: &'static str,
    pub message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Detail<'a>,
}

#[derive(Serialize)]
struct Detail<'a> {
    message: &'a str,
    r#type: &'a str,
    code: u16,
}

impl IcebergError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    /// Nobody was named, or wrongly.
    pub(crate) fn not_authorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
    }

    /// The caller may not do this.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    /// The body is larger than allowed.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BadRequestException", message)
    }

    /// No such namespace.
    pub(crate) fn no_namespace(name: &str) -> Self {
        CatalogError::NamespaceNotFound(name.to_string()).into()
    }

    /// No such table.
    pub(crate) fn no_table(name: &str) -> Self {
        CatalogError::TableNotFound(name.to_string()).into()
    }

    /// A fault that is not about a noun of the protocol.
    pub(crate) fn of(report: &FaultReport) -> Self {
        let (status, kind) = iceberg_error(report.kind);
        let message = match &report.hint {
            Some(hint) => format!("{}; {hint}", report.message),
            None => report.message.clone(),
        };
        Self::new(status, kind, message)
    }
}

impl From<CatalogError> for IcebergError {
    fn from(error: CatalogError) -> Self {
        let message = error.to_string();
        match error {
            CatalogError::NamespaceNotFound(_) => {
                Self::new(StatusCode::NOT_FOUND, "NoSuchNamespaceException", message)
            }
            CatalogError::TableNotFound(_) => Self::new(StatusCode::NOT_FOUND, "NoSuchTableException", message),
            CatalogError::NamespaceExists(_) | CatalogError::TableExists(_) => {
                Self::new(StatusCode::CONFLICT, "AlreadyExistsException", message)
            }
            CatalogError::NamespaceNotEmpty(_) => {
                Self::new(StatusCode::CONFLICT, "NamespaceNotEmptyException", message)
            }
            CatalogError::CommitFailed(_) => Self::new(StatusCode::CONFLICT, "CommitFailedException", message),
            CatalogError::CommitUnknown(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException", message)
            }
            CatalogError::Other(report) => Self::of(&report),
        }
    }
}

impl IntoResponse for IcebergError {
    fn into_response(self) -> Response {
        let detail = Detail { message: &self.message, r#type: self.kind, code: self.status.as_u16() };
        let mut response = (self.status, Json(Body { error: detail })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
