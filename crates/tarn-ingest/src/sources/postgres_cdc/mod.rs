//! `postgres_cdc`: the rows of PostgreSQL tables and every change to them, exactly once and in commit order.
//!
//! A replication slot keeps the server's log until it is durable here. Existing rows are read in parallel from the
//! snapshot that a slot exports, so snapshot and stream meet without gap or overlap (see `snapshot`). Positions are
//! (commit position, number in the transaction), so a restart skips what a table has and nothing else.

mod binary;
mod catalog;
mod check;
mod config;
mod copy;
mod fault;
mod layout;
mod pgoutput;
mod progress;
mod reader;
mod rows;
mod slots;
mod snapshot;
mod spec;
mod stream;
mod tables;
mod text;
mod types;
mod values;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use tarn_core::{Env, Position, RequestContext};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use config::{OnSlotLost, PostgresCdcConfig, SnapshotMode, TlsMode};
pub use spec::SPEC;

use crate::error::IngestError;
use crate::source::{CheckReport, Connector, ConnectorContext, Resume, Source, SourceEvent, SourceTable};
use config::Settings;
use fault::explain;
use reader::Reader;
use slots::remove_all;
use stream::Shared;
use wire::connect_normal;

/// Events that wait to be taken.
const EVENTS_MAX: usize = 4;
/// How long [`Source::next`] waits before it says that there is nothing.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Builds the connector. Errors: `InvalidConfig` with the field.
pub fn build(
    context: ConnectorContext,
    config: serde_json::Value,
) -> Result<Arc<dyn Connector>, IngestError> {
    let config: PostgresCdcConfig = tarn_component::parse(config)?;
    let settings = Settings::new(context.name, &context.project, config)?;
    Ok(Arc::new(PostgresCdc { settings: Arc::new(settings), env: context.env }))
}

/// A database to read.
#[derive(Debug)]
struct PostgresCdc {
    settings: Arc<Settings>,
    env: Env,
}

#[async_trait]
impl Connector for PostgresCdc {
    async fn check(&self, _ctx: &RequestContext) -> CheckReport {
        check::check(&self.settings).await
    }

    async fn open(&self, _ctx: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError> {
        // The task reports further failures; an address or password that is wrong is told at once.
        let probe = connect_normal(&self.settings.server).await;
        probe.map_err(|error| explain(&self.settings.server, error))?.close().await;
        let (out, events) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared::default());
        let reader = Reader::new(self.settings.clone(), self.env.clone(), &resume, out, shared.clone())?;
        let stopping = self.env.spawner.stopping();
        let task = self.env.spawner.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = reader.run() => {}
            }
        });
        Ok(Box::new(PostgresSource { events, shared, task }))
    }

    async fn remove(&self, _ctx: &RequestContext) -> Result<(), IngestError> {
        let connection = connect_normal(&self.settings.server).await;
        let mut connection = connection.map_err(|error| explain(&self.settings.server, error))?;
        remove_all(&mut connection, &self.settings).await?;
        connection.close().await;
        Ok(())
    }
}

/// A running reader: its task ends with it.
#[derive(Debug)]
struct PostgresSource {
    events: mpsc::Receiver<Result<SourceEvent, IngestError>>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for PostgresSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Source for PostgresSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError> {
        match tokio::time::timeout(IDLE_AFTER, self.events.recv()).await {
            Ok(Some(event)) => event.map(Some),
            Ok(None) => Err(IngestError::Broken {
                source_type: "postgres_cdc".to_string(),
                what: "the reading task ended".to_string(),
            }),
            Err(_) => {
                let lag = self.shared.lag_bytes.load(Ordering::Relaxed);
                Ok(Some(SourceEvent::Idle { lag_bytes: Some(lag) }))
            }
        }
    }

    async fn acknowledge(
        &mut self,
        table: &SourceTable,
        part: &str,
        position: Position,
    ) -> Result<(), IngestError> {
        if part.is_empty() {
            self.shared.progress.lock().durable(table, position);
            self.shared.acknowledged.notify_one();
        }
        Ok(())
    }
}
