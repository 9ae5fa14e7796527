//! TPC-H on Iceberg tables, beside DuckDB on the same Parquet files.

mod data;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tarn_query::{QueryOptions, tpch::QUERIES};

use super::report;
use crate::cli::{Failure, io_failure};
use crate::config::Config;
use crate::platform::Platform;
use crate::project::DataFolder;

/// Options of `tarn bench tpch`.
#[derive(Debug, Args)]
pub struct TpchArgs {
    /// Scale factor; 1 is about 1 GB of text.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Runs of each query; the fastest counts, for both systems.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Where tables are kept; a second run finds them there.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Python with the package `duckdb`.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
}

impl Default for TpchArgs {
    fn default() -> Self {
        Self { scale: 1.0, runs: 3, folder: None, python: "python3".into() }
    }
}

/// One query of both systems.
#[derive(Debug, Serialize)]
struct Line {
    query: usize,
    tarn_ms: f64,
    duckdb_ms: Option<f64>,
    ratio: Option<f64>,
    equal: Option<bool>,
    difference: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PeerAnswer {
    ms: f64,
    columns: usize,
    rows: Vec<Vec<Value>>,
}

#[derive(Debug, Serialize)]
struct Outcome {
    scale: f64,
    runs: u32,
    tarn_ms: f64,
    duckdb_ms: Option<f64>,
    ratio: Option<f64>,
    all_equal: Option<bool>,
    duckdb_version: Option<String>,
    queries: Vec<Line>,
}

const PEER: &str = include_str!("tpch/duckdb.py");

/// `tarn bench tpch`.
pub async fn run(args: &TpchArgs, out: &Path, json: bool) -> Result<(), Failure> {
    report::announce("TPC-H: 22 queries on Iceberg tables, beside DuckDB on the same Parquet files");
    let folder =
        args.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("tarn-tpch-{}", args.scale)));
    let mut config = Config::default();
    config.query.default_namespace = "tpch".into();
    let platform = Platform::open(&config, &DataFolder::of(&folder, Some(&folder)), &folder).await?;
    let outcome = measure(args, &folder, &platform).await;
    platform.stop().await;
    let outcome = outcome?;
    if !json {
        print(&outcome);
    }
    report::keep(out, "tpch", &outcome)?;
    if outcome.all_equal == Some(false) {
        return Err(Failure::internal("an answer differs from DuckDB's"));
    }
    Ok(())
}

async fn measure(args: &TpchArgs, folder: &Path, platform: &Platform) -> Result<Outcome, Failure> {
    let files = data::ensure(platform, args.scale).await?;
    let peer = ask_peer(args, folder, &files)?;
    let mut queries = Vec::new();
    for (n, sql) in QUERIES.iter().enumerate() {
        let mut best = f64::INFINITY;
        let mut rows = Vec::new();
        for _ in 0..args.runs.max(1) {
            let started = platform.env.clock.instant();
            rows = answer(platform, sql).await?;
            best = best.min(started.elapsed().as_secs_f64() * 1000.0);
        }
        let peer = peer.as_ref().and_then(|peer| peer.1.get(n));
        let difference = peer.map(|peer| difference(&rows, peer));
        queries.push(Line {
            query: n + 1,
            tarn_ms: best,
            duckdb_ms: peer.map(|peer| peer.ms),
            ratio: peer.map(|peer| best / peer.ms),
            equal: difference.as_ref().map(Option::is_none),
            difference: difference.flatten(),
        });
    }
    let tarn_ms = queries.iter().map(|line| line.tarn_ms).sum();
    let duckdb_ms = peer.as_ref().map(|_| queries.iter().filter_map(|line| line.duckdb_ms).sum::<f64>());
    Ok(Outcome {
        scale: args.scale,
        runs: args.runs,
        tarn_ms,
        duckdb_ms,
        ratio: duckdb_ms.map(|ms| tarn_ms / ms),
        all_equal: peer.as_ref().map(|_| queries.iter().all(|line| line.equal == Some(true))),
        duckdb_version: peer.map(|peer| peer.0),
        queries,
    })
}

/// Rows of a query as JSON values.
async fn answer(platform: &Platform, sql: &str) -> Result<Vec<Vec<Value>>, Failure> {
    let mut stream =
        platform.state.engine.session(&platform.ctx).execute(sql, QueryOptions::default()).await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = tarn_query::encode::rows_json(&batch?)?;
        rows.extend(batch.into_iter().map(|row| row.as_array().cloned().unwrap_or_default()));
    }
    Ok(rows)
}

type Peer = (String, Vec<PeerAnswer>);

/// Runs the same queries in DuckDB on the same files. `None`, with a word on the screen, if it is not installed.
fn ask_peer(args: &TpchArgs, folder: &Path, files: &Value) -> Result<Option<Peer>, Failure> {
    let ask = folder.join("duckdb-ask.json");
    let body = json!({ "files": files, "queries": QUERIES, "runs": args.runs.max(1) });
    std::fs::write(&ask, body.to_string()).map_err(|error| io_failure("write", &ask, &error))?;
    let run = Command::new(&args.python)
        .args(["-c", PEER])
        .arg(&ask)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let output = match run {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            println!(
                "  DuckDB does not answer ({}); pip install duckdb, or name a Python with --python",
                text.lines().last().unwrap_or("")
            );
            return Ok(None);
        }
        Err(error) => {
            println!("  `{}` does not start ({error}); name a Python with --python", args.python);
            return Ok(None);
        }
    };
    #[derive(Deserialize)]
    struct Reply {
        version: String,
        answers: Vec<PeerAnswer>,
    }
    let reply: Reply = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::internal(format!("DuckDB's answer is not understood: {error}")))?;
    Ok(Some((reply.version, reply.answers)))
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Numbers are compared to 1 in 10^6 or one cent: averages of decimals differ in their last digits between systems.
fn same(a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    match (as_number(a), as_number(b)) {
        (Some(x), Some(y)) => (x - y).abs() <= 1e-6 * x.abs().max(y.abs()).max(1.0),
        _ => match (a.as_str(), b.as_str()) {
            (Some(x), Some(y)) => x.trim_end() == y.trim_end(),
            _ => false,
        },
    }
}

/// The first difference; rows that a query leaves unordered are compared in one order.
fn difference(ours: &[Vec<Value>], peer: &PeerAnswer) -> Option<String> {
    if ours.len() != peer.rows.len() {
        return Some(format!("{} rows, DuckDB has {}", ours.len(), peer.rows.len()));
    }
    if let Some(row) = ours.iter().find(|row| row.len() != peer.columns) {
        return Some(format!("{} columns, DuckDB has {}", row.len(), peer.columns));
    }
    let texts = |row: &Vec<Value>| -> Vec<String> {
        row.iter().map(|v| as_number(v).map_or_else(|| v.to_string(), |n| format!("{n:.2}"))).collect()
    };
    let (mut a, mut b) = (ours.to_vec(), peer.rows.clone());
    a.sort_by_cached_key(texts);
    b.sort_by_cached_key(texts);
    for (x, y) in a.iter().zip(&b) {
        if !x.iter().zip(y).all(|(x, y)| same(x, y)) {
            return Some(format!("{} instead of {}", json!(x), json!(y)));
        }
    }
    None
}

fn print(outcome: &Outcome) {
    println!("\n  query      tarn ms    DuckDB ms   ratio  equal");
    for line in &outcome.queries {
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
        let ratio = line.ratio.map_or_else(|| "-".into(), |v| format!("{v:.2}"));
        let equal = match line.equal {
            Some(true) => "yes".to_string(),
            Some(false) => format!("NO: {}", line.difference.as_deref().unwrap_or("")),
            None => "-".to_string(),
        };
        println!(
            "  q{:<5} {:>11.1} {:>12} {:>7}  {equal}",
            line.query,
            line.tarn_ms,
            number(line.duckdb_ms),
            ratio
        );
    }
    if let (Some(duckdb), Some(ratio)) = (outcome.duckdb_ms, outcome.ratio) {
        println!(
            "  total  {:>11.1} {duckdb:>12.1} {ratio:>7.2}  scale {}, DuckDB {}",
            outcome.tarn_ms,
            outcome.scale,
            outcome.duckdb_version.as_deref().unwrap_or("?")
        );
    }
}
