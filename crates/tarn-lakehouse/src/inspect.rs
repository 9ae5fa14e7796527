//! What a table is made of, as rows: its snapshots, files and manifests (Iceberg documentation, "Inspecting tables").
//!
//! Columns are named as there. Partitions and bounds are given as people read them, not as structs and bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int32Builder, Int64Array, Int64Builder, MapBuilder, RecordBatch,
    StringArray, StringBuilder, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use iceberg::spec::{
    DataContentType, DataFile, Datum, ManifestContentType, ManifestFile, ManifestStatus, Snapshot,
    TableMetadata,
};
use tarn_core::{RequestContext, TableName};

use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::load::DeletesByFile;
use crate::manifest::ManifestCache;
use crate::refs::{RefKind, ancestors, refs};
use crate::service;

/// A kind of rows about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetadataKind {
    /// When each state became the current one.
    History,
    /// The snapshots.
    Snapshots,
    /// The metadata files.
    MetadataLogEntries,
    /// Branches and tags.
    Refs,
    /// Manifests of the current snapshot, or of all.
    Manifests {
        /// Of all snapshots.
        all: bool,
    },
    /// Entries of manifests.
    Entries {
        /// Of all snapshots.
        all: bool,
    },
    /// Data and delete files.
    Files {
        /// Of all snapshots.
        all: bool,
        /// `None` for both.
        data: Option<bool>,
    },
    /// Partitions with what lies in them.
    Partitions,
    /// Runs of services that look after the table.
    Runs,
    /// Rows that are deleted by position.
    PositionDeletes,
}

/// The kinds by name.
pub const METADATA_KINDS: &[(&str, MetadataKind)] = &[
    ("history", MetadataKind::History),
    ("snapshots", MetadataKind::Snapshots),
    ("metadata_log_entries", MetadataKind::MetadataLogEntries),
    ("refs", MetadataKind::Refs),
    ("manifests", MetadataKind::Manifests { all: false }),
    ("all_manifests", MetadataKind::Manifests { all: true }),
    ("entries", MetadataKind::Entries { all: false }),
    ("all_entries", MetadataKind::Entries { all: true }),
    ("files", MetadataKind::Files { all: false, data: None }),
    ("data_files", MetadataKind::Files { all: false, data: Some(true) }),
    ("delete_files", MetadataKind::Files { all: false, data: Some(false) }),
    ("all_files", MetadataKind::Files { all: true, data: None }),
    ("all_data_files", MetadataKind::Files { all: true, data: Some(true) }),
    ("all_delete_files", MetadataKind::Files { all: true, data: Some(false) }),
    ("partitions", MetadataKind::Partitions),
    ("runs", MetadataKind::Runs),
    ("position_deletes", MetadataKind::PositionDeletes),
];

impl MetadataKind {
    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        METADATA_KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// Columns on their way into a batch.
#[derive(Default)]
struct Columns(Vec<(Field, ArrayRef)>);

impl Columns {
    fn add(&mut self, name: &str, array: impl arrow::array::Array + 'static) {
        let array: ArrayRef = Arc::new(array);
        self.0.push((Field::new(name, array.data_type().clone(), true), array));
    }

    fn long(&mut self, name: &str, values: impl Iterator<Item = Option<i64>>) {
        self.add(name, values.collect::<Int64Array>());
    }

    fn int(&mut self, name: &str, values: impl Iterator<Item = Option<i32>>) {
        self.add(name, values.collect::<Int32Array>());
    }

    fn text<S: AsRef<str>>(&mut self, name: &str, values: impl Iterator<Item = Option<S>>) {
        self.add(name, values.collect::<StringArray>());
    }

    fn time(&mut self, name: &str, values_ms: impl Iterator<Item = Option<i64>>) {
        let micros = values_ms.map(|ms| ms.map(|ms| ms.saturating_mul(1_000)));
        self.add(name, micros.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"));
    }

    fn batch(self) -> Result<RecordBatch, ArrowError> {
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = self.0.into_iter().unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }
}

/// A file with the manifest entry that speaks of it.
struct Entry {
    file: DataFile,
    status: ManifestStatus,
    snapshot_id: Option<i64>,
    sequence_number: Option<i64>,
    file_sequence_number: Option<i64>,
    spec_id: i32,
    partition: String,
}

/// A table that is looked into.
struct Inspection<'a> {
    table: String,
    metadata: &'a TableMetadata,
    manifests: &'a ManifestCache,
}

impl Lakehouse {
    /// Rows about a table. What is only in memory is in none of its files, so it is not among them. Errors:
    /// `TableNotFound`, damaged files.
    pub async fn inspect(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        kind: MetadataKind,
    ) -> Result<RecordBatch, LakehouseError> {
        let loaded = self.catalog().load_table(ctx, name).await?;
        let table = name.to_string();
        let look =
            Inspection { table: table.clone(), metadata: &loaded.metadata, manifests: self.manifests() };
        let batch = match kind {
            MetadataKind::History => look.history(),
            MetadataKind::Snapshots => look.snapshots(),
            MetadataKind::MetadataLogEntries => look.metadata_log(loaded.metadata_location.as_deref()),
            MetadataKind::Refs => look.refs(),
            MetadataKind::Manifests { all } => look.manifest_rows(all).await?,
            MetadataKind::Entries { all } => look.entry_rows(&look.entries(all).await?),
            MetadataKind::Files { all, data } => {
                let mut seen = HashSet::new();
                let mut entries = look.entries(all).await?;
                entries.retain(|entry| {
                    let is_data = entry.file.content_type() == DataContentType::Data;
                    entry.status != ManifestStatus::Deleted
                        && data.is_none_or(|data| data == is_data)
                        && seen.insert(entry.file.file_path().to_string())
                });
                look.file_rows(&entries)
            }
            MetadataKind::Partitions => look.partitions(&look.entries(false).await?),
            MetadataKind::Runs => service::rows(&self.service_runs(ctx, name, usize::MAX).await?),
            MetadataKind::PositionDeletes => {
                let mut entries = look.entries(false).await?;
                entries.retain(|entry| {
                    entry.file.content_type() == DataContentType::PositionDeletes
                        && entry.status != ManifestStatus::Deleted
                });
                let mut deletes = Vec::with_capacity(entries.len());
                for entry in &entries {
                    deletes.push(self.loader().delete_file(&table, &entry.file).await?);
                }
                position_deletes(&entries, &deletes)
            }
        };
        batch.map_err(|source| LakehouseError::Arrow { table, source })
    }
}

impl Inspection<'_> {
    fn history(&self) -> Result<RecordBatch, ArrowError> {
        let log = self.metadata.history();
        let parent = |id: i64| self.metadata.snapshot_by_id(id).and_then(|s| s.parent_snapshot_id());
        let ancestors = ancestors(self.metadata);
        let mut columns = Columns::default();
        columns.time("made_current_at", log.iter().map(|entry| Some(entry.timestamp_ms())));
        columns.long("snapshot_id", log.iter().map(|entry| Some(entry.snapshot_id)));
        columns.long("parent_id", log.iter().map(|entry| parent(entry.snapshot_id)));
        let current = log.iter().map(|entry| Some(ancestors.contains(&entry.snapshot_id)));
        columns.add("is_current_ancestor", current.collect::<BooleanArray>());
        columns.batch()
    }

    fn sorted_snapshots(&self) -> Vec<&Arc<Snapshot>> {
        let mut all: Vec<_> = self.metadata.snapshots().collect();
        all.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
        all
    }

    fn snapshots(&self) -> Result<RecordBatch, ArrowError> {
        let all = self.sorted_snapshots();
        let mut columns = Columns::default();
        columns.time("committed_at", all.iter().map(|s| Some(s.timestamp_ms())));
        columns.long("snapshot_id", all.iter().map(|s| Some(s.snapshot_id())));
        columns.long("parent_id", all.iter().map(|s| s.parent_snapshot_id()));
        columns.text("operation", all.iter().map(|s| Some(s.summary().operation.as_str())));
        columns.text("manifest_list", all.iter().map(|s| Some(s.manifest_list())));
        let mut summaries = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for snapshot in &all {
            let sorted: BTreeMap<_, _> = snapshot.summary().additional_properties.iter().collect();
            for (key, value) in sorted {
                summaries.keys().append_value(key);
                summaries.values().append_value(value);
            }
            summaries.append(true)?;
        }
        columns.add("summary", summaries.finish());
        columns.batch()
    }

    fn metadata_log(&self, current: Option<&str>) -> Result<RecordBatch, ArrowError> {
        let log = self.metadata.metadata_log().iter();
        let mut files: Vec<(i64, String)> =
            log.map(|entry| (entry.timestamp_ms, entry.metadata_file.clone())).collect();
        files.extend(current.map(|file| (self.metadata.last_updated_ms(), file.to_string())));
        // What was current when the file was written.
        let latest = |at: i64| {
            let log = self.metadata.history().iter().rev();
            let id = log.filter(|entry| entry.timestamp_ms() <= at).map(|entry| entry.snapshot_id).next();
            id.and_then(|id| self.metadata.snapshot_by_id(id))
        };
        let mut columns = Columns::default();
        columns.time("timestamp", files.iter().map(|(at, _)| Some(*at)));
        columns.text("file", files.iter().map(|(_, file)| Some(file.as_str())));
        columns.long("latest_snapshot_id", files.iter().map(|(at, _)| latest(*at).map(|s| s.snapshot_id())));
        columns.int("latest_schema_id", files.iter().map(|(at, _)| latest(*at).and_then(|s| s.schema_id())));
        columns.long(
            "latest_sequence_number",
            files.iter().map(|(at, _)| latest(*at).map(|s| s.sequence_number())),
        );
        columns.batch()
    }

    fn refs(&self) -> Result<RecordBatch, ArrowError> {
        let all = refs(self.metadata);
        let mut columns = Columns::default();
        columns.text("name", all.iter().map(|r| Some(r.name.as_str())));
        let kind = |kind| if kind == RefKind::Tag { "TAG" } else { "BRANCH" };
        columns.text("type", all.iter().map(|r| Some(kind(r.kind))));
        columns.long("snapshot_id", all.iter().map(|r| Some(r.snapshot_id)));
        columns.long("max_reference_age_in_ms", all.iter().map(|r| r.max_ref_age_ms));
        columns.long("min_snapshots_to_keep", all.iter().map(|r| r.min_snapshots_to_keep));
        columns.long("max_snapshot_age_in_ms", all.iter().map(|r| r.max_snapshot_age_ms));
        columns.batch()
    }

    /// Manifests of the current snapshot or of all, with the snapshot that names them.
    async fn manifest_files(&self, all: bool) -> Result<Vec<(ManifestFile, i64)>, LakehouseError> {
        let snapshots: Vec<&Arc<Snapshot>> = match all {
            true => self.sorted_snapshots(),
            false => self.metadata.current_snapshot().into_iter().collect(),
        };
        let mut found = Vec::new();
        for snapshot in snapshots {
            let version = self.metadata.format_version();
            let list = self.manifests.list(&self.table, snapshot.manifest_list(), version).await?;
            let id = snapshot.snapshot_id();
            found.extend(list.entries().iter().map(|file| (file.clone(), id)));
        }
        Ok(found)
    }

    async fn manifest_rows(&self, all: bool) -> Result<Result<RecordBatch, ArrowError>, LakehouseError> {
        let (files, named): (Vec<ManifestFile>, Vec<i64>) =
            self.manifest_files(all).await?.into_iter().unzip();
        let count = |n: Option<u32>| n.map(i32::try_from).and_then(Result::ok);
        let of = |file: &ManifestFile, is_data: bool, n: Option<u32>| {
            let own = (file.content == ManifestContentType::Data) == is_data;
            count(if own { n.or(Some(0)) } else { Some(0) })
        };
        let mut columns = Columns::default();
        columns
            .int("content", files.iter().map(|f| Some(i32::from(f.content == ManifestContentType::Deletes))));
        columns.text("path", files.iter().map(|f| Some(f.manifest_path.as_str())));
        columns.long("length", files.iter().map(|f| Some(f.manifest_length)));
        columns.int("partition_spec_id", files.iter().map(|f| Some(f.partition_spec_id)));
        columns.long("added_snapshot_id", files.iter().map(|f| Some(f.added_snapshot_id)));
        for (is_data, kind) in [(true, "data"), (false, "delete")] {
            columns.int(
                &format!("added_{kind}_files_count"),
                files.iter().map(|f| of(f, is_data, f.added_files_count)),
            );
            let existing = files.iter().map(|f| of(f, is_data, f.existing_files_count));
            columns.int(&format!("existing_{kind}_files_count"), existing);
            let deleted = files.iter().map(|f| of(f, is_data, f.deleted_files_count));
            columns.int(&format!("deleted_{kind}_files_count"), deleted);
        }
        if all {
            // A manifest occurs once for each snapshot that names it.
            columns.long("reference_snapshot_id", named.into_iter().map(Some));
        }
        Ok(columns.batch())
    }

    async fn entries(&self, all: bool) -> Result<Vec<Entry>, LakehouseError> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        for (file, _) in self.manifest_files(all).await? {
            if !seen.insert(file.manifest_path.clone()) {
                continue;
            }
            let manifest = self.manifests.manifest(&self.table, &file).await?;
            let spec = manifest.metadata().partition_spec();
            for entry in manifest.entries() {
                let schema = Arc::clone(self.metadata.current_schema());
                let partition = match spec.is_unpartitioned() || spec.partition_type(&schema).is_err() {
                    true => String::new(),
                    false => spec.partition_to_path(entry.data_file().partition(), schema),
                };
                entries.push(Entry {
                    file: entry.data_file().clone(),
                    status: entry.status(),
                    snapshot_id: entry.snapshot_id(),
                    sequence_number: entry.sequence_number(),
                    file_sequence_number: entry.file_sequence_number,
                    spec_id: file.partition_spec_id,
                    partition,
                });
            }
        }
        Ok(entries)
    }

    fn entry_rows(&self, entries: &[Entry]) -> Result<RecordBatch, ArrowError> {
        let mut columns = Columns::default();
        columns.int("status", entries.iter().map(|e| Some(e.status as i32)));
        columns.long("snapshot_id", entries.iter().map(|e| e.snapshot_id));
        columns.long("sequence_number", entries.iter().map(|e| e.sequence_number));
        columns.long("file_sequence_number", entries.iter().map(|e| e.file_sequence_number));
        self.add_files(&mut columns, entries)?;
        columns.batch()
    }

    fn file_rows(&self, entries: &[Entry]) -> Result<RecordBatch, ArrowError> {
        let mut columns = Columns::default();
        self.add_files(&mut columns, entries)?;
        columns.batch()
    }

    fn add_files(&self, columns: &mut Columns, entries: &[Entry]) -> Result<(), ArrowError> {
        let long = |n: u64| Some(i64::try_from(n).unwrap_or(i64::MAX));
        let files = || entries.iter().map(|entry| &entry.file);
        columns.int("content", files().map(|f| Some(f.content_type() as i32)));
        columns.text("file_path", files().map(|f| Some(f.file_path())));
        columns.text("file_format", files().map(|f| Some(f.file_format().to_string().to_uppercase())));
        columns.int("spec_id", entries.iter().map(|entry| Some(entry.spec_id)));
        columns.text("partition", entries.iter().map(|e| Some(&e.partition).filter(|text| !text.is_empty())));
        columns.long("record_count", files().map(|f| long(f.record_count())));
        columns.long("file_size_in_bytes", files().map(|f| long(f.file_size_in_bytes())));
        for (name, of) in [
            ("column_sizes", DataFile::column_sizes as fn(&DataFile) -> &HashMap<i32, u64>),
            ("value_counts", DataFile::value_counts),
            ("null_value_counts", DataFile::null_value_counts),
            ("nan_value_counts", DataFile::nan_value_counts),
        ] {
            let shown = files().map(|file| self.by_column(of(file), |n| n.to_string()));
            columns.add(name, map_of(shown)?);
        }
        for (name, of) in [
            ("lower_bounds", DataFile::lower_bounds as fn(&DataFile) -> &HashMap<i32, Datum>),
            ("upper_bounds", DataFile::upper_bounds),
        ] {
            let shown = files().map(|file| self.by_column(of(file), Datum::to_human_string));
            columns.add(name, map_of(shown)?);
        }
        columns.int("sort_order_id", files().map(DataFile::sort_order_id));
        Ok(())
    }

    /// Figures by name of the column instead of its field id.
    fn by_column<T>(
        &self,
        figures: &HashMap<i32, T>,
        show: impl Fn(&T) -> String,
    ) -> BTreeMap<String, String> {
        let schema = self.metadata.current_schema();
        let name = |id: &i32| schema.name_by_field_id(*id).map_or_else(|| id.to_string(), str::to_string);
        figures.iter().map(|(id, figure)| (name(id), show(figure))).collect()
    }

    fn partitions(&self, entries: &[Entry]) -> Result<RecordBatch, ArrowError> {
        #[derive(Default)]
        struct Sum {
            records: i64,
            files: i32,
            bytes: i64,
            position_deletes: i64,
            position_files: i32,
            equality_deletes: i64,
            equality_files: i32,
            newest: Option<i64>,
        }
        let mut sums: BTreeMap<(&str, i32), Sum> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.status != ManifestStatus::Deleted) {
            let sum = sums.entry((&entry.partition, entry.spec_id)).or_default();
            let records = i64::try_from(entry.file.record_count()).unwrap_or(i64::MAX);
            match entry.file.content_type() {
                DataContentType::Data => {
                    sum.records += records;
                    sum.files += 1;
                    sum.bytes += i64::try_from(entry.file.file_size_in_bytes()).unwrap_or(i64::MAX);
                }
                DataContentType::PositionDeletes => {
                    sum.position_deletes += records;
                    sum.position_files += 1;
                }
                DataContentType::EqualityDeletes => {
                    sum.equality_deletes += records;
                    sum.equality_files += 1;
                }
            }
            let order = |id: Option<i64>| {
                id.and_then(|id| self.metadata.snapshot_by_id(id)).map(|s| s.sequence_number())
            };
            if order(entry.snapshot_id) > order(sum.newest) {
                sum.newest = entry.snapshot_id;
            }
        }
        let at =
            |id: Option<i64>| id.and_then(|id| self.metadata.snapshot_by_id(id)).map(|s| s.timestamp_ms());
        let mut columns = Columns::default();
        columns
            .text("partition", sums.keys().map(|(partition, _)| Some(*partition).filter(|p| !p.is_empty())));
        columns.int("spec_id", sums.keys().map(|(_, spec)| Some(*spec)));
        columns.long("record_count", sums.values().map(|sum| Some(sum.records)));
        columns.int("file_count", sums.values().map(|sum| Some(sum.files)));
        columns.long("total_data_file_size_in_bytes", sums.values().map(|sum| Some(sum.bytes)));
        columns.long("position_delete_record_count", sums.values().map(|sum| Some(sum.position_deletes)));
        columns.int("position_delete_file_count", sums.values().map(|sum| Some(sum.position_files)));
        columns.long("equality_delete_record_count", sums.values().map(|sum| Some(sum.equality_deletes)));
        columns.int("equality_delete_file_count", sums.values().map(|sum| Some(sum.equality_files)));
        columns.time("last_updated_at", sums.values().map(|sum| at(sum.newest)));
        columns.long("last_updated_snapshot_id", sums.values().map(|sum| sum.newest));
        columns.batch()
    }
}

/// One row for each position, in order of the delete files, the files they speak of, and the positions. Paths are held
/// once.
fn position_deletes(entries: &[Entry], deletes: &[Arc<DeletesByFile>]) -> Result<RecordBatch, ArrowError> {
    let view = || StringViewBuilder::new().with_deduplicate_strings();
    let (mut paths, mut partitions, mut delete_paths) = (view(), view(), view());
    let (mut positions, mut specs) = (Int64Builder::new(), Int32Builder::new());
    for (entry, by_file) in entries.iter().zip(deletes) {
        let sorted: BTreeMap<&String, _> = by_file.iter().collect();
        for (path, rows) in sorted {
            for row in rows.iter() {
                paths.append_value(path);
                positions.append_value(i64::try_from(row).unwrap_or(i64::MAX));
                partitions.append_option(Some(&entry.partition).filter(|text| !text.is_empty()));
                specs.append_value(entry.spec_id);
                delete_paths.append_value(entry.file.file_path());
            }
        }
    }
    let mut columns = Columns::default();
    columns.add("file_path", paths.finish());
    columns.add("pos", positions.finish());
    columns.add("partition", partitions.finish());
    columns.add("spec_id", specs.finish());
    columns.add("delete_file_path", delete_paths.finish());
    columns.batch()
}

fn map_of(
    rows: impl Iterator<Item = BTreeMap<String, String>>,
) -> Result<arrow::array::MapArray, ArrowError> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        maps.append(true)?;
    }
    Ok(maps.finish())
}
