//! SQL over HTTP: formats, limits, and errors with their place.

use std::io::Cursor;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::ipc::reader::StreamReader;
use serde_json::{Value, json};

use crate::answer::{Answer, Caller};
use crate::world::{People, World};

const QUERY: &str = "/api/v1/query";
const ORDERS: &str = "SELECT id, item, amount, paid, placed_at FROM shop.orders ORDER BY id";

async fn shop() -> (World, Caller) {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    (world, caller)
}

async fn ask(caller: &Caller, format: &str, sql: &str) -> Answer {
    let answer = caller.post(QUERY, &json!({ "sql": sql, "format": format })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

async fn rows(caller: &Caller, sql: &str) -> Value {
    ask(caller, "json", sql).await.json()["rows"].clone()
}

/// What an Arrow answer holds, in one batch.
fn batch_of(answer: &Answer) -> RecordBatch {
    assert_eq!(answer.header("content-type"), "application/vnd.apache.arrow.stream");
    let reader = StreamReader::try_new(Cursor::new(&answer.body), None).unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

#[tokio::test]
async fn json_gives_columns_rows_and_figures() {
    let (_world, caller) = shop().await;
    let answer = ask(&caller, "json", ORDERS).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let result = answer.json();
    assert_eq!(
        result["columns"],
        json!([
            { "name": "id", "type": "bigint" },
            { "name": "item", "type": "text" },
            { "name": "amount", "type": "decimal(18, 2)" },
            { "name": "paid", "type": "boolean" },
            { "name": "placed_at", "type": "timestamp with time zone" },
        ])
    );
    assert_eq!(
        result["rows"],
        json!([
            [1, "tea", "2.50", true, "2024-05-01T10:00:00Z"],
            [2, "a \"pot\", blue", "30.00", false, "2024-05-02T11:30:00.250Z"],
            [3, null, "-0.01", null, null],
        ])
    );
    assert_eq!((result["row_count"].as_u64(), result["truncated"].as_bool()), (Some(3), Some(false)));
    assert_eq!(result["stats"]["rows_scanned"], 3);
    assert!(result["stats"]["bytes_scanned"].as_u64().unwrap() > 0, "{result}");
    assert!(result["query_id"].as_str().unwrap().starts_with("http-"), "{result}");
    assert!(result.get("plan").is_none());
}

#[tokio::test]
async fn csv_gives_the_same_rows() {
    let (_world, caller) = shop().await;
    let answer = ask(&caller, "csv", ORDERS).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = answer.text().split_terminator("\r\n").collect();
    assert_eq!(
        lines,
        [
            "id,item,amount,paid,placed_at",
            "1,tea,2.50,true,2024-05-01T10:00:00Z",
            "2,\"a \"\"pot\"\", blue\",30.00,false,2024-05-02T11:30:00.250Z",
            "3,,-0.01,,",
        ]
    );
}

#[tokio::test]
async fn arrow_gives_the_same_rows() {
    let (_world, caller) = shop().await;
    let batch = batch_of(&ask(&caller, "arrow", ORDERS).await);
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "item", "amount", "paid", "placed_at"]);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().as_ref(), [1, 2, 3]);
    let items: Vec<Option<&str>> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(items, [Some("tea"), Some("a \"pot\", blue"), None]);
    assert_eq!(batch.column(2).data_type(), &DataType::Decimal128(18, 2));
    assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().values().as_ref(), [250, 3_000, -1]);
    let paid: Vec<Option<bool>> = batch.column(3).as_boolean().iter().collect();
    assert_eq!(paid, [Some(true), Some(false), None]);
    let placed: Vec<Option<i64>> =
        batch.column(4).as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(placed, [Some(1_714_557_600_000_000), Some(1_714_649_400_250_000), None]);
}

#[tokio::test]
async fn an_empty_result_has_its_columns_in_every_format() {
    let (_world, caller) = shop().await;
    let sql = "SELECT id, item FROM shop.orders WHERE id > 100";
    let json = ask(&caller, "json", sql).await.json();
    assert_eq!((json["columns"].as_array().unwrap().len(), &json["rows"]), (2, &json!([])));
    assert_eq!(ask(&caller, "csv", sql).await.text(), "id,item\r\n");
    let batch = batch_of(&ask(&caller, "arrow", sql).await);
    assert_eq!((batch.num_columns(), batch.num_rows()), (2, 0));
}

#[tokio::test]
async fn columns_with_equal_names_stand_in_their_order_in_every_format() {
    let (_world, caller) = shop().await;
    let sql = "SELECT id AS n, item AS n, id AS n FROM shop.orders WHERE id = 1";
    let json = ask(&caller, "json", sql).await.json();
    let names: Vec<&str> =
        json["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!((names.join(" "), &json["rows"]), ("n n n".to_string(), &json!([[1, "tea", 1]])));
    assert_eq!(ask(&caller, "csv", sql).await.text(), "n,n,n\r\n1,tea,1\r\n");
    let batch = batch_of(&ask(&caller, "arrow", sql).await);
    assert_eq!(batch.schema().fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["n"; 3]);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "tea");
}

#[tokio::test]
async fn large_results_are_whole_in_every_format() {
    let world = World::start().await;
    let caller = world.caller();
    let sql = "SELECT value AS n, repeat('x', 50) AS pad FROM generate_series(1, 50000)";
    let sum: i64 = (1..=50_000).sum();
    let json = caller.post(QUERY, &json!({ "sql": sql, "limit": 100_000 })).await.ok();
    let numbers = json["rows"].as_array().unwrap().iter().map(|row| row[0].as_i64().unwrap());
    assert_eq!(numbers.sum::<i64>(), sum);
    let csv = ask(&caller, "csv", sql).await;
    let numbers =
        csv.text().lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(numbers.sum::<i64>(), sum);
    let batch = batch_of(&ask(&caller, "arrow", sql).await);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>(), sum);
}

#[tokio::test]
async fn numbers_keep_their_digits_in_json() {
    let world = World::start().await;
    let caller = world.caller();
    let sql =
        "SELECT 9007199254740992, 9007199254740993, -9223372036854775808, 1.10::decimal(38, 10), 0.1::double";
    let found = rows(&caller, sql).await;
    let exact =
        json!([[9_007_199_254_740_992_u64, "9007199254740993", "-9223372036854775808", "1.1000000000", 0.1]]);
    assert_eq!(found, exact);
    let special =
        rows(&caller, "SELECT 'NaN'::double, 'Infinity'::double, X'00ff', DATE '2024-02-29', [1, NULL]")
            .await;
    assert_eq!(special, json!([["NaN", "Infinity", "00ff", "2024-02-29", [1, null]]]));
}

#[tokio::test]
async fn a_row_limit_cuts_and_says_so() {
    let world = World::start().await;
    let caller = world.caller();
    let limited = async |sql: &str, limit: Option<u64>| {
        let result = caller.post(QUERY, &json!({ "sql": sql, "limit": limit })).await.ok();
        let count = result["rows"].as_array().unwrap().len() as u64;
        assert_eq!(result["row_count"].as_u64(), Some(count));
        (count, result["truncated"].as_bool().unwrap())
    };
    let hundred = "SELECT value FROM generate_series(1, 100)";
    assert_eq!(limited(hundred, Some(10)).await, (10, true));
    assert_eq!(limited(hundred, Some(99)).await, (99, true));
    assert_eq!(limited(hundred, Some(100)).await, (100, false));
    assert_eq!(limited(hundred, Some(1_000)).await, (100, false));
    assert_eq!(limited(hundred, Some(0)).await, (0, true));
    assert_eq!(limited("SELECT value FROM generate_series(1, 10000)", None).await, (10_000, false));
    assert_eq!(limited("SELECT value FROM generate_series(1, 10001)", None).await, (10_000, true));
    let csv = caller.post(QUERY, &json!({ "sql": hundred, "limit": 3, "format": "csv" })).await;
    assert_eq!(csv.text(), "value\r\n1\r\n2\r\n3\r\n");
    let whole = ask(&caller, "csv", "SELECT value FROM generate_series(1, 10001)").await;
    assert_eq!(whole.text().lines().count(), 10_002, "without a limit all rows are sent");
}

#[tokio::test]
async fn an_error_says_where_in_the_text() {
    let (_world, caller) = shop().await;
    for (sql, place, says, hint) in [
        (
            "SELECT id,\n  itme\nFROM shop.orders",
            Some((2, 3)),
            "column `itme` not found",
            "did you mean `item`?",
        ),
        (
            "SELECT *\nFROM shop.ordesr",
            Some((2, 6)),
            "table `shop.ordesr` not found",
            "did you mean `shop.orders`?",
        ),
        ("SELECT 'é', lenght('x')", Some((1, 13)), "function `lenght` not found", ""),
        ("SELECT 1 +", Some((1, 11)), "", "the statement stops too early"),
        ("SELECT 1;\nSELECT 2", Some((2, 1)), "2 statements in one request", "send one statement at a time"),
        ("", None, "the SQL text is empty", ""),
    ] {
        let error = caller.post(QUERY, &json!({ "sql": sql })).await.refused(400, "invalid");
        let at =
            error.get("position").map(|at| (at["line"].as_u64().unwrap(), at["column"].as_u64().unwrap()));
        assert_eq!(at, place, "{sql}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{sql}: {error}");
        assert!(hint.is_empty() || error["hint"] == hint, "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_error_is_an_error_in_every_format() {
    let (_world, caller) = shop().await;
    for format in ["json", "csv", "arrow"] {
        let wrong = json!({ "sql": "SELECT nope FROM shop.orders", "format": format });
        let error = caller.post(QUERY, &wrong).await.refused(400, "invalid");
        assert_eq!(error["position"], json!({ "line": 1, "column": 8 }), "{format}");
        let zero = json!({ "sql": "SELECT 1 / (id - 1) FROM shop.orders", "format": format });
        let error = caller.post(QUERY, &zero).await.refused(400, "invalid");
        assert_eq!(error["message"], "division by zero", "{format}");
    }
    caller.post(QUERY, &json!({ "sql": "SELECT 1", "format": "xml" })).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_statement_that_is_not_possible_is_refused_with_the_way_to_do_it() {
    let (_world, caller) = shop().await;
    for sql in [
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * INTO shop.x FROM shop.orders",
    ] {
        let error = caller.post(QUERY, &json!({ "sql": sql })).await.refused(400, "invalid");
        assert!(error["message"].as_str().unwrap().contains("is not possible here"), "{sql}: {error}");
        assert!(error["hint"].is_string(), "{sql}: {error}");
    }
    let copied = json!({ "sql": "COPY shop.orders TO '/tmp/x.csv'" });
    caller.post(QUERY, &copied).await.refused(403, "denied");
    assert_eq!(rows(&caller, "SELECT count(*) FROM shop.orders").await, json!([[3]]));
    for sql in ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\""] {
        caller.post(QUERY, &json!({ "sql": sql })).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn tables_are_changed_by_editors_and_not_by_viewers() {
    let world = World::start().await;
    world.fill_shop().await;
    let People { viewer, editor, .. } = world.people().await;
    for sql in [
        "DELETE FROM shop.orders",
        "CREATE TABLE shop.x (id int)",
        "DROP TABLE shop.orders",
        "TRUNCATE shop.orders",
    ] {
        let error = viewer.post(QUERY, &json!({ "sql": sql })).await.refused(403, "denied");
        assert!(error["message"].as_str().unwrap().contains("needs the role editor"), "{sql}: {error}");
    }
    assert_eq!(rows(&viewer, "SELECT count(*) FROM shop.orders").await, json!([[3]]));
    let changed = ask(&editor, "json", "UPDATE shop.orders SET item = 'x' WHERE id > 1").await.json();
    assert_eq!((&changed["columns"][0]["name"], &changed["rows"]), (&json!("rows"), &json!([[2]])));
    assert_eq!(changed["command"], "UPDATE");
    let unread = json!({ "sql": "DELETE FROM shop.orders", "read_only": true });
    let error = editor.post(QUERY, &unread).await.refused(400, "invalid");
    assert!(error["message"].as_str().unwrap().contains("read-only session"), "{error}");
    let made = ask(&editor, "json", "CREATE TABLE shop.x AS SELECT id FROM shop.orders").await.json();
    assert_eq!(made["rows"], json!([[3]]));
    let read = ask(&viewer, "csv", "SELECT item, count(*) AS n FROM shop.orders GROUP BY 1 ORDER BY 2").await;
    assert_eq!(read.text().lines().last(), Some("x,2"));
    editor.post(QUERY, &json!({ "sql": "DROP TABLE shop.x" })).await.ok();
    viewer.post(QUERY, &json!({ "sql": "SELECT * FROM shop.x" })).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_plan_is_given_on_demand() {
    let (_world, caller) = shop().await;
    let sql = "SELECT item FROM shop.orders WHERE id = 2";
    let explained = caller.post(QUERY, &json!({ "sql": sql, "explain": true })).await.ok();
    assert!(explained["plan"].as_str().unwrap().contains("DataSourceExec"), "{explained}");
    assert_eq!(explained["rows"], json!([["a \"pot\", blue"]]));
}

#[tokio::test]
async fn a_preview_shows_a_table_now_and_as_it_was() {
    let (_world, caller) = shop().await;
    let path = "/api/v1/lakehouse/shop/orders/preview";
    let now = caller.get(&format!("{path}?limit=2")).await.ok();
    assert_eq!((now["row_count"].as_u64(), now["truncated"].as_bool()), (Some(2), Some(true)));
    let table = caller.post("/api/v1/lakehouse/shop/orders/flush", &json!({})).await.ok();
    assert_eq!((&table["hot_rows"], &table["committed_offset"]), (&json!(0), &table["applied_offset"]));
    let snapshot = table["snapshot_id"].as_str().unwrap();
    let then = caller.get(&format!("{path}?snapshot={snapshot}")).await.ok();
    assert_eq!(then["row_count"], 3);
    caller.get(&format!("{path}?snapshot=1")).await.refused(400, "invalid");
    let error = caller.get("/api/v1/lakehouse/shop/ordesr/preview").await.refused(404, "not_found");
    assert_eq!(error["hint"], "did you mean `shop.orders`?");
}

#[tokio::test]
async fn an_editor_is_offered_tables_functions_and_words() {
    let (_world, caller) = shop().await;
    let offered = caller.get("/api/v1/query/completion").await.ok();
    assert_eq!(offered["tables"][0]["name"], "shop.orders");
    assert_eq!(offered["tables"][0]["columns"][0], json!({ "name": "id", "type": "bigint" }));
    assert!(offered["functions"].as_array().unwrap().iter().any(|one| one["name"] == "round"));
    assert!(offered["keywords"].as_array().unwrap().contains(&json!("SELECT")));
}
