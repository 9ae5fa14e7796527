//! What a table that takes pushes knows: its columns, its last idempotency keys and who waits for rows.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Position, nearest};
use tarn_eventlog::ProducerState;

use super::body::Record;
use super::config::PushTable;
use crate::error::IngestError;
use crate::records::{
    Cell, ColumnConfig, Fingerprint, Inferred, RowBuilder, cell_of_json, plain_table, repeated_name,
    schema_of_columns, type_of_json,
};
use crate::source::TableDescription;

/// Idempotency keys remembered per table.
const KEYS_MAX: usize = 1_000;
/// Columns of a table at most.
const COLUMNS_MAX: usize = 2_000;

/// A push whose key is remembered: hash of the key, offset of the first row, rows, dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenPush(u64, pub(super) u64, pub(super) u64, pub(super) u64);

impl SeenPush {
    /// One past the last row.
    pub(super) fn next_offset(self) -> u64 {
        self.1 + self.2
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    columns: Vec<ColumnConfig>,
    #[serde(default)]
    keys: VecDeque<SeenPush>,
}

/// A record that does not fit: its number, its text and why.
pub(super) struct Misfit {
    pub(super) record: usize,
    pub(super) text: String,
    pub(super) reason: String,
}

/// Rows of one push.
pub(super) struct PushedRows {
    /// `None` if no record fits.
    pub(super) batch: Option<RecordBatch>,
    pub(super) first_offset: u64,
    pub(super) misfits: Vec<Misfit>,
    /// Set if the columns changed.
    pub(super) description: Option<TableDescription>,
}

/// A table that takes pushes. Offsets of rows are counted here: this source alone writes the table's topic, and the
/// position of a row is its offset plus one.
pub(super) struct PushedTable {
    config: PushTable,
    columns: Vec<ColumnConfig>,
    inferred: Inferred,
    described: bool,
    keys: VecDeque<SeenPush>,
    /// Offset of the next row.
    pub(super) next_offset: u64,
    /// Rows before this offset are durable.
    pub(super) durable_offset: u64,
}

fn hash(key: &str) -> u64 {
    Fingerprint::new().add(key.as_bytes()).value()
}

impl PushedTable {
    /// Goes on where `state` ends. Errors: `Decode`.
    pub(super) fn new(config: PushTable, state: Option<&ProducerState>) -> Result<Self, IngestError> {
        let note = match state {
            Some(state) => serde_json::from_slice(&state.note).map_err(|error| IngestError::Decode {
                what: format!("the stored state of table `{}`", config.name),
                source: error.into(),
            })?,
            None => Note::default(),
        };
        let next_offset = state.map_or(0, |state| state.position.minor);
        let columns = if config.schema.is_empty() { note.columns } else { config.schema.clone() };
        let inferred = Inferred::from_columns(&columns);
        let (keys, described) = (note.keys, false);
        Ok(Self { config, columns, inferred, described, keys, next_offset, durable_offset: next_offset })
    }

    /// The columns, once any are known.
    pub(super) fn description(&self) -> Option<TableDescription> {
        (!self.columns.is_empty()).then(|| TableDescription {
            table: plain_table(&self.config.name),
            schema: schema_of_columns(&self.columns),
            key: self.config.key.clone(),
        })
    }

    pub(super) fn seen(&self, key: &str) -> Option<SeenPush> {
        let hash = hash(key);
        self.keys.iter().rev().find(|push| push.0 == hash).copied()
    }

    pub(super) fn remember(&mut self, key: &str, first_offset: u64, rows: u64, dead_letters: u64) {
        if self.keys.len() == KEYS_MAX {
            self.keys.pop_front();
        }
        self.keys.push_back(SeenPush(hash(key), first_offset, rows, dead_letters));
    }

    /// What a restart needs to know.
    pub(super) fn note(&self) -> Result<Vec<u8>, IngestError> {
        let note = Note { columns: self.columns.clone(), keys: self.keys.clone() };
        serde_json::to_vec(&note).map_err(|error| IngestError::Broken {
            source_type: "http_push".to_string(),
            what: error.to_string(),
        })
    }

    /// Why a record cannot be a row whatever the types, if so.
    fn unfit(&self, fields: &Map<String, Value>) -> Option<String> {
        let key_missing = self.config.key.iter().find(|key| fields.get(*key).is_none_or(Value::is_null));
        if let Some(key) = key_missing {
            return Some(format!("the key column `{key}` is missing or null"));
        }
        if !self.config.schema.is_empty() {
            let names = || self.columns.iter().map(|column| column.name.as_str());
            let unknown = fields.keys().find(|field| names().all(|name| name != field.as_str()))?;
            let meant = nearest(unknown, names()).map(|name| format!("; did you mean `{name}`?"));
            return Some(format!("the table has no column `{unknown}`{}", meant.unwrap_or_default()));
        }
        if let Some(name) = fields.keys().find(|name| name.is_empty() || name.starts_with('_')) {
            return Some(format!("`{name}` cannot be a column name; start it with a letter"));
        }
        let lower: Vec<String> = fields.keys().map(|name| name.to_lowercase()).collect();
        repeated_name(lower.iter().map(String::as_str))
            .map(|name| format!("the fields named `{name}` differ only in letter case"))
    }

    /// Takes the types of records into account; returns the records that may become rows.
    fn admit<'a>(
        &mut self,
        records: &'a [Record],
        misfits: &mut Vec<Misfit>,
    ) -> Vec<(usize, &'a Map<String, Value>)> {
        let mut admitted = Vec::new();
        for (record, fields) in records.iter().enumerate() {
            let fields = match fields {
                Ok(fields) => fields,
                Err((text, reason)) => {
                    misfits.push(Misfit { record, text: text.clone(), reason: reason.clone() });
                    continue;
                }
            };
            let text = || Value::Object(fields.clone()).to_string();
            if let Some(reason) = self.unfit(fields) {
                misfits.push(Misfit { record, text: text(), reason });
                continue;
            }
            if self.config.schema.is_empty() {
                let before = self.inferred.clone();
                fields.iter().for_each(|(name, value)| self.inferred.see(name, type_of_json(value)));
                if self.inferred.columns().len() > COLUMNS_MAX {
                    self.inferred = before;
                    let reason = format!("the table would have more than {COLUMNS_MAX} columns");
                    misfits.push(Misfit { record, text: text(), reason });
                    continue;
                }
            }
            admitted.push((record, fields));
        }
        admitted
    }

    /// Turns records into rows. `now_us`: their event time. Errors: none of the records' faults, they are misfits.
    pub(super) fn rows(&mut self, records: &[Record], now_us: i64) -> Result<PushedRows, IngestError> {
        let mut misfits = Vec::new();
        let admitted = self.admit(records, &mut misfits);
        let columns = if self.config.schema.is_empty() {
            self.inferred.settled_columns()
        } else {
            self.columns.clone()
        };
        let changed = columns != self.columns;
        self.columns = columns;
        let mut builder = RowBuilder::new(&self.columns);
        for (record, fields) in admitted {
            let cells: Result<Vec<Cell<'_>>, String> = self
                .columns
                .iter()
                .map(|column| {
                    let value = fields.get(&column.name).unwrap_or(&Value::Null);
                    cell_of_json(column.column_type, value)
                        .map_err(|why| format!("column `{}`: {why}", column.name))
                })
                .collect();
            match cells {
                Ok(cells) if !cells.is_empty() => builder.append(&cells),
                Ok(_) => {
                    let reason = "all fields are null, so there is no column yet".to_string();
                    misfits.push(Misfit { record, text: Value::Object(fields.clone()).to_string(), reason });
                }
                Err(reason) => {
                    misfits.push(Misfit { record, text: Value::Object(fields.clone()).to_string(), reason });
                }
            }
        }
        misfits.sort_by_key(|misfit| misfit.record);
        let first_offset = self.next_offset;
        let rows = builder.rows();
        let batch = if rows == 0 { None } else { Some(self.batch(&mut builder, now_us)?) };
        let describe = rows > 0 && (changed || !self.described);
        self.described |= describe;
        let description = if describe { self.description() } else { None };
        self.next_offset += rows as u64;
        Ok(PushedRows { batch, first_offset, misfits, description })
    }

    fn batch(&self, builder: &mut RowBuilder, now_us: i64) -> Result<RecordBatch, IngestError> {
        let broken = |error: arrow::error::ArrowError| IngestError::Broken {
            source_type: "http_push".to_string(),
            what: error.to_string(),
        };
        let rows = builder.rows();
        let first = Position::new(0, self.next_offset + 1);
        let columns = builder.finish().map_err(broken)?;
        let added = ChangeColumns::uniform(ChangeKind::Insert, rows, first, Some(now_us));
        added.attach(&schema_of_columns(&self.columns), columns).map_err(broken)
    }
}
