//! Pieces of SQL that statements are rewritten with.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Join, JoinConstraint, JoinOperator, Query, SelectItem, SetExpr,
    Statement, TableFactor, TableWithJoins, Value,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::QueryError;

pub(super) fn broken(error: impl std::fmt::Display) -> QueryError {
    QueryError::Internal { message: format!("a statement could not be rewritten: {error}") }
}

pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

pub(super) fn text(name: &str) -> String {
    quoted(name).to_string()
}

pub(super) fn parse_query(sql: &str) -> Result<Query, QueryError> {
    let mut parsed = Parser::parse_sql(&GenericDialect {}, sql).map_err(broken)?;
    match parsed.pop() {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(broken("not a query")),
    }
}

pub(super) fn parse_expr(sql: &str) -> Result<Expr, QueryError> {
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(broken)?;
    parser.parse_expr().map_err(broken)
}

pub(super) fn named(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: quoted(name) }
}

pub(super) fn column_of(table: &Ident, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), quoted(column)])
}

pub(super) fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

pub(super) fn null() -> Expr {
    Expr::value(Value::Null)
}

pub(super) fn and(left: Expr, right: Option<Expr>) -> Expr {
    let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
    match right {
        None => left,
        Some(right) => Expr::BinaryOp { left: nested(left), op: BinaryOperator::And, right: nested(right) },
    }
}

/// `CASE WHEN … THEN … ELSE … END`.
pub(super) fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    if branches.is_empty() {
        return otherwise;
    }
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: branches.into_iter().map(|(condition, result)| CaseWhen { condition, result }).collect(),
        else_result: Some(Box::new(otherwise)),
    }
}

/// `SELECT projection FROM from WHERE selection`.
pub(super) fn select(
    projection: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Query, QueryError> {
    let mut query = parse_query("SELECT 1 FROM x")?;
    if let SetExpr::Select(body) = query.body.as_mut() {
        body.projection = projection;
        body.from = from;
        body.selection = selection;
    }
    Ok(query)
}

/// `(query) AS alias(columns)`.
pub(super) fn derived(query: Query, alias: &str, columns: &[String]) -> Result<TableFactor, QueryError> {
    let columns = match columns {
        [] => String::new(),
        columns => format!("({})", columns.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ")),
    };
    let skeleton = parse_query(&format!("SELECT 1 FROM (SELECT 1) AS {}{columns}", text(alias)))?;
    let SetExpr::Select(body) = *skeleton.body else { return Err(broken("no derived table")) };
    let factor = body.from.into_iter().next().map(|table| table.relation);
    match factor {
        Some(TableFactor::Derived { lateral, alias, sample, .. }) => {
            Ok(TableFactor::Derived { lateral, subquery: Box::new(query), alias, sample })
        }
        _ => Err(broken("no derived table")),
    }
}

pub(super) fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins { relation, joins: Vec::new() }
}

pub(super) fn on(
    condition: Expr,
    operator: fn(JoinConstraint) -> JoinOperator,
    relation: TableFactor,
) -> Join {
    Join { relation, global: false, join_operator: operator(JoinConstraint::On(condition)) }
}

/// SQL for a type of a column; `None` for those that have none.
pub(in crate::write) fn sql_type(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Date32 => "DATE".into(),
        DataType::Time64(_) => "TIME".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".into(),
        _ => return None,
    })
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
