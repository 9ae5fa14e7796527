//! `[query]`: what the engine may use.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tarn_core::{ByteSize, HumanDuration};
use tarn_storage::StorageConfig;

/// What SQL queries may use of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Memory for hash tables, sorts and aggregates of all queries together, such as `"4GB"`. Operators that can spill
    /// to disk share it fairly; a query that cannot ends with an error that says so.
    pub memory: ByteSize,
    /// Disk space for spilled data of all queries together.
    pub spill_max: ByteSize,
    /// Memory for footers and page indexes of data files, kept between queries.
    pub metadata_cache: ByteSize,
    /// Folder for spilled data; empty takes the system's folder for temporary files.
    pub spill_folder: String,
    /// Threads that one query may use; 0 takes one per processor.
    pub parallelism: usize,
    /// Longest run time of a query; a request may ask for less, not for more.
    pub timeout: HumanDuration,
    /// Queries that run at the same time; more wait in a queue.
    pub concurrent_max: usize,
    /// How long a query may wait in the queue.
    pub queue_timeout: HumanDuration,
    /// Namespace of table names written without one.
    pub default_namespace: String,
    /// Folders and buckets into which `COPY ... TO 'file'` may write. None: it may not write anywhere. A relative folder
    /// lies in the project folder, and a relative path of a statement in the first of these.
    pub exports: Vec<StorageConfig>,
    /// Time zone in which timestamps with zone are shown and parsed.
    pub time_zone: String,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            memory: ByteSize(4 << 30),
            spill_max: ByteSize(64 << 30),
            metadata_cache: ByteSize(256 << 20),
            spill_folder: String::new(),
            parallelism: 0,
            timeout: HumanDuration(Duration::from_secs(300)),
            concurrent_max: 64,
            queue_timeout: HumanDuration(Duration::from_secs(10)),
            default_namespace: "main".into(),
            exports: Vec::new(),
            time_zone: "UTC".into(),
        }
    }
}
