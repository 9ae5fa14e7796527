//! Keeps sources running: one task each, started again after passing faults, stopped for good by the others.

mod appender;
mod check;
mod claims;
mod dead_letters;
mod pause;
mod runner;
mod service;
mod session;
mod status;
mod topics;

pub use dead_letters::StoredDeadLetter;
pub use service::{Ingest, IngestPorts, SourceInstance};
pub use status::{HistoryEntry, SnapshotProgress, SourceState, SourceSummary, TablePhase, TableStatus};
pub use topics::{Route, dead_letter_topic, table_of, topic_of};
