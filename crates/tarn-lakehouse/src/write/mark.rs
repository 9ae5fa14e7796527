//! A property of the table that changes in the same commit as its rows, so that both or none come about.

use std::collections::HashMap;

use iceberg::TableUpdate;
use iceberg::spec::TableMetadata;

use crate::error::LakehouseError;

/// The property and what it must be before.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) property: String,
    pub(super) before: Option<String>,
    pub(super) after: String,
    /// An entry of the snapshot's summary.
    pub(super) summary: (String, String),
}

/// The updates that a mark adds to a commit. Errors: somebody else went on from the same place.
pub(super) fn updates(
    mark: Option<&Mark>,
    table: &str,
    metadata: &TableMetadata,
) -> Result<Vec<TableUpdate>, LakehouseError> {
    let Some(mark) = mark else { return Ok(Vec::new()) };
    if metadata.properties().get(&mark.property) != mark.before.as_ref() {
        let what = format!("its property `{}` was changed meanwhile", mark.property);
        return Err(LakehouseError::CommitFailed { table: table.to_string(), what });
    }
    let updates = HashMap::from([(mark.property.clone(), mark.after.clone())]);
    Ok(vec![TableUpdate::SetProperties { updates }])
}
