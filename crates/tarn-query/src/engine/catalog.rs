//! Tables as the planner sees them: one catalog, a schema per namespace, and for each table one view that stays the
//! same for the whole query.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::catalog::information_schema::{INFORMATION_SCHEMA, InformationSchemaProvider};
use datafusion::catalog::{CatalogProvider, CatalogProviderList, MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionConfig;
use iceberg::spec::MAIN_BRANCH;
use tarn_core::{RequestContext, Role, Sealed, TableName};
use tarn_lakehouse::{METADATA_KINDS, MetadataKind};
use tokio::sync::Mutex;

use crate::engine::{EngineCore, information_schema};
use crate::scan::{
    ChangesTable, ForeignTable, LakeTable, PlacedTable, ScanCounters, States, snapshot_before,
};
use crate::sql::{
    AskedChanges, AskedFiles, RETURNED_MARK, ROWS_MARK, asked_files, changes_of, split_version,
};
use crate::views::ViewPlans;
use crate::{AsOf, QueryError};

/// The catalog's name in `catalog.namespace.table`.
pub(crate) const CATALOG: &str = "tarn";

/// Names in a namespace.
pub(crate) struct Names {
    namespace: String,
    tables: Vec<String>,
    views: Vec<String>,
}

/// The branch that tables are read at which have it.
#[derive(Clone, Debug)]
pub(crate) struct ReadBranch {
    name: Arc<str>,
    /// None of the others has it.
    tables: Option<Arc<BTreeSet<TableName>>>,
}

impl ReadBranch {
    /// Any table may have it.
    pub(crate) fn of_all(name: Arc<str>) -> Self {
        Self { name, tables: None }
    }

    /// Only some tables may have it.
    pub(crate) fn of(name: Arc<str>, tables: Arc<BTreeSet<TableName>>) -> Self {
        Self { name, tables: Some(tables) }
    }
}

type Pins = HashMap<(TableName, Option<AsOf>), Arc<LakeTable>>;

/// The tables that one query can see.
pub(crate) struct QueryCatalog {
    core: Sealed<EngineCore>,
    ctx: RequestContext,
    counters: Arc<ScanCounters>,
    names: OnceLock<Vec<Names>>,
    /// `None` looks tables up anew each time.
    pins: Option<Arc<Mutex<Pins>>>,
    /// Where tables are read.
    branch: Option<ReadBranch>,
    /// The table that the statement changes.
    target: Option<(TableName, Arc<PlacedTable>)>,
    /// The rows of the target that the statement changed.
    returned: parking_lot::Mutex<Option<Arc<MemTable>>>,
    views: ViewPlans,
    /// The settings of the session, under which views are planned.
    settings: OnceLock<SessionConfig>,
}

impl std::fmt::Debug for QueryCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryCatalog").field("tenant", &self.ctx.tenant).finish_non_exhaustive()
    }
}

impl QueryCatalog {
    /// For one query: every table keeps the state in which it was first seen.
    pub(crate) fn pinned(
        core: &Sealed<EngineCore>,
        ctx: &RequestContext,
        counters: Arc<ScanCounters>,
        branch: Option<ReadBranch>,
    ) -> Arc<Self> {
        Arc::new(Self::new(core, ctx, counters, Some(Arc::default()), branch))
    }

    /// For a statement that changes `target`, whose rows it also finds with their places.
    pub(crate) fn changing(
        core: &Sealed<EngineCore>,
        ctx: &RequestContext,
        counters: Arc<ScanCounters>,
        branch: Option<ReadBranch>,
        target: (TableName, Arc<PlacedTable>),
    ) -> Arc<Self> {
        let catalog = Self::new(core, ctx, counters, Some(Arc::default()), branch);
        Arc::new(Self { target: Some(target), ..catalog })
    }

    /// Lets queries find the rows that the statement changed.
    pub(crate) fn set_returned(&self, rows: Arc<MemTable>) {
        *self.returned.lock() = Some(rows);
    }

    /// For a connection that plans by itself: every statement sees the newest state.
    pub(crate) fn live(core: &Sealed<EngineCore>, ctx: &RequestContext) -> Arc<Self> {
        Arc::new(Self::new(core, ctx, Arc::default(), None, None))
    }

    fn new(
        core: &Sealed<EngineCore>,
        ctx: &RequestContext,
        counters: Arc<ScanCounters>,
        pins: Option<Arc<Mutex<Pins>>>,
        branch: Option<ReadBranch>,
    ) -> Self {
        Self {
            core: core.clone(),
            ctx: ctx.clone(),
            counters,
            names: OnceLock::new(),
            pins,
            branch,
            target: None,
            returned: Default::default(),
            views: ViewPlans::default(),
            settings: OnceLock::new(),
        }
    }

    /// For a query that becomes the view `name`, which it must not read.
    pub(crate) fn defining(core: &Sealed<EngineCore>, ctx: &RequestContext, name: &TableName) -> Arc<Self> {
        let catalog = Self::new(core, ctx, Arc::default(), Some(Arc::default()), None);
        let views = catalog.views.within(name);
        Arc::new(Self { views, ..catalog })
    }

    fn branch_of(&self, table: &TableName) -> Option<Arc<str>> {
        let branch = self.branch.as_ref()?;
        branch.tables.as_ref().is_none_or(|tables| tables.contains(table)).then(|| Arc::clone(&branch.name))
    }

    /// Views are planned under these settings, but for the namespace, which each has of its own.
    pub(crate) fn plan_views_with(&self, settings: &SessionConfig) {
        let _ = self.settings.set(settings.clone());
    }

    /// Reads the names of all tables, which the information schema lists without waiting. Errors: the catalog's.
    pub(crate) async fn load_names(&self) -> Result<&[Names], QueryError> {
        if let Some(names) = self.names.get() {
            return Ok(names.as_slice());
        }
        let own = |names: Vec<TableName>| names.iter().map(|name| name.name().to_string()).collect();
        let mut names = Vec::new();
        for namespace in self.core.tables.namespaces(&self.ctx).await? {
            let tables = own(self.core.tables.tables(&self.ctx, &namespace).await?);
            let views = own(self.core.tables.views(&self.ctx, &namespace).await?);
            names.push(Names { namespace, tables, views });
        }
        Ok(self.names.get_or_init(|| names))
    }

    /// All tables and views as `namespace.table`. Errors: the catalog's.
    pub(crate) async fn full_names(&self) -> Result<Vec<String>, QueryError> {
        let names = self.load_names().await?;
        let full = |names: &Names| {
            let own = names.tables.iter().chain(&names.views);
            own.map(|name| format!("{}.{name}", names.namespace)).collect::<Vec<_>>()
        };
        Ok(names.iter().flat_map(full).collect())
    }

    async fn table(
        &self,
        name: TableName,
        as_of: Option<AsOf>,
    ) -> Result<Option<Arc<LakeTable>>, QueryError> {
        let Some(pins) = &self.pins else { return self.look_up(&name, as_of).await };
        // Held while looking up, so that two parts of a query cannot pin two states.
        let mut pins = pins.lock().await;
        let key = (name, as_of);
        if let Some(table) = pins.get(&key) {
            return Ok(Some(Arc::clone(table)));
        }
        let found = self.look_up(&key.0, key.1.clone()).await?;
        if let Some(table) = &found {
            pins.insert(key, Arc::clone(table));
        }
        Ok(found)
    }

    /// Rows about a table, such as `shop.item$snapshots`. Errors: they are of an unknown kind.
    async fn rows_about(
        &self,
        namespace: &str,
        table: &str,
        kind: &str,
    ) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Ok(name) = TableName::new(namespace, table) else { return Ok(None) };
        let Some(known) = MetadataKind::parse(kind) else {
            let near = tarn_core::nearest(kind, METADATA_KINDS.iter().map(|(name, _)| *name));
            let hint = match near {
                Some(near) => format!("did you mean `\"{table}${near}\"`?"),
                None => METADATA_KINDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            };
            let message = format!("tables have no rows `{kind}` about themselves");
            return Err(QueryError::plan(message, None, Some(hint)).into());
        };
        let Some(rows) = self.core.tables.inspect(&self.ctx, &name, known).await? else { return Ok(None) };
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    /// The view of a name, planned. Errors: the catalog's.
    async fn view(&self, name: TableName) -> Result<Option<Arc<dyn TableProvider>>, QueryError> {
        let known = self.pins.as_ref().and_then(|_| self.views.known(&name));
        let view = match known {
            Some(view) => view,
            None => match self.core.tables.sql_view(&self.ctx, &name).await? {
                Some(view) => Arc::new(view),
                None => return Ok(None),
            },
        };
        self.views.remember(&view);
        let namespace = view.namespace.clone();
        self.views.provider(&view, |views| self.state_within(views, namespace)).await.map(Some)
    }

    /// The state in which the query of a view is planned.
    fn state_within(&self, views: ViewPlans, namespace: String) -> SessionState {
        let inner = Self::new(
            &self.core,
            &self.ctx,
            Arc::clone(&self.counters),
            self.pins.clone(),
            self.branch.clone(),
        );
        let inner = Arc::new(Self { views, settings: self.settings.clone(), ..inner });
        let mut state = self.core.base.clone();
        if let Some(settings) = self.settings.get() {
            *state.config_mut() = settings.clone();
        }
        state.config_mut().options_mut().catalog.default_schema = namespace;
        state.register_catalog_list(Arc::new(LakeCatalogs(inner)));
        state
    }

    /// The rows that changed between two states of a table.
    async fn changes(
        &self,
        namespace: &str,
        table: &str,
        asked: AskedChanges,
    ) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Ok(name) = TableName::new(namespace, table) else { return Ok(None) };
        let end = asked
            .to
            .clone()
            .unwrap_or_else(|| AsOf::Branch(self.branch_of(&name).unwrap_or_else(|| MAIN_BRANCH.into())));
        let tables = &self.core.tables;
        let Some(view) = tables.view_at(&self.ctx, &name, end).await? else { return Ok(None) };
        let start = match &asked.from {
            None => None,
            Some(AsOf::TimestampMs(ms)) => snapshot_before(&view, *ms),
            Some(from) => {
                let then = tables.view_at(&self.ctx, &name, from.clone()).await?;
                then.and_then(|view| view.snapshot_id)
            }
        };
        let table = LakeTable::new(view, Arc::clone(&self.core.scan), Arc::clone(&self.counters))?;
        let states = States { tables: Arc::clone(tables), ctx: self.ctx.clone() };
        Ok(Some(Arc::new(ChangesTable::new(table, start, asked.net, states)?)))
    }

    /// Files of others. Errors: they cannot be read; the caller may not read files of the server.
    async fn files(&self, asked: AskedFiles) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(reader) = self.core.tables.files() else { return Ok(None) };
        if !self.ctx.allows(Role::Editor) {
            let (statement, principal) = ("reading files".to_string(), self.ctx.principal.name.to_string());
            return Err(QueryError::Denied { statement, principal }.into());
        }
        let plan = reader.plan(&self.ctx, &asked.config).await;
        let plan = plan.map_err(|fault| QueryError::from_fault(&fault))?;
        Ok(Some(Arc::new(ForeignTable::new(reader, self.ctx.clone(), plan, asked.ignores_errors))))
    }

    async fn look_up(
        &self,
        name: &TableName,
        as_of: Option<AsOf>,
    ) -> Result<Option<Arc<LakeTable>>, QueryError> {
        let view = match as_of {
            None => self.core.tables.view(&self.ctx, name).await?,
            Some(as_of) => self.core.tables.view_at(&self.ctx, name, as_of).await?,
        };
        let table = |view| LakeTable::new(view, Arc::clone(&self.core.scan), Arc::clone(&self.counters));
        view.map(table).transpose().map(|table| table.map(Arc::new))
    }
}

/// The one catalog in its list.
#[derive(Clone, Debug)]
pub(crate) struct LakeCatalogs(pub(crate) Arc<QueryCatalog>);

impl CatalogProviderList for LakeCatalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_string()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        if name == CATALOG {
            return Some(Arc::new(LakeCatalog(Arc::clone(&self.0))));
        }
        // `namespace.table.snapshots`, as Spark writes it.
        Some(Arc::new(AboutCatalog { catalog: Arc::clone(&self.0), namespace: name.to_string() }))
    }
}

/// The tables of a namespace, each a schema of the rows about it.
#[derive(Debug)]
struct AboutCatalog {
    catalog: Arc<QueryCatalog>,
    namespace: String,
}

impl CatalogProvider for AboutCatalog {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let (catalog, namespace) = (Arc::clone(&self.catalog), self.namespace.clone());
        Some(Arc::new(AboutTable { catalog, namespace, table: name.to_string() }))
    }
}

#[derive(Debug)]
struct AboutTable {
    catalog: Arc<QueryCatalog>,
    namespace: String,
    table: String,
}

#[async_trait]
impl SchemaProvider for AboutTable {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        match MetadataKind::parse(name) {
            Some(_) => self.catalog.rows_about(&self.namespace, &self.table, name).await,
            None => Ok(None),
        }
    }

    fn table_exist(&self, _: &str) -> bool {
        false
    }
}

#[derive(Debug)]
struct LakeCatalog(Arc<QueryCatalog>);

impl CatalogProvider for LakeCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.0
            .names
            .get()
            .map(|names| names.iter().map(|names| names.namespace.clone()).collect())
            .unwrap_or_default()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        if name.eq_ignore_ascii_case(INFORMATION_SCHEMA) {
            return Some(Arc::new(Information(Arc::clone(&self.0))));
        }
        // Any name is a schema: whether it exists is found out when a table of it is looked up.
        Some(Arc::new(LakeSchema { catalog: Arc::clone(&self.0), namespace: name.to_string() }))
    }
}

/// What is told of tables, and what the engine tells of itself.
#[derive(Debug)]
struct Information(Arc<QueryCatalog>);

/// Tables of the information schema that no standard has: settings and functions for SHOW.
const OF_ENGINE: [&str; 3] = ["df_settings", "routines", "parameters"];

#[async_trait]
impl SchemaProvider for Information {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if OF_ENGINE.contains(&name) {
            let catalogs = Arc::new(LakeCatalogs(Arc::clone(&self.0)));
            return InformationSchemaProvider::new(catalogs).table(name).await;
        }
        information_schema(Arc::clone(&self.0.core.tables), self.0.ctx.clone()).table(name).await
    }

    fn table_exist(&self, _: &str) -> bool {
        false
    }
}

#[derive(Debug)]
struct LakeSchema {
    catalog: Arc<QueryCatalog>,
    namespace: String,
}

impl LakeSchema {
    fn names(&self) -> Option<&Names> {
        self.catalog.names.get()?.iter().find(|names| names.namespace == self.namespace)
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        let own = self.names();
        own.map(|own| own.tables.iter().chain(&own.views).cloned().collect()).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        if let Some(asked) = asked_files(name) {
            return self.catalog.files(asked).await;
        }
        if let Some((table, kind)) = name.split_once('$') {
            return self.catalog.rows_about(&self.namespace, table, kind).await;
        }
        if let Some(base) = name.strip_suffix(ROWS_MARK) {
            let target = self.catalog.target.as_ref();
            let own = target.filter(|(known, _)| known.namespace() == self.namespace && known.name() == base);
            return Ok(own.map(|(_, table)| Arc::clone(table) as Arc<dyn TableProvider>));
        }
        if let Some(base) = name.strip_suffix(RETURNED_MARK) {
            let target = self.catalog.target.as_ref();
            let is_own =
                target.is_some_and(|(known, _)| known.namespace() == self.namespace && known.name() == base);
            let rows = self.catalog.returned.lock().clone().filter(|_| is_own);
            return Ok(rows.map(|rows| rows as Arc<dyn TableProvider>));
        }
        if let Some((table, asked)) = changes_of(name) {
            return self.catalog.changes(&self.namespace, table, asked).await;
        }
        let (name, as_of) = split_version(name);
        let is_now = as_of.is_none();
        let Ok(name) = TableName::new(&self.namespace, name) else { return Ok(None) };
        let as_of = as_of.or_else(|| self.catalog.branch_of(&name).map(AsOf::Branch));
        let found = self.catalog.table(name.clone(), as_of).await?;
        match found {
            Some(table) => Ok(Some(table)),
            None if is_now => Ok(self.catalog.view(name).await?),
            None => Ok(None),
        }
    }

    async fn table_type(&self, name: &str) -> DfResult<Option<TableType>> {
        let is_view = self.names().is_some_and(|own| own.views.iter().any(|view| view == name));
        Ok(self.table_exist(name).then_some(if is_view { TableType::View } else { TableType::Base }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
