use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ResultColumn;

/// What a topic keeps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicRetention {
    /// Rows older than this may be dropped, such as `7d`.
    pub age: Option<String>,
    /// The oldest rows of a partition are dropped above this size, such as `10GB`.
    pub size: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Number of partitions.
    pub partitions: u64,
    /// Rows held.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The oldest row held, over all partitions.
    pub low_offset: u64,
    /// One past the newest row, over all partitions.
    pub high_offset: u64,
    /// Rows appended per second, over the last ten seconds.
    pub rows_per_s: f64,
    /// When the last row came.
    pub last_append_at: Option<String>,
    /// What it keeps.
    pub retention: TopicRetention,
    /// Source that writes it.
    pub source: Option<String>,
    /// Number of consumers.
    pub consumers: u64,
}

/// A topic with everything known about it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub summary: TopicSummary,
    /// Columns of the newest rows.
    pub schema: Vec<TopicColumn>,
    /// Key columns.
    pub key: Vec<String>,
    /// Partitions in order.
    pub partition_list: Vec<TopicPartition>,
    /// Who reads it and how far.
    pub consumer_list: Vec<TopicConsumer>,
}

/// A column of a topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A partition of a topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicPartition {
    /// Its number.
    pub partition: u32,
    /// The oldest row held.
    pub low_offset: u64,
    /// One past the newest row.
    pub high_offset: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u32,
}

/// How far a consumer is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicConsumer {
    /// Its name.
    pub consumer: String,
    /// The partition.
    pub partition: u32,
    /// The next row it will read.
    pub offset: u64,
    /// Rows that it has not read.
    pub lag_rows: u64,
    /// When it said so.
    pub committed_at: String,
}

/// Rows of a topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicRows {
    /// Columns of the source.
    pub columns: Vec<ResultColumn>,
    /// In offset order.
    pub rows: Vec<TopicRow>,
    /// The oldest row held.
    pub low_offset: u64,
    /// One past the newest row.
    pub high_offset: u64,
}

/// A row of a topic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopicRow {
    /// Its number in the partition.
    pub offset: u64,
    /// When the change happened, or when it was appended where the source does not say.
    pub at: String,
    /// `insert`, `update_before`, `update_after`, `delete` or `truncate`.
    #[schema(value_type = String)]
    pub kind: tarn_core::ChangeKind,
    /// Values by column; absent where the source did not send one.
    #[schema(value_type = Object)]
    pub values: Map<String, Value>,
}
