//! Builds the parts of Tarn from the configuration and keeps them together.

mod kinds;
mod sinks;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tarn_access::Access;
use tarn_core::files::Files;
use tarn_core::{Env, RequestContext, TenantId, TraceId};
use tarn_eventlog::{EventLog, SegmentLog};
use tarn_ingest::{EndpointRules, FileReaders, Ingest, IngestPorts, SOURCES};
use tarn_lakehouse::import::Imports;
use tarn_lakehouse::{Lakehouse, LakehouseMemory, Place, Warehouse};
use tarn_meta::{MetaStore, Resources, SecretKey, Secrets};
use tarn_observe::{FaultBoard, Metrics, RateHistory};
use tarn_query::{QueryConfig, QueryEngine};
use tarn_server::ServerState;
use tarn_storage::{StorageConfig, Store};

use crate::cli::{Failure, io_failure};
use crate::config::Config;
use crate::project::DataFolder;

pub use kinds::kinds;

/// Revisions applied by other processes are looked for this often.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);
/// How long running tasks may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The running parts of one process.
pub struct Platform {
    /// Time, randomness, tasks.
    pub env: Env,
    /// What answers requests.
    pub state: ServerState,
    /// The platform's own identity.
    pub ctx: RequestContext,
    meta: Arc<dyn MetaStore>,
    log: Arc<SegmentLog>,
    project: PathBuf,
}

/// Makes the folder that everything is stored in, for this user alone. Errors: it cannot be made or written.
pub fn make_data_folder(data: &DataFolder) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let path = data.path();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| io_failure("make", path, &error))
}

/// How queries run, with folders that this project and its data have.
fn query_config(config: &Config, data: &DataFolder, project: &Path) -> Result<QueryConfig, Failure> {
    let mut query = config.query.clone();
    if query.spill_folder.is_empty() {
        query.spill_folder = spill_folder(data)?;
    }
    for export in &mut query.exports {
        if !export.url.contains("://") {
            export.url = absolute(&project.join(&export.url))?.display().to_string();
        }
    }
    Ok(query)
}

/// Servers that imports may ask: those that are listed, and those of the installation itself. All of them while only
/// this machine reaches the server.
fn endpoints(config: &Config) -> Result<EndpointRules, Failure> {
    let own = config.lakehouse.storage.iter().chain(&config.query.exports);
    let known: Vec<String> = own.filter_map(|storage| storage.endpoint.clone()).collect();
    let server = &config.server;
    let is_local = [&server.http.listen, &server.pgwire.listen, &server.flight.listen]
        .into_iter()
        .all(|listen| listen.is_loopback())
        // With names of its own it is reached through a proxy.
        && server.http.hosts.is_empty();
    EndpointRules::new(&config.ingest.endpoints, &known, is_local)
        .map_err(|what| Failure::invalid("`ingest.endpoints` cannot be used", what))
}

/// The places beside the warehouse where files of tables may lie: those of the configuration, and the project folder.
fn outside(config: &Config, data: &DataFolder, project: &Path) -> Result<Vec<Place>, Failure> {
    let url = |path: &Path| {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        format!("file://{}", real.display())
    };
    let own = vec![url(data.path())];
    let mut places = Vec::with_capacity(config.lakehouse.outside.len() + 1);
    for place in &config.lakehouse.outside {
        if !place.url.contains("://") || place.url.starts_with("file:") {
            let path = place.url.strip_prefix("file://").unwrap_or(&place.url);
            if !project.join(path).is_dir() {
                let what = format!("`lakehouse.outside` names `{}`, which is no folder", place.url);
                return Err(Failure::invalid(what, "make the folder, or take the entry out of tarn.toml"));
            }
        }
        places.push(Place::new(Store::open(place, project)?, own.clone()));
    }
    places.push(Place::new(Store::open_folder(project)?, own));
    Ok(places)
}

impl Platform {
    /// Opens everything that is stored and starts the tasks that keep it going. Sources start with
    /// [`Platform::follow`].
    pub async fn open(config: &Config, data: &DataFolder, project: &Path) -> Result<Self, Failure> {
        make_data_folder(data)?;
        let env = Env::system();
        let ctx = RequestContext::system(TenantId::default(), TraceId(u128::from(env.entropy.next_u64())));
        let url = match &config.meta.url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", absolute(&data.metadata())?.display()),
        };
        let log = SegmentLog::open(&data.eventlog(), config.eventlog.clone(), env.clone()).await?;
        let meta = tarn_meta::open(&url, env.clone()).await?;
        config.lakehouse.delegation.check()?;
        let store = match &config.lakehouse.storage {
            Some(storage) => Store::open(storage, project)?,
            None => Store::open(&StorageConfig::at(absolute(&data.lake())?.display().to_string()), project)?,
        };
        let eventlog: Arc<dyn EventLog> = log.clone();
        let lakehouse = Lakehouse::new(
            Arc::clone(&meta),
            Warehouse::new(store).with_outside(outside(config, data, project)?),
            Arc::clone(&eventlog),
            env.clone(),
            memory_of(config, data),
        );
        let metrics = Metrics::new(Arc::clone(&env.clock));
        let faults = FaultBoard::new(Arc::clone(&env.clock));
        let rates = RateHistory::new(Arc::clone(&metrics), env.clock.now_ms());
        rates.start(&env);
        let query = query_config(config, data, project)?;
        let readers = FileReaders::new(project.to_path_buf(), data.path().to_path_buf());
        let files: Arc<dyn Files> = Arc::new(
            readers.with_endpoints(endpoints(config)?).with_workbook_max(config.ingest.workbook_max.0),
        );
        let tables: Arc<dyn tarn_query::Tables> =
            Arc::new(tarn_query::LakeTables::new(Arc::clone(&lakehouse)).with_files(Arc::clone(&files)));
        let engine = QueryEngine::new(env.clone(), Arc::clone(&tables), query)?;
        let key = SecretKey::load(data.path(), env.entropy.as_ref())?;
        let ingest = Ingest::new(IngestPorts {
            log: Arc::clone(&eventlog),
            env: env.clone(),
            metrics: Arc::clone(&metrics),
            faults: Arc::clone(&faults),
            project: project.to_path_buf(),
            types: SOURCES,
        });
        let secrets = Secrets::new(Arc::clone(&meta), key, &env);
        let imports =
            Imports::new(Arc::clone(&lakehouse), Arc::clone(&meta), secrets.clone(), files, env.clone());
        let state = ServerState {
            access: Access::new(Arc::clone(&meta), env.clone(), config.access.clone())?,
            resources: Resources::new(Arc::clone(&meta), kinds(), env.clone()),
            secrets,
            eventlog,
            ingest,
            lakehouse,
            imports,
            tables,
            engine,
            metrics,
            rates,
            faults,
            data: data.path().to_path_buf(),
            project: project.to_path_buf(),
        };
        Ok(Self { env, state, ctx, meta, log, project: project.to_path_buf() })
    }

    /// Applies the resource files that changed since they were applied last. Edits made in the console stay, unless
    /// the file of the same resource changed too. Errors: a file with problems, with file and line.
    pub async fn apply_project(&self) -> Result<(), Failure> {
        sources::apply_project(&self.state.resources, self.meta.as_ref(), &self.ctx, &self.project).await
    }

    /// Starts sources and tables as the resources say, and follows each later revision.
    pub async fn follow(&self, config: &Config) {
        self.state.resources.follow(&self.ctx, FOLLOW_INTERVAL);
        sources::follow(&self.state, &self.env, &self.ctx);
        sinks::follow(&self.state, &self.env, &self.ctx, config.lakehouse.sink.clone()).await;
        // After the sinks, which look after their tables themselves.
        self.state.lakehouse.look_after(&self.ctx);
        if let Err(error) = self.state.imports.go_on(&self.ctx).await {
            tracing::error!(
                error = tarn_core::chain_text(&error),
                "imports that were interrupted cannot go on"
            );
        }
    }

    /// Ends all tasks: sources make durable what they read, the log is closed.
    pub async fn stop(self) {
        self.state.ingest.shutdown().await;
        if !self.env.spawner.shutdown(STOP_LIMIT).await {
            tracing::warn!("some tasks did not stop in time; what they did is repeated at the next start");
        }
        self.log.close().await;
    }
}

fn memory_of(config: &Config, data: &DataFolder) -> LakehouseMemory {
    LakehouseMemory {
        runs: Some(data.keys()),
        hot_bytes: config.lakehouse.hot_bytes,
        services: config.lakehouse.services.clone(),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| io_failure("find", path, &error))
}

/// An empty folder for spilled rows; what a crash left in it goes.
fn spill_folder(data: &DataFolder) -> Result<String, Failure> {
    let folder = absolute(&data.spill())?;
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "old spill files stay behind");
    }
    std::fs::create_dir_all(&folder).map_err(|error| io_failure("make", &folder, &error))?;
    Ok(folder.display().to_string())
}
