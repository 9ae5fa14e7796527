//! The outgrown store: PostgreSQL, shared by several nodes.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool, Postgres, Transaction};

use super::fault;
use super::row::{self, Param, Row};
use crate::error::MetaError;

const CONNECTIONS_MAX: u32 = 8;
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A pool of connections. Writers of one tenant take an advisory lock first, so that each sees what the one before
/// it committed; nothing has to be retried.
pub(crate) struct PostgresEngine {
    place: Arc<str>,
    pool: PgPool,
}

impl PostgresEngine {
    pub(crate) async fn open(url: &str) -> Result<Self, MetaError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| MetaError::InvalidAddress { what: without_url(&error) })?
            .application_name("tarn");
        let place: Arc<str> = place_of(&options).into();
        let fail = |error| fault::of(error, &place);
        // The pool would retry and then only say that it timed out; a first connection says what is wrong.
        let first = tokio::time::timeout(WAIT_MAX, PgConnection::connect_with(&options))
            .await
            .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
            .map_err(fail)?;
        first.close().await.map_err(fail)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(WAIT_MAX)
            .connect_lazy_with(options);
        Ok(Self { place, pool })
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn read(&self) -> Result<Transaction<'static, Postgres>, MetaError> {
        self.pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(|error| fault::of(error, &self.place))
    }

    pub(crate) async fn write(&self, lock: &str) -> Result<Transaction<'static, Postgres>, MetaError> {
        let fail = |error| fault::of(error, &self.place);
        let mut tx = self.pool.begin().await.map_err(fail)?;
        // A node that hangs inside a transaction must not hold up the others for ever.
        sqlx::query(
            "SELECT set_config('lock_timeout', '10s', true), \
                    set_config('idle_in_transaction_session_timeout', '30s', true)",
        )
        .execute(&mut *tx)
        .await
        .map_err(fail)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(lock_key(lock))
            .execute(&mut *tx)
            .await
            .map_err(fail)?;
        Ok(tx)
    }

    pub(crate) async fn rows(&self, sql: &'static str, params: &[Param]) -> Result<Vec<Row>, MetaError> {
        let rows = row::bind(sqlx::query(sql), params).fetch_all(&self.pool).await;
        Ok(rows.map_err(|error| fault::of(error, &self.place))?.into_iter().map(Row::Postgres).collect())
    }
}

// The lock's number must be the same in every version and on every machine: FNV-1a over a name of our own.
fn lock_key(name: &str) -> i64 {
    let hash = "tarn-meta/".bytes().chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

fn place_of(options: &PgConnectOptions) -> String {
    let host = options
        .get_socket()
        .map_or_else(|| options.get_host().to_string(), |path| path.display().to_string());
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port())
}

// A parser may repeat parts of what it read, and the URL holds a password: only the fixed texts are passed on.
fn without_url(error: &sqlx::Error) -> String {
    let text = error.to_string();
    [
        "invalid port number",
        "empty host",
        "invalid IPv6 address",
        "invalid IPv4 address",
        "relative URL without a base",
    ]
    .into_iter()
    .find(|known| text.contains(known))
    .unwrap_or("it is not a URL of PostgreSQL")
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tarn_core::{Fault, FaultKind, chain_text};

    #[test]
    fn the_place_holds_no_password() {
        let options = PgConnectOptions::from_str("postgres://tarn:hunter2@db.example:5433/meta").unwrap();
        assert_eq!(place_of(&options), "postgres://tarn@db.example:5433/meta");
    }

    #[tokio::test]
    async fn bad_addresses_are_told_without_the_password() {
        for url in ["postgres://tarn:hunter2@host:notaport/meta", "postgres://tarn:hunter2@[::bad/meta"] {
            let error = PostgresEngine::open(url).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), FaultKind::Invalid);
            assert!(!chain_text(&error).contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_at_once() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://tarn:hunter2@127.0.0.1:{port}/meta");
        let error = PostgresEngine::open(&url).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), FaultKind::Unavailable);
        let text = chain_text(&error);
        assert!(text.contains(&port.to_string()) && !text.contains("hunter2"), "{text}");
    }
}
