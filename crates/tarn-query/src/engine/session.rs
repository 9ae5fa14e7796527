//! A caller's session: settings, and statements one by one.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::RwLock;
use tarn_core::{RequestContext, Sealed, TableName};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::QueryError;
use crate::engine::EngineCore;
use crate::engine::catalog::{LakeCatalogs, QueryCatalog, ReadBranch};
use crate::engine::describe::columns_of;
use crate::engine::output::OutputTypes;
use crate::engine::registry::QueryTicket;
use crate::engine::settings::Settings;
use crate::engine::stream::{Command, Execution, QueryStream, StatsHandle};
use crate::engine::transaction::Transaction;
use crate::engine::write::{Change, Done, held, result_of};
use crate::scan::{PlacedTable, ScanCounters};
use crate::sql::{Action, Diagnosis, Parsed, ShownNames, complete, parse, tell_apart};

const QUERY_ID_CHARS_MAX: usize = 128;

/// How one statement is run.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Rows delivered at most; [`crate::QueryStats::truncated`] tells whether more existed.
    pub rows_max: Option<u64>,
    /// Time limit; the engine's own limit and the deadline of the context hold as well.
    pub timeout: Option<Duration>,
    /// Id under which the query is listed and can be cancelled; a random one if missing.
    pub query_id: Option<String>,
    /// Values of `$1`, `$2`, ….
    pub params: Vec<ScalarValue>,
    /// Also gives the physical plan as text.
    pub explain: bool,
    /// Whether the statement may change something.
    pub changes: Changes,
}

/// Whether a statement may change something, whatever its caller's role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changes {
    /// It may.
    #[default]
    Allowed,
    /// The caller has begun a transaction: what a ROLLBACK could not undo is refused.
    InTransaction,
    /// The caller asked that nothing is changed.
    ReadOnly,
}

/// A statement that was planned but not run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Columns of the result.
    pub schema: SchemaRef,
    /// Parameters such as `$1`, in order, with the type that the statement tells.
    pub parameters: Vec<(String, Option<DataType>)>,
    /// It changes something and has no `RETURNING`: its rows say what it did, which wire protocols tell in another way.
    pub is_command: bool,
}

/// What one caller sets and runs. Cheap to clone; clones share the settings.
#[derive(Clone, Debug)]
pub struct Session {
    core: Sealed<EngineCore>,
    ctx: RequestContext,
    pub(super) settings: Arc<RwLock<Settings>>,
    pub(super) transaction: Arc<parking_lot::Mutex<Option<Transaction>>>,
}

/// A time limit as it was given and when it ends.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) limit: Duration,
}

/// What must hold while a statement is planned.
struct Guard<'a> {
    core: &'a EngineCore,
    query_id: &'a str,
    cancelled: CancellationToken,
    deadline: Deadline,
}

impl Session {
    pub(crate) fn new(core: Sealed<EngineCore>, ctx: RequestContext, settings: Settings) -> Self {
        Self { core, ctx, settings: Arc::new(RwLock::new(settings)), transaction: Arc::default() }
    }

    /// Whose session it is.
    pub fn context(&self) -> &RequestContext {
        &self.ctx
    }

    /// Namespace of table names written without one.
    pub fn namespace(&self) -> String {
        self.settings.read().namespace().to_string()
    }

    /// Plans one statement and starts it; one that changes something is done when this returns. Every table has one state
    /// throughout.
    /// Errors: all of [`QueryError`]; those of running come through the stream.
    pub fn execute<'a>(
        &'a self,
        sql: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<QueryStream, QueryError>> {
        self.run(sql, options).boxed()
    }

    async fn run(&self, sql: &str, options: QueryOptions) -> Result<QueryStream, QueryError> {
        let started = self.core.env.clock.instant();
        let query_id = self.query_id(options.query_id.clone())?;
        let stats = StatsHandle::default();
        let mut ticket = self.core.registry.enter(&self.ctx, query_id, sql, stats.clone())?;
        let deadline = self.deadline(started, options.timeout);
        let guarded_id = ticket.query_id().to_string();
        let guard =
            Guard { core: &self.core, query_id: &guarded_id, cancelled: ticket.cancelled(), deadline };
        let planned =
            guard.hold(Box::pin(self.plan(sql, &options, &guard))).await.and_then(|planned| planned);
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                ticket.end(Err(&error));
                return Err(error);
            }
        };
        let planning = self.core.env.clock.instant().saturating_duration_since(started);
        stats.update(|stats| stats.planning_ms = planning.as_secs_f64() * 1_000.0);
        self.start(planned, ticket, stats, started, deadline, &options)
    }

    /// Plans a statement without running it, for wire protocols that describe before they run. Errors: as
    /// [`Session::execute`].
    pub fn prepare<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Prepared, QueryError>> {
        self.described(sql).boxed()
    }

    /// The tables that one statement sees.
    pub(super) fn catalog(&self, counters: Arc<ScanCounters>) -> Arc<QueryCatalog> {
        QueryCatalog::pinned(&self.core, &self.ctx, counters, self.branch())
    }

    /// The tables that a statement sees which changes `target`.
    pub(super) fn catalog_changing(
        &self,
        counters: Arc<ScanCounters>,
        target: (TableName, Arc<PlacedTable>),
    ) -> Arc<QueryCatalog> {
        QueryCatalog::changing(&self.core, &self.ctx, counters, self.branch(), target)
    }

    /// The branch that this session reads.
    fn branch(&self) -> Option<ReadBranch> {
        let own = self.transaction.lock().as_ref().and_then(Transaction::read_branch);
        own.or_else(|| self.settings.read().branch.clone().map(ReadBranch::of_all))
    }

    pub(super) fn core(&self) -> &Sealed<EngineCore> {
        &self.core
    }

    /// A DataFusion context for protocol libraries that plan by themselves. Each statement sees the newest state of its
    /// tables; limits, list of queries and refusal of writes are the library's business. Errors: the catalog's.
    pub fn datafusion(&self) -> BoxFuture<'_, Result<SessionContext, QueryError>> {
        let planned = async move {
            let catalog = QueryCatalog::live(&self.core, &self.ctx);
            catalog.load_names().await?;
            Ok(SessionContext::new_with_state(self.state(&catalog)))
        };
        planned.boxed()
    }

    pub(super) fn query_id(&self, wanted: Option<String>) -> Result<String, QueryError> {
        let Some(id) = wanted else { return Ok(self.core.env.entropy.uuid().to_string()) };
        let fits = !id.is_empty() && id.chars().count() <= QUERY_ID_CHARS_MAX;
        if fits && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')) {
            return Ok(id);
        }
        let hint = format!("use 1 to {QUERY_ID_CHARS_MAX} letters, digits, `-`, `_`, `.` or `:`");
        Err(QueryError::plan("the query id is not valid", None, Some(hint)))
    }

    pub(super) fn deadline(&self, started: Instant, asked: Option<Duration>) -> Deadline {
        let own = self.core.config.timeout.0;
        let limit = own.min(asked.unwrap_or(own)).min(self.settings.read().timeout.unwrap_or(own));
        let limit = self.ctx.remaining(started).map_or(limit, |remaining| limit.min(remaining));
        // A limit beyond what the clock can count is none.
        let at =
            started.checked_add(limit).unwrap_or_else(|| started + Duration::from_secs(u64::from(u32::MAX)));
        Deadline { at, limit }
    }

    pub(super) fn state(&self, catalog: &Arc<QueryCatalog>) -> SessionState {
        let mut state = self.core.base.clone();
        *state.config_mut() = self.settings.read().config.clone();
        catalog.plan_views_with(state.config());
        state.register_catalog_list(Arc::new(LakeCatalogs(Arc::clone(catalog))));
        state.mark_start_execution();
        state
    }

    async fn plan(
        &self,
        sql: &str,
        options: &QueryOptions,
        guard: &Guard<'_>,
    ) -> Result<Planned, QueryError> {
        let parsed = parse(sql)?;
        check_allowed(&parsed, options.changes, self.takes_changes())?;
        let counters = Arc::new(ScanCounters::default());
        let diagnosis = Diagnosis::new(parsed.text.clone(), guard.query_id);
        let statement = match parsed.action.clone() {
            Action::Set { name, value } => {
                self.settings.write().set(&name, value.as_deref(), parsed.text.start())?;
                let plan = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
                return Ok(self.told(plan, &counters, &diagnosis));
            }
            Action::Write(write) => {
                let permit = guard.queue().await?;
                let (parsed, diagnosis) = (&parsed, &diagnosis);
                let change = Change { write: &write, parsed, options, counters: &counters, diagnosis };
                let mut done = Box::pin(self.change(&change)).await?;
                let plan = result_of(&done)?;
                let names = done.returned.take().map(|returned| returned.names).unwrap_or_default();
                let planned = self.told(plan, &counters, diagnosis);
                return Ok(Planned { permit: Some(permit), names, command: Some(done.command), ..planned });
            }
            Action::ExplainWrite { write, analyze } => {
                let permit = guard.queue().await?;
                let (parsed, diagnosis) = (&parsed, &diagnosis);
                let change = Change { write: &write, parsed, options, counters: &counters, diagnosis };
                let rows = Box::pin(self.explain_change(&change, analyze)).await?;
                let plan = held(&rows.schema(), vec![rows])?;
                return Ok(Planned { permit: Some(permit), ..self.told(plan, &counters, diagnosis) });
            }
            Action::Upkeep(upkeep) => {
                let permit = guard.queue().await?;
                let done = Box::pin(self.look_after(&upkeep, &parsed, &diagnosis)).await?;
                let planned = self.told(result_of(&done.into())?, &counters, &diagnosis);
                return Ok(Planned { permit: Some(permit), command: Some(done), ..planned });
            }
            Action::ShowCreate(name) => {
                let rows = self.show_create(&name, &diagnosis).await?;
                return Ok(self.told(held(&rows.schema(), vec![rows])?, &counters, &diagnosis));
            }
            Action::Export(copy) => {
                let permit = guard.queue().await?;
                self.check_editor(&parsed)?;
                let rows = Box::pin(self.export(&copy, &parsed, &counters, &diagnosis)).await?;
                let done = Done::from(Command { tag: "COPY", rows: Some(rows), returns: false });
                let planned = self.told(result_of(&done)?, &counters, &diagnosis);
                return Ok(Planned { permit: Some(permit), command: Some(done.command), ..planned });
            }
            Action::Load(copy) => {
                let permit = guard.queue().await?;
                self.check_editor(&parsed)?;
                let done = Box::pin(self.load(&copy, options, &counters, guard.query_id)).await?;
                let planned = self.told(result_of(&done)?, &counters, &diagnosis);
                return Ok(Planned { permit: Some(permit), command: Some(done.command), ..planned });
            }
            Action::Query(statement) | Action::Show(statement) => statement,
        };
        self.planned_query(statement, &parsed, options, (counters, diagnosis), guard).await
    }

    async fn planned_query(
        &self,
        statement: Statement,
        parsed: &Parsed,
        options: &QueryOptions,
        (counters, diagnosis): (Arc<ScanCounters>, Diagnosis),
        guard: &Guard<'_>,
    ) -> Result<Planned, QueryError> {
        let permit = guard.queue().await?;
        let catalog = self.catalog(Arc::clone(&counters));
        let state = self.state(&catalog);
        let (logical, names) = self.logical_plan(&state, &catalog, statement, &diagnosis).await?;
        if let LogicalPlan::DescribeTable(described) = &logical {
            let rows = columns_of(described)?;
            return Ok(self.told(held(&rows.schema(), vec![rows])?, &counters, &diagnosis));
        }
        let explain = |error| diagnosis.explain(error);
        let logical = with_params(logical, options).map_err(explain)?;
        let limited = match (&parsed.action, options.rows_max) {
            (Action::Query(_), Some(max)) => limit_rows(logical, max).map_err(explain)?,
            _ => logical,
        };
        let plan = state.create_physical_plan(&limited).await.map_err(explain)?;
        Ok(Planned { plan, state, counters, diagnosis, permit: Some(permit), names, command: None })
    }

    /// A plan that gives what is known already.
    fn told(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        counters: &Arc<ScanCounters>,
        diagnosis: &Diagnosis,
    ) -> Planned {
        let mut state = self.core.base.clone();
        *state.config_mut() = self.settings.read().config.clone();
        let (counters, diagnosis) = (Arc::clone(counters), diagnosis.clone());
        Planned { plan, state, counters, diagnosis, permit: None, names: ShownNames::new(), command: None }
    }

    pub(super) async fn logical_plan(
        &self,
        state: &SessionState,
        catalog: &Arc<QueryCatalog>,
        statement: Statement,
        diagnosis: &Diagnosis,
    ) -> Result<(LogicalPlan, ShownNames), QueryError> {
        let (plan, names) = match plan_statement(state, statement).await {
            Ok(planned) => planned,
            Err(error) => {
                let Some(parts) = Diagnosis::unknown_table(&error) else {
                    return Err(diagnosis.explain(error));
                };
                let known = catalog.full_names().await?;
                let namespace = self.namespace();
                return Err(diagnosis.no_such_table(&parts, &known, &namespace));
            }
        };
        let options =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        options.verify_plan(&plan).map_err(|error| diagnosis.explain(error))?;
        Ok((plan, names))
    }

    fn start(
        &self,
        planned: Planned,
        ticket: QueryTicket,
        stats: StatsHandle,
        started: Instant,
        deadline: Deadline,
        options: &QueryOptions,
    ) -> Result<QueryStream, QueryError> {
        let plan_text = options.explain.then(|| displayable(planned.plan.as_ref()).indent(false).to_string());
        let rows = self.core.threads.run(Arc::clone(&planned.plan), planned.state.task_ctx());
        let zone = planned.state.config_options().execution.time_zone.clone();
        let output = OutputTypes::of(&planned.plan.schema(), zone.as_deref(), &planned.names);
        Ok(QueryStream::new(Execution {
            ticket,
            stats,
            counters: planned.counters,
            plan: planned.plan,
            rows,
            output,
            rows_max: options.rows_max,
            diagnosis: planned.diagnosis,
            clock: Arc::clone(&self.core.env.clock),
            started,
            deadline: Some((deadline.at, deadline.limit)),
            plan_text,
            permit: planned.permit,
            command: planned.command,
        }))
    }
}

/// Errors: the statement changes something, which its caller did not want or could not undo.
fn check_allowed(parsed: &Parsed, changes: Changes, in_transaction: bool) -> Result<(), QueryError> {
    let statement = parsed.text.leading_words(1);
    match (&parsed.action, changes) {
        (_, Changes::Allowed) => Ok(()),
        (Action::Write(_) | Action::ExplainWrite { .. } | Action::Load(_), Changes::InTransaction)
            if in_transaction =>
        {
            Ok(())
        }
        (
            Action::Write(_)
            | Action::Load(_)
            | Action::Upkeep(_)
            | Action::ExplainWrite { analyze: true, .. },
            changes,
        ) => Err(match changes {
            Changes::ReadOnly => QueryError::ReadOnly { statement },
            _ => QueryError::InTransaction { statement },
        }),
        // What an export writes is no table: a ROLLBACK has nothing to undo.
        (Action::Export(_), Changes::ReadOnly) => Err(QueryError::ReadOnly { statement }),
        _ => Ok(()),
    }
}

struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    state: SessionState,
    counters: Arc<ScanCounters>,
    diagnosis: Diagnosis,
    permit: Option<OwnedSemaphorePermit>,
    names: ShownNames,
    command: Option<Command>,
}

impl Guard<'_> {
    /// Waits for `work` unless the query is stopped or its time is over.
    async fn hold<F: Future>(&self, work: F) -> Result<F::Output, QueryError> {
        let query_id = || self.query_id.to_string();
        let left = self.deadline.at.saturating_duration_since(self.core.env.clock.instant());
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(QueryError::Cancelled { query_id: query_id() }),
            () = self.core.env.clock.sleep(left) => {
                Err(QueryError::TimedOut { query_id: query_id(), limit: self.deadline.limit })
            }
            output = work => Ok(output),
        }
    }

    async fn queue(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        let waited = self.core.config.queue_timeout.0;
        let permits = Arc::clone(&self.core.permits);
        tokio::select! {
            biased;
            permit = permits.acquire_owned() => {
                permit.map_err(|_| QueryError::Internal { message: "the query queue is closed".into() })
            }
            () = self.core.env.clock.sleep(waited) => {
                let running = self.core.config.concurrent_max;
                Err(QueryError::TooManyQueries { running, waited })
            }
        }
    }
}

/// Plans a statement; one whose columns have equal names under others, which come along.
pub(crate) async fn plan_statement(
    state: &SessionState,
    statement: Statement,
) -> Result<(LogicalPlan, ShownNames), DataFusionError> {
    let refused = match state.statement_to_plan(statement.clone()).await {
        Ok(plan) => return Ok((plan, ShownNames::new())),
        Err(error) if Diagnosis::is_equal_names(&error) => error,
        Err(error) => return Err(error),
    };
    let Some((statement, names)) = tell_apart(&statement) else { return Err(refused) };
    match state.statement_to_plan(statement).await {
        Ok(plan) => {
            let names = complete(names, &plan);
            Ok((plan, names))
        }
        Err(_) => Err(refused),
    }
}

pub(super) fn with_params(plan: LogicalPlan, options: &QueryOptions) -> Result<LogicalPlan, DataFusionError> {
    if options.params.is_empty() {
        return Ok(plan);
    }
    plan.with_param_values(ParamValues::from(options.params.clone()))
}

/// One row more than is delivered, so that truncation can be told.
fn limit_rows(plan: LogicalPlan, rows_max: u64) -> Result<LogicalPlan, DataFusionError> {
    let fetch = usize::try_from(rows_max.saturating_add(1)).unwrap_or(usize::MAX);
    LogicalPlanBuilder::from(plan).limit(0, Some(fetch))?.build()
}
