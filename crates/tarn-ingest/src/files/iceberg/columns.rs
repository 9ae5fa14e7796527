//! Columns of an Iceberg table, and values of its metadata.

use std::collections::HashMap;

use iceberg::spec::{
    Literal, MappedField, NameMapping, NestedField, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema,
    TableMetadata, Transform, Type,
};
use serde_json::{Value, json};
use tarn_core::files::FilesFault;

use crate::files::lake::{LakeColumn, LakeType, damaged, primitive};

/// Names of fields in files without numbers, by number.
type Aliases = HashMap<i32, Vec<String>>;

const NAME_MAPPING: &str = "schema.name-mapping.default";

fn collect(fields: &[impl AsRef<MappedField>], into: &mut Aliases) {
    for field in fields {
        let field = field.as_ref();
        if let Some(id) = field.field_id() {
            into.entry(id).or_default().extend(field.names().iter().cloned());
        }
        collect(field.fields(), into);
    }
}

/// The names that the table remembers for files without numbers. Errors: they cannot be read.
pub(super) fn aliases(metadata: &TableMetadata) -> Result<Aliases, FilesFault> {
    let mut found = Aliases::new();
    if let Some(text) = metadata.properties().get(NAME_MAPPING) {
        let mapping: NameMapping = serde_json::from_str(text).map_err(|error| {
            damaged(format!("the property `{NAME_MAPPING}` of the table cannot be read: {error}"))
        })?;
        let root: Vec<Box<MappedField>> = mapping.fields().iter().cloned().map(Box::new).collect();
        collect(&root, &mut found);
    }
    Ok(found)
}

/// The columns of a schema. Errors: types that have no counterpart.
pub(super) fn columns(schema: &Schema, aliases: &Aliases) -> Result<Vec<LakeColumn>, FilesFault> {
    schema.as_struct().fields().iter().map(|field| column(field, aliases)).collect()
}

/// A field as a column.
pub(super) fn column(field: &NestedField, aliases: &Aliases) -> Result<LakeColumn, FilesFault> {
    let kind = match field.field_type.as_ref() {
        Type::Primitive(kind) => {
            // As Delta tables are shown.
            let name = kind.to_string().replace(", ", ",");
            if primitive(&name).is_none() {
                return Err(FilesFault::invalid(
                    format!("column `{}` is of type {name}, which is not supported", field.name),
                    "copy the table there without it, or with it as another type",
                ));
            }
            LakeType::One(name)
        }
        Type::Struct(inner) => LakeType::Struct(
            inner.fields().iter().map(|field| column(field, aliases)).collect::<Result<_, _>>()?,
        ),
        Type::List(list) => LakeType::List(Box::new(column(&list.element_field, aliases)?)),
        Type::Map(map) => {
            LakeType::Map(Box::new((column(&map.key_field, aliases)?, column(&map.value_field, aliases)?)))
        }
    };
    let default = match (&field.initial_default, field.field_type.as_ref()) {
        (Some(literal), Type::Primitive(kind)) => Some(value_of(literal, kind)),
        _ => None,
    };
    let aliases = aliases.get(&field.id).cloned().unwrap_or_default();
    let named = LakeColumn::new(field.name.clone(), kind);
    Ok(LakeColumn { id: Some(field.id), default, aliases, ..named })
}

/// A value of metadata as [`LakeColumn::one`] takes it: dates and times by their numbers.
pub(super) fn value_of(literal: &Literal, kind: &PrimitiveType) -> Value {
    let Literal::Primitive(value) = literal else { return Value::Null };
    match (value, kind) {
        (PrimitiveLiteral::Boolean(value), _) => json!(value),
        (PrimitiveLiteral::Int(value), _) => json!(value),
        (PrimitiveLiteral::Long(value), _) => json!(value),
        // JSON has no numbers that are none.
        (PrimitiveLiteral::Float(value), _) => json!(f64::from(value.0).to_string()),
        (PrimitiveLiteral::Double(value), _) => json!(value.0.to_string()),
        (PrimitiveLiteral::String(value), _) => json!(value),
        (PrimitiveLiteral::Binary(value), _) => json!(hex::encode(value)),
        (PrimitiveLiteral::Int128(value), PrimitiveType::Decimal { scale, .. }) => {
            json!(decimal(*value, *scale))
        }
        (PrimitiveLiteral::Int128(value), _) => json!(value.to_string()),
        (PrimitiveLiteral::UInt128(value), _) => json!(format!("{value:032x}")),
        _ => Value::Null,
    }
}

fn decimal(unscaled: i128, scale: u32) -> String {
    let scale = scale as usize;
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

/// The terms of a partitioning over columns of a schema; those that cannot be made here are told.
pub(super) fn terms(spec: &PartitionSpec, schema: &Schema, warnings: &mut Vec<String>) -> Vec<String> {
    let mut terms = Vec::new();
    for field in spec.fields() {
        let column = schema.as_struct().fields().iter().find(|column| column.id == field.source_id);
        let name = column.map(|column| column.name.as_str());
        let term = match (name, field.transform) {
            (_, Transform::Void) => continue,
            (Some(name), Transform::Identity) => Some(name.to_string()),
            (Some(name), Transform::Bucket(count)) => Some(format!("bucket({count}, {name})")),
            (Some(name), Transform::Truncate(width)) => Some(format!("truncate({width}, {name})")),
            (Some(name), Transform::Unknown) => {
                warnings.push(format!("the table is partitioned by an unknown transform of `{name}`"));
                None
            }
            (Some(name), other) => Some(format!("{other}({name})")),
            (None, _) => {
                warnings.push(format!(
                    "the table is partitioned by `{}`, which is no column of its rows",
                    field.name
                ));
                None
            }
        };
        terms.extend(term);
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_with_their_scale() {
        for (unscaled, scale, text) in [(1250, 2, "12.50"), (-5, 3, "-0.005"), (7, 0, "7"), (0, 1, "0.0")] {
            assert_eq!(decimal(unscaled, scale), text);
        }
    }
}
