//! Turns the engine's errors into ours: what, where, and what to write instead.

use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use tarn_core::{FaultKind, nearest};
use tracing::{error, warn};

use crate::engine::CATALOG;
use crate::sql::SqlText;
use crate::sql::text::lower_first;
use crate::{QueryError, SqlPosition};

/// Explains errors of one query.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    text: Arc<SqlText>,
    query_id: Arc<str>,
}

impl Diagnosis {
    pub(crate) fn new(text: SqlText, query_id: &str) -> Self {
        Self { text: Arc::new(text), query_id: query_id.into() }
    }

    /// The table that planning did not find, as its parts, if that is what went wrong.
    pub(crate) fn unknown_table(error: &DataFusionError) -> Option<Vec<String>> {
        let DataFusionError::Plan(message) = root(error) else { return None };
        let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
        Some(name.split('.').map(|part| part.trim_matches('"').to_string()).collect())
    }

    /// Whether planning met several columns of one name.
    pub(crate) fn is_equal_names(error: &DataFusionError) -> bool {
        match root(error) {
            DataFusionError::Plan(message) => message.contains("require unique expression names"),
            DataFusionError::SchemaError(schema, _) => matches!(
                schema.as_ref(),
                SchemaError::DuplicateQualifiedField { .. }
                    | SchemaError::DuplicateUnqualifiedField { .. }
                    // A column of a table and an expression that is named like it.
                    | SchemaError::AmbiguousReference { .. }
            ),
            _ => false,
        }
    }

    /// The error for a table that does not exist. `known`: all tables as `namespace.table`.
    pub(crate) fn no_such_table(
        &self,
        parts: &[String],
        known: &[String],
        default_namespace: &str,
    ) -> QueryError {
        if let [catalog, _, _] = parts
            && catalog != CATALOG
        {
            return self.no_such_catalog(catalog, None);
        }
        let own: Vec<&str> = parts.iter().map(|part| crate::sql::split_version(part).0).collect();
        let shown = &own[own.len().saturating_sub(2)..];
        let wanted = shown.join(".");
        let name = shown.last().copied().unwrap_or_default();
        let elsewhere =
            known.iter().find(|table| table.split_once('.').is_some_and(|(_, table)| table == name));
        let near =
            elsewhere.map(String::as_str).or_else(|| nearest(&wanted, known.iter().map(String::as_str)));
        let near_name = || {
            let names = known.iter().filter_map(|table| table.split_once('.').map(|(_, name)| name));
            let found = nearest(name, names)?;
            known.iter().find(|table| table.ends_with(&format!(".{found}"))).map(String::as_str)
        };
        let hint = match near.or_else(near_name) {
            Some(table) => format!("did you mean `{}`?", quoted(table)),
            None if known.is_empty() => "there are no tables yet".into(),
            None => "`SHOW TABLES` lists the tables".into(),
        };
        let is_default = shown.first().copied() == Some(default_namespace);
        let unqualified = is_default && !self.text.is_qualified(default_namespace, name);
        let display = if unqualified { name.to_string() } else { wanted };
        QueryError::plan(format!("table `{display}` not found"), self.text.find_table(shown), Some(hint))
    }

    /// Explains any error of planning or running.
    pub(crate) fn explain(&self, error: DataFusionError) -> QueryError {
        let span = span(&error);
        match root(&error) {
            DataFusionError::External(inner) => match inner.downcast_ref::<QueryError>() {
                Some(ours) => self.placed(ours.clone(), span),
                None => self.external(inner.as_ref()),
            },
            DataFusionError::SchemaError(schema, _) => self.schema(schema, span),
            DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
                self.plan(message, span)
            }
            DataFusionError::NotImplemented(message) => {
                let message = format!("not supported: {}", first_line(message));
                QueryError::plan(message, span, None)
            }
            DataFusionError::SQL(parser, _) => {
                QueryError::Syntax { message: lower_first(&parser.to_string()), position: span, hint: None }
            }
            DataFusionError::ArrowError(arrow, _) => self.arrow(arrow),
            DataFusionError::Execution(message) => self.value(message),
            DataFusionError::ResourcesExhausted(message) => {
                let message = first_line(message).to_string();
                QueryError::MemoryExhausted { query_id: self.query_id.to_string(), message }
            }
            DataFusionError::ObjectStore(store) => {
                self.storage(store.as_ref(), matches!(store.as_ref(), object_store::Error::NotFound { .. }))
            }
            DataFusionError::ParquetError(parquet) => self.parquet(&parquet.to_string()),
            DataFusionError::IoError(io) => self.storage(io, false),
            other => self.internal(other),
        }
    }

    fn placed(&self, error: QueryError, span: Option<SqlPosition>) -> QueryError {
        match error {
            QueryError::Plan { message, position, hint } => {
                let quoted = message.split('`').nth(1).map(|name| name.split('.').collect::<Vec<_>>());
                let found = quoted.and_then(|parts| self.text.find_table(&parts));
                QueryError::Plan { position: position.or(span).or(found), message, hint }
            }
            other => other,
        }
    }

    fn schema(&self, error: &SchemaError, span: Option<SqlPosition>) -> QueryError {
        match error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                self.no_such_column(field, valid_fields, span)
            }
            SchemaError::AmbiguousReference { field } => QueryError::plan(
                format!("column `{}` is in several tables", field.name),
                span.or_else(|| self.text.find_name(None, &field.name)),
                Some(format!("write which one is meant, such as `t.{}`", field.name)),
            ),
            SchemaError::DuplicateQualifiedField { name, .. }
            | SchemaError::DuplicateUnqualifiedField { name } => QueryError::plan(
                format!("two columns are named `{name}`"),
                span.or_else(|| self.text.find_name(None, name)),
                Some("give one of them another name with AS".into()),
            ),
        }
    }

    fn no_such_column(&self, field: &Column, valid: &[Column], span: Option<SqlPosition>) -> QueryError {
        let qualifier = field.relation.as_ref().map(|relation| relation.table().to_string());
        let names: Vec<&str> = valid.iter().map(Column::name).collect();
        let case_differs = names.iter().find(|name| name.eq_ignore_ascii_case(&field.name));
        let hint = match (case_differs, nearest(&field.name, names.iter().copied())) {
            (Some(name), _) if *name != field.name => format!("did you mean `\"{name}\"`, in quotes?"),
            (Some(_), _) => {
                "the column belongs to another table of the query; check the table's alias".into()
            }
            (None, Some(near)) => format!("did you mean `{}`?", quoted(near)),
            (None, None) if names.is_empty() => "no columns can be used here".into(),
            (None, None) => {
                let shown: Vec<String> =
                    names.iter().take(12).map(|name| format!("`{}`", quoted(name))).collect();
                let more = if names.len() > 12 { ", …" } else { "" };
                format!("the columns are {}{more}", shown.join(", "))
            }
        };
        let shown = match &qualifier {
            Some(qualifier) => format!("{qualifier}.{}", field.name),
            None => field.name.clone(),
        };
        let at = self.text.find_name(qualifier.as_deref(), &field.name);
        QueryError::plan(format!("column `{shown}` not found"), span.or(at), Some(hint))
    }

    fn plan(&self, message: &str, span: Option<SqlPosition>) -> QueryError {
        if let Some(rest) = message.strip_prefix("Invalid function '") {
            let (name, near) = rest.split_once('\'').unwrap_or((rest, ""));
            let near = near.split('\'').nth(1).filter(|near| !near.is_empty());
            return QueryError::plan(
                format!("function `{name}` not found"),
                span.or_else(|| self.text.find_call(name)),
                near.map(|near| format!("did you mean `{near}`?")),
            );
        }
        if let Some(name) =
            message.strip_prefix("table function '").and_then(|rest| rest.strip_suffix("' not found"))
        {
            let at = self.text.find_call(name);
            return QueryError::plan(format!("table function `{name}` not found"), span.or(at), None);
        }
        if let Some(name) = message.strip_prefix("failed to resolve catalog: ") {
            return self.no_such_catalog(name, span);
        }
        let message = clean(message);
        let position = span.or_else(|| self.function_in(&message));
        QueryError::plan(message, position, None)
    }

    fn no_such_catalog(&self, name: &str, span: Option<SqlPosition>) -> QueryError {
        let hint = format!("write `namespace.table`, or `{CATALOG}.namespace.table`");
        let at = self.text.find_name(None, name);
        QueryError::plan(format!("catalog `{name}` not found"), span.or(at), Some(hint))
    }

    /// Where the function stands that a message names as `'f' function` or `function 'f'`.
    fn function_in(&self, message: &str) -> Option<SqlPosition> {
        let quoted: Vec<&str> = message.split(['\'', '`']).skip(1).step_by(2).collect();
        let called = quoted.iter().filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
        called
            .clone()
            .find_map(|name| message.to_lowercase().contains("function").then(|| self.text.find_call(name)))?
    }

    fn arrow(&self, error: &ArrowError) -> QueryError {
        match error {
            ArrowError::DivideByZero => divide_by_zero(),
            ArrowError::ArithmeticOverflow(message) => overflow(message),
            ArrowError::CastError(message) | ArrowError::ParseError(message) => unreadable(message),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(DataFusionError::External(ours)) if ours.is::<QueryError>() => {
                    ours.downcast_ref::<QueryError>().cloned().unwrap_or_else(divide_by_zero)
                }
                Some(nested) => self.value(&nested.to_string()),
                None => self.external(inner.as_ref()),
            },
            ArrowError::ParquetError(message) => self.parquet(message),
            ArrowError::IoError(message, _) => self.storage(message.as_str(), false),
            other => self.value(&other.to_string()),
        }
    }

    /// An error caused by the values, known by its text.
    fn value(&self, message: &str) -> QueryError {
        if message.contains("DivideByZero") || message.contains("Divide by zero") {
            return divide_by_zero();
        }
        if message.contains("ArithmeticOverflow") || message.contains("Overflow happened") {
            return overflow(message);
        }
        let cast = ["Cast error: ", "CastError(\"", "Parser error: ", "ParseError(\""];
        if let Some((_, rest)) = cast.iter().find_map(|mark| message.split_once(mark)) {
            return unreadable(rest.split("\")").next().unwrap_or(rest));
        }
        if looks_internal(message) {
            return self.storage(message, false);
        }
        QueryError::Execution { message: clean(message), hint: None }
    }

    fn parquet(&self, message: &str) -> QueryError {
        let from_values =
            ["DivideByZero", "Divide by zero", "CastError", "Cast error", "Overflow", "Parser error"];
        if from_values.iter().any(|mark| message.contains(mark)) {
            return self.value(message);
        }
        self.storage(message, message.contains("not found"))
    }

    fn external(&self, inner: &(dyn std::error::Error + Send + Sync + 'static)) -> QueryError {
        if let Some(nested) = inner.downcast_ref::<object_store::Error>() {
            return self.storage(nested, matches!(nested, object_store::Error::NotFound { .. }));
        }
        error!(query_id = %self.query_id, error = %inner, "query failed outside the engine");
        QueryError::Internal { message: "a part of the query failed; the log has the details".into() }
    }

    /// The details go to the log: they hold paths.
    fn storage<E: std::fmt::Display + ?Sized>(&self, details: &E, missing: bool) -> QueryError {
        warn!(query_id = %self.query_id, error = %details, "data file of a table could not be read");
        QueryError::Storage {
            message: match missing {
                true => "a data file of the table is missing".into(),
                false => "a data file of the table could not be read".into(),
            },
            kind: if missing { FaultKind::Corrupt } else { FaultKind::Unavailable },
            hint: Some(
                "the log names the file; the storage may be unreachable, or files were removed by hand"
                    .into(),
            ),
        }
    }

    fn internal(&self, error: &DataFusionError) -> QueryError {
        error!(query_id = %self.query_id, %error, "query engine failed");
        QueryError::Internal {
            message: "this query meets a fault of the engine; the log has the details".into(),
        }
    }
}

fn divide_by_zero() -> QueryError {
    QueryError::Execution {
        message: "division by zero".into(),
        hint: Some("guard the divisor: `a / nullif(b, 0)` gives null instead".into()),
    }
}

fn overflow(message: &str) -> QueryError {
    QueryError::Execution {
        message: format!("a number became too large: {}", clean(message)),
        hint: Some("cast to a wider type first, such as `decimal(38, 4)` or `double`".into()),
    }
}

fn unreadable(message: &str) -> QueryError {
    QueryError::Execution {
        message: clean(message),
        hint: Some("`try_cast` gives null where a value cannot be converted".into()),
    }
}

/// Whether a message of the reader speaks of files rather than of values.
fn looks_internal(message: &str) -> bool {
    [
        "Parquet error",
        "Object at location",
        "No such file",
        "Generic ",
        "Failed to fetch metadata",
        ".parquet",
    ]
    .iter()
    .any(|mark| message.contains(mark))
}

/// The innermost error that says something.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        DataFusionError::External(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, root),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::ExternalError(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, root),
            _ => error,
        },
        other => other,
    }
}

fn span(error: &DataFusionError) -> Option<SqlPosition> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let start = diagnostic.span.map(|span| span.start).filter(|start| start.line > 0);
            start.map(|start| SqlPosition { line: start.line, column: start.column }).or_else(|| span(inner))
        }
        DataFusionError::Context(_, inner) => span(inner),
        DataFusionError::Shared(inner) => span(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(span),
        _ => None,
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim_end_matches('.')
}

/// The first line without the names of the engine's parts.
fn clean(message: &str) -> String {
    let mut text = first_line(message);
    let prefixes = [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Compute error: ",
        "Invalid argument error: ",
    ];
    while let Some(rest) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    lower_first(text)
}

/// A name as it must be written in SQL.
fn quoted(name: &str) -> String {
    let part = |part: &str| {
        let plain = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !part.starts_with(|c: char| c.is_ascii_digit());
        if plain { part.to_string() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
    };
    match name.split_once('.') {
        Some((namespace, name)) => format!("{}.{}", part(namespace), part(name)),
        None => part(name),
    }
}
