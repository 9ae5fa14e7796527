//! Configuration of `http_push`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_core::ByteSize;

use crate::error::IngestError;
use crate::records::{ColumnConfig, repeated_name};

/// Takes JSON records over HTTP and answers once they are durable: `POST /api/v1/ingest/<source>/push`. State: the
/// schema and the last 1,000 idempotency keys per table.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpPushConfig {
    /// Table of pushes without `?table=`; the source's name without it.
    pub table: Option<String>,
    /// Key columns of that table. With a key, a later record of the same key replaces the earlier one.
    pub key: Vec<String>,
    /// Columns of that table. Without it they are found in the records: new fields become columns, and types widen
    /// from int64 to float64 to string.
    pub schema: Vec<ColumnConfig>,
    /// Further tables, pushed to with `?table=<name>`.
    pub tables: Vec<PushTable>,
    /// Whether a push to a table that is not named here makes it, without a key.
    pub new_tables: bool,
    /// Largest body, after decompression.
    pub body_max: ByteSize,
    /// Deepest nesting of a record, at most 100.
    pub depth_max: u32,
}

/// A table that takes pushes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushTable {
    /// Its name.
    pub name: String,
    /// Its key columns.
    #[serde(default)]
    pub key: Vec<String>,
    /// Its columns; found in the records if empty.
    #[serde(default)]
    pub schema: Vec<ColumnConfig>,
}

impl Default for HttpPushConfig {
    fn default() -> Self {
        Self {
            table: None,
            key: Vec::new(),
            schema: Vec::new(),
            tables: Vec::new(),
            new_tables: false,
            body_max: ByteSize(16 << 20),
            depth_max: 32,
        }
    }
}

/// Bodies above this would not fit into what a source may have in flight.
const BODY_MAX: u64 = 64 << 20;
const DEPTH_MAX: u32 = 100;

impl HttpPushConfig {
    /// All named tables, the default one first. `source`: the source's name.
    pub(super) fn all_tables(&self, source: &str) -> Vec<PushTable> {
        let name = self.table.clone().unwrap_or_else(|| source.to_string());
        let first = PushTable { name, key: self.key.clone(), schema: self.schema.clone() };
        std::iter::once(first).chain(self.tables.iter().cloned()).collect()
    }

    /// Checks what the types cannot say. Errors: `InvalidConfig`.
    pub(super) fn check(&self, source: &str) -> Result<(), IngestError> {
        if self.body_max.0 == 0 || self.body_max.0 > BODY_MAX {
            return Err(IngestError::config("body_max", "is out of range", "write a size up to \"64MB\""));
        }
        if self.depth_max == 0 || self.depth_max > DEPTH_MAX {
            return Err(IngestError::config("depth_max", "is out of range", "write a number from 1 to 100"));
        }
        let tables = self.all_tables(source);
        if let Some(name) = repeated_name(tables.iter().map(|table| table.name.as_str())) {
            return Err(IngestError::config(
                "tables",
                format!("`{name}` stands twice"),
                "name each table once",
            ));
        }
        for table in &tables {
            if table.name.trim().is_empty() {
                return Err(IngestError::config("tables", "a name is empty", "name the table"));
            }
            let names = || table.schema.iter().map(|column| column.name.as_str());
            if let Some(name) = repeated_name(names()) {
                let what = format!("column `{name}` of table `{}` stands twice", table.name);
                return Err(IngestError::config("schema", what, "name each column once"));
            }
            let unknown =
                table.key.iter().find(|key| !table.schema.is_empty() && names().all(|name| name != *key));
            if let Some(key) = unknown {
                let what = format!("table `{}` has no column `{key}`", table.name);
                return Err(IngestError::config("key", what, "name a column of `schema`"));
            }
        }
        Ok(())
    }
}
