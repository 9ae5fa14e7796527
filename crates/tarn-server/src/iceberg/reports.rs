//! Scan and commit reports of clients: what their scans read and skipped, what their commits added. The last ones of each
//! table are kept and can be looked at.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tarn_core::{FaultReport, RequestContext, TableName};
use tarn_meta::{Expected, MetaError};

use super::TablePath;
use super::error::IcebergError;
use super::extract::{IcebergJson, IcebergPath, Reader};
use super::names::table_to_read;
use crate::http::App;

const SPACE: &str = "iceberg_reports";
/// Reports kept per table.
const REPORTS_MAX: usize = 50;
const REPORT_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize)]
pub(super) struct Reports {
    /// Newest first.
    reports: Vec<Report>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    /// Milliseconds since 1970 UTC.
    received_ms: i64,
    report: Value,
}

fn prefix(name: &TableName) -> String {
    format!("{name}/")
}

fn fault(error: &MetaError) -> IcebergError {
    IcebergError::of(&FaultReport::of(error))
}

async fn checked(app: &App, ctx: &RequestContext, path: &TablePath) -> Result<TableName, IcebergError> {
    let name = table_to_read(&path.namespace, &path.table)?;
    match app.catalog().pointer(ctx, &name).await? {
        Some(_) => Ok(name),
        None => Err(IcebergError::no_table(&name.to_string())),
    }
}

/// Takes a report. Whoever may read the table may tell what the reading did.
pub(super) async fn take(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
    IcebergJson(report): IcebergJson<Map<String, Value>>,
) -> Result<StatusCode, IcebergError> {
    if !report.get("report-type").is_some_and(Value::is_string) {
        return Err(IcebergError::bad_request("a report needs its `report-type`"));
    }
    let name = checked(&app, &ctx, &path).await?;
    let report = Value::Object(report);
    if report.to_string().len() > REPORT_BYTES_MAX {
        return Err(IcebergError::too_large(format!("a report has at most {REPORT_BYTES_MAX} bytes")));
    }
    let store = app.catalog().documents();
    let key = format!("{}{:015}-{}", prefix(&name), app.env.clock.now_ms(), app.env.entropy.uuid());
    let put = store.put_document(&ctx, SPACE, &key, &report, Expected::Any).await;
    put.map_err(|error| fault(&error))?;
    let kept = store.documents(&ctx, SPACE, &prefix(&name)).await.map_err(|error| fault(&error))?;
    for old in kept.iter().take(kept.len().saturating_sub(REPORTS_MAX)) {
        store.delete_document(&ctx, SPACE, &old.key, Expected::Any).await.map_err(|error| fault(&error))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The last reports about a table. The specification has no reading of them; this is ours.
pub(super) async fn list(
    State(app): State<App>,
    Reader(ctx): Reader,
    IcebergPath(path): IcebergPath<TablePath>,
) -> Result<Json<Reports>, IcebergError> {
    let name = checked(&app, &ctx, &path).await?;
    let kept = app.catalog().documents().documents(&ctx, SPACE, &prefix(&name)).await;
    let kept = kept.map_err(|error| fault(&error))?;
    let newest_first = kept.into_iter().rev();
    let reports = newest_first.map(|one| Report { received_ms: one.updated_ms, report: one.value }).collect();
    Ok(Json(Reports { reports }))
}
