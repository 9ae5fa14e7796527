//! One statement, and whether it may run.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, ResetStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    CommentObject, Expr, ObjectName, Query, Set, SetExpr, ShowCreateObject, Statement, Value, With,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use tarn_lakehouse::{OrderColumn, TableAlteration};

use crate::sql::text::{lower_first, offset};
use crate::sql::{CopyPlace, CopyStatement};
use crate::sql::{
    PartitionTerm, SqlText, Upkeep, dml_words, nested_names, ordering, parse_copy, partitioning,
    placeholders, relations, time_travel, upkeep,
};
use crate::{QueryError, SqlPosition};

/// Nesting of expressions and subqueries; deeper text is refused rather than overflowing the stack.
const RECURSION_MAX: usize = 128;

/// What a statement does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Gives rows that a row limit may cut.
    Query(DfStatement),
    /// Gives rows about tables, settings or a plan.
    Show(DfStatement),
    /// Changes a table or the catalog.
    Write(Box<WriteStatement>),
    /// Shows how a statement changes a table; with `analyze` it does.
    ExplainWrite {
        /// The statement.
        write: Box<WriteStatement>,
        /// Whether it is run.
        analyze: bool,
    },
    /// Looks after tables.
    Upkeep(Upkeep),
    /// Shows the statement that would make a table.
    ShowCreate(ObjectName),
    /// Writes rows into files.
    Export(Box<CopyStatement>),
    /// Takes rows of files into a table.
    Load(Box<CopyStatement>),
    /// Changes a setting of the session.
    Set {
        /// In small letters.
        name: String,
        /// `None` resets.
        value: Option<String>,
    },
}

/// A statement that changes something, with what the grammar has no place for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WriteStatement {
    pub(crate) statement: Statement,
    /// `WITH` before it.
    pub(crate) with: Option<With>,
    /// Which clauses of `MERGE` do nothing.
    pub(crate) nothing: Vec<usize>,
}

impl WriteStatement {
    /// Just a statement.
    pub(crate) fn plain(statement: Statement) -> Self {
        Self { statement, with: None, nothing: Vec::new() }
    }
}

/// A statement with its text.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) action: Action,
    pub(crate) text: SqlText,
    /// The text as it came.
    pub(crate) source: String,
    /// `ALTER VIEW`, which the grammar below knows as `ALTER TABLE`.
    pub(crate) alters_view: bool,
    /// Of `CREATE TABLE`.
    pub(crate) partitioned_by: Vec<PartitionTerm>,
    /// Of `OPTIMIZE … ORDER BY` and `ALTER TABLE … WRITE ORDERED BY`; none of `WRITE UNORDERED`.
    pub(crate) ordered_by: Option<Vec<OrderColumn>>,
    /// Of `ALTER TABLE`, which names nothing but the table then.
    pub(crate) alterations: Vec<TableAlteration>,
}

/// Reads one statement. Errors: `Syntax`; `NotPossible` for one that is not possible.
pub(crate) fn parse(sql: &str) -> Result<Parsed, QueryError> {
    let text = SqlText::new(sql)?;
    let (blanked, travels) = time_travel::extract(sql, &text)?;
    let (blanked, partitioned_by) = partitioning::extract(&blanked, &text)?;
    let (blanked, alters_view) = as_alter_table(blanked, &text);
    let (blanked, ordered_by) = ordering::extract(&blanked, &text)?;
    let (mut blanked, alterations) = partitioning::changes(blanked, &text)?;
    if alterations.is_empty() {
        blanked = nested_names::readable(blanked, &text);
    }
    if let Some(copy) = parse_copy(sql) {
        return copied(copy?, text, sql);
    }
    let of = |action| Parsed {
        action,
        text: text.clone(),
        partitioned_by: Vec::new(),
        ordered_by: None,
        alterations: Vec::new(),
        source: sql.to_string(),
        alters_view: false,
    };
    if let Some(upkeep) = upkeep::read(&text) {
        return upkeep.map(|upkeep| of(Action::Upkeep(upkeep)));
    }
    if let Some(sql) = upkeep::history(&text) {
        return match parse(&sql)?.action {
            Action::Query(statement) => Ok(of(Action::Show(statement))),
            other => Ok(of(other)),
        };
    }
    let (blanked, words) = dml_words::extract(&blanked, &text);
    let mut statements = DFParserBuilder::new(blanked.as_str())
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax_error(&error, &text))?;
    if statements.len() > 1 {
        return Err(QueryError::Syntax {
            message: format!("{} statements in one request", statements.len()),
            position: text.second_statement(),
            hint: Some("send one statement at a time".into()),
        });
    }
    let mut statement = statements.pop_front().ok_or_else(|| QueryError::Syntax {
        message: "the SQL text is empty".into(),
        position: None,
        hint: Some("write a statement, such as `SHOW TABLES`".into()),
    })?;
    placeholders::number(&mut statement, &text);
    time_travel::apply(&mut statement, &travels)?;
    relations::apply(&mut statement)?;
    let mut action = classify(statement, &text)?;
    if let Action::Write(write) | Action::ExplainWrite { write, .. } = &mut action {
        words.put_into(write);
    }
    let source = sql.to_string();
    Ok(Parsed { action, text, source, alters_view, partitioned_by, ordered_by, alterations })
}

/// A `COPY` that is not between a client and a table. Errors: it is; the wire protocol of PostgreSQL reads those itself.
fn copied(copy: CopyStatement, text: SqlText, sql: &str) -> Result<Parsed, QueryError> {
    let refused =
        |message: &str, hint: &str| Err(QueryError::coded("0A000", message).at(text.start()).with_hint(hint));
    match (&copy.place, copy.is_from) {
        (CopyPlace::Client, _) => refused(
            "rows are copied from STDIN and to STDOUT by clients of PostgreSQL alone",
            "connect with psql or a driver of PostgreSQL, or write `INSERT INTO t ...` and SELECT",
        ),
        (CopyPlace::File(_), true) if copy.files_format()?.is_none() => refused(
            "files in the forms of PostgreSQL are read by its own protocol alone",
            "connect with psql or a driver of PostgreSQL, or write `INSERT INTO t SELECT * FROM read_csv('file')`, or \
             `tarn import`",
        ),
        (CopyPlace::File(_), is_from) => {
            let copy = Box::new(copy);
            Ok(Parsed {
                action: if is_from { Action::Load(copy) } else { Action::Export(copy) },
                text,
                partitioned_by: Vec::new(),
                ordered_by: None,
                alterations: Vec::new(),
                source: sql.to_string(),
                alters_view: false,
            })
        }
    }
}

/// The grammar has `ALTER VIEW` only with a query behind it.
fn as_alter_table(sql: String, text: &SqlText) -> (String, bool) {
    if text.leading_words(2) != "ALTER VIEW" {
        return (sql, false);
    }
    let Some(view) = text.tokens().iter().filter(|token| token.token != Token::SemiColon).nth(1) else {
        return (sql, false);
    };
    let (from, to) = (offset(&sql, view.span.start), offset(&sql, view.span.end));
    let before = sql.get(..from).unwrap_or_default();
    let behind = sql.get(to..).unwrap_or_default();
    (format!("{before}TABLE{behind}"), true)
}

fn classify(statement: DfStatement, text: &SqlText) -> Result<Action, QueryError> {
    match &statement {
        DfStatement::Explain(explain) => match classify(explain.statement.as_ref().clone(), text)? {
            Action::Write(write) => Ok(Action::ExplainWrite { write, analyze: explain.analyze }),
            _ => Ok(Action::Show(statement)),
        },
        DfStatement::Reset(ResetStatement::Variable(name)) => {
            Ok(Action::Set { name: setting(name), value: None })
        }
        DfStatement::CreateExternalTable(_) | DfStatement::CopyTo(_) => Err(refuse(text)),
        DfStatement::Statement(inner) => match inner.as_ref() {
            Statement::Query(query) if only_reads(query) => Ok(Action::Query(statement)),
            Statement::Query(query) => written(query).map(Action::Write).ok_or_else(|| refuse(text)),
            Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Merge(_)
            | Statement::CreateTable(_)
            | Statement::CreateView(_)
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::AlterTable(_)
            | Statement::Drop { .. }
            | Statement::Truncate(_)
            | Statement::Call(_)
            | Statement::Comment {
                object_type: CommentObject::Table | CommentObject::Column | CommentObject::View,
                ..
            }
            | Statement::OptimizeTable { .. } => {
                Ok(Action::Write(Box::new(WriteStatement::plain(inner.as_ref().clone()))))
            }
            Statement::ShowTables { .. } if inner.to_string().eq_ignore_ascii_case("show tables") => show(
                "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables",
            ),
            Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowVariable { .. }
            | Statement::ShowVariables { .. }
            | Statement::ShowFunctions { .. }
            | Statement::ExplainTable { .. } => Ok(Action::Show(statement)),
            Statement::ShowCreate {
                obj_type: ShowCreateObject::Table | ShowCreateObject::View,
                obj_name,
            } => Ok(Action::ShowCreate(obj_name.clone())),
            Statement::ShowDatabases { .. } | Statement::ShowSchemas { .. } => show(
                "SELECT schema_name AS namespace FROM information_schema.schemata \
                 WHERE schema_name NOT IN ('information_schema', 'pg_catalog') ORDER BY 1",
            ),
            Statement::Set(set) => set_action(set, text),
            Statement::Use(used) => {
                let name = used.to_string();
                let name = name.split_whitespace().last().unwrap_or_default().trim_matches('"').to_string();
                Ok(Action::Set { name: "search_path".into(), value: Some(name) })
            }
            _ => Err(refuse(text)),
        },
    }
}

/// A list that a query gives.
fn show(sql: &str) -> Result<Action, QueryError> {
    parse(sql).map(|parsed| match parsed.action {
        Action::Query(statement) => Action::Show(statement),
        other => other,
    })
}

/// Whether no part of a query writes: `WITH x AS (INSERT …)` and `SELECT … INTO` do.
fn only_reads(query: &Query) -> bool {
    let with_reads = query.with.iter().flat_map(|with| &with.cte_tables).all(|cte| only_reads(&cte.query));
    with_reads && body_only_reads(&query.body)
}

fn body_only_reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => only_reads(query),
        SetExpr::SetOperation { left, right, .. } => body_only_reads(left) && body_only_reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}

/// The statement of `WITH … UPDATE` and the like, which takes the queries before it along.
fn written(query: &Query) -> Option<Box<WriteStatement>> {
    let (SetExpr::Insert(statement)
    | SetExpr::Update(statement)
    | SetExpr::Delete(statement)
    | SetExpr::Merge(statement)) = query.body.as_ref()
    else {
        return None;
    };
    let with = query.with.clone();
    // What is named before it only reads: of several changes in one statement one could fail.
    if with.iter().flat_map(|with| &with.cte_tables).any(|cte| !only_reads(&cte.query)) {
        return None;
    }
    Some(Box::new(WriteStatement { with, ..WriteStatement::plain(statement.clone()) }))
}

fn setting(name: &ObjectName) -> String {
    name.to_string().replace('"', "").to_lowercase()
}

fn set_action(set: &Set, text: &SqlText) -> Result<Action, QueryError> {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let value = values.iter().map(plain_value).collect::<Vec<_>>().join(",");
            let reset = value.eq_ignore_ascii_case("default");
            Ok(Action::Set { name: setting(variable), value: (!reset).then_some(value) })
        }
        Set::SetTimeZone { value, .. } => {
            Ok(Action::Set { name: "timezone".into(), value: Some(plain_value(value)) })
        }
        Set::SetNames { .. } | Set::SetNamesDefault {} => {
            Ok(Action::Set { name: "client_encoding".into(), value: None })
        }
        _ => Err(refuse(text)),
    }
}

fn plain_value(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    }
}

/// The error for a statement that writes, with the way to do it.
fn refuse(text: &SqlText) -> QueryError {
    let words = text.leading_words(2);
    let first = words.split(' ').next().unwrap_or_default().to_string();
    let (statement, hint) = match first.as_str() {
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" => {
            (words, "possible are TABLE, VIEW and SCHEMA; everything else is a resource (`tarn apply`)")
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE" | "COPY" | "WITH" | "SELECT" => (
            if first == "SELECT" { "SELECT INTO".into() } else { first },
            "write `INSERT INTO t ...`, `UPDATE t SET ...`, `DELETE FROM t ...`, `MERGE INTO t ...` or \
             `CREATE TABLE t AS SELECT ...`",
        ),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => {
            (words, "leave it out: every statement sees one state of each table and is committed whole")
        }
        _ => (
            words,
            "possible are SELECT, SHOW, DESCRIBE, EXPLAIN, SET, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, OPTIMIZE, CALL, and \
             CREATE, ALTER and DROP of tables and views",
        ),
    };
    QueryError::NotPossible { statement, position: text.start(), hint: hint.into() }
}

fn syntax_error(error: &DataFusionError, text: &SqlText) -> QueryError {
    let message = match error.find_root() {
        DataFusionError::SQL(parser, _) => match parser.as_ref() {
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message.clone(),
            ParserError::RecursionLimitExceeded => {
                return QueryError::Syntax {
                    message: format!(
                        "expressions or subqueries are nested more than {RECURSION_MAX} levels deep"
                    ),
                    position: None,
                    hint: Some("use WITH to name inner queries, or IN instead of long chains of OR".into()),
                };
            }
        },
        other => other.message().to_string(),
    };
    let (message, position) = split_position(&message);
    let stops = message.contains("found: EOF");
    let hint = stops.then(|| "the statement stops too early".to_string());
    let position = position.or_else(|| if stops { text.end() } else { None });
    QueryError::Syntax { message: lower_first(&message), position, hint }
}

/// Takes ` at Line: 1, Column: 8` off a parser's message.
fn split_position(message: &str) -> (String, Option<SqlPosition>) {
    let Some((before, place)) = message.rsplit_once(" at Line: ") else { return (message.to_string(), None) };
    let Some((line, column)) = place.split_once(", Column: ") else { return (message.to_string(), None) };
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    match (digits(line), digits(column)) {
        (Some(line), Some(column)) => (before.to_string(), Some(SqlPosition { line, column })),
        _ => (message.to_string(), None),
    }
}
