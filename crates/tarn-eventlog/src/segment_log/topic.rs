//! A topic: what it was made with and its partitions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tarn_core::{Env, TenantId, TopicName};

use super::fault::{corrupt, io_error};
use super::folder::{sync_folder, write_whole};
use super::partition::{Partition, Place};
use super::recent::{Recent, RecentRows};
use super::retention::segment_bytes;
use super::stats::Counters;
use crate::error::EventLogError;
use crate::port::{Retention, TopicInfo, TopicSpec};

/// A partition is a folder with open files; more than this is a mistake.
pub(super) const PARTITIONS_MAX: u32 = 1024;
const META: &str = "meta.json";
const META_VERSION: u32 = 1;

/// The file `meta.json` of a topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicMeta {
    version: u32,
    name: TopicName,
    partitions: u32,
    retention: Retention,
    key: Vec<String>,
    created_ms: i64,
}

impl TopicMeta {
    fn write(&self, folder: &Path) -> Result<(), EventLogError> {
        let path = folder.join(META);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| io_error("write", &path, std::io::Error::other(error)))?;
        write_whole(&path, &text)
    }

    fn read(folder: &Path) -> Result<Self, EventLogError> {
        let path = folder.join(META);
        let text = std::fs::read(&path).map_err(|error| io_error("read", &path, error))?;
        let meta: Self =
            serde_json::from_slice(&text).map_err(|error| corrupt(&path, 0, error.to_string()))?;
        if meta.version != META_VERSION {
            return Err(corrupt(&path, 0, format!("it has version {}, not {META_VERSION}", meta.version)));
        }
        Ok(meta)
    }
}

/// What a topic needs of its log.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) env: Env,
    pub(super) counters: Arc<Counters>,
    pub(super) recent: Arc<RecentRows>,
    /// Size of segments where retention does not want smaller ones.
    pub(super) segment_bytes: u64,
}

/// A topic of a tenant.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) tenant: TenantId,
    pub(super) folder: PathBuf,
    pub(super) partitions: Vec<Arc<Partition>>,
    pub(super) counters: Arc<Counters>,
    segment_bytes: u64,
    meta: RwLock<TopicMeta>,
}

impl Topic {
    /// Lays out the folder of a new topic. Errors: `DiskFull`, `Io`.
    pub(super) fn lay_out(folder: &Path, spec: TopicSpec, env: &Env) -> Result<(), EventLogError> {
        let meta = TopicMeta {
            version: META_VERSION,
            name: spec.name,
            partitions: spec.partitions,
            retention: spec.retention,
            key: spec.key,
            created_ms: env.clock.now_ms(),
        };
        let created = |error| io_error("create", folder, error);
        for partition in 0..meta.partitions {
            std::fs::create_dir_all(folder.join(partition.to_string())).map_err(created)?;
        }
        meta.write(folder)?;
        sync_folder(folder).map_err(created)
    }

    /// Opens a topic from its folder. Errors: `Io`, `DiskFull`, `CorruptSegment` for its description.
    pub(super) fn open(
        tenant: TenantId,
        folder: PathBuf,
        around: &Surroundings,
    ) -> Result<Self, EventLogError> {
        let meta = TopicMeta::read(&folder)?;
        let counters = Arc::new(Counters::within(around.counters.clone()));
        let bytes = segment_bytes(around.segment_bytes, &meta.retention);
        let open = |partition: u32| {
            let folder = folder.join(partition.to_string());
            let place = Place { topic: meta.name.clone(), partition, folder };
            let recent = Recent::new(around.recent.clone());
            Partition::open(place, around.env.clone(), counters.clone(), recent, bytes).map(Arc::new)
        };
        let partitions = (0..meta.partitions).map(open).collect::<Result<Vec<_>, _>>()?;
        let segment_bytes = around.segment_bytes;
        Ok(Self { tenant, folder, partitions, counters, segment_bytes, meta: RwLock::new(meta) })
    }

    pub(super) fn name(&self) -> TopicName {
        self.meta.read().name.clone()
    }

    pub(super) fn retention(&self) -> Retention {
        self.meta.read().retention.clone()
    }

    /// How it stands.
    pub(super) fn info(&self) -> TopicInfo {
        let meta = self.meta.read().clone();
        let newest = self.partitions.iter().filter_map(|partition| partition.schema());
        TopicInfo {
            spec: TopicSpec {
                name: meta.name,
                partitions: meta.partitions,
                retention: meta.retention,
                key: meta.key,
            },
            schema: newest.max_by_key(|(appended_ms, _)| *appended_ms).map(|(_, schema)| schema),
            partitions: self.partitions.iter().map(|partition| partition.info()).collect(),
            created_ms: meta.created_ms,
        }
    }

    /// Takes over what may change of a topic. Errors: `TopicConflict`, `DiskFull`, `Io`.
    pub(super) fn update(&self, spec: &TopicSpec) -> Result<(), EventLogError> {
        let mut meta = self.meta.read().clone();
        let conflict = |what: String| Err(EventLogError::TopicConflict { topic: spec.name.clone(), what });
        if meta.partitions != spec.partitions {
            return conflict(format!("{} partitions, not {}", meta.partitions, spec.partitions));
        }
        if meta.key != spec.key {
            return conflict(format!("the key ({}), not ({})", meta.key.join(", "), spec.key.join(", ")));
        }
        if meta.retention != spec.retention {
            meta.retention = spec.retention.clone();
            meta.write(&self.folder)?;
            let bytes = segment_bytes(self.segment_bytes, &meta.retention);
            for partition in &self.partitions {
                partition.set_segment_bytes(bytes);
            }
            *self.meta.write() = meta;
        }
        Ok(())
    }

    /// Drops what is beyond retention in all partitions, returns the bytes freed. Errors: `Io`, `DiskFull`.
    pub(super) fn apply_retention(&self) -> Result<u64, EventLogError> {
        let retention = self.retention();
        self.partitions.iter().map(|partition| partition.apply_retention(&retention)).sum()
    }
}
