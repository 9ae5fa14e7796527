//! Parquet files: columns from footers, rows with nested values as they are.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStream};
use tarn_core::change::META_COLUMNS;
use tarn_core::files::{FileChunk, FileReader, FilesFault, FoundColumn};
use tarn_storage::Store;

use super::hive::repeated;
use super::samples::{SAMPLE_ROWS, found_column, shown_rows};
use super::text::broken;
use crate::sources::file::listing::FileInfo;

const BATCH_ROWS: usize = 8_192;

type Builder = ParquetRecordBatchStreamBuilder<ParquetObjectReader>;

fn fault(file: &str, store: &Store, info: &FileInfo, error: parquet::errors::ParquetError) -> FilesFault {
    if let parquet::errors::ParquetError::External(inner) = error {
        return match inner.downcast::<object_store::Error>() {
            Ok(inner) => FilesFault::of(&store.error(&info.path, *inner)),
            Err(inner) => broken(file, &format!("it cannot be read as Parquet: {inner}")),
        };
    }
    broken(file, &format!("it cannot be read as Parquet: {error}"))
}

/// A fault of an open file.
pub(crate) fn fault_of(open: &super::OpenFile, error: parquet::errors::ParquetError) -> FilesFault {
    fault(&open.shown, &open.store, &open.info, error)
}

async fn builder(file: &str, store: &Store, info: &FileInfo) -> Result<Builder, FilesFault> {
    let reader =
        ParquetObjectReader::new(Arc::clone(store.objects()), info.path.clone()).with_file_size(info.size);
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| fault(file, store, info, error))
}

/// A field with nothing that only its writer means, nullable throughout at the top.
fn plain(field: &Field) -> FieldRef {
    Arc::new(Field::new(field.name(), field.data_type().clone(), true))
}

/// The wider of two types of one column.
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let rank = |data_type: &DataType| match data_type {
        T::Int8 => Some(1),
        T::Int16 | T::UInt8 => Some(2),
        T::Int32 | T::UInt16 => Some(3),
        T::Int64 | T::UInt32 => Some(4),
        _ => None,
    };
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (a, b) if rank(a).is_some() && rank(b).is_some() => {
            Some(if rank(a) >= rank(b) { a.clone() } else { b.clone() })
        }
        (T::Float32, T::Float64) | (T::Float64, T::Float32) => Some(T::Float64),
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => Some(T::Utf8),
        (T::Timestamp(_, a), T::Timestamp(_, b)) if a == b => {
            Some(T::Timestamp(arrow::datatypes::TimeUnit::Microsecond, a.clone()))
        }
        (T::Decimal128(p, s), T::Decimal128(q, t)) if s == t => Some(T::Decimal128(*p.max(q), *s)),
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        _ => None,
    }
}

/// Columns of files seen so far.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    fields: Vec<(FieldRef, String)>,
    pub(crate) found: Vec<FoundColumn>,
    pub(crate) sample_rows: Vec<Vec<Option<String>>>,
    pub(crate) rows: u64,
    pub(crate) warnings: Vec<String>,
}

impl Columns {
    /// Takes the columns of a file in; of the first one some rows too. Errors: a column of another kind than before.
    pub(crate) async fn see(&mut self, file: &str, store: &Store, info: &FileInfo) -> Result<(), FilesFault> {
        let builder = builder(file, store, info).await?;
        let is_first = self.fields.is_empty();
        let own =
            builder.schema().fields().iter().filter(|field| !META_COLUMNS.contains(&field.name().as_str()));
        for field in own {
            let Some((known, of)) = self.fields.iter_mut().find(|(known, _)| known.name() == field.name())
            else {
                if !is_first {
                    self.warnings
                        .push(format!("column `{}` is not in all files; it is null there", field.name()));
                }
                self.fields.push((plain(field), file.to_string()));
                continue;
            };
            let wide = wider(known.data_type(), field.data_type()).ok_or_else(|| {
                FilesFault::invalid(
                    format!(
                        "column `{}` is {} in `{of}` and {} in `{file}`",
                        field.name(),
                        known.data_type(),
                        field.data_type()
                    ),
                    "import files of one schema at a time",
                )
            })?;
            *known = Arc::new(Field::new(known.name(), wide, true));
        }
        self.rows += u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        if is_first {
            let mut stream = builder
                .with_batch_size(SAMPLE_ROWS)
                .with_limit(SAMPLE_ROWS)
                .build()
                .map_err(|error| fault(file, store, info, error))?;
            let first = stream.next().await.transpose().map_err(|error| fault(file, store, info, error))?;
            self.show(first.as_ref());
        }
        Ok(())
    }

    fn show(&mut self, batch: Option<&RecordBatch>) {
        let column = |(field, _): &(FieldRef, String)| batch?.column_by_name(field.name());
        let columns: Vec<Option<&ArrayRef>> = self.fields.iter().map(column).collect();
        self.sample_rows = shown_rows(&columns, batch.map_or(0, RecordBatch::num_rows));
    }

    /// The schema with what people want to know of it.
    pub(crate) fn finish(&mut self) -> SchemaRef {
        let found = |(at, (field, _)): (usize, &(FieldRef, String))| {
            found_column(field.name(), field.data_type().to_string(), &self.sample_rows, at)
        };
        self.found = self.fields.iter().enumerate().map(found).collect();
        Arc::new(Schema::new(self.fields.iter().map(|(field, _)| Arc::clone(field)).collect::<Vec<_>>()))
    }
}

/// Rows of one Parquet file, in its own types.
pub(crate) struct ParquetReader {
    stream: ParquetRecordBatchStream<ParquetObjectReader>,
    file: String,
    store: Store,
    info: FileInfo,
    constants: Vec<(FieldRef, ArrayRef)>,
    rows: u64,
    rows_total: u64,
}

impl ParquetReader {
    pub(crate) async fn open(
        file: String,
        store: Store,
        info: FileInfo,
        constants: Vec<(FieldRef, ArrayRef)>,
        skip: u64,
    ) -> Result<Self, FilesFault> {
        let builder = builder(&file, &store, &info).await?;
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        let stream = builder.with_batch_size(BATCH_ROWS).with_offset(skipped).build();
        let stream = stream.map_err(|error| fault(&file, &store, &info, error))?;
        Ok(Self { stream, file, store, info, constants, rows: skip, rows_total })
    }

    fn shaped(&self, batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
        let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if self.constants.iter().all(|(known, _)| known.name() != field.name()) {
                fields.push(plain(field));
                columns.push(Arc::clone(column));
            }
        }
        for (field, value) in &self.constants {
            fields.push(Arc::clone(field));
            columns.push(repeated(value, batch.num_rows())?);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
    }
}

#[async_trait]
impl FileReader for ParquetReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = batch.map_err(|error| fault(&self.file, &self.store, &self.info, error))?;
        let rows = self.shaped(&batch).map_err(|error| broken(&self.file, &error.to_string()))?;
        let records = rows.num_rows() as u64;
        self.rows += records;
        Ok(Some(FileChunk { rows, problems: Vec::new(), records }))
    }

    fn bytes_read(&self) -> u64 {
        // Columns lie apart, so rows tell best how far it is.
        let done = u128::from(self.info.size) * u128::from(self.rows) / u128::from(self.rows_total.max(1));
        u64::try_from(done).unwrap_or(self.info.size)
    }
}
