//! Runs the workload of `tarn bench eventlog` and prints its report as JSON.
//!
//! `log_bench FOLDER [narrow|wide] [lz4|none] [ROWS] [PRODUCERS] [IN_FLIGHT]`

use std::path::PathBuf;

use anyhow::{Context, bail};
use tarn_core::Env;
use tarn_eventlog::Compression;
use tarn_eventlog::bench::{BenchPlan, BenchShape, append_and_read};

fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().context("name a folder on the disk in question")?);
    let mut plan = BenchPlan::default();
    for (i, word) in words.enumerate() {
        match (i, word.as_str()) {
            (0, "narrow") => plan.shape = BenchShape::Narrow,
            (0, "wide") => plan.shape = BenchShape::Wide,
            (1, "lz4") => plan.compression = Compression::Lz4,
            (1, "none") => plan.compression = Compression::None,
            (2, rows) => plan.rows = rows.parse().context("rows")?,
            (3, producers) => plan.producers = producers.parse().context("producers")?,
            (4, in_flight) => plan.in_flight = in_flight.parse().context("appends in flight")?,
            (_, word) => bail!("`{word}` is not understood"),
        }
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(append_and_read(&folder, plan, &Env::system()))?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
