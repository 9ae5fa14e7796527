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

/// Sends a value of a type as `$1::<sql type>` and gives what comes back, and its type.
async fn echo<T>(client: &Client, sql_type: &str, wire: Type, value: Param<'_>) -> (T, Type)
where
    T: for<'a> FromSql<'a>,
{
    let sql = format!("SELECT $1::{sql_type} AS v");
    let statement = client.prepare_typed(&sql, &[wire]).await;
    let statement = statement.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
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
    assert_eq!(echo::<bool>(client, "boolean", Type::BOOL, &true).await, (true, Type::BOOL));
    assert_eq!(echo::<i16>(client, "smallint", Type::INT2, &-32_768_i16).await, (-32_768, Type::INT2));
    assert_eq!(echo::<i32>(client, "int", Type::INT4, &i32::MIN).await, (i32::MIN, Type::INT4));
    assert_eq!(echo::<i64>(client, "bigint", Type::INT8, &i64::MAX).await, (i64::MAX, Type::INT8));
    assert_eq!(echo::<f32>(client, "real", Type::FLOAT4, &1.5_f32).await, (1.5, Type::FLOAT4));
    let double = "double precision";
    assert_eq!(echo::<f64>(client, double, Type::FLOAT8, &-0.1_f64).await, (-0.1, Type::FLOAT8));
    assert!(echo::<f64>(client, double, Type::FLOAT8, &f64::NAN).await.0.is_nan());
    let text = "né 'quoted' {a,b} \\ \n 日本";
    assert_eq!(echo::<String>(client, "text", Type::TEXT, &text).await, (text.to_string(), Type::TEXT));
    assert_eq!(echo::<String>(client, "varchar", Type::VARCHAR, &"").await.0, "");
    let bytes = vec![0_u8, 255, 7];
    assert_eq!(echo::<Vec<u8>>(client, "bytea", Type::BYTEA, &bytes).await, (bytes, Type::BYTEA));
    assert_eq!(echo::<NaiveDate>(client, "date", Type::DATE, &date()).await, (date(), Type::DATE));
    let naive = echo::<NaiveDateTime>(client, "timestamp", Type::TIMESTAMP, &moment()).await;
    assert_eq!(naive, (moment(), Type::TIMESTAMP));
    let utc = moment().and_utc();
    let zoned = echo::<DateTime<Utc>>(client, "timestamptz", Type::TIMESTAMPTZ, &utc).await;
    assert_eq!(zoned, (utc, Type::TIMESTAMPTZ));
    let time = NaiveTime::from_hms_micro_opt(1, 2, 3, 4).unwrap();
    assert_eq!(echo::<NaiveTime>(client, "time", Type::TIME, &time).await, (time, Type::TIME));
    let before = NaiveDate::from_ymd_opt(1815, 12, 10).unwrap();
    assert_eq!(echo::<NaiveDate>(client, "date", Type::DATE, &before).await.0, before);
    // The client's type says how the bytes are read, the statement what they become.
    assert_eq!(echo::<i64>(client, "bigint", Type::INT4, &7_i32).await, (7, Type::INT8));
}

#[tokio::test]
async fn nulls_come_back_as_nulls_of_their_type() {
    let (_world, client) = client().await;
    let client = &client;
    let bool = echo::<Option<bool>>(client, "boolean", Type::BOOL, &None::<bool>).await;
    assert_eq!(bool, (None, Type::BOOL));
    let int = echo::<Option<i64>>(client, "bigint", Type::INT8, &None::<i64>).await;
    assert_eq!(int, (None, Type::INT8));
    let text = echo::<Option<String>>(client, "text", Type::TEXT, &None::<String>).await;
    assert_eq!(text, (None, Type::TEXT));
    let date = echo::<Option<NaiveDate>>(client, "date", Type::DATE, &None::<NaiveDate>).await;
    assert_eq!(date, (None, Type::DATE));
    let bytes = echo::<Option<Vec<u8>>>(client, "bytea", Type::BYTEA, &None::<Vec<u8>>).await;
    assert_eq!(bytes, (None, Type::BYTEA));
    assert_eq!(rows(client, "SELECT NULL::int AS a, NULL AS b").await, ["∅ | ∅"]);
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
    let wide = "SELECT '123456789012345678901234567890.12345678'::decimal(38, 8)";
    assert_eq!(rows(&client, wide).await, ["123456789012345678901234567890.12345678"]);
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

#[tokio::test]
async fn a_cast_says_what_type_a_parameter_has() {
    let (_world, client) = client().await;
    for (sql_type, wire) in [
        ("boolean", Type::BOOL),
        ("int", Type::INT4),
        ("bigint", Type::INT8),
        ("double precision", Type::FLOAT8),
        ("date", Type::DATE),
        ("timestamptz", Type::TIMESTAMPTZ),
        ("bytea", Type::BYTEA),
        ("text", Type::TEXT),
    ] {
        let statement = client.prepare(&format!("SELECT $1::{sql_type}")).await.unwrap();
        assert_eq!(statement.params(), [wire], "{sql_type}");
    }
}

#[tokio::test]
async fn a_limit_takes_whole_numbers_as_parameters() {
    let (world, client) = client().await;
    world.fill_shop().await;
    let limited = client.prepare("SELECT id FROM shop.orders ORDER BY id LIMIT $1 OFFSET $2").await.unwrap();
    assert_eq!(limited.params(), [Type::INT8, Type::INT8]);
    let found = client.query(&limited, &[&1_i64, &1_i64]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn texts_of_values_are_those_of_postgresql() {
    let (_world, client) = client().await;
    let mut wrong = Vec::new();
    for (sql, text) in [
        ("SELECT true", "t"),
        ("SELECT false", "f"),
        ("SELECT 1.5::double", "1.5"),
        ("SELECT 0.1::real", "0.1"),
        ("SELECT 1e300::double", "1e+300"),
        ("SELECT 'NaN'::double", "NaN"),
        ("SELECT '-Infinity'::double", "-Infinity"),
        ("SELECT X'00ff'", "\\x00ff"),
        ("SELECT DATE '2024-02-29'", "2024-02-29"),
        ("SELECT TIME '01:02:03'", "01:02:03"),
        ("SELECT TIMESTAMP '2024-02-29 01:02:03'", "2024-02-29 01:02:03"),
        ("SELECT TIMESTAMP '2024-02-29 01:02:03.5'", "2024-02-29 01:02:03.5"),
        ("SELECT TIMESTAMP '2024-02-29 01:02:03.123456'", "2024-02-29 01:02:03.123456"),
        ("SELECT '2024-02-29T01:02:03Z'::timestamptz", "2024-02-29 01:02:03+00"),
        ("SELECT 'it''s'", "it's"),
        ("SELECT [1, 2, NULL]", "{1,2,NULL}"),
    ] {
        let found = rows(&client, sql).await.concat();
        if found != text {
            wrong.push(format!("{sql}: {found}, not {text}"));
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}
