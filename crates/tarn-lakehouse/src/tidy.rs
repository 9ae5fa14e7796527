//! Upkeep of tables that no topic feeds: small and worn files are rewritten, old snapshots expire, files that nothing needs
//! go. Statements on the table wait meanwhile; readers do not.

use std::collections::HashSet;
use std::sync::Arc;

use tarn_core::{RequestContext, TableName, chain_text};
use tokio::sync::Mutex;

use crate::error::LakehouseError;
use crate::sink::{Committer, Compact, Compaction, JobFault, Shape, expiry_is_due};
use crate::types::arrow_schema;
use crate::write::base_of;

/// A table and what its upkeep needs.
#[derive(Clone, Debug)]
pub(crate) struct Upkeep {
    pub(crate) committer: Committer,
    pub(crate) ctx: RequestContext,
    pub(crate) name: TableName,
    /// Where statements on the table wait for each other.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Upkeep {
    /// Looks in the background whether something is due, after a commit.
    pub(crate) fn start(mut self) {
        let spawner = self.committer.env.spawner.clone();
        self.ctx.cancel = spawner.stopping().child_token();
        self.ctx.deadline = None;
        drop(spawner.spawn(async move {
            if let Err(error) = self.run(false).await {
                tracing::warn!(table = %self.name, error = chain_text(&error), "upkeep is put off");
            }
        }));
    }

    /// Does what is due. `everything`: whatever can be done, as somebody asks for it.
    pub(crate) async fn run(&self, everything: bool) -> Result<Compaction, LakehouseError> {
        let _turn = self.turn.lock().await;
        let (committer, ctx) = (&self.committer, &self.ctx);
        let table = self.name.to_string();
        let mut base = base_of(committer, ctx, &self.name).await?;
        let shape = Shape::of_base(&base);
        let mut report = Compaction::none(&base);
        if everything || shape.is_due() {
            let schema = arrow_schema(&table, base.metadata().current_schema())?;
            // Keys of rows are kept for sinks alone.
            base.hasher = None;
            let mut work = Compact::begin(base, Arc::clone(&schema), &shape, everything);
            loop {
                let done = work.run(committer, ctx).await.map_err(fault)?;
                report = done.report;
                base = base_of(committer, ctx, &self.name).await?;
                if !(everything && done.is_partial) {
                    break;
                }
                let shape = Shape::of_base(&base);
                base.hasher = None;
                work = Compact::begin(base, Arc::clone(&schema), &shape, everything);
            }
        }
        if everything || expiry_is_due(base.metadata(), committer.env.clock.now_ms()) {
            committer.expire(ctx, base).await.map_err(fault)?;
        }
        if everything {
            committer.remove_orphans(ctx, &self.name, HashSet::new()).await?;
        }
        Ok(report)
    }
}

fn fault(fault: JobFault) -> LakehouseError {
    match fault {
        JobFault::Before(error) | JobFault::Commit(error) => error,
    }
}
