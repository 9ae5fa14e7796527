//! Parameters of prepared statements.
//!
//! The client's type says how the bytes are read; planning's type says what the value becomes.

use arrow::datatypes::DataType;
use bytes::Bytes;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::ScalarValue;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::types::FromSqlText;
use postgres_types::FromSqlOwned;

use super::error::user_error;

/// Days from 0001-01-01 to 1970-01-01 as chrono counts them.
const UNIX_EPOCH_DAYS: i32 = 719_163;

/// Values of `$1`, `$2`, …, as far as the statement uses them. `planned`: types found by planning.
pub(crate) fn decode<S: Clone>(
    portal: &Portal<S>,
    planned: &[Option<DataType>],
) -> PgWireResult<Vec<ScalarValue>> {
    let given = portal.parameter_len();
    if given < planned.len() {
        let message =
            format!("bind message supplies {given} parameters, but the statement requires {}", planned.len());
        return Err(user_error("08P01", message));
    }
    check_formats(portal)?;
    (0..given).map(|index| decode_one(portal, index, planned.get(index).and_then(Option::as_ref))).collect()
}

/// The library indexes the formats by parameter without looking.
fn check_formats<S: Clone>(portal: &Portal<S>) -> PgWireResult<()> {
    match &portal.parameter_format {
        pgwire::api::portal::Format::Individual(codes) if codes.len() != portal.parameter_len() => {
            let message =
                format!("{} parameter formats for {} parameters", codes.len(), portal.parameter_len());
            Err(user_error("08P01", message))
        }
        _ => Ok(()),
    }
}

fn decode_one<S: Clone>(
    portal: &Portal<S>,
    index: usize,
    planned: Option<&DataType>,
) -> PgWireResult<ScalarValue> {
    let hint = portal.statement.parameter_types.get(index).cloned().flatten();
    let by_plan = || planned.map_or(Type::UNKNOWN, wire_type);
    let wire = hint.filter(|hint| *hint != Type::UNKNOWN).unwrap_or_else(by_plan);
    let value = read(portal, index, &wire)?;
    match planned {
        Some(target) if value.data_type() != *target => value.cast_to(target).map_err(|error| {
            let message =
                format!("parameter ${} does not fit {target}: {}", index + 1, error.strip_backtrace());
            user_error("22P02", message)
        }),
        _ => Ok(value),
    }
}

/// The type that a client is told for a parameter.
pub(crate) fn wire_type(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Type::INT2,
        DataType::Int32 | DataType::UInt16 => Type::INT4,
        DataType::Int64 | DataType::UInt32 => Type::INT8,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::UInt64 | DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => Type::NUMERIC,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::TEXT,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Type::BYTEA
        }
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Dictionary(_, value) => wire_type(value),
        _ => Type::UNKNOWN,
    }
}

fn read<S: Clone>(portal: &Portal<S>, index: usize, wire: &Type) -> PgWireResult<ScalarValue> {
    Ok(match *wire {
        Type::BOOL => ScalarValue::Boolean(get(portal, index, wire)?),
        Type::INT2 => ScalarValue::Int16(get(portal, index, wire)?),
        Type::INT4 => ScalarValue::Int32(get(portal, index, wire)?),
        Type::OID => ScalarValue::UInt32(get(portal, index, wire)?),
        Type::INT8 => ScalarValue::Int64(get(portal, index, wire)?),
        Type::FLOAT4 => ScalarValue::Float32(get(portal, index, wire)?),
        Type::FLOAT8 => ScalarValue::Float64(get(portal, index, wire)?),
        Type::BYTEA => ScalarValue::Binary(get(portal, index, wire)?),
        Type::NUMERIC => ScalarValue::Utf8(numeric_text(portal, index)?),
        Type::DATE => ScalarValue::Date32(
            get::<NaiveDate, _>(portal, index, wire)?.map(|date| date.num_days_from_ce() - UNIX_EPOCH_DAYS),
        ),
        Type::TIME => ScalarValue::Time64Microsecond(get::<NaiveTime, _>(portal, index, wire)?.map(|time| {
            i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000)
        })),
        Type::TIMESTAMP => ScalarValue::TimestampMicrosecond(
            get::<NaiveDateTime, _>(portal, index, wire)?.map(|at| at.and_utc().timestamp_micros()),
            None,
        ),
        Type::TIMESTAMPTZ => ScalarValue::TimestampMicrosecond(
            get::<DateTime<FixedOffset>, _>(portal, index, wire)?.map(|at| at.timestamp_micros()),
            Some("UTC".into()),
        ),
        Type::BOOL_ARRAY => list(get(portal, index, wire)?, ScalarValue::Boolean, &DataType::Boolean),
        Type::INT2_ARRAY => list(get(portal, index, wire)?, ScalarValue::Int16, &DataType::Int16),
        Type::INT4_ARRAY => list(get(portal, index, wire)?, ScalarValue::Int32, &DataType::Int32),
        Type::INT8_ARRAY => list(get(portal, index, wire)?, ScalarValue::Int64, &DataType::Int64),
        Type::FLOAT4_ARRAY => list(get(portal, index, wire)?, ScalarValue::Float32, &DataType::Float32),
        Type::FLOAT8_ARRAY => list(get(portal, index, wire)?, ScalarValue::Float64, &DataType::Float64),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => {
            list(get(portal, index, wire)?, ScalarValue::Utf8, &DataType::Utf8)
        }
        // Everything else has a text form, which is what clients send for types that they do not know.
        _ => ScalarValue::Utf8(text(portal, index)?),
    })
}

fn get<'a, T, S>(portal: &'a Portal<S>, index: usize, wire: &Type) -> PgWireResult<Option<T>>
where
    T: FromSqlOwned + FromSqlText<'a>,
    S: Clone,
{
    portal.parameter::<T>(index, wire).map_err(|error| match error {
        PgWireError::FailedToParseParameter(cause) => {
            user_error("22P02", format!("parameter ${} is no {}: {cause}", index + 1, wire.name()))
        }
        other => other,
    })
}

fn list<T>(
    values: Option<Vec<Option<T>>>,
    wrap: fn(Option<T>) -> ScalarValue,
    item: &DataType,
) -> ScalarValue {
    match values {
        Some(values) => {
            let values: Vec<ScalarValue> = values.into_iter().map(wrap).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&values, item))
        }
        None => ScalarValue::new_null_list(item.clone(), true, 1),
    }
}

fn raw<S: Clone>(portal: &Portal<S>, index: usize) -> Option<&Bytes> {
    portal.parameters.get(index).and_then(Option::as_ref)
}

fn text<S: Clone>(portal: &Portal<S>, index: usize) -> PgWireResult<Option<String>> {
    raw(portal, index)
        .map(|bytes| String::from_utf8(bytes.to_vec()))
        .transpose()
        .map_err(|_| user_error("22021", format!("parameter ${} is no UTF-8 text", index + 1)))
}

fn numeric_text<S: Clone>(portal: &Portal<S>, index: usize) -> PgWireResult<Option<String>> {
    if portal.parameter_format.is_text(index) {
        return text(portal, index);
    }
    let Some(bytes) = raw(portal, index) else { return Ok(None) };
    binary_numeric(bytes)
        .map(Some)
        .ok_or_else(|| user_error("22P03", format!("parameter ${} is no finite binary numeric", index + 1)))
}

/// The text of a binary numeric: groups of four digits around the point.
pub(super) fn binary_numeric(bytes: &[u8]) -> Option<String> {
    let words: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
    let (head, groups) = words.split_at_checked(4)?;
    let [count, weight, sign, scale] = *head else { return None };
    let (count, scale) = (usize::try_from(count).ok()?, usize::try_from(scale).ok()?);
    if groups.len() != count || !groups.iter().all(|group| (0..10_000).contains(group)) || scale > 16_383 {
        return None;
    }
    let negative = match sign {
        0 => false,
        0x4000 => true,
        _ => return None,
    };
    let group = |place: i32| {
        let index = i32::from(weight) - place;
        usize::try_from(index).ok().and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    let whole: String =
        (0..=i32::from(weight).max(0)).rev().map(|place| format!("{:04}", group(place))).collect();
    let fraction: String =
        (1..=i32::try_from(scale.div_ceil(4)).ok()?).map(|place| format!("{:04}", group(-place))).collect();
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    match fraction.get(..scale) {
        Some("") | None => Some(format!("{sign}{whole}")),
        Some(fraction) => Some(format!("{sign}{whole}.{fraction}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pgwire::api::stmt::StoredStatement;
    use pgwire::messages::extendedquery::Bind;

    use super::*;

    fn portal(types: Vec<Option<Type>>, values: Vec<Option<&[u8]>>, formats: Vec<i16>) -> Portal<()> {
        let statement = Arc::new(StoredStatement::new("s".to_string(), (), types));
        let values = values.into_iter().map(|value| value.map(Bytes::copy_from_slice)).collect();
        Portal::try_new(&Bind::new(None, None, formats, values, vec![]), statement).unwrap()
    }

    #[test]
    fn a_null_of_unknown_type_keeps_its_place() {
        let portal = portal(vec![], vec![None, Some(b"7")], vec![]);
        let values = decode(&portal, &[Some(DataType::Utf8), Some(DataType::Int64)]).unwrap();
        assert_eq!(values, [ScalarValue::Utf8(None), ScalarValue::Int64(Some(7))]);
    }

    #[test]
    fn text_stays_text_also_in_braces() {
        let portal = portal(vec![None], vec![Some(b"{a,b}")], vec![]);
        assert_eq!(decode(&portal, &[None]).unwrap(), [ScalarValue::Utf8(Some("{a,b}".to_string()))]);
    }

    #[test]
    fn the_clients_type_is_read_and_the_planned_type_is_given() {
        let portal = portal(vec![Some(Type::INT4)], vec![Some(&[0, 0, 0, 9])], vec![1]);
        let planned = [Some(DataType::Decimal128(10, 2))];
        assert_eq!(decode(&portal, &planned).unwrap(), [ScalarValue::Decimal128(Some(900), 10, 2)]);
    }

    #[test]
    fn binary_numbers_are_read_exactly() {
        // 12345.678 as PostgreSQL sends it.
        let bytes = [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124];
        assert_eq!(binary_numeric(&bytes).as_deref(), Some("12345.678"));
        assert_eq!(binary_numeric(&[0, 1, 255, 255, 64, 0, 0, 4, 0, 1]).as_deref(), Some("-0.0001"));
        assert_eq!(binary_numeric(&[0, 0, 0, 0, 0, 0, 0, 2]).as_deref(), Some("0.00"));
        assert_eq!(binary_numeric(&[0, 9, 0, 1, 0, 0, 0, 3]), None);
        assert_eq!(binary_numeric(&[0, 0, 0, 0, 192, 0, 0, 0]), None);
    }

    #[test]
    fn too_few_values_and_too_few_formats_are_refused() {
        let short = portal(vec![], vec![], vec![]);
        assert!(decode(&short, &[Some(DataType::Int64)]).is_err());
        let formats = portal(vec![], vec![Some(b"1"), Some(b"2"), Some(b"3")], vec![0, 0]);
        assert!(decode(&formats, &[]).is_err());
    }
}
