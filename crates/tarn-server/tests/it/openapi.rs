//! The document of the HTTP API is the HTTP API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::calls::{calls, furnish};
use crate::world::World;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Methods by path.
fn operations(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().map(|method| method.to_uppercase());
            (path.clone(), methods.filter(|method| METHODS.contains(&method.as_str())).collect())
        })
        .collect()
}

#[tokio::test]
async fn every_operation_of_the_document_answers() {
    let world = World::start().await;
    let furniture = furnish(&world).await;
    let admin = world.caller().with_key(&world.key("main", "ruling", tarn_core::Role::Admin).await);
    let mut missing = operations(&admin.get("/openapi.json").await.ok());
    for call in calls(&furniture) {
        let listed = missing.get_mut(call.template).is_some_and(|methods| methods.remove(call.method));
        assert!(listed, "{} {} is not in the document", call.method, call.template);
        let answer = call.by(&admin).await;
        assert!(
            call.is_answer(answer.status),
            "{} {}: {} {}",
            call.method,
            call.path,
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    missing.retain(|_, methods| !methods.is_empty());
    assert_eq!(missing, BTreeMap::new(), "no test asks for these");
}

#[tokio::test]
async fn a_method_that_the_document_does_not_list_is_not_answered() {
    let world = World::start().await;
    let caller = world.caller();
    for (path, listed) in operations(&caller.get("/openapi.json").await.ok()) {
        let path = path.replace("{revision}", "1").replace(['{', '}'], "");
        for method in METHODS.iter().filter(|method| !listed.contains(**method)) {
            let status = caller.send(method, &path, None).await.status;
            // A fixed segment may stand where another path has a name, such as `query/completion`.
            assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn the_document_describes_every_body_and_the_error_of_every_operation() {
    let world = World::start().await;
    let document = world.caller().get("/openapi.json").await.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            let is_health = path == "/healthz" || path == "/readyz";
            assert!(is_health || responses.contains_key("default"), "{method} {path} names no error");
            let reads_body = operation.get("requestBody").is_some();
            assert!(!reads_body || matches!(method.as_str(), "post" | "put"), "{method} {path}");
        }
    }
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_string));
            map.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_served_document_is_the_one_that_is_written_to_the_reference() {
    let world = World::start().await;
    let answer = world.caller().get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.text(), tarn_server::openapi_json());
}
