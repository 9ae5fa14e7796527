//! Views: queries with a name. `define` reads `CREATE VIEW`, `expand` writes out its `*`, `resolve` plans a view where a
//! query names it.

mod define;
mod expand;
mod resolve;

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{Schema, SqlViewRepresentation, ViewRepresentation, ViewVersion};
use iceberg::{NamespaceIdent, ViewUpdate};
use tarn_core::{RequestContext, TableName};
use tarn_lakehouse::types::shown_schema;
use tarn_lakehouse::{Catalog, CreateView, LakehouseError, LoadedView};

pub(crate) use define::{ViewDefinition, view_definition};
pub(crate) use expand::expand;
pub(crate) use resolve::{ViewPlans, broken_view};

use crate::QueryError;

/// Our dialect, as view metadata names it.
pub(crate) const DIALECT: &str = "tarn";
/// The view property that holds a comment, as other engines name it.
const COMMENT: &str = "comment";
/// Dialects in the order in which we would rather plan them, after our own.
const KIN: &[&str] = &["datafusion", "postgresql", "postgres", "duckdb", "trino", "spark"];

/// A view as it is stored.
#[derive(Clone, Debug)]
pub struct SqlView {
    /// Its name.
    pub name: TableName,
    /// Its query.
    pub sql: String,
    /// In whose SQL the query is, such as `tarn` or `spark`.
    pub dialect: String,
    /// The namespace that names without one mean in the query.
    pub namespace: String,
    /// What another engine calls this catalog in the query.
    pub catalog: Option<String>,
    /// Its columns when it was made.
    pub columns: SchemaRef,
    /// Its comment.
    pub comment: Option<String>,
}

impl SqlView {
    /// The view of loaded metadata. Errors: columns of a type that we do not have, no SQL at all.
    pub(crate) fn of(name: &TableName, view: &LoadedView) -> Result<Self, QueryError> {
        let metadata = &view.metadata;
        let version = metadata.current_version();
        let place = |sql: &SqlViewRepresentation| {
            let dialect = sql.dialect.to_lowercase();
            match dialect == DIALECT {
                true => 0,
                false => 1 + KIN.iter().position(|kin| *kin == dialect).unwrap_or(KIN.len()),
            }
        };
        let texts = version.representations().iter().map(|ViewRepresentation::Sql(sql)| sql);
        let Some(sql) = texts.min_by_key(|sql| place(sql)) else {
            return Err(QueryError::plan(format!("view `{name}` has no SQL"), None, None));
        };
        let namespace = match version.default_namespace().as_ref().as_slice() {
            [one] => one.clone(),
            _ => name.namespace().to_string(),
        };
        let columns = shown_schema(&name.to_string(), metadata.current_schema())
            .map_err(|error| QueryError::from_fault(&error))?;
        Ok(Self {
            name: name.clone(),
            sql: sql.sql.clone(),
            dialect: sql.dialect.to_lowercase(),
            namespace,
            catalog: version.default_catalog().cloned(),
            columns,
            comment: metadata.properties().get(COMMENT).cloned(),
        })
    }
}

/// A view that is to be made.
#[derive(Debug)]
pub struct NewView {
    /// Its name.
    pub name: TableName,
    /// Its query, in our dialect.
    pub sql: String,
    /// The namespace that names without one mean in the query.
    pub namespace: String,
    /// Its columns.
    pub schema: Schema,
    /// Its comment.
    pub comment: Option<String>,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

impl NewView {
    fn version(&self) -> Result<ViewVersion, LakehouseError> {
        let sql = serde_json::json!([{ "type": "sql", "sql": self.sql, "dialect": DIALECT }]);
        let representations = serde_json::from_value(sql)
            .map_err(|error| LakehouseError::Invalid { what: error.to_string() })?;
        let engine = [("engine-name", "tarn"), ("engine-version", env!("CARGO_PKG_VERSION"))];
        let summary = engine.map(|(key, value)| (key.to_string(), value.to_string()));
        Ok(ViewVersion::builder()
            .with_schema_id(0)
            .with_timestamp_ms(self.at_ms)
            .with_summary(HashMap::from(summary))
            .with_representations(representations)
            .with_default_namespace(NamespaceIdent::new(self.namespace.clone()))
            .build())
    }

    fn properties(&self) -> HashMap<String, String> {
        self.comment.iter().map(|comment| (COMMENT.to_string(), comment.clone())).collect()
    }

    /// Makes the view in the catalog, or with `or_replace` gives the one of its name another version. Errors: the
    /// catalog's.
    pub(crate) async fn store(
        &self,
        catalog: &Catalog,
        ctx: &RequestContext,
        or_replace: bool,
    ) -> Result<(), LakehouseError> {
        let create = CreateView {
            name: self.name.clone(),
            schema: self.schema.clone(),
            version: self.version()?,
            location: None,
            properties: self.properties(),
        };
        match catalog.create_view(ctx, create).await {
            Err(LakehouseError::AlreadyExists { kind: "view", .. }) if or_replace => {}
            made => return made.map(drop),
        }
        // `-1` means what the change before added.
        let mut updates = vec![
            ViewUpdate::AddSchema { schema: self.schema.clone(), last_column_id: None },
            ViewUpdate::AddViewVersion { view_version: self.version()?.with_schema_id(-1) },
            ViewUpdate::SetCurrentViewVersion { view_version_id: -1 },
        ];
        if self.comment.is_some() {
            updates.push(ViewUpdate::SetProperties { updates: self.properties() });
        }
        catalog.commit_view(ctx, &self.name, &[], &updates).await.map(drop)
    }
}

/// Sets or (with `None`) removes the comment of a view. Errors: the catalog's.
pub(crate) async fn comment_view(
    catalog: &Catalog,
    ctx: &RequestContext,
    name: &TableName,
    comment: Option<String>,
) -> Result<(), LakehouseError> {
    let update = match comment {
        Some(comment) => {
            ViewUpdate::SetProperties { updates: HashMap::from([(COMMENT.to_string(), comment)]) }
        }
        None => ViewUpdate::RemoveProperties { removals: vec![COMMENT.to_string()] },
    };
    catalog.commit_view(ctx, name, &[], &[update]).await.map(drop)
}
