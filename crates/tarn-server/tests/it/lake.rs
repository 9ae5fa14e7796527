//! Tables of the lakehouse, and rows for them.

use std::time::Duration;

use serde_json::{Value, json};
use tarn_core::{HumanDuration, RequestContext, ResourceName};
use tarn_ingest::{Push, SourceInstance};
use tarn_lakehouse::{SinkConfig, SinkSpec};

use crate::world::World;

/// Columns of `orders`.
pub fn order_columns() -> Value {
    json!([
        { "name": "id", "type": "int64" },
        { "name": "item", "type": "string" },
        { "name": "amount", "type": "decimal(18,2)" },
        { "name": "paid", "type": "boolean" },
        { "name": "placed_at", "type": "timestamptz" },
    ])
}

/// Rows of `orders`.
pub fn orders() -> Value {
    json!([
        { "id": 1, "item": "tea", "amount": "2.50", "paid": true, "placed_at": "2024-05-01T10:00:00Z" },
        { "id": 2, "item": "a \"pot\", blue", "amount": "30", "paid": false, "placed_at": "2024-05-02T11:30:00.25Z" },
        { "id": 3, "item": null, "amount": "-0.01", "paid": null, "placed_at": null },
    ])
}

impl World {
    /// Makes the source `shop` with its topic `shop.orders` and its table `shop.orders` of three rows.
    pub async fn fill_shop(&self) {
        self.fill(&crate::world::system("main"), "shop", "orders", &orders()).await;
    }

    /// Makes a source that takes pushes, pushes `rows`, and lets a table follow until it holds them.
    pub async fn fill(&self, ctx: &RequestContext, source: &str, table: &str, rows: &Value) {
        let name = ResourceName::parse(source).unwrap();
        let instance = SourceInstance {
            name: name.clone(),
            source_type: "http_push".to_string(),
            config: json!({ "table": table, "key": ["id"], "schema": order_columns() }),
            into: None,
            paused: false,
            revision: 1,
        };
        self.state.ingest.apply(ctx, instance).unwrap();
        let push = Push { body: serde_json::to_vec(rows).unwrap().into(), ..Push::default() };
        let receipt = self.state.ingest.push(ctx, &name, push).await.unwrap();
        let count = rows.as_array().unwrap().len() as u64;
        assert_eq!((receipt.rows, receipt.dead_letters), (count, 0), "{:?}", receipt.reasons);
        let route = self.state.ingest.routes(ctx).into_iter().find(|route| route.source == name).unwrap();
        let spec = SinkSpec { topic: route.topic, table: route.lakehouse_table.clone() };
        let config = SinkConfig { freshness: HumanDuration(Duration::ZERO), ..SinkConfig::default() };
        self.state.lakehouse.attach(ctx, spec, config);
        let holds_all = async {
            loop {
                let listed = self.state.lakehouse.tables(ctx).await.unwrap();
                let held = listed.iter().find(|one| one.name == route.lakehouse_table.to_string());
                // In files, which is what most tests look at.
                if held.is_some_and(|held| held.rows == count && held.hot_rows == Some(0)) {
                    return;
                }
                // The clock of these servers stands still, the patience of the test does not.
                let flush = self.state.lakehouse.flush(ctx, &route.lakehouse_table, Duration::from_secs(60));
                drop(tokio::time::timeout(Duration::from_millis(20), flush).await);
            }
        };
        within("a table holds the rows of its topic", holds_all).await;
    }
}

/// Waits for what must happen; only a test that would hang fails by it.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("it does not happen that {what}"))
}
