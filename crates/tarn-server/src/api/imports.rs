use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is imported into which table. Without `dry_run` the import begins.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportRequest {
    /// Files: a path in the project folder, an absolute one, `s3://…`, or what an upload answered; with `*`, `?`, `**`. A
    /// folder stands for all files below it.
    pub path: String,
    /// `namespace.table`; the namespace is made if it is missing.
    pub into: String,
    /// Only says what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// `create` (there must be no such table), `append`, `replace`, or `register`: Parquet files become files of the table,
    /// which is made if it is missing, and stay where they are.
    pub mode: Option<String>,
    /// `csv`, `json`, `parquet`, `avro`, `orc`, `excel`, `delta` or `iceberg`; by the ending without it, or by what lies in the folder.
    pub format: Option<String>,
    /// `gzip` or `none`; by the ending without it.
    pub compression: Option<String>,
    /// How CSV files are written; found out without it.
    pub csv: Option<ImportCsvOptions>,
    /// Which cells of Excel workbooks are read; those of the first sheet without it.
    pub excel: Option<ImportExcelOptions>,
    /// Types of single columns.
    #[serde(default)]
    pub columns: Vec<ImportColumnType>,
    /// Rows looked at in a file; 0 looks at all rows of all files.
    pub infer_rows: Option<u32>,
    /// Whether folders such as `year=2024` are columns; if all files lie in such folders without it.
    pub hive: Option<bool>,
    /// Columns, or transforms such as `day(at)`, by which a new table is partitioned; the folders' columns without it.
    pub partition_by: Option<Vec<String>>,
    /// Key columns of a new table.
    #[serde(default)]
    pub key: Vec<String>,
    /// What becomes of records that are no rows: `fail`, `skip` or `quarantine`.
    pub on_error: Option<String>,
    /// More problems than this fail the import.
    pub errors_max: Option<u64>,
    /// Files that came to the table before are left out, and told where they changed since.
    #[serde(default)]
    pub only_new: bool,
    /// Of a Delta table: `version`, or `timestamp` (RFC 3339); the newest version without it.
    #[schema(value_type = Option<Object>)]
    pub delta: Option<serde_json::Value>,
    /// Of an Iceberg table: `snapshot`, or `ref` (a branch or tag); `catalog` where a REST catalog says where it lies.
    #[schema(value_type = Option<Object>)]
    pub iceberg: Option<serde_json::Value>,
    /// Folders beside that of a Delta or Iceberg table in which files of it may lie.
    pub locations: Option<Vec<String>>,
    /// How a bucket is reached: `endpoint`, `region`, `access_key_id`, `secret_access_key` (as `{"secret": name}`),
    /// `allow_http`.
    #[schema(value_type = Option<Object>)]
    pub s3: Option<serde_json::Value>,
}

/// Which table goes on without the files that were imported or registered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CutoverRequest {
    /// `namespace.table`.
    pub into: String,
}

/// How CSV files are written, as far as it is known.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportCsvOptions {
    /// Whether the first line names the columns.
    pub header: Option<bool>,
    /// Between two fields.
    pub delimiter: Option<String>,
    /// Around a field that holds a delimiter.
    pub quote: Option<String>,
    /// Texts that stand for null.
    pub null: Option<Vec<String>>,
    /// Such as `utf-8`, `gb18030`, `utf-16le`.
    pub encoding: Option<String>,
}

/// Which cells of Excel workbooks are read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportExcelOptions {
    /// The sheet; the first one that is not hidden without it.
    pub sheet: Option<String>,
    /// Cells such as `A1:F20`, columns such as `A:F`, or `B3` for all from there on.
    pub range: Option<String>,
    /// Whether the first row names the columns; found out without it.
    pub header: Option<bool>,
}

/// The type of a column.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportColumnType {
    /// Its name.
    pub name: String,
    /// Such as `int64`, `decimal(18,2)`, `string`.
    pub r#type: String,
}

/// What an import would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportPreview {
    /// The plan.
    pub plan: ImportPlan,
}

/// What was found out about files, and what becomes of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportPlan {
    /// Their format.
    pub format: String,
    /// `gzip` or `none`.
    pub compression: String,
    /// Of a table of another lake: its version (Delta) or snapshot (Iceberg).
    pub version: Option<String>,
    /// Of CSV files.
    pub csv: Option<ImportCsvShape>,
    /// Of Excel workbooks.
    pub excel: Option<ImportExcelShape>,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows looked at.
    pub rows_seen: u64,
    /// Columns with their types, and why.
    pub columns: Vec<ImportColumn>,
    /// The first rows.
    pub sample_rows: Vec<Vec<Option<String>>>,
    /// What to know before going on.
    pub warnings: Vec<String>,
    /// The first files.
    pub first_files: Vec<ImportFile>,
    /// The table.
    pub table: ImportTable,
}

/// How CSV files are written.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportCsvShape {
    /// Whether the first line names the columns.
    pub header: bool,
    /// Between two fields.
    pub delimiter: String,
    /// Around a field that holds a delimiter.
    pub quote: String,
    /// Texts that stand for null.
    pub null: Vec<String>,
    /// How characters are written.
    pub encoding: String,
}

/// Which cells of a workbook are read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportExcelShape {
    /// The sheet; of several workbooks that of the first one.
    pub sheet: String,
    /// Its cells, such as `A1:F`.
    pub range: String,
    /// Whether the first row names the columns.
    pub header: bool,
    /// All sheets of the workbook.
    pub sheets: Vec<String>,
}

/// A column of files.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// Whether folders hold its values.
    pub from_path: bool,
    /// Values seen.
    pub values: u64,
    /// Nulls seen.
    pub nulls: u64,
    /// The first distinct values.
    pub samples: Vec<String>,
    /// Why the type is no narrower one.
    pub reason: Option<String>,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportFile {
    /// Where it lies.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Columns that its folders hold.
    pub partition: BTreeMap<String, Option<String>>,
}

/// The table of an import.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportTable {
    /// Its name.
    pub name: String,
    /// Whether it was there before.
    pub exists: bool,
    /// How it is partitioned.
    pub partition_by: Vec<String>,
    /// Its key columns.
    pub key: Vec<String>,
}

/// How far an import is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportProgress {
    /// Files in all.
    pub files_total: u64,
    /// Files read.
    pub files_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes read.
    pub bytes_done: u64,
    /// Rows read.
    pub rows: u64,
    /// Records that are no rows.
    pub problems: u64,
}

/// Why an import failed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportFault {
    /// As in errors of requests.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// A column compared.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportColumnSums {
    /// The column.
    pub name: String,
    /// Of the values read.
    pub hash_read: String,
    /// Of the values in the table.
    pub hash_table: String,
    /// Whether they are equal.
    pub equal: bool,
}

/// What an import did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// Rows read.
    pub rows_read: u64,
    /// Rows that came to the table.
    pub rows_added: u64,
    /// Records that are no rows.
    pub problems: u64,
    /// Of a table of another lake: its version (Delta) or snapshot (Iceberg) that was read.
    pub version: Option<String>,
    /// The snapshot that was compared, as text.
    pub snapshot_id: Option<String>,
    /// Whether counts and hashes are equal; null where that cannot be told.
    pub verified: Option<bool>,
    /// The same for people.
    pub detail: String,
    /// Of all rows read, in any order.
    pub hash_read: String,
    /// Of all rows that came to the table.
    pub hash_table: String,
    /// By column.
    pub columns: Vec<ImportColumnSums>,
}

/// An import.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportEntry {
    /// Its identifier.
    pub id: String,
    /// `running`, `verifying`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Which files.
    pub path: String,
    /// The table.
    pub into: String,
    /// `create`, `append`, `replace`, `register` or `cutover`.
    pub mode: String,
    /// When it began, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Who began it.
    pub by: String,
    /// How far it is.
    pub progress: ImportProgress,
    /// Why it failed.
    pub error: Option<ImportFault>,
    /// What it did.
    pub report: Option<ImportReport>,
    /// What it does; left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<ImportPlan>,
}

/// A record that became no row.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportProblem {
    /// The file.
    pub file: String,
    /// Its line, or its row where files have no lines.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
    /// The record.
    pub record: String,
}

/// A file that was sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportUpload {
    /// The `path` of an import of it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}
