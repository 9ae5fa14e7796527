//! The statement that would make a table or a view.

use arrow::datatypes::{DataType, Field};
use iceberg::spec::Transform;
use tarn_lakehouse::TableView;

use super::rewrite::type_name;
use crate::SqlView;

/// Properties that say how Tarn keeps the table, or that every table gets.
const OWN: &[&str] = &["comment", "write.metadata.previous-versions-max"];
const OWN_PREFIX: &str = "tarn.";

fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    // Any word may be one of SQL.
    if is_plain && name.contains('_') {
        name.to_string()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn type_text(field: &Field) -> String {
    match field.data_type() {
        DataType::FixedSizeBinary(16) => "UUID".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", type_text(item)),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", quoted(field.name()), type_text(field)));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let parts: Vec<String> = fields.iter().map(|field| type_text(field)).collect();
                format!("MAP({})", parts.join(", "))
            }
            _ => "MAP".into(),
        },
        other => type_name(other).unwrap_or_else(|| other.to_string()),
    }
}

/// Statements that make a view with the columns, the query and the comment of this one. Its query is given as it was
/// written: names without a namespace mean the one that the session had, which is said where it matters.
pub(crate) fn create_view_statement(view: &SqlView) -> String {
    let name = format!("{}.{}", quoted(view.name.namespace()), quoted(view.name.name()));
    let columns: Vec<String> = view.columns.fields().iter().map(|field| quoted(field.name())).collect();
    let mut sql = format!("CREATE VIEW {name} ({}) AS\n{}", columns.join(", "), view.sql);
    if let Some(comment) = &view.comment {
        sql.push_str(&format!(";\nCOMMENT ON VIEW {name} IS {}", text(comment)));
    }
    match view.namespace.as_str() {
        namespace if namespace == view.name.namespace() => sql,
        namespace => format!("SET search_path = {};\n{sql}", quoted(namespace)),
    }
}

/// Statements that make a table with the columns, the key, the partitioning, the properties and the comments of this one.
pub(crate) fn create_statement(view: &TableView) -> String {
    let table = format!("{}.{}", quoted(view.name.namespace()), quoted(view.name.name()));
    let (metadata, key) = (&view.metadata, view.key());
    let mut lines: Vec<String> = view
        .schema
        .fields()
        .iter()
        .map(|field| {
            let open = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("    {} {}{open}", quoted(field.name()), type_text(field))
        })
        .collect();
    if !key.is_empty() {
        let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        lines.push(format!("    PRIMARY KEY ({})", key.join(", ")));
    }
    let mut sql = format!("CREATE TABLE {table} (\n{}\n)", lines.join(",\n"));
    let schema = metadata.current_schema();
    let terms: Vec<String> = metadata
        .default_partition_spec()
        .fields()
        .iter()
        .filter_map(|field| {
            let column = quoted(schema.name_by_field_id(field.source_id)?);
            Some(match field.transform {
                Transform::Identity => column,
                Transform::Bucket(count) => format!("bucket({count}, {column})"),
                Transform::Truncate(width) => format!("truncate({width}, {column})"),
                // What was taken out of the partitioning stays as a field that is always null.
                Transform::Void | Transform::Unknown => return None,
                other => format!("{other}({column})"),
            })
        })
        .collect();
    if !terms.is_empty() {
        sql.push_str(&format!("\nPARTITIONED BY ({})", terms.join(", ")));
    }
    let mut properties: Vec<String> = metadata
        .properties()
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()) && !name.starts_with(OWN_PREFIX))
        .map(|(name, value)| format!("{} = {}", text(name), text(value)))
        .collect();
    properties.sort();
    if !properties.is_empty() {
        sql.push_str(&format!("\nWITH ({})", properties.join(", ")));
    }
    if let Some(comment) = metadata.properties().get("comment") {
        sql.push_str(&format!(";\nCOMMENT ON TABLE {table} IS {}", text(comment)));
    }
    for field in schema.as_struct().fields() {
        if let Some(comment) = &field.doc {
            sql.push_str(&format!(
                ";\nCOMMENT ON COLUMN {table}.{} IS {}",
                quoted(&field.name),
                text(comment)
            ));
        }
    }
    sql
}
