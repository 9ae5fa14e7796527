//! Bodies beyond their limits: too long, too deep, or too large once they are unpacked.

use serde_json::json;
use tarn_core::ByteSize;

use crate::answer::{Caller, converse};
use crate::gzip::gzip;
use crate::world::World;

const BODY_MAX: u64 = 64 << 10;
const PUSH_MAX: u64 = 1 << 20;

async fn small() -> (World, Caller) {
    let world = World::with(|setup| {
        setup.server.http.body_bytes_max = ByteSize(BODY_MAX);
        setup.server.http.push_bytes_max = ByteSize(PUSH_MAX);
    })
    .await;
    let caller = world.caller();
    (world, caller)
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_a_byte_of_it_is_sent() {
    let (world, _) = small().await;
    let address = world.server.http_addr.unwrap();
    for (path, length, option) in [
        ("/api/v1/query", BODY_MAX + 1, "server.http.body_bytes_max"),
        ("/api/v1/session", 1 << 40, "server.http.body_bytes_max"),
        ("/api/v1/ingest/shop/push", PUSH_MAX + 1, "server.http.push_bytes_max"),
        ("/api/v1/nope", BODY_MAX + 1, "server.http.body_bytes_max"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let answer = converse(address, &head).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
        assert!(answer.contains(r#""kind":"exhausted""#) && answer.contains(option), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_counted() {
    let (_world, caller) = small().await;
    let json = [("content-type", "application/json")];
    let pieces = |count: usize| {
        let piece = vec![b' '; 1 << 10];
        let pieces = std::iter::repeat_n(piece, count).map(Ok::<_, std::io::Error>);
        reqwest::Body::wrap_stream(futures::stream::iter(pieces))
    };
    let error = caller.send_bytes("POST", "/api/v1/query", &json, pieces(65)).await.refused(413, "exhausted");
    assert_eq!(error["message"], "the body is larger than 64KB");
    // As large as allowed, and only blanks.
    caller.send_bytes("POST", "/api/v1/query", &json, pieces(64)).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let (_world, caller) = small().await;
    let json = [("content-type", "application/json")];
    let mut body = br#"{"sql": "SELECT 1"}"#.to_vec();
    body.resize(usize::try_from(BODY_MAX).unwrap(), b' ');
    caller.send_bytes("POST", "/api/v1/query", &json, body.clone()).await.ok();
    body.push(b' ');
    caller.send_bytes("POST", "/api/v1/query", &json, body).await.refused(413, "exhausted");
}

#[tokio::test]
async fn a_nesting_bomb_is_invalid() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let json = [("content-type", "application/json")];
    let arrays = "[".repeat(1 << 20);
    let objects = "{\"a\":".repeat(1 << 20);
    for bomb in [arrays, objects] {
        let body = format!(r#"{{"type": "http_push", "config": {bomb}"#);
        caller.send_bytes("POST", "/api/v1/ingest/check", &json, body).await.refused(400, "invalid");
        let push = "/api/v1/ingest/shop/push";
        caller.send_bytes("POST", push, &json, bomb.clone()).await.refused(400, "invalid");
        let answer = caller.send_bytes("POST", "/iceberg/v1/namespaces", &json, bomb).await;
        answer.refused_by_catalog(400, "BadRequestException");
    }
    let deep = format!("{}{}", "(".repeat(100_000), ")".repeat(100_000));
    let sql = json!({ "sql": format!("SELECT {deep}") });
    caller.post("/api/v1/query", &sql).await.refused(400, "invalid");
    let yaml = json!({ "documents": format!("kind: topic\nname: a.b\nspec: {}", "[".repeat(100_000)) });
    let plan = caller.post("/api/v1/resource/plan", &yaml).await.ok();
    assert_eq!(plan["ok"], false, "{plan}");
}

#[tokio::test]
async fn a_compressed_body_is_read_like_any_other() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let body = gzip(br#"[{"id": 10}, {"id": 11}, {"id": 12}]"#.to_vec()).await;
    let receipt = caller.send_bytes("POST", "/api/v1/ingest/shop/push", &headers, body).await.ok();
    assert_eq!((receipt["rows"].as_u64(), receipt["next_offset"].as_u64()), (Some(3), Some(6)));
    let query = gzip(br#"{"sql": "SELECT 1 AS one, 'a text to make it long enough'"}"#.to_vec()).await;
    caller.send_bytes("POST", "/api/v1/query", &headers, query).await.ok();
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_by_what_it_unpacks_to() {
    let (world, caller) = small().await;
    world.fill_shop().await;
    let bomb = gzip(vec![b' '; 8 << 20]).await;
    assert!((bomb.len() as u64) < BODY_MAX, "it passes the limit as it is sent");
    let push = "/api/v1/ingest/shop/push";
    let packed = |kind| [("content-type", kind), ("content-encoding", "gzip")];
    for (path, kind) in [
        (push, "application/json"),
        (push, "application/x-ndjson"),
        ("/api/v1/ingest/check", "application/json"),
    ] {
        let sent = caller.send_bytes("POST", path, &packed(kind), bomb.clone()).await;
        let error = sent.refused(413, "exhausted");
        assert!(error["message"].as_str().unwrap().starts_with("the body is larger than "), "{error}");
    }
    let lines = gzip(b"{\"id\": 7}\n".repeat(200_000)).await;
    caller.send_bytes("POST", push, &packed("application/x-ndjson"), lines).await.refused(413, "exhausted");
    let namespaces = "/iceberg/v1/namespaces";
    let answer = caller.send_bytes("POST", namespaces, &packed("application/json"), bomb).await;
    answer.refused_by_catalog(413, "BadRequestException");
}

#[tokio::test]
async fn a_line_beyond_the_limit_of_a_body_is_refused_though_the_push_may_be_larger() {
    let (world, caller) = small().await;
    world.fill_shop().await;
    let lines = [("content-type", "application/x-ndjson")];
    let push = "/api/v1/ingest/shop/push";
    let many = "{\"id\": 7}\n".repeat(20_000);
    assert!(many.len() as u64 > BODY_MAX);
    let receipt = caller.send_bytes("POST", push, &lines, many).await.ok();
    assert_eq!(receipt["rows"], 20_000);
    let long = format!("{{\"id\": 8, \"item\": \"{}\"}}", "x".repeat(100 << 10));
    let error = caller.send_bytes("POST", push, &lines, long).await.refused(413, "exhausted");
    assert!(error["hint"].as_str().unwrap().contains("a single line is that long"), "{error}");
}

#[tokio::test]
async fn a_body_that_cannot_be_unpacked_is_refused_in_the_shape_of_the_api() {
    let world = World::start().await;
    let caller = world.caller();
    let json = ("content-type", "application/json");
    let broken = caller
        .send_bytes("POST", "/api/v1/query", &[json, ("content-encoding", "gzip")], "not gzip at all")
        .await;
    broken.refused(400, "invalid");
    let unknown = caller
        .send_bytes("POST", "/api/v1/query", &[json, ("content-encoding", "br")], r#"{"sql": "SELECT 1"}"#)
        .await;
    unknown.refused(415, "invalid");
}

#[tokio::test]
async fn a_long_body_for_the_catalog_is_refused_in_the_shape_of_the_catalog() {
    let (_world, caller) = small().await;
    let body = vec![b' '; usize::try_from(BODY_MAX).unwrap() + 1];
    let json = [("content-type", "application/json")];
    let answer = caller.send_bytes("POST", "/iceberg/v1/namespaces", &json, body).await;
    answer.refused_by_catalog(413, "BadRequestException");
}
