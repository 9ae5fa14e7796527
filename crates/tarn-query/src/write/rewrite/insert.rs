//! `INSERT`, also with `ON CONFLICT`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ConflictTarget, Expr, Ident, Insert, JoinOperator, OnConflict, OnConflictAction, OnInsert, SetExpr,
    TableFactor, TableWithJoins, Values, VisitMut, VisitorMut,
};

use super::ast::{
    alone, and, broken, case, column_of, derived, named, null, number, on, parse_expr, parse_query, quoted,
    select, text,
};
use super::{INSERT, KEEP, Rewrite, RowsQuery, UPDATE, unsupported};
use crate::QueryError;
use crate::scan::POSITION;

/// Rows that an `INSERT` would bring.
const EXCLUDED: &str = "excluded";

impl Rewrite<'_> {
    pub(super) fn insert(&self, insert: &Insert) -> Result<RowsQuery, QueryError> {
        if insert.partitioned.is_some() || !insert.assignments.is_empty() {
            return Err(unsupported(
                "INSERT takes neither PARTITION nor SET",
                "write `INSERT INTO t (a, b) VALUES (...)` or `INSERT INTO t SELECT ...`",
            ));
        }
        if insert.or.is_some() || insert.ignore || insert.replace_into {
            return Err(unsupported(
                "this form of INSERT is of another database",
                "write `INSERT ... ON CONFLICT DO NOTHING` or `ON CONFLICT DO UPDATE SET ...`",
            ));
        }
        let mut source = match &insert.source {
            Some(source) => source.as_ref().clone(),
            None => return Err(unsupported("INSERT needs rows", "write VALUES or SELECT behind it")),
        };
        let named_columns = insert.columns.iter().map(|name| self.column_named(name));
        let mut columns: Vec<usize> = named_columns.collect::<Result<_, _>>()?;
        let all: Vec<usize> = (0..self.target.columns.len()).collect();
        if columns.is_empty() {
            columns = all.clone();
        }
        if let Some(twice) = columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column)) {
            let message = format!("column `{}` is named twice", self.target.columns[*twice.1].0);
            return Err(unsupported(message, "name each column once"));
        }
        if let SetExpr::Values(values) = source.body.as_mut() {
            self.take_types(values, insert.columns.is_empty(), &mut columns)?;
        }
        let names: Vec<String> = columns.iter().map(|at| self.target.columns[*at].0.clone()).collect();
        let rows = derived(source, EXCLUDED, &names)?;
        let excluded = quoted(EXCLUDED);
        let new = |at: usize| match columns.contains(&at) {
            true => column_of(&excluded, &self.target.columns[at].0),
            false => null(),
        };
        let table =
            insert.table_alias.as_ref().map_or_else(|| quoted(self.target.name.name()), |a| a.alias.clone());
        let returning = self.returning(insert.returning.as_deref(), &table, false)?;
        let Some(conflict) = &insert.on else {
            let mut projection = self.head(None, number(INSERT));
            projection.extend(all.iter().map(|at| named(new(*at), &self.target.columns[*at].0)));
            let made = self.rows(projection, vec![alone(rows)], None, returning)?;
            return Ok(RowsQuery { replaces_all: insert.overwrite, ..made });
        };
        let made = self.upsert(conflict, rows, &table, &new)?;
        Ok(RowsQuery { returning: returning.map(|returning| returning.query), ..made })
    }

    /// Lets literal values take the types of their columns. `is_open`: the statement names no columns; then the values
    /// are those of the first ones, as many as there are. Errors: another number of values.
    fn take_types(
        &self,
        rows: &mut Values,
        is_open: bool,
        columns: &mut Vec<usize>,
    ) -> Result<(), QueryError> {
        if is_open && let Some(row) = rows.rows.first() {
            columns.truncate(row.len());
        }
        for row in &mut rows.rows {
            let row: &mut Vec<Expr> = row;
            if row.len() != columns.len() {
                let names: Vec<&str> = columns.iter().map(|at| self.target.columns[*at].0.as_str()).collect();
                let (given, taken) = (row.len(), columns.len());
                let message = format!("a row has {given} values for {taken} columns ({})", names.join(", "));
                return Err(unsupported(message, "give one value for each column, or name fewer columns"));
            }
            for (value, column) in row.iter_mut().zip(columns.iter()) {
                *value = self.value(value, *column)?;
            }
        }
        Ok(())
    }

    fn upsert(
        &self,
        conflict: &OnInsert,
        rows: TableFactor,
        table: &Ident,
        new: &dyn Fn(usize) -> Expr,
    ) -> Result<RowsQuery, QueryError> {
        let OnInsert::OnConflict(conflict) = conflict else {
            return Err(unsupported(
                "ON DUPLICATE KEY is of another database",
                "write `ON CONFLICT DO UPDATE SET c = excluded.c`",
            ));
        };
        self.check_conflict(conflict)?;
        let placed = parse_query(&format!("SELECT 1 FROM x AS {table}"))?;
        let SetExpr::Select(mut body) = *placed.body else { return Err(broken("no table")) };
        let mut target = body.from.pop().map(|table| table.relation).ok_or_else(|| broken("no table"))?;
        if let TableFactor::Table { name, .. } = &mut target {
            *name = self.placed_name();
        }
        let excluded = quoted(EXCLUDED);
        let is_new = Expr::IsNull(Box::new(column_of(table, POSITION)));
        let equal = self.target.key.iter().try_fold(None, |all: Option<Expr>, name| {
            let one = parse_expr(&format!("{excluded}.{} = {table}.{}", text(name), text(name)))?;
            Ok::<_, QueryError>(Some(match all {
                None => one,
                Some(all) => and(all, Some(one)),
            }))
        })?;
        let from = TableWithJoins {
            relation: rows,
            joins: vec![on(equal.ok_or_else(|| broken("no key"))?, JoinOperator::LeftOuter, target)],
        };
        let keeps_first = matches!(conflict.action, OnConflictAction::DoNothing);
        let (otherwise, values) = self.on_conflict(&conflict.action, table)?;
        let action = case(vec![(is_new.clone(), number(INSERT))], otherwise);
        let mut projection = self.head(Some(table), action);
        for (at, (name, _)) in self.target.columns.iter().enumerate() {
            let kept = match values.get(at) {
                Some(Some(value)) => value.clone(),
                _ => column_of(table, name),
            };
            projection.push(named(case(vec![(is_new.clone(), new(at))], kept), name));
        }
        let query = select(projection, vec![from], None)?;
        Ok(RowsQuery { query, replaces_all: false, keeps_first, returning: None })
    }

    /// A conflict is one of the key. Errors: the table has none, or the statement names other columns.
    fn check_conflict(&self, conflict: &OnConflict) -> Result<(), QueryError> {
        let key = &self.target.key;
        if key.is_empty() {
            return Err(unsupported(
                format!("table `{}` has no primary key, so rows cannot conflict", self.target.name),
                "leave ON CONFLICT out, or use MERGE",
            ));
        }
        match &conflict.conflict_target {
            None => {}
            Some(ConflictTarget::Columns(columns)) => {
                let mut named: Vec<usize> =
                    columns.iter().map(|column| self.column(column)).collect::<Result<_, _>>()?;
                named.sort_unstable();
                let mut own: Vec<usize> =
                    key.iter().map(|name| self.column(&quoted(name))).collect::<Result<_, _>>()?;
                own.sort_unstable();
                if named != own {
                    let message = format!("the key of `{}` is ({})", self.target.name, key.join(", "));
                    return Err(unsupported(
                        message,
                        "write `ON CONFLICT` without columns, or with those of the key",
                    ));
                }
            }
            Some(_) => {
                return Err(unsupported("tables have no named constraints", "write `ON CONFLICT DO ...`"));
            }
        }
        Ok(())
    }

    /// What becomes of a row that is there: the action, and what is assigned by place of the column.
    fn on_conflict(
        &self,
        action: &OnConflictAction,
        table: &Ident,
    ) -> Result<(Expr, Vec<Option<Expr>>), QueryError> {
        let OnConflictAction::DoUpdate(update) = action else { return Ok((number(KEEP), Vec::new())) };
        let mut values = self.assignments(&update.assignments)?;
        let mut qualify = Qualify { rewrite: self, table };
        for value in values.iter_mut().flatten() {
            let _: ControlFlow<()> = value.visit(&mut qualify);
        }
        let mut selection = update.selection.clone();
        if let Some(selection) = &mut selection {
            let _: ControlFlow<()> = selection.visit(&mut qualify);
        }
        let action = match selection {
            Some(selection) => case(vec![(selection, number(UPDATE))], number(KEEP)),
            None => number(UPDATE),
        };
        Ok((action, values))
    }
}

/// Columns without a table are those of the table that is changed.
struct Qualify<'a, 'b> {
    rewrite: &'a Rewrite<'b>,
    table: &'a Ident,
}

impl VisitorMut for Qualify<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && self.rewrite.column(ident).is_ok()
        {
            *expr = Expr::CompoundIdentifier(vec![self.table.clone(), ident.clone()]);
        }
        ControlFlow::Continue(())
    }
}
