use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SourceEntry, TableSummary};

/// The installation at a glance.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// When the process started.
    pub started_at: String,
    /// How long it runs.
    pub uptime_ms: i64,
    /// Sources by what they do.
    pub sources: SourceCounts,
    /// Rows made durable per second, over ten seconds.
    pub rows_per_s: f64,
    /// Rows made durable since the process started.
    pub rows_total: u64,
    /// Bytes made durable per second, over ten seconds.
    pub bytes_per_s: f64,
    /// Queries per second, over ten seconds.
    pub queries_per_s: f64,
    /// Median time of the last queries.
    pub query_p50_ms: f64,
    /// 99 % of the last queries took no longer.
    pub query_p99_ms: f64,
    /// Memory of the process.
    pub memory_bytes: u64,
    /// Bytes in the data folder.
    pub disk_bytes: u64,
    /// Free bytes on its disk.
    pub disk_free_bytes: u64,
    /// The worst freshness of a table.
    pub freshness_ms_max: Option<i64>,
    /// The last five minutes, a point per two seconds.
    pub rates: Vec<RateEntry>,
    /// Sources.
    pub sources_list: Vec<SourceEntry>,
    /// Tables.
    pub tables_list: Vec<TableSummary>,
    /// What is wrong now.
    pub faults: Vec<FaultEntry>,
}

/// Sources by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceCounts {
    /// Reading, or complete.
    pub running: u64,
    /// Stopped by a person.
    pub paused: u64,
    /// Stopped by a fault, or waiting to try again.
    pub failed: u64,
    /// Connecting.
    pub starting: u64,
}

/// A point of the rates.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct RateEntry {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Rows made durable per second.
    pub rows_per_s: f64,
    /// Queries per second.
    pub queries_per_s: f64,
}

/// Something that is wrong now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultEntry {
    /// Since when.
    pub at: String,
    /// `error` or `warning`.
    pub severity: String,
    /// `source`, `table`, `resource` or `topic`.
    pub subject_kind: String,
    /// Which one.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Where to do it.
    pub action: FaultActionEntry,
}

/// What the console offers for a fault.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultActionEntry {
    /// `restart`, `open` or `retry`.
    pub label_key: String,
    /// Page of the console.
    pub href: String,
}

/// A list changed; sent as event `changed`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangedEvent {
    /// `source`, `resource` or `table`.
    pub kind: String,
    /// Which one; empty when it is not known.
    pub name: String,
}

/// Whether the server does its work.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthReport {
    /// `ok` or `starting`.
    pub status: String,
    /// What was looked at.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// What.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
