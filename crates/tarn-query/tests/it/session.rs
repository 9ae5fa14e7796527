//! Sessions: settings, SHOW, the information schema, consistent views, time travel, parameters.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use datafusion::common::ScalarValue;
use iceberg::spec::PrimitiveType;
use tarn_query::{QueryOptions, Session};

use crate::lake::{FileOptions, Lake, Table, context, engine, fails, field, run};
use crate::oracle::rows_of;

async fn table(name: &str, ids: std::ops::Range<i64>) -> Table {
    let fields = vec![field(1, "id", PrimitiveType::Long), field(2, "doc", PrimitiveType::String)];
    let mut table = Table::new(name, fields);
    let ids: Vec<i64> = ids.collect();
    let docs: StringArray = ids.iter().map(|id| Some(format!("{{\"n\": {id}, \"s\": \"x{id}\"}}"))).collect();
    let batch = table.batch(vec![Arc::new(Int64Array::from(ids)) as ArrayRef, Arc::new(docs)]);
    table.add(&batch, FileOptions::default()).await;
    table
}

async fn lake() -> Arc<Lake> {
    let lake = Arc::new(Lake::default());
    lake.put(table("main.t", 0..10).await.view());
    lake.put(table("shop.orders", 0..3).await.view());
    lake
}

async fn rows(session: &Session, sql: &str) -> Vec<String> {
    rows_of(&run(session, sql).await.0)
}

#[tokio::test]
async fn show_and_the_information_schema_list_tables_and_columns() {
    let session = engine(&lake().await).session(&context());
    let tables = rows(&session, "SHOW TABLES").await;
    assert!(tables.contains(&"tarn | main | t | BASE TABLE".to_string()), "{tables:?}");
    assert!(tables.contains(&"tarn | shop | orders | BASE TABLE".to_string()), "{tables:?}");
    assert_eq!(rows(&session, "SHOW SCHEMAS").await, ["main", "shop"]);
    let sql = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'shop'";
    assert_eq!(rows(&session, sql).await, ["orders | doc | text", "orders | id | bigint"]);
    let columns = rows(&session, "DESCRIBE shop.orders").await;
    assert_eq!(columns, ["doc | text | YES", "id | bigint | YES"]);
    assert_eq!(rows(&session, "SHOW COLUMNS FROM shop.orders").await.len(), 2);
    assert!(rows(&session, "EXPLAIN SELECT * FROM t").await.join("").contains("DataSourceExec"));
    let analyzed = rows(&session, "EXPLAIN ANALYZE SELECT * FROM t WHERE id > 3").await.join("");
    assert!(analyzed.contains("bytes_scanned"), "{analyzed}");
    assert!(rows(&session, "SHOW FUNCTIONS LIKE 'date_%'").await.len() > 3);
}

#[tokio::test]
async fn settings_last_for_the_session_and_are_checked() {
    let engine = engine(&lake().await);
    let session = engine.session(&context());
    run(&session, "SET search_path = shop").await;
    assert_eq!(session.namespace(), "shop");
    assert_eq!(rows(&session, "SELECT count(*) FROM orders").await, ["3"]);
    run(&session, "SET TIME ZONE 'Asia/Shanghai'").await;
    let instant = "SELECT CAST('2026-01-31T12:00:00Z' AS timestamp with time zone) AS at";
    let shown = rows(&session, instant).await.join("");
    assert!(shown.contains("2026-01-31T20:00:00+08:00"), "instants are shown in the session's zone: {shown}");
    run(&session, "SET application_name = 'psql'").await;
    run(&session, "SET datafusion.execution.batch_size = 100").await;
    run(&session, "USE main").await;
    assert_eq!(rows(&session, "SELECT count(*) FROM t").await, ["10"]);
    run(&session, "SET search_path TO shop").await;
    run(&session, "RESET search_path").await;
    assert_eq!(session.namespace(), "main");
    assert_eq!(engine.session(&context()).namespace(), "main");
    for (sql, says) in [
        ("SET datafusion.execution.batch_size = 0", "cannot be `0`"),
        ("SET datafusion.execution.target_partitions = 100000", "cannot be `100000`"),
        ("SET timezone = 'Nowhere/Land'", "not a time zone"),
        ("SET datafusion.runtime.memory_limit = '100G'", "cannot be changed"),
        ("SET serach_path = shop", "cannot be changed"),
        ("SET search_path = '1;drop'", "not a namespace"),
        ("SET statement_timeout = 'soon'", "is a time"),
    ] {
        let error = fails(&session, sql).await;
        assert!(error.to_string().contains(says), "{sql}: {error}");
    }
    run(&session, "SET statement_timeout = 1").await;
    let error =
        fails(&session, "SELECT count(*) FROM generate_series(1, 1000000000) a WHERE a.value % 7 = 3").await;
    assert!(error.to_string().contains("longer than its limit"), "{error}");
}

#[tokio::test]
async fn a_query_sees_one_state_of_a_table() {
    let lake = lake().await;
    let session = engine(&lake).session(&context());
    let sql = "SELECT count(*) FROM t a JOIN main.t b ON a.id = b.id JOIN tarn.main.t c ON a.id = c.id";
    *lake.look_ups.lock() = 0;
    assert_eq!(rows(&session, sql).await, ["10"]);
    assert_eq!(*lake.look_ups.lock(), 1, "looked up once and pinned");
    let stream = session.execute("SELECT id FROM t", QueryOptions::default()).await.unwrap();
    lake.put(table("main.t", 0..2).await.view());
    assert_eq!(rows_of(&stream.collect().await.unwrap()).len(), 10);
    assert_eq!(rows(&session, "SELECT count(*) FROM t").await, ["2"], "the next query sees the new state");
}

#[tokio::test]
async fn the_past_is_read_by_snapshot_or_time() {
    let lake = lake().await;
    lake.put_past(77, table("main.t", 0..4).await.view());
    lake.put_past(86_400, table("main.t", 0..5).await.view());
    let session = engine(&lake).session(&context());
    for (sql, count) in [
        ("SELECT count(*) FROM t FOR VERSION AS OF 77", "4"),
        ("SELECT count(*) FROM main.t VERSION AS OF 77 AS x WHERE x.id >= 0", "4"),
        ("SELECT count(*) FROM t FOR SYSTEM_TIME AS OF '1970-01-02'", "5"),
        ("SELECT count(*) FROM t FOR TIMESTAMP AS OF TIMESTAMP '1970-01-02 00:00:00'", "5"),
        ("SELECT count(*) FROM \"t\" TIMESTAMP AS OF '1970-01-02T00:00:00Z'", "5"),
        (
            "SELECT count(*) FROM t LEFT JOIN t FOR VERSION AS OF 77 AS old ON t.id = old.id WHERE old.id IS NULL",
            "6",
        ),
        ("WITH old AS (SELECT * FROM t FOR VERSION AS OF 77) SELECT count(*) FROM old", "4"),
        ("SELECT t.id + count(*) FROM t FOR VERSION AS OF 77 WHERE t.id = 3 GROUP BY t.id", "4"),
    ] {
        assert_eq!(rows(&session, sql).await, [count], "{sql}");
    }
    let error = fails(&session, "SELECT 1\nFROM t FOR VERSION AS OF 5").await;
    assert_eq!(error.to_string(), "table `main.t` has no snapshot 5");
    assert_eq!(error.position().map(|at| (at.line, at.column)), Some((2, 6)));
    let error = fails(&session, "SELECT * FROM t FOR TIMESTAMP AS OF 'yesterday'").await;
    assert_eq!(error.position().map(|at| (at.line, at.column)), Some((1, 37)));
    let error = fails(&session, "SELECT * FROM t AS x FOR VERSION AS OF 77").await;
    assert!(error.to_string().contains("follows no table"), "{error}");
}

#[tokio::test]
async fn json_functions_and_operators_work() {
    let session = engine(&lake().await).session(&context());
    let sql = "SELECT json_get_int(doc, 'n'), doc->>'s' FROM t WHERE json_get_int(doc, 'n') = 3";
    assert_eq!(rows(&session, sql).await, ["3 | x3"]);
}

#[tokio::test]
async fn parameters_are_bound_and_described() {
    let session = engine(&lake().await).session(&context());
    let sql = "SELECT id, doc FROM t WHERE id = $1 OR id = $2";
    let prepared = session.prepare(sql).await.unwrap();
    assert_eq!(prepared.parameters.len(), 2);
    assert_eq!(prepared.parameters[0].0, "$1");
    assert_eq!(prepared.schema.field(1).data_type(), &arrow::datatypes::DataType::Utf8);
    let params = vec![ScalarValue::Int64(Some(4)), ScalarValue::Int64(Some(5))];
    let stream = session.execute(sql, QueryOptions { params, ..QueryOptions::default() }).await.unwrap();
    assert_eq!(rows_of(&stream.collect().await.unwrap()).len(), 2);
    let missing = fails(&session, sql).await;
    assert!(missing.to_string().to_lowercase().contains("placeholder"), "{missing}");
}

#[tokio::test]
async fn the_place_of_a_parameter_tells_its_type() {
    use arrow::datatypes::DataType;
    let session = engine(&lake().await).session(&context());
    let typed = async |sql: &str| {
        let prepared = session.prepare(sql).await.unwrap();
        prepared.parameters.into_iter().map(|(_, data_type)| data_type).collect::<Vec<_>>()
    };
    assert_eq!(
        typed("SELECT $1::bigint, try_cast($2 AS int), $3").await,
        [Some(DataType::Int64), Some(DataType::Int32), None]
    );
    let limited = typed("SELECT id FROM t WHERE id IN (SELECT id FROM t LIMIT $1) LIMIT $2 OFFSET $3").await;
    assert_eq!(limited, vec![Some(DataType::Int64); 3]);
    // What it is compared with counts, also when it is used a second time.
    assert_eq!(typed("SELECT $1, id FROM t WHERE id = $1").await, [Some(DataType::Int64)]);
    assert_eq!(typed("SELECT id FROM t WHERE id = $1 AND $1 IS NOT NULL").await, [Some(DataType::Int64)]);
}

#[tokio::test]
async fn columns_of_a_result_may_have_equal_names() {
    let session = engine(&lake().await).session(&context());
    let shown = async |sql: &str| {
        let stream = session.execute(sql, QueryOptions::default()).await;
        let stream = stream.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let schema = stream.schema();
        assert_eq!(schema, session.prepare(sql).await.unwrap().schema, "{sql}");
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        (names.join(", "), rows_of(&stream.collect().await.unwrap()).join("; "))
    };
    for (sql, names, rows) in [
        ("SELECT 1, 1", "Int64(1), Int64(1)", "1 | 1"),
        ("SELECT 1 AS a, 2 AS a, 3 AS b", "a, a, b", "1 | 2 | 3"),
        ("SELECT id, id FROM t ORDER BY id DESC LIMIT 1", "id, id", "9 | 9"),
        ("SELECT id, id + 1 AS id FROM t ORDER BY 2 DESC LIMIT 1", "id, id", "9 | 10"),
        ("SELECT DISTINCT id, id FROM t WHERE id = 3", "id, id", "3 | 3"),
        ("SELECT count(*), count(*) FROM t", "count(*), count(*)", "10 | 10"),
        ("SELECT max(id) AS m, min(id) AS m FROM t GROUP BY id > 100", "m, m", "9 | 0"),
        ("SELECT *, t.id AS id FROM (SELECT id FROM t) t ORDER BY 1 LIMIT 1", "id, id", "0 | 0"),
        ("SELECT 1, 1 UNION ALL SELECT 2, 2 ORDER BY 1", "Int64(1), Int64(1)", "1 | 1; 2 | 2"),
        ("WITH w AS (SELECT 7 AS x) SELECT x, x FROM w", "x, x", "7 | 7"),
        ("SELECT x.id, y.id FROM t x JOIN t y ON x.id = y.id WHERE x.id = 4", "id, id", "4 | 4"),
    ] {
        assert_eq!(shown(sql).await, (names.to_string(), rows.to_string()), "{sql}");
    }
    let error = fails(&session, "SELECT 1 AS a, 2 AS a ORDER BY a").await;
    assert!(error.to_string().contains("same name"), "{error}");
}

#[tokio::test]
async fn a_context_for_protocol_libraries_sees_new_states() {
    let lake = lake().await;
    let session = engine(&lake).session(&context());
    let context = session.datafusion().await.unwrap();
    let count = async |sql: &str| rows_of(&context.sql(sql).await.unwrap().collect().await.unwrap());
    assert_eq!(count("SELECT count(*) FROM t").await, ["10"]);
    lake.put(table("main.t", 0..2).await.view());
    assert_eq!(count("SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn an_editor_gets_names_to_offer() {
    let engine = engine(&lake().await);
    let completion = engine.completion(&context()).await.unwrap();
    let names: Vec<&str> = completion.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["main.t", "shop.orders"]);
    assert_eq!(completion.tables[0].columns[0].data_type, "bigint");
    let round = completion.functions.iter().find(|function| function.name == "round").unwrap();
    assert!(round.signature.starts_with("round(") && !round.description.is_empty(), "{round:?}");
    assert!(completion.functions.iter().any(|function| function.name == "json_get"));
    assert!(completion.keywords.iter().any(|keyword| keyword == "SELECT"));
}

#[tokio::test]
async fn a_plan_is_given_as_text_on_demand() {
    let session = engine(&lake().await).session(&context());
    let options = QueryOptions { explain: true, ..QueryOptions::default() };
    let stream = session.execute("SELECT id FROM t WHERE id = 1", options).await.unwrap();
    assert!(stream.plan_text().unwrap().contains("predicate=id@0 = 1"), "{:?}", stream.plan_text());
}
