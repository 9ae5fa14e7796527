//! `COPY … TO 'file'`: rows into a file of a folder or bucket that the configuration names.

use std::io::Write;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use flate2::Compression as GzipLevel;
use flate2::write::GzEncoder;
use futures::StreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, GzipLevel as ParquetGzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tarn_storage::{StorageError, Store};
use tokio::io::AsyncWriteExt;

use super::output::OutputTypes;
use super::session::Session;
use crate::QueryError;
use crate::scan::ScanCounters;
use crate::sql::{Action, CopyOption, CopyPlace, CopyStatement, Diagnosis, Parsed, parse};

/// Text that is held until it is worth writing.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    Csv,
    Json,
}

/// How a file is written.
#[derive(Debug)]
struct Export {
    format: Format,
    compression: Compression,
    overwrite: bool,
    header: bool,
    delimiter: u8,
}

fn invalid(message: impl Into<String>, hint: &str) -> QueryError {
    QueryError::coded("22023", message).with_hint(hint)
}

impl Export {
    /// Reads the options of a statement; what they leave out is told by the name of the file.
    fn new(path: &str, options: &[CopyOption]) -> Result<Self, QueryError> {
        let lower = path.to_lowercase();
        let (name, is_gzip) = match lower.strip_suffix(".gz") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let mut format = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("parquet") => Some(Format::Parquet),
            Some("csv") => Some(Format::Csv),
            Some("json" | "ndjson" | "jsonl") => Some(Format::Json),
            _ => None,
        };
        let (mut compression, mut header, mut delimiter) = (None, None, None);
        let mut overwrite = false;
        for option in options {
            match option.name.as_str() {
                "format" => {
                    format = Some(match option.text()? {
                        "parquet" => Format::Parquet,
                        "csv" => Format::Csv,
                        "json" | "ndjson" => Format::Json,
                        other => {
                            let message = format!("COPY format \"{other}\" not recognized");
                            return Err(invalid(message, "files are written as parquet, csv or json"));
                        }
                    });
                }
                "compression" => compression = Some(compression_of(option.text()?)?),
                "overwrite" => overwrite = option.is_on()?,
                "header" => header = Some(option.is_on()?),
                "delimiter" => match option.text()?.as_bytes() {
                    [byte] => delimiter = Some(*byte),
                    _ => {
                        return Err(invalid(
                            "COPY delimiter must be a single one-byte character",
                            "such as `;`",
                        ));
                    }
                },
                _ => {
                    let hint =
                        "possible are FORMAT, COMPRESSION, OVERWRITE, and for csv HEADER and DELIMITER";
                    return Err(option.unknown(hint));
                }
            }
        }
        let format = format.ok_or_else(|| {
            let message = format!("the name of the file `{path}` does not tell its format");
            invalid(message, "add `(FORMAT parquet)`, csv or json")
        })?;
        if format != Format::Csv && (header.is_some() || delimiter.is_some()) {
            return Err(invalid("HEADER and DELIMITER are for csv", "leave them out"));
        }
        let by_name = || match (format, is_gzip) {
            (Format::Parquet, _) => Compression::ZSTD(ZstdLevel::default()),
            (_, true) => Compression::GZIP(ParquetGzipLevel::default()),
            (_, false) => Compression::UNCOMPRESSED,
        };
        let compression = compression.unwrap_or_else(by_name);
        let is_plain = matches!(compression, Compression::UNCOMPRESSED | Compression::GZIP(_));
        if format != Format::Parquet && !is_plain {
            return Err(invalid("csv and json are compressed by gzip", "write `COMPRESSION gzip` or none"));
        }
        let (header, delimiter) = (header.unwrap_or(true), delimiter.unwrap_or(b','));
        Ok(Self { format, compression, overwrite, header, delimiter })
    }
}

fn compression_of(name: &str) -> Result<Compression, QueryError> {
    Ok(match name.to_lowercase().as_str() {
        "none" | "uncompressed" => Compression::UNCOMPRESSED,
        "zstd" => Compression::ZSTD(ZstdLevel::default()),
        "snappy" => Compression::SNAPPY,
        "gzip" => Compression::GZIP(ParquetGzipLevel::default()),
        "lz4" => Compression::LZ4_RAW,
        other => {
            let message = format!("COPY compression \"{other}\" not recognized");
            return Err(invalid(message, "possible are zstd, snappy, gzip, lz4 and none"));
        }
    })
}

impl Session {
    /// Writes the rows of a statement into its file. Returns how many. Errors: the file may not be written, or is there
    /// already; those of the query. Then there is no file.
    pub(super) async fn export(
        &self,
        copy: &CopyStatement,
        outer: &Parsed,
        counters: &Arc<ScanCounters>,
        told: &Diagnosis,
    ) -> Result<u64, QueryError> {
        let CopyPlace::File(path) = &copy.place else {
            return Err(QueryError::Internal { message: "rows are not copied into a file".into() });
        };
        let export = Export::new(path, &copy.options)?;
        let (store, place) = self.export_place(path)?;
        let inner = parse(&copy.subject.query())?;
        let (Action::Query(statement) | Action::Show(statement)) = inner.action.clone() else {
            return Err(QueryError::coded("0A000", "only rows of a query are copied into a file")
                .at(outer.text.start()));
        };
        let catalog = self.catalog(Arc::clone(counters));
        let state = self.state(&catalog);
        let (plan, names) = Box::pin(self.logical_plan(&state, &catalog, statement, told)).await?;
        let plan = state.create_physical_plan(&plan).await.map_err(|error| told.explain(error))?;
        match store.head(&place).await {
            Ok(_) if !export.overwrite => {
                let error = QueryError::coded("58P02", format!("the file `{path}` is there already"));
                return Err(error.with_hint("write `(OVERWRITE)` to replace it, or choose another name"));
            }
            Ok(_) | Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(QueryError::from_fault(&error)),
        }
        let mut rows = self.core().threads.run(Arc::clone(&plan), state.task_ctx());
        let zone = state.config_options().execution.time_zone.clone();
        let zone = zone.as_deref().filter(|_| export.format != Format::Parquet);
        let output = OutputTypes::of(&plan.schema(), zone, &names);
        let objects = BufWriter::new(Arc::clone(store.objects()), place);
        let mut file = FileWriter::new(&export, output.schema(), objects)?;
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            let written = async {
                let batch = batch.map_err(|error| told.explain(error))?;
                let batch = output.apply(batch).map_err(|error| unwritable(&error))?;
                file.write(&batch).await?;
                Ok::<_, QueryError>(batch.num_rows() as u64)
            };
            match written.await {
                Ok(written) => count += written,
                Err(error) => {
                    file.abort().await;
                    return Err(error);
                }
            }
        }
        file.close().await?;
        Ok(count)
    }

    /// Where a file lies. Errors: it is in no folder that may be written into.
    fn export_place(&self, path: &str) -> Result<(Store, Path), QueryError> {
        let exports = &self.core().config.exports;
        let Some(first) = exports.first() else {
            let error = QueryError::coded(
                "42501",
                "COPY may write no files of the server: no folder is named for them",
            );
            return Err(error.with_hint(
                "name one in tarn.toml, `[[query.exports]]` with `url = \"exports\"`, or let the client write the file: \
                 `COPY ... TO STDOUT`",
            ));
        };
        let is_absolute = path.starts_with('/') || path.contains("://") || path.starts_with("file:");
        let location = if is_absolute {
            path.to_string()
        } else {
            format!("{}/{path}", first.url.trim_end_matches('/'))
        };
        let mut wrong = None;
        for export in exports {
            let store =
                Store::open(export, FilePath::new("/")).map_err(|error| QueryError::from_fault(&error))?;
            // The folder may be reached by a link.
            let inside =
                location.strip_prefix(export.url.trim_end_matches('/')).filter(|rest| rest.starts_with('/'));
            let place = match inside.map(Path::parse) {
                Some(parsed) => parsed.map_err(|error| error.to_string()),
                None => store.path_of(&location).map_err(|error| error.to_string()),
            };
            match place {
                Ok(place) if !place.as_ref().is_empty() => return Ok((store, place)),
                Ok(_) => wrong = Some("it names a folder".to_string()),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        let allowed: Vec<&str> = exports.iter().map(|export| export.url.as_str()).collect();
        let what = wrong
            .filter(|wrong| !wrong.contains(" is not in "))
            .map_or(String::new(), |wrong| format!(": {wrong}"));
        let error = QueryError::coded("42501", format!("COPY may not write `{path}`{what}"));
        Err(error.with_hint(&format!(
            "`[[query.exports]]` in tarn.toml names the folders: {}",
            allowed.join(", ")
        )))
    }
}

fn unwritable(error: &ArrowError) -> QueryError {
    QueryError::Execution {
        message: format!("the rows cannot be written in this format: {error}"),
        hint: Some("convert the column in the query, such as by `CAST(x AS VARCHAR)`".into()),
    }
}

fn broken(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Storage {
        message: format!("the file could not be written: {error}"),
        kind: tarn_core::FaultKind::Unavailable,
        hint: Some("try again; the store may be full or unreachable".into()),
    }
}

/// A file that is being written; it is there once it is closed.
enum FileWriter {
    Parquet(Box<AsyncArrowWriter<BufWriter>>),
    Text { encoder: Box<TextEncoder>, file: Box<BufWriter> },
}

impl FileWriter {
    fn new(export: &Export, schema: SchemaRef, file: BufWriter) -> Result<Self, QueryError> {
        if export.format == Format::Parquet {
            let properties = WriterProperties::builder().set_compression(export.compression).build();
            let writer = AsyncArrowWriter::try_new(file, schema, Some(properties))
                .map_err(|error| unwritable(&ArrowError::ParquetError(error.to_string())))?;
            return Ok(Self::Parquet(Box::new(writer)));
        }
        let sink = match export.compression {
            Compression::UNCOMPRESSED => TextSink::Plain(Vec::new()),
            _ => TextSink::Gzip(Box::new(GzEncoder::new(Vec::new(), GzipLevel::default()))),
        };
        let mut encoder = TextEncoder {
            format: export.format,
            header: export.header && export.format == Format::Csv,
            delimiter: export.delimiter,
            sink,
        };
        if encoder.header {
            // Also a result without rows has names.
            encoder.encode(&RecordBatch::new_empty(schema))?;
        }
        Ok(Self::Text { encoder: Box::new(encoder), file: Box::new(file) })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        match self {
            Self::Parquet(writer) => writer.write(batch).await.map_err(|error| broken(&error)),
            Self::Text { encoder, file } => {
                encoder.encode(batch)?;
                let piece = encoder.sink.take(PIECE_BYTES);
                file.write_all(&piece).await.map_err(|error| broken(&error))
            }
        }
    }

    async fn abort(self) {
        let aborted = match self {
            // What was not closed is no object.
            Self::Parquet(_) => Ok(()),
            Self::Text { mut file, .. } => file.abort().await,
        };
        if let Err(error) = aborted {
            tracing::debug!(%error, "an export that failed leaves an upload behind");
        }
    }

    async fn close(self) -> Result<(), QueryError> {
        match self {
            Self::Parquet(writer) => writer.close().await.map(drop).map_err(|error| broken(&error)),
            Self::Text { encoder, mut file } => {
                let rest = encoder.sink.finish().map_err(|error| broken(&error))?;
                file.write_all(&rest).await.map_err(|error| broken(&error))?;
                file.shutdown().await.map_err(|error| broken(&error))
            }
        }
    }
}

struct TextEncoder {
    format: Format,
    header: bool,
    delimiter: u8,
    sink: TextSink,
}

enum TextSink {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl TextEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let mut text = Vec::new();
        let written = match self.format {
            Format::Json => {
                let mut writer = LineDelimitedWriter::new(&mut text);
                writer.write(batch).and_then(|()| writer.finish())
            }
            _ => {
                let header = std::mem::take(&mut self.header);
                let builder = WriterBuilder::new().with_header(header).with_delimiter(self.delimiter);
                builder.build(&mut text).write(batch)
            }
        };
        written.map_err(|error| unwritable(&error))?;
        match &mut self.sink {
            TextSink::Plain(out) => out.extend_from_slice(&text),
            TextSink::Gzip(out) => out.write_all(&text).map_err(|error| broken(&error))?,
        }
        Ok(())
    }
}

impl TextSink {
    /// What there is, if it is so much.
    fn take(&mut self, least: usize) -> Vec<u8> {
        let out = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out.get_mut(),
        };
        if out.len() < least { Vec::new() } else { std::mem::take(out) }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(out) => out.finish(),
        }
    }
}
