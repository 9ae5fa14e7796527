//! Arrow builders that take PostgreSQL values in text form (stream) or binary form (snapshot).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder,
    PrimitiveBuilder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType};

use super::binary;
use super::text;
use super::types::{ColumnType, Scalar};

/// 2000-01-01 UTC, from which PostgreSQL counts, in microseconds since 1970.
pub const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
/// The same in days since 1970.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// 9999-12-31: what `infinity` becomes as a date.
pub const DATE_MAX: i32 = 2_932_896;
/// 0001-01-01: what `-infinity` becomes as a date.
pub const DATE_MIN: i32 = -719_162;
/// 9999-12-31 23:59:59.999999: what `infinity` becomes as a timestamp.
pub const TIMESTAMP_MAX: i64 = 253_402_300_799_999_999;
/// 0001-01-01 00:00:00: what `-infinity` becomes as a timestamp.
pub const TIMESTAMP_MIN: i64 = -62_135_596_800_000_000;

/// A value that has no place in its column; it became null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    /// The value as text, as far as it can be shown.
    pub value: String,
    /// Why it has no place.
    pub reason: &'static str,
}

impl Unmapped {
    /// A value in text form that has no place.
    pub fn text(raw: &[u8], reason: &'static str) -> Self {
        Self { value: String::from_utf8_lossy(&raw[..raw.len().min(1024)]).into_owned(), reason }
    }

    /// A value in binary form that has no place.
    pub fn binary(raw: &[u8], reason: &'static str) -> Self {
        Self { value: format!("\\x{}", hex::encode(&raw[..raw.len().min(512)])), reason }
    }
}

/// The values of one column under construction.
#[derive(Debug)]
pub enum Values {
    /// `Boolean`.
    Bool(BooleanBuilder),
    /// `Int32` from two bytes.
    Int2(Int32Builder),
    /// `Int32`.
    Int4(Int32Builder),
    /// `Int64`.
    Int8(Int64Builder),
    /// `Float32`.
    Float4(Float32Builder),
    /// `Float64`.
    Float8(Float64Builder),
    /// `Decimal128` with its digits after the point.
    Numeric(Decimal128Builder, u8, u8),
    /// `Utf8`; whether the binary form starts with a version byte.
    Text(StringBuilder, bool),
    /// `Binary`.
    Bytes(BinaryBuilder),
    /// `Date32`.
    Date(Date32Builder),
    /// `Time64(us)`.
    Time(Time64MicrosecondBuilder),
    /// `Timestamp(us)` with or without UTC.
    Timestamp(TimestampMicrosecondBuilder),
    /// `FixedSizeBinary(16)`.
    Uuid(FixedSizeBinaryBuilder),
    /// `List`.
    List(Box<ListValues>),
}

/// A list column under construction.
#[derive(Debug)]
pub struct ListValues {
    column: ColumnType,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
    elements: Values,
    count: i32,
}

fn put<T: ArrowPrimitiveType>(
    builder: &mut PrimitiveBuilder<T>,
    value: Result<T::Native, Unmapped>,
) -> Result<(), Unmapped> {
    match value {
        Ok(value) => {
            builder.append_value(value);
            Ok(())
        }
        Err(unmapped) => {
            builder.append_null();
            Err(unmapped)
        }
    }
}

fn put_text(builder: &mut StringBuilder, raw: &[u8]) -> Result<(), Unmapped> {
    match std::str::from_utf8(raw) {
        Ok(text) => {
            builder.append_value(text);
            Ok(())
        }
        Err(_) => {
            builder.append_null();
            Err(Unmapped::text(raw, "the text is not UTF-8; the database has another or no encoding"))
        }
    }
}

impl Values {
    /// An empty column.
    pub fn new(column: ColumnType) -> Self {
        if column.list.is_some() {
            return Self::List(Box::new(ListValues {
                column,
                offsets: vec![0],
                validity: NullBufferBuilder::new(0),
                elements: Self::new(ColumnType { scalar: column.scalar, list: None }),
                count: 0,
            }));
        }
        match column.scalar {
            Scalar::Bool => Self::Bool(BooleanBuilder::new()),
            Scalar::Int2 => Self::Int2(Int32Builder::new()),
            Scalar::Int4 => Self::Int4(Int32Builder::new()),
            Scalar::Int8 => Self::Int8(Int64Builder::new()),
            Scalar::Float4 => Self::Float4(Float32Builder::new()),
            Scalar::Float8 => Self::Float8(Float64Builder::new()),
            Scalar::Numeric { precision, scale } => {
                let builder = Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
                Self::Numeric(builder, precision, scale.unsigned_abs())
            }
            Scalar::Text | Scalar::TextForm => Self::Text(StringBuilder::new(), false),
            Scalar::Jsonb => Self::Text(StringBuilder::new(), true),
            Scalar::Bytes => Self::Bytes(BinaryBuilder::new()),
            Scalar::Date => Self::Date(Date32Builder::new()),
            Scalar::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Scalar::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Scalar::TimestampTz => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Scalar::Uuid => Self::Uuid(FixedSizeBinaryBuilder::new(16)),
        }
    }

    /// Adds NULL.
    pub fn push_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int2(builder) | Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) => builder.append_null(),
            Self::Float4(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Numeric(builder, ..) => builder.append_null(),
            Self::Text(builder, _) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Uuid(builder) => builder.append_null(),
            Self::List(list) => list.end(false),
        }
    }

    /// Adds a value in text form. Errors: it has no place, and NULL was added instead.
    pub fn push_text(&mut self, raw: &[u8]) -> Result<(), Unmapped> {
        match self {
            Self::Bool(builder) => {
                let value = text::boolean(raw);
                builder.append_option(value.as_ref().ok().copied());
                value.map(drop)
            }
            Self::Int2(builder) | Self::Int4(builder) => put(builder, text::number(raw)),
            Self::Int8(builder) => put(builder, text::number(raw)),
            Self::Float4(builder) => put(builder, text::number(raw)),
            Self::Float8(builder) => put(builder, text::number(raw)),
            Self::Numeric(builder, precision, scale) => put(builder, text::decimal(raw, *precision, *scale)),
            Self::Text(builder, _) => put_text(builder, raw),
            Self::Bytes(builder) => {
                let value = text::bytes(raw);
                builder.append_option(value.as_ref().ok());
                value.map(drop)
            }
            Self::Date(builder) => put(builder, text::date(raw)),
            Self::Time(builder) => put(builder, text::time(raw)),
            Self::Timestamp(builder) => put(builder, text::timestamp(raw)),
            Self::Uuid(builder) => put_uuid(builder, text::uuid(raw)),
            Self::List(list) => list.push_text(raw),
        }
    }

    /// Adds a value in binary form. Errors: it has no place, and NULL was added instead.
    pub fn push_binary(&mut self, raw: &[u8]) -> Result<(), Unmapped> {
        match self {
            Self::Bool(builder) => {
                let value = binary::boolean(raw);
                builder.append_option(value.as_ref().ok().copied());
                value.map(drop)
            }
            Self::Int2(builder) => put(builder, binary::int2(raw)),
            Self::Int4(builder) => put(builder, binary::int4(raw)),
            Self::Int8(builder) => put(builder, binary::int8(raw)),
            Self::Float4(builder) => put(builder, binary::float4(raw)),
            Self::Float8(builder) => put(builder, binary::float8(raw)),
            Self::Numeric(builder, precision, scale) => {
                put(builder, binary::decimal(raw, *precision, *scale))
            }
            Self::Text(builder, false) => put_text(builder, raw),
            Self::Text(builder, true) => put_text(builder, raw.get(1..).unwrap_or_default()),
            Self::Bytes(builder) => {
                builder.append_value(raw);
                Ok(())
            }
            Self::Date(builder) => put(builder, binary::date(raw)),
            Self::Time(builder) => put(builder, binary::time(raw)),
            Self::Timestamp(builder) => put(builder, binary::timestamp(raw)),
            Self::Uuid(builder) => put_uuid(builder, binary::uuid(raw)),
            Self::List(list) => list.push_binary(raw),
        }
    }

    /// The column; the builder is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int2(builder) | Self::Int4(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Float4(builder) => Arc::new(builder.finish()),
            Self::Float8(builder) => Arc::new(builder.finish()),
            Self::Numeric(builder, ..) => Arc::new(builder.finish()),
            Self::Text(builder, _) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Uuid(builder) => Arc::new(builder.finish()),
            Self::List(list) => list.finish(),
        }
    }
}

fn put_uuid(builder: &mut FixedSizeBinaryBuilder, value: Result<[u8; 16], Unmapped>) -> Result<(), Unmapped> {
    match value {
        Ok(bytes) => builder
            .append_value(bytes)
            .map_err(|_| Unmapped::binary(&bytes, "the value is not 16 bytes long")),
        Err(unmapped) => {
            builder.append_null();
            Err(unmapped)
        }
    }
}

const NESTED: &str = "the array has more than one dimension, and the column is a list; declare the column with its \
                      dimensions (such as `integer[][]`) to read it as text";

impl ListValues {
    fn end(&mut self, valid: bool) {
        self.validity.append(valid);
        self.offsets.push(self.count);
    }

    fn push_text(&mut self, raw: &[u8]) -> Result<(), Unmapped> {
        let delimiter = self.column.list.unwrap_or(b',');
        let mut elements = match text::Elements::new(raw, delimiter) {
            Ok(elements) => elements,
            Err(nested) => {
                self.end(false);
                return Err(Unmapped::text(raw, if nested { NESTED } else { "the array cannot be read" }));
            }
        };
        let mut first_bad = Ok(());
        while let Some(element) = elements.next_element() {
            let added = match element {
                Some(value) => self.elements.push_text(value),
                None => {
                    self.elements.push_null();
                    Ok(())
                }
            };
            first_bad = first_bad.and(added);
            self.count += 1;
        }
        self.end(true);
        first_bad
    }

    fn push_binary(&mut self, raw: &[u8]) -> Result<(), Unmapped> {
        let elements = match binary::elements(raw) {
            Ok(elements) => elements,
            Err(nested) => {
                self.end(false);
                return Err(Unmapped::binary(raw, if nested { NESTED } else { "the array cannot be read" }));
            }
        };
        let mut first_bad = Ok(());
        for element in elements {
            let added = match element {
                Some(value) => self.elements.push_binary(value),
                None => {
                    self.elements.push_null();
                    Ok(())
                }
            };
            first_bad = first_bad.and(added);
            self.count += 1;
        }
        self.end(true);
        first_bad
    }

    fn finish(&mut self) -> ArrayRef {
        self.count = 0;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let elements = self.elements.finish();
        debug_assert_eq!(offsets.last().copied(), i32::try_from(elements.len()).ok());
        Arc::new(ListArray::new(self.column.element(), offsets, elements, self.validity.finish()))
    }
}
