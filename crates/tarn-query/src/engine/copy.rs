//! Rows that a client sends into a table, batch by batch: one commit at their end, or none.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::FieldRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use tarn_core::{Clock, Role, TableName, nearest};
use tarn_lakehouse::{LakehouseError, TableWriter};

use super::registry::QueryTicket;
use super::session::{Changes, Deadline, QueryOptions, Session};
use super::stream::StatsHandle;
use super::write::WriteTarget;
use crate::sql::{Diagnosis, SqlText};
use crate::write::table_of_parts;
use crate::{QueryError, Tables};

/// Rows on their way into a table. Dropped before [`CopyIn::finish`], they leave nothing.
pub struct CopyIn {
    table: TableName,
    /// Places of the columns that rows have, in their order.
    columns: Vec<usize>,
    fields: Vec<FieldRef>,
    writer: TableWriter,
    tables: Arc<dyn Tables>,
    clock: Arc<dyn Clock>,
    ticket: QueryTicket,
    stats: StatsHandle,
    started: Instant,
    deadline: Deadline,
    rows: u64,
}

impl std::fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins to take rows of `columns` (none: all) into the table of a name's parts. `sql`: as the statement is listed.
    /// Errors: all of [`QueryError`].
    pub fn copy_in<'a>(
        &'a self,
        sql: &'a str,
        table: &'a [String],
        columns: &'a [String],
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<CopyIn, QueryError>> {
        self.begin_copy(sql, table, columns, options).boxed()
    }

    async fn begin_copy(
        &self,
        sql: &str,
        table: &[String],
        columns: &[String],
        options: QueryOptions,
    ) -> Result<CopyIn, QueryError> {
        let statement = || "COPY".to_string();
        match options.changes {
            Changes::Allowed => {}
            Changes::InTransaction if self.takes_changes() => {}
            Changes::ReadOnly => return Err(QueryError::ReadOnly { statement: statement() }),
            Changes::InTransaction => return Err(QueryError::InTransaction { statement: statement() }),
        }
        if self.context().principal.role < Role::Editor {
            let principal = self.context().principal.name.to_string();
            return Err(QueryError::Denied { statement: statement(), principal });
        }
        let core = self.core();
        let started = core.env.clock.instant();
        let deadline = self.deadline(started, options.timeout);
        let stats = StatsHandle::default();
        let query_id = self.query_id(options.query_id)?;
        let mut ticket = core.registry.enter(self.context(), query_id, sql, stats.clone())?;
        let begun = async {
            let name = table_of_parts(table, &self.namespace())?;
            let target = self.branch_target(name);
            let WriteTarget { name, branch } = &target;
            let Some(writer) = core.tables.append(self.context(), name, branch.as_ref()).await? else {
                let diagnosis = Diagnosis::new(SqlText::new(sql)?, "copy");
                return Err(self.no_such(name, &diagnosis).await?);
            };
            self.begins_to_change(&target);
            let name = target.name;
            let columns = places(&name, &writer, columns)?;
            Ok((name, writer, columns))
        };
        let (table, writer, columns) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                ticket.end(Err(&error));
                return Err(error);
            }
        };
        let fields = columns.iter().map(|at| Arc::clone(&writer.schema().fields()[*at])).collect();
        let (tables, clock) = (Arc::clone(&core.tables), Arc::clone(&core.env.clock));
        Ok(CopyIn {
            table,
            columns,
            fields,
            writer,
            tables,
            clock,
            ticket,
            stats,
            started,
            deadline,
            rows: 0,
        })
    }
}

fn places(table: &TableName, writer: &TableWriter, columns: &[String]) -> Result<Vec<usize>, QueryError> {
    let fields = writer.schema().fields();
    if columns.is_empty() {
        return Ok((0..fields.len()).collect());
    }
    let mut places = Vec::with_capacity(columns.len());
    for name in columns {
        let Some(at) = fields.iter().position(|field| field.name() == name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name());
            let near = nearest(name, fields.iter().map(|field| field.name().as_str()));
            let hint = near.map_or(format!("`DESCRIBE {table}` lists its columns"), |near| {
                format!("did you mean `{near}`?")
            });
            return Err(QueryError::coded("42703", message).with_hint(&hint));
        };
        if places.contains(&at) {
            return Err(QueryError::coded("42701", format!("column \"{name}\" specified more than once")));
        }
        places.push(at);
    }
    Ok(places)
}

impl CopyIn {
    /// The table.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The columns of the rows, in order, as the table has them.
    pub fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// A column that is never null and that the rows do not have.
    pub fn missing(&self) -> Option<&str> {
        let fields = self.writer.schema().fields().iter().enumerate();
        let mut missing = fields.filter(|(at, field)| !field.is_nullable() && !self.columns.contains(at));
        missing.next().map(|(_, field)| field.name().as_str())
    }

    /// Rows come: one array for each of [`CopyIn::fields`], of its type. Errors: the statement was stopped or its time is
    /// over; those of writing.
    pub async fn write(&mut self, arrays: Vec<ArrayRef>) -> Result<(), QueryError> {
        self.check()?;
        let schema = Arc::clone(self.writer.schema());
        let rows = arrays.first().map_or(0, |array| array.len());
        let mut all: Vec<Option<ArrayRef>> = vec![None; schema.fields().len()];
        for (at, array) in self.columns.iter().zip(arrays) {
            all[*at] = Some(array);
        }
        let all = all
            .into_iter()
            .zip(schema.fields())
            .map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), rows)));
        let batch = RecordBatch::try_new(schema.clone(), all.collect()).map_err(|error| {
            QueryError::Internal { message: format!("rows do not fit their table: {error}") }
        })?;
        self.writer.append(batch).await.map_err(|error| QueryError::from_fault(&error))?;
        self.rows += rows as u64;
        self.stats.update(|stats| stats.rows = self.rows);
        Ok(())
    }

    /// Whether it may go on. Errors: `Cancelled`, `TimedOut`.
    pub fn check(&self) -> Result<(), QueryError> {
        let query_id = || self.ticket.query_id().to_string();
        if self.ticket.cancelled().is_cancelled() {
            return Err(QueryError::Cancelled { query_id: query_id() });
        }
        if self.clock.instant() >= self.deadline.at {
            return Err(QueryError::TimedOut { query_id: query_id(), limit: self.deadline.limit });
        }
        Ok(())
    }

    /// Makes the rows visible, all at once. Returns how many they are. Errors: a key that is there already, and those of
    /// [`CopyIn::write`]; then nothing has changed.
    pub async fn finish(mut self) -> Result<u64, QueryError> {
        let done = match self.check() {
            Ok(()) => {
                let tables = Arc::clone(&self.tables);
                tables.settle(&mut self.writer).await;
                self.writer.commit().await.map_err(|error| match error {
                    error @ LakehouseError::CommitFailed { .. } => {
                        QueryError::coded("40001", error.to_string()).with_hint("copy the rows again")
                    }
                    error => QueryError::from_fault(&error),
                })
            }
            Err(error) => Err(error),
        };
        let elapsed = self.clock.instant().saturating_duration_since(self.started);
        self.stats.update(|stats| stats.elapsed_ms = elapsed.as_secs_f64() * 1_000.0);
        self.ticket.end(done.as_ref().map(|_| ()));
        done.map(|_| self.rows)
    }

    /// Ends it with an error: nothing has changed, and the list of queries shows why.
    pub fn fail(mut self, error: &QueryError) {
        self.ticket.end(Err(error));
    }
}
