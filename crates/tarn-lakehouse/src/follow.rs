//! The columns of a table follow those of its source, as far as its policy lets them.
//!
//! | at the source | `evolve` | `try` | `lenient` | `ignore` | `fail` |
//! |---|---|---|---|---|---|
//! | column added | added | added; one that the table cannot take is left out | added | left out | stands still |
//! | column dropped | stays, null from then on; goes with `drop_columns` | the same | stays | stays | stands still |
//! | column renamed | renamed | renamed | the new name is a new column, the old one stays | goes on under its old name | stands still |
//! | type widened | widened | widened | widened | stays; values that do not fit become null | stands still |
//! | any other type | a new column, the old one stays as `NAME_dropped_1` | the same | the same | stays; values that do not fit become null | stands still |
//! | type of a key column | widened, or stands still | the same | the same | stands still | stands still |

use std::collections::BTreeSet;
use std::fmt;

use arrow::datatypes::Schema as ArrowSchema;
use iceberg::spec::{NestedField, TableMetadata, Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::error::LakehouseError;
use crate::types::{
    COLUMN_ID, DROPPED_PROPERTY, Ids, SourceSchema, build_schema, data_columns, dropped_columns, fits,
    free_name, iceberg_type, source_columns, source_properties, unmappable, widened,
};

/// Table property: what became of changes of the source's columns, JSON, the newest last.
pub const CHANGES_PROPERTY: &str = "tarn.schema.changes";
/// Table property: the source's columns that a person accepted, whatever the policy.
pub const ACCEPTED_PROPERTY: &str = "tarn.schema.accepted";
/// Changes that the property remembers.
const CHANGES_MAX: usize = 20;

/// What becomes of a table when the columns of its source change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaPolicy {
    /// The table follows; where it cannot, it stands still and says so.
    #[default]
    Evolve,
    /// The table follows where it can; what it cannot take is left out.
    Try,
    /// The table takes what is new and keeps what it has: nothing is renamed.
    Lenient,
    /// The table stays as it is; values of columns that it has not are left out.
    Ignore,
    /// The table stands still before the change until a person decides.
    Fail,
}

/// How a table follows its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaRule {
    /// What becomes of a change.
    pub policy: SchemaPolicy,
    /// A column that is dropped at the source is dropped here too, where the policy is to follow.
    pub drop_columns: bool,
}

/// A change of the source's columns, and what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaNote {
    /// When it was seen, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Such as ``column `note` was added (string)``.
    pub change: String,
    /// Such as `added here`.
    pub outcome: String,
}

/// What a new schema of the source does to a table.
pub(crate) struct Followed {
    /// The table's schema from now on, where it is another one.
    pub schema: Option<SourceSchema>,
    /// What changed at the source, with what comes of it.
    pub changes: Vec<(Change, String)>,
}

/// A change of one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Added { column: String, to: Type },
    Dropped { column: String },
    Renamed { from: String, to: String },
    Widened { column: String, from: Type, to: Type },
    Retyped { column: String, from: Type, to: Type },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { column, to } => write!(f, "column `{column}` was added ({to})"),
            Self::Dropped { column } => write!(f, "column `{column}` was dropped"),
            Self::Renamed { from, to } => write!(f, "column `{from}` was renamed to `{to}`"),
            Self::Widened { column, from, to } => {
                write!(f, "the type of column `{column}` was widened from {from} to {to}")
            }
            Self::Retyped { column, from, to } => {
                write!(f, "the type of column `{column}` was changed from {from} to {to}")
            }
        }
    }
}

/// Stands for the source's columns: their names, types and numbers.
pub(crate) fn fingerprint(data: &ArrowSchema) -> String {
    let columns = data_columns(data).map(|field| {
        let number = field.metadata().get(COLUMN_ID).map_or("", String::as_str);
        format!("{} {} {number}\n", field.name(), field.data_type())
    });
    format!("{:032x}", XxHash3_128::oneshot(columns.collect::<String>().as_bytes()))
}

/// The changes that a table remembers.
pub(crate) fn notes(metadata: &TableMetadata) -> Vec<SchemaNote> {
    let text = metadata.properties().get(CHANGES_PROPERTY);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The property after more changes; `None` where all of them are remembered already.
pub(crate) fn noted(
    metadata: &TableMetadata,
    changes: &[(Change, String)],
    at_ms: i64,
) -> Option<(String, String)> {
    let mut known = notes(metadata);
    let before = known.len();
    for (change, outcome) in changes {
        let change = change.to_string();
        if !known.iter().any(|note| note.change == change && note.outcome == *outcome) {
            known.push(SchemaNote { at_ms, change, outcome: outcome.clone() });
        }
    }
    if known.len() == before {
        return None;
    }
    known.drain(..known.len().saturating_sub(CHANGES_MAX));
    Some((CHANGES_PROPERTY.into(), serde_json::json!(known).to_string()))
}

struct Follow<'a> {
    table: &'a str,
    key: &'a [String],
    rule: SchemaRule,
    fields: Vec<NestedField>,
    columns: std::collections::BTreeMap<String, i32>,
    dropped: BTreeSet<i32>,
    ids: Ids,
    is_changed: bool,
    changes: Vec<(Change, String)>,
}

/// What becomes of a table whose source has the columns of `data` now. Errors: `Unmappable` for what the table cannot
/// follow; `SchemaChange` where the policy is to stand still.
pub(crate) fn follow(
    table: &str,
    metadata: &TableMetadata,
    data: &ArrowSchema,
    key: &[String],
    rule: SchemaRule,
) -> Result<Followed, LakehouseError> {
    let current = metadata.current_schema();
    let is_accepted = || metadata.properties().get(ACCEPTED_PROPERTY) == Some(&fingerprint(data));
    let stands = rule.policy == SchemaPolicy::Fail && !is_accepted();
    let policy = if rule.policy == SchemaPolicy::Fail { SchemaPolicy::Evolve } else { rule.policy };
    let mut follow = Follow {
        table,
        key,
        rule: SchemaRule { policy, ..rule },
        fields: current.as_struct().fields().iter().map(|field| field.as_ref().clone()).collect(),
        columns: source_columns(metadata),
        dropped: dropped_columns(metadata),
        ids: Ids(metadata.last_column_id()),
        is_changed: false,
        changes: Vec::new(),
    };
    let known = follow.known(data);
    for (field, at) in data_columns(data).zip(known) {
        match at {
            None => follow.add(field)?,
            Some(id) => follow.change(field, id)?,
        }
    }
    follow.drop_missing(data, metadata);
    if stands && !follow.changes.is_empty() {
        let changes: Vec<String> = follow.changes.iter().map(|(change, _)| change.to_string()).collect();
        return Err(LakehouseError::SchemaChange { table: table.into(), changes: changes.join(", ") });
    }
    let Follow { fields, columns, dropped, is_changed, changes, .. } = follow;
    if !is_changed {
        return Ok(Followed { schema: None, changes });
    }
    let mut properties = source_properties(&columns, key);
    properties.insert(DROPPED_PROPERTY.into(), serde_json::json!(dropped).to_string());
    let schema = build_schema(table, fields, key, current.schema_id() + 1)?;
    Ok(Followed { schema: Some(SourceSchema { schema, properties }), changes })
}

impl Follow<'_> {
    fn is(&self, policy: SchemaPolicy) -> bool {
        self.rule.policy == policy
    }

    /// For each column of the source, the field that takes it until now.
    fn known(&self, data: &ArrowSchema) -> Vec<Option<i32>> {
        let find = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            let number = field.metadata().get(COLUMN_ID);
            let known = number.and_then(|number| self.columns.get(number)).copied();
            let by_number = self.fields.iter().find(|f| known == Some(f.id));
            let by_name = || {
                // A name that belongs to another column of the source is no match.
                let taken = |id: i32| number.is_some() && self.columns.values().any(|own| *own == id);
                self.fields.iter().find(|f| known.is_none() && &f.name == field.name() && !taken(f.id))
            };
            by_number.or_else(by_name).map(|field| field.id)
        };
        data_columns(data).map(find).collect()
    }

    fn take(&mut self, field: &arrow::datatypes::Field, id: i32) {
        if let Some(number) = field.metadata().get(COLUMN_ID) {
            self.columns.insert(number.clone(), id);
        }
    }

    fn type_of(&self, field: &arrow::datatypes::Field) -> Result<Type, LakehouseError> {
        let mut probe = Ids(self.ids.0);
        iceberg_type(field, &mut probe).map_err(|what| unmappable(self.table, field.name(), what))
    }

    /// A new field for a column of the source; whatever has its name gives way.
    fn new_field(&mut self, field: &arrow::datatypes::Field) -> Result<(), LakehouseError> {
        let id = self.ids.next();
        let to =
            iceberg_type(field, &mut self.ids).map_err(|what| unmappable(self.table, field.name(), what))?;
        free_name(&mut self.fields, field.name());
        self.fields.push(NestedField::optional(id, field.name(), to));
        self.take(field, id);
        self.is_changed = true;
        Ok(())
    }

    fn add(&mut self, field: &arrow::datatypes::Field) -> Result<(), LakehouseError> {
        let column = field.name().clone();
        let to = match self.type_of(field) {
            Ok(to) => to,
            Err(error) if self.is(SchemaPolicy::Try) || self.is(SchemaPolicy::Ignore) => {
                let to = Type::Primitive(iceberg::spec::PrimitiveType::Binary);
                self.changes.push((Change::Added { column, to }, format!("left out: {error}")));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let change = Change::Added { column, to };
        if self.is(SchemaPolicy::Ignore) {
            self.changes.push((change, "its values are left out".into()));
            return Ok(());
        }
        self.new_field(field)?;
        self.changes.push((change, "added here".into()));
        Ok(())
    }

    fn change(&mut self, field: &arrow::datatypes::Field, id: i32) -> Result<(), LakehouseError> {
        let Some(at) = self.fields.iter().position(|known| known.id == id) else { return Ok(()) };
        self.is_changed |= self.dropped.remove(&id);
        let incoming = self.type_of(field)?;
        let (name, known) = (self.fields[at].name.clone(), self.fields[at].field_type.as_ref().clone());
        let is_key = self.key.contains(&name) || self.key.contains(field.name());
        if name != *field.name() {
            let change = Change::Renamed { from: name.clone(), to: field.name().clone() };
            if self.is(SchemaPolicy::Ignore) {
                self.changes.push((change, format!("it goes on as `{name}` here")));
            } else if self.is(SchemaPolicy::Lenient) && !is_key {
                self.dropped.insert(id);
                self.new_field(field)?;
                let outcome = format!("`{}` was added here, `{name}` stays with what it had", field.name());
                self.changes.push((change, outcome));
                return Ok(());
            } else {
                free_name(&mut self.fields, field.name());
                self.fields[at].name = field.name().clone();
                self.is_changed = true;
                self.changes.push((change, "renamed here".into()));
            }
        }
        let column = field.name().clone();
        if let Some(wider) = widened(&known, &incoming) {
            let change = Change::Widened { column, from: known, to: wider.clone() };
            if self.is(SchemaPolicy::Ignore) && !is_key {
                self.changes.push((change, "it stays; values that do not fit become null".into()));
                return Ok(());
            }
            *self.fields[at].field_type = wider;
            self.is_changed = true;
            self.changes.push((change, "widened here".into()));
            return Ok(());
        }
        if fits(&known, &incoming) {
            return Ok(());
        }
        if is_key {
            let what = format!("it is part of the key and its type changed from {known} to {incoming}");
            return Err(unmappable(self.table, field.name(), what));
        }
        let change = Change::Retyped { column, from: known, to: incoming };
        if self.is(SchemaPolicy::Ignore) {
            self.changes.push((change, "it stays; values that do not fit become null".into()));
            return Ok(());
        }
        // Old files keep their values under another name; the source reads the table anew for the new ones.
        self.dropped.insert(id);
        self.new_field(field)?;
        let old =
            self.fields.iter().find(|known| known.id == id).map_or_else(String::new, |f| f.name.clone());
        self.changes.push((change, format!("a new column here, the old one stays as `{old}`")));
        Ok(())
    }

    /// Columns that the source has no more.
    fn drop_missing(&mut self, data: &ArrowSchema, metadata: &TableMetadata) {
        let is_there = |number: &String, name: &str| {
            data_columns(data).any(|field| {
                field.metadata().get(COLUMN_ID) == Some(number)
                    || (field.name() == name && field.metadata().get(COLUMN_ID).is_none())
            })
        };
        let missing: Vec<i32> = self
            .columns
            .iter()
            .filter(|(number, id)| {
                let name = self.fields.iter().find(|field| field.id == **id).map(|field| field.name.as_str());
                !self.dropped.contains(id) && name.is_some_and(|name| !is_there(number, name))
            })
            .map(|(_, id)| *id)
            .collect();
        for id in missing {
            let Some(at) = self.fields.iter().position(|field| field.id == id) else { continue };
            let column = self.fields[at].name.clone();
            let follows = self.is(SchemaPolicy::Evolve) || self.is(SchemaPolicy::Try);
            let in_spec =
                metadata.partition_specs_iter().flat_map(|spec| spec.fields()).any(|f| f.source_id == id);
            let in_order = metadata.default_sort_order().fields.iter().any(|field| field.source_id == id);
            let is_needed = self.key.contains(&column) || in_spec || in_order || self.fields.len() == 1;
            let outcome = if follows && self.rule.drop_columns && !is_needed {
                self.fields.remove(at);
                self.columns.retain(|_, own| *own != id);
                "dropped here"
            } else {
                self.dropped.insert(id);
                "it stays here, null from now on"
            };
            self.is_changed = true;
            self.changes.push((Change::Dropped { column }, outcome.into()));
        }
    }
}
