//! What sinks are told, and what they tell.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::{ByteSize, FaultReport, HumanDuration, TableName, TopicName};

use super::compact::Compaction;
use crate::alter::PartitionTerm;
use crate::follow::SchemaRule;

/// When changes of a topic become a commit of its table. Our own SQL sees them before, as soon as they are in the topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkConfig {
    /// Longest time between a change and the commit with which other engines see it, such as `"1m"`. Shorter makes more
    /// and smaller files. A change after a quiet time is committed within a second or two.
    pub freshness: HumanDuration,
    /// A commit comes sooner once this many rows wait.
    pub flush_rows: usize,
    /// A commit comes sooner once rows of this size wait in memory. Reading stops at twice that, until a commit is done.
    pub flush_bytes: ByteSize,
    /// How the table is partitioned, where the table's own settings say it.
    #[serde(skip)]
    pub partitioned_by: Option<Vec<PartitionTerm>>,
    /// What becomes of the table when the columns of its source change, where the source's settings say it.
    #[serde(skip)]
    pub schema_rule: SchemaRule,
    /// Which row an update or delete means in a table without a key, where the table's own settings say it.
    #[serde(skip)]
    pub without_key: WithoutKey,
}

/// Which row of a table without a key an update or delete means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutKey {
    /// One that has all the values that the row had, and of several equal ones, one. The source has to send them all, as
    /// PostgreSQL does with `REPLICA IDENTITY FULL`.
    #[default]
    Rows,
    /// None: rows only come, as in a log.
    Append,
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            freshness: HumanDuration::from_secs(60),
            flush_rows: 1_000_000,
            flush_bytes: ByteSize(256 << 20),
            partitioned_by: None,
            schema_rule: SchemaRule::default(),
            without_key: WithoutKey::default(),
        }
    }
}

/// Which topic feeds which table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// The topic.
    pub topic: TopicName,
    /// The table.
    pub table: TableName,
}

/// What a sink does now.
#[derive(Clone, Debug, Default)]
pub struct SinkStatus {
    /// Next offset that our SQL does not see.
    pub applied_offset: u64,
    /// Next offset that is in no commit, so that other engines do not see it.
    pub committed_offset: u64,
    /// One past the newest row of the topic.
    pub high_offset: u64,
    /// Time of the last commit, milliseconds since 1970 UTC.
    pub committed_ms: Option<i64>,
    /// Time between the arrival of the oldest of the newest rows in the topic and the moment when our SQL saw them.
    pub freshness_ms: Option<i64>,
    /// When our SQL saw something new last, milliseconds since 1970 UTC.
    pub shown_ms: Option<i64>,
    /// Where the metadata of the last commit of the sink lies; any other is of another writer.
    pub own_commit: Option<Arc<str>>,
    /// What goes on beside it: `flush`, `compact`, `expire` or `remove orphans`.
    pub work: Option<&'static str>,
    /// Why it stands still, if it does.
    pub fault: Option<FaultReport>,
    /// Updates and deletes of rows that a table without a key has not.
    pub ignored: u64,
    /// Values that the table has no place for, left out as the policy for changes of the source's columns says.
    pub left_out: u64,
    /// Stands for the columns of the source that wait for a decision.
    pub undecided: Option<Arc<str>>,
    /// Rows in memory that are in no file yet.
    pub hot_rows: u64,
    /// Bytes of them.
    pub hot_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Rows written since the start.
    pub rows: u64,
    /// Rows of files that were replaced or deleted since the start.
    pub deleted: u64,
    /// Compactions since the start.
    pub compactions: u64,
    /// The last compaction.
    pub last_compaction: Option<Compaction>,
}
