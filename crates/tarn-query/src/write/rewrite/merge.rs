//! `MERGE`.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinOperator, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertKind,
    ObjectNamePart, OutputClause, SetExpr, TableFactor, TableWithJoins,
};

use super::ast::{alone, and, case, column_of, derived, named, null, number, on, parse_query, quoted, text};
use super::{DELETE, INSERT, KEEP, Rewrite, RowsQuery, UPDATE, unsupported};
use crate::QueryError;
use crate::scan::POSITION;

/// A column of the source that is never null in its rows.
const SOURCE: &str = "@source";

impl Rewrite<'_> {
    pub(super) fn merge(&self, merge: &Merge) -> Result<RowsQuery, QueryError> {
        let (target, table) = self.placed(&merge.table)?;
        let returning = match &merge.output {
            None => None,
            Some(OutputClause::Returning { select_items, .. }) => {
                self.returning(Some(select_items), &table, true)?
            }
            Some(OutputClause::Output { .. }) => {
                return Err(unsupported("OUTPUT is of another database", "write `RETURNING` at the end"));
            }
        };
        let by_source = |clause: &MergeClause| clause.clause_kind == MergeClauseKind::NotMatchedBySource;
        let inserts = |clause: &MergeClause| {
            matches!(clause.clause_kind, MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget)
        };
        let is_full = merge.clauses.iter().any(by_source);
        let (source, source_alias) = match is_full {
            true => flagged(&merge.source)?,
            false => (merge.source.clone(), quoted(SOURCE)),
        };
        let join = match (is_full, merge.clauses.iter().any(inserts)) {
            (true, _) => JoinOperator::FullOuter,
            (false, true) => JoinOperator::LeftOuter,
            (false, false) => JoinOperator::Inner,
        };
        let from =
            TableWithJoins { relation: source, joins: vec![on(merge.on.as_ref().clone(), join, target)] };
        let has_target = || Expr::IsNotNull(Box::new(column_of(&table, POSITION)));
        let no_target = || Expr::IsNull(Box::new(column_of(&table, POSITION)));
        let has_source = || is_full.then(|| Expr::IsNotNull(Box::new(column_of(&source_alias, SOURCE))));
        let no_source = || Expr::IsNull(Box::new(column_of(&source_alias, SOURCE)));
        let mut actions = Vec::new();
        let mut values: Vec<Vec<(Expr, Expr)>> = vec![Vec::new(); self.target.columns.len()];
        for (at, clause) in merge.clauses.iter().enumerate() {
            let kind = match clause.clause_kind {
                MergeClauseKind::Matched => and(has_target(), has_source()),
                MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => no_target(),
                MergeClauseKind::NotMatchedBySource => no_source(),
            };
            let condition = and(kind, clause.predicate.clone());
            let (action, row) = match self.nothing.contains(&at) {
                true => (KEEP, self.target.columns.iter().map(|_| null()).collect()),
                false => self.merge_action(clause, &table)?,
            };
            for (branches, value) in values.iter_mut().zip(row) {
                branches.push((condition.clone(), value));
            }
            actions.push((condition, number(action)));
        }
        let mut projection = self.head(Some(&table), case(actions, number(KEEP)));
        for ((name, _), branches) in self.target.columns.iter().zip(values) {
            projection.push(named(case(branches, null()), name));
        }
        self.rows(projection, vec![from], None, returning)
    }

    /// What a clause does, and the row that comes by it; for one by which none comes, the row that is there.
    fn merge_action(&self, clause: &MergeClause, table: &Ident) -> Result<(i64, Vec<Expr>), QueryError> {
        let kept = || self.target.columns.iter().map(|(name, _)| column_of(table, name)).collect::<Vec<_>>();
        match &clause.action {
            MergeAction::Delete { .. } => Ok((DELETE, kept())),
            MergeAction::Update(update) => {
                if update.update_predicate.is_some() || update.delete_predicate.is_some() {
                    return Err(unsupported(
                        "WHERE within a clause of MERGE is of another database",
                        "write `WHEN MATCHED AND condition THEN UPDATE SET ...`",
                    ));
                }
                let values = self.assignments(&update.assignments)?;
                let row = values.into_iter().zip(kept()).map(|(value, kept)| value.unwrap_or(kept));
                Ok((UPDATE, row.collect()))
            }
            MergeAction::Insert(insert) => {
                let MergeInsertKind::Values(rows) = &insert.kind else {
                    return Err(unsupported(
                        "INSERT ROW is of another database",
                        "write `INSERT (a, b) VALUES (s.a, s.b)`",
                    ));
                };
                if insert.insert_predicate.is_some() {
                    return Err(unsupported(
                        "WHERE within a clause of MERGE is of another database",
                        "write `WHEN NOT MATCHED AND condition THEN INSERT ...`",
                    ));
                }
                let columns = insert.columns.iter().map(|name| self.column_named(name));
                let mut columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
                if columns.is_empty() {
                    columns = (0..self.target.columns.len()).collect();
                }
                let [given] = rows.rows.as_slice() else {
                    return Err(unsupported("a clause of MERGE inserts one row", "write one list of values"));
                };
                let given: &Vec<Expr> = given;
                if given.len() != columns.len() {
                    let message = format!("{} values for {} columns", given.len(), columns.len());
                    return Err(unsupported(message, "give one value for each column"));
                }
                let mut row: Vec<Expr> = self.target.columns.iter().map(|_| null()).collect();
                for (value, at) in given.iter().zip(columns) {
                    row[at] = self.value(value, at)?;
                }
                Ok((INSERT, row))
            }
        }
    }
}

/// A source of `MERGE` with a column that is never null in its rows.
fn flagged(source: &TableFactor) -> Result<(TableFactor, Ident), QueryError> {
    let alias = match source {
        TableFactor::Table { name, alias, .. } => match (alias, name.0.last()) {
            (Some(alias), _) => Some(alias.name.clone()),
            (None, Some(ObjectNamePart::Identifier(ident))) => Some(ident.clone()),
            _ => None,
        },
        TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        _ => None,
    };
    let alias =
        alias.ok_or_else(|| unsupported("the source of MERGE needs a name", "write `USING (...) AS s`"))?;
    let mut query = parse_query(&format!("SELECT *, TRUE AS {} FROM x", text(SOURCE)))?;
    if let SetExpr::Select(body) = query.body.as_mut() {
        body.from = vec![alone(source.clone())];
    }
    let mut factor = derived(query, &alias.value, &[])?;
    if let TableFactor::Derived { alias: Some(own), .. } = &mut factor {
        own.name = alias.clone();
    }
    Ok((factor, alias))
}
