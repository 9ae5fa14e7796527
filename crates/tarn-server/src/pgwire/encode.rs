//! Rows as PostgreSQL data rows.
//!
//! Most types are written by `arrow-pg`. Those it lacks are turned into one that it has: fixed binary into binary, maps
//! into text; numbers with more than 28 digits and UUIDs are written here, and texts are put right by [`TextEncoder`].

use std::error::Error;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Decimal128Type, Field, FieldRef, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::temporal_conversions::as_datetime_with_timezone;
use arrow::util::display::{ArrayFormatter, FormatOptions as DisplayOptions};
use bytes::{BufMut, BytesMut};
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use datafusion_postgres::arrow_pg::encoder::{Encoder, encode_value};
use futures::{Stream, StreamExt, stream};
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldInfo};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;
use pgwire::types::ToSqlText;
use pgwire::types::format::FormatOptions;
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use tarn_query::encode::is_uuid;

use super::error::user_error;
use super::text::{Moment, TextEncoder};

/// Column descriptions of a result, and how its batches must be changed before they are written.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    /// As the client is told.
    pub fields: Arc<Vec<FieldInfo>>,
    schema: SchemaRef,
}

impl Encoding {
    /// For rows of `schema`. Errors: a column whose type PostgreSQL clients cannot be given.
    pub(crate) fn of(schema: &Schema, format: &Format, options: Arc<FormatOptions>) -> PgWireResult<Self> {
        let columns: Vec<FieldRef> = schema.fields().iter().map(writable).collect();
        if let Format::Individual(codes) = format
            && codes.len() != columns.len()
        {
            let message = format!("{} result formats for {} columns", codes.len(), columns.len());
            return Err(user_error("08P01", message));
        }
        let schema = Arc::new(Schema::new(columns));
        let fields = arrow_schema_to_pg_fields(&schema, format, Some(options))?;
        let fields = fields.into_iter().zip(schema.fields()).map(|(info, field)| described(&info, field));
        Ok(Self { fields: Arc::new(fields.collect()), schema })
    }

    /// Rows of a batch.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> PgWireResult<Vec<DataRow>> {
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(a, f)| convert(a, f))
            .collect::<Result<_, _>>()?;
        let zones: Vec<Option<Tz>> = self.schema.fields().iter().map(|field| zone_of(field)).collect();
        let mut rows_encoder = DataRowEncoder::new(Arc::clone(&self.fields));
        let mut encoder = TextEncoder::new(&mut rows_encoder);
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let described = self.schema.fields().iter().zip(self.fields.iter()).zip(&zones);
            for (column, ((field, info), zone)) in columns.iter().zip(described) {
                match (field.data_type(), zone) {
                    (DataType::Decimal128(_, scale), _) => {
                        let values = column.as_primitive::<Decimal128Type>();
                        let value = values
                            .is_valid(row)
                            .then(|| Numeric { digits: values.value(row), scale: *scale });
                        encoder.encode_field(&value, info)?;
                    }
                    (DataType::FixedSizeBinary(_), _) => {
                        let values = column.as_fixed_size_binary();
                        let value = values.is_valid(row).then(|| Uuid::from_slice(values.value(row)));
                        let value =
                            value.transpose().map_err(|error| user_error("XX000", error.to_string()))?;
                        encoder.encode_field(&value.map(UuidValue), info)?;
                    }
                    (DataType::Timestamp(unit, _), Some(zone)) => {
                        encoder.encode_field(&moment(column, row, *unit, *zone), info)?;
                    }
                    _ => encode_value(&mut encoder, column, row, field, info)?,
                }
            }
            rows.push(encoder.take_row());
        }
        Ok(rows)
    }

    /// Rows of a stream of batches.
    pub(crate) fn stream<S, E, M>(
        self,
        batches: S,
        on_error: M,
    ) -> impl Stream<Item = PgWireResult<DataRow>> + Send
    where
        S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
        E: Send + 'static,
        M: Fn(E) -> PgWireError + Send + 'static,
    {
        batches.flat_map(move |batch| {
            let rows = batch.map_err(&on_error).and_then(|batch| self.rows(&batch));
            match rows {
                Ok(rows) => stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            }
        })
    }
}

/// The time zone in which a column's instants are shown.
fn zone_of(field: &Field) -> Option<Tz> {
    match field.data_type() {
        DataType::Timestamp(_, Some(zone)) => zone.parse().ok(),
        _ => None,
    }
}

fn moment(column: &ArrayRef, row: usize, unit: TimeUnit, zone: Tz) -> Option<Moment> {
    fn at<T: ArrowTimestampType>(column: &ArrayRef, row: usize, zone: Tz) -> Option<Moment> {
        let at = as_datetime_with_timezone::<T>(column.as_primitive::<T>().value(row), zone)?;
        Some(Moment(at.fixed_offset()))
    }
    if column.is_null(row) {
        return None;
    }
    match unit {
        TimeUnit::Second => at::<TimestampSecondType>(column, row, zone),
        TimeUnit::Millisecond => at::<TimestampMillisecondType>(column, row, zone),
        TimeUnit::Microsecond => at::<TimestampMicrosecondType>(column, row, zone),
        TimeUnit::Nanosecond => at::<TimestampNanosecondType>(column, row, zone),
    }
}

/// The same column with a type that can be written.
fn writable(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        _ if is_uuid(field) => return Arc::clone(field),
        DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Map(_, _) | DataType::Decimal256(_, _) | DataType::Union(_, _) => DataType::Utf8,
        DataType::RunEndEncoded(_, values) => values.data_type().clone(),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn convert(column: &ArrayRef, field: &Field) -> PgWireResult<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    if matches!(column.data_type(), DataType::Map(_, _) | DataType::Union(_, _)) {
        return as_text(column);
    }
    cast(column, field.data_type()).map_err(|error| {
        user_error(
            "XX000",
            format!("column `{}` cannot be written for a PostgreSQL client: {error}", field.name()),
        )
    })
}

fn as_text(column: &ArrayRef) -> PgWireResult<ArrayRef> {
    let options = DisplayOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)
        .map_err(|error| user_error("XX000", format!("a value cannot be written as text: {error}")))?;
    let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(texts.collect::<arrow::array::StringArray>()))
}

/// The type that a column has on the wire; text, if it has none of its own.
pub(super) fn column_type(field: &FieldRef) -> Type {
    match is_uuid(field) {
        true => Type::UUID,
        false => into_pg_type(writable(field).data_type()).unwrap_or(Type::TEXT),
    }
}

/// From which drivers learn precision and scale.
pub(super) fn type_modifier(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            Some((i32::from(*precision) << 16) + i32::from((*scale).max(0)) + 4)
        }
        DataType::UInt64 => type_modifier(&DataType::Decimal128(20, 0)),
        _ => None,
    }
}

/// The description of a column with type, width and modifier.
fn described(info: &FieldInfo, field: &FieldRef) -> FieldInfo {
    let pg_type = if is_uuid(field) { Type::UUID } else { info.datatype().clone() };
    let size = match pg_type {
        Type::BOOL => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL | Type::UUID => 16,
        _ => -1,
    };
    let info = FieldInfo::new(info.name().to_string(), None, None, pg_type, info.format())
        .with_format_options(Arc::clone(info.format_options()))
        .with_type_size(size);
    match type_modifier(field.data_type()) {
        Some(modifier) => info.with_type_modifier(modifier),
        None => info,
    }
}

#[derive(Debug)]
struct UuidValue(Uuid);

impl ToSqlText for UuidValue {
    fn to_sql_text(
        &self,
        _: &Type,
        out: &mut BytesMut,
        _: &FormatOptions,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.hyphenated().to_string().as_bytes());
        Ok(IsNull::No)
    }
}

impl ToSql for UuidValue {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

/// `digits` times ten to the power of minus `scale`.
#[derive(Debug)]
struct Numeric {
    digits: i128,
    scale: i8,
}

impl Numeric {
    /// Digits before and after the point; a negative scale adds zeros before it.
    fn parts(&self) -> (String, String) {
        let text = self.digits.unsigned_abs().to_string();
        let scale = usize::try_from(self.scale).unwrap_or(0);
        let zeros = "0".repeat(usize::from(self.scale.min(0).unsigned_abs()));
        let padded = format!("{}{text}{zeros}", "0".repeat((scale + 1).saturating_sub(text.len())));
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        (whole.to_string(), fraction.to_string())
    }
}

impl ToSqlText for Numeric {
    fn to_sql_text(
        &self,
        _: &Type,
        out: &mut BytesMut,
        _: &FormatOptions,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let (whole, fraction) = self.parts();
        if self.digits < 0 {
            out.put_u8(b'-');
        }
        out.put_slice(whole.as_bytes());
        if !fraction.is_empty() {
            out.put_u8(b'.');
            out.put_slice(fraction.as_bytes());
        }
        Ok(IsNull::No)
    }
}

impl ToSql for Numeric {
    /// Groups of four digits around the point, the first one with its weight.
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let (whole, fraction) = self.parts();
        let whole = format!("{}{whole}", "0".repeat((4 - whole.len() % 4) % 4));
        let padded = format!("{fraction}{}", "0".repeat((4 - fraction.len() % 4) % 4));
        let weight = whole.len() / 4;
        let mut groups: Vec<i16> = format!("{whole}{padded}")
            .as_bytes()
            .chunks(4)
            .map(|chunk| chunk.iter().fold(0, |sum, digit| sum * 10 + i16::from(*digit - b'0')))
            .collect();
        let leading = groups.iter().take_while(|group| **group == 0).count();
        groups.drain(..leading);
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let weight = i16::try_from(weight)? - i16::try_from(leading)? - 1;
        out.put_i16(i16::try_from(groups.len())?);
        out.put_i16(if groups.is_empty() { 0 } else { weight });
        out.put_u16(if self.digits < 0 { 0x4000 } else { 0 });
        out.put_i16(i16::try_from(fraction.len())?);
        for group in groups {
            out.put_i16(group);
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(digits: i128, scale: i8) -> String {
        let mut out = BytesMut::new();
        Numeric { digits, scale }.to_sql_text(&Type::NUMERIC, &mut out, &FormatOptions::default()).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn binary(digits: i128, scale: i8) -> Vec<u8> {
        let mut out = BytesMut::new();
        Numeric { digits, scale }.to_sql(&Type::NUMERIC, &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        assert_eq!(text(12345, 2), "123.45");
        assert_eq!(text(-5, 3), "-0.005");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(7, -2), "700");
        assert_eq!(text(i128::from(u64::MAX) * 1_000_000_000_000, 10), "1844674407370955161500.0000000000");
    }

    #[test]
    fn binary_numbers_are_groups_of_four_digits() {
        // 12345.678: groups 1, 2345, 6780; weight 1; three digits after the point.
        assert_eq!(binary(12_345_678, 3), [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        assert_eq!(binary(0, 2), [0, 0, 0, 0, 0, 0, 0, 2]);
        // -0.0001 is one group right of the point.
        assert_eq!(binary(-1, 4), [0, 1, 255, 255, 64, 0, 0, 4, 0, 1]);
    }
}
