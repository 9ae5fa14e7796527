//! Every topic of a source becomes a table, and what is wrong with it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use tarn_core::{Env, RequestContext, TableName, TopicName};
use tarn_lakehouse::service::ServiceTotals;
use tarn_lakehouse::{SchemaRule, SinkConfig, SinkSpec, SinkStatus};
use tarn_observe::{FaultAction, FaultNote, Metric, Severity, SubjectKind};
use tarn_server::ServerState;

use super::kinds::{SOURCE_KEYS, SourceResource, TableResource};

/// How often states of tables are looked at.
const LOOK: Duration = Duration::from_secs(1);

struct Follower {
    state: ServerState,
    ctx: RequestContext,
    config: SinkConfig,
    seen: BTreeMap<TableName, SinkStatus>,
    totals: BTreeMap<String, ServiceTotals>,
}

/// Attaches the topics of known tables, then starts a task that attaches each topic of a source to its table.
pub async fn follow(state: &ServerState, env: &Env, ctx: &RequestContext, config: SinkConfig) {
    let follower = Follower {
        state: state.clone(),
        ctx: ctx.clone(),
        config,
        seen: BTreeMap::new(),
        totals: BTreeMap::new(),
    };
    let (stop, clock) = (env.spawner.stopping(), env.clock.clone());
    let mut changes = state.ingest.changes();
    // Tables whose source does not answer yet still get what their topic holds.
    follower.attach_known().await;
    let mut follower = follower;
    drop(env.spawner.spawn(async move {
        let mut news = None;
        while !stop.is_cancelled() {
            follower.attach_routes().await;
            match &mut news {
                None => news = follower.state.resources.watch(&follower.ctx).await.ok(),
                Some(news) if news.has_changed().unwrap_or(false) => {
                    news.mark_unchanged();
                    follower.reconfigure().await;
                }
                Some(_) => {}
            }
            follower.look();
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = clock.sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }));
}

impl Follower {
    async fn attach_known(&self) {
        let tables = match self.state.lakehouse.catalog().all_tables(&self.ctx).await {
            Ok(tables) => tables,
            Err(error) => {
                tracing::warn!(error = tarn_core::chain_text(&error), "tables cannot be listed");
                return;
            }
        };
        for (table, _) in tables {
            let Ok(loaded) = self.state.lakehouse.catalog().load_table(&self.ctx, &table).await else {
                continue;
            };
            let topic = loaded.metadata.properties().get("tarn.topic").and_then(|t| TopicName::parse(t).ok());
            let Some(topic) = topic else { continue };
            if self.state.eventlog.topic(&self.ctx, &topic).await.is_ok() {
                self.attach(topic, table).await;
            }
        }
    }

    async fn attach_routes(&self) {
        for route in self.state.ingest.routes(&self.ctx) {
            self.attach(route.topic, route.lakehouse_table).await;
        }
    }

    /// Gives running sinks the settings of the newest revision.
    async fn reconfigure(&self) {
        for (spec, _) in self.state.lakehouse.sinks(&self.ctx) {
            let config = self.config_of(&spec.topic, &spec.table).await;
            self.state.lakehouse.attach(&self.ctx, spec, config);
        }
    }

    async fn attach(&self, topic: TopicName, table: TableName) {
        if self.state.lakehouse.sink(&self.ctx, &table).is_some_and(|(known, _)| known == topic) {
            return;
        }
        let config = self.config_of(&topic, &table).await;
        self.state.lakehouse.attach(&self.ctx, SinkSpec { topic, table }, config);
    }

    async fn config_of(&self, topic: &TopicName, table: &TableName) -> SinkConfig {
        let mut config = self.config.clone();
        config.schema_rule = self.schema_rule_of(topic).await.unwrap_or_default();
        let id = tarn_meta::ResourceId::new("table", table.to_string());
        let Ok(resource) = self.state.resources.get(&self.ctx, &id).await else { return config };
        let own = match serde_json::from_value::<TableResource>(resource.spec) {
            Ok(own) => own,
            Err(error) => {
                tracing::warn!(%table, %error, "the settings of the table are not used");
                return config;
            }
        };
        config.freshness = own.freshness.unwrap_or(config.freshness);
        config.flush_rows = own.flush_rows.unwrap_or(config.flush_rows);
        config.flush_bytes = own.flush_bytes.unwrap_or(config.flush_bytes);
        config.partitioned_by = own.partitioned_by;
        config.without_key = own.without_key.unwrap_or_default();
        config
    }

    /// How the table of a topic follows its source, as the source's resource says.
    async fn schema_rule_of(&self, topic: &TopicName) -> Option<SchemaRule> {
        let (source, table) = topic.as_str().split_once('.')?;
        let id = tarn_meta::ResourceId::new("source", source.to_string());
        let resource = self.state.resources.get(&self.ctx, &id).await.ok()?;
        let own = resource.spec.as_object()?.iter().filter(|(key, _)| SOURCE_KEYS.contains(&key.as_str()));
        let own = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        let own: SourceResource = serde_json::from_value(serde_json::Value::Object(own)).ok()?;
        Some(own.schema_rule(table))
    }

    /// Shows faults of tables and counts what they did.
    fn look(&mut self) {
        let tenant = &self.ctx.tenant;
        for (spec, status) in self.state.lakehouse.sinks(&self.ctx) {
            let name = spec.table.to_string();
            match &status.fault {
                None => self.state.faults.clear(tenant, SubjectKind::Table, &name, "run"),
                Some(fault) => self.state.faults.set(
                    tenant,
                    SubjectKind::Table,
                    &name,
                    "run",
                    FaultNote {
                        severity: Severity::Error,
                        message: fault.message.clone(),
                        hint: fault.hint.clone(),
                        action: FaultAction::Open,
                    },
                ),
            }
            self.count(&name, self.seen.get(&spec.table), &status);
            self.seen.insert(spec.table, status);
        }
        self.count_services();
    }

    fn count_services(&mut self) {
        let metrics = self.state.metrics.of(&self.ctx.tenant);
        let state = self.state.lakehouse.service_state(&self.ctx);
        metrics.gauge(Metric::LakehouseServicesRunning, "").set(state.running.len() as f64);
        metrics.gauge(Metric::LakehouseServicesWaiting, "").set(state.waiting.len() as f64);
        for (table, now) in self.state.lakehouse.service_totals(&self.ctx) {
            let before = self.totals.insert(table.clone(), now).unwrap_or_default();
            let add = |metric, of: fn(&ServiceTotals) -> u64| {
                metrics.counter(metric, &table).add(of(&now).saturating_sub(of(&before)));
            };
            add(Metric::LakehouseServiceRuns, |t| t.runs);
            add(Metric::LakehouseServiceFaults, |t| t.failures);
            add(Metric::LakehouseServiceCpuMs, |t| t.cpu_ms);
            add(Metric::LakehouseServiceBytesRead, |t| t.bytes_read);
            add(Metric::LakehouseServiceBytesWritten, |t| t.bytes_written);
            add(Metric::LakehouseServiceBytesFreed, |t| t.bytes_freed);
        }
    }

    fn count(&self, name: &str, before: Option<&SinkStatus>, now: &SinkStatus) {
        let metrics = self.state.metrics.of(&self.ctx.tenant);
        let grown = |field: fn(&SinkStatus) -> u64| field(now).saturating_sub(before.map_or(0, field));
        metrics.counter(Metric::LakehouseRows, name).add(grown(|s| s.applied_offset));
        metrics.counter(Metric::LakehouseCompactions, name).add(grown(|s| s.compactions));
        metrics.counter(Metric::LakehouseCommits, name).add(grown(|s| s.commits));
        if let Some(freshness) = now.freshness_ms {
            metrics.gauge(Metric::LakehouseFreshnessMs, name).set(freshness as f64);
        }
    }
}
