//! Sources of change rows, and the service that keeps them running: nothing skipped, nothing doubled.

mod error;
mod source;
pub mod sources;

pub use error::{BoxError, IngestError};
pub use source::{
    BuildConnector, CheckReport, CheckStep, Connector, ConnectorContext, DeadLetter, Resume, Source,
    SourceBatch, SourceEvent, SourceSpec, SourceTable, TableDescription,
};
pub use sources::{SOURCES, source_spec};
