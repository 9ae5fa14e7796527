//! Data files of a snapshot, and which deletes concern each (Iceberg specification, "Scan Planning").

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestFile, ManifestList, PartitionSpec,
    PrimitiveLiteral, Snapshot, TableMetadata, Transform, Type,
};
use serde_json::Value;
use tarn_core::RequestContext;
use tarn_core::files::{FilesFault, ListedFile};

use super::columns::value_of;
use super::metadata::Moved;
use crate::files::FileReaders;
use crate::files::config::FilesConfig;
use crate::files::lake::{DeleteFile, FileDetail, LakeColumn, Roots, Vector, damaged, read_at, tag_of};

/// Manifests read at a time.
const AT_ONCE: usize = 8;
/// The column of files of positions that names the data file.
const PATH_ID: i32 = 2_147_483_546;

/// What reading metadata needs.
pub(super) struct Reading<'a> {
    pub(super) files: &'a FileReaders,
    pub(super) ctx: &'a RequestContext,
    pub(super) config: &'a FilesConfig,
    pub(super) roots: &'a Roots,
    pub(super) moved: &'a Moved<'a>,
    pub(super) metadata: &'a TableMetadata,
}

/// What a snapshot holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) files: Vec<ListedFile>,
    pub(super) deletes: Vec<DeleteFile>,
}

/// A file with what manifests say of it.
#[derive(Clone)]
struct Entry {
    file: DataFile,
    sequence: i64,
    spec: i32,
    /// Its partition in a form that is equal where partitions are.
    partition: String,
    values: Vec<(String, Option<Value>)>,
}

impl Reading<'_> {
    async fn read(&self, location: &str) -> Result<Bytes, FilesFault> {
        let place = self.moved.place_of(location)?;
        read_at(self.files, self.ctx, (self.config, self.roots), &place).await
    }

    /// The files of a snapshot. Errors: what cannot be read, or must not.
    pub(super) async fn content(
        &self,
        snapshot: &Snapshot,
        columns: &[LakeColumn],
    ) -> Result<Content, FilesFault> {
        if snapshot.encryption_key_id().is_some() {
            return Err(FilesFault::invalid(
                "the table is encrypted, which is not supported",
                "copy it there",
            ));
        }
        let manifests = self.manifests(snapshot).await?;
        let read = |file: ManifestFile| async move { self.entries(&file).await };
        let mut entries = Vec::new();
        let mut reading = futures::stream::iter(manifests.into_iter().map(read)).buffered(AT_ONCE);
        while let Some(found) = reading.try_next().await? {
            entries.extend(found);
        }
        drop(reading);
        let (data, deletes): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.file.content_type() == DataContentType::Data);
        let deletes = self.deletes(deletes, &data)?;
        let mut content = Content { deletes: deletes.files.clone(), ..Content::default() };
        for entry in &data {
            content.files.push(self.listed(entry, columns, &deletes)?);
        }
        Ok(content)
    }

    async fn manifests(&self, snapshot: &Snapshot) -> Result<Vec<ManifestFile>, FilesFault> {
        if snapshot.manifest_list().is_empty() {
            return Err(FilesFault::invalid(
                "the snapshot lists its manifests in the metadata itself, as only the first writers did",
                "rewrite the table's metadata there (any commit does)",
            ));
        }
        let bytes = self.read(snapshot.manifest_list()).await?;
        let list = ManifestList::parse_with_version(&bytes, self.metadata.format_version());
        let list = list.map_err(|error| {
            damaged(format!("`{}` cannot be read: {}", snapshot.manifest_list(), error.message()))
        })?;
        Ok(list.consume_entries().into_iter().collect())
    }

    async fn entries(&self, file: &ManifestFile) -> Result<Vec<Entry>, FilesFault> {
        if file.key_metadata.is_some() {
            return Err(FilesFault::invalid(
                "the table is encrypted, which is not supported",
                "copy it there",
            ));
        }
        let bytes = self.read(&file.manifest_path).await?;
        let wrong = |what: &str| damaged(format!("`{}` cannot be read: {what}", file.manifest_path));
        let (entries, own) =
            Manifest::parse_avro(&bytes).map_err(|error| wrong(error.message()))?.into_parts();
        let spec = self.metadata.partition_spec_by_id(file.partition_spec_id);
        let spec = spec.ok_or_else(|| wrong("its partitioning is not in the table's metadata"))?;
        let types =
            own.partition_spec().partition_type(own.schema()).map_err(|error| wrong(error.message()))?;
        let alive = entries.iter().filter(|entry| entry.is_alive());
        let entry = |entry: &Arc<iceberg::spec::ManifestEntry>| {
            let file_of = entry.data_file();
            let values = types.fields().iter().zip(file_of.partition().fields()).map(|(field, value)| {
                let value = match (value, field.field_type.as_ref()) {
                    (Some(value), Type::Primitive(kind)) => Some(value_of(value, kind)),
                    _ => None,
                };
                (field.name.clone(), value)
            });
            let values: Vec<(String, Option<Value>)> = values.collect();
            Ok(Entry {
                file: file_of.clone(),
                // Entries that were added with the manifest have its number.
                sequence: entry.sequence_number().unwrap_or(file.sequence_number),
                spec: spec.spec_id(),
                partition: serde_json::to_string(&values.iter().map(|(_, value)| value).collect::<Vec<_>>())
                    .map_err(|error| wrong(&error.to_string()))?,
                values,
            })
        };
        alive.map(entry).collect()
    }

    fn deletes(&self, entries: Vec<Entry>, data: &[Entry]) -> Result<Deletes, FilesFault> {
        let known: std::collections::HashSet<&str> =
            data.iter().map(|entry| entry.file.file_path()).collect();
        let mut found = Deletes::default();
        for entry in entries {
            let file = &entry.file;
            let location = self.moved.place_of(file.file_path())?;
            self.roots.check(&location)?;
            if file.file_format() == DataFileFormat::Puffin {
                let vector = vector_of(&location, file)?;
                let rows = file.record_count();
                let of = file.referenced_data_file();
                let of =
                    of.ok_or_else(|| damaged(format!("`{location}` does not say whose rows it deletes")))?;
                found.vectors.insert(of, (entry.sequence, vector, rows));
                continue;
            }
            if file.file_format() != DataFileFormat::Parquet {
                return Err(unreadable(&location, file.file_format()));
            }
            let is_by_value = file.content_type() == DataContentType::EqualityDeletes;
            let ids = if is_by_value { file.equality_ids().unwrap_or_default() } else { Vec::new() };
            if is_by_value && ids.is_empty() {
                return Err(damaged(format!("`{location}` does not say by which columns it deletes")));
            }
            let at = found.files.len();
            found.files.push(DeleteFile { location, bytes: file.file_size_in_bytes(), ids });
            let spec = self.metadata.partition_spec_by_id(entry.spec);
            let scope =
                match (is_by_value, file_of_positions(file).filter(|path| known.contains(path.as_str()))) {
                    (false, Some(path)) => Scope::File(path),
                    (true, _) if spec.is_some_and(|spec| spec.is_unpartitioned()) => Scope::Table,
                    _ => Scope::Partition(entry.spec, entry.partition),
                };
            found.by_scope.entry(scope).or_default().push((entry.sequence, at, is_by_value));
        }
        Ok(found)
    }

    fn listed(
        &self,
        entry: &Entry,
        columns: &[LakeColumn],
        deletes: &Deletes,
    ) -> Result<ListedFile, FilesFault> {
        let file = &entry.file;
        let location = self.moved.place_of(file.file_path())?;
        self.roots.check(&location)?;
        if file.file_format() != DataFileFormat::Parquet {
            return Err(unreadable(&location, file.file_format()));
        }
        let mut detail = FileDetail::default();
        let called = file.file_path().to_string();
        let vector = deletes.vectors.get(&called).filter(|(sequence, ..)| *sequence >= entry.sequence);
        if let Some((_, vector, rows)) = vector {
            detail.vector = Some(vector.clone());
            detail.vector_rows = Some(*rows);
        }
        // A vector stands for all positions before it.
        detail.deletes = deletes.of(entry, vector.is_some());
        if let Some(spec) = self.metadata.partition_spec_by_id(entry.spec) {
            constants(spec, entry, columns, &mut detail);
        }
        let mut tag = tag_of(
            &location,
            file.file_size_in_bytes(),
            &FileDetail { deletes: Vec::new(), ..detail.clone() },
        );
        for at in &detail.deletes {
            if let Some(own) = deletes.files.get(*at) {
                tag ^= tag_of(&own.location, own.bytes, &FileDetail::default());
            }
        }
        detail.called = (called != location).then_some(called);
        let shown = |value: &Option<Value>| match value {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        };
        let partition = entry.values.iter().map(|(name, value)| (name.clone(), shown(value))).collect();
        Ok(ListedFile { location, bytes: file.file_size_in_bytes(), tag, partition, detail: detail.kept() })
    }
}

/// Values of columns that a file may lack since its partition says them.
fn constants(spec: &PartitionSpec, entry: &Entry, columns: &[LakeColumn], detail: &mut FileDetail) {
    for (field, (_, value)) in spec.fields().iter().zip(&entry.values) {
        if field.transform != Transform::Identity {
            continue;
        }
        let at = columns.iter().position(|column| column.id == Some(field.source_id));
        if let Some(at) = at {
            detail.constants.insert(at, value.clone().unwrap_or(Value::Null));
        }
    }
}

fn unreadable(location: &str, format: DataFileFormat) -> FilesFault {
    FilesFault::invalid(
        format!("`{location}` is a file of the format {format}; of Iceberg tables Parquet is read"),
        "rewrite the table there (`rewrite_data_files` with `write.format.default` = parquet)",
    )
}

fn vector_of(location: &str, file: &DataFile) -> Result<Vector, FilesFault> {
    let part = file.content_offset().zip(file.content_size_in_bytes());
    let part =
        part.and_then(|(offset, bytes)| Some((u64::try_from(offset).ok()?, u64::try_from(bytes).ok()?)));
    let (offset, bytes) =
        part.ok_or_else(|| damaged(format!("`{location}` does not say where its deletion vector stands")))?;
    Ok(Vector::At { location: location.to_string(), offset, bytes })
}

/// The one data file whose rows a file of positions deletes, where it says so.
fn file_of_positions(file: &DataFile) -> Option<String> {
    if let Some(path) = file.referenced_data_file() {
        return Some(path);
    }
    let text = |datum: &iceberg::spec::Datum| match datum.literal() {
        PrimitiveLiteral::String(text) => Some(text.clone()),
        _ => None,
    };
    let lower = file.lower_bounds().get(&PATH_ID).and_then(text)?;
    let upper = file.upper_bounds().get(&PATH_ID).and_then(text)?;
    (lower == upper).then_some(lower)
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Scope {
    File(String),
    Partition(i32, String),
    Table,
}

/// The deletes of a snapshot.
#[derive(Default)]
struct Deletes {
    files: Vec<DeleteFile>,
    /// By the data file: number, vector, rows.
    vectors: HashMap<String, (i64, Vector, u64)>,
    /// Number, place in `files`, whether by value.
    by_scope: HashMap<Scope, Vec<(i64, usize, bool)>>,
}

impl Deletes {
    /// Those that concern a data file: of positions from its own commit on, of values from later ones.
    fn of(&self, entry: &Entry, has_vector: bool) -> Vec<usize> {
        let scopes = [
            Scope::File(entry.file.file_path().to_string()),
            Scope::Partition(entry.spec, entry.partition.clone()),
            Scope::Table,
        ];
        let all = scopes.iter().filter_map(|scope| self.by_scope.get(scope)).flatten();
        let concerns = |(sequence, _, by_value): &&(i64, usize, bool)| match by_value {
            true => *sequence > entry.sequence,
            false => *sequence >= entry.sequence && !has_vector,
        };
        all.filter(concerns).map(|(_, at, _)| *at).collect()
    }
}
