//! Values that go into a statement and come out of it. Text and whole numbers are all that the store uses, so that
//! both databases hold the same.

use sqlx::postgres::PgRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Database, Decode, Encode, Type};

use crate::error::MetaError;

/// A value to bind.
#[derive(Clone, Debug)]
pub(crate) enum Param {
    Text(Option<String>),
    Int(Option<i64>),
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_string()))
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<String>> for Param {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<u64> for Param {
    fn from(number: u64) -> Self {
        Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u64>> for Param {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Int(None), Self::from)
    }
}

/// Binds `params` in order.
pub(crate) fn bind<'q, DB>(
    query: Query<'q, DB, <DB as Database>::Arguments>,
    params: &[Param],
) -> Query<'q, DB, <DB as Database>::Arguments>
where
    DB: Database,
    Option<String>: for<'e> Encode<'e, DB> + Type<DB>,
    Option<i64>: for<'e> Encode<'e, DB> + Type<DB>,
{
    params.iter().fold(query, |query, param| match param {
        Param::Text(text) => query.bind(text.clone()),
        Param::Int(number) => query.bind(*number),
    })
}

/// A row; columns by number, from 0.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

fn get<'r, R, T>(row: &'r R, column: usize) -> Result<T, MetaError>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    T: Decode<'r, R::Database> + Type<R::Database>,
{
    row.try_get(column).map_err(|source| MetaError::Store { place: format!("column {column}"), source })
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<String, MetaError> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    pub(crate) fn opt_text(&self, column: usize) -> Result<Option<String>, MetaError> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, MetaError> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    pub(crate) fn opt_int(&self, column: usize) -> Result<Option<i64>, MetaError> {
        match self {
            Self::Sqlite(row) => get(row, column),
            Self::Postgres(row) => get(row, column),
        }
    }

    /// A number that the store wrote as not negative.
    pub(crate) fn count(&self, column: usize) -> Result<u64, MetaError> {
        Ok(u64::try_from(self.int(column)?).unwrap_or(0))
    }

    /// JSON text as a value; `what` names it in the error.
    pub(crate) fn json(&self, column: usize, what: &str) -> Result<serde_json::Value, MetaError> {
        parse_json(&self.text(column)?, what)
    }

    /// JSON text that may be null.
    pub(crate) fn opt_json(&self, column: usize, what: &str) -> Result<Option<serde_json::Value>, MetaError> {
        self.opt_text(column)?.map(|text| parse_json(&text, what)).transpose()
    }
}

fn parse_json(text: &str, what: &str) -> Result<serde_json::Value, MetaError> {
    serde_json::from_str(text).map_err(|source| MetaError::Undecodable { what: what.to_string(), source })
}
