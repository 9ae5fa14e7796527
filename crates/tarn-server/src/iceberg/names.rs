//! Names as they stand in paths and bodies of the protocol. We have one namespace level.

use serde::{Deserialize, Serialize};
use tarn_core::{FaultReport, TableName};

use super::error::IcebergError;

/// Joins the levels of a namespace in paths.
const LEVEL_SEPARATOR: char = '\u{1F}';

/// A table as bodies name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TableIdentifier {
    pub namespace: Vec<String>,
    pub name: String,
}

/// A namespace in a path that only reads: a deeper one does not exist, which is what clients expect that try
/// `namespace.table` as a namespace before they take `table.files` for a metadata table.
pub(crate) fn namespace_to_read(path: &str) -> Result<&str, IcebergError> {
    if path.is_empty() || path.contains(LEVEL_SEPARATOR) {
        return Err(IcebergError::no_namespace(&path.replace(LEVEL_SEPARATOR, ".")));
    }
    Ok(path)
}

/// A table in a path.
pub(crate) fn table_to_read(namespace: &str, name: &str) -> Result<TableName, IcebergError> {
    let missing = || IcebergError::no_table(&format!("{}.{name}", namespace.replace(LEVEL_SEPARATOR, ".")));
    if namespace.contains(LEVEL_SEPARATOR) {
        return Err(missing());
    }
    // A name that cannot be made cannot exist.
    TableName::new(namespace, name).map_err(|_| missing())
}

/// A view in a path.
pub(crate) fn view_to_read(namespace: &str, name: &str) -> Result<TableName, IcebergError> {
    table_to_read(namespace, name)
        .map_err(|_| IcebergError::no_view(&format!("{}.{name}", namespace.replace(LEVEL_SEPARATOR, "."))))
}

/// The single level of a namespace that is to be made or written to.
pub(crate) fn one_level(levels: &[String]) -> Result<&str, IcebergError> {
    match levels {
        [name] => Ok(name),
        [] => Err(IcebergError::bad_request("the namespace is empty; give one name")),
        deeper => Err(IcebergError::bad_request(format!(
            "namespace `{}` has {} levels; this catalog has one level, such as `shop`",
            deeper.join("."),
            deeper.len()
        ))),
    }
}

/// A table that is to be made.
pub(crate) fn table_to_make(namespace: &str, name: &str) -> Result<TableName, IcebergError> {
    let levels: Vec<String> = namespace.split(LEVEL_SEPARATOR).map(str::to_string).collect();
    TableName::new(one_level(&levels)?, name).map_err(|error| IcebergError::of(&FaultReport::of(&error)))
}

impl TableIdentifier {
    /// The table, which must exist to be used.
    pub(crate) fn to_read(&self) -> Result<TableName, IcebergError> {
        table_to_read(&self.namespace.join("\u{1F}"), &self.name)
    }

    /// The view, which must exist to be used.
    pub(crate) fn to_read_view(&self) -> Result<TableName, IcebergError> {
        view_to_read(&self.namespace.join("\u{1F}"), &self.name)
    }

    /// The table, which is to be made.
    pub(crate) fn to_make(&self) -> Result<TableName, IcebergError> {
        table_to_make(one_level(&self.namespace)?, &self.name)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_deeper_namespace_is_missing_to_readers_and_refused_to_writers() {
        assert_eq!(table_to_read("shop\u{1F}orders", "files").unwrap_err().kind, "NoSuchTableException");
        assert_eq!(namespace_to_read("a\u{1F}b").unwrap_err().status, StatusCode::NOT_FOUND);
        let refused = one_level(&["a".to_string(), "b".to_string()]).unwrap_err();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.message.contains("`a.b` has 2 levels"));
        assert_eq!(table_to_make("a\u{1F}b", "t").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
