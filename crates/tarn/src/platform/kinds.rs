//! The kinds of resources that this program knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_component::schema_of;
use tarn_core::{ByteSize, HumanDuration};
use tarn_eventlog::Retention;
use tarn_ingest::SOURCES;
use tarn_lakehouse::PartitionTerm;
use tarn_meta::{KindSpec, Kinds, NameRule, Variants};

/// A source: reads one system, makes a topic and a table of each of its tables.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceResource {
    /// What is read, such as `postgres_cdc`; the other keys depend on it.
    #[serde(rename = "type")]
    pub source_type: String,
    /// Namespace of the tables; the source's name if left out.
    #[serde(default)]
    pub into: Option<String>,
    /// Stands still; goes on where it stopped once this is false.
    #[serde(default)]
    pub paused: bool,
}

/// Settings of a topic. A topic without them keeps everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicResource {
    /// What the topic keeps.
    pub retention: Retention,
}

/// Settings of a table that follows a topic.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableResource {
    /// Longest time between the arrival of a change and its commit, such as `"1s"`.
    pub freshness: Option<HumanDuration>,
    /// A commit comes sooner once this many rows wait.
    pub flush_rows: Option<usize>,
    /// A commit comes sooner once rows of this size wait in memory.
    pub flush_bytes: Option<ByteSize>,
    /// How its rows are partitioned, such as `[day(created_at), "bucket(16, id)"]`. Changed later, it holds for rows that come
    /// from then on; `OPTIMIZE` rewrites the others.
    pub partitioned_by: Option<Vec<PartitionTerm>>,
}

fn schema<T: JsonSchema>() -> Value {
    schema_of::<T>().to_value()
}

/// All kinds.
pub fn kinds() -> Kinds {
    let own: BTreeMap<String, Value> = SOURCES
        .iter()
        .map(|spec| (spec.component.name.to_string(), (spec.component.config)().to_value()))
        .collect();
    let variants = Variants { key: "type", noun: "source type", schemas: own };
    Kinds::new(vec![
        KindSpec::new("source", schema::<SourceResource>).with_variants(variants),
        KindSpec::new("topic", schema::<TopicResource>).with_names(NameRule::Topic),
        KindSpec::new("table", schema::<TableResource>).with_names(NameRule::Table),
    ])
}
