//! The rows that changed between two states of a table: `table_changes('shop.item', from, to)`.
//!
//! For each snapshot on the way the states before and after it are compared file by file: rows of files that came, of files
//! that went, and rows deleted from files that stayed. Rows that were only written again, as compaction and copy-on-write
//! do, cancel each other out; a row that goes and one that comes with the same key are an update.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use iceberg::spec::{Operation, TableMetadata};
use roaring::RoaringTreemap;
use tarn_core::RequestContext;
use tarn_lakehouse::{DataFileView, TableView};

use super::bounds::is_float;
use super::feed::{Feed, Step};
use super::places::PlacedTable;
use super::table::LakeTable;
use crate::{AsOf, QueryError, Tables};

/// What became of a row, as text.
pub(super) const CHANGE_TYPE: &str = "_change_type";
/// How many snapshots with changes came before, from 0.
pub(super) const CHANGE_ORDINAL: &str = "_change_ordinal";
/// The snapshot that changed the row.
pub(super) const SNAPSHOT_ID: &str = "_commit_snapshot_id";
/// When it was made.
pub(super) const TIMESTAMP: &str = "_commit_timestamp";

/// Gives the states of a table.
#[derive(Clone, Debug)]
pub(crate) struct States {
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) ctx: RequestContext,
}

/// The snapshot that was the table at a time, milliseconds since 1970 UTC; `None` before the first one.
pub(crate) fn snapshot_before(view: &TableView, time_ms: i64) -> Option<i64> {
    let history = view.metadata.history().iter();
    history.filter(|entry| entry.timestamp_ms() <= time_ms).map(|entry| entry.snapshot_id).next_back()
}

/// One snapshot, or the way between two.
#[derive(Clone, Debug)]
struct Commit {
    before: Option<i64>,
    snapshot: i64,
    timestamp_ms: i64,
}

/// The changes of a table between two states.
#[derive(Debug)]
pub(crate) struct ChangesTable {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    placed: PlacedTable,
    view: Arc<TableView>,
    commits: Vec<Commit>,
    states: States,
    /// The table's columns, then those that say what became of the row.
    schema: SchemaRef,
    /// Columns of the key; empty without one.
    key: Vec<usize>,
}

impl ChangesTable {
    /// `table`: the last state. `start`: the snapshot after which the changes begin; `None` for all. Errors: it is not one
    /// from which the table came, or snapshots between have expired.
    pub(crate) fn new(
        mut table: LakeTable,
        start: Option<i64>,
        net: bool,
        states: States,
    ) -> Result<Self, QueryError> {
        let view = Arc::clone(table.view());
        let commits = commits(&view, start, net)?;
        // Bounds of this state's files say nothing about those of others.
        let floats = table.schema.fields().iter().enumerate();
        table.maybe_nan =
            floats.filter(|(_, field)| is_float(field.data_type())).map(|(column, _)| column).collect();
        let mut fields: Vec<Arc<Field>> = table.schema.fields().iter().cloned().collect();
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        for (name, data_type) in [
            (CHANGE_TYPE, DataType::Utf8),
            (CHANGE_ORDINAL, DataType::Int32),
            (SNAPSHOT_ID, DataType::Int64),
            (TIMESTAMP, time),
        ] {
            if table.schema.index_of(name).is_ok() {
                let message = format!("table `{}` has a column `{name}` of its own", view.name);
                let hint = "rename it to see the table's changes".to_string();
                return Err(QueryError::plan(message, None, Some(hint)));
            }
            fields.push(Arc::new(Field::new(name, data_type, false)));
        }
        let key = view.key().iter().filter_map(|name| table.schema.index_of(name).ok()).collect();
        let schema = Arc::new(Schema::new(fields));
        let placed = PlacedTable::new(table);
        Ok(Self { inner: Arc::new(Inner { placed, view, commits, states, schema, key }) })
    }
}

/// The snapshots on the way, oldest first, without those that changed no row.
fn commits(view: &TableView, start: Option<i64>, net: bool) -> Result<Vec<Commit>, QueryError> {
    let (metadata, table): (&TableMetadata, _) = (&view.metadata, &view.name);
    let Some(end) = view.snapshot_id else { return Ok(Vec::new()) };
    let mut commits = Vec::new();
    let mut next = Some(end);
    while next != start {
        let Some(id) = next else {
            let message =
                format!("table `{table}` did not come to snapshot {end} by way of {}", start.unwrap_or(0));
            let hint = "name two snapshots of one line, the earlier one first".to_string();
            return Err(QueryError::plan(message, None, Some(hint)));
        };
        let Some(snapshot) = metadata.snapshot_by_id(id) else {
            let message = format!("snapshots of table `{table}` before {id} have expired");
            let hint = format!("`SELECT * FROM \"{}$snapshots\"` lists those that are kept", table.name());
            return Err(QueryError::plan(message, None, Some(hint)));
        };
        next = snapshot.parent_snapshot_id();
        if net || snapshot.summary().operation != Operation::Replace {
            let timestamp_ms = snapshot.timestamp_ms();
            commits.push(Commit { before: next, snapshot: id, timestamp_ms });
        }
    }
    if net {
        let last = commits.first().map(|commit| commit.timestamp_ms);
        let whole = last.map(|timestamp_ms| Commit { before: start, snapshot: end, timestamp_ms });
        return Ok(whole.into_iter().collect());
    }
    commits.reverse();
    Ok(commits)
}

#[async_trait]
impl TableProvider for ChangesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.inner.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns = self.inner.schema.fields().len();
        let projection = projection.cloned().unwrap_or_else(|| (0..columns).collect());
        let schema = Arc::new(self.inner.schema.project(&projection)?);
        let scan = ChangesScan { inner: Arc::clone(&self.inner), projection, schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, None, false, limit)?))
    }
}

#[derive(Debug)]
struct ChangesScan {
    inner: Arc<Inner>,
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for ChangesScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let rows = builder.tx();
        let (inner, projection) = (Arc::clone(&self.inner), self.projection.clone());
        let schema = Arc::clone(&self.schema);
        builder.spawn(async move {
            let memory = MemoryConsumer::new("table_changes").register(context.memory_pool());
            let feed = Feed { placed: &inner.placed, key: &inner.key, projection: &projection, schema, rows };
            for (ordinal, commit) in inner.commits.iter().enumerate() {
                let step = Step {
                    ordinal: i32::try_from(ordinal).unwrap_or(i32::MAX),
                    snapshot_id: commit.snapshot,
                    timestamp_ms: commit.timestamp_ms,
                    ..inner.compare(commit).await?
                };
                memory.free();
                if !Box::pin(feed.run(step, &memory)).await? {
                    break;
                }
            }
            Ok(())
        });
        let stream = builder.build();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream.fuse()))
    }
}

impl Inner {
    async fn state(&self, snapshot: Option<i64>) -> Result<Option<Arc<TableView>>, QueryError> {
        let Some(id) = snapshot else { return Ok(None) };
        let view = self.states.tables.view_at(&self.states.ctx, &self.view.name, AsOf::Snapshot(id)).await?;
        if let Some(view) = view.as_ref().filter(|view| !view.equality_deletes.is_empty()) {
            let message = format!(
                "the changes of `{}` cannot be told: another engine left equality deletes in snapshot {id}",
                view.name
            );
            let hint =
                "compact the table with the engine that wrote them, and ask for later changes".to_string();
            return Err(QueryError::plan(message, None, Some(hint)));
        }
        Ok(view)
    }

    /// The rows that go and those that come with a commit.
    async fn compare(&self, commit: &Commit) -> Result<Step, QueryError> {
        let (before, after) = (self.state(commit.before).await?, self.state(Some(commit.snapshot)).await?);
        let files = |view: &'_ Option<Arc<TableView>>| -> Vec<DataFileView> {
            view.as_ref().map(|view| view.files.as_ref().clone()).unwrap_or_default()
        };
        let (before, after) = (files(&before), files(&after));
        let old: HashMap<&str, &DataFileView> =
            before.iter().map(|file| (file.file.file_path(), file)).collect();
        let new: HashMap<&str, &DataFileView> =
            after.iter().map(|file| (file.file.file_path(), file)).collect();
        let mut step = Step::default();
        for file in &before {
            match new.get(file.file.file_path()) {
                None => step.go.push(file.clone()),
                Some(now) => step.go.extend(only_live_in(file, now)),
            }
        }
        for file in &after {
            match old.get(file.file.file_path()) {
                None => step.come.push(file.clone()),
                Some(then) => step.come.extend(only_live_in(file, then)),
            }
        }
        Ok(step)
    }
}

/// A file with those rows alone that are there in one state and not in the other.
fn only_live_in(file: &DataFileView, other: &DataFileView) -> Option<DataFileView> {
    let there = other.deletes.as_ref()?;
    if file.deletes.as_ref().is_some_and(|here| Arc::ptr_eq(here, there)) {
        return None;
    }
    let mut wanted = there.as_ref().clone();
    if let Some(here) = &file.deletes {
        wanted -= here.as_ref();
    }
    if wanted.is_empty() {
        return None;
    }
    let mut hidden: RoaringTreemap = (0..file.file.record_count()).collect();
    hidden -= wanted;
    Some(DataFileView { deletes: Some(Arc::new(hidden)), ..file.clone() })
}
