//! Nested values of old files in the shape that the table has now, matched by field id at every depth.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    StructArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// The Iceberg id that an Arrow field carries.
pub(super) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok())
}

/// Gives `inner`, a value of a file's field, as a value of the table's field.
#[derive(Debug, Eq)]
pub(super) struct Reshape {
    pub(super) inner: Arc<dyn PhysicalExpr>,
    pub(super) from: FieldRef,
    pub(super) to: FieldRef,
}

impl PartialEq for Reshape {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && self.from == other.from && self.to == other.to
    }
}

impl Hash for Reshape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Reshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reshape({})", self.inner)
    }
}

impl PhysicalExpr for Reshape {
    fn data_type(&self, _: &Schema) -> DfResult<DataType> {
        Ok(self.to.data_type().clone())
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, _: &Schema) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let array = self.inner.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(reshape(&array, &self.from, &self.to)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, from: Arc::clone(&self.from), to: Arc::clone(&self.to) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Whether a value of `from` is a value of `to` as it is.
pub(super) fn same_shape(from: &Field, to: &Field) -> bool {
    let ids_differ = matches!((field_id(from), field_id(to)), (Some(a), Some(b)) if a != b);
    if ids_differ || from.name() != to.name() || from.is_nullable() != to.is_nullable() {
        return false;
    }
    match (from.data_type(), to.data_type()) {
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| same_shape(from, to))
        }
        (DataType::List(from), DataType::List(to))
        | (DataType::LargeList(from), DataType::LargeList(to))
        | (DataType::Map(from, _), DataType::Map(to, _)) => from == to && same_shape(from, to),
        (from, to) => from == to,
    }
}

fn reshape(array: &ArrayRef, from: &Field, to: &Field) -> Result<ArrayRef, ArrowError> {
    match (from.data_type(), to.data_type()) {
        (DataType::Struct(from_fields), DataType::Struct(to_fields)) => {
            let array = downcast::<StructArray>(array)?;
            let columns = struct_columns(array, from_fields, to_fields)?;
            let reshaped = StructArray::try_new_with_length(
                to_fields.clone(),
                columns,
                array.nulls().cloned(),
                array.len(),
            )?;
            Ok(Arc::new(reshaped))
        }
        (DataType::List(from_item), DataType::List(to_item)) => {
            reshape_list::<i32>(array, from_item, to_item)
        }
        (DataType::LargeList(from_item), DataType::LargeList(to_item)) => {
            reshape_list::<i64>(array, from_item, to_item)
        }
        (DataType::FixedSizeList(from_item, size), DataType::FixedSizeList(to_item, _)) => {
            let array = downcast::<FixedSizeListArray>(array)?;
            let values = reshape(array.values(), from_item, to_item)?;
            Ok(Arc::new(FixedSizeListArray::try_new(
                Arc::clone(to_item),
                *size,
                values,
                array.nulls().cloned(),
            )?))
        }
        (DataType::Map(from_entries, sorted), DataType::Map(to_entries, _)) => {
            let (DataType::Struct(from_pair), DataType::Struct(to_pair)) =
                (from_entries.data_type(), to_entries.data_type())
            else {
                return Err(ArrowError::CastError("a map without entries".into()));
            };
            let array = downcast::<MapArray>(array)?;
            // Key and value stand in this order in every file, whatever they are called.
            let columns: Result<Vec<ArrayRef>, ArrowError> = array
                .entries()
                .columns()
                .iter()
                .zip(from_pair.iter().zip(to_pair))
                .map(|(column, (from, to))| reshape(column, from, to))
                .collect();
            let entries = StructArray::try_new(to_pair.clone(), columns?, None)?;
            let nulls = array.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(
                Arc::clone(to_entries),
                array.offsets().clone(),
                entries,
                nulls,
                *sorted,
            )?))
        }
        (from, to) if from == to => Ok(Arc::clone(array)),
        (_, to) => cast(array, to),
    }
}

fn struct_columns(array: &StructArray, from: &Fields, to: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
    let has_ids = from.iter().any(|field| field_id(field).is_some());
    to.iter()
        .map(|wanted| {
            let by_id = |field: &FieldRef| field_id(field).is_some() && field_id(field) == field_id(wanted);
            let found = match has_ids && field_id(wanted).is_some() {
                true => from.iter().position(by_id),
                false => from.iter().position(|field| field.name() == wanted.name()),
            };
            match found {
                Some(at) => reshape(array.column(at), &from[at], wanted),
                None if wanted.is_nullable() => Ok(new_null_array(wanted.data_type(), array.len())),
                None => Err(ArrowError::CastError(format!(
                    "required field `{}` is missing in a file",
                    wanted.name()
                ))),
            }
        })
        .collect()
}

fn reshape_list<O: OffsetSizeTrait>(
    array: &ArrayRef,
    from: &FieldRef,
    to: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let array = downcast::<GenericListArray<O>>(array)?;
    let values = reshape(array.values(), from, to)?;
    let nulls = array.nulls().cloned();
    Ok(Arc::new(GenericListArray::<O>::try_new(Arc::clone(to), array.offsets().clone(), values, nulls)?))
}

fn downcast<T: Array + 'static>(array: &ArrayRef) -> Result<&T, ArrowError> {
    let fault =
        || ArrowError::CastError(format!("a file's column has the unexpected type {}", array.data_type()));
    array.as_any().downcast_ref::<T>().ok_or_else(fault)
}
