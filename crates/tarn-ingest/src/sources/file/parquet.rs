//! Reads Parquet files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, filter, is_null, not};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStream};
use tarn_core::change::META_COLUMNS;
use tarn_storage::Store;

use super::bytes::BytesError;
use super::ledger::Mark;
use super::listing::FileInfo;
use super::sink::FileRows;
use crate::records::{plain_batch, plain_schema};
use crate::source::{DeadLetter, SourceTable};

const BATCH_ROWS: usize = 8_192;

/// Reads one Parquet file.
pub(super) struct ParquetReader {
    stream: ParquetRecordBatchStream<ParquetObjectReader>,
    schema: SchemaRef,
    table: SourceTable,
    shown: String,
    /// Rows read.
    rows: u64,
}

async fn builder(
    store: &Store,
    file: &FileInfo,
) -> Result<ParquetRecordBatchStreamBuilder<ParquetObjectReader>, BytesError> {
    let reader =
        ParquetObjectReader::new(Arc::clone(store.objects()), file.path.clone()).with_file_size(file.size);
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| fault(store, file, error))
}

/// A fault of the store is passed on; any other is one of the file.
fn fault(store: &Store, file: &FileInfo, error: parquet::errors::ParquetError) -> BytesError {
    match error {
        parquet::errors::ParquetError::External(error) => match error.downcast::<object_store::Error>() {
            Ok(error) => BytesError::Store(store.error(&file.path, *error).into()),
            Err(error) => BytesError::File(format!("it cannot be read as Parquet: {error}")),
        },
        error => BytesError::File(format!("it cannot be read as Parquet: {error}")),
    }
}

/// The columns of a Parquet file, without those that topics add.
pub(super) async fn infer(store: &Store, file: &FileInfo) -> Result<SchemaRef, BytesError> {
    let schema = plain_schema(builder(store, file).await?.schema());
    let own = schema.fields().iter().filter(|field| !META_COLUMNS.contains(&field.name().as_str())).cloned();
    Ok(Arc::new(Schema::new(own.collect::<Vec<_>>())))
}

impl ParquetReader {
    /// Opens a file behind its first `skip` rows; its rows get `schema`. Also reports columns that are not in it.
    pub(super) async fn open(
        store: &Store,
        file: &FileInfo,
        skip: u64,
        schema: SchemaRef,
        table: SourceTable,
        shown: String,
    ) -> Result<(Self, Vec<DeadLetter>), BytesError> {
        let builder = builder(store, file).await?;
        let unknown =
            builder.schema().fields().iter().filter(|field| schema.field_with_name(field.name()).is_err());
        let letters = unknown.filter(|_| skip == 0).map(|field| DeadLetter {
            table: Some(table.clone()),
            record: field.name().clone(),
            reason: format!(
                "the table has no column `{}`; its values in this file are left out. Use a new source for them",
                field.name()
            ),
            at: shown.clone(),
        });
        let letters = letters.collect();
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        let stream = builder.with_batch_size(BATCH_ROWS).with_offset(skipped).build();
        let stream = stream.map_err(|error| fault(store, file, error))?;
        Ok((Self { stream, schema, table, shown, rows: skip }, letters))
    }

    /// The next rows with those that do not fit, or `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(
        &mut self,
        store: &Store,
        file: &FileInfo,
    ) -> Result<Option<(FileRows, Vec<DeadLetter>)>, BytesError> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = batch.map_err(|error| fault(store, file, error))?;
        let fitted = plain_batch(&batch).and_then(|batch| self.fit(&batch));
        let fitted =
            fitted.map_err(|error| BytesError::File(format!("rows from {} on: {error}", self.rows + 1)))?;
        self.rows += batch.num_rows() as u64;
        Ok(Some(fitted))
    }

    /// Brings rows to the table's schema; a row with a value that does not fit becomes a dead letter.
    fn fit(&self, batch: &RecordBatch) -> Result<(FileRows, Vec<DeadLetter>), ArrowError> {
        let mut good = BooleanArray::from(vec![true; batch.num_rows()]);
        let (mut columns, mut letters): (Vec<ArrayRef>, Vec<DeadLetter>) = (Vec::new(), Vec::new());
        for field in self.schema.fields() {
            let Some(column) = batch.column_by_name(field.name()) else {
                columns.push(new_null_array(field.data_type(), batch.num_rows()));
                continue;
            };
            if column.data_type() == field.data_type() {
                columns.push(Arc::clone(column));
                continue;
            }
            let options = CastOptions { safe: true, ..CastOptions::default() };
            let cast = cast_with_options(column, field.data_type(), &options)?;
            let lost = arrow::compute::and(&is_null(&cast)?, &not(&is_null(column)?)?)?;
            if lost.true_count() > 0 {
                // Values of named time zones cannot be shown; the place says which row it is.
                let shown = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default()).ok();
                for row in (0..lost.len()).filter(|row| lost.value(*row) && good.value(*row)) {
                    letters.push(DeadLetter {
                        table: Some(self.table.clone()),
                        record: shown.as_ref().map_or_else(String::new, |shown| shown.value(row).to_string()),
                        reason: format!(
                            "column `{}` does not fit into type {}",
                            field.name(),
                            field.data_type()
                        ),
                        at: format!("{}, row {}", self.shown, self.rows + row as u64 + 1),
                    });
                }
                good = arrow::compute::and(&good, &not(&lost)?)?;
            }
            columns.push(cast);
        }
        let ends = (0..batch.num_rows()).filter(|row| good.value(*row)).map(|row| self.rows + row as u64 + 1);
        let ends = ends.collect();
        if letters.is_empty() {
            return Ok((FileRows { columns, ends }, letters));
        }
        let columns = columns.iter().map(|column| filter(column.as_ref(), &good));
        Ok((FileRows { columns: columns.collect::<Result<_, _>>()?, ends }, letters))
    }

    /// How far the file was read.
    pub(super) fn mark(&self, path: u64, tag: u64, partial: bool) -> Mark {
        Mark { path, read: self.rows, tag, tail: 0, lines: 0, partial }
    }
}
