//! What a driver's error means to the caller.

use sqlx::error::Error;

use crate::error::MetaError;

/// Chooses the error for what happened at `place` (a path, or a URL without password).
pub(crate) fn of(source: Error, place: &str) -> MetaError {
    let place = place.to_string();
    match &source {
        Error::Database(error) => {
            let code = error.code().map(|code| code.to_string()).unwrap_or_default();
            if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                return of_postgres(&code, place, source);
            }
            let is_malformed = error.message().starts_with("malformed database schema");
            of_sqlite(&code, is_malformed, place, source)
        }
        Error::Io(error) if is_full(error) => MetaError::DiskFull { place, source },
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
            MetaError::Unreachable { place, source }
        }
        // Also the answer of something that is no PostgreSQL server.
        Error::Protocol(_) => MetaError::Unreachable { place, source },
        Error::Configuration(_)
        | Error::InvalidArgument(_)
        | Error::RowNotFound
        | Error::TypeNotFound { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnDecode { .. }
        | Error::Encode(_)
        | Error::Decode(_)
        | Error::AnyDriverError(_)
        | Error::InvalidSavePointStatement
        | Error::BeginFailed => MetaError::Store { place, source },
        // The enum of the driver is open.
        _ => MetaError::Store { place, source },
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

// https://www.sqlite.org/rescode.html: the low byte is the primary code.
fn of_sqlite(code: &str, is_malformed: bool, place: String, source: Error) -> MetaError {
    const PERM: i32 = 3;
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READONLY: i32 = 8;
    const IOERR: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANTOPEN: i32 = 14;
    const AUTH: i32 = 23;
    const NOTADB: i32 = 26;
    let primary = code.parse::<i32>().unwrap_or(0) & 0xff;
    // A file that ends early.
    const IOERR_SHORT_READ: &str = "522";
    match primary {
        _ if code == IOERR_SHORT_READ => MetaError::Damaged { place, source },
        BUSY | LOCKED => MetaError::Locked { place, source },
        CORRUPT | NOTADB => MetaError::Damaged { place, source },
        FULL => MetaError::DiskFull { place, source },
        IOERR | CANTOPEN => MetaError::Unreachable { place, source },
        READONLY | PERM | AUTH => MetaError::NotPermitted { place, source },
        _ if is_malformed => MetaError::Damaged { place, source },
        _ => MetaError::Store { place, source },
    }
}

// https://www.postgresql.org/docs/15/errcodes-appendix.html
fn of_postgres(code: &str, place: String, source: Error) -> MetaError {
    match code {
        "28P01" | "28000" => MetaError::LoginRefused { place, source },
        "3D000" => MetaError::DatabaseNotFound { place, source },
        "42501" | "25006" => MetaError::NotPermitted { place, source },
        "55P03" | "40P01" | "40001" => MetaError::Locked { place, source },
        "53100" => MetaError::DiskFull { place, source },
        "XX001" | "XX002" => MetaError::Damaged { place, source },
        _ => match code.get(..2) {
            Some("53") => MetaError::Overloaded { place, source },
            // Shut down, starting up, connection lost.
            Some("08" | "57") => MetaError::Unreachable { place, source },
            _ => MetaError::Store { place, source },
        },
    }
}
