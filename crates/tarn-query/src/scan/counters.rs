//! What a query read.

use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use serde::{Deserialize, Serialize};

/// Files, rows and bytes that a query read of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanStats {
    /// Data files of the tables read, each time they are read.
    pub files_total: u64,
    /// Of them, files that the manifests' statistics did not rule out.
    pub files_scanned: u64,
    /// Rows decoded of files, and rows read from memory.
    pub rows_scanned: u64,
    /// Bytes fetched of data files, footers aside.
    pub bytes_scanned: u64,
}

/// Counts while planning; the rest is in the plan's own metrics.
#[derive(Debug, Default)]
pub(crate) struct ScanCounters {
    files_total: AtomicU64,
    files_scanned: AtomicU64,
}

impl ScanCounters {
    pub(crate) fn add_files(&self, total: usize, scanned: usize) {
        self.files_total.fetch_add(total as u64, Ordering::Relaxed);
        self.files_scanned.fetch_add(scanned as u64, Ordering::Relaxed);
    }

    /// The figures of a plan that ran.
    pub(crate) fn read(&self, plan: &dyn ExecutionPlan) -> ScanStats {
        let mut stats = ScanStats {
            files_total: self.files_total.load(Ordering::Relaxed),
            files_scanned: self.files_scanned.load(Ordering::Relaxed),
            ..ScanStats::default()
        };
        add_metrics(plan, &mut stats);
        stats
    }
}

fn add_metrics(plan: &dyn ExecutionPlan, stats: &mut ScanStats) {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>()
        && let Some(metrics) = source.metrics()
    {
        let named = |name: &str| metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64);
        let filtered = match source.data_source().downcast_ref::<FileScanConfig>() {
            Some(_) => named("pushdown_rows_pruned"),
            None => 0,
        };
        stats.rows_scanned += metrics.output_rows().unwrap_or_default() as u64 + filtered;
        stats.bytes_scanned += named("bytes_scanned");
    }
    plan.children().into_iter().for_each(|child| add_metrics(child.as_ref(), stats));
}
