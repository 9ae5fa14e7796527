//! What a client sends, as rows of a table.

use arrow::array::ArrayRef;
use arrow::array::timezone::Tz;
use arrow::datatypes::FieldRef;
use pgwire::error::PgWireResult;
use tarn_query::{ClientCopy, CopyFormat, CopyHeader};

use super::super::error::user_error;
use super::binary::{self, Tuple, Tuples};
use super::columns::Column;
use super::fault::CopyFault;
use super::fields::{Cell, Fields};
use super::lines::{Lines, Quoting};
use super::values::{Value, utf8};

/// Rows and bytes after which rows go to the table.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 8 << 20;

/// Reads rows out of bytes that come in pieces of any size.
#[derive(Debug)]
pub(super) struct Rows {
    reader: Reader,
    columns: Vec<Column>,
    table: String,
    rows: usize,
    bytes: usize,
    /// Rows that were left out.
    pub skipped: u64,
}

/// What does not change while rows are read.
#[derive(Debug)]
struct Reader {
    source: Source,
    copy: ClientCopy,
    /// A column that rows do not have and that is never null.
    missing: Option<String>,
    fields: Fields,
    is_header_next: bool,
    zone: Tz,
}

#[derive(Debug)]
enum Source {
    Lines(Lines),
    Tuples(Tuples),
}

impl Source {
    fn new(copy: &ClientCopy) -> Self {
        let quoting = Quoting { quote: copy.quote, escape: copy.escape };
        match copy.format {
            CopyFormat::Text => Self::Lines(Lines::new(None)),
            CopyFormat::Csv => Self::Lines(Lines::new(Some(quoting))),
            CopyFormat::Binary => Self::Tuples(Tuples::default()),
        }
    }
}

impl Rows {
    /// Another file begins, with a header and lines of its own.
    pub(super) fn begin_file(&mut self) {
        self.reader.source = Source::new(&self.reader.copy);
        self.reader.is_header_next = self.reader.copy.header != CopyHeader::None;
    }

    /// For rows of `columns`. Errors: `COPY` does not read the type of one.
    pub(super) fn new(
        copy: ClientCopy,
        table: &str,
        columns: &[FieldRef],
        missing: Option<&str>,
        zone: Tz,
    ) -> PgWireResult<Self> {
        let source = Source::new(&copy);
        let columns = columns.iter().map(Column::new).collect::<Result<_, _>>();
        let columns: Vec<Column> = columns.map_err(|fault: CopyFault| fault.told(table, 0))?;
        let is_header_next = copy.header != CopyHeader::None;
        let (fields, missing) = (Fields::default(), missing.map(str::to_string));
        let reader = Reader { source, copy, missing, fields, is_header_next, zone };
        Ok(Self { reader, columns, table: table.to_string(), rows: 0, bytes: 0, skipped: 0 })
    }

    /// More comes. Errors: what is wrong with it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> PgWireResult<()> {
        let pushed = match &mut self.reader.source {
            Source::Lines(lines) => lines.push(bytes),
            Source::Tuples(tuples) => tuples.push(bytes),
        };
        pushed.map_err(|fault| self.told(fault))
    }

    /// How far reading is, as errors show it.
    pub(super) fn number(&self) -> u64 {
        match &self.reader.source {
            Source::Lines(lines) => lines.number,
            Source::Tuples(tuples) => tuples.number,
        }
    }

    fn told(&self, fault: CopyFault) -> pgwire::error::PgWireError {
        fault.told(&self.table, self.number())
    }

    /// A batch of rows, once there are enough of them or the data has ended. Errors: what is wrong with the data.
    pub(super) fn next(&mut self, is_end: bool) -> PgWireResult<Option<Vec<ArrayRef>>> {
        while self.rows < BATCH_ROWS && self.bytes < BATCH_BYTES {
            match self.reader.read(&mut self.columns, is_end) {
                Ok(Some(bytes)) => {
                    self.rows += 1;
                    self.bytes += bytes;
                }
                Ok(None) if is_end && self.rows > 0 => break,
                Ok(None) => return Ok(None),
                Err(fault) if fault.is_value && self.reader.copy.ignores_errors => self.skipped += 1,
                Err(fault) => return Err(self.told(fault)),
            }
        }
        (self.rows, self.bytes) = (0, 0);
        let arrays = self.columns.iter_mut().map(Column::take).collect::<Result<_, _>>();
        arrays.map(Some).map_err(|error| user_error("XX000", format!("rows could not be taken: {error}")))
    }
}

impl Reader {
    /// Reads a row. Returns its size, `None` where no whole one is there. Errors: what is wrong with it; then no column has
    /// a value of it.
    fn read(&mut self, columns: &mut [Column], is_end: bool) -> Result<Option<usize>, CopyFault> {
        let Self { source, copy, missing, fields, is_header_next, zone } = self;
        match source {
            Source::Tuples(tuples) => {
                let Tuple::Row(row) = tuples.next(columns.len(), is_end)? else { return Ok(None) };
                let mut values = Vec::with_capacity(columns.len());
                for (column, place) in columns.iter().zip(&row) {
                    let value = match place {
                        None => Value::Null,
                        Some(place) => binary::value(&column.kind, tuples.bytes(*place))
                            .map_err(|fault| fault.in_column_of(column.field.name()))?,
                    };
                    check_null(column, &value).map_err(CopyFault::at_line)?;
                    values.push(value);
                }
                check_missing(missing.as_deref()).map_err(CopyFault::at_line)?;
                let size = row.iter().flatten().map(|(start, end)| end - start).sum::<usize>();
                put(columns, values)?;
                Ok(Some(size + 1))
            }
            Source::Lines(lines) => {
                if *is_header_next {
                    let Some(line) = lines.next(is_end)? else { return Ok(None) };
                    *is_header_next = false;
                    if copy.header == CopyHeader::Match {
                        let line = lines.line(line);
                        fields.read(line, copy).map_err(|fault| fault.in_line(line))?;
                        check_header(fields, copy, columns).map_err(|fault| fault.in_line(line))?;
                    }
                }
                let Some(line) = lines.next(is_end)? else { return Ok(None) };
                let line = lines.line(line);
                utf8(line).map_err(CopyFault::at_line)?;
                let in_line = |fault: CopyFault| fault.in_line(line);
                fields.read(line, copy).map_err(in_line)?;
                let values = values_of(fields, copy, columns, *zone).map_err(in_line)?;
                for (column, value) in columns.iter().zip(&values) {
                    check_null(column, value).map_err(in_line)?;
                }
                check_missing(missing.as_deref()).map_err(in_line)?;
                put(columns, values)?;
                Ok(Some(line.len() + 1))
            }
        }
    }
}

fn put(columns: &mut [Column], values: Vec<Value<'_>>) -> Result<(), CopyFault> {
    columns.iter_mut().zip(values).try_for_each(|(column, value)| column.push(value))
}

fn never_null(name: &str) -> CopyFault {
    CopyFault::new("23502", format!("column `{name}` is never null, but a row has no value for it"))
}

fn check_null(column: &Column, value: &Value<'_>) -> Result<(), CopyFault> {
    match *value == Value::Null && !column.field.is_nullable() {
        true => Err(never_null(column.field.name())),
        false => Ok(()),
    }
}

fn check_missing(missing: Option<&str>) -> Result<(), CopyFault> {
    missing.map_or(Ok(()), |name| {
        Err(never_null(name).hint("name it among the columns of COPY, and give it in every row"))
    })
}

/// The values of a line. Errors: it has more or fewer fields than there are columns, one is none of its type.
fn values_of<'a>(
    fields: &'a Fields,
    copy: &'a ClientCopy,
    columns: &[Column],
    zone: Tz,
) -> Result<Vec<Value<'a>>, CopyFault> {
    if fields.cells.len() > columns.len() {
        return Err(CopyFault::new("22P04", "extra data after last expected column"));
    }
    let mut values = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let name = column.field.name();
        let text = match fields.cells.get(at) {
            None => return Err(CopyFault::new("22P04", format!("missing data for column \"{name}\""))),
            Some(Cell::Text(start, end)) => Some(fields.bytes(*start, *end)),
            // The default of every column is null.
            Some(Cell::Default) => None,
            Some(Cell::Null) if copy.force_not_null.contains(name) => Some(copy.null.as_bytes()),
            Some(Cell::Null) => None,
        };
        let text = text.filter(|text| !(copy.force_null.contains(name) && *text == copy.null.as_bytes()));
        values.push(match text {
            None => Value::Null,
            Some(text) => column.kind.read(text, zone).map_err(|fault| match fault.is_value {
                true => fault.in_column(name, Some(text)),
                false => fault,
            })?,
        });
    }
    Ok(values)
}

/// The first line names the columns. Errors: it names others.
fn check_header(fields: &Fields, copy: &ClientCopy, columns: &[Column]) -> Result<(), CopyFault> {
    let wrong = |message: String| Err(CopyFault::new("22P04", message));
    let (got, expected) = (fields.cells.len(), columns.len());
    if got != expected {
        return wrong(format!("wrong number of fields in header line: got {got}, expected {expected}"));
    }
    for (at, (cell, column)) in fields.cells.iter().zip(columns).enumerate() {
        let (number, name) = (at + 1, column.field.name());
        let line = format!("column name mismatch in header line field {number}:");
        match cell {
            Cell::Text(start, end) if fields.bytes(*start, *end) == name.as_bytes() => {}
            Cell::Text(start, end) => {
                let given = String::from_utf8_lossy(fields.bytes(*start, *end)).into_owned();
                return wrong(format!("{line} got \"{given}\", expected \"{name}\""));
            }
            _ => return wrong(format!("{line} got null value (\"{}\"), expected \"{name}\"", copy.null)),
        }
    }
    Ok(())
}
