//! All topics of the log's folder, by tenant and name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tarn_core::{TenantId, TopicName, nearest};

use super::fault::io_error;
use super::folder::{FolderLock, sync_folder, tenant_folder, tenant_of_folder};
use super::stats::{LogStats, TopicStats};
use super::topic::{PARTITIONS_MAX, Surroundings, Topic};
use crate::error::EventLogError;
use crate::port::{TopicInfo, TopicSpec};

/// Start of the names of folders on their way in or out; removed when the log opens.
const PASSING: &str = ".passing-";

/// The topics of a folder.
#[derive(Debug)]
pub(super) struct Topics {
    folder: PathBuf,
    around: Surroundings,
    /// Makes and drops topics one at a time.
    changes: Mutex<()>,
    by_tenant: RwLock<HashMap<TenantId, BTreeMap<TopicName, Arc<Topic>>>>,
    /// Keeps other processes out of the folder until the log is closed.
    lock: Mutex<Option<FolderLock>>,
}

impl Topics {
    /// Opens all topics of a folder and keeps other processes out of it. Errors: `Locked`, `Io`, `CorruptSegment`.
    pub(super) fn open(folder: PathBuf, around: Surroundings) -> Result<Self, EventLogError> {
        let lock = FolderLock::take(&folder)?;
        let mut by_tenant: HashMap<TenantId, BTreeMap<TopicName, Arc<Topic>>> = HashMap::new();
        for (name, tenant_path) in folders(&folder)? {
            let Some(tenant) = tenant_of_folder(&name) else { continue };
            for (name, path) in folders(&tenant_path)? {
                if name.starts_with(PASSING) {
                    std::fs::remove_dir_all(&path).map_err(|error| io_error("remove", &path, error))?;
                } else if TopicName::parse(&name).is_ok() {
                    let topic = Topic::open(tenant.clone(), path, &around)?;
                    by_tenant.entry(tenant.clone()).or_default().insert(topic.name(), Arc::new(topic));
                }
            }
        }
        let by_tenant = RwLock::new(by_tenant);
        Ok(Self { folder, around, changes: Mutex::new(()), by_tenant, lock: Mutex::new(Some(lock)) })
    }

    /// Ends all writing and lets other processes into the folder. Blocks until what is under way is done.
    pub(super) fn close(&self) {
        let _changes = self.changes.lock();
        for topic in self.all() {
            for partition in &topic.partitions {
                partition.writer.lock().fail(EventLogError::Closed);
            }
        }
        self.lock.lock().take();
    }

    fn check_open(&self) -> Result<(), EventLogError> {
        if self.lock.lock().is_some() { Ok(()) } else { Err(EventLogError::Closed) }
    }

    /// A topic of a tenant. Errors: `TopicNotFound`.
    pub(super) fn get(&self, tenant: &TenantId, name: &TopicName) -> Result<Arc<Topic>, EventLogError> {
        let by_tenant = self.by_tenant.read();
        let topics = by_tenant.get(tenant);
        topics.and_then(|topics| topics.get(name)).cloned().ok_or_else(|| {
            let names = topics.into_iter().flat_map(BTreeMap::keys).map(TopicName::as_str);
            let similar = nearest(name.as_str(), names).map(str::to_string);
            EventLogError::TopicNotFound { topic: name.clone(), similar }
        })
    }

    /// The topics of a tenant by name.
    pub(super) fn of_tenant(&self, tenant: &TenantId) -> Vec<Arc<Topic>> {
        self.by_tenant.read().get(tenant).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The topics of all tenants.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.by_tenant.read().values().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(super) fn stats(&self) -> LogStats {
        let of = |topic: &Arc<Topic>| topic.counters.topic_stats(&topic.tenant, &topic.name());
        let mut topics: Vec<TopicStats> = self.all().iter().map(of).collect();
        topics.sort_by(|a, b| (&a.tenant, &a.topic).cmp(&(&b.tenant, &b.topic)));
        self.around.counters.log_stats(topics)
    }

    /// Makes a topic or brings the one of that name up to date. Blocks on the disk.
    /// Errors: `InvalidAppend` for a number of partitions out of range, `TopicConflict`, `DiskFull`, `Io`.
    pub(super) fn create(&self, tenant: &TenantId, spec: TopicSpec) -> Result<TopicInfo, EventLogError> {
        if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
            let (topic, count) = (&spec.name, spec.partitions);
            let what = format!("topic `{topic}` cannot have {count} partitions; use 1 to {PARTITIONS_MAX}");
            return Err(EventLogError::InvalidAppend { what });
        }
        let _changes = self.changes.lock();
        self.check_open()?;
        let known = self.by_tenant.read().get(tenant).and_then(|topics| topics.get(&spec.name)).cloned();
        if let Some(topic) = known {
            topic.update(&spec)?;
            return Ok(topic.info());
        }
        let parent = self.folder.join(tenant_folder(tenant));
        let name = spec.name.clone();
        let topic = self.lay_out(tenant, &parent, spec)?;
        let info = topic.info();
        self.by_tenant.write().entry(tenant.clone()).or_default().insert(name, Arc::new(topic));
        Ok(info)
    }

    fn lay_out(&self, tenant: &TenantId, parent: &Path, spec: TopicSpec) -> Result<Topic, EventLogError> {
        let passing = self.passing(parent);
        let path = parent.join(spec.name.as_str());
        let created = |error| io_error("create", &path, error);
        let is_new_tenant = !parent.exists();
        std::fs::create_dir_all(&passing).map_err(created)?;
        if is_new_tenant {
            sync_folder(&self.folder).map_err(created)?;
        }
        let laid_out = Topic::lay_out(&passing, spec, &self.around.env)
            .and_then(|()| std::fs::rename(&passing, &path).map_err(created))
            .and_then(|()| sync_folder(parent).map_err(created))
            .and_then(|()| Topic::open(tenant.clone(), path.clone(), &self.around));
        if laid_out.is_err() {
            // What is left over is removed or taken over at the next open.
            let _ = std::fs::remove_dir_all(&passing);
            let _ = std::fs::remove_dir_all(&path);
        }
        laid_out
    }

    fn passing(&self, parent: &Path) -> PathBuf {
        parent.join(format!("{PASSING}{:016x}", self.around.env.entropy.next_u64()))
    }

    /// Removes a topic. Blocks on the disk. Errors: `TopicNotFound`, `Io`.
    pub(super) fn drop_topic(&self, tenant: &TenantId, name: &TopicName) -> Result<(), EventLogError> {
        let _changes = self.changes.lock();
        self.check_open()?;
        let topic = self.get(tenant, name)?;
        let parent = self.folder.join(tenant_folder(tenant));
        let passing = self.passing(&parent);
        let removed = |error| io_error("remove", &topic.folder, error);
        std::fs::rename(&topic.folder, &passing).map_err(removed)?;
        if let Some(topics) = self.by_tenant.write().get_mut(tenant) {
            topics.remove(name);
        }
        for partition in &topic.partitions {
            partition.close();
        }
        sync_folder(&parent).map_err(removed)?;
        std::fs::remove_dir_all(&passing).map_err(removed)
    }
}

/// Names and paths of the folders in a folder.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, EventLogError> {
    let listed = |error| io_error("list", folder, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(listed)? {
        let entry = entry.map_err(listed)?;
        if entry.file_type().map_err(listed)?.is_dir() {
            found.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
        }
    }
    found.sort();
    Ok(found)
}
