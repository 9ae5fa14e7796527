//! Turns text and JSON records into columns: types, inference, and rows that do not fit.

mod builder;
mod cell;
mod column_type;
mod fingerprint;
mod infer;
mod plain;

pub(crate) use builder::RowBuilder;
pub(crate) use cell::{Cell, cell_of_json, cell_of_text};
pub use column_type::{ColumnConfig, ColumnType};
pub(crate) use fingerprint::Fingerprint;
pub(crate) use infer::{Inferred, type_of_json, type_of_text};
pub(crate) use plain::{plain_batch, plain_schema};

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::source::SourceTable;

/// The Arrow schema of columns; each field's metadata names the type as written in a configuration.
pub(crate) fn schema_of_columns(columns: &[ColumnConfig]) -> SchemaRef {
    let field = |column: &ColumnConfig| {
        let metadata = HashMap::from([("tarn.source_type".to_string(), column.column_type.to_string())]);
        Field::new(&column.name, column.column_type.arrow(), true).with_metadata(metadata)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// A table of a source that has no namespaces.
pub(crate) fn plain_table(name: &str) -> SourceTable {
    SourceTable { namespace: String::new(), name: name.to_string() }
}

/// The first name that stands twice.
pub(crate) fn repeated_name<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}
