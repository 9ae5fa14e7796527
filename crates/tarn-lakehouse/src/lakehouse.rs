//! The lakehouse: tables, their views for queries, and the sinks that keep them up to date.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use iceberg::spec::{DataFile, TableMetadata};
use moka::future::Cache;
use parking_lot::Mutex;
use tarn_core::{ByteSize, Env, RequestContext, TableName, TenantId, TopicName};
use tarn_eventlog::EventLog;
use tarn_meta::MetaStore;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::alter::{TableAlteration, altered, unused_specs};
use crate::catalog::Catalog;
use crate::error::LakehouseError;
use crate::follow::ACCEPTED_PROPERTY;
use crate::io::Warehouse;
use crate::load::ViewLoader;
use crate::manifest::ManifestCache;
use crate::service::{ServiceConfig, Services, Trigger};
use crate::sink::{
    CATCH_UP_MAX, CompactAsked, Compaction, HotBudget, Optimize, Shown, Sink, SinkCommand, SinkConfig,
    SinkContext, SinkSpec, SinkStatus, scratch,
};
use crate::view::TableView;

/// Views of past snapshots kept.
const PAST_VIEWS_MAX: u64 = 32;

/// How long a look waits for a sink to show the newest commit, how often, and after how many times the sink is told that
/// the commit is not its own.
const SHOWN_WAIT: Duration = Duration::from_millis(20);
const SHOWN_ATTEMPTS_MAX: u32 = 500;
const SHOWN_ATTEMPTS_OWN: u32 = 3;

type TableKey = (TenantId, TableName);

#[derive(Debug)]
struct RunningSink {
    spec: SinkSpec,
    config: SinkConfig,
    status: Arc<Mutex<SinkStatus>>,
    shown: Arc<Shown>,
    began: Instant,
    news: Arc<Notify>,
    commands: mpsc::Sender<SinkCommand>,
    stop: CancellationToken,
}

/// What a lakehouse may hold beside its tables.
#[derive(Clone, Debug)]
pub struct LakehouseMemory {
    /// A local folder for the keys of data files, which are a cache; they stay in memory without one.
    pub runs: Option<PathBuf>,
    /// Bytes of rows of all tables that are in no file yet. Above half of it tables commit, above it reading waits.
    pub hot_bytes: ByteSize,
    /// What services that look after tables may use.
    pub services: ServiceConfig,
}

impl Default for LakehouseMemory {
    fn default() -> Self {
        Self { runs: None, hot_bytes: ByteSize(1 << 30), services: ServiceConfig::default() }
    }
}

/// Tables of all tenants.
#[derive(Debug)]
pub struct Lakehouse {
    meta: Arc<dyn MetaStore>,
    catalog: Catalog,
    loader: Arc<ViewLoader>,
    log: Arc<dyn EventLog>,
    env: Env,
    runs: Option<PathBuf>,
    budget: Arc<HotBudget>,
    services: Services,
    views: Mutex<HashMap<TableKey, Arc<TableView>>>,
    past: Cache<(TableKey, i64), Arc<TableView>>,
    sinks: Mutex<HashMap<TableKey, RunningSink>>,
    /// Statements that change a table wait here for each other.
    turns: Mutex<HashMap<TableKey, Weak<tokio::sync::Mutex<()>>>>,
}

impl Lakehouse {
    /// A lakehouse with its tables in `warehouse` and their pointers in `meta`.
    pub fn new(
        meta: Arc<dyn MetaStore>,
        warehouse: Warehouse,
        log: Arc<dyn EventLog>,
        env: Env,
        memory: LakehouseMemory,
    ) -> Arc<Self> {
        let catalog = Catalog::new(Arc::clone(&meta), warehouse.clone(), env.clone());
        if let Some(runs) = &memory.runs {
            // What a crash left there.
            drop(std::fs::remove_dir_all(scratch(Some(runs))));
        }
        let services = Services::new(Arc::clone(&meta), memory.services, &env);
        let loader = Arc::new(ViewLoader::new(ManifestCache::new(warehouse), memory.runs.as_deref()));
        Arc::new(Self {
            meta,
            catalog,
            loader,
            log,
            env,
            runs: memory.runs,
            budget: HotBudget::new(memory.hot_bytes.0),
            services,
            views: Mutex::new(HashMap::new()),
            past: Cache::builder().max_capacity(PAST_VIEWS_MAX).build(),
            sinks: Mutex::new(HashMap::new()),
            turns: Mutex::new(HashMap::new()),
        })
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn meta(&self) -> &Arc<dyn MetaStore> {
        &self.meta
    }

    /// A local folder for rows that are sorted.
    pub(crate) fn scratch(&self) -> PathBuf {
        scratch(self.runs.as_deref())
    }

    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    pub(crate) fn loader(&self) -> &Arc<ViewLoader> {
        &self.loader
    }

    /// Where statements that change a table wait for each other.
    pub(crate) fn turn(&self, ctx: &RequestContext, name: &TableName) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        let slot = turns.entry((ctx.tenant.clone(), name.clone())).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let turn = Arc::default();
            *slot = Arc::downgrade(&turn);
            turn
        })
    }

    /// Namespaces, table pointers and commits.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Manifests, cached.
    pub fn manifests(&self) -> &ManifestCache {
        self.loader.manifests()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.env.clock.now_ms()
    }

    /// Live position-delete files of a view.
    pub(crate) async fn delete_files(&self, view: &TableView) -> Result<Vec<Arc<DataFile>>, LakehouseError> {
        self.loader.delete_files(&view.name.to_string(), &view.metadata).await
    }

    /// The newest state of a table, rows in memory included. Errors: `TableNotFound` with the nearest name.
    pub async fn view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Arc<TableView>, LakehouseError> {
        let key = (ctx.tenant.clone(), name.clone());
        let pointer = self.catalog.pointer(ctx, name).await?;
        if let Some(pointer) = &pointer
            && let Some(view) = self.shown(ctx, &key, pointer).await?
        {
            return Ok(view);
        }
        let known = self.views.lock().get(&key).cloned();
        if let (Some(known), Some(pointer)) = (&known, &pointer)
            && *known.metadata_location == **pointer
        {
            return Ok(Arc::clone(known));
        }
        let table = match self.catalog.load_table(ctx, name).await {
            Ok(table) => table,
            Err(error) => {
                self.views.lock().remove(&key);
                return Err(error);
            }
        };
        let location = table.metadata_location.unwrap_or_default();
        let mut view = self.loader.load(name, table.metadata, &location, None).await?;
        if let Some(known) = known.filter(|known| known.snapshot_id == view.snapshot_id) {
            // Only metadata changed: equal rows keep their version.
            view.version = known.version;
        }
        let view = Arc::new(view);
        self.views.lock().insert(key, Arc::clone(&view));
        Ok(view)
    }

    /// What a running sink shows of its table. `None` where there is none, or it cannot say what the newest state is.
    async fn shown(
        &self,
        ctx: &RequestContext,
        key: &TableKey,
        pointer: &str,
    ) -> Result<Option<Arc<TableView>>, LakehouseError> {
        let (mut shown, status, commands, began) = {
            let sinks = self.sinks.lock();
            let Some(sink) = sinks.get(key) else { return Ok(None) };
            (sink.shown.subscribe(), Arc::clone(&sink.status), sink.commands.clone(), sink.began)
        };
        let mut pointer = pointer.to_string();
        for attempt in 0..SHOWN_ATTEMPTS_MAX {
            let state = shown.borrow_and_update().clone();
            let view = state.map(|state| state.view);
            // A commit of the sink itself holds nothing that it did not show before.
            let is_own = status.lock().own_commit.as_deref() == Some(pointer.as_str());
            if let Some(view) = &view
                && (is_own || *view.metadata_location == *pointer)
            {
                return Ok(Some(Arc::clone(view)));
            }
            let age = self.env.clock.instant().saturating_duration_since(began);
            if status.lock().fault.is_some() || (view.is_none() && age > CATCH_UP_MAX) {
                return Ok(None);
            }
            // A commit of the sink that it has not told yet, or, after a moment, of another writer.
            if attempt == SHOWN_ATTEMPTS_OWN && view.is_some() {
                drop(commands.try_send(SinkCommand::Reopen));
            }
            // The pointer may have been looked up just before the state changed.
            let wait = if attempt == 0 { Duration::ZERO } else { SHOWN_WAIT };
            tokio::select! {
                changed = shown.changed() => if changed.is_err() { return Ok(None) },
                () = self.env.clock.sleep(wait) => {}
                () = ctx.cancel.cancelled() => return Ok(None),
            }
            match self.catalog.pointer(ctx, &key.1).await? {
                Some(newest) => pointer = newest,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Commits the rows of a table that are only in memory, so that other engines see what our SQL sees. Returns at once
    /// where no topic feeds it, and after `wait` in any case.
    pub async fn flush(&self, ctx: &RequestContext, table: &TableName, wait: Duration) {
        let (reply, answer) = oneshot::channel();
        {
            let sinks = self.sinks.lock();
            let Some(sink) = sinks.get(&(ctx.tenant.clone(), table.clone())) else { return };
            let is_flushed = {
                let status = sink.status.lock();
                status.applied_offset <= status.committed_offset
            };
            if is_flushed || sink.commands.try_send(SinkCommand::Flush(reply)).is_err() {
                return;
            }
        }
        tokio::select! {
            answer = answer => drop(answer),
            () = self.env.clock.sleep(wait) => {}
            () = ctx.cancel.cancelled() => {}
        }
    }

    /// Changes columns or properties of a table, all or none. Errors: `Invalid` with what stands in the way.
    pub async fn alter(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        changes: &[TableAlteration],
    ) -> Result<(), LakehouseError> {
        let table = self.catalog.load_table(ctx, name).await?;
        let drops = changes.iter().any(|change| matches!(change, TableAlteration::DropColumn { .. }));
        let unused = match drops && table.metadata.partition_specs_iter().len() > 1 {
            true => unused_specs(&table.metadata, &self.used_specs(name, &table.metadata).await?),
            false => HashSet::new(),
        };
        let (mut requirements, updates) = altered(&name.to_string(), &table.metadata, changes, &unused)?;
        requirements.extend(Box::pin(self.check_required(ctx, name, &table, changes)).await?);
        if !updates.is_empty() {
            self.catalog.commit_table(ctx, name, requirements, updates).await?;
            if let Some(sink) = self.sinks.lock().get(&(ctx.tenant.clone(), name.clone())) {
                sink.news.notify_one();
            }
        }
        Ok(())
    }

    /// Lets a table follow the change of its source before which it stands still. Errors: `TableNotFound`; `Invalid`, it does
    /// not stand still for that.
    pub async fn accept_schema_change(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<(), LakehouseError> {
        self.catalog.load_table(ctx, name).await?;
        let undecided = self.sink(ctx, name).and_then(|(_, status)| status.undecided);
        let Some(columns) = undecided else {
            let what = format!("table `{name}` does not stand still before a change of its source's columns");
            return Err(LakehouseError::Invalid { what });
        };
        let accepted = HashMap::from([(ACCEPTED_PROPERTY.to_string(), columns.to_string())]);
        self.alter(ctx, name, &[TableAlteration::SetProperties(accepted)]).await
    }

    /// Numbers of the partition specifications that files of some snapshot have.
    async fn used_specs(
        &self,
        name: &TableName,
        metadata: &TableMetadata,
    ) -> Result<HashSet<i32>, LakehouseError> {
        let (table, version) = (name.to_string(), metadata.format_version());
        let mut used = HashSet::new();
        for snapshot in metadata.snapshots() {
            let list = self.loader.manifests().list(&table, snapshot.manifest_list(), version).await?;
            used.extend(list.entries().iter().map(|manifest| manifest.partition_spec_id));
        }
        Ok(used)
    }

    /// The state of a table at a snapshot. Errors: `TableNotFound`, `SnapshotNotFound`.
    pub async fn view_at_snapshot(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        snapshot_id: i64,
    ) -> Result<Arc<TableView>, LakehouseError> {
        let table = self.catalog.load_table(ctx, name).await?;
        let key = ((ctx.tenant.clone(), name.clone()), snapshot_id);
        if let Some(view) = self.past.get(&key).await {
            return Ok(view);
        }
        let location = table.metadata_location.unwrap_or_default();
        let view = Arc::new(self.loader.load(name, table.metadata, &location, Some(snapshot_id)).await?);
        self.past.insert(key, Arc::clone(&view)).await;
        Ok(view)
    }

    /// The state of a table at a branch or tag. Errors: `TableNotFound`, `SnapshotNotFound`.
    pub async fn view_at_ref(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        reference: &str,
    ) -> Result<Arc<TableView>, LakehouseError> {
        let table = self.catalog.load_table(ctx, name).await?;
        let snapshot_id = crate::refs::snapshot_of(name, &table.metadata, reference)?;
        self.view_at_snapshot(ctx, name, snapshot_id).await
    }

    /// The state of a table at a time, milliseconds since 1970 UTC: its last snapshot not after it.
    /// Errors: `TableNotFound`, `SnapshotNotFound` before the first kept snapshot.
    pub async fn view_at_time(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        time_ms: i64,
    ) -> Result<Arc<TableView>, LakehouseError> {
        let table = self.catalog.load_table(ctx, name).await?;
        let log = table.metadata.history();
        let found = log
            .iter()
            .filter(|entry| entry.timestamp_ms() <= time_ms)
            .map(|entry| entry.snapshot_id)
            .next_back();
        let at = found.ok_or_else(|| LakehouseError::SnapshotNotFound {
            table: name.to_string(),
            wanted: format!("at {time_ms} ms since 1970"),
        })?;
        self.view_at_snapshot(ctx, name, at).await
    }

    /// Starts to apply the changes of a topic to a table, unless that is done already with this configuration. Another
    /// topic or configuration for the same table takes over from the one before.
    pub fn attach(&self, ctx: &RequestContext, spec: SinkSpec, config: SinkConfig) {
        let key = (ctx.tenant.clone(), spec.table.clone());
        let mut sinks = self.sinks.lock();
        let same = |running: &RunningSink| running.spec == spec && running.config == config;
        if sinks.get(&key).is_some_and(|running| same(running) && !running.stop.is_cancelled()) {
            return;
        }
        // What was shown stays until the new sink is as far.
        let shown = match sinks.remove(&key) {
            Some(old) => {
                old.stop.cancel();
                if old.spec == spec { old.shown } else { Arc::new(Shown::new(None)) }
            }
            None => Arc::new(Shown::new(None)),
        };
        let (commands, receiver) = mpsc::channel(4);
        let status = Arc::new(Mutex::new(SinkStatus::default()));
        let stop = self.env.spawner.stopping().child_token();
        let mut ctx = ctx.clone();
        ctx.cancel = stop.clone();
        ctx.deadline = None;
        let context = SinkContext {
            ctx,
            catalog: self.catalog.clone(),
            loader: Arc::clone(&self.loader),
            log: Arc::clone(&self.log),
            env: self.env.clone(),
            config: config.clone(),
            runs: self.runs.clone(),
            budget: Arc::clone(&self.budget),
            services: self.services.clone(),
            news: Arc::default(),
        };
        let news = Arc::clone(&context.news);
        let sink = Sink::new(context, spec.clone(), Arc::clone(&status), Arc::clone(&shown), receiver);
        drop(self.env.spawner.spawn(sink.run()));
        let began = self.env.clock.instant();
        sinks.insert(key, RunningSink { spec, config, status, shown, began, news, commands, stop });
    }

    /// Stops applying changes to a table. The table stays.
    pub fn detach(&self, ctx: &RequestContext, table: &TableName) {
        if let Some(sink) = self.sinks.lock().remove(&(ctx.tenant.clone(), table.clone())) {
            sink.stop.cancel();
        }
    }

    /// The topic that feeds a table and how far it is; `None` for a table without one.
    pub fn sink(&self, ctx: &RequestContext, table: &TableName) -> Option<(TopicName, SinkStatus)> {
        let sinks = self.sinks.lock();
        let sink = sinks.get(&(ctx.tenant.clone(), table.clone()))?;
        let status = sink.status.lock().clone();
        Some((sink.spec.topic.clone(), status))
    }

    /// Tables that are fed by topics, with their states.
    pub fn sinks(&self, ctx: &RequestContext) -> Vec<(SinkSpec, SinkStatus)> {
        let sinks = self.sinks.lock();
        let own = sinks.iter().filter(|((tenant, _), _)| *tenant == ctx.tenant);
        own.map(|(_, sink)| (sink.spec.clone(), sink.status.lock().clone())).collect()
    }

    /// Rewrites small and worn files of a table now; of one that no topic feeds, old snapshots and files that nothing needs
    /// go too. Errors: `CommitFailed` where another writer was faster.
    pub async fn compact(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        trigger: Trigger,
    ) -> Result<Compaction, LakehouseError> {
        self.optimize(ctx, table, Optimize::default(), trigger).await
    }

    /// Counts the different values of each column of a table now, for the planner and for other engines. Rows that only a sink
    /// has in memory are committed first. Errors: `TableNotFound`, `CommitFailed` where another writer was faster.
    pub async fn analyze(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        trigger: Trigger,
    ) -> Result<(), LakehouseError> {
        self.flush(ctx, table, crate::write::FLUSH_WAIT).await;
        self.upkeep(ctx, table).analyze_now(trigger).await
    }

    /// Rewrites files of a table now, as `optimize` says. Errors: `CommitFailed` where another writer was faster; `Invalid`
    /// for an order by columns that the table has not.
    pub async fn optimize(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        optimize: Optimize,
        trigger: Trigger,
    ) -> Result<Compaction, LakehouseError> {
        let commands =
            self.sinks.lock().get(&(ctx.tenant.clone(), table.clone())).map(|sink| sink.commands.clone());
        let Some(commands) = commands else { return self.upkeep(ctx, table).asked(&optimize, trigger).await };
        let stands =
            || LakehouseError::Invalid { what: format!("the sink of table `{table}` ended; ask again") };
        let (reply, answer) = oneshot::channel();
        commands
            .send(SinkCommand::Compact(CompactAsked { optimize, trigger, reply }))
            .await
            .map_err(|_| stands())?;
        answer.await.map_err(|_| LakehouseError::Invalid {
            what: format!("the sink of table `{table}` was restarted during the compaction; ask again"),
        })?
    }
}
