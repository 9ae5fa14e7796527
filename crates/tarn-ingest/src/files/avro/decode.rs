//! Data of Avro as columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
    Float32Builder, Float64Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullArray,
    NullBufferBuilder, RecordBatch, RecordBatchOptions, StringBuilder, StructArray, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, TimestampNanosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::super::columns::uuid;
use super::input::Input;
use super::json;
use super::schema::{Layout, Shape, Unit, Width};

/// A fixed that is longer becomes bytes of any length: each null of a column of fixed length takes all its room.
const FIXED_MAX: usize = 256;
const DAY_MICROS: i64 = 86_400_000_000;

/// A value that its column cannot hold; a null stands in its place.
pub(super) type Problem = Option<String>;

/// A column that is being built.
enum Column {
    Null(usize),
    Boolean(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Bytes(BinaryBuilder),
    Text(StringBuilder),
    Fixed(FixedSizeBinaryBuilder),
    Decimal(Decimal128Builder, u8),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Micros(TimestampMicrosecondBuilder),
    Nanos(TimestampNanosecondBuilder),
    Record(Vec<(FieldRef, Column)>, NullBufferBuilder),
    Array(FieldRef, Box<Column>, Vec<i32>, NullBufferBuilder),
    Map(FieldRef, Box<(StringBuilder, Column)>, Vec<i32>, NullBufferBuilder),
    /// Whatever else, as JSON text.
    Json(StringBuilder),
}

fn field(name: &str, shape: &Shape, column: &Column) -> FieldRef {
    let field = Field::new(name, column.data_type(), true);
    Arc::new(if matches!(shape.merged(), Shape::Uuid(_)) { uuid(field) } else { field })
}

fn entries(value: FieldRef) -> FieldRef {
    let key = Arc::new(Field::new("key", DataType::Utf8, false));
    Arc::new(Field::new("entries", DataType::Struct(Fields::from(vec![key, value])), false))
}

impl Column {
    fn new(shape: &Shape) -> Self {
        match shape.merged() {
            Shape::Null => Self::Null(0),
            Shape::Boolean => Self::Boolean(BooleanBuilder::new()),
            Shape::Int => Self::Int(Int32Builder::new()),
            Shape::Long => Self::Long(Int64Builder::new()),
            Shape::Float => Self::Float(Float32Builder::new()),
            Shape::Double => Self::Double(Float64Builder::new()),
            Shape::Bytes => Self::Bytes(BinaryBuilder::new()),
            Shape::String | Shape::Enum(_) | Shape::Duration => Self::Text(StringBuilder::new()),
            Shape::Fixed(size) if size > FIXED_MAX => Self::Bytes(BinaryBuilder::new()),
            Shape::Fixed(size) => {
                let size = i32::try_from(size).unwrap_or(i32::MAX);
                Self::Fixed(FixedSizeBinaryBuilder::with_capacity(0, size))
            }
            Shape::Uuid(_) => Self::Fixed(FixedSizeBinaryBuilder::with_capacity(0, 16)),
            Shape::Decimal { precision, scale, .. } => {
                // The scale is at most 38, so it fits.
                let data_type = DataType::Decimal128(precision, scale as i8);
                Self::Decimal(Decimal128Builder::new().with_data_type(data_type), precision)
            }
            Shape::Date => Self::Date(Date32Builder::new()),
            Shape::Time(_) => Self::Time(Time64MicrosecondBuilder::new()),
            Shape::Timestamp { unit: Unit::Nanos, utc } => {
                Self::Nanos(TimestampNanosecondBuilder::new().with_timezone_opt(utc.then_some("UTC")))
            }
            Shape::Timestamp { utc, .. } => {
                Self::Micros(TimestampMicrosecondBuilder::new().with_timezone_opt(utc.then_some("UTC")))
            }
            Shape::Record(fields) if !fields.is_empty() => {
                let column = |(name, shape): &(String, Shape)| {
                    let column = Self::new(shape);
                    (field(name, shape, &column), column)
                };
                Self::Record(fields.iter().map(column).collect(), NullBufferBuilder::new(0))
            }
            Shape::Array(items) => {
                let column = Self::new(&items);
                let element = field("item", &items, &column);
                Self::Array(element, Box::new(column), vec![0], NullBufferBuilder::new(0))
            }
            Shape::Map(values) => {
                let column = Self::new(&values);
                let entries = entries(field("value", &values, &column));
                let columns = Box::new((StringBuilder::new(), column));
                Self::Map(entries, columns, vec![0], NullBufferBuilder::new(0))
            }
            Shape::Record(_) | Shape::Union(_) | Shape::Named(_) => Self::Json(StringBuilder::new()),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Null(_) => DataType::Null,
            Self::Boolean(_) => DataType::Boolean,
            Self::Int(_) => DataType::Int32,
            Self::Long(_) => DataType::Int64,
            Self::Float(_) => DataType::Float32,
            Self::Double(_) => DataType::Float64,
            Self::Bytes(_) => DataType::Binary,
            Self::Text(_) | Self::Json(_) => DataType::Utf8,
            Self::Fixed(builder) => builder.finish_cloned().data_type_of(),
            Self::Decimal(builder, _) => builder.finish_cloned().data_type_of(),
            Self::Date(_) => DataType::Date32,
            Self::Time(_) => DataType::Time64(arrow::datatypes::TimeUnit::Microsecond),
            Self::Micros(builder) => builder.finish_cloned().data_type_of(),
            Self::Nanos(builder) => builder.finish_cloned().data_type_of(),
            Self::Record(fields, _) => {
                DataType::Struct(fields.iter().map(|(field, _)| Arc::clone(field)).collect())
            }
            Self::Array(element, ..) => DataType::List(Arc::clone(element)),
            Self::Map(entries, ..) => DataType::Map(Arc::clone(entries), false),
        }
    }

    /// Bytes that a null takes, about; a value takes as many beside its own bytes.
    fn null_bytes(&self) -> usize {
        match self {
            Self::Null(_) | Self::Boolean(_) => 1,
            Self::Int(_)
            | Self::Float(_)
            | Self::Date(_)
            | Self::Bytes(_)
            | Self::Text(_)
            | Self::Json(_) => 4,
            Self::Long(_) | Self::Double(_) | Self::Time(_) | Self::Micros(_) | Self::Nanos(_) => 8,
            Self::Decimal(..) => 16,
            Self::Fixed(builder) => match builder.finish_cloned().data_type_of() {
                DataType::FixedSizeBinary(bytes) => usize::try_from(bytes).unwrap_or(0),
                _ => 0,
            },
            Self::Record(fields, _) => {
                1 + fields.iter().map(|(_, column)| column.null_bytes()).sum::<usize>()
            }
            Self::Array(..) | Self::Map(..) => 4,
        }
    }

    fn null(&mut self) {
        match self {
            Self::Null(rows) => *rows += 1,
            Self::Boolean(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Long(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Text(builder) | Self::Json(builder) => builder.append_null(),
            Self::Fixed(builder) => builder.append_null(),
            Self::Decimal(builder, _) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Micros(builder) => builder.append_null(),
            Self::Nanos(builder) => builder.append_null(),
            Self::Record(fields, valid) => {
                fields.iter_mut().for_each(|(_, column)| column.null());
                valid.append_null();
            }
            Self::Array(_, _, offsets, valid) | Self::Map(_, _, offsets, valid) => {
                offsets.extend(offsets.last().copied());
                valid.append_null();
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Null(rows) => Arc::new(NullArray::new(std::mem::take(rows))),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Long(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Double(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Text(builder) | Self::Json(builder) => Arc::new(builder.finish()),
            Self::Fixed(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, _) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Micros(builder) => Arc::new(builder.finish()),
            Self::Nanos(builder) => Arc::new(builder.finish()),
            Self::Record(fields, valid) => {
                let names: Fields = fields.iter().map(|(field, _)| Arc::clone(field)).collect();
                let columns = fields.iter_mut().map(|(_, column)| column.finish());
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                Arc::new(StructArray::try_new(names, columns, valid.finish())?)
            }
            Self::Array(element, items, offsets, valid) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::try_new(Arc::clone(element), offsets, items.finish()?, valid.finish())?)
            }
            Self::Map(entries, columns, offsets, valid) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                let DataType::Struct(names) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map without entries".to_string()));
                };
                let (keys, values) = columns.as_mut();
                let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), values.finish()?];
                let pairs = StructArray::try_new(names.clone(), columns, None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, valid.finish(), false)?)
            }
        })
    }
}

/// The data type of an array.
trait DataTypeOf {
    fn data_type_of(&self) -> DataType;
}

impl<A: arrow::array::Array> DataTypeOf for A {
    fn data_type_of(&self) -> DataType {
        self.data_type().clone()
    }
}

fn end(offsets: &mut Vec<i32>, added: usize) -> Result<(), String> {
    let last = offsets.last().copied().unwrap_or(0);
    let next = i32::try_from(added).ok().and_then(|added| last.checked_add(added));
    offsets.push(next.ok_or("it holds more than 2,147,483,647 elements")?);
    Ok(())
}

/// A decimal of big-endian bytes. Errors: more digits than it may have.
pub(super) fn decimal(bytes: &[u8], precision: u8) -> Result<i128, String> {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let fill = if negative { 0xff } else { 0 };
    let (front, last) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut wide = [fill; 16];
    wide.iter_mut().rev().zip(last.iter().rev()).for_each(|(to, from)| *to = *from);
    let value = i128::from_be_bytes(wide);
    let is_whole = front.iter().all(|byte| *byte == fill) && (value < 0) == negative;
    let most = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
    match is_whole && value.unsigned_abs() < most {
        true => Ok(value),
        false => Err(format!("a number has more than {precision} digits")),
    }
}

/// The bytes of a UUID. Errors: the text is none.
fn uuid_bytes(bytes: &[u8], width: Width) -> Result<[u8; 16], String> {
    let wrong = || format!("`{}` is no UUID", String::from_utf8_lossy(bytes));
    match width {
        Width::Fixed(_) => bytes.try_into().map_err(|_| wrong()),
        Width::Counted => {
            let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
            uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes).map_err(|_| wrong())
        }
    }
}

/// Microseconds since midnight. Errors: no time of a day.
pub(super) fn micros_of_day(unit: Unit, input: &mut Input<'_>) -> Result<Result<i64, String>, String> {
    let value = match unit {
        Unit::Millis => i64::from(input.int()?).checked_mul(1_000),
        _ => Some(input.long()?),
    };
    let value = value.filter(|value| (0..DAY_MICROS).contains(value));
    Ok(value.ok_or_else(|| "a time is not of a day".to_string()))
}

/// A duration as ISO 8601 writes it, from months, days and milliseconds.
pub(super) fn duration(input: &mut Input<'_>) -> Result<String, String> {
    let [months, days, millis] =
        [input.array::<4>()?, input.array()?, input.array()?].map(u32::from_le_bytes);
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    Ok(format!("P{months}M{days}DT{seconds}{fraction}S"))
}

/// Takes a value, or a null and the reason.
fn keep<T>(value: Result<T, String>, problem: &mut Problem) -> Option<T> {
    value.map_err(|why| problem.get_or_insert(why).len()).ok()
}

impl Column {
    /// Reads a value of a shape. Errors: the data cannot be that; nothing can be read behind it.
    fn read(
        &mut self,
        shape: &Shape,
        layout: &Layout,
        input: &mut Input<'_>,
        problem: &mut Problem,
    ) -> Result<(), String> {
        if let Self::Json(builder) = self {
            if matches!(shape, Shape::Union(branches) if branches.contains(&Shape::Null)) {
                let value = json::value(shape, layout, input, 0)?;
                builder.append_option((!value.is_null()).then(|| value.to_string()));
                return Ok(());
            }
            builder.append_value(json::value(shape, layout, input, 0)?.to_string());
            return Ok(());
        }
        if let Shape::Union(branches) = shape {
            return match input.choice(branches, "branch")? {
                Shape::Null => {
                    input.weigh(self.null_bytes())?;
                    self.null();
                    Ok(())
                }
                branch => self.read(branch, layout, input, problem),
            };
        }
        match (self, shape) {
            (Self::Null(rows), _) => *rows += 1,
            (Self::Boolean(builder), _) => builder.append_value(input.boolean()?),
            (Self::Int(builder), _) => builder.append_value(input.int()?),
            (Self::Long(builder), _) => builder.append_value(input.long()?),
            (Self::Float(builder), _) => builder.append_value(f32::from_le_bytes(input.array()?)),
            (Self::Double(builder), Shape::Int) => builder.append_value(f64::from(input.int()?)),
            (Self::Double(builder), Shape::Float) => {
                builder.append_value(f64::from(f32::from_le_bytes(input.array()?)));
            }
            (Self::Double(builder), _) => builder.append_value(f64::from_le_bytes(input.array()?)),
            (Self::Bytes(builder), Shape::Fixed(size)) => builder.append_value(input.take(*size)?),
            (Self::Bytes(builder), _) => builder.append_value(input.bytes()?),
            (Self::Text(builder), Shape::Enum(symbols)) => {
                builder.append_value(input.choice(symbols, "symbol")?);
            }
            (Self::Text(builder), Shape::Duration) => builder.append_value(duration(input)?),
            (Self::Text(builder), _) => {
                let text = std::str::from_utf8(input.bytes()?).map_err(|_| "it is not UTF-8".to_string());
                builder.append_option(keep(text, problem));
            }
            (Self::Fixed(builder), Shape::Uuid(width)) => {
                match keep(uuid_bytes(input.wide(*width)?, *width), problem) {
                    None => builder.append_null(),
                    Some(bytes) => builder.append_value(bytes).map_err(|error| error.to_string())?,
                }
            }
            (Self::Fixed(builder), shape) => {
                let Shape::Fixed(size) = shape else { return Err("a type that does not fit".to_string()) };
                builder.append_value(input.take(*size)?).map_err(|error| error.to_string())?;
            }
            (Self::Decimal(builder, precision), Shape::Decimal { width, .. }) => {
                builder.append_option(keep(decimal(input.wide(*width)?, *precision), problem));
            }
            (Self::Date(builder), _) => builder.append_value(input.int()?),
            (Self::Time(builder), Shape::Time(unit)) => {
                builder.append_option(keep(micros_of_day(*unit, input)?, problem));
            }
            (Self::Micros(builder), Shape::Timestamp { unit, .. }) => {
                let value = input.long()?;
                let value = if *unit == Unit::Millis { value.checked_mul(1_000) } else { Some(value) };
                builder.append_option(keep(value.ok_or("a timestamp is out of range".to_string()), problem));
            }
            (Self::Nanos(builder), _) => builder.append_value(input.long()?),
            (nested, shape) => return nested.nested(shape, layout, input, problem),
        }
        Ok(())
    }

    fn nested(
        &mut self,
        shape: &Shape,
        layout: &Layout,
        input: &mut Input<'_>,
        problem: &mut Problem,
    ) -> Result<(), String> {
        match (self, shape) {
            (Self::Record(columns, valid), Shape::Record(fields)) => {
                for ((_, column), (_, shape)) in columns.iter_mut().zip(fields) {
                    column.read(shape, layout, input, problem)?;
                }
                valid.append_non_null();
            }
            (Self::Array(_, items, offsets, valid), Shape::Array(element)) => {
                let added = input
                    .elements(items.null_bytes(), |input| items.read(element, layout, input, problem))?;
                end(offsets, added)?;
                valid.append_non_null();
            }
            (Self::Map(_, columns, offsets, valid), Shape::Map(element)) => {
                let (keys, values) = columns.as_mut();
                let added = input.elements(4 + values.null_bytes(), |input| {
                    let key = std::str::from_utf8(input.bytes()?);
                    let key = key.map_err(|_| "a key of a map is not UTF-8".to_string());
                    keys.append_value(keep(key, problem).unwrap_or_default());
                    values.read(element, layout, input, problem)
                })?;
                end(offsets, added)?;
                valid.append_non_null();
            }
            (_, shape) => return Err(format!("a type that does not fit: {shape:?}")),
        }
        Ok(())
    }
}

/// Rows that are being built.
pub(super) struct Rows {
    columns: Vec<(FieldRef, Column)>,
    rows: usize,
    /// Bytes that a row takes beside those of its values.
    row_bytes: usize,
}

impl Rows {
    pub(super) fn new(layout: &Layout) -> Self {
        let column = |(name, shape): &(String, Shape)| {
            let column = Column::new(shape);
            (field(name, shape, &column), column)
        };
        let columns: Vec<(FieldRef, Column)> = layout.columns.iter().map(column).collect();
        let row_bytes = columns.iter().map(|(_, column)| column.null_bytes()).sum();
        Self { columns, rows: 0, row_bytes }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|(field, _)| Arc::clone(field)).collect::<Fields>()))
    }

    /// Reads a record. Returns why it is no row, if so; nulls stand in the place of what does not fit then. Errors: the
    /// data cannot be a record; nothing can be read behind it.
    pub(super) fn read(&mut self, layout: &Layout, input: &mut Input<'_>) -> Result<Problem, String> {
        input.element(self.row_bytes)?;
        let mut found = None;
        for ((_, column), (name, shape)) in self.columns.iter_mut().zip(&layout.columns) {
            let mut problem = None;
            column
                .read(shape, layout, input, &mut problem)
                .map_err(|what| format!("column `{name}`: {what}"))?;
            if let Some(why) = problem {
                found.get_or_insert(format!("column `{name}`: {why}"));
            }
        }
        self.rows += 1;
        Ok(found)
    }

    pub(super) fn finish(&mut self, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter_mut().map(|(_, column)| column.finish());
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}
