//! Opens a file where it was left.

use arrow::datatypes::SchemaRef;
use tarn_core::{Env, Fault};

use super::bytes::{BytesError, FileBytes, read_range};
use super::config::{Compression, FileConfig, FileFormat};
use super::ledger::Mark;
use super::listing::{FileInfo, Listing};
use super::note;
use super::parquet::{self, ParquetReader};
use super::plan::takes_last;
use super::sink::RowSink;
use super::text::{self, TAIL_BYTES, TextReader, TextStart, tail_sum};
use crate::error::IngestError;
use crate::records::schema_of_columns;
use crate::source::{DeadLetter, SourceTable};

/// Longest header of a CSV file.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// The reader of one file.
pub(super) enum Format {
    Text(Box<TextReader>),
    Parquet(Box<ParquetReader>),
}

/// What to do with a file that was read before.
pub(super) enum Continue {
    /// Read on behind the mark.
    From(Mark),
    /// Only its time changed.
    Unchanged,
    /// What was read is not there any more.
    Rewritten,
}

/// What opening needs and reading does not change.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) config: FileConfig,
    pub(super) listing: Listing,
    pub(super) env: Env,
    pub(super) table: SourceTable,
}

impl Opener {
    pub(super) fn is_local(&self) -> bool {
        self.listing.store.folder().is_some()
    }

    /// The schema of a file's rows. `None` if it has none to take it from.
    pub(super) async fn infer(
        &self,
        file: &FileInfo,
        format: FileFormat,
        compression: Compression,
    ) -> Result<Option<SchemaRef>, BytesError> {
        let columns = match format {
            FileFormat::Parquet => return parquet::infer(&self.listing.store, file).await.map(Some),
            FileFormat::Csv => text::infer_csv(&mut self.bytes(file, 0, compression), &self.config).await?,
            FileFormat::Ndjson => {
                text::infer_json(&mut self.bytes(file, 0, compression), &self.config).await?
            }
        };
        Ok(columns.map(|columns| schema_of_columns(&columns)))
    }

    /// Opens a file behind `from`; also reports columns that the table does not have.
    pub(super) async fn open(
        &self,
        file: &FileInfo,
        from: Option<Mark>,
        (format, compression): (FileFormat, Compression),
        schema: SchemaRef,
    ) -> Result<(Format, Vec<DeadLetter>), BytesError> {
        if format != FileFormat::Parquet {
            let reader = self.open_text(file, from, format, compression, &schema).await?;
            return Ok((Format::Text(Box::new(reader)), Vec::new()));
        }
        let skip = from.map_or(0, |mark| mark.read);
        let (table, shown) = (self.table.clone(), self.listing.shown(&file.path));
        let opened = ParquetReader::open(&self.listing.store, file, skip, schema, table, shown).await?;
        Ok((Format::Parquet(Box::new(opened.0)), opened.1))
    }

    /// Whether a file that was read before can be read on.
    pub(super) async fn continue_from(
        &self,
        file: &FileInfo,
        mark: Mark,
        format: FileFormat,
        compression: Compression,
    ) -> Result<Continue, BytesError> {
        if format == FileFormat::Parquet || compression == Compression::Gzip {
            return Ok(if mark.partial && mark.tag == file.tag {
                Continue::From(mark)
            } else {
                Continue::Rewritten
            });
        }
        if file.size < mark.read {
            return Ok(Continue::Rewritten);
        }
        let tail = self.read_tail(file, mark.read).await?;
        match tail_sum(&tail) == mark.tail {
            true if file.size == mark.read && !mark.partial => Ok(Continue::Unchanged),
            true => Ok(Continue::From(mark)),
            false => Ok(Continue::Rewritten),
        }
    }

    /// Checksum of the file's last bytes; 0 if they cannot be read any more. Errors: the store's, but for a lost file.
    pub(super) async fn tail_at_end(&self, file: &FileInfo) -> Result<u32, IngestError> {
        match self.read_tail(file, file.size).await {
            Ok(tail) => Ok(tail_sum(&tail)),
            Err(BytesError::Store(error)) if error.kind().is_transient() => Err(error),
            Err(_) => Ok(0),
        }
    }

    async fn read_tail(&self, file: &FileInfo, end: u64) -> Result<Vec<u8>, BytesError> {
        if end == 0 {
            return Ok(Vec::new());
        }
        let range = end.saturating_sub(TAIL_BYTES)..end;
        Ok(read_range(&self.listing.store, file, range).await.map_err(BytesError::Store)?.to_vec())
    }

    fn bytes(&self, file: &FileInfo, offset: u64, compression: Compression) -> FileBytes {
        let (store, file) = (self.listing.store.clone(), file.clone());
        match compression {
            Compression::None => FileBytes::plain(store, file, offset),
            Compression::Gzip => FileBytes::gzip(store, file, self.config.decompressed_max.0),
        }
    }

    async fn open_text(
        &self,
        file: &FileInfo,
        from: Option<Mark>,
        format: FileFormat,
        compression: Compression,
        schema: &SchemaRef,
    ) -> Result<TextReader, BytesError> {
        let columns = note::columns_of(schema).map_err(BytesError::Store)?;
        let sink = RowSink::new(self.table.clone(), self.listing.shown(&file.path), columns.clone());
        let read = from.map_or(0, |mark| mark.read);
        // A compressed file is read from its start, and its known records are skipped.
        let (offset, lines) = match compression {
            Compression::None => (read, from.map_or(0, |mark| mark.lines)),
            Compression::Gzip => (0, 0),
        };
        let needs_header = offset > 0 && format == FileFormat::Csv && self.config.csv.header;
        let header = if needs_header {
            let end = file.size.min(HEADER_BYTES_MAX);
            let first = read_range(&self.listing.store, file, 0..end).await.map_err(BytesError::Store)?;
            let header =
                text::read_header(&self.config.csv, &first, end == file.size).map_err(BytesError::Store)?;
            Some(header.ok_or_else(|| BytesError::File("its header is longer than 1 MiB".to_string()))?)
        } else {
            None
        };
        let start = TextStart {
            bytes: self.bytes(file, offset, compression),
            offset,
            lines,
            tail: self.read_tail(file, offset).await?,
            skip_until: read,
            header,
            take_last: compression == Compression::Gzip
                || takes_last(&self.config, file, self.env.clock.now_us(), self.is_local()),
        };
        match format {
            FileFormat::Csv => {
                TextReader::csv(start, &self.config.csv, columns, sink).map_err(BytesError::Store)
            }
            FileFormat::Ndjson | FileFormat::Parquet => Ok(TextReader::json(start, columns, sink)),
        }
    }
}
