//! Inserts, updates, deletes, truncates and changes of shape.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tarn_core::ChangeKind;

use super::mirror::{Mirror, shared_server, table};

/// Random changes of `t (id, v, w)` by one session until told to stop.
pub fn start_writer(
    server: &Arc<tarn_testkit::PostgresServer>,
    database: &str,
    seed: u32,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (server, database, stopped) = (server.clone(), database.to_string(), stop.clone());
    let writer = std::thread::spawn(move || {
        let mut round = seed;
        while !stopped.load(Ordering::Relaxed) {
            round += 1;
            let (a, b) = (round * 7919 % 4_000, round * 104_729 % 4_000);
            let sql = format!(
                "BEGIN;\n\
                 INSERT INTO t SELECT g, 'new {round}', {round} FROM generate_series({base}, {base} + 9) g;\n\
                 UPDATE t SET v = 'changed {round}' WHERE id BETWEEN {a} AND {a} + 40;\n\
                 DELETE FROM t WHERE id BETWEEN {b} AND {b} + 3;\n\
                 UPDATE t SET id = id + 1000000 WHERE id = {a} + 50 AND NOT EXISTS (SELECT FROM t x WHERE x.id = {a} + 1000050);\n\
                 COMMIT;\n\
                 BEGIN; UPDATE t SET v = 'never'; ROLLBACK;\n",
                base = 10_000_000 + round * 10,
            );
            server.psql_in(&database, &sql).unwrap();
        }
    });
    (stop, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_rows_and_concurrent_changes_meet_without_gap_or_overlap() {
    let server = shared_server();
    let url = server.database("meet").unwrap();
    let sql = "CREATE TABLE t (id bigint PRIMARY KEY, v text, w int);
               INSERT INTO t SELECT g, 'old ' || repeat('x', 200), g FROM generate_series(1, 60000) g;
               CREATE TABLE full_rows (a int, b text); ALTER TABLE full_rows REPLICA IDENTITY FULL;
               INSERT INTO full_rows SELECT g % 100, 'r' || g % 7 FROM generate_series(1, 5000) g;
               CREATE TABLE empty (id int PRIMARY KEY);";
    server.psql_in("meet", sql).unwrap();
    let (stop, writer) = start_writer(&server, "meet", 1);
    let mut mirror = Mirror::new("meet", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") > 62_000).await;
    server
        .psql_in("meet", "UPDATE full_rows SET b = 'u' WHERE a = 5; DELETE FROM full_rows WHERE a = 6")
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    mirror.read_until_same(&server, "meet", "t").await;
    mirror.read_until_same(&server, "meet", "full_rows").await;
    mirror.read_until(|mirror| mirror.descriptions.contains_key(&table("empty"))).await;
    assert_eq!(mirror.descriptions[&table("t")].key, ["id"]);
    assert!(mirror.descriptions[&table("full_rows")].key.is_empty());
    mirror.source = None;
    mirror.connector().remove(&super::mirror::context()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_not_sent_are_named() {
    let server = shared_server();
    let url = server.database("toast").unwrap();
    let big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 400) g)";
    let setup = format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE f (id int PRIMARY KEY, n int, big text); ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE f REPLICA IDENTITY FULL;
         INSERT INTO t SELECT g, 0, {big} FROM generate_series(1, 3) g; INSERT INTO f SELECT * FROM t;"
    );
    server.psql_in("toast", &setup).unwrap();
    let mut mirror = Mirror::new("toast", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("f") == 3 && mirror.count("t") == 3).await;
    let sql = "UPDATE t SET n = 1 WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2; UPDATE t SET big = 'x' WHERE id = 3;
               UPDATE f SET n = 1 WHERE id = 1;";
    server.psql_in("toast", sql).unwrap();
    mirror.read_until_same(&server, "toast", "t").await;
    mirror.read_until_same(&server, "toast", "f").await;
    let changes = mirror.changes("t");
    assert_eq!(changes[3].kind, ChangeKind::UpdateAfter);
    assert_eq!(changes[3].unchanged, ["big"]);
    assert_eq!(changes[3].row["big"], None);
    assert_eq!((changes[4].kind, changes[4].row["id"].as_deref()), (ChangeKind::UpdateBefore, Some("2")));
    assert_eq!((changes[5].kind, changes[5].row["id"].as_deref()), (ChangeKind::UpdateAfter, Some("20")));
    let full = mirror.changes("f");
    assert_eq!((full[3].kind, full[4].kind), (ChangeKind::UpdateBefore, ChangeKind::UpdateAfter));
    assert!(full[4].unchanged.is_empty() && full[4].row["big"].as_ref().unwrap().len() > 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_key_yields_inserts_and_its_application_may_still_update() {
    let server = shared_server();
    let url = server.database("keyless").unwrap();
    server.psql_in("keyless", "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')").unwrap();
    let mut mirror = Mirror::new("keyless", json!({ "url": url }));
    let report = mirror.connector().check(&super::mirror::context()).await;
    assert!(report.is_ok(), "{report:?}");
    let identity = report.steps.iter().find(|step| step.name == "replica identity").unwrap();
    assert!(identity.detail.contains("ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;"), "{identity:?}");
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 1).await;
    server
        .psql_in(
            "keyless",
            "INSERT INTO t VALUES (2, 'y'); UPDATE t SET b = 'z'; INSERT INTO t VALUES (3, 'w')",
        )
        .unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 3).await;
    assert!(mirror.changes("t").iter().all(|change| change.kind == ChangeKind::Insert));
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_empties_all_its_tables() {
    let server = shared_server();
    let url = server.database("truncated").unwrap();
    let sql = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
               INSERT INTO a SELECT generate_series(1, 10); INSERT INTO b SELECT g, g FROM generate_series(1, 10) g;";
    server.psql_in("truncated", sql).unwrap();
    let mut mirror = Mirror::new("truncated", json!({ "url": url, "tables": ["public.*"] }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("b") == 10 && mirror.count("a") == 10).await;
    server.psql_in("truncated", "BEGIN; TRUNCATE a CASCADE; INSERT INTO a VALUES (77); COMMIT").unwrap();
    mirror.read_until_same(&server, "truncated", "a").await;
    mirror.read_until_same(&server, "truncated", "b").await;
    assert_eq!(mirror.rows("a"), ["77"]);
    assert_eq!(mirror.changes("b")[10].kind, ChangeKind::Truncate);
}

fn column_ids(mirror: &Mirror) -> Vec<(String, String)> {
    let schema = mirror.descriptions[&table("t")].schema.clone();
    let id =
        |field: &arrow::datatypes::Field| field.metadata().get("tarn.column_id").cloned().unwrap_or_default();
    schema.fields().iter().map(|field| (field.name().clone(), id(field))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_may_be_added_dropped_and_renamed_in_the_middle() {
    let server = shared_server();
    let url = server.database("shapes").unwrap();
    server
        .psql_in(
            "shapes",
            "CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 2)",
        )
        .unwrap();
    let mut mirror = Mirror::new("shapes", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 1).await;
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    };
    for (sql, ids) in [
        (
            "ALTER TABLE t ADD c numeric(8,2); INSERT INTO t VALUES (2, 'y', 3, 4.5)",
            own(&[("id", "1"), ("a", "2"), ("b", "3"), ("c", "4")]),
        ),
        (
            "ALTER TABLE t RENAME a TO title; INSERT INTO t VALUES (3, 'z', 3, 1.25)",
            own(&[("id", "1"), ("title", "2"), ("b", "3"), ("c", "4")]),
        ),
        (
            "ALTER TABLE t DROP b; INSERT INTO t VALUES (4, 'w', 9.99)",
            own(&[("id", "1"), ("title", "2"), ("c", "4")]),
        ),
        (
            "ALTER TABLE t ADD b text; INSERT INTO t VALUES (5, 'v', 1.00, 'again')",
            own(&[("id", "1"), ("title", "2"), ("c", "4"), ("b", "5")]),
        ),
        (
            "ALTER TABLE t ALTER id TYPE bigint; INSERT INTO t VALUES (6000000000, 'v', 1.00, 'w')",
            own(&[("id", "1"), ("title", "2"), ("c", "4"), ("b", "5")]),
        ),
    ] {
        let before = mirror.count("t");
        server.psql_in("shapes", sql).unwrap();
        mirror.read_until(|mirror| mirror.count("t") == before + 1).await;
        assert_eq!(column_ids(&mirror), ids, "{sql}");
    }
    let types = mirror.history.iter().map(|description| description.schema.field(0).data_type().to_string());
    assert_eq!(types.collect::<Vec<_>>().last().map(String::as_str), Some("Int64"));
    // A mistake of the catalogue reader would show as a new column here: the same shape once more.
    let shapes = mirror.history.len();
    server.psql_in("shapes", "ANALYZE t; INSERT INTO t VALUES (7, 'q', 1.00, 'w')").unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 7).await;
    assert_eq!(mirror.history.len(), shapes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_one_table() {
    let server = shared_server();
    let url = server.database("parts").unwrap();
    let sql = "CREATE TABLE t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
               CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
               CREATE TABLE t2 (v text, id int NOT NULL); ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (200);
               INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 199) g;";
    server.psql_in("parts", sql).unwrap();
    let mut mirror = Mirror::new("parts", json!({ "url": url }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.count("t") == 199).await;
    server.psql_in("parts", "UPDATE t SET id = id + 100 WHERE id = 5 - 5 + 1 AND false; DELETE FROM t WHERE id > 150; INSERT INTO t VALUES (160, 'again')").unwrap();
    mirror.read_until_same(&server, "parts", "t").await;
    assert_eq!(mirror.tables.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_arrives_in_parts_and_says_where_it_ends() {
    let server = shared_server();
    let url = server.database("large").unwrap();
    server
        .psql_in(
            "large",
            "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE s (id int PRIMARY KEY, v text)",
        )
        .unwrap();
    let mut mirror = Mirror::new("large", json!({ "url": url, "heartbeat": "1s" }));
    mirror.open().await;
    mirror.read_until(|mirror| mirror.tables.len() == 2 && mirror.batches.len() == 2).await;
    // All of `s` is handed out long before its transaction ends.
    let sql = "BEGIN; INSERT INTO s SELECT g, 'v' FROM generate_series(1, 8192) g;
               INSERT INTO t SELECT g, repeat('v', 100) FROM generate_series(1, 50000) g; COMMIT;
               INSERT INTO t VALUES (0, repeat('y', 9000000))";
    server.psql_in("large", sql).unwrap();
    mirror.read_until(|mirror| mirror.count("t") == 50_001).await;
    mirror.read_until(|mirror| mirror.batches.last().unwrap().transaction_end).await;
    let ends: Vec<(usize, bool)> = mirror.batches[2..]
        .iter()
        .filter(|batch| batch.table == table("s"))
        .map(|batch| (batch.rows.num_rows(), batch.transaction_end))
        .collect();
    let (last, before) = ends.split_last().unwrap();
    assert_eq!(*last, (0, true), "{ends:?}");
    assert!(before.iter().all(|(rows, end)| *rows > 0 && !end), "{ends:?}");
    assert_eq!(before.iter().map(|(rows, _)| rows).sum::<usize>(), 8192);
    let of_t: Vec<_> = mirror.batches[2..].iter().filter(|batch| batch.table == table("t")).collect();
    assert!(of_t.len() > 6 && of_t.iter().all(|batch| batch.rows.num_rows() <= 8192));
    let ends: Vec<_> =
        of_t.iter().map(|batch| (batch.rows.num_rows(), batch.transaction_end, batch.position)).collect();
    assert!(of_t.last().unwrap().transaction_end && !of_t[0].transaction_end, "{ends:?}");
    assert_eq!(mirror.rows("s").len(), 8192);
}
