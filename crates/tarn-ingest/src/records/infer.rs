//! Guesses the types of columns from records.

use std::collections::HashMap;

use serde_json::Value;

use super::cell::{date_of, timestamp_of, zoned_of};
use super::column_type::{ColumnConfig, ColumnType};

/// The narrowest type of a text value. A number with a leading zero, such as a postcode, stays text.
pub(crate) fn type_of_text(text: &str) -> ColumnType {
    let text = text.trim();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.split(['.', 'e', 'E']).next().unwrap_or_default();
    let padded = digits.len() > 1 && digits.starts_with('0');
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit()) && !padded;
    if numeric && text.parse::<i64>().is_ok() {
        return ColumnType::Int64;
    }
    // An integer beyond 64 bits would lose digits as a float.
    if numeric && unsigned.len() > digits.len() && text.parse::<f64>().is_ok_and(f64::is_finite) {
        return ColumnType::Float64;
    }
    match text {
        "true" | "false" | "TRUE" | "FALSE" | "True" | "False" => ColumnType::Boolean,
        _ if date_of(text).is_some() => ColumnType::Date,
        _ if zoned_of(text).is_some() => ColumnType::Timestamptz,
        _ if timestamp_of(text).is_some() => ColumnType::Timestamp,
        _ => ColumnType::String,
    }
}

/// The narrowest type of a JSON value; `None` for null. Text stays text, except days and moments.
pub(crate) fn type_of_json(value: &Value) -> Option<ColumnType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => ColumnType::Boolean,
        Value::Number(number) if number.is_i64() => ColumnType::Int64,
        Value::Number(number) if number.is_f64() => ColumnType::Float64,
        Value::Number(_) => ColumnType::String,
        Value::String(text) if date_of(text).is_some() => ColumnType::Date,
        Value::String(text) if zoned_of(text).is_some() => ColumnType::Timestamptz,
        Value::String(_) => ColumnType::String,
        Value::Array(_) | Value::Object(_) => ColumnType::Json,
    })
}

/// Columns seen so far, in the order of their first record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inferred {
    columns: Vec<(String, Option<ColumnType>)>,
    places: HashMap<String, usize>,
}

impl Inferred {
    /// Starts from known columns, which are widened but never dropped.
    pub(crate) fn from_columns(columns: &[ColumnConfig]) -> Self {
        let mut inferred = Self::default();
        for column in columns {
            inferred.see(&column.name, Some(column.column_type));
        }
        inferred
    }

    /// Takes one value into account; `None` for null, which only makes the column known.
    pub(crate) fn see(&mut self, name: &str, column_type: Option<ColumnType>) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.columns.push((name.to_string(), None));
                self.places.insert(name.to_string(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        let known = &mut self.columns[place].1;
        *known = match (*known, column_type) {
            (Some(known), Some(seen)) => Some(known.widen(seen)),
            (known, seen) => known.or(seen),
        };
    }

    /// The columns; one with nulls only is text.
    pub(crate) fn columns(&self) -> Vec<ColumnConfig> {
        let column = |(name, column_type): &(String, Option<ColumnType>)| ColumnConfig {
            name: name.clone(),
            column_type: column_type.unwrap_or(ColumnType::String),
        };
        self.columns.iter().map(column).collect()
    }

    /// The columns of which a value was seen; the others wait for one.
    pub(crate) fn settled_columns(&self) -> Vec<ColumnConfig> {
        let settled = self.columns.iter().filter_map(|(name, column_type)| {
            column_type.map(|column_type| ColumnConfig { name: name.clone(), column_type })
        });
        settled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_gets_the_narrowest_type_that_keeps_it() {
        for (text, expected) in [
            ("0", ColumnType::Int64),
            ("-17", ColumnType::Int64),
            ("007", ColumnType::String),
            ("0.5", ColumnType::Float64),
            ("1e9", ColumnType::Float64),
            ("99999999999999999999", ColumnType::String),
            ("nan", ColumnType::String),
            ("inf", ColumnType::String),
            ("1-2", ColumnType::String),
            ("true", ColumnType::Boolean),
            ("2013-01-31", ColumnType::Date),
            ("2013-01-31 10:00:00", ColumnType::Timestamp),
            ("2013-01-31T10:00:00Z", ColumnType::Timestamptz),
            ("N14228", ColumnType::String),
        ] {
            assert_eq!(type_of_text(text), expected, "{text}");
        }
    }

    #[test]
    fn columns_widen_and_keep_their_order() {
        let mut inferred = Inferred::default();
        for record in [json!({"a": 1, "b": null}), json!({"b": "x", "a": 1.5, "c": [1]})] {
            for (name, value) in record.as_object().expect("an object") {
                inferred.see(name, type_of_json(value));
            }
        }
        let columns: Vec<_> =
            inferred.columns().iter().map(|c| format!("{} {}", c.name, c.column_type)).collect();
        assert_eq!(columns, ["a float64", "b string", "c json"]);
    }
}
