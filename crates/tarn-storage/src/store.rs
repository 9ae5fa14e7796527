//! One folder or bucket prefix.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};

use crate::config::StorageConfig;
use crate::delegate::Bucket;
use crate::error::StorageError;
use crate::local::{self, Replace};

/// How long a request to S3 may take with all its repetitions before it is an error.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// An object store that begins at a URL: its paths are relative to [`Store::url`]. Cheap to clone.
///
/// Names are stored as they are. Make paths of names with `Path::parse`, since `Path::from` percent-encodes all but
/// ASCII.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: Arc<str>,
    local: Option<Arc<LocalFolder>>,
    bucket: Option<Arc<Bucket>>,
}

/// A local store's folder, for writes that must survive a power cut.
struct LocalFolder {
    files: LocalFileSystem,
    folder: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.url)
    }
}

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

const S3_SCHEMES: [&str; 3] = ["s3", "s3a", "s3n"];

fn target_of(url: &str, base: &FilePath) -> Result<Target, StorageError> {
    let bad = |what: &str| StorageError::InvalidLocation { url: url.to_string(), what: what.to_string() };
    let Some((scheme, rest)) = url.split_once("://") else {
        let path = url.strip_prefix("file:").unwrap_or(url);
        if path.is_empty() {
            return Err(bad("is empty"));
        }
        return Ok(Target::Folder(base.join(path)));
    };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(bad("names a host; a local folder starts with `file:///`"));
            }
            Ok(Target::Folder(PathBuf::from(path)))
        }
        scheme if S3_SCHEMES.contains(&scheme) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains(['@', '?', '#', ':']) {
                return Err(bad("lacks a bucket"));
            }
            Ok(Target::Bucket { bucket: bucket.to_string(), prefix: prefix.trim_matches('/').to_string() })
        }
        _ => Err(bad("has an unknown scheme")),
    }
}

impl Store {
    /// Opens a store. A local folder is made if it is missing; a bucket must exist and is not contacted here (see
    /// [`Store::check`]). `base`: the folder against which a relative `url` is resolved.
    /// Errors: `InvalidLocation`, `InvalidConfig`; `Io` for a folder that cannot be made.
    pub fn open(config: &StorageConfig, base: &FilePath) -> Result<Self, StorageError> {
        match target_of(&config.url, base)? {
            Target::Folder(folder) => Self::open_folder(&folder),
            Target::Bucket { bucket, prefix } => Self::open_bucket(config, &bucket, &prefix),
        }
    }

    /// A store over objects that are reached in another way, such as through a cache. `url`: where they begin, without
    /// a slash at the end. Objects must be durable once they are written.
    pub fn over(objects: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self { objects, url: url.into(), local: None, bucket: None }
    }

    /// Opens a local folder, made if it is missing.
    pub fn open_folder(folder: &FilePath) -> Result<Self, StorageError> {
        let absolute =
            std::path::absolute(folder).map_err(|error| StorageError::io("find", folder, error))?;
        local::create_folder(&absolute)?;
        let folder = absolute.canonicalize().map_err(|error| StorageError::io("find", &absolute, error))?;
        let Some(text) = folder.to_str() else {
            let url = folder.display().to_string();
            return Err(StorageError::InvalidLocation { url, what: "is not UTF-8".to_string() });
        };
        let url: Arc<str> = format!("file://{}", text.trim_end_matches('/')).into();
        let open = || LocalFileSystem::new_with_prefix(&folder);
        let files = open().map_err(|error| StorageError::of(&*url, error))?;
        let objects = Arc::new(open().map_err(|error| StorageError::of(&*url, error))?);
        Ok(Self { objects, url, local: Some(Arc::new(LocalFolder { files, folder })), bucket: None })
    }

    fn open_bucket(config: &StorageConfig, bucket: &str, prefix: &str) -> Result<Self, StorageError> {
        let wrong = |what: &str, advice: &str| {
            Err(StorageError::InvalidConfig { what: what.to_string(), advice: advice.to_string() })
        };
        let mut builder = match (&config.access_key_id, &config.secret_access_key) {
            (Some(id), Some(secret)) => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.expose())
            }
            (None, None) => AmazonS3Builder::from_env(),
            (Some(_), None) => return wrong("`secret_access_key` is missing", "set both keys, or none"),
            (None, Some(_)) => return wrong("`access_key_id` is missing", "set both keys, or none"),
        };
        if let Some(endpoint) = &config.endpoint {
            if endpoint.starts_with("http://") && !config.allow_http {
                return wrong("`endpoint` is plain HTTP", "set `allow_http: true`, or use an https address");
            }
            if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
                return wrong("`endpoint` lacks its scheme", "write it like `https://host:9000`");
            }
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(token) = &config.session_token {
            builder = builder.with_token(token.expose());
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        } else if builder.get_config_value(&AmazonS3ConfigKey::Region).is_none() {
            builder = builder.with_region("us-east-1");
        }
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
        let url: Arc<str> = format!("s3://{}", join(bucket, prefix)).into();
        let client = ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT);
        let store = builder
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(config.virtual_hosted)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig {
                max_retries: 5,
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            })
            .with_client_options(client.with_allow_http(config.allow_http))
            .build()
            .map_err(|error| StorageError::InvalidConfig {
                what: tarn_core::chain_text(&error),
                advice: "see `[storage]` in the reference".to_string(),
            })?;
        let region = region.unwrap_or_else(|| "us-east-1".to_string());
        let bucket = Bucket {
            name: bucket.to_string(),
            region,
            endpoint: config.endpoint.as_ref().map(|endpoint| endpoint.trim_end_matches('/').to_string()),
            virtual_hosted: config.virtual_hosted,
            allow_http: config.allow_http,
            keys: Arc::clone(store.credentials()),
        };
        let objects: Arc<dyn ObjectStore> = if prefix.is_empty() {
            Arc::new(store)
        } else {
            let prefix = Path::parse(prefix).map_err(|error| StorageError::of(&*url, error.into()))?;
            Arc::new(PrefixStore::new(store, prefix))
        };
        Ok(Self { objects, url, local: None, bucket: Some(Arc::new(bucket)) })
    }

    /// The bucket, unless the store is a folder.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_deref()
    }

    /// Where the store begins, without a slash at the end: `file:///data/lake` or `s3://bucket/prefix`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The objects; paths are relative to [`Store::url`].
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The folder of a local store.
    pub fn folder(&self) -> Option<&FilePath> {
        self.local.as_ref().map(|local| local.folder.as_path())
    }

    /// The full location of a path, as written in table metadata.
    pub fn location_of(&self, path: &Path) -> String {
        join(&self.url, path.as_ref())
    }

    /// The path of a full location, the inverse of [`Store::location_of`]. `file:/a`, `file:///a` and `s3a://` forms
    /// of other writers are read too. Errors: `InvalidLocation` for one outside this store.
    pub fn path_of(&self, location: &str) -> Result<Path, StorageError> {
        let bad = |what: String| StorageError::InvalidLocation { url: location.to_string(), what };
        let normal = match target_of(location, FilePath::new("/"))? {
            Target::Folder(path) => format!("file://{}", path.display()),
            Target::Bucket { bucket, prefix } => format!("s3://{}", join(&bucket, &prefix)),
        };
        let inside = normal.strip_prefix(&*self.url).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let rest = inside.ok_or_else(|| bad(format!("is not in {}", self.url)))?;
        Path::parse(rest).map_err(|error| bad(format!("is not a valid path: {error}")))
    }

    /// A store that begins at a folder of this one.
    pub fn at(&self, path: &Path) -> Result<Self, StorageError> {
        if let Some(local) = &self.local {
            return Self::open_folder(&local.folder.join(path.as_ref()));
        }
        let objects = Arc::new(PrefixStore::new(Arc::clone(&self.objects), path.clone()));
        Ok(Self { objects, url: self.location_of(path).into(), local: None, bucket: self.bucket.clone() })
    }

    /// Reads a whole object. Errors: `NotFound` and those of the store.
    pub async fn get(&self, path: &Path) -> Result<Bytes, StorageError> {
        let read = async { self.objects.get(path).await?.bytes().await };
        read.await.map_err(|error| self.error(path, error))
    }

    /// Size, time and tag of an object. Errors: `NotFound` and those of the store.
    pub async fn head(&self, path: &Path) -> Result<ObjectMeta, StorageError> {
        self.objects.head(path).await.map_err(|error| self.error(path, error))
    }

    /// Writes or replaces an object; it is durable and whole when this returns, old or new after a crash.
    pub async fn put_durable(&self, path: &Path, bytes: impl Into<PutPayload>) -> Result<(), StorageError> {
        self.put(path, bytes.into(), Replace::Yes).await
    }

    /// Writes an object that must not exist; durable when this returns. Of several writers exactly one succeeds.
    /// Errors: `AlreadyExists`.
    pub async fn put_if_absent(&self, path: &Path, bytes: impl Into<PutPayload>) -> Result<(), StorageError> {
        self.put(path, bytes.into(), Replace::No).await
    }

    async fn put(&self, path: &Path, payload: PutPayload, replace: Replace) -> Result<(), StorageError> {
        let Some(local) = &self.local else {
            let mode = if replace == Replace::No { PutMode::Create } else { PutMode::Overwrite };
            return match self.objects.put_opts(path, payload, mode.into()).await {
                Ok(_) => Ok(()),
                // S3 says `Precondition` where a local store says `AlreadyExists`.
                Err(object_store::Error::Precondition { .. }) if replace == Replace::No => {
                    Err(StorageError::AlreadyExists { location: self.location_of(path) })
                }
                Err(error) => Err(self.error(path, error)),
            };
        };
        let file = local.files.path_to_filesystem(path).map_err(|error| self.error(path, error))?;
        let parts: Vec<Bytes> = payload.into_iter().collect();
        let location = self.location_of(path);
        blocking(move || local::write_durable(&file, &parts, replace)).await.map_err(|error| match error {
            StorageError::AlreadyExists { .. } => StorageError::AlreadyExists { location },
            other => other,
        })
    }

    /// Makes an object that was written through [`Store::objects`] durable. S3 is durable by itself.
    pub async fn sync(&self, path: &Path) -> Result<(), StorageError> {
        let Some(local) = &self.local else { return Ok(()) };
        let file = local.files.path_to_filesystem(path).map_err(|error| self.error(path, error))?;
        blocking(move || local::sync_file(&file)).await
    }

    /// Removes an object; one that is gone already is no error.
    pub async fn delete(&self, path: &Path) -> Result<(), StorageError> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(path, error)),
        }
    }

    /// All objects under a folder, in no order; none if there is no such folder.
    pub fn list(&self, folder: &Path) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let location = self.location_of(folder);
        let stream = self.objects.list(Some(folder));
        Box::pin(stream.map_err(move |error| StorageError::of(location.clone(), error)))
    }

    /// Tries a listing, and with `write` also a write, a read and a removal. Errors: the first that failed.
    pub async fn check(&self, write: bool) -> Result<(), StorageError> {
        let listing = self.objects.list_with_delimiter(None).await;
        listing.map_err(|error| self.error(&Path::default(), error))?;
        if write {
            let probe = Path::from(format!(".tarn-check-{}", std::process::id()));
            self.put_durable(&probe, Bytes::from_static(b"tarn")).await?;
            self.get(&probe).await?;
            self.delete(&probe).await?;
        }
        Ok(())
    }

    /// Names what an error of `object_store` at a path of this store means.
    pub fn error(&self, path: &Path, error: object_store::Error) -> StorageError {
        StorageError::of(self.location_of(path), error)
    }
}

fn join(left: &str, right: &str) -> String {
    if right.is_empty() { left.to_string() } else { format!("{left}/{right}") }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_folders_and_buckets() {
        let base = FilePath::new("/data");
        let folder = |path: &str| Target::Folder(PathBuf::from(path));
        for (url, expected) in [
            ("lake", "/data/lake"),
            ("/lake", "/lake"),
            ("file:///a b/湖", "/a b/湖"),
            ("file:/a", "/a"),
            ("file://localhost/a", "/a"),
        ] {
            assert_eq!(target_of(url, base).expect(url), folder(expected));
        }
        for url in ["s3://lake/a/b/", "s3a://lake/a/b"] {
            let bucket = Target::Bucket { bucket: "lake".to_string(), prefix: "a/b".to_string() };
            assert_eq!(target_of(url, base).expect(url), bucket);
        }
        for url in ["", "s3://", "ftp://host/a", "file://host/a"] {
            assert!(target_of(url, base).is_err(), "{url}");
        }
    }

    #[test]
    fn half_a_key_and_plain_http_are_refused() {
        let mut config = StorageConfig::at("s3://lake");
        config.access_key_id = Some("id".to_string());
        let error = Store::open(&config, FilePath::new("/")).expect_err("half a key");
        assert!(error.to_string().contains("`secret_access_key` is missing"), "{error}");
        let mut config = StorageConfig::at("s3://lake");
        config.endpoint = Some("http://127.0.0.1:1".to_string());
        assert!(Store::open(&config, FilePath::new("/")).is_err());
    }
}
