//! Reads bytes of data files from the table's own store and keeps footers and page indexes between queries.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetMetaData, ParquetFileMetrics, ParquetFileReaderFactory,
};
use datafusion::error::Result as DfResult;
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetObjectReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::identity::Place;

/// Read in one go from a file's end: footer and, in all but huge files, page indexes.
const FOOTER_BYTES: usize = 512 * 1024;

/// Footers by table and path, limited in bytes.
#[derive(Clone)]
pub(super) struct FooterCache(Arc<dyn FileMetadataCache>);

impl fmt::Debug for FooterCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FooterCache").field("files", &self.0.len()).finish()
    }
}

impl FooterCache {
    pub(super) fn new(cache: Arc<dyn FileMetadataCache>) -> Self {
        Self(cache)
    }
}

/// Opens the files of one table.
#[derive(Clone, Debug)]
pub(super) struct TableReader {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) footers: FooterCache,
    /// Keeps tables apart whose stores use the same paths.
    pub(super) table: uuid::Uuid,
}

impl TableReader {
    /// The footer and page indexes of a file. Errors: those of the store; the file is no Parquet file.
    pub(super) async fn footer(&self, file: &ObjectMeta) -> DfResult<Arc<ParquetMetaData>> {
        let mut key = file.clone();
        key.location = Path::from(format!("{}/{}", self.table, file.location));
        if let Some(entry) = self.footers.0.get(&key.location)
            && entry.is_valid_for(&key)
            && let Some(cached) = entry.file_metadata.as_any().downcast_ref::<CachedParquetMetaData>()
        {
            return Ok(Arc::clone(cached.parquet_metadata()));
        }
        // Page indexes too: read later, they would be read again by every query.
        let footer = DFParquetMetadata::new(self.store.as_ref(), file)
            .with_metadata_size_hint(Some(FOOTER_BYTES))
            .with_page_index_policy(Some(PageIndexPolicy::Optional))
            .fetch_metadata()
            .await?;
        let entry = CachedFileMetadataEntry::new(
            key.clone(),
            Arc::new(CachedParquetMetaData::new(Arc::clone(&footer))),
        );
        self.footers.0.put(&key.location, entry);
        Ok(footer)
    }
}

impl ParquetFileReaderFactory for TableReader {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        _size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let location = file.object_meta.location.clone();
        let metrics = ParquetFileMetrics::new(partition, location.as_ref(), metrics);
        let bytes =
            ParquetObjectReader::new(Arc::clone(&self.store), location).with_file_size(file.object_meta.size);
        let place = file.extension::<Place>().cloned();
        Ok(Box::new(FileReader { table: self.clone(), meta: file.object_meta, place, bytes, metrics }))
    }
}

struct FileReader {
    table: TableReader,
    meta: ObjectMeta,
    place: Option<Place>,
    bytes: ParquetObjectReader,
    metrics: ParquetFileMetrics,
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.metrics.bytes_scanned.add(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
        self.bytes.get_bytes(range)
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.metrics.bytes_scanned.add(usize::try_from(total).unwrap_or(usize::MAX));
        self.bytes.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let footer = self.table.footer(&self.meta).await;
            let footer = footer.map_err(|error| ParquetError::External(Box::new(error)))?;
            Ok(self
                .place
                .as_ref()
                .map_or_else(|| Arc::clone(&footer), |place| place.in_footer(Arc::clone(&footer))))
        }
        .boxed()
    }
}
