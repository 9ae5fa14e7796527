//! Commits of one or more tables, all or none.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

use iceberg::spec::{TableMetadata, TableMetadataBuilder, UnboundPartitionSpec};
use iceberg::{MetadataLocation, TableRequirement, TableUpdate};
use tarn_core::{Fault, FaultKind, RequestContext, TableName};
use tarn_meta::{PointerInsert, PointerSwap, RelationKind};

use super::{ATTEMPTS_MAX, Catalog, LoadedTable};
use crate::error::LakehouseError;

/// What a commit asks of one table and does to it.
#[derive(Clone, Debug)]
pub struct TableCommit {
    /// The table.
    pub name: TableName,
    /// What must hold on the newest state.
    pub requirements: Vec<TableRequirement>,
    /// What changes.
    pub updates: Vec<TableUpdate>,
}

/// A table's next state, written but not yet pointed to.
struct Prepared {
    name: TableName,
    base: Option<String>,
    location: String,
    metadata: Arc<TableMetadata>,
}

pub(super) async fn commit(
    catalog: &Catalog,
    ctx: &RequestContext,
    commits: Vec<TableCommit>,
) -> Result<Vec<LoadedTable>, LakehouseError> {
    let mut seen = HashSet::new();
    if let Some(twice) = commits.iter().find(|commit| !seen.insert(&commit.name)) {
        return Err(LakehouseError::Invalid {
            what: format!("table `{}` occurs twice in one commit", twice.name),
        });
    }
    for attempt in 1..=ATTEMPTS_MAX {
        let mut prepared = Vec::with_capacity(commits.len());
        for commit in &commits {
            match prepare(catalog, ctx, commit).await {
                Ok(table) => prepared.push(table),
                Err(error) => {
                    discard(catalog, prepared).await;
                    return Err(error);
                }
            }
        }
        match swap(catalog, ctx, &prepared).await {
            Ok(()) => {
                catalog.touched();
                let tables = prepared.into_iter();
                return Ok(tables
                    .map(|p| LoadedTable { metadata: p.metadata, metadata_location: Some(p.location) })
                    .collect());
            }
            Err(error) => {
                if swapped(catalog, ctx, &prepared).await {
                    // The store failed after it had committed.
                    let tables = prepared.into_iter();
                    return Ok(tables
                        .map(|p| LoadedTable { metadata: p.metadata, metadata_location: Some(p.location) })
                        .collect());
                }
                discard(catalog, prepared).await;
                if error.kind() != FaultKind::Conflict {
                    return Err(error);
                }
                let wait = std::time::Duration::from_millis(
                    catalog.env.entropy.next_u64() % (20 * u64::from(attempt)),
                );
                catalog.env.clock.sleep(wait).await;
            }
        }
    }
    let table = commits.first().map(|commit| commit.name.to_string()).unwrap_or_default();
    Err(LakehouseError::CommitConflict { table, attempts: ATTEMPTS_MAX })
}

async fn prepare(
    catalog: &Catalog,
    ctx: &RequestContext,
    commit: &TableCommit,
) -> Result<Prepared, LakehouseError> {
    let table = commit.name.to_string();
    let creates = commit.requirements.iter().any(|r| matches!(r, TableRequirement::NotExist));
    let base = match catalog.load_table(ctx, &commit.name).await {
        Ok(base) => Some(base),
        Err(LakehouseError::TableNotFound { .. }) if creates => None,
        Err(LakehouseError::WrongKind { name, found, .. }) if creates => {
            return Err(LakehouseError::AlreadyExists { kind: found, name });
        }
        Err(error) => return Err(error),
    };
    for requirement in &commit.requirements {
        let checked = requirement.check(base.as_ref().map(|b| b.metadata.as_ref()));
        checked.map_err(|e| LakehouseError::CommitFailed {
            table: table.clone(),
            what: e.message().to_string(),
        })?;
    }
    let base_location = base.as_ref().and_then(|b| b.metadata_location.clone());
    if base.is_none() {
        catalog.namespace(ctx, commit.name.namespace()).await?;
    }
    let home = base.as_ref().map(|base| base.metadata.location());
    for update in &commit.updates {
        if let TableUpdate::SetLocation { location } = update
            && home.is_none_or(|home| location.trim_end_matches('/') != home)
        {
            catalog.check_free(ctx, location).await?;
        }
    }
    let metadata = match &base {
        Some(base) => next_metadata(base, &commit.updates)?,
        None => first_metadata(catalog, commit)?,
    };
    let location = match &base_location {
        Some(location) => MetadataLocation::from_str(location)
            .map(|location| location.with_next_version().with_new_metadata(&metadata))
            // A registered table may have a file name of its own.
            .unwrap_or_else(|_| MetadataLocation::new_with_metadata(metadata.location(), &metadata)),
        None => MetadataLocation::new_with_metadata(metadata.location(), &metadata),
    };
    catalog.write_metadata(&commit.name, &metadata, &location).await?;
    Ok(Prepared {
        name: commit.name.clone(),
        base: base_location,
        location: location.to_string(),
        metadata: Arc::new(metadata),
    })
}

fn invalid(error: iceberg::Error) -> LakehouseError {
    LakehouseError::Invalid { what: error.message().to_string() }
}

fn next_metadata(base: &LoadedTable, updates: &[TableUpdate]) -> Result<TableMetadata, LakehouseError> {
    let builder = base.metadata.as_ref().clone().into_builder(base.metadata_location.clone());
    Ok(apply(builder, updates)?.build().map_err(invalid)?.metadata)
}

fn apply(
    mut builder: TableMetadataBuilder,
    updates: &[TableUpdate],
) -> Result<TableMetadataBuilder, LakehouseError> {
    for update in updates {
        builder = update.clone().apply(builder).map_err(invalid)?;
    }
    Ok(builder)
}

/// Metadata of a table that is created by its first commit (after `stage-create`).
fn first_metadata(catalog: &Catalog, commit: &TableCommit) -> Result<TableMetadata, LakehouseError> {
    let find = |what: &str| LakehouseError::Invalid {
        what: format!("the first commit of table `{}` must set its {what}", commit.name),
    };
    let mut location = None;
    let mut schema = None;
    let mut spec = None;
    let mut order = None;
    let mut version = iceberg::spec::FormatVersion::V2;
    for update in &commit.updates {
        match update {
            TableUpdate::SetLocation { location: at } => location = Some(at.clone()),
            TableUpdate::AddSchema { schema: first } => schema = schema.or_else(|| Some(first.clone())),
            TableUpdate::AddSpec { spec: first } => spec = spec.or_else(|| Some(first.clone())),
            TableUpdate::AddSortOrder { sort_order } => order = order.or_else(|| Some(sort_order.clone())),
            TableUpdate::UpgradeFormatVersion { format_version } => version = *format_version,
            _ => {}
        }
    }
    let location = location.ok_or_else(|| find("location"))?;
    if !catalog.warehouse.contains(&location) {
        return Err(LakehouseError::BadLocation { location, warehouse: catalog.warehouse.url().into() });
    }
    let builder = TableMetadataBuilder::new(
        schema.ok_or_else(|| find("schema"))?,
        spec.unwrap_or_else(|| UnboundPartitionSpec::builder().with_spec_id(0).build()),
        order.unwrap_or_else(iceberg::spec::SortOrder::unsorted_order),
        location,
        version,
        Default::default(),
    )
    .map_err(invalid)?;
    // Schema, partitioning and order are in already, with field ids given anew in the same order.
    let rest: Vec<TableUpdate> = commit
        .updates
        .iter()
        .filter(|update| {
            !matches!(
                update,
                TableUpdate::AddSchema { .. }
                    | TableUpdate::SetCurrentSchema { .. }
                    | TableUpdate::AddSpec { .. }
                    | TableUpdate::SetDefaultSpec { .. }
                    | TableUpdate::AddSortOrder { .. }
                    | TableUpdate::SetDefaultSortOrder { .. }
                    | TableUpdate::SetLocation { .. }
                    | TableUpdate::UpgradeFormatVersion { .. }
            )
        })
        .cloned()
        .collect();
    Ok(apply(builder, &rest)?.build().map_err(invalid)?.metadata)
}

async fn swap(catalog: &Catalog, ctx: &RequestContext, prepared: &[Prepared]) -> Result<(), LakehouseError> {
    let mut swaps = Vec::new();
    let mut inserts = Vec::new();
    for table in prepared {
        let (namespace, name) = (table.name.namespace().to_string(), table.name.name().to_string());
        match &table.base {
            Some(base) => swaps.push(PointerSwap {
                namespace,
                name,
                expected_location: base.clone(),
                new_location: table.location.clone(),
            }),
            None => {
                let (kind, metadata_location) = (RelationKind::Table, table.location.clone());
                inserts.push(PointerInsert { kind, namespace, name, metadata_location });
            }
        }
    }
    catalog.meta.swap_pointers(ctx, &swaps, &inserts).await?;
    for swap in &swaps {
        // Nobody comes by a pointer to it any more.
        catalog.parsed.invalidate(&swap.expected_location).await;
    }
    Ok(())
}

/// Whether the pointers are already those of this commit.
async fn swapped(catalog: &Catalog, ctx: &RequestContext, prepared: &[Prepared]) -> bool {
    for table in prepared {
        match catalog.pointer(ctx, &table.name).await {
            Ok(Some(location)) if location == table.location => {}
            _ => return false,
        }
    }
    true
}

async fn discard(catalog: &Catalog, prepared: Vec<Prepared>) {
    for table in prepared {
        catalog.parsed.invalidate(&table.location).await;
        if let Err(error) = catalog.warehouse.delete(&table.location).await {
            tracing::debug!(location = table.location, %error, "metadata of a lost commit stays behind");
        }
    }
}
