use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A service that looks after tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableService {
    /// Files are rewritten.
    Compact,
    /// Old snapshots go, with the files that only they need.
    Expire,
    /// Files that no snapshot needs go.
    Orphans,
    /// Manifests are rewritten by partition.
    Manifests,
    /// Distinct values are counted.
    Statistics,
}

/// How a compaction chooses and orders rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompactionStrategy {
    /// Small files of about one size, and worn ones.
    Minor,
    /// All small files and all with a deleted row.
    Major,
    /// Rows are sorted.
    Sort,
    /// Rows are ordered along a Z-curve over some columns.
    Zorder,
}

/// Who started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTrigger {
    /// A threshold.
    Automatic,
    /// A statement of SQL.
    Statement,
    /// A request, such as that of a button.
    Api,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceRunState {
    /// It goes on.
    Running,
    /// It did something.
    Done,
    /// There was nothing to do.
    Nothing,
    /// It did not come about; nothing has changed.
    Failed,
}

/// A run of a service on a table, with what it cost and saved. A figure that does not apply is 0.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceRun {
    /// Names it.
    pub id: String,
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: TableService,
    /// Of a compaction, how it chose and ordered rows.
    pub strategy: Option<CompactionStrategy>,
    /// Who started it.
    pub trigger: ServiceTrigger,
    /// Which threshold was passed.
    pub reason: String,
    /// How far it is.
    pub state: ServiceRunState,
    /// When it began.
    pub started_at: String,
    /// How long it took; of one that goes on, until now.
    pub duration_ms: u64,
    /// Processor time; null while it goes on.
    pub cpu_ms: Option<u64>,
    /// Bytes of the files that were read.
    pub bytes_read: u64,
    /// Bytes of the files that were written.
    pub bytes_written: u64,
    /// Rows written; of statistics, rows looked at.
    pub rows_written: u64,
    /// Live data files before.
    pub files_before: u64,
    /// Live data files after.
    pub files_after: u64,
    /// Live delete files before.
    pub delete_files_before: u64,
    /// Live delete files after.
    pub delete_files_after: u64,
    /// Deleted rows that are in no live file any more.
    pub deletes_removed: u64,
    /// Files deleted from the store.
    pub files_removed: u64,
    /// Their bytes.
    pub bytes_freed: u64,
    /// Snapshots expired.
    pub snapshots_removed: u64,
    /// Manifests before.
    pub manifests_before: u64,
    /// Manifests after.
    pub manifests_after: u64,
    /// Its commit, as text.
    pub snapshot_id: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A run under way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunningService {
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: TableService,
    /// Which threshold was passed.
    pub reason: String,
    /// Since when.
    pub since: String,
}

/// A run that waits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingService {
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: TableService,
    /// Which threshold was passed.
    pub reason: String,
    /// Since when.
    pub since: String,
    /// How much good it does; 1 where it has just become worth it.
    pub benefit: f64,
    /// Why it does not run.
    pub blocked_by: String,
}

/// What the scheduler of table services does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableServices {
    /// Whether runs are held.
    pub paused: bool,
    /// Runs at a time.
    pub concurrent_max: usize,
    /// Bytes that runs may read per minute.
    pub bytes_per_minute: u64,
    /// What is left of it now; below 0 where a run read more.
    pub bytes_left: i64,
    /// Share of all cores that runs may use on average.
    pub cpu_share: f64,
    /// Runs under way.
    pub running: Vec<RunningService>,
    /// Runs that wait, in the order in which they come.
    pub waiting: Vec<WaitingService>,
}

/// Holds table services, or lets them go on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseServices {
    /// Whether runs are held.
    pub paused: bool,
}
