//! Transactions of several statements, as clients of PostgreSQL begin and end them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement;
use tarn_core::{Fault, FaultKind, RequestContext, Sealed, TableName};
use tarn_lakehouse::TRANSACTION_PREFIX;
use uuid::Uuid;

use super::catalog::ReadBranch;
use super::session::{Changes, Session};
use super::write::{Change, WriteTarget};
use crate::QueryError;
use crate::engine::EngineCore;
use crate::tables::{MissingBranch, TableChange};

/// What a transaction made, which its end by ROLLBACK takes away again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Namespace(String),
    /// Its name and UUID: another one may have the name since.
    Table(TableName, Uuid),
    View(TableName),
}

impl Made {
    fn is_table(&self, table: &TableName) -> bool {
        matches!(self, Self::Table(name, _) if name == table)
    }
}

/// Where a transaction was when a savepoint was set.
#[derive(Clone, Debug)]
struct Savepoint {
    name: String,
    heads: Vec<(TableName, Option<i64>)>,
    made: usize,
}

/// What a transaction changed so far. One that is dropped is rolled back.
#[derive(Debug)]
pub(super) struct Transaction {
    core: Sealed<EngineCore>,
    ctx: RequestContext,
    branch: Arc<str>,
    /// Tables that may have the branch.
    tables: Arc<BTreeSet<TableName>>,
    made: Vec<Made>,
    savepoints: Vec<Savepoint>,
}

impl Transaction {
    /// Where statements read what the transaction wrote; `None` before it did.
    pub(super) fn read_branch(&self) -> Option<ReadBranch> {
        let has_written = !self.tables.is_empty();
        has_written.then(|| ReadBranch::of(Arc::clone(&self.branch), Arc::clone(&self.tables)))
    }

    fn has_changed(&self) -> bool {
        !self.tables.is_empty() || !self.made.is_empty()
    }

    /// What there is to undo, which is nobody's business then any more.
    fn taken(&mut self) -> Undo {
        self.savepoints.clear();
        Undo {
            core: self.core.clone(),
            ctx: self.ctx.clone(),
            branch: Arc::clone(&self.branch),
            heads: std::mem::take(&mut self.tables).iter().map(|table| (table.clone(), None)).collect(),
            made: std::mem::take(&mut self.made),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.has_changed() {
            return;
        }
        let mut undo = self.taken();
        let spawner = self.core.env.spawner.clone();
        // The connection is gone, and with it whoever could still stop this.
        (undo.ctx.deadline, undo.ctx.cancel) = (None, spawner.stopping().child_token());
        drop(spawner.spawn(async move { undo.run().await }));
    }
}

/// What a transaction takes back.
struct Undo {
    core: Sealed<EngineCore>,
    ctx: RequestContext,
    branch: Arc<str>,
    heads: Vec<(TableName, Option<i64>)>,
    made: Vec<Made>,
}

impl Undo {
    /// Takes back as much as can be. What stays behind, as the store does not answer, is never read and expires.
    async fn run(self) {
        let mut changes: Vec<TableChange> = Vec::new();
        for (table, head) in self.heads {
            changes.push(TableChange::TakeBack { branch: self.branch.to_string(), table, head });
        }
        // What was made last may need what was made before it.
        for made in self.made.into_iter().rev() {
            changes.push(match made {
                Made::Namespace(name) => TableChange::DropNamespace { name, if_exists: true },
                Made::Table(name, uuid) => match self.core.tables.view(&self.ctx, &name).await {
                    Ok(Some(view)) if view.metadata.uuid() == uuid => {
                        TableChange::DropTable { name, if_exists: true, purge: true }
                    }
                    Err(error) => {
                        tracing::warn!(table = %name, %error, "a table that a transaction made stays behind");
                        continue;
                    }
                    // It is gone, or another one has its name.
                    Ok(_) => continue,
                },
                Made::View(name) => TableChange::DropView { name, if_exists: true },
            });
        }
        for change in changes {
            if let Err(error) = self.core.tables.change(&self.ctx, change).await {
                tracing::warn!(branch = &*self.branch, %error, "a part of a transaction could not be taken back");
            }
        }
    }
}

fn no_savepoint(name: &str) -> QueryError {
    QueryError::coded("3B001", format!("savepoint \"{name}\" does not exist"))
}

impl Session {
    /// Begins a transaction; goes on with the one that is open.
    pub fn begin(&self) {
        let mut open = self.transaction.lock();
        if open.is_none() {
            *open = Some(Transaction {
                core: self.core().clone(),
                ctx: self.context().clone(),
                branch: format!("{TRANSACTION_PREFIX}{}", self.core().env.entropy.uuid()).into(),
                tables: Arc::default(),
                made: Vec::new(),
                savepoints: Vec::new(),
            });
        }
    }

    /// Whether one is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.lock().is_some()
    }

    /// Whether one is open which changes something: a session that writes to a branch has it there at once.
    pub(super) fn takes_changes(&self) -> bool {
        self.in_transaction() && self.settings.read().branch.is_none()
    }

    /// Ends the transaction: what it changed is visible, all at once. Errors: code 40001 where another writer changed one of
    /// its tables meanwhile; those of the store. Then nothing has changed.
    pub async fn commit(&self) -> Result<(), QueryError> {
        let Some(mut open) = self.transaction.lock().take() else { return Ok(()) };
        if open.tables.is_empty() {
            open.made.clear();
            return Ok(());
        }
        // Whoever goes away meanwhile drops no table that may hold what was committed.
        let made = std::mem::take(&mut open.made);
        let (branch, tables) = (open.branch.to_string(), open.tables.iter().cloned().collect());
        let ended =
            self.tables().change(self.context(), TableChange::CommitTransaction { branch, tables }).await;
        match ended {
            Ok(_) => {
                open.tables = Arc::default();
                Ok(())
            }
            Err(error) => {
                // Else it may have come about all the same.
                if is_refused(&error) {
                    open.made = made;
                }
                open.taken().run().await;
                Err(serialization_failure(error))
            }
        }
    }

    /// Ends the transaction: nothing of it stays.
    pub async fn rollback(&self) {
        let open = self.transaction.lock().take();
        if let Some(mut open) = open {
            open.taken().run().await;
        }
    }

    /// Sets a savepoint. Errors: code 25P01 without a transaction; those of the catalog.
    pub async fn savepoint(&self, name: &str) -> Result<(), QueryError> {
        let (branch, tables) = match self.transaction.lock().as_ref() {
            Some(open) => (Arc::clone(&open.branch), Arc::clone(&open.tables)),
            None => return Err(outside("SAVEPOINT")),
        };
        let mut heads = Vec::with_capacity(tables.len());
        for table in tables.iter() {
            let head = self.tables().transaction_head(self.context(), &branch, table).await?;
            heads.push((table.clone(), head));
        }
        if let Some(open) = self.transaction.lock().as_mut() {
            open.savepoints.push(Savepoint { name: name.to_string(), heads, made: open.made.len() });
        }
        Ok(())
    }

    /// Forgets a savepoint and those after it. Errors: code 3B001 where there is none of its name, 25P01 without a
    /// transaction.
    pub fn release(&self, name: &str) -> Result<(), QueryError> {
        let mut open = self.transaction.lock();
        let open = open.as_mut().ok_or_else(|| outside("RELEASE SAVEPOINT"))?;
        let at =
            open.savepoints.iter().rposition(|one| one.name == name).ok_or_else(|| no_savepoint(name))?;
        open.savepoints.truncate(at);
        Ok(())
    }

    /// Goes back to a savepoint, which stays. Errors: as [`Session::release`].
    pub async fn rollback_to(&self, name: &str) -> Result<(), QueryError> {
        let undo = {
            let mut open = self.transaction.lock();
            let open = open.as_mut().ok_or_else(|| outside("ROLLBACK TO SAVEPOINT"))?;
            let at = open.savepoints.iter().rposition(|one| one.name == name);
            let at = at.ok_or_else(|| no_savepoint(name))?;
            open.savepoints.truncate(at + 1);
            let Savepoint { heads, made, .. } = open.savepoints[at].clone();
            let before =
                |table: &TableName| heads.iter().find(|(own, _)| own == table).and_then(|(_, head)| *head);
            let heads = open.tables.iter().map(|table| (table.clone(), before(table))).collect();
            let made = open.made.split_off(made.min(open.made.len()));
            let (core, ctx) = (open.core.clone(), open.ctx.clone());
            Undo { core, ctx, branch: Arc::clone(&open.branch), heads, made }
        };
        undo.run().await;
        Ok(())
    }

    /// The branch to which the open transaction writes.
    pub(super) fn transaction_branch(&self) -> Option<Arc<str>> {
        self.transaction.lock().as_ref().map(|open| Arc::clone(&open.branch))
    }

    /// From now on the open transaction, if `target` is of one, may have changed its table.
    pub(super) fn begins_to_change(&self, target: &WriteTarget) {
        let is_of_one =
            target.branch.as_ref().is_some_and(|branch| branch.missing == MissingBranch::OfTransaction);
        if is_of_one
            && let Some(open) = self.transaction.lock().as_mut()
            && !open.tables.contains(&target.name)
        {
            Arc::make_mut(&mut open.tables).insert(target.name.clone());
        }
    }

    /// Remembers a table that the open transaction made. Errors: the catalog's.
    pub(super) async fn made_table(&self, name: &TableName) -> Result<(), QueryError> {
        if self.in_transaction()
            && let Some(view) = self.tables().view(self.context(), name).await?
        {
            self.made(Made::Table(name.clone(), view.metadata.uuid()));
        }
        Ok(())
    }

    /// Forgets a table that was made last and went again.
    pub(super) fn unmade_table(&self, name: &TableName) {
        if let Some(open) = self.transaction.lock().as_mut() {
            open.made.pop_if(|made| made.is_table(name));
        }
    }

    /// Remembers what the open transaction made.
    pub(super) fn made(&self, made: Made) {
        if let Some(open) = self.transaction.lock().as_mut() {
            open.made.push(made);
        }
    }

    /// Errors: code 25001 for a statement whose effect the open transaction could not take back.
    pub(super) fn check_reversible(&self, change: &Change<'_>) -> Result<(), QueryError> {
        let replaces = match &change.write.statement {
            Statement::OptimizeTable { .. } => true,
            Statement::CreateView(create) => create.or_replace,
            _ => false,
        };
        match replaces && self.in_transaction() {
            true => Err(in_transaction(change)),
            false => Ok(()),
        }
    }

    /// Whether the open transaction could take a change of the catalog back: what it makes, and changes of what it made
    /// itself. Errors: code 25001 for all others.
    pub(super) fn check_definition_reversible(
        &self,
        definition: &TableChange,
        change: &Change<'_>,
    ) -> Result<(), QueryError> {
        let open = self.transaction.lock();
        let Some(open) = open.as_ref() else {
            return match change.options.changes {
                Changes::InTransaction => Err(in_transaction(change)),
                _ => Ok(()),
            };
        };
        let is_possible = match definition {
            TableChange::CreateNamespace { .. } | TableChange::CreateTable { .. } => true,
            TableChange::AlterTable { name, .. } => open.made.iter().any(|made| made.is_table(name)),
            TableChange::CommentView { name, .. } => open.made.contains(&Made::View(name.clone())),
            _ => false,
        };
        match is_possible {
            true => Ok(()),
            false => Err(in_transaction(change)),
        }
    }
}

/// Whether nothing was committed for certain.
fn is_refused(error: &QueryError) -> bool {
    matches!(error.kind(), FaultKind::Conflict | FaultKind::NotFound | FaultKind::Invalid)
}

fn serialization_failure(error: QueryError) -> QueryError {
    match is_refused(&error) {
        true => QueryError::coded("40001", format!("the transaction was rolled back: {error}"))
            .with_hint("another writer was faster; run the whole transaction again"),
        false => error,
    }
}

fn in_transaction(change: &Change<'_>) -> QueryError {
    QueryError::InTransaction { statement: change.parsed.text.leading_words(2) }
}

fn outside(statement: &str) -> QueryError {
    QueryError::coded("25P01", format!("{statement} can only be used in transaction blocks"))
}
