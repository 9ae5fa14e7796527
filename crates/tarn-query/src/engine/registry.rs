//! Which queries run and which ran last, how to stop one, and how fast they are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tarn_core::{Env, RequestContext, Role, TenantId};
use tokio_util::sync::CancellationToken;

use crate::QueryError;
use crate::engine::stream::QueryStats;

const FINISHED_MAX: usize = 100;
const LATENCIES_MAX: usize = 1024;
const SQL_SHOWN_MAX: usize = 10_000;

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryState {
    /// Planned or streaming.
    Running,
    /// Its result was delivered, or as much of it as was asked for.
    Done,
    /// It ended with an error.
    Failed,
    /// It was stopped, or its reader went away.
    Cancelled,
}

/// A query in the list of running and last queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// Identifier, for cancelling.
    pub query_id: String,
    /// The text, cut after 10,000 characters.
    pub sql: String,
    /// Who asked.
    pub principal: String,
    /// What became of it.
    pub state: QueryState,
    /// When it came, ISO-8601 UTC.
    pub started_at: String,
    /// Run time until now or until its end, waiting in the queue included.
    pub elapsed_ms: u64,
    /// Rows delivered.
    pub rows: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a query ended, for metrics.
#[derive(Clone, Debug)]
pub struct QueryOutcome {
    /// As listed.
    pub record: QueryRecord,
    /// Whose data.
    pub tenant: TenantId,
    /// Run time.
    pub elapsed: Duration,
    /// What it read and gave.
    pub stats: QueryStats,
}

/// Told about each query that ended; feeds metrics and cost meters. Called on the thread that ends the query, so it
/// must not block.
pub trait QueryObserver: Send + Sync + std::fmt::Debug {
    /// A query ended.
    fn finished(&self, outcome: &QueryOutcome);
}

/// A tenant's queries, with the run times of those among the last 1,024 of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Queries running now.
    pub running: u64,
    /// Median run time; 0 before the first query.
    pub p50_ms: f64,
    /// 99 % of the queries took no longer.
    pub p99_ms: f64,
}

#[derive(Debug)]
struct Running {
    sql: String,
    ctx: RequestContext,
    started_at_ms: i64,
    started: Instant,
    cancel: CancellationToken,
    stats: crate::engine::stream::StatsHandle,
}

#[derive(Debug, Default)]
struct Shelf {
    running: HashMap<String, Running>,
    finished: VecDeque<(TenantId, QueryRecord)>,
    latencies_ms: VecDeque<(TenantId, f64)>,
}

/// The list of queries of an engine.
#[derive(Debug)]
pub(crate) struct QueryRegistry {
    env: Env,
    shelf: Mutex<Shelf>,
    observers: Mutex<Vec<Arc<dyn QueryObserver>>>,
}

impl QueryRegistry {
    pub(crate) fn new(env: Env) -> Arc<Self> {
        Arc::new(Self { env, shelf: Mutex::default(), observers: Mutex::default() })
    }

    pub(crate) fn observe(&self, observer: Arc<dyn QueryObserver>) {
        self.observers.lock().push(observer);
    }

    /// Enters a query. The ticket leaves the list when dropped. Errors: `QueryIdInUse`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ctx: &RequestContext,
        query_id: String,
        sql: &str,
        stats: crate::engine::stream::StatsHandle,
    ) -> Result<QueryTicket, QueryError> {
        let cancel = ctx.cancel.child_token();
        let running = Running {
            sql: shown(sql),
            ctx: ctx.clone(),
            started_at_ms: self.env.clock.now_ms(),
            started: self.env.clock.instant(),
            cancel: cancel.clone(),
            stats,
        };
        let mut shelf = self.shelf.lock();
        if shelf.running.contains_key(&query_id) {
            return Err(QueryError::QueryIdInUse { query_id });
        }
        shelf.running.insert(query_id.clone(), running);
        Ok(QueryTicket { registry: Arc::clone(self), query_id, cancel, ended: false })
    }

    /// Stops a query of the caller's tenant; others' queries only as admin. Errors: `QueryNotFound`.
    pub(crate) fn cancel(&self, ctx: &RequestContext, query_id: &str) -> Result<(), QueryError> {
        let shelf = self.shelf.lock();
        let running = shelf.running.get(query_id).filter(|running| {
            let own = running.ctx.principal.name == ctx.principal.name;
            running.ctx.tenant == ctx.tenant && (own || ctx.allows(Role::Admin))
        });
        match running {
            Some(running) => running.cancel.cancel(),
            None => return Err(QueryError::QueryNotFound { query_id: query_id.into() }),
        }
        Ok(())
    }

    /// Running queries, oldest first, then the last ones, newest first; of the caller's tenant only.
    pub(crate) fn list(&self, ctx: &RequestContext) -> Vec<QueryRecord> {
        let now = self.env.clock.instant();
        let shelf = self.shelf.lock();
        let mut running: Vec<(Instant, QueryRecord)> = shelf
            .running
            .iter()
            .filter(|(_, running)| running.ctx.tenant == ctx.tenant)
            .map(|(id, running)| (running.started, running.record(id, QueryState::Running, now, None)))
            .collect();
        running.sort_by_key(|(started, _)| *started);
        let finished = shelf
            .finished
            .iter()
            .rev()
            .filter(|(tenant, _)| *tenant == ctx.tenant)
            .map(|(_, record)| record.clone());
        running.into_iter().map(|(_, record)| record).chain(finished).collect()
    }

    pub(crate) fn latency(&self, ctx: &RequestContext) -> LatencySummary {
        let shelf = self.shelf.lock();
        let own = shelf.latencies_ms.iter().filter(|(tenant, _)| *tenant == ctx.tenant);
        let mut sorted: Vec<f64> = own.map(|(_, ms)| *ms).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
        };
        LatencySummary {
            running: shelf.running.values().filter(|one| one.ctx.tenant == ctx.tenant).count() as u64,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }

    fn leave(&self, query_id: &str, state: QueryState, message: Option<String>) {
        let now = self.env.clock.instant();
        let outcome = {
            let mut shelf = self.shelf.lock();
            let Some(running) = shelf.running.remove(query_id) else { return };
            let record = running.record(query_id, state, now, message);
            let elapsed = now.saturating_duration_since(running.started);
            if shelf.latencies_ms.len() == LATENCIES_MAX {
                shelf.latencies_ms.pop_front();
            }
            let ms = elapsed.as_secs_f64() * 1_000.0;
            shelf.latencies_ms.push_back((running.ctx.tenant.clone(), ms));
            if shelf.finished.len() == FINISHED_MAX {
                shelf.finished.pop_front();
            }
            shelf.finished.push_back((running.ctx.tenant.clone(), record.clone()));
            QueryOutcome { record, tenant: running.ctx.tenant, elapsed, stats: running.stats.get() }
        };
        let observers = self.observers.lock().clone();
        observers.iter().for_each(|observer| observer.finished(&outcome));
    }
}

impl Running {
    fn record(&self, id: &str, state: QueryState, now: Instant, message: Option<String>) -> QueryRecord {
        let started_at = DateTime::from_timestamp_millis(self.started_at_ms).unwrap_or_default();
        QueryRecord {
            query_id: id.into(),
            sql: self.sql.clone(),
            principal: self.ctx.principal.name.to_string(),
            state,
            started_at: started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            elapsed_ms: u64::try_from(now.saturating_duration_since(self.started).as_millis())
                .unwrap_or(u64::MAX),
            rows: self.stats.get().rows,
            message,
        }
    }
}

fn shown(sql: &str) -> String {
    match sql.char_indices().nth(SQL_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_string(),
    }
}

/// A place in the list of running queries. Dropped before its end was told, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct QueryTicket {
    registry: Arc<QueryRegistry>,
    query_id: String,
    cancel: CancellationToken,
    ended: bool,
}

impl QueryTicket {
    pub(crate) fn query_id(&self) -> &str {
        &self.query_id
    }

    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }

    pub(crate) fn end(&mut self, result: Result<(), &QueryError>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (state, message) = match result {
            Ok(()) => (QueryState::Done, None),
            Err(error @ QueryError::Cancelled { .. }) => (QueryState::Cancelled, Some(error.to_string())),
            Err(error) => (QueryState::Failed, Some(error.to_string())),
        };
        self.registry.leave(&self.query_id, state, message);
    }
}

impl Drop for QueryTicket {
    fn drop(&mut self) {
        if !self.ended {
            self.ended = true;
            self.registry.leave(&self.query_id, QueryState::Cancelled, Some("the reader went away".into()));
        }
    }
}
