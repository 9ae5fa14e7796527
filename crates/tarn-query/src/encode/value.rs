//! Single values as JSON or plain text.

use std::io::Write;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray, BooleanArray,
    FixedSizeBinaryArray, LargeBinaryArray, LargeStringArray, MapArray, PrimitiveArray, StringArray,
    StringViewArray, StructArray, UnionArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike};

/// Integers up to here are numbers in every JSON reader.
const JSON_INTEGER_MAX: i128 = 1 << 53;

/// A column, ready for reading single values.
pub(super) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Integer(Box<dyn Fn(usize) -> i128 + 'a>),
    Float(Box<dyn Fn(usize) -> f64 + 'a>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Text(Box<dyn Fn(usize) -> &'a str + 'a>),
    Binary(Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    /// Shown as text that needs no escaping.
    Plain(Box<dyn Fn(usize, &mut Vec<u8>) + 'a>),
    List(Box<dyn Fn(usize) -> ArrayRef + 'a>),
    Struct(Vec<(String, Column<'a>)>),
    Map(&'a MapArray),
    Dictionary(Box<dyn Fn(usize) -> usize + 'a>, Box<Column<'a>>),
    Union(&'a UnionArray),
}

/// Values with their nulls.
pub(super) struct Column<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> &PrimitiveArray<T> {
    array.as_primitive::<T>()
}

macro_rules! integer {
    ($array:expr, $type:ty) => {{
        let array = primitive::<$type>($array);
        Values::Integer(Box::new(move |row| i128::from(array.value(row))))
    }};
}

macro_rules! timestamp {
    ($array:expr, $type:ty, $per_second:expr, $zone:expr) => {{
        let array = primitive::<$type>($array);
        let zone = $zone.as_deref().map(|zone| zone.parse::<arrow::array::timezone::Tz>()).transpose()?;
        Values::Plain(Box::new(move |row, out| write_timestamp(out, array.value(row), $per_second, zone)))
    }};
}

impl<'a> Column<'a> {
    /// Errors: a type that has no text form.
    pub(super) fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(Self { array, values: values(array)? })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Null => true,
            Values::Dictionary(key, inner) => self.array.is_null(row) || inner.is_null(key(row)),
            Values::Union(union) => union.child(union.type_id(row)).is_null(union.value_offset(row)),
            _ => self.array.is_null(row),
        }
    }

    /// Writes the value as JSON.
    pub(super) fn json(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.values {
            Values::Null => out.extend_from_slice(b"null"),
            Values::Boolean(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" })
            }
            Values::Integer(value) => {
                let value = value(row);
                let exact = (-JSON_INTEGER_MAX..=JSON_INTEGER_MAX).contains(&value);
                let quote = if exact { "" } else { "\"" };
                write!(out, "{quote}{value}{quote}")?;
            }
            Values::Float(value) => json_float(value(row), out)?,
            Values::Float32(array) => {
                let value = array.value(row);
                match value.is_finite() {
                    true => serde_json::to_writer(&mut *out, &value).map_err(io)?,
                    false => json_float(f64::from(value), out)?,
                }
            }
            Values::Text(value) => serde_json::to_writer(&mut *out, value(row)).map_err(io)?,
            Values::Binary(value) => {
                out.push(b'"');
                write_hex(value(row), out)?;
                out.push(b'"');
            }
            Values::Plain(write) => {
                out.push(b'"');
                write(row, out);
                out.push(b'"');
            }
            Values::List(items) => json_list(items(row).as_ref(), out)?,
            Values::Struct(fields) => json_struct(fields, row, out)?,
            Values::Map(map) => json_map(&map.value(row), out)?,
            Values::Dictionary(key, inner) => inner.json(key(row), out)?,
            Values::Union(union) => {
                let child = union.child(union.type_id(row));
                Column::new(child.as_ref())?.json(union.value_offset(row), out)?;
            }
        }
        Ok(())
    }

    /// Writes the value as text without quotes; nested values as JSON. A null writes nothing.
    pub(super) fn text(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.is_null(row) {
            return Ok(());
        }
        match &self.values {
            Values::Integer(value) => write!(out, "{}", value(row))?,
            Values::Text(value) => out.extend_from_slice(value(row).as_bytes()),
            Values::Binary(value) => write_hex(value(row), out)?,
            Values::Plain(write) => write(row, out),
            Values::Float(value) if !value(row).is_finite() => {
                out.extend_from_slice(special(value(row)).as_bytes())
            }
            Values::Float32(array) if !array.value(row).is_finite() => {
                out.extend_from_slice(special(f64::from(array.value(row))).as_bytes());
            }
            Values::Dictionary(key, inner) => inner.text(key(row), out)?,
            Values::Union(union) => {
                let child = union.child(union.type_id(row));
                Column::new(child.as_ref())?.text(union.value_offset(row), out)?;
            }
            _ => self.json(row, out)?,
        }
        Ok(())
    }
}

fn io(error: serde_json::Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

fn values(array: &dyn Array) -> Result<Values<'_>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => Values::Null,
        DataType::Boolean => Values::Boolean(array.as_boolean()),
        DataType::Int8 => integer!(array, Int8Type),
        DataType::Int16 => integer!(array, Int16Type),
        DataType::Int32 => integer!(array, Int32Type),
        DataType::Int64 => integer!(array, Int64Type),
        DataType::UInt8 => integer!(array, UInt8Type),
        DataType::UInt16 => integer!(array, UInt16Type),
        DataType::UInt32 => integer!(array, UInt32Type),
        DataType::UInt64 => integer!(array, UInt64Type),
        DataType::Float16 => {
            let array = primitive::<Float16Type>(array);
            Values::Float(Box::new(move |row| f64::from(array.value(row))))
        }
        DataType::Float32 => Values::Float32(primitive::<Float32Type>(array)),
        DataType::Float64 => {
            let array = primitive::<Float64Type>(array);
            Values::Float(Box::new(move |row| array.value(row)))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text_values(array),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            binary_values(array)
        }
        DataType::Date32 => {
            let array = primitive::<Date32Type>(array);
            Values::Plain(Box::new(move |row, out| {
                write_date(out, Date32Type::to_naive_date_opt(array.value(row)))
            }))
        }
        DataType::Date64 => {
            let array = primitive::<Date64Type>(array);
            Values::Plain(Box::new(move |row, out| {
                write_date(out, Date64Type::to_naive_date_opt(array.value(row)))
            }))
        }
        DataType::Timestamp(TimeUnit::Second, zone) => timestamp!(array, TimestampSecondType, 1, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            timestamp!(array, TimestampMillisecondType, 1_000, zone)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            timestamp!(array, TimestampMicrosecondType, 1_000_000, zone)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            timestamp!(array, TimestampNanosecondType, 1_000_000_000, zone)
        }
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => list_values(array),
        DataType::Struct(fields) => {
            let array: &StructArray = array.as_struct();
            let columns = fields.iter().zip(array.columns());
            let columns: Result<Vec<_>, ArrowError> = columns
                .map(|(field, column)| Ok((field.name().clone(), Column::new(column.as_ref())?)))
                .collect();
            Values::Struct(columns?)
        }
        DataType::Map(..) => Values::Map(array.as_map()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let keys = dictionary.normalized_keys();
            let inner = Column::new(dictionary.values().as_ref())?;
            Values::Dictionary(Box::new(move |row| keys[row]), Box::new(inner))
        }
        DataType::Union(..) => Values::Union(array.as_union()),
        _ => formatted_values(array)?,
    })
}

fn text_values(array: &dyn Array) -> Values<'_> {
    if let Some(array) = array.as_any().downcast_ref::<StringViewArray>() {
        return Values::Text(Box::new(move |row| array.value(row)));
    }
    if let Some(array) = array.as_any().downcast_ref::<LargeStringArray>() {
        return Values::Text(Box::new(move |row| array.value(row)));
    }
    let array: &StringArray = array.as_string();
    Values::Text(Box::new(move |row| array.value(row)))
}

fn binary_values(array: &dyn Array) -> Values<'_> {
    if let Some(array) = array.as_any().downcast_ref::<BinaryViewArray>() {
        return Values::Binary(Box::new(move |row| array.value(row)));
    }
    if let Some(array) = array.as_any().downcast_ref::<LargeBinaryArray>() {
        return Values::Binary(Box::new(move |row| array.value(row)));
    }
    if let Some(array) = array.as_any().downcast_ref::<FixedSizeBinaryArray>() {
        return Values::Binary(Box::new(move |row| array.value(row)));
    }
    let array: &BinaryArray = array.as_binary();
    Values::Binary(Box::new(move |row| array.value(row)))
}

fn list_values(array: &dyn Array) -> Values<'_> {
    match array.data_type() {
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            Values::List(Box::new(move |row| array.value(row)))
        }
        DataType::FixedSizeList(..) => {
            let array = array.as_fixed_size_list();
            Values::List(Box::new(move |row| array.value(row)))
        }
        DataType::ListView(_) => {
            let array = array.as_list_view::<i32>();
            Values::List(Box::new(move |row| array.value(row)))
        }
        DataType::LargeListView(_) => {
            let array = array.as_list_view::<i64>();
            Values::List(Box::new(move |row| array.value(row)))
        }
        _ => {
            let array = array.as_list::<i32>();
            Values::List(Box::new(move |row| array.value(row)))
        }
    }
}

/// Decimals, times of day, intervals and durations.
fn formatted_values(array: &dyn Array) -> Result<Values<'_>, ArrowError> {
    const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array, &OPTIONS)?;
    Ok(Values::Plain(Box::new(move |row, out| {
        // Writing to memory cannot fail, and the formatter shows its own errors as text.
        let _written = write!(out, "{}", formatter.value(row));
    })))
}

fn json_float(value: f64, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    if value.is_finite() {
        return serde_json::to_writer(&mut *out, &value).map_err(io);
    }
    write!(out, "\"{}\"", special(value))?;
    Ok(())
}

fn special(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

fn json_list(items: &dyn Array, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let column = Column::new(items)?;
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        column.json(row, out)?;
    }
    out.push(b']');
    Ok(())
}

fn json_struct(fields: &[(String, Column<'_>)], row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.push(b'{');
    for (index, (name, column)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name).map_err(io)?;
        out.push(b':');
        column.json(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// An object; keys that are not text are written as their text.
fn json_map(entries: &StructArray, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    let keys = Column::new(entries.column(0).as_ref())?;
    let values = Column::new(entries.column(1).as_ref())?;
    out.push(b'{');
    for row in 0..entries.len() {
        if row > 0 {
            out.push(b',');
        }
        let mut key = Vec::new();
        keys.text(row, &mut key)?;
        serde_json::to_writer(&mut *out, &String::from_utf8_lossy(&key)).map_err(io)?;
        out.push(b':');
        values.json(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_hex(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), ArrowError> {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
    Ok(())
}

fn write_date(out: &mut Vec<u8>, date: Option<NaiveDate>) {
    let written = match date {
        Some(date) => write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        None => write!(out, "out of range"),
    };
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
}

fn write_timestamp(out: &mut Vec<u8>, value: i64, per_second: i64, zone: Option<arrow::array::timezone::Tz>) {
    let (seconds, rest) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let nanos = u32::try_from(rest * (1_000_000_000 / per_second)).unwrap_or_default();
    let Some(utc) = DateTime::from_timestamp(seconds, nanos) else {
        out.extend_from_slice(b"out of range");
        return;
    };
    let (local, offset): (NaiveDateTime, Option<FixedOffset>) = match zone {
        None => (utc.naive_utc(), None),
        Some(zone) => {
            let local = zone.from_utc_datetime(&utc.naive_utc());
            (local.naive_local(), Some(local.offset().fix()))
        }
    };
    write_date(out, Some(local.date()));
    let written = write!(out, "T{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second())
        .and_then(|()| write_fraction(out, nanos))
        .and_then(|()| match offset {
            None => Ok(()),
            Some(offset) if offset.local_minus_utc() == 0 => write!(out, "Z"),
            Some(offset) => write!(out, "{offset}"),
        });
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
}

/// As many groups of three digits as the value needs.
fn write_fraction(out: &mut Vec<u8>, nanos: u32) -> std::io::Result<()> {
    match nanos {
        0 => Ok(()),
        nanos if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => write!(out, ".{:06}", nanos / 1_000),
        nanos => write!(out, ".{nanos:09}"),
    }
}
