//! Runs statements that change tables. Each is one commit, or none.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement};
use futures::StreamExt;
use tarn_core::{Role, TableName};
use tarn_lakehouse::{LakehouseError, TableAlteration, TableView, TableWriter, Written};

use super::catalog::QueryCatalog;
use super::planned::PlannedChange;
use super::session::{QueryOptions, Session, with_params};
use super::stream::Command;
use super::tags::{rows_tag, tag_of};
use super::transaction::Made;
use super::view::{not_of_view, of_view};
use crate::scan::{LakeTable, PlacedTable, ScanCounters};
use crate::sql::{Diagnosis, ORDER_MARK, Parsed, ShownNames, WriteStatement, branch_of};
use crate::tables::{MissingBranch, TableChange, WriteBranch};
use crate::views::view_definition;
use crate::write::{CreateAs, Definition, Returned, Target, apply, definition, table_name, target_of};
use crate::{AsOf, QueryError, Tables};

/// How often a statement is run again when another writer changed its table meanwhile.
const ATTEMPTS_MAX: u32 = 8;

/// A statement that is run.
pub(super) struct Change<'a> {
    pub(super) write: &'a WriteStatement,
    pub(super) parsed: &'a Parsed,
    pub(super) options: &'a QueryOptions,
    pub(super) counters: &'a Arc<ScanCounters>,
    pub(super) diagnosis: &'a Diagnosis,
}

/// What a statement changes.
pub(super) struct WriteTarget {
    pub(super) name: TableName,
    /// `None` for the table itself.
    pub(super) branch: Option<WriteBranch>,
}

/// What became of an attempt.
enum Attempt {
    Done(Changed),
    /// Another writer changed the table meanwhile.
    Lost(QueryError),
}

/// What a statement about rows did.
pub(super) struct Changed {
    pub(super) rows: u64,
    pub(super) written: Written,
    pub(super) returned: Option<ReturnedRows>,
    /// The plan that ran, with its figures.
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Files of the table that was changed.
    pub(super) target: Arc<ScanCounters>,
}

/// The rows of a `RETURNING`.
pub(super) struct ReturnedRows {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) names: ShownNames,
}

/// What a statement did that changes something.
pub(super) struct Done {
    pub(super) command: Command,
    pub(super) returned: Option<ReturnedRows>,
}

impl From<Command> for Done {
    fn from(command: Command) -> Self {
        Self { command, returned: None }
    }
}

/// The result of a statement that changes rows: how many.
pub(super) fn rows_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("rows", DataType::Int64, false)]))
}

/// A plan that gives what a statement did.
pub(super) fn result_of(done: &Done) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    if let Some(returned) = &done.returned {
        return held(&returned.schema, returned.batches.clone());
    }
    let Some(rows) = done.command.rows else {
        return Ok(Arc::new(EmptyExec::new(Arc::new(Schema::empty()))));
    };
    let count = Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]);
    let batch = RecordBatch::try_new(rows_schema(), vec![Arc::new(count)]);
    let batch = batch.map_err(|error| QueryError::Internal { message: error.to_string() })?;
    held(&rows_schema(), vec![batch])
}

/// A plan that gives rows which are there.
pub(super) fn held(
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let exec = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(schema), None);
    Ok(exec.map_err(|error| QueryError::Internal { message: error.to_string() })?)
}

impl Session {
    /// Whether the caller may change something. Errors: `Denied`.
    pub(super) fn check_editor(&self, parsed: &Parsed) -> Result<(), QueryError> {
        match self.context().principal.role < Role::Editor {
            true => Err(QueryError::Denied {
                statement: parsed.text.leading_words(1),
                principal: self.context().principal.name.to_string(),
            }),
            false => Ok(()),
        }
    }

    /// Runs a statement that changes something. Errors: all of [`QueryError`]; then nothing has changed.
    pub(super) async fn change(&self, change: &Change<'_>) -> Result<Done, QueryError> {
        let statement = &change.write.statement;
        self.check_editor(change.parsed)?;
        if let Some(target) = target_of(statement) {
            let target = self.target(target?)?;
            let Changed { rows, returned, .. } = self.change_rows(change, change.write, &target).await?;
            let command = Command { tag: rows_tag(statement), rows: Some(rows), returns: returned.is_some() };
            return Ok(Done { command, returned });
        }
        self.check_reversible(change)?;
        if let Statement::OptimizeTable { name, predicate, zorder, .. } = statement {
            let done = self.optimize(change, name, predicate.as_ref(), zorder.as_deref());
            return Box::pin(done).await.map(Done::from);
        }
        if let Statement::CreateView(create) = statement {
            let definition = view_definition(create, change.parsed, &self.namespace())?;
            let name = definition.name.clone();
            let is_new =
                self.in_transaction() && self.tables().sql_view(self.context(), &name).await?.is_none();
            let done = Box::pin(self.create_view(change, definition)).await?;
            if is_new {
                self.made(Made::View(name));
            }
            return Ok(done.into());
        }
        let beside = (&*change.parsed.partitioned_by, &*change.parsed.alterations);
        let known =
            definition(statement, beside, &self.namespace()).ok_or_else(|| QueryError::NotPossible {
                statement: change.parsed.text.leading_words(2),
                position: change.parsed.text.start(),
                hint: "this form of the statement is not possible".into(),
            })?;
        match known? {
            Definition::Truncate(name) => {
                let target = self.branch_target(name);
                let mut writer = self.writer(change, &target).await?;
                writer.replace_all();
                writer.commit().await.map_err(|error| QueryError::from_fault(&error))?;
                Ok(Command { tag: "TRUNCATE TABLE", rows: None, returns: false }.into())
            }
            Definition::Change(definition) => {
                let mut definition = match change.parsed.alters_view {
                    true => of_view(definition)?,
                    false => definition,
                };
                set_order(&mut definition, change.parsed);
                let tag = tag_of(&definition);
                self.check_definition_reversible(&definition, change)?;
                let (namespace, table) = match &definition {
                    TableChange::CreateNamespace { name, .. } => (Some(name.clone()), None),
                    TableChange::CreateTable { table, .. } => (None, Some(table.name.clone())),
                    _ => (None, None),
                };
                if self.tables().change(self.context(), definition).await? {
                    namespace.into_iter().for_each(|name| self.made(Made::Namespace(name)));
                    if let Some(name) = table {
                        self.made_table(&name).await?;
                    }
                }
                Ok(Command { tag, rows: None, returns: false }.into())
            }
            Definition::CreateAs(create) => Box::pin(self.create_as(change, *create)).await.map(Done::from),
        }
    }

    /// A statement that changes rows, planned; `None` for another one. Nothing is run.
    pub(super) async fn planned_change(
        &self,
        write: &WriteStatement,
        diagnosis: &Diagnosis,
    ) -> Result<Option<PlannedChange>, QueryError> {
        let Some(target) = target_of(&write.statement) else { return Ok(None) };
        let target = self.target(target?)?;
        let Some(view) = self.view_of(&target).await? else {
            return Err(self.no_such(&target.name, diagnosis).await?);
        };
        let counters = Arc::default();
        let (catalog, target) = self.catalog_for(&target.name, view, &counters, &counters)?;
        self.plan_change(&catalog, write, &target, diagnosis).await.map(Some)
    }

    /// The newest state of what a statement changes; `None` where there is no such table.
    pub(super) async fn view_of(&self, target: &WriteTarget) -> Result<Option<Arc<TableView>>, QueryError> {
        let (context, name) = (self.context(), &target.name);
        match target.branch.clone() {
            None => self.tables().view(context, name).await,
            Some(branch) if branch.missing != MissingBranch::Refused => {
                self.tables().view_at(context, name, AsOf::Branch(branch.name)).await
            }
            Some(branch) => self.tables().view_at(context, name, AsOf::Ref(branch.name)).await,
        }
    }

    pub(super) fn tables(&self) -> &Arc<dyn Tables> {
        &self.core().tables
    }

    pub(super) async fn no_such(
        &self,
        name: &TableName,
        diagnosis: &Diagnosis,
    ) -> Result<QueryError, QueryError> {
        let catalog = self.catalog(Arc::default());
        if self.tables().sql_view(self.context(), name).await?.is_some() {
            return Ok(not_of_view(name));
        }
        let parts = [name.namespace().to_string(), name.name().to_string()];
        let known = catalog.full_names().await?;
        Ok(diagnosis.no_such_table(&parts, &known, &self.namespace()))
    }

    async fn writer(&self, change: &Change<'_>, target: &WriteTarget) -> Result<TableWriter, QueryError> {
        match self.tables().write(self.context(), &target.name, target.branch.as_ref()).await? {
            Some(writer) => {
                self.begins_to_change(target);
                Ok(writer)
            }
            None => Err(self.no_such(&target.name, change.diagnosis).await?),
        }
    }

    /// The table, and its branch where one is written to: `shop.item.branch_audit`, or the session's.
    pub(super) fn target(&self, name: &ObjectName) -> Result<WriteTarget, QueryError> {
        let (name, branch) = branch_of(name)?;
        let name = table_name(&name, &self.namespace())?;
        Ok(match branch {
            Some(_) if self.in_transaction() => {
                let message = "a branch that is named is not changed within a transaction";
                return Err(QueryError::coded("25001", message)
                    .with_hint("COMMIT first; a transaction writes to a branch of its own"));
            }
            Some(branch) => {
                let branch = WriteBranch { name: branch, missing: MissingBranch::Refused };
                WriteTarget { name, branch: Some(branch) }
            }
            None => self.branch_target(name),
        })
    }

    /// The branch of a table to which this session writes, which is one of its transaction where it has one.
    pub(super) fn branch_target(&self, name: TableName) -> WriteTarget {
        if let Some(branch) = self.transaction_branch() {
            let branch = Some(WriteBranch { name: branch, missing: MissingBranch::OfTransaction });
            return WriteTarget { name, branch };
        }
        let branch = self.settings.read().branch.clone();
        let branch = branch.map(|name| WriteBranch { name, missing: MissingBranch::Made });
        WriteTarget { name, branch }
    }

    /// The catalog in which a statement finds the rows of its table with their places. `own`: counts the files of this
    /// table.
    pub(super) fn catalog_for(
        &self,
        name: &TableName,
        view: Arc<TableView>,
        counters: &Arc<ScanCounters>,
        own: &Arc<ScanCounters>,
    ) -> Result<(Arc<QueryCatalog>, Target), QueryError> {
        let columns = view.schema.fields().iter();
        let target = Target {
            name: name.clone(),
            columns: columns.map(|field| (field.name().clone(), field.data_type().clone())).collect(),
            key: view.key(),
            schema: Arc::clone(&view.schema),
        };
        let table = LakeTable::new(view, Arc::clone(&self.core().scan), Arc::clone(own))?;
        let placed = (name.clone(), Arc::new(PlacedTable::new(table)));
        let catalog = self.catalog_changing(Arc::clone(counters), placed);
        Ok((catalog, target))
    }

    /// Runs a statement that changes rows, until no other writer is faster.
    pub(super) async fn change_rows(
        &self,
        change: &Change<'_>,
        write: &WriteStatement,
        target: &WriteTarget,
    ) -> Result<Changed, QueryError> {
        let mut attempt = 1;
        loop {
            match Box::pin(self.attempt(change, write, target)).await? {
                Attempt::Done(changed) => return Ok(changed),
                Attempt::Lost(error) if attempt == ATTEMPTS_MAX => return Err(error),
                Attempt::Lost(error) => {
                    tracing::debug!(table = %target.name, attempt, %error, "a statement is run again");
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &self,
        change: &Change<'_>,
        write: &WriteStatement,
        target: &WriteTarget,
    ) -> Result<Attempt, QueryError> {
        let mut writer = self.writer(change, target).await?;
        let own = Arc::default();
        let view = Arc::clone(writer.view());
        let (catalog, target) = self.catalog_for(&target.name, view, change.counters, &own)?;
        let planned = self.plan_change(&catalog, write, &target, change.diagnosis).await?;
        if planned.rows.replaces_all {
            writer.replace_all();
        }
        if planned.rows.keeps_first {
            writer.keep_first();
        }
        let explain = |error| change.diagnosis.explain(error);
        let returned = planned.returning.as_ref();
        let mut returned = returned.map(|_| Returned::new(&target.schema, planned.plan.schema().as_arrow()));
        let plan = with_params(planned.plan, change.options).map_err(explain)?;
        let state = self.state(&catalog);
        let plan = state.create_physical_plan(&plan).await.map_err(explain)?;
        let rows = self.core().threads.run(Arc::clone(&plan), state.task_ctx());
        let changed = apply(rows, &mut writer, change.diagnosis, returned.as_mut()).await?;
        let returned = match (returned, &planned.rows.returning) {
            (Some(rows), Some(query)) => Some(self.return_rows(change, &catalog, rows, query).await?),
            _ => None,
        };
        match writer.commit().await {
            Ok(written) => Ok(Attempt::Done(Changed { rows: changed, written, returned, plan, target: own })),
            Err(error @ LakehouseError::CommitFailed { .. }) => {
                Ok(Attempt::Lost(QueryError::from_fault(&error)))
            }
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    /// Runs `RETURNING` before the commit, so that an error in it leaves the table as it was.
    async fn return_rows(
        &self,
        change: &Change<'_>,
        catalog: &Arc<QueryCatalog>,
        rows: Returned,
        query: &Query,
    ) -> Result<ReturnedRows, QueryError> {
        catalog.set_returned(rows.table()?);
        let explain = |error| change.diagnosis.explain(error);
        let (plan, names) = self.plan_rows(catalog, query.clone(), change.diagnosis).await?;
        let plan = with_params(plan, change.options).map_err(explain)?;
        let state = self.state(catalog);
        let plan = state.create_physical_plan(&plan).await.map_err(explain)?;
        let schema = plan.schema();
        let mut found = self.core().threads.run(plan, state.task_ctx());
        let mut batches = Vec::new();
        while let Some(batch) = found.next().await {
            batches.push(batch.map_err(explain)?);
        }
        Ok(ReturnedRows { schema, batches, names })
    }

    async fn create_as(&self, change: &Change<'_>, create: CreateAs) -> Result<Command, QueryError> {
        let (context, name) = (self.context(), create.name.clone());
        let catalog = self.catalog(Arc::clone(change.counters));
        let (planned, _) = self.plan_rows(&catalog, create.query.clone(), change.diagnosis).await?;
        let planned =
            with_params(planned, change.options).map_err(|error| change.diagnosis.explain(error))?;
        let table = Box::new(create.table(planned.schema().as_arrow())?);
        let if_not_exists = create.if_not_exists;
        let made = self.tables().change(context, TableChange::CreateTable { table, if_not_exists }).await?;
        if !made {
            return Ok(Command { tag: "CREATE TABLE", rows: None, returns: false });
        }
        self.made_table(&name).await?;
        let write = WriteStatement::plain(insert_into(&name, create.query)?);
        // A new table has no branches.
        let target = WriteTarget { name: name.clone(), branch: None };
        match self.change_rows(change, &write, &target).await {
            Ok(changed) => Ok(Command { tag: "SELECT", rows: Some(changed.rows), returns: false }),
            Err(error) => {
                self.unmade_table(&name);
                let drop = TableChange::DropTable { name, if_exists: true, purge: true };
                if let Err(error) = self.tables().change(context, drop).await {
                    tracing::warn!(%error, "the table of a CREATE TABLE AS that failed stays behind, empty");
                }
                Err(error)
            }
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

/// The order of rows that stood in the text of `ALTER TABLE`.
fn set_order(definition: &mut TableChange, parsed: &Parsed) {
    let (TableChange::AlterTable { changes, .. }, Some(columns)) = (definition, &parsed.ordered_by) else {
        return;
    };
    for change in changes {
        if let TableAlteration::SetProperties(properties) = change
            && properties.keys().any(|key| key.trim() == ORDER_MARK)
        {
            *change = TableAlteration::SetOrder(columns.clone());
        }
    }
}
