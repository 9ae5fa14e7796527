//! Tables as people see them: summaries, schemas, snapshots, files.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use iceberg::spec::{Operation, Schema, Snapshot, TableMetadata, Type};
use serde::Serialize;
use tarn_core::{RequestContext, TableName};

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::sink::SinkStatus;
use crate::types::key_of;
use crate::view::TableView;

/// Snapshots shown, newest first.
const SNAPSHOTS_MAX: usize = 200;
/// A table is behind when its oldest unapplied row waits longer than this.
const BEHIND_MS: i64 = 60_000;

/// Whether a table follows its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableState {
    /// Up to date, or without a topic.
    Ok,
    /// Rows wait.
    Behind,
    /// It stands still; the message says why.
    Failed,
}

/// One line of a list of tables.
#[derive(Clone, Debug, Serialize)]
pub struct TableSummary {
    /// `namespace.table`.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The table's own name.
    pub table: String,
    /// Live rows.
    pub rows: u64,
    /// Live data files.
    pub files: u64,
    /// Live delete files.
    pub delete_files: u64,
    /// Bytes of live data files.
    pub bytes: u64,
    /// Current snapshot; text, since it does not fit a JavaScript number.
    pub snapshot_id: Option<String>,
    /// Snapshots kept.
    pub snapshots: usize,
    /// Time of the last commit, ISO 8601.
    pub last_commit_at: Option<String>,
    /// Time between the arrival of the newest rows in the topic and the moment when our SQL saw them, in milliseconds.
    pub freshness_ms: Option<i64>,
    /// Rows in memory that are in no file yet; our SQL sees them.
    pub hot_rows: Option<u64>,
    /// Bytes of them.
    pub hot_bytes: Option<u64>,
    /// Next offset of the topic that is in no commit.
    pub committed_offset: Option<u64>,
    /// The topic that feeds it.
    pub topic: Option<String>,
    /// Names of the key columns.
    pub key: Vec<String>,
    /// Whether it follows its topic.
    pub state: TableState,
    /// Why not.
    pub message: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Next offset of the topic that is not applied.
    pub applied_offset: Option<u64>,
    /// One past the newest row of the topic.
    pub applied_high_offset: Option<u64>,
}

/// A column.
#[derive(Clone, Debug, Serialize)]
pub struct ColumnDetail {
    /// Iceberg field id.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its type, as Iceberg writes it.
    #[serde(rename = "type")]
    pub column_type: String,
    /// Whether it is never null.
    pub required: bool,
    /// Whether it belongs to the key.
    pub key: bool,
    /// Its documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

/// A schema that the table has or had.
#[derive(Clone, Debug, Serialize)]
pub struct SchemaVersion {
    /// Its number.
    pub schema_id: i32,
    /// Its columns.
    pub fields: Vec<ColumnDetail>,
}

/// A partition column.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionColumn {
    /// Its name.
    pub name: String,
    /// How it is computed.
    pub transform: String,
    /// From which column.
    pub source: String,
}

/// A snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotEntry {
    /// Its identifier, text.
    pub id: String,
    /// The one before it.
    pub parent_id: Option<String>,
    /// Its time, ISO 8601.
    pub at: String,
    /// append, overwrite, delete or replace.
    pub operation: String,
    /// Rows added; none by a rewrite of files, which changes no rows.
    pub added_rows: u64,
    /// Rows deleted, by delete files and with data files; none by a rewrite.
    pub deleted_rows: u64,
    /// Data files added.
    pub added_files: u64,
    /// Rows after it, deleted ones not yet compacted included.
    pub total_rows: u64,
    /// All entries of the summary.
    pub summary: BTreeMap<String, String>,
}

/// Everything about a table that does not need its rows.
#[derive(Clone, Debug, Serialize)]
pub struct TableDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: TableSummary,
    /// Current columns.
    pub schema: Vec<ColumnDetail>,
    /// Current partitioning.
    pub partition_spec: Vec<PartitionColumn>,
    /// Where it lies.
    pub location: String,
    /// Iceberg format version.
    pub format_version: u8,
    /// Table properties.
    pub properties: BTreeMap<String, String>,
    /// Newest first.
    pub snapshot_list: Vec<SnapshotEntry>,
    /// All schemas, newest first.
    pub schema_history: Vec<SchemaVersion>,
}

/// A live file.
#[derive(Clone, Debug, Serialize)]
pub struct FileEntry {
    /// Its location.
    pub path: String,
    /// `data` or `position_deletes`.
    pub content: &'static str,
    /// Rows in the file.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its partition, such as `day=2013-01-01`; `None` without partitioning and of delete files.
    pub partition: Option<String>,
    /// Rows of it that are deleted.
    pub deleted_rows: u64,
}

fn iso(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(String::new, |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn number(summary: &std::collections::HashMap<String, String>, key: &str) -> u64 {
    summary.get(key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A type as people write it, such as `list<string>` or `struct<street: string, zip: string>`.
fn type_text(field_type: &Type) -> String {
    match field_type {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::List(list) => format!("list<{}>", type_text(&list.element_field.field_type)),
        Type::Map(map) => {
            format!(
                "map<{}, {}>",
                type_text(&map.key_field.field_type),
                type_text(&map.value_field.field_type)
            )
        }
        Type::Struct(fields) => {
            let fields = fields.fields().iter();
            let texts = fields.map(|field| format!("{}: {}", field.name, type_text(&field.field_type)));
            format!("struct<{}>", texts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn columns(schema: &Schema, key: &[String]) -> Vec<ColumnDetail> {
    let fields = schema.as_struct().fields().iter();
    fields
        .map(|field| ColumnDetail {
            id: field.id,
            name: field.name.clone(),
            column_type: type_text(&field.field_type),
            required: field.required,
            key: key.contains(&field.name),
            doc: field.doc.clone(),
        })
        .collect()
}

fn snapshot(snapshot: &Snapshot) -> SnapshotEntry {
    let summary = &snapshot.summary().additional_properties;
    // Its summary counts each row of the new files as added, and each of the old ones as deleted.
    let is_rewrite = snapshot.summary().operation == Operation::Replace;
    let changed = |key: &str| if is_rewrite { 0 } else { number(summary, key) };
    SnapshotEntry {
        id: snapshot.snapshot_id().to_string(),
        parent_id: snapshot.parent_snapshot_id().map(|id| id.to_string()),
        at: iso(snapshot.timestamp_ms()),
        operation: snapshot.summary().operation.as_str().to_string(),
        added_rows: changed("added-records"),
        deleted_rows: changed("deleted-records") + changed("added-position-deletes"),
        added_files: number(summary, "added-data-files"),
        total_rows: number(summary, "total-records"),
        summary: summary.clone().into_iter().collect(),
    }
}

fn partition_columns(metadata: &TableMetadata) -> Vec<PartitionColumn> {
    let schema = metadata.current_schema();
    let fields = metadata.default_partition_spec().fields().iter();
    fields
        .map(|field| PartitionColumn {
            name: field.name.clone(),
            transform: field.transform.to_string(),
            source: schema.name_by_field_id(field.source_id).unwrap_or("?").to_string(),
        })
        .collect()
}

fn summary(view: &TableView, sink: Option<(String, SinkStatus)>, now_ms: i64) -> TableSummary {
    let metadata = &view.metadata;
    let current = metadata.current_snapshot();
    let of_current = |key: &str| current.map_or(0, |s| number(&s.summary().additional_properties, key));
    let waits = |status: &SinkStatus| {
        let since = status.shown_ms.unwrap_or(now_ms);
        status.high_offset > status.applied_offset && now_ms - since > BEHIND_MS
    };
    let (topic, status) = sink.map_or((None, None), |(topic, status)| (Some(topic), Some(status)));
    let fault = status.as_ref().and_then(|status| status.fault.clone());
    let state = match (&fault, &status) {
        (Some(_), _) => TableState::Failed,
        (None, Some(status)) if waits(status) => TableState::Behind,
        _ => TableState::Ok,
    };
    let ignored = status.as_ref().map_or(0, |status| status.ignored);
    let left_out = status.as_ref().map_or(0, |status| status.left_out);
    let left = || match (ignored, left_out) {
        (0, 0) => None,
        (0, _) => {
            Some(format!("{left_out} values were left out, for which the table has no column of their type"))
        }
        _ => Some(format!(
            "{ignored} updates or deletes were not applied, because the table has no such row to find"
        )),
    };
    TableSummary {
        name: view.name.to_string(),
        namespace: view.name.namespace().to_string(),
        table: view.name.name().to_string(),
        rows: view.live_rows(),
        files: view.files.len() as u64,
        delete_files: of_current("total-delete-files"),
        bytes: view.files.iter().map(|file| file.file.file_size_in_bytes()).sum(),
        snapshot_id: view.snapshot_id.map(|id| id.to_string()),
        snapshots: metadata.snapshots().len(),
        last_commit_at: current.map(|s| iso(s.timestamp_ms())),
        freshness_ms: status.as_ref().and_then(|status| status.freshness_ms),
        topic,
        key: key_of(metadata),
        state,
        message: fault.as_ref().map(|fault| fault.message.clone()).or_else(left),
        hint: fault.and_then(|fault| fault.hint),
        hot_rows: status.as_ref().map(|status| status.hot_rows),
        hot_bytes: status.as_ref().map(|status| status.hot_bytes),
        committed_offset: status.as_ref().map(|status| status.committed_offset),
        applied_offset: status.as_ref().map(|status| status.applied_offset),
        applied_high_offset: status.as_ref().map(|status| status.high_offset),
    }
}

impl Lakehouse {
    fn sink_of(&self, ctx: &RequestContext, name: &TableName) -> Option<(String, SinkStatus)> {
        self.sink(ctx, name).map(|(topic, status)| (topic.to_string(), status))
    }

    /// All tables of the tenant, by name. A table that cannot be read is listed with its fault.
    pub async fn tables(&self, ctx: &RequestContext) -> Result<Vec<TableSummary>, LakehouseError> {
        let mut tables = Vec::new();
        for (name, _) in self.catalog().all_tables(ctx).await? {
            match self.view(ctx, &name).await {
                Ok(view) => tables.push(summary(&view, self.sink_of(ctx, &name), self.now_ms())),
                // Dropped since the listing.
                Err(LakehouseError::TableNotFound { .. }) => {}
                Err(error) => tables.push(unreadable(&name, &error)),
            }
        }
        Ok(tables)
    }

    /// One table. Errors: `TableNotFound` with the nearest name, damaged files.
    pub async fn table(&self, ctx: &RequestContext, name: &TableName) -> Result<TableDetail, LakehouseError> {
        let view = self.view(ctx, name).await?;
        let metadata = &view.metadata;
        let key = key_of(metadata);
        let mut snapshots: Vec<_> = metadata.snapshots().collect();
        snapshots.sort_by_key(|s| std::cmp::Reverse(s.sequence_number()));
        let mut schemas: Vec<_> = metadata.schemas_iter().collect();
        schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        let history = schemas
            .into_iter()
            .map(|schema| SchemaVersion { schema_id: schema.schema_id(), fields: columns(schema, &key) });
        Ok(TableDetail {
            summary: summary(&view, self.sink_of(ctx, name), self.now_ms()),
            schema: columns(metadata.current_schema(), &key),
            partition_spec: partition_columns(metadata),
            location: metadata.location().to_string(),
            format_version: metadata.format_version() as u8,
            properties: metadata.properties().clone().into_iter().collect(),
            snapshot_list: snapshots.into_iter().take(SNAPSHOTS_MAX).map(|s| snapshot(s)).collect(),
            schema_history: history.collect(),
        })
    }

    /// Live files of a table, largest first, at most `limit`. Errors: `TableNotFound`.
    pub async fn files(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        limit: usize,
    ) -> Result<Vec<FileEntry>, LakehouseError> {
        let view = self.view(ctx, name).await?;
        let mut files: Vec<FileEntry> = view
            .files
            .iter()
            .map(|file| FileEntry {
                path: file.file.file_path().to_string(),
                content: "data",
                rows: file.file.record_count(),
                bytes: file.file.file_size_in_bytes(),
                partition: partition_text(&view.metadata, file.partition_spec_id, file.partition()),
                deleted_rows: file.deletes.as_ref().map_or(0, |deletes| deletes.len()),
            })
            .collect();
        for file in self.delete_files(&view).await? {
            files.push(FileEntry {
                path: file.file_path().to_string(),
                content: "position_deletes",
                rows: file.record_count(),
                bytes: file.file_size_in_bytes(),
                partition: None,
                deleted_rows: 0,
            });
        }
        files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        files.truncate(limit);
        Ok(files)
    }
}

fn partition_text(metadata: &TableMetadata, spec_id: i32, values: &iceberg::spec::Struct) -> Option<String> {
    let spec = metadata.partition_spec_by_id(spec_id).filter(|spec| !spec.is_unpartitioned())?;
    Some(spec.partition_to_path(values, metadata.current_schema().clone()))
}

fn unreadable(name: &TableName, error: &LakehouseError) -> TableSummary {
    let report = tarn_core::FaultReport::of(error);
    TableSummary {
        name: name.to_string(),
        namespace: name.namespace().to_string(),
        table: name.name().to_string(),
        rows: 0,
        files: 0,
        delete_files: 0,
        bytes: 0,
        snapshot_id: None,
        snapshots: 0,
        last_commit_at: None,
        freshness_ms: None,
        hot_rows: None,
        hot_bytes: None,
        committed_offset: None,
        topic: None,
        key: Vec::new(),
        state: TableState::Failed,
        message: Some(report.message),
        hint: report.hint,
        applied_offset: None,
        applied_high_offset: None,
    }
}
