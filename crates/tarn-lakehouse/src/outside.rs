//! Places beside the warehouse in which tables may have data files. They are read and never written.
//!
//! Their objects have paths of their own among those of the warehouse, so that whoever reads a table reads through one store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tarn_storage::Store;

/// First part of their paths; no file of a warehouse begins so.
const MARK: &str = "@outside";

/// A place beside the warehouse.
#[derive(Clone, Debug)]
pub struct Place {
    store: Store,
    /// URLs of folders within it that are not read.
    except: Vec<String>,
}

impl Place {
    /// All of a store but some folders of it, by URL without a slash at the end.
    pub fn new(store: Store, except: Vec<String>) -> Self {
        Self { store, except }
    }

    /// Where it begins, without a slash at its end.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    fn path(&self, location: &str) -> Option<Path> {
        let path = self.store.path_of(location).ok()?;
        let location = self.store.location_of(&path);
        let is_below = |folder: &String| {
            location
                .strip_prefix(folder.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        (!path.as_ref().is_empty() && !self.except.iter().any(is_below)).then_some(path)
    }
}

/// All such places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside(Arc<[Place]>);

impl Outside {
    pub(crate) fn new(places: Vec<Place>) -> Self {
        Self(places.into())
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Place::url)
    }

    /// The path of a location of one of them, among those of the warehouse.
    pub(crate) fn path(&self, location: &str) -> Option<Path> {
        self.0.iter().enumerate().find_map(|(at, place)| {
            let path = place.path(location)?;
            Path::parse(format!("{MARK}/{at}/{path}")).ok()
        })
    }

    /// The place of such a path, and the path there.
    fn place(&self, path: &Path) -> Option<(&Place, Path)> {
        let rest = path.as_ref().strip_prefix(MARK)?.strip_prefix('/')?;
        let (at, rest) = rest.split_once('/')?;
        Some((self.0.get(at.parse::<usize>().ok()?)?, Path::parse(rest).ok()?))
    }

    /// The location that such a path stands for.
    pub(crate) fn location(&self, path: &Path) -> Option<String> {
        self.place(path).map(|(place, path)| place.store.location_of(&path))
    }

    /// The objects of a warehouse and those of these places.
    pub(crate) fn around(&self, warehouse: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        match self.0.is_empty() {
            true => Arc::clone(warehouse),
            false => Arc::new(WithOutside { warehouse: Arc::clone(warehouse), outside: self.clone() }),
        }
    }
}

#[derive(Debug)]
struct WithOutside {
    warehouse: Arc<dyn ObjectStore>,
    outside: Outside,
}

impl fmt::Display for WithOutside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and places beside it", self.warehouse)
    }
}

fn refused(path: &Path) -> object_store::Error {
    object_store::Error::PermissionDenied {
        path: path.to_string(),
        source: "files beside the warehouse are only read".into(),
    }
}

/// Whether a path stands for a file beside the warehouse.
pub(crate) fn is_outside(path: &Path) -> bool {
    path.as_ref().strip_prefix(MARK).is_some_and(|rest| rest.starts_with('/'))
}

#[async_trait]
impl ObjectStore for WithOutside {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        match is_outside(location) {
            true => Err(refused(location)),
            false => self.warehouse.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match is_outside(location) {
            true => Err(refused(location)),
            false => self.warehouse.put_multipart_opts(location, options).await,
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.outside.place(location) {
            Some((place, path)) => place.store.objects().get_opts(&path, options).await,
            None => self.warehouse.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.outside.place(location) {
            Some((place, path)) => place.store.objects().get_ranges(&path, ranges).await,
            None => self.warehouse.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let warehouse = Arc::clone(&self.warehouse);
        let deleted = locations.then(move |path| {
            let warehouse = Arc::clone(&warehouse);
            async move {
                let path = path?;
                if is_outside(&path) {
                    return Err(refused(&path));
                }
                let one = stream::once(async move { Ok(path) }).boxed();
                let mut deleted = warehouse.delete_stream(one);
                deleted.next().await.unwrap_or_else(|| {
                    Err(object_store::Error::NotImplemented {
                        operation: "delete".to_string(),
                        implementer: warehouse.to_string(),
                    })
                })
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.warehouse.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.warehouse.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.warehouse.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match is_outside(from) || is_outside(to) {
            true => Err(refused(to)),
            false => self.warehouse.copy_opts(from, to, options).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn world() -> (tempfile::TempDir, Store, Outside) {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Store::open_folder(&folder.path().join("old")).expect("a store");
        let except = vec![format!("{}/secret", place.url())];
        let lake = Store::open_folder(&folder.path().join("lake")).expect("a store");
        (folder, lake, Outside::new(vec![Place::new(place, except)]))
    }

    #[tokio::test]
    async fn files_beside_the_warehouse_are_read_and_nothing_else() {
        let (folder, lake, outside) = world();
        std::fs::write(folder.path().join("old/a.parquet"), b"content").expect("written");
        let location =
            format!("file://{}/old/a.parquet", folder.path().canonicalize().expect("a path").display());
        let path = outside.path(&location).expect("a path");
        assert_eq!(outside.location(&path), Some(location));
        let objects = outside.around(lake.objects());
        let read = objects.get(&path).await.expect("read").bytes().await.expect("bytes");
        assert_eq!(&read[..], b"content");
        assert_eq!(&objects.get_range(&path, 3..7).await.expect("read")[..], b"tent");
        assert_eq!(objects.head(&path).await.expect("there").size, 7);
        objects.delete(&path).await.expect_err("refused");
        objects.put(&path, PutPayload::from_static(b"other")).await.expect_err("refused");
        let own = Path::from("t/data/1.parquet");
        objects.put(&own, PutPayload::from_static(b"own")).await.expect("written");
        objects.copy(&path, &own).await.expect_err("refused");
        objects.delete(&own).await.expect("deleted");
        assert_eq!(std::fs::read(folder.path().join("old/a.parquet")).expect("still there"), b"content");
    }

    #[test]
    fn locations_elsewhere_have_no_path() {
        let (folder, _, outside) = world();
        let base = folder.path().canonicalize().expect("a path");
        let path = |rest: &str| outside.path(&format!("file://{}/{rest}", base.display()));
        assert!(path("old/sub/a.parquet").is_some());
        for other in [
            "old",
            "old/",
            "older/a.parquet",
            "old/secret/a.parquet",
            "old/secret",
            "old/../lake/x",
            "lake/x",
        ] {
            assert!(path(other).is_none(), "{other}");
        }
        assert!(outside.path("s3://bucket/old/a.parquet").is_none());
    }
}
