//! Upserts into a table of many keys, from the topic until SQL shows them, beside PostgreSQL's own `INSERT ... ON CONFLICT
//! DO UPDATE` of the same changes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use clap::Args;
use serde::Serialize;
use tarn_core::change::ChangeColumns;
use tarn_core::{ChangeKind, Position, TableName, TopicName};
use tarn_eventlog::{Append, Retention, TopicSpec};
use tarn_lakehouse::{SinkConfig, SinkSpec, SinkStatus};

use super::psql::Psql;
use super::report;
use crate::cli::{Failure, io_failure};
use crate::config::Config;
use crate::platform::Platform;
use crate::project::DataFolder;

/// Rows of one append, which is one transaction.
const BATCH_ROWS: u64 = 5_000;
/// Rows that may wait in the topic, so that the log and the table work side by side as they do in life.
const AHEAD_ROWS_MAX: u64 = 200_000;
/// One in so many changes has a new key.
const NEW_ONE_IN: u64 = 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(1800);

/// Options of `tarn bench upsert`.
#[derive(Debug, Args)]
pub struct UpsertArgs {
    /// Keys that are in the table before.
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Changes, of which a tenth have new keys.
    #[arg(long, default_value_t = 2_000_000)]
    changes: u64,
    /// Address of a PostgreSQL for comparison; a schema `tarn_bench` is made in it and removed again.
    #[arg(long, value_name = "URL", env = "TARN_BENCH_POSTGRES")]
    postgres: Option<String>,
}

impl Default for UpsertArgs {
    fn default() -> Self {
        let postgres = std::env::var("TARN_BENCH_POSTGRES").ok();
        Self { keys: 10_000_000, changes: 2_000_000, postgres }
    }
}

#[derive(Debug, Serialize)]
struct Outcome {
    keys: u64,
    changes: u64,
    /// Rows per second of the first copy, until they are committed.
    load_rows_per_s: f64,
    /// Changes per second until SQL shows them, flushes and compactions running beside.
    shown_per_s: f64,
    /// Changes per second until they are committed as well.
    committed_per_s: f64,
    commits: u64,
    compactions: u64,
    /// Largest resident memory while changes are applied, in megabytes.
    memory_mb_max: f64,
    /// PostgreSQL, if one was named.
    postgres_per_s: Option<f64>,
    ratio_to_postgres: Option<f64>,
}

/// `tarn bench upsert`.
pub async fn run(args: &UpsertArgs, out: &Path, json: bool) -> Result<(), Failure> {
    report::announce("upsert: changes into a table of many keys, beside PostgreSQL's INSERT ... ON CONFLICT");
    let folder =
        tempfile::tempdir_in(".").map_err(|error| io_failure("make a folder in", Path::new("."), &error))?;
    let config = Config::default();
    let platform = Platform::open(&config, &DataFolder::of(folder.path(), None), folder.path()).await?;
    let measured = Bed { platform: &platform, memory_mb_max: 0.0 }.measure(args).await;
    platform.stop().await;
    let mut outcome = measured?;
    println!(
        "  {:.0} changes/s until SQL shows them, {:.0} MB of memory",
        outcome.shown_per_s, outcome.memory_mb_max
    );
    if let Some(url) = &args.postgres {
        let per_s = postgres(&Psql::new(url), args)?;
        outcome.ratio_to_postgres = Some(outcome.shown_per_s / per_s);
        outcome.postgres_per_s = Some(per_s);
    }
    if !json {
        print(&outcome);
    }
    report::keep(out, "upsert", &outcome)
}

/// The key of the `n`th change: mostly one that exists, all over the table, and now and then the next new one.
fn key_of(n: u64, keys: u64) -> u64 {
    match n % NEW_ONE_IN {
        0 => keys + n / NEW_ONE_IN,
        // A multiplier without a common factor with the powers of ten visits keys in no order.
        _ => n.wrapping_mul(2_654_435_761) % keys,
    }
}

struct Bed<'a> {
    platform: &'a Platform,
    memory_mb_max: f64,
}

impl Bed<'_> {
    async fn measure(mut self, args: &UpsertArgs) -> Result<Outcome, Failure> {
        let clock = Arc::clone(&self.platform.env.clock);
        let (topic, table) = names()?;
        let spec = TopicSpec {
            name: topic.clone(),
            partitions: 1,
            retention: Retention::default(),
            key: vec!["id".into()],
        };
        self.platform.state.eventlog.create_topic(&self.platform.ctx, spec).await?;
        let sink = SinkSpec { topic, table };
        self.platform.state.lakehouse.attach(&self.platform.ctx, sink, SinkConfig::default());
        println!("  writing {} rows", args.keys);
        let started = clock.instant();
        self.write(0..args.keys, ChangeKind::Insert, |n| n).await?;
        self.wait_until(args.keys, |status| status.committed_offset).await?;
        let load_s = seconds(clock.instant(), started);
        let before = self.status()?;
        println!("  writing {} changes", args.changes);
        self.memory_mb_max = 0.0;
        let started = clock.instant();
        let keys = args.keys;
        self.write(0..args.changes, ChangeKind::UpdateAfter, |n| key_of(n, keys)).await?;
        let end = args.keys + args.changes;
        self.wait_until(end, |status| status.applied_offset).await?;
        let shown_s = seconds(clock.instant(), started);
        let (_, table) = names()?;
        self.platform.state.lakehouse.flush(&self.platform.ctx, &table, PATIENCE).await;
        self.wait_until(end, |status| status.committed_offset).await?;
        let committed_s = seconds(clock.instant(), started);
        let after = self.status()?;
        let view = self.platform.state.lakehouse.view(&self.platform.ctx, &table).await?;
        let expected = args.keys + args.changes.div_ceil(NEW_ONE_IN);
        if view.live_rows() != expected {
            let what = format!("the table has {} rows, {expected} are right", view.live_rows());
            return Err(Failure::internal(what));
        }
        Ok(Outcome {
            keys: args.keys,
            changes: args.changes,
            load_rows_per_s: args.keys as f64 / load_s,
            shown_per_s: args.changes as f64 / shown_s,
            committed_per_s: args.changes as f64 / committed_s,
            commits: after.commits - before.commits,
            compactions: after.compactions - before.compactions,
            memory_mb_max: self.memory_mb_max,
            postgres_per_s: None,
            ratio_to_postgres: None,
        })
    }

    fn status(&self) -> Result<SinkStatus, Failure> {
        let (_, table) = names()?;
        let sink = self.platform.state.lakehouse.sink(&self.platform.ctx, &table);
        sink.map(|(_, status)| status).ok_or_else(|| Failure::internal("the table is not fed"))
    }

    async fn write(
        &mut self,
        rows: std::ops::Range<u64>,
        kind: ChangeKind,
        key: impl Fn(u64) -> u64,
    ) -> Result<(), Failure> {
        let (topic, _) = names()?;
        let mut first = rows.start;
        while first < rows.end {
            let next = (first + BATCH_ROWS).min(rows.end);
            let batch = batch(first..next, kind, &key)?;
            let append = Append { batch, state: None };
            let appended = self.platform.state.eventlog.append(&self.platform.ctx, &topic, 0, append).await?;
            let from = appended.next_offset.saturating_sub(AHEAD_ROWS_MAX);
            self.wait_until(from, |status| status.applied_offset).await?;
            first = next;
        }
        Ok(())
    }

    async fn wait_until(&mut self, offset: u64, of: fn(&SinkStatus) -> u64) -> Result<(), Failure> {
        let clock = Arc::clone(&self.platform.env.clock);
        let started = clock.instant();
        loop {
            self.memory_mb_max =
                self.memory_mb_max.max(tarn_observe::memory_bytes().unwrap_or(0) as f64 / 1e6);
            let status = self.status()?;
            if of(&status) >= offset {
                return Ok(());
            }
            if seconds(clock.instant(), started) > PATIENCE.as_secs_f64() {
                return Err(Failure::internal(format!(
                    "waited {PATIENCE:?} for offset {offset}: {status:?}"
                )));
            }
            clock.sleep(LOOK).await;
        }
    }
}

fn seconds(now: Instant, started: Instant) -> f64 {
    now.saturating_duration_since(started).as_secs_f64()
}

fn names() -> Result<(TopicName, TableName), Failure> {
    let internal = |error: tarn_core::InvalidName| Failure::internal(error.to_string());
    Ok((
        TopicName::parse("bench.public.orders").map_err(internal)?,
        TableName::parse("bench.orders").map_err(internal)?,
    ))
}

/// Rows of about 100 bytes, as the statements for PostgreSQL make them.
fn batch(
    rows: std::ops::Range<u64>,
    kind: ChangeKind,
    key: impl Fn(u64) -> u64,
) -> Result<RecordBatch, Failure> {
    let internal = |error: arrow::error::ArrowError| Failure::internal(error.to_string());
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(14, 2), true),
        Field::new("note", DataType::Utf8, true),
    ]);
    let ids = Int64Array::from_iter_values(rows.clone().map(|n| key(n).cast_signed()));
    let customers = StringArray::from_iter_values(rows.clone().map(|n| format!("customer {}", n % 977)));
    let amounts = Decimal128Array::from_iter_values(rows.clone().map(|n| i128::from(n % 100_000)));
    let amounts = amounts.with_precision_and_scale(14, 2).map_err(internal)?;
    let notes =
        rows.clone().map(|n| format!("note {:032x}", u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(customers),
        Arc::new(amounts),
        Arc::new(StringArray::from_iter_values(notes)),
    ];
    let count = usize::try_from(rows.end - rows.start).unwrap_or_default();
    let meta = ChangeColumns::uniform(kind, count, Position::new(1, rows.start), None);
    meta.attach(&schema, columns).map_err(internal)
}

/// PostgreSQL applies the same changes to a table with the same rows: batches of the same size from a staging table, each
/// in a transaction of its own.
fn postgres(psql: &Psql, args: &UpsertArgs) -> Result<f64, Failure> {
    println!("  the same in PostgreSQL");
    let row =
        "'customer ' || n % 977 AS customer, (n % 100000) / 100.0 AS amount, 'note ' || md5(n::text) AS note";
    let (keys, changes) = (args.keys, args.changes);
    let clean = "DROP SCHEMA IF EXISTS tarn_bench CASCADE";
    psql.run(clean)?;
    psql.run(&format!(
        "CREATE SCHEMA tarn_bench;
         CREATE TABLE tarn_bench.orders (id bigint PRIMARY KEY, customer text, amount numeric(14, 2), note text);
         INSERT INTO tarn_bench.orders SELECT n, {row} FROM generate_series(0::bigint, {keys} - 1) n;
         CREATE UNLOGGED TABLE tarn_bench.changes AS SELECT n, CASE WHEN n % {NEW_ONE_IN} = 0 THEN {keys} + n / {NEW_ONE_IN}
           ELSE (n * 2654435761::numeric % {keys})::bigint END AS id, {row} FROM generate_series(0::bigint, {changes} - 1) n;
         CREATE INDEX ON tarn_bench.changes (n);"
    ))?;
    // Each of these needs a transaction of its own.
    for upkeep in ["VACUUM ANALYZE tarn_bench.orders", "VACUUM ANALYZE tarn_bench.changes", "CHECKPOINT"] {
        psql.run(upkeep)?;
    }
    let applied = psql.timed(&format!(
        "DO $$ BEGIN FOR batch IN 0..({changes} - 1) / {BATCH_ROWS} LOOP
           INSERT INTO tarn_bench.orders SELECT DISTINCT ON (id) id, customer, amount, note FROM tarn_bench.changes
             WHERE n >= batch * {BATCH_ROWS} AND n < (batch + 1) * {BATCH_ROWS} ORDER BY id, n DESC
             ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, amount = excluded.amount, note = excluded.note;
           COMMIT;
         END LOOP; END $$"
    ));
    psql.run(clean)?;
    Ok(changes as f64 / applied?)
}

fn print(outcome: &Outcome) {
    println!("\n  {} changes, a tenth of them new keys, into {} keys", outcome.changes, outcome.keys);
    let line = |what: &str, rate: f64| println!("    {what:42} {rate:>10.0} rows/s");
    line("first copy, until committed", outcome.load_rows_per_s);
    line("changes, until SQL shows them", outcome.shown_per_s);
    line("changes, until committed as well", outcome.committed_per_s);
    if let (Some(rate), Some(ratio)) = (outcome.postgres_per_s, outcome.ratio_to_postgres) {
        println!("    {:42} {rate:>10.0} rows/s  ratio {ratio:.2}", "PostgreSQL, INSERT ... ON CONFLICT");
    }
    println!(
        "    {} commits and {} compactions meanwhile; {:.0} MB of memory at most\n",
        outcome.commits, outcome.compactions, outcome.memory_mb_max
    );
}
