//! What can go wrong with a source.

use std::io;

use tarn_component::ConfigError;
use tarn_core::{Fault, FaultKind, FaultReport, InvalidName};
use tarn_eventlog::EventLogError;
use tarn_storage::StorageError;

use crate::source::SourceTable;

/// The cause of an error, as a client library gave it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Errors of sources. A source that fails with a transient kind (`Conflict`, `Exhausted`, `Unavailable`) is started
/// again after a pause; with any other kind it stays `failed` until its resource changes or a person restarts it.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// A field of the configuration is wrong.
    #[error("the source's configuration is wrong")]
    InvalidConfig(#[from] ConfigError),
    /// A name cannot be used for a topic or a table.
    #[error("the name cannot be used")]
    InvalidName(#[from] InvalidName),
    /// No such source type.
    #[error("source type `{name}` not found")]
    TypeNotFound {
        /// The type asked for.
        name: String,
        /// The nearest one.
        similar: Option<String>,
    },
    /// No such source.
    #[error("source `{name}` not found")]
    SourceNotFound {
        /// The name asked for.
        name: String,
        /// The nearest one.
        similar: Option<String>,
    },
    /// The source exists, but cannot do this now or at all.
    #[error("source `{name}` {what}")]
    WrongState {
        /// The source.
        name: String,
        /// Such as `is paused`.
        what: String,
        /// What to do.
        advice: String,
    },
    /// The other system does not answer.
    #[error("could not reach {system}")]
    Unreachable {
        /// Kind and address without credentials, such as `PostgreSQL at db:5432`.
        system: String,
        /// What the network said.
        source: BoxError,
    },
    /// The other system refuses us: wrong password, missing right.
    #[error("{system} refused: {what}")]
    Denied {
        /// Kind and address without credentials.
        system: String,
        /// What it said.
        what: String,
        /// Which right or password to set.
        advice: String,
    },
    /// The other system is not set up for reading, such as `wal_level` that is not `logical`.
    #[error("{system} cannot be read: {what}")]
    Unsuitable {
        /// Kind and address without credentials.
        system: String,
        /// What is in the way.
        what: String,
        /// What to change there.
        advice: String,
    },
    /// Someone else uses the thing, such as a replication slot; tried again.
    #[error("{what}")]
    Busy {
        /// Such as ``replication slot `tarn_shop` is in use``.
        what: String,
        /// What to do if it stays so.
        advice: String,
    },
    /// A column has a type that has no Arrow type here.
    #[error("column `{column}` of table {table:?} has type `{source_type}`, which cannot be mapped")]
    UnmappableType {
        /// The table.
        table: SourceTable,
        /// The column.
        column: String,
        /// The source's name of the type.
        source_type: String,
        /// What to do, such as excluding the column.
        advice: String,
    },
    /// What we had read from is gone, so rows may be missing: a dropped slot, a rewritten file.
    #[error("{what}")]
    SourceGone {
        /// What is gone.
        what: String,
        /// How to go on.
        advice: String,
    },
    /// Bytes of the source do not follow their format.
    #[error("could not read {what}")]
    Decode {
        /// What was read, with its place.
        what: String,
        /// What the decoder said.
        source: BoxError,
    },
    /// A source cannot take rows from a sender now.
    #[error("source `{name}` cannot take rows: {}", report.message)]
    NotTaken {
        /// Its name.
        name: String,
        /// Why not.
        report: FaultReport,
    },
    /// A limit of the source is reached.
    #[error("{what}")]
    TooLarge {
        /// Which limit, with its figure.
        what: String,
        /// Which setting raises it, or how to send less.
        advice: String,
    },
    /// A pushed body is not what the source takes.
    #[error("the pushed body cannot be read: {what}")]
    InvalidPush {
        /// What is wrong, with its place.
        what: String,
        /// What to send instead.
        advice: String,
    },
    /// The disk failed.
    #[error("could not {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The event log failed.
    #[error(transparent)]
    Log(#[from] EventLogError),
    /// A connector broke its promise, or panicked.
    #[error("source type `{source_type}` failed by a fault of its own: {what}")]
    Broken {
        /// The type.
        source_type: String,
        /// The message of the panic, or the promise broken.
        what: String,
    },
    /// The service stops.
    #[error("the ingest service is stopping")]
    Stopping,
}

impl IngestError {
    /// A wrong field, with what to write instead.
    pub fn config(field: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::InvalidConfig(ConfigError {
            field: field.into(),
            what: what.into(),
            advice: Some(advice.into()),
        })
    }
}

impl Fault for IngestError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::InvalidConfig(_)
            | Self::InvalidName(_)
            | Self::Unsuitable { .. }
            | Self::UnmappableType { .. }
            | Self::InvalidPush { .. } => FaultKind::Invalid,
            Self::TypeNotFound { .. } | Self::SourceNotFound { .. } | Self::SourceGone { .. } => {
                FaultKind::NotFound
            }
            Self::WrongState { .. } | Self::Busy { .. } => FaultKind::Conflict,
            Self::Unreachable { .. } | Self::Stopping => FaultKind::Unavailable,
            Self::Denied { .. } => FaultKind::Denied,
            Self::Decode { .. } => FaultKind::Corrupt,
            Self::TooLarge { .. } => FaultKind::Exhausted,
            Self::NotTaken { report, .. } => report.kind,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => FaultKind::NotFound,
                io::ErrorKind::PermissionDenied => FaultKind::Denied,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Exhausted,
                _ => FaultKind::Unavailable,
            },
            Self::Storage(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::Broken { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InvalidConfig(error) => error.hint(),
            Self::InvalidName(error) => error.hint(),
            Self::TypeNotFound { similar, .. } | Self::SourceNotFound { similar, .. } => {
                similar.as_ref().map(|name| format!("did you mean `{name}`?"))
            }
            Self::Unreachable { .. } => {
                Some("check host, port, firewall and whether the system runs; it is tried again".to_string())
            }
            Self::WrongState { advice, .. }
            | Self::Denied { advice, .. }
            | Self::Unsuitable { advice, .. }
            | Self::Busy { advice, .. }
            | Self::UnmappableType { advice, .. }
            | Self::SourceGone { advice, .. }
            | Self::TooLarge { advice, .. }
            | Self::InvalidPush { advice, .. } => Some(advice.clone()),
            Self::NotTaken { report, .. } => report.hint.clone(),
            Self::Storage(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Broken { .. } => {
                Some("restart the source; if it fails again, report it with its log".to_string())
            }
            Self::Decode { .. } | Self::Io { .. } | Self::Stopping => None,
        }
    }
}
