//! Errors as the Iceberg REST protocol writes them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tarn_core::{Fault, FaultKind, FaultReport};
use tarn_lakehouse::LakehouseError;
use tarn_meta::MetaError;

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

    /// A fault that was found before the protocol saw the request, with the status that other protocols give it.
    pub(crate) fn of_request(status: StatusCode, report: &FaultReport) -> Self {
        let told = Self::of(report);
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(told.message),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self { status, ..told },
            _ => told,
        }
    }

    /// No such namespace.
    pub(crate) fn no_namespace(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchNamespaceException",
            format!("namespace `{name}` does not exist"),
        )
    }

    /// No such table.
    pub(crate) fn no_table(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchTableException", format!("table `{name}` does not exist"))
    }

    /// No such view.
    pub(crate) fn no_view(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchViewException", format!("view `{name}` does not exist"))
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

impl From<LakehouseError> for IcebergError {
    fn from(error: LakehouseError) -> Self {
        let report = FaultReport::of(&error);
        match error_type(&error) {
            Some((status, kind)) => Self { status, kind, ..Self::of(&report) },
            None => Self::of(&report),
        }
    }
}

/// Status and type of the errors that are about a noun of the protocol.
fn error_type(error: &LakehouseError) -> Option<(StatusCode, &'static str)> {
    let exists = (StatusCode::CONFLICT, "AlreadyExistsException");
    let no_table = (StatusCode::NOT_FOUND, "NoSuchTableException");
    let no_view = (StatusCode::NOT_FOUND, "NoSuchViewException");
    let no_namespace = (StatusCode::NOT_FOUND, "NoSuchNamespaceException");
    let not_empty = (StatusCode::CONFLICT, "NamespaceNotEmptyException");
    match error {
        LakehouseError::TableNotFound { .. } => Some(no_table),
        LakehouseError::WrongKind { wanted: "table", .. } => Some(no_table),
        LakehouseError::ViewNotFound { .. } | LakehouseError::WrongKind { .. } => Some(no_view),
        LakehouseError::NamespaceNotFound { .. } => Some(no_namespace),
        LakehouseError::AlreadyExists { .. } => Some(exists),
        LakehouseError::NamespaceNotEmpty { .. } => Some(not_empty),
        LakehouseError::Meta { source } => match source {
            MetaError::TableNotFound { .. } => Some(no_table),
            MetaError::ViewNotFound { .. } => Some(no_view),
            MetaError::NamespaceNotFound { .. } => Some(no_namespace),
            MetaError::TableExists { .. } | MetaError::NamespaceExists { .. } => Some(exists),
            MetaError::NamespaceNotEmpty { .. } => Some(not_empty),
            _ => None,
        },
        _ => None,
    }
}

impl IcebergError {
    /// An error of a commit. When the metadata store did not answer, the pointers may have been swapped or not: only
    /// that is told as unknown, since clients must then look before they clean up their files.
    pub(crate) fn of_commit(error: LakehouseError) -> Self {
        let unknown = matches!(&error, LakehouseError::Meta { source }
            if matches!(source.kind(), FaultKind::Unavailable | FaultKind::Internal | FaultKind::Exhausted));
        let told = Self::from(error);
        match unknown {
            true => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                kind: "CommitStateUnknownException",
                ..told
            },
            false => told,
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
