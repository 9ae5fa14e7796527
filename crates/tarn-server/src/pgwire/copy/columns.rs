//! Rows on their way into arrays.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder, TimestampNanosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::fault::CopyFault;
use super::values::{Kind, Value};

/// The values of a column so far.
#[derive(Debug)]
pub(super) struct Column {
    pub field: FieldRef,
    pub kind: Kind,
    builder: Builder,
}

#[derive(Debug)]
enum Builder {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Micros(TimestampMicrosecondBuilder),
    Nanos(TimestampNanosecondBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Fixed(FixedSizeBinaryBuilder),
    List { ends: Vec<i32>, valid: Vec<bool>, items: Box<Column> },
}

impl Column {
    /// For the values of a column. Errors: `COPY` does not read its type.
    pub(super) fn new(field: &FieldRef) -> Result<Self, CopyFault> {
        let kind = Kind::of(field)?;
        let data_type = field.data_type();
        let builder = match &kind {
            Kind::Bool => Builder::Bool(BooleanBuilder::new()),
            Kind::Int32 => Builder::Int32(Int32Builder::new()),
            Kind::Int64 => Builder::Int64(Int64Builder::new()),
            Kind::Float32 => Builder::Float32(Float32Builder::new()),
            Kind::Float64 => Builder::Float64(Float64Builder::new()),
            Kind::Decimal(..) => Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.clone())),
            Kind::Date => Builder::Date(Date32Builder::new()),
            Kind::Time => Builder::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp { is_nanos: false, .. } => {
                Builder::Micros(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            Kind::Timestamp { is_nanos: true, .. } => {
                Builder::Nanos(TimestampNanosecondBuilder::new().with_data_type(data_type.clone()))
            }
            Kind::Text => Builder::Text(StringBuilder::new()),
            Kind::Bytes => Builder::Bytes(BinaryBuilder::new()),
            Kind::Fixed(size) => Builder::Fixed(FixedSizeBinaryBuilder::new(*size)),
            Kind::List(_) => {
                let DataType::List(item) = data_type else {
                    return Err(CopyFault::new("XX000", "a list has no items"));
                };
                Builder::List { ends: vec![0], valid: Vec::new(), items: Box::new(Self::new(item)?) }
            }
        };
        Ok(Self { field: Arc::clone(field), kind, builder })
    }

    /// One more value, of the column's kind.
    pub(super) fn push(&mut self, value: Value<'_>) -> Result<(), CopyFault> {
        let odd = || CopyFault::new("XX000", "a value is not of the type of its column");
        let int = |value: &Value<'_>| match value {
            Value::Null => Ok(None),
            Value::Int(value) => Ok(Some(*value)),
            _ => Err(odd()),
        };
        let small = |value: &Value<'_>| match int(value)? {
            None => Ok(None),
            Some(value) => i32::try_from(value).map(Some).map_err(|_| odd()),
        };
        let float = |value: &Value<'_>| match value {
            Value::Null => Ok(None),
            Value::Float(value) => Ok(Some(*value)),
            _ => Err(odd()),
        };
        match (&mut self.builder, value) {
            (Builder::Bool(builder), Value::Null) => builder.append_null(),
            (Builder::Bool(builder), Value::Bool(value)) => builder.append_value(value),
            (Builder::Int32(builder), value) => builder.append_option(small(&value)?),
            (Builder::Int64(builder), value) => builder.append_option(int(&value)?),
            #[expect(clippy::cast_possible_truncation, reason = "it was read as this type")]
            (Builder::Float32(builder), value) => {
                builder.append_option(float(&value)?.map(|value| value as f32))
            }
            (Builder::Float64(builder), value) => builder.append_option(float(&value)?),
            (Builder::Decimal(builder), Value::Null) => builder.append_null(),
            (Builder::Decimal(builder), Value::Decimal(value)) => builder.append_value(value),
            (Builder::Date(builder), value) => builder.append_option(small(&value)?),
            (Builder::Time(builder), value) => builder.append_option(int(&value)?),
            (Builder::Micros(builder), value) => builder.append_option(int(&value)?),
            (Builder::Nanos(builder), value) => builder.append_option(int(&value)?),
            (Builder::Text(builder), Value::Null) => builder.append_null(),
            (Builder::Text(builder), Value::Bytes(bytes)) => {
                builder.append_value(std::str::from_utf8(&bytes).map_err(|_| odd())?);
            }
            (Builder::Bytes(builder), Value::Null) => builder.append_null(),
            (Builder::Bytes(builder), Value::Bytes(bytes)) => builder.append_value(&bytes),
            (Builder::Fixed(builder), Value::Null) => builder.append_null(),
            (Builder::Fixed(builder), Value::Bytes(bytes)) => {
                builder.append_value(&bytes).map_err(|_| odd())?
            }
            (Builder::List { ends, valid, items }, value) => {
                let last = ends.last().copied().unwrap_or(0);
                let values = match value {
                    Value::Null => None,
                    Value::List(values) => Some(values),
                    _ => return Err(odd()),
                };
                valid.push(values.is_some());
                let count = values.as_ref().map_or(0, Vec::len);
                ends.push(
                    i32::try_from(count).ok().and_then(|count| last.checked_add(count)).ok_or_else(odd)?,
                );
                for value in values.unwrap_or_default() {
                    items.push(value)?;
                }
            }
            _ => return Err(odd()),
        }
        Ok(())
    }

    /// The values so far; the next ones are those of another array.
    pub(super) fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match &mut self.builder {
            Builder::Bool(builder) => Arc::new(builder.finish()),
            Builder::Int32(builder) => Arc::new(builder.finish()),
            Builder::Int64(builder) => Arc::new(builder.finish()),
            Builder::Float32(builder) => Arc::new(builder.finish()),
            Builder::Float64(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Micros(builder) => Arc::new(builder.finish()),
            Builder::Nanos(builder) => Arc::new(builder.finish()),
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Bytes(builder) => Arc::new(builder.finish()),
            Builder::Fixed(builder) => Arc::new(builder.finish()),
            Builder::List { ends, valid, items } => {
                let ends = std::mem::replace(ends, vec![0]);
                let valid = NullBuffer::from(std::mem::take(valid));
                let values = items.take()?;
                Arc::new(ListArray::try_new(
                    Arc::clone(&items.field),
                    OffsetBuffer::new(ends.into()),
                    values,
                    Some(valid),
                )?)
            }
        };
        match array.data_type() == self.field.data_type() {
            true => Ok(array),
            false => cast(&array, self.field.data_type()),
        }
    }
}
