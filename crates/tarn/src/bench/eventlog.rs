//! The event log beside plain writes with a flush on the same disk.

use std::path::Path;

use tarn_core::Env;
use tarn_eventlog::bench::{BenchPlan, BenchReport, BenchShape, append_and_read};

use super::report;
use crate::cli::{Failure, io_failure};

const WIDE_ROWS: u64 = 1_000_000;

/// `tarn bench eventlog`.
pub async fn run(out: &Path, json: bool) -> Result<(), Failure> {
    report::announce(
        "event log: append and read, beside plain writes with fsync of the same bytes on the same disk",
    );
    let env = Env::system();
    let mut reports = Vec::new();
    for shape in [BenchShape::Narrow, BenchShape::Wide] {
        let folder = tempfile::tempdir_in(".")
            .map_err(|error| io_failure("make a folder in", Path::new("."), &error))?;
        let rows = if shape == BenchShape::Wide { WIDE_ROWS } else { BenchPlan::default().rows };
        let plan = BenchPlan { shape, rows, ..BenchPlan::default() };
        reports.push(append_and_read(folder.path(), plan, &env).await?);
    }
    if !json {
        reports.iter().for_each(print);
    }
    report::keep(out, "eventlog", &reports)
}

fn print(report: &BenchReport) {
    println!("\n  {:?} rows of {:.0} bytes, {} of them", report.plan.shape, report.row_bytes, report.rows);
    let line = |what: &str, rate: &tarn_eventlog::bench::BenchRate| {
        println!(
            "    {what:10} {:>10.0} rows/s {:>8.0} MB/s of rows {:>8.0} MB/s on disk",
            rate.rows_per_s, rate.arrow_mb_per_s, rate.disk_mb_per_s
        );
    };
    line("append", &report.append);
    line("tail read", &report.tail_read);
    line("read", &report.read);
    println!("    one append {:.1} ms median, {:.1} ms p99", report.append_ms_p50, report.append_ms_p99);
    println!(
        "    plain writes of the rows, a flush per flush_bytes: {:.2} s, ratio {:.2}; of the files, one flush: {:.2} s, ratio {:.2}",
        report.raw.seconds, report.ratio_to_raw, report.raw_once.seconds, report.disk_ratio_to_raw_once
    );
}
