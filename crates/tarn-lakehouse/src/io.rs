//! Where tables lie: one object store under Iceberg's file interface and under the query engine.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tarn_storage::Store;

use crate::error::LakehouseError;

/// The folder or bucket that holds the tables.
#[derive(Clone, Debug)]
pub struct Warehouse {
    store: Store,
}

impl Warehouse {
    /// A warehouse that begins where `store` begins.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The objects; paths are relative to the warehouse.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        self.store.objects()
    }

    /// The bucket of the warehouse, unless it is a folder.
    pub fn bucket(&self) -> Option<&tarn_storage::Bucket> {
        self.store.bucket()
    }

    /// URL of the warehouse, without a slash at its end.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// Path in the warehouse of a location such as `s3://bucket/lake/t/data/1.parquet`. Errors: `BadLocation`.
    pub fn path(&self, location: &str) -> std::result::Result<Path, LakehouseError> {
        self.store.path_of(location).map_err(|_| LakehouseError::BadLocation {
            location: location.into(),
            warehouse: self.url().to_string(),
        })
    }

    /// Whether a location lies below the warehouse, where clients may place tables.
    pub fn contains(&self, location: &str) -> bool {
        self.path(location).is_ok_and(|path| !path.as_ref().is_empty())
    }

    /// Iceberg's view of the store.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(Arc::new(WarehouseStorage { warehouse: Some(self.clone()) })).build()
    }

    /// Reads a whole file.
    pub async fn read(&self, location: &str) -> std::result::Result<Bytes, LakehouseError> {
        Ok(self.store.get(&self.path(location)?).await?)
    }

    /// Writes a whole file and makes it durable.
    pub async fn write(&self, location: &str, bytes: Bytes) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.put_durable(&self.path(location)?, bytes).await?)
    }

    /// Writes a whole file that must not exist yet, and makes it durable. Errors: one is there.
    pub async fn create(&self, location: &str, bytes: Bytes) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.put_if_absent(&self.path(location)?, bytes).await?)
    }

    /// Deletes a file; one that is already gone is no error.
    pub async fn delete(&self, location: &str) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.delete(&self.path(location)?).await?)
    }
}

/// [`Warehouse`] under Iceberg's storage trait. The trait wants to be serialisable; ours lives in one process, so a
/// deserialised one has no store and says so when used.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct WarehouseStorage {
    #[serde(skip)]
    warehouse: Option<Warehouse>,
}

impl WarehouseStorage {
    fn warehouse(&self) -> Result<&Warehouse> {
        self.warehouse
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, "a deserialised storage has no store"))
    }

    fn at(&self, location: &str) -> Result<(&Warehouse, Path)> {
        let warehouse = self.warehouse()?;
        Ok((warehouse, warehouse.path(location).map_err(data_invalid)?))
    }
}

fn data_invalid(error: LakehouseError) -> Error {
    Error::new(ErrorKind::DataInvalid, error.to_string()).with_source(error)
}

fn store_error(location: &str, source: object_store::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("could not reach `{location}`")).with_source(source)
}

#[typetag::serde]
impl StorageFactory for WarehouseStorage {
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde]
impl Storage for WarehouseStorage {
    async fn exists(&self, location: &str) -> Result<bool> {
        let (warehouse, path) = self.at(location)?;
        match warehouse.objects().head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(store_error(location, error)),
        }
    }

    async fn metadata(&self, location: &str) -> Result<FileMetadata> {
        let (warehouse, path) = self.at(location)?;
        let head = warehouse.objects().head(&path).await.map_err(|e| store_error(location, e))?;
        Ok(FileMetadata { size: head.size })
    }

    async fn read(&self, location: &str) -> Result<Bytes> {
        let warehouse = self.warehouse()?;
        warehouse.read(location).await.map_err(data_invalid)
    }

    async fn reader(&self, location: &str) -> Result<Box<dyn FileRead>> {
        let (warehouse, path) = self.at(location)?;
        Ok(Box::new(RangeReader { store: Arc::clone(warehouse.objects()), path, location: location.into() }))
    }

    async fn write(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.warehouse()?.write(location, bytes).await.map_err(data_invalid)
    }

    async fn writer(&self, location: &str) -> Result<Box<dyn FileWrite>> {
        let (warehouse, path) = self.at(location)?;
        let upload = object_store::buffered::BufWriter::new(Arc::clone(warehouse.objects()), path);
        Ok(Box::new(StreamWriter {
            upload: Some(upload),
            warehouse: warehouse.clone(),
            location: location.into(),
        }))
    }

    async fn delete(&self, location: &str) -> Result<()> {
        self.warehouse()?.delete(location).await.map_err(data_invalid)
    }

    async fn delete_prefix(&self, location: &str) -> Result<()> {
        let (warehouse, path) = self.at(location)?;
        let mut listing = warehouse.objects().list(Some(&path));
        while let Some(entry) = listing.next().await {
            let entry = entry.map_err(|e| store_error(location, e))?;
            warehouse.objects().delete(&entry.location).await.map_err(|e| store_error(location, e))?;
        }
        Ok(())
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(location) = paths.next().await {
            Storage::delete(self, &location).await?;
        }
        Ok(())
    }

    fn new_input(&self, location: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), location.to_string()))
    }

    fn new_output(&self, location: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), location.to_string()))
    }
}

struct RangeReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
}

#[async_trait]
impl FileRead for RangeReader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(&self.path, range).await.map_err(|e| store_error(&self.location, e))
    }
}

struct StreamWriter {
    upload: Option<object_store::buffered::BufWriter>,
    warehouse: Warehouse,
    location: String,
}

impl StreamWriter {
    fn closed(&self) -> Error {
        Error::new(ErrorKind::Unexpected, format!("`{}` was closed already", self.location))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::new(ErrorKind::Unexpected, format!("could not write `{}`", self.location)).with_source(source)
    }
}

#[async_trait]
impl FileWrite for StreamWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(upload) = self.upload.as_mut() else { return Err(self.closed()) };
        tokio::io::AsyncWriteExt::write_all(upload, &bytes).await.map_err(|e| self.failed(e))
    }

    async fn close(&mut self) -> Result<()> {
        let Some(mut upload) = self.upload.take() else { return Err(self.closed()) };
        tokio::io::AsyncWriteExt::shutdown(&mut upload).await.map_err(|e| self.failed(e))?;
        let path = self.warehouse.path(&self.location).map_err(data_invalid)?;
        let synced = self.warehouse.store.sync(&path).await;
        synced.map_err(|e| data_invalid(e.into()))
    }
}
