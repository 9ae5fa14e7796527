use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a table follows its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableState {
    /// Up to date, or not fed by a topic.
    Ok,
    /// Rows wait.
    Behind,
    /// It stands still.
    Failed,
}

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableSummary {
    /// `namespace.table`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its own name.
    pub table: String,
    /// Rows that a scan gives.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Delete files.
    pub delete_files: u64,
    /// Bytes of the data files.
    pub bytes: u64,
    /// The newest snapshot, as text since it may not fit a JavaScript number.
    pub snapshot_id: Option<String>,
    /// Snapshots kept.
    pub snapshots: u64,
    /// When the newest snapshot was committed.
    pub last_commit_at: Option<String>,
    /// Time between the arrival of the newest changes in the topic and the moment when SQL saw them.
    pub freshness_ms: Option<i64>,
    /// Rows in memory that are in no file yet. SQL sees them; other engines do after the next commit.
    pub hot_rows: Option<u64>,
    /// Bytes of them.
    pub hot_bytes: Option<u64>,
    /// Next offset of the topic that is in no commit.
    pub committed_offset: Option<u64>,
    /// Source whose topic feeds the table.
    pub source: Option<String>,
    /// Topic that feeds the table.
    pub topic: Option<String>,
    /// Next offset of the topic that SQL does not see.
    pub applied_offset: Option<u64>,
    /// One past the newest row of the topic.
    pub applied_high_offset: Option<u64>,
    /// Key columns.
    pub key: Vec<String>,
    /// How it follows its topic.
    pub state: TableState,
    /// Why it is not ok.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A table with everything known about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: TableSummary,
    /// Columns.
    pub schema: Vec<TableColumn>,
    /// Partitioning.
    pub partition_spec: Vec<PartitionColumn>,
    /// Where it lies.
    pub location: String,
    /// Version of the Iceberg format.
    pub format_version: u8,
    /// Table properties.
    pub properties: BTreeMap<String, String>,
    /// Snapshots, newest first, at most 200.
    pub snapshot_list: Vec<TableSnapshot>,
    /// Schemas that the table has or had, newest first.
    pub schema_history: Vec<TableSchema>,
}

/// A column of a table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableColumn {
    /// Field id, which stays when the column is renamed.
    pub id: i32,
    /// Name.
    pub name: String,
    /// Iceberg type.
    pub r#type: String,
    /// Whether it is never null.
    pub required: bool,
    /// Whether it is part of the key.
    pub key: bool,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

/// A field of the partitioning.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartitionColumn {
    /// Name.
    pub name: String,
    /// Such as `day` or `bucket[16]`.
    pub transform: String,
    /// Column.
    pub source: String,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableSnapshot {
    /// Identifier, as text.
    pub id: String,
    /// The snapshot before, as text.
    pub parent_id: Option<String>,
    /// When it was committed.
    pub at: String,
    /// Such as `append` or `overwrite`.
    pub operation: String,
    /// Rows added; none by a rewrite of files, which changes no rows.
    pub added_rows: u64,
    /// Rows deleted; none by a rewrite.
    pub deleted_rows: u64,
    /// Files added.
    pub added_files: u64,
    /// Rows after it, deleted ones not yet compacted included.
    pub total_rows: u64,
    /// What its writer noted.
    pub summary: BTreeMap<String, String>,
}

/// A schema that a table has or had.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableSchema {
    /// Identifier.
    pub schema_id: i32,
    /// Columns.
    pub fields: Vec<TableColumn>,
}

/// A file of a table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableFile {
    /// Where it lies.
    pub path: String,
    /// `data` or `position_deletes`.
    pub content: String,
    /// Rows in the file.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Partition values; null without partitioning.
    pub partition: Option<String>,
    /// Rows of it that are deleted.
    pub deleted_rows: u64,
}

/// What a compaction did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompactionReport {
    /// Data files before.
    pub files_before: u64,
    /// Data files after.
    pub files_after: u64,
    /// Delete files before.
    pub delete_files_before: u64,
    /// Delete files after.
    pub delete_files_after: u64,
    /// Rows rewritten.
    pub rows_rewritten: u64,
    /// Bytes of the files that were replaced.
    pub bytes_rewritten: u64,
    /// Bytes of the files that were written.
    #[serde(default)]
    pub bytes_written: u64,
    /// Deleted rows that are in no file any more.
    #[serde(default)]
    pub deletes_removed: u64,
}
