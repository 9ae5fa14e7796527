//! `pg_attribute` with the types that columns have on the wire. The emulated catalog knows a dozen types and calls the
//! rest text.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int16Array, Int32Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::PgCatalogTable;
use futures::TryStreamExt;
use pgwire::api::Type;
use postgres_types::Kind;
use tarn_core::{RequestContext, TableName};
use tarn_query::Tables;

use super::catalog::{PgCatalog, external};
use super::encode::{column_type, type_modifier};
use super::views::columns_of;

/// What is known of columns. `None`: the emulation has no catalog of them.
pub(super) fn of(
    catalog: &PgCatalog,
    tables: &Arc<dyn Tables>,
    ctx: &RequestContext,
) -> Result<Option<Attributes>, DataFusionError> {
    let dynamic = |name: &str| match catalog.build_table_by_name(name)? {
        Some(PgCatalogTable::Dynamic(table)) => Ok(Some(table)),
        _ => Ok::<_, DataFusionError>(None),
    };
    let (Some(emulated), Some(classes), Some(namespaces)) =
        (dynamic("pg_attribute")?, dynamic("pg_class")?, dynamic("pg_namespace")?)
    else {
        return Ok(None);
    };
    let schema = Arc::clone(emulated.schema());
    let (tables, ctx) = (Arc::clone(tables), ctx.clone());
    Ok(Some(Attributes { schema, classes, namespaces, tables, ctx }))
}

impl Attributes {
    /// As a table.
    pub(super) fn table(self) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(self)])?))
    }
}

#[derive(Clone)]
pub(super) struct Attributes {
    schema: SchemaRef,
    pub(super) classes: Arc<dyn PartitionStream>,
    pub(super) namespaces: Arc<dyn PartitionStream>,
    pub(super) tables: Arc<dyn Tables>,
    pub(super) ctx: RequestContext,
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes").finish_non_exhaustive()
    }
}

impl PartitionStream for Attributes {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let this = self.clone();
        let rows = futures::stream::once(async move { this.rows(task).await });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// A column with the number of its table.
struct Attribute {
    table: i32,
    number: i16,
    field: Arc<Field>,
    pg_type: Type,
}

impl Attributes {
    async fn rows(&self, task: Arc<TaskContext>) -> Result<RecordBatch, DataFusionError> {
        let mut attributes = Vec::new();
        for (table, name) in self.numbers(task).await? {
            let columns = columns_of(self.tables.as_ref(), &self.ctx, &name).await.map_err(external)?;
            let Some(columns) = columns else { continue };
            attributes.extend(columns.fields().iter().zip(1..).map(|(field, number)| Attribute {
                table,
                number,
                field: Arc::clone(field),
                pg_type: column_type(field),
            }));
        }
        let columns = self.schema.fields().iter().map(|field| column(field, &attributes));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?)
    }

    /// The numbers that the emulation has given to tables.
    pub(super) async fn numbers(
        &self,
        task: Arc<TaskContext>,
    ) -> Result<Vec<(i32, TableName)>, DataFusionError> {
        let mut namespaces = HashMap::new();
        for batch in self.namespaces.execute(Arc::clone(&task)).try_collect::<Vec<_>>().await? {
            let (oids, names) = (numbers(&batch, "oid")?, texts(&batch, "nspname")?);
            for row in 0..batch.num_rows() {
                namespaces.insert(oids.value(row), names.value(row).to_string());
            }
        }
        let mut found = Vec::new();
        for batch in self.classes.execute(task).try_collect::<Vec<_>>().await? {
            let (oids, names) = (numbers(&batch, "oid")?, texts(&batch, "relname")?);
            let of = numbers(&batch, "relnamespace")?;
            for row in 0..batch.num_rows() {
                let namespace = namespaces.get(&of.value(row));
                let name = namespace.and_then(|namespace| TableName::new(namespace, names.value(row)).ok());
                found.extend(name.map(|name| (oids.value(row), name)));
            }
        }
        Ok(found)
    }
}

fn emulated(batch: &RecordBatch, name: &str, data_type: &DataType) -> Result<ArrayRef, DataFusionError> {
    let column = batch.column_by_name(name);
    let column =
        column.ok_or_else(|| DataFusionError::Internal(format!("no column {name} in the catalog")))?;
    Ok(cast(column, data_type)?)
}

pub(super) fn numbers(batch: &RecordBatch, name: &str) -> Result<Int32Array, DataFusionError> {
    Ok(emulated(batch, name, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
}

fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray, DataFusionError> {
    Ok(emulated(batch, name, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// One column of `pg_attribute`; what our tables do not have is zero, false or empty.
fn column(field: &Field, rows: &[Attribute]) -> ArrayRef {
    let int4 = |of: &dyn Fn(&Attribute) -> i32| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int32Array>())
    };
    let int2 = |of: &dyn Fn(&Attribute) -> i16| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int16Array>())
    };
    let bool = |of: &dyn Fn(&Attribute) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>())
    };
    let text = |of: &dyn Fn(&Attribute) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    };
    match field.name().as_str() {
        "attrelid" => int4(&|row| row.table),
        "attname" => text(&|row| Some(row.field.name().clone())),
        "atttypid" => int4(&|row| i32::try_from(row.pg_type.oid()).unwrap_or_default()),
        "attstattarget" | "attcacheoff" => int4(&|_| -1),
        "attlen" => int2(&|row| storage(&row.pg_type).0),
        "attnum" => int2(&|row| row.number),
        "attndims" => int4(&|row| i32::from(matches!(row.pg_type.kind(), Kind::Array(_)))),
        "atttypmod" => int4(&|row| type_modifier(row.field.data_type()).unwrap_or(-1)),
        "attbyval" => bool(&|row| storage(&row.pg_type).1),
        "attalign" => text(&|row| Some(storage(&row.pg_type).2.to_string())),
        "attstorage" => text(&|row| Some(storage(&row.pg_type).3.to_string())),
        "attnotnull" => bool(&|row| !row.field.is_nullable()),
        "attislocal" => bool(&|_| true),
        _ => match field.data_type() {
            DataType::Int16 => int2(&|_| 0),
            DataType::Int32 => int4(&|_| 0),
            DataType::Boolean => bool(&|_| false),
            _ => text(&|_| (!field.is_nullable()).then(String::new)),
        },
    }
}

/// Length, whether it is passed by value, alignment and storage, as `pg_type` of PostgreSQL has them.
fn storage(pg_type: &Type) -> (i16, bool, &'static str, &'static str) {
    match *pg_type {
        Type::BOOL => (1, true, "c", "p"),
        Type::INT2 => (2, true, "s", "p"),
        Type::INT4 | Type::FLOAT4 | Type::DATE => (4, true, "i", "p"),
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => (8, true, "d", "p"),
        Type::UUID => (16, false, "c", "p"),
        Type::INTERVAL => (16, false, "d", "p"),
        Type::NUMERIC => (-1, false, "i", "m"),
        _ => (-1, false, "i", "x"),
    }
}

/// `format_type`, for every type that a column can have.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FormatType(Signature);

impl FormatType {
    pub(super) fn function() -> ScalarUDF {
        ScalarUDF::new_from_impl(Self(Signature::any(2, Volatility::Stable)))
    }
}

impl ScalarUDFImpl for FormatType {
    fn name(&self) -> &'static str {
        "format_type"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [oids, modifiers] = arrays.as_slice() else {
            return Err(DataFusionError::Plan("format_type takes a type and a modifier".to_string()));
        };
        let (oids, modifiers) = (cast(oids, &DataType::Int32)?, cast(modifiers, &DataType::Int32)?);
        let (oids, modifiers) = (oids.as_primitive::<Int32Type>(), modifiers.as_primitive::<Int32Type>());
        let names: StringArray = oids
            .iter()
            .zip(modifiers)
            .map(|(oid, modifier)| oid.map(|oid| type_name(oid, modifier.unwrap_or(-1))))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    }
}

fn type_name(oid: i32, modifier: i32) -> String {
    let known = u32::try_from(oid).ok().and_then(Type::from_oid);
    let Some(pg_type) = known else { return if oid == 0 { "-" } else { "???" }.to_string() };
    if let Kind::Array(element) = pg_type.kind() {
        let element = i32::try_from(element.oid()).unwrap_or_default();
        return format!("{}[]", type_name(element, modifier));
    }
    let numeric = || {
        let (precision, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0xffff);
        format!("numeric({precision},{scale})")
    };
    let name = match pg_type {
        Type::NUMERIC if modifier >= 4 => return numeric(),
        Type::VARCHAR | Type::BPCHAR if modifier >= 4 => {
            let name = if pg_type == Type::VARCHAR { "character varying" } else { "character" };
            return format!("{name}({})", modifier - 4);
        }
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::VARCHAR => "character varying",
        Type::BPCHAR => "character",
        Type::CHAR => "\"char\"",
        Type::TIME => "time without time zone",
        Type::TIMETZ => "time with time zone",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::VARBIT => "bit varying",
        ref other => other.name(),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers to `SELECT format_type(…)`.
    #[test]
    fn types_are_named_like_in_postgresql() {
        for (oid, modifier, name) in [
            (20, -1, "bigint"),
            (1700, -1, "numeric"),
            (1700, (18 << 16) + 2 + 4, "numeric(18,2)"),
            (1700, (20 << 16) + 4, "numeric(20,0)"),
            (1184, -1, "timestamp with time zone"),
            (2950, -1, "uuid"),
            (2951, -1, "uuid[]"),
            (1185, -1, "timestamp with time zone[]"),
            (1016, -1, "bigint[]"),
            (2249, -1, "record"),
            (17, -1, "bytea"),
            (1043, 14, "character varying(10)"),
            (0, -1, "-"),
            (999_999, -1, "???"),
        ] {
            assert_eq!(type_name(oid, modifier), name);
        }
    }
}
