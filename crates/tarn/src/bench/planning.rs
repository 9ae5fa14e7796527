//! Planning a query of a table of many files, from the statement until its plan stands, beside PyIceberg's `plan_files` and
//! DuckDB's EXPLAIN of the same table. Only metadata is there: nothing is read of any file.

use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tarn_core::TableName;
use tarn_lakehouse::bench::{FILE_ROWS, append_entries, table_of_entries};
use tarn_query::QueryOptions;

use super::report::{self, Spread};
use crate::cli::{Failure, io_failure};
use crate::config::Config;
use crate::platform::Platform;
use crate::project::DataFolder;

const PEERS: &str = include_str!("planning.py");
/// Peers plan so often: they take seconds.
const PEER_RUNS: usize = 5;
/// Files that a range of ids meets.
const RANGE_FILES: i64 = 10;

/// Options of `tarn bench planning`.
#[derive(Debug, Args)]
pub struct PlanningArgs {
    /// Data files of the table.
    #[arg(long, default_value_t = 100_000)]
    files: usize,
    /// How often each kind of query is planned.
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Python with the packages `pyiceberg` and `duckdb`.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
}

impl Default for PlanningArgs {
    fn default() -> Self {
        Self { files: 100_000, runs: 200, python: "python3".into() }
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    files: usize,
    /// The first query after a start, which reads all manifests, milliseconds.
    cold_ms: f64,
    /// A range of ids that ten files meet, milliseconds.
    range_ms: Spread,
    /// One id, milliseconds.
    point_ms: Spread,
    /// A range of ids and a region, milliseconds.
    two_columns_ms: Spread,
    /// A range of ids, right after a commit of one more file, milliseconds.
    after_commit_ms: Spread,
    /// All files, milliseconds.
    all_ms: Spread,
    /// Peers by name.
    peers: Vec<PeerOutcome>,
}

#[derive(Debug, Serialize)]
struct PeerOutcome {
    name: String,
    version: String,
    /// The same ranges of ids, metadata in memory where the peer keeps it, milliseconds.
    range_ms: Spread,
    /// Its median divided by ours.
    ratio: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Peer {
    version: String,
    ms: Vec<f64>,
    error: Option<String>,
}

/// `tarn bench planning`.
pub async fn run(args: &PlanningArgs, out: &Path, json: bool) -> Result<(), Failure> {
    report::announce(
        "planning: a query of a table of many files, beside PyIceberg and DuckDB on the same table",
    );
    let folder =
        tempfile::tempdir_in(".").map_err(|error| io_failure("make a folder in", Path::new("."), &error))?;
    let name = TableName::new("bench", "entries").map_err(|error| Failure::internal(error.to_string()))?;
    let data = DataFolder::of(folder.path(), None);
    let platform = Platform::open(&Config::default(), &data, folder.path()).await?;
    let made = table_of_entries(&platform.state.lakehouse, &platform.ctx, &name, args.files).await;
    platform.stop().await;
    let location = made?.metadata_location.unwrap_or_default();
    // Opened again, so that nothing is known of the table.
    let platform = Platform::open(&Config::default(), &data, folder.path()).await?;
    let outcome = measure(args, &platform, &name, &location, folder.path()).await;
    platform.stop().await;
    let outcome = outcome?;
    if !json {
        print(&outcome);
    }
    report::keep(out, "planning", &outcome)
}

/// Where the range of a run begins: spread over the table.
fn first_id(args: &PlanningArgs, run: usize) -> i64 {
    let files = i64::try_from(args.files).unwrap_or(i64::MAX);
    let spread = i64::try_from(run).unwrap_or(0).wrapping_mul(7_919).rem_euclid((files - RANGE_FILES).max(1));
    spread * FILE_ROWS
}

async fn plan(platform: &Platform, filter: &str) -> Result<f64, Failure> {
    let sql = format!("EXPLAIN SELECT count(quantity) FROM bench.entries{filter}");
    let started = platform.env.clock.instant();
    let mut stream =
        platform.state.engine.session(&platform.ctx).execute(&sql, QueryOptions::default()).await?;
    while let Some(batch) = stream.next().await {
        batch?;
    }
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

async fn spread(
    runs: usize,
    platform: &Platform,
    filter: impl Fn(usize) -> String,
) -> Result<Spread, Failure> {
    plan(platform, &filter(0)).await?;
    let mut times = Vec::with_capacity(runs);
    for run in 0..runs {
        times.push(plan(platform, &filter(run)).await?);
    }
    Ok(Spread::of(times))
}

async fn measure(
    args: &PlanningArgs,
    platform: &Platform,
    name: &TableName,
    location: &str,
    folder: &Path,
) -> Result<Outcome, Failure> {
    let range = |run: usize| {
        let first = first_id(args, run);
        (first, first + RANGE_FILES * FILE_ROWS - 1)
    };
    let by_range = |run: usize| {
        let (low, high) = range(run);
        format!(" WHERE id >= {low} AND id <= {high}")
    };
    let cold_ms = plan(platform, &by_range(0)).await?;
    let range_ms = spread(args.runs, platform, by_range).await?;
    let point_ms =
        spread(args.runs, platform, |run| format!(" WHERE id = {}", first_id(args, run) + 17)).await?;
    let two = |run: usize| format!("{} AND region = 'region 007'", by_range(run));
    let two_columns_ms = spread(args.runs, platform, two).await?;
    let all_ms = spread((args.runs / 20).max(1), platform, |_| String::new()).await?;
    let mut times = Vec::new();
    for run in 0..(args.runs / 10).max(1) {
        append_entries(&platform.state.lakehouse, &platform.ctx, name, &[args.files + run]).await?;
        times.push(plan(platform, &by_range(run)).await?);
    }
    let ranges: Vec<(i64, i64)> = (0..PEER_RUNS).map(range).collect();
    let peers = ask_peers(args, folder, location, &ranges, range_ms.p50)?;
    let after_commit_ms = Spread::of(times);
    Ok(Outcome {
        files: args.files,
        cold_ms,
        range_ms,
        point_ms,
        two_columns_ms,
        after_commit_ms,
        all_ms,
        peers,
    })
}

fn ask_peers(
    args: &PlanningArgs,
    folder: &Path,
    location: &str,
    ranges: &[(i64, i64)],
    own_ms: f64,
) -> Result<Vec<PeerOutcome>, Failure> {
    let ask = folder.join("planning-ask.json");
    let body = json!({ "metadata": location, "ranges": ranges });
    std::fs::write(&ask, body.to_string()).map_err(|error| io_failure("write", &ask, &error))?;
    let run = Command::new(&args.python).args(["-c", PEERS]).arg(&ask).stdin(Stdio::null()).output();
    let output = match run {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            println!("  the peers do not answer ({})", text.lines().last().unwrap_or(""));
            return Ok(Vec::new());
        }
        Err(error) => {
            println!("  `{}` does not start ({error}); name a Python with --python", args.python);
            return Ok(Vec::new());
        }
    };
    let answers: std::collections::BTreeMap<String, Peer> = serde_json::from_slice(&output)
        .map_err(|error| Failure::internal(format!("the peers' answer is not understood: {error}")))?;
    let mut peers = Vec::new();
    for (name, peer) in answers {
        match peer.error {
            Some(error) => println!("  {name} does not answer ({error})"),
            None => {
                let range_ms = Spread::of(peer.ms);
                let ratio = range_ms.p50 / own_ms;
                peers.push(PeerOutcome { name, version: peer.version, range_ms, ratio });
            }
        }
    }
    Ok(peers)
}

fn print(outcome: &Outcome) {
    println!("\n  {} files                     p50 ms     p99 ms     max ms", outcome.files);
    let line = |what: &str, of: &Spread| {
        println!("    {what:28} {:>8.2} {:>10.2} {:>10.2}   ({} runs)", of.p50, of.p99, of.max, of.count);
    };
    line("range of ids, 10 files", &outcome.range_ms);
    line("one id", &outcome.point_ms);
    line("range of ids and a region", &outcome.two_columns_ms);
    line("range, right after a commit", &outcome.after_commit_ms);
    line("all files", &outcome.all_ms);
    println!("    first query after a start    {:>8.1}", outcome.cold_ms);
    for peer in &outcome.peers {
        line(&format!("{} {}", peer.name, peer.version), &peer.range_ms);
        println!("      {:.0} times as long", peer.ratio);
    }
}
