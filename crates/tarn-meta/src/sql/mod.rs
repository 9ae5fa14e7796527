//! One implementation of the store in SQL that both databases understand; what differs is in `sqlite` and
//! `postgres`.

mod audit;
mod catalog;
mod document;
mod fault;
mod lease;
mod migrations;
mod postgres;
mod revision;
mod row;
mod secret;
mod sqlite;
mod status;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tarn_core::{Env, RequestContext};

use crate::error::MetaError;
use crate::store::MetaStore;
use postgres::PostgresEngine;
pub(crate) use row::{Param, Row};
use sqlite::{SqliteEngine, SqliteLimits};

/// The store over one of the two databases.
pub(crate) struct SqlStore {
    engine: Engine,
    env: Env,
}

enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// A transaction; dropped without `commit`, it leaves no trace.
pub(crate) struct Tx {
    inner: TxInner,
    place: Arc<str>,
    now_ms: i64,
}

enum TxInner {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlStore({})", self.place())
    }
}

#[async_trait]
impl MetaStore for SqlStore {
    async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    fn place(&self) -> &str {
        match &self.engine {
            Engine::Sqlite(engine) => engine.place(),
            Engine::Postgres(engine) => engine.place(),
        }
    }
}

impl SqlStore {
    /// Connects and brings the tables up to date.
    pub(crate) async fn open(address: &str, env: Env) -> Result<Self, MetaError> {
        let engine = if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            Engine::Postgres(PostgresEngine::open(address).await?)
        } else {
            let path = sqlite::path_of(address)?;
            Engine::Sqlite(SqliteEngine::open(&path, &SqliteLimits::default(), &env).await?)
        };
        Self::with_engine(engine, env).await
    }

    async fn with_engine(engine: Engine, env: Env) -> Result<Self, MetaError> {
        let store = Self { engine, env };
        migrations::run(&store).await?;
        Ok(store)
    }

    fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Begins a transaction that sees one state of the database and changes nothing.
    pub(crate) async fn read(&self, ctx: &RequestContext) -> Result<Tx, MetaError> {
        self.until_cancelled(ctx, async {
            let inner = match &self.engine {
                Engine::Sqlite(engine) => TxInner::Sqlite(engine.read().await?),
                Engine::Postgres(engine) => TxInner::Postgres(engine.read().await?),
            };
            Ok(self.tx(inner))
        })
        .await
    }

    /// Begins a transaction that is alone among the writing ones of the context's tenant.
    pub(crate) async fn write(&self, ctx: &RequestContext) -> Result<Tx, MetaError> {
        self.until_cancelled(ctx, self.write_locked(ctx.tenant.as_str())).await
    }

    async fn write_locked(&self, lock: &str) -> Result<Tx, MetaError> {
        let inner = match &self.engine {
            Engine::Sqlite(engine) => TxInner::Sqlite(engine.write().await?),
            Engine::Postgres(engine) => TxInner::Postgres(engine.write(lock).await?),
        };
        Ok(self.tx(inner))
    }

    fn tx(&self, inner: TxInner) -> Tx {
        Tx { inner, place: self.place().into(), now_ms: self.env.clock.now_ms() }
    }

    // Only the wait for a connection and a lock is given up: once a transaction runs it is short, and its outcome
    // must not be left in doubt.
    async fn until_cancelled<T>(
        &self,
        ctx: &RequestContext,
        work: impl Future<Output = Result<T, MetaError>>,
    ) -> Result<T, MetaError> {
        let clock = &self.env.clock;
        let deadline = async {
            match ctx.remaining(clock.instant()) {
                Some(left) => clock.sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => Err(MetaError::Cancelled),
            result = work => result,
            () = deadline => Err(MetaError::Cancelled),
        }
    }

    /// Rows of one statement outside a transaction.
    pub(crate) async fn rows(
        &self,
        ctx: &RequestContext,
        sql: &'static str,
        params: &[Param],
    ) -> Result<Vec<Row>, MetaError> {
        self.until_cancelled(ctx, async {
            match &self.engine {
                Engine::Sqlite(engine) => engine.rows(sql, params).await,
                Engine::Postgres(engine) => engine.rows(sql, params).await,
            }
        })
        .await
    }

    /// The first row of one statement outside a transaction.
    pub(crate) async fn row(
        &self,
        ctx: &RequestContext,
        sql: &'static str,
        params: &[Param],
    ) -> Result<Option<Row>, MetaError> {
        Ok(self.rows(ctx, sql, params).await?.into_iter().next())
    }
}

impl Tx {
    /// Milliseconds since 1970 UTC when the transaction began, by this process's clock.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Milliseconds since 1970 UTC by the clock that all users of the database share.
    pub(crate) async fn shared_now_ms(&mut self) -> Result<i64, MetaError> {
        if matches!(self.inner, TxInner::Sqlite(_)) {
            return Ok(self.now_ms);
        }
        let row =
            self.row("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", &[]).await?;
        row.map_or(Ok(self.now_ms), |row| row.int(0))
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Param]) -> Result<u64, MetaError> {
        let result = match &mut self.inner {
            TxInner::Sqlite(tx) => {
                row::bind(sqlx::query(sql), params).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            TxInner::Postgres(tx) => {
                row::bind(sqlx::query(sql), params).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        };
        result.map_err(|error| fault::of(error, &self.place))
    }

    /// All rows of a statement.
    pub(crate) async fn rows(&mut self, sql: &'static str, params: &[Param]) -> Result<Vec<Row>, MetaError> {
        let result = match &mut self.inner {
            TxInner::Sqlite(tx) => row::bind(sqlx::query(sql), params)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            TxInner::Postgres(tx) => row::bind(sqlx::query(sql), params)
                .fetch_all(&mut **tx)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        };
        result.map_err(|error| fault::of(error, &self.place))
    }

    /// The first row of a statement.
    pub(crate) async fn row(
        &mut self,
        sql: &'static str,
        params: &[Param],
    ) -> Result<Option<Row>, MetaError> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Makes all changes durable at once.
    pub(crate) async fn commit(self) -> Result<(), MetaError> {
        let result = match self.inner {
            TxInner::Sqlite(tx) => tx.commit().await,
            TxInner::Postgres(tx) => tx.commit().await,
        };
        result.map_err(|error| fault::of(error, &self.place))
    }
}
