//! Our snapshot producer: one builder for append, upsert, delete, overwrite and compaction.
//!
//! Iceberg specification, sections "Manifests", "Snapshots" and "Commit Conflict Resolution and Retry". The result is
//! a list of requirements and updates as a REST catalog takes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, Manifest, ManifestContentType, ManifestFile, ManifestListWriter,
    ManifestWriter, ManifestWriterBuilder, Operation, PartitionSpec, SchemaRef, Snapshot, SnapshotReference,
    SnapshotSummaryCollector, Summary, TableMetadata, UNASSIGNED_SEQUENCE_NUMBER,
};
use iceberg::{TableRequirement, TableUpdate};
use tarn_core::Env;

use crate::error::LakehouseError;
use crate::manifest::ManifestCache;
use crate::refs::{head_of, retention_of};
use crate::service::policy::{number, switch};

/// Manifests with fewer entries than this are merged once there are many.
const SMALL_MANIFEST_ENTRIES: u64 = 500;
/// How many small manifests of one kind may stand before they are merged.
const SMALL_MANIFESTS_MAX: usize = 30;

/// How much older than the last update of its table a snapshot may be.
const SNAPSHOT_AGE_MAX_MS: i64 = 30_000;

/// What one commit changes in the rows of a table.
#[derive(Debug, Default)]
pub struct RowDelta {
    /// New data files.
    pub add_data: Vec<DataFile>,
    /// New position-delete files.
    pub add_deletes: Vec<DataFile>,
    /// Numbers of the partition specifications of new files, by location, where it is not the current one.
    pub older_specs: HashMap<String, i32>,
    /// Locations of data files that go.
    pub remove_data: HashSet<String>,
    /// Locations of delete files that go.
    pub remove_deletes: HashSet<String>,
    /// More entries of the snapshot's summary.
    pub summary: HashMap<String, String>,
    /// Rows stay the same (compaction).
    pub is_rewrite: bool,
    /// Manifests of data files are written anew, files of one partition together, about so many bytes each.
    pub manifest_bytes: Option<u64>,
    /// When its rows were as they are in it, milliseconds since 1970 UTC; now by default.
    pub as_of_ms: Option<i64>,
}

/// A snapshot that was written but not committed.
#[derive(Debug)]
pub struct Produced {
    /// What must hold at the commit.
    pub requirements: Vec<TableRequirement>,
    /// What the commit does.
    pub updates: Vec<TableUpdate>,
    /// Files that belong to this attempt alone, to be deleted if it is given up.
    pub written: Vec<String>,
    /// The snapshot's identifier.
    pub snapshot_id: i64,
}

impl Produced {
    /// The same for another branch: the metadata that it was produced from had the branch in the place of the table itself
    /// ([`crate::refs::on_branch`]). `before`: the metadata as it is.
    pub fn on_branch(mut self, branch: &str, before: &TableMetadata) -> Self {
        for requirement in &mut self.requirements {
            if let TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id } = requirement {
                *r#ref = branch.to_string();
                // A branch that the commit makes must not be there.
                *snapshot_id = snapshot_id.filter(|_| head_of(before, branch).is_some());
            }
        }
        for update in &mut self.updates {
            if let TableUpdate::SetSnapshotRef { ref_name, reference } = update {
                *ref_name = branch.to_string();
                reference.retention = retention_of(before, branch);
            }
        }
        self
    }
}

struct Producer<'a> {
    table: &'a str,
    metadata: &'a TableMetadata,
    manifests: &'a ManifestCache,
    env: &'a Env,
    snapshot_id: i64,
    unique: String,
    collector: SnapshotSummaryCollector,
    written: Vec<String>,
}

impl RowDelta {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.add_data.is_empty()
            && self.add_deletes.is_empty()
            && self.remove_data.is_empty()
            && self.remove_deletes.is_empty()
            && self.manifest_bytes.is_none()
    }

    fn operation(&self) -> Operation {
        let removes = !self.remove_data.is_empty();
        match (self.is_rewrite, self.add_data.is_empty(), self.add_deletes.is_empty(), removes) {
            (true, ..) => Operation::Replace,
            (_, true, true, true) => Operation::Delete,
            (_, _, false, _) | (_, _, _, true) => Operation::Overwrite,
            _ => Operation::Append,
        }
    }

    /// Writes manifests and the manifest list of a snapshot of `metadata` with this change.
    pub async fn produce(
        self,
        table: &str,
        metadata: &TableMetadata,
        manifests: &ManifestCache,
        env: &Env,
    ) -> Result<Produced, LakehouseError> {
        let mut producer = Producer {
            table,
            metadata,
            manifests,
            env,
            snapshot_id: new_snapshot_id(metadata, env),
            unique: env.entropy.uuid().to_string(),
            collector: SnapshotSummaryCollector::default(),
            written: Vec::new(),
        };
        let (operation, as_of_ms) = (self.operation(), self.as_of_ms);
        let mut all = producer.carried_over(&self).await?;
        for (files, content) in
            [(&self.add_data, ManifestContentType::Data), (&self.add_deletes, ManifestContentType::Deletes)]
        {
            let mut by_spec: BTreeMap<i32, Vec<&DataFile>> = BTreeMap::new();
            for file in files {
                let older = self.older_specs.get(file.file_path()).copied();
                let spec = older.unwrap_or_else(|| metadata.default_partition_spec_id());
                by_spec.entry(spec).or_default().push(file);
            }
            for (spec, files) in by_spec {
                all.push(producer.added(&files, content, spec).await?);
            }
        }
        let list = producer.write_list(all).await?;
        producer.finish(list, operation, as_of_ms, self.summary)
    }
}

fn new_snapshot_id(metadata: &TableMetadata, env: &Env) -> i64 {
    loop {
        // Positive, as the specification's reference implementation does.
        let id = (env.entropy.next_u64() >> 1) as i64;
        if id != 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

impl Producer<'_> {
    fn failed(&self, action: &'static str) -> impl Fn(iceberg::Error) -> LakehouseError + use<> {
        let table = self.table.to_string();
        move |source| LakehouseError::Format { action, table: table.clone(), source }
    }

    fn writer(
        &mut self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
    ) -> Result<ManifestWriter, LakehouseError> {
        let folder = self.metadata.location().trim_end_matches('/');
        let location = format!("{folder}/metadata/{}-m{}.avro", self.unique, self.written.len());
        let io = self.manifests.warehouse().file_io();
        let output = io.new_output(&location).map_err(self.failed("write a manifest"))?;
        self.written.push(location);
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec);
        Ok(match (self.metadata.format_version(), content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        })
    }

    /// The manifests of the current snapshot: as they are, or rewritten where files go, or merged where many are
    /// small.
    async fn carried_over(&mut self, delta: &RowDelta) -> Result<Vec<ManifestFile>, LakehouseError> {
        let Some(snapshot) = self.metadata.current_snapshot() else { return Ok(Vec::new()) };
        let version = self.metadata.format_version();
        let list = self.manifests.list(self.table, snapshot.manifest_list(), version).await?;
        let mut kept = Vec::new();
        let mut small: HashMap<(i32, bool), Vec<ManifestFile>> = HashMap::new();
        let mut parted = Vec::new();
        for file in list.entries() {
            if delta.manifest_bytes.is_some() && file.content == ManifestContentType::Data {
                parted.push(file);
                continue;
            }
            let is_deletes = file.content == ManifestContentType::Deletes;
            let gone = if is_deletes { &delta.remove_deletes } else { &delta.remove_data };
            if !gone.is_empty() {
                let manifest = self.manifests.manifest(self.table, file).await?;
                if manifest.entries().iter().any(|e| e.is_alive() && gone.contains(e.file_path())) {
                    kept.extend(self.rewritten(&[manifest], gone).await?);
                    continue;
                }
            }
            let live = u64::from(file.added_files_count.unwrap_or(0))
                + u64::from(file.existing_files_count.unwrap_or(0));
            if live == 0 {
                // Only tombstones of an earlier snapshot.
                continue;
            }
            if live < SMALL_MANIFEST_ENTRIES {
                small.entry((file.partition_spec_id, is_deletes)).or_default().push(file.clone());
            } else {
                kept.push(file.clone());
            }
        }
        if let Some(bytes) = delta.manifest_bytes {
            kept.extend(self.by_partition(&parted, bytes).await?);
        }
        for group in small.into_values() {
            if group.len() <= self.small_manifests_max() {
                kept.extend(group);
                continue;
            }
            let mut loaded = Vec::with_capacity(group.len());
            for file in &group {
                loaded.push(self.manifests.manifest(self.table, file).await?);
            }
            kept.extend(self.rewritten(&loaded, &HashSet::new()).await?);
        }
        Ok(kept)
    }

    /// How many small manifests of one kind may stand; the table may say otherwise as Iceberg has it.
    fn small_manifests_max(&self) -> usize {
        if switch(self.metadata, "commit.manifest-merge.enabled") == Some(false) {
            return usize::MAX;
        }
        number(self.metadata, "commit.manifest.min-count-to-merge").unwrap_or(SMALL_MANIFESTS_MAX)
    }

    /// Manifests with the live entries of `files`, those of one partition together, about `bytes` each.
    async fn by_partition(
        &mut self,
        files: &[&ManifestFile],
        bytes: u64,
    ) -> Result<Vec<ManifestFile>, LakehouseError> {
        let mut specs: BTreeMap<i32, (u64, Vec<std::sync::Arc<Manifest>>)> = BTreeMap::new();
        for file in files {
            let of_spec = specs.entry(file.partition_spec_id).or_default();
            of_spec.0 += u64::try_from(file.manifest_length).unwrap_or(0);
            of_spec.1.push(self.manifests.manifest(self.table, file).await?);
        }
        let (failed, schema) = (self.failed("write a manifest"), self.metadata.current_schema().clone());
        let mut written = Vec::new();
        for (total, manifests) in specs.into_values() {
            let Some(spec) = manifests.first().map(|manifest| manifest.metadata().partition_spec().clone())
            else {
                continue;
            };
            let live = manifests.iter().flat_map(|m| m.entries()).filter(|entry| entry.is_alive());
            let place =
                |file: &DataFile| match spec.is_unpartitioned() || spec.partition_type(&schema).is_err() {
                    true => String::new(),
                    false => spec.partition_to_path(file.partition(), schema.clone()),
                };
            let mut live: Vec<_> = live.map(|entry| (place(entry.data_file()), entry)).collect();
            // Files of no partition stay in the order of their commits, which is that of time.
            live.sort_by(|a, b| a.0.cmp(&b.0));
            let parts = total.div_ceil(bytes.max(1)).max(1);
            let size = (live.len() as u64).div_ceil(parts).max(1);
            for part in live.chunks(usize::try_from(size).unwrap_or(usize::MAX)) {
                let mut writer = self.writer(ManifestContentType::Data, schema.clone(), spec.clone())?;
                for (_, entry) in part {
                    let sequence = entry.sequence_number().unwrap_or(0);
                    let file_sequence = entry.file_sequence_number.or(Some(sequence));
                    let snapshot = entry.snapshot_id().unwrap_or(self.snapshot_id);
                    let file = entry.data_file().clone();
                    writer.add_existing_file(file, snapshot, sequence, file_sequence).map_err(&failed)?;
                }
                written.push(writer.write_manifest_file().await.map_err(&failed)?);
            }
        }
        Ok(written)
    }

    /// One manifest with the live entries of `manifests`, those of `gone` marked as deleted.
    async fn rewritten(
        &mut self,
        manifests: &[std::sync::Arc<Manifest>],
        gone: &HashSet<String>,
    ) -> Result<Option<ManifestFile>, LakehouseError> {
        let Some(first) = manifests.first().map(|m| m.metadata()) else { return Ok(None) };
        let failed = self.failed("write a manifest");
        // The newest schema: entries of older ones keep their field ids.
        let schema = self.metadata.current_schema().clone();
        let mut writer = self.writer(*first.content(), schema.clone(), first.partition_spec().clone())?;
        let spec = std::sync::Arc::new(first.partition_spec().clone());
        for entry in manifests.iter().flat_map(|m| m.entries()).filter(|entry| entry.is_alive()) {
            let sequence = entry.sequence_number().unwrap_or(0);
            let file_sequence = entry.file_sequence_number.or(Some(sequence));
            let file = entry.data_file().clone();
            if gone.contains(entry.file_path()) {
                self.collector.remove_file(&file, schema.clone(), spec.clone());
                writer.add_delete_file(file, sequence, file_sequence).map_err(&failed)?;
            } else {
                let snapshot = entry.snapshot_id().unwrap_or(self.snapshot_id);
                writer.add_existing_file(file, snapshot, sequence, file_sequence).map_err(&failed)?;
            }
        }
        writer.write_manifest_file().await.map(Some).map_err(failed)
    }

    /// A manifest of the new files of one partition specification.
    async fn added(
        &mut self,
        files: &[&DataFile],
        content: ManifestContentType,
        spec_id: i32,
    ) -> Result<ManifestFile, LakehouseError> {
        let failed = self.failed("write a manifest");
        let schema = self.metadata.current_schema().clone();
        let spec = self.metadata.partition_spec_by_id(spec_id).ok_or_else(|| LakehouseError::Invalid {
            what: format!("table `{}` has no partition specification {spec_id}", self.table),
        })?;
        let spec = spec.clone();
        let mut writer = self.writer(content, schema.clone(), spec.as_ref().clone())?;
        for file in files {
            self.collector.add_file(file, schema.clone(), spec.clone());
            writer.add_file((*file).clone(), UNASSIGNED_SEQUENCE_NUMBER).map_err(&failed)?;
        }
        writer.write_manifest_file().await.map_err(failed)
    }

    async fn write_list(&mut self, all: Vec<ManifestFile>) -> Result<String, LakehouseError> {
        let failed = self.failed("write a manifest list");
        let folder = self.metadata.location().trim_end_matches('/');
        let location = format!("{folder}/metadata/snap-{}-0-{}.avro", self.snapshot_id, self.unique);
        let output = self.manifests.warehouse().file_io().new_output(&location).map_err(&failed)?;
        self.written.push(location.clone());
        let writer = output.writer().await.map_err(&failed)?;
        let (id, parent) = (self.snapshot_id, self.metadata.current_snapshot_id());
        let sequence = self.metadata.next_sequence_number();
        let mut list = match self.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(writer, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(writer, id, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(writer, id, parent, sequence, Some(self.metadata.next_row_id()))
            }
        };
        list.add_manifests(all.into_iter()).map_err(&failed)?;
        list.close().await.map_err(failed)?;
        Ok(location)
    }

    fn finish(
        self,
        list: String,
        operation: Operation,
        as_of_ms: Option<i64>,
        mut properties: HashMap<String, String>,
    ) -> Result<Produced, LakehouseError> {
        let change = self.collector.build();
        let before = self.metadata.current_snapshot().map(|s| &s.summary().additional_properties);
        properties.extend(totals(before, &change));
        properties.extend(change);
        properties.insert("engine-name".into(), "tarn".into());
        properties.insert("engine-version".into(), env!("CARGO_PKG_VERSION").into());
        let parent = self.metadata.current_snapshot_id();
        let last_ms = self.metadata.current_snapshot().map_or(0, |s| s.timestamp_ms());
        // Builders of metadata refuse a snapshot that is a minute older than the last update.
        let oldest_ms = self.metadata.last_updated_ms() - SNAPSHOT_AGE_MAX_MS;
        let now_ms = self.env.clock.now_ms();
        let timestamp_ms = as_of_ms.map_or(now_ms, |as_of| as_of.clamp(oldest_ms, now_ms.max(oldest_ms)));
        let builder = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(self.metadata.next_sequence_number())
            .with_manifest_list(list)
            .with_schema_id(self.metadata.current_schema_id())
            .with_summary(Summary { operation, additional_properties: properties })
            // Two snapshots of one millisecond stay in order.
            .with_timestamp_ms(timestamp_ms.max(last_ms));
        let snapshot = match self.metadata.format_version() {
            FormatVersion::V3 => builder.with_row_range(self.metadata.next_row_id(), 0).build(),
            FormatVersion::V1 | FormatVersion::V2 => builder.build(),
        };
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: self.metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.into(), snapshot_id: parent },
        ];
        let reference = SnapshotReference::new(self.snapshot_id, retention_of(self.metadata, MAIN_BRANCH));
        let updates = vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference },
        ];
        Ok(Produced { requirements, updates, written: self.written, snapshot_id: self.snapshot_id })
    }
}

/// The `total-*` entries of a summary: those of the parent, plus added, minus removed.
fn totals(
    before: Option<&HashMap<String, String>>,
    change: &HashMap<String, String>,
) -> HashMap<String, String> {
    let number = |map: &HashMap<String, String>, key: &str| {
        map.get(key).and_then(|v| v.parse::<i64>().ok()).unwrap_or(0)
    };
    let names = [
        ("total-data-files", "added-data-files", "deleted-data-files"),
        ("total-delete-files", "added-delete-files", "removed-delete-files"),
        ("total-records", "added-records", "deleted-records"),
        ("total-files-size", "added-files-size", "removed-files-size"),
        ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
        ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
    ];
    let total = |(total, added, removed): (&str, &str, &str)| {
        let base = before.map_or(0, |map| number(map, total));
        (total.to_string(), (base + number(change, added) - number(change, removed)).max(0).to_string())
    };
    names.into_iter().map(total).collect()
}
