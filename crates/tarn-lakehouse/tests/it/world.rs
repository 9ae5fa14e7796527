//! A lakehouse in a temporary folder, and a reader of its files that shares no code with the query engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tarn_core::{
    Env, FaultReport, HumanDuration, Position, RequestContext, TableName, TenantId, TopicName, TraceId,
};
use tarn_eventlog::{Append, EventLog, EventLogConfig, ProducerState, Retention, SegmentLog, TopicSpec};
use tarn_lakehouse::service::ServiceConfig;
use tarn_lakehouse::{Lakehouse, LakehouseMemory, SinkConfig, SinkSpec, TableView, Warehouse};
use tarn_storage::Store;

/// Everything of one process.
pub struct World {
    pub ctx: RequestContext,
    pub env: Env,
    pub log: Arc<SegmentLog>,
    pub lake: Arc<Lakehouse>,
}

pub const TOPIC: &str = "shop.public.orders";
pub const TABLE: &str = "shop.orders";

pub fn table() -> TableName {
    TableName::parse(TABLE).unwrap()
}

pub fn topic() -> TopicName {
    TopicName::parse(TOPIC).unwrap()
}

impl World {
    pub async fn open(folder: &Path) -> Self {
        Self::over(folder, Store::open_folder(&folder.join("lake")).unwrap()).await
    }

    /// With its tables in another store.
    pub async fn over(folder: &Path, store: Store) -> Self {
        Self::with(folder, store, ServiceConfig::default()).await
    }

    /// With other settings of services.
    pub async fn with_services(folder: &Path, services: ServiceConfig) -> Self {
        Self::with(folder, Store::open_folder(&folder.join("lake")).unwrap(), services).await
    }

    async fn with(folder: &Path, store: Store, services: ServiceConfig) -> Self {
        let env = Env::system();
        let ctx = RequestContext::system(TenantId::default(), TraceId(1));
        let log =
            SegmentLog::open(&folder.join("log"), EventLogConfig::default(), env.clone()).await.unwrap();
        let url = format!("sqlite://{}", folder.join("meta.db").display());
        let meta = tarn_meta::open(&url, env.clone()).await.unwrap();
        let runs = Some(folder.join("keys"));
        let memory = LakehouseMemory { runs, services, ..LakehouseMemory::default() };
        let lake = Lakehouse::new(meta, Warehouse::new(store), log.clone(), env.clone(), memory);
        Self { ctx, env, log, lake }
    }

    /// Another process that writes the same tables: it shares nothing with this one but what is stored.
    pub async fn neighbour(&self, folder: &Path) -> Arc<Lakehouse> {
        let url = format!("sqlite://{}", folder.join("meta.db").display());
        let meta = tarn_meta::open(&url, self.env.clone()).await.unwrap();
        let warehouse = Warehouse::new(Store::open_folder(&folder.join("lake")).unwrap());
        Lakehouse::new(meta, warehouse, self.log.clone(), self.env.clone(), LakehouseMemory::default())
    }

    pub async fn create_topic(&self, key: &[&str]) {
        let spec = TopicSpec {
            name: topic(),
            partitions: 1,
            retention: Retention::default(),
            key: key.iter().map(ToString::to_string).collect(),
        };
        self.log.create_topic(&self.ctx, spec).await.unwrap();
    }

    pub fn attach(&self) {
        self.attach_with(SinkConfig { freshness: HumanDuration::from_millis(5), ..SinkConfig::default() });
    }

    pub fn attach_with(&self, config: SinkConfig) {
        self.lake.attach(&self.ctx, SinkSpec { topic: topic(), table: table() }, config);
    }

    pub async fn append(&self, batch: RecordBatch) {
        self.log.append(&self.ctx, &topic(), 0, Append { batch, state: None }).await.unwrap();
    }

    /// Appends rows of a source transaction that goes on or ends with them. `offset`: one past the last of them.
    pub async fn append_part(&self, batch: RecordBatch, offset: u64, transaction_open: bool) {
        let position = Position::new(offset, u64::from(!transaction_open));
        let state = ProducerState { producer: "shop".into(), position, note: Vec::new(), transaction_open };
        self.log.append(&self.ctx, &topic(), 0, Append { batch, state: Some(state) }).await.unwrap();
    }

    /// Ends a source transaction, with or without rows.
    pub async fn append_end(&self, batch: RecordBatch, offset: u64) {
        self.append_part(batch, offset, false).await;
    }

    /// Waits until the table shows what the topic holds before an offset.
    pub async fn see_offset(&self, offset: u64) {
        for _ in 0..6_000 {
            let (_, status) = self.lake.sink(&self.ctx, &table()).unwrap();
            assert_eq!(status.fault.as_ref().map(|f| f.message.clone()), None);
            if status.applied_offset == offset {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(2)).await;
        }
        panic!("the table does not show offset {offset}: {:?}", self.lake.sink(&self.ctx, &table()));
    }

    /// Waits until the table has committed everything that the topic holds.
    pub async fn settle(&self) {
        self.see().await;
        for _ in 0..6_000 {
            self.lake.flush(&self.ctx, &table(), Duration::from_millis(50)).await;
            let (_, status) = self.lake.sink(&self.ctx, &table()).unwrap();
            assert_eq!(status.fault.as_ref().map(|f| f.message.clone()), None);
            if status.committed_offset == status.applied_offset && status.work.is_none() {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(1)).await;
        }
        panic!("the table does not commit what it shows");
    }

    /// Waits until the table shows everything that the topic holds.
    pub async fn see(&self) {
        let high = self.log.topic(&self.ctx, &topic()).await.unwrap().partitions[0].high_offset;
        self.see_offset(high).await;
    }

    /// Waits until the table says why it stands still.
    pub async fn fault(&self) -> FaultReport {
        for _ in 0..6_000 {
            let (_, status) = self.lake.sink(&self.ctx, &table()).unwrap();
            if let Some(fault) = status.fault {
                return fault;
            }
            self.env.clock.sleep(Duration::from_millis(5)).await;
        }
        panic!("the table does not stand still");
    }

    pub async fn view(&self) -> Arc<TableView> {
        self.lake.view(&self.ctx, &table()).await.unwrap()
    }

    /// Ends the process's tasks as a crash would: nothing is flushed by the sinks.
    pub async fn crash(self) {
        self.env.spawner.shutdown(Duration::from_secs(20)).await;
        self.log.close().await;
    }
}

/// Live rows of a view in its schema, hot ones first.
pub async fn rows_of(view: &TableView) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let all: Vec<usize> = (0..view.schema.fields().len()).collect();
    for hot in view.hot.iter() {
        batches.push(hot.live(&all).unwrap());
    }
    for at in 0..view.files.len() {
        let file = view.file(at);
        let bytes = view.store.get(&file.location).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let mut first = 0u64;
        for batch in reader {
            let batch = batch.unwrap();
            let keep: arrow::array::BooleanArray = (first..first + batch.num_rows() as u64)
                .map(|row| Some(file.deletes.as_ref().is_none_or(|d| !d.contains(row))))
                .collect();
            first += batch.num_rows() as u64;
            batches.push(arrow::compute::filter_record_batch(&batch, &keep).unwrap());
        }
    }
    batches
}

/// Key to value of tables with a column `id` and text columns, missing columns as null.
pub async fn contents(view: &TableView, columns: &[&str]) -> BTreeMap<i64, Vec<Option<String>>> {
    let mut all = BTreeMap::new();
    for batch in rows_of(view).await {
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().clone();
        let texts: Vec<Option<ArrayRef>> =
            columns.iter().map(|name| batch.column_by_name(name).cloned()).collect();
        for row in 0..batch.num_rows() {
            let values = texts.iter().map(|array| {
                let array = array.as_ref()?.as_string_opt::<i32>()?;
                (!arrow::array::Array::is_null(array, row)).then(|| array.value(row).to_string())
            });
            let before = all.insert(ids.value(row), values.collect());
            assert_eq!(before, None, "key {} occurs twice", ids.value(row));
        }
    }
    all
}
