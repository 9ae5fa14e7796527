//! The columns of a table at one moment of its history, and the description made of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use tarn_core::change;

use super::catalog::{CatalogColumn, CatalogTable};
use super::pgoutput::Relation;
use super::types::{ColumnType, ServerTypes};
use crate::source::{SourceTable, TableDescription};

/// Which part of a table's rows a state covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The existing rows, not all of them.
    Snapshot,
    /// All existing rows and some changes.
    Stream,
}

/// What a batch stores for the next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How far the table is.
    pub phase: Phase,
    /// The table's number: another table of the same name is read anew.
    pub oid: u32,
    /// The server's `system_identifier`: positions of another server mean nothing.
    pub system: String,
    /// Types of the columns by number, empty while unknown. A column that changes its type changes the values of rows
    /// of which the server sends nothing, so the table is read anew.
    #[serde(default)]
    pub types: ColumnTypes,
}

/// Arrow types of columns, as text, by the columns' numbers.
pub type ColumnTypes = BTreeMap<i16, String>;

/// Whether columns changed their types from `before` to `now` so that existing values may be others.
pub fn is_rewritten(before: &ColumnTypes, now: &ColumnTypes) -> bool {
    let decimal = |text: &str| -> Option<(u8, String)> {
        let (precision, scale) = text.strip_prefix("Decimal128(")?.strip_suffix(')')?.split_once(", ")?;
        Some((precision.parse().ok()?, scale.to_string()))
    };
    before.iter().any(|(number, old)| {
        let Some(new) = now.get(number) else { return false };
        let keeps = match (old.as_str(), new.as_str()) {
            (old, new) if old == new => true,
            ("Int32", "Int64") | ("Float32", "Float64") => true,
            (old, new) => match (decimal(old), decimal(new)) {
                (Some((p, s)), Some((q, t))) => q >= p && s == t,
                _ => false,
            },
        };
        !keeps
    })
}

impl Note {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain fields always serialise")
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its number, as far as known.
    pub number: Option<i16>,
    /// What its values become.
    pub kind: ColumnType,
    /// The server's type.
    pub type_oid: u32,
}

/// The columns of a table, and all that batches of them need.
#[derive(Debug)]
pub struct Layout {
    /// The table's number.
    pub oid: u32,
    /// For the supervisor.
    pub description: TableDescription,
    /// Columns in the order of the server's messages.
    pub columns: Vec<Column>,
    /// Schema of the batches: the columns and the five added ones.
    pub change_schema: SchemaRef,
}

impl Layout {
    /// As the catalogue has it now.
    pub fn of_catalog(table: &CatalogTable, types: &ServerTypes) -> Self {
        let columns = table.columns.iter().map(|column| of_column(column, types));
        let key = table.key().iter().filter_map(|number| table.column_name(*number)).map(str::to_string);
        let key: Vec<String> = key.collect();
        Self::new(table.oid, table.table.clone(), columns.collect(), key)
    }

    /// As a message of the stream has it, which may be older than the catalogue. `current`: the table now, if it
    /// still exists; `previous`: the layout before the message.
    pub fn of_relation(
        relation: &Relation,
        types: &ServerTypes,
        current: Option<&CatalogTable>,
        previous: Option<&Self>,
    ) -> Self {
        let live = current.map_or(&[][..], |table| &table.columns);
        let numbers = column_numbers(relation, live, previous);
        let columns = relation.columns.iter().zip(&numbers).map(|(column, number)| {
            let now = live.iter().find(|candidate| Some(candidate.number) == *number);
            let same_type =
                now.filter(|now| now.type_oid == column.type_oid && now.modifier == column.modifier);
            let kind = types.resolve(column.type_oid, column.modifier, now.map_or(0, |now| now.dimensions));
            let made = Column { name: column.name.clone(), number: *number, kind, type_oid: column.type_oid };
            let type_name = match same_type {
                Some(now) => now.type_name.clone(),
                None => types.get(column.type_oid).map(|found| found.name.clone()).unwrap_or_default(),
            };
            let field = field(&made, type_name, same_type.is_some_and(|now| now.not_null));
            (made, field)
        });
        let key = relation_key(relation, &numbers, current);
        let table = SourceTable { namespace: relation.namespace.clone(), name: relation.name.clone() };
        Self::new(relation.oid, table, columns.collect(), key)
    }

    fn new(oid: u32, table: SourceTable, columns: Vec<(Column, Field)>, key: Vec<String>) -> Self {
        let (columns, fields): (Vec<Column>, Vec<Field>) = columns.into_iter().unzip();
        let schema = Arc::new(Schema::new(fields));
        let change_schema = change::change_schema(&schema);
        Self { oid, description: TableDescription { table, schema, key }, columns, change_schema }
    }

    /// The types of its columns, those whose numbers are known.
    pub fn types(&self) -> ColumnTypes {
        let fields = self.description.schema.fields();
        let numbered = self.columns.iter().zip(fields.iter());
        numbered.filter_map(|(column, field)| Some((column.number?, field.data_type().to_string()))).collect()
    }

    /// The table's name.
    pub fn table(&self) -> &SourceTable {
        &self.description.table
    }

    /// Whether rows of both can be in one batch and are described alike.
    pub fn is_same(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.description.table == other.description.table
            && self.description.key == other.description.key
            && self.description.schema == other.description.schema
    }
}

fn of_column(column: &CatalogColumn, types: &ServerTypes) -> (Column, Field) {
    let kind = types.resolve(column.type_oid, column.modifier, column.dimensions);
    let made =
        Column { name: column.name.clone(), number: Some(column.number), kind, type_oid: column.type_oid };
    let field = field(&made, column.type_name.clone(), column.not_null);
    (made, field)
}

fn field(column: &Column, type_name: String, not_null: bool) -> Field {
    let field = column.kind.field(&column.name, !not_null || column.kind.may_drop_values());
    let mut metadata: HashMap<String, String> = field.metadata().clone();
    metadata.insert("tarn.source_type".to_string(), type_name);
    if let Some(number) = column.number {
        metadata.insert("tarn.column_id".to_string(), number.to_string());
    }
    field.with_metadata(metadata)
}

/// The stream names columns without their numbers. When its names are those of the catalogue, the numbers are
/// certain; for a message from before a later change they are found by what was known before, then by name, then by
/// place, and left out where that says nothing.
fn column_numbers(
    relation: &Relation,
    live: &[CatalogColumn],
    previous: Option<&Layout>,
) -> Vec<Option<i16>> {
    let same_names = live.len() == relation.columns.len()
        && live.iter().zip(&relation.columns).all(|(a, b)| a.name == b.name);
    if same_names {
        return live.iter().map(|column| Some(column.number)).collect();
    }
    let by_name = |name: &str| {
        let known = previous.and_then(|layout| layout.columns.iter().find(|column| column.name == name));
        known
            .and_then(|column| column.number)
            .or_else(|| live.iter().find(|column| column.name == name).map(|column| column.number))
    };
    let mut numbers: Vec<Option<i16>> = relation.columns.iter().map(|column| by_name(&column.name)).collect();
    if live.len() == relation.columns.len() {
        for (at, now) in live.iter().enumerate() {
            let free = numbers[at].is_none() && !numbers.contains(&Some(now.number));
            if free && relation.columns[at].type_oid == now.type_oid {
                numbers[at] = Some(now.number);
            }
        }
    }
    numbers
}

fn relation_key(relation: &Relation, numbers: &[Option<i16>], current: Option<&CatalogTable>) -> Vec<String> {
    let name_of = |number: &i16| {
        let at = numbers.iter().position(|candidate| candidate.as_ref() == Some(number))?;
        Some(relation.columns[at].name.clone())
    };
    let ordered: Option<Vec<String>> =
        current.map(|table| table.key().iter().map(name_of).collect()).unwrap_or(None);
    let flagged: Vec<String> =
        relation.columns.iter().filter(|column| column.is_key).map(|column| column.name.clone()).collect();
    // With the whole row as identity every column is flagged, which is no key.
    let is_full = relation.identity == b'f';
    match ordered {
        Some(key) if is_full || relation.identity == b'n' => key,
        Some(key) if key.len() == flagged.len() && key.iter().all(|name| flagged.contains(name)) => key,
        _ if is_full => Vec::new(),
        _ => flagged,
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::Identity;
    use super::super::pgoutput::RelationColumn;
    use super::*;

    fn relation(names: &[&str]) -> Relation {
        let column = |name: &&str| RelationColumn {
            is_key: *name == "id",
            name: (*name).to_string(),
            type_oid: 23,
            modifier: -1,
        };
        Relation {
            oid: 7,
            namespace: "public".to_string(),
            name: "t".to_string(),
            identity: b'd',
            columns: names.iter().map(column).collect(),
        }
    }

    fn catalog(columns: &[(i16, &str)]) -> CatalogTable {
        let column = |(number, name): &(i16, &str)| CatalogColumn {
            number: *number,
            name: (*name).to_string(),
            type_oid: 23,
            modifier: -1,
            dimensions: 0,
            not_null: *name == "id",
            type_name: "integer".to_string(),
        };
        CatalogTable {
            oid: 7,
            table: SourceTable { namespace: "public".to_string(), name: "t".to_string() },
            partitioned: false,
            identity: Identity::Default,
            rows_estimated: 0,
            columns: columns.iter().map(column).collect(),
            primary_key: vec![1],
            identity_index: Vec::new(),
        }
    }

    fn numbers(names: &[&str], live: &[(i16, &str)], previous: Option<&Layout>) -> Vec<Option<i16>> {
        column_numbers(&relation(names), &catalog(live).columns, previous)
    }

    #[test]
    fn a_renamed_column_keeps_its_number() {
        let types = ServerTypes::default();
        let before = Layout::of_relation(
            &relation(&["id", "a"]),
            &types,
            Some(&catalog(&[(1, "id"), (2, "a")])),
            None,
        );
        assert_eq!(numbers(&["id", "b"], &[(1, "id"), (2, "b")], Some(&before)), [Some(1), Some(2)]);
        // A message from before the rename, read after a restart: found by place.
        assert_eq!(numbers(&["id", "a"], &[(1, "id"), (2, "b")], None), [Some(1), Some(2)]);
        // From before a column was dropped and another added: not guessed.
        assert_eq!(numbers(&["id", "a", "c"], &[(1, "id"), (4, "d")], None), [Some(1), None, None]);
        // The new column of an old name has its own number.
        assert_eq!(numbers(&["id", "a"], &[(1, "id"), (5, "a")], Some(&before)), [Some(1), Some(5)]);
    }

    #[test]
    fn a_field_tells_its_type_and_number() {
        let layout = Layout::of_catalog(&catalog(&[(1, "id"), (3, "v")]), &ServerTypes::default());
        let field = layout.description.schema.field(1);
        assert_eq!(field.metadata().get("tarn.column_id").map(String::as_str), Some("3"));
        assert_eq!(field.metadata().get("tarn.source_type").map(String::as_str), Some("integer"));
        assert!(field.is_nullable() && !layout.description.schema.field(0).is_nullable());
        assert_eq!(layout.description.key, ["id"]);
    }
}
