//! PostgreSQL: values in both directions, as text and in binary.

use std::error::Error;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, ToSql, Type};

use crate::pg_client::{code, rows};
use crate::world::World;

type Param<'a> = &'a (dyn ToSql + Sync);

/// The bytes of a value as they came.
#[derive(Debug, PartialEq, Eq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

async fn client() -> (World, Client) {
    let world = World::start().await;
    let client = world.psql().await;
    (world, client)
}

/// Sends a value as `$1::<sql type>` and gives what comes back, and its type.
async fn echo<T>(client: &Client, sql_type: &str, value: Param<'_>) -> (T, Type)
where
    T: for<'a> FromSql<'a>,
{
    let sql = format!("SELECT $1::{sql_type} AS v");
    let statement = client.prepare(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = client.query_one(&statement, &[value]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    (row.get(0), statement.columns()[0].type_().clone())
}

fn date() -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()
}

fn moment() -> NaiveDateTime {
    date().and_hms_micro_opt(23, 59, 58, 123_456).unwrap()
}

#[tokio::test]
async fn values_come_back_as_they_were_sent() {
    let (_world, client) = client().await;
    let client = &client;
    assert_eq!(echo::<bool>(client, "boolean", &true).await, (true, Type::BOOL));
    assert_eq!(echo::<i16>(client, "smallint", &-32_768_i16).await, (-32_768, Type::INT2));
    assert_eq!(echo::<i32>(client, "int", &i32::MIN).await, (i32::MIN, Type::INT4));
    assert_eq!(echo::<i64>(client, "bigint", &i64::MAX).await, (i64::MAX, Type::INT8));
    assert_eq!(echo::<f32>(client, "real", &1.5_f32).await, (1.5, Type::FLOAT4));
    assert_eq!(echo::<f64>(client, "double precision", &-0.1_f64).await, (-0.1, Type::FLOAT8));
    assert!(echo::<f64>(client, "double precision", &f64::NAN).await.0.is_nan());
    let text = "né 'quoted' {a,b} \\ \n 日本";
    assert_eq!(echo::<String>(client, "text", &text).await, (text.to_string(), Type::TEXT));
    assert_eq!(echo::<String>(client, "varchar", &"").await.0, "");
    assert_eq!(echo::<Vec<u8>>(client, "bytea", &vec![0_u8, 255, 7]).await, (vec![0, 255, 7], Type::BYTEA));
    assert_eq!(echo::<NaiveDate>(client, "date", &date()).await, (date(), Type::DATE));
    assert_eq!(echo::<NaiveDateTime>(client, "timestamp", &moment()).await, (moment(), Type::TIMESTAMP));
    let utc = moment().and_utc();
    assert_eq!(echo::<DateTime<Utc>>(client, "timestamptz", &utc).await, (utc, Type::TIMESTAMPTZ));
    let time = NaiveTime::from_hms_micro_opt(1, 2, 3, 4).unwrap();
    assert_eq!(echo::<NaiveTime>(client, "time", &time).await, (time, Type::TIME));
    let before = NaiveDate::from_ymd_opt(1815, 12, 10).unwrap();
    assert_eq!(echo::<NaiveDate>(client, "date", &before).await.0, before);
}

#[tokio::test]
async fn nulls_come_back_as_nulls_of_their_type() {
    let (_world, client) = client().await;
    let client = &client;
    assert_eq!(echo::<Option<bool>>(client, "boolean", &None::<bool>).await, (None, Type::BOOL));
    assert_eq!(echo::<Option<i64>>(client, "bigint", &None::<i64>).await, (None, Type::INT8));
    assert_eq!(echo::<Option<String>>(client, "text", &None::<String>).await, (None, Type::TEXT));
    assert_eq!(echo::<Option<NaiveDate>>(client, "date", &None::<NaiveDate>).await, (None, Type::DATE));
    assert_eq!(echo::<Option<Vec<u8>>>(client, "bytea", &None::<Vec<u8>>).await, (None, Type::BYTEA));
    assert_eq!(rows(client, "SELECT NULL::int, NULL").await, ["∅ | ∅"]);
}

#[tokio::test]
async fn types_of_parameters_are_found_where_they_are_used() {
    let (world, client) = client().await;
    world.fill_shop().await;
    let statement = client
        .prepare("SELECT id FROM shop.orders WHERE item = $1 AND paid = $2 AND placed_at < $3 AND id > $4")
        .await;
    let statement = statement.unwrap();
    assert_eq!(statement.params(), [Type::TEXT, Type::BOOL, Type::TIMESTAMPTZ, Type::INT8]);
    let later = moment().and_utc() + chrono::Days::new(365);
    let params: [Param<'_>; 4] = [&"tea", &true, &later, &0_i64];
    assert_eq!(client.query_one(&statement, &params).await.unwrap().get::<_, i64>(0), 1);
    let limited = client.prepare("SELECT id FROM shop.orders ORDER BY id LIMIT $1 OFFSET $2").await.unwrap();
    let found = client.query(&limited, &[&1_i64, &1_i64]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [2]);
    let similar = client.query("SELECT id FROM shop.orders WHERE item LIKE $1", &[&"%pot%"]).await.unwrap();
    assert_eq!(similar.len(), 1);
    let listed =
        client.query("SELECT id FROM shop.orders WHERE id IN ($1, $2)", &[&1_i64, &3_i64]).await.unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn lists_are_taken_as_parameters_and_given_as_results() {
    let (world, client) = client().await;
    world.fill_shop().await;
    let row = client.query_one("SELECT [1::bigint, 2, NULL], ['a', 'b,\"c\"']", &[]).await.unwrap();
    assert_eq!(row.get::<_, Vec<Option<i64>>>(0), [Some(1), Some(2), None]);
    assert_eq!(row.get::<_, Vec<String>>(1), ["a", "b,\"c\""]);
    let sql = "SELECT id FROM shop.orders WHERE id = ANY($1) ORDER BY id";
    let statement = client.prepare_typed(sql, &[Type::INT8_ARRAY]).await.unwrap();
    let found = client.query(&statement, &[&vec![1_i64, 3, 9]]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn numbers_with_a_point_are_exact_in_both_forms() {
    let (world, client) = client().await;
    world.fill_shop().await;
    assert_eq!(rows(&client, "SELECT amount FROM shop.orders ORDER BY id").await, ["2.50", "30.00", "-0.01"]);
    let statement = client.prepare("SELECT amount FROM shop.orders ORDER BY id").await.unwrap();
    assert_eq!(statement.columns()[0].type_(), &Type::NUMERIC);
    let found: Vec<Raw> =
        client.query(&statement, &[]).await.unwrap().iter().map(|row| row.get::<_, Raw>(0)).collect();
    // Groups of four digits, weight of the first, sign, digits after the point.
    let expected: [&[u8]; 3] = [
        &[0, 2, 0, 0, 0, 0, 0, 2, 0, 2, 19, 136],
        &[0, 1, 0, 0, 0, 0, 0, 2, 0, 30],
        &[0, 1, 255, 255, 64, 0, 0, 2, 0, 100],
    ];
    assert_eq!(found, expected.map(|bytes| Raw(bytes.to_vec())));
    let wide = "SELECT 123456789012345678901234567890.12345678::decimal(38, 8)";
    assert_eq!(rows(&client, wide).await, ["123456789012345678901234567890.12345678"]);
}

#[tokio::test]
async fn texts_of_values_are_those_of_postgresql() {
    let (_world, client) = client().await;
    for (sql, text) in [
        ("SELECT true, false", "t | f"),
        ("SELECT 1.5::double, 0.1::real, 1e300::double", "1.5 | 0.1 | 1e+300"),
        ("SELECT 'NaN'::double, 'Infinity'::double, '-Infinity'::double", "NaN | Infinity | -Infinity"),
        ("SELECT X'00ff'", "\\x00ff"),
        ("SELECT DATE '2024-02-29', TIME '01:02:03'", "2024-02-29 | 01:02:03"),
        ("SELECT TIMESTAMP '2024-02-29 01:02:03.5'", "2024-02-29 01:02:03.5"),
        ("SELECT 'it''s'", "it's"),
        ("SELECT [1, 2, NULL]", "{1,2,NULL}"),
    ] {
        assert_eq!(rows(&client, sql).await, [text], "{sql}");
    }
}

#[tokio::test]
async fn a_wrong_number_of_values_is_refused_and_the_connection_lives_on() {
    let (_world, client) = client().await;
    let statement = client.prepare("SELECT $1::bigint").await.unwrap();
    // The library checks the number itself, so the type it is told decides what can be sent.
    let short = client.query(&statement, &[&1_i32]).await;
    assert!(short.is_err());
    let typed = client.prepare_typed("SELECT $1::bigint + 1", &[Type::TEXT]).await.unwrap();
    assert_eq!(client.query_one(&typed, &[&"41"]).await.unwrap().get::<_, i64>(0), 42);
    let refused = code(client.query(&typed, &[&"many"]).await);
    assert!(refused.starts_with("22"), "{refused}");
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}
