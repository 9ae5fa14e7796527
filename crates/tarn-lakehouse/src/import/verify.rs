//! Compares what was read with what came to the table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use tarn_core::{RequestContext, TableName};

use super::state::{ColumnSums, ImportReport};
use super::sums::{Summer, Sums, shown};
use super::{Imports, SUMMARY};
use crate::error::LakehouseError;
use crate::layout::Layout;
use crate::sink::{conform, read_rows};
use crate::types::arrow_schema;
use crate::view::{DataFileView, TableView};

/// Adds the live rows of a file up.
pub(super) async fn add_file(
    imports: &Imports,
    (table, schema): (&str, &SchemaRef),
    (file, layout): (&DataFileView, &Layout),
    summer: &mut Summer,
    (sums, gone): (&mut Sums, bool),
) -> Result<(), LakehouseError> {
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let warehouse = imports.lakehouse.catalog().warehouse();
    let mut rows = read_rows(warehouse, schema, &columns, (&file.file, layout), None).await?;
    let damaged = |source| LakehouseError::Parquet { path: file.file.file_path().into(), source };
    let arrow = |source| LakehouseError::Arrow { table: table.to_string(), source };
    let mut row = 0_u64;
    while let Some(batch) = rows.try_next().await.map_err(damaged)? {
        let mut batch: RecordBatch = conform(table, schema, &columns, &batch)?;
        let count = batch.num_rows() as u64;
        if let Some(deletes) = &file.deletes {
            let live: BooleanArray = (row..row + count).map(|row| Some(!deletes.contains(row))).collect();
            batch = filter_record_batch(&batch, &live).map_err(arrow)?;
        }
        row += count;
        summer.add(sums, &batch, gone).map_err(arrow)?;
    }
    Ok(())
}

/// Files that only one of two states has, or of which other rows are left.
fn only_in<'a>(one: &'a TableView, other: &TableView) -> Vec<&'a DataFileView> {
    let known: HashMap<&str, &DataFileView> =
        other.files.iter().map(|file| (file.file.file_path(), file)).collect();
    let same = |file: &DataFileView| {
        known.get(file.file.file_path()).is_some_and(|other| match (&file.deletes, &other.deletes) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        })
    };
    one.files.iter().filter(|file| !same(file)).collect()
}

/// What stands in the way of comparing.
fn obstacle(before: Option<&TableView>, after: &TableView, id: &str) -> Option<String> {
    let metadata = &after.metadata;
    if !after.equality_deletes.is_empty() || before.is_some_and(|view| !view.equality_deletes.is_empty()) {
        return Some("another engine deletes rows by value, which is not compared".to_string());
    }
    let start = before.and_then(|view| view.snapshot_id);
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next.filter(|snapshot| Some(snapshot.snapshot_id()) != start) {
        let summary = snapshot.summary();
        let is_own = summary.additional_properties.get(SUMMARY).is_some_and(|own| own == id);
        if !is_own && summary.operation != iceberg::spec::Operation::Replace {
            return Some(format!(
                "another writer changed the table meanwhile (snapshot {})",
                snapshot.snapshot_id()
            ));
        }
        next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    None
}

impl Imports {
    /// Compares sums of what was read with what the table got since `snapshot_before`; `replaced`: it got all its rows.
    pub(super) async fn verify(
        &self,
        ctx: &RequestContext,
        (table, id): (&TableName, &str),
        (snapshot_before, replaced): (Option<i64>, bool),
        read: &Sums,
        problems: u64,
    ) -> Result<ImportReport, LakehouseError> {
        let name = table.to_string();
        let loaded = self.lakehouse.catalog().load_table(ctx, table).await?;
        let location = loaded.metadata_location.unwrap_or_default();
        let after = self.lakehouse.loader().load(table, loaded.metadata, &location, None).await?;
        let schema = arrow_schema(&name, after.metadata.current_schema())?;
        let mut report = ImportReport {
            rows_read: read.rows,
            problems,
            snapshot_id: after.snapshot_id.map(|id| id.to_string()),
            hash_read: shown(read.all),
            ..ImportReport::default()
        };
        let before = match snapshot_before {
            Some(id) => match self.lakehouse.view_at_snapshot(ctx, table, id).await {
                Ok(view) => Some(view),
                Err(LakehouseError::SnapshotNotFound { .. }) => {
                    report.detail = "not compared: the state before the import has expired".to_string();
                    return Ok(report);
                }
                Err(error) => return Err(error),
            },
            None => None,
        };
        if let Some(what) = obstacle(before.as_deref(), &after, id) {
            report.detail = format!("not compared: {what}");
            return Ok(report);
        }
        let arrow = |source| LakehouseError::Arrow { table: name.clone(), source };
        let Some(mut summer) = Summer::new(&schema).map_err(arrow)? else {
            let before = before.filter(|_| !replaced);
            report.rows_added = after.live_rows() - before.as_ref().map_or(0, |view| view.live_rows());
            report.verified = Some(report.rows_added == read.rows);
            report.detail = format!(
                "{} rows read, {} rows in the table; a column has a type of which only counts are compared",
                read.rows, report.rows_added
            );
            return Ok(report);
        };
        let mut sums = Sums { columns: vec![0; schema.fields().len()], ..Sums::default() };
        let before = before.filter(|_| !replaced);
        let added = match &before {
            Some(before) => only_in(&after, before),
            None => after.files.iter().collect(),
        };
        let layout = Layout::of(&after);
        for file in added {
            add_file(self, (&name, &schema), (file, &layout), &mut summer, (&mut sums, false)).await?;
        }
        let layout = before.as_deref().map(Layout::of).unwrap_or_default();
        for file in before.iter().flat_map(|before| only_in(before, &after)) {
            add_file(self, (&name, &schema), (file, &layout), &mut summer, (&mut sums, true)).await?;
        }
        fill(&mut report, read, &sums, &schema);
        Ok(report)
    }
}

/// Tells what is equal.
pub(super) fn fill(report: &mut ImportReport, read: &Sums, table: &Sums, schema: &SchemaRef) {
    let mut read = read.clone();
    read.columns.resize(table.columns.len(), 0);
    report.rows_added = table.rows;
    report.hash_table = shown(table.all);
    let sums = schema.fields().iter().zip(read.columns.iter().zip(&table.columns));
    report.columns = sums
        .map(|(field, (read, table))| ColumnSums {
            name: field.name().clone(),
            hash_read: shown(*read),
            hash_table: shown(*table),
            equal: read == table,
        })
        .collect();
    report.verified = Some(read == *table);
    let differ: Vec<&str> =
        report.columns.iter().filter(|column| !column.equal).map(|column| column.name.as_str()).collect();
    report.detail = match (read.rows == table.rows, differ.is_empty()) {
        _ if read == *table => {
            format!("{} rows read, {} rows in the table, hashes equal", read.rows, table.rows)
        }
        (false, _) => format!("{} rows read, but {} rows in the table", read.rows, table.rows),
        (true, true) => "the values are equal, but rows are put together differently".to_string(),
        (true, false) => format!("the values of {} differ", differ.join(", ")),
    };
}
