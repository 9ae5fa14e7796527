//! An access service over a store of its own, with a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tarn_access::{Access, AccessConfig, AccessError, Credentials, Identity, Peer};
use tarn_core::{ByteSize, Clock, Env, RequestContext, Role, TenantId, TraceId};
use tarn_meta::{MetaStore, SecretValue};

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
    pub access: Access,
    pub store: Arc<dyn MetaStore>,
    pub clock: Arc<TestClock>,
    pub env: Env,
    pub folder: tempfile::TempDir,
}

pub const PASSWORD: &str = "correct horse battery";

pub fn config() -> AccessConfig {
    // The least that argon2 takes, to test rules and not the machine.
    AccessConfig {
        hash_memory: ByteSize(8 << 10),
        hash_passes: 1,
        scram_iterations: 4_096,
        ..AccessConfig::default()
    }
}

pub async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock { us: AtomicI64::new(1_700_000_000_000_000), start: Instant::now() });
    let env = Env { clock: clock.clone(), ..Env::system() };
    let store = tarn_meta::open(folder.path().join("meta.db").to_str().unwrap(), env.clone()).await.unwrap();
    let access = Access::new(store.clone(), env.clone(), config()).unwrap();
    World { access, store, clock, env, folder }
}

impl World {
    /// With the admin `li` and the viewer `wang`.
    pub async fn with_users() -> Self {
        let world = world().await;
        world.access.create_user(&admin(), "li", Role::Admin, &secret(PASSWORD)).await.unwrap();
        world.access.create_user(&admin(), "wang", Role::Viewer, &secret("another password")).await.unwrap();
        world
    }

    pub async fn password(&self, user: &str, password: &str) -> Result<Identity, AccessError> {
        self.access.authenticate(&Credentials::password(user, password), &Peer::local()).await
    }
}

pub fn secret(text: &str) -> SecretValue {
    SecretValue::new(text)
}

/// An admin of a tenant, such as the command line on the data folder.
pub fn admin_of(tenant: &str) -> RequestContext {
    RequestContext::system(TenantId::new(tenant), TraceId(7))
}

pub fn admin() -> RequestContext {
    admin_of(TenantId::DEFAULT)
}

pub fn context(name: &str, role: Role) -> RequestContext {
    let mut ctx = admin();
    ctx.principal = tarn_core::Principal { name: name.into(), role };
    ctx
}

pub fn remote() -> Peer {
    Peer::direct("192.0.2.7".parse().unwrap())
}
