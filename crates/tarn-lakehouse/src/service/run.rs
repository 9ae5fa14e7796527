//! What a run of a table service is and what it cost and saved.

use serde::{Deserialize, Serialize};

/// A service that looks after tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
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

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Compact, Self::Expire, Self::Orphans, Self::Manifests, Self::Statistics];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Expire => "expire",
            Self::Orphans => "orphans",
            Self::Manifests => "manifests",
            Self::Statistics => "statistics",
        }
    }
}

/// How a compaction chooses and orders rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A threshold.
    Automatic,
    /// A statement of SQL.
    Statement,
    /// A request, such as that of a button.
    Api,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It goes on.
    Running,
    /// It did something.
    Done,
    /// There was nothing to do.
    Nothing,
    /// It did not come about; nothing has changed.
    Failed,
}

/// What a run read, wrote and saved. A figure that does not apply is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFigures {
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
}

/// A run of a service on a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRun {
    /// Names it.
    pub id: String,
    /// `namespace.table`.
    pub table: String,
    /// The service.
    pub service: Service,
    /// Of a compaction, how it chose and ordered rows.
    pub strategy: Option<Strategy>,
    /// Who started it.
    pub trigger: Trigger,
    /// Which threshold was passed, for people.
    pub reason: String,
    /// How far it is.
    pub state: RunState,
    /// When it began, ISO 8601.
    pub started_at: String,
    /// How long it took; of one that goes on, until now.
    pub duration_ms: u64,
    /// Processor time; `None` while it goes on, and where the system does not say.
    pub cpu_ms: Option<u64>,
    /// What it cost and saved.
    #[serde(flatten)]
    pub figures: RunFigures,
    /// Its commit; text, since it does not fit a JavaScript number.
    pub snapshot_id: Option<String>,
    /// Why it failed.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What all runs of a table came to since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Runs that ended.
    pub runs: u64,
    /// Of them, those that failed.
    pub failures: u64,
    /// Processor time, milliseconds.
    pub cpu_ms: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes of files deleted.
    pub bytes_freed: u64,
}

impl ServiceTotals {
    pub(crate) fn add(&mut self, run: &ServiceRun) {
        self.runs += 1;
        self.failures += u64::from(run.state == RunState::Failed);
        self.cpu_ms += run.cpu_ms.unwrap_or(0);
        self.bytes_read += run.figures.bytes_read;
        self.bytes_written += run.figures.bytes_written;
        self.bytes_freed += run.figures.bytes_freed;
    }
}
