use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::ResultColumn;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultFormat {
    /// One JSON object.
    #[default]
    Json,
    /// CSV with a header line, streamed.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// A query to run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// One statement.
    pub sql: String,
    /// How the result is written.
    #[serde(default)]
    pub format: ResultFormat,
    /// Rows given at most; 10,000 by default for `json`, all for the others.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Time limit, such as `30s`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<tarn_core::HumanDuration>,
    /// Name under which the query can be cancelled; a random one by default.
    #[serde(default)]
    pub query_id: Option<String>,
    /// Also gives the plan.
    #[serde(default)]
    pub explain: bool,
    /// Refuses a statement that changes something, for texts that nobody has read, such as those of a link.
    #[serde(default)]
    pub read_only: bool,
}

/// The result of a query.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueryResult {
    /// Name of the query.
    pub query_id: String,
    /// Columns.
    pub columns: Vec<ResultColumn>,
    /// Rows. Whole numbers beyond 2^53 and decimals are texts, times ISO 8601, binary hex.
    #[schema(value_type = Vec<Vec<Object>>)]
    pub rows: Vec<Vec<Value>>,
    /// Number of rows given.
    pub row_count: u64,
    /// Whether there were more.
    pub truncated: bool,
    /// Time taken.
    pub elapsed_ms: f64,
    /// What was read.
    pub stats: ScanSummary,
    /// The physical plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Of a statement that changes something: what it did, such as `INSERT`. One about rows gives their number as its only
    /// value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What a query read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ScanSummary {
    /// Data files of the tables.
    pub files_total: u64,
    /// Data files that were read.
    pub files_scanned: u64,
    /// Rows that were read.
    pub rows_scanned: u64,
    /// Bytes that were read.
    pub bytes_scanned: u64,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueryRunState {
    /// It runs.
    Running,
    /// It gave its result.
    Done,
    /// It ended with an error.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// A query in the list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueryEntry {
    /// Name of the query.
    pub query_id: String,
    /// Its text, cut after 10,000 characters.
    pub sql: String,
    /// Who asked.
    pub principal: String,
    /// What became of it.
    pub state: QueryRunState,
    /// When it came.
    pub started_at: String,
    /// Time taken until now.
    pub elapsed_ms: u64,
    /// Rows given.
    pub rows: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What an editor can offer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionList {
    /// Tables.
    pub tables: Vec<CompletionTableEntry>,
    /// Functions.
    pub functions: Vec<CompletionFunctionEntry>,
    /// Words of the language.
    pub keywords: Vec<String>,
}

/// A table with its columns.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionTableEntry {
    /// `namespace.table`.
    pub name: String,
    /// Columns.
    pub columns: Vec<ResultColumn>,
}

/// A function.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompletionFunctionEntry {
    /// Name.
    pub name: String,
    /// How it is called.
    pub signature: String,
    /// What it does.
    pub description: String,
}
