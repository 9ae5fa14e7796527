//! The kinds of resources that this program knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_component::schema_of;
use tarn_core::{ByteSize, HumanDuration};
use tarn_eventlog::Retention;
use tarn_ingest::SOURCES;
use tarn_lakehouse::{PartitionTerm, SchemaPolicy, SchemaRule, WithoutKey};
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
    /// What becomes of a table here when columns of its table at the source are added, dropped, renamed or change their type.
    #[serde(default)]
    pub on_schema_change: SchemaPolicy,
    /// The same for single tables, such as `{ public.orders: fail, "audit.*": ignore }`; `*` stands for any letters.
    #[serde(default)]
    pub on_schema_change_of: BTreeMap<String, SchemaPolicy>,
    /// A column that is dropped at the source is dropped here too, with the values of rows that are there. Otherwise it stays.
    /// Holds for the policies `evolve` and `try`.
    #[serde(default)]
    pub drop_columns: bool,
}

/// Keys of a source that are not those of its type.
pub const SOURCE_KEYS: [&str; 6] =
    ["type", "into", "paused", "on_schema_change", "on_schema_change_of", "drop_columns"];

impl SourceResource {
    /// How the table of a source's table follows it. `table`: such as `public.orders`.
    pub fn schema_rule(&self, table: &str) -> SchemaRule {
        let named = self.on_schema_change_of.iter().filter(|(pattern, _)| is_meant(pattern, table));
        // What is named more exactly counts.
        let named = named.max_by_key(|(pattern, _)| (!pattern.contains('*'), pattern.len()));
        let policy = named.map_or(self.on_schema_change, |(_, policy)| *policy);
        SchemaRule { policy, drop_columns: self.drop_columns }
    }
}

/// Whether `*` of a pattern can stand for letters so that it becomes `text`.
fn is_meant(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| is_meant(rest, &text[at..]))
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
    /// Which row an update or delete means where the table has no key.
    pub without_key: Option<WithoutKey>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_that_names_a_table_most_exactly_counts() {
        let spec = serde_json::json!({
            "type": "postgres_cdc",
            "on_schema_change": "lenient",
            "on_schema_change_of": { "public.*": "ignore", "public.order*": "try", "public.orders": "fail" },
        });
        let source: SourceResource = serde_json::from_value(spec).expect("valid");
        let policy = |table: &str| source.schema_rule(table).policy;
        assert_eq!(policy("public.orders"), SchemaPolicy::Fail);
        assert_eq!(policy("public.order_lines"), SchemaPolicy::Try);
        assert_eq!(policy("public.item"), SchemaPolicy::Ignore);
        assert_eq!(policy("audit.item"), SchemaPolicy::Lenient);
    }
}
