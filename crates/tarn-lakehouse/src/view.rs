//! What a query sees of a table: one snapshot with its live files and deletes, and the rows not yet flushed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use iceberg::spec::{DataFile, Datum, Struct, TableMetadata};
use object_store::ObjectStore;
use object_store::path::Path;
use roaring::RoaringTreemap;
use tarn_core::TableName;

/// A data file that a snapshot holds, with the positions deleted from it.
#[derive(Clone, Debug)]
pub struct DataFileView {
    /// What the manifest says: path, counts, bounds by field id, partition.
    pub file: Arc<DataFile>,
    /// Where it lies in [`TableView::store`].
    pub location: Path,
    /// Row numbers (from 0 within the file) that are deleted; `None` if none is.
    pub deletes: Option<Arc<RoaringTreemap>>,
    /// Data sequence number, which decides which equality deletes apply.
    pub sequence_number: i64,
    /// Partition spec that `file.partition()` belongs to.
    pub partition_spec_id: i32,
}

impl DataFileView {
    /// Rows that a reader gets.
    pub fn live_rows(&self) -> u64 {
        self.file.record_count().saturating_sub(self.deletes.as_ref().map_or(0, |rows| rows.len()))
    }

    /// Lower bound of a column in this file, by field id; text and binary bounds may be cut short.
    pub fn lower_bound(&self, field_id: i32) -> Option<&Datum> {
        self.file.lower_bounds().get(&field_id)
    }

    /// Upper bound of a column in this file, by field id; text and binary bounds may be rounded up.
    pub fn upper_bound(&self, field_id: i32) -> Option<&Datum> {
        self.file.upper_bounds().get(&field_id)
    }

    /// Partition values.
    pub fn partition(&self) -> &Struct {
        self.file.partition()
    }
}

/// An equality delete file, written by other engines only: rows of older files whose `equality_ids` columns equal a
/// row of it are deleted.
#[derive(Clone, Debug)]
pub struct EqualityDeleteView {
    /// What the manifest says, `equality_ids` included.
    pub file: Arc<DataFile>,
    /// Where it lies in [`TableView::store`].
    pub location: Path,
    /// Applies to data files with a smaller sequence number.
    pub sequence_number: i64,
}

/// Rows of a batch that are gone, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadRows {
    words: Vec<u64>,
    count: usize,
}

impl DeadRows {
    /// Some rows.
    pub fn of(rows: impl IntoIterator<Item = usize>) -> Self {
        let mut dead = Self::default();
        rows.into_iter().for_each(|row| {
            dead.insert(row);
        });
        dead
    }

    /// Adds a row; `false` if it was gone already.
    pub fn insert(&mut self, row: usize) -> bool {
        let (word, bit) = (row / 64, 1 << (row % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(is_new);
        is_new
    }

    /// Whether a row is gone.
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// How many rows are gone.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no row is gone.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Of `rows` rows, those that are left.
    pub fn live(&self, rows: usize) -> BooleanArray {
        let mut words: Vec<u64> = self.words.iter().map(|word| !word).collect();
        words.resize(rows.div_ceil(64), u64::MAX);
        BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(words), 0, rows), None)
    }
}

/// Rows that are visible but not in a file yet.
#[derive(Clone, Debug)]
pub struct HotBatch {
    /// The rows, those that are gone included, in [`TableView::schema`].
    pub rows: RecordBatch,
    /// Those that are gone; `None` if none is.
    pub dead: Option<Arc<DeadRows>>,
}

impl HotBatch {
    /// All rows of a batch.
    pub fn whole(rows: RecordBatch) -> Self {
        Self { rows, dead: None }
    }

    /// Rows that a reader gets.
    pub fn live_rows(&self) -> usize {
        self.rows.num_rows() - self.dead.as_ref().map_or(0, |dead| dead.len())
    }

    /// The rows that are left of some columns of the batch. Errors: a column that it has not.
    pub fn live(&self, columns: &[usize]) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows.project(columns)?;
        match &self.dead {
            None => Ok(rows),
            Some(dead) => filter_record_batch(&rows, &dead.live(rows.num_rows())),
        }
    }
}

/// One consistent state of a table. Immutable; a query pins one.
#[derive(Clone, Debug)]
pub struct TableView {
    /// The table.
    pub name: TableName,
    /// Iceberg metadata of this state.
    pub metadata: Arc<TableMetadata>,
    /// Where the metadata lies.
    pub metadata_location: Arc<str>,
    /// The snapshot; `None` for a table without one.
    pub snapshot_id: Option<i64>,
    /// Arrow schema of the current (or, for time travel, the snapshot's) schema; each field carries its Iceberg
    /// field id as metadata `PARQUET:field_id`.
    pub schema: SchemaRef,
    /// Live data files.
    pub files: Arc<Vec<DataFileView>>,
    /// Equality deletes of other engines; empty in tables that only we write.
    pub equality_deletes: Arc<Vec<EqualityDeleteView>>,
    /// Rows that are visible but not in a file yet.
    pub hot: Arc<Vec<HotBatch>>,
    /// By place in [`TableView::files`], all deleted rows of the files of which some are deleted but not in a delete
    /// file yet; they stand for [`DataFileView::deletes`].
    pub unflushed: Arc<HashMap<usize, Arc<RoaringTreemap>>>,
    /// Holds the files.
    pub store: Arc<dyn ObjectStore>,
    /// Stands for the content: equal for two views with equal rows. Grows with each change of rows.
    pub version: u64,
}

impl TableView {
    /// Rows that a full scan gives, where no equality delete applies.
    pub fn live_rows(&self) -> u64 {
        let committed: u64 = self.files.iter().map(DataFileView::live_rows).sum();
        let deleted = |(at, rows): (&usize, &Arc<RoaringTreemap>)| {
            let known = self.files[*at].deletes.as_ref().map_or(0, |rows| rows.len());
            rows.len().saturating_sub(known)
        };
        let deleted: u64 = self.unflushed.iter().map(deleted).sum();
        committed.saturating_sub(deleted) + self.hot.iter().map(|batch| batch.live_rows() as u64).sum::<u64>()
    }

    /// A data file with all its deleted rows, those included that are in no delete file yet.
    pub fn file(&self, at: usize) -> Cow<'_, DataFileView> {
        let file = &self.files[at];
        match self.unflushed.get(&at) {
            None => Cow::Borrowed(file),
            Some(deletes) => Cow::Owned(DataFileView { deletes: Some(Arc::clone(deletes)), ..file.clone() }),
        }
    }

    /// Whether it is nothing but the snapshot.
    pub fn is_flushed(&self) -> bool {
        self.hot.is_empty() && self.unflushed.is_empty()
    }

    /// Names of the key columns in identifier order; empty without a key.
    pub fn key(&self) -> Vec<String> {
        let schema = self.metadata.current_schema();
        let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| schema.name_by_field_id(*id)).map(str::to_string).collect()
    }
}
