//! The one table from kinds of faults to the status codes of each protocol.

use axum::http::StatusCode;
use tarn_core::FaultKind;
use tonic::Code;

/// Status of an HTTP response. A missing or wrong credential is 401 and an oversized body 413 before this table is
/// asked.
pub(crate) fn http_status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Invalid => StatusCode::BAD_REQUEST,
        FaultKind::NotFound => StatusCode::NOT_FOUND,
        FaultKind::Conflict => StatusCode::CONFLICT,
        FaultKind::Denied => StatusCode::FORBIDDEN,
        FaultKind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        FaultKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FaultKind::Corrupt | FaultKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// SQLSTATE of the PostgreSQL protocol.
pub(crate) fn sqlstate(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid => "42000",
        FaultKind::NotFound => "42P01",
        FaultKind::Conflict => "40001",
        FaultKind::Denied => "42501",
        FaultKind::Exhausted => "53000",
        FaultKind::Unavailable => "58000",
        FaultKind::Corrupt => "XX001",
        FaultKind::Internal => "XX000",
    }
}

/// Code of a gRPC status.
pub(crate) fn grpc_code(kind: FaultKind) -> Code {
    match kind {
        FaultKind::Invalid => Code::InvalidArgument,
        FaultKind::NotFound => Code::NotFound,
        FaultKind::Conflict => Code::Aborted,
        FaultKind::Denied => Code::PermissionDenied,
        FaultKind::Exhausted => Code::ResourceExhausted,
        FaultKind::Unavailable => Code::Unavailable,
        FaultKind::Corrupt => Code::DataLoss,
        FaultKind::Internal => Code::Internal,
    }
}

/// Status and error type of the Iceberg REST protocol, for faults that are not about one of its own nouns. An unknown
/// outcome of a commit is not in this table: only the commit itself knows of it.
pub(crate) fn iceberg_error(kind: FaultKind) -> (StatusCode, &'static str) {
    match kind {
        FaultKind::Invalid => (StatusCode::BAD_REQUEST, "BadRequestException"),
        FaultKind::NotFound => (StatusCode::NOT_FOUND, "NotFoundException"),
        FaultKind::Conflict => (StatusCode::CONFLICT, "CommitFailedException"),
        FaultKind::Denied => (StatusCode::FORBIDDEN, "ForbiddenException"),
        FaultKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException"),
        FaultKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
        FaultKind::Corrupt | FaultKind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
        }
    }
}
