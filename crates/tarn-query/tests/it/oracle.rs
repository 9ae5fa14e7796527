//! The same SQL over the same rows in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use tarn_query::{QueryStats, Session};

use crate::lake::run;

/// Tables of rows in memory, under the names the lake uses.
pub struct Oracle(SessionContext);

impl Oracle {
    pub fn new() -> Self {
        let config =
            SessionConfig::new().with_default_catalog_and_schema("tarn", "main").with_target_partitions(1);
        Self(SessionContext::new_with_config(config))
    }

    pub fn with(self, name: &str, batches: &[RecordBatch]) -> Self {
        let (namespace, table) = name.split_once('.').unwrap();
        let catalog = self.0.catalog("tarn").unwrap();
        if catalog.schema(namespace).is_none() {
            let schema = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
            catalog.register_schema(namespace, schema).unwrap();
        }
        let plain: Vec<RecordBatch> = batches.iter().map(without_metadata).collect();
        let rows = MemTable::try_new(plain[0].schema(), vec![plain]).unwrap();
        catalog.schema(namespace).unwrap().register_table(table.into(), Arc::new(rows)).unwrap();
        self
    }

    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let frame = self.0.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows_of(&frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}")))
    }
}

fn without_metadata(batch: &RecordBatch) -> RecordBatch {
    let strip =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_metadata(HashMap::new()).with_nullable(true));
    let schema = Schema::new(batch.schema().fields().iter().map(strip).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap()
}

/// Rows as text, sorted.
pub fn rows_of(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(
                columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | "),
            );
        }
    }
    rows.sort();
    rows
}

/// Runs `sql` on both and compares the rows, whatever their order.
pub async fn agree(session: &Session, oracle: &Oracle, sql: &str) -> QueryStats {
    let (batches, stats) = run(session, sql).await;
    assert_eq!(rows_of(&batches), oracle.rows(sql).await, "{sql}");
    stats
}
