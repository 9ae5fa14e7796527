//! Configuration of `file`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarn_component::Secret;
use tarn_core::{ByteSize, HumanDuration};
use tarn_storage::StorageConfig;

use crate::error::IngestError;
use crate::records::{ColumnConfig, repeated_name};

/// Reads CSV, NDJSON and Parquet files of a folder or a bucket, and goes on with new and appended ones. State: about
/// 33 bytes per file in the log, up to 1,048,576 files.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Which files: a path or URL with `*`, `?`, `[ab]` and `**`, such as `data/orders/*.csv`,
    /// `/data/**/*.ndjson.gz` or `s3://bucket/events/*.parquet`. A folder stands for all files below it.
    /// A relative path lies in the project folder.
    pub path: String,
    /// Name of the table; the source's name without it.
    #[serde(default)]
    pub table: Option<String>,
    /// `csv`, `ndjson` or `parquet`; by the file's ending without it.
    #[serde(default)]
    pub format: Option<FileFormat>,
    /// `gzip` or `none`; by the file's ending (`.gz`) without it. Parquet compresses by itself.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// How CSV files are written.
    #[serde(default)]
    pub csv: CsvConfig,
    /// Columns and their types. Without it they are taken from the first rows of the first file, once and for all.
    #[serde(default)]
    pub schema: Vec<ColumnConfig>,
    /// Rows looked at to find the types of columns.
    #[serde(default = "infer_rows_default")]
    pub infer_rows: u32,
    /// Key columns. With a key, a later row of the same key replaces the earlier one.
    #[serde(default)]
    pub key: Vec<String>,
    /// Whether to go on with new and appended files. Without it the source ends after the files that are there.
    #[serde(default = "watch_default")]
    pub watch: bool,
    /// How often to look for new files.
    #[serde(default = "poll_default")]
    pub poll: HumanDuration,
    /// What to do with a file whose read part was changed: `report` it as a dead letter, or `reread` all of it (with
    /// a key, so that its rows replace the old ones).
    #[serde(default)]
    pub on_rewrite: OnRewrite,
    /// A compressed file that becomes larger than this is given up, against decompression bombs.
    #[serde(default = "decompressed_default")]
    pub decompressed_max: ByteSize,
    /// How a bucket is reached.
    #[serde(default)]
    pub s3: BucketConfig,
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Text with separated fields.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// How a text file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not.
    None,
    /// gzip, also of several members.
    Gzip,
}

/// What to do with a file whose read part was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRewrite {
    /// Say so in the dead letters and leave it.
    #[default]
    Report,
    /// Read all of it again.
    Reread,
}

/// How CSV files are written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CsvConfig {
    /// Whether the first line names the columns. Without it they are those of `schema`, or `column_1`, `column_2`, ….
    pub header: bool,
    /// Between two fields; one ASCII character, `\t` for a tab.
    pub delimiter: String,
    /// Around a field that holds a delimiter or a line break; one ASCII character, doubled inside.
    pub quote: String,
    /// Texts that stand for null, such as `["", "NA"]`.
    pub null: Vec<String>,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self { header: true, delimiter: ",".to_string(), quote: "\"".to_string(), null: vec![String::new()] }
    }
}

/// How a bucket is reached; see `[storage]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BucketConfig {
    /// Address of an S3-compatible server; Amazon's without it.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Access key; from the environment without it.
    pub access_key_id: Option<String>,
    /// Secret of the access key.
    pub secret_access_key: Option<Secret>,
    /// Of keys that a catalog gave out for a while.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) session_token: Option<Secret>,
    /// Whether plain HTTP is allowed.
    pub allow_http: bool,
}

impl BucketConfig {
    pub(crate) fn storage(&self, url: &str) -> StorageConfig {
        StorageConfig {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            allow_http: self.allow_http,
            ..StorageConfig::at(url)
        }
    }
}

fn infer_rows_default() -> u32 {
    10_000
}

fn watch_default() -> bool {
    true
}

fn poll_default() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn decompressed_default() -> ByteSize {
    ByteSize(64 << 30)
}

/// A character of [`CsvConfig`] as a byte. Errors: it is not one ASCII character.
pub(crate) fn ascii(field: &str, text: &str) -> Result<u8, IngestError> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(IngestError::config(
            field,
            format!("`{text}` is not one ASCII character"),
            "write one, such as `;`",
        )),
    }
}

/// Checks what the types cannot say. Errors: `InvalidConfig`.
pub(crate) fn check(config: &FileConfig) -> Result<(), IngestError> {
    let wrong = |field: &str, what: String, advice: &str| Err(IngestError::config(field, what, advice));
    if config.path.trim().is_empty() {
        return wrong("path", "is empty".to_string(), "name files, such as `data/*.csv`");
    }
    let delimiter = ascii("csv.delimiter", &config.csv.delimiter)?;
    if delimiter == ascii("csv.quote", &config.csv.quote)? {
        return wrong("csv.quote", "is the delimiter too".to_string(), "choose another character");
    }
    if config.infer_rows == 0 {
        return wrong("infer_rows", "is 0".to_string(), "write at least 1");
    }
    if config.poll.0 < std::time::Duration::from_millis(100) {
        return wrong("poll", format!("{} is too short", config.poll), "write at least 100ms");
    }
    let names = || config.schema.iter().map(|column| column.name.as_str());
    if let Some(name) = repeated_name(names()) {
        return wrong("schema", format!("column `{name}` stands twice"), "name each column once");
    }
    if let Some(key) =
        config.key.iter().find(|key| !config.schema.is_empty() && names().all(|name| name != *key))
    {
        return wrong("key", format!("there is no column `{key}` in `schema`"), "name columns of `schema`");
    }
    if !config.schema.is_empty() && config.format == Some(FileFormat::Parquet) {
        return wrong("schema", "Parquet files bring their own".to_string(), "remove `schema`");
    }
    Ok(())
}
