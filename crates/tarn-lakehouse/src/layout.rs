//! What a data file does not say of its own columns (Iceberg specification, "Column Projection"): the ids of columns of files
//! that others wrote, by the table's name mapping, and the values of identity partitions that stand in no file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, StringArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, DataFile, Literal, NameMapping, NestedField, NestedFieldRef, PartitionSpec,
    PrimitiveLiteral, TableMetadata, Transform, Type,
};
use serde_json::{Value, json};

use crate::view::TableView;

/// Where the columns of a table are in its files beyond what the files say.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    names: Option<HashMap<String, i32>>,
    /// `None` where no value of a row stands in a partition only.
    partitions: Option<Partitions>,
}

#[derive(Clone, Debug)]
struct Partitions {
    metadata: Arc<TableMetadata>,
    /// Specifications of files that are not of the present one, by location.
    older: HashMap<String, i32>,
}

fn has_identity(spec: &PartitionSpec) -> bool {
    spec.fields().iter().any(|field| field.transform == Transform::Identity)
}

impl Layout {
    /// Of a table.
    pub fn of(view: &TableView) -> Self {
        let metadata = &view.metadata;
        let current = metadata.default_partition_spec_id();
        let partitions = metadata.partition_specs_iter().any(|spec| has_identity(spec)).then(|| {
            let older = view.files.iter().filter(|file| file.partition_spec_id != current);
            let older = older.map(|file| (file.file.file_path().to_string(), file.partition_spec_id));
            Partitions { metadata: Arc::clone(metadata), older: older.collect() }
        });
        Self { names: names_of(metadata), partitions }
    }

    /// Ids of columns of files without ids, by name in the file; `None`: by name in the table.
    pub(crate) fn names(&self) -> Option<&HashMap<String, i32>> {
        self.names.as_ref()
    }

    /// The value that a column has in all rows of a file that lacks it, as an array of one.
    pub(crate) fn constant(&self, file: &DataFile, field_id: i32, data_type: &DataType) -> Option<ArrayRef> {
        let partitions = self.partitions.as_ref()?;
        let spec = partitions.older.get(file.file_path()).copied();
        let spec = spec.unwrap_or_else(|| partitions.metadata.default_partition_spec_id());
        let spec = partitions.metadata.partition_spec_by_id(spec)?;
        let is_it = |field: &iceberg::spec::PartitionField| {
            field.source_id == field_id && field.transform == Transform::Identity
        };
        let at = spec.fields().iter().position(is_it)?;
        match file.partition().fields().get(at)? {
            None => Some(new_null_array(data_type, 1)),
            Some(Literal::Primitive(value)) => value_of(value, data_type),
            Some(_) => None,
        }
    }
}

/// The table's name mapping: ids of its columns by the names that they have in files without ids.
pub fn names_of(metadata: &TableMetadata) -> Option<HashMap<String, i32>> {
    let mapping = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING)?;
    let mapping: NameMapping = serde_json::from_str(mapping).ok()?;
    let pairs = mapping.fields().iter().filter_map(|field| Some((field.field_id()?, field.names().to_vec())));
    Some(pairs.flat_map(|(id, names)| names.into_iter().map(move |name| (name, id))).collect())
}

/// The name mapping of a table with these columns (Iceberg specification, "Name Mapping Serialization"), as JSON. `known`: the
/// one that it has. Names stay with the columns that had them first, those that are gone included: a column that takes the
/// name of a dropped one does not take its values too.
pub(crate) fn name_mapping(fields: &[NestedFieldRef], known: Option<&str>) -> String {
    let known: Option<Value> = known.and_then(|known| serde_json::from_str(known).ok());
    mapped(fields, known.as_ref()).to_string()
}

/// Whether each column of a table is found by its own name in files without ids.
pub(crate) fn maps_all(metadata: &TableMetadata) -> bool {
    let names = names_of(metadata).unwrap_or_default();
    let fields = metadata.current_schema().as_struct().fields();
    fields.iter().all(|field| names.get(&field.name) == Some(&field.id))
}

fn mapped(fields: &[NestedFieldRef], known: Option<&Value>) -> Value {
    let known: Vec<Value> = known.and_then(Value::as_array).cloned().unwrap_or_default();
    let id_of = |entry: &Value| entry.get("field-id").and_then(Value::as_i64);
    let names_of = |entry: &Value| {
        let names = entry.get("names").and_then(Value::as_array).cloned().unwrap_or_default();
        names.iter().filter_map(|name| name.as_str().map(str::to_string)).collect::<Vec<_>>()
    };
    let mut entries: Vec<Value> = Vec::new();
    for field in fields {
        let own = known.iter().find(|entry| id_of(entry) == Some(i64::from(field.id)));
        let mut names = own.map(names_of).unwrap_or_default();
        let is_taken = known.iter().any(|entry| names_of(entry).contains(&field.name));
        if !is_taken {
            names.push(field.name.clone());
        }
        let mut entry = json!({ "field-id": field.id, "names": names });
        let children: Vec<NestedFieldRef> = match field.field_type.as_ref() {
            Type::Struct(inner) => inner.fields().to_vec(),
            Type::List(list) => vec![named(&list.element_field, "element")],
            Type::Map(map) => vec![named(&map.key_field, "key"), named(&map.value_field, "value")],
            Type::Primitive(_) => Vec::new(),
        };
        if !children.is_empty() {
            entry["fields"] = mapped(&children, own.and_then(|own| own.get("fields")));
        }
        entries.push(entry);
    }
    let is_there = |entry: &&Value| fields.iter().any(|field| id_of(entry) == Some(i64::from(field.id)));
    entries.extend(known.iter().filter(|entry| !is_there(entry)).cloned());
    Value::Array(entries)
}

fn named(field: &NestedFieldRef, name: &str) -> NestedFieldRef {
    Arc::new(NestedField { name: name.to_string(), ..field.as_ref().clone() })
}

fn value_of(value: &PrimitiveLiteral, data_type: &DataType) -> Option<ArrayRef> {
    let array: ArrayRef = match (value, data_type) {
        (PrimitiveLiteral::Boolean(v), _) => Arc::new(BooleanArray::from(vec![*v])),
        (PrimitiveLiteral::Int(v), _) => Arc::new(Int32Array::from(vec![*v])),
        (PrimitiveLiteral::Long(v), _) => Arc::new(Int64Array::from(vec![*v])),
        (PrimitiveLiteral::Float(v), _) => Arc::new(Float32Array::from(vec![v.0])),
        (PrimitiveLiteral::Double(v), _) => Arc::new(Float64Array::from(vec![v.0])),
        (PrimitiveLiteral::String(v), _) => Arc::new(StringArray::from(vec![v.as_str()])),
        (PrimitiveLiteral::Int128(v), DataType::Decimal128(precision, scale)) => {
            Arc::new(Decimal128Array::from(vec![*v]).with_precision_and_scale(*precision, *scale).ok()?)
        }
        (PrimitiveLiteral::UInt128(v), DataType::FixedSizeBinary(16)) => {
            Arc::new(FixedSizeBinaryArray::try_from_iter([v.to_be_bytes()].into_iter()).ok()?)
        }
        (PrimitiveLiteral::Binary(v), _) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        _ => return None,
    };
    cast(&array, data_type).ok()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;
    use arrow::util::display::array_value_to_string;
    use iceberg::spec::{ListType, PrimitiveType};

    use super::*;

    #[test]
    fn values_of_partitions_become_values_of_columns() {
        let shown = |value: PrimitiveLiteral, data_type: &DataType| {
            let array = value_of(&value, data_type).expect("a value");
            assert_eq!(array.data_type(), data_type);
            array_value_to_string(&array, 0).expect("shown")
        };
        assert_eq!(shown(PrimitiveLiteral::Int(19_800), &DataType::Date32), "2024-03-18");
        assert_eq!(shown(PrimitiveLiteral::Int(7), &DataType::Int64), "7", "widened since");
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(shown(PrimitiveLiteral::Long(1_000_000), &timestamp), "1970-01-01T00:00:01");
        assert_eq!(shown(PrimitiveLiteral::Int128(12_345), &DataType::Decimal128(9, 2)), "123.45");
        assert_eq!(shown(PrimitiveLiteral::String("北".into()), &DataType::Utf8), "北");
        assert_eq!(shown(PrimitiveLiteral::Boolean(true), &DataType::Boolean), "true");
    }

    fn text(id: i32, name: &str) -> NestedFieldRef {
        Arc::new(NestedField::optional(id, name, Type::Primitive(PrimitiveType::String)))
    }

    #[test]
    fn a_name_mapping_keeps_names_with_the_columns_that_had_them_first() {
        let element = NestedField::list_element(3, Type::Primitive(PrimitiveType::Int), false);
        let list = Type::List(ListType { element_field: Arc::new(element) });
        let tags = Arc::new(NestedField::optional(2, "tags", list));
        let first = name_mapping(&[text(1, "a"), Arc::clone(&tags)], None);
        let parsed: NameMapping = serde_json::from_str(&first).expect("readable");
        assert_eq!(parsed.fields().len(), 2);
        assert_eq!(parsed.fields()[1].fields()[0].field_id(), Some(3));
        // `a` became `b`; another column is called `a` now.
        let then = name_mapping(&[text(1, "b"), tags, text(4, "a")], Some(&first));
        let parsed: NameMapping = serde_json::from_str(&then).expect("readable");
        assert_eq!(parsed.fields()[0].names(), ["a", "b"]);
        assert_eq!(parsed.fields()[2].names(), [""; 0]);
        // `b` was dropped and comes back as another column.
        let last = name_mapping(&[text(5, "b")], Some(&then));
        let parsed: NameMapping = serde_json::from_str(&last).expect("readable");
        let of = |id| parsed.fields().iter().find(|field| field.field_id() == Some(id)).expect("there");
        assert_eq!((of(5).names().len(), of(1).names()), (0, &["a".to_string(), "b".to_string()][..]));
    }
}
