//! Delta Lake tables, by their log (Delta protocol): which data files a version holds, and what is deleted in them.
//!
//! `list` orders the files of the log, `actions` reads them, `replay` makes a state of them, `schema` its columns.

mod actions;
mod list;
mod replay;
mod schema;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_core::RequestContext;
use tarn_core::files::{FilesFault, FoundTable, ListedFile};
use uuid::Uuid;

use super::FileReaders;
use super::config::{FilesConfig, FilesFormat};
use super::lake::{
    FileDetail, FoundBy, FoundLake, LakePlan, Place, Roots, Vector, damaged, normal, tag_of, z85,
};
use actions::{Add, DeletionVector};

/// Length of a UUID in Z85.
const UUID_CHARS: usize = 20;
/// Around a deletion vector in its file: its length and its checksum.
const FRAME_BYTES: u64 = 8;

/// Which state of a Delta table is read; the newest without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeltaOptions {
    /// A version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The last version at this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// `%20` and the like made plain. Errors: no UTF-8.
fn decoded(uri: &str) -> Result<String, FilesFault> {
    let bytes = uri.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = pair.and_then(|pair| std::str::from_utf8(pair).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).map_err(|_| damaged(format!("`{uri}` in the table's log is no path")))
}

/// The location of a path of the log.
fn location_of(files: &FileReaders, place: &Place, uri: &str) -> Result<String, FilesFault> {
    let is_absolute = uri.starts_with('/')
        || uri.split_once(':').is_some_and(|(scheme, rest)| {
            rest.starts_with('/') && !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    let path = decoded(uri)?;
    if is_absolute {
        return normal(&path, &files.project);
    }
    Ok(place.store.location_of(&place.below(&path)?))
}

fn vector_of(files: &FileReaders, place: &Place, vector: &DeletionVector) -> Result<Vector, FilesFault> {
    let text = &vector.path_or_inline_dv;
    let wrong = || damaged(format!("`{text}` in the table's log is no deletion vector"));
    let location = match vector.storage_type.as_str() {
        "i" => return Ok(Vector::Inline(text.clone())),
        "p" => location_of(files, place, text)?,
        "u" => {
            let at = text.len().checked_sub(UUID_CHARS).ok_or_else(wrong)?;
            let (prefix, id) = (text.get(..at).ok_or_else(wrong)?, text.get(at..).ok_or_else(wrong)?);
            let id = z85(id).and_then(|bytes| Uuid::from_slice(&bytes).ok()).ok_or_else(wrong)?;
            let name = format!("deletion_vector_{id}.bin");
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            place.store.location_of(&place.below(&path)?)
        }
        other => return Err(damaged(format!("the table has deletion vectors of an unknown kind `{other}`"))),
    };
    let offset = u64::try_from(vector.offset.unwrap_or(0)).map_err(|_| wrong())?;
    let bytes = u64::try_from(vector.size_in_bytes).map_err(|_| wrong())?.saturating_add(FRAME_BYTES);
    Ok(Vector::At { location, offset, bytes })
}

/// The table in a folder. Errors: a log that lacks something, a version that is not there, features that are not known.
pub(crate) async fn found(
    files: &FileReaders,
    ctx: &RequestContext,
    config: &FilesConfig,
    place: &Place,
) -> Result<FoundLake, FilesFault> {
    let _ = ctx;
    let state = Box::pin(replay::state(place, &config.delta)).await?;
    let shape = schema::shape_of(&state.metadata, state.by)?;
    let roots = Roots::new(Some(place.location()), config, &files.project)?;
    let places: HashMap<&str, usize> =
        shape.columns.iter().enumerate().map(|(at, column)| (column.physical(), at)).collect();
    let partitions: Vec<(String, usize)> = shape
        .partition_by
        .iter()
        .filter_map(|name| {
            let at = shape.columns.iter().position(|column| column.name == *name)?;
            Some((name.clone(), at))
        })
        .collect();
    if partitions.len() != shape.partition_by.len() {
        return Err(damaged("the table is partitioned by a column that it does not have"));
    }
    let mut listed = Vec::with_capacity(state.files.len());
    for add in state.files.values() {
        listed.push(file_of(files, place, (&roots, &shape, &places, &partitions), add)?);
    }
    let columns = shape.columns;
    let plan = LakePlan {
        columns,
        by: state.by,
        constants_win: true,
        roots,
        deletes: Vec::new(),
        table: state.metadata.id.clone(),
    };
    let table = FoundTable {
        id: state.metadata.id,
        partition_by: shape.partition_by,
        key: Vec::new(),
        required: shape.required,
        comments: shape.comments,
    };
    Ok(FoundLake {
        format: FilesFormat::Delta,
        version: state.version.to_string(),
        plan,
        table,
        files: listed,
        warnings: state.warnings,
        s3: None,
    })
}

fn file_of(
    files: &FileReaders,
    place: &Place,
    (roots, shape, places, partitions): (&Roots, &schema::Shape, &HashMap<&str, usize>, &[(String, usize)]),
    add: &Add,
) -> Result<ListedFile, FilesFault> {
    let location = location_of(files, place, &add.path)?;
    roots.check(&location)?;
    let bytes =
        u64::try_from(add.size).map_err(|_| damaged(format!("`{}` has a size below zero", add.path)))?;
    let mut detail = FileDetail::default();
    let mut partition = Vec::with_capacity(partitions.len());
    for (name, at) in partitions {
        let physical = shape.columns.get(*at).map(|column| column.physical()).unwrap_or_default();
        // An empty text is null, whatever the type.
        let value = add.partition_values.get(physical).cloned().flatten().filter(|value| !value.is_empty());
        partition.push((name.clone(), value.clone()));
        if let Some(at) = places.get(physical) {
            detail.constants.insert(*at, value.map_or(Value::Null, Value::String));
        }
    }
    if let Some(vector) = &add.deletion_vector {
        detail.vector = Some(vector_of(files, place, vector)?);
        detail.vector_rows = u64::try_from(vector.cardinality).ok();
        if let Some(Vector::At { location, .. }) = &detail.vector {
            roots.check(location)?;
        }
    }
    let tag = tag_of(&location, bytes, &detail);
    Ok(ListedFile { location, bytes, tag, partition, detail: detail.kept() })
}

/// How columns are found in files, by the table's property.
fn found_by(mode: Option<&str>) -> Result<FoundBy, FilesFault> {
    match mode {
        None | Some("none" | "name") => Ok(FoundBy::Name),
        Some("id") => Ok(FoundBy::Id),
        Some(other) => Err(FilesFault::invalid(
            format!("the table maps its columns in a way that is not known: `{other}`"),
            "set `delta.columnMapping.mode` to name there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_log_are_uris() {
        assert_eq!(decoded("a%20b%252F/c%E6%95%B0+x").expect("text"), "a b%2F/c数+x");
        assert_eq!(decoded("50%/100%zz").expect("text"), "50%/100%zz");
        assert!(decoded("%ff").is_err());
    }

    #[test]
    fn vectors_lie_where_the_protocol_says() {
        let data = std::env::temp_dir();
        let files = FileReaders::new(data.clone(), data.join("none"));
        let store = tarn_storage::Store::open_folder(std::path::Path::new("/")).expect("opens");
        let place = Place { store, base: object_store::path::Path::parse("lake/t").expect("a path") };
        let of = |storage_type: &str, text: &str| {
            vector_of(
                &files,
                &place,
                &DeletionVector {
                    storage_type: storage_type.into(),
                    path_or_inline_dv: text.into(),
                    offset: Some(4),
                    size_in_bytes: 40,
                    cardinality: 6,
                },
            )
        };
        let at = |location: &str| Vector::At { location: location.into(), offset: 4, bytes: 48 };
        let id = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        let known = of("u", "ab^-aqEH.-t@S}K{vb[*k^").expect("valid");
        assert_eq!(known, at(&format!("file:///lake/t/ab/{id}")));
        assert_eq!(of("u", "^-aqEH.-t@S}K{vb[*k^").expect("valid"), at(&format!("file:///lake/t/{id}")));
        assert_eq!(of("p", "s3://b/x%20y.bin").expect("valid"), at("s3://b/x y.bin"));
        assert!(of("u", "short").is_err());
        assert!(of("z", "x").is_err());
        assert!(of("u", "../../aa/^-aqEH.-t@S}K{vb[*k^").is_err());
    }
}
