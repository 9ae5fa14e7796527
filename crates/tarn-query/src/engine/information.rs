//! `information_schema` with the columns and type names of PostgreSQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::common::DataFusionError;
use tarn_core::RequestContext;
use tarn_query::{QueryError, SqlView, Tables};

use super::catalog::DATABASE;
use super::encode::{column_type, is_uuid};

type Texts = Vec<Option<String>>;
type Numbers = Vec<Option<i32>>;

/// A column of `information_schema.columns`.
struct Row {
    namespace: String,
    table: String,
    field: Arc<Field>,
    position: i32,
}

/// A table with its key.
struct Named {
    namespace: String,
    table: String,
    key: Vec<String>,
    is_view: bool,
}

/// Names and columns of all tables of the caller's tenant. Errors: those of the catalog.
pub(super) async fn schema(
    tables: &dyn Tables,
    ctx: &RequestContext,
) -> Result<Arc<dyn SchemaProvider>, QueryError> {
    let namespaces = tables.namespaces(ctx).await?;
    let mut names = Vec::new();
    let mut rows = Vec::new();
    let mut views = Vec::new();
    for namespace in &namespaces {
        let own_views = tables.views(ctx, namespace).await?;
        for name in tables.tables(ctx, namespace).await?.into_iter().chain(own_views) {
            let (columns, key, is_view) = match tables.view(ctx, &name).await? {
                Some(view) => (Arc::clone(&view.schema), view.key(), false),
                None => match tables.sql_view(ctx, &name).await? {
                    Some(view) => {
                        views.push(view.clone());
                        (view.columns, Vec::new(), true)
                    }
                    // Dropped since it was listed.
                    None => continue,
                },
            };
            let (of, table) = (namespace.clone(), name.name().to_string());
            names.push(Named { namespace: of, table, key, is_view });
            rows.extend(columns.fields().iter().zip(1..).map(|(field, position)| Row {
                namespace: namespace.clone(),
                table: name.name().to_string(),
                field: Arc::clone(field),
                position,
            }));
        }
    }
    build(&namespaces, &names, &rows, &views)
        .map_err(|error| QueryError::Internal { message: error.to_string() })
}

fn build(
    namespaces: &[String],
    names: &[Named],
    rows: &[Row],
    of_views: &[SqlView],
) -> Result<Arc<dyn SchemaProvider>, DataFusionError> {
    let provider = MemorySchemaProvider::new();
    for (name, batch) in [
        ("schemata", schemata(namespaces)?),
        ("tables", table_list(names)?),
        ("columns", columns(rows)?),
        ("views", views(of_views)?),
        ("table_constraints", table_constraints(names)?),
        ("key_column_usage", key_column_usage(names)?),
        ("constraint_column_usage", constraint_column_usage(names)?),
        (
            "referential_constraints",
            empty(&[
                "constraint_catalog",
                "constraint_schema",
                "constraint_name",
                "unique_constraint_catalog",
                "unique_constraint_schema",
                "unique_constraint_name",
                "match_option",
                "update_rule",
                "delete_rule",
            ])?,
        ),
        (
            "routines",
            empty(&[
                "specific_catalog",
                "specific_schema",
                "specific_name",
                "routine_catalog",
                "routine_schema",
                "routine_name",
                "routine_type",
                "data_type",
            ])?,
        ),
    ] {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        provider.register_table(name.to_string(), Arc::new(table))?;
    }
    Ok(Arc::new(provider))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
}

fn texts(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn same(value: &str, rows: usize) -> ArrayRef {
    texts(std::iter::repeat_n(Some(value.to_string()), rows))
}

fn empty(names: &[&str]) -> Result<RecordBatch, ArrowError> {
    batch(names.iter().map(|name| (*name, texts(std::iter::empty()))).collect())
}

fn views(views: &[SqlView]) -> Result<RecordBatch, ArrowError> {
    batch(vec![
        ("table_catalog", same(DATABASE, views.len())),
        ("table_schema", texts(views.iter().map(|view| Some(view.name.namespace().to_string())))),
        ("table_name", texts(views.iter().map(|view| Some(view.name.name().to_string())))),
        ("view_definition", texts(views.iter().map(|view| Some(view.sql.clone())))),
        ("check_option", same("NONE", views.len())),
        ("is_updatable", same("NO", views.len())),
        ("is_insertable_into", same("NO", views.len())),
    ])
}

fn schemata(namespaces: &[String]) -> Result<RecordBatch, ArrowError> {
    let system = ["pg_catalog".to_string(), "information_schema".to_string()];
    let names: Vec<String> = namespaces.iter().chain(&system).cloned().collect();
    batch(vec![
        ("catalog_name", same(DATABASE, names.len())),
        ("schema_name", texts(names.iter().cloned().map(Some))),
        ("schema_owner", same(DATABASE, names.len())),
    ])
}

fn table_list(names: &[Named]) -> Result<RecordBatch, ArrowError> {
    batch(vec![
        ("table_catalog", same(DATABASE, names.len())),
        ("table_schema", texts(names.iter().map(|name| Some(name.namespace.clone())))),
        ("table_name", texts(names.iter().map(|name| Some(name.table.clone())))),
        ("table_type", texts(names.iter().map(|name| Some(kind(name.is_view).to_string())))),
        ("is_insertable_into", texts(names.iter().map(|name| Some(yes(!name.is_view))))),
    ])
}

fn table_constraints(names: &[Named]) -> Result<RecordBatch, ArrowError> {
    let keyed: Vec<&Named> = names.iter().filter(|name| !name.key.is_empty()).collect();
    let count = keyed.len();
    let namespaces = || texts(keyed.iter().map(|name| Some(name.namespace.clone())));
    batch(vec![
        ("constraint_catalog", same(DATABASE, count)),
        ("constraint_schema", namespaces()),
        ("constraint_name", texts(keyed.iter().map(|name| Some(format!("{}_pkey", name.table))))),
        ("table_catalog", same(DATABASE, count)),
        ("table_schema", namespaces()),
        ("table_name", texts(keyed.iter().map(|name| Some(name.table.clone())))),
        ("constraint_type", same("PRIMARY KEY", count)),
        ("is_deferrable", same("NO", count)),
        ("initially_deferred", same("NO", count)),
        ("enforced", same("YES", count)),
        ("nulls_distinct", texts(std::iter::repeat_n(None, count))),
    ])
}

/// Each column of a key with its place in it, from 1.
fn key_columns(names: &[Named]) -> Vec<(&Named, &str, i32)> {
    names
        .iter()
        .flat_map(|name| name.key.iter().zip(1..).map(move |(column, place)| (name, column.as_str(), place)))
        .collect()
}

fn key_column_usage(names: &[Named]) -> Result<RecordBatch, ArrowError> {
    let columns = key_columns(names);
    let count = columns.len();
    let namespaces = || texts(columns.iter().map(|(name, ..)| Some(name.namespace.clone())));
    let places: ArrayRef = Arc::new(columns.iter().map(|(.., place)| Some(*place)).collect::<Int32Array>());
    let none: ArrayRef = Arc::new(Int32Array::from(vec![None; count]));
    batch(vec![
        ("constraint_catalog", same(DATABASE, count)),
        ("constraint_schema", namespaces()),
        ("constraint_name", texts(columns.iter().map(|(name, ..)| Some(format!("{}_pkey", name.table))))),
        ("table_catalog", same(DATABASE, count)),
        ("table_schema", namespaces()),
        ("table_name", texts(columns.iter().map(|(name, ..)| Some(name.table.clone())))),
        ("column_name", texts(columns.iter().map(|(_, column, _)| Some((*column).to_string())))),
        ("ordinal_position", places),
        ("position_in_unique_constraint", none),
    ])
}

fn constraint_column_usage(names: &[Named]) -> Result<RecordBatch, ArrowError> {
    let columns = key_columns(names);
    let count = columns.len();
    let namespaces = || texts(columns.iter().map(|(name, ..)| Some(name.namespace.clone())));
    batch(vec![
        ("table_catalog", same(DATABASE, count)),
        ("table_schema", namespaces()),
        ("table_name", texts(columns.iter().map(|(name, ..)| Some(name.table.clone())))),
        ("column_name", texts(columns.iter().map(|(_, column, _)| Some((*column).to_string())))),
        ("constraint_catalog", same(DATABASE, count)),
        ("constraint_schema", namespaces()),
        ("constraint_name", texts(columns.iter().map(|(name, ..)| Some(format!("{}_pkey", name.table))))),
    ])
}

fn yes(is: bool) -> String {
    if is { "YES" } else { "NO" }.to_string()
}

fn kind(is_view: bool) -> &'static str {
    if is_view { "VIEW" } else { "BASE TABLE" }
}

fn columns(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let count = rows.len();
    let number = |of: fn(&DataType) -> Option<i32>| -> ArrayRef {
        let values: Numbers = rows.iter().map(|row| of(row.field.data_type())).collect();
        Arc::new(Int32Array::from(values))
    };
    let text = |of: &dyn Fn(&Row) -> String| -> ArrayRef {
        let values: Texts = rows.iter().map(|row| Some(of(row))).collect();
        texts(values.into_iter())
    };
    let position: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.position)).collect::<Int32Array>());
    batch(vec![
        ("table_catalog", same(DATABASE, count)),
        ("table_schema", text(&|row| row.namespace.clone())),
        ("table_name", text(&|row| row.table.clone())),
        ("column_name", text(&|row| row.field.name().clone())),
        ("ordinal_position", position),
        ("column_default", texts(std::iter::repeat_n(None, count))),
        ("is_nullable", text(&|row| if row.field.is_nullable() { "YES" } else { "NO" }.to_string())),
        ("data_type", text(&|row| type_name(&row.field).to_string())),
        ("character_maximum_length", number(|_| None)),
        ("numeric_precision", number(numeric_precision)),
        ("numeric_precision_radix", number(numeric_radix)),
        ("numeric_scale", number(numeric_scale)),
        ("datetime_precision", number(datetime_precision)),
        ("udt_catalog", same(DATABASE, count)),
        ("udt_schema", same("pg_catalog", count)),
        ("udt_name", text(&|row| column_type(&row.field).name().to_string())),
        ("is_identity", same("NO", count)),
        ("is_generated", same("NEVER", count)),
        ("is_updatable", same("YES", count)),
    ])
}

/// The name that the SQL standard has for a type.
fn type_name(field: &Field) -> &'static str {
    match field.data_type() {
        _ if is_uuid(field) => "uuid",
        DataType::Dictionary(_, value) => type_name(&field.clone().with_data_type(value.as_ref().clone())),
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::UInt64 | DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => "numeric",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea"
        }
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => "ARRAY",
        DataType::Struct(_) => "record",
        _ => "text",
    }
}

fn numeric_precision(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Some(16),
        DataType::Int32 | DataType::UInt16 => Some(32),
        DataType::Int64 | DataType::UInt32 => Some(64),
        DataType::Float16 | DataType::Float32 => Some(24),
        DataType::Float64 => Some(53),
        DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _) => {
            Some(i32::from(*precision))
        }
        DataType::UInt64 => Some(20),
        _ => None,
    }
}

fn numeric_radix(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::UInt64 => Some(10),
        other if other.is_integer() || other.is_floating() => Some(2),
        _ => None,
    }
}

fn numeric_scale(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(i32::from(*scale)),
        other if other.is_integer() => Some(0),
        _ => None,
    }
}

fn datetime_precision(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Time64(_) | DataType::Time32(_) => Some(6),
        DataType::Date32 | DataType::Date64 => Some(0),
        _ => None,
    }
}
