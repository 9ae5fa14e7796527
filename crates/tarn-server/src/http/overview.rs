//! `/api/v1/overview` and `/api/v1/events`: the installation at a glance, once and as it changes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use serde::Serialize;
use tarn_core::{RequestContext, TenantId};
use tarn_ingest::{SourceState, SourceSummary};
use tarn_observe::{
    CurrentFault, FaultAction, Metric, RatePoint, Severity, SubjectKind, disk_space, folder_bytes,
    memory_bytes,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::envelope::new_trace;
use super::error::ApiError;
use super::identity::Viewer;
use super::lakehouse::{WithSource, summaries};
use super::time::iso;
use crate::api::{ErrorBody, FaultActionEntry, FaultEntry, Overview, SourceCounts};

const EVERY: Duration = Duration::from_secs(1);
/// The size of the data folder is found by walking it.
const DISK_EVERY: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(overview)).routes(routes!(events))
}

/// As [`Overview`] describes it.
#[derive(Debug, Serialize)]
struct Glance {
    started_at: String,
    uptime_ms: i64,
    sources: SourceCounts,
    rows_per_s: f64,
    rows_total: u64,
    bytes_per_s: f64,
    queries_per_s: f64,
    query_p50_ms: f64,
    query_p99_ms: f64,
    memory_bytes: u64,
    disk_bytes: u64,
    disk_free_bytes: u64,
    freshness_ms_max: Option<i64>,
    rates: Vec<RatePoint>,
    sources_list: Vec<SourceSummary>,
    tables_list: Vec<WithSource<tarn_lakehouse::TableSummary>>,
    faults: Vec<FaultEntry>,
}

async fn glance(app: &App, ctx: &RequestContext) -> Result<Glance, ApiError> {
    let state = &app.state;
    let sources_list = state.ingest.statuses(ctx);
    let tables_list = summaries(app, ctx).await?;
    let latency = state.engine.latency(ctx);
    let metrics = state.metrics.of(&ctx.tenant);
    let disk = app.hub.disk(app).await;
    Ok(Glance {
        started_at: iso(app.installation.started_ms),
        uptime_ms: app.env.clock.now_ms() - app.installation.started_ms,
        sources: counts(&sources_list),
        rows_per_s: metrics.per_second(Metric::IngestRows),
        rows_total: metrics.total(Metric::IngestRows),
        bytes_per_s: metrics.per_second(Metric::IngestBytes),
        queries_per_s: metrics.per_second(Metric::Queries),
        query_p50_ms: latency.p50_ms,
        query_p99_ms: latency.p99_ms,
        memory_bytes: memory_bytes().unwrap_or(0),
        disk_bytes: disk.used_bytes,
        disk_free_bytes: disk.free_bytes,
        freshness_ms_max: tables_list.iter().filter_map(|one| one.table.freshness_ms).max(),
        rates: state.rates.points(&ctx.tenant),
        sources_list,
        tables_list,
        faults: state.faults.list(&ctx.tenant).iter().map(fault).collect(),
    })
}

fn counts(sources: &[SourceSummary]) -> SourceCounts {
    let mut counts = SourceCounts::default();
    for source in sources {
        match source.state {
            SourceState::Snapshot | SourceState::Streaming | SourceState::Idle | SourceState::Done => {
                counts.running += 1;
            }
            SourceState::Paused => counts.paused += 1,
            SourceState::Failed | SourceState::BackingOff => counts.failed += 1,
            SourceState::Starting => counts.starting += 1,
        }
    }
    counts
}

fn fault(fault: &CurrentFault) -> FaultEntry {
    let (kind, page) = match fault.subject_kind {
        SubjectKind::Source => ("source", format!("/sources/{}", fault.subject)),
        SubjectKind::Table => ("table", format!("/tables/{}", fault.subject.replacen('.', "/", 1))),
        SubjectKind::Resource => ("resource", "/resources".to_string()),
        SubjectKind::Topic => ("topic", format!("/topics/{}", fault.subject)),
    };
    let action = match fault.note.action {
        FaultAction::Restart => "restart",
        FaultAction::Open => "open",
        FaultAction::Retry => "retry",
    };
    FaultEntry {
        at: iso(fault.since_ms),
        severity: match fault.note.severity {
            Severity::Error => "error".to_string(),
            Severity::Warning => "warning".to_string(),
        },
        subject_kind: kind.to_string(),
        subject: fault.subject.clone(),
        message: fault.note.message.clone(),
        hint: fault.note.hint.clone(),
        action: FaultActionEntry { label_key: action.to_string(), href: page },
    }
}

/// Shows the installation at a glance.
#[utoipa::path(get, path = "/overview", tag = "overview",
    responses((status = 200, body = Overview), (status = "default", body = ErrorBody)))]
async fn overview(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<serde_json::Value>, ApiError> {
    let glance = glance(&app, &ctx).await?;
    serde_json::to_value(glance).map(Json).map_err(|error| ApiError::internal(error.to_string()))
}

/// Streams server-sent events: `overview` each second, `changed` when a list of sources, resources or tables changed.
#[utoipa::path(get, path = "/events", tag = "overview",
    responses((status = 200, body = Overview, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
async fn events(
    State(app): State<App>,
    Viewer(ctx): Viewer,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let seat = Arc::clone(&app.hub.seats).try_acquire_owned().map_err(|_| {
        ApiError::exhausted("too many consoles are open")
            .hint("close some, or raise `server.http.event_streams_max` in the configuration")
    })?;
    let watcher = Watcher {
        glances: app.hub.subscribe(&app, &ctx),
        lists: vec![
            ("source", app.state.ingest.changes()),
            ("table", app.catalog().changes()),
            ("resource", app.state.resources.watch(&ctx).await?),
        ],
        app: app.clone(),
        _seat: seat,
    };
    let pages = stream::unfold(watcher, |mut watcher| async move {
        let events = watcher.next().await?;
        Some((events, watcher))
    });
    Ok(Sse::new(pages.flat_map(|events| stream::iter(events.into_iter().map(Ok))))
        .keep_alive(KeepAlive::default()))
}

struct Watcher {
    glances: watch::Receiver<Arc<str>>,
    lists: Vec<(&'static str, watch::Receiver<u64>)>,
    app: App,
    _seat: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next overview, and the lists that changed since the last one; `None` at shutdown.
    async fn next(&mut self) -> Option<Vec<Event>> {
        tokio::select! {
            changed = self.glances.changed() => changed.ok()?,
            () = self.app.stop.cancelled() => return None,
        }
        let text = Arc::clone(&self.glances.borrow_and_update());
        let mut events = vec![Event::default().event("overview").data(&*text)];
        for (kind, versions) in &mut self.lists {
            if versions.has_changed().unwrap_or(false) {
                versions.mark_unchanged();
                events.push(
                    Event::default().event("changed").data(format!(r#"{{"kind":"{kind}","name":""}}"#)),
                );
            }
        }
        Some(events)
    }
}

/// Figures of the disk as they were last found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disk {
    pub used_bytes: u64,
    pub free_bytes: u64,
}

/// Makes overviews once per second and tenant, however many consoles look at them, and none while nobody does.
#[derive(Debug)]
pub(crate) struct EventHub {
    channels: Mutex<HashMap<TenantId, watch::Sender<Arc<str>>>>,
    seats: Arc<Semaphore>,
    disk: tokio::sync::Mutex<Option<(std::time::Instant, Disk)>>,
}

impl EventHub {
    pub(crate) fn new(seats: u32) -> Self {
        Self {
            channels: Mutex::default(),
            seats: Arc::new(Semaphore::new(seats as usize)),
            disk: tokio::sync::Mutex::default(),
        }
    }

    fn subscribe(&self, app: &App, ctx: &RequestContext) -> watch::Receiver<Arc<str>> {
        let mut channels = self.channels.lock();
        if let Some(sender) = channels.get(&ctx.tenant) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::from("{}"));
        channels.insert(ctx.tenant.clone(), sender);
        let system = RequestContext::system(ctx.tenant.clone(), new_trace(app));
        app.env.spawner.spawn(run(app.clone(), system));
        receiver
    }

    /// Figures of the disk, at most [`DISK_EVERY`] old.
    pub(super) async fn disk(&self, app: &App) -> Disk {
        let mut known = self.disk.lock().await;
        let now = app.env.clock.instant();
        if let Some((at, disk)) = *known
            && now.saturating_duration_since(at) < DISK_EVERY
        {
            return disk;
        }
        let folder = app.state.data.clone();
        let found = app.env.spawner.spawn_blocking(move || Disk {
            used_bytes: folder_bytes(&folder),
            free_bytes: disk_space(&folder).map_or(0, |space| space.free_bytes),
        });
        let disk = found.await.unwrap_or_default();
        *known = Some((now, disk));
        disk
    }
}

/// Sends overviews until nobody listens or the server stops.
async fn run(app: App, ctx: RequestContext) {
    loop {
        let text = match glance(&app, &ctx).await {
            Ok(glance) => serde_json::to_string(&glance).ok(),
            Err(error) => {
                tracing::warn!(message = error.detail.message, "no overview could be made");
                None
            }
        };
        {
            let mut channels = app.hub.channels.lock();
            match channels.get(&ctx.tenant) {
                Some(sender) if sender.receiver_count() > 0 => {
                    if let Some(text) = text {
                        sender.send_replace(text.into());
                    }
                }
                _ => {
                    channels.remove(&ctx.tenant);
                    return;
                }
            }
        }
        tokio::select! {
            () = app.env.clock.sleep(EVERY) => {}
            () = app.stop.cancelled() => return,
        }
    }
}
