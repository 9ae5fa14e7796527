//! Columns of a Delta table (Delta protocol, "Schema Serialization Format" and "Column Mapping").

use serde_json::Value;
use tarn_core::files::FilesFault;

use super::actions::MetaData;
use crate::files::lake::{FoundBy, LakeColumn, LakeType, damaged, primitive};

/// What a table looks like.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) columns: Vec<LakeColumn>,
    pub(super) partition_by: Vec<String>,
    pub(super) required: Vec<String>,
    pub(super) comments: Vec<(String, String)>,
}

/// Errors: a schema that is none, types that have no counterpart.
pub(super) fn shape_of(metadata: &MetaData, by: FoundBy) -> Result<Shape, FilesFault> {
    let parsed: Value = serde_json::from_str(&metadata.schema_string)
        .map_err(|error| damaged(format!("the table's schema cannot be read: {error}")))?;
    let is_mapped = matches!(metadata.property("delta.columnMapping.mode"), Some("name" | "id"));
    let fields = fields_of(&parsed)?;
    let columns = fields.iter().map(|field| column(field, is_mapped)).collect::<Result<Vec<_>, _>>()?;
    if columns.is_empty() {
        return Err(FilesFault::invalid("the table has no columns", "add some to it first"));
    }
    if by == FoundBy::Id
        && let Some(column) = columns.iter().find(|column| column.id.is_none())
    {
        return Err(damaged(format!(
            "column `{}` has no number, and the table finds columns by it",
            column.name
        )));
    }
    let name = |field: &&Value| field.get("name").and_then(Value::as_str).map(str::to_string);
    let required = fields.iter().filter(|field| field.get("nullable") == Some(&Value::Bool(false)));
    let comment = |field: &Value| {
        let comment = field.pointer("/metadata/comment")?.as_str().filter(|text| !text.is_empty())?;
        Some((name(&field)?, comment.to_string()))
    };
    Ok(Shape {
        columns,
        partition_by: metadata.partition_columns.clone(),
        required: required.filter_map(|field| name(&field)).collect(),
        comments: fields.iter().filter_map(comment).collect(),
    })
}

fn fields_of(kind: &Value) -> Result<&Vec<Value>, FilesFault> {
    let fields = kind.get("fields").and_then(Value::as_array);
    fields.ok_or_else(|| damaged("the table's schema has a struct without fields"))
}

fn column(field: &Value, is_mapped: bool) -> Result<LakeColumn, FilesFault> {
    let name = field.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| damaged("the table's schema has a column without a name"))?;
    let kind = kind_of(name, field.get("type").unwrap_or(&Value::Null), is_mapped)?;
    let mut column = LakeColumn::new(name, kind);
    if is_mapped {
        let of = |key: &str| field.get("metadata").and_then(|metadata| metadata.get(key));
        column.physical = of("delta.columnMapping.physicalName").and_then(Value::as_str).map(str::to_string);
        let id = of("delta.columnMapping.id").and_then(Value::as_i64);
        column.id = id.and_then(|id| i32::try_from(id).ok());
    }
    Ok(column)
}

fn kind_of(name: &str, kind: &Value, is_mapped: bool) -> Result<LakeType, FilesFault> {
    let within = |what: &str, key: &str| {
        let kind = kind_of(name, kind.get(key).unwrap_or(&Value::Null), is_mapped)?;
        Ok::<_, FilesFault>(LakeColumn::new(what, kind))
    };
    if let Some(text) = kind.as_str() {
        // The names of types are those of Iceberg here, where timestamps without a zone are the plain ones.
        let text = match text {
            "timestamp" => "timestamptz",
            "timestamp_ntz" => "timestamp",
            "integer" => "int",
            other => other,
        };
        return match primitive(text) {
            Some(_) => Ok(LakeType::One(text.to_string())),
            None => Err(FilesFault::invalid(
                format!("column `{name}` is of type {text}, which is not supported"),
                "copy the table there without it, or with it as another type",
            )),
        };
    }
    match kind.get("type").and_then(Value::as_str) {
        Some("struct") => {
            let fields = fields_of(kind)?.iter().map(|field| column(field, is_mapped));
            Ok(LakeType::Struct(fields.collect::<Result<_, _>>()?))
        }
        Some("array") => Ok(LakeType::List(Box::new(within("element", "elementType")?))),
        Some("map") => {
            Ok(LakeType::Map(Box::new((within("key", "keyType")?, within("value", "valueType")?))))
        }
        _ => Err(damaged(format!("column `{name}` is of a type that is none: {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(fields: Value, mode: Option<&str>) -> Result<Shape, FilesFault> {
        let mut metadata = MetaData {
            schema_string: json!({ "type": "struct", "fields": fields }).to_string(),
            partition_columns: vec!["a".into()],
            ..MetaData::default()
        };
        let mode = mode.map(str::to_string);
        metadata.configuration.insert("delta.columnMapping.mode".into(), mode.clone());
        shape_of(&metadata, if mode.as_deref() == Some("id") { FoundBy::Id } else { FoundBy::Name })
    }

    #[test]
    fn schemas_are_read_with_their_names_in_files() {
        let metadata = json!({ "delta.columnMapping.id": 7, "delta.columnMapping.physicalName": "col-1", "comment": "why" });
        let nested = json!({ "type": "struct", "fields": [
            { "name": "x", "type": { "type": "array", "elementType": "timestamp", "containsNull": true }, "nullable": true,
              "metadata": { "delta.columnMapping.id": 9, "delta.columnMapping.physicalName": "col-x" } }] });
        let fields = json!([
            { "name": "a", "type": "integer", "nullable": false, "metadata": metadata },
            { "name": "s", "type": { "type": "map", "keyType": "string", "valueType": nested, "valueContainsNull": true },
              "nullable": true, "metadata": { "delta.columnMapping.id": 8 } }]);
        let found = shape(fields.clone(), Some("id")).expect("valid");
        assert_eq!(found.columns[0].physical(), "col-1");
        assert_eq!(found.columns[1].shown(), "map<string, struct<x: list<timestamptz>>>");
        assert_eq!((found.required.len(), found.comments.len()), (1, 1));
        let LakeType::Map(entry) = &found.columns[1].kind else { panic!("a map") };
        let LakeType::Struct(inner) = &entry.1.kind else { panic!("a struct") };
        assert_eq!((inner[0].physical(), inner[0].id), ("col-x", Some(9)));
        // Without a mapping the numbers do not count.
        assert_eq!(shape(fields, None).expect("valid").columns[0].physical(), "a");
    }

    #[test]
    fn types_without_a_counterpart_are_named() {
        for (kind, words) in [
            (json!("variant"), "column `v` is of type variant"),
            (json!("geometry"), "geometry"),
            (json!({ "type": "tensor" }), "that is none"),
            (json!(null), "that is none"),
        ] {
            let error = shape(json!([{ "name": "v", "type": kind }]), None).expect_err("refused");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(shape(json!([]), None).is_err());
        assert!(shape(json!([{ "name": "v", "type": "long" }]), Some("id")).is_err());
    }
}
