//! Statements about the system catalog, in words that the planner knows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArguments, Ident, Query, SelectItem, SetExpr, Value, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::keys::PG_CLASS;

/// Column of `pg_class` that the emulated catalog does not have; nothing here has such options.
const OPTIONS: &str = "reloptions";

/// What clients ask about and nothing here has: memberships of roles as `ARRAY(SELECT …)`, which the planner does not know,
/// defaults, sequences and collations of columns, and storage options. What it says in another way: subscripts of lists, and `LIKE` with an escape of one's own.
pub(super) struct Rewrite;

fn parsed(text: &str) -> Option<Expr> {
    Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}

impl VisitorMut for Rewrite {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) = item
                    && path.last().is_some_and(|name| name.value.eq_ignore_ascii_case(OPTIONS))
                    && let Some(expr) = parsed("CAST(NULL AS TEXT)")
                {
                    *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(OPTIONS) };
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr {
            escaped(pattern, escape_char);
            return ControlFlow::Continue(());
        }
        if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = expr
            && left.to_string().ends_with("classoid")
            && let Some(number) = number_of_class(right)
        {
            **right = number;
            return ControlFlow::Continue(());
        }
        if let Expr::Case { conditions, .. } = &*expr
            && conditions.iter().any(|when| asks_for_nothing(&when.result))
            && let Some(nothing) = parsed("CAST(NULL AS TEXT)")
        {
            *expr = nothing;
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        if name.ends_with("generate_subscripts")
            && let Some(numbers) = subscripts(function)
        {
            *expr = numbers;
            return ControlFlow::Continue(());
        }
        let is_array = name == "array" && matches!(function.args, FunctionArguments::Subquery(_));
        let asks_options = name.ends_with("array_to_string") && expr.to_string().contains(OPTIONS);
        if is_array || asks_options {
            let empty = if is_array { "{}" } else { "" };
            *expr = Expr::value(Value::SingleQuotedString(empty.to_string()));
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query within an expression looks for defaults, sequences or collations of a column: nothing here has them, and
/// the planner does not know such queries.
fn asks_for_nothing(result: &Expr) -> bool {
    let Expr::Subquery(query) = result else { return false };
    let text = query.to_string().to_lowercase();
    ["pg_attrdef", "pg_sequence", "pg_collation"]
        .iter()
        .any(|table| text.contains(&format!("from pg_catalog.{table}")))
}

/// The number of `'pg_class'::regclass`, which stands here as the query that looks the name up: the catalog of tables is not
/// in itself. The name may be a parameter.
fn number_of_class(expr: &Expr) -> Option<Expr> {
    let Expr::Subquery(query) = expr else { return None };
    let text = query.to_string();
    let (_, name) = text.split_once("parse_ident(")?;
    let (name, _) = name.split_once("::TEXT)")?;
    parsed(&format!(
        "CASE {name}::TEXT WHEN 'pg_catalog.pg_class' THEN {PG_CLASS} WHEN 'pg_class' THEN {PG_CLASS} END"
    ))
}

/// A pattern whose escape is the backslash, as the planner wants it.
fn escaped(pattern: &mut Box<Expr>, escape: &mut Option<datafusion::sql::sqlparser::ast::ValueWithSpan>) {
    let Some(Value::SingleQuotedString(own)) = escape.as_ref().map(|escape| &escape.value) else { return };
    let mut chars = own.chars();
    let (Some(own), None) = (chars.next(), chars.next()) else { return };
    if own == '\\' {
        return;
    }
    let quoted = if own == '\'' { "''".to_string() } else { own.to_string() };
    let text = format!("replace(replace({pattern}, '\\', '\\\\'), '{quoted}', '\\')");
    if let Some(rewritten) = parsed(&text) {
        **pattern = rewritten;
        *escape = None;
    }
}

/// The numbers of the items of a list, which the planner gives in another way.
fn subscripts(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(arguments) = &function.args else { return None };
    let list = arguments.args.first()?;
    parsed(&format!("unnest(range(1, CAST(array_length({list}) AS BIGINT) + 1))"))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::VisitMut;

    use super::*;

    fn rewritten(text: &str) -> String {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, text).expect("parsed");
        let _ = statements.visit(&mut Rewrite);
        statements[0].to_string()
    }

    #[test]
    fn an_escape_of_ones_own_becomes_a_backslash() {
        assert_eq!(
            rewritten("SELECT a LIKE b || '%' ESCAPE '/' FROM t"),
            "SELECT a LIKE replace(replace(b || '%', '\\', '\\\\'), '/', '\\') FROM t"
        );
        assert_eq!(rewritten("SELECT a LIKE b FROM t"), "SELECT a LIKE b FROM t");
    }

    #[test]
    fn the_catalog_of_tables_has_its_number() {
        let looked_up =
            "(SELECT c.oid FROM pg_catalog.pg_class c CROSS JOIN (SELECT parse_ident($1::TEXT) AS parts))";
        assert_eq!(
            rewritten(&format!("SELECT 1 FROM d WHERE d.classoid = {looked_up}")),
            "SELECT 1 FROM d WHERE d.classoid = CASE $1::TEXT WHEN 'pg_catalog.pg_class' THEN 1259 WHEN 'pg_class' THEN 1259 END"
        );
    }

    #[test]
    fn what_columns_do_not_have_is_null() {
        assert_eq!(
            rewritten(
                "SELECT CASE WHEN a.atthasdef THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef AS d \
                 WHERE d.adrelid = a.attrelid) ELSE NULL END AS v FROM pg_catalog.pg_attribute AS a"
            ),
            "SELECT CAST(NULL AS TEXT) AS v FROM pg_catalog.pg_attribute AS a"
        );
        let other = "SELECT CASE WHEN a.b THEN (SELECT max(c) FROM t) ELSE NULL END FROM u AS a";
        assert_eq!(rewritten(other), other);
    }

    #[test]
    fn options_are_null_and_keep_their_name() {
        assert_eq!(
            rewritten("SELECT c.oid, c.reloptions FROM pg_class AS c"),
            "SELECT c.oid, CAST(NULL AS TEXT) AS reloptions FROM pg_class AS c"
        );
    }
}
