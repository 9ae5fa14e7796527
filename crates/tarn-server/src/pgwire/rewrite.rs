//! Statements about the system catalog, in words that the planner knows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, Query, SelectItem, SetExpr, Value, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Column of `pg_class` that the emulated catalog does not have; nothing here has such options.
const OPTIONS: &str = "reloptions";

/// What clients ask about and nothing here has: memberships of roles as `ARRAY(SELECT …)`, which the planner does not know, and
/// storage options. What it says in another way: subscripts of lists, and `LIKE` with an escape of one's own.
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
    fn options_are_null_and_keep_their_name() {
        assert_eq!(
            rewritten("SELECT c.oid, c.reloptions FROM pg_class AS c"),
            "SELECT c.oid, CAST(NULL AS TEXT) AS reloptions FROM pg_class AS c"
        );
    }
}
