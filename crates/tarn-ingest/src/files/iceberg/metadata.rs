//! The metadata of a table: found in its folder, and which state of it is read.

use std::io::Read as _;
use std::path::Path as FilePath;

use chrono::{DateTime, SecondsFormat, Utc};
use flate2::read::GzDecoder;
use iceberg::spec::{Schema, SchemaRef, SnapshotRef, TableMetadata};
use object_store::ObjectMeta;
use object_store::path::Path;
use tarn_core::files::FilesFault;
use tarn_core::{FaultKind, FaultReport};

use super::IcebergOptions;
use crate::files::lake::{METADATA_BYTES_MAX, Place, damaged, normal};

/// A file of metadata, by its name: its number, and whether it is compressed.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    number: u64,
    /// Whether a folder's writers number them, and not a catalog.
    plain: bool,
    gzip: bool,
}

fn named(name: &str) -> Option<Named> {
    let (stem, gzip) = match name.strip_suffix(".metadata.json") {
        Some(stem) => match stem.strip_suffix(".gz") {
            Some(stem) => (stem, true),
            None => (stem, false),
        },
        None => (name.strip_suffix(".metadata.json.gz")?, true),
    };
    let (digits, plain) = match stem.strip_prefix('v') {
        Some(digits) => (digits, true),
        None => (stem.split('-').next()?, false),
    };
    Some(Named { number: digits.parse().ok()?, plain, gzip })
}

/// Whether a path names a file of metadata.
pub(crate) fn is_metadata_file(path: &str) -> bool {
    path.ends_with(".metadata.json") || path.ends_with(".metadata.json.gz")
}

/// The newest file: what the hint says or goes on from there, else the one of the highest number.
fn newest(metas: &[ObjectMeta], hint: Option<u64>) -> Option<&ObjectMeta> {
    let of = |meta: &ObjectMeta| named(meta.location.filename()?);
    let numbered = |number: u64| {
        metas.iter().find(|meta| of(meta).is_some_and(|named| named.plain && named.number == number))
    };
    if let Some(mut number) = hint
        && let Some(mut found) = numbered(number)
    {
        // The hint is written after the file, or not at all.
        while let Some(next) = numbered(number + 1) {
            (number, found) = (number + 1, next);
        }
        return Some(found);
    }
    let all = metas.iter().filter_map(|meta| Some((of(meta)?.number, meta.last_modified, meta)));
    all.max_by_key(|(number, modified, _)| (*number, *modified)).map(|(.., meta)| meta)
}

/// Whether a folder holds metadata.
pub(crate) async fn is_table(place: &Place) -> Result<bool, FilesFault> {
    let metas = place.files_in("metadata").await?;
    Ok(metas.iter().any(|meta| meta.location.filename().and_then(named).is_some()))
}

/// The metadata of a table in a folder, or in a file of it, and the table's folder.
pub(super) async fn found(place: &Place) -> Result<(TableMetadata, Place), FilesFault> {
    if place.base.filename().is_some_and(is_metadata_file) {
        let mut parts: Vec<String> = place.base.parts().map(|part| part.as_ref().to_string()).collect();
        parts.pop();
        parts.pop_if(|last| last == "metadata");
        let base = Path::parse(parts.join("/")).map_err(|error| damaged(error.to_string()))?;
        let bytes = place.read(&place.base).await?;
        return Ok((parsed(&place.base, &bytes)?, Place { store: place.store.clone(), base }));
    }
    let metas = place.files_in("metadata").await?;
    let hint = metas.iter().find(|meta| meta.location.filename() == Some("version-hint.text"));
    let hint = match hint {
        Some(meta) => std::str::from_utf8(&place.read(&meta.location).await?)
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        None => None,
    };
    let file = newest(&metas, hint).ok_or_else(|| {
        FilesFault(FaultReport {
            kind: FaultKind::NotFound,
            message: format!("`{}/metadata` holds no file `….metadata.json`", place.location()),
            hint: Some("name the folder of the table, or its newest file of metadata".to_string()),
        })
    })?;
    let bytes = place.read(&file.location).await?;
    Ok((parsed(&file.location, &bytes)?, place.clone()))
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<TableMetadata, FilesFault> {
    let wrong = |what: String| damaged(format!("`{path}` cannot be read: {what}"));
    let mut plain = Vec::new();
    // By their first bytes: writers do not agree on the name.
    let text = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => {
            let read = GzDecoder::new(bytes).take(METADATA_BYTES_MAX).read_to_end(&mut plain);
            read.map_err(|error| wrong(error.to_string()))?;
            plain.as_slice()
        }
        false => bytes,
    };
    serde_json::from_slice(text).map_err(|error| {
        let version = serde_json::from_slice::<serde_json::Value>(text).ok();
        let version = version.and_then(|value| value.get("format-version")?.as_i64());
        match version {
            Some(version) if !(1..=3).contains(&version) => FilesFault::invalid(
                format!("the table is of format version {version}; versions 1, 2 and 3 are read"),
                "copy it there into a table of an older version",
            ),
            _ => wrong(error.to_string()),
        }
    })
}

/// A state of a table: its snapshot, if it has any, and the schema in which its rows are read.
pub(super) struct Chosen {
    pub(super) snapshot: Option<SnapshotRef>,
    pub(super) schema: SchemaRef,
}

/// The state that is asked for. Errors: it is not there.
pub(super) fn chosen(metadata: &TableMetadata, options: &IcebergOptions) -> Result<Chosen, FilesFault> {
    let asked = [options.snapshot.is_some(), options.name.is_some(), options.timestamp.is_some()];
    if asked.iter().filter(|asked| **asked).count() > 1 {
        return Err(FilesFault::invalid(
            "`iceberg` has more than one of `snapshot`, `ref` and `timestamp`",
            "give one of them",
        ));
    }
    let by_own_schema = |snapshot: &SnapshotRef| {
        let schema = snapshot.schema(metadata).map_err(|error| damaged(error.message()))?;
        Ok::<_, FilesFault>(Chosen { snapshot: Some(snapshot.clone()), schema })
    };
    if let Some(id) = &options.snapshot {
        let id = id.number()?;
        let snapshot =
            metadata.snapshot_by_id(id).ok_or_else(|| none_such(metadata, &format!("snapshot {id}")))?;
        return by_own_schema(snapshot);
    }
    if let Some(timestamp) = &options.timestamp {
        return by_own_schema(at_time(metadata, timestamp)?);
    }
    let current = || metadata.current_schema().clone();
    match &options.name {
        Some(name) => {
            let snapshot = metadata.snapshot_for_ref(name);
            let snapshot = snapshot.ok_or_else(|| none_such(metadata, &format!("branch or tag `{name}`")))?;
            // A branch goes on with the table's schema, a tag keeps that of its snapshot.
            match metadata.is_branch(name) {
                true => Ok(Chosen { snapshot: Some(snapshot.clone()), schema: current() }),
                false => by_own_schema(snapshot),
            }
        }
        None => Ok(Chosen { snapshot: metadata.current_snapshot().cloned(), schema: current() }),
    }
}

trait Branches {
    fn is_branch(&self, name: &str) -> bool;
}

impl Branches for TableMetadata {
    fn is_branch(&self, name: &str) -> bool {
        let value = serde_json::to_value(self).ok();
        let kind = value.as_ref().and_then(|value| value.get("refs")?.get(name)?.get("type")?.as_str());
        kind != Some("tag")
    }
}

fn at_time<'a>(metadata: &'a TableMetadata, timestamp: &str) -> Result<&'a SnapshotRef, FilesFault> {
    let asked = DateTime::parse_from_rfc3339(timestamp.trim()).map_err(|_| {
        FilesFault::invalid(
            format!("`iceberg.timestamp`: `{timestamp}` is no time"),
            "write it like `2024-05-01T10:00:00Z`",
        )
    })?;
    let asked = asked.timestamp_millis();
    // What was current then, also where the table was rolled back later.
    let entry = metadata.history().iter().rfind(|entry| entry.timestamp_ms() <= asked);
    let first = metadata
        .history()
        .first()
        .and_then(|entry| DateTime::<Utc>::from_timestamp_millis(entry.timestamp_ms()));
    let entry = entry.ok_or_else(|| {
        let first = first.map(|first| first.to_rfc3339_opts(SecondsFormat::Millis, true));
        FilesFault::invalid(
            format!("the table had no snapshot at {timestamp}"),
            format!("its first one left is of {}", first.unwrap_or_else(|| "no time".to_string())),
        )
    })?;
    metadata
        .snapshot_by_id(entry.snapshot_id)
        .ok_or_else(|| none_such(metadata, &format!("snapshot {} any more", entry.snapshot_id)))
}

fn none_such(metadata: &TableMetadata, what: &str) -> FilesFault {
    let mut snapshots: Vec<&SnapshotRef> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.timestamp_ms()));
    let shown: Vec<String> = snapshots.iter().take(5).map(|one| one.snapshot_id().to_string()).collect();
    FilesFault::invalid(
        format!("the table has no {what}"),
        format!("its newest snapshots are {}", shown.join(", ")),
    )
}

/// Locations of the metadata as they are now: a table that was copied or moved still names its old place.
#[derive(Debug)]
pub(super) struct Moved<'a> {
    pub(super) from: Option<String>,
    from_raw: String,
    /// Where it lies now; `None` where its metadata says so.
    to: Option<String>,
    project: &'a FilePath,
}

impl<'a> Moved<'a> {
    pub(super) fn new(metadata: &TableMetadata, place: Option<&Place>, project: &'a FilePath) -> Self {
        let from_raw = metadata.location().trim_end_matches('/').to_string();
        let from = normal(&from_raw, project).ok();
        Self { from, from_raw, to: place.map(Place::location), project }
    }

    /// Whether the metadata names another place than that in which it lies.
    pub(super) fn is_moved(&self) -> bool {
        self.to.is_some() && self.to != self.from
    }

    /// A location of the metadata in its normal form, at the table's present place. Errors: it is of a kind that is not read.
    pub(super) fn place_of(&self, location: &str) -> Result<String, FilesFault> {
        let below = |whole: &str, folder: &str| {
            whole.strip_prefix(folder).filter(|rest| rest.starts_with('/')).map(str::to_string)
        };
        let Some(to) = self.to.as_ref().filter(|_| self.is_moved()) else {
            return normal(location, self.project);
        };
        if let Some(rest) = below(location, &self.from_raw) {
            return normal(&format!("{to}{rest}"), self.project);
        }
        let plain = normal(location, self.project)?;
        Ok(match self.from.as_ref().and_then(|from| below(&plain, from)) {
            Some(rest) => format!("{to}{rest}"),
            None => plain,
        })
    }
}

/// The key columns of a schema, where all of them are columns of rows.
pub(super) fn key_of(schema: &Schema) -> Vec<String> {
    let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
    ids.sort_unstable();
    let fields = schema.as_struct().fields();
    let name = |id: &i32| fields.iter().find(|field| field.id == *id).map(|field| field.name.clone());
    ids.iter().map(name).collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metas(names: &[&str]) -> Vec<ObjectMeta> {
        let meta = |(at, name): (usize, &&str)| ObjectMeta {
            location: Path::parse(format!("t/metadata/{name}")).expect("a path"),
            last_modified: DateTime::<Utc>::from_timestamp_millis(at as i64).expect("a time"),
            size: 1,
            e_tag: None,
            version: None,
        };
        names.iter().enumerate().map(meta).collect()
    }

    #[test]
    fn the_newest_metadata_is_found() {
        let name = |names: &[&str], hint: Option<u64>| {
            newest(&metas(names), hint).and_then(|meta| meta.location.filename().map(str::to_string))
        };
        let catalog =
            ["00009-a.metadata.json", "00010-b.metadata.json", "00010-c.gz.metadata.json", "snap-1.avro"];
        assert_eq!(name(&catalog, None).as_deref(), Some("00010-c.gz.metadata.json"));
        let folder = ["v9.metadata.json", "v10.metadata.json", "v12.metadata.json"];
        assert_eq!(name(&folder, Some(9)).as_deref(), Some("v10.metadata.json"));
        assert_eq!(name(&folder, Some(11)).as_deref(), Some("v12.metadata.json"));
        assert_eq!(name(&folder, None).as_deref(), Some("v12.metadata.json"));
        assert_eq!(name(&["x.json", "version-hint.text"], None), None);
        assert_eq!(named("v3.metadata.json.gz"), Some(Named { number: 3, plain: true, gzip: true }));
    }
}
