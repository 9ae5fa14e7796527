//! Rows of one text file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde_json::Value;
use tarn_core::files::{FileChunk, FileProblem, FileReader, FilesFault};

use super::hive::repeated;
use super::infer::cut;
use super::text::{Raw, TextRecords, broken};
use crate::records::{Cell, ColumnConfig, RowBuilder, cell_of_json, cell_of_text};
use crate::sources::file::csv::CsvRecord;
use crate::sources::file::text::header_names;

/// Rows of a chunk at most, about.
const CHUNK_ROWS: u64 = 8_192;
/// Characters of a record kept with its problem.
const RECORD_CHARS: usize = 2_000;

/// What reading a file needs beside its records.
pub(crate) struct TextPlan {
    /// For people.
    pub(crate) file: String,
    /// Columns of the file.
    pub(crate) columns: Vec<ColumnConfig>,
    /// Columns of its folders, one value each.
    pub(crate) constants: Vec<ArrayRef>,
    /// All of them.
    pub(crate) schema: SchemaRef,
    pub(crate) header: bool,
    pub(crate) nulls: Vec<String>,
    /// Names that folders have too: theirs are taken.
    pub(crate) shadowed: Vec<String>,
}

pub(crate) struct TextReader {
    records: TextRecords,
    plan: TextPlan,
    rows: Rows,
    /// Records still to be passed over.
    skip: u64,
    ended: bool,
}

/// For each column its field, and how many fields a record has.
enum Header {
    Awaited,
    Known(Vec<Option<usize>>, usize),
}

struct Rows {
    builder: RowBuilder,
    problems: Vec<FileProblem>,
    records: u64,
    header: Header,
}

impl TextReader {
    pub(crate) fn new(records: TextRecords, plan: TextPlan, skip: u64) -> Self {
        let header = match plan.header {
            true => Header::Awaited,
            false => Header::Known((0..plan.columns.len()).map(Some).collect(), plan.columns.len()),
        };
        let builder = RowBuilder::new(&plan.columns);
        let rows = Rows { builder, problems: Vec::new(), records: 0, header };
        Self { records, plan, rows, skip, ended: false }
    }

    fn chunk(&mut self) -> Result<FileChunk, FilesFault> {
        let rows = self.rows.builder.rows();
        let made = self.rows.builder.finish().and_then(|mut columns| {
            for value in &self.plan.constants {
                columns.push(repeated(value, rows)?);
            }
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)
        });
        let rows = made.map_err(|error| broken(&self.plan.file, &error.to_string()))?;
        let records = std::mem::take(&mut self.rows.records);
        Ok(FileChunk { rows, problems: std::mem::take(&mut self.rows.problems), records })
    }
}

#[async_trait]
impl FileReader for TextReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        while !self.ended && self.rows.records < CHUNK_ROWS {
            let (plan, rows, skip) = (&self.plan, &mut self.rows, &mut self.skip);
            let go_on = self.records.step(&mut |record| rows.take(plan, record, skip)).await?;
            self.ended = !go_on;
        }
        match self.rows.records {
            0 => Ok(None),
            _ => self.chunk().map(Some),
        }
    }

    fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }
}

impl Rows {
    fn take(&mut self, plan: &TextPlan, record: Raw<'_>, skip: &mut u64) {
        if let (Raw::Csv(record), Header::Awaited) = (&record, &self.header) {
            return self.take_header(plan, record, *skip == 0);
        }
        if *skip > 0 {
            *skip -= 1;
            return;
        }
        self.records += 1;
        match record {
            Raw::Csv(record) => self.csv(plan, &record),
            Raw::Json(text, line) => self.json(plan, text, line),
        }
    }

    fn problem(&mut self, plan: &TextPlan, line: u64, record: &str, reason: String) {
        let record = cut(record, RECORD_CHARS);
        self.problems.push(FileProblem { file: plan.file.clone(), line, reason, record });
    }

    fn take_header(&mut self, plan: &TextPlan, record: &CsvRecord<'_>, is_new: bool) {
        let names = header_names(&record.fields());
        let place = |column: &ColumnConfig| names.iter().position(|name| *name == column.name);
        let mapping: Vec<Option<usize>> = plan.columns.iter().map(place).collect();
        let known = |name: &String| {
            plan.columns.iter().any(|column| column.name == *name) || plan.shadowed.contains(name)
        };
        for name in names.iter().filter(|name| is_new && !known(name)) {
            let reason = format!("the table has no column `{name}`; its values in this file are left out");
            self.problem(plan, record.line, name, reason);
        }
        self.header = Header::Known(mapping, names.len());
    }

    fn csv(&mut self, plan: &TextPlan, record: &CsvRecord<'_>) {
        let Header::Known(mapping, width) = &self.header else { return };
        if record.len() != *width {
            let reason = format!("the record has {} fields, {width} are expected", record.len());
            return self.problem(plan, record.line, &record.fields().join(","), reason);
        }
        let cell = |(column, field): (&ColumnConfig, &Option<usize>)| {
            let Some(field) = *field else { return Ok(Cell::Null) };
            let text = record.field(field).map_err(|_| format!("column `{}` is not UTF-8", column.name))?;
            if plan.nulls.iter().any(|null| null == text) {
                return Ok(Cell::Null);
            }
            cell_of_text(column.column_type, text).map_err(|why| format!("column `{}`: {why}", column.name))
        };
        let cells: Result<Vec<Cell<'_>>, String> = plan.columns.iter().zip(mapping).map(cell).collect();
        match cells {
            Ok(cells) => self.builder.append(&cells),
            Err(reason) => self.problem(plan, record.line, &record.fields().join(","), reason),
        }
    }

    fn json(&mut self, plan: &TextPlan, text: &[u8], line: u64) {
        let shown = || String::from_utf8_lossy(text).into_owned();
        let fields = match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return self.problem(plan, line, &shown(), "it is not a JSON object".to_string()),
            Err(error) => return self.problem(plan, line, &shown(), format!("it is not JSON: {error}")),
        };
        let unknown = fields.keys().find(|name| {
            plan.columns.iter().all(|column| column.name != **name) && !plan.shadowed.contains(name)
        });
        if let Some(name) = unknown {
            let reason = format!("the table has no column `{name}`; look at more rows (`--infer-rows 0`)");
            return self.problem(plan, line, &shown(), reason);
        }
        let cell = |column: &ColumnConfig| {
            let value = fields.get(&column.name).unwrap_or(&Value::Null);
            cell_of_json(column.column_type, value).map_err(|why| format!("column `{}`: {why}", column.name))
        };
        let cells: Result<Vec<Cell<'_>>, String> = plan.columns.iter().map(cell).collect();
        match cells {
            Ok(cells) => self.builder.append(&cells),
            Err(reason) => self.problem(plan, line, &shown(), reason),
        }
    }
}
