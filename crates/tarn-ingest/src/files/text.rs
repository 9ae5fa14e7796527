//! The records of a text file: bytes, decompressed, decoded, split.

use bytes::Bytes;
use encoding_rs::Encoding;
use serde_json::Value;
use tarn_core::files::FilesFault;
use tarn_storage::Store;

use super::config::{FilesConfig, FilesFormat};
use super::decode::{TextDecoder, encoding_of};
use super::values::ValueSplitter;
use crate::sources::file::bytes::{BytesError, FileBytes};
use crate::sources::file::config::{Compression, CsvConfig};
use crate::sources::file::csv::{CsvRecord, CsvSplitter};
use crate::sources::file::lines::{Line, LineSplitter};
use crate::sources::file::listing::FileInfo;

/// A record as it stands in the file.
pub(crate) enum Raw<'a> {
    /// Of a CSV file.
    Csv(CsvRecord<'a>),
    /// Text that should be a JSON value, and its line.
    Json(&'a [u8], u64),
}

#[expect(clippy::large_enum_variant, reason = "one per open file")]
enum Splitter {
    Csv(CsvSplitter),
    /// Lines or values, found out from the first piece.
    Json,
    Lines(LineSplitter),
    Values(ValueSplitter),
}

/// Gives the records of one file.
pub(crate) struct TextRecords {
    bytes: FileBytes,
    decoder: TextDecoder,
    splitter: Splitter,
    file: String,
    ended: bool,
}

/// Bytes of a file, decompressed.
pub(crate) fn bytes_of(store: &Store, file: &FileInfo, compression: Compression) -> FileBytes {
    match compression {
        Compression::None => FileBytes::plain(store.clone(), file.clone(), 0),
        Compression::Gzip => FileBytes::gzip(store.clone(), file.clone(), FilesConfig::decompressed_max()),
    }
}

/// What a failed read means. `file`: for people.
pub(crate) fn fault(file: &str, error: BytesError) -> FilesFault {
    match error {
        BytesError::Store(error) => FilesFault::of(&error),
        BytesError::File(what) => broken(file, &what),
    }
}

/// A file that is not what it should be.
pub(crate) fn broken(file: &str, what: &str) -> FilesFault {
    FilesFault::invalid(format!("`{file}`: {what}"), "mend the file, or leave it out of the path")
}

impl TextRecords {
    /// Errors: an encoding or a character that cannot be one.
    pub(crate) fn new(
        bytes: FileBytes,
        file: String,
        format: FilesFormat,
        csv: &CsvConfig,
        encoding: Option<&str>,
    ) -> Result<Self, FilesFault> {
        let encoding = encoding.map_or(Ok(encoding_rs::UTF_8 as &'static Encoding), encoding_of);
        let encoding = encoding.map_err(|error| FilesFault::of(&error))?;
        let splitter = match format {
            FilesFormat::Csv => {
                Splitter::Csv(CsvSplitter::new(csv, 0, 0).map_err(|error| FilesFault::of(&error))?)
            }
            _ => Splitter::Json,
        };
        Ok(Self { bytes, decoder: TextDecoder::new(encoding), splitter, file, ended: false })
    }

    /// Bytes of the file that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes.offset()
    }

    /// Gives the records of the next piece. Returns whether there may be more.
    pub(crate) async fn step(&mut self, take: &mut (dyn FnMut(Raw<'_>) + Send)) -> Result<bool, FilesFault> {
        if self.ended {
            return Ok(false);
        }
        let piece = self.bytes.next().await.map_err(|error| fault(&self.file, error))?;
        self.ended = piece.is_none();
        let piece = piece.unwrap_or_default();
        if piece.is_empty() && !self.ended {
            return Ok(true);
        }
        let text = self.decoder.decode(piece).map_err(|what| broken(&self.file, &what))?;
        if !text.is_empty() {
            self.split(&text, take)?;
        }
        if self.ended {
            self.split(&Bytes::new(), take)?;
        }
        Ok(!self.ended)
    }

    fn split(&mut self, text: &[u8], take: &mut (dyn FnMut(Raw<'_>) + Send)) -> Result<(), FilesFault> {
        if matches!(self.splitter, Splitter::Json) {
            let blank = text.iter().all(u8::is_ascii_whitespace);
            if blank {
                return Ok(());
            }
            self.splitter = match is_by_line(text) {
                true => Splitter::Lines(LineSplitter::new(0, 0)),
                false => Splitter::Values(ValueSplitter::default()),
            };
        }
        let long = |line: u64| {
            let what =
                format!("the record at line {line} is longer than 16 MiB; is a quote or bracket not closed?");
            broken(&self.file, &what)
        };
        match &mut self.splitter {
            Splitter::Csv(splitter) => splitter
                .split(text, &mut |record| {
                    take(Raw::Csv(record));
                    true
                })
                .map_err(|error| long(error.line)),
            Splitter::Lines(splitter) => splitter
                .split(text, &mut |line: Line<'_>| {
                    take(Raw::Json(line.text, line.number));
                    true
                })
                .map_err(|error| long(error.line)),
            Splitter::Values(splitter) => splitter
                .split(text, &mut |value, line| take(Raw::Json(value, line)))
                .map_err(|error| long(error.0)),
            Splitter::Json => Ok(()),
        }
    }
}

/// Whether the first line is a JSON object of its own, so that a line that is broken spoils no other.
fn is_by_line(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    if text.first() == Some(&b'[') {
        return false;
    }
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(text);
    let goes_on = line.len() < text.len();
    match serde_json::from_slice::<Value>(line) {
        Ok(_) => true,
        // A first line that is broken, but not just unfinished.
        Err(error) => goes_on && !error.is_eof(),
    }
}
