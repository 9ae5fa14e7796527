//! What went wrong, where, and what to write instead.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use iceberg::spec::PrimitiveType;
use tarn_core::{Fault, FaultKind};
use tarn_query::{QueryError, Session, SqlPosition};

use crate::lake::{FileOptions, Table, fails, field, run, session};
use crate::oracle::rows_of;

async fn shop() -> Session {
    let fields = || {
        vec![
            field(1, "id", PrimitiveType::Long),
            field(2, "customer_name", PrimitiveType::String),
            field(3, "amount", PrimitiveType::Long),
        ]
    };
    let mut orders = Table::new("shop.orders", fields());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec!["ann", "12"])),
        Arc::new(Int64Array::from(vec![0, 5])),
    ];
    let batch = orders.batch(columns);
    orders.add(&batch, FileOptions::default()).await;
    let customers = Table::new("main.customers", fields());
    session(&[&orders, &customers])
}

/// Checks message, place and hint of an error.
async fn check(sql: &str, message: &str, at: Option<(u64, u64)>, hint: &str) -> QueryError {
    let error = fails(&shop().await, sql).await;
    let at = at.map(|(line, column)| SqlPosition { line, column });
    assert_eq!(error.to_string(), message, "{sql}");
    assert_eq!(error.position(), at, "{sql}: {error}");
    assert!(error.hint().unwrap_or_default().contains(hint), "{sql}: hint {:?}", error.hint());
    error
}

#[tokio::test]
async fn syntax_errors_say_what_was_expected_where() {
    check("SELECT id FORM shop.orders", "expected: end of statement, found: shop", Some((1, 16)), "").await;
    check("SELECT id,\nFROM", "expected: identifier, found: EOF", Some((2, 5)), "too early").await;
    check("SELECT (1 + 2", "expected: ), found: EOF", Some((1, 14)), "too early").await;
}

#[tokio::test]
async fn unknown_names_are_shown_with_the_nearest_known_one() {
    check("SELECT *\nFROM shop.ordrs", "table `shop.ordrs` not found", Some((2, 6)), "`shop.orders`").await;
    check("SELECT * FROM orders", "table `orders` not found", Some((1, 15)), "`shop.orders`").await;
    check("SELECT * FROM nowhere.at_all", "table `nowhere.at_all` not found", Some((1, 15)), "SHOW TABLES")
        .await;
    // The default namespace is named where it was written.
    check(
        "SELECT * FROM main.custmers",
        "table `main.custmers` not found",
        Some((1, 15)),
        "`main.customers`",
    )
    .await;
    check("SELECT * FROM custmers", "table `custmers` not found", Some((1, 15)), "`main.customers`").await;
    check("SELECT * FROM other.shop.orders", "catalog `other` not found", Some((1, 15)), "namespace.table")
        .await;
    check(
        "SELECT id,\n  custmer_name FROM shop.orders",
        "column `custmer_name` not found",
        Some((2, 3)),
        "`customer_name`",
    )
    .await;
    check("SELECT o.idd FROM shop.orders o", "column `o.idd` not found", Some((1, 8)), "`id`").await;
    check(
        "SELECT id FROM shop.orders WHERE zzz > 1",
        "column `zzz` not found",
        Some((1, 34)),
        "customer_name",
    )
    .await;
    check("SELECT summ(id) FROM shop.orders", "function `summ` not found", Some((1, 8)), "`sum`").await;
    check(
        "SELECT id FROM shop.orders a JOIN shop.orders b ON a.id = b.id",
        "column `id` is in several tables",
        Some((1, 8)),
        "which one",
    )
    .await;
}

#[tokio::test]
async fn wrong_types_and_groups_are_refused_with_a_place() {
    let session = shop().await;
    let error = fails(&session, "SELECT sum(customer_name) FROM shop.orders").await;
    assert_eq!(
        (error.kind(), error.position()),
        (FaultKind::Invalid, Some(SqlPosition { line: 1, column: 8 }))
    );
    let error = fails(&session, "SELECT id, count(*) FROM shop.orders").await;
    assert!(error.to_string().contains("GROUP BY"), "{error}");
    assert!(error.position().is_some(), "{error}");
}

#[tokio::test]
async fn values_that_do_not_fit_are_explained() {
    check("SELECT 1 / amount FROM shop.orders", "division by zero", None, "nullif").await;
    check("SELECT id FROM shop.orders WHERE 10 / amount > 1", "division by zero", None, "nullif").await;
    let session = shop().await;
    for sql in [
        "SELECT CAST(customer_name AS bigint) FROM shop.orders",
        "SELECT id FROM shop.orders WHERE CAST(customer_name AS bigint) > 1",
    ] {
        let error = fails(&session, sql).await;
        assert!(error.to_string().contains("ann"), "{sql}: {error}");
        assert!(error.hint().unwrap().contains("try_cast"));
        assert_eq!(error.kind(), FaultKind::Invalid);
    }
    let error = fails(&session, "SELECT CAST(amount * 1000000000000 AS int) FROM shop.orders").await;
    assert_eq!(error.kind(), FaultKind::Invalid, "{error}");
}

#[tokio::test]
async fn statements_that_write_are_refused_with_the_way_to_do_it() {
    let session = shop().await;
    let cases = [
        ("CREATE ROLE bob", "CREATE ROLE", "tarn apply"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "CREATE EXTERNAL", "tarn apply"),
        ("SELECT * INTO t FROM shop.orders", "SELECT INTO", "CREATE TABLE t AS"),
        ("BEGIN", "BEGIN", "committed whole"),
        ("GRANT SELECT ON shop.orders TO bob", "GRANT SELECT", "SELECT"),
    ];
    for (sql, statement, hint) in cases {
        match fails(&session, sql).await {
            QueryError::NotPossible { statement: found, hint: said, position } => {
                assert_eq!(found, statement, "{sql}");
                assert!(said.contains(hint), "{sql}: {said}");
                assert_eq!(position, Some(SqlPosition { line: 1, column: 1 }), "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    let (batches, _) = run(&session, "SELECT count(*) FROM shop.orders").await;
    assert_eq!(rows_of(&batches), ["2"]);
}

#[tokio::test]
async fn tables_behind_a_port_that_only_reads_do_not_change() {
    let session = shop().await;
    for sql in [
        "CREATE TABLE t (id int)",
        "DROP TABLE shop.orders",
        "ALTER TABLE shop.orders ADD COLUMN x int",
        "INSERT INTO shop.orders VALUES (1, 'a', 2)",
        "UPDATE shop.orders SET id = 1",
        "DELETE FROM shop.orders",
        "MERGE INTO shop.orders USING x ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE shop.orders",
        "VACUUM",
        "EXPLAIN ANALYZE DELETE FROM shop.orders",
        "COMMENT ON TABLE shop.orders IS 'x'",
    ] {
        let error = fails(&session, sql).await;
        assert!(error.to_string().contains("can only be read"), "{sql}: {error}");
    }
    let (explained, _) = run(&session, "EXPLAIN DELETE FROM shop.orders").await;
    assert!(rows_of(&explained).join("\n").contains("DELETE shop.orders"), "{explained:?}");
    let refused = fails(&session, "EXPLAIN DROP TABLE shop.orders").await;
    assert!(refused.to_string().contains("EXPLAIN shows queries and changes of rows"), "{refused}");
}

#[tokio::test]
async fn files_are_written_nowhere_unless_a_folder_is_named() {
    let session = shop().await;
    for sql in ["COPY shop.orders TO '/tmp/x.csv'", "COPY (SELECT 1) TO 'x.parquet'"] {
        match fails(&session, sql).await {
            QueryError::Coded { code, hint, .. } => {
                assert_eq!(code, "42501", "{sql}");
                assert!(hint.unwrap().contains("query.exports"), "{sql}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    for sql in
        ["COPY shop.orders FROM STDIN", "COPY shop.orders TO STDOUT", "COPY shop.orders FROM '/etc/passwd'"]
    {
        assert!(matches!(fails(&session, sql).await, QueryError::Coded { code: "0A000", .. }), "{sql}");
    }
}

#[tokio::test]
async fn several_statements_and_no_statement_are_refused() {
    check("SELECT 1;\n SELECT 2", "2 statements in one request", Some((2, 2)), "one statement").await;
    check(" ; -- nothing", "the SQL text is empty", None, "SHOW TABLES").await;
    let (batches, _) = run(&shop().await, "SELECT 1;").await;
    assert_eq!(rows_of(&batches), ["1"]);
}

#[tokio::test]
async fn files_of_the_machine_cannot_be_read() {
    let session = shop().await;
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd.csv\"",
        "SELECT * FROM read_csv('/etc/passwd')",
    ] {
        let error = fails(&session, sql).await;
        assert_eq!(error.kind(), FaultKind::Invalid, "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named_to_the_log_and_not_to_the_caller() {
    let mut table = Table::new("main.t", vec![field(1, "id", PrimitiveType::Long)]);
    let batch = table.batch(vec![Arc::new(Int64Array::from(vec![1]))]);
    table.add(&batch, FileOptions::default()).await;
    table.files[0].location = object_store::path::Path::from("secret/place.parquet");
    let error = fails(&session(&[&table]), "SELECT * FROM t").await;
    let shown = format!("{error} {:?}", error.hint());
    assert!(!shown.contains("secret") && !shown.contains("place.parquet"), "{shown}");
    assert!(matches!(error, QueryError::Storage { kind: FaultKind::Corrupt, .. }), "{error:?}");
}

#[tokio::test]
async fn deep_and_long_statements_are_refused_not_crashed_on() {
    let session = shop().await;
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let error = fails(&session, &deep).await;
    assert!(matches!(error, QueryError::Syntax { .. }), "{error:?}");
    let long = format!("SELECT '{}'", "x".repeat(2 << 20));
    assert!(fails(&session, &long).await.to_string().contains("bytes"));
    let unclosed = fails(&session, "SELECT 'abc").await;
    assert_eq!(unclosed.position(), Some(SqlPosition { line: 1, column: 8 }));
}
