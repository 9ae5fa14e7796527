//! Results as JSON, CSV and Arrow.

use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tarn_query::encode::{self, ByteStream};
use tarn_query::{QueryOptions, QueryStream};

use crate::lake::{Lake, context, engine};
use crate::oracle::rows_of;

const VALUES: &str = "SELECT * FROM (VALUES \
  (1, CAST(9007199254740993 AS bigint), 1.5, CAST('12.30' AS decimal(10,2)), true, 'a \"b\", c', x'00ff', \
   date '2026-01-31', timestamp '2026-01-31 12:00:00.25', [1, 2, NULL], {k: 'v', n: 1}), \
  (NULL, NULL, CAST('NaN' AS double), NULL, NULL, '', NULL, NULL, NULL, NULL, NULL)) \
  AS t(i, big, f, d, b, s, bin, day, at, list, obj) ORDER BY i";

async fn query(sql: &str) -> QueryStream {
    let session = engine(&Arc::new(Lake::default())).session(&context());
    session.execute(sql, QueryOptions::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn text(bytes: ByteStream) -> Vec<u8> {
    bytes
        .try_fold(Vec::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn json_keeps_every_value() {
    let document: Value = serde_json::from_slice(&text(encode::json(query(VALUES).await)).await).unwrap();
    assert_eq!(
        document["rows"],
        json!([
            [1, "9007199254740993", 1.5, "12.30", true, "a \"b\", c", "00ff", "2026-01-31", "2026-01-31T12:00:00.250",
             [1, 2, null], {"k": "v", "n": 1}],
            [null, null, "NaN", null, null, "", null, null, null, null, null]
        ])
    );
    assert_eq!(document["columns"][1], json!({"name": "big", "type": "bigint"}));
    assert_eq!(document["columns"][3]["type"], "decimal(10, 2)");
    assert_eq!((&document["row_count"], &document["truncated"]), (&json!(2), &json!(false)));
    assert_eq!(document["stats"]["files_total"], json!(0));
    assert!(document["elapsed_ms"].as_f64().unwrap() > 0.0 && document["query_id"].is_string());
    let batches = query(VALUES).await.collect().await.unwrap();
    let rows: Vec<Value> = batches.iter().flat_map(|batch| encode::rows_json(batch).unwrap()).collect();
    assert_eq!(Value::from(rows), document["rows"]);
}

#[tokio::test]
async fn json_writes_zones_times_intervals_and_unions() {
    let sql = "SELECT to_timestamp('2026-01-31T12:00:00Z') AT TIME ZONE 'UTC' AS a, \
               CAST('2026-01-31T12:00:00Z' AS timestamp with time zone) AS b, time '12:30:00' AS c, \
               json_get('{\"x\": {\"y\": 1}, \"z\": 2.5}', 'z') AS d, map {'k': 1} AS e, \
               arrow_cast('q', 'Dictionary(Int32, Utf8)') AS f, CAST(1 AS smallint) AS g, -5 AS h";
    let document: Value = serde_json::from_slice(&text(encode::json(query(sql).await)).await).unwrap();
    let row = &document["rows"][0];
    assert!(row[0].as_str().unwrap().starts_with("2026-01-31T12:00:00"), "{row}");
    assert_eq!(row[1], "2026-01-31T12:00:00Z");
    assert_eq!((&row[2], &row[3], &row[4]), (&json!("12:30:00"), &json!(2.5), &json!({"k": 1})));
    assert_eq!((&row[5], &row[6], &row[7]), (&json!("q"), &json!(1), &json!(-5)));
}

#[tokio::test]
async fn csv_tells_null_from_empty_and_quotes_what_needs_it() {
    let csv = String::from_utf8(text(encode::csv(query(VALUES).await)).await).unwrap();
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "i,big,f,d,b,s,bin,day,at,list,obj");
    assert_eq!(
        lines[1],
        "1,9007199254740993,1.5,12.30,true,\"a \"\"b\"\", c\",00ff,2026-01-31,2026-01-31T12:00:00.250,\
         \"[1,2,null]\",\"{\"\"k\"\":\"\"v\"\",\"\"n\"\":1}\""
    );
    assert_eq!(lines[2], ",,NaN,,,\"\",,,,,");
}

#[tokio::test]
async fn arrow_streams_read_back_as_written() {
    let bytes = text(encode::arrow(query(VALUES).await).unwrap()).await;
    let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
    assert_eq!(
        reader.schema().field(5).data_type(),
        &arrow::datatypes::DataType::Utf8,
        "no view types leave"
    );
    let read: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(rows_of(&read), rows_of(&query(VALUES).await.collect().await.unwrap()));
}

#[tokio::test]
async fn big_results_come_in_bounded_pieces() {
    let sql = "SELECT value, repeat('x', 100) AS text FROM generate_series(1, 50000)";
    for (format, bytes) in [("json", encode::json(query(sql).await)), ("csv", encode::csv(query(sql).await))]
    {
        let pieces: Vec<usize> = bytes.map(|piece| piece.unwrap().len()).collect().await;
        assert!(pieces.len() > 50, "{format}: {} pieces", pieces.len());
        assert!(pieces.iter().all(|length| *length < 70_000), "{format}: {pieces:?}");
    }
    let document: Value = serde_json::from_slice(&text(encode::json(query(sql).await)).await).unwrap();
    assert_eq!(document["rows"].as_array().unwrap().len(), 50_000);
}

#[tokio::test]
async fn an_empty_result_is_a_whole_document() {
    let sql = "SELECT 1 AS a WHERE false";
    let document: Value = serde_json::from_slice(&text(encode::json(query(sql).await)).await).unwrap();
    assert_eq!((&document["rows"], &document["row_count"]), (&json!([]), &json!(0)));
    assert_eq!(text(encode::csv(query(sql).await)).await, b"a\r\n");
    let bytes = text(encode::arrow(query(sql).await).unwrap()).await;
    assert_eq!(StreamReader::try_new(bytes.as_slice(), None).unwrap().count(), 0);
    let set: Value =
        serde_json::from_slice(&text(encode::json(query("SET timezone = 'UTC'").await)).await).unwrap();
    assert_eq!(set["columns"], json!([]));
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_bytes_with_the_error() {
    let sql = "SELECT 10 / (value - 20000) FROM generate_series(1, 30000)";
    let pieces: Vec<_> = encode::csv(query(sql).await).collect().await;
    let (last, before) = pieces.split_last().unwrap();
    assert!(last.is_err() && before.iter().all(Result::is_ok));
}
