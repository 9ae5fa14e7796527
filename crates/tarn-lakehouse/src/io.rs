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
use crate::outside::{Outside, Place, is_outside};

/// The folder or bucket that holds the tables, and the places beside it where their data files may lie.
#[derive(Clone, Debug)]
pub struct Warehouse {
    store: Store,
    outside: Outside,
    objects: Arc<dyn ObjectStore>,
}

impl Warehouse {
    /// A warehouse that begins where `store` begins.
    pub fn new(store: Store) -> Self {
        let objects = Arc::clone(store.objects());
        Self { store, outside: Outside::default(), objects }
    }

    /// With places where data files of tables may lie that are only read.
    pub fn with_outside(self, places: Vec<Place>) -> Self {
        let outside = Outside::new(places);
        let objects = outside.around(self.store.objects());
        Self { store: self.store, outside, objects }
    }

    /// URLs of the places beside it where data files of tables may lie, without a slash at their end.
    pub fn outside(&self) -> impl Iterator<Item = &str> {
        self.outside.urls()
    }

    /// Whether a location lies in a place beside the warehouse that is only read.
    pub fn is_outside(&self, location: &str) -> bool {
        self.store.path_of(location).is_err() && self.outside.path(location).is_some()
    }

    /// The objects, to be read; see [`Warehouse::path`]. Those beside the warehouse cannot be changed.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The bucket of the warehouse, unless it is a folder.
    pub fn bucket(&self) -> Option<&tarn_storage::Bucket> {
        self.store.bucket()
    }

    /// URL of the warehouse, without a slash at its end.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// Path, among [`Warehouse::objects`], of a location such as `s3://bucket/lake/t/data/1.parquet`, in the warehouse or
    /// beside it. Errors: `BadLocation`.
    pub fn path(&self, location: &str) -> std::result::Result<Path, LakehouseError> {
        self.own_path(location).or_else(|error| self.outside.path(location).ok_or(error))
    }

    /// Path of a location in the warehouse itself, where files are written and deleted. Errors: `BadLocation`.
    fn own_path(&self, location: &str) -> std::result::Result<Path, LakehouseError> {
        // A path that stands for a file beside the warehouse is none in it, whoever writes it so.
        let path = self.store.path_of(location).ok().filter(|path| !is_outside(path));
        path.ok_or_else(|| LakehouseError::BadLocation {
            location: location.into(),
            warehouse: self.url().to_string(),
        })
    }

    /// What an error of a store means at one of its paths.
    fn error(&self, path: &Path, error: object_store::Error) -> LakehouseError {
        match self.outside.location(path) {
            Some(location) => tarn_storage::StorageError::of(location, error).into(),
            None => self.store.error(path, error).into(),
        }
    }

    /// Whether a location lies below the warehouse, where clients may place tables.
    pub fn contains(&self, location: &str) -> bool {
        self.own_path(location).is_ok_and(|path| !path.as_ref().is_empty())
    }

    /// Iceberg's view of the store.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(Arc::new(WarehouseStorage { warehouse: Some(self.clone()) })).build()
    }

    /// Reads a whole file.
    pub async fn read(&self, location: &str) -> std::result::Result<Bytes, LakehouseError> {
        let path = self.path(location)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        read.await.map_err(|error| self.error(&path, error))
    }

    /// Writes a whole file and makes it durable.
    pub async fn write(&self, location: &str, bytes: Bytes) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.put_durable(&self.own_path(location)?, bytes).await?)
    }

    /// Writes a whole file that must not exist yet, and makes it durable. Errors: one is there.
    pub async fn create(&self, location: &str, bytes: Bytes) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.put_if_absent(&self.own_path(location)?, bytes).await?)
    }

    /// Deletes a file; one that is already gone is no error.
    pub async fn delete(&self, location: &str) -> std::result::Result<(), LakehouseError> {
        Ok(self.store.delete(&self.own_path(location)?).await?)
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
        let warehouse = self.warehouse()?;
        let path = warehouse.own_path(location).map_err(data_invalid)?;
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
        let warehouse = self.warehouse()?;
        let path = warehouse.own_path(location).map_err(data_invalid)?;
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
        let path = self.warehouse.own_path(&self.location).map_err(data_invalid)?;
        let synced = self.warehouse.store.sync(&path).await;
        synced.map_err(|e| data_invalid(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_in_the_warehouse_never_stands_for_a_file_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |name: &str| Store::open_folder(&folder.path().join(name)).expect("a store");
        let old = open("old");
        let (url, except) = (old.url().to_string(), vec![format!("{}/secret", old.url())]);
        let warehouse = Warehouse::new(open("lake")).with_outside(vec![Place::new(old, except)]);
        let own = |rest: &str| format!("{}/{rest}", warehouse.url());
        assert!(
            warehouse.path(&format!("{url}/a.parquet")).is_ok()
                && warehouse.is_outside(&format!("{url}/a.parquet"))
        );
        assert!(warehouse.path(&own("t/a.parquet")).is_ok() && warehouse.contains(&own("t/a.parquet")));
        for disguised in
            [own("@outside/0/secret/a.parquet"), own("@outside/0/a.parquet"), format!("{url}/secret/a")]
        {
            assert!(warehouse.path(&disguised).is_err(), "{disguised}");
            assert!(!warehouse.contains(&disguised) && !warehouse.is_outside(&disguised), "{disguised}");
        }
    }
}
