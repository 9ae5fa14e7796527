//! Which files, and how they are written.

use serde::{Deserialize, Serialize};
use tarn_core::files::FilesFault;

use super::delta::DeltaOptions;
use super::excel::ExcelOptions;
use super::iceberg::IcebergOptions;
use super::lake::LakePlan;
use crate::error::IngestError;
use crate::records::{ColumnConfig, repeated_name};
use crate::sources::file::config::{BucketConfig, Compression, CsvConfig, FileConfig, OnRewrite, ascii};
use tarn_core::{ByteSize, HumanDuration};

/// Rows looked at in a file to find the types of columns.
const INFER_ROWS: u32 = 10_000;
/// A compressed file that becomes larger is given up.
const DECOMPRESSED_MAX: u64 = 64 << 30;

/// Files to be read as rows. What is absent is found out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilesConfig {
    /// As in the source `file`, or `upload://…` for what was sent to the server.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FilesFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    #[serde(default)]
    pub csv: CsvOptions,
    #[serde(default, skip_serializing_if = "is_default")]
    pub excel: ExcelOptions,
    /// Types of single columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnConfig>,
    /// All columns of the files; nothing is looked at then. Written by a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<ColumnConfig>,
    /// Columns that folders hold. Written by a plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_columns: Vec<ColumnConfig>,
    /// 0 looks at all rows of all files.
    #[serde(default = "infer_rows")]
    pub infer_rows: u32,
    /// Whether folders such as `year=2024` are columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub delta: DeltaOptions,
    #[serde(default, skip_serializing_if = "is_default")]
    pub iceberg: IcebergOptions,
    /// Folders beside that of a Delta or Iceberg table in which files of it may lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    /// How the files of a Delta or Iceberg table are read. Written by a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lake: Option<LakePlan>,
    #[serde(default)]
    pub s3: BucketConfig,
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FilesFormat {
    Csv,
    #[serde(alias = "ndjson", alias = "jsonl")]
    Json,
    Parquet,
    Avro,
    Orc,
    #[serde(alias = "xlsx")]
    Excel,
    Delta,
    Iceberg,
}

impl FilesFormat {
    /// Whether files of it are texts, whose columns have no types of their own.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Json)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Orc => "orc",
            Self::Excel => "excel",
            Self::Delta => "delta",
            Self::Iceberg => "iceberg",
        }
    }
}

/// How CSV files are written, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CsvOptions {
    pub header: Option<bool>,
    pub delimiter: Option<String>,
    pub quote: Option<String>,
    pub null: Option<Vec<String>>,
    /// Also of JSON files.
    pub encoding: Option<String>,
}

impl CsvOptions {
    /// What is known, with the usual values for the rest.
    pub(crate) fn filled(&self) -> CsvConfig {
        let usual = CsvConfig::default();
        CsvConfig {
            header: self.header.unwrap_or(usual.header),
            delimiter: self.delimiter.clone().unwrap_or(usual.delimiter),
            quote: self.quote.clone().unwrap_or(usual.quote),
            null: self.null.clone().unwrap_or(usual.null),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn infer_rows() -> u32 {
    INFER_ROWS
}

/// Endings of file names with what they mean.
fn by_ending(path: &str) -> (Option<FilesFormat>, Option<Compression>) {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let (name, compression) = match name.strip_suffix(".gz") {
        Some(name) => (name.to_string(), Some(Compression::Gzip)),
        None => (name, None),
    };
    let format = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv" | "tsv" | "txt" | "psv" | "tab") => Some(FilesFormat::Csv),
        Some("json" | "ndjson" | "jsonl") => Some(FilesFormat::Json),
        Some("parquet" | "parq" | "pq") => Some(FilesFormat::Parquet),
        Some("avro") => Some(FilesFormat::Avro),
        Some("orc") => Some(FilesFormat::Orc),
        // Those that are not read say what to do.
        Some("xlsx" | "xlsm" | "xls" | "xlsb") => Some(FilesFormat::Excel),
        _ => None,
    };
    (format, compression)
}

impl FilesConfig {
    /// Errors: what stands in the way, with the field.
    pub(crate) fn parse(config: &serde_json::Value) -> Result<Self, FilesFault> {
        let parsed: Self = tarn_component::parse(config.clone())
            .map_err(|error| FilesFault::of(&IngestError::from(error)))?;
        parsed.check().map_err(|error| FilesFault::of(&error))?;
        Ok(parsed)
    }

    fn check(&self) -> Result<(), IngestError> {
        let wrong = |field: &str, what: String, advice: &str| Err(IngestError::config(field, what, advice));
        if self.path.trim().is_empty() {
            return wrong("path", "is empty".to_string(), "name files, such as `data/*.csv`");
        }
        let csv = self.csv.filled();
        let delimiter = ascii("csv.delimiter", &csv.delimiter)?;
        if delimiter == ascii("csv.quote", &csv.quote)? {
            return wrong("csv.quote", "is the delimiter too".to_string(), "choose another character");
        }
        if let Some(name) = repeated_name(self.columns.iter().map(|column| column.name.as_str())) {
            return wrong("columns", format!("column `{name}` stands twice"), "name each column once");
        }
        if let Err(what) = self.excel.check() {
            return wrong("excel.range", what, "or leave it out");
        }
        if let Some(encoding) = &self.csv.encoding {
            super::decode::encoding_of(encoding)?;
        }
        Ok(())
    }

    /// The compression of a file whose format does not matter.
    pub(crate) fn compression_of(&self, path: &str) -> Compression {
        self.compression.or(by_ending(path).1).unwrap_or(Compression::None)
    }

    /// The format and compression of a file. Errors: neither given nor told by its name.
    pub(crate) fn kind_of(&self, path: &str) -> Result<(FilesFormat, Compression), FilesFault> {
        let (by_name, compression) = by_ending(path);
        let format = self.format.or(by_name).ok_or_else(|| {
            FilesFault::invalid(
                format!("the name of `{path}` does not tell its format"),
                "say it: `format` is csv, json, parquet, avro, orc or excel",
            )
        })?;
        let compression = self.compression.or(compression).unwrap_or(Compression::None);
        if compression != Compression::None && !format.is_text() {
            return Err(FilesFault::invalid(
                format!(
                    "`{path}` is compressed as a whole; files of {} are compressed within",
                    format.name()
                ),
                "decompress it first",
            ));
        }
        Ok((format, compression))
    }

    /// As the source `file` would be configured, for its listing.
    pub(crate) fn listing(&self, path: String) -> FileConfig {
        FileConfig {
            path,
            table: None,
            format: None,
            compression: None,
            csv: CsvConfig::default(),
            schema: Vec::new(),
            infer_rows: 1,
            key: Vec::new(),
            watch: false,
            poll: HumanDuration::from_secs(5),
            on_rewrite: OnRewrite::Report,
            decompressed_max: ByteSize(DECOMPRESSED_MAX),
            s3: self.s3.clone(),
        }
    }

    pub(crate) fn decompressed_max() -> u64 {
        DECOMPRESSED_MAX
    }
}
