use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceRunState {
    /// Connecting.
    Starting,
    /// Reading what was there before.
    Snapshot,
    /// Reading changes as they happen.
    Streaming,
    /// Complete; nothing new for a few seconds.
    Idle,
    /// Stopped by a person.
    Paused,
    /// Waiting to try again after a fault.
    BackingOff,
    /// Stopped by a fault that trying again does not mend.
    Failed,
    /// Read to its end.
    Done,
}

/// How much of what was there before is read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotState {
    /// Rows read.
    pub rows_done: u64,
    /// Rows that there are, as far as known.
    pub rows_estimated: Option<u64>,
}

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceEntry {
    /// Its name.
    pub name: String,
    /// Its type, such as `postgres_cdc`.
    pub r#type: String,
    /// The type's title.
    pub title: String,
    /// What it does.
    pub state: SourceRunState,
    /// Since when.
    pub state_since: String,
    /// Why, or how far.
    pub message: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Durable rows per second, over ten seconds.
    pub rows_per_s: f64,
    /// Durable rows since its topics were made.
    pub rows_total: u64,
    /// Age of the newest change when it became durable.
    pub lag_ms: Option<i64>,
    /// Bytes that its system holds and that were not read yet.
    pub lag_bytes: Option<u64>,
    /// When the last row became durable.
    pub last_row_at: Option<String>,
    /// Restarts after faults since the process started.
    pub restarts: u64,
    /// Records that could not be used.
    pub dead_letters: u64,
    /// Number of its tables.
    pub tables: u64,
    /// Its topics.
    pub topics: Vec<String>,
    /// While it reads what was there before.
    pub snapshot: Option<SnapshotState>,
    /// Revision of its resource.
    pub revision: u64,
    /// Revision that runs.
    pub running_revision: u64,
}

/// A source with everything known about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: SourceEntry,
    /// The spec of its resource, secrets as references.
    #[schema(value_type = Object)]
    pub spec: Value,
    /// The last five minutes, a point per two seconds.
    pub rates: Vec<SourceRateEntry>,
    /// Its tables.
    pub per_table: Vec<SourceTableEntry>,
    /// Changes of state, newest first.
    pub history: Vec<SourceHistoryEntry>,
}

/// A point of the rates of a source.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceRateEntry {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Rows made durable per second.
    pub rows_per_s: f64,
}

/// What a table of a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceTablePhase {
    /// Reading what was there before.
    Snapshot,
    /// Reading changes.
    Streaming,
    /// Read to its end.
    Done,
}

/// A table of a source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceTableEntry {
    /// As the source knows it.
    pub table: String,
    /// Its topic.
    pub topic: String,
    /// Its table in the lakehouse.
    pub lakehouse_table: String,
    /// Durable rows since the topic was made.
    pub rows_total: u64,
    /// Durable rows per second, over ten seconds.
    pub rows_per_s: f64,
    /// Age of the newest change when it became durable.
    pub lag_ms: Option<i64>,
    /// What it does.
    pub phase: SourceTablePhase,
}

/// A change of state.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceHistoryEntry {
    /// When.
    pub at: String,
    /// The new state.
    pub state: SourceRunState,
    /// Why.
    pub message: Option<String>,
}

/// A record that a source could not use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterEntry {
    /// Its number.
    pub offset: u64,
    /// When it was stored.
    pub at: String,
    /// Which table, as far as known.
    pub table: Option<String>,
    /// The record as text.
    pub record: String,
    /// What was wrong and what to do.
    pub reason: String,
    /// Where it stood.
    pub place: String,
}

/// A source type.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceTypeEntry {
    /// As written in resources.
    pub name: String,
    /// For people, English.
    pub title: String,
    /// For people, Chinese.
    pub title_zh: String,
    /// One or two sentences, English.
    pub summary: String,
    /// One or two sentences, Chinese.
    pub summary_zh: String,
    /// Group in lists.
    pub category: String,
    /// `stable` or `beta`.
    pub stability: String,
    /// JSON Schema of the configuration.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Configurations that work.
    pub examples: Vec<SourceTypeExample>,
    /// More documentation, Markdown.
    pub docs: String,
}

/// A configuration that works.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceTypeExample {
    /// What it shows.
    pub title: String,
    /// The `spec` of the resource, YAML.
    pub config: String,
}

/// A configuration to try.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCheckRequest {
    /// The source type.
    pub r#type: String,
    /// Name of the source, as far as it has one: what a source makes in its system is named after it.
    pub name: Option<String>,
    /// Its configuration; secrets as references or values.
    #[schema(value_type = Object)]
    pub config: Value,
}

/// What a try found.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceCheckReport {
    /// Whether every step holds.
    pub ok: bool,
    /// What was looked at, in order; the first that failed is last.
    pub steps: Vec<SourceCheckStep>,
    /// Tables that would be read.
    pub tables: Vec<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceCheckStep {
    /// What.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found, and what to do if it does not hold.
    pub detail: String,
}

/// What became of a push.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PushReport {
    /// Rows stored.
    pub rows: u64,
    /// Offset of the first of them.
    pub first_offset: u64,
    /// One past the last of them.
    pub next_offset: u64,
    /// Records that did not fit and went to the dead letters.
    #[serde(default)]
    pub dead_letters: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<PushRefusal>,
    /// Whether this idempotency key was pushed before, so that nothing was stored now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

/// Why a pushed record was not stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PushRefusal {
    /// Number of the record in the body, from 0.
    pub record: u64,
    /// What was wrong with it.
    pub reason: String,
}
