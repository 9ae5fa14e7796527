//! Apache ORC files: columns from the footer, rows stripe by stripe.
//!
//! The library that decodes them trusts what it reads, so a damaged file may make it panic: that is caught and is an error of
//! the file. `check` and `guard` look at tail and stripes first, with `ints`, `source` gives it bytes, `convert` makes columns of what it gives.

mod check;
mod convert;
mod guard;
mod ints;
mod source;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use orc_rust::{ArrowReaderBuilder, ArrowStreamReader};
use tarn_core::files::{FileChunk, FileReader, FilesFault};

use super::OpenFile;
use super::columns::{Columns, with_constants};
use super::text::broken;
use guard::Place;
use source::{Failure, StoreSource};

const BATCH_ROWS: usize = 8_192;
/// Rows looked at in the first file.
const SAMPLE_ROWS: usize = 1_000;

/// Takes the columns of a file in; of the first one some rows too. Errors: a column of another kind than before.
pub(crate) async fn see(columns: &mut Columns, open: OpenFile) -> Result<(), FilesFault> {
    let is_first = columns.is_empty();
    let file = open.shown.clone();
    let mut reader = OrcReader::open(open, Vec::new(), 0, SAMPLE_ROWS).await?;
    columns.see(&file, &reader.schema)?;
    columns.rows += reader.rows_total;
    if is_first {
        let first = reader.next().await?.map(|chunk| chunk.rows);
        columns.show(first.as_ref());
    }
    Ok(())
}

/// Rows of one ORC file.
pub(crate) struct OrcReader {
    stream: ArrowStreamReader<StoreSource>,
    failure: Failure,
    file: String,
    bytes: u64,
    schema: SchemaRef,
    constants: Vec<(FieldRef, ArrayRef)>,
    /// Rows before the next one, passed over or read.
    rows: u64,
    rows_total: u64,
    /// Rows still to be passed over.
    skip: u64,
}

fn panicked(file: &str, panic: &(dyn Any + Send)) -> FilesFault {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it is damaged");
    broken(file, &format!("it cannot be read as ORC: {}", text.lines().next().unwrap_or_default()))
}

/// What a failed read means: the store's fault, if it was that.
fn fault(file: &str, failure: &Failure, error: &dyn std::error::Error) -> FilesFault {
    let stored = failure.lock().take();
    stored.unwrap_or_else(|| {
        let text = error.to_string();
        broken(file, &format!("it cannot be read as ORC: {}", text.lines().next().unwrap_or_default()))
    })
}

impl OrcReader {
    /// Opens a file behind its first `skip` rows. Errors: it is no ORC file, or holds what no column can.
    pub(crate) async fn open(
        open: OpenFile,
        constants: Vec<(FieldRef, ArrayRef)>,
        skip: u64,
        batch_rows: usize,
    ) -> Result<Self, FilesFault> {
        let (file, bytes) = (open.shown.clone(), open.info.size);
        let tail = check::check(&open).await?;
        let source = StoreSource::new(open, tail);
        let (failure, stripes) = (source.failure(), source.stripes());
        let opened = AssertUnwindSafe(ArrowReaderBuilder::try_new_async(source)).catch_unwind().await;
        let builder = opened
            .map_err(|panic| panicked(&file, panic.as_ref()))?
            .map_err(|error| fault(&file, &failure, &error))?;
        let metadata = builder.file_metadata();
        // Whole stripes are passed over unread; the rest of them is read and left out.
        let (mut rows, mut begin) = (0_u64, None);
        for stripe in metadata.stripe_metadatas() {
            let length = [stripe.index_length(), stripe.data_length(), stripe.footer_length()];
            let end = length.iter().try_fold(stripe.offset(), |end, length| end.checked_add(*length));
            let end = end.filter(|end| *end <= bytes);
            let end = end.ok_or_else(|| broken(&file, "a stripe ends behind the file; is it cut?"))?;
            let (range, footer) = (stripe.offset()..end, stripe.footer_length());
            stripes.lock().push(Place { range, footer });
            if begin.is_none() && rows.saturating_add(stripe.number_of_rows()) <= skip {
                rows += stripe.number_of_rows();
            } else if begin.is_none() {
                begin = usize::try_from(stripe.offset()).ok();
            }
        }
        let rows_total = metadata.number_of_rows();
        let own = std::panic::catch_unwind(AssertUnwindSafe(|| builder.schema()));
        let own = own.map_err(|panic| panicked(&file, panic.as_ref()))?;
        let schema = convert::schema(&own).map_err(|what| broken(&file, &what))?;
        let builder = builder
            .with_batch_size(batch_rows)
            .with_schema(convert::decoded(&own))
            .with_file_byte_range(begin.unwrap_or(usize::MAX)..usize::MAX);
        let built = std::panic::catch_unwind(AssertUnwindSafe(|| builder.build_async()));
        let stream = built.map_err(|panic| panicked(&file, panic.as_ref()))?;
        let skip = skip - rows.min(skip);
        Ok(Self { stream, failure, file, bytes, schema, constants, rows, rows_total, skip })
    }

    async fn batch(&mut self) -> Result<Option<RecordBatch>, FilesFault> {
        let next = AssertUnwindSafe(self.stream.next()).catch_unwind().await;
        let next = next.map_err(|panic| self.near(&panicked(&self.file, panic.as_ref())))?;
        next.transpose().map_err(|error| self.near(&fault(&self.file, &self.failure, &error)))
    }

    fn near(&self, fault: &FilesFault) -> FilesFault {
        let mut fault = fault.clone();
        fault.0.message = format!("{} (near row {})", fault.0.message, self.rows + 1);
        fault
    }
}

#[async_trait]
impl FileReader for OrcReader {
    async fn next(&mut self) -> Result<Option<FileChunk>, FilesFault> {
        loop {
            let Some(batch) = self.batch().await? else {
                // Whatever ended the stream early, rows must not be missed silently.
                return match self.rows == self.rows_total {
                    true => Ok(None),
                    false => {
                        let what =
                            format!("it holds {} rows, its footer says {}", self.rows, self.rows_total);
                        Err(broken(&self.file, &what))
                    }
                };
            };
            let rows = batch.num_rows() as u64;
            self.rows += rows;
            let passed = self.skip.min(rows);
            self.skip -= passed;
            if passed == rows {
                continue;
            }
            let passed = usize::try_from(passed).unwrap_or(usize::MAX);
            let batch = batch.slice(passed, batch.num_rows() - passed);
            let shaped = convert::batch(&batch, &self.schema)
                .and_then(|batch| with_constants(&batch, &self.constants).map_err(|error| error.to_string()));
            let rows = shaped.map_err(|what| self.near(&broken(&self.file, &what)))?;
            let records = rows.num_rows() as u64;
            return Ok(Some(FileChunk { rows, problems: Vec::new(), records }));
        }
    }

    fn bytes_read(&self) -> u64 {
        // Columns lie apart, so rows tell best how far it is.
        let done = u128::from(self.bytes) * u128::from(self.rows) / u128::from(self.rows_total.max(1));
        u64::try_from(done).unwrap_or(self.bytes)
    }
}

/// A reader with the usual size of batches.
pub(crate) async fn open(
    open: OpenFile,
    constants: Vec<(FieldRef, ArrayRef)>,
    skip: u64,
) -> Result<OrcReader, FilesFault> {
    OrcReader::open(open, constants, skip, BATCH_ROWS).await
}

/// Shared with the reader of the bytes.
type Shared<T> = Arc<parking_lot::Mutex<T>>;
