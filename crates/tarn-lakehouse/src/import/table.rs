//! The table of an import: found, planned, made, and taken away again where nothing of the import may stay.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use iceberg::spec::{
    NestedFieldRef, PrimitiveType, Schema, TableMetadata, Transform, Type, UnboundPartitionSpec,
};
use serde_json::{Value, json};
use tarn_core::files::{FilesFault, FilesPlan};
use tarn_core::{RequestContext, TableName};

use super::state::{Import, ImportMode, ImportOptions, PlannedTable, Stored};
use super::{Imports, SUMMARY};
use crate::catalog::CreateTable;
use crate::error::LakehouseError;
use crate::types::{Conformer, SourceSchema, key_of, new_schema};

/// Old metadata files that a new table keeps.
const METADATA_FILES_MAX: &str = "10";

fn invalid(what: impl Into<String>, hint: impl Into<String>) -> LakehouseError {
    FilesFault::invalid(what, hint).into()
}

/// A column and what is taken of it: `day(at)`, `bucket(16, id)`, `region`.
fn term(text: &str) -> Result<(String, Transform), LakehouseError> {
    let wrong = || {
        let hint = "write a column, or year(c), month(c), day(c), hour(c), bucket(n, c), truncate(n, c)";
        invalid(format!("`partition_by`: `{text}` is no column or transform of one"), hint)
    };
    let Some((name, rest)) = text.trim().split_once('(') else {
        return Ok((text.trim().to_string(), Transform::Identity));
    };
    let arguments = rest.strip_suffix(')').ok_or_else(wrong)?;
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_suffix('s').unwrap_or(&name);
    let (transform, column) = match arguments.split_once(',') {
        Some((width, column)) => (format!("{name}[{}]", width.trim()), column),
        None => (name.to_string(), arguments),
    };
    let transform = Transform::from_str(&transform).map_err(|_| wrong())?;
    match transform {
        Transform::Unknown | Transform::Void => Err(wrong()),
        transform => Ok((column.trim().to_string(), transform)),
    }
}

fn partition_name(column: &str, transform: Transform) -> String {
    let suffix = match transform {
        Transform::Year => "_year",
        Transform::Month => "_month",
        Transform::Day => "_day",
        Transform::Hour => "_hour",
        Transform::Bucket(_) => "_bucket",
        Transform::Truncate(_) => "_trunc",
        _ => "",
    };
    format!("{column}{suffix}")
}

/// The partitioning of a new table. Errors: a column that is not there, a transform that does not fit.
pub(super) fn partition_spec(
    schema: &Schema,
    terms: &[String],
) -> Result<Option<UnboundPartitionSpec>, LakehouseError> {
    let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
    for text in terms {
        // A column may be called like a transform.
        let (column, transform) = match schema.as_struct().field_by_name(text) {
            Some(_) => (text.clone(), Transform::Identity),
            None => term(text)?,
        };
        let field = schema.field_by_name(&column).ok_or_else(|| {
            invalid(
                format!("`partition_by`: the rows have no column `{column}`"),
                "name one of their columns",
            )
        })?;
        transform.result_type(&field.field_type).map_err(|_| {
            let what =
                format!("`partition_by`: {text} cannot be taken of a column of type {}", field.field_type);
            invalid(what, "choose another column or transform")
        })?;
        let name = partition_name(&column, transform);
        let added = spec.add_partition_field(field.id, name, transform);
        spec = added.map_err(|error| invalid(error.message(), "leave it out or choose another"))?;
    }
    Ok((!terms.is_empty()).then(|| spec.build()))
}

/// How the rows of a new table are partitioned: as asked for, else by the columns that folders hold.
pub(super) fn terms(options: &ImportOptions, plan: &FilesPlan) -> Vec<String> {
    let found = || plan.table.as_ref().map_or(&plan.path_columns, |table| &table.partition_by).clone();
    options.partition_by.clone().unwrap_or_else(found)
}

/// The key of a new table: as asked for, else that of the table of another lake.
pub(super) fn key(options: &ImportOptions, plan: &FilesPlan) -> Vec<String> {
    match &plan.table {
        Some(table) if options.key.is_empty() => table.key.clone(),
        _ => options.key.clone(),
    }
}

/// The schema of a new table, with what a table of another lake says of its columns. Errors: types without a counterpart.
fn schema_of(name: &str, options: &ImportOptions, plan: &FilesPlan) -> Result<SourceSchema, LakehouseError> {
    let key = key(options, plan);
    let made = new_schema(name, &plan.schema, &key)?;
    let Some(table) =
        plan.table.as_ref().filter(|table| !table.required.is_empty() || !table.comments.is_empty())
    else {
        return Ok(made);
    };
    let said = |field: &NestedFieldRef| {
        let mut field = field.as_ref().clone();
        field.required = field.required || table.required.contains(&field.name);
        let comment = table.comments.iter().find(|(column, _)| *column == field.name);
        field.doc = comment.map(|(_, comment)| comment.clone());
        field
    };
    let fields: Vec<NestedFieldRef> =
        made.schema.as_struct().fields().iter().map(|field| Arc::new(said(field))).collect();
    let schema = Schema::builder()
        .with_schema_id(0)
        .with_fields(fields)
        .with_identifier_field_ids(made.schema.identifier_field_ids())
        .build()
        .map_err(|source| LakehouseError::Format {
            action: "build the schema",
            table: name.into(),
            source,
        })?;
    Ok(SourceSchema { schema, properties: made.properties })
}

/// The name of a column type of files that takes the values of a table's column.
fn type_name(field_type: &Type) -> Option<String> {
    let Type::Primitive(primitive) = field_type else { return Some("json".to_string()) };
    Some(match primitive {
        PrimitiveType::Boolean => "boolean".to_string(),
        PrimitiveType::Int => "int32".to_string(),
        PrimitiveType::Long => "int64".to_string(),
        PrimitiveType::Float | PrimitiveType::Double => "float64".to_string(),
        PrimitiveType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        PrimitiveType::Date => "date".to_string(),
        PrimitiveType::Timestamp | PrimitiveType::TimestampNs => "timestamp".to_string(),
        PrimitiveType::Timestamptz | PrimitiveType::TimestamptzNs => "timestamptz".to_string(),
        PrimitiveType::String => "string".to_string(),
        _ => return None,
    })
}

/// The files' configuration with the types of a table's columns where none are given. `found`: names that files have.
pub(super) fn typed(config: &Value, metadata: &TableMetadata, found: &SchemaRef) -> Value {
    let mut config = config.clone();
    let given = config.get("columns").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_given =
        |name: &str| given.iter().any(|column| column.get("name").and_then(Value::as_str) == Some(name));
    let fields = metadata.current_schema().as_struct().fields();
    let own =
        fields.iter().filter(|field| found.field_with_name(&field.name).is_ok() && !is_given(&field.name));
    let own =
        own.filter_map(|field| Some(json!({ "name": field.name, "type": type_name(&field.field_type)? })));
    let all: Vec<Value> = given.iter().cloned().chain(own).collect();
    if let Some(config) = config.as_object_mut() {
        config.insert("columns".to_string(), Value::Array(all));
    }
    config
}

/// Whether rows of a type can come to a column of another one.
fn can_come(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let is_text = |data_type: &T| matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    match (from, to) {
        (from, to) if from == to => true,
        (T::Null, _) => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (T::Timestamp(_, a), T::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, b)) => {
            a.is_some() == b.is_some()
        }
        (T::Date32 | T::Date64, T::Date32) => true,
        (from, to) if from.is_integer() => {
            to.is_integer() || to.is_floating() || matches!(to, T::Decimal128(..))
        }
        (from, T::Float32 | T::Float64) => from.is_floating(),
        (T::Decimal128(_, s), T::Decimal128(_, t)) => s <= t,
        (T::Dictionary(_, value), to) => can_come(value, to),
        (from, to) if from.is_nested() && to.is_nested() => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), to) => {
            matches!(to, T::Binary | T::LargeBinary | T::FixedSizeBinary(_))
        }
        (T::Time32(_) | T::Time64(_), T::Time64(_)) => true,
        _ => false,
    }
}

/// Errors: columns that the table lacks or that are of another kind, required columns that the files lack.
pub(super) fn check_fit(
    name: &str,
    metadata: &TableMetadata,
    rows: &SchemaRef,
) -> Result<(), LakehouseError> {
    let conformer = Conformer::new(name, metadata, rows)?;
    let target = conformer.target();
    for field in rows.fields() {
        let Ok(column) = target.field_with_name(field.name()) else {
            let hint = format!("add it first: `ALTER TABLE {name} ADD COLUMN {} …`", field.name());
            return Err(invalid(
                format!("table `{name}` has no column `{}` of the files", field.name()),
                hint,
            ));
        };
        if !can_come(field.data_type(), column.data_type()) {
            let what = format!(
                "column `{}` is {} in the files and {} in table `{name}`",
                field.name(),
                field.data_type(),
                column.data_type()
            );
            return Err(invalid(what, "give it another type with `columns`, or import into another table"));
        }
    }
    let missing =
        target.fields().iter().find(|f| !f.is_nullable() && rows.field_with_name(f.name()).is_err());
    match missing {
        None => Ok(()),
        Some(field) => Err(invalid(
            format!("table `{name}` requires column `{}`, which the files lack", field.name()),
            "make it optional (`ALTER TABLE … ALTER COLUMN … DROP NOT NULL`), or bring it in the files",
        )),
    }
}

/// The table as a plan shows it. Errors: it is there and must not be, or the reverse; what does not fit.
pub(super) fn planned(
    options: &ImportOptions,
    table: &TableName,
    existing: Option<&TableMetadata>,
    plan: &FilesPlan,
) -> Result<PlannedTable, LakehouseError> {
    let name = table.to_string();
    let Some(metadata) = existing else {
        let schema = schema_of(&name, options, plan)?.schema;
        let terms = terms(options, plan);
        partition_spec(&schema, &terms)?;
        return Ok(PlannedTable { name, exists: false, partition_by: terms, key: key(options, plan) });
    };
    if options.mode == ImportMode::Create {
        return Err(FilesFault(tarn_core::FaultReport {
            kind: tarn_core::FaultKind::Conflict,
            message: format!("table `{name}` exists already"),
            hint: Some("append to it or replace its rows (`mode`), or name another table".to_string()),
        })
        .into());
    }
    check_fit(&name, metadata, &plan.schema)?;
    let spec = metadata.default_partition_spec();
    let partition_by = spec.fields().iter().map(|field| field.name.clone()).collect();
    Ok(PlannedTable { name, exists: true, partition_by, key: key_of(metadata) })
}

impl Imports {
    /// Makes the table of an import that has none yet; its first property says that it is ours.
    pub(super) async fn make_table(
        &self,
        ctx: &RequestContext,
        (name, plan): (&TableName, &FilesPlan),
        (options, terms): (&ImportOptions, &[String]),
        mark: (String, String),
    ) -> Result<(), LakehouseError> {
        let catalog = self.lakehouse.catalog();
        catalog.ensure_namespace(ctx, name.namespace()).await?;
        let made = schema_of(&name.to_string(), options, plan)?;
        let partition_spec = partition_spec(&made.schema, terms)?;
        let mut properties: HashMap<String, String> = made.properties;
        properties.insert("write.metadata.previous-versions-max".into(), METADATA_FILES_MAX.into());
        properties.insert(mark.0, mark.1);
        let create = CreateTable {
            name: name.clone(),
            schema: made.schema,
            partition_spec,
            write_order: None,
            location: None,
            properties,
            stage: false,
        };
        catalog.create_table(ctx, create).await.map(drop)
    }

    /// Takes back what an import committed, where nobody else changed the table since. Returns what stays, for people.
    pub(super) async fn take_back(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        id: &str,
        (existed, before): (bool, Option<i64>),
    ) -> Result<&'static str, LakehouseError> {
        let loaded = match self.lakehouse.catalog().load_table(ctx, table).await {
            Ok(loaded) => loaded,
            Err(LakehouseError::TableNotFound { .. }) => return Ok("nothing of it was committed"),
            Err(error) => return Err(error),
        };
        let metadata = &loaded.metadata;
        let mut next = metadata.current_snapshot();
        while let Some(snapshot) = next.filter(|snapshot| Some(snapshot.snapshot_id()) != before) {
            let summary = snapshot.summary();
            let is_own = summary.additional_properties.get(SUMMARY).is_some_and(|own| own == id);
            if !is_own && summary.operation != iceberg::spec::Operation::Replace {
                return Ok("rows that were committed stay, since another writer changed the table meanwhile");
            }
            next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
        }
        if !existed {
            if !metadata.properties().contains_key(&super::mark_property(id)) {
                return Ok("nothing of it was committed");
            }
            self.lakehouse.catalog().drop_table(ctx, table, true).await?;
            return Ok("the table that it had made is gone again");
        }
        match before {
            Some(before) if metadata.current_snapshot_id() != Some(before) => {
                self.lakehouse.roll_back(ctx, table, before).await?;
                Ok("the table is as it was before")
            }
            None if metadata.current_snapshot_id().is_some() => {
                let mut writer = self.lakehouse.write(ctx, table).await?;
                writer.replace_all();
                Box::pin(writer.commit()).await?;
                Ok("the table is empty as it was before")
            }
            _ => Ok("nothing of it was committed"),
        }
    }

    /// Errors: the table into which an import went is gone, or another one has its name.
    pub(super) async fn check_table(
        &self,
        ctx: &RequestContext,
        stored: &Stored,
    ) -> Result<(), LakehouseError> {
        let Stored { import: Import { id, into, .. }, options, table_id, .. } = stored;
        let what = match self.lakehouse.catalog().load_table(ctx, &options.table()?).await {
            Ok(table) if table_id.is_empty() || table.metadata.uuid().to_string() == *table_id => {
                return Ok(());
            }
            Ok(_) => format!("import `{id}` cannot go on: another table is called `{into}` now"),
            Err(LakehouseError::TableNotFound { .. }) => {
                format!("import `{id}` cannot go on: its table `{into}` is gone")
            }
            Err(error) => return Err(error),
        };
        Err(FilesFault::invalid(what, "start a new import of the same files").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_a_partitioning_are_read() {
        assert_eq!(term("region").expect("a column"), ("region".to_string(), Transform::Identity));
        assert_eq!(term("day(at)").expect("a day"), ("at".to_string(), Transform::Day));
        assert_eq!(term("bucket(16, id)").expect("a bucket"), ("id".to_string(), Transform::Bucket(16)));
        assert_eq!(term("days(at)").expect("as Spark says"), ("at".to_string(), Transform::Day));
        for text in ["week(at)", "day(at", "bucket(x, id)"] {
            assert!(term(text).is_err(), "{text}");
        }
    }
}
