//! Actions of a log, from commits (JSON lines) and checkpoints (Parquet).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::async_reader::ParquetObjectReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use serde::Deserialize;
use serde_json::Value;
use tarn_core::files::FilesFault;

use crate::files::lake::{Place, damaged};

/// One line of a commit, or one row of a checkpoint. What a reader does not need is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Action {
    pub(super) add: Option<Add>,
    pub(super) remove: Option<Remove>,
    pub(super) meta_data: Option<MetaData>,
    pub(super) protocol: Option<Protocol>,
    pub(super) sidecar: Option<Sidecar>,
    pub(super) commit_info: Option<Value>,
}

/// A data file of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    /// A URI.
    pub(super) path: String,
    #[serde(default)]
    pub(super) partition_values: HashMap<String, Option<String>>,
    pub(super) size: i64,
    pub(super) deletion_vector: Option<DeletionVector>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    pub(super) deletion_vector: Option<DeletionVector>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletionVector {
    pub(super) storage_type: String,
    pub(super) path_or_inline_dv: String,
    pub(super) offset: Option<i64>,
    pub(super) size_in_bytes: i64,
    pub(super) cardinality: i64,
}

impl DeletionVector {
    /// Tells it from others of the same file.
    pub(super) fn id(&self) -> String {
        match self.offset {
            Some(offset) => format!("{}{}@{offset}", self.storage_type, self.path_or_inline_dv),
            None => format!("{}{}", self.storage_type, self.path_or_inline_dv),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) id: String,
    pub(super) schema_string: String,
    #[serde(default)]
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) configuration: HashMap<String, Option<String>>,
}

impl MetaData {
    /// A property of the table.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.configuration.get(name)?.as_deref()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) reader_features: Option<Vec<String>>,
}

/// A file with actions of a checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Sidecar {
    pub(super) path: String,
}

/// Columns of checkpoints that are read: statistics are most of their bytes.
const COLUMNS: [&str; 7] = [
    "add.path",
    "add.partitionValues.",
    "add.size",
    "add.deletionVector.",
    "metaData.",
    "protocol.",
    "sidecar.path",
];

/// The actions of lines.
pub(super) fn of_lines(file: &Path, bytes: &[u8]) -> Result<Vec<Action>, FilesFault> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    let action = |(at, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|error| {
            damaged(format!("`{file}`, line {}: it is no action of a Delta log: {error}", at + 1))
        })
    };
    lines.map(action).collect()
}

/// The actions of a checkpoint's file. Actions that do not matter to readers are left out.
pub(super) async fn of_file(place: &Place, path: &Path) -> Result<Vec<Action>, FilesFault> {
    if path.as_ref().ends_with(".json") {
        let bytes: Bytes = place.read(path).await?;
        return of_lines(path, &bytes);
    }
    let wrong = |what: String| damaged(format!("`{path}` cannot be read: {what}"));
    let meta = place.store.head(path).await.map_err(|error| FilesFault::of(&error))?;
    let reader =
        ParquetObjectReader::new(Arc::clone(place.store.objects()), path.clone()).with_file_size(meta.size);
    let builder =
        ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| wrong(error.to_string()))?;
    let schema = builder.parquet_schema();
    let is_read = |at: &usize| {
        let name = schema.column(*at).path().string();
        COLUMNS.iter().any(|column| match column.strip_suffix('.') {
            Some(_) => name.starts_with(column),
            None => name == *column,
        })
    };
    let mask = ProjectionMask::leaves(schema, (0..schema.num_columns()).filter(is_read).collect::<Vec<_>>());
    let mut rows = builder.with_projection(mask).build().map_err(|error| wrong(error.to_string()))?;
    let mut actions = Vec::new();
    while let Some(batch) = rows.try_next().await.map_err(|error| wrong(error.to_string()))? {
        let mut lines = Vec::new();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut lines);
        let written = writer.write(&batch).and_then(|()| writer.finish());
        written.map_err(|error| wrong(error.to_string()))?;
        drop(writer);
        let read = of_lines(path, &lines)?;
        let matters = |action: &Action| {
            action.add.is_some()
                || action.meta_data.is_some()
                || action.protocol.is_some()
                || action.sidecar.is_some()
        };
        actions.extend(read.into_iter().filter(matters));
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_actions_and_unknown_ones_are_left() {
        let text = r#"{"commitInfo":{"inCommitTimestamp":5}}
{"add":{"path":"a%20b","partitionValues":{"p":null,"q":"x"},"size":7,"modificationTime":1,"dataChange":true,"stats":"{}"}}
{"remove":{"path":"c","dataChange":true,"deletionVector":{"storageType":"u","pathOrInlineDv":"x","offset":1,"sizeInBytes":3,"cardinality":2}}}

{"somethingNew":{"a":1}}
"#;
        let actions = of_lines(&Path::from("l"), text.as_bytes()).expect("valid");
        assert_eq!(actions.len(), 4);
        let add = actions[1].add.as_ref().expect("an add");
        assert_eq!(
            (add.size, &add.partition_values["p"], add.partition_values["q"].as_deref()),
            (7, &None, Some("x"))
        );
        let vector = actions[2].remove.as_ref().and_then(|remove| remove.deletion_vector.as_ref());
        assert_eq!(vector.expect("a vector").id(), "ux@1");
        assert!(of_lines(&Path::from("l"), b"{\"add\":{\"path\":1}}").is_err());
        assert!(of_lines(&Path::from("l"), b"{\"add\":").is_err());
    }
}
