//! Column types as written in configurations.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a column of text or JSON records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 64-bit floating point.
    Float64,
    /// Exact number with a fixed number of digits after the point.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// Text.
    String,
    /// Calendar day, `2013-01-31`.
    Date,
    /// Day and time without zone, `2013-01-31T10:00:00`.
    Timestamp,
    /// Moment, `2013-01-31T10:00:00Z`.
    Timestamptz,
    /// Any JSON value, kept as text.
    Json,
}

const NAMES: [(&str, ColumnType); 9] = [
    ("boolean", ColumnType::Boolean),
    ("int32", ColumnType::Int32),
    ("int64", ColumnType::Int64),
    ("float64", ColumnType::Float64),
    ("string", ColumnType::String),
    ("date", ColumnType::Date),
    ("timestamp", ColumnType::Timestamp),
    ("timestamptz", ColumnType::Timestamptz),
    ("json", ColumnType::Json),
];

impl ColumnType {
    /// The Arrow type of its column.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            // The scale is at most 38, so it fits.
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale as i8),
            Self::String | Self::Json => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    /// The narrowest type that holds the values of both; `String` holds everything.
    pub fn widen(self, other: Self) -> Self {
        use ColumnType as T;
        match (self, other) {
            (a, b) if a == b => a,
            (T::Int32, T::Int64) | (T::Int64, T::Int32) => T::Int64,
            (T::Int32 | T::Int64, T::Float64) | (T::Float64, T::Int32 | T::Int64) => T::Float64,
            (T::Date, T::Timestamp) | (T::Timestamp, T::Date) => T::Timestamp,
            _ => T::String,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Decimal { precision, scale } = self {
            return write!(f, "decimal({precision},{scale})");
        }
        let name =
            NAMES.iter().find(|(_, column_type)| column_type == self).map_or("string", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((_, column_type)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(*column_type);
        }
        if let Some(arguments) = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
            let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
            if let (Ok(precision @ 1..=38), Ok(scale)) =
                (precision.trim().parse(), scale.trim().parse::<u8>())
                && scale <= precision
            {
                return Ok(Self::Decimal { precision, scale });
            }
            return Err(format!("`{text}` is not a decimal; write `decimal(18,2)` with at most 38 digits"));
        }
        let names = NAMES.map(|(name, _)| name).join(", ");
        let meant = tarn_core::nearest(text, NAMES.map(|(name, _)| name));
        let meant = meant.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        Err(format!("`{text}` is not a column type; {meant}use {names} or decimal(18,2)"))
    }
}

impl TryFrom<String> for ColumnType {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ColumnType> for String {
    fn from(column_type: ColumnType) -> Self {
        column_type.to_string()
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^(boolean|int32|int64|float64|string|date|timestamp|timestamptz|json|decimal\(\d+(, ?\d+)?\))$",
            "examples": ["int64", "string", "decimal(18,2)", "timestamptz"],
        })
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// Its name, as in the records.
    pub name: String,
    /// Its type: boolean, int32, int64, float64, decimal(18,2), string, date, timestamp, timestamptz or json.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_type_agree() {
        for text in NAMES.map(|(name, _)| name).into_iter().chain(["decimal(18,2)", "decimal(38,38)"]) {
            assert_eq!(text.parse::<ColumnType>().expect(text).to_string(), text);
        }
        for text in ["decimal(39,1)", "decimal(2,3)", "decimal()", "int", ""] {
            assert!(text.parse::<ColumnType>().is_err(), "{text}");
        }
        assert!("in64".parse::<ColumnType>().expect_err("unknown").contains("did you mean `int64`?"));
    }

    #[test]
    fn widening_never_loses_a_value() {
        use ColumnType as T;
        for (a, b, wide) in [
            (T::Int32, T::Int64, T::Int64),
            (T::Int64, T::Float64, T::Float64),
            (T::Date, T::Timestamp, T::Timestamp),
            (T::Boolean, T::Int64, T::String),
            (T::Timestamp, T::Timestamptz, T::String),
            (T::Json, T::Int64, T::String),
        ] {
            assert_eq!((a.widen(b), b.widen(a)), (wide, wide));
        }
    }
}
