//! What an editor offers: tables with columns, functions, keywords.

use datafusion::logical_expr::{Documentation, Signature};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tarn_core::{RequestContext, Sealed, TableName};

use crate::QueryError;
use crate::engine::EngineCore;

const TABLES_MAX: usize = 2_000;
const LOOK_UPS_AT_ONCE: usize = 8;

const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS JOIN",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "FALSE",
    "FILTER",
    "FOR TIMESTAMP AS OF",
    "FOR VERSION AS OF",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER JOIN",
    "INTERSECT",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LATERAL",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS FIRST",
    "NULLS LAST",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "QUALIFY",
    "RIGHT JOIN",
    "SELECT",
    "SHOW COLUMNS FROM",
    "SHOW SCHEMAS",
    "SHOW TABLES",
    "THEN",
    "TRUE",
    "TRY_CAST",
    "UNION",
    "UNION ALL",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
    "WITH RECURSIVE",
];

/// A table and its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionTable {
    /// `namespace.table`.
    pub name: String,
    /// In table order.
    pub columns: Vec<CompletionColumn>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionColumn {
    /// Name.
    pub name: String,
    /// Type, as query results name it.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionFunction {
    /// Name.
    pub name: String,
    /// Such as `substr(str, start_pos[, length])`.
    pub signature: String,
    /// What it does; empty where nobody wrote it down.
    pub description: String,
}

/// Everything that can be typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Tables and views (the first 2,000), by name.
    pub tables: Vec<CompletionTable>,
    /// Functions, by name.
    pub functions: Vec<CompletionFunction>,
    /// Words of the language, in capitals.
    pub keywords: Vec<String>,
}

pub(super) async fn collect(
    core: &Sealed<EngineCore>,
    ctx: &RequestContext,
) -> Result<Completion, QueryError> {
    let mut names: Vec<TableName> = Vec::new();
    for namespace in core.tables.namespaces(ctx).await? {
        names.extend(core.tables.tables(ctx, &namespace).await?);
    }
    names.truncate(TABLES_MAX);
    let tables = stream::iter(names)
        .map(|name| async move {
            let view = core.tables.view(ctx, &name).await?;
            Ok::<_, QueryError>(view.map(|view| CompletionTable {
                name: name.to_string(),
                columns: view.schema.fields().iter().map(|field| column(field)).collect(),
            }))
        })
        .buffered(LOOK_UPS_AT_ONCE)
        .try_filter_map(async |table| Ok(table))
        .try_collect::<Vec<_>>()
        .await?;
    let tables = with_views(core, ctx, tables).await?;
    Ok(Completion {
        tables,
        functions: functions(core),
        keywords: KEYWORDS.iter().map(ToString::to_string).collect(),
    })
}

/// Views among the tables, by name.
async fn with_views(
    core: &Sealed<EngineCore>,
    ctx: &RequestContext,
    mut tables: Vec<CompletionTable>,
) -> Result<Vec<CompletionTable>, QueryError> {
    for namespace in core.tables.namespaces(ctx).await? {
        for name in core.tables.views(ctx, &namespace).await? {
            if tables.len() >= TABLES_MAX {
                break;
            }
            let Some(view) = core.tables.sql_view(ctx, &name).await? else { continue };
            let columns = view.columns.fields().iter().map(|field| column(field)).collect();
            tables.push(CompletionTable { name: name.to_string(), columns });
        }
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tables)
}

fn column(field: &arrow::datatypes::Field) -> CompletionColumn {
    CompletionColumn { name: field.name().clone(), data_type: crate::encode::type_name(field.data_type()) }
}

fn functions(core: &EngineCore) -> Vec<CompletionFunction> {
    let scalar =
        core.base.scalar_functions().iter().map(|(name, f)| entry(name, f.documentation(), f.signature()));
    let aggregate =
        core.base.aggregate_functions().iter().map(|(name, f)| entry(name, f.documentation(), f.signature()));
    let window =
        core.base.window_functions().iter().map(|(name, f)| entry(name, f.documentation(), f.signature()));
    let mut all: Vec<CompletionFunction> = scalar.chain(aggregate).chain(window).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    all
}

fn entry(name: &str, documentation: Option<&Documentation>, signature: &Signature) -> CompletionFunction {
    let names = signature.parameter_names.as_ref().map(|names| names.join(", "));
    CompletionFunction {
        name: name.to_string(),
        signature: match documentation {
            Some(documentation) => documentation.syntax_example.clone(),
            None => format!("{name}({})", names.unwrap_or_else(|| "…".into())),
        },
        description: documentation
            .map(|documentation| documentation.description.trim().to_string())
            .unwrap_or_default(),
    }
}
