//! Finds out what a configuration leaves open: files, format, columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde_json::Value;
use tarn_core::RequestContext;
use tarn_core::change::META_COLUMNS;
use tarn_core::files::{CsvShape, FilesFault, FilesPlan, FoundFiles, ListedFile};

use super::columns::Columns;
use super::config::{CsvOptions, FilesConfig, FilesFormat};
use super::decode::{TextDecoder, detect};
use super::infer::{COLUMNS_MAX, Place, Scan, shown};
use super::text::{Raw, bytes_of, fault};
use super::{FileReaders, OpenFile, avro, excel, hive, lake, orc, parquet, records_of, shape};
use crate::records::{ColumnConfig, schema_of_columns};
use crate::sources::file::config::Compression;
use crate::sources::file::csv::CsvRecord;
use crate::sources::file::listing::Listing;
use crate::sources::file::text::header_names;

/// Files at most.
pub(crate) const FILES_MAX: usize = 100_000;
/// Files looked at for types.
const LOOKED_AT: usize = 16;
/// Files that bring their types of which these are read.
const FOOTERS_MAX: usize = 64;
/// Bytes looked at for encoding and delimiter.
const HEAD_BYTES: usize = 256 << 10;

pub(crate) async fn plan(
    files: &FileReaders,
    ctx: &RequestContext,
    mut config: FilesConfig,
) -> Result<FilesPlan, FilesFault> {
    if let Some(found) = lake::plan(files, ctx, &config).await? {
        return Ok(found);
    }
    let mut listed = list(files, ctx, &config).await?;
    let is_hive = hive::is_hive(&listed, config.hive)?;
    config.hive = Some(is_hive);
    if !is_hive {
        listed.iter_mut().for_each(|file| file.partition.clear());
    }
    let first = listed.first().ok_or_else(|| nothing(&config.path))?;
    let (format, compression) = config.kind_of(&first.location)?;
    for file in &listed {
        let (own, _) = config.kind_of(&file.location)?;
        if own != format {
            return Err(FilesFault::invalid(
                format!(
                    "`{}` is {} and `{}` is {}",
                    first.location,
                    format.name(),
                    file.location,
                    own.name()
                ),
                "narrow the path, such as `folder/*.csv`, or say the format",
            ));
        }
    }
    config.format = Some(format);
    let path_columns = match is_hive {
        true => hive::columns_of(&listed, &config.columns),
        false => Vec::new(),
    };
    config.path_columns = path_columns.iter().map(|(column, _)| column.clone()).collect();
    let mut found = FoundFiles {
        format: format.name().to_string(),
        compression: if compression == Compression::Gzip { "gzip" } else { "none" }.to_string(),
        files: listed.len() as u64,
        bytes: listed.iter().map(|file| file.bytes).sum(),
        ..FoundFiles::default()
    };
    let own = match format {
        FilesFormat::Parquet | FilesFormat::Avro | FilesFormat::Orc => {
            typed(files, ctx, &config, &listed, &mut found).await?
        }
        FilesFormat::Excel => excel::plan(files, ctx, &mut config, &listed, &mut found).await?,
        FilesFormat::Delta | FilesFormat::Iceberg => return Err(nothing(&config.path)),
        FilesFormat::Csv | FilesFormat::Json => text(files, ctx, &mut config, &listed, &mut found).await?,
    };
    let schema = with_path_columns(&own, &config, path_columns, &mut found);
    check_chosen(&config, &schema)?;
    let settled = serde_json::to_value(&config)
        .map_err(|error| FilesFault::invalid(format!("the plan cannot be kept: {error}"), "report this"))?;
    let path_columns = config.path_columns.iter().map(|column| column.name.clone()).collect();
    Ok(FilesPlan { settled: kept(settled), schema, path_columns, files: listed, table: None, found })
}

/// Secrets stay where they were: the caller puts its own `s3` and `iceberg` back.
pub(crate) fn kept(mut settled: Value) -> Value {
    if let Some(settled) = settled.as_object_mut() {
        settled.remove("s3");
        settled.remove("iceberg");
    }
    settled
}

pub(crate) fn nothing(path: &str) -> FilesFault {
    FilesFault(tarn_core::FaultReport {
        kind: tarn_core::FaultKind::NotFound,
        message: format!("no file matches `{path}`"),
        hint: Some("check the path; a relative one lies in the server's project folder".to_string()),
    })
}

/// Files that hold something.
async fn list(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
) -> Result<Vec<ListedFile>, FilesFault> {
    let mut listed = list_all(files, ctx, config).await?;
    listed.retain(|file| file.bytes > 0);
    Ok(listed)
}

pub(crate) async fn list_all(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
) -> Result<Vec<ListedFile>, FilesFault> {
    let path = files.path_of(ctx, config.path.trim())?;
    let listing = Listing::new(&config.listing(path), &files.project)?;
    let infos = listing.files().await?;
    if infos.len() > FILES_MAX {
        return Err(FilesFault::invalid(
            format!("`{}` names {} files, {FILES_MAX} can be imported at a time", config.path, infos.len()),
            "import them folder by folder",
        ));
    }
    let mut listed = Vec::with_capacity(infos.len());
    for info in infos {
        let location = listing.store.location_of(&info.path);
        files.check_place(ctx, &location)?;
        // Folders below the last one that the path names for certain.
        let partition = match config.hive {
            Some(false) => Vec::new(),
            _ => hive::values_of(info.path.as_ref()),
        };
        listed.push(ListedFile { location, bytes: info.size, tag: info.tag, partition, detail: None });
    }
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(listed)
}

/// Files that stand for all, from the first to the last.
pub(crate) fn spread(files: &[ListedFile], most: usize) -> impl Iterator<Item = &ListedFile> {
    let step = files.len().div_ceil(most).max(1);
    files.iter().step_by(step)
}

fn with_path_columns(
    own: &SchemaRef,
    config: &FilesConfig,
    path_columns: Vec<(ColumnConfig, tarn_core::files::FoundColumn)>,
    found: &mut FoundFiles,
) -> SchemaRef {
    let is_path = |name: &str| config.path_columns.iter().any(|column| column.name == name);
    let keep: Vec<bool> = own.fields().iter().map(|field| !is_path(field.name())).collect();
    for field in own.fields().iter().filter(|field| is_path(field.name())) {
        let what = format!(
            "column `{}` stands in the files and in their folders; that of the folders is taken",
            field.name()
        );
        found.warnings.push(what);
    }
    let mut fields: Vec<_> = own.fields().iter().filter(|field| !is_path(field.name())).cloned().collect();
    fields.extend(schema_of_columns(&config.path_columns).fields().iter().cloned());
    let mut at = 0;
    found.columns.retain(|_| {
        at += 1;
        keep.get(at - 1).copied().unwrap_or(true)
    });
    for row in &mut found.sample_rows {
        let kept = row.drain(..).zip(&keep).filter(|(_, keep)| **keep).map(|(value, _)| value);
        *row = kept.collect();
        row.extend(path_columns.iter().map(|(_, found)| found.samples.first().cloned()));
    }
    found.columns.extend(path_columns.into_iter().map(|(_, found)| found));
    Arc::new(Schema::new(fields))
}

fn check_chosen(config: &FilesConfig, schema: &SchemaRef) -> Result<(), FilesFault> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    let unknown = config.columns.iter().find(|column| names().all(|name| name != column.name));
    let Some(unknown) = unknown else { return Ok(()) };
    let near = tarn_core::nearest(&unknown.name, names()).map(|near| format!("did you mean `{near}`? "));
    Err(FilesFault::invalid(
        format!("the files have no column `{}`", unknown.name),
        format!("{}they have {}", near.unwrap_or_default(), names().collect::<Vec<_>>().join(", ")),
    ))
}

/// Columns of files that bring their types.
async fn typed(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
    listed: &[ListedFile],
    found: &mut FoundFiles,
) -> Result<SchemaRef, FilesFault> {
    let mut columns = Columns::default();
    let most = if config.infer_rows == 0 { FILES_MAX } else { FOOTERS_MAX };
    for file in spread(listed, most) {
        let open = files.open(ctx, config, file).await?;
        match config.kind_of(&file.location)?.0 {
            FilesFormat::Avro => avro::see(&mut columns, open).await?,
            FilesFormat::Orc => orc::see(&mut columns, open).await?,
            _ => parquet::see(&mut columns, &open).await?,
        }
    }
    let schema = columns.finish();
    found.rows_seen = columns.rows;
    found.columns = columns.found;
    found.sample_rows = columns.sample_rows;
    found.warnings = columns.warnings;
    Ok(schema)
}

/// The first bytes of a file as they stand, and whether there are more.
async fn head(open: &OpenFile, compression: Compression) -> Result<(Vec<u8>, bool), FilesFault> {
    let mut bytes = bytes_of(&open.store, &open.info, compression);
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES {
        match bytes.next().await.map_err(|error| fault(&open.shown, error))? {
            Some(piece) => head.extend_from_slice(&piece),
            None => return Ok((head, false)),
        }
    }
    head.truncate(HEAD_BYTES);
    Ok((head, true))
}

async fn text(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &mut FilesConfig,
    listed: &[ListedFile],
    found: &mut FoundFiles,
) -> Result<SchemaRef, FilesFault> {
    let first = listed.first().ok_or_else(|| nothing(&config.path))?;
    let (format, compression) = config.kind_of(&first.location)?;
    let open = files.open(ctx, config, first).await?;
    let (bytes, cut) = head(&open, compression).await?;
    if config.csv.encoding.is_none() {
        let (encoding, why) = detect(&bytes, cut);
        if let Some(why) = why {
            let name = encoding.name().to_ascii_lowercase();
            found.warnings.push(format!("the text is read as {name}: {why}; `csv.encoding` says otherwise"));
        }
        config.csv.encoding = Some(encoding.name().to_ascii_lowercase());
    }
    if format == FilesFormat::Csv {
        config.csv = csv_shape(bytes, cut, &config.csv)?;
        let csv = config.csv.filled();
        found.csv = Some(CsvShape {
            header: csv.header,
            delimiter: csv.delimiter,
            quote: csv.quote,
            null: csv.null,
            encoding: config.csv.encoding.clone().unwrap_or_default(),
        });
    }
    let mut scan = Scan::default();
    let most = if config.infer_rows == 0 { FILES_MAX } else { LOOKED_AT };
    for file in spread(listed, most) {
        scan_file(files, ctx, config, file, &mut scan).await?;
    }
    if scan.is_empty() {
        return Err(FilesFault::invalid(
            format!("`{}` holds no record to take columns from", config.path),
            "check the files and their format",
        ));
    }
    found.rows_seen = scan.rows;
    let own: Vec<ColumnConfig> = config.columns.clone();
    let scanned = scan.finish(&own);
    found.columns = scanned.found;
    found.sample_rows = scanned.sample_rows;
    found.warnings.extend(scanned.warnings);
    config.schema = scanned.columns;
    Ok(schema_of_columns(&config.schema))
}

fn csv_shape(bytes: Vec<u8>, cut: bool, known: &CsvOptions) -> Result<CsvOptions, FilesFault> {
    let encoding =
        known.encoding.as_deref().map_or(Ok(encoding_rs::UTF_8 as _), super::decode::encoding_of)?;
    let decoded = TextDecoder::new(encoding).decode(bytes.into());
    let text = decoded.map_err(|what| FilesFault::invalid(what, "say the encoding: `csv.encoding`"))?;
    shape::detect(&text, cut, known)
}

async fn scan_file(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
    file: &ListedFile,
    scan: &mut Scan,
) -> Result<(), FilesFault> {
    let kind = config.kind_of(&file.location)?;
    let open = files.open(ctx, config, file).await?;
    let mut records = records_of(&open, config, kind)?;
    let csv = config.csv.filled();
    let most = if config.infer_rows == 0 { u64::MAX } else { u64::from(config.infer_rows) };
    let (mut rows, mut columns, mut wide) = (0, None::<Vec<usize>>, false);
    loop {
        let go_on = records
            .step(&mut |record| {
                if rows >= most {
                    return;
                }
                let place_of = |line| Place { file: &open.shown, line };
                match record {
                    Raw::Csv(record) => {
                        let Some(known) = &columns else {
                            let fields = record.fields();
                            let names = match csv.header {
                                true => header_names(&fields),
                                false => (1..=fields.len()).map(|n| format!("column_{n}")).collect(),
                            };
                            let places: Vec<usize> =
                                names.iter().filter_map(|name| scan.column(name)).collect();
                            wide |= places.len() < names.len();
                            if !csv.header {
                                rows += 1;
                                csv_row(scan, &places, &record, &csv.null, place_of(record.line));
                            }
                            columns = Some(places);
                            return;
                        };
                        rows += 1;
                        csv_row(scan, known, &record, &csv.null, place_of(record.line));
                    }
                    Raw::Json(text, line) => {
                        rows += 1;
                        wide |= !json_row(scan, text, place_of(line));
                    }
                }
            })
            .await?;
        if !go_on || rows >= most {
            break;
        }
    }
    match wide {
        true => Err(FilesFault::invalid(
            format!("`{}` has more than {COLUMNS_MAX} columns", open.shown),
            "check delimiter and format",
        )),
        false => Ok(()),
    }
}

fn csv_row(scan: &mut Scan, columns: &[usize], record: &CsvRecord<'_>, nulls: &[String], place: Place<'_>) {
    // What does not fit becomes a problem when the file is read.
    if record.len() != columns.len() {
        return;
    }
    scan.rows += 1;
    let fields = record.fields();
    let is_null = |text: &str| nulls.iter().any(|null| null == text);
    for (column, text) in columns.iter().zip(&fields) {
        scan.text(*column, Some(text.as_str()).filter(|text| !is_null(text)), place);
    }
    if scan.wants_row() {
        let named = columns.iter().zip(fields).filter(|(_, text)| !is_null(text));
        let row = named.filter_map(|(column, text)| Some((scan.name(*column)?.to_string(), text))).collect();
        scan.show_row(row);
    }
}

/// Returns whether all columns found room.
fn json_row(scan: &mut Scan, text: &[u8], place: Place<'_>) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(text) else { return true };
    let mut has_room = true;
    for (name, value) in fields.iter().filter(|(name, _)| !META_COLUMNS.contains(&name.as_str())) {
        match scan.column(name) {
            Some(column) => scan.json(column, value, place),
            None => has_room = false,
        }
    }
    scan.rows += 1;
    if scan.wants_row() {
        let row: HashMap<String, String> = fields
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(name, value)| (name.clone(), shown(value)))
            .collect();
        scan.show_row(row);
    }
    has_room
}
