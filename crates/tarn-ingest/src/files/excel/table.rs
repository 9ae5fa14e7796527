//! A sheet as a table: which columns it has, and its rows below their names.

use std::collections::VecDeque;
use std::sync::Arc;

use super::book::Book;
use super::place::Range;
use super::sheet::{Row, Sheet};
use super::value::Value;
use crate::sources::file::text::header_names;

/// Rows looked at for the last column, where no row names the columns.
const AHEAD_ROWS: usize = 1_000;
const AHEAD_BYTES: usize = 32 << 20;

/// What is asked of a workbook.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// Without it the first sheet that is not hidden.
    pub(super) sheet: Option<&'a str>,
    pub(super) range: Option<&'a str>,
    /// Without it the first row names the columns where it holds texts alone.
    pub(super) header: Option<bool>,
}

/// Rows of a sheet.
pub(super) struct Table {
    sheet: Sheet,
    /// Rows that were looked at.
    waiting: VecDeque<Row>,
    pub(super) sheet_name: String,
    pub(super) header: bool,
    /// Names of the columns, from the first one on.
    pub(super) names: Vec<String>,
    pub(super) first_column: u32,
    pub(super) first_row: u32,
}

fn names_columns(row: &Row) -> bool {
    let mut texts = Vec::new();
    for (_, value) in &row.cells {
        match value {
            Value::Text(text) if value.kind() == Some(crate::records::ColumnType::String) => texts.push(text),
            _ => return false,
        }
    }
    let count = texts.len();
    texts.sort_unstable();
    texts.dedup();
    texts.len() == count
}

impl Table {
    /// Errors: no such sheet or range, or it is damaged; for people.
    pub(super) fn open(book: &Arc<Book>, asked: Asked<'_>) -> Result<Self, String> {
        let range = asked.range.map(Range::parse).transpose()?;
        let range = range.unwrap_or(Range { first_row: 1, ..Range::default() });
        let (name, xml) = book.sheet(asked.sheet)?;
        let sheet_name = name.to_string();
        let mut sheet = Sheet::new(Arc::clone(book), xml, range);
        let within = |what: String| format!("sheet `{sheet_name}`: {what}");
        let first = sheet.next().map_err(within)?;
        let header = asked.header.unwrap_or_else(|| first.as_ref().is_none_or(names_columns));
        let mut table = Self {
            sheet,
            waiting: VecDeque::new(),
            sheet_name: sheet_name.clone(),
            header,
            names: Vec::new(),
            first_column: range.first_column.unwrap_or(1),
            first_row: range.first_row,
        };
        let Some(first) = first else { return Ok(table) };
        let edge = |row: &Row| row.cells.last().map_or(1, |(column, _)| *column);
        table.first_column =
            range.first_column.or(first.cells.first().map(|(column, _)| *column)).unwrap_or(1);
        table.first_row = first.number;
        let mut last_column = range.last_column.unwrap_or(edge(&first));
        if !header && range.last_column.is_none() {
            let mut bytes = 0;
            while table.waiting.len() < AHEAD_ROWS && bytes < AHEAD_BYTES {
                let Some(row) = table.sheet.next().map_err(within)? else { break };
                last_column = last_column.max(edge(&row));
                bytes += row.bytes;
                table.waiting.push_back(row);
            }
        }
        let columns = table.first_column..=last_column;
        table.names = match header {
            true => {
                let name = |column| first.cell(column).map(Value::shown).unwrap_or_default();
                header_names(&columns.map(name).collect::<Vec<_>>())
            }
            false => (1..=columns.count()).map(|n| format!("column_{n}")).collect(),
        };
        if !header {
            table.waiting.push_front(first);
        }
        Ok(table)
    }

    /// The cells that are read, for people.
    pub(super) fn range(&self) -> String {
        let columns = u32::try_from(self.names.len()).unwrap_or(0).max(1);
        let range = Range {
            first_column: Some(self.first_column),
            first_row: self.first_row,
            last_column: Some(self.first_column + columns - 1),
            last_row: self.sheet.range().last_row,
        };
        range.to_string()
    }

    /// The next row that holds something. Errors: the sheet is damaged, with the cell; for people.
    pub(super) fn next(&mut self) -> Result<Option<Row>, String> {
        if let Some(row) = self.waiting.pop_front() {
            return Ok(Some(row));
        }
        self.sheet.next().map_err(|what| format!("sheet `{}`: {what}", self.sheet_name))
    }

    /// Cells of the columns that have names, in their order.
    pub(super) fn cells<'a>(&self, row: &'a Row) -> impl Iterator<Item = Option<&'a Value>> {
        let first = self.first_column;
        (0..self.names.len()).map(move |at| row.cell(first + u32::try_from(at).unwrap_or(u32::MAX - first)))
    }

    /// The first cell beside the columns that have names.
    pub(super) fn outside(&self, row: &Row) -> Option<u32> {
        let end = self.first_column + u32::try_from(self.names.len()).unwrap_or(0);
        let columns = row.cells.iter().map(|(column, _)| *column);
        columns.into_iter().find(|column| *column < self.first_column || *column >= end)
    }
}
