//! Iceberg REST: commits of one table, and of several at once.

use serde_json::{Value, json};

use crate::iceberg_client::{Catalog, change, mart, set, stale};
use crate::lake::within;

async fn commit(catalog: &Catalog, table: &str, requirements: Vec<Value>, updates: Vec<Value>) -> Value {
    let body = change(table, requirements, updates);
    catalog.post(&format!("namespaces/mart/tables/{table}"), &body).await.ok()
}

#[tokio::test]
async fn a_commit_moves_the_metadata_and_gives_it_back() {
    let (_world, catalog) = mart().await;
    let before = catalog.load("a").await;
    let uuid = before["metadata"]["table-uuid"].clone();
    let requirements = vec![
        json!({ "type": "assert-table-uuid", "uuid": uuid }),
        json!({ "type": "assert-current-schema-id", "current-schema-id": 0 }),
        json!({ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null }),
    ];
    let committed = commit(&catalog, "a", requirements, vec![set("owner", "li")]).await;
    assert_eq!(committed["metadata"]["properties"]["owner"], "li");
    assert_ne!(committed["metadata-location"], before["metadata-location"]);
    let loaded = catalog.load("a").await;
    assert_eq!(loaded["metadata-location"], committed["metadata-location"]);
    assert_eq!(loaded["metadata"], committed["metadata"]);
    let log = loaded["metadata"]["metadata-log"].as_array().unwrap();
    assert_eq!(log.last().unwrap()["metadata-file"], before["metadata-location"]);
}

#[tokio::test]
async fn a_requirement_that_does_not_hold_fails_the_commit_and_changes_nothing() {
    let (_world, catalog) = mart().await;
    let before = catalog.location("a").await;
    for requirement in [
        stale(),
        json!({ "type": "assert-create" }),
        json!({ "type": "assert-table-uuid", "uuid": "00000000-0000-4000-8000-000000000000" }),
        json!({ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 1 }),
        json!({ "type": "assert-last-assigned-field-id", "last-assigned-field-id": 9 }),
        json!({ "type": "assert-default-spec-id", "default-spec-id": 3 }),
    ] {
        let body = change("a", vec![requirement.clone()], vec![set("owner", "li")]);
        let answer = catalog.post("namespaces/mart/tables/a", &body).await;
        answer.refused_by_catalog(409, "CommitFailedException");
        assert_eq!(catalog.location("a").await, before, "{requirement}");
    }
    assert_eq!(catalog.property("a", "owner").await, None);
}

#[tokio::test]
async fn a_commit_that_makes_no_sense_is_a_bad_request() {
    let (_world, catalog) = mart().await;
    let before = catalog.location("a").await;
    for body in [
        json!({ "updates": [{ "action": "explode" }] }),
        json!({ "updates": [{ "action": "set-current-schema", "schema-id": 99 }] }),
        json!({ "updates": [{ "action": "set-location", "location": "file:///etc/tables" }] }),
        json!({ "requirements": [{ "type": "assert-weather" }], "updates": [] }),
        json!({ "requirements": "none" }),
        json!([]),
        change("b", vec![], vec![set("k", "v")]),
    ] {
        let answer = catalog.post("namespaces/mart/tables/a", &body).await;
        answer.refused_by_catalog(400, "BadRequestException");
    }
    assert_eq!(catalog.location("a").await, before);
}

#[tokio::test]
async fn of_commits_on_one_state_only_the_first_holds() {
    let (_world, catalog) = mart().await;
    let schema = json!({ "action": "add-schema", "last-column-id": 3, "schema": { "type": "struct", "fields": [
        { "id": 1, "name": "id", "required": true, "type": "long" },
        { "id": 2, "name": "note", "required": false, "type": "string" },
        { "id": 3, "name": "more", "required": false, "type": "int" },
    ] } });
    let current = json!({ "action": "set-current-schema", "schema-id": -1 });
    let on_first = vec![json!({ "type": "assert-current-schema-id", "current-schema-id": 0 })];
    let body = change("a", on_first, vec![schema, current]);
    let race = (0..4).map(|_| {
        let (catalog, body) = (catalog.clone(), body.clone());
        async move { catalog.post("namespaces/mart/tables/a", &body).await }
    });
    let answers = within("all commits are answered", futures::future::join_all(race)).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    for answer in answers.iter().filter(|answer| answer.status == 409) {
        answer.refused_by_catalog(409, "CommitFailedException");
    }
    assert_eq!(catalog.load("a").await["metadata"]["schemas"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn commits_that_require_nothing_all_hold() {
    let (_world, catalog) = mart().await;
    let race = (0..6).map(|number| {
        let catalog = catalog.clone();
        async move { commit(&catalog, "a", vec![], vec![set(&format!("k{number}"), "v")]).await }
    });
    within("all commits are answered", futures::future::join_all(race)).await;
    for number in 0..6 {
        assert!(catalog.property("a", &format!("k{number}")).await.is_some(), "k{number} is lost");
    }
}

#[tokio::test]
async fn a_transaction_changes_all_its_tables() {
    let (_world, catalog) = mart().await;
    let before = [catalog.location("a").await, catalog.location("b").await];
    let changes = json!({ "table-changes": [change("a", vec![], vec![set("k", "1")]), change("b", vec![], vec![set("k", "2")])] });
    catalog.post("transactions/commit", &changes).await.done();
    assert_eq!(catalog.property("a", "k").await.as_deref(), Some("1"));
    assert_eq!(catalog.property("b", "k").await.as_deref(), Some("2"));
    assert_ne!([catalog.location("a").await, catalog.location("b").await], before);
    catalog.post("transactions/commit", &json!({ "table-changes": [] })).await.done();
}

#[tokio::test]
async fn one_stale_requirement_keeps_every_table_of_a_transaction_where_it_was() {
    let (_world, catalog) = mart().await;
    catalog.create_table("c").await;
    let places = async || {
        let mut all = Vec::new();
        for table in ["a", "b", "c"] {
            all.push(catalog.location(table).await);
        }
        all
    };
    let before = places().await;
    let fine = |table: &str| change(table, vec![], vec![set("moved", "yes")]);
    let late = |table: &str| change(table, vec![stale()], vec![set("moved", "yes")]);
    for (changes, status, kind) in [
        (vec![fine("a"), fine("b"), late("c")], 409, "CommitFailedException"),
        (vec![late("a"), fine("b"), fine("c")], 409, "CommitFailedException"),
        (vec![fine("a"), fine("b"), fine("none")], 404, "NoSuchTableException"),
        (vec![fine("a"), fine("a")], 400, "BadRequestException"),
        (
            vec![
                fine("a"),
                change("b", vec![], vec![json!({ "action": "set-current-schema", "schema-id": 99 })]),
            ],
            400,
            "BadRequestException",
        ),
        (vec![fine("a"), json!({ "requirements": [], "updates": [] })], 400, "BadRequestException"),
    ] {
        let body = json!({ "table-changes": changes });
        catalog.post("transactions/commit", &body).await.refused_by_catalog(status, kind);
        assert_eq!(places().await, before, "{body}");
    }
    for table in ["a", "b", "c"] {
        assert_eq!(catalog.property(table, "moved").await, None, "{table}");
    }
}

#[tokio::test]
async fn a_transaction_may_make_a_table_and_makes_none_when_it_fails() {
    let (world, catalog) = mart().await;
    let location = catalog.load("a").await["metadata"]["location"].as_str().unwrap().to_string();
    let schema = json!({ "type": "struct", "fields": [
        { "id": 1, "name": "id", "required": true, "type": "long" } ] });
    let create = |with: Vec<Value>| {
        let mut updates = vec![
            json!({ "action": "add-schema", "schema": schema }),
            json!({ "action": "set-current-schema", "schema-id": -1 }),
            json!({ "action": "set-location", "location": format!("{location}-made") }),
        ];
        updates.extend(with);
        change("made", vec![json!({ "type": "assert-create" })], updates)
    };
    let failing = json!({ "table-changes": [create(vec![]), change("b", vec![stale()], vec![])] });
    let answer = catalog.post("transactions/commit", &failing).await;
    answer.refused_by_catalog(409, "CommitFailedException");
    catalog.get("namespaces/mart/tables/made").await.refused_by_catalog(404, "NoSuchTableException");
    let fine =
        json!({ "table-changes": [create(vec![set("k", "v")]), change("b", vec![], vec![set("k", "v")])] });
    catalog.post("transactions/commit", &fine).await.done();
    assert_eq!(catalog.property("made", "k").await.as_deref(), Some("v"));
    let listed = world.caller().get("/api/v1/lakehouse").await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");
}
