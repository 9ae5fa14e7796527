//! Reads tables: which files, which rows of them, which columns, and how many at once.

mod bounds;
mod changes;
mod counters;
mod deletes;
mod equality;
mod feed;
mod files;
mod foreign;
mod hot;
mod identity;
mod index;
mod mapping;
mod needle;
mod nested;
mod opaque;
mod places;
mod reader;
mod source;
mod statistics;
mod table;

use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;

pub(crate) use changes::{ChangesTable, States, snapshot_before};
pub(crate) use counters::ScanCounters;
pub use counters::ScanStats;
pub(crate) use foreign::ForeignTable;
pub(crate) use places::{FILE, POSITION, PlacedTable};
pub use table::LakeTable;

use index::IndexCache;
use reader::FooterCache;

/// What all scans share.
#[derive(Debug)]
pub(crate) struct ScanShared {
    footers: FooterCache,
    indexes: IndexCache,
}

impl ScanShared {
    pub(crate) fn new(runtime: &Arc<RuntimeEnv>) -> Self {
        let footers = FooterCache::new(runtime.cache_manager.get_file_metadata_cache());
        Self { footers, indexes: IndexCache::default() }
    }
}
