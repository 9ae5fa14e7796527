//! Excel workbooks (`.xlsx`, `.xlsm`): rows of one sheet.
//!
//! `archive` gives the parts of a workbook, `xml` their tags, `book` what its sheets share, `sheet` the cells of one, `place`
//! their names, `value` what they mean, `table` the columns. Sheets are read as they come and never held as a whole; the
//! file and its texts are, so both are bounded.

mod archive;
mod book;
mod place;
mod sheet;
mod table;
mod value;
mod xml;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tarn_core::files::{ExcelShape, FileChunk, FileProblem, FileReader, FilesFault, FoundFiles, ListedFile};
use tarn_core::{ByteSize, RequestContext};

use super::config::FilesConfig;
use super::hive::repeated;
use super::infer::{COLUMNS_MAX, Place, Scan, cut};
use super::reader::TextPlan;
use super::text::broken;
use super::{FileReaders, OpenFile};
use crate::records::{Cell, ColumnConfig, RowBuilder, cell_of_json, schema_of_columns};
use crate::sources::file::bytes::read_range;
use archive::Archive;
use book::Book;
use place::{Range, letters};
use sheet::Row;
use table::{Asked, Table};
use value::Value;

/// Rows of a chunk, and bytes after which it is given earlier.
const CHUNK_ROWS: u64 = 8_192;
const CHUNK_BYTES: usize = 32 << 20;
/// Workbooks looked at for types.
const LOOKED_AT: usize = 16;
/// Characters of a row kept with its problem.
const RECORD_CHARS: usize = 2_000;
/// Texts of a workbook may take this many times as much as its file.
const TEXTS_TIMES: u64 = 2;

/// Which cells of a workbook are read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExcelOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// `A1:F20`, `A:F`, or `B3` for all from there on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Whether the first row names the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
}

impl ExcelOptions {
    /// Errors: the range is none, for people.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.range.as_deref().map_or(Ok(()), |range| Range::parse(range).map(drop))
    }

    fn asked(&self) -> Asked<'_> {
        Asked { sheet: self.sheet.as_deref(), range: self.range.as_deref(), header: self.header }
    }
}

async fn book(open: &OpenFile, bytes_max: u64) -> Result<Arc<Book>, FilesFault> {
    let size = open.info.size;
    if size > bytes_max {
        let (has, most) = (ByteSize(size), ByteSize(bytes_max));
        return Err(FilesFault::invalid(
            format!("`{}` has {has}; workbooks up to {most} are read", open.shown),
            "save the sheet as CSV, or let an administrator raise `workbook_max` in `[ingest]` of tarn.toml",
        ));
    }
    let bytes = read_range(&open.store, &open.info, 0..size).await.map_err(|error| FilesFault::of(&error))?;
    let texts_max = usize::try_from(bytes_max.saturating_mul(TEXTS_TIMES)).unwrap_or(usize::MAX);
    let book = Archive::open(bytes).and_then(|archive| Book::open(archive, texts_max));
    book.map(Arc::new).map_err(|what| broken(&open.shown, &what))
}

fn open_table(book: &Arc<Book>, asked: Asked<'_>, file: &str) -> Result<Table, FilesFault> {
    if let Some(sheet) = asked.sheet
        && !book.names().iter().any(|name| name == sheet)
    {
        let names = book.names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = format!("name one of its sheets: {names}");
        return Err(FilesFault::invalid(format!("`{file}` has no sheet `{sheet}`"), hint));
    }
    Table::open(book, asked).map_err(|what| broken(file, &what))
}

/// Finds out columns and types; what is settled is kept in `config`. Errors: a workbook that cannot be read.
pub(crate) async fn plan(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &mut FilesConfig,
    listed: &[ListedFile],
    found: &mut FoundFiles,
) -> Result<SchemaRef, FilesFault> {
    config.excel.header = config.excel.header.or(config.csv.header);
    let mut scan = Scan::default();
    let most = if config.infer_rows == 0 { listed.len() } else { LOOKED_AT };
    for file in super::plan::spread(listed, most) {
        let open = files.open(ctx, config, file).await?;
        let book = book(&open, files.workbook_bytes_max).await?;
        let table = open_table(&book, config.excel.asked(), &open.shown)?;
        if found.excel.is_none() {
            config.excel.header = Some(table.header);
            found.excel = Some(ExcelShape {
                sheet: table.sheet_name.clone(),
                range: table.range(),
                header: table.header,
                sheets: book.names(),
            });
        }
        look(table, &open.shown, config.infer_rows, &mut scan, &mut found.warnings)?;
    }
    if scan.is_empty() {
        return Err(FilesFault::invalid(
            format!("the sheet of `{}` that is read holds nothing", config.path),
            "name another one: `excel.sheet`, `--sheet`, or `sheet => '...'`",
        ));
    }
    found.rows_seen = scan.rows;
    let scanned = scan.finish(&config.columns);
    found.columns = scanned.found;
    found.sample_rows = scanned.sample_rows;
    found.warnings.extend(scanned.warnings);
    config.schema = scanned.columns;
    Ok(schema_of_columns(&config.schema))
}

/// Looks at rows of a sheet.
fn look(
    mut table: Table,
    file: &str,
    rows_most: u32,
    scan: &mut Scan,
    warnings: &mut Vec<String>,
) -> Result<(), FilesFault> {
    let most = if rows_most == 0 { u32::MAX } else { rows_most };
    let places: Vec<usize> = table.names.iter().filter_map(|name| scan.column(name)).collect();
    if places.len() < table.names.len() {
        let what = format!("sheet `{}` has more than {COLUMNS_MAX} columns", table.sheet_name);
        return Err(FilesFault::invalid(format!("`{file}`: {what}"), "choose a range, such as `A1:F20`"));
    }
    let mut outside = None;
    for _ in 0..most {
        let Some(row) = table.next().map_err(|what| broken(file, &what))? else { break };
        outside = outside
            .or_else(|| table.outside(&row).map(|column| format!("{}{}", letters(column), row.number)));
        scan.rows += 1;
        let place = Place { file, line: u64::from(row.number) };
        for (column, value) in places.iter().zip(table.cells(&row)) {
            scan.cell(*column, value.and_then(|value| Some((value.kind()?, value.shown()))), place);
        }
        if scan.wants_row() {
            let cells = table.names.iter().zip(table.cells(&row));
            let shown = cells.filter_map(|(name, value)| Some((name.clone(), value?.shown())));
            scan.show_row(shown.collect());
        }
    }
    if let Some(cell) = outside {
        warnings.push(format!(
            "cell {cell} of sheet `{}` stands beside the columns that {} read; choose a range that holds the table alone",
            table.sheet_name,
            table.range(),
        ));
    }
    Ok(())
}

/// Rows of one workbook.
pub(crate) struct ExcelReader {
    table: Table,
    plan: TextPlan,
    /// For each column of the plan its place among those of the sheet.
    mapping: Vec<Option<usize>>,
    builder: RowBuilder,
    problems: Vec<FileProblem>,
    records: u64,
    skip: u64,
    bytes: u64,
    ended: bool,
}

impl ExcelReader {
    /// Opens a workbook behind its first `skip` rows that hold something. Errors: it cannot be read.
    pub(crate) async fn open(
        open: OpenFile,
        options: &ExcelOptions,
        bytes_max: u64,
        plan: TextPlan,
        skip: u64,
    ) -> Result<Self, FilesFault> {
        let book = book(&open, bytes_max).await?;
        let table = open_table(&book, options.asked(), &open.shown)?;
        let place = |(at, column): (usize, &ColumnConfig)| match table.header {
            true => table.names.iter().position(|name| *name == column.name),
            false => Some(at),
        };
        let mapping = plan.columns.iter().enumerate().map(place).collect();
        let mut problems = Vec::new();
        let known = |name: &&String| {
            plan.columns.iter().any(|column| column.name == **name) || plan.shadowed.contains(name)
        };
        for name in table.names.iter().filter(|name| skip == 0 && !known(name)) {
            let reason = format!("the table has no column `{name}`; its values in this file are left out");
            let line = u64::from(table.first_row);
            problems.push(FileProblem { file: open.shown.clone(), line, reason, record: name.clone() });
        }
        let (builder, bytes) = (RowBuilder::new(&plan.columns), open.info.size);
        Ok(Self { table, plan, mapping, builder, problems, records: 0, skip, bytes, ended: false })
    }

    fn take(&mut self, row: &Row) {
        let cells: Vec<Option<&Value>> = self.table.cells(row).collect();
        let values: Vec<serde_json::Value> = self
            .mapping
            .iter()
            .map(|at| {
                at.and_then(|at| cells.get(at).copied().flatten())
                    .map_or(serde_json::Value::Null, Value::json)
            })
            .collect();
        let outside = self.table.outside(row).map(|column| {
            format!("cell {}{} stands beside the columns {}", letters(column), row.number, self.table.range())
        });
        let wrong = self.plan.columns.iter().zip(&self.mapping).find_map(|(column, at)| {
            match cells.get((*at)?).copied().flatten()? {
                Value::Error(error) => {
                    Some(format!("column `{}`: the cell holds the error `{error}`", column.name))
                }
                _ => None,
            }
        });
        let read = match outside.or(wrong) {
            Some(reason) => Err(reason),
            None => {
                let cell = |(column, value): (&ColumnConfig, _)| {
                    cell_of_json(column.column_type, value)
                        .map_err(|why| format!("column `{}`: {why}", column.name))
                };
                self.plan.columns.iter().zip(&values).map(cell).collect::<Result<Vec<Cell<'_>>, String>>()
            }
        };
        match read {
            Ok(cells) => self.builder.append(&cells),
            Err(reason) => self.problems.push(FileProblem {
                file: self.plan.file.clone(),
                line: u64::from(row.number),
                reason,
                record: cut(&row.shown(), RECORD_CHARS),
            }),
        }
    }

    fn chunk(&mut self) -> Result<FileChunk, FilesFault> {
        let rows = self.builder.rows();
        let made = self.builder.finish().and_then(|mut columns| {
            for value in &self.plan.constants {
                columns.push(repeated(value, rows)?);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)
        });
        let rows = made.map_err(|error| broken(&self.plan.file, &error.to_string()))?;
        let (records, problems) = (std::mem::take(&mut self.records), std::mem::take(&mut self.problems));
        Ok(FileChunk { rows, problems, records })
    }
}

#[async_trait]
impl FileReader for ExcelReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        let mut bytes = 0;
        while !self.ended && self.records < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(row) = self.table.next().map_err(|what| broken(&self.plan.file, &what))? else {
                self.ended = true;
                break;
            };
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.records += 1;
            bytes += row.bytes;
            self.take(&row);
        }
        match self.records {
            0 => Ok(None),
            _ => self.chunk().map(Some),
        }
    }

    fn bytes_read(&self) -> u64 {
        // Nobody knows before the end how many rows there are.
        match self.ended {
            true => self.bytes,
            false => self.bytes / 2,
        }
    }
}
