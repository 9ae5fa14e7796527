//! Errors of the HTTP API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tarn_core::{Fault, FaultKind, FaultReport};

use crate::api::{ErrorBody, ErrorDetail};
use crate::fault::http_status;

/// A failed request.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub detail: ErrorDetail,
}

impl ApiError {
    /// From a report, with the status of its kind.
    pub(crate) fn of(report: FaultReport) -> Self {
        let detail = ErrorDetail {
            kind: report.kind,
            message: report.message,
            hint: report.hint,
            position: None,
            trace: None,
            problems: Vec::new(),
        };
        Self { status: http_status(report.kind), detail }
    }

    /// A fault of the request itself.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::Invalid, message: message.into(), hint: None })
    }

    /// No such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::NotFound, message: message.into(), hint: None })
    }

    /// The caller may not do this.
    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::Denied, message: message.into(), hint: None })
    }

    /// The caller did not say who they are, or wrongly.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::denied(message) }
    }

    /// The body is larger than allowed.
    pub(crate) fn too_large(limit: u64, option: &str) -> Self {
        let report = FaultReport {
            kind: FaultKind::Exhausted,
            message: format!("the body is larger than {}", tarn_core::ByteSize(limit)),
            hint: Some(format!("send less at once, or raise `{option}` in the configuration")),
        };
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::of(report) }
    }

    /// A limit of ours is reached for now.
    pub(crate) fn exhausted(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::Exhausted, message: message.into(), hint: None })
    }

    /// A part of ours did not answer in time.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::Unavailable, message: message.into(), hint: None })
    }

    /// A broken promise of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::of(FaultReport { kind: FaultKind::Internal, message: message.into(), hint: None })
    }

    /// The same with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = Some(hint.into());
        self
    }
}

impl<F: Fault> From<F> for ApiError {
    fn from(fault: F) -> Self {
        Self::of(FaultReport::of(&fault))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(ErrorBody { error: self.detail })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
