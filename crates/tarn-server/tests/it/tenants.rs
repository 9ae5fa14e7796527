//! Nothing of one tenant is seen or changed by another. Tenants are made by giving them a user.

use arrow_flight::sql::{CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables};
use serde_json::{Value, json};
use tarn_core::Role;

use crate::answer::Caller;
use crate::calls::{calls, furnish};
use crate::flight;
use crate::iceberg_client::{Catalog, table_request};
use crate::lake::orders;
use crate::pg_client::{code, rows};
use crate::world::{World, system};

/// Stands in every name and value of tenant `a`.
const MARK: &str = "acme";

struct Tenants {
    world: World,
    /// Admins of each tenant.
    a: Caller,
    b: Caller,
    key_b: String,
}

/// Tenant `a` with one of everything, tenant `b` with nothing but its admin.
async fn tenants() -> Tenants {
    let world = World::start().await;
    world.add_user("a", "acme-boss", Role::Admin).await;
    world.add_user("b", "bolt-boss", Role::Admin).await;
    let key_a = world.key("a", "acme-key", Role::Admin).await;
    let key_b = world.key("b", "bolt-key", Role::Admin).await;
    let mut rows = orders();
    rows[0]["item"] = json!("acme tea");
    world.fill(&system("a"), "acme_source", "acme_orders", &rows).await;
    let a = world.caller().with_key(&key_a);
    let b = world.caller().with_key(&key_b);
    let topic = "kind: topic\nname: acme_source.acme_orders\nspec: {}\n";
    a.post("/api/v1/resource/apply", &json!({ "documents": topic, "message": "acme starts" })).await.ok();
    let secret = json!({ "value": "acme secret" });
    a.send("PUT", "/api/v1/access/secrets/acme_db", Some(&secret)).await.done();
    a.post("/api/v1/query", &json!({ "sql": "SELECT 'acme asks'", "query_id": "acme-1" })).await.ok();
    a.post("/api/v1/query", &json!({ "sql": "SELECT acme", "query_id": "acme-2" }))
        .await
        .refused(400, "invalid");
    a.post("/iceberg/v1/namespaces", &json!({ "namespace": ["acme_mart"] })).await.ok();
    a.post("/iceberg/v1/namespaces/acme_mart/tables", &table_request("acme_t")).await.ok();
    // A record that does not fit, for the dead letters.
    a.post("/api/v1/ingest/acme_source/push", &json!({ "item": "acme letter" })).await.ok();
    Tenants { world, a, b, key_b }
}

#[tokio::test]
async fn what_another_tenant_has_is_not_found_by_name() {
    let tenants = tenants().await;
    for path in [
        "/api/v1/ingest/acme_source",
        "/api/v1/ingest/acme_source/dead-letters",
        "/api/v1/eventlog/acme_source.acme_orders",
        "/api/v1/eventlog/acme_source.acme_orders/rows",
        "/api/v1/lakehouse/acme_source/acme_orders",
        "/api/v1/lakehouse/acme_source/acme_orders/files",
        "/api/v1/lakehouse/acme_source/acme_orders/preview",
        "/api/v1/resource/revisions/1",
    ] {
        assert_eq!(tenants.a.get(path).await.status, 200, "{path}");
        let error = tenants.b.get(path).await.refused(404, "not_found");
        assert!(error.get("hint").is_none(), "{path} suggests what another tenant has: {error}");
    }
}

#[tokio::test]
async fn what_another_tenant_has_is_not_changed() {
    let tenants = tenants().await;
    let id = tenants.a.get("/api/v1/access/keys").await.ok()["items"][0]["id"].as_str().unwrap().to_string();
    let none = json!({});
    for path in ["restart", "pause", "resume"] {
        let path = format!("/api/v1/ingest/acme_source/{path}");
        tenants.b.post(&path, &none).await.refused(404, "not_found");
    }
    let push = "/api/v1/ingest/acme_source/push";
    tenants.b.post(push, &json!({ "id": 9 })).await.refused(404, "not_found");
    for path in [
        "/api/v1/access/users/acme-boss".to_string(),
        format!("/api/v1/access/keys/{id}"),
        "/api/v1/access/secrets/acme_db".to_string(),
        "/api/v1/query/acme-1".to_string(),
    ] {
        tenants.b.delete(&path).await.refused(404, "not_found");
    }
    tenants.b.post("/api/v1/resource/rollback", &json!({ "revision": 1 })).await.refused(404, "not_found");
    let compact = "/api/v1/lakehouse/acme_source/acme_orders/compact";
    assert!(tenants.b.post(compact, &none).await.status >= 400);
    let check = json!({ "type": "postgres_cdc", "config": {
        "url": "postgres://r@127.0.0.1:1/x", "password": { "secret": "acme_db" } } });
    tenants.b.post("/api/v1/ingest/check", &check).await.refused(404, "not_found");
    let same = json!({ "documents": "kind: topic\nname: acme_source.acme_orders\nspec: { retention: { age: 1d } }\n" });
    assert_eq!(
        tenants.b.post("/api/v1/resource/apply", &same).await.ok()["revision"],
        1,
        "revisions of its own"
    );
    let export = tenants.a.get("/api/v1/resource/export").await;
    assert!(!export.text().contains("1d"), "{}", export.text());
}

#[tokio::test]
async fn sql_sees_the_callers_tenant_alone_in_every_protocol() {
    let tenants = tenants().await;
    let sql = |sql: &str| json!({ "sql": sql });
    let read = "SELECT item FROM acme_source.acme_orders ORDER BY id";
    assert_eq!(tenants.a.post("/api/v1/query", &sql(read)).await.ok()["rows"][0], json!(["acme tea"]));
    let error = tenants.b.post("/api/v1/query", &sql(read)).await.refused(400, "invalid");
    assert_eq!(error["hint"], "there are no tables yet");
    let near = sql("SELECT * FROM acme_source.acme_order");
    let error = tenants.b.post("/api/v1/query", &near).await.refused(400, "invalid");
    assert_eq!(error["hint"], "there are no tables yet", "no name of another tenant is suggested");
    for listing in ["SHOW TABLES", "SHOW SCHEMAS", "SELECT * FROM information_schema.columns"] {
        let listed = tenants.b.post("/api/v1/query", &sql(listing)).await;
        assert!(!listed.text().contains(MARK), "{listing}: {}", listed.text());
    }
    let client = tenants.world.pg("key", &tenants.key_b).await.unwrap();
    assert_eq!(code(client.simple_query(read).await), "42P01");
    for listing in [
        "SELECT relname FROM pg_catalog.pg_class",
        "SELECT nspname FROM pg_catalog.pg_namespace",
        "SELECT attname FROM pg_catalog.pg_attribute",
        "SELECT tablename FROM pg_catalog.pg_tables",
        "SELECT table_schema || '.' || table_name FROM information_schema.tables",
        "SHOW TABLES",
    ] {
        let found = rows(&client, listing).await;
        assert!(!found.iter().any(|row| row.contains(MARK)), "{listing}: {found:?}");
    }
}

#[tokio::test]
async fn flight_sql_lists_the_callers_tenant_alone() {
    let tenants = tenants().await;
    let mut client = flight::connect(&tenants.world).await;
    client.set_token(tenants.key_b.clone());
    let info = client.get_tables(CommandGetTables::default()).await.unwrap();
    let tables = flight::fetch(&mut client, info).await.unwrap();
    assert_eq!(flight::texts(&tables, "table_name"), [] as [&str; 0]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    let schemas = flight::fetch(&mut client, info).await.unwrap();
    assert_eq!(flight::texts(&schemas, "db_schema_name"), [] as [&str; 0]);
    let keys = CommandGetPrimaryKeys { table: "acme_orders".to_string(), ..CommandGetPrimaryKeys::default() };
    let info = client.get_primary_keys(keys).await.unwrap();
    let keys = flight::fetch(&mut client, info).await.unwrap();
    assert_eq!(flight::texts(&keys, "column_name"), [] as [&str; 0]);
    let read = "SELECT item FROM acme_source.acme_orders".to_string();
    let refused = flight::told(client.execute(read, None).await);
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_catalog_protocol_shows_and_moves_the_callers_tenant_alone() {
    let tenants = tenants().await;
    let (a, b) = (Catalog(tenants.a.clone()), Catalog(tenants.b.clone()));
    let table = "namespaces/acme_mart/tables/acme_t";
    let location = a.get(table).await.ok()["metadata-location"].as_str().unwrap().to_string();
    b.get("namespaces/acme_mart").await.refused_by_catalog(404, "NoSuchNamespaceException");
    b.get("namespaces/acme_mart/tables").await.refused_by_catalog(404, "NoSuchNamespaceException");
    b.get(table).await.refused_by_catalog(404, "NoSuchTableException");
    b.send("DELETE", table).await.refused_by_catalog(404, "NoSuchTableException");
    let commit = b.post(table, &json!({ "updates": [] })).await;
    commit.refused_by_catalog(404, "NoSuchTableException");
    // The same names are free in another tenant.
    b.create_namespace("acme_mart").await;
    let own = b.post("namespaces/acme_mart/tables", &table_request("acme_t")).await.ok();
    assert_ne!(own["metadata-location"], location);
    assert_ne!(own["metadata"]["location"], a.get(table).await.ok()["metadata"]["location"]);
    // Its files are another tenant's, also when somebody knows where they lie.
    let register = json!({ "name": "stolen", "metadata-location": location });
    let stolen = b.post("namespaces/acme_mart/register", &register).await;
    assert!(
        matches!(stolen.status, 400 | 403),
        "a table of another tenant was taken over: {}",
        stolen.status
    );
    let mut inside = table_request("inside");
    inside["location"] = a.get(table).await.ok()["metadata"]["location"].clone();
    let placed = b.post("namespaces/acme_mart/tables", &inside).await;
    assert!(
        matches!(placed.status, 400 | 403),
        "a table was placed in that of another tenant: {}",
        placed.status
    );
    assert_eq!(a.get(table).await.ok()["metadata-location"], location);
}

#[tokio::test]
async fn an_admin_of_one_tenant_is_none_in_another() {
    let tenants = tenants().await;
    let furniture = furnish(&tenants.world).await;
    // The furniture stands in the tenant `main`.
    for call in calls(&furniture) {
        let is_named =
            ["shop/", "shop.", "users/eve", "query/lasting"].iter().any(|name| call.path.contains(name));
        if is_named {
            let answer = call.by(&tenants.b).await;
            assert!(matches!(answer.status, 400 | 404), "{} {}: {}", call.method, call.path, answer.status);
        }
    }
    let users: Value = tenants.b.get("/api/v1/access/users").await.ok();
    assert_eq!(users["items"].as_array().unwrap().len(), 1, "{users}");
    assert_eq!(tenants.b.get("/api/v1/session").await.ok()["tenant"], "b");
}

/// Every list of the API.
const LISTS: [&str; 16] = [
    "/api/v1/session",
    "/api/v1/overview",
    "/api/v1/ingest",
    "/api/v1/eventlog",
    "/api/v1/lakehouse",
    "/api/v1/query",
    "/api/v1/query/completion",
    "/api/v1/resource",
    "/api/v1/resource/revisions",
    "/api/v1/resource/export",
    "/api/v1/access/users",
    "/api/v1/access/keys",
    "/api/v1/access/audit",
    "/api/v1/access/secrets",
    "/iceberg/v1/namespaces",
    "/iceberg/v1/config",
];

#[tokio::test]
async fn lists_of_the_api_hold_the_callers_tenant_alone() {
    let tenants = tenants().await;
    let mut shown = 0;
    for path in LISTS {
        let own = tenants.a.get(path).await;
        assert_eq!(own.status, 200, "{path}: {}", own.text());
        shown += usize::from(own.text().contains(MARK));
        let foreign = tenants.b.get(path).await;
        assert_eq!(foreign.status, 200, "{path}");
        assert!(!foreign.text().contains(MARK), "{path}: {}", foreign.text());
    }
    assert!(shown >= 14, "the mark is in what the tenant itself sees: {shown}");
}

#[tokio::test]
async fn figures_do_not_name_what_other_tenants_have() {
    let tenants = tenants().await;
    let metrics = tenants.b.get("/metrics").await;
    assert!(!metrics.text().contains(MARK), "{}", metrics.text());
}

#[tokio::test]
async fn faults_of_a_tenant_are_not_shown_to_another() {
    let tenants = tenants().await;
    let instance = tarn_ingest::SourceInstance {
        name: tarn_core::ResourceName::parse("acme_broken").unwrap(),
        source_type: "http_push".to_string(),
        config: json!({ "tabel": "acme" }),
        into: None,
        paused: false,
        revision: 1,
    };
    tenants.world.state.ingest.apply(&system("a"), instance).unwrap();
    let own = tenants.a.get("/api/v1/overview").await.ok();
    assert_eq!(own["faults"][0]["subject"], "acme_broken", "{own}");
    let foreign = tenants.b.get("/api/v1/overview").await.ok();
    assert_eq!(foreign["faults"], json!([]));
}
