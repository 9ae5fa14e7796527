//! Which files a path with wildcards names.

use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};
use tarn_storage::{StorageError, Store};

use super::config::FileConfig;
use crate::error::IngestError;

const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A store and the files of it that are meant.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) store: Store,
    /// The path's parts up to the first wildcard; within the store.
    base: Path,
    /// What stands behind `base`; empty for one file or all files below a folder.
    rest: Vec<String>,
    pattern: Option<Pattern>,
}

/// A file as it was listed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FileInfo {
    pub(crate) path: Path,
    pub(crate) size: u64,
    /// Microseconds since 1970 UTC.
    pub(crate) modified_us: i64,
    /// Changes whenever the content may have changed.
    pub(crate) tag: u64,
    /// For reading several ranges of one content.
    pub(crate) e_tag: Option<String>,
}

/// What a store says about a file.
pub(crate) fn info_of(store: &Store, meta: ObjectMeta) -> FileInfo {
    let modified_us = meta.last_modified.timestamp_micros();
    let mut tag = crate::records::Fingerprint::new().add(&meta.size.to_le_bytes());
    let is_local = store.folder().is_some();
    match &meta.e_tag {
        // A local tag holds the inode, which a copy changes.
        Some(e_tag) if !is_local => tag = tag.add(e_tag.as_bytes()),
        _ => tag = tag.add(&modified_us.to_le_bytes()),
    }
    let e_tag = meta.e_tag.filter(|_| !is_local);
    FileInfo { path: meta.location, size: meta.size, modified_us, tag: tag.value(), e_tag }
}

fn is_wild(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

impl Listing {
    /// Errors: `InvalidConfig` for a path that cannot be one.
    pub(crate) fn new(config: &FileConfig, project: &std::path::Path) -> Result<Self, IngestError> {
        let wrong = |what: String| {
            IngestError::config("path", what, "write it like `data/*.csv` or `s3://bucket/*.csv`")
        };
        let (store, rest) = match config.path.split_once("://") {
            Some((scheme, rest)) if scheme != "file" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                let storage = config.s3.storage(&format!("{scheme}://{bucket}"));
                (Store::open(&storage, project)?, path.to_string())
            }
            _ => {
                let path = config.path.strip_prefix("file://").unwrap_or(&config.path);
                let full =
                    std::path::absolute(project.join(path)).map_err(|error| wrong(error.to_string()))?;
                let full = full.to_str().ok_or_else(|| wrong("it is not UTF-8".to_string()))?;
                (Store::open_folder(std::path::Path::new("/"))?, full.to_string())
            }
        };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(wrong("`..` is not allowed".to_string()));
        }
        let fixed = parts.iter().position(|part| is_wild(part)).unwrap_or(parts.len());
        let base = Path::parse(parts[..fixed].join("/")).map_err(|error| wrong(error.to_string()))?;
        let rest: Vec<String> = parts[fixed..].iter().map(ToString::to_string).collect();
        let pattern = match rest.is_empty() {
            true => None,
            false => Some(Pattern::new(&rest.join("/")).map_err(|error| wrong(error.to_string()))?),
        };
        Ok(Self { store, base, rest, pattern })
    }

    /// The folder or file that the path names; `None` for a path with wildcards.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.pattern.is_none().then_some(&self.base)
    }

    /// The same store with one file.
    pub(crate) fn only(&self, file: &FileInfo) -> Self {
        Self { store: self.store.clone(), base: file.path.clone(), rest: Vec::new(), pattern: None }
    }

    /// The file's place for people: its full location.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let location = self.store.location_of(path);
        location.strip_prefix("file://").map_or(location.clone(), str::to_string)
    }

    /// All files meant, oldest first; none if the folder is not there. Errors: the store's.
    pub(crate) async fn files(&self) -> Result<Vec<FileInfo>, IngestError> {
        let metas = match &self.pattern {
            None => self.one_or_below().await?,
            Some(pattern) => {
                let mut metas = Vec::new();
                self.descend(&mut metas).await?;
                metas.retain(|meta| {
                    self.relative(&meta.location).is_some_and(|r| pattern.matches_with(&r, OPTIONS))
                });
                metas
            }
        };
        let mut files: Vec<FileInfo> = metas.into_iter().map(|meta| info_of(&self.store, meta)).collect();
        files.sort_by(|a, b| (a.modified_us, &a.path).cmp(&(b.modified_us, &b.path)));
        Ok(files)
    }

    /// A file's path behind the first wildcard, or below the folder.
    pub(crate) fn relative(&self, path: &Path) -> Option<String> {
        let parts: Vec<String> =
            path.prefix_match(&self.base)?.map(|part| part.as_ref().to_string()).collect();
        Some(parts.join("/"))
    }

    async fn one_or_below(&self) -> Result<Vec<ObjectMeta>, IngestError> {
        if !self.base.is_root() {
            match self.store.head(&self.base).await {
                Ok(meta) => return Ok(vec![meta]),
                // A folder, or nothing.
                Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut metas: Vec<ObjectMeta> = self.store.list(&self.base).try_collect().await?;
        let hidden = |meta: &ObjectMeta| {
            self.relative(&meta.location)
                .is_some_and(|r| r.split('/').any(|part| part.starts_with(['.', '_'])))
        };
        metas.retain(|meta| !hidden(meta));
        Ok(metas)
    }

    /// Collects candidates level by level, so that `/data/*.csv` does not walk all folders below `/data`.
    async fn descend(&self, metas: &mut Vec<ObjectMeta>) -> Result<(), IngestError> {
        let mut folders = vec![(self.base.clone(), 0)];
        while let Some((folder, level)) = folders.pop() {
            let part = &self.rest[level];
            if part == "**" {
                metas.extend(self.store.list(&folder).try_collect::<Vec<_>>().await?);
                continue;
            }
            let last = level + 1 == self.rest.len();
            if !is_wild(part) && !last {
                folders.push((folder.join(part.as_str()), level + 1));
                continue;
            }
            let listed = match self.store.objects().list_with_delimiter(Some(&folder)).await {
                Err(object_store::Error::NotFound { .. }) => continue,
                listed => listed.map_err(|error| self.store.error(&folder, error))?,
            };
            if last {
                metas.extend(listed.objects);
                continue;
            }
            let wild =
                Pattern::new(part).map_err(|error| IngestError::config("path", error.to_string(), ""))?;
            let matching = listed
                .common_prefixes
                .into_iter()
                .filter(|folder| folder.filename().is_some_and(|name| wild.matches_with(name, OPTIONS)));
            folders.extend(matching.map(|folder| (folder, level + 1)));
        }
        Ok(())
    }
}
