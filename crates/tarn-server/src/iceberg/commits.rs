//! Commits: of one table, and of several tables at once.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tarn_lakehouse::TableCommit;

use super::TablePath;
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, Writer};
use super::names::{TableIdentifier, table_to_make};
use super::tables::{entity_tag, metadata_json};
use crate::http::App;

const TABLES_MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct CommitRequest {
    identifier: Option<TableIdentifier>,
    #[serde(default)]
    requirements: Vec<TableRequirement>,
    #[serde(default)]
    updates: Vec<TableUpdate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TransactionRequest {
    table_changes: Vec<CommitRequest>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CommitResult {
    metadata_location: Option<String>,
    metadata: Value,
}

/// One table. With the requirement `assert-create` the commit makes a staged table, so the name must be one that can
/// be made; for a table that is there it always is.
pub(super) async fn commit(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergPath(path): IcebergPath<TablePath>,
    IcebergJson(body): IcebergJson<CommitRequest>,
) -> Result<Response, IcebergError> {
    let name = table_to_make(&path.namespace, &path.table)?;
    if let Some(identifier) = &body.identifier
        && identifier.to_make()? != name
    {
        let other = identifier.to_make()?;
        return Err(IcebergError::bad_request(format!(
            "the path names `{name}`, but the body names `{other}`"
        )));
    }
    let target = format!("table/{name}");
    let commit = TableCommit { name, requirements: body.requirements, updates: body.updates };
    let loaded = app.catalog().commit(&ctx, vec![commit]).await.map_err(IcebergError::of_commit)?;
    app.audit(&ctx, "table.commit", &target).await;
    let table = loaded.first().ok_or_else(|| IcebergError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        kind: "CommitStateUnknownException",
        message: "the catalog gave no table back; load it to see whether the commit took place".to_string(),
    })?;
    let body = CommitResult {
        metadata_location: table.metadata_location.clone(),
        metadata: metadata_json(table, false)?,
    };
    Ok(([(header::ETAG, entity_tag(table, false))], Json(body)).into_response())
}

/// Several tables, all or none.
pub(super) async fn transaction(
    State(app): State<App>,
    Writer(ctx): Writer,
    IcebergJson(body): IcebergJson<TransactionRequest>,
) -> Result<StatusCode, IcebergError> {
    if body.table_changes.len() > TABLES_MAX {
        return Err(IcebergError::bad_request(format!("a transaction holds at most {TABLES_MAX} tables")));
    }
    let mut commits: Vec<TableCommit> = Vec::with_capacity(body.table_changes.len());
    for change in body.table_changes {
        let identifier = change.identifier.ok_or_else(|| {
            IcebergError::bad_request("each table change of a transaction needs an `identifier`")
        })?;
        let name = identifier.to_make()?;
        if commits.iter().any(|other| other.name == name) {
            return Err(IcebergError::bad_request(format!(
                "table `{name}` is changed twice in one transaction"
            )));
        }
        commits.push(TableCommit { name, requirements: change.requirements, updates: change.updates });
    }
    if !commits.is_empty() {
        let targets: Vec<String> = commits.iter().map(|commit| format!("table/{}", commit.name)).collect();
        app.catalog().commit(&ctx, commits).await.map_err(IcebergError::of_commit)?;
        for target in targets {
            app.audit(&ctx, "table.commit", &target).await;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
