//! `CREATE VIEW` as it is written.

use datafusion::sql::sqlparser::ast::{CreateTableOptions, CreateView, Query};
use datafusion::sql::sqlparser::tokenizer::Token;
use tarn_core::TableName;

use crate::QueryError;
use crate::sql::{Parsed, offset, word};
use crate::write::{name_of, table_name};

/// What a `CREATE VIEW` asks for.
#[derive(Debug)]
pub(crate) struct ViewDefinition {
    pub(crate) name: TableName,
    pub(crate) or_replace: bool,
    pub(crate) if_not_exists: bool,
    /// Names of the columns where they are not those of the query.
    pub(crate) columns: Vec<String>,
    pub(crate) comment: Option<String>,
    pub(crate) query: Query,
    /// The query as it was written.
    pub(crate) sql: String,
}

fn refuse(message: &str, hint: &str) -> QueryError {
    QueryError::plan(message, None, Some(hint.to_string()))
}

/// Reads the statement. Errors: what views cannot be.
pub(crate) fn view_definition(
    create: &CreateView,
    parsed: &Parsed,
    namespace: &str,
) -> Result<ViewDefinition, QueryError> {
    if create.materialized || create.temporary {
        return Err(refuse(
            "views are neither materialized nor temporary",
            "write `CREATE VIEW v AS SELECT ...`, or `CREATE TABLE t AS SELECT ...` to keep the rows",
        ));
    }
    let has_options = create.options != CreateTableOptions::None || !create.cluster_by.is_empty();
    if has_options || create.secure || create.to.is_some() || create.params.is_some() || create.or_alter {
        return Err(refuse(
            "a view has a name, columns, a comment and a query, nothing else",
            "write `CREATE OR REPLACE VIEW v (a, b) COMMENT = 'text' AS SELECT ...`",
        ));
    }
    if create.or_replace && create.if_not_exists {
        return Err(refuse("OR REPLACE and IF NOT EXISTS exclude each other", "write one of them"));
    }
    if let Some(column) = create.columns.iter().find(|column| column.data_type.is_some()) {
        return Err(refuse(
            &format!("column `{}` of a view has the type of its query", column.name),
            "write its name alone, and CAST in the query",
        ));
    }
    Ok(ViewDefinition {
        name: table_name(&create.name, namespace)?,
        or_replace: create.or_replace,
        if_not_exists: create.if_not_exists,
        columns: create.columns.iter().map(|column| name_of(&column.name)).collect(),
        comment: create.comment.clone(),
        query: create.query.as_ref().clone(),
        sql: query_text(parsed)?,
    })
}

/// The text behind `AS`.
fn query_text(parsed: &Parsed) -> Result<String, QueryError> {
    let missing = || QueryError::Internal { message: "the query of a view was not found".into() };
    let tokens = parsed.text.tokens();
    let mut depth = 0;
    let at = tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let named = word(token).filter(|word| word.quote_style.is_none());
        depth == 0 && named.is_some_and(|word| word.value.eq_ignore_ascii_case("as"))
    });
    let at = at.ok_or_else(missing)?;
    let mut end = tokens.len();
    while end > at && tokens.get(end - 1).is_some_and(|t| matches!(t.token, Token::SemiColon | Token::EOF)) {
        end -= 1;
    }
    let (first, last) = (tokens.get(at + 1), tokens.get(end - 1));
    let (Some(first), Some(last)) = (first, last) else { return Err(missing()) };
    let (from, to) = (offset(&parsed.source, first.span.start), offset(&parsed.source, last.span.end));
    parsed.source.get(from..to).map(str::to_string).ok_or_else(missing)
}
