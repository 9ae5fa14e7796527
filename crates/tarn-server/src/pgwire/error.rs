//! Errors as PostgreSQL clients expect them: SQLSTATE, position, hint.

use pgwire::error::{ErrorInfo, PgWireError};
use tarn_core::{Fault, FaultReport};
use tarn_query::QueryError;

use super::split::{Piece, position_in};
use crate::fault::sqlstate;

/// An error with a SQLSTATE.
pub(crate) fn user_error(code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_string(), code.to_string(), message.into())))
}

/// An error after which the connection is closed.
pub(crate) fn fatal(code: &str, message: impl Into<String>, hint: Option<String>) -> PgWireError {
    let mut info = ErrorInfo::new("FATAL".to_string(), code.to_string(), message.into());
    info.hint = hint;
    PgWireError::UserError(Box::new(info))
}

/// A fault of ours.
pub(crate) fn of_fault(fault: &dyn Fault) -> PgWireError {
    let report = FaultReport::of(fault);
    let mut info = ErrorInfo::new("ERROR".to_string(), sqlstate(report.kind).to_string(), report.message);
    info.hint = report.hint;
    PgWireError::UserError(Box::new(info))
}

/// An error of the query engine about a piece of the client's text.
pub(crate) fn of_query(error: &QueryError, piece: &Piece) -> PgWireError {
    let report = FaultReport::of(error);
    let code = match error {
        QueryError::Syntax { .. } => "42601",
        QueryError::Plan { .. } => plan_code(&report.message),
        QueryError::NotPossible { .. } => "0A000",
        QueryError::Coded { code, .. } => code,
        QueryError::InTransaction { .. } => "25001",
        QueryError::ReadOnly { .. } => "25006",
        QueryError::Denied { .. } => "42501",
        QueryError::Cancelled { .. } | QueryError::TimedOut { .. } => "57014",
        QueryError::MemoryExhausted { .. } => "53200",
        QueryError::TooManyQueries { .. } => "53300",
        QueryError::Execution { .. } => execution_code(&report.message),
        QueryError::QueryIdInUse { .. } | QueryError::QueryNotFound { .. } => "42710",
        QueryError::Storage { .. } => storage_code(&report.message).unwrap_or(sqlstate(report.kind)),
        QueryError::Internal { .. } => sqlstate(report.kind),
    };
    let mut info = ErrorInfo::new("ERROR".to_string(), code.to_string(), report.message);
    info.hint = report.hint;
    info.position = error.position().map(|at| position_in(piece, at.line, at.column).to_string());
    PgWireError::UserError(Box::new(info))
}

/// Whether an error says that the server failed, not that the statement was wrong.
pub(crate) fn is_ours(error: &PgWireError) -> bool {
    matches!(error, PgWireError::UserError(info) if info.code.starts_with("XX") || info.code.starts_with("58"))
}

/// The engine has one kind for all names and types that do not fit; clients tell them apart by code.
fn plan_code(message: &str) -> &'static str {
    let text = message.to_lowercase();
    let names = |noun: &str| text.starts_with(noun) || text.contains(&format!("no {noun}"));
    if text.contains("twice") {
        "42701"
    } else if text.contains("which tables do not have") {
        "42704"
    } else if text.contains("no column") {
        "42703"
    } else if text.contains("is a view") {
        "42809"
    } else if names("table") {
        "42P01"
    } else if names("column") {
        "42703"
    } else if names("function") {
        "42883"
    } else if names("namespace") || names("schema") {
        "3F000"
    } else {
        "42000"
    }
}

/// Faults of the catalog that clients tell apart by code.
fn storage_code(message: &str) -> Option<&'static str> {
    Some(match message {
        _ if message.contains("two rows of one key") => "23505",
        _ if message.starts_with("namespace") && message.ends_with("exists already") => "42P06",
        _ if message.ends_with("exists already") => "42P07",
        _ if message.ends_with("is not empty") => "2BP01",
        _ if message.starts_with("namespace") && message.ends_with("not found") => "3F000",
        _ if message.ends_with("is a view, not a table") || message.ends_with("is a table, not a view") => {
            "42809"
        }
        _ if message.starts_with("table") && message.ends_with("not found") => "42P01",
        _ if message.starts_with("view") && message.ends_with("not found") => "42P01",
        _ => return None,
    })
}

fn execution_code(message: &str) -> &'static str {
    let text = message.to_lowercase();
    if text.contains("is never null") {
        "23502"
    } else if text.contains("divi") && text.contains("zero") {
        "22012"
    } else if text.contains("overflow") || text.contains("out of range") {
        "22003"
    } else {
        "22000"
    }
}

#[cfg(test)]
mod tests {
    use tarn_query::SqlPosition;

    use super::super::split::split;
    use super::*;

    #[test]
    fn a_wrong_statement_is_no_fault_of_the_server() {
        assert!(
            is_ours(&user_error("XX000", "broken")) && is_ours(&user_error("58000", "the store is away"))
        );
        assert!(!is_ours(&user_error("42P01", "no such table")) && !is_ours(&PgWireError::QueryCanceled));
    }

    #[test]
    fn a_query_error_points_into_the_whole_text() {
        let pieces = split("select 1; select nope");
        let error = QueryError::Plan {
            message: "column `nope` not found".to_string(),
            position: Some(SqlPosition { line: 1, column: 8 }),
            hint: Some("did you mean `note`?".to_string()),
        };
        let PgWireError::UserError(info) = of_query(&error, &pieces[1]) else { panic!("not a user error") };
        assert_eq!((info.code.as_str(), info.position.as_deref()), ("42703", Some("18")));
        assert_eq!(info.hint.as_deref(), Some("did you mean `note`?"));
    }
}
