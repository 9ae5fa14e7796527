//! Columns as the decoder gives them, as columns of a table.
//!
//! Moments come from the decoder as exact numbers of nanoseconds: its own timestamps lose what lies outside of 1677 to 2262.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

const NANOSECONDS: DataType = DataType::Decimal128(38, 9);
const NANOS_IN_MICRO: i128 = 1_000;

fn each(fields: &Fields, of: &dyn Fn(&DataType) -> Result<DataType, String>) -> Result<Fields, String> {
    fields.iter().map(|field| one(field, of)).collect()
}

fn one(field: &FieldRef, of: &dyn Fn(&DataType) -> Result<DataType, String>) -> Result<FieldRef, String> {
    let data_type = of(field.data_type())?;
    Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
}

/// A type with others in the place of what stands in it.
fn nested(
    data_type: &DataType,
    of: &dyn Fn(&DataType) -> Result<DataType, String>,
) -> Result<DataType, String> {
    Ok(match data_type {
        DataType::Struct(fields) => DataType::Struct(each(fields, of)?),
        DataType::List(element) => DataType::List(one(element, of)?),
        DataType::Map(entries, sorted) => DataType::Map(one(entries, of)?, *sorted),
        other => other.clone(),
    })
}

/// The type of a column. Errors: no table can hold it.
fn settled(data_type: &DataType) -> Result<DataType, String> {
    match data_type {
        DataType::Timestamp(_, zone) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        DataType::Decimal128(precision, scale)
            if *precision == 0 || *precision > 38 || *scale < 0 || scale.unsigned_abs() > *precision =>
        {
            Err(format!(
                "a decimal of {precision} digits, {scale} of them behind the point, is not supported"
            ))
        }
        DataType::Union(..) => Err("a union is not supported; no column can hold it".to_string()),
        DataType::Struct(fields) if fields.is_empty() => {
            Err("a struct without fields is not supported".to_string())
        }
        other => nested(other, &settled),
    }
}

/// The type that the decoder is asked for.
fn asked(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..) => NANOSECONDS,
        other => nested(other, &|inner| Ok(asked(inner))).unwrap_or_else(|_| other.clone()),
    }
}

/// The columns of a file. Errors: what no column can hold, with its name.
pub(super) fn schema(own: &Schema) -> Result<SchemaRef, String> {
    let field = |field: &FieldRef| {
        let data_type =
            settled(field.data_type()).map_err(|what| format!("column `{}`: {what}", field.name()))?;
        Ok(Arc::new(Field::new(field.name(), data_type, true)))
    };
    let fields: Fields = own.fields().iter().map(field).collect::<Result<_, String>>()?;
    match fields.is_empty() {
        true => Err("it has no columns".to_string()),
        false => Ok(Arc::new(Schema::new(fields))),
    }
}

/// The schema that the decoder is asked for.
pub(super) fn decoded(own: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| Field::new(field.name(), asked(field.data_type()), true);
    Arc::new(Schema::new(own.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Rows as the decoder gives them, in the columns of the file. Errors: a moment that microseconds cannot hold.
pub(super) fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let column = |(column, field): (&ArrayRef, &FieldRef)| {
        array(column, field.data_type()).map_err(|what| format!("column `{}`: {what}", field.name()))
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}

fn array(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    let arrow = |error: arrow::error::ArrowError| error.to_string();
    let unfit = || format!("it is {} where {wanted} was announced", array.data_type());
    Ok(match wanted {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let nanos = array.as_primitive_opt::<Decimal128Type>().ok_or_else(unfit)?;
            let micros = |nanos: i128| {
                let micros = i64::try_from(nanos.div_euclid(NANOS_IN_MICRO));
                micros.map_err(|_| format!("a timestamp {nanos} ns from 1970 is out of range"))
            };
            let values = nanos.iter().map(|nanos| nanos.map(micros).transpose());
            let values = values.collect::<Result<TimestampMicrosecondArray, String>>()?;
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Struct(fields) => {
            let own = array.as_struct_opt().ok_or_else(unfit)?;
            let columns = own.columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| self::array(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, own.nulls().cloned()).map_err(arrow)?)
        }
        DataType::List(element) => {
            let own = array.as_list_opt::<i32>().ok_or_else(unfit)?;
            let items = self::array(own.values(), element.data_type())?;
            let (offsets, nulls) = (own.offsets().clone(), own.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, items, nulls).map_err(arrow)?)
        }
        DataType::Map(entries, sorted) => {
            let own = array.as_map_opt().ok_or_else(unfit)?;
            let pairs: ArrayRef = Arc::new(own.entries().clone());
            let pairs = self::array(&pairs, entries.data_type())?;
            let pairs = pairs.as_struct_opt().ok_or_else(unfit)?.clone();
            let (offsets, nulls) = (own.offsets().clone(), own.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted).map_err(arrow)?)
        }
        _ => return Err(unfit()),
    })
}
