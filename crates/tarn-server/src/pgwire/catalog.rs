//! The system catalog of PostgreSQL, emulated over our tables for psql and BI tools.
//!
//! Statements that speak of it are planned by DataFusion with the catalog tables and functions of
//! `datafusion-pg-catalog` beside the tables of the lakehouse, so that both can be joined.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
    TableProvider,
};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Statement, VisitMut};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PgCatalogSchemaProvider, PgCatalogStaticTables,
};
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use pgwire::error::PgWireResult;
use tarn_core::{RequestContext, Sealed, TableName, TenantId};
use tarn_query::{Session, Tables, information_schema};

use super::attributes;
use super::error::user_error;
use super::keys::{self, About};
use super::rewrite::Rewrite;
use super::settings::SERVER_VERSION;
use super::split::Piece;
use super::views;

/// Name of the only database.
pub(crate) const DATABASE: &str = "tarn";
const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

pub(super) type PgCatalog = PgCatalogSchemaProvider<LakeNames, EmptyContextProvider>;

/// What all connections share: the constant tables of the catalog, and per tenant the numbers of its tables, which
/// clients remember between connections.
pub(crate) struct SystemCatalog {
    tables: Arc<dyn Tables>,
    template: SessionState,
    constant: Arc<PgCatalogStaticTables>,
    of_tenant: Mutex<HashMap<TenantId, Arc<PgCatalog>>>,
    parser: PostgresCompatibilityParser,
}

impl fmt::Debug for SystemCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemCatalog").finish_non_exhaustive()
    }
}

impl SystemCatalog {
    /// Sets the catalog up over `tables`, with the engine's memory and caches. Errors: a text that says why not.
    pub(crate) async fn new(
        session: &Session,
        tables: Arc<dyn Tables>,
        version: &str,
    ) -> Result<Self, String> {
        let engine = session.datafusion().await.map_err(|error| error.to_string())?.state();
        let mut state = SessionStateBuilder::new_from_existing(engine).build();
        let scratch = Arc::new(MemoryCatalogProviderList::new());
        let database = Arc::new(datafusion::catalog::MemoryCatalogProvider::new());
        scratch.register_catalog(DATABASE.to_string(), database);
        state.register_catalog_list(scratch);
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|error| error.to_string())?;
        for function in constant_functions(version) {
            context.register_udf(function);
        }
        Ok(Self {
            tables,
            template: context.state(),
            constant: Arc::new(PgCatalogStaticTables::try_new().map_err(|error| error.to_string())?),
            of_tenant: Mutex::default(),
            parser: PostgresCompatibilityParser::new(),
        })
    }

    /// Plans a statement for the caller of `session`. `None`: there is nothing to run. Errors: what is wrong with it.
    pub(crate) fn plan<'a>(
        &'a self,
        session: &'a Session,
        piece: &'a Piece,
    ) -> BoxFuture<'a, PgWireResult<Option<CatalogPlan>>> {
        self.planned(session, piece).boxed()
    }

    async fn planned(&self, session: &Session, piece: &Piece) -> PgWireResult<Option<CatalogPlan>> {
        let statements =
            self.parser.parse(&piece.text).map_err(|error| user_error("42601", error.to_string()))?;
        let Some(mut statement) = statements.into_iter().next() else { return Ok(None) };
        let _ = statement.visit(&mut Rewrite);
        if !matches!(statement, Statement::Query(_) | Statement::Explain { .. }) {
            return Err(user_error("42501", "the system catalog can only be read"));
        }
        let context = self.context(session, &piece.words).await?;
        let plan = context
            .state()
            .statement_to_plan(DfStatement::Statement(Box::new(statement)))
            .await
            .map_err(|error| planning_error(&error))?;
        let reads =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reads.verify_plan(&plan).map_err(|error| planning_error(&error))?;
        Ok(Some(CatalogPlan(Sealed::new((context, plan)))))
    }

    async fn context(&self, session: &Session, words: &[String]) -> PgWireResult<SessionContext> {
        let asks = |name: &str| words.iter().any(|word| word == name);
        let with_information = asks(INFORMATION_SCHEMA);
        let ctx = session.context();
        let lake = session.datafusion().await.map_err(|error| super::error::of_fault(&error))?;
        let catalog =
            lake.catalog(DATABASE).ok_or_else(|| user_error("XX000", "the catalog of tables is missing"))?;
        let information: Arc<dyn SchemaProvider> = match with_information {
            true => information_schema(Arc::clone(&self.tables), ctx.clone()),
            false => Arc::new(MemorySchemaProvider::new()),
        };
        let mut state = self.template.clone();
        *state.config_mut() = lake.copied_config().with_information_schema(false);
        let emulated = self.system(ctx)?;
        let system =
            System { emulated: Arc::clone(&emulated), tables: Arc::clone(&self.tables), ctx: ctx.clone() };
        let database = Database { lake: catalog, system: Arc::new(system), information };
        state.register_catalog_list(Arc::new(OneDatabase(Arc::new(database))));
        let context = SessionContext::new_with_state(state);
        for function in caller_functions(ctx, &session.namespace()) {
            context.register_udf(function);
        }
        let asks_texts = asks("pg_get_viewdef");
        if asks_texts || words.iter().any(|word| keys::FUNCTIONS.contains(&word.as_str())) {
            let failed = |error: DataFusionError| planning_error(&error);
            let mut told = Vec::new();
            if let Some(known) = attributes::of(&emulated, &self.tables, ctx).map_err(failed)? {
                if asks_texts {
                    let numbers = known.numbers(context.task_ctx()).await.map_err(failed)?;
                    let texts = views::texts(self.tables.as_ref(), ctx, &numbers).await;
                    let texts = texts.map_err(|error| super::error::of_fault(&error))?;
                    context.register_udf(views::ViewText::function(texts));
                }
                told = known.told(context.task_ctx()).await.map_err(failed)?;
            }
            for function in keys::functions(&told) {
                context.register_udf(function);
            }
        }
        Ok(context)
    }

    fn system(&self, ctx: &RequestContext) -> PgWireResult<Arc<PgCatalog>> {
        let mut of_tenant = self.of_tenant.lock();
        if let Some(known) = of_tenant.get(&ctx.tenant) {
            return Ok(Arc::clone(known));
        }
        let names = LakeNames {
            tables: Arc::clone(&self.tables),
            ctx: RequestContext::system(ctx.tenant.clone(), ctx.trace),
            views: Arc::default(),
        };
        let made = PgCatalogSchemaProvider::try_new(names, Arc::clone(&self.constant), EmptyContextProvider)
            .map_err(|error| planning_error(&error))?;
        let made = Arc::new(made);
        of_tenant.insert(ctx.tenant.clone(), Arc::clone(&made));
        Ok(made)
    }
}

/// A planned statement with the context that runs it.
#[derive(Clone)]
pub(crate) struct CatalogPlan(Sealed<(SessionContext, LogicalPlan)>);

/// The start of a statement's rows.
pub(crate) type Started = BoxFuture<'static, Result<SendableRecordBatchStream, DataFusionError>>;

impl CatalogPlan {
    pub(crate) fn plan(&self) -> &LogicalPlan {
        &self.0.1
    }

    /// Binds parameters. Returns the columns of the result and what starts it. Errors: parameters that do not fit.
    pub(crate) fn bind(&self, params: Vec<ScalarValue>) -> Result<(SchemaRef, Started), DataFusionError> {
        let plan = self.plan().clone();
        let bound = if params.is_empty() { plan } else { plan.with_param_values(params)? };
        let frame = DataFrame::new(self.0.0.state(), bound);
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok((schema, frame.execute_stream().boxed()))
    }
}

impl fmt::Debug for CatalogPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogPlan").field("plan", self.plan()).finish_non_exhaustive()
    }
}

/// What DataFusion says about a statement, without its words for developers.
pub(crate) fn planning_error(error: &DataFusionError) -> pgwire::error::PgWireError {
    let text = error.strip_backtrace();
    let text = text
        .trim_start_matches("Execution error: ")
        .trim_start_matches("Error during planning: ")
        .trim_start_matches("Schema error: ")
        .to_string();
    let code = match error.find_root() {
        _ if text.contains("canceling statement due to") => "57014",
        DataFusionError::SQL(_, _) => "42601",
        DataFusionError::SchemaError(_, _) => "42703",
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        _ if text.contains("table") && text.contains("not found") => "42P01",
        _ if text.contains("Invalid function") => "42883",
        _ => "42000",
    };
    user_error(code, text)
}

/// Names and schemas of the lakehouse, as the emulation asks for them.
#[derive(Clone, Debug)]
pub(crate) struct LakeNames {
    tables: Arc<dyn Tables>,
    ctx: RequestContext,
    /// Views as they were listed last.
    views: Arc<Mutex<HashMap<String, HashSet<String>>>>,
}

pub(super) fn external(error: tarn_query::QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[async_trait]
impl CatalogInfo for LakeNames {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![DATABASE.to_string()])
    }

    async fn schema_names(&self, _: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        let mut names = self.tables.namespaces(&self.ctx).await.map_err(external)?;
        names.extend([PG_CATALOG.to_string(), INFORMATION_SCHEMA.to_string()]);
        Ok(Some(names))
    }

    async fn table_names(&self, _: &str, schema: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        if matches!(schema, PG_CATALOG | INFORMATION_SCHEMA) {
            return Ok(Some(Vec::new()));
        }
        let tables = self.tables.tables(&self.ctx, schema).await.map_err(external)?;
        let views = self.tables.views(&self.ctx, schema).await.map_err(external)?;
        let names = |of: &[TableName]| of.iter().map(|name| name.name().to_string()).collect::<Vec<_>>();
        let (mut all, views) = (names(&tables), names(&views));
        all.extend(views.iter().cloned());
        self.views.lock().insert(schema.to_string(), views.into_iter().collect());
        Ok(Some(all))
    }

    async fn table_schema(
        &self,
        _: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<SchemaRef>, DataFusionError> {
        let Ok(name) = TableName::new(schema, table) else { return Ok(None) };
        views::columns_of(self.tables.as_ref(), &self.ctx, &name).await.map_err(external)
    }

    async fn table_type(
        &self,
        _: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<TableType>, DataFusionError> {
        let is_view = self.views.lock().get(schema).is_some_and(|views| views.contains(table));
        Ok(Some(if is_view { TableType::View } else { TableType::Base }))
    }
}

/// The only database in its list.
#[derive(Debug)]
struct OneDatabase(Arc<Database>);

impl CatalogProviderList for OneDatabase {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.to_string()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| Arc::clone(&self.0) as Arc<dyn CatalogProvider>)
    }
}

/// The emulated `pg_catalog`, but for the types of columns.
struct System {
    emulated: Arc<PgCatalog>,
    tables: Arc<dyn Tables>,
    ctx: RequestContext,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for System {
    fn table_names(&self) -> Vec<String> {
        self.emulated.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if name.eq_ignore_ascii_case("pg_views") {
            let all = views::all(self.tables.as_ref(), &self.ctx).await.map_err(external)?;
            return views::pg_views(&all).map(Some);
        }
        let about = About::of(name);
        if about.is_none() && !name.eq_ignore_ascii_case("pg_attribute") {
            return self.emulated.table(name).await;
        }
        let Some(attributes) = attributes::of(&self.emulated, &self.tables, &self.ctx)? else {
            return Ok(None);
        };
        match about {
            Some(about) => about.table(attributes).map(Some),
            None => attributes.table().map(Some),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.emulated.table_exist(name)
    }
}

/// The tables of the lakehouse with the two system schemas beside them.
#[derive(Debug)]
struct Database {
    lake: Arc<dyn CatalogProvider>,
    system: Arc<System>,
    information: Arc<dyn SchemaProvider>,
}

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.lake.schema_names();
        names.extend([PG_CATALOG.to_string(), INFORMATION_SCHEMA.to_string()]);
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            PG_CATALOG => Some(Arc::clone(&self.system) as Arc<dyn SchemaProvider>),
            INFORMATION_SCHEMA => Some(Arc::clone(&self.information)),
            other => self.lake.schema(other),
        }
    }
}

fn constant(name: &str, value: String) -> ScalarUDF {
    let value = ColumnarValue::Scalar(ScalarValue::Utf8(Some(value)));
    create_udf(name, vec![], DataType::Utf8, Volatility::Stable, Arc::new(move |_| Ok(value.clone())))
}

/// A function that has no text for anything, such as comments, which our tables do not have.
fn no_text(name: &str, arguments: Vec<DataType>) -> ScalarUDF {
    let none = ColumnarValue::Scalar(ScalarValue::Utf8(None));
    create_udf(name, arguments, DataType::Utf8, Volatility::Stable, Arc::new(move |_| Ok(none.clone())))
}

/// A function that has no number for anything: sizes of tables are not known here, and no type is found by its name.
fn no_number(name: &str, argument: DataType, none: ScalarValue) -> ScalarUDF {
    let result = none.data_type();
    let none = ColumnarValue::Scalar(none);
    create_udf(name, vec![argument], result, Volatility::Stable, Arc::new(move |_| Ok(none.clone())))
}

fn every(name: &str, argument: DataType) -> ScalarUDF {
    let yes = ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)));
    create_udf(
        name,
        vec![argument],
        DataType::Boolean,
        Volatility::Stable,
        Arc::new(move |_| Ok(yes.clone())),
    )
}

fn constant_functions(version: &str) -> Vec<ScalarUDF> {
    vec![
        attributes::FormatType::function(),
        constant("version", format!("PostgreSQL {SERVER_VERSION} (Tarn {version})")),
        no_text("shobj_description", vec![DataType::Int32, DataType::Utf8]),
        no_text("pg_get_function_result", vec![DataType::Int32]),
        no_text("pg_get_function_arguments", vec![DataType::Int32]),
        no_text("pg_get_function_identity_arguments", vec![DataType::Int32]),
        every("pg_function_is_visible", DataType::Int32),
        every("pg_type_is_visible", DataType::Int32),
        no_text("pg_get_serial_sequence", vec![DataType::Utf8, DataType::Utf8]),
        no_number("to_regtype", DataType::Utf8, ScalarValue::Int32(None)),
        no_text("pg_size_pretty", vec![DataType::Int64]),
        no_number("pg_table_size", DataType::Int32, ScalarValue::Int64(None)),
        no_number("pg_total_relation_size", DataType::Int32, ScalarValue::Int64(None)),
    ]
}

fn caller_functions(ctx: &RequestContext, namespace: &str) -> Vec<ScalarUDF> {
    let user = ctx.principal.name.to_string();
    let mut functions = vec![
        constant("session_user", user.clone()),
        constant("current_user", user.clone()),
        constant("current_role", user),
        constant("current_schema", namespace.to_string()),
        constant("current_catalog", DATABASE.to_string()),
    ];
    let setting = move |arguments: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(arguments)?;
        let names = names.first().and_then(|names| names.as_any().downcast_ref::<StringArray>().cloned());
        let values: StringArray = names
            .iter()
            .flat_map(|names| names.iter())
            .map(|name| name.and_then(super::settings::default_of))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    };
    functions.push(create_udf(
        "current_setting",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(setting),
    ));
    functions
}
