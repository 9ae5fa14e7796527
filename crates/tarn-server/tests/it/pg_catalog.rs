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
        ("DELETE FROM pg_catalog.pg_class", "25006"),
        ("CREATE TABLE pg_catalog.x (id int)", "25006"),
    ] {
        assert_eq!(code(client.simple_query(sql).await), sqlstate, "{sql}");
    }
}
