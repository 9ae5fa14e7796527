//! Reads CSV and NDJSON files, and finds the types of their columns.

use std::collections::HashMap;

use tarn_core::change::META_COLUMNS;

use super::bytes::{BytesError, FileBytes};
use super::config::{CsvConfig, FileConfig};
use super::csv::{CsvRecord, CsvSplitter};
use super::ledger::Mark;
use super::lines::{Line, LineSplitter};
use super::sink::RowSink;
use crate::error::IngestError;
use crate::records::{ColumnConfig, ColumnType, Fingerprint, Inferred, type_of_json, type_of_text};

/// Bytes before the read offset that tell an appended file from a rewritten one.
pub(super) const TAIL_BYTES: u64 = 1_024;
/// Bytes looked at for types at most.
const INFER_BYTES_MAX: usize = 16 << 20;

/// May stand before the first record.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Checksum of the last bytes read.
pub(super) fn tail_sum(bytes: &[u8]) -> u32 {
    let hash = Fingerprint::new().add(bytes).value();
    // Both halves take part.
    (hash ^ (hash >> 32)) as u32
}

/// The last bytes before the read offset, kept while pieces come in.
struct Tail {
    bytes: Vec<u8>,
    start: u64,
}

impl Tail {
    fn add(&mut self, piece: &[u8], consumed: u64) {
        self.bytes.extend_from_slice(piece);
        let keep_from = consumed.saturating_sub(TAIL_BYTES).max(self.start);
        let dropped = usize::try_from(keep_from - self.start).unwrap_or(0).min(self.bytes.len());
        self.bytes.drain(..dropped);
        self.start += dropped as u64;
    }

    fn sum(&self, consumed: u64) -> u32 {
        let end = usize::try_from(consumed.saturating_sub(self.start)).unwrap_or(0).min(self.bytes.len());
        let start = end.saturating_sub(TAIL_BYTES as usize);
        tail_sum(&self.bytes[start..end])
    }
}

/// How records of the file become cells.
#[expect(clippy::large_enum_variant, reason = "one per open file")]
enum Splitter {
    Csv { splitter: CsvSplitter, header: Header, nulls: Vec<String> },
    Json(LineSplitter),
}

/// The header of a CSV file.
enum Header {
    /// The next record is the header.
    Awaited,
    /// For each column its field, and how many fields a record has.
    Known { mapping: Vec<Option<usize>>, width: usize },
    /// Fields are the columns in order; the first record says how many there are.
    Absent,
}

/// Where a text file is read from.
pub(super) struct TextStart {
    pub(super) bytes: FileBytes,
    /// Offset and lines before the first piece.
    pub(super) offset: u64,
    pub(super) lines: u32,
    /// The bytes before `offset`, at most [`TAIL_BYTES`].
    pub(super) tail: Vec<u8>,
    /// Records that end at or before this offset were read before.
    pub(super) skip_until: u64,
    /// The header, for a file that is read on behind it.
    pub(super) header: Option<Vec<String>>,
    /// Whether an unfinished last line is a record.
    pub(super) take_last: bool,
}

/// Reads one text file.
pub(super) struct TextReader {
    bytes: FileBytes,
    splitter: Splitter,
    pub(super) sink: RowSink,
    columns: Vec<ColumnConfig>,
    skip_until: u64,
    take_last: bool,
    tail: Tail,
    /// Offset behind the last record taken in, and lines up to there.
    consumed: u64,
    lines: u32,
    /// Offset behind the last piece.
    end: u64,
}

/// Names of the columns of a header: trimmed, none empty, none twice, none of those that topics add.
pub(crate) fn header_names(fields: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        let trimmed = field.trim_start_matches('\u{feff}').trim();
        let name = match trimmed {
            "" => format!("column_{}", n + 1),
            name if META_COLUMNS.contains(&name) => format!("source{name}"),
            name => name.to_string(),
        };
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.push(free.unwrap_or(name));
    }
    names
}

impl Header {
    fn of_names(fields: &[String], columns: &[ColumnConfig]) -> (Self, Vec<String>) {
        let names = header_names(fields);
        let places: HashMap<&str, usize> =
            names.iter().enumerate().map(|(n, name)| (name.as_str(), n)).collect();
        let mapping = columns.iter().map(|column| places.get(column.name.as_str()).copied()).collect();
        let unknown = names.iter().filter(|name| columns.iter().all(|column| column.name != **name)).cloned();
        let unknown = unknown.collect();
        (Self::Known { mapping, width: names.len() }, unknown)
    }
}

impl TextReader {
    pub(super) fn csv(
        start: TextStart,
        config: &CsvConfig,
        columns: Vec<ColumnConfig>,
        sink: RowSink,
    ) -> Result<Self, IngestError> {
        let splitter = CsvSplitter::new(config, start.offset, u64::from(start.lines))?;
        let header = match (&start.header, config.header) {
            (Some(fields), true) => Header::of_names(fields, &columns).0,
            (None, true) => Header::Awaited,
            (_, false) => Header::Absent,
        };
        let splitter = Splitter::Csv { splitter, header, nulls: config.null.clone() };
        Ok(Self::new(start, splitter, columns, sink))
    }

    pub(super) fn json(start: TextStart, columns: Vec<ColumnConfig>, sink: RowSink) -> Self {
        let splitter = Splitter::Json(LineSplitter::new(start.offset, u64::from(start.lines)));
        Self::new(start, splitter, columns, sink)
    }

    fn new(start: TextStart, splitter: Splitter, columns: Vec<ColumnConfig>, sink: RowSink) -> Self {
        let tail_start = start.offset - start.tail.len() as u64;
        Self {
            bytes: start.bytes,
            splitter,
            sink,
            columns,
            skip_until: start.skip_until,
            take_last: start.take_last,
            tail: Tail { bytes: start.tail, start: tail_start },
            consumed: start.offset,
            lines: start.lines,
            end: start.offset,
        }
    }

    /// Takes in the next piece. Returns whether there may be more. Dropping the future loses nothing.
    pub(super) async fn step(&mut self) -> Result<bool, BytesError> {
        let piece = self.bytes.next().await?;
        let Some(piece) = piece else {
            if self.take_last {
                self.split(&[])?;
                // Blanks at the end are no record, but they were read.
                self.consumed = self.end;
            }
            return Ok(false);
        };
        if piece.is_empty() {
            return Ok(true);
        }
        if self.end == 0 && piece.starts_with(BYTE_ORDER_MARK) {
            // Blanks keep the offsets as they are, and are trimmed from a header or a JSON line.
            let mut blanked = piece.to_vec();
            blanked[..BYTE_ORDER_MARK.len()].fill(b' ');
            self.split(&blanked)?;
        } else {
            self.split(&piece)?;
        }
        self.end += piece.len() as u64;
        self.tail.add(&piece, self.consumed);
        Ok(true)
    }

    fn split(&mut self, piece: &[u8]) -> Result<(), BytesError> {
        let (sink, columns, skip_until) = (&mut self.sink, &self.columns, self.skip_until);
        let (consumed, lines) = (&mut self.consumed, &mut self.lines);
        let mut advance = |end: u64, line: u64| {
            *consumed = end;
            *lines = u32::try_from(line).unwrap_or(u32::MAX);
        };
        match &mut self.splitter {
            Splitter::Json(splitter) => {
                let take = &mut |line: Line<'_>| {
                    if line.end > skip_until {
                        sink.json(line.text, line.end, line.number);
                    }
                    advance(line.end, line.number);
                    true
                };
                splitter.split(piece, take).map_err(|error| too_long(error.line))
            }
            Splitter::Csv { splitter, header, nulls } => {
                let take = &mut |record: CsvRecord<'_>| {
                    take_csv(sink, columns, header, nulls, &record, skip_until);
                    advance(record.end, record.line + record_lines(&record));
                    true
                };
                splitter.split(piece, take).map_err(|error| too_long(error.line))
            }
        }
    }

    /// How far the file was read.
    pub(super) fn mark(&self, path: u64, tag: u64, partial: bool) -> Mark {
        Mark {
            path,
            read: self.consumed,
            tag,
            tail: self.tail.sum(self.consumed),
            lines: self.lines,
            partial,
        }
    }
}

fn too_long(line: u64) -> BytesError {
    BytesError::File(format!("the record at line {line} is longer than 16 MiB; is a quote not closed?"))
}

/// Line ends inside a record.
fn record_lines(record: &CsvRecord<'_>) -> u64 {
    record.fields_bytes().iter().filter(|byte| **byte == b'\n').count() as u64
}

fn take_csv(
    sink: &mut RowSink,
    columns: &[ColumnConfig],
    header: &mut Header,
    nulls: &[String],
    record: &CsvRecord<'_>,
    skip_until: u64,
) {
    match header {
        Header::Awaited => {
            let (known, unknown) = Header::of_names(&record.fields(), columns);
            *header = known;
            if record.end > skip_until {
                unknown.iter().for_each(|name| sink.unknown_field(record.line, name));
            }
        }
        Header::Known { mapping, width } => {
            if record.end > skip_until {
                sink.csv(record, mapping, *width, nulls);
            }
        }
        Header::Absent => {
            let mapping: Vec<Option<usize>> = (0..columns.len()).map(Some).collect();
            if record.end > skip_until {
                sink.csv(record, &mapping, columns.len(), nulls);
            }
        }
    }
}

/// The header of a CSV file, from its first bytes. `None` if they do not hold a whole record.
pub(super) fn read_header(
    config: &CsvConfig,
    first_bytes: &[u8],
    whole_file: bool,
) -> Result<Option<Vec<String>>, IngestError> {
    let mut splitter = CsvSplitter::new(config, 0, 0)?;
    let mut header = None;
    let mut take = |record: CsvRecord<'_>| {
        header = Some(record.fields());
        false
    };
    let mut split = splitter.split(first_bytes, &mut take);
    if header.is_none() && whole_file {
        let mut take = |record: CsvRecord<'_>| {
            header = Some(record.fields());
            false
        };
        split = splitter.split(&[], &mut take);
    }
    Ok(split.ok().and(header))
}

/// Finds the columns of a CSV file from its first rows. `None` if it has no rows yet.
pub(super) async fn infer_csv(
    bytes: &mut FileBytes,
    config: &FileConfig,
) -> Result<Option<Vec<ColumnConfig>>, BytesError> {
    let mut splitter = CsvSplitter::new(&config.csv, 0, 0).map_err(BytesError::Store)?;
    let (mut names, mut rows, mut seen_bytes) = (None, 0, 0);
    let mut types: Vec<Option<ColumnType>> = Vec::new();
    let mut ended = false;
    while !ended && rows < config.infer_rows && seen_bytes < INFER_BYTES_MAX {
        let piece = bytes.next().await?;
        ended = piece.is_none();
        let piece = piece.unwrap_or_default();
        if piece.is_empty() && !ended {
            continue;
        }
        seen_bytes += piece.len();
        let take = &mut |record: CsvRecord<'_>| {
            let fields = record.fields();
            if names.is_none() {
                let default = || (1..=fields.len()).map(|n| format!("column_{n}")).collect();
                names = Some(if config.csv.header { header_names(&fields) } else { default() });
                types = vec![None; fields.len()];
                if config.csv.header {
                    return true;
                }
            }
            rows += 1;
            for (known, text) in
                types.iter_mut().zip(&fields).filter(|(_, text)| !config.csv.null.contains(text))
            {
                let seen = type_of_text(text);
                *known = Some(known.map_or(seen, |known| known.widen(seen)));
            }
            rows < config.infer_rows
        };
        splitter.split(&piece, take).map_err(|error| too_long(error.line))?;
    }
    let Some(names) = names.filter(|_| rows > 0) else { return Ok(None) };
    let column = |(name, column_type): (String, Option<ColumnType>)| ColumnConfig {
        name,
        column_type: column_type.unwrap_or(ColumnType::String),
    };
    Ok(Some(names.into_iter().zip(types).map(column).collect()))
}

/// Finds the columns of an NDJSON file from its first rows. `None` if it has no rows yet.
pub(super) async fn infer_json(
    bytes: &mut FileBytes,
    config: &FileConfig,
) -> Result<Option<Vec<ColumnConfig>>, BytesError> {
    let (mut splitter, mut inferred) = (LineSplitter::new(0, 0), Inferred::default());
    let (mut rows, mut seen_bytes, mut ended) = (0, 0, false);
    while !ended && rows < config.infer_rows && seen_bytes < INFER_BYTES_MAX {
        let piece = bytes.next().await?;
        ended = piece.is_none();
        let piece = piece.unwrap_or_default();
        if piece.is_empty() && !ended {
            continue;
        }
        seen_bytes += piece.len();
        let take = &mut |line: Line<'_>| {
            // What is not JSON becomes a dead letter when the file is read.
            if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(line.text) {
                rows += 1;
                let usable = fields.iter().filter(|(name, _)| !META_COLUMNS.contains(&name.as_str()));
                usable.for_each(|(name, value)| inferred.see(name, type_of_json(value)));
            }
            rows < config.infer_rows
        };
        splitter.split(&piece, take).map_err(|error| too_long(error.line))?;
    }
    let columns = inferred.columns();
    Ok((!columns.is_empty()).then_some(columns))
}
