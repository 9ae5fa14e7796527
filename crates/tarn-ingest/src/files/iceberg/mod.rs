//! Iceberg tables of others: recognised, and not read yet.

use serde::{Deserialize, Serialize};
use tarn_core::RequestContext;
use tarn_core::files::FilesFault;

use super::FileReaders;
use super::config::FilesConfig;
use super::lake::{FoundLake, Place};

/// Which state of an Iceberg table is read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IcebergOptions {
    /// A REST catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
}

/// Whether a path names a file of metadata.
pub(crate) fn is_metadata_file(path: &str) -> bool {
    path.ends_with(".metadata.json")
}

/// Whether a folder is a table.
pub(crate) async fn is_table(_: &Place) -> Result<bool, FilesFault> {
    Ok(false)
}

/// Errors: always.
pub(crate) async fn found(
    _: &FileReaders,
    _: &RequestContext,
    config: &FilesConfig,
    _: Option<&Place>,
) -> Result<FoundLake, FilesFault> {
    Err(FilesFault::invalid(
        format!("`{}` is an Iceberg table, which cannot be imported yet", config.path),
        "import its Parquet files, or copy it as CSV",
    ))
}
