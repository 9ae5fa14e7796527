//! The service: what exists, what runs, and what people ask of it.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tarn_core::{Env, FaultKind, RequestContext, ResourceName, TenantId, TraceId, nearest};
use tarn_eventlog::{EventLog, EventLogError};
use tarn_observe::{FaultBoard, Label, Metrics, SubjectKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::appender::AppendPorts;
use super::claims::Claims;
use super::dead_letters::{self, StoredDeadLetter};
use super::runner;
use super::session::SessionPorts;
use super::status::{HistoryEntry, SourceState, SourceSummary, StatusCell, StatusPorts, TableStatus};
use super::topics::{Route, dead_letter_topic};
use crate::error::IngestError;
use crate::source::{Connector, ConnectorContext, Push, PushReceipt, SourceSpec};

/// How long a replaced task may take to end before it is dropped.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A source as its resource says.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInstance {
    /// The resource's name.
    pub name: ResourceName,
    /// Its type, such as `postgres_cdc`.
    pub source_type: String,
    /// The type's configuration with secrets resolved, without `type`, `into` and `paused`.
    pub config: Value,
    /// Namespace of its tables in the lakehouse; the source's name if `None`.
    pub into: Option<String>,
    /// Whether it stands still.
    pub paused: bool,
    /// Revision of the resource; a new one restarts the source only if something else changed.
    pub revision: u64,
}

/// What the service works with.
#[derive(Clone)]
pub struct IngestPorts {
    /// Where rows go.
    pub log: Arc<dyn EventLog>,
    /// Time, randomness, tasks.
    pub env: Env,
    /// Where rows are counted.
    pub metrics: Arc<Metrics>,
    /// Where faults of sources are shown.
    pub faults: Arc<FaultBoard>,
    /// The project folder, against which relative paths of configurations are resolved.
    pub project: PathBuf,
    /// The source types; [`crate::SOURCES`] but for tests.
    pub types: &'static [&'static SourceSpec],
}

struct Task {
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

struct Entry {
    instance: SourceInstance,
    /// `None` if its configuration cannot be used.
    connector: Option<Arc<dyn Connector>>,
    status: Arc<StatusCell>,
    task: Option<Task>,
}

type Key = (TenantId, ResourceName);

#[derive(Default)]
struct Registry {
    entries: BTreeMap<Key, Entry>,
    /// Names whose removal is under way.
    leaving: HashSet<Key>,
    stopped: bool,
}

/// Runs sources. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    pub(super) ports: Arc<IngestPorts>,
    claims: Arc<Claims>,
    changed: Arc<watch::Sender<u64>>,
    registry: Arc<Mutex<Registry>>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ingest({} sources)", self.registry.lock().entries.len())
    }
}

impl Ingest {
    /// Without sources.
    pub fn new(ports: IngestPorts) -> Self {
        let changed = Arc::new(watch::channel(0).0);
        let (claims, registry) = (Arc::default(), Arc::default());
        Self { ports: Arc::new(ports), claims, changed, registry }
    }

    /// A number that grows with each change of a source's state, tables or existence.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The source type of a name. Errors: `TypeNotFound` with the nearest.
    pub fn source_type(&self, name: &str) -> Result<&'static SourceSpec, IngestError> {
        let found = self.ports.types.iter().copied().find(|spec| spec.component.name == name);
        found.ok_or_else(|| IngestError::TypeNotFound {
            name: name.to_string(),
            similar: nearest(name, self.ports.types.iter().map(|spec| spec.component.name))
                .map(str::to_string),
        })
    }

    pub(super) fn build(
        &self,
        name: &ResourceName,
        source_type: &str,
        config: Value,
    ) -> Result<Arc<dyn Connector>, IngestError> {
        let spec = self.source_type(source_type)?;
        let context = ConnectorContext {
            name: name.clone(),
            env: self.ports.env.clone(),
            project: self.ports.project.clone(),
        };
        (spec.build)(context, config)
    }

    /// Whether a configuration can be used, without connecting. Errors: `TypeNotFound`, `InvalidConfig`.
    pub fn validate(&self, name: &ResourceName, source_type: &str, config: Value) -> Result<(), IngestError> {
        self.build(name, source_type, config).map(|_| ())
    }

    /// Makes a source run as its resource says; an unchanged one goes on undisturbed. A configuration that cannot be
    /// used makes it `failed`, so that it is seen. Errors: `WrongState` while it is being removed, `Stopping`.
    pub fn apply(&self, ctx: &RequestContext, instance: SourceInstance) -> Result<(), IngestError> {
        let key = (ctx.tenant.clone(), instance.name.clone());
        let built = self.build(&instance.name, &instance.source_type, instance.config.clone());
        let mut registry = self.registry.lock();
        self.check_open(&registry, &key)?;
        if let Some(entry) = registry.entries.get_mut(&key) {
            let same = SourceInstance { revision: instance.revision, ..entry.instance.clone() } == instance;
            if same && entry.connector.is_some() {
                entry.instance.revision = instance.revision;
                entry.status.set_running_revision(instance.revision);
                return Ok(());
            }
        }
        let previous = registry.entries.remove(&key);
        let real_time = built.as_ref().map_or(true, |connector| connector.is_in_real_time());
        let status = match &previous {
            Some(entry) if entry.instance.source_type == instance.source_type => Arc::clone(&entry.status),
            _ => Arc::new(StatusCell::new(instance.name.clone(), real_time, self.status_ports(&ctx.tenant))),
        };
        let old_task = previous.and_then(|entry| entry.task);
        if instance.into.is_some() {
            self.claims.release(&ctx.tenant, &instance.name);
        }
        let mut entry = Entry { instance, connector: None, status, task: None };
        match built {
            Ok(connector) => {
                entry.connector = Some(connector);
                entry.status.set_running_revision(entry.instance.revision);
                self.launch(ctx, &mut entry, old_task);
            }
            Err(error) => {
                stop_task(old_task);
                entry.status.fail(SourceState::Failed, &error);
            }
        }
        registry.entries.insert(key, entry);
        drop(registry);
        self.announce();
        Ok(())
    }

    fn status_ports(&self, tenant: &TenantId) -> StatusPorts {
        StatusPorts {
            clock: Arc::clone(&self.ports.env.clock),
            tenant: tenant.clone(),
            metrics: self.ports.metrics.of(tenant),
            faults: Arc::clone(&self.ports.faults),
            changed: Arc::clone(&self.changed),
        }
    }

    fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn check_open(&self, registry: &Registry, key: &Key) -> Result<(), IngestError> {
        if registry.stopped {
            return Err(IngestError::Stopping);
        }
        if registry.leaving.contains(key) {
            return Err(IngestError::WrongState {
                name: key.1.to_string(),
                what: "is being removed".to_string(),
                advice: "try again in a few seconds".to_string(),
            });
        }
        Ok(())
    }

    /// Starts the task of an entry, after the old one ended.
    fn launch(&self, ctx: &RequestContext, entry: &mut Entry, old_task: Option<Task>) {
        let Some(connector) = &entry.connector else { return stop_task(old_task) };
        if entry.instance.paused {
            stop_task(old_task);
            return entry.status.enter(SourceState::Paused);
        }
        let (env, stop) = (self.ports.env.clone(), self.ports.env.spawner.stopping().child_token());
        let trace = TraceId((u128::from(env.entropy.next_u64()) << 64) | u128::from(env.entropy.next_u64()));
        let append = AppendPorts {
            ctx: RequestContext::system(ctx.tenant.clone(), trace),
            log: Arc::clone(&self.ports.log),
            env: env.clone(),
            source: entry.instance.name.clone(),
            status: Arc::clone(&entry.status),
            stop: stop.clone(),
            sender_waits: connector.intake().is_some(),
        };
        let ports = SessionPorts {
            append,
            connector: Arc::clone(connector),
            source_type: entry.instance.source_type.clone(),
            into: entry.instance.into.clone().unwrap_or_else(|| entry.instance.name.to_string()),
            claims: Arc::clone(&self.claims),
        };
        entry.status.enter(SourceState::Starting);
        let handle = env.spawner.spawn({
            let env = env.clone();
            async move {
                if let Some(task) = old_task {
                    end_task(&env, task).await;
                }
                runner::run(ports).await;
            }
        });
        entry.task = Some(Task { stop, handle });
    }

    /// Changes an entry and starts it anew.
    fn relaunch(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), IngestError> {
        let key = (ctx.tenant.clone(), name.clone());
        let mut registry = self.registry.lock();
        self.check_open(&registry, &key)?;
        let Some(entry) = registry.entries.get_mut(&key) else { return Err(self.not_found(&registry, &key)) };
        change(entry);
        if entry.connector.is_none() {
            let instance = &entry.instance;
            match self.build(name, &instance.source_type, instance.config.clone()) {
                Ok(connector) => entry.connector = Some(connector),
                Err(error) => {
                    entry.status.fail(SourceState::Failed, &error);
                    return Err(error);
                }
            }
        }
        let old_task = entry.task.take();
        self.launch(ctx, entry, old_task);
        drop(registry);
        self.announce();
        Ok(())
    }

    fn not_found(&self, registry: &Registry, (tenant, name): &Key) -> IngestError {
        let names = registry.entries.keys().filter(|(of, _)| of == tenant).map(|(_, name)| name.as_str());
        let similar = nearest(name.as_str(), names).map(str::to_string);
        IngestError::SourceNotFound { name: name.to_string(), similar }
    }

    /// Starts a source anew, also a failed or drained one. Errors: `SourceNotFound`, `InvalidConfig`.
    pub fn restart(&self, ctx: &RequestContext, name: &ResourceName) -> Result<(), IngestError> {
        self.relaunch(ctx, name, |_| {})
    }

    /// Stops a source until it is resumed; what it read is made durable first. Errors: `SourceNotFound`.
    pub fn pause(&self, ctx: &RequestContext, name: &ResourceName) -> Result<(), IngestError> {
        self.relaunch(ctx, name, |entry| entry.instance.paused = true)
    }

    /// Lets a paused source go on where it stopped. Errors: `SourceNotFound`.
    pub fn resume(&self, ctx: &RequestContext, name: &ResourceName) -> Result<(), IngestError> {
        self.relaunch(ctx, name, |entry| entry.instance.paused = false)
    }

    /// Stops a source, removes what it left in its system, and with `drop_topics` its topics too. Without that, a new
    /// source of the same name goes on where this one stopped. The source is gone also when this fails.
    /// Errors: `SourceNotFound`; those of the other system and of the log say what was left behind.
    pub async fn remove(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
        drop_topics: bool,
    ) -> Result<(), IngestError> {
        let key = (ctx.tenant.clone(), name.clone());
        let entry = {
            let mut registry = self.registry.lock();
            self.check_open(&registry, &key)?;
            let Some(entry) = registry.entries.remove(&key) else {
                return Err(self.not_found(&registry, &key));
            };
            registry.leaving.insert(key.clone());
            entry
        };
        self.announce();
        let result = self.clean_up(ctx, entry, drop_topics).await;
        self.claims.release(&ctx.tenant, name);
        self.ports.faults.clear_subject(&ctx.tenant, SubjectKind::Source, name.as_str());
        self.ports.metrics.of(&ctx.tenant).remove(Label::Source, name.as_str());
        self.registry.lock().leaving.remove(&key);
        result
    }

    async fn clean_up(
        &self,
        ctx: &RequestContext,
        entry: Entry,
        drop_topics: bool,
    ) -> Result<(), IngestError> {
        if let Some(task) = entry.task {
            end_task(&self.ports.env, task).await;
        }
        let removed = match &entry.connector {
            Some(connector) => connector.remove(ctx).await,
            None => Ok(()),
        };
        if drop_topics {
            let prefix = format!("{}.", entry.instance.name);
            for info in self.ports.log.topics(ctx).await? {
                if info.spec.name.as_str().starts_with(&prefix) {
                    match self.ports.log.drop_topic(ctx, &info.spec.name).await {
                        Ok(()) | Err(EventLogError::TopicNotFound { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        removed
    }

    fn with_entry<T>(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
        read: impl FnOnce(&Entry) -> T,
    ) -> Result<T, IngestError> {
        let key = (ctx.tenant.clone(), name.clone());
        let registry = self.registry.lock();
        registry.entries.get(&key).map(read).ok_or_else(|| self.not_found(&registry, &key))
    }

    fn summary_of(&self, entry: &Entry) -> SourceSummary {
        let instance = &entry.instance;
        let title = self.source_type(&instance.source_type).map_or("", |spec| spec.component.title);
        entry.status.summary(&instance.source_type, title, instance.revision)
    }

    /// A source as it stands. Errors: `SourceNotFound`.
    pub fn status(&self, ctx: &RequestContext, name: &ResourceName) -> Result<SourceSummary, IngestError> {
        self.with_entry(ctx, name, |entry| self.summary_of(entry))
    }

    /// All sources of the tenant, by name.
    pub fn statuses(&self, ctx: &RequestContext) -> Vec<SourceSummary> {
        let registry = self.registry.lock();
        let own = registry.entries.iter().filter(|((tenant, _), _)| *tenant == ctx.tenant);
        own.map(|(_, entry)| self.summary_of(entry)).collect()
    }

    /// The tables of a source. Errors: `SourceNotFound`.
    pub fn tables(&self, ctx: &RequestContext, name: &ResourceName) -> Result<Vec<TableStatus>, IngestError> {
        self.with_entry(ctx, name, |entry| entry.status.tables())
    }

    /// Changes of state, newest first. Errors: `SourceNotFound`.
    pub fn history(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
    ) -> Result<Vec<HistoryEntry>, IngestError> {
        self.with_entry(ctx, name, |entry| entry.status.history())
    }

    /// Where the rows of all sources of the tenant go.
    pub fn routes(&self, ctx: &RequestContext) -> Vec<Route> {
        let registry = self.registry.lock();
        let own = registry.entries.iter().filter(|((tenant, _), _)| *tenant == ctx.tenant);
        own.flat_map(|(_, entry)| entry.status.routes()).collect()
    }

    /// The newest records that a source could not use, newest first. Errors: `SourceNotFound`; those of the log.
    pub async fn dead_letters(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, IngestError> {
        self.with_entry(ctx, name, |_| ())?;
        dead_letters::newest(self.ports.log.as_ref(), ctx, &dead_letter_topic(name), limit).await
    }

    /// Hands records to a source that takes pushes; returns once they are durable. Errors: `SourceNotFound`,
    /// `WrongState` for a paused or failed source or one that reads by itself, `InvalidPush`, `TooLarge`.
    pub async fn push(
        &self,
        ctx: &RequestContext,
        name: &ResourceName,
        push: Push,
    ) -> Result<PushReceipt, IngestError> {
        let wrong = |what: String, advice: &str| IngestError::WrongState {
            name: name.to_string(),
            what,
            advice: advice.to_string(),
        };
        let (intake, source_type, status) = self.with_entry(ctx, name, |entry| {
            let intake = entry.connector.as_ref().and_then(|connector| connector.intake());
            (intake, entry.instance.source_type.clone(), Arc::clone(&entry.status))
        })?;
        let state = status.state();
        let no_room = || {
            let report = status.fault().filter(|report| report.kind == FaultKind::Exhausted)?;
            Some(IngestError::NotTaken { name: name.to_string(), report })
        };
        match state {
            SourceState::Paused => return Err(wrong("is paused".to_string(), "resume it, then push again")),
            SourceState::Failed => {
                return Err(wrong("has failed".to_string(), "see its message, then restart it"));
            }
            SourceState::Starting
            | SourceState::Snapshot
            | SourceState::Streaming
            | SourceState::Idle
            | SourceState::BackingOff
            | SourceState::Done => {}
        }
        let intake = intake.ok_or_else(|| {
            let what = format!("has type `{source_type}`, which reads by itself");
            wrong(what, "push to a source of type `http_push`")
        })?;
        if let Some(error) = no_room() {
            return Err(error);
        }
        match intake.push(ctx, push).await {
            // The source was started anew, or the rows wait for room.
            Err(error @ IngestError::Unreachable { .. }) => Err(no_room().unwrap_or(error)),
            told => told,
        }
    }

    /// Stops all sources and waits for their tasks, at most about five seconds. What was read is durable then, or is
    /// read again at the next start.
    pub async fn shutdown(&self) {
        let tasks: Vec<Task> = {
            let mut registry = self.registry.lock();
            registry.stopped = true;
            registry.entries.values_mut().filter_map(|entry| entry.task.take()).collect()
        };
        tasks.iter().for_each(|task| task.stop.cancel());
        let ends = tasks.into_iter().map(|task| end_task(&self.ports.env, task));
        futures::future::join_all(ends).await;
    }
}

fn stop_task(task: Option<Task>) {
    if let Some(task) = task {
        task.stop.cancel();
    }
}

/// Tells a task to stop and waits for it; one that does not is dropped.
async fn end_task(env: &Env, task: Task) {
    task.stop.cancel();
    let mut handle = task.handle;
    tokio::select! {
        _ = &mut handle => {}
        () = env.clock.sleep(STOP_LIMIT) => {
            tracing::warn!("a source did not stop in time and was dropped");
            handle.abort();
        }
    }
}
