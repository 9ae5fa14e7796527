//! `DECLARE`, `FETCH`, `MOVE`, `CLOSE`: results that a client reads piece by piece.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{CloseCursor, FetchDirection, Statement, Value};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use pgwire::api::results::{FieldInfo, QueryResponse, SendableRowStream};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;

use super::error::user_error;

const CURSORS_MAX: usize = 64;
/// Rows of one `FETCH` are held until all of them are there.
const ROWS_MAX: usize = 1_000_000;

/// The open cursors of a connection.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<HashMap<String, Arc<Cursor>>>);

struct Cursor {
    fields: Arc<Vec<FieldInfo>>,
    rows: tokio::sync::Mutex<SendableRowStream>,
}

/// What a cursor statement asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CursorCall {
    Declare { name: String, query: String },
    Fetch { name: String, rows: Option<usize> },
    Move { name: String, rows: Option<usize> },
    Close { name: Option<String> },
}

/// Reads a cursor statement. Errors: what is wrong with it; a direction other than forward.
pub(crate) fn parse(sql: &str) -> PgWireResult<CursorCall> {
    let (sql, is_move) = match sql.get(..4) {
        Some(word) if word.eq_ignore_ascii_case("move") => (format!("FETCH{}", &sql[4..]), true),
        _ => (sql.to_string(), false),
    };
    let statement = Parser::parse_sql(&PostgreSqlDialect {}, &sql)
        .map_err(|error| user_error("42601", error.to_string()))?
        .into_iter()
        .next();
    match statement {
        Some(Statement::Declare { stmts }) => {
            let declared = stmts.into_iter().next();
            let name = declared.as_ref().and_then(|one| one.names.first()).map(|name| name.value.clone());
            let query = declared.and_then(|one| one.for_query).map(|query| query.to_string());
            match (name, query) {
                (Some(name), Some(query)) => Ok(CursorCall::Declare { name, query }),
                _ => Err(user_error("42601", "DECLARE needs a name and CURSOR FOR a query")),
            }
        }
        Some(Statement::Fetch { name, direction, .. }) => {
            let (name, rows) = (name.value, rows_of(&direction)?);
            Ok(if is_move { CursorCall::Move { name, rows } } else { CursorCall::Fetch { name, rows } })
        }
        Some(Statement::Close { cursor: CloseCursor::All }) => Ok(CursorCall::Close { name: None }),
        Some(Statement::Close { cursor: CloseCursor::Specific { name } }) => {
            Ok(CursorCall::Close { name: Some(name.value) })
        }
        _ => Err(user_error("42601", "this is not a statement about a cursor")),
    }
}

/// Number of rows asked for; `None` is all.
fn rows_of(direction: &FetchDirection) -> PgWireResult<Option<usize>> {
    let number = |value: &Value| match value {
        Value::Number(text, _) => text
            .parse()
            .map(Some)
            .map_err(|_| user_error("22003", format!("`{text}` is not a number of rows"))),
        other => Err(user_error("42601", format!("`{other}` is not a number of rows"))),
    };
    match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Ok(Some(1)),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => number(limit),
        FetchDirection::All | FetchDirection::ForwardAll => Ok(None),
        _ => Err(user_error("55000", "cursor can only scan forward")),
    }
}

impl Cursors {
    /// Opens a cursor over a result that was started. Errors: the name is taken, too many are open.
    pub(crate) fn open(&self, name: String, result: QueryResponse) -> PgWireResult<()> {
        let mut cursors = self.0.lock();
        if cursors.contains_key(&name) {
            return Err(user_error("42P03", format!("cursor \"{name}\" already exists")));
        }
        if cursors.len() >= CURSORS_MAX {
            return Err(user_error("53000", format!("{CURSORS_MAX} cursors are open already; close some")));
        }
        let rows = tokio::sync::Mutex::new(result.data_rows);
        cursors.insert(name, Arc::new(Cursor { fields: result.row_schema, rows }));
        Ok(())
    }

    fn get(&self, name: &str) -> PgWireResult<Arc<Cursor>> {
        let found = self.0.lock().get(name).cloned();
        found.ok_or_else(|| user_error("34000", format!("cursor \"{name}\" does not exist")))
    }

    /// Columns of a cursor. Errors: there is none of that name.
    pub(crate) fn fields(&self, name: &str) -> PgWireResult<Arc<Vec<FieldInfo>>> {
        self.get(name).map(|cursor| Arc::clone(&cursor.fields))
    }

    /// The next rows of a cursor. Errors: there is none of that name, those of its query.
    pub(crate) async fn fetch(&self, name: &str, rows: Option<usize>) -> PgWireResult<QueryResponse> {
        let cursor = self.get(name)?;
        let found = take(&cursor, rows).await?;
        let mut response =
            QueryResponse::new(Arc::clone(&cursor.fields), stream::iter(found.into_iter().map(Ok)));
        response.set_command_tag("FETCH");
        Ok(response)
    }

    /// Skips rows of a cursor and says how many. Errors: as [`Cursors::fetch`].
    pub(crate) async fn skip(&self, name: &str, rows: Option<usize>) -> PgWireResult<usize> {
        let cursor = self.get(name)?;
        take(&cursor, rows).await.map(|rows| rows.len())
    }

    /// Closes one cursor, or all. Errors: there is none of that name.
    pub(crate) fn close(&self, name: Option<&str>) -> PgWireResult<()> {
        match name {
            None => self.0.lock().clear(),
            Some(name) => {
                self.get(name)?;
                self.0.lock().remove(name);
            }
        }
        Ok(())
    }
}

async fn take(cursor: &Cursor, rows: Option<usize>) -> PgWireResult<Vec<DataRow>> {
    let mut stream = cursor.rows.lock().await;
    let wanted = rows.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    while found.len() < wanted {
        let Some(row) = stream.next().await else { break };
        found.push(row?);
        if found.len() > ROWS_MAX {
            return Err(user_error(
                "54000",
                format!("a FETCH gives at most {ROWS_MAX} rows; fetch fewer at once"),
            ));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_statements_are_read() {
        assert_eq!(
            parse("DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1").unwrap(),
            CursorCall::Declare { name: "c".to_string(), query: "SELECT 1".to_string() }
        );
        let fetch = |rows| CursorCall::Fetch { name: "c".to_string(), rows };
        assert_eq!(parse("FETCH 10 FROM c").unwrap(), fetch(Some(10)));
        assert_eq!(parse("fetch forward all from c").unwrap(), fetch(None));
        assert_eq!(parse("FETCH NEXT FROM c").unwrap(), fetch(Some(1)));
        assert_eq!(
            parse("MOVE 2 FROM c").unwrap(),
            CursorCall::Move { name: "c".to_string(), rows: Some(2) }
        );
        assert_eq!(parse("CLOSE ALL").unwrap(), CursorCall::Close { name: None });
        assert!(parse("FETCH PRIOR FROM c").is_err());
    }
}
