//! Runs statements that change tables. Each is one commit, or none.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, Query, Statement};
use tarn_core::{Role, TableName};
use tarn_lakehouse::{LakehouseError, TableView, TableWriter, Written};

use super::catalog::QueryCatalog;
use super::session::{QueryOptions, Session, with_params};
use super::stream::Command;
use super::view::of_view;
use crate::scan::{LakeTable, PlacedTable, ScanCounters};
use crate::sql::{Diagnosis, Parsed};
use crate::tables::TableChange;
use crate::views::view_definition;
use crate::write::{
    CreateAs, Definition, RowsQuery, Target, apply, as_query, definition, table_name, target_of,
};
use crate::{QueryError, Tables};

/// How often a statement is run again when another writer changed its table meanwhile.
const ATTEMPTS_MAX: u32 = 8;

/// A statement that is run.
pub(super) struct Change<'a> {
    pub(super) statement: &'a Statement,
    pub(super) parsed: &'a Parsed,
    pub(super) options: &'a QueryOptions,
    pub(super) counters: &'a Arc<ScanCounters>,
    pub(super) diagnosis: &'a Diagnosis,
}

/// What became of an attempt.
enum Attempt {
    Done(u64),
    /// Another writer changed the table meanwhile.
    Lost(QueryError),
}

/// The result of a statement that changes rows: how many.
pub(super) fn rows_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]))
}

/// A plan that gives what a statement did.
pub(super) fn result_of(command: &Command) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let Some(rows) = command.rows else { return Ok(Arc::new(EmptyExec::new(Arc::new(Schema::empty())))) };
    let internal = |error: &dyn std::fmt::Display| QueryError::Internal { message: error.to_string() };
    let count = Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]);
    let batch =
        RecordBatch::try_new(rows_schema(), vec![Arc::new(count)]).map_err(|error| internal(&error))?;
    let exec = MemorySourceConfig::try_new_exec(&[vec![batch]], rows_schema(), None);
    Ok(exec.map_err(|error| internal(&error))?)
}

impl Session {
    /// Runs a statement that changes something. Errors: all of [`QueryError`]; then nothing has changed.
    pub(super) async fn change(&self, change: &Change<'_>) -> Result<Command, QueryError> {
        let statement = change.statement;
        if self.context().principal.role < Role::Editor {
            return Err(QueryError::Denied {
                statement: change.parsed.text.leading_words(1),
                principal: self.context().principal.name.to_string(),
            });
        }
        if let Some(target) = target_of(statement) {
            let name = table_name(target?, &self.namespace())?;
            let rows = self.change_rows(change, statement, &name).await?;
            let tag = match statement {
                Statement::Insert(_) => "INSERT",
                Statement::Update(_) => "UPDATE",
                Statement::Delete(_) => "DELETE",
                _ => "MERGE",
            };
            return Ok(Command { tag, rows: Some(rows) });
        }
        if let Statement::CreateView(create) = statement {
            let definition = view_definition(create, change.parsed, &self.namespace())?;
            return Box::pin(self.create_view(change, definition)).await;
        }
        let terms = &change.parsed.partitioned_by;
        let known =
            definition(statement, terms, &self.namespace()).ok_or_else(|| QueryError::NotPossible {
                statement: change.parsed.text.leading_words(2),
                position: change.parsed.text.start(),
                hint: "this form of the statement is not possible".into(),
            })?;
        match known? {
            Definition::Truncate(name) => {
                let mut writer = self.writer(change, &name).await?;
                writer.replace_all();
                writer.commit().await.map_err(|error| QueryError::from_fault(&error))?;
                Ok(Command { tag: "TRUNCATE TABLE", rows: None })
            }
            Definition::Change(definition) => {
                let definition = match change.parsed.alters_view {
                    true => of_view(definition)?,
                    false => definition,
                };
                let tag = tag_of(&definition);
                self.tables().change(self.context(), definition).await?;
                Ok(Command { tag, rows: None })
            }
            Definition::CreateAs(create) => Box::pin(self.create_as(change, *create)).await,
        }
    }

    /// Types of the parameters of a statement that changes rows, `None` for another one. Nothing is run.
    pub(super) async fn planned_change(
        &self,
        statement: &Statement,
        parsed: &Parsed,
        diagnosis: &Diagnosis,
    ) -> Result<Option<LogicalPlan>, QueryError> {
        let Some(target) = target_of(statement) else { return Ok(None) };
        let name = table_name(target?, &self.namespace())?;
        let view = self.tables().view(self.context(), &name).await?;
        let Some(view) = view else { return Err(self.no_such(&name, diagnosis).await?) };
        let counters = Arc::default();
        let (catalog, target) = self.catalog_for(&name, view, &counters)?;
        let (_, plan) = self.plan_change(&catalog, statement, &target, parsed, diagnosis).await?;
        Ok(Some(plan))
    }

    pub(super) fn tables(&self) -> &Arc<dyn Tables> {
        &self.core().tables
    }

    async fn no_such(&self, name: &TableName, diagnosis: &Diagnosis) -> Result<QueryError, QueryError> {
        let catalog = QueryCatalog::pinned(self.core(), self.context(), Arc::default());
        if self.tables().sql_view(self.context(), name).await?.is_some() {
            let hint = "change the rows of the tables that it reads; \\d+ in psql shows its query";
            return Ok(QueryError::plan(
                format!("`{name}` is a view, whose rows cannot be changed"),
                None,
                Some(hint.into()),
            ));
        }
        let parts = [name.namespace().to_string(), name.name().to_string()];
        let known = catalog.full_names().await?;
        Ok(diagnosis.no_such_table(&parts, &known, &self.namespace()))
    }

    async fn writer(&self, change: &Change<'_>, name: &TableName) -> Result<TableWriter, QueryError> {
        match self.tables().write(self.context(), name).await? {
            Some(writer) => Ok(writer),
            None => Err(self.no_such(name, change.diagnosis).await?),
        }
    }

    /// The catalog in which a statement finds the rows of its table with their places.
    fn catalog_for(
        &self,
        name: &TableName,
        view: Arc<TableView>,
        counters: &Arc<ScanCounters>,
    ) -> Result<(Arc<QueryCatalog>, Target), QueryError> {
        let columns = view.schema.fields().iter();
        let target = Target {
            name: name.clone(),
            columns: columns.map(|field| (field.name().clone(), field.data_type().clone())).collect(),
            key: view.key(),
        };
        let table = LakeTable::new(view, Arc::clone(&self.core().scan), Arc::clone(counters))?;
        let placed = (name.clone(), Arc::new(PlacedTable::new(table)));
        let catalog = QueryCatalog::changing(self.core(), self.context(), Arc::clone(counters), placed);
        Ok((catalog, target))
    }

    async fn plan_rows(
        &self,
        catalog: &Arc<QueryCatalog>,
        query: Query,
        parsed: &Parsed,
        diagnosis: &Diagnosis,
    ) -> Result<LogicalPlan, Planning> {
        let state = self.state(catalog);
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query))));
        let planned = Box::pin(self.logical_plan(&state, catalog, statement, parsed, diagnosis)).await;
        planned.map(|(plan, _)| plan).map_err(Planning::of)
    }

    /// The query behind a statement. A query that gives fewer columns than the table has fills the first ones.
    async fn plan_change(
        &self,
        catalog: &Arc<QueryCatalog>,
        statement: &Statement,
        target: &Target,
        parsed: &Parsed,
        diagnosis: &Diagnosis,
    ) -> Result<(RowsQuery, LogicalPlan), QueryError> {
        let rows = as_query(statement, target)?;
        match self.plan_rows(catalog, rows.query.clone(), parsed, diagnosis).await {
            Ok(plan) => Ok((rows, plan)),
            Err(Planning::Columns { given, taken }) => {
                if let Statement::Insert(insert) = statement
                    && insert.columns.is_empty()
                    && given < taken
                {
                    let mut insert = insert.clone();
                    let first = target.columns.iter().take(given);
                    insert.columns =
                        first.map(|(name, _)| vec![Ident::with_quote('"', name)].into()).collect();
                    let rows = as_query(&Statement::Insert(insert), target)?;
                    let plan = self.plan_rows(catalog, rows.query.clone(), parsed, diagnosis).await;
                    return Ok((rows, plan?));
                }
                Err(Planning::Columns { given, taken }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn change_rows(
        &self,
        change: &Change<'_>,
        statement: &Statement,
        name: &TableName,
    ) -> Result<u64, QueryError> {
        let mut attempt = 1;
        loop {
            match Box::pin(self.attempt(change, statement, name)).await? {
                Attempt::Done(rows) => return Ok(rows),
                Attempt::Lost(error) if attempt == ATTEMPTS_MAX => return Err(error),
                Attempt::Lost(error) => {
                    tracing::debug!(table = %name, attempt, %error, "a statement is run again");
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &self,
        change: &Change<'_>,
        statement: &Statement,
        name: &TableName,
    ) -> Result<Attempt, QueryError> {
        let mut writer = self.writer(change, name).await?;
        let (catalog, target) = self.catalog_for(name, Arc::clone(writer.view()), change.counters)?;
        let planned = self.plan_change(&catalog, statement, &target, change.parsed, change.diagnosis).await?;
        let (rows, plan) = planned;
        if rows.replaces_all {
            writer.replace_all();
        }
        if rows.keeps_first {
            writer.keep_first();
        }
        let explain = |error| change.diagnosis.explain(error);
        let plan = with_params(plan, change.options).map_err(explain)?;
        let state = self.state(&catalog);
        let plan = state.create_physical_plan(&plan).await.map_err(explain)?;
        let rows = self.core().threads.run(plan, state.task_ctx());
        let changed = apply(rows, &mut writer, change.diagnosis).await?;
        match writer.commit().await {
            Ok(Written { .. }) => Ok(Attempt::Done(changed)),
            Err(error @ LakehouseError::CommitFailed { .. }) => {
                Ok(Attempt::Lost(QueryError::from_fault(&error)))
            }
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    async fn create_as(&self, change: &Change<'_>, create: CreateAs) -> Result<Command, QueryError> {
        let (context, name) = (self.context(), create.name.clone());
        let catalog = QueryCatalog::pinned(self.core(), context, Arc::clone(change.counters));
        let planned = self.plan_rows(&catalog, create.query.clone(), change.parsed, change.diagnosis).await?;
        let planned =
            with_params(planned, change.options).map_err(|error| change.diagnosis.explain(error))?;
        let table = Box::new(create.table(planned.schema().as_arrow())?);
        let if_not_exists = create.if_not_exists;
        let made = self.tables().change(context, TableChange::CreateTable { table, if_not_exists }).await?;
        if !made {
            return Ok(Command { tag: "CREATE TABLE", rows: None });
        }
        let statement = insert_into(&name, create.query)?;
        match self.change_rows(change, &statement, &name).await {
            Ok(rows) => Ok(Command { tag: "SELECT", rows: Some(rows) }),
            Err(error) => {
                let drop = TableChange::DropTable { name, if_exists: true, purge: true };
                if let Err(error) = self.tables().change(context, drop).await {
                    tracing::warn!(%error, "the table of a CREATE TABLE AS that failed stays behind, empty");
                }
                Err(error)
            }
        }
    }
}

/// Why a statement could not be planned.
enum Planning {
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

fn insert_into(name: &TableName, query: Query) -> Result<Statement, QueryError> {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    let sql = format!("INSERT INTO \"{}\".\"{}\" SELECT 1", name.namespace(), name.name());
    let parsed = Parser::parse_sql(&GenericDialect {}, &sql);
    match parsed.ok().and_then(|mut parsed| parsed.pop()) {
        Some(Statement::Insert(mut insert)) => {
            insert.source = Some(Box::new(query));
            Ok(Statement::Insert(insert))
        }
        _ => Err(QueryError::Internal { message: "an insert could not be made".into() }),
    }
}

fn tag_of(change: &TableChange) -> &'static str {
    match change {
        TableChange::CreateNamespace { .. } => "CREATE SCHEMA",
        TableChange::DropNamespace { .. } => "DROP SCHEMA",
        TableChange::CreateTable { .. } => "CREATE TABLE",
        TableChange::DropTable { .. } => "DROP TABLE",
        TableChange::RenameTable { .. } | TableChange::AlterTable { .. } => "ALTER TABLE",
        TableChange::CreateRef { .. } | TableChange::DropRef { .. } | TableChange::RollBack { .. } => "CALL",
        TableChange::CreateView { .. } => "CREATE VIEW",
        TableChange::DropView { .. } => "DROP VIEW",
        TableChange::RenameView { .. } => "ALTER VIEW",
        TableChange::CommentView { .. } => "COMMENT",
        TableChange::Optimize { .. } => "OPTIMIZE",
    }
}
