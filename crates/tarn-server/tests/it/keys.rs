//! API keys over HTTP: shown once, bound to a role, ended by time or by hand.

use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::{Needs, calls, furnish};
use crate::world::{World, misspelt};

const KEYS: &str = "/api/v1/access/keys";

fn key(name: &str, role: &str) -> Value {
    json!({ "name": name, "role": role })
}

#[tokio::test]
async fn a_key_is_shown_once_and_in_no_later_answer() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    let made = people.admin.post(KEYS, &key("board", "admin")).await.ok();
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["id", "name", "key"]);
    let (id, whole) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let secret = whole.strip_prefix(&format!("tarn_{id}_")).unwrap();
    assert_eq!(secret.len(), 64);
    let holder = people.nobody.with_key(whole);
    let mut asked = 0;
    for call in calls(&furniture).iter().filter(|call| call.method == "GET" && call.path != "/api/v1/events")
    {
        let answer = call.by(&holder).await;
        assert_eq!(answer.status, 200, "{}", call.path);
        assert!(!answer.text().contains(secret), "{} tells the key", call.path);
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
    let listed = holder.get(KEYS).await.ok();
    let own = listed["items"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
    assert_eq!((own["name"].as_str(), own["role"].as_str()), (Some("board"), Some("admin")));
    assert!(own.get("key").is_none() && !own["last_used_at"].is_null(), "{own}");
    // An error that is about the key itself names its id at most.
    people.admin.delete(&format!("{KEYS}/{id}")).await.done();
    let answer = holder.get(KEYS).await;
    answer.refused(401, "denied");
    assert!(!answer.text().contains(secret), "{}", answer.text());
}

#[tokio::test]
async fn a_key_does_what_its_role_may_and_no_more() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    for (role, held) in [("viewer", Needs::Viewer), ("editor", Needs::Editor)] {
        let made = people.admin.post(KEYS, &key(role, role)).await.ok();
        let holder = people.nobody.with_key(made["key"].as_str().unwrap());
        let session = holder.get("/api/v1/session").await.ok();
        assert_eq!(session["user"], format!("key/{role}"));
        assert_eq!(session["role"], role);
        for call in calls(&furniture).iter().filter(|call| call.needs > held) {
            assert_eq!(call.by(&holder).await.status, 403, "{role}: {} {}", call.method, call.path);
        }
    }
}

#[tokio::test]
async fn an_expired_key_is_refused_by_name() {
    let world = World::start().await;
    let people = world.people().await;
    let lasting = json!({ "name": "board", "role": "viewer", "expires_in": "1h" });
    let made = people.admin.post(KEYS, &lasting).await.ok();
    let holder = people.nobody.with_key(made["key"].as_str().unwrap());
    holder.get("/api/v1/query").await.ok();
    world.clock.advance(Duration::from_secs(3_599));
    holder.get("/api/v1/query").await.ok();
    world.clock.advance(Duration::from_secs(1));
    let error = holder.get("/api/v1/query").await.refused(401, "denied");
    assert_eq!(error["message"], format!("API key `{}` has expired", made["id"].as_str().unwrap()));
    let wrong_secret = misspelt(made["key"].as_str().unwrap());
    let error = people.nobody.with_key(&wrong_secret).get("/api/v1/query").await.refused(401, "denied");
    assert_eq!(error["message"], "API key refused", "only its holder learns that it existed");
}

#[tokio::test]
async fn a_deleted_key_is_refused_at_once() {
    let world = World::start().await;
    let people = world.people().await;
    let made = people.admin.post(KEYS, &key("board", "viewer")).await.ok();
    let holder = people.nobody.with_key(made["key"].as_str().unwrap());
    holder.get("/api/v1/query").await.ok();
    let path = format!("{KEYS}/{}", made["id"].as_str().unwrap());
    people.admin.delete(&path).await.done();
    let error = holder.get("/api/v1/query").await.refused(401, "denied");
    assert_eq!(error["message"], "API key refused");
    people.admin.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused() {
    let world = World::start().await;
    let people = world.people().await;
    for bad in [
        json!({ "name": "two words", "role": "viewer" }),
        json!({ "name": "", "role": "viewer" }),
        json!({ "name": "board", "role": "owner" }),
        json!({ "name": "board", "role": "viewer", "expires_in": "0s" }),
        json!({ "name": "board", "role": "viewer", "expires_in": "soon" }),
        json!({ "name": "board", "role": "viewer", "tenant": "b" }),
        json!({ "role": "viewer" }),
    ] {
        people.admin.post(KEYS, &bad).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn a_key_is_taken_as_the_password_of_any_user() {
    let world = World::start().await;
    let people = world.people().await;
    let made = people.admin.post(KEYS, &key("board", "viewer")).await.ok();
    let request = people.nobody.request("GET", "/api/v1/session").basic_auth("anyone", made["key"].as_str());
    let session: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(session["user"], "key/board");
}

#[tokio::test]
async fn the_first_key_must_be_able_to_make_others() {
    let world = World::start().await;
    let local = world.caller();
    local.post(KEYS, &key("board", "viewer")).await.refused(400, "invalid");
    let made = local.post(KEYS, &key("root", "admin")).await.ok();
    local.get("/api/v1/query").await.refused(401, "denied");
    local.with_key(made["key"].as_str().unwrap()).get("/api/v1/query").await.ok();
}
