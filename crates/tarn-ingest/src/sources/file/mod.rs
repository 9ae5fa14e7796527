//! `file`: CSV, NDJSON and Parquet files of a folder or a bucket.
//!
//! Way of a row: `listing` finds files, `plan` decides which to read, `opener` opens them, `bytes` gives their bytes, `csv` and `lines`
//! split them, `text`, `sink` and `parquet` make rows, `reader` gives them with the state of `ledger` and `note`.

pub(crate) mod bytes;
pub(crate) mod config;
pub(crate) mod csv;
mod ledger;
pub(crate) mod lines;
pub(crate) mod listing;
mod note;
mod opener;
mod parquet;
mod plan;
mod reader;
mod sink;
pub(crate) mod text;

use std::sync::Arc;

use async_trait::async_trait;
use tarn_component::{ComponentSpec, Example, Stability, parse, schema_of};
use tarn_core::RequestContext;

pub use config::{BucketConfig, Compression, CsvConfig, FileConfig, FileFormat, OnRewrite};

use crate::error::IngestError;
use crate::records::plain_table;
use crate::source::{CheckReport, CheckStep, Connector, Resume, Source, SourceSpec};
use listing::Listing;
use opener::Opener;
use reader::FileSource;

const CSV: Example = Example {
    title: "All CSV files of a folder, and new ones as they come",
    config: "
path: data/orders/*.csv
table: orders
key: [id]
csv: { null: ['', 'NA'] }
",
};

const EVENTS: Example = Example {
    title: "Compressed NDJSON with fixed columns, read once",
    config: "
path: /data/events/**/*.ndjson.gz
watch: false
schema:
  - { name: at, type: timestamptz }
  - { name: user, type: string }
  - { name: amount, type: 'decimal(18,2)' }
",
};

const BUCKET: Example = Example {
    title: "Parquet files of a bucket",
    config: "
path: s3://lake/events/*.parquet
poll: 30s
s3:
  endpoint: http://127.0.0.1:9000
  access_key_id: reader
  secret_access_key: { secret: lake_key }
  allow_http: true
",
};

/// The family member.
pub static SPEC: SourceSpec = SourceSpec {
    component: ComponentSpec {
        name: "file",
        title: "Files (CSV, NDJSON, Parquet)",
        title_zh: "文件（CSV、NDJSON、Parquet）",
        summary: "Reads files of a folder or a bucket, and goes on with new and appended ones.",
        summary_zh: "读取文件夹或存储桶中的文件，并持续读取新增和追加的内容。",
        category: "file",
        stability: Stability::Beta,
        config: schema_of::<FileConfig>,
        examples: &[CSV, EVENTS, BUCKET],
        docs: "Files are read oldest first. Appended CSV and NDJSON files are read on, whole lines only; an unfinished \
               last line of a local file is waited for ten seconds. A file whose read part changed is reported, not \
               read again, unless `on_rewrite: reread`. The schema comes from the first rows of the first file and \
               stays; a value that does not fit makes a dead letter with file and line. A file that cannot be read \
               makes one dead letter and is tried again when it changes.",
    },
    build: |context, config| {
        let config: FileConfig = parse(config)?;
        config::check(&config)?;
        let listing = Listing::new(&config, &context.project)?;
        let table = plain_table(config.table.as_deref().unwrap_or(context.name.as_str()));
        Ok(Arc::new(File(Opener { config, listing, env: context.env, table })))
    },
};

#[derive(Debug)]
struct File(Opener);

impl File {
    /// Reads the first rows of the first file.
    async fn try_first(&self, file: &listing::FileInfo) -> Result<String, IngestError> {
        let config = FileConfig { watch: false, ..self.0.config.clone() };
        let opener = Opener { config, listing: self.0.listing.only(file), ..self.0.clone() };
        let mut source = FileSource::new(opener, &Resume::default())?;
        reader::first_rows(&mut source).await
    }
}

#[async_trait]
impl Connector for File {
    async fn check(&self, _: &RequestContext) -> CheckReport {
        let mut report = CheckReport { steps: Vec::new(), tables: Vec::new() };
        let files = self.0.listing.files().await;
        let found = match &files {
            Ok(files) if files.is_empty() => Err(IngestError::config(
                "path",
                format!("no file matches `{}`", self.0.config.path),
                "check the path; a source with `watch: true` waits for files",
            )),
            Ok(files) => Ok(files.len()),
            Err(_) => Ok(0),
        };
        match &files {
            Err(_) => report.steps.push(CheckStep::of("list files", &files, |_| String::new())),
            Ok(_) => report.steps.push(CheckStep::of("list files", &found, |count| format!("{count} files"))),
        }
        if let Ok(files) = &files
            && let Some(first) = files.first()
        {
            let name = format!("read {}", self.0.listing.shown(&first.path));
            report.steps.push(CheckStep::of(name, &self.try_first(first).await, Clone::clone));
            report.tables.push(self.0.table.clone());
        }
        report
    }

    async fn open(&self, _: &RequestContext, resume: Resume) -> Result<Box<dyn Source>, IngestError> {
        Ok(Box::new(FileSource::new(self.0.clone(), &resume)?))
    }

    async fn remove(&self, _: &RequestContext) -> Result<(), IngestError> {
        Ok(())
    }
}
