//! Avro object container files: read block by block, straight into columns.
//!
//! `schema` reads the file's schema, `container` gives its blocks, `decode` makes columns of them (`input` reads their
//! numbers), `json` makes text of what no
//! column can hold. Source: Apache Avro specification 1.12.

mod container;
mod decode;
mod input;
mod json;
mod schema;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use tarn_core::files::{FileChunk, FileProblem, FileReader, FilesFault};

use super::OpenFile;
use super::columns::{Columns, with_constants};
use super::infer::cut;
use super::text::broken;
use container::{Block, Container};
use decode::Rows;
use input::Input;
use schema::Layout;

/// Rows of a chunk, and bytes after which it is given earlier.
const CHUNK_ROWS: usize = 8_192;
const CHUNK_BYTES: usize = 32 << 20;
/// Rows looked at in the first file.
const SAMPLE_ROWS: usize = 1_000;
/// Characters of a record kept with its problem.
const RECORD_CHARS: usize = 2_000;

/// Takes the columns of a file in; of the first one some rows too. Errors: a column of another kind than before.
pub(crate) async fn see(columns: &mut Columns, open: OpenFile) -> Result<(), FilesFault> {
    let is_first = columns.is_empty();
    let file = open.shown.clone();
    let mut reader = AvroReader::open(open, Vec::new(), 0).await?;
    columns.see(&file, &reader.schema)?;
    for (name, why) in &reader.layout.reasons {
        columns.say_why(name, why.clone());
    }
    if is_first {
        reader.chunk_rows = SAMPLE_ROWS;
        let first = reader.next().await?.map(|chunk| chunk.rows);
        columns.rows += first.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        columns.show(first.as_ref());
    }
    Ok(())
}

/// Rows of one Avro file.
pub(crate) struct AvroReader {
    container: Container,
    file: String,
    layout: Layout,
    schema: SchemaRef,
    constants: Vec<(FieldRef, ArrayRef)>,
    chunk_rows: usize,
    /// The block at work, and how much of it is done: bytes and records.
    block: Option<(Block, usize, u64)>,
    /// Records before the next one.
    record: u64,
    /// Records still to be passed over.
    skip: u64,
}

impl AvroReader {
    /// Opens a file behind its first `skip` records. Errors: it is no Avro file, or its schema cannot be read.
    pub(crate) async fn open(
        open: OpenFile,
        constants: Vec<(FieldRef, ArrayRef)>,
        skip: u64,
    ) -> Result<Self, FilesFault> {
        let file = open.shown.clone();
        let container = Container::open(open).await?;
        let layout = Layout::parse(container.schema()).map_err(|what| broken(&file, &what))?;
        let schema = Rows::new(&layout).schema();
        Ok(Self {
            container,
            file,
            layout,
            schema,
            constants,
            chunk_rows: CHUNK_ROWS,
            block: None,
            record: 0,
            skip,
        })
    }

    /// The next block that holds records behind those passed over. Returns whether there is one.
    async fn next_block(&mut self) -> Result<bool, FilesFault> {
        while let Some(head) = self.container.next_head().await? {
            if head.records <= self.skip {
                self.skip -= head.records;
                self.record += head.records;
                self.container.pass(&head).await?;
                continue;
            }
            let block = self.container.block(head).await?;
            self.block = Some((block, 0, 0));
            return Ok(true);
        }
        Ok(false)
    }

    /// Decodes records of the block at work until `rows` is full or the block is done.
    fn decode(&mut self, rows: &mut Taken) -> Result<(), FilesFault> {
        let Some((block, at, done)) = &mut self.block else { return Ok(()) };
        let mut input = Input::new(&block.data, *at);
        while *done < block.head.records && !rows.is_full(self.chunk_rows, input.at() - *at + input.weight())
        {
            let begin = input.at();
            let problem = rows.rows.read(&self.layout, &mut input).map_err(|what| {
                let place = format!("block {} at byte {}", block.head.number, block.head.offset);
                broken(&self.file, &format!("record {} in {place}: {what}", self.record + 1))
            })?;
            *done += 1;
            self.record += 1;
            if self.skip > 0 {
                self.skip -= 1;
                rows.keep.push(false);
                continue;
            }
            rows.records += 1;
            rows.keep.push(problem.is_none());
            if let Some(reason) = problem {
                let record = json::record(&self.layout, &mut Input::new(&block.data, begin));
                let record = cut(&record.unwrap_or_default(), RECORD_CHARS);
                rows.problems.push_back(FileProblem {
                    file: self.file.clone(),
                    line: self.record,
                    reason,
                    record,
                });
            }
        }
        rows.bytes += input.at() - *at + input.weight();
        *at = input.at();
        if *done < block.head.records {
            return Ok(());
        }
        let left = block.data.len() - *at;
        let (number, offset) = (block.head.number, block.head.offset);
        self.block = None;
        match left {
            0 => Ok(()),
            left => {
                let what =
                    format!("block {number} at byte {offset} has {left} bytes more than its records take");
                Err(broken(&self.file, &what))
            }
        }
    }
}

/// Records taken so far.
struct Taken {
    rows: Rows,
    /// For each one whether it is a row.
    keep: Vec<bool>,
    problems: VecDeque<FileProblem>,
    records: u64,
    bytes: usize,
}

impl Taken {
    fn is_full(&self, rows: usize, bytes: usize) -> bool {
        self.keep.len() >= rows || self.bytes + bytes >= CHUNK_BYTES
    }

    fn batch(
        &mut self,
        schema: &SchemaRef,
        constants: &[(FieldRef, ArrayRef)],
    ) -> Result<RecordBatch, ArrowError> {
        let mut batch = self.rows.finish(Arc::clone(schema))?;
        if self.keep.iter().any(|keep| !keep) {
            batch = filter_record_batch(&batch, &BooleanArray::from(std::mem::take(&mut self.keep)))?;
        }
        with_constants(&batch, constants)
    }
}

#[async_trait]
impl FileReader for AvroReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        let mut taken = Taken {
            rows: Rows::new(&self.layout),
            keep: Vec::new(),
            problems: VecDeque::new(),
            records: 0,
            bytes: 0,
        };
        while !taken.is_full(self.chunk_rows, 0) {
            if self.block.is_none() && !self.next_block().await? {
                break;
            }
            self.decode(&mut taken)?;
        }
        if taken.keep.is_empty() {
            return Ok(None);
        }
        let rows = taken.batch(&self.schema, &self.constants);
        let rows = rows.map_err(|error| broken(&self.file, &error.to_string()))?;
        Ok(Some(FileChunk { rows, problems: taken.problems.into(), records: taken.records }))
    }

    fn bytes_read(&self) -> u64 {
        self.container.offset()
    }
}
