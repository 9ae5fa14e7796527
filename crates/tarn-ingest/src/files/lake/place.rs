//! Where a table of another lake lies, and which files may belong to it.
//!
//! Who names a table trusts its folder, and not what its metadata may point to: files elsewhere are read only if their
//! folder is named too.

use std::path::Path as FilePath;

use bytes::Bytes;
use futures::StreamExt;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tarn_core::files::FilesFault;
use tarn_core::{FaultKind, FaultReport, RequestContext};
use tarn_storage::Store;

use crate::files::config::FilesConfig;
use crate::files::{FileReaders, OpenFile, shown};
use crate::sources::file::listing::{Listing, info_of};

/// Metadata larger than this is no metadata.
pub(crate) const METADATA_BYTES_MAX: u64 = 2 << 30;

/// A folder with a table.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) base: Path,
}

impl Place {
    /// Where a configuration points to; `None` for what can be no folder of a table. Errors: it belongs to the server.
    pub(crate) fn of(
        files: &FileReaders,
        ctx: &RequestContext,
        config: &FilesConfig,
    ) -> Result<Option<Self>, FilesFault> {
        if config.path.starts_with(crate::files::UPLOAD_SCHEME) {
            return Ok(None);
        }
        let listing = Listing::new(&config.listing(config.path.trim().to_string()), &files.project)?;
        let Some(base) = listing.named().cloned() else { return Ok(None) };
        let place = Self { store: listing.store, base };
        files.check_place(ctx, &place.location())?;
        Ok(Some(place))
    }

    /// The folder's location.
    pub(crate) fn location(&self) -> String {
        self.store.location_of(&self.base).trim_end_matches('/').to_string()
    }

    /// A path below the folder. Errors: it leads out.
    pub(crate) fn below(&self, relative: &str) -> Result<Path, FilesFault> {
        let whole = match self.base.as_ref() {
            "" => relative.to_string(),
            base => format!("{base}/{relative}"),
        };
        Path::parse(&whole).map_err(|error| {
            FilesFault::invalid(
                format!("`{relative}` is no path of a file: {error}"),
                "repair the table's metadata",
            )
        })
    }

    /// Whether there is anything in a folder below.
    pub(crate) async fn has(&self, folder: &str) -> Result<bool, FilesFault> {
        let folder = self.below(folder)?;
        let first = self.store.list(&folder).next().await;
        first.transpose().map(|first| first.is_some()).map_err(|error| FilesFault::of(&error))
    }

    /// Names and sizes of the files right in a folder below.
    pub(crate) async fn files_in(&self, folder: &str) -> Result<Vec<object_store::ObjectMeta>, FilesFault> {
        let folder = self.below(folder)?;
        match self.store.objects().list_with_delimiter(Some(&folder)).await {
            Ok(listed) => Ok(listed.objects),
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(FilesFault::of(&self.store.error(&folder, error))),
        }
    }

    /// The content of a file below.
    pub(crate) async fn read(&self, path: &Path) -> Result<Bytes, FilesFault> {
        self.store.get(path).await.map_err(|error| FilesFault::of(&error))
    }
}

/// A location in the one form that is compared: `file:///a`, `s3://b/c`, without a slash at the end.
pub(crate) fn normal(location: &str, project: &FilePath) -> Result<String, FilesFault> {
    let wrong = |why: &str| {
        FilesFault::invalid(format!("`{location}` {why}"), "name a folder of the machine, or `s3://bucket/…`")
    };
    let local = |path: &str| {
        let full = std::path::absolute(project.join(path)).map_err(|error| wrong(&error.to_string()))?;
        full.to_str().map(|full| format!("file://{full}")).ok_or_else(|| wrong("is not UTF-8"))
    };
    let plain = match location.split_once(':') {
        Some(("file", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.strip_prefix("localhost/").map_or(path.to_string(), |rest| format!("/{rest}"));
            if !path.starts_with('/') {
                return Err(wrong("names another machine"));
            }
            local(&path)?
        }
        Some(("s3" | "s3a" | "s3n", rest)) => {
            let rest = rest.strip_prefix("//").ok_or_else(|| wrong("lacks a bucket"))?;
            format!("s3://{}", rest.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
        }
        Some((scheme, rest)) if rest.starts_with("//") || rest.starts_with('/') => {
            return Err(wrong(&format!("is in a place of kind `{scheme}`, which is not read")));
        }
        _ => local(location)?,
    };
    if plain.split('/').any(|part| part == "..") {
        return Err(wrong("holds `..`"));
    }
    Ok(plain.trim_end_matches('/').to_string())
}

/// Folders in which files of a table may lie.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Roots(pub(crate) Vec<String>);

impl Roots {
    /// The table's own folder and those that were named beside it. Errors: one that is none.
    pub(crate) fn new(
        own: Option<String>,
        config: &FilesConfig,
        project: &FilePath,
    ) -> Result<Self, FilesFault> {
        let named = config.locations.iter().map(|location| normal(location, project));
        own.map(Ok).into_iter().chain(named).collect::<Result<_, _>>().map(Self)
    }

    /// Errors: a location, in its normal form, in none of the folders.
    pub(crate) fn check(&self, location: &str) -> Result<(), FilesFault> {
        let holds =
            |root: &String| location.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if self.0.iter().any(holds) {
            return Ok(());
        }
        Err(outside(location))
    }

    /// Errors: a file of this machine that a link puts elsewhere.
    fn check_links(&self, location: &str) -> Result<(), FilesFault> {
        let Some(path) = location.strip_prefix("file://") else { return Ok(()) };
        let Ok(real) = std::fs::canonicalize(path) else { return Ok(()) };
        let root = |root: &String| {
            let root = root.strip_prefix("file://").and_then(|root| std::fs::canonicalize(root).ok());
            root.is_some_and(|root| real.starts_with(root))
        };
        if self.0.iter().any(root) { Ok(()) } else { Err(outside(location)) }
    }
}

fn outside(location: &str) -> FilesFault {
    FilesFault(FaultReport {
        kind: FaultKind::Denied,
        message: format!(
            "the table's metadata names `{}`, which does not lie in its folder",
            shown(location)
        ),
        hint: Some(
            "if that is right, name the folder too: `--location`, or `locations` of the request".to_string(),
        ),
    })
}

/// Opens a file of a table. `bytes`: its size, where that is known. Errors: it may not be read, or is another one now.
pub(crate) async fn open_at(
    files: &FileReaders,
    ctx: &RequestContext,
    (config, roots): (&FilesConfig, &Roots),
    location: &str,
    bytes: Option<u64>,
) -> Result<OpenFile, FilesFault> {
    roots.check(location)?;
    roots.check_links(location)?;
    files.check_place(ctx, location)?;
    let store = files.store_of(config, location)?;
    let path = store.path_of(location).map_err(|error| FilesFault::of(&error))?;
    let meta = store.head(&path).await.map_err(|error| FilesFault::of(&error))?;
    let info = info_of(&store, meta);
    let shown = shown(location);
    if let Some(bytes) = bytes.filter(|bytes| *bytes != info.size) {
        return Err(FilesFault::invalid(
            format!("`{shown}` has {} bytes, and {bytes} according to the table's metadata", info.size),
            "the file was replaced or cut; repair the table there",
        ));
    }
    Ok(OpenFile { store, info, shown })
}

/// The content of a file of a table's metadata.
pub(crate) async fn read_at(
    files: &FileReaders,
    ctx: &RequestContext,
    within: (&FilesConfig, &Roots),
    location: &str,
) -> Result<Bytes, FilesFault> {
    let open = open_at(files, ctx, within, location, None).await?;
    if open.info.size > METADATA_BYTES_MAX {
        let what = format!("`{}` has {} bytes, too many for metadata", open.shown, open.info.size);
        return Err(FilesFault::invalid(what, "check the path"));
    }
    open.store.get(&open.info.path).await.map_err(|error| FilesFault::of(&error))
}

/// A part of a file.
pub(crate) async fn read_part(open: &OpenFile, offset: u64, bytes: u64) -> Result<Bytes, FilesFault> {
    let end = offset.saturating_add(bytes);
    if end > open.info.size {
        return Err(crate::files::text::broken(&open.shown, "it ends before what the table says it holds"));
    }
    let part = open.store.objects().get_range(&open.info.path, offset..end).await;
    part.map_err(|error| FilesFault::of(&open.store.error(&open.info.path, error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_have_one_form() {
        let project = FilePath::new("/p");
        for (location, expected) in [
            ("file:/a/b", Some("file:///a/b")),
            ("file:///a/b/", Some("file:///a/b")),
            ("file://localhost/a", Some("file:///a")),
            ("/a/b", Some("file:///a/b")),
            ("a", Some("file:///p/a")),
            ("s3a://b//c/", Some("s3://b/c")),
            ("file://host/a", None),
            ("/a/../etc", None),
            ("s3://b/../c", None),
            ("hdfs://n/a", None),
            ("http:/x", None),
        ] {
            assert_eq!(normal(location, project).ok().as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn only_files_in_named_folders_belong_to_a_table() {
        let roots = Roots(vec!["file:///lake/t".into(), "s3://b/base".into()]);
        for inside in ["file:///lake/t/x", "s3://b/base/y/z"] {
            assert!(roots.check(inside).is_ok(), "{inside}");
        }
        for outside in
            ["file:///lake/t2/x", "file:///etc/passwd", "s3://b/other", "s3://b/base", "file:///lake/t"]
        {
            let refused = roots.check(outside).expect_err(outside);
            assert_eq!(refused.0.kind, FaultKind::Denied);
        }
    }
}
