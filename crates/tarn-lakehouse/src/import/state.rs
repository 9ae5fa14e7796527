//! What is kept of an import.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::files::{FilesFault, FoundFiles, ListedFile};
use tarn_core::{FaultReport, TableName};

use crate::error::LakehouseError;

/// Problems kept of an import by default, and how many there may be.
const ERRORS_MAX: u64 = 1_000;
const ERRORS_LIMIT: u64 = 100_000;

/// How an import is asked for; the other fields of a request say which files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportOptions {
    /// `namespace.table`.
    pub into: String,
    /// What becomes of a table that is there.
    #[serde(default)]
    pub mode: ImportMode,
    /// Columns, or transforms of them such as `day(at)`; without it the columns that folders hold.
    #[serde(default)]
    pub partition_by: Option<Vec<String>>,
    /// Key columns of a new table.
    #[serde(default)]
    pub key: Vec<String>,
    /// What becomes of records that are no rows.
    #[serde(default)]
    pub on_error: OnError,
    /// More problems than this fail the import.
    #[serde(default = "errors_max")]
    pub errors_max: u64,
    /// Files that came to the table before are left out.
    #[serde(default)]
    pub only_new: bool,
}

fn errors_max() -> u64 {
    ERRORS_MAX
}

/// What becomes of a table that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// There must be none.
    #[default]
    Create,
    /// Rows come to it.
    Append,
    /// Its rows go in the commit in which the others come.
    Replace,
    /// The files become files of the table, which is made if it is missing, and stay where they are.
    Register,
    /// The table goes on without the files that were imported or registered: see [`super::Imports::cut_over`].
    Cutover,
}

/// What becomes of records that are no rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The first one fails the import, and nothing of it stays.
    #[default]
    Fail,
    /// They are left out; the first ones are kept to be looked at.
    Skip,
    /// They are left out and all kept.
    Quarantine,
}

const OWN: [&str; 7] = ["into", "mode", "partition_by", "key", "on_error", "errors_max", "only_new"];

/// Fields that hold secrets, which requests only refer to.
const SECRETS: [&str; 3] =
    ["/s3/secret_access_key", "/iceberg/catalog/token", "/iceberg/catalog/client_secret"];

impl ImportOptions {
    /// Splits a request into what is ours and what is about files. Errors: a field that is wrong.
    pub(super) fn split(request: &Value) -> Result<(Self, Value), LakehouseError> {
        let invalid = |what: String, hint: &str| LakehouseError::Files(FilesFault::invalid(what, hint));
        let Some(fields) = request.as_object() else {
            return Err(invalid("the request is not an object".into(), "send `{\"path\": …, \"into\": …}`"));
        };
        let (own, files): (Vec<_>, Vec<_>) =
            fields.clone().into_iter().partition(|(name, _)| OWN.contains(&name.as_str()));
        let own: serde_json::Map<String, Value> = own.into_iter().collect();
        if !own.contains_key("into") {
            return Err(invalid("`into` is missing".into(), "name the table: `namespace.table`"));
        }
        let options: Self = serde_json::from_value(Value::Object(own))
            .map_err(|error| invalid(error.to_string(), "see the guide's page about imports"))?;
        options.table()?;
        if options.errors_max > ERRORS_LIMIT {
            let what = format!("`errors_max` is {}", options.errors_max);
            return Err(invalid(what, "at most 100,000 problems are kept; mend the files first"));
        }
        for path in SECRETS {
            if request.pointer(path).is_some_and(Value::is_string) {
                let hint =
                    "store it (`tarn access secret set lake_key`) and write `{\"secret\": \"lake_key\"}`";
                let field = path.trim_start_matches('/').replace('/', ".");
                return Err(invalid(format!("`{field}` is written out"), hint));
            }
        }
        Ok((options, Value::Object(files.into_iter().collect())))
    }

    /// The table.
    pub(super) fn table(&self) -> Result<TableName, LakehouseError> {
        let (namespace, name) = self.into.split_once('.').unwrap_or(("main", &self.into));
        TableName::new(namespace, name).map_err(|error| {
            FilesFault::invalid(format!("`into`: {error}"), "name the table: `namespace.table`").into()
        })
    }
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// Files are read.
    Running,
    /// What was read is compared with the table.
    Verifying,
    /// All files are in the table.
    Done,
    /// It cannot go on.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl ImportState {
    /// Whether it goes on by itself.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Verifying)
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProgress {
    /// Files in all.
    pub files_total: u64,
    /// Files that are in the table, or on their way with the next commit.
    pub files_done: u64,
    /// Their bytes in all.
    pub bytes_total: u64,
    /// Bytes read.
    pub bytes_done: u64,
    /// Rows read.
    pub rows: u64,
    /// Records that are no rows.
    pub problems: u64,
}

/// A column on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSums {
    /// The column.
    pub name: String,
    /// Of the values read.
    pub hash_read: String,
    /// Of the values in the table.
    pub hash_table: String,
    /// Whether they are equal.
    pub equal: bool,
}

/// What an import did, and whether the table holds what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Rows read.
    pub rows_read: u64,
    /// Rows that the table has more than before.
    pub rows_added: u64,
    /// Records that are no rows.
    pub problems: u64,
    /// Of a table of another lake: its version (Delta) or snapshot (Iceberg) that was read.
    #[serde(default)]
    pub version: Option<String>,
    /// The table's snapshot that was compared.
    pub snapshot_id: Option<String>,
    /// Whether counts and hashes are equal; `None` where that cannot be told.
    pub verified: Option<bool>,
    /// The same for people.
    pub detail: String,
    /// Of all rows read, in any order.
    pub hash_read: String,
    /// Of all rows that came to the table.
    pub hash_table: String,
    /// By column.
    pub columns: Vec<ColumnSums>,
}

/// The table of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTable {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// How it is or will be partitioned.
    pub partition_by: Vec<String>,
    /// Its key columns.
    pub key: Vec<String>,
}

/// A file of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// For people.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Columns that its folders hold.
    pub partition: BTreeMap<String, Option<String>>,
}

/// What an import would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPlan {
    /// What was found out about the files.
    #[serde(flatten)]
    pub found: FoundFiles,
    /// The first files.
    pub first_files: Vec<PlannedFile>,
    /// The table.
    pub table: PlannedTable,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// Its identifier.
    pub id: String,
    /// Where it stands.
    pub state: ImportState,
    /// Which files.
    pub path: String,
    /// The table.
    pub into: String,
    /// What becomes of a table that is there.
    pub mode: ImportMode,
    /// When it began, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Who began it.
    pub by: String,
    /// How far it is.
    pub progress: ImportProgress,
    /// Why it failed.
    pub error: Option<FaultReport>,
    /// What it did.
    pub report: Option<ImportReport>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<ImportPlan>,
}

/// An import with what going on needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) import: Import,
    pub(super) options: ImportOptions,
    /// The files' configuration, settled; secrets are references.
    pub(super) files: Value,
    /// Whether the table was there before, and its snapshot then.
    pub(super) existed: bool,
    pub(super) snapshot_before: Option<i64>,
    /// Another table of the same name has another one.
    #[serde(default)]
    pub(super) table_id: String,
}

/// A file in the list of an import.
pub(super) fn shown(file: &ListedFile) -> PlannedFile {
    PlannedFile {
        path: file.location.strip_prefix("file://").unwrap_or(&file.location).to_string(),
        bytes: file.bytes,
        partition: file.partition.iter().cloned().collect(),
    }
}
