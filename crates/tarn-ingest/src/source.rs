//! The traits of the family of sources.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::Serialize;
use tarn_component::ComponentSpec;
use tarn_core::{Env, Position, RequestContext};
use tarn_eventlog::ProducerState;

use crate::error::IngestError;

/// A table as the source knows it, such as `public.orders`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SourceTable {
    /// Schema or folder; empty where the source has none.
    pub namespace: String,
    /// The table's name.
    pub name: String,
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

impl fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// What a source says about a table before its first row, and again when its schema changes.
#[derive(Clone, Debug)]
pub struct TableDescription {
    /// Which table.
    pub table: SourceTable,
    /// The source's own columns (no added ones). A field's metadata may hold `tarn.source_type`, the source's name of
    /// its type, and `tarn.column_id`, a number that stays with the column when it is renamed.
    pub schema: SchemaRef,
    /// Names of the key columns in key order; empty without a key.
    pub key: Vec<String>,
}

/// Rows of one table.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// Which table; described before.
    pub table: SourceTable,
    /// Change rows (see `tarn_core::change`), in source order; may be empty to store a state alone.
    pub rows: RecordBatch,
    /// The independent part of the source that wrote: empty for the stream, such as `snapshot-3` for a chunk.
    /// Positions grow within (table, part).
    pub part: String,
    /// The position of the last row, or of what the note covers if there is no row.
    pub position: Position,
    /// Comes back in [`Resume`] after a restart; at most 1 MiB.
    pub note: Vec<u8>,
    /// Whether the source transaction of the last row ends with it.
    pub transaction_end: bool,
}

/// A row or record that could not be read or mapped; it goes to the dead-letter topic and the source goes on.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Which table, as far as known.
    pub table: Option<SourceTable>,
    /// The record as text, cut to 64 KiB.
    pub record: String,
    /// What was wrong and what to do.
    pub reason: String,
    /// Where it stood, such as `orders.csv:17`.
    pub at: String,
}

/// How far a source is with what it has to read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Rows read so far.
    pub rows_done: u64,
    /// Rows that there are, where the source knows about it.
    pub rows_estimated: Option<u64>,
    /// One line, such as `reading orders-17.csv` or `simulated clock: 2013-03-01 06:00`.
    pub message: Option<String>,
}

/// A table that is declared by name and not there. The source goes on, and reads it once it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingTable {
    /// As it is declared.
    pub table: String,
    /// A table that is there and has a similar name.
    pub similar: Option<String>,
}

/// What a source yields.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// A table appeared or changed its schema. Rows after it have the new schema.
    Table(TableDescription),
    /// Rows.
    Rows(SourceBatch),
    /// A record that could not be used. It is durable before the next event of another kind is handled, so rows
    /// after it never become durable without it.
    DeadLetter(DeadLetter),
    /// How far a snapshot or a bounded read is, for people.
    Progress(Progress),
    /// Tables that are declared by name and not there; replaces what was said before, empty once all are there.
    Missing(Vec<MissingTable>),
    /// Nothing to do for a moment, but the source is alive and complete up to now; carries how far it is behind
    /// its system in bytes, where it knows.
    Idle {
        /// Bytes that the source's system holds and that were not read yet.
        lag_bytes: Option<u64>,
    },
}

/// What was durable when the source stopped last, per table and part.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Empty at the first start.
    pub states: Vec<(SourceTable, String, ProducerState)>,
}

impl Resume {
    /// The state of one part of a table.
    pub fn state(&self, table: &SourceTable, part: &str) -> Option<&ProducerState> {
        self.states.iter().find(|(t, p, _)| t == table && p == part).map(|(_, _, state)| state)
    }
}

/// A running reader.
#[async_trait]
pub trait Source: Send {
    /// The next event, or `None` once a bounded source is drained. Waits at most about a second, then gives `Idle`.
    /// Dropping the future loses no row. Rows at or before the resumed state of their (table, part) are dropped by
    /// the supervisor, so a source may start earlier than it needs to.
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError>;

    /// All rows of (table, part) up to `position` are durable: the source's system may forget them once that holds
    /// for every table.
    async fn acknowledge(
        &mut self,
        table: &SourceTable,
        part: &str,
        position: Position,
    ) -> Result<(), IngestError>;
}

/// What a connection test found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// One line per thing looked at, in order; the first that failed is last.
    pub steps: Vec<CheckStep>,
    /// Tables that would be read, as far as they could be listed.
    pub tables: Vec<SourceTable>,
}

/// One thing that a connection test looked at.
#[derive(Clone, Debug, Serialize)]
pub struct CheckStep {
    /// Such as `connect` or `wal_level is logical`.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found, and what to do if it does not hold.
    pub detail: String,
}

impl CheckStep {
    /// A step of a result: `detail` says what was found; a fault is told with its hint.
    pub fn of<T>(
        name: impl Into<String>,
        result: &Result<T, IngestError>,
        detail: impl FnOnce(&T) -> String,
    ) -> Self {
        let name = name.into();
        match result {
            Ok(found) => Self { name, ok: true, detail: detail(found) },
            Err(error) => {
                let report = tarn_core::FaultReport::of(error);
                let hint = report.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                Self { name, ok: false, detail: report.message + &hint }
            }
        }
    }
}

impl CheckReport {
    /// Whether every step holds.
    pub fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }
}

/// A source of one kind with its configuration, not yet connected.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// Tries the connection without changing anything at the source. Errors: none of the source's faults, they are
    /// steps of the report.
    async fn check(&self, ctx: &RequestContext) -> CheckReport;

    /// Connects and starts reading where `resume` ends.
    async fn open(&self, ctx: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError>;

    /// Removes what the source left in its system (slot, publication). Called when its resource is deleted.
    async fn remove(&self, ctx: &RequestContext) -> Result<(), IngestError>;

    /// Where records are pushed to; `None` for a source that reads by itself.
    fn intake(&self) -> Option<Arc<dyn Intake>> {
        None
    }

    /// Whether event times are those of the world. A replay has a clock of its own, so its rows have no lag.
    fn is_in_real_time(&self) -> bool {
        true
    }
}

/// A body that was pushed to a source.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// The table; the source's default table if `None`.
    pub table: Option<String>,
    /// JSON object, JSON array of objects, or one JSON object per line.
    pub body: bytes::Bytes,
    /// As sent; tells NDJSON from JSON. The body decides where it is missing.
    pub content_type: Option<String>,
    /// A repeated push with the same key is not stored again.
    pub idempotency_key: Option<String>,
}

/// What became of a push. Everything named here is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushReceipt {
    /// Rows stored.
    pub rows: u64,
    /// Offset of the first of them in the table's topic.
    pub first_offset: u64,
    /// One past the last of them.
    pub next_offset: u64,
    /// Records that did not fit and went to the dead letters.
    pub dead_letters: u64,
    /// The first of them: which record (from 0) and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<PushReason>,
    /// Whether this key was pushed before, so that nothing was stored now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

/// Why a pushed record was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushReason {
    /// Number of the record in the body, from 0.
    pub record: u64,
    /// What was wrong with it.
    pub reason: String,
}

/// Takes pushed records.
#[async_trait]
pub trait Intake: Send + Sync + fmt::Debug {
    /// Returns once the records are durable. Errors: `InvalidPush`, `TooLarge`, `Unreachable` while the source is not
    /// running; nothing of the push is stored then, or the same idempotency key finds out.
    async fn push(&self, ctx: &RequestContext, push: Push) -> Result<PushReceipt, IngestError>;
}

/// What a connector is built with.
#[derive(Clone, Debug)]
pub struct ConnectorContext {
    /// The resource's name: part of slot names, producer names and topic names.
    pub name: tarn_core::ResourceName,
    /// Time, randomness, tasks.
    pub env: Env,
    /// The project folder, against which relative paths of configurations are resolved.
    pub project: std::path::PathBuf,
}

/// Builds a connector from a configuration whose secrets are already resolved. Errors: `InvalidConfig`.
pub type BuildConnector = fn(ConnectorContext, serde_json::Value) -> Result<Arc<dyn Connector>, IngestError>;

/// A member of the family of sources.
pub struct SourceSpec {
    /// Name, docs, schema, examples.
    pub component: ComponentSpec,
    /// Makes a connector.
    pub build: BuildConnector,
}
