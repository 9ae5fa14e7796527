//! PostgreSQL: the system catalog, as psql and BI tools ask for it.

use serde_json::json;
use tokio_postgres::Client;

use crate::lake::orders;
use crate::pg_client::{code, rows};
use crate::world::{World, system};

async fn shop() -> (World, Client) {
    let world = World::start().await;
    world.fill_shop().await;
    let client = world.psql().await;
    (world, client)
}

#[tokio::test]
async fn every_catalog_table_can_be_read_whole() {
    let (_world, client) = shop().await;
    for table in [
        "pg_class",
        "pg_namespace",
        "pg_attribute",
        "pg_type",
        "pg_database",
        "pg_tables",
        "pg_views",
        "pg_index",
        "pg_constraint",
        "pg_proc",
        "pg_roles",
        "pg_settings",
        "pg_description",
        "pg_attrdef",
        "pg_am",
        "pg_enum",
        "pg_range",
        "pg_inherits",
        "pg_matviews",
        "pg_stat_user_tables",
    ] {
        let sql = format!("SELECT * FROM pg_catalog.{table}");
        client.simple_query(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}, binary: {error:?}"));
    }
}

#[tokio::test]
async fn tables_are_found_through_pg_class_and_their_columns_through_pg_attribute() {
    let (_world, client) = shop().await;
    let sql = "SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON \
               n.oid = c.relnamespace WHERE c.relname = 'orders'";
    assert_eq!(rows(&client, sql).await, ["shop | orders | r"]);
    let sql = "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
               WHERE c.relname = 'orders' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    assert_eq!(rows(&client, sql).await, ["id", "item", "amount", "paid", "placed_at"]);
    // Without the schema's name, which is always searched first.
    assert_eq!(rows(&client, "SELECT count(*) FROM pg_class WHERE relname = 'orders'").await, ["1"]);
    let found = client.query("SELECT relname FROM pg_class WHERE relname = $1", &[&"orders"]).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn numbers_of_tables_stay_the_same_between_connections() {
    let (world, client) = shop().await;
    let sql = "SELECT oid FROM pg_catalog.pg_class WHERE relname = 'orders'";
    let first = rows(&client, sql).await;
    world.fill(&system("main"), "store", "more", &orders()).await;
    let other = world.psql().await;
    assert_eq!(rows(&other, sql).await, first);
    assert_eq!(rows(&client, "SELECT count(*) FROM pg_class WHERE relname = 'more'").await, ["1"]);
}

#[tokio::test]
async fn the_information_schema_has_the_types_of_postgresql() {
    let (_world, client) = shop().await;
    let sql = "SELECT column_name, data_type, udt_name, numeric_precision, numeric_scale, is_nullable FROM \
               information_schema.columns WHERE table_schema = 'shop' AND table_name = 'orders' ORDER BY \
               ordinal_position";
    assert_eq!(
        rows(&client, sql).await,
        [
            "id | bigint | int8 | 64 | 0 | NO",
            "item | text | text | ∅ | ∅ | YES",
            "amount | numeric | numeric | 18 | 2 | YES",
            "paid | boolean | bool | ∅ | ∅ | YES",
            "placed_at | timestamp with time zone | timestamptz | ∅ | ∅ | YES",
        ]
    );
    let sql = "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables WHERE \
               table_schema NOT IN ('pg_catalog', 'information_schema')";
    assert_eq!(rows(&client, sql).await, ["tarn | shop | orders | BASE TABLE"]);
    let found = client
        .query("SELECT table_name FROM information_schema.tables WHERE table_schema = $1", &[&"shop"])
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    let schemas = rows(&client, "SELECT schema_name FROM information_schema.schemata ORDER BY 1").await;
    assert!(schemas.contains(&"shop".to_string()), "{schemas:?}");
}

#[tokio::test]
async fn functions_about_the_session_answer() {
    let (_world, client) = shop().await;
    let version = rows(&client, "SELECT version()").await.concat();
    assert!(version.starts_with("PostgreSQL 16.6") && version.contains("Tarn 1.2.3"), "{version}");
    assert_eq!(rows(&client, "SELECT current_database(), current_user").await, ["tarn | local"]);
    assert_eq!(rows(&client, "SELECT current_setting('server_version')").await, ["16.6"]);
    let schema = rows(&client, "SELECT current_schema()").await;
    assert_eq!(schema, ["main"]);
    assert_eq!(rows(&client, "SELECT pg_catalog.has_table_privilege('shop.orders', 'SELECT')").await, ["t"]);
}

#[tokio::test]
async fn catalog_and_lake_can_be_joined() {
    let (_world, client) = shop().await;
    let sql =
        "SELECT c.relname, (SELECT count(*) FROM shop.orders) FROM pg_class c WHERE c.relname = 'orders'";
    assert_eq!(rows(&client, sql).await, ["orders | 3"]);
}

#[tokio::test]
async fn a_new_table_is_seen_by_an_old_connection() {
    let (world, client) = shop().await;
    let caller = world.caller();
    caller.post("/iceberg/v1/namespaces", &json!({ "namespace": ["mart"] })).await.ok();
    let table = crate::iceberg_client::table_request("late");
    caller.post("/iceberg/v1/namespaces/mart/tables", &table).await.ok();
    for sql in [
        "SELECT count(*) FROM pg_class WHERE relname = 'late'",
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'mart'",
        "SELECT count(*) FROM information_schema.tables WHERE table_name = 'late'",
    ] {
        assert_eq!(rows(&client, sql).await, ["1"], "{sql}");
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM mart.late").await, ["0"]);
}

#[tokio::test]
async fn wrong_catalog_queries_are_refused_like_others() {
    let (_world, client) = shop().await;
    for (sql, sqlstate) in [
        ("SELECT nope FROM pg_catalog.pg_class", "42703"),
        ("SELECT * FROM pg_catalog.pg_nope", "42P01"),
        ("SELECT * FRM pg_catalog.pg_class", "42601"),
        ("DELETE FROM pg_catalog.pg_class", "42501"),
        ("CREATE TABLE pg_catalog.x (id int)", "42501"),
    ] {
        assert_eq!(code(client.simple_query(sql).await), sqlstate, "{sql}");
    }
}

#[tokio::test]
async fn psql_lists_tables_and_describes_one() {
    let (_world, client) = shop().await;
    // What `\dt *.*` of psql 16 sends.
    let listed = "SELECT n.nspname as \"Schema\", c.relname as \"Name\", CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' \
                  THEN 'view' WHEN 'p' THEN 'partitioned table' END as \"Type\", \
                  pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" FROM pg_catalog.pg_class c LEFT JOIN \
                  pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am am ON am.oid = \
                  c.relam WHERE c.relkind IN ('r','p','s','') AND n.nspname !~ '^pg_toast' AND n.nspname <> \
                  'information_schema' AND n.nspname <> 'pg_catalog' ORDER BY 1,2";
    let found = rows(&client, listed).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("shop | orders | table | "), "{found:?}");
    // What `\d shop.orders` sends first, and then about the columns.
    let by_name = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n \
                   ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE \
                   pg_catalog.default AND n.nspname OPERATOR(pg_catalog.~) '^(shop)$' COLLATE pg_catalog.default \
                   ORDER BY 2, 3";
    let found = rows(&client, by_name).await;
    let oid = found[0].split(" | ").next().unwrap();
    let columns = format!(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT \
         pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid \
         AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, (SELECT c.collname FROM pg_catalog.pg_collation c, \
         pg_catalog.pg_type t WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> \
         t.typcollation) AS attcollation, a.attidentity, a.attgenerated FROM pg_catalog.pg_attribute a WHERE \
         a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let found = rows(&client, &columns).await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("id | bigint | "), "{found:?}");
    assert!(found[2].starts_with("amount | numeric"), "{found:?}");
    assert!(found[4].starts_with("placed_at | timestamp with time zone"), "{found:?}");
}

#[tokio::test]
async fn columns_have_the_types_that_their_values_have() {
    let (world, client) = shop().await;
    let caller = world.caller();
    caller.post("/iceberg/v1/namespaces", &json!({ "namespace": ["mart"] })).await.ok();
    let column = |id: u32, name: &str, data_type: serde_json::Value| json!({ "id": id, "name": name, "required": false, "type": data_type });
    let list = |id: u32, element: &str| json!({ "type": "list", "element-id": id, "element": element, "element-required": false });
    let fields = json!([
        column(1, "key", json!("uuid")),
        column(2, "at", json!("timestamptz")),
        column(3, "local", json!("timestamp")),
        column(4, "counts", list(20, "long")),
        column(5, "names", list(21, "string")),
        column(6, "price", json!("decimal(18, 2)")),
        column(7, "digest", json!("fixed[16]")),
        column(8, "ratio", json!("double")),
        column(9, "noon", json!("time")),
        column(10, "id", json!("long")),
    ]);
    let table = json!({ "name": "kinds", "schema": { "type": "struct", "schema-id": 0, "fields": fields } });
    caller.post("/iceberg/v1/namespaces/mart/tables", &table).await.ok();
    let sql = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid, a.attlen, a.attndims \
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE c.relname = \
               'kinds' AND a.attnum > 0 ORDER BY a.attnum";
    assert_eq!(
        rows(&client, sql).await,
        [
            "key | uuid | 2950 | 16 | 0",
            "at | timestamp with time zone | 1184 | 8 | 0",
            "local | timestamp without time zone | 1114 | 8 | 0",
            "counts | bigint[] | 1016 | -1 | 1",
            "names | text[] | 1009 | -1 | 1",
            "price | numeric(18,2) | 1700 | -1 | 0",
            "digest | bytea | 17 | -1 | 0",
            "ratio | double precision | 701 | 8 | 0",
            "noon | time without time zone | 1083 | 8 | 0",
            "id | bigint | 20 | 8 | 0",
        ]
    );
    let listed = "SELECT attname, atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = \
                  a.attrelid WHERE c.relname = 'kinds' ORDER BY attnum";
    let told = client.prepare("SELECT * FROM mart.kinds").await.unwrap();
    let told: Vec<String> =
        told.columns().iter().map(|column| format!("{} | {}", column.name(), column.type_().oid())).collect();
    assert_eq!(rows(&client, listed).await, told, "the catalog and the results agree");
    let sql = "SELECT data_type, udt_name FROM information_schema.columns WHERE table_name = 'kinds' AND \
               ordinal_position IN (1, 4) ORDER BY ordinal_position";
    assert_eq!(rows(&client, sql).await, ["uuid | uuid", "ARRAY | _int8"]);
}
