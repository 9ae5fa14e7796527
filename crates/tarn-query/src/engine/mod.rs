//! The engine: one per process, shared by all callers.

mod catalog;
mod completion;
mod config;
mod copy;
mod describe;
mod explain;
mod export;
mod information;
mod load;
mod optimize;
mod output;
mod paced;
mod parameters;
mod planned;
mod registry;
mod runtime;
mod safe_joins;
mod session;
mod settings;
mod stream;
mod tags;
mod threads;
mod transaction;
mod upkeep;
mod view;
mod write;

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::execution::SessionState;
use futures::FutureExt;
use futures::future::BoxFuture;
use tarn_core::{Env, RequestContext, Sealed};
use tokio::sync::Semaphore;

pub use completion::{Completion, CompletionColumn, CompletionFunction, CompletionTable};
pub use config::QueryConfig;
pub use copy::CopyIn;
pub use information::information_schema;
pub use parameters::parameter_types;
pub use registry::{LatencySummary, QueryObserver, QueryOutcome, QueryRecord, QueryState};
pub use session::{Changes, Prepared, QueryOptions, Session};
pub use stream::{Command, QueryStats, QueryStream, StatsHandle};

use crate::scan::ScanShared;
use crate::{QueryError, Tables};
pub(crate) use catalog::CATALOG;
use registry::QueryRegistry;
pub(crate) use session::plan_statement;
use settings::Settings;
use threads::QueryThreads;

/// Runs SQL. Cheap to clone; all clones share memory limit, caches, queue and list of queries.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    core: Sealed<EngineCore>,
}

pub(crate) struct EngineCore {
    pub(crate) env: Env,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) config: QueryConfig,
    pub(crate) base: SessionState,
    pub(crate) registry: Arc<QueryRegistry>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) scan: Arc<ScanShared>,
    threads: QueryThreads,
}

impl std::fmt::Debug for EngineCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineCore").field("config", &self.config).finish_non_exhaustive()
    }
}

impl QueryEngine {
    /// Makes an engine over `tables`. Errors: the spill folder cannot be used, a setting is invalid.
    pub fn new(env: Env, tables: Arc<dyn Tables>, config: QueryConfig) -> Result<Self, QueryError> {
        let base = runtime::base_state(&config)?;
        let permits =
            NonZeroUsize::new(config.concurrent_max).map_or(1, NonZeroUsize::get).min(Semaphore::MAX_PERMITS);
        let core = EngineCore {
            registry: QueryRegistry::new(env.clone()),
            permits: Arc::new(Semaphore::new(permits)),
            scan: Arc::new(ScanShared::new(base.runtime_env())),
            threads: QueryThreads::start(base.config().target_partitions())
                .map_err(|error| runtime::cannot_start(&error))?,
            env,
            tables,
            config,
            base,
        };
        Ok(Self { core: Sealed::new(core) })
    }

    /// A session for one caller: its settings last as long as it. Cheap to make.
    pub fn session(&self, ctx: &RequestContext) -> Session {
        let settings = Settings::new(&self.core.config, self.core.base.config());
        Session::new(self.core.clone(), ctx.clone(), settings)
    }

    /// Stops a running query of the caller (of anyone in the tenant, for an admin). Its stream ends with `Cancelled`.
    /// Errors: `QueryNotFound`.
    pub fn cancel(&self, ctx: &RequestContext, query_id: &str) -> Result<(), QueryError> {
        self.core.registry.cancel(ctx, query_id)
    }

    /// Running queries of the caller's tenant, oldest first, then the last 100 that ended, newest first.
    pub fn queries(&self, ctx: &RequestContext) -> Vec<QueryRecord> {
        self.core.registry.list(ctx)
    }

    /// How many queries of the caller's tenant run, and how long the last ones took.
    pub fn latency(&self, ctx: &RequestContext) -> LatencySummary {
        self.core.registry.latency(ctx)
    }

    /// Calls `observer` at the end of each query from now on.
    pub fn observe(&self, observer: Arc<dyn QueryObserver>) {
        self.core.registry.observe(observer);
    }

    /// Bytes that running queries have reserved of [`QueryConfig::memory`].
    pub fn memory_reserved(&self) -> usize {
        self.core.base.runtime_env().memory_pool.reserved()
    }

    /// What an editor can offer while SQL is being typed. Errors: those of the catalog.
    pub fn completion<'a>(
        &'a self,
        ctx: &'a RequestContext,
    ) -> BoxFuture<'a, Result<Completion, QueryError>> {
        completion::collect(&self.core, ctx).boxed()
    }

    /// The limits that the engine was made with.
    pub fn config(&self) -> &QueryConfig {
        &self.core.config
    }
}
