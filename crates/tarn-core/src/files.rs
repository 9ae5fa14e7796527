//! Files that others wrote, as rows: what imports and queries ask of those who can read them.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::RequestContext;
use crate::fault::{Fault, FaultKind, FaultReport};

/// Why files cannot be found or read.
#[derive(Clone, Debug)]
pub struct FilesFault(pub FaultReport);

impl FilesFault {
    /// What the caller gave is wrong.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(FaultReport { kind: FaultKind::Invalid, message: message.into(), hint: Some(hint.into()) })
    }

    /// Of another fault.
    pub fn of(fault: &dyn Fault) -> Self {
        Self(FaultReport::of(fault))
    }
}

impl fmt::Display for FilesFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for FilesFault {}

impl Fault for FilesFault {
    fn kind(&self) -> FaultKind {
        self.0.kind
    }

    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// A file as it was listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Where it lies, such as `file:///data/a.csv` or `s3://bucket/a.csv`.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// Changes whenever the content may have changed.
    pub tag: u64,
    /// Values of the columns that folders such as `year=2024` name; `None` for null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<(String, Option<String>)>,
    /// What else reading it needs, as its format wants it: rows that are deleted, values that it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// How CSV files are written, found out or given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvShape {
    /// Whether the first line names the columns.
    pub header: bool,
    /// Between two fields.
    pub delimiter: String,
    /// Around a field that holds a delimiter or a line break.
    pub quote: String,
    /// Texts that stand for null.
    pub null: Vec<String>,
    /// How characters are written, such as `utf-8` or `gb18030`.
    pub encoding: String,
}

/// Which cells of a workbook are read, found out or given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcelShape {
    /// The sheet; of several workbooks that of the first one.
    pub sheet: String,
    /// Its cells, such as `A1:F`: all rows from the first one on.
    pub range: String,
    /// Whether the first row names the columns.
    pub header: bool,
    /// All sheets of the workbook.
    pub sheets: Vec<String>,
}

/// A column and why it has its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// Its type, such as `int64` or `decimal(18,2)`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Whether folders hold its values.
    pub from_path: bool,
    /// Values seen, without nulls.
    pub values: u64,
    /// Nulls seen.
    pub nulls: u64,
    /// The first distinct values.
    pub samples: Vec<String>,
    /// Why the type is not a narrower one.
    pub reason: Option<String>,
}

/// What was found out about files, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFiles {
    /// Such as `csv`.
    pub format: String,
    /// `gzip` or `none`.
    pub compression: String,
    /// Of a table: its version (Delta) or snapshot (Iceberg) that is read.
    #[serde(default)]
    pub version: Option<String>,
    /// Of CSV files.
    pub csv: Option<CsvShape>,
    /// Of Excel workbooks.
    #[serde(default)]
    pub excel: Option<ExcelShape>,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that were looked at.
    pub rows_seen: u64,
    /// The columns, in order.
    pub columns: Vec<FoundColumn>,
    /// The first rows, as they were read.
    pub sample_rows: Vec<Vec<Option<String>>>,
    /// What a person should know before going on.
    pub warnings: Vec<String>,
}

impl FoundFiles {
    /// Whether the columns' types were found out from texts, so that a table's own types may take their place.
    pub fn is_text(&self) -> bool {
        matches!(self.format.as_str(), "csv" | "json" | "excel")
    }
}

/// What a table of another lake says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTable {
    /// Its identifier, which stays when it moves.
    pub id: String,
    /// Columns, or transforms of them such as `day(at)`, by which it is partitioned.
    pub partition_by: Vec<String>,
    /// Its key columns.
    pub key: Vec<String>,
    /// Columns that are never null.
    pub required: Vec<String>,
    /// Comments of columns.
    pub comments: Vec<(String, String)>,
}

/// Files with everything that reading them needs.
#[derive(Clone, Debug)]
pub struct FilesPlan {
    /// The configuration with nothing left to find out.
    pub settled: Value,
    /// The columns of the rows.
    pub schema: SchemaRef,
    /// Names of the columns that folders hold.
    pub path_columns: Vec<String>,
    /// The files, by location.
    pub files: Vec<ListedFile>,
    /// The table that they are, if they are one.
    pub table: Option<FoundTable>,
    /// What was found out, for people.
    pub found: FoundFiles,
}

/// A record that cannot become a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// The file, for people.
    pub file: String,
    /// Its line, or its row where the file has no lines, from 1.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
    /// The record, cut to 2,000 characters.
    pub record: String,
}

/// Some records of a file.
#[derive(Clone, Debug)]
pub struct FileChunk {
    /// Rows.
    pub rows: RecordBatch,
    /// Records that became none.
    pub problems: Vec<FileProblem>,
    /// Records taken in, rows and problems.
    pub records: u64,
}

/// Reads one file.
#[async_trait]
pub trait FileReader: Send {
    /// The next records, or `None` at the end.
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault>;

    /// Bytes of the file taken in so far.
    fn bytes_read(&self) -> u64;
}

/// The bytes of text files, one file after the other.
#[async_trait]
pub trait FileTexts: Send {
    /// How many files there are.
    fn files(&self) -> usize;

    /// Opens the next file and returns its name for people, or `None` behind the last one.
    async fn next_file(&mut self) -> Result<Option<String>, FilesFault>;

    /// The next piece of the open file, decompressed, or `None` at its end.
    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, FilesFault>;
}

/// Those who can read files.
#[async_trait]
pub trait Files: Send + Sync + fmt::Debug {
    /// Lists the files of a configuration and finds out what it leaves open. Errors: no such files, a path that may not
    /// be read, a format that is not known, files that fit no schema.
    async fn plan(&self, ctx: &RequestContext, config: &Value) -> Result<FilesPlan, FilesFault>;

    /// Opens a file of a plan behind its first `skip` records. Errors: it changed since it was listed.
    async fn read(
        &self,
        ctx: &RequestContext,
        settled: &Value,
        file: &ListedFile,
        skip: u64,
    ) -> Result<Box<dyn FileReader>, FilesFault>;

    /// The bytes of the files of a configuration, for readers of another grammar. Errors: as of [`Files::plan`].
    async fn texts(&self, ctx: &RequestContext, config: &Value) -> Result<Box<dyn FileTexts>, FilesFault>;

    /// Files that were only sent to be read are not needed any more; others stay.
    async fn discard(&self, ctx: &RequestContext, settled: &Value);
}
