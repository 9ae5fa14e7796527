//! The queries behind a statement that changes rows.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, Query, Statement};

use super::catalog::QueryCatalog;
use super::session::Session;
use crate::QueryError;
use crate::sql::{Diagnosis, ShownNames, WriteStatement};
use crate::write::{Returned, RowsQuery, Target, as_query};

/// A statement about rows, planned.
pub(super) struct PlannedChange {
    pub(super) rows: RowsQuery,
    pub(super) plan: LogicalPlan,
    /// What its `RETURNING` gives.
    pub(super) returning: Option<(LogicalPlan, ShownNames)>,
}

impl Session {
    pub(super) async fn plan_rows(
        &self,
        catalog: &Arc<QueryCatalog>,
        query: Query,
        diagnosis: &Diagnosis,
    ) -> Result<(LogicalPlan, ShownNames), Planning> {
        let state = self.state(catalog);
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query))));
        let planned = Box::pin(self.logical_plan(&state, catalog, statement, diagnosis)).await;
        planned.map_err(Planning::of)
    }

    /// The query behind a statement, and that of its `RETURNING`.
    pub(super) async fn plan_change(
        &self,
        catalog: &Arc<QueryCatalog>,
        write: &WriteStatement,
        target: &Target,
        diagnosis: &Diagnosis,
    ) -> Result<PlannedChange, QueryError> {
        let (rows, plan) = self.plan_change_rows(catalog, write, target, diagnosis).await?;
        let returning = match &rows.returning {
            None => None,
            Some(query) => {
                catalog.set_returned(Returned::new(&target.schema, plan.schema().as_arrow()).table()?);
                Some(self.plan_rows(catalog, query.clone(), diagnosis).await?)
            }
        };
        Ok(PlannedChange { rows, plan, returning })
    }

    /// The query behind a statement. A query that gives fewer columns than the table has fills the first ones.
    async fn plan_change_rows(
        &self,
        catalog: &Arc<QueryCatalog>,
        write: &WriteStatement,
        target: &Target,
        diagnosis: &Diagnosis,
    ) -> Result<(RowsQuery, LogicalPlan), QueryError> {
        let rows = as_query(write, target)?;
        match self.plan_rows(catalog, rows.query.clone(), diagnosis).await {
            Ok((plan, _)) => Ok((rows, plan)),
            Err(Planning::Columns { given, taken }) => {
                if let Statement::Insert(insert) = &write.statement
                    && insert.columns.is_empty()
                    && given < taken
                {
                    let mut insert = insert.clone();
                    let first = target.columns.iter().take(given);
                    insert.columns =
                        first.map(|(name, _)| vec![Ident::with_quote('"', name)].into()).collect();
                    let write = WriteStatement { statement: Statement::Insert(insert), ..write.clone() };
                    let rows = as_query(&write, target)?;
                    let plan = self.plan_rows(catalog, rows.query.clone(), diagnosis).await;
                    return Ok((rows, plan?.0));
                }
                Err(Planning::Columns { given, taken }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a statement could not be planned.
pub(super) enum Planning {
    /// Its query gives another number of columns than the table takes.
    Columns {
        given: usize,
        taken: usize,
    },
    Other(QueryError),
}

impl Planning {
    fn of(error: QueryError) -> Self {
        // "Source table contains 2 columns but only 3 names given as column alias"
        let counts = match &error {
            QueryError::Plan { message, .. } => {
                message.split_once("ource table contains ").and_then(|(_, rest)| {
                    let mut numbers =
                        rest.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
                    Some((numbers.next()?, numbers.next()?))
                })
            }
            _ => None,
        };
        match counts {
            Some((given, taken)) => Self::Columns { given, taken },
            None => Self::Other(error),
        }
    }
}

impl From<Planning> for QueryError {
    fn from(planning: Planning) -> Self {
        match planning {
            Planning::Other(error) => error,
            Planning::Columns { given, taken } => Self::plan(
                format!("the query gives {given} columns for {taken} columns of the table"),
                None,
                Some("name the columns that it fills: `INSERT INTO t (a, b) SELECT ...`".into()),
            ),
        }
    }
}
