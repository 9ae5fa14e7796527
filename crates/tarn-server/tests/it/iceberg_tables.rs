//! Iceberg REST: making, loading, moving and dropping tables.

use serde_json::{Value, json};

use crate::iceberg_client::{Catalog, change, mart, set, table_request};
use crate::world::World;

#[tokio::test]
async fn a_table_is_made_once_and_loaded_as_it_was_made() {
    let (_world, catalog) = mart().await;
    let mut request = table_request("orders");
    request["properties"] = json!({ "owner": "li" });
    request["partition-spec"] = json!({ "spec-id": 0, "fields": [
        { "name": "id_bucket", "transform": "bucket[4]", "source-id": 1 } ] });
    let made = catalog.post("namespaces/mart/tables", &request).await.ok();
    let metadata = &made["metadata"];
    assert_eq!(metadata["format-version"], 2);
    assert_eq!(metadata["properties"]["owner"], "li");
    let fields: Vec<&str> = metadata["schemas"][0]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["id", "note"]);
    assert_eq!(metadata["partition-specs"][0]["fields"][0]["transform"], "bucket[4]");
    assert!(made.get("config").is_none(), "it would hide the keys that the client has: {made}");
    let loaded = catalog.load("orders").await;
    assert_eq!(loaded, made);
    let again = catalog.post("namespaces/mart/tables", &request).await;
    again.refused_by_catalog(409, "AlreadyExistsException");
    let nowhere = catalog.post("namespaces/none/tables", &table_request("x")).await;
    nowhere.refused_by_catalog(404, "NoSuchNamespaceException");
}

#[tokio::test]
async fn a_missing_table_is_told_as_such_by_every_endpoint() {
    let (_world, catalog) = mart().await;
    let missing = "NoSuchTableException";
    catalog.get("namespaces/mart/tables/none").await.refused_by_catalog(404, missing);
    catalog.get("namespaces/none/tables/a").await.refused_by_catalog(404, missing);
    catalog.send("DELETE", "namespaces/mart/tables/none").await.refused_by_catalog(404, missing);
    let commit =
        catalog.post("namespaces/mart/tables/none", &change("none", vec![], vec![set("k", "v")])).await;
    commit.refused_by_catalog(404, missing);
    let name = |name: &str| json!({ "namespace": ["mart"], "name": name });
    let rename =
        catalog.post("tables/rename", &json!({ "source": name("none"), "destination": name("c") })).await;
    rename.refused_by_catalog(404, missing);
    catalog.get("namespaces/none/tables").await.refused_by_catalog(404, "NoSuchNamespaceException");
}

#[tokio::test]
async fn tables_that_cannot_be_are_bad_requests() {
    let (_world, catalog) = mart().await;
    let mut outside = table_request("x");
    outside["location"] = json!("file:///etc/tables");
    let mut other = table_request("x");
    other["location"] = json!("s3://someone-elses-bucket/x");
    let mut version = table_request("x");
    version["properties"] = json!({ "format-version": "9" });
    let mut twice = table_request("x");
    twice["schema"]["fields"][1]["name"] = json!("id");
    let no_schema = json!({ "name": "x" });
    for bad in [outside, other, version, twice, no_schema, table_request("a.b"), table_request(""), json!([])]
    {
        let answer = catalog.post("namespaces/mart/tables", &bad).await;
        answer.refused_by_catalog(400, "BadRequestException");
    }
    let listed = catalog.get("namespaces/mart/tables").await.ok();
    assert_eq!(listed["identifiers"].as_array().unwrap().len(), 2, "{listed}");
}

#[tokio::test]
async fn a_staged_table_exists_once_its_first_commit_succeeds() {
    let (_world, catalog) = mart().await;
    let mut request = table_request("staged");
    request["stage-create"] = json!(true);
    let staged = catalog.post("namespaces/mart/tables", &request).await.ok();
    assert!(staged.get("metadata-location").is_none(), "{staged}");
    catalog.get("namespaces/mart/tables/staged").await.refused_by_catalog(404, "NoSuchTableException");
    let metadata = &staged["metadata"];
    let create = json!([{ "type": "assert-create" }]);
    let updates = json!([
        { "action": "assign-uuid", "uuid": metadata["table-uuid"] },
        { "action": "upgrade-format-version", "format-version": 2 },
        { "action": "add-schema", "schema": metadata["schemas"][0], "last-column-id": 2 },
        { "action": "set-current-schema", "schema-id": -1 },
        { "action": "add-spec", "spec": { "spec-id": 0, "fields": [] } },
        { "action": "set-default-spec", "spec-id": -1 },
        { "action": "add-sort-order", "sort-order": { "order-id": 0, "fields": [] } },
        { "action": "set-default-sort-order", "sort-order-id": -1 },
        { "action": "set-location", "location": metadata["location"] },
        { "action": "set-properties", "updates": { "made-by": "ctas" } },
    ]);
    let body = json!({ "requirements": create, "updates": updates });
    let committed = catalog.post("namespaces/mart/tables/staged", &body).await.ok();
    assert_eq!(committed["metadata"]["table-uuid"], metadata["table-uuid"]);
    assert_eq!(catalog.property("staged", "made-by").await.as_deref(), Some("ctas"));
    let again = catalog.post("namespaces/mart/tables/staged", &body).await;
    again.refused_by_catalog(409, "CommitFailedException");
}

#[tokio::test]
async fn a_rename_moves_a_table_and_refuses_a_taken_name() {
    let (_world, catalog) = mart().await;
    catalog.create_namespace("other").await;
    let before = catalog.location("a").await;
    let rename = |from: (&str, &str), to: (&str, &str)| {
        let name = |(namespace, name): (&str, &str)| json!({ "namespace": [namespace], "name": name });
        json!({ "source": name(from), "destination": name(to) })
    };
    catalog.post("tables/rename", &rename(("mart", "a"), ("other", "z"))).await.done();
    let moved = catalog.get("namespaces/other/tables/z").await.ok();
    assert_eq!(moved["metadata-location"], before);
    catalog.get("namespaces/mart/tables/a").await.refused_by_catalog(404, "NoSuchTableException");
    let taken = catalog.post("tables/rename", &rename(("other", "z"), ("mart", "b"))).await;
    taken.refused_by_catalog(409, "AlreadyExistsException");
    let nowhere = catalog.post("tables/rename", &rename(("other", "z"), ("none", "z"))).await;
    nowhere.refused_by_catalog(404, "NoSuchNamespaceException");
}

#[tokio::test]
async fn a_dropped_table_can_be_registered_again_and_a_purged_one_is_gone() {
    let (_world, catalog) = mart().await;
    let (kept, purged) = (catalog.location("a").await, catalog.location("b").await);
    catalog.send("DELETE", "namespaces/mart/tables/a?purgeRequested=false").await.done();
    catalog.send("DELETE", "namespaces/mart/tables/b?purgeRequested=True").await.done();
    let register = |name: &str, location: &str| json!({ "name": name, "metadata-location": location });
    let again = catalog.post("namespaces/mart/register", &register("c", &kept)).await.ok();
    assert_eq!(again["metadata-location"], kept);
    let taken = catalog.post("namespaces/mart/register", &register("c", &kept)).await;
    taken.refused_by_catalog(409, "AlreadyExistsException");
    let gone = catalog.post("namespaces/mart/register", &register("d", &purged)).await;
    assert!(gone.status >= 400, "{}", gone.text());
    let outside = catalog.post("namespaces/mart/register", &register("e", "file:///etc/passwd")).await;
    outside.refused_by_catalog(400, "BadRequestException");
    assert!(!outside.text().contains("root:"), "{}", outside.text());
    let maybe = catalog.send("DELETE", "namespaces/mart/tables/c?purgeRequested=maybe").await;
    maybe.refused_by_catalog(400, "BadRequestException");
}

#[tokio::test]
async fn purging_a_table_deletes_no_file_of_another() {
    let (_world, catalog) = mart().await;
    let own = catalog.load("a").await["metadata"]["location"].as_str().unwrap().to_string();
    let (around, _) = own.rsplit_once('/').unwrap();
    for (name, location) in [("around", around), ("within", own.as_str())] {
        let mut request = table_request(name);
        request["location"] = json!(location);
        // Refusing such a place is as good as leaving the other tables alone.
        if catalog.post("namespaces/mart/tables", &request).await.status == 200 {
            let path = format!("namespaces/mart/tables/{name}?purgeRequested=true");
            catalog.send("DELETE", &path).await;
        }
        for table in ["a", "b"] {
            let location = catalog.location(table).await;
            let file = location.trim_start_matches("file://");
            assert!(std::path::Path::new(file).is_file(), "{name}: the metadata of {table} is gone");
        }
    }
}

#[tokio::test]
async fn a_table_that_did_not_change_is_not_sent_again() {
    let (_world, catalog) = mart().await;
    let path = "namespaces/mart/tables/a";
    let first = catalog.get(path).await;
    let tag = first.header("etag").to_string();
    let known = Catalog(catalog.0.with("if-none-match", &tag));
    let again = known.get(path).await;
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    catalog.post(path, &change("a", vec![], vec![set("k", "v")])).await.ok();
    let changed = known.get(path).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn only_named_snapshots_are_sent_when_only_those_are_asked_for() {
    let world = World::start().await;
    world.fill_shop().await;
    let row = json!({ "id": 4 });
    let mut commits = world.state.lakehouse.catalog().changes();
    world.caller().post("/api/v1/ingest/shop/push", &row).await.ok();
    let catalog = Catalog(world.caller());
    let path = "namespaces/shop/tables/orders";
    let count = |table: &Value| table["metadata"]["snapshots"].as_array().unwrap().len();
    let two = async {
        while count(&catalog.get(path).await.ok()) < 2 {
            commits.changed().await.unwrap();
        }
    };
    crate::lake::within("the table has two snapshots", two).await;
    assert_eq!(count(&catalog.get(&format!("{path}?snapshots=all")).await.ok()), 2);
    let named = catalog.get(&format!("{path}?snapshots=refs")).await.ok();
    assert_eq!(count(&named), 1);
    assert_eq!(named["metadata"]["snapshots"][0]["snapshot-id"], named["metadata"]["current-snapshot-id"]);
    catalog.get(&format!("{path}?snapshots=some")).await.refused_by_catalog(400, "BadRequestException");
}

#[tokio::test]
async fn a_table_of_the_catalog_is_a_table_of_sql() {
    let (world, catalog) = mart().await;
    let caller = world.caller();
    let sql = |sql: &str| json!({ "sql": sql });
    let empty = caller.post("/api/v1/query", &sql("SELECT id, note FROM mart.a")).await.ok();
    assert_eq!(empty["rows"], json!([]));
    catalog.send("DELETE", "namespaces/mart/tables/a").await.done();
    caller.post("/api/v1/query", &sql("SELECT id FROM mart.a")).await.refused(400, "invalid");
    let metrics = json!({ "report-type": "scan-report", "table-name": "mart.b", "snapshot-id": 1 });
    catalog.post("namespaces/mart/tables/b/metrics", &metrics).await.done();
    catalog
        .post("namespaces/mart/tables/b/metrics", &json!([]))
        .await
        .refused_by_catalog(400, "BadRequestException");
}
