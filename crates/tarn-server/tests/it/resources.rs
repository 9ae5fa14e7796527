//! Resources over HTTP: plan, apply, roll back, and who may.

use serde_json::{Value, json};

use crate::world::World;

fn topic(age: &str) -> String {
    format!("kind: topic\nname: shop.orders\nspec:\n  retention: {{ age: {age} }}\n")
}

fn documents(text: impl Into<String>) -> Value {
    json!({ "documents": text.into() })
}

#[tokio::test]
async fn a_plan_changes_nothing_and_an_apply_is_a_revision_that_can_be_undone() {
    let world = World::start().await;
    let caller = world.caller();
    let plan = caller.post("/api/v1/resource/plan", &documents(topic("7d"))).await.ok();
    assert_eq!((plan["base_revision"].as_u64(), plan["ok"].as_bool()), (Some(0), Some(true)));
    assert_eq!(plan["changes"][0]["action"], "create");
    assert!(plan["changes"][0]["diff"].as_str().unwrap().contains("+  retention"), "{plan}");
    assert_eq!(caller.get("/api/v1/resource").await.ok()["items"], json!([]));
    for (number, age) in [(1, "7d"), (2, "3d")] {
        let applied = caller.post("/api/v1/resource/apply", &documents(topic(age))).await.ok();
        assert_eq!(applied["revision"], number);
    }
    let same = caller.post("/api/v1/resource/apply", &documents(topic("3d"))).await.ok();
    assert_eq!(same["revision"], 2, "nothing changed");
    let back = caller.post("/api/v1/resource/rollback", &json!({ "revision": 1 })).await.ok();
    assert_eq!(back["revision"], 3);
    let export = caller.get("/api/v1/resource/export").await;
    assert!(export.text().contains("7d") && !export.text().contains("3d"), "{}", export.text());
    let revision = caller.get("/api/v1/resource/revisions/3").await.ok();
    assert_eq!(revision["author"], "local");
    caller.get("/api/v1/resource/revisions/9").await.refused(404, "not_found");
    caller.post("/api/v1/resource/rollback", &json!({ "revision": 9 })).await.refused(404, "not_found");
}

#[tokio::test]
async fn documents_with_problems_are_refused_whole_with_all_problems() {
    let world = World::start().await;
    let caller = world.caller();
    let text = format!(
        "{}---\nkind: topic\nname: a..b\nspec: {{}}\n---\nkind: tpoic\nname: c.d\nspec: {{}}\n---\nkind: topic\nname: e.f\n\
         spec:\n  retenton: {{}}\n",
        topic("7d")
    );
    let error = caller.post("/api/v1/resource/apply", &documents(text)).await.refused(400, "invalid");
    let problems = error["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3, "{error}");
    assert!(problems.iter().all(|one| one["severity"] == "error" && one["line"].is_u64()), "{error}");
    assert!(problems.iter().any(|one| one.to_string().contains("did you mean `topic`?")), "{error}");
    assert!(problems.iter().any(|one| one.to_string().contains("retention")), "{error}");
    assert_eq!(caller.get("/api/v1/resource").await.ok()["items"], json!([]), "none of them is declared");
}

#[tokio::test]
async fn an_apply_on_an_old_revision_is_a_conflict() {
    let world = World::start().await;
    let caller = world.caller();
    let on = |age: &str, base: u64| json!({ "documents": topic(age), "base_revision": base });
    caller.post("/api/v1/resource/apply", &on("7d", 0)).await.ok();
    caller.post("/api/v1/resource/apply", &on("3d", 0)).await.refused(409, "conflict");
    caller.post("/api/v1/resource/apply", &on("3d", 1)).await.ok();
}

#[tokio::test]
async fn a_server_that_may_only_be_read_plans_and_applies_nothing() {
    let world = World::with(|setup| setup.installation.read_only = true).await;
    let caller = world.caller();
    caller.post("/api/v1/resource/plan", &documents(topic("7d"))).await.ok();
    caller.post("/api/v1/resource/apply", &documents(topic("7d"))).await.refused(403, "denied");
    caller.post("/api/v1/resource/rollback", &json!({ "revision": 0 })).await.refused(403, "denied");
    caller.post("/api/v1/resource/write-back", &json!({})).await.refused(403, "denied");
    assert_eq!(caller.get("/api/v1/session").await.ok()["read_only"], true);
}

#[tokio::test]
async fn a_secret_is_set_and_named_and_never_given_back() {
    let world = World::start().await;
    let caller = world.caller();
    let value = "s3cr3t-value-of-the-database";
    caller.send("PUT", "/api/v1/access/secrets/db", Some(&json!({ "value": value }))).await.done();
    let source = "kind: source\nname: shop\nspec:\n  type: postgres_cdc\n  url: postgres://reader@127.0.0.1:1/shop\n  \
                  password: { secret: db }\n  tables: [public.orders]\n";
    caller.post("/api/v1/resource/apply", &documents(source)).await.ok();
    let secrets = caller.get("/api/v1/access/secrets").await.ok();
    assert_eq!(secrets["items"][0]["name"], "db");
    assert_eq!(secrets["items"][0]["used_by"], json!(["source/shop"]));
    for path in [
        "/api/v1/access/secrets",
        "/api/v1/access/audit",
        "/api/v1/resource",
        "/api/v1/resource/export",
        "/api/v1/resource/revisions/1",
        "/api/v1/overview",
        "/metrics",
    ] {
        let answer = caller.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains(value), "{path}: {}", answer.text());
    }
    let check = json!({ "type": "postgres_cdc", "config": {
        "url": "postgres://reader@127.0.0.1:1/shop", "password": { "secret": "db" }, "tables": ["public.orders"] } });
    let report = caller.post("/api/v1/ingest/check", &check).await;
    assert!(!report.text().contains(value), "{}", report.text());
    assert_eq!(caller.get("/api/v1/access/secrets/db").await.status, 405);
    for bad in [json!({ "value": "" }), json!({ "value": "x".repeat((64 << 10) + 1) })] {
        let answer = caller.send("PUT", "/api/v1/access/secrets/db", Some(&bad)).await;
        answer.refused(400, "invalid");
    }
    caller.delete("/api/v1/access/secrets/db").await.done();
    caller.delete("/api/v1/access/secrets/db").await.refused(404, "not_found");
}

#[tokio::test]
async fn the_declared_state_is_written_into_the_project_folder() {
    let world = World::start().await;
    let caller = world.caller();
    caller.post("/api/v1/resource/apply", &documents(topic("7d"))).await.ok();
    let report = caller.post("/api/v1/resource/write-back", &json!({})).await.ok();
    let file = report["files"][0].as_str().unwrap();
    let text = std::fs::read_to_string(world.state.project.join(file)).unwrap();
    assert!(text.contains("shop.orders") && text.contains("7d"), "{text}");
}

#[tokio::test]
async fn the_schema_of_a_kind_is_for_editors() {
    let world = World::start().await;
    let caller = world.caller();
    let schema = caller.get("/api/v1/resource/schema/topic").await.ok();
    assert!(schema["properties"]["retention"].is_object(), "{schema}");
    let error = caller.get("/api/v1/resource/schema/tpoic").await.refused(400, "invalid");
    assert_eq!(error["hint"], "did you mean `topic`?");
}
