//! A log in a folder of its own, a clock that can be set, and rows to put in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use futures::future::BoxFuture;
use tarn_core::{ByteSize, Clock, Env, Position, RequestContext, TenantId, TopicName, TraceId};
use tarn_eventlog::{
    Append, Appended, EventLog, EventLogConfig, EventLogError, LogBatch, ProducerState, ReadLimits,
    Retention, SegmentLog, TopicInfo, TopicSpec,
};
use tempfile::TempDir;

/// A wall clock that stands still until it is set; everything else is real.
pub struct SetClock(AtomicI64);

impl SetClock {
    pub fn set_ms(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl fmt::Debug for SetClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetClock({})", self.now_ms())
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn now_us(&self) -> i64 {
        self.now_ms() * 1_000
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A folder in memory where there is one: these tests are about order, not about the disk's speed.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

pub fn context() -> RequestContext {
    RequestContext::system(TenantId::default(), TraceId(1))
}

pub fn topic() -> TopicName {
    TopicName::parse("shop.public.orders").unwrap()
}

pub fn spec(partitions: u32) -> TopicSpec {
    TopicSpec { name: topic(), partitions, retention: Retention::default(), key: vec!["id".into()] }
}

/// Segments of a few frames, which are also read at the tail.
pub fn small_segments() -> EventLogConfig {
    EventLogConfig {
        segment_bytes: ByteSize(4 << 10),
        recent_bytes: ByteSize(0),
        ..EventLogConfig::default()
    }
}

/// A log, its clock and its folder.
pub struct Rig {
    pub log: Arc<SegmentLog>,
    pub clock: Arc<SetClock>,
    pub ctx: RequestContext,
    config: EventLogConfig,
    folder: TempDir,
}

impl Rig {
    pub async fn new(config: EventLogConfig) -> Self {
        let folder = folder();
        let clock = Arc::new(SetClock(AtomicI64::new(1_000_000)));
        let env = Env { clock: clock.clone(), ..Env::system() };
        let log = SegmentLog::open(folder.path(), config.clone(), env).await.unwrap();
        log.create_topic(&context(), spec(1)).await.unwrap();
        Self { log, clock, ctx: context(), config, folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Closes the log and opens it again.
    pub async fn reopen(&mut self) {
        self.log.close().await;
        let env = Env { clock: self.clock.clone(), ..Env::system() };
        self.log = SegmentLog::open(self.folder.path(), self.config.clone(), env).await.unwrap();
    }

    pub async fn append(&self, batch: RecordBatch) -> Result<Appended, EventLogError> {
        self.log.append(&self.ctx, &topic(), 0, Append { batch, state: None }).await
    }

    pub async fn append_as(
        &self,
        producer: &str,
        minor: u64,
        ids: std::ops::Range<i64>,
    ) -> Result<Appended, EventLogError> {
        let append = Append { batch: rows(ids), state: Some(state(producer, minor)) };
        self.log.append(&self.ctx, &topic(), 0, append).await
    }

    pub async fn info(&self) -> TopicInfo {
        self.log.topic(&self.ctx, &topic()).await.unwrap()
    }

    pub async fn state(&self, producer: &str) -> Option<ProducerState> {
        self.log.producer_state(&self.ctx, &topic(), 0, producer).await.unwrap()
    }

    pub async fn all_ids(&self) -> Vec<i64> {
        let low = self.info().await.partitions[0].low_offset;
        read_all(&*self.log, &self.ctx, 0, low)
            .await
            .unwrap()
            .iter()
            .flat_map(|one| ids(&one.batch))
            .collect()
    }
}

/// Reads a partition to its end, checking that offsets have no gaps.
pub async fn read_all(
    log: &dyn EventLog,
    ctx: &RequestContext,
    partition: u32,
    from: u64,
) -> Result<Vec<LogBatch>, EventLogError> {
    let mut all: Vec<LogBatch> = Vec::new();
    let mut next = from;
    loop {
        let read = log.read(ctx, &topic(), partition, next, ReadLimits::default()).await?;
        if read.batches.is_empty() {
            assert_eq!(read.next_offset, next);
            return Ok(all);
        }
        for one in read.batches {
            assert_eq!(one.first_offset, next, "offsets follow each other");
            assert!(one.batch.num_rows() > 0);
            next += one.batch.num_rows() as u64;
            all.push(one);
        }
        assert_eq!(read.next_offset, next);
    }
}

/// Two columns, `id` and a text made of it.
pub fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let text = StringArray::from_iter(ids.clone().map(|id| (id % 5 != 0).then(|| text_of(id))));
    let ids = Int64Array::from_iter_values(ids);
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as Arc<dyn Array>, false),
        ("text", Arc::new(text) as Arc<dyn Array>, true),
    ])
    .unwrap()
}

fn text_of(id: i64) -> String {
    format!("row {id} of a topic, 第 {id} 行")
}

/// The ids of rows, each row checked against what `rows` makes.
pub fn ids(batch: &RecordBatch) -> Vec<i64> {
    let ids = batch.column(0).as_primitive::<Int64Type>();
    let text = batch.column(1).as_string::<i32>();
    for row in 0..batch.num_rows() {
        let id = ids.value(row);
        let expected = (id % 5 != 0).then(|| text_of(id));
        assert_eq!(text.is_valid(row).then(|| text.value(row)), expected.as_deref(), "text of row {id}");
    }
    ids.values().to_vec()
}

pub fn state(producer: &str, minor: u64) -> ProducerState {
    let note = format!("note {minor}").into_bytes();
    let position = Position::new(0, minor);
    ProducerState { producer: producer.into(), position, note, transaction_open: false }
}

/// Copies a folder with all below it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The segment files of partition 0, oldest first.
pub fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let folder = folder.join("main").join(topic().as_str()).join("0");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
