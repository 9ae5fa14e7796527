//! Logging in to the console, and what other sites can do with that.

use std::time::Duration;

use serde_json::{Value, json};
use tarn_core::Role;
use tarn_meta::SecretValue;

use crate::answer::{Answer, Caller};
use crate::world::{PASSWORD, World, system};

const SESSION: &str = "/api/v1/session";

fn login(user: &str, password: &str) -> Value {
    json!({ "user": user, "password": password })
}

/// The cookie that an answer sets: its value and its attributes.
fn cookie_of(answer: &Answer) -> (String, Vec<String>) {
    let text = answer.header("set-cookie");
    let mut parts = text.split("; ");
    let (name, value) = parts.next().unwrap().split_once('=').unwrap();
    assert_eq!(name, "tarn_session", "{text}");
    (value.to_string(), parts.map(str::to_string).collect())
}

/// The console of `ada`.
async fn console(world: &World, user: &str) -> Caller {
    let answer = world.caller().post(SESSION, &login(user, PASSWORD)).await;
    answer.done();
    world.caller().with("cookie", &format!("tarn_session={}", cookie_of(&answer).0))
}

async fn guarded() -> World {
    let world = World::start().await;
    world.add_user("main", "ada", Role::Admin).await;
    world.add_user("main", "vera", Role::Viewer).await;
    world
}

#[tokio::test]
async fn the_cookie_is_for_this_site_and_not_for_scripts() {
    let world = guarded().await;
    let answer = world.caller().post(SESSION, &login("ada", PASSWORD)).await;
    answer.done();
    let (token, attributes) = cookie_of(&answer);
    assert_eq!(token.len(), 64, "256 random bits");
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=2592000"]);
    let again = world.caller().post(SESSION, &login("ada", PASSWORD)).await;
    assert_ne!(cookie_of(&again).0, token);
}

#[tokio::test]
async fn a_session_has_the_role_of_its_user() {
    let world = guarded().await;
    let vera = console(&world, "vera").await;
    let session = vera.get(SESSION).await.ok();
    assert_eq!((session["user"].as_str(), session["role"].as_str()), (Some("vera"), Some("viewer")));
    vera.get("/api/v1/query").await.ok();
    vera.get("/api/v1/access/users").await.refused(403, "denied");
    world.state.access.set_role(&system("main"), "vera", Role::Admin).await.unwrap();
    vera.get("/api/v1/access/users").await.ok();
}

#[tokio::test]
async fn a_logout_ends_the_session_and_takes_the_cookie_back() {
    let world = guarded().await;
    let (ada, other) = (console(&world, "ada").await, console(&world, "ada").await);
    ada.get("/api/v1/query").await.ok();
    let out = ada.delete(SESSION).await;
    out.done();
    let (token, attributes) = cookie_of(&out);
    assert_eq!(token, "");
    assert!(attributes.contains(&"Max-Age=0".to_string()) && attributes.contains(&"Path=/".to_string()));
    ada.get("/api/v1/query").await.refused(401, "denied");
    assert_eq!(ada.get(SESSION).await.ok()["user"], Value::Null);
    other.get("/api/v1/query").await.ok();
    ada.delete(SESSION).await.done();
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used() {
    let world = guarded().await;
    let ada = console(&world, "ada").await;
    world.clock.advance(Duration::from_secs(11 * 3_600));
    ada.get("/api/v1/query").await.ok();
    world.clock.advance(Duration::from_secs(11 * 3_600));
    ada.get("/api/v1/query").await.ok();
    world.clock.advance(Duration::from_secs(13 * 3_600));
    ada.get("/api/v1/query").await.refused(401, "denied");
}

#[tokio::test]
async fn a_session_ends_with_its_user_and_with_a_new_password() {
    let world = guarded().await;
    let (ada, vera) = (console(&world, "ada").await, console(&world, "vera").await);
    world.state.access.delete_user(&system("main"), "vera").await.unwrap();
    vera.get("/api/v1/query").await.refused(401, "denied");
    let password = SecretValue::new("another long one");
    world.state.access.set_password(&system("main"), "ada", &password).await.unwrap();
    ada.get("/api/v1/query").await.refused(401, "denied");
}

#[tokio::test]
async fn a_failed_login_does_not_tell_whether_the_user_exists() {
    let world = guarded().await;
    let caller = world.caller();
    let wrong = caller.post(SESSION, &login("ada", "not the password")).await;
    let unknown = caller.post(SESSION, &login("nobody", "not the password")).await;
    assert_eq!(wrong.refused(401, "denied"), unknown.refused(401, "denied"));
    assert!(wrong.headers.get("set-cookie").is_none());
    caller.post(SESSION, &login("ada", "")).await.refused(401, "denied");
    caller.post(SESSION, &login(&"x".repeat(10_000), PASSWORD)).await.refused(401, "denied");
    caller.post(SESSION, &json!({ "user": "ada" })).await.refused(400, "invalid");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let world = guarded().await;
    let ada = console(&world, "ada").await;
    let host = world.server.http_addr.unwrap().to_string();
    let user = json!({ "name": "mallory", "role": "admin", "password": "long enough" });
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let evil = ada.with(name, value);
        evil.post("/api/v1/access/users", &user).await.refused(403, "denied");
        evil.delete(SESSION).await.refused(403, "denied");
        evil.post(SESSION, &login("ada", PASSWORD)).await.refused(403, "denied");
        // Its reading is kept from it by the browser.
        evil.get("/api/v1/query").await.ok();
    }
    let users = ada.get("/api/v1/access/users").await.ok();
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "{users}");
    for (name, value) in [("origin", format!("http://{host}")), ("sec-fetch-site", "same-origin".to_string())]
    {
        let sql = json!({ "sql": "SELECT 1" });
        ada.with(name, &value).post("/api/v1/query", &sql).await.ok();
    }
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_on_an_open_server_either() {
    let world = World::start().await;
    let evil = world.caller().with("origin", "http://evil.example");
    let user = json!({ "name": "mallory", "role": "admin", "password": "long enough" });
    evil.post("/api/v1/access/users", &user).await.refused(403, "denied");
    let made = evil.post("/iceberg/v1/namespaces", &json!({ "namespace": ["evil"] })).await;
    assert_eq!(made.status, 403);
    assert_eq!(world.caller().get("/api/v1/access/users").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn no_answer_allows_other_sites_to_read_it() {
    let world = guarded().await;
    let ada = console(&world, "ada").await.with("origin", "http://evil.example");
    for method in ["GET", "OPTIONS"] {
        let answer = ada.send(method, "/api/v1/access/users", None).await;
        assert!(answer.headers.get("access-control-allow-origin").is_none(), "{method}");
    }
}

#[tokio::test]
async fn a_key_in_the_header_wins_over_the_cookie_and_is_not_bound_to_the_site() {
    let world = guarded().await;
    let ada = console(&world, "ada").await;
    let key = world.key("main", "reading", Role::Viewer).await;
    let both = ada.with_key(&key).with("origin", "http://elsewhere.example");
    assert_eq!(both.get(SESSION).await.ok()["user"], "key/reading");
    both.post("/api/v1/query", &json!({ "sql": "SELECT 1" })).await.ok();
    ada.with_key("wrong").get("/api/v1/query").await.refused(401, "denied");
}
