//! Values as bytes (Iceberg specification, "Binary single-value serialization"), which other engines hash too.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};

/// Whether values of this type are counted.
pub(super) fn is_counted(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean
            | T::Int32
            | T::Int64
            | T::Float32
            | T::Float64
            | T::Date32
            | T::Decimal128(..)
            | T::Utf8
            | T::LargeUtf8
            | T::Binary
            | T::LargeBinary
            | T::FixedSizeBinary(_)
            | T::Time64(TimeUnit::Microsecond)
            | T::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
    )
}

/// Calls `take` with the bytes of each value that is not null and not in `gone`.
pub(super) fn each(column: &ArrayRef, is_live: impl Fn(usize) -> bool, mut take: impl FnMut(&[u8])) {
    let rows = (0..column.len()).filter(|row| column.is_valid(*row) && is_live(*row));
    macro_rules! primitive {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>();
            rows.for_each(|row| take(&values.value(row).to_le_bytes()))
        }};
    }
    macro_rules! bytes {
        ($values:expr) => {{
            let values = $values;
            rows.for_each(|row| take(values.value(row).as_ref()))
        }};
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            rows.for_each(|row| take(&[u8::from(values.value(row))]));
        }
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Date32 => primitive!(Date32Type),
        DataType::Time64(_) => primitive!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType),
        DataType::Timestamp(..) => primitive!(TimestampMicrosecondType),
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            rows.for_each(|row| take(shortest(&values.value(row).to_be_bytes())));
        }
        DataType::Utf8 => bytes!(column.as_string::<i32>()),
        DataType::LargeUtf8 => bytes!(column.as_string::<i64>()),
        DataType::Binary => bytes!(column.as_binary::<i32>()),
        DataType::LargeBinary => bytes!(column.as_binary::<i64>()),
        DataType::FixedSizeBinary(_) => bytes!(column.as_fixed_size_binary()),
        _ => {}
    }
}

/// Two's complement, big endian, in as few bytes as hold it.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let skipped = bytes[..15]
        .iter()
        .zip(&bytes[1..])
        .take_while(|(this, next)| **this == fill && (**next ^ fill) & 0x80 == 0);
    &bytes[skipped.count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_take_as_few_bytes_as_hold_them() {
        for (value, bytes) in [
            (0_i128, &[0][..]),
            (127, &[127]),
            (128, &[0, 128]),
            (-1, &[0xff]),
            (-128, &[0x80]),
            (-129, &[0xff, 0x7f]),
            (1_420, &[0x05, 0x8c]),
            (i128::MIN, &i128::MIN.to_be_bytes()),
        ] {
            assert_eq!(shortest(&value.to_be_bytes()), bytes, "{value}");
        }
    }
}
