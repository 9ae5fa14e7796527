//! A whole server in a temporary folder: real stores, every protocol on a free port, and a clock that the test moves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tarn_access::{Access, AccessConfig};
use tarn_component::schema_of;
use tarn_core::{ByteSize, Env, RequestContext, Role, TenantId, TraceId};
use tarn_eventlog::{EventLog, EventLogConfig, Retention, SegmentLog};
use tarn_ingest::{FileReaders, Ingest, IngestPorts, SOURCES};
use tarn_lakehouse::import::Imports;
use tarn_lakehouse::{Lakehouse, LakehouseMemory, Warehouse};
use tarn_meta::{
    KindSpec, Kinds, NameRule, ResourceState, Resources, SecretKey, SecretValue, Secrets, StatusReport,
    Variants,
};
use tarn_observe::{FaultBoard, Metrics, RateHistory};
use tarn_query::{LakeTables, QueryConfig, QueryEngine, Tables};
use tarn_server::{Installation, Listen, RunningServer, Server, ServerConfig, ServerState};
use tarn_storage::Store;

use crate::answer::Caller;
use crate::clock::TestClock;

/// Password of every user.
pub const PASSWORD: &str = "correct horse battery";
pub const VERSION: &str = "1.2.3";

/// Everything of one process.
pub struct World {
    pub state: ServerState,
    pub env: Env,
    pub clock: Arc<TestClock>,
    pub server: RunningServer,
    pub folder: tempfile::TempDir,
}

/// What a test may change before the server starts.
pub struct Setup {
    pub server: ServerConfig,
    pub installation: Installation,
}

/// One caller per role, in a server that asks who they are.
pub struct People {
    pub nobody: Caller,
    pub viewer: Caller,
    pub editor: Caller,
    pub admin: Caller,
}

/// The platform itself in a tenant.
pub fn system(tenant: &str) -> RequestContext {
    RequestContext::system(TenantId::new(tenant), TraceId(7))
}

/// A key with another last digit: its id exists, its secret is wrong.
pub fn misspelt(key: &str) -> String {
    let (most, last) = key.split_at(key.len() - 1);
    format!("{most}{}", if last == "0" { "1" } else { "0" })
}

impl World {
    /// With all settings by default: no user, so this machine is the admin `local`.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::new());
        let env = Env { clock: clock.clone(), ..Env::system() };
        let state = state(folder.path(), &env).await;
        follow(&state, &env);
        let mut server = ServerConfig::default();
        let free = Listen::at("127.0.0.1:0");
        (server.http.listen, server.pgwire.listen, server.flight.listen) = (free.clone(), free.clone(), free);
        let installation = Installation {
            version: VERSION.to_string(),
            project: "test".to_string(),
            started_ms: env.clock.now_ms(),
            iceberg_client: BTreeMap::from([("s3.region".to_string(), "moon-1".to_string())]),
            ..Installation::default()
        };
        let mut setup = Setup { server, installation };
        change(&mut setup);
        let started = Server::start(setup.server, setup.installation, state.clone(), env.clone());
        let server = started.await.unwrap();
        Self { state, env, clock, server, folder }
    }

    /// Somebody on this machine who shows nothing.
    pub fn caller(&self) -> Caller {
        Caller::new(self.server.http_addr.unwrap())
    }

    /// Adds a user; with the first one everybody must say who they are.
    pub async fn add_user(&self, tenant: &str, name: &str, role: Role) {
        let password = SecretValue::new(PASSWORD);
        self.state.access.create_user(&system(tenant), name, role, &password).await.unwrap();
    }

    /// Makes an API key. A tenant needs a user who is an admin before.
    pub async fn key(&self, tenant: &str, name: &str, role: Role) -> String {
        self.state.access.create_key(&system(tenant), name, role, None).await.unwrap().key
    }

    /// Adds the admin `ada` and one key per role.
    pub async fn people(&self) -> People {
        self.add_user("main", "ada", Role::Admin).await;
        let nobody = self.caller();
        let holder = async |name: &str, role| nobody.with_key(&self.key("main", name, role).await);
        People {
            viewer: holder("reading", Role::Viewer).await,
            editor: holder("writing", Role::Editor).await,
            admin: holder("ruling", Role::Admin).await,
            nobody,
        }
    }
}

/// Says of every revision of `main` that it is in effect, as the program does once it follows: an apply waits for it.
fn follow(state: &ServerState, env: &Env) {
    let (resources, ctx) = (state.resources.clone(), system("main"));
    drop(env.spawner.spawn(async move {
        let Ok(mut news) = resources.watch(&ctx).await else { return };
        while let Ok((_, all)) = resources.current(&ctx).await {
            for resource in all {
                let (kind, name, revision) = (resource.kind, resource.name, resource.revision);
                let report =
                    StatusReport { kind, name, revision, state: ResourceState::Active, message: None };
                if resources.set_status(&ctx, &report).await.is_err() {
                    return;
                }
            }
            if news.changed().await.is_err() {
                return;
            }
        }
    }));
}

async fn state(folder: &Path, env: &Env) -> ServerState {
    let (data, project) = (folder.join("data"), folder.join("project"));
    let spill = data.join("spill");
    for folder in [&project, &spill] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let url = format!("sqlite://{}", data.join("tarn.db").display());
    let meta = tarn_meta::open(&url, env.clone()).await.unwrap();
    let log = SegmentLog::open(&data.join("log"), EventLogConfig::default(), env.clone()).await.unwrap();
    let eventlog: Arc<dyn EventLog> = log;
    let warehouse = Warehouse::new(Store::open_folder(&data.join("lake")).unwrap());
    let lakehouse = Lakehouse::new(
        Arc::clone(&meta),
        warehouse,
        Arc::clone(&eventlog),
        env.clone(),
        LakehouseMemory::default(),
    );
    let tables: Arc<dyn Tables> = Arc::new(LakeTables::new(Arc::clone(&lakehouse)));
    let query =
        QueryConfig { parallelism: 2, spill_folder: spill.display().to_string(), ..QueryConfig::default() };
    let metrics = Metrics::new(Arc::clone(&env.clock));
    let faults = FaultBoard::new(Arc::clone(&env.clock));
    let ingest = Ingest::new(IngestPorts {
        log: Arc::clone(&eventlog),
        env: env.clone(),
        metrics: Arc::clone(&metrics),
        faults: Arc::clone(&faults),
        project: project.clone(),
        types: SOURCES,
    });
    // The least that argon2 takes, to test rules and not the machine.
    let access = AccessConfig {
        hash_memory: ByteSize(8 << 10),
        hash_passes: 1,
        scram_iterations: 4_096,
        ..AccessConfig::default()
    };
    let key = SecretKey::load(&data, env.entropy.as_ref()).unwrap();
    let secrets = Secrets::new(Arc::clone(&meta), key, env);
    let files = FileReaders::new(project.clone(), data.clone());
    let imports = Imports::new(
        Arc::clone(&lakehouse),
        Arc::clone(&meta),
        secrets.clone(),
        Arc::new(files),
        env.clone(),
    );
    ServerState {
        access: Access::new(Arc::clone(&meta), env.clone(), access).unwrap(),
        resources: Resources::new(Arc::clone(&meta), kinds(), env.clone()),
        secrets,
        imports,
        engine: QueryEngine::new(env.clone(), Arc::clone(&tables), query).unwrap(),
        rates: RateHistory::new(Arc::clone(&metrics), env.clock.now_ms()),
        eventlog,
        ingest,
        lakehouse,
        tables,
        metrics,
        faults,
        data,
        project,
    }
}

/// A source, as far as it is the same for all types.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SourceResource {
    r#type: String,
    #[serde(default)]
    into: Option<String>,
    #[serde(default)]
    paused: bool,
}

/// Settings of a topic.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct TopicResource {
    retention: Retention,
}

/// The kinds of resources, as far as the tests declare some.
fn kinds() -> Kinds {
    let schemas: BTreeMap<String, Value> = SOURCES
        .iter()
        .map(|spec| (spec.component.name.to_string(), (spec.component.config)().to_value()))
        .collect();
    let variants = Variants { key: "type", noun: "source type", schemas };
    Kinds::new(vec![
        KindSpec::new("source", || schema_of::<SourceResource>().to_value()).with_variants(variants),
        KindSpec::new("topic", || schema_of::<TopicResource>().to_value()).with_names(NameRule::Topic),
    ])
}
