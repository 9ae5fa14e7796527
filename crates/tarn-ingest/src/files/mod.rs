//! Files as rows for imports and queries: listed like those of the source `file`, with what is not said found out.
//!
//! `config` is what is said, `shape` and `infer` find out the rest, `hive` reads folders, `text` gives records, `reader` makes
//! rows of them; `parquet`, `avro` and `orc` read files that bring their types, which `columns` brings together.
//! `excel` reads sheets of workbooks, `lake` tables of other lakes, which `delta` and `iceberg` find.

mod avro;
mod bytes;
mod columns;
mod config;
mod decode;
mod delta;
mod endpoints;
mod excel;
mod hive;
mod iceberg;
mod infer;
mod lake;
mod orc;
mod parquet;
mod plan;
mod reader;
mod samples;
mod shape;
mod text;
mod values;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use object_store::path::Path;
use serde_json::Value;
use tarn_core::files::{FileReader, FileTexts, Files, FilesFault, FilesPlan, ListedFile};
use tarn_core::{FaultKind, FaultReport, RequestContext, TenantId};
use tarn_storage::Store;

use crate::error::IngestError;
use crate::records::{ColumnConfig, schema_of_columns};
use crate::sources::file::config::Compression;
use crate::sources::file::listing::{FileInfo, info_of};
use config::{FilesConfig, FilesFormat};
pub use endpoints::{EndpointRules, IngestConfig};
use iceberg::Vended;
use lake::DeleteCache;
use reader::{TextPlan, TextReader};
use text::{TextRecords, bytes_of};

/// Begins the path of a file that was sent to the server.
pub const UPLOAD_SCHEME: &str = "upload://";

/// Where the files lie that a tenant sent to the server.
pub fn upload_folder(data: &FilePath, tenant: &TenantId) -> PathBuf {
    data.join("uploads").join(tenant.as_str())
}

/// Reads files of the machine, of buckets, and those that were sent to the server. What the server itself stores is refused.
#[derive(Clone, Debug)]
pub struct FileReaders {
    /// Relative paths lie in it.
    project: PathBuf,
    /// The server's own folder.
    data: PathBuf,
    endpoints: EndpointRules,
    /// Of an Excel workbook that is read.
    workbook_bytes_max: u64,
    /// Deletes of Iceberg tables that were read lately.
    deletes: Arc<DeleteCache>,
    /// Keys that catalogs gave out lately.
    vended: Arc<Vended>,
}

/// An open file.
pub(crate) struct OpenFile {
    pub(crate) store: Store,
    pub(crate) info: FileInfo,
    /// For people.
    pub(crate) shown: String,
}

fn storage(error: &tarn_storage::StorageError) -> FilesFault {
    FilesFault::of(error)
}

/// A location as people write it.
pub(crate) fn shown(location: &str) -> String {
    location.strip_prefix("file://").unwrap_or(location).to_string()
}

impl FileReaders {
    /// `project`: where relative paths begin; `data`: the server's own folder, of which nothing is read but uploads.
    pub fn new(project: PathBuf, data: PathBuf) -> Self {
        let (deletes, vended) = (Arc::default(), Arc::default());
        let workbook_bytes_max = IngestConfig::default().workbook_max.0;
        Self { project, data, endpoints: EndpointRules::default(), workbook_bytes_max, deletes, vended }
    }

    /// With workbooks up to so many bytes.
    pub fn with_workbook_max(mut self, bytes: u64) -> Self {
        self.workbook_bytes_max = bytes;
        self
    }

    /// With servers beside Amazon's that may be asked.
    pub fn with_endpoints(mut self, endpoints: EndpointRules) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// The path of an upload as a path of this machine; others as they are. Errors: it is none.
    fn path_of(&self, ctx: &RequestContext, path: &str) -> Result<String, FilesFault> {
        let Some(rest) = path.strip_prefix(UPLOAD_SCHEME) else { return Ok(path.to_string()) };
        let plain =
            |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['*', '?', '[', '\\']);
        let parts: Vec<&str> = rest.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| plain(part)) {
            return Err(FilesFault::invalid(
                format!("`{path}` is no upload"),
                "upload the file, then import its `path`",
            ));
        }
        let folder = upload_folder(&self.data, &ctx.tenant);
        let folder =
            std::path::absolute(folder).map_err(|error| FilesFault::invalid(error.to_string(), ""))?;
        folder
            .join(rest)
            .to_str()
            .map(str::to_string)
            .ok_or_else(|| FilesFault::invalid("the path is not UTF-8", ""))
    }

    /// Errors: a file of the server itself.
    fn check_place(&self, ctx: &RequestContext, location: &str) -> Result<(), FilesFault> {
        let Some(path) = location.strip_prefix("file://") else { return Ok(()) };
        let real = |path: &FilePath| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let path = real(FilePath::new(path));
        if path.starts_with(real(&self.data))
            && !path.starts_with(real(&upload_folder(&self.data, &ctx.tenant)))
        {
            return Err(FilesFault(FaultReport {
                kind: FaultKind::Denied,
                message: format!("`{}` belongs to the server itself", path.display()),
                hint: Some("tables are read by SQL".to_string()),
            }));
        }
        Ok(())
    }

    /// The store of a location.
    pub(crate) fn store_of(&self, config: &FilesConfig, location: &str) -> Result<Store, FilesFault> {
        let store = match location.split_once("://") {
            Some((scheme, rest)) if scheme != "file" => {
                let bucket = rest.split('/').next().unwrap_or(rest);
                Store::open(&config.s3.storage(&format!("{scheme}://{bucket}")), &self.project)
            }
            _ => Store::open_folder(FilePath::new("/")),
        };
        store.map_err(|error| storage(&error))
    }

    /// Opens a listed file as it was listed. Errors: it changed or is gone.
    pub(crate) async fn open(
        &self,
        ctx: &RequestContext,
        config: &FilesConfig,
        file: &ListedFile,
    ) -> Result<OpenFile, FilesFault> {
        self.check_place(ctx, &file.location)?;
        let store = self.store_of(config, &file.location)?;
        let path: Path = store.path_of(&file.location).map_err(|error| storage(&error))?;
        let meta = store.head(&path).await.map_err(|error| storage(&error))?;
        let info = info_of(&store, meta);
        let shown = shown(&file.location);
        if info.tag != file.tag || info.size != file.bytes {
            return Err(FilesFault(FaultReport {
                kind: FaultKind::Invalid,
                message: format!("`{shown}` was changed after the import was planned"),
                hint: Some("start a new import, or put the file back as it was".to_string()),
            }));
        }
        Ok(OpenFile { store, info, shown })
    }
}

/// The text of one file.
pub(crate) fn records_of(
    open: &OpenFile,
    config: &FilesConfig,
    (format, compression): (FilesFormat, Compression),
) -> Result<TextRecords, FilesFault> {
    let bytes = bytes_of(&open.store, &open.info, compression);
    TextRecords::new(bytes, open.shown.clone(), format, &config.csv.filled(), config.csv.encoding.as_deref())
}

/// Opens a file that brings its types.
async fn typed(
    format: FilesFormat,
    open: OpenFile,
    constants: Vec<(FieldRef, ArrayRef)>,
    skip: u64,
) -> Result<Box<dyn FileReader>, FilesFault> {
    Ok(match format {
        FilesFormat::Avro => Box::new(avro::AvroReader::open(open, constants, skip).await?),
        FilesFormat::Orc => Box::new(orc::open(open, constants, skip).await?),
        _ => {
            Box::new(parquet::ParquetReader::open(open.shown, open.store, open.info, constants, skip).await?)
        }
    })
}

#[async_trait]
impl Files for FileReaders {
    async fn plan(&self, ctx: &RequestContext, config: &Value) -> Result<FilesPlan, FilesFault> {
        let config = FilesConfig::parse(config)?;
        self.endpoints.check_config(&config)?;
        Box::pin(plan::plan(self, ctx, config)).await
    }

    async fn read(
        &self,
        ctx: &RequestContext,
        settled: &Value,
        file: &ListedFile,
        skip: u64,
    ) -> Result<Box<dyn FileReader>, FilesFault> {
        let config = FilesConfig::parse(settled)?;
        self.endpoints.check_config(&config)?;
        let config = iceberg::with_credentials(self, ctx, config).await?;
        // A catalog may have named another server.
        self.endpoints.check_config(&config)?;
        if let Some(lake) = &config.lake {
            return Box::pin(lake::open(self, ctx, (&config, lake), file, skip)).await;
        }
        let kind = config.kind_of(&file.location)?;
        let open = self.open(ctx, &config, file).await?;
        let constants = config.path_columns.iter().map(|column| hive::constant(file, column));
        let constants = constants.collect::<Result<Vec<_>, _>>()?;
        let path_schema = schema_of_columns(&config.path_columns);
        if !kind.0.is_text() && kind.0 != FilesFormat::Excel {
            let constants = path_schema.fields().iter().cloned().zip(constants).collect();
            return typed(kind.0, open, constants, skip).await;
        }
        let own = |column: &&ColumnConfig| config.path_columns.iter().all(|path| path.name != column.name);
        let columns: Vec<ColumnConfig> = config.schema.iter().filter(own).cloned().collect();
        let all: Vec<ColumnConfig> = columns.iter().chain(&config.path_columns).cloned().collect();
        let csv = config.csv.filled();
        let plan = TextPlan {
            file: open.shown.clone(),
            columns,
            constants,
            schema: schema_of_columns(&all),
            header: kind.0 == FilesFormat::Csv && csv.header,
            nulls: csv.null,
            shadowed: config.path_columns.iter().map(|column| column.name.clone()).collect(),
        };
        if kind.0 == FilesFormat::Excel {
            let max = self.workbook_bytes_max;
            return Ok(Box::new(excel::ExcelReader::open(open, &config.excel, max, plan, skip).await?));
        }
        let records = records_of(&open, &config, kind)?;
        Ok(Box::new(TextReader::new(records, plan, skip)))
    }

    async fn texts(&self, ctx: &RequestContext, config: &Value) -> Result<Box<dyn FileTexts>, FilesFault> {
        let config = FilesConfig::parse(config)?;
        self.endpoints.check_config(&config)?;
        let files = Box::pin(plan::list_all(self, ctx, &config)).await?;
        match files.is_empty() {
            true => Err(plan::nothing(&config.path)),
            false => Ok(Box::new(bytes::Texts::new(self.clone(), ctx.clone(), config, files))),
        }
    }

    async fn discard(&self, ctx: &RequestContext, settled: &Value) {
        let Some(path) = settled.get("path").and_then(Value::as_str) else { return };
        let Some(rest) = path.strip_prefix(UPLOAD_SCHEME) else { return };
        let Some(id) = rest.split('/').next().filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()))
        else {
            return;
        };
        if !id.is_empty() && self.path_of(ctx, path).is_ok() {
            // What stays is removed when it is old.
            drop(std::fs::remove_dir_all(upload_folder(&self.data, &ctx.tenant).join(id)));
        }
    }
}

impl From<IngestError> for FilesFault {
    fn from(error: IngestError) -> Self {
        Self::of(&error)
    }
}
