//! `RETURNING`: a query over the rows that a statement changed, as they are in the table.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, ObjectName, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, VisitMut, VisitorMut,
};

use super::ast::{broken, column_of, named, parse_query, quoted};
use super::{Rewrite, unsupported};
use crate::QueryError;
use crate::sql::RETURNED_MARK;

/// What became of a row of `MERGE`.
pub(crate) const MERGE_ACTION: &str = "@merge_action";
/// Values of other tables of the statement, with their number behind it.
const NEEDED: &str = "@needed_";

/// What `RETURNING` asks for.
pub(super) struct Returning {
    /// Columns that the query of the statement gives for it.
    pub(super) needs: Vec<SelectItem>,
    /// Over the rows that were changed.
    pub(super) query: Query,
}

impl Rewrite<'_> {
    /// `alias`: the name of the table in the statement. `has_others`: other tables can be named too. Errors: what cannot be
    /// returned.
    pub(super) fn returning(
        &self,
        items: Option<&[SelectItem]>,
        alias: &Ident,
        has_others: bool,
    ) -> Result<Option<Returning>, QueryError> {
        let Some(items) = items else { return Ok(None) };
        let mut shown = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::Wildcard(_) if has_others => {
                    return Err(unsupported(
                        "`RETURNING *` would give the columns of all tables of the statement",
                        &format!("write `RETURNING {alias}.*`, or name the columns"),
                    ));
                }
                SelectItem::Wildcard(_) => self.all_of(alias, &mut shown),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _)
                    if self.is_own(name, alias) =>
                {
                    self.all_of(alias, &mut shown);
                }
                SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                    return Err(unsupported(
                        format!("`{item}` cannot be returned"),
                        "name the columns one by one",
                    ));
                }
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                    let name = parts.last().cloned().ok_or_else(|| broken("no column"))?;
                    shown.push(SelectItem::ExprWithAlias {
                        expr: Expr::CompoundIdentifier(parts.clone()),
                        alias: name,
                    });
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                    let (expr, alias) = (Expr::Identifier(name.clone()), name.clone());
                    shown.push(SelectItem::ExprWithAlias { expr, alias });
                }
                SelectItem::UnnamedExpr(expr) if is_merge_action(expr) => {
                    shown.push(SelectItem::ExprWithAlias {
                        expr: expr.clone(),
                        alias: quoted("merge_action"),
                    });
                }
                other => shown.push(other.clone()),
            }
        }
        let mut needed = Needed { rewrite: self, alias, has_others, depth: 0, exprs: Vec::new() };
        let _: ControlFlow<()> = shown.visit(&mut needed);
        let needs = needed.exprs.into_iter().enumerate();
        let needs = needs.map(|(at, expr)| named(expr, &format!("{NEEDED}{at}"))).collect();
        let mut query = parse_query(&format!("SELECT 1 FROM x AS {alias}"))?;
        if let SetExpr::Select(body) = query.body.as_mut() {
            body.projection = shown;
            if let Some(TableFactor::Table { name, .. }) =
                body.from.first_mut().map(|table| &mut table.relation)
            {
                let table = format!("{}{RETURNED_MARK}", self.target.name.name());
                *name = ObjectName::from(vec![quoted(self.target.name.namespace()), quoted(&table)]);
            }
        }
        Ok(Some(Returning { needs, query }))
    }

    fn all_of(&self, alias: &Ident, shown: &mut Vec<SelectItem>) {
        shown.extend(self.target.columns.iter().map(|(name, _)| named(column_of(alias, name), name)));
    }

    fn is_own(&self, name: &ObjectName, alias: &Ident) -> bool {
        let last = name.0.last().and_then(|part| part.as_ident());
        last.is_some_and(|last| is_same(last, alias))
    }
}

fn is_same(one: &Ident, other: &Ident) -> bool {
    let plain = |ident: &Ident| match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    };
    plain(one) == plain(other)
}

fn is_merge_action(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let has_none = match &function.args {
        FunctionArguments::List(list) => list.args.is_empty(),
        _ => false,
    };
    has_none && function.name.to_string().eq_ignore_ascii_case("merge_action")
}

/// Finds values that are not of the table, and names them as the query over the changed rows has them.
struct Needed<'a, 'b> {
    rewrite: &'a Rewrite<'b>,
    alias: &'a Ident,
    has_others: bool,
    depth: usize,
    exprs: Vec<Expr>,
}

impl VisitorMut for Needed<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if is_merge_action(expr) {
            *expr = column_of(self.alias, MERGE_ACTION);
            return ControlFlow::Continue(());
        }
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let is_foreign = match &*expr {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, column] if is_same(table, self.alias) => {
                    *expr = Expr::CompoundIdentifier(vec![self.alias.clone(), column.clone()]);
                    false
                }
                [.., table, _] => self.has_others && !table.value.starts_with('@'),
                _ => false,
            },
            Expr::Identifier(name) => self.has_others && self.rewrite.column(name).is_err(),
            _ => false,
        };
        if is_foreign {
            let known = self.exprs.iter().position(|one| one == expr);
            let at = known.unwrap_or_else(|| {
                self.exprs.push(expr.clone());
                self.exprs.len() - 1
            });
            *expr = column_of(self.alias, &format!("{NEEDED}{at}"));
        }
        ControlFlow::Continue(())
    }
}
