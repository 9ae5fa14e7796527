//! A test bed: the service on a log in a temporary folder, with a clock that moves when the test waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;
use tarn_core::change::{EVENT_TIME, KIND, META_COLUMNS};
use tarn_core::{
    ChangeKind, Clock, Env, RequestContext, ResourceName, Spawner, TenantId, TopicName, TraceId,
};
use tarn_eventlog::{EventLog, EventLogConfig, EventLogError, ReadLimits, SegmentLog};
use tarn_ingest::{Ingest, IngestPorts, SourceInstance, SourceSpec, SourceState};
use tarn_observe::{FaultBoard, Metrics};

use crate::clock::SimClock;
use crate::faulty_log::FaultyLog;

pub struct Bed {
    pub folder: tempfile::TempDir,
    pub log: Arc<FaultyLog>,
    pub clock: Arc<SimClock>,
    pub ctx: RequestContext,
    pub ingest: Ingest,
    pub faults: Arc<FaultBoard>,
    pub metrics: Arc<Metrics>,
    types: &'static [&'static SourceSpec],
}

pub fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str::<Option<Value>>(text).expect("YAML").unwrap_or_else(|| serde_json::json!({}))
}

pub fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).expect("a name")
}

pub fn topic(text: &str) -> TopicName {
    TopicName::parse(text).expect("a topic")
}

pub fn env(clock: &Arc<SimClock>) -> Env {
    Env {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Env::system().entropy,
        spawner: Spawner::default(),
    }
}

fn ports(bed: &Bed) -> IngestPorts {
    IngestPorts {
        log: Arc::clone(&bed.log) as Arc<dyn EventLog>,
        env: env(&bed.clock),
        metrics: Arc::clone(&bed.metrics),
        faults: Arc::clone(&bed.faults),
        project: bed.folder.path().to_path_buf(),
        types: bed.types,
    }
}

impl Bed {
    pub async fn new(types: &'static [&'static SourceSpec]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = SegmentLog::open(folder.path().join("log"), EventLogConfig::default(), Env::system());
        let log = FaultyLog::new(log.await.expect("a log"));
        let clock = Arc::new(SimClock::new());
        let (metrics, faults) = (
            Metrics::new(Arc::clone(&clock) as Arc<dyn Clock>),
            FaultBoard::new(Arc::clone(&clock) as Arc<dyn Clock>),
        );
        let ingest = Ingest::new(IngestPorts {
            log: Arc::clone(&log) as Arc<dyn EventLog>,
            env: env(&clock),
            metrics: Arc::clone(&metrics),
            faults: Arc::clone(&faults),
            project: folder.path().to_path_buf(),
            types,
        });
        let ctx = RequestContext::system(TenantId::default(), TraceId(1));
        Self { folder, log, clock, ctx, ingest, faults, metrics, types }
    }

    /// Ends the service and starts another on the same log, as a new process would.
    pub async fn restart(&mut self) {
        self.ingest.shutdown().await;
        self.ingest = Ingest::new(ports(self));
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes or replaces a file in one step.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("a folder");
        std::fs::create_dir_all(folder).expect("made");
        let staged = folder.join(".staged");
        std::fs::write(&staged, content).expect("written");
        std::fs::rename(staged, path).expect("named");
    }

    /// Writes a file that looks as if someone still wrote it, for a day of simulated time.
    pub fn write_unsettled(&self, name: &str, content: impl AsRef<[u8]>) {
        self.write(name, content);
        let later = std::time::SystemTime::now() + Duration::from_secs(86_400);
        let file = std::fs::File::options().write(true).open(self.path(name)).expect("there");
        file.set_modified(later).expect("set");
    }

    pub fn instance(source: &str, source_type: &str, config: &str) -> SourceInstance {
        SourceInstance {
            name: name(source),
            source_type: source_type.to_string(),
            config: yaml(config),
            into: None,
            paused: false,
            revision: 1,
        }
    }

    pub fn apply(&self, source: &str, source_type: &str, config: &str) {
        self.ingest.apply(&self.ctx, Self::instance(source, source_type, config)).expect("applied");
    }

    pub fn state(&self, source: &str) -> SourceState {
        self.ingest.status(&self.ctx, &name(source)).expect("exists").state
    }

    /// Lets time pass until `holds`; fails after about a minute of real time.
    pub async fn eventually(&self, what: &str, holds: impl AsyncFnMut() -> bool) {
        self.eventually_by(Duration::from_millis(6), what, holds).await;
    }

    /// Lets time pass, one sleeper after the other with `pace` of real time between them. A slow pace leaves the disk
    /// the time to answer before a time limit is over.
    pub async fn eventually_by(&self, pace: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..60_000 / pace.as_millis() {
            if holds().await {
                return;
            }
            tokio::time::sleep(pace).await;
            self.clock.advance_to_next();
        }
        panic!("never: {what}; {:#?}", self.ingest.statuses(&self.ctx));
    }

    pub async fn until_state(&self, source: &str, state: SourceState) {
        self.eventually(&format!("{source} is {state:?}"), async || self.state(source) == state).await;
    }

    pub async fn until_rows(&self, topic: &str, count: usize) {
        self.eventually(&format!("{topic} has {count} rows"), async || {
            self.count(topic).await >= count as u64
        })
        .await;
        assert_eq!(self.count(topic).await, count as u64);
    }

    pub async fn count(&self, name: &str) -> u64 {
        match self.log.topic(&self.ctx, &topic(name)).await {
            Ok(info) => info.partitions[0].high_offset,
            Err(EventLogError::TopicNotFound { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn batches(&self, name: &str) -> Vec<RecordBatch> {
        let (mut batches, mut offset) = (Vec::new(), 0);
        loop {
            let read =
                self.log.read(&self.ctx, &topic(name), 0, offset, ReadLimits::default()).await.expect("read");
            if read.batches.is_empty() {
                return batches;
            }
            offset = read.next_offset;
            batches.extend(read.batches.into_iter().map(|stored| stored.batch));
        }
    }

    /// Rows of a topic as text: kind, then the source's columns.
    pub async fn rows(&self, name: &str) -> Vec<String> {
        self.batches(name).await.iter().flat_map(rows_text).collect()
    }
}

/// Change rows as text: the sign of the kind (`+`, `>`, `-`), then the source's columns.
pub fn rows_text(batch: &RecordBatch) -> Vec<String> {
    cells(batch, &|column| !META_COLUMNS.contains(&column))
}

/// Change rows as text with their event times.
pub fn timed_rows_text(batch: &RecordBatch) -> Vec<String> {
    cells(batch, &|column| column == EVENT_TIME || !META_COLUMNS.contains(&column))
}

fn cells(batch: &RecordBatch, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let schema = batch.schema();
    let chosen = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| wanted(field.name()));
    // The formatter knows no named zones.
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            cast(column, &DataType::Timestamp(*unit, None)).expect("a time")
        }
        _ => Arc::clone(column),
    };
    let chosen: Vec<ArrayRef> = chosen.map(|(_, column)| plain(column)).collect();
    let columns: Vec<_> = chosen
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("a known type"))
        .collect();
    let kinds = batch.column_by_name(KIND).expect("change rows");
    let kinds = kinds.as_any().downcast_ref::<arrow::array::Int8Array>().expect("kinds");
    let row = |n: usize| {
        let sign = match ChangeKind::from_code(kinds.value(n)).expect("known") {
            ChangeKind::Insert => "+",
            ChangeKind::UpdateBefore => "<",
            ChangeKind::UpdateAfter => ">",
            ChangeKind::Delete => "-",
            ChangeKind::Truncate => "0",
        };
        columns.iter().fold(sign.to_string(), |text, column| format!("{text} | {}", column.value(n)))
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Writes a Parquet file.
pub fn write_parquet(path: &Path, batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let file = std::fs::File::create(path).expect("created");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}
