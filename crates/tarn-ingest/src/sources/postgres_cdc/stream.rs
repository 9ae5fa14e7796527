//! Follows the server's log: messages become batches per table, and feedback lets the server forget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tarn_core::Env;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};

use super::catalog::{find_selected, load_tables_by_oid, load_types};
use super::config::Settings;
use super::fault::explain;
use super::layout::Layout;
use super::pgoutput::Relation;
use super::progress::Progress;
use super::snapshot::{Outbox, Signal};
use super::tables::{Handled, Tables, Transaction};
use super::types::ServerTypes;
use super::values::POSTGRES_EPOCH_US;
use super::wire::{Connection, Fields, Frame, Malformed, WireError, read_error};
use crate::error::IngestError;
use crate::source::SourceEvent;

/// How long rows wait for more before they are handed out.
const LINGER: Duration = Duration::from_millis(8);
/// Bytes of rows being filled, over all tables, above which all are handed out.
const FILLING_BYTES_MAX: usize = 32 << 20;
/// Bytes of changes kept back for tables whose existing rows are still being read.
const HELD_BYTES_MAX: usize = 64 << 20;
/// The server hears from us at least this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// Feedback after acknowledgements is not sent more often than this.
const STATUS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// A server that is silent for this long though it was asked is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often new tables are looked for.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(15);

/// What the source and its reader share.
#[derive(Debug, Default)]
pub struct Shared {
    /// What is read and durable.
    pub progress: Mutex<Progress>,
    /// Fires after an acknowledgement.
    pub acknowledged: Notify,
    /// Bytes of log that were not read yet.
    pub lag_bytes: AtomicU64,
}

/// A replication connection that streams, and what its messages become.
pub struct Stream {
    /// Streams.
    pub replication: Connection,
    /// Asks the catalogue and writes heartbeats.
    pub side: Connection,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// Time.
    pub env: Env,
    /// Where events go.
    pub out: Outbox,
    /// Feedback.
    pub shared: Arc<Shared>,
    /// Types of the database.
    pub types: ServerTypes,
    /// The tables.
    pub tables: Tables,
    /// Ends of tables of a running snapshot.
    pub signals: mpsc::Receiver<Signal>,
    /// How often the server must hear from us.
    pub status_interval: Duration,
    /// Tables whose existing rows got other values by a change of a column's type.
    pub rewritten: Vec<u32>,
    transaction: Option<Transaction>,
    timers: Timers,
}

#[derive(Clone, Copy, Debug)]
struct Timers {
    status: Instant,
    heartbeat: Instant,
    discovery: Instant,
    /// When the oldest row that is being filled arrived.
    oldest_row: Option<Instant>,
    received: Instant,
    last_status: Instant,
    status_wanted: bool,
}

/// Why the stream ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There are tables that were not there at the start, or that must be read anew; all is handed out.
    TablesChanged,
}

/// What woke the stream.
enum Wake {
    Bytes(Result<(), WireError>),
    Signal(Option<Signal>),
    Acknowledged,
    Timer,
}

/// The parts that a stream is made of.
pub struct StreamParts {
    /// See [`Stream`].
    pub replication: Connection,
    /// See [`Stream`].
    pub side: Connection,
    /// See [`Stream`].
    pub settings: Arc<Settings>,
    /// See [`Stream`].
    pub env: Env,
    /// See [`Stream`].
    pub out: Outbox,
    /// See [`Stream`].
    pub shared: Arc<Shared>,
    /// See [`Stream`].
    pub types: ServerTypes,
    /// See [`Stream`].
    pub tables: Tables,
    /// See [`Stream`].
    pub signals: mpsc::Receiver<Signal>,
    /// The server's `wal_sender_timeout`, zero without.
    pub sender_timeout: Duration,
}

impl Stream {
    /// Ready to run.
    pub fn new(parts: StreamParts) -> Self {
        let now = parts.env.clock.instant();
        let third = parts.sender_timeout / 3;
        let status_interval = if third.is_zero() { STATUS_INTERVAL } else { STATUS_INTERVAL.min(third) };
        Self {
            replication: parts.replication,
            side: parts.side,
            settings: parts.settings,
            env: parts.env,
            out: parts.out,
            shared: parts.shared,
            types: parts.types,
            tables: parts.tables,
            signals: parts.signals,
            status_interval,
            rewritten: Vec::new(),
            transaction: None,
            timers: Timers {
                status: now + status_interval,
                heartbeat: now,
                discovery: now + DISCOVERY_INTERVAL,
                oldest_row: None,
                received: now,
                last_status: now,
                status_wanted: false,
            },
        }
    }

    fn explain(&self, error: impl Into<WireError>) -> IngestError {
        explain(&self.settings.server, error.into())
    }

    /// Reads until something ends it.
    pub async fn run(&mut self) -> Result<Ended, IngestError> {
        loop {
            self.read_inbox().await?;
            let now = self.env.clock.instant();
            if self.tables.filling_rows() == 0 {
                self.timers.oldest_row = None;
            } else if self.timers.oldest_row.is_none() {
                self.timers.oldest_row = Some(now);
            }
            match self.wait(now).await {
                Wake::Bytes(result) => {
                    result.map_err(|error| self.explain(error))?;
                    self.timers.received = self.env.clock.instant();
                }
                Wake::Signal(Some(Signal::Done { oid, last })) => self.finish_table(oid, last).await?,
                Wake::Signal(Some(Signal::Failed(error))) => return Err(error),
                Wake::Signal(None) => {
                    return Err(IngestError::Broken {
                        source_type: "postgres_cdc".to_string(),
                        what: "the snapshot ended before all tables were read".to_string(),
                    });
                }
                Wake::Acknowledged => self.timers.status_wanted = true,
                Wake::Timer => {}
            }
            if let Some(ended) = self.run_timers().await? {
                return Ok(ended);
            }
        }
    }

    async fn wait(&mut self, now: Instant) -> Wake {
        let timers = &self.timers;
        let mut next = timers.status.min(timers.heartbeat).min(timers.discovery);
        if let Some(oldest) = timers.oldest_row {
            next = next.min(oldest + LINGER);
        }
        if timers.status_wanted {
            next = next.min(timers.last_status + STATUS_INTERVAL_MIN);
        }
        let sleep = self.env.clock.sleep(next.saturating_duration_since(now));
        let reads = self.tables.held_bytes() < HELD_BYTES_MAX;
        let snapshot_runs = self.tables.any_held();
        tokio::select! {
            signal = self.signals.recv(), if snapshot_runs => Wake::Signal(signal),
            result = self.replication.fill(), if reads => Wake::Bytes(result),
            () = self.shared.acknowledged.notified(), if !self.timers.status_wanted => Wake::Acknowledged,
            () = sleep => Wake::Timer,
        }
    }

    async fn run_timers(&mut self) -> Result<Option<Ended>, IngestError> {
        let now = self.env.clock.instant();
        if self.timers.oldest_row.is_some_and(|oldest| now >= oldest + LINGER) {
            // While the reader of events is busy, rows gather into larger batches.
            if self.out.capacity() > 0 {
                self.hand_out_all().await?;
            } else {
                self.timers.oldest_row = Some(now);
            }
        }
        let wanted = self.timers.status_wanted && now >= self.timers.last_status + STATUS_INTERVAL_MIN;
        if wanted || now >= self.timers.status {
            self.send_status(false).await?;
        }
        if now >= self.timers.heartbeat {
            self.timers.heartbeat = now + self.settings.heartbeat;
            let sql = "SELECT pg_catalog.pg_logical_emit_message(false, 'tarn', 'hb')";
            self.side.run(sql).await.map_err(|error| self.explain(error))?;
        }
        if now >= self.timers.discovery {
            self.timers.discovery = now + DISCOVERY_INTERVAL;
            if !self.tables.any_held() && (!self.rewritten.is_empty() || self.tables_changed().await?) {
                self.hand_out_all().await?;
                return Ok(Some(Ended::TablesChanged));
            }
        }
        Ok(None)
    }

    async fn tables_changed(&mut self) -> Result<bool, IngestError> {
        let found = find_selected(&mut self.side, &self.settings).await;
        let found = found.map_err(|error| self.explain(error))?;
        Ok(found.iter().any(|(oid, table)| !self.tables.knows(*oid, table)))
    }

    async fn send_status(&mut self, answered: bool) -> Result<(), IngestError> {
        let now = self.env.clock.instant();
        let silent = now.saturating_duration_since(self.timers.received);
        // While changes are held back nothing is read, so silence says nothing.
        if silent > SILENCE_MAX && self.tables.held_bytes() < HELD_BYTES_MAX {
            let text = format!("no sign of life for {} s", silent.as_secs());
            return Err(self.explain(std::io::Error::new(std::io::ErrorKind::TimedOut, text)));
        }
        let ask = !answered && silent > self.status_interval;
        let (read, flushed) = {
            let mut progress = self.shared.progress.lock();
            (progress.read(), progress.flushed())
        };
        let now_us = self.env.clock.now_us();
        self.replication
            .send_status(read, flushed, now_us, ask)
            .await
            .map_err(|error| self.explain(error))?;
        self.timers.status = now + self.status_interval;
        self.timers.last_status = now;
        self.timers.status_wanted = false;
        Ok(())
    }

    /// Handles the whole messages that arrived.
    async fn read_inbox(&mut self) -> Result<(), IngestError> {
        while self.tables.held_bytes() < HELD_BYTES_MAX {
            let Some(frame) = self.replication.peek().map_err(|error| self.explain(error))? else { break };
            let handled = match frame.tag {
                b'd' => self.copy_data(frame).map_err(|error| self.explain(error))?,
                b'E' => {
                    let error =
                        read_error(self.replication.body(frame)).map_err(|error| self.explain(error))?;
                    return Err(self.explain(error));
                }
                b'c' | b'C' => {
                    let kind = std::io::ErrorKind::UnexpectedEof;
                    return Err(self.explain(std::io::Error::new(kind, "the server ended the stream")));
                }
                _ => Handled::Nothing,
            };
            self.replication.consume(frame);
            self.follow_up(handled).await?;
        }
        Ok(())
    }

    fn copy_data(&mut self, frame: Frame) -> Result<Handled, Malformed> {
        let Self { replication, tables, transaction, shared, .. } = self;
        let mut fields = Fields::new(replication.body(frame));
        match fields.u8()? {
            b'w' => {
                fields.u64()?;
                let end = fields.u64()?;
                fields.i64()?;
                let read = shared.progress.lock().read();
                shared.lag_bytes.store(end.saturating_sub(read), Ordering::Relaxed);
                tables.handle(fields.rest(), transaction, &shared.progress)
            }
            b'k' => {
                let end = fields.u64()?;
                fields.i64()?;
                let asked = fields.u8()? == 1;
                if transaction.is_none() {
                    shared.progress.lock().read_to(end);
                    shared.lag_bytes.store(0, Ordering::Relaxed);
                }
                Ok(if asked { Handled::AnswerWanted } else { Handled::Nothing })
            }
            _ => Ok(Handled::Nothing),
        }
    }

    async fn follow_up(&mut self, handled: Handled) -> Result<(), IngestError> {
        match handled {
            Handled::Nothing => {}
            Handled::Full(oid) => self.hand_out(oid).await?,
            Handled::Relation(relation) => self.take_relation(relation).await?,
            Handled::AnswerWanted => self.send_status(true).await?,
            Handled::Committed { end_lsn, commit_lsn, change } => {
                for event in self.tables.close_transaction(commit_lsn, change, &self.shared.progress) {
                    self.emit(event).await?;
                }
                self.shared.progress.lock().read_to(end_lsn);
            }
        }
        if self.tables.filling_bytes() > FILLING_BYTES_MAX {
            self.hand_out_all().await?;
        }
        Ok(())
    }

    /// Takes a new description of a table: rows so far are handed out under the old one.
    async fn take_relation(&mut self, relation: Relation) -> Result<(), IngestError> {
        let oid = relation.oid;
        let unknown = relation.columns.iter().any(|column| self.types.get(column.type_oid).is_none());
        if unknown {
            self.types = load_types(&mut self.side).await.map_err(|error| self.explain(error))?;
        }
        let current =
            load_tables_by_oid(&mut self.side, &[oid]).await.map_err(|error| self.explain(error))?;
        let current = current.into_iter().next();
        let Some(table) = self.tables.name(oid) else { return Ok(()) };
        let mut relation = relation;
        if relation.name != table.name || relation.namespace != table.namespace {
            if current.as_ref().is_some_and(|current| current.table != table) {
                // Renamed after it was chosen: the next look at the tables finds its new name.
                warn!(source = %self.settings.source, %table, "table was renamed");
                self.timers.discovery = self.env.clock.instant();
            }
            relation.namespace = table.namespace;
            relation.name = table.name;
        }
        let previous = self.tables.layout(oid);
        let layout = Layout::of_relation(&relation, &self.types, current.as_ref(), previous.as_deref());
        if previous.is_some_and(|previous| previous.is_same(&layout)) {
            return Ok(());
        }
        self.hand_out(oid).await?;
        debug!(source = %self.settings.source, table = %layout.table(), "table has a new shape");
        let description = layout.description.clone();
        if self.tables.set_layout(oid, Arc::new(layout)) {
            info!(source = %self.settings.source, table = %description.table, "a column changed its type; the table is read anew");
            self.rewritten.push(oid);
            self.timers.discovery = self.env.clock.instant();
        }
        self.emit(SourceEvent::Table(description)).await
    }

    /// The existing rows of a table are handed out: now its changes follow.
    async fn finish_table(&mut self, oid: u32, last: tarn_core::Position) -> Result<(), IngestError> {
        let mut held = self.tables.release(oid, last);
        while let Some((transaction, message)) = held.pop_front() {
            let handled = self.tables.replay(oid, transaction, &message, &self.shared.progress);
            let handled = handled.map_err(|error| self.explain(error))?;
            self.follow_up(handled).await?;
        }
        self.tables.forget_skipped(oid, &self.shared.progress);
        Ok(())
    }

    async fn hand_out_all(&mut self) -> Result<(), IngestError> {
        for oid in self.tables.filling() {
            self.hand_out(oid).await?;
        }
        self.timers.oldest_row = None;
        Ok(())
    }

    async fn hand_out(&mut self, oid: u32) -> Result<(), IngestError> {
        let open = self.transaction.as_ref().map(|transaction| transaction.commit_lsn);
        let events = self.tables.take(oid, open, &self.shared.progress).map_err(|error| {
            IngestError::Broken { source_type: "postgres_cdc".to_string(), what: error.to_string() }
        })?;
        for event in events {
            self.emit(event).await?;
        }
        Ok(())
    }

    /// Hands an event out; while nobody takes it the server still hears from us.
    async fn emit(&mut self, event: SourceEvent) -> Result<(), IngestError> {
        let out = self.out.clone();
        loop {
            let pause = self.timers.status.saturating_duration_since(self.env.clock.instant());
            let sleep = self.env.clock.sleep(pause);
            let permit = tokio::select! {
                permit = out.reserve() => Some(permit),
                () = sleep => None,
            };
            match permit {
                Some(Ok(permit)) => {
                    permit.send(Ok(event));
                    return Ok(());
                }
                // The source was dropped; this task ends with it.
                Some(Err(_)) => return Err(IngestError::Stopping),
                None => {
                    // Nothing was read for a while because nobody took it, not because the server is silent.
                    self.timers.received = self.env.clock.instant();
                    self.send_status(false).await?;
                }
            }
        }
    }
}

/// Microseconds since 1970 of a time that the server counts from 2000.
pub fn unix_us(server_us: i64) -> i64 {
    server_us.saturating_add(POSTGRES_EPOCH_US)
}
