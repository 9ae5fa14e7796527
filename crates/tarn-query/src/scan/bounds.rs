//! Iceberg values as DataFusion values of the table's type.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Type};

/// A bound or partition value in the column's present type; `None` where it cannot be expressed there.
pub(super) fn scalar_of(datum: &Datum, target: &DataType) -> Option<ScalarValue> {
    if let (PrimitiveType::Decimal { scale, .. }, DataType::Decimal128(_, target_scale)) =
        (datum.data_type(), target)
        && i64::from(*scale) != i64::from(*target_scale)
    {
        return None;
    }
    primitive_scalar(datum.literal(), target)
}

/// A literal of a column's type, such as its initial default.
pub(super) fn literal_scalar(literal: &Literal, field_type: &Type, target: &DataType) -> Option<ScalarValue> {
    match (literal, field_type) {
        (Literal::Primitive(value), Type::Primitive(_)) => primitive_scalar(value, target),
        _ => None,
    }
}

pub(super) fn primitive_scalar(value: &PrimitiveLiteral, target: &DataType) -> Option<ScalarValue> {
    Some(match (value, target) {
        (PrimitiveLiteral::Boolean(v), DataType::Boolean) => ScalarValue::Boolean(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int32) => ScalarValue::Int32(Some(*v)),
        (PrimitiveLiteral::Int(v), DataType::Int64) => ScalarValue::Int64(Some(i64::from(*v))),
        (PrimitiveLiteral::Int(v), DataType::Date32) => ScalarValue::Date32(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Int64) => ScalarValue::Int64(Some(*v)),
        (PrimitiveLiteral::Long(v), DataType::Time64(TimeUnit::Microsecond)) => {
            ScalarValue::Time64Microsecond(Some(*v))
        }
        (PrimitiveLiteral::Long(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*v), zone.clone())
        }
        (PrimitiveLiteral::Long(v), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => {
            ScalarValue::TimestampNanosecond(Some(*v), zone.clone())
        }
        (PrimitiveLiteral::Float(v), DataType::Float32) => ScalarValue::Float32(Some(v.0)),
        (PrimitiveLiteral::Float(v), DataType::Float64) => ScalarValue::Float64(Some(f64::from(v.0))),
        (PrimitiveLiteral::Double(v), DataType::Float64) => ScalarValue::Float64(Some(v.0)),
        (PrimitiveLiteral::String(v), DataType::Utf8View) => ScalarValue::Utf8View(Some(v.clone())),
        (PrimitiveLiteral::String(v), DataType::Utf8) => ScalarValue::Utf8(Some(v.clone())),
        (PrimitiveLiteral::Binary(v), DataType::BinaryView) => ScalarValue::BinaryView(Some(v.clone())),
        (PrimitiveLiteral::Int128(v), DataType::Decimal128(precision, scale)) => {
            ScalarValue::Decimal128(Some(*v), *precision, *scale)
        }
        _ => return None,
    })
}

/// Whether a value may be NaN, which bounds leave out.
pub(super) fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// Whether bounds of this type may be cut short.
pub(super) fn is_cut_short(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView | DataType::Utf8 | DataType::Binary)
}

/// A lower bound that also holds for negative zero, which comparisons put below zero.
#[expect(clippy::redundant_guards, reason = "the pattern `0.0` would hide that both zeros are meant")]
pub(super) fn below_zeros(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float32(Some(v)) if v == 0.0 => ScalarValue::Float32(Some(-0.0)),
        ScalarValue::Float64(Some(v)) if v == 0.0 => ScalarValue::Float64(Some(-0.0)),
        other => other,
    }
}

/// An upper bound that also holds for positive zero.
#[expect(clippy::redundant_guards, reason = "the pattern `0.0` would hide that both zeros are meant")]
pub(super) fn above_zeros(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float32(Some(v)) if v == 0.0 => ScalarValue::Float32(Some(0.0)),
        ScalarValue::Float64(Some(v)) if v == 0.0 => ScalarValue::Float64(Some(0.0)),
        other => other,
    }
}
