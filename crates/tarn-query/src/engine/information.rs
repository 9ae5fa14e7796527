//! `information_schema` with the columns and type names of PostgreSQL (SQL:2016 part 11).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, Session as PlanSession, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tarn_core::{RequestContext, Sealed};

use super::catalog::CATALOG as DATABASE;
use crate::encode::is_uuid;
use crate::{QueryError, SqlView, Tables};

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

/// What is known of the tables of a tenant.
#[derive(Default)]
struct Known {
    namespaces: Vec<String>,
    names: Vec<Named>,
    rows: Vec<Row>,
    views: Vec<SqlView>,
}

/// How much a table of the schema tells of each table, and so how much is read for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Namespaces,
    Names,
    Columns,
}

type Rows = fn(&Known) -> Result<RecordBatch, ArrowError>;

/// The tables of the schema.
const ABOUT: [(&str, Depth, Rows); 9] = [
    ("schemata", Depth::Namespaces, |known| schemata(&known.namespaces)),
    ("tables", Depth::Names, |known| table_list(&known.names)),
    ("columns", Depth::Columns, |known| columns(&known.rows)),
    ("views", Depth::Columns, |known| views(&known.views)),
    ("table_constraints", Depth::Columns, |known| table_constraints(&known.names)),
    ("key_column_usage", Depth::Columns, |known| key_column_usage(&known.names)),
    ("constraint_column_usage", Depth::Columns, |known| constraint_column_usage(&known.names)),
    ("referential_constraints", Depth::Namespaces, |_| empty(&REFERENTIAL)),
    ("routines", Depth::Namespaces, |_| empty(&ROUTINES)),
];

const REFERENTIAL: [&str; 9] = [
    "constraint_catalog",
    "constraint_schema",
    "constraint_name",
    "unique_constraint_catalog",
    "unique_constraint_schema",
    "unique_constraint_name",
    "match_option",
    "update_rule",
    "delete_rule",
];

const ROUTINES: [&str; 8] = [
    "specific_catalog",
    "specific_schema",
    "specific_name",
    "routine_catalog",
    "routine_schema",
    "routine_name",
    "routine_type",
    "data_type",
];

/// The schema over the tables that the caller may see.
pub fn information_schema(tables: Arc<dyn Tables>, ctx: RequestContext) -> Arc<dyn SchemaProvider> {
    Arc::new(InformationSchema { tables, ctx })
}

#[derive(Debug)]
struct InformationSchema {
    tables: Arc<dyn Tables>,
    ctx: RequestContext,
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        ABOUT.iter().map(|(name, ..)| (*name).to_string()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some((_, depth, rows)) = ABOUT.iter().find(|(own, ..)| name.eq_ignore_ascii_case(own)) else {
            return Ok(None);
        };
        let schema = rows(&Known::default())?.schema();
        let (tables, ctx) = (Arc::clone(&self.tables), self.ctx.clone());
        Ok(Some(Arc::new(About { schema, depth: *depth, rows: Sealed::new(*rows), tables, ctx })))
    }

    fn table_exist(&self, name: &str) -> bool {
        ABOUT.iter().any(|(own, ..)| name.eq_ignore_ascii_case(own))
    }
}

/// A table of the schema, whose rows are put together when it is read: it may stand in the schema without being asked.
#[derive(Debug)]
struct About {
    schema: SchemaRef,
    depth: Depth,
    rows: Sealed<Rows>,
    tables: Arc<dyn Tables>,
    ctx: RequestContext,
}

#[async_trait]
impl TableProvider for About {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn PlanSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let known = known(self.tables.as_ref(), &self.ctx, self.depth).await?;
        let batch = (self.rows)(&known)?;
        let table = MemTable::try_new(self.schema(), vec![vec![batch]])?;
        table.scan(session, projection, filters, limit).await
    }
}

/// Errors: the catalog's.
async fn known(tables: &dyn Tables, ctx: &RequestContext, depth: Depth) -> Result<Known, QueryError> {
    let mut known = Known { namespaces: tables.namespaces(ctx).await?, ..Known::default() };
    if depth == Depth::Namespaces {
        return Ok(known);
    }
    for namespace in known.namespaces.clone() {
        let of = |table: &str, is_view| Named {
            namespace: namespace.clone(),
            table: table.to_string(),
            key: Vec::new(),
            is_view,
        };
        let own = tables.tables(ctx, &namespace).await?;
        let own_views = tables.views(ctx, &namespace).await?;
        if depth == Depth::Names {
            known.names.extend(own.iter().map(|name| of(name.name(), false)));
            known.names.extend(own_views.iter().map(|name| of(name.name(), true)));
            continue;
        }
        for name in own.into_iter().chain(own_views) {
            let (fields, named) = match tables.view(ctx, &name).await? {
                Some(view) => (Arc::clone(&view.schema), Named { key: view.key(), ..of(name.name(), false) }),
                None => match tables.sql_view(ctx, &name).await? {
                    Some(view) => {
                        let columns = Arc::clone(&view.columns);
                        known.views.push(view);
                        (columns, of(name.name(), true))
                    }
                    // Dropped since it was listed.
                    None => continue,
                },
            };
            known.names.push(named);
            known.rows.extend(fields.fields().iter().zip(1..).map(|(field, position)| Row {
                namespace: namespace.clone(),
                table: name.name().to_string(),
                field: Arc::clone(field),
                position,
            }));
        }
    }
    Ok(known)
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
        ("udt_name", text(&|row| udt_name(&row.field))),
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

/// The name that PostgreSQL itself has for a type; arrays have a `_` before that of their items.
fn udt_name(field: &Field) -> String {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("_{}", udt_name(item))
        }
        _ => match type_name(field) {
            "boolean" => "bool",
            "smallint" => "int2",
            "integer" => "int4",
            "bigint" => "int8",
            "real" => "float4",
            "double precision" => "float8",
            "time without time zone" => "time",
            "timestamp without time zone" => "timestamp",
            "timestamp with time zone" => "timestamptz",
            other => other,
        }
        .to_string(),
    }
}
