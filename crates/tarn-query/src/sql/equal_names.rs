//! Results with several columns of one name, which the planner refuses: columns get names of ours while the statement is
//! planned and run, and their own when they leave the engine.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, SetQuantifier, Statement,
};

const PREFIX: &str = "__tarn_column_";

/// Names that columns are shown by, by the names that they have inside.
pub(crate) type ShownNames = HashMap<String, String>;

/// Gives the columns of the result distinct names, leaving the first of each name as it is. `None`: the names are not
/// those of the outermost SELECT, or ORDER BY asks for one that several have.
pub(crate) fn tell_apart(statement: &DfStatement) -> Option<(DfStatement, ShownNames)> {
    let mut statement = statement.clone();
    let DfStatement::Statement(inner) = &mut statement else { return None };
    let Statement::Query(query) = inner.as_mut() else { return None };
    let mut renaming = Renaming::default();
    match renaming.query(query) {
        ControlFlow::Continue(()) if renaming.count > 0 => Some((statement, renaming.shown)),
        _ => None,
    }
}

/// Adds the names of columns that were written without one: those that the planner makes of their expressions.
pub(crate) fn complete(mut shown: ShownNames, plan: &LogicalPlan) -> ShownNames {
    let _ = plan.apply(|plan| {
        for expr in plan.expressions() {
            if let PlanExpr::Alias(alias) = &expr
                && alias.name.starts_with(PREFIX)
            {
                let own = || alias.expr.schema_name().to_string();
                shown.entry(alias.name.clone()).or_insert_with(own);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    shown
}

#[derive(Default)]
struct Renaming {
    count: usize,
    shown: ShownNames,
}

impl Renaming {
    fn query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let ordered = ordered_by(query);
        self.body(&mut query.body, &ordered)
    }

    fn body(&mut self, body: &mut SetExpr, ordered: &HashSet<String>) -> ControlFlow<()> {
        match body {
            SetExpr::Select(select) => self.select(select, ordered),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { set_quantifier, left, right, .. } => match set_quantifier {
                SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None => {
                    self.body(left, ordered)?;
                    self.body(right, ordered)
                }
                _ => ControlFlow::Break(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }

    fn select(&mut self, select: &mut Select, ordered: &HashSet<String>) -> ControlFlow<()> {
        let is_wildcard =
            |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        // What a wildcard stands for is not known here, so any column may have a name of its columns.
        let has_wildcard = select.projection.iter().any(is_wildcard);
        let mut seen: HashMap<String, String> = HashMap::new();
        for item in &mut select.projection {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr.clone(), column_name(expr)),
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), Some(alias.clone())),
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => continue,
                SelectItem::ExprWithAliases { .. } => return ControlFlow::Break(()),
            };
            if let Some(name) = &name {
                let known = normalized(name);
                match seen.get(&known) {
                    Some(same) if *same != expr.to_string() && ordered.contains(&known) => {
                        return ControlFlow::Break(());
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(known, expr.to_string());
                        if !has_wildcard {
                            continue;
                        }
                    }
                }
            }
            let inside = format!("{PREFIX}{}", self.count);
            self.count += 1;
            if let Some(name) = name {
                self.shown.insert(inside.clone(), normalized(&name));
            }
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(inside) };
        }
        ControlFlow::Continue(())
    }
}

/// The name of an expression that is a column.
fn column_name(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(names) => names.last().cloned(),
        _ => None,
    }
}

fn normalized(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// Names that the rows of a query are ordered by.
fn ordered_by(query: &Query) -> HashSet<String> {
    let Some(OrderByKind::Expressions(exprs)) = query.order_by.as_ref().map(|order| &order.kind) else {
        return HashSet::new();
    };
    exprs.iter().filter_map(|order| column_name(&order.expr)).map(|name| normalized(&name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Action, parse};

    fn told_apart(sql: &str) -> Option<String> {
        let Action::Query(statement) = parse(sql).expect("a statement").action else { panic!("a query") };
        tell_apart(&statement).map(|(statement, _)| statement.to_string())
    }

    #[test]
    fn the_first_column_of_a_name_keeps_it() {
        assert_eq!(
            told_apart("SELECT id, id, a AS x, b AS X FROM t ORDER BY id").as_deref(),
            Some("SELECT id, id AS __tarn_column_0, a AS x, b AS __tarn_column_1 FROM t ORDER BY id")
        );
        assert_eq!(
            told_apart("SELECT 1, 1 UNION SELECT 2, 2").as_deref(),
            Some(
                "SELECT 1 AS __tarn_column_0, 1 AS __tarn_column_1 UNION SELECT 2 AS __tarn_column_2, 2 AS \
                 __tarn_column_3"
            )
        );
        assert_eq!(
            told_apart("SELECT *, id FROM t").as_deref(),
            Some("SELECT *, id AS __tarn_column_0 FROM t")
        );
    }

    #[test]
    fn an_order_by_a_name_of_two_different_columns_stays_an_error() {
        assert_eq!(told_apart("SELECT a AS x, b AS x FROM t ORDER BY x"), None);
        assert_eq!(told_apart("SELECT id FROM (SELECT 1 AS id, 2 AS id)"), None);
    }
}
