//! Values of cells, and what their number formats make of them.

use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use serde_json::{Value as Json, json};

use crate::records::{ColumnType, type_of_json};

const DAY_MILLIS: i64 = 86_400_000;
/// 9999-12-31, the last day that Excel has.
const LAST_DAY: i64 = 2_958_465;
/// Integers that a float holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a number format shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shows {
    #[default]
    Number,
    Date,
    /// A day with a time.
    Moment,
    Time,
}

/// The value of a cell that has one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(Arc<str>),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    /// As ISO 8601 writes it.
    Date(String),
    /// As ISO 8601 writes it, without a zone.
    Moment(String),
    /// Such as `#DIV/0!`.
    Error(String),
}

impl Shows {
    /// Of a format that Excel has by itself.
    pub(super) fn built_in(id: u32) -> Self {
        match id {
            14..=17 | 27..=31 | 36 | 50..=54 | 57 | 58 => Self::Date,
            18..=21 | 32..=35 | 45..=47 => Self::Time,
            22 => Self::Moment,
            _ => Self::Number,
        }
    }

    /// Of the code of a format, such as `yyyy-mm-dd`.
    pub(super) fn code(code: &str) -> Self {
        let mut letters = String::new();
        let mut chars = code.chars();
        while let Some(next) = chars.next() {
            match next {
                // What stands for itself.
                '"' => drop(chars.by_ref().find(|c| *c == '"')),
                '\\' | '_' | '*' => drop(chars.next()),
                // Colours, languages and conditions; elapsed time is one letter.
                '[' => {
                    let inner: String = chars.by_ref().take_while(|c| *c != ']').collect();
                    let inner = inner.to_ascii_lowercase();
                    if !inner.is_empty() && inner.bytes().all(|c| matches!(c, b'h' | b'm' | b's')) {
                        letters.push('h');
                    }
                }
                ';' => break,
                other => letters.push(other.to_ascii_lowercase()),
            }
        }
        if letters.contains("general") {
            return Self::Number;
        }
        let letters = letters.replace("am/pm", "h").replace("a/p", "h");
        let has = |of: &[char]| letters.contains(of);
        match (has(&['y', 'd']), has(&['h', 's']), has(&['m'])) {
            (true, true, _) => Self::Moment,
            (true, false, _) | (false, false, true) => Self::Date,
            (false, true, _) => Self::Time,
            (false, false, false) => Self::Number,
        }
    }
}

/// `HH:MM:SS` with milliseconds if there are some; hours go on beyond a day.
fn clock(millis: i64) -> String {
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:03}") };
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A number as its format shows it. `is_1904`: whether days count from 1904.
pub(super) fn number(value: f64, shows: Shows, is_1904: bool) -> Value {
    let plain = match value.fract() == 0.0 && value.abs() < EXACT {
        true => Value::Integer(value as i64),
        false => Value::Number(value),
    };
    if shows == Shows::Number || !(0.0..(LAST_DAY + 1) as f64).contains(&value) {
        return plain;
    }
    let millis = (value * DAY_MILLIS as f64).round() as i64;
    let (day, rest) = (millis / DAY_MILLIS, millis % DAY_MILLIS);
    // Elapsed hours and the time of a day have no day.
    if shows == Shows::Time || (day == 0 && rest > 0 && !is_1904) {
        return Value::Text(clock(millis).into());
    }
    // Excel has a 29 February 1900, so days before count from another one.
    let from = match (is_1904, day < 60) {
        (true, _) => NaiveDate::from_ymd_opt(1904, 1, 1),
        (false, true) => NaiveDate::from_ymd_opt(1899, 12, 31),
        (false, false) => NaiveDate::from_ymd_opt(1899, 12, 30),
    };
    let Some(date) = from.and_then(|from| from.checked_add_signed(TimeDelta::days(day))) else {
        return plain;
    };
    match shows == Shows::Date && rest == 0 {
        true => Value::Date(date.to_string()),
        false => Value::Moment(format!("{date}T{}", clock(rest))),
    }
}

impl Value {
    /// A date or moment that stands as text, without what a day alone does not need.
    pub(super) fn iso(text: &str) -> Self {
        match text.strip_suffix("T00:00:00").or_else(|| text.strip_suffix("T00:00:00.000")) {
            Some(date) => Self::Date(date.to_string()),
            None => match text.len() == 10 {
                true => Self::Date(text.to_string()),
                false => Self::Moment(text.trim_end_matches('Z').to_string()),
            },
        }
    }

    /// The narrowest type that holds it; `None` for what is no value.
    pub(super) fn kind(&self) -> Option<ColumnType> {
        Some(match self {
            Self::Text(_) => return type_of_json(&self.json()),
            Self::Integer(_) => ColumnType::Int64,
            Self::Number(_) => ColumnType::Float64,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Date(_) => ColumnType::Date,
            Self::Moment(_) => ColumnType::Timestamp,
            Self::Error(_) => return None,
        })
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Self::Text(text) => json!(text.as_ref()),
            Self::Integer(value) => json!(value),
            Self::Number(value) => json!(value),
            Self::Boolean(value) => json!(value),
            Self::Date(text) | Self::Moment(text) => json!(text),
            Self::Error(_) => Json::Null,
        }
    }

    /// For people, and for names of columns.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Date(text) | Self::Moment(text) | Self::Error(text) => text.clone(),
            other => other.json().to_string(),
        }
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        32 + match self {
            Self::Text(text) => text.len(),
            Self::Date(text) | Self::Moment(text) | Self::Error(text) => text.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_what_they_show() {
        for (code, shows) in [
            ("General", Shows::Number),
            ("#,##0.00", Shows::Number),
            ("0.00E+00", Shows::Number),
            (r#"#,##0 "days""#, Shows::Number),
            (r"0\d", Shows::Number),
            ("[Red]0;[Blue]-0", Shows::Number),
            ("yyyy-mm-dd", Shows::Date),
            ("[$-409]d-mmm-yy;@", Shows::Date),
            ("mmm", Shows::Date),
            (r#"yyyy"年"m"月"d"日""#, Shows::Date),
            ("dd/mm/yyyy hh:mm", Shows::Moment),
            ("h:mm AM/PM", Shows::Time),
            ("mm:ss.0", Shows::Time),
            ("[h]:mm:ss", Shows::Time),
        ] {
            assert_eq!(Shows::code(code), shows, "{code}");
        }
    }

    #[test]
    fn days_count_as_excel_counts_them() {
        let text = |value, shows, is_1904| number(value, shows, is_1904).shown();
        assert_eq!(text(1.0, Shows::Date, false), "1900-01-01");
        assert_eq!(text(59.0, Shows::Date, false), "1900-02-28");
        assert_eq!(text(61.0, Shows::Date, false), "1900-03-01");
        assert_eq!(text(45_322.0, Shows::Date, false), "2024-01-31");
        assert_eq!(text(0.0, Shows::Date, true), "1904-01-01");
        assert_eq!(text(45_322.5, Shows::Date, false), "2024-01-31T12:00:00");
        assert_eq!(text(45_322.0, Shows::Moment, false), "2024-01-31T00:00:00");
        // A moment whose fraction no float holds exactly.
        assert_eq!(text(45_322.999_988_425_93, Shows::Moment, false), "2024-01-31T23:59:59");
        assert_eq!(text(45_322.999_999_999_99, Shows::Moment, false), "2024-02-01T00:00:00");
        assert_eq!(text(0.75, Shows::Time, false), "18:00:00");
        assert_eq!(text(1.09375, Shows::Time, false), "26:15:00");
        assert_eq!(number(-1.0, Shows::Date, false), Value::Integer(-1));
        assert_eq!(number(1e300, Shows::Date, false), Value::Number(1e300));
        assert_eq!(number(f64::NAN, Shows::Date, false).kind(), Some(ColumnType::Float64));
    }
}
