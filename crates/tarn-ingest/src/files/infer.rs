//! Types of columns from values, and why they are what they are.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tarn_core::files::FoundColumn;

use crate::records::{ColumnConfig, ColumnType, type_of_json, type_of_text};

/// Distinct values shown of a column.
const SAMPLES_MAX: usize = 5;
/// Characters of a value that are shown.
const SHOWN_CHARS: usize = 80;
/// Rows shown.
const SAMPLE_ROWS_MAX: usize = 20;
/// Columns of files at most.
pub(crate) const COLUMNS_MAX: usize = 5_000;
/// Texts that often stand for null.
const NULL_WORDS: [&str; 11] = ["NA", "N/A", "n/a", "NULL", "null", "\\N", "None", "none", "NaN", "nan", "-"];
/// Digits that a 64-bit float keeps.
const FLOAT_DIGITS: usize = 15;
/// Digits of a usual decimal.
const DECIMAL_DIGITS: u8 = 18;

/// Where a value stands, for people.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: u64,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.file.rsplit('/').next().unwrap_or(self.file);
        write!(f, "line {} of {name}", self.line)
    }
}

/// Digits of the numbers with a point.
#[derive(Clone, Debug, Default)]
struct Digits {
    whole: usize,
    scale_min: Option<usize>,
    scale_max: usize,
    /// A number with an exponent, or an integer, was among them.
    is_mixed: bool,
    has_exponent: bool,
}

impl Digits {
    fn see(&mut self, text: &str, seen: ColumnType) {
        let text = text.trim().trim_start_matches(['-', '+']);
        if text.contains(['e', 'E']) {
            self.has_exponent = true;
            return;
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        self.is_mixed |= seen == ColumnType::Int64;
        self.whole = self.whole.max(whole.len());
        self.scale_max = self.scale_max.max(fraction.len());
        if seen == ColumnType::Float64 {
            self.scale_min = Some(self.scale_min.map_or(fraction.len(), |min| min.min(fraction.len())));
        }
    }

    /// An exact type for numbers that a float would take, with the reason.
    fn decimal(&self) -> Option<(ColumnType, String)> {
        let scale = u8::try_from(self.scale_max).ok()?;
        let digits = u8::try_from(self.whole + self.scale_max).ok().filter(|digits| *digits <= 38)?;
        if self.has_exponent || scale == 0 {
            return None;
        }
        let precision = digits.max(DECIMAL_DIGITS.max(scale));
        let decimal = ColumnType::Decimal { precision, scale };
        if !self.is_mixed && self.scale_min == Some(self.scale_max) {
            return Some((decimal, format!("every value has {scale} digits after the point")));
        }
        let too_long = usize::from(digits) > FLOAT_DIGITS;
        too_long.then(|| (decimal, format!("a float64 does not keep {digits} digits")))
    }
}

#[derive(Clone, Debug, Default)]
struct ColumnScan {
    name: String,
    values: u64,
    nulls: u64,
    samples: Vec<String>,
    kind: Option<ColumnType>,
    /// The type without texts that may stand for null.
    kind_of_rest: Option<ColumnType>,
    words: BTreeMap<&'static str, u64>,
    digits: Digits,
    reason: Option<String>,
}

pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

impl ColumnScan {
    fn sample(&mut self, text: &str) {
        if self.samples.len() < SAMPLES_MAX {
            let text = cut(text, SHOWN_CHARS);
            if !self.samples.contains(&text) {
                self.samples.push(text);
            }
        }
    }

    fn take(&mut self, seen: ColumnType, text: &str, place: Place<'_>) {
        self.values += 1;
        self.sample(text);
        let before = self.kind;
        let now = before.map_or(seen, |kind| kind.widen(seen));
        self.kind = Some(now);
        if before == Some(now) {
            return;
        }
        let shown = cut(text, 40);
        self.reason = match (before, now) {
            (None, ColumnType::String) if is_padded(text) => {
                Some(format!("`{shown}` ({place}) has a leading zero, so the digits stay text"))
            }
            (None, ColumnType::String) if is_long_number(text) => {
                Some(format!("`{shown}` ({place}) has more digits than an int64 holds, so it stays text"))
            }
            (None, _) => None,
            (Some(before), now) if is_padded(text) => Some(format!(
                "`{shown}` ({place}) has a leading zero and is no {before}, so the column is {now}"
            )),
            (Some(before), now) => {
                Some(format!("`{shown}` ({place}) is no {before}, so the column is {now}"))
            }
        };
    }

    fn text(&mut self, text: &str, place: Place<'_>) {
        let seen = type_of_text(text);
        if matches!(seen, ColumnType::Int64 | ColumnType::Float64) {
            self.digits.see(text, seen);
        }
        match NULL_WORDS.iter().find(|word| **word == text.trim()) {
            Some(word) => *self.words.entry(word).or_default() += 1,
            None => self.kind_of_rest = Some(self.kind_of_rest.map_or(seen, |kind| kind.widen(seen))),
        }
        self.take(seen, text, place);
    }

    fn finish(self, warnings: &mut Vec<String>) -> (ColumnConfig, FoundColumn) {
        let mut reason = self.reason;
        let mut kind = self.kind.unwrap_or_else(|| {
            reason = Some("no value was seen, so the column is string".to_string());
            ColumnType::String
        });
        if kind == ColumnType::Float64
            && let Some((decimal, why)) = self.digits.decimal()
        {
            (kind, reason) = (decimal, Some(why));
        }
        if kind == ColumnType::String
            && let Some(rest) = self.kind_of_rest.filter(|rest| *rest != ColumnType::String)
            && let Some((word, count)) = self.words.iter().max_by_key(|(_, count)| **count)
        {
            warnings.push(format!(
                "column `{}` would be {rest} but for {count} times `{word}`; if that means nothing, say so \
                 (`--null '{word}'`, `csv.null`)",
                self.name
            ));
        }
        let column = ColumnConfig { name: self.name.clone(), column_type: kind };
        let found = FoundColumn {
            name: self.name,
            type_name: kind.to_string(),
            from_path: false,
            values: self.values,
            nulls: self.nulls,
            samples: self.samples,
            reason,
        };
        (column, found)
    }
}

fn is_padded(text: &str) -> bool {
    let digits = text.trim().trim_start_matches('-');
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_long_number(text: &str) -> bool {
    let digits = text.trim().trim_start_matches('-');
    digits.len() > 18 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Values seen so far, by column in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    columns: Vec<ColumnScan>,
    places: HashMap<String, usize>,
    pub(crate) rows: u64,
    sample_rows: Vec<HashMap<String, String>>,
    pub(crate) warnings: Vec<String>,
}

/// What a scan found.
pub(crate) struct Scanned {
    pub(crate) columns: Vec<ColumnConfig>,
    pub(crate) found: Vec<FoundColumn>,
    pub(crate) sample_rows: Vec<Vec<Option<String>>>,
    pub(crate) warnings: Vec<String>,
}

impl Scan {
    /// The place of a column, new at the end. `None` where there are too many.
    pub(crate) fn column(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.columns.len() >= COLUMNS_MAX {
            return None;
        }
        let place = self.columns.len();
        let nulls = self.rows;
        self.columns.push(ColumnScan { name: name.to_string(), nulls, ..ColumnScan::default() });
        self.places.insert(name.to_string(), place);
        Some(place)
    }

    /// The name of a column.
    pub(crate) fn name(&self, column: usize) -> Option<&str> {
        self.columns.get(column).map(|scan| scan.name.as_str())
    }

    /// Whether no column was seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A text value; `None` for null.
    pub(crate) fn text(&mut self, column: usize, text: Option<&str>, place: Place<'_>) {
        let Some(scan) = self.columns.get_mut(column) else { return };
        match text {
            None => scan.nulls += 1,
            Some(text) => scan.text(text, place),
        }
    }

    /// A JSON value.
    pub(crate) fn json(&mut self, column: usize, value: &Value, place: Place<'_>) {
        let Some(scan) = self.columns.get_mut(column) else { return };
        let Some(seen) = type_of_json(value) else {
            scan.nulls += 1;
            return;
        };
        let text = shown(value);
        scan.kind_of_rest = Some(scan.kind_of_rest.map_or(seen, |kind| kind.widen(seen)));
        // A float says nothing about how it was written.
        scan.digits.has_exponent |= seen == ColumnType::Float64;
        scan.take(seen, &text, place);
    }

    /// A value whose type its cell tells; `None` for null.
    pub(crate) fn cell(&mut self, column: usize, value: Option<(ColumnType, String)>, place: Place<'_>) {
        let Some(scan) = self.columns.get_mut(column) else { return };
        let Some((seen, text)) = value else {
            scan.nulls += 1;
            return;
        };
        scan.kind_of_rest = Some(scan.kind_of_rest.map_or(seen, |kind| kind.widen(seen)));
        // A cell holds a float, however it shows it.
        scan.digits.has_exponent |= seen == ColumnType::Float64;
        scan.take(seen, &text, place);
    }

    /// Whether the next row is shown.
    pub(crate) fn wants_row(&self) -> bool {
        self.sample_rows.len() < SAMPLE_ROWS_MAX
    }

    /// A row to be shown: columns with their values.
    pub(crate) fn show_row(&mut self, row: HashMap<String, String>) {
        self.sample_rows.push(row);
    }

    pub(crate) fn finish(mut self, chosen: &[ColumnConfig]) -> Scanned {
        let mut warnings = std::mem::take(&mut self.warnings);
        let (mut columns, mut found) = (Vec::new(), Vec::new());
        let rows = self.rows;
        for mut scan in self.columns {
            // Records of JSON lack the fields that are null.
            scan.nulls = rows.saturating_sub(scan.values);
            let mut own = Vec::new();
            let (mut column, mut entry) = scan.finish(&mut own);
            if let Some(wanted) = chosen.iter().find(|wanted| wanted.name == column.name) {
                let inferred = std::mem::replace(&mut column.column_type, wanted.column_type);
                entry.type_name = wanted.column_type.to_string();
                entry.reason =
                    (inferred != wanted.column_type).then(|| format!("as given; found was {inferred}"));
            } else {
                warnings.append(&mut own);
            }
            columns.push(column);
            found.push(entry);
        }
        let row = |mut row: HashMap<String, String>| columns.iter().map(|c| row.remove(&c.name)).collect();
        let sample_rows = self.sample_rows.into_iter().map(row).collect();
        Scanned { columns, found, sample_rows, warnings }
    }
}

/// A JSON value as text.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str]) -> (String, Option<String>, Vec<String>) {
        let mut scan = Scan::default();
        let column = scan.column("c").expect("one column");
        for (at, value) in values.iter().enumerate() {
            scan.text(column, Some(value), Place { file: "/data/a.csv", line: at as u64 + 2 });
            scan.rows += 1;
        }
        let mut done = scan.finish(&[]);
        let column = done.found.remove(0);
        (column.type_name, column.reason, done.warnings)
    }

    #[test]
    fn a_column_says_which_cell_made_its_type() {
        let (kind, reason, _) = found(&["1", "2", "x7"]);
        assert_eq!(kind, "string");
        assert_eq!(reason.as_deref(), Some("`x7` (line 4 of a.csv) is no int64, so the column is string"));
        let (kind, reason, _) = found(&["007", "123"]);
        assert_eq!(kind, "string");
        assert!(reason.expect("why").contains("leading zero"));
        assert_eq!(found(&["1", "2.5"]).0, "float64");
        assert_eq!(found(&["2013-01-31", "2013-01-31 10:00:00"]).0, "timestamp");
    }

    #[test]
    fn numbers_of_one_scale_are_exact_and_others_only_where_a_float_would_lose_digits() {
        assert_eq!(found(&["1.50", "-20.25"]).0, "decimal(18,2)");
        assert_eq!(found(&["1.5", "20.25"]).0, "float64");
        assert_eq!(found(&["1", "20.25"]).0, "float64");
        assert_eq!(found(&["1.5e3", "20.25"]).0, "float64");
        assert_eq!(found(&["12345678901234567.5", "20.25"]).0, "decimal(19,2)");
    }

    #[test]
    fn words_for_null_are_pointed_out() {
        let (kind, _, warnings) = found(&["1", "NA", "3"]);
        assert_eq!(kind, "string");
        assert!(warnings[0].contains("would be int64 but for 1 times `NA`"), "{warnings:?}");
        assert!(found(&["NA", "NB"]).2.is_empty());
    }
}
