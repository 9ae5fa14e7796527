//! Catalogs, schemas, tables, keys and what the server can do.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, SqlInfo, SqlSupportedTransaction,
};
use tarn_core::{RequestContext, TableName};
use tonic::Status;

use super::FlightSql;
use super::caller::{of_arrow, of_query};

/// Name of the only catalog.
pub(super) const CATALOG: &str = "tarn";
/// Kind of a table.
pub(super) const TABLE_TYPE: &str = "TABLE";
/// Kind of a view.
pub(super) const VIEW_TYPE: &str = "VIEW";

/// What the server can do.
pub(super) fn sql_info(version: &str) -> Result<SqlInfoData, arrow_flight::error::FlightError> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Tarn");
    info.append(SqlInfo::FlightSqlServerVersion, version);
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.build()
}

/// Columns of the answer about primary keys.
pub(super) fn primary_keys_schema() -> SchemaRef {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

impl FlightSql {
    pub(super) async fn schemas(
        &self,
        ctx: &RequestContext,
        query: CommandGetDbSchemas,
    ) -> Result<RecordBatch, Status> {
        let mut builder = query.into_builder();
        for namespace in self.namespaces(ctx).await? {
            builder.append(CATALOG, namespace);
        }
        builder.build().map_err(of_arrow)
    }

    pub(super) async fn tables(
        &self,
        ctx: &RequestContext,
        query: CommandGetTables,
    ) -> Result<RecordBatch, Status> {
        let include_schema = query.include_schema;
        let mut builder = query.into_builder();
        let tables = &self.app.state.tables;
        for namespace in self.namespaces(ctx).await? {
            for name in tables.tables(ctx, &namespace).await.map_err(|error| of_query(&error))? {
                let schema = match include_schema {
                    true => match tables.view(ctx, &name).await.map_err(|error| of_query(&error))? {
                        Some(view) => Arc::clone(&view.schema),
                        // Dropped since it was listed.
                        None => continue,
                    },
                    false => Arc::new(Schema::empty()),
                };
                builder.append(CATALOG, &namespace, name.name(), TABLE_TYPE, &schema).map_err(of_arrow)?;
            }
            for name in tables.views(ctx, &namespace).await.map_err(|error| of_query(&error))? {
                let schema = match include_schema {
                    true => match tables.sql_view(ctx, &name).await.map_err(|error| of_query(&error))? {
                        Some(view) => view.columns,
                        None => continue,
                    },
                    false => Arc::new(Schema::empty()),
                };
                builder.append(CATALOG, &namespace, name.name(), VIEW_TYPE, &schema).map_err(of_arrow)?;
            }
        }
        builder.build().map_err(of_arrow)
    }

    pub(super) async fn primary_keys(
        &self,
        ctx: &RequestContext,
        query: CommandGetPrimaryKeys,
    ) -> Result<RecordBatch, Status> {
        let namespaces = match query.db_schema {
            Some(namespace) => vec![namespace],
            None => self.namespaces(ctx).await?,
        };
        let mut rows: Vec<(String, String, i32)> = Vec::new();
        for namespace in namespaces {
            let Ok(name) = TableName::new(&namespace, &query.table) else { continue };
            let view = self.app.state.tables.view(ctx, &name).await.map_err(|error| of_query(&error))?;
            let key = view.map(|view| view.key()).unwrap_or_default();
            rows.extend(key.into_iter().zip(1..).map(|(column, place)| (namespace.clone(), column, place)));
        }
        key_batch(&query.table, &rows).map_err(of_arrow)
    }

    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, Status> {
        self.app.state.tables.namespaces(ctx).await.map_err(|error| of_query(&error))
    }
}

fn key_batch(table: &str, rows: &[(String, String, i32)]) -> Result<RecordBatch, ArrowError> {
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows.len()])) };
    let columns: Vec<ArrayRef> = vec![
        same(CATALOG),
        Arc::new(rows.iter().map(|(namespace, _, _)| Some(namespace)).collect::<StringArray>()),
        same(table),
        Arc::new(rows.iter().map(|(_, column, _)| Some(column)).collect::<StringArray>()),
        same("key"),
        Arc::new(rows.iter().map(|(_, _, place)| Some(*place)).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(primary_keys_schema(), columns)
}
