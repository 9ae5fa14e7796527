//! Table services: what looks after tables, when, and what it cost and saved.

mod config;
mod cpu;
mod journal;
pub(crate) mod policy;
mod rows;
mod run;
mod scheduler;
mod watch;

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use parking_lot::Mutex;
use serde_json::json;
use tarn_core::{Env, RequestContext, TableName};
use tarn_meta::{Expected, MetaStore};

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;

pub use config::ServiceConfig;
pub use policy::{CREATED_BY, Ownership, wrong_property};
pub use run::{RunFigures, RunState, Service, ServiceRun, ServiceTotals, Strategy, Trigger};
pub use scheduler::{RunningService, ServiceState, WaitingService};

pub(crate) use journal::{Journal, OpenRun, Outcome, RunOf};
pub(crate) use rows::rows;
pub(crate) use scheduler::{Key, Need, Scheduler};

/// Where it is kept that a tenant's services are paused.
const STATE: (&str, &str) = ("lakehouse_services", "state");

/// Scheduler and list of runs.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    pub journal: Arc<Journal>,
    pub scheduler: Arc<Scheduler>,
    /// Tables that no topic feeds and that are looked at now.
    looking: Arc<Mutex<HashSet<Key>>>,
}

/// A look at a table; while it goes on, no other begins.
pub(crate) struct Looking {
    looking: Arc<Mutex<HashSet<Key>>>,
    key: Key,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.looking.lock().remove(&self.key);
    }
}

/// What a run is, apart from its table.
pub(crate) struct RunKind {
    pub need: Need,
    pub strategy: Option<Strategy>,
    pub trigger: Trigger,
}

impl Services {
    pub(crate) fn new(meta: Arc<dyn MetaStore>, config: ServiceConfig, env: &Env) -> Self {
        let looking = Arc::default();
        Self {
            journal: Journal::new(meta, env.clone()),
            scheduler: Scheduler::new(config, env.clone()),
            looking,
        }
    }

    /// Begins to look at a table; `None` where that goes on already.
    pub(crate) fn look(&self, key: Key) -> Option<Looking> {
        let is_new = self.looking.lock().insert(key.clone());
        is_new.then(|| Looking { looking: Arc::clone(&self.looking), key })
    }

    /// Whether a service looks after a table by itself.
    pub(crate) fn is_enabled(&self, metadata: &TableMetadata, service: Service) -> bool {
        policy::is_enabled(metadata, service, self.scheduler.config().foreign_tables)
    }

    /// Begins a run, with leave or, where somebody asked for it, without. `None`: it has to wait.
    pub(crate) fn begin(
        &self,
        ctx: &RequestContext,
        (table, metadata): (&TableName, &TableMetadata),
        kind: RunKind,
    ) -> Option<OpenRun> {
        let key = (ctx.tenant.clone(), table.clone());
        let permit = match kind.trigger {
            Trigger::Automatic => self.scheduler.ask(&key, &kind.need)?,
            Trigger::Statement | Trigger::Api => self.scheduler.asked(&key, kind.need.clone()),
        };
        let of = RunOf {
            table: table.clone(),
            uuid: metadata.uuid(),
            service: kind.need.service,
            strategy: kind.strategy,
            trigger: kind.trigger,
            reason: kind.need.reason,
        };
        Some(self.journal.begin(ctx, of, Some(permit)))
    }
}

impl Lakehouse {
    /// The newest runs of services on a table, those under way first. Errors: `TableNotFound`.
    pub async fn service_runs(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        limit: usize,
    ) -> Result<Vec<ServiceRun>, LakehouseError> {
        let uuid = self.catalog().load_table(ctx, table).await?.metadata.uuid();
        let mut runs = self.services().journal.runs(ctx, Some(uuid), limit).await?;
        // It may have had another name.
        runs.iter_mut().for_each(|run| run.table = table.to_string());
        Ok(runs)
    }

    /// The newest runs of services on all tables.
    pub async fn all_service_runs(
        &self,
        ctx: &RequestContext,
        limit: usize,
    ) -> Result<Vec<ServiceRun>, LakehouseError> {
        self.services().journal.runs(ctx, None, limit).await
    }

    /// What services came to since the process began, by table.
    pub fn service_totals(&self, ctx: &RequestContext) -> Vec<(String, ServiceTotals)> {
        self.services().journal.totals(ctx)
    }

    /// What runs, what waits and why.
    pub fn service_state(&self, ctx: &RequestContext) -> ServiceState {
        self.services().scheduler.state(ctx)
    }

    /// Holds the tenant's services, or lets them go on; also after a restart. What runs goes on to its end, and what
    /// somebody asks for is done. Errors: those of the metadata store.
    pub async fn pause_services(&self, ctx: &RequestContext, paused: bool) -> Result<(), LakehouseError> {
        let value = json!({ "paused": paused });
        self.meta().put_document(ctx, STATE.0, STATE.1, &value, Expected::Any).await?;
        self.services().scheduler.set_paused(&ctx.tenant, paused);
        Ok(())
    }

    /// Takes up what was said before a restart, or to another process.
    async fn follow_pause(&self, ctx: &RequestContext) -> Result<(), LakehouseError> {
        let said = self.meta().document(ctx, STATE.0, STATE.1).await?;
        let paused = said.and_then(|said| said.value.get("paused").and_then(serde_json::Value::as_bool));
        self.services().scheduler.set_paused(&ctx.tenant, paused.unwrap_or(false));
        Ok(())
    }
}
