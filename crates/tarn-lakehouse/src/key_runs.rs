//! Keys of the data files that statements look into: whether a new key is in a table already. A cache, so that a statement
//! that inserts a row does not read the key columns of the whole table each time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use iceberg::spec::DataFile;
use moka::notification::RemovalCause;
use moka::sync::Cache;

use crate::error::LakehouseError;
use crate::io::Warehouse;
use crate::layout::Layout;
use crate::sink::{KeyHash, KeyHasher, Run, conform, read_rows};

/// Bytes of keys that are kept on the local disk; without a folder they are in memory.
const DISK_BYTES_MAX: u64 = 1 << 30;
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Keys that no statement asked for in this time are forgotten.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// So many times more rows than new keys make it worth to keep a file's keys.
const WORTH_ROWS: u64 = 8;
/// Bytes of a kept key: hash, row and its share of the bloom filter.
const KEY_BYTES: u64 = 18;

/// Where the keys lie, below the folder that sinks use.
const FOLDER: &str = "statements";

/// Keys of data files by location and key columns.
pub(crate) struct KeyRuns {
    folder: Option<PathBuf>,
    runs: Cache<(String, u64), Arc<Run>>,
}

impl std::fmt::Debug for KeyRuns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRuns").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A data file and what is needed to read its keys.
pub(crate) struct KeysOf<'a> {
    pub(crate) table: &'a str,
    pub(crate) file: &'a DataFile,
    pub(crate) schema: &'a SchemaRef,
    pub(crate) hasher: &'a KeyHasher,
    pub(crate) warehouse: &'a Warehouse,
    pub(crate) layout: &'a Layout,
}

fn path_of(folder: &Path, (location, fingerprint): &(String, u64)) -> PathBuf {
    let name = location.rsplit('/').next().unwrap_or_default();
    folder.join(format!("{fingerprint:016x}-{name}.keys"))
}

impl KeyRuns {
    /// Below `folder`, or in memory. What an earlier process left there is removed.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        let folder = folder.map(|folder| folder.join(FOLDER));
        if let Some(folder) = &folder {
            // It is not there on the first start.
            drop(std::fs::remove_dir_all(folder));
        }
        let of_evicted = folder.clone();
        let runs = Cache::builder()
            .max_capacity(if folder.is_some() { DISK_BYTES_MAX } else { MEMORY_BYTES_MAX })
            .weigher(|_: &(String, u64), run: &Arc<Run>| {
                u32::try_from((run.keys() as u64).saturating_mul(KEY_BYTES)).unwrap_or(u32::MAX)
            })
            .time_to_idle(IDLE_MAX)
            .eviction_listener(move |key, _, cause| {
                // One that is replaced has the same file.
                if let (Some(folder), true) = (&of_evicted, cause != RemovalCause::Replaced) {
                    drop(std::fs::remove_file(path_of(folder, &key)));
                }
            })
            .build();
        Self { folder, runs }
    }

    /// Whether one of `keys`, which are sorted, is that of a row of the file which is not gone. Errors: those of reading.
    pub(crate) async fn holds_any(
        &self,
        of: &KeysOf<'_>,
        keys: &[KeyHash],
        is_gone: impl Fn(u64) -> bool + Send + Sync,
    ) -> Result<bool, LakehouseError> {
        let name = (of.file.file_path().to_string(), of.hasher.fingerprint());
        let is_worth = of.file.record_count() / WORTH_ROWS >= keys.len() as u64;
        let run = match self.runs.get(&name) {
            Some(run) => Some(run),
            None if is_worth => self.made(of, &name).await?,
            None => None,
        };
        if let Some(run) = run {
            let is_there = |key: &KeyHash| run.find(*key, |row| !is_gone(u64::from(row))).is_some();
            return Ok(keys.iter().any(is_there));
        }
        let (mut row, mut is_held) = (0_u64, false);
        each_key(of, |key| {
            is_held |= keys.binary_search(&key).is_ok() && !is_gone(row);
            row += 1;
        })
        .await?;
        Ok(is_held)
    }

    /// `None` where rows are beyond what a run can number.
    async fn made(&self, of: &KeysOf<'_>, name: &(String, u64)) -> Result<Option<Arc<Run>>, LakehouseError> {
        let Ok(rows) = u32::try_from(of.file.record_count()) else { return Ok(None) };
        let mut keys: Vec<(KeyHash, u32)> = Vec::with_capacity(rows as usize);
        let mut row = 0_u32;
        each_key(of, |key| {
            keys.push((key, row));
            row = row.saturating_add(1);
        })
        .await?;
        let run = Run::build(keys, of.hasher.fingerprint());
        let run = match &self.folder {
            None => run,
            Some(folder) => run.stored(&path_of(folder, name)).unwrap_or_else(|(run, error)| {
                tracing::debug!(%error, "the keys of a data file stay in memory");
                run
            }),
        };
        let run = Arc::new(run);
        self.runs.insert(name.clone(), Arc::clone(&run));
        Ok(Some(run))
    }
}

/// The keys of all rows of a file, in their order.
async fn each_key(of: &KeysOf<'_>, mut take: impl FnMut(KeyHash) + Send) -> Result<(), LakehouseError> {
    let (columns, path) = (of.hasher.columns(), of.file.file_path());
    let damaged = |source| LakehouseError::Parquet { path: path.into(), source };
    let mut rows = read_rows(of.warehouse, of.schema, columns, (of.file, of.layout), None).await?;
    while let Some(batch) = rows.try_next().await.map_err(damaged)? {
        let batch = conform(of.table, of.schema, columns, &batch)?;
        of.hasher.hash_keys(of.table, batch.columns())?.into_iter().for_each(&mut take);
    }
    Ok(())
}
