//! A store to test with a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tarn_core::{Clock, Env, Principal, RequestContext, Role, TenantId, TraceId};
use tarn_meta::MetaStore;

/// Stands still until it is moved.
#[derive(Debug)]
pub struct TestClock {
    us: AtomicI64,
    start: Instant,
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.us.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> i64 {
        self.us.load(Ordering::SeqCst)
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(u64::try_from(self.now_us()).unwrap())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub struct World {
    pub store: Arc<dyn MetaStore>,
    pub address: String,
    pub clock: Arc<TestClock>,
    pub env: Env,
    tenants: AtomicU64,
}

impl World {
    pub async fn open(address: &str) -> Self {
        let clock = Arc::new(TestClock { us: AtomicI64::new(1_700_000_000_000_000), start: Instant::now() });
        let env = Env { clock: clock.clone(), ..Env::system() };
        let store = tarn_meta::open(address, env.clone()).await.unwrap();
        Self { store, address: address.to_string(), clock, env, tenants: AtomicU64::new(0) }
    }

    pub fn is_postgres(&self) -> bool {
        self.address.starts_with("postgres")
    }

    /// Lets time pass for the store: the server of PostgreSQL has its own clock.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        if self.is_postgres() {
            tokio::time::sleep(time).await;
        }
    }

    /// A context in a tenant that nobody used before.
    pub fn ctx(&self) -> RequestContext {
        let number = self.tenants.fetch_add(1, Ordering::SeqCst);
        let mut ctx = RequestContext::system(TenantId::new(format!("tenant{number}")), TraceId(1));
        ctx.principal = Principal { name: "li".into(), role: Role::Admin };
        ctx
    }

    /// Runs a statement past the store, as someone with access to the database could.
    pub async fn raw(&self, sql: &'static str) -> Result<u64, sqlx::Error> {
        use sqlx::{Connection, Executor};
        if self.is_postgres() {
            let mut connection = sqlx::PgConnection::connect(&self.address).await?;
            return connection.execute(sql).await.map(|done| done.rows_affected());
        }
        let url = format!("sqlite://{}", self.address);
        let mut connection = sqlx::SqliteConnection::connect(&url).await?;
        connection.execute(sql).await.map(|done| done.rows_affected())
    }
}

/// A SQLite store in a folder that goes away with it.
pub async fn sqlite() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meta.db");
    let world = World::open(path.to_str().unwrap()).await;
    (folder, world)
}
