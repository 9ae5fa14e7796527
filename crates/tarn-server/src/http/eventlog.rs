//! `/api/v1/eventlog`: topics, their rows and consumers.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int8Type, TimestampMicrosecondType};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use tarn_core::change::{EVENT_TIME, KIND, META_COLUMNS};
use tarn_core::{ChangeKind, RequestContext, TopicName};
use tarn_eventlog::{ConsumerPosition, LogBatch, PartitionInfo, ReadLimits, TopicInfo};
use tarn_observe::Metric;
use tarn_query::encode::{rows_json, type_name};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::error::ApiError;
use super::extract::{ApiPath, ApiQuery};
use super::identity::Viewer;
use super::time::iso;
use crate::api::{
    ErrorBody, Items, ResultColumn, TopicColumn, TopicConsumer, TopicDetail, TopicPartition, TopicRetention,
    TopicRow, TopicRows, TopicSummary,
};

const ROWS_DEFAULT: usize = 100;
const ROWS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
struct RowsQuery {
    partition: Option<u32>,
    offset: Option<u64>,
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(detail)).routes(routes!(rows))
}

fn summary(
    app: &App,
    ctx: &RequestContext,
    topic: &TopicInfo,
    consumers: &[ConsumerPosition],
) -> TopicSummary {
    let name = topic.spec.name.to_string();
    let sum = |of: fn(&PartitionInfo) -> u64| topic.partitions.iter().map(of).sum();
    let mut names: Vec<&str> = consumers.iter().map(|position| position.consumer.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let first = name.split('.').next().unwrap_or_default();
    let source =
        app.state.ingest.statuses(ctx).into_iter().map(|source| source.name).find(|source| source == first);
    TopicSummary {
        partitions: topic.partitions.len() as u64,
        rows: sum(|partition| partition.high_offset - partition.low_offset),
        bytes: sum(|partition| partition.bytes),
        low_offset: topic.partitions.iter().map(|partition| partition.low_offset).min().unwrap_or(0),
        high_offset: topic.partitions.iter().map(|partition| partition.high_offset).max().unwrap_or(0),
        rows_per_s: app.state.metrics.of(&ctx.tenant).per_second_of(Metric::IngestTableRows, &name),
        last_append_at: topic.partitions.iter().filter_map(|partition| partition.appended_ms).max().map(iso),
        retention: TopicRetention {
            age: topic.spec.retention.age.map(|age| age.to_string()),
            size: topic.spec.retention.size.map(|size| size.to_string()),
        },
        source,
        consumers: names.len() as u64,
        name,
    }
}

/// Lists the topics.
#[utoipa::path(get, path = "/eventlog", tag = "eventlog",
    responses((status = 200, body = Items<TopicSummary>), (status = "default", body = ErrorBody)))]
async fn list(State(app): State<App>, Viewer(ctx): Viewer) -> Result<Json<Items<TopicSummary>>, ApiError> {
    let mut items = Vec::new();
    for topic in app.state.eventlog.topics(&ctx).await? {
        let consumers = app.state.eventlog.positions(&ctx, &topic.spec.name).await?;
        items.push(summary(&app, &ctx, &topic, &consumers));
    }
    Ok(Json(Items { items }))
}

/// Shows one topic.
#[utoipa::path(get, path = "/eventlog/{name}", tag = "eventlog", params(("name" = String, Path)),
    responses((status = 200, body = TopicDetail), (status = "default", body = ErrorBody)))]
async fn detail(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<TopicDetail>, ApiError> {
    let topic = app.state.eventlog.topic(&ctx, &TopicName::parse(&name)?).await?;
    let consumers = app.state.eventlog.positions(&ctx, &topic.spec.name).await?;
    let fields = topic.schema.iter().flat_map(|schema| schema.fields().iter());
    let own = fields.filter(|field| !META_COLUMNS.contains(&field.name().as_str()));
    Ok(Json(TopicDetail {
        summary: summary(&app, &ctx, &topic, &consumers),
        schema: own
            .map(|field| TopicColumn {
                name: field.name().clone(),
                r#type: type_name(field.data_type()),
                nullable: field.is_nullable(),
            })
            .collect(),
        key: topic.spec.key.clone(),
        partition_list: partitions(&topic),
        consumer_list: consumers.iter().map(|position| consumer(&topic, position)).collect(),
    }))
}

fn partitions(topic: &TopicInfo) -> Vec<TopicPartition> {
    let numbered = topic.partitions.iter().zip(0..);
    numbered
        .map(|(partition, number)| TopicPartition {
            partition: number,
            low_offset: partition.low_offset,
            high_offset: partition.high_offset,
            bytes: partition.bytes,
            segments: partition.segments,
        })
        .collect()
}

fn consumer(topic: &TopicInfo, position: &ConsumerPosition) -> TopicConsumer {
    let partition = topic.partitions.get(position.partition as usize);
    TopicConsumer {
        consumer: position.consumer.clone(),
        partition: position.partition,
        offset: position.offset,
        lag_rows: partition.map_or(0, |partition| partition.high_offset.saturating_sub(position.offset)),
        committed_at: iso(position.committed_ms),
    }
}

/// Shows rows of a topic, the newest ones without an offset.
#[utoipa::path(get, path = "/eventlog/{name}/rows", tag = "eventlog",
    params(("name" = String, Path), ("partition" = Option<u32>, Query), ("offset" = Option<u64>, Query),
        ("limit" = Option<usize>, Query)),
    responses((status = 200, body = TopicRows), (status = "default", body = ErrorBody)))]
async fn rows(
    State(app): State<App>,
    Viewer(ctx): Viewer,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<RowsQuery>,
) -> Result<Json<TopicRows>, ApiError> {
    let log = &app.state.eventlog;
    let topic = log.topic(&ctx, &TopicName::parse(&name)?).await?;
    let partition = query.partition.unwrap_or(0);
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).clamp(1, ROWS_MAX);
    let held = topic.partitions.get(partition as usize).cloned();
    let low = held.as_ref().map_or(0, |held| held.low_offset);
    let newest = held.as_ref().map_or(0, |held| held.high_offset.saturating_sub(limit as u64).max(low));
    let from = query.offset.unwrap_or(newest);
    let limits = ReadLimits { rows_max: limit, ..ReadLimits::default() };
    let read = log.read(&ctx, &topic.spec.name, partition, from, limits).await?;
    let mut columns: Vec<ResultColumn> = Vec::new();
    let mut rows = Vec::new();
    for batch in &read.batches {
        add_columns(&mut columns, &batch.batch);
        let left = limit - rows.len();
        rows.extend(batch_rows(batch, left)?);
        if rows.len() >= limit {
            break;
        }
    }
    Ok(Json(TopicRows { columns, rows, low_offset: low, high_offset: read.high_offset }))
}

/// Adds columns of a batch that are not in the list yet: the schema may change from batch to batch.
fn add_columns(columns: &mut Vec<ResultColumn>, batch: &RecordBatch) {
    for field in batch.schema().fields() {
        let is_own = !META_COLUMNS.contains(&field.name().as_str());
        if is_own && columns.iter().all(|column| column.name != *field.name()) {
            columns.push(ResultColumn { name: field.name().clone(), r#type: type_name(field.data_type()) });
        }
    }
}

fn batch_rows(log_batch: &LogBatch, limit: usize) -> Result<Vec<TopicRow>, ApiError> {
    let batch = log_batch.batch.slice(0, limit.min(log_batch.batch.num_rows()));
    let schema = batch.schema();
    let own: Vec<usize> = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| !META_COLUMNS.contains(&field.name().as_str()))
        .map(|(index, _)| index)
        .collect();
    let data = batch.project(&own).map_err(|error| ApiError::internal(error.to_string()))?;
    let values = rows_json(&data)?;
    let kinds = batch.column_by_name(KIND).and_then(|column| column.as_primitive_opt::<Int8Type>());
    let times = batch
        .column_by_name(EVENT_TIME)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let mut rows = Vec::with_capacity(values.len());
    for (index, row) in values.into_iter().enumerate() {
        let code = kinds.map_or(0, |kinds| kinds.value(index));
        let time = times.filter(|times| times.is_valid(index)).map(|times| times.value(index) / 1_000);
        let named = data.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let Value::Array(row) = row else { continue };
        rows.push(TopicRow {
            offset: log_batch.first_offset + index as u64,
            at: iso(time.unwrap_or(log_batch.appended_ms)),
            kind: ChangeKind::from_code(code).unwrap_or(ChangeKind::Insert),
            values: named.into_iter().zip(row).collect(),
        });
    }
    Ok(rows)
}
