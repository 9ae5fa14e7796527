//! Writes out the `*` of a view's query as the columns that it means now, as PostgreSQL does: a column that a table gets
//! later does not come into the view.
//!
//! Only the stars change in the text; what else its author wrote stays.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement,
    Visit, Visitor, WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS_INDEX, Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::QueryError;
use crate::sql::{Action, SqlText, offset, parse};

/// Words that begin an expression of their own, so a column of such a name is quoted.
const WORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "case",
    "cast",
    "convert",
    "distinct",
    "else",
    "exists",
    "extract",
    "false",
    "in",
    "interval",
    "is",
    "like",
    "not",
    "null",
    "or",
    "position",
    "struct",
    "substring",
    "then",
    "trim",
    "true",
    "unique",
];

/// The text of a view's query with its stars written out. Errors: a star that cannot be.
pub(crate) async fn expand(state: &SessionState, sql: &str) -> Result<String, QueryError> {
    let parsed = parse(sql)?;
    let Action::Query(DfStatement::Statement(statement)) = &parsed.action else {
        return Err(QueryError::plan(
            "a view is made of a query",
            None,
            Some("write `AS SELECT ...`".into()),
        ));
    };
    let mut found = Stars::default();
    let _: ControlFlow<()> = statement.visit(&mut found);
    let mut edits = Vec::new();
    for star in &found.stars {
        edits.push(edit(state, star, sql, &parsed.text).await?);
    }
    edits.sort_by_key(|(from, _, _)| std::cmp::Reverse(*from));
    let mut text = sql.to_string();
    for (from, to, columns) in edits {
        if text.get(from..to).is_none() {
            return Err(unwritable());
        }
        text.replace_range(from..to, &columns);
    }
    Ok(text)
}

fn unwritable() -> QueryError {
    QueryError::plan(
        "the `*` of this view cannot be written out as columns",
        None,
        Some("name the columns in the query".into()),
    )
}

/// A `*` with the FROM that it is about and the named queries that the FROM may use.
struct Star {
    item: SelectItem,
    select: Box<Select>,
    with: Option<With>,
}

#[derive(Default)]
struct Stars {
    stars: Vec<Star>,
    withs: Vec<Option<With>>,
}

impl Visitor for Stars {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.withs.push(query.with.clone());
        self.body(&query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.withs.pop();
        ControlFlow::Continue(())
    }
}

impl Stars {
    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => {
                let is_star = |item: &&SelectItem| {
                    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _))
                };
                for item in select.projection.iter().filter(is_star) {
                    let with = self.with();
                    self.stars.push(Star { item: item.clone(), select: select.clone(), with });
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // A query in parentheses is visited as one.
            _ => {}
        }
    }

    /// The named queries that are known here; an inner name hides an outer one.
    fn with(&self) -> Option<With> {
        let mut all: Option<With> = None;
        for with in self.withs.iter().flatten() {
            match &mut all {
                None => all = Some(with.clone()),
                Some(all) => {
                    all.recursive |= with.recursive;
                    let hidden = |name: &Ident| with.cte_tables.iter().any(|cte| cte.alias.name == *name);
                    all.cte_tables.retain(|cte| !hidden(&cte.alias.name));
                    all.cte_tables.extend(with.cte_tables.iter().cloned());
                }
            }
        }
        all
    }
}

/// Plans `SELECT item FROM ...` of a star.
async fn columns_of(state: &SessionState, star: &Star, item: SelectItem) -> Result<LogicalPlan, QueryError> {
    let skeleton = parse("SELECT 1")?;
    let Action::Query(DfStatement::Statement(mut statement)) = skeleton.action else {
        return Err(unwritable());
    };
    let Statement::Query(query) = statement.as_mut() else { return Err(unwritable()) };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(unwritable()) };
    select.projection = vec![item];
    select.from = star.select.from.clone();
    query.with = star.with.clone();
    state.statement_to_plan(DfStatement::Statement(statement)).await.map_err(|_| unwritable())
}

type Edit = (usize, usize, String);

async fn edit(state: &SessionState, star: &Star, sql: &str, text: &SqlText) -> Result<Edit, QueryError> {
    let (options, prefix) = match &star.item {
        SelectItem::Wildcard(options) => (options, None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            (options, Some(name))
        }
        _ => return Err(unwritable()),
    };
    if options.opt_rename.is_some() {
        return Err(unwritable());
    }
    let wanted = columns_of(state, star, star.item.clone()).await?;
    let all = columns_of(state, star, SelectItem::Wildcard(WildcardAdditionalOptions::default())).await?;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for field in all.schema().fields() {
        *counts.entry(field.name()).or_default() += 1;
    }
    let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
    let replaced: HashMap<String, &Expr> =
        replaced.map(|item| (crate::write::name_of(&item.column_name), &item.expr)).collect();
    let mut columns = Vec::new();
    for (qualifier, field) in wanted.schema().iter() {
        let name = quoted(field.name());
        columns.push(match (replaced.get(field.name()), qualifier) {
            (Some(expr), _) => format!("{expr} AS {name}"),
            (None, Some(qualifier)) if counts.get(field.name().as_str()).copied() != Some(1) => {
                // What the FROM calls it, which is its alias or its whole name.
                let parts = qualifier.to_vec();
                let parts: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
                format!("{}.{name}", parts.join("."))
            }
            _ => name,
        });
    }
    let (from, to) = extent(options, prefix, sql, text)?;
    Ok((from, to, columns.join(", ")))
}

/// Where a star stands in the text: from its qualifier to its last option.
fn extent(
    options: &WildcardAdditionalOptions,
    prefix: Option<&ObjectName>,
    sql: &str,
    text: &SqlText,
) -> Result<(usize, usize), QueryError> {
    let star = options.wildcard_token.0.span;
    let first = prefix.and_then(|name| name.0.first()).and_then(|part| part.as_ident());
    let start = first.map_or(star.start, |ident| ident.span.start);
    let has_options = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some();
    let mut end = star.end;
    if has_options {
        let mut depth = 0;
        for token in text.tokens().iter().skip_while(|token| token.span.start <= star.start) {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 => break,
                Token::Word(word) if depth == 0 && word.keyword == Keyword::FROM => break,
                _ => {}
            }
            end = token.span.end;
        }
    }
    match star.start.line {
        0 => Err(unwritable()),
        _ => Ok((offset(sql, start), offset(sql, end))),
    }
}

/// A name as SQL writes it, in quotes only where it must be.
fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let simple = starts && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let keyword = datafusion::sql::sqlparser::keywords::ALL_KEYWORDS
        .binary_search(&name.to_uppercase().as_str())
        .ok()
        .and_then(|at| ALL_KEYWORDS_INDEX.get(at));
    let reserved = keyword.is_some_and(|keyword| {
        RESERVED_FOR_COLUMN_ALIAS.contains(keyword) || RESERVED_FOR_TABLE_ALIAS.contains(keyword)
    });
    match simple && !reserved && !WORDS.contains(&name) {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_only_where_it_must_be() {
        let shown =
            ["id", "name", "date", "Id", "a b", "select", "order", "not", "7th", "sum_2", "a\"b", "数"];
        let expected = [
            "id",
            "name",
            "date",
            "\"Id\"",
            "\"a b\"",
            "\"select\"",
            "\"order\"",
            "\"not\"",
            "\"7th\"",
            "sum_2",
            "\"a\"\"b\"",
            "\"数\"",
        ];
        assert_eq!(shown.map(quoted), expected);
    }
}
