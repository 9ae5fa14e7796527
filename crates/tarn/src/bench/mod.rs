//! `tarn bench`: figures of this build on this machine, beside the peers they are compared with.
//!
//! Each bench prints a table with the peer and the ratio, and keeps its result as JSON under `docs/bench/`.

mod demo;
mod eventlog;
mod ingest;
mod planning;
mod psql;
mod report;
mod subscription;
mod tpch;
mod upsert;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Failure;

/// Options of `tarn bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Where results are kept as JSON.
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    out: PathBuf,
    #[command(subcommand)]
    bench: Option<Bench>,
}

/// What is measured.
#[derive(Debug, Subcommand)]
enum Bench {
    /// The event log: append and tail read, beside a raw write with fsync on the same disk
    Eventlog,
    /// PostgreSQL to a table: copy of existing rows beside `psql \copy`, and how long a change takes until SQL shows it
    Ingest(ingest::IngestArgs),
    /// The demo: from the start to the first answered query, and memory when nothing is asked
    Demo(demo::DemoArgs),
    /// Planning a query of a table of many files, beside PyIceberg and DuckDB on the same table
    Planning(planning::PlanningArgs),
    /// Changes into a table of many keys, beside PostgreSQL's INSERT ... ON CONFLICT of the same changes
    Upsert(upsert::UpsertArgs),
    /// TPC-H: all 22 queries on Iceberg tables, beside DuckDB on the same Parquet files
    Tpch(tpch::TpchArgs),
}

/// `tarn bench`; without a name all of them.
pub async fn run(args: BenchArgs, json: bool) -> Result<(), Failure> {
    let out = &args.out;
    match args.bench {
        Some(Bench::Eventlog) => eventlog::run(out, json).await,
        Some(Bench::Ingest(ingest)) => ingest::run(&ingest, out, json).await,
        Some(Bench::Demo(demo)) => demo::run(&demo, out, json).await,
        Some(Bench::Planning(planning)) => planning::run(&planning, out, json).await,
        Some(Bench::Upsert(upsert)) => upsert::run(&upsert, out, json).await,
        Some(Bench::Tpch(tpch)) => tpch::run(&tpch, out, json).await,
        None => {
            eventlog::run(out, json).await?;
            demo::run(&demo::DemoArgs::default(), out, json).await?;
            ingest::run(&ingest::IngestArgs::default(), out, json).await?;
            planning::run(&planning::PlanningArgs::default(), out, json).await?;
            upsert::run(&upsert::UpsertArgs::default(), out, json).await?;
            tpch::run(&tpch::TpchArgs::default(), out, json).await
        }
    }
}
