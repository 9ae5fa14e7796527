//! The rows of a sheet that hold something, one after the other.
//!
//! Source: ECMA-376 part 1, sections 18.3.1.4 (cell), 18.3.1.73 (row), 18.18.11 (types of cells).

use std::sync::Arc;

use super::book::{Book, rich_text, unescaped};
use super::place::{COLUMNS_MAX, ROWS_MAX, Range, cell_of, letters};
use super::value::{Shows, Value, number};
use super::xml::{Next, Tag, Xml};

/// Memory that one row may take; a text that cells share counts for each of them.
const ROW_BYTES_MAX: usize = 64 << 20;

/// A row that holds something.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// From 1.
    pub(super) number: u32,
    /// Values with their columns, from 1, in order.
    pub(super) cells: Vec<(u32, Value)>,
    /// Memory that it takes, about.
    pub(super) bytes: usize,
}

impl Row {
    pub(super) fn cell(&self, column: u32) -> Option<&Value> {
        let at = self.cells.binary_search_by_key(&column, |(column, _)| *column).ok()?;
        self.cells.get(at).map(|(_, value)| value)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let cells = self
            .cells
            .iter()
            .map(|(column, value)| format!("{}{}: {}", letters(*column), self.number, value.shown()));
        cells.collect::<Vec<_>>().join(", ")
    }
}

/// Gives the rows of a range of a sheet.
pub(super) struct Sheet {
    book: Arc<Book>,
    xml: Xml,
    range: Range,
    /// Of the last row.
    row: u32,
    has_begun: bool,
    has_ended: bool,
}

/// A value as it stands in its cell: of a formula the result that was kept.
fn value(book: &Book, tag: &Tag, text: &str) -> Result<Option<Value>, String> {
    let shows = book.shows(tag.attribute("s"));
    let trimmed = text.trim();
    Ok(Some(match tag.attribute("t").unwrap_or("n") {
        "s" => {
            let at = trimmed.parse::<usize>().map_err(|_| format!("`{trimmed}` is no number of a text"))?;
            Value::Text(Arc::clone(book.text(at).ok_or_else(|| format!("text {at} is missing"))?))
        }
        "b" => match trimmed {
            "1" | "true" => Value::Boolean(true),
            "0" | "false" => Value::Boolean(false),
            other => return Err(format!("`{other}` is no boolean")),
        },
        // No value is available, as its author says.
        "e" if trimmed == "#N/A" => return Ok(None),
        "e" => Value::Error(trimmed.to_string()),
        "d" if !trimmed.is_empty() => Value::iso(trimmed),
        "n" | "d" if trimmed.is_empty() => return Ok(None),
        "n" => {
            if shows == Shows::Number
                && let Ok(integer) = trimmed.parse::<i64>()
            {
                return Ok(Some(Value::Integer(integer)));
            }
            let parsed = trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
            number(parsed.ok_or_else(|| format!("`{trimmed}` is no number"))?, shows, book.is_1904)
        }
        // Texts of formulas, and those that stand in the cell.
        "str" => Value::Text(unescaped(text.to_string()).into()),
        _ => Value::Text(text.into()),
    }))
}

impl Sheet {
    pub(super) fn new(book: Arc<Book>, xml: Xml, range: Range) -> Self {
        Self { book, xml, range, row: 0, has_begun: false, has_ended: false }
    }

    pub(super) fn range(&self) -> Range {
        self.range
    }

    /// The next row of the range that holds something. Errors: the sheet is damaged, with the cell, for people.
    pub(super) fn next(&mut self) -> Result<Option<Row>, String> {
        while !self.has_ended {
            match self.xml.next()? {
                Next::Open(tag) if tag.name == "sheetData" => self.has_begun = true,
                Next::Close(name) if name == "sheetData" => {
                    self.has_ended = true;
                    // The checksum of the part is compared at its end.
                    while self.xml.next()? != Next::End {}
                }
                Next::Open(tag) if tag.name == "row" && self.has_begun => {
                    let number = match tag.attribute("r") {
                        Some(number) => number.trim().parse().unwrap_or(0),
                        None => self.row + 1,
                    };
                    if number <= self.row || number > ROWS_MAX {
                        return Err(format!("a row behind row {} has no right number", self.row));
                    }
                    self.row = number;
                    if self.range.last_row.is_some_and(|last| last < number) {
                        self.has_ended = true;
                        break;
                    }
                    let row = self.cells(number)?;
                    if number >= self.range.first_row && !row.cells.is_empty() {
                        return Ok(Some(row));
                    }
                }
                Next::End if !self.has_begun => {
                    return Err("the sheet has no cells; is it damaged?".to_string());
                }
                Next::End => return Err("the sheet is cut".to_string()),
                _ => {}
            }
        }
        Ok(None)
    }

    fn cells(&mut self, number: u32) -> Result<Row, String> {
        let mut row = Row { number, ..Row::default() };
        let mut last = 0;
        loop {
            let tag = match self.xml.next()? {
                Next::Open(tag) if tag.name == "c" => tag,
                Next::Close(name) if name == "row" => return Ok(row),
                Next::End => return Err(format!("the sheet is cut in row {number}")),
                _ => continue,
            };
            let column = match tag.attribute("r") {
                Some(name) => cell_of(name).filter(|(_, own)| *own == number).map(|(column, _)| column),
                None => Some(last + 1),
            };
            let column = column.filter(|column| *column > last && *column <= COLUMNS_MAX);
            let column = column.ok_or_else(|| format!("a cell of row {number} has no right name"))?;
            last = column;
            let place = || format!("cell {}{number}", letters(column));
            let Some(value) = self.cell(&tag).map_err(|what| format!("{}: {what}", place()))? else {
                continue;
            };
            if self.range.has_column(column) {
                row.bytes += value.bytes();
                row.cells.push((column, value));
            }
            if row.bytes > ROW_BYTES_MAX {
                return Err(format!("row {number} takes more than {} MiB of memory", ROW_BYTES_MAX >> 20));
            }
        }
    }

    /// The value of the cell that was opened, if it has one. An empty text is none.
    fn cell(&mut self, tag: &Tag) -> Result<Option<Value>, String> {
        let (mut text, mut is_value, mut found) = (String::new(), false, false);
        loop {
            match self.xml.next()? {
                Next::Open(inner) if inner.name == "v" => (is_value, found) = (true, true),
                Next::Close(name) if name == "v" => is_value = false,
                Next::Open(inner) if inner.name == "is" => {
                    (text, found) = (rich_text(&mut self.xml, "is")?, true);
                }
                Next::Text(part) if is_value => text.push_str(&part),
                Next::Close(name) if name == "c" => break,
                Next::End => return Err("the sheet is cut".to_string()),
                _ => {}
            }
        }
        if !found {
            return Ok(None);
        }
        let value = value(&self.book, tag, &text)?;
        Ok(value.filter(|value| !matches!(value, Value::Text(text) if text.is_empty())))
    }
}
