//! Rates, printed. Run with `--ignored --nocapture` on an optimised build.

use std::time::Instant;

use serde_json::json;

use super::mirror::{connector, context};
use tarn_ingest::{Resume, SourceEvent};
use tarn_testkit::PostgresServer;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn rates_of_snapshot_and_stream() {
    let server = PostgresServer::options()
        .setting("shared_buffers", "1GB")
        .setting("max_wal_size", "8GB")
        .start()
        .unwrap();
    let rows = 4_000_000_u64;
    server
        .psql(&format!(
            "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz, amount numeric(12,2), status text, note text, n int);
             INSERT INTO t SELECT g, now() - g * interval '1 s', g % 100000 / 7.0, 'open', 'some note ' || g, g % 1000
             FROM generate_series(1, {rows}) g; VACUUM ANALYZE t; CHECKPOINT;"
        ))
        .unwrap();
    for _ in 0..2 {
        let start = Instant::now();
        server.psql("\\copy t to /dev/null").unwrap();
        println!("psql \\copy: {:.0} rows/s", rows as f64 / start.elapsed().as_secs_f64());
    }
    let config = json!({ "url": server.url("postgres"), "slot": "speed", "snapshot_workers": 2 });
    let mut source = connector("speed", config).unwrap().open(&context(), Resume::default()).await.unwrap();
    let start = Instant::now();
    let mut read = 0_u64;
    let mut first = None;
    while read < rows {
        if let Some(SourceEvent::Rows(batch)) = source.next().await.unwrap() {
            first.get_or_insert_with(Instant::now);
            read += batch.rows.num_rows() as u64;
            source.acknowledge(&batch.table, "", batch.position).await.unwrap();
        }
    }
    let since_first = first.unwrap().elapsed().as_secs_f64();
    println!(
        "snapshot: {:.0} rows/s, {:.0} rows/s with its start",
        read as f64 / since_first,
        read as f64 / start.elapsed().as_secs_f64()
    );
    let changes = 1_000_000_u64;
    server
        .psql(&format!(
            "INSERT INTO t SELECT g + {rows}, now(), g % 100000 / 7.0, 'open', 'some note of about the usual size ' || g, g % 1000
             FROM generate_series(1, {changes}) g"
        ))
        .unwrap();
    let (start, mut read) = (Instant::now(), 0);
    while read < changes {
        if let Some(SourceEvent::Rows(batch)) = source.next().await.unwrap() {
            read += batch.rows.num_rows() as u64;
            source.acknowledge(&batch.table, "", batch.position).await.unwrap();
        }
    }
    println!("stream: {:.0} rows/s", read as f64 / start.elapsed().as_secs_f64());
    let mut worst = Vec::new();
    for at in 0..200 {
        server.psql(&format!("INSERT INTO t (id) VALUES ({})", 100_000_000 + at)).unwrap();
        let start = Instant::now();
        loop {
            if let Some(SourceEvent::Rows(batch)) = source.next().await.unwrap() {
                source.acknowledge(&batch.table, "", batch.position).await.unwrap();
                break;
            }
        }
        worst.push(start.elapsed().as_micros());
    }
    worst.sort_unstable();
    println!("latency after psql returned: p50 {} us, p99 {} us", worst[100], worst[198]);
}
