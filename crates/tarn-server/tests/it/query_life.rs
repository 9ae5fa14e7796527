//! Queries over HTTP that run, are stopped, or run out of time.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::answer::{Answer, Caller};
use crate::lake::within;
use crate::world::World;

const QUERY: &str = "/api/v1/query";
/// Counts for longer than any test lasts.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3";

/// Asks in the background.
fn start(world: &World, caller: &Caller, body: Value) -> JoinHandle<Answer> {
    let caller = caller.clone();
    world.env.spawner.spawn(async move { caller.post(QUERY, &body).await })
}

/// The entry of a query in the list.
async fn entry(caller: &Caller, id: &str) -> Option<Value> {
    let list = caller.get(QUERY).await.ok();
    list["items"].as_array().unwrap().iter().find(|one| one["query_id"] == id).cloned()
}

async fn reaches(caller: &Caller, id: &str, state: &str) {
    let reached = async {
        while entry(caller, id).await.is_none_or(|entry| entry["state"] != state) {
            tokio::task::yield_now().await;
        }
    };
    within(&format!("query {id} becomes {state}"), reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_cancelled_ends_with_a_conflict() {
    let world = World::start().await;
    let caller = world.caller();
    for format in ["json", "csv", "arrow"] {
        let id = format!("slow-{format}");
        let body = json!({ "sql": ENDLESS, "query_id": id, "format": format });
        let running = start(&world, &caller, body);
        reaches(&caller, &id, "running").await;
        caller.delete(&format!("{QUERY}/{id}")).await.done();
        let answer = within("the query ends", running).await.unwrap();
        let error = answer.refused(409, "conflict");
        assert_eq!(error["message"], format!("query `{id}` was cancelled"));
        let entry = entry(&caller, &id).await.unwrap();
        assert_eq!((entry["state"].as_str(), entry["sql"].as_str()), (Some("cancelled"), Some(ENDLESS)));
        caller.delete(&format!("{QUERY}/{id}")).await.refused(404, "not_found");
    }
    caller.post(QUERY, &json!({ "sql": "SELECT 1" })).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_at_its_time_limit() {
    let world = World::start().await;
    let caller = world.caller();
    for format in ["json", "csv"] {
        let body = json!({ "sql": ENDLESS, "timeout": "5ms", "format": format, "query_id": format });
        let answer = within("the query ends", caller.post(QUERY, &body)).await;
        let error = answer.refused(422, "exhausted");
        assert_eq!(error["message"], format!("query `{format}` ran longer than its limit of 5ms"));
        assert!(error["hint"].as_str().unwrap().contains("timeout"), "{error}");
        assert_eq!(entry(&caller, format).await.unwrap()["state"], "failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_own_limit_holds_for_a_query_that_names_none() {
    let limit = tarn_core::HumanDuration::from_millis(5);
    let world = World::with(|setup| setup.server.http.query_timeout = limit).await;
    let asked = world.caller();
    let answer = within("the query ends", asked.post(QUERY, &json!({ "sql": ENDLESS }))).await;
    answer.refused(422, "exhausted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_stops_its_query() {
    let world = World::start().await;
    let caller = world.caller();
    let waiting = start(&world, &caller, json!({ "sql": ENDLESS, "query_id": "left" }));
    reaches(&caller, "left", "running").await;
    waiting.abort();
    reaches(&caller, "left", "cancelled").await;
    // Also while its result is being sent.
    let rows = "SELECT value, repeat('x', 1000) FROM generate_series(1, 1000000000000)";
    let body = json!({ "sql": rows, "query_id": "streamed", "format": "csv" });
    let mut answer = caller.request("POST", QUERY).json(&body).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(entry(&caller, "streamed").await.unwrap()["state"], "running");
    drop(answer);
    reaches(&caller, "streamed", "cancelled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_fails_midway_is_not_taken_for_a_whole_one() {
    let world = World::start().await;
    let caller = world.caller();
    let sql = "SELECT repeat('x', 100), 1 / (50000 - value) FROM generate_series(1, 100000)";
    for format in ["csv", "arrow"] {
        let body = json!({ "sql": sql, "format": format });
        let answer = caller.request("POST", QUERY).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "its first rows are fine");
        assert!(answer.bytes().await.is_err(), "{format}: the connection breaks off");
    }
    // A JSON result is complete before it is sent.
    let body = json!({ "sql": sql, "limit": 2_000_000 });
    caller.post(QUERY, &body).await.refused(400, "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_used_once_at_a_time() {
    let world = World::start().await;
    let caller = world.caller();
    let running = start(&world, &caller, json!({ "sql": ENDLESS, "query_id": "mine" }));
    reaches(&caller, "mine", "running").await;
    let again = caller.post(QUERY, &json!({ "sql": "SELECT 1", "query_id": "mine" })).await;
    again.refused(409, "conflict");
    caller.delete(&format!("{QUERY}/mine")).await.done();
    within("the query ends", running).await.unwrap().refused(409, "conflict");
    caller.post(QUERY, &json!({ "sql": "SELECT 1", "query_id": "mine" })).await.ok();
    for bad in ["", "two words", "a/b", &"x".repeat(129)] {
        caller.post(QUERY, &json!({ "sql": "SELECT 1", "query_id": bad })).await.refused(400, "invalid");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_stopped_by_its_caller_or_an_admin_and_nobody_else() {
    let world = World::start().await;
    let people = world.people().await;
    let running = start(&world, &people.viewer, json!({ "sql": ENDLESS, "query_id": "theirs" }));
    reaches(&people.viewer, "theirs", "running").await;
    let path = format!("{QUERY}/theirs");
    people.editor.delete(&path).await.refused(404, "not_found");
    people.nobody.delete(&path).await.refused(401, "denied");
    assert_eq!(entry(&people.admin, "theirs").await.unwrap()["principal"], "key/reading");
    people.admin.delete(&path).await.done();
    within("the query ends", running).await.unwrap().refused(409, "conflict");
    let running = start(&world, &people.viewer, json!({ "sql": ENDLESS, "query_id": "theirs" }));
    reaches(&people.viewer, "theirs", "running").await;
    people.viewer.delete(&path).await.done();
    within("the query ends", running).await.unwrap().refused(409, "conflict");
}

#[tokio::test]
async fn the_list_shows_what_became_of_queries() {
    let world = World::start().await;
    let caller = world.caller();
    caller.post(QUERY, &json!({ "sql": "SELECT 1 UNION ALL SELECT 2", "query_id": "fine" })).await.ok();
    caller.post(QUERY, &json!({ "sql": "SELECT nope", "query_id": "wrong" })).await.refused(400, "invalid");
    let list = caller.get(QUERY).await.ok();
    let shown: Vec<(&str, &str, u64)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap();
            (text("query_id"), text("state"), one["rows"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(shown, [("wrong", "failed", 0), ("fine", "done", 2)]);
    assert!(list["items"][0]["message"].as_str().unwrap().contains("nope"), "{list}");
    assert_eq!(list["items"][1]["principal"], "local");
}
