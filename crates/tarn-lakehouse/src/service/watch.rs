//! Looks at all tables; those that topics feed are looked after by what feeds them, but for their statistics.

use std::collections::HashMap;
use std::sync::Arc;

use tarn_core::{RequestContext, TableName, chain_text};

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::tidy::{ALL, BESIDE_A_SINK};

/// Looks after which one without a change is looked at again: what is old may go by now.
const LOOKS_MAX: u32 = 30;

/// What was seen of a table: where its metadata lay, and how many looks ago.
type Seen = HashMap<TableName, (String, u32)>;

impl Lakehouse {
    /// Starts to look after a tenant's tables until the process ends.
    pub fn look_after(self: &Arc<Self>, ctx: &RequestContext) {
        let (lakehouse, env) = (Arc::clone(self), self.env().clone());
        let stop = env.spawner.stopping();
        let ctx = RequestContext { cancel: stop.child_token(), deadline: None, ..ctx.clone() };
        let every = self.services().scheduler.config().look_every.0;
        drop(env.spawner.clone().spawn(async move {
            let mut seen = Seen::new();
            while !stop.is_cancelled() {
                if let Err(error) = lakehouse.look(&ctx, &mut seen).await {
                    tracing::warn!(error = chain_text(&error), "tables could not be looked at");
                }
                tokio::select! {
                    () = env.clock.sleep(every) => {}
                    () = stop.cancelled() => {}
                }
            }
        }));
    }

    async fn look(self: &Arc<Self>, ctx: &RequestContext, seen: &mut Seen) -> Result<(), LakehouseError> {
        self.follow_pause(ctx).await?;
        let tables = self.catalog().all_tables(ctx).await?;
        let is_less = seen.keys().any(|name| !tables.iter().any(|(known, _)| known == name));
        seen.retain(|name, _| tables.iter().any(|(known, _)| known == name));
        let mut uuids = Vec::new();
        for (name, pointer) in &tables {
            let known = seen.get(name).filter(|(last, looks)| last == pointer && *looks < LOOKS_MAX);
            if let Some((_, looks)) = known.cloned() {
                seen.insert(name.clone(), (pointer.clone(), looks + 1));
                continue;
            }
            seen.insert(name.clone(), (pointer.clone(), 0));
            let services = if self.sink(ctx, name).is_none() { ALL } else { BESIDE_A_SINK };
            self.upkeep(ctx, name).start(services);
        }
        if is_less {
            for (name, _) in &tables {
                match self.catalog().load_table(ctx, name).await {
                    Ok(table) => uuids.push(table.metadata.uuid()),
                    // Its runs stay, whatever became of it.
                    Err(_) => return Ok(()),
                }
            }
            self.services().journal.sweep(ctx, &uuids).await?;
        }
        Ok(())
    }
}
