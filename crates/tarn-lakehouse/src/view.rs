//! What a query sees of a table: one snapshot with its live files and deletes, and the rows not yet flushed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
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
    /// Rows that are visible but not in a file yet, in [`TableView::schema`].
    pub hot: Arc<Vec<RecordBatch>>,
    /// Holds the files.
    pub store: Arc<dyn ObjectStore>,
    /// Stands for the content: equal for two views with equal rows. Grows with each change of rows.
    pub version: u64,
}

impl TableView {
    /// Rows that a full scan gives, where no equality delete applies.
    pub fn live_rows(&self) -> u64 {
        let cold: u64 = self.files.iter().map(DataFileView::live_rows).sum();
        cold + self.hot.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    }

    /// Names of the key columns in identifier order; empty without a key.
    pub fn key(&self) -> Vec<String> {
        let schema = self.metadata.current_schema();
        let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| schema.name_by_field_id(*id)).map(str::to_string).collect()
    }
}
