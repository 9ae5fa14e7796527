//! Values of old files in the shape that their column has now, matched by field id at every depth.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY).and_then(|id| id.parse().ok())
}

/// Gives values of a field of a file as values of the field that the table has now. Errors: they cannot be.
pub fn reshape(array: &ArrayRef, from: &Field, to: &Field) -> Result<ArrayRef, ArrowError> {
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
