//! How a change of a table's rows begins.

use std::sync::Arc;

use tarn_core::{RequestContext, TableName};

use super::{FLUSH_WAIT, TableWriter};
use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::sink::{Base, Committer, KeyHasher, RunFolder, SinkStatus};
use crate::tidy::Upkeep;
use crate::types::{arrow_schema, key_of};

impl Lakehouse {
    /// Begins a change of the rows of a table. Errors: `TableNotFound`, those of reading the table.
    pub async fn write(&self, ctx: &RequestContext, name: &TableName) -> Result<TableWriter, LakehouseError> {
        let upkeep = self.upkeep(ctx, name);
        let turn = Arc::clone(&upkeep.turn).lock_owned().await;
        self.flush(ctx, name, FLUSH_WAIT).await;
        let base = base_of(&upkeep.committer, ctx, name).await?;
        let committer = upkeep.committer.clone();
        // A sink looks after its table itself.
        let upkeep = self.sink(ctx, name).is_none().then_some(upkeep);
        TableWriter::new(ctx, committer, base, Some(turn), upkeep)
    }

    /// Begins to add rows that come slowly: other statements on the table do not wait for them. Call
    /// [`Lakehouse::settle`] before the commit. Errors: as [`Lakehouse::write`].
    pub async fn append(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<TableWriter, LakehouseError> {
        let upkeep = self.upkeep(ctx, name);
        let base = base_of(&upkeep.committer, ctx, name).await?;
        let committer = upkeep.committer.clone();
        let upkeep = self.sink(ctx, name).is_none().then_some(upkeep);
        let mut writer = TableWriter::new(ctx, committer, base, None, upkeep)?;
        writer.follows = true;
        Ok(writer)
    }

    /// Lets a writer of [`Lakehouse::append`] wait for its turn, with all rows of the table in files.
    pub async fn settle(&self, writer: &mut TableWriter) {
        if writer.turn.is_some() {
            return;
        }
        let (ctx, name) = (writer.ctx.clone(), writer.base.name.clone());
        writer.turn = Some(self.turn(&ctx, &name).lock_owned().await);
        self.flush(&ctx, &name, FLUSH_WAIT).await;
    }

    /// The upkeep of a table.
    pub(crate) fn upkeep(&self, ctx: &RequestContext, name: &TableName) -> Upkeep {
        let committer = Committer {
            catalog: self.catalog().clone(),
            loader: Arc::clone(self.loader()),
            env: self.env().clone(),
            // A commit that is not a sink's own: it finds its rows anew.
            status: Arc::new(parking_lot::Mutex::new(SinkStatus::default())),
            scratch: self.scratch(),
            branch: None,
            makes_branch: false,
        };
        let services = self.services().clone();
        Upkeep { committer, services, ctx: ctx.clone(), name: name.clone(), turn: self.turn(ctx, name) }
    }
}

/// A table at its newest commit.
pub(crate) async fn base_of(
    committer: &Committer,
    ctx: &RequestContext,
    name: &TableName,
) -> Result<Base, LakehouseError> {
    let table = committer.catalog.load_table(ctx, name).await?;
    let location = table.metadata_location.unwrap_or_default();
    let metadata = committer.metadata_of(name, table.metadata)?;
    let text = name.to_string();
    let view = committer.loader.load(name, Arc::clone(&metadata), &location, None).await?;
    let delete_files = committer.loader.position_delete_files(&text, &metadata).await?;
    let key = key_of(&metadata);
    let schema = arrow_schema(&text, metadata.current_schema())?;
    let hasher = match key.is_empty() {
        true => None,
        false => Some(Arc::new(KeyHasher::new(&text, &schema, &key)?)),
    };
    let runs = RunFolder::default();
    Ok(Base { name: name.clone(), view: Arc::new(view), delete_files, hasher, runs })
}
