//! Names of tables that say more than which table: `shop.item.branch_audit`, `shop.item.tag_eoy`, and
//! `table_changes('shop.item', 1, 2)`, the rows that changed between two states.
//!
//! They become names with a mark that no table name can have, under which the catalog finds what they mean.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, TableAlias, TableFactor,
    UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::time_travel::{REF_MARK, is_ref, parse_time_ms, split_version};
use crate::sql::text::position;
use crate::{AsOf, QueryError};

const CHANGES_MARK: &str = "@changes:";
/// The function of tables that gives changes.
const CHANGES: &str = "table_changes";
const CHANGES_USAGE: &str = "write `table_changes('namespace.table', from [, to [, 'net']])`, where a state is a snapshot id, the \
                             name of a branch or tag, or a time such as '2026-01-31 12:00:00'; `null` is the beginning";
/// The only catalog; three names that begin with it are no branch.
const CATALOG: &str = "tarn";

/// What is asked of the changes of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AskedChanges {
    /// The state after which they begin; `None` is the beginning.
    pub(crate) from: Option<AsOf>,
    /// The last state; `None` is the newest one.
    pub(crate) to: Option<AsOf>,
    /// Only what differs between the two states, not each change on the way.
    pub(crate) net: bool,
}

/// Gives such names their marks. Errors: `Plan` for changes that are not asked as they can be.
pub(super) fn apply(statement: &mut DfStatement) -> Result<(), QueryError> {
    let mut inner = statement;
    loop {
        match inner {
            DfStatement::Explain(explain) => inner = explain.statement.as_mut(),
            DfStatement::Statement(statement) => {
                return match statement.visit(&mut Marks) {
                    ControlFlow::Break(error) => Err(error),
                    ControlFlow::Continue(()) => Ok(()),
                };
            }
            DfStatement::CreateExternalTable(_) | DfStatement::CopyTo(_) | DfStatement::Reset(_) => {
                return Ok(());
            }
        }
    }
}

struct Marks;

impl VisitorMut for Marks {
    type Break = QueryError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        let TableFactor::Table { name, alias, args, .. } = factor else { return ControlFlow::Continue(()) };
        let known = alias.is_some();
        let shown = match args {
            Some(given) if is_changes(name) => match changes(&given.args) {
                Ok(marked) => {
                    *name = marked;
                    *args = None;
                    Some(Ident::new(CHANGES))
                }
                Err(error) => return ControlFlow::Break(error.unwrap_or_else(|| wrong(name))),
            },
            Some(_) => None,
            None => mark_branch(name),
        };
        if let Some(shown) = shown.filter(|_| !known) {
            *alias = Some(TableAlias { explicit: true, name: shown, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<QueryError> {
        mark_branch(name);
        ControlFlow::Continue(())
    }
}

fn wrong(name: &ObjectName) -> QueryError {
    let at = match name.0.first() {
        Some(ObjectNamePart::Identifier(ident)) => position(ident.span.start),
        _ => None,
    };
    QueryError::plan(format!("`{CHANGES}` is not asked like this"), at, Some(CHANGES_USAGE.into()))
}

fn is_changes(name: &ObjectName) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value.eq_ignore_ascii_case(CHANGES))
}

/// Names as the catalog has them: an unquoted one keeps its meaning only in small letters.
fn plain(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Takes `branch_x` or `tag_x` off the end of a name. Returns the table's own name.
fn mark_branch(name: &mut ObjectName) -> Option<Ident> {
    let [.., ObjectNamePart::Identifier(table), ObjectNamePart::Identifier(last)] = name.0.as_slice() else {
        return None;
    };
    let begins_with_catalog =
        matches!(name.0.first(), Some(ObjectNamePart::Identifier(first)) if plain(first) == CATALOG);
    if name.0.len() != if begins_with_catalog { 4 } else { 3 } {
        return None;
    }
    let last = plain(last);
    let reference = last.strip_prefix("branch_").or_else(|| last.strip_prefix("tag_"))?;
    if !is_ref(reference) {
        return None;
    }
    let shown = table.clone();
    let mut marked = Ident::with_quote('"', format!("{}{REF_MARK}{reference}", plain(table)));
    marked.span = table.span;
    name.0.truncate(name.0.len() - 2);
    name.0.push(ObjectNamePart::Identifier(marked));
    Some(shown)
}

/// The table that a statement changes and the branch that its name says. Errors: changes cannot be changed.
pub(crate) fn branch_of(name: &ObjectName) -> Result<(ObjectName, Option<Arc<str>>), QueryError> {
    let Some(ObjectNamePart::Identifier(last)) = name.0.last() else { return Ok((name.clone(), None)) };
    let branch = match split_version(&last.value) {
        (_, None) => return Ok((name.clone(), None)),
        (table, Some(AsOf::Ref(branch))) => (table.to_string(), branch),
        (table, Some(_)) => {
            let message = format!("a past state of `{table}` cannot be changed");
            let hint = "make a branch of it: `CALL create_branch('namespace.table', 'name', snapshot_id)`";
            return Err(QueryError::plan(message, position(last.span.start), Some(hint.into())));
        }
    };
    let mut own = name.clone();
    own.0.pop();
    own.0.push(ObjectNamePart::Identifier(Ident { value: branch.0, ..last.clone() }));
    Ok((own, Some(branch.1)))
}

/// The name under which the changes are found. Errors: `None` where the arguments are not of the right kind.
fn changes(args: &[FunctionArg]) -> Result<ObjectName, Option<QueryError>> {
    let [table, states @ ..] = args else { return Err(None) };
    let mut parts: Vec<Ident> = match value(table) {
        Some(Given::Text(text)) => text.split('.').map(|part| Ident::with_quote('"', part)).collect(),
        Some(Given::Name(parts)) => parts,
        _ => return Err(None),
    };
    let last = parts.pop().ok_or(None)?;
    let state = |at: usize| -> Result<String, Option<QueryError>> {
        Ok(match states.get(at).map(value) {
            None | Some(Some(Given::Null)) => String::new(),
            Some(Some(Given::Number(id))) => format!("v{id}"),
            Some(Some(Given::Text(text))) => match (parse_time_ms(&text), is_ref(&text)) {
                (Some(ms), _) => format!("t{ms}"),
                (None, true) => format!("r{text}"),
                (None, false) => return Err(None),
            },
            _ => return Err(None),
        })
    };
    let mode = match states.get(2).map(value) {
        None | Some(Some(Given::Null)) => "",
        Some(Some(Given::Text(mode))) if mode.eq_ignore_ascii_case("net") => "net",
        _ => return Err(None),
    };
    if states.is_empty() || states.len() > 3 {
        return Err(None);
    }
    let marked = format!("{}{CHANGES_MARK}{}:{}:{mode}", plain(&last), state(0)?, state(1)?);
    parts.push(Ident::with_quote('"', marked));
    Ok(ObjectName::from(parts))
}

enum Given {
    Null,
    Number(i64),
    Text(String),
    Name(Vec<Ident>),
}

fn value(arg: &FunctionArg) -> Option<Given> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => literal(expr),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<Given> {
    match expr {
        Expr::Identifier(name) => Some(Given::Name(vec![name.clone()])),
        Expr::CompoundIdentifier(parts) => Some(Given::Name(parts.clone())),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Given::Number(number) => number.checked_neg().map(Given::Number),
            _ => None,
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => Some(Given::Text(text.clone())),
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Some(Given::Null),
            Value::SingleQuotedString(text) => Some(Given::Text(text.clone())),
            Value::Number(digits, _) => digits.parse().ok().map(Given::Number),
            _ => None,
        },
        _ => None,
    }
}

/// The table and what is asked of its changes, of a marked name.
pub(crate) fn changes_of(name: &str) -> Option<(&str, AskedChanges)> {
    let (table, asked) = name.split_once(CHANGES_MARK)?;
    let mut parts = asked.splitn(3, ':');
    let from = parts.next().and_then(state_of);
    let to = parts.next().and_then(state_of);
    Some((table, AskedChanges { from, to, net: parts.next() == Some("net") }))
}

fn state_of(text: &str) -> Option<AsOf> {
    let rest = text.get(1..)?;
    match text.chars().next()? {
        'v' => rest.parse().ok().map(AsOf::Snapshot),
        't' => rest.parse().ok().map(AsOf::TimestampMs),
        _ => Some(AsOf::Ref(rest.into())),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn marked(sql: &str) -> Result<String, QueryError> {
        let mut statement = DFParser::parse_sql(sql).expect("parses").pop_front().expect("one");
        apply(&mut statement)?;
        Ok(statement.to_string())
    }

    #[test]
    fn branches_and_tags_behind_a_table_become_marks() {
        let sql = "SELECT * FROM shop.item.branch_audit";
        assert_eq!(marked(sql).expect("valid"), "SELECT * FROM shop.\"item@ref:audit\" AS item");
        let sql = "UPDATE tarn.shop.item.branch_audit SET n = 1";
        assert_eq!(marked(sql).expect("valid"), "UPDATE tarn.shop.\"item@ref:audit\" AS item SET n = 1");
        let sql = "INSERT INTO shop.item.branch_audit VALUES (1)";
        assert_eq!(marked(sql).expect("valid"), "INSERT INTO shop.\"item@ref:audit\" VALUES (1)");
        for unchanged in ["SELECT * FROM tarn.shop.branch_item", "SELECT * FROM shop.item.snapshots"] {
            assert_eq!(marked(unchanged).expect("valid"), unchanged);
        }
    }

    #[test]
    fn changes_are_asked_by_snapshots_names_and_times() {
        let sql = "SELECT * FROM table_changes('shop.item', 7, 'audit', 'net') AS c";
        let text = marked(sql).expect("valid");
        assert_eq!(text, "SELECT * FROM \"shop\".\"item@changes:v7:raudit:net\" AS c");
        let (table, asked) = changes_of("item@changes:v7:raudit:net").expect("marked");
        assert_eq!(table, "item");
        let expected =
            AskedChanges { from: Some(AsOf::Snapshot(7)), to: Some(AsOf::Ref("audit".into())), net: true };
        assert_eq!(asked, expected);
        let (_, asked) = changes_of("item@changes:t86400000::").expect("marked");
        assert_eq!(asked, AskedChanges { from: Some(AsOf::TimestampMs(86_400_000)), to: None, net: false });
        let open = marked("SELECT * FROM table_changes(shop.item, null)").expect("valid");
        assert_eq!(open, "SELECT * FROM shop.\"item@changes:::\" AS table_changes");
        for wrong in
            ["table_changes()", "table_changes('t')", "table_changes('t', 1 + 1)", "table_changes(7, 8)"]
        {
            let error = marked(&format!("SELECT * FROM {wrong}")).expect_err(wrong);
            assert!(error.to_string().contains("is not asked like this"), "{error}");
        }
    }
}
