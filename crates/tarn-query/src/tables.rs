//! The port through which the engine sees tables.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::{Lakehouse, LakehouseError, TableView};

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

/// The port over a lakehouse.
#[derive(Debug)]
pub struct LakeTables {
    lakehouse: Arc<Lakehouse>,
}

impl LakeTables {
    /// Over a lakehouse.
    pub fn new(lakehouse: Arc<Lakehouse>) -> Self {
        Self { lakehouse }
    }
}

fn found(result: Result<Arc<TableView>, LakehouseError>) -> Result<Option<Arc<TableView>>, QueryError> {
    match result {
        Ok(view) => Ok(Some(view)),
        Err(LakehouseError::TableNotFound { .. }) => Ok(None),
        Err(error @ LakehouseError::SnapshotNotFound { .. }) => Err(QueryError::Plan {
            message: error.to_string(),
            position: None,
            hint: Some("the table's page lists the snapshots that are kept".into()),
        }),
        Err(error) => Err(QueryError::from_fault(&error)),
    }
}

#[async_trait]
impl Tables for LakeTables {
    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, QueryError> {
        self.lakehouse.catalog().list_namespaces(ctx).await.map_err(|error| QueryError::from_fault(&error))
    }

    async fn tables(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError> {
        match self.lakehouse.catalog().list_tables(ctx, namespace).await {
            Err(LakehouseError::NamespaceNotFound { .. }) => Ok(Vec::new()),
            listed => listed.map_err(|error| QueryError::from_fault(&error)),
        }
    }

    async fn view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableView>>, QueryError> {
        found(self.lakehouse.view(ctx, name).await)
    }

    async fn view_at(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        as_of: AsOf,
    ) -> Result<Option<Arc<TableView>>, QueryError> {
        found(match as_of {
            AsOf::Snapshot(id) => self.lakehouse.view_at_snapshot(ctx, name, id).await,
            AsOf::TimestampMs(ms) => self.lakehouse.view_at_time(ctx, name, ms).await,
        })
    }
}
