//! Sources of change rows, and the service that keeps them running: nothing skipped, nothing doubled.

mod error;
mod files;
mod records;
mod source;
pub mod sources;
mod supervisor;

pub use error::{BoxError, IngestError};
pub use files::{EndpointRules, FileReaders, IngestConfig, UPLOAD_SCHEME, upload_folder};
pub use records::{ColumnConfig, ColumnType};
pub use source::{
    BuildConnector, CheckReport, CheckStep, Connector, ConnectorContext, DeadLetter, Intake, MissingTable,
    Progress, Push, PushReason, PushReceipt, Resume, Source, SourceBatch, SourceEvent, SourceSpec,
    SourceTable, TableDescription,
};
pub use sources::{SOURCES, source_spec};
pub use supervisor::{
    HistoryEntry, Ingest, IngestPorts, Route, SnapshotProgress, SourceInstance, SourceState, SourceSummary,
    StoredDeadLetter, TablePhase, TableStatus, dead_letter_topic, table_of, topic_of,
};
