//! The rows of a data file that are not deleted, in the columns of the table.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use async_trait::async_trait;
use futures::StreamExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::basic::Type as PhysicalType;
use roaring::RoaringTreemap;
use tarn_core::files::{FileChunk, FileReader, FilesFault};

use super::adapt::{Finder, absent, adapted, repeated};
use super::column::{FoundBy, LakeColumn};
use super::deletes::Deletes;
use crate::files::OpenFile;
use crate::files::parquet::fault_of;
use crate::files::text::broken;

const BATCH_ROWS: usize = 8_192;

/// Timestamps of 96 bits as microseconds: nanoseconds hold 584 years only.
fn in_micros(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(in_micros).collect()),
        DataType::List(inner) => DataType::List(in_micros(inner)),
        DataType::Map(inner, sorted) => DataType::Map(in_micros(inner), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Ranges of rows that are not in a set.
fn kept(deleted: &RoaringTreemap, rows: usize) -> RowSelection {
    let mut ranges = Vec::new();
    let mut from = 0;
    for row in deleted.iter().filter_map(|row| usize::try_from(row).ok()).take_while(|row| *row < rows) {
        if row > from {
            ranges.push(from..row);
        }
        from = row + 1;
    }
    if from < rows {
        ranges.push(from..rows);
    }
    RowSelection::from_consecutive_ranges(ranges.into_iter(), rows)
}

/// Some columns of a Parquet file, without deleted rows and without the first `skip` others. Returns how many rows the file
/// has too.
pub(crate) async fn parquet_rows(
    open: &OpenFile,
    columns: &[LakeColumn],
    by: FoundBy,
    deleted: Option<&RoaringTreemap>,
    skip: u64,
) -> Result<(ParquetRecordBatchStream<ParquetObjectReader>, u64), FilesFault> {
    let fault = |error| fault_of(open, error);
    let mut reader = ParquetObjectReader::new(Arc::clone(open.store.objects()), open.info.path.clone())
        .with_file_size(open.info.size);
    // What the writer's library noted about types does not count, the table does.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut metadata = ArrowReaderMetadata::load_async(&mut reader, options).await.map_err(fault)?;
    let leaves = metadata.parquet_schema().columns();
    if leaves.iter().any(|leaf| leaf.physical_type() == PhysicalType::INT96) {
        let fields: Vec<FieldRef> = metadata.schema().fields().iter().map(in_micros).collect();
        let schema = Schema::new(fields).with_metadata(metadata.schema().metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(fault)?;
    }
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    let finder = Finder::of(by, metadata.schema());
    if finder == Finder::Alias && columns.iter().all(|column| column.aliases.is_empty()) {
        let what = "its columns have no field ids, and the table has no names for such files";
        return Err(FilesFault::invalid(
            format!("`{}`: {what}", open.shown),
            "set the property `schema.name-mapping.default` there",
        ));
    }
    let fields = metadata.schema().fields();
    let roots = columns.iter().filter_map(|column| finder.find(column, fields));
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.collect::<Vec<_>>());
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_batch_size(BATCH_ROWS)
        .with_projection(mask);
    if let Some(deleted) = deleted.filter(|deleted| !deleted.is_empty()) {
        builder = builder.with_row_selection(kept(deleted, usize::try_from(rows).unwrap_or(usize::MAX)));
    }
    if skip > 0 {
        builder = builder.with_offset(usize::try_from(skip).unwrap_or(usize::MAX));
    }
    Ok((builder.build().map_err(fault)?, rows))
}

/// What reading a data file needs.
pub(crate) struct Wanted {
    pub(crate) open: OpenFile,
    pub(crate) columns: Vec<LakeColumn>,
    pub(crate) by: FoundBy,
    /// Values of columns, by their place; with `win` also of those that the file has.
    pub(crate) constants: Vec<Option<ArrayRef>>,
    pub(crate) win: bool,
    pub(crate) deleted: RoaringTreemap,
    pub(crate) values: Vec<Arc<Deletes>>,
}

/// Reads a data file.
pub(crate) struct LakeReader {
    stream: ParquetRecordBatchStream<ParquetObjectReader>,
    wanted: Wanted,
    schema: SchemaRef,
    /// Rows still to be passed over.
    skip: u64,
    rows: u64,
    rows_total: u64,
}

impl LakeReader {
    pub(crate) async fn open(wanted: Wanted, skip: u64) -> Result<Self, FilesFault> {
        // Which rows are deleted by value shows only when they are read.
        let at_once = if wanted.values.is_empty() { skip } else { 0 };
        let (stream, rows) =
            parquet_rows(&wanted.open, &wanted.columns, wanted.by, Some(&wanted.deleted), at_once).await?;
        let visible = wanted.columns.iter().filter(|column| !column.hidden);
        let schema = Arc::new(Schema::new(visible.map(LakeColumn::field).collect::<Vec<_>>()));
        let rows_total = rows.saturating_sub(wanted.deleted.len());
        Ok(Self { stream, wanted, schema, skip: skip - at_once, rows: at_once, rows_total })
    }

    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        let schema = batch.schema();
        let rows = batch.num_rows();
        let finder = match self.wanted.by {
            // Of a file without numbers no column may be left.
            FoundBy::Id if schema.fields().is_empty() => Finder::Id,
            by => Finder::of(by, &schema),
        };
        let read = |(at, column): (usize, &LakeColumn)| {
            let constant = self.wanted.constants.get(at).and_then(Option::as_ref);
            let own = finder.find(column, schema.fields());
            match (constant, own) {
                (Some(value), own) if self.wanted.win || own.is_none() => repeated(value, rows),
                (_, Some(own)) => adapted(column, batch.column(own), finder),
                _ => absent(column, rows),
            }
        };
        self.wanted.columns.iter().enumerate().map(read).collect()
    }

    fn shaped(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns(batch)?;
        let mut keep: Option<BooleanArray> = None;
        for deletes in &self.wanted.values {
            let Deletes::Values(values) = deletes.as_ref() else { continue };
            let own = values.keep(&columns)?;
            keep = Some(match keep {
                Some(keep) => and(&keep, &own)?,
                None => own,
            });
        }
        let visible = columns.into_iter().zip(&self.wanted.columns).filter(|(_, column)| !column.hidden);
        let visible: Vec<ArrayRef> = visible.map(|(values, _)| values).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mut rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), visible, &options)?;
        if let Some(keep) = keep {
            rows = filter_record_batch(&rows, &keep)?;
        }
        let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows.num_rows());
        self.skip -= passed as u64;
        self.rows += passed as u64;
        Ok(if passed > 0 { rows.slice(passed, rows.num_rows() - passed) } else { rows })
    }
}

#[async_trait]
impl FileReader for LakeReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        while let Some(batch) = self.stream.next().await {
            let batch = batch.map_err(|error| fault_of(&self.wanted.open, error))?;
            let rows =
                self.shaped(&batch).map_err(|error| broken(&self.wanted.open.shown, &error.to_string()))?;
            let records = rows.num_rows() as u64;
            if records > 0 {
                self.rows += records;
                return Ok(Some(FileChunk { rows, problems: Vec::new(), records }));
            }
        }
        Ok(None)
    }

    fn bytes_read(&self) -> u64 {
        let size = self.wanted.open.info.size;
        let done = u128::from(size) * u128::from(self.rows) / u128::from(self.rows_total.max(1));
        u64::try_from(done).unwrap_or(size).min(size)
    }
}

/// The schema of the columns that are shown.
pub(crate) fn schema_of(columns: &[LakeColumn]) -> SchemaRef {
    let visible = columns.iter().filter(|column| !column.hidden);
    Arc::new(Schema::new(visible.map(|column| column.field()).collect::<Vec<Arc<Field>>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_rows_are_left_out_of_the_selection() {
        let rows = |deleted: &[u64], total: usize| {
            let mut at = 0;
            let mut found = Vec::new();
            for selector in kept(&RoaringTreemap::from_iter(deleted.iter().copied()), total).iter() {
                if !selector.skip {
                    found.extend(at..at + selector.row_count);
                }
                at += selector.row_count;
            }
            found
        };
        assert_eq!(rows(&[0, 1, 5], 7), [2, 3, 4, 6]);
        assert_eq!(rows(&[6], 7), [0, 1, 2, 3, 4, 5]);
        assert_eq!(rows(&[], 2), [0, 1]);
        assert_eq!(rows(&[0, 1, 9], 2), Vec::<usize>::new());
    }
}
