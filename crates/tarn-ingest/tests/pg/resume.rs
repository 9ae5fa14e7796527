//! Crashes of us and of the server, lost slots, new tables.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tarn_core::{ChangeKind, Fault, FaultKind};
use tarn_ingest::IngestError;
use tarn_testkit::PostgresServer;

use super::changes::start_writer;
use super::mirror::{Mirror, PATIENCE, context, shared_server, table};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_we_crash_anywhere() {
    let server = shared_server();
    let url = server.database("crashes").unwrap();
    let sql = "CREATE TABLE t (id bigint PRIMARY KEY, v text, w int);
               INSERT INTO t SELECT g, 'old ' || repeat('x', 5000), g FROM generate_series(1, 6000) g;
               CREATE TABLE n (a int, b text); ALTER TABLE n REPLICA IDENTITY FULL;
               INSERT INTO n SELECT g % 50, 'r' FROM generate_series(1, 4000) g;";
    server.psql_in("crashes", sql).unwrap();
    let seed = std::env::var("TARN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(42);
    println!("TARN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (stop, writer) = start_writer(&server, "crashes", 1);
    let mut mirror = Mirror::new("crashes", json!({ "url": url, "snapshot_workers": 2 }));
    mirror.acknowledges = false;
    for round in 0..25 {
        mirror.open().await;
        // The first rounds end within the snapshot, later ones in the stream.
        let steps = if round < 8 { random.random_range(0..14) } else { random.random_range(0..60) };
        for _ in 0..steps {
            mirror.step().await.unwrap();
            if random.random_bool(0.3) {
                mirror.acknowledge_all().await;
            }
        }
        mirror.crash(&mut random);
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    server.psql_in("crashes", "UPDATE n SET b = 'end' WHERE a = 7; DELETE FROM n WHERE a = 8").unwrap();
    mirror.acknowledges = true;
    mirror.open().await;
    mirror.read_until_same(&server, "crashes", "t").await;
    mirror.read_until_same(&server, "crashes", "n").await;
    let truncates = mirror.changes("t").iter().filter(|change| change.kind == ChangeKind::Truncate).count();
    assert!(truncates >= 1, "some crash was within the snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_read_on_where_it_ended() {
    let mut server = PostgresServer::options().setting("fsync", "on").start().unwrap();
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'a' FROM generate_series(1, 1000) g").unwrap();
    let mut mirror = Mirror::new("killed", json!({ "url": server.url("postgres") }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 1000).await;
    server.psql("UPDATE t SET v = 'b' WHERE id < 500").unwrap();
    mirror.read_until(|mirror| mirror.count("t") > 1000).await;
    server.kill().unwrap();
    let start = Instant::now();
    let error = loop {
        assert!(start.elapsed() < PATIENCE);
        if let Err(error) = mirror.step().await {
            break error;
        }
    };
    assert!(matches!(error, IngestError::Unreachable { .. }) && error.kind().is_transient(), "{error:?}");
    let refused = mirror.try_open().await.unwrap_err();
    assert!(matches!(refused, IngestError::Unreachable { .. }), "{refused:?}");
    server.resume().unwrap();
    server.psql("DELETE FROM t WHERE id > 900; INSERT INTO t VALUES (5000, 'c')").unwrap();
    mirror.open().await;
    mirror.read_until_same(&server, "postgres", "t").await;
    server.stop().unwrap();
    let error = loop {
        if let Err(error) = mirror.step().await {
            break error;
        }
    };
    assert_eq!(error.kind(), FaultKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_is_told_and_read_anew_only_when_wanted() {
    let server = shared_server();
    let url = server.database("lost").unwrap();
    server.psql_in("lost", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'a' FROM generate_series(1, 50) g").unwrap();
    let mut mirror = Mirror::new("lost", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.rows("t").len() == 50 && mirror.batches.len() == 2).await;
    mirror.source = None;
    let drop_slot = "SELECT pg_drop_replication_slot('tarn_lost')";
    let start = Instant::now();
    while server.psql_in("lost", drop_slot).is_err() {
        assert!(start.elapsed() < PATIENCE);
    }
    server.psql_in("lost", "DELETE FROM t WHERE id < 20; INSERT INTO t VALUES (100, 'b')").unwrap();
    mirror.open().await;
    let error = loop {
        if let Err(error) = mirror.step().await {
            break error;
        }
    };
    assert!(matches!(error, IngestError::SourceGone { .. }), "{error:?}");
    assert!(error.to_string().contains("replication slot `tarn_lost` is gone"), "{error}");
    assert!(error.hint().unwrap().contains("on_slot_lost: snapshot"));
    assert!(!error.kind().is_transient());
    mirror.config["on_slot_lost"] = json!("snapshot");
    mirror.open().await;
    mirror.read_until_same(&server, "lost", "t").await;
    assert_eq!(mirror.changes("t")[50].kind, ChangeKind::Truncate);
    server.psql_in("lost", "DELETE FROM t WHERE id = 100").unwrap();
    mirror.read_until_same(&server, "lost", "t").await;
    // The same for a publication that someone removed.
    mirror.source = None;
    server.psql_in("lost", "DROP PUBLICATION tarn_lost; INSERT INTO t VALUES (101, 'c')").unwrap();
    mirror.config["on_slot_lost"] = json!("fail");
    mirror.open().await;
    let error = loop {
        if let Err(error) = mirror.step().await {
            break error;
        }
    };
    assert!(error.to_string().contains("publication `tarn_lost` is gone"), "{error}");
    mirror.config["on_slot_lost"] = json!("snapshot");
    mirror.open().await;
    mirror.read_until_same(&server, "lost", "t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_in_use_is_told_and_tried_again() {
    let server = shared_server();
    let url = server.database("shared").unwrap();
    server.psql_in("shared", "CREATE TABLE t (id int PRIMARY KEY)").unwrap();
    let mut first = Mirror::new("shared", json!({ "url": url }));
    first.open().await;
    first.read_until(|mirror| mirror.batches.len() == 1).await;
    server.psql_in("shared", "INSERT INTO t VALUES (1)").unwrap();
    first.read_until(|mirror| mirror.count("t") == 1).await;
    let mut second = Mirror::new("shared", json!({ "url": url }));
    second.open().await;
    let error = loop {
        if let Err(error) = second.step().await {
            break error;
        }
    };
    assert!(matches!(error, IngestError::Busy { .. }) && error.kind().is_transient(), "{error:?}");
    assert!(error.to_string().contains("`tarn_shared` is in use by process"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_added_later_is_read_from_its_start() {
    let server = shared_server();
    let url = server.database("later").unwrap();
    let sql = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);
               INSERT INTO a SELECT g, 'a' FROM generate_series(1, 20) g; INSERT INTO b SELECT g, 'b' FROM generate_series(1, 30) g;";
    server.psql_in("later", sql).unwrap();
    let mut mirror = Mirror::new("later", json!({ "url": url, "tables": ["public.a"] }));
    mirror.open().await;
    mirror.read_until_same(&server, "later", "a").await;
    mirror.read_until(|mirror| mirror.batches.len() == 2).await;
    assert_eq!(mirror.tables.len(), 1);
    mirror.source = None;
    server.psql_in("later", "UPDATE b SET v = 'bb' WHERE id < 5; DELETE FROM a WHERE id = 3").unwrap();
    mirror.config["tables"] = json!(["public.*"]);
    mirror.open().await;
    mirror.read_until_same(&server, "later", "b").await;
    mirror.read_until_same(&server, "later", "a").await;
    assert!(mirror.changes("a").iter().all(|change| change.kind != ChangeKind::Truncate));
    // One that is made while we read is found by itself, and one that is made again is read anew.
    server.psql_in("later", "CREATE TABLE c (id int PRIMARY KEY); INSERT INTO c VALUES (1), (2);").unwrap();
    server
        .psql_in(
            "later",
            "DROP TABLE b; CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'third')",
        )
        .unwrap();
    mirror.read_until(|mirror| mirror.tables.contains_key(&table("c"))).await;
    server
        .psql_in(
            "later",
            "INSERT INTO c VALUES (3); INSERT INTO b VALUES (2, 'x'); INSERT INTO a VALUES (99, 'x')",
        )
        .unwrap();
    for name in ["a", "b", "c"] {
        mirror.read_until_same(&server, "later", name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_database_lets_the_server_forget_its_log() {
    let server = shared_server();
    let url = server.database("quiet").unwrap();
    server.psql_in("quiet", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").unwrap();
    let mut mirror = Mirror::new("quiet", json!({ "url": url, "heartbeat": "1s" }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.batches.len() == 2).await;
    let flushed = || -> String {
        let sql =
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'tarn_quiet'";
        server.psql_in("quiet", sql).unwrap()
    };
    let number = |text: String| text.parse::<u64>().unwrap();
    let before = number(flushed());
    let start = Instant::now();
    while number(flushed()) <= before + 100 {
        assert!(start.elapsed() < PATIENCE, "the slot does not move");
        mirror.step().await.unwrap();
    }
    // A row that is not durable holds it back, also through heartbeats.
    mirror.acknowledges = false;
    server.psql_in("quiet", "INSERT INTO t VALUES (2)").unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 2).await;
    let row = mirror.changes("t")[1].position.major;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(13) {
        mirror.step().await.unwrap();
    }
    assert!(number(flushed()) <= row, "the server forgot a row that is not durable");
    mirror.acknowledge_all().await;
    let start = Instant::now();
    while number(flushed()) <= row {
        assert!(start.elapsed() < PATIENCE, "the slot does not move after the acknowledgement");
        mirror.step().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changes_are_read_without_a_snapshot() {
    let server = shared_server();
    let url = server.database("never").unwrap();
    server
        .psql_in("never", "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')")
        .unwrap();
    let mut mirror = Mirror::new("never", json!({ "url": url, "snapshot": "never" }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.tables.len() == 1).await;
    server.psql_in("never", "INSERT INTO t VALUES (2, 'new')").unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 1).await;
    mirror.source = None;
    server.psql_in("never", "INSERT INTO t VALUES (3, 'newer')").unwrap();
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 2).await;
    assert_eq!(mirror.rows("t"), ["2|new", "3|newer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_leaves_nothing_on_the_server() {
    let server = shared_server();
    let url = server.database("removed").unwrap();
    server
        .psql_in("removed", "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION other FOR TABLE t")
        .unwrap();
    let mut mirror = Mirror::new("removed", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.batches.len() == 1).await;
    server.psql_in("removed", "INSERT INTO t VALUES (1)").unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 1).await;
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = 'removed'), string_agg(pubname, ',' ORDER BY pubname) FROM pg_publication";
    assert_eq!(server.psql_in("removed", left).unwrap(), "1|other,tarn_removed,tarn_removed_inserts");
    let connector = mirror.connector();
    mirror.source = None;
    connector.remove(&context()).await.unwrap();
    assert_eq!(server.psql_in("removed", left).unwrap(), "0|other");
    connector.remove(&context()).await.unwrap();
}
