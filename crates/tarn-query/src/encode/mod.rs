//! Results as bytes: JSON, CSV and Arrow IPC, piece by piece, so that a result of any size needs little memory.

mod arrow_ipc;
mod csv;
mod json;
mod types;
mod value;

use std::sync::Arc;

use ::arrow::array::RecordBatch;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};

pub use json::{columns_json, rows_json};
pub use types::{field_type_name, is_uuid, type_name};

use crate::{QueryError, QueryStream, StatsHandle};
use json::JsonEncoder;

/// Pieces are about this long; a single row may be longer.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of a result; an error ends it, after which what came before is incomplete.
pub type ByteStream = BoxStream<'static, Result<Bytes, QueryError>>;

/// The JSON document of `POST /api/v1/query`: `columns`, `rows` (arrays in column order), counts and figures.
///
/// Integers beyond 2^53 and decimals are strings, times ISO-8601, binary values hexadecimal, nested values JSON.
pub fn json(stream: QueryStream) -> ByteStream {
    let encoder = JsonEncoder::new(&stream);
    encode(stream, encoder)
}

/// CSV (RFC 4180) with a header line; null is an empty field, an empty text is `""`, nested values are JSON.
pub fn csv(stream: QueryStream) -> ByteStream {
    let encoder = csv::CsvEncoder::new(&stream.schema());
    encode(stream, encoder)
}

/// The Arrow IPC stream format, uncompressed. Errors: a column type that Arrow IPC cannot hold.
pub fn arrow(stream: QueryStream) -> Result<ByteStream, QueryError> {
    let encoder = arrow_ipc::IpcEncoder::new(&stream.schema())?;
    Ok(encode(stream, encoder))
}

/// Writes one format.
trait Encoder: Send + 'static {
    /// What stands before the rows.
    fn head(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
    /// Rows from `from` on, until the batch or the piece is full; gives the row to go on with.
    fn rows(&mut self, batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, QueryError>;
    /// What stands behind the rows.
    fn tail(&mut self, stats: &StatsHandle, out: &mut Vec<u8>) -> Result<(), QueryError>;
}

struct Encoding<E> {
    stream: QueryStream,
    encoder: E,
    stats: StatsHandle,
    current: Option<(RecordBatch, usize)>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Head,
    Rows,
    Done,
}

fn encode<E: Encoder>(stream: QueryStream, encoder: E) -> ByteStream {
    let stats = stream.stats();
    let start = Encoding { stream, encoder, stats, current: None, stage: Stage::Head };
    stream::unfold(start, |mut encoding| async move {
        let piece = encoding.piece().await.transpose()?;
        if piece.is_err() {
            encoding.stage = Stage::Done;
        }
        Some((piece, encoding))
    })
    // A body of a response is polled once more after its end.
    .fuse()
    .boxed()
}

impl<E: Encoder> Encoding<E> {
    async fn piece(&mut self) -> Result<Option<Bytes>, QueryError> {
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        if self.stage == Stage::Done {
            return Ok(None);
        }
        if self.stage == Stage::Head {
            self.encoder.head(&mut out)?;
            self.stage = Stage::Rows;
        }
        while out.len() < PIECE_BYTES {
            let (batch, from) = match self.current.take() {
                Some(current) => current,
                None => match self.stream.next().await.transpose()? {
                    Some(batch) => (batch, 0),
                    None => {
                        self.encoder.tail(&self.stats, &mut out)?;
                        self.stage = Stage::Done;
                        break;
                    }
                },
            };
            let next = self.encoder.rows(&batch, from, &mut out)?;
            if next < batch.num_rows() {
                self.current = Some((batch, next));
            }
        }
        Ok(Some(Bytes::from(out)))
    }
}

fn unwritable(error: &::arrow::error::ArrowError) -> QueryError {
    QueryError::Execution {
        message: format!("the result cannot be written in this format: {error}"),
        hint: Some("cast the column to text".into()),
    }
}

type Schema = Arc<::arrow::datatypes::Schema>;
