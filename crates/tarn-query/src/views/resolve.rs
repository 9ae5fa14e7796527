//! A view where a query names it: its own query, planned with the caller's rights and the namespace that it was made in.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as DfSession, TableProvider};
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{ViewTable, source_as_provider};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Statement, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::{
    Dialect, DuckDbDialect, GenericDialect, PostgreSqlDialect, SparkSqlDialect,
};
use datafusion::sql::sqlparser::parser::Parser;
use parking_lot::Mutex;
use tarn_core::{Fault, TableName};

use super::{DIALECT, SqlView};
use crate::QueryError;
use crate::engine::{CATALOG, plan_statement};
use crate::sql::{Action, Diagnosis, SqlText, parse};

/// How many views may stand on one another.
const DEPTH_MAX: usize = 32;
/// Steps of a view's plan with those of the views that it reads; each level of views may double them.
const STEPS_MAX: usize = 5_000;
/// Nesting of expressions in a view of another engine.
const RECURSION_MAX: usize = 128;

/// What one query has looked up of views, and the views that are being planned.
#[derive(Clone, Debug, Default)]
pub(crate) struct ViewPlans {
    known: Arc<Mutex<HashMap<TableName, Arc<SqlView>>>>,
    within: Vec<TableName>,
}

impl ViewPlans {
    /// While `name` is planned.
    pub(crate) fn within(&self, name: &TableName) -> Self {
        let mut inner = self.clone();
        inner.within.push(name.clone());
        inner
    }

    /// The view as this query has seen it before.
    pub(crate) fn known(&self, name: &TableName) -> Option<Arc<SqlView>> {
        self.known.lock().get(name).cloned()
    }

    pub(crate) fn remember(&self, view: &Arc<SqlView>) {
        self.known.lock().insert(view.name.clone(), Arc::clone(view));
    }

    /// Whether one more view can be planned. Errors: it stands on itself, or on too many others.
    fn check(&self, name: &TableName) -> Result<(), QueryError> {
        if let Some(at) = self.within.iter().position(|outer| outer == name) {
            let path: Vec<String> =
                self.within.iter().skip(at).chain([name]).map(|view| format!("{view}")).collect();
            return Err(QueryError::plan(
                format!("view `{name}` stands on itself: {}", path.join(" reads ")),
                None,
                Some("make one of them again without the other: `CREATE OR REPLACE VIEW ...`".into()),
            ));
        }
        if self.within.len() >= DEPTH_MAX {
            return Err(QueryError::plan(
                format!("view `{name}` is reached through {DEPTH_MAX} others, which is the most"),
                None,
                Some("let one of the views read the tables themselves".into()),
            ));
        }
        Ok(())
    }

    /// The view as a table. `inner`: makes the state that its query is planned in. Errors: the catalog's; whatever is
    /// wrong with the view itself is told when its rows are read, so that lists of views show it.
    pub(crate) async fn provider(
        &self,
        view: &Arc<SqlView>,
        inner: impl FnOnce(ViewPlans) -> SessionState,
    ) -> Result<Arc<dyn TableProvider>, QueryError> {
        let broken = |error: QueryError| {
            let broken = BrokenView { view: Arc::clone(view), error };
            Ok(Arc::new(broken) as Arc<dyn TableProvider>)
        };
        if let Err(error) = self.check(&view.name) {
            return broken(error);
        }
        let state = inner(self.within(&view.name));
        match Box::pin(plan_view(view, &state)).await {
            Ok(plan) if is_too_large(&plan) => broken(QueryError::plan(
                format!(
                    "view `{}` reads other views too often: its plan has more than {STEPS_MAX} steps",
                    view.name
                ),
                None,
                Some("keep one of them as a table: `CREATE TABLE t AS SELECT ...`".into()),
            )),
            Ok(plan) => Ok(Arc::new(ViewTable::new(plan, Some(view.sql.clone())))),
            Err(error @ (QueryError::Storage { .. } | QueryError::Internal { .. })) => Err(error),
            Err(error) => broken(stale(view, &error)),
        }
    }
}

fn is_too_large(plan: &LogicalPlan) -> bool {
    let mut steps = 0;
    let _ = plan.apply_with_subqueries(|_| {
        steps += 1;
        Ok(if steps > STEPS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    steps > STEPS_MAX
}

/// The error of a view that can no longer be planned.
fn stale(view: &SqlView, error: &QueryError) -> QueryError {
    let name = &view.name;
    let message = match view.dialect.as_str() {
        DIALECT => format!("view `{name}` can no longer be read: {error}"),
        other => format!("view `{name}` cannot be read here, it is written in the SQL of {other}: {error}"),
    };
    let again = format!("make it again: `CREATE OR REPLACE VIEW {name} AS ...`");
    let hint = match error.hint() {
        Some(hint) => format!("{hint} Or {again}"),
        None => again,
    };
    QueryError::plan(message, None, Some(hint))
}

async fn plan_view(view: &SqlView, state: &SessionState) -> Result<LogicalPlan, QueryError> {
    let (statement, diagnosis) = match view.dialect.as_str() {
        DIALECT => {
            let parsed = parse(&view.sql)?;
            let Action::Query(statement) = parsed.action else { return Err(no_query()) };
            (statement, Diagnosis::new(parsed.text, "view"))
        }
        other => (foreign(view, other)?, Diagnosis::new(SqlText::new("")?, "view")),
    };
    let planned =
        plan_statement(state, statement).await.map_err(|error| match Diagnosis::unknown_table(&error) {
            Some(parts) => {
                let shown = parts.get(parts.len().saturating_sub(2)..).unwrap_or_default().join(".");
                QueryError::plan(format!("table `{shown}` not found"), None, None)
            }
            None => diagnosis.explain(error),
        });
    let (plan, _) = planned?;
    named(view, plan).map_err(|error| diagnosis.explain(error))
}

fn no_query() -> QueryError {
    QueryError::plan("it is not a query", None, None)
}

/// Reads the query of a view of another engine. Errors: it is not SQL that we know.
fn foreign(view: &SqlView, dialect: &str) -> Result<DfStatement, QueryError> {
    let dialect: &dyn Dialect = match dialect {
        "spark" => &SparkSqlDialect {},
        "postgresql" | "postgres" => &PostgreSqlDialect {},
        "duckdb" => &DuckDbDialect {},
        _ => &GenericDialect {},
    };
    let mut statements = Parser::new(dialect)
        .with_recursion_limit(RECURSION_MAX)
        .try_with_sql(&view.sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| QueryError::Syntax { message: error.to_string(), position: None, hint: None })?;
    let (Some(mut statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(no_query());
    };
    if !matches!(statement, Statement::Query(_)) {
        return Err(no_query());
    }
    if let Some(catalog) = &view.catalog {
        let _: ControlFlow<()> = statement.visit(&mut OwnCatalog(catalog));
    }
    Ok(DfStatement::Statement(Box::new(statement)))
}

/// Another engine calls this catalog by a name of its own.
struct OwnCatalog<'a>(&'a str);

impl VisitorMut for OwnCatalog<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(first), _, _] = name.0.as_mut_slice()
            && first.value.eq_ignore_ascii_case(self.0)
        {
            *first = Ident::new(CATALOG);
        }
        ControlFlow::Continue(())
    }
}

/// The columns of a view under the names that it was made with.
fn named(view: &SqlView, plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let names: Vec<&String> = view.columns.fields().iter().map(|field| field.name()).collect();
    let found: Vec<(Column, String)> =
        plan.schema().iter().map(|column| (Column::from(column), column.1.name().clone())).collect();
    let by_name = || {
        let of = |wanted: &&String| {
            found.iter().find(|(_, name)| name == *wanted).map(|(column, _)| column.clone())
        };
        names.iter().map(of).collect::<Option<Vec<Column>>>()
    };
    let by_place = || {
        (found.len() == names.len())
            .then(|| found.iter().map(|(column, _)| column.clone()).collect::<Vec<_>>())
    };
    // Ours has no stars; what another engine wrote may give more columns now than then.
    let columns = match view.dialect == DIALECT {
        true => by_place().or_else(by_name),
        false => by_name().or_else(by_place),
    };
    let columns = columns.ok_or_else(|| {
        let (now, then) = (found.len(), names.len());
        let message = format!("its query gives {now} columns now and gave {then} when it was made");
        DataFusionError::from(QueryError::plan(message, None, None))
    })?;
    let columns = columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// A view that cannot be planned: it can be listed and described, and reading it tells why not.
#[derive(Debug)]
struct BrokenView {
    view: Arc<SqlView>,
    error: QueryError,
}

#[async_trait]
impl TableProvider for BrokenView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.view.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.view.sql)
    }

    async fn scan(
        &self,
        _: &dyn DfSession,
        _: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Err(self.error.clone().into())
    }
}

/// The error of a view in a plan that cannot be read.
pub(crate) fn broken_view(plan: &LogicalPlan) -> Option<QueryError> {
    let mut found = None;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(broken) = provider.downcast_ref::<BrokenView>()
        {
            found = Some(broken.error.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}
