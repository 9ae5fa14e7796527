//! `/api/v1/lakehouse`: tables with their files, snapshots and freshness.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use iceberg::spec::{NestedField, Schema, Snapshot, TableMetadata};
use serde::{Deserialize, Serialize};
use tarn_core::{RequestContext, TableName, TopicName};
use tarn_lakehouse::{DataFileView, SinkStatus, TableView};
use tarn_query::QueryOptions;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::{ApiError, ErrorBody};
use super::extract::{ApiPath, ApiQuery};
use super::identity::{Editor, Viewer};
use super::list::Items;
use super::query::{QueryResult, run_json};
use super::time::iso;

const SNAPSHOTS_MAX: usize = 200;
const FILES_DEFAULT: usize = 1_000;
const PREVIEW_DEFAULT: u64 = 100;
const PREVIEW_MAX: u64 = 10_000;

/// A table.
#[derive(Clone, Debug, Serialize, ToSchema)]
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
    /// Data files with deleted rows, and equality delete files of other engines.
    pub delete_files: u64,
    /// Bytes of the data files.
    pub bytes: u64,
    /// The newest snapshot, as text since it may not fit a JavaScript number.
    pub snapshot_id: Option<String>,
    /// Snapshots kept.
    pub snapshots: u64,
    /// When the newest snapshot was committed.
    pub last_commit_at: Option<String>,
    /// Age of the newest change when it was committed; for a table that is behind, of the oldest one that waits.
    pub freshness_ms: Option<i64>,
    /// Source whose topic feeds the table.
    pub source: Option<String>,
    /// Key columns.
    pub key: Vec<String>,
    /// `ok`, `behind` its topic, or `failed`.
    pub state: TableState,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a table follows its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableState {
    /// Up to date, or not fed by a topic.
    Ok,
    /// Rows wait to be committed.
    Behind,
    /// It stands still.
    Failed,
}

/// A table with everything known about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TableDetail {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub summary: TableSummary,
    /// Columns.
    pub schema: Vec<ColumnView>,
    /// Partitioning.
    pub partition_spec: Vec<PartitionFieldView>,
    /// Where it lies.
    pub location: String,
    /// Version of the Iceberg format.
    pub format_version: u8,
    /// Table properties.
    pub properties: BTreeMap<String, String>,
    /// Snapshots, newest first, at most 200.
    pub snapshot_list: Vec<SnapshotView>,
    /// Schemas that the table had, newest first.
    pub schema_history: Vec<SchemaVersion>,
    /// Topic that feeds it.
    pub topic: Option<String>,
    /// Next offset of the topic that is not in the table.
    pub applied_offset: Option<u64>,
    /// One past the newest row of the topic.
    pub applied_high_offset: Option<u64>,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub struct ColumnView {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

/// A field of the partitioning.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartitionFieldView {
    /// Name.
    pub name: String,
    /// Such as `day` or `bucket[16]`.
    pub transform: String,
    /// Column.
    pub source: String,
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotView {
    /// Identifier, as text.
    pub id: String,
    /// The snapshot before, as text.
    pub parent_id: Option<String>,
    /// When it was committed.
    pub at: String,
    /// Such as `append` or `overwrite`.
    pub operation: String,
    /// Rows added.
    pub added_rows: Option<u64>,
    /// Rows deleted.
    pub deleted_rows: Option<u64>,
    /// Files added.
    pub added_files: Option<u64>,
    /// Rows after it, deletes not subtracted.
    pub total_rows: Option<u64>,
    /// What its writer noted.
    pub summary: BTreeMap<String, String>,
}

/// A schema of the past.
#[derive(Debug, Serialize, ToSchema)]
pub struct SchemaVersion {
    /// Identifier.
    pub schema_id: i32,
    /// When the first snapshot with it was committed, as far as kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Columns.
    pub fields: Vec<ColumnView>,
}

/// A data file.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileView {
    /// Where it lies.
    pub path: String,
    /// `data`, `position_deletes` or `equality_deletes`.
    pub content: String,
    /// Rows in the file.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Partition values.
    pub partition: String,
    /// Rows of it that are deleted.
    pub deleted_rows: u64,
}

/// What a compaction did.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompactionView {
    /// Data files before.
    pub files_before: u64,
    /// Data files after.
    pub files_after: u64,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
}

/// Names a table.
#[derive(Debug, Deserialize)]
struct TablePath {
    namespace: String,
    table: String,
}

impl TablePath {
    fn name(&self) -> Result<TableName, ApiError> {
        Ok(TableName::new(&self.namespace, &self.table)?)
    }
}

#[derive(Debug, Deserialize)]
struct FilesQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct PreviewQuery {
    limit: Option<u64>,
    snapshot: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(detail))
        .routes(routes!(files))
        .routes(routes!(preview))
        .routes(routes!(compact))
}

/// All tables, by name. A table whose metadata cannot be read is listed as failed.
pub(super) async fn summaries(app: &App, ctx: &RequestContext) -> Result<Vec<TableSummary>, ApiError> {
    let sinks: HashMap<TableName, (TopicName, SinkStatus)> =
        app.state.lakehouse.sinks(ctx).into_iter().map(|(spec, status)| (spec.table, (spec.topic, status))).collect();
    let mut items = Vec::new();
    for (name, _) in app.catalog().all_tables(ctx).await? {
        let sink = sinks.get(&name);
        items.push(match app.state.lakehouse.view(ctx, &name).await {
            Ok(view) => summary(app, &view, sink),
            // Dropped since it was listed.
            Err(tarn_lakehouse::LakehouseError::TableNotFound { .. }) => continue,
            Err(error) => unreadable(&name, sink, tarn_core::chain_text(&error)),
        });
    }
    Ok(items)
}

fn summary(app: &App, view: &TableView, sink: Option<&(TopicName, SinkStatus)>) -> TableSummary {
    let metadata = &view.metadata;
    let with_deletes = view.files.iter().filter(|file| file.deletes.is_some()).count();
    let (state, message) = state_of(sink.map(|(_, status)| status));
    TableSummary {
        name: view.name.to_string(),
        namespace: view.name.namespace().to_string(),
        table: view.name.name().to_string(),
        rows: view.live_rows(),
        files: view.files.len() as u64,
        delete_files: (with_deletes + view.equality_deletes.len()) as u64,
        bytes: view.files.iter().map(|file| file.file.file_size_in_bytes()).sum(),
        snapshot_id: view.snapshot_id.map(|id| id.to_string()),
        snapshots: metadata.snapshots().count() as u64,
        last_commit_at: metadata.current_snapshot().map(|snapshot| iso(snapshot.timestamp_ms())),
        freshness_ms: sink.and_then(|(_, status)| freshness(status, app.env.clock.now_ms())),
        source: sink.map(|(topic, _)| source_of(topic)),
        key: view.key(),
        state,
        message,
    }
}

fn unreadable(name: &TableName, sink: Option<&(TopicName, SinkStatus)>, message: String) -> TableSummary {
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
        source: sink.map(|(topic, _)| source_of(topic)),
        key: Vec::new(),
        state: TableState::Failed,
        message: Some(message),
    }
}

fn state_of(sink: Option<&SinkStatus>) -> (TableState, Option<String>) {
    match sink {
        None => (TableState::Ok, None),
        Some(SinkStatus { fault: Some(fault), .. }) => (TableState::Failed, Some(fault.message.clone())),
        Some(status) if status.applied_offset < status.high_offset => (TableState::Behind, None),
        Some(_) => (TableState::Ok, None),
    }
}

/// While rows wait, freshness grows with the time since the last commit.
fn freshness(status: &SinkStatus, now_ms: i64) -> Option<i64> {
    let at_commit = status.freshness_ms?;
    let behind = status.applied_offset < status.high_offset;
    let waited = status.committed_ms.filter(|_| behind).map_or(0, |at| (now_ms - at).max(0));
    Some(at_commit.max(waited))
}

/// Topics are named `<source>.…`.
fn source_of(topic: &TopicName) -> String {
    topic.as_str().split('.').next().unwrap_or_default().to_string()
}

/// Lists the tables.
#[utoipa::path(get, path = "/lakehouse", tag = "lakehouse", responses(
    (status = 200, body = Items<TableSummary>), (status = "4XX", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<Items<TableSummary>>, ApiError> {
    Ok(Json(Items { items: summaries(&app, &ctx).await? }))
}

/// Shows one table.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = TableDetail), (status = "4XX", body = ErrorBody)))]
async fn detail(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<TableDetail>, ApiError> {
    let name = path.name()?;
    let view = app.state.lakehouse.view(&ctx, &name).await?;
    let sink = app.state.lakehouse.sink(&ctx, &name);
    let metadata = &view.metadata;
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.timestamp_ms()));
    Ok(Json(TableDetail {
        summary: summary(&app, &view, sink.as_ref()),
        schema: columns(metadata.current_schema()),
        partition_spec: partition_spec(metadata),
        location: metadata.location().to_string(),
        format_version: metadata.format_version() as u8,
        properties: metadata.properties().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        snapshot_list: snapshots.iter().take(SNAPSHOTS_MAX).map(|snapshot| snapshot_view(snapshot)).collect(),
        schema_history: schema_history(metadata),
        topic: sink.as_ref().map(|(topic, _)| topic.to_string()),
        applied_offset: sink.as_ref().map(|(_, status)| status.applied_offset),
        applied_high_offset: sink.as_ref().map(|(_, status)| status.high_offset),
    }))
}

fn columns(schema: &Schema) -> Vec<ColumnView> {
    let key: Vec<i32> = schema.identifier_field_ids().collect();
    let column = |field: &NestedField| ColumnView {
        id: field.id,
        name: field.name.clone(),
        r#type: field.field_type.to_string(),
        required: field.required,
        key: key.contains(&field.id),
        doc: field.doc.clone(),
    };
    schema.as_struct().fields().iter().map(|field| column(field)).collect()
}

fn partition_spec(metadata: &TableMetadata) -> Vec<PartitionFieldView> {
    let schema = metadata.current_schema();
    let fields = metadata.default_partition_spec().fields().iter();
    fields
        .map(|field| PartitionFieldView {
            name: field.name.clone(),
            transform: field.transform.to_string(),
            source: schema.name_by_field_id(field.source_id).unwrap_or("?").to_string(),
        })
        .collect()
}

fn snapshot_view(snapshot: &Snapshot) -> SnapshotView {
    let summary = &snapshot.summary().additional_properties;
    let number = |key: &str| summary.get(key).and_then(|text| text.parse().ok());
    let deleted = number("added-position-deletes").or_else(|| number("deleted-records"));
    SnapshotView {
        id: snapshot.snapshot_id().to_string(),
        parent_id: snapshot.parent_snapshot_id().map(|id| id.to_string()),
        at: iso(snapshot.timestamp_ms()),
        operation: snapshot.summary().operation.as_str().to_string(),
        added_rows: number("added-records"),
        deleted_rows: deleted,
        added_files: number("added-data-files"),
        total_rows: number("total-records"),
        summary: summary.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
}

fn schema_history(metadata: &TableMetadata) -> Vec<SchemaVersion> {
    let mut first_seen: HashMap<i32, i64> = HashMap::new();
    for snapshot in metadata.snapshots() {
        let Some(id) = snapshot.schema_id() else { continue };
        let seen = first_seen.entry(id).or_insert(i64::MAX);
        *seen = (*seen).min(snapshot.timestamp_ms());
    }
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
    schemas
        .into_iter()
        .map(|schema| SchemaVersion {
            schema_id: schema.schema_id(),
            at: first_seen.get(&schema.schema_id()).map(|ms| iso(*ms)),
            fields: columns(schema),
        })
        .collect()
}

/// Lists the files of a table.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}/files", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = Items<FileView>), (status = "4XX", body = ErrorBody)))]
async fn files(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
    ApiQuery(query): ApiQuery<FilesQuery>,
) -> Result<Json<Items<FileView>>, ApiError> {
    let view = app.state.lakehouse.view(&ctx, &path.name()?).await?;
    let data = view.files.iter().map(data_file);
    let deletes = view.equality_deletes.iter().map(|delete| FileView {
        path: delete.file.file_path().to_string(),
        content: "equality_deletes".to_string(),
        rows: delete.file.record_count(),
        bytes: delete.file.file_size_in_bytes(),
        partition: String::new(),
        deleted_rows: 0,
    });
    Ok(Json(Items { items: data.chain(deletes).take(query.limit.unwrap_or(FILES_DEFAULT)).collect() }))
}

fn data_file(view: &DataFileView) -> FileView {
    let partition = view.partition().iter().map(|value| value.map_or("null".to_string(), |value| format!("{value:?}")));
    FileView {
        path: view.file.file_path().to_string(),
        content: "data".to_string(),
        rows: view.file.record_count(),
        bytes: view.file.file_size_in_bytes(),
        partition: partition.collect::<Vec<_>>().join(", "),
        deleted_rows: view.deletes.as_ref().map_or(0, |rows| rows.len()),
    }
}

/// Shows some rows of a table, now or at a snapshot.
#[utoipa::path(get, path = "/lakehouse/{namespace}/{table}/preview", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path), ("limit" = Option<u64>, Query),
        ("snapshot" = Option<String>, Query)),
    responses((status = 200, body = QueryResult), (status = "4XX", body = ErrorBody)))]
async fn preview(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(path): ApiPath<TablePath>,
    ApiQuery(query): ApiQuery<PreviewQuery>,
) -> Result<Response, ApiError> {
    let name = path.name()?;
    let version = match query.snapshot.as_deref() {
        None => String::new(),
        Some(text) => {
            let id: i64 = text.parse().map_err(|_| ApiError::invalid(format!("`{text}` is not a snapshot id")))?;
            format!(" FOR VERSION AS OF {id}")
        }
    };
    let sql = format!("SELECT * FROM {}.{}{version}", quoted(name.namespace()), quoted(name.name()));
    let limit = query.limit.unwrap_or(PREVIEW_DEFAULT).min(PREVIEW_MAX);
    let options = QueryOptions { rows_max: Some(limit), ..QueryOptions::default() };
    run_json(&app, &ctx, &sql, options).await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Rewrites small and worn files of a table now.
#[utoipa::path(post, path = "/lakehouse/{namespace}/{table}/compact", tag = "lakehouse",
    params(("namespace" = String, Path), ("table" = String, Path)),
    responses((status = 200, body = CompactionView), (status = "4XX", body = ErrorBody)))]
async fn compact(
    State(app): State<App>,
    Editor(ctx): Editor,
    ApiPath(path): ApiPath<TablePath>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let done = app.state.lakehouse.compact(&ctx, &path.name()?).await?;
    serde_json::to_value(done).map(Json).map_err(|error| ApiError::internal(error.to_string()))
}
