//! One good request for every operation of the HTTP API, in an order in which all of them succeed.

use serde_json::{Value, json};
use tarn_core::Role;
use tarn_query::{QueryOptions, QueryStream};

use crate::answer::{Answer, Caller};
use crate::world::{PASSWORD, World, system};

/// What a caller must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    Nobody,
    Viewer,
    Editor,
    Admin,
}

/// An operation of the API with values for its path and body.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    /// As the OpenAPI document writes it.
    pub template: &'static str,
    /// As it is asked for.
    pub path: String,
    pub body: Option<Value>,
    pub needs: Needs,
}

impl Call {
    pub async fn by(&self, caller: &Caller) -> Answer {
        caller.send(self.method, &self.path, self.body.as_ref()).await
    }

    fn read(template: &'static str, path: &str, needs: Needs) -> Self {
        Self { method: "GET", template, path: path.to_string(), body: None, needs }
    }

    fn act(
        method: &'static str,
        template: &'static str,
        path: &str,
        body: impl Into<Option<Value>>,
        needs: Needs,
    ) -> Self {
        Self { method, template, path: path.to_string(), body: body.into(), needs }
    }
}

impl Call {
    /// Whether the operation answers so. The import is over: there is nothing to cancel and nothing to go on with.
    pub fn is_answer(&self, status: u16) -> bool {
        let of_import = self.template.starts_with("/api/v1/imports/{id}/") && self.method == "POST";
        (200..300).contains(&status) || (of_import && status == 400)
    }
}

/// What the calls name: kept until they are done.
pub struct Furniture {
    pub key_id: String,
    pub import_id: String,
    _running: QueryStream,
}

/// Makes what the calls name: the source `shop`, its topic and table, a revision, a user, a key, a running query.
pub async fn furnish(world: &World) -> Furniture {
    world.fill_shop().await;
    let ctx = system("main");
    let text = "kind: topic\nname: shop.orders\nspec: { retention: { age: 7d } }\n";
    let resources = &world.state.resources;
    resources.apply(&ctx, &resources.parse(text, None), &Default::default(), None, "first").await.unwrap();
    if !world.state.access.users(&ctx).await.unwrap().iter().any(|user| user.name == "ada") {
        world.add_user("main", "ada", Role::Admin).await;
    }
    world.add_user("main", "eve", Role::Viewer).await;
    let key = world.state.access.create_key(&ctx, "spare", Role::Viewer, None).await.unwrap();
    let options = QueryOptions { query_id: Some("lasting".to_string()), ..QueryOptions::default() };
    let running = world.state.engine.session(&ctx).execute("SELECT 1", options).await.unwrap();
    Furniture { key_id: key.id, import_id: imported(world).await, _running: running }
}

/// An import that is over, of `sale.csv` into `shop.sale`.
async fn imported(world: &World) -> String {
    let (imports, ctx) = (&world.state.imports, system("main"));
    std::fs::write(world.state.project.join("sale.csv"), "id,name\n1,tea\n2,pot\n").unwrap();
    let request = json!({ "path": "sale.csv", "into": "shop.sale", "mode": "replace" });
    let import = imports.start(&ctx, &request).await.unwrap();
    while imports.get(&ctx, &import.id).await.unwrap().state.is_active() {
        tokio::task::yield_now().await;
    }
    import.id
}

/// Every operation, those that delete last.
pub fn calls(furniture: &Furniture) -> Vec<Call> {
    let mut all = service_calls();
    all.extend(data_calls());
    all.extend(upkeep_calls());
    all.extend(import_calls(&furniture.import_id));
    all.extend(resource_calls());
    all.extend(access_calls(&furniture.key_id));
    all
}

fn service_calls() -> Vec<Call> {
    use Needs::{Nobody, Viewer};
    vec![
        Call::read("/healthz", "/healthz", Nobody),
        Call::read("/readyz", "/readyz", Nobody),
        Call::read("/metrics", "/metrics", Viewer),
        Call::read("/api/v1/overview", "/api/v1/overview", Viewer),
        Call::read("/api/v1/events", "/api/v1/events", Viewer),
        Call::read("/api/v1/session", "/api/v1/session", Nobody),
        Call::act(
            "POST",
            "/api/v1/session",
            "/api/v1/session",
            json!({ "user": "ada", "password": PASSWORD }),
            Nobody,
        ),
        Call::act("DELETE", "/api/v1/session", "/api/v1/session", None, Nobody),
    ]
}

fn data_calls() -> Vec<Call> {
    use Needs::{Editor, Viewer};
    let source = "/api/v1/ingest/shop";
    let table = "/api/v1/lakehouse/shop/orders";
    let check = json!({ "type": "http_push", "config": {} });
    vec![
        Call::read("/api/v1/ingest", "/api/v1/ingest", Viewer),
        Call::read("/api/v1/ingest/types", "/api/v1/ingest/types", Viewer),
        Call::act("POST", "/api/v1/ingest/check", "/api/v1/ingest/check", check, Editor),
        Call::read("/api/v1/ingest/{name}", source, Viewer),
        Call::read("/api/v1/ingest/{name}/dead-letters", &format!("{source}/dead-letters?limit=5"), Viewer),
        Call::act(
            "POST",
            "/api/v1/ingest/{name}/push",
            &format!("{source}/push"),
            json!([{ "id": 4 }]),
            Editor,
        ),
        Call::act("POST", "/api/v1/ingest/{name}/pause", &format!("{source}/pause"), None, Editor),
        Call::act("POST", "/api/v1/ingest/{name}/resume", &format!("{source}/resume"), None, Editor),
        Call::act("POST", "/api/v1/ingest/{name}/restart", &format!("{source}/restart"), None, Editor),
        Call::read("/api/v1/eventlog", "/api/v1/eventlog", Viewer),
        Call::read("/api/v1/eventlog/{name}", "/api/v1/eventlog/shop.orders", Viewer),
        Call::read(
            "/api/v1/eventlog/{name}/rows",
            "/api/v1/eventlog/shop.orders/rows?partition=0&offset=0&limit=2",
            Viewer,
        ),
        Call::read("/api/v1/lakehouse", "/api/v1/lakehouse", Viewer),
        Call::read("/api/v1/lakehouse/{namespace}/{table}", table, Viewer),
        Call::read("/api/v1/lakehouse/{namespace}/{table}/files", &format!("{table}/files?limit=1"), Viewer),
        Call::read(
            "/api/v1/lakehouse/{namespace}/{table}/preview",
            &format!("{table}/preview?limit=1"),
            Viewer,
        ),
        Call::act(
            "POST",
            "/api/v1/lakehouse/{namespace}/{table}/compact",
            &format!("{table}/compact"),
            None,
            Editor,
        ),
        Call::act(
            "POST",
            "/api/v1/lakehouse/{namespace}/{table}/flush",
            &format!("{table}/flush"),
            None,
            Editor,
        ),
        Call::act("POST", "/api/v1/query", "/api/v1/query", json!({ "sql": "SELECT 1" }), Viewer),
        Call::read("/api/v1/query", "/api/v1/query", Viewer),
        Call::read("/api/v1/query/completion", "/api/v1/query/completion", Viewer),
        Call::act("DELETE", "/api/v1/query/{query_id}", "/api/v1/query/lasting", None, Viewer),
    ]
}

fn upkeep_calls() -> Vec<Call> {
    use Needs::{Editor, Viewer};
    let (table, services) = ("/api/v1/lakehouse/shop/orders", "/api/v1/lakehouse/services");
    let (analyze, runs) = (format!("{table}/analyze"), format!("{table}/runs?limit=1"));
    vec![
        Call::act("POST", "/api/v1/lakehouse/{namespace}/{table}/analyze", &analyze, None, Editor),
        Call::read("/api/v1/lakehouse/{namespace}/{table}/runs", &runs, Viewer),
        Call::read("/api/v1/lakehouse/runs", "/api/v1/lakehouse/runs?limit=1", Viewer),
        Call::read(services, services, Viewer),
        Call::act("POST", services, services, json!({ "paused": false }), Editor),
    ]
}

fn import_calls(id: &str) -> Vec<Call> {
    use Needs::{Editor, Viewer};
    let (all, one) = ("/api/v1/imports", format!("/api/v1/imports/{id}"));
    let dry = json!({ "path": "sale.csv", "into": "shop.other", "dry_run": true });
    let compared = json!({ "path": "sale.csv", "into": "shop.sale", "mode": "append" });
    vec![
        Call::read(all, all, Viewer),
        Call::act("POST", all, all, dry, Editor),
        Call::act("POST", "/api/v1/imports/compare", "/api/v1/imports/compare", compared, Editor),
        Call::act(
            "POST",
            "/api/v1/imports/cutover",
            "/api/v1/imports/cutover",
            json!({ "into": "shop.sale" }),
            Editor,
        ),
        Call::act("POST", "/api/v1/imports/uploads", "/api/v1/imports/uploads?name=a.csv", json!({}), Editor),
        Call::read("/api/v1/imports/{id}", &one, Viewer),
        Call::read("/api/v1/imports/{id}/problems", &format!("{one}/problems?limit=1"), Viewer),
        Call::act("POST", "/api/v1/imports/{id}/cancel", &format!("{one}/cancel"), None, Editor),
        Call::act("POST", "/api/v1/imports/{id}/resume", &format!("{one}/resume"), None, Editor),
    ]
}

fn resource_calls() -> Vec<Call> {
    use Needs::{Editor, Viewer};
    let documents =
        json!({ "documents": "kind: topic\nname: shop.orders\nspec: {}\n", "message": "shorter" });
    vec![
        Call::read("/api/v1/resource", "/api/v1/resource", Viewer),
        Call::act("POST", "/api/v1/resource/plan", "/api/v1/resource/plan", documents.clone(), Viewer),
        Call::act("POST", "/api/v1/resource/apply", "/api/v1/resource/apply", documents, Editor),
        Call::act(
            "POST",
            "/api/v1/resource/rollback",
            "/api/v1/resource/rollback",
            json!({ "revision": 1 }),
            Editor,
        ),
        Call::read("/api/v1/resource/revisions", "/api/v1/resource/revisions?limit=1", Viewer),
        Call::read("/api/v1/resource/revisions/{revision}", "/api/v1/resource/revisions/1", Viewer),
        Call::read("/api/v1/resource/export", "/api/v1/resource/export", Viewer),
        Call::read("/api/v1/resource/schema/{kind}", "/api/v1/resource/schema/source", Viewer),
        Call::act("POST", "/api/v1/resource/write-back", "/api/v1/resource/write-back", None, Editor),
    ]
}

fn access_calls(key_id: &str) -> Vec<Call> {
    use Needs::Admin;
    let user = json!({ "name": "bo", "role": "viewer", "password": PASSWORD });
    let key = json!({ "name": "board", "role": "viewer", "expires_in": "90d" });
    let secret = "/api/v1/access/secrets/db";
    vec![
        Call::read("/api/v1/access/users", "/api/v1/access/users", Admin),
        Call::act("POST", "/api/v1/access/users", "/api/v1/access/users", user, Admin),
        Call::act("DELETE", "/api/v1/access/users/{name}", "/api/v1/access/users/eve", None, Admin),
        Call::read("/api/v1/access/keys", "/api/v1/access/keys", Admin),
        Call::act("POST", "/api/v1/access/keys", "/api/v1/access/keys", key, Admin),
        Call::act(
            "DELETE",
            "/api/v1/access/keys/{id}",
            &format!("/api/v1/access/keys/{key_id}"),
            None,
            Admin,
        ),
        Call::read("/api/v1/access/audit", "/api/v1/access/audit?limit=3", Admin),
        Call::read("/api/v1/access/secrets", "/api/v1/access/secrets", Admin),
        Call::act("PUT", "/api/v1/access/secrets/{name}", secret, json!({ "value": "hush" }), Admin),
        Call::act("DELETE", "/api/v1/access/secrets/{name}", secret, None, Admin),
    ]
}
