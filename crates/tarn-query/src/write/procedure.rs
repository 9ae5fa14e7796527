//! `CALL`: what has no statement of its own in SQL.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, UnaryOperator, Value,
};
use tarn_core::{TableName, nearest};
use tarn_lakehouse::RefKind;

use crate::sql::{is_ref, parse_time_ms};
use crate::tables::TableChange;
use crate::{AsOf, QueryError};

/// The procedures, and how each is called.
const PROCEDURES: &[(&str, &str)] = &[
    ("create_tag", "CALL create_tag('namespace.table', 'name' [, snapshot_id])"),
    ("create_branch", "CALL create_branch('namespace.table', 'name' [, snapshot_id])"),
    ("drop_tag", "CALL drop_tag('namespace.table', 'name')"),
    ("drop_branch", "CALL drop_branch('namespace.table', 'name')"),
    ("fast_forward", "CALL fast_forward('namespace.table', 'main', 'branch')"),
    ("rollback_to_snapshot", "CALL rollback_to_snapshot('namespace.table', snapshot_id)"),
    ("rollback_to_timestamp", "CALL rollback_to_timestamp('namespace.table', '2026-01-31 12:00:00')"),
    ("accept_schema_change", "CALL accept_schema_change('namespace.table')"),
    ("rollback_to_tag", "CALL rollback_to_tag('namespace.table', 'name')"),
];

enum Given {
    Text(String),
    Number(i64),
}

/// What a call does. Errors: an unknown procedure, arguments that it does not take.
pub(super) fn called(function: &Function, namespace: &str) -> Result<TableChange, QueryError> {
    // As in Spark, `system.` and a catalog may stand before the name.
    let name = match function.name.0.last() {
        Some(ObjectNamePart::Identifier(ident)) => ident.value.to_lowercase(),
        _ => String::new(),
    };
    let Some((_, usage)) = PROCEDURES.iter().find(|(known, _)| *known == name) else {
        let near = nearest(&name, PROCEDURES.iter().map(|(known, _)| *known));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "there are {}",
                PROCEDURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
            ),
        };
        return Err(QueryError::plan(format!("there is no procedure `{name}`"), None, Some(hint)));
    };
    let wrong = || {
        let message = format!("`{name}` is not called like this");
        QueryError::plan(message, None, Some(format!("write `{usage}`")))
    };
    let given = arguments(function).ok_or_else(wrong)?;
    let Some((Given::Text(table), rest)) = given.split_first() else { return Err(wrong()) };
    let table = table_of(table, namespace)?;
    let named = |text: &str| match is_ref(text) {
        true => Ok(text.to_string()),
        false => Err(QueryError::plan(
            format!("`{text}` cannot name a snapshot"),
            None,
            Some("use letters, digits, `_`, `-`, `.`, `/` and spaces".into()),
        )),
    };
    Ok(match (name.as_str(), rest) {
        ("create_tag" | "create_branch", [Given::Text(reference), more @ ..]) => {
            let snapshot_id = match more {
                [] => None,
                [Given::Number(id)] => Some(*id),
                _ => return Err(wrong()),
            };
            let kind = if name == "create_tag" { RefKind::Tag } else { RefKind::Branch };
            TableChange::CreateRef { table, kind, name: named(reference)?, snapshot_id }
        }
        ("accept_schema_change", []) => TableChange::AcceptSchemaChange { table },
        ("drop_tag" | "drop_branch", [Given::Text(reference)]) => {
            TableChange::DropRef { table, name: named(reference)? }
        }
        ("fast_forward", [Given::Text(branch), Given::Text(to)]) => {
            TableChange::FastForward { table, branch: named(branch)?, to: named(to)? }
        }
        ("rollback_to_snapshot", [Given::Number(id)]) => {
            TableChange::RollBack { table, to: AsOf::Snapshot(*id) }
        }
        ("rollback_to_timestamp", [Given::Text(time)]) => {
            let to = AsOf::TimestampMs(parse_time_ms(time).ok_or_else(wrong)?);
            TableChange::RollBack { table, to }
        }
        ("rollback_to_tag", [Given::Text(reference)]) => {
            TableChange::RollBack { table, to: AsOf::Ref(named(reference)?.into()) }
        }
        _ => return Err(wrong()),
    })
}

fn arguments(function: &Function) -> Option<Vec<Given>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let values = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => literal(expr),
        _ => None,
    });
    values.collect()
}

fn literal(expr: &Expr) -> Option<Given> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(Given::Text(text.clone())),
            Value::Number(digits, _) => digits.parse().ok().map(Given::Number),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Given::Number(number) => number.checked_neg().map(Given::Number),
            Given::Text(_) => None,
        },
        _ => None,
    }
}

pub(crate) fn table_of(text: &str, namespace: &str) -> Result<TableName, QueryError> {
    let made = match text.split_once('.') {
        Some(_) => TableName::parse(text),
        None => TableName::new(namespace, text),
    };
    made.map_err(|error| QueryError::plan(error.to_string(), None, Some("write 'namespace.table'".into())))
}
