//! Where a change begins.

use std::sync::Arc;

use tarn_core::{RequestContext, TableName};

use crate::error::LakehouseError;
use crate::sink::{Base, Committer, KeyHasher, RunFolder};
use crate::types::{arrow_schema, key_of};

/// A table at its newest commit.
pub(crate) async fn base_of(
    committer: &Committer,
    ctx: &RequestContext,
    name: &TableName,
) -> Result<Base, LakehouseError> {
    let table = committer.catalog.load_table(ctx, name).await?;
    let location = table.metadata_location.unwrap_or_default();
    let metadata = committer.metadata_of(name, table.metadata)?;
    let text = name.to_string();
    let view = committer.loader.load(name, Arc::clone(&metadata), &location, None).await?;
    let delete_files = committer.loader.position_delete_files(&text, &metadata).await?;
    let key = key_of(&metadata);
    let schema = arrow_schema(&text, metadata.current_schema())?;
    let hasher = match key.is_empty() {
        true => None,
        false => Some(Arc::new(KeyHasher::new(&text, &schema, &key)?)),
    };
    let runs = RunFolder::default();
    Ok(Base { name: name.clone(), view: Arc::new(view), delete_files, hasher, runs })
}
