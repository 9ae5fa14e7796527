//! The sink of a table: it follows a topic and applies its change rows, each exactly once.
//!
//! The topic is the table's write-ahead log. The offset up to which it is applied is a property of the table, set in
//! the same commit as the rows, so a crash at any point repeats nothing and skips nothing.

mod collapse;
mod compact;
mod expire;
mod flush;
mod index;
mod lane;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use iceberg::TableUpdate;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::change::data_schema;
use tarn_core::{ByteSize, Env, Fault, FaultReport, HumanDuration, RequestContext, TableName, TopicName};
use tarn_eventlog::{EventLog, LogBatch, ReadLimits};
use tokio::sync::{mpsc, oneshot};

use crate::catalog::{Catalog, CreateTable, LoadedTable};
use crate::error::LakehouseError;
use crate::load::ViewLoader;
use crate::types::{Conformer, evolved, new_schema};
use collapse::Stretch;
use flush::{Committer, offset_property};
use state::TableState;

pub use compact::Compaction;
pub(crate) use state::live_delete_files;

/// When changes of a topic become a commit of its table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// Longest time between the arrival of a change and its commit, such as `"1s"`. Shorter shows changes sooner and
    /// makes more and smaller files.
    pub freshness: HumanDuration,
    /// A commit comes sooner once this many rows wait.
    pub flush_rows: usize,
    /// A commit comes sooner once rows of this size wait in memory.
    pub flush_bytes: ByteSize,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            freshness: HumanDuration::from_secs(1),
            flush_rows: 1_000_000,
            flush_bytes: ByteSize(256 << 20),
        }
    }
}

/// Which topic feeds which table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// The topic.
    pub topic: TopicName,
    /// The table.
    pub table: TableName,
}

/// What a sink does now.
#[derive(Clone, Debug, Default)]
pub struct SinkStatus {
    /// Next offset that is not in the table.
    pub applied_offset: u64,
    /// One past the newest row of the topic.
    pub high_offset: u64,
    /// Time of the last commit, milliseconds since 1970 UTC.
    pub committed_ms: Option<i64>,
    /// Time between the arrival of the oldest row of the last commit and that commit.
    pub freshness_ms: Option<i64>,
    /// Why it stands still, if it does.
    pub fault: Option<FaultReport>,
    /// Updates and deletes that a table without a key could not take.
    pub ignored: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Rows written since the start.
    pub rows: u64,
    /// Rows of files that were replaced or deleted since the start.
    pub deleted: u64,
    /// Compactions since the start.
    pub compactions: u64,
    /// The last compaction.
    pub last_compaction: Option<Compaction>,
}

/// What the sink is asked from outside.
pub(crate) enum SinkCommand {
    Compact(oneshot::Sender<Result<Compaction, LakehouseError>>),
}

/// Everything a sink needs.
#[derive(Clone, Debug)]
pub(crate) struct SinkContext {
    pub ctx: RequestContext,
    pub catalog: Catalog,
    pub loader: Arc<ViewLoader>,
    pub log: Arc<dyn EventLog>,
    pub env: Env,
    pub config: SinkConfig,
}

pub(crate) struct Sink {
    context: SinkContext,
    spec: SinkSpec,
    committer: Committer,
    status: Arc<Mutex<SinkStatus>>,
    commands: mpsc::Receiver<SinkCommand>,
}

/// A table that is open for changes of one source schema.
struct Open {
    state: TableState,
    offset: u64,
    stretch: Stretch,
    /// When the first row of the stretch came.
    since: Option<Instant>,
    oldest_ms: Option<i64>,
    source: Option<(SchemaRef, Conformer)>,
}

/// Old metadata files that a new table keeps.
const METADATA_FILES_MAX: &str = "10";
/// How long a read waits at the tail; commands are looked at in between.
const TAIL_WAIT: Duration = Duration::from_millis(200);
/// Pauses after an error, doubled each time up to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl Sink {
    pub(crate) fn new(
        context: SinkContext,
        spec: SinkSpec,
        status: Arc<Mutex<SinkStatus>>,
        commands: mpsc::Receiver<SinkCommand>,
    ) -> Self {
        let committer = Committer {
            catalog: context.catalog.clone(),
            loader: Arc::clone(&context.loader),
            env: context.env.clone(),
        };
        Self { context, spec, committer, status, commands }
    }

    /// Follows the topic until the context is cancelled. Errors are kept in the status and tried again.
    pub(crate) async fn run(mut self) {
        let stop = self.context.ctx.cancel.clone();
        let mut pause = BACK_OFF.0;
        while !stop.is_cancelled() {
            let outcome = self.follow(&mut pause).await;
            let Err(error) = outcome else { break };
            // Another writer committed first: the state is read anew at once.
            let lost_race = matches!(error, LakehouseError::CommitFailed { .. });
            if lost_race {
                tracing::info!(table = %self.spec.table, "another writer changed the table; reading it anew");
            } else {
                tracing::warn!(table = %self.spec.table, error = tarn_core::chain_text(&error), "table stands still");
                self.status.lock().fault = Some(FaultReport::of(&error));
            }
            let wait = if lost_race { Duration::from_millis(10) } else { pause };
            tokio::select! {
                () = self.context.env.clock.sleep(wait) => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    /// Opens the table and applies changes until an error or the end.
    async fn follow(&mut self, pause: &mut Duration) -> Result<(), LakehouseError> {
        let stop = self.context.ctx.cancel.clone();
        let Some(mut open) = self.open().await? else { return Ok(()) };
        while !stop.is_cancelled() {
            self.obey(&mut open).await?;
            let limits = ReadLimits { wait: self.wait_for(&open), ..ReadLimits::default() };
            let (ctx, topic) = (&self.context.ctx, &self.spec.topic);
            let next = open.offset;
            let read = self.context.log.read(ctx, topic, 0, next, limits);
            let read = tokio::select! {
                read = read => read?,
                () = stop.cancelled() => break,
            };
            {
                let mut status = self.status.lock();
                status.high_offset = read.high_offset;
                if read.batches.is_empty() && open.stretch.is_empty() {
                    status.fault = None;
                }
            }
            for batch in &read.batches {
                self.take(&mut open, batch).await?;
            }
            if self.is_due(&open) {
                self.flush(&mut open).await?;
                *pause = BACK_OFF.0;
                self.maintain(&mut open).await?;
            }
        }
        // What waits at the stop is in the topic; it is applied at the next start.
        Ok(())
    }

    fn wait_for(&self, open: &Open) -> Duration {
        match open.since {
            None => TAIL_WAIT,
            Some(since) => {
                let age = self.context.env.clock.instant().saturating_duration_since(since);
                self.context.config.freshness.0.saturating_sub(age).min(TAIL_WAIT)
            }
        }
    }

    fn is_due(&self, open: &Open) -> bool {
        let config = &self.context.config;
        let waited = open.since.is_some_and(|since| {
            self.context.env.clock.instant().saturating_duration_since(since) >= config.freshness.0
        });
        !open.stretch.is_empty()
            && (waited
                || open.stretch.rows() >= config.flush_rows
                || open.stretch.bytes() as u64 >= config.flush_bytes.0)
    }

    /// Opens the table, making it from the topic's schema if needed. `None` if asked to stop before there is one.
    async fn open(&mut self) -> Result<Option<Open>, LakehouseError> {
        let Some(table) = self.table().await? else { return Ok(None) };
        let text = table.metadata.properties().get(&offset_property(&self.spec.topic));
        let offset = text.and_then(|text| text.parse().ok()).unwrap_or(0);
        let state =
            TableState::open(&self.context.ctx, &self.spec.table, &table, &self.context.loader).await?;
        self.status.lock().applied_offset = offset;
        Ok(Some(Open {
            state,
            offset,
            stretch: Stretch::default(),
            since: None,
            oldest_ms: None,
            source: None,
        }))
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

    async fn create(&self, change: &Schema, key: &[String]) -> Result<LoadedTable, LakehouseError> {
        let ctx = &self.context.ctx;
        let name = &self.spec.table;
        let source = new_schema(&name.to_string(), &data_schema(change), key)?;
        self.context.catalog.ensure_namespace(ctx, name.namespace()).await?;
        let mut properties = source.properties;
        properties.insert("tarn.topic".into(), self.spec.topic.to_string());
        // A commit a second with the default of 100 would keep tens of megabytes of metadata that nobody reads.
        properties.insert("write.metadata.previous-versions-max".into(), METADATA_FILES_MAX.into());
        let create = CreateTable {
            name: name.clone(),
            schema: source.schema,
            partition_spec: None,
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

    /// Takes in a batch, following a change of the source's schema first.
    async fn take(&self, open: &mut Open, batch: &LogBatch) -> Result<(), LakehouseError> {
        let schema = batch.batch.schema();
        if open.source.as_ref().is_none_or(|(known, _)| *known != schema) {
            self.flush(open).await?;
            self.evolve(open, &schema).await?;
            let conformer = Conformer::new(&self.spec.table.to_string(), &open.state.metadata, &schema)?;
            open.source = Some((schema, conformer));
        }
        let Some((_, conformer)) = &open.source else { return Ok(()) };
        let table = self.spec.table.to_string();
        let (hasher, index) = (open.state.hasher.as_ref(), &open.state.index);
        open.stretch.take(&table, &batch.batch, conformer, hasher, index)?;
        open.offset = batch.first_offset + batch.batch.num_rows() as u64;
        open.since.get_or_insert_with(|| self.context.env.clock.instant());
        open.oldest_ms.get_or_insert(batch.appended_ms);
        Ok(())
    }

    async fn evolve(&self, open: &mut Open, change: &Schema) -> Result<(), LakehouseError> {
        let key = crate::types::key_of(&open.state.metadata);
        let table = self.spec.table.to_string();
        let Some(next) = evolved(&table, &open.state.metadata, &data_schema(change), &key)? else {
            return Ok(());
        };
        tracing::info!(%table, "following a schema change of the source");
        let updates = vec![
            TableUpdate::AddSchema { schema: next.schema },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
            TableUpdate::SetProperties { updates: next.properties },
        ];
        let requirements = vec![iceberg::TableRequirement::CurrentSchemaIdMatch {
            current_schema_id: open.state.metadata.current_schema_id(),
        }];
        let (ctx, name) = (&self.context.ctx, &self.spec.table);
        let loaded = self.context.catalog.commit_table(ctx, name, requirements, updates).await?;
        open.state = TableState::open(ctx, name, &loaded, &self.context.loader).await?;
        Ok(())
    }

    async fn flush(&self, open: &mut Open) -> Result<(), LakehouseError> {
        if open.stretch.is_empty() {
            return Ok(());
        }
        let (ctx, topic) = (&self.context.ctx, &self.spec.topic);
        let flushed = self.committer.flush(ctx, &mut open.state, &open.stretch, topic, open.offset).await?;
        // For people who ask who reads the topic; the table's own offset is what counts.
        let consumer = format!("table {}", self.spec.table);
        if let Err(error) = self.context.log.commit_position(ctx, topic, 0, &consumer, open.offset).await {
            tracing::debug!(table = %self.spec.table, %error, "the position in the topic is not shown");
        }
        let now_ms = self.context.env.clock.now_ms();
        let mut status = self.status.lock();
        status.applied_offset = open.offset;
        status.committed_ms = Some(now_ms);
        status.freshness_ms = open.oldest_ms.map(|oldest| now_ms - oldest);
        status.fault = None;
        status.commits += 1;
        status.rows += flushed.written;
        status.deleted += flushed.deleted;
        status.ignored += open.stretch.ignored();
        drop(status);
        open.stretch = Stretch::default();
        open.since = None;
        open.oldest_ms = None;
        Ok(())
    }

    /// Keeps the table in shape. Faults of it do not stop the sink, except a lost race, after which the state is old.
    async fn maintain(&self, open: &mut Open) -> Result<(), LakehouseError> {
        let ctx = &self.context.ctx;
        if compact::is_due(&open.state) {
            let report = self.committer.compact(ctx, &mut open.state, &self.context.env, false).await?;
            self.note(report);
        }
        if expire::is_due(&open.state.metadata, self.context.env.clock.now_ms()) {
            match self.committer.expire(ctx, &mut open.state).await {
                Err(error) if !matches!(error, LakehouseError::CommitFailed { .. }) => {
                    tracing::warn!(table = %self.spec.table, %error, "old snapshots stay for now");
                }
                outcome => drop(outcome?),
            }
        }
        Ok(())
    }

    fn note(&self, report: Compaction) {
        let mut status = self.status.lock();
        status.compactions += 1;
        status.last_compaction = Some(report);
    }

    async fn obey(&mut self, open: &mut Open) -> Result<(), LakehouseError> {
        while let Ok(SinkCommand::Compact(reply)) = self.commands.try_recv() {
            self.flush(open).await?;
            let (ctx, env) = (&self.context.ctx, &self.context.env);
            let report = self.committer.compact(ctx, &mut open.state, env, true).await;
            if let Ok(report) = &report {
                self.note(*report);
            }
            let lost = report.as_ref().is_err_and(|e| e.kind() == tarn_core::FaultKind::Conflict);
            // The one who asked may have gone.
            drop(reply.send(report));
            if lost {
                let what = "another writer changed the table during a compaction".into();
                return Err(LakehouseError::CommitFailed { table: self.spec.table.to_string(), what });
            }
        }
        Ok(())
    }
}
