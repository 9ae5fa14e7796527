//! Rows of a text file under construction, and the records that do not fit.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use serde_json::Value;

use super::csv::CsvRecord;
use crate::records::{Cell, ColumnConfig, RowBuilder, cell_of_json, cell_of_text};
use crate::source::{DeadLetter, SourceTable};

/// Rows with the place behind each of them in the file.
pub(super) struct FileRows {
    pub(super) columns: Vec<ArrayRef>,
    /// Grows from row to row; text: offset behind the row, Parquet: number of the row, from 1.
    pub(super) ends: Vec<u64>,
}

/// Collects rows of one file.
pub(super) struct RowSink {
    table: SourceTable,
    /// The file, for people.
    shown: String,
    columns: Vec<ColumnConfig>,
    builder: RowBuilder,
    ends: Vec<u64>,
    letters: Vec<DeadLetter>,
    /// Names of fields that the table does not have, each reported once per file.
    reported: BTreeSet<String>,
}

/// Distinct unknown fields reported per file.
const REPORTED_MAX: usize = 100;

impl RowSink {
    pub(super) fn new(table: SourceTable, shown: String, columns: Vec<ColumnConfig>) -> Self {
        let builder = RowBuilder::new(&columns);
        Self {
            table,
            shown,
            columns,
            builder,
            ends: Vec::new(),
            letters: Vec::new(),
            reported: BTreeSet::new(),
        }
    }

    pub(super) fn letter(&mut self, line: u64, record: String, reason: impl Into<String>) {
        let (table, at) = (Some(self.table.clone()), format!("{}:{line}", self.shown));
        self.letters.push(DeadLetter { table, record, reason: reason.into(), at });
    }

    /// Reports a field that the table does not have; its values are left out.
    pub(super) fn unknown_field(&mut self, line: u64, name: &str) {
        if self.reported.len() < REPORTED_MAX && self.reported.insert(name.to_string()) {
            let reason = format!(
                "the table has no column `{name}`; its values in this file are left out. Add it to `schema`, or use \
                 a new source"
            );
            self.letter(line, name.to_string(), reason);
        }
    }

    /// `mapping`: for each column its field; `width`: fields that a record must have; `nulls`: texts for null.
    pub(super) fn csv(
        &mut self,
        record: &CsvRecord<'_>,
        mapping: &[Option<usize>],
        width: usize,
        nulls: &[String],
    ) {
        if record.len() != width {
            let reason = format!("the record has {} fields, {width} are expected", record.len());
            return self.letter(record.line, record.fields().join(","), reason);
        }
        let cell = |(column, field): (&ColumnConfig, &Option<usize>)| {
            let Some(field) = *field else { return Ok(Cell::Null) };
            let text = record.field(field).map_err(|_| format!("column `{}` is not UTF-8", column.name))?;
            if nulls.iter().any(|null| null == text) {
                return Ok(Cell::Null);
            }
            cell_of_text(column.column_type, text).map_err(|why| format!("column `{}`: {why}", column.name))
        };
        let cells: Result<Vec<Cell<'_>>, String> = self.columns.iter().zip(mapping).map(cell).collect();
        match cells {
            Ok(cells) => {
                self.builder.append(&cells);
                self.ends.push(record.end);
            }
            Err(reason) => self.letter(record.line, record.fields().join(","), reason),
        }
    }

    pub(super) fn json(&mut self, text: &[u8], end: u64, line: u64) {
        let shown = || String::from_utf8_lossy(text).into_owned();
        let fields = match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return self.letter(line, shown(), "the line is not a JSON object"),
            Err(error) => return self.letter(line, shown(), format!("the line is not JSON: {error}")),
        };
        for name in fields.keys() {
            if self.columns.iter().all(|column| column.name != *name) {
                self.unknown_field(line, name);
            }
        }
        let cell = |column: &ColumnConfig| {
            let value = fields.get(&column.name).unwrap_or(&Value::Null);
            cell_of_json(column.column_type, value).map_err(|why| format!("column `{}`: {why}", column.name))
        };
        let cells: Result<Vec<Cell<'_>>, String> = self.columns.iter().map(cell).collect();
        match cells {
            Ok(cells) => {
                self.builder.append(&cells);
                self.ends.push(end);
            }
            Err(reason) => self.letter(line, shown(), reason),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.builder.rows() >= 8_192 || self.builder.bytes() >= 2 << 20 || self.letters.len() >= 1_000
    }

    /// What was collected; empty afterwards.
    pub(super) fn take(&mut self) -> Result<(FileRows, Vec<DeadLetter>), ArrowError> {
        let columns = self.builder.finish()?;
        let rows = FileRows { columns, ends: std::mem::take(&mut self.ends) };
        Ok((rows, std::mem::take(&mut self.letters)))
    }
}
