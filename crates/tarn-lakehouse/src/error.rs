//! What can go wrong with tables.

use tarn_core::files::FilesFault;
use tarn_core::{Fault, FaultKind};
use tarn_eventlog::EventLogError;
use tarn_meta::MetaError;
use tarn_storage::StorageError;

/// Errors of the lakehouse.
#[derive(Debug, thiserror::Error)]
pub enum LakehouseError {
    /// No such table.
    #[error("table `{table}` not found")]
    TableNotFound {
        /// The name asked for.
        table: String,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// No such view.
    #[error("view `{view}` not found")]
    ViewNotFound {
        /// The name asked for.
        view: String,
        /// The nearest name that exists.
        similar: Option<String>,
    },
    /// A view where a table is needed, or the other way round.
    #[error("`{name}` is a {found}, not a {wanted}")]
    WrongKind {
        /// The name asked for.
        name: String,
        /// `table` or `view`: what it is.
        found: &'static str,
        /// `table` or `view`: what was asked for.
        wanted: &'static str,
    },
    /// No such namespace.
    #[error("namespace `{namespace}` not found")]
    NamespaceNotFound {
        /// The name asked for.
        namespace: String,
    },
    /// The name is taken.
    #[error("{kind} `{name}` exists already")]
    AlreadyExists {
        /// `table` or `namespace`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The namespace holds tables.
    #[error("namespace `{namespace}` is not empty")]
    NamespaceNotEmpty {
        /// The namespace.
        namespace: String,
    },
    /// A requirement of a commit does not hold on the newest state.
    #[error("commit to `{table}` failed: {what}")]
    CommitFailed {
        /// The table or view.
        table: String,
        /// Which requirement.
        what: String,
    },
    /// A row came whose key another row has.
    #[error("table `{table}` would hold two rows of one key ({key})")]
    DuplicateKey {
        /// The table.
        table: String,
        /// Its key columns.
        key: String,
    },
    /// Others committed first, again and again.
    #[error("commit to table `{table}` lost the race {attempts} times")]
    CommitConflict {
        /// The table.
        table: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A snapshot that is not there (any more).
    #[error("table `{table}` has no snapshot {}", dated(wanted))]
    SnapshotNotFound {
        /// The table.
        table: String,
        /// What was asked for.
        wanted: String,
    },
    /// A location outside the warehouse.
    #[error("`{location}` does not lie in the warehouse `{warehouse}`")]
    BadLocation {
        /// The location.
        location: String,
        /// The warehouse.
        warehouse: String,
    },
    /// A source's schema cannot become a table, or a change of it cannot be followed.
    #[error("table `{table}` cannot take column `{column}`: {what}")]
    Unmappable {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Why.
        what: String,
    },
    /// The columns of the source changed, and a person is to decide.
    #[error("table `{table}` stands still before a change at its source: {changes}")]
    SchemaChange {
        /// The table.
        table: String,
        /// What changed.
        changes: String,
    },
    /// A request of a client does not make sense.
    #[error("{what}")]
    Invalid {
        /// Why.
        what: String,
    },
    /// Files of others cannot be found or read.
    #[error(transparent)]
    Files(#[from] FilesFault),
    /// No such import.
    #[error("import `{id}` not found")]
    ImportNotFound {
        /// The identifier asked for.
        id: String,
    },
    /// The object store failed.
    #[error("the warehouse did not answer")]
    Store {
        /// What it said.
        #[from]
        source: StorageError,
    },
    /// The metadata store failed.
    #[error("the catalog did not answer")]
    Meta {
        /// What it said.
        #[from]
        source: MetaError,
    },
    /// The log failed.
    #[error("the topic behind the table did not answer")]
    Log {
        /// What it said.
        #[from]
        source: EventLogError,
    },
    /// Table files are not what they should be.
    #[error("could not {action} of table `{table}`")]
    Format {
        /// What was tried.
        action: &'static str,
        /// The table.
        table: String,
        /// What Iceberg said.
        source: iceberg::Error,
    },
    /// A Parquet file failed.
    #[error("could not read data file `{path}`")]
    Parquet {
        /// Which.
        path: String,
        /// What Parquet said.
        source: parquet::errors::ParquetError,
    },
    /// Rows do not fit the table.
    #[error("rows of table `{table}` could not be converted")]
    Arrow {
        /// The table.
        table: String,
        /// What Arrow said.
        source: arrow::error::ArrowError,
    },
}

/// A time of the form `at N ms since 1970` as people read it; anything else as it is.
fn dated(wanted: &str) -> String {
    let ms = wanted.strip_prefix("at ").and_then(|rest| rest.strip_suffix(" ms since 1970"));
    match ms.and_then(|ms| chrono::DateTime::from_timestamp_millis(ms.parse().ok()?)) {
        Some(time) => format!("at {}", time.format("%Y-%m-%d %H:%M:%S%.f UTC")),
        None => wanted.to_string(),
    }
}

/// What a store said, somewhere down the chain of an error of Iceberg.
fn store_cause(error: &iceberg::Error) -> Option<FaultKind> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |&e| e.source()).find_map(|e| {
        let storage = e.downcast_ref::<StorageError>().map(Fault::kind);
        let lakehouse = || e.downcast_ref::<LakehouseError>().map(Fault::kind);
        let full = || {
            let io = e.downcast_ref::<std::io::Error>()?;
            let is_full =
                matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
            is_full.then_some(FaultKind::Exhausted)
        };
        storage.or_else(lakehouse).or_else(full)
    })
}

impl Fault for LakehouseError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::TableNotFound { .. }
            | Self::ViewNotFound { .. }
            | Self::NamespaceNotFound { .. }
            | Self::SnapshotNotFound { .. }
            | Self::ImportNotFound { .. } => FaultKind::NotFound,
            Self::Files(fault) => fault.kind(),
            Self::AlreadyExists { .. }
            | Self::NamespaceNotEmpty { .. }
            | Self::CommitFailed { .. }
            | Self::DuplicateKey { .. }
            | Self::CommitConflict { .. } => FaultKind::Conflict,
            Self::BadLocation { .. }
            | Self::Unmappable { .. }
            | Self::WrongKind { .. }
            | Self::SchemaChange { .. }
            | Self::Invalid { .. } => FaultKind::Invalid,
            // A file that the metadata names must be there.
            Self::Store { source: StorageError::NotFound { .. } } => FaultKind::Corrupt,
            Self::Store { source } => source.kind(),
            Self::Meta { source } => source.kind(),
            Self::Log { source } => source.kind(),
            Self::Format { source, .. } => store_cause(source).unwrap_or(match source.kind() {
                iceberg::ErrorKind::DataInvalid => FaultKind::Corrupt,
                _ => FaultKind::Unavailable,
            }),
            Self::Parquet { .. } => FaultKind::Corrupt,
            Self::Arrow { .. } => FaultKind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::WrongKind { found: "view", .. } => {
                Some("write VIEW: `DROP VIEW v`, `ALTER VIEW v RENAME TO w`".to_string())
            }
            Self::WrongKind { .. } => {
                Some("write TABLE: `DROP TABLE t`, `ALTER TABLE t RENAME TO u`".to_string())
            }
            Self::TableNotFound { similar, .. } | Self::ViewNotFound { similar, .. } => {
                similar.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            Self::DuplicateKey { .. } => Some(
                "write `INSERT ... ON CONFLICT DO NOTHING`, `ON CONFLICT DO UPDATE SET ...` or `MERGE`, or take the \
                 rows that occur twice out of the query"
                    .to_string(),
            ),
            Self::Files(fault) => fault.hint(),
            Self::ImportNotFound { .. } => Some("`tarn import list` shows those that are known".to_string()),
            Self::NamespaceNotEmpty { .. } => Some("drop its tables and views first".to_string()),
            Self::SnapshotNotFound { .. } => {
                Some("the table's page lists the snapshots that are kept".to_string())
            }
            Self::BadLocation { warehouse, .. } => Some(format!("use a location below `{warehouse}`")),
            Self::Unmappable { .. } => Some(
                "rename or cast the column at the source, or leave the table out of the source".to_string(),
            ),
            Self::SchemaChange { table, .. } => Some(format!(
                "nothing is lost, rows wait in the topic; follow this change by `CALL accept_schema_change('{table}')`, or set \
                 `on_schema_change` of the source to evolve, try, lenient or ignore"
            )),
            Self::Meta { source } => source.hint(),
            Self::Log { source } => source.hint(),
            _ if self.kind() == FaultKind::Exhausted => {
                Some("free disk space; the table goes on by itself and nothing is lost".to_string())
            }
            _ if self.kind() == FaultKind::Corrupt => {
                Some("a file of the table is missing or damaged; restore it from a backup".to_string())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_snapshot_is_told_as_a_date() {
        let error = |wanted: &str| {
            let (table, wanted) = ("shop.orders".to_string(), wanted.to_string());
            LakehouseError::SnapshotNotFound { table, wanted }.to_string()
        };
        let told = "table `shop.orders` has no snapshot at 2026-01-31 12:00:00 UTC";
        assert_eq!(error("at 1769860800000 ms since 1970"), told);
        assert_eq!(error("17"), "table `shop.orders` has no snapshot 17");
    }
}
