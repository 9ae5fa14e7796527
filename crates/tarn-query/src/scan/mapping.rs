//! Columns of a file as columns of the table: matched by field id, so that renamed columns keep their values, added
//! ones are null (or their default) in old files, and widened ones are cast.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use iceberg::spec::TableMetadata;
use tarn_lakehouse::names_of;

use super::bounds::literal_scalar;
use super::identity::Partitions;
use super::nested::{Reshape, field_id, same_shape};
use super::opaque::Opaque;

/// How the columns of a table are found in its files.
#[derive(Debug)]
pub(super) struct ColumnMapping {
    /// By name in the table.
    columns: HashMap<String, MappedColumn>,
    /// Field ids of the columns of files without ids, by name in the file.
    names: Option<HashMap<String, i32>>,
    partitions: Option<Partitions>,
}

#[derive(Debug)]
struct MappedColumn {
    id: Option<i32>,
    /// The table's field, ids of nested fields included.
    field: FieldRef,
    default: Option<ScalarValue>,
    maybe_nan: bool,
}

impl ColumnMapping {
    /// `schema`: the table's, as queries see it. `field_ids`: of its columns. `maybe_nan`: columns of floats in files
    /// that do not promise to hold no NaN.
    pub(super) fn new(
        schema: &Schema,
        field_ids: &[Option<i32>],
        metadata: &TableMetadata,
        maybe_nan: &HashSet<usize>,
    ) -> Self {
        let default = |id: Option<i32>, data_type: &DataType| {
            let field = metadata.current_schema().field_by_id(id?)?;
            literal_scalar(field.initial_default.as_ref()?, &field.field_type, data_type)
        };
        let columns = schema.fields().iter().zip(field_ids).enumerate().map(|(index, (field, id))| {
            let column = MappedColumn {
                id: *id,
                default: default(*id, field.data_type()),
                field: Arc::clone(field),
                maybe_nan: maybe_nan.contains(&index),
            };
            (field.name().clone(), column)
        });
        Self { columns: columns.collect(), names: names_of(metadata), partitions: None }
    }

    /// With the partitions of the files, for columns that are not in them.
    pub(super) fn with_partitions(mut self, partitions: Option<Partitions>) -> Self {
        self.partitions = partitions;
        self
    }

    fn find(&self, name: &str, column: &MappedColumn, file: &Schema, file_has_ids: bool) -> Option<usize> {
        if file_has_ids && let Some(id) = column.id {
            return file.fields().iter().position(|field| field_id(field) == Some(id));
        }
        match (&self.names, column.id) {
            (Some(names), Some(id)) => {
                file.fields().iter().position(|field| names.get(field.name()) == Some(&id))
            }
            _ => file.index_of(name).ok(),
        }
    }

    fn expression(&self, name: &str, file: &Schema, file_has_ids: bool) -> DfResult<Arc<dyn PhysicalExpr>> {
        let Some(column) = self.columns.get(name) else {
            return exec_err!("column `{name}` is not one of the table");
        };
        let Some(index) = self.find(name, column, file, file_has_ids) else {
            return self.missing(name, column, file);
        };
        let from = &file.fields()[index];
        let found: Arc<dyn PhysicalExpr> = Arc::new(Column::new(from.name(), index));
        Ok(match converted(found, from, &column.field) {
            expression if column.maybe_nan => Arc::new(Opaque(expression)),
            expression => expression,
        })
    }

    fn missing(&self, name: &str, column: &MappedColumn, file: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
        let data_type = column.field.data_type();
        let partition = match (&self.partitions, column.id) {
            (Some(partitions), Some(id)) => partitions.value(file, id, data_type)?,
            _ => None,
        };
        let value = match partition.or_else(|| column.default.clone()) {
            Some(value) => value,
            None if column.field.is_nullable() => ScalarValue::try_new_null(data_type)?,
            None => {
                return exec_err!(
                    "required column `{name}` is missing in a file written before it was added"
                );
            }
        };
        Ok(Arc::new(Literal::new(value)))
    }
}

fn converted(found: Arc<dyn PhysicalExpr>, from: &FieldRef, to: &FieldRef) -> Arc<dyn PhysicalExpr> {
    if !to.data_type().is_nested() {
        if from.data_type() == to.data_type() {
            return found;
        }
        // Seen through by pruning, which compares the literal in the file's type.
        return Arc::new(CastExpr::new(found, to.data_type().clone(), None));
    }
    // The column's own name and nullability do not matter, only those within it.
    let like: Field = from.as_ref().clone().with_name(to.name()).with_nullable(to.is_nullable());
    if same_shape(&like, to) {
        return found;
    }
    Arc::new(Reshape { inner: found, from: Arc::clone(from), to: Arc::clone(to) })
}

/// Hands the mapping to the Parquet reader, which asks anew for each file.
#[derive(Clone, Debug)]
pub(super) struct MappingFactory(pub(super) Arc<ColumnMapping>);

impl PhysicalExprAdapterFactory for MappingFactory {
    fn create(&self, _logical: SchemaRef, file: SchemaRef) -> DfResult<Arc<dyn PhysicalExprAdapter>> {
        let file_has_ids = file.fields().iter().any(|field| field_id(field).is_some());
        Ok(Arc::new(FileMapping { mapping: Arc::clone(&self.0), file, file_has_ids }))
    }
}

#[derive(Debug)]
struct FileMapping {
    mapping: Arc<ColumnMapping>,
    file: SchemaRef,
    file_has_ids: bool,
}

impl PhysicalExprAdapter for FileMapping {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        // Bottom up, so that the file's columns put in place are not themselves taken for the table's.
        let mapped = expression.transform_up(|node| match node.downcast_ref::<Column>() {
            Some(column) => {
                self.mapping.expression(column.name(), &self.file, self.file_has_ids).map(Transformed::yes)
            }
            None => Ok(Transformed::no(node)),
        });
        mapped.data()
    }
}
