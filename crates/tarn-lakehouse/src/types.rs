//! Source columns as Iceberg columns: the type mapping, schema evolution, and bringing rows into a table's schema.
//!
//! | Arrow type of the topic | Iceberg type |
//! |---|---|
//! | Boolean | boolean |
//! | Int8, Int16, Int32, UInt8, UInt16 | int |
//! | Int64, UInt32 | long |
//! | UInt64 | decimal(20, 0) |
//! | Float16, Float32 | float |
//! | Float64 | double |
//! | Decimal128(p, s), 0 <= s <= p <= 38 | decimal(p, s) |
//! | Date32, Date64 | date |
//! | Time32, Time64 | time (microseconds) |
//! | Timestamp without zone | timestamp (microseconds) |
//! | Timestamp with zone | timestamptz (microseconds) |
//! | Utf8, LargeUtf8, Utf8View, Null | string |
//! | Binary, LargeBinary, BinaryView | binary |
//! | FixedSizeBinary(16) with extension `arrow.uuid` | uuid |
//! | FixedSizeBinary(n) | fixed(n) |
//! | List, LargeList, FixedSizeList | list |
//! | Struct | struct |
//! | Map with text keys or others | map |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableMetadata, Type,
};
use tarn_core::change::META_COLUMNS;

use crate::error::LakehouseError;

/// Metadata key of a source column's number that survives a rename.
pub const COLUMN_ID: &str = "tarn.column_id";
/// Table property: source column numbers to field ids, JSON.
pub const COLUMNS_PROPERTY: &str = "tarn.columns";
/// Table property: field ids of columns that the source has no more, JSON.
pub const DROPPED_PROPERTY: &str = "tarn.dropped_columns";
/// Table property: names of the key columns, JSON.
pub const KEY_PROPERTY: &str = "tarn.key";

const EXTENSION_NAME: &str = "ARROW:extension:name";

/// Gives out field ids.
pub(crate) struct Ids(pub(crate) i32);

impl Ids {
    pub(crate) fn next(&mut self) -> i32 {
        self.0 += 1;
        self.0
    }
}

pub(crate) fn iceberg_type(field: &Field, ids: &mut Ids) -> Result<Type, String> {
    use DataType as D;
    use PrimitiveType as P;
    let primitive = match field.data_type() {
        D::Boolean => P::Boolean,
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 => P::Int,
        D::Int64 | D::UInt32 => P::Long,
        D::UInt64 => P::Decimal { precision: 20, scale: 0 },
        D::Float16 | D::Float32 => P::Float,
        D::Float64 => P::Double,
        D::Decimal128(p, s) | D::Decimal32(p, s) | D::Decimal64(p, s) if *s >= 0 && *s as u8 <= *p => {
            P::Decimal { precision: u32::from(*p), scale: u32::from(s.unsigned_abs()) }
        }
        D::Date32 | D::Date64 => P::Date,
        D::Time32(_) | D::Time64(_) => P::Time,
        D::Timestamp(_, None) => P::Timestamp,
        D::Timestamp(_, Some(_)) => P::Timestamptz,
        D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Null => P::String,
        D::Binary | D::LargeBinary | D::BinaryView => P::Binary,
        D::FixedSizeBinary(16) if field.metadata().get(EXTENSION_NAME).is_some_and(|n| n == "arrow.uuid") => {
            P::Uuid
        }
        D::FixedSizeBinary(n) => P::Fixed(u64::from(n.unsigned_abs())),
        D::Dictionary(_, value) => {
            return iceberg_type(&Field::new(field.name(), value.as_ref().clone(), true), ids);
        }
        D::List(element) | D::LargeList(element) | D::FixedSizeList(element, _) => {
            let id = ids.next();
            let element = NestedField::list_element(id, iceberg_type(element, ids)?, false);
            return Ok(Type::List(ListType { element_field: Arc::new(element) }));
        }
        D::Struct(fields) => {
            let fields: Result<Vec<NestedFieldRef>, String> = fields
                .iter()
                .map(|f| Ok(Arc::new(NestedField::optional(ids.next(), f.name(), iceberg_type(f, ids)?))))
                .collect();
            return Ok(Type::Struct(StructType::new(fields?)));
        }
        D::Map(entries, _) => return map_type(entries, ids),
        other => return Err(format!("the type {other} has no counterpart in Iceberg")),
    };
    Ok(Type::Primitive(primitive))
}

fn map_type(entries: &Field, ids: &mut Ids) -> Result<Type, String> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err("a map without entries".to_string());
    };
    let [key, value] = fields.as_ref() else { return Err("a map needs a key and a value".to_string()) };
    let (key_id, value_id) = (ids.next(), ids.next());
    Ok(Type::Map(MapType {
        key_field: Arc::new(NestedField::map_key_element(key_id, iceberg_type(key, ids)?)),
        value_field: Arc::new(NestedField::map_value_element(value_id, iceberg_type(value, ids)?, false)),
    }))
}

pub(crate) fn unmappable(table: &str, column: &str, what: String) -> LakehouseError {
    LakehouseError::Unmappable { table: table.into(), column: column.into(), what }
}

/// Whether Iceberg lets a column of this type be an identifier.
fn can_identify(field_type: &Type) -> bool {
    !matches!(
        field_type,
        Type::Primitive(PrimitiveType::Float | PrimitiveType::Double)
            | Type::Struct(_)
            | Type::List(_)
            | Type::Map(_)
    )
}

/// A schema with the properties that tie it to its source.
pub struct SourceSchema {
    /// The Iceberg schema.
    pub schema: Schema,
    /// Values of [`COLUMNS_PROPERTY`] and [`KEY_PROPERTY`].
    pub properties: HashMap<String, String>,
}

pub(crate) fn data_columns(data: &ArrowSchema) -> impl Iterator<Item = &Arc<Field>> {
    data.fields().iter().filter(|field| !META_COLUMNS.contains(&field.name().as_str()))
}

pub(crate) fn source_properties(columns: &BTreeMap<String, i32>, key: &[String]) -> HashMap<String, String> {
    // Maps of text and numbers always serialise.
    let text = |value: serde_json::Value| value.to_string();
    HashMap::from([
        (COLUMNS_PROPERTY.to_string(), text(serde_json::json!(columns))),
        (KEY_PROPERTY.to_string(), text(serde_json::json!(key))),
    ])
}

pub(crate) fn build_schema(
    table: &str,
    fields: Vec<NestedField>,
    key: &[String],
    schema_id: i32,
) -> Result<Schema, LakehouseError> {
    let mut identifiers = Vec::new();
    for name in key {
        let field = fields.iter().find(|field| &field.name == name);
        let field =
            field.ok_or_else(|| unmappable(table, name, "it is a key column but not in the rows".into()))?;
        identifiers.push((field.id, can_identify(&field.field_type)));
    }
    let is_key = |id: i32| identifiers.iter().any(|(key_id, _)| *key_id == id);
    let fields: Vec<NestedFieldRef> = fields
        .into_iter()
        .map(|field| {
            let required = is_key(field.id);
            Arc::new(NestedField { required, ..field })
        })
        .collect();
    let all_identify = identifiers.iter().all(|(_, ok)| *ok);
    let ids = identifiers.iter().map(|(id, _)| *id).filter(|_| all_identify);
    Schema::builder()
        .with_schema_id(schema_id)
        .with_fields(fields)
        .with_identifier_field_ids(ids)
        .build()
        .map_err(|source| LakehouseError::Format { action: "build the schema", table: table.into(), source })
}

/// The schema of a new table for rows of `data` with the key columns `key`. Columns that a topic adds are left out.
/// Errors: `Unmappable`.
pub fn new_schema(table: &str, data: &ArrowSchema, key: &[String]) -> Result<SourceSchema, LakehouseError> {
    let mut ids = Ids(0);
    let mut fields = Vec::new();
    let mut columns = BTreeMap::new();
    // Columns first, then what is nested in them: the ids that a new table gives its fields, whatever they are here.
    let numbered: Vec<(i32, &Arc<Field>)> = data_columns(data).map(|field| (ids.next(), field)).collect();
    for (id, field) in numbered {
        if let Some(column) = field.metadata().get(COLUMN_ID) {
            columns.insert(column.clone(), id);
        }
        let field_type =
            iceberg_type(field, &mut ids).map_err(|what| unmappable(table, field.name(), what))?;
        fields.push(NestedField::optional(id, field.name(), field_type));
    }
    let properties = source_properties(&columns, key);
    Ok(SourceSchema { schema: build_schema(table, fields, key, 0)?, properties })
}

/// A column that comes to a table, null in the rows that are there. `last_id`: the last field id that the table gave out.
/// Errors: `Unmappable`.
pub(crate) fn new_field(
    table: &str,
    field: &Field,
    last_id: &mut i32,
) -> Result<NestedField, LakehouseError> {
    let mut ids = Ids(*last_id);
    let id = ids.next();
    let field_type = iceberg_type(field, &mut ids).map_err(|what| unmappable(table, field.name(), what))?;
    *last_id = ids.0;
    Ok(NestedField::optional(id, field.name(), field_type))
}

/// The key columns of a table: those its source named, else its identifier columns.
pub fn key_of(metadata: &TableMetadata) -> Vec<String> {
    let named = metadata.properties().get(KEY_PROPERTY).and_then(|text| serde_json::from_str(text).ok());
    named.unwrap_or_else(|| {
        let schema = metadata.current_schema();
        let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| schema.name_by_field_id(*id)).map(str::to_string).collect()
    })
}

pub(crate) fn source_columns(metadata: &TableMetadata) -> BTreeMap<String, i32> {
    let text = metadata.properties().get(COLUMNS_PROPERTY);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Field ids of the columns that the source of a table has no more.
pub(crate) fn dropped_columns(metadata: &TableMetadata) -> BTreeSet<i32> {
    let text = metadata.properties().get(DROPPED_PROPERTY);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Whether a column of `old` may become `new` without rewriting files (Iceberg specification, schema evolution).
pub(crate) fn widened(old: &Type, new: &Type) -> Option<Type> {
    use PrimitiveType as P;
    let (Type::Primitive(a), Type::Primitive(b)) = (old, new) else { return None };
    match (a, b) {
        (P::Int, P::Long) | (P::Float, P::Double) => Some(new.clone()),
        (P::Decimal { precision: p, scale: s }, P::Decimal { precision: q, scale: t }) if q > p && s == t => {
            Some(new.clone())
        }
        _ => None,
    }
}

/// Whether values of `new` fit a column of `old` as it is.
pub(crate) fn fits(old: &Type, new: &Type) -> bool {
    use PrimitiveType as P;
    match (old, new) {
        (Type::Primitive(a), Type::Primitive(b)) => {
            a == b
                || matches!((a, b), (P::Long, P::Int) | (P::Double, P::Float | P::Int))
                || matches!((a, b), (P::Decimal { precision: p, scale: s }, P::Decimal { precision: q, scale: t })
                    if q <= p && s == t)
        }
        (Type::List(a), Type::List(b)) => fits(&a.element_field.field_type, &b.element_field.field_type),
        (Type::Map(a), Type::Map(b)) => {
            fits(&a.key_field.field_type, &b.key_field.field_type)
                && fits(&a.value_field.field_type, &b.value_field.field_type)
        }
        (Type::Struct(a), Type::Struct(b)) => b
            .fields()
            .iter()
            .all(|f| a.fields().iter().any(|g| g.name == f.name && fits(&g.field_type, &f.field_type))),
        _ => false,
    }
}

/// Renames a column that the source dropped, when another one takes its name.
pub(crate) fn free_name(fields: &mut [NestedField], name: &str) {
    let taken = |fields: &[NestedField], name: &str| fields.iter().position(|field| field.name == name);
    let Some(at) = taken(fields, name) else { return };
    let free = (1..).map(|n| format!("{name}_dropped_{n}")).find(|name| taken(fields, name).is_none());
    if let Some(free) = free {
        fields[at].name = free;
    }
}

/// Brings rows of one source schema into a table's schema.
#[derive(Debug)]
pub struct Conformer {
    table: String,
    target: ArrowSchemaRef,
    /// Names of the input's columns.
    source: Vec<String>,
    /// For each column of the target, the column of the input.
    mapping: Vec<Option<usize>>,
    /// Values that do not fit a column, or have none, are left out, and counted.
    forgives: bool,
    left_out: AtomicU64,
}

impl Conformer {
    /// For rows of `data` into the current schema of `metadata`. Errors: the schema has no Arrow counterpart.
    pub fn new(table: &str, metadata: &TableMetadata, data: &ArrowSchema) -> Result<Self, LakehouseError> {
        let schema = metadata.current_schema();
        let target = arrow_schema(table, schema)?;
        let columns = source_columns(metadata);
        let mapping = schema
            .as_struct()
            .fields()
            .iter()
            .map(|field| {
                let by_number = data.fields().iter().position(|candidate| {
                    let number = candidate.metadata().get(COLUMN_ID);
                    number.and_then(|number| columns.get(number)) == Some(&field.id)
                });
                by_number.or_else(|| {
                    // A column known by its number is not taken by name: the name may belong to another one now.
                    let numbered = columns.values().any(|id| *id == field.id);
                    data.fields().iter().position(|candidate| {
                        candidate.name() == &field.name
                            && !META_COLUMNS.contains(&candidate.name().as_str())
                            && (!numbered || candidate.metadata().get(COLUMN_ID).is_none())
                    })
                })
            })
            .collect();
        let source = data.fields().iter().map(|field| field.name().clone()).collect();
        let left_out = AtomicU64::new(0);
        Ok(Self { table: table.into(), target, source, mapping, forgives: false, left_out })
    }

    /// Values that do not fit their columns become null, but for those of a key, and values without a column are left out.
    #[must_use]
    pub fn forgiving(self, forgives: bool) -> Self {
        Self { forgives, ..self }
    }

    /// Values left out since this was asked last.
    pub fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }

    /// The table's Arrow schema.
    pub fn target(&self) -> &ArrowSchemaRef {
        &self.target
    }

    /// The table's column that takes the source's column `name`.
    pub fn target_of(&self, name: &str) -> Option<usize> {
        let input = self.source.iter().position(|column| column == name)?;
        self.mapping.iter().position(|from| *from == Some(input))
    }

    /// The columns of the table for a batch of the source's schema, not checked for nulls in required columns.
    /// Errors: a value does not fit its column.
    pub fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LakehouseError> {
        let rows = batch.num_rows();
        if self.forgives {
            let values = |(at, array): (usize, &ArrayRef)| {
                let is_added = META_COLUMNS.contains(&self.source[at].as_str());
                let has_place = is_added || self.mapping.contains(&Some(at));
                if has_place { 0 } else { (array.len() - array.logical_null_count()) as u64 }
            };
            let values = batch.columns().iter().enumerate().map(values).sum::<u64>();
            self.left_out.fetch_add(values, Ordering::Relaxed);
        }
        let columns = self.mapping.iter().zip(self.target.fields());
        columns
            .map(|(from, field)| match from {
                None => Ok(new_null_array(field.data_type(), rows)),
                Some(at) => self.cast(batch.column(*at), field),
            })
            .collect()
    }

    fn cast(&self, array: &ArrayRef, target: &Field) -> Result<ArrayRef, LakehouseError> {
        if array.data_type() == target.data_type() {
            return Ok(Arc::clone(array));
        }
        let arrow = |source| LakehouseError::Arrow { table: self.table.clone(), source };
        let safe = self.forgives && target.is_nullable();
        if safe && !arrow::compute::can_cast_types(array.data_type(), target.data_type()) {
            let values = array.len() - array.logical_null_count();
            self.left_out.fetch_add(values as u64, Ordering::Relaxed);
            return Ok(new_null_array(target.data_type(), array.len()));
        }
        let options = CastOptions { safe, ..Default::default() };
        let cast = cast_with_options(array, target.data_type(), &options).map_err(arrow)?;
        if safe {
            let lost = cast.logical_null_count().saturating_sub(array.logical_null_count());
            self.left_out.fetch_add(lost as u64, Ordering::Relaxed);
        }
        Ok(cast)
    }
}

/// The Arrow schema of an Iceberg schema, each field with its id. Errors: a type without Arrow counterpart.
pub fn arrow_schema(table: &str, schema: &Schema) -> Result<ArrowSchemaRef, LakehouseError> {
    schema_to_arrow_schema(schema).map(Arc::new).map_err(|source| LakehouseError::Format {
        action: "read the schema",
        table: table.into(),
        source,
    })
}

/// The same for those who read the table: UUIDs are marked as such, which Arrow has no type for.
pub fn shown_schema(table: &str, schema: &Schema) -> Result<ArrowSchemaRef, LakehouseError> {
    let plain = arrow_schema(table, schema)?;
    let marked = plain.fields().iter().zip(schema.as_struct().fields()).map(|(field, column)| {
        if *column.field_type != Type::Primitive(PrimitiveType::Uuid) {
            return Arc::clone(field);
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(EXTENSION_NAME.to_string(), "arrow.uuid".to_string());
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    });
    Ok(Arc::new(ArrowSchema::new_with_metadata(marked.collect::<Vec<_>>(), plain.metadata().clone())))
}
