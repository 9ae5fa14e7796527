//! A client of the Iceberg REST catalog that shows what it is told as it is told.

use serde_json::{Value, json};

use crate::answer::{Answer, Caller};
use crate::world::World;

/// Speaks the protocol as one caller.
#[derive(Clone, Debug)]
pub struct Catalog(pub Caller);

pub fn table_request(name: &str) -> Value {
    json!({
        "name": name,
        "schema": {
            "type": "struct",
            "schema-id": 0,
            "fields": [
                { "id": 1, "name": "id", "required": true, "type": "long" },
                { "id": 2, "name": "note", "required": false, "type": "string" },
            ],
        },
    })
}

/// An update that sets one property.
pub fn set(key: &str, value: &str) -> Value {
    json!({ "action": "set-properties", "updates": { key: value } })
}

/// A change of `mart.<table>`.
pub fn change(table: &str, requirements: Vec<Value>, updates: Vec<Value>) -> Value {
    json!({
        "identifier": { "namespace": ["mart"], "name": table },
        "requirements": requirements,
        "updates": updates,
    })
}

/// A requirement that no table of these tests meets.
pub fn stale() -> Value {
    json!({ "type": "assert-current-schema-id", "current-schema-id": 7 })
}

impl Catalog {
    pub async fn get(&self, path: &str) -> Answer {
        self.0.get(&format!("/iceberg/v1/{path}")).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.0.post(&format!("/iceberg/v1/{path}"), body).await
    }

    pub async fn send(&self, method: &str, path: &str) -> Answer {
        self.0.send(method, &format!("/iceberg/v1/{path}"), None).await
    }

    /// Makes the view `mart.<name>`.
    pub async fn create_view(&self, name: &str) {
        let fields = json!([{ "id": 1, "name": "x", "required": false, "type": "int" }]);
        let version = json!({
            "version-id": 1, "timestamp-ms": 1_700_000_000_000_i64, "schema-id": 0, "summary": {},
            "representations": [{ "type": "sql", "sql": "SELECT 1 AS x", "dialect": "spark" }],
            "default-namespace": ["mart"],
        });
        let schema = json!({ "type": "struct", "schema-id": 0, "fields": fields });
        let view = json!({ "name": name, "schema": schema, "view-version": version, "properties": {} });
        self.post("namespaces/mart/views", &view).await.ok();
    }

    pub async fn create_namespace(&self, name: &str) {
        self.post("namespaces", &json!({ "namespace": [name] })).await.ok();
    }

    pub async fn create_table(&self, name: &str) -> Value {
        self.post("namespaces/mart/tables", &table_request(name)).await.ok()
    }

    pub async fn load(&self, name: &str) -> Value {
        self.get(&format!("namespaces/mart/tables/{name}")).await.ok()
    }

    /// Where the current metadata of a table lies: it moves with each commit and with nothing else.
    pub async fn location(&self, name: &str) -> String {
        self.load(name).await["metadata-location"].as_str().unwrap().to_string()
    }

    pub async fn property(&self, name: &str, key: &str) -> Option<String> {
        self.load(name).await["metadata"]["properties"][key].as_str().map(str::to_string)
    }
}

/// A catalog with the namespace `mart` and the tables `mart.a` and `mart.b`.
pub async fn mart() -> (World, Catalog) {
    let world = World::start().await;
    let catalog = Catalog(world.caller());
    catalog.create_namespace("mart").await;
    for table in ["a", "b"] {
        catalog.create_table(table).await;
    }
    (world, catalog)
}
