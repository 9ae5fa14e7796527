//! `SET NOT NULL`: a column is never null from now on, if no row has a null there.

use arrow::array::Array;
use futures::TryStreamExt;
use iceberg::TableRequirement;
use iceberg::spec::MAIN_BRANCH;
use tarn_core::{RequestContext, TableName};

use super::TableAlteration;
use crate::catalog::LoadedTable;
use crate::error::LakehouseError;
use crate::lakehouse::Lakehouse;
use crate::layout::Layout;
use crate::sink::{conform, read_rows};
use crate::types::arrow_schema;

impl Lakehouse {
    /// Looks whether columns that shall never be null have no null. Returns what must hold at the commit, so that none comes
    /// meanwhile. Errors: `Invalid`, there is one, or a topic may bring one.
    pub(crate) async fn check_required(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        table: &LoadedTable,
        changes: &[TableAlteration],
    ) -> Result<Option<TableRequirement>, LakehouseError> {
        let refuse = |what: String| LakehouseError::Invalid {
            what: format!("table `{name}` cannot be changed: {what}"),
        };
        let mut requirement = None;
        for change in changes {
            let TableAlteration::SetNotNull { name: column } = change else { continue };
            if let Some((topic, _)) = self.sink(ctx, name) {
                return Err(refuse(format!(
                    "rows of topic `{topic}` may have no value for `{column}`; only its key is never null"
                )));
            }
            if self.column_has_nulls(name, table, column).await? {
                return Err(refuse(format!(
                    "some rows have no value for `{column}`; find them by `SELECT * FROM {name} WHERE {column} IS NULL`"
                )));
            }
            let snapshot_id = table.metadata.current_snapshot_id();
            requirement =
                Some(TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.into(), snapshot_id });
        }
        Ok(requirement)
    }

    async fn column_has_nulls(
        &self,
        name: &TableName,
        table: &LoadedTable,
        column: &str,
    ) -> Result<bool, LakehouseError> {
        let (metadata, text) = (&table.metadata, name.to_string());
        let schema = arrow_schema(&text, metadata.current_schema())?;
        let (Some(id), Ok(at)) =
            (metadata.current_schema().field_id_by_name(column), schema.index_of(column))
        else {
            // The change itself says that there is no such column.
            return Ok(false);
        };
        let location = table.metadata_location.clone().unwrap_or_default();
        let view = self.loader().load(name, std::sync::Arc::clone(metadata), &location, None).await?;
        let layout = Layout::of(&view);
        for file in view.files.iter() {
            if file.file.null_value_counts().get(&id) == Some(&0) {
                continue;
            }
            let mut row = 0_u64;
            let of = (file.file.as_ref(), &layout);
            let mut rows = read_rows(self.catalog().warehouse(), &schema, &[at], of, None).await?;
            let damaged = |source| LakehouseError::Parquet { path: file.file.file_path().into(), source };
            while let Some(batch) = rows.try_next().await.map_err(damaged)? {
                let batch = conform(&text, &schema, &[at], &batch)?;
                let values = batch.column(0);
                for value in 0..batch.num_rows() {
                    let is_gone = file.deletes.as_ref().is_some_and(|deletes| deletes.contains(row));
                    if !is_gone && values.is_null(value) {
                        return Ok(true);
                    }
                    row += 1;
                }
            }
        }
        Ok(false)
    }
}
