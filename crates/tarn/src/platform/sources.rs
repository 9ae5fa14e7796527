//! Sources run as their resources say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tarn_core::{Env, FaultReport, RequestContext, ResourceName, TopicName};
use tarn_eventlog::TopicSpec;
use tarn_ingest::SourceInstance;
use tarn_meta::{
    Expected, MetaStore, ParsedDocuments, PlanOptions, ResourceState, Resources, StatusReport, StoredResource,
};
use tarn_server::ServerState;

use super::kinds::{SOURCE_KEYS, SourceResource, TopicResource};
use crate::cli::Failure;

/// A changed secret reaches its source after this time.
const RECHECK: Duration = Duration::from_secs(3);
/// Where the specs are kept that project files had when they were applied last.
const SPACE: &str = "project";

/// Applies the documents of a project's files that differ from what these files said at their last apply.
pub async fn apply_project(
    resources: &Resources,
    meta: &dyn MetaStore,
    ctx: &RequestContext,
    project: &Path,
) -> Result<(), Failure> {
    let parsed = resources.load(project).await?;
    let all = parsed.into_documents()?;
    let known = meta.document(ctx, SPACE, "applied").await?.map(|document| document.value);
    let key = |kind: &str, name: &str| format!("{kind}/{name}");
    let specs: BTreeMap<String, Value> =
        all.iter().map(|document| (key(&document.kind, &document.name), document.spec.clone())).collect();
    let changed = all.into_iter().filter(|document| {
        let before = known.as_ref().and_then(|known| known.get(key(&document.kind, &document.name)));
        before != Some(&document.spec)
    });
    let changed = ParsedDocuments::of(changed.collect());
    // `tarn access secret set` needs a running server; a source that lacks its secret says so until it is set.
    let options = PlanOptions { secrets_may_follow: true, ..PlanOptions::default() };
    resources.apply(ctx, &changed, &options, None, "project files at start").await?;
    meta.put_document(ctx, SPACE, "applied", &json!(specs), Expected::Any).await?;
    Ok(())
}

/// Starts a task that makes sources and topics follow the newest revision.
pub fn follow(state: &ServerState, env: &Env, ctx: &RequestContext) {
    let follower = Follower { state: state.clone(), ctx: ctx.clone(), settled: BTreeMap::new() };
    let (stop, clock) = (env.spawner.stopping(), env.clock.clone());
    drop(env.spawner.spawn(async move {
        let mut follower = follower;
        let mut news = loop {
            match follower.state.resources.watch(&follower.ctx).await {
                Ok(news) => break news,
                Err(error) => {
                    tracing::warn!(error = tarn_core::chain_text(&error), "resources cannot be read")
                }
            }
            tokio::select! {
                () = clock.sleep(RECHECK) => {}
                () = stop.cancelled() => return,
            }
        };
        loop {
            if let Err(error) = follower.settle().await {
                tracing::warn!(error = error.message(), "resources cannot be followed now");
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = clock.sleep(RECHECK) => {}
                () = stop.cancelled() => return,
            }
        }
    }));
}

struct Follower {
    state: ServerState,
    ctx: RequestContext,
    /// What was reported of each resource, so that an unchanged state is not written again.
    settled: BTreeMap<(String, String), (u64, Option<String>)>,
}

impl Follower {
    async fn settle(&mut self) -> Result<(), Failure> {
        let (_, all) = self.state.resources.current(&self.ctx).await?;
        self.remove_gone(&all).await;
        for resource in &all {
            let outcome = match resource.kind.as_str() {
                "source" => self.source(resource).await,
                "topic" => self.topic(resource).await,
                // Tables read their settings when they are attached.
                _ => Ok(()),
            };
            self.report(
                resource,
                outcome.err().map(|error| FaultReport {
                    kind: error.kind(),
                    message: error.message().to_string(),
                    hint: error.hint().map(str::to_string),
                }),
            )
            .await?;
        }
        Ok(())
    }

    async fn remove_gone(&mut self, all: &[StoredResource]) {
        let declared = |name: &str| all.iter().any(|r| r.kind == "source" && r.name == name);
        for running in self.state.ingest.statuses(&self.ctx) {
            let Ok(name) = ResourceName::parse(&running.name) else { continue };
            if declared(name.as_str()) {
                continue;
            }
            // Its topics and tables stay: only what the source left in its own system goes.
            if let Err(error) = self.state.ingest.remove(&self.ctx, &name, false).await {
                tracing::warn!(source = %name, error = tarn_core::chain_text(&error), "the source left something behind");
            }
            self.settled.remove(&("source".to_string(), name.to_string()));
        }
    }

    async fn source(&self, resource: &StoredResource) -> Result<(), Failure> {
        let wanted = self.instance(resource, &resource.spec).await;
        let checked = wanted.and_then(|instance| {
            let config = instance.config.clone();
            self.state.ingest.validate(&instance.name, &instance.source_type, config)?;
            Ok(instance)
        });
        match checked {
            Ok(instance) => Ok(self.state.ingest.apply(&self.ctx, instance)?),
            Err(error) => {
                self.keep_last_good(resource).await;
                Err(error)
            }
        }
    }

    /// A resource that cannot be used stays on its last good revision; after a restart that one is started.
    async fn keep_last_good(&self, resource: &StoredResource) {
        let Ok(name) = ResourceName::parse(&resource.name) else { return };
        if self.state.ingest.status(&self.ctx, &name).is_ok() {
            return;
        }
        let Ok(statuses) = self.state.resources.statuses(&self.ctx).await else { return };
        let status = statuses.into_iter().find(|s| s.kind == resource.kind && s.name == resource.name);
        let Some(good) = status.and_then(|status| status.good_spec) else { return };
        match self.instance(resource, &good).await {
            Ok(instance) => {
                if let Err(error) = self.state.ingest.apply(&self.ctx, instance) {
                    tracing::warn!(source = %name, error = tarn_core::chain_text(&error), "the last good revision does not start");
                }
            }
            Err(error) => {
                tracing::warn!(source = %name, error = error.message(), "the last good revision cannot be used")
            }
        }
    }

    async fn instance(&self, resource: &StoredResource, spec: &Value) -> Result<SourceInstance, Failure> {
        let mut own = serde_json::Map::new();
        let mut config = serde_json::Map::new();
        for (key, value) in spec.as_object().into_iter().flatten() {
            let part = if SOURCE_KEYS.contains(&key.as_str()) { &mut own } else { &mut config };
            part.insert(key.clone(), value.clone());
        }
        let own: SourceResource = serde_json::from_value(Value::Object(own)).map_err(|error| {
            Failure::invalid(format!("source `{}`: {error}", resource.name), "mend the resource and apply it")
        })?;
        let resolved = self.state.secrets.resolve(&self.ctx, &Value::Object(config)).await?;
        Ok(SourceInstance {
            name: ResourceName::parse(&resource.name)?,
            source_type: own.source_type,
            config: resolved.expose().clone(),
            into: own.into,
            paused: own.paused,
            revision: resource.revision,
        })
    }

    async fn topic(&self, resource: &StoredResource) -> Result<(), Failure> {
        let wanted: TopicResource = serde_json::from_value(resource.spec.clone()).map_err(|error| {
            Failure::invalid(format!("topic `{}`: {error}", resource.name), "mend the resource and apply it")
        })?;
        let name = TopicName::parse(&resource.name)?;
        // A topic that its source has not made yet gets its settings once it is there.
        let Ok(info) = self.state.eventlog.topic(&self.ctx, &name).await else { return Ok(()) };
        if info.spec.retention != wanted.retention {
            let spec = TopicSpec { retention: wanted.retention, ..info.spec };
            self.state.eventlog.create_topic(&self.ctx, spec).await?;
        }
        Ok(())
    }

    async fn report(&mut self, resource: &StoredResource, fault: Option<FaultReport>) -> Result<(), Failure> {
        let message = fault.map(|fault| match fault.hint {
            Some(hint) => format!("{} ({hint})", fault.message),
            None => fault.message,
        });
        let key = (resource.kind.clone(), resource.name.clone());
        let now = (resource.revision, message.clone());
        if self.settled.get(&key) == Some(&now) {
            return Ok(());
        }
        let report = StatusReport {
            kind: resource.kind.clone(),
            name: resource.name.clone(),
            revision: resource.revision,
            state: if message.is_none() { ResourceState::Active } else { ResourceState::Failed },
            message,
        };
        self.state.resources.set_status(&self.ctx, &report).await?;
        self.settled.insert(key, now);
        Ok(())
    }
}
