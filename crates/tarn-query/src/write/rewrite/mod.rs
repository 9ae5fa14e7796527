//! `INSERT`, `UPDATE`, `DELETE` and `MERGE` as queries that say for each row what becomes of it.
//!
//! The query gives [`FILE`] and [`POSITION`] of the row concerned (null for a new one), [`ACTION`], and then, where rows
//! come, one column for each column of the table.

mod ast;
mod insert;
mod merge;
mod returning;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Ident, ObjectName, ObjectNamePart, Query,
    SelectItem, Statement, TableAlias, TableFactor, TableObject, TableWithJoins, UnaryOperator, Update,
    UpdateTableFromKind, Value,
};
use tarn_core::{TableName, nearest};

use ast::{alone, broken, column_of, is_text, named, null, number, parse_expr, quoted, select, sql_type};

use crate::scan::{FILE, POSITION};
use crate::sql::{ROWS_MARK, WriteStatement, position};
use crate::{QueryError, SqlPosition};
use returning::Returning;

pub(super) use ast::sql_type as type_name;
pub(crate) use returning::MERGE_ACTION;

/// The column that says what becomes of a row.
pub(crate) const ACTION: &str = "@action";
/// The row stays as it is.
pub(crate) const KEEP: i64 = 0;
/// The row goes and another one comes in its place.
pub(crate) const UPDATE: i64 = 1;
/// The row goes.
pub(crate) const DELETE: i64 = 2;
/// A row comes.
pub(crate) const INSERT: i64 = 3;

/// The table that a statement changes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: TableName,
    /// Names and types of its columns.
    pub(crate) columns: Vec<(String, DataType)>,
    pub(crate) key: Vec<String>,
    /// As queries see it.
    pub(crate) schema: SchemaRef,
}

/// A statement as a query.
#[derive(Clone, Debug)]
pub(crate) struct RowsQuery {
    pub(crate) query: Query,
    /// All rows that were there go.
    pub(crate) replaces_all: bool,
    /// Of new rows with one key the first one comes.
    pub(crate) keeps_first: bool,
    /// What `RETURNING` makes of the rows; the query above gives what it needs behind the columns of the table.
    pub(crate) returning: Option<Query>,
}

fn unsupported(message: impl Into<String>, hint: &str) -> QueryError {
    QueryError::plan(message, None, Some(hint.to_string()))
}

/// The table that a statement changes; `None` for a statement of another kind.
pub(crate) fn target_of(statement: &Statement) -> Option<Result<&ObjectName, QueryError>> {
    let only = |tables: &'_ [TableWithJoins]| tables.len() == 1 && tables[0].joins.is_empty();
    Some(match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => Ok(name),
            _ => Err(unsupported("rows can be inserted into a table only", "name a table")),
        },
        Statement::Update(update) if update.table.joins.is_empty() => name_of(&update.table.relation),
        Statement::Update(_) => Err(unsupported(
            "UPDATE changes one table",
            "name the other tables behind FROM: `UPDATE t SET c = s.c FROM s WHERE s.id = t.id`",
        )),
        Statement::Delete(delete) => match &delete.from {
            FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from) if only(from) => {
                name_of(&from[0].relation)
            }
            _ => Err(unsupported(
                "DELETE takes rows of one table",
                "name the other tables behind USING: `DELETE FROM t USING s WHERE s.id = t.id`",
            )),
        },
        Statement::Merge(merge) => name_of(&merge.table),
        _ => return None,
    })
}

fn name_of(factor: &TableFactor) -> Result<&ObjectName, QueryError> {
    match factor {
        TableFactor::Table { name, .. } => Ok(name),
        _ => Err(unsupported("only a table can be changed", "name a table")),
    }
}

/// The statement as a query. Errors: `Plan` for what is not possible or names that do not exist.
pub(crate) fn as_query(write: &WriteStatement, target: &Target) -> Result<RowsQuery, QueryError> {
    let rewrite = Rewrite { target, nothing: &write.nothing };
    let mut rows = match &write.statement {
        Statement::Insert(insert) => rewrite.insert(insert),
        Statement::Update(update) => rewrite.update(update),
        Statement::Delete(delete) => rewrite.delete(delete),
        Statement::Merge(merge) => rewrite.merge(merge),
        _ => Err(QueryError::Internal { message: "a statement of an unknown kind".into() }),
    }?;
    if let Some(with) = &write.with {
        rows.query.with = Some(with.clone());
        if let Some(returning) = &mut rows.returning {
            returning.with = Some(with.clone());
        }
    }
    Ok(rows)
}

/// The text of a number with a fraction, such as `-1.005`.
fn fraction(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.contains('.') && !digits.contains(['e', 'E']) => {
                Some(digits.clone())
            }
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => fraction(expr).map(|digits| format!("-{digits}")),
        _ => None,
    }
}

struct Rewrite<'a> {
    target: &'a Target,
    /// Which clauses of `MERGE` do nothing.
    nothing: &'a [usize],
}

impl Rewrite<'_> {
    /// The place of a column of the table. Errors: there is none of this name.
    fn column(&self, ident: &Ident) -> Result<usize, QueryError> {
        let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
        let columns = &self.target.columns;
        columns.iter().position(|(column, _)| *column == name).ok_or_else(|| {
            let near = nearest(&name, columns.iter().map(|(column, _)| column.as_str()));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`DESCRIBE {}` lists its columns", self.target.name),
            };
            let at: Option<SqlPosition> = position(ident.span.start);
            QueryError::plan(
                format!("column `{name}` is not one of table `{}`", self.target.name),
                at,
                Some(hint),
            )
        })
    }

    fn column_named(&self, name: &ObjectName) -> Result<usize, QueryError> {
        match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => self.column(ident),
            _ => Err(unsupported("this is not the name of a column", "name a column of the table")),
        }
    }

    /// A value for a column: parameters and texts take the column's type, `DEFAULT` is null.
    fn value(&self, value: &Expr, column: usize) -> Result<Expr, QueryError> {
        let (_, data_type) = &self.target.columns[column];
        if let DataType::Decimal128(..) = data_type
            && let Some(digits) = fraction(value)
        {
            // As it is written: the engine reads such numbers as floats.
            return self.value(&Expr::value(Value::SingleQuotedString(digits)), column);
        }
        let takes_type = match value {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(_) => true,
                Value::SingleQuotedString(_) => !is_text(data_type),
                _ => false,
            },
            Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
            {
                return Ok(null());
            }
            _ => false,
        };
        match sql_type(data_type).filter(|_| takes_type) {
            Some(sql) => {
                let mut cast = parse_expr(&format!("CAST(1 AS {sql})"))?;
                if let Expr::Cast { expr, .. } = &mut cast {
                    **expr = value.clone();
                }
                Ok(cast)
            }
            None => Ok(value.clone()),
        }
    }

    /// What is assigned, by place of the column. Errors: a column that is not there or is assigned twice.
    fn assignments(&self, assignments: &[Assignment]) -> Result<Vec<Option<Expr>>, QueryError> {
        let mut values: Vec<Option<Expr>> = vec![None; self.target.columns.len()];
        let mut set = |name: &ObjectName, value: &Expr| -> Result<(), QueryError> {
            let at = self.column_named(name)?;
            if values[at].replace(self.value(value, at)?).is_some() {
                let message = format!("column `{}` is set twice", self.target.columns[at].0);
                return Err(unsupported(message, "set it once"));
            }
            Ok(())
        };
        for Assignment { target, value } in assignments {
            match (target, value) {
                (AssignmentTarget::ColumnName(name), value) => set(name, value)?,
                (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                    for (name, value) in names.iter().zip(values) {
                        set(name, value)?;
                    }
                }
                (AssignmentTarget::Tuple(_), _) => {
                    return Err(unsupported(
                        "several columns cannot be set from this",
                        "set them one by one: `SET a = 1, b = 2`",
                    ));
                }
            }
        }
        Ok(values)
    }

    /// The table with places, under an alias, for the factor that names it in the statement.
    fn placed(&self, factor: &TableFactor) -> Result<(TableFactor, Ident), QueryError> {
        let mut factor = factor.clone();
        let TableFactor::Table { name, alias, .. } = &mut factor else {
            return Err(unsupported("only a table can be changed", "name a table"));
        };
        let own = match name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => ident.clone(),
            _ => quoted(self.target.name.name()),
        };
        *name = self.placed_name();
        let alias = alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: own,
            columns: Vec::new(),
            at: None,
        });
        let alias = alias.name.clone();
        Ok((factor, alias))
    }

    fn placed_name(&self) -> ObjectName {
        let table = format!("{}{ROWS_MARK}", self.target.name.name());
        ObjectName::from(vec![quoted(self.target.name.namespace()), quoted(&table)])
    }

    /// The columns that say where a row is and what becomes of it.
    fn head(&self, alias: Option<&Ident>, action: Expr) -> Vec<SelectItem> {
        let place = |column| alias.map_or_else(null, |alias| column_of(alias, column));
        vec![named(place(FILE), FILE), named(place(POSITION), POSITION), named(action, ACTION)]
    }

    fn delete(&self, delete: &Delete) -> Result<RowsQuery, QueryError> {
        if !delete.order_by.is_empty() || delete.limit.is_some() {
            return Err(unsupported(
                "DELETE takes neither ORDER BY nor LIMIT",
                "choose rows by WHERE: `DELETE FROM t WHERE id IN (SELECT ...)`",
            ));
        }
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let table = from.first().ok_or_else(|| broken("no table"))?;
        let (target, alias) = self.placed(&table.relation)?;
        let mut projection = self.head(Some(&alias), number(DELETE));
        let returning = self.returning(delete.returning.as_deref(), &alias, delete.using.is_some())?;
        if returning.is_some() {
            projection
                .extend(self.target.columns.iter().map(|(name, _)| named(column_of(&alias, name), name)));
        }
        let mut from = vec![alone(target)];
        from.extend(delete.using.iter().flatten().cloned());
        self.rows(projection, from, delete.selection.clone(), returning)
    }

    fn update(&self, update: &Update) -> Result<RowsQuery, QueryError> {
        if !update.order_by.is_empty() || update.limit.is_some() {
            return Err(unsupported(
                "UPDATE takes neither ORDER BY nor LIMIT",
                "choose rows by WHERE: `UPDATE t SET ... WHERE id IN (SELECT ...)`",
            ));
        }
        let (target, alias) = self.placed(&update.table.relation)?;
        let mut projection = self.head(Some(&alias), number(UPDATE));
        let values = self.assignments(&update.assignments)?;
        for ((name, _), value) in self.target.columns.iter().zip(values) {
            projection.push(named(value.unwrap_or_else(|| column_of(&alias, name)), name));
        }
        let mut from = vec![alone(target)];
        if let Some(UpdateTableFromKind::BeforeSet(more) | UpdateTableFromKind::AfterSet(more)) = &update.from
        {
            from.extend(more.iter().cloned());
        }
        let returning = self.returning(update.returning.as_deref(), &alias, update.from.is_some())?;
        self.rows(projection, from, update.selection.clone(), returning)
    }

    /// The query of a statement, with what its `RETURNING` needs.
    fn rows(
        &self,
        mut projection: Vec<SelectItem>,
        from: Vec<TableWithJoins>,
        selection: Option<Expr>,
        returning: Option<Returning>,
    ) -> Result<RowsQuery, QueryError> {
        let returning = returning.map(|returning| {
            projection.extend(returning.needs);
            returning.query
        });
        let query = select(projection, from, selection)?;
        Ok(RowsQuery { query, replaces_all: false, keeps_first: false, returning })
    }
}
