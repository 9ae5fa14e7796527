//! Upkeep of tables that no topic feeds: small and worn files are rewritten, old snapshots expire, files that nothing needs
//! go. Statements on the table wait meanwhile; readers do not.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tarn_core::{RequestContext, TableName, chain_text};
use tokio::sync::Mutex;

use crate::error::LakehouseError;
use crate::service::policy::may_delete_files;
use crate::service::{Need, OpenRun, RunKind, Service, Services, Strategy, Trigger};
use crate::sink::{
    Base, Committer, Compact, Compacted, Compaction, Expired, JobFault, Optimize, Shape, asked_for,
    expiry_need, orphans_need,
};
use crate::statistics::{Analyzed, statistics_need};
use crate::transaction::is_changed_by_a_transaction;
use crate::types::arrow_schema;
use crate::write::base_of;

/// Services of a table that no topic feeds, in the order in which they are looked at.
pub(crate) const ALL: &[Service] =
    &[Service::Compact, Service::Expire, Service::Manifests, Service::Orphans, Service::Statistics];
/// Services of a table that a topic feeds which its sink does not do itself.
pub(crate) const BESIDE_A_SINK: &[Service] = &[Service::Statistics];

/// How often a run that has to wait asks again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Runs of one service in a row; the rest is found at the next look.
const IN_A_ROW_MAX: usize = 16;
/// Time between two looks for files that nothing needs, milliseconds.
const ORPHANS_PAUSE_MS: i64 = 24 * 3_600_000;

/// A table and what its upkeep needs.
#[derive(Clone, Debug)]
pub(crate) struct Upkeep {
    pub(crate) committer: Committer,
    pub(crate) services: Services,
    pub(crate) ctx: RequestContext,
    pub(crate) name: TableName,
    /// Where statements on the table wait for each other.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Upkeep {
    /// Looks in the background whether one of `services` is due. Nothing happens where that goes on already.
    pub(crate) fn start(mut self, services: &'static [Service]) {
        let key = (self.ctx.tenant.clone(), self.name.clone());
        let Some(looking) = self.services.look(key) else { return };
        let spawner = self.committer.env.spawner.clone();
        self.ctx.cancel = spawner.stopping().child_token();
        self.ctx.deadline = None;
        drop(spawner.spawn(async move {
            match self.look(services).await {
                // Dropped or renamed meanwhile.
                Ok(()) | Err(LakehouseError::TableNotFound { .. }) => {}
                Err(error) => {
                    tracing::warn!(table = %self.name, error = chain_text(&error), "upkeep is put off");
                }
            }
            drop(looking);
        }));
    }

    /// Does what is due, each when the scheduler lets it.
    async fn look(&self, services: &[Service]) -> Result<(), LakehouseError> {
        for service in services.iter().copied() {
            for _ in 0..IN_A_ROW_MAX {
                let base = base_of(&self.committer, &self.ctx, &self.name).await?;
                let Some(need) = self.need(service, &base).await? else { break };
                let Some(run) = self.leave(&base, need).await else { return Ok(()) };
                let _turn = self.turn.lock().await;
                // Others went on meanwhile.
                let base = base_of(&self.committer, &self.ctx, &self.name).await?;
                match service {
                    Service::Expire => drop(self.expire(run, base).await?),
                    Service::Orphans => self.remove_orphans(run).await?,
                    Service::Statistics => self.analyze(run, &base).await?,
                    Service::Manifests => self.rewrite_manifests(run, &base).await?,
                    Service::Compact => drop(self.compact(run, base, None).await?),
                }
            }
        }
        Ok(())
    }

    async fn need(&self, service: Service, base: &Base) -> Result<Option<Need>, LakehouseError> {
        let metadata = base.metadata();
        if !self.services.is_enabled(metadata, service) {
            return Ok(None);
        }
        let now_ms = self.committer.env.clock.now_ms();
        Ok(match service {
            // Files put together now would let the transaction fail.
            Service::Compact | Service::Manifests if is_changed_by_a_transaction(metadata) => None,
            Service::Compact => Shape::of_base(base).need(),
            Service::Expire => expiry_need(metadata, now_ms),
            Service::Orphans if may_delete_files(metadata) => {
                let runs = self.services.journal.runs(&self.ctx, Some(metadata.uuid()), usize::MAX).await?;
                let last = runs.iter().find(|run| run.service == Service::Orphans);
                let last = last.and_then(|run| DateTime::parse_from_rfc3339(&run.started_at).ok());
                let is_recent = |at: DateTime<_>| now_ms - at.timestamp_millis() < ORPHANS_PAUSE_MS;
                (!last.is_some_and(is_recent)).then(orphans_need)
            }
            Service::Orphans => None,
            Service::Manifests => self.committer.manifests_need(&self.name.to_string(), metadata).await?,
            Service::Statistics => statistics_need(metadata),
        })
    }

    /// Waits for leave to run. `None` when the process ends.
    async fn leave(&self, base: &Base, need: Need) -> Option<OpenRun> {
        let strategy = (need.service == Service::Compact).then_some(Strategy::Minor);
        loop {
            let kind = RunKind { need: need.clone(), strategy, trigger: Trigger::Automatic };
            if let Some(run) = self.services.begin(&self.ctx, (&self.name, base.metadata()), kind) {
                return Some(run);
            }
            tokio::select! {
                () = self.committer.env.clock.sleep(ASK_AGAIN) => {}
                () = self.ctx.cancel.cancelled() => return None,
            }
        }
    }

    /// Does whatever can be done, as somebody asks for it.
    pub(crate) async fn asked(
        &self,
        optimize: &Optimize,
        trigger: Trigger,
    ) -> Result<Compaction, LakehouseError> {
        let _turn = self.turn.lock().await;
        let base = base_of(&self.committer, &self.ctx, &self.name).await?;
        let metadata = Arc::clone(base.metadata());
        let run = |service, strategy| {
            let kind = RunKind { need: asked_for(service, 0), strategy, trigger };
            let run = self.services.begin(&self.ctx, (&self.name, &metadata), kind);
            run.ok_or_else(|| LakehouseError::Invalid { what: "a run was not let in".into() })
        };
        let strategy = Some(optimize.strategy());
        let (mut report, mut is_partial) =
            self.compact(run(Service::Compact, strategy)?, base, Some(optimize)).await?;
        let before = (report.files_before, report.delete_files_before);
        while is_partial {
            let base = base_of(&self.committer, &self.ctx, &self.name).await?;
            (report, is_partial) =
                self.compact(run(Service::Compact, strategy)?, base, Some(optimize)).await?;
            (report.files_before, report.delete_files_before) = before;
        }
        if optimize.adopts {
            // One of many steps of a cut-over, which would look at the whole table each time.
            return Ok(report);
        }
        let base = base_of(&self.committer, &self.ctx, &self.name).await?;
        self.expire(run(Service::Expire, None)?, base).await?;
        self.remove_orphans(run(Service::Orphans, None)?).await?;
        Ok(report)
    }

    async fn compact(
        &self,
        run: OpenRun,
        mut base: Base,
        asked: Option<&Optimize>,
    ) -> Result<(Compaction, bool), LakehouseError> {
        let shape = Shape::of_base(&base);
        let schema = arrow_schema(&self.name.to_string(), base.metadata().current_schema())?;
        // Keys of rows are kept for sinks alone.
        base.hasher = None;
        let mut work = Compact::begin(base, schema, &shape, asked);
        work.forget_moves();
        let done = run.track(work.run(&self.committer, &self.ctx), Compacted::outcome).await;
        let done = done.map_err(fault)?;
        Ok((done.report, done.is_partial))
    }

    async fn expire(&self, run: OpenRun, base: Base) -> Result<Option<Expired>, LakehouseError> {
        let work = self.committer.expire(&self.ctx, base);
        let outcome = |expired: &Option<Expired>| Some((expired.as_ref()?.figures, None));
        run.track(work, outcome).await.map_err(fault)
    }

    async fn analyze(&self, run: OpenRun, base: &Base) -> Result<(), LakehouseError> {
        run.track(self.committer.analyze(&self.ctx, base), Analyzed::outcome).await.map(drop)
    }

    async fn rewrite_manifests(&self, run: OpenRun, base: &Base) -> Result<(), LakehouseError> {
        let work = self.committer.rewrite_manifests(&self.ctx, base);
        run.track(work, |done| *done).await.map(drop).map_err(fault)
    }

    /// Counts the different values of all columns, as somebody asks for it.
    pub(crate) async fn analyze_now(&self, trigger: Trigger) -> Result<(), LakehouseError> {
        let _turn = self.turn.lock().await;
        let base = base_of(&self.committer, &self.ctx, &self.name).await?;
        let kind = RunKind { need: asked_for(Service::Statistics, 0), strategy: None, trigger };
        let run = self.services.begin(&self.ctx, (&self.name, base.metadata()), kind);
        let run = run.ok_or_else(|| LakehouseError::Invalid { what: "a run was not let in".into() })?;
        self.analyze(run, &base).await
    }

    async fn remove_orphans(&self, run: OpenRun) -> Result<(), LakehouseError> {
        let work = self.committer.remove_orphans(&self.ctx, &self.name, HashSet::new());
        run.track(work, |done| done.map(|figures| (figures, None))).await.map(drop)
    }
}

fn fault(fault: JobFault) -> LakehouseError {
    match fault {
        JobFault::Before(error) | JobFault::Commit(error) => error,
    }
}
