//! Parquet files: columns from footers, rows with nested values as they are.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use futures::StreamExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStream};
use tarn_core::files::{FileChunk, FileReader, FilesFault};
use tarn_storage::Store;

use super::OpenFile;
use super::columns::{Columns, with_constants};
use super::samples::SAMPLE_ROWS;
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

/// Takes the columns of a file in; of the first one some rows too. Errors: a column of another kind than before.
pub(crate) async fn see(columns: &mut Columns, open: &OpenFile) -> Result<(), FilesFault> {
    let (file, store, info) = (open.shown.as_str(), &open.store, &open.info);
    let builder = builder(file, store, info).await?;
    let is_first = columns.is_empty();
    columns.see(file, builder.schema())?;
    columns.rows += u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    if is_first {
        let mut stream = builder
            .with_batch_size(SAMPLE_ROWS)
            .with_limit(SAMPLE_ROWS)
            .build()
            .map_err(|error| fault(file, store, info, error))?;
        let first = stream.next().await.transpose().map_err(|error| fault(file, store, info, error))?;
        columns.show(first.as_ref());
    }
    Ok(())
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
}

#[async_trait]
impl FileReader for ParquetReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        let Some(batch) = self.stream.next().await else { return Ok(None) };
        let batch = batch.map_err(|error| fault(&self.file, &self.store, &self.info, error))?;
        let rows = with_constants(&batch, &self.constants)
            .map_err(|error| broken(&self.file, &error.to_string()))?;
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
