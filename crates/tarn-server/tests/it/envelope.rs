//! Errors of the HTTP API: one shape, and a status by kind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tarn_core::HumanDuration;

use crate::answer::converse;
use crate::world::World;

#[tokio::test]
async fn each_kind_of_fault_has_its_status() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let invalid = caller.post("/api/v1/query", &json!({ "sql": "SELEC 1" })).await;
    invalid.refused(400, "invalid");
    let missing = caller.get("/api/v1/ingest/shpo").await.refused(404, "not_found");
    assert_eq!(missing["hint"], "did you mean `shop`?");
    let user = json!({ "name": "ada", "role": "admin", "password": "long enough" });
    caller.post("/api/v1/access/users", &user).await.done();
    let ada = caller.with("authorization", "Basic YWRhOmxvbmcgZW5vdWdo");
    let twice = ada.post("/api/v1/access/users", &user).await.refused(409, "conflict");
    assert_eq!(twice["message"], "user `ada` exists already");
    caller.get("/api/v1/query").await.refused(401, "denied");
    world.state.ingest.shutdown().await;
    let answer = ada.post("/api/v1/ingest/shop/restart", &json!({})).await;
    answer.refused(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn too_many_failed_logins_are_exhausted_and_say_when_to_come_back() {
    let world = World::start().await;
    let people = world.people().await;
    let login = json!({ "user": "ada", "password": "guess" });
    for _ in 0..5 {
        people.nobody.post("/api/v1/session", &login).await.refused(401, "denied");
    }
    let answer = people.nobody.post("/api/v1/session", &login).await;
    let error = answer.refused(429, "exhausted");
    assert_eq!(error["message"], "too many failed logins, try again in 1 s");
    assert_eq!(answer.header("retry-after"), "1");
    let right = json!({ "user": "ada", "password": crate::world::PASSWORD });
    people.nobody.post("/api/v1/session", &right).await.refused(429, "exhausted");
    world.clock.advance(Duration::from_secs(1));
    people.nobody.post("/api/v1/session", &right).await.done();
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(data_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "parquet") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_lost_data_file_is_corrupt_and_its_path_is_not_told() {
    let world = World::start().await;
    world.fill_shop().await;
    let files = data_files(&world.state.data.join("lake"));
    assert!(!files.is_empty());
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let caller = world.caller();
    let answer = caller.post("/api/v1/query", &json!({ "sql": "SELECT * FROM shop.orders" })).await;
    answer.refused(500, "corrupt");
    let folder = world.folder.path().display().to_string();
    assert!(!answer.text().contains(&folder) && !answer.text().contains(".parquet"), "{}", answer.text());
}

#[tokio::test]
async fn a_request_beyond_its_time_is_unavailable() {
    let none = HumanDuration(Duration::ZERO);
    let world = World::with(|setup| setup.server.http.request_timeout = none).await;
    world.add_user("main", "ada", tarn_core::Role::Admin).await;
    let login = json!({ "user": "ada", "password": crate::world::PASSWORD });
    let error = world.caller().post("/api/v1/session", &login).await.refused(503, "unavailable");
    assert!(error["hint"].as_str().unwrap().contains("server.http.request_timeout"), "{error}");
    // A query has a limit of its own.
    let holder = world.caller().with_key(&world.key("main", "reading", tarn_core::Role::Viewer).await);
    holder.post("/api/v1/query", &json!({ "sql": "SELECT 1" })).await.ok();
}

#[tokio::test]
async fn an_unknown_path_of_the_api_is_not_found() {
    let world = World::start().await;
    let caller = world.caller();
    for path in ["/api/v1/nope", "/api/v2/query", "/api/", "/api/v1/query/a/b", "/api/v1"] {
        for method in ["GET", "POST"] {
            let error = caller.send(method, path, None).await.refused(404, "not_found");
            assert!(error["message"].as_str().unwrap().contains(path), "{error}");
            assert_eq!(error["hint"], "see /openapi.json for what there is");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_announced_as_json_is_refused() {
    let world = World::start().await;
    let caller = world.caller();
    let body = r#"{"sql": "SELECT 1"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = caller.send_bytes("POST", "/api/v1/query", &[("content-type", kind)], body).await;
        let error = answer.refused(400, "invalid");
        assert_eq!(error["hint"], "send `Content-Type: application/json`");
    }
    for kind in ["application/json", "application/json; charset=utf-8", "application/vnd.tarn+json"] {
        caller.send_bytes("POST", "/api/v1/query", &[("content-type", kind)], body).await.ok();
    }
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_with_its_place() {
    let world = World::start().await;
    let caller = world.caller();
    let json = [("content-type", "application/json")];
    for (body, says) in [
        ("", "EOF"),
        ("{\"sql\": \"SELECT 1\"", "EOF"),
        ("{\"sql\": 7}", "line 1 column 9"),
        ("{\"sql\": \"SELECT 1\", \"limt\": 1}", "unknown field `limt`"),
        ("{}", "missing field `sql`"),
        ("{\"sql\": \"SELECT 1\", \"timeout\": \"soon\"}", "soon"),
        ("{\"sql\": \"SELECT 1\", \"limit\": -1}", "-1"),
        ("{\"sql\": \"\u{0}\"}", "control character"),
    ] {
        let error = caller.send_bytes("POST", "/api/v1/query", &json, body).await.refused(400, "invalid");
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {error}");
    }
    let bytes = vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'];
    caller.send_bytes("POST", "/api/v1/query", &json, bytes).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_path_or_query_string_that_does_not_fit_is_invalid() {
    let world = World::start().await;
    let caller = world.caller();
    for path in [
        "/api/v1/resource/revisions/first",
        "/api/v1/resource/revisions/-1",
        "/api/v1/resource/revisions?limit=many",
        "/api/v1/ingest/..%2Fetc",
        "/api/v1/ingest/%ff",
        "/api/v1/eventlog/a..b",
        "/api/v1/lakehouse/shop/1%20or%201",
        "/api/v1/lakehouse/shop/orders/preview?snapshot=latest",
        "/api/v1/access/audit?limit=-1",
    ] {
        caller.get(path).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn every_answer_carries_a_trace_and_takes_over_that_of_its_caller() {
    let world = World::start().await;
    let caller = world.caller();
    let own = caller.get("/api/v1/nope").await.header("x-trace-id").to_string();
    assert_eq!(own.len(), 32, "{own}");
    assert_ne!(caller.get("/api/v1/nope").await.header("x-trace-id"), own);
    let traced = caller.with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(traced.get("/healthz").await.header("x-trace-id"), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn answers_of_the_api_are_not_kept_by_caches_nor_framed() {
    let world = World::start().await;
    for path in ["/api/v1/session", "/api/v1/nope", "/healthz", "/openapi.json", "/iceberg/v1/config"] {
        let answer = world.caller().get(path).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
    }
}

#[tokio::test]
async fn a_foreign_host_name_is_not_answered() {
    let world = World::start().await;
    let address = world.server.http_addr.unwrap();
    let ask =
        |host: &str| format!("GET /api/v1/session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let foreign = converse(address, &ask("evil.example:80")).await;
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    assert!(foreign.contains(r#""kind":"denied""#) && foreign.contains("evil.example"), "{foreign}");
    for host in ["localhost:1", "127.0.0.1", "[::1]:9", "tarn.localhost"] {
        let own = converse(address, &ask(host)).await;
        assert!(own.starts_with("HTTP/1.1 200 "), "{host}: {own}");
    }
    let named = World::with(|setup| setup.server.http.hosts = vec!["lake.example".to_string()]).await;
    let own = converse(named.server.http_addr.unwrap(), &ask("LAKE.example")).await;
    assert!(own.starts_with("HTTP/1.1 200 "), "{own}");
}

#[tokio::test]
async fn a_wrong_method_is_told_in_the_same_shape_with_the_right_ones() {
    let world = World::start().await;
    let caller = world.caller();
    for (method, path, allowed) in [
        ("PUT", "/api/v1/query", "POST"),
        ("GET", "/api/v1/ingest/shop/push", "POST"),
        ("DELETE", "/api/v1/lakehouse", "GET"),
        ("POST", "/healthz", "GET"),
    ] {
        let answer = caller.send(method, path, None).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").contains(allowed), "{method} {path}: {:?}", answer.headers);
        answer.refused(405, "invalid");
    }
}
