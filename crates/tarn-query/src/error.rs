//! Why a query failed, and where in the text.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tarn_core::{Fault, FaultKind, FaultReport};

/// A place in SQL text. Lines and columns count from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SqlPosition {
    /// Line.
    pub line: u64,
    /// Character within the line.
    pub column: u64,
}

impl fmt::Display for SqlPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a query gave no (complete) answer. Texts never name files, stores or code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not SQL.
    #[error("{message}")]
    Syntax {
        /// What was expected and found.
        message: String,
        /// Where.
        position: Option<SqlPosition>,
        /// What to write instead, where we know.
        hint: Option<String>,
    },
    /// The text is SQL that means nothing here: an unknown name, wrong types.
    #[error("{message}")]
    Plan {
        /// What is wrong.
        message: String,
        /// Where.
        position: Option<SqlPosition>,
        /// Such as the nearest existing name.
        hint: Option<String>,
    },
    /// A statement that the engine does not have.
    #[error("`{statement}` is not possible here")]
    NotPossible {
        /// Leading keywords of the statement, such as `CREATE TABLE`.
        statement: String,
        /// Where it starts.
        position: Option<SqlPosition>,
        /// What to do instead.
        hint: String,
    },
    /// A statement that changes something within a transaction, which could not be rolled back.
    #[error("`{statement}` cannot run in a transaction: a ROLLBACK could not undo it")]
    InTransaction {
        /// Leading keywords of the statement.
        statement: String,
    },
    /// A statement that changes something in a session that its caller made read-only.
    #[error("`{statement}` cannot run in a read-only session")]
    ReadOnly {
        /// Leading keywords of the statement.
        statement: String,
    },
    /// The caller may only read.
    #[error("`{statement}` needs the role editor; {principal} only reads")]
    Denied {
        /// Leading keywords of the statement.
        statement: String,
        /// Who asked.
        principal: String,
    },
    /// Stopped by its caller or by an operator.
    #[error("query `{query_id}` was cancelled")]
    Cancelled {
        /// Which query.
        query_id: String,
    },
    /// The time limit or the caller's deadline passed.
    #[error("query `{query_id}` ran longer than its limit of {limit:?}")]
    TimedOut {
        /// Which query.
        query_id: String,
        /// The limit.
        limit: Duration,
    },
    /// The engine's memory (or spill space) does not suffice.
    #[error("query `{query_id}` needs more memory than is free: {message}")]
    MemoryExhausted {
        /// Which query.
        query_id: String,
        /// Which operator asked for how much.
        message: String,
    },
    /// Too many queries run and the queue did not move in time.
    #[error("{running} queries run already and none ended within {waited:?}")]
    TooManyQueries {
        /// How many run.
        running: usize,
        /// How long this one waited.
        waited: Duration,
    },
    /// A query with this id is running already.
    #[error("query id `{query_id}` is in use")]
    QueryIdInUse {
        /// The id.
        query_id: String,
    },
    /// No query with this id runs.
    #[error("no query `{query_id}` is running")]
    QueryNotFound {
        /// The id.
        query_id: String,
    },
    /// The values made the query fail: division by zero, a text that is no number, an overflow.
    #[error("{message}")]
    Execution {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// An error for which SQL has a code of its own.
    #[error("{message}")]
    Coded {
        /// Its SQLSTATE, five characters.
        code: &'static str,
        /// What is wrong.
        message: String,
        /// Where.
        position: Option<SqlPosition>,
        /// What to do.
        hint: Option<String>,
    },
    /// A data file could not be read or is damaged, or the catalog failed.
    #[error("{message}")]
    Storage {
        /// What happened, without paths.
        message: String,
        /// What the caller can do.
        kind: FaultKind,
        /// What to do.
        hint: Option<String>,
    },
    /// A broken promise of the engine.
    #[error("the query engine failed: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl QueryError {
    /// An error of the catalog behind [`crate::Tables`], with its kind and hint kept.
    pub fn from_fault(fault: &dyn Fault) -> Self {
        let report = FaultReport::of(fault);
        Self::Storage { message: report.message, kind: report.kind, hint: report.hint }
    }

    /// An error with a SQLSTATE. A code of class 40 can be tried again.
    pub fn coded(code: &'static str, message: impl Into<String>) -> Self {
        Self::Coded { code, message: message.into(), position: None, hint: None }
    }

    /// The same error with a hint, where its kind has one.
    #[must_use]
    pub fn with_hint(mut self, text: &str) -> Self {
        if let Self::Coded { hint, .. } | Self::Plan { hint, .. } = &mut self {
            *hint = Some(text.to_string());
        }
        self
    }

    /// The same error with its place, where its kind has one.
    #[must_use]
    pub(crate) fn at(mut self, place: Option<SqlPosition>) -> Self {
        if let Self::Coded { position, .. } | Self::Plan { position, .. } = &mut self {
            *position = place;
        }
        self
    }

    /// The same error without a place.
    #[must_use]
    pub(crate) fn unplaced(mut self) -> Self {
        if let Self::Syntax { position, .. }
        | Self::Plan { position, .. }
        | Self::Coded { position, .. }
        | Self::NotPossible { position, .. } = &mut self
        {
            *position = None;
        }
        self
    }

    /// Where in the SQL text the error lies, if that is known.
    pub fn position(&self) -> Option<SqlPosition> {
        match self {
            Self::Syntax { position, .. }
            | Self::Plan { position, .. }
            | Self::Coded { position, .. }
            | Self::NotPossible { position, .. } => *position,
            Self::Denied { .. }
            | Self::InTransaction { .. }
            | Self::ReadOnly { .. }
            | Self::Cancelled { .. }
            | Self::TimedOut { .. }
            | Self::MemoryExhausted { .. }
            | Self::TooManyQueries { .. }
            | Self::QueryIdInUse { .. }
            | Self::QueryNotFound { .. }
            | Self::Execution { .. }
            | Self::Storage { .. }
            | Self::Internal { .. } => None,
        }
    }

    pub(crate) fn plan(
        message: impl Into<String>,
        position: Option<SqlPosition>,
        hint: Option<String>,
    ) -> Self {
        Self::Plan { message: message.into(), position, hint }
    }
}

impl Fault for QueryError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Syntax { .. }
            | Self::Plan { .. }
            | Self::NotPossible { .. }
            | Self::InTransaction { .. }
            | Self::ReadOnly { .. }
            | Self::Execution { .. } => FaultKind::Invalid,
            Self::Coded { code, .. } => match code.get(..2) {
                Some("40") => FaultKind::Conflict,
                Some("42") if *code == "42501" => FaultKind::Denied,
                _ => FaultKind::Invalid,
            },
            Self::Cancelled { .. } | Self::QueryIdInUse { .. } => FaultKind::Conflict,
            Self::TimedOut { .. } | Self::MemoryExhausted { .. } | Self::TooManyQueries { .. } => {
                FaultKind::Exhausted
            }
            Self::Denied { .. } => FaultKind::Denied,
            Self::QueryNotFound { .. } => FaultKind::NotFound,
            Self::Storage { kind, .. } => *kind,
            Self::Internal { .. } => FaultKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { hint, .. }
            | Self::Plan { hint, .. }
            | Self::Execution { hint, .. }
            | Self::Coded { hint, .. }
            | Self::Storage { hint, .. } => hint.clone(),
            Self::NotPossible { hint, .. } => Some(hint.clone()),
            Self::TimedOut { .. } => Some(
                "narrow the query with a filter, or raise `timeout` in the request or in `[query]`".into(),
            ),
            Self::MemoryExhausted { .. } => Some(
                "read fewer columns or groups, run fewer queries at once, or raise `memory` in `[query]`"
                    .into(),
            ),
            Self::TooManyQueries { .. } => {
                Some("try again, or raise `concurrent_max` or `queue_timeout` in `[query]`".into())
            }
            Self::QueryIdInUse { .. } => Some("leave `query_id` out, or choose another one".into()),
            Self::QueryNotFound { .. } => {
                Some("it may have ended; `GET /api/v1/query` lists the queries".into())
            }
            Self::InTransaction { .. } => {
                Some(
                    "within a transaction rows are changed and tables, views and schemas made; COMMIT first, or turn on \
                     autocommit (psycopg: `autocommit=True`)"
                        .into(),
                )
            }
            Self::ReadOnly { .. } => Some(
                "leave `read_only` out of the request, or set `default_transaction_read_only` to off".into(),
            ),
            Self::Denied { .. } => Some("ask an administrator for it".into()),
            Self::Cancelled { .. } | Self::Internal { .. } => None,
        }
    }
}
