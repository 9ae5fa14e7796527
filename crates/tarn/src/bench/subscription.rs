//! PostgreSQL's own logical replication of the same table, as the peer: how long a change takes until a database that
//! subscribes shows it.

use std::time::{Duration, Instant};

use super::ingest::{IngestArgs, NAME, PATIENCE};
use super::psql::{Psql, Watcher, Writer};
use super::report::Spread;
use crate::cli::Failure;

/// The database that subscribes.
const COPY: &str = "tarn_bench_copy";
/// Its slot and publication, beside those of Tarn.
const SLOT: &str = "tarn_bench_copy";
/// Seconds between two looks.
const LOOK_S: f64 = 0.002;
/// Between two looks at what was seen.
const TURN: Duration = Duration::from_millis(20);

/// Removes what the peer made, or what an interrupted bench left.
pub fn clean(psql: &Psql) -> Result<(), Failure> {
    let known = psql.run(&format!("SELECT 1 FROM pg_database WHERE datname = '{COPY}'"))?;
    if !known.is_empty() {
        let copy = psql.database(COPY);
        // It may be there or not, as the bench ended.
        let _ = copy.run(&format!("ALTER SUBSCRIPTION {NAME} DISABLE"));
        let _ = copy.run(&format!("ALTER SUBSCRIPTION {NAME} SET (slot_name = NONE)"));
        let _ = copy.run(&format!("DROP SUBSCRIPTION {NAME}"));
        psql.run(&format!("DROP DATABASE {COPY} WITH (FORCE)"))?;
    }
    psql.run(&format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND NOT active;
         DROP PUBLICATION IF EXISTS {SLOT};"
    ))?;
    Ok(())
}

/// The same changes once more, with a database that subscribes instead of Tarn. Returns changes per second and
/// milliseconds from a statement until the other database shows its rows.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures the real clock, and nothing else runs meanwhile"
)]
pub fn freshness(args: &IngestArgs, psql: &Psql) -> Result<(f64, Spread), Failure> {
    clean(psql)?;
    psql.run(&format!("CREATE DATABASE {COPY}"))?;
    let copy = psql.database(COPY);
    copy.run(&format!(
        "CREATE SCHEMA {NAME};
         CREATE TABLE {NAME}.orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric(14, 2),
           paid boolean NOT NULL, at timestamptz NOT NULL, note text);"
    ))?;
    psql.run(&format!("CREATE PUBLICATION {SLOT} FOR TABLE {NAME}.orders"))?;
    // A server that subscribes to itself cannot make the slot within the same statement.
    psql.run(&format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')"))?;
    copy.run(&format!(
        "CREATE SUBSCRIPTION {NAME} CONNECTION '{}' PUBLICATION {SLOT} WITH (create_slot = false, slot_name = '{SLOT}', binary = true)",
        psql.url().replace('\'', "''")
    ))?;
    let rows: u64 = psql.run(&format!("SELECT max(id) FROM {NAME}.orders"))?.parse().unwrap_or(args.rows);
    let started = Instant::now();
    let patient = |what: &str| {
        std::thread::sleep(TURN);
        match started.elapsed() > PATIENCE {
            true => Err(Failure::internal(format!("waited {PATIENCE:?} for {what}"))),
            false => Ok(()),
        }
    };
    let ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
    while copy.run(ready)? != "0" {
        patient("the other database to have all rows")?;
    }
    let watcher = Watcher::start(&copy, &format!("SELECT max(id) FROM {NAME}.orders"), LOOK_S)?;
    let mut writer = Writer::start(psql, rows, args.changes_per_s.get(), args.seconds)?;
    let (mut waiting, mut shown): (Vec<(u64, i64)>, Vec<f64>) = (Vec::new(), Vec::new());
    loop {
        let done = writer.is_done();
        waiting.extend(writer.marks());
        for (newest, at_us) in watcher.seen() {
            waiting.retain(|(mark, committed_us)| {
                let is_there = *mark <= newest;
                if is_there {
                    shown.push((at_us - committed_us) as f64 / 1000.0);
                }
                !is_there
            });
        }
        if done && waiting.is_empty() {
            break;
        }
        patient("the last change to be in the other database")?;
    }
    drop(watcher);
    let rate = writer.finish()?;
    clean(psql)?;
    Ok((rate, Spread::of(shown)))
}
