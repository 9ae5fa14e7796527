//! The workload of `tarn bench eventlog`: appends, tail reads and a full read, beside what the disk itself can do.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use futures::future::try_join_all;
use futures::stream::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Env, Position, RequestContext, TenantId, TopicName, TraceId};

use crate::error::EventLogError;
use crate::port::{Append, EventLog, ReadLimits, Retention, TopicSpec};
use crate::segment_log::{Compression, EventLogConfig, SegmentLog};

/// Rows of one append.
pub const BATCH_ROWS: usize = 1_000;
/// Distinct batches; they are made beforehand so that making rows is not measured.
const BATCHES: usize = 32;
/// Bytes written at a time by the comparison.
const RAW_WRITE_BYTES: usize = 1 << 20;

/// The shape of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchShape {
    /// Change rows of about 100 bytes.
    Narrow,
    /// Change rows of about 1 KB.
    Wide,
}

/// What to run.
#[derive(Clone, Debug, Serialize)]
pub struct BenchPlan {
    /// The shape of the rows.
    pub shape: BenchShape,
    /// Rows in all, rounded up to whole batches of [`BATCH_ROWS`] per producer.
    pub rows: u64,
    /// Tasks that append, each to one partition in turn.
    pub producers: usize,
    /// Appends that a producer keeps under way.
    pub in_flight: usize,
    /// Partitions of the topic; each has a reader at its tail.
    pub partitions: u32,
    /// How rows are compressed.
    pub compression: Compression,
}

impl Default for BenchPlan {
    fn default() -> Self {
        Self {
            shape: BenchShape::Narrow,
            rows: 4_000_000,
            producers: 4,
            in_flight: 4,
            partitions: 4,
            compression: Compression::Lz4,
        }
    }
}

/// How fast something went.
#[derive(Clone, Debug, Serialize)]
pub struct BenchRate {
    /// Seconds.
    pub seconds: f64,
    /// Rows per second.
    pub rows_per_s: f64,
    /// Megabytes (10^6) of Arrow data per second.
    pub arrow_mb_per_s: f64,
    /// Megabytes (10^6) in the files per second.
    pub disk_mb_per_s: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// What was run.
    pub plan: BenchPlan,
    /// Rows appended.
    pub rows: u64,
    /// Arrow bytes per row.
    pub row_bytes: f64,
    /// Bytes in the files per row.
    pub disk_row_bytes: f64,
    /// Appends until all rows were durable, with readers at the tails.
    pub append: BenchRate,
    /// Median time of an append of one batch, milliseconds.
    pub append_ms_p50: f64,
    /// 99th percentile of the same.
    pub append_ms_p99: f64,
    /// Disk flushes of all appends.
    pub flushes: u64,
    /// From the first append until the readers at the tails had all rows.
    pub tail_read: BenchRate,
    /// Reading everything once more from the start, one reader per partition.
    pub read: BenchRate,
    /// Plain writes of as many bytes as the Arrow data has to one file, flushed once per `flush_bytes` of the
    /// default configuration: what a program without a log would do for the same rows and the same promise.
    pub raw: RawRate,
    /// Plain writes of as many bytes as the log's files have, flushed once at the end: the device alone.
    pub raw_once: RawRate,
    /// Arrow bytes per second of the log as a part of [`BenchReport::raw`]; the goal is 0.7.
    pub ratio_to_raw: f64,
    /// Bytes on disk per second of the log as a part of [`BenchReport::raw_once`].
    pub disk_ratio_to_raw_once: f64,
}

/// How fast plain writes went.
#[derive(Clone, Debug, Serialize)]
pub struct RawRate {
    /// Bytes written.
    pub bytes: u64,
    /// Flushes (`fdatasync`).
    pub flushes: u64,
    /// Seconds.
    pub seconds: f64,
    /// Megabytes (10^6) per second.
    pub mb_per_s: f64,
}

/// Runs a plan in `folder`, which should be empty and on the disk in question; removes what it wrote.
/// Errors: those of the log; `Io` when the comparison cannot write.
pub async fn append_and_read(
    folder: &Path,
    plan: BenchPlan,
    env: &Env,
) -> Result<BenchReport, EventLogError> {
    let name = TopicName::parse("bench").map_err(|error| invalid(&error))?;
    let made = (0..BATCHES as u64).map(|seed| make_batch(plan.shape, seed)).collect::<Result<Vec<_>, _>>();
    let batches: Arc<[RecordBatch]> = made.map_err(|error| invalid(&error))?.into();
    let config = EventLogConfig { compression: plan.compression, ..EventLogConfig::default() };
    let log_folder = folder.join("log");
    let log = SegmentLog::open(&log_folder, config, env.clone()).await?;
    let ctx = RequestContext::system(TenantId::default(), TraceId(0));
    let spec = TopicSpec {
        name: name.clone(),
        partitions: plan.partitions,
        retention: Retention::default(),
        key: vec!["id".to_string()],
    };
    log.create_topic(&ctx, spec).await?;
    let bench = Bench { log, ctx, name, plan, batches, env: env.clone() };
    let report = bench.run(folder).await;
    bench.log.close().await;
    std::fs::remove_dir_all(&log_folder).map_err(|source| io("remove", &log_folder, source))?;
    report
}

fn invalid(error: &dyn std::error::Error) -> EventLogError {
    EventLogError::InvalidAppend { what: error.to_string() }
}

fn io(action: &'static str, path: &Path, source: std::io::Error) -> EventLogError {
    EventLogError::Io { action, path: path.display().to_string(), source }
}

struct Bench {
    log: Arc<SegmentLog>,
    ctx: RequestContext,
    name: TopicName,
    plan: BenchPlan,
    batches: Arc<[RecordBatch]>,
    env: Env,
}

impl Bench {
    async fn run(&self, folder: &Path) -> Result<BenchReport, EventLogError> {
        let started = self.now();
        let appended = async {
            let latencies = try_join_all((0..self.plan.producers).map(|i| self.produce(i))).await?;
            Ok((latencies.concat(), self.now() - started))
        };
        let (latencies, append_time, tail_time) = {
            let tails = self.read_tails(started);
            let ((latencies, append_time), tail_time) = futures::future::try_join(appended, tails).await?;
            (latencies, append_time, tail_time)
        };
        let stats = self.log.stats();
        let started = self.now();
        try_join_all(
            (0..self.plan.partitions).map(|partition| self.read_partition(partition, Duration::ZERO)),
        )
        .await?;
        let read_time = self.now() - started;
        let arrow_bytes: usize = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let row_bytes = arrow_bytes as f64 / (BATCHES * BATCH_ROWS) as f64;
        let rate = |time: Duration| self.rate(time, row_bytes, stats.bytes);
        let append = rate(append_time);
        let arrow_bytes = (self.rows() as f64 * row_bytes) as u64;
        let flush_bytes = EventLogConfig::default().flush_bytes.0;
        let raw = self.write_raw(folder, arrow_bytes, arrow_bytes.div_ceil(flush_bytes)).await?;
        let raw_once = self.write_raw(folder, stats.bytes, 1).await?;
        Ok(BenchReport {
            plan: self.plan.clone(),
            rows: self.rows(),
            row_bytes,
            disk_row_bytes: stats.bytes as f64 / self.rows() as f64,
            append_ms_p50: percentile(&latencies, 50),
            append_ms_p99: percentile(&latencies, 99),
            flushes: stats.flushes,
            tail_read: rate(tail_time),
            read: rate(read_time),
            ratio_to_raw: append.arrow_mb_per_s / raw.mb_per_s,
            disk_ratio_to_raw_once: append.disk_mb_per_s / raw_once.mb_per_s,
            raw,
            raw_once,
            append,
        })
    }

    fn now(&self) -> Instant {
        self.env.clock.instant()
    }

    /// Appends of each producer.
    fn appends(&self) -> u64 {
        self.plan.rows.div_ceil((BATCH_ROWS * self.plan.producers) as u64)
    }

    fn rows(&self) -> u64 {
        self.appends() * (self.plan.producers * BATCH_ROWS) as u64
    }

    /// Rows that go to a partition.
    fn rows_of(&self, partition: u32) -> u64 {
        let producers = (0..self.plan.producers).filter(|i| self.partition_of(*i) == partition).count();
        self.appends() * (producers * BATCH_ROWS) as u64
    }

    fn partition_of(&self, producer: usize) -> u32 {
        (producer % self.plan.partitions as usize) as u32
    }

    /// Appends as one producer, returns the milliseconds of each append.
    async fn produce(&self, producer: usize) -> Result<Vec<f64>, EventLogError> {
        let partition = self.partition_of(producer);
        let appends = (0..self.appends()).map(|i| {
            let batch = self.batches[(i as usize + producer) % BATCHES].clone();
            let (log, ctx, name, env) =
                (self.log.clone(), self.ctx.clone(), self.name.clone(), self.env.clone());
            async move {
                // A task of its own, so that rows are encoded on all cores.
                let append = env.spawner.spawn({
                    let env = env.clone();
                    async move {
                        let started = env.clock.instant();
                        log.append(&ctx, &name, partition, Append { batch, state: None }).await?;
                        Ok((env.clock.instant() - started).as_secs_f64() * 1e3)
                    }
                });
                append.await.unwrap_or_else(|error| Err(invalid(&error)))
            }
        });
        futures::stream::iter(appends).buffered(self.plan.in_flight).try_collect().await
    }

    /// Follows all tails until every row was seen.
    async fn read_tails(&self, started: Instant) -> Result<Duration, EventLogError> {
        let wait = Duration::from_secs(60);
        try_join_all((0..self.plan.partitions).map(|partition| self.read_partition(partition, wait))).await?;
        Ok(self.now() - started)
    }

    async fn read_partition(&self, partition: u32, wait: Duration) -> Result<(), EventLogError> {
        let (log, ctx, name) = (self.log.clone(), self.ctx.clone(), self.name.clone());
        let rows = self.rows_of(partition);
        let reader = self.env.spawner.spawn(async move {
            let limits = ReadLimits { wait, ..ReadLimits::default() };
            let mut next = 0;
            while next < rows {
                next = log.read(&ctx, &name, partition, next, limits).await?.next_offset;
            }
            Ok(())
        });
        reader.await.unwrap_or_else(|error| Err(invalid(&error)))
    }

    /// Writes `bytes` to a file with `flushes` flushes, evenly spread.
    async fn write_raw(&self, folder: &Path, bytes: u64, flushes: u64) -> Result<RawRate, EventLogError> {
        let path = folder.join("raw");
        let clock = self.env.clock.clone();
        let work = move || {
            let write = || -> std::io::Result<Duration> {
                let mut file = File::create(&path)?;
                // Noise, should the disk compress.
                let noise: Vec<u8> = (0..RAW_WRITE_BYTES as u64).map(|i| (mixed(i) >> 24) as u8).collect();
                let started = clock.instant();
                for i in 0..flushes {
                    let mut left = bytes * (i + 1) / flushes - bytes * i / flushes;
                    while left > 0 {
                        let len = left.min(RAW_WRITE_BYTES as u64);
                        file.write_all(&noise[..len as usize])?;
                        left -= len;
                    }
                    file.sync_data()?;
                }
                let time = clock.instant() - started;
                std::fs::remove_file(&path)?;
                Ok(time)
            };
            write().map_err(|source| io("write", &path, source))
        };
        let time =
            self.env.spawner.spawn_blocking(work).await.unwrap_or_else(|error| Err(invalid(&error)))?;
        let seconds = time.as_secs_f64();
        Ok(RawRate { bytes, flushes, seconds, mb_per_s: bytes as f64 / 1e6 / seconds })
    }

    fn rate(&self, time: Duration, row_bytes: f64, disk_bytes: u64) -> BenchRate {
        let seconds = time.as_secs_f64();
        let rows = self.rows() as f64;
        BenchRate {
            seconds,
            rows_per_s: rows / seconds,
            arrow_mb_per_s: rows * row_bytes / 1e6 / seconds,
            disk_mb_per_s: disk_bytes as f64 / 1e6 / seconds,
        }
    }
}

fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// A number without pattern from `i` (splitmix64).
fn mixed(i: u64) -> u64 {
    let mut x = i.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Words as they occur in orders; texts are made of them, so they compress as texts do.
const WORDS: [&str; 16] = [
    "order",
    "shipped",
    "paid",
    "express",
    "customer",
    "return",
    "Berlin",
    "上海",
    "gift",
    "fragile",
    "morning",
    "warehouse",
    "invoice",
    "pending",
    "phone",
    "evening",
];

fn text(seed: u64, words: u64) -> String {
    let word = |i: u64| WORDS[(mixed(seed.wrapping_mul(31).wrapping_add(i)) % 16) as usize];
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

/// One batch of change rows as an orders table makes them.
fn make_batch(shape: BenchShape, seed: u64) -> Result<RecordBatch, ArrowError> {
    let rows = || (0..BATCH_ROWS as u64).map(move |row| seed * BATCH_ROWS as u64 + row);
    let decimal = DataType::Decimal128(18, 2);
    let mut fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Int64, true),
        Field::new("amount", decimal.clone(), true),
        Field::new("weight", DataType::Float64, true),
        Field::new("state", DataType::Utf8, true),
    ];
    let amounts = Decimal128Array::from_iter_values(rows().map(|row| i128::from(mixed(row) % 1_000_000)));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows().map(|row| row as i64))),
        Arc::new(Int64Array::from_iter_values(rows().map(|row| (mixed(row) % 100_000) as i64))),
        Arc::new(amounts.with_data_type(decimal)),
        Arc::new(Float64Array::from_iter_values(rows().map(|row| (mixed(row) % 50_000) as f64 / 100.0))),
        Arc::new(StringArray::from_iter_values(rows().map(|row| text(row, 1)))),
    ];
    if shape == BenchShape::Wide {
        for i in 0..18 {
            fields.push(Field::new(format!("note_{i}"), DataType::Utf8, true));
            let notes = rows().map(|row| text(row * 18 + i, 7));
            columns.push(Arc::new(StringArray::from_iter_values(notes)));
        }
    }
    let first = Position::new(seed + 1, 0);
    let added = ChangeColumns::uniform(ChangeKind::Insert, BATCH_ROWS, first, Some(1_700_000_000_000_000));
    let batch = added.attach(&Schema::new(fields), columns)?;
    // A copy without the spare room that builders leave, which is not data.
    let all = UInt32Array::from_iter_values(0..BATCH_ROWS as u32);
    arrow::compute::take_record_batch(&batch, &all)
}
