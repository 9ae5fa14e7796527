//! The queue between pushers and the source, and the source that empties it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tarn_core::{Env, Position, RequestContext, nearest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::body::{self, Record};
use super::config::{HttpPushConfig, PushTable};
use super::table::{Misfit, PushedRows, PushedTable};
use crate::error::IngestError;
use crate::records::plain_table;
use crate::source::{
    DeadLetter, Intake, Push, PushReason, PushReceipt, Resume, Source, SourceBatch, SourceEvent, SourceTable,
};

/// Pushes that wait for the source at most.
const QUEUE_MAX: usize = 1_024;
/// Bytes of bodies that wait for the source or for the disk at most, in KiB.
const WAITING_KIB_MAX: u32 = 128 << 10;
/// How long a push waits to become durable, if its caller does not say.
const WAIT: Duration = Duration::from_secs(30);
/// Reasons in a receipt.
const REASONS_MAX: usize = 100;
/// Tables at most, if pushes may make them.
const TABLES_MAX: usize = 1_000;

type Reply = oneshot::Sender<Result<PushReceipt, IngestError>>;

/// A push on its way to the source.
struct Request {
    table: String,
    records: Vec<Record>,
    key: Option<String>,
    reply: Reply,
    /// Held until the reply, so that bodies in memory stay bounded.
    _room: OwnedSemaphorePermit,
}

/// Takes pushes, also while the source is not open; they wait.
pub(super) struct PushQueue {
    config: HttpPushConfig,
    source: String,
    env: Env,
    room: Arc<Semaphore>,
    sender: mpsc::Sender<Request>,
    /// `None` while a source is open.
    receiver: Mutex<Option<mpsc::Receiver<Request>>>,
}

impl fmt::Debug for PushQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushQueue({})", self.source)
    }
}

impl PushQueue {
    pub(super) fn new(config: HttpPushConfig, source: String, env: Env) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let room = Arc::new(Semaphore::new(WAITING_KIB_MAX as usize));
        Arc::new(Self { config, source, env, room, sender, receiver: Mutex::new(Some(receiver)) })
    }

    /// Starts emptying the queue. Errors: `Busy` while another source does; those of stored states.
    pub(super) fn open(self: &Arc<Self>, resume: &Resume) -> Result<Box<dyn Source>, IngestError> {
        let mut tables = HashMap::new();
        let mut configs = self.config.all_tables(&self.source);
        for (table, _, _) in resume.states.iter().filter(|(_, part, _)| part.is_empty()) {
            if configs.iter().all(|config| config.name != table.name) {
                configs.push(PushTable { name: table.name.clone(), key: Vec::new(), schema: Vec::new() });
            }
        }
        for config in configs {
            let state = resume.state(&plain_table(&config.name), "");
            tables.insert(config.name.clone(), PushedTable::new(config, state)?);
        }
        let receiver = self.receiver.lock().take().ok_or_else(|| IngestError::Busy {
            what: format!("the pushes of source `{}` are still read by its last run", self.source),
            advice: "wait a few seconds".to_string(),
        })?;
        Ok(Box::new(PushSource {
            queue: Arc::clone(self),
            receiver: Some(receiver),
            tables,
            ready: VecDeque::new(),
            waiting: Vec::new(),
            after_idle: Vec::new(),
        }))
    }

    fn table_of(&self, push: &Push) -> Result<String, IngestError> {
        let tables = self.config.all_tables(&self.source);
        let names = || tables.iter().map(|table| table.name.as_str());
        match &push.table {
            None => Ok(tables[0].name.clone()),
            Some(name) if names().any(|known| known == name) => Ok(name.clone()),
            Some(name) if self.config.new_tables => match tarn_core::TableName::new("t", name) {
                Ok(_) => Ok(name.clone()),
                Err(error) => Err(error.into()),
            },
            Some(name) => Err(IngestError::InvalidPush {
                what: format!("source `{}` has no table `{name}`", self.source),
                advice: match nearest(name, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it to `tables` of the source, or set `new_tables: true`".to_string(),
                },
            }),
        }
    }

    async fn send(&self, push: Push, table: String) -> Result<PushReceipt, IngestError> {
        let gone = || IngestError::Unreachable {
            system: format!("source `{}`", self.source),
            source:
                "it was started anew before the rows were durable; push again with the same idempotency key"
                    .into(),
        };
        let kib = u32::try_from(push.body.len() / 1024 + 1).unwrap_or(WAITING_KIB_MAX).min(WAITING_KIB_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| gone())?;
        let records = body::split(&push.body, push.content_type.as_deref(), self.config.depth_max)?;
        let (reply, receipt) = oneshot::channel();
        let request = Request { table, records, key: push.idempotency_key, reply, _room: room };
        self.sender.send(request).await.map_err(|_| gone())?;
        receipt.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Intake for PushQueue {
    async fn push(&self, ctx: &RequestContext, push: Push) -> Result<PushReceipt, IngestError> {
        let limit = usize::try_from(self.config.body_max.0).unwrap_or(usize::MAX);
        if push.body.len() > limit {
            return Err(IngestError::TooLarge {
                what: format!("the body has {} bytes, {} are allowed", push.body.len(), self.config.body_max),
                advice: "send smaller bodies, or raise `body_max` of the source".to_string(),
            });
        }
        if push.idempotency_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 1_024) {
            return Err(IngestError::InvalidPush {
                what: "the idempotency key is empty or longer than 1,024 bytes".to_string(),
                advice: "send a UUID, or no key".to_string(),
            });
        }
        let table = self.table_of(&push)?;
        let wait = ctx.remaining(self.env.clock.instant()).map_or(WAIT, |left| left.min(WAIT));
        tokio::select! {
            result = self.send(push, table) => result,
            () = self.env.clock.sleep(wait) => Err(IngestError::Unreachable {
                system: format!("source `{}`", self.source),
                source: "the rows are not durable yet; push again with the same idempotency key to find out".into(),
            }),
        }
    }
}

/// A push whose rows are not durable yet.
struct Waiting {
    table: String,
    /// Durable once all rows before this offset are.
    until_offset: u64,
    receipt: PushReceipt,
    reply: Reply,
    _room: OwnedSemaphorePermit,
}

/// Empties the queue.
struct PushSource {
    queue: Arc<PushQueue>,
    /// Goes back to the queue when the source ends.
    receiver: Option<mpsc::Receiver<Request>>,
    tables: HashMap<String, PushedTable>,
    ready: VecDeque<SourceEvent>,
    waiting: Vec<Waiting>,
    /// Pushes of which only dead letters are to become durable: they are once the `Idle` behind them was handled.
    after_idle: Vec<(PushReceipt, Reply)>,
}

impl Drop for PushSource {
    fn drop(&mut self) {
        *self.queue.receiver.lock() = self.receiver.take();
    }
}

/// A pushed record that did not fit, as an event.
fn dead_letter(table: &str, misfit: Misfit, now_us: i64) -> SourceEvent {
    let pushed_at = chrono::DateTime::from_timestamp_micros(now_us).unwrap_or_default();
    let at = format!("push of {}, record {}", pushed_at.format("%Y-%m-%dT%H:%M:%S%.3fZ"), misfit.record);
    SourceEvent::DeadLetter(DeadLetter {
        table: Some(plain_table(table)),
        record: misfit.text,
        reason: misfit.reason,
        at,
    })
}

impl PushSource {
    fn handle(&mut self, request: Request) -> Result<(), IngestError> {
        let Request { table: name, records, key, reply, _room } = request;
        if !self.tables.contains_key(&name) {
            if self.tables.len() >= TABLES_MAX {
                let what = format!("the source has {TABLES_MAX} tables already");
                let _ =
                    reply.send(Err(IngestError::TooLarge { what, advice: "use another source".to_string() }));
                return Ok(());
            }
            let config = PushTable { name: name.clone(), key: Vec::new(), schema: Vec::new() };
            self.tables.insert(name.clone(), PushedTable::new(config, None)?);
        }
        let Some(table) = self.tables.get_mut(&name) else { return Ok(()) };
        if let Some(seen) = key.as_deref().and_then(|key| table.seen(key)) {
            let receipt = PushReceipt {
                rows: seen.2,
                first_offset: seen.1,
                next_offset: seen.next_offset(),
                dead_letters: seen.3,
                reasons: Vec::new(),
                repeated: true,
            };
            let until_offset = seen.next_offset();
            self.waiting.push(Waiting { table: name, until_offset, receipt, reply, _room });
            return Ok(());
        }
        let now_us = self.queue.env.clock.now_us();
        let PushedRows { batch, first_offset, misfits, description } = table.rows(&records, now_us)?;
        let rows = batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let dead_letters = misfits.len() as u64;
        let reasons = misfits.iter().take(REASONS_MAX);
        let receipt = PushReceipt {
            rows,
            first_offset,
            next_offset: first_offset + rows,
            dead_letters,
            reasons: reasons
                .map(|m| PushReason { record: m.record as u64, reason: m.reason.clone() })
                .collect(),
            repeated: false,
        };
        self.ready.extend(misfits.into_iter().map(|misfit| dead_letter(&name, misfit, now_us)));
        self.ready.extend(description.map(SourceEvent::Table));
        let Some(batch) = batch else {
            self.ready.push_back(SourceEvent::Idle { lag_bytes: None });
            self.after_idle.push((receipt, reply));
            return Ok(());
        };
        if let Some(key) = &key {
            table.remember(key, first_offset, rows, dead_letters);
        }
        self.ready.push_back(SourceEvent::Rows(SourceBatch {
            table: plain_table(&name),
            rows: batch,
            part: String::new(),
            position: Position::new(0, receipt.next_offset),
            note: table.note()?,
            transaction_end: true,
        }));
        self.waiting.push(Waiting { table: name, until_offset: receipt.next_offset, receipt, reply, _room });
        Ok(())
    }

    /// Answers pushes whose rows are durable. A pusher that went away does not hear it.
    fn answer(&mut self) {
        let tables = &self.tables;
        let durable = |waiting: &mut Waiting| {
            tables.get(&waiting.table).is_some_and(|t| t.durable_offset >= waiting.until_offset)
        };
        for waiting in self.waiting.extract_if(.., durable) {
            let _ = waiting.reply.send(Ok(waiting.receipt));
        }
    }
}

#[async_trait]
impl Source for PushSource {
    async fn next(&mut self) -> Result<Option<SourceEvent>, IngestError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            for (receipt, reply) in self.after_idle.drain(..) {
                let _ = reply.send(Ok(receipt));
            }
            self.answer();
            let Some(receiver) = &mut self.receiver else { return Ok(None) };
            tokio::select! {
                biased;
                request = receiver.recv() => match request {
                    Some(request) => self.handle(request)?,
                    None => return Ok(None),
                },
                () = self.queue.env.clock.sleep(Duration::from_secs(1)) => {
                    return Ok(Some(SourceEvent::Idle { lag_bytes: None }));
                }
            }
        }
    }

    async fn acknowledge(
        &mut self,
        table: &SourceTable,
        _: &str,
        position: Position,
    ) -> Result<(), IngestError> {
        if let Some(table) = self.tables.get_mut(&table.name) {
            table.durable_offset = table.durable_offset.max(position.minor);
        }
        self.answer();
        Ok(())
    }
}
