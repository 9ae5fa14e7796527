//! Sources over HTTP: pushing, looking, pausing.

use serde_json::json;

use crate::world::World;

const PUSH: &str = "/api/v1/ingest/shop/push";

#[tokio::test]
async fn a_pushed_row_is_in_the_topic_when_the_answer_comes() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let receipt = caller.post(PUSH, &json!({ "id": 4, "item": "cup", "amount": "1.20" })).await.ok();
    assert_eq!((receipt["first_offset"].as_u64(), receipt["next_offset"].as_u64()), (Some(3), Some(4)));
    let rows = caller.get("/api/v1/eventlog/shop.orders/rows?offset=3").await.ok();
    assert_eq!(rows["rows"][0]["values"]["item"], "cup");
    assert_eq!(rows["rows"][0]["values"]["amount"], "1.20");
    assert_eq!(
        (rows["rows"][0]["offset"].as_u64(), rows["rows"][0]["kind"].as_str()),
        (Some(3), Some("insert"))
    );
    assert_eq!(rows["high_offset"], 4);
    let topic = caller.get("/api/v1/eventlog/shop.orders").await.ok();
    assert_eq!(
        (&topic["rows"], &topic["key"], &topic["source"]),
        (&json!(4), &json!(["id"]), &json!("shop"))
    );
}

#[tokio::test]
async fn a_record_that_does_not_fit_goes_to_the_dead_letters_and_the_others_stay() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let body = json!([{ "id": 4 }, { "id": "four" }, { "item": "no key" }, { "id": 5, "itme": "x" }]);
    let receipt = caller.post(PUSH, &body).await.ok();
    assert_eq!((receipt["rows"].as_u64(), receipt["dead_letters"].as_u64()), (Some(1), Some(3)));
    let records: Vec<u64> =
        receipt["reasons"].as_array().unwrap().iter().map(|one| one["record"].as_u64().unwrap()).collect();
    assert_eq!(records, [1, 2, 3]);
    let reason = receipt["reasons"][2]["reason"].as_str().unwrap();
    assert!(reason.contains("did you mean `item`?"), "{reason}");
    let letters = caller.get("/api/v1/ingest/shop/dead-letters").await.ok();
    assert_eq!(letters["items"].as_array().unwrap().len(), 3, "{letters}");
    assert!(letters["items"][0]["record"].as_str().unwrap().contains("itme"), "{letters}");
}

#[tokio::test]
async fn a_push_with_a_known_idempotency_key_is_not_stored_again() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let keyed = caller.with("idempotency-key", "order-4");
    let first = keyed.post(PUSH, &json!({ "id": 4 })).await.ok();
    assert_eq!((first["rows"].as_u64(), first.get("repeated")), (Some(1), None));
    let again = keyed.post(PUSH, &json!({ "id": 4 })).await.ok();
    assert_eq!((again["first_offset"].as_u64(), &again["repeated"]), (Some(3), &json!(true)));
    assert_eq!(caller.get("/api/v1/eventlog/shop.orders").await.ok()["rows"], 4);
    // Lines are cut into pieces with a key each, so the same lines are known again, too.
    let lines = [("content-type", "application/x-ndjson"), ("idempotency-key", "lines")];
    let body = "{\"id\": 5}\n{\"id\": 6}\n";
    assert_eq!(caller.send_bytes("POST", PUSH, &lines, body).await.ok()["rows"], 2);
    assert_eq!(caller.send_bytes("POST", PUSH, &lines, body).await.ok()["repeated"], true);
    assert_eq!(caller.get("/api/v1/eventlog/shop.orders").await.ok()["rows"], 6);
}

#[tokio::test]
async fn pushes_that_cannot_be_are_refused_by_what_is_wrong() {
    let world = World::start().await;
    world.fill_shop().await;
    let caller = world.caller();
    let row = json!({ "id": 4 });
    caller.post("/api/v1/ingest/shpo/push", &row).await.refused(404, "not_found");
    let error = caller.post(&format!("{PUSH}?table=ordesr"), &row).await.refused(400, "invalid");
    assert_eq!(error["hint"], "did you mean `orders`?");
    let json = [("content-type", "application/json")];
    for body in ["", "   ", "nonsense", "[{\"id\": 1}"] {
        caller.send_bytes("POST", PUSH, &json, body).await.refused(400, "invalid");
    }
    caller.post("/api/v1/ingest/shop/pause", &json!({})).await.done();
    let error = caller.post(PUSH, &row).await.refused(409, "conflict");
    assert_eq!(error["message"], "source `shop` is paused");
    caller.post("/api/v1/ingest/shop/resume", &json!({})).await.done();
    caller.post(PUSH, &row).await.ok();
}

#[tokio::test]
async fn a_check_of_a_configuration_says_what_is_wrong_and_keeps_nothing() {
    let world = World::start().await;
    let caller = world.caller();
    let check = async |kind: &str, config| {
        caller.post("/api/v1/ingest/check", &json!({ "type": kind, "config": config })).await.ok()
    };
    assert_eq!(check("http_push", json!({ "table": "t" })).await["ok"], true);
    let wrong = check("http_push", json!({ "tabel": "t" })).await;
    assert_eq!(wrong["ok"], false, "{wrong}");
    assert!(wrong.to_string().contains("tabel"), "{wrong}");
    let unknown = check("http_psuh", json!({})).await;
    assert!(unknown["ok"] == false && unknown.to_string().contains("http_push"), "{unknown}");
    assert_eq!(caller.get("/api/v1/ingest").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn every_source_type_has_a_form_and_examples() {
    let world = World::start().await;
    let types = world.caller().get("/api/v1/ingest/types").await.ok();
    let types = types["items"].as_array().unwrap();
    assert_eq!(types.len(), tarn_ingest::SOURCES.len());
    for one in types {
        assert!(one["schema"]["properties"].is_object(), "{}", one["name"]);
        assert!(!one["examples"].as_array().unwrap().is_empty(), "{}", one["name"]);
        assert!(!one["title_zh"].as_str().unwrap().is_empty(), "{}", one["name"]);
    }
}
