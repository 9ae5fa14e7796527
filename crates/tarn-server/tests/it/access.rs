//! Who is let in: every protocol asks, and every operation names the role that it takes.

use std::collections::BTreeSet;

use tarn_core::Role;

use crate::calls::{Needs, calls, furnish};
use crate::world::{World, misspelt};

#[tokio::test]
async fn without_credentials_only_public_operations_answer() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    for call in calls(&furniture) {
        let answer = call.by(&people.nobody).await;
        if call.needs == Needs::Nobody {
            assert!((200..300).contains(&answer.status), "{} {}", call.method, call.path);
            continue;
        }
        assert_eq!(answer.status, 401, "{} {}", call.method, call.path);
        answer.refused(401, "denied");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{} {}", call.method, call.path);
    }
    for path in ["/openapi.json", "/", "/sources"] {
        assert_eq!(people.nobody.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_everywhere_but_at_public_operations() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    let real = world.key("main", "real", Role::Admin).await;
    let wrong_secret = misspelt(&real);
    for header in [
        format!("Bearer {wrong_secret}"),
        "Bearer ".to_string(),
        "Bearer null".to_string(),
        format!("Token {real}"),
        "Basic !!!".to_string(),
        "Basic YWRhOndyb25n".to_string(),
        "Bearer session:0000".to_string(),
    ] {
        let stranger = people.nobody.with("authorization", &header);
        let read = stranger.get("/api/v1/query").await.refused(401, "denied");
        assert!(!read["message"].as_str().unwrap().contains(&real), "{read}");
    }
    let stranger = people.nobody.with_key(&wrong_secret);
    for call in calls(&furniture).iter().filter(|call| call.needs > Needs::Nobody) {
        assert_eq!(call.by(&stranger).await.status, 401, "{} {}", call.method, call.path);
    }
}

#[tokio::test]
async fn a_role_below_the_needed_one_is_refused_and_told_what_it_takes() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    let mut needed = BTreeSet::new();
    for call in calls(&furniture) {
        let lesser: Vec<_> = match call.needs {
            Needs::Nobody | Needs::Viewer => vec![],
            Needs::Editor => vec![&people.viewer],
            Needs::Admin => vec![&people.viewer, &people.editor],
        };
        for caller in lesser {
            let answer = call.by(caller).await;
            assert_eq!(answer.status, 403, "{} {}: {}", call.method, call.path, answer.text());
            let error = answer.refused(403, "denied");
            let hint = error["hint"].as_str().unwrap().to_string();
            assert!(hint.contains(&format!("{:?}", call.needs).to_lowercase()), "{hint}");
            needed.insert(call.needs);
        }
    }
    assert_eq!(needed, BTreeSet::from([Needs::Editor, Needs::Admin]));
}

#[tokio::test]
async fn every_role_may_do_what_it_needs_and_what_lesser_roles_may() {
    let world = World::start().await;
    let people = world.people().await;
    let furniture = furnish(&world).await;
    for call in calls(&furniture) {
        let caller = match call.needs {
            Needs::Nobody => &people.nobody,
            Needs::Viewer => &people.viewer,
            Needs::Editor => &people.editor,
            Needs::Admin => &people.admin,
        };
        // Another's query is stopped by admins only; see the test of that rule.
        if call.template == "/api/v1/query/{query_id}" {
            continue;
        }
        let answer = call.by(caller).await;
        assert!(call.is_answer(answer.status), "{} {}: {}", call.method, call.path, answer.status);
    }
}

#[tokio::test]
async fn an_open_server_is_open_to_this_machine_alone() {
    let world = World::start().await;
    let local = world.caller();
    let session = local.get("/api/v1/session").await.ok();
    assert_eq!((session["user"].as_str(), session["role"].as_str()), (Some("local"), Some("admin")));
    assert_eq!(session["authentication_required"], false);
    // What a proxy on this machine passes on comes from elsewhere.
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        let passed_on = local.with(header, "203.0.113.9");
        passed_on.get("/api/v1/query").await.refused(401, "denied");
        let session = passed_on.get("/api/v1/session").await.ok();
        assert_eq!((session["user"].as_str(), &session["authentication_required"]), (None, &true.into()));
    }
}

#[tokio::test]
async fn the_first_user_must_be_an_admin_and_closes_the_server() {
    let world = World::start().await;
    let local = world.caller();
    let user =
        |name: &str, role: &str| serde_json::json!({ "name": name, "role": role, "password": "long enough" });
    let error = local.post("/api/v1/access/users", &user("bo", "viewer")).await.refused(400, "invalid");
    assert_eq!(error["message"], "the first user must be an admin");
    local.post("/api/v1/access/users", &user("ada", "admin")).await.done();
    local.get("/api/v1/access/users").await.refused(401, "denied");
    let ada = local.with("authorization", "Basic YWRhOmxvbmcgZW5vdWdo");
    let users = ada.get("/api/v1/access/users").await.ok();
    assert_eq!(
        (users["items"][0]["name"].as_str(), users["items"][0]["role"].as_str()),
        (Some("ada"), Some("admin"))
    );
    assert!(!users.to_string().contains("argon2"), "{users}");
    let last = ada.delete("/api/v1/access/users/ada").await;
    // Alone without keys: the server is open to this machine again.
    last.done();
    local.get("/api/v1/access/users").await.ok();
}

#[tokio::test]
async fn what_people_do_is_in_the_audit_log_with_their_names() {
    let world = World::start().await;
    let people = world.people().await;
    world.fill_shop().await;
    people.editor.post("/api/v1/ingest/shop/pause", &serde_json::json!({})).await.done();
    let secret = serde_json::json!({ "value": "hush" });
    people.admin.send("PUT", "/api/v1/access/secrets/db", Some(&secret)).await.done();
    let log = people.admin.get("/api/v1/access/audit").await.ok();
    let lines: Vec<String> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_string();
            format!("{} {} {} {}", text("principal"), text("action"), text("target"), text("outcome"))
        })
        .collect();
    assert_eq!(lines[..2], ["key/ruling secret.put db ok", "key/writing ingest.pause source/shop ok"]);
    assert!(!log.to_string().contains("hush"), "{log}");
}
