//! One value of a record, as its column wants it.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use super::column_type::ColumnType;

/// A value that fits its column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Boolean(bool),
    Int(i64),
    Float(f64),
    Decimal(i128),
    Text(Cow<'a, str>),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970.
    Micros(i64),
}

/// Values in reasons are cut to this many characters.
const SHOWN_CHARS: usize = 60;

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// Reads a value of a text record. Errors: the reason, for people.
pub(crate) fn cell_of_text(column_type: ColumnType, text: &str) -> Result<Cell<'_>, String> {
    let bad = || format!("`{}` is not of type {column_type}", shown(text));
    if matches!(column_type, ColumnType::String | ColumnType::Json) {
        return Ok(Cell::Text(text.into()));
    }
    let text = text.trim();
    match column_type {
        ColumnType::Boolean => boolean_of(text).map(Cell::Boolean),
        ColumnType::Int32 => text.parse::<i32>().ok().map(|n| Cell::Int(n.into())),
        ColumnType::Int64 => text.parse().ok().map(Cell::Int),
        ColumnType::Float64 => text.parse().ok().map(Cell::Float),
        ColumnType::Decimal { precision, scale } => decimal_of(text, precision, scale).map(Cell::Decimal),
        ColumnType::Date => date_of(text).map(Cell::Date),
        ColumnType::Timestamp => timestamp_of(text).map(Cell::Micros),
        ColumnType::Timestamptz => moment_of(text).map(Cell::Micros),
        ColumnType::String | ColumnType::Json => None,
    }
    .ok_or_else(bad)
}

/// Reads a value of a JSON record. Errors: the reason, for people.
pub(crate) fn cell_of_json(column_type: ColumnType, value: &Value) -> Result<Cell<'_>, String> {
    let bad = || format!("`{}` is not of type {column_type}", shown(&value.to_string()));
    let owned = |cell: Result<Cell<'_>, String>| match cell? {
        Cell::Boolean(v) => Ok(Cell::Boolean(v)),
        Cell::Int(v) => Ok(Cell::Int(v)),
        Cell::Float(v) => Ok(Cell::Float(v)),
        Cell::Decimal(v) => Ok(Cell::Decimal(v)),
        Cell::Date(v) => Ok(Cell::Date(v)),
        Cell::Micros(v) => Ok(Cell::Micros(v)),
        Cell::Text(v) => Ok(Cell::Text(v.into_owned().into())),
        Cell::Null => Ok(Cell::Null),
    };
    match (column_type, value) {
        (_, Value::Null) => Ok(Cell::Null),
        (ColumnType::Json, value) => Ok(Cell::Text(value.to_string().into())),
        (_, Value::String(text)) => cell_of_text(column_type, text),
        (ColumnType::String, value) => Ok(Cell::Text(value.to_string().into())),
        (ColumnType::Boolean, Value::Bool(value)) => Ok(Cell::Boolean(*value)),
        (ColumnType::Int32 | ColumnType::Int64, Value::Number(number)) => {
            let int =
                number.as_i64().filter(|n| column_type == ColumnType::Int64 || i32::try_from(*n).is_ok());
            int.map(Cell::Int).ok_or_else(bad)
        }
        (ColumnType::Float64, Value::Number(number)) => number.as_f64().map(Cell::Float).ok_or_else(bad),
        // The number's own text, so that no digit passes through a float.
        (ColumnType::Decimal { .. }, Value::Number(number)) => {
            owned(cell_of_text(column_type, &number.to_string()))
        }
        _ => Err(bad()),
    }
}

fn boolean_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "1" => Some(true),
        "false" | "f" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Exact: more digits after the point than the scale holds are refused unless they are zeros.
fn decimal_of(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let scale = usize::from(scale);
    let (kept, dropped) = fraction.split_at(fraction.len().min(scale));
    if dropped.bytes().any(|b| b != b'0') {
        return None;
    }
    let zeros = scale - kept.len();
    let joined: String = whole.chars().chain(kept.chars()).chain(std::iter::repeat_n('0', zeros)).collect();
    let significant = joined.trim_start_matches('0');
    if significant.len() > usize::from(precision) {
        return None;
    }
    let value: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some(if negative { -value } else { value })
}

pub(super) fn date_of(text: &str) -> Option<i32> {
    if text.len() != 10 {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Whether the text looks like day and time, which is cheap to tell before parsing.
fn has_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 16 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b' ' | b'T' | b't')
}

pub(super) fn timestamp_of(text: &str) -> Option<i64> {
    if !has_time(text) {
        return date_of(text).map(|days| i64::from(days) * 86_400_000_000);
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let parsed = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    parsed.map(|time| time.and_utc().timestamp_micros())
}

/// A moment needs a zone; one without is taken as UTC.
pub(super) fn moment_of(text: &str) -> Option<i64> {
    zoned_of(text).or_else(|| timestamp_of(text))
}

pub(super) fn zoned_of(text: &str) -> Option<i64> {
    if !has_time(text) {
        return None;
    }
    let parsed = DateTime::parse_from_rfc3339(text).ok().or_else(|| {
        let formats = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
        formats.iter().find_map(|format| DateTime::parse_from_str(text, format).ok())
    });
    parsed.map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decimals_are_exact_or_refused() {
        let decimal = |text| decimal_of(text, 5, 2);
        assert_eq!(decimal("123.45"), Some(12_345));
        assert_eq!(decimal("-0.5"), Some(-50));
        assert_eq!(decimal("1.500"), Some(150));
        assert_eq!(decimal(".5"), Some(50));
        for text in ["1234.5", "0.001", "1e3", "", ".", "-", "1.2.3", "１"] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!(decimal_of(&"9".repeat(38), 38, 0), Some(10i128.pow(38) - 1));
        let number = serde_json::from_str::<Value>("0.1").expect("a number");
        let column = ColumnType::Decimal { precision: 5, scale: 2 };
        assert_eq!(cell_of_json(column, &number), Ok(Cell::Decimal(10)));
    }

    #[test]
    fn times_are_read_in_their_usual_forms() {
        let noon = 1_359_633_600_000_000;
        for text in ["2013-01-31T12:00:00", "2013-01-31 12:00", "2013-01-31 12:00:00.000"] {
            assert_eq!(cell_of_text(ColumnType::Timestamp, text), Ok(Cell::Micros(noon)), "{text}");
        }
        for text in ["2013-01-31T12:00:00Z", "2013-01-31 20:00:00+08", "2013-01-31T07:00:00-0500"] {
            assert_eq!(cell_of_text(ColumnType::Timestamptz, text), Ok(Cell::Micros(noon)), "{text}");
        }
        assert_eq!(cell_of_text(ColumnType::Date, "1970-01-02"), Ok(Cell::Date(1)));
        assert!(cell_of_text(ColumnType::Date, "2013-02-30").is_err());
        assert!(cell_of_text(ColumnType::Timestamp, "日期日期日期日期日期").is_err());
    }

    #[test]
    fn a_json_value_that_does_not_fit_names_itself() {
        let error = cell_of_json(ColumnType::Int64, &json!({"a": 1})).expect_err("an object");
        assert_eq!(error, "`{\"a\":1}` is not of type int64");
        assert!(cell_of_json(ColumnType::Int32, &json!(1u64 << 40)).is_err());
        assert!(cell_of_json(ColumnType::Int64, &json!(1.5)).is_err());
        assert_eq!(cell_of_json(ColumnType::String, &json!(1.5)), Ok(Cell::Text("1.5".into())));
        assert_eq!(cell_of_json(ColumnType::Json, &json!("x")), Ok(Cell::Text("\"x\"".into())));
    }
}
