//! The first rows of files, for people.

use arrow::array::{Array, ArrayRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tarn_core::files::FoundColumn;

use super::infer::cut;

/// Rows shown.
pub(crate) const SAMPLE_ROWS: usize = 20;
/// Values shown of a column, and characters of a value.
const SAMPLES: usize = 5;
const CHARS: usize = 80;

/// Values as text, row by row; of columns that are not there all are null.
pub(crate) fn shown_rows(columns: &[Option<&ArrayRef>], rows: usize) -> Vec<Vec<Option<String>>> {
    let options = FormatOptions::default();
    let texts = columns.iter().map(|column| {
        let shown = column.and_then(|column| ArrayFormatter::try_new(column.as_ref(), &options).ok());
        let cell = |row: usize| {
            let shown = shown.as_ref().filter(|_| column.is_some_and(|column| !column.is_null(row)))?;
            Some(cut(&shown.value(row).to_string(), CHARS))
        };
        (0..rows).map(cell).collect::<Vec<_>>()
    });
    let texts: Vec<Vec<Option<String>>> = texts.collect();
    (0..rows).map(|row| texts.iter().map(|column| column[row].clone()).collect()).collect()
}

/// A column whose values stand at place `at` of rows shown.
pub(crate) fn found_column(
    name: &str,
    type_name: String,
    rows: &[Vec<Option<String>>],
    at: usize,
) -> FoundColumn {
    let values: Vec<&String> = rows.iter().filter_map(|row| row.get(at)?.as_ref()).collect();
    let mut samples: Vec<String> = Vec::new();
    for value in &values {
        if samples.len() < SAMPLES && !samples.contains(value) {
            samples.push((*value).clone());
        }
    }
    FoundColumn {
        name: name.to_string(),
        type_name,
        values: values.len() as u64,
        nulls: (rows.len() - values.len()) as u64,
        samples,
        ..FoundColumn::default()
    }
}
