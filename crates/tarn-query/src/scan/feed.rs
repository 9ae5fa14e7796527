//! The rows of one commit that go and come, told apart: inserted, deleted, updated, or only written again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, MapArray, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, make_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use rustc_hash::{FxHashMap, FxHashSet};
use tarn_lakehouse::DataFileView;
use tokio::sync::mpsc::Sender;
use twox_hash::XxHash3_128;

use super::places::PlacedTable;

const INSERT: &str = "insert";
const DELETE: &str = "delete";
const BEFORE: &str = "update_preimage";
const AFTER: &str = "update_postimage";
/// Memory of a remembered row: its hash and how often it occurs, in a table that is not full.
const ROW_BYTES: usize = 48;

/// What one commit did, as files of which only the rows concerned are live.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) ordinal: i32,
    pub(super) snapshot_id: i64,
    pub(super) timestamp_ms: i64,
    pub(super) go: Vec<DataFileView>,
    pub(super) come: Vec<DataFileView>,
}

/// Where the changes of a table go.
pub(super) struct Feed<'a> {
    pub(super) placed: &'a PlacedTable,
    /// Columns of the key; empty without one.
    pub(super) key: &'a [usize],
    /// Columns that are wanted, those behind the table's own included.
    pub(super) projection: &'a [usize],
    /// The wanted columns.
    pub(super) schema: SchemaRef,
    pub(super) rows: Sender<DfResult<RecordBatch>>,
}

/// Hashes rows to 128 bits.
struct Hasher {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl Hasher {
    fn new(schema: &SchemaRef, columns: Vec<usize>) -> DfResult<Self> {
        let fields = columns.iter().map(|at| SortField::new(comparable_type(schema.field(*at).data_type())));
        Ok(Self { converter: RowConverter::new(fields.collect())?, columns })
    }

    fn hash(&self, batch: &RecordBatch) -> DfResult<Vec<u128>> {
        let columns: DfResult<Vec<ArrayRef>> =
            self.columns.iter().map(|at| comparable(batch.column(*at))).collect();
        let rows = self.converter.convert_columns(&columns?)?;
        Ok(rows.iter().map(|row| XxHash3_128::oneshot(row.as_ref())).collect())
    }
}

/// A map has no order of its own; as a list of its entries it can be compared.
fn comparable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Map(entries, _) => DataType::List(Arc::clone(entries)),
        other => other.clone(),
    }
}

fn comparable(column: &ArrayRef) -> DfResult<ArrayRef> {
    let Some(map) = column.as_any().downcast_ref::<MapArray>() else { return Ok(Arc::clone(column)) };
    let data = map.to_data().into_builder().data_type(comparable_type(map.data_type())).build()?;
    Ok(make_array(data))
}

/// What is known of the rows that come, while those that go are told apart.
#[derive(Default)]
struct Coming {
    /// How many rows of each content come that no row that goes stands for yet.
    rows: FxHashMap<u128, u32>,
    /// Rows that were only written again.
    again: FxHashMap<u128, u32>,
    keys: FxHashSet<u128>,
    /// Keys of rows that went and come with another content.
    updated: FxHashSet<u128>,
}

fn take_one(counts: &mut FxHashMap<u128, u32>, row: u128) -> bool {
    match counts.get_mut(&row) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            counts.remove(&row);
        }
        None => return false,
    }
    true
}

impl Feed<'_> {
    /// Sends the changes of a commit. Returns whether somebody still waits for more.
    pub(super) async fn run(&self, step: Step, memory: &MemoryReservation) -> DfResult<bool> {
        if step.go.is_empty() || step.come.is_empty() {
            let (files, change) = match step.go.is_empty() {
                true => (&step.come, INSERT),
                false => (&step.go, DELETE),
            };
            return self.whole(&step, files, change).await;
        }
        let columns: Vec<usize> = (0..self.placed.columns()).collect();
        let whole = Hasher::new(self.placed.table_schema(), columns.clone())?;
        let key = match self.key {
            [] => None,
            key => Some(Hasher::new(self.placed.table_schema(), key.to_vec())?),
        };
        let mut coming = Coming::default();
        let mut rows = self.placed.rows_of(columns.clone(), step.come.clone())?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let per_row = if key.is_some() { 2 * ROW_BYTES } else { ROW_BYTES };
            memory.try_grow(batch.num_rows() * per_row)?;
            for row in whole.hash(&batch)? {
                *coming.rows.entry(row).or_default() += 1;
            }
            if let Some(key) = &key {
                coming.keys.extend(key.hash(&batch)?);
            }
        }
        let mut rows = self.placed.rows_of(columns.clone(), step.go.clone())?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut changes: Vec<Option<&str>> = Vec::with_capacity(batch.num_rows());
            let keys = key.as_ref().map(|key| key.hash(&batch)).transpose()?;
            for (at, row) in whole.hash(&batch)?.into_iter().enumerate() {
                if take_one(&mut coming.rows, row) {
                    *coming.again.entry(row).or_default() += 1;
                    changes.push(None);
                    continue;
                }
                let known = keys.as_ref().map(|keys| keys[at]).filter(|key| coming.keys.contains(key));
                coming.updated.extend(known);
                changes.push(Some(if known.is_some() { BEFORE } else { DELETE }));
            }
            if !self.send(&step, &batch, &changes).await? {
                return Ok(false);
            }
        }
        let mut rows = self.placed.rows_of(columns, step.come.clone())?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let keys = key.as_ref().map(|key| key.hash(&batch)).transpose()?;
            let hashes = whole.hash(&batch)?.into_iter().enumerate();
            let changes: Vec<Option<&str>> = hashes
                .map(|(at, row)| {
                    let is_update = keys.as_ref().is_some_and(|keys| coming.updated.contains(&keys[at]));
                    let change = if is_update { AFTER } else { INSERT };
                    (!take_one(&mut coming.again, row)).then_some(change)
                })
                .collect();
            if !self.send(&step, &batch, &changes).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All rows of some files went, or came: only the wanted columns are read.
    async fn whole(&self, step: &Step, files: &[DataFileView], change: &'static str) -> DfResult<bool> {
        let own = self.placed.columns();
        let wanted: Vec<usize> = self.projection.iter().copied().filter(|column| *column < own).collect();
        let mut rows = self.placed.rows_of(wanted, files.to_vec())?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let count = batch.num_rows();
            let mut columns = batch.columns().iter().cloned();
            let told = self.projection.iter().map(|column| match *column < own {
                true => columns.next(),
                false => Some(told(*column - own, step, &vec![change; count])),
            });
            let told: Option<Vec<ArrayRef>> = told.collect();
            if !self.pass(told.unwrap_or_default(), count).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send(&self, step: &Step, batch: &RecordBatch, changes: &[Option<&str>]) -> DfResult<bool> {
        let stays: BooleanArray = changes.iter().map(|change| Some(change.is_some())).collect();
        let batch = filter_record_batch(batch, &stays)?;
        let changes: Vec<&str> = changes.iter().flatten().copied().collect();
        if changes.is_empty() {
            return Ok(true);
        }
        let own = self.placed.columns();
        let columns = self.projection.iter().map(|column| match *column < own {
            true => Arc::clone(batch.column(*column)),
            false => told(*column - own, step, &changes),
        });
        self.pass(columns.collect(), changes.len()).await
    }

    async fn pass(&self, columns: Vec<ArrayRef>, rows: usize) -> DfResult<bool> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(DataFusionError::from)?;
        Ok(self.rows.send(Ok(batch)).await.is_ok())
    }
}

/// The columns behind the table's own, by place.
fn told(at: usize, step: &Step, changes: &[&str]) -> ArrayRef {
    let rows = changes.len();
    match at {
        0 => Arc::new(changes.iter().map(|change| Some(*change)).collect::<StringArray>()),
        1 => Arc::new(Int32Array::from_value(step.ordinal, rows)),
        2 => Arc::new(Int64Array::from_value(step.snapshot_id, rows)),
        _ => {
            let micros = step.timestamp_ms.saturating_mul(1_000);
            Arc::new(TimestampMicrosecondArray::from_value(micros, rows).with_timezone("+00:00"))
        }
    }
}
