//! The port through which the engine sees tables.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::TableView;

use crate::QueryError;

/// A state of a table in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// As the snapshot with this id left it.
    Snapshot(i64),
    /// As it was at this time, in milliseconds since 1970-01-01 UTC: the last snapshot committed by then.
    TimestampMs(i64),
}

/// Finds tables. Every call names the caller, so that an implementation shows only what the tenant owns.
#[async_trait]
pub trait Tables: Send + Sync + Debug {
    /// Names of all namespaces, sorted.
    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, QueryError>;

    /// Tables of a namespace, sorted; empty where the namespace does not exist.
    async fn tables(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError>;

    /// The newest state of a table, rows not yet flushed included; `None` where there is no such table.
    async fn view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableView>>, QueryError>;

    /// A past state of a table, without unflushed rows; `None` where there is no such table. Errors: `Plan` where the
    /// table has no such snapshot or none that old.
    async fn view_at(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        as_of: AsOf,
    ) -> Result<Option<Arc<TableView>>, QueryError>;
}
