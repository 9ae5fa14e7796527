//! Arrow types of files, turned into the ones that topics and tables hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

/// The type that a column of `data_type` gets; nested values become JSON text.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::Boolean | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Utf8 | T::Binary | T::Date32 => {
            data_type.clone()
        }
        T::Int8 | T::Int16 | T::UInt8 | T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::LargeUtf8 | T::Utf8View | T::Null => T::Utf8,
        T::LargeBinary | T::BinaryView => T::Binary,
        T::FixedSizeBinary(_) => T::Binary,
        T::Date64 => T::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(_, None) => T::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(_, Some(_)) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Time32(_) | T::Time64(_) => T::Time64(TimeUnit::Microsecond),
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal128(precision, scale) => {
            T::Decimal128(*precision, *scale)
        }
        T::Dictionary(_, values) => plain_type(values),
        T::RunEndEncoded(_, values) => plain_type(values.data_type()),
        // Intervals, durations, wide decimals and nested values have no column type of their own here.
        T::Decimal256(..)
        | T::Interval(_)
        | T::Duration(_)
        | T::List(_)
        | T::ListView(_)
        | T::FixedSizeList(..)
        | T::LargeList(_)
        | T::LargeListView(_)
        | T::Struct(_)
        | T::Union(..)
        | T::Map(..) => T::Utf8,
    }
}

/// The schema that rows of `schema` get. All fields are nullable; foreign metadata is dropped.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| Field::new(field.name(), plain_type(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn json_text(field: &Arc<Field>, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, array.as_ref(), &options)?;
    let (mut text, mut line) = (StringBuilder::new(), Vec::new());
    for row in 0..array.len() {
        if array.is_null(row) {
            text.append_null();
            continue;
        }
        line.clear();
        encoder.encode(row, &mut line);
        text.append_value(String::from_utf8_lossy(&line));
    }
    Ok(Arc::new(text.finish()))
}

/// Casts a column to its plain type. Errors: a value that does not fit, such as a timestamp beyond microseconds.
fn plain_column(field: &Arc<Field>, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let wanted = plain_type(field.data_type());
    if *array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    if field.data_type().is_nested() && !matches!(field.data_type(), DataType::Dictionary(..)) {
        return json_text(field, array);
    }
    cast_with_options(array, &wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Rows in their plain types. Errors: a value that does not fit.
pub(crate) fn plain_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields = batch.schema_ref().fields();
    let columns: Result<Vec<_>, _> =
        fields.iter().zip(batch.columns()).map(|(field, column)| plain_column(field, column)).collect();
    RecordBatch::try_new(plain_schema(batch.schema_ref()), columns?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::array::{
        Int32Array, ListArray, StringArray, StructArray, TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int32Type, TimestampMicrosecondType};

    #[test]
    fn every_column_gets_a_plain_type_and_keeps_its_values() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let item = StructArray::from(vec![(
            Arc::new(Field::new("a", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec!["x\"y", "z"])) as ArrayRef,
        )]);
        let words: arrow::array::DictionaryArray<Int32Type> = ["b", "b"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("list", Arc::new(list) as ArrayRef),
            ("item", Arc::new(item) as ArrayRef),
            ("words", Arc::new(words) as ArrayRef),
            ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 0])) as ArrayRef),
            (
                "at",
                Arc::new(TimestampNanosecondArray::from(vec![1_999, 0]).with_timezone("+08:00")) as ArrayRef,
            ),
            ("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
        ])
        .expect("a batch");
        let plain = plain_batch(&batch).expect("fits");
        let at = plain.column(4).as_primitive::<TimestampMicrosecondType>();
        assert_eq!((at.value(0), at.timezone()), (1, Some("UTC")));
        let shown = plain.project(&[0, 1, 2, 3]).expect("columns");
        let shown = arrow::util::pretty::pretty_format_batches(&[shown]).expect("text").to_string();
        let first = shown.lines().nth(3).expect("a row");
        for part in ["[1,null]", r#"{"a":"x\"y"}"#, " b ", "18446744073709551615"] {
            assert!(first.contains(part), "{part} is missing in {first}");
        }
    }
}
