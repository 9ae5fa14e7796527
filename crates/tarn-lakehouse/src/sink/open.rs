//! A table that is open for changes: made where it is missing, following the schema of its source.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::change::data_schema;
use tarn_eventlog::{LogBatch, ReadLimits};

use super::apply::{takes_rows_away, truncates};
use super::budget::Share;
use super::config::WithoutKey;
use super::flush::offset_property;
use super::job::Running;
use super::state::{RunFolder, TableState};
use super::{CATCH_UP_MAX, Sink, TAIL_WAIT};
use crate::alter::{PartitionChange, TableAlteration, altered, new_spec};
use crate::catalog::{CreateTable, LoadedTable};
use crate::error::LakehouseError;
use crate::follow::{SchemaPolicy, SchemaRule, fingerprint, follow, noted};
use crate::service::{Need, Trigger};
use crate::types::{Conformer, key_of, new_schema};

/// How long after its opening a table's folder is looked through for the first time.
const ORPHANS_FIRST: Duration = Duration::from_secs(600);
/// Old metadata files that a new table keeps.
const METADATA_FILES_MAX: &str = "10";

/// A table that is open for changes of one source schema.
pub(super) struct Open {
    pub state: TableState,
    /// Next offset to read.
    pub offset: u64,
    /// Next offset that is in no commit.
    pub committed_offset: u64,
    /// The rows so far belong to whole source transactions.
    pub settled: bool,
    /// Something is different from what was shown last.
    pub is_changed: bool,
    /// When the oldest change came that is in no commit.
    pub since: Option<Instant>,
    /// When the newest change came.
    pub touched: Option<Instant>,
    /// The same, in milliseconds since 1970 UTC.
    pub touched_ms: Option<i64>,
    /// When the last commit was made.
    pub flushed: Option<Instant>,
    /// When the oldest change was appended that was not shown, milliseconds since 1970 UTC.
    pub oldest_ms: Option<i64>,
    /// When a flush failed last, and how long to wait before the next.
    pub flush_failed: Option<(Instant, Duration)>,
    /// A commit of it was lost or may have come about: nothing more may be written before it is opened again. Files of a lost
    /// commit are gone.
    pub is_broken: bool,
    /// Files or snapshots are others than when upkeep was looked at last.
    pub is_unkept: bool,
    /// When a compaction or expiry failed last, or found nothing to do.
    pub service_failed: Option<Instant>,
    /// When files that nothing needs are looked for next.
    pub orphans_due: Instant,
    /// Who asked for that, if somebody did.
    pub orphans_asked: Option<Trigger>,
    /// What is due and waits for its turn.
    pub need: Option<Need>,
    pub job: Option<Running>,
    /// Its part of the memory of all tables.
    pub share: Share,
    pub source: Option<(SchemaRef, Conformer)>,
    /// Rows cannot be told apart by their values.
    pub rows_only_come: bool,
}

impl Open {
    /// Rows and bytes in memory.
    pub fn held(&self) -> (u64, u64) {
        (self.state.rows.live_rows() as u64, self.state.rows.bytes() as u64)
    }
}

impl Sink {
    /// Opens the table, making it from the topic's schema if needed. `None` if asked to stop before there is one.
    pub(super) async fn open(&mut self) -> Result<Option<Open>, LakehouseError> {
        let Some(table) = self.table().await? else { return Ok(None) };
        let table = self.partitioned(table).await?;
        let is_other = self
            .shown
            .borrow()
            .as_ref()
            .is_some_and(|shown| shown.view.metadata.uuid() != table.metadata.uuid());
        if is_other {
            // The table was dropped and made again: what was seen of the old one does not count.
            self.shown.send_replace(None);
        }
        let text = table.metadata.properties().get(&offset_property(&self.spec.topic));
        let offset = text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let folder = self.context.runs.as_ref().map(|runs| runs.join(table.metadata.uuid().to_string()));
        let state =
            TableState::open(&self.spec.table, &table, &self.context.loader, RunFolder(folder)).await?;
        self.status.lock().committed_offset = offset;
        if self.catch_up.is_none() {
            let end = self.settled_end().await?;
            self.catch_up = Some((end, self.context.env.clock.instant() + CATCH_UP_MAX));
        }
        Ok(Some(Open {
            state,
            offset,
            committed_offset: offset,
            settled: true,
            is_changed: true,
            since: None,
            touched: None,
            touched_ms: None,
            flushed: None,
            oldest_ms: None,
            flush_failed: None,
            is_broken: false,
            is_unkept: true,
            service_failed: None,
            orphans_due: self.context.env.clock.instant() + ORPHANS_FIRST,
            orphans_asked: None,
            need: None,
            job: None,
            share: Share::new(&self.context.budget),
            source: None,
            rows_only_come: false,
        }))
    }

    /// The end of the last whole source transaction in the topic, as far as it is known.
    async fn settled_end(&self) -> Result<u64, LakehouseError> {
        let (ctx, name) = (&self.context.ctx, &self.spec.topic);
        let topic = self.context.log.topic(ctx, name).await?;
        let high = topic.partitions.first().map_or(0, |partition| partition.high_offset);
        let end = self.context.log.read(ctx, name, 0, high, ReadLimits::default()).await?;
        Ok(end.settled_offset.min(high))
    }

    async fn table(&self) -> Result<Option<LoadedTable>, LakehouseError> {
        let ctx = &self.context.ctx;
        loop {
            match self.context.catalog.load_table(ctx, &self.spec.table).await {
                Ok(table) => return Ok(Some(table)),
                Err(LakehouseError::TableNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let topic = self.context.log.topic(ctx, &self.spec.topic).await?;
            // The oldest rows decide: later schemas are followed from there.
            let low = topic.partitions.first().map_or(0, |partition| partition.low_offset);
            let limits = ReadLimits { rows_max: 1, ..ReadLimits::default() };
            let oldest = self.context.log.read(ctx, &self.spec.topic, 0, low, limits).await?;
            if let Some(schema) = oldest.batches.first().map(|rows| rows.batch.schema()).or(topic.schema) {
                return self.create(&schema, &topic.spec.key).await.map(Some);
            }
            tokio::select! {
                () = self.context.env.clock.sleep(TAIL_WAIT) => {}
                () = ctx.cancel.cancelled() => return Ok(None),
            }
        }
    }

    /// The table, partitioned as its settings say; rows from now on are. Errors: `Invalid`, a column that it has not.
    async fn partitioned(&self, table: LoadedTable) -> Result<LoadedTable, LakehouseError> {
        let Some(terms) = self.context.config.partitioned_by.clone() else { return Ok(table) };
        let name = &self.spec.table;
        let change = [TableAlteration::Partition(PartitionChange::Set(terms))];
        let (requirements, updates) = altered(&name.to_string(), &table.metadata, &change, &HashSet::new())?;
        if updates.is_empty() {
            return Ok(table);
        }
        tracing::info!(table = %name, "partitioning rows as the table's settings say");
        self.context.catalog.commit_table(&self.context.ctx, name, requirements, updates).await
    }

    async fn create(&self, change: &Schema, key: &[String]) -> Result<LoadedTable, LakehouseError> {
        let ctx = &self.context.ctx;
        let name = &self.spec.table;
        let source = new_schema(&name.to_string(), &data_schema(change), key)?;
        self.context.catalog.ensure_namespace(ctx, name.namespace()).await?;
        let mut properties = source.properties;
        properties.insert("tarn.topic".into(), self.spec.topic.to_string());
        // The default of 100 would keep tens of megabytes of metadata that nobody reads.
        properties.insert("write.metadata.previous-versions-max".into(), METADATA_FILES_MAX.into());
        let terms = self.context.config.partitioned_by.as_deref().unwrap_or_default();
        let partition_spec = match terms {
            [] => None,
            terms => Some(new_spec(&name.to_string(), &source.schema, terms)?),
        };
        let create = CreateTable {
            name: name.clone(),
            schema: source.schema,
            partition_spec,
            write_order: None,
            location: None,
            properties,
            stage: false,
        };
        match self.context.catalog.create_table(ctx, create).await {
            Err(LakehouseError::AlreadyExists { .. }) => self.context.catalog.load_table(ctx, name).await,
            created => created,
        }
    }

    /// Applies a batch, following a change of the source's schema first.
    pub(super) async fn take(&mut self, open: &mut Open, batch: &LogBatch) -> Result<(), LakehouseError> {
        let schema = batch.batch.schema();
        if open.source.as_ref().is_none_or(|(known, _)| *known != schema) {
            let followed = match self.evolve(open, &schema).await {
                Ok(()) => {
                    let policy = self.context.config.schema_rule.policy;
                    let forgives = matches!(policy, SchemaPolicy::Ignore | SchemaPolicy::Try);
                    let made = Conformer::new(&self.spec.table.to_string(), &open.state.metadata, &schema);
                    made.map(|conformer| conformer.forgiving(forgives))
                }
                Err(error) => Err(error),
            };
            match followed {
                Ok(conformer) => open.source = Some((schema, conformer)),
                Err(error) => {
                    self.keep(open).await?;
                    return Err(error);
                }
            }
        }
        if open.job.is_some() && truncates(&self.spec.table.to_string(), &batch.batch)? {
            self.wait_for_job(open).await?;
        }
        let finds_rows = self.context.config.without_key == WithoutKey::Rows && !open.rows_only_come;
        if finds_rows
            && open.state.hasher.is_none()
            && takes_rows_away(&self.spec.table.to_string(), &batch.batch)?
        {
            Box::pin(self.identify_rows(open)).await?;
        }
        let Some((_, conformer)) = &open.source else { return Ok(()) };
        let applied = open.state.apply(&batch.batch, conformer, self.context.catalog.warehouse()).await?;
        let left_out = conformer.take_left_out();
        open.offset = batch.first_offset + batch.batch.num_rows() as u64;
        let now = self.context.env.clock.instant();
        open.since.get_or_insert(now);
        open.touched = Some(now);
        open.touched_ms = Some(self.context.env.clock.now_ms());
        open.oldest_ms.get_or_insert(batch.appended_ms);
        open.is_changed = true;
        open.share.set(open.state.rows.bytes() as u64);
        let mut status = self.status.lock();
        status.ignored += applied.ignored;
        status.left_out += left_out;
        status.deleted += applied.deleted;
        Ok(())
    }

    /// Lets the table follow the source's columns, as its rule says.
    async fn evolve(&mut self, open: &mut Open, change: &Schema) -> Result<(), LakehouseError> {
        let rule = self.context.config.schema_rule;
        match Box::pin(self.evolve_by(open, change, rule)).await {
            // What the table cannot take is left out.
            Err(error @ (LakehouseError::Invalid { .. } | LakehouseError::Unmappable { .. }))
                if rule.policy == SchemaPolicy::Try && !open.is_broken =>
            {
                let table = &self.spec.table;
                tracing::warn!(%table, %error, "the table cannot follow its source; what it cannot take is left out");
                let rule = SchemaRule { policy: SchemaPolicy::Ignore, ..rule };
                Box::pin(self.evolve_by(open, change, rule)).await
            }
            Err(error) => {
                if matches!(error, LakehouseError::SchemaChange { .. }) {
                    self.status.lock().undecided = Some(fingerprint(&data_schema(change)).into());
                }
                Err(error)
            }
            Ok(()) => {
                self.status.lock().undecided = None;
                Ok(())
            }
        }
    }

    async fn evolve_by(
        &mut self,
        open: &mut Open,
        change: &Schema,
        rule: SchemaRule,
    ) -> Result<(), LakehouseError> {
        let key = key_of(&open.state.metadata);
        let table = self.spec.table.to_string();
        let data = data_schema(change);
        let now_ms = self.context.env.clock.now_ms();
        let first = follow(&table, &open.state.metadata, &data, &key, rule)?;
        if first.schema.is_none() && noted(&open.state.metadata, &first.changes, now_ms).is_none() {
            return Ok(());
        }
        // Rows of the old schema go first; a commit under way may have brought another one.
        self.flush_now(open).await?;
        let next = follow(&table, &open.state.metadata, &data, &key, rule)?;
        let mut updates = Vec::new();
        let mut properties: HashMap<String, String> =
            noted(&open.state.metadata, &next.changes, now_ms).into_iter().collect();
        for (change, outcome) in &next.changes {
            tracing::info!(%table, %change, outcome, "the source changed its columns");
        }
        if let Some(schema) = next.schema {
            updates.push(TableUpdate::AddSchema { schema: schema.schema });
            updates.push(TableUpdate::SetCurrentSchema { schema_id: -1 });
            properties.extend(schema.properties);
        }
        if properties.is_empty() {
            return Ok(());
        }
        updates.push(TableUpdate::SetProperties { updates: properties });
        let requirements = vec![TableRequirement::CurrentSchemaIdMatch {
            current_schema_id: open.state.metadata.current_schema_id(),
        }];
        let (ctx, name) = (&self.context.ctx, &self.spec.table);
        let loaded = self.context.catalog.commit_table(ctx, name, requirements, updates).await?;
        self.status.lock().own_commit = loaded.metadata_location.as_deref().map(Arc::from);
        let runs = open.state.runs.clone();
        open.state = TableState::open(name, &loaded, &self.context.loader, runs).await?;
        open.is_changed = true;
        Ok(())
    }

    /// From now on rows of a table without a key are found by all their values.
    async fn identify_rows(&mut self, open: &mut Open) -> Result<(), LakehouseError> {
        self.wait_for_job(open).await?;
        match open.state.identify_rows(self.context.catalog.warehouse()).await {
            // Some type has no order: rows only come.
            Err(error @ LakehouseError::Arrow { .. }) => {
                let table = &self.spec.table;
                tracing::warn!(%table, error = tarn_core::chain_text(&error), "rows cannot be told apart by their values");
                open.rows_only_come = true;
                Ok(())
            }
            done => done,
        }
    }
}
