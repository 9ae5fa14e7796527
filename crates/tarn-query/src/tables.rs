//! The port through which the engine sees tables.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use tarn_core::files::Files;
use tarn_core::{FaultKind, RequestContext, TableName};
use tarn_lakehouse::service::Trigger;
use tarn_lakehouse::{Lakehouse, LakehouseError, MetadataKind, TableView, TableWriter};

use crate::QueryError;
pub use crate::table_change::TableChange;
use crate::views::{SqlView, comment_view};

/// A state of a table in the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// As the snapshot with this id left it.
    Snapshot(i64),
    /// As it was at this time, in milliseconds since 1970-01-01 UTC: the last snapshot committed by then.
    TimestampMs(i64),
    /// As the branch or tag of this name has it.
    Ref(Arc<str>),
    /// As the branch of this name has it, or as it is where the table has no such branch.
    Branch(Arc<str>),
}

/// The branch that a statement writes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteBranch {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of it where it is not there.
    pub missing: MissingBranch,
}

/// What becomes of a branch that a statement writes to and that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissingBranch {
    /// The statement is refused.
    Refused,
    /// It is made from the table's newest state.
    Made,
    /// It is that of a transaction, and made by the first commit.
    OfTransaction,
}

/// Finds tables. Every call names the caller, so that an implementation shows only what the tenant owns.
#[async_trait]
pub trait Tables: Send + Sync + Debug {
    /// Names of all namespaces, sorted.
    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, QueryError>;

    /// Tables of a namespace, sorted; empty where the namespace does not exist.
    async fn tables(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError>;

    /// The newest state of a table, rows not yet flushed included; `None` where there is no such table.
    async fn view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableView>>, QueryError>;

    /// A past state of a table, without unflushed rows; `None` where there is no such table. Errors: `Plan` where the
    /// table has no such snapshot or none that old.
    async fn view_at(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        as_of: AsOf,
    ) -> Result<Option<Arc<TableView>>, QueryError>;

    /// Rows about a table, such as its snapshots; `None` where there is no such table, or none of these rows.
    async fn inspect(
        &self,
        _ctx: &RequestContext,
        _name: &TableName,
        _kind: MetadataKind,
    ) -> Result<Option<RecordBatch>, QueryError> {
        Ok(None)
    }

    /// Who reads files of others; `None` where nobody does.
    fn files(&self) -> Option<Arc<dyn Files>> {
        None
    }

    /// Views of a namespace, sorted; empty where the namespace does not exist.
    async fn views(&self, _ctx: &RequestContext, _namespace: &str) -> Result<Vec<TableName>, QueryError> {
        Ok(Vec::new())
    }

    /// The view of a name; `None` where there is none.
    async fn sql_view(
        &self,
        _ctx: &RequestContext,
        _name: &TableName,
    ) -> Result<Option<SqlView>, QueryError> {
        Ok(None)
    }

    /// Begins a change of the rows of a table, or of one of its branches; `None` where there is no such table. Errors: the
    /// tables behind this port are only read; there is no such branch.
    async fn write(
        &self,
        _ctx: &RequestContext,
        name: &TableName,
        _branch: Option<&WriteBranch>,
    ) -> Result<Option<TableWriter>, QueryError> {
        Err(only_read(&name.to_string()))
    }

    /// Begins to add rows that come slowly: other statements on the table do not wait for them. `None` where there is no
    /// such table. Errors: as [`Tables::write`].
    async fn append(
        &self,
        _ctx: &RequestContext,
        name: &TableName,
        _branch: Option<&WriteBranch>,
    ) -> Result<Option<TableWriter>, QueryError> {
        Err(only_read(&name.to_string()))
    }

    /// How far a transaction is with a table; `None` where it changed nothing.
    async fn transaction_head(
        &self,
        _ctx: &RequestContext,
        _branch: &str,
        _table: &TableName,
    ) -> Result<Option<i64>, QueryError> {
        Ok(None)
    }

    /// Makes a writer of [`Tables::append`] ready for its commit.
    async fn settle(&self, _writer: &mut TableWriter) {}

    /// Changes the catalog. Returns whether something changed. Errors: the tables behind this port are only read; a name
    /// that is taken or does not exist; what stands in the way.
    async fn change(&self, _ctx: &RequestContext, _change: TableChange) -> Result<bool, QueryError> {
        Err(only_read("all tables"))
    }
}

/// Namespace of names without one.
const DEFAULT_NAMESPACE: &str = "main";

fn only_read(what: &str) -> QueryError {
    QueryError::plan(format!("`{what}` can only be read"), None, None)
}

/// The port over a lakehouse.
#[derive(Debug)]
pub struct LakeTables {
    lakehouse: Arc<Lakehouse>,
    files: Option<Arc<dyn Files>>,
}

impl LakeTables {
    /// Over a lakehouse.
    pub fn new(lakehouse: Arc<Lakehouse>) -> Self {
        Self { lakehouse, files: None }
    }

    /// With those who read files.
    #[must_use]
    pub fn with_files(self, files: Arc<dyn Files>) -> Self {
        Self { files: Some(files), ..self }
    }
}

fn found(result: Result<Arc<TableView>, LakehouseError>) -> Result<Option<Arc<TableView>>, QueryError> {
    match result {
        Ok(view) => Ok(Some(view)),
        Err(LakehouseError::TableNotFound { .. } | LakehouseError::WrongKind { .. }) => Ok(None),
        Err(error @ LakehouseError::SnapshotNotFound { .. }) => Err(QueryError::Plan {
            message: error.to_string(),
            position: None,
            hint: Some("the table's page lists the snapshots that are kept".into()),
        }),
        Err(error) => Err(QueryError::from_fault(&error)),
    }
}

#[async_trait]
impl Tables for LakeTables {
    fn files(&self) -> Option<Arc<dyn Files>> {
        self.files.clone()
    }

    async fn namespaces(&self, ctx: &RequestContext) -> Result<Vec<String>, QueryError> {
        self.lakehouse.catalog().list_namespaces(ctx).await.map_err(|error| QueryError::from_fault(&error))
    }

    async fn tables(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError> {
        match self.lakehouse.catalog().list_tables(ctx, namespace).await {
            Err(LakehouseError::NamespaceNotFound { .. }) => Ok(Vec::new()),
            listed => listed.map_err(|error| QueryError::from_fault(&error)),
        }
    }

    async fn view(
        &self,
        ctx: &RequestContext,
        name: &TableName,
    ) -> Result<Option<Arc<TableView>>, QueryError> {
        found(self.lakehouse.view(ctx, name).await)
    }

    async fn view_at(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        as_of: AsOf,
    ) -> Result<Option<Arc<TableView>>, QueryError> {
        found(match as_of {
            AsOf::Snapshot(id) => self.lakehouse.view_at_snapshot(ctx, name, id).await,
            AsOf::TimestampMs(ms) => self.lakehouse.view_at_time(ctx, name, ms).await,
            AsOf::Ref(reference) => self.lakehouse.view_at_ref(ctx, name, &reference).await,
            AsOf::Branch(branch) => match self.lakehouse.view_at_ref(ctx, name, &branch).await {
                Err(LakehouseError::SnapshotNotFound { .. }) => self.lakehouse.view(ctx, name).await,
                found => found,
            },
        })
    }

    async fn inspect(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        kind: MetadataKind,
    ) -> Result<Option<RecordBatch>, QueryError> {
        match self.lakehouse.inspect(ctx, name, kind).await {
            Ok(rows) => Ok(Some(rows)),
            Err(LakehouseError::TableNotFound { .. } | LakehouseError::WrongKind { .. }) => Ok(None),
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    async fn views(&self, ctx: &RequestContext, namespace: &str) -> Result<Vec<TableName>, QueryError> {
        match self.lakehouse.catalog().list_views(ctx, namespace).await {
            Err(LakehouseError::NamespaceNotFound { .. }) => Ok(Vec::new()),
            listed => listed.map_err(|error| QueryError::from_fault(&error)),
        }
    }

    async fn sql_view(&self, ctx: &RequestContext, name: &TableName) -> Result<Option<SqlView>, QueryError> {
        match self.lakehouse.catalog().load_view(ctx, name).await {
            Ok(view) => SqlView::of(name, &view).map(Some),
            Err(LakehouseError::ViewNotFound { .. } | LakehouseError::WrongKind { .. }) => Ok(None),
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    async fn write(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        branch: Option<&WriteBranch>,
    ) -> Result<Option<TableWriter>, QueryError> {
        let writer = match branch {
            None => self.lakehouse.write(ctx, name).await,
            Some(branch) if branch.missing == MissingBranch::OfTransaction => {
                Box::pin(self.lakehouse.write_in_transaction(ctx, name, &branch.name)).await
            }
            Some(branch) => {
                let makes = branch.missing == MissingBranch::Made;
                Box::pin(self.lakehouse.write_branch(ctx, name, &branch.name, makes)).await
            }
        };
        match writer {
            Ok(writer) => Ok(Some(writer)),
            Err(LakehouseError::TableNotFound { .. } | LakehouseError::WrongKind { .. }) => Ok(None),
            Err(error @ LakehouseError::SnapshotNotFound { .. }) => {
                let hint = "`CALL create_branch('namespace.table', 'name')` makes a branch".to_string();
                Err(QueryError::plan(error.to_string(), None, Some(hint)))
            }
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    async fn append(
        &self,
        ctx: &RequestContext,
        name: &TableName,
        branch: Option<&WriteBranch>,
    ) -> Result<Option<TableWriter>, QueryError> {
        if branch.is_some() {
            return self.write(ctx, name, branch).await;
        }
        match self.lakehouse.append(ctx, name).await {
            Ok(writer) => Ok(Some(writer)),
            Err(LakehouseError::TableNotFound { .. } | LakehouseError::WrongKind { .. }) => Ok(None),
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    async fn transaction_head(
        &self,
        ctx: &RequestContext,
        branch: &str,
        table: &TableName,
    ) -> Result<Option<i64>, QueryError> {
        let head = self.lakehouse.transaction_head(ctx, branch, table).await;
        head.map_err(|error| QueryError::from_fault(&error))
    }

    async fn settle(&self, writer: &mut TableWriter) {
        self.lakehouse.settle(writer).await;
    }

    async fn change(&self, ctx: &RequestContext, change: TableChange) -> Result<bool, QueryError> {
        self.changed(ctx, change).await
    }
}

impl LakeTables {
    async fn changed(&self, ctx: &RequestContext, change: TableChange) -> Result<bool, QueryError> {
        let (lakehouse, catalog) = (&self.lakehouse, self.lakehouse.catalog());
        let (done, forgives): (Result<(), LakehouseError>, bool) = match change {
            TableChange::CreateNamespace { name, if_not_exists } => {
                (catalog.create_namespace(ctx, &name, Default::default()).await, if_not_exists)
            }
            TableChange::DropNamespace { name, if_exists } => {
                (catalog.drop_namespace(ctx, &name).await, if_exists)
            }
            TableChange::CreateTable { table, if_not_exists } => {
                self.ensure_default(ctx, &table.name).await?;
                (catalog.create_table(ctx, *table).await.map(drop), if_not_exists)
            }
            TableChange::DropTable { name, if_exists, purge } => {
                self.check_not_fed(ctx, &name, "dropped")?;
                (catalog.drop_table(ctx, &name, purge).await, if_exists)
            }
            TableChange::RenameTable { from, to } => {
                self.check_not_fed(ctx, &from, "renamed")?;
                (catalog.rename_table(ctx, &from, &to).await, false)
            }
            TableChange::AlterTable { name, changes, if_exists } => {
                (lakehouse.alter(ctx, &name, &changes).await, if_exists)
            }
            TableChange::CreateView { view, or_replace, if_not_exists } => {
                self.ensure_default(ctx, &view.name).await?;
                (view.store(catalog, ctx, or_replace).await, if_not_exists)
            }
            TableChange::DropView { name, if_exists } => (catalog.drop_view(ctx, &name).await, if_exists),
            TableChange::RenameView { from, to, if_exists } => {
                (catalog.rename_view(ctx, &from, &to).await, if_exists)
            }
            TableChange::CommentView { name, comment, if_exists } => {
                (comment_view(catalog, ctx, &name, comment).await, if_exists)
            }
            TableChange::AcceptSchemaChange { table } => {
                (lakehouse.accept_schema_change(ctx, &table).await, false)
            }
            TableChange::CreateRef { table, kind, name, snapshot_id } => {
                (lakehouse.create_ref(ctx, &table, (kind, &name), snapshot_id).await, false)
            }
            TableChange::DropRef { table, name } => (lakehouse.drop_ref(ctx, &table, &name).await, false),
            TableChange::FastForward { table, branch, to } => {
                (lakehouse.fast_forward(ctx, &table, &branch, &to).await, false)
            }
            TableChange::CommitTransaction { branch, tables } => {
                (lakehouse.commit_transaction(ctx, &branch, &tables).await, false)
            }
            TableChange::TakeBack { branch, table, head } => {
                (lakehouse.take_back(ctx, &branch, &table, head).await, false)
            }
            TableChange::RollBack { table, to } => (self.rolled_back(ctx, &table, to).await, false),
            TableChange::Analyze { name } => (lakehouse.analyze(ctx, &name, Trigger::Statement).await, false),
            TableChange::Optimize { name, optimize } => {
                (lakehouse.optimize(ctx, &name, optimize, Trigger::Statement).await.map(drop), false)
            }
        };
        match done {
            Ok(()) => Ok(true),
            Err(
                LakehouseError::AlreadyExists { .. }
                | LakehouseError::TableNotFound { .. }
                | LakehouseError::ViewNotFound { .. }
                | LakehouseError::NamespaceNotFound { .. },
            ) if forgives => Ok(false),
            Err(error) => Err(QueryError::from_fault(&error)),
        }
    }

    /// A new project has no namespace, but names without one mean the default.
    async fn ensure_default(&self, ctx: &RequestContext, name: &TableName) -> Result<(), QueryError> {
        if name.namespace() != DEFAULT_NAMESPACE {
            return Ok(());
        }
        let made = self.lakehouse.catalog().ensure_namespace(ctx, DEFAULT_NAMESPACE).await;
        made.map_err(|error| QueryError::from_fault(&error))
    }

    async fn rolled_back(
        &self,
        ctx: &RequestContext,
        table: &TableName,
        to: AsOf,
    ) -> Result<(), LakehouseError> {
        let snapshot_id = match to {
            AsOf::Snapshot(id) => id,
            AsOf::TimestampMs(ms) => {
                let then = self.lakehouse.view_at_time(ctx, table, ms).await?;
                then.snapshot_id.unwrap_or_default()
            }
            AsOf::Ref(name) | AsOf::Branch(name) => {
                let named = self.lakehouse.view_at_ref(ctx, table, &name).await?;
                named.snapshot_id.unwrap_or_default()
            }
        };
        self.lakehouse.roll_back(ctx, table, snapshot_id).await
    }

    /// A table that a topic feeds would come back with the next change.
    fn check_not_fed(&self, ctx: &RequestContext, name: &TableName, done: &str) -> Result<(), QueryError> {
        let Some((topic, _)) = self.lakehouse.sink(ctx, name) else { return Ok(()) };
        Err(QueryError::Storage {
            message: format!("table `{name}` cannot be {done}: topic `{topic}` feeds it"),
            kind: FaultKind::Conflict,
            hint: Some("remove its source or table resource first (`tarn apply`)".into()),
        })
    }
}
