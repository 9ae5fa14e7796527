//! Tables made by hand: Parquet files in memory, manifests' figures computed from the rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef,
    TimeUnit, TimestampMicrosecondType,
};
use async_trait::async_trait;
use iceberg::TableCreation;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, FormatVersion, NestedField, NestedFieldRef,
    PrimitiveType, Schema, Struct, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use tarn_core::{Env, RequestContext, TableName, TenantId, TraceId};
use tarn_lakehouse::{DataFileView, EqualityDeleteView, HotBatch, TableView};
use tarn_query::{AsOf, QueryConfig, QueryEngine, QueryError, QueryOptions, QueryStats, Session, Tables};

/// How a file is written.
#[derive(Clone, Debug)]
pub struct FileOptions {
    pub row_group_rows: usize,
    /// Characters at which text bounds are cut.
    pub cut_at: usize,
    pub partition: Struct,
    pub spec_id: i32,
    pub sequence: i64,
    pub deletes: Vec<u64>,
    /// Leave the figures out of the manifest.
    pub without_figures: bool,
    /// Do not promise that floats hold no NaN.
    pub without_nan_counts: bool,
    pub bloom: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            row_group_rows: 1_000,
            cut_at: 16,
            partition: Struct::empty(),
            spec_id: 0,
            sequence: 1,
            deletes: Vec::new(),
            without_figures: false,
            without_nan_counts: false,
            bloom: false,
        }
    }
}

/// A table under construction.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: TableName,
    pub store: Arc<InMemory>,
    pub metadata: Arc<TableMetadata>,
    pub files: Vec<DataFileView>,
    pub equality: Vec<EqualityDeleteView>,
    pub hot: Vec<RecordBatch>,
}

pub fn field(id: i32, name: &str, of: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, Type::Primitive(of)).into()
}

pub fn schema_of(fields: Vec<NestedFieldRef>) -> Schema {
    Schema::builder().with_fields(fields).build().unwrap()
}

impl Table {
    pub fn new(name: &str, fields: Vec<NestedFieldRef>) -> Self {
        Self::partitioned(name, fields, None)
    }

    pub fn partitioned(name: &str, fields: Vec<NestedFieldRef>, spec: Option<UnboundPartitionSpec>) -> Self {
        let creation = TableCreation::builder()
            .name(name.to_string())
            .location(format!("memory://{name}"))
            .schema(schema_of(fields))
            .partition_spec_opt(spec)
            .format_version(FormatVersion::V2)
            .build();
        let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
        Self {
            name: TableName::parse(name).unwrap(),
            store: Arc::new(InMemory::new()),
            metadata: Arc::new(metadata),
            files: Vec::new(),
            equality: Vec::new(),
            hot: Vec::new(),
        }
    }

    /// Changes the current schema.
    pub fn evolve(&mut self, fields: Vec<NestedFieldRef>) {
        let schema = Schema::builder().with_schema_id(99).with_fields(fields).build().unwrap();
        let builder = self.metadata.as_ref().clone().into_builder(Some("memory://v1.json".into()));
        let built = builder.add_current_schema(schema).unwrap().build().unwrap();
        self.metadata = Arc::new(built.metadata);
    }

    pub fn set_property(&mut self, key: &str, value: &str) {
        let builder = self.metadata.as_ref().clone().into_builder(Some("memory://v2.json".into()));
        let built =
            builder.set_properties(HashMap::from([(key.into(), value.into())])).unwrap().build().unwrap();
        self.metadata = Arc::new(built.metadata);
    }

    /// The Arrow schema of the current schema, with field ids.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(schema_to_arrow_schema(self.metadata.current_schema()).unwrap())
    }

    /// Rows in the current schema.
    pub fn batch(&self, columns: Vec<ArrayRef>) -> RecordBatch {
        RecordBatch::try_new(self.schema(), columns).unwrap()
    }

    pub async fn add(&mut self, batch: &RecordBatch, options: FileOptions) {
        let (location, size) = self.put(batch, &options).await;
        let mut builder = data_file(batch, &location, size, &options);
        let file = builder.content(DataContentType::Data).build().unwrap();
        let deletes: RoaringTreemap = options.deletes.iter().copied().collect();
        self.files.push(DataFileView {
            file: Arc::new(file),
            location,
            deletes: (!deletes.is_empty()).then(|| Arc::new(deletes)),
            sequence_number: options.sequence,
            partition_spec_id: options.spec_id,
        });
    }

    /// Deletes the rows whose columns `ids` equal a row of `batch`.
    pub async fn add_equality_delete(&mut self, batch: &RecordBatch, ids: Vec<i32>, options: FileOptions) {
        let (location, size) = self.put(batch, &options).await;
        let mut builder = data_file(batch, &location, size, &options);
        let file = builder.content(DataContentType::EqualityDeletes).equality_ids(Some(ids)).build().unwrap();
        self.equality.push(EqualityDeleteView {
            file: Arc::new(file),
            location,
            sequence_number: options.sequence,
        });
    }

    async fn put(&self, batch: &RecordBatch, options: &FileOptions) -> (Path, u64) {
        let number = self.files.len() + 1_000 * self.equality.len();
        let location = Path::from(format!("data/{number}.parquet"));
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(options.row_group_rows))
            .set_data_page_row_count_limit(16)
            .set_write_batch_size(16)
            .set_bloom_filter_enabled(options.bloom)
            .build();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        let size = bytes.len() as u64;
        self.store.put(&location, PutPayload::from(bytes)).await.unwrap();
        (location, size)
    }

    pub fn view(&self) -> Arc<TableView> {
        Arc::new(TableView {
            name: self.name.clone(),
            metadata: Arc::clone(&self.metadata),
            metadata_location: "memory://metadata.json".into(),
            snapshot_id: Some(1),
            schema: self.schema(),
            files: Arc::new(self.files.clone()),
            equality_deletes: Arc::new(self.equality.clone()),
            hot: Arc::new(self.hot.iter().cloned().map(HotBatch::whole).collect()),
            unflushed: Arc::default(),
            store: Arc::clone(&self.store) as Arc<dyn ObjectStore>,
            version: 1,
        })
    }
}

fn data_file(batch: &RecordBatch, location: &Path, size: u64, options: &FileOptions) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .file_path(format!("memory://{location}"))
        .file_format(DataFileFormat::Parquet)
        .partition(options.partition.clone())
        .partition_spec_id(options.spec_id)
        .record_count(batch.num_rows() as u64)
        .file_size_in_bytes(size);
    if options.without_figures {
        return builder;
    }
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    let (mut nulls, mut nans, mut sizes) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let Some(id) = field.metadata().get("PARQUET:field_id").and_then(|id| id.parse::<i32>().ok()) else {
            continue;
        };
        nulls.insert(id, column.null_count() as u64);
        sizes.insert(id, 100);
        if let Some(floats) = column.as_any().downcast_ref::<Float64Array>()
            && !options.without_nan_counts
        {
            nans.insert(id, floats.iter().flatten().filter(|value| value.is_nan()).count() as u64);
        }
        if let Some((low, high)) = bounds(column, options.cut_at) {
            lower.insert(id, low);
            upper.insert(id, high);
        }
    }
    builder
        .lower_bounds(lower)
        .upper_bounds(upper)
        .null_value_counts(nulls)
        .nan_value_counts(nans)
        .column_sizes(sizes);
    builder
}

/// Least and greatest value as a writer of Iceberg gives them: without NaN, texts cut.
fn bounds(column: &ArrayRef, cut_at: usize) -> Option<(Datum, Datum)> {
    let pair = |low: Option<Datum>, high: Option<Datum>| Some((low?, high?));
    match column.data_type() {
        DataType::Int32 => {
            let array = column.as_primitive::<Int32Type>();
            pair(compute::min(array).map(Datum::int), compute::max(array).map(Datum::int))
        }
        DataType::Int64 => {
            let array = column.as_primitive::<Int64Type>();
            pair(compute::min(array).map(Datum::long), compute::max(array).map(Datum::long))
        }
        DataType::Date32 => {
            let array = column.as_primitive::<Date32Type>();
            pair(compute::min(array).map(Datum::date), compute::max(array).map(Datum::date))
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let array = column.as_primitive::<TimestampMicrosecondType>();
            pair(
                compute::min(array).map(Datum::timestamptz_micros),
                compute::max(array).map(Datum::timestamptz_micros),
            )
        }
        DataType::Decimal128(precision, scale) => {
            let array = column.as_primitive::<Decimal128Type>();
            let of = |value: i128| {
                let data_type =
                    PrimitiveType::Decimal { precision: u32::from(*precision), scale: *scale as u32 };
                Datum::try_from_bytes(&value.to_be_bytes(), data_type).unwrap()
            };
            pair(compute::min(array).map(of), compute::max(array).map(of))
        }
        DataType::Float32 => {
            let array = column.as_primitive::<Float32Type>();
            let values: Vec<f32> = array.iter().flatten().filter(|value| !value.is_nan()).collect();
            let low = values.iter().copied().reduce(f32::min).map(Datum::float);
            pair(low, values.iter().copied().reduce(f32::max).map(Datum::float))
        }
        DataType::Float64 => {
            let array = column.as_primitive::<Float64Type>();
            let values: Vec<f64> = array.iter().flatten().filter(|value| !value.is_nan()).collect();
            let low = values.iter().copied().reduce(f64::min).map(Datum::double);
            pair(low, values.iter().copied().reduce(f64::max).map(Datum::double))
        }
        DataType::Utf8 => {
            let values: Vec<&str> = column.as_string::<i32>().iter().flatten().collect();
            let cut = |text: &&str| text.chars().take(cut_at).collect::<String>();
            let low = values.iter().min().map(cut);
            let high = values
                .iter()
                .max()
                .map(|text| if text.chars().count() > cut_at { up(cut(text)) } else { cut(text) });
            pair(low.map(Datum::string), high.map(Datum::string))
        }
        _ => None,
    }
}

/// The next greater text of the same length.
fn up(text: String) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    if let Some(last) = chars.last_mut() {
        *last = char::from_u32(*last as u32 + 1).unwrap();
    }
    chars.into_iter().collect()
}

/// All tables of a test.
#[derive(Debug, Default)]
pub struct Lake {
    tables: Mutex<HashMap<TableName, Arc<TableView>>>,
    past: Mutex<HashMap<(TableName, i64), Arc<TableView>>>,
    /// Look-ups so far.
    pub look_ups: Mutex<usize>,
    /// Look-ups wait for this long.
    pub delay: Mutex<Option<std::time::Duration>>,
}

impl Lake {
    pub fn put(&self, view: Arc<TableView>) {
        self.tables.lock().insert(view.name.clone(), view);
    }

    pub fn put_past(&self, snapshot: i64, view: Arc<TableView>) {
        self.past.lock().insert((view.name.clone(), snapshot), view);
    }
}

#[async_trait]
impl Tables for Lake {
    async fn namespaces(&self, _: &RequestContext) -> Result<Vec<String>, QueryError> {
        let mut names: Vec<String> =
            self.tables.lock().keys().map(|name| name.namespace().to_string()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn tables(&self, _: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError> {
        let mut names: Vec<TableName> =
            self.tables.lock().keys().filter(|name| name.namespace() == namespace).cloned().collect();
        names.sort();
        Ok(names)
    }

    async fn view(&self, _: &RequestContext, name: &TableName) -> Result<Option<Arc<TableView>>, QueryError> {
        let delay = *self.delay.lock();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        *self.look_ups.lock() += 1;
        Ok(self.tables.lock().get(name).cloned())
    }

    async fn view_at(
        &self,
        _: &RequestContext,
        name: &TableName,
        as_of: AsOf,
    ) -> Result<Option<Arc<TableView>>, QueryError> {
        let key = match as_of {
            AsOf::Snapshot(id) => id,
            AsOf::TimestampMs(ms) => ms / 1_000,
            AsOf::Ref(_) | AsOf::Branch(_) => return Ok(None),
        };
        let found = self.past.lock().get(&(name.clone(), key)).cloned();
        match found {
            Some(view) => Ok(Some(view)),
            None => Err(QueryError::Plan {
                message: format!("table `{name}` has no snapshot {key}"),
                position: None,
                hint: None,
            }),
        }
    }
}

pub fn context() -> RequestContext {
    RequestContext::system(TenantId::default(), TraceId(1))
}

pub fn config() -> QueryConfig {
    QueryConfig { parallelism: 3, ..QueryConfig::default() }
}

pub fn engine(lake: &Arc<Lake>) -> QueryEngine {
    engine_with(lake, config())
}

pub fn engine_with(lake: &Arc<Lake>, config: QueryConfig) -> QueryEngine {
    QueryEngine::new(Env::system(), Arc::clone(lake) as Arc<dyn Tables>, config).unwrap()
}

/// A session over some tables.
pub fn session(tables: &[&Table]) -> Session {
    let lake = Arc::new(Lake::default());
    tables.iter().for_each(|table| lake.put(table.view()));
    engine(&lake).session(&context())
}

pub async fn run(session: &Session, sql: &str) -> (Vec<RecordBatch>, QueryStats) {
    let stream =
        session.execute(sql, QueryOptions::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let stats = stream.stats();
    let batches = stream.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    (batches, stats.get())
}

pub async fn fails(session: &Session, sql: &str) -> QueryError {
    let stream = match session.execute(sql, QueryOptions::default()).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    stream.collect().await.expect_err("the query is wrong")
}
