//! What is written down while an import goes on.

use iceberg::TableUpdate;
use serde_json::json;
use tarn_core::files::{FileProblem, ListedFile};
use tarn_core::{RequestContext, TableName, chain_text};
use tarn_meta::Expected;

use super::state::{ImportProgress, Stored};
use super::{FILES_SPACE, Imports, PROBLEMS_SPACE, SPACE, mark_property};
use crate::error::LakehouseError;

impl Imports {
    pub(super) async fn all(&self, ctx: &RequestContext) -> Result<Vec<Stored>, LakehouseError> {
        let documents = self.meta.documents(ctx, SPACE, "").await?;
        Ok(documents.into_iter().filter_map(|document| serde_json::from_value(document.value).ok()).collect())
    }

    pub(super) async fn stored(&self, ctx: &RequestContext, id: &str) -> Result<Stored, LakehouseError> {
        let document = self.meta.document(ctx, SPACE, id).await?;
        let stored = document.and_then(|document| serde_json::from_value(document.value).ok());
        stored.ok_or_else(|| LakehouseError::ImportNotFound { id: id.to_string() })
    }

    pub(super) async fn put(&self, ctx: &RequestContext, stored: &Stored) -> Result<(), LakehouseError> {
        let value = serde_json::to_value(stored).map_err(|error| LakehouseError::Invalid {
            what: format!("an import cannot be kept: {error}"),
        })?;
        self.meta.put_document(ctx, SPACE, &stored.import.id, &value, Expected::Any).await?;
        Ok(())
    }

    pub(super) async fn listed(
        &self,
        ctx: &RequestContext,
        id: &str,
    ) -> Result<Vec<ListedFile>, LakehouseError> {
        let documents = self.meta.documents(ctx, FILES_SPACE, &format!("{id}/")).await?;
        let chunks = documents
            .into_iter()
            .filter_map(|document| serde_json::from_value::<Vec<ListedFile>>(document.value).ok());
        Ok(chunks.flatten().collect())
    }

    /// The table need not remember an import that is over.
    pub(super) async fn forget_mark(&self, ctx: &RequestContext, table: &TableName, id: &str) {
        let removals = vec![mark_property(id)];
        let update = TableUpdate::RemoveProperties { removals };
        let forgotten = self.lakehouse.catalog().commit_table(ctx, table, Vec::new(), vec![update]).await;
        if let Err(error) = forgotten {
            tracing::debug!(%table, error = chain_text(&error), "the mark of an import stays in the table");
        }
    }

    pub(super) fn show(&self, id: &str, progress: ImportProgress) {
        if let Some(active) = self.active.lock().get_mut(id) {
            active.progress = Some(progress);
        }
    }

    pub(super) async fn keep_progress(&self, ctx: &RequestContext, id: &str) -> Result<(), LakehouseError> {
        let mut stored = self.stored(ctx, id).await?;
        stored.import = self.live(stored.import);
        self.put(ctx, &stored).await
    }

    pub(super) async fn keep_problem(
        &self,
        ctx: &RequestContext,
        id: &str,
        file: usize,
        problem: &FileProblem,
    ) -> Result<(), LakehouseError> {
        let prefix = format!("{id}/");
        // The same record met again, after an interruption, is the same problem.
        let key = format!("{prefix}{file:06}-{:012}-{}", problem.line, problem.record.len());
        self.meta.put_document(ctx, PROBLEMS_SPACE, &key, &json!(problem), Expected::Any).await?;
        Ok(())
    }
}
