//! The list of runs: those under way in memory, the last ones of each table in the metadata store.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tarn_core::{Env, FaultReport, RequestContext, TableName, TenantId};
use tarn_meta::{Expected, MetaError, MetaStore};
use uuid::Uuid;

use super::cpu::Metered;
use super::run::{RunFigures, RunState, Service, ServiceRun, ServiceTotals, Strategy, Trigger};
use super::scheduler::Permit;
use crate::error::LakehouseError;

/// Runs of a table that are kept.
const KEPT_MAX: usize = 100;
/// How often another process may be faster at writing the list of a table.
const WRITE_ATTEMPTS_MAX: u32 = 5;
const SPACE: &str = "lakehouse_runs";

/// What a run is of.
#[derive(Clone, Debug)]
pub(crate) struct RunOf {
    pub table: TableName,
    pub uuid: Uuid,
    pub service: Service,
    pub strategy: Option<Strategy>,
    pub trigger: Trigger,
    pub reason: String,
}

/// What came of a run: its figures and its commit. `None` where there was nothing to do.
pub(crate) type Outcome = Option<(RunFigures, Option<i64>)>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    table: String,
    runs: Vec<ServiceRun>,
}

#[derive(Debug)]
struct Started {
    tenant: TenantId,
    uuid: Uuid,
    at: Instant,
    run: ServiceRun,
}

/// Runs of all tables.
#[derive(Debug)]
pub(crate) struct Journal {
    meta: Arc<dyn MetaStore>,
    env: Env,
    running: Mutex<HashMap<String, Started>>,
    totals: Mutex<HashMap<(TenantId, String), ServiceTotals>>,
    /// One list is written at a time.
    writing: tokio::sync::Mutex<()>,
}

/// A run under way. Dropped before its end, it is noted as interrupted.
pub(crate) struct OpenRun {
    journal: Arc<Journal>,
    ctx: RequestContext,
    id: String,
    permit: Option<Permit>,
}

fn iso(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Journal {
    pub(crate) fn new(meta: Arc<dyn MetaStore>, env: Env) -> Arc<Self> {
        Arc::new(Self {
            meta,
            env,
            running: Mutex::default(),
            totals: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Begins a run. `permit` is given back at its end.
    pub(crate) fn begin(
        self: &Arc<Self>,
        ctx: &RequestContext,
        of: RunOf,
        permit: Option<Permit>,
    ) -> OpenRun {
        let id = self.env.entropy.uuid().to_string();
        let run = ServiceRun {
            id: id.clone(),
            table: of.table.to_string(),
            service: of.service,
            strategy: of.strategy,
            trigger: of.trigger,
            reason: of.reason,
            state: RunState::Running,
            started_at: iso(self.env.clock.now_ms()),
            duration_ms: 0,
            cpu_ms: None,
            figures: RunFigures::default(),
            snapshot_id: None,
            message: None,
            hint: None,
        };
        let (tenant, at) = (ctx.tenant.clone(), self.env.clock.instant());
        self.running.lock().insert(id.clone(), Started { tenant, uuid: of.uuid, at, run });
        let ctx = RequestContext {
            cancel: tokio_util::sync::CancellationToken::new(),
            deadline: None,
            ..ctx.clone()
        };
        OpenRun { journal: Arc::clone(self), ctx, id, permit }
    }

    /// The run of this identifier as it is at its end.
    fn ended(&self, id: &str, end: impl FnOnce(&mut ServiceRun)) -> Option<(Uuid, ServiceRun)> {
        let Started { tenant, uuid, at, mut run } = self.running.lock().remove(id)?;
        let took = self.env.clock.instant().saturating_duration_since(at);
        run.duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        end(&mut run);
        self.totals.lock().entry((tenant, run.table.clone())).or_default().add(&run);
        Some((uuid, run))
    }

    async fn keep(&self, ctx: &RequestContext, uuid: Uuid, run: ServiceRun) {
        if let Err(error) = self.write(ctx, uuid, run).await {
            tracing::warn!(error = tarn_core::chain_text(&error), "a run of a table service is not kept");
        }
    }

    async fn write(&self, ctx: &RequestContext, uuid: Uuid, run: ServiceRun) -> Result<(), MetaError> {
        let _one = self.writing.lock().await;
        let key = uuid.to_string();
        let mut attempt = 1;
        loop {
            let known = self.meta.document(ctx, SPACE, &key).await?;
            let expected = known.as_ref().map_or(Expected::Absent, |known| Expected::Version(known.version));
            let mut kept: Kept =
                known.and_then(|known| serde_json::from_value(known.value).ok()).unwrap_or_default();
            kept.table.clone_from(&run.table);
            kept.runs.retain(|old| !is_repeated(old, &run));
            kept.runs.insert(0, run.clone());
            kept.runs.truncate(KEPT_MAX);
            let value = serde_json::to_value(&kept).unwrap_or_default();
            match self.meta.put_document(ctx, SPACE, &key, &value, expected).await {
                Err(MetaError::DocumentConflict { .. }) if attempt < WRITE_ATTEMPTS_MAX => attempt += 1,
                written => return written.map(drop),
            }
        }
    }

    fn under_way(&self, ctx: &RequestContext, uuid: Option<Uuid>) -> Vec<ServiceRun> {
        let now = self.env.clock.instant();
        let running = self.running.lock();
        let own = running
            .values()
            .filter(|started| started.tenant == ctx.tenant && uuid.is_none_or(|uuid| uuid == started.uuid));
        let so_far = own.map(|started| {
            let took = now.saturating_duration_since(started.at);
            let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            ServiceRun { duration_ms, ..started.run.clone() }
        });
        so_far.collect()
    }

    /// The newest runs, of one table or of all; those under way first. Errors: those of the metadata store.
    pub(crate) async fn runs(
        &self,
        ctx: &RequestContext,
        uuid: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<ServiceRun>, LakehouseError> {
        // First, so that a run that ends meanwhile is not missed.
        let mut runs = self.under_way(ctx, uuid);
        let documents = match uuid {
            Some(uuid) => self.meta.document(ctx, SPACE, &uuid.to_string()).await?.into_iter().collect(),
            None => self.meta.documents(ctx, SPACE, "").await?,
        };
        let kept = documents.into_iter().filter_map(|kept| serde_json::from_value::<Kept>(kept.value).ok());
        let mut past: Vec<ServiceRun> = kept.flat_map(|kept| kept.runs).collect();
        runs.retain(|run| !past.iter().any(|ended| ended.id == run.id));
        runs.sort_by(|a, b| b.started_at.cmp(&a.started_at));
        past.sort_by(|a, b| b.started_at.cmp(&a.started_at));
        runs.append(&mut past);
        runs.truncate(limit);
        Ok(runs)
    }

    /// Forgets the runs of tables that are gone. `known`: the tables that there are.
    pub(crate) async fn sweep(&self, ctx: &RequestContext, known: &[Uuid]) -> Result<(), LakehouseError> {
        let known: Vec<String> = known.iter().map(Uuid::to_string).collect();
        for document in self.meta.documents(ctx, SPACE, "").await? {
            if !known.contains(&document.key) {
                self.meta.delete_document(ctx, SPACE, &document.key, Expected::Any).await?;
            }
        }
        Ok(())
    }

    /// What runs came to since the process began, by table.
    pub(crate) fn totals(&self, ctx: &RequestContext) -> Vec<(String, ServiceTotals)> {
        let totals = self.totals.lock();
        let own = totals.iter().filter(|((tenant, _), _)| *tenant == ctx.tenant);
        own.map(|((_, table), totals)| (table.clone(), *totals)).collect()
    }
}

/// Whether a run says no more than the one before it said: that a service looked and found nothing.
fn is_repeated(old: &ServiceRun, new: &ServiceRun) -> bool {
    let is_look = |run: &ServiceRun| run.state == RunState::Nothing && run.trigger == Trigger::Automatic;
    old.service == new.service && is_look(old) && is_look(new)
}

impl OpenRun {
    /// Does the work and notes what came of it.
    pub(crate) async fn track<T, E: std::borrow::Borrow<LakehouseError>>(
        mut self,
        work: impl Future<Output = Result<T, E>> + Send,
        outcome: impl FnOnce(&T) -> Outcome + Send,
    ) -> Result<T, E> {
        let (done, cpu_ms) = Metered::new(work).await;
        let ended = self.journal.ended(&self.id, |run| {
            run.cpu_ms = cpu_ms;
            match &done {
                Ok(value) => match outcome(value) {
                    None => run.state = RunState::Nothing,
                    Some((figures, snapshot_id)) => {
                        run.state = RunState::Done;
                        run.figures = figures;
                        run.snapshot_id = snapshot_id.map(|id| id.to_string());
                    }
                },
                Err(error) => {
                    let report = FaultReport::of(error.borrow());
                    run.state = RunState::Failed;
                    (run.message, run.hint) = (Some(report.message), report.hint);
                }
            }
        });
        if let Some((uuid, run)) = ended {
            if let Some(permit) = &mut self.permit {
                permit.spent(run.figures.bytes_read, run.cpu_ms.unwrap_or(0));
            }
            self.journal.keep(&self.ctx, uuid, run).await;
        }
        done
    }
}

impl Drop for OpenRun {
    fn drop(&mut self) {
        let ended = self.journal.ended(&self.id, |run| {
            run.state = RunState::Failed;
            run.message = Some("it was interrupted".into());
            run.hint = Some("it is done again when it is due".into());
        });
        let Some((uuid, run)) = ended else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            // The process ends.
            return;
        }
        let (journal, ctx) = (Arc::clone(&self.journal), self.ctx.clone());
        drop(self.journal.env.spawner.spawn(async move { journal.keep(&ctx, uuid, run).await }));
    }
}
