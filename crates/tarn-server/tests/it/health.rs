//! What machines that watch over this one ask for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn alive_is_said_to_everybody() {
    let world = World::start().await;
    let people = world.people().await;
    for caller in [&people.nobody, &people.viewer, &people.nobody.with_key("wrong")] {
        assert_eq!(caller.get("/healthz").await.ok(), json!({ "status": "ok", "checks": [] }));
    }
}

#[tokio::test]
async fn ready_names_the_parts_and_no_reasons() {
    let world = World::start().await;
    world.people().await;
    let report = world.caller().get("/readyz").await.ok();
    assert_eq!(report["status"], "ok");
    let checks: Vec<(&str, bool)> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["name"].as_str().unwrap(), check["ok"].as_bool().unwrap()))
        .collect();
    assert_eq!(checks, [("metadata", true), ("eventlog", true), ("catalog", true)]);
    assert!(!report.to_string().contains("detail"), "{report}");
}

/// The value of every series, and the declared type of every name.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(types.insert(name.to_string(), kind.to_string()), None, "{name} is declared twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.insert(name.to_string(), value.parse().unwrap()), None, "{line} stands twice");
        }
    }
    (series, types)
}

#[tokio::test]
async fn metrics_are_prometheus_text_that_counts_queries_by_protocol() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    for sql in ["SELECT 1", "SELECT * FROM shop.orders"] {
        caller.post("/api/v1/query", &json!({ "sql": sql })).await.ok();
    }
    caller.post("/api/v1/query", &json!({ "sql": "SELECT 1/0" })).await.refused(400, "invalid");
    let client = world.pg("ada", "").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let answer = caller.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let (series, types) = parse(answer.text());
    assert_eq!(series[r#"tarn_query_total{protocol="http"}"#], 3.0);
    assert_eq!(series[r#"tarn_query_total{protocol="pgwire"}"#], 1.0);
    assert_eq!(series[r#"tarn_query_faults_total{protocol="http"}"#], 1.0);
    assert_eq!(series[r#"tarn_query_rows_total{protocol="http"}"#], 4.0);
    assert_eq!(series[r#"tarn_query_milliseconds_count{protocol="http"}"#], 3.0);
    assert_eq!(series[r#"tarn_server_connections{protocol="pgwire"}"#], 1.0);
    assert_eq!(series[r#"tarn_ingest_rows_total{source="shop"}"#], 3.0);
    for name in series.keys() {
        let bare = name.split('{').next().unwrap();
        let base =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| bare.strip_suffix(end)).unwrap_or(bare);
        assert!(types.contains_key(base) || types.contains_key(bare), "{name} has no type");
    }
    let kinds: BTreeSet<&str> = types.values().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["counter", "gauge", "histogram"]));
}

#[tokio::test]
async fn requests_are_counted() {
    let world = World::start().await;
    let caller = world.caller();
    caller.get("/api/v1/query").await.ok();
    caller.get("/api/v1/nope").await.refused(404, "not_found");
    let (series, _) = parse(caller.get("/metrics").await.text());
    // `tarn_server_requests_total` is in the list of metrics: "Requests answered."
    let requests = series.get(r#"tarn_server_requests_total{protocol="http"}"#).copied();
    assert!(requests.is_some_and(|count| count >= 2.0), "{requests:?}");
}

#[tokio::test]
async fn the_overview_shows_what_is_there() {
    let world = World::start().await;
    world.fill_shop().await;
    let overview = world.caller().get("/api/v1/overview").await.ok();
    assert_eq!(overview["sources_list"][0]["name"], "shop");
    assert_eq!(overview["tables_list"][0]["name"], "shop.orders");
    assert_eq!(overview["tables_list"][0]["source"], "shop");
    assert_eq!(overview["rows_total"], 3);
    assert_eq!(overview["faults"], json!([]));
    assert!(overview["queries_per_s"].as_f64().unwrap().is_sign_positive(), "{overview}");
    let topics = world.caller().get("/api/v1/eventlog").await.ok();
    assert!(topics["items"][0]["rows_per_s"].as_f64().unwrap() > 0.0, "{topics}");
    world.state.rates.record(world.env.clock.now_ms() + 2_000);
    let source = world.caller().get("/api/v1/ingest/shop").await.ok();
    assert_eq!(source["rates"][0]["rows_per_s"], 1.5, "{source}");
    let sum: u64 = overview["sources"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(sum, 1, "{}", overview["sources"]);
    assert!(overview["disk_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn events_send_the_overview_and_the_seats_are_bounded() {
    let world = World::with(|setup| setup.server.http.event_streams_max = 1).await;
    let caller = world.caller();
    let mut events = caller.request("GET", "/api/v1/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let error = caller.get("/api/v1/events").await.refused(429, "exhausted");
    assert!(error["hint"].as_str().unwrap().contains("event_streams_max"), "{error}");
    let mut text = String::new();
    let sends_overview = async {
        while !(text.contains("event: overview") && text.contains("\n\n")) {
            text.push_str(std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    crate::lake::within("an event comes", sends_overview).await;
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let overview: Value = serde_json::from_str(data).unwrap();
    assert!(overview["uptime_ms"].is_i64(), "{overview}");
    drop(events);
    let is_free = async { while caller.get("/api/v1/events").await.status == 429 {} };
    crate::lake::within("a seat is free again", is_free).await;
}

#[tokio::test]
async fn a_stopped_server_takes_no_connections_and_lets_open_ones_end() {
    let world = World::start().await;
    let address = world.server.http_addr.unwrap();
    let caller = world.caller();
    caller.get("/healthz").await.ok();
    let events = caller.request("GET", "/api/v1/events").send().await.unwrap();
    assert_eq!(events.status(), 200);
    let World { server, folder: _folder, .. } = world;
    assert!(server.shutdown().await, "an open console does not hold the server up");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
