//! What a source does right now, for people and for the fault board.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::{Clock, Fault, FaultKind, FaultReport, ResourceName, TenantId};
use tarn_observe::{
    Counter, FaultAction, FaultBoard, FaultNote, Gauge, Histogram, Metric, Severity, SubjectKind,
    TenantMetrics,
};
use tokio::sync::watch;

use super::topics::Route;
use crate::source::{MissingTable, Progress, SourceTable};

/// Changes of state kept per source.
const HISTORY_MAX: usize = 200;
/// A source without rows for this long is idle.
const IDLE_AFTER_MS: i64 = 5_000;

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Connecting.
    Starting,
    /// Reading what was there before.
    Snapshot,
    /// Reading changes as they happen.
    Streaming,
    /// Connected and complete; nothing new for a few seconds.
    Idle,
    /// Stopped by a person.
    Paused,
    /// Waiting to try again after a fault.
    BackingOff,
    /// Stopped by a fault that trying again does not mend.
    Failed,
    /// A bounded source that is read to its end.
    Done,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// When, ISO 8601 UTC.
    pub at: String,
    /// The new state.
    pub state: SourceState,
    /// Why, if it is not the usual course.
    pub message: Option<String>,
}

/// How much of a snapshot is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotProgress {
    /// Rows read.
    pub rows_done: u64,
    /// Rows that there are, as far as known.
    pub rows_estimated: Option<u64>,
}

/// A source as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub source_type: String,
    /// The type's title.
    pub title: String,
    /// What it does.
    pub state: SourceState,
    /// Since when, ISO 8601 UTC.
    pub state_since: String,
    /// Why, or how far.
    pub message: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Durable rows per second, over ten seconds.
    pub rows_per_s: f64,
    /// Durable rows since its topics were made.
    pub rows_total: u64,
    /// Age of the newest change when it became durable; 0 when complete; `None` where it is not known.
    pub lag_ms: Option<i64>,
    /// Bytes that its system holds and that were not read yet.
    pub lag_bytes: Option<u64>,
    /// When the last row became durable, ISO 8601 UTC.
    pub last_row_at: Option<String>,
    /// Restarts after faults since the process started.
    pub restarts: u64,
    /// Records that could not be used.
    pub dead_letters: u64,
    /// Number of its tables.
    pub tables: usize,
    /// Its topics.
    pub topics: Vec<String>,
    /// While it reads what was there before.
    pub snapshot: Option<SnapshotProgress>,
    /// Revision of the resource.
    pub revision: u64,
    /// Revision that runs.
    pub running_revision: u64,
}

/// What a table of a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TablePhase {
    /// Reading what was there before.
    Snapshot,
    /// Reading changes.
    Streaming,
    /// Read to its end.
    Done,
}

/// A table of a source as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct TableStatus {
    /// The table as the source knows it.
    pub table: String,
    /// Its topic.
    pub topic: String,
    /// The table of the lakehouse.
    pub lakehouse_table: String,
    /// Durable rows since the topic was made.
    pub rows_total: u64,
    /// Durable rows per second, over ten seconds.
    pub rows_per_s: f64,
    /// Age of the newest change when it became durable.
    pub lag_ms: Option<i64>,
    /// What it does.
    pub phase: TablePhase,
}

#[derive(Debug)]
struct TableLive {
    route: Route,
    rows_before: u64,
    rows: Counter,
    rows_at_start: u64,
    lag_ms: Option<i64>,
    phase: TablePhase,
}

impl TableLive {
    fn rows_total(&self) -> u64 {
        self.rows_before + self.rows.total().saturating_sub(self.rows_at_start)
    }
}

#[derive(Debug)]
struct Live {
    state: SourceState,
    since_ms: i64,
    message: Option<String>,
    hint: Option<String>,
    kind: Option<FaultKind>,
    progress: Option<Progress>,
    lag_bytes: Option<u64>,
    last_row_ms: Option<i64>,
    restarts: u64,
    dead_letters: u64,
    running_revision: u64,
    history: VecDeque<HistoryEntry>,
    tables: BTreeMap<SourceTable, TableLive>,
}

/// Rows of one append that became durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurableRows {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Newest event time of the rows, microseconds since 1970 UTC.
    pub(crate) event_time_us: Option<i64>,
    /// Whether they are of a snapshot.
    pub(crate) snapshot: bool,
}

/// The state of one source, shared by its task and those who ask.
#[derive(Debug)]
pub(crate) struct StatusCell {
    name: ResourceName,
    real_time: bool,
    clock: Arc<dyn Clock>,
    tenant: TenantId,
    metrics: TenantMetrics,
    faults: Arc<FaultBoard>,
    changed: Arc<watch::Sender<u64>>,
    rows: Counter,
    bytes: Counter,
    pub(crate) append_ms: Histogram,
    pub(crate) in_flight: Gauge,
    live: Mutex<Live>,
}

/// Milliseconds since 1970 UTC as ISO 8601.
pub(crate) fn iso(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// What a status cell is made with.
#[derive(Clone, Debug)]
pub(crate) struct StatusPorts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenant: TenantId,
    pub(crate) metrics: TenantMetrics,
    pub(crate) faults: Arc<FaultBoard>,
    pub(crate) changed: Arc<watch::Sender<u64>>,
}

impl StatusCell {
    pub(crate) fn new(name: ResourceName, real_time: bool, ports: StatusPorts) -> Self {
        let label = name.as_str();
        let live = Live {
            state: SourceState::Starting,
            since_ms: ports.clock.now_ms(),
            message: None,
            hint: None,
            kind: None,
            progress: None,
            lag_bytes: None,
            last_row_ms: None,
            restarts: 0,
            dead_letters: 0,
            running_revision: 0,
            history: VecDeque::new(),
            tables: BTreeMap::new(),
        };
        Self {
            real_time,
            rows: ports.metrics.counter(Metric::IngestRows, label),
            bytes: ports.metrics.counter(Metric::IngestBytes, label),
            append_ms: ports.metrics.histogram(Metric::IngestAppendMs, label),
            in_flight: ports.metrics.gauge(Metric::IngestInFlightBytes, label),
            clock: ports.clock,
            tenant: ports.tenant,
            metrics: ports.metrics,
            faults: ports.faults,
            changed: ports.changed,
            name,
            live: Mutex::new(live),
        }
    }

    fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Moves to a state in the usual course.
    pub(crate) fn enter(&self, state: SourceState) {
        self.enter_because(state, None);
    }

    fn enter_because(&self, state: SourceState, report: Option<FaultReport>) {
        let now_ms = self.clock.now_ms();
        let kind = report.as_ref().map(|report| report.kind);
        let (message, hint) = report.map_or((None, None), |report| (Some(report.message), report.hint));
        {
            let mut live = self.live.lock();
            if live.state == state && live.message == message && !live.history.is_empty() {
                return;
            }
            if live.state != state {
                live.since_ms = now_ms;
            }
            (live.state, live.message, live.hint, live.kind) = (state, message.clone(), hint, kind);
            if !matches!(state, SourceState::Snapshot | SourceState::Streaming | SourceState::Idle) {
                live.progress = None;
            }
            if live.history.len() == HISTORY_MAX {
                live.history.pop_back();
            }
            live.history.push_front(HistoryEntry { at: iso(now_ms), state, message });
        }
        if !matches!(state, SourceState::BackingOff | SourceState::Failed | SourceState::Starting) {
            self.faults.clear(&self.tenant, SubjectKind::Source, self.name.as_str(), "run");
        }
        self.announce();
    }

    /// Moves to a state because of a fault, which goes up on the board.
    pub(crate) fn fail(&self, state: SourceState, fault: &dyn Fault) {
        let severity = if state == SourceState::Failed { Severity::Error } else { Severity::Warning };
        let note = FaultNote::of(severity, fault, FaultAction::Restart);
        self.faults.set(&self.tenant, SubjectKind::Source, self.name.as_str(), "run", note);
        self.enter_because(state, Some(FaultReport::of(fault)));
    }

    pub(crate) fn state(&self) -> SourceState {
        self.live.lock().state
    }

    /// Why it does not run now; `None` while it runs.
    pub(crate) fn fault(&self) -> Option<FaultReport> {
        let live = self.live.lock();
        let (kind, message) = (live.kind?, live.message.clone()?);
        Some(FaultReport { kind, message, hint: live.hint.clone() })
    }

    pub(crate) fn count_restart(&self) {
        self.live.lock().restarts += 1;
        self.metrics.counter(Metric::IngestRestarts, self.name.as_str()).add(1);
    }

    pub(crate) fn set_running_revision(&self, revision: u64) {
        self.live.lock().running_revision = revision;
    }

    /// Takes over the routes; `rows_before`: rows that the topic held.
    pub(crate) fn set_routes(&self, routes: Vec<(Route, u64)>) {
        let mut live = self.live.lock();
        let mut old = std::mem::take(&mut live.tables);
        for (route, rows_before) in routes {
            let table = route.table.clone();
            let entry = old.remove(&table).map_or_else(
                || {
                    let rows = self.metrics.counter(Metric::IngestTableRows, route.topic.as_str());
                    let (rows_at_start, phase) = (rows.total(), TablePhase::Streaming);
                    TableLive { route: route.clone(), rows_before, rows, rows_at_start, lag_ms: None, phase }
                },
                |live| TableLive { route: route.clone(), ..live },
            );
            live.tables.insert(table, entry);
        }
        drop(live);
        self.announce();
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        self.live.lock().tables.values().map(|table| table.route.clone()).collect()
    }

    /// Puts declared tables that are not there on the board, or takes them off it.
    pub(crate) fn set_missing(&self, tables: &[MissingTable]) {
        let Some(first) = tables.first() else {
            self.faults.clear(&self.tenant, SubjectKind::Source, self.name.as_str(), "missing");
            return;
        };
        let names: Vec<String> = tables.iter().map(|table| format!("`{}`", table.table)).collect();
        let what = if names.len() == 1 { "table" } else { "tables" };
        let note = FaultNote {
            severity: Severity::Warning,
            message: format!("{what} {} not found in the source's system", names.join(", ")),
            hint: Some(match &first.similar {
                Some(similar) => format!("did you mean `{similar}`? Otherwise it is read once it is there"),
                None => "correct the name, or make the table; it is read once it is there".to_string(),
            }),
            action: FaultAction::Open,
        };
        self.faults.set(&self.tenant, SubjectKind::Source, self.name.as_str(), "missing", note);
    }

    pub(crate) fn set_dead_letters(&self, count: u64) {
        self.live.lock().dead_letters = count;
    }

    pub(crate) fn add_dead_letters(&self, count: u64) {
        self.live.lock().dead_letters += count;
        self.metrics.counter(Metric::IngestDeadLetters, self.name.as_str()).add(count);
        let total = self.live.lock().dead_letters;
        let note = FaultNote {
            severity: Severity::Warning,
            message: format!("{total} records could not be used"),
            hint: Some("look at the dead letters; each says what was wrong with it".to_string()),
            action: FaultAction::Open,
        };
        self.faults.set(&self.tenant, SubjectKind::Source, self.name.as_str(), "dead_letters", note);
        self.announce();
    }

    /// Counts rows that became durable.
    pub(crate) fn add_rows(&self, table: &SourceTable, durable: DurableRows) {
        self.rows.add(durable.rows);
        self.bytes.add(durable.bytes);
        let now_ms = self.clock.now_ms();
        let lag_ms = durable.event_time_us.filter(|_| self.real_time && !durable.snapshot);
        let lag_ms = lag_ms.map(|us| (now_ms - us / 1_000).max(0));
        let state = if durable.snapshot { SourceState::Snapshot } else { SourceState::Streaming };
        {
            let mut live = self.live.lock();
            if durable.rows > 0 {
                live.last_row_ms = Some(now_ms);
            }
            if let Some(entry) = live.tables.get_mut(table) {
                entry.rows.add(durable.rows);
                entry.phase = if durable.snapshot { TablePhase::Snapshot } else { TablePhase::Streaming };
                entry.lag_ms = lag_ms.or(entry.lag_ms);
            }
        }
        if let Some(lag_ms) = lag_ms {
            self.metrics.gauge(Metric::IngestLagMs, self.name.as_str()).set(lag_ms as f64);
        }
        if durable.rows > 0 {
            self.enter(state);
        }
    }

    /// Whether a row became durable after `ms`.
    pub(crate) fn has_rows_since(&self, ms: i64) -> bool {
        self.live.lock().last_row_ms.is_some_and(|last| last >= ms)
    }

    /// Nothing to do; complete up to now if nothing is in flight.
    pub(crate) fn idle(&self, lag_bytes: Option<u64>, complete: bool) {
        let now_ms = self.clock.now_ms();
        let quiet = {
            let mut live = self.live.lock();
            live.lag_bytes = lag_bytes;
            if complete && self.real_time {
                live.tables.values_mut().for_each(|table| table.lag_ms = table.lag_ms.map(|_| 0));
            }
            let since = live.last_row_ms.unwrap_or(live.since_ms);
            let connecting = matches!(live.state, SourceState::Starting | SourceState::BackingOff);
            connecting || now_ms - since >= IDLE_AFTER_MS
        };
        if let Some(bytes) = lag_bytes {
            self.metrics.gauge(Metric::IngestLagBytes, self.name.as_str()).set(bytes as f64);
        }
        if quiet && complete {
            self.enter(SourceState::Idle);
        }
    }

    pub(crate) fn progress(&self, progress: Progress) {
        self.live.lock().progress = Some(progress);
    }

    /// A bounded source is drained.
    pub(crate) fn done(&self) {
        self.live.lock().tables.values_mut().for_each(|table| table.phase = TablePhase::Done);
        self.enter(SourceState::Done);
    }

    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        self.live.lock().history.iter().cloned().collect()
    }

    pub(crate) fn tables(&self) -> Vec<TableStatus> {
        let live = self.live.lock();
        let status = |(table, entry): (&SourceTable, &TableLive)| TableStatus {
            table: table.to_string(),
            topic: entry.route.topic.to_string(),
            lakehouse_table: entry.route.lakehouse_table.to_string(),
            rows_total: entry.rows_total(),
            rows_per_s: entry.rows.per_second(),
            lag_ms: entry.lag_ms,
            phase: entry.phase,
        };
        live.tables.iter().map(status).collect()
    }

    /// The summary; the caller knows type, title and revision.
    pub(crate) fn summary(&self, source_type: &str, title: &str, revision: u64) -> SourceSummary {
        let live = self.live.lock();
        let progress = live.progress.as_ref();
        let in_snapshot =
            live.state == SourceState::Snapshot || progress.is_some_and(|p| p.rows_estimated.is_some());
        SourceSummary {
            name: self.name.to_string(),
            source_type: source_type.to_string(),
            title: title.to_string(),
            state: live.state,
            state_since: iso(live.since_ms),
            message: live.message.clone().or_else(|| progress.and_then(|p| p.message.clone())),
            hint: live.hint.clone(),
            rows_per_s: self.rows.per_second(),
            rows_total: live.tables.values().map(TableLive::rows_total).sum(),
            lag_ms: live.tables.values().filter_map(|table| table.lag_ms).max(),
            lag_bytes: live.lag_bytes,
            last_row_at: live.last_row_ms.map(iso),
            restarts: live.restarts,
            dead_letters: live.dead_letters,
            tables: live.tables.len(),
            topics: live.tables.values().map(|table| table.route.topic.to_string()).collect(),
            snapshot: progress
                .filter(|_| in_snapshot)
                .map(|p| SnapshotProgress { rows_done: p.rows_done, rows_estimated: p.rows_estimated }),
            revision,
            running_revision: live.running_revision,
        }
    }
}
