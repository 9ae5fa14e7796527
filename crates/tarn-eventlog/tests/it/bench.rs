//! The benchmark's workload runs and its figures hang together.

use tarn_core::Env;
use tarn_eventlog::bench::{BenchPlan, BenchShape, append_and_read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_counts_what_was_appended() {
    let folder = crate::rig::folder();
    for shape in [BenchShape::Narrow, BenchShape::Wide] {
        let plan = BenchPlan { shape, rows: 11_500, partitions: 3, ..BenchPlan::default() };
        let report = append_and_read(folder.path(), plan, &Env::system()).await.unwrap();
        assert_eq!(report.rows, 12_000, "whole batches for each of 4 producers");
        let expected = if shape == BenchShape::Narrow { 80.0..130.0 } else { 800.0..1_300.0 };
        assert!(expected.contains(&report.row_bytes), "{} bytes per row", report.row_bytes);
        assert!(report.disk_row_bytes > 1.0 && report.disk_row_bytes < report.row_bytes);
        assert!(report.flushes > 0 && report.append_ms_p50 <= report.append_ms_p99);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left over");
    }
}
