//! From a PostgreSQL to a table, beside `psql \copy` of the same rows: how fast existing rows are copied, and how long a
//! committed change takes until SQL shows it.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use serde::Serialize;
use tarn_core::{Env, Fault, FaultKind, HumanDuration};
use tarn_observe::Metric;
use tarn_query::{QueryOptions, encode::rows_json};

use super::psql::{Psql, Writer};
use super::report::{self, Spread};
use super::subscription;
use crate::cli::{Failure, io_failure};
use crate::config::Config;
use crate::platform::Platform;
use crate::project::DataFolder;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for something that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(1800);
/// How often the table commits.
const FRESHNESS: HumanDuration = HumanDuration(Duration::from_secs(2));
/// Schema, slot and publication; all are removed at the end.
pub(super) const NAME: &str = "tarn_bench";

/// Options of `tarn bench ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Address of a PostgreSQL with `wal_level = logical`, as a user that may make a schema and replicate. A schema
    /// `tarn_bench` is made in it and removed again. `make bench` starts a server for it.
    #[arg(long, value_name = "URL", env = "TARN_BENCH_POSTGRES")]
    postgres: Option<String>,
    /// Rows that are there before Tarn looks.
    #[arg(long, default_value_t = 1_000_000)]
    pub(super) rows: u64,
    /// Changes per second that are made while the latency is measured.
    #[arg(long, default_value = "5000")]
    pub(super) changes_per_s: NonZeroU32,
    /// Seconds of changes.
    #[arg(long, default_value_t = 60)]
    pub(super) seconds: u64,
}

impl Default for IngestArgs {
    fn default() -> Self {
        Self {
            postgres: std::env::var("TARN_BENCH_POSTGRES").ok(),
            rows: 1_000_000,
            changes_per_s: NonZeroU32::new(5000).unwrap_or(NonZeroU32::MIN),
            seconds: 60,
        }
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    rows: u64,
    /// `psql \copy` of the table to /dev/null, the faster of two.
    copy_rows_per_s: f64,
    /// From the start of the source until all rows are durable in the topic.
    topic_rows_per_s: f64,
    /// From the start of the source until SQL counts all rows in the table.
    table_rows_per_s: f64,
    ratio_topic_to_copy: f64,
    ratio_table_to_copy: f64,
    changes_per_s: f64,
    /// Milliseconds from the statement in PostgreSQL until SQL shows the row.
    visible_ms: Spread,
    /// The same until another PostgreSQL database shows it that subscribes to the table, its own logical replication.
    postgres_visible_ms: Spread,
    /// Changes per second meanwhile.
    postgres_changes_per_s: f64,
    ratio_p99_to_postgres: f64,
    /// Commits of the table meanwhile.
    commits: u64,
    compactions: u64,
}

/// `tarn bench ingest`.
pub async fn run(args: &IngestArgs, out: &Path, json: bool) -> Result<(), Failure> {
    report::announce("ingest: PostgreSQL to a table, beside `psql \\copy` of the same rows to /dev/null");
    let Some(url) = &args.postgres else {
        return Err(Failure::invalid(
            "no PostgreSQL is named",
            "name one with --postgres URL, or run `make bench`, which starts one for it",
        ));
    };
    let psql = Psql::new(url);
    let folder =
        tempfile::tempdir_in(".").map_err(|error| io_failure("make a folder in", Path::new("."), &error))?;
    write_project(folder.path(), url)?;
    fill(&psql, args.rows)?;
    let measured = measure(args, &psql, folder.path()).await;
    let cleaned = clean(&psql).and(subscription::clean(&psql));
    let outcome = measured?;
    cleaned?;
    if !json {
        print(&outcome);
    }
    report::keep(out, "ingest", &outcome)
}

fn write_project(folder: &Path, url: &str) -> Result<(), Failure> {
    let resources = folder.join("resources");
    std::fs::create_dir_all(&resources).map_err(|error| io_failure("make", &resources, &error))?;
    let yaml = format!(
        "kind: source\nname: bench\nspec:\n  type: postgres_cdc\n  url: {}\n  slot: {NAME}\n  publication: {NAME}\n  \
         tables: [{NAME}.*]\n",
        serde_json::Value::from(url)
    );
    let path = resources.join("bench.yaml");
    std::fs::write(&path, yaml).map_err(|error| io_failure("write", &path, &error))
}

fn fill(psql: &Psql, rows: u64) -> Result<(), Failure> {
    println!("  making {rows} rows");
    clean(psql)?;
    psql.run(&format!(
        "CREATE SCHEMA {NAME};
         CREATE TABLE {NAME}.orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric(14, 2),
           paid boolean NOT NULL, at timestamptz NOT NULL, note text);
         INSERT INTO {NAME}.orders SELECT n, 'customer ' || n % 977, (n % 100000) / 7.0, n % 3 = 0,
           timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second', 'note ' || md5(n::text)
           FROM generate_series(1, {rows}) n;
         ANALYZE {NAME}.orders;"
    ))?;
    Ok(())
}

/// Removes what the bench made, or what an interrupted one left.
fn clean(psql: &Psql) -> Result<(), Failure> {
    psql.run(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{NAME}' AND NOT active;
         DROP PUBLICATION IF EXISTS {NAME};
         DROP SCHEMA IF EXISTS {NAME} CASCADE;"
    ))?;
    Ok(())
}

async fn measure(args: &IngestArgs, psql: &Psql, folder: &Path) -> Result<Outcome, Failure> {
    let copy = "\\copy (SELECT * FROM tarn_bench.orders) to /dev/null";
    let mut copy_s = f64::INFINITY;
    for _ in 0..2 {
        copy_s = copy_s.min(psql.timed(copy)?);
    }
    // Commits follow each other, so that the latency is that of a table at work.
    let mut config = Config::default();
    config.lakehouse.sink.freshness = FRESHNESS;
    let platform = Platform::open(&config, &DataFolder::of(folder, None), folder).await?;
    let bed = Bed { env: platform.env.clone(), platform: &platform };
    let result: Result<Outcome, Failure> = async {
        platform.apply_project().await?;
        let started = bed.env.clock.instant();
        platform.follow(&config).await;
        bed.wait_for_topic(args.rows).await?;
        let topic_s = bed.since(started);
        bed.wait_for_rows(args.rows).await?;
        let table_s = bed.since(started);
        let before = (bed.total(Metric::LakehouseCommits), bed.total(Metric::LakehouseCompactions));
        let (changes_per_s, visible_ms) = bed.freshness(args, psql).await?;
        let commits = bed.total(Metric::LakehouseCommits) - before.0;
        let compactions = bed.total(Metric::LakehouseCompactions) - before.1;
        let rate = |seconds: f64| args.rows as f64 / seconds;
        Ok(Outcome {
            rows: args.rows,
            copy_rows_per_s: rate(copy_s),
            topic_rows_per_s: rate(topic_s),
            table_rows_per_s: rate(table_s),
            ratio_topic_to_copy: copy_s / topic_s,
            ratio_table_to_copy: copy_s / table_s,
            changes_per_s,
            ratio_p99_to_postgres: 0.0,
            visible_ms,
            postgres_visible_ms: Spread::of(Vec::new()),
            postgres_changes_per_s: 0.0,
            commits,
            compactions,
        })
    }
    .await;
    platform.stop().await;
    let mut outcome = result?;
    // The peer has the machine for itself, as Tarn had.
    (outcome.postgres_changes_per_s, outcome.postgres_visible_ms) = subscription::freshness(args, psql)?;
    outcome.ratio_p99_to_postgres = outcome.visible_ms.p99 / outcome.postgres_visible_ms.p99;
    Ok(outcome)
}

struct Bed<'a> {
    env: Env,
    platform: &'a Platform,
}

impl Bed<'_> {
    fn since(&self, started: Instant) -> f64 {
        self.env.clock.instant().saturating_duration_since(started).as_secs_f64()
    }

    fn total(&self, metric: Metric) -> u64 {
        self.platform.state.metrics.total(metric)
    }

    async fn wait_for_topic(&self, rows: u64) -> Result<(), Failure> {
        let started = self.env.clock.instant();
        while self.platform.state.metrics.total(Metric::IngestRows) < rows {
            self.pause(started, "all rows to be in the topic").await?;
        }
        Ok(())
    }

    async fn wait_for_rows(&self, rows: u64) -> Result<(), Failure> {
        let started = self.env.clock.instant();
        while self.number("SELECT count(*) FROM bench.orders").await? < Some(rows) {
            self.pause(started, "all rows to be in the table").await?;
        }
        Ok(())
    }

    async fn pause(&self, started: Instant, what: &str) -> Result<(), Failure> {
        if self.since(started) > PATIENCE.as_secs_f64() {
            let faults = serde_json::json!(self.platform.state.faults.list(&self.platform.ctx.tenant));
            return Err(Failure::internal(format!("waited {PATIENCE:?} for {what}; faults: {faults}")));
        }
        self.env.clock.sleep(LOOK).await;
        Ok(())
    }

    /// A single number; `None` while the table is not there.
    async fn number(&self, sql: &str) -> Result<Option<u64>, Failure> {
        let session = self.platform.state.engine.session(&self.platform.ctx);
        let mut stream = match session.execute(sql, QueryOptions::default()).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), FaultKind::Invalid | FaultKind::NotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        while let Some(batch) = stream.next().await {
            let rows = rows_json(&batch?)?;
            let Some(value) = rows.first().and_then(|row| row.get(0)) else { continue };
            // Large numbers come as text, so that no client rounds them.
            return Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        }
        Ok(None)
    }

    /// Changes at a steady rate; one in each statement is looked for in the table until SQL shows it.
    async fn freshness(&self, args: &IngestArgs, psql: &Psql) -> Result<(f64, Spread), Failure> {
        let mut writer = Writer::start(psql, args.rows, args.changes_per_s.get(), args.seconds)?;
        let started = self.env.clock.instant();
        let (mut seen, mut shown) = (args.rows, Vec::new());
        let mut waiting: Vec<(u64, i64)> = Vec::new();
        loop {
            let done = writer.is_done();
            waiting.extend(writer.marks());
            let newest = format!("SELECT max(id) FROM bench.orders WHERE id > {seen}");
            if let Some(id) = self.number(&newest).await? {
                let now_us = self.env.clock.now_us();
                seen = id;
                waiting.retain(|(mark, committed_us)| {
                    let is_there = *mark <= seen;
                    if is_there {
                        shown.push((now_us - committed_us) as f64 / 1000.0);
                    }
                    !is_there
                });
            }
            if done && waiting.is_empty() {
                break;
            }
            self.pause(started, "the last change to be in the table").await?;
        }
        let rate = writer.finish()?;
        Ok((rate, Spread::of(shown)))
    }
}

fn print(outcome: &Outcome) {
    let line =
        |what: &str, rate: f64, ratio: f64| println!("    {what:38} {rate:>10.0} rows/s  ratio {ratio:.2}");
    println!("\n  existing rows, {} of them", outcome.rows);
    line("psql \\copy to /dev/null", outcome.copy_rows_per_s, 1.0);
    line("until durable in the topic", outcome.topic_rows_per_s, outcome.ratio_topic_to_copy);
    line("until SQL counts them in the table", outcome.table_rows_per_s, outcome.ratio_table_to_copy);
    println!(
        "\n  changes, {:.0} per second, from the statement until SQL shows the row; {} commits, {} compactions",
        outcome.changes_per_s, outcome.commits, outcome.compactions
    );
    outcome.visible_ms.print("Tarn");
    println!(
        "\n  the same, {:.0} per second, by PostgreSQL's own subscription",
        outcome.postgres_changes_per_s
    );
    outcome.postgres_visible_ms.print("PostgreSQL");
    println!("    ratio of p99 {:.2}\n", outcome.ratio_p99_to_postgres);
}
