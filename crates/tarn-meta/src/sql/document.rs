//! Documents in SQL.

use async_trait::async_trait;
use serde_json::Value;
use tarn_core::RequestContext;

use super::{Row, SqlStore, Tx};
use crate::document::{Document, DocumentStore, Expected};
use crate::error::MetaError;

fn document_of(row: &Row) -> Result<Document, MetaError> {
    let key = row.text(0)?;
    let value = row.json(1, &format!("document `{key}`"))?;
    Ok(Document { key, value, version: row.count(2)?, updated_ms: row.int(3)? })
}

async fn require(
    tx: &mut Tx,
    ctx: &RequestContext,
    space: &str,
    key: &str,
    expected: Expected,
) -> Result<(), MetaError> {
    if expected == Expected::Any {
        return Ok(());
    }
    let found = tx
        .row(
            "SELECT version FROM documents WHERE tenant = $1 AND space = $2 AND key = $3",
            &[ctx.tenant.as_str().into(), space.into(), key.into()],
        )
        .await?
        .map(|row| row.count(0))
        .transpose()?;
    let holds = match expected {
        Expected::Any => true,
        Expected::Absent => found.is_none(),
        Expected::Version(version) => found == Some(version),
    };
    if holds { Ok(()) } else { Err(MetaError::DocumentConflict { space: space.into(), key: key.into() }) }
}

/// Writes a document as the newest version of its space. Returns the version.
pub(super) async fn write_document(
    tx: &mut Tx,
    ctx: &RequestContext,
    space: &str,
    key: &str,
    value: &Value,
) -> Result<u64, MetaError> {
    let tenant = ctx.tenant.as_str();
    let row = tx
        .row(
            "INSERT INTO document_versions (tenant, space, last) VALUES ($1, $2, 1) \
             ON CONFLICT (tenant, space) DO UPDATE SET last = document_versions.last + 1 RETURNING last",
            &[tenant.into(), space.into()],
        )
        .await?;
    let version = row.map_or(Ok(1), |row| row.count(0))?;
    let now_ms = tx.now_ms();
    tx.execute(
        "INSERT INTO documents (tenant, space, key, value, version, updated_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant, space, key) DO UPDATE \
         SET value = excluded.value, version = excluded.version, updated_ms = excluded.updated_ms",
        &[tenant.into(), space.into(), key.into(), value.to_string().into(), version.into(), now_ms.into()],
    )
    .await?;
    Ok(version)
}

#[async_trait]
impl DocumentStore for SqlStore {
    async fn document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
    ) -> Result<Option<Document>, MetaError> {
        let row = self
            .row(
                ctx,
                "SELECT key, value, version, updated_ms FROM documents WHERE tenant = $1 AND space = $2 AND key = $3",
                &[ctx.tenant.as_str().into(), space.into(), key.into()],
            )
            .await?;
        row.as_ref().map(document_of).transpose()
    }

    async fn documents(
        &self,
        ctx: &RequestContext,
        space: &str,
        prefix: &str,
    ) -> Result<Vec<Document>, MetaError> {
        let rows = self
            .rows(
                ctx,
                "SELECT key, value, version, updated_ms FROM documents \
                 WHERE tenant = $1 AND space = $2 AND substr(key, 1, length($3)) = $3",
                &[ctx.tenant.as_str().into(), space.into(), prefix.into()],
            )
            .await?;
        let mut documents = rows.iter().map(document_of).collect::<Result<Vec<_>, _>>()?;
        // The order of a database depends on its locale.
        documents.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(documents)
    }

    async fn count_documents(&self, ctx: &RequestContext, space: &str) -> Result<u64, MetaError> {
        let row = self
            .row(
                ctx,
                "SELECT COUNT(*) FROM documents WHERE tenant = $1 AND space = $2",
                &[ctx.tenant.as_str().into(), space.into()],
            )
            .await?;
        row.map_or(Ok(0), |row| row.count(0))
    }

    async fn put_document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
        value: &Value,
        expected: Expected,
    ) -> Result<u64, MetaError> {
        let mut tx = self.write(ctx).await?;
        require(&mut tx, ctx, space, key, expected).await?;
        let version = write_document(&mut tx, ctx, space, key, value).await?;
        tx.commit().await?;
        Ok(version)
    }

    async fn delete_document(
        &self,
        ctx: &RequestContext,
        space: &str,
        key: &str,
        expected: Expected,
    ) -> Result<bool, MetaError> {
        let mut tx = self.write(ctx).await?;
        require(&mut tx, ctx, space, key, expected).await?;
        let removed = tx
            .execute(
                "DELETE FROM documents WHERE tenant = $1 AND space = $2 AND key = $3",
                &[ctx.tenant.as_str().into(), space.into(), key.into()],
            )
            .await?;
        tx.commit().await?;
        Ok(removed > 0)
    }
}
